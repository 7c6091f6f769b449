import { rmSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { concat, lastValueFrom, map, NEVER, Observable, of, Subject, throwError, toArray } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  collect,
  createGate,
  fileJournal,
  HTTPError,
  type JobJournal,
  type JobReceipt,
  type JobRecord,
  type Jobs,
  LimitError,
  runJobs,
  type RunJobsOptions,
  shutdown,
  SinkError,
} from 'millrace';
import { inferencesh, infernet, polargrid } from 'millrace/providers';
import { fakeCall, type ProviderServer, startProviderServer, type StartProviderServerOptions } from 'millrace/testing';
import { reopen } from '../../src/testing/reopen.js';
import { nodeFiles } from '../../src/internal/node/files.js';
import type { StreamEvent } from '../../src/types.js';

interface Job {
  readonly name: string;
  readonly pieces?: readonly string[];
}

let dir: string;

beforeEach(async () => {
  dir = await fs.mkdtemp(join(tmpdir(), 'millrace-runJobs-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await fs.rm(dir, { recursive: true, force: true });
});

const text = (content: string): StreamEvent => ({ type: 'text', text: content, index: 0, name: 'output' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const answerOf = ({ name, pieces = [`The answer of ${name}`, ', whole.'] }: Job): StreamEvent[] => [
  ...pieces.map(text),
  finish,
];

const base: RunJobsOptions<Job> = {
  key: ({ name }) => name,
  call: (job) => fakeCall(answerOf(job)),
  file: ({ name }) => `${name}.md`,
  get dir() {
    return dir;
  },
  fsync: false,
};

const jobsNamed = (...names: readonly string[]): Job[] => names.map((name) => ({ name }));
const many = (count: number): Job[] => Array.from({ length: count }, (_, index) => ({ name: `job-${String(index)}` }));

function run(jobs: Jobs<Job>, options: Partial<RunJobsOptions<Job>> = {}): Promise<JobReceipt<Job>[]> {
  return lastValueFrom(runJobs(jobs, { ...base, dir, ...options }).pipe(toArray()));
}

const files = async (): Promise<string[]> =>
  (await fs.readdir(dir, { recursive: true })).filter((name) => !name.startsWith('.millrace')).sort();
const contents = (name: string): Promise<string> => fs.readFile(join(dir, name), 'utf8');

async function server(options: StartProviderServerOptions = {}): Promise<ProviderServer> {
  const started = await startProviderServer(options);
  onTestFinished(() => started.close());
  return started;
}

/** A journal that is kept in memory, and in which a run can be made to die. */
function memoryJournal(known: readonly JobRecord[] = []): JobJournal & {
  readonly records: Map<string, JobRecord>;
  readonly log: JobRecord[];
  isClosed: boolean;
} {
  const records = new Map(known.map((record) => [record.key, record]));
  const log: JobRecord[] = [];
  const journal = {
    records,
    log,
    isClosed: false,
    open: () =>
      Promise.resolve({
        read: (key: string) => Promise.resolve(records.get(key)),
        write: (record: JobRecord) => {
          log.push(record);
          records.set(record.key, record);
          return Promise.resolve();
        },
        close: () => {
          journal.isClosed = true;
          return Promise.resolve();
        },
      }),
  };
  return journal;
}

function recordOf(record: JobRecord | undefined): JobRecord {
  if (record === undefined) throw new Error('no such record was written');
  return record;
}

describe('a run', () => {
  it('writes each answer into its file and emits the receipts with their jobs', async () => {
    const jobs = jobsNamed('a', 'b/c');
    const receipts = await run(jobs);
    expect(await files()).toEqual(['a.md', 'b', 'b/c.md']);
    expect(await contents('a.md')).toBe('The answer of a, whole.');
    expect(receipts.map(({ job, key, outcome, runs }) => ({ job, key, outcome, runs }))).toEqual(
      expect.arrayContaining(jobs.map((job) => ({ job, key: job.name, outcome: 'complete', runs: 1 }))),
    );
    expect(receipts.find(({ key }) => key === 'a')?.where).toBe(join(dir, 'a.md'));
  });

  it('does nothing before it is subscribed to', async () => {
    const call = vi.fn(base.call);
    void runJobs(jobsNamed('a'), { ...base, dir, call });
    await Promise.resolve();
    expect(call).not.toHaveBeenCalled();
    expect(await fs.readdir(dir)).toEqual([]);
  });

  it('asks nobody again for what is complete', async () => {
    const call = vi.fn(base.call);
    await run(jobsNamed('a', 'b'), { call });
    const again = await run(jobsNamed('a', 'b', 'c'), { call });
    expect(call).toHaveBeenCalledTimes(3);
    expect(again.map(({ key, skipped, outcome, chars }) => ({ key, skipped, outcome, chars }))).toEqual(
      expect.arrayContaining([
        { key: 'a', skipped: true, outcome: 'complete', chars: 23 },
        { key: 'b', skipped: true, outcome: 'complete', chars: 23 },
        { key: 'c', skipped: undefined, outcome: 'complete', chars: 23 },
      ]),
    );
  });

  it('asks again where the file is gone', async () => {
    await run(jobsNamed('a'));
    await fs.rm(join(dir, 'a.md'));
    const [receipt] = await run(jobsNamed('a'));
    expect(receipt).toMatchObject({ runs: 2, outcome: 'complete' });
    expect(receipt?.skipped).toBeUndefined();
    expect(await files()).toEqual(['a.md']);
  });

  it('tells a failure as a receipt and goes on with the others', async () => {
    const receipts = await run(jobsNamed('a', 'b', 'c'), {
      call: (job) => (job.name === 'b' ? fakeCall([text('half')]) : fakeCall(answerOf(job))),
      retry: { count: 0 },
    });
    expect(receipts.find(({ key }) => key === 'b')).toMatchObject({ outcome: 'interrupted', chars: 4 });
    expect(await files()).toEqual(['a.md', 'b.md.partial', 'c.md']);
    const again = await run(jobsNamed('a', 'b', 'c'));
    expect(again.find(({ key }) => key === 'b')).toMatchObject({ outcome: 'complete', runs: 2 });
    expect(await files()).toEqual(['a.md', 'b.md', 'c.md']);
  });

  it('tells what a call throws as the failure of its job, and leaves no empty file', async () => {
    const [receipt] = await run(jobsNamed('a'), {
      call: () => {
        throw new TypeError('no such model');
      },
    });
    expect(receipt).toMatchObject({ outcome: 'failed', error: { name: 'TypeError', message: 'no such model' } });
    expect(await files()).toEqual([]);
  });

  it('takes a call that comes later, and jobs of every kind', async () => {
    const later = { call: (job: Job) => Promise.resolve(fakeCall(answerOf(job))) };
    await run(new Set(jobsNamed('a')), later);
    await run(
      (async function* () {
        yield* jobsNamed('b');
        await Promise.resolve();
      })(),
      later,
    );
    await run(of(...jobsNamed('c', 'd')), later);
    await run([], later);
    expect(await files()).toEqual(['a.md', 'b.md', 'c.md', 'd.md']);
  });

  it('keeps an answer partial that ends for another reason than publishOn names, and runs its job again', async () => {
    const cut = { call: () => fakeCall([text('cut'), { type: 'finish', reason: 'length' } as const]) };
    const [receipt] = await run(jobsNamed('a'), { ...cut, publishOn: ['stop'] });
    expect(receipt).toMatchObject({ outcome: 'complete', where: join(dir, 'a.md.partial') });
    const [again] = await run(jobsNamed('a'), { publishOn: ['stop'] });
    expect(again).toMatchObject({ outcome: 'complete', where: join(dir, 'a.md'), runs: 2 });
  });

  it('leaves a file alone that it did not write', async () => {
    await fs.writeFile(join(dir, 'a.md'), 'mine');
    const [receipt] = await run(jobsNamed('a'));
    expect(receipt).toMatchObject({ outcome: 'failed', error: { code: 'ERR_SINK' } });
    expect(await contents('a.md')).toBe('mine');
    const [over] = await run(jobsNamed('a'), { ifExists: 'overwrite' });
    expect(over).toMatchObject({ outcome: 'complete' });
    expect(await contents('a.md')).toBe('The answer of a, whole.');
  });

  it('writes what transform makes of the events', async () => {
    await run(jobsNamed('a'), {
      transform: (events, { name }) =>
        events.pipe(map((event) => (event.type === 'text' ? `${name}: ${event.text}\n` : event))),
    });
    expect(await contents('a.md')).toBe('a: The answer of a\na: , whole.\n');
  });

  it('ends with a TypeError for a key that comes twice, when what is under way has ended', async () => {
    const receipts: JobReceipt<Job>[] = [];
    const error = await lastValueFrom(
      runJobs(jobsNamed('a', 'b', 'a'), { ...base, dir }).pipe(
        map((receipt) => {
          receipts.push(receipt);
        }),
      ),
    ).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TypeError);
    expect(receipts.map(({ key }) => key).sort()).toEqual(['a', 'b']);
  });

  it.each(['../a', '/etc/a', 'b/../../a'])('refuses the file %s', async (file) => {
    await expect(run(jobsNamed('a'), { file: () => file })).rejects.toThrow('must give a path inside');
  });

  it('ends with the error of its input, when what is under way has ended', async () => {
    const receipts: string[] = [];
    const jobs = function* (): Generator<Job> {
      yield { name: 'a' };
      throw new Error('the list is torn');
    };
    const over = new Promise((resolve) => {
      runJobs(jobs(), { ...base, dir }).subscribe({ next: ({ key }) => receipts.push(key), error: resolve });
    });
    expect(await over).toEqual(new Error('the list is torn'));
    expect(receipts).toEqual(['a']);
  });
});

describe('one job that fails', () => {
  it.each([
    ['whose name is a folder', 'job-0.md/x', ['job-1.md', 'job-2.md']],
    ['whose folder is a file', 'job-1.md', ['job-0.md', 'job-2.md']],
  ])('%s leaves the others alone', async (_, blocked, whole) => {
    await fs.mkdir(join(dir, blocked === 'job-1.md' ? '.' : 'job-0.md'), { recursive: true });
    const receipts = await run(many(3), {
      file: ({ name }) => (blocked === 'job-1.md' && name === 'job-1' ? 'job-0.md/x.md' : `${name}.md`),
      concurrency: 1,
    });
    expect(receipts.filter(({ outcome }) => outcome === 'failed')).toMatchObject([{ error: { code: 'ERR_SINK' } }]);
    expect((await files()).filter((name) => whole.includes(name))).toEqual(whole);
  });

  it('because a folder has the name of its file by now leaves the others alone', async () => {
    await run(many(2));
    await fs.rm(join(dir, 'job-0.md'));
    await fs.mkdir(join(dir, 'job-0.md'));
    const receipts = await run(many(3));
    expect(receipts.map(({ key, outcome }) => `${key} ${outcome}`).sort()).toEqual([
      'job-0 failed',
      'job-1 complete',
      'job-2 complete',
    ]);
  });
});

describe('an answer that is whole', () => {
  it('and could not be given its name is given it by a later run, and is not asked again', async () => {
    const publish = nodeFiles.publish.bind(nodeFiles);
    const refused = vi.spyOn(nodeFiles, 'publish').mockImplementation((from, to) => {
      if (to.endsWith('job-0.md')) throw Object.assign(new Error('no'), { code: 'EACCES' });
      return publish(from, to);
    });
    const failed = { outcome: 'failed', error: { code: 'ERR_SINK' }, where: join(dir, 'job-0.md.partial') };
    const receiptOf = async (call?: typeof base.call): Promise<JobReceipt<Job> | undefined> =>
      (await run(many(2), { ...(call !== undefined && { call }) })).find(({ key }) => key === 'job-0');
    expect(await receiptOf()).toMatchObject({ ...failed, attempts: 1 });
    expect(await receiptOf()).toMatchObject({ ...failed, attempts: 0 }); // nor does it end the run
    refused.mockRestore();
    const call = vi.fn(base.call);
    expect(await receiptOf(call)).toMatchObject({ outcome: 'complete', skipped: true, runs: 1 });
    expect(call).not.toHaveBeenCalled();
    expect(await files()).toEqual(['job-0.md', 'job-1.md']);
  });

  it('is kept beside a file of the same length that somebody else has made meanwhile', async () => {
    const journal = memoryJournal();
    await run(jobsNamed('a'), { journal });
    journal.records.set('a', { ...recordOf(journal.records.get('a')), state: 'written' });
    const answer = await contents('a.md');
    await fs.rename(join(dir, 'a.md'), join(dir, 'a.md.partial'));
    await fs.writeFile(join(dir, 'a.md'), 'x'.repeat(answer.length));
    const call = vi.fn(base.call);
    const [receipt] = await run(jobsNamed('a'), { journal, call });
    expect(receipt).toMatchObject({
      outcome: 'failed',
      error: { message: expect.stringContaining('meanwhile') as string },
    });
    expect(await contents('a.md.partial')).toBe(answer);
    await run(jobsNamed('a'), { journal, call, ifExists: 'overwrite' });
    expect(await contents('a.md')).toBe(answer);
    expect(call).not.toHaveBeenCalled();
  });

  it('and empty is a file, and one that publishOn withholds stays partial', async () => {
    const ending = (reason: 'stop' | 'length') => ({
      publishOn: ['stop' as const],
      call: () => fakeCall([{ type: 'finish', reason } as const]),
    });
    await run(jobsNamed('a'), ending('stop'));
    const [withheld] = await run(jobsNamed('b'), ending('length'));
    expect(withheld).toMatchObject({ outcome: 'complete', where: join(dir, 'b.md.partial') });
    expect(await files()).toEqual(['a.md', 'b.md.partial']);
  });
});

describe('a retry', () => {
  it('has its usual limits where they are undefined', async () => {
    let asked = 0;
    const [receipt] = await run(jobsNamed('a'), {
      retry: { count: undefined, delay: { initialMs: 0, maxMs: 0 } },
      call: (job) =>
        fakeCall(
          new Observable<StreamEvent>((subscriber) => {
            asked += 1;
            if (asked === 11) of(...answerOf(job)).subscribe(subscriber);
            else subscriber.complete();
          }),
        ),
    });
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 11 });
  });
});

describe('the wrong options', () => {
  it('are told at once', () => {
    expect(() => runJobs([], { ...base, dir: '' })).toThrow(TypeError);
    expect(() => runJobs([], { ...base, dir, concurrency: 0 })).toThrow(RangeError);
    expect(() => runJobs([], { ...base, dir, retry: { count: -1 } })).toThrow(RangeError);
    expect(() => runJobs([], { ...base, dir, timeout: { firstContentMs: -1 } })).toThrow(RangeError);
    // @ts-expect-error -- no such word
    expect(() => runJobs([], { ...base, dir, ifExists: 'replace' })).toThrow(TypeError);
    // @ts-expect-error -- no such reason
    expect(() => runJobs([], { ...base, dir, publishOn: ['done'] })).toThrow(TypeError);
  });
});

describe('its input', () => {
  it('is pulled only as far as jobs are begun', async () => {
    let pulled = 0;
    const ends: Subject<StreamEvent>[] = [];
    async function* endless(): AsyncGenerator<Job> {
      for (;;) {
        await Promise.resolve();
        pulled += 1;
        yield { name: `n${String(pulled)}` };
      }
    }
    const begun = new Promise<void>((resolve) => {
      const subscription = runJobs(endless(), {
        ...base,
        dir,
        concurrency: 20,
        call: () => {
          const end = new Subject<StreamEvent>();
          ends.push(end);
          return fakeCall(end);
        },
        onStart: () => {
          if (ends.length >= 19) resolve();
        },
      }).subscribe();
      onTestFinished(() => {
        subscription.unsubscribe();
      });
    });
    await begun;
    expect(pulled).toBeLessThanOrEqual(20);
  });

  it('may end the run itself, and is closed then', async () => {
    const stop = new AbortController();
    const closed = vi.fn();
    function* jobs(): Generator<Job> {
      try {
        yield { name: 'a' };
        stop.abort();
        yield { name: 'b' };
      } finally {
        closed();
      }
    }
    expect((await run(jobs(), { signal: stop.signal })).map(({ key }) => key)).toEqual(['a']);
    expect(closed).toHaveBeenCalledOnce();
  });

  it.each(['sync', 'async'])('that cannot be closed is an error, a %s one', async (kind) => {
    const stop = new AbortController();
    const failure = new Error('cannot be closed');
    const next = (): IteratorResult<Job> => ({ value: { name: String(Math.random()) } });
    const left = (): never => {
      throw failure;
    };
    const jobs: Jobs<Job> =
      kind === 'sync'
        ? { [Symbol.iterator]: () => ({ next, return: left }) }
        : {
            [Symbol.asyncIterator]: () => ({
              next: () => Promise.resolve(next()),
              return: () => Promise.reject(failure),
            }),
          };
    const onStart = (): void => {
      stop.abort();
    };
    await expect(run(jobs, { concurrency: 1, signal: stop.signal, onStart })).rejects.toBe(failure);
  });

  it('that is an observable may wait, up to maxWaiting; what is under way is not cut by one more', async () => {
    const jobs = new Subject<Job>();
    const stop = new AbortController();
    const options = { concurrency: 1, maxWaiting: 2, call: () => fakeCall(NEVER), stop: stop.signal };
    const error = run(jobs, options).catch((reason: unknown) => reason);
    await vi.waitUntil(() => jobs.observed);
    for (const job of many(3)) jobs.next(job); // one is asked for, and two wait
    expect(jobs.observed).toBe(true);
    jobs.next({ name: 'one more' });
    expect(jobs.observed).toBe(false);
    await vi.waitUntil(async () => (await files()).includes('job-0.md.partial'));
    stop.abort();
    expect(await error).toBeInstanceOf(LimitError);
  });
});

describe('a signal', () => {
  it('lets what is under way finish and begins no more', async () => {
    const stop = new AbortController();
    const answers: Subject<StreamEvent>[] = [];
    const receipts: string[] = [];
    const over = new Promise<void>((resolve, reject) => {
      runJobs(many(10), {
        ...base,
        dir,
        concurrency: 2,
        signal: stop.signal,
        call: () => {
          const answer = new Subject<StreamEvent>();
          answers.push(answer);
          return fakeCall(answer);
        },
      }).subscribe({ next: ({ key }) => receipts.push(key), complete: resolve, error: reject });
    });
    await vi.waitUntil(() => answers.length === 2 && answers.every(({ observed }) => observed));
    stop.abort();
    for (const answer of answers) {
      answer.next(text('done'));
      answer.next(finish);
    }
    await over;
    expect(receipts.sort()).toEqual(['job-0', 'job-1']);
    expect(answers).toHaveLength(2);
  });

  it('that is aborted already begins nothing', async () => {
    const call = vi.fn(base.call);
    expect(await run(many(3), { signal: AbortSignal.abort(), call })).toEqual([]);
    expect(call).not.toHaveBeenCalled();
  });

  it('is not kept waiting by an input that gives nothing', async () => {
    const stop = new AbortController();
    const left = vi.fn(() => Promise.resolve({ done: true, value: undefined } as const));
    const idle: AsyncIterable<Job> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined), return: left }),
    };
    const over = run(idle, { signal: stop.signal });
    await vi.waitUntil(async () => (await fs.readdir(dir)).includes('.millrace'));
    stop.abort();
    expect(await over).toEqual([]);
  });
});

