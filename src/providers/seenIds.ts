/** How many ranges of numbers, and how many other ids, are remembered; the lowest, and the oldest, are forgotten first. Chosen. */
const MAX_KNOWN = 16_384;
const MAX_DIGITS = 15;
const ZERO = 0x30;

/** The ids of a stream's events, to tell those that come again. Numbers that count up, as most do, cost next to nothing. */
export class SeenIds {
  /** Ranges of whole numbers that came, ascending: each from `#from[i]` to `#to[i]`. */
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  readonly #others: Set<string> = new Set();

  /** Takes an id. @returns false where it came before */
  add(id: string): boolean {
    const number = wholeOf(id);
    return number === -1 ? this.#addOther(id) : this.#addNumber(number);
  }

  #addNumber(number: number): boolean {
    const last = this.#to.length - 1;
    const highest = this.#to[last] ?? -1;
    if (number === highest + 1 && last !== -1) {
      this.#to[last] = number;
      return true;
    }
    if (number > highest) {
      this.#insert(last + 1, number);
      return true;
    }
    const at = this.#lastFrom(number);
    if (at >= 0 && number <= (this.#to[at] ?? -1)) return false;
    this.#insert(at + 1, number);
    return true;
  }

  /** The last range that does not begin after `number`; -1 where all do. */
  #lastFrom(number: number): number {
    let low = 0;
    let high = this.#from.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#from[middle] ?? 0) <= number) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #insert(at: number, number: number): void {
    this.#from.splice(at, 0, number);
    this.#to.splice(at, 0, number);
    if (this.#to.length <= MAX_KNOWN) return;
    this.#from.splice(0, MAX_KNOWN / 2);
    this.#to.splice(0, MAX_KNOWN / 2);
  }

  #addOther(id: string): boolean {
    const others = this.#others;
    if (others.has(id)) return false;
    others.add(id);
    if (others.size > MAX_KNOWN) {
      const oldest = others.keys().next();
      if (oldest.done !== true) others.delete(oldest.value);
    }
    return true;
  }
}

/** The number that an id is, written as JSON writes it; -1 where it is none. */
function wholeOf(id: string): number {
  if (id.length === 0 || id.length > MAX_DIGITS || (id.length > 1 && id.charCodeAt(0) === ZERO)) return -1;
  let number = 0;
  for (let at = 0; at < id.length; at++) {
    const digit = id.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}
