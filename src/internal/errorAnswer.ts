import { isMillraceError, isRetryable } from '../errors.js';
import { hasCode } from './hasCode.js';
import { readHeaders } from './readRequest.js';
import { isOfShutdown } from './running.js';

/** What a reader is told of a failure; what is left out stays as it is by default. @public */
export interface ErrorResponse {
  /** From 400 to 599; it is used where nothing was sent yet. */
  readonly status?: number | undefined;
  /** Beside those of the default; used where nothing was sent yet. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Stable, for programs. */
  readonly code?: string | undefined;
  /** For people. It goes to the reader as it is: no upstream's words, keys or prompts belong in it. */
  readonly message?: string | undefined;
}

/** A failure as the reader is told it: as an HTTP answer, or in band. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

const BUSY = 'The service is asked too much at the moment; ask again later';
const REFUSED = 'The service could not be asked';
const UNFIT = 'The service does not take this request as it is';
const FAILED = 'The service failed';
const LATE = 'The service did not answer in time';
const CUT = 'The answer was interrupted';
const STOPPED = 'The answer was stopped';
const ENDING = 'The server is shutting down; ask again later';
const BROKEN = 'The server failed';

/**
 * What a failure is to somebody who knows nothing of the services behind this server. Words and status are ours: an upstream's own may
 * quote keys and prompts, and its 401 is about our key, not about the reader's.
 */
export function errorAnswer(error: unknown): ErrorAnswer {
  const retryable = isRetryable(error);
  const answer = (status: number, code: string, message: string): ErrorAnswer => ({
    status,
    headers: {},
    code,
    message,
    retryable,
  });
  if (hasCode(error, 'ERR_HTTP')) return ofStatus(error, answer);
  if (hasCode(error, 'ERR_PROVIDER')) {
    return isTooMuch(error) ? answer(429, error.code, BUSY) : answer(502, error.code, FAILED);
  }
  if (hasCode(error, 'ERR_STREAM_TIMEOUT')) return answer(504, error.code, LATE);
  // RxJS's own.
  if (error instanceof Error && error.name === 'TimeoutError') return answer(504, 'ERR_STREAM_TIMEOUT', LATE);
  if (hasCode(error, 'ERR_INTERRUPTED')) return answer(502, error.code, CUT);
  if (hasCode(error, 'ERR_PROTOCOL') || hasCode(error, 'ERR_LIMIT')) return answer(502, error.code, FAILED);
  if (hasCode(error, 'ERR_ABORTED')) {
    return isOfShutdown(error)
      ? { ...answer(503, error.code, ENDING), retryable: true }
      : answer(503, error.code, STOPPED);
  }
  if (hasCode(error, 'ERR_STREAMS_FAILED') && error.cause !== undefined) {
    return { ...errorAnswer(error.cause), retryable };
  }
  // To the reader it is an answer that broke off: asked again, it may come whole.
  if (hasCode(error, 'ERR_SINK') && error.context['because'] === 'restart') {
    return { ...answer(502, 'ERR_INTERRUPTED', CUT), retryable: true };
  }
  return answer(500, isMillraceError(error) ? error.code : 'ERR_INTERNAL', BROKEN);
}

/** An upstream's status as the reader's. */
function ofStatus(
  error: Error & { readonly status?: unknown; readonly retryAfterMs?: unknown },
  answer: (status: number, code: string, message: string) => ErrorAnswer,
): ErrorAnswer {
  const { status, retryAfterMs } = error;
  const told = ((): ErrorAnswer => {
    switch (status) {
      case 429:
        return answer(429, 'ERR_HTTP', BUSY);
      case 400:
      case 413:
      case 422:
        return answer(status, 'ERR_HTTP', UNFIT);
      case 408:
        return answer(504, 'ERR_HTTP', LATE);
      default:
        return answer(502, 'ERR_HTTP', typeof status === 'number' && status >= 500 ? FAILED : REFUSED);
    }
  })();
  if (typeof retryAfterMs !== 'number' || !told.retryable) return told;
  const headers = {
    'retry-after': String(Math.ceil(retryAfterMs / 1000)),
    // To the millisecond, for clients that read it.
    'retry-after-ms': String(Math.ceil(retryAfterMs)),
  };
  return { ...told, headers };
}

/** Some tell inside a stream what is a 429 elsewhere. */
function isTooMuch(error: Error & { readonly providerCode?: unknown }): boolean {
  const { providerCode } = error;
  return String(providerCode) === '429' || (typeof providerCode === 'string' && /rate_?limit/i.test(providerCode));
}

/**
 * What the program says of a failure in place of the default.
 * @throws TypeError for a status or a header that cannot be sent
 */
export function withOverride(told: ErrorAnswer, override: ErrorResponse | undefined): ErrorAnswer {
  const { status = told.status, headers, code = told.code, message = told.message } = override ?? {};
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw new TypeError(`errorResponse gave the status ${String(status)}; it must be from 400 to 599`);
  }
  if (typeof code !== 'string' || typeof message !== 'string') {
    throw new TypeError('errorResponse must give code and message as text');
  }
  return { ...told, status, code, message, headers: { ...told.headers, ...readHeaders(headers) } };
}
