import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import { StoreError } from '../errors.js';
import { PRESENCE_LEASES, type ReaderMark } from '../internal/presence.js';
import type { StoredEntry, StoredPage, WriteReply } from '../protocol/streamStore.js';

/** Bumped when the tables change; a file of another version is refused. */
export const SCHEMA_VERSION = 1;

/**
 * An entry's key is its stream's number and its own in one integer, so that a stream's entries lie side by side. Only SQL handles that
 * integer: it is larger than what a JavaScript number holds.
 */
export const SCHEMA = `
  CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    id TEXT UNIQUE,
    token INTEGER NOT NULL,
    writer TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    first_entry INTEGER NOT NULL,
    last_entry INTEGER NOT NULL CHECK (last_entry < 4294967296),
    cut_after TEXT NOT NULL,
    note,
    is_stop_asked INTEGER NOT NULL,
    is_closed INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL,
    is_watched INTEGER NOT NULL,
    change INTEGER NOT NULL
  );
  CREATE INDEX streams_by_change ON streams (change);
  CREATE TABLE entries (key INTEGER PRIMARY KEY, writer TEXT NOT NULL, data NOT NULL);
  CREATE TABLE readers (stream INTEGER, reader TEXT, until INTEGER NOT NULL, PRIMARY KEY (stream, reader)) WITHOUT ROWID;
  CREATE TRIGGER forget_readers AFTER DELETE ON streams BEGIN DELETE FROM readers WHERE stream = OLD.number; END;
`;

/** A page ends after the entry that fills one of these. */
const MAX_PAGE_ENTRIES = 256;
const MAX_PAGE_CHARS = 1_048_576;
/** So many streams are looked at when one is taken, whether their time is over. All have been after a sixteenth as many new ones. */
const SWEPT_STREAMS = 16;
/** So many entries that are over are deleted by one write at most, so that it stays short. */
const SWEPT_ENTRIES = 256;
/** For streams that never expire: the largest time that a `Date` holds. */
const NEVER = 8.64e15;

/** Text as SQLite keeps it: the binding ends a string at its first NUL, but not bytes. */
type Kept = string | Uint8Array;

interface StreamRow {
  readonly number: number;
  readonly writer: string;
  readonly token: number;
  readonly lease_until: number;
  readonly expires: number;
  /** The number of the first entry that is kept, counted from 1. */
  readonly first_entry: number;
  readonly last_entry: number;
  /** The position of the entry before the first one that is kept. */
  readonly cut_after: string;
  readonly note: Kept | null;
  readonly is_stop_asked: number;
  readonly is_closed: number;
  /** How long its writer may be silent. */
  readonly lease_ms: number;
  readonly is_watched: number;
}

/** How streams are kept. */
export interface StreamLimits {
  readonly expireMs: number;
  readonly maxEntries: number;
}

/** A lease as its holder knows it. */
export interface HeldLease {
  readonly id: string;
  /** In the positions of all that it writes; another for each lease, so that a position names one entry for ever. */
  readonly writer: string;
  readonly ttlMs: number;
  /** The number of the last entry, as this writer left it. */
  readonly lastEntry: number;
}

/** A lease that was just taken. */
export interface TakenLease {
  readonly held: HeldLease;
  readonly last: StoredEntry | undefined;
  readonly note: string | undefined;
}

/** What a writer adds, and changes. */
export interface Writing {
  readonly data: readonly string[];
  readonly note?: string | undefined;
  readonly isLast?: boolean;
}

/** What a writer hears, and how it left the stream. */
export interface Written {
  readonly reply: WriteReply;
  readonly lastEntry: number;
}

/** A page, and until when its state holds if nobody writes. */
export interface PageView extends StoredPage {
  /** There is more behind this page already. */
  readonly hasMore: boolean;
  readonly untilMs: number;
  /** The writer wants to know of readers. */
  readonly isWatched: boolean;
}

const MISSING: PageView = {
  entries: [],
  state: 'missing',
  hasMore: false,
  untilMs: Number.POSITIVE_INFINITY,
  isWatched: false,
};
const GONE: PageView = { ...MISSING, state: 'trimmed' };

