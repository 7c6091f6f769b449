import { endsInHalf, graphemeEnds, isPlain } from './graphemes.js';

/** How long the last character waits for what may belong to it: a combining mark, the rest of an emoji. Chosen. */
const SEAM_WAIT_MS = 100;

/** What a unit's share may lack when it goes out: a timer may fire a millisecond early. */
const SLACK = 0.05;

/** Milliseconds that sums of fractions may be off by. */
const ROUNDING = 1e-6;

/** How a pacer lets text out. */
export interface Pace<T> {
  readonly unit: 'character' | 'piece';
  /** Units a millisecond. */
  readonly rate: number;
  /** The longest that anything is held. */
  readonly maxLagMs: number;
  /** What may be held; what is more goes out at once. */
  readonly maxChars: number;
  /** The shortest time between two turns. */
  readonly tickMs: number;
  /** True where the texts of two items are one text: they go out together, and a character may be spread over both. */
  readonly isOneText: (a: T, b: T) => boolean;
}

/** What goes out: a piece of text with the item that brought it, or an item without text that kept its turn. */
export interface Portion<T> {
  readonly item: T;
  readonly text: string | undefined;
}

/** Something in the line. An item without text has no units. */
interface Held<T> {
  readonly item: T;
  readonly at: number;
  text: string;
  /** Where each unit of the text ends; absent where that is after each code unit. */
  readonly ends: readonly number[] | undefined;
  units: number;
  /** How many units have gone out. */
  gone: number;
}

/**
 * Decides what of a text goes out when. Pure: it is told the time. Text waits in line and goes out at the rate asked for, or
 * faster where that would hold something for longer than `maxLagMs`: when a piece comes, the rate rises to what empties the
 * line in time, and falls back once the line is empty. So nothing is held too long, and the pace is even in between.
 */
export class Pacer<T> {
  readonly #pace: Pace<T>;
  readonly #tickMs: number;
  readonly #seamWaitMs: number;
  /** The line is from `#head` on: `shift` costs a long list its length. */
  #line: Held<T>[] = [];
  #head = 0;
  #units = 0;
  #chars = 0;
  #rate: number;
  /** The units that may go out now, with a fraction. */
  #credit: number;
  #creditAt: number;
  #textAt = 0;
  #isEnded = false;

  constructor(pace: Pace<T>, now: number) {
    this.#pace = pace;
    this.#tickMs = Math.min(pace.tickMs, pace.maxLagMs);
    this.#seamWaitMs = Math.min(SEAM_WAIT_MS, pace.maxLagMs);
    this.#rate = pace.rate;
    this.#credit = this.#maxSaved;
    this.#creditAt = now;
  }

  get isEmpty(): boolean {
    return this.#head === this.#line.length;
  }

