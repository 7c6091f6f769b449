import { io } from '#io';
import type { Readable } from 'node:stream';
import { map, type Observable } from 'rxjs';
import { SinkError } from '../errors.js';
import { link, operate } from '../internal/operate.js';
import { Reading, type WaitingLimits } from '../internal/reading.js';
import { wholeText } from '../internal/wholeText.js';

/** What `nodeReadableFrom` gives, and how much it may hold. @public */
export interface NodeReadableFromOptions extends WaitingLimits {
  /**
   * `true`: each item is a chunk as it is, as with `Readable.from`; strings and bytes can be piped to a file or a response all
   * the same. `false`: a stream of bytes, for readers that ask for a number of them or set an encoding; then every item must be
   * a string (it becomes UTF-8, and a character that the model cut in two is put together) or a Uint8Array.
   * @defaultValue `true`, as `Readable.from` has it
   */
  readonly objectMode?: boolean | undefined;
}

/**
 * Gives a stream as a Node `Readable`, for `pipeline`, `pipe`, and whatever takes one.
 *
 * ```text
 * read      ^  ^     ^  ^
 * source    -a--b-c---|
 * stream     a  b    c  end
 * ```
 * Subscribes at the first read (a `data` or `readable` listener, `pipe`, a loop), not before, and once. Ends when the source
 * completes and its flows are proven. Is destroyed, after the items before it were read, with the source's error,
 * InterruptedError where the source completed before its proven end, LimitError where the reader falls behind a source that
 * cannot be paused, SinkError for an item that such a stream cannot carry (`null`; without `objectMode` whatever is neither text
 * nor bytes); each carries `receipt`. What is thrown that is no Error is the `cause` of one.
 * Destroying it stops the request at once (`destroy()`, leaving a loop, a `pipeline` that fails or is aborted); a receipt says
 * `stopped` by `reader`.
 * Holds the items that wait: a slow reader pauses the socket at `pauseAtItems` plus what one network chunk brings. The stream's
 * own buffer adds at most the one item that Node asks for ahead of a reader (`highWaterMark` 0).
 *
 * @example
 * ```ts
 * import { createWriteStream } from 'node:fs';
 * import { pipeline } from 'node:stream/promises';
 * await pipeline(nodeReadableFrom(fromCall(call).pipe(toTokens())), createWriteStream('answer.txt'), { signal });
 * ```
 * @param source - any observable
 * @param options - see {@link NodeReadableFromOptions}
 * @returns a Readable; nothing is asked for before it is read
 * @throws RangeError for a limit below 1; TypeError for an `objectMode` that is no boolean, and outside Node
 * @see {@link fromNodeReadable} for the other way
 * @public
 */
export function nodeReadableFrom<T>(source: Observable<T>, options: NodeReadableFromOptions = {}): Readable {
  const { objectMode = true } = options;
  if (typeof objectMode !== 'boolean') throw new TypeError(`objectMode must be a boolean, got ${String(objectMode)}`);
  const items: Observable<unknown> = objectMode ? source.pipe(map(refuseNull)) : source.pipe(toPieces());
  const reading = new Reading('nodeReadableFrom', items, options);
  if (io.Readable === undefined) {
    throw new TypeError('nodeReadableFrom needs node:stream, which only Node has; a page has readableStreamFrom');
  }
  return new io.Readable({
    objectMode,
    highWaterMark: 0,
    read() {
      reading.read({
        onItem: (item) => {
          // A listener runs inside, on the source's stack: what it throws is the stream's failure, not the source's.
          try {
            this.push(item);
          } catch (error) {
            this.destroy(asError(error));
          }
        },
        onEnd: () => {
          this.push(null);
        },
        onError: (error) => {
          this.destroy(asError(error));
        },
      });
    },
    destroy(error, callback) {
      reading.leave();
      callback(error);
    },
  });
}

/** `destroy(undefined)` would be no failure at all. */
function asError(error: unknown): Error {
  return error instanceof Error
    ? error
    : new SinkError('The stream failed with a value that is no Error', { cause: error });
}

function refuseNull<T>(item: T): T {
  if (item === null) {
    throw new SinkError('A Node stream cannot carry null, by which it ends; give it another value with map');
  }
  return item;
}

/** Text and bytes as they can be pushed: none empty, and no character in two. */
function toPieces<T>() {
  return operate<T, string | Uint8Array>((source, subscriber) => {
    /** First half of a surrogate pair whose other half has not come. */
    let half = '';
    const emit = (piece: string | Uint8Array): void => {
      if (piece.length > 0) subscriber.next(piece);
    };
    const flush = (): void => {
      const rest = half;
      half = '';
      emit(rest);
    };
    source.subscribe(
      link<T>(subscriber, {
        next: (item) => {
          if (typeof item === 'string') {
            const joined = half + item;
            const whole = wholeText(joined);
            half = joined.slice(whole.length);
            emit(whole);
          } else if (item instanceof Uint8Array) {
            flush();
            emit(item);
          } else {
            flush();
            throw new SinkError(
              `nodeReadableFrom without objectMode takes strings and bytes, got ${item === null ? 'null' : typeof item}`,
            );
          }
        },
        error: (error) => {
          flush();
          subscriber.error(error);
        },
        complete: () => {
          flush();
          subscriber.complete();
        },
      }),
    );
  });
}
