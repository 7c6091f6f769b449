import { Observable, type Subscription } from 'rxjs';
import { LimitError } from '../errors.js';
import { attachReceipt } from '../internal/attachReceipt.js';
import { type Ending, Evidence } from '../internal/evidence.js';
import { draw } from '../internal/operate.js';
import { requireAtLeast } from '../internal/require.js';

/** How much `asyncIterableFrom` may hold. @public */
export interface AsyncIterableFromOptions {
  /** Items that may wait for the reader before the stream's socket is paused. @defaultValue 16 (chosen) */
  readonly pauseAtItems?: number | undefined;
  /** Items that may wait where a source cannot be paused; one more is a LimitError. @defaultValue 65,536 (chosen) */
  readonly maxWaitingItems?: number | undefined;
}

/**
 * Reads a stream with `for await`.
 *
 * ```text
 * source    -a--b--c|
 * loop       a  b  c  done
 * ```
 * Each `for await` subscribes once, at its first step. Leaving the loop stops the request. Ends when the source completes and
 * its flows are proven; throws the source's error after the items before it, InterruptedError where the source completed
 * before its proven end, LimitError where the reader falls behind a source that cannot be paused.
 * Holds the items that wait: a slow reader pauses the socket at `pauseAtItems` plus what one network chunk brings.
 *
 * @example
 * ```ts
 * for await (const token of asyncIterableFrom(fromCall(call).pipe(toTokens()))) process.stdout.write(token);
 * ```
 * @param source - any observable
 * @param options - see {@link AsyncIterableFromOptions}
 * @returns a cold iterable: nothing is asked for before it is read
 * @throws RangeError for a limit below 1
 * @public
 */
export function asyncIterableFrom<T>(source: Observable<T>, options: AsyncIterableFromOptions = {}): AsyncIterable<T> {
  const { pauseAtItems = 16, maxWaitingItems = 65_536 } = options;
  requireAtLeast(1, { pauseAtItems, maxWaitingItems });
  return {
    [Symbol.asyncIterator]: () => new Reading(source, pauseAtItems, maxWaitingItems),
  };
}

interface Waiting<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

class Reading<T> implements AsyncIterator<T, undefined> {
  readonly #source: Observable<T>;
  readonly #pauseAt: number;
  readonly #max: number;
  /** What waits is from `#head` on: `shift` costs a long list its length. */
  #items: T[] = [];
  #head = 0;
  readonly #readers: Waiting<T>[] = [];
  #evidence: Evidence | undefined;
  #subscription: Subscription | undefined;
  #isPaused = false;
  #end: { readonly error?: unknown } | undefined;

  constructor(source: Observable<T>, pauseAt: number, max: number) {
    this.#source = source;
    this.#pauseAt = pauseAt;
    this.#max = max;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#end === undefined) this.#subscription ??= this.#subscribe();
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#serve();
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#end = {};
    this.#items = [];
    this.#head = 0;
    this.#subscription?.unsubscribe();
    this.#serve();
    return Promise.resolve({ done: true, value: undefined });
  }

  #subscribe(): Subscription {
    const evidence = new Evidence('sink');
    this.#evidence = evidence;
    let ending: Ending = { kind: 'left' };
    return new Observable<never>((subscriber) => {
      draw<T>(this.#source, subscriber, evidence.scope, (upstream) => ({
        next: (item) => {
          evidence.note('');
          this.#items.push(item);
          if (this.#waiting() > this.#max) {
            const message = `More than ${String(this.#max)} items wait for the reader of asyncIterableFrom, and the source cannot be paused`;
            ending = { kind: 'error', error: new LimitError('maxWaitingItems', this.#max, message) };
            upstream.unsubscribe();
            return;
          }
          this.#serve();
          if (this.#waiting() >= this.#pauseAt) {
            this.#isPaused = true;
            evidence.scope.pause();
          }
        },
        error: (error) => {
          ending = { kind: 'error', error };
        },
        complete: () => {
          evidence.currentFlow();
          ending = { kind: 'complete' };
        },
        left: () => {
          evidence.scope.release();
          const verdict = evidence.judge(ending);
          const receipt = evidence.receipt(verdict, { where: 'none', chars: 0, bytes: 0 });
          evidence.report(receipt);
          // `in`: even `undefined` can be thrown.
          this.#end ??= 'error' in verdict ? { error: attachReceipt(verdict.error, receipt) } : {};
          this.#serve();
        },
      }));
    }).subscribe({
      error: (error: unknown) => {
        this.#end ??= { error };
        this.#serve();
      },
    });
  }

  #waiting(): number {
    return this.#items.length - this.#head;
  }

  #take(): T {
    const item = this.#items[this.#head] as T; // there is one: `#waiting` was asked
    this.#head += 1;
    if (this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  #serve(): void {
    while (this.#readers.length > 0) {
      if (this.#waiting() > 0) {
        this.#readers.shift()?.resolve({ done: false, value: this.#take() });
      } else if (this.#end !== undefined) {
        const end = this.#end;
        // An error is thrown once; after it the iterator is done, as the protocol wants.
        this.#end = {};
        const reader = this.#readers.shift();
        if ('error' in end) reader?.reject(end.error);
        else reader?.resolve({ done: true, value: undefined });
      } else break;
    }
    if (this.#isPaused && this.#waiting() < this.#pauseAt) {
      this.#isPaused = false;
      this.#evidence?.scope.release();
    }
  }
}
