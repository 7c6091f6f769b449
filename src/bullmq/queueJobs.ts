import type { Queue, QueueEvents } from 'bullmq';
import { asyncScheduler, Observable, type Subscriber, type Subscription } from 'rxjs';
import { isMillraceError, StoreError } from '../errors.js';
import { Evidence } from '../internal/evidence.js';
import { feedOf, type JobFeed } from '../internal/jobFeed.js';
import { onAbort } from '../internal/onAbort.js';
import { requireAtLeast, requireDelay, requireInteger } from '../internal/require.js';
import { isRecord } from '../protocol/errorBody.js';
import { closeClient, isCluster } from '../redis/client.js';
import { Commands } from '../redis/commands.js';
import { type RedisConnection, requireConnection } from '../redis/redisConnection.js';
import type { JobReceipt } from '../sources/jobReceipt.js';
import type { Jobs } from '../sources/runJobs.js';
import type { Receipt } from '../types.js';
import { JobRecords } from './jobRecords.js';
import { eventsKey, idOf, jobKey, prefixOf, requireQueue } from './names.js';
import { loadBullMQ } from './peer.js';
import type { QueuedJob } from './queuedJob.js';
import { readWorkerNews } from './workerNews.js';

/** Which queue jobs are put into, and how. @public */
export interface QueueJobsOptions<Job> {
  /** Where the queue is: a URL, or a client of ioredis that stays the caller's own; BullMQ wants `maxRetriesPerRequest: null` of it. */
  readonly redis: RedisConnection;
  /** The queue's name, as its workers have it: 1 to 128 characters without colons and braces. */
  readonly queue: string;
  /** The job's name, which no other job of the queue has: by it a job that is there, or is finished, is known again. */
  readonly key: (job: Job) => string;
  /** What workers are given, which must survive JSON. Whoever reaches the Redis can read it: no key belongs there. @defaultValue the job itself */
  readonly data?: ((job: Job) => unknown) | undefined;
  /** Jobs of this call that are in the queue at once; at least 1. The input is pulled as they end. @defaultValue 10,000 (chosen) */
  readonly maxQueued?: number | undefined;
  /** Jobs of an observable that may wait for their turn; one more is a LimitError. @defaultValue 65,536 (as `runJobs`) */
  readonly maxWaiting?: number | undefined;
  /** When it is aborted no more are put in, and those that no worker has begun are taken out; it completes when the others have ended. */
  readonly signal?: AbortSignal | undefined;
  /** Hears that a worker asks a job. */
  readonly onStart?: ((job: Job) => void) | undefined;
  /** Hears that a worker asks a job again. */
  readonly onRetry?: ((job: Job, retry: { readonly message: string; readonly delayMs: number }) => void) | undefined;
  /** Milliseconds for which Redis may be away before it errors; at least 1. @defaultValue 300,000 (as `workJobs`) */
  readonly maxWaitMs?: number | undefined;
}

/**
 * Puts jobs into a queue that any number of `workJobs` work off, on any machines, and follows what becomes of them.
 *
 * ```text
 * jobs      abcde|           pulled as there is room in the queue
 * queue     abcde
 * worker 1  a--(r)c---(r)
 * worker 2   b----(r)d--...
 * result    ---a---b--c...|  receipts, from wherever
 * ```
 * A job that is in the queue already, put there by whomever, is not put there twice: it is followed. So the same call on another machine, or after a crash,
 * goes on, and as long as somebody follows, a job that was lost with its Redis or taken out by somebody else is put in again. One that is
 * finished is put in, too: the worker that gets it looks whether its file is there, asks nothing, and its receipt says `skipped`.
 *
 * Emits the receipt of each job when it has ended, in any order: failures too. Completes when all have; once `signal` is aborted, when those that workers
 * have begun have. Errors with the input's error and what `key` and `data` throw, with TypeError for a key that comes twice, after those in the queue
 * have ended; with StoreError `unavailable` where bullmq or ioredis is not there, Redis does not answer at first for 5 seconds, or later for
 * `maxWaitMs`. Unsubscribing leaves the queue as it is, and its workers at work. Holds `maxQueued` jobs and each key.
 *
 * @example
 * ```ts
 * import { queueJobs } from 'millrace/bullmq';
 *
 * const jobs = [{ name: 'mills', prompt: 'What drives a mill?' }, { name: 'rivers', prompt: 'Why do rivers meander?' }];
 *
 * queueJobs(jobs, { redis: { url: 'redis://127.0.0.1:6379' }, queue: 'answers', key: (job) => job.name }).subscribe({
 *   next: (receipt) => log(receipt.key, receipt.outcome, receipt.where),
 *   error: report,
 * });
 * ```
 * @param jobs - an iterable, an async iterable or an observable
 * @param options - see {@link QueueJobsOptions}
 * @returns a cold observable
 * @throws TypeError for what is neither a client of ioredis nor a URL of Redis, and for a name that no queue may have; RangeError for a number out of its range
 * @public
 */
