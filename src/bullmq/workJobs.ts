import { io } from '#io';
import type { Job as BullJob, Worker } from 'bullmq';
import { asyncScheduler, lastValueFrom, Observable, type OperatorFunction, type Subscriber } from 'rxjs';
import { Evidence } from '../internal/evidence.js';
import { hasCode } from '../internal/hasCode.js';
import { isDiskBroken } from '../internal/isDiskBroken.js';
import { onAbort } from '../internal/onAbort.js';
import { requireDelay, requireInteger } from '../internal/require.js';
import { running } from '../internal/running.js';
import type { Gate } from '../operators/createGate.js';
import type { RetryAttempt } from '../operators/retryOnDisconnect.js';
import { closeClient, isCluster } from '../redis/client.js';
import { Commands } from '../redis/commands.js';
import { redisGate, type RedisGate } from '../redis/redisGate.js';
import { type RedisConnection, requireConnection } from '../redis/redisConnection.js';
import type { JobReceipt } from '../sources/jobReceipt.js';
import { runIntoSinks, runJobs, type RunJobsOptions } from '../sources/runJobs.js';
import type { Receipt, StreamEvent } from '../types.js';
import { JobRecords, type TakenJob } from './jobRecords.js';
import { prefixOf, requireQueue } from './names.js';
import { loadBullMQ } from './peer.js';
import { readQueuedJob, type QueuedJob } from './queuedJob.js';
import type { WorkerNews } from './workerNews.js';

/** How a job out of a queue is run, as `runJobs` has it; into a file, or into a sink. @public */
export type QueuedRun<Data> = Pick<
  RunJobsOptions<Data>,
  'attach' | 'call' | 'gateKey' | 'publishOn' | 'request' | 'retry' | 'timeout' | 'transform'
> &
  (
    | (Pick<RunJobsOptions<Data>, 'dir' | 'file' | 'footer' | 'fsync' | 'ifExists'> & { readonly sink?: undefined })
    | {
        /**
         * Makes what the answer goes into, such as `toStore`, where workers share no folder. It must know by itself what to do about what is
         * left of a run that was killed.
         */
        readonly sink: (data: Data) => OperatorFunction<StreamEvent | string, Receipt>;
      }
  );

/** Which queue is worked off, and how. @public */
export interface WorkJobsOptions<Data> {
  /** Where the queue is: a URL, or a client of ioredis that stays the caller's own; BullMQ wants `maxRetriesPerRequest: null` of it. */
  readonly redis: RedisConnection;
  /** The queue's name, as `queueJobs` has it. */
  readonly queue: string;
  /**
   * Says how a job is run. `dir` is the folder that all workers share, as this machine sees it. What it throws is the job's failure.
   * @param data - as `queueJobs` put it there; it comes from outside, and may be anything that JSON holds
   */
  readonly run: (data: Data) => QueuedRun<Data>;
  /** Jobs that are under way here at once; a whole number of at least 1. @defaultValue 20 (chosen, as in `runJobs`) */
  readonly concurrency?: number | undefined;
  /**
   * Lets requests through; one for the whole fleet, or it would not know what others send.
   * @defaultValue a `redisGate` on the same Redis, that adapts to what each provider and host lets through
   */
  readonly gate?: Gate | undefined;
  /**
   * Milliseconds for which a worker may be silent before its jobs are given to others; at least 1,000. Renewed twice in that time, and looked
   * after as often. @defaultValue 30,000 (BullMQ's)
   */
  readonly leaseMs?: number | undefined;
  /** Milliseconds for which it is known that a job is finished; at least 1. @defaultValue 2,592,000,000: 30 days (chosen) */
  readonly keepMs?: number | undefined;
  /**
   * Milliseconds for which an answer that is written waits for a Redis that cannot be reached, before this worker ends; at least 1.
   * @defaultValue 300,000 (chosen: an answer is paid for)
   */
  readonly maxWaitMs?: number | undefined;
  /** When it is aborted no more jobs are taken; those under way are finished, and it completes. */
  readonly signal?: AbortSignal | undefined;
  /** When it is aborted those under way are stopped, too, and given back to the queue. */
  readonly stop?: AbortSignal | undefined;
  /** Hears when a job is asked. */
  readonly onStart?: ((data: Data) => void) | undefined;
  /** Hears when a job is asked again. */
  readonly onRetry?: ((data: Data, retry: RetryAttempt) => void) | undefined;
  /**
   * Hears of what the worker goes on from: a Redis that is away or full, a job that another has taken since this process slept.
   * @defaultValue a `MillraceWarning` of the process, once for each message
   */
  readonly onTrouble?: ((error: Error) => void) | undefined;
}

