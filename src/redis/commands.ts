import { asyncScheduler } from 'rxjs';
import { StoreError } from '../errors.js';
import type { Client } from './client.js';
import { asError, isPassing, isUnknownScript, secretsOf, shown } from './failure.js';
import type { Script } from './scripts.js';

/** When a command's time is over, its answer may be here already and unread: of a process that was stopped for a while. */
const UNREAD_MS = 100;

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 500;

/** Gives commands to Redis, again where they were lost on the way. So they must be such that may be told twice. */
export class Commands {
  readonly #open: () => Promise<Client>;
  readonly #maxWaitMs: number;
  /** Tells those who wait that the store is closed. */
  readonly #leaving = new Set<() => void>();
  #client: Promise<Client> | undefined;
  #known: Client | undefined;
  #isClosed = false;
  #lastError: unknown;
  /** Settles when the connection is there; undefined while nobody waits for it. */
  #connecting: Promise<void> | undefined;
  #wakeUp: ((error?: unknown) => void) | undefined;

  constructor(open: () => Promise<Client>, maxWaitMs: number) {
    this.#open = open;
    this.#maxWaitMs = maxWaitMs;
  }

  readonly #note = (error: unknown): void => {
    this.#lastError = error;
    // A password that is refused will be the next time, too.
    if (!isPassing(error, this.#known)) this.#wakeUp?.(error);
  };

  readonly #rise = (): void => {
    this.#wakeUp?.();
  };

  /** The client, which may not be connected. */
  async client(): Promise<Client> {
    this.#client ??= this.#open().then((client) => {
      // Also keeps a connection that comes back from being written about on the console.
      client.on('error', this.#note).on('ready', this.#rise).on('end', this.#rise);
      this.#known = client;
      return client;
    });
    const opening = this.#client;
    try {
      return await opening;
    } catch (error) {
      // What was missing may be there the next time.
      if (this.#client === opening) this.#client = undefined;
      throw error;
    }
  }

  /**
   * Runs a script in one round trip.
   * @param untilMs - by the scheduler's clock; how long to try
   */
  async run(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    untilMs: number = asyncScheduler.now() + this.#maxWaitMs,
  ): Promise<readonly unknown[]> {
    const sha = await shaOf(script);
    const count = keys.length;
    // As one array: there may be more than a call can have arguments.
    const all = [...keys, ...args];
    const reply = await this.try(
      script.verb,
      async (client) => {
        try {
          return await client.evalsha(sha, count, all);
        } catch (error) {
          if (!isUnknownScript(error)) throw error;
          return client.eval(script.source, count, all);
        }
      },
      untilMs,
    );
    // Every script returns a table.
    return reply as readonly unknown[];
  }

  /** Does something with the client until it succeeds, or fails for good, or the time is over. */
  async try<T>(
    verb: string,
    work: (client: Client) => Promise<T>,
    untilMs: number = asyncScheduler.now() + this.#maxWaitMs,
  ): Promise<T> {
    const client = this.#known ?? (await this.#within(this.client(), untilMs, verb));
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      if (this.#isClosed) throw closedError();
      try {
        // Not in the client's own queue, from where a command would go out after it was given up.
        if (client.status !== 'ready') await this.#within(this.#connected(client), untilMs, verb);
        return await this.#within(work(client), untilMs, verb);
      } catch (error) {
        if (error instanceof StoreError) throw error;
        if (!isPassing(error, client)) throw this.failure(`Redis could not ${verb}`, error);
        this.#note(error);
      }
      await this.#within(this.pause(pauseMs), untilMs, verb);
    }
  }

  /** Runs a script that need not be heard. Where it was not, nobody is told. */
  tell(script: Script, keys: readonly string[], args: readonly string[]): void {
    const count = keys.length;
    this.#known?.eval(script.source, count, ...keys, ...args).catch(() => undefined);
  }

  /** A StoreError with a cause that gives no secret away. */
  failure(message: string, cause: unknown): StoreError {
    const clean = shown(cause, this.#known === undefined ? [] : secretsOf(this.#known));
    return new StoreError('unavailable', `${message}: ${clean.message}`, { cause: clean });
  }

  /** Resolves after a time, or when the store is closed. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#isClosed) {
        resolve();
        return;
      }
      const end = (): void => {
        this.#leaving.delete(end);
        timer.unsubscribe();
        resolve();
      };
      const timer = asyncScheduler.schedule(end, ms);
      this.#leaving.add(end);
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Rejects what is waited for. Gives the client, where there is one. */
  close(): Promise<Client> | undefined {
    this.#isClosed = true;
    for (const leave of [...this.#leaving]) leave();
    this.#known?.off('error', this.#note).off('ready', this.#rise).off('end', this.#rise);
    return this.#client;
  }

  #connected(client: Client): Promise<void> {
    if (client.status === 'end') return Promise.resolve();
    // A failure is an event, and told by that.
    if (client.status === 'wait') client.connect().catch(() => undefined);
    this.#connecting ??= new Promise((resolve, reject) => {
      this.#wakeUp = (error) => {
        this.#connecting = this.#wakeUp = undefined;
        if (error === undefined) resolve();
        else reject(asError(error));
      };
    });
    return this.#connecting;
  }

  /** What `work` gives, unless that takes too long or the store is closed. */
  #within<T>(work: Promise<T>, untilMs: number, verb: string): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = (): void => {
        this.#leaving.delete(leave);
        timer.unsubscribe();
      };
      const leave = (): void => {
        end();
        reject(closedError());
      };
      const giveUp = (): void => {
        end();
        reject(this.#tooLate(verb));
      };
      const now = asyncScheduler.now();
      let timer = asyncScheduler.schedule(
        () => {
          timer = asyncScheduler.schedule(giveUp, UNREAD_MS);
        },
        Math.max(0, untilMs - now),
      );
      this.#leaving.add(leave);
      // Where the wait was given up, nobody hears of what becomes of the work: it is as if the answer had been lost.
      work.then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          end();
          reject(asError(error));
        },
      );
      if (this.#isClosed) leave();
    });
  }

  #tooLate(verb: string): StoreError {
    const status = this.#known?.status ?? 'not there';
    const cause = this.#lastError ?? new Error(`The connection is ${status}, and there was no answer`);
    return this.failure(`Redis could not be reached in time to ${verb}`, cause);
  }
}

/** What a store that is closed answers to everything. */
export function closedError(): StoreError {
  return new StoreError('unavailable', 'The store is closed');
}

const shas = new Map<Script, Promise<string>>();

function shaOf(script: Script): Promise<string> {
  const known = shas.get(script);
  if (known !== undefined) return known;
  const sha = digest(script.source);
  shas.set(script, sha);
  return sha;
}

async function digest(text: string): Promise<string> {
  // Not a secret's hash: it is how Redis names scripts.
  const bytes = await crypto.subtle.digest('SHA-1', new TextEncoder().encode(text));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
