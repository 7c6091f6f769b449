import { isKeyName } from './keyedRequest.js';

/**
 * What of a page's request goes on: how it wants to be answered, what it sends, where it resumes, and what inference.sh's own
 * client says of itself. Never a cookie, a credential, an address, or what belongs to the page's connection.
 */
const FORWARDED: readonly string[] = [
  'accept',
  'content-type',
  'last-event-id',
  'idempotency-key',
  'x-api-version',
  'x-client-source',
];

/** What can never go on: it is the connection's (RFC 9110, 7.6.1), the page's own, or says who asks. */
const NEVER =
  /^(accept-encoding|connection|content-(encoding|length)|expect|forwarded|host|keep-alive|origin|proxy-.*|referer|sec-.*|te|trailer|transfer-encoding|upgrade|via|x-(forwarded|inf)-.*|x-real-ip)$/;

/**
 * The names of headers that go on, those of the caller's added.
 * @throws TypeError for one that must not, or is none
 */
export function readForwarded(names: readonly string[]): readonly string[] {
  const added = names.map((name) => name.toLowerCase());
  const wrong = added.find((name) => NEVER.test(name) || isKeyName(name) || !/^[\w.-]+$/.test(name));
  if (wrong === undefined) return [...FORWARDED, ...added];
  throw new TypeError(`forwardHeaders must not name ${JSON.stringify(wrong)}: it is the page's own, or no header`);
}

/** What of an answer's head goes to the page: the rest is between the server and the provider, and speaks for its origin. */
const RETURNED: readonly string[] = [
  'content-language',
  'content-type',
  'retry-after',
  'retry-after-ms',
  'cf-ray',
  'request-id',
  'x-generation-id',
  'x-request-id',
  'x-vercel-ai-ui-message-stream',
];

/** Of every answer: nothing on the way keeps, changes or holds it, and no browser makes a page of it. */
export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store, no-transform',
  'content-security-policy': "default-src 'none'; sandbox",
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
};

/**
 * Without a length: the transport may have undone a coding, and the framing tells the end as well.
 * @param clean - takes secrets out of a value
 */
export function returnedHeaders(
  headers: Readonly<Record<string, string>>,
  clean: (value: string) => string,
): Record<string, string> {
  const returned: Record<string, string> = { ...SAFE_HEADERS };
  for (const name of RETURNED) {
    const value = headers[name];
    if (value !== undefined) returned[name] = clean(value);
  }
  return returned;
}
