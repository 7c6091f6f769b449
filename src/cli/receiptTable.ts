import { basename } from 'node:path';
import Table, { type CharName, type TableConstructorOptions } from 'cli-table3';
import type { Outcome, Receipt, Usage } from '../index.js';
import type { Colors } from './context.js';
import { widthOf } from '../internal/textWidth.js';

/**
 * Receipts as a table: a row each; where rows are too wide a column each; where those are too wide a table each. Lines end
 * with LF.
 */
export function receiptTable(receipts: readonly Receipt[], columns: number, colors: Colors): string {
  const titles = FIELDS.map(({ title }) => title);
  const cells = receipts.map((receipt) => FIELDS.map(({ read }) => read(receipt)));
  const rows = [titles, ...cells];
  if (widthOfTable(rows) <= columns) {
    const table = new Table({ ...LOOK, head: titles.map(colors.dim), colAligns: FIELDS.map(({ align }) => align) });
    for (const receipt of receipts) table.push(FIELDS.map((field) => paint(field, receipt, colors)));
    return print(table);
  }
  if (receipts.length > 1 && widthOfTable(transpose(rows)) > columns) {
    return receipts.map((receipt) => receiptTable([receipt], 0, colors)).join('\n');
  }
  const table = new Table(LOOK);
  for (const field of FIELDS) {
    table.push([colors.dim(field.title), ...receipts.map((receipt) => paint(field, receipt, colors))]);
  }
  return print(table);
}

/** One receipt on one line. */
export function receiptLine(receipt: Receipt): string {
  const { provider, model, outcome, finish, by, error, chars, timings, usage, attempts, warnings, billing, where } =
    receipt;
  const why = finish?.reason ?? by ?? error?.code;
  const facts = [
    [provider, model].filter((name) => name !== undefined).join(' '),
    why === undefined ? outcome : `${outcome} (${why === 'length' ? 'length: the limit of tokens' : why})`,
    receipt.skipped === true ? 'skipped: the file is there' : undefined,
    `${String(chars)} chars`,
    timings.firstContentMs === undefined ? undefined : `first after ${seconds(timings.firstContentMs)}`,
    `total ${seconds(timings.totalMs)}`,
    `tokens ${tokens(usage)}`,
    usage.cost?.total === undefined ? undefined : `cost ${cost(usage)}`,
    attempts > 1 ? `${String(attempts)} attempts` : undefined,
    warnings.length === 0 ? undefined : `warnings: ${[...new Set(warnings.map(({ code }) => code))].join(', ')}`,
    `billing ${billing}`,
    where === 'stdout' || where === 'none' ? undefined : where,
  ];
  return facts.filter((fact) => fact !== undefined && fact !== '').join(' · ');
}

/** An outcome in its colour. */
export function paintOutcome(outcome: Outcome, text: string, colors: Colors): string {
  switch (outcome) {
    case 'complete':
      return colors.green(text);
    case 'failed':
      return colors.red(text);
    case 'interrupted':
      return colors.yellow(text);
    case 'stopped':
      return colors.cyan(text);
  }
}

interface Field {
  readonly title: string;
  readonly align: 'left' | 'right';
  readonly read: (receipt: Receipt) => string;
}

/** Columns between those of a table. */
export const GAP = 2;
const NONE = '–';

const FIELDS: readonly Field[] = [
  { title: 'provider', align: 'left', read: ({ provider }) => provider ?? NONE },
  { title: 'outcome', align: 'left', read: ({ outcome }) => outcome },
  { title: 'finish', align: 'left', read: ({ finish }) => finish?.reason ?? NONE },
  { title: 'chars', align: 'right', read: ({ chars }) => String(chars) },
  { title: 'first ms', align: 'right', read: ({ timings }) => whole(timings.firstContentMs) },
  { title: 'total ms', align: 'right', read: ({ timings }) => whole(timings.totalMs) },
  { title: 'tokens', align: 'left', read: ({ usage }) => tokens(usage) },
  { title: 'cost', align: 'left', read: ({ usage }) => cost(usage) },
  { title: 'attempts', align: 'right', read: ({ attempts }) => String(attempts) },
  { title: 'billing', align: 'left', read: ({ billing }) => billing },
  { title: 'file', align: 'left', read: ({ where }) => (where === 'none' ? NONE : basename(where)) },
];

const LINES: readonly CharName[] = [
  'top',
  'top-mid',
  'top-left',
  'top-right',
  'bottom',
  'bottom-mid',
  'bottom-left',
  'bottom-right',
  'left',
  'left-mid',
  'mid',
  'mid-mid',
  'right',
  'right-mid',
  'middle',
];

/** Columns with space between them, and no lines. */
export const LOOK: TableConstructorOptions = {
  chars: Object.fromEntries(LINES.map((name) => [name, ''])),
  style: { 'padding-left': 0, 'padding-right': GAP, head: [], border: [], compact: true },
};

/** A table's text, without the space at the ends of its lines. */
export function print(table: Table.Table): string {
  return `${table.toString().replace(/[ \t]+$/gm, '')}\n`;
}

function paint({ title, read }: Field, receipt: Receipt, colors: Colors): string {
  const text = read(receipt);
  return title === 'outcome' ? paintOutcome(receipt.outcome, text, colors) : text;
}

function widthOfTable(rows: readonly (readonly string[])[]): number {
  const widths = transpose(rows).map((column) => Math.max(...column.map(widthOf)));
  return widths.reduce((sum, width) => sum + width + GAP, -GAP);
}

function transpose(rows: readonly (readonly string[])[]): string[][] {
  return (rows[0] ?? []).map((_, index) => rows.map((row) => row[index] ?? ''));
}

function whole(ms: number | undefined): string {
  return ms === undefined ? NONE : String(Math.round(ms));
}

function seconds(ms: number): string {
  return ms < 1000 ? `${String(Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** What the provider counted. What it did not say is unknown, which is not zero. */
function tokens({ inputTokens, outputTokens, totalTokens, provenance }: Usage): string {
  const soFar = provenance === 'partial' ? ' so far' : '';
  if (inputTokens !== undefined || outputTokens !== undefined) {
    return `${count(inputTokens)} in, ${count(outputTokens)} out${soFar}`;
  }
  return totalTokens === undefined ? 'unknown' : `${String(totalTokens)}${soFar}`;
}

function count(value: number | undefined): string {
  return value === undefined ? '?' : String(value);
}

function cost({ cost: spent }: Usage): string {
  if (spent?.total === undefined) return NONE;
  return `${String(Number(spent.total.toPrecision(3)))} ${spent.currency ?? ''}`.trim();
}
