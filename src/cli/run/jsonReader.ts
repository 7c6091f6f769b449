import { endOfString, readString } from '../../protocol/jsonScan.js';

/** Deeper is no request that anybody sends. */
export const MAX_DEPTH = 100;

/** A text is no JSON. */
export class JSONFault extends Error {
  override readonly name = 'JSONFault';
  /** Where in the text. */
  readonly at: number;

  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/**
 * Walks over JSON without making values, so that the place of each part is known, and that of a mistake: `JSON.parse` tells neither, and
 * quotes the text. Every method begins at `at` and leaves it behind what it has read.
 */
export class JSONReader {
  readonly #text: string;
  at: number;

  constructor(text: string, at = 0) {
    this.#text = text;
    this.at = at;
  }

  /** What comes next, behind white space; empty at the end. */
  peek(): string {
    for (;;) {
      const code = this.#text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return this.#text.charAt(this.at);
      this.at += 1;
    }
  }

  /** Passes a whole value. @throws JSONFault where there is none */
  value(depth = 0): void {
    if (depth > MAX_DEPTH) throw new JSONFault(this.at, `is nested more than ${String(MAX_DEPTH)} deep`);
    switch (this.peek()) {
      case '{':
        this.members(() => {
          this.value(depth + 1);
        });
        return;
      case '[':
        this.items(() => {
          this.value(depth + 1);
        });
        return;
      case '"':
        this.#string();
        return;
      default:
        this.#word();
    }
  }

  /** Passes a list. @param onItem - passes the item that begins at `at` */
  items(onItem: () => void): void {
    this.#container(']', onItem);
  }

  /** Passes an object. @param onMember - passes the value that begins at `at`; `keyAt` is where its name begins */
  members(onMember: (name: string, keyAt: number) => void): void {
    this.#container('}', () => {
      const keyAt = this.at;
      if (this.peek() !== '"') throw new JSONFault(keyAt, 'a name in double quotes must stand here');
      const name = this.#string();
      if (this.peek() !== ':') throw new JSONFault(this.at, 'a colon must stand here');
      this.at += 1;
      this.peek();
      onMember(name, keyAt);
    });
  }

  /** @throws JSONFault where anything follows */
  end(): void {
    if (this.peek() !== '') throw new JSONFault(this.at, 'something follows that is no part of it');
  }

  #container(close: string, onPart: () => void): void {
    const from = this.at;
    this.at += 1;
    if (this.peek() === close) {
      this.at += 1;
      return;
    }
    for (;;) {
      if (this.peek() === '') throw unended(from, close);
      onPart();
      const next = this.peek();
      if (next !== ',' && next !== close) {
        throw next === '' ? unended(from, close) : new JSONFault(this.at, `a comma or ${close} must stand here`);
      }
      this.at += 1;
      if (next === close) return;
    }
  }

  #string(): string {
    const from = this.at + 1;
    const end = endOfString(this.#text, from);
    if (end === -1)
      throw new JSONFault(this.at, 'the text that begins here does not end on its line, or holds a control character');
    const content = this.#text.slice(from, end);
    const read = readString(content);
    if (read === undefined)
      throw new JSONFault(this.at, 'the text that begins here holds a backslash that means nothing');
    this.at = end + 1;
    return read;
  }

  #word(): void {
    WORD.lastIndex = this.at;
    const [word] = WORD.exec(this.#text) ?? [];
    if (word === undefined) throw new JSONFault(this.at, 'a value must stand here');
    this.at += word.length;
  }
}

/** A number or a name that ends where it should. */
const WORD = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null)(?![\w.+-])/y;

function unended(from: number, close: string): JSONFault {
  return new JSONFault(from, `what begins here has no end: a ${close} is missing`);
}
