import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

interface Package {
  readonly bin: Record<string, string>;
  readonly exports: Record<string, string | Record<string, string>>;
  readonly imports: Record<string, Record<string, string>>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const { bin, exports, imports } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as Package;

/** Every file of the build that package.json names: `[where, file]`. */
const targets = [...Object.entries(exports), ...Object.entries(imports), ...Object.entries(bin)].flatMap(
  ([name, target]): [string, string][] =>
    typeof target === 'string'
      ? [[name, target]]
      : Object.entries(target).map(([condition, file]) => [`${name} (${condition})`, file]),
);
const built = targets.filter(([, file]) => file.startsWith('./dist/'));

/** The source of a file of the build. */
function sourceOf(file: string): string {
  return file.replace('./dist/', 'src/').replace(/(\.d\.ts|\.js)$/, '.ts');
}

describe('package.json', () => {
  it.each(targets)('names a file of the package or of the build for %s', (_name, file) => {
    expect(built.some(([, target]) => target === file) || existsSync(`${root}/${file}`)).toBe(true);
  });

  it.each(built)('has a source for %s', (_name, file) => {
    expect(existsSync(`${root}/${sourceOf(file)}`), sourceOf(file)).toBe(true);
  });

  it('gives every entry its types before its code', () => {
    const entries = Object.values(exports).filter((target) => typeof target !== 'string');
    expect(entries.map((target) => Object.keys(target))).toEqual(entries.map(() => ['types', 'default']));
    for (const { types, default: code } of entries) expect(sourceOf(types ?? '')).toBe(sourceOf(code ?? ''));
  });

  it.skipIf(!existsSync(`${root}/dist/cli/main.js`)).each(built)('finds %s in the build', (_name, file) => {
    expect(existsSync(`${root}/${file}`), file).toBe(true);
  });
});
