import {
  asyncScheduler,
  type MonoTypeOperatorFunction,
  type Observable,
  type SchedulerLike,
  type Subscriber,
  Subscription,
} from 'rxjs';
import { type HTTPError, isMillraceError, isRetryable, NoResumePlanError, type StreamTimeoutError } from '../errors.js';
import { backoffMs, retryAfterOf } from '../internal/backoff.js';
import { type Flow, isPart, leaveAs, type Leaving, leavingNow, Scope } from '../internal/flow.js';
import { hasCode } from '../internal/hasCode.js';
import { isRefusal } from '../internal/isRefusal.js';
import { onAbort } from '../internal/onAbort.js';
import { draw, operate } from '../internal/operate.js';
import { Keeper, type OnUnresumable, type Position } from '../internal/position.js';
import { requireAtLeast, requireDelay, requireOneOf } from '../internal/require.js';
import { enterStream, leaveStream } from '../internal/running.js';
import { stoppedBy } from '../internal/stoppedBy.js';

/** An attempt that is about to be made. @public */
export interface RetryAttempt {
  /** Its number, the first one included: 2 is the first retry. */
  readonly attempt: number;
  /** Why the attempt before it ended. */
  readonly error: unknown;
  /** How long it is waited for. */
  readonly delayMs: number;
  /**
   * How it goes on. `'resume'`: where it broke, at the work that exists or after the last event. `'ask'`: the request is sent again, and
   * nothing was delivered yet. `'restart'`: it is sent again, and what was delivered is void. `'continue'`: with the text so far.
   */
  readonly how: 'resume' | 'ask' | 'restart' | 'continue';
}

