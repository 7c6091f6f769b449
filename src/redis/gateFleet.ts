import { type Observable, type Subscriber, Subscription } from 'rxjs';
import { keepersBelow, keepPlace, Scope, sendWhenAllAreBack } from '../internal/flow.js';
import type { GateState } from '../internal/gatekeeper.js';
import { draw } from '../internal/operate.js';
import type { Keeper } from '../internal/position.js';
import { type Client, closeClient, isCluster } from './client.js';
import { Commands } from './commands.js';
import { GateEar } from './gateEar.js';
import {
  closedGate,
  type Ending,
  GateKey,
  type GateParts,
  type GateRules,
  type Permit,
  type PublishedNews,
  type Seat,
  tooMany,
} from './gateKey.js';

/** How the gate's client is had. */
export interface GateConnection {
  readonly open: () => Promise<Client>;
  /** It was opened for the gate, and is closed with it. */
  readonly isOwn: boolean;
}

/** So often a stream that is asked again keeps its place before those that came after it, as in `createGate`. */
const MAX_RETURNS = 3;
/** More keys than this, and those that are out of use are looked for. */
const SWEEP_AT = 1_000;
/** How long `close` waits for Redis to hear of it; without, the leases end by themselves. */
const CLOSE_MS = 1_000;

/** What `redisGate` is made of: the keys that this process uses, and its connections. */
export class FleetGate {
  readonly #rules: GateRules;
  readonly #connection: GateConnection;
  readonly #commands: Commands;
  readonly #ear: GateEar;
  readonly #parts: GateParts;
  readonly #keys = new Map<string, GateKey>();
  #sweepAt = SWEEP_AT;
  /** By whoever asks again below, for each key. */
  readonly #seats = new WeakMap<Keeper, Map<string, Seat>>();
  #tickets = 0;
  #closing: Promise<void> | undefined;

