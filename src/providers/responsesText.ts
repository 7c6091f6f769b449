/**
 * Text that was told piece by piece, where the provider later tells the whole: knows what of the whole is new. Holds a length and
 * a hash of the text, so a long text costs no more than a short one.
 */
export class ToldText {
  chars = 0;
  #hash = SEED;
  /** Up to the last character that is no white space. */
  #trimmedChars = 0;
  #trimmedHash = SEED;

  append(text: string): void {
    const solid = text.trimEnd().length;
    if (solid > 0) {
      this.#trimmedChars = this.chars + solid;
      this.#trimmedHash = hash(this.#hash, text, 0, solid);
      this.#hash = hash(this.#trimmedHash, text, solid, text.length);
    } else this.#hash = hash(this.#hash, text, 0, text.length);
    this.chars += text.length;
  }

  /**
   * What `whole` has after the told text; `undefined` where it is another text. An empty whole unsays nothing, and one that lacks
   * nothing but white space at its end is the same text: servers leave out, and trim, what they repeat.
   */
  missingFrom(whole: string): string | undefined {
    const { length } = whole;
    if (length === 0) return '';
    if (length >= this.chars)
      return hash(SEED, whole, 0, this.chars) === this.#hash ? whole.slice(this.chars) : undefined;
    const isTrimmed = length >= this.#trimmedChars && whole.slice(this.#trimmedChars).trim() === '';
    return isTrimmed && hash(SEED, whole, 0, this.#trimmedChars) === this.#trimmedHash ? '' : undefined;
  }
}

/** FNV-1a, over UTF-16 code units. */
const SEED = 0x811c9dc5;

function hash(before: number, text: string, from: number, to: number): number {
  let value = before;
  for (let at = from; at < to; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value;
}
