import * as fs from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import {
  asyncScheduler,
  concat,
  concatMap,
  defer,
  delay,
  filter,
  from,
  lastValueFrom,
  map,
  merge,
  mergeMap,
  type MonoTypeOperatorFunction,
  NEVER,
  Observable,
  observeOn,
  of,
  type OperatorFunction,
  range,
  share,
  Subject,
  type Subscription,
  switchMap,
  take,
  tap,
  timer,
  toArray,
} from 'rxjs';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { InterruptedError, LimitError } from '../../src/errors.js';
import { Flow, register, Scope } from '../../src/internal/flow.js';
import { draw, operate } from '../../src/internal/operate.js';
import { isolate } from '../../src/operators/isolate.js';
import { mapAsync, type MapAsyncContext, type MapAsyncOptions } from '../../src/operators/mapAsync.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { collect } from '../../src/sinks/collect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer } from '../../src/testing/startServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { startFlood } from '../support/flood.js';
import { marbles } from '../support/marbles.js';
import { pausable } from '../support/pausable.js';

/** A promise of the test's own: it tells what `start` says, when it says so, in the same turn too. */
function thenable<T>(start: (onValue: (value: T) => void, onError: (error: unknown) => void) => void): PromiseLike<T> {
  const promise = {
    then: (onValue: (value: T) => void, onError: (error: unknown) => void): unknown => {
      start(onValue, onError);
      return promise;
    },
  };
  return promise as PromiseLike<T>; // of whose `then` only this is used
}

/** Settles after so many frames of virtual time, which a promise cannot. */
function later<T>(frames: number, settled: { readonly value: T } | { readonly error: unknown }): PromiseLike<T> {
  return thenable((onValue, onError) => {
    timer(frames).subscribe(() => {
      if ('value' in settled) onValue(settled.value);
      else onError(settled.error);
    });
  });
}

/** Unlike a promise it may give what is one itself. */
function valueAtOnce(value: string | PromiseLike<string>): PromiseLike<string> {
  return thenable((onValue) => {
    onValue(value as string); // which is what is tried
  });
}

/** Takes so many frames for each letter. */
function upper(frames: number | Readonly<Record<string, number>>): (letter: string) => PromiseLike<string> {
  return (letter) =>
    later(typeof frames === 'number' ? frames : (frames[letter] ?? 0), { value: letter.toUpperCase() });
}

