import type { Billing, StoppedBy, Usage } from '../../index.js';
import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { OutputFormat, ShownJob } from './fileJob.js';
import { fileOf, type JobOutcome, outcomeOf, reasonOf } from './jobOutcome.js';

/** What is told of a job to machines: in `report.json`, and by `--json` when it ends. What is not known is not there. */
export interface JobEntry {
  readonly id: string;
  /** Where it begins in the job file, from 1. */
  readonly line: number;
  readonly provider: string;
  readonly model?: string;
  readonly format: OutputFormat;
  readonly outcome: JobOutcome;
  /** An earlier run has finished it: what follows is of then. */
  readonly skipped?: true;
  /** Where its answer is, or what came of it: a path in the output folder, with `/` between its parts. */
  readonly file?: string;
  /** Present where it was begun and is not complete. */
  readonly error?: { readonly code: string; readonly message: string };
  /** Present where the outcome is `stopped`. */
  readonly by?: StoppedBy;
  /** Why the model stopped, where its answer is whole. */
  readonly finish?: string;
  /** Text of the answer, in UTF-16 code units. */
  readonly chars?: number;
  /** Bytes of its file. */
  readonly bytes?: number;
  /** When it was asked, as an ISO date. */
  readonly startedAt?: string;
  /** Milliseconds from then to the first content, and to the end. */
  readonly firstContentMs?: number;
  readonly totalMs?: number;
  /** As its provider told it; `provenance` says how much of it. */
  readonly usage?: Usage;
  /** How often it was asked or gone on with, since it was begun last. */
  readonly attempts?: number;
  /** How often its answer began anew. */
  readonly restarts?: number;
  /** How often it was begun, in this run and in those before: more than once after a kill, and where it had failed. */
  readonly runs?: number;
  /** Codes, each once. */
  readonly warnings?: readonly string[];
  /** The server's names for the requests, for a support ticket. */
  readonly requestIds?: readonly string[];
  readonly billing?: Billing;
}

/** What is told of a job. @param receipt - where it was begun */
export function jobEntry(job: ShownJob, receipt: JobReceipt<ShownJob> | undefined): JobEntry {
  const { id, line, format, options } = job;
  const { provider, model } = options;
  if (receipt === undefined) {
    return { id, line, provider, ...(model !== undefined && { model }), format, outcome: 'pending' };
  }
  const { finish, by, chars, bytes, timings, usage, attempts, restarts, runs, warnings, requestIds, billing } = receipt;
  const outcome = outcomeOf(receipt);
  const file = fileOf(receipt);
  const answered = receipt.model ?? model;
  return {
    id,
    line,
    provider,
    ...(answered !== undefined && { model: answered }),
    format,
    outcome,
    ...(receipt.skipped === true && { skipped: true }),
    ...(file !== undefined && { file }),
    ...(outcome !== 'complete' && { error: reasonOf(receipt) }),
    ...(by !== undefined && { by }),
    ...(finish !== undefined && { finish: finish.reason }),
    chars,
    bytes,
    startedAt: new Date(timings.startedAt).toISOString(),
    ...(timings.firstContentMs !== undefined && { firstContentMs: timings.firstContentMs }),
    totalMs: timings.totalMs,
    usage,
    attempts,
    restarts,
    runs,
    ...(warnings.length > 0 && { warnings: [...new Set(warnings.map(({ code }) => code))] }),
    ...(requestIds.length > 0 && { requestIds }),
    billing,
  };
}
