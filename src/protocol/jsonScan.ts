// What JSON's tokens are made of (RFC 8259), for those who look at text and at bytes without parsing them.

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const ZERO = 0x30;
/** Characters before it may not stand in a string. */
export const FIRST_PRINTABLE = 0x20;

export function isDigit(code: number): boolean {
  return code >= ZERO && code <= 0x39;
}

/** True for blanks and tabs. Line ends are none: in a body they are the framing's. */
export function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Whether so many digits, the first of them `first`, are a whole number that a JavaScript number holds, whatever the digits. */
export function isWhole(digits: number, first: number): boolean {
  return digits > 0 && digits <= MAX_DIGITS && (digits === 1 || first !== ZERO);
}

const MAX_DIGITS = 15;

/** True for what may stand in a number: digits, signs, a point, an exponent. */
export function isOfDecimal(code: number): boolean {
  return isDigit(code) || code === 0x2b || code === 0x2d || code === 0x2e || code === 0x45 || code === 0x65;
}

/** The value of a number; `undefined` where it is none, or too large for one: a schema may refuse what is not finite. */
export function readDecimal(text: string): number | undefined {
  const value = NUMBER.test(text) ? Number(text) : Infinity;
  return Number.isFinite(value) ? value : undefined;
}

const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$/;

/** The place of the quote that ends the string whose content begins at `from`; -1 where there is none, or a character that JSON forbids. */
export function endOfString(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
    else if (code < FIRST_PRINTABLE) return -1;
    else if (at - from > SHORT) return endOfLongString(text, at);
  }
  return -1;
}

/** Up to here characters one by one are as fast. */
const SHORT = 32;

/** As `endOfString`, from a character on that is no escape's. */
function endOfLongString(text: string, from: number): number {
  for (let quote = text.indexOf('"', from); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let before = quote;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    // After an even number of backslashes it is not escaped.
    if ((quote - before) % 2 === 0) return FORBIDDEN.test(text.slice(from, quote)) ? -1 : quote;
  }
  return -1;
}

// eslint-disable-next-line no-control-regex -- these are what JSON forbids
const FORBIDDEN = /[\u0000-\u001f]/;

/** The end of the whole number at `from`; `from` where there is none. */
export function endOfWhole(text: string, from: number): number {
  let at = from;
  while (isDigit(text.charCodeAt(at))) at++;
  return isWhole(at - from, text.charCodeAt(from)) ? at : from;
}

/** The end of what may be a number. */
export function endOfDecimal(text: string, from: number): number {
  let at = from;
  while (isOfDecimal(text.charCodeAt(at))) at++;
  return at;
}

export function endOfSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** The value of a string's content; `undefined` where it holds an escape that is none. */
export function readString(content: string): string | undefined {
  if (!content.includes('\\')) return content;
  try {
    return JSON.parse(`"${content}"`) as string;
  } catch {
    return undefined; // it is parsed with its frame, and fails there
  }
}
