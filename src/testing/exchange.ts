import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A request as it arrived, its body read to the end. @public */
export interface ReceivedRequest {
  readonly method: string;
  /** The path without its query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Names in lower case, as `node:http` gives them. */
  readonly headers: IncomingHttpHeaders;
  /** The body as text; empty where there was none. */
  readonly text: string;
  /** The body parsed, where it is JSON; else its text. `undefined` where there was none. */
  readonly body: unknown;
  /** When it had arrived, in epoch milliseconds. */
  readonly at: number;
}

/** How an answer starts. @public */
export interface ResponseHead {
  /** @defaultValue 200 */
  readonly status?: number | undefined;
  /** Exactly these, besides what HTTP framing needs. @defaultValue the content type of server-sent events */
  readonly headers?: OutgoingHttpHeaders | undefined;
  /**
   * How the body's end is told. `'chunked'`: by a last chunk. `'close'`: `Connection: close` and no length, so that the end
   * of the connection is the end of the body, cut or not. A `content-length` among the headers replaces either.
   * @defaultValue `'chunked'`
   */
  readonly framing?: 'chunked' | 'close' | undefined;
}

/**
 * How an answer was over: all of it was handed to the network, the client left before that, or the server cut it on purpose.
 * @public
 */
export type AnswerEnd = 'complete' | 'client' | 'server';

/** One request and the answer to it, driven step by step. @public */
export interface Exchange {
  readonly request: ReceivedRequest;
  /** Bytes of the body handed to the network so far; chunk sizes do not count. */
  readonly bytesSent: number;
  /** Aborted as soon as nothing more can reach the client: it left, or the answer is over. */
  readonly gone: AbortSignal;
  /** Resolves once, when the answer is over, with who ended it. A kept-alive connection may stay open after `complete`. */
  readonly ended: Promise<AnswerEnd>;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
  /** Status and headers are out. */
  readonly hasResponded: boolean;
  /** Sends status and headers at once. */
  respond(head?: ResponseHead): void;
  /**
   * Sends bytes as one chunk, after default headers where `respond` was not called.
   * @returns true when they were handed to the network, false when the connection was gone before
   */
  write(bytes: string | Uint8Array): Promise<boolean>;
  /** Sends bytes past HTTP: bad chunk sizes, odd status lines. After it, `end` closes the connection. */
  raw(bytes: string | Uint8Array): Promise<boolean>;
  /** Ends the answer properly; resolves when all of it was handed to the network. */
  end(bytes?: string | Uint8Array): Promise<boolean>;
  /**
   * Resets the connection (TCP RST). What is not flushed is lost, so await `write` before. A Node client that finds bytes
   * and reset together sees a plain end instead, as libuv reports it: where that matters, reset once it has the bytes.
   */
  reset(): void;
  /** Sends FIN after what was written, without the body's end; the client may still send. */
  halfClose(): void;
}

/** What is needed to make an {@link Exchange} of a request whose body has been read. */
export interface ExchangeParts {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: string;
  readonly at: number;
  readonly closed: Promise<void>;
}

const EVENT_STREAM_HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } as const;

/** Makes the step-driven view of one request; it leaves nothing on the socket once the answer is over. */
export function createExchange(parts: ExchangeParts): Exchange {
  return new HTTPExchange(parts);
}

class HTTPExchange implements Exchange {
  readonly request: ReceivedRequest;
  readonly ended: Promise<AnswerEnd>;
  readonly closed: Promise<void>;
  bytesSent = 0;
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  readonly #gone = new AbortController();
  #over: (end: AnswerEnd) => void = () => undefined;
  #isRaw = false;

  constructor({ message, response, body, at, closed }: ExchangeParts) {
    this.request = readRequest(message, body, at);
    this.closed = closed;
    this.#response = response;
    this.#socket = message.socket;
    const left = (): void => {
      this.#finish('client');
    };
    this.ended = new Promise((resolve) => {
      this.#over = (end) => {
        for (const event of ['end', 'error', 'close'] as const) this.#socket.off(event, left);
        resolve(end);
      };
    });
    // Half-open clients count as gone: node:http answers their FIN with its own.
    for (const event of ['end', 'error', 'close'] as const) this.#socket.once(event, left);
    if (this.#socket.destroyed) left();
  }

  get hasResponded(): boolean {
    return this.#response.headersSent;
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  respond({ status = 200, headers = EVENT_STREAM_HEADERS, framing = 'chunked' }: ResponseHead = {}): void {
    if (this.#gone.signal.aborted) return;
    if (framing === 'close') this.#response.useChunkedEncodingByDefault = false;
    this.#response.writeHead(status, headers);
    this.#response.flushHeaders();
  }

  write(bytes: string | Uint8Array): Promise<boolean> {
    if (!this.hasResponded) this.respond();
    return this.#send(bytes, (buffer, flushed) => this.#response.write(buffer, flushed));
  }

  raw(bytes: string | Uint8Array): Promise<boolean> {
    this.#isRaw = true;
    return this.#send(bytes, (buffer, flushed) => this.#socket.write(buffer, flushed));
  }

  async end(bytes?: string | Uint8Array): Promise<boolean> {
    if (bytes !== undefined) await (this.#isRaw ? this.raw(bytes) : this.write(bytes));
    if (this.#gone.signal.aborted) return false;
    if (!this.#isRaw && !this.hasResponded) this.respond();
    const finishing = this.#isRaw ? this.#socket : this.#response;
    const finished = once(finishing, 'finish', { signal: this.#gone.signal });
    finishing.end();
    try {
      await finished;
    } catch {
      return false; // The client left while the end was on its way; `ended` says so.
    }
    this.#finish('complete');
    return true;
  }

  reset(): void {
    this.#finish('server');
    this.#socket.resetAndDestroy();
  }

  halfClose(): void {
    this.#finish('server');
    this.#socket.end();
  }

  #send(
    bytes: string | Uint8Array,
    send: (buffer: Uint8Array, flushed: (error?: Error | null) => void) => void,
  ): Promise<boolean> {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    const { signal } = this.#gone;
    if (signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const abandon = (): void => {
        resolve(false);
      };
      signal.addEventListener('abort', abandon, { once: true });
      send(buffer, (error) => {
        signal.removeEventListener('abort', abandon);
        const arrived = error === undefined || error === null;
        if (arrived) this.bytesSent += buffer.length;
        resolve(arrived);
      });
    });
  }

  /** The first word counts: what happens to the socket afterwards is a consequence. */
  #finish(end: AnswerEnd): void {
    if (this.#gone.signal.aborted) return;
    this.#over(end);
    this.#gone.abort();
  }
}

function readRequest(message: IncomingMessage, text: string, at: number): ReceivedRequest {
  const [path = '/', ...query] = (message.url ?? '/').split('?');
  return {
    method: message.method ?? '',
    path,
    query: new URLSearchParams(query.join('?')),
    headers: message.headers,
    text,
    body: text === '' ? undefined : parseOr(text),
    at,
  };
}

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // Not JSON: the body is its text, as documented.
  }
}
