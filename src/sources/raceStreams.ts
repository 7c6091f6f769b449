import { asyncScheduler, Observable, type SchedulerLike, type Subscriber, type Subscription } from 'rxjs';
import { LimitError, StreamsFailedError } from '../errors.js';
import { Branch } from '../internal/branch.js';
import { thisPlace } from '../internal/flow.js';
import { draw } from '../internal/operate.js';
import { requireAtLeast, requireDelay } from '../internal/require.js';
import { signOf } from '../internal/signOf.js';
import { tapReceipt } from '../operators/tapReceipt.js';
import type { Receipt, StreamEvent } from '../types.js';

/** How `raceStreams` begins and ends its streams. @public */
export interface RaceStreamsOptions {
  /**
   * How long each stream has the field for itself: the next begins when no content came for so long, or at once when all before it
   * have failed. @defaultValue all begin at once
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
  return new Observable<StreamEvent>((subscriber) => {
    new Race(entries, options, subscriber).start();
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
  /** Streams that begin later begin as if here. */
  readonly #here = thisPlace();
  readonly #racers: Set<Racer> = new Set();
  readonly #running: Set<Racer> = new Set();
  readonly #failures: Map<string, unknown> = new Map();
  #winner: Racer | undefined;
  #begun = 0;
  #timer: Subscription | undefined;

  constructor(
    entries: readonly (readonly [string, Observable<StreamEvent>])[],
    options: RaceStreamsOptions,
    subscriber: Subscriber<StreamEvent>,
  ) {
    this.#entries = entries;
    this.#options = options;
    this.#subscriber = subscriber;
  }

  start(): void {
    this.#subscriber.add(() => this.#timer?.unsubscribe());
    if (this.#options.hedgeAfterMs !== undefined) {
      this.#beginNext();
      return;
    }
    while (this.#begun < this.#entries.length && this.#isOpen) this.#beginNext();
  }

  get #isOpen(): boolean {
    return this.#winner === undefined && !this.#subscriber.closed;
  }

  #beginNext(): void {
    const entry = this.#entries[this.#begun];
    if (entry === undefined || !this.#isOpen) return;
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
      hedgeAfterMs === undefined || this.#begun === this.#entries.length
        ? undefined
        : scheduler.schedule(() => {
            this.#beginNext();
          }, hedgeAfterMs);
  }

  #run([key, stream]: readonly [string, Observable<StreamEvent>]): void {
    const settled = tapReceipt<StreamEvent>((receipt) => this.#options.onSettled?.({ ...receipt, key }));
    const branch = new Branch();
    draw<StreamEvent>(stream.pipe(settled), this.#subscriber, branch.scope, (link) => {
      const racer: Racer = { branch, link, held: [] };
      this.#racers.add(racer);
      this.#running.add(racer);
      return {
        next: (event) => {
          if (this.#winner === racer) this.#subscriber.next(event);
          else if (signOf(event) === 'content' || event.type === 'finish') this.#win(racer, event);
          else if (event.type === 'heartbeat') this.#subscriber.next(event);
          else this.#hold(racer, key, event);
        },
        error: (error) => {
          if (this.#winner === racer) this.#subscriber.error(error);
          else this.#lose(racer, key, error);
        },
        complete: () => {
          if (this.#winner === undefined) this.#win(racer);
          this.#subscriber.complete();
        },
      };
    });
  }

  #hold(racer: Racer, key: string, event: StreamEvent): void {
    const { maxHeldEvents = 1_024 } = this.#options;
    racer.held.push(event);
    if (racer.held.length <= maxHeldEvents) return;
    const message = `The stream ${JSON.stringify(key)} sent more than ${String(maxHeldEvents)} events before its first content`;
    this.#leave(racer);
    this.#lose(racer, key, new LimitError('maxHeldEvents', maxHeldEvents, message));
  }

  #leave({ branch, link }: Racer): void {
    branch.excuse();
    branch.leave('stop', () => {
      link.unsubscribe();
    });
  }

  #lose(racer: Racer, key: string, error: unknown): void {
    racer.held = [];
    this.#running.delete(racer);
    this.#failures.set(key, error);
    if (this.#running.size > 0) return;
    if (this.#begun < this.#entries.length) {
      this.#beginNext();
      return;
    }
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
    for (const other of this.#racers) {
      if (other === racer) continue;
      other.held = [];
      this.#leave(other);
    }
    const { held } = racer;
    racer.held = [];
    for (const each of held) this.#subscriber.next(each);
    if (event !== undefined) this.#subscriber.next(event);
  }
}
