import type { Redis } from 'ioredis';
import { asyncScheduler, type Subscription } from 'rxjs';
import { blockingClient, closeClient, isCluster, masterOf, prefixOf } from './client.js';
import { closedError, type Commands } from './commands.js';
import { isPassing } from './failure.js';
import type { LaneKeys, StreamKeys } from './keys.js';
import { chained, type RawRow, type Row, seqOf, toRow } from './rows.js';
import { WAKE } from './scripts.js';

/** How long Redis blocks an XREAD at most. */
const BLOCK_MS = 5_000;
/** How long its answer, or a connection, may be late before the connection is given up. */
const LATE_MS = 5_000;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

/** An XREAD of n keys costs Redis 1 to 2 n µs, and the client about as much. So that it stays a small part of their time, n keys rest so long. */
const REST_MS_PER_KEY = 0.02;
const LONGEST_REST_MS = 25;
/** How many entries of a stream one XREAD may give, where they are small. */
const MOST_ENTRIES = 16;
/** What one XREAD should give at most of all streams, going by the size of entries so far. */
const MOST_BYTES = 8 * 1_024 * 1_024;

/** A stream is looked at so often where nothing else says when: somebody may have deleted it. */
const LONGEST_WATCH_MS = 60_000;
/** Clocks tick in milliseconds: a lease is over for sure a little after its end. */
const AFTER_END_MS = 2;

/** What ends a reader's wait: entries, or that it has to look for itself. */
export type News = readonly Row[] | 'look';

interface Waiter {
  readonly resolve: (news: News) => void;
  readonly reject: (error: unknown) => void;
}

/** One reader of one stream. */
export class Reader {
  readonly #watch: Watch;
  #position = '';
  #waiter: Waiter | undefined;
  /** Something happened since it looked. */
  #isStale = false;

  constructor(watch: Watch) {
    this.#watch = watch;
  }

  get isWaiting(): boolean {
    return this.#waiter !== undefined;
  }

  /** To be called before a look. */
  looks(): void {
    this.#isStale = false;
  }

  /** Waits for what comes after a position that a look has reached. */
  wait(position: string): Promise<News> {
    if (this.#isStale) return Promise.resolve('look');
    this.#position = position;
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#watch.listen(position);
    });
  }

  /** Gives entries to one that waits; whoever does not will look. */
  give(rows: readonly Row[]): void {
    if (this.#waiter === undefined) {
      this.#isStale = true;
      return;
    }
    const seq = seqOf(this.#position);
    const from = rows.findIndex(({ entry }) => seqOf(entry.position) > seq);
    if (from === -1) return;
    const next = chained(from === 0 ? rows : rows.slice(from), this.#position);
    this.#take()?.resolve(next.length === 0 ? 'look' : next);
  }

  look(): void {
    this.#isStale = true;
    this.#take()?.resolve('look');
  }

  fail(error: unknown): void {
    this.#take()?.reject(error);
  }

  leave(): void {
    this.#watch.leave(this);
    this.#take()?.resolve('look');
  }

  #take(): Waiter | undefined {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    return waiter;
  }
}

/** What a lane does for a watched stream. */
interface Exchange {
  /** Begins to read it. */
  readonly added: () => void;
  readonly abandoned: () => void;
}

/** One stream, and its readers here. */
export class Watch {
  readonly readers: Set<Reader> = new Set();
  /** Where the lane reads on from; undefined while nobody waits. */
  listensAt: string | undefined;
  readonly #exchange: Exchange;
  #timer: Subscription | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  /** How long a writer may be silent, as far as is known. */
  #ttlMs = 0;
  #writtenAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  enter(): Reader {
    const reader = new Reader(this);
    this.readers.add(reader);
    return reader;
  }

  leave(reader: Reader): void {
    if (!this.readers.delete(reader) || this.readers.size > 0) return;
    this.#timer?.unsubscribe();
    this.#exchange.abandoned();
  }

  listen(position: string): void {
    if (this.listensAt !== undefined) return;
    this.listensAt = position;
    this.#exchange.added();
  }

  /** To be looked at again, if nothing comes, when the lease is over or the stream expires. */
  expect(dueMs: number, ttlMs: number): void {
    if (this.#isClosed || this.readers.size === 0) return;
    this.#ttlMs = ttlMs;
    const dueAtMs = asyncScheduler.now() + Math.min(dueMs + AFTER_END_MS, LONGEST_WATCH_MS);
    this.#timer?.unsubscribe();
    this.#dueAtMs = dueAtMs;
    this.#arm();
  }

  give(rows: readonly Row[]): void {
    const last = rows.at(-1);
    if (last === undefined) return;
    this.#writtenAtMs = asyncScheduler.now();
    const endsAtMs = this.#writtenAtMs + this.#ttlMs + AFTER_END_MS;
    // Of a stream that nobody wrote when it was looked at.
    if (this.#ttlMs > 0 && endsAtMs < this.#dueAtMs && this.readers.size > 0) {
      this.#timer?.unsubscribe();
      this.#dueAtMs = endsAtMs;
      this.#arm();
    }
    const readers = [...this.readers];
    this.listensAt = readers.some(({ isWaiting }) => isWaiting) ? last.entry.position : undefined;
    for (const reader of readers) reader.give(rows);
  }

  look(): void {
    for (const reader of [...this.readers]) reader.look();
  }

  fail(error: unknown): void {
    for (const reader of [...this.readers]) reader.fail(error);
  }

  /** For good: readers that do not wait hear of it when they come. */
  close(error: unknown): void {
    this.#isClosed = true;
    this.#timer?.unsubscribe();
    this.fail(error);
  }

  #arm(): void {
    const now = asyncScheduler.now();
    this.#timer = asyncScheduler.schedule(
      () => {
        // A write has renewed the lease.
        const endsAtMs = this.#writtenAtMs + this.#ttlMs + AFTER_END_MS;
        if (this.#ttlMs > 0 && endsAtMs > asyncScheduler.now()) {
          this.#dueAtMs = endsAtMs;
          this.#arm();
          return;
        }
        this.#dueAtMs = Number.POSITIVE_INFINITY;
        this.look();
      },
      Math.max(0, this.#dueAtMs - now),
    );
  }
}

