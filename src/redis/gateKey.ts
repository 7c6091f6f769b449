import { asyncScheduler, type Subscription, throwError } from 'rxjs';
import { LimitError, StoreError } from '../errors.js';
import { GateBudgets } from '../internal/gateBudgets.js';
import type { GateState } from '../internal/gatekeeper.js';
import { MAX_DELAY_MS } from '../internal/require.js';
import { readRateLimits } from '../protocol/rateLimits.js';
import type { Usage, WarningEvent } from '../types.js';
import type { Commands } from './commands.js';
import { SYNC } from './gateScript.js';
import { readLoadWarning, readRefusal } from '../internal/loadVerdict.js';

/** What a gate keeps to, as its script is told. */
export interface GateRules {
  readonly prefix: string;
  readonly perKey: number;
  readonly adapt: { readonly initial: number; readonly min: number } | undefined;
  readonly pauseMs: number;
  readonly maxPauseMs: number;
  readonly leaseMs: number;
  readonly maxWaiting: number;
  readonly budgets: 'obey' | 'ignore';
  readonly onChange: ((key: string, state: GateState) => void) | undefined;
}

/** What the keys of one gate share. */
export interface GateParts {
  /** This process, in 16 characters. */
  readonly me: string;
  readonly rules: GateRules;
  readonly commands: Commands;
  /** What the channels of processes begin with. */
  readonly channel: string;
  /** Streams that Redis has said no to for now, over all keys. */
  queued: number;
  /** Streams of which it has said nothing yet. */
  untold: number;
  readonly nextTicket: () => string;
  /** Somebody waits: news are to be heard. */
  readonly listen: () => void;
  /** To be called with each heartbeat. */
  readonly check: () => void;
}

/** Where a stream stands in the queue, and keeps its place when it is asked again. */
export interface Seat {
  /** Given by Redis. */
  number: number | undefined;
  /** How often the stream has come back with it. */
  returns: number;
}

/** A stream that waits. */
export interface Waiter {
  ticket: string;
  readonly seat: Seat;
  /** Redis has said that there is no room. */
  isQueued: boolean;
  readonly begin: (permit: Permit) => void;
  readonly fail: (error: unknown) => void;
}

/** The place of a stream that was let through. */
export interface Permit {
  readonly ticket: string;
  /** How often the key had been refused when it was let through. */
  round: number;
  /** Its number among those whose requests were sent; 0 before. */
  sent: number;
  /** Given back, since the stream sends nothing before others are let through as well. */
  isLent: boolean;
}

/** How a stream has left: by itself, well, or refused; a refusal may say for how long. */
export type Ending = { readonly what: 'l' | 's' } | { readonly what: 'x'; readonly askedMs: number | undefined };

/** What happened: what, ticket, number, milliseconds; see {@link SYNC}. */
type Happening = readonly [what: string, ticket: string, number: string, ms: string];

/** What is told in one round trip; unchanged when it is told again. */
interface Batch {
  readonly number: number;
  readonly happenings: readonly Happening[];
  readonly entering: readonly Waiter[];
  readonly isFull: boolean;
  readonly isBye: boolean;
}

/** How a key stands, as Redis tells it. */
interface News {
  readonly version: number;
  readonly round: number;
  readonly refusals: number;
  readonly closedForMs: number;
  readonly limit: number;
  readonly running: number;
  readonly waiting: number;
}

/** What is published to a process. */
export interface PublishedNews extends News {
  readonly key: string;
  /** Tickets that were let through. */
  readonly granted?: readonly string[];
}

type Reply =
  | readonly [answer: 'lost']
  | readonly [
      answer: 'ok',
      version: unknown,
      round: unknown,
      refusals: unknown,
      closedForMs: unknown,
      limit: unknown,
      running: unknown,
      waiting: unknown,
      isMore: unknown,
      granted: readonly string[],
      entered: readonly string[],
      permits: readonly string[] | null,
    ];

