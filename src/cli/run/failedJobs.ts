import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { FileJob } from './fileJob.js';
import { outcomeOf, reasonOf } from './jobOutcome.js';
import { receiptsByJob } from './runReport.js';

/**
 * The text of `failed.jsonl`: the jobs that were begun and are not complete, in the order of their file, one a line, with what went wrong in a
 * field `failed`. It is a job file itself: run again it writes the same files. Jobs that the run did not come to are not in it, for they
 * have not failed: the same command goes on with them.
 *
 * ```text
 * {"id":"guide","provider":"polargrid","prompt":"…","output":"guide.md","failed":{"code":"ERR_HTTP","message":"…"}}
 * ```
 * @param jobs - all of the file, in its order
 * @param receipts - in any order
 * @returns nothing where none failed: there should be no such file then
 */
export function failedJobs(jobs: readonly FileJob[], receipts: Iterable<JobReceipt<FileJob>>): string {
  const receiptOf = receiptsByJob(receipts);
  return jobs
    .flatMap((job) => {
      const receipt = receiptOf(job);
      if (receipt === undefined || outcomeOf(receipt) === 'complete') return [];
      return `${JSON.stringify({ ...job.source, failed: reasonOf(receipt) })}\n`;
    })
    .join('');
}
