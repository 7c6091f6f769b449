import { join } from 'node:path';
import { lastValueFrom, type Observable, tap } from 'rxjs';
import type { JobReceipt } from '../../index.js';
import { type CLIContext, colorsFor } from '../context.js';
import { EXIT, type ExitCode } from '../exitCodes.js';
import { reportError } from '../reportError.js';
import { onceAborted, stopName } from './stopSignals.js';
import { Budget } from './budget.js';
import type { FileJob } from './fileJob.js';
import { type RunReport, runReport } from './runReport.js';
import type { RunSettings } from './runSettings.js';
import { runTable } from './runTable.js';
import type { RunStart, RunView } from './runView.js';
import { runViewFor } from './runViewFor.js';
import { writeReport } from './writeReport.js';

/** Does jobs, and emits the receipt of each. */
export type DoJobs = (jobs: readonly FileJob[], view: RunView, ends: RunEnds) => Observable<JobReceipt<FileJob>>;

/** How a run ends before its time. */
export interface RunEnds {
  /** No more jobs are begun. */
  readonly signal: AbortSignal;
  /** And what is under way is not waited for. */
  readonly stop: AbortSignal;
}

/** What is run. */
export interface RunPlan {
  readonly jobs: readonly FileJob[];
  /** Those that an earlier run has finished, as far as that is known now. */
  readonly finished: number;
  /** By its whole path. */
  readonly folder: string;
  readonly settings: RunSettings;
  readonly doJobs: DoJobs;
  /** Present where others do them. */
  readonly queue?: RunStart['queue'];
  /** Never shown. */
  readonly secret?: string | undefined;
}

/** How it is shown. */
export interface RunShown {
  /** The folder as it was named. */
  readonly out: string;
  readonly json: boolean;
  readonly plain: boolean;
}

/** Runs the jobs of a file to their end, and reports. */
export class FileRun {
  readonly #plan: RunPlan;
  readonly #shown: RunShown;
  readonly #context: CLIContext;
  readonly #view: RunView;
  readonly #budget: Budget;
  readonly #receipts: JobReceipt<FileJob>[] = [];
  readonly #drain = new AbortController();
  readonly #stop = new AbortController();
  /** Providers that do not tell what a budget counts. */
  readonly #uncounted: Set<string> = new Set();
  /** Why no more jobs are taken. */
  #why: string | undefined;

  constructor(plan: RunPlan, shown: RunShown, context: CLIContext) {
    const { jobs, finished, queue, settings } = plan;
    this.#plan = plan;
    this.#shown = shown;
    this.#context = context;
    this.#budget = new Budget(settings);
    this.#view = runViewFor(context, { jobs: jobs.length, finished, folder: shown.out, queue }, shown);
  }

  async run(): Promise<ExitCode> {
    const { jobs, folder, settings, queue, secret } = this.#plan;
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
      const { fsync } = settings;
      await writeReport(folder, report, jobs, this.#receipts, { fsync, isShared: queue !== undefined });
    } catch (error) {
      failure ??= error; // of two the first: a full disk keeps no report either
    }
    this.#view.close();
    if (!this.#shown.json) {
      const colors = colorsFor(stdout, env);
      stdout.write(`\n${runTable(report, stdout.columns ?? 100, colors)}\n`);
      stdout.write(`${colors.dim(this.#nextSteps(report))}\n`);
    }
    if (failure !== undefined) {
      reportError(this.#context, failure, secret);
      return EXIT.failed;
    }
    if (report.totals.outcomes.complete === jobs.length) return EXIT.complete;
    return this.#why === undefined ? EXIT.failed : EXIT.stopped;
  }

  /** Where to look, and what to do next. */
  #nextSteps({ totals: { outcomes }, stopped }: RunReport): string {
    const { out } = this.#shown;
    const failed = outcomes.failed + outcomes.interrupted + outcomes.withheld;
    return [
      `${join(out, 'report.html')} shows it all; ${join(out, 'report.json')} is for programs`,
      ...(failed === 0 ? [] : [`the same command, or ${join(out, 'failed.jsonl')}, runs what failed again`]),
      ...(stopped === null ? [] : ['the same command goes on where this run was stopped']),
    ].join('\n');
  }

  #receiptsOf(jobs: readonly FileJob[]): Observable<JobReceipt<FileJob>> {
    const ends = { signal: this.#drain.signal, stop: this.#stop.signal };
    return this.#plan.doJobs(jobs, this.#view, ends).pipe(
      tap((receipt) => {
        this.#receipts.push(receipt);
        this.#view.end(receipt);
        if (receipt.skipped === true) return;
        const spent = this.#budget.spend(receipt.usage);
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

  /** The first Ctrl-C takes no more jobs, the second one stops those that run, or leaves them to others; the third is the program's. */
  #hearStops(): void {
    const { signal, insisted } = this.#context;
    onceAborted(signal, () => {
      this.#end(stopName(signal));
    });
    onceAborted(insisted(), () => {
      this.#view.stop(this.#plan.queue === undefined ? 'stopping' : 'leaving', stopName(signal));
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