export function queueJobs<Job>(jobs: Jobs<Job>, options: QueueJobsOptions<Job>): Observable<JobReceipt<Job>> {
  const { redis, queue, maxQueued = 10_000, maxWaiting = 65_536, maxWaitMs = 300_000 } = options;
  const open = requireConnection(redis);
  requireQueue(queue);
  requireInteger(1, { maxQueued });
  requireAtLeast(1, { maxWaiting });
  requireDelay(1, { maxWaitMs });
  return new Observable((subscriber) => {
    const commands = new Commands(open, maxWaitMs);
    void new QueuedRun(jobs, options, { commands, maxQueued, maxWaiting, isOwn: 'url' in redis }, subscriber).start();
  });
}

const FIRST_WAIT_MS = 5_000;
/** So many are put into the queue with one command. */
const BATCH = 500;
/** So often it is looked whether jobs have gone without a word: what is told may be lost while Redis, or this process, is away. */
const LOOK_MS = 5_000;
/** A record is written by workers alone, so nobody cares how long this one would keep it. */
const KEEP_MS = 1;

interface Settings {
  readonly commands: Commands;
  readonly maxQueued: number;
  readonly maxWaiting: number;
  readonly isOwn: boolean;
}

/** A job that is in the queue, or on its way there. */
interface Queued<Job> {
  readonly id: string;
  readonly key: string;
  readonly job: Job;
  /** It was not in the queue when that was looked at last. */
  isMissed: boolean;
}

/** What BullMQ is given. */
type Entry = Parameters<Queue['addBulk']>[0][number];

