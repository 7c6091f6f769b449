import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { lastValueFrom, reduce } from 'rxjs';
import { createGate, fromStore, toStore, toTokens } from 'millrace';
import { workJobs } from 'millrace/bullmq';
import { redisStore } from 'millrace/redis';
import { polargrid } from 'millrace/providers';
import { answerTo, questions, startFleetWorld } from '../support/fleetWorld.js';
import { finalFiles } from '../support/jobWorld.js';
import { describeWithRedis } from '../support/redisServer.js';

const url = 'redis://127.0.0.1:1';
const run = (): never => {
  throw new Error('nobody is to be asked');
};

it('refuses what no worker can be made of', () => {
  const options = { redis: { url }, queue: 'answers', run };
  expect(() => workJobs({ ...options, redis: { url: 'nonsense' } })).toThrow(TypeError);
  expect(() => workJobs({ ...options, queue: 'a:b' })).toThrow('queue must be');
  expect(() => workJobs({ ...options, concurrency: 0 })).toThrow(RangeError);
  expect(() => workJobs({ ...options, leaseMs: 999 })).toThrow(RangeError);
  expect(() => workJobs({ ...options, keepMs: 0 })).toThrow(RangeError);
  expect(() => workJobs({ ...options, maxWaitMs: 0 })).toThrow(RangeError);
});

it('tells that Redis is not there', { timeout: 30_000 }, async () => {
  const result = new Promise((resolve) => {
    workJobs({ redis: { url }, queue: 'answers', run }).subscribe({ error: resolve });
  });
  expect(await result).toMatchObject({ code: 'ERR_STORE', reason: 'unavailable' });
});

