import type { Observable } from 'rxjs';
import { Reading, type WaitingLimits } from '../internal/reading.js';

/** How much `asyncIterableFrom` may hold. @public */
export type AsyncIterableFromOptions = WaitingLimits;

/**
 * Reads a stream with `for await`.
 *
 * ```text
 * source    -a--b--c|
 * loop       a  b  c  done
 * ```
 * Each `for await` subscribes once, at its first step. Leaving the loop stops the request at once; a receipt says `stopped` by
 * `reader`. Ends when the source completes and its flows are proven; throws the source's error after the items before it,
 * InterruptedError where the source completed before its proven end, LimitError where the reader falls behind a source that
 * cannot be paused; each carries `receipt`.
 * Holds the items that wait: a slow reader pauses the socket at `pauseAtItems` plus what one network chunk brings.
 *
 * @example
 * ```ts
 * for await (const token of asyncIterableFrom(fromCall(call).pipe(toTokens()))) process.stdout.write(token);
 * ```
 * @param source - any observable
 * @param options - see {@link WaitingLimits}
 * @returns a cold iterable: nothing is asked for before it is read
 * @throws RangeError for a limit below 1
 * @see {@link fromAsyncIterable} for the other way
 * @public
 */
export function asyncIterableFrom<T>(source: Observable<T>, options: AsyncIterableFromOptions = {}): AsyncIterable<T> {
  const open = (): Reading<T> => new Reading('asyncIterableFrom', source, options);
  open(); // throws for a wrong limit when called, and does nothing else
  return {
    [Symbol.asyncIterator]: () => new ReadingIterator(open()),
  };
}

class ReadingIterator<T> implements AsyncIterator<T, undefined> {
  readonly #reading: Reading<T>;

  constructor(reading: Reading<T>) {
    this.#reading = reading;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      this.#reading.read({
        onItem: (value) => {
          resolve({ done: false, value });
        },
        onEnd: () => {
          resolve({ done: true, value: undefined });
        },
        onError: reject,
      });
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve) => {
      this.#reading.leave();
      resolve({ done: true, value: undefined });
    });
  }
}
