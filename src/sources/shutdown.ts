import { asyncScheduler, type SchedulerLike, type Subscription } from 'rxjs';
import { onAbort } from '../internal/onAbort.js';
import { requireDelay } from '../internal/require.js';
import { type Attendant, running, type Running, stoppedByShutdown } from '../internal/running.js';
import type { Receipt } from '../types.js';

/** How long `shutdown` waits, and for what. @public */
export interface ShutdownOptions {
  /**
   * How long what runs may go on before it is stopped; 0 stops it at once. Of several calls the earliest deadline counts.
   * @defaultValue 15,000: with `stopMs` it stays inside the 30 s that Kubernetes gives after SIGTERM; `docker stop` gives 10 s
   */
  readonly graceMs?: number | undefined;
  /**
   * How long what was stopped may take to end: cancellations to be answered (each is bounded by its call's `cancelTimeoutMs`
   * besides), sinks to write what they hold.
   * @defaultValue 10,000: twice the default of `cancelTimeoutMs`, which is what a request that had not been answered needs
   */
  readonly stopMs?: number | undefined;
  /** Cuts the grace short. */
  readonly signal?: AbortSignal | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** What became of the streams of a process that was shut down. @public */
export interface ShutdownReport {
  /** Of every sink that was open when `shutdown` was called or was opened by a stream that ran then, in the order of their endings. */
  readonly receipts: readonly Receipt[];
  /** Streams that ended by themselves, well or not. */
  readonly finished: number;
  /** Streams that were stopped when their time was up. */
  readonly stopped: number;
  /** Streams that were not begun. */
  readonly refused: number;
  /** What had not ended when `stopMs` was over: a sink that still wrote, a cancellation without an answer. */
  readonly unfinished: number;
  readonly elapsedMs: number;
}

/**
 * Ends the streams of this process for good, as a service does at SIGTERM: takes no more, lets what runs finish, then stops it.
 *
 * ```text
 * a          --x--x--(x|)
 * b          --x--x--x--x--x--x
 * shutdown       ^               called here
 * graceMs        ------!         b is stopped: socket closed, work cancelled, AbortError
 * new        ----      #         AbortError from the call on; nothing is asked
 * result               ----r     when the last sink has written and the last cancellation is answered
 * ```
 * From the call on a new `fromCall`, `fromHTTP` or `fromSSE` errors at once with AbortError (`context.by` is `'shutdown'`), which no
 * `retryOnDisconnect` or `fallbackTo` takes up; a server answers 503 to it. What ran before goes on with all that it needs to come to its
 * end: retries, reconnects, rounds of tools, the rest of a `concat` that a sink reads, its turn at a gate. Where one pipe is fed with
 * many jobs (`mergeMap`), end the feed first, or catch the refusal of each job: an error of one job ends `mergeMap`, and the others
 * with it. At the deadline what is left is stopped, which cancels work where the API can, and errors with AbortError; its receipts
 * say `stopped` by `shutdown`.
 *
 * Resolves as soon as everything has ended, at the latest `graceMs` and `stopMs` after the call; never rejects, whatever becomes of a
 * stream. A stream is what a sink reads or, where there is none, a call or request with its retries. It is not undone: a process that shuts down
 * takes nothing again (tests have `reopen` of `millrace/testing`). Called again it gives the same promise, and can bring the
 * deadline forward, not put it off: a second SIGINT may call `shutdown({ graceMs: 0 })`. It concerns the whole process, other copies of
 * this package included. Holds the receipts.
 *
 * @example
 * ```ts
 * process.once('SIGTERM', () => {
 *   void shutdown({ graceMs: 20_000 }).then(({ receipts, stopped }) => {
 *     log(`${String(stopped)} streams were cut short`, receipts);
 *     process.exit();
 *   });
 * });
 * ```
 * @param options - see {@link ShutdownOptions}
 * @returns a promise of what became of the streams; the same one each time
 * @throws RangeError for a limit that is no delay
 * @public
 */
export function shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
  const { graceMs = 15_000, stopMs = 10_000, signal, scheduler = asyncScheduler } = options;
  requireDelay(0, { graceMs, stopMs });
  // Another copy of the package may have begun it; it keeps what this one would.
  const begun = (running.shutdown ??= new Shutdown(stopMs, scheduler)) as Shutdown;
  begun.within(graceMs, signal);
  return begun.report;
}

