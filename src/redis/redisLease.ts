import { asyncScheduler } from 'rxjs';
import { StoreError, type StoreErrorReason } from '../errors.js';
import type { StoredEntry, StreamLease, WriteReply } from '../protocol/streamStore.js';
import type { Commands } from './commands.js';
import type { StreamKeys } from './keys.js';
import { requireText } from './requireText.js';
import { seqOf } from './rows.js';
import { RELEASE, RENEW, type Script, WRITE } from './scripts.js';

/** How long a writer whose lease is over is given to ask whether it may go on. */
const LAST_TRY_MS = 1_000;

/** What a lease begins with. */
export interface LeaseStart {
  readonly keys: StreamKeys;
  /** The lane's news. */
  readonly news: string;
  readonly token: string;
  readonly owner: string;
  readonly ttlMs: number;
  /** '0' for never. */
  readonly expireMs: string;
  /** '0' for any number. */
  readonly maxEntries: string;
  readonly last: StoredEntry | undefined;
  readonly note: string | undefined;
  readonly watchesReaders: boolean;
  /** By the scheduler's clock, before the lease was asked for. */
  readonly askedAtMs: number;
}

/** One writer of one stream. What it is asked for is done in turn. */
export class RedisLease implements StreamLease {
  readonly last: StoredEntry | undefined;
  readonly note: string | undefined;
  readonly #commands: Commands;
  readonly #start: LeaseStart;
  /** Where this writer left the stream. */
  #position: string;
  /** Where the stream is besides, if what was written without an answer arrived. */
  #unsure: string;
  #renewedAtMs: number;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(commands: Commands, start: LeaseStart) {
    this.#commands = commands;
    this.#start = start;
    this.last = start.last;
    this.note = start.note;
    this.#position = this.#unsure = start.last?.position ?? '';
    this.#renewedAtMs = start.askedAtMs;
  }

  async append(data: readonly string[]): Promise<WriteReply> {
    for (const [index, text] of data.entries()) requireText(`data[${String(index)}]`, text);
    // A copy: it is written when its turn comes.
    return this.#write([...data], 'append');
  }

  async close(data: string): Promise<void> {
    requireText('data', data);
    await this.#write([data], 'close');
  }

  async renew(note?: string): Promise<WriteReply> {
    if (note !== undefined) requireText('note', note);
    return this.#inTurn(() => this.#ask(RENEW, [this.#unsure, ...(note === undefined ? [] : [note])]));
  }

  async release(): Promise<void> {
    await this.#inTurn(() => this.#run(RELEASE, [this.#start.keys.name]));
  }

  #write(data: readonly string[], how: 'append' | 'close'): Promise<WriteReply> {
    return this.#inTurn(async () => {
      const seq = seqOf(this.#position);
      const { maxEntries, token } = this.#start;
      this.#unsure = data.length === 0 ? this.#position : `${String(seq + data.length)}-${token}`;
      const reply = await this.#ask(WRITE, [maxEntries, how, String(seq + 1), ...data]);
      this.#position = this.#unsure = reply.position;
      return reply;
    });
  }

  /** One after the other, whether the one before failed or not. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined); // whoever asked hears of it
    return turn;
  }

  async #ask(script: Script, args: readonly string[]): Promise<WriteReply> {
    const askedAtMs = asyncScheduler.now();
    const [answer, position, stop, unread] = await this.#run(script, args);
    if (answer !== 'ok') throw this.#refused(answer as StoreErrorReason); // as the scripts say it
    this.#renewedAtMs = askedAtMs;
    const heard = { position: String(position), isStopAsked: Number(stop) === 1 };
    return typeof unread === 'number' || typeof unread === 'string' ? { ...heard, unreadMs: Number(unread) } : heard;
  }

  #run(script: Script, args: readonly string[]): Promise<readonly unknown[]> {
    const { keys, news, token, owner, ttlMs, expireMs, watchesReaders } = this.#start;
    const untilMs = Math.max(this.#renewedAtMs + ttlMs, asyncScheduler.now() + LAST_TRY_MS);
    return this.#commands.run(
      script,
      [keys.entries, keys.lease, news, ...(watchesReaders ? [keys.readers] : [])],
      [token, owner, this.#position, String(ttlMs), expireMs, ...args],
      untilMs,
    );
  }

  #refused(reason: StoreErrorReason): StoreError {
    const { name } = this.#start.keys;
    const why =
      reason === 'lost'
        ? 'what this writer wrote is not there any more'
        : 'it is closed, or another may write it: the lease is over';
    return new StoreError(reason, `The stream ${JSON.stringify(name)} cannot be written: ${why}`, {
      context: { id: name },
    });
  }
}
