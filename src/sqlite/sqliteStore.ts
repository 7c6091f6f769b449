import { requirePath } from '../internal/fileName.js';
import { onAbort } from '../internal/onAbort.js';
import { Presence, PRESENCE_MS, type ReaderMark } from '../internal/presence.js';
import { requireAtLeast, requireDelay, requireInteger, requireOneOf } from '../internal/require.js';
import { requireStoredText, requireStreamId } from '../internal/streamId.js';
import type {
  LeaseOptions,
  StoredEntry,
  StoredPage,
  StreamLease,
  StreamStore,
  WriteReply,
} from '../protocol/streamStore.js';
import { closedError, StoreFile, type StoreFileSettings } from './storeFile.js';
import type { HeldLease, StreamTables, TakenLease, Writing } from './streamTables.js';
import { tailStream } from './tailStream.js';
import { turnOfOthers } from './waiting.js';
import { Wakes } from './wakes.js';
import { WriteQueue } from './writeQueue.js';

/** How streams are kept in a file. */
export interface SQLiteStoreOptions {
  /**
   * Milliseconds after which a stream is gone that is closed, or that nobody has written since its lease ended. Infinity keeps all
   * of them for ever. The file does not shrink: what is gone makes room for what comes.
   * @defaultValue 86,400,000: a day (chosen)
   */
  readonly expireMs?: number | undefined;
  /**
   * So many entries of a stream are kept; older ones go when more come, and readers who lack them get `trimmed`. Infinity keeps all.
   * @defaultValue 250,000 (chosen: more than an hour at sixty a second)
   */
  readonly maxEntries?: number | undefined;
  /**
   * `'full'`: an append that has resolved is on the disk, and stays there when the machine loses power. `'normal'`: it survives the end of
   * every process, but what was written in the last moments before a loss of power may be gone; what is left is whole, and a reader
   * who had more is told `trimmed`. Faster by the time that the disk takes for an fsync.
   * @defaultValue `'full'`
   */
  readonly synchronous?: 'full' | 'normal' | undefined;
  /**
   * Milliseconds for which a call waits while other processes have the file locked, before it fails with StoreError `unavailable`.
   * @defaultValue 5,000 (chosen)
   */
  readonly busyMs?: number | undefined;
  /**
   * Milliseconds after which a waiting reader looks for what other processes wrote, where the system did not tell of it. On a local
   * disk it tells of it at once, and this is the net beneath. At least 1.
   * @defaultValue 250 (chosen: four looks a second, of some microseconds each, for all readers together)
   */
  readonly pollMs?: number | undefined;
  /**
   * Milliseconds for which this process counts as a reader of streams whose writers want to know, after it has last said so; at least 1. It
   * says so three times in that time. So a process that was killed has left so long after, at most; or two leases of the writer, where that is longer.
   * @defaultValue 30,000 (chosen: a process that is busy for a while is still there)
   */
  readonly presenceMs?: number | undefined;
}

/**
 * Streams in one file, which outlive their process: for one machine, with any number of processes and no server.
 *
 * Needs the package `@photostructure/sqlite`. Opens nothing before the first call. Each process makes a store of its own for the same
 * file, once; its readers share one connection, one watcher and one timer. The writes of one turn of the event loop share one transaction.
 * Give it a file of its own, on a local disk: SQLite's write-ahead log does not work on network file systems.
 *
 * SQLite is called in the thread of the caller, so its time is taken from the event loop: for an append with `'full'` the time of an
 * fsync, for a read that of one page, which is at most 256 entries or, but for its last entry, 1 Mi characters. One process writes at a time:
 * one that is paused (SIGSTOP) in the middle of a write keeps the others from writing until it goes on or is killed, and they fail with
 * `unavailable` after `busyMs`. Readers are never kept waiting.
 *
 * Leases and expiry go by the machine's clock; setting it forward ends leases early.
 *
 * @example
 * ```ts
 * import { sqliteStore } from 'millrace/sqlite';
 *
 * const store = sqliteStore('streams.db');
 * fromCall(api.chat({ model, messages })).pipe(toStore(store, 'answer-1')).subscribe(log);
 * fromStore(store, 'answer-1').pipe(toTokens()).subscribe(log);
 * ```
 * @param path - of the file; it is made where there is none, and SQLite keeps two more beside it (`-wal`, `-shm`) while it is open
 * @param options - see {@link SQLiteStoreOptions}
 * @returns a store; its methods reject with StoreError `unavailable` where the package is missing, or the file is damaged, another
 *   program's, locked, or cannot be written. After such a fault the file is opened anew with the next call.
 * @throws TypeError for a path that is none, or `:memory:`; RangeError for a limit out of its range
 * @public
 */
export function sqliteStore(path: string, options: SQLiteStoreOptions = {}): StreamStore {
  const { expireMs = 86_400_000, maxEntries = 250_000, synchronous = 'full', busyMs = 5_000, pollMs = 250 } = options;
  requirePath('path', path);
  if (path === ':memory:')
    throw new TypeError('path must be that of a file: a database in memory is lost with its process');
  requireAtLeast(1, { expireMs, maxEntries });
  if (maxEntries !== Number.POSITIVE_INFINITY) requireInteger(1, { maxEntries });
  requireOneOf('synchronous', synchronous, ['full', 'normal']);
  requireDelay(0, { busyMs });
  const { presenceMs = PRESENCE_MS } = options;
  requireDelay(1, { pollMs, presenceMs });
  return new SQLiteStore({ path, expireMs, maxEntries, synchronous, busyMs }, pollMs, presenceMs);
}

