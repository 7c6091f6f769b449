import { isObservable, Observable, type Subscriber } from 'rxjs';
import { LimitError, StreamsFailedError } from '../errors.js';
import { type Flow, Scope, thisPlace } from '../internal/flow.js';
import { draw, link } from '../internal/operate.js';
import { requireAtLeast, requireOneOf } from '../internal/require.js';
import { tapReceipt } from '../operators/tapReceipt.js';
import type { Receipt } from '../types.js';

/** Streams by their names: a record, or pairs of name and stream as they come. @public */
export type StreamsByKey<T> =
  | Readonly<Record<string, Observable<T>>>
  | Iterable<readonly [key: string, stream: Observable<T>]>
  | Observable<readonly [key: string, stream: Observable<T>]>;

/** An item with the name of the stream that it belongs to. @public */
export type Keyed<T> = T & { readonly key: string };

/** How `mergeStreams` runs its streams. @public */
export interface MergeStreamsOptions {
  /** Streams that run at once, at least 1. @defaultValue `Infinity` */
  readonly concurrency?: number | undefined;
  /**
   * `'error'`: the first failure ends them all. `'continue'`: the others go on; each failure is told to `onSettled` or, without it, by
   * a StreamsFailedError once all have ended. @defaultValue `'error'`
   */
  readonly onFailure?: 'continue' | 'error' | undefined;
  /** Hears the receipt of each stream when it has ended, with its `key`. */
  readonly onSettled?: ((receipt: Receipt) => void) | undefined;
  /** Streams of an observable that may wait for their turn; one more is a LimitError. @defaultValue 65,536 (chosen) */
  readonly maxWaiting?: number | undefined;
}

/**
 * Runs several streams side by side and tells whose each event is, so that one reader can serve them all.
 *
 * ```text
 * a         -1--2-|
 * b         --3-----4|
 * result    -x-yz---w|        x = { ...1, key: 'a' }, y = { ...3, key: 'b' } and so on
 * ```
 * Each stream is an observable of its own, with its own `timeout`, `retryOnDisconnect` and `fallbackTo`, as `forkJoin` takes them.
 * Emits the events of each stream in their order, with its `key`. Completes when all have completed. Errors with the first failure, or
 * as `onFailure` says; with TypeError where a key comes twice, and with the input's own error. Unsubscribing stops all that run
 * and begins no more. Holds the names of all streams so far, and what waits for its turn: pairs of an observable up to `maxWaiting`;
 * an iterable is read only as far as its streams are begun. A slow sink pauses exactly the stream that fills it.
 *
 * @example
 * ```ts
 * const ask = (region: string) => fromCall(polargrid({ region }).chat({ model, messages })).pipe(retryOnDisconnect());
 * mergeStreams({ east: ask('nyc-01'), north: ask('yto-01') }).subscribe((event) => {
 *   if (event.type === 'text') log(event.key, event.text);
 * });
 * ```
 * @param streams - a record, an iterable of pairs, or an observable of pairs
 * @param options - see {@link MergeStreamsOptions}
 * @returns a cold observable
 * @throws TypeError or RangeError for an option out of its range
 * @public
 */
export function mergeStreams<T extends object>(
  streams: StreamsByKey<T>,
  options: MergeStreamsOptions = {},
): Observable<Keyed<T>> {
  const { concurrency = Infinity, onFailure = 'error', maxWaiting = 65_536 } = options;
  requireAtLeast(1, { concurrency, maxWaiting });
  requireOneOf('onFailure', onFailure, ['continue', 'error']);
  return new Observable<Keyed<T>>((subscriber) => {
    new Merging<T>(subscriber, options).start(streams);
  });
}

type Entry<T> = readonly [key: string, stream: Observable<T>];

class Merging<T extends object> {
  readonly #subscriber: Subscriber<Keyed<T>>;
  readonly #options: MergeStreamsOptions;
  /** Streams that are begun later are begun as if here. */
  readonly #here = thisPlace();
  readonly #keys: Set<string> = new Set();
  /** Flows of one of the streams. A reader may feed one stream while another delivers, whose flow is not taken for its. */
  readonly #owned: WeakSet<Flow> = new WeakSet();
  /** Those that nobody else tells. */
  readonly #failures: Map<string, unknown> = new Map();
  /** Gives the next stream, where there is one now. */
  #take: () => Entry<T> | undefined = () => undefined;
  #isInputOver = false;
  #running = 0;
  #isBeginning = false;

