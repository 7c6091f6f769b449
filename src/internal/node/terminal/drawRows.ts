import { truncateStart, truncateText, widthOf } from '../../textWidth.js';
import { duration } from './measures.js';
import type { Paint, Paints } from './paints.js';
import type { RowFacts } from './streamRow.js';

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const SPIN_MS = 100;

const MAX_NAME = 24;
const MAX_WORD = 16;
const GAP = '  ';
/** Columns that the last words are worth: with less than that other facts go first, the least telling before. */
const MIN_TAIL = 18;
/** Fewer are not worth a beginning. */
const LEAST_TAIL = 8;
/** Columns of a progress bar and its percentage, which is a fourth as wide. */
const MIN_BAR = 20;
const PERCENTAGE = 5;

/** What lines are drawn for. */
export interface Drawing {
  readonly columns: number;
  readonly now: number;
  readonly paints: Paints;
}

/** A piece of a line. */
interface Cell {
  readonly text: string;
  readonly paint: Paint;
}

/** How the columns behind the state are used. */
interface Layout {
  /** The widths of a row's facts, as far as they are shown. */
  readonly widths: readonly number[];
  readonly factsWidth: number;
  readonly tailWidth: number;
}

/** The width of the column of names. */
export function nameWidthOf(names: Iterable<string>, columns: number): number {
  return Math.min(Math.max(0, ...[...names].map(widthOf)), MAX_NAME, Math.max(4, Math.floor(columns / 4)));
}

/** A line for each stream. None is as wide as the terminal, so that none is ever broken by it. */
export function drawRows(rows: readonly RowFacts[], { columns, now, paints }: Drawing): readonly string[] {
  const { bold, dim, yellow, hues } = paints;
  const names = rows.map(({ name }) => name);
  const nameWidth = nameWidthOf(names, columns);
  const wordWidth = Math.min(MAX_WORD, Math.max(0, ...rows.map(({ word }) => widthOf(word))));
  const layout = layOut(rows, columns - 1 - 2 - nameWidth - GAP.length - wordWidth);
  const spinner = SPINNER[Math.floor(now / SPIN_MS) % SPINNER.length] ?? '';
  return rows.map((row) => {
    const hue = hues[row.hue % hues.length] ?? plain;
    const cells: Cell[] = [
      { text: `${spinner} `, paint: hue },
      { text: pad(truncateText(row.name, nameWidth), nameWidth), paint: (text) => bold(hue(text)) },
      { text: GAP, paint: plain },
      {
        text: pad(truncateText(row.word, wordWidth), wordWidth),
        paint: { calm: plain, quiet: dim, alarmed: yellow }[row.tone],
      },
    ];
    if (layout.factsWidth > 0) cells.push({ text: GAP, paint: plain }, ...drawFacts(row, layout, { hue, dim }));
    if (layout.tailWidth >= LEAST_TAIL) {
      const tail = truncateStart(row.tail, layout.tailWidth);
      cells.push({ text: GAP, paint: plain }, { text: tail, paint: row.isAside ? dim : plain });
    }
    return join(cells, columns - 1);
  });
}

/** A line for the streams that have no row. @param words - the state of each */
export function drawRest(words: readonly string[], { columns, paints }: Drawing): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  const states = [...counts].sort(([, a], [, b]) => b - a).map(([word, count]) => `${String(count)} ${word}`);
  const cells = [
    { text: `+ ${String(words.length)} more`, paint: plain },
    { text: GAP + states.join(', '), paint: paints.dim },
  ];
  return join(cells, columns - 1);
}

/** As many facts as leave room for the last words; where there is no room for both, as many as there is room for. */
function layOut(rows: readonly RowFacts[], room: number): Layout {
  const facts = rows.filter(({ fraction }) => fraction === undefined).map(factsOf);
  const widest = [0, 1, 2].map((column) => Math.max(0, ...facts.map((texts) => widthOf(texts[column] ?? ''))));
  const hasBar = facts.length < rows.length;
  const layouts = [3, 2, 1].map((shown): Layout => {
    const widths = widest.slice(0, shown);
    const factsWidth = Math.max(joinedWidth(widths), hasBar ? MIN_BAR : 0);
    return { widths, factsWidth, tailWidth: room - 2 * GAP.length - factsWidth };
  });
  const none = { widths: [], factsWidth: 0, tailWidth: room - GAP.length };
  const hasTail = rows.some(({ tail }) => tail !== '');
  return (
    layouts.find(({ tailWidth }) => hasTail && tailWidth >= MIN_TAIL) ??
    layouts.find(({ tailWidth }) => tailWidth >= -GAP.length) ??
    none
  );
}

function joinedWidth(widths: readonly number[]): number {
  return widths.filter((width) => width > 0).reduce((sum, width) => sum + width + GAP.length, -GAP.length);
}

function factsOf({ count, rate, firstMs, elapsedMs }: RowFacts): readonly string[] {
  if (count === '') return [duration(elapsedMs)];
  return [count, rate, firstMs === undefined ? '' : `first ${duration(firstMs)}`];
}

function drawFacts(
  row: RowFacts,
  { widths, factsWidth }: Layout,
  { hue, dim }: Readonly<Record<'hue' | 'dim', Paint>>,
): readonly Cell[] {
  if (row.fraction !== undefined) {
    const cells = factsWidth - PERCENTAGE - 1;
    const filled = Math.floor(row.fraction * cells);
    return [
      { text: '━'.repeat(filled), paint: hue },
      { text: '─'.repeat(cells - filled), paint: dim },
      { text: `${String(Math.floor(row.fraction * 100))} %`.padStart(PERCENTAGE + 1), paint: plain },
    ];
  }
  const texts = factsOf(row);
  const shown = widths.flatMap((width, column) => (width > 0 ? padStart(texts[column] ?? '', width) : []));
  return [{ text: pad(shown.join(GAP), factsWidth), paint: dim }];
}

/** Puts cells together as far as there is room, without the space at the end. */
function join(cells: readonly Cell[], columns: number): string {
  let room = columns;
  const shown = cells.map(({ text, paint }): Cell => {
    const width = widthOf(text);
    const cut = width <= room ? text : truncateText(text, room);
    room -= Math.min(room, width);
    return { text: cut, paint };
  });
  const last = shown.findLastIndex(({ text }) => text.trim() !== '');
  const line = shown.slice(0, last + 1).map(({ text, paint }, index) => paint(index === last ? text.trimEnd() : text));
  return line.join('');
}

function pad(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - widthOf(text)));
}

function padStart(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - widthOf(text))) + text;
}

function plain(text: string): string {
  return text;
}
