import { type ChildProcess, fork } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DatabaseSync } from '@photostructure/sqlite';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { StoreError } from '../../src/errors.js';
import type { StoredEntry, StreamLease, StreamStore } from '../../src/protocol/streamStore.js';
import { sqliteStore, type SQLiteStoreOptions } from '../../src/sqlite/sqliteStore.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Writes or reads one stream, and tells what happened. */
const program = `
  import { sqliteStore } from './src/sqlite/sqliteStore.ts';
  const [, , role, path, id, ttlMs, count] = process.argv;
  const store = sqliteStore(path);
  const tell = (message) => new Promise((resolve) => process.send(message, resolve));
  try {
    if (role === 'write') {
      const lease = await store.lease(id, { ttlMs: Number(ttlMs) });
      if (typeof lease === 'string') throw new Error(lease);
      for (let at = 0; at < Number(count); at += 1) {
        await lease.append([process.pid + ' ' + at]);
        await tell({ written: process.pid + ' ' + at });
      }
      await lease.close('end');
    } else {
      const seen = [];
      for await (const { entries } of store.tail(id, undefined, new AbortController().signal)) {
        seen.push(...entries.map(({ data }) => data));
        await tell({ count: seen.length });
      }
      await tell({ seen });
    }
    await store.close();
    await tell({ end: 'over' });
  } catch (error) {
    await tell({ end: error.reason ?? error.code ?? error.message, message: error.message });
  }
  process.disconnect();
`;

interface Told {
  readonly written?: string;
  readonly count?: number;
  readonly seen?: string[];
  readonly end?: string;
  readonly message?: string;
}

/** A process that uses a store. */
class Child {
  readonly told: Told[] = [];
  readonly exited: Promise<unknown>;
  readonly #process: ChildProcess;
  #notify: (() => void) | undefined;

  constructor(file: string, ...args: readonly string[]) {
    this.#process = fork(file, args, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.exited = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.on('message', (message: Told) => {
      this.told.push(message);
      this.#notify?.();
    });
    onTestFinished(async () => {
      this.#process.kill('SIGKILL');
      await this.exited;
    });
  }

  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#process.kill(signal);
  }

  async until(isWanted: (told: Told) => boolean): Promise<Told> {
    for (;;) {
      const found = this.told.find(isWanted);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => (this.#notify = resolve));
    }
  }

  async written(count: number): Promise<void> {
    await this.until(() => this.told.filter(({ written }) => written !== undefined).length >= count);
  }

  async end(): Promise<Told> {
    return this.until(({ end }) => end !== undefined);
  }
}

let programs: string;
let folder: string;
let path: string;

async function compile(into: string): Promise<string> {
  const outfile = join(into, 'child.mjs');
  await build({
    stdin: { contents: program, resolveDir: root, loader: 'ts' },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['@photostructure/sqlite'],
    logLevel: 'silent',
  });
  return outfile;
}

beforeAll(async () => {
  programs = await mkdtemp(join(tmpdir(), 'millrace-sqlite-programs-'));
  await symlink(join(root, 'node_modules'), join(programs, 'node_modules'));
  await compile(programs);
});

afterAll(async () => {
  await rm(programs, { recursive: true });
});

beforeEach(async ({ onTestFinished: afterAllElse }) => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-sqlite-'));
  path = join(folder, 'streams.db');
  // The binding lets go of files when it likes, and SQLite removes some of them then.
  afterAllElse(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
});

function start(role: 'write' | 'read', id: string, ttlMs = 60_000, count = 1_000_000): Child {
  return new Child(join(programs, 'child.mjs'), role, path, id, String(ttlMs), String(count));
}

function open(options: SQLiteStoreOptions = {}): StreamStore {
  const store = sqliteStore(path, options);
  onTestFinished(() => store.close());
  return store;
}