/** When and how `retryOnDisconnect` asks again. @public */
export interface RetryOnDisconnectOptions {
  /** Retries in a row without progress; an attempt that brings more than any before it sets the count back. @defaultValue 3 (chosen) */
  readonly count?: number | undefined;
  /**
   * Refusals for load in a row without progress after which it is asked again, counted apart from `count`: HTTP 429 and 529, 503 with
   * `Retry-After`, and what providers say so inside a stream. Below a gate, where many streams meet several before each has had its turn,
   * it may be `Infinity`; then `maxElapsedMs` alone ends it. @defaultValue they count as any other failure
   */
  readonly refusals?: number | undefined;
  /** No retry begins later than this after the subscription. What runs is not cut. @defaultValue `Infinity` */
  readonly maxElapsedMs?: number | undefined;
  /**
   * The pause before a retry: random between 0 and `initialMs`, doubled with each failure in a row, up to `maxMs`. What a server asks for
   * (`Retry-After`, `retry:`) is waited for, and is capped by `maxMs` too.
   * @defaultValue `{ initialMs: 500, maxMs: 60_000 }` (chosen; rate limits are counted by the minute)
   */
  readonly delay?: { readonly initialMs?: number | undefined; readonly maxMs?: number | undefined } | undefined;
  /**
   * What to do when an answer that was delivered in part cannot be gone on with. `'restart'`: ask again, and say so by a `restart`
   * event before the new answer's first piece. `'continue'`: send the text so far back, where the API allows it, else as
   * `'restart'`. `'error'`: the error passes. @defaultValue `'restart'`
   */
  readonly onUnresumable?: OnUnresumable | undefined;
  /** Whether work that this call created is cancelled when no further attempt is made. @defaultValue `'cancel'` */
  readonly onGiveUp?: 'cancel' | 'leave' | undefined;
  /** Observes each retry before its pause. */
  readonly onRetry?: ((retry: RetryAttempt) => void) | undefined;
  /** Chance, from 0 to below 1. @defaultValue `Math.random` */
  readonly random?: (() => number) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Asks again after a lost connection, a timeout or a refusal for the moment, so that the reader sees every piece of the
 * answer once, or is told.
 *
 * ```text
 * attempt 1  -a--b-#                 a, b = text; the connection is lost
 * attempt 2         --c--(f|)        the work went on: only what is new comes
 * result     -a--b-----c--(f|)
 *
 * attempt 1  -a--b-#                 an API that keeps nothing
 * attempt 2         --x--y--(f|)     another answer
 * result     -a--b----(rx)-y--(f|)   r = restart: a and b are void
 * ```
 * How a call goes on is its provider's knowledge (`call.resume`): its work is opened again by its id, or the request is sent again.
 * How far it was delivered belongs to the call and not to this operator, so it may stand below `timeout`, `merge`, `concat` and
 * `share`. It retries what `isRetryable` says, and nothing else. Put it next to the call: an operator between them is
 * subscribed to anew with each attempt, and begins anew.
 *
 * Emits what the source emits; before the first piece of an answer attempts are invisible. Completes with the source. Errors with
 * the last attempt's error; with NoResumePlanError, before anything is sent, where a stream without a call is beneath. Where a call
 * is not asked again in the turn of the retry (behind a promise, `subscribeOn`, or made anew each time), a retry would repeat text
 * and be billed twice: nothing is sent, and the error passes with the remedy in its message.
 * Unsubscribing stops the source, or what its work left running while a pause is waited for. Holds positions, and what the dialects
 * need to tell a replay.
 *
 * @example
 * ```ts
 * fromCall(call).pipe(
 *   timeout({ firstContentMs: 10_000, contentIdleMs: 5_000 }),
 *   retryOnDisconnect({ count: 3, maxElapsedMs: 120_000, onRetry: ({ how, delayMs }) => log(how, delayMs) }),
 *   toFile('guide.md'),
 * ).subscribe();
 * ```
 * @param options - see {@link RetryOnDisconnectOptions}
 * @returns an operator
 * @throws TypeError or RangeError for an option out of its range
 * @see {@link https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ | Exponential backoff and jitter}
 * @public
 */
export function retryOnDisconnect<T>(options: RetryOnDisconnectOptions = {}): MonoTypeOperatorFunction<T> {
  const { count = 3, maxElapsedMs = Infinity, delay = {}, onUnresumable = 'restart', onGiveUp = 'cancel' } = options;
  const { initialMs = 500, maxMs = 60_000 } = delay;
  requireAtLeast(0, { count, maxElapsedMs, refusals: options.refusals ?? 0 });
  requireDelay(0, { 'delay.initialMs': initialMs, 'delay.maxMs': maxMs });
  requireOneOf('onUnresumable', onUnresumable, ['restart', 'continue', 'error']);
  requireOneOf('onGiveUp', onGiveUp, ['cancel', 'leave']);
  return operate((source, subscriber) => {
    new Retrying<T>(source, subscriber, options).start();
  });
}

class Retrying<T> {
  readonly #source: Observable<T>;
  readonly #subscriber: Subscriber<T>;
  readonly #options: RetryOnDisconnectOptions;
  readonly #scheduler: SchedulerLike;
  readonly #startedAt: number;
  readonly #keeper: Keeper;
  readonly #scope: Scope = new Scope(false);
  /** The flows of the last attempt that was allowed, and of one that may not be. */
  #flows: Set<Flow> = new Set();
  #nextFlows: Set<Flow> = new Set();
  #attempt = 1;
  /** In a row, without progress between them; refusals only where they are counted apart. */
  #failures = 0;
  #refusals = 0;
  #isSubscribing = false;
  /** The pause before the next attempt. */
  #pause: Subscription | undefined;
  /** Set until it is certain that an attempt may be made: how it ended by itself meanwhile. */
  #check: Check | undefined;

  constructor(source: Observable<T>, subscriber: Subscriber<T>, options: RetryOnDisconnectOptions) {
    this.#source = source;
    this.#subscriber = subscriber;
    this.#options = options;
    this.#scheduler = options.scheduler ?? asyncScheduler;
    this.#startedAt = this.#scheduler.now();
    this.#keeper = new Keeper(options.onUnresumable ?? 'restart');
    this.#scope.keeper = this.#keeper;
    this.#scope.isStream = true;
    this.#scope.onFlow = (flow): void => {
      if (flow.facts.isMarker === true) return;
      if (flow.facts.call === undefined && this.#isSubscribing) subscriber.error(noPlan());
      else (this.#check === undefined ? this.#flows : this.#nextFlows).add(flow);
    };
  }

  start(): void {
    this.#subscriber.add(() => {
      this.#leavePause();
      leaveStream(this.#scope);
    });
    if (!this.#scope.isLate) this.#enter();
    this.#subscribe();
  }

  /** `shutdown` ends it, also while no call is being asked. */
  #enter(): void {
    enterStream(this.#scope, {
      stop: (error) => {
        const received = this.#keeper.positions.flatMap((position) => position.received?.get() ?? []);
        error.received ??= received[0] ?? { text: '', chars: 0, truncated: false };
        leaveAs('stop', 'shutdown', () => {
          this.#subscriber.error(error);
        });
      },
      isCounted: () => !isPart(this.#scope.reach.filter((scope) => scope !== this.#scope)),
    });
  }

