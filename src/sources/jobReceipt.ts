import type { Receipt } from '../types.js';

/** What became of a job. @public */
export interface JobReceipt<Job> extends Receipt {
  readonly key: string;
  readonly job: Job;
  /**
   * How often the job was begun, in this run and in those before it: more than once where a run was killed, or where it failed and was run
   * again. Attempts on one beginning are `attempts`.
   */
  readonly runs: number;
}
