/**
 * Tells which increments may be appended after a connection was lost. inference.sh numbers them, where it does; a state that
 * shows the whole so far closes the gap too.
 */
export class DeltaOrder {
  #last: number | undefined;
  #wasLost = false;
  #isLost = false;
  #hasGap = false;

  /** A connection was lost, and it is not known what came meanwhile. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Increments were left out. */
  get hasGap(): boolean {
    return this.#hasGap;
  }

  lose(): void {
    this.#wasLost = true;
    this.#isLost = true;
  }

  /** The whole so far is known again: what comes next follows it. */
  catchUp(): void {
    this.#isLost = false;
    this.#hasGap = true;
  }

  /** True for an increment that follows what was told; one that came before, or may follow something unknown, does not. */
  accepts(seq: unknown): boolean {
    const last = this.#last;
    if (typeof seq !== 'number') {
      this.#hasGap ||= this.#isLost;
      return !this.#isLost;
    }
    if (this.#wasLost && last !== undefined && seq <= last) return false;
    if (this.#isLost && last !== undefined && seq === last + 1) this.#isLost = false;
    if (this.#isLost) {
      this.#hasGap = true;
      return false;
    }
    this.#last = seq;
    return true;
  }
}
