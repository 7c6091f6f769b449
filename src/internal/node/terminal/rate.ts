/** What happened so long ago counts half: a stall shows within seconds, and a burst does not jump about. Chosen. */
const HALF_LIFE_MS = 2_000;

/** How fast a count grows, weighted towards now. */
export class Rate {
  #count: number;
  #at: number;
  #perMs = 0;
  /** How much of the past the rate stands for, 0 to 1: the first moments count in full. */
  #weight = 0;

  constructor(count: number, at: number) {
    this.#count = count;
    this.#at = at;
  }

  /** Takes the count as it is now. Units a second, or `undefined` while no time has passed. */
  read(count: number, now: number): number | undefined {
    const elapsed = now - this.#at;
    if (elapsed > 0) {
      const past = this.#weight * 2 ** (-elapsed / HALF_LIFE_MS);
      const gain = 1 - 2 ** (-elapsed / HALF_LIFE_MS);
      this.#perMs = (this.#perMs * past + (Math.max(0, count - this.#count) / elapsed) * gain) / (past + gain);
      this.#weight = past + gain;
      this.#count = count;
      this.#at = now;
    }
    return this.#weight === 0 ? undefined : this.#perMs * 1000;
  }
}
