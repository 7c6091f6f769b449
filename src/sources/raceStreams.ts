import { asyncScheduler, Observable, type SchedulerLike, type Subscriber, type Subscription } from 'rxjs';
import { LimitError, StreamsFailedError } from '../errors.js';
import { Branch } from '../internal/branch.js';
import { isAskedAgain, thisPlace } from '../internal/flow.js';
import { draw } from '../internal/operate.js';
import type { Position } from '../internal/position.js';
import { requireAtLeast, requireDelay } from '../internal/require.js';
import { signOf } from '../internal/signOf.js';
import { tapReceipt } from '../operators/tapReceipt.js';
import type { Receipt, StreamEvent } from '../types.js';

/** How `raceStreams` begins and ends its streams. @public */
export interface RaceStreamsOptions {
  /**
   * How long each stream has the field for itself: the next begins when no content came for so long, or at once when one before it
   * fails. @defaultValue all begin at once
   */
  readonly hedgeAfterMs?: number | undefined;
  /** Hears the receipt of each stream that was begun, with its `key`: who won, who was stopped, who failed. */
  readonly onSettled?: ((receipt: Receipt) => void) | undefined;
  /** Events before the first content that are held of one stream; one more is a LimitError of that stream. @defaultValue 1,024 (chosen) */
  readonly maxHeldEvents?: number | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Asks several streams for one answer and takes the first that brings content; the others are stopped.
 *
 * ```text
 * a               -h-h-h-h-h         h = heartbeat
 * hedgeAfterMs    ----x
 * b               ----s-t--(f|)      s = status, t = text, f = finish
 * result          -h-h-h(st)(f|)
 * ```
 * Only content wins (text, thinking, refusal, a tool call, media, output, a log line), or the end of an answer without any; a
 * heartbeat or a status does not, as it would in RxJS's `race`. What a winner sent before its content comes in front of it;
 * heartbeats of all pass at once while nobody has won.
 * Losers are stopped before the winner's content is emitted: their work is cancelled where the API can; sinks do not ask them, but book
 * their usage. After the win the winner's failure is the result's.
 *
 * Put `retryOnDisconnect` on each stream. Below the race it brings back one that has won, alone, since another one's answer is no
 * part of what was delivered; where none has, it asks them all at once.
 *
 * Emits the winner's events. Completes with the winner. Errors with the winner's error; with StreamsFailedError, which has every
 * cause, where all failed before any content. Unsubscribing stops all that run and begins no more. Holds `maxHeldEvents` events of each.
 *
 * @example
 * ```ts
 * const ask = (region: string) => fromCall(polargrid({ region }).chat({ model, messages }));
 * raceStreams({ near: ask('nyc-01'), far: ask('sfo-01') }, { hedgeAfterMs: 800, onSettled: ({ key, outcome }) => log(key, outcome) })
 *   .pipe(toTokens())
 *   .subscribe(log);
 * ```
 * @param streams - by their names, in the order of preference: a record or pairs; at least one
 * @param options - see {@link RaceStreamsOptions}
 * @returns a cold observable
 * @throws TypeError where there is no stream; RangeError for an option out of its range
 * @public
 */
export function raceStreams(
  streams: Readonly<Record<string, Observable<StreamEvent>>> | Iterable<readonly [string, Observable<StreamEvent>]>,
  options: RaceStreamsOptions = {},
): Observable<StreamEvent> {
  const { hedgeAfterMs = 0, maxHeldEvents = 1_024 } = options;
  requireDelay(0, { hedgeAfterMs });
  requireAtLeast(1, { maxHeldEvents });
  const entries = Symbol.iterator in streams ? [...streams] : Object.entries(streams);
  if (entries.length === 0) throw new TypeError('raceStreams needs at least one stream');
  const won: WeakSet<Position> = new WeakSet();
  return new Observable<StreamEvent>((subscriber) => {
    new Race(entries, options, subscriber, won).start();
  });
}

interface Racer {
  readonly branch: Branch;
  readonly link: Subscription;
  held: StreamEvent[];
}

class Race {
  readonly #entries: readonly (readonly [string, Observable<StreamEvent>])[];
  readonly #options: RaceStreamsOptions;
  readonly #subscriber: Subscriber<StreamEvent>;
  /** Of calls that have won: a retry below brings them back. */
  readonly #won: WeakSet<Position>;
  /** Streams that begin later begin as if here. */
  readonly #here = thisPlace();
  readonly #racers: Set<Racer> = new Set();
  readonly #running: Set<Racer> = new Set();
  readonly #failures: Map<string, unknown> = new Map();
  #winner: Racer | undefined;
  /** What comes while a reader hears of what was held: a reader may feed the winner from inside `next`. */
  #waiting: (() => void)[] | undefined;
  #isSilent = false;
  #isBeginning = false;
  #isNextWanted = false;
  #begun = 0;
  #timer: Subscription | undefined;

  constructor(
    entries: readonly (readonly [string, Observable<StreamEvent>])[],
    options: RaceStreamsOptions,
    subscriber: Subscriber<StreamEvent>,
    won: WeakSet<Position>,
  ) {
    this.#entries = entries;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#won = won;
  }

