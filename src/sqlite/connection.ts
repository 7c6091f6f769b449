import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { StoreError } from '../errors.js';
import { absolutePath, fileIdentity } from '../internal/node/dataFile.js';
import { SCHEMA, SCHEMA_VERSION, type StreamLimits, StreamTables } from './streamTables.js';

/** Says in the file's header whose it is: "mill". */
const APPLICATION_ID = 0x6d_69_6c_6c;
/** What the write-ahead log may keep of the disk after it was longer. */
const LOG_BYTES = 64 * 1024 * 1024;

/** How a file is opened. */
export interface ConnectionSettings extends StreamLimits {
  readonly path: string;
  readonly synchronous: 'full' | 'normal';
}

/** The constructor of the binding. */
export type OpenDatabase = new (path: string, options: { readonly timeout: number }) => DatabaseSyncInstance;

/** One open file. Everything that it does is synchronous, and throws what the binding throws. */
export class Connection {
  readonly #database: DatabaseSyncInstance;
  readonly #path: string;
  readonly #identity: string | undefined;
  readonly #tables: StreamTables;
  readonly #begin: Record<'read' | 'write', () => unknown>;
  readonly #commit: () => unknown;
  readonly #dataVersion: () => number;

  constructor(Database: OpenDatabase, settings: ConnectionSettings) {
    // Absolute: the process may change its folder, and to the binding some names are not those of files.
    this.#path = absolutePath(settings.path);
    // It would wait within the call, and everything else in the process with it. Waiting is done outside.
    const database = new Database(this.#path, { timeout: 0 });
    this.#database = database;
    try {
      prepareFile(database, settings);
      this.#identity = fileIdentity(this.#path);
      this.#tables = new StreamTables(database, settings);
      const [read, write, commit] = ['BEGIN', 'BEGIN IMMEDIATE', 'COMMIT'].map((sql) => database.prepare(sql));
      this.#begin = { read: () => read?.run(), write: () => write?.run() };
      this.#commit = () => commit?.run();
      const dataVersion = database.prepare('PRAGMA data_version');
      // The column that it gives.
      this.#dataVersion = () => (dataVersion.get() as { readonly data_version: number }).data_version;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** The file that each write goes through. */
  get logPath(): string {
    return `${this.#path}-wal`;
  }

  /** Does work in one transaction; all of it is undone where it throws. */
  run<T>(kind: 'read' | 'write', work: (tables: StreamTables) => T): T {
    this.#requireFile();
    this.#begin[kind]();
    try {
      const result = work(this.#tables);
      this.#commit();
      return result;
    } catch (error) {
      // Some errors have rolled it back already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** Another number whenever another connection has written. */
  dataVersion(): number {
    this.#requireFile();
    return this.#dataVersion();
  }

  /** Takes what is in the log into the file, as far as no other process is in the way: nothing is lost where it stays there. */
  tidy(): void {
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  /**
   * The binding keeps its statements, and with them the file and its log, until they are garbage or the process ends; what was locked is
   * free at once.
   */
  close(): void {
    this.#database.close();
  }

  /** A file that was removed or replaced takes writes that nobody will ever see. */
  #requireFile(): void {
    const identity = fileIdentity(this.#path);
    if (identity === undefined || identity !== this.#identity)
      throw new Error('it was removed or replaced while it was open');
  }
}

function prepareFile(database: DatabaseSyncInstance, { path, synchronous }: ConnectionSettings): void {
  const pragma = (name: string): unknown => Object.values(database.prepare(`PRAGMA ${name}`).get() as object)[0]; // one column
  const isOurs = (): boolean => {
    const owner = pragma('application_id');
    const version = pragma('user_version');
    if (owner === APPLICATION_ID && version === SCHEMA_VERSION) return true;
    if (owner === APPLICATION_ID) throw foreign(path, `is of version ${String(version)} of the store's format`);
    const { count } = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get() as {
      readonly count: number;
    }; // as named
    if (owner !== 0 || count > 0) throw foreign(path, 'is a database of something else');
    return false;
  };
  // Before anything is written: also the kind of its log is kept in a file.
  const isNew = !isOurs();
  const mode = pragma('journal_mode = WAL');
  if (mode !== 'wal') throw foreign(path, `can have no write-ahead log here, only ${JSON.stringify(mode)}`);
  database.exec(`
    PRAGMA synchronous = ${synchronous};
    PRAGMA fullfsync = ${synchronous === 'full' ? 'on' : 'off'};
    PRAGMA journal_size_limit = ${String(LOG_BYTES)};
  `);
  if (!isNew) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    // Another process may have been faster.
    if (!isOurs()) {
      database.exec(
        `${SCHEMA} PRAGMA application_id = ${String(APPLICATION_ID)}; PRAGMA user_version = ${String(SCHEMA_VERSION)};`,
      );
    }
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function foreign(path: string, because: string): StoreError {
  return new StoreError(
    'unavailable',
    `The file ${JSON.stringify(path)} ${because}; give the store a file of its own`,
    {
      context: { path },
    },
  );
}
