import * as fc from 'fast-check';
import { from, lastValueFrom, Subject, take, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { progress, type ProgressOptions, type TaskProgress } from '../../src/operators/progress.js';
import { inferencesh } from '../../src/providers/index.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startProviderServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function at(current: number, total?: number, message?: string): StreamEvent {
  return {
    type: 'progress',
    current,
    ...(total !== undefined && { total }),
    ...(message !== undefined && { message }),
  };
}

const status = (word: string, terminal: boolean): StreamEvent => ({ type: 'status', status: word, terminal });

const events: Record<string, StreamEvent> = {
  q: status('queued', false),
  w: status('running', false),
  c: status('completed', true),
  x: status('failed', true),
  t: { type: 'text', text: 'Hi', index: 0, name: 'output' },
  z: at(0, 10),
  a: at(2, 10, 'first'),
  b: at(4, 10),
  d: at(1, 10),
  r: { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 0 } },
  f: { type: 'finish', reason: 'stop' },
};

/** What is told of events that come at given times. */
function play(feed: readonly (readonly [number, StreamEvent])[], options: ProgressOptions = {}): TaskProgress[] {
  const scheduler = new VirtualTimeScheduler(undefined, Infinity);
  const source = new Subject<StreamEvent>();
  const seen: TaskProgress[] = [];
  source.pipe(progress({ ...options, scheduler })).subscribe((each) => seen.push(each));
  for (const [time, event] of feed) {
    scheduler.schedule(() => {
      source.next(event);
    }, time);
  }
  scheduler.flush();
  return seen;
}

