// What is written of a run: its results, the page about them, and the picture.
import { readFile, writeFile } from 'node:fs/promises';
import { format, resolveConfig } from 'prettier';
import { markdownOf } from './markdown.mjs';
import { pictureOf } from './picture.mjs';

export const FILES = {
  results: new URL('results.json', import.meta.url),
  page: new URL('../docs/benchmarks.md', import.meta.url),
  picture: new URL('../docs/benchmarks.svg', import.meta.url),
};

/** Writes the results of a run to be committed, and what is made of them. */
export async function writeDocuments(results) {
  await writeFile(FILES.results, asJSON(results));
  await draw();
}

/** Makes page and picture anew from the results that are there. */
export async function draw() {
  const results = JSON.parse(await readFile(FILES.results, 'utf8'));
  const options = await resolveConfig(FILES.page);
  await writeFile(FILES.page, await format(markdownOf(results), { ...options, parser: 'markdown' }));
  await writeFile(FILES.picture, await pictureOf(results));
}

export function asJSON(results) {
  return `${JSON.stringify(results, undefined, 1)}\n`;
}
