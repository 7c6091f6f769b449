import type { MonoTypeOperatorFunction } from 'rxjs';
import { deliverIsolated, Scope } from '../internal/flow.js';
import { draw, operate } from '../internal/operate.js';

/**
 * Keeps the pressure of sinks from the streams above, so that they go on at their own pace.
 *
 * ```text
 * source     -a--b--c--d|
 * isolate    -a--b--c--d|     however full the sinks below are
 * ```
 * A full sink pauses the socket that fills it, and where an asynchronous operator hides which one that is, every open stream
 * that no other sink is known to draw from. Put `isolate` into a stream that must not wait: one that is subscribed to
 * without a sink beside a slow one, or the slow branch of a shared stream whose other branch is a live view.
 *
 * Passes every notification on. Unsubscribing stops the source. Holds nothing; what a full sink below cannot take waits in that
 * sink, which then has no bound but a limit of its own.
 *
 * @example A file on a slow disk does not hold up the screen
 * ```ts
 * const answer = fromCall(call).pipe(share());
 * merge(answer.pipe(isolate(), toFile('slow.md')), answer.pipe(toStdout())).subscribe();
 * ```
 * @returns an operator
 * @public
 */
export function isolate<T>(): MonoTypeOperatorFunction<T> {
  return operate((source, subscriber) => {
    const scope = new Scope('isolates');
    draw<T>(source, subscriber, scope, () => ({
      next: (value) => {
        deliverIsolated(scope, () => {
          subscriber.next(value);
        });
      },
    }));
  });
}
