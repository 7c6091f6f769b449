import type { Receipt, Received } from './types.js';

/** Facts for programs and logs. Never a key, a header's value, a prompt or a URL's query. @public */
export type ErrorContext = Readonly<Record<string, string | number | boolean | undefined>>;

/** What every error of this library can carry besides its message. @public */
export interface MillraceErrorOptions {
  readonly context?: ErrorContext | undefined;
  /** The original, where the error entered from outside. */
  readonly cause?: unknown;
}

/**
 * The class that every error of this library extends. `code` is stable and meant for programs; messages may change.
 * @public
 */
export abstract class MillraceError extends Error {
  abstract readonly code: string;
  readonly context: ErrorContext;
  /** What was received before the error; set by `decode` and `fromCall`. Not enumerable: a printed error shows no text. */
  declare received?: Received;
  /** What the sink knew at the end; set by sinks. */
  declare receipt?: Receipt;

  constructor(message: string, options: MillraceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.context = options.context ?? {};
    Object.defineProperty(this, 'received', { value: undefined, writable: true, enumerable: false });
  }
}

/** What a server said besides its status. @public */
export interface HTTPErrorDetails extends MillraceErrorOptions {
  readonly status: number;
  /** Parsed where it was JSON, else text; cut to a bounded length. */
  readonly body?: unknown;
  /** The API's own error code. */
  readonly providerCode?: string | number | undefined;
  /** The API's own words. */
  readonly providerMessage?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly requestId?: string | undefined;
}

/** The server answered with a status that is not a success, or with a redirect that must not be followed. @public */
export class HTTPError extends MillraceError {
  override readonly name = 'HTTPError';
  readonly code = 'ERR_HTTP';
  /** 0 for a redirect whose status a browser hides. */
  readonly status: number;
  declare readonly body?: unknown;
  readonly providerCode?: string | number | undefined;
  readonly providerMessage?: string | undefined;
  /** How long the server asks to wait, from `retry-after-ms` or `Retry-After`; capped at 2^31-1, never negative. */
  readonly retryAfterMs?: number | undefined;
  readonly requestId?: string | undefined;

  constructor(message: string, details: HTTPErrorDetails) {
    super(message, details);
    this.status = details.status;
    // Not enumerable: a body may quote the prompt, and a printed error must not.
    Object.defineProperty(this, 'body', { value: details.body, enumerable: false });
    this.providerCode = details.providerCode;
    this.providerMessage = details.providerMessage;
    this.retryAfterMs = details.retryAfterMs;
    this.requestId = details.requestId;
  }
}

/** What a provider said inside a stream. @public */
export interface ProviderErrorDetails extends MillraceErrorOptions {
  readonly retryable: boolean;
  readonly providerCode?: string | number | undefined;
  readonly providerMessage?: string | undefined;
  /** The frame that said it. */
  readonly frame?: unknown;
}

/** The provider reported a failure inside a stream that had begun well. @public */
export class ProviderError extends MillraceError {
  override readonly name = 'ProviderError';
  readonly code = 'ERR_PROVIDER';
  /** Set by the dialect: whether asking again can help. */
  readonly retryable: boolean;
  readonly providerCode?: string | number | undefined;
  readonly providerMessage?: string | undefined;
  declare readonly frame?: unknown;

  constructor(message: string, details: ProviderErrorDetails) {
    super(message, details);
    this.retryable = details.retryable;
    this.providerCode = details.providerCode;
    this.providerMessage = details.providerMessage;
    // Not enumerable: a frame may hold model output, and a printed error must not. Keys are taken out of it later.
    Object.defineProperty(this, 'frame', { value: details.frame, enumerable: false, configurable: true });
  }
}

/** Where a connection was lost. @public */
export type InterruptedDuring = 'connect' | 'headers' | 'body';

/** The stream was cut before its proven end: by the network, the server, or an operator that completed it early. @public */
export class InterruptedError extends MillraceError {
  override readonly name = 'InterruptedError';
  readonly code = 'ERR_INTERRUPTED';
  readonly during: InterruptedDuring;

  constructor(message: string, options: MillraceErrorOptions & { readonly during?: InterruptedDuring } = {}) {
    super(message, options);
    this.during = options.during ?? 'body';
  }
}

/** Which clock ran out. @public */
export type TimeoutPhase = 'headers' | 'firstContent' | 'contentIdle' | 'wireIdle' | 'attempt';

/** A clock ran out; `phase` says which. @public */
export class StreamTimeoutError extends MillraceError {
  override readonly name = 'StreamTimeoutError';
  readonly code = 'ERR_STREAM_TIMEOUT';
  readonly phase: TimeoutPhase;

  constructor(phase: TimeoutPhase, message: string, options: MillraceErrorOptions = {}) {
    super(message, options);
    this.phase = phase;
  }
}

