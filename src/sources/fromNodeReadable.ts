import type { Observable } from 'rxjs';
import { InterruptedError, NoResumePlanError } from '../errors.js';
import { fromOrigin, type Origin } from '../internal/pulling.js';

/** What is needed of a Node `Readable`. @public */
export interface NodeReadable {
  read(): unknown;
  on(event: 'readable' | 'end' | 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'readable' | 'end' | 'close', listener: () => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
  destroy(): unknown;
  /** What was told already and is not told again. */
  readonly destroyed?: boolean | undefined;
  readonly readableEnded?: boolean | undefined;
  readonly errored?: Error | null | undefined;
}

/**
 * Emits what a Node `Readable` gives, one chunk at a time: the next one is read when the one before was taken.
 *
 * ```text
 * stream     a--b--c  end
 * result    -a--b--c|
 *
 * sink      -----full....room      nothing is read while a sink below is full; the stream fills its own buffer and waits
 * result    -a--b----------c|
 * ```
 * Emits what `read()` gives: an object, or all the bytes (with an encoding: the text) that are there. Completes at `end`, which is the
 * proof that it is whole. Errors with the stream's error, or InterruptedError where it was closed before its end; what it held is
 * emitted before.
 * Unsubscribing destroys the stream in the same turn; where that fails, a process warning says so. Holds the one chunk that was on
 * its way when a sink filled up; the stream holds its `highWaterMark`.
 *
 * A stream can be read once: a second subscription errors with NoResumePlanError, whose `cause` is what ended the first one, and so
 * does one to a stream that somebody else read to its end. A function makes one for each subscription; it may give a promise.
 *
 * @example
 * ```ts
 * import { createReadStream } from 'node:fs';
 * fromNodeReadable(() => createReadStream('recorded.sse')).pipe(parseSSE(), decode(api.chat.dialect)).subscribe(log);
 * ```
 * @typeParam T - what the stream gives, which its own type does not tell: bytes, unless it is in object mode or has an encoding
 * @param readable - a stream that nobody else reads, or a function that makes one
 * @returns a cold observable: the stream is not touched before it is subscribed to
 * @throws TypeError for anything else
 * @see {@link nodeReadableFrom} for the other way
 * @public
 */
export function fromNodeReadable<T = Uint8Array>(
  readable: NodeReadable | (() => NodeReadable | PromiseLike<NodeReadable>),
): Observable<T> {
  return fromOrigin<NodeReadable, T>(
    {
      source: 'fromNodeReadable',
      takes: 'a Node Readable',
      accepts: isNodeReadable,
      open: (input, claim) => {
        claim(input);
        if (input.readableEnded === true) {
          throw new NoResumePlanError('The Readable was read to its end before, and can be read once');
        }
        return new ReadableOrigin<T>(input);
      },
    },
    readable,
  );
}

class ReadableOrigin<T> implements Origin<T> {
  readonly #readable: NodeReadable;
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(readable: NodeReadable) {
    this.#readable = readable;
    const { errored, destroyed } = readable;
    if (errored) {
      this.#end = { error: errored };
      readable.on('error', alreadyTold);
    } else if (destroyed === true) this.#end = { error: closedEarly() };
    readable.on('error', this.#onError);
    readable.on('close', this.#onClose);
    readable.on('end', this.#onEnd);
    readable.on('readable', this.#onReadable);
  }

  readonly next = async (): Promise<IteratorResult<T, undefined>> => {
    for (;;) {
      const item = this.#readable.read();
      if (item !== null) return { done: false, value: item as T }; // the caller says what it gives
      if (this.#end !== undefined) {
        this.#stopListening();
        if ('error' in this.#end) throw this.#end.error;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  };

  readonly leave = (): Promise<void> => {
    const readable = this.#readable;
    const hadFailed = Boolean(readable.errored);
    this.#stopListening();
    return new Promise((resolve, reject) => {
      const onError = (error: Error): void => {
        // One that had failed by itself is stopped: its error came too late to be anybody's.
        if (hadFailed) resolve();
        else reject(error);
      };
      const onClose = (): void => {
        readable.off('error', onError);
        readable.off('close', onClose);
        resolve();
      };
      readable.on('error', onError);
      readable.on('close', onClose);
      readable.destroy();
    });
  };

  readonly #onReadable = (): void => {
    this.#wake?.();
  };

  readonly #onEnd = (): void => {
    this.#settle({});
  };

  readonly #onError = (error: unknown): void => {
    this.#settle({ error });
  };

  readonly #onClose = (): void => {
    this.#settle({ error: closedEarly() });
  };

  #settle(end: { readonly error?: unknown }): void {
    this.#end ??= end;
    this.#wake?.();
  }

  #stopListening(): void {
    const readable = this.#readable;
    readable.off('readable', this.#onReadable);
    readable.off('end', this.#onEnd);
    readable.off('error', this.#onError);
    readable.off('close', this.#onClose);
  }
}

/** The event may be still to come of an error that was read from the stream; unheard it would end the process. */
function alreadyTold(): void {
  // It was emitted as this source's own error.
}

function closedEarly(): InterruptedError {
  return new InterruptedError('The Readable was closed before its end');
}

function isNodeReadable(input: unknown): boolean {
  if (typeof input !== 'object' || input === null) return false;
  const { read, on, off, destroy } = input as Partial<Record<keyof NodeReadable, unknown>>;
  return [read, on, off, destroy].every((method) => typeof method === 'function');
}
