import { HTTPError, LimitError, type MillraceError } from '../../errors.js';
import { readRequestId } from '../httpError.js';
import type { AskedAgain, NextRequest, ResponseHead } from '../io.js';
import { redactURL } from '../redactURL.js';

/** What to do with an answer whose status is a redirect. */
export type Redirection =
  | { readonly kind: 'none' }
  | { readonly kind: 'refuse'; readonly because: string }
  /** As many as may be were followed. */
  | { readonly kind: 'limit' }
  | {
      readonly kind: 'follow';
      readonly url: URL;
      readonly method: string;
      readonly keepBody: boolean;
      /** False across origins: then none of the caller's headers goes along. */
      readonly keepHeaders: boolean;
    };

/** What is being redirected. */
export interface RedirectedRequest {
  readonly url: URL;
  readonly method: string;
  readonly hasBody: boolean;
  readonly followed: number;
  readonly maxRedirects: number;
  readonly redirect: 'follow' | 'error';
}

/** What becomes of an answer: the next request, or the error of a redirect that is not followed; `undefined` for what is none. */
export function redirected(head: ResponseHead, request: AskedAgain): NextRequest | MillraceError | undefined {
  const { url, body, headers, followed, maxRedirects } = request;
  const next = decideRedirect(head.status, head.headers['location'], { ...request, hasBody: body !== undefined });
  if (next.kind === 'none') return undefined;
  if (next.kind === 'follow') {
    return {
      url: next.url,
      method: next.method,
      body: next.keepBody ? body : undefined,
      headers: next.keepHeaders ? headers : {},
    };
  }
  const where = redactURL(url);
  const context = { url: where, status: head.status };
  if (next.kind === 'limit') {
    return new LimitError(
      'maxRedirects',
      maxRedirects,
      `HTTP ${String(head.status)} from ${where}: ${String(followed)} redirects were followed already (maxRedirects)`,
      { context },
    );
  }
  return new HTTPError(
    `HTTP ${String(head.status)} from ${where}: the redirect was not followed, since ${next.because}`,
    { status: head.status, requestId: readRequestId(head.headers), context },
  );
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * Decides on a redirect (RFC 9110, 15.4), more strictly than fetch: the caller's headers stay with the origin they were
 * given for, a body is never sent to another origin, and a 301 or 302 never turns a POST into a GET that looks like success.
 */
export function decideRedirect(status: number, location: string | undefined, request: RedirectedRequest): Redirection {
  if (!REDIRECTS.has(status)) return { kind: 'none' };
  if (location === undefined) return refuse('it names no location');
  if (request.redirect === 'error') return refuse(`redirects are switched off (redirect: 'error')`);
  if (request.followed >= request.maxRedirects) return { kind: 'limit' };
  let url: URL;
  try {
    url = new URL(location, request.url);
  } catch {
    return refuse('its location is not a URL');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return refuse(`it leads to a ${url.protocol} URL`);
  const isSafe = request.method === 'GET' || request.method === 'HEAD';
  const sameOrigin = url.origin === request.url.origin;
  if (status === 303) {
    return { kind: 'follow', url, method: isSafe ? request.method : 'GET', keepBody: false, keepHeaders: sameOrigin };
  }
  if (!isSafe && status <= 302) {
    return refuse(`it would turn the ${request.method} into a GET; send the request to the new address instead`);
  }
  if (!sameOrigin && request.hasBody) {
    return refuse(
      `the body must not be sent to another origin (${url.origin}); send the request there if it is to be trusted`,
    );
  }
  return { kind: 'follow', url, method: request.method, keepBody: true, keepHeaders: sameOrigin };
}

function refuse(because: string): Redirection {
  return { kind: 'refuse', because };
}
