import { io } from '#io';
import {
  asyncScheduler,
  from,
  Observable,
  type ObservableInput,
  type SchedulerLike,
  type Subscriber,
  Subscription,
  tap,
} from 'rxjs';
import { AbortError, HTTPError, isRetryable, ProtocolError, StreamTimeoutError } from '../errors.js';
import { backoffMs, retryAfterOf } from '../internal/backoff.js';
import { connectParser } from '../internal/connectParser.js';
import { mediaType } from '../internal/contentType.js';
import { type Flow, isPart, isRefused, leaveAs, runApart, Scope } from '../internal/flow.js';
import { hasCode } from '../internal/hasCode.js';
import { encodeLastEventId } from '../internal/lastEventId.js';
import { onAbort } from '../internal/onAbort.js';
import { draw, link } from '../internal/operate.js';
import { readHeaders, readMethod, readURL } from '../internal/readRequest.js';
import { redactURL } from '../internal/redactURL.js';
import { requireAtLeast, requireDelay, requireOneOf } from '../internal/require.js';
import { enterStream, leaveStream, refusal } from '../internal/running.js';
import type { ParseSSEOptions } from '../operators/parseSSE.js';
import { createSSEParser, type SSEParser } from '../protocol/sseParser.js';
import type { ServerSentEvent, StoppedBy } from '../types.js';
import { fromHTTP, type FromHTTPOptions, type HTTPResponse } from './fromHTTP.js';

/** A connection that is about to be made in place of one that is over. @public */
export interface SSEReconnect {
  /** Reconnects in a row without an event between them, this one included. */
  readonly attempt: number;
  /** How long it is waited for. */
  readonly delayMs: number;
  /** Why the connection was lost; `undefined` where the server ended it in good order. */
  readonly error: unknown;
  /** The id after which the server is asked to go on; `''` where there is none. */
  readonly lastEventId: string;
}

/** What `fromSSE` sends, and when it connects again. @public */
export interface FromSSEOptions
  extends
    ParseSSEOptions,
    Pick<
      FromHTTPOptions,
      | 'method'
      | 'body'
      | 'dispatcher'
      | 'fetch'
      | 'connectTimeoutMs'
      | 'headersTimeoutMs'
      | 'maxErrorBodyBytes'
      | 'maxHeaderBytes'
      | 'maxDecompressionRatio'
    > {
  /**
   * Sent with every connection, but never to another origin. `accept` and `cache-control` replace the stream's own
   * (`text/event-stream`, and `no-cache` as browsers send it); `last-event-id` counts as the option `lastEventId`.
   */
  readonly headers?: FromHTTPOptions['headers'];
  /** Stops the stream, in a wait too: the result errors with an AbortError. Unsubscribing stops it without a word. */
  readonly signal?: AbortSignal | undefined;
  /**
   * As `fromHTTP` follows redirects. Each connection begins at the URL that was given: a redirect is remembered for none.
   * @defaultValue `'follow'`; where redirects cannot be seen (browsers, `fetch`): `'error'` with a body, a header of the
   *   caller's or an event id, none of which may go to another origin
   */
  readonly redirect?: FromHTTPOptions['redirect'];
  /** Redirects that are followed for each connection; one more is a LimitError, which ends the stream. @defaultValue 5 */
  readonly maxRedirects?: number | undefined;
  /**
   * The transport's own limit for silence; `readTimeoutMs` is the same on every platform and heeds `scheduler`.
   * @defaultValue 0, none: as in browsers, since a stream of events may be silent for hours
   */
  readonly bodyTimeoutMs?: number | undefined;
  /**
   * An id to begin after, as if an event had brought it. One that a header cannot hold is a TypeError.
   * @defaultValue `''`, none
   */
  readonly lastEventId?: string | undefined;
  /**
   * How long to wait before a reconnect, until the server says otherwise by `retry:`. At most `maxRetryMs` is waited.
   * @defaultValue 3,000: what Chromium and WebKit wait (Firefox: 5,000)
   */
  readonly initialRetryMs?: number | undefined;
  /** The longest wait, whatever backoff, `retry:` and `Retry-After` come to. @defaultValue 60,000 (chosen, as for `retryOnDisconnect`) */
  readonly maxRetryMs?: number | undefined;
  /**
   * Reconnects in a row without an event between them; then the last connection's end is the stream's: its error passes, or
   * it completes. 0 for none. @defaultValue `Infinity`, as the standard has it
   */
  readonly maxRetries?: number | undefined;
  /**
   * A connection on which no byte comes for so long, headers included, is dropped and made again. The clock stands still
   * while a slow reader holds the stream back. 0 for none. @defaultValue 0
   */
  readonly readTimeoutMs?: number | undefined;
  /**
   * Whether a request that may have done something is sent again: one with any other method than GET, HEAD, OPTIONS, TRACE,
   * PROPFIND, QUERY, REPORT and SEARCH, which are safe. `'with-id'`: when there is an event id to go on after. Where it is not,
   * the end of its connection is the stream's.
   * @defaultValue `'with-id'`
   */
  readonly resend?: 'with-id' | 'always' | 'never' | undefined;
  /**
   * Decides whether a connection that failed is made again; not asked after a clean end, which always is, nor to go beyond
   * `maxRetries` and `resend`.
   * @defaultValue yes for a lost connection (but not for a certificate that is refused), a timeout, and HTTP 500 502 503 504
   *   529; no for any other status, a wrong content type and broken HTTP
   */
  readonly shouldReconnect?: ((error: unknown) => boolean) | undefined;
  /** Each emission drops the connection, or cuts a wait short, and connects at once, whatever `resend` says. */
  readonly reconnectOn?: ObservableInput<unknown> | undefined;
  /** Observes each connection that is accepted, before its first event. */
  readonly onOpen?: ((response: HTTPResponse) => void) | undefined;
  /** Observes each reconnect before its wait; those that `reconnectOn` asks for not. */
  readonly onReconnect?: ((reconnect: SSEReconnect) => void) | undefined;
  /** Chance, from 0 to below 1. @defaultValue `Math.random` */
  readonly random?: (() => number) | undefined;
  /** The clock of waits and of `readTimeoutMs`. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** What the backoff doubles at least: a server's `retry: 0` must not become a storm. */
const MIN_BACKOFF_MS = 1_000;

/** Safe by {@link https://www.iana.org/assignments/http-methods/http-methods.xhtml | IANA's registry}. */
const SAFE_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'QUERY',
  'REPORT',
  'SEARCH',
]);

