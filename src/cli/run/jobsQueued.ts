import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { asyncScheduler, defer, finalize, fromEvent, takeUntil, tap } from 'rxjs';
import type { queueJobs } from '../../bullmq/index.js';
import { DEFAULT_QUEUE, type QueueAddress } from '../worker/queueAddress.js';
import { entryKey, type JobSettings, writeEntry } from '../worker/queueEntry.js';
import type { DoJobs } from './fileRun.js';
import { fileOf, isFromBefore, outcomeOf } from './jobOutcome.js';

/** Where jobs are done that others do. */
export interface JobsQueued {
  readonly queueJobs: typeof queueJobs;
  readonly address: QueueAddress;
  readonly settings: JobSettings;
  /** The folder of the run, as this machine sees it. */
  readonly folder: string;
  /** Where that is below the workers' folder. */
  readonly below: string;
}

/** When nothing has been begun for so long somebody may have forgotten the workers. Chosen. */
const NO_WORKER_MS = 10_000;

/** Puts the jobs into a queue, and follows what the workers there make of them. */
export function jobsQueued({ queueJobs: queue, address, settings, folder, below }: JobsQueued): DoJobs {
  return (jobs, view, { signal, stop }) =>
    defer(() => {
      const { name, url, shown } = address;
      const forgotten = asyncScheduler.schedule(() => {
        view.say(
          `no worker of queue ${name} has begun one of these jobs yet; one is started with: ` +
            `millrace worker --queue ${shown}${name === DEFAULT_QUEUE ? '' : ` --queue-name ${name}`} --out DIR`,
        );
      }, NO_WORKER_MS);
      let isSeen = false;
      return queue(jobs, {
        redis: { url },
        queue: name,
        key: (job) => entryKey(job, below),
        data: (job) => writeEntry(job, settings, below),
        signal,
        onStart: (job) => {
          forgotten.unsubscribe();
          view.start(job);
        },
        onRetry: (job, { message, delayMs }) => {
          view.retry(job, message, delayMs);
        },
      }).pipe(
        tap((receipt) => {
          forgotten.unsubscribe();
          const file = fileOf(receipt);
          if (isSeen || file === undefined || outcomeOf(receipt) !== 'complete') return;
          isSeen = true; // told of once: the others are no better
          if (existsSync(join(folder, file)) || isFromBefore(receipt)) return;
          view.say(
            `${file} is complete and not in ${folder}: either the folder is slow to show it, or it is not the one that the workers ` +
              'have as --out; see --queue-folder',
          );
        }),
        takeUntil(fromEvent(stop, 'abort')),
        finalize(() => {
          forgotten.unsubscribe();
        }),
      );
    });
}
