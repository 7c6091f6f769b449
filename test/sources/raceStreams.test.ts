import {
  concat,
  defer,
  EMPTY,
  firstValueFrom,
  lastValueFrom,
  NEVER,
  type Observable,
  of,
  Subject,
  take,
  throwError,
  toArray,
} from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { InterruptedError, isRetryable, LimitError, ProtocolError, StreamsFailedError } from '../../src/errors.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { inferencesh, infron, polargrid } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { raceStreams } from '../../src/sources/raceStreams.js';
import { fakeCall, startProviderServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const events: Record<string, StreamEvent> = {
  a: text('a'),
  b: text('b'),
  c: text('c'),
  h: { type: 'heartbeat', comment: '' },
  s: { type: 'status', status: 'queued', terminal: false },
  u: { type: 'usage', outputTokens: 3, provenance: 'reported' },
  f: finish,
};
const lost = new InterruptedError('lost');

describe('raceStreams', () => {
  it(
    'takes the first that brings content, with what it sent before, and stops the others',
    marbles((m) => {
      const one = m.cold('    --s-----a---|   ', events);
      const two = m.cold('    -s-b-----c-(f|) ', events);
      const expected = '      ---(sb)--c-(f|) ';
      m.expect(raceStreams({ one, two })).toBeObservable(expected, events);
      m.expect(one).toHaveSubscriptions('^--!            ');
      m.expect(two).toHaveSubscriptions('^----------!    ');
    }),
  );

  it(
    'is not won by a heartbeat, which passes, nor by a status or usage, which wait',
    marbles((m) => {
      const one = m.cold('    h-s-u-h-------  ', events);
      const two = m.cold('    --h-----b-(f|)  ', events);
      const expected = '      h-h---h-b-(f|)  ';
      m.expect(raceStreams({ one, two })).toBeObservable(expected, events);
    }),
  );

  it(
    'begins the next only when nobody has brought content in time, to the frame',
    marbles((m) => {
      const one = m.cold('    -----a--|', events);
      const two = m.cold('    b');
      const late = m.cold('   b', events);
      m.expect(raceStreams({ one, two }, { hedgeAfterMs: 6 })).toBeObservable('-----a--|', events);
      m.expect(two).toHaveSubscriptions([]);
      m.expect(raceStreams({ one, late }, { hedgeAfterMs: 4 })).toBeObservable('----b', events);
      m.expect(late).toHaveSubscriptions('----^');
    }),
  );

  it(
    'begins one after the other, each so long after the one before',
    marbles((m) => {
      const silent = m.cold(' -');
      const slow = m.cold('   -------b|', events);
      const streams = { one: silent, two: slow, three: m.cold('-------c') };
      const expected = '      ----------b|';
      m.expect(raceStreams(streams, { hedgeAfterMs: 3 })).toBeObservable(expected, events);
      m.expect(silent).toHaveSubscriptions('^---------!');
      m.expect(slow).toHaveSubscriptions('  ---^-------!');
      m.expect(streams.three).toHaveSubscriptions('------^---!');
    }),
  );

  it(
    'begins the next at once when one before it fails, though others still run',
    marbles((m) => {
      const silent = m.cold(' ---------');
      const failing = m.cold('   -#    ', events, lost);
      const third = m.cold('      --b|', events);
      const streams = { silent, failing, third };
      m.expect(raceStreams(streams, { hedgeAfterMs: 3 })).toBeObservable('------b|', events);
      m.expect(silent).toHaveSubscriptions(' ^-----!  ');
      m.expect(failing).toHaveSubscriptions('---^!    ');
      m.expect(third).toHaveSubscriptions('  ----^--!');
    }),
  );

  it('comes to the last of very many that fail at once', () => {
    const good: readonly [string, Observable<StreamEvent>] = ['good', of(text('a'))];
    const bad = Array.from({ length: 5_000 }, (_, index) => [String(index), throwError(() => lost)] as const);
    for (const hedgeAfterMs of [undefined, 10]) {
      const heard: StreamEvent[] = [];
      raceStreams([...bad, good], { hedgeAfterMs }).subscribe((event) => heard.push(event));
      expect(heard).toEqual([text('a')]);
    }
  });

  it(
    'begins the next at once when all before it have failed',
    marbles((m) => {
      const one = m.cold('    --#      ', events, lost);
      const two = m.cold('      -b-|   ', events);
      const expected = '      ---b-|   ';
      m.expect(raceStreams({ one, two }, { hedgeAfterMs: 100 })).toBeObservable(expected, events);
      m.expect(two).toHaveSubscriptions('--^--!');
    }),
  );

  it(
    'passes the winner’s later failure, and begins no other then',
    marbles((m) => {
      const one = m.cold('    -a-#', events, lost);
      const two = m.cold('    ----b', events);
      m.expect(raceStreams({ one, two }, { hedgeAfterMs: 2 })).toBeObservable('-a-#', events, lost);
      m.expect(two).toHaveSubscriptions([]);
    }),
  );

  it(
    'is won by a whole answer without content, and by an empty stream',
    marbles((m) => {
      const one = m.cold('    -s(f|)', events);
      m.expect(raceStreams({ one, two: NEVER })).toBeObservable('--(sf|)', events);
      m.expect(raceStreams({ one: EMPTY, two: NEVER })).toBeObservable('|');
    }),
  );

  it(
    'leaves all of them, and begins no other, when its reader leaves',
    marbles((m) => {
      const one = m.cold('    ---------', events);
      const two = m.cold('    ---------', events);
      const three = m.cold('  a');
      const unsub = '         ----!';
      const streams = { one, two, three };
      m.expect(raceStreams(streams, { hedgeAfterMs: 3 }), unsub).toBeObservable('-----');
      m.expect(one).toHaveSubscriptions('  ^---!');
      m.expect(two).toHaveSubscriptions('  ---^!');
      m.expect(three).toHaveSubscriptions([]);
    }),
  );

  it('tells every cause where all failed', async () => {
    const broken = new ProtocolError('broken');
    const race = raceStreams({
      one: throwError(() => lost),
      two: concat(
        of(events['s'] ?? finish),
        throwError(() => broken),
      ),
    });
    const error = await lastValueFrom(race).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StreamsFailedError);
    expect(error).toMatchObject({ code: 'ERR_STREAMS_FAILED', cause: lost });
    expect((error as StreamsFailedError).errors).toEqual(
      new Map<string, unknown>([
        ['one', lost],
        ['two', broken],
      ]),
    );
    expect(isRetryable(error)).toBe(false);
    const again = await lastValueFrom(raceStreams({ one: throwError(() => lost) })).catch((reason: unknown) => reason);
    expect(isRetryable(again)).toBe(true);
  });

  it('stops synchronous streams: the first has won before another begins', async () => {
    const begun = vi.fn<() => void>();
    const two = concat(EMPTY, of(text('b'))).pipe(tapReceipt(begun));
    expect(await lastValueFrom(raceStreams({ one: of(text('a'), text('c')), two }).pipe(take(1), toArray()))).toEqual([
      text('a'),
    ]);
    expect(begun).not.toHaveBeenCalled();
  });

  it('serves two subscribers apart', async () => {
    const race = raceStreams({ one: NEVER, two: of(text('b')) });
    for (let i = 0; i < 2; i += 1) expect(await lastValueFrom(race.pipe(toArray()))).toEqual([text('b')]);
  });

  it('hears no more of a loser that its reader feeds from inside', () => {
    const [one, two] = [new Subject<StreamEvent>(), new Subject<StreamEvent>()];
    const heard: StreamEvent[] = [];
    raceStreams({ one, two }).subscribe((event) => {
      if (heard.push(event) > 1) return;
      two.next(text('b'));
      one.next(text('c'));
    });
    one.next(text('a'));
    expect(heard).toEqual([text('a'), text('c')]);
  });

  it('keeps the order where a reader feeds or ends the winner from inside', () => {
    for (const end of ['complete', 'error'] as const) {
      const one = new Subject<StreamEvent>();
      const heard: unknown[] = [];
      raceStreams({ one, two: NEVER }).subscribe({
        next: (event) => {
          if (heard.push(event) > 1) return;
          one.next(text('b'));
          if (end === 'complete') one.complete();
          else one.error(lost);
        },
        error: (error: unknown) => heard.push(error),
        complete: () => heard.push('complete'),
      });
      one.next(events['s'] ?? finish);
      one.next(text('a'));
      expect(heard).toEqual([events['s'], text('a'), text('b'), end === 'complete' ? 'complete' : lost]);
    }
  });

  it('takes a stream that tells too much before its content for failed', async () => {
    const chatty = concat(of(events['s'] ?? finish, events['s'] ?? finish, events['s'] ?? finish), NEVER);
    const good = new Subject<StreamEvent>();
    const heard = lastValueFrom(raceStreams({ chatty, good }, { maxHeldEvents: 2 }).pipe(toArray()));
    good.next(text('a'));
    good.complete();
    expect(await heard).toEqual([text('a')]);
    const alone = await lastValueFrom(raceStreams({ chatty }, { maxHeldEvents: 2 })).catch((reason: unknown) => reason);
    expect(alone).toMatchObject({ cause: expect.any(LimitError) as unknown });
  });

  it('passes the throw of a callback', async () => {
    const broken = new Error('broken');
    const onSettled = (): never => {
      throw broken;
    };
    await expect(lastValueFrom(raceStreams({ one: of(text('a')) }, { onSettled }))).rejects.toBe(broken);
  });

  it('refuses what is no race and no limit', () => {
    expect(() => raceStreams({})).toThrow(TypeError);
    expect(() => raceStreams([])).toThrow(TypeError);
    expect(() => raceStreams({ one: NEVER }, { hedgeAfterMs: -1 })).toThrow(RangeError);
    expect(() => raceStreams({ one: NEVER }, { maxHeldEvents: 0 })).toThrow(RangeError);
  });
});

