/**
 * Text that was told piece by piece, where the provider later tells the whole: knows what of the whole is new. Holds a length and
 * a hash of the text, so a long text costs no more than a short one.
 */
export class ToldText {
  chars = 0;
  #hash = 0;
  /** Up to the last character that is no white space. */
  #trimmedChars = 0;
  #trimmedHash = 0;

  append(piece: TextPiece): void {
    if (piece.solidChars > 0) {
      this.#trimmedChars = this.chars + piece.solidChars;
      this.#trimmedHash = (Math.imul(this.#hash, piece.solidPower) + piece.solidHash) | 0;
    }
    this.#hash = (Math.imul(this.#hash, piece.power) + piece.hash) | 0;
    this.chars += piece.text.length;
  }

  /**
   * What `whole` has after the told text; `undefined` where it is another text. An empty whole unsays nothing, and one that lacks
   * nothing but white space at its end is the same text: servers leave out, and trim, what they repeat.
   */
  missingFrom(whole: string): string | undefined {
    const { length } = whole;
    if (length === 0) return '';
    if (length >= this.chars) return hashOf(whole, this.chars) === this.#hash ? whole.slice(this.chars) : undefined;
    const isTrimmed = length >= this.#trimmedChars && whole.slice(this.#trimmedChars).trim() === '';
    return isTrimmed && hashOf(whole, this.#trimmedChars) === this.#trimmedHash ? '' : undefined;
  }
}

/** A piece that is added to several texts: its characters are looked at once. */
export class TextPiece {
  readonly text: string;
  readonly hash: number;
  /** What the hash of the text before is multiplied by. */
  readonly power: number;
  /** How many characters there are up to the last that is no white space, and what is the same of these. */
  readonly solidChars: number;
  readonly solidHash: number;
  readonly solidPower: number;

  constructor(text: string) {
    const { length } = text;
    const last = text.charCodeAt(length - 1);
    // Most pieces end in a letter.
    const solid = last > 0x20 && last < 0x7f ? length : text.trimEnd().length;
    let hash = 0;
    let power = 1;
    for (let at = 0; at < solid; at++) {
      hash = (Math.imul(hash, BASE) + text.charCodeAt(at)) | 0;
      power = Math.imul(power, BASE);
    }
    this.solidChars = solid;
    this.solidHash = hash;
    this.solidPower = power;
    for (let at = solid; at < length; at++) {
      hash = (Math.imul(hash, BASE) + text.charCodeAt(at)) | 0;
      power = Math.imul(power, BASE);
    }
    this.text = text;
    this.hash = hash;
    this.power = power;
  }
}

/** Of a polynomial modulo 2³², over UTF-16 code units: hashes of pieces add up to that of the whole. The prime of FNV-1a. */
const BASE = 0x01000193;

function hashOf(text: string, to: number): number {
  let hash = 0;
  for (let at = 0; at < to; at++) hash = (Math.imul(hash, BASE) + text.charCodeAt(at)) | 0;
  return hash;
}
