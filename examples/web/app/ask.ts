import { decode, fromHTTP, parseSSE, type StreamEvent } from 'millrace';
import { millrace } from 'millrace/providers';
import type { Observable } from 'rxjs';

/** What shall go wrong: nothing, a connection that is cut and goes on, or the whole answer. */
export type Trouble = 'none' | 'cut' | 'fail';

/** Asks the page's own server. Cold: it asks when it is subscribed to, and stops when that subscription ends. */
export function ask(path: string, body: object): Observable<StreamEvent> {
  return fromHTTP(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }).pipe(parseSSE(), decode(millrace));
}
