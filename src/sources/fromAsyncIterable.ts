import type { Observable } from 'rxjs';
import { fromOrigin } from '../internal/pulling.js';

/**
 * Emits what an async iterable gives, one item at a time: the next one is asked for when the one before was taken.
 *
 * ```text
 * iterable   a--b--c  done
 * result    -a--b--c|
 *
 * sink      -----full....room      no item is asked for while a sink below is full
 * result    -a--b----------c|
 * ```
 * The `from` of RxJS asks without end, however slow its reader, and keeps what it was given in memory.
 * Emits each item as it is. Completes when the iterable is done, which is the proof that it is whole; errors with what it throws.
 * Unsubscribing calls `return()` in the same turn, once, and asks for nothing more (an async generator obeys when its pending
 * `await` is over); where that fails, a process warning says so. Holds the one item that was on its way when a sink filled up.
 *
 * A generator can be read once: a second subscription errors with NoResumePlanError, whose `cause` is what ended the first one.
 * A function makes one for each subscription; it may give a promise.
 *
 * @example
 * ```ts
 * async function* questions() {
 *   for (const question of ['Why?', 'How?']) yield question;
 * }
 * fromAsyncIterable(questions).pipe(toFile('questions.txt')).subscribe(log);
 * ```
 * @param iterable - an async iterable, or a function that makes one
 * @returns a cold observable: nothing is asked for before it is subscribed to
 * @throws TypeError for anything else
 * @see {@link asyncIterableFrom} for the other way
 * @public
 */
export function fromAsyncIterable<T>(
  iterable: AsyncIterable<T> | (() => AsyncIterable<T> | PromiseLike<AsyncIterable<T>>),
): Observable<T> {
  return fromOrigin<AsyncIterable<T>, T>(
    {
      source: 'fromAsyncIterable',
      takes: 'an async iterable',
      accepts: isAsyncIterable,
      open: (input, claim) => {
        const iterator = input[Symbol.asyncIterator]();
        // One that can be read again gives another iterator each time.
        claim(iterator);
        return {
          next: () => iterator.next(),
          leave: () => iterator.return?.(),
        };
      },
    },
    iterable,
  );
}

function isAsyncIterable(input: unknown): boolean {
  return (
    input !== undefined &&
    input !== null &&
    typeof (input as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function'
  );
}
