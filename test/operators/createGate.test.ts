import {
  defer,
  EMPTY,
  from,
  lastValueFrom,
  merge,
  NEVER,
  Observable,
  of,
  repeat,
  Subject,
  take,
  throwError,
  toArray,
  VirtualTimeScheduler,
} from 'rxjs';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError, LimitError } from '../../src/errors.js';
import { createGate, type Gate } from '../../src/operators/createGate.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { polargrid } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall, startProviderServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const refused = (status: number, retryAfterMs?: number): HTTPError =>
  new HTTPError(`HTTP ${String(status)}`, { status, retryAfterMs });

const idle = { running: 0, waiting: 0, closedForMs: 0 };

describe('a gate', () => {
  it(
    'lets a stream through at once where there is room',
    marbles((m) => {
      const gate = createGate({ concurrency: 2, perKey: 2 });
      const source = m.cold(' -a-b-|');
      const subs = '          ^----!';
      const expected = '      -a-b-|';
      m.expect(source.pipe(gate('k'))).toBeObservable(expected);
      m.expect(source.pipe(gate('k'))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions([subs, subs]);
    }),
  );

  it(
    'stays silent while the source does, and keeps the next one waiting',
    marbles((m) => {
      const gate = createGate({ concurrency: 1 });
      const silent = m.cold('-');
      const next = m.cold('  a');
      m.expect(silent.pipe(gate())).toBeObservable('-');
      m.expect(next.pipe(gate())).toBeObservable(' -');
      m.expect(silent).toHaveSubscriptions('^');
      m.expect(next).toHaveSubscriptions([]);
    }),
  );

  it(
    'gives the place of a stream that completes to the one that waits longest',
    marbles((m) => {
      const gate = createGate({ perKey: 1 });
      const first = m.cold('  -a-|       ');
      const second = m.cold('    -b-|    ');
      const third = m.cold('        -c-| ');
      m.expect(first.pipe(gate('k'))).toBeObservable(' -a-|      ');
      m.expect(second.pipe(gate('k'))).toBeObservable('----b-|   ');
      m.expect(third.pipe(gate('k'))).toBeObservable(' -------c-|');
      m.expect(first).toHaveSubscriptions('            ^--!      ');
      m.expect(second).toHaveSubscriptions('           ---^--!   ');
      m.expect(third).toHaveSubscriptions('            ------^--!');
    }),
  );

  it(
    'gives on the place of an empty stream, of one that fails and of one that is left',
    marbles((m) => {
      const gate = createGate({ concurrency: 1 });
      const empty = m.cold('  |     ');
      const failing = m.cold('-#    ');
      const endless = m.cold('-     ');
      const last = m.cold('   -a|   ');
      m.expect(empty.pipe(gate('a'))).toBeObservable('  |      ');
      m.expect(failing.pipe(gate('b'))).toBeObservable('-#     ');
      m.expect(endless.pipe(gate('c')), '               ^--!   ').toBeObservable('-');
      m.expect(last.pipe(gate('d'))).toBeObservable('   ----a| ');
      m.expect(empty).toHaveSubscriptions('             (^!)   ');
      m.expect(failing).toHaveSubscriptions('           ^!     ');
      m.expect(endless).toHaveSubscriptions('           -^-!   ');
      m.expect(last).toHaveSubscriptions('              ---^-! ');
    }),
  );

  it(
    'sends nothing for a stream that is left while it waits, and lets the next one come',
    marbles((m) => {
      const gate = createGate({ concurrency: 1 });
      const first = m.cold('---|    ');
      const left = m.cold(' a|      ');
      const next = m.cold(' a|      ');
      m.expect(first.pipe(gate())).toBeObservable('---|');
      m.expect(left.pipe(gate()), '                ^-! ').toBeObservable('--');
      m.expect(next.pipe(gate())).toBeObservable(' ---a|');
      m.expect(left).toHaveSubscriptions([]);
      m.expect(next).toHaveSubscriptions('         ---^!');
    }),
  );

  it(
    'lets no key hold another up that is full, and keeps to the limit of all',
    marbles((m) => {
      const gate = createGate({ concurrency: 2, perKey: 1 });
      const source = m.cold('-a-|');
      const subscribe = (key: string, expected: string): void => {
        m.expect(source.pipe(gate(key))).toBeObservable(expected);
      };
      subscribe('a', '-a-|      ');
      subscribe('a', '----a-|   ');
      subscribe('b', '-a-|      ');
      subscribe('b', '-------a-|');
      subscribe('c', '----a-|   '); // c has had no turn yet
      m.expect(source).toHaveSubscriptions(['^--!', '^--!', '---^--!', '---^--!', '------^--!']);
    }),
  );

  it('lets the keys take turns, however many streams of one of them wait', () => {
    const gate = createGate({ concurrency: 1 });
    const begun: string[] = [];
    const ends: Subject<never>[] = [];
    const start = (key: string, name: string): void => {
      const end = new Subject<never>();
      defer(() => {
        begun.push(name);
        ends.push(end);
        return end;
      })
        .pipe(gate(key))
        .subscribe();
    };
    for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1']) start(name.charAt(0), name);
    while (ends.length > 0) ends.shift()?.complete();
    expect(begun).toStrictEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
  });

  it('shares nothing with another gate', () => {
    const one = createGate({ concurrency: 1 });
    const other = createGate({ concurrency: 1 });
    NEVER.pipe(one('k')).subscribe();
    NEVER.pipe(other('k')).subscribe();
    expect([one.state('k').running, other.state('k').running]).toStrictEqual([1, 1]);
  });

  it('takes streams without a key together', () => {
    const gate = createGate({ perKey: 1 });
    NEVER.pipe(gate()).subscribe();
    NEVER.pipe(gate()).subscribe();
    NEVER.pipe(gate('other')).subscribe();
    expect(gate.state()).toStrictEqual({ running: 1, waiting: 1, closedForMs: 0 });
    expect(gate.state('other')).toStrictEqual({ running: 1, waiting: 0, closedForMs: 0 });
    expect(gate.state('never heard of')).toStrictEqual(idle);
  });

  it('refuses one stream more than may wait, and none besides', () => {
    const gate = createGate({ concurrency: 1, maxWaiting: 1 });
    const asked = vi.fn(() => NEVER);
    const onError = vi.fn();
    NEVER.pipe(gate('a')).subscribe();
    const waits = defer(asked).pipe(gate('b')).subscribe({ error: onError });
    expect(onError).not.toHaveBeenCalled();
    defer(asked).pipe(gate('c')).subscribe({ error: onError });
    expect(onError.mock.calls).toStrictEqual([
      [
        new LimitError(
          'maxWaiting',
          1,
          '1 streams wait for their turn in the gate already; raise maxWaiting, or start fewer',
        ),
      ],
    ]);
    waits.unsubscribe();
    defer(asked).pipe(gate('c')).subscribe({ error: onError });
    expect(onError).toHaveBeenCalledOnce();
    expect(asked).not.toHaveBeenCalled();
    expect(gate.state('c').waiting).toBe(1);
  });

  it('stops a synchronous source, and gives its place on', () => {
    const gate = createGate({ concurrency: 1 });
    let produced = 0;
    function* endless(): Generator<number> {
      for (;;) yield (produced += 1);
    }
    const seen: unknown[] = [];
    merge(from(endless()).pipe(gate(), take(1)), from(endless()).pipe(gate(), take(1))).subscribe((n) => seen.push(n));
    expect(seen).toStrictEqual([1, 2]);
    expect(gate.state()).toStrictEqual(idle);
  });

  it('does not run out of stack when very many wait for a stream that ends', () => {
    const gate = createGate({ concurrency: 1 });
    const first = new Subject<number>();
    const seen: number[] = [];
    first.pipe(gate('first')).subscribe();
    const order = Array.from({ length: 50_000 }, (_, i) => i);
    for (const i of order)
      of(i)
        .pipe(gate('many'))
        .subscribe((n) => seen.push(n));
    first.complete();
    expect(seen).toStrictEqual(order);
    expect(gate.state('many')).toStrictEqual(idle);
  });

  it('lets a reader start other streams, or leave, from inside next and at the end', () => {
    const gate = createGate({ concurrency: 1 });
    const seen: string[] = [];
    const run = (name: string, then?: () => void): Observable<string> =>
      new Observable<string>((subscriber) => {
        seen.push(`${name} begins`);
        subscriber.next(name);
        then?.();
        subscriber.complete();
      }).pipe(gate(name));
    run('a', () => {
      run('b').subscribe({ complete: () => seen.push('b ends') });
      seen.push('b waits');
    }).subscribe({
      complete: () => {
        seen.push('a ends');
        run('c').subscribe();
      },
    });
    expect(seen).toStrictEqual(['a begins', 'b waits', 'a ends', 'b begins', 'b ends', 'c begins']);
    expect(['a', 'b', 'c'].map((key) => gate.state(key))).toStrictEqual([idle, idle, idle]);
  });

  it('lets a stream that is asked for again at its end wait behind the others', () => {
    const gate = createGate({ concurrency: 1 });
    const seen: string[] = [];
    const gone = new Subject<never>();
    gone.pipe(gate('first')).subscribe();
    of('again')
      .pipe(gate('k'), repeat(2))
      .subscribe((v) => seen.push(v));
    of('other')
      .pipe(gate('k'))
      .subscribe((v) => seen.push(v));
    gone.complete();
    expect(seen).toStrictEqual(['again', 'other', 'again']);
  });

  it('keeps to its limits and to the order of each key, whatever comes and goes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.record({ what: fc.constantFrom('start', 'start', 'end', 'fail', 'leave'), at: fc.nat(9) }), {
          maxLength: 60,
        }),
        (concurrency, perKey, steps) => {
          const gate = createGate({ concurrency, perKey });
          const running = new Map<number, { key: string; end: Subject<never>; leave: () => void }>();
          const waiting = new Map<number, { key: string; leave: () => void }>();
          let count = 0;
          const check = (): void => {
            expect(running.size).toBeLessThanOrEqual(concurrency);
            for (const key of ['a', 'b', 'c']) {
              const runs = [...running.values()].filter((each) => each.key === key).length;
              const waits = [...waiting.values()].filter((each) => each.key === key).length;
              expect(gate.state(key)).toStrictEqual({ running: runs, waiting: waits, closedForMs: 0 });
              expect(runs).toBeLessThanOrEqual(perKey);
              // Nobody waits while there is room.
              if (waits > 0) expect(runs === perKey || running.size === concurrency).toBe(true);
            }
          };
          for (const { what, at } of steps) {
            if (what === 'start') {
              const id = (count += 1);
              const key = ['a', 'b', 'c'][at % 3] ?? 'a';
              const end = new Subject<never>();
              const leave = (): void => {
                subscription.unsubscribe();
                running.delete(id);
                waiting.delete(id);
              };
              waiting.set(id, { key, leave });
              const subscription = defer(() => {
                const longest = [...waiting].find(([, each]) => each.key === key)?.[0];
                expect(longest).toBe(id);
                waiting.delete(id);
                running.set(id, { key, end, leave });
                return end;
              })
                .pipe(gate(key))
                .subscribe({ error: () => running.delete(id), complete: () => running.delete(id) });
            } else if (what === 'leave') {
              const all = [...running.values(), ...waiting.values()];
              all[at % Math.max(1, all.length)]?.leave();
            } else {
              const [, chosen] = [...running][at % Math.max(1, running.size)] ?? [];
              if (what === 'end') chosen?.end.complete();
              else chosen?.end.error(new Error('failed'));
            }
            check();
          }
          for (let next = [...running.values()][0]; next !== undefined; next = [...running.values()][0]) {
            next.end.complete();
          }
          expect(waiting.size).toBe(0);
        },
      ),
    );
  });
});

