import { InterruptedError, MillraceError, ProtocolError, StreamTimeoutError, type TimeoutPhase } from '../../errors.js';
import { failureCode, failureText } from '../failureCode.js';
import type { FailedRequest, TransportFailure } from '../io.js';
import { redactURL } from '../redactURL.js';

/** The error for a failure that only undici tells apart; `undefined` for a redirect that is hidden, and for a connection that was lost once it was made. */
export function explainFailure(
  kind: TransportFailure,
  cause: unknown,
  request: FailedRequest,
): MillraceError | undefined {
  const where = redactURL(request.url);
  const code = failureCode(cause);
  const context = { url: where, code };
  switch (kind) {
    case 'redirect':
      return undefined;
    case 'limit':
      return cause instanceof MillraceError ? cause : undefined;
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
      return new ProtocolError(`${where} sent a broken answer: ${failureText(cause)}`, { context, cause });
    case 'invalid':
      return new ProtocolError(`The request to ${where} cannot be sent: ${failureText(cause)}`, { context, cause });
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
      if (!request.beforeHeaders || code === undefined || !CONNECT_FAILURES.test(code)) return undefined;
      return new InterruptedError(`Could not connect to ${where}: ${failureText(cause)}`, {
        during: 'connect',
        context,
        cause,
      });
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