  #subscribe(): void {
    this.#isSubscribing = true;
    draw<T>(this.#source, this.#subscriber, this.#scope, (upstream) => ({
      next: (value) => {
        this.#subscriber.next(value);
      },
      error: (error) => {
        this.#scope.current();
        // Calls beside the one that failed are left by this operator, not by their reader.
        const leave = (): void => {
          upstream.unsubscribe();
        };
        leaveAs('disconnect', 'unsubscribe', leave, this.#scope);
        if (this.#check !== undefined && !isRetryable(error)) this.#check.failure = { error };
        this.#end(() => {
          this.#onError(error);
        });
      },
      complete: () => {
        this.#end(() => {
          this.#subscriber.complete();
        });
      },
    }));
    this.#isSubscribing = false;
  }

  #end(end: () => void): void {
    if (this.#check === undefined) end();
    else this.#check.end = end;
  }

  #onError(error: unknown): void {
    if (!isRetryable(error)) {
      this.#giveUp(error);
      return;
    }
    const calls = [...this.#flows].flatMap(({ facts: { call }, position }) =>
      call === undefined ? [] : { call, position },
    );
    if (calls.length === 0 || calls.length < this.#flows.size) {
      this.#giveUp(withRemedy(error, 'no call is beneath that says how it goes on'));
      return;
    }
    for (const { call, position } of calls) this.#keeper.keep(call, position);
    const positions = this.#keeper.positions.filter(({ isComplete }) => !isComplete);
    const hasProgressed = positions.filter((position) => position.hasProgressed()).length > 0;
    const inARow = this.#count(error, hasProgressed);
    const how = howToGoOn(positions);
    const delayMs = this.#delayMs(inARow, error, positions);
    if (how === undefined || !this.#mayRetry(delayMs)) {
      this.#giveUp(error);
      return;
    }
    this.#keeper.because = reasonOf(error);
    this.#attempt += 1;
    this.#options.onRetry?.({ attempt: this.#attempt, error, delayMs, how });
    if (this.#subscriber.closed) return;
    this.#wait(delayMs, positions, () => {
      this.#askAgain(error);
    });
  }

  /** Adds a failure to those of its kind. @returns how many there were in a row */
  #count(error: unknown, hasProgressed: boolean): number {
    if (hasProgressed) {
      this.#failures = 0;
      this.#refusals = 0;
    }
    if (this.#options.refusals === undefined || !isRefusal(error)) return (this.#failures += 1);
    return (this.#refusals += 1);
  }

  /** Waits, unless a call's signal stops it meanwhile. */
  #wait(delayMs: number, positions: readonly Position[], run: () => void): void {
    const pause = new Subscription();
    this.#pause = pause;
    const end = (then: () => void) => (): void => {
      this.#pause = undefined;
      pause.unsubscribe();
      then();
    };
    for (const { signal, received } of positions) {
      if (signal === undefined) continue;
      const stop = end(() => {
        this.#stopWork({ verb: 'stop', by: 'signal' });
        const error = stoppedBy(signal);
        error.received = received?.get() ?? { text: '', chars: 0, truncated: false };
        this.#subscriber.error(error);
      });
      if (signal.aborted) {
        stop();
        return;
      }
      pause.add(onAbort(signal, stop));
    }
    pause.add(this.#scheduler.schedule(end(run), delayMs));
  }

  #delayMs(inARow: number, error: unknown, positions: readonly Position[]): number {
    const { delay: { initialMs = 500, maxMs = 60_000 } = {}, random = Math.random } = this.#options;
    const asked = [retryAfterOf(error) ?? 0, ...positions.map(({ retryMs = 0 }) => retryMs)];
    return backoffMs(inARow, { initialMs, maxMs, random }, Math.max(...asked));
  }

  #mayRetry(delayMs: number): boolean {
    const { count = 3, refusals = 0, maxElapsedMs = Infinity } = this.#options;
    if (this.#failures > count || this.#refusals > refusals) return false;
    return this.#scheduler.now() - this.#startedAt + delayMs <= maxElapsedMs;
  }

  #askAgain(error: unknown): void {
    const check: Check = { end: undefined, failure: undefined };
    this.#check = check;
    this.#nextFlows = new Set();
    this.#keeper.hold();
    this.#subscribe();
    this.#keeper.whenAllSubscribed(() => {
      if (this.#subscriber.closed) return;
      this.#check = undefined;
      if (!this.#keeper.areAllBack) {
        this.#keeper.drop();
        // Something above the call, such as a gate, may have let nothing through, and says why.
        this.#giveUp(check.failure === undefined ? withRemedy(error, LATE) : check.failure.error);
        return;
      }
      for (const flow of this.#flows) flow.excused = !flow.proven;
      this.#flows = this.#nextFlows;
      this.#keeper.release();
      check.end?.();
    });
  }

  /** The reader leaves between two attempts: the work of those so far, if it runs on, is left with them. */
  #leavePause(): void {
    if (this.#pause === undefined && this.#check === undefined) return;
    this.#pause?.unsubscribe();
    const leaving = leavingNow();
    if (leaving.verb === 'stop') this.#stopWork(leaving);
  }

  #giveUp(error: unknown): void {
    // A provider that reports a failure for good has ended the work itself.
    const isOver = hasCode(error, 'ERR_PROVIDER') && !isRetryable(error);
    if (this.#options.onGiveUp !== 'leave' && !isOver) this.#stopWork({ verb: 'stop', by: 'unsubscribe' });
    this.#subscriber.error(error);
  }

  #stopWork(leaving: Leaving): void {
    for (const flow of this.#flows) {
      const { cancel, isComplete } = flow.position;
      if (isComplete || cancel === undefined) continue;
      flow.left = leaving;
      cancel();
    }
  }
}