  start(): void {
    this.#subscriber.add(() => this.#timer?.unsubscribe());
    this.#beginNext();
    if (!this.#isOpen) return;
    if (this.#isAskedAgain()) this.#comeBack();
    else if (this.#options.hedgeAfterMs === undefined) while (this.#hasMore && this.#isOpen) this.#beginNext();
  }

  get #isOpen(): boolean {
    return this.#winner === undefined && !this.#subscriber.closed;
  }

  get #hasMore(): boolean {
    return this.#begun < this.#entries.length;
  }

  /** Whether a retry below has asked before what has begun now; a stream without a call does not tell. */
  #isAskedAgain(): boolean {
    const positions = [...this.#racers].flatMap(({ branch }) => positionsOf(branch));
    return positions.length === 0 ? isAskedAgain() : positions.some(({ takenBy }) => takenBy > 1);
  }

  /** A retry below waits until every call is back, so none is put off; and it sends none before, so they can be left again. */
  #comeBack(): void {
    for (;;) {
      this.#winner ??= [...this.#racers].find(({ branch }) => positionsOf(branch).some((each) => this.#won.has(each)));
      if (!this.#hasMore || this.#subscriber.closed) break;
      this.#begin();
    }
    this.#timer?.unsubscribe();
    if (this.#winner === undefined) return;
    this.#isSilent = true; // they were told of when they lost
    this.#leaveAllBut(this.#winner);
    this.#isSilent = false;
  }

  #beginNext(): void {
    this.#isNextWanted = true;
    // A stream may fail before its `subscribe` returns: the loop below goes on with the next.
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    try {
      while (this.#isNextWanted && this.#hasMore && this.#isOpen) {
        this.#isNextWanted = false;
        this.#begin();
      }
    } finally {
      this.#isBeginning = false;
    }
  }

  #begin(): void {
    const entry = this.#entries[this.#begun];
    if (entry === undefined) return;
    this.#begun += 1;
    this.#arm();
    this.#here(() => {
      this.#run(entry);
    });
  }

  /** The next stream begins when nobody has brought content by then. */
  #arm(): void {
    const { hedgeAfterMs, scheduler = asyncScheduler } = this.#options;
    this.#timer?.unsubscribe();
    this.#timer =
      hedgeAfterMs === undefined || !this.#hasMore
        ? undefined
        : scheduler.schedule(() => {
            this.#beginNext();
          }, hedgeAfterMs);
  }

  #run([key, stream]: readonly [string, Observable<StreamEvent>]): void {
    const settled = tapReceipt<StreamEvent>((receipt) => {
      if (!this.#isSilent) this.#options.onSettled?.({ ...receipt, key });
    });
    const branch = new Branch();
    draw<StreamEvent>(stream.pipe(settled), this.#subscriber, branch.scope, (link) => {
      const racer: Racer = { branch, link, held: [] };
      this.#racers.add(racer);
      this.#running.add(racer);
      const tell = (run: () => void): void => {
        if (this.#waiting === undefined) run();
        else this.#waiting.push(run);
      };
      return {
        next: (event) => {
          if (this.#winner === racer) {
            tell(() => {
              this.#subscriber.next(event);
            });
          } else if (this.#winner !== undefined) return;
          else if (signOf(event) === 'content' || event.type === 'finish') this.#win(racer, event);
          else if (event.type === 'heartbeat') this.#subscriber.next(event);
          else this.#hold(racer, key, event);
        },
        error: (error) => {
          if (this.#winner === undefined) this.#lose(racer, key, error);
          else if (this.#winner === racer) {
            tell(() => {
              this.#subscriber.error(error);
            });
          }
        },
        complete: () => {
          if (this.#winner === undefined) this.#win(racer);
          if (this.#winner === racer) {
            tell(() => {
              this.#subscriber.complete();
            });
          }
        },
      };
    });
  }

  #hold(racer: Racer, key: string, event: StreamEvent): void {
    const { maxHeldEvents = 1_024 } = this.#options;
    racer.held.push(event);
    if (racer.held.length <= maxHeldEvents) return;
    const message = `The stream ${JSON.stringify(key)} sent more than ${String(maxHeldEvents)} events before its first content`;
    leave(racer);
    this.#lose(racer, key, new LimitError('maxHeldEvents', maxHeldEvents, message));
  }

  #leaveAllBut(racer: Racer): void {
    for (const other of this.#racers) {
      if (other === racer) continue;
      other.held = [];
      leave(other);
    }
  }

  #lose(racer: Racer, key: string, error: unknown): void {
    racer.held = [];
    this.#running.delete(racer);
    this.#failures.set(key, error);
    if (this.#hasMore) {
      this.#beginNext();
      return;
    }
    if (this.#running.size > 0) return;
    const count = this.#failures.size;
    this.#subscriber.error(
      new StreamsFailedError(
        count === 1 ? 'The only stream of the race failed' : `All ${String(count)} streams of the race failed`,
        this.#failures,
      ),
    );
  }

  #win(racer: Racer, event?: StreamEvent): void {
    this.#winner = racer;
    this.#timer?.unsubscribe();
    for (const position of positionsOf(racer.branch)) this.#won.add(position);
    this.#leaveAllBut(racer);
    const { held } = racer;
    racer.held = [];
    if (event !== undefined) held.push(event);
    const waiting: (() => void)[] = [];
    this.#waiting = waiting;
    for (const each of held) this.#subscriber.next(each);
    for (const run of waiting) run(); // and what is added meanwhile
    this.#waiting = undefined;
  }
}

function positionsOf({ flows }: Branch): readonly Position[] {
  return [...flows].map(({ position }) => position);
}

function leave({ branch, link }: Racer): void {
  branch.excuse();
  branch.leave('stop', () => {
    link.unsubscribe();
  });
  // Again, for a flow that was subscribed late and is known since it was left.
  branch.excuse();
}
