/** A word of up to six letters with the space before it, one other character, or space at the end. */
const PIECE = /\s*[\p{L}\p{M}\p{N}]{1,6}|\s*[^\s\p{L}\p{M}\p{N}]|\s+/gu;

/** Cuts a text into pieces about as long as model tokens. Joined they are the text; no piece splits a code point. */
export function splitIntoPieces(text: string): readonly string[] {
  return text.match(PIECE) ?? [];
}
