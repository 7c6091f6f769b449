// What was measured, as tables: one for each metric as they stand in stores.json, and one for each scenario as they are shown.
import { median, spread } from '../statistics.mjs';
import { digits, percent } from '../table.mjs';
import { METRICS } from './metrics.mjs';

/** @param results - of each case, its rounds */
export function tablesOf({ name: row, title, cases }, results) {
  return Object.entries(METRICS)
    .filter(([metric]) => results[0][0][metric] !== undefined)
    .map(([metric, { title: measured, unit }]) => ({
      row,
      title,
      metric,
      measured,
      unit,
      lines: cases.map(({ name }, at) => {
        const rounds = results[at].map((round) => round[metric]);
        return { name, median: median(rounds), spread: spread(rounds), rounds };
      }),
    }));
}

/** A scenario's tables as rows of cells, the first of them its head. */
export function cellsOf(tables) {
  const head = [tables[0].title, ...tables[0].lines.map(({ name }) => name)];
  return [head, ...tables.map(({ measured, unit, lines }) => [measured, ...lines.map((line) => cellOf(line, unit))])];
}

function cellOf({ median: middle, spread: around, rounds }, unit) {
  const value = `${amount(middle)}${unit === '' ? '' : ` ${unit}`}`;
  return rounds.length > 1 && around >= 0.05 ? `${value} ± ${percent(around)}` : value;
}

/** Three digits that count, and thousands in groups. */
export function amount(value) {
  if (value >= 1000) return Number(value.toPrecision(3)).toLocaleString('en');
  return Number.isInteger(value) ? String(value) : digits(value);
}

export function formatTerminal(tables) {
  const cells = cellsOf(tables);
  const [[title], ...rest] = cells;
  const rows = [['', ...cells[0].slice(1)], ...rest];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[at]))).join('   ');
  return [title, ...rows.map((row) => `  ${line(row)}`.trimEnd())].join('\n');
}

export function formatMarkdown(rows) {
  const rule = rows[0].map((_, at) => (rows.some((row) => /^\d/.test(row[at]) && at > 0) ? '---:' : '---'));
  return [rows[0], rule, ...rows.slice(1)].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