describe('progress', () => {
  it(
    'stays silent while the source does, and sets no timer',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(progress())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with a source that tells nothing',
    marbles((m) => {
      const source = m.cold(' -q-w-t-|', events);
      const subs = '          ^------!';
      const expected = '      -------|';
      m.expect(source.pipe(progress())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'tells how far, how fast and how long, and 1 at the end',
    marbles((m) => {
      const source = m.cold(' -w-a-b-c-(f|)', events);
      const subs = '          ^--------!   ';
      const expected = '      ---a-b-c-|   ';
      const [a, b, c] = [
        { current: 2, total: 10, fraction: 0.2, message: 'first', elapsedMs: 3 },
        { current: 4, total: 10, fraction: 0.4, ratePerSecond: 1000, remainingMs: 6, message: 'first', elapsedMs: 5 },
        { current: 10, total: 10, fraction: 1, ratePerSecond: 1000, remainingMs: 0, message: 'first', elapsedMs: 7 },
      ];
      m.expect(source.pipe(progress())).toBeObservable(expected, { a, b, c });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes the source’s error on',
    marbles((m) => {
      const source = m.hot('  -a-#', events);
      const subs = '          ^--!';
      const expected = '      -a-#';
      const a = { current: 2, total: 10, fraction: 0.2, message: 'first', elapsedMs: 1 };
      m.expect(source.pipe(progress())).toBeObservable(expected, { a });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source when the subscriber leaves',
    marbles((m) => {
      const source = m.hot('  -q-a-|', events);
      const subs = '          ^-!   ';
      const expected = '      ---   ';
      m.expect(source.pipe(progress()), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'measures for each subscriber afresh',
    marbles((m) => {
      const source = m.hot('  -z-b|', events);
      const told = source.pipe(progress());
      const z = { current: 0, total: 10, fraction: 0, elapsedMs: 1 };
      const b = { current: 4, total: 10, fraction: 0.4, elapsedMs: 3 };
      m.expect(told).toBeObservable('       -z-b|', { z, b: { ...b, ratePerSecond: 2000, remainingMs: 3 } });
      m.expect(told, '--^').toBeObservable('---b|', { b: { ...b, elapsedMs: 1 } });
      m.expect(source).toHaveSubscriptions(['^---!', '--^-!']);
    }),
  );

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<StreamEvent> {
      for (;;) yield at((produced += 1));
    }
    const seen: number[] = [];
    from(endless())
      .pipe(progress(), take(1))
      .subscribe(({ current }) => seen.push(current));
    expect([seen, produced]).toEqual([[1], 1]);
  });

  it('stays in order when a subscriber feeds the source from inside next', () => {
    const source = new Subject<StreamEvent>();
    const seen: number[] = [];
    source.pipe(progress()).subscribe(({ current }) => {
      seen.push(current);
      if (current === 1) source.next(at(2));
    });
    source.next(at(1));
    source.next(at(1));
    expect(seen).toEqual([1, 2, 2]);
  });
});

describe('the progress that is told', () => {
  it('never goes back', () => {
    expect(play([5, 3, 6, 1].map((current, index) => [index, at(current)])).map(({ current }) => current)).toEqual([
      5, 5, 6, 6,
    ]);
  });

  it('holds its fraction when the total grows, and rises when it shrinks', () => {
    const told = play([
      [0, at(5, 10)],
      [1, at(6, 20)],
      [2, at(12, 20)],
      [3, at(12, 15)],
      [4, at(13)],
      [5, at(13, 5)],
    ]);
    expect(told.map(({ fraction }) => fraction)).toEqual([0.5, 0.5, 0.6, 0.8, 13 / 15, 1]);
    expect(told.map(({ total }) => total)).toEqual([10, 20, 20, 15, 15, 5]);
  });

  it('is an end once: completed and finish, and progress after them, tell no more', () => {
    const told = play(
      [at(1, 4), status('completed', true), at(2, 4), { type: 'finish', reason: 'stop' } as const].map((e) => [0, e]),
    );
    expect(told.map(({ current, fraction }) => [current, fraction])).toEqual([
      [1, 0.25],
      [4, 1],
    ]);
  });

  it.each<[string, StreamEvent[], Partial<TaskProgress>]>([
    ['no progress', [status('completed', true)], { current: 1, total: 1, fraction: 1, remainingMs: 0 }],
    ['no status', [{ type: 'finish', reason: 'stop' }], { current: 1, total: 1, fraction: 1, remainingMs: 0 }],
    ['no total', [at(57), status('completed', true)], { current: 57, total: 57, fraction: 1 }],
    ['only zero', [at(0), status('completed', true)], { current: 1, total: 1, fraction: 1 }],
    ['more than its total', [at(5, 4), status('completed', true)], { current: 5, total: 4, fraction: 1 }],
  ])('is whole at the end of a task that told %s', (_, fed, expected) => {
    expect(play(fed.map((event) => [0, event])).at(-1)).toMatchObject(expected);
  });

  it('is not whole where the task failed', () => {
    expect(play([at(1, 2), status('failed', true), status('cancelled', true)].map((event) => [0, event]))).toHaveLength(
      1,
    );
  });

  it('begins at zero after a restart, and only then goes back', () => {
    const [, reset, next] = play([
      [0, at(8, 10, 'late')],
      [5, events['r'] ?? at(0)],
      [9, at(1, 10)],
    ]);
    expect(reset).toStrictEqual({ current: 0, elapsedMs: 5 });
    expect(next).toStrictEqual({ current: 1, total: 10, fraction: 0.1, elapsedMs: 9 });
  });

  it('says nothing of a restart before anything was told', () => {
    expect(play([[0, events['r'] ?? at(0)]])).toEqual([]);
  });

  it('is completed again after a restart', () => {
    const told = play([status('completed', true), events['r'] ?? at(0), status('completed', true)].map((e) => [0, e]));
    expect(told.map(({ current }) => current)).toEqual([1, 0, 1]);
  });
});

describe('the rate of progress', () => {
  it('is exact while the pace is even, whenever it is asked', () => {
    const told = play([1, 2, 3, 10, 11].map((second) => [1000 * second, at(2 * second, 40)]));
    for (const { ratePerSecond } of told.slice(1)) expect(ratePerSecond).toBeCloseTo(2, 9);
    expect(told[0]?.ratePerSecond).toBeUndefined();
    expect(told.at(-1)?.remainingMs).toBeCloseTo(9_000, 6);
  });

  it('counts what happened a half-life ago by half', () => {
    // Ten seconds at 3 a second, then ten at none: the first ten weigh 1/2 · 1/2, the second 1/2.
    const told = play([
      [0, at(0)],
      [10_000, at(30)],
      [20_000, at(30)],
    ]);
    expect(told.at(-1)?.ratePerSecond).toBeCloseTo(1, 9);
    const short = play(
      [
        [0, at(0)],
        [10, at(30)],
        [20, at(30)],
      ],
      { halfLifeMs: 10 },
    );
    expect(short.at(-1)?.ratePerSecond).toBeCloseTo(1000, 6);
  });

  it('takes steps of one moment together', () => {
    const told = play([
      [0, at(0, 10)],
      [1000, at(1, 10)],
      [1000, at(2, 10)],
      [2000, at(2, 10)],
    ]);
    expect(told[2]?.ratePerSecond).toBe(1);
    // The second step of that moment counts for the time after it.
    expect(told[3]?.ratePerSecond).toBeGreaterThan(0.99);
  });

  it('leaves the time left open where there is no rate', () => {
    const told = play([
      [0, at(3, 10)],
      [1000, at(3, 10)],
    ]);
    expect(told[1]).toStrictEqual({ current: 3, total: 10, fraction: 0.3, ratePerSecond: 0, elapsedMs: 1000 });
  });

  it('is never negative, infinite or NaN, and neither is anything else', () => {
    const number = fc.oneof(
      fc.double(),
      fc.integer(),
      fc.nat(10),
      fc.constantFrom(NaN, Infinity, -Infinity, -1, 0, 1e308, 5e-324),
    );
    const event: fc.Arbitrary<StreamEvent> = fc.oneof(
      { weight: 8, arbitrary: fc.record({ type: fc.constant('progress' as const), current: number }) },
      {
        weight: 8,
        arbitrary: fc.record({ type: fc.constant('progress' as const), current: number, total: number }),
      },
      fc.constantFrom(status('completed', true), status('failed', true), at(1, 2)),
      fc.constant<StreamEvent>({ type: 'finish', reason: 'stop' }),
    );
    const gap = fc.oneof(fc.nat(5000), fc.constantFrom(0, 1e-9, 1e12));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(gap, event), { maxLength: 20 }),
        fc.integer({ min: 1, max: 100_000 }),
        (steps, halfLifeMs) => {
          let time = 0;
          const told = play(
            steps.map(([wait, each]) => [(time += wait), each]),
            { halfLifeMs },
          );
          told.forEach((each, index) => {
            const { message: _, ...numbers } = each;
            for (const value of Object.values(numbers)) {
              expect(Number.isFinite(value)).toBe(true);
              expect(value).toBeGreaterThanOrEqual(0);
            }
            expect(each.fraction ?? 0).toBeLessThanOrEqual(1);
            const before = told[index - 1];
            expect(each.current).toBeGreaterThanOrEqual(before?.current ?? 0);
            expect(each.fraction ?? 0).toBeGreaterThanOrEqual(before?.fraction ?? 0);
          });
        },
      ),
    );
  });

  it('bears a clock that goes back', () => {
    const times = [1000, 2000, 500, 400, 3000];
    let index = 0;
    const scheduler = new VirtualTimeScheduler();
    scheduler.now = () => times[index] ?? 0;
    const source = new Subject<StreamEvent>();
    const seen: TaskProgress[] = [];
    source.pipe(progress({ scheduler })).subscribe((each) => seen.push(each));
    for (index = 1; index < times.length; index += 1) source.next(at(index, 10));
    expect(seen.map(({ elapsedMs }) => elapsedMs)).toEqual([1000, 0, 0, 2000]);
    expect(seen.at(-1)?.ratePerSecond).toBe(3);
  });
});

it('tells the progress of a task of inference.sh', async () => {
  await using server = await startProviderServer();
  const api = inferencesh({ apiKey: 'key-of-the-tests', baseURL: server.baseURLs.inferencesh });
  server.next({ pieces: ['one ', 'two ', 'three ', 'four'] });
  const last = await lastValueFrom(fromCall(api.run({ app: 'a/b', input: {} })).pipe(progress()));
  expect(last).toMatchObject({ current: 4, total: 4, fraction: 1, remainingMs: 0 });
});

describe('the options of progress', () => {
  it('are refused when called', () => {
    expect(() => progress({ halfLifeMs: 0 })).toThrow('halfLifeMs must be a number of at least 1, got 0');
    expect(() => progress({ halfLifeMs: Infinity })).toThrow(RangeError);
  });
});
