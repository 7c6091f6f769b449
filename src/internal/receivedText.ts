import type { Received } from '../types.js';

/** Keeps the newest characters of a text that may grow without end. */
export class ReceivedText {
  readonly #max: number;
  #text = '';
  #chars = 0;

  constructor(maxChars: number) {
    this.#max = maxChars;
  }

  add(text: string): void {
    this.#chars += text.length;
    this.#text += text;
    // Cut at twice the bound, so that the cost of cutting stays a constant per character.
    if (this.#text.length > 2 * this.#max) this.#text = newest(this.#text, this.#max);
  }

  clear(): void {
    this.#text = '';
    this.#chars = 0;
  }

  get(): Received {
    const text = newest(this.#text, this.#max);
    return { text, chars: this.#chars, truncated: text.length < this.#chars };
  }
}

/** The end of a text, not beginning inside a surrogate pair. */
function newest(text: string, max: number): string {
  if (text.length <= max) return text;
  const end = text.slice(text.length - max);
  const first = end.charCodeAt(0);
  return first >= 0xdc00 && first <= 0xdfff ? end.slice(1) : end;
}