/**
 * Waits for the entries of any number of streams over one connection, whose XREAD blocks. A stream is read from where its readers are, so that
 * nothing is missed however late that is. Nothing is kept for a reader that is slow: it looks for itself when it comes.
 */
export class Lane {
  readonly #commands: Commands;
  readonly #keys: LaneKeys;
  readonly #maxWaitMs: number;
  readonly #watches = new Map<string, { readonly watch: Watch; readonly keys: StreamKeys }>();
  #connection: Redis | undefined;
  #running: Promise<void> | undefined;
  #reportStart: (() => void) | undefined;
  #started: Promise<void> | undefined;
  #isBlocked = false;
  #isWoken = false;
  /** How often the store has woken its XREAD, and how often that was heard. */
  #wakes = 0;
  #heard = 0;
  /** The last of the lane's news that was read; undefined before the first look. */
  #newsAt: string | undefined;
  #entryBytes = 1_024;
  #lastError: unknown;

  constructor(commands: Commands, keys: LaneKeys, maxWaitMs: number) {
    this.#commands = commands;
    this.#keys = keys;
    this.#maxWaitMs = maxWaitMs;
  }

  /** Opens the connection. Resolves when it is there, or was tried. */
  async open(): Promise<void> {
    if (this.#commands.isClosed) throw closedError();
    this.#started ??= new Promise((resolve) => {
      this.#reportStart = resolve;
    });
    this.#running ??= this.#run();
    await this.#started;
  }

  /** Begins to watch a stream. */
  enter(keys: StreamKeys): { readonly watch: Watch; readonly reader: Reader } {
    const known = this.#watches.get(keys.name);
    if (known !== undefined) return { watch: known.watch, reader: known.watch.enter() };
    const watch = new Watch({
      added: () => {
        this.#wake();
      },
      abandoned: () => {
        this.#watches.delete(keys.name);
      },
    });
    this.#watches.set(keys.name, { watch, keys });
    return { watch, reader: watch.enter() };
  }

  /** What a look has found to be the last of the lane's news. */
  noteNews(position: string): void {
    if (this.#newsAt === undefined || isBefore(position, this.#newsAt)) this.#newsAt = position;
  }

  /** Closes the connection; readers are told. */
  async close(): Promise<void> {
    const closed = this.#disconnect();
    for (const { watch } of [...this.#watches.values()]) watch.close(closedError());
    await closed;
    await this.#running;
  }

  async #disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) await closeClient(connection);
  }

  async #run(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    let failingSinceMs: number | undefined;
    while (!this.#commands.isClosed) {
      try {
        const { connection, prefix } = await this.#open();
        // Redis may be another one, or one that has forgotten: each reader looks whether it is where it was.
        if (failingSinceMs !== undefined) this.#lookAll();
        this.#reportStart?.();
        for (;;) {
          await this.#round(connection, prefix);
          pauseMs = FIRST_PAUSE_MS;
          failingSinceMs = undefined;
        }
      } catch (error) {
        const cause = error instanceof Error && error.name === 'ReplyError' ? error : (this.#lastError ?? error);
        this.#isBlocked = false;
        await this.#disconnect();
        this.#reportStart?.();
        if (this.#commands.isClosed) break;
        const now = asyncScheduler.now();
        failingSinceMs ??= now;
        if (isPassing(error, undefined) && now - failingSinceMs < this.#maxWaitMs) {
          // Readers find out by themselves whether Redis answers, and fail when it does not for too long.
          this.#lookAll();
        } else {
          const failure = this.#commands.failure('Redis could not be waited for', cause);
          for (const { watch } of [...this.#watches.values()]) watch.fail(failure);
        }
        await this.#commands.pause(pauseMs);
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
      }
    }
  }

  async #open(): Promise<{ readonly connection: Redis; readonly prefix: string }> {
    const client = await this.#commands.client();
    const server = isCluster(client)
      ? await this.#commands.try('find a server', () => masterOf(client, this.#keys.news))
      : client;
    if (this.#commands.isClosed) throw closedError();
    const connection = blockingClient(server);
    this.#connection = connection;
    this.#lastError = undefined;
    connection.on('error', (error) => {
      this.#lastError = error;
    });
    await this.#inTime(connection, connection.connect(), LATE_MS);
    return { connection, prefix: prefixOf(client) };
  }

  async #round(connection: Redis, prefix: string): Promise<void> {
    const { news, wake } = this.#keys;
    const keys = [prefix + wake];
    const ids = [`${String(this.#heard)}-1`];
    if (this.#newsAt !== undefined) {
      keys.push(prefix + news);
      ids.push(this.#newsAt);
    }
    const listening = new Map<string, Watch>();
    for (const { watch, keys: own } of this.#watches.values()) {
      if (watch.listensAt === undefined) continue;
      const key = prefix + own.entries;
      listening.set(key, watch);
      keys.push(key);
      ids.push(watch.listensAt === '' ? '0-0' : watch.listensAt);
    }
    const count = Math.max(1, Math.min(MOST_ENTRIES, Math.floor(MOST_BYTES / (this.#entryBytes * keys.length))));
    this.#isBlocked = true;
    this.#isWoken = false;
    const options = ['COUNT', String(count), 'BLOCK', String(BLOCK_MS), 'STREAMS'];
    const reading = connection.call('XREAD', [...options, ...keys, ...ids]);
    // As XREAD gives it, in RESP 2 or the mapping that was asked for; null when nothing came.
    const reply = (await this.#inTime(connection, reading, BLOCK_MS + LATE_MS)) as readonly RawStream[] | null;
    this.#isBlocked = false;
    if (reply === null) return;
    let entries = 0;
    let chars = 0;
    for (const [key, raw] of reply) {
      const rows = raw.map(toRow);
      const last = raw.at(-1)?.[0];
      if (last === undefined) continue;
      if (key === prefix + wake) {
        this.#heard = Math.max(this.#heard, seqOf(last));
      } else if (key === prefix + news) {
        this.#newsAt = last;
        for (const name of new Set(raw.map(([, [, text = '']]) => text))) this.#watches.get(name)?.watch.look();
      } else {
        for (const { entry } of rows) chars += entry.data.length;
        entries += rows.length;
        listening.get(key)?.give(rows);
      }
    }
    if (entries > 0) {
      const size = chars / entries;
      this.#entryBytes = Math.max(64, this.#entryBytes * 0.9 + size * 0.1, size / 2);
    }
    const restMs = Math.min(LONGEST_REST_MS, Math.floor(keys.length * REST_MS_PER_KEY));
    if (restMs > 0) await this.#commands.pause(restMs);
  }

  /** A connection whose answer is late is given up, so that what was asked fails. */
  async #inTime<T>(connection: Redis, asked: Promise<T>, ms: number): Promise<T> {
    const timer = asyncScheduler.schedule(() => {
      this.#lastError = new Error(`There was no answer for ${String(ms)} ms`);
      // Whoever asked hears of it.
      void closeClient(connection);
    }, ms);
    try {
      return await asked;
    } finally {
      timer.unsubscribe();
    }
  }

  /** Lets the XREAD that blocks begin anew, with what was added. */
  #wake(): void {
    if (!this.#isBlocked || this.#isWoken) return;
    this.#isWoken = true;
    this.#wakes += 1;
    const id = `${String(this.#wakes)}-1`;
    // Where Redis is not there to hear it, nothing blocks; and nothing blocks for longer than BLOCK_MS.
    this.#commands.tell(WAKE, [this.#keys.wake], [id]);
  }

  #lookAll(): void {
    for (const { watch } of [...this.#watches.values()]) watch.look();
  }
}

type RawStream = readonly [key: string, rows: readonly RawRow[]];

/** Compares ids of Redis' own making: milliseconds and a number. */
function isBefore(one: string, other: string): boolean {
  const [ms = 0, number = 0] = one.split('-').map(Number);
  const [otherMs = 0, otherNumber = 0] = other.split('-').map(Number);
  return ms < otherMs || (ms === otherMs && number < otherNumber);
}
