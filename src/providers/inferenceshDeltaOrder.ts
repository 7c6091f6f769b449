/**
 * Tells which increments may be appended after a connection was lost. inference.sh numbers them, where it does; a state that
 * shows the whole so far closes the gap too.
 */
export class DeltaOrder {
  #last: number | undefined;
  /**
   * The number that follows what was told, from 1; `undefined` where a state told more, or one was refused: then what follows cannot be
   * known by its number.
   */
  #next: number | undefined = 1;
  #wasLost = false;
  #isLost = false;
  #hasCaughtUp = false;

  /** A connection was lost, and it is not known what came meanwhile. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Increments were left out, or may have been. */
  get hasGap(): boolean {
    return this.#isLost || this.#hasCaughtUp;
  }

  lose(): void {
    this.#wasLost = true;
    this.#isLost = true;
  }

  /** The whole so far is known again: what comes next follows it. */
  catchUp(): void {
    this.#isLost = false;
    this.#hasCaughtUp = true;
    this.#next = undefined;
  }

  /** True for an increment that follows what was told; one that came before, or may follow something unknown, does not. */
  accepts(seq: unknown): boolean {
    const number = typeof seq === 'number' ? seq : undefined;
    if (this.#wasLost && number !== undefined && number <= (this.#last ?? -Infinity)) return false;
    if (this.#isLost && !this.#follows(number)) {
      this.#next = undefined;
      return false;
    }
    this.#isLost = false;
    this.#last = number ?? this.#last;
    this.#next = number === undefined ? undefined : number + 1;
    return true;
  }

  #follows(number: number | undefined): boolean {
    if (number === undefined || this.#next === undefined) return false;
    return number === this.#next || (number === 0 && this.#last === undefined);
  }
}
