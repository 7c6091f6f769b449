import type { Observable } from 'rxjs';
import { NoResumePlanError } from '../errors.js';
import { fromOrigin } from '../internal/pulling.js';

/**
 * Emits what a web `ReadableStream` gives, one chunk at a time: the next one is read when the one before was taken.
 *
 * ```text
 * stream     a--b--c  closed
 * result    -a--b--c|
 *
 * sink      -----full....room      nothing is read while a sink below is full
 * result    -a--b----------c|
 * ```
 * Emits each chunk as it is, of a byte stream too. Completes when the stream is closed, which is all the proof there is that it
 * is whole (a body without a length that was cut looks closed: `decode` knows better); errors with the stream's error.
 * Unsubscribing cancels the stream in the same turn; where that fails, a process warning says so. Holds the one chunk that was on
 * its way when a sink filled up.
 *
 * A stream can be read once: a second subscription errors with NoResumePlanError, whose `cause` is what ended the first one, and so
 * does one to a stream that is locked to another reader. A function makes one for each subscription; it may give a promise.
 *
 * @example
 * ```ts
 * const body = async () => (await fetch(url)).body ?? new ReadableStream<Uint8Array>();
 * fromReadableStream(body).pipe(parseSSE(), decode(api.chat.dialect), toTokens()).subscribe(log);
 * ```
 * @param stream - a stream that nobody else reads, or a function that makes one
 * @returns a cold observable: the stream is not touched before it is subscribed to
 * @throws TypeError for anything else
 * @see {@link readableStreamFrom} for the other way
 * @public
 */
export function fromReadableStream<T>(
  stream: ReadableStream<T> | (() => ReadableStream<T> | PromiseLike<ReadableStream<T>>),
): Observable<T> {
  return fromOrigin<ReadableStream<T>, T>(
    {
      source: 'fromReadableStream',
      takes: 'a ReadableStream',
      accepts: isReadableStream,
      open: (input, claim) => {
        claim(input);
        if (input.locked) {
          throw new NoResumePlanError('The ReadableStream is locked to another reader, and can be read once');
        }
        const reader = input.getReader();
        return {
          next: async () => {
            const step = await reader.read();
            if (step.done) reader.releaseLock();
            return step;
          },
          leave: () => {
            const { closed } = reader;
            const cancelled = reader.cancel();
            reader.releaseLock();
            return stopped(closed, cancelled);
          },
        };
      },
    },
    stream,
  );
}

/** How cancelling went. A stream that had failed by itself is stopped: its error came too late to be anybody's. */
async function stopped(closed: Promise<unknown>, cancelled: Promise<unknown>): Promise<void> {
  const [isClosed, isCancelled] = await Promise.allSettled([closed, cancelled]);
  if (isClosed.status === 'fulfilled' && isCancelled.status === 'rejected') throw isCancelled.reason;
}

function isReadableStream(input: unknown): boolean {
  return (
    typeof input === 'object' &&
    input !== null &&
    typeof (input as Partial<ReadableStream>).getReader === 'function' &&
    typeof (input as Partial<ReadableStream>).cancel === 'function'
  );
}
