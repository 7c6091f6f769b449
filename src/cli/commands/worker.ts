import { InvalidArgumentError } from 'commander';
import type { CommandDefinition } from '../commandDefinition.js';
import { UsageError } from '../exitCodes.js';
import { duration, wholeNumber } from '../parsers.js';
import { CONFIG, CONFIG_FILES, KEY_VARIABLES } from './callFlags.js';
import { QUEUE, QUEUE_NAME, QUEUE_PASSWORD } from './queueFlags.js';

/** What the flags of `millrace worker` say. Times are in milliseconds. */
export interface WorkerFlags {
  readonly queue?: string;
  readonly queueName?: string;
  readonly out?: string;
  readonly concurrency?: number;
  readonly perHost?: number;
  readonly lease?: number;
  /** 0 for never. */
  readonly exitWhenIdle?: number;
  readonly json?: true;
  readonly plain?: true;
  readonly config?: string;
}

/** Renewed several times in it: a shorter one would be lost with any hiccup. As `workJobs` has it. */
const MIN_LEASE_MS = 1_000;

export const workerCommand: CommandDefinition<WorkerFlags> = {
  name: 'worker',
  about: 'do the jobs that millrace run --queue puts into a queue, beside other workers, until Ctrl-C',
  flags: [
    QUEUE,
    QUEUE_NAME,
    {
      flags: '-o, --out <dir>',
      about: 'the folder that all workers share, as this machine sees it; every answer goes below it',
      values: 'folders',
    },
    { flags: '--concurrency <n>', about: 'jobs at once in this worker', parse: wholeNumber(1), usually: '20' },
    {
      flags: '--per-host <n>',
      about: 'jobs at once at one host with one key, in all workers together: the same for all of them',
      parse: wholeNumber(1),
      usually: 'as many as the host takes without refusing',
    },
    {
      flags: '--lease <duration>',
      about: 'a worker that is silent for so long loses its jobs to others; the same for all of them',
      parse: (value) => {
        const ms = duration(value);
        if (ms < MIN_LEASE_MS) throw new InvalidArgumentError('It must be at least 1s.');
        return ms;
      },
      usually: '30s',
    },
    {
      flags: '--exit-when-idle <duration>',
      about: 'end when there was nothing to do for so long, as a machine that is paid by the minute should',
      parse: duration,
      usually: 'never',
    },
    {
      flags: '--json',
      about: 'print what happens as lines of JSON; a reader that goes away does not end the worker',
      conflicts: ['plain'],
    },
    { flags: '--plain', about: 'print lines for a log, also on a terminal' },
    CONFIG,
  ],
  sections: [
    {
      title: 'How it works',
      lines: [
        'A job brings its place below the folder, its request and its settings; its key this worker finds in its own environment or config',
        'file, by the name that the job brings. A job whose key is missing here fails, and says on which worker. Start as many workers as',
        'you like, where and when you like: all must see one folder, and should be of one release. Needed: npm install bullmq ioredis.',
      ],
    },
    {
      title: 'What a death costs',
      lines: [
        'A worker that is killed loses nothing that was complete: another gets its jobs when the lease is over, gives a finished answer its',
        'name without asking, goes on with work that the API still does, and asks the rest again. Ctrl-C or SIGTERM takes no more jobs and',
        'finishes those running; a second one stops them and gives them back to the queue; a third leaves at once.',
      ],
    },
    {
      title: 'Who may write into the queue',
      lines: [
        'A job says which host is asked and which variable its key is in. So whoever can write into the Redis can have this worker send its keys',
        'anywhere, and can read every prompt: give the Redis a password and no open port, and the worker no variables that it does not need.',
      ],
    },
  ],
  examples: [
    { line: 'millrace worker --queue redis://queue.internal:6379 --out /mnt/answers', does: 'on each machine' },
    { line: 'millrace worker --queue redis://localhost:6379 -o answers --concurrency 100', does: 'more at once' },
    {
      line: 'millrace worker --queue rediss://queue.internal -o /mnt/answers --exit-when-idle 5m',
      does: 'on a machine that is rented',
    },
  ],
  environment: [
    ['keys', 'in the variables that the jobs name, or in those of the list of providers'],
    ...KEY_VARIABLES.slice(1),
    QUEUE_PASSWORD,
  ],
  files: [['DIR/NAME.N.partial', 'an answer while it is made, by the Nth worker that has its job'], ...CONFIG_FILES],
  exitCodes: [
    ['0', 'ended by Ctrl-C or SIGTERM, or idle, and all that was begun is finished, well or not'],
    ['1', 'failed: a disk that is full, a Redis that stays away'],
    ['2', 'bad input: flags, config file, no Redis at that URL, or missing packages'],
    ['130', 'stopped by a second Ctrl-C: what ran was given back to the queue'],
  ],
  action: async (_, flags, context) => {
    const { queue, out } = flags;
    if (queue === undefined) throw new UsageError('which queue? Give --queue redis://HOST:PORT');
    if (out === undefined)
      throw new UsageError('where do the answers go? Give --out DIR, the folder that all workers share');
    const { worker } = await import('../worker/worker.js'); // what it needs is for this alone
    return worker({ ...flags, queue, out }, context);
  },
};
