import type { OperatorFunction } from 'rxjs';
import { SinkError } from '../errors.js';
import { operate } from '../internal/operate.js';
import {
  type Obstacle,
  type Outlet,
  type OutletListener,
  readRelayOptions,
  Relay,
  type RelayOptions,
} from '../internal/relay.js';
import type { Receipt, StreamEvent } from '../types.js';

/** How a stream is told to somebody else's front end. @public */
export type ToNodeResponseOptions = RelayOptions;

/**
 * What `toNodeResponse` needs of a response: `ServerResponse` of `node:http`, that of `node:http2`, Express's `res`, Fastify's
 * `reply.raw` have it.
 * @public
 */
export interface NodeResponse {
  statusCode: number;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  setHeader(name: string, value: string): unknown;
  write(piece: Uint8Array): boolean;
  end(): unknown;
  on(event: 'drain' | 'finish' | 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'drain' | 'finish' | 'close', listener: () => void): unknown;
}

/**
 * Answers an HTTP request with a stream, as it arrives: for `node:http`, Express and Fastify.
 *
 * ```text
 * source    -s--a--b--c|       s = status; a, b, c = content
 * response  ----h--b--c|       h = head, with s and a
 * result    ------------(r|)   r = receipt, when the last byte is out
 *
 * source    -s--#              nothing was sent yet
 * response  ----h              the failure as a status: 429, 502, 504 ...
 * ```
 * The head goes out with the first content, at the latest after `headersAfterMs`; states before it go with it. Until then a failure
 * of the upstream is told as a status with `{"error":{"code","message"}}`, in words of ours (`errorResponse` has others): its 429 is a
 * 429 with its `Retry-After`, 400, 413 and 422 stay what they are, a timeout is a 504, any other failure of an upstream a 502, a stop
 * a 503, the rest a 500. After it a failure is told in the format's own way; `'text'` has none, so the connection is cut.
 * What one chunk of the upstream brings is one write, made in the same turn. Headers and a status that are set on the response
 * beforehand stay.
 *
 * Takes StreamEvents or strings. Emits one receipt and completes when the stream is complete, stopped on purpose, or left by its
 * reader (outcome `stopped` by `reader`): when the connection closes, the upstream request is aborted in the same turn. Errors with the
 * source's error, InterruptedError where the source completed before its proven end, or SinkError (a response that was answered already,
 * for which nothing is asked, or that somebody else answers meanwhile); each carries `receipt`. HEAD is answered 405, and nothing is asked. A `restart` after text was sent is told by `'millrace'`, and by `'ai-sdk'` for
 * version 7; elsewhere it is a failure. Unsubscribing stops the source and tells the reader so: by the format's end, by a cut, or by a 503.
 * Holds what the response's own buffer holds: when it is full the socket of the upstream is paused until its reader has read.
 *
 * `new EventSource(url)` reads the format `'millrace'` from a GET route that attaches to work by its id. When its connection is lost
 * it comes back by itself, and is told only what it does not have, however the replay is cut into pieces; where the replay is another
 * answer it is told a `restart`. When the answer has ended it is answered 204, nothing is asked, and the receipt says `skipped`.
 *
 * @example A route of `node:http`
 * ```ts
 * import { createServer } from 'node:http';
 * createServer((_, res) => {
 *   fromCall(api.chat({ model, messages })).pipe(toNodeResponse(res, { format: 'openai' })).subscribe({ error: report });
 * });
 * ```
 * @param res - a response that nothing was sent on
 * @param options - see {@link RelayOptions}
 * @returns an operator; nothing is sent before it is subscribed to
 * @throws TypeError for what is no response, and for options that cannot be used; RangeError for a time out of its range
 * @see {@link responseFrom} for the Fetch API
 * @public
 */
export function toNodeResponse(
  res: NodeResponse,
  options: ToNodeResponseOptions = {},
): OperatorFunction<StreamEvent | string, Receipt> {
  const settled = readRelayOptions(options);
  for (const name of ['setHeader', 'write', 'end', 'on', 'off'] as const) {
    if (typeof (res as Partial<NodeResponse> | undefined)?.[name] !== 'function') {
      throw new TypeError(`toNodeResponse takes a response of node:http, and this has no ${name}(); see responseFrom`);
    }
  }
  return operate((source, subscriber) => {
    const outlet = new NodeOutlet(res);
    new Relay(settled, outlet.request, outlet, subscriber).start(source);
  });
}

/** What a response may have besides. Frameworks, HTTP/2 and other runtimes have some of it. */
interface Extras {
  readonly req?: {
    readonly method?: string;
    readonly httpVersion?: string;
    readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  };
  readonly destroyed?: boolean;
  readonly socket?: {
    setNoDelay?(noDelay: boolean): unknown;
    destroySoon?(): void;
    resetAndDestroy?(): unknown;
    write?(piece: Uint8Array, written: () => void): unknown;
  } | null;
  /** Of HTTP/2. */
  readonly stream?: {
    readonly destroyed?: boolean;
    write?(piece: Uint8Array, written: () => void): unknown;
    close?(code: number): void;
  };
  flushHeaders?(): void;
  /** A compressing middleware puts it there. */
  flush?(): void;
  destroy?(): unknown;
}

