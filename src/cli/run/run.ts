import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { lastValueFrom, type Observable, tap } from 'rxjs';
import {
  createGate,
  fileJournal,
  isMillraceError,
  type JobReceipt,
  type OpenJobJournal,
  type RetryAttempt,
  runJobs,
  type StreamEvent,
} from '../../index.js';
import { hostOfCall } from '../../internal/hostOfCall.js';
import { printable } from '../../internal/textWidth.js';
import type { RunFlags } from '../commands/run.js';
import { loadConfig } from '../config.js';
import { type CLIContext, colorsFor } from '../context.js';
import { EXIT, type ExitCode, UsageError } from '../exitCodes.js';
import { type Access, attachedCall, providerCall } from '../providerCall.js';
import { reportError } from '../reportError.js';
import { Budget } from './budget.js';
import { describeJobs } from './describeJobs.js';
import type { FileJob } from './fileJob.js';
import { formatOutput } from './formatOutput.js';
import { JobFileError } from './jobProblems.js';
import { jobKey } from './jobKey.js';
import { jobSource, readJobs } from './readJobs.js';
import { type KeyOf, runKeys } from './runKeys.js';
import { type RunReport, runReport } from './runReport.js';
import { jobDefaults, type RunSettings, runSettings } from './runSettings.js';
import { runTable } from './runTable.js';
import type { RunView } from './runView.js';
import { runViewFor } from './runViewFor.js';
import { writeReport } from './writeReport.js';

/**
 * Asks for every job of a file, each answer into a file of its own; begun again, it goes on where it was.
 * @param file - the job file; `-` for standard input
 */
export async function run(file: string, flags: RunFlags, context: CLIContext): Promise<ExitCode> {
  try {
    const config = await loadConfig(context, flags.config);
    const source = jobSource(file, context.stdin, flags.inputFormat);
    const jobs = await unlessStopped(context, readJobs(source, jobDefaults(flags, config), { config }));
    if (jobs === undefined) return EXIT.stopped;
    const keyOf = runKeys(jobs, config, context.env);
    const folder = resolve(flags.out ?? '');
    const settings = runSettings(flags, config);
    if (settings.footer && jobs.some(({ format }) => format !== 'text')) {
      throw new UsageError('--footer is a line for people; a file in --format json or events is for programs');
    }
    const open = (): Promise<OpenJobJournal> =>
      fileJournal(join(folder, '.millrace'), { fsync: settings.fsync }).open();
    if (flags.dryRun === true) {
      // Where there is no journal none is made.
      const known = existsSync(join(folder, '.millrace', 'journal')) ? await open() : undefined;
      const isNew = flags.out === undefined;
      const finished = isNew ? 0 : await countFinished(jobs, known, folder, settings).finally(() => known?.close());
      context.stdout.write(describeJobs(jobs, finished));
      return EXIT.complete;
    }
    const journal = await open();
    let finished: number;
    try {
      finished = await countFinished(jobs, journal, folder, settings);
    } catch (error) {
      await journal.close();
      throw error;
    }
    return await new FileRun({ jobs, keyOf, settings, flags, folder, journal, finished }, context).run();
  } catch (error) {
    if (error instanceof JobFileError) tellProblems(error, context);
    else reportError(context, error);
    const isBadInput = error instanceof UsageError || isTaken(error);
    return isBadInput ? EXIT.usage : EXIT.failed;
  }
}

/** Each on a line of its own, as compilers do. */
function tellProblems({ message }: JobFileError, { stderr }: CLIContext): void {
  for (const line of message.split('\n')) stderr.write(`${printable(line)}\n`);
  stderr.write('millrace: nothing was asked, since every job must be right before one is\n');
}

/** What a reading comes to; `undefined` where Ctrl-C ended it: nobody may ever write into standard input. */
async function unlessStopped<T>({ signal, stdin }: CLIContext, reading: Promise<T>): Promise<T | undefined> {
  const stopped = new Promise<undefined>((resolve) => {
    onceAborted(signal, () => {
      resolve(undefined);
    });
  });
  const result = await Promise.race([reading, stopped]);
  if (signal.aborted) stdin.destroy(); // or the process would wait for it
  return result;
}

