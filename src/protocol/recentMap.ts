/**
 * A map that forgets what was not used for long: it holds the newest `max` entries at least, and at most twice as many. In two
 * generations, since taking the oldest key out of a `Map` costs more the more were taken before.
 */
export class RecentMap<K, V> {
  readonly #max: number;
  #young: Map<K, V> = new Map();
  #old: Map<K, V> = new Map();

  constructor(max: number) {
    this.#max = max;
  }

  /** What was set for a key; it counts as new again. */
  get(key: K): V | undefined {
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const kept = this.#old.get(key);
    if (kept !== undefined) this.set(key, kept);
    return kept;
  }

  set(key: K, value: V): void {
    if (this.#young.size >= this.#max && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}
