import { ValidationError } from '../errors.js';
import { isRecord } from '../protocol/errorBody.js';

/** A job as it lies in the queue. */
export interface QueuedJob {
  /** The layout's version. */
  readonly millrace: 1;
  readonly key: string;
  readonly data: unknown;
}

/** @throws ValidationError for what no `queueJobs` has put there */
export function readQueuedJob(value: unknown): QueuedJob {
  if (isRecord(value) && value['millrace'] === 1 && typeof value['key'] === 'string' && value['key'] !== '') {
    return { millrace: 1, key: value['key'], data: value['data'] };
  }
  const what = isRecord(value) && typeof value['millrace'] === 'number' ? 'of another version' : 'of something else';
  throw new ValidationError(`Unexpected shape of a job in the queue: it is ${what}`, [
    { path: 'millrace', message: 'must be 1, beside a key' },
  ]);
}
