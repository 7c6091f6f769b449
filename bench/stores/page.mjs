// The tables of docs/scale.md, from the results alone. They stand between `<!-- bench NAME -->` and `<!-- /bench -->`.
import { readFile, writeFile } from 'node:fs/promises';
import { format, resolveConfig } from 'prettier';
import { arithmeticOf } from './arithmetic.mjs';
import { cellsOf, formatMarkdown } from './tables.mjs';

export const FILES = {
  results: new URL('../stores.json', import.meta.url),
  page: new URL('../../docs/scale.md', import.meta.url),
};

export async function writeResults(results) {
  const text = JSON.stringify(results);
  await writeFile(FILES.results, await format(text, { ...(await resolveConfig(FILES.page)), parser: 'json' }));
}

/** Writes the page anew from the results that are there. */
export async function drawPage() {
  await writeFile(
    FILES.page,
    await drawn(await readFile(FILES.page, 'utf8'), JSON.parse(await readFile(FILES.results, 'utf8'))),
  );
}

/** The page with the tables of those results. */
export async function drawn(page, results) {
  const filled = page.replace(
    /(<!-- bench (\S+) -->\n)[^]*?(<!-- \/bench -->)/g,
    (_, begin, name, end) => `${begin}\n${partOf(name, results)}\n\n${end}`,
  );
  return format(filled, { ...(await resolveConfig(FILES.page)), parser: 'markdown' });
}

function partOf(name, results) {
  if (name === 'machine') return machineOf(results);
  if (name === 'arithmetic') return formatMarkdown(arithmeticOf(results));
  const tables = results.tables.filter(({ row }) => row === name);
  if (tables.length === 0) throw new Error(`the results have no ${name}`);
  return formatMarkdown(cellsOf(tables));
}

function machineOf({ date, machine, settings, noise }) {
  const { cpu, cores, memoryGiB, system, node, commit, versions } = machine;
  return (
    `Measured on ${date.slice(0, 10)}, commit ${commit ?? 'unknown'}: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, ` +
    `Node ${node}, Redis ${versions.Redis}; load ${noise.loadPerCore.toFixed(2)} a core before the run. Medians of ` +
    `${settings.rounds} rounds of ${settings.seconds} s, one of each column in turn.`
  );
}