/**
 * Reads a stream of server-sent events that outlives its connections: what `EventSource` is in a browser, with any method,
 * header and body.
 *
 * ```text
 * connection 1  --a--b-#             a, b = events; the connection is lost
 * wait                 ----          retry:, or initialRetryMs
 * connection 2             --c--d--  Last-Event-ID: b
 * result        --a--b-------c--d--
 * ```
 * A lost connection is made again, and so is one that the server ends, with the last event id in `Last-Event-ID`. The id is
 * the one in force at the last blank line: also one that came without data, and never one of an event that was cut. It
 * goes as its UTF-8 bytes; one that no header can hold ends the stream with an error when it would have to be sent.
 * The wait is what the standard says: the reconnection time. When a reconnect brought no event either, the next one waits
 * at least as long, and by chance up to a bound that doubles each time (from a second, or the reconnection time where that
 * is longer); an event sets it back. A `Retry-After` is waited for too, and `maxRetryMs` caps all of it.
 *
 * Emits what `parseSSE` does; events carry the last id across connections. An unfinished event is dropped with its connection.
 * Completes on 204, and on a clean end after which no reconnect is allowed (`resend`, `maxRetries`). Errors with
 * what `fromHTTP` errors with, where it is not retried: HTTPError for every status but 200 and 204, ProtocolError for any
 * content type but `text/event-stream`; with LimitError, AbortError.
 * Unsubscribing closes the connection or cancels the wait, and nothing is connected after. Holds what `parseSSE` holds; a slow
 * sink pauses the socket.
 *
 * @example
 * ```ts
 * fromSSE(url, { headers, readTimeoutMs: 60_000, onReconnect: ({ error, delayMs }) => log(error, delayMs) }).subscribe(
 *   (event) => {
 *     if (event.type === 'event') log(event.id, event.data);
 *   },
 * );
 * ```
 * @param url - http or https, in a page also relative to it; credentials belong in a header
 * @param options - see {@link FromSSEOptions}
 * @returns a cold observable: each subscription is a stream with its own connections, one at a time
 * @throws TypeError for a URL, header, id or option that cannot be used; RangeError for a limit out of its range
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model | HTML, 9.2.3}
 * @public
 */
