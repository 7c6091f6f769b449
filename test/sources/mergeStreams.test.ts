import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import {
  concat,
  defer,
  EMPTY,
  filter,
  groupBy,
  lastValueFrom,
  mergeMap,
  NEVER,
  type Observable,
  of,
  Subject,
  take,
  tap,
  throwError,
  toArray,
} from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { InterruptedError, LimitError, StreamsFailedError } from '../../src/errors.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { gateway, infron, polargrid } from '../../src/providers/index.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { collect } from '../../src/sinks/collect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type Keyed, mergeStreams } from '../../src/sources/mergeStreams.js';
import { fakeCall, startProviderServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';
import { pausable } from '../support/pausable.js';

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const events: Record<string, StreamEvent> = {
  a: text('a'),
  b: text('b'),
  c: text('c'),
  f: { type: 'finish', reason: 'stop' },
};
const keyed: Record<string, Keyed<StreamEvent>> = {
  1: { ...text('a'), key: 'one' },
  2: { ...text('b'), key: 'two' },
  3: { ...text('c'), key: 'one' },
  4: { ...text('c'), key: 'two' },
};
const lost = new InterruptedError('lost');

describe('mergeStreams', () => {
  it(
    'tells whose each event is, and completes with the last stream',
    marbles((m) => {
      const one = m.cold('    -a---c-|   ', events);
      const two = m.cold('    ---b-----| ', events);
      const subs = ['         ^------!   ', '^--------! '];
      const expected = '      -1-2-3---| ';
      m.expect(mergeStreams({ one, two })).toBeObservable(expected, keyed);
      m.expect(one).toHaveSubscriptions(subs[0] ?? '');
      m.expect(two).toHaveSubscriptions(subs[1] ?? '');
    }),
  );

  it(
    'stays silent while its streams do, and is empty without any',
    marbles((m) => {
      m.expect(mergeStreams({ one: m.cold('-') })).toBeObservable('-');
      m.expect(mergeStreams({})).toBeObservable('|');
      m.expect(mergeStreams([])).toBeObservable('|');
      m.expect(mergeStreams(m.cold('--|'))).toBeObservable('--|');
    }),
  );

  it(
    'runs as many at once as it may, and begins the next when one has ended',
    marbles((m) => {
      const one = m.cold('    -a--|         ', events);
      const two = m.cold('        -b-|      ', events);
      const three = m.cold('         -c|    ', events);
      m.expect(
        mergeStreams(
          [
            ['one', one],
            ['two', two],
            ['three', three],
          ] as const,
          { concurrency: 1 },
        ),
      ).toBeObservable('                     -1---2--9|    ', { ...keyed, 9: { ...text('c'), key: 'three' } });
      m.expect(one).toHaveSubscriptions('  ^---!     ');
      m.expect(two).toHaveSubscriptions('  ----^--!  ');
      m.expect(three).toHaveSubscriptions('-------^-!');
    }),
  );

  it(
    'begins the streams of an observable as they come, within its concurrency',
    marbles((m) => {
      const one = m.cold('    -a----|     ', events);
      const two = m.cold('    -b|         ', events);
      const input = m.cold<readonly [string, Observable<StreamEvent>]>('xy--|', { x: ['one', one], y: ['two', two] });
      m.expect(mergeStreams(input, { concurrency: 1 })).toBeObservable('-1-----2|', keyed);
      m.expect(two).toHaveSubscriptions('------^-!');
    }),
  );

  it(
    'ends them all with the first failure',
    marbles((m) => {
      const one = m.cold('    -a-#', events, lost);
      const two = m.cold('    --b-----', events);
      m.expect(mergeStreams({ one, two })).toBeObservable('-12#', keyed, lost);
      m.expect(two).toHaveSubscriptions('                  ^--!');
    }),
  );

  it(
    'goes on with the others where that was asked for, and tells each ending',
    marbles((m) => {
      const one = m.cold('    -a-#     ', events, lost);
      const two = m.cold('    --b---c-|', events);
      const receipts: Receipt[] = [];
      const onSettled = (receipt: Receipt): void => void receipts.push(receipt);
      m.expect(mergeStreams({ one, two }, { onFailure: 'continue', onSettled })).toBeObservable('-12---4-|', keyed);
      m.flush();
      expect(receipts).toMatchObject([
        { key: 'one', outcome: 'interrupted', chars: 1, error: { code: 'ERR_INTERRUPTED' } },
        { key: 'two', outcome: 'complete', chars: 2 },
      ]);
    }),
  );

  it('tells failures at the end where nobody heard of them', async () => {
    const streams = { one: throwError(() => lost), two: of(text('b')) };
    const heard: unknown[] = [];
    const error = await new Promise<unknown>((resolve) => {
      mergeStreams<StreamEvent>(streams, { onFailure: 'continue' }).subscribe({
        next: (event) => heard.push(event),
        error: resolve,
      });
    });
    expect(heard).toEqual([keyed['2']]);
    expect(error).toBeInstanceOf(StreamsFailedError);
    expect((error as StreamsFailedError).errors).toEqual(new Map([['one', lost]]));
  });

  it(
    'stops all that run, and begins no more, when its reader leaves',
    marbles((m) => {
      const one = m.cold('    -a----- ', events);
      const two = m.cold('    --b---- ', events);
      const never = m.cold('  -');
      const unsub = '         ---!    ';
      m.expect(mergeStreams({ one, two, never }, { concurrency: 2 }), unsub).toBeObservable('-12-', keyed);
      m.expect(one).toHaveSubscriptions('^--!');
      m.expect(two).toHaveSubscriptions('^--!');
      m.expect(never).toHaveSubscriptions([]);
    }),
  );

  it('reads an iterable only as far as its streams are begun, and closes it', () => {
    const log: string[] = [];
    function* streams(): Generator<readonly [string, Observable<StreamEvent>]> {
      try {
        for (const key of ['one', 'two', 'three', 'four']) {
          log.push(key);
          yield [key, key === 'three' ? NEVER : of(text('a'))];
        }
      } finally {
        log.push('closed');
      }
    }
    mergeStreams(streams(), { concurrency: 1 }).subscribe().unsubscribe();
    expect(log).toEqual(['one', 'two', 'three', 'closed']);
  });

  it('stops synchronous streams that are left in their middle', async () => {
    const heard = await lastValueFrom(
      mergeStreams({ one: of(text('a'), text('c')), two: of(text('b')) }).pipe(take(2), toArray()),
    );
    expect(heard).toEqual([keyed['1'], keyed['3']]);
  });

  it('serves two subscribers apart', async () => {
    const merged = mergeStreams({ one: of(text('a')), two: of(text('b')) });
    for (let i = 0; i < 2; i += 1) {
      expect(await lastValueFrom(merged.pipe(toArray()))).toEqual([keyed['1'], keyed['2']]);
    }
  });

  it('keeps the order where a reader feeds one stream from inside another', () => {
    const [one, two] = [new Subject<StreamEvent>(), new Subject<StreamEvent>()];
    const heard: string[] = [];
    mergeStreams({ one, two }).subscribe((event) => {
      heard.push(event.key);
      if (event.key === 'one') two.next(text('b'));
    });
    one.next(text('a'));
    expect(heard).toEqual(['one', 'two']);
  });

  it('refuses a name that comes twice', () => {
    const errors: unknown[] = [];
    mergeStreams([
      ['one', NEVER],
      ['one', NEVER],
    ]).subscribe({ error: (error: unknown) => errors.push(error) });
    expect(errors).toEqual([expect.any(TypeError)]);
  });

  it('has a limit for the streams of an observable that wait', () => {
    const input = new Subject<readonly [string, Observable<StreamEvent>]>();
    const errors: unknown[] = [];
    mergeStreams(input, { concurrency: 1, maxWaiting: 2 }).subscribe({ error: (error: unknown) => errors.push(error) });
    for (const key of ['1', '2', '3']) input.next([key, NEVER]);
    expect(errors).toEqual([]);
    input.next(['4', NEVER]);
    expect(errors).toEqual([expect.any(LimitError)]);
  });

  it('passes the throw of a callback and of an iterable', () => {
    const broken = new Error('broken');
    const throwing = (): never => {
      throw broken;
    };
    const errors: unknown[] = [];
    const note = { error: (error: unknown) => errors.push(error) };
    mergeStreams({ one: of(text('a')) }, { onSettled: throwing }).subscribe(note);
    mergeStreams({ [Symbol.iterator]: () => ({ next: throwing }) }).subscribe(note);
    expect(errors).toEqual([broken, broken]);
  });

  it('keeps each stream’s order and loses nothing, whatever comes when', () => {
    const stream = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.string({ minLength: 1 })), { maxLength: 20 });
    fc.assert(
      fc.property(
        fc.array(stream, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 5 }),
        (streams, concurrency) => {
          const subjects = streams.map(() => new Subject<StreamEvent>());
          const heard = streams.map(() => '');
          mergeStreams(
            subjects.map((subject, index) => [String(index), subject] as const),
            { concurrency: Math.max(concurrency, streams.length) },
          ).subscribe((event) => {
            if (event.type === 'text') heard[Number(event.key)] = `${heard[Number(event.key)] ?? ''}${event.text}`;
          });
          const turns = streams.flatMap((pieces, index) => pieces.map(([at, piece]) => ({ at, index, piece })));
          const sent = streams.map(() => '');
          for (const { index, piece } of turns.sort((a, b) => a.at - b.at)) {
            sent[index] = `${sent[index] ?? ''}${piece}`;
            subjects[index]?.next(text(piece));
          }
          expect(heard).toEqual(sent);
        },
      ),
    );
  });

  it.each([{ concurrency: 0 }, { concurrency: Number.NaN }, { maxWaiting: 0 }])('refuses %j', (options) => {
    expect(() => mergeStreams({}, options)).toThrow(RangeError);
  });

  it('refuses a word that is none', () => {
    // @ts-expect-error the types exclude it
    expect(() => mergeStreams({}, { onFailure: 'ignore' })).toThrow(TypeError);
  });
});

