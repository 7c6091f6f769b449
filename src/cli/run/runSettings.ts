import type { FinishReason, TimeoutOptions, ToFileOptions } from '../../index.js';
import type { RunFlags } from '../commands/run.js';
import type { CLIConfig } from '../config.js';
import type { BudgetLimits } from './budget.js';
import type { JobDefaults } from './readJobs.js';

/** How jobs are run. */
export interface RunSettings extends BudgetLimits {
  readonly concurrency: number;
  readonly perHost: number;
  readonly retries: number;
  readonly timeout: TimeoutOptions;
  readonly footer: boolean;
  readonly publishOn: readonly FinishReason[] | undefined;
  readonly ifExists: NonNullable<ToFileOptions['ifExists']>;
  readonly fsync: boolean;
}

/** As `runJobs` has them. */
const FIRST_CONTENT_MS = 300_000;
const CONTENT_IDLE_MS = 120_000;

/** What the flags say, else the config file, else what is usual. */
export function runSettings(flags: RunFlags, { run }: CLIConfig): RunSettings {
  const { concurrency = run.concurrency ?? 20, ifExists = run.ifExists ?? 'error' } = flags;
  return {
    concurrency,
    ifExists,
    perHost: flags.perHost ?? run.perHost ?? concurrency,
    retries: flags.retries ?? run.retries ?? 10,
    timeout: {
      headersMs: limit(flags.timeoutHeaders ?? run.timeoutHeaders),
      firstContentMs: limit(flags.timeoutFirstContent ?? run.timeoutFirstContent ?? FIRST_CONTENT_MS),
      contentIdleMs: limit(flags.timeoutContentIdle ?? run.timeoutContentIdle ?? CONTENT_IDLE_MS),
      wireIdleMs: limit(flags.timeoutWireIdle ?? run.timeoutWireIdle),
      attemptMs: limit(flags.timeoutAttempt ?? run.timeoutAttempt),
    },
    footer: flags.footer ?? run.footer ?? false,
    publishOn: flags.publishOn ?? run.publishOn,
    fsync: flags.fsync ?? run.fsync ?? true,
    maxCost: flags.maxCost ?? run.maxCost,
    maxTokens: flags.maxTokens ?? run.maxTokens,
  };
}

/** What flags say for jobs that do not say it themselves. */
export function jobDefaults(flags: RunFlags, { run }: CLIConfig): JobDefaults {
  const { provider, mode, model, system, maxOutputTokens, temperature, enableThinking } = flags;
  const { baseUrl, region, service, app, agent, keyEnv } = flags;
  return {
    provider,
    mode,
    model,
    system,
    maxTokens: maxOutputTokens,
    temperature,
    enableThinking,
    baseUrl,
    region,
    service,
    app,
    agent,
    keyEnv,
    format: flags.format ?? run.format,
    output: flags.output ?? run.output,
  };
}

/** None is written as 0. */
function limit(ms: number | undefined): number | undefined {
  return ms === 0 ? undefined : ms;
}
