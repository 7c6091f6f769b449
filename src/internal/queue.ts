interface Entry<T> {
  readonly value: T;
  previous: Entry<T> | undefined;
  next: Entry<T> | undefined;
  isIn: boolean;
}

/** First in, first out; whoever waits may leave from any place. Each step costs the same, however many wait. */
export class Queue<T> {
  #first: Entry<T> | undefined;
  #last: Entry<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @returns takes the value out again, wherever it stands; does nothing where it is out already */
  add(value: T): () => void {
    return this.#insert(value, undefined);
  }

  /**
   * Lets a value in before others: it is put in front of the first of which `isBehind` says so, else at the end. It costs as much as
   * it is not put in front of.
   * @returns as `add`
   */
  addBefore(value: T, isBehind: (other: T) => boolean): () => void {
    let next = this.#first;
    while (next !== undefined && !isBehind(next.value)) next = next.next;
    return this.#insert(value, next);
  }

  #insert(value: T, next: Entry<T> | undefined): () => void {
    const previous = next === undefined ? this.#last : next.previous;
    const entry: Entry<T> = { value, previous, next, isIn: true };
    if (previous === undefined) this.#first = entry;
    else previous.next = entry;
    if (next === undefined) this.#last = entry;
    else next.previous = entry;
    this.#size += 1;
    return () => {
      this.#remove(entry);
    };
  }

  /** Takes out the value that waits longest. */
  shift(): T | undefined {
    const entry = this.#first;
    if (entry === undefined) return undefined;
    this.#remove(entry);
    return entry.value;
  }

  #remove(entry: Entry<T>): void {
    if (!entry.isIn) return;
    const { previous, next } = entry;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    // What is out keeps nothing else alive.
    Object.assign(entry, { previous: undefined, next: undefined, isIn: false });
    this.#size -= 1;
  }
}
