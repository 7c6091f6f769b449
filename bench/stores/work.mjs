// What writers and readers know beforehand.
import { tokensOf } from '../fixtures.mjs';

/** How often a reader looks that is not told. */
export const POLL_MS = 100;

/** A stream's name, as long as a UUID. */
export function idOf(run, stream) {
  const hex = (number, digits) => number.toString(16).padStart(digits, '0');
  return `${hex(run, 8)}-0000-4000-8000-${hex(stream, 12)}`;
}

/** The text of every stream: one token before the measurement, by which readers are known to be there, and those that are measured. */
export function textOf(measured) {
  const tokens = tokensOf(measured + 1);
  const ends = new Uint32Array(tokens.length);
  let chars = 0;
  for (const [at, token] of tokens.entries()) {
    chars += token.length;
    ends[at] = chars;
  }
  return { tokens, ends };
}
