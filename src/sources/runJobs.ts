import { io } from '#io';
import {
  type MonoTypeOperatorFunction,
  Observable,
  type OperatorFunction,
  type SchedulerLike,
  type Subscriber,
  Subscription,
  throwError,
} from 'rxjs';
import { type HTTPError, isMillraceError, SinkError } from '../errors.js';
import { requirePath } from '../internal/fileName.js';
import { FileSink, type ToFileOptions } from '../internal/fileSink.js';
import { outside, runApart, Scope } from '../internal/flow.js';
import { hasCode } from '../internal/hasCode.js';
import { hostOfCall } from '../internal/hostOfCall.js';
import type { Files } from '../internal/io.js';
import { feedOf, type JobFeed } from '../internal/jobFeed.js';
import { onAbort } from '../internal/onAbort.js';
import { draw, operate } from '../internal/operate.js';
import { finishPublishing } from '../internal/partialFile.js';
import type { Position } from '../internal/position.js';
import { requireAtLeast } from '../internal/require.js';
import { running } from '../internal/running.js';
import { createGate, type Gate } from '../operators/createGate.js';
import { fallbackTo } from '../operators/fallbackTo.js';
import { type RetryAttempt, retryOnDisconnect, type RetryOnDisconnectOptions } from '../operators/retryOnDisconnect.js';
import { stopOn } from '../operators/stopOn.js';
import { tapReceipt } from '../operators/tapReceipt.js';
import type { TimeoutOptions } from '../operators/timeout.js';
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
  /** When it is aborted no more jobs are begun; those under way are finished, and the run completes. */
  readonly signal?: AbortSignal | undefined;
  /** When it is aborted what is under way is stopped, too; its receipts say so. */
  readonly stop?: AbortSignal | undefined;
  /** Makes the call that goes on with work that an earlier run created; `undefined` where there is no such thing. @defaultValue it is asked anew */
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
 * on with where `attach` knows how, and else asked again; `runs` counts that. One that failed is asked again.
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
 * @throws TypeError outside Node and for a folder that is no path; RangeError for a number out of its range
 * @public
 */
export function runJobs<Job>(jobs: Jobs<Job>, options: RunJobsOptions<Job>): Observable<JobReceipt<Job>> {
  const { dir, concurrency = 20, maxWaiting = 65_536 } = options;
  const { files } = io;
  if (files === undefined) throw new TypeError('runJobs needs a file system, which only Node has');
  requirePath('dir', dir);
  requireAtLeast(1, { concurrency, maxWaiting });
  return new Observable<JobReceipt<Job>>((subscriber) => {
    void new Run(jobs, options, files, subscriber).start();
  });
}

const DEFAULT_RETRY: RetryOnDisconnectOptions = { count: 10, refusals: 50, delay: { maxMs: 5_000 } };
const DEFAULT_LIMITS: TimeoutOptions = { firstContentMs: 300_000, contentIdleMs: 120_000 };
/** What the disk says when no file of the run can be written any more. */
const DISK_IS_BROKEN: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO']);
/** What a server says of work that it does not have any more. */
const IS_GONE: ReadonlySet<number> = new Set([404, 410]);

class Run<Job> {
  readonly #jobs: Jobs<Job>;
  readonly #options: RunJobsOptions<Job>;
  readonly #subscriber: Subscriber<JobReceipt<Job>>;
  readonly #files: Files;
  readonly #dir: string;
  readonly #gate: Gate;
  readonly #retry: RetryOnDisconnectOptions;
  /** The jobs' streams are nobody's below: what is emitted are receipts. */
  readonly #apart = outside();
  readonly #streams = new Subscription();
  /** Stops them all, and has them tell how they ended. */
  readonly #halt = new AbortController();
  readonly #keys: Set<string> = new Set();
  readonly #folders: Set<string> = new Set();
  #journal: OpenJobJournal | undefined;
  #feed: JobFeed<Job> | undefined;
  #running = 0;
  #isOpening = true;
  #isPulling = false;
  /** `draining`: no more jobs are begun. `stopped`: what was under way is stopped, too. */
  #state: 'open' | 'draining' | 'stopped' | 'over' = 'open';
  /** What the run ends with. */
  #failure: { readonly error: unknown } | undefined;

