import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NEVER, Observable, of, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import type { queueJobs, QueueJobsOptions } from '../../../src/bullmq/index.js';
import { colorsFor } from '../../../src/cli/context.js';
import type { FileJob } from '../../../src/cli/run/fileJob.js';
import { jobKey } from '../../../src/cli/run/jobKey.js';
import { jobsQueued } from '../../../src/cli/run/jobsQueued.js';
import { drawFooter } from '../../../src/cli/run/runFooter.js';
import { runSettings } from '../../../src/cli/run/runSettings.js';
import { RunTally } from '../../../src/cli/run/runTally.js';
import type { RunView } from '../../../src/cli/run/runView.js';
import { startWords, stopWords } from '../../../src/cli/run/runWords.js';
import { queueAddress } from '../../../src/cli/worker/queueAddress.js';
import { marbles } from '../../support/marbles.js';
import { Capture, cli, temporaryFolder } from '../harness.js';
import { job, receiptOf } from './fixtures.js';

const LINE = '{"id":"a","provider":"polargrid","model":"m","prompt":"x"}';
const NOWHERE = 'redis://me:s3crtWord@127.0.0.1:1';

describe('millrace run --queue', () => {
  it.each([
    {
      what: '--concurrency',
      args: ['--queue', NOWHERE, '--concurrency', '3'],
      says: /with --queue the workers do the jobs: --concurrency belongs to millrace worker/,
    },
    {
      what: '--per-host',
      args: ['--queue', NOWHERE, '--per-host', '3'],
      says: /: --per-host belongs to millrace worker/,
    },
    { what: 'a name alone', args: ['--queue-name', 'q'], says: /--queue-name goes with --queue URL/ },
    { what: 'a folder alone', args: ['--queue-folder', 'q'], says: /--queue-folder goes with --queue URL/ },
    { what: 'what is no Redis', args: ['--queue', 's3crtWord'], says: /--queue takes the URL of a Redis/ },
    ...['../up', '/abs', 'a/../../b', String.raw`a\b`, 'C:x'].map((folder) => ({
      what: `the folder ${folder}`,
      args: ['--queue', NOWHERE, '--queue-folder', folder],
      says: /--queue-folder is the way from the folder that the workers have/,
    })),
    {
      what: 'no Redis',
      args: ['--queue', NOWHERE],
      says: /there is no Redis at redis:\/\/127\.0\.0\.1:1: nothing listens/,
    },
    {
      what: 'a key for a name',
      args: ['--queue', NOWHERE, '--key-env', 'sk_s3crtWord'],
      says: /line 1 has for keyEnv or --key-env may be a key/,
    },
    {
      what: 'a footer in JSON',
      args: ['--queue', NOWHERE, '--footer', '--format', 'json'],
      says: /--footer is a line for people/,
    },
  ])('refuses $what on one line, with exit code 2, and makes nothing', async ({ args, says }) => {
    const out = join(await temporaryFolder(), 'out');
    const { stdout, stderr, exitCode } = cli(['run', '-', '-o', out, ...args], { stdin: LINE });
    expect(await exitCode).toBe(2);
    expect(stdout.text).toBe('');
    expect(stderr.text).toMatch(/^millrace: .*\n$/);
    expect(stderr.text).toMatch(says);
    expect(stderr.text).not.toContain('s3crtWord');
    expect(existsSync(out)).toBe(false);
  });

  it('checks the jobs as ever, with their lines, and needs no Redis for that', async () => {
    const out = join(await temporaryFolder(), 'out');
    const wrong = cli(['run', '-', '-o', out, '--queue', NOWHERE], { stdin: LINE.replace('polargrid', 'polargird') });
    expect(await wrong.exitCode).toBe(2);
    expect(wrong.stderr.text).toContain('stdin:1: provider: unknown provider');
    // Files that are there may be the workers' own.
    await mkdir(out);
    await writeFile(join(out, 'a.txt'), '');
    const dry = cli(['run', '-', '-o', out, '--queue', NOWHERE, '--dry-run'], { stdin: LINE });
    expect(await dry.exitCode, dry.stderr.text).toBe(0);
    expect(dry.stdout.text).toContain('1 job: all can be run, and nothing was asked');
  });

  it('heeds no concurrency of the config file', async () => {
    const folder = await temporaryFolder();
    const config = join(folder, 'c.json');
    await writeFile(config, JSON.stringify({ run: { concurrency: 3, perHost: 2 } }));
    const args = ['run', '-', '-o', join(folder, 'out'), '--queue', NOWHERE, '--dry-run', '--config', config];
    expect(await cli(args, { stdin: LINE }).exitCode).toBe(0);
  });
});

interface Fake {
  readonly view: { readonly [Name in keyof RunView]: ReturnType<typeof vi.fn> };
  readonly options: QueueJobsOptions<FileJob>;
  readonly stop: AbortController;
}

