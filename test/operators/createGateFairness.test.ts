import fc from 'fast-check';
import { defer, merge, Observable, of, throwError, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { HTTPError, InterruptedError } from '../../src/errors.js';
import { createGate, type CreateGateOptions } from '../../src/operators/createGate.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const refused = (): HTTPError => new HTTPError('HTTP 429', { status: 429 });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };

/** Chance that can be repeated (a linear congruential generator). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

interface Run {
  readonly scheduler: VirtualTimeScheduler;
  /** Starts a stream, which may be refused so often whatever the load; its number is the order of its subscription. */
  readonly start: (lasts: number, refusals?: number) => void;
  /** When each was over, and how often it had been asked. */
  readonly done: Map<number, { readonly at: number; readonly attempts: number }>;
  /** The streams in the order in which they were asked. */
  readonly asked: number[];
}

/** A server that takes so many at a time and refuses others, and streams that are asked again until they come through. */
function storm(capacity: number, options: CreateGateOptions, seed: number): Run {
  const scheduler = new VirtualTimeScheduler(undefined, Infinity);
  const gate = createGate({ pauseMs: 100, maxPauseMs: 2_000, scheduler, ...options });
  const random = chance(seed);
  const done: Run['done'] = new Map();
  const asked: number[] = [];
  let serving = 0;
  let started = 0;
  const start = (lasts: number, refusals = 0): void => {
    const number = (started += 1);
    let attempts = 0;
    const answer = new Observable<StreamEvent>((subscriber) => {
      attempts += 1;
      asked.push(number);
      if (attempts <= refusals || serving >= capacity) {
        subscriber.add(
          scheduler.schedule(() => {
            subscriber.error(refused());
          }, 2),
        );
        return;
      }
      serving += 1;
      subscriber.add(() => (serving -= 1));
      subscriber.add(
        scheduler.schedule(() => {
          subscriber.next(finish);
        }, lasts),
      );
    });
    fromCall(fakeCall(answer))
      .pipe(
        gate('k'),
        retryOnDisconnect({ refusals: Infinity, delay: { initialMs: 50, maxMs: 500 }, random, scheduler }),
      )
      .subscribe({ complete: () => done.set(number, { at: scheduler.frame, attempts }) });
  };
  return { scheduler, start, done, asked };
}

describe('a storm of refusals', () => {
  it.each<[string, CreateGateOptions]>([
    ['finds its measure', { concurrency: 100, adapt: true }],
    ['begins with few', { concurrency: 100, adapt: { initial: 4 } }],
    ['does not adapt', { concurrency: 20 }],
  ])('lets each of a hundred streams through in bounded time where the gate %s', (_, options) => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const run = storm(5, options, seed);
      for (let i = 0; i < 100; i += 1) run.start(40 + (i % 7) * 10);
      run.scheduler.flush();
      expect(run.done.size).toBe(100);
      // Five at a time would take 1,400 ms without a refusal.
      expect(run.scheduler.frame).toBeLessThan(options.adapt === undefined ? 40_000 : 4_000);
      expect(Math.max(...[...run.done.values()].map(({ attempts }) => attempts))).toBeLessThanOrEqual(8);
    }
  });

  it('overtakes nobody more often than by those before it, each of them four times', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 12 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 2 ** 31 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.constantFrom(0, 0, 0, 2, 9)), {
          minLength: 1,
          maxLength: 40,
        }),
        (capacity, concurrency, adapts, seed, streams) => {
          const run = storm(capacity, { concurrency, adapt: adapts }, seed);
          for (const [lasts, refusals] of streams) run.start(lasts, refusals);
          run.scheduler.flush();
          expect(run.done.size).toBe(streams.length);
          // First attempts come in the order of subscription, whoever is asked again.
          expect([...new Set(run.asked)]).toStrictEqual(streams.map((_, index) => index + 1));
          for (let number = 1; number <= streams.length; number += 1) {
            expect(run.asked.indexOf(number)).toBeLessThanOrEqual((number - 1) * 4);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('lets the old ones through though new ones come without end', () => {
    const run = storm(5, { concurrency: 50, adapt: true }, 7);
    for (let i = 0; i < 50; i += 1) run.start(50);
    // Twice as many as the server can take: the queue grows, and those at its front do not notice.
    const come = (): void => {
      run.start(50);
      if (run.scheduler.frame < 20_000) run.scheduler.schedule(come, 5);
    };
    run.scheduler.schedule(come, 5);
    run.scheduler.flush();
    const first = Array.from({ length: 50 }, (_, index) => run.done.get(index + 1)?.at ?? Infinity);
    expect(Math.max(...first)).toBeLessThan(2_000);
    expect(run.done.size).toBeGreaterThan(4_000);
  });

  it.each([1, 10])(
    'is not made by one that is always refused: the others come through, %i at a time',
    (concurrency) => {
      const run = storm(5, { concurrency, adapt: true }, 3);
      run.start(50, Infinity);
      for (let i = 0; i < 100; i += 1) run.start(50);
      while (run.done.size < 100 && run.scheduler.frame < 200_000) {
        run.scheduler.maxFrames = run.scheduler.frame + 1_000;
        run.scheduler.flush();
      }
      expect(run.done.size).toBe(100);
      // One at a time would take 5,000 ms without a refusal.
      expect(run.scheduler.frame).toBeLessThan(15_000);
      expect(run.asked.filter((number) => number === 1).length).toBeGreaterThan(4);
    },
  );
});