describe('a race of calls', () => {
  it('is whole for a sink below, which books what the losers told', async () => {
    const one = fromCall(fakeCall(concat(of(events['u'] ?? finish), NEVER)));
    const two = new Subject<StreamEvent>();
    const settled: Receipt[] = [];
    const whole = collect(
      raceStreams({ one, two: fromCall(fakeCall(two)) }, { onSettled: (receipt) => settled.push(receipt) }),
    );
    two.next(text('b'));
    two.next({ type: 'usage', outputTokens: 4, provenance: 'reported' });
    two.next(finish);
    expect(await whole).toMatchObject({
      text: 'b',
      receipt: {
        outcome: 'complete',
        attempts: 2,
        usage: { outputTokens: 7 },
        usageByAttempt: [{ outputTokens: 3 }, { outputTokens: 4 }],
      },
    });
    expect(settled.map(({ key, outcome }) => [key, outcome])).toEqual([
      ['one', 'stopped'],
      ['two', 'complete'],
    ]);
  });

  it('does not take half of the winner for the whole', async () => {
    const two = new Subject<StreamEvent>();
    const race = raceStreams({ one: fromCall(fakeCall(NEVER)), two: fromCall(fakeCall(two)) });
    const half = collect(race.pipe(take(1)));
    two.next(text('half'));
    await expect(half).rejects.toBeInstanceOf(InterruptedError);
  });

  it('is judged by the winner where one before it failed', async () => {
    const bad = fromCall(fakeCall(throwError(() => lost)));
    const good = fromCall(fakeCall([text('a'), finish]));
    expect(await collect(raceStreams({ bad, good }))).toMatchObject({ text: 'a', receipt: { outcome: 'complete' } });
  });

  it('cancels the loser’s task, once, and closes its connection', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    server.next(
      { pieces: ['late'], fault: { kind: 'stall', at: { frame: 3 } } },
      { provider: 'inferencesh', method: 'POST' },
    );
    server.next({ pieces: ['fast ', 'answer'] }, { provider: 'polargrid' });
    const task = inferencesh({ apiKey: 'any', baseURL: server.baseURLs.inferencesh }).run({ app: 'a/b', input: {} });
    const chat = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid }).chat({
      model: 'm',
      messages: [{ role: 'user', content: 'Where?' }],
    });
    const settled: Receipt[] = [];
    const { text: whole } = await collect(
      raceStreams(
        { task: fromCall(task), chat: fromCall(chat) },
        { hedgeAfterMs: 200, onSettled: (receipt) => settled.push(receipt) },
      ),
    );
    expect(whole).toBe('fast answer');
    for (;;) {
      const { path } = await server.nextRequest();
      if (path.endsWith('/cancel')) break;
    }
    await server.requests.find(({ path }) => path.endsWith('/cancel'))?.ended; // before the server closes
    expect(settled[0]).toMatchObject({ key: 'task', outcome: 'stopped', by: 'unsubscribe', billing: 'ended' });
    expect(server.requests.filter(({ path }) => path.endsWith('/cancel'))).toHaveLength(1);
  });
});

