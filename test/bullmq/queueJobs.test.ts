import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { concat, lastValueFrom, NEVER, of, take, toArray } from 'rxjs';
import { expect, it, onTestFinished, vi } from 'vitest';
import { queueJobs } from 'millrace/bullmq';
import { answerTo, questions, startFleetWorld } from '../support/fleetWorld.js';
import { finalFiles } from '../support/jobWorld.js';
import { describeWithRedis, startRedis } from '../support/redisServer.js';

const url = 'redis://127.0.0.1:1';
const key = ({ id }: { readonly id: string }): string => id;
const named = (receipts: readonly { readonly key: string }[] | undefined): string[] =>
  (receipts ?? []).map(({ key: name }) => name).sort();
const filesOf = (count: number): ReadonlyMap<string, string> =>
  new Map(questions(count).map(({ id }) => [`${id}.txt`, answerTo(id)]));

it('refuses what no queue can be made of', () => {
  const jobs = questions(1);
  const options = { redis: { url }, queue: 'answers', key };
  expect(() => queueJobs(jobs, { ...options, redis: { url: 'http://127.0.0.1' } })).toThrow(
    'url must begin with redis://',
  );
  expect(() => queueJobs(jobs, { ...options, queue: '' })).toThrow('queue must be a text of 1 to 128 characters');
  expect(() => queueJobs(jobs, { ...options, queue: 'a:b' })).toThrow('queue must be');
  expect(() => queueJobs(jobs, { ...options, queue: 'a{b}' })).toThrow('queue must be');
  expect(() => queueJobs(jobs, { ...options, maxQueued: 0 })).toThrow(RangeError);
  expect(() => queueJobs(jobs, { ...options, maxWaiting: 0 })).toThrow(RangeError);
  expect(() => queueJobs(jobs, { ...options, maxWaitMs: 0 })).toThrow(RangeError);
});

it('tells that Redis is not there, and no password', { timeout: 30_000 }, async () => {
  const redis = { url: 'redis://somebody:secret-word@127.0.0.1:1' };
  const result = lastValueFrom(queueJobs(questions(1), { redis, queue: 'answers', key }));
  const error = await result.then(
    () => undefined,
    (reason: unknown) => reason as Error,
  );
  expect(error).toMatchObject({
    code: 'ERR_STORE',
    reason: 'unavailable',
    message: expect.stringContaining('ECONNREFUSED') as string,
  });
  expect(JSON.stringify([error?.message, error?.stack, error?.cause])).not.toContain('secret-word');
});

