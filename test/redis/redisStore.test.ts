import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { StoreError } from '../../src/errors.js';
import type { StoredPage, StreamLease, StreamStore } from '../../src/protocol/streamStore.js';
import { openClient } from '../../src/redis/client.js';
import { isPassing } from '../../src/redis/failure.js';
import { redisStore, type RedisConnection, type RedisStoreOptions } from '../../src/redis/index.js';
import { keyNames } from '../../src/redis/keys.js';
import { Watch } from '../../src/redis/lane.js';
import { describeWithRedis, type RedisServer, startProxy, startRedis } from '../support/redisServer.js';

const LONG_MS = 60_000;

describe('redisStore', () => {
  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'redis://127.0.0.1'],
    ['another client', { sendCommand: (): void => undefined, duplicate: (): void => undefined }],
    ['an empty object', {}],
    ['a URL that is none', { url: 'not one' }],
    ['a URL of another protocol', { url: 'https://127.0.0.1' }],
  ])('refuses %s when it is called', (_name, given) => {
    // JavaScript callers pass what the types exclude.
    expect(() => redisStore(given as unknown as RedisConnection)).toThrow(TypeError);
  });

  it.each<RedisStoreOptions>([
    { lanes: 0 },
    { lanes: 1_025 },
    { lanes: 1.5 },
    { maxEntries: 0 },
    { maxEntries: Number.NaN },
    { expireMs: 0 },
    { expireMs: -1 },
    { maxWaitMs: 0 },
    { maxWaitMs: Number.POSITIVE_INFINITY },
    { presenceMs: 0 },
    { presenceMs: Number.POSITIVE_INFINITY },
  ])('refuses %o when it is called', (options) => {
    expect(() => redisStore({ url: 'redis://127.0.0.1' }, options)).toThrow(RangeError);
  });

  it('refuses a prefix that would end the hash tag', () => {
    expect(() => redisStore({ url: 'redis://127.0.0.1' }, { prefix: 'a}b' })).toThrow(TypeError);
  });

  it('never shows what a URL may hold', () => {
    for (const url of ['http://me:hunter2@127.0.0.1/?key=hunter2', 'redis://me:hunter2@[/hunter2']) {
      expect(() => redisStore({ url })).toThrow(
        expect.not.objectContaining({ message: expect.stringMatching(/hunter2/) }),
      );
    }
  });

  it('says what to install where ioredis is not there', async () => {
    const missing = new Error("Cannot find package 'ioredis'");
    const error: unknown = await openClient('redis://127.0.0.1', () => Promise.reject(missing)).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({ reason: 'unavailable', cause: missing });
    expect((error as StoreError).message).toContain('npm install ioredis');
  });

  it('arms no timer for a stream whose readers left while they looked at it', () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const watch = new Watch({ added: () => undefined, abandoned: () => undefined });
    const before = timers();
    const reader = watch.enter();
    watch.expect(LONG_MS, LONG_MS);
    expect(timers()).toBe(before + 1);
    reader.leave();
    watch.expect(LONG_MS, LONG_MS);
    const entry = { position: '1-1', previous: '', data: 'late' };
    watch.give([{ entry, isLast: false }]);
    expect(timers()).toBe(before);
    watch.enter();
    watch.expect(LONG_MS, LONG_MS);
    watch.close(new Error('closed'));
    watch.expect(LONG_MS, LONG_MS);
    expect(timers()).toBe(before);
  });

  it('looks at a stream again when a lease is over that was renewed by a write after its end', async () => {
    const watch = new Watch({ added: () => undefined, abandoned: () => undefined });
    const reader = watch.enter();
    // As a look at a stream whose writer is gone says.
    watch.expect(LONG_MS, 50);
    reader.looks();
    const waiting = reader.wait('');
    const row = { entry: { position: '1-1', previous: '', data: 'late' }, isLast: false };
    watch.give([row]);
    expect(await waiting).toStrictEqual([row]);
    expect(await reader.wait('1-1')).toBe('look');
    reader.leave();
  });

  it('keeps all keys of a stream in one slot, and ids apart', () => {
    const names = keyNames('app', 16, 'me');
    const keys = new Set<string>();
    for (const id of ['a', '}', '{x}', '}{', 'a:b', 'e:a', 'é']) {
      const { lane, entries, lease, readers } = names.of(id);
      const tags = [entries, lease, readers, names.lane(lane).news, names.lane(lane).wake].map(
        (key) => /\{(.*?)\}/.exec(key)?.[1],
      );
      expect(new Set(tags)).toStrictEqual(new Set([`app:${String(lane)}`]));
      keys.add(entries).add(lease).add(readers);
    }
    expect(keys.size).toBe(21);
  });

  it('spreads streams over its lanes', () => {
    const names = keyNames('app', 16, 'me');
    const counts = new Map<number, number>();
    for (let index = 0; index < 16_000; index += 1) {
      const { lane } = names.of(`stream-${String(index)}`);
      counts.set(lane, (counts.get(lane) ?? 0) + 1);
    }
    expect(counts.size).toBe(16);
    expect(Math.min(...counts.values())).toBeGreaterThan(700);
  });

  it.each([
    ['LOADING Redis is loading the dataset in memory', true],
    ["READONLY You can't write against a read only replica.", true],
    ['CLUSTERDOWN The cluster is down', true],
    ['TRYAGAIN Multiple keys request during rehashing of slot', true],
    ['UNBLOCKED force unblock from blocking operation', true],
    ['NOPERM this user has no permissions', false],
    ['WRONGPASS invalid username-password pair', false],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', false],
    ["OOM command not allowed when used memory > 'maxmemory'.", false],
  ])('takes %s for passing: %s', (message, passes) => {
    expect(isPassing(Object.assign(new Error(message), { name: 'ReplyError' }), undefined)).toBe(passes);
  });
});