export function fromSSE(url: string | URL, options: FromSSEOptions = {}): Observable<ServerSentEvent> {
  const request = prepare(url, options);
  return new Observable<ServerSentEvent>((subscriber) => {
    new EventStream(request, subscriber).start();
  });
}

interface PreparedStream {
  /** One connection that goes on after an id, given as a header holds it. */
  readonly connect: (id: string, onResponse: (response: HTTPResponse) => void) => Observable<Uint8Array>;
  readonly createParser: (lastEventId: string) => SSEParser;
  /** For errors. */
  readonly where: string;
  readonly isSafe: boolean;
  readonly lastEventId: string;
  readonly initialRetryMs: number;
  readonly maxRetryMs: number;
  readonly maxRetries: number;
  readonly readTimeoutMs: number;
  readonly resend: 'with-id' | 'always' | 'never';
  readonly shouldReconnect: (error: unknown) => boolean;
  readonly reconnectOn: Observable<unknown> | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onOpen: ((response: HTTPResponse) => void) | undefined;
  readonly onReconnect: ((reconnect: SSEReconnect) => void) | undefined;
  readonly random: () => number;
  readonly scheduler: SchedulerLike;
}

function prepare(url: string | URL, options: FromSSEOptions): PreparedStream {
  const { initialRetryMs = 3_000, maxRetryMs = 60_000, maxRetries = Infinity, readTimeoutMs = 0 } = options;
  const { resend = 'with-id', shouldReconnect = isWorthAnother, random = Math.random } = options;
  const { method = 'GET', bodyTimeoutMs = 0, scheduler = asyncScheduler } = options;
  requireDelay(0, { initialRetryMs, maxRetryMs, readTimeoutMs });
  requireAtLeast(0, { maxRetries });
  requireOneOf('resend', resend, ['with-id', 'always', 'never']);

  // Read once: what the caller does to them later changes no reconnect.
  const target = readURL(url);
  const { 'last-event-id': idHeader, ...own } = readHeaders(options.headers);
  const lastEventId = options.lastEventId ?? idHeader ?? '';
  if (typeof lastEventId !== 'string' || encodeLastEventId(lastEventId) === undefined) {
    throw new TypeError('lastEventId must be text without control characters, and without spaces around it');
  }

  const seesRedirects = options.fetch === undefined && io.seesRedirects;
  const hasOwn = options.body !== undefined || Object.keys(own).length > 0;
  // `fetch` asks caches to stay out of it by itself; as a header it would cost a browser a preflight.
  const headers = seesRedirects ? { 'cache-control': 'no-cache', ...own } : own;
  const http: FromHTTPOptions = { ...options, accept: ['text/event-stream'], bodyTimeoutMs, signal: undefined };
  const connect: PreparedStream['connect'] = (id, onResponse) =>
    fromHTTP(target, {
      ...http,
      headers: id === '' ? headers : { ...headers, 'last-event-id': id },
      redirect: http.redirect ?? (seesRedirects || (!hasOwn && id === '') ? 'follow' : 'error'),
      onResponse,
    });
  const { maxLineBytes, maxEventBytes } = options;
  const createParser = (id: string): SSEParser => createSSEParser({ maxLineBytes, maxEventBytes, lastEventId: id });
  // Neither does anything yet: they check what is theirs.
  void connect('', () => undefined);
  createParser('');

  return {
    connect,
    createParser,
    where: redactURL(target),
    isSafe: SAFE_METHODS.has(readMethod(method)),
    lastEventId,
    initialRetryMs,
    maxRetryMs,
    maxRetries,
    readTimeoutMs,
    resend,
    shouldReconnect,
    reconnectOn: options.reconnectOn === undefined ? undefined : from(options.reconnectOn),
    signal: options.signal,
    onOpen: options.onOpen,
    onReconnect: options.onReconnect,
    random,
    scheduler,
  };
}

/** The standard gives up on every status but 200; of those that `isRetryable` knows, the server's own failures pass. */
function isWorthAnother(error: unknown): boolean {
  return isRetryable(error) && !(hasCode(error, 'ERR_HTTP') && (error as HTTPError).status < 500);
}

