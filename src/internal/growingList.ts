/**
 * A list that keeps its newest items and shows itself as it is now, again and again, without being copied each time. What a
 * view shows never changes: items are only added behind it, and a replaced one is replaced in a copy.
 */
export class GrowingList<T> {
  readonly #max: number;
  #items: T[] = [];
  /** Where the items that are kept begin; those before are let go together, so that each costs a constant. */
  #from = 0;
  #dropped = 0;
  #isViewed = false;
  #view: (() => readonly T[]) | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  /** How many items the bound has cost. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds an item behind the others; returns its number, which stays the same. */
  add(item: T): number {
    const number = this.#dropped + this.#items.length - this.#from;
    this.#view = undefined;
    this.#items.push(item);
    if (this.#items.length - this.#from > this.#max) {
      this.#from += 1;
      this.#dropped += 1;
      if (this.#from >= this.#max) this.#copy();
    }
    return number;
  }

  /** The item with that number; `undefined` where it was dropped. */
  get(number: number): T | undefined {
    return number < this.#dropped ? undefined : this.#items[this.#from + number - this.#dropped];
  }

  /** Puts an item in the place of one that is kept. Copies the list where it was viewed since the last copy. */
  replace(number: number, item: T): void {
    this.#view = undefined;
    if (this.#isViewed) this.#copy();
    this.#items[this.#from + number - this.#dropped] = item;
  }

  /** The items as they are now, as an array that is made when it is first asked for. */
  view(): () => readonly T[] {
    if (this.#view !== undefined) return this.#view;
    const items = this.#items;
    const [from, to] = [this.#from, items.length];
    let shown: readonly T[] | undefined;
    this.#isViewed = true;
    this.#view = (): readonly T[] => (shown ??= items.slice(from, to));
    return this.#view;
  }

  #copy(): void {
    this.#items = this.#items.slice(this.#from);
    this.#from = 0;
    this.#isViewed = false;
  }
}
