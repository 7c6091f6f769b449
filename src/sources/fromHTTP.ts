import { io } from '#io';
import { asyncScheduler, Observable, type SchedulerLike, type Subscriber, type Subscription } from 'rxjs';
import { AbortError, MillraceError, ProtocolError } from '../errors.js';
import { isAcceptable, mediaType } from '../internal/contentType.js';
import { decodeChunks } from '../internal/decodeChunks.js';
import { tellAttempt } from '../internal/diagnostics.js';
import { Flow, isApart, leaveAs, register } from '../internal/flow.js';
import { httpError, readRequestId } from '../internal/httpError.js';
import type { FetchLike, ResponseHead, Transport, TransportControl, TransportFailure } from '../internal/io.js';
import { warningOfPlainKey } from '../internal/keyedRequest.js';
import { onAbort } from '../internal/onAbort.js';
import { redactURL } from '../internal/redactURL.js';
import { readHeaders, readMethod, readURL } from '../internal/readRequest.js';
import { requireAtLeast, requireDelay, requireInteger, requireOneOf } from '../internal/require.js';
import { refusal } from '../internal/running.js';
import { rememberSecrets, SentSecrets } from '../internal/sentSecrets.js';
import { transportError } from '../internal/transportError.js';
import type { StoppedBy } from '../types.js';

