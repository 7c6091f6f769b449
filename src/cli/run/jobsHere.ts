import { createGate, type OpenJobJournal, runJobs } from '../../index.js';
import { askingOf, showGates } from './asking.js';
import type { FileJob } from './fileJob.js';
import type { DoJobs } from './fileRun.js';
import { jobKey } from './jobKey.js';
import type { KeyOf } from './runKeys.js';
import type { RunSettings } from './runSettings.js';

/** Where and how jobs are done here. */
export interface JobsHere {
  readonly settings: RunSettings;
  readonly keyOf: KeyOf;
  readonly folder: string;
  readonly journal: OpenJobJournal;
}

/** Does the jobs in this process. */
export function jobsHere({ settings, keyOf, folder, journal }: JobsHere): DoJobs {
  const { concurrency, perHost, retries, ...options } = settings;
  return (jobs, view, { signal, stop }) =>
    runJobs(jobs, {
      ...options,
      ...askingOf((job: FileJob) => job, keyOf, view),
      concurrency,
      gate: createGate({ concurrency, perKey: perHost, adapt: true, onChange: showGates(view, perHost) }),
      key: jobKey,
      file: ({ out }) => out,
      dir: folder,
      journal: { open: () => Promise.resolve(journal) },
      retry: { count: retries },
      signal,
      stop,
      onStart: (job) => {
        view.start(job);
      },
      onRetry: (job, { error, delayMs }) => {
        view.retry(job, error instanceof Error ? error.message : String(error), delayMs);
      },
    });
}
