import type { Received } from '../types.js';

/** Pieces of a text are put together up to so many characters: a piece alone costs many times the memory of its text. */
const PART_CHARS = 1_024;

/** Keeps the newest characters of a text that may grow without end. */
export class ReceivedText {
  readonly #max: number;
  /** Whole strings of at least `PART_CHARS`, so that the oldest can be let go of one by one. */
  #parts: string[] = [];
  #partChars = 0;
  #last = '';
  #chars = 0;

  constructor(maxChars: number) {
    this.#max = maxChars;
  }

  add(text: string): void {
    this.#chars += text.length;
    this.#last += text;
    if (this.#last.length >= PART_CHARS) this.#closePart();
  }

  clear(): void {
    this.#parts = [];
    this.#partChars = 0;
    this.#last = '';
    this.#chars = 0;
  }

  get(): Received {
    const text = newest(this.#parts.join('') + this.#last, this.#max);
    return { text, chars: this.#chars, truncated: text.length < this.#chars };
  }

  #closePart(): void {
    this.#last.charCodeAt(0); // makes one string of what is a tree of its pieces till then
    this.#parts.push(this.#last);
    this.#partChars += this.#last.length;
    this.#last = '';
    for (;;) {
      const oldest = this.#parts[0]?.length ?? Infinity;
      if (this.#partChars - oldest < this.#max) break;
      this.#parts.shift();
      this.#partChars -= oldest;
    }
  }
}

/** The end of a text, not beginning inside a surrogate pair. */
function newest(text: string, max: number): string {
  if (text.length <= max) return text;
  const end = text.slice(text.length - max);
  const first = end.charCodeAt(0);
  return first >= 0xdc00 && first <= 0xdfff ? end.slice(1) : end;
}