/** One subscription: connections, one after another, and the waits between them. */
class EventStream {
  readonly #request: PreparedStream;
  readonly #subscriber: Subscriber<ServerSentEvent>;
  readonly #scope: Scope = new Scope(false);
  /** The connection, while there is one. */
  #connection: Subscription | undefined;
  #parser: SSEParser | undefined;
  /** The flow of the connection that is there, or was last. */
  #flow: Flow | undefined;
  /** The wait for the next one, or the one that was last. */
  #wait: Subscription | undefined;
  /** The clock of `readTimeoutMs`, and when a byte came last. */
  #silence: Subscription | undefined;
  #heardAt = 0;
  /** The server said that there is nothing more. */
  #isOver = false;
  /** The id in force when the last connection was over. */
  #id: string;
  /** The standard's reconnection time. */
  #retryMs: number;
  /** In a row, without an event between them. */
  #reconnects = 0;

  constructor(request: PreparedStream, subscriber: Subscriber<ServerSentEvent>) {
    this.#request = request;
    this.#subscriber = subscriber;
    this.#id = request.lastEventId;
    this.#retryMs = request.initialRetryMs;
  }

  start(): void {
    const { signal, reconnectOn } = this.#request;
    const subscriber = this.#subscriber;
    const stop = (by: StoppedBy, error: AbortError): void => {
      leaveAs('stop', by, () => this.#connection?.unsubscribe());
      subscriber.error(error);
    };
    const abort = (): void => {
      stop('signal', new AbortError('The stream was stopped by its signal', { cause: signal?.reason }));
    };
    if (isRefused()) {
      subscriber.error(refusal());
      return;
    }
    if (signal?.aborted === true) {
      abort();
      return;
    }
    subscriber.add(() => {
      this.#wait?.unsubscribe();
      this.#silence?.unsubscribe();
      leaveStream(this.#scope);
    });
    this.#scope.isStream = true;
    enterStream(this.#scope, {
      stop: (error) => {
        stop('shutdown', error);
      },
      isCounted: () => !isPart(this.#scope.reach.filter((scope) => scope !== this.#scope)),
    });
    if (signal !== undefined) subscriber.add(onAbort(signal, abort));
    this.#scope.onFlow = (flow): void => {
      this.#flow = flow;
    };
    this.#scope.onPressure = (_flow, isPaused): void => {
      if (isPaused) this.#silence?.unsubscribe();
      else this.#awaitBytes();
    };
    if (reconnectOn !== undefined) {
      const next = (): void => {
        this.#restart();
      };
      const listening = link<unknown>(subscriber, { next, complete: () => undefined });
      // It may be a request itself: nothing that the sinks below draw from.
      runApart(() => reconnectOn.subscribe(listening));
      if (subscriber.closed) return;
    }
    this.#connect();
  }

