import { hostname } from 'node:os';
import { resolve } from 'node:path';
import process from 'node:process';
import { finalize, lastValueFrom, tap } from 'rxjs';
import type { QueuedRun } from '../../bullmq/index.js';
import type { JobReceipt, StreamEvent } from '../../index.js';
import { counted, duration, grouped } from '../../internal/node/terminal/measures.js';
import type { WorkerFlags } from '../commands/worker.js';
import { type CLIConfig, loadConfig } from '../config.js';
import type { CLIContext } from '../context.js';
import { EXIT, type ExitCode, UsageError } from '../exitCodes.js';
import { reportError } from '../reportError.js';
import { askingOf, showGates } from '../run/asking.js';
import type { ShownJob } from '../run/fileJob.js';
import { isFromBefore, outcomeOf } from '../run/jobOutcome.js';
import type { KeyOf } from '../run/runKeys.js';
import type { RunView } from '../run/runView.js';
import { runViewFor } from '../run/runViewFor.js';
import { onceAborted, stopName } from '../run/stopSignals.js';
import { IdleWatch } from './idleWatch.js';
import { makeFolder } from './makeFolder.js';
import { probeRedis } from './probeRedis.js';
import { DEFAULT_QUEUE, type QueueAddress, queueAddress } from './queueAddress.js';
import { type QueueEntry, readEntry } from './queueEntry.js';
import { requirePeers } from './requirePeers.js';
import { workerKeys } from './workerKeys.js';

/** What `millrace worker` cannot do without. */
type GivenFlags = WorkerFlags & Required<Pick<WorkerFlags, 'queue' | 'out'>>;