async function takeWhenFree(store: StreamStore, id: string): Promise<StreamLease> {
  for (;;) {
    const lease = await store.lease(id, { ttlMs: 60_000 });
    if (lease === 'closed') throw new Error('the stream is closed');
    if (lease !== 'taken') return lease;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Reads to the end, or until it is wanted no more; each entry must come after the one before it. */
async function follow(
  store: StreamStore,
  id: string,
  isEnough?: (entries: readonly StoredEntry[]) => boolean,
): Promise<string[]> {
  const seen: StoredEntry[] = [];
  while ((await store.read(id)).state === 'missing');
  const leaving = new AbortController();
  for await (const { entries } of store.tail(id, undefined, leaving.signal)) {
    for (const entry of entries) {
      expect(entry.previous).toBe(seen.at(-1)?.position ?? '');
      seen.push(entry);
    }
    if (isEnough?.(seen) === true) leaving.abort();
  }
  return seen.map(({ data }) => data);
}

describe('sqliteStore in several processes', () => {
  it('gives readers here and elsewhere what is written elsewhere', async () => {
    const writer = start('write', 'a', 60_000, 200);
    const store = open();
    await writer.written(1);
    const readers = [start('read', 'a'), start('read', 'a')];
    const here = await follow(store, 'a');
    expect(here).toHaveLength(201);
    expect(here.at(-1)).toBe('end');
    for (const reader of readers) {
      await reader.end();
      expect((await reader.until(({ seen }) => seen !== undefined)).seen).toStrictEqual(here);
    }
    expect((await writer.end()).end).toBe('over');
  });

  it('gives readers elsewhere what is written here', async () => {
    const store = open();
    const lease = await takeWhenFree(store, 'a');
    const readers = [start('read', 'a'), start('read', 'a'), start('read', 'a')];
    const texts = Array.from({ length: 100 }, (_, index) => String(index));
    for (const text of texts) {
      await lease.append([text]);
      // As a token stream does, one comes when the one before is seen.
      if (text === '10') await Promise.all(readers.map((reader) => reader.until(({ count = 0 }) => count >= 11)));
    }
    await lease.close('end');
    for (const reader of readers) {
      await reader.end();
      expect((await reader.until(({ seen }) => seen !== undefined)).seen).toStrictEqual([...texts, 'end']);
    }
  });

  it('keeps all that was told to be written when the writer is killed, at any moment, and goes on with the next one', async () => {
    const store = open();
    const expected: string[][] = [];
    const reading = follow(store, 'a');
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), async (count) => {
        // The one that was killed before has a lease that runs out.
        while ((await store.read('a')).state === 'open' || (await tailEnd(store, 'a')) === 'open');
        const writer = start('write', 'a', 200);
        await writer.written(count);
        writer.kill('SIGKILL');
        await writer.exited;
        expected.push(writer.told.flatMap(({ written }) => written ?? []));
      }),
      { numRuns: 6, endOnFailure: true },
    );
    const lease = await takeWhenFree(store, 'a');
    await lease.close('end');
    const seen = await reading;
    // Each wrote what it told, and at most one more that it did not get to tell.
    let at = 0;
    for (const written of expected) {
      expect(seen.slice(at, at + written.length)).toStrictEqual(written);
      at += written.length;
      const [writer, last] = (written.at(-1) ?? '').split(' ');
      if (seen[at] === `${writer ?? ''} ${String(Number(last) + 1)}`) at += 1;
    }
    expect(seen.slice(at)).toStrictEqual(['end']);
    const database = new DatabaseSync(path);
    expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
    database.close();
  });

  it('is read from a file whose writer was killed, by whoever opens it next', async () => {
    const writer = start('write', 'a', 100);
    await writer.written(20);
    writer.kill('SIGKILL');
    await writer.exited;
    expect(await readdir(folder)).toContain('streams.db-wal');
    const lease = await takeWhenFree(open(), 'a');
    const written = writer.told.flatMap(({ written }) => written ?? []);
    expect(
      (await follow(open(), 'a', (entries) => entries.length >= written.length)).slice(0, written.length),
    ).toStrictEqual(written);
    await lease.close('end');
  });

  it('leaves the file alone behind when every process has ended', async () => {
    const writer = start('write', 'a', 1000, 5);
    await writer.exited;
    expect(await readdir(folder)).toEqual(['streams.db']);
    expect(await follow(open(), 'a')).toHaveLength(6);
  });

  it('lets a writer that was paused, and woken after another took over, write nothing', async () => {
    const store = open({ busyMs: 300 });
    for (let round = 0; round < 4; round += 1) {
      const id = `stream ${String(round)}`;
      const writer = start('write', id, 150);
      await writer.written(5 + round * 7);
      const lease = await pauseAndTakeOver(writer, store, id);
      if (round % 2 === 0) await lease.append(['mine']);
      const before = await follow(store, id, () => true);
      writer.kill('SIGCONT');
      expect((await writer.end()).end).toBe('lease-lost');
      await lease.close('end');
      expect(await follow(store, id)).toStrictEqual([...before, 'end']);
    }
  });

  it('lets a writer that was paused go on where nobody took over', async () => {
    const store = open();
    const writer = start('write', 'a', 100, 60);
    await writer.written(5);
    const reading = follow(store, 'a');
    writer.kill('SIGSTOP');
    while ((await store.read('a')).state !== 'orphaned');
    writer.kill('SIGCONT');
    expect((await writer.end()).end).toBe('over');
    expect(await reading).toHaveLength(61);
  });

  it('has one writer where three want to be it, whichever of them are killed', async () => {
    const store = open();
    const reading = follow(store, 'a');
    const told: string[][] = [];
    for (let round = 0; round < 3; round += 1) {
      while ((await tailEnd(store, 'a')) === 'open');
      const writers = Array.from({ length: 3 }, () => start('write', 'a', 200));
      const first = await Promise.race(writers.map(async (writer) => (await writer.written(10), writer)));
      for (const writer of writers) if (writer !== first) expect((await writer.end()).end).toBe('taken');
      first.kill('SIGKILL');
      await first.exited;
      told.push(first.told.flatMap(({ written }) => written ?? []));
    }
    const lease = await takeWhenFree(store, 'a');
    await lease.close('end');
    const seen = await reading;
    expect(seen).toEqual(expect.arrayContaining(told.flat()));
    expect(new Set(seen).size).toBe(seen.length);
  });

  it('says what to install where the package is missing', async () => {
    const bare = join(folder, 'bare');
    await mkdir(bare);
    const child = new Child(await compile(bare), 'write', path, 'a', '100', '1');
    const { end, message } = await child.end();
    expect(end).toBe('unavailable');
    expect(message).toContain('npm install @photostructure/sqlite');
    await child.exited;
  });
});

/** How a stream stands after its last entry. */
async function tailEnd(store: StreamStore, id: string): Promise<string> {
  for (let after: string | undefined; ;) {
    const { entries, state } = await store.read(id, after);
    if (entries.length === 0) return state;
    after = entries.at(-1)?.position;
  }
}

/** Pauses a writer, and takes its stream. One that is paused in the middle of a write keeps others from writing, so it is woken and paused again. */
async function pauseAndTakeOver(writer: Child, store: StreamStore, id: string): Promise<StreamLease> {
  for (;;) {
    writer.kill('SIGSTOP');
    try {
      return await takeWhenFree(store, id);
    } catch (error) {
      if (!(error instanceof StoreError) || error.context['code'] !== 'SQLITE_BUSY') throw error;
      writer.kill('SIGCONT');
      await writer.written(writer.told.length + 1);
    }
  }
}
