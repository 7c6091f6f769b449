import { Writable } from 'node:stream';
import type { WritableFile } from '../../src/internal/io.js';

/** Says when something slow has taken so many bytes. */
export interface Gate {
  /** How many bytes were taken so far. */
  readonly taken: number;
  take(bytes: number, done: () => void): void;
}

/** Takes so many bytes in a second, whoever brings them. */
export class RateGate implements Gate {
  taken = 0;
  readonly #bytesPerMs: number;
  #next = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
  }

  take(bytes: number, done: () => void): void {
    const now = performance.now();
    // A timer that comes late is made up for, but not an idle time.
    this.#next = Math.max(this.#next, now - 50) + bytes / this.#bytesPerMs;
    const tell = (): void => {
      this.taken += bytes;
      done();
    };
    // The clock of timers is no finer.
    if (this.#next - now < 1) tell();
    else setTimeout(tell, this.#next - now);
  }
}

/** Takes what it was allowed, in the order in which it came, and waits for more. */
export class StepGate implements Gate {
  taken = 0;
  #allowed = 0;
  readonly #waiting: { readonly bytes: number; readonly done: () => void }[] = [];
  #onUsedUp: (() => void) | undefined;

  take(bytes: number, done: () => void): void {
    this.#waiting.push({ bytes, done });
    this.#serve();
  }

  /** Resolves when so many more bytes were taken, and something waits again. */
  allow(bytes: number): Promise<void> {
    this.#allowed += bytes;
    return new Promise((resolve) => {
      this.#onUsedUp = resolve;
      setImmediate(() => {
        this.#serve();
      });
    });
  }

  #serve(): void {
    while (this.taken < this.#allowed) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.taken += next.bytes;
      next.done();
    }
    if (this.#waiting.length > 0) this.#onUsedUp?.();
  }
}

/** An output as slow as its gate. */
export function slowOutput(gate: Gate): Writable {
  return new Writable({
    write: (chunk: Buffer, _, done) => {
      gate.take(chunk.length, done);
    },
  });
}

/** A file on a disk as slow as its gate; what is written is not kept. */
export function slowFile(file: WritableFile, gate: Gate): WritableFile {
  return {
    ...file,
    write: (bytes) =>
      new Promise((resolve) => {
        gate.take(bytes.length, resolve);
      }),
  };
}
