import { asyncScheduler, Observable } from 'rxjs';
import { Flow, register } from '../../src/internal/flow.js';

/** A stream whose answer's head comes so much after the request, with these headers; its items are those of `source`. */
export function answered<T>(
  source: Observable<T>,
  headers: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>),
  afterMs = 1,
): Observable<T> {
  return new Observable<T>((subscriber) => {
    const flow = new Flow();
    register(flow);
    subscriber.add(() => flow.leave());
    subscriber.add(
      asyncScheduler.schedule(() => {
        flow.onHeaders(undefined, typeof headers === 'function' ? headers() : headers);
      }, afterMs),
    );
    subscriber.add(
      source.subscribe({
        next: (item) => {
          flow.deliver(() => {
            subscriber.next(item);
          });
        },
        error: (error: unknown) => {
          flow.end('error', error);
          subscriber.error(error);
        },
        complete: () => {
          flow.proven = true;
          flow.end('complete');
          subscriber.complete();
        },
      }),
    );
  });
}

/** Headers that leave so many requests until so many milliseconds have passed. */
export function left(remaining: number, resetMs: number, limit?: number): Readonly<Record<string, string>> {
  return {
    'x-ratelimit-remaining-requests': String(remaining),
    'x-ratelimit-reset-requests': `${String(resetMs)}ms`,
    ...(limit !== undefined && { 'x-ratelimit-limit-requests': String(limit) }),
  };
}