/**
 * Works off the jobs that `queueJobs` puts into a queue, each into a file of its own, as one of any number of workers on any number of machines.
 *
 * ```text
 * queue       abcde...
 * worker 1    a----(r)  c--------(r)       two at once in all, here
 * worker 2    b--X                         killed
 * worker 3               b----(r) d--(r)   its job is another's, after `leaseMs`
 * ```
 * BullMQ keeps the queue: who has a job, for how long, and who is next. What a job has come to is kept beside it, as `runJobs` keeps it in its
 * journal, so that a job which is complete is not asked again, whatever worker dies at whatever moment, and one that was under way is gone on
 * with where `attach` knows how. Whoever takes a job has a higher number than all before, which Redis compares in the step that writes: a
 * worker that was asleep can write down nothing, and gives no file its name. Unfinished files are `<file>.<number>.partial`.
 *
 * Emits the receipt of each job that it has ended, failures too, once the queue knows; one that was given back is not. What lies in the queue
 * and was not put there by `queueJobs` fails there, and harms nobody. Completes after `signal` or `stop`; and with the next job after `shutdown`, which it gives back. Errors with StoreError
 * `unavailable` where bullmq or ioredis is not there, Redis does not answer at first for 5 seconds, or later for `maxWaitMs` when something must be written
 * down; with SinkError where the disk is full or broken. What was under way is given back in each case, or taken by others when `leaseMs` is
 * over. Unsubscribing stops what is under way, and gives it back. Holds `concurrency` jobs.
 *
 * @example
 * ```ts
 * import { workJobs } from 'millrace/bullmq';
 *
 * interface Question { readonly name: string; readonly prompt: string }
 *
 * workJobs<Question>({
 *   redis: { url: 'redis://127.0.0.1:6379' },
 *   queue: 'answers',
 *   run: () => ({
 *     call: ({ prompt }) => api.chat({ model, messages: [{ role: 'user', content: prompt }] }),
 *     file: ({ name }) => `${name}.md`,
 *     dir: '/mnt/answers',
 *   }),
 * }).subscribe({ next: (receipt) => log(receipt.key, receipt.outcome), error: report });
 * ```
 * @param options - see {@link WorkJobsOptions}
 * @returns a cold observable; each subscription is a worker
 * @throws TypeError for what is neither a client of ioredis nor a URL of Redis, and for a name that no queue may have; RangeError for a number out of its range
 * @public
 */
export function workJobs<Data>(options: WorkJobsOptions<Data>): Observable<JobReceipt<Data>> {
  const { redis, queue, concurrency = 20, leaseMs = 30_000, keepMs = 2_592_000_000, maxWaitMs = 300_000 } = options;
  const open = requireConnection(redis);
  requireQueue(queue);
  requireInteger(1, { concurrency, keepMs });
  requireDelay(1_000, { leaseMs });
  requireDelay(1, { maxWaitMs });
  return new Observable((subscriber) => {
    const commands = new Commands(open, maxWaitMs);
    const settings = { commands, concurrency, leaseMs, keepMs, maxWaitMs, isOwn: 'url' in redis };
    void new QueueWorker(options, settings, subscriber).start();
  });
}

/** How long Redis may take to answer at first: one that is not there is told of while somebody looks. */
const FIRST_WAIT_MS = 5_000;
/** BullMQ asks again so long after a command has failed. */
const RETRY_MS = 1_000;

interface Settings {
  readonly commands: Commands;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly keepMs: number;
  readonly maxWaitMs: number;
  readonly isOwn: boolean;
}

/** A job that is under way. */
interface Held {
  /** Stops it. */
  readonly halt: AbortController;
  /** Until then nobody else can have taken it; in the scheduler's milliseconds. */
  until: number;
}

