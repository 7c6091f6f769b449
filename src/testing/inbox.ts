/** What has arrived, and those who wait for the next arrival. */
export class Inbox<T> {
  readonly #all: T[] = [];
  readonly #waiting: { readonly resolve: (item: T) => void; readonly reject: (error: Error) => void }[] = [];
  #taken = 0;
  #isClosed = false;

  /** Everything that has arrived, taken or not. */
  get all(): readonly T[] {
    return this.#all;
  }

  add(item: T): void {
    this.#all.push(item);
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#taken += 1;
    next.resolve(item);
  }

  /** The first item that was not taken yet, waiting for it where there is none. */
  take(): Promise<T> {
    const ready = this.#all[this.#taken];
    if (ready !== undefined) {
      this.#taken += 1;
      return Promise.resolve(ready);
    }
    if (this.#isClosed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  /** Rejects those who wait: nothing will come. */
  close(): void {
    this.#isClosed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(closedError());
  }
}

function closedError(): Error {
  return new Error('The test server was closed while a request was awaited');
}