/** Work that ends when the test says so, in its microtask. */
class Desk<T> {
  readonly items: T[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #open: Deferred<unknown>[] = [];

  readonly fn = (item: T, { index, signal }: MapAsyncContext): Promise<T> => {
    expect(index).toBe(this.items.length);
    this.items.push(item);
    this.signals.push(signal);
    const promise = deferred<T>();
    this.#open.push(promise as Deferred<unknown>); // it is settled with its own item only
    return promise.promise;
  };

  async end(index: number): Promise<void> {
    this.#open[index]?.resolve(this.items[index]);
    await microtasks();
  }

  async fail(index: number, error: unknown): Promise<void> {
    this.#open[index]?.reject(error);
    await microtasks();
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}

/** Lets promises that are settled tell it; no turn of the event loop passes. */
async function microtasks(): Promise<void> {
  for (let count = 0; count < 10; count += 1) await Promise.resolve();
}

/** What an observable told so far, in order. */
function record<T>(source: Observable<T>): { readonly told: unknown[]; readonly subscription: Subscription } {
  const told: unknown[] = [];
  const subscription = source.subscribe({
    next: (value) => told.push(value),
    error: (error: unknown) => told.push({ error }),
    complete: () => told.push('|'),
  });
  return { told, subscription };
}

/** A stream that runs, and what pressure told it. */
function openFlow(): { readonly flow: Flow; readonly told: readonly boolean[] } {
  const flow = new Flow();
  const told: boolean[] = [];
  flow.onPressure = (paused) => {
    told.push(paused);
  };
  return { flow, told };
}

/** A sink that is full with each item, until it is told to go on. */
class FullSink {
  readonly taken: unknown[] = [];
  readonly #scopes: Scope[] = [];

  readonly operator: OperatorFunction<unknown, never> = operate((source, subscriber) => {
    const scope = new Scope(true);
    this.#scopes.push(scope);
    draw<unknown>(source, subscriber, scope, () => ({
      next: (item) => {
        this.taken.push(item);
        scope.pause();
      },
      left: () => {
        scope.release();
      },
    }));
  });

  drain(): void {
    for (const scope of this.#scopes) scope.release();
  }
}

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const usage: StreamEvent = { type: 'usage', outputTokens: 2, provenance: 'reported' };

const letters = [...'abcdefghijklmnopqrstuvwxyz'];
const odd = new RangeError('odd');
const throwOdd = (): never => {
  throw odd;
};

/** What an item of the property becomes. */
type Kind = 'value' | 'later' | 'throws' | 'rejects';

class Failure extends Error {
  constructor(item: number) {
    super(`of ${String(item)}`);
  }
}

const again = (): MonoTypeOperatorFunction<StreamEvent> => retryOnDisconnect({ delay: { initialMs: 0 } });

async function newFile(): Promise<string> {
  const folder = await fs.mkdtemp(join(tmpdir(), 'millrace-mapAsync-'));
  onTestFinished(() => fs.rm(folder, { recursive: true, force: true }));
  return join(folder, 'a.md');
}

/** Lets the event loop turn until it is so; the test's own time limit ends what never is. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}

/** What nobody handled. */
const complaints: unknown[] = [];
const complain = (reason: unknown): void => {
  complaints.push(reason);
};
beforeAll(() => {
  process.on('unhandledRejection', complain);
});
afterEach(async () => {
  await turn();
  expect(complaints.splice(0)).toEqual([]);
});
afterAll(() => {
  process.off('unhandledRejection', complain);
});

describe('mapAsync', () => {
  it.each<[string, string, string, string, MapAsyncOptions?]>([
    ['stays silent while the source does', ' -', ' ^', ' -'],
    ['completes with a source that holds nothing', ' ---|', ' ^--!', ' ---|'],
    ['gives the result of one item', ' -a-----|', ' ^------!', ' -----A-|'],
    ['does one after the other', ' -a-b-c-d|', ' ^-------!', ' -----A---B---C---(D|)'],
    ['does two at once', ' -a-b-c-d|', ' ^-------!', ' -----A-B-C-(D|)', { concurrency: 2 }],
    ['does all at once', ' -(abcd|)', ' ^!', ' -----(ABCD|)', { concurrency: Infinity }],
    ['completes after the last result', ' -a|', ' ^-!', ' -----(A|)'],
    ['gives what it holds before an error', ' -ab#', ' ^--!', ' -----A---(B#)'],
    ['passes an error on at once where it holds nothing', ' -#', ' ^!', ' -#'],
  ])('%s', (_, source, subs, expected, options) => {
    marbles((m) => {
      const cold = m.cold(source);
      m.expect(cold.pipe(mapAsync(upper(4), options))).toBeObservable(expected);
      m.expect(cold).toHaveSubscriptions(subs);
    })();
  });

  it(
    'keeps the order however long each takes',
    marbles((m) => {
      const source = m.cold(' -abcd|');
      const subs = '          ^----!';
      const expected = '      -----(ABC)(D|)';
      const frames = { a: 4, b: 1, c: 2, d: 6 };
      m.expect(source.pipe(mapAsync(upper(frames), { concurrency: 4 }))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'goes on with the next ones while the first takes long',
    marbles((m) => {
      const source = m.cold(' -(abcdef|)');
      const expected = '      ----------(ABCDE)(F|)';
      const begun: [string, number][] = [];
      const fn = (letter: string): PromiseLike<string> => {
        begun.push([letter, m.scheduler.now()]);
        return upper({ a: 9, b: 2, c: 2, d: 2, e: 2, f: 8 })(letter);
      };
      m.expect(source.pipe(mapAsync(fn, { concurrency: 2 }))).toBeObservable(expected);
      m.flush();
      expect(begun).toEqual([
        ['a', 1],
        ['b', 1],
        ['c', 3],
        ['d', 5],
        ['e', 7],
        ['f', 9],
      ]);
    }),
  );

  it(
    'emits a value that is no promise at once, or behind what is before it',
    marbles((m) => {
      const source = m.cold(' -a-b-cd|');
      const expected = '      -A-B-----(CD|)';
      const fn = (letter: string): string | PromiseLike<string> =>
        letter === 'c' ? upper(4)(letter) : letter.toUpperCase();
      m.expect(source.pipe(mapAsync(fn, { concurrency: 2 }))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions('^------!');
    }),
  );

  it(
    'emits nothing after it is left, and stops the source',
    marbles((m) => {
      const source = m.cold(' -a-b-c-');
      const unsub = '         ------!';
      const expected = '      -----A----';
      m.expect(source.pipe(mapAsync(upper(4))), unsub).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions('^-----!');
    }),
  );

  it(
    'stops the source at a failure, and tells it after the results before it',
    marbles((m) => {
      const source = m.cold(' -abc-d-');
      const subs = '          ^---!';
      const expected = '      -------(A#)';
      const aborted: [string, number][] = [];
      const fn = (letter: string, { signal }: MapAsyncContext): PromiseLike<string> => {
        signal.addEventListener('abort', () => aborted.push([letter, m.scheduler.now()]));
        return letter === 'b' ? later(2, { error: 'error' }) : upper(6)(letter);
      };
      m.expect(source.pipe(mapAsync(fn, { concurrency: 3 }))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(aborted).toEqual([['c', 4]]);
    }),
  );

  it(
    'takes a throw for a failure',
    marbles((m) => {
      const source = m.cold(' -ab-c-');
      const subs = '          ^-!';
      const expected = '      -----(A#)';
      const fn = (letter: string): PromiseLike<string> => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- what a diagram's # stands for
        if (letter === 'b') throw 'error';
        return upper(4)(letter);
      };
      m.expect(source.pipe(mapAsync(fn, { concurrency: 2 }))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'tells of several failures the one whose item came first',
    marbles((m) => {
      const source = m.cold(' -abc-----#', undefined, 'the end');
      const expected = '      --------(A#)';
      const frames = { a: 7, b: 5, c: 1 };
      const fn = (letter: 'a' | 'b' | 'c'): PromiseLike<string> =>
        letter === 'a' ? upper(frames)(letter) : later(frames[letter], { error: letter });
      m.expect(source.pipe(mapAsync(fn, { concurrency: 3 }))).toBeObservable(expected, undefined, 'b');
      m.expect(source).toHaveSubscriptions('^---!');
    }),
  );

  it(
    'puts a failure of the work before an error of the source that came meanwhile',
    marbles((m) => {
      const source = m.cold(' -ab#', undefined, 'the end');
      const expected = '      -----A---#';
      const fn = (letter: string): PromiseLike<string> =>
        letter === 'a' ? upper(4)(letter) : later(4, { error: letter });
      m.expect(source.pipe(mapAsync(fn))).toBeObservable(expected, undefined, 'b');
    }),
  );

  it(
    'gives each subscriber work of its own',
    marbles((m) => {
      const source = m.cold(' -a-b|');
      let calls = 0;
      const mapped = source.pipe(
        mapAsync((letter: string, { index }) => {
          calls += 1;
          return later(2, { value: `${letter}${String(index)}` });
        }),
      );
      const values = { a: 'a0', b: 'b1' };
      m.expect(mapped).toBeObservable(' ---a-(b|)', values);
      m.expect(mapped.pipe(take(1))).toBeObservable('---(a|)', values);
      m.expect(source).toHaveSubscriptions(['^---!', '^--!']);
      m.flush();
      expect(calls).toBe(3);
    }),
  );

  it.each<[string, () => unknown]>([
    ['no function', () => mapAsync('fn' as never)],
    ['null', () => mapAsync(null as never)],
  ])('refuses %s', (_, build) => {
    expect(build).toThrow(TypeError);
  });

  it.each<[MapAsyncOptions, string]>([
    [{ concurrency: 0 }, 'concurrency must be a whole number of at least 1, got 0'],
    [{ concurrency: 1.5 }, 'concurrency must be'],
    [{ concurrency: NaN }, 'concurrency must be'],
    [{ pauseAtWaiting: -1 }, 'pauseAtWaiting must be a whole number of at least 0, got -1'],
    [{ pauseAtWaiting: Infinity }, 'pauseAtWaiting must be'],
    [{ maxWaiting: 0 }, 'maxWaiting must be a whole number of at least 1, got 0'],
    [{ maxWaiting: '9' as never }, 'maxWaiting must be'],
  ])('refuses %o', (options, message) => {
    expect(() => mapAsync((item) => item, options)).toThrow(RangeError);
    expect(() => mapAsync((item) => item, options)).toThrow(message);
  });
});

describe('the work', () => {
  it('is told the index of its item and begins when there is room', async () => {
    const desk = new Desk<string>();
    const { told } = record(from(['a', 'b', 'c']).pipe(mapAsync(desk.fn, { concurrency: 2 })));
    expect(desk.items).toEqual(['a', 'b']);
    await desk.end(1);
    expect([desk.items, told]).toEqual([['a', 'b', 'c'], []]);
    await desk.end(0);
    expect(told).toEqual(['a', 'b']);
    await desk.end(2);
    expect(told).toEqual(['a', 'b', 'c', '|']);
    expect(desk.signals.map(({ aborted }) => aborted)).toEqual([false, false, false]);
  });

  it('gives its result in the microtask of its promise', async () => {
    const promise = Promise.resolve('a');
    const { told } = record(of(0).pipe(mapAsync(() => promise)));
    expect(told).toEqual([]);
    await promise;
    expect(told).toEqual(['a', '|']);
  });

  it('may give anything, undefined and observables among it', () => {
    const inner = of(1);
    const { told } = record(from([undefined, null, 0, inner]).pipe(mapAsync((item) => item)));
    expect(told).toEqual([undefined, null, 0, inner, '|']);
  });

  it.each<[string, () => PromiseLike<string>]>([
    ['settles at once', () => valueAtOnce('a')],
    [
      'settles twice',
      () =>
        thenable((onValue, onError) => {
          onValue('a');
          onValue('b');
          onError('c');
        }),
    ],
    [
      'throws after it has settled',
      () =>
        thenable((onValue) => {
          onValue('a');
          throw new Error('late');
        }),
    ],
    ['gives another thenable', () => valueAtOnce(Promise.resolve('a'))],
  ])('may be a thenable that %s', async (_, make) => {
    const { told } = record(from([0, 1]).pipe(mapAsync(make)));
    await microtasks();
    expect(told).toEqual(['a', 'a', '|']);
  });

  it.each<[string, () => PromiseLike<string>]>([
    ['rejects', () => Promise.reject(odd)],
    ['has a then that throws', () => thenable(throwOdd)],
    [
      'has a then that cannot be read',
      () => Object.defineProperty({}, 'then', { get: throwOdd }) as PromiseLike<string>,
    ],
    ['rejects behind another', () => valueAtOnce(Promise.reject<string>(odd))],
  ])('that %s fails the stream, with its error as it is', async (_, make) => {
    const { told } = record(of(0).pipe(mapAsync(make)));
    await microtasks();
    expect(told).toEqual([{ error: odd }]);
    expect((told[0] as { error: unknown }).error).toBe(odd);
  });

  it('is not begun for items that came after one that failed', async () => {
    const source = new Subject<string>();
    const desk = new Desk<string>();
    const { told } = record(source.pipe(mapAsync(desk.fn, { concurrency: 2 })));
    for (const letter of 'abcd') source.next(letter);
    await desk.fail(1, odd);
    expect([source.observed, desk.items, told]).toEqual([false, ['a', 'b'], []]);
    expect(desk.signals.map(({ aborted }) => aborted)).toEqual([false, false]);
    await desk.end(0);
    expect([desk.items, told]).toEqual([
      ['a', 'b'],
      ['a', { error: odd }],
    ]);
  });

  it('goes on before a failure, and is aborted after it', async () => {
    const desk = new Desk<string>();
    const { told } = record(from(letters).pipe(mapAsync(desk.fn, { concurrency: 4 })));
    await desk.fail(2, odd);
    expect(desk.signals.map(({ aborted }) => aborted)).toEqual([false, false, false, true]);
    // It hears of its end, and fails too.
    await desk.fail(3, new Error('aborted'));
    await desk.end(1);
    await desk.end(0);
    expect(told).toEqual(['a', 'b', { error: odd }]);
    expect(desk.items).toEqual(['a', 'b', 'c', 'd']);
  });

  it('is aborted in the turn in which the stream is left, and tells nothing any more', async () => {
    const source = new Subject<string>();
    const desk = new Desk<string>();
    const { told, subscription } = record(source.pipe(mapAsync(desk.fn, { concurrency: 3 })));
    for (const letter of 'abcd') source.next(letter);
    await desk.end(1);
    subscription.unsubscribe();
    expect([source.observed, ...desk.signals.map(({ aborted }) => aborted)]).toEqual([false, true, true, true, true]);
    await desk.end(0);
    await desk.fail(2, odd);
    await desk.fail(3, odd);
    expect([desk.items, told]).toEqual([['a', 'b', 'c', 'd'], []]);
  });

  it('finds its signal aborted that asks for it after the stream was left', () => {
    let late: MapAsyncContext | undefined;
    const { subscription } = record(
      of(0).pipe(
        mapAsync((_, context) => {
          late = context;
          return new Promise<never>(() => undefined);
        }),
      ),
    );
    subscription.unsubscribe();
    expect(late?.signal.aborted).toBe(true);
  });

  it('keeps a signal that nobody aborts when its result was emitted and the stream is left', async () => {
    const desk = new Desk<string>();
    const { subscription } = record(concat(of('a'), NEVER).pipe(mapAsync(desk.fn)));
    await desk.end(0);
    subscription.unsubscribe();
    expect(desk.signals[0]?.aborted).toBe(false);
  });

  it('is begun no more than is asked for, below a synchronous source', async () => {
    const begun: number[] = [];
    const source = range(0, 5);
    const fn = (item: number): number => {
      begun.push(item);
      return item;
    };
    const { told } = record(source.pipe(mapAsync(fn), take(1)));
    const later = record(
      source.pipe(
        mapAsync((item) => Promise.resolve(fn(item))),
        take(1),
      ),
    );
    await microtasks();
    expect([told, later.told, begun]).toEqual([
      [0, '|'],
      [0, '|'],
      [0, 0],
    ]);
  });

  it('stops a synchronous source that never ends', () => {
    const endless = new Observable<number>((subscriber) => {
      for (let count = 0; !subscriber.closed; count += 1) subscriber.next(count);
    });
    expect(
      record(
        endless.pipe(
          mapAsync((item) => item),
          take(3),
        ),
      ).told,
    ).toEqual([0, 1, 2, '|']);
    expect(record(endless.pipe(mapAsync(throwOdd))).told).toEqual([{ error: odd }]);
  });

  it('may feed its source from inside the subscriber', async () => {
    for (const later of [false, true]) {
      const source = new Subject<number>();
      const told: number[] = [];
      source.pipe(mapAsync((item) => (later ? Promise.resolve(item) : item), { concurrency: 2 })).subscribe((item) => {
        if (item < 3) {
          source.next(item + 1);
          source.next(item + 10);
        }
        told.push(item);
      });
      source.next(0);
      await microtasks();
      await microtasks();
      expect(told).toEqual([0, 1, 10, 2, 11, 3, 12]);
    }
  });

  it('may feed its source, end it, or leave, from inside', () => {
    const source = new Subject<number>();
    const fed = record(
      source.pipe(
        mapAsync((item) => {
          if (item < 2) source.next(item + 1);
          else source.complete();
          return item;
        }),
      ),
    );
    source.next(0);
    expect(fed.told).toEqual([0, 1, 2, '|']);

    const other = new Subject<number>();
    const left: { readonly told: unknown[]; readonly subscription: Subscription } = record(
      other.pipe(
        mapAsync((item) => {
          left.subscription.unsubscribe();
          return item;
        }),
      ),
    );
    other.next(0);
    expect([left.told, other.observed]).toEqual([[], false]);
  });

  it('gives the same results in the same order, whatever takes how long', () => {
    const plan = fc.record({
      items: fc.array(fc.constantFrom<Kind>('value', 'value', 'later', 'later', 'later', 'throws', 'rejects'), {
        maxLength: 12,
      }),
      ending: fc.constantFrom<'complete' | 'error'>('complete', 'error'),
      concurrency: fc.constantFrom(1, 2, 3, Infinity),
      pauseAtWaiting: fc.nat(3),
      /** Where the next step is taken from: the source, or one of those at work. */
      choices: fc.array(fc.nat(), { maxLength: 40 }),
    });
    fc.assert(
      fc.property(plan, ({ items, ending, concurrency, pauseAtWaiting, choices }) => {
        const atWork = new Map<number, () => void>();
        let most = 0;
        const fn = (item: number): number | PromiseLike<number> => {
          const kind = items[item];
          if (kind === 'value') return item * 2;
          if (kind === 'throws') throw new Failure(item);
          return thenable((onValue, onError) => {
            atWork.set(item, () => {
              atWork.delete(item);
              if (kind === 'later') onValue(item * 2);
              else onError(new Failure(item));
            });
            most = Math.max(most, atWork.size);
          });
        };
        const source = new Subject<number>();
        const { told } = record(source.pipe(mapAsync(fn, { concurrency, pauseAtWaiting })));
        let fed = 0;
        const feed = (): void => {
          if (fed < items.length) source.next(fed);
          else if (ending === 'complete') source.complete();
          else source.error(odd);
          fed += 1;
        };
        for (const choice of choices) {
          const ends = [...atWork.values()];
          const end = ends[choice % (ends.length + 1)];
          if (end !== undefined) end();
          else if (fed <= items.length) feed();
        }
        while (fed <= items.length) feed();
        for (let [end] = atWork.values(); end !== undefined; [end] = atWork.values()) end();

        const failed = items.findIndex((kind) => kind === 'throws' || kind === 'rejects');
        const whole = failed < 0 ? items.length : failed;
        const end = failed >= 0 ? { error: new Failure(failed) } : ending === 'complete' ? '|' : { error: odd };
        expect(told).toEqual([...Array.from({ length: whole }, (_, item) => item * 2), end]);
        expect(most).toBeLessThanOrEqual(concurrency);
      }),
      { numRuns: 500 },
    );
  });
});

describe('pressure', () => {
  it('pauses the source when it holds its bound, and lets it go on when a result was emitted', async () => {
    const stream = pausable(letters);
    const desk = new Desk<string>();
    const { told } = record(stream.source.pipe(mapAsync(desk.fn, { concurrency: 2, pauseAtWaiting: 3 })));
    expect([stream.given, stream.told, desk.items.length]).toEqual([5, [true], 2]);
    // A result that waits for its turn is held still.
    await desk.end(1);
    expect([stream.given, stream.told, desk.items.length]).toEqual([5, [true], 3]);
    await desk.end(0);
    expect([stream.given, stream.told, desk.items.length]).toEqual([7, [true, false, true], 4]);
    expect(told).toEqual(['a', 'b']);
  });

  it.each<[MapAsyncOptions, number]>([
    [{}, 17],
    [{ pauseAtWaiting: 0 }, 1],
    [{ concurrency: 4 }, 20],
    [{ concurrency: 2, maxWaiting: 3 }, 5],
    [{ concurrency: Infinity }, 26],
  ])('with %o pauses it at %i items', (options, bound) => {
    const stream = pausable(letters);
    const { subscription } = record(stream.source.pipe(mapAsync(() => new Promise<never>(() => undefined), options)));
    expect(stream.given).toBe(bound);
    subscription.unsubscribe();
  });

  it('reads a whole source through the smallest bound', async () => {
    const stream = pausable(letters);
    const mapped = stream.source.pipe(
      mapAsync((letter) => Promise.resolve(letter), { pauseAtWaiting: 0 }),
      toArray(),
    );
    expect(await lastValueFrom(mapped)).toEqual(letters);
    expect(stream.told.filter((paused) => paused)).toHaveLength(letters.length);
  });

  it('pauses the stream that fills it, and no other', async () => {
    const [quiet, busy] = [pausable(letters.slice(0, 2)), pausable(letters)];
    const desk = new Desk<string>();
    const two = merge(concat(quiet.source, NEVER), busy.source);
    record(two.pipe(mapAsync(desk.fn, { pauseAtWaiting: 4 })));
    expect([quiet.given, quiet.told, busy.given, busy.told]).toEqual([2, [], 3, [true]]);
    await desk.end(0);
    expect([busy.given, busy.told]).toEqual([4, [true, false, true]]);
  });

  it('lets a full sink below pause the stream that brought the result, and goes on with what it holds', async () => {
    const stream = pausable(letters);
    const desk = new Desk<string>();
    const sink = new FullSink();
    const subscription = stream.source.pipe(mapAsync(desk.fn, { pauseAtWaiting: 2 }), sink.operator).subscribe();
    expect(stream.given).toBe(3);
    for (const index of [0, 1, 2]) await desk.end(index);
    expect([stream.given, sink.taken]).toEqual([3, ['a', 'b', 'c']]);
    sink.drain();
    expect(stream.given).toBe(6);
    subscription.unsubscribe();
  });

  it('lets a full sink pause only the stream whose result it got', async () => {
    const [one, other] = [pausable(letters), pausable(letters)];
    const desk = new Desk<string>();
    const sink = new FullSink();
    const read = (stream: Observable<string>): Observable<string> => stream.pipe(mapAsync(new Desk<string>().fn));
    const subscription = merge(one.source.pipe(mapAsync(desk.fn)), read(other.source))
      .pipe(sink.operator)
      .subscribe();
    await desk.end(0);
    expect(sink.taken).toEqual(['a']);
    expect([one.flow.holders.size, other.flow.holders.size]).toEqual([1, 1]);
    sink.drain();
    // Each is held by its own mapAsync: 17 items.
    expect([one.given, other.given]).toEqual([18, 17]);
    subscription.unsubscribe();
  });

  it('lets go of what others read on, when it is left', () => {
    const stream = pausable(letters);
    const shared = stream.source.pipe(share());
    const first = record(shared.pipe(mapAsync(new Desk<string>().fn)));
    const second = record(shared);
    expect(stream.given).toBe(17);
    first.subscription.unsubscribe();
    expect(second.told).toEqual([...letters.slice(17), '|']);
  });

  it('lets go of what others read on, when it fails with work before', () => {
    const start = new Subject<void>();
    const stream = pausable(letters);
    const shared = start.pipe(
      switchMap(() => stream.source),
      share(),
    );
    const fn = (letter: string): Promise<string> => {
      if (letter === 'b') throw odd;
      return new Promise(() => undefined);
    };
    const first = record(shared.pipe(mapAsync(fn, { concurrency: 2, pauseAtWaiting: 0 })));
    const second = record(shared);
    start.next();
    expect([second.told, first.told]).toEqual([letters, []]);
    first.subscription.unsubscribe();
  });

  it('does not pause streams that the work itself waits for', async () => {
    const request = openFlow();
    const source = new Subject<number>();
    const desk = new Desk<number>();
    const { subscription } = record(
      source.pipe(
        mapAsync(async (item, context) => {
          await Promise.resolve();
          register(request.flow);
          return desk.fn(item, context);
        }),
      ),
    );
    source.next(0);
    await microtasks();
    expect(desk.items).toEqual([0]);
    // So many that a sink would pause every stream whose reader it does not know.
    for (let item = 1; item < 3_000; item += 1) source.next(item);
    expect(request.told).toEqual([]);
    request.flow.end('complete');
    subscription.unsubscribe();
  });

  it('does not pause streams that its results begin below', async () => {
    const below = openFlow();
    const source = new Subject<number>();
    const desk = new Desk<number>();
    const stream = new Observable<never>(() => {
      register(below.flow);
    });
    const { subscription } = record(
      concat(of(0), source).pipe(
        mapAsync(desk.fn, { pauseAtWaiting: 0 }),
        mergeMap(() => stream),
      ),
    );
    await desk.end(0);
    for (const item of [1, 2, 3]) source.next(item);
    expect(below.told).toEqual([]);
    below.flow.end('complete');
    subscription.unsubscribe();
  });

  it('is not passed on by isolate', () => {
    const stream = pausable(letters);
    const { told } = record(stream.source.pipe(isolate(), mapAsync(new Desk<string>().fn, { maxWaiting: 30 })));
    expect([stream.given, stream.told, told]).toEqual([26, [], []]);
  });

  it('stops at its limit where a source cannot be paused, after the results of what it took', async () => {
    const source = new Subject<string>();
    const desk = new Desk<string>();
    const { told } = record(source.pipe(mapAsync(desk.fn, { concurrency: 2, maxWaiting: 3 })));
    for (const letter of 'abcde') source.next(letter);
    expect([source.observed, told]).toEqual([true, []]);
    source.next('f');
    expect([source.observed, told]).toEqual([false, []]);
    for (const index of [0, 1, 2, 3, 4]) await desk.end(index);
    expect(told).toEqual([...'abcde', { error: expect.any(LimitError) as LimitError }]);
    const { error } = told.at(-1) as { error: LimitError };
    expect([error.limit, error.max, error.message]).toEqual([
      'maxWaiting',
      3,
      'More than 3 items wait in mapAsync, and the source cannot be paused',
    ]);
    expect(desk.items).toHaveLength(5);
  });
});

describe('a sink below', () => {
  const events: readonly StreamEvent[] = [text('one '), text('two '), text('three'), usage, finish];
  const afterATurn = async <T>(item: T): Promise<T> => {
    await turn();
    return item;
  };

  it('publishes a file of a whole answer, with what its provider said', async () => {
    const path = await newFile();
    const stream = fromCall(fakeCall(events, { provider: 'mill', model: 'stone' }));
    const receipt = await lastValueFrom(stream.pipe(mapAsync(afterATurn, { concurrency: 2 }), toFile(path)));
    expect(await fs.readFile(path, 'utf8')).toBe('one two three');
    expect(receipt).toMatchObject({
      provider: 'mill',
      model: 'stone',
      outcome: 'complete',
      finish: { reason: 'stop' },
      usage: { outputTokens: 2, provenance: 'reported' },
      attempts: 1,
      billing: 'ended',
    });
  });

  it('keeps a cut answer partial, with all that was received', async () => {
    const path = await newFile();
    const cut = fromCall(fakeCall(events.slice(0, 2)));
    const error: unknown = await lastValueFrom(cut.pipe(mapAsync(afterATurn), toFile(path))).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({ received: { text: 'one two ' }, receipt: { outcome: 'interrupted', chars: 8 } });
    expect(await fs.readFile(`${path}.partial`, 'utf8')).toBe('one two ');
  });

  it('does not take half an answer for a whole one', async () => {
    const path = await newFile();
    const half = fromCall(fakeCall(events)).pipe(take(2), mapAsync(afterATurn), toFile(path));
    await expect(lastValueFrom(half)).rejects.toThrow(InterruptedError);
    expect(await fs.readFile(`${path}.partial`, 'utf8')).toBe('one two ');
  });

  it('collects the whole answer', async () => {
    const answer = await collect(fromCall(fakeCall(events)).pipe(mapAsync(afterATurn, { concurrency: 3 })));
    expect(answer).toMatchObject({
      text: 'one two three',
      usage: { outputTokens: 2 },
      receipt: { outcome: 'complete' },
    });
  });

  it('reads item for item, and hears of a cut after the last', async () => {
    const read = async (call: readonly StreamEvent[]): Promise<unknown[]> => {
      const told: unknown[] = [];
      try {
        for await (const { type } of asyncIterableFrom(fromCall(fakeCall(call)).pipe(mapAsync(afterATurn))))
          told.push(type);
      } catch (error) {
        told.push(error);
      }
      return told;
    };
    expect(await read(events)).toEqual(['text', 'text', 'text', 'usage', 'finish']);
    expect(await read(events.slice(0, 1))).toEqual(['text', expect.any(InterruptedError)]);
  });

  it('learns of a stream that began late and had ended before the first result', async () => {
    const path = await newFile();
    const desk = new Desk<StreamEvent>();
    const late = of(0).pipe(
      delay(0),
      mergeMap(() => fromCall(fakeCall(events, { provider: 'mill' }))),
    );
    const receipt = lastValueFrom(late.pipe(mapAsync(desk.fn, { concurrency: 5 }), toFile(path)));
    await until(() => desk.items.length === 5);
    for (const index of [4, 3, 2, 1, 0]) await desk.end(index);
    expect(await receipt).toMatchObject({
      provider: 'mill',
      outcome: 'complete',
      attempts: 1,
      usage: { outputTokens: 2 },
    });
  });

  it('learns of a late stream that failed while results of another waited', async () => {
    const path = await newFile();
    const desk = new Desk<StreamEvent>();
    const two = (): Observable<StreamEvent> =>
      concat(fromCall(fakeCall(events, { provider: 'one' })), fromCall(fakeCall([], { provider: 'two' })));
    const late = of(0).pipe(delay(0), mergeMap(two), mapAsync(desk.fn, { concurrency: 5 }), toFile(path));
    const failed = lastValueFrom(late).catch((error: unknown) => error);
    await until(() => desk.items.length === 5);
    for (const index of [0, 1, 2, 3, 4]) await desk.end(index);
    expect(await failed).toMatchObject({
      receipt: { provider: 'two', attempts: 2, outcome: 'interrupted', chars: 13 },
    });
  });

  it.each<[string, Observable<StreamEvent>, Partial<Receipt>]>([
    ['a call', fromCall(fakeCall(events, { provider: 'outer' })), { provider: 'outer', attempts: 1 }],
    ['a source without a flow', from(events), { attempts: 0 }],
  ])('counts only the stream, and not what the work asks, of %s', async (_, source, facts) => {
    const inner: Receipt[] = [];
    // Cut before anything came: it is known by its subscription alone.
    const cut = fromCall(fakeCall([], { provider: 'inner' })).pipe(tapReceipt((receipt) => inner.push(receipt)));
    const fn = async (event: StreamEvent): Promise<StreamEvent> => {
      await expect(lastValueFrom(cut)).rejects.toThrow(InterruptedError);
      return event;
    };
    const { receipt } = await collect(source.pipe(mapAsync(fn, { concurrency: 2 })));
    expect(receipt).toMatchObject({ ...facts, outcome: 'complete' });
    expect('provider' in receipt).toBe('provider' in facts);
    expect(inner).toHaveLength(events.length);
    for (const each of inner) expect(each).toMatchObject({ provider: 'inner', attempts: 1, outcome: 'interrupted' });
  });

  it('counts only the stream when it is left and the work with it', () => {
    const receipts: Receipt[] = [];
    let left = 0;
    const fn = (_: StreamEvent, { signal }: MapAsyncContext): Promise<unknown> =>
      collect(
        fromCall(fakeCall(concat(of(text('inner')), NEVER), { provider: 'inner' }), { signal }).pipe(
          tapReceipt(({ outcome, by }) => {
            expect([outcome, by]).toEqual(['stopped', 'signal']);
            left += 1;
          }),
        ),
      );
    const { subscription } = record(
      fromCall(fakeCall(concat(of(...events.slice(0, 2)), NEVER), { provider: 'outer' })).pipe(
        mapAsync(fn, { concurrency: 2 }),
        tapReceipt((receipt) => receipts.push(receipt)),
      ),
    );
    subscription.unsubscribe();
    expect(left).toBe(2);
    expect(receipts).toHaveLength(1);
    expect(receipts[0]).toMatchObject({ provider: 'outer', attempts: 1, outcome: 'stopped', by: 'unsubscribe' });
  });

  it('gets a restart in its place among the other items', async () => {
    const path = await newFile();
    const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 4 } };
    const seen: string[] = [];
    const fn = (event: StreamEvent): StreamEvent | Promise<StreamEvent> => {
      seen.push(event.type);
      return event.type === 'restart' ? event : afterATurn(event);
    };
    const source = from([text('one '), restart, text('two'), finish]);
    await lastValueFrom(source.pipe(mapAsync(fn, { concurrency: 4 }), toFile(path)));
    expect(await fs.readFile(path, 'utf8')).toBe('two');
    expect(seen).toEqual(['text', 'restart', 'text', 'finish']);
  });
});

describe('in company', () => {
  it('runs on its own in each stream of a mergeMap', async () => {
    const desks = new Map([1, 2].map((key) => [key, new Desk<string>()]));
    const { told } = record(
      of(1, 2).pipe(mergeMap((key) => from([`${String(key)}a`, `${String(key)}b`]).pipe(mapAsync(desks.get(key)!.fn)))),
    );
    for (const [key, index] of [
      [2, 0],
      [1, 0],
      [2, 1],
      [1, 1],
    ] as const)
      await desks.get(key)!.end(index);
    expect(told).toEqual(['2a', '1a', '2b', '1b', '|']);
  });

  it('is left with its work by a switchMap', async () => {
    const [first, second] = [new Desk<string>(), new Desk<string>()];
    const keys = new Subject<Desk<string>>();
    const { told } = record(keys.pipe(switchMap((desk) => concat(of('a'), NEVER).pipe(mapAsync(desk.fn)))));
    keys.next(first);
    keys.next(second);
    expect([first.signals[0]?.aborted, second.signals[0]?.aborted]).toEqual([true, false]);
    await first.end(0);
    await second.end(0);
    expect(told).toEqual(['a']);
  });

  it.each<[string, (stream: Observable<StreamEvent>) => Observable<StreamEvent>]>([
    [
      'below retryOnDisconnect',
      (stream) =>
        stream.pipe(
          again(),
          mapAsync((event) => Promise.resolve(event)),
        ),
    ],
    [
      'above retryOnDisconnect',
      (stream) =>
        stream.pipe(
          mapAsync((event) => Promise.resolve(event)),
          again(),
        ),
    ],
  ])('gives all of an answer that was cut, %s', async (_, through) => {
    let asked = 0;
    const call = fakeCall(
      defer(() => ((asked += 1) === 1 ? from([text('one ')]) : from([text('two'), finish]))),
      { resume: 'on' },
    );
    const answer = await collect(through(fromCall(call)));
    expect(answer).toMatchObject({ text: 'one two', receipt: { attempts: 2, outcome: 'complete' } });
  });

  it('works once for all who share what it gives', async () => {
    const desk = new Desk<string>();
    const shared = from(['a', 'b']).pipe(mapAsync(desk.fn), share());
    const readers = [record(shared), record(shared)];
    for (const index of [0, 1]) await desk.end(index);
    expect(readers.map(({ told }) => told)).toEqual([
      ['a', 'b', '|'],
      ['a', 'b', '|'],
    ]);
    expect(desk.items).toEqual(['a', 'b']);
  });

  it('holds back what it shares with a faster reader, and both get all', async () => {
    const stream = pausable(letters);
    const start = new Subject<void>();
    const shared = start.pipe(
      switchMap(() => stream.source),
      share(),
    );
    const slow = record(shared.pipe(mapAsync((letter) => turn(letter), { concurrency: 2 })));
    const fast = record(shared);
    start.next();
    start.complete();
    expect(fast.told).toHaveLength(18);
    await until(() => slow.told.length > letters.length);
    expect([slow.told, fast.told]).toEqual([
      [...letters, '|'],
      [...letters, '|'],
    ]);
  });
});

describe('a real socket', () => {
  const MARK = 16;

  /** How many pieces of a flood had left its source and were not worked on, at the worst moment, while 100 were. */
  async function flooded(
    through: (work: (event: StreamEvent) => Promise<void>) => OperatorFunction<StreamEvent, unknown>,
    frames = 20_000,
    behind: OperatorFunction<StreamEvent, StreamEvent> = (source) => source,
  ): Promise<{ readonly held: number; readonly pulled: number; readonly done: number }> {
    const flood = await startFlood(frames);
    onTestFinished(() => flood.close());
    let [pulled, done, held] = [0, 0, 0];
    const work = async (): Promise<void> => {
      for (let turns = 0; turns < 5; turns += 1) await turn();
      done += 1;
    };
    const stream = fromCall(flood.ask()).pipe(
      tap(() => {
        pulled += 1;
        held = Math.max(held, pulled - done);
      }),
      behind,
      through(work),
      take(100),
    );
    await lastValueFrom(stream);
    return { held, pulled, done };
  }

  it('is paused at the bound and one chunk, where concatMap takes all that comes', async () => {
    const [bounded, queued] = [await flooded((work) => mapAsync(work)), await flooded((work) => concatMap(work))];
    const wide = await flooded((work) => mapAsync(work, { concurrency: 8, pauseAtWaiting: 0 }));
    console.log(
      `mapAsync: at most ${String(bounded.held)} items held (8 at once: ${String(wide.held)}) where concatMap held ${String(queued.held)} ` +
        `of 20,000, ${String(Math.round(queued.held / bounded.held))} times as many`,
    );
    expect(bounded.held).toBeLessThanOrEqual(1 + MARK + 1);
    expect(wide.held).toBeLessThanOrEqual(8 + 1);
    expect(queued.held).toBeGreaterThan(100 * bounded.held);
  });

  it('is paused behind an asynchronous operator, at what is on the way', async () => {
    const { held } = await flooded((work) => mapAsync(work), 20_000, observeOn(asyncScheduler));
    expect(held).toBeLessThan(5_000);
  });

  it('makes the server wait', async () => {
    const chunk = `data: ${'x'.repeat(65_529)}\n\n`;
    const total = 512;
    let sent = 0;
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const pour = (): void => {
        while (sent < total) {
          sent += 1;
          if (!response.write(chunk)) {
            response.once('drain', pour);
            return;
          }
        }
        response.end();
      };
      pour();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const gate = new Subject<void>();
    let [taken, done] = [0, 0];
    const stream = fromHTTP(url).pipe(
      parseSSE(),
      filter((event) => event.type === 'event'),
      tap(() => (taken += 1)),
      mapAsync(async ({ data }) => {
        await lastValueFrom(gate.pipe(take(1)));
        done += 1;
        return data.length;
      }),
    );
    const whole = lastValueFrom(stream.pipe(toArray()));
    // What the two systems' buffers take is sent; then nothing moves until the work does.
    let [still, last] = [0, ''];
    while (still < 200) {
      await turn();
      still = last === `${String(sent)} ${String(taken)}` ? still + 1 : 0;
      last = `${String(sent)} ${String(taken)}`;
    }
    console.log(
      `mapAsync: the server could send ${String(sent)} of ${String(total)} chunks of 64 KiB, ${String(taken)} arrived`,
    );
    expect(taken).toBeLessThanOrEqual(1 + MARK + 1);
    expect(sent).toBeLessThan(total / 2);
    while (done < total) {
      gate.next();
      await turn();
      expect(taken - done).toBeLessThanOrEqual(1 + MARK + 1);
    }
    expect(await whole).toHaveLength(total);
  });

  it('that is reset is told after the results of what came', async () => {
    await using server = await startServer();
    const desk = new Desk<string>();
    const { told } = record(
      fromHTTP(server.url).pipe(
        parseSSE(),
        filter((event) => event.type === 'event'),
        map(({ data }) => data),
        mapAsync(desk.fn),
      ),
    );
    const exchange = await server.accept();
    await exchange.write('data: a\n\ndata: b\n\n');
    await until(() => desk.items.length === 1);
    exchange.reset();
    await exchange.closed;
    await desk.end(0);
    expect(told).toEqual(['a']);
    await until(() => desk.items.length === 2);
    await desk.end(1);
    await until(() => told.length === 3);
    expect(told).toEqual(['a', 'b', { error: expect.any(InterruptedError) as InterruptedError }]);
  });

  it('is closed in the turn in which the work fails', async () => {
    await using server = await startServer();
    const { told } = record(fromHTTP(server.url).pipe(mapAsync(() => Promise.reject(odd))));
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    expect(await exchange.ended).toBe('client');
    expect(told).toEqual([{ error: odd }]);
  });
});
