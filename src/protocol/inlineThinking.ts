/** What stands before and after thinking, where a model writes it into its text. @public */
export interface ThinkingTag {
  readonly open: string;
  readonly close: string;
}

/** Takes a piece that is not empty. */
type Say = (type: 'text' | 'thinking', text: string) => void;

/** Tags made ready for reading. One serves any number of readers. */
export class ThinkingTags {
  readonly #tags: readonly ThinkingTag[];
  readonly #open: RegExp;

  /** @param tags - at least one; no `open` may contain another */
  constructor(tags: readonly ThinkingTag[]) {
    this.#tags = tags;
    this.#open = new RegExp(tags.map(({ open }) => escape(open)).join('|'), 'g');
  }

  /** The first tag that opens at `from` or later. */
  find(text: string, from: number): { readonly at: number; readonly tag: ThinkingTag } | undefined {
    this.#open.lastIndex = from;
    const match = this.#open.exec(text);
    const tag = this.#tags.find(({ open }) => open === match?.[0]);
    return match === null || tag === undefined ? undefined : { at: match.index, tag };
  }

  /** Where the beginning of a tag that opens stands at the end of `text`, at `from` or later; else the end. */
  partialAt(text: string, from: number): number {
    return this.#tags.reduce((first, { open }) => Math.min(first, partialAt(text, from, open)), text.length);
  }
}

const THINK: ThinkingTags = new ThinkingTags([{ open: '<think>', close: '</think>' }]);

/**
 * Tells thinking from text where a server writes both into one field: what stands between `<think>` and `</think>`, or other
 * tags, is thinking, wherever it stands. Tags may be cut anywhere; held back is at most the beginning of one.
 */
export class InlineThinking {
  readonly #tags: ThinkingTags;
  #held = '';
  /** What ends the thinking; undefined while it is text. */
  #close: string | undefined;
  /** True once anything but what is held has come: text, thinking or a tag. */
  #hasBegun = false;

  constructor(tags: ThinkingTags = THINK) {
    this.#tags = tags;
  }

  /** True while the last characters may be the beginning of a tag. */
  get isHolding(): boolean {
    return this.#held !== '';
  }

  push(piece: string, say: Say): void {
    const text = this.#held + piece;
    this.#held = '';
    let from = 0;
    for (;;) {
      const close: string | undefined = this.#close;
      const found = close === undefined ? this.#tags.find(text, from) : undefined;
      const at = close === undefined ? (found?.at ?? -1) : text.indexOf(close, from);
      if (at === -1) break;
      this.#say(text.slice(from, at), say);
      this.#close = found?.tag.close;
      this.#hasBegun = true;
      from = at + (close ?? found?.tag.open ?? '').length;
    }
    const end = this.#close === undefined ? this.#tags.partialAt(text, from) : partialAt(text, from, this.#close);
    this.#held = text.slice(end);
    this.#say(text.slice(from, end), say);
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
    say(this.#close === undefined ? 'text' : 'thinking', text);
  }
}

/** Where a beginning of `tag` that is not all of it stands at the end of `text`, at `from` or later; else the end. */
function partialAt(text: string, from: number, tag: string): number {
  const first = tag.slice(0, 1);
  let at = text.indexOf(first, Math.max(from, text.length - tag.length + 1));
  while (at !== -1 && !tag.startsWith(text.slice(at))) at = text.indexOf(first, at + 1);
  return at === -1 ? text.length : at;
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
