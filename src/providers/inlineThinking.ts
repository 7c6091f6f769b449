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
  /** True once anything but what is held has come: text, thinking or a tag. */
  #hasBegun = false;

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
      this.#hasBegun = true;
      rest = rest.slice(at + tag.length);
    }
    const keep = rest.length - partialTag(rest, this.#isThinking ? CLOSE : OPEN);
    this.#held = rest.slice(keep);
    this.#say(rest.slice(0, keep), say);
  }

  /**
   * The answer is cut: what was held may have been a tag or not. Text with a `<` in it is the likelier, so it is said as what
   * it stands in: text, or inside of thinking as thinking. Not so where it is all that came: an answer that begins with
   * the beginning of `<think>` is most likely thinking, whose tag is no text.
   */
  release(say: Say): void {
    if (this.#hasBegun) this.flush(say);
  }

  /** The answer is over: what was held was no tag. */
  flush(say: Say): void {
    const held = this.#held;
    this.#held = '';
    this.#say(held, say);
  }

  #say(text: string, say: Say): void {
    if (text === '') return;
    this.#hasBegun = true;
    say(this.#isThinking ? 'thinking' : 'text', text);
  }
}

/** How many characters at the end of `text` begin `tag`; `<` is only ever a tag's first character. */
function partialTag(text: string, tag: string): number {
  const at = text.lastIndexOf('<');
  return at !== -1 && tag.startsWith(text.slice(at)) ? text.length - at : 0;
}
