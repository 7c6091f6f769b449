import { AbortError, HTTPError, InterruptedError, MillraceError, StreamTimeoutError } from '../errors.js';
import { SAFE_HEADERS } from './proxyHeaders.js';

/** A body that is asked for, chunk after chunk. */
export interface ProxyBody {
  readonly next: () => Promise<IteratorResult<Uint8Array, undefined>>;
}

/** What a page gets. */
export interface ProxyAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | ProxyBody | undefined;
}

/** A request that a proxy does not let through. What it says goes to the page. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Characters of a provider's words, where they are not JSON. */
const MAX_QUOTED_CHARS = 300;

/** An error in the shape that chat clients read. */
export function errorAnswer(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): ProxyAnswer {
  return jsonAnswer(status, { error: { code, message, type: 'proxy_error' } }, headers);
}

/**
 * What a page is told of a failure. The provider's refusals are its to read, but for those that are about the server's key;
 * what else went wrong is told by its kind alone: never an address, a key or a stranger's message.
 */
export function failureAnswer(error: unknown, provider: string): ProxyAnswer {
  if (error instanceof Refusal) return errorAnswer(error.status, error.code, error.message);
  if (error instanceof HTTPError) return refusedAnswer(error, provider);
  if (error instanceof StreamTimeoutError) {
    return errorAnswer(504, 'upstream_timeout', `${provider} did not answer in time`);
  }
  if (error instanceof InterruptedError) {
    return errorAnswer(502, 'upstream_unreachable', `The connection to ${provider} failed`);
  }
  if (error instanceof AbortError) return errorAnswer(503, 'shutting_down', 'The server is shutting down');
  if (error instanceof MillraceError) {
    return errorAnswer(502, 'upstream_protocol', `${provider} answered in a way that cannot be passed on`);
  }
  return errorAnswer(500, 'internal', 'The proxy failed; its onError knows why');
}

/** Whether a failure is about the key that the server sends, or the account behind it, and not about the page's request. */
export function isRefusedKey(error: unknown): boolean {
  return error instanceof HTTPError && [401, 402, 407].includes(error.status);
}

function refusedAnswer(error: HTTPError, provider: string): ProxyAnswer {
  const { status, body, retryAfterMs, requestId } = error;
  if (isRefusedKey(error)) {
    // Not as it is: to the page a 401 says that its user must log in, and some bodies quote a part of the key.
    const headers = { 'x-should-retry': 'false' }; // what OpenAI's own client goes by
    return errorAnswer(502, 'upstream_refused_key', `${provider} refused the key of the server`, headers);
  }
  if (status < 400) return errorAnswer(502, 'upstream_redirect', `${provider} answered with a redirect`);
  if (status > 599) return errorAnswer(502, 'upstream_protocol', `${provider} answered ${String(status)}`);
  const headers = {
    ...(retryAfterMs !== undefined && {
      'retry-after': String(Math.ceil(retryAfterMs / 1_000)),
      'retry-after-ms': String(retryAfterMs),
    }),
    ...(requestId !== undefined && { 'x-request-id': requestId }),
  };
  if (typeof body === 'object' && body !== null) return jsonAnswer(status, body, headers);
  const said = typeof body === 'string' && !body.trimStart().startsWith('<') ? body.slice(0, MAX_QUOTED_CHARS) : '';
  const message = `${provider} answered ${String(status)}${said === '' ? '' : `: ${said}`}`;
  return errorAnswer(status, 'upstream_error', message, headers);
}

function jsonAnswer(status: number, body: unknown, headers: Readonly<Record<string, string>>): ProxyAnswer {
  return {
    status,
    headers: { ...SAFE_HEADERS, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  };
}
