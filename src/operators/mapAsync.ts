import type { Observable, OperatorFunction, Subscriber, Subscription } from 'rxjs';
import { LimitError } from '../errors.js';
import { type Flow, outside, Scope, subscribeWithin, thisPlace } from '../internal/flow.js';
import { draw, operate } from '../internal/operate.js';
import { requireInteger } from '../internal/require.js';

/** What the work for one item may know besides the item. @public */
export interface MapAsyncContext {
  /** Which item of its subscription it is, from 0. */
  readonly index: number;
  /**
   * Aborted when the result of this item is of no use any more: the stream was left, or it fails by an earlier item. Made when it
   * is first asked for.
   */
  readonly signal: AbortSignal;
}

/** How much work `mapAsync` does at once, and how much may wait for it. @public */
export interface MapAsyncOptions {
  /**
   * Items at work at once: a whole number of at least 1. `Infinity` is no bound: then nothing waits, and nothing is held back.
   * @defaultValue 1
   */
  readonly concurrency?: number | undefined;
  /**
   * Items besides `concurrency` that may be held, until it is their turn to be worked on or to be emitted, before the stream that
   * brings them is paused: a whole number of at least 0. Some let the work go on while a paused socket starts to flow again.
   * @defaultValue 16 (chosen)
   */
  readonly pauseAtWaiting?: number | undefined;
  /**
   * Items besides `concurrency` that may be held where a source cannot be paused; one more is a LimitError. A whole number of at
   * least 1; below `pauseAtWaiting` it stands for that too.
   * @defaultValue 65,536 (chosen)
   */
  readonly maxWaiting?: number | undefined;
}

/**
 * Does asynchronous work for each item, such as a write to a database, keeps the order, and holds the source back meanwhile.
 *
 * ```text
 * source            -a-b-c-d|
 * fn(a)              ----A             fn takes four frames
 * fn(b)                  ----B
 * result            -----A---B---C---(D|)
 * concurrency: 2    -----A-B-C-(D|)
 * ```
 * RxJS's `concatMap` and `mergeMap` queue what comes while they work, without a bound and without a word to the source. Here the
 * stream that fills it is paused when `concurrency` items and `pauseAtWaiting` more are held, and goes on when one of them has been
 * emitted; so a server that sends faster than the work is done is made to wait.
 *
 * `fn` is called in the order of the items and for every one of them; stream events such as `restart` are items like all others. It
 * returns a value or a promise of one. A value is emitted at once where nothing is before it; an observable is a value, and
 * nobody subscribes to it (`lastValueFrom` makes a promise of it). What `fn` subscribes to is no part of this stream.
 *
 * Emits the results in the order of their items, each as soon as those before it have been emitted, in the microtask of its promise.
 * Completes after the last result. Errors with the source's error after the results of the items before it. Errors with what
 * `fn` throws or rejects with, after the results of the items before that one: the source is stopped and later work is aborted
 * at once, earlier work goes on. Of several failures the one whose item came first is told. Errors with LimitError where a source
 * cannot be paused, after the results of what was taken. Unsubscribing stops the source and aborts all work; what becomes of
 * that work, a failure too, is told to nobody.
 * Holds at most `concurrency` and `pauseAtWaiting` items or results, and what one network chunk brings, also while a full sink
 * below has paused the source: the work goes on then, and its results go to that sink. A source that cannot be paused: at most
 * `concurrency` and `maxWaiting`.
 *
 * Put `retryOnDisconnect` above it, next to the call: below it would ask the call again when the work fails, and items that were
 * delivered and not worked on would be lost. Put `delay` and `observeOn` below it: behind them a stream that was begun late (in a
 * `mergeMap`, by `retry`) is not known, and not paused. Work that feeds its own source can wait for itself; `isolate()` between
 * them keeps it from that.
 *
 * @example
 * ```ts
 * fromCall(call).pipe(
 *   toTokens(),
 *   bufferSentences(),
 *   mapAsync(async (text, { index, signal }) => {
 *     await fetch(url, { method: 'POST', body: JSON.stringify({ index, text }), signal });
 *     return index;
 *   }, { concurrency: 4 }),
 * ).subscribe({ next: (index) => log('stored', index), error: report });
 * ```
 * @param fn - the work; what it throws or rejects with is the stream's error, unwrapped
 * @param options - see {@link MapAsyncOptions}
 * @returns an operator; `fn` is not called before the first item
 * @throws TypeError when `fn` is not a function; RangeError for an option out of its range
 * @public
 */