  #connect(): void {
    const { connect, createParser, readTimeoutMs } = this.#request;
    const id = this.#idToSend(undefined);
    if (id === undefined) return;
    // Somebody goes on with what the connection before had to bring: sinks do not ask it whether it was whole.
    this.#excuse();
    const parser = createParser(this.#id);
    this.#parser = parser;
    const bytes = connect(id, (response) => {
      this.#onResponse(response);
    });
    const heard = readTimeoutMs === 0 ? bytes : bytes.pipe(tap(() => (this.#heardAt = this.#request.scheduler.now())));
    draw<ServerSentEvent>(heard.pipe(connectParser(() => parser)), this.#subscriber, this.#scope, (connection) => {
      this.#connection = connection;
      this.#awaitBytes();
      return {
        next: (event) => {
          if (event.type === 'event') this.#reconnects = 0;
          else if (event.type === 'retry') this.#retryMs = event.retryMs;
          this.#subscriber.next(event);
        },
        error: (error) => {
          this.#onLost(error);
        },
        complete: () => {
          this.#onEnd();
        },
      };
    });
  }

  #onResponse(response: HTTPResponse): void {
    const { onOpen, scheduler } = this.#request;
    const { status } = response;
    this.#heardAt = scheduler.now();
    this.#isOver = status === 204;
    if (this.#isOver) return;
    const where = redactURL(response.url);
    if (status !== 200) {
      const context = { url: where, status };
      throw new HTTPError(`HTTP ${String(status)} from ${where}: a stream of events has status 200`, {
        status,
        context,
      });
    }
    const type = mediaType(response.headers['content-type']);
    if (type !== 'text/event-stream') {
      const what = type === '' ? 'without a content type' : type;
      const context = { url: where, contentType: type };
      throw new ProtocolError(`${where} answered ${what} where text/event-stream was asked for`, { context });
    }
    // Not by a throw, which would pass for the connection's failure.
    this.#guard(() => onOpen?.(response));
  }

  #onEnd(): void {
    this.#leave();
    if (this.#isOver) {
      this.#excuse(); // a 204 is whole by itself, whatever its framing
      this.#subscriber.complete();
    } else if (this.#mayReconnect) this.#reconnect(undefined, this.#beginWait());
    else this.#subscriber.complete();
  }

  #onLost(error: unknown): void {
    this.#leave();
    const wait = this.#beginWait();
    if (this.#mayReconnect && this.#request.shouldReconnect(error)) this.#reconnect(error, wait);
    else if (!wait.closed) this.#subscriber.error(error);
  }

  /** Closed when the caller leaves, or asks for a connection at once, be it from inside one of its callbacks. */
  #beginWait(): Subscription {
    const wait = new Subscription();
    this.#wait = wait;
    return wait;
  }

  get #mayReconnect(): boolean {
    const { isSafe, resend, maxRetries } = this.#request;
    if (this.#reconnects >= maxRetries) return false;
    return isSafe || resend === 'always' || (resend === 'with-id' && this.#id !== '');
  }

  #reconnect(error: unknown, wait: Subscription): void {
    const { onReconnect, scheduler } = this.#request;
    if (wait.closed || this.#idToSend(error) === undefined) return;
    const delayMs = this.#delayMs(error);
    this.#reconnects += 1;
    onReconnect?.({ attempt: this.#reconnects, delayMs, error, lastEventId: this.#id });
    if (wait.closed) return;
    const end = (): void => {
      this.#connect();
    };
    wait.add(scheduler.schedule(end, delayMs));
  }

  /** The id as a header holds it. One that none can hold is an error: without it the server would begin somewhere else. */
  #idToSend(cause: unknown): string | undefined {
    const { where: url } = this.#request;
    const id = encodeLastEventId(this.#id);
    if (id !== undefined) return id;
    const message = `${url} gave an event an id that no header can hold (a control character, or a space at an end), so that it cannot be asked to go on from there`;
    this.#subscriber.error(new ProtocolError(message, { context: { url }, cause }));
    return undefined;
  }

  #delayMs(error: unknown): number {
    const { maxRetryMs: maxMs, random } = this.#request;
    const askedMs = Math.max(this.#retryMs, retryAfterOf(error) ?? 0);
    if (this.#reconnects === 0) return Math.min(askedMs, maxMs);
    return backoffMs(this.#reconnects, { initialMs: Math.max(this.#retryMs, MIN_BACKOFF_MS), maxMs, random }, askedMs);
  }

  #restart(): void {
    // Before the first connection there is nothing to drop.
    if (this.#connection === undefined && this.#wait === undefined) return;
    this.#wait?.unsubscribe();
    this.#leave();
    this.#connect();
  }

  /** The connection is over, or is dropped. */
  #leave(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#silence?.unsubscribe();
    this.#id = this.#parser?.lastEventId ?? this.#id;
    leaveAs('disconnect', 'unsubscribe', () => connection?.unsubscribe(), this.#scope);
  }

  #excuse(): void {
    if (this.#flow !== undefined) this.#flow.excused = !this.#flow.proven;
  }

  #awaitBytes(): void {
    const { readTimeoutMs, scheduler } = this.#request;
    if (readTimeoutMs === 0 || this.#connection === undefined) return;
    this.#heardAt = scheduler.now();
    this.#listen(readTimeoutMs);
  }

  #listen(ms: number): void {
    const { readTimeoutMs, scheduler, where } = this.#request;
    const silence = new Subscription();
    this.#silence = silence;
    const look = (): void => {
      // Never longer than the limit: the system's time may have been moved.
      const leftMs = Math.min(this.#heardAt + readTimeoutMs - scheduler.now(), readTimeoutMs);
      if (leftMs > 0) {
        this.#listen(leftMs);
        return;
      }
      const message = `No byte from ${where} for ${String(readTimeoutMs)} ms; readTimeoutMs raises the limit, 0 lifts it`;
      this.#guard(() => {
        this.#onLost(new StreamTimeoutError('wireIdle', message, { context: { url: where } }));
      });
    };
    silence.add(scheduler.schedule(look, ms));
  }

  /** What runs outside of a connection's notifications, and may throw by a callback of the caller's. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#subscriber.error(error);
    }
  }
}