describe('a refusal', () => {
  it(
    'closes its key for as long as the server asks, and no other key',
    marbles((m) => {
      const gate = createGate();
      const refusal = m.cold('--#         ', undefined, refused(429, 5));
      const source = m.cold('        -a|  ');
      m.expect(refusal.pipe(gate('k'))).toBeObservable('--#', undefined, refused(429, 5));
      m.expect(
        defer(() => source.pipe(gate('k'))),
        '---^',
      ).toBeObservable('       --------a|');
      m.expect(
        defer(() => source.pipe(gate('other'))),
        '---^',
      ).toBeObservable('   ----a|');
      m.expect(source).toHaveSubscriptions(['---^-!', '-------^-!']);
    }),
  );

  it(
    'lets go on what runs on its key, and lets through what waits when the key opens, within the limits',
    marbles((m) => {
      const gate = createGate({ perKey: 2 });
      const running = m.cold(' -a-a-a-a-|');
      const refusal = m.cold(' -#', undefined, refused(429, 4));
      const source = m.cold('  a|');
      m.expect(running.pipe(gate('k'))).toBeObservable('-a-a-a-a-|');
      m.expect(refusal.pipe(gate('k'))).toBeObservable('-#', undefined, refused(429, 4));
      m.expect(source.pipe(gate('k'))).toBeObservable(' -----a|');
      m.expect(source.pipe(gate('k'))).toBeObservable(' ------a|');
      m.expect(source).toHaveSubscriptions(['          -----^!', '------^!']);
    }),
  );

  it.each<[string, HTTPError | InterruptedError, number]>([
    ['429 with a time', refused(429, 250), 250],
    ['429 with a time of zero', refused(429, 0), 0],
    ['429 with a time beyond the cap', refused(429, 90_000), 60_000],
    ['429 without a time', refused(429), 1_000],
    ['503 with a time', refused(503, 250), 250],
    ['503 without a time', refused(503), 0],
    ['529 with a time', refused(529, 250), 250],
    ['529 without a time', refused(529), 1_000],
    ['500 with a time', refused(500, 250), 0],
    ['a lost connection', new InterruptedError('lost'), 0],
  ])('of the kind "%s" closes the key for the right time', (_, error, closedForMs) => {
    marbles((m) => {
      const gate = createGate();
      const onError = vi.fn();
      throwError(() => error)
        .pipe(gate('k'))
        .subscribe({ error: onError });
      expect(onError.mock.calls[0]?.[0]).toBe(error);
      expect(gate.state('k')).toStrictEqual({ ...idle, closedForMs });
      const source = m.cold('a|');
      m.expect(source.pipe(gate('k'))).toBeObservable(`${closedForMs === 0 ? '' : `${String(closedForMs)}ms `}a|`);
    })();
  });

  it(
    'is doubled in its pause with each in a row, up to the cap, and set back by an item',
    marbles((m) => {
      const gate = createGate({ pauseMs: 10, maxPauseMs: 35 });
      const pauses: number[] = [];
      const refuse = (): void => {
        throwError(() => refused(429))
          .pipe(gate('k'))
          .subscribe({
            error: () => {
              pauses.push(gate.state('k').closedForMs);
            },
          });
      };
      refuse(); // at 0: closed until 10
      m.scheduler.schedule(refuse, 10); // 30
      m.scheduler.schedule(refuse, 20); // waits: refused at 30, closed until 65
      m.scheduler.schedule(refuse, 70); // 105
      m.scheduler.schedule(() => of('item').pipe(gate('k')).subscribe(), 110);
      m.scheduler.schedule(refuse, 111);
      m.flush();
      expect(pauses).toStrictEqual([10, 20, 35, 35, 10]);
    }),
  );

  it(
    'counts once where several requests were on their way together',
    marbles((m) => {
      const gate = createGate({ pauseMs: 10 });
      const source = m.cold('-#', undefined, refused(429));
      for (let i = 0; i < 20; i += 1) source.pipe(gate('k')).subscribe({ error: () => undefined });
      m.flush();
      expect(gate.state('k').closedForMs).toBe(10);
    }),
  );

  it(
    'never shortens the pause of one before',
    marbles((m) => {
      const gate = createGate();
      const long = m.cold(' -#', undefined, refused(429, 9));
      const short = m.cold('--#', undefined, refused(429, 2));
      const next = m.cold(' a|');
      m.expect(long.pipe(gate())).toBeObservable(' -#', undefined, refused(429, 9));
      m.expect(short.pipe(gate())).toBeObservable('--#', undefined, refused(429, 2));
      m.expect(
        defer(() => next.pipe(gate())),
        '   ---^',
      ).toBeObservable('----------a|');
    }),
  );

  it('sets one timer for a key that is waited for, and none for one that is not', () => {
    const scheduler = new VirtualTimeScheduler();
    const gate = createGate({ scheduler });
    const schedule = vi.spyOn(scheduler, 'schedule');
    const [one, two] = [new Subject<never>(), new Subject<never>()];
    for (const source of [one, two]) source.pipe(gate('k')).subscribe({ error: () => undefined });
    one.error(refused(429, 50));
    expect(schedule).not.toHaveBeenCalled();
    const waiting = [1, 2, 3].map(() => NEVER.pipe(gate('k')).subscribe());
    expect(schedule).toHaveBeenCalledTimes(1);
    two.error(refused(429, 90));
    expect(scheduler.actions).toHaveLength(1);
    for (const each of waiting) each.unsubscribe();
    expect(gate.state('k')).toStrictEqual({ running: 0, waiting: 0, closedForMs: 90 });
    expect(scheduler.actions).toHaveLength(0);
  });
});