export function mapAsync<T, R>(
  fn: (item: T, context: MapAsyncContext) => R | PromiseLike<R>,
  options: MapAsyncOptions = {},
): OperatorFunction<T, R> {
  const { concurrency = 1, pauseAtWaiting = 16, maxWaiting = 65_536 } = options;
  if (typeof fn !== 'function')
    throw new TypeError(`mapAsync takes a function, got ${fn === null ? 'null' : typeof fn}`);
  if (concurrency !== Infinity) requireInteger(1, { concurrency });
  requireInteger(0, { pauseAtWaiting });
  requireInteger(1, { maxWaiting });
  return operate((source, subscriber) => {
    new Mapping(fn, { concurrency, pauseAtWaiting, maxWaiting }, subscriber).start(source);
  });
}

/** What is to be told to the subscriber, and as part of whose delivery. */
interface Notice {
  readonly notify: () => void;
  /** The stack on which it came, where it was not told on that stack itself. */
  place: Place | undefined;
}

type Place = (run: () => void) => void;

/** One item that was taken, from then until its result is on its way. */
class Work<T> implements MapAsyncContext {
  readonly item: T;
  readonly index: number;
  next: Work<T> | undefined;
  place: Place | undefined;
  /** Set when there is a result, or a failure. */
  notify: (() => void) | undefined;
  /** Its result was emitted, or is of no use. */
  isOver = false;
  #controller: AbortController | undefined;
  #isAborted = false;

  constructor(item: T, index: number) {
    this.item = item;
    this.index = index;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isAborted) this.#controller.abort();
    return this.#controller.signal;
  }

  abort(): void {
    this.#isAborted = true;
    this.#controller?.abort();
  }
}

class Mapping<T, R> {
  readonly #fn: (item: T, context: MapAsyncContext) => R | PromiseLike<R>;
  readonly #concurrency: number;
  readonly #maxWaiting: number;
  /** As many held are too many for a source that can be paused. */
  readonly #pauseAt: number;
  readonly #subscriber: Subscriber<R>;
  readonly #scope: Scope = new Scope(false);
  readonly #outside: Place = outside();
  #upstream: Subscription | undefined;

  /** What is held, in the order of the items. */
  #first: Work<T> | undefined;
  #last: Work<T> | undefined;
  #held = 0;
  /** The first of those that `fn` was not called for. */
  #waiting: Work<T> | undefined;
  #atWork = 0;
  #index = 0;
  #end: Notice | undefined;
  #isAdvancing = false;

  constructor(
    fn: (item: T, context: MapAsyncContext) => R | PromiseLike<R>,
    { concurrency, pauseAtWaiting, maxWaiting }: Record<keyof MapAsyncOptions, number>,
    subscriber: Subscriber<R>,
  ) {
    this.#fn = fn;
    this.#concurrency = concurrency;
    this.#maxWaiting = maxWaiting;
    this.#pauseAt = concurrency + Math.min(pauseAtWaiting, maxWaiting);
    this.#subscriber = subscriber;
  }