describe('a signal while jobs wait to be let through', () => {
  const asking = (provider: ProviderServer): ((job: Job) => ReturnType<ReturnType<typeof polargrid>['chat']>) => {
    const api = polargrid({ apiKey: 'k', baseURL: provider.baseURLs.polargrid });
    return ({ name }) => api.chat({ model: 'm', messages: [{ role: 'user', content: name }] });
  };

  it('waits for no gate that is closed: what was refused or not sent is stopped, and is no run', async () => {
    const provider = await server();
    provider.next({ status: 429, headers: { 'retry-after': '60' } });
    const stop = new AbortController();
    const gate = createGate({ perKey: 1, adapt: true });
    const onRetry = vi.fn();
    const options = { call: asking(provider), concurrency: 4, gate, gateKey: () => 'k', onRetry };
    const receipts = run(many(6), { ...options, signal: stop.signal });
    await vi.waitUntil(() => onRetry.mock.calls.length > 0 && gate.state('k').waiting === 3);
    stop.abort();
    expect((await receipts).map(({ outcome, by }) => ({ outcome, by }))).toEqual(
      Array.from({ length: 4 }, () => ({ outcome: 'stopped', by: 'signal' })),
    );
    expect(await files()).toEqual([]);
    expect(provider.requests).toHaveLength(1);
    const again = await run(many(6), { call: asking(provider) });
    expect(again.map(({ outcome, runs }) => ({ outcome, runs }))).toEqual(
      Array.from({ length: 6 }, () => ({ outcome: 'complete', runs: 1 })),
    );
  });

  it('finishes the one that was let through', async () => {
    const provider = await server({ pace: { perFrameMs: 5 } });
    const stop = new AbortController();
    const gate = createGate({ perKey: 1 });
    const options = { call: asking(provider), concurrency: 3, gate, gateKey: () => 'k' };
    const receipts = run(many(6), { ...options, signal: stop.signal });
    await provider.nextRequest();
    await vi.waitUntil(() => gate.state('k').waiting === 2);
    stop.abort();
    expect((await receipts).map(({ outcome }) => outcome).sort()).toEqual(['complete', 'stopped', 'stopped']);
    expect(provider.requests).toHaveLength(1);
  });

  it('goes on asking for one that had an answer and lost it', async () => {
    const stop = new AbortController();
    let asked = 0;
    const [receipt] = await run(jobsNamed('a'), {
      signal: stop.signal,
      retry: { delay: { initialMs: 0, maxMs: 0 } },
      onRetry: () => {
        stop.abort();
      },
      call: (job) => {
        const lost = new Observable<StreamEvent>((subscriber) => {
          asked += 1;
          if (asked === 2) of(...answerOf(job)).subscribe(subscriber);
          else subscriber.complete(); // half an answer: nothing of it came
        });
        return fakeCall(lost);
      },
    });
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2 });
  });
});

