/**
 * What a line of Markdown is, as far as its beginning tells. `unit`: a heading or a row of a table, which is one piece up to its
 * end. `item`, `quote`: a marker, after which another line begins. `rule`, `blank`, `fence`: whole lines.
 */
export type LineKind = 'blank' | 'unit' | 'item' | 'quote' | 'rule' | 'fence' | 'text';

/** A line's kind, and how much of it is thereby read. */
export interface LineStart {
  readonly kind: LineKind;
  readonly length: number;
  /** The marks that opened fenced code. */
  readonly fence?: string;
}

/** No marker is looked for beyond this; an info string that is longer is no info string. */
export const LINE_START_CHARS = 120;

const BREAK = /[\n\u2028\u2029]/u;
const RULE = /^([-*_])(?:[ \t]*\1){2,}[ \t\r]*\n/u;
const RULE_BEGUN = /^([-*_])(?:[ \t]*\1)*[ \t\r]*$/u;
const ITEM = /^(?:[-*+•‣◦]|\p{Nd}{1,3}[.)])[ \t]+(?=\S|\n)/u;
const ITEM_BEGUN = /^(?:[-*+•‣◦]|\p{Nd}{1,3}[.)]?)[ \t]*$/u;
const HEADING = /^#{1,6}[ \t]/u;
const FENCE = /^(`{3,}|~{3,})[^`\n]*\n/u;
const TILDE_FENCE = /^~{3,}[^\n]*\n/u;

/**
 * Tells what a line is, or undefined while more of it is needed. The answer for a text is the answer for every longer one.
 * @param start - the line's beginning, at most {@link LINE_START_CHARS}
 */
export function readLineStart(start: string): LineStart | undefined {
  const indent = start.search(/[^ \t\r\f\v\u00a0]/u);
  const isFull = start.length >= LINE_START_CHARS;
  const text: LineStart = { kind: 'text', length: 0 };
  if (indent === -1) return isFull ? text : undefined;
  const line = start.slice(indent);
  const first = line.charAt(0);
  if (BREAK.test(first)) return { kind: 'blank', length: indent + 1 };
  if (first === '|') return { kind: 'unit', length: indent + 1 };
  if (first === '>') return { kind: 'quote', length: indent + 1 };
  if (first === '#') {
    if (HEADING.test(line)) return { kind: 'unit', length: indent + 1 };
    return /^#{1,6}$/u.test(line) ? undefined : text;
  }
  if (first === '`' || first === '~') {
    const found = (first === '`' ? FENCE : TILDE_FENCE).exec(line)?.[0];
    if (found !== undefined) {
      return { kind: 'fence', length: indent + found.length, fence: /^[`~]+/u.exec(found)?.[0] ?? '' };
    }
    const isOpen = first === '`' ? /^`{3,}[^`\n]*$|^`{1,2}$/u : /^~{3,}[^\n]*$|^~{1,2}$/u;
    return isOpen.test(line) && !isFull ? undefined : text;
  }
  const rule = RULE.exec(line)?.[0];
  if (rule !== undefined) return { kind: 'rule', length: indent + rule.length };
  if (!isFull && RULE_BEGUN.test(line)) return undefined;
  const item = ITEM.exec(line)?.[0];
  if (item !== undefined) return { kind: 'item', length: indent + item.length };
  return !isFull && ITEM_BEGUN.test(line) ? undefined : text;
}

/** True for a line that ends code fenced by `fence`. */
export function closesFence(line: string, fence: string): boolean {
  const marks = line.trim();
  return marks.length >= fence.length && marks === fence.charAt(0).repeat(marks.length);
}