  constructor(subscriber: Subscriber<Keyed<T>>, options: MergeStreamsOptions) {
    this.#subscriber = subscriber;
    this.#options = options;
  }

  start(streams: StreamsByKey<T>): void {
    if (isObservable(streams)) this.#listen(streams);
    else this.#read(Symbol.iterator in streams ? streams : Object.entries<Observable<T>>(streams));
  }

  #read(entries: Iterable<Entry<T>>): void {
    const iterator = entries[Symbol.iterator]();
    this.#subscriber.add(() => {
      if (!this.#isInputOver) iterator.return?.();
    });
    this.#take = () => {
      const result = iterator.next();
      this.#isInputOver = result.done === true;
      return result.done === true ? undefined : result.value;
    };
    this.#begin();
  }

  #listen(entries: Observable<Entry<T>>): void {
    const { maxWaiting = 65_536 } = this.#options;
    const waiting: Entry<T>[] = [];
    this.#take = () => waiting.shift();
    entries.subscribe(
      link<Entry<T>>(this.#subscriber, {
        next: (entry) => {
          waiting.push(entry);
          this.#begin();
          if (waiting.length <= maxWaiting) return;
          const message = `More than ${String(maxWaiting)} streams wait for their turn in mergeStreams`;
          throw new LimitError('maxWaiting', maxWaiting, message);
        },
        complete: () => {
          this.#isInputOver = true;
          this.#begin();
        },
      }),
    );
  }

  /** Begins what there is room for; ends when all have ended. */
  #begin(): void {
    // A stream may end before its `subscribe` returns: the loop below goes on with the next.
    if (this.#isBeginning) return;
    const { concurrency = Infinity } = this.#options;
    this.#isBeginning = true;
    try {
      while (this.#running < concurrency && !this.#subscriber.closed) {
        const entry = this.#take();
        if (entry === undefined) break;
        this.#run(entry);
      }
    } catch (error) {
      this.#subscriber.error(error);
    } finally {
      this.#isBeginning = false;
    }
    if (this.#isInputOver && this.#running === 0) this.#end();
  }

  #run([key, stream]: Entry<T>): void {
    if (this.#keys.has(key)) throw new TypeError(`mergeStreams got two streams named ${JSON.stringify(key)}`);
    this.#keys.add(key);
    this.#running += 1;
    const { onFailure = 'error', onSettled } = this.#options;
    const settled = tapReceipt<T>((receipt) => {
      onSettled?.({ ...receipt, key });
    });
    this.#here(() => {
      const scope = new Scope(false);
      const flows: Set<Flow> = new Set();
      scope.onFlow = (flow): void => {
        if (this.#owned.has(flow)) return;
        this.#owned.add(flow);
        flows.add(flow);
      };
      draw<T>(stream.pipe(settled), this.#subscriber, scope, () => ({
        next: (item) => {
          this.#subscriber.next({ ...item, key });
        },
        error: (error) => {
          if (onFailure === 'error') {
            this.#subscriber.error(error);
            return;
          }
          scope.current();
          for (const flow of flows) flow.excused = !flow.proven;
          // An error may carry much of what was received.
          if (onSettled === undefined) this.#failures.set(key, error);
          this.#next();
        },
        complete: () => {
          this.#next();
        },
      }));
    });
  }

  #next(): void {
    this.#running -= 1;
    this.#begin();
  }

  #end(): void {
    if (this.#failures.size === 0) {
      this.#subscriber.complete();
      return;
    }
    const names = [...this.#failures.keys()]
      .map((key) => JSON.stringify(key))
      .slice(0, 10)
      .join(', ');
    const message = `${String(this.#failures.size)} of ${String(this.#keys.size)} streams failed (${names}); onSettled tells each`;
    this.#subscriber.error(new StreamsFailedError(message, this.#failures));
  }
}
