import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

interface Line {
  readonly name: string;
  readonly median: number;
  readonly rounds: readonly number[];
}

interface Results {
  readonly tables: readonly { readonly row: string; readonly metric: string; readonly lines: readonly Line[] }[];
}

interface Page {
  readonly FILES: Readonly<Record<'results' | 'page', URL>>;
  readonly drawn: (page: string, results: Results) => Promise<string>;
}

interface Arithmetic {
  readonly arithmeticOf: (results: Results) => readonly (readonly string[])[];
}

// The benchmark's modules carry no types; they are the ones above.
const load = (file: string): Promise<unknown> => import(new URL(`../../bench/${file}`, import.meta.url).href);
const { FILES, drawn } = (await load('stores/page.mjs')) as Page;
const { arithmeticOf } = (await load('stores/arithmetic.mjs')) as Arithmetic;
const { median } = (await load('statistics.mjs')) as { readonly median: (values: readonly number[]) => number };

const page = readFileSync(FILES.page, 'utf8');
const results = JSON.parse(readFileSync(FILES.results, 'utf8')) as Results;

/** The results with one median doubled. */
function withDoubled(row: string, metric: string): Results {
  return {
    ...results,
    tables: results.tables.map((table) =>
      table.row === row && table.metric === metric
        ? { ...table, lines: table.lines.map((line) => ({ ...line, median: line.median * 2 })) }
        : table,
    ),
  };
}

/** A row of the sums, as numbers. */
function numbersOf(of: Results, what: string): readonly number[] {
  const row = arithmeticOf(of).find(([name]) => name === what);
  return (row ?? []).slice(2).map((cell) => Number.parseFloat(cell.replaceAll(',', '')));
}

describe('docs/scale', () => {
  it('has every number of the results, and no other', async () => {
    expect(await drawn(page, results)).toBe(page);
  });

  it('shows every scenario that was measured', () => {
    const rows = new Set(results.tables.map(({ row }) => row));
    expect(rows.size).toBeGreaterThanOrEqual(6);
    for (const row of rows) expect(page).toContain(`<!-- bench ${row} -->`);
  });

  it('has medians of the rounds that it has', () => {
    for (const { lines } of results.tables) for (const line of lines) expect(line.median).toBe(median(line.rounds));
  });
});

describe('the sums for a million streams', () => {
  it('say of each row whether it was measured', () => {
    const [, ...rows] = arithmeticOf(results);
    expect(rows.length).toBeGreaterThan(15);
    for (const [, how] of rows) expect(how).toMatch(/^(measured|arithmetic)$/);
  });

  it('need twice the servers where a token costs Redis twice as much', () => {
    const servers = 'Redis servers at 60 % of a processor';
    const before = numbersOf(results, servers);
    const after = numbersOf(withDoubled('one-reader', 'serverCPU'), servers);
    expect(before).toHaveLength(3);
    for (const [at, count] of after.entries()) expect(count / (before[at] ?? 0)).toBeCloseTo(2, 1);
  });

  it('need the memory of the answers that are over, and of half of each that is written', () => {
    const bytesOf = (metric: string): readonly number[] =>
      results.tables
        .find((table) => table.row === 'memory' && table.metric === metric)
        ?.lines.map((line) => line.median) ?? [];
    const open = bytesOf('openBytes');
    const memory = bytesOf('closedBytes').map((closed, at) => (15e6 * closed + (1e6 * (open[at] ?? 0)) / 2) / 2 ** 30);
    const told = numbersOf(results, 'memory');
    expect(told).toHaveLength(3);
    for (const [at, gibibytes] of told.entries()) expect(gibibytes / (memory[at] ?? 0)).toBeCloseTo(1, 2);
  });
});