/** An attempt that is asked again, until it is known whether all its calls are back. */
interface Check {
  /** Ends it, where it has ended meanwhile. */
  end: (() => void) | undefined;
  /** What it has failed with meanwhile, where asking again does not help. */
  failure: { readonly error: unknown } | undefined;
}

/** How the calls go on, told by the one that loses most; `undefined` where one of them may not. */
function howToGoOn(positions: readonly Position[]): RetryAttempt['how'] | undefined {
  const all = positions.map((position) => ({ going: position.going?.() ?? 'anew', content: position.content }));
  if (all.some(({ going }) => going === 'refused')) return undefined;
  if (all.some(({ going, content }) => going === 'anew' && content)) return 'restart';
  if (all.some(({ going }) => going === 'continued')) return 'continue';
  return all.some(({ going }) => going === 'on') ? 'resume' : 'ask';
}

function noPlan(): NoResumePlanError {
  return new NoResumePlanError(
    'retryOnDisconnect needs a call beneath, which says how it goes on after a break: use fromCall(call) in place of fromHTTP and decode',
  );
}

const LATE =
  'its call did not come back in the turn of the retry; make the call once, outside of the pipe, or give fromCall the function ' +
  'that makes it, fromCall(() => call), in place of a promise, subscribeOn or defer before it';

/** The error itself, so that whoever knows it finds it, with a word on why it was not retried. */
function withRemedy(error: unknown, why: string): unknown {
  if (error instanceof Error && !error.message.includes(why)) error.message += ` (not retried: ${why})`;
  return error;
}

/** Why an answer begins anew, in words that hold nothing of it. */
function reasonOf(error: unknown): string {
  if (!isMillraceError(error)) return 'it timed out';
  switch (error.code) {
    case 'ERR_STREAM_TIMEOUT':
      return `it timed out (${(error as StreamTimeoutError).phase})`;
    case 'ERR_HTTP':
      return `HTTP ${String((error as HTTPError).status)}`;
    case 'ERR_PROVIDER':
      return 'the provider reported a failure';
    default:
      return 'the connection was lost';
  }
}
