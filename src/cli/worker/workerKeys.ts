import { type CLIConfig, resolveProvider } from '../config.js';
import { UsageError } from '../exitCodes.js';
import { readKey } from '../readKey.js';
import type { FileJob } from '../run/fileJob.js';
import type { KeyedJob, KeyOf } from '../run/runKeys.js';

/**
 * Finds the keys of jobs among those of this machine: a job brings but their names.
 * @param who - this worker, as whoever put the job into the queue knows it
 */
export function workerKeys(config: CLIConfig, env: Readonly<Record<string, string | undefined>>, who: string): KeyOf {
  return (job) => {
    try {
      return keyOf(job, config, env);
    } catch (error) {
      throw error instanceof UsageError ? new UsageError(`on worker ${who}: ${error.message}`) : error;
    }
  };
}

function keyOf(
  { options: { provider, mode }, keyEnv, account = provider }: KeyedJob,
  config: CLIConfig,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (keyEnv !== undefined) return readKey({ provider, mode, keyEnv }, env);
  const { provider: known, settings } = resolveProvider(account, config);
  // The key of one must not go to the other.
  if (known !== provider)
    throw new UsageError(`the config file's ${account} is not a name of ${provider} there, but of ${known}`);
  return readKey({ provider, mode, keyEnv: settings.keyEnv, apiKey: settings.key }, env);
}

/** Words that can be no key: names are written so. */
const VARIABLE = /^[A-Z][A-Z0-9_]*$/;

/**
 * Looks whether what stands where the name of a variable should is one: it goes into the queue, and a key must not.
 * @throws UsageError, without the word
 */
export function requireVariableNames(jobs: readonly FileJob[], hasVariable: (name: string) => boolean): void {
  for (const { keyEnv, line } of jobs) {
    if (keyEnv === undefined || VARIABLE.test(keyEnv) || hasVariable(keyEnv)) continue;
    throw new UsageError(
      `what the job of line ${String(line)} has for keyEnv or --key-env may be a key, and a key does not go into a queue: ` +
        'it takes the name of an environment variable, in capitals unless it is set here too',
    );
  }
}