const lost = new InterruptedError('lost');
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const events: Record<string, StreamEvent> = { a: text('A'), b: text('B'), c: text('C'), f: finish };

/** A call whose attempts are these. */
function attempts(...sources: Observable<StreamEvent>[]) {
  let asked = 0;
  const call = fakeCall(
    defer(() => sources[(asked += 1) - 1] ?? EMPTY),
    { resume: 'on' },
  );
  return { call, asked: () => asked };
}

const slow = { random: () => 1, delay: { initialMs: 2, maxMs: 100 } };

describe('a gate above a retry', () => {
  it(
    'lets an attempt that has to wait for its turn go on where the stream broke',
    marbles((m) => {
      const gate = createGate({ perKey: 1 });
      const first = m.cold(' -a-#', events, lost);
      const other = m.cold(' -b---(f|)', events);
      const second = m.cold('-c-(f|)', events);
      const { call } = attempts(first, second);
      const retried = fromCall(call).pipe(gate('k'), retryOnDisconnect(slow));
      m.expect(retried).toBeObservable('                               -a-------c-(f|)', events);
      m.expect(fromCall(fakeCall(other)).pipe(gate('k'))).toBeObservable('----b---(f|)', events);
      m.expect(first).toHaveSubscriptions('                              ^--!');
      m.expect(other).toHaveSubscriptions('                              ---^----!');
      m.expect(second).toHaveSubscriptions('                             --------^--!');
    }),
  );

  it(
    'lets an attempt that was refused go on when its key opens, though the retry comes sooner',
    marbles((m) => {
      const gate = createGate({ maxPauseMs: 9 });
      const first = m.cold(' -#', events, refused(429));
      const second = m.cold('-c-(f|)', events);
      const { call } = attempts(first, second);
      const retried = fromCall(call).pipe(gate('k'), retryOnDisconnect(slow));
      m.expect(retried).toBeObservable(' -----------c-(f|)', events);
      m.expect(second).toHaveSubscriptions('----------^--!');
    }),
  );

  it(
    'sends nothing more when the reader leaves in that wait',
    marbles((m) => {
      const gate = createGate({ perKey: 1 });
      const first = m.cold(' -a-#', events, lost);
      const other = m.cold(' ---------');
      const { call, asked } = attempts(first);
      const retried = fromCall(call).pipe(gate('k'), retryOnDisconnect(slow));
      m.expect(retried, '                                ^------!').toBeObservable('-a', events);
      m.expect(other.pipe(gate('k')), '                   ^---------!').toBeObservable('-');
      m.expect(other).toHaveSubscriptions('           ---^------!');
      m.flush();
      expect(asked()).toBe(1);
      expect(gate.state('k')).toStrictEqual(idle);
    }),
  );

  it(
    'gives an attempt its place and key again once it is sent',
    marbles((m) => {
      const gate = createGate({ perKey: 1 });
      const first = m.cold(' -#', events, lost);
      const second = m.cold('---c(f|)', events);
      const { call } = attempts(first, second);
      const next = m.cold('  b|', events);
      m.expect(fromCall(call).pipe(gate('k'), retryOnDisconnect(slow))).toBeObservable('------c(f|)', events);
      m.expect(
        defer(() => next.pipe(gate('k'))),
        '                          ----^',
      ).toBeObservable('-------b|', events);
      m.scheduler.schedule(() => {
        expect(gate.state('k')).toStrictEqual({ running: 1, waiting: 1, closedForMs: 0 });
      }, 5);
      m.flush();
      expect(gate.state('k')).toStrictEqual(idle);
    }),
  );

  it.each([1, 2, 3])('that asks two calls again asks them both, where %i may run', (concurrency) => {
    marbles((m) => {
      const gate = createGate({ concurrency });
      const stream = (): Observable<StreamEvent> =>
        fromCall(attempts(m.cold('-#', events, lost), m.cold('-a(f|)', events)).call).pipe(gate('k'));
      const seen: string[][] = [[], []];
      for (const types of seen) {
        merge(stream(), stream())
          .pipe(retryOnDisconnect(slow))
          .subscribe({ next: ({ type }) => types.push(type), complete: () => types.push('complete') });
      }
      m.flush();
      expect(seen.map((types) => types.sort())).toStrictEqual([
        ['complete', 'finish', 'finish', 'text', 'text'],
        ['complete', 'finish', 'finish', 'text', 'text'],
      ]);
      expect(gate.state('k')).toStrictEqual(idle);
    })();
  });

  it(
    'does not let two that wait for their own others stop each other',
    marbles((m) => {
      const gate = createGate({ concurrency: 2 });
      const late = { random: () => 1, delay: { initialMs: 20, maxMs: 100 } };
      const stream = (key: string): Observable<StreamEvent> =>
        fromCall(attempts(m.cold('----#', events, lost), m.cold('-a(f|)', events)).call).pipe(gate(key));
      const ends: string[] = [];
      for (const key of ['x', 'y']) {
        merge(stream(key), stream('z'))
          .pipe(retryOnDisconnect(late))
          .subscribe({ complete: () => ends.push(key) });
      }
      // All places are taken while both retries come; z's turn is before x's and y's.
      const [one, two, three] = [new Subject<never>(), new Subject<never>(), new Subject<never>()];
      m.scheduler.schedule(() => {
        one.pipe(gate('other')).subscribe();
        two.pipe(gate('other')).subscribe();
        three.pipe(gate('z')).subscribe();
      }, 10);
      [one, two, three].forEach((each, index) => {
        m.scheduler.schedule(() => {
          each.complete();
        }, 40 + index);
      });
      m.flush();
      expect(ends).toStrictEqual(['x', 'y']);
      expect(['x', 'y', 'z'].map((key) => gate.state(key))).toStrictEqual([idle, idle, idle]);
    }),
  );

  it('keeps no place, and asks nothing, where a reader leaves while one of its calls waits', () => {
    const scheduler = new VirtualTimeScheduler();
    const gate = createGate({ perKey: 1, scheduler });
    const { call: one, asked } = attempts(throwError(() => lost));
    const { call: two } = attempts(NEVER);
    const busy = new Subject<never>();
    const reader = merge(fromCall(two).pipe(gate('b')), fromCall(one).pipe(gate('a')))
      .pipe(retryOnDisconnect({ ...slow, scheduler }))
      .subscribe();
    busy.pipe(gate('b')).subscribe();
    scheduler.flush();
    expect(['a', 'b'].map((key) => gate.state(key))).toStrictEqual([
      { running: 0, waiting: 1, closedForMs: 0 },
      { running: 1, waiting: 1, closedForMs: 0 },
    ]);
    reader.unsubscribe();
    expect(gate.state('a')).toStrictEqual(idle);
    busy.complete();
    expect(gate.state('b')).toStrictEqual(idle);
    expect(asked()).toBe(1);
  });
});

