const OPEN = '<think>';
const CLOSE = '</think>';

/** Takes a piece that is not empty. */
type Say = (type: 'text' | 'thinking', text: string) => void;

/**
 * Tells thinking from text where a server writes both into one field: what stands between `<think>` and `</think>` is
 * thinking, wherever it stands. Tags may be cut anywhere; held back is at most the beginning of one.
 */
export class InlineThinking {
  #held = '';
  #isThinking = false;

  /** True while the last characters may be the beginning of a tag. */
  get isHolding(): boolean {
    return this.#held !== '';
  }

  push(piece: string, say: Say): void {
    let rest = this.#held + piece;
    this.#held = '';
    for (;;) {
      const tag = this.#isThinking ? CLOSE : OPEN;
      const at = rest.indexOf(tag);
      if (at === -1) break;
      this.#say(rest.slice(0, at), say);
      this.#isThinking = !this.#isThinking;
      rest = rest.slice(at + tag.length);
    }
    const keep = rest.length - partialTag(rest, this.#isThinking ? CLOSE : OPEN);
    this.#held = rest.slice(keep);
    this.#say(rest.slice(0, keep), say);
  }

  /** The answer is over: what was held was no tag. */
  flush(say: Say): void {
    const held = this.#held;
    this.#held = '';
    this.#say(held, say);
  }

  #say(text: string, say: Say): void {
    if (text !== '') say(this.#isThinking ? 'thinking' : 'text', text);
  }
}

/** How many characters at the end of `text` begin `tag`; `<` is only ever a tag's first character. */
function partialTag(text: string, tag: string): number {
  const at = text.lastIndexOf('<');
  return at !== -1 && tag.startsWith(text.slice(at)) ? text.length - at : 0;
}