/** The far side does not speak the protocol: wrong content type, bad encoding, a malformed frame. @public */
export class ProtocolError extends MillraceError {
  override readonly name = 'ProtocolError';
  readonly code = 'ERR_PROTOCOL';
}

/** A limit on size was passed; the connection is closed. @public */
export class LimitError extends MillraceError {
  override readonly name = 'LimitError';
  readonly code = 'ERR_LIMIT';
  /** The option that holds the limit. */
  readonly limit: string;
  /** NaN where it is not known: the limit of a dispatcher of the caller's own. */
  readonly max: number;

  constructor(limit: string, max: number, message: string, options: MillraceErrorOptions = {}) {
    super(message, options);
    this.limit = limit;
    this.max = max;
  }
}

/** One thing a schema found wrong: where, and what, without the value itself. @public */
export interface ValidationIssue {
  readonly path: string;
  readonly message: string;
}

/** Data from outside does not fit its schema. @public */
export class ValidationError extends MillraceError {
  override readonly name = 'ValidationError';
  readonly code = 'ERR_VALIDATION';
  readonly issues: readonly ValidationIssue[];

  constructor(message: string, issues: readonly ValidationIssue[], options: MillraceErrorOptions = {}) {
    super(message, options);
    this.issues = issues;
  }
}

/** A sink could not take the stream: the file exists, the disk is full, another owner is writing. @public */
export class SinkError extends MillraceError {
  override readonly name = 'SinkError';
  readonly code = 'ERR_SINK';
}

/**
 * A stream that cannot be asked for again was given to `retryOnDisconnect`: there is no call beneath, or one without a plan. Or
 * what can be read once was to be read again.
 * @public
 */
export class NoResumePlanError extends MillraceError {
  override readonly name = 'NoResumePlanError';
  readonly code = 'ERR_NO_RESUME_PLAN';
}

/** Several streams were asked, and none of them, or not all that were needed, ended well. @public */
export class StreamsFailedError extends MillraceError {
  override readonly name = 'StreamsFailedError';
  readonly code = 'ERR_STREAMS_FAILED';
  /** The error of each stream that failed, by its key. The first is the `cause`. */
  readonly errors: ReadonlyMap<string, unknown>;

  constructor(message: string, errors: ReadonlyMap<string, unknown>, options: MillraceErrorOptions = {}) {
    const [first] = errors.values();
    super(message, { cause: first, ...options });
    this.errors = errors;
  }
}

/**
 * Why a store of streams failed. `unavailable`: it cannot be reached. `lease-lost`: another writer has the stream. `lost`: what was written
 * is not there any more.
 * @public
 */
export type StoreErrorReason = 'unavailable' | 'lease-lost' | 'lost';

/** A store of streams could not do what it was asked for; `reason` says why. @public */
export class StoreError extends MillraceError {
  override readonly name = 'StoreError';
  readonly code = 'ERR_STORE';
  readonly reason: StoreErrorReason;

  constructor(reason: StoreErrorReason, message: string, options: MillraceErrorOptions = {}) {
    super(message, options);
    this.reason = reason;
  }
}

/** The caller's `AbortSignal` fired. Named as the platform names it; the signal's reason is the `cause`. @public */
export class AbortError extends MillraceError {
  override readonly name = 'AbortError';
  readonly code = 'ERR_ABORTED';
}

/** True for every error of this library, other copies of it included. @public */
export function isMillraceError(error: unknown): error is MillraceError {
  if (error instanceof MillraceError) return true;
  if (!(error instanceof Error)) return false;
  const { code, context } = error as { code?: unknown; context?: unknown };
  return typeof code === 'string' && code.startsWith('ERR_') && context !== undefined;
}

const RETRYABLE_STATUSES: ReadonlySet<number> = new Set([408, 409, 425, 429, 500, 502, 503, 504, 529]);

/**
 * Whether asking again can help: the only place that decides. Yes for interruptions and failed connections (but not for a
 * certificate that is refused, or a port without TLS), for timeouts (RxJS's own too), for HTTP 408 409 425 429 500 502 503 504 529, for a
 * provider's error whose dialect says so, and for several streams that all failed in one of these ways. Nothing else.
 * @public
 */
export function isRetryable(error: unknown): boolean {
  if (!isMillraceError(error)) return error instanceof Error && error.name === 'TimeoutError';
  switch (error.code) {
    case 'ERR_INTERRUPTED':
      return !/CERT|ERR_TLS|UNABLE_TO|WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(String(error.context['code']));
    case 'ERR_STREAM_TIMEOUT':
      return true;
    case 'ERR_HTTP':
      return RETRYABLE_STATUSES.has((error as HTTPError).status);
    case 'ERR_PROVIDER':
      return (error as ProviderError).retryable;
    case 'ERR_STREAMS_FAILED':
      return [...(error as StreamsFailedError).errors.values()].every(isRetryable);
    default:
      return false;
  }
}
