import { printedAs } from '../internal/printedAs.js';
import { redactURL } from '../internal/redactURL.js';
import type { CallRequest } from '../protocol/call.js';

/** A request that is printed without what it asks, the caller's header values and the URL's query. */
export function discreetRequest(request: CallRequest): CallRequest {
  const { method, url, headers = {}, body, accept } = request;
  // A copy: it may be one that cannot be changed.
  return printedAs({ ...request }, () => ({
    method,
    url: redactURL(url),
    headers: Object.keys(headers),
    ...(body === undefined ? undefined : { bodyChars: body.length }),
    accept,
  }));
}
