import type { JobOutcome } from './jobOutcome.js';
import type { RunReport } from './runReport.js';

/** A job as the report's page has it: as short as it can be, since there may be ten thousand of them. */
export interface PageJob {
  readonly id: string;
  readonly outcome: JobOutcome;
  readonly model: string;
  /** An earlier run has finished it. */
  readonly before?: true;
  /** In epoch milliseconds. */
  readonly at?: number;
  readonly first?: number;
  readonly total?: number;
  readonly chars?: number;
  readonly in?: number;
  readonly out?: number;
  readonly cost?: number;
  readonly currency?: string;
  readonly tries?: number;
  readonly runs?: number;
  /** A relative reference to the file, in a form that no scheme can be read into. */
  readonly href?: string;
  readonly file?: string;
  readonly code?: string;
  readonly why?: string;
}

/** Of a reason, which may be a whole page of a proxy's. */
const MAX_WHY_CHARS = 600;

/** What the page's script is given. */
export function pageJobs({ jobs }: RunReport): readonly PageJob[] {
  return jobs.map((job) => {
    const { id, outcome, provider, model, startedAt, firstContentMs, totalMs, chars, usage, file, error } = job;
    const { attempts, runs } = job;
    const known = {
      before: job.skipped,
      at: startedAt === undefined ? undefined : Date.parse(startedAt),
      first: firstContentMs,
      total: totalMs,
      chars,
      in: usage?.inputTokens,
      out: usage?.outputTokens,
      cost: usage?.cost?.total,
      currency: usage?.cost?.currency,
      tries: attempts,
      runs,
      href: file === undefined ? undefined : hrefOf(file),
      file,
      code: error?.code,
      why: error?.message.slice(0, MAX_WHY_CHARS),
    };
    const given = Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined));
    return { id, outcome, model: model === undefined ? provider : `${provider} ${model}`, ...given };
  });
}

function hrefOf(file: string): string {
  // Half of a surrogate pair is a replacement character in the name of a file, and nothing that an address can have.
  const name = file.replace(/\p{Cs}/gu, '\ufffd');
  return `./${name.split('/').map(encodeURIComponent).join('/')}`;
}
