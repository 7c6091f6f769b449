import { io } from '#io';
import { Observable, type OperatorFunction, type SchedulerLike, type Subscriber, Subscription, throwError } from 'rxjs';
import { AbortError, type HTTPError, isMillraceError, isRetryable, SinkError, StoreError } from '../errors.js';
import { requirePath } from '../internal/fileName.js';
import type { ToFileOptions } from '../internal/fileSink.js';
import { FINISH_REASONS } from '../internal/finishReasons.js';
import { outside, runApart } from '../internal/flow.js';
import { hasCode } from '../internal/hasCode.js';
import { hostOfCall } from '../internal/hostOfCall.js';
import { isDiskBroken } from '../internal/isDiskBroken.js';
import { isRefusal } from '../internal/isRefusal.js';
import { feedOf, type JobFeed } from '../internal/jobFeed.js';
import { JobFiles } from '../internal/jobFiles.js';
import { type JobOutlet, type JobPlace, JobSinks } from '../internal/jobOutlet.js';
import { onAbort } from '../internal/onAbort.js';
import { operate } from '../internal/operate.js';
import { requireAtLeast, requireOneOf } from '../internal/require.js';
import { running } from '../internal/running.js';
import { tapWork } from '../internal/tapWork.js';
import { createGate, type Gate } from '../operators/createGate.js';
import { fallbackTo } from '../operators/fallbackTo.js';
import { type RetryAttempt, retryOnDisconnect, type RetryOnDisconnectOptions } from '../operators/retryOnDisconnect.js';
import { stopOn } from '../operators/stopOn.js';
import { tapReceipt } from '../operators/tapReceipt.js';
import { timeout, type TimeoutOptions } from '../operators/timeout.js';
import type { Call } from '../protocol/call.js';
import type { JobJournal, JobRecord, OpenJobJournal } from '../protocol/jobJournal.js';
import type { FinishReason, Receipt, StreamEvent } from '../types.js';
import { fileJournal } from './fileJournal.js';
import { fromCall, type FromCallOptions } from './fromCall.js';
import type { JobReceipt } from './jobReceipt.js';

/** Where a run's jobs come from. @public */
export type Jobs<Job> = Iterable<Job> | AsyncIterable<Job> | Observable<Job>;

