/** How wide text is on a terminal: East Asian characters and emoji take two columns, combining marks none. */

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

// The blocks that terminals draw two columns wide (Unicode Standard Annex 11, W and F).
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]/u;
const EMOJI = /^\p{Emoji_Presentation}|\ufe0f/u;
const NOTHING = /^[\p{M}\p{Cf}\p{Cc}]+$/u;
const PLAIN = /^[\x20-\x7e]*$/;
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text without the control characters that would move a cursor or change a colour; tabs and line feeds stay. */
export function printable(text: string): string {
  return text.replace(CONTROL, '');
}

/** Columns that a line of printable text takes. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += graphemeWidth(segment);
  return width;
}

function graphemeWidth(grapheme: string): number {
  if (NOTHING.test(grapheme)) return 0;
  return WIDE.test(grapheme) || EMOJI.test(grapheme) ? 2 : 1;
}

/** The start of `text` that fits into `columns`, with an ellipsis where something is missing. */
export function truncateText(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  return columns < 1 ? '' : `${cut(text, columns - 1)[0].trimEnd()}…`;
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
  let width = 0;
  for (const { segment, index } of segmenter.segment(text)) {
    width += graphemeWidth(segment);
    if (width > columns && index > 0) return [text.slice(0, index), text.slice(index)];
  }
  return [text, ''];
}
