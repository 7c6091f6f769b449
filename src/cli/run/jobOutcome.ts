import { basename, posix } from 'node:path';
import type { Outcome, Receipt } from '../../index.js';
import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { ShownJob } from './fileJob.js';

/**
 * What became of a job. `withheld`: the answer is whole and ended for a reason that makes no file final, so that it stays `.partial`.
 * `pending`: the run did not come to it.
 */
export type JobOutcome = Outcome | 'withheld' | 'pending';

/** Whether an earlier run has finished the job, so that nothing was asked. */
export function isFromBefore({ skipped }: Receipt): boolean {
  return skipped === true;
}

/** What became of a job that was asked. */
export function outcomeOf(receipt: JobReceipt<ShownJob>): Exclude<JobOutcome, 'pending'> {
  const { outcome, where, job } = receipt;
  const isNamed = receipt.skipped === true || basename(where) === posix.basename(job.out);
  return outcome === 'complete' && !isNamed ? 'withheld' : outcome;
}

/** Where what came of it is: a path in the output folder, with `/` between its parts; `undefined` where there is nothing. */
export function fileOf({ where, job }: JobReceipt<ShownJob>): string | undefined {
  if (where === 'none') return undefined;
  // A receipt has the real path of its folder, which may lead elsewhere.
  return posix.join(posix.dirname(job.out), basename(where));
}

/** Why it is not complete: a stable code, and a sentence. */
export function reasonOf(receipt: JobReceipt<ShownJob>): { readonly code: string; readonly message: string } {
  const { outcome, error, by, finish } = receipt;
  if (error !== undefined) return { code: error.code ?? error.name, message: error.message };
  if (outcome === 'stopped')
    return { code: 'stopped', message: by === 'signal' ? 'stopped before its end' : `stopped by ${by ?? 'us'}` };
  if (outcome === 'complete') {
    const reason = finish?.reason ?? 'unknown';
    return { code: `finish-${reason}`, message: `the answer ended with '${reason}': its file stays .partial` };
  }
  return { code: outcome, message: outcome };
}
