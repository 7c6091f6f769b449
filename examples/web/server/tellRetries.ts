import type { RetryOnDisconnectOptions, StreamEvent } from 'millrace';
import { defer, finalize, merge, mergeMap, type Observable, of, Subject } from 'rxjs';
import { RECONNECTED, RECONNECTING } from './retryWords.js';

/**
 * Tells the page when the connection to the provider was lost and when it is back, which the page cannot see by itself: a status
 * while it is replaced, and a warning, which stays. Of the answer itself nothing is lost and nothing comes twice.
 *
 * @param ask - makes the stream, given what `retry` is to call
 */
export function tellRetries(
  ask: (onRetry: NonNullable<RetryOnDisconnectOptions['onRetry']>) => Observable<StreamEvent>,
): Observable<StreamEvent> {
  return defer(() => {
    const notes = new Subject<StreamEvent>();
    let isLost = false;
    const answer = ask(({ attempt }) => {
      isLost = true;
      notes.next({ type: 'status', status: RECONNECTING, terminal: false });
      notes.next({
        type: 'warning',
        code: 'connection-lost',
        message: `attempt ${String(attempt)} goes on where it broke`,
      });
    }).pipe(
      mergeMap((event) => {
        if (!isLost) return of(event);
        isLost = false;
        return of<StreamEvent[]>({ type: 'status', status: RECONNECTED, terminal: false }, event);
      }),
      finalize(() => {
        notes.complete();
      }),
    );
    return merge(notes, answer);
  });
}