  constructor(connection: GateConnection, rules: GateRules, maxWaitMs: number) {
    this.#rules = rules;
    this.#connection = connection;
    this.#commands = new Commands(async () => {
      const client = await connection.open();
      client.on('ready', this.#onReady);
      return client;
    }, maxWaitMs);
    const me = crypto.randomUUID().replaceAll('-', '').slice(0, 16);
    const channel = `${rules.prefix}:to:`;
    this.#ear = new GateEar(this.#commands, channel + me, {
      onNews: (text) => {
        this.#onNews(text);
      },
      onOpen: () => {
        for (const key of [...this.#keys.values()]) key.refresh();
      },
      onFailure: (error) => {
        for (const key of [...this.#keys.values()]) key.failAll(error);
      },
    });
    this.#parts = {
      me,
      rules,
      commands: this.#commands,
      channel,
      queued: 0,
      untold: 0,
      nextTicket: () => (this.#tickets += 1).toString(36),
      listen: () => {
        this.#ear.open();
      },
      check: () => {
        this.#ear.check();
      },
    };
  }

  readonly #onReady = (): void => {
    for (const key of [...this.#keys.values()]) key.reconnected();
  };

  enter<T>(name: string, source: Observable<T>, subscriber: Subscriber<T>): void {
    if (subscriber.closed) return;
    if (this.#closing !== undefined) {
      subscriber.error(closedGate());
      return;
    }
    const key = this.#keyOf(name);
    const place = keepPlace();
    const waiter = key.enter(
      this.#seatAt(name),
      (permit) => {
        subscriber.remove(leaving);
        if (subscriber.closed) {
          key.end(permit);
          key.leave(permit, { what: 'l' });
          return;
        }
        let settle = (): void => undefined;
        place.take(() => {
          settle = run(key, permit, source, subscriber);
        });
        settle();
      },
      (error) => {
        subscriber.error(error);
      },
    );
    if (waiter === undefined) {
      place.giveUp();
      subscriber.error(tooMany(this.#rules.maxWaiting));
      return;
    }
    const leaving = new Subscription(() => {
      key.giveUp(waiter);
      place.giveUp();
    });
    subscriber.add(leaving);
  }

  state(name: string): GateState {
    return (this.#keys.get(name) ?? new GateKey(name, this.#parts)).state;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Whoever is told may come back at once: the gate is closed by then.
    await Promise.resolve();
    const told = Promise.all([...this.#keys.values()].map((key) => key.close()));
    await Promise.race([told, this.#commands.pause(CLOSE_MS)]);
    const opened = this.#commands.close();
    await this.#ear.close();
    // One that could not be opened has said so to whoever waited.
    const client = await opened?.catch(() => undefined);
    client?.off('ready', this.#onReady);
    if (client !== undefined && this.#connection.isOwn && !isCluster(client)) await closeClient(client);
  }

  /** A stream that is asked again keeps the place that it had; a few times, see {@link MAX_RETURNS}. */
  #seatAt(name: string): Seat {
    const [keeper] = keepersBelow();
    if (keeper === undefined) return { number: undefined, returns: 0 };
    const seats = this.#seats.get(keeper) ?? new Map<string, Seat>();
    this.#seats.set(keeper, seats);
    const known = seats.get(name);
    if (keeper.isAskingAgain && known !== undefined && known.returns < MAX_RETURNS) {
      known.returns += 1;
      return known;
    }
    const seat: Seat = { number: undefined, returns: 0 };
    // The first of several calls that are asked again together stands for them all.
    if (keeper.isAskingAgain || known === undefined) seats.set(name, seat);
    return seat;
  }

  #onNews(text: string): void {
    // As the script writes it; nobody else knows the channel.
    const news = JSON.parse(text) as PublishedNews;
    this.#keys.get(news.key)?.onNews(news);
  }

  #keyOf(name: string): GateKey {
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    const key = new GateKey(name, this.#parts);
    this.#keys.set(name, key);
    if (this.#keys.size > this.#sweepAt) {
      for (const [each, { isOutOfUse }] of this.#keys) if (isOutOfUse && each !== name) this.#keys.delete(each);
      this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#keys.size);
    }
    return key;
  }
}

/**
 * Subscribes a stream that has a place.
 * @returns to be called when everything that is subscribed with it has been: a place that is not used yet is given back
 */
function run<T>(key: GateKey, permit: Permit, source: Observable<T>, subscriber: Subscriber<T>): () => void {
  let hasItem = false;
  let isOver = false;
  let isHeldBack = true;
  let ending: Ending = { what: 'l' };
  const end = (how: Ending): void => {
    if (isOver) return;
    isOver = true;
    ending = how;
    key.end(permit);
  };
  sendWhenAllAreBack(() => {
    isHeldBack = false;
    if (!isOver) key.send(permit);
  });
  const scope = new Scope(false);
  scope.onHead = (headers): void => {
    // The request that creates work may be answered when its reader is gone.
    if (!isOver) key.onHead(permit, headers);
  };
  scope.onEnd = ({ usage, warnings }): void => {
    if (isOver) return;
    if (usage !== undefined) key.onUsage(usage);
    for (const warning of warnings) key.onWarning(permit, warning);
  };
  draw<T>(source, subscriber, scope, () => ({
    next: (item) => {
      if (!hasItem) {
        hasItem = true;
        key.onFirstItem(permit);
      }
      subscriber.next(item);
    },
    error: (error) => {
      end(key.endingOf(error, permit));
      subscriber.error(error);
    },
    complete: () => {
      end({ what: 's' });
      subscriber.complete();
    },
    // After its reader has heard of the end, and its connection is gone.
    left: () => {
      end({ what: 'l' });
      key.leave(permit, ending);
    },
  }));
  return () => {
    // A retry below sends nothing before all its calls are here: those that kept their places would wait for the others for ever.
    if (isHeldBack && !isOver) key.lend(permit);
  };
}