  /** Takes a piece of text, or with `undefined` an item that keeps its turn. Returns what `maxChars` leaves no room for. */
  push(item: T, text: string | undefined, now: number): Portion<T>[] {
    this.#save(now);
    if (text === undefined) this.#add({ item, at: now, text: '', ends: undefined, units: 0, gone: 0 });
    else {
      this.#textAt = now;
      if (this.#pace.unit === 'piece') {
        this.#add({ item, at: now, text, ends: [text.length], units: 1, gone: 0 });
      } else this.#addCharacters(item, text, now);
      const window = Math.max(this.#tickMs, this.#pace.maxLagMs - this.#tickMs);
      this.#rate = Math.max(this.#rate, this.#units / window);
    }
    const out: Portion<T>[] = [];
    for (let held = this.#first(); held !== undefined && this.#chars > this.#pace.maxChars; held = this.#first()) {
      const goal = startOf(held, held.gone) + this.#chars - this.#pace.maxChars;
      let to = held.gone;
      while (to < held.units && startOf(held, to) < goal) to += 1;
      this.#release(held, to - held.gone, out);
    }
    return out;
  }

  /** No text follows: the last character is whole. */
  end(): void {
    this.#isEnded = true;
  }

  /** What is due. */
  take(now: number): Portion<T>[] {
    this.#save(now);
    const out: Portion<T>[] = [];
    for (let held = this.#first(); held !== undefined; held = this.#first()) {
      const left = held.units - held.gone;
      const free = this.#isWithheld(held, now) ? left - 1 : left;
      const isLate = now - held.at >= this.#pace.maxLagMs;
      const due = isLate ? free : Math.min(free, Math.floor(this.#credit + SLACK));
      if (left > 0 && due < 1) break;
      this.#credit = Math.max(-SLACK, this.#credit - due);
      this.#release(held, due, out);
    }
    if (this.#free(now) === 0) this.#rest();
    return out;
  }

  /** Everything that is held. */
  takeAll(): Portion<T>[] {
    const out: Portion<T>[] = [];
    for (let held = this.#first(); held !== undefined; held = this.#first()) {
      this.#release(held, held.units - held.gone, out);
    }
    this.#rest();
    return out;
  }

  /** When something may go out next; `undefined` where that depends on what comes. */
  dueAt(now: number): number | undefined {
    const held = this.#first();
    if (held === undefined) return undefined;
    if (this.#free(now) === 0) return endsInHalf(held.text) ? undefined : this.#textAt + this.#seamWaitMs;
    const credit = this.#credit + this.#rate * Math.max(0, now - this.#creditAt);
    const wait = Math.max(this.#tickMs, Math.ceil((1 - credit) / this.#rate - ROUNDING));
    return Math.max(now, Math.min(now + wait, held.at + this.#pace.maxLagMs));
  }

  /** Credits the time that has passed. */
  #save(now: number): void {
    this.#credit += this.#rate * Math.max(0, now - this.#creditAt);
    this.#creditAt = now;
    if (this.#free(now) === 0) this.#rest();
  }

  /** Nothing can go out: the rate is the one asked for again, and time that passes is not saved up. */
  #rest(): void {
    this.#rate = this.#pace.rate;
    this.#credit = Math.min(this.#maxSaved, this.#credit);
  }

  /** What is saved up while nothing can go out: so much that the first turn brings what every turn does, or else one unit. */
  get #maxSaved(): number {
    return Math.max(0, 1 - this.#pace.rate * this.#tickMs);
  }

  /** How many units could go out now, whatever the pace. */
  #free(now: number): number {
    const last = this.#last();
    return last !== undefined && this.#isWithheld(last, now) ? this.#units - 1 : this.#units;
  }

  /** True where the last character of a piece waits for what may belong to it. What is behind it in line closes it. */
  #isWithheld(held: Held<T>, now: number): boolean {
    if (this.#pace.unit === 'piece' || this.#isEnded || held.units === 0 || held !== this.#last()) return false;
    return now - this.#textAt < this.#seamWaitMs || endsInHalf(held.text);
  }

  #first(): Held<T> | undefined {
    return this.#line[this.#head];
  }

  #last(): Held<T> | undefined {
    return this.isEmpty ? undefined : this.#line.at(-1);
  }

  #add(held: Held<T>): void {
    this.#line.push(held);
    this.#units += held.units;
    this.#chars += held.units === 0 ? 1 : held.text.length;
  }

  /** Adds text by characters. One that was begun by the piece before is finished in its place in line. */
  #addCharacters(item: T, text: string, now: number): void {
    const last = this.#last();
    let rest = text;
    if (last !== undefined && last.units > 0 && this.#pace.isOneText(last.item, item)) {
      const tail = last.text.slice(startOf(last, last.units - 1));
      if (!isPlain(tail) || !isPlain(text)) {
        const [end = 0] = graphemeEnds(tail + text.slice(0, MAX_SEAM));
        if (end > tail.length) {
          this.#cutLast(last, tail);
          this.#add({ item: last.item, at: last.at, ...oneUnit(tail + text.slice(0, end - tail.length)) });
          rest = text.slice(end - tail.length);
        }
      }
    }
    if (rest === '') return;
    const ends = isPlain(rest) ? undefined : graphemeEnds(rest);
    this.#add({ item, at: now, text: rest, ends, units: ends?.length ?? rest.length, gone: 0 });
  }

  /** Takes the last unit of the last piece away. */
  #cutLast(last: Held<T>, tail: string): void {
    last.text = last.text.slice(0, -tail.length);
    last.units -= 1;
    this.#units -= 1;
    this.#chars -= tail.length;
    if (last.gone === last.units) this.#line.pop();
  }

  #release(held: Held<T>, count: number, out: Portion<T>[]): void {
    const from = startOf(held, held.gone);
    held.gone += count;
    const text = held.text.slice(from, startOf(held, held.gone));
    this.#units -= count;
    this.#chars -= held.units === 0 ? 1 : text.length;
    if (held.gone === held.units) this.#leave();
    const before = out.at(-1);
    if (held.units === 0) out.push({ item: held.item, text: undefined });
    else if (
      this.#pace.unit === 'character' &&
      before?.text !== undefined &&
      this.#pace.isOneText(before.item, held.item)
    ) {
      out[out.length - 1] = { item: before.item, text: before.text + text };
    } else if (count > 0) out.push({ item: held.item, text });
  }

  /** The first in line has gone. */
  #leave(): void {
    this.#head += 1;
    if (this.#head < 64 || 2 * this.#head < this.#line.length) return;
    this.#line = this.#line.slice(this.#head);
    this.#head = 0;
  }
}

/** How much of a piece is looked at for the end of a character that the piece before began. */
const MAX_SEAM = 256;

/** Where a unit begins; one past the last: where the text ends. */
function startOf(held: Held<unknown>, unit: number): number {
  return unit === 0 ? 0 : (held.ends?.[unit - 1] ?? unit);
}

function oneUnit(text: string): { text: string; ends: readonly number[]; units: number; gone: number } {
  return { text, ends: [text.length], units: 1, gone: 0 };
}
