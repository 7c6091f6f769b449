import type { WritableFile } from './io.js';
import { wholeText } from './wholeText.js';

/** How much of a text. */
export interface Extent {
  readonly chars: number;
  readonly bytes: number;
}

/** Hears how a file keeps up. */
export interface TextFileEvents {
  /** Something was written and there is room for more. */
  readonly onRoom: () => void;
  /** The disk refused; nothing more is written. `end` rejects with the same reason. */
  readonly onFailure: () => void;
}

const NOTHING: Extent = { chars: 0, bytes: 0 };

/**
 * Writes text to a file as it comes, one write at a time, so that a slow disk gets few large ones. A surrogate pair that
 * comes in two pieces is written whole.
 */
export class TextFileWriter {
  readonly #file: WritableFile;
  readonly #maxWaitingChars: number;
  readonly #events: TextFileEvents;
  readonly #encoder = new TextEncoder();

  /** First half of a surrogate pair whose other half has not come. */
  #half = '';
  #waiting = '';
  #inFlightChars = 0;
  /** Where the file ends once the operation in flight is done, and where it ends now. */
  #ahead = NOTHING;
  #written = NOTHING;
  /** Everything up to here stays when the text begins anew. */
  #kept = NOTHING;
  #mustTruncate = false;
  #isWorking = false;
  #work: Promise<void> = Promise.resolve();
  #failure: { readonly reason: unknown } | undefined;

  constructor(file: WritableFile, maxWaitingChars: number, events: TextFileEvents) {
    this.#file = file;
    this.#maxWaitingChars = maxWaitingChars;
    this.#events = events;
  }

  /** What the file holds. */
  get written(): Extent {
    return this.#written;
  }

  /** True while as much text as may wait is on its way to the disk. */
  get isFull(): boolean {
    return this.#inFlightChars + this.#waiting.length >= this.#maxWaitingChars;
  }

  add(text: string): void {
    const joined = this.#half + text;
    const whole = wholeText(joined);
    this.#half = joined.slice(whole.length);
    this.#waiting += whole;
    this.#start();
  }

  /** One text has ended and another may follow: `restart` leaves what was added so far. */
  keep(): void {
    this.#flushHalf();
    const { chars, bytes } = this.#ahead;
    const waiting = this.#waiting;
    this.#kept = { chars: chars + waiting.length, bytes: bytes + this.#encoder.encode(waiting).length };
  }

  /** The text begins anew: what was added since the last `keep` is taken back, from the file too. */
  restart(): void {
    this.#half = '';
    const keptWaiting = this.#kept.chars - this.#ahead.chars;
    this.#waiting = this.#waiting.slice(0, Math.max(0, keptWaiting));
    if (keptWaiting < 0) {
      this.#ahead = this.#kept;
      this.#mustTruncate = true;
    }
    this.#start();
  }

  /** Writes what waits, half of a pair too; rejects with what the disk said. More may be added after. */
  async end(): Promise<void> {
    this.#flushHalf();
    this.#start();
    await this.#work;
    if (this.#failure !== undefined) throw this.#failure.reason;
  }

  #flushHalf(): void {
    this.#waiting += this.#half;
    this.#half = '';
  }

  #start(): void {
    if (!this.#isWorking) this.#work = this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    this.#isWorking = true;
    try {
      for (let step = this.#nextStep(); step !== undefined; step = this.#nextStep()) {
        const reached = this.#ahead;
        await step;
        this.#written = reached;
        this.#inFlightChars = 0;
        if (!this.isFull) this.#events.onRoom();
      }
    } catch (reason) {
      this.#failure = { reason };
      this.#waiting = '';
      this.#events.onFailure();
    }
    this.#isWorking = false;
  }

  #nextStep(): Promise<void> | undefined {
    if (this.#failure !== undefined) return undefined;
    if (this.#mustTruncate) {
      this.#mustTruncate = false;
      return this.#file.truncate(this.#ahead.bytes);
    }
    const text = this.#waiting;
    if (text === '') return undefined;
    const encoded = this.#encoder.encode(text);
    this.#waiting = '';
    this.#inFlightChars = text.length;
    this.#ahead = { chars: this.#ahead.chars + text.length, bytes: this.#ahead.bytes + encoded.length };
    return this.#file.write(encoded);
  }
}
