import { type Observable, type SchedulerLike, type Subscriber, Subscription, throwError } from 'rxjs';
import { LimitError } from '../errors.js';
import { readRateLimits } from '../protocol/rateLimits.js';
import type { WarningEvent } from '../types.js';
import {
  Flow,
  keepersBelow,
  keepPlace,
  leaveAs,
  Scope,
  sendWhenAllAreBack,
  subscribeWithin,
  tearDownWithin,
} from './flow.js';
import { GateBudgets } from './gateBudgets.js';
import { readLoadWarning, readRefusal } from './loadVerdict.js';
import { draw } from './operate.js';
import type { Keeper } from './position.js';
import { Queue } from './queue.js';

/** How a key of a gate stands. @public */
export interface GateState {
  /** Streams that have been let through and have not ended. */
  readonly running: number;
  /** Streams that wait to be let through, or for others with which a retry asks them again. */
  readonly waiting: number;
  /** Milliseconds until the key opens; 0 where it is open. */
  readonly closedForMs: number;
  /** Streams that may run at the same time as the server took it so far; present where the gate adapts. */
  readonly limit?: number;
}

/** What a gate keeps to, its defaults filled in. */
export interface GateLimits {
  readonly concurrency: number;
  readonly perKey: number;
  readonly maxWaiting: number;
  readonly pauseMs: number;
  readonly maxPauseMs: number;
  readonly budgets: 'obey' | 'ignore';
  /** Absent where the limit of a key stays what it is. */
  readonly adapt: { readonly initial: number; readonly min: number } | undefined;
  readonly onChange: ((key: string, state: GateState) => void) | undefined;
  readonly scheduler: SchedulerLike;
}

/** A stream that waits. */
interface Waiting {
  /** Its place among those of its key: the number of its first subscription. */
  readonly ticket: number;
  readonly begin: () => void;
}

/** What is limited together. */
interface Key {
  readonly name: string;
  running: number;
  /** Streams that were let through and may send nothing yet; they take no place. */
  heldBack: number;
  readonly waiting: Queue<Waiting>;
  /** In the scheduler's milliseconds. */
  closedUntil: number;
  /** Without a time of the server's own, in a row. */
  refusals: number;
  /** How often it was refused: a stream that was let through before the last time says nothing new. */
  round: number;
  /** How many may run, where the gate adapts; else endless. */
  limit: number;
  /** Streams that came through well since the limit was last changed, while it was what held others back. */
  successes: number;
  /** When its last stream ended. */
  usedAt: number;
  readonly budgets: GateBudgets;
  /** Set while it is closed and waited for. */
  timer: { readonly at: number; readonly subscription: Subscription } | undefined;
  /** Set while one of its streams could begin: takes it out of those whose turn comes. */
  leaveTurns: (() => void) | undefined;
}

/** Where a stream that is asked again stands. */
interface Ticket {
  number: number;
  /** How often it has come back with this number. */
  returns: number;
}

/**
 * So often a stream that is asked again keeps its place before those that came after it. One that is refused for what it is, and not
 * for the load, would let nobody through otherwise.
 */
const MAX_RETURNS = 3;

/** Each answer of a server that closes the key tells a reset of its own; what differs by less is the same one. */
const SAME_MS = 100;

/** More keys than this, and those whose closure is over are looked for. */
const SWEEP_AT = 1_000;

