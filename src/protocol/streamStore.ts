/** What one write has put into a stream. @public */
export interface StoredEntry {
  /** Where it stands: opaque, of the characters `0-9 a-z -` alone, at most 64 of them, so that it may be a `Last-Event-ID`. */
  readonly position: string;
  /** The position of the entry before it; empty for the first one. One that is not what a reader had last means that something was lost. */
  readonly previous: string;
  readonly data: string;
}

/**
 * How a stream stands. `open`: somebody writes it. `orphaned`: it is not closed, and nobody writes it any more: its writer's lease is over.
 * `closed`: nothing comes after its last entry. `missing`: there is no such stream, or no more. `trimmed`: there is, but what comes next after
 * the position that was given is gone, or that position never was.
 * @public
 */
export type StoredState = 'open' | 'orphaned' | 'closed' | 'missing' | 'trimmed';

/** A part of a stored stream, in order, and how the stream stood after it. @public */
export interface StoredPage {
  readonly entries: readonly StoredEntry[];
  /** `closed` only on the page with the last entry, or after it. */
  readonly state: StoredState;
}

/** What a writer hears when it writes. @public */
export interface WriteReply {
  /** The position of the last entry that was written; that of the last one there where nothing was. */
  readonly position: string;
  /** Somebody wants the stream to be stopped. */
  readonly isStopAsked: boolean;
  /**
   * Milliseconds by the store's clock since the last reader left. Not there while the stream is read, where nobody has read it yet, and where the
   * lease does not watch its readers.
   */
  readonly unreadMs?: number | undefined;
}

/**
 * The right to write one stream. Each lease of a stream has a higher token than the one before, and the store compares it in the same step as it
 * writes: a writer that was asleep can write nothing into a stream that moved on. Every method rejects with StoreError `lease-lost` then, and
 * with StoreError `lost` where the stream is not as this writer left it.
 * @public
 */
export interface StreamLease {
  /** The last entry of writers before; undefined where there is none. */
  readonly last: StoredEntry | undefined;
  /** What the writer before has noted for whoever takes over, such as the id of its work. */
  readonly note: string | undefined;
  /** Adds entries, all or none, and renews the lease. */
  append(data: readonly string[]): Promise<WriteReply>;
  /** Renews the lease; with a note, keeps that in place of the one before. */
  renew(note?: string): Promise<WriteReply>;
  /** Adds a last entry, and closes the stream: readers come to their end. */
  close(data: string): Promise<void>;
  /** Lets somebody else take over at once. Does nothing where the stream is another's already. */
  release(): Promise<void>;
}

/** How a stream is taken. @public */
export interface LeaseOptions {
  /** How long the writer may be silent: milliseconds by the store's clock after the last write or renewal; at least 1. */
  readonly ttlMs: number;
  /**
   * Replies tell how long nobody has read the stream: `unreadMs`. Who follows it with `tail` is a reader, on whatever machine, and however slow;
   * who asks with `read` alone is none. What is known of readers goes from one writer that watches them to the next.
   * @defaultValue false: readers cost nothing then
   */
  readonly watchesReaders?: boolean | undefined;
}

/**
 * Where streams outlive the process that makes them: appended to by one writer at a time, read from any position by any number of readers
 * while they grow, on any machine that the store can be reached from. `millrace/sqlite` and `millrace/redis` have one each.
 *
 * Every method rejects with StoreError `unavailable` where the store cannot be reached, and with TypeError for an id that is empty, longer than
 * 256 characters, or holds a control character or half a surrogate pair; so do a lease's for data or a note with such a half, which UTF-8 cannot say.
 * @public
 */
export interface StreamStore {
  /**
   * Takes a stream for writing, and makes it where it is not there. `'taken'`: somebody else writes it. `'closed'`: it is over.
   */
  lease(id: string, options: LeaseOptions): Promise<StreamLease | 'taken' | 'closed'>;
  /**
   * What is there after a position (after none, or `''`: from the beginning), at most so much as fits a message of the store.
   * The state is that after the page's last entry: a page of a closed stream that is not the last one says `open`.
   */
  read(id: string, after?: string): Promise<StoredPage>;
  /**
   * What is there after a position (after none, or `''`: from the beginning), and then what comes, as it comes; nothing twice, nothing missed. Gives a
   * page without entries once when the stream is orphaned; goes on when it is leased again, of which a page tells that is `open` and has no entries.
   * Such a page is missing where the next writer's first entries came before it could be told, so nobody may count on it.
   * Ends after a page that is `closed`, `missing` or `trimmed`, and when the signal is aborted.
   */
  tail(id: string, after: string | undefined, signal: AbortSignal): AsyncIterable<StoredPage>;
  /** Asks the writer to stop, on whatever machine it is; a stream that is orphaned hears of it when somebody takes it. */
  stop(id: string): Promise<'asked' | 'closed' | 'missing'>;
  /** Lets go of connections and files; tails end with StoreError `unavailable`. */
  close(): Promise<void>;
}