class SQLiteStore implements StreamStore {
  readonly #path: string;
  readonly #file: StoreFile;
  readonly #wakes: Wakes;
  readonly #queue: WriteQueue;
  readonly #presence: Presence;
  readonly #presenceMs: number;
  #isClosed = false;

  constructor(settings: StoreFileSettings, pollMs: number, presenceMs: number) {
    this.#path = settings.path;
    this.#wakes = new Wakes(pollMs, (error) => {
      this.#file.failed(error);
    });
    this.#file = new StoreFile(settings, this.#wakes);
    this.#queue = new WriteQueue(this.#file, (ids) => {
      this.#wakes.tell(ids);
    });
    this.#presenceMs = presenceMs;
    this.#presence = new Presence(presenceMs, (marks) => this.#attend(marks));
  }

  async lease(id: string, { ttlMs, watchesReaders = false }: LeaseOptions): Promise<StreamLease | 'taken' | 'closed'> {
    requireStreamId(id);
    requireDelay(1, { ttlMs });
    const taken = await this.#write(id, (tables) => tables.lease(id, ttlMs, watchesReaders));
    return typeof taken === 'string' ? taken : new SQLiteLease(taken, (work) => this.#write(id, work));
  }

  async read(id: string, after = ''): Promise<StoredPage> {
    requireStreamId(id);
    this.#requireOpen();
    // Nothing below waits: who reads page after page would leave no turn to others.
    await turnOfOthers();
    const { entries, state } = await this.#file.run('read', (tables) => tables.read(id, after));
    return { entries, state };
  }

  async *tail(id: string, after: string | undefined, signal: AbortSignal): AsyncGenerator<StoredPage, void> {
    requireStreamId(id);
    this.#requireOpen();
    if (signal.aborted) return;
    const attendee = this.#presence.enter(id);
    const ear = this.#wakes.ear(id, signal);
    const takeBack = onAbort(signal, () => {
      attendee.leave();
    });
    try {
      const end = yield* tailStream(this.#file, id, after ?? '', ear, attendee);
      if (end === 'left' && !signal.aborted) throw closedError(this.#path);
    } finally {
      takeBack();
      ear.leave();
      attendee.leave();
    }
  }

  async stop(id: string): Promise<'asked' | 'closed' | 'missing'> {
    requireStreamId(id);
    return this.#write(id, (tables) => tables.stop(id));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    // It needs nobody who hears whether that was written: they were gone soon anyway.
    for (const marks of this.#presence.close()) this.#attend(marks).catch(() => undefined);
    this.#wakes.close();
    // What was asked for before is still written.
    await this.#queue.idle();
    this.#file.close();
  }

  #attend(marks: readonly ReaderMark[]): Promise<void> {
    return this.#queue.run(undefined, (tables) => {
      tables.attend(marks, this.#presenceMs);
    });
  }

  async #write<T>(id: string, work: (tables: StreamTables) => T): Promise<T> {
    this.#requireOpen();
    return this.#queue.run(id, work);
  }

  #requireOpen(): void {
    if (this.#isClosed) throw closedError(this.#path);
  }
}

class SQLiteLease implements StreamLease {
  readonly last: StoredEntry | undefined;
  readonly note: string | undefined;
  readonly #write: <T>(work: (tables: StreamTables) => T) => Promise<T>;
  #held: HeldLease;
  /** Of the writes that failed: those that were asked for before it was known must not be written behind a gap. */
  #failures = 0;
  #failure: unknown;

  constructor({ held, last, note }: TakenLease, write: <T>(work: (tables: StreamTables) => T) => Promise<T>) {
    this.last = last;
    this.note = note;
    this.#held = held;
    this.#write = write;
  }

  async append(data: readonly string[]): Promise<WriteReply> {
    for (const [index, text] of data.entries()) requireStoredText(`data[${String(index)}]`, text);
    return this.#put({ data: [...data] });
  }

  async renew(note?: string): Promise<WriteReply> {
    if (note !== undefined) requireStoredText('note', note);
    return this.#put({ data: [], note });
  }

  async close(data: string): Promise<void> {
    requireStoredText('data', data);
    await this.#put({ data: [data], isLast: true });
  }

  async release(): Promise<void> {
    await this.#write((tables) => {
      tables.release(this.#held);
    });
  }

  async #put(writing: Writing): Promise<WriteReply> {
    const failures = this.#failures;
    try {
      const { reply, lastEntry } = await this.#write((tables) => {
        if (failures !== this.#failures) throw this.#failure;
        return tables.write(this.#held, writing);
      });
      // Before the next transaction, which is in another turn.
      this.#held = { ...this.#held, lastEntry };
      return reply;
    } catch (error) {
      this.#failures += 1;
      this.#failure = error;
      throw error;
    }
  }
}
