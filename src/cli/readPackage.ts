import { readFileSync } from 'node:fs';

/** The package's own description, two folders up from here and from the built file. */
export function readPackage(): { readonly version: string; readonly engines: { readonly node: string } } {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return JSON.parse(text) as ReturnType<typeof readPackage>; // our own has these
}
