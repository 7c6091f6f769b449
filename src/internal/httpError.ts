import { HTTPError } from '../errors.js';
import { readErrorBody } from '../protocol/errorBody.js';
import type { ResponseHead } from './io.js';
import { redactURL } from './redactURL.js';
import { readRetryAfter } from './retryAfter.js';
import type { SentSecrets } from './sentSecrets.js';

/** Characters of an API's own words that a message quotes. */
const MAX_QUOTED_CHARS = 300;

/** The server's name for a request, where it gives one. */
export function readRequestId(headers: Readonly<Record<string, string>>): string | undefined {
  return headers['x-request-id'] ?? headers['request-id'] ?? headers['x-generation-id'] ?? headers['cf-ray'];
}

const NOT_FOLLOWED = 'the redirect was not followed';

/** What a status asks of the caller. A redirect comes here from a `fetch` that shows it, where the rest of them hide theirs. */
const remedies: Readonly<Record<number, string | undefined>> = {
  301: NOT_FOLLOWED,
  302: NOT_FOLLOWED,
  303: NOT_FOLLOWED,
  307: NOT_FOLLOWED,
  308: NOT_FOLLOWED,
  401: 'check the API key',
  402: 'check the account’s balance',
  403: 'check what the API key may do, and that the host is the right one',
  404: 'check the URL and the model’s name',
  413: 'send less at once',
  429: 'ask less often, or later',
};

/** What JSON holds below this depth is left out: no API's error body is so deep, and one that is could exhaust the stack. */
const MAX_DEPTH = 64;

/** Makes the error for an answer that is not a success, from what its body says. */
export function httpError(head: ResponseHead, bodyText: string, secrets: SentSecrets, now: number): HTTPError {
  let body: unknown = bodyText;
  try {
    body = JSON.parse(bodyText);
  } catch {
    // Not JSON: error pages of proxies are text, and the text is the body.
  }
  // What was parsed and not its text: in the text a key may be written with escapes.
  body = secrets.valueWithoutKeys(body, MAX_DEPTH);
  const isMarkup = typeof body === 'string' && body.trimStart().startsWith('<');
  const { code, message } = readErrorBody(isMarkup ? undefined : body);
  const where = redactURL(head.url);
  const parts = [`HTTP ${String(head.status)} from ${where}`];
  if (message !== undefined) parts.push(message.slice(0, MAX_QUOTED_CHARS));
  else if (code !== undefined) parts.push(String(code));
  const remedy = remedies[head.status];
  return new HTTPError(parts.join(': ') + (remedy === undefined ? '' : ` (${remedy})`), {
    status: head.status,
    body: body === '' ? undefined : body,
    providerCode: code,
    providerMessage: message,
    retryAfterMs: readRetryAfter(head.headers, now),
    requestId: readRequestId(head.headers),
    context: { url: where, status: head.status, code },
  });
}
