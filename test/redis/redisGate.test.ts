import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, Redis } from 'ioredis';
import {
  defer,
  EMPTY,
  finalize,
  firstValueFrom,
  lastValueFrom,
  merge,
  mergeMap,
  NEVER,
  Observable,
  of,
  range,
  Subject,
  take,
  throwError,
  timer,
  toArray,
} from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError, LimitError, StoreError } from '../../src/errors.js';
import type { GateState } from '../../src/operators/createGate.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { type RedisConnection, redisGate, type RedisGate, type RedisGateOptions } from '../../src/redis/index.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { runJobs } from '../../src/sources/runJobs.js';
import { fakeCall } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { chanceOf } from '../support/jobWorld.js';
import { describeWithRedis, type RedisServer, startCluster, startProxy, startRedis } from '../support/redisServer.js';

const idle = { running: 0, waiting: 0, closedForMs: 0 };
const URL = 'redis://127.0.0.1:1';

const refused = (status = 429, retryAfterMs?: number): HTTPError =>
  new HTTPError(`HTTP ${String(status)}`, { status, retryAfterMs });
const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };

/** A source that is subscribed to, and ends, when the test says so. */
class Stream {
  isBegun = false;
  isLeft = false;
  begunAt = 0;
  readonly #ends = new Subject<never>();
  error: unknown;
  isComplete = false;
  readonly source: Observable<never> = defer(() => {
    this.isBegun = true;
    this.begunAt = performance.now();
    return this.#ends;
  }).pipe(
    finalize(() => {
      this.isLeft = true;
    }),
  );

  complete(): void {
    this.#ends.complete();
  }

  fail(error: unknown): void {
    this.#ends.error(error);
  }

  through(gate: RedisGate, key?: string): this & { leave(): void } {
    const subscription = this.source.pipe(gate(key)).subscribe({
      error: (error: unknown) => {
        this.error = error;
      },
      complete: () => {
        this.isComplete = true;
      },
    });
    return Object.assign(this, {
      leave: () => {
        subscription.unsubscribe();
      },
    });
  }
}

const until = (is: () => boolean | Promise<boolean>): Promise<unknown> =>
  vi.waitUntil(is, { timeout: 10_000, interval: 2 });

describe('redisGate', () => {
  it.each<[string, unknown, RedisGateOptions?]>([
    ['nothing', {}],
    ['another client', { sendCommand: () => undefined }],
    ['null', null],
    ['a URL that is none', { url: 'not one' }],
    ['a URL of another protocol', { url: 'https://127.0.0.1' }],
    ['a prefix with braces', { url: URL }, { prefix: 'a}' }],
  ])('refuses %s when it is called', (_name, redis, options) => {
    // JavaScript callers pass what the types exclude.
    expect(() => redisGate(redis as RedisConnection, options)).toThrow(TypeError);
  });

  it.each<Partial<RedisGateOptions>>([
    { perKey: 0 },
    { perKey: Number.NaN },
    { maxWaiting: -1 },
    { pauseMs: -1 },
    { maxPauseMs: 2 ** 31 },
    { leaseMs: 99 },
    { leaseMs: Number.NaN },
    { leaseMs: Number.POSITIVE_INFINITY },
    { maxWaitMs: 0 },
    { perKey: 4, adapt: { initial: 5 } },
    { perKey: 4, adapt: { min: 0 } },
    { perKey: 4, adapt: { min: 1.5 } },
  ])('refuses %o when it is called', (options) => {
    expect(() => redisGate({ url: URL }, options)).toThrow(RangeError);
  });

  it('refuses a key that is no string', () => {
    const gate = redisGate({ url: URL });
    expect(() => gate(5 as unknown as string)).toThrow(new TypeError("A gate's key must be a string, got number"));
    expect(() => gate('\uD800')).toThrow(TypeError);
  });

  it('opens nothing before a stream is subscribed, nor for one that leaves at once', async () => {
    let connections = 0;
    const server = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.close();
    });
    const { port } = server.address() as { port: number };
    const gate = redisGate({ url: `redis://127.0.0.1:${String(port)}` });
    const gated = NEVER.pipe(gate('k'));
    expect(gate.state('k')).toStrictEqual(idle);
    gated.subscribe().unsubscribe();
    await sleep(50);
    expect(connections).toBe(0);
    await gate.close();
    expect(connections).toBe(0);
  });

  it('fails what waits when Redis is not there for too long', async () => {
    const gate = redisGate({ url: URL }, { maxWaitMs: 100 });
    onTestFinished(() => gate.close());
    const stream = new Stream().through(gate);
    await until(() => stream.error !== undefined);
    expect(stream.error).toBeInstanceOf(StoreError);
    expect(stream.error).toMatchObject({ reason: 'unavailable' });
    expect(stream.isBegun).toBe(false);
    expect(gate.state()).toStrictEqual(idle);
  });

  it('fails what waits, and what comes, when it is closed', async () => {
    const gate = redisGate({ url: URL });
    const waits = new Stream().through(gate);
    const closing = gate.close();
    const comes = new Stream().through(gate);
    await closing;
    for (const { error, isBegun } of [waits, comes]) {
      expect(isBegun).toBe(false);
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ message: 'The gate is closed' });
    }
    await gate.close();
  });
});

