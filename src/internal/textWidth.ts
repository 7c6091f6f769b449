/** How wide text is on a terminal: East Asian characters and emoji take two columns, combining marks none. */
import { graphemeEnds } from './graphemes.js';

// The blocks that terminals draw two columns wide (Unicode Standard Annex 11, W and F).
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]/u;
const EMOJI = /^\p{Emoji_Presentation}|\ufe0f/u;
const NOTHING = /^[\p{M}\p{Cf}\p{Cc}]+$/u;
// Marks with a column of their own, and halfwidth voicing marks, which segmentation joins to the letter before them.
const SPACING = /[\p{Mc}\uff9e\uff9f]/gu;
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text without the control characters that would move a cursor or change a colour; tabs and line feeds stay. */
export function printable(text: string): string {
  return text.replace(CONTROL, '');
}

/** Columns that a line of printable text takes. */
export function widthOf(text: string): number {
  let width = 0;
  for (let at = 0; at < text.length; at += 1) {
    const more = loneWidth(text.charCodeAt(at));
    if (more === 0) return graphemesOf(text).reduce((sum, grapheme) => sum + graphemeWidth(grapheme), 0);
    width += more;
  }
  return width;
}

/** Rows that a line takes on a terminal of so many columns; a character that does not fit begins the next row. */
export function rowsOf(line: string, columns: number): number {
  let [rows, width] = [1, 0];
  for (const grapheme of graphemesOf(line)) {
    const more = graphemeWidth(grapheme);
    if (width + more > columns) [rows, width] = [rows + 1, 0];
    width += more;
  }
  return rows;
}

/** The start of `text` that fits into `columns`, with an ellipsis where something is missing. */
export function truncateText(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  return columns < 1 ? '' : `${text.slice(0, fittingIn(text, columns - 1)).trimEnd()}…`;
}

/** The end of `text` that fits into `columns`, behind an ellipsis where something is missing. */
export function truncateStart(text: string, columns: number): string {
  if (columns < 1) return '';
  // Few texts need more than that of their end, and to look at all of a long one takes long.
  const near = text.slice(-2 * columns - 32);
  const end = endWithin(near, columns, near === text) ?? endWithin(text, columns, true);
  return end === text || end === undefined ? text : `…${end}`;
}

/** The end that fits, with room for an ellipsis where it is not all of it; `undefined` where more of the text might fit. */
function endWithin(text: string, columns: number, isWhole: boolean): string | undefined {
  const graphemes = graphemesOf(text);
  let [from, width] = [graphemes.length, 0];
  /** Where the end begins that leaves a column free. */
  let short = from;
  for (; from > 0; from -= 1) {
    width += graphemeWidth(graphemes[from - 1] ?? '');
    if (width < columns) short = from - 1;
    if (width > columns) return graphemes.slice(short).join('');
  }
  return isWhole ? text : undefined;
}

/** Breaks text into lines of at most `columns`, between words where it can. */
export function wrapText(text: string, columns: number): string[] {
  return text.split('\n').flatMap((paragraph) => wrapParagraph(paragraph.replaceAll('\t', ' '), Math.max(2, columns)));
}

function wrapParagraph(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  let width = 0;
  for (const word of text.match(/ *[^ ]+| +$/g) ?? []) {
    const wordWidth = widthOf(word);
    if (width + wordWidth <= columns) {
      line += word;
      width += wordWidth;
      continue;
    }
    if (line.trim() !== '') lines.push(line.trimEnd());
    let rest = word.trimStart();
    while (widthOf(rest) > columns) {
      const [start, end] = cut(rest, columns);
      lines.push(start);
      rest = end;
    }
    line = rest;
    width = widthOf(rest);
  }
  return [...lines, line.trimEnd()];
}

/** `text` in two, the first part as wide as `columns` allow, and never empty. */
function cut(text: string, columns: number): [string, string] {
  const at = fittingIn(text, columns) || (graphemesOf(text)[0]?.length ?? 0);
  return [text.slice(0, at), text.slice(at)];
}

/** Code units of the longest beginning that is no wider than `columns`. */
function fittingIn(text: string, columns: number): number {
  let [width, at] = [0, 0];
  for (const grapheme of graphemesOf(text)) {
    width += graphemeWidth(grapheme);
    if (width > columns) break;
    at += grapheme.length;
  }
  return at;
}

function graphemeWidth(grapheme: string): number {
  const lone = grapheme.length === 1 ? loneWidth(grapheme.charCodeAt(0)) : 0;
  if (lone > 0) return lone;
  if (NOTHING.test(grapheme)) return 0;
  const marks = grapheme.slice(1).match(SPACING)?.length ?? 0;
  return (WIDE.test(grapheme) || EMOJI.test(grapheme) ? 2 : 1) + marks;
}

/** Characters as they are perceived. Only what is not plain is looked at closely, with its neighbours, which may belong to it. */
function graphemesOf(text: string): readonly string[] {
  const graphemes: string[] = [];
  for (let at = 0; at < text.length;) {
    let to = at;
    while (to < text.length && loneWidth(text.charCodeAt(to)) > 0) to += 1;
    // The last of them may be what a mark stands on.
    const plainTo = to === text.length ? to : Math.max(at, to - 1);
    for (; at < plainTo; at += 1) graphemes.push(text.charAt(at));
    // The first of those that follow may belong to it, and be what a mark stands on itself.
    const isLone = (place: number): boolean => place >= text.length || loneWidth(text.charCodeAt(place)) > 0;
    while (!isLone(to) || !isLone(to + 1)) to += 1;
    const close = text.slice(at, to + 1);
    let from = 0;
    for (const end of graphemeEnds(close)) {
      graphemes.push(close.slice(from, end));
      from = end;
    }
    at += from;
  }
  return graphemes;
}

/** The columns of a code unit that is a character of its own next to others of its kind, as nearly all are; 0 for any other. */
function loneWidth(unit: number): 0 | 1 | 2 {
  return LONE[unit] as 0 | 1 | 2; // it has a place for each code unit
}

const LONE = new Uint8Array(0x1_0000);
// Letters and signs of Latin, Greek and Cyrillic, general punctuation, box drawing, Braille; none that an emoji may be made of.
for (const [from, to] of [
  [0x20, 0x7e],
  [0xa1, 0xa8],
  [0xaa, 0xac],
  [0xaf, 0x2ff],
  [0x391, 0x3c9],
  [0x400, 0x482],
  [0x48a, 0x52f],
  [0x2010, 0x2027],
  [0x2030, 0x203b],
  [0x203d, 0x2048],
  [0x204a, 0x205e],
  [0x2500, 0x257f],
  [0x2800, 0x28ff],
] as const) {
  LONE.fill(1, from, to + 1);
}
// Chinese, Japanese without the marks that join a letter, Korean syllables, fullwidth forms.
for (const [from, to] of [
  [0x3000, 0x3029],
  [0x3041, 0x3096],
  [0x309b, 0x30ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0xff01, 0xff60],
] as const) {
  LONE.fill(2, from, to + 1);
}
