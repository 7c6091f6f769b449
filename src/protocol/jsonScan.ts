// What JSON's tokens are made of (RFC 8259), for those who look at text and at bytes without parsing them.

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const ZERO = 0x30;
/** Characters before it may not stand in a string. */
export const FIRST_PRINTABLE = 0x20;
/** Numbers of so many digits are whole in JavaScript, whatever the digits. */
const MAX_DIGITS = 15;

export function isDigit(code: number): boolean {
  return code >= ZERO && code <= 0x39;
}

/** True for blanks and tabs. Line ends are none: in a body they are the framing's. */
export function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Whether so many digits, the first of them `first`, are a whole number that a JavaScript number holds. */
export function isWhole(digits: number, first: number): boolean {
  return digits > 0 && digits <= MAX_DIGITS && (digits === 1 || first !== ZERO);
}

/** The place of the quote that ends the string whose content begins at `from`; -1 where there is none, or a character that JSON forbids. */
export function endOfString(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
    else if (code < FIRST_PRINTABLE) return -1;
  }
  return -1;
}

/** The end of the whole number at `from`; `from` where there is none. */
export function endOfNumber(text: string, from: number): number {
  let at = from;
  while (isDigit(text.charCodeAt(at))) at++;
  return isWhole(at - from, text.charCodeAt(from)) ? at : from;
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