describeWithRedis('redisGate', () => {
  let server: RedisServer;
  let admin: Redis;
  let runs = 0;

  beforeAll(async () => {
    server = await startRedis();
    admin = server.client();
  });
  afterAll(() => server.stop());

  /** Gates as of so many processes. */
  const open = (
    count: number,
    options: RedisGateOptions = {},
    redis: RedisConnection = { url: server.url },
  ): RedisGate[] => {
    const prefix = options.prefix ?? `test ${String((runs += 1))}`;
    return Array.from({ length: count }, () => {
      const gate = redisGate(redis, { ...options, prefix });
      onTestFinished(() => gate.close());
      return gate;
    });
  };
  const lastPrefix = (): string => `test ${String(runs)}`;
  const keyOf = (part: string, key = ''): string => `{${lastPrefix()}:${key}}:${part}`;
  const waiting = (key = ''): Promise<number> => admin.zcard(keyOf('queue', key));
  const running = (key = ''): Promise<number> => admin.zcard(keyOf('running', key));

  it('lets no more streams of a key run than its limit, whoever starts them, and each in the end', async () => {
    const gates = open(3, { perKey: 4 });
    const counts = { a: 0, b: 0 };
    const most = { a: 0, b: 0 };
    const all = Array.from({ length: 300 }, (_, index) => {
      const key = index % 2 === 0 ? 'a' : 'b';
      const source = defer(() => {
        counts[key] += 1;
        most[key] = Math.max(most[key], counts[key]);
        return timer(index % 7);
      }).pipe(
        finalize(() => {
          counts[key] -= 1;
        }),
      );
      return lastValueFrom(source.pipe(gates[index % 3]!(key)));
    });
    await Promise.all(all);
    expect(most).toStrictEqual({ a: 4, b: 4 });
    await until(async () => (await admin.keys(`{${lastPrefix()}*`)).length === 2);
    expect((await admin.keys(`{${lastPrefix()}*`)).sort()).toStrictEqual([keyOf('state', 'a'), keyOf('state', 'b')]);
  });

  it('keeps the order of those that wait, over all processes', async () => {
    const gates = open(3, { perKey: 1 });
    const first = new Stream().through(gates[0]!);
    await until(() => first.isBegun);
    const streams: Stream[] = [];
    for (let index = 0; index < 9; index += 1) {
      streams.push(new Stream().through(gates[(index * 2) % 3]!));
      await until(async () => (await waiting()) === index + 1);
    }
    first.complete();
    for (const [index, stream] of streams.entries()) {
      await until(() => stream.isBegun);
      expect(streams.filter(({ isBegun }) => isBegun)).toHaveLength(index + 1);
      stream.complete();
    }
  });

  it('passes on what the source emits, its completion and its error', async () => {
    const [gate] = open(1, { perKey: 1 });
    expect(await lastValueFrom(of(1, 2, 3).pipe(gate!('k'), toArray()))).toStrictEqual([1, 2, 3]);
    expect(await lastValueFrom(EMPTY.pipe(gate!('k'), toArray()))).toStrictEqual([]);
    expect(await firstValueFrom(of(1, 2, 3).pipe(gate!('k'), take(1)))).toBe(1);
    const error = new Error('mine');
    await expect(lastValueFrom(throwError(() => error).pipe(gate!('k')))).rejects.toBe(error);
    expect(gate!.state('k')).toStrictEqual(idle);
    await until(async () => (await running('k')) === 0);
  });

  it('closes a key for all when one process is refused, for as long as the server asks', async () => {
    const told: GateState[] = [];
    const [one] = open(1, { perKey: 2, prefix: 'refused' });
    const [other] = open(1, { perKey: 2, prefix: 'refused', onChange: (_key, state) => told.push(state) });
    const [first, second, third, elsewhere] = [new Stream(), new Stream(), new Stream(), new Stream()];
    first.through(one!, 'k');
    second.through(other!, 'k');
    await until(() => first.isBegun && second.isBegun);
    third.through(other!, 'k');
    await until(async () => (await admin.zcard('{refused:k}:queue')) === 1);
    const at = performance.now();
    first.fail(refused(429, 400));
    await until(() => told.some(({ closedForMs }) => closedForMs > 0));
    second.complete();
    elsewhere.through(other!, 'another key');
    await until(() => elsewhere.isBegun);
    expect(third.isBegun).toBe(false);
    await until(() => third.isBegun);
    // Redis counts whole milliseconds.
    expect(third.begunAt - at).toBeGreaterThan(398);
    expect(told.at(-1)).toMatchObject({ closedForMs: 0, waiting: 1 });
    expect(told.filter(({ closedForMs }) => closedForMs > 0).every(({ closedForMs }) => closedForMs <= 400)).toBe(true);
  });

  it('closes a key for longer with each refusal in a row, until an item comes', async () => {
    const closures: number[] = [];
    const [gate] = open(1, {
      pauseMs: 100,
      maxPauseMs: 350,
      onChange: (_key, { closedForMs }) => {
        if (closedForMs > 0) closures.push(closedForMs);
      },
    });
    const fail = async (): Promise<void> => {
      await expect(lastValueFrom(throwError(() => refused()).pipe(gate!('k')))).rejects.toThrow('429');
    };
    const before = closures.length;
    for (let index = 0; index < 4; index += 1) await fail();
    await lastValueFrom(of(1).pipe(gate!('k')));
    await until(async () => (await admin.hget(keyOf('state', 'k'), 'refusals')) === '0');
    await fail();
    await until(() => closures.length - before >= 5);
    expect(closures.map((ms) => Math.ceil(ms / 50) * 50)).toStrictEqual([100, 200, 350, 350, 100]);
  });

  it('counts refusals that were on their way together as one, in whatever process', async () => {
    const gates = open(2, { pauseMs: 60_000, adapt: true, perKey: 8 });
    const streams = Array.from({ length: 8 }, (_, index) => new Stream().through(gates[index % 2]!, 'k'));
    await until(() => streams.every(({ isBegun }) => isBegun));
    for (const stream of streams) stream.fail(refused());
    await until(async () => (await running('k')) === 0);
    const { limit, round, refusals } = await admin.hgetall(keyOf('state', 'k'));
    expect({ limit, round, refusals }).toStrictEqual({ limit: '4', round: '1', refusals: '0' });
  });

  it('grows by one when as many have come through as may run, while it was full', async () => {
    const limits: (number | undefined)[] = [];
    const [gate] = open(1, { perKey: 4, adapt: { initial: 1 }, onChange: (_key, { limit }) => limits.push(limit) });
    const all = Array.from({ length: 40 }, () => lastValueFrom(timer(3).pipe(gate!('k'))));
    await Promise.all(all);
    expect(limits).toStrictEqual([2, 3, 4]);
    expect(gate!.state('k').limit).toBe(4);
  });

  it('gives back at once what a stream had that is left: while it waits, on the way, and while it runs', async () => {
    const [one, other] = open(2, { perKey: 1 });
    const runs = new Stream().through(one!);
    await until(() => runs.isBegun);
    const waits = new Stream().through(other!);
    await until(async () => (await waiting()) === 1);
    waits.leave();
    await until(async () => (await waiting()) === 0);
    // Redis is asked in this turn's end; it is left before the answer is here.
    const onItsWay = new Stream().through(other!);
    runs.leave();
    await Promise.resolve();
    await Promise.resolve();
    onItsWay.leave();
    expect(one!.state().running).toBe(0);
    const last = new Stream().through(one!);
    await until(() => last.isBegun);
    expect([waits.isBegun, onItsWay.isBegun]).toStrictEqual([false, false]);
    last.complete();
    await until(async () => (await running()) === 0 && (await admin.exists(keyOf('processes'))) === 0);
  });

  it('gives a place back that comes for a stream that has left', async () => {
    const [one, other] = open(2, { perKey: 1, leaseMs: 60_000 });
    const runs = new Stream().through(one!);
    await until(() => runs.isBegun);
    const waits = new Stream().through(other!);
    await until(async () => (await waiting()) === 1);
    // Both are told in the same turn: whoever is first, the place is free in the end.
    runs.complete();
    waits.leave();
    const last = new Stream().through(one!);
    await until(() => last.isBegun);
    expect(waits.isBegun).toBe(false);
  });

  it('lets in whoever waits when a process is gone without a word', async () => {
    const [one, other] = open(2, { perKey: 2, leaseMs: 300 });
    const held = [1, 2].map(() => new Stream().through(one!));
    await until(() => held.every(({ isBegun }) => isBegun));
    const waits = new Stream().through(other!);
    await until(async () => (await waiting()) === 1);
    // As if it had been killed: it is taken off the list, as when its lease is over.
    const processes = await admin.zrange(keyOf('processes'), '0', '-1');
    const members = await admin.zrange(keyOf('running'), '0', '-1');
    const gone = processes.filter((name) => members.some((member) => member.startsWith(name)));
    expect(gone).toHaveLength(1);
    await admin.call('ZADD', keyOf('processes'), '1', gone[0]!);
    await until(() => waits.isBegun);
    // It was not gone, and notices: what it runs is counted again.
    await until(async () => (await running()) === 3);
    for (const stream of [...held, waits]) stream.complete();
    await until(async () => (await running()) === 0);
  });

  it('hears of its turn by the next heartbeat where the message was lost', async () => {
    const [one, other] = open(2, { perKey: 1, leaseMs: 900 });
    const runs = new Stream().through(one!);
    await until(() => runs.isBegun);
    const waits = new Stream().through(other!);
    const listeners = async (): Promise<unknown[]> =>
      (await admin.call('PUBSUB', 'CHANNELS', `${lastPrefix()}:*`)) as unknown[];
    await until(async () => (await waiting()) === 1 && (await listeners()).length === 1);
    // It is let through, and nobody tells.
    const [member] = await admin.zpopmin(keyOf('queue'));
    await admin.call('ZADD', keyOf('running'), '0', String(member));
    await until(() => waits.isBegun);
  });

  it('goes on to hear of its turn when that connection is lost', async () => {
    const [one, other] = open(2, { perKey: 1, leaseMs: 60_000 });
    const runs = new Stream().through(one!);
    await until(() => runs.isBegun);
    const waits = new Stream().through(other!);
    const listeners = async (): Promise<unknown[]> =>
      (await admin.call('PUBSUB', 'CHANNELS', `${lastPrefix()}:*`)) as unknown[];
    await until(async () => (await listeners()).length === 1);
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    runs.complete();
    await until(() => waits.isBegun);
  });

  it('keeps one connection to hear of its turn, however many keys', async () => {
    const [one, other] = open(2, { perKey: 1, leaseMs: 100 });
    const keys = Array.from({ length: 20 }, (_, index) => `key ${String(index)}`);
    const held = keys.map((key) => new Stream().through(one!, key));
    await until(() => held.every(({ isBegun }) => isBegun));
    const waits = keys.map((key) => new Stream().through(other!, key));
    const ids = async (): Promise<string[]> =>
      [...String(await admin.client('LIST')).matchAll(/^id=(\d+) .* name=millrace-gate .* sub=1 /gm)].map(([, id]) =>
        String(id),
      );
    await until(async () => (await ids()).length === 1 && other!.state('key 19').waiting === 1);
    const before = await ids();
    await sleep(400);
    expect(await ids()).toStrictEqual(before);
    for (const stream of held) stream.complete();
    await until(() => waits.every(({ isBegun }) => isBegun));
  });

  it('gives back a place that it knows nothing of', async () => {
    const [gate] = open(1, { perKey: 3, leaseMs: 300 });
    const runs = new Stream().through(gate!);
    await until(() => runs.isBegun);
    const [member] = await admin.zrange(keyOf('running'), '0', '-1');
    await admin.call('ZADD', keyOf('running'), '0', String(member).replace(/:.*/, ':unknown'));
    await until(async () => (await running()) === 1);
    expect(await admin.zrange(keyOf('running'), '0', '-1')).toStrictEqual([member]);
  });

  it('tells nothing twice where an answer is lost', async () => {
    const proxy = await startProxy(server.port);
    const [gate] = open(1, { perKey: 2, adapt: { initial: 1 } }, { url: proxy.url });
    const runs = new Stream().through(gate!);
    await until(() => runs.isBegun);
    const next = [1, 2].map(() => new Stream().through(gate!));
    await until(async () => (await waiting()) === 2);
    const lost = proxy.loseReplyTo('evalsha');
    runs.complete();
    await lost;
    await until(() => next.every(({ isBegun }) => isBegun));
    expect(await running()).toBe(2);
    expect(await admin.hget(keyOf('state'), 'limit')).toBe('2');
    const entering = proxy.loseReplyTo('evalsha');
    const more = new Stream().through(gate!);
    await entering;
    await until(async () => (await waiting()) === 1);
    for (const stream of next) stream.complete();
    await until(() => more.isBegun);
    await until(async () => (await running()) === 1);
    expect(await waiting()).toBe(0);
  });

  it('lets what runs go on while Redis is away, and what waits wait', async () => {
    const own = await startRedis();
    onTestFinished(() => own.stop());
    const gates = open(2, { perKey: 1, leaseMs: 600 }, { url: own.url });
    const runs = new Stream().through(gates[0]!);
    await until(() => runs.isBegun);
    const waits = new Stream().through(gates[1]!);
    const client = own.client();
    await until(async () => (await client.zcard(keyOf('queue'))) === 1);
    await own.kill();
    const comes = new Stream().through(gates[0]!);
    await sleep(100);
    expect([runs.isLeft, waits.error, comes.error]).toStrictEqual([false, undefined, undefined]);
    await own.start();
    runs.complete();
    await until(() => waits.isBegun);
    expect(comes.isBegun).toBe(false);
    waits.complete();
    await until(() => comes.isBegun);
  });

  it('counts what runs again in a Redis that has forgotten everything', async () => {
    const own = await startRedis({ settings: ['--appendonly', 'no'] });
    onTestFinished(() => own.stop());
    const gates = open(2, { perKey: 2, leaseMs: 600 }, { url: own.url });
    const held = gates.map((gate) => new Stream().through(gate));
    await until(() => held.every(({ isBegun }) => isBegun));
    const waits = new Stream().through(gates[1]!);
    const client = own.client();
    await until(async () => (await client.zcard(keyOf('queue'))) === 1);
    await own.kill();
    await own.start();
    await until(async () => (await client.zcard(keyOf('running'))) >= 2);
    held[0]!.complete();
    held[1]!.complete();
    await until(() => waits.isBegun);
    await until(async () => (await client.zcard(keyOf('running'))) === 1);
  });

  it('fails what waits when Redis is away for too long, and what runs goes on and is counted later', async () => {
    const own = await startRedis();
    onTestFinished(() => own.stop());
    const [gate] = open(1, { perKey: 1, leaseMs: 600, maxWaitMs: 300 }, { url: own.url });
    const runs = new Stream().through(gate!);
    await until(() => runs.isBegun);
    const waits = new Stream().through(gate!);
    await until(() => gate!.state().waiting === 1);
    await own.kill();
    await until(() => waits.error !== undefined);
    expect(waits.error).toMatchObject({ code: 'ERR_STORE', reason: 'unavailable' });
    expect(runs.isLeft).toBe(false);
    await own.start();
    const comes = new Stream().through(gate!);
    const client = own.client();
    await until(async () => (await client.zcard(keyOf('queue'))) === 1 && (await client.zcard(keyOf('running'))) === 1);
    runs.complete();
    await until(() => comes.isBegun);
    expect(await client.zcard(keyOf('running'))).toBe(1);
  });

  it('hangs on no connection that is silent', async () => {
    const proxy = await startProxy(server.port);
    const [gate] = open(1, { perKey: 1, maxWaitMs: 200 }, { url: proxy.url });
    const runs = new Stream().through(gate!);
    await until(() => runs.isBegun);
    proxy.stall(true);
    const waits = new Stream().through(gate!);
    await until(() => waits.error !== undefined);
    expect(waits.error).toBeInstanceOf(StoreError);
    const start = performance.now();
    await gate!.close();
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  it('refuses one stream more than may wait, and none besides', async () => {
    const [gate] = open(1, { perKey: 1, maxWaiting: 1 });
    const streams = Array.from({ length: 4 }, () => new Stream().through(gate!));
    await until(() => streams.filter(({ error }) => error !== undefined).length === 2);
    expect(streams.map(({ error }) => error instanceof LimitError)).toStrictEqual([false, false, true, true]);
    expect(streams.map(({ isBegun }) => isBegun)).toStrictEqual([true, false, false, false]);
    streams[0]!.complete();
    await until(() => streams[1]!.isBegun);
    const next = new Stream().through(gate!);
    streams[1]!.complete();
    await until(() => next.isBegun);
    expect(await waiting()).toBe(0);
  });

  it('lets streams through where nothing may wait', async () => {
    const [gate] = open(1, { perKey: 1, maxWaiting: 0 });
    const [one, two] = [new Stream().through(gate!), new Stream().through(gate!)];
    await until(() => one.isBegun && two.error !== undefined);
    expect(two.error).toBeInstanceOf(LimitError);
  });

  it('gives all back and leaves nothing open when it is closed', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const [one, other] = open(2, { perKey: 1 });
    const free = open(1, { perKey: 1, prefix: lastPrefix() })[0]!;
    const runs = new Stream().through(one!);
    await until(() => runs.isBegun);
    const waits = new Stream().through(one!);
    const elsewhere = new Stream().through(other!);
    await until(async () => (await waiting()) === 2);
    await one!.close();
    expect(waits.error).toMatchObject({ message: 'The gate is closed' });
    expect([runs.isLeft, runs.error]).toStrictEqual([false, undefined]);
    await until(() => elsewhere.isBegun);
    runs.complete();
    expect(runs.isComplete).toBe(true);
    await Promise.all([other!.close(), free.close()]);
    const names = async (): Promise<string> => String(await admin.client('LIST'));
    await until(async () => !/name=millrace-gate|name=millrace /.test(await names()));
    expect(await admin.exists(keyOf('processes'), keyOf('running'), keyOf('queue'))).toBe(0);
    await until(() => timers() <= 3);
  });

  it('leaves a client alone that it was given, and its prefix on', async () => {
    const client = new Redis(server.url, { keyPrefix: 'app:' });
    onTestFinished(() => {
      client.disconnect();
    });
    const [one, other] = open(2, { perKey: 1 }, client);
    const listeners = client.listenerCount('ready');
    const runs = new Stream().through(one!);
    await until(() => runs.isBegun);
    expect(await admin.zcard(`app:${keyOf('running')}`)).toBe(1);
    const waits = new Stream().through(other!);
    await until(async () => (await admin.zcard(`app:${keyOf('queue')}`)) === 1);
    runs.complete();
    await until(() => waits.isBegun);
    await Promise.all([one!.close(), other!.close()]);
    expect(client.status).toBe('ready');
    expect(client.listenerCount('ready')).toBeLessThanOrEqual(listeners);
    expect(await client.ping()).toBe('PONG');
  });

  it('lets its keys expire', async () => {
    const [gate] = open(1, { perKey: 1, leaseMs: 5_000, maxPauseMs: 7_000 });
    const runs = new Stream().through(gate!);
    const waits = new Stream().through(gate!);
    await until(() => runs.isBegun && gate!.state().waiting === 1);
    const keys = await admin.keys(`{${lastPrefix()}*`);
    expect(keys).toHaveLength(4);
    for (const key of keys) {
      const ms = await admin.pttl(key);
      expect(ms).toBeGreaterThan(7_000);
      expect(ms).toBeLessThan(20_000);
    }
    waits.leave();
  });

  it('closes a key for all while a budget is used up, and gives places back that it cannot use', async () => {
    const [one, other] = open(2, { perKey: 10 });
    const headers = { 'x-ratelimit-limit': '100', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '0.5' };
    const limited = await startLimited(headers);
    const at = performance.now();
    const { fromHTTP } = await import('../../src/sources/fromHTTP.js');
    const first = fromHTTP(limited.url).pipe(one!('k')).subscribe();
    onTestFinished(() => {
      first.unsubscribe();
    });
    await until(async () => Number(await admin.hget(keyOf('state', 'k'), 'spent')) > Date.now());
    const next = new Stream().through(other!, 'k');
    await until(() => next.isBegun);
    expect(next.begunAt - at).toBeGreaterThan(490);
  });

  it('asks an attempt again that was refused, when its key opens, before those that came later', async () => {
    const [one, other] = open(2, { perKey: 1, maxPauseMs: 300 });
    const order: string[] = [];
    let attempts = 0;
    const asked = defer(() => {
      attempts += 1;
      order.push(`refused ${String(attempts)}`);
      return attempts === 1 ? throwError(() => refused(429, 300)) : of(text('a'), finish);
    });
    const retried = lastValueFrom(
      fromCall(fakeCall(asked)).pipe(
        one!('k'),
        retryOnDisconnect({ random: () => 0, delay: { initialMs: 0, maxMs: 0 } }),
        toArray(),
      ),
    );
    await until(() => attempts === 1);
    const late = defer(() => {
      order.push('late');
      return EMPTY;
    });
    await lastValueFrom(late.pipe(other!('k')), { defaultValue: undefined });
    expect((await retried).map(({ type }) => type)).toStrictEqual(['text', 'finish']);
    expect(order).toStrictEqual(['refused 1', 'refused 2', 'late']);
  });

  it.each([1, 2, 3])('asks two calls of one retry again, where %i may run', async (perKey) => {
    const [gate] = open(1, { perKey });
    const stream = (): Observable<StreamEvent> => {
      let asked = 0;
      return fromCall(
        fakeCall(
          defer(() => ((asked += 1) === 1 ? throwError(() => new InterruptedError('lost')) : of(text('a'), finish))),
        ),
      ).pipe(gate!('k'));
    };
    const all = [1, 2].map(() =>
      lastValueFrom(
        merge(stream(), stream()).pipe(retryOnDisconnect({ random: () => 0, delay: { initialMs: 1 } }), toArray()),
      ),
    );
    for (const events of await Promise.all(all)) {
      expect(events.map(({ type }) => type).sort()).toStrictEqual(['finish', 'finish', 'text', 'text']);
    }
    expect(gate!.state('k')).toStrictEqual(idle);
    await until(async () => (await running('k')) === 0 && (await admin.exists(keyOf('processes', 'k'))) === 0);
  });

  it('makes its flows known to the sink beneath', async () => {
    const [gate] = open(1, { perKey: 1 });
    const receipts: Receipt[] = [];
    const half = fromCall(fakeCall([text('half'), text('an answer'), finish])).pipe(
      gate!(),
      take(1),
      tapReceipt((receipt) => receipts.push(receipt)),
    );
    await lastValueFrom(half);
    await lastValueFrom(
      fromCall(fakeCall([text('whole'), finish])).pipe(
        gate!(),
        tapReceipt((receipt) => receipts.push(receipt)),
      ),
    );
    expect(receipts.map(({ outcome, attempts: count }) => [outcome, count])).toStrictEqual([
      ['interrupted', 1],
      ['complete', 1],
    ]);
  });

  it('goes on when an observer throws, or closes the gate', async () => {
    const thrown: unknown[] = [];
    const { config } = await import('rxjs');
    config.onUnhandledError = (error) => thrown.push(error);
    onTestFinished(() => {
      config.onUnhandledError = null;
    });
    const [gate] = open(1, {
      perKey: 1,
      pauseMs: 20,
      onChange: () => {
        throw new Error('of the observer');
      },
    });
    await expect(lastValueFrom(throwError(() => refused()).pipe(gate!('k')))).rejects.toThrow('429');
    await lastValueFrom(of(1).pipe(gate!('k')));
    await until(() => thrown.length > 0);
  });

  it('starts very many streams that wait for a key to open', async () => {
    const gates = open(2);
    await expect(lastValueFrom(throwError(() => refused(429, 300)).pipe(gates[0]!('k')))).rejects.toThrow('429');
    await until(async () => Number(await admin.hget(keyOf('state', 'k'), 'closed')) > 0);
    const all = Array.from({ length: 3_000 }, (_, index) => lastValueFrom(of(index).pipe(gates[index % 2]!('k'))));
    expect((await Promise.all(all)).reduce((sum, index) => sum + index, 0)).toBe((2_999 * 3_000) / 2);
  });

  it.each([
    ['whatever comes and goes', false],
    ['while connections are cut', true],
  ])('keeps to the limit and forgets nobody, %s', { timeout: 60_000 }, async (_name, isCut) => {
    const seed = Number(process.env['MILLRACE_SEED'] ?? Math.floor(Math.random() * 1e9));
    const chance = chanceOf(seed);
    const proxy = await startProxy(server.port);
    const gates = open(3, { perKey: 3, pauseMs: 2, leaseMs: isCut ? 1_500 : 300 }, { url: proxy.url });
    let count = 0;
    let most = 0;
    let isOver = false;
    const cutting = (async () => {
      while (isCut && !isOver) {
        await sleep(20 + chance() * 100);
        proxy.cut();
      }
    })();
    const all = Array.from({ length: 600 }, async () => {
      const [delay, length, patience, kind] = [chance() * 300, chance() * 8, chance() * 400, chance()];
      await sleep(delay);
      const source = defer(() => {
        count += 1;
        most = Math.max(most, count);
        const end = timer(kind < 0.1 ? 0 : length);
        return kind < 0.3 ? end.pipe(mergeMap(() => throwError(() => refused(429, kind < 0.2 ? 3 : undefined)))) : end;
      }).pipe(
        finalize(() => {
          count -= 1;
        }),
      );
      const gated = source.pipe(gates[Math.floor(kind * 1_000) % 3]!('k'));
      return new Promise<unknown>((resolve) => {
        const subscription = gated.subscribe({
          complete: () => {
            resolve('complete');
          },
          error: resolve,
        });
        if (kind < 0.6) return;
        void sleep(patience).then(() => {
          subscription.unsubscribe();
          resolve('left');
        });
      });
    });
    const ends = await Promise.all(all);
    isOver = true;
    await cutting;
    expect(ends.filter((end) => end === 'complete').length, `seed ${String(seed)}`).toBeGreaterThan(150);
    expect(ends.filter((end) => end instanceof StoreError)).toStrictEqual([]);
    expect(most, `seed ${String(seed)}`).toBe(3);
    expect(count).toBe(0);
    await until(async () => (await admin.keys(`{${lastPrefix()}*`)).length === 1);
  });

  it('is the gate of a run of jobs', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-gate-'));
    onTestFinished(() => rm(dir, { recursive: true, force: true }));
    const gates = open(2, { perKey: 2 });
    let count = 0;
    let most = 0;
    const answer = defer(() => {
      count += 1;
      most = Math.max(most, count);
      return timer(2).pipe(mergeMap(() => [text('Yes.'), finish]));
    }).pipe(
      finalize(() => {
        count -= 1;
      }),
    );
    const runs = gates.map((gate, run) =>
      lastValueFrom(
        runJobs(range(0, 20), {
          key: (index) => String(index),
          call: () => fakeCall(answer),
          file: (index) => `${String(index)}.md`,
          dir: join(dir, String(run)),
          fsync: false,
          gate,
        }).pipe(toArray()),
      ),
    );
    for (const receipts of await Promise.all(runs)) {
      expect(receipts.map(({ outcome }) => outcome)).toStrictEqual(Array(20).fill('complete'));
    }
    expect(most).toBe(2);
  });

  it('is closed by its own observer, and by a stream that it lets through', async () => {
    const gate: RedisGate = open(1, {
      perKey: 2,
      pauseMs: 60_000,
      onChange: () => {
        void gate.close();
      },
    })[0]!;
    const first = new Stream().through(gate);
    const closing = defer(() => {
      void gate.close();
      return EMPTY;
    });
    await until(() => first.isBegun);
    const comes = new Stream();
    const closed = lastValueFrom(closing.pipe(gate()), { defaultValue: 'empty' });
    comes.through(gate);
    expect(await closed).toBe('empty');
    await until(() => comes.error !== undefined);
    expect(comes.error).toMatchObject({ message: 'The gate is closed' });
  });

  it('takes keys with braces apart', async () => {
    const [gate] = open(1, { perKey: 1 });
    const streams = ['', '}', '{a}', 'a}:x', 'a'].map((key) => new Stream().through(gate!, key));
    await until(() => streams.every(({ isBegun }) => isBegun));
  });
});