describeWithRedis('queueJobs', () => {
  it('has jobs done by whatever workers there are, and tells of each', async () => {
    const world = await startFleetWorld();
    const workers = [world.work({ concurrency: 2 }), world.work({ concurrency: 2 })];
    const started: string[] = [];
    const receipts = await world.queue(questions(20), {
      onStart: ({ id }) => started.push(id),
    });
    const told = await Promise.all(workers.map((worker) => worker.finish()));

    expect(receipts.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 20 }, () => 'complete'));
    expect(new Set(receipts.map(({ job, key: name, runs }) => `${job.id} ${name} ${String(runs)}`))).toEqual(
      new Set(questions(20).map(({ id }) => `${id} ${id} 1`)),
    );
    expect(finalFiles(world.dir)).toEqual(filesOf(20));
    expect([...world.asked].sort()).toEqual(questions(20).map(key).sort());
    expect(new Set(started)).toEqual(new Set(questions(20).map(key)));
    expect(named(told.flat())).toEqual(questions(20).map(key).sort());
    expect(workers.flatMap(({ troubles }) => troubles)).toEqual([]);
  });

  it('asks nothing again that is finished, and tells of it', async () => {
    const world = await startFleetWorld();
    const worker = world.work();
    await world.queue(questions(5));
    const receipts = await world.queue(questions(6));
    await worker.finish();
    expect(world.asked).toHaveLength(6);
    expect(named(receipts.filter(({ skipped }) => skipped))).toEqual(questions(5).map(key));
  });

  it('asks again what has failed', async () => {
    let isDown = true;
    const world = await startFleetWorld((id) => (isDown ? { status: 400 } : { text: answerTo(id) }));
    const worker = world.work();
    expect((await world.queue(questions(3))).map(({ outcome }) => outcome)).toEqual(['failed', 'failed', 'failed']);
    isDown = false;
    const receipts = await world.queue(questions(3));
    await worker.finish();
    expect(receipts.map(({ outcome, runs }) => [outcome, runs])).toEqual([1, 2, 3].map(() => ['complete', 2]));
    expect(finalFiles(world.dir)).toEqual(filesOf(3));
    // What the failed ones had begun is gone.
    expect(await readdir(world.dir)).toHaveLength(3);
  });

  it('lets two follow the same jobs, which are done once', async () => {
    const world = await startFleetWorld();
    const both = [world.queue(questions(10)), world.queue(questions(10))];
    const worker = world.work({ concurrency: 3 });
    const [one, other] = await Promise.all(both);
    await worker.finish();
    expect(named(one)).toEqual(questions(10).map(key).sort());
    expect(named(other)).toEqual(questions(10).map(key).sort());
    expect(world.asked).toHaveLength(10);
  });

  it('takes out what nobody has begun when it is called off, and follows the others to their end', async () => {
    const world = await startFleetWorld((id) => ({ text: answerTo(id), pace: { perFrameMs: 20 } }));
    const worker = world.work({ concurrency: 2 });
    const signal = new AbortController();
    let begun = 0;
    const receipts = await world.queue(questions(50), {
      signal: signal.signal,
      onStart: () => {
        begun += 1;
        if (begun === 2) signal.abort();
      },
    });
    await worker.finish();
    expect(receipts.map(({ outcome }) => outcome)).toEqual(receipts.map(() => 'complete'));
    // Those begun while it was taking out the rest are followed, too.
    expect(named(receipts)).toEqual([...world.asked].sort());
    expect(world.asked.length).toBeLessThan(50);
    expect(await world.redis.client().llen('{millrace:answers}:answers:wait')).toBe(0);
  });

  it('puts in again what another follower took out', async () => {
    const world = await startFleetWorld();
    const signal = new AbortController();
    const other = world.queue(questions(5), { signal: signal.signal });
    const own = world.queue(questions(5));
    const client = world.redis.client();
    await vi.waitFor(async () => {
      expect(await client.llen('{millrace:answers}:answers:wait')).toBe(5);
    });
    signal.abort();
    expect(await other).toEqual([]);
    const worker = world.work();
    expect(named(await own)).toEqual(questions(5).map(key));
    await worker.finish();
    expect(world.asked).toHaveLength(5);
  });

  it('leaves the workers at work when it is unsubscribed, to be followed again', async () => {
    const world = await startFleetWorld((id) => ({ text: answerTo(id), pace: { perFrameMs: 2 } }));
    const worker = world.work({ concurrency: 2 });
    const options = { redis: { url: world.redis.url }, queue: 'answers', key };
    await lastValueFrom(queueJobs(questions(10), options).pipe(take(1), toArray()));
    const receipts = await world.queue(questions(10));
    await worker.finish();
    expect(receipts).toHaveLength(10);
    expect(world.asked).toHaveLength(10);
  });

  it('finds out what became of jobs that are gone without a word', { timeout: 60_000 }, async () => {
    const world = await startFleetWorld();
    const following = world.queue(questions(2));
    const client = world.redis.client();
    const waiting = '{millrace:answers}:answers:wait';
    await vi.waitFor(async () => {
      expect(await client.llen(waiting)).toBe(2);
    });
    // As after what was told was lost: a worker has ended the one; and the other was forgotten with its Redis.
    const [id] = await client.lrange(waiting, 0, 0);
    const entry = await client.hget(`{millrace:answers}:answers:${String(id)}`, 'data');
    const { key: ended } = JSON.parse(String(entry)) as { readonly key: string };
    const record = { key: ended, state: 'published', runs: 3, receipt: { outcome: 'complete', timings: {} } };
    await client.flushall();
    await client.hset(`{millrace:answers}:record:${String(id)}`, 'r', JSON.stringify(record));
    const worker = world.work();
    const receipts = await following;
    await worker.finish();
    expect(named(receipts)).toEqual(['q0', 'q1']);
    expect(receipts.find((receipt) => receipt.key === ended)).toMatchObject({ outcome: 'complete', runs: 3 });
    expect(world.asked).toEqual(['q0', 'q1'].filter((name) => name !== ended));
  });

  it('holds no more jobs in the queue than it may', async () => {
    const world = await startFleetWorld();
    let pulled = 0;
    let ended = 0;
    let most = 0;
    const jobs = function* (): Generator<{ id: string }> {
      for (const job of questions(30)) {
        pulled += 1;
        most = Math.max(most, pulled - ended);
        yield job;
      }
    };
    const worker = world.work();
    await new Promise<void>((resolve, reject) => {
      queueJobs(jobs(), { redis: { url: world.redis.url }, queue: 'answers', key, maxQueued: 4 }).subscribe({
        next: () => {
          ended += 1;
        },
        complete: resolve,
        error: reject,
      });
    });
    await worker.finish();
    expect(ended).toBe(30);
    expect(most).toBeLessThanOrEqual(4);
  });

  it('tells of its input’s failure, and of two jobs with one name, when those before have ended', async () => {
    const world = await startFleetWorld();
    const worker = world.work();
    const told: string[] = [];
    const run = (jobs: Iterable<{ readonly id: string }>): Promise<unknown> =>
      new Promise((resolve) => {
        queueJobs(jobs, { redis: { url: world.redis.url }, queue: 'answers', key }).subscribe({
          next: (receipt) => told.push(receipt.key),
          error: resolve,
        });
      });
    const failing = function* (): Generator<{ id: string }> {
      yield { id: 'first' };
      throw new Error('the input is broken');
    };
    expect(await run(failing())).toMatchObject({ message: 'the input is broken' });
    expect(told).toEqual(['first']);
    expect(await run([{ id: 'same' }, { id: 'same' }])).toMatchObject({
      message: 'queueJobs got two jobs named "same"',
    });
    expect(told).toEqual(['first', 'same']);
    await worker.finish();
  });

  it('completes when it is called off, though its input is silent', async () => {
    const world = await startFleetWorld();
    const signal = new AbortController();
    const options = { redis: { url: world.redis.url }, queue: 'answers', key, signal: signal.signal };
    const receipts = lastValueFrom(queueJobs(concat(of({ id: 'one' }), NEVER), options).pipe(toArray()));
    const client = world.redis.client();
    await vi.waitFor(async () => {
      expect(await client.llen('{millrace:answers}:answers:wait')).toBe(1);
    });
    signal.abort();
    expect(await receipts).toEqual([]);
    expect(await client.llen('{millrace:answers}:answers:wait')).toBe(0);
  });

  it('tells that Redis is full', async () => {
    const redis = await startRedis({ settings: ['--maxmemory', '1mb', '--maxmemory-policy', 'noeviction'] });
    onTestFinished(() => redis.stop());
    const result = lastValueFrom(queueJobs(questions(3), { redis: { url: redis.url }, queue: 'answers', key }));
    await expect(result).rejects.toMatchObject({
      code: 'ERR_STORE',
      reason: 'unavailable',
      message: expect.stringContaining('maxmemory') as string,
    });
  });

  it('takes a record that is none for no record', async () => {
    const world = await startFleetWorld();
    const worker = world.work();
    await world.queue(questions(1));
    const client = world.redis.client();
    const [record = ''] = await client.keys('{millrace:answers}:record:*');
    await rm(join(world.dir, 'q0.txt'));
    await client.hset(record, 'r', '{"state":');
    const receipts = await world.queue(questions(1));
    await worker.finish();
    expect(receipts.map(({ outcome, runs }) => [outcome, runs])).toEqual([['complete', 1]]);
    expect(world.asked).toEqual(['q0', 'q0']);
  });

  it('gives workers what it is told to give, and no more', async () => {
    const world = await startFleetWorld();
    const worker = world.work();
    const jobs = [{ id: 'known', secret: 'not theirs' }];
    const [receipt] = await lastValueFrom(
      queueJobs(jobs, {
        redis: { url: world.redis.url },
        queue: 'answers',
        key,
        data: ({ id }) => ({ id }),
      }).pipe(toArray()),
    );
    const [told] = await worker.finish();
    expect(receipt?.job).toBe(jobs[0]);
    expect(told?.job).toEqual({ id: 'known' });
  });

  it('fails what it has not put there itself, and goes on', async () => {
    const world = await startFleetWorld();
    const queue = new Queue('answers', { connection: world.redis.client(), prefix: '{millrace:answers}' });
    for (const data of [undefined, 7, 'text', {}, { millrace: 2, key: 'a' }, { millrace: 1, key: '' }]) {
      await queue.add('stranger', data, { removeOnFail: true });
    }
    const worker = world.work();
    expect(await world.queue(questions(2))).toHaveLength(2);
    const told = await worker.finish();
    expect(named(told)).toEqual(['q0', 'q1']);
    expect(await queue.getJobCounts()).toMatchObject({ waiting: 0, active: 0, failed: 0 });
    await queue.close();
  });

  it('goes on when Redis was restarted', { timeout: 60_000 }, async () => {
    const world = await startFleetWorld((id) => ({ text: answerTo(id), pace: { perFrameMs: 3 } }));
    const worker = world.work({ concurrency: 3, leaseMs: 2_000 });
    let begun = 0;
    let restarting: Promise<void> | undefined;
    const receipts = await world.queue(questions(30), {
      onStart: () => {
        begun += 1;
        if (begun === 10) restarting = world.redis.kill().then(() => world.redis.start());
      },
    });
    await restarting;
    await worker.finish();
    expect(receipts.map(({ outcome }) => outcome)).toEqual(receipts.map(() => 'complete'));
    expect(finalFiles(world.dir)).toEqual(filesOf(30));
  });
});
