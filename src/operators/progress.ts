import { asyncScheduler, type OperatorFunction, type SchedulerLike } from 'rxjs';
import { link, operate } from '../internal/operate.js';
import { requireDelay } from '../internal/require.js';
import type { ProgressEvent, StreamEvent } from '../types.js';

/** How `progress` estimates. @public */
export interface ProgressOptions {
  /**
   * How fast the rate forgets: what happened so long ago counts half. At least 1 ms.
   * @defaultValue 10,000 (chosen: steady under uneven steps, and a change of pace shows within half a minute)
   */
  readonly halfLifeMs?: number | undefined;
  /** The clock of all times. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** How far a task is, and how fast. No member is ever negative, infinite or NaN. @public */
export interface TaskProgress {
  /** Never falls, but after a restart. */
  readonly current: number;
  /** The last one told; absent where none was. */
  readonly total?: number;
  /** The part that is done, 0 to 1; absent where no total is known. Never falls, but after a restart: a growing total holds it. */
  readonly fraction?: number;
  /** Units of `current` a second, weighted towards now; absent before the second step. */
  readonly ratePerSecond?: number;
  /** The estimated time left at that rate; absent where it cannot be told. */
  readonly remainingMs?: number;
  /** The last one told. */
  readonly message?: string;
  /** Since the subscription. */
  readonly elapsedMs: number;
}

/**
 * Tells how far a task is, how fast it goes and how long it may still take.
 *
 * ```text
 * source    -s-p---p---q-p-c-(f|)  p = progress, q = a step back, s, c = status running, completed, f = finish
 * result    ---a---b---b-d-e-|     e.fraction = 1
 * ```
 * Emits for each progress event, and once more when the task is completed (a terminal status `completed`, or the finish event):
 * then `current` is the total and `fraction` is 1. A task that tells no progress counts as one unit and emits that last one only.
 * A step back repeats the furthest point. A restart begins at zero, and says so where anything was told before. Values that
 * are no progress (negative, infinite) are taken for 0 and for no total. A task that fails or is cancelled is not completed.
 *
 * The rate is the mean over time since the first progress event, in which what happened `halfLifeMs` ago counts half; waiting in
 * a queue before that event does not count. `remainingMs` is what is left to the total, at that rate.
 * Completes and errors as the source does. Unsubscribing stops the source. Holds a few numbers.
 *
 * @example A line that tells how long it takes
 * ```ts
 * fromCall(call).pipe(progress()).subscribe(({ fraction = 0, remainingMs }) => {
 *   log(`${(100 * fraction).toFixed()} %`, remainingMs === undefined ? '' : `${(remainingMs / 1000).toFixed()} s left`);
 * });
 * ```
 * @param options - see {@link ProgressOptions}
 * @returns an operator; it has no timer
 * @throws RangeError for a half-life below 1 ms
 * @public
 */
export function progress(options: ProgressOptions = {}): OperatorFunction<StreamEvent, TaskProgress> {
  const { halfLifeMs = 10_000, scheduler = asyncScheduler } = options;
  requireDelay(1, { halfLifeMs });
  return operate((source, subscriber) => {
    const startedAt = scheduler.now();
    let meter = new Meter(halfLifeMs);
    source.subscribe(
      link<StreamEvent>(subscriber, {
        next: (event) => {
          const now = scheduler.now();
          if (event.type === 'progress') {
            if (meter.isDone) return;
            meter.move(event, now);
          } else if (event.type === 'restart') {
            const { isTold } = meter;
            meter = new Meter(halfLifeMs);
            if (!isTold) return;
          } else if (isCompletion(event)) {
            if (meter.isDone) return;
            meter.finish();
          } else return;
          subscriber.next(meter.read(Math.max(0, now - startedAt)));
        },
      }),
    );
  });
}

function isCompletion(event: StreamEvent): boolean {
  return event.type === 'finish' || (event.type === 'status' && event.terminal && event.status === 'completed');
}

/** What is known of one attempt. */
class Meter {
  readonly #halfLifeMs: number;
  #current = 0;
  #total: number | undefined;
  #fraction: number | undefined;
  #message: string | undefined;
  #isDone = false;
  #isTold = false;
  /** Where and when the rate was last taken. */
  #mark: { readonly current: number; readonly at: number } | undefined;
  #ratePerMs: number | undefined;
  /** How much of the past the rate stands for, 0 to 1: the first steps count in full. */
  #weight = 0;

  constructor(halfLifeMs: number) {
    this.#halfLifeMs = halfLifeMs;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  get isTold(): boolean {
    return this.#isTold;
  }

  move({ current, total, message }: ProgressEvent, now: number): void {
    this.#isTold = true;
    if (isMeasure(current)) this.#current = Math.max(this.#current, current);
    if (isMeasure(total) && total > 0) this.#total = total;
    if (message !== undefined) this.#message = message;
    if (this.#total !== undefined) {
      this.#fraction = Math.max(this.#fraction ?? 0, Math.min(1, this.#current / this.#total));
    }
    this.#measure(now);
  }

  finish(): void {
    this.#isDone = true;
    if (!this.#isTold) this.#current = 1;
    this.#isTold = true;
    this.#total ??= this.#current > 0 ? this.#current : 1;
    this.#current = Math.max(this.#current, this.#total);
    this.#fraction = 1;
  }

  read(elapsedMs: number): TaskProgress {
    const ratePerSecond = this.#ratePerMs === undefined ? undefined : Math.min(MAX, this.#ratePerMs * 1000);
    const remainingMs = this.#remainingMs();
    return {
      current: this.#current,
      ...(this.#total !== undefined && { total: this.#total }),
      ...(this.#fraction !== undefined && { fraction: this.#fraction }),
      ...(ratePerSecond !== undefined && { ratePerSecond }),
      ...(remainingMs !== undefined && { remainingMs }),
      ...(this.#message !== undefined && { message: this.#message }),
      elapsedMs,
    };
  }

  /** Takes the rate of the time since the last mark into the mean. Steps of one instant count together with what follows. */
  #measure(now: number): void {
    this.#mark ??= { current: this.#current, at: now };
    const elapsed = now - this.#mark.at;
    const gain = -Math.expm1((-elapsed * Math.LN2) / this.#halfLifeMs); // 1 - 2 ** (-elapsed / halfLife), exact when small
    if (!(gain > 0)) return;
    const rate = Math.min(MAX, (this.#current - this.#mark.current) / elapsed);
    const past = this.#weight * (1 - gain);
    this.#weight = past + gain;
    const share = past / this.#weight;
    this.#ratePerMs = Math.min(MAX, (this.#ratePerMs ?? 0) * share + rate * (1 - share));
    this.#mark = { current: this.#current, at: now };
  }

  #remainingMs(): number | undefined {
    if (this.#isDone) return 0;
    if (this.#total === undefined) return undefined;
    if (this.#current >= this.#total) return 0;
    if (this.#ratePerMs === undefined) return undefined;
    const remaining = (this.#total - this.#current) / this.#ratePerMs;
    return Number.isFinite(remaining) ? remaining : undefined;
  }
}

const MAX = Number.MAX_VALUE;

function isMeasure(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value) && value >= 0;
}