describe('a signal while the input gives nothing', () => {
  it.each(['an iterable', 'an observable'])('ends the run when what is under way has ended: %s', async (kind) => {
    const stop = new AbortController();
    const answer = new Subject<StreamEvent>();
    let given = 0;
    const idle: AsyncIterable<Job> = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          given += 1;
          return given === 1 ? Promise.resolve({ value: { name: 'a' } }) : new Promise(() => undefined);
        },
      }),
    };
    const jobs = kind === 'an iterable' ? idle : concat(of({ name: 'a' }), NEVER);
    const receipts = run(jobs, { signal: stop.signal, call: () => fakeCall(answer) });
    await vi.waitUntil(() => answer.observed);
    stop.abort();
    for (const event of answerOf({ name: 'a' })) answer.next(event);
    expect((await receipts).map(({ outcome }) => outcome)).toEqual(['complete']);
  });
});

describe('stop', () => {
  it('waits for no call that is never made', async () => {
    const stop = new AbortController();
    const call = vi.fn(() => new Promise<never>(() => undefined));
    const receipts = run(many(2), { call, stop: stop.signal });
    await vi.waitUntil(() => call.mock.calls.length === 2);
    stop.abort();
    expect((await receipts).map(({ outcome }) => outcome)).toEqual(['stopped', 'stopped']);
    expect(await files()).toEqual([]);
  });

  it('may come with the signal, out of a transform', async () => {
    const [signal, stop] = [new AbortController(), new AbortController()];
    const receipts = await run(many(9), {
      concurrency: 3,
      signal: signal.signal,
      stop: stop.signal,
      transform: (events) => {
        signal.abort();
        stop.abort();
        return events;
      },
    });
    expect(receipts.every(({ outcome }) => outcome === 'stopped')).toBe(true);
    expect(await files()).toEqual([]);
    expect((await run(many(9))).every(({ outcome }) => outcome === 'complete')).toBe(true);
  });

  it('leaves work alone that cannot be cancelled, for the next run to go on with', async () => {
    const provider = await server({ pace: { perFrameMs: 10 } });
    const api = infernet({ apiKey: 'k', baseURL: provider.baseURLs.infernet });
    const options = {
      call: ({ name }: Job) => api.chat({ model: 'm', messages: [{ role: 'user', content: name }] }),
      attach: (_: Job, workId: string) => api.attach(workId),
    };
    const journal = memoryJournal();
    const stop = new AbortController();
    const receipts = run(jobsNamed('a'), { ...options, journal, stop: stop.signal });
    await vi.waitUntil(() => journal.log.some(({ workId }) => workId !== undefined));
    stop.abort();
    expect(await receipts).toMatchObject([{ outcome: 'stopped', billing: 'continues' }]);
    // Nor is it forgotten by a run that is stopped before it has asked for it.
    const call = (): Promise<never> => new Promise(() => undefined);
    await run(jobsNamed('a'), { ...options, journal, call, stop: AbortSignal.timeout(1) });
    expect(await run(jobsNamed('a'), { ...options, journal })).toMatchObject([{ outcome: 'complete' }]);
    const created = provider.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/jobs'));
    expect(created).toHaveLength(1);
  });

  it('ends what is under way, tells how it ended, and completes', async () => {
    const stop = new AbortController();
    const receipts = run(many(3), {
      call: () =>
        fakeCall(
          new Observable<StreamEvent>((subscriber) => {
            subscriber.next(text('half'));
          }),
        ),
      stop: stop.signal,
      concurrency: 2,
    });
    await vi.waitUntil(async () => (await files()).length === 4);
    stop.abort();
    expect((await receipts).map(({ outcome, chars }) => ({ outcome, chars }))).toEqual([
      { outcome: 'stopped', chars: 4 },
      { outcome: 'stopped', chars: 4 },
    ]);
    expect(await files()).toEqual(['job-0.md.partial', 'job-1.md.partial']);
    expect((await run(many(3))).map(({ key, runs }) => `${key} ${String(runs)}`).sort()).toEqual([
      'job-0 2',
      'job-1 2',
      'job-2 1',
    ]);
  });
});