describe('the flows of a gate', () => {
  it('are those of the sink beneath, also where a stream begins at the end of another', () => {
    const gate = createGate({ concurrency: 1 });
    const receipts: Receipt[] = [];
    const errors: unknown[] = [];
    const first = new Subject<StreamEvent>();
    const second = new Subject<StreamEvent>();
    for (const source of [first, second]) {
      fromCall(fakeCall(source))
        .pipe(
          gate(),
          take(1),
          tapReceipt((receipt) => receipts.push(receipt)),
        )
        .subscribe({ error: (error: unknown) => errors.push(error) });
    }
    first.next(finish);
    second.next(text('half'));
    expect(receipts.map(({ outcome, attempts: count }) => [outcome, count])).toStrictEqual([
      ['complete', 1],
      ['interrupted', 1],
    ]);
  });

  it('do not fall to a stream whose leaving makes room for them', () => {
    const gate = createGate({ concurrency: 1 });
    const receipts: Receipt[] = [];
    const leaving = fromCall(fakeCall(NEVER))
      .pipe(
        gate(),
        tapReceipt((receipt) => receipts.push(receipt)),
      )
      .subscribe();
    // Begins, and ends at once, on the stack of the other's unsubscription.
    fromCall(fakeCall([text('half'), text('an answer'), finish]))
      .pipe(
        gate(),
        take(1),
        tapReceipt(() => undefined),
      )
      .subscribe({ error: () => undefined });
    leaving.unsubscribe();
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe', attempts: 1 }]);
  });

  it('are known in a stream that is started in the middle of another', async () => {
    const gate = createGate({ concurrency: 1 });
    const call = fakeCall([text('A'), finish]);
    const collected = await Promise.all([1, 2, 3].map(() => collect(fromCall(call).pipe(gate()))));
    expect(collected.map((each) => each.text)).toStrictEqual(['A', 'A', 'A']);
  });
});

