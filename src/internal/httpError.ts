import { HTTPError } from '../errors.js';
import { readErrorBody } from '../protocol/errorBody.js';
import type { ResponseHead } from './io.js';
import { redactSecrets } from './redactSecrets.js';
import { redactURL } from './redactURL.js';
import { readRetryAfter } from './retryAfter.js';

/** Characters of an API's own words that a message quotes. */
const MAX_QUOTED_CHARS = 300;

/** The server's name for a request, where it gives one. */
export function readRequestId(headers: Readonly<Record<string, string>>): string | undefined {
  return headers['x-request-id'] ?? headers['request-id'] ?? headers['x-generation-id'] ?? headers['cf-ray'];
}

/** What a status asks of the caller. */
const remedies: Readonly<Record<number, string | undefined>> = {
  401: 'check the API key',
  402: 'check the account’s balance',
  403: 'check what the API key may do, and that the host is the right one',
  404: 'check the URL and the model’s name',
  413: 'send less at once',
  429: 'ask less often, or later',
};

/** Makes the error for an answer that is not a success, from what its body says. */
export function httpError(
  head: ResponseHead,
  bodyText: string,
  sentHeaders: Readonly<Record<string, string>>,
  now: number,
): HTTPError {
  const text = redactSecrets(bodyText, sentHeaders);
  let body: unknown = text;
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: error pages of proxies are text, and the text is the body.
  }
  const isMarkup = typeof body === 'string' && body.trimStart().startsWith('<');
  const { code, message } = isMarkup ? { code: undefined, message: undefined } : readErrorBody(body);
  const where = redactURL(head.url);
  const parts = [`HTTP ${String(head.status)} from ${where}`];
  if (message !== undefined) parts.push(message.slice(0, MAX_QUOTED_CHARS));
  else if (code !== undefined) parts.push(String(code));
  const remedy = remedies[head.status];
  return new HTTPError(parts.join(': ') + (remedy === undefined ? '' : ` (${remedy})`), {
    status: head.status,
    body: text === '' ? undefined : body,
    providerCode: code,
    providerMessage: message,
    retryAfterMs: readRetryAfter(head.headers, now),
    requestId: readRequestId(head.headers),
    context: { url: where, status: head.status, code },
  });
}
