/** A program in a docstring. */
export interface Example {
  readonly code: string;
  /** The line of the file on which its fence stands. */
  readonly line: number;
}

/** The TypeScript blocks that stand under an `@example` of a docstring. */
export function examplesOf(source: string): readonly Example[] {
  return [...source.matchAll(/^[ \t]*\/\*\*$.*?\*\/$/gms)].flatMap(({ 0: docstring, index: start }) => {
    const firstLine = source.slice(0, start).split('\n').length;
    const page = docstring.replace(/^[ \t]*\* ?/gm, '');
    return [...page.matchAll(/^@example.*?(?=^@|^\/$|(?![^]))/gms)].flatMap(({ 0: section, index: at }) =>
      [...section.matchAll(/^```ts\n(.*?)^```$/gms)].map(({ 1: code = '', index }) => ({
        code,
        line: firstLine + page.slice(0, at + index).split('\n').length - 1,
      })),
    );
  });
}

/** Names that an example may leave to its reader. */
const COMMON = `
declare const apiKey: string;
declare const body: string;
declare const headers: Record<string, string>;
declare const url: string;
declare const model: string;
declare const messages: import('millrace/providers').ChatMessage[];
declare const signal: AbortSignal;
declare const api: import('millrace/providers').Polargrid;
declare const call: import('millrace').Call;
declare const store: import('millrace').StreamStore;
declare const res: import('millrace').NodeResponse;
declare const stream: import('rxjs').Observable<import('millrace').StreamEvent>;
declare const read: (url: string) => Promise<string>;
declare const log: (...values: unknown[]) => void;
declare const report: (error: unknown) => void;
`;

/**
 * An example as a whole module. It may use every name of `entries` without importing it, `z`, the names in `COMMON`, and
 * `await`; its own imports and declarations go first.
 * @param entries - the names that each entry point exports
 */
export function moduleOf(code: string, entries: Readonly<Record<string, readonly string[]>>): string {
  const ownImports = code.match(/^import .*?;$/gms) ?? [];
  const taken = new Set(ownImports.join('\n').match(/\w+/g));
  const imports = Object.entries(entries).map(([entry, names]) => {
    const free = names.filter((name) => !taken.has(name));
    for (const name of free) taken.add(name);
    return `import { ${free.join(', ')} } from '${entry}';`;
  });
  if (!taken.has('z')) imports.push(`import * as z from 'zod/mini';`);
  const rest = code.replace(/^import .*?;$/gms, '');
  return [...ownImports, ...imports, COMMON, `async function example() {\n${rest}}`, ''].join('\n');
}