  start(source: Observable<T>): void {
    const scope = this.#scope;
    // Before subscribing: the source may finish at once.
    this.#subscriber.add(() => {
      this.#leave();
    });
    draw<T>(source, this.#subscriber, scope, (upstream) => {
      this.#upstream = upstream;
      return {
        next: (item) => {
          this.#take(item);
        },
        error: (error) => {
          this.#endWith(() => {
            this.#subscriber.error(error);
          });
        },
        complete: () => {
          this.#endWith(() => {
            this.#subscriber.complete();
          });
        },
        left: () => {
          // Others may read on from what it shares with them.
          scope.release();
        },
      };
    });
  }

  #take(item: T): void {
    if (this.#held >= this.#concurrency + this.#maxWaiting) {
      this.#refuse();
      return;
    }
    const work = new Work(item, this.#index);
    this.#index += 1;
    if (this.#last === undefined) this.#first = work;
    else this.#last.next = work;
    this.#last = work;
    this.#waiting ??= work;
    this.#held += 1;
    this.#advance();
    if (!work.isOver) work.place = placeOfDelivery();
    // Left meanwhile, it would never let go again.
    if (this.#held >= this.#pauseAt && this.#upstream?.closed === false) this.#pause();
  }

  #refuse(): void {
    const max = this.#maxWaiting;
    const message = `More than ${String(max)} items wait in mapAsync, and the source cannot be paused`;
    this.#upstream?.unsubscribe();
    this.#endWith(() => {
      this.#subscriber.error(new LimitError('maxWaiting', max, message));
    });
  }

  #endWith(notify: () => void): void {
    const end: Notice = { notify, place: undefined };
    this.#end = end;
    this.#advance();
    // It waits for the results before it.
    if (this.#end === end) end.place = placeOfDelivery();
  }

  /** Emits what is next, and begins what there is room for. One at a time: either may bring more, or end it all. */
  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      while (!this.#subscriber.closed) {
        if (this.#first?.notify !== undefined) this.#emit(this.#first, this.#first.notify);
        else if (this.#waiting !== undefined && this.#atWork < this.#concurrency) this.#begin(this.#waiting);
        else break;
      }
    } finally {
      this.#isAdvancing = false;
    }
    if (this.#first === undefined && this.#end !== undefined) {
      const end = this.#end;
      this.#end = undefined;
      tell(end.place, end.notify);
    } else if (this.#held < this.#pauseAt && this.#scope.held.size > 0) this.#scope.release();
  }

  #emit(work: Work<T>, notify: () => void): void {
    this.#first = work.next;
    if (work.next === undefined) this.#last = undefined;
    this.#held -= 1;
    work.isOver = true;
    tell(work.place, notify);
  }

  #begin(work: Work<T>): void {
    this.#waiting = work.next;
    this.#atWork += 1;
    const fn = this.#fn;
    this.#outside(() => {
      this.#settle(work, () => fn(work.item, work));
    });
  }

  /** Takes what `run` gives, now or later, for the result of the work; only the first word counts. */
  #settle(work: Work<T>, run: () => R | PromiseLike<R>): void {
    let isSettled = false;
    const settle = (then: () => void): void => {
      if (isSettled) return;
      isSettled = true;
      // What was abandoned may end as it likes.
      if (!work.isOver) then();
    };
    const fail = (error: unknown): void => {
      settle(() => {
        this.#fail(work, error);
      });
    };
    try {
      const result = run();
      if (isThenable(result)) {
        result.then((value) => {
          settle(() => {
            this.#settle(work, () => value);
          });
        }, fail);
      } else {
        settle(() => {
          this.#succeed(work, result);
        });
      }
    } catch (error) {
      fail(error);
    }
  }

  #succeed(work: Work<T>, result: R): void {
    this.#atWork -= 1;
    work.notify = (): void => {
      this.#subscriber.next(result);
    };
    this.#advance();
  }

  /** Nothing after this item is of use, whatever it is. */
  #fail(work: Work<T>, error: unknown): void {
    this.#atWork -= 1;
    work.notify = (): void => {
      this.#subscriber.error(error);
    };
    const later = work.next;
    work.next = undefined;
    this.#last = work;
    this.#waiting = undefined;
    try {
      this.#upstream?.unsubscribe();
    } finally {
      this.#abandon(later);
      this.#advance();
    }
  }

  #leave(): void {
    const works = this.#first;
    this.#first = undefined;
    this.#last = undefined;
    this.#waiting = undefined;
    this.#end = undefined;
    this.#abandon(works);
  }

  /** Drops a work that was taken out, and all that come after it. */
  #abandon(first: Work<T> | undefined): void {
    if (first === undefined) return;
    const dropped: Work<T>[] = [];
    for (let work: Work<T> | undefined = first; work !== undefined; work = work.next) {
      work.isOver = true;
      dropped.push(work);
    }
    this.#outside(() => {
      for (const work of dropped) work.abort();
    });
  }

  /**
   * Pauses the stream that is delivering or, where the stack does not tell, those that are known. Not the orphans, as a sink would
   * where it knows none: the work itself may wait for one of them.
   */
  #pause(): void {
    const scope = this.#scope;
    scope.current();
    const canHold = (flow: Flow): boolean => !scope.held.has(flow) && !flow.isolatedFrom.has(scope);
    if ([...scope.flows, ...scope.nearby].some(canHold)) scope.pause();
  }
}

function tell(place: Place | undefined, notify: () => void): void {
  if (place === undefined) notify();
  else place(notify);
}

/** Where what is told later is part of the delivery that is going on now: a full sink then pauses the stream that brought it. */
function placeOfDelivery(): Place {
  let place: Place = tellHere;
  subscribeWithin(undefined, () => {
    place = thisPlace();
  });
  return place;
}

function tellHere(run: () => void): void {
  run();
}

function isThenable<R>(value: R | PromiseLike<R>): value is PromiseLike<R> {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function';
  return isObject && typeof (value as Partial<PromiseLike<R>>).then === 'function';
}
