import { byteReader } from './byteReader.js';
import {
  BACKSLASH,
  FIRST_PRINTABLE,
  isDigit,
  isOfDecimal,
  isSpace,
  isWhole,
  QUOTE,
  readDecimal,
  readString,
  ZERO,
} from './jsonScan.js';

/** How a hole is filled: the text, a string or a number that is read or skipped, blanks between tokens, an id in the framing. */
export const TEXT = 0;
export const STRING = 1;
export const NUMBER = 2;
export const SPACE = 3;
export const ID = 4;
/** A number with a sign, a fraction or an exponent, or without. */
export const DECIMAL = 5;
export type HoleKind = typeof TEXT | typeof STRING | typeof NUMBER | typeof SPACE | typeof ID | typeof DECIMAL;

/** What a frame has in the holes of its template. */
export interface Contents {
  text: string;
  readonly values: (string | number)[];
  id: string | undefined;
}

/** What stands before each hole, and what the hole is. */
export interface Segment {
  readonly literal: string;
  readonly kind: HoleKind;
  /** The place among the values that are read; -1 where nobody reads it. */
  readonly place: number;
}

interface Hole extends Omit<Segment, 'literal'> {
  readonly literal: Literal;
}

/** A template with its framing, for the bytes of a body. */
export class ByteTemplate {
  readonly #holes: readonly Hole[];
  readonly #last: Literal;

  private constructor(segments: readonly Segment[], last: string) {
    this.#holes = segments.map(({ literal, kind, place }) => ({ literal: new Literal(literal), kind, place }));
    this.#last = new Literal(last);
  }

  /** @returns undefined where a literal is not all ASCII */
  static of(segments: readonly Segment[], last: string): ByteTemplate | undefined {
    const literals = [...segments.map(({ literal }) => literal), last];
    return literals.every(isASCII) ? new ByteTemplate(segments, last) : undefined;
  }

  /**
   * Where the frame ends that begins at `from` and is the template's but for its holes; -1 where it is not, or is not all there.
   * @param view - of the whole buffer of `bytes`
   */
  match(view: DataView, bytes: Uint8Array, from: number, contents: Contents): number {
    const base = bytes.byteOffset;
    const length = bytes.length;
    let end = from;
    for (const hole of this.#holes) {
      const { literal, kind } = hole;
      const at = end + literal.length;
      if (at > length || !literal.stands(view, base + end)) return -1;
      if (kind === TEXT || kind === STRING) {
        const short = endOfShort(bytes, at);
        end = short === -1 ? endOfString(view, bytes, at) : short;
        if (end === -1 || (kind === TEXT && end === at)) return -1;
        if (kind === TEXT || hole.place !== -1 || short === -1) {
          const value = short === -1 ? readString(byteReader.decode(bytes, at, end)) : shortText(bytes, at, end - at);
          if (value === undefined) return -1;
          if (kind === TEXT) contents.text = value;
          else if (hole.place !== -1) contents.values[hole.place] = value;
        }
      } else if (kind === NUMBER) {
        end = endOfDigits(bytes, at);
        if (!isWhole(end - at, bytes[at] ?? 0)) return -1;
        if (hole.place !== -1) contents.values[hole.place] = wholeOf(bytes, at, end);
      } else if (kind === DECIMAL) {
        end = endOfDecimal(bytes, at);
        const value = shortDecimal(bytes, at, end) ?? readDecimal(byteReader.decode(bytes, at, end));
        if (value === undefined) return -1;
        if (hole.place !== -1) contents.values[hole.place] = value;
      } else if (kind === ID) {
        end = at;
        while (end < length && !isEndOfId(bytes[end])) end++;
        // With a NUL it is none, which is for the parser to know.
        if (bytes[end] === 0) return -1;
        contents.id = decodeText(bytes, at, end);
      } else {
        end = at;
        while (end < length && isSpace(bytes[end] ?? 0)) end++;
      }
    }
    const last = this.#last;
    return end + last.length <= length && last.stands(view, base + end) ? end + last.length : -1;
  }
}

function endOfDigits(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && isDigit(bytes[at] ?? 0)) at++;
  return at;
}

/**
 * The value of a number of at most 15 digits without a sign or an exponent; undefined where it is another, or none. The digits and
 * their power of ten are exact, so that one division rounds as `Number` does.
 */
function shortDecimal(bytes: Uint8Array, from: number, to: number): number | undefined {
  const isPadded = bytes[from] === ZERO && to - from > 1 && bytes[from + 1] !== POINT;
  if (to === from || to - from > POWERS.length || bytes[from] === POINT || isPadded) return undefined;
  let value = 0;
  let point = -1;
  for (let at = from; at < to; at++) {
    const code = bytes[at] ?? 0;
    if (isDigit(code)) value = value * 10 + code - ZERO;
    else if (code === POINT && point === -1) point = at;
    else return undefined;
  }
  if (point === -1) return isWhole(to - from, bytes[from] ?? 0) ? value : undefined;
  return point === to - 1 ? undefined : value / (POWERS[to - point - 1] ?? Number.NaN);
}

const POINT = 0x2e;
const POWERS: readonly number[] = Array.from({ length: 16 }, (_, power) => 10 ** power);

function wholeOf(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 10 + (bytes[at] ?? ZERO) - ZERO;
  return value;
}

