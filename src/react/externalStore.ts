/** A value outside of React, which components read without tearing; as `useSyncExternalStore` takes it. */
export class ExternalStore<T> {
  readonly #initial: T;
  #value: T;
  readonly #listeners: Set<() => void> = new Set();

  constructor(initial: T) {
    this.#initial = initial;
    this.#value = initial;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  readonly get = (): T => this.#value;

  /** What a server renders, and a page before it takes over. */
  readonly getInitial = (): T => this.#initial;

  set(value: T): void {
    if (value === this.#value) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }
}