describe('shutdown', () => {
  it('begins no more, stops what is under way at its deadline, and completes', async () => {
    onTestFinished(reopen);
    const receipts = run(many(5), {
      call: () =>
        fakeCall(
          new Observable<StreamEvent>((subscriber) => {
            subscriber.next(text('half'));
          }),
        ),
      concurrency: 2,
    });
    await vi.waitUntil(async () => (await files()).length === 4);
    await shutdown({ graceMs: 0 });
    expect((await receipts).map(({ outcome, by }) => ({ outcome, by }))).toEqual([
      { outcome: 'stopped', by: 'shutdown' },
      { outcome: 'stopped', by: 'shutdown' },
    ]);
    reopen();
    expect((await run(many(5))).every(({ outcome }) => outcome === 'complete')).toBe(true);
  });
});

describe('a gate', () => {
  it('is one for each provider and host, so that a refusal of one job slows the others', async () => {
    const provider = await server({ script: () => undefined });
    provider.next({ status: 429, headers: { 'retry-after-ms': '30' } });
    const api = polargrid({ apiKey: 'k', baseURL: provider.baseURLs.polargrid });
    const receipts = await run(many(8), {
      concurrency: 2,
      call: ({ name }) => api.chat({ model: 'm', messages: [{ role: 'user', content: name }] }),
    });
    expect(receipts.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 8 }, () => 'complete'));
    expect(receipts.filter(({ attempts }) => attempts > 1)).toHaveLength(1);
    const [refused = 0, ...later] = provider.requests.map(({ at }) => at);
    const afterBoth = later.slice(1); // the second was under way with the first
    expect(Math.min(...afterBoth) - refused).toBeGreaterThanOrEqual(29);
  });

  it('may be given, with what it counts together', async () => {
    const keys: string[] = [];
    const own = createGate({ perKey: 1 });
    const gate = Object.assign(
      <T>(key?: string) => {
        keys.push(key ?? '');
        return own<T>(key);
      },
      { state: own.state },
    );
    await run(jobsNamed('a', 'b'), { gate, gateKey: ({ name }) => `account of ${name}` });
    expect(keys.sort()).toEqual(['account of a', 'account of b']);
  });
});