describeWithRedis('workJobs', () => {
  it('finishes what is under way when it is called off, and takes no more', async () => {
    const world = await startFleetWorld((id) => ({ text: answerTo(id), pace: { perFrameMs: 10 } }));
    const following = world.queue(questions(10));
    const worker = world.work({ concurrency: 2 });
    await vi.waitFor(() => {
      expect(world.asked).toHaveLength(2);
    });
    const told = await worker.finish();
    expect(told.map(({ outcome }) => outcome)).toEqual(told.map(() => 'complete'));
    expect([...told.map(({ key }) => key)].sort()).toEqual([...world.asked].sort());
    expect(told.length).toBeLessThan(10);
    const other = world.work();
    expect(await following).toHaveLength(10);
    await other.finish();
    expect(world.asked).toHaveLength(10);
  });

  it('gives back what it is stopped in, to be done by others', async () => {
    let isSlow = true;
    const world = await startFleetWorld((id) => ({ text: answerTo(id), ...(isSlow && { pace: { perFrameMs: 200 } }) }));
    const following = world.queue(questions(3));
    const worker = world.work();
    await vi.waitFor(() => {
      expect(world.asked).toHaveLength(3);
    });
    isSlow = false;
    expect(await worker.stop()).toEqual([]);
    expect(finalFiles(world.dir).size).toBe(0);
    // At once, and not when a lease is over: its own is half a minute.
    const other = world.work();
    const receipts = await following;
    expect(receipts.map(({ outcome, runs }) => [outcome, runs])).toEqual(receipts.map(() => ['complete', 2]));
    await other.finish();
    // Nothing of the first ones is left.
    expect((await readdir(world.dir)).sort()).toEqual(['q0.txt', 'q1.txt', 'q2.txt']);
  });

  it('gives back what is under way when it is unsubscribed', async () => {
    let isSlow = true;
    const world = await startFleetWorld((id) => ({ text: answerTo(id), ...(isSlow && { pace: { perFrameMs: 200 } }) }));
    const following = world.queue(questions(2));
    const options = { redis: { url: world.redis.url }, queue: 'answers', run: world.run };
    const worker = workJobs(options).subscribe();
    await vi.waitFor(() => {
      expect(world.asked).toHaveLength(2);
    });
    isSlow = false;
    worker.unsubscribe();
    const other = world.work();
    expect(await following).toHaveLength(2);
    await other.finish();
  });

  it('fails a job that cannot be run, and goes on', async () => {
    const world = await startFleetWorld();
    const worker = world.work({
      run: (job) => {
        if (job.id === 'q0') throw new Error('nobody knows how');
        const how = world.run(job);
        if (job.id === 'q1') return { ...how, sink: undefined, dir: world.dir, file: () => '../elsewhere.txt' };
        if (job.id === 'q2') return { ...how, call: () => Promise.reject(new Error('no call can be made')) };
        return how;
      },
    });
    const receipts = await world.queue(questions(4));
    await worker.finish();
    const byKey = Object.fromEntries(receipts.map(({ key, outcome, error }) => [key, [outcome, error?.message]]));
    expect(byKey).toEqual({
      q0: ['failed', 'nobody knows how'],
      q1: ['failed', expect.stringContaining('file must give a path inside')],
      q2: ['failed', 'no call can be made'],
      q3: ['complete', undefined],
    });
    expect(world.asked).toEqual(['q3']);
  });

  it('tells how jobs are asked again', async () => {
    const tries = new Map<string, number>();
    const world = await startFleetWorld((id) => {
      tries.set(id, (tries.get(id) ?? 0) + 1);
      return tries.get(id) === 1 ? { status: 503 } : { text: answerTo(id) };
    });
    const here: string[] = [];
    const there: string[] = [];
    const worker = world.work({
      onRetry: ({ id }) => here.push(id),
      run: (job) => ({ ...world.run(job), retry: { delay: { initialMs: 1 } } }),
    });
    const receipts = await world.queue(questions(2), {
      onRetry: ({ id }, { message, delayMs }) => there.push(`${id} ${String(delayMs >= 0)} ${message}`),
    });
    await worker.finish();
    expect(receipts.map(({ attempts }) => attempts)).toEqual([2, 2]);
    expect(here.sort()).toEqual(['q0', 'q1']);
    expect(there.sort()).toEqual([expect.stringMatching(/^q0 true .*503/), expect.stringMatching(/^q1 true .*503/)]);
  });

  it('goes through the gate that it is given', async () => {
    let most = 0;
    const gate = createGate({ perKey: 2 });
    const world = await startFleetWorld((id) => {
      most = Math.max(most, gate.state('one').running);
      return { text: answerTo(id), pace: { perFrameMs: 1 } };
    });
    const worker = world.work({ gate, run: (job) => ({ ...world.run(job), gateKey: () => 'one' }) });
    await world.queue(questions(12));
    await worker.finish();
    expect(most).toBe(2);
  });

  it(
    'asks nothing that another took while this process slept, and writes nothing down',
    { timeout: 60_000 },
    async () => {
      const world = await startFleetWorld((id) => ({ text: answerTo(id), pace: { perFrameMs: 100 } }));
      const following = world.queue(questions(1));
      const worker = world.work();
      await vi.waitFor(() => {
        expect(world.asked).toHaveLength(1);
      });
      // As it is when its lease was over: BullMQ gives the job to another.
      const client = world.redis.client();
      const [active] = await client.lrange('{millrace:answers}:answers:active', 0, -1);
      const id = String(active);
      await client.del(`{millrace:answers}:answers:${id}:lock`);
      await client.lrem('{millrace:answers}:answers:active', 1, id);
      await client.rpush('{millrace:answers}:answers:wait', id);
      await client.zadd('{millrace:answers}:answers:marker', 0, '0');
      const other = world.work();
      const [receipt] = await following;
      expect(receipt).toMatchObject({ outcome: 'complete', runs: 2 });
      expect(await readFile(join(world.dir, 'q0.txt'), 'utf8')).toBe(answerTo('q0'));
      const told = await Promise.all([worker.finish(), other.finish()]);
      expect(told.map((receipts) => receipts.length).sort()).toEqual([0, 1]);
      expect((await readdir(world.dir)).sort()).toEqual(['q0.txt']);
    },
  );

  it('ends when Redis stays away, and another does its job', { timeout: 60_000 }, async () => {
    const world = await startFleetWorld((id) => ({ text: answerTo(id), pace: { perFrameMs: 20 } }));
    const following = world.queue(questions(1));
    const worker = world.work({ maxWaitMs: 500, leaseMs: 1_000 });
    await vi.waitFor(() => {
      expect(world.asked).toHaveLength(1);
    });
    await world.redis.kill();
    await expect(worker.ended).rejects.toMatchObject({ code: 'ERR_STORE', reason: 'unavailable' });
    expect(finalFiles(world.dir).size).toBe(0);
    await world.redis.start();
    const other = world.work({ leaseMs: 1_000 });
    expect((await following).map(({ outcome }) => outcome)).toEqual(['complete']);
    await other.finish();
    expect(finalFiles(world.dir)).toEqual(new Map([['q0.txt', answerTo('q0')]]));
  });

  it('puts answers into a store, where workers share no folder', async () => {
    const world = await startFleetWorld();
    const store = redisStore({ url: world.redis.url });
    const api = polargrid({ apiKey: 'any', baseURL: world.server.baseURLs.polargrid });
    const worker = world.work({
      run: () => ({
        call: ({ id }) => api.chat({ model: 'millwheel-1', messages: [{ role: 'user', content: id }] }),
        sink: ({ id }) => toStore(store, id, { ifClosed: 'skip' }),
      }),
    });
    const receipts = await world.queue(questions(3));
    expect(receipts.map(({ outcome }) => outcome)).toEqual(['complete', 'complete', 'complete']);
    expect((await world.queue(questions(3))).every(({ skipped }) => skipped)).toBe(true);
    // As when a worker died between the end of the answer and its record.
    const client = world.redis.client();
    await client.del(...(await client.keys('{millrace:answers}:record:*')));
    expect((await world.queue(questions(3))).every(({ skipped }) => skipped)).toBe(true);
    await worker.finish();
    expect(world.asked).toHaveLength(3);
    const stored = fromStore(store, 'q1').pipe(
      toTokens(),
      reduce((text, token) => text + token, ''),
    );
    expect(await lastValueFrom(stored)).toBe(answerTo('q1'));
    await store.close();
  });

  it('leaves Redis with no connection and, once records are over, with nothing of a job', async () => {
    const world = await startFleetWorld();
    const worker = world.work({ keepMs: 50 });
    await world.queue(questions(2));
    await worker.finish();
    await after(60);
    const client = world.redis.client();
    expect((await client.keys('{millrace:answers}*')).filter((name) => /k[0-9a-f]{32}/.test(name))).toEqual([]);
    await vi.waitFor(async () => {
      expect(
        String(await client.call('CLIENT', 'LIST'))
          .trim()
          .split('\n'),
      ).toHaveLength(1);
    });
  });
});
