// The table for the terminal.

const COLUMNS = [48, 12, 9, 34, 7, 9];

/** The lines of one table. */
export function formatTable({ title, measured, unit, lines }) {
  const head = row([measured, 'median', 'spread', 'ratio', 'target', '']);
  return [title, head, ...lines.map((line) => row(cellsOf(line, unit)))].join('\n');
}

/** The cells of one line, in words. */
export function cellsOf({ name, median, spread, share, ratio }, unit) {
  return [
    share === undefined ? name : `${name} (fast path ${percent(share)})`,
    `${digits(median)} ${unit}`,
    `± ${percent(spread)}`,
    ...ratioCells(name, ratio),
  ];
}

function ratioCells(name, ratio) {
  if (ratio === undefined) return ['', '', ''];
  const { of, to, value, atLeast, atMost, isMet } = ratio;
  const times = `${digits(value)} ×`;
  const target = atLeast === undefined ? (atMost === undefined ? '' : `≤ ${atMost}`) : `≥ ${atLeast}`;
  return [
    of === name ? `${times} ${to}` : `${of}: ${times} this`,
    target,
    isMet === undefined ? '' : isMet ? 'met' : 'not met',
  ];
}

function row(cells) {
  return cells
    .map((cell, at) => (at === 0 || at === 3 ? `  ${cell}`.padEnd(COLUMNS[at]) : cell.padStart(COLUMNS[at])))
    .join('')
    .trimEnd();
}

/** Three digits that count. */
export function digits(value) {
  if (!Number.isFinite(value)) return String(value);
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function percent(share) {
  return `${(share * 100).toFixed(share >= 0.1 ? 0 : 1)} %`;
}