/** How `runJobs` asks, and where it writes. @public */
export interface RunJobsOptions<Job> {
  /** The job's name, which no other has: by it the journal knows the job again. Put into it what makes it another job. */
  readonly key: (job: Job) => string;
  /** Makes the job's call. What it throws is the job's failure. */
  readonly call: (job: Job) => Call | Promise<Call>;
  /** The file for the job's answer, below `dir`; missing folders are made, and what leads out of `dir` is refused. */
  readonly file: (job: Job) => string;
  /** The folder for the files, made where it is not there. The journal is in `.millrace` in it. */
  readonly dir: string;
  /** Jobs that are under way at once, those included that wait at the gate. @defaultValue 20 (chosen) */
  readonly concurrency?: number | undefined;
  /**
   * Lets requests through; one for all runs that share a key's limits.
   * @defaultValue one that adapts to what each provider and host lets through
   */
  readonly gate?: Gate | undefined;
  /** What is limited together, for the gate. @defaultValue provider and host of the call */
  readonly gateKey?: ((job: Job, call: Call) => string) | undefined;
  /**
   * How often a job is asked again, as `retryOnDisconnect` has it.
   * @defaultValue `{ count: 10, refusals: 50, delay: { maxMs: 5_000 } }` (chosen: in a storm of refusals every job meets several, and
   * the gate waits for as long as servers ask)
   */
  readonly retry?: RetryOnDisconnectOptions | undefined;
  /**
   * Limits for each attempt, as `timeout` has them.
   * @defaultValue `{ firstContentMs: 300_000, contentIdleMs: 120_000 }` (chosen: models that think say nothing for minutes)
   */
  readonly timeout?: TimeoutOptions | undefined;
  /** Finish reasons that make a file final, as `toFile` has it; an answer with another is run again with the next run. @defaultValue every one */
  readonly publishOn?: readonly FinishReason[] | undefined;
  /**
   * When it is aborted no more jobs are begun; those under way are finished, and the run completes. A job that still waits at the gate,
   * because nothing was sent for it or all of it was refused for load, is stopped: it may wait for minutes, and has cost nothing.
   */
  readonly signal?: AbortSignal | undefined;
  /** When it is aborted what is under way is stopped, too; its receipts say so. */
  readonly stop?: AbortSignal | undefined;
  /**
   * Makes the call that goes on with work that an earlier run created; `undefined` where there is no such thing. Where that work is gone,
   * is somebody else's, or has failed or was cancelled meanwhile, the job is asked anew. @defaultValue it is asked anew
   */
  readonly attach?: ((job: Job, workId: string) => Call | undefined) | undefined;
  /** Changes what is written: gets a job's events, gives events or strings. @defaultValue the text of the answer is written */
  readonly transform?: ((events: Observable<StreamEvent>, job: Job) => Observable<StreamEvent | string>) | undefined;
  /** As `toFile` has them. */
  readonly ifExists?: ToFileOptions['ifExists'];
  readonly footer?: ToFileOptions['footer'];
  readonly fsync?: boolean | undefined;
  /** What every call is made with: `dispatcher`, `fetch`, limits. */
  readonly request?: Omit<FromCallOptions, 'timeout' | 'retry' | 'signal' | 'scheduler'> | undefined;
  /** Where it is known how far each job is. @defaultValue `fileJournal` in `.millrace` in `dir` */
  readonly journal?: JobJournal | undefined;
  /** Jobs of an observable that may wait for their turn; one more is a LimitError. @defaultValue 65,536 (chosen) */
  readonly maxWaiting?: number | undefined;
  /** Hears when a job is asked. */
  readonly onStart?: ((job: Job) => void) | undefined;
  /** Hears when a job is asked again. */
  readonly onRetry?: ((job: Job, retry: RetryAttempt) => void) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Works off many jobs, each into a file of its own, so that a run that is killed at any moment goes on where it was when it is begun
 * again: what is complete is not asked twice.
 *
 * ```text
 * jobs          abcde|                pulled as there is room, two at once here
 * a             ----(r|)              r = receipt, with its job
 * b             --#                   a failure is a receipt too
 * c               -----(r|)
 * result        --b-a--c...|
 * ```
 * For each job it looks into the journal; makes the call; waits at the gate; asks, with limits and retries; writes into
 * `<file>.partial`. A complete answer is made durable (fsync), then its receipt in the journal, then the file gets its name, and the
 * journal says so. So no half file has a final name, and a kill at any point loses nothing that was complete. A job that an earlier
 * run has completed, and whose file is there, is not asked: its receipt comes from the journal, with `skipped`. One that was under way is gone
 * on with where `attach` knows how, and else asked again; `runs` counts that. One that failed is asked again. One whose answer is written and could
 * not be given its name, since something else has it, keeps its `.partial`; the next run tries again, and asks nothing.
 *
 * An iterable is pulled only as far as its jobs are begun, so it may be endless; of an observable so many wait as `maxWaiting`
 * says, and what feeds it is paused where it can be. Two runs on one folder at the same time: the second is refused.
 *
 * Emits the receipt of each job when it has ended, in any order: failures too. Completes when all have ended or, once `signal` is aborted (or
 * `shutdown` was called), when those under way have; once `stop` is aborted, when their files are closed. Errors with the input's error and what `key` and `file` throw, with TypeError for a key that
 * comes twice, after what is under way has ended; with SinkError where another run has the folder and, at once, where the disk is full or
 * broken: then everything is stopped, what is complete stays, and the same run goes on when there is space. Unsubscribing stops all
 * that is under way; the files are closed, and the journal after them. Holds `concurrency` jobs and the journal's place of each key.
 *
 * @example
 * ```ts
 * const jobs = [{ name: 'mills', prompt: 'What drives a mill?' }, { name: 'rivers', prompt: 'Why do rivers meander?' }];
 *
 * runJobs(jobs, {
 *   key: (job) => job.name,
 *   call: (job) => api.chat({ model, messages: [{ role: 'user', content: job.prompt }] }),
 *   file: (job) => `${job.name}.md`,
 *   dir: 'answers',
 * }).subscribe({ next: (receipt) => log(receipt.job, receipt.outcome), error: report });
 * ```
 * @param jobs - an iterable, an async iterable or an observable
 * @param options - see {@link RunJobsOptions}
 * @returns a cold observable
 * @throws TypeError outside Node, for a folder that is no path and for an unknown word; RangeError for a number out of its range
 * @public
 */
export function runJobs<Job>(jobs: Jobs<Job>, options: RunJobsOptions<Job>): Observable<JobReceipt<Job>> {
  const { dir, concurrency = 20, maxWaiting = 65_536, ifExists = 'error', publishOn = [] } = options;
  const { files } = io;
  if (files === undefined) throw new TypeError('runJobs needs a file system, which only Node has');
  requirePath('dir', dir);
  requireAtLeast(1, { concurrency, maxWaiting });
  requireOneOf('ifExists', ifExists, ['error', 'skip', 'overwrite']);
  for (const reason of publishOn) requireOneOf('publishOn', reason, FINISH_REASONS);
  // These check what they are given; a job would find out later.
  timeout(options.timeout);
  retryOnDisconnect(retryOf(options));
  return new Observable<JobReceipt<Job>>((subscriber) => {
    const outlet = new JobFiles(files, options);
    const { journal = fileJournal(files.resolve('.millrace', outlet.where), options) } = options;
    void new Run(jobs, { ...options, journal }, outlet, subscriber).start();
  });
}

/** Like `runJobs`, into any sinks. */
export function runIntoSinks<Job>(jobs: Jobs<Job>, options: SinkRunOptions<Job>): Observable<JobReceipt<Job>> {
  return new Observable<JobReceipt<Job>>((subscriber) => {
    void new Run(jobs, options, new JobSinks(options.sink, options.publishOn), subscriber).start();
  });
}

/** How `runIntoSinks` asks. */
export interface SinkRunOptions<Job> extends RunOptions<Job> {
  /** Makes what a job's answer goes into. One that is taken whole is not asked for again. */
  readonly sink: (job: Job) => OperatorFunction<StreamEvent | string, Receipt>;
}

/** What is asked, wherever it goes. */
interface RunOptions<Job> extends Omit<RunJobsOptions<Job>, 'dir' | 'file'> {
  readonly journal: JobJournal;
}

const DEFAULT_LIMITS: TimeoutOptions = { firstContentMs: 300_000, contentIdleMs: 120_000 };
/** What a server says of work that it does not have any more, or that is not this account's. */
const IS_GONE: ReadonlySet<number> = new Set([403, 404, 410]);

class Run<Job> {
  readonly #jobs: Jobs<Job>;
  readonly #options: RunOptions<Job>;
  readonly #subscriber: Subscriber<JobReceipt<Job>>;
  readonly #outlet: JobOutlet<Job>;
  readonly #gate: Gate;
  readonly #retry: RetryOnDisconnectOptions;
  /** The jobs' streams are nobody's below: what is emitted are receipts. */
  readonly #apart = outside();
  readonly #streams = new Subscription();
  readonly #underWay: Set<UnderWay> = new Set();
  readonly #keys: Set<string> = new Set();
  #journal: OpenJobJournal | undefined;
  #feed: JobFeed<Job> | undefined;
  #running = 0;
  #isOpening = true;
  #isPulling = false;
  /** `draining`: no more jobs are begun. `stopped`: what was under way is stopped, too. */
  #state: 'open' | 'draining' | 'stopped' | 'over' = 'open';
  /** Somebody wants it to end: what is not asked yet is not waited for. */
  #isCalledOff = false;
  /** What the run ends with. */
  #failure: { readonly error: unknown } | undefined;

