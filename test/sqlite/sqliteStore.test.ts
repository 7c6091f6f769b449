import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { StoreError } from '../../src/errors.js';
import type { StreamLease, StreamStore } from '../../src/protocol/streamStore.js';
import { sqliteStore, type SQLiteStoreOptions } from '../../src/sqlite/sqliteStore.js';
import { runReader } from '../support/runReader.js';
import { describeStore } from '../support/storeContract.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

let folder: string;
let path: string;

beforeEach(async ({ onTestFinished: afterAllElse }) => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-sqlite-'));
  path = join(folder, 'streams.db');
  // The binding lets go of files when it likes, and SQLite removes some of them then.
  afterAllElse(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
});

/** A connection past the store. */
function raw(): DatabaseSyncInstance {
  const database = new DatabaseSync(path, { timeout: 5000 });
  onTestFinished(() => {
    if (database.isOpen) database.close();
  });
  return database;
}

function count(database: DatabaseSyncInstance, table: 'streams' | 'entries'): unknown {
  return database.prepare(`SELECT count(*) AS count FROM ${table}`).get();
}

function open(options: SQLiteStoreOptions = {}): StreamStore {
  const store = sqliteStore(path, options);
  onTestFinished(() => store.close());
  return store;
}

async function take(store: StreamStore, id: string, ttlMs = 60_000): Promise<StreamLease> {
  const lease = await store.lease(id, { ttlMs });
  if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
  return lease;
}

async function unavailable(work: Promise<unknown>): Promise<StoreError> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  );
  if (!(error instanceof StoreError)) throw error;
  expect(error.reason).toBe('unavailable');
  return error;
}

async function remove(): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) await rm(`${path}${suffix}`, { force: true });
}

async function textsOf(store: StreamStore, id: string): Promise<string[]> {
  const { entries } = await store.read(id);
  return entries.map(({ data }) => data);
}

/** Reads a stream; says so when the store knows. */
const READER = `
  import { sqliteStore } from './src/sqlite/sqliteStore.ts';
  const [path, presenceMs, id] = process.argv.slice(2);
  const store = sqliteStore(path, { presenceMs: Number(presenceMs) });
  for await (const _ of store.tail(id, undefined, new AbortController().signal)) {
    await store.stop('behind what it says of its readers');
    process.stdout.write('reads');
  }
`;

describeStore('sqliteStore', (settings) =>
  Promise.resolve({
    readElsewhere: async (id) => {
      const program = join(folder, 'reader.mjs');
      await build({
        stdin: { contents: READER, resolveDir: root, loader: 'ts' },
        outfile: program,
        bundle: true,
        platform: 'node',
        format: 'esm',
        target: 'node20',
        external: ['@photostructure/sqlite'],
        logLevel: 'silent',
      });
      await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
      return runReader(program, [path, String(settings?.presenceMs ?? 30_000), id]);
    },
    store: sqliteStore(path, settings),
    another: () => Promise.resolve(sqliteStore(path, settings)),
    remove: (id) => {
      const database = new DatabaseSync(path, { timeout: 5000 });
      const { number } = database.prepare('SELECT number FROM streams WHERE id = ?').get(id) as { number: number };
      database.prepare('DELETE FROM entries WHERE key >> 32 = ?').run(number);
      database.prepare('DELETE FROM streams WHERE number = ?').run(number);
      database.close();
      return Promise.resolve();
    },
  }),
);

