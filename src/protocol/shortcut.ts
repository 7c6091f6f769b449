import type { NDJSONLine, ServerSentMessage } from '../types.js';
import { byteReader } from './byteReader.js';

/** How frames are set into a body. */
export type BodyFraming = 'event' | 'line';

/** What a parser asks of the decoder that is its only reader, before it takes an event or a line apart. */
export interface Shortcut {
  /** True where it knows anything. */
  readonly isReady: boolean;
  /** True where it wants to be told the framing of what was just emitted. */
  readonly isLearning: boolean;
  /** Gives it a chunk; until `close`, since a chunk that is held keeps a whole buffer of the network's. */
  open(bytes: Uint8Array): void;
  close(): void;
  /** Where the event ends, with its blank line, or the line, that begins at `from`; -1 where it is like none before. */
  fits(from: number, framing: BodyFraming): number;
  /** What fitted. One object for all of a stream's, good until the next one. */
  readonly event: MatchedEvent;
  readonly line: MatchedLine;
  /** The id that it had in its framing; undefined where that has none. */
  readonly id: string | undefined;
  /** The framing: what stood before the data, and after it. */
  learn(framing: BodyFraming, before: string, after: string): void;
}

/** Bytes that fitted a template: what they say is most often never looked at. */
class Matched {
  #bytes: Uint8Array = NO_BYTES;
  #from = 0;
  #to = 0;

  protected get text(): string {
    return byteReader.decode(this.#bytes, this.#from, this.#to);
  }

  set(bytes: Uint8Array, from: number, to: number): void {
    this.#bytes = bytes;
    this.#from = from;
    this.#to = to;
  }

  /** Lets go of the chunk. */
  clear(): void {
    this.#bytes = NO_BYTES;
  }
}

const NO_BYTES = new Uint8Array(0);
/** Behind the data; in it there are none. */
const LINE_ENDS = /[\r\n]+$/;

/** An event that fitted a template. */
export class MatchedEvent extends Matched implements ServerSentMessage {
  readonly type = 'event';
  event = '';
  id = '';

  get data(): string {
    return this.text.replace(/^(?:(?:event|id):[^\n]*\n)*data: ?/, '').replace(LINE_ENDS, '');
  }

  /** The event in an object of its own. */
  copy(): ServerSentMessage {
    const { type, event, data, id } = this;
    return { type, event, data, id };
  }
}

/** A line that fitted a template. */
export class MatchedLine extends Matched implements NDJSONLine {
  readonly type = 'line';
  number = 0;

  get data(): string {
    return this.text.replace(LINE_ENDS, '');
  }

  /** The line in an object of its own. */
  copy(): NDJSONLine {
    const { type, data, number } = this;
    return { type, data, number };
  }
}
