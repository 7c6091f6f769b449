import { Observable } from 'rxjs';
import { InterruptedError } from '../errors.js';
import { onAbort } from '../internal/onAbort.js';
import {
  type Obstacle,
  type Outlet,
  type OutletListener,
  readRelayOptions,
  Relay,
  type RelayOptions,
} from '../internal/relay.js';
import { tapReceipt } from '../operators/tapReceipt.js';
import type { Receipt, StreamEvent } from '../types.js';

/** How a stream is told to somebody else's front end. @public */
export interface ResponseFromOptions extends RelayOptions {
  /**
   * The request that is answered. Its `signal` tells that the reader has left, its `Last-Event-ID` what an `EventSource` has that comes
   * back. Without it the reader's leaving is seen once the body is read.
   */
  readonly request?: Pick<Request, 'method' | 'headers' | 'signal'> | undefined;
  /** Hears the receipt of the stream, once, whatever its ending. What it throws is an uncaught exception. */
  readonly onReceipt?: ((receipt: Receipt) => void) | undefined;
}

/**
 * Answers a request with a stream, as it arrives: for Hono, Next.js, Bun, Deno, workers, and whatever else answers with a `Response`.
 *
 * ```text
 * source    -s--a--b--c|       s = status; a, b, c = content
 * result    ----R              R = the Response; its body has s and a, then b and c
 *
 * source    -s--#              nothing was sent yet
 * result    ----R              the failure as a status: 429, 502, 504 ...
 * ```
 * The same in all as {@link toNodeResponse}: what is sent and when, statuses, formats, heartbeats, `EventSource`. Subscribes at once.
 * Resolves with the head: at the first content, at the first failure, at the latest after `headersAfterMs`. Never rejects: failures are
 * responses, and `onReceipt` tells of them. The body ends well only when the stream is proven whole, or tells in its format that it is not;
 * `'text'` has no way to do so, and its body errors.
 * Cancelling the body stops the upstream request at once, and so does `signal` of the `request`; the receipt says `stopped` by `reader`. A
 * reader that leaves before the head is answered 499, which nobody reads.
 * Holds 16 KiB that wait for the reader, plus what one network chunk brings: then the upstream's socket is paused until more is pulled.
 *
 * @example A route of Hono, or of Next.js: `export const POST = (request: Request) => …`
 * ```ts
 * const answer = (request: Request): Promise<Response> =>
 *   responseFrom(fromCall(api.chat({ model, messages })), { format: 'ai-sdk', request });
 * ```
 * @param stream - StreamEvents or strings
 * @param options - see {@link ResponseFromOptions}
 * @returns a promise of the response
 * @throws TypeError for options that cannot be used; RangeError for a time out of its range
 * @see {@link toNodeResponse} for `node:http`, Express and Fastify
 * @public
 */
export function responseFrom(
  stream: Observable<StreamEvent | string>,
  options: ResponseFromOptions = {},
): Promise<Response> {
  const settled = readRelayOptions(options);
  const { request, onReceipt } = options;
  return new Promise((resolve) => {
    const outlet = new FetchOutlet(resolve, request?.signal);
    const facts = { method: request?.method, lastEventId: request?.headers.get('last-event-id') ?? undefined };
    let failure: { readonly error: unknown } | undefined;
    new Observable<Receipt>((subscriber) => {
      new Relay(settled, facts, outlet, subscriber).start(stream);
    })
      .pipe(
        tapReceipt((receipt) => {
          try {
            onReceipt?.(receipt);
          } catch (error) {
            failure = { error };
            throw error;
          }
        }),
      )
      .subscribe({
        // A stream's failure was told to its reader, and to `onReceipt`; what that throws is for the process to hear.
        error: () => {
          if (failure !== undefined) throw failure.error;
        },
      });
  });
}

/** Bytes that may wait for the reader: Node's own mark for a full stream. */
const PAUSE_AT_BYTES = 16_384;

/** nginx's word for a client that closed its request; the standards have none. */
const CLIENT_CLOSED_REQUEST = 499;

class FetchOutlet implements Outlet {
  readonly #signal: AbortSignal | undefined;
  /** Undefined once it was answered. */
  #resolve: ((response: Response) => void) | undefined;
  #listener: OutletListener | undefined;
  #stopListening: (() => void) | undefined;
  /** Of the body, while it can take something. */
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isFull = false;
  #end: 'ended' | 'cut' | undefined;
  /** The reader waits for bytes. */
  #pulled: (() => void) | undefined;

  constructor(resolve: (response: Response) => void, signal: AbortSignal | undefined) {
    this.#resolve = resolve;
    this.#signal = signal;
  }

  open(listener: OutletListener): Obstacle | undefined {
    if (this.#signal?.aborted === true) return 'left';
    this.#listener = listener;
    if (this.#signal !== undefined) this.#stopListening = onAbort(this.#signal, this.#onLeft);
    return undefined;
  }

  begin(status: number, headers: Readonly<Record<string, string>>, piece: Uint8Array): boolean {
    const hasBody = piece.length > 0 || status === 200;
    this.#answer(new Response(hasBody ? this.#makeBody() : null, { status, headers }));
    return this.write(piece);
  }

  write(piece: Uint8Array): boolean {
    if (piece.length > 0) {
      this.#waiting.push(piece);
      this.#waitingBytes += piece.length;
    }
    this.#serve();
    this.#isFull = this.#waitingBytes >= PAUSE_AT_BYTES;
    return !this.#isFull;
  }

  end(): void {
    this.#end ??= 'ended';
    this.#serve();
  }

  cut(): void {
    this.#end ??= 'cut';
    this.#serve();
  }

  close(): void {
    this.#stopListening?.();
    this.#listener = undefined;
    this.#answer(new Response(null, { status: CLIENT_CLOSED_REQUEST }));
    // What has ended waits for its reader; what has not never will.
    if (this.#end !== undefined) return;
    this.#waiting = [];
    this.cut();
  }

  #makeBody(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#body = controller;
        },
        pull: () =>
          new Promise<void>((resolve) => {
            this.#pulled = resolve;
            this.#serve();
          }),
        cancel: () => {
          this.#body = undefined;
          this.#onLeft();
        },
      },
      { highWaterMark: 0 }, // what waits, waits here, and is counted
    );
  }

  readonly #onLeft = (): void => {
    this.#listener?.onLeft();
  };

  #answer(response: Response): void {
    this.#resolve?.(response);
    this.#resolve = undefined;
  }

  /** Gives the reader that waits what waits for it; then the end, which nobody has to ask for. */
  #serve(): void {
    const pulled = this.#pulled;
    if (pulled !== undefined && this.#waiting.length > 0) {
      this.#pulled = undefined;
      this.#body?.enqueue(joined(this.#waiting, this.#waitingBytes));
      this.#waiting = [];
      this.#waitingBytes = 0;
      pulled();
    }
    if (this.#waiting.length === 0 && this.#end !== undefined) this.#finish(this.#end);
    else if (this.#isFull && this.#waitingBytes === 0) {
      this.#isFull = false;
      this.#listener?.onRoom();
    }
  }

  #finish(end: 'ended' | 'cut'): void {
    const body = this.#body;
    this.#body = undefined;
    if (end === 'ended') body?.close();
    else body?.error(new InterruptedError('The answer was interrupted'));
    this.#pulled?.();
    this.#pulled = undefined;
    this.#listener?.onDone();
  }
}

function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return only;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