/** Jobs put into a queue that does what the test says. */
function queued(
  jobs: readonly FileJob[],
  receipts: (options: QueueJobsOptions<FileJob>) => ReturnType<typeof queueJobs<FileJob>>,
): Fake & { readonly run: Observable<unknown> } {
  const names = ['start', 'show', 'retry', 'end', 'gate', 'stop', 'say', 'close'] as const;
  const view = Object.fromEntries(names.map((name) => [name, vi.fn()])) as unknown as Fake['view']; // all of its methods
  const stop = new AbortController();
  let seen: QueueJobsOptions<FileJob> | undefined;
  const settings = runSettings(
    {},
    { file: undefined, isFound: false, providers: new Map(), defaults: {}, run: {}, hasVariable: () => false },
  );
  const doJobs = jobsQueued({
    // A queue of the test's own, for this one kind of jobs.
    queueJobs: ((_: unknown, options: QueueJobsOptions<FileJob>) => {
      seen = options;
      return receipts(options);
    }) as unknown as typeof queueJobs,
    address: queueAddress('redis://:s3crtWord@host:1', 'q', {}),
    settings,
    folder: '/answers/june',
    below: 'june',
  });
  const run = doJobs(jobs, view as unknown as RunView, { signal: new AbortController().signal, stop: stop.signal });
  return {
    view,
    stop,
    run,
    get options() {
      if (seen === undefined) throw new Error('nothing was put into the queue');
      return seen;
    },
  };
}

describe('jobs that others do', () => {
  it('are put into the queue as what they are, and shown as they come along', () => {
    const one = job('one');
    const fake = queued([one], (options) => {
      options.onStart?.(one);
      options.onRetry?.(one, { message: 'HTTP 429', delayMs: 20 });
      return of(receiptOf(one, { skipped: true }));
    });
    const told: unknown[] = [];
    fake.run.subscribe((receipt) => told.push(receipt));
    const { options, view } = fake;
    expect(told).toHaveLength(1);
    expect(options).toMatchObject({ redis: { url: 'redis://:s3crtWord@host:1' }, queue: 'q' });
    expect(options.key(one)).toBe(jobKey({ ...one, out: 'june/one.md' }));
    expect(options.data?.(one)).toMatchObject({ version: 1, job: { id: 'one', out: 'june/one.md' } });
    expect(view.start).toHaveBeenCalledWith(one);
    expect(view.retry).toHaveBeenCalledWith(one, 'HTTP 429', 20);
    expect(view.say).not.toHaveBeenCalled();
  });

  it(
    'are nobody’s for ten seconds, and then it is said how a worker is started',
    marbles((m) => {
      const fake = queued([job('one')], () => NEVER);
      m.expect(fake.run, '^ 10s !').toBeObservable('-');
      m.expect(fake.run, '^ 3s !').toBeObservable('-');
      m.flush();
      expect(fake.view.say.mock.calls).toEqual([
        [
          'no worker of queue q has begun one of these jobs yet; one is started with: ' +
            'millrace worker --queue redis://host:1 --queue-name q --out DIR',
        ],
      ]);
    }),
  );

  it(
    'are left to their workers when the person insists',
    marbles((m) => {
      const fake = queued([job('one')], () => m.cold('-a---', { a: receiptOf(job('one'), { skipped: true }) }));
      m.cold('---x').subscribe(() => {
        fake.stop.abort();
      });
      m.expect(fake.run).toBeObservable('-a-|', { a: receiptOf(job('one'), { skipped: true }) });
    }),
  );

  it('whose files are not where they should be are told of once', () => {
    const jobs = ['one', 'two'].map((id) => job(id));
    const fake = queued(jobs, () => of(...jobs.map((each) => receiptOf(each))));
    fake.run.subscribe();
    expect(fake.view.say).toHaveBeenCalledTimes(1);
    expect(fake.view.say.mock.calls[0]?.[0]).toMatch(
      /^one\.md is complete and not in \/answers\/june: .*--queue-folder$/,
    );
  });
});

describe('what is said of a queue', () => {
  const queue = { name: 'q', url: 'redis://host', role: 'follower' } as const;

  it('tells who does the jobs', () => {
    expect(startWords({ jobs: 3, finished: 0, folder: 'out', queue })).toBe(
      '3 jobs into out, for the workers of queue q at redis://host',
    );
    expect(startWords({ jobs: undefined, finished: 0, folder: 'out', queue: { ...queue, role: 'worker' } })).toBe(
      'jobs of queue q at redis://host into out',
    );
  });

  it('tells what each Ctrl-C does', () => {
    expect(stopWords('draining', 'Ctrl-C', 'follower')).toMatch(
      /taken out of the queue.*followed to their end; Ctrl-C leaves at once$/,
    );
    expect(stopWords('leaving', 'SIGTERM', 'follower')).toMatch(/^SIGTERM: the workers finish what they have begun/);
    expect(stopWords('stopping', 'Ctrl-C', 'worker')).toMatch(/given back to the queue/);
    expect(stopWords('draining', 'Ctrl-C')).toBe(
      'Ctrl-C: no more jobs are begun, those that run are finished; Ctrl-C stops them',
    );
  });

  it('needs no total for a worker', () => {
    const scheduler = new VirtualTimeScheduler();
    const tally = new RunTally({ jobs: undefined, finished: 0, folder: 'out', queue }, scheduler);
    for (const id of ['a', 'b', 'c']) tally.start(job(id));
    scheduler.frame += 60_000;
    for (const id of ['a', 'b', 'c']) tally.end(receiptOf(job(id)));
    const summary = tally.read();
    expect(summary).toMatchObject({ jobs: undefined, done: 3, running: 0, leftMs: undefined, jobsPerMinute: 3 });
    const lines = drawFooter({ summary, gates: [], stop: undefined }, 60, 5, colorsFor(new Capture(), {}));
    expect(lines[0]).toBe('3 done  0 running  1 min 00 s so far');
    expect(
      drawFooter({ summary, gates: [], stop: undefined }, 20, 5, colorsFor(new Capture(), {}))[0]?.length,
    ).toBeLessThan(20);
  });
});
