import { asyncScheduler, type Subscription } from 'rxjs';

/** A process that says nothing any more counts as a reader for so long. */
export const PRESENCE_MS = 30_000;
/** And for so many of the writer's leases where that is longer: a writer that waits for a store that is away must not find its readers gone. */
export const PRESENCE_LEASES = 2;
/** It says so as often in that time. */
const TIMES = 3;
/** What a store is told at once, so that it is not long at it. */
const MOST_MARKS = 250;

/** What a process tells a store of its readers of one stream. */
export interface ReaderMark {
  readonly stream: string;
  /** Another name each time that the process begins to read the stream: what comes late is of a reading that is over. */
  readonly reader: string;
  readonly isReading: boolean;
}

/** One reader of one stream in this process. */
export interface Attendee {
  /** It has looked at the stream, whose writer wants to know of readers, or does not. */
  hears(isWatched: boolean): void;
  leave(): void;
}

interface Reading {
  attendees: number;
  /** The name that the store knows; undefined where it was told of none. */
  reader: string | undefined;
}

/**
 * Which streams are read in this process, told to a store where their writers want to know: once for however many readers, again
 * from time to time, and when the last one has left. Where no writer wants to know it does nothing.
 */
export class Presence {
  readonly #everyMs: number;
  readonly #tell: (marks: readonly ReaderMark[]) => Promise<unknown>;
  readonly #process = crypto.randomUUID();
  readonly #readings = new Map<string, Reading>();
  /** The streams that the store knows to be read, by the reader's name. */
  readonly #told = new Map<string, string>();
  /** What the store is to be told, by the reader's name: the newest of each. */
  readonly #due = new Map<string, ReaderMark>();
  #count = 0;
  #isTelling = false;
  #isClosed = false;
  #timer: Subscription | undefined;

  /** @param tell - may fail: a reading is told again, and one that is over ends by itself */
  constructor(presenceMs: number, tell: (marks: readonly ReaderMark[]) => Promise<unknown>) {
    this.#everyMs = Math.ceil(presenceMs / TIMES);
    this.#tell = tell;
  }

  /** How long a telling may be tried: then the next one is due. */
  get everyMs(): number {
    return this.#everyMs;
  }

  enter(stream: string): Attendee {
    const reading = this.#readings.get(stream) ?? { attendees: 0, reader: undefined };
    this.#readings.set(stream, reading);
    reading.attendees += 1;
    let isHere = true;
    return {
      hears: (isWatched) => {
        if (!isHere || this.#isClosed || isWatched === (reading.reader !== undefined)) return;
        if (isWatched) this.#begin(stream, reading);
        // Nobody is told what nobody wants to know any more.
        else this.#end(reading);
      },
      leave: () => {
        if (!isHere) return;
        isHere = false;
        reading.attendees -= 1;
        if (reading.attendees > 0) return;
        this.#readings.delete(stream);
        const reader = this.#end(reading);
        if (reader !== undefined) this.#mark({ stream, reader, isReading: false });
      },
    };
  }

  /** For good. @returns what the store should still be told, at several times */
  close(): readonly (readonly ReaderMark[])[] {
    const marks = [...this.#told].map(([reader, stream]) => ({ stream, reader, isReading: false }));
    this.#isClosed = true;
    this.#due.clear();
    for (const reading of this.#readings.values()) this.#end(reading);
    return Array.from({ length: Math.ceil(marks.length / MOST_MARKS) }, (_, index) =>
      marks.slice(index * MOST_MARKS, (index + 1) * MOST_MARKS),
    );
  }

  #begin(stream: string, reading: Reading): void {
    const reader = `${this.#process}-${String((this.#count += 1))}`;
    reading.reader = reader;
    this.#told.set(reader, stream);
    this.#timer ??= asyncScheduler.schedule(() => {
      this.#again();
    }, this.#everyMs);
    this.#mark({ stream, reader, isReading: true });
  }

  #end(reading: Reading): string | undefined {
    const { reader } = reading;
    if (reader === undefined) return undefined;
    reading.reader = undefined;
    this.#told.delete(reader);
    if (this.#told.size === 0) {
      this.#timer?.unsubscribe();
      this.#timer = undefined;
    }
    return reader;
  }

  #again(): void {
    this.#timer = asyncScheduler.schedule(() => {
      this.#again();
    }, this.#everyMs);
    for (const [reader, stream] of this.#told) this.#mark({ stream, reader, isReading: true });
  }

  #mark(mark: ReaderMark): void {
    this.#due.set(mark.reader, mark);
    void this.#tellAll();
  }

  /** One telling at a time: what comes meanwhile goes with the next one. */
  async #tellAll(): Promise<void> {
    if (this.#isTelling) return;
    this.#isTelling = true;
    // What others say in this turn comes along.
    await Promise.resolve();
    while (this.#due.size > 0) {
      const marks = [...this.#due.values()].slice(0, MOST_MARKS);
      for (const { reader } of marks) this.#due.delete(reader);
      // Readers hear by themselves of a store that fails.
      await this.#tell(marks).catch(() => undefined);
    }
    this.#isTelling = false;
  }
}