describe('sqliteStore', () => {
  it('opens and makes nothing before the first call', async () => {
    const store = open();
    store.tail('a', undefined, new AbortController().signal);
    expect(await readdir(folder)).toEqual([]);
    expect((await store.read('a')).state).toBe('missing');
    expect(existsSync(path)).toBe(true);
    await store.close();
  });

  it.each([
    ['no path', ['']],
    ['a NUL in the path', ['a\0b']],
    ['a database in memory', [':memory:']],
    ['an unknown word', ['x.db', { synchronous: 'off' }]],
  ])('refuses %s when it is called', (_name, [wrong, options]) => {
    // JavaScript callers pass what the types exclude.
    expect(() => sqliteStore(wrong as string, options as SQLiteStoreOptions)).toThrow(TypeError);
  });

  it.each([
    [{ expireMs: 0 }],
    [{ expireMs: Number.NaN }],
    [{ maxEntries: 0 }],
    [{ maxEntries: 1.5 }],
    [{ busyMs: -1 }],
    [{ busyMs: 2 ** 31 }],
    [{ pollMs: 0 }],
    [{ pollMs: Number.POSITIVE_INFINITY }],
    [{ presenceMs: 0 }],
    [{ presenceMs: 2 ** 31 }],
  ])('refuses %o when it is called', (options) => {
    expect(() => sqliteStore(path, options)).toThrow(RangeError);
  });

  it('keeps everything for ever where that is written', async () => {
    const store = open({ expireMs: Number.POSITIVE_INFINITY, maxEntries: Number.POSITIVE_INFINITY });
    const lease = await take(store, 'a');
    await lease.append(['one']);
    await lease.close('two');
    expect(await textsOf(store, 'a')).toEqual(['one', 'two']);
  });

  it('keeps one entry where that is written', async () => {
    const store = open({ maxEntries: 1 });
    const lease = await take(store, 'a');
    const { position } = await lease.append(['one', 'two']);
    expect((await store.read('a')).state).toBe('trimmed');
    await lease.append(['three']);
    expect((await store.read('a', position)).entries).toMatchObject([{ data: 'three', previous: position }]);
    await lease.release();
    expect((await take(store, 'a')).last).toMatchObject({ data: 'three', previous: position });
    expect(count(raw(), 'entries')).toEqual({ count: 1 });
  });

  it('trims little by little where the limit has become lower', async () => {
    const many = open();
    const lease = await take(many, 'a');
    const positions: string[] = [];
    for (let at = 0; at < 1000; at += 1) positions.push((await lease.append([String(at)])).position);
    await lease.release();
    const few = open({ maxEntries: 10 });
    const next = await take(few, 'a');
    const database = raw();
    const counts: unknown[] = [];
    for (let round = 0; round < 6; round += 1) {
      positions.push((await next.append(['x'])).position);
      counts.push(Object.values(count(database, 'entries') as object)[0]);
      for (const [index, after] of positions.entries()) {
        const { entries, state } = await few.read('a', after);
        if (state === 'open' && index < positions.length - 1) expect(entries[0]?.previous).toBe(after);
      }
    }
    expect(counts).toEqual([744, 488, 232, 10, 10, 10]);
  });

  it('deletes what has expired when other streams are taken, a little at a time', async () => {
    const store = open({ expireMs: 30, synchronous: 'normal' });
    for (let index = 0; index < 5; index += 1) {
      const lease = await take(store, `old ${String(index)}`);
      await lease.append(Array.from({ length: 600 }, () => 'x'));
      await lease.close('end');
    }
    const living = await take(store, 'living');
    await living.append(['kept']);
    await vi.waitUntil(async () => (await store.read('old 4')).state === 'missing');
    const database = raw();
    for (let round = 0; round < 40; round += 1) await (await take(store, `new ${String(round)}`)).append(['x']);
    expect(count(database, 'entries')).toEqual({ count: 41 });
    expect(count(database, 'streams')).toEqual({ count: 41 });
    expect(await textsOf(store, 'living')).toEqual(['kept']);
  });

  it('sees each of a thousand streams expire though only few are looked at each time', async () => {
    const store = open({ synchronous: 'normal' });
    const leases = await Promise.all(Array.from({ length: 1000 }, (_, index) => take(store, String(index))));
    await Promise.all(leases.map((lease) => lease.close('x')));
    const database = raw();
    database.exec('UPDATE streams SET expires = 1');
    // A sixteenth as many, and some for where the count begins again.
    for (let round = 0; round < 70; round += 1) await take(store, `new ${String(round)}`);
    expect(database.prepare('SELECT count(*) AS count FROM streams WHERE expires = 1').get()).toEqual({ count: 0 });
    for (let round = 0; round < 1000; round += 1) await take(store, `newer ${String(round)}`);
    expect(count(database, 'streams')).toEqual({ count: 1070 });
    expect(count(database, 'entries')).toEqual({ count: 0 });
  });

  it.each([['the same connection'], ['another connection']])(
    'tells readers by %s that somebody writes again before anything is written',
    async (where) => {
      const store = open();
      const reading = where === 'the same connection' ? store : open();
      const first = await take(store, 'a', 1000);
      const tail = reading.tail('a', undefined, new AbortController().signal)[Symbol.asyncIterator]();
      expect((await tail.next()).value).toEqual({ entries: [], state: 'orphaned' });
      const renewed = tail.next();
      await first.renew();
      expect((await renewed).value).toEqual({ entries: [], state: 'open' });
      await first.release();
      expect((await tail.next()).value).toEqual({ entries: [], state: 'orphaned' });
      await take(store, 'a');
      expect((await tail.next()).value).toEqual({ entries: [], state: 'open' });
    },
  );

  it('tells a slow reader how the stream stands now, not how it stood', async () => {
    const store = open();
    const first = await take(store, 'a');
    await first.append(['one']);
    await first.release();
    const tail = store.tail('a', undefined, new AbortController().signal)[Symbol.asyncIterator]();
    expect((await tail.next()).value).toMatchObject({ entries: [{ data: 'one' }], state: 'open' });
    const second = await take(store, 'a');
    await second.append(['two']);
    expect((await tail.next()).value).toMatchObject({ entries: [{ data: 'two' }], state: 'open' });
  });

  it('leaves turns to others while a long stream is read', async () => {
    const store = open({ synchronous: 'normal' });
    const lease = await take(store, 'a');
    for (let round = 0; round < 20; round += 1) await lease.append(Array.from({ length: 500 }, () => 'x'));
    await lease.close('end');
    let turns = 0;
    const count = setInterval(() => (turns += 1), 0);
    let entries = 0;
    const pages = store.tail('a', undefined, new AbortController().signal);
    for await (const page of pages) entries += page.entries.length;
    clearInterval(count);
    expect(entries).toBe(10_001);
    expect(turns).toBeGreaterThan(2);
  });

  it('leaves turns to others while a stream is read page by page', async () => {
    const store = open();
    await take(store, 'a');
    let isTimeOver = false;
    setTimeout(() => (isTimeOver = true), 1);
    while (!isTimeOver) await store.read('a');
    expect(isTimeOver).toBe(true);
  });

  it('writes what was asked for before it was closed', async () => {
    const store = open();
    const lease = await take(store, 'a');
    const written = [lease.append(['one']), lease.append(['two']), lease.close('three')];
    await store.close();
    await Promise.all(written);
    expect(await textsOf(open(), 'a')).toEqual(['one', 'two', 'three']);
  });

  it('keeps what a caller gave, not what the caller makes of it later', async () => {
    const store = open();
    const lease = await take(store, 'a');
    const data = ['one'];
    const written = lease.append(data);
    data.push('two');
    await written;
    expect(await textsOf(store, 'a')).toEqual(['one']);
  });

  it('leaves a file behind that is whole by itself', async () => {
    const store = open();
    const lease = await take(store, 'a');
    for (let round = 0; round < 50; round += 1) await lease.append(['x'.repeat(1000)]);
    await store.close();
    await rm(`${path}-wal`, { force: true });
    await rm(`${path}-shm`, { force: true });
    expect(await textsOf(open(), 'a')).toHaveLength(50);
    expect(raw().prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
  });

  it('notes readers where their writer wants to know, and forgets them with the stream', async () => {
    const store = open({ presenceMs: 100, expireMs: 300 });
    const database = raw();
    const readers = (): { until: number }[] =>
      database.prepare('SELECT until FROM readers ORDER BY until').all() as { until: number }[]; // as named
    const watched = async (id: string, ttlMs: number): Promise<StreamLease> => {
      const lease = await store.lease(id, { ttlMs, watchesReaders: true });
      if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
      await lease.append(['one']);
      return lease;
    };
    const visit = async (id: string): Promise<() => Promise<unknown>> => {
      const leaving = new AbortController();
      const tail = store.tail(id, undefined, leaving.signal)[Symbol.asyncIterator]();
      await tail.next();
      return () => {
        leaving.abort();
        return tail.next();
      };
    };
    await (await take(store, 'unwatched')).append(['one']);
    await (
      await visit('unwatched')
    )();
    const lease = await watched('a', 60_000);
    for (let round = 0; round < 10; round += 1) {
      const leave = await visit('a');
      await vi.waitUntil(() => readers().some(({ until }) => until > Date.now()));
      // Two leases of the writer are longer than what the store was told.
      expect(readers().at(-1)?.until).toBeGreaterThan(Date.now() + 100_000);
      await leave();
      await vi.waitUntil(async () => (await lease.renew()).unreadMs !== undefined);
    }
    expect(readers().length).toBeLessThanOrEqual(2);
    await lease.close('end');
    expect(readers()).toEqual([]);
    await (
      await visit('a')
    )();
    const abandoned = await watched('b', 1);
    await (
      await visit('b')
    )();
    await vi.waitUntil(async () => (await abandoned.renew()).unreadMs !== undefined);
    expect(readers()).toHaveLength(1);
    await vi.waitUntil(async () => (await store.read('b')).state === 'missing');
    for (let round = 0; round < 4; round += 1) await take(store, `new ${String(round)}`);
    expect(readers()).toEqual([]);
  });

  it('tells of streams whose entries were taken out by hand', async () => {
    const store = open();
    const lease = await take(store, 'a');
    await lease.append(['one', 'two', 'three', 'four']);
    raw().exec('DELETE FROM entries WHERE (key & 4294967295) IN (2, 3)');
    const { entries, state } = await store.read('a');
    expect([entries.map(({ data }) => data), state]).toEqual([['one'], 'open']);
    expect((await store.read('a', entries[0]?.position)).state).toBe('trimmed');
  });

  it('tells a writer that its last entries are gone, as they are after a loss of power', async () => {
    const store = open();
    const lease = await take(store, 'a');
    await lease.append(['one', 'two', 'three']);
    const database = raw();
    database.exec('DELETE FROM entries WHERE (key & 4294967295) = 3');
    database.exec('UPDATE streams SET last_entry = 2');
    for (const write of [lease.append(['four']), lease.renew(), lease.close('five')]) {
      await expect(write).rejects.toMatchObject({ code: 'ERR_STORE', reason: 'lost' });
    }
    expect(await textsOf(store, 'a')).toEqual(['one', 'two']);
  });

  it('never gives the position of an entry that is gone to another one', async () => {
    const store = open();
    const first = await take(store, 'a');
    const { position } = await first.append(['one', 'two']);
    const database = raw();
    database.exec('DELETE FROM entries WHERE (key & 4294967295) = 2');
    database.exec('UPDATE streams SET last_entry = 1, lease_until = 0');
    await (await take(store, 'a')).append(['another']);
    expect((await store.read('a', position)).state).toBe('trimmed');
    expect(await textsOf(store, 'a')).toEqual(['one', 'another']);
  });
});

describe('sqliteStore says `unavailable`, and why', () => {
  it('for a folder that is not there', async () => {
    path = join(folder, 'no', 'streams.db');
    const store = open();
    const error = await unavailable(store.read('a'));
    expect(error.message).toContain('its folder must exist');
    expect(error.context).toEqual({ path, code: 'SQLITE_CANTOPEN' });
    expect(error.cause).toBeInstanceOf(Error);
    await mkdir(join(folder, 'no'));
    expect((await store.read('a')).state).toBe('missing');
  });

  it('for a folder in place of a file', async () => {
    await mkdir(path);
    await unavailable(open().lease('a', { ttlMs: 100 }));
  });

  it('for a file that is no database, which is left as it is', async () => {
    await writeFile(path, 'not a database '.repeat(1000));
    const store = open();
    for (const work of [store.read('a'), store.lease('a', { ttlMs: 100 }), store.stop('a')]) {
      expect((await unavailable(work)).message).toContain('no SQLite database, or damaged');
    }
    const tail = store.tail('a', undefined, new AbortController().signal)[Symbol.asyncIterator]();
    await unavailable(tail.next());
    expect(await readdir(folder)).toEqual(['streams.db']);
  });

  it('for the database of another program, which is left as it is', async () => {
    const foreign = raw();
    foreign.exec('CREATE TABLE customers (name TEXT)');
    const error = await unavailable(open().lease('a', { ttlMs: 100 }));
    expect(error.message).toContain('a file of its own');
    expect(foreign.prepare('SELECT name FROM sqlite_schema').all()).toEqual([{ name: 'customers' }]);
    expect(foreign.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'delete' });
  });

  it('for a file that a later version has made', async () => {
    await open().read('a');
    raw().exec('PRAGMA user_version = 2');
    expect((await unavailable(open().read('a'))).message).toContain('version 2');
  });

  it('for a file that was damaged, and serves again when it is whole', async () => {
    const before = open();
    const lease = await take(before, 'a');
    await lease.append(Array.from({ length: 200 }, () => 'x'.repeat(1000)));
    await before.close();
    const bytes = raw();
    const size = Number(Object.values(bytes.prepare('PRAGMA page_count').get() as object)[0]);
    bytes.close();
    const damaged = await import('node:fs/promises').then(({ readFile }) => readFile(path));
    const whole = Buffer.from(damaged);
    damaged.fill(0xff, 4096 * 2, 4096 * Math.floor(size / 2));
    await writeFile(path, damaged);
    const store = open();
    const error = await unavailable(store.read('a'));
    expect(error.context['code']).toMatch(/^SQLITE_/);
    await writeFile(path, whole);
    expect(await textsOf(store, 'a')).toHaveLength(200);
  });

  it('for a file that another process has locked for too long, and goes on afterwards', async () => {
    const store = open({ busyMs: 50 });
    const lease = await take(store, 'a');
    const other = raw();
    other.exec('BEGIN IMMEDIATE');
    const error = await unavailable(lease.append(['one']));
    expect(error.message).toContain('another process has it locked');
    await unavailable(store.lease('b', { ttlMs: 100 }));
    // Readers are not kept waiting.
    expect((await store.read('a')).state).toBe('open');
    other.exec('COMMIT');
    await lease.append(['two']);
    expect(await textsOf(store, 'a')).toEqual(['two']);
  });

  it('never, where the lock is given back in time: what waited is written in order', async () => {
    const store = open();
    const lease = await take(store, 'a');
    const other = raw();
    other.exec('BEGIN IMMEDIATE');
    const written = [lease.append(['one']), lease.append(['two'])];
    for (let turns = 0; turns < 5; turns += 1) await store.read('a');
    expect((await store.read('a')).entries).toEqual([]);
    other.exec('COMMIT');
    written.push(lease.append(['three']));
    await Promise.all(written);
    expect(await textsOf(store, 'a')).toEqual(['one', 'two', 'three']);
  });

  it('for a file that was removed, and begins anew', async () => {
    const store = open();
    const lease = await take(store, 'a');
    await lease.append(['one']);
    await remove();
    expect((await unavailable(lease.append(['two']))).message).toContain('removed or replaced');
    await expect(lease.append(['two'])).rejects.toMatchObject({ reason: 'lost' });
    await (await take(store, 'a')).append(['three']);
    expect(await textsOf(open(), 'a')).toEqual(['three']);
  });

  it('to nobody who waits for a stream of a file that was removed: it is missing', async () => {
    const store = open();
    await take(store, 'a');
    const tail = store.tail('a', undefined, new AbortController().signal)[Symbol.asyncIterator]();
    const waiting = tail.next();
    await store.read('a');
    await remove();
    expect(await waiting).toEqual({ done: false, value: { entries: [], state: 'missing' } });
  });

  it('for a folder that is read-only', async ({ skip }) => {
    const disk = join(folder, 'disk');
    await mkdir(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', disk]);
    skip(mounted.status !== 0, 'mounting is not permitted here');
    try {
      path = join(disk, 'streams.db');
      const error = await unavailable(open().read('a'));
      expect(error.cause).toBeInstanceOf(Error);
    } finally {
      spawnSync('umount', ['--lazy', disk]);
    }
  });

  it('for a full disk: nothing of that append is there, and it goes on when there is room', async ({ skip }) => {
    const disk = join(folder, 'disk');
    await mkdir(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk]);
    skip(mounted.status !== 0, 'mounting is not permitted here');
    try {
      path = join(disk, 'streams.db');
      const ballast = join(disk, 'ballast');
      const store = open();
      const lease = await take(store, 'a');
      await writeFile(ballast, Buffer.alloc(300_000));
      await lease.append(['one']);
      const other = await take(store, 'b');
      // Of many at once those that fit are written, but none of a stream behind one that is not: there is no gap in it.
      const [large, behind, small] = await Promise.all([
        unavailable(lease.append(['two', 'x'.repeat(400_000)])),
        unavailable(lease.append(['behind'])),
        other.append(['small']),
      ]);
      expect(large.context['code']).toMatch(/^SQLITE_(FULL|IOERR)/);
      expect(behind).toBe(large);
      expect((await store.read('b')).entries).toMatchObject([{ data: 'small', position: small.position }]);
      expect(await textsOf(store, 'a')).toEqual(['one']);
      await rm(ballast);
      await lease.append(['three']);
      expect(await textsOf(store, 'a')).toEqual(['one', 'three']);
      await store.close();
    } finally {
      spawnSync('umount', ['--lazy', disk]);
    }
  });
});
