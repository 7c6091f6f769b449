/** Checks of what a caller wants to send. */
import { pageBase } from './pageBase.js';

/** The URL of a request, in a page also one relative to it; throws TypeError for one that cannot be used, without quoting it. */
export function readURL(input: string | URL): URL {
  let url: URL;
  try {
    url = new URL(input, pageBase());
  } catch {
    throw new TypeError('url is not an absolute URL'); // not quoted: it may hold a key
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`url must be http or https, got ${url.protocol}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError('url must not hold credentials; send them in an authorization header');
  }
  url.hash = '';
  return url;
}

/** The method of a request, in capitals; throws TypeError for what is none. */
export function readMethod(input: string): string {
  if (typeof input !== 'string' || !TOKEN.test(input) || /^connect$/i.test(input)) {
    throw new TypeError('method must be the name of an HTTP method, such as POST; CONNECT has no answer to read');
  }
  return input.toUpperCase();
}

/** RFC 9110, 5.6.2: what names of methods and headers are made of. */
const TOKEN = /^[!#$%&'*+\-.^_`|~\w]+$/;

/** Headers as a record with names in lower case; throws TypeError for what no header can hold, without quoting it. */
export function readHeaders(input: Readonly<Record<string, string>> | Headers | undefined): Record<string, string> {
  const entries = input instanceof Headers ? input.entries() : Object.entries(input ?? {});
  const headers: Record<string, string> = {};
  for (const [name, value] of entries) {
    if (!TOKEN.test(name)) throw new TypeError(`Not a header name: ${JSON.stringify(name.slice(0, 40))}`);
    // The value is not quoted: it may be a key. Line ends would smuggle in headers (GHSA-3cvr-822r-rqcc).
    if (typeof value !== 'string' || /[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      throw new TypeError(`The value of header ${name} must be text of visible Latin-1 characters without line ends`);
    }
    // White space as RFC 9110, 5.5 has it: `trim` would take the last byte of an `à` too.
    headers[name.toLowerCase()] = value.replace(/^[\t ]+|(?<![\t ])[\t ]+$/g, '');
  }
  return headers;
}