  constructor(jobs: Jobs<Job>, options: RunJobsOptions<Job>, files: Files, subscriber: Subscriber<JobReceipt<Job>>) {
    const { dir, gate, retry, attach, concurrency = 20, scheduler } = options;
    this.#jobs = jobs;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#files = files;
    this.#dir = files.resolve(dir);
    this.#gate = gate ?? createGate({ perKey: concurrency, adapt: true, scheduler });
    // Work that can be gone on with is left to a next run, and costs nothing twice.
    this.#retry = { scheduler, ...DEFAULT_RETRY, onGiveUp: attach && 'leave', ...retry };
  }

  async start(): Promise<void> {
    const { journal, signal, stop, fsync, maxWaiting = 65_536 } = this.#options;
    this.#subscriber.add(() => {
      this.#leave();
    });
    this.#hear(signal, () => {
      this.#drain();
    });
    this.#hear(stop, () => {
      this.#stop();
    });
    try {
      this.#journal = await (journal ?? fileJournal(this.#files.resolve('.millrace', this.#dir), { fsync })).open();
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

  /** Begins jobs while there is room for them. */
  async #pull(): Promise<void> {
    const { concurrency = 20 } = this.#options;
    if (this.#isPulling) return;
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
    const path = this.#pathOf(job);
    const known = await this.#read(key);
    if (known?.receipt !== undefined && (await this.#isPublished(known, path))) {
      return { ...known.receipt, key, job, runs: known.runs, where: path, skipped: true };
    }
    const begun: Begun = { key, state: 'begun', runs: (known?.runs ?? 0) + 1, workId: workOf(known) };
    await this.#write(begun, false);
    if (this.#state === 'stopped') return undefined;
    onStart?.(job);
    const { receipt, isPublished, error } = await this.#stream(job, begun, path);
    if (isDiskBroken(error)) this.#fail(error, 'stop');
    const workId = receipt.outcome === 'interrupted' ? begun.workId : undefined;
    await this.#write({ key, runs: begun.runs, state: isPublished ? 'published' : 'ended', workId, receipt }, true);
    return { ...receipt, key, job, runs: begun.runs };
  }

  #pathOf(job: Job): string {
    const file = this.#options.file(job);
    requirePath('file', file);
    const path = this.#files.resolve(file, this.#dir);
    if (!this.#files.isBelow(this.#dir, path)) {
      throw new TypeError(`file must give a path inside ${this.#dir}, got ${JSON.stringify(file)}`);
    }
    const folder = this.#files.resolve('..', path);
    if (!this.#folders.has(folder)) this.#files.removeDrafts(folder);
    this.#folders.add(folder);
    return path;
  }

  /** Whether a job's file is there. One that lacks but its name, since its run was killed at that moment, is given it. */
  async #isPublished(known: JobRecord, path: string): Promise<boolean> {
    const { ifExists, fsync = true } = this.#options;
    const { state, receipt } = known;
    if (state === 'published') return this.#files.exists(path);
    if (state !== 'written' || receipt === undefined) return false;
    if (!finishPublishing(this.#files, path, receipt.bytes, ifExists === 'overwrite')) return false;
    if (fsync) await this.#files.syncFolder(path);
    await this.#write({ ...known, state: 'published' }, true);
    return true;
  }

  /** Asks, writes, and resolves when the file is closed, however that came. */
  async #stream(job: Job, begun: Begun, path: string): Promise<Settled> {
    const { transform = (events): Observable<StreamEvent> => events } = this.#options;
    let events: Observable<StreamEvent | string>;
    try {
      events = transform(await this.#events(job, begun), job);
    } catch (error) {
      events = throwError(() => error);
    }
    let hasName = false;
    let error: unknown;
    const sink = this.#sink(path, async (receipt) => {
      await this.#write({ ...begun, state: 'written', receipt }, true);
      hasName = true;
    });
    const receipt = await new Promise<Receipt>((resolve) => {
      this.#apart(() => {
        const stream = events.pipe(stopOn(this.#halt.signal), sink, tapReceipt(resolve)).subscribe({
          error: (reason: unknown) => {
            error = reason; // in the turn of the receipt
          },
        });
        this.#streams.add(stream);
      });
    });
    return { receipt, error, isPublished: hasName && receipt.outcome === 'complete' };
  }

  #sink(
    path: string,
    beforePublish: (receipt: Receipt) => Promise<void>,
  ): OperatorFunction<StreamEvent | string, Receipt> {
    const { publishOn, ifExists, footer, fsync } = this.#options;
    const options = { publishOn, ifExists, footer, fsync, within: this.#dir, parents: true, removesEmpty: true };
    return operate((source, subscriber) => {
      new FileSink(this.#files, path, { ...options, beforePublish }, subscriber).start(source);
    });
  }

  /** A job's answer: of the work that it has already, where that is still there, or of its call. */
  async #events(job: Job, begun: Begun): Promise<Observable<StreamEvent>> {
    const { attach, call } = this.#options;
    const { workId } = begun;
    const attached = workId === undefined ? undefined : attach?.(job, workId);
    const made = await call(job);
    if (attached === undefined) return this.#ask(job, made, begun);
    return this.#ask(job, attached, begun).pipe(
      fallbackTo((error) => {
        if (!hasCode(error, 'ERR_HTTP') || !IS_GONE.has((error as HTTPError).status)) return undefined;
        this.#note(Object.assign(begun, { workId: undefined }));
        return this.#ask(job, made, begun);
      }),
    );
  }

  #ask(job: Job, call: Call, begun: Begun): Observable<StreamEvent> {
    const { request, timeout = DEFAULT_LIMITS, gateKey, attach, onRetry, scheduler } = this.#options;
    const events = fromCall(call, { ...request, timeout, scheduler });
    const isKept = attach !== undefined && call.resume?.by === 'reattach' && call.workId === undefined;
    const told = tapWork((workId) => {
      this.#note(Object.assign(begun, { workId }));
    });
    return (isKept ? events.pipe(told) : events).pipe(
      this.#gate(gateKey?.(job, call) ?? hostOfCall(call)),
      retryOnDisconnect({
        ...this.#retry,
        onRetry: (retry) => {
          this.#retry.onRetry?.(retry);
          onRetry?.(job, retry);
        },
      }),
    );
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

  /** No more jobs are begun. */
  #drain(): void {
    if (this.#isOpen && this.#end('draining')) void this.#endWhenOver();
  }

  /** Everything that is under way is stopped, and tells how it ended. */
  #stop(): void {
    if (!this.#end('stopped')) return;
    this.#halt.abort();
    void this.#endWhenOver();
  }

  /** Nobody hears any more. */
  #leave(): void {
    if (!this.#end('stopped')) return;
    runApart(() => {
      this.#streams.unsubscribe();
    });
    void this.#endWhenOver();
  }

  #fail(error: unknown, then: 'drain' | 'stop' = 'drain'): void {
    this.#failure ??= { error: then === 'stop' ? stopped(this.#dir, error) : error };
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