describe('leaving', () => {
  it('stops what is under way, closes the files and lets another run have the folder', async () => {
    const { baseURLs, ...provider } = await server({ pace: { perFrameMs: 5 } });
    const api = polargrid({ apiKey: 'k', baseURL: baseURLs.polargrid });
    const call = ({ name }: Job): ReturnType<typeof api.chat> =>
      api.chat({ model: 'm', messages: [{ role: 'user', content: name }] });
    let started = 0;
    const subscription = runJobs(many(5), {
      ...base,
      dir,
      call,
      transform: (events) => {
        started += 1;
        return events;
      },
    }).subscribe();
    await provider.nextRequest();
    await vi.waitUntil(() => started === 5);
    subscription.unsubscribe();
    await vi.waitUntil(async () => !(await fs.readdir(join(dir, '.millrace'))).includes('lock'));
    expect((await files()).filter((name) => !name.endsWith('.partial'))).toEqual([]);
    expect(await run(many(5))).toHaveLength(5);
  });
});

describe('leaving while a call is made', () => {
  it('asks nothing, and lets another run have the folder', async () => {
    const asked = vi.fn();
    let make: (call: ReturnType<typeof fakeCall>) => void = () => undefined;
    const journal = memoryJournal();
    const call = vi.fn(
      () =>
        new Promise<ReturnType<typeof fakeCall>>((resolve) => {
          make = resolve;
        }),
    );
    const subscription = runJobs(many(1), { ...base, dir, journal, call }).subscribe();
    await vi.waitUntil(() => call.mock.calls.length === 1);
    subscription.unsubscribe();
    await vi.waitUntil(() => journal.isClosed);
    make(fakeCall(new Observable<StreamEvent>(asked)));
    expect(await run(many(1), { journal })).toMatchObject([{ outcome: 'complete', runs: 1 }]);
    expect(asked).not.toHaveBeenCalled();
  });
});