class QueueWorker<Data> {
  readonly #options: WorkJobsOptions<Data>;
  readonly #settings: Settings;
  readonly #subscriber: Subscriber<JobReceipt<Data>>;
  readonly #records: JobRecords;
  /** Takes no more. */
  readonly #calledOff = new AbortController();
  /** Those under way, by the queue's name for them. */
  readonly #held: Map<string, Held> = new Map();
  /** What is told when the queue knows. */
  readonly #receipts: WeakMap<BullJob, JobReceipt<Data>> = new WeakMap();
  #gate: Gate | undefined;
  #ownGate: RedisGate | undefined;
  #worker: Worker | undefined;
  #isStopped = false;
  #isEnding = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: WorkJobsOptions<Data>, settings: Settings, subscriber: Subscriber<JobReceipt<Data>>) {
    this.#options = options;
    this.#settings = settings;
    this.#subscriber = subscriber;
    this.#records = new JobRecords(settings.commands, options.queue, settings.keepMs);
  }

  async start(): Promise<void> {
    const { signal, stop } = this.#options;
    this.#subscriber.add(() => {
      this.#stop();
    });
    try {
      await this.#open();
    } catch (error) {
      this.#fail(error);
    }
    this.#hear(signal, () => {
      this.#callOff();
    });
    this.#hear(stop, () => {
      this.#stop();
    });
  }

  async #open(): Promise<void> {
    const { redis, queue, gate, onTrouble } = this.#options;
    const { commands, concurrency, leaseMs, maxWaitMs } = this.#settings;
    const { Worker, WaitingError } = await loadBullMQ();
    await commands.try('greet', (client) => client.ping(), asyncScheduler.now() + FIRST_WAIT_MS);
    const connection = await commands.client();
    if (this.#calledOff.signal.aborted) return;
    this.#ownGate = gate === undefined ? redisGate(redis, { adapt: true, leaseMs, maxWaitMs }) : undefined;
    this.#gate = gate ?? this.#ownGate;
    const noteRenewal = (ids: readonly string[], askedAt: number): void => {
      for (const id of ids) {
        const held = this.#held.get(id);
        if (held !== undefined) held.until = askedAt + leaseMs;
      }
    };
    const LeasingWorker = class extends Worker {
      /** How long a lease is sure to last is counted from before it was asked for: this process may sleep at any moment. */
      override async extendJobLocks(ids: string[], tokens: string[], ms: number): Promise<string[]> {
        const askedAt = asyncScheduler.now();
        const lost = await super.extendJobLocks(ids, tokens, ms);
        noteRenewal(
          ids.filter((id) => !lost.includes(id)),
          askedAt,
        );
        return lost;
      }
    };
    const worker = new LeasingWorker(
      queue,
      async (job, token = '') => {
        const ended = await this.#work(job, token);
        if (ended !== undefined) return ended;
        throw new WaitingError();
      },
      {
        connection,
        prefix: prefixOf(queue),
        concurrency,
        lockDuration: leaseMs,
        stalledInterval: leaseMs / 2,
        // A job is not to blame for the workers that die with it.
        maxStalledCount: Number.MAX_SAFE_INTEGER,
        runRetryDelay: RETRY_MS,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      },
    );
    this.#worker = worker;
    worker.on('error', onTrouble ?? warnOnce());
    worker.on('lockRenewalFailed', (ids: string[]) => {
      for (const id of ids) this.#held.get(id)?.halt.abort();
    });
    worker.on('completed', (job) => {
      const receipt = this.#receipts.get(job);
      if (receipt !== undefined) this.#subscriber.next(receipt);
    });
  }

  #hear(signal: AbortSignal | undefined, listener: () => void): void {
    if (signal?.aborted === true) listener();
    else if (signal !== undefined) this.#subscriber.add(onAbort(signal, listener));
  }

  /** Works on a job. @returns what the queue keeps of it; nothing where it was given back. Rejects where it is another's */
  async #work(job: BullJob, token: string): Promise<object | undefined> {
    if (running.phase !== 'open') this.#callOff();
    const queued = readQueuedJob(job.data);
    const id = idIn(job);
    // BullMQ took it with the time from before it asked.
    const held: Held = { halt: new AbortController(), until: (job.processedOn ?? 0) + this.#settings.leaseMs };
    this.#held.set(id, held);
    if (this.#isStopped) held.halt.abort();
    try {
      const receipt = await this.#run(queued, job, token, held);
      if (receipt === undefined || this.#isToGoBack(receipt, held.halt.signal)) {
        await job.moveToWait(token);
        return undefined;
      }
      const { skipped, ...rest } = receipt;
      // What was finished by a worker that died before it told is this run's.
      const told = skipped === true && job.stalledCounter === 0 ? receipt : rest;
      this.#receipts.set(job, told);
      const { job: _, ...kept } = told;
      return kept;
    } finally {
      if (this.#held.get(id) === held) this.#held.delete(id);
    }
  }

  /** Stopped, and not by what the job's own operators do. */
  #isToGoBack({ outcome, by }: JobReceipt<Data>, halt: AbortSignal): boolean {
    return outcome === 'stopped' && (halt.aborted || this.#calledOff.signal.aborted || by === 'shutdown');
  }

  /** Runs a job to its end, as a run of its own. @returns nothing where it is not ended, and is to be given back */
  async #run({ key, data }: QueuedJob, job: BullJob, token: string, held: Held): Promise<JobReceipt<Data> | undefined> {
    const { run, onStart, onRetry } = this.#options;
    const given = data as Data; // whoever gives `run` says what it takes
    let taken: TakenJob | undefined;
    try {
      const journal = (taken = await this.#records.take(idIn(job), token, () => asyncScheduler.now() < held.until));
      if (journal === undefined) return undefined;
      const how = run(given);
      const common = {
        key: () => key,
        concurrency: 1,
        gate: this.#gate,
        journal: { open: () => Promise.resolve(journal) },
        signal: this.#calledOff.signal,
        stop: held.halt.signal,
        onStart: (): void => {
          this.#tell(job, { type: 'start' });
          onStart?.(given);
        },
        onRetry: (_: Data, retry: RetryAttempt): void => {
          const { error, delayMs } = retry;
          this.#tell(job, { type: 'retry', message: error instanceof Error ? error.message : String(error), delayMs });
          onRetry?.(given, retry);
        },
      };
      const receipts =
        how.sink === undefined ? runJobs([given], { ...how, ...common }) : runIntoSinks([given], { ...how, ...common });
      const receipt = await lastValueFrom(receipts, { defaultValue: undefined });
      // Whoever has it now tells. What is complete may be told: the queue knows by whom.
      return receipt?.outcome === 'complete' || !journal.isLost ? receipt : undefined;
    } catch (error) {
      if (taken?.isLost === true) return undefined; // it is another's, who tells
      if (isDiskBroken(error)) {
        this.#fail(error);
        return undefined;
      }
      // A run says that it was stopped, and by what.
      const cause = error instanceof Error && hasCode(error.cause, 'ERR_STORE') ? error.cause : error;
      if (hasCode(cause, 'ERR_STORE')) {
        this.#fail(cause);
        throw cause;
      }
      const failed = new Evidence('sink').receipt({ outcome: 'failed', error }, { where: 'none', chars: 0, bytes: 0 });
      return { ...failed, key, job: given, runs: 0 };
    }
  }

  /** Nobody waits for it: a job that is gone meanwhile has nothing to tell. */
  #tell(job: BullJob, news: WorkerNews): void {
    job.updateProgress(news).catch(() => undefined);
  }

  #callOff(): void {
    this.#calledOff.abort();
    void this.#end();
  }

  #stop(): void {
    this.#isStopped = true;
    for (const { halt } of [...this.#held.values()]) halt.abort();
    this.#callOff();
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#stop();
  }

  async #end(): Promise<void> {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const { commands, isOwn } = this.#settings;
    // Where Redis is away nobody can be told anything: what is under way is another's after a while.
    const isAway = hasCode(this.#failure?.error, 'ERR_STORE');
    try {
      await this.#worker?.close(isAway);
    } catch (error) {
      this.#failure ??= { error };
    }
    await this.#ownGate?.close();
    const client = await commands.close()?.catch(() => undefined);
    if (isOwn && client !== undefined && !isCluster(client)) await closeClient(client);
    if (this.#failure === undefined) this.#subscriber.complete();
    else this.#subscriber.error(this.#failure.error);
  }
}

/** As a rule there is one for each second of an outage. */
function warnOnce(): (error: Error) => void {
  const told = new Set<string>();
  return ({ message }) => {
    if (told.has(message) || told.size >= MAX_TOLD) return;
    told.add(message);
    io.warn(`A worker goes on in spite of this: ${message}`);
  };
}

const MAX_TOLD = 100;

function idIn({ id }: BullJob): string {
  return id ?? ''; // every job of a queue has one
}
