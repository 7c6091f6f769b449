import {
  asyncScheduler,
  type MonoTypeOperatorFunction,
  type Observable,
  type SchedulerLike,
  type Subscriber,
  Subscription,
} from 'rxjs';
import { type HTTPError, LimitError } from '../errors.js';
import {
  Flow,
  keepPlace,
  leaveAs,
  Scope,
  sendWhenAllAreBack,
  subscribeWithin,
  tearDownWithin,
} from '../internal/flow.js';
import { hasCode } from '../internal/hasCode.js';
import { draw, operate } from '../internal/operate.js';
import { Queue } from '../internal/queue.js';
import { requireAtLeast, requireDelay } from '../internal/require.js';

/** How much a gate lets through. @public */
export interface CreateGateOptions {
  /** Streams that run at the same time, over all keys; at least 1. @defaultValue `Infinity` */
  readonly concurrency?: number | undefined;
  /** Streams of one key that run at the same time; at least 1. @defaultValue `Infinity` */
  readonly perKey?: number | undefined;
  /** Streams that wait, over all keys; one more fails with LimitError. @defaultValue 100,000 (chosen) */
  readonly maxWaiting?: number | undefined;
  /**
   * How long a key is closed by a 429 that does not say; doubled with each such refusal in a row, up to `maxPauseMs`. Requests
   * that were on their way together count as one. @defaultValue 1,000 (chosen)
   */
  readonly pauseMs?: number | undefined;
  /**
   * The longest time for which a refusal closes a key, whatever the server asks for.
   * @defaultValue 60,000 (rate limits are counted by the minute)
   */
  readonly maxPauseMs?: number | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** How a key of a gate stands. @public */
export interface GateState {
  /** Streams that have been let through and have not ended. */
  readonly running: number;
  /** Streams that wait to be let through, or for others with which a retry asks them again. */
  readonly waiting: number;
  /** Milliseconds until the key opens; 0 where it is open. */
  readonly closedForMs: number;
}

/** Lets streams through as there is room; see {@link createGate}. @public */
export interface Gate {
  /**
   * @param key - what is limited together, such as a provider, a model or an account; without one the streams share a key `''`
   * @returns an operator that subscribes its source when there is room
   * @throws TypeError for a key that is no string
   */
  <T>(key?: string): MonoTypeOperatorFunction<T>;
  /** How a key stands now; one that is not in use is open and empty. */
  state(key?: string): GateState;
}

/**
 * Makes one gate for streams that are started in different places, such as the request handlers of a server: so many run at the
 * same time, the others wait for their turn, and a key that is refused with 429 is left alone until it opens.
 *
 * ```text
 * perKey 1
 * a, subscribed at 0    a-a-(a|)
 * b, subscribed at 1    -       b-b-(b|)      begins when a has ended
 *
 * a, refused at 2       --#                   429, `Retry-After` of 5
 * b, subscribed at 3    ---     b-b-(b|)      begins when the key opens, at 7
 * ```
 * A key's streams begin in the order of their subscription; keys take turns, and one that is closed or full holds no other up.
 * Where there is room a stream begins at once. HTTPError 429 closes its key for `retryAfterMs`, or for `pauseMs`; 503 and 529 do so
 * where they say for how long. What runs on the key meanwhile is not cut. The first item of a later stream ends the row of
 * refusals. Put the gate next to the call, above `retryOnDisconnect`: then each attempt waits for its turn. A `timeout` above the
 * gate counts from the request, one below it the wait too. Give each call its own `retryOnDisconnect`: one below several calls asks
 * none of them again before all have come through; these take no places until then, and then may be more than the limits by as many.
 *
 * Emits what the source emits. Completes with the source. Errors with the source's error, a refusal too; with LimitError where
 * `maxWaiting` wait already. Unsubscribing stops the source, or leaves the queue: then nothing was sent. Any ending gives its
 * place to the next. Holds those that wait, one timer for each closed key that is waited for, and no key that is out of use; a row
 * of refusals is remembered for `maxPauseMs` after its last closure.
 *
 * @example
 * ```ts
 * const gate = createGate({ concurrency: 20, perKey: 5 });
 *
 * fromCall(call).pipe(gate('openai'), retryOnDisconnect(), toTokens()).subscribe(log);
 * ```
 * @param options - see {@link CreateGateOptions}
 * @returns the gate; nothing is scheduled before a stream waits for a closed key
 * @throws RangeError for an option out of its range
 * @see {@link https://www.rfc-editor.org/rfc/rfc6585#section-4 | RFC 6585, 429 Too Many Requests}
 * @public
 */
export function createGate(options: CreateGateOptions = {}): Gate {
  const { concurrency = Infinity, perKey = Infinity, maxWaiting = 100_000 } = options;
  const { pauseMs = 1_000, maxPauseMs = 60_000, scheduler = asyncScheduler } = options;
  requireAtLeast(1, { concurrency, perKey });
  requireAtLeast(0, { maxWaiting });
  requireDelay(0, { pauseMs, maxPauseMs });
  const keeper = new Gatekeeper({ concurrency, perKey, maxWaiting, pauseMs, maxPauseMs, scheduler });
  const gate = <T>(key = ''): MonoTypeOperatorFunction<T> => {
    requireKey(key);
    return operate((source, subscriber) => {
      keeper.enter(key, source, subscriber);
    });
  };
  return Object.assign(gate, { state: (key = ''): GateState => keeper.state(key) });
}

function requireKey(key: unknown): void {
  if (typeof key !== 'string') throw new TypeError(`A gate's key must be a string, got ${typeof key}`);
}

type Limits = { readonly [Name in keyof CreateGateOptions]-?: Exclude<CreateGateOptions[Name], undefined> };

/** What is limited together. */
interface Key {
  readonly name: string;
  running: number;
  /** Streams that were let through and may send nothing yet; they take no place. */
  heldBack: number;
  /** Begins each stream that waits. */
  readonly waiting: Queue<() => void>;
  /** In the scheduler's milliseconds. */
  closedUntil: number;
  /** Without a time of the server's own, in a row. */
  refusals: number;
  /** How often it was closed: a stream that was let through before the last time says nothing new. */
  round: number;
  /** Set while it is closed and waited for. */
  timer: Subscription | undefined;
  /** Set while one of its streams could begin: takes it out of those whose turn comes. */
  leaveTurns: (() => void) | undefined;
}

/** More keys than this, and those whose closure is over are looked for. */
const SWEEP_AT = 1_000;

class Gatekeeper {
  readonly #limits: Limits;
  readonly #keys: Map<string, Key> = new Map();
  /** Keys of which a stream could begin, by turns. */
  readonly #turns: Queue<Key> = new Queue();
  #running = 0;
  #waiting = 0;
  #isAdmitting = false;
  #sweepAt = SWEEP_AT;
  /** Nobody's: what is left or subscribed in its name is not mistaken for a part of what happens to be on the stack. */
  readonly #nobody: Scope = new Scope(true, new Flow({ isMarker: true }));

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  enter<T>(name: string, source: Observable<T>, subscriber: Subscriber<T>): void {
    if (subscriber.closed) return;
    const key = this.#keyOf(name);
    if (this.#hasRoom && this.#turns.size === 0 && key.waiting.size === 0 && this.#lets(key)) {
      this.#occupy(key);
      this.#run(key, source, subscriber);
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
    const leaveQueue = key.waiting.add(() => {
      subscriber.remove(leaving);
      this.#apart(() => {
        place.take(() => {
          this.#run(key, source, subscriber);
        });
      });
    });
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
    const { running, heldBack, waiting, closedUntil } = this.#keys.get(name) ?? newKey(name);
    return {
      running,
      waiting: waiting.size + heldBack,
      closedForMs: Math.max(0, closedUntil - this.#limits.scheduler.now()),
    };
  }

