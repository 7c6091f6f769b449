import { asyncScheduler, Observable, type Subscription } from 'rxjs';
import { LimitError } from '../errors.js';
import { attachReceipt } from './attachReceipt.js';
import { type Ending, Evidence, type Verdict } from './evidence.js';
import { leaveAs, type Scope } from './flow.js';
import { newsOf } from './newsOf.js';
import { draw } from './operate.js';
import { Queue } from './queue.js';
import { requireAtLeast } from './require.js';

/** So long may the reader of a door keep others of the same stream waiting without reading anything itself. */
const PATIENCE_MS = 1_000;

/** How much may wait for a reader. @public */
export interface WaitingLimits {
  /**
   * Items that may wait for the reader before the stream's socket is paused. It is let go of where another door waits for an
   * item of a shared stream and this one has read nothing for a second: doors may be read one after the other.
   * @defaultValue 16 (chosen)
   */
  readonly pauseAtItems?: number | undefined;
  /**
   * Items that may wait where a source cannot be paused, or another door of a shared stream waits for more; one more is a
   * LimitError, after those that wait.
   * @defaultValue 65,536 (chosen)
   */
  readonly maxWaitingItems?: number | undefined;
}

/** Who asked for one item; it hears one of these, once, and none of them throws. */
export interface Reader<T> {
  readonly onItem: (item: T) => void;
  readonly onEnd: () => void;
  readonly onError: (error: unknown) => void;
}

/**
 * One reading of a stream by somebody who asks for item after item: what the doors out of RxJS share. The source is subscribed to
 * when the first item is asked for. Items that nobody asked for yet wait; when as many wait as `pauseAtItems` says, the flow that
 * brings them is paused.
 */
export class Reading<T> {
  readonly #door: string;
  readonly #source: Observable<T>;
  readonly #pauseAt: number;
  readonly #max: number;
  /** What waits is from `#head` on: `shift` costs a long list its length. */
  #items: T[] = [];
  #head = 0;
  readonly #readers: Queue<Reader<T>> = new Queue();
  #evidence: Evidence | undefined;
  #upstream: Subscription | undefined;
  #isPaused = false;
  /** Another reader of the same stream has waited for too long: this one keeps what comes until it reads again. */
  #isOvertaken = false;
  /** It was read since it filled up, or since it was last looked at. */
  #hasRead = false;
  #patience: Subscription | undefined;
  #hasLeft = false;
  #end: { readonly error?: unknown } | undefined;

  /**
   * @param door - the public function that reads, for messages
   * @throws RangeError for a limit below 1
   */
  constructor(door: string, source: Observable<T>, limits: WaitingLimits) {
    const { pauseAtItems = 16, maxWaitingItems = 65_536 } = limits;
    requireAtLeast(1, { pauseAtItems, maxWaitingItems });
    this.#door = door;
    this.#source = source;
    this.#pauseAt = pauseAtItems;
    this.#max = maxWaitingItems;
  }

  /** Asks for one item. Several may be asked for at once; they are answered in order. */
  read(reader: Reader<T>): void {
    this.#isOvertaken = false;
    this.#hasRead = true;
    if (this.#end === undefined && this.#evidence === undefined) this.#subscribe();
    this.#readers.add(reader);
    this.#serve();
  }

  /** The reader wants nothing more: the request is stopped, what waits is dropped, and whoever still waits hears the end. */
  leave(): void {
    this.#hasLeft = true;
    this.#end = {};
    this.#items = [];
    this.#head = 0;
    try {
      leaveAs('stop', 'reader', () => this.#upstream?.unsubscribe());
    } finally {
      this.#serve();
    }
  }

  #subscribe(): void {
    const evidence = new Evidence('sink');
    this.#evidence = evidence;
    let ending: Ending = { kind: 'left' };
    new Observable<never>((subscriber) => {
      draw<T>(this.#source, subscriber, evidence.scope, (upstream) => {
        this.#upstream = upstream;
        return {
          next: (item) => {
            evidence.note(newsOf(item) ?? '');
            this.#items.push(item);
            if (this.#waiting() > this.#max) {
              ending = { kind: 'error', error: this.#tooMany() };
              upstream.unsubscribe();
              return;
            }
            this.#serve();
            if (this.#waiting() >= this.#pauseAt && !this.#isOvertaken) this.#pause(evidence.scope);
          },
          error: (error) => {
            evidence.currentFlow();
            ending = { kind: 'error', error };
          },
          complete: () => {
            evidence.currentFlow();
            ending = { kind: 'complete' };
          },
          left: () => {
            this.#release();
            this.#tell(evidence, this.#hasLeft ? LEFT : evidence.judge(ending));
          },
        };
      });
    }).subscribe({
      error: (error: unknown) => {
        this.#end ??= { error };
        this.#serve();
      },
    });
  }

  #tell(evidence: Evidence, verdict: Verdict): void {
    const receipt = evidence.receipt(verdict, { where: 'none', chars: 0, bytes: 0 });
    // `in`: even `undefined` can be thrown.
    let end = 'error' in verdict ? { error: attachReceipt(verdict.error, receipt) } : {};
    try {
      evidence.report(receipt);
    } catch (error) {
      if (this.#hasLeft) throw error; // to whoever made it leave: nobody reads on
      end = { error };
    }
    this.#end ??= end;
    this.#serve();
  }

  #tooMany(): LimitError {
    const why = this.#isOvertaken ? 'another reader of the stream waits for more' : 'the source cannot be paused';
    const message = `More than ${String(this.#max)} items wait for the reader of ${this.#door}, and ${why}`;
    return new LimitError('maxWaitingItems', this.#max, message);
  }

  #waiting(): number {
    return this.#items.length - this.#head;
  }

  #take(): T {
    const item = this.#items[this.#head] as T; // there is one: `#waiting` was asked
    this.#head += 1;
    if (this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  #serve(): void {
    while (this.#readers.size > 0) {
      if (this.#waiting() > 0) {
        this.#readers.shift()?.onItem(this.#take());
      } else if (this.#end !== undefined) {
        const end = this.#end;
        // An error is told once; after it there is nothing but the end.
        this.#end = {};
        const reader = this.#readers.shift();
        if ('error' in end) reader?.onError(end.error);
        else reader?.onEnd();
      } else break;
    }
    if (this.#isPaused && this.#waiting() < this.#pauseAt) this.#release();
    if (this.#evidence !== undefined) this.#evidence.scope.isAwaiting = this.#readers.size > 0;
  }

  #pause(scope: Scope): void {
    scope.pause();
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#hasRead = false;
    this.#patience = asyncScheduler.schedule(this.#look, PATIENCE_MS);
  }

  /** Readers of one stream may be read one after the other: the second must not keep the first from its end. */
  readonly #look = (): void => {
    if (!this.#hasRead && this.#evidence?.scope.isAwaited === true) {
      this.#isOvertaken = true;
      this.#release();
      return;
    }
    this.#hasRead = false;
    this.#patience = asyncScheduler.schedule(this.#look, PATIENCE_MS);
  };

  #release(): void {
    this.#isPaused = false;
    this.#patience?.unsubscribe();
    this.#evidence?.scope.release();
  }
}

const LEFT: Verdict = { outcome: 'stopped', by: 'reader' };
