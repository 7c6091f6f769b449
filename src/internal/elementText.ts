import { keepScrollEnd } from './scrollEnd.js';
import { wholeText } from './wholeText.js';

/** A text node of more is gone on with in another, between two words: each write copies what its node holds. */
const NODE_CHARS = 8_192;
/** Where no space comes, in another all the same. */
const MAX_NODE_CHARS = 32_768;

/** The text of one stream in an element: text nodes that stand together, whatever others write beside them. */
export class ElementText {
  readonly #element: Element;
  readonly #isAppended: boolean;
  readonly #encoder = new TextEncoder();
  #bytes = 0;
  #hasWritten = false;
  /** What is not written yet, and how much of it belongs to answers that are whole. */
  #waiting = '';
  #kept = 0;
  /** The nodes of the answer that is on its way, and where in the first of them it begins. */
  #nodes: Text[] = [];
  #from = 0;
  /** What was written before that answer. */
  #bytesBefore = 0;

  /** @param isAppended - what is in the element stays; else it makes room for the first text */
  constructor(element: Element, isAppended: boolean) {
    this.#element = element;
    this.#isAppended = isAppended;
  }

  /** Bytes of UTF-8 written. */
  get bytes(): number {
    return this.#bytes;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(text: string): void {
    this.#waiting += text;
  }

  /** The answer is whole: what comes is another. */
  keep(): void {
    this.#kept = this.#waiting.length;
    if (this.#kept === 0) this.#beginAnswer();
  }

  /** Takes back what was written of the answer that is on its way. */
  restart(): void {
    this.#waiting = this.#waiting.slice(0, this.#kept);
    if (this.#kept > 0) return; // nothing of it was written
    const [first, ...others] = this.#nodes;
    this.#bytes = this.#bytesBefore;
    this.#nodes = first === undefined ? [] : [first];
    // It stays, though it be empty: it holds the place.
    first?.deleteData(Math.min(this.#from, first.length), first.length);
    for (const node of others) node.remove();
  }

  /**
   * Writes what is waiting, but for half of a surrogate pair at its end whose other half may come.
   * @param isLast - that too
   */
  write(isLast = false): void {
    const waiting = this.#waiting;
    const kept = waiting.slice(0, this.#kept);
    const rest = waiting.slice(this.#kept);
    const whole = isLast ? rest : wholeText(rest);
    this.#waiting = rest.slice(whole.length);
    const isNext = this.#kept > 0;
    this.#kept = 0;
    if (kept === '' && whole === '') return;
    const scroll = keepScrollEnd(this.#element);
    if (isNext) {
      this.#put(kept);
      this.#beginAnswer();
    }
    if (whole !== '') this.#put(whole);
    scroll();
  }

  #beginAnswer(): void {
    const last = this.#nodes.at(-1);
    this.#nodes = last === undefined ? [] : [last];
    this.#from = last?.length ?? 0;
    this.#bytesBefore = this.#bytes;
  }

  #put(text: string): void {
    this.#bytes += this.#encoder.encode(text).length;
    const last = this.#nodes.at(-1);
    // Whoever took it out or away owns it now.
    if (last?.parentNode !== this.#element) this.#open(text, undefined);
    else if (last.length < NODE_CHARS) last.appendData(text);
    else {
      const space = text.search(/\s/);
      const isFull = space < 0 && last.length >= MAX_NODE_CHARS;
      const cut = isFull ? 0 : space < 0 ? text.length : space;
      if (cut > 0) last.appendData(text.slice(0, cut));
      if (cut < text.length) this.#open(text.slice(cut), last);
    }
  }

  #open(text: string, last: Text | undefined): void {
    const node = this.#element.ownerDocument.createTextNode(text);
    this.#nodes.push(node);
    if (last !== undefined) last.after(node);
    else if (this.#hasWritten || this.#isAppended) this.#element.append(node);
    else this.#element.replaceChildren(node);
    this.#hasWritten = true;
  }
}
