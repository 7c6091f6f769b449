import type { Receipt } from '../../../src/index.js';
import type { FileJob } from '../../../src/cli/run/fileJob.js';
import type { JobReceipt } from '../../../src/sources/jobReceipt.js';

/** A job of a job file. */
export function job(id: string, more: Partial<FileJob> = {}): FileJob {
  return {
    id,
    line: 1,
    options: { provider: 'polargrid', mode: 'chat', model: 'millwheel-1' },
    asks: { prompt: 'a secret prompt' },
    keyEnv: undefined,
    account: 'polargrid',
    format: 'text',
    out: `${id}.md`,
    source: { id, prompt: 'a secret prompt' },
    ...more,
  };
}

/** What became of a job: it is complete, unless `more` says otherwise. */
export function receiptOf(of: FileJob, more: Partial<Receipt> & { readonly runs?: number } = {}): JobReceipt<FileJob> {
  return {
    key: of.id,
    job: of,
    runs: 1,
    provider: of.options.provider,
    where: `/answers/${of.out}${more.outcome === undefined || more.outcome === 'complete' ? '' : '.partial'}`,
    chars: 1_200,
    bytes: 1_210,
    outcome: 'complete',
    ...(more.outcome === undefined && { finish: { reason: 'stop' } }),
    timings: { startedAt: Date.UTC(2026, 0, 2, 3, 4, 5), firstContentMs: 310, totalMs: 4_200 },
    usage: { provenance: 'reported', inputTokens: 12, outputTokens: 310, cost: { total: 0.001, currency: 'USD' } },
    attempts: 1,
    restarts: 0,
    warnings: [],
    requestIds: [],
    billing: 'ended',
    ...more,
  };
}

/** What a failure says in a receipt. */
export function failure(message: string, code = 'ERR_HTTP'): Pick<Receipt, 'outcome' | 'error'> {
  return { outcome: 'failed', error: { name: 'HTTPError', code, message } };
}
