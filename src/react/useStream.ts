'use client';

import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { idleStreamState, type StreamState } from '../internal/streamRecord.js';
import type { StreamStateOptions } from '../operators/streamState.js';
import { ExternalStore } from './externalStore.js';
import { StreamRunner, type StreamSource } from './streamRunner.js';

/** When a component starts its stream itself: `true`, or whatever the stream is about. @public */
export type StartWhen = boolean | string | number | null | undefined;

/** What `useStream` shows, and when it starts by itself. Read when the component is mounted, but for `startWhen`. @public */
export interface UseStreamOptions<Args extends readonly unknown[] = []> extends StreamStateOptions {
  /**
   * Starts the stream, without arguments, when the component is mounted with a value that is truthy, and again whenever the value changes
   * to another one that is: `false` to `true`, or one question to the next. A value that is not stops nothing. Not for factories that
   * need arguments.
   * @defaultValue `false`: it is started by `start`
   */
  readonly startWhen?: ([] extends Args ? StartWhen : never) | undefined;
}

/** A stream in a component: its state, and what starts and ends it. @public */
export interface UseStreamResult<Args extends readonly unknown[] = []> extends Omit<StreamState, 'toRequest'> {
  /** Starts a stream with these arguments. One that runs is stopped first, and shows nothing any more. Always the same function. */
  readonly start: (...args: Args) => void;
  /** Stops the stream on purpose, and keeps what came. Does nothing where none runs. Always the same function. */
  readonly stop: () => void;
  /** Stops the stream, and shows nothing: `idle`. Always the same function. */
  readonly reset: () => void;
}

/**
 * Shows a stream in a component while it comes: its text, thinking, tool calls, task state, and how it ended.
 *
 * ```text
 * start(x)   ^
 * factory(x)  ---s--a-b-c--(f|)      s = headers, a, b, c = text, f = finish
 * phase      c---w--s--------d       connecting, waiting, streaming, complete
 * renders    x---x--x---x----x       at most one a frame, and one for the end
 * ```
 * The component is given a {@link StreamState} with `start`, `stop` and `reset`. Its text is kept whatever the end: `failed`
 * and `interrupted` with `error`, `stopped` with `billing`, which tells whether more than the reading has stopped. A stream that begins anew empties it.
 *
 * Asks when `start` is called or `startWhen` says so, in a microtask, with the factory of the last render. A factory that throws is a stream
 * that has failed. Starting while one runs stops that one first. In React's StrictMode, which mounts twice, one request is made;
 * this holds for `useEffect(() => start(…), [])` too.
 *
 * Ends with the component: unmounting aborts the request in the next microtask, as unsubscribing does, and so does hiding the component
 * (`Activity`) and leaving the page, also where the browser keeps it for the back button; it is `stopped` when the reader comes back. Nothing is
 * rendered after unmounting, and `start` asks nothing.
 * Renders are batched to animation frames, but for the beginning and the end; in a page that nobody sees, which draws no frames, to
 * 100 ms or what the browser allows. State is kept outside of React, so concurrent rendering does not tear it. A server renders `idle`.
 *
 * @example An answer
 * ```ts
 * import { useStream } from 'millrace/react';
 * function useAnswer() {
 *   const { text, phase, error, start, stop } = useStream((question: string) =>
 *     fromCall(api.chat({ model, messages: [{ role: 'user', content: question }] }), { retry: { count: 3 } }),
 *   );
 *   return { text, isBusy: ['connecting', 'waiting', 'streaming'].includes(phase), error, ask: start, stop };
 * }
 * ```
 * @param factory - makes the stream; the types of its parameters are those of `start`
 * @param options - see {@link UseStreamOptions}
 * @returns the stream's state, and what starts and ends it
 * @throws RangeError for an option out of its range, TypeError for a `startWhen` that changes with every render
 * @public
 */
export function useStream<Args extends readonly unknown[]>(
  factory: (...args: Args) => StreamSource,
  options: UseStreamOptions<Args> = {},
): UseStreamResult<Args> {
  const { startWhen } = options;
  requirePrimitive(startWhen);
  const [stream] = useState(() => new ComponentStream(factory, options));
  const state = useSyncExternalStore(stream.store.subscribe, stream.store.get, stream.store.getInitial);
  useEffect(() => {
    stream.factory = factory;
  });
  useEffect(() => stream.enter(), [stream]);
  useEffect(() => {
    stream.startWhen(startWhen);
  }, [stream, startWhen]);
  return useMemo(() => {
    const { start, stop, reset } = stream;
    return { ...state, start, stop, reset };
  }, [stream, state]);
}

/** An object is another one at each render, and each would be asked for. */
function requirePrimitive(startWhen: unknown): void {
  if (startWhen !== null && (typeof startWhen === 'object' || typeof startWhen === 'function')) {
    throw new TypeError(`startWhen must be a boolean, a string or a number, got ${typeof startWhen}`);
  }
}

/** What a component keeps from render to render. */
class ComponentStream<Args extends readonly unknown[]> {
  readonly store: ExternalStore<StreamState> = new ExternalStore(idleStreamState);
  /** That of the last render. */
  factory: (...args: Args) => StreamSource;
  readonly #runner: StreamRunner;
  #startedFor: StartWhen;

  constructor(factory: (...args: Args) => StreamSource, options: StreamStateOptions) {
    this.factory = factory;
    this.#runner = new StreamRunner(options, (state) => {
      this.store.set(state);
    });
  }

  readonly start = (...args: Args): void => {
    this.#runner.start(() => this.factory(...args));
  };

  readonly stop = (): void => {
    this.#runner.stop();
  };

  readonly reset = (): void => {
    this.#runner.reset();
  };

  enter(): () => void {
    return this.#runner.enter(() => {
      this.#startedFor = undefined;
    });
  }

  startWhen(value: StartWhen): void {
    if (Object.is(value, this.#startedFor)) return;
    this.#startedFor = value;
    if (value) this.start(...([] as unknown as Args)); // it takes none: its type says so where there is a `startWhen`
  }
}