/** Another run is at work in the folder, its journal is none, or it cannot be written into; and not a disk that is full or broken. */
function isTaken(error: unknown): boolean {
  const isFull = isMillraceError(error) && ['ENOSPC', 'EDQUOT', 'EIO'].includes(String(error.context['code']));
  return isMillraceError(error) && error.code === 'ERR_SINK' && !isFull;
}

/** Of the files that are in the way so many are named. */
const MAX_NAMED = 5;

/**
 * Counts the jobs that an earlier run has finished.
 * @throws UsageError for files that are there already and that no earlier run has made: better now than when everything is paid for
 */
async function countFinished(
  jobs: readonly FileJob[],
  journal: OpenJobJournal | undefined,
  folder: string,
  { ifExists }: RunSettings,
): Promise<number> {
  let finished = 0;
  const inTheWay: FileJob[] = [];
  for (const job of jobs) {
    const isThere = existsSync(join(folder, job.out));
    const { state } = (await journal?.read(jobKey(job))) ?? {};
    if (state === 'published' && isThere) finished += 1;
    else if (state !== 'written' && isThere) inTheWay.push(job);
  }
  if (ifExists !== 'error' || inTheWay.length === 0) return finished;
  const named = inTheWay.slice(0, MAX_NAMED).map(({ out, line }) => `${out} (line ${String(line)})`);
  const more = inTheWay.length - named.length;
  throw new UsageError(
    `${named.join(', ')}${more > 0 ? ` and ${String(more)} more` : ''} ` +
      `${inTheWay.length === 1 ? 'is there already and was' : 'are there already and were'} not made by ` +
      `${inTheWay.length === 1 ? 'this job as it is' : 'these jobs as they are'} now; --if-exists skip or overwrite says what to do`,
  );
}

/** What is run. */
interface Plan {
  readonly jobs: readonly FileJob[];
  readonly keyOf: KeyOf;
  readonly settings: RunSettings;
  readonly flags: RunFlags;
  readonly folder: string;
  readonly journal: OpenJobJournal;
  readonly finished: number;
}

class FileRun {
  readonly #plan: Plan;
  readonly #context: CLIContext;
  readonly #view: RunView;
  readonly #receipts: JobReceipt<FileJob>[] = [];
  readonly #drain = new AbortController();
  readonly #stop = new AbortController();
  /** Providers that do not tell what a budget counts. */
  readonly #uncounted: Set<string> = new Set();
  /** Why no more jobs are taken. */
  #why: string | undefined;

  constructor(plan: Plan, context: CLIContext) {
    const { jobs, finished, flags } = plan;
    this.#plan = plan;
    this.#context = context;
    const start = { jobs: jobs.length, finished, folder: flags.out ?? '' };
    this.#view = runViewFor(context, start, flags);
  }