describe('merged calls', () => {
  it('go on one by one, each with its own retry, into a file each', async () => {
    const server = await startProviderServer();
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'));
    onTestFinished(async () => {
      await server.close();
      await rm(folder, { recursive: true });
    });
    const messages = [{ role: 'user', content: 'Where?' }];
    const apiKey = 'any';
    const calls = {
      polargrid: polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages }),
      infron: infron({ apiKey, baseURL: server.baseURLs.infron }).chat({ model: 'm', messages }),
      gateway: gateway({ apiKey, baseURL: server.baseURLs.gateway }).chat({
        service_name: 's',
        model_name: 'm',
        input: 'Where?',
      }),
    };
    const pieces = ['one ', 'two ', 'three ', 'four'];
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 4 } } }, { provider: 'infron' });
    for (const provider of ['polargrid', 'infron', 'gateway'] as const) {
      server.next({ pieces: [...pieces, ` (${provider})`] }, { provider });
    }
    const settled: Receipt[] = [];
    const streams = Object.fromEntries(
      Object.entries(calls).map(([key, call]) => [
        key,
        fromCall(call).pipe(retryOnDisconnect({ delay: { initialMs: 0 } })),
      ]),
    );
    const receipts = await lastValueFrom(
      mergeStreams(streams, { onSettled: (receipt) => settled.push(receipt) }).pipe(
        groupBy(({ key }) => key),
        mergeMap((group) => group.pipe(toFile(join(folder, `${group.key}.txt`)))),
        toArray(),
      ),
    );
    for (const key of Object.keys(calls)) {
      expect(await readFile(join(folder, `${key}.txt`), 'utf8')).toBe(`one two three four (${key})`);
    }
    expect(receipts.map(({ key, outcome }) => [key, outcome]).sort()).toEqual([
      ['gateway', 'complete'],
      ['infron', 'complete'],
      ['polargrid', 'complete'],
    ]);
    expect(settled).toHaveLength(3);
    expect(settled.find(({ key }) => key === 'infron')).toMatchObject({ attempts: 2, restarts: 1 });
  });

  it('that failed are no loss for a sink below, since their failure was told', async () => {
    const finish: StreamEvent = { type: 'finish', reason: 'stop' };
    const good = fromCall(fakeCall([text('whole'), finish]));
    const bad = fromCall(
      fakeCall(
        concat(
          of(text('half')),
          throwError(() => lost),
        ),
      ),
    );
    const settled: Receipt[] = [];
    const options = { onFailure: 'continue', onSettled: (receipt: Receipt) => settled.push(receipt) } as const;
    const merged = mergeStreams({ bad, good }, options).pipe(filter(({ key }) => key === 'good'));
    expect(await collect(merged)).toMatchObject({ text: 'whole', receipt: { outcome: 'complete', attempts: 2 } });
    expect(settled.map(({ key, outcome }) => [key, outcome])).toEqual([
      ['bad', 'interrupted'],
      ['good', 'complete'],
    ]);
  });

  it('are excused alone: half of another stream is not taken for the whole', () => {
    const one = new Subject<StreamEvent>();
    const two = new Subject<StreamEvent>();
    const outcomes: string[] = [];
    mergeStreams({ one: fromCall(fakeCall(one)), two }, { onFailure: 'continue', onSettled: () => undefined })
      .pipe(
        // Fails the other stream while this one delivers.
        tap(({ key }) => {
          if (key === 'one') two.error(lost);
        }),
        take(2),
        tapReceipt(({ outcome }) => outcomes.push(outcome)),
      )
      .subscribe();
    one.next(text('a'));
    one.next(text('b'));
    expect(outcomes).toEqual(['interrupted']);
  });

  it('go on beneath one retry: what was whole is not asked again', async () => {
    const asked = { whole: 0, broken: 0 };
    const whole = fakeCall(
      defer(() => {
        asked.whole += 1;
        return of(text('a'), events['f'] ?? text(''));
      }),
    );
    const broken = fakeCall(
      defer(() => {
        asked.broken += 1;
        const rest = of(text('c'), events['f'] ?? text(''));
        return asked.broken > 1
          ? rest
          : concat(
              of(text('b')),
              throwError(() => lost),
            );
      }),
      { resume: 'on' },
    );
    const heard = await lastValueFrom(
      mergeStreams({ whole: fromCall(whole), broken: fromCall(broken) }, { concurrency: 1 }).pipe(
        retryOnDisconnect({ delay: { initialMs: 0 } }),
        toArray(),
      ),
    );
    expect(heard.map((event) => `${event.key}: ${event.type === 'text' ? event.text : event.type}`)).toEqual([
      'whole: a',
      'whole: finish',
      'broken: b',
      'broken: c',
      'broken: finish',
    ]);
    expect(asked).toEqual({ whole: 1, broken: 2 });
  });

  it('leave no connection when their reader leaves', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    const ask = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    const messages = [{ role: 'user', content: 'Where?' }];
    server.next({ fault: { kind: 'stall', at: { frame: 0 } } }); // no headers yet
    server.next({ fault: { kind: 'stall', at: { frame: 2 } } }); // in the middle of its answer
    const streams = ['one', 'two', 'three'].map((key) => [key, fromCall(ask.chat({ model: key, messages }))] as const);
    const merged = mergeStreams(streams, { concurrency: 2 });
    await new Promise<void>((resolve) => {
      const subscription = merged.subscribe((event) => {
        if (event.type !== 'text' || server.requests.length < 2) return;
        subscription.unsubscribe();
        resolve();
      });
    });
    await Promise.all(server.requests.map(({ closed }) => closed));
    await vi.waitUntil(() => server.connections() === 0, { interval: 1 });
    expect(server.requests).toHaveLength(2);
  });

  it('that a reader leaves are stopped', () => {
    const settled: Receipt[] = [];
    mergeStreams({ one: fromCall(fakeCall(NEVER)), two: EMPTY }, { onSettled: (receipt) => settled.push(receipt) })
      .subscribe()
      .unsubscribe();
    expect(settled.map(({ key, outcome }) => [key, outcome])).toEqual([
      ['two', 'complete'],
      ['one', 'stopped'],
    ]);
  });
});

describe('a slow reader', () => {
  it('pauses exactly the stream that fills it, one begun late included', async () => {
    const many = Array.from({ length: 100 }, (_, index) => text(String(index)));
    const first = pausable(many.slice(0, 3));
    const quiet = pausable<StreamEvent>([]);
    const late = pausable(many);
    const streams = { first: first.source, quiet: concat(quiet.source, NEVER), late: late.source };
    const merged = mergeStreams(streams, { concurrency: 2 });
    const reader = asyncIterableFrom(merged, { pauseAtItems: 4 })[Symbol.asyncIterator]();
    await reader.next();
    expect(first.told).toEqual([]);
    // Two of the first stream wait, and two of the late one.
    expect(late.given).toBe(2);
    expect(late.told.at(-1)).toBe(true);
    for (let i = 0; i < 3; i += 1) await reader.next();
    expect(late.told.at(-1)).toBe(true);
    expect(late.given).toBe(5);
    await reader.return?.();
    expect(late.flow.left).toMatchObject({ verb: 'stop' });
  });
});