/** A call whose attempts are these, and how often it was asked. */
function attempts(resume: 'anew' | 'on', ...sources: Observable<StreamEvent>[]) {
  let asked = 0;
  const call = fakeCall(
    defer(() => sources[(asked += 1) - 1] ?? NEVER),
    { resume },
  );
  return { stream: fromCall(call), asked: () => asked };
}

const soon = { random: () => 1, delay: { initialMs: 2, maxMs: 100 } };

describe('a race above a retry', () => {
  it(
    'goes on with the winner alone, and asks no loser again',
    marbles((m) => {
      const loser = attempts('anew', m.cold('------', events), m.cold('c-c-(f|)', events));
      const winner = attempts('on', m.cold('-a-#', events, lost), m.cold('----b(f|)', events));
      const settled: unknown[] = [];
      const onSettled = ({ key, outcome }: Receipt): void => void settled.push([key, outcome]);
      const race = raceStreams({ loser: loser.stream, winner: winner.stream }, { onSettled });
      m.expect(race.pipe(retryOnDisconnect(soon))).toBeObservable('-a-------b(f|)', events);
      m.flush();
      expect([loser.asked(), winner.asked()]).toEqual([1, 2]);
      expect(settled).toEqual([
        ['loser', 'stopped'],
        ['winner', 'interrupted'],
        ['winner', 'complete'],
      ]);
    }),
  );

  it(
    'goes on with a winner that was begun late, and with one that another was never begun beside',
    marbles((m) => {
      const slow = attempts('anew', m.cold('------', events));
      const late = attempts('on', m.cold('  -a-#', events, lost), m.cold('-------b(f|)', events));
      const streams = { slow: slow.stream, late: late.stream };
      m.expect(raceStreams(streams, { hedgeAfterMs: 3 }).pipe(retryOnDisconnect(soon))).toBeObservable(
        '----a----------b(f|)',
        events,
      );
      const first = attempts('on', m.cold(' -a-#', events, lost), m.cold('-------b(f|)', events));
      const other = attempts('anew', m.cold('c-c-(f|)', events));
      m.expect(
        raceStreams({ first: first.stream, other: other.stream }, { hedgeAfterMs: 3 }).pipe(retryOnDisconnect(soon)),
      ).toBeObservable('-a----------b(f|)', events);
      m.flush();
      expect([slow.asked(), late.asked(), first.asked(), other.asked()]).toEqual([1, 2, 2, 0]);
    }),
  );

  it(
    'goes on with the winner where the first to begin has no call',
    marbles((m) => {
      for (const hedgeAfterMs of [undefined, 1]) {
        const cache = m.cold('  ------c', events);
        const winner = attempts('on', m.cold('a-#', events, lost), m.cold('-------b(f|)', events));
        const streams = { cache, winner: winner.stream };
        const expected = hedgeAfterMs === undefined ? 'a----------b(f|)' : '-a----------b(f|)';
        m.expect(raceStreams(streams, { hedgeAfterMs }).pipe(retryOnDisconnect(soon))).toBeObservable(expected, events);
      }
    }),
  );

  it(
    'tells of a winner that begins anew',
    marbles((m) => {
      const winner = attempts('anew', m.cold('-a-#', events, lost), m.cold('-(bf|)', events));
      const loser = attempts('anew', m.cold(' ------'), m.cold('c(f|)', events));
      const restart: StreamEvent = {
        type: 'restart',
        attempt: 2,
        because: 'the connection was lost',
        discard: { chars: 1 },
      };
      m.expect(
        raceStreams({ loser: loser.stream, winner: winner.stream }).pipe(retryOnDisconnect(soon)),
      ).toBeObservable('-a----(rbf|)', { ...events, r: restart });
    }),
  );

  it(
    'is run once more where all had failed',
    marbles((m) => {
      const one = attempts('anew', m.cold('-#', events, lost), m.cold('---a(f|)', events));
      const two = attempts('anew', m.cold('-#', events, lost), m.cold('-b--(f|)', events));
      const race = raceStreams({ one: one.stream, two: two.stream }, { hedgeAfterMs: 9 });
      m.expect(race.pipe(retryOnDisconnect(soon))).toBeObservable('-----b--(f|)', events);
      m.flush();
      expect([one.asked(), two.asked()]).toEqual([2, 2]);
    }),
  );
});