describe('the folder', () => {
  it('that is removed under a run stops it', async () => {
    const out = join(dir, 'out');
    const receipts: string[] = [];
    const error = await new Promise<unknown>((resolve) => {
      runJobs(many(1_000), { ...base, dir: out, concurrency: 1 }).subscribe({
        next: ({ key }) => {
          receipts.push(key);
          if (receipts.length === 3) rmSync(out, { recursive: true });
        },
        complete: () => {
          resolve('completed');
        },
        error: resolve,
      });
    });
    expect(error).toBeInstanceOf(SinkError);
    expect((error as Error).message).toContain('it was removed while a run had it');
    expect(receipts.length).toBeLessThan(6);
  });

  it('is refused to a second run, with the process that has it', async () => {
    const subscription = runJobs(many(1), { ...base, dir, call: () => fakeCall(NEVER) }).subscribe();
    await vi.waitUntil(async () => (await fs.readdir(dir)).includes('job-0.md.partial'));
    const error = await run(many(1)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SinkError);
    expect((error as Error).message).toContain(`in use by process ${String(process.pid)}`);
    subscription.unsubscribe();
    await vi.waitUntil(async () => !(await fs.readdir(join(dir, '.millrace'))).includes('lock'));
  });

  it('is taken over from a run that is dead, also where its number is another’s', async () => {
    await fs.mkdir(join(dir, '.millrace'));
    // Process 1 lives, and was not started then.
    await fs.writeFile(join(dir, '.millrace/lock'), `1 0.5 ${nodeFiles.hostName} 17@another-boot`);
    if (nodeFiles.startOf(1) === undefined) return;
    expect(await run(many(1))).toHaveLength(1);
  });
});

