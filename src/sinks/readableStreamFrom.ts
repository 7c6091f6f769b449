import type { Observable } from 'rxjs';
import { Reading, type WaitingLimits } from '../internal/reading.js';

/** How much `readableStreamFrom` may hold. @public */
export type ReadableStreamFromOptions = WaitingLimits;

/**
 * Gives a stream as a web `ReadableStream`: the body of a `Response`, the start of a `pipeTo`, something to `postMessage`.
 *
 * ```text
 * read      ^  ^     ^  ^
 * source    -a--b-c---|
 * stream     a  b    c  done
 * ```
 * Subscribes at the first read, not before, and once: what wants another reader uses `tee`. The stream itself holds nothing
 * (`highWaterMark` 0). Closes when the source completes and its flows are proven. Errors, after the items before it, with the
 * source's error, InterruptedError where the source completed before its proven end, LimitError where the reader falls behind
 * a source that cannot be paused; each carries `receipt`.
 * Cancelling it stops the request at once (`reader.cancel()`, leaving a loop, the `signal` of `pipeTo`, a `Response` whose client
 * is gone); a receipt says `stopped` by `reader`.
 * Holds the items that wait: a slow reader pauses the socket at `pauseAtItems` plus what one network chunk brings.
 *
 * @example Answer a request with the text of a model
 * ```ts
 * const text = readableStreamFrom(fromCall(call).pipe(toTokens()));
 * const response = new Response(text.pipeThrough(new TextEncoderStream()));
 * ```
 * @param source - any observable
 * @param options - see {@link WaitingLimits}
 * @returns a stream of items as they are; a `Response` wants bytes
 * @throws RangeError for a limit below 1
 * @see {@link fromReadableStream} for the other way
 * @public
 */
export function readableStreamFrom<T>(
  source: Observable<T>,
  options: ReadableStreamFromOptions = {},
): ReadableStream<T> {
  const reading = new Reading('readableStreamFrom', source, options);
  let isCancelled = false;
  return new ReadableStream<T>(
    {
      pull: (controller) =>
        new Promise<void>((resolve, reject) => {
          reading.read({
            onItem: (item) => {
              controller.enqueue(item);
              resolve();
            },
            onEnd: () => {
              if (!isCancelled) controller.close();
              resolve();
            },
            onError: reject, // which errors the stream
          });
        }),
      cancel: () => {
        isCancelled = true;
        reading.leave();
      },
    },
    { highWaterMark: 0 },
  );
}
