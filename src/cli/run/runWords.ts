/** How the numbers of a run are said, in views and tables. */
import { counted, duration, grouped } from '../../internal/node/terminal/measures.js';
import { oneLine } from '../../internal/node/terminal/screenText.js';
import type { Usage } from '../../index.js';
import type { RunQueue, RunStart, StopStage } from './runView.js';
import type { RunSummary } from './runTally.js';
import type { Spent } from './spending.js';

/** What is not known, which is not zero. */
export const NONE = '–';

/** `0.412 USD + 3.1 EUR`, and of how many answers the cost is not known; nothing where it is known of none. */
export function costWords({ cost, costUnknown }: Spent): string {
  if (cost.length === 0) return '';
  const sums = cost.map(({ currency, total }) => moneyWords(total, currency)).join(' + ');
  return costUnknown === 0 ? sums : `${sums} (${grouped(costUnknown)} unknown)`;
}

/** An amount as precisely as it is worth: three digits of a small one, cents of a large one. */
export function moneyWords(total: number, currency: string | null): string {
  const amount = Math.abs(total) >= 100 ? total.toFixed(2) : String(Number(total.toPrecision(3)));
  return `${amount} ${oneLine(currency ?? '')}`.trimEnd();
}

/** `1,204 tokens in, 8,311 out`; nothing where none are known. */
export function tokenWords({ inputTokens, outputTokens, totalTokens, tokensUnknown, partial }: Spent): string {
  const number = (count: number | null): string => (count === null ? '?' : grouped(count));
  const gaps = [
    tokensUnknown > 0 && `${grouped(tokensUnknown)} unknown`,
    partial > 0 && `${grouped(partial)} in part`,
  ].filter((gap) => gap !== false);
  const more = gaps.length === 0 ? '' : ` (${gaps.join(', ')})`;
  if (inputTokens !== null || outputTokens !== null) {
    return `${number(inputTokens)} tokens in, ${number(outputTokens)} out${more}`;
  }
  return totalTokens === null ? '' : `${number(totalTokens)} tokens${more}`;
}

/** What one answer took, as far as its provider said; that it said nothing of tokens is said. */
export function usageWords(usage: Usage): readonly string[] {
  const { inputTokens, outputTokens, totalTokens, cost, provenance } = usage;
  const number = (count: number | undefined): string => (count === undefined ? '?' : grouped(count));
  const soFar = provenance === 'partial' ? ' so far' : '';
  const isSplit = inputTokens !== undefined || outputTokens !== undefined;
  const tokens = isSplit ? `${number(inputTokens)} in, ${number(outputTokens)} out` : number(totalTokens);
  return [
    isSplit || totalTokens !== undefined ? `tokens ${tokens}${soFar}` : 'tokens unknown',
    ...(cost?.total === undefined ? [] : [moneyWords(cost.total, cost.currency ?? null)]),
  ];
}

/** What there is to say of a run besides its bar, the most telling first. */
export function summaryWords(summary: RunSummary): readonly string[] {
  const { failed, stopped, retries, jobsPerMinute, charsPerSecond, spent } = summary;
  return [
    failed > 0 ? `${grouped(failed)} failed` : '',
    stopped > 0 ? `${grouped(stopped)} stopped` : '',
    jobsPerMinute === undefined ? '' : `${rateOf(jobsPerMinute)} jobs/min`,
    costWords(spent),
    charsPerSecond === undefined ? '' : `${grouped(charsPerSecond)} chars/s`,
    retries > 0 ? `${grouped(retries)} asked again` : '',
    tokenWords(spent),
  ].filter((words) => words !== '');
}

/** How long it still takes, roughly: nobody knows it better. */
export function leftWords(leftMs: number | undefined): string {
  return leftMs === undefined ? `${NONE} left` : `about ${roughly(leftMs)} left`;
}

/** What is about to be done. */
export function startWords({ jobs, finished, folder, queue }: RunStart): string {
  const before = finished === 0 ? '' : `, ${grouped(finished)} of them finished by an earlier run`;
  const where = queue === undefined ? '' : `queue ${queue.name} at ${queue.url}`;
  if (jobs === undefined) return `jobs of ${where} into ${folder}`;
  return `${counted(jobs, 'job')} into ${folder}${before}${where === '' ? '' : `, for the workers of ${where}`}`;
}

/** Why no more jobs are taken, what becomes of those that run, and what the next Ctrl-C does. */
export function stopWords(stage: StopStage, why: string, role: keyof typeof STOP_WORDS = 'alone'): string {
  return `${oneLine(why)}: ${STOP_WORDS[role][stage] ?? stage}`;
}

const STOP_WORDS: Readonly<Record<RunQueue['role'] | 'alone', Readonly<Partial<Record<StopStage, string>>>>> = {
  alone: {
    draining: 'no more jobs are begun, those that run are finished; Ctrl-C stops them',
    stopping: 'what runs is stopped, what came of it is kept; Ctrl-C leaves at once',
  },
  follower: {
    draining:
      'jobs that nobody has begun are taken out of the queue, the others are followed to their end; Ctrl-C leaves at once',
    leaving: 'the workers finish what they have begun; the same command goes on',
  },
  worker: {
    draining: 'no more jobs are taken, those that run are finished; Ctrl-C stops them',
    stopping: 'what runs is stopped and given back to the queue; Ctrl-C leaves at once',
  },
};

function rateOf(perMinute: number): string {
  return perMinute < 9.95 ? perMinute.toFixed(1) : grouped(perMinute);
}

/** As precise as a guess can be. */
function roughly(ms: number): string {
  if (ms < 9_950) return `${String(Math.ceil(ms / 1000))} s`;
  if (ms < 90_000) return `${String(Math.round(ms / 5_000) * 5)} s`;
  if (ms < 5_400_000) return `${String(Math.round(ms / 60_000))} min`;
  return duration(Math.round(ms / 300_000) * 300_000);
}