describe('a run that was killed', () => {
  it('gives a file its name that was written and had none, and asks nobody', async () => {
    const journal = memoryJournal();
    const [receipt] = await run(jobsNamed('a'), { journal });
    expect(journal.log.map(({ state }) => state)).toEqual(['begun', 'written', 'published']);
    journal.records.set('a', recordOf(journal.log[1]));
    await fs.rename(join(dir, 'a.md'), join(dir, 'a.md.partial'));
    await fs.writeFile(join(dir, 'a.md.partial.owner'), `999999 0.5 ${nodeFiles.hostName}`);
    const call = vi.fn(base.call);
    const [again] = await run(jobsNamed('a'), { journal, call });
    expect(call).not.toHaveBeenCalled();
    const { timings: _, ...told } = receipt ?? {}; // it took a moment longer to be told
    expect(again).toMatchObject({ ...told, skipped: true });
    expect(await files()).toEqual(['a.md']);
    expect(journal.records.get('a')?.state).toBe('published');
  });

  it.each(['error', 'skip', 'overwrite'] as const)(
    'finds a file that had its name already, ifExists %s',
    async (ifExists) => {
      const journal = memoryJournal();
      await run(jobsNamed('a'), { journal });
      journal.records.set('a', { ...recordOf(journal.records.get('a')), state: 'written' });
      await fs.link(join(dir, 'a.md'), join(dir, 'a.md.partial')); // both names, for a moment
      const call = vi.fn(base.call);
      await fs.writeFile(join(dir, 'a.md.partial.owner'), `999999 0.5 ${nodeFiles.hostName}`);
      await run(jobsNamed('a'), { journal, call, ifExists });
      expect(call).not.toHaveBeenCalled();
      expect(await files()).toEqual(['a.md']);
    },
  );

  it('asks again where what was written is not what is there', async () => {
    const journal = memoryJournal();
    await run(jobsNamed('a'), { journal });
    journal.records.set('a', { ...recordOf(journal.records.get('a')), state: 'written' });
    await fs.rm(join(dir, 'a.md'));
    await fs.writeFile(join(dir, 'a.md.partial'), 'torn');
    const [again] = await run(jobsNamed('a'), { journal });
    expect(again).toMatchObject({ runs: 2 });
    expect(await contents('a.md')).toBe('The answer of a, whole.');
  });

  it('goes on with the work that it created, and creates none', async () => {
    const provider = await server();
    const api = infernet({ apiKey: 'k', baseURL: provider.baseURLs.infernet });
    const chat = ({ name }: Job): ReturnType<typeof api.chat> =>
      api.chat({ model: 'm', messages: [{ role: 'user', content: name }] });
    const attach = (_: Job, workId: string): ReturnType<typeof api.attach> => api.attach(workId);
    // A run that is killed as soon as its work is known.
    const journal = memoryJournal();
    const subscription = runJobs(jobsNamed('a'), { ...base, dir, call: chat, attach, journal }).subscribe();
    await vi.waitUntil(() => journal.log.some(({ workId }) => workId !== undefined));
    const killed = recordOf(journal.log.find(({ workId }) => workId !== undefined));
    subscription.unsubscribe();
    await vi.waitUntil(() => journal.isClosed);
    await fs.rm(join(dir, 'a.md'), { force: true });
    const next = memoryJournal([{ ...killed, state: 'begun', receipt: undefined }]);
    const [receipt] = await run(jobsNamed('a'), { call: chat, attach, journal: next });
    expect(receipt).toMatchObject({ outcome: 'complete', runs: 2 });
    const created = provider.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/jobs'));
    expect(created).toHaveLength(1);
    expect(await contents('a.md')).toBe((await collect(chat({ name: 'a' }))).text);
  });

  it('asks anew where the work was cancelled', async () => {
    const provider = await server({ pace: { perFrameMs: 10 } });
    const api = inferencesh({ apiKey: 'k', baseURL: provider.baseURLs.inferencesh });
    const call = (): ReturnType<typeof api.run> => api.run({ app: 'a/b@3', input: { text: 'Tell me.' } });
    const stop = new AbortController();
    const first = memoryJournal();
    const stopped = run(jobsNamed('a'), { call, attach: (_, id) => api.attach(id), journal: first, stop: stop.signal });
    await vi.waitUntil(() => first.log.some(({ workId }) => workId !== undefined));
    stop.abort();
    await stopped;
    await vi.waitUntil(() => provider.requests.some(({ path }) => path.endsWith('/cancel')));
    const { workId } = recordOf(first.log.find((record) => record.workId !== undefined));
    expect(recordOf(first.records.get('a')).workId).toBeUndefined(); // it is not attached to
    // As if the program had been killed before it could say so.
    const journal = memoryJournal([{ key: 'a', state: 'begun', runs: 1, workId }]);
    const [receipt] = await run(jobsNamed('a'), { call, attach: (_, id) => api.attach(id), journal });
    expect(receipt).toMatchObject({ outcome: 'complete', runs: 2 });
  });

  it.each([403, 404, 410])('asks anew where the work is refused with %i', async (status) => {
    const journal = memoryJournal([{ key: 'a', state: 'begun', runs: 1, workId: 'w' }]);
    const attach = vi.fn(() => fakeCall(throwError(() => new HTTPError('no', { status }))));
    const [receipt] = await run(jobsNamed('a'), { journal, attach });
    expect(attach).toHaveBeenCalledWith({ name: 'a' }, 'w');
    expect(receipt).toMatchObject({ outcome: 'complete', runs: 2 });
    expect(await contents('a.md')).toBe('The answer of a, whole.');
  });

  it('asks anew where the work is gone', async () => {
    const provider = await server();
    const api = infernet({ apiKey: 'k', baseURL: provider.baseURLs.infernet });
    const journal = memoryJournal([{ key: 'a', state: 'begun', runs: 1, workId: 'job_unknown' }]);
    const [receipt] = await run(jobsNamed('a'), {
      journal,
      call: ({ name }) => api.chat({ model: 'm', messages: [{ role: 'user', content: name }] }),
      attach: (_, workId) => api.attach(workId),
    });
    expect(receipt).toMatchObject({ outcome: 'complete', runs: 2 });
  });
});