/** What `fromHTTP` sends and how long it waits. @public */
export interface FromHTTPOptions {
  /** @defaultValue `'GET'` */
  readonly method?: string | undefined;
  /**
   * Sent as they are; they never follow a redirect to another origin. A line end in one is a TypeError. One that looks like a key
   * (`authorization`, `x-api-key`, a cookie) and goes over plain http to another machine is a warning, once for each origin.
   */
  readonly headers?: Readonly<Record<string, string>> | Headers | undefined;
  /** Sent once. JSON is sent as text: `JSON.stringify(value)` and a `content-type` header. */
  readonly body?: string | Uint8Array | undefined;
  /**
   * Media types to ask for. The answer may have any type but a page's, and `application/json` only when named here.
   * @defaultValue `['text/event-stream', 'application/x-ndjson']`
   */
  readonly accept?: readonly string[] | undefined;
  /** Stops the request: the result errors with an AbortError. Unsubscribing stops it without a word. */
  readonly signal?: AbortSignal | undefined;
  /** Node: an undici Dispatcher (agent, proxy, mock). @defaultValue one agent of the library's own, which obeys `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` */
  readonly dispatcher?: object | undefined;
  /** Used instead of the platform's transport. Redirects are then its own affair, as in a browser. */
  readonly fetch?: FetchLike | undefined;
  /**
   * `'follow'`: by the rules of {@link https://www.rfc-editor.org/rfc/rfc9110#name-redirection-3xx | RFC 9110, 15.4}, but no
   * header of the caller's goes to another origin, no body either, and a POST never becomes a GET but by 303.
   * @defaultValue `'follow'`; where redirects cannot be seen (browsers, `fetch`): `'error'` with a body or a header of the caller's
   */
  readonly redirect?: 'follow' | 'error' | undefined;
  /** Redirects that are followed; one more is a LimitError. @defaultValue 5 (chosen; browsers follow 20) */
  readonly maxRedirects?: number | undefined;
  /** Limit for the connection to be made. Node only, and only with the library's own dispatcher. @defaultValue 10,000 (undici's) */
  readonly connectTimeoutMs?: number | undefined;
  /** Limit from the request to the answer's headers; 0 for none. Node only. @defaultValue 300,000 (undici's) */
  readonly headersTimeoutMs?: number | undefined;
  /** Limit of silence inside the body; 0 for none. Slow local models may need more. Node only. @defaultValue 300,000 (undici's) */
  readonly bodyTimeoutMs?: number | undefined;
  /** Bytes of an error's body that are read; what is over is left out, and the connection closed. @defaultValue 65,536 (chosen) */
  readonly maxErrorBodyBytes?: number | undefined;
  /**
   * Bytes of an answer's headers; more are a LimitError. At least 1. Node only, and only with the library's own dispatcher: a
   * caller's has `maxHeaderSize`.
   * @defaultValue Node's: 16,384, or what `--max-http-header-size` says
   */
  readonly maxHeaderBytes?: number | undefined;
  /**
   * How many bytes one received byte of a compressed body may become, on average; looked at beyond the first 4 MiB of decoded
   * bytes. More is a LimitError. At least 1; `Infinity` for no limit. Node only: elsewhere the platform decodes.
   * @defaultValue 500: streams that are flushed event by event reach 20, and large snapshots that repeat each other 450; zeros
   * in gzip reach 1,030 (measured)
   */
  readonly maxDecompressionRatio?: number | undefined;
  /** Observes the answer's head, once, before the first chunk. */
  readonly onResponse?: ((response: HTTPResponse) => void) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** The head of a successful answer. @public */
export interface HTTPResponse {
  readonly status: number;
  /** In lower case; several of one name are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** Where the answer came from, after redirects. */
  readonly url: string;
}

/** After a proven end the body is read on for this long or this much, so that the connection can be used again. */
const DRAIN_MS = 100;
const DRAIN_BYTES = 65_536;
/** A server that sends an error's status and then no body gets this long. */
const ERROR_BODY_MS = 5_000;
/** Characters of a refused answer that the error shows. */
const SHOWN_CHARS = 200;

/**
 * Makes one HTTP request and emits the body's bytes as they arrive, decoded from gzip, deflate and br.
 *
 * ```text
 * subscribe   ^ request
 * network     ----h--b--b-b---|
 * result      -------b--b-b---|      h = headers, b = Uint8Array
 * ```
 * Emits each chunk as the network delivered it. Completes when the body ends; whether an answer was whole is `decode`'s to
 * say. Errors with HTTPError (any status but 2xx), ProtocolError (wrong content type, broken HTTP, broken or unknown coding),
 * LimitError (too many redirects, too large headers, a body that swells beyond measure when it is decoded), InterruptedError (no connection, or cut; also inside the coding), StreamTimeoutError, AbortError.
 * Unsubscribing destroys the socket in the same turn, and sends nothing if there was none yet. Holds nothing: a slow sink
 * pauses the socket.
 *
 * @example
 * ```ts
 * fromHTTP(url, { method: 'POST', headers, body }).pipe(parseSSE()).subscribe(log);
 * ```
 * @param url - http or https, in a page also relative to it; credentials belong in a header
 * @param options - see {@link FromHTTPOptions}
 * @returns a cold observable: each subscription is one request, never sent twice
 * @throws TypeError for a URL, header or option that cannot be used; RangeError for a limit below its range
 * @public
 */
export function fromHTTP(url: string | URL, options: FromHTTPOptions = {}): Observable<Uint8Array> {
  const request = prepare(url, options);
  return new Observable<Uint8Array>((subscriber) => {
    new Exchange(request, subscriber).start();
  });
}

interface PreparedRequest {
  readonly url: URL;
  readonly method: string;
  /** The caller's own. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the answer may be. */
  readonly accept: readonly string[];
  /** What is asked for where the caller's headers name nothing, or do not go along. */
  readonly acceptSent: string;
  readonly body: string | Uint8Array | undefined;
  readonly transport: Transport;
  readonly acceptEncoding: string | undefined;
  readonly redirect: 'follow' | 'error';
  readonly maxRedirects: number;
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly maxErrorBodyBytes: number;
  readonly maxHeaderBytes: number | undefined;
  readonly maxDecompressionRatio: number;
  readonly dispatcher: object | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onResponse: ((response: HTTPResponse) => void) | undefined;
  readonly scheduler: SchedulerLike;
}

function prepare(url: string | URL, options: FromHTTPOptions): PreparedRequest {
  const { method = 'GET', body, maxRedirects = 5, scheduler = asyncScheduler } = options;
  const { connectTimeoutMs = 10_000, headersTimeoutMs = 300_000, bodyTimeoutMs = 300_000 } = options;
  const { maxErrorBodyBytes = 65_536, maxHeaderBytes, maxDecompressionRatio = 500 } = options;
  requireAtLeast(0, { maxRedirects, maxErrorBodyBytes });
  requireDelay(0, { headersTimeoutMs, bodyTimeoutMs });
  requireDelay(1, { connectTimeoutMs });
  requireAtLeast(1, { maxDecompressionRatio });
  if (maxHeaderBytes !== undefined) requireInteger(1, { maxHeaderBytes });
  requireDispatcher(options);
  if (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array)) {
    throw new TypeError('body must be a string or a Uint8Array; send JSON as JSON.stringify(value)');
  }
  const headers = readHeaders(options.headers);
  const asked = options.accept ?? ['text/event-stream', 'application/x-ndjson'];
  const accept = options.accept ?? headers['accept']?.split(',') ?? asked;
  const seesRedirects = options.fetch === undefined && io.seesRedirects;
  const mayLeak = body !== undefined || Object.keys(headers).length > 0;
  const { redirect = seesRedirects || !mayLeak ? 'follow' : 'error' } = options;
  requireOneOf('redirect', redirect, ['follow', 'error']);
  return {
    url: readURL(url),
    method: readMethod(method),
    headers,
    accept,
    acceptSent: asked.map((type) => type.trim()).join(', '),
    body,
    transport: options.fetch === undefined ? io.transport : io.transportOn(options.fetch),
    acceptEncoding: options.fetch === undefined ? io.acceptEncoding : undefined,
    redirect,
    maxRedirects,
    connectTimeoutMs,
    headersTimeoutMs,
    bodyTimeoutMs,
    maxErrorBodyBytes,
    maxHeaderBytes,
    maxDecompressionRatio,
    dispatcher: options.dispatcher,
    signal: options.signal,
    onResponse: options.onResponse,
    scheduler,
  };
}

