import { isRecord } from '../protocol/errorBody.js';

/** What a worker tells of a job while it works on it, as BullMQ's progress. */
export type WorkerNews =
  { readonly type: 'start' } | { readonly type: 'retry'; readonly message: string; readonly delayMs: number };

/** @returns undefined for what no worker of ours has told */
export function readWorkerNews(value: unknown): WorkerNews | undefined {
  if (!isRecord(value)) return undefined;
  const { type, message, delayMs } = value;
  if (type === 'start') return { type };
  const isRetry = type === 'retry' && typeof message === 'string' && typeof delayMs === 'number';
  return isRetry ? { type, message, delayMs } : undefined;
}