  async run(): Promise<ExitCode> {
    const { jobs, folder, flags, settings } = this.#plan;
    const { stdout, env } = this.#context;
    const startedAt = Date.now();
    let failure: unknown;
    this.#hearStops();
    try {
      await lastValueFrom(this.#receiptsOf(jobs), { defaultValue: undefined });
    } catch (error) {
      failure = error;
      this.#why ??= error instanceof Error ? error.message : String(error);
    }
    const report = runReport(jobs, this.#receipts, { folder, startedAt, endedAt: Date.now(), stopped: this.#why });
    try {
      await writeReport(folder, report, jobs, this.#receipts, settings.fsync);
    } catch (error) {
      failure ??= error; // of two the first: a full disk keeps no report either
    }
    this.#view.close();
    if (flags.json !== true) {
      const colors = colorsFor(stdout, env);
      stdout.write(`\n${runTable(report, stdout.columns ?? 100, colors)}\n`);
      stdout.write(`${colors.dim(this.#nextSteps(report))}\n`);
    }
    if (failure !== undefined) {
      reportError(this.#context, failure);
      return EXIT.failed;
    }
    if (report.totals.outcomes.complete === jobs.length) return EXIT.complete;
    return this.#why === undefined ? EXIT.failed : EXIT.stopped;
  }

  /** Where to look, and what to do next. */
  #nextSteps({ totals: { outcomes }, stopped }: RunReport): string {
    const out = this.#plan.flags.out ?? '';
    const failed = outcomes.failed + outcomes.interrupted + outcomes.withheld;
    return [
      `${join(out, 'report.html')} shows it all; ${join(out, 'report.json')} is for programs`,
      ...(failed === 0 ? [] : [`the same command, or ${join(out, 'failed.jsonl')}, runs what failed again`]),
      ...(stopped === null ? [] : ['the same command goes on where this run was stopped']),
    ].join('\n');
  }

  #receiptsOf(jobs: readonly FileJob[]): Observable<JobReceipt<FileJob>> {
    const { settings, folder, journal } = this.#plan;
    const { concurrency, perHost, retries, ...options } = settings;
    const budget = new Budget(settings);
    const gate = createGate({
      concurrency,
      perKey: perHost,
      adapt: true,
      onChange: (name, { limit, closedForMs }) => {
        this.#view.gate({ name: name.split('\n', 1)[0] ?? '', limit: limit ?? perHost, most: perHost, closedForMs });
      },
    });
    return runJobs(jobs, {
      ...options,
      concurrency,
      gate,
      key: jobKey,
      call: (job) => providerCall({ ...this.#access(job), ...job.asks }),
      attach: (job, workId) => attachedCall({ ...this.#access(job), ...job.asks }, workId),
      gateKey: (job, call) => `${hostOfCall(call)}\n${job.keyEnv ?? job.account ?? ''}`,
      file: ({ out }) => out,
      dir: folder,
      journal: { open: () => Promise.resolve(journal) },
      retry: { count: retries },
      signal: this.#drain.signal,
      stop: this.#stop.signal,
      transform: (events, job) => this.#shown(events, job),
      onStart: (job) => {
        this.#view.start(job);
      },
      onRetry: (job, { error, delayMs }: RetryAttempt) => {
        this.#view.retry(job, error instanceof Error ? error.message : String(error), delayMs);
      },
    }).pipe(
      tap((receipt) => {
        this.#receipts.push(receipt);
        this.#view.end(receipt);
        if (receipt.skipped === true) return;
        const spent = budget.spend(receipt.usage);
        if (spent !== undefined) this.#end(spent);
        this.#tellUncounted(receipt);
      }),
    );
  }

  /** A budget of what a provider does not tell is none: said once for each. */
  #tellUncounted({ provider = '', usage, outcome }: JobReceipt<FileJob>): void {
    const { maxCost, maxTokens } = this.#plan.settings;
    if (outcome !== 'complete') return;
    const { cost, inputTokens, outputTokens, totalTokens } = usage;
    const isCostless = maxCost !== undefined && cost?.total === undefined;
    const isTokenless = maxTokens !== undefined && (totalTokens ?? inputTokens ?? outputTokens) === undefined;
    if ((!isCostless && !isTokenless) || this.#uncounted.has(provider)) return;
    this.#uncounted.add(provider);
    const flag = isCostless ? '--max-cost' : '--max-tokens';
    this.#view.say(
      `${provider} does not tell what an answer ${isCostless ? 'costs' : 'uses'}: ${flag} cannot count it`,
    );
  }

  #access(job: FileJob): Access {
    return { ...job.options, apiKey: this.#plan.keyOf(job) };
  }

  #shown(events: Observable<StreamEvent>, job: FileJob): Observable<StreamEvent | string> {
    const shown = tap<StreamEvent>((event) => {
      this.#view.show(job, event);
    });
    return events.pipe(shown, formatOutput(job.format));
  }

  /** The first Ctrl-C takes no more jobs, the second one stops those that run; the third is the program's. */
  #hearStops(): void {
    const { signal, insisted } = this.#context;
    onceAborted(signal, () => {
      this.#end(nameOf(signal));
    });
    onceAborted(insisted(), () => {
      this.#view.stop('stopping', nameOf(signal));
      this.#stop.abort();
    });
  }

  #end(why: string): void {
    if (this.#why !== undefined) return;
    this.#why = why;
    this.#view.stop('draining', why);
    this.#drain.abort();
  }
}

/** What has ended the run, as a person knows it. */
function nameOf({ reason }: AbortSignal): string {
  return typeof reason === 'string' && reason !== 'SIGINT' ? reason : 'Ctrl-C';
}

function onceAborted(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) listener();
  else signal.addEventListener('abort', listener, { once: true });
}