const lost = new InterruptedError('lost');
const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const events: Record<string, StreamEvent> = { a: text('A'), b: text('B'), c: text('C'), f: finish };
const at = { random: () => 1, delay: { initialMs: 2, maxMs: 2 } };

describe('a stream that is asked again', () => {
  it(
    'keeps its place before those that came after it',
    marbles((m) => {
      const gate = createGate({ perKey: 1 });
      const broken = m.cold(' -#', events, lost);
      const whole = m.cold('  -a(f|)', events);
      const other = m.cold('  ----(f|)', events);
      let attempts = 0;
      const call = fakeCall(defer(() => ((attempts += 1) === 1 ? broken : whole)));
      const retried = fromCall(call).pipe(gate('k'), retryOnDisconnect(at));
      const others = fromCall(fakeCall(other)).pipe(gate('k'));
      m.expect(retried).toBeObservable(' ------a(f|)', events); // before the second of the others
      m.expect(others).toBeObservable('  -----(f|)', events);
      m.expect(others).toBeObservable('  -----------(f|)', events);
      m.expect(broken).toHaveSubscriptions('^!');
      m.expect(other).toHaveSubscriptions(['-^---!', '-------^---!']);
      m.expect(whole).toHaveSubscriptions(' -----^-!');
    }),
  );

  it('goes behind the others after three returns', () => {
    const scheduler = new VirtualTimeScheduler(undefined, Infinity);
    const gate = createGate({ perKey: 1, scheduler });
    const asked: string[] = [];
    const again = fakeCall(
      defer(() => {
        asked.push('again');
        return throwError(() => lost);
      }),
    );
    fromCall(again)
      .pipe(gate('k'), retryOnDisconnect({ ...at, count: 8, scheduler }))
      .subscribe({ error: () => asked.push('given up') });
    // Each takes longer than the pause before the next attempt.
    for (const name of ['1', '2', '3', '4', '5', '6', '7', '8']) {
      new Observable<never>((subscriber) => {
        asked.push(name);
        subscriber.add(
          scheduler.schedule(() => {
            subscriber.complete();
          }, 5),
        );
      })
        .pipe(gate('k'))
        .subscribe();
    }
    scheduler.flush();
    expect(asked).toStrictEqual(
      ['again', '1', 'again', '2', 'again', '3', 'again', '4', '5', '6', '7', '8'].concat(
        Array<string>(5).fill('again'),
        'given up',
      ),
    );
  });

  it('with another, by one retry, has that one’s place too: before those that came after both', () => {
    const scheduler = new VirtualTimeScheduler(undefined, Infinity);
    const gate = createGate({ perKey: 1, scheduler });
    const asked: string[] = [];
    const stream = (name: string, errors: number): Observable<StreamEvent> => {
      let attempts = 0;
      return fromCall(
        fakeCall(
          defer(() => {
            asked.push(name);
            return (attempts += 1) <= errors ? throwError(() => lost) : of(finish);
          }),
        ),
      ).pipe(gate('k'));
    };
    merge(stream('a', 1), stream('b', 0))
      .pipe(retryOnDisconnect({ ...at, scheduler }))
      .subscribe();
    stream('c', 1)
      .pipe(retryOnDisconnect({ ...at, scheduler }))
      .subscribe();
    stream('d', 0).subscribe();
    scheduler.flush();
    expect(gate.state('k')).toMatchObject({ running: 0, waiting: 0 });
    expect(asked).toStrictEqual(['a', 'c', 'd', 'a', 'b', 'c']);
  });
});