describe('a gate over sockets', () => {
  it('makes a refused key wait alone, and serves both in the end', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    const gate = createGate({ concurrency: 4, perKey: 1 });
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    const ask = (key: string, model: string) =>
      collect(
        fromCall(api.chat({ model, messages: [{ role: 'user', content: 'Hello' }] })).pipe(
          gate(key),
          retryOnDisconnect({ random: () => 0 }),
        ),
      );
    server.next({ status: 429, headers: { 'retry-after-ms': '1000' } });
    const limited = ['limited 1', 'limited 2'].map((model) => ask('limited', model));
    await server.nextRequest();
    await vi.waitUntil(() => gate.state('limited').closedForMs > 0, { interval: 1 });
    const free = await Promise.all(['free 1', 'free 2', 'free 3'].map((model) => ask('free', model)));
    const late = await Promise.all(limited);
    expect([...free, ...late].map((each) => each.finish.reason)).toStrictEqual(Array(5).fill('stop'));
    const models = server.requests.map(({ body }) => (body as { model: string }).model);
    expect(models).toStrictEqual(['limited 1', 'free 1', 'free 2', 'free 3', 'limited 2', 'limited 1']);
    expect([gate.state('limited'), gate.state('free')]).toStrictEqual([idle, idle]);
  });

  it('sends no request for a stream that is left while it waits, and the next when a socket is closed', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    const gate = createGate({ concurrency: 1 });
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    const ask = (model: string) =>
      fromCall(api.chat({ model, messages: [{ role: 'user', content: 'Hello' }] })).pipe(gate());
    server.next({ fault: { kind: 'stall', at: { frame: 1 } } });
    const stalled = ask('stalled').subscribe();
    const left = ask('left').subscribe();
    const served = lastValueFrom(ask('served').pipe(toArray()));
    const request = await server.nextRequest();
    left.unsubscribe();
    stalled.unsubscribe();
    expect(await request.ended).toBe('client');
    expect((await served).at(-1)).toMatchObject({ type: 'finish' });
    expect(server.requests).toHaveLength(2);
  });
});