/** So much is told in one round trip at most. */
const MOST_AT_ONCE = 500;
/** Streams of which Redis has not said yet whether they wait: so many may there be besides those that do. */
const MOST_UNTOLD = 10_000;
/** Each answer of a server that closes the key tells a reset of its own; what differs by less is the same one. */
const SAME_MS = 100;
/** Clocks tick in milliseconds, and timers come early: a closure is over for sure a little later. */
const AFTER_END_MS = 2;
/** So long what is known of a key is kept besides, after the last word of any process. */
const EXPIRE_AFTER_MS = 1_000;
/** What stands for no limit in Redis, which has no infinite whole numbers. */
const ENDLESS = Number.MAX_SAFE_INTEGER;

/** One key of a gate, as one process knows it. All that is told to Redis of it goes in order, one round trip at a time. */
export class GateKey {
  readonly name: string;
  readonly #parts: GateParts;
  readonly #keys: readonly string[];
  readonly #budgets: GateBudgets;
  readonly #running = new Map<string, Permit>();
  #lent = 0;
  readonly #waiting = new Map<string, Waiter>();

  // What Redis has not been told.
  readonly #entering = new Set<Waiter>();
  #happenings: Happening[] = [];
  /** Was told, and nobody knows whether it was heard. */
  #unsure: Batch | undefined;
  #batches = 0;
  #isWanted = false;
  #isFullWanted = false;
  #work: Promise<void> | undefined;

  // What Redis has told.
  /** It counts this process among those that use the key. */
  #isKnown = false;
  /** Until when a place that was given is ours for sure. */
  #leasedUntil = 0;
  #news: Omit<News, 'running' | 'waiting' | 'closedForMs'>;
  #closedUntil = 0;
  #othersRunning = 0;
  #othersWaiting = 0;
  /** Until when the budgets close it, as others were told. */
  #spentUntil = 0;

  #heartbeat: Subscription | undefined;
  #opening: { readonly at: number; readonly timer: Subscription } | undefined;
  #isClosed = false;

  constructor(name: string, parts: GateParts) {
    this.name = name;
    this.#parts = parts;
    const { prefix, maxPauseMs, adapt, perKey } = parts.rules;
    const tag = `{${prefix}:${name}}`;
    this.#keys = [`${tag}:state`, `${tag}:queue`, `${tag}:running`, `${tag}:processes`];
    this.#budgets = new GateBudgets(maxPauseMs);
    this.#news = { version: 0, round: 0, refusals: 0, limit: adapt?.initial ?? perKey };
  }

