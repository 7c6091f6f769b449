// Reads many streams from a store, and remembers when each token came.
import { micros } from '../clock.mjs';
import { load } from '../millrace.mjs';
import { openFor } from './ways.mjs';
import { idOf, textOf } from './work.mjs';

export class Reader {
  #store;
  #came;
  #endings = [];
  /** Tokens that are still to come, and streams of which nothing has come yet. */
  #missing = 0;
  #silent = 0;
  #failure;

  /** Begins to read; resolves when the first token of each stream is there. */
  async open({ place, way, run, streams, tokens }) {
    const { fromStore } = await load('index.js');
    const store = await openFor(way, place);
    this.#store = store;
    const { ends } = textOf(tokens);
    const count = ends.length;
    this.#came = new Float64Array(streams * count);
    this.#missing = streams * count;
    this.#silent = streams;
    this.#endings = Array.from({ length: streams }, (_, stream) => {
      let chars = 0;
      let token = 0;
      return new Promise((resolve, reject) => {
        fromStore(store, idOf(run, stream)).subscribe({
          next: (event) => {
            if (event.type !== 'text') return;
            if (chars === 0) this.#silent -= 1;
            chars += event.text.length;
            const now = micros();
            for (; ends[token] <= chars; token += 1) {
              this.#came[stream * count + token] = now;
              this.#missing -= 1;
            }
          },
          complete: () => {
            if (token === count && chars === ends[count - 1]) resolve();
            else reject(new Error(`stream ${stream} has ${token} of ${count} tokens`));
          },
          error: (error) => {
            this.#failure ??= error;
            reject(error);
          },
        });
      });
    });
    for (const ending of this.#endings) ending.catch(() => undefined); // told by whoever waits next
    await this.#until(() => this.#silent === 0);
  }

  /** Resolves when every token is there. */
  run() {
    return this.#until(() => this.#missing === 0);
  }

  times() {
    return { came: this.#came };
  }

  /** Waits until the streams have ended. */
  async end() {
    await Promise.all(this.#endings);
    await this.#store.close();
  }

  #until(isSo) {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.#failure !== undefined) reject(this.#failure);
        else if (isSo()) resolve();
        else setTimeout(look, 10);
      };
      look();
    });
  }
}