describeWithRedis('redisStore', () => {
  let server: RedisServer;
  let admin: Redis;
  let runs = 0;

  beforeAll(async () => {
    server = await startRedis();
    admin = server.client();
  });
  afterAll(() => server.stop());

  const open = (
    options: RedisStoreOptions & { readonly url?: string } = {},
  ): { store: StreamStore; prefix: string } => {
    const { url = server.url, prefix = `test ${String((runs += 1))}`, ...rest } = options;
    const store = redisStore({ url }, { prefix, ...rest });
    onTestFinished(() => store.close());
    return { store, prefix };
  };

  /** What clients of this library are connected: their name, and what each does. */
  const connections = async (name: string): Promise<string[]> => {
    const list = String(await admin.client('LIST'));
    return list.split('\n').filter((line) => line.includes(` name=${name} `));
  };

  describe('connections', () => {
    it('are two for 300 streams with three readers each, and gone when the store is closed', async () => {
      const { store } = open();
      const count = 300;
      const before = (await connections('millrace')).length;
      const ids = Array.from({ length: count }, (_, index) => `s${String(index)}`);
      const leases = await Promise.all(ids.map((id) => take(store, id)));
      const readers = ids.flatMap((id) => [read(store, id), read(store, id), read(store, id)]);
      for (let round = 0; round < 5; round += 1) {
        await Promise.all(leases.map((lease, index) => lease.append([`${String(index)}/${String(round)}`])));
      }
      await vi.waitUntil(() => readers.every(({ texts }) => texts.length === 5), { timeout: 15_000 });
      expect(await connections('millrace-tail')).toHaveLength(1);
      expect((await connections('millrace')).length - before).toBe(1);
      await Promise.all(leases.map((lease) => lease.close('end')));
      await Promise.all(readers.map(({ ended }) => ended));
      for (const [at, { texts }] of readers.entries()) {
        const index = String(Math.floor(at / 3));
        expect(texts).toStrictEqual([...Array.from({ length: 5 }, (_, round) => `${index}/${String(round)}`), 'end']);
      }
      await store.close();
      expect(await connections('millrace-tail')).toHaveLength(0);
    });

    it('that the caller gave stay open, and those made of it are closed', async () => {
      const client = new Redis(server.port, '127.0.0.1', { connectionName: 'own' });
      onTestFinished(() => {
        client.disconnect();
      });
      const store = redisStore(client, { prefix: `test ${String((runs += 1))}` });
      const lease = await take(store, 'a');
      const reader = read(store, 'a');
      await lease.append(['one']);
      await reader.until('one');
      expect(await connections('millrace-tail')).toHaveLength(1);
      await store.close();
      expect(await connections('millrace-tail')).toHaveLength(0);
      expect(await client.ping()).toBe('PONG');
      expect(client.listenerCount('error')).toBe(0);
      await expect(reader.ended).rejects.toMatchObject({ reason: 'unavailable' });
    });

    it('serve a stream that comes while they block at once, and one that goes', async () => {
      const { store } = open();
      const first = read(store, 'first', await take(store, 'first'));
      // Each would wait for the end of a block of five seconds.
      for (let index = 0; index < 20; index += 1) {
        const id = `s${String(index)}`;
        const lease = await take(store, id);
        const reader = read(store, id, lease);
        await lease.append(['one']);
        await reader.until('one');
        if (index % 2 === 0) reader.leave();
        await lease.close('two');
        await reader.ended;
      }
      first.leave();
      await first.ended;
    });

    it('are not held up by a reader that is slow, for whom nothing is kept', async () => {
      const { store } = open();
      const lease = await take(store, 'a');
      const other = await take(store, 'b');
      const slow = store.tail('a', undefined, new AbortController().signal)[Symbol.asyncIterator]();
      await lease.append(['0']);
      expect((await slow.next()).value).toMatchObject({ entries: [{ data: '0' }] });
      const quick = [read(store, 'a'), read(store, 'b')];
      const texts = Array.from({ length: 200 }, (_, index) => String(index + 1));
      for (const text of texts) await Promise.all([lease.append([text]), other.append([text])]);
      for (const reader of quick) await reader.until('200');
      // All that the slow one missed, in one page.
      const { value } = (await slow.next()) as { value: StoredPage };
      expect(value.entries.map(({ data }) => data)).toStrictEqual(texts);
      await lease.close('end');
      expect((await slow.next()).value).toMatchObject({ entries: [{ data: 'end' }], state: 'closed' });
      expect((await slow.next()).done).toBe(true);
      await other.release();
      for (const reader of quick) reader.leave();
    });
  });

  it('reads no more for a reader that has left, though it never asks again', async () => {
    const { store, prefix } = open();
    const lease = await take(store, 'a');
    const controller = new AbortController();
    const pages = store.tail('a', undefined, controller.signal)[Symbol.asyncIterator]();
    await lease.append(['one']);
    expect((await pages.next()).value).toMatchObject({ entries: [{ data: 'one' }] });
    const waiting = pages.next();
    await lease.append(['two']);
    await waiting;
    controller.abort();
    const monitor = await server.client().monitor();
    onTestFinished(() => {
      monitor.disconnect();
    });
    const reads: string[] = [];
    monitor.on('monitor', (_time: string, args: string[]) => {
      const line = args.join(' ');
      if (/^xread/i.test(line) && line.includes(prefix)) reads.push(line);
    });
    const other = read(store, 'b', await take(store, 'b'));
    const { entries } = keyNames(prefix, 1, '').of('b');
    await vi.waitUntil(() => reads.some((line) => line.includes(entries)), { timeout: 15_000 });
    expect(reads.filter((line) => line.includes(keyNames(prefix, 1, '').of('a').entries))).toStrictEqual([]);
    other.leave();
    await other.ended;
  });

  describe('a write', () => {
    it('is one command, which compares the token', async () => {
      const { store, prefix } = open();
      const lease = await take(store, 'a');
      await lease.append(['first']);
      const monitor = await server.client().monitor();
      onTestFinished(() => {
        monitor.disconnect();
      });
      const commands: string[] = [];
      const inside: string[] = [];
      monitor.on('monitor', (_time: string, args: string[], source: string) => {
        if (args.join(' ').includes(prefix)) (source === 'lua' ? inside : commands).push(String(args[0]).toLowerCase());
      });
      await lease.append(['one', 'two']);
      await admin.echo(prefix);
      await vi.waitUntil(() => commands.includes('echo'));
      expect(commands).toStrictEqual(['evalsha', 'echo']);
      expect(inside.map((name) => name.toLowerCase())).toStrictEqual([
        'hmget',
        'xrevrange',
        'xadd',
        'xadd',
        'hset',
        'pexpire',
        'pexpire',
      ]);
    });

    it.each([['FLUSH'], ['restart']])('goes on where Redis has forgotten the scripts, by %s', async (how) => {
      const own = await startRedis();
      onTestFinished(() => own.stop());
      const { store } = open({ url: own.url });
      const lease = await take(store, 'a');
      await lease.append(['one']);
      if (how === 'FLUSH') {
        await own.client().script('FLUSH');
      } else {
        await own.kill();
        await own.start();
      }
      await lease.append(['two']);
      await lease.close('three');
      expect((await store.read('a')).entries.map(({ data }) => data)).toStrictEqual(['one', 'two', 'three']);
    });

    it('is there once though the reply to it was lost, whatever it was', async () => {
      const proxy = await startProxy(server.port);
      const { store: direct, prefix } = open();
      const { store } = open({ url: proxy.url, prefix });
      const reader = read(direct, 'a', await lossy('{', () => take(store, 'a')));
      async function lossy<T>(part: string, work: () => Promise<T>): Promise<T> {
        await store.read('warm');
        const lost = proxy.loseReplyTo(part);
        const [value] = await Promise.all([work(), lost]);
        return value;
      }
      const lease = await lossy('{', () => take(store, 'b'));
      expect(lease.last).toBeUndefined();
      const { position } = await lossy('ünique', () => lease.append(['ünique', 'two']));
      expect(await lossy('a note', () => lease.renew('a note'))).toStrictEqual({ position, isStopAsked: false });
      expect(await lossy('{', () => store.stop('b'))).toBe('asked');
      expect(await lease.append(['three', 'three'])).toMatchObject({ isStopAsked: true });
      await lossy('{', () => lease.release());
      const next = await lossy('{', () => take(store, 'b'));
      expect(next.note).toBe('a note');
      await lossy('the end', () => next.close('the end'));
      await next.release();
      expect((await direct.read('b')).entries.map(({ data }) => data)).toStrictEqual([
        'ünique',
        'two',
        'three',
        'three',
        'the end',
      ]);
      reader.leave();
      await reader.ended;
    });

    it('is there once though the connections are cut all the time', async () => {
      const proxy = await startProxy(server.port);
      const { store: direct, prefix } = open();
      const { store } = open({ url: proxy.url, prefix });
      const lease = await take(store, 'a');
      const readers = [read(store, 'a'), read(direct, 'a')];
      const texts = Array.from({ length: 60 }, (_, index) => String(index));
      let isWriting = true;
      const cutting = (async (): Promise<void> => {
        while (isWriting) {
          await sleep(15);
          proxy.cut();
        }
      })();
      for (const text of texts) await lease.append([text]);
      isWriting = false;
      await cutting;
      await lease.close('end');
      for (const reader of readers) {
        await reader.ended;
        expect(reader.texts).toStrictEqual([...texts, 'end']);
      }
    });

    it('may have more entries than a call has arguments', async () => {
      const { store } = open();
      const lease = await take(store, 'a');
      const count = 150_000;
      expect((await lease.append(Array.from({ length: count }, () => 'x'))).position).toMatch(/^150000-/);
      await lease.close('end');
      const reader = read(store, 'a');
      await reader.ended;
      expect(reader.texts).toHaveLength(count + 1);
    });

    it('that was given up may be told again, and is there once', async () => {
      const proxy = await startProxy(server.port);
      const { store: direct, prefix } = open();
      const { store } = open({ url: proxy.url, prefix });
      const lease = await take(store, 'a', 300);
      await lease.append(['one']);
      // Redis hears it, and the writer hears nothing.
      const given = lease.append(['two', 'three']);
      await vi.waitUntil(async () => (await direct.read('a')).entries.length === 3);
      await given;
      proxy.stall(true);
      await expectError(lease.append(['four']), 'unavailable');
      proxy.stall(false);
      proxy.cut();
      expect(await lease.renew()).toMatchObject({ isStopAsked: false });
      await lease.append(['four']);
      await lease.close('five');
      expect((await direct.read('a')).entries.map(({ data }) => data)).toStrictEqual([
        'one',
        'two',
        'three',
        'four',
        'five',
      ]);
    });

    it('after one that arrived though it was given up is refused, where it is another', async () => {
      const { store, prefix } = open();
      const lease = await take(store, 'a');
      const { position } = await lease.append(['one']);
      // As if it were the writer's own, without an answer.
      const [, token = ''] = position.split('-');
      await admin.xadd(keyNames(prefix, 1, '').of('a').entries, `2-${token}`, 'd', 'two');
      await expectError(lease.append(['not two']), 'lost');
      expect(await lease.append(['two'])).toMatchObject({ position: `2-${token}` });
      await lease.close('end');
      expect((await store.read('a')).entries.map(({ data }) => data)).toStrictEqual(['one', 'two', 'end']);
    });

    it('hears that the stream is lost where its last entry is', async () => {
      const { store, prefix } = open();
      const lease = await take(store, 'a');
      const { position } = await lease.append(['one', 'two']);
      await admin.xdel(keyNames(prefix, 1, '').of('a').entries, position);
      await expectError(lease.append(['three']), 'lost');
      await expectError(lease.renew(), 'lost');
      await expectError(lease.close('three'), 'lost');
    });

    it('bears a token that is higher than any before, whatever the clock says', async () => {
      const { store, prefix } = open();
      const { entries, lease: key } = keyNames(prefix, 1, '').of('a');
      const first = await take(store, 'a');
      await first.append(['one']);
      await first.release();
      const ahead = '8000000000000000';
      await admin.hset(key, 't', ahead);
      const second = await take(store, 'a');
      expect((await second.append(['two'])).position).toBe(`2-${String(Number(ahead) + 1)}`);
      await second.release();
      // What the lease was is forgotten, and the entries are not.
      await admin.del(key);
      const third = await take(store, 'a');
      expect((await third.append(['three'])).position).toBe(`3-${String(Number(ahead) + 2)}`);
      expect(await admin.xlen(entries)).toBe(3);
    });
  });

  describe('a reader', () => {
    it('hears of a release at once, and of a takeover', async () => {
      const { store, prefix } = open();
      const { store: other } = open({ prefix });
      const lease = await take(store, 'a');
      const reader = read(other, 'a');
      await lease.append(['one']);
      await reader.until('one');
      // Its lease would have gone on for a minute.
      await lease.release();
      await vi.waitUntil(() => reader.states.includes('orphaned'), { timeout: 15_000 });
      const next = await take(store, 'a', 200);
      // That one dies without a word.
      expect(next.last?.data).toBe('one');
      await vi.waitUntil(() => reader.states.filter((state) => state === 'orphaned').length === 2, { timeout: 15_000 });
      reader.leave();
      await reader.ended;
    });

    it('hears of a gap behind what it has', async () => {
      const { store, prefix } = open();
      const lease = await take(store, 'a');
      const reader = read(store, 'a');
      await lease.append(['one', 'two']);
      await reader.until('two');
      const { entries } = keyNames(prefix, 1, '').of('a');
      const { position } = await lease.renew();
      const [, token = ''] = position.split('-');
      await admin.xadd(entries, `9-${token}`, 'd', 'far');
      await reader.ended;
      expect(reader.texts).toStrictEqual(['one', 'two']);
      expect(reader.states.at(-1)).toBe('trimmed');
      expect(await store.read('a')).toMatchObject({ entries: [{ data: 'one' }, { data: 'two' }], state: 'open' });
    });

    it('gets pages of many large entries that Redis can bear', async () => {
      const { store } = open();
      const ids = Array.from({ length: 20 }, (_, index) => `s${String(index)}`);
      const leases = await Promise.all(ids.map((id) => take(store, id)));
      const readers = ids.map((id) => read(store, id));
      const texts = Array.from({ length: 10 }, (_, index) => String(index).padStart(100_000, ' '));
      await Promise.all(leases.map((lease) => lease.append(texts)));
      await Promise.all(leases.map((lease) => lease.close('end')));
      for (const reader of readers) {
        await reader.ended;
        expect(reader.texts.map((text) => text.trim())).toStrictEqual([...texts.map((text) => text.trim()), 'end']);
      }
    });
  });

  describe('readers', () => {
    /** A store whose commands are noted: which scripts ran, and on how many streams. */
    const noting = async (
      prefix: string,
      options: RedisStoreOptions = {},
    ): Promise<{ store: StreamStore; told: number[]; scripts: () => number }> => {
      const client = new Redis(server.port, '127.0.0.1');
      const told: number[] = [];
      let scripts = 0;
      for (const name of ['evalsha', 'eval'] as const) {
        const run = client[name].bind(client) as (...args: unknown[]) => Promise<unknown>;
        // The store's own way to call it: a count of keys, then all of them with the arguments, one by one or as an array.
        Object.assign(client, {
          [name]: (script: string, count: number, ...rest: (string | string[])[]) => {
            const keys = rest.flat().slice(0, count);
            scripts += 1;
            if (keys[1]?.includes(':r:') === true) told.push(count / 2);
            return run(script, count, ...rest);
          },
        });
      }
      await client.ping();
      const store = redisStore(client, { prefix, ...options });
      onTestFinished(async () => {
        await store.close();
        client.disconnect();
      });
      return { store, told, scripts: () => scripts };
    };
    const watch = async (store: StreamStore, id: string, watchesReaders = true): Promise<StreamLease> => {
      const lease = await store.lease(id, { ttlMs: LONG_MS, watchesReaders });
      if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
      await lease.append(['one']);
      return lease;
    };
    const untilUnread = async (lease: StreamLease): Promise<void> => {
      await vi.waitUntil(async () => (await lease.renew()).unreadMs !== undefined, { timeout: 15_000 });
    };
    const calls = async (...names: readonly string[]): Promise<number> => {
      const stats = await admin.info('commandstats');
      return names.reduce(
        (sum, name) => sum + Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0),
        0,
      );
    };

    it.each([
      ['a stream whose writer did not ask costs nothing more', false],
      ['a stream whose writer asked costs a command when they come, and one when they leave', true],
    ])('of %s', async (_name, isWatched) => {
      const { store, prefix } = open();
      const { store: reading, told, scripts } = await noting(prefix);
      const ids = Array.from({ length: 40 }, (_, index) => `s${String(index)}`);
      const leases = await Promise.all(ids.map((id) => watch(store, id, isWatched)));
      const own = ['zadd', 'zrevrange', 'zremrangebyscore'];
      const before = { own: await calls(...own), keys: await admin.keys(`*${prefix}*:r:*`), scripts: scripts() };
      const readers = ids.flatMap((id) => [read(reading, id), read(reading, id), read(reading, id)]);
      await Promise.all(readers.map((reader) => reader.until('one')));
      await Promise.all(leases.map((lease) => lease.append(['two'])));
      await Promise.all(readers.map((reader) => reader.until('two')));
      if (isWatched) await vi.waitUntil(() => told.reduce((sum, count) => sum + count, 0) === 40);
      for (const reader of readers) reader.leave();
      await Promise.all(readers.map(({ ended }) => ended));
      if (isWatched) {
        await Promise.all(leases.map(untilUnread));
        // Of three readers of a stream one is told of; those that come and leave in one turn are told of together.
        expect(told.reduce((sum, count) => sum + count, 0)).toBe(80);
        expect(told.length).toBeLessThan(20);
        return;
      }
      await reading.read('nobody');
      expect(told).toEqual([]);
      expect(await calls(...own)).toBe(before.own);
      expect(await admin.keys(`*${prefix}*:r:*`)).toEqual([]);
      // A look each, one that wakes the connection now and then, and what was just asked.
      const { length } = readers;
      expect(scripts() - before.scripts).toBeLessThanOrEqual(2 * length + 1);
    });

    it('are told of again by one command for all streams', async () => {
      const { store, prefix } = open();
      const { store: reading, told } = await noting(prefix, { presenceMs: 300 });
      const ids = Array.from({ length: 30 }, (_, index) => `s${String(index)}`);
      await Promise.all(ids.map((id) => watch(store, id)));
      const readers = ids.map((id) => read(reading, id));
      await Promise.all(readers.map((reader) => reader.until('one')));
      await vi.waitUntil(() => told.filter((count) => count === 30).length >= 3, { timeout: 15_000 });
      for (const reader of readers) reader.leave();
    });

    it('count for two leases of the writer, where that is longer', async () => {
      const { store, prefix } = open({ presenceMs: 100 });
      await watch(store, 'a');
      const reader = read(store, 'a');
      await reader.until('one');
      const { readers } = keyNames(prefix, 1, '').of('a');
      await vi.waitUntil(async () => (await admin.zcard(readers)) === 1);
      const [, until] = await admin.zrange(readers, '0', '0', 'WITHSCORES');
      const [seconds] = await admin.time();
      expect(Number(until) / 1000 - Number(seconds)).toBeGreaterThan((2 * LONG_MS) / 1000 - 15);
      expect(Number(until) / 1000 - Number(seconds)).toBeLessThan((2 * LONG_MS) / 1000 + 2);
      reader.leave();
    });

    it('leave no key behind that does not expire, and none when the stream is closed', async () => {
      const { store, prefix } = open({ expireMs: 50_000 });
      const lease = await watch(store, 'a');
      const { readers } = keyNames(prefix, 1, '').of('a');
      const expiries = async (): Promise<number[]> => {
        const keys = (await admin.keys('*')).filter((key) => key.startsWith(`{${prefix}:`));
        return Promise.all(keys.map((key) => admin.pttl(key)));
      };
      const reader = read(store, 'a');
      await reader.until('one');
      await vi.waitUntil(async () => (await admin.exists(readers)) === 1);
      expect(Math.min(...(await expiries()))).toBeGreaterThan(0);
      // It lives as long as the stream does.
      await admin.pexpire(readers, 1_000);
      await lease.renew();
      expect(await admin.pttl(readers)).toBeGreaterThan(50_000);
      reader.leave();
      await reader.ended;
      await untilUnread(lease);
      expect(Math.min(...(await expiries()))).toBeGreaterThan(0);
      await lease.close('end');
      expect(await admin.exists(readers)).toBe(0);
      const late = read(store, 'a');
      await late.ended;
      expect(await admin.exists(readers)).toBe(0);
    });

    it('that leave after the end of the stream leave no key behind', async () => {
      const { store, prefix } = open();
      const lease = await watch(store, 'a');
      const { readers } = keyNames(prefix, 1, '').of('a');
      const leaving = new AbortController();
      const tail = store.tail('a', undefined, leaving.signal)[Symbol.asyncIterator]();
      await tail.next();
      await vi.waitUntil(async () => (await admin.exists(readers)) === 1);
      await lease.close('end');
      expect(await admin.exists(readers)).toBe(0);
      leaving.abort();
      await tail.next();
      // Behind what it says of its reader.
      await store.read('b');
      await store.read('b');
      expect(await admin.exists(readers)).toBe(0);
    });

    it('that come and go leave at most one name of those that are gone', async () => {
      const { store, prefix } = open();
      const lease = await watch(store, 'a');
      const { readers } = keyNames(prefix, 1, '').of('a');
      for (let visit = 0; visit < 10; visit += 1) {
        const reader = read(store, 'a');
        await reader.until('one');
        reader.leave();
        await reader.ended;
        await untilUnread(lease);
      }
      expect(await admin.zcard(readers)).toBeLessThanOrEqual(2);
    });

    it('are known again to a Redis that forgot them', async () => {
      const { store, prefix } = open({ presenceMs: 300 });
      const lease = await watch(store, 'a');
      const reader = read(store, 'a');
      await reader.until('one');
      const { readers } = keyNames(prefix, 1, '').of('a');
      await vi.waitUntil(async () => (await admin.exists(readers)) === 1);
      await admin.del(readers);
      await vi.waitUntil(async () => (await admin.exists(readers)) === 1, { timeout: 15_000 });
      await admin.del(readers);
      reader.leave();
      // That it has left tells that it was there.
      await untilUnread(lease);
    });

    it('are there still when Redis was killed and comes back', async () => {
      const own = await startRedis();
      onTestFinished(() => own.stop());
      const { store, prefix } = open({ url: own.url });
      const { store: reading } = open({ url: own.url, prefix });
      const watched = await watch(store, 'a');
      const reader = read(reading, 'a');
      await reader.until('one');
      for (let round = 0; round < 2; round += 1) {
        await own.kill();
        await own.start();
        expect(await watched.renew()).not.toHaveProperty('unreadMs');
      }
      await watched.append(['two']);
      await reader.until('two');
      reader.leave();
      await reader.ended;
      await untilUnread(watched);
    });
  });

  describe('a Redis', () => {
    it('that is killed and comes back loses nothing, and no reader', async () => {
      const own = await startRedis();
      onTestFinished(() => own.stop());
      const { store } = open({ url: own.url });
      const lease = await take(store, 'a');
      const readers = [read(store, 'a'), read(store, 'a')];
      const texts = Array.from({ length: 300 }, (_, index) => String(index));
      const writing = (async (): Promise<void> => {
        for (const text of texts) await lease.append([text]);
        await lease.close('end');
      })();
      for (const text of ['50', '150']) {
        await readers[0]?.until(text);
        await own.kill();
        await own.start();
      }
      await writing;
      for (const reader of readers) {
        await reader.ended;
        expect(reader.texts).toStrictEqual([...texts, 'end']);
      }
    });

    it('that forgot the last entries tells the writer, and readers of them', async () => {
      const own = await startRedis({ settings: ['--appendonly', 'no'] });
      onTestFinished(() => own.stop());
      const { store } = open({ url: own.url });
      const lease = await take(store, 'a');
      const behind = await lease.append(['one', 'two']);
      await own.client().save();
      const { position } = await lease.append(['three']);
      const reader = read(store, 'a');
      await reader.until('three');
      await own.kill();
      await own.start();
      await expectError(lease.append(['four']), 'lost');
      await reader.ended;
      expect(reader.states.at(-1)).toBe('trimmed');
      expect(await store.read('a', position)).toStrictEqual({ entries: [], state: 'trimmed' });
      expect(await store.read('a', behind.position)).toStrictEqual({ entries: [], state: 'open' });
    });

    it('that forgot the lease itself tells the writer', async () => {
      const own = await startRedis({ settings: ['--appendonly', 'no'] });
      onTestFinished(() => own.stop());
      const { store } = open({ url: own.url });
      const first = await take(store, 'a');
      await first.append(['one']);
      await own.client().save();
      await first.release();
      const second = await take(store, 'a');
      await own.kill();
      await own.start();
      // The lease before that one is there again.
      await expectError(second.append(['two']), 'lost');
      await first.append(['two']);
    });

    it('that is not there is told of after a wait, with its cause, by every method', async () => {
      const own = await startRedis();
      onTestFinished(() => own.stop());
      const { store } = open({ url: own.url, maxWaitMs: 200 });
      const lease = await take(store, 'a', 200);
      const reader = read(store, 'a');
      await lease.append(['one']);
      await reader.until('one');
      await own.kill();
      await expectError(store.read('a'), 'unavailable', /ECONNREFUSED/);
      await expectError(store.stop('a'), 'unavailable', /ECONNREFUSED/);
      await expectError(store.lease('b', { ttlMs: LONG_MS }), 'unavailable', /ECONNREFUSED/);
      await expectError(lease.append(['two']), 'unavailable', /ECONNREFUSED/);
      await expect(reader.ended).rejects.toMatchObject({ reason: 'unavailable' });
      await own.start();
      expect(await store.read('a')).toMatchObject({ entries: [{ data: 'one' }] });
      await lease.append(['two']);
      expect(await store.read('a')).toMatchObject({ entries: [{ data: 'one' }, { data: 'two' }] });
    });

    it('that takes no writes for a while is waited for', async () => {
      const own = await startRedis();
      onTestFinished(() => own.stop());
      const admin = own.client();
      const { store } = open({ url: own.url });
      const lease = await take(store, 'a');
      const reader = read(store, 'a');
      await lease.append(['one']);
      // Of a server that is not there: it keeps what it has, and takes no writes.
      await admin.replicaof('127.0.0.1', 1);
      const writing = lease.append(['two']);
      await vi.waitUntil(async () => (await admin.info('errorstats')).includes('errorstat_READONLY'), {
        timeout: 15_000,
      });
      await admin.replicaof('NO', 'ONE');
      await writing;
      await lease.close('three');
      await reader.ended;
      expect(reader.texts).toStrictEqual(['one', 'two', 'three']);
    });

    it('that accepts and never answers is told of, too', async () => {
      const own = await startRedis();
      onTestFinished(() => own.stop());
      const { store } = open({ url: own.url, maxWaitMs: 200 });
      await store.read('a');
      const { pid } = own;
      process.kill(pid, 'SIGSTOP');
      try {
        await expectError(store.read('a'), 'unavailable', /no answer/);
        const { store: late } = open({ url: own.url, maxWaitMs: 200 });
        await expectError(late.read('a'), 'unavailable', /no answer/);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      expect((await store.read('a')).state).toBe('missing');
    });

    it('that refuses the password says so at once, without the password', async () => {
      const own = await startRedis({ settings: ['--requirepass', 'right password'] });
      onTestFinished(() => own.stop());
      const right = `redis://:${encodeURIComponent('right password')}@127.0.0.1:${String(own.port)}`;
      const { store } = open({ url: right });
      expect((await store.read('a')).state).toBe('missing');
      const wrong = `redis://:hunter2hunter2@127.0.0.1:${String(own.port)}`;
      const { store: refused } = open({ url: wrong });
      const error = await expectError(refused.read('a'), 'unavailable', /WRONGPASS/);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2');
      await expectError(read(refused, 'a').ended, 'unavailable', /WRONGPASS/);
    });

    it('that refuses a command is told of without what was written', async () => {
      const own = await startRedis();
      onTestFinished(() => own.stop());
      const admin = own.client();
      await admin.call('ACL', 'SETUSER', 'reader', 'on', '>password', '~*', '&*', '+@all', '-xread', '-xadd');
      const { store } = open({ url: `redis://reader:password@127.0.0.1:${String(own.port)}` });
      const lease = await take(store, 'a');
      const error = await expectError(lease.append(['a secret text']), 'unavailable');
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('a secret text');
      await expectError(read(store, 'a').ended, 'unavailable', /NOPERM/);
    });

    it('whose client the caller has closed is told of at once', async () => {
      const client = new Redis(server.port, '127.0.0.1');
      const store = redisStore(client);
      await store.read('a');
      await client.quit();
      await expectError(store.read('a'), 'unavailable');
      await expectError(read(store, 'a').ended, 'unavailable');
      await store.close();
    });
  });
});