function requireDispatcher({ dispatcher, fetch }: FromHTTPOptions): void {
  if (dispatcher === undefined) return;
  if (fetch !== undefined) throw new TypeError('Give either dispatcher or fetch: a dispatcher is for undici alone');
  if (typeof (dispatcher as { dispatch?: unknown }).dispatch !== 'function') {
    throw new TypeError('dispatcher must be an undici Dispatcher, such as new Agent()');
  }
}

/** One subscription: a request, its redirects, its answer. */
class Exchange {
  readonly #request: PreparedRequest;
  readonly #subscriber: Subscriber<Uint8Array>;
  readonly #flow = new Flow();
  /** What a server may quote and an error must not show. */
  readonly #secrets: SentSecrets;
  #control: TransportControl | undefined;
  #phase: 'asking' | 'reading error' | 'streaming' | 'draining' | 'over' = 'asking';
  #followed = 0;
  #timer: Subscription | undefined;
  #drained = 0;

  constructor(request: PreparedRequest, subscriber: Subscriber<Uint8Array>) {
    this.#request = request;
    this.#subscriber = subscriber;
    this.#secrets = new SentSecrets(request.headers, request.url, request.body);
    rememberSecrets(this.#flow, this.#secrets);
  }

  start(): void {
    if (this.#subscriber.closed) return;
    const { signal, url, method, body, headers } = this.#request;
    const flow = this.#flow;
    if (flow.isLate) {
      this.#fail(refusal());
      return;
    }
    flow.onPressure = (paused): void => {
      if (this.#phase === 'draining') return;
      if (paused) this.#control?.pause();
      else this.#control?.resume();
    };
    const stop = (by: StoppedBy, error: AbortError): void => {
      leaveAs('stop', by, () => flow.leave());
      this.#fail(error);
    };
    const abort = (): void => {
      stop('signal', new AbortError('The request was stopped by its signal', { cause: signal?.reason }));
    };
    flow.onStop = (error): void => {
      stop('shutdown', error);
    };
    // Before anything starts: it may be over before `start` returns.
    this.#subscriber.add(() => {
      this.#leave();
    });
    register(flow);
    // A retry beneath may have refused it.
    if (this.#subscriber.closed) return;
    const isPartOfAnswer = [...flow.scopes].some(({ owner }) => owner !== undefined);
    if (!isPartOfAnswer && !isApart()) tellAttempt(flow, { attempt: 1, url: redactURL(url) });
    if (signal?.aborted === true) {
      abort();
      return;
    }
    if (signal !== undefined) this.#subscriber.add(onAbort(signal, abort));
    this.#send(url, method, body, headers);
  }

  #send(
    url: URL,
    method: string,
    body: string | Uint8Array | undefined,
    headers: Readonly<Record<string, string>>,
  ): void {
    const request = this.#request;
    const sent: Record<string, string> = { accept: request.acceptSent, ...headers };
    if (request.acceptEncoding !== undefined) sent['accept-encoding'] ??= request.acceptEncoding;
    const warning = warningOfPlainKey(url, headers);
    if (warning !== undefined) io.warn(warning);
    let isCurrent = true;
    const control = request.transport(
      {
        url,
        method,
        headers: sent,
        body,
        connectTimeoutMs: request.connectTimeoutMs,
        headersTimeoutMs: request.headersTimeoutMs,
        bodyTimeoutMs: request.bodyTimeoutMs,
        maxHeaderBytes: request.maxHeaderBytes,
        maxDecompressionRatio: request.maxDecompressionRatio,
        dispatcher: request.dispatcher,
        redirect: request.redirect,
      },
      {
        onSent: () => {
          this.#flow.sent = true;
        },
        onHead: (head) => {
          if (!isCurrent) return;
          const next = io.redirected?.(head, { ...request, url, method, body, headers, followed: this.#followed });
          if (next === undefined) {
            this.#onHead(head);
            return;
          }
          isCurrent = false;
          this.#control?.abort();
          if (next instanceof Error) {
            this.#fail(next);
            return;
          }
          this.#followed += 1;
          this.#send(next.url, next.method, next.body, next.headers);
        },
        onData: (chunk) => {
          if (isCurrent) this.#onData(chunk);
        },
        onEnd: (intact) => {
          if (isCurrent) this.#onEnd(intact);
        },
        onFailure: (kind, cause) => {
          if (isCurrent) this.#onFailure(kind, cause, url);
        },
      },
    );
    // A redirect, an error or an unsubscribe may have come before the transport returned.
    if (!isCurrent || this.#phase === 'over') {
      control.abort();
      return;
    }
    this.#control = control;
    if (this.#flow.paused) control.pause();
  }

  #onHead(head: ResponseHead): void {
    const { accept, onResponse, maxErrorBodyBytes, scheduler } = this.#request;
    const requestId = readRequestId(head.headers);
    this.#flow.onHeaders(requestId === undefined ? undefined : this.#secrets.withoutKeys(requestId), head.headers);
    if (head.status < 200 || head.status > 299) {
      this.#collect(maxErrorBodyBytes, (text) => httpError(head, text, this.#secrets, scheduler.now()));
      return;
    }
    const type = mediaType(head.headers['content-type']);
    // An answer without content has no type to speak of, whatever its headers say.
    if (head.status !== 204 && !isAcceptable(type, accept)) {
      const where = redactURL(head.url);
      this.#collect(SHOWN_CHARS * 4, (text) => {
        const start = this.#secrets.withoutKeys(text).slice(0, SHOWN_CHARS).trim();
        return new ProtocolError(
          `${where} answered ${type} where a stream was asked for (name the type in \`accept\` if it is wanted); it begins: ${start}`,
          { context: { url: where, contentType: type } },
        );
      });
      return;
    }
    this.#phase = 'streaming';
    try {
      onResponse?.({ status: head.status, headers: head.headers, url: head.url });
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Reads the start of a body that is not the stream, then fails with what it says. */
  #collect(maxBytes: number, toError: (text: string) => MillraceError): void {
    this.#phase = 'reading error';
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const finish = (): void => {
      this.#fail(toError(decodeChunks(chunks)));
    };
    this.#collecting = {
      add: (chunk) => {
        chunks.push(chunk.subarray(0, maxBytes - bytes));
        bytes += chunk.length;
        if (bytes >= maxBytes) finish();
      },
      finish,
    };
    this.#timer = this.#request.scheduler.schedule(finish, ERROR_BODY_MS);
  }
  #collecting: { readonly add: (chunk: Uint8Array) => void; readonly finish: () => void } | undefined;

  #onData(chunk: Uint8Array): void {
    if (this.#phase === 'streaming') {
      const previous = this.#flow.beginChunk(chunk.length);
      try {
        this.#subscriber.next(chunk);
      } finally {
        this.#flow.endChunk(previous);
      }
    } else if (this.#phase === 'reading error') {
      this.#collecting?.add(chunk);
    } else if (this.#phase === 'draining') {
      this.#drained += chunk.length;
      if (this.#drained > DRAIN_BYTES) this.#close();
    }
  }

  #onEnd(intact: boolean): void {
    if (this.#phase === 'reading error') {
      this.#collecting?.finish();
      return;
    }
    const wasStreaming = this.#phase === 'streaming';
    this.#close();
    if (!wasStreaming) return;
    // Without a decoder the framing is all the proof there can be.
    this.#flow.proven = intact;
    this.#flow.end('complete');
    this.#flow.deliver(() => {
      this.#subscriber.complete();
    });
  }

  #onFailure(kind: TransportFailure, cause: unknown, url: URL): void {
    if (this.#phase === 'reading error') {
      this.#collecting?.finish();
      return;
    }
    if (this.#phase === 'draining') {
      this.#close();
      return;
    }
    this.#fail(transportError(kind, cause, { ...this.#request, url, beforeHeaders: this.#phase === 'asking' }));
  }

  #fail(error: unknown): void {
    this.#close();
    const isOurs = error instanceof MillraceError && !(error instanceof AbortError);
    const clean = isOurs ? this.#secrets.cleanError(error) : error;
    this.#flow.end('error', clean);
    this.#flow.deliver(() => {
      this.#subscriber.error(clean);
    });
  }

  /** The subscriber is gone, by itself or because it was told the end. */
  #leave(): void {
    if (this.#phase === 'over') return;
    const { verb } = this.#flow.leave();
    if (verb !== 'drain' || this.#phase !== 'streaming') {
      this.#close();
      return;
    }
    this.#phase = 'draining';
    this.#timer = this.#request.scheduler.schedule(() => {
      this.#close();
    }, DRAIN_MS);
    this.#control?.resume();
  }

  #close(): void {
    this.#phase = 'over';
    this.#timer?.unsubscribe();
    this.#control?.abort();
  }
}