  get #hasRoom(): boolean {
    return this.#running < this.#limits.concurrency;
  }

  #lets(key: Key): boolean {
    return key.running < this.#limits.perKey && this.#isOpen(key);
  }

  #isOpen({ closedUntil }: Key): boolean {
    return closedUntil <= this.#limits.scheduler.now();
  }

  #occupy(key: Key): void {
    key.running += 1;
    this.#running += 1;
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
    const free = (): void => {
      if (place === 'taken') this.#vacate(key);
      else if (place === 'lent') key.heldBack -= 1;
      else return;
      place = 'left';
      this.#update(key);
    };
    let isHeldBack = true;
    sendWhenAllAreBack(() => {
      isHeldBack = false;
      if (place !== 'lent') return;
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
    draw<T>(source, subscriber, new Scope(false), () => ({
      next: (item) => {
        if (!hasItem) {
          hasItem = true;
          if (round === key.round) key.refusals = 0;
        }
        subscriber.next(item);
      },
      error: (error) => {
        this.#onError(key, round, error);
        free();
        subscriber.error(error);
      },
      complete: () => {
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

  #onError(key: Key, round: number, error: unknown): void {
    if (!isRefusal(error)) return;
    const { pauseMs, maxPauseMs, scheduler } = this.#limits;
    const isNew = round === key.round;
    if (isNew) key.round += 1;
    if (isNew && error.retryAfterMs === undefined) key.refusals += 1;
    const inARow = Math.min(Math.max(key.refusals, 1), 52);
    const closedForMs = Math.min(error.retryAfterMs ?? pauseMs * 2 ** (inARow - 1), maxPauseMs);
    const closedUntil = scheduler.now() + closedForMs;
    if (closedUntil <= key.closedUntil) return;
    key.closedUntil = closedUntil;
    key.timer?.unsubscribe();
    key.timer = undefined;
    this.#update(key);
  }

  /** After each change of a key: whether its turn can come, what it waits for, whether it is of use still. */
  #update(key: Key): void {
    const isWanted = key.waiting.size > 0;
    const canBegin = isWanted && this.#lets(key);
    if (!canBegin) {
      key.leaveTurns?.();
      key.leaveTurns = undefined;
    } else key.leaveTurns ??= this.#turns.add(key);
    if (!isWanted || this.#isOpen(key)) {
      key.timer?.unsubscribe();
      key.timer = undefined;
    } else key.timer ??= this.#whenOpen(key);
    if (this.#isOutOfUse(key)) this.#keys.delete(key.name);
  }

  #whenOpen(key: Key): Subscription {
    const { scheduler } = this.#limits;
    return scheduler.schedule(() => {
      key.timer = undefined;
      // A timer may come a little before its time by another clock.
      key.closedUntil = Math.min(key.closedUntil, scheduler.now());
      this.#update(key);
      this.#admit();
    }, key.closedUntil - scheduler.now());
  }

  /** Lets through what there is room for. */
  #admit(): void {
    // A stream may end before its `subscribe` returns: the loop below goes on with the next.
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    try {
      while (this.#hasRoom) {
        const key = this.#turns.shift();
        const begin = key?.waiting.shift();
        if (key === undefined || begin === undefined) break;
        key.leaveTurns = undefined;
        this.#waiting -= 1;
        this.#occupy(key);
        this.#update(key);
        begin();
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
    const key = newKey(name);
    this.#keys.set(name, key);
    if (this.#keys.size > this.#sweepAt) this.#sweep();
    return key;
  }

  #isOutOfUse({ running, heldBack, waiting, closedUntil, refusals }: Key): boolean {
    if (running > 0 || heldBack > 0 || waiting.size > 0) return false;
    const { maxPauseMs, scheduler } = this.#limits;
    // Its row of refusals goes on when it is asked again soon.
    return closedUntil + (refusals > 0 ? maxPauseMs : 0) <= scheduler.now();
  }

  /** Nobody hears when a key opens for which nobody waits. */
  #sweep(): void {
    for (const [name, key] of this.#keys) if (this.#isOutOfUse(key)) this.#keys.delete(name);
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#keys.size);
  }
}

function newKey(name: string): Key {
  return {
    name,
    running: 0,
    heldBack: 0,
    waiting: new Queue(),
    closedUntil: 0,
    refusals: 0,
    round: 0,
    timer: undefined,
    leaveTurns: undefined,
  };
}

/** A refusal that speaks of the key's load, and not of the request. */
function isRefusal(error: unknown): error is HTTPError {
  if (!hasCode(error, 'ERR_HTTP')) return false;
  const { status, retryAfterMs } = error as HTTPError;
  return status === 429 || ((status === 503 || status === 529) && retryAfterMs !== undefined);
}
