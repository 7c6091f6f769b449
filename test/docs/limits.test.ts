import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Limit {
  readonly option: string;
  /** The function whose limit it is. */
  readonly of: string;
  /** The number, or `no limit`. */
  readonly value: string;
}

/** The number that a text begins with, wherever in its first sentence it stands. */
function defaultIn(text: string): string {
  const [number] = /[\d,_]*\d/.exec(text) ?? [];
  return /^`?Infinity|^no limit/.test(text) || number === undefined ? 'no limit' : number.replace(/[,_]/g, '');
}

const page = read('docs/limits.md');
const rows: readonly Limit[] = [...page.matchAll(/^\|[^|]+\| `(\w+)` +\| `(\w+)` +\| ([^|]+?) +\|/gm)].map(
  ([, option = '', of = '', value = '']) => ({ option, of, value: defaultIn(value) }),
);

/** Options whose documentation stands apart from the function that takes them. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'maxReceivedChars decode': 'src/internal/answer.ts',
  'maxRounds runTools': 'src/internal/toolRun.ts',
  'maxWaitingChars toFile': 'src/internal/fileSink.ts',
  'maxWaitingItems asyncIterableFrom': 'src/internal/reading.ts',
  'maxChars smooth': 'src/operators/smooth.ts',
};

const sources: readonly string[] = ['operators', 'sources', 'sinks', 'providers', 'bullmq', 'redis', 'sqlite'].flatMap(
  (folder) => readdirSync(join(root, 'src', folder)).map((name) => `src/${folder}/${name}`),
);

/** The options of a file that bound how much is held, with the defaults that their documentation gives. */
function limitsIn(path: string): ReadonlyMap<string, string> {
  const members = read(path).matchAll(/\/\*\*((?:(?!\*\/)[^])*)\*\/\s*readonly (max[A-Z]\w*)\?:/g);
  return new Map(
    [...members].map(([, comment = '', option = '']) => {
      const [, text = ''] = /@defaultValue ([^]*?)(?:\n\s*\*\s*@|$)/.exec(comment) ?? [];
      return [option, defaultIn(text)];
    }),
  );
}

function fileOf({ option, of }: Limit): string {
  const path = ELSEWHERE[`${option} ${of}`] ?? sources.find((source) => source.endsWith(`/${of}.ts`));
  if (path === undefined) throw new Error(`there is no ${of}`);
  return path;
}

/** Bounds of time and of tries, which hold nothing. */
const NO_SIZE = /(Ms|Retries|tokens)$/;

describe('the page on limits', () => {
  it('has a table that can be read', () => {
    expect(rows.length).toBeGreaterThan(25);
  });

  it.each(rows)('gives $option of $of the default of its documentation', (row) => {
    expect(limitsIn(fileOf(row)).get(row.option)).toBe(row.value);
  });

  it('names every option that is a limit on size', () => {
    const named = new Set(rows.map((row) => `${fileOf(row)} ${row.option}`));
    const missing = sources.flatMap((path) =>
      [...limitsIn(path).keys()]
        .filter((option) => !NO_SIZE.test(option))
        // Where a provider hands an option on, its dialect has it.
        .filter(() => !path.startsWith('src/providers') || path.endsWith('Dialect.ts'))
        .map((option) => `${path} ${option}`)
        .filter((limit) => !named.has(limit)),
    );
    expect(missing).toStrictEqual([]);
  });

  it.each([
    ['maxRedirects', 'src/sources/fromHTTP.ts', 'maxRedirects = 5'],
    ['maxErrorBodyBytes', 'src/sources/fromHTTP.ts', 'maxErrorBodyBytes = 65_536'],
    ['maxDecompressionRatio', 'src/sources/fromHTTP.ts', 'maxDecompressionRatio = 500'],
    ['maxWaitingChars', 'src/sinks/toFile.ts', 'maxWaitingChars = 65_536'],
    ['maxReceivedChars', 'src/internal/answer.ts', 'maxReceivedChars ?? 1_048_576'],
  ])('gives %s the default of its code', (option, path, code) => {
    expect(read(path)).toContain(code);
    expect(rows.find((row) => row.option === option)?.value).toBe(defaultIn(code.replace(/^\w+/, '')));
  });
});
