/** Characters that are kept of a text's end, and of which a hash is kept instead before that; chosen. */
const KEPT_CHARS = 65_536;
const BLOCK_CHARS = 16_384;

/**
 * A text that was delivered, for comparison with a replay of it. It keeps a count, hashes of blocks, and the newest 64 Ki characters
 * with what fills the last block, not the text.
 */
export class DeliveredText {
  #chars = 0;
  readonly #hashes: number[] = [];
  /** What comes after the hashed blocks. */
  #end = '';

  get chars(): number {
    return this.#chars;
  }

  add(text: string): void {
    this.#chars += text.length;
    this.#end += text;
    while (this.#end.length >= KEPT_CHARS + BLOCK_CHARS) {
      this.#hashes.push(hash(this.#end.slice(0, BLOCK_CHARS)));
      this.#end = this.#end.slice(BLOCK_CHARS);
    }
  }

  /** Begins a comparison with this text as it is now. */
  compare(): TextComparison {
    return new TextComparison(this.#chars, [...this.#hashes], this.#end);
  }

  /**
   * What `whole` has after this text; `undefined` where it is another text. A whole that lacks nothing but white space at its
   * end is the same text: servers trim what they store, and that is no reason to begin anew.
   */
  missingFrom(whole: string): string | undefined {
    const comparison = this.compare();
    const missing = comparison.push(whole);
    if (missing === undefined) return undefined;
    return comparison.isThrough || comparison.awaited?.trim() === '' ? missing : undefined;
  }
}

/** A comparison of a text that comes piece by piece with one that was delivered. */
export class TextComparison {
  readonly #chars: number;
  readonly #hashes: readonly number[];
  readonly #end: string;
  #at = 0;
  /** What came of the block that is known by its hash alone. */
  #block = '';
  #isOther = false;

  constructor(chars: number, hashes: readonly number[], end: string) {
    this.#chars = chars;
    this.#hashes = hashes;
    this.#end = end;
  }

  /** Everything that was delivered has come again. */
  get isThrough(): boolean {
    return this.#at === this.#chars;
  }

  /** What was delivered and has not come again; `undefined` where it is not kept. */
  get awaited(): string | undefined {
    const begin = this.#at - this.#hashes.length * BLOCK_CHARS;
    return begin < 0 ? undefined : this.#end.slice(begin);
  }

  /** The part of `piece` that follows what was delivered; `undefined` where the text is another one. */
  push(piece: string): string | undefined {
    if (this.#isOther) return undefined;
    let rest = piece;
    while (rest !== '' && !this.isThrough) {
      const hashed = this.#hashes.length * BLOCK_CHARS;
      if (this.#at < hashed) {
        const part = rest.slice(0, BLOCK_CHARS - this.#block.length);
        this.#block += part;
        rest = this.#pass(rest, part.length);
        if (this.#block.length < BLOCK_CHARS) continue;
        this.#isOther = hash(this.#block) !== this.#hashes[this.#at / BLOCK_CHARS - 1];
        this.#block = '';
      } else {
        const part = this.#end.slice(this.#at - hashed, this.#at - hashed + rest.length);
        this.#isOther = !rest.startsWith(part);
        rest = this.#pass(rest, part.length);
      }
      if (this.#isOther) return undefined;
    }
    return rest;
  }

  #pass(text: string, chars: number): string {
    this.#at += chars;
    return text.slice(chars);
  }
}

/** FNV-1a over UTF-16 code units, twice with different primes, as one number of 53 bits. */
function hash(text: string): number {
  let a = 0x811c9dc5;
  let b = 0x9dc5811c;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b);
  }
  return (a >>> 0) * 0x200000 + (b >>> 11);
}
