import {
  asyncScheduler,
  type Observable,
  type OperatorFunction,
  type SchedulerLike,
  type Subscriber,
  type Subscription,
} from 'rxjs';
import { isRetryable, StoreError } from '../errors.js';
import { type Ending, Evidence, type Verdict } from '../internal/evidence.js';
import { leaveAs, thisPlace, type Verb } from '../internal/flow.js';
import { draw, operate } from '../internal/operate.js';
import { Rejoining } from '../internal/rejoining.js';
import { requireAtLeast, requireDelay, requireOneOf } from '../internal/require.js';
import { tapWork } from '../internal/tapWork.js';
import { addFailure, tellEnding } from '../internal/tellEnding.js';
import { entryOf, placeIn, receiptIn } from '../protocol/storedDialect.js';
import { requireStreamId } from '../internal/streamId.js';
import type { StoredEntry, StreamLease, StreamStore, WriteReply } from '../protocol/streamStore.js';
import type { Receipt, StoppedBy, StreamEvent } from '../types.js';

/** How a stream is stored. @public */
export interface ToStoreOptions {
  /**
   * Goes on with the work of a writer that is gone, by the id that it has noted; subscribed to in place of the source.
   * @defaultValue the source is, and where its answer is another one, readers are told a `restart`
   */
  readonly attach?: ((workId: string) => Observable<StreamEvent>) | undefined;
  /**
   * How long the store keeps the stream for this writer when it hears nothing of it; renewed three times in that time.
   * @defaultValue 15,000 (chosen: a garbage collection or a reconnect fits in, and readers of a dead writer wait no longer)
   */
  readonly leaseMs?: number | undefined;
  /** How long events are gathered into one entry. @defaultValue 16 (chosen: a frame of a screen) */
  readonly gatherMs?: number | undefined;
  /**
   * Stops the stream when it was read, its last reader has left, and nobody has read it again for so many milliseconds, wherever its readers
   * were: the grace in which a page reloads or a phone changes networks. From 0 to 2^31-1. A stream that nobody has read yet goes on. The
   * store knows who reads by `tail`, as `fromStore` does; a process that was killed counts as a reader for half a minute more.
   * @defaultValue `Infinity`: a reader's leaving stops nothing
   */
  readonly stopUnreadAfterMs?: number | undefined;
  /** Characters on their way to the store before the stream is paused. @defaultValue 65,536 (chosen) */
  readonly maxWaitingChars?: number | undefined;
  /**
   * What to do where the stream is closed already. `'skip'`: nothing is asked where it holds a complete answer, whose receipt is told, with
   * `skipped`; for jobs that may be begun again. @defaultValue `'error'`
   */
  readonly ifClosed?: 'error' | 'skip' | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Writes a stream into a store, from which any process can read it while it grows, and after this one is gone.
 *
 * ```text
 * source    -a-b----c|
 * gather     ---              events that come together are one entry
 * store     ---(ab)---(c|)    | = its end, with the receipt
 * result    ----------(r|)    r = receipt, when the store has it all
 * ```
 * The writer has a lease: nobody else writes meanwhile, and where it is late with a renewal and somebody has taken over, the store takes nothing of
 * it any more. Begun on a stream whose writer is gone, it takes over: with `attach` where the writer has noted its work, else with its own source.
 * What readers have of the answer is not told to them again, however it is cut into pieces; where it is another answer they
 * are told a `restart`. So the line that begins a stream is the line that takes it over, on any instance.
 *
 * Takes StreamEvents or strings. Emits one receipt and completes: when the stream is complete, or was stopped, by `stopOn` or by
 * `store.stop(id)` from anywhere (`stopped` by `notifier`), or by its readers' leaving, where `stopUnreadAfterMs` says so (`stopped` by `reader`:
 * work that this call created is cancelled, as `stopOn` does). Errors with the source's error, which readers hear too; with InterruptedError where
 * the source completed before its proven end; with StoreError: `lease-lost` at once and with nothing asked where somebody else writes the stream, or
 * later where somebody has taken over (the provider's work is left to them), `lost` where the stream is closed already, or
 * is not what it was, and `unavailable`. Each carries `receipt`. Unsubscribing stops the source, and readers are told that it was stopped; on `shutdown`
 * the stream is left for somebody else to take over.
 * A slow store pauses the stream's socket. Holds `maxWaitingChars` of events.
 *
 * @example
 * ```ts
 * const jobs = infernet();
 * fromCall(jobs.chat({ model, messages: [{ role: 'user', content: 'Hello' }] }), { onUnsubscribe: 'leave' })
 *   .pipe(toStore(store, 'answer-17', { attach: (workId) => fromCall(jobs.attach(workId)) }))
 *   .subscribe({ next: log, error: report });
 * ```
 * @param store - where to
 * @param id - the stream's name there, 1 to 256 characters without control characters
 * @param options - see {@link ToStoreOptions}
 * @returns an operator; nothing is asked before the lease is there
 * @throws TypeError for an id that is none; RangeError for a number out of its range
 * @public
 */
export function toStore(
  store: StreamStore,
  id: string,
  options: ToStoreOptions = {},
): OperatorFunction<StreamEvent | string, Receipt> {
  const {
    leaseMs = 15_000,
    gatherMs = 16,
    stopUnreadAfterMs = Infinity,
    maxWaitingChars = 65_536,
    ifClosed = 'error',
  } = options;
  requireStreamId(id);
  if (stopUnreadAfterMs !== Infinity) requireDelay(0, { stopUnreadAfterMs });
  requireDelay(1, { leaseMs });
  requireDelay(0, { gatherMs });
  requireOneOf('ifClosed', ifClosed, ['error', 'skip']);
  requireAtLeast(1, { maxWaitingChars });
  return operate((source, subscriber) => {
    void new StoreSink(store, id, options, subscriber).start(source);
  });
}

class StoreSink {
  readonly #store: StreamStore;
  readonly #id: string;
  readonly #options: ToStoreOptions;
  readonly #subscriber: Subscriber<Receipt>;
  readonly #scheduler: SchedulerLike;
  readonly #evidence = new Evidence('sink');
  readonly #here = thisPlace();
  #lease: StreamLease | undefined;
  #rejoining = new Rejoining('');
  /** The last place that was told, and lines that wait. */
  #place = '';
  #lines: string[] = [];
  #waitingChars = 0;
  #chars = 0;
  #bytes = 0;
  #upstream: Subscription | undefined;
  #gathering: Subscription | undefined;
  #renewing: Subscription | undefined;
  /** It was stopped since nobody reads it. */
  #isUnread = false;
  /** When the lease is renewed, by the scheduler's clock. */
  #renewsAt = 0;
  /** What is being written. */
  #work: Promise<void> = Promise.resolve();
  #isWriting = false;
  /** What has come meanwhile is to be written, too. */
  #isDue = false;
  #ending: Ending = { kind: 'left' };
  /** The store failed. */
  #failure: { readonly error: unknown } | undefined;

  constructor(store: StreamStore, id: string, options: ToStoreOptions, subscriber: Subscriber<Receipt>) {
    this.#store = store;
    this.#id = id;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#scheduler = options.scheduler ?? asyncScheduler;
  }

  async start(source: Observable<StreamEvent | string>): Promise<void> {
    const { leaseMs = 15_000, stopUnreadAfterMs = Infinity, attach } = this.#options;
    let taken: StreamLease | 'taken' | 'closed';
    try {
      const watched = stopUnreadAfterMs === Infinity ? {} : { watchesReaders: true };
      taken = await this.#store.lease(this.#id, { ttlMs: leaseMs, ...watched });
    } catch (error) {
      this.#tell({ outcome: 'failed', error });
      return;
    }
    if (typeof taken === 'string') {
      await this.#tellTaken(taken);
      return;
    }
    if (this.#subscriber.closed) {
      await taken.release().catch(() => undefined); // its time will be over by itself
      return;
    }
    this.#lease = taken;
    const { last, note } = taken;
    if (last !== undefined) this.#rejoining = new Rejoining(placeIn(last.data));
    this.#renewIn(this.#renewalMs);
    this.#connect((note === undefined ? undefined : attach?.(note)) ?? source);
  }

  async #tellTaken(why: 'taken' | 'closed'): Promise<void> {
    let verdict: Verdict = { outcome: 'failed', error: refused(this.#id, why) };
    try {
      const stored = why === 'closed' && this.#options.ifClosed === 'skip' ? await this.#stored() : undefined;
      if (stored !== undefined) {
        const receipt: Receipt = { ...stored, skipped: true };
        tellEnding(this.#evidence, this.#subscriber, { outcome: 'complete' }, receipt);
        return;
      }
    } catch (error) {
      verdict = { outcome: 'failed', error };
    }
    this.#tell(verdict);
  }

  /** The receipt of the stream, where it is complete. */
  async #stored(): Promise<Receipt | undefined> {
    let last: StoredEntry | undefined;
    for (let state = 'open'; state === 'open';) {
      const page = await this.#store.read(this.#id, last?.position);
      last = page.entries.at(-1) ?? last;
      state = page.entries.length === 0 && page.state === 'open' ? 'over' : page.state;
    }
    return last === undefined ? undefined : receiptIn(last.data);
  }

  #connect(source: Observable<StreamEvent | string>): void {
    const { scope } = this.#evidence;
    const told = source.pipe(
      tapWork((workId) => {
        void this.#hearing(this.#lease?.renew(workId));
      }),
    );
    this.#here(() => {
      draw<StreamEvent | string>(told, this.#subscriber, scope, (upstream) => {
        this.#upstream = upstream;
        return {
          next: (item) => {
            this.#take(item);
            if (this.#waitingChars >= (this.#options.maxWaitingChars ?? 65_536)) scope.pause();
          },
          error: (error) => {
            this.#evidence.currentFlow();
            this.#ending = { kind: 'error', error };
          },
          complete: () => {
            this.#evidence.currentFlow();
            this.#ending = { kind: 'complete' };
          },
          left: () => {
            scope.release();
            const judged = this.#evidence.judge(this.#ending);
            const isUnread = this.#isUnread && judged.outcome === 'stopped';
            void this.#finish(isUnread ? { ...judged, by: 'reader' } : judged);
          },
        };
      });
    });
  }

  #take(item: StreamEvent | string): void {
    this.#evidence.note(item);
    if (item === '') return;
    const event: StreamEvent = typeof item === 'string' ? { type: 'text', text: item, index: 0, name: 'output' } : item;
    for (const told of this.#rejoining.take(event)) this.#write(told);
  }

  #write(event: StreamEvent): void {
    const line = JSON.stringify(event);
    this.#place = this.#rejoining.idOf(event) ?? this.#place;
    this.#lines.push(line);
    this.#waitingChars += line.length;
    if (event.type === 'text') this.#chars += event.text.length;
    else if (event.type === 'restart') this.#chars = 0;
    this.#gathering ??= this.#scheduler.schedule(() => {
      this.#gathering = undefined;
      this.#flush();
    }, this.#options.gatherMs ?? 16);
  }

  #flush(): void {
    this.#isDue = true;
    if (!this.#isWriting) this.#work = this.#writeAll();
  }

  /** One write at a time: what comes meanwhile goes with the next one, when that has been gathered for long enough. */
  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#isDue && this.#lines.length > 0 && this.#failure === undefined) {
      this.#isDue = false;
      const entry = entryOf(this.#place, this.#lines);
      this.#lines = [];
      this.#waitingChars = 0;
      await this.#hearing(this.#lease?.append([entry]));
      this.#bytes += new TextEncoder().encode(entry).length;
      this.#evidence.scope.release();
    }
    this.#isWriting = false;
  }

  /** Hears what the store says to a write: that all is well, that the stream is to be stopped, or that it fails. */
  async #hearing(writing: Promise<WriteReply> | undefined): Promise<void> {
    try {
      const reply = await writing;
      if (reply?.isStopAsked === true) this.#leave('stop', 'notifier');
      else if (reply?.unreadMs !== undefined) this.#hearUnread(reply.unreadMs);
    } catch (error) {
      if (this.#failure !== undefined) return;
      this.#failure = { error };
      this.#ending = { kind: 'error', error };
      // The work is somebody else's to go on with.
      this.#leave('disconnect', 'unsubscribe');
    }
  }

  /** Stops where nobody has read the stream for long enough; else looks again when that may be. */
  #hearUnread(unreadMs: number): void {
    const restMs = (this.#options.stopUnreadAfterMs ?? Infinity) - unreadMs;
    if (restMs <= 0) {
      this.#isUnread = true;
      // It was asked for: what goes on without its reader stops for this one, as it does for `stopOn`.
      this.#leave('stop', 'notifier');
    } else if (this.#renewing?.closed === false && this.#scheduler.now() + restMs < this.#renewsAt) {
      this.#renewing.unsubscribe();
      this.#renewIn(restMs);
    }
  }

  #leave(verb: Verb, by: StoppedBy): void {
    leaveAs(verb, by, () => this.#upstream?.unsubscribe());
  }

  get #renewalMs(): number {
    return Math.ceil((this.#options.leaseMs ?? 15_000) / 3);
  }

  #renewIn(delayMs: number): void {
    this.#renewsAt = this.#scheduler.now() + delayMs;
    this.#renewing = this.#scheduler.schedule(() => {
      if (!this.#isWriting) void this.#hearing(this.#lease?.renew());
      this.#renewIn(this.#renewalMs);
    }, delayMs);
  }

  /** Writes what is left, and how it ended; then tells. */
  async #finish(judged: Verdict): Promise<void> {
    let verdict = judged;
    this.#gathering?.unsubscribe();
    if (judged.outcome === 'complete') for (const event of this.#rejoining.end()) this.#write(event);
    this.#gathering?.unsubscribe();
    this.#flush();
    await this.#work;
    this.#renewing?.unsubscribe();
    if (this.#failure === undefined) {
      try {
        // What goes on with this process's successor is not over.
        if (judged.by === 'shutdown') await this.#lease?.release();
        else await this.#lease?.close(entryOf(this.#rejoining.endId(), [JSON.stringify(this.#endOf(judged))]));
      } catch (error) {
        verdict = addFailure(judged, { outcome: 'failed', error });
      }
    } else if (!('error' in judged)) verdict = { outcome: 'failed', error: this.#failure.error };
    this.#tell(verdict);
  }

  #endOf(verdict: Verdict): object {
    const { outcome, error } = verdict;
    if (outcome === 'complete' || outcome === 'stopped') {
      return { type: 'end', outcome, receipt: this.#receipt(verdict) };
    }
    const { message, code } =
      error instanceof Error ? (error as Error & { code?: string }) : { message: String(error) };
    return { type: 'error', code: code ?? 'ERR_UNKNOWN', message, retryable: isRetryable(error) };
  }

  #receipt(verdict: Verdict): Receipt {
    return this.#evidence.receipt(verdict, { where: `store:${this.#id}`, chars: this.#chars, bytes: this.#bytes });
  }

  #tell(verdict: Verdict): void {
    tellEnding(this.#evidence, this.#subscriber, verdict, this.#receipt(verdict));
  }
}

function refused(id: string, why: 'taken' | 'closed'): StoreError {
  const context = { stream: id };
  const name = JSON.stringify(id);
  return why === 'taken'
    ? new StoreError('lease-lost', `The stored stream ${name} is being written by somebody else`, { context })
    : new StoreError('lost', `The stored stream ${name} is closed already`, { context });
}