  constructor(
    jobs: Jobs<Job>,
    options: RunOptions<Job>,
    outlet: JobOutlet<Job>,
    subscriber: Subscriber<JobReceipt<Job>>,
  ) {
    const { gate, concurrency = 20, scheduler } = options;
    this.#jobs = jobs;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#outlet = outlet;
    this.#gate = gate ?? createGate({ perKey: concurrency, adapt: true, scheduler });
    this.#retry = retryOf(options);
  }

  async start(): Promise<void> {
    const { journal, signal, stop, maxWaiting = 65_536 } = this.#options;
    this.#subscriber.add(() => {
      this.#leave();
    });
    this.#hear(signal, () => {
      this.#callOff();
    });
    this.#hear(stop, () => {
      this.#stop();
    });
    try {
      this.#journal = await journal.open();
      if (this.#isOpen) this.#feed = feedOf(this.#jobs, this.#subscriber, maxWaiting);
    } catch (error) {
      this.#fail(error);
    }
    this.#isOpening = false;
    await this.#pull();
  }

  #hear(signal: AbortSignal | undefined, listener: () => void): void {
    if (signal?.aborted === true) listener();
    else if (signal !== undefined) this.#subscriber.add(onAbort(signal, listener));
  }

  get #isOpen(): boolean {
    return this.#state === 'open';
  }

  get #isStopped(): boolean {
    return this.#state === 'stopped';
  }

  /** Begins jobs while there is room for them. */
  async #pull(): Promise<void> {
    const { concurrency = 20 } = this.#options;
    if (this.#isPulling) {
      // The input may never answer, and nobody may want it to.
      if (running.phase !== 'open') this.#drain();
      await this.#endWhenOver();
      return;
    }
    this.#isPulling = true;
    try {
      while (this.#isOpen && this.#running < concurrency) {
        const given = running.phase === 'open' ? await this.#feed?.next() : undefined;
        if (given === undefined) this.#drain();
        else if (this.#isOpen) {
          this.#running += 1;
          void this.#work(given.job);
        }
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#isPulling = false;
    await this.#endWhenOver();
  }

  async #work(job: Job): Promise<void> {
    try {
      const receipt = await this.#run(job);
      if (receipt !== undefined) this.#subscriber.next(receipt);
    } catch (error) {
      this.#fail(error);
    }
    this.#running -= 1;
    void this.#pull();
  }

  /** Runs a job to its end. @returns nothing where the run was stopped before it was begun */
  async #run(job: Job): Promise<JobReceipt<Job> | undefined> {
    const { key: keyOf, onStart } = this.#options;
    const key: unknown = keyOf(job);
    if (typeof key !== 'string' || key === '') throw new TypeError(`key must give a text, got ${String(key)}`);
    if (this.#keys.has(key)) throw new TypeError(`runJobs got two jobs named ${JSON.stringify(key)}`);
    this.#keys.add(key);
    const token = this.#journal?.token;
    const place = this.#outlet.placeOf(job, token);
    const known = await this.#read(key);
    const receipt = known && (await this.#finished(known, place));
    if (receipt !== undefined) return { ...receipt, key, job, runs: known?.runs ?? 0 };
    if (this.#isStopped) return undefined;
    if (known !== undefined) place.clear(known);
    const begun: Begun = { key, state: 'begun', runs: (known?.runs ?? 0) + 1, workId: workOf(known), token };
    await this.#write(begun, false);
    if (this.#isStopped) {
      await this.#write(known ?? { key, state: 'ended', runs: 0 }, false);
      return undefined;
    }
    const underWay: UnderWay = { begun, halt: new AbortController(), isAsking: false, isSent: false, isTaken: false };
    this.#underWay.add(underWay);
    try {
      onStart?.(job);
      return { ...(await this.#stream(job, underWay, place, known?.token)), key, job, runs: begun.runs };
    } finally {
      this.#underWay.delete(underWay);
    }
  }

  async #finished(known: JobRecord, place: JobPlace): Promise<Receipt | undefined> {
    const finished = known.receipt && (await place.finished(known, known.receipt));
    if (finished === undefined) return undefined;
    const { receipt, isNew, error } = finished;
    if (isDiskBroken(error)) this.#fail(error, 'stop');
    if (isNew) await this.#write({ ...known, state: 'published' }, true);
    return receipt;
  }

  /** Asks, writes, and resolves when the file is closed, however that came, and the journal knows. */
  async #stream(job: Job, underWay: UnderWay, place: JobPlace, earlier: string | undefined): Promise<Receipt> {
    const { transform = (events): Observable<StreamEvent> => events } = this.#options;
    const { begun, halt } = underWay;
    let events: Observable<StreamEvent | string>;
    try {
      events = transform(await unlessAborted(halt.signal, this.#events(job, underWay)), job);
    } catch (error) {
      events = throwError(() => error);
    }
    let isWritten = false;
    let error: unknown;
    const sink = place.sink({
      earlier,
      beforePublish: async (receipt) => {
        await this.#write({ ...begun, state: 'written', receipt }, true);
        isWritten = true;
      },
    });
    const receipt = await new Promise<Receipt>((resolve) => {
      this.#apart(() => {
        const stream = events.pipe(stopOn(halt.signal), sink, tapReceipt(resolve)).subscribe({
          error: (reason: unknown) => {
            error = reason; // in the turn of the receipt
          },
        });
        this.#streams.add(stream);
      });
      underWay.isAsking = true;
      this.#leaveIfUnasked(underWay);
    });
    if (isDiskBroken(error)) this.#fail(error, 'stop');
    if (place.isTaken(receipt)) isWritten = true;
    // An answer that is whole and has no name is given it by the next run.
    if (!isWritten || receipt.outcome === 'complete') await this.#write(ended(underWay, receipt, isWritten), true);
    return receipt;
  }

  /** A job's answer: of the work that it has already, where that is still there, or of its call. */
  async #events(job: Job, underWay: UnderWay): Promise<Observable<StreamEvent>> {
    const { attach, call } = this.#options;
    const { begun } = underWay;
    const attached = begun.workId === undefined ? undefined : attach?.(job, begun.workId);
    const made = await call(job);
    if (attached === undefined) return this.#ask(job, made, underWay);
    return this.#ask(job, attached, underWay).pipe(
      fallbackTo(
        (error) => {
          if (!isLost(error)) return undefined;
          this.#note(Object.assign(begun, { workId: undefined }));
          return this.#ask(job, made, underWay);
        },
        { when: 'always' },
      ),
    );
  }

  #ask(job: Job, call: Call, underWay: UnderWay): Observable<StreamEvent> {
    const { request, timeout: limits = DEFAULT_LIMITS, gateKey, attach, onRetry, scheduler } = this.#options;
    const { begun } = underWay;
    const events = fromCall(call, { ...request, timeout: limits, scheduler });
    const isKept = attach !== undefined && call.resume?.by === 'reattach' && call.workId === undefined;
    const told = tapWork<StreamEvent>((workId) => {
      this.#note(Object.assign(begun, { workId }));
    });
    const sent = operate<StreamEvent, StreamEvent>((source, subscriber) => {
      if (this.#journal?.holds?.() === false) {
        subscriber.error(
          new StoreError('lease-lost', `The job ${JSON.stringify(begun.key)} may be another run's by now`),
        );
        return;
      }
      underWay.isSent = true;
      source.subscribe(subscriber);
    });
    return (isKept ? events.pipe(told) : events).pipe(
      sent,
      this.#gate(gateKey?.(job, call) ?? hostOfCall(call)),
      retryOnDisconnect({
        ...this.#retry,
        onRetry: (retry) => {
          underWay.isSent = false;
          if (retry.how !== 'ask' || !isRefusal(retry.error)) underWay.isTaken = true;
          this.#retry.onRetry?.(retry);
          onRetry?.(job, retry);
          this.#leaveIfUnasked(underWay);
        },
      }),
    );
  }

  /** Leaves a job that waits to be let through, where the run is to end and no server has taken anything of it. */
  #leaveIfUnasked(underWay: UnderWay): void {
    if (this.#isCalledOff && underWay.isAsking && isUnasked(underWay)) underWay.halt.abort();
  }

  async #read(key: string): Promise<JobRecord | undefined> {
    try {
      return await this.#journal?.read(key);
    } catch (error) {
      this.#fail(error, 'stop');
      throw error;
    }
  }

  async #write(record: JobRecord, durable: boolean): Promise<void> {
    try {
      await this.#journal?.write({ ...record }, { durable });
    } catch (error) {
      this.#fail(error, 'stop');
      throw error;
    }
  }

  /** Writes what nobody waits for. */
  #note(record: JobRecord): void {
    this.#write(record, true).catch(() => undefined); // told already
  }

  /** @returns false where it has ended so already */
  #end(state: 'draining' | 'stopped'): boolean {
    if (this.#state === state || this.#state === 'over') return false;
    this.#state = state;
    this.#feed?.leave();
    return true;
  }

  /** No more jobs are begun, and those that still wait to be asked are not. */
  #callOff(): void {
    this.#isCalledOff = true;
    this.#drain();
    for (const underWay of [...this.#underWay]) this.#leaveIfUnasked(underWay);
  }

  /** No more jobs are begun. */
  #drain(): void {
    if (this.#isOpen && this.#end('draining')) void this.#endWhenOver();
  }

  /** Everything that is under way is stopped, and tells how it ended. */
  #stop(): void {
    if (!this.#end('stopped')) return;
    this.#haltAll();
    void this.#endWhenOver();
  }

  #haltAll(): void {
    for (const { halt } of [...this.#underWay]) halt.abort();
  }

  /** Nobody hears any more. */
  #leave(): void {
    if (!this.#end('stopped')) return;
    runApart(() => {
      this.#streams.unsubscribe();
    });
    this.#haltAll(); // those too that wait for their calls
    void this.#endWhenOver();
  }

  #fail(error: unknown, then: 'drain' | 'stop' = 'drain'): void {
    this.#failure ??= { error: then === 'stop' ? stopped(this.#outlet.where, error) : error };
    if (then === 'stop') this.#stop();
    else this.#drain();
  }

  async #endWhenOver(): Promise<void> {
    if (this.#isOpen || this.#state === 'over' || this.#running > 0 || this.#isOpening) return;
    this.#state = 'over';
    this.#failure ??= this.#feed?.failure;
    try {
      await this.#journal?.close();
    } catch (error) {
      this.#failure ??= { error };
    }
    if (this.#failure === undefined) this.#subscriber.complete();
    else this.#subscriber.error(this.#failure.error);
  }
}

/** What the journal says of a job that is under way. */
interface Begun extends JobRecord {
  workId?: string | undefined;
}

/** A job that is under way. */
interface UnderWay {
  readonly begun: Begun;
  /** Stops it, and has it tell how it ended. */
  readonly halt: AbortController;
  /** Its call is made, and it is at the gate or beyond. */
  isAsking: boolean;
  /** The gate has let it through, and it has not come back. */
  isSent: boolean;
  /** A server may have begun to work on it. */
  isTaken: boolean;
}

/** Nothing was sent for it, or all of it was refused for load. */
function isUnasked({ begun, isSent, isTaken }: UnderWay): boolean {
  return !isSent && !isTaken && begun.workId === undefined;
}

/** What the journal says of a job that has ended. */
function ended(underWay: UnderWay, receipt: Receipt, isPublished: boolean): JobRecord {
  const { begun, isSent, isTaken } = underWay;
  const { outcome, billing, skipped } = receipt;
  // Work that runs on is there for the next run; what has cost nothing is no run.
  const isLeftAlone = billing === 'continues' || !(isSent || isTaken);
  const runsOn = outcome === 'interrupted' || (outcome === 'stopped' && isLeftAlone);
  const isNone = skipped === true || (outcome === 'stopped' && isUnasked(underWay));
  const runs = isNone ? begun.runs - 1 : begun.runs;
  const { key, token } = begun;
  const state = isPublished ? 'published' : 'ended';
  return { key, runs, state, workId: runsOn ? begun.workId : undefined, receipt, token };
}

/** How a job is asked again. Work that can be gone on with is left to a next run, and costs nothing twice. */
function retryOf<Job>({
  attach,
  retry = {},
  scheduler,
}: Omit<RunJobsOptions<Job>, 'dir' | 'file'>): RetryOnDisconnectOptions {
  return {
    ...retry,
    count: retry.count ?? 10,
    refusals: retry.refusals ?? 50,
    delay: retry.delay ?? { maxMs: 5_000 },
    onGiveUp: retry.onGiveUp ?? (attach && 'leave'),
    scheduler: retry.scheduler ?? scheduler,
  };
}

/** Work that may be running still: that of a run that was killed, or that gave up without an answer. */
function workOf(known: JobRecord | undefined): string | undefined {
  return known?.state === 'begun' || known?.state === 'ended' ? known.workId : undefined;
}

/** Whether nothing comes of work that was created: there is none, or it has ended without an answer. */
function isLost(error: unknown): boolean {
  if (hasCode(error, 'ERR_HTTP')) return IS_GONE.has((error as HTTPError).status);
  return hasCode(error, 'ERR_PROVIDER') && !isRetryable(error);
}

/** The promise's result, unless the signal is aborted before. */
async function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  let forget = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => {
      reject(new AbortError('The job was stopped before its call was made'));
    };
    if (signal.aborted) stop();
    else forget = onAbort(signal, stop);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    forget();
  }
}

function stopped(dir: string, cause: unknown): SinkError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const context = isMillraceError(cause) ? cause.context : {};
  const message = `The run in ${dir} was stopped: ${why}. What is complete is kept; the same run goes on from there when that is mended`;
  return new SinkError(message, { context, cause });
}
