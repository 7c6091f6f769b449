import { isMillraceError } from '../errors.js';
import type { StoreFile } from './storeFile.js';
import type { StreamTables } from './streamTables.js';
import { turnOfOthers } from './waiting.js';

/** So long may one transaction take from other work in this process, and the lock from other processes; what waits takes the next one. */
const TRANSACTION_MS = 10;

interface Job {
  /** Whose readers are woken. */
  readonly id: string | undefined;
  /** Throws an error of ours before it has written anything. */
  readonly work: (tables: StreamTables) => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Settlement = () => void;

/**
 * Does writes in the order in which they were asked for, those of one turn of the event loop in one transaction: what makes a write slow
 * is that the disk must have it, and it takes many as fast as one.
 */
export class WriteQueue {
  readonly #file: StoreFile;
  readonly #written: (ids: readonly string[]) => void;
  #jobs: Job[] = [];
  #working: Promise<void> | undefined;

  constructor(file: StoreFile, written: (ids: readonly string[]) => void) {
    this.#file = file;
    this.#written = written;
  }

  /**
   * @param id - of the stream whose readers look again then, where there is one
   * @returns what the work gave, once it is written for good.
   */
  run<T>(id: string | undefined, work: (tables: StreamTables) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // The result is the work's own.
      this.#jobs.push({ id, work, resolve: resolve as (result: unknown) => void, reject });
      this.#working ??= this.#work();
    });
  }

  /** Resolves when all that was asked for is done. */
  async idle(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#jobs.length > 0) {
      // What others ask for in this turn comes along.
      await turnOfOthers();
      const settlements = await this.#transaction(this.#jobs);
      this.#jobs = this.#jobs.slice(settlements.length);
      for (const settle of settlements) settle();
    }
    this.#working = undefined;
  }

  /** Does a first part of the jobs, those that come while it waits for other processes included. */
  async #transaction(jobs: readonly Job[]): Promise<readonly Settlement[]> {
    const count = jobs.length;
    try {
      const settlements = await this.#file.run('write', (tables) => doJobs(jobs, tables));
      this.#written(jobs.slice(0, settlements.length).flatMap(({ id }) => id ?? []));
      return settlements;
    } catch (error) {
      // What one of many failed of need not stop the others; a lock stops them all.
      if (count > 1 && !isLocked(error)) return await this.#transaction(jobs.slice(0, 1));
      return jobs.slice(0, count).map(({ reject }) => () => {
        reject(error);
      });
    }
  }
}

function doJobs(jobs: readonly Job[], tables: StreamTables): Settlement[] {
  const endAt = performance.now() + TRANSACTION_MS;
  const settlements: Settlement[] = [];
  tables.begin();
  for (const { work, resolve, reject } of jobs) {
    settlements.push(outcomeOf(work, tables, resolve, reject));
    if (performance.now() >= endAt) break;
  }
  tables.sweep();
  return settlements;
}

function outcomeOf(
  work: Job['work'],
  tables: StreamTables,
  resolve: Job['resolve'],
  reject: Job['reject'],
): Settlement {
  try {
    const result = work(tables);
    return () => {
      resolve(result);
    };
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    return () => {
      reject(error);
    };
  }
}

function isLocked(error: unknown): boolean {
  return isMillraceError(error) && error.context['code'] === 'SQLITE_BUSY';
}
