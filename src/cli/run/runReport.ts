import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { FileJob } from './fileJob.js';
import { type JobEntry, jobEntry } from './jobEntry.js';
import type { JobOutcome } from './jobOutcome.js';
import { Spending, type Spent } from './spending.js';

/**
 * What a run did: `report.json`. A later version of it may have more in it; what is there keeps its meaning as long as `version` is 1.
 * Times are ISO dates and milliseconds, text is counted in UTF-16 code units, and what is not known is `null` or not there.
 */
export interface RunReport {
  readonly version: 1;
  /** The output folder; the files of the jobs are in it. */
  readonly folder: string;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly elapsedMs: number;
  /** Why no more jobs were taken before all had ended; `null` where they all have. */
  readonly stopped: string | null;
  /** All jobs of the file, those that an earlier run has finished included. */
  readonly totals: Totals;
  /** The jobs that were asked in this run: what it cost, and how fast it was. */
  readonly thisRun: Totals & {
    /** Text that came in this run, for each second of it. */
    readonly charsPerSecond: number | null;
  };
  /** A list of all jobs, in the order of the job file. */
  readonly jobs: readonly JobEntry[];
}

/** What several jobs come to. */
export interface Totals extends Spent {
  readonly jobs: number;
  /** How many of them had which outcome; 0 included. */
  readonly outcomes: Readonly<Record<JobOutcome, number>>;
  /** Jobs that were begun more than once, after a kill or a failure, so that a part of them may have been billed twice. */
  readonly askedAgain: number;
  readonly chars: number;
  readonly bytes: number;
  readonly attempts: number;
  readonly restarts: number;
  /** Of the jobs that had content. */
  readonly firstContentMs: Quantiles | null;
  /** Of the jobs that are complete or withheld: one that failed took as long as it took to fail. */
  readonly totalMs: Quantiles | null;
}

/** Times that half, nine of ten, and 99 of 100 jobs took at most: each is one that was measured (the nearest rank). */
export interface Quantiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** What a report is made of besides jobs and receipts. */
export interface ReportedRun {
  readonly folder: string;
  /** In epoch milliseconds. */
  readonly startedAt: number;
  readonly endedAt: number;
  /** Why no more jobs were taken before all had ended. */
  readonly stopped?: string | undefined;
}

/**
 * Puts the report of a run together.
 * @param jobs - all of the file, in its order
 * @param receipts - in any order, of as many of the jobs as there are; of two for one job the later one counts
 */
export function runReport(
  jobs: readonly FileJob[],
  receipts: Iterable<JobReceipt<FileJob>>,
  { folder, startedAt, endedAt, stopped }: ReportedRun,
): RunReport {
  const receiptOf = receiptsByJob(receipts);
  const entries = jobs.map((job) => jobEntry(job, receiptOf(job)));
  const elapsedMs = Math.max(0, endedAt - startedAt);
  const asked = sumUp(entries.filter(({ outcome, skipped }) => outcome !== 'pending' && skipped !== true));
  return {
    version: 1,
    folder,
    startedAt: new Date(startedAt).toISOString(),
    endedAt: new Date(endedAt).toISOString(),
    elapsedMs,
    stopped: stopped ?? null,
    totals: sumUp(entries),
    thisRun: { ...asked, charsPerSecond: elapsedMs === 0 ? null : (asked.chars * 1000) / elapsedMs },
    jobs: entries,
  };
}

/** Finds the receipt of a job by the file that it writes, which no two jobs share. */
export function receiptsByJob(
  receipts: Iterable<JobReceipt<FileJob>>,
): (job: FileJob) => JobReceipt<FileJob> | undefined {
  const byFile = new Map<string, JobReceipt<FileJob>>();
  for (const receipt of receipts) byFile.set(receipt.job.out, receipt);
  return ({ out }) => byFile.get(out);
}

function sumUp(entries: readonly JobEntry[]): Totals {
  const outcomes = { complete: 0, failed: 0, interrupted: 0, stopped: 0, withheld: 0, pending: 0 };
  const sums = { askedAgain: 0, chars: 0, bytes: 0, attempts: 0, restarts: 0 };
  const spending = new Spending();
  const [firsts, totals]: [number[], number[]] = [[], []];
  for (const entry of entries) {
    const { outcome, chars = 0, bytes = 0, attempts = 0, restarts = 0, runs = 0 } = entry;
    const { usage, firstContentMs, totalMs } = entry;
    outcomes[outcome] += 1;
    if (runs > 1) sums.askedAgain += 1;
    sums.chars += chars;
    sums.bytes += bytes;
    sums.attempts += attempts;
    sums.restarts += restarts;
    if (usage !== undefined) spending.add(usage);
    if (firstContentMs !== undefined) firsts.push(firstContentMs);
    if (totalMs !== undefined && (outcome === 'complete' || outcome === 'withheld')) totals.push(totalMs);
  }
  return {
    jobs: entries.length,
    outcomes,
    ...sums,
    ...spending.read(),
    firstContentMs: quantiles(firsts),
    totalMs: quantiles(totals),
  };
}

function quantiles(times: readonly number[]): Quantiles | null {
  if (times.length === 0) return null;
  const sorted = Float64Array.from(times).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}