/** The end of what may be a number: digits, signs, points, exponents. */
function endOfDecimal(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && isOfDecimal(bytes[at] ?? 0)) at++;
  return at;
}

function isEndOfId(byte: number | undefined): boolean {
  return byte === 0x0a || byte === 0x0d || byte === 0;
}

/**
 * The place of the quote that ends the string whose content begins at `from`; -1 where there is none, or a byte that JSON forbids.
 * Four bytes at a time, in the way of the {@link https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord | bit hacks}: a
 * piece of some hundred characters is a frame of mostly text.
 */
function endOfString(view: DataView, bytes: Uint8Array, from: number): number {
  const base = bytes.byteOffset;
  const { length } = bytes;
  let at = from;
  for (;;) {
    const code = bytes[at] ?? QUOTE;
    if (code === QUOTE) return at < length ? at : -1;
    if (code < FIRST_PRINTABLE) return -1;
    at += code === BACKSLASH ? 2 : 1;
    if (at - from < SHORT) continue;
    for (; at + 4 <= length; at += 4) {
      const word = view.getInt32(base + at, true);
      const quotes = word ^ 0x22222222;
      const backslashes = word ^ 0x5c5c5c5c;
      const marks =
        ((word - 0x20202020) & ~word) | ((quotes - 0x01010101) & ~quotes) | ((backslashes - 0x01010101) & ~backslashes);
      if ((marks & 0x80808080) !== 0) break;
    }
  }
}

/** Up to here bytes one by one are as fast. */
const SHORT = 16;

/** The end of a string of up to `MAX_SHORT` ASCII bytes without an escape; -1 where it is not one. */
function endOfShort(bytes: Uint8Array, from: number): number {
  const limit = Math.min(from + MAX_SHORT, bytes.length - 1);
  for (let at = from; at <= limit; at++) {
    const code = bytes[at] ?? 0;
    if (code === QUOTE) return at;
    if (code < FIRST_PRINTABLE || code >= NOT_ASCII || code === BACKSLASH) return -1;
  }
  return -1;
}

function decodeText(bytes: Uint8Array, from: number, to: number): string {
  let all = to - from > MAX_SHORT ? NOT_ASCII : 0;
  for (let at = from; at < to && all < NOT_ASCII; at++) all |= bytes[at] ?? 0;
  return all < NOT_ASCII ? shortText(bytes, from, to - from) : byteReader.decode(bytes, from, to);
}

const NOT_ASCII = 0x80;

function isASCII(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) >= NOT_ASCII) return false;
  return true;
}

const WORD = 8;

/** Bytes that are compared eight at a time, as numbers: half the time of decoding them and comparing the text. */
class Literal {
  readonly length: number;
  readonly #bytes: Uint8Array;
  /** The whole words, and the last eight bytes once more. Of ASCII, so none of them is NaN, which would equal nothing. */
  readonly #words: Float64Array;

  constructor(text: string) {
    const { length } = text;
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at++) bytes[at] = text.charCodeAt(at);
    const view = new DataView(bytes.buffer);
    const words = new Float64Array(length < WORD ? 0 : Math.ceil(length / WORD));
    for (let index = 0; index < words.length; index++) {
      words[index] = view.getFloat64(Math.min(index * WORD, length - WORD), true);
    }
    this.length = length;
    this.#bytes = bytes;
    this.#words = words;
  }

  /** @param at - in `view`, which reaches far enough */
  stands(view: DataView, at: number): boolean {
    const words = this.#words;
    const last = words.length - 1;
    if (last === -1) {
      for (let index = 0; index < this.length; index++) {
        if (view.getUint8(at + index) !== this.#bytes[index]) return false;
      }
      return true;
    }
    let index = 0;
    let place = at;
    // Four in one go, since this is most of what a frame costs.
    for (; index + 3 < last; index += 4, place += 4 * WORD) {
      if (
        view.getFloat64(place, true) !== words[index] ||
        view.getFloat64(place + WORD, true) !== words[index + 1] ||
        view.getFloat64(place + 2 * WORD, true) !== words[index + 2] ||
        view.getFloat64(place + 3 * WORD, true) !== words[index + 3]
      ) {
        return false;
      }
    }
    for (; index < last; index++, place += WORD) if (view.getFloat64(place, true) !== words[index]) return false;
    return view.getFloat64(at + this.length - WORD, true) === words[last];
  }
}

/** Up to here a call of the engine's own decoder costs more than to put characters together: most tokens. */
const MAX_SHORT = 9;

/** The text of ASCII bytes, of 1 to `MAX_SHORT`. */
function shortText(bytes: Uint8Array, from: number, length: number): string {
  const at = (index: number): number => bytes[from + index] ?? 0;
  switch (length) {
    case 0:
      return '';
    case 1:
      return String.fromCharCode(at(0));
    case 2:
      return String.fromCharCode(at(0), at(1));
    case 3:
      return String.fromCharCode(at(0), at(1), at(2));
    case 4:
      return String.fromCharCode(at(0), at(1), at(2), at(3));
    case 5:
      return String.fromCharCode(at(0), at(1), at(2), at(3), at(4));
    case 6:
      return String.fromCharCode(at(0), at(1), at(2), at(3), at(4), at(5));
    case 7:
      return String.fromCharCode(at(0), at(1), at(2), at(3), at(4), at(5), at(6));
    case 8:
      return String.fromCharCode(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7));
    default:
      return String.fromCharCode(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8));
  }
}
