/** Hosts whose packets stay on the machine (RFC 6761, 6.3; RFC 6890). */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname) ||
    hostname === '[::1]' ||
    // As the URL parser writes an IPv4 address inside an IPv6 one.
    /^\[::ffff:7f[\da-f]{2}:[\da-f]{1,4}\]$/.test(hostname)
  );
}

/** Names under which keys travel: `authorization`, `x-api-key`, `api-key`, `cookie`, `x-goog-api-key`, `access_token`. */
const KEY_NAME = /authoriz|apikey|(^|[-_])(auth|key|token|secret|cookie|password|credentials?|session)([-_]|$)/i;
/** It keeps a request from being carried out twice, and opens nothing. */
const NO_KEY = /idempotency/i;

/** The name under which a request carries what may be a key, in a header or in its URL's query. */
export function keyNameOf(url: URL, headers: Readonly<Record<string, string>>): string | undefined {
  const header = Object.keys(headers).find(isKeyName);
  if (header !== undefined) return `the header ${header}`;
  const parameter = [...url.searchParams.keys()].find(isKeyName);
  return parameter === undefined ? undefined : `the query parameter ${parameter}`;
}

/** Whether what has this name may be a key. */
export function isKeyName(name: string): boolean {
  return KEY_NAME.test(name) && !NO_KEY.test(name);
}

/** Origins beyond this many are not remembered, and not warned of. */
const MAX_ORIGINS = 1_024;
const warned: Set<string> = new Set();

/** The warning for a request that shows a key to everybody on its way; `undefined` where there is none, or it was given. */
export function warningOfPlainKey(url: URL, headers: Readonly<Record<string, string>>): string | undefined {
  if (url.protocol !== 'http:' || isLoopback(url.hostname)) return undefined;
  if (warned.has(url.origin) || warned.size >= MAX_ORIGINS) return undefined;
  const name = keyNameOf(url, headers);
  if (name === undefined) return undefined;
  warned.add(url.origin);
  return (
    `A key may be going to ${url.origin} in plain text: ${name} is sent over http, and everybody on the way can read it. ` +
    'Use https, or a tunnel to this machine'
  );
}
