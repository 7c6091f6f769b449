import { from, type MonoTypeOperatorFunction, type Observable, type ObservableInput, type Subscription } from 'rxjs';
import { Flow, leaveAs, runApart, Scope } from '../internal/flow.js';
import { onAbort } from '../internal/onAbort.js';
import { draw, link, operate } from '../internal/operate.js';
import type { StoppedBy } from '../types.js';

/**
 * Ends a stream on purpose when a notifier emits or a signal is aborted.
 *
 * ```text
 * source    -a--b--c--d|
 * notifier  -------x
 * result    -a--b--|           a sink's receipt says `stopped`
 * ```
 * Unlike `takeUntil`, which hands a sink an ordinary completion of half a stream, this is known to sinks: nothing is published as
 * complete, and the receipt says `stopped` by `notifier` or by `signal`.
 * Emits what the source emits. Completes when told to stop (after the request was aborted and, where there is one, the
 * provider's cancel endpoint called), or with the source; a notifier that completes without emitting stops nothing. Errors
 * with the source's or the notifier's error. Unsubscribing stops the source and leaves the notifier. Holds nothing.
 *
 * @example
 * ```ts
 * const controller = new AbortController();
 * fromCall(call).pipe(stopOn(controller.signal), toFile('answer.txt')).subscribe((receipt) => log(receipt.outcome));
 * ```
 * @param stop - an observable (or promise) that emits, or an AbortSignal; one that has fired already lets nothing be asked
 * @returns an operator
 * @throws TypeError for anything else
 * @public
 */
export function stopOn<T>(stop: ObservableInput<unknown> | AbortSignal): MonoTypeOperatorFunction<T> {
  const notifier = stop instanceof AbortSignal ? undefined : toNotifier(stop);
  return operate((source, subscriber) => {
    const by: StoppedBy = stop instanceof AbortSignal ? 'signal' : 'notifier';
    let upstream: Subscription | undefined;
    let isStopped = false;
    const end = (): void => {
      if (isStopped) return;
      isStopped = true;
      const marker = new Flow({ isMarker: true });
      leaveAs('stop', by, () => {
        upstream?.unsubscribe();
        marker.leave();
      });
      // After, since the reader may leave other streams when it hears of the end.
      marker.deliver(() => {
        subscriber.complete();
      });
    };
    if (stop instanceof AbortSignal) {
      if (stop.aborted) {
        end();
        return;
      }
      subscriber.add(onAbort(stop, end));
    } else {
      const listening = link<unknown>(subscriber, { next: end, complete: () => undefined });
      // A notifier may be a request itself: it is nothing that the sinks below draw from.
      runApart(() => notifier?.subscribe(listening));
    }
    if (subscriber.closed) return;
    draw<T>(source, subscriber, new Scope(false), (link) => {
      upstream = link;
      return {
        next: (value) => {
          subscriber.next(value);
        },
      };
    });
  });
}

/** Nothing is subscribed to yet. */
function toNotifier(stop: ObservableInput<unknown>): Observable<unknown> {
  try {
    return from(stop);
  } catch (cause) {
    const message = `stopOn takes an observable, a promise or an AbortSignal, got ${typeof stop}`;
    throw new TypeError(message, { cause });
  }
}