/** HTTP/2's INTERNAL_ERROR (RFC 9113, 7). */
const INTERNAL_ERROR = 2;

class NodeOutlet implements Outlet {
  readonly #res: NodeResponse & Extras;
  #listener: OutletListener | undefined;
  /** We ended it, or cut it. */
  #isOver = false;
  #isCut = false;

  constructor(res: NodeResponse) {
    this.#res = res; // every one of them is looked at before it is used
  }

  get request(): { readonly method: string | undefined; readonly lastEventId: string | undefined } {
    const { method, headers } = this.#res.req ?? {};
    const id = headers?.['last-event-id'];
    return { method, lastEventId: typeof id === 'string' ? id : undefined };
  }

  open(listener: OutletListener): Obstacle | undefined {
    const res = this.#res;
    if (res.writableEnded || res.headersSent) {
      return new SinkError('The response was answered already, so nothing was asked; give toNodeResponse a fresh one');
    }
    if (res.destroyed === true || res.stream?.destroyed === true) return 'left';
    this.#listener = listener;
    res.on('drain', this.#onDrain);
    res.on('finish', this.#onFinish);
    res.on('close', this.#onClose);
    // It stays: a response that failed may say so again, and unheard that would end the process.
    res.on('error', this.#onError);
    return undefined;
  }

  begin(status: number, headers: Readonly<Record<string, string>>, piece: Uint8Array): boolean {
    const res = this.#res;
    if (res.headersSent) {
      this.#listener?.onFailure(answeredByAnother());
      return true;
    }
    // One that the program has set says more than 200.
    if (status !== 200) res.statusCode = status;
    for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
    // A socket of HTTP/2 is not ours to touch.
    if (res.stream === undefined) res.socket?.setNoDelay?.(true);
    if (piece.length > 0) return this.write(piece);
    if (status === 200) res.flushHeaders?.();
    return true;
  }

  write(piece: Uint8Array): boolean {
    if (this.#res.writableEnded) {
      this.#listener?.onFailure(answeredByAnother());
      return true;
    }
    const hasRoom = this.#res.write(piece);
    this.#res.flush?.();
    return hasRoom;
  }

  end(): void {
    this.#isOver = true;
    this.#res.end();
  }

  cut(): void {
    this.#isOver = true;
    this.#isCut = true;
    const res = this.#res;
    const { socket, stream } = res;
    if (stream?.close !== undefined) {
      const close = (): void => stream.close?.(INTERNAL_ERROR);
      if (stream.write === undefined) close();
      else stream.write(NO_BYTES, close); // behind what was written
    } else if (res.req?.httpVersion === '1.0' && socket?.write !== undefined) {
      // A body without framing ends with its connection: only a reset is no clean end.
      socket.write(NO_BYTES, () => {
        if (socket.resetAndDestroy === undefined) res.destroy?.();
        else socket.resetAndDestroy();
      });
    } else if (socket?.destroySoon !== undefined) socket.destroySoon();
    else res.destroy?.();
  }

  close(): void {
    this.#listener = undefined;
    this.#res.off('drain', this.#onDrain);
    this.#res.off('finish', this.#onFinish);
    this.#res.off('close', this.#onClose);
  }

  readonly #onDrain = (): void => {
    this.#listener?.onRoom();
  };

  readonly #onFinish = (): void => {
    if (this.#isCut) return; // HTTP/2 says so of a stream that is closed in whatever way
    if (this.#isOver) this.#listener?.onDone();
    else if (this.#res.writableEnded) this.#listener?.onFailure(answeredByAnother());
    else this.#listener?.onLeft();
  };

  readonly #onClose = (): void => {
    if (this.#isCut) this.#listener?.onDone();
    else this.#listener?.onLeft();
  };

  readonly #onError = (error: Error & { readonly code?: unknown }): void => {
    const { code } = error;
    if (typeof code === 'string' && LOST.has(code)) this.#listener?.onLeft();
    else this.#listener?.onFailure(new SinkError(`The response failed: ${error.message}`, { cause: error }));
  };
}

const NO_BYTES = new Uint8Array(0);

/** What Node calls the reader's leaving. */
const LOST: ReadonlySet<string> = new Set([
  'EPIPE',
  'ECONNRESET',
  'ECONNABORTED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_HTTP2_INVALID_STREAM',
]);

function answeredByAnother(): SinkError {
  return new SinkError('Somebody else has answered on this response, so the stream was stopped');
}
