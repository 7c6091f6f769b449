import { performance } from 'node:perf_hooks';
import type { Dispatcher } from 'undici';
import type { Arrival } from './judgeArrivals.js';

/** One request that was answered, and when its pieces came. */
export interface RecordedAnswer {
  readonly chunks: readonly Arrival[];
  readonly status: number;
  /** In lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Hands requests to a dispatcher, and notes when their answers come: as the socket gives them, before anything is decoded. */
export class StreamRecorder {
  readonly #agent: Dispatcher;
  readonly #answers: MutableAnswer[] = [];

  constructor(agent: Dispatcher) {
    this.#agent = agent;
  }

  /** The answer that came in the most pieces: of several requests the stream. */
  get stream(): RecordedAnswer | undefined {
    return [...this.#answers].sort((a, b) => b.chunks.length - a.chunks.length)[0];
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const sentAt = performance.now();
    let answer: MutableAnswer | undefined;
    return this.#agent.dispatch(options, {
      onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
      onRequestUpgrade: (controller, status, headers, socket) =>
        handler.onRequestUpgrade?.(controller, status, headers, socket),
      onResponseStart: (controller, status, headers, message) => {
        if (status >= 200) {
          answer = new MutableAnswer(status, flat(headers));
          this.#answers.push(answer);
        }
        handler.onResponseStart?.(controller, status, headers, message);
      },
      onResponseData: (controller, chunk) => {
        answer?.add(chunk, performance.now() - sentAt);
        handler.onResponseData?.(controller, chunk);
      },
      onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
      onResponseError: (controller, error) => handler.onResponseError?.(controller, error),
    });
  }
}

const LF = 10;
const CR = 13;

class MutableAnswer implements RecordedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly chunks: Arrival[] = [];
  readonly #isCounted: boolean;
  /** Whether a line alone is a frame. */
  readonly #isLines: boolean;
  #isLineEmpty = true;
  #isFrameEmpty = true;

  constructor(status: number, headers: Readonly<Record<string, string>>) {
    this.status = status;
    this.headers = headers;
    this.#isCounted = /^(?:identity)?$/.test(headers['content-encoding'] ?? '');
    this.#isLines = /ndjson|jsonl|json-seq/.test(headers['content-type'] ?? '');
  }

  add(chunk: Uint8Array, atMs: number): void {
    this.chunks.push({ atMs, bytes: chunk.length, frames: this.#isCounted ? this.#framesIn(chunk) : undefined });
  }

  #framesIn(chunk: Uint8Array): number {
    let frames = 0;
    for (const byte of chunk) {
      if (byte === CR) continue;
      if (byte !== LF) {
        this.#isLineEmpty = false;
        this.#isFrameEmpty = false;
        continue;
      }
      if ((this.#isLines || this.#isLineEmpty) && !this.#isFrameEmpty) {
        frames += 1;
        this.#isFrameEmpty = true;
      }
      this.#isLineEmpty = true;
    }
    return frames;
  }
}

function flat(headers: Readonly<Record<string, string | readonly string[] | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), typeof value === 'string' ? value : value.join(', ')]],
    ),
  );
}