class QueuedRun<Job> {
  readonly #jobs: Jobs<Job>;
  readonly #options: QueueJobsOptions<Job>;
  readonly #settings: Settings;
  readonly #subscriber: Subscriber<JobReceipt<Job>>;
  readonly #records: JobRecords;
  readonly #keys: Set<string> = new Set();
  /** By the queue's name for them. */
  readonly #queued: Map<string, Queued<Job>> = new Map();
  readonly #batch: Entry[] = [];
  #flushing: Promise<void> | undefined;
  #feed: JobFeed<Job> | undefined;
  #queue: Queue | undefined;
  #events: QueueEvents | undefined;
  #looking: Subscription | undefined;
  #isPulling = false;
  /** `draining`: no more are put in. */
  #state: 'opening' | 'open' | 'draining' | 'over' = 'opening';
  /** Those that nobody has begun are not waited for. */
  #isCalledOff = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    jobs: Jobs<Job>,
    options: QueueJobsOptions<Job>,
    settings: Settings,
    subscriber: Subscriber<JobReceipt<Job>>,
  ) {
    this.#jobs = jobs;
    this.#options = options;
    this.#settings = settings;
    this.#subscriber = subscriber;
    this.#records = new JobRecords(settings.commands, options.queue, KEEP_MS);
  }

  async start(): Promise<void> {
    const { signal } = this.#options;
    this.#subscriber.add(() => {
      this.#end();
    });
    try {
      await this.#open();
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (signal?.aborted === true) this.#callOff();
    else if (signal !== undefined) {
      this.#subscriber.add(
        onAbort(signal, () => {
          this.#callOff();
        }),
      );
    }
    await this.#pull();
  }

  async #open(): Promise<void> {
    const { queue } = this.#options;
    const { commands, maxWaiting } = this.#settings;
    const { Queue, QueueEvents } = await loadBullMQ();
    const untilMs = asyncScheduler.now() + FIRST_WAIT_MS;
    // From here on: what is told between this and the first read would be missed otherwise.
    const told = await commands.try(
      'greet',
      (client) => client.xrevrange(eventsKey(queue), '+', '-', 'COUNT', 1),
      untilMs,
    );
    const connection = await commands.client();
    if (this.#state !== 'opening') return;
    this.#state = 'open';
    const prefix = prefixOf(queue);
    this.#queue = new Queue(queue, { connection, prefix });
    this.#queue.on('error', ignore);
    this.#events = new QueueEvents(queue, { connection, prefix, lastEventId: told[0]?.[0] ?? '0-0' });
    this.#hear(this.#events);
    this.#feed = feedOf(this.#jobs, this.#subscriber, maxWaiting);
    this.#lookLater();
  }

  /** Redis that is away is noticed by whoever looks for the jobs; what was told meanwhile, too. */
  #hear(events: QueueEvents): void {
    events.on('error', ignore);
    events.on('progress', ({ jobId, data }) => {
      const { job } = this.#queued.get(jobId) ?? {};
      const news = readWorkerNews(data);
      if (job === undefined || news === undefined) return;
      if (news.type === 'start') this.#options.onStart?.(job);
      else this.#options.onRetry?.(job, news);
    });
    events.on('completed', ({ jobId, returnvalue }) => {
      const queued = this.#queued.get(jobId);
      if (queued === undefined) return;
      this.#tell(
        queued,
        isReceipt(returnvalue) ? returnvalue : failed('A worker has ended the job, and gave no receipt'),
      );
    });
    events.on('failed', ({ jobId, failedReason }) => {
      const queued = this.#queued.get(jobId);
      if (queued !== undefined) this.#tell(queued, failed(`A worker could not work on the job: ${failedReason}`));
    });
    events.on('removed', ({ jobId }) => {
      const queued = this.#queued.get(jobId);
      if (queued !== undefined) this.#putBack(queued);
    });
  }

  #tell({ id, key, job }: Queued<Job>, receipt: Told): void {
    this.#queued.delete(id);
    this.#subscriber.next({ ...receipt, key, job });
    void this.#pull();
  }

  /** Puts a job in again that somebody has taken out, or that was lost; unless nobody wants it any more. */
  #putBack(queued: Queued<Job>): void {
    if (this.#isCalledOff) {
      this.#queued.delete(queued.id);
      this.#endWhenOver();
    } else {
      this.#batch.push(this.#entryOf(queued));
      void this.#flush();
    }
  }

  /** Puts jobs in while there is room for them. */
  async #pull(): Promise<void> {
    const { maxQueued } = this.#settings;
    if (this.#isPulling) return;
    this.#isPulling = true;
    try {
      while (this.#state === 'open' && this.#queued.size < maxQueued) {
        const given = await this.#feed?.next();
        if (given === undefined) this.#drain();
        else if (this.#state === 'open') await this.#put(given.job);
      }
    } catch (error) {
      this.#failure ??= { error };
      this.#drain();
    }
    this.#isPulling = false;
    this.#endWhenOver();
  }

  async #put(job: Job): Promise<void> {
    const key: unknown = this.#options.key(job);
    if (typeof key !== 'string' || key === '') throw new TypeError(`key must give a text, got ${String(key)}`);
    if (this.#keys.has(key)) throw new TypeError(`queueJobs got two jobs named ${JSON.stringify(key)}`);
    this.#keys.add(key);
    const id = await idOf(key);
    if (this.#state !== 'open') return;
    const queued = { id, key, job, isMissed: false };
    const entry = this.#entryOf(queued);
    this.#queued.set(id, queued);
    this.#batch.push(entry);
    const flushed = this.#flush();
    if (this.#batch.length >= BATCH) await flushed;
  }

  #entryOf({ id, key, job }: Queued<Job>): Entry {
    const { data = (given: Job): unknown => given } = this.#options;
    const opts = { jobId: id, removeOnComplete: true, removeOnFail: true };
    return { name: 'job', data: { millrace: 1, key, data: data(job) } satisfies QueuedJob, opts };
  }

  #flush(): Promise<void> {
    this.#flushing ??= this.#addAll().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  async #addAll(): Promise<void> {
    try {
      while (this.#batch.length > 0 && this.#state !== 'over') await this.#queue?.addBulk(this.#batch.splice(0, BATCH));
    } catch (error) {
      this.#fail(error);
    }
  }

  #drain(): void {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    this.#feed?.leave();
    this.#endWhenOver();
  }

  /** Takes out what nobody has begun. */
  #callOff(): void {
    this.#isCalledOff = true;
    this.#drain();
    void this.#takeOut();
  }

  async #takeOut(): Promise<void> {
    const queue = this.#queue;
    if (queue === undefined) return;
    try {
      await this.#flush();
      const ids = [...this.#queued.keys()];
      for (let at = 0; at < ids.length && this.#state !== 'over'; at += BATCH) {
        // What was there is told of, in its turn among what else is told; what a worker has stays.
        await Promise.all(ids.slice(at, at + BATCH).map((id) => queue.remove(id)));
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #lookLater(): void {
    this.#looking = asyncScheduler.schedule(() => {
      void this.#look();
    }, LOOK_MS);
  }

  /** Finds jobs that have gone without a word. Two looks: of one that has just ended it is about to be told. */
  async #look(): Promise<void> {
    const { queue } = this.#options;
    const { commands } = this.#settings;
    try {
      const all = [...this.#queued.values()];
      for (let at = 0; at < all.length; at += BATCH) {
        const some = all.slice(at, at + BATCH);
        const replies = await commands.try('look for jobs', (client) => {
          const pipeline = client.pipeline();
          for (const { id } of some) pipeline.exists(jobKey(queue, id));
          return pipeline.exec();
        });
        for (const [index, queued] of some.entries()) {
          const isThere = replies?.[index]?.[1] !== 0;
          if (this.#queued.get(queued.id) !== queued) continue;
          if (isThere) queued.isMissed = false;
          else if (queued.isMissed) await this.#find(queued);
          else queued.isMissed = true;
        }
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#state !== 'over') this.#lookLater();
  }

  /** What became of a job that is not in the queue any more. */
  async #find(queued: Queued<Job>): Promise<void> {
    const { state, receipt, runs } = (await this.#records.read(queued.id)) ?? {};
    if (this.#queued.get(queued.id) !== queued) return;
    queued.isMissed = false;
    const hasEnded = state === 'published' || (state === 'ended' && receipt?.outcome !== 'stopped');
    if (hasEnded && receipt !== undefined) this.#tell(queued, { ...receipt, runs: runs ?? 0 });
    else this.#putBack(queued);
  }

  #fail(cause: unknown): void {
    const { commands } = this.#settings;
    const error = isMillraceError(cause) ? cause : commands.failure('The queue does not take its jobs', cause);
    this.#failure ??= { error };
    this.#end();
  }

  #endWhenOver(): void {
    if (this.#state === 'draining' && this.#queued.size === 0) this.#end();
  }

  #end(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#feed?.leave();
    this.#looking?.unsubscribe();
    void this.#close();
  }

  async #close(): Promise<void> {
    const { commands, isOwn } = this.#settings;
    await this.#events?.close().catch(ignore);
    await this.#queue?.close().catch(ignore);
    const client = await commands.close()?.catch(ignore);
    if (isOwn && client !== undefined && !isCluster(client)) await closeClient(client);
    this.#failure ??= this.#feed?.failure;
    if (this.#failure === undefined) this.#subscriber.complete();
    else this.#subscriber.error(this.#failure.error);
  }
}

function ignore(): undefined {
  return undefined;
}

type Told = Receipt & { readonly runs: number };

function failed(message: string): Told {
  const error = new StoreError('lost', message);
  return {
    ...new Evidence('sink').receipt({ outcome: 'failed', error }, { where: 'none', chars: 0, bytes: 0 }),
    runs: 0,
  };
}

/** As a worker of ours has told it. */
function isReceipt(value: unknown): value is Told {
  return isRecord(value) && typeof value['outcome'] === 'string' && isRecord(value['timings']);
}
