import { asyncScheduler, type MonoTypeOperatorFunction, type SchedulerLike } from 'rxjs';
import { Gatekeeper, type GateLimits, type GateState } from '../internal/gatekeeper.js';
import { operate } from '../internal/operate.js';
import { requireAtLeast, requireDelay, requireInteger, requireOneOf } from '../internal/require.js';

export type { GateState };

/** How the number of a key's streams follows what its server takes. @public */
export interface GateAdaptOptions {
  /** How many may run before anything is known; a whole number from `min` to the smaller of `concurrency` and `perKey`. @defaultValue that smaller one */
  readonly initial?: number | undefined;
  /** How many may run at least, whatever is refused; a whole number of at least 1. @defaultValue 1 */
  readonly min?: number | undefined;
}

/** How much a gate lets through. @public */
export interface CreateGateOptions {
  /** Streams that run at the same time, over all keys; at least 1. @defaultValue `Infinity` */
  readonly concurrency?: number | undefined;
  /** Streams of one key that run at the same time; at least 1. @defaultValue `Infinity` */
  readonly perKey?: number | undefined;
  /** Streams that wait, over all keys; one more fails with LimitError. @defaultValue 100,000 (chosen) */
  readonly maxWaiting?: number | undefined;
  /**
   * How long a key is closed by a refusal that does not say; doubled with each such refusal in a row, up to `maxPauseMs`. Requests
   * that were on their way together count as one; where the gate adapts, those that lower its limit do not double. @defaultValue 1,000 (chosen)
   */
  readonly pauseMs?: number | undefined;
  /**
   * The longest time for which a key is closed, whatever the server asks for.
   * @defaultValue 60,000 (rate limits are counted by the minute)
   */
  readonly maxPauseMs?: number | undefined;
  /**
   * What rate limit headers say of the budget that is left. `'obey'`: no more streams begin than it is good for, and at none left the
   * key is closed until the server has more. `'ignore'`: where a server's numbers are wrong. @defaultValue `'obey'`
   */
  readonly budgets?: 'obey' | 'ignore' | undefined;
  /**
   * Whether a key finds out by itself how many streams its server takes at the same time. With a refusal its limit becomes half of
   * what ran, requests that were on their way together count as one; and it grows by one when as many streams as it lets run have
   * completed while it was full. What runs is not cut. @defaultValue `false`: `perKey` and `concurrency` alone
   */
  readonly adapt?: boolean | GateAdaptOptions | undefined;
  /**
   * Observes a key: when it is closed, for longer or for less long than before, when it opens and streams wait for that, and when its
   * limit changes. It may start and leave streams. What it throws is reported as RxJS reports errors that nobody handles.
   */
  readonly onChange?: ((key: string, state: GateState) => void) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** Lets streams through as there is room; see {@link createGate}. @public */
export interface Gate {
  /**
   * @param key - what is limited together, such as a provider, a model or an account; without one the streams share a key `''`
   * @returns an operator that subscribes its source when there is room
   * @throws TypeError for a key that is no string
   */
  <T>(key?: string): MonoTypeOperatorFunction<T>;
  /** How a key stands now; one that is not in use is open and empty. */
  state(key?: string): GateState;
}

/**
 * Makes one gate for streams that are started in different places, such as the request handlers of a server: so many run at the
 * same time, the others wait for their turn, and a key that is refused with 429 is left alone until it opens.
 *
 * ```text
 * perKey 1
 * a, subscribed at 0    a-a-(a|)
 * b, subscribed at 1    -       b-b-(b|)      begins when a has ended
 *
 * a, refused at 2       --#                   429, `Retry-After` of 5
 * b, subscribed at 3    ---     b-b-(b|)      begins when the key opens, at 7
 * ```
 * A key's streams begin in the order of their subscription; keys take turns, and one that is closed or full holds no other up.
 * Where there is room a stream begins at once. What runs on a key that is closed is not cut.
 *
 * A key is closed by
 *
 * - a refusal: HTTP 429 or 529 for `retryAfterMs`, else for `pauseMs`; 503 where it says for how long; and what providers say inside a
 *   stream, such as `overloaded_error` (`insufficient_quota` is none: no waiting helps). The first item of a later stream ends the row
 *   of refusals.
 * - an answer whose headers say that nothing is left (`x-ratelimit-remaining: 0` and its kin), until the reset that they name. As long
 *   as something is left, no more streams begin than that; those that were sent since and have no answer yet are taken off. Tokens
 *   that are left are counted in streams, by what the last ones used. When the time is over the server is taken to have its whole
 *   limit again, until the next answers tell.
 * - a provider's warning about its load at the end of an answer (`provider-warning`, as the gateway sends them), for `pauseMs` or for
 *   what it says in `retry_after`.
 *
 * No closure is longer than `maxPauseMs`. With `adapt` refusals and such warnings also halve how many run at the same time.
 *
 * Put the gate next to the call, above `retryOnDisconnect`: then each attempt waits for its turn. An attempt keeps the place of the
 * stream's first subscription, before those that came later; after three of them the stream goes behind, so that one that is always
 * refused holds nobody up. So nobody is overtaken for ever. A `timeout` above the gate counts from the request, one below it the wait
 * too. Give each call its own `retryOnDisconnect`: one below several calls asks none of them again before all have come through;
 * these take no places until then, and then may be more than the limits by as many.
 *
 * Emits what the source emits. Completes with the source. Errors with the source's error, a refusal too; with LimitError where
 * `maxWaiting` wait already. Unsubscribing stops the source, or leaves the queue: then nothing was sent. Any ending gives its
 * place to the next. Holds those that wait, one timer for each closed key that is waited for, and no key that is out of use; a row
 * of refusals, a lowered limit and a budget are remembered for at most `maxPauseMs` more.
 *
 * @example
 * ```ts
 * const gate = createGate({ concurrency: 20, perKey: 5 });
 *
 * fromCall(call).pipe(gate('openai'), retryOnDisconnect(), toTokens()).subscribe(log);
 * ```
 *
 * @example As many at the same time as the server takes
 * ```ts
 * const gate = createGate({ concurrency: 100, adapt: true, onChange: (key, { limit, closedForMs }) => log(key, limit, closedForMs) });
 *
 * fromCall(call).pipe(gate('openai'), retryOnDisconnect({ refusals: Infinity }), toTokens()).subscribe(log);
 * ```
 * @param options - see {@link CreateGateOptions}
 * @returns the gate; nothing is scheduled before a stream waits for a closed key
 * @throws RangeError for an option out of its range, TypeError for an unknown word
 * @see {@link https://www.rfc-editor.org/rfc/rfc6585#section-4 | RFC 6585, 429 Too Many Requests}
 * @see {@link https://www.rfc-editor.org/rfc/rfc5681#section-3.1 | RFC 5681, 3.1}, whose additive increase and multiplicative decrease
 *   `adapt` is
 * @public
 */
export function createGate(options: CreateGateOptions = {}): Gate {
  const { concurrency = Infinity, perKey = Infinity, maxWaiting = 100_000 } = options;
  const { pauseMs = 1_000, maxPauseMs = 60_000, budgets = 'obey', onChange, scheduler = asyncScheduler } = options;
  requireAtLeast(1, { concurrency, perKey });
  requireAtLeast(0, { maxWaiting });
  requireDelay(0, { pauseMs, maxPauseMs });
  requireOneOf('budgets', budgets, ['obey', 'ignore']);
  const adapt = readAdapt(options.adapt, Math.min(concurrency, perKey));
  const limits = { concurrency, perKey, maxWaiting, pauseMs, maxPauseMs, budgets, adapt, onChange, scheduler };
  const keeper = new Gatekeeper(limits);
  const gate = <T>(key = ''): MonoTypeOperatorFunction<T> => {
    requireKey(key);
    return operate((source, subscriber) => {
      keeper.enter(key, source, subscriber);
    });
  };
  return Object.assign(gate, { state: (key = ''): GateState => keeper.state(key) });
}

function requireKey(key: unknown): void {
  if (typeof key !== 'string') throw new TypeError(`A gate's key must be a string, got ${typeof key}`);
}

/** @param ceiling - the most that may run anyway */
function readAdapt(adapt: boolean | GateAdaptOptions = false, ceiling: number): GateLimits['adapt'] {
  if (adapt === false) return undefined;
  const { min = 1, initial = ceiling } = adapt === true ? {} : adapt;
  requireInteger(1, { 'adapt.min': min });
  if (initial !== ceiling) requireInteger(min, { 'adapt.initial': initial });
  if (initial > ceiling || min > ceiling) {
    throw new RangeError(
      `adapt.initial and adapt.min must be at most ${String(ceiling)}, the smaller of concurrency and perKey`,
    );
  }
  return { initial, min };
}
