import { counted, grouped } from '../../internal/node/terminal/measures.js';
import { oneLine } from '../../internal/node/terminal/screenText.js';
import { modelOf } from '../providerCall.js';
import type { FileJob } from './fileJob.js';

/** Files that are named. */
const MAX_NAMED = 20;

/** What `--dry-run` says: the jobs are right, whom they would ask, and where the answers would go. */
export function describeJobs(jobs: readonly FileJob[], finished: number): string {
  const asked = new Map<string, number>();
  for (const { options, asks } of jobs) {
    const { provider, mode = '' } = options;
    const whom = [provider, mode, modelOf({ ...options, ...asks })].filter((part) => part !== undefined).join(' ');
    asked.set(whom, (asked.get(whom) ?? 0) + 1);
  }
  const named = jobs
    .slice(0, MAX_NAMED)
    .map(({ out, id }) => `  ${oneLine(out)}${out.startsWith(id) ? '' : `  (${oneLine(id)})`}`);
  const more = jobs.length - named.length;
  return [
    `✓ ${counted(jobs.length, 'job')}: all can be run, and nothing was asked`,
    ...(finished === 0 ? [] : [`  ${grouped(finished)} of them an earlier run has finished`]),
    ...[...asked].map(([whom, count]) => `  ${counted(count, 'job')} for ${oneLine(whom)}`),
    'The answers would go to',
    ...named,
    ...(more > 0 ? [`  … and ${String(more)} more`] : []),
    '',
  ].join('\n');
}