async function take(store: StreamStore, id: string, ttlMs: number = LONG_MS): Promise<StreamLease> {
  const lease = await store.lease(id, { ttlMs });
  if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
  return lease;
}

interface Reading {
  readonly texts: string[];
  readonly states: string[];
  /** Resolves when the tail has ended. */
  readonly ended: Promise<void>;
  until(text: string): Promise<void>;
  leave(): void;
}

/** @param _lease - what the stream is made with, before */
function read(store: StreamStore, id: string, _lease?: StreamLease): Reading {
  const controller = new AbortController();
  const texts: string[] = [];
  const states: string[] = [];
  const ended = (async (): Promise<void> => {
    for await (const { entries, state } of store.tail(id, undefined, controller.signal)) {
      texts.push(...entries.map(({ data }) => data));
      states.push(state);
    }
  })();
  // Whoever waits for the end hears of it.
  ended.catch(() => undefined);
  return {
    texts,
    states,
    ended,
    until: async (text) => {
      await vi.waitUntil(() => texts.includes(text), { timeout: 15_000, interval: 5 });
    },
    leave: () => {
      controller.abort();
    },
  };
}

async function expectError(work: Promise<unknown>, reason: StoreError['reason'], message = /./): Promise<StoreError> {
  const error: unknown = await work.then(
    (value) => new Error(`it did not fail, but gave ${JSON.stringify(value)}`),
    (failure: unknown) => failure,
  );
  if (!(error instanceof StoreError)) throw error;
  expect(error.reason).toBe(reason);
  expect(error.message).toMatch(message);
  if (reason === 'unavailable') expect(error.cause).toBeInstanceOf(Error);
  return error;
}