describeWithRedis('redisGate on a cluster', () => {
  it('keeps to the limit of each key, whichever server has it', { timeout: 60_000 }, async () => {
    const cluster = await startCluster();
    onTestFinished(() => cluster.stop());
    const nodes = cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port }));
    const clients = [1, 2].map(() => new Cluster(nodes, { keyPrefix: 'app:' }));
    const gates = clients.map((client) => redisGate(client, { perKey: 2 }));
    onTestFinished(async () => {
      await Promise.all(gates.map((gate) => gate.close()));
      for (const client of clients) client.disconnect();
    });
    const counts = new Map<string, number>();
    let most = 0;
    const all = Array.from({ length: 120 }, (_, index) => {
      const key = `key ${String(index % 6)}`;
      const source = defer(() => {
        counts.set(key, (counts.get(key) ?? 0) + 1);
        most = Math.max(most, counts.get(key) ?? 0);
        return timer(5);
      }).pipe(
        finalize(() => {
          counts.set(key, (counts.get(key) ?? 0) - 1);
        }),
      );
      return lastValueFrom(source.pipe(gates[Math.floor(index / 6) % 2]!(key)));
    });
    await Promise.all(all);
    expect(most).toBe(2);
  });
});

async function startLimited(headers: Readonly<Record<string, string>>): Promise<{ readonly url: string }> {
  const { createServer: createHTTPServer } = await import('node:http');
  const server = createHTTPServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', ...headers });
    response.write('first');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${String(port)}` };
}
