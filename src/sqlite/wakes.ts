import { onWritten } from '../internal/node/dataFile.js';
import { onAbort } from '../internal/onAbort.js';
import { MAX_DELAY_MS } from '../internal/require.js';
import type { Connection } from './connection.js';

/** Each pause between two looks is so much longer than the one before. */
const GROWTH = 2;

/** One reader's, who wants to hear of one stream until it leaves. */
export class Ear {
  readonly #forget: () => void;
  #isAwake = false;
  #hasLeft = false;
  #resolve: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(forget: (ear: Ear) => void) {
    this.#forget = () => {
      forget(this);
    };
  }

  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** Something came since `listen`. */
  get isAwake(): boolean {
    return this.#isAwake;
  }

  /** Forgets what came so far: called before looking, so that what comes while looking is heard. */
  listen(): void {
    this.#isAwake = false;
  }

  /** Resolves when something came since `listen`, at a time, or when it leaves. */
  async wait(untilMs: number): Promise<void> {
    if (this.#isAwake || this.#hasLeft) return;
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
      if (untilMs === Number.POSITIVE_INFINITY) return;
      const delayMs = Math.min(MAX_DELAY_MS, Math.max(1, untilMs - Date.now()));
      this.#timer = setTimeout(() => {
        this.wake();
      }, delayMs);
    });
  }

  wake(): void {
    this.#isAwake = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.();
  }

  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#forget();
    this.wake();
  }
}

/**
 * Wakes readers. What this process writes it tells itself. What others write is seen by SQLite's `data_version`, which costs some
 * microseconds to ask: at once when the file's log is written, which the system tells of; then after 1, 2, 4 ms and so on, since the log is
 * written before the write counts; and at least every `pollMs`, where the system tells nothing.
 */
export class Wakes {
  readonly #pollMs: number;
  readonly #fail: (error: unknown) => void;
  readonly #ears = new Map<string, Set<Ear>>();
  #connection: Connection | undefined;
  #unwatch: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #delayMs = 1;
  /** The system has told of a write since the last change that was found. */
  #isTold = false;
  #version = 0;
  #change = 0;

  /** @param fail - hears of a file that cannot be asked any more */
  constructor(pollMs: number, fail: (error: unknown) => void) {
    this.#pollMs = pollMs;
    this.#fail = fail;
  }

  opened(connection: Connection): void {
    this.#connection = connection;
    if (this.#ears.size > 0) this.#start(connection);
  }

  /** Everybody looks again, and so learns what happened. */
  dropped(): void {
    this.#connection = undefined;
    this.#stop();
    this.tell(this.#ears.keys());
  }

  /** An ear for a stream; it leaves when the signal is aborted. */
  ear(id: string, signal: AbortSignal): Ear {
    const ears = this.#ears.get(id) ?? new Set();
    const takeBack = onAbort(signal, () => {
      ear.leave();
    });
    const ear: Ear = new Ear(() => {
      takeBack();
      ears.delete(ear);
      if (ears.size === 0) this.#ears.delete(id);
      if (this.#ears.size === 0) this.#stop();
    });
    ears.add(ear);
    this.#ears.set(id, ears);
    if (this.#connection !== undefined && this.#timer === undefined) this.#start(this.#connection);
    return ear;
  }

  tell(ids: Iterable<string>): void {
    for (const id of ids) for (const ear of this.#ears.get(id) ?? []) ear.wake();
  }

  /** All leave. */
  close(): void {
    for (const ears of [...this.#ears.values()]) for (const ear of [...ears]) ear.leave();
  }

  #start(connection: Connection): void {
    this.#unwatch = onWritten(connection.logPath, () => {
      this.#soon ??= setImmediate(() => {
        this.#soon = undefined;
        this.#isTold = true;
        this.#delayMs = 1 / GROWTH;
        this.#look();
      });
    });
    this.#delayMs = 1;
    this.#arm();
    // Where these cannot be had now, all are changed at the first look.
    this.#version = -1;
    this.#change = 0;
    try {
      const version = connection.dataVersion();
      this.#change = connection.run('read', (tables) => tables.lastChange());
      this.#version = version;
    } catch (error) {
      this.#fail(error);
    }
  }

  #stop(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearImmediate(this.#soon);
    this.#soon = undefined;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#look();
    }, this.#delayMs);
  }

  #look(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#delayMs = Math.min(GROWTH * this.#delayMs, this.#pollMs);
    this.#arm();
    try {
      const version = connection.dataVersion();
      if (version === this.#version) return;
      const since = this.#change;
      const { ids, change } = connection.run('read', (tables) => ({
        ids: tables.changedSince(since),
        change: tables.lastChange(),
      }));
      this.#version = version;
      this.#change = change;
      // Where the system did not tell of this one, it will not tell of the next.
      if (!this.#isTold) {
        this.#delayMs = 1;
        this.#arm();
      }
      this.#isTold = false;
      this.tell(ids);
    } catch (error) {
      this.#fail(error);
    }
  }
}
