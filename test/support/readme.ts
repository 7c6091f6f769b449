import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A block of code in a page. */
export interface Snippet {
  readonly code: string;
  readonly language: 'ts' | 'tsx';
  /** The line on which it begins, for messages. */
  readonly line: number;
  /** What the program must print; present where the block says `run`. */
  readonly output: string | undefined;
}

/** The TypeScript blocks of a Markdown page; a block marked `ts run` is followed by a `text` block with its output. */
export function snippetsOf(markdown: string): readonly Snippet[] {
  const fences = [...markdown.matchAll(/^```(\w+)( run)?\n(.*?)^```$/gms)];
  return fences.flatMap<Snippet>(({ 1: language, 2: run, 3: code = '', index }, i) => {
    if (language !== 'ts' && language !== 'tsx') return [];
    const line = markdown.slice(0, index).split('\n').length;
    if (run === undefined) return [{ code, language, line, output: undefined }];
    const next = fences[i + 1];
    if (next?.[1] !== 'text') throw new Error(`The program in line ${String(line)} has no output behind it`);
    return [{ code, language, line, output: next[3] ?? '' }];
  });
}

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The project's own page. */
export const readme: string = readFileSync(join(root, 'README.md'), 'utf8');

/** The pages whose programs must be right, by their paths. */
export const pages: ReadonlyMap<string, string> = new Map([
  ['README.md', readme],
  ...readdirSync(join(root, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => [`docs/${file}`, readFileSync(join(root, 'docs', file), 'utf8')] as const),
]);