describe('a race over sockets', () => {
  const messages = [{ role: 'user', content: 'Where?' }];

  it('that goes on after a break asks the winner again, and nobody else', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    server.next({ fault: { kind: 'stall', at: { frame: 0 } } }, { provider: 'infron' });
    server.next({ pieces: ['one ', 'two '], fault: { kind: 'reset', at: { frame: 3 } } }, { provider: 'polargrid' });
    server.next({ pieces: ['one ', 'two ', 'three'] }, { provider: 'polargrid' });
    const far = fromCall(infron({ apiKey: 'any', baseURL: server.baseURLs.infron }).chat({ model: 'm', messages }));
    const near = fromCall(
      polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages }),
    );
    const { text: whole, receipt } = await collect(
      raceStreams({ far, near }).pipe(retryOnDisconnect({ random: () => 0 })),
    );
    expect(whole).toBe('one two three');
    expect(receipt).toMatchObject({ outcome: 'complete', restarts: 1 });
    expect(server.requests.map(({ provider }) => provider).sort()).toEqual(['infron', 'polargrid', 'polargrid']);
  });

  it.each(['before its requests are answered', 'in the middle of the answer'])(
    'leaves no connection when it is left %s',
    async (when) => {
      const server = await startProviderServer();
      onTestFinished(() => server.close());
      const isEarly = when.startsWith('before');
      server.next({ fault: { kind: 'stall', at: { frame: isEarly ? 0 : 2 } } }, { provider: 'polargrid' });
      server.next({ fault: { kind: 'stall', at: { frame: 0 } } }, { provider: 'infron' });
      const streams = {
        near: fromCall(polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages })),
        far: fromCall(infron({ apiKey: 'any', baseURL: server.baseURLs.infron }).chat({ model: 'm', messages })),
      };
      const heard = new Subject<void>();
      const race = raceStreams(streams).subscribe((event) => {
        if (event.type === 'text') heard.next();
      });
      const first = isEarly ? Promise.resolve() : firstValueFrom(heard);
      const requests = [await server.nextRequest(), await server.nextRequest()];
      await first;
      race.unsubscribe();
      await Promise.all(requests.map(({ closed }) => closed));
      await vi.waitUntil(() => server.connections() === 0, { interval: 1 });
      expect(server.requests).toHaveLength(2);
    },
  );
});