/** A job that is under way. */
interface Begun extends JobRecord {
  workId?: string | undefined;
}

interface Settled {
  readonly receipt: Receipt;
  readonly error: unknown;
  readonly isPublished: boolean;
}

/** Work that may be running still: that of a run that was killed, or that gave up without an answer. */
function workOf(known: JobRecord | undefined): string | undefined {
  const mayRun = known?.state === 'begun' || known?.receipt?.outcome === 'interrupted';
  return mayRun ? known.workId : undefined;
}

function isDiskBroken(error: unknown): boolean {
  return hasCode(error, 'ERR_SINK') && DISK_IS_BROKEN.has(error.context['code']);
}

function stopped(dir: string, cause: unknown): SinkError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const context = isMillraceError(cause) ? cause.context : {};
  const message = `The run in ${dir} was stopped: ${why}. What is complete is kept; the same run goes on from there when that is mended`;
  return new SinkError(message, { context, cause });
}

/** Tells the id of the work that a call creates, once, as soon as it is known. */
function tapWork(tell: (workId: string) => void): MonoTypeOperatorFunction<StreamEvent> {
  return operate((source, subscriber) => {
    const scope = new Scope(false);
    let position: Position | undefined;
    let isTold = false;
    const note = (workId: string | undefined): void => {
      if (isTold || workId === undefined) return;
      isTold = true;
      tell(workId);
    };
    scope.onFlow = (flow): void => {
      if (flow.facts.call === undefined) return;
      position = flow.position;
      position.onWork = note; // from the answer that created it, before its first event
    };
    draw<StreamEvent>(source, subscriber, scope, () => ({
      next: (event) => {
        if (!isTold) note(position?.decoder?.place?.id); // from its stream
        subscriber.next(event);
      },
    }));
  });
}
