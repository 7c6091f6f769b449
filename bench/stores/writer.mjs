// Writes many streams at a steady pace into a store, and remembers when each token was made and when it was handed to the store.
import { Observable, tap } from 'rxjs';
import { micros } from '../clock.mjs';
import { load } from '../millrace.mjs';
import { openStore } from './ways.mjs';
import { idOf, textOf } from './work.mjs';

/** Longer than by default: polling takes so much of a busy machine that a writer may wait for many seconds. */
const LEASE_MS = 60_000;

export class Writer {
  #store;
  #streams;
  #intervalMicros;
  #tokens;
  /** Where to put a stream's next token. */
  #outputs = [];
  #endings = [];
  /** By stream and token. */
  #made;
  #handed;
  /** How many tokens of a stream `toStore` has been given, was seen to hand on, and knows to be kept. */
  #given;
  #sent;
  #kept;
  #entries = 0;
  #failure;

  /** Takes the leases, and writes the first token of each. */
  async open({ place, run, streams, tokens, intervalMicros, gatherMs }) {
    const { toStore } = await load('index.js');
    this.#store = await openStore(place);
    this.#streams = streams;
    this.#intervalMicros = intervalMicros;
    const { tokens: texts, ends } = textOf(tokens);
    this.#tokens = texts;
    this.#made = new Float64Array(streams * texts.length);
    this.#handed = new Float64Array(streams * texts.length);
    this.#given = new Uint32Array(streams);
    this.#sent = new Uint32Array(streams);
    this.#kept = new Uint32Array(streams);
    this.#outputs = [];
    this.#entries = 0;
    this.#endings = Array.from({ length: streams }, (_, stream) => {
      let chars = 0;
      const source = new Observable((subscriber) => {
        this.#outputs[stream] = subscriber;
      });
      const written = source.pipe(
        tap((text) => {
          chars += text.length;
          while (ends[this.#given[stream]] <= chars) this.#given[stream] += 1;
        }),
        toStore(this.#watched(stream), idOf(run, stream), { gatherMs, leaseMs: LEASE_MS }),
      );
      return new Promise((resolve, reject) => {
        written.subscribe({
          complete: resolve,
          error: (error) => {
            this.#failure ??= error;
            reject(error);
          },
        });
      });
    });
    for (const ending of this.#endings) ending.catch(() => undefined); // told by whoever waits next
    await this.#until(() => this.#outputs.filter(Boolean).length === streams);
    for (let stream = 0; stream < streams; stream += 1) this.#put(stream, 0);
    await this.#until(() => this.#hasKept(1));
  }

  /** Writes the rest, one token of each stream after the other, evenly spread; resolves when the store has them. */
  async run() {
    this.#entries = 0;
    const streams = this.#streams;
    const total = streams * (this.#tokens.length - 1);
    const step = this.#intervalMicros / streams;
    await new Promise((resolve) => {
      const start = micros();
      let count = 0;
      const tick = () => {
        while (count < total && start + count * step <= micros()) {
          this.#put(count % streams, 1 + Math.floor(count / streams));
          count += 1;
        }
        if (count < total && this.#failure === undefined) setTimeout(tick, 1);
        else resolve();
      };
      tick();
    });
    await this.#until(() => this.#hasKept(this.#tokens.length));
    return { entries: this.#entries };
  }

  times() {
    return { made: this.#made, handed: this.#handed };
  }

  /** Ends the streams. */
  async end() {
    for (const output of this.#outputs) output.complete();
    await Promise.all(this.#endings);
    await this.#store.close();
  }

  #put(stream, token) {
    this.#made[stream * this.#tokens.length + token] = micros();
    this.#outputs[stream].next(this.#tokens[token]);
  }

  /** The store, watched where it is handed something. */
  #watched(stream) {
    const append = async (lease, data) => {
      const first = this.#sent[stream];
      const end = this.#given[stream]; // `toStore` hands on all that it has
      this.#handed.fill(micros(), stream * this.#tokens.length + first, stream * this.#tokens.length + end);
      this.#sent[stream] = end;
      this.#entries += 1;
      const reply = await lease.append(data);
      this.#kept[stream] = end;
      return reply;
    };
    return {
      lease: async (id, options) => {
        const lease = await this.#store.lease(id, options);
        if (typeof lease === 'string') return lease;
        return {
          last: lease.last,
          note: lease.note,
          append: (data) => append(lease, data),
          renew: (note) => lease.renew(note),
          close: (data) => lease.close(data),
          release: () => lease.release(),
        };
      },
    };
  }

  #hasKept(count) {
    return this.#kept.every((kept) => kept >= count);
  }

  /** Looked at a hundred times a second at most, so that looking costs nothing. */
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