  get state(): GateState {
    return {
      running: this.#running.size + (this.#isInUse ? this.#othersRunning : 0),
      waiting: this.#waiting.size + this.#lent + (this.#isInUse ? this.#othersWaiting : 0),
      closedForMs: Math.max(0, this.#closedUntil - now()),
      ...(this.#parts.rules.adapt !== undefined && { limit: this.#news.limit }),
    };
  }

  /** Whether nothing is lost when it is forgotten. */
  get isOutOfUse(): boolean {
    if (this.#isInUse || this.#work !== undefined) return false;
    return Math.max(this.#closedUntil, this.#budgets.keptUntil) <= now();
  }

  get #isInUse(): boolean {
    return this.#running.size > 0 || this.#lent > 0 || this.#waiting.size > 0;
  }

  /** A stream comes. @returns undefined where too many are on their way to Redis */
  enter(seat: Seat, begin: Waiter['begin'], fail: Waiter['fail']): Waiter | undefined {
    const { rules, nextTicket } = this.#parts;
    if (this.#parts.untold >= rules.maxWaiting + MOST_UNTOLD) return undefined;
    const waiter: Waiter = { ticket: nextTicket(), seat, isQueued: false, begin, fail };
    this.#waiting.set(waiter.ticket, waiter);
    this.#entering.add(waiter);
    this.#parts.untold += 1;
    this.#beat();
    this.#sync();
    return waiter;
  }

  /** A stream that waits leaves; one that does not wait any more is left alone. */
  giveUp(waiter: Waiter): void {
    if (!this.#take(waiter)) return;
    // One that Redis has never heard of need not be told of.
    if (!this.#entering.delete(waiter)) this.#tell('l', waiter.ticket);
    this.#update();
  }

  /** A stream that was let through may send nothing yet: its place is given back meanwhile. */
  lend(permit: Permit): void {
    if (this.#isClosed) return;
    permit.isLent = true;
    this.#running.delete(permit.ticket);
    this.#lent += 1;
    this.#tell('l', permit.ticket);
  }

  /** It sends now, and takes a place, whether there is one or not. */
  send(permit: Permit): void {
    permit.sent = this.#budgets.send(now());
    if (!permit.isLent || this.#isClosed) return;
    permit.isLent = false;
    this.#lent -= 1;
    this.#running.set(permit.ticket, permit);
    this.#tell('t', permit.ticket);
  }

  /** Its stream is over; others are told by {@link leave}, when its connection is gone. */
  end(permit: Permit): void {
    this.#budgets.settle(permit.sent);
    if (this.#running.delete(permit.ticket) || !permit.isLent || this.#isClosed) return;
    this.#lent -= 1;
  }

  leave({ ticket, round, isLent }: Permit, ending: Ending): void {
    const { what } = ending;
    if (what === 'x') this.#tell(what, isLent ? '' : ticket, round, ending.askedMs);
    else if (!isLent) this.#tell(what, ticket, round);
    this.#update();
  }

  /** The first item of a stream ends a row of refusals. */
  onFirstItem({ round }: Permit): void {
    if (this.#news.refusals === 0 || round !== this.#news.round) return;
    this.#news = { ...this.#news, refusals: 0 };
    this.#tell('i', '', round);
  }

  /** What a head tells of the server's budgets. */
  onHead({ sent }: Permit, headers: Readonly<Record<string, string>>): void {
    if (this.#parts.rules.budgets === 'ignore') return;
    this.#budgets.note(readRateLimits(headers, now()), sent, now());
    this.#shareBudgets();
  }

  onUsage(usage: Usage): void {
    this.#budgets.learn(usage);
  }

  onWarning({ round }: Permit, warning: WarningEvent): void {
    const verdict = readLoadWarning(warning, now());
    if (verdict !== undefined) this.#tell('w', '', round, verdict.askedMs);
  }

  /** How a stream that failed has left. */
  endingOf(error: unknown, { sent }: Permit): Ending {
    const verdict = readRefusal(error, now());
    if (verdict === undefined) return { what: 'l' };
    if (verdict.budgets.length > 0 && this.#parts.rules.budgets === 'obey') {
      this.#budgets.note(verdict.budgets, sent, now());
      this.#shareBudgets();
    }
    return { what: 'x', askedMs: verdict.askedMs };
  }

  /** What another process has published. It may be older than what is known. */
  onNews({ granted = [], ...news }: PublishedNews): void {
    if (this.#isClosed) return;
    // One that was let through while this process was asleep may not run any more; of one that has just come the answer may be on its way.
    const isOurs = now() < this.#leasedUntil;
    if (!isOurs) this.refresh();
    const before = this.#standing();
    const given = isOurs ? granted : [];
    if (news.version > this.#news.version) this.#learn(news, given);
    this.#begin(given, before);
  }

  /** Asks Redis for all that it knows, where it should know something. */
  refresh(): void {
    if (!this.#isInUse || this.#isClosed) return;
    this.#isFullWanted = true;
    this.#sync();
  }

  /** The connection is there again, maybe to a Redis that has forgotten. */
  reconnected(): void {
    if (this.#isKnown) this.refresh();
  }

  /** Fails all that wait. */
  failAll(error: unknown): void {
    const waiters = [...this.#waiting.values()];
    for (const waiter of waiters) this.giveUp(waiter);
    for (const { fail } of waiters) fail(error);
  }

  /** Gives all places back. Resolves when Redis knows, or cannot be told. */
  async close(): Promise<void> {
    this.failAll(closedGate());
    for (const ticket of this.#running.keys()) this.#tell('l', ticket);
    this.#isClosed = true;
    this.#running.clear();
    this.#lent = 0;
    this.#update();
    await this.#work;
  }

  /** Takes a stream out of those that wait. @returns whether it was there */
  #take(waiter: Waiter): boolean {
    if (this.#waiting.get(waiter.ticket) !== waiter) return false;
    this.#waiting.delete(waiter.ticket);
    if (waiter.isQueued) this.#parts.queued -= 1;
    else this.#parts.untold -= 1;
    return true;
  }

  /** Adds to what Redis is told next. */
  #tell(what: string, ticket: string, number?: number, ms?: number): void {
    if (this.#isClosed) return;
    this.#happenings.push([
      what,
      ticket,
      number === undefined ? '' : String(number),
      ms === undefined ? '' : String(ms),
    ]);
    this.#sync();
  }

  #sync(): void {
    this.#isWanted = true;
    this.#work ??= this.#tellAll();
  }

  /** False where a stream came and left before Redis heard of it. */
  get #hasToTell(): boolean {
    const isNews = this.#happenings.length > 0 || this.#entering.size > 0 || this.#unsure !== undefined;
    return isNews || this.#isKnown || this.#isInUse;
  }

  async #tellAll(): Promise<void> {
    // What happens in one turn goes together.
    await Promise.resolve();
    try {
      while (this.#isWanted) {
        this.#isWanted = false;
        if (this.#hasToTell) await this.#tellOnce(this.#unsure ?? this.#nextBatch());
      }
    } finally {
      this.#work = undefined;
      this.#update();
    }
  }

  #nextBatch(): Batch {
    const happenings = this.#happenings.slice(0, MOST_AT_ONCE);
    this.#happenings = this.#happenings.slice(MOST_AT_ONCE);
    // Those that enter come after all that has happened, so that they find the room that was made.
    const entering: Waiter[] = [];
    for (const waiter of this.#happenings.length > 0 ? [] : this.#entering) {
      if (entering.length >= MOST_AT_ONCE) break;
      entering.push(waiter);
      this.#entering.delete(waiter);
    }
    const isBye = !this.#isInUse && this.#happenings.length === 0;
    this.#batches += 1;
    const isFull = this.#isFullWanted && !isBye;
    this.#isFullWanted = false;
    return { number: this.#batches, happenings, entering, isFull, isBye };
  }

  async #tellOnce(batch: Batch): Promise<void> {
    const { leaseMs } = this.#parts.rules;
    const toldAt = now();
    let reply: Reply;
    try {
      // As the script says it.
      reply = (await this.#parts.commands.run(SYNC, this.#keys, this.#argumentsOf(batch))) as Reply;
    } catch (error) {
      this.#onFailure(batch, error);
      return;
    }
    this.#unsure = undefined;
    if (reply[0] === 'lost') {
      this.#isKnown = false;
      this.#register(batch);
      return;
    }
    const [, version, round, refusals, closedForMs, limit, running, waiting, isMore, granted, entered, permits] = reply;
    this.#isKnown = !batch.isBye;
    this.#leasedUntil = toldAt + leaseMs;
    for (const [index, { seat }] of batch.entering.entries()) {
      const number = entered[index] ?? '';
      if (number !== '') seat.number = Number(number);
    }
    const before = this.#standing();
    const given = permits === null ? granted : [...new Set([...granted, ...permits])];
    this.#learn(
      {
        version: Number(version),
        round: Number(round),
        refusals: Number(refusals),
        closedForMs: Number(closedForMs),
        limit: Number(limit),
        running: Number(running),
        waiting: Number(waiting),
      },
      given,
    );
    if (Number(isMore) === 1 || this.#happenings.length > 0 || this.#entering.size > 0) this.#isWanted = true;
    if (permits !== null) this.#compare(permits);
    const surplus = this.#count(batch.entering, new Set(given));
    // An answer that came so late may not be true any more.
    const isOurs = now() < this.#leasedUntil;
    if (!isOurs) this.refresh();
    this.#begin(isOurs ? given : [], before);
    for (const waiter of surplus) {
      this.giveUp(waiter);
      waiter.fail(tooMany(this.#parts.rules.maxWaiting));
    }
  }

  #argumentsOf({ number, happenings, entering, isFull, isBye }: Batch): string[] {
    const { me, channel, rules } = this.#parts;
    const { leaseMs, perKey, adapt, pauseMs, maxPauseMs } = rules;
    const flag = (is: boolean): string => (is ? '1' : '0');
    const count = (limit: number): string => String(Math.min(Math.ceil(limit), ENDLESS));
    return [
      ...[me, String(number), flag(this.#isKnown), flag(isFull), String(leaseMs)],
      String(Math.ceil(2 * Math.max(leaseMs, maxPauseMs)) + EXPIRE_AFTER_MS),
      ...[count(perKey), count(adapt?.min ?? 0), count(adapt?.initial ?? perKey), String(pauseMs), String(maxPauseMs)],
      ...[channel, this.name, flag(isBye)],
      ...happenings.flat(),
      ...entering.flatMap(({ ticket, seat }) => [
        'e',
        ticket,
        seat.number === undefined ? '' : String(seat.number),
        '',
      ]),
    ];
  }

  /** Redis does not know this process: what it has is told anew, as it is now. */
  #register(batch: Batch): void {
    const told = batch.happenings.filter(([what]) => what !== 't');
    const running = [...this.#running.keys()].map((ticket): Happening => ['t', ticket, '', '']);
    // What is still to be told comes after that.
    this.#happenings = [...told, ...running, ...this.#happenings.filter(([what]) => what !== 't')];
    for (const waiter of [...this.#waiting.values()]) {
      // It may stand in the queue still.
      if (!this.#entering.has(waiter)) this.#renew(waiter);
    }
    this.#isWanted = true;
  }

  /** Lets a stream enter again, in its place; nobody takes it for what it was before. */
  #renew(waiter: Waiter): void {
    this.#tell('l', waiter.ticket);
    this.#waiting.delete(waiter.ticket);
    waiter.ticket = this.#parts.nextTicket();
    this.#waiting.set(waiter.ticket, waiter);
    this.#entering.add(waiter);
  }

  /** Redis was not there for too long, or does not take what it is told. What runs goes on. */
  #onFailure(batch: Batch, error: unknown): void {
    this.#unsure = batch;
    // What waits now may have been heard of, and is told of again; what comes from now on begins anew.
    this.failAll(error);
    this.#isWanted = this.#entering.size > 0;
    if (this.#isInUse) return;
    // There is nothing to keep: the lease ends by itself.
    this.#unsure = undefined;
    this.#happenings = [];
    this.#isKnown = false;
    this.#isFullWanted = true;
  }

  /** Takes the places that Redis does not count as ours, though we use them. Those that we do not know of are given back by {@link #begin}. */
  #compare(permits: readonly string[]): void {
    const counted = new Set(permits);
    const untold = new Set(this.#happenings.map(([, ticket]) => ticket));
    for (const ticket of this.#running.keys()) {
      if (!counted.has(ticket) && !untold.has(ticket)) this.#tell('t', ticket);
    }
  }

  /** Counts those that wait from now on. @returns those that are too many */
  #count(entered: readonly Waiter[], given: ReadonlySet<string>): readonly Waiter[] {
    const { rules } = this.#parts;
    const surplus: Waiter[] = [];
    for (const waiter of entered) {
      if (waiter.isQueued || given.has(waiter.ticket) || this.#waiting.get(waiter.ticket) !== waiter) continue;
      this.#parts.untold -= 1;
      this.#parts.queued += 1;
      waiter.isQueued = true;
      if (this.#parts.queued - surplus.length > rules.maxWaiting) surplus.push(waiter);
    }
    return surplus;
  }

  /** What there is to tell when it changes. */
  #standing(): { readonly closedUntil: number; readonly limit: number } {
    return { closedUntil: this.#closedUntil, limit: this.#news.limit };
  }

  /** @param given - those that have a place, some of them just now */
  #learn({ version, round, refusals, closedForMs, limit, running, waiting }: News, given: readonly string[]): void {
    const granted = given.filter((ticket) => this.#waiting.has(ticket)).length;
    this.#news = { version, round, refusals, limit: limit > ENDLESS / 2 ? Number.POSITIVE_INFINITY : limit };
    this.#closedUntil = closedForMs === 0 ? Math.min(this.#closedUntil, now()) : now() + closedForMs;
    this.#othersRunning = Math.max(0, running - this.#running.size - granted);
    this.#othersWaiting = Math.max(0, waiting - this.#waiting.size + granted);
  }

  /** Lets streams through that were granted a place, and tells what has changed. State first, emission last. */
  #begin(tickets: readonly string[], before: { readonly closedUntil: number; readonly limit: number }): void {
    const begun: (() => void)[] = [];
    for (const ticket of tickets) {
      const waiter = this.#waiting.get(ticket);
      if (waiter === undefined) {
        // It has left; where Redis has not been told yet, it is told twice.
        if (!this.#running.has(ticket)) this.#tell('l', ticket);
        continue;
      }
      const opensAt = this.#budgets.opensAt(now());
      if (opensAt - now() > SAME_MS) {
        // Others were told of the budget too late.
        this.#renew(waiter);
        continue;
      }
      this.#budgets.pass(opensAt, now());
      this.#take(waiter);
      const permit: Permit = { ticket, round: this.#news.round, sent: 0, isLent: false };
      this.#running.set(ticket, permit);
      this.#budgets.spend(now());
      this.#shareBudgets();
      begun.push(() => {
        // One that was begun before it may have closed the gate.
        if (this.#isClosed) waiter.fail(closedGate());
        else waiter.begin(permit);
      });
    }
    this.#update();
    for (const begin of begun) begin();
    const { closedUntil, limit } = this.#standing();
    const isOther = closedUntil > now() !== before.closedUntil > now();
    const isMoved = closedUntil > now() && Math.abs(closedUntil - before.closedUntil) >= SAME_MS;
    if (isOther || isMoved || limit !== before.limit) this.#notify();
  }

  /** Tells others when the budgets close the key, or open it. */
  #shareBudgets(): void {
    const opensAt = Math.max(now(), this.#budgets.opensAt(now()));
    const before = Math.max(now(), this.#spentUntil);
    if (Math.abs(opensAt - before) < SAME_MS) return;
    this.#spentUntil = opensAt;
    this.#tell('d', '', undefined, Math.ceil(opensAt - now()));
  }

  /** After each change: what is waited for. */
  #update(): void {
    const isInUse = this.#isInUse && !this.#isClosed;
    if (!isInUse) {
      this.#heartbeat?.unsubscribe();
      this.#heartbeat = undefined;
      if (this.#isKnown && this.#unsure === undefined) this.#sync();
    }
    if (this.#parts.queued > 0 && this.#waiting.size > 0) this.#parts.listen();
    const at = this.#waiting.size > 0 && this.#closedUntil > now() ? this.#closedUntil : undefined;
    if (this.#opening?.at === at) return;
    this.#opening?.timer.unsubscribe();
    this.#opening = at === undefined ? undefined : { at, timer: this.#whenOpen(at) };
  }

  #whenOpen(at: number): Subscription {
    return asyncScheduler.schedule(
      () => {
        this.#opening = undefined;
        this.#closedUntil = Math.min(this.#closedUntil, now());
        this.#notify();
        this.#sync();
      },
      Math.min(at - now() + AFTER_END_MS, MAX_DELAY_MS),
    );
  }

  #beat(): void {
    this.#heartbeat ??= asyncScheduler.schedule(
      () => {
        this.#heartbeat = undefined;
        if (!this.#isInUse || this.#isClosed) return;
        this.#beat();
        this.#parts.check();
        this.refresh();
      },
      Math.max(1, this.#parts.rules.leaseMs / 3),
    );
  }

  /** The observer's throw is nobody's here: it is reported as RxJS reports what nobody handles. */
  #notify(): void {
    const { onChange } = this.#parts.rules;
    if (onChange === undefined) return;
    try {
      onChange(this.name, this.state);
    } catch (error) {
      throwError(() => error).subscribe();
    }
  }
}

/** The error of a stream that waits in a gate that is closed, or comes to it. */
export function closedGate(): StoreError {
  return new StoreError('unavailable', 'The gate is closed');
}

/** The error of a stream that is one too many. */
export function tooMany(maxWaiting: number): LimitError {
  const message = `${String(maxWaiting)} streams wait for their turn in the gate already; raise maxWaiting, or start fewer`;
  return new LimitError('maxWaiting', maxWaiting, message);
}

function now(): number {
  return asyncScheduler.now();
}