describe('a gate that serves for long', () => {
  it('forgets keys that are out of use, those that were refused too', () => {
    const scheduler = new VirtualTimeScheduler();
    const gate = createGate({ scheduler, pauseMs: 10, maxPauseMs: 20 });
    const kept = vi.spyOn(Map.prototype, 'set');
    onTestFinished(() => {
      kept.mockRestore();
    });
    let keys: Map<unknown, unknown> | undefined;
    let most = 0;
    for (let i = 0; i < 5_000; i += 1) {
      scheduler.frame += 1;
      throwError(() => refused(429))
        .pipe(gate(`key ${String(i)}`))
        .subscribe({ error: () => undefined });
      keys ??= kept.mock.contexts.find((map) => (map as Map<unknown, unknown>).has('key 0')) as typeof keys;
      most = Math.max(most, keys?.size ?? Infinity);
    }
    expect(most).toBeLessThan(1_100);
    expect(gate.state('key 4999').closedForMs).toBe(10);
    expect(gate.state('key 0')).toStrictEqual(idle);
  });
});

describe('the options of createGate', () => {
  it('are refused when called', () => {
    expect(() => createGate({ concurrency: 0 })).toThrow(
      new RangeError('concurrency must be a number of at least 1, got 0'),
    );
    expect(() => createGate({ perKey: Number.NaN })).toThrow(
      new RangeError('perKey must be a number of at least 1, got NaN'),
    );
    expect(() => createGate({ maxWaiting: -1 })).toThrow(RangeError);
    expect(() => createGate({ pauseMs: -1 })).toThrow(RangeError);
    expect(() => createGate({ maxPauseMs: 2 ** 31 })).toThrow(RangeError);
    const gate: Gate = createGate();
    expect(() => gate(5 as unknown as string)).toThrow(new TypeError("A gate's key must be a string, got number"));
  });
});
