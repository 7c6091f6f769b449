import { tap } from 'rxjs';
import type { GateState, RunJobsOptions, StreamEvent } from '../../index.js';
import { hostOfCall } from '../../internal/hostOfCall.js';
import { attachedCall, providerCall } from '../providerCall.js';
import type { FileJob } from './fileJob.js';
import { formatOutput } from './formatOutput.js';
import type { KeyOf } from './runKeys.js';
import type { RunView } from './runView.js';

/** What there must be of a job so that it can be asked and shown. */
export type AskedJob = Omit<FileJob, 'source'>;

type Asking<Job> = {
  readonly [Name in 'call' | 'attach' | 'gateKey' | 'transform']: NonNullable<RunJobsOptions<Job>[Name]>;
};

/** How jobs are asked and what is written: the same in a run of one's own and in a worker. */
export function askingOf<Job>(jobOf: (given: Job) => AskedJob, keyOf: KeyOf, view: RunView): Asking<Job> {
  const asked = (given: Job): Parameters<typeof providerCall>[0] => {
    const job = jobOf(given);
    return { ...job.options, ...job.asks, apiKey: keyOf(job) };
  };
  return {
    call: (given) => providerCall(asked(given)),
    attach: (given, workId) => attachedCall(asked(given), workId),
    gateKey: (given, call) => {
      const { keyEnv, account = '' } = jobOf(given);
      return `${hostOfCall(call)}\n${keyEnv ?? account}`;
    },
    transform: (events, given) => {
      const job = jobOf(given);
      const shown = tap<StreamEvent>((event) => {
        view.show(job, event);
      });
      return events.pipe(shown, formatOutput(job.format));
    },
  };
}

/** Shows how the gates stand that `askingOf` names. @param perHost - `Infinity` where only rate limits limit */
export function showGates(view: RunView, perHost: number): (key: string, state: GateState) => void {
  const most = Number.isFinite(perHost) ? perHost : undefined;
  return (key, { limit = perHost, closedForMs }) => {
    view.gate({ name: key.split('\n', 1)[0] ?? '', limit, most, closedForMs });
  };
}
