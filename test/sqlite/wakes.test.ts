import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { StreamLease, StreamStore } from '../../src/protocol/streamStore.js';
import { sqliteStore, type SQLiteStoreOptions } from '../../src/sqlite/sqliteStore.js';

const system = vi.hoisted(() => ({ tells: [] as (() => void)[], isWatching: 0 }));

vi.mock(import('../../src/internal/node/dataFile.js'), async (original) => ({
  ...(await original()),
  // A system that tells nothing but what a test makes it tell.
  onWritten: (_path, tell) => {
    system.tells.push(tell);
    system.isWatching += 1;
    return () => {
      system.isWatching -= 1;
    };
  },
}));

async function stores(options: SQLiteStoreOptions): Promise<{ writing: StreamStore; reading: StreamStore }> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-sqlite-'));
  const path = join(folder, 'streams.db');
  const both = { writing: sqliteStore(path, options), reading: sqliteStore(path, options) };
  system.tells.length = 0;
  onTestFinished(async () => {
    await both.writing.close();
    await both.reading.close();
    await rm(folder, { recursive: true });
  });
  return both;
}

async function take(store: StreamStore, id = 'a'): Promise<StreamLease> {
  const lease = await store.lease(id, { ttlMs: 60_000 });
  if (typeof lease === 'string') throw new Error(lease);
  return lease;
}

/** The texts of a tail, one after another. */
function texts(store: StreamStore, signal = new AbortController().signal): { next(): Promise<string | undefined> } {
  const texts = (async function* (): AsyncGenerator<string, undefined> {
    for await (const { entries } of store.tail('a', undefined, signal)) for (const { data } of entries) yield data;
    return undefined;
  })();
  return { next: async () => (await texts.next()).value };
}

it('a reader hears of others by itself where the system tells nothing', async () => {
  const { writing, reading } = await stores({ pollMs: 20 });
  const lease = await take(writing);
  const reader = texts(reading);
  for (const text of ['one', 'two', 'three']) {
    const next = reader.next();
    await lease.append([text]);
    expect(await next).toBe(text);
  }
});

it('a reader hears of others when the system tells of them, though no timer ever fires', async () => {
  const { writing, reading } = await stores({});
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const lease = await take(writing);
  const reader = texts(reading);
  for (const text of ['one', 'two', 'three']) {
    const next = reader.next();
    await lease.append([text]);
    for (const tell of system.tells) tell();
    expect(await next).toBe(text);
  }
});

it('a reader hears of others though the stream that changed last was deleted before it looked', async () => {
  const { writing, reading } = await stores({ expireMs: 1 });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const lease = await take(writing);
  const last = await take(writing, 'b');
  await last.close('x');
  const next = texts(reading).next();
  // The reader's connection is there then, and knows of the changes so far.
  while (system.tells.length === 0) await writing.read('a');
  while ((await writing.read('b')).state !== 'missing');
  expect(await writing.lease('a', { ttlMs: 1 })).toBe('taken');
  await lease.append(['one']);
  for (const tell of system.tells) tell();
  expect(await next).toBe('one');
});

it('a reader hears of its own process without the system and without a timer', async () => {
  const { writing } = await stores({});
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const lease = await take(writing);
  const reader = texts(writing);
  for (const text of ['one', 'two']) {
    const next = reader.next();
    await lease.append([text]);
    expect(await next).toBe(text);
  }
});

it('a file is watched once for all readers, and only while there are some', async () => {
  const { writing, reading } = await stores({});
  await (await take(writing)).append(['one']);
  const before = system.isWatching;
  const leaving = Array.from({ length: 5 }, () => new AbortController());
  const readers = leaving.map(({ signal }) => texts(reading, signal));
  for (const reader of readers) expect(await reader.next()).toBe('one');
  expect(system.isWatching).toBe(before + 1);
  for (const controller of leaving) controller.abort();
  expect(system.isWatching).toBe(before);
});