/** Does jobs of a queue until it is told to end. */
export async function worker(flags: GivenFlags, context: CLIContext): Promise<ExitCode> {
  let address: QueueAddress | undefined;
  try {
    address = queueAddress(flags.queue, flags.queueName ?? DEFAULT_QUEUE, context.env);
    requirePeers('millrace worker');
    const config = await loadConfig(context, flags.config);
    await probeRedis(address, context.signal);
    const folder = resolve(flags.out);
    await makeFolder(folder);
    return await new WorkerRun({ address, config, flags, folder }, context).run();
  } catch (error) {
    if (context.signal.aborted && !(error instanceof UsageError)) return EXIT.complete; // while it looked for the Redis
    reportError(context, error, address?.login?.password);
    return error instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
}

/** What is worked off, and how. */
interface WorkerPlan {
  readonly address: QueueAddress;
  readonly config: CLIConfig;
  readonly flags: GivenFlags;
  /** By its whole path. */
  readonly folder: string;
}

class WorkerRun {
  readonly #plan: WorkerPlan;
  readonly #context: CLIContext;
  readonly #view: RunView;
  readonly #keyOf: KeyOf;
  readonly #idle: IdleWatch;
  readonly #drain = new AbortController();
  readonly #stop = new AbortController();
  /** What was read of what the queue gave. */
  readonly #entries: WeakMap<object, QueueEntry> = new WeakMap();
  readonly #ended: Map<string, number> = new Map();
  /** What was told since something went well: the same is not told again and again. */
  readonly #troubles: Set<string> = new Set();

  constructor(plan: WorkerPlan, context: CLIContext) {
    const { address, config, flags } = plan;
    const { name, shown: url } = address;
    this.#plan = plan;
    this.#context = context;
    const queue = { name, url, role: 'worker' } as const;
    this.#view = runViewFor(context, { jobs: undefined, finished: 0, folder: flags.out, queue }, flags);
    this.#keyOf = workerKeys(config, context.env, `${hostname()} (process ${String(process.pid)})`);
    const { exitWhenIdle = 0 } = flags;
    this.#idle = new IdleWatch(exitWhenIdle, () => {
      this.#end(`nothing to do for ${duration(exitWhenIdle)}`);
    });
  }

  async run(): Promise<ExitCode> {
    const startedAt = Date.now();
    this.#hearStops();
    let failure: { readonly error: unknown } | undefined;
    try {
      await this.#work();
    } catch (error) {
      failure = { error };
    }
    this.#idle.close();
    this.#view.close();
    if (this.#plan.flags.json !== true) this.#context.stdout.write(`${this.#summary(Date.now() - startedAt)}\n`);
    if (failure !== undefined) {
      reportError(this.#context, failure.error, this.#plan.address.login?.password);
      return EXIT.failed;
    }
    return this.#stop.signal.aborted ? EXIT.stopped : EXIT.complete; // Ctrl-C is how a worker ends
  }

  async #work(): Promise<void> {
    const { address, config, flags, folder } = this.#plan;
    const { concurrency = config.run.concurrency ?? 20, perHost = config.run.perHost ?? Infinity, lease } = flags;
    const [{ workJobs }, { redisGate }] = await Promise.all([
      import('../../bullmq/index.js'),
      import('../../redis/index.js'),
    ]);
    const redis = { url: address.url };
    const gate = redisGate(redis, {
      perKey: perHost,
      adapt: true,
      // Those of a worker that was killed hold nobody up for longer than its jobs do.
      leaseMs: Math.min(lease ?? GATE_LEASE_MS, GATE_LEASE_MS),
      maxWaitMs: MAX_WAIT_MS,
      onChange: showGates(this.#view, perHost),
    });
    try {
      const receipts = workJobs<unknown>({
        redis,
        queue: address.name,
        concurrency,
        gate,
        leaseMs: lease,
        maxWaitMs: MAX_WAIT_MS,
        signal: this.#drain.signal,
        stop: this.#stop.signal,
        run: (data) => this.#runOf(data, folder),
        onStart: (data) => {
          const job = this.#shown(data, '');
          this.#troubles.clear();
          this.#idle.begin(job.out);
          this.#view.start(job);
        },
        onRetry: (data, { error, delayMs }) => {
          this.#view.retry(this.#shown(data, ''), error instanceof Error ? error.message : String(error), delayMs);
        },
        onTrouble: (error) => {
          this.#tellTrouble(error.message);
        },
      });
      const taken = tap<JobReceipt<unknown>>((receipt) => {
        this.#take(receipt);
      });
      await lastValueFrom(receipts.pipe(taken), { defaultValue: undefined });
    } finally {
      await gate.close();
    }
  }

  /** How a job is run. @throws UsageError where it is none that this worker can do: the job's failure */
  #runOf(data: unknown, dir: string): QueuedRun<unknown> {
    const { job, settings } = this.#read(data);
    const { retries, ...options } = settings;
    const asking = askingOf(() => job, this.#keyOf, this.#view);
    // A job that another has taken meanwhile has no receipt here.
    const over = finalize<StreamEvent | string>(() => {
      this.#idle.end(job.out);
    });
    return {
      ...options,
      ...asking,
      transform: (events) => asking.transform(events, data).pipe(over),
      file: () => job.out,
      dir,
      retry: { count: retries },
    };
  }

  #read(data: unknown): QueueEntry {
    const known = typeof data === 'object' && data !== null ? this.#entries.get(data) : undefined;
    const entry = known ?? readEntry(data);
    if (typeof data === 'object' && data !== null) this.#entries.set(data, entry);
    return entry;
  }

  /** A job as it is shown; what is none has the name that the queue has for it. */
  #shown(data: unknown, key: string): ShownJob {
    try {
      return this.#read(data).job;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return { id: key, line: 0, options: { provider: 'unknown' }, format: 'text', out: key };
    }
  }

  #take(receipt: JobReceipt<unknown>): void {
    const job = this.#shown(receipt.job, receipt.key);
    const shown = { ...receipt, job };
    const outcome = isFromBefore(receipt) ? 'finished before' : outcomeOf(shown);
    this.#ended.set(outcome, (this.#ended.get(outcome) ?? 0) + 1);
    this.#troubles.clear();
    this.#view.end(shown);
    this.#idle.end(job.out);
  }

  #tellTrouble(message: string): void {
    if (this.#troubles.has(message) || this.#troubles.size === MAX_TROUBLES) return;
    this.#troubles.add(message);
    this.#view.say(message);
  }

  #summary(elapsedMs: number): string {
    const counts = [...this.#ended];
    const all = counts.reduce((sum, [, count]) => sum + count, 0);
    const words = counts.map(([outcome, count]) => `${grouped(count)} ${outcome}`).join(', ');
    return `${counted(all, 'job')} in ${duration(elapsedMs)}${words === '' ? '' : `: ${words}`}`;
  }

  /** The first Ctrl-C takes no more jobs, the second one gives back those that run; the third is the program's. */
  #hearStops(): void {
    const { signal, insisted } = this.#context;
    onceAborted(signal, () => {
      this.#end(stopName(signal));
    });
    onceAborted(insisted(), () => {
      this.#view.stop('stopping', stopName(signal));
      this.#stop.abort();
    });
  }

  #end(why: string): void {
    if (this.#drain.signal.aborted) return;
    this.#view.stop('draining', why);
    this.#drain.abort();
  }
}

/** A Redis that is away for longer ends the worker: five minutes are more than a restart takes. Chosen. */
const MAX_WAIT_MS = 300_000;

/** So long a worker that is silent keeps its places at a gate, unless its lease is shorter. As `redisGate` has it. */
const GATE_LEASE_MS = 15_000;

/** More of them say no more. */
const MAX_TROUBLES = 10;
