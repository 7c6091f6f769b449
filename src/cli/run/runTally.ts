import type { SchedulerLike } from 'rxjs';
import { Rate } from '../../internal/node/terminal/rate.js';
import type { StreamEvent } from '../../index.js';
import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { ShownJob } from './fileJob.js';
import { isFromBefore, outcomeOf } from './jobOutcome.js';
import type { RunStart } from './runView.js';
import { Spending, type Spent } from './spending.js';

/** How a run stands. */
export interface RunSummary {
  /** `undefined` where nobody knows how many are to come. */
  readonly jobs: number | undefined;
  /** Jobs that need not be asked any more, those that an earlier run has finished included: complete or failed. */
  readonly done: number;
  /** Jobs that an earlier run has finished. */
  readonly finished: number;
  readonly complete: number;
  /** Not complete, in this run: failed, interrupted or withheld. */
  readonly failed: number;
  /** Stopped, and to be begun again. */
  readonly stopped: number;
  readonly running: number;
  /** How often a job was asked again. */
  readonly retries: number;
  readonly elapsedMs: number;
  /** `undefined` until it can be known. */
  readonly jobsPerMinute: number | undefined;
  readonly charsPerSecond: number | undefined;
  /** Until the last job has ended, at the rate of this run; `undefined` until it can be known. */
  readonly leftMs: number | undefined;
  /** What the jobs cost that have ended in this run. */
  readonly spent: Spent;
}

/** Ends that the rate of a run is measured over: it follows a limit that came or went, and does not jump about. Chosen. */
const WINDOW = 256;

/** Counts what happens in a run. */
export class RunTally {
  readonly #start: RunStart;
  readonly #scheduler: SchedulerLike;
  readonly #startedAt: number;
  /** By the file that a job writes, which no other does. */
  readonly #running: Set<string> = new Set();
  readonly #spending = new Spending();
  readonly #outcomes = { complete: 0, failed: 0, interrupted: 0, stopped: 0, withheld: 0 };
  #skipped = 0;
  #retries = 0;
  #mostAtOnce = 0;
  #isStopping = false;
  #chars = 0;
  readonly #charRate: Rate;
  /** When the last jobs ended, as a ring; what stood before the oldest of them is when it began. */
  readonly #ends: number[] = [];
  #endedAtAll = 0;

  constructor(start: RunStart, scheduler: SchedulerLike) {
    this.#start = start;
    this.#scheduler = scheduler;
    this.#startedAt = scheduler.now();
    this.#charRate = new Rate(0, this.#startedAt);
  }

  get elapsedMs(): number {
    return this.#scheduler.now() - this.#startedAt;
  }

  start({ out }: ShownJob): void {
    this.#running.add(out);
    this.#mostAtOnce = Math.max(this.#mostAtOnce, this.#running.size);
  }

  retry(): void {
    this.#retries += 1;
  }

  show(event: StreamEvent): void {
    if (event.type === 'text') this.#chars += event.text.length;
  }

  /** @returns whether it is news: a job that an earlier run has finished is none */
  end(receipt: JobReceipt<ShownJob>): boolean {
    this.#running.delete(receipt.job.out);
    if (isFromBefore(receipt)) {
      this.#skipped += 1;
      return false;
    }
    this.#outcomes[outcomeOf(receipt)] += 1;
    this.#spending.add(receipt.usage);
    this.#ends[this.#endedAtAll % (WINDOW + 1)] = this.#scheduler.now();
    this.#endedAtAll += 1;
    return true;
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** To be called now and then: the rate of characters is measured from one call to the next. */
  read(): RunSummary {
    const { jobs } = this.#start;
    const { complete, stopped, ...others } = this.#outcomes;
    const failed = others.failed + others.interrupted + others.withheld;
    const finished = Math.max(this.#start.finished, this.#skipped);
    const done = finished + complete + failed;
    const running = this.#running.size;
    const perMs = this.#jobsPerMs(jobs === undefined ? Infinity : jobs - finished);
    const waiting = jobs === undefined ? undefined : Math.max(0, jobs - done - stopped);
    const left = this.#isStopping ? running : waiting;
    return {
      jobs,
      done,
      finished,
      complete,
      failed,
      stopped,
      running,
      retries: this.#retries,
      elapsedMs: this.elapsedMs,
      jobsPerMinute: perMs === undefined ? undefined : perMs * 60_000,
      charsPerSecond: this.#chars === 0 ? undefined : this.#charRate.read(this.#chars, this.#scheduler.now()),
      leftMs: left === undefined || perMs === undefined || perMs === 0 ? undefined : left / perMs,
      spent: this.#spending.read(),
    };
  }

  /**
   * The rate of the last ends, up to now: in a stall it falls. Not known before as many have ended as run at once, or a tenth of all:
   * the first to end are the short ones.
   */
  #jobsPerMs(todo: number): number | undefined {
    const ended = this.#endedAtAll;
    if (ended < Math.max(2, Math.min(this.#mostAtOnce, Math.ceil(todo / 10)))) return undefined;
    const [count, since] =
      ended <= WINDOW ? [ended, this.#startedAt] : [WINDOW, this.#ends[ended % (WINDOW + 1)] ?? this.#startedAt];
    const elapsed = this.#scheduler.now() - since;
    return elapsed > 0 ? count / elapsed : undefined;
  }
}