/** What the tables can be asked and told, each within a transaction of the caller's. Synchronous, so each does a bounded piece of work. */
export class StreamTables {
  readonly #limits: StreamLimits;
  readonly #find: StatementSyncInstance;
  readonly #create: StatementSyncInstance;
  readonly #take: StatementSyncInstance;
  readonly #write: StatementSyncInstance;
  readonly #askToStop: StatementSyncInstance;
  readonly #retire: StatementSyncInstance;
  readonly #insert: StatementSyncInstance;
  readonly #entry: StatementSyncInstance;
  readonly #entries: StatementSyncInstance;
  readonly #deleteEntries: StatementSyncInstance;
  readonly #lastChange: StatementSyncInstance;
  readonly #changedIds: StatementSyncInstance;
  readonly #sweepable: StatementSyncInstance;
  readonly #isRetired: StatementSyncInstance;
  readonly #deleteSome: StatementSyncInstance;
  readonly #deleteStream: StatementSyncInstance;
  readonly #noteReader: StatementSyncInstance;
  readonly #forgetReaders: StatementSyncInstance;
  readonly #readUntil: StatementSyncInstance;
  /** Streams that are over, whose entries are still to be deleted. */
  readonly #retired = new Set<number>();
  #sweptUpTo = 0;
  /** Whose streams were found as they had left them, in this transaction. */
  readonly #found = new Set<string>();

