import type { TurnOptions } from '../protocol/dialect.js';
import type { StreamEvent } from '../types.js';

type Piece = Extract<StreamEvent, { type: 'text' | 'thinking' | 'refusal' }>;

/**
 * What a dialect needs to give an answer back as the assistant's turn: its text, joined where pieces follow one another in one
 * output, its whole calls, and the raw frames that the dialect asks for. Adding costs a constant; what is shown does not change.
 */
export class TurnLog {
  /** Only added to, so that those who were shown its beginning keep it. */
  #closed: StreamEvent[] = [];
  #open: Piece | undefined;
  /** What came of it so far. */
  #text = '';

  /** The answer begins anew, or another one does. */
  clear(): void {
    this.#closed = [];
    this.#open = undefined;
  }

  /** @param needs - whether a raw frame is part of the turn */
  add(event: StreamEvent, needs: TurnOptions<unknown>['needs']): void {
    switch (event.type) {
      case 'text':
      case 'thinking':
      case 'refusal':
        if (event.alternative !== true) this.#join(event);
        break;
      case 'tool-call':
      case 'media':
        if (event.alternative !== true) this.#close(event);
        break;
      case 'tool-result':
      case 'finish':
        this.#close(event);
        break;
      case 'raw':
        if (needs?.(event) === true) this.#close(event);
        break;
      case 'restart':
        this.clear();
        break;
      default: // tells of the way, or is for preview
    }
  }

  /** Shows what is there now. */
  view(): () => readonly StreamEvent[] {
    const closed = this.#closed;
    const { length } = closed;
    const open = this.#piece();
    return () => (open === undefined ? closed.slice(0, length) : [...closed.slice(0, length), open]);
  }

  #join(event: Piece): void {
    const open = this.#open;
    if (open?.type === event.type && open.index === event.index && open.name === event.name) {
      this.#text += event.text;
      return;
    }
    this.#closeOpen();
    this.#open = event;
    this.#text = event.text;
  }

  #piece(): Piece | undefined {
    return this.#open && { ...this.#open, text: this.#text };
  }

  #closeOpen(): void {
    const piece = this.#piece();
    if (piece !== undefined) this.#closed.push(piece);
    this.#open = undefined;
  }

  #close(event: StreamEvent): void {
    this.#closeOpen();
    this.#closed.push(event);
  }
}