describe('a disk', () => {
  it('that is full stops the run with one error, keeps what is complete, and goes on with space', async () => {
    const create = nodeFiles.create.bind(nodeFiles);
    let isFull = false;
    vi.spyOn(nodeFiles, 'create').mockImplementation((path) => {
      const file = create(path);
      if (file === undefined) return undefined;
      return {
        ...file,
        write: (bytes) =>
          isFull ? Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' })) : file.write(bytes),
      };
    });
    const receipts: JobReceipt<Job>[] = [];
    const error = await new Promise<unknown>((resolve) => {
      runJobs(many(20), { ...base, dir, concurrency: 2 }).subscribe({
        next: (receipt) => {
          receipts.push(receipt);
          isFull = receipts.length >= 5;
        },
        error: resolve,
      });
    });
    expect(error).toBeInstanceOf(SinkError);
    expect((error as Error).message).toMatch(/^The run in .* was stopped: .*the disk is full \(ENOSPC\)/);
    const whole = receipts.filter(({ outcome }) => outcome === 'complete').map(({ key }) => `${key}.md`);
    expect((await files()).filter((name) => name.endsWith('.md'))).toEqual(whole.sort());
    isFull = false;
    const call = vi.fn(base.call);
    const again = await run(many(20), { call });
    expect(again.every(({ outcome }) => outcome === 'complete')).toBe(true);
    expect(call).toHaveBeenCalledTimes(20 - whole.length);
  });

  it('that keeps no journal stops the run', async () => {
    const journal = memoryJournal();
    const broken: JobJournal = {
      open: async () => ({
        ...(await journal.open()),
        write: (record) =>
          record.state === 'written' ? Promise.reject(new SinkError('the journal is gone')) : Promise.resolve(),
      }),
    };
    await expect(run(many(3), { journal: broken })).rejects.toThrow('was stopped: the journal is gone');
    expect((await files()).filter((name) => name.endsWith('.md'))).toEqual([]);
  });
});

describe('a file that is there already', () => {
  it('is skipped each time, and that is no run', async () => {
    await fs.writeFile(join(dir, 'job-0.md'), 'mine');
    await run(many(1), { ifExists: 'skip' });
    expect(await run(many(1), { ifExists: 'skip' })).toMatchObject([{ skipped: true, runs: 1 }]);
  });
});

describe('a journal', () => {
  it('may be anywhere', async () => {
    const elsewhere = await fs.mkdtemp(join(tmpdir(), 'millrace-journal-'));
    onTestFinished(() => fs.rm(elsewhere, { recursive: true }));
    await run(many(2), { journal: fileJournal(elsewhere) });
    expect(await fs.readdir(dir)).toEqual(['job-0.md', 'job-1.md']);
    expect(await fs.readdir(elsewhere)).toEqual(['journal']);
  });

  it('that cannot be opened ends the run', async () => {
    await fs.writeFile(join(dir, '.millrace'), 'a file');
    await expect(run(many(1))).rejects.toThrow(SinkError);
  });

  it('is closed when the run is over, however it ends', async () => {
    const journal = memoryJournal();
    await expect(
      run(
        new Observable<Job>((subscriber) => {
          subscriber.error(new Error('no jobs'));
        }),
        { journal },
      ),
    ).rejects.toThrow('no jobs');
    expect(journal.isClosed).toBe(true);
  });
});