  constructor(database: DatabaseSyncInstance, limits: StreamLimits) {
    const prepare = (sql: string): StatementSyncInstance => database.prepare(sql);
    const key = '((?1 << 32) | ?2)';
    const nextChange = '(SELECT max(change) FROM streams) + 1';
    this.#limits = limits;
    this.#find = prepare('SELECT * FROM streams WHERE id = ?');
    this.#create = prepare(`
      INSERT INTO streams (id, token, writer, lease_until, expires, first_entry, last_entry, cut_after, is_stop_asked, is_closed,
        lease_ms, is_watched, change)
      VALUES (?, 1, ?, ?, ?, 1, 0, '', 0, 0, ?, ?, ifnull(${nextChange}, 1))`);
    this.#take = prepare(`
      UPDATE streams SET token = token + 1, writer = ?2, lease_until = ?3, expires = ?4, lease_ms = ?5, is_watched = ?6,
        change = ${nextChange}
      WHERE number = ?1`);
    this.#write = prepare(`
      UPDATE streams SET writer = ?2, lease_until = ?3, expires = ?4, first_entry = ?5, last_entry = ?6, cut_after = ?7, note = ?8,
        is_closed = ?9, change = iif(?10, ${nextChange}, change)
      WHERE number = ?1`);
    this.#askToStop = prepare('UPDATE streams SET is_stop_asked = 1 WHERE number = ?');
    this.#retire = prepare("UPDATE streams SET id = NULL, writer = '', expires = 0 WHERE number = ?");
    this.#insert = prepare(`INSERT INTO entries (key, writer, data) VALUES (${key}, ?3, ?4)`);
    this.#entry = prepare(`SELECT writer, data FROM entries WHERE key = ${key}`);
    this.#entries = prepare(`
      SELECT key & 4294967295, writer, data FROM entries WHERE key > ${key} AND key <= ((?1 << 32) | ?3) ORDER BY key LIMIT ?4`);
    this.#entries.setReturnArrays(true);
    this.#deleteEntries = prepare(`DELETE FROM entries WHERE key >= ${key} AND key <= ((?1 << 32) | ?3)`);
    this.#lastChange = prepare('SELECT ifnull(max(change), 0) AS change FROM streams');
    this.#changedIds = prepare('SELECT id FROM streams WHERE change > ? AND id IS NOT NULL');
    this.#sweepable = prepare('SELECT number, id, expires FROM streams WHERE number > ? ORDER BY number LIMIT ?');
    this.#isRetired = prepare('SELECT 1 FROM streams WHERE number = ? AND id IS NULL');
    this.#deleteSome = prepare(`
      DELETE FROM entries WHERE key IN
        (SELECT key FROM entries WHERE key >= (?1 << 32) AND key <= ((?1 << 32) | 4294967295) LIMIT ?2)`);
    // What changed last stays, so that the count of changes, by which readers are woken, never goes back.
    this.#deleteStream = prepare('DELETE FROM streams WHERE number = ? AND change < (SELECT max(change) FROM streams)');
    this.#noteReader = prepare('INSERT OR REPLACE INTO readers (stream, reader, until) VALUES (?, ?, ?)');
    this.#forgetReaders = prepare('DELETE FROM readers WHERE stream = ? AND until <= ?');
    this.#readUntil = prepare('SELECT max(until) AS until FROM readers WHERE stream = ?');
  }

  /** Before the first work of a transaction. */
  begin(): void {
    this.#found.clear();
  }

  lease(id: string, given: number, watchesReaders: boolean): TakenLease | 'taken' | 'closed' {
    const now = Date.now();
    const ttlMs = Math.ceil(given);
    const isWatched = Number(watchesReaders);
    this.#lookForExpired(now);
    const row = this.#living(id, now);
    if (row?.is_closed === 1) return 'closed';
    if (row !== undefined && row.lease_until > now) return 'taken';
    const writer = newWriter();
    const leaseUntil = now + ttlMs;
    const expires = this.#expiryFrom(leaseUntil);
    if (row === undefined) {
      // One of the same name may still be here, though its time is over.
      const over = this.#row(id);
      if (over !== undefined) this.#retireStream(over.number);
      this.#create.run(id, writer, leaseUntil, expires, ttlMs, isWatched);
    } else {
      // What was known of readers while nobody watched them.
      if (row.is_watched !== isWatched) this.#forgetReaders.run(row.number, NEVER);
      this.#take.run(row.number, writer, leaseUntil, expires, ttlMs, isWatched);
    }
    return {
      held: { id, writer, ttlMs, lastEntry: row?.last_entry ?? 0 },
      last: row === undefined ? undefined : this.#lastOf(row),
      note: row === undefined || row.note === null ? undefined : textOf(row.note),
    };
  }

  write(held: HeldLease, { data, note, isLast = false }: Writing): Written {
    const now = Date.now();
    const row = this.#heldRow(held, now);
    const { number } = row;
    let lastEntry = row.last_entry;
    for (const text of data) this.#insert.run(number, (lastEntry += 1), held.writer, keptOf(text));
    const { first, cutAfter } = this.#trim(row, lastEntry, data.length);
    const leaseUntil = isLast ? 0 : now + held.ttlMs;
    // Who renews in time changes nothing that a reader could hear of.
    const isNews = data.length > 0 || row.lease_until <= now;
    this.#write.run(
      number,
      isLast ? '' : held.writer,
      leaseUntil,
      this.#expiryFrom(isLast ? now : leaseUntil),
      first,
      lastEntry,
      cutAfter,
      note === undefined ? row.note : keptOf(note),
      Number(isLast),
      Number(isNews),
    );
    const position = data.length > 0 ? positionOf(lastEntry, held.writer) : this.#positionAt(row, lastEntry);
    const heard = { position, isStopAsked: row.is_stop_asked === 1 };
    if (row.is_watched === 0) return { reply: heard, lastEntry };
    if (isLast) this.#forgetReaders.run(number, NEVER);
    const { until } = this.#readUntil.get(number) as { readonly until: number | null }; // the column that it selects
    return { reply: until === null || until > now ? heard : { ...heard, unreadMs: now - until }, lastEntry };
  }

  /** Notes who reads streams, and who does no more. */
  attend(marks: readonly ReaderMark[], presenceMs: number): void {
    const now = Date.now();
    for (const { stream, reader, isReading } of marks) {
      const row = this.#living(stream, now);
      if (row === undefined || !isWatched(row)) continue;
      const restMs = isReading ? Math.ceil(Math.max(presenceMs, PRESENCE_LEASES * row.lease_ms)) : 0;
      this.#noteReader.run(row.number, reader, now + restMs);
      // Who was gone before says nothing beside one who is here, and leaves later.
      if (isReading) this.#forgetReaders.run(row.number, now);
    }
  }

  release(held: HeldLease): void {
    const now = Date.now();
    const row = this.#living(held.id, now);
    if (row?.writer !== held.writer) return;
    const { number, first_entry, last_entry, cut_after, note } = row;
    this.#write.run(number, '', 0, this.#expiryFrom(now), first_entry, last_entry, cut_after, note, 0, 1);
  }

  stop(id: string): 'asked' | 'closed' | 'missing' {
    const row = this.#living(id, Date.now());
    if (row === undefined) return 'missing';
    if (row.is_closed === 1) return 'closed';
    if (row.is_stop_asked === 0) this.#askToStop.run(row.number);
    return 'asked';
  }

  read(id: string, after: string): PageView {
    const now = Date.now();
    const row = this.#living(id, now);
    if (row === undefined) return MISSING;
    const from = this.#placeOf(row, after);
    if (from === undefined) return GONE;
    const { entries, lastRead } = this.#entriesAfter(row, from, after);
    // Only a hand from outside takes entries out of the middle.
    if (entries.length === 0 && from < row.last_entry) return GONE;
    const isOpen = row.lease_until > now;
    const watched = { isWatched: isWatched(row) };
    if (lastRead < row.last_entry) return { entries, state: 'open', hasMore: true, untilMs: now, ...watched };
    if (row.is_closed === 1) return { entries, state: 'closed', hasMore: false, untilMs: row.expires, ...watched };
    const untilMs = isOpen ? row.lease_until : row.expires;
    return { entries, state: isOpen ? 'open' : 'orphaned', hasMore: false, untilMs, ...watched };
  }

  /** The number of the last change to any stream; each change has a higher one. */
  lastChange(): number {
    return (this.#lastChange.get() as { readonly change: number }).change; // the column it selects
  }

  /** The streams that changed after that. */
  changedSince(change: number): string[] {
    // The column it selects.
    return (this.#changedIds.all(change) as { readonly id: string }[]).map(({ id }) => id);
  }

  /** Deletes some of what is over, and little enough not to be felt. */
  sweep(): void {
    const [number] = this.#retired;
    if (number === undefined) return;
    // A transaction that was rolled back has brought it back.
    const isRetired = this.#isRetired.get(number) !== undefined;
    if (isRetired && Number(this.#deleteSome.run(number, SWEPT_ENTRIES).changes) === SWEPT_ENTRIES) return;
    if (isRetired) this.#deleteStream.run(number);
    this.#retired.delete(number);
  }

  /** The next few streams of all, in turn: those whose time is over are given to `sweep`. */
  #lookForExpired(now: number): void {
    // The columns that it selects.
    const rows = this.#sweepable.all(this.#sweptUpTo, SWEPT_STREAMS) as (Pick<StreamRow, 'number' | 'expires'> & {
      readonly id: string | null;
    })[];
    for (const { number, id, expires } of rows) {
      if (id === null) this.#retired.add(number);
      else if (expires <= now) this.#retireStream(number);
    }
    this.#sweptUpTo = rows.length < SWEPT_STREAMS ? 0 : (rows.at(-1)?.number ?? 0);
  }

  #retireStream(number: number): void {
    this.#retire.run(number);
    this.#retired.add(number);
  }

  #row(id: string): StreamRow | undefined {
    return this.#find.get(id) as StreamRow | undefined; // the columns of the table
  }

  #living(id: string, now: number): StreamRow | undefined {
    const row = this.#row(id);
    return row === undefined || row.expires <= now ? undefined : row;
  }

  /** The stream as its writer left it. */
  #heldRow(held: HeldLease, now: number): StreamRow {
    const row = this.#row(held.id);
    const name = JSON.stringify(held.id);
    const context = { stream: held.id };
    if (row !== undefined && row.writer !== held.writer) {
      throw new StoreError(
        'lease-lost',
        `The lease of the stream ${name} is over: it was given up, or another writer has taken it`,
        {
          context,
        },
      );
    }
    if (row === undefined || row.expires <= now) {
      throw new StoreError('lost', `The stream ${name} is gone: it was removed or has expired`, { context });
    }
    if (row.last_entry !== held.lastEntry && !this.#found.has(held.writer)) {
      throw new StoreError(
        'lost',
        `The stream ${name} has ${String(row.last_entry)} entries, not the ${String(held.lastEntry)} written`,
        {
          context,
        },
      );
    }
    this.#found.add(held.writer);
    return row;
  }

  #expiryFrom(time: number): number {
    return Math.min(NEVER, time + this.#limits.expireMs);
  }

  /** Deletes what is too much: what was added, and some more where the limit has become lower. */
  #trim(row: StreamRow, lastEntry: number, added: number): { readonly first: number; readonly cutAfter: string } {
    const { number, first_entry, cut_after } = row;
    const wanted = lastEntry - this.#limits.maxEntries + 1;
    const first = Math.min(wanted, first_entry + added + SWEPT_ENTRIES);
    if (first <= first_entry) return { first: first_entry, cutAfter: cut_after };
    const cutAfter = this.#positionAt(row, first - 1);
    this.#deleteEntries.run(number, first_entry, first - 1);
    return { first, cutAfter };
  }

  #lastOf(row: StreamRow): StoredEntry | undefined {
    if (row.last_entry === 0) return undefined;
    const { writer, data } = this.#entryAt(row, row.last_entry);
    return {
      position: positionOf(row.last_entry, writer),
      previous: this.#positionAt(row, row.last_entry - 1),
      data: textOf(data),
    };
  }

  /** The position of an entry that is kept, or of the one before the first; empty before the first of all. */
  #positionAt(row: StreamRow, entry: number): string {
    return entry < row.first_entry ? row.cut_after : positionOf(entry, this.#entryAt(row, entry).writer);
  }

  #entryAt(row: StreamRow, entry: number): { readonly writer: string; readonly data: Kept } {
    const found: unknown = this.#entry.get(row.number, entry);
    if (found === undefined) throw new Error(`entry ${String(entry)} of stream ${String(row.number)} is not there`);
    return found as { readonly writer: string; readonly data: Kept }; // the columns that it selects
  }

  /** The number of the entry that stands at a position; undefined where what comes next after it is gone, or it never was. */
  #placeOf(row: StreamRow, after: string): number | undefined {
    if (after === row.cut_after) return row.first_entry - 1;
    const [, digits = ''] = /^([1-9a-z][0-9a-z]{0,6})-[0-9a-z]{8}$/.exec(after) ?? [];
    const entry = Number.parseInt(digits, 36);
    const isKept = entry >= row.first_entry && entry <= row.last_entry;
    return isKept && this.#positionAt(row, entry) === after ? entry : undefined;
  }

  #entriesAfter(row: StreamRow, from: number, after: string): { entries: StoredEntry[]; lastRead: number } {
    const entries: StoredEntry[] = [];
    let previous = after;
    let lastRead = from;
    let chars = 0;
    if (from === row.last_entry) return { entries, lastRead };
    // The columns that it selects, as arrays, which take half the time.
    const rows = this.#entries.iterate(row.number, from, row.last_entry, MAX_PAGE_ENTRIES) as unknown as Iterable<
      [number, string, Kept]
    >;
    for (const [entry, writer, kept] of rows) {
      if (entry !== lastRead + 1) break;
      const data = textOf(kept);
      const position = positionOf(entry, writer);
      entries.push({ position, previous, data });
      previous = position;
      lastRead = entry;
      chars += data.length;
      if (chars >= MAX_PAGE_CHARS) break;
    }
    return { entries, lastRead };
  }
}

/** Nobody watches the readers of a stream that is over. */
function isWatched({ is_watched, is_closed }: StreamRow): boolean {
  return is_watched === 1 && is_closed === 0;
}

function positionOf(entry: number, writer: string): string {
  return `${entry.toString(36)}-${writer}`;
}

/** 8 of 36 characters: 41 bits. */
function newWriter(): string {
  return Array.from(crypto.getRandomValues(new Uint16Array(8)), (number) => (number % 36).toString(36)).join('');
}

function keptOf(text: string): Kept {
  return text.includes('\0') ? Buffer.from(text) : text;
}

function textOf(kept: Kept): string {
  return typeof kept === 'string' ? kept : Buffer.from(kept.buffer, kept.byteOffset, kept.byteLength).toString();
}
