import {
  HTTPError,
  InterruptedError,
  type MillraceError,
  ProtocolError,
  StreamTimeoutError,
  type TimeoutPhase,
} from '../errors.js';
import type { TransportFailure } from './io.js';
import { redactURL } from './redactURL.js';

/** What was under way when a transport failed. */
export interface FailedRequest {
  readonly url: URL;
  readonly beforeHeaders: boolean;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
}

/** The error for a transport's failure: what happened, to what, and what to do. */
export function transportError(kind: TransportFailure, cause: unknown, request: FailedRequest): MillraceError {
  const { url, beforeHeaders } = request;
  const where = redactURL(url);
  const code = codeOf(cause);
  const context = { url: where, code };
  switch (kind) {
    case 'headers-timeout':
      return new StreamTimeoutError(
        'headers',
        `No headers from ${where} for ${String(request.headersTimeoutMs)} ms; headersTimeoutMs raises the limit, 0 lifts it`,
        { context, cause },
      );
    case 'body-timeout':
      return new StreamTimeoutError(
        'wireIdle',
        `No byte from ${where} for ${String(request.bodyTimeoutMs)} ms; bodyTimeoutMs raises the limit, 0 lifts it`,
        { context, cause },
      );
    case 'protocol':
      return new ProtocolError(`${where} sent a broken answer: ${reason(cause)}`, { context, cause });
    case 'invalid':
      return new ProtocolError(`The request to ${where} cannot be sent: ${reason(cause)}`, { context, cause });
    case 'redirect':
      return new HTTPError(`${where} answered with a redirect, which was not followed (redirect: 'error')`, {
        status: 0,
        context,
      });
    case 'lost': {
      // Only from a `fetch` of the caller's: millrace's own transport tells its limits apart.
      const limit = FETCH_LIMITS[code ?? ''];
      if (limit !== undefined) {
        const { phase, silence, option } = limit;
        return new StreamTimeoutError(
          phase,
          `No ${silence} from ${where} for as long as \`fetch\` waits (300 s in Node); ${option} of its undici Agent lifts the limit, and so does ${option}Ms without a \`fetch\` of one's own`,
          { context, cause },
        );
      }
      const during = beforeHeaders ? (isConnectFailure(code) ? 'connect' : 'headers') : 'body';
      const message = {
        connect: `Could not connect to ${where}: ${reason(cause)}`,
        headers: `The connection to ${where} was lost before an answer: ${reason(cause)}`,
        body: `The stream from ${where} was cut: ${reason(cause)}`,
      }[during];
      return new InterruptedError(message, { during, context, cause });
    }
  }
}

/** The limits of Node's `fetch`, by the code of its cause. */
const FETCH_LIMITS: Readonly<
  Partial<Record<string, { readonly phase: TimeoutPhase; readonly silence: string; readonly option: string }>>
> = {
  UND_ERR_HEADERS_TIMEOUT: { phase: 'headers', silence: 'headers', option: 'headersTimeout' },
  UND_ERR_BODY_TIMEOUT: { phase: 'wireIdle', silence: 'byte', option: 'bodyTimeout' },
};

const CONNECT_FAILURES =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|ERR_SSL_.*|ERR_TLS_.*|.*CERT.*|UNABLE_TO_.*)$/;

function isConnectFailure(code: string | undefined): boolean {
  return code !== undefined && CONNECT_FAILURES.test(code);
}

/** The code of an error or of the first of its causes that has one: `fetch` and happy-eyeballs wrap theirs. */
function codeOf(error: unknown, depth = 0): string | undefined {
  if (typeof error !== 'object' || error === null || depth > 4) return undefined;
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown };
  if (typeof code === 'string') return code;
  return codeOf(cause, depth + 1) ?? (Array.isArray(errors) ? codeOf(errors[0], depth + 1) : undefined);
}

function reason(cause: unknown): string {
  const code = codeOf(cause);
  const message = cause instanceof Error ? cause.message : String(cause);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
