import { isMillraceError, StoreError } from '../errors.js';
import { Connection, type ConnectionSettings, type OpenDatabase } from './connection.js';
import type { StreamTables } from './streamTables.js';
import { pause } from './waiting.js';

const PEER = '@photostructure/sqlite';

/** How a file is used. */
export interface StoreFileSettings extends ConnectionSettings {
  readonly busyMs: number;
}

/** Who hears of a file's connections. */
export interface ConnectionEar {
  opened(connection: Connection): void;
  /** It is closed, by a fault or on purpose. */
  dropped(): void;
}

/** SQLite's primary result codes, which are the low byte of an error's. */
const BUSY = 5;
const READ_ONLY = 8;
const IO_ERROR = 10;
const CORRUPT = 11;
const FULL = 13;
const CAN_NOT_OPEN = 14;
const TOO_BIG = 18;
const NOT_A_DATABASE = 26;

const REASONS: ReadonlyMap<number, string> = new Map([
  [BUSY, 'another process has it locked'],
  [READ_ONLY, 'it is read-only'],
  [IO_ERROR, 'the disk failed'],
  [CORRUPT, 'it is damaged'],
  [FULL, 'the disk is full'],
  [CAN_NOT_OPEN, 'it cannot be opened or made: its folder must exist and be writable'],
  [TOO_BIG, 'a text is too large for it'],
  [NOT_A_DATABASE, 'it is no SQLite database, or damaged'],
]);

/** A file that is opened with the first work, and opened anew after a fault. */
export class StoreFile {
  readonly #settings: StoreFileSettings;
  readonly #ear: ConnectionEar;
  #Database: OpenDatabase | undefined;
  #connection: Connection | undefined;
  #isClosed = false;

  constructor(settings: StoreFileSettings, ear: ConnectionEar) {
    this.#settings = settings;
    this.#ear = ear;
  }

  /**
   * Does work in one transaction, as soon as other processes let it.
   * @param isWanted - asked before each attempt; undefined is the result where it is not
   */
  async run<T>(kind: 'read' | 'write', work: (tables: StreamTables) => T): Promise<T>;
  async run<T>(
    kind: 'read' | 'write',
    work: (tables: StreamTables) => T,
    isWanted: () => boolean,
  ): Promise<T | undefined>;
  async run<T>(
    kind: 'read' | 'write',
    work: (tables: StreamTables) => T,
    isWanted = (): boolean => true,
  ): Promise<T | undefined> {
    const giveUpAt = performance.now() + this.#settings.busyMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, 16)) {
      const Database = (this.#Database ??= await loadPeer());
      if (!isWanted()) return undefined;
      try {
        return this.#connect(Database).run(kind, work);
      } catch (error) {
        if (resultCode(error) !== BUSY || performance.now() >= giveUpAt) throw this.failed(error);
      }
      // Who comes at random times meets the others less often.
      await pause(pauseMs * (0.5 + Math.random()));
    }
  }

  /** What went wrong, for callers. After most faults the file is opened anew the next time. */
  failed(error: unknown): unknown {
    if (isMillraceError(error)) return error;
    const code = resultCode(error);
    if (code !== BUSY && code !== FULL && code !== TOO_BIG) this.#drop();
    const { path } = this.#settings;
    const because = REASONS.get(code ?? -1) ?? (error instanceof Error ? error.message : String(error));
    return new StoreError('unavailable', `The store ${JSON.stringify(path)} cannot be used: ${because}`, {
      context: { path, code: codeName(error) },
      cause: error,
    });
  }

  close(): void {
    this.#isClosed = true;
    try {
      this.#connection?.tidy();
    } catch {
      // The log has it all, and whoever opens the file next reads it.
    }
    this.#drop();
  }

  #connect(Database: OpenDatabase): Connection {
    if (this.#isClosed) throw closedError(this.#settings.path);
    if (this.#connection === undefined) {
      this.#connection = new Connection(Database, this.#settings);
      this.#ear.opened(this.#connection);
    }
    return this.#connection;
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    connection.close();
    this.#ear.dropped();
  }
}

/** What is asked of a store after its end. */
export function closedError(path: string): StoreError {
  return new StoreError('unavailable', `The store ${JSON.stringify(path)} is closed`, { context: { path } });
}

async function loadPeer(): Promise<OpenDatabase> {
  try {
    // eslint-disable-next-line no-restricted-syntax -- an optional peer: where it is missing the first call says what to install
    return (await import('@photostructure/sqlite')).DatabaseSync;
  } catch (error) {
    throw new StoreError('unavailable', `millrace/sqlite needs the package ${PEER}; install it: npm install ${PEER}`, {
      cause: error,
    });
  }
}

/** SQLite's own code of an error of the binding. */
function resultCode(error: unknown): number | undefined {
  const { errcode } = (error ?? {}) as { readonly errcode?: unknown }; // whatever was thrown
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}

function codeName(error: unknown): string | undefined {
  const { sqliteCodeName, code } = (error ?? {}) as { readonly sqliteCodeName?: unknown; readonly code?: unknown }; // as above
  return [sqliteCodeName, code].find((name) => typeof name === 'string');
}
