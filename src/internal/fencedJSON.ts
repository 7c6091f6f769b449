import { ProtocolError } from '../errors.js';
import { PartialJSON } from './partialJSON.js';

const FENCE = '```';

/** JSON as models write it: alone or inside one Markdown code fence, with white space around. */
export class FencedJSON {
  readonly #json: PartialJSON;
  #stage: 'before' | 'inside' | 'after' = 'before';
  #isFenced = false;
  /** Of a fence: what has come of it, without white space. */
  #fence = '';
  #text = '';

  constructor(maxDepth: number) {
    this.#json = new PartialJSON(maxDepth);
  }

  /** Reads on. Throws ProtocolError where something else than JSON comes. */
  push(piece: string): void {
    if (this.#stage === 'before') this.#open(piece);
    else if (this.#stage === 'inside') this.#read(piece);
    else this.#close(piece);
  }

  /** As {@link PartialJSON.cost}. */
  get cost(): number {
    return this.#json.cost;
  }

  /** As {@link PartialJSON.view}. */
  view(): (() => unknown) | undefined {
    return this.#json.view();
  }

  /**
   * Says that nothing follows; returns whether the value is whole. A closing fence may be missing: it is a common stop word.
   * @param isCut - the text was ended by force, so a number at its end is not known to be whole
   */
  end(isCut: boolean): boolean {
    return isCut ? this.#json.isWhole : this.#json.end();
  }

  /** The value, once it is whole. */
  parse(): unknown {
    try {
      return JSON.parse(this.#text);
    } catch {
      // Without its cause, whose message quotes the text.
      throw new ProtocolError(`What came is not JSON (${String(this.#text.length)} characters)`);
    }
  }

  #open(piece: string): void {
    const text = (this.#fence + piece).trimStart();
    if (FENCE.startsWith(text)) this.#fence = text;
    else if (text.startsWith(FENCE)) {
      const rest = text.slice(FENCE.length).trimStart();
      this.#fence = FENCE + rest;
      if ('json'.startsWith(rest.toLowerCase())) return; // the word may go on, or be over
      this.#isFenced = true;
      this.#stage = 'inside';
      this.#fence = '';
      this.#read(rest.replace(/^json/i, ''));
    } else {
      this.#stage = 'inside';
      this.#read(text);
    }
  }

  #read(piece: string): void {
    let from = 0;
    let tick = this.#isFenced ? piece.indexOf('`') : -1;
    for (; tick >= 0; tick = piece.indexOf('`', from + 1)) {
      this.#push(piece.slice(from, tick));
      if (!this.#json.isInString) {
        if (!this.#json.end()) throw new ProtocolError('The code fence ends before the JSON in it does');
        this.#stage = 'after';
        this.#close(piece.slice(tick));
        return;
      }
      from = tick;
    }
    this.#push(piece.slice(from));
  }

  #push(text: string): void {
    this.#text += text;
    this.#json.push(text);
  }

  #close(piece: string): void {
    this.#fence = (this.#fence + piece).trimEnd();
    if (!FENCE.startsWith(this.#fence)) throw new ProtocolError('Something follows the code fence around the JSON');
  }
}