class Shutdown implements Attendant {
  readonly report: Promise<ShutdownReport>;
  readonly #stopMs: number;
  readonly #scheduler: SchedulerLike;
  readonly #startedAt: number;
  readonly #receipts: Receipt[] = [];
  /** Streams that were told to stop. */
  readonly #told: WeakSet<Running> = new WeakSet();
  #finished = 0;
  #stopped = 0;
  #refused = 0;
  #deadline = Infinity;
  #timer: Subscription | undefined;
  #stopListening: (() => void)[] = [];
  #isOver = false;
  #isLooking = false;
  #resolve: (report: ShutdownReport) => void = () => undefined;

  constructor(stopMs: number, scheduler: SchedulerLike) {
    this.#stopMs = stopMs;
    this.#scheduler = scheduler;
    this.#startedAt = scheduler.now();
    this.report = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    running.phase = 'closing';
    running.attendant = this;
    this.#look();
  }

  /** Stops what runs after so long, or when the signal says so; an earlier deadline stays. */
  within(graceMs: number, signal: AbortSignal | undefined): void {
    if (running.phase === 'closed') return;
    const deadline = this.#scheduler.now() + graceMs;
    if (graceMs === 0 || signal?.aborted === true) {
      this.#stop();
      return;
    }
    if (signal !== undefined) {
      this.#stopListening.push(
        onAbort(signal, () => {
          this.#stop();
        }),
      );
    }
    if (deadline >= this.#deadline) return;
    this.#deadline = deadline;
    this.#schedule(graceMs, () => {
      this.#stop();
    });
  }

  onEnd(stream: Running): void {
    if (stream.isCounted()) {
      if (this.#told.has(stream)) this.#stopped += 1;
      else this.#finished += 1;
    }
    this.#look();
  }

  onReceipt(receipt: Receipt): void {
    this.#receipts.push(receipt);
    if (receipt.outcome === 'stopped' && receipt.by === 'shutdown') this.#stopped += 1;
    else this.#finished += 1;
    this.#look();
  }

  onCancelled(): void {
    this.#look();
  }

  onRefused(): void {
    this.#refused += 1;
  }

  #stop(): void {
    if (running.phase === 'closed' || this.#isOver) return;
    running.phase = 'closed';
    this.#forgetDeadline();
    this.#schedule(this.#stopMs, () => {
      this.#end();
    });
    // A call stands before its requests, and goes with them. What has no reader to tell it of an end is last.
    const streams = [...running.streams];
    for (const [, stream] of streams) this.#told.add(stream);
    for (const [key, stream] of streams) {
      if (!running.streams.has(key)) continue;
      this.#guard(() => {
        stream.stop(stoppedByShutdown());
      });
    }
    for (const sink of [...running.sinks.values()]) {
      this.#guard(() => sink.stop?.(stoppedByShutdown()));
    }
    this.#look();
  }

  /** A callback that throws out of its stream's end keeps no other from ending; the process hears of it. */
  #guard(stop: () => void): void {
    try {
      stop();
    } catch (error) {
      this.#scheduler.schedule(() => {
        throw error;
      });
    }
  }

  #schedule(delayMs: number, run: () => void): void {
    this.#timer?.unsubscribe();
    this.#timer = this.#scheduler.schedule(run, delayMs);
  }

  /** Ends when nothing is left; after this turn, since one ending may be another's beginning. */
  #look(): void {
    if (this.#isLooking || this.#isOver) return;
    this.#isLooking = true;
    void Promise.resolve().then(() => {
      this.#isLooking = false;
      if (this.#left === 0) this.#end();
    });
  }

  get #left(): number {
    const streams = [...running.streams.values()].filter((stream) => stream.isCounted());
    return streams.length + running.sinks.size + running.cancellations.size;
  }

  #forgetDeadline(): void {
    this.#timer?.unsubscribe();
    for (const stop of this.#stopListening) stop();
    this.#stopListening = [];
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Unless a test has taken it back.
    if (running.shutdown === this) running.phase = 'closed';
    this.#forgetDeadline();
    this.#resolve({
      receipts: this.#receipts,
      finished: this.#finished,
      stopped: this.#stopped,
      refused: this.#refused,
      unfinished: this.#left,
      elapsedMs: this.#scheduler.now() - this.#startedAt,
    });
  }
}