/** What `createGate` is made of: the keys, those that wait, and whose turn it is. */
export class Gatekeeper {
  readonly #limits: GateLimits;
  readonly #keys: Map<string, Key> = new Map();
  /** Keys of which a stream could begin, by turns. */
  readonly #turns: Queue<Key> = new Queue();
  #running = 0;
  #waiting = 0;
  #isAdmitting = false;
  #sweepAt = SWEEP_AT;
  #lastTicket = 0;
  /** By whoever asks again below. */
  readonly #tickets: WeakMap<Keeper, Ticket> = new WeakMap();
  /** Nobody's: what is left or subscribed in its name is not mistaken for a part of what happens to be on the stack. */
  readonly #nobody: Scope = new Scope(true, new Flow({ isMarker: true }));

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  enter<T>(name: string, source: Observable<T>, subscriber: Subscriber<T>): void {
    if (subscriber.closed) return;
    const key = this.#keyOf(name);
    const ticket = this.#ticket();
    if (this.#hasRoom && this.#turns.size === 0 && key.waiting.size === 0 && this.#lets(key)) {
      this.#occupy(key);
      const isClosed = this.#spend(key);
      this.#run(key, source, subscriber);
      if (isClosed) this.#tell(key);
      return;
    }
    const { maxWaiting } = this.#limits;
    if (this.#waiting >= maxWaiting) {
      this.#update(key);
      const message = `${String(maxWaiting)} streams wait for their turn in the gate already; raise maxWaiting, or start fewer`;
      subscriber.error(new LimitError('maxWaiting', maxWaiting, message));
      return;
    }
    const place = keepPlace();
    const begin = (): void => {
      subscriber.remove(leaving);
      this.#apart(() => {
        place.take(() => {
          this.#run(key, source, subscriber);
        });
      });
    };
    const isNew = ticket === this.#lastTicket;
    const leaveQueue = isNew
      ? key.waiting.add({ ticket, begin })
      : key.waiting.addBefore({ ticket, begin }, (other) => other.ticket > ticket);
    this.#waiting += 1;
    const leaving = new Subscription(() => {
      leaveQueue();
      this.#waiting -= 1;
      this.#update(key);
      place.giveUp();
    });
    subscriber.add(leaving);
    this.#update(key);
    this.#admit();
  }

  state(name: string): GateState {
    const key = this.#keys.get(name) ?? this.#newKey(name);
    return {
      running: key.running,
      waiting: key.waiting.size + key.heldBack,
      closedForMs: Math.max(0, this.#opensAt(key) - this.#now),
      ...(this.#limits.adapt !== undefined && { limit: Math.min(key.limit, this.#ceiling) }),
    };
  }

  get #now(): number {
    return this.#limits.scheduler.now();
  }

  get #hasRoom(): boolean {
    return this.#running < this.#limits.concurrency;
  }

  /** How many of a key may run at most. */
  get #ceiling(): number {
    return Math.min(this.#limits.perKey, this.#limits.concurrency);
  }

  #lets(key: Key): boolean {
    return key.running < Math.min(this.#limits.perKey, key.limit) && this.#opensAt(key) <= this.#now;
  }

  #opensAt({ closedUntil, budgets }: Key): number {
    return Math.max(closedUntil, budgets.opensAt(this.#now));
  }

  /** A stream that is asked again keeps the place that it had; a few times, see {@link MAX_RETURNS}. */
  #ticket(): number {
    const [keeper] = keepersBelow();
    const known = keeper?.isAskingAgain === true ? this.#tickets.get(keeper) : undefined;
    if (known !== undefined && known.returns < MAX_RETURNS) {
      known.returns += 1;
      return known.number;
    }
    this.#lastTicket += 1;
    // The first of several calls that are asked again together stands for them all.
    if (keeper !== undefined && (known !== undefined || !this.#tickets.has(keeper))) {
      this.#tickets.set(keeper, { number: this.#lastTicket, returns: 0 });
    }
    return this.#lastTicket;
  }

  #occupy(key: Key): void {
    key.running += 1;
    this.#running += 1;
  }

  /** Takes a stream off what the server has left. @returns whether that closes the key */
  #spend(key: Key): boolean {
    key.budgets.spend(this.#now);
    return this.#opensAt(key) > this.#now;
  }

  #vacate(key: Key): void {
    key.running -= 1;
    this.#running -= 1;
  }

  /** Subscribes; its place is taken already. */
  #run<T>(key: Key, source: Observable<T>, subscriber: Subscriber<T>): void {
    const { round } = key;
    let hasItem = false;
    let place: 'taken' | 'lent' | 'left' = 'taken';
    /** Its number among those that were sent; 0 before. */
    let number = 0;
    const free = (): void => {
      if (place === 'left') return;
      if (place === 'taken') this.#vacate(key);
      else key.heldBack -= 1;
      place = 'left';
      key.budgets.settle(number);
      key.usedAt = this.#now;
      this.#update(key);
    };
    let isHeldBack = true;
    sendWhenAllAreBack(() => {
      isHeldBack = false;
      if (place === 'left') return;
      number = key.budgets.send(this.#now);
      if (place === 'taken') return;
      place = 'taken';
      key.heldBack -= 1;
      this.#occupy(key);
      this.#update(key);
    });
    if (isHeldBack) {
      // A retry below sends nothing before all its calls are here: those that kept their places would wait for the others for ever.
      place = 'lent';
      key.heldBack += 1;
      this.#vacate(key);
      this.#update(key);
    }
    const scope = new Scope(false);
    scope.onHead = (headers): void => {
      // The request that creates work may be answered when its reader is gone.
      if (place !== 'left') this.#onHead(key, number, headers);
    };
    scope.onEnd = ({ usage, warnings }): void => {
      if (place === 'left') return;
      if (usage !== undefined) key.budgets.learn(usage);
      for (const warning of warnings) this.#onWarning(key, round, warning);
    };
    draw<T>(source, subscriber, scope, () => ({
      next: (item) => {
        if (!hasItem) {
          hasItem = true;
          if (round === key.round) key.refusals = 0;
        }
        subscriber.next(item);
      },
      error: (error) => {
        this.#onError(key, round, number, error);
        free();
        subscriber.error(error);
      },
      complete: () => {
        this.#onSuccess(key, round);
        free();
        subscriber.complete();
      },
      // After its reader has heard of the end, and its connection is gone.
      left: () => {
        free();
        this.#admit();
      },
    }));
  }

  /** What a head tells of the server's budgets; it may close the key, and it may open it. */
  #onHead(key: Key, number: number, headers: Readonly<Record<string, string>>): void {
    if (this.#limits.budgets === 'ignore') return;
    const before = Math.max(this.#now, this.#opensAt(key));
    key.budgets.note(readRateLimits(headers, this.#now), number, this.#now);
    this.#update(key);
    const after = Math.max(this.#now, this.#opensAt(key));
    const isOther = after <= this.#now !== before <= this.#now;
    if (isOther || Math.abs(after - before) >= SAME_MS) this.#tell(key);
    this.#admit();
  }

  #onError(key: Key, round: number, number: number, error: unknown): void {
    const refusal = readRefusal(error, this.#now);
    if (refusal === undefined) return;
    const { budgets, askedMs } = refusal;
    if (this.#limits.budgets === 'obey' && budgets.length > 0) key.budgets.note(budgets, number, this.#now);
    this.#slow(key, round, askedMs, true);
  }

  /** A provider's warning about its load: the stream came through, and the next may not. */
  #onWarning(key: Key, round: number, event: WarningEvent): void {
    const warning = readLoadWarning(event, this.#now);
    if (warning !== undefined) this.#slow(key, round, warning.askedMs, false);
  }

  /**
   * Closes a key, and lets fewer of it run.
   * @param askedMs - what the server asks for, where it does
   * @param isRefusal - adds to the row of refusals, each of which closes it for twice as long as the one before
   */
  #slow(key: Key, round: number, askedMs: number | undefined, isRefusal: boolean): void {
    const { pauseMs, maxPauseMs } = this.#limits;
    const isNew = round === key.round;
    if (isNew) {
      key.round += 1;
      // As long as fewer can be let through, that is the answer, and not a longer pause.
      const isLower = this.#halve(key);
      if (isRefusal && askedMs === undefined && !isLower) key.refusals += 1;
    }
    const inARow = Math.min(Math.max(key.refusals, 1), 52);
    const closedUntil = this.#now + Math.min(askedMs ?? pauseMs * 2 ** (inARow - 1), maxPauseMs);
    const isLonger = closedUntil > key.closedUntil;
    if (isLonger) key.closedUntil = closedUntil;
    this.#update(key);
    if (isLonger || isNew) this.#tell(key);
  }

  /** Half of what ran, since that was too much; what runs goes on. @returns whether it is less than before */
  #halve(key: Key): boolean {
    const { adapt } = this.#limits;
    if (adapt === undefined) return false;
    const { limit } = key;
    key.limit = Math.max(adapt.min, Math.floor(Math.min(limit, key.running) / 2));
    key.successes = 0;
    return key.limit < limit;
  }

  /** One more, once as many as the limit have come through since it was set: so that it grows by one while each place is used once. */
  #onSuccess(key: Key, round: number): void {
    // What was let through before the last refusal does not say that it is over; and a limit that held nobody back proved nothing.
    if (round !== key.round || key.running < key.limit || key.limit >= this.#ceiling) return;
    key.successes += 1;
    if (key.successes < key.limit) return;
    key.successes = 0;
    key.limit += 1;
    this.#tell(key);
  }

  /** The observer's throw is nobody's here: it is reported as RxJS reports what nobody handles. */
  #tell(key: Key): void {
    const { onChange } = this.#limits;
    if (onChange === undefined) return;
    try {
      onChange(key.name, this.state(key.name));
    } catch (error) {
      throwError(() => error).subscribe();
    }
  }

  /** After each change of a key: whether its turn can come, what it waits for, whether it is of use still. */
  #update(key: Key): void {
    const isWanted = key.waiting.size > 0;
    const canBegin = isWanted && this.#lets(key);
    if (!canBegin) {
      key.leaveTurns?.();
      key.leaveTurns = undefined;
    } else key.leaveTurns ??= this.#turns.add(key);
    const opensAt = this.#opensAt(key);
    const at = isWanted && opensAt > this.#now ? opensAt : undefined;
    if (key.timer?.at !== at) {
      key.timer?.subscription.unsubscribe();
      key.timer = at === undefined ? undefined : { at, subscription: this.#whenOpen(key, at) };
    }
    if (this.#isOutOfUse(key)) this.#keys.delete(key.name);
  }

  #whenOpen(key: Key, at: number): Subscription {
    return this.#limits.scheduler.schedule(() => {
      key.timer = undefined;
      // A timer may come a little before its time by another clock.
      key.closedUntil = Math.min(key.closedUntil, this.#now);
      key.budgets.pass(at, this.#now);
      this.#update(key);
      this.#tell(key);
      this.#admit();
    }, at - this.#now);
  }

  /** Lets through what there is room for. */
  #admit(): void {
    // A stream may end before its `subscribe` returns: the loop below goes on with the next.
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    try {
      while (this.#hasRoom) {
        const key = this.#turns.shift();
        const next = key?.waiting.shift();
        if (key === undefined || next === undefined) break;
        key.leaveTurns = undefined;
        this.#waiting -= 1;
        this.#occupy(key);
        const isClosed = this.#spend(key);
        this.#update(key);
        next.begin();
        if (isClosed) this.#tell(key);
      }
    } finally {
      this.#isAdmitting = false;
    }
  }

  /** Begins a stream on the stack of another one's ending, and as no part of it. */
  #apart(begin: () => void): void {
    leaveAs('stop', 'unsubscribe', () => {
      tearDownWithin(this.#nobody, () => {
        subscribeWithin(this.#nobody, begin);
      });
    });
  }

  #keyOf(name: string): Key {
    const known = this.#keys.get(name);
    if (known !== undefined && !this.#isOutOfUse(known)) return known;
    const key = this.#newKey(name);
    this.#keys.set(name, key);
    if (this.#keys.size > this.#sweepAt) this.#sweep();
    return key;
  }

  #isOutOfUse(key: Key): boolean {
    if (key.running > 0 || key.heldBack > 0 || key.waiting.size > 0) return false;
    const { maxPauseMs, adapt } = this.#limits;
    // Its row of refusals goes on when it is asked again soon, and so does a limit that was lowered.
    const afterClosure = key.closedUntil + (key.refusals > 0 ? maxPauseMs : 0);
    const afterUse = adapt !== undefined && key.limit !== adapt.initial ? key.usedAt + maxPauseMs : 0;
    return Math.max(afterClosure, afterUse, key.budgets.keptUntil) <= this.#now;
  }

  /** Nobody hears when a key opens for which nobody waits. */
  #sweep(): void {
    for (const [name, key] of this.#keys) if (this.#isOutOfUse(key)) this.#keys.delete(name);
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#keys.size);
  }

  #newKey(name: string): Key {
    const { adapt, maxPauseMs } = this.#limits;
    return {
      name,
      running: 0,
      heldBack: 0,
      waiting: new Queue(),
      closedUntil: 0,
      refusals: 0,
      round: 0,
      limit: adapt?.initial ?? Infinity,
      successes: 0,
      usedAt: 0,
      budgets: new GateBudgets(maxPauseMs),
      timer: undefined,
      leaveTurns: undefined,
    };
  }
}
