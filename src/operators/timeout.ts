import { asyncScheduler, identity, type MonoTypeOperatorFunction, type SchedulerLike, type Subscription } from 'rxjs';
import { Clocks, type Limits } from '../internal/clocks.js';
import { leaveAs } from '../internal/flow.js';
import { draw, operate } from '../internal/operate.js';
import { requireDelay } from '../internal/require.js';

/** The limits of `timeout`, in milliseconds from 1 to 2^31-1. One that is left out is off. @public */
export interface TimeoutOptions {
  /** From the beginning of an attempt to the headers of its answer. */
  readonly headersMs?: number | undefined;
  /**
   * From the beginning of an attempt to the first piece of its answer. Content is text, thinking, refusal, tool calls, media, output
   * and log lines; a state of the work (`queued`, `running`) is none.
   */
  readonly firstContentMs?: number | undefined;
  /**
   * The longest silence of content; a state or a progress that changes counts, keep-alives and a state that is only told again do
   * not. Runs from the first content where `firstContentMs` is given, else from the headers where `headersMs` is, else from the
   * beginning.
   */
  readonly contentIdleMs?: number | undefined;
  /** The longest silence of the connection: any byte counts. Runs from the headers where `headersMs` is given, else from the beginning. */
  readonly wireIdleMs?: number | undefined;
  /** One attempt as a whole, from its beginning to its end. */
  readonly attemptMs?: number | undefined;
  /**
   * The clock and the timer. With one whose `now` is not that of `asyncScheduler`, content that some operator above holds back is
   * timed by the bytes that brought it or, where there are none, when it is noticed: the limit may then come later, never earlier.
   * @defaultValue `asyncScheduler`
   */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Ends an attempt that has gone silent, and says which silence it was.
 *
 * ```text
 * source              -s-a-h-h-h-h       s = status, a = text, h = heartbeat
 * contentIdleMs: 6    ---------#         at the sixth frame after a; `phase` is `contentIdle`
 * wireIdleMs: 6       -s-a-h-h-h-h       heartbeats are bytes
 * firstContentMs: 2   -s#                a status is no content
 * ```
 * Not RxJS's `timeout`, which knows items only. Here the call or request above keeps the clocks: headers and bytes count even where
 * operators between hold back what they bring. Without one, as below a Subject, items count: stream events by their type, anything
 * else as content. An item proves that there are headers and bytes.
 *
 * Every limit is for one attempt, which is one call or request above, or the subscription where there is none; the budget of
 * all attempts is `maxElapsedMs` of `retryOnDisconnect`. So it stands above whatever asks again, next to the call. Of several calls
 * above (`merge`, `concat`) each must have its headers, its first content and its end in time; silence is broken by any of them,
 * and by the beginning and the end of each. Between one call and the next no clock runs. While pressure from a slow sink holds a call,
 * its clocks stand still (those of silence while any call is held), `attemptMs` too: that time is not the provider's.
 *
 * Emits what the source emits. Completes with the source. Errors with StreamTimeoutError, after the request was ended as a
 * disconnect: no work is cancelled, so `retryOnDisconnect` can go on with it. The error carries `received`, where text passed or the
 * call kept it. Errors with the source's error. Unsubscribing stops the source and the timer. Holds one timer, whatever the limits and
 * the items; of a text that has no call above, the newest 1,048,576 characters.
 *
 * @example
 * ```ts
 * fromCall(call).pipe(timeout({ firstContentMs: 10_000, contentIdleMs: 5_000 }), toTokens()).subscribe({
 *   next: log,
 *   error: (error) => log(error instanceof StreamTimeoutError ? error.phase : error),
 * });
 * ```
 * @param options - see {@link TimeoutOptions}; without a limit the source is given back as it is
 * @returns an operator; each subscription has its own clocks
 * @throws TypeError for options of RxJS's `timeout`; RangeError for a limit that is no delay of at least 1 ms
 * @public
 */
export function timeout<T>(options: TimeoutOptions = {}): MonoTypeOperatorFunction<T> {
  const { scheduler = asyncScheduler } = options;
  const limits = readLimits(options);
  if (Object.values(limits).every((limit) => limit === undefined)) return identity;
  return operate((source, subscriber) => {
    let upstream: Subscription | undefined;
    const clocks = new Clocks(limits, scheduler, (error) => {
      const { scope } = clocks;
      // A call behind `subscribeOn` is not known before it delivers, and must not be cancelled either.
      const of = scope.flows.size > 0 ? scope : undefined;
      leaveAs('disconnect', 'unsubscribe', () => upstream?.unsubscribe(), of);
      subscriber.error(error);
    });
    // First, so that what ends above with its subscriber is waited for no more.
    subscriber.add(() => {
      clocks.stop();
    });
    draw<T>(source, subscriber, clocks.scope, (link) => {
      upstream = link;
      return {
        next: (item) => {
          clocks.onItem(item);
          subscriber.next(item);
        },
        error: (error) => {
          clocks.stop();
          subscriber.error(error);
        },
        complete: () => {
          clocks.stop();
          subscriber.complete();
        },
        left: () => {
          clocks.detach();
        },
      };
    });
    clocks.start();
  });
}

function readLimits(options: TimeoutOptions): Limits {
  const foreign =
    typeof options === 'object' ? ['each', 'first', 'with'].find((name) => name in options) : typeof options;
  if (foreign !== undefined) {
    throw new TypeError(
      `timeout takes limits such as { contentIdleMs: 5000 }, got ${foreign}; RxJS has another timeout, for items`,
    );
  }
  const { headersMs, firstContentMs, contentIdleMs, wireIdleMs, attemptMs } = options;
  for (const [name, limit] of Object.entries({ headersMs, firstContentMs, contentIdleMs, wireIdleMs, attemptMs })) {
    if (limit !== undefined) requireDelay(1, { [name]: limit });
  }
  return {
    headers: headersMs,
    firstContent: firstContentMs,
    contentIdle: contentIdleMs,
    wireIdle: wireIdleMs,
    attempt: attemptMs,
  };
}
