import { type CLIConfig, resolveProvider } from '../config.js';
import { UsageError } from '../exitCodes.js';
import { readKey } from '../readKey.js';
import type { FileJob } from './fileJob.js';

/** What of a job says which key it is asked with. */
export type KeyedJob = Pick<FileJob, 'options' | 'keyEnv' | 'account'>;

/** The key that a job is asked with; `undefined` where it is asked without. */
export type KeyOf = (job: KeyedJob) => string | undefined;

/**
 * Finds the key of every job, before one is asked.
 * @throws UsageError with all that is missing, each once
 */
export function runKeys(
  jobs: readonly FileJob[],
  config: CLIConfig,
  env: Readonly<Record<string, string | undefined>>,
): KeyOf {
  const keys = new Map<string, string | undefined>();
  const missing = new Set<string>();
  for (const job of jobs) {
    const name = nameOf(job);
    if (keys.has(name)) continue;
    const { provider, mode } = job.options;
    const apiKey = resolveProvider(job.account ?? provider, config).settings.key;
    try {
      keys.set(name, readKey({ provider, mode, keyEnv: job.keyEnv, apiKey }, env));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      missing.add(error.message);
    }
  }
  if (missing.size > 0) throw new UsageError([...missing].join('; '));
  return (job) => keys.get(nameOf(job));
}

function nameOf({ options: { provider, mode }, keyEnv, account }: KeyedJob): string {
  return JSON.stringify([provider, mode, keyEnv, account]);
}
