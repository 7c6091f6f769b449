import {
  asyncScheduler,
  catchError,
  concat,
  defer,
  EMPTY,
  finalize,
  from,
  merge,
  mergeMap,
  NEVER,
  type Observable,
  of,
  repeat,
  share,
  Subject,
  subscribeOn,
  switchMap,
  take,
  throwError,
  timer,
} from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import {
  HTTPError,
  InterruptedError,
  LimitError,
  NoResumePlanError,
  ProtocolError,
  ProviderError,
} from '../../src/errors.js';
import {
  type RetryAttempt,
  retryOnDisconnect,
  type RetryOnDisconnectOptions,
} from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const because = 'the connection was lost';
const events: Record<string, StreamEvent> = {
  a: text('A'),
  b: text('B'),
  c: text('C'),
  x: text('X'),
  y: text('Y'),
  h: { type: 'heartbeat', comment: '' },
  s: { type: 'status', status: 'queued', terminal: false },
  w: { type: 'raw', frame: { role: 'assistant' } },
  f: { type: 'finish', reason: 'stop' },
  1: { type: 'restart', attempt: 2, because, discard: { chars: 1 } },
  2: { type: 'restart', attempt: 2, because, discard: { chars: 2 } },
  3: { type: 'restart', attempt: 3, because, discard: { chars: 1 } },
};

const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const lost = new InterruptedError('lost');

/** Without chance: the pause is its bound. */
const slow: RetryOnDisconnectOptions = { random: () => 1, delay: { initialMs: 2, maxMs: 100 } };

/** A call whose attempts are these, one after the other; the last one is repeated. */
function attempts(resume: 'anew' | 'on', ...sources: Observable<StreamEvent>[]) {
  let asked = 0;
  const call = fakeCall(
    defer(() => {
      asked += 1;
      return sources[Math.min(asked, sources.length) - 1] ?? EMPTY;
    }),
    { resume },
  );
  return { call, asked: () => asked };
}

describe('retryOnDisconnect', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(fromCall(fakeCall(source)).pipe(retryOnDisconnect())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes a whole answer on',
    marbles((m) => {
      const source = m.cold(' -a-b-(f|)', events);
      const subs = '          ^----!   ';
      const expected = '      -a-b-(f|)';
      m.expect(fromCall(fakeCall(source)).pipe(retryOnDisconnect())).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'goes on where the stream broke',
    marbles((m) => {
      const first = m.cold('  -a-b-#         ', events, lost);
      const second = m.cold('        -c-(f|) ', events);
      const firstSubs = '     ^----!         ';
      const secondSubs = '    -------^--!    ';
      const expected = '      -a-b----c-(f|) ';
      const { call } = attempts('on', first, second);
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow))).toBeObservable(expected, events);
      m.expect(first).toHaveSubscriptions(firstSubs);
      m.expect(second).toHaveSubscriptions(secondSubs);
    }),
  );

  it(
    'says with the new answer’s first piece, and not before, that an answer begins anew',
    marbles((m) => {
      const first = m.cold('  -a-b-#               ', events, lost);
      const second = m.cold('        -h--x----(f|) ', events);
      const expected = '      -a-b----h--(2x)-(f|)';
      const { call } = attempts('anew', first, second);
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow))).toBeObservable(expected, events);
    }),
  );

  it(
    'says so before the end of a new answer that has no text',
    marbles((m) => {
      const first = m.cold('  -a-#         ', events, lost);
      const second = m.cold('      --(f|)', events);
      const expected = '      -a-----(1f|) ';
      const { call } = attempts('anew', first, second);
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow))).toBeObservable(expected, events);
    }),
  );

  it(
    'says each time how much is void',
    marbles((m) => {
      const first = m.cold('  -a-#                    ', events, lost);
      const second = m.cold('      -x----#            ', events, lost);
      const third = m.cold('               -y----(f|) ', events);
      const expected = '      -a----(1x)------(3y)-(f|)';
      const { call } = attempts('anew', first, second, third);
      // No attempt brings more than the first one did: the failures add up.
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow))).toBeObservable(expected, events);
    }),
  );

  it(
    'asks again silently before the first piece, and tells the preamble once',
    marbles((m) => {
      const first = m.cold('  -s-w-#            ', events, lost);
      const second = m.cold('        -s-w-a-(f|)', events);
      const expected = '      -s-w--------a-(f|)';
      const { call } = attempts('anew', first, second);
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow))).toBeObservable(expected, events);
    }),
  );

  it(
    'gives up after so many failures in a row, and keeps what was received',
    marbles((m) => {
      const first = m.cold('  -a-#       ', events, lost);
      const dead = m.cold('       -#    ', events, lost);
      const firstSubs = '     ^--!       ';
      const deadSubs = ['     -----^!    ', '----------^!'];
      const expected = '      -a---------#';
      const { call } = attempts('anew', first, dead);
      m.expect(fromCall(call).pipe(retryOnDisconnect({ ...slow, count: 2 }))).toBeObservable(expected, events, lost);
      m.expect(first).toHaveSubscriptions(firstSubs);
      m.expect(dead).toHaveSubscriptions(deadSubs);
    }),
  );

  it(
    'counts from the beginning after an attempt that brought more than any before',
    marbles((m) => {
      const one = m.cold('    -a-#', events, lost);
      const { call, asked } = attempts('on', one, one, one, one, one, m.cold('-(f|)', events));
      // Two frames of pause each time: the first failure in a row, again and again.
      const expected = '      -a----a----a----a----a----(f|)';
      m.expect(fromCall(call).pipe(retryOnDisconnect({ ...slow, count: 1 }))).toBeObservable(expected, events);
      m.flush();
      expect(asked()).toBe(6);
    }),
  );

  it(
    'does not take the same beginning, told again and again, for progress',
    marbles((m) => {
      const one = m.cold('    -a-#', events, lost);
      const { call, asked } = attempts('anew', one);
      const log: RetryAttempt[] = [];
      fromCall(call)
        .pipe(retryOnDisconnect({ ...slow, count: 3, onRetry: (retry) => log.push(retry) }))
        .subscribe({ error: () => undefined });
      m.flush();
      expect(log.map(({ delayMs }) => delayMs)).toEqual([2, 4, 8]);
      expect(asked()).toBe(4);
    }),
  );

  it(
    'begins no retry after its time is over, to the frame',
    marbles((m) => {
      const dead = m.cold('-#', undefined, lost);
      // Frame 1 + 2 = 3, frame 4 + 4 = 8.
      for (const [maxElapsedMs, count] of [
        [2, 1],
        [3, 2],
        [7, 2],
        [8, 3],
      ] as const) {
        const { call, asked } = attempts('anew', dead);
        const asking = fromCall(call).pipe(retryOnDisconnect({ ...slow, count: 2, maxElapsedMs }));
        asking.subscribe({ error: () => undefined });
        asyncScheduler.schedule(() => {
          expect(asked(), String(maxElapsedMs)).toBe(count);
        }, 50);
      }
      m.flush();
    }),
  );

  it(
    'waits between nothing and a bound that doubles, up to its limit',
    marbles((m) => {
      const log: number[] = [];
      const { call } = attempts('anew', m.cold('#', undefined, lost));
      const options = { count: 5, random: () => 0.5, delay: { initialMs: 100, maxMs: 300 } };
      fromCall(call)
        .pipe(retryOnDisconnect({ ...options, onRetry: ({ delayMs }) => log.push(delayMs) }))
        .subscribe({ error: () => undefined });
      m.flush();
      expect(log).toEqual([50, 100, 150, 150, 150]);
    }),
  );

  it(
    'waits as long as the server asks, but not longer than its limit',
    marbles((m) => {
      const log: number[] = [];
      const refused = (retryAfterMs: number) =>
        m.cold('#', undefined, new HTTPError('busy', { status: 429, retryAfterMs }));
      const { call } = attempts('anew', refused(7_000), refused(2 ** 31 - 1), m.cold('(f|)', events));
      fromCall(call)
        .pipe(retryOnDisconnect({ onRetry: ({ delayMs }) => log.push(delayMs), random: () => 0 }))
        .subscribe();
      m.flush();
      expect(log).toEqual([7_000, 60_000]);
    }),
  );

  it.each([
    ['a refused key', new HTTPError('no', { status: 401 })],
    ['a malformed frame', new ProtocolError('no')],
    ['a failure that the provider calls final', new ProviderError('no', { retryable: false })],
    ['an error of the program', new Error('no')],
  ])('does not retry %s', (_, error) => {
    marbles((m) => {
      const { call, asked } = attempts('anew', m.cold('-a-#', events, error));
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow))).toBeObservable('-a-#', events, error);
      m.flush();
      expect(asked()).toBe(1);
    })();
  });

  it.each([
    ['a provider’s passing failure', new ProviderError('overloaded', { retryable: true })],
    ['RxJS’s own timeout', Object.assign(new Error('Timeout has occurred'), { name: 'TimeoutError' })],
  ])('retries %s', (_, error) => {
    marbles((m) => {
      const { call } = attempts('on', m.cold('-a-#', events, error), m.cold('-b-(f|)', events));
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow))).toBeObservable('-a----b-(f|)', events);
    })();
  });

  it(
    'stops the attempt that runs when its reader leaves',
    marbles((m) => {
      const source = m.cold(' -a-b-', events);
      const unsub = '         ---!  ';
      const subs = '          ^--!  ';
      const expected = '      -a-   ';
      m.expect(fromCall(fakeCall(source)).pipe(retryOnDisconnect()), unsub).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'asks no more when its reader leaves in a pause',
    marbles((m) => {
      const first = m.cold('  -a-#  ', events, lost);
      const second = m.cold(' -b    ', events);
      const unsub = '         ----! ';
      const expected = '      -a--- ';
      const { call } = attempts('on', first, second);
      m.expect(fromCall(call).pipe(retryOnDisconnect(slow)), unsub).toBeObservable(expected, events);
      m.expect(second).toHaveSubscriptions([]);
    }),
  );

  it('stops a synchronous source that is left in its middle', () => {
    const left = vi.fn<() => void>();
    const source = from([text('A'), text('B'), { type: 'finish', reason: 'stop' } as const]).pipe(finalize(left));
    const heard: StreamEvent[] = [];
    fromCall(fakeCall(source))
      .pipe(retryOnDisconnect(), take(1))
      .subscribe((event) => heard.push(event));
    expect(heard).toEqual([text('A')]);
    expect(left).toHaveBeenCalledTimes(1);
  });

  it(
    'keeps no state between subscribers',
    marbles((m) => {
      const first = m.cold('  -a-#            ', events, lost);
      const second = m.cold('      -x---(f|)  ', events);
      const expected = '      -a----(1x)(f|)  ';
      const one = attempts('anew', first, second);
      const two = attempts('anew', first, second);
      let turn = 0;
      const call = (): typeof one.call => (turn++ === 0 ? one.call : two.call);
      const operator = retryOnDisconnect<StreamEvent>(slow);
      m.expect(fromCall(call()).pipe(operator)).toBeObservable(expected, events);
      m.expect(fromCall(call()).pipe(operator)).toBeObservable(expected, events);
    }),
  );

  it('passes events that a reader brings about from inside an event', () => {
    const subject = new Subject<StreamEvent>();
    const heard: string[] = [];
    fromCall(fakeCall(subject))
      .pipe(retryOnDisconnect(), toTokens())
      .subscribe((token) => {
        heard.push(token);
        if (token === 'A') subject.next(text('B'));
      });
    subject.next(text('A'));
    expect(heard).toEqual(['A', 'B']);
  });

  it(
    'hands the throw of an observer to its reader',
    marbles((m) => {
      const source = m.cold(' -a-#', events, lost);
      const broken = new Error('onRetry threw');
      const onRetry = (): never => {
        throw broken;
      };
      m.expect(fromCall(attempts('on', source).call).pipe(retryOnDisconnect({ onRetry }))).toBeObservable(
        '                      -a-#',
        events,
        broken,
      );
    }),
  );

  it.each([
    { count: -1 },
    { refusals: -1 },
    { refusals: Number.NaN },
    { count: Number.NaN },
    { maxElapsedMs: -1 },
    { delay: { initialMs: -1 } },
    { delay: { maxMs: 2 ** 31 } },
  ])('refuses %j when it is called', (options) => {
    expect(() => retryOnDisconnect(options)).toThrow(RangeError);
  });

  it.each([{ onUnresumable: 'maybe' }, { onGiveUp: 'never' }])('refuses %j when it is called', (options) => {
    // @ts-expect-error these are words that the types exclude
    expect(() => retryOnDisconnect(options)).toThrow(TypeError);
  });
});

const refused = (status = 429, retryAfterMs?: number): HTTPError =>
  new HTTPError(`HTTP ${String(status)}`, { status, retryAfterMs });

describe('refusals for load', () => {
  it(
    'count as any other failure unless they are counted apart',
    marbles((m) => {
      const first = m.cold('#', events, refused());
      const { call, asked } = attempts('anew', first);
      const expected = '    --#';
      m.expect(fromCall(call).pipe(retryOnDisconnect({ ...slow, count: 1 }))).toBeObservable(
        expected,
        events,
        refused(),
      );
      m.flush();
      expect(asked()).toBe(2);
    }),
  );

  it(
    'are counted apart from other failures, each up to its own number',
    marbles((m) => {
      const no = m.cold('   #', events, refused());
      const broken = m.cold('#', events, lost);
      const { call, asked } = attempts('anew', no, broken, no, broken, no, broken);
      // 2, 2, 4, 4, 8 frames of pause: the two kinds double by themselves. The third break is one too many.
      const expected = '      20ms #';
      m.expect(fromCall(call).pipe(retryOnDisconnect({ ...slow, count: 2, refusals: 3 }))).toBeObservable(
        expected,
        events,
        lost,
      );
      m.flush();
      expect(asked()).toBe(6);
    }),
  );

  it(
    'are given up at one too many, though nothing else has failed',
    marbles((m) => {
      const no = m.cold('-#', events, refused());
      const { call } = attempts('anew', no);
      const expected = ' ---------#'; // 1, 2, 1, 4, 1
      m.expect(fromCall(call).pipe(retryOnDisconnect({ ...slow, count: 9, refusals: 2 }))).toBeObservable(
        expected,
        events,
        refused(),
      );
      m.expect(no).toHaveSubscriptions(['^!', '---^!', '--------^!']);
    }),
  );

  it(
    'may be none',
    marbles((m) => {
      const no = m.cold('-#', events, refused());
      const { call } = attempts('anew', no);
      m.expect(fromCall(call).pipe(retryOnDisconnect({ ...slow, refusals: 0 }))).toBeObservable(
        '-#',
        events,
        refused(),
      );
      m.expect(no).toHaveSubscriptions('^!');
    }),
  );

  it(
    'may be as many as the time allows',
    marbles((m) => {
      const no = m.cold('-#', events, refused());
      const { call, asked } = attempts('anew', no);
      const patient = retryOnDisconnect<StreamEvent>({
        random: () => 1,
        delay: { initialMs: 9, maxMs: 9 },
        count: 0,
        refusals: Infinity,
        maxElapsedMs: 1_000,
      });
      m.expect(fromCall(call).pipe(patient)).toBeObservable('1001ms #', events, refused());
      m.flush();
      expect(asked()).toBe(101); // the last at 1,000
    }),
  );

  it(
    'begin to be counted again after progress',
    marbles((m) => {
      const some = m.cold('a#', events, refused());
      const more = m.cold('b#', events, refused());
      const { call, asked } = attempts('on', some, more, more, more, m.cold('(f|)', events));
      m.expect(fromCall(call).pipe(retryOnDisconnect({ ...slow, count: 0, refusals: 1 }))).toBeObservable(
        'a--b--b--b--(f|)',
        events,
      );
      m.flush();
      expect(asked()).toBe(5);
    }),
  );

  it.each<[string, unknown, boolean]>([
    ['429', refused(429), true],
    ['529', refused(529), true],
    ['503 with a time', refused(503, 1), true],
    ['503 without one', refused(503), false],
    ['500', refused(500, 1), false],
    [
      'a provider that is overloaded',
      new ProviderError('', { retryable: true, providerCode: 'overloaded_error' }),
      true,
    ],
    ['a provider that failed', new ProviderError('', { retryable: true, providerCode: 'server_error' }), false],
    ['a quota that is used up', new HTTPError('', { status: 429, providerCode: 'insufficient_quota' }), false],
  ])('are told from other failures: %s', (_, error, isOne) => {
    marbles((m) => {
      const { call, asked } = attempts('anew', m.cold('#', events, error), m.cold('(f|)', events));
      fromCall(call)
        .pipe(retryOnDisconnect({ ...slow, count: 0, refusals: 1 }))
        .subscribe({ error: () => undefined });
      m.flush();
      expect(asked()).toBe(isOne ? 2 : 1);
    })();
  });

  it('are final where the dialect says that asking again cannot help', () => {
    const error = new ProviderError('', { retryable: false, providerCode: 'rate_limit_error' });
    const { call, asked } = attempts(
      'anew',
      throwError(() => error),
    );
    const seen: unknown[] = [];
    fromCall(call)
      .pipe(retryOnDisconnect({ refusals: Infinity }))
      .subscribe({ error: (reason: unknown) => seen.push(reason) });
    expect(seen).toStrictEqual([error]);
    expect(asked()).toBe(1);
  });
});

describe('a call’s signal', () => {
  it(
    'ends a pause at once, with what was received',
    marbles((m) => {
      const controller = new AbortController();
      const { call, asked } = attempts('anew', m.cold('-a-#', events, lost));
      const errors: unknown[] = [];
      const retry = { delay: { initialMs: 100 }, random: () => 1 };
      fromCall(call, { signal: controller.signal, retry }).subscribe({ error: (error: unknown) => errors.push(error) });
      asyncScheduler.schedule(() => {
        expect(errors).toEqual([]);
        controller.abort('enough');
        expect(errors).toMatchObject([{ name: 'AbortError', cause: 'enough', received: { text: 'A' } }]);
      }, 10);
      m.flush();
      expect(asked()).toBe(1);
    }),
  );
});

describe('fromCall with timeout and retry', () => {
  it(
    'is the pipe of both',
    marbles((m) => {
      const first = m.cold('  -a-------- ', events);
      const second = m.cold('        -b-(f|)', events);
      const expected = '      -a-----b-(f|)';
      const { call } = attempts('on', first, second);
      const options = { timeout: { contentIdleMs: 3 }, retry: slow };
      m.expect(fromCall(call, options)).toBeObservable(expected, events);
      m.expect(first).toHaveSubscriptions('^---!');
    }),
  );
});

describe('what is told of a retry', () => {
  it(
    'is told to onRetry before the pause',
    marbles((m) => {
      const log: RetryAttempt[] = [];
      const { call } = attempts(
        'anew',
        m.cold('#', undefined, lost),
        m.cold('a#', events, lost),
        m.cold('(f|)', events),
      );
      const onRetry = (retry: RetryAttempt): void => void log.push(retry);
      fromCall(call)
        .pipe(retryOnDisconnect({ ...slow, onRetry }))
        .subscribe();
      m.flush();
      expect(log).toEqual([
        { attempt: 2, error: lost, delayMs: 2, how: 'ask' },
        { attempt: 3, error: lost, delayMs: 2, how: 'restart' },
      ]);
    }),
  );

  it(
    'is in the receipt: attempts, restarts, and the usage of each',
    marbles((m) => {
      const usage: StreamEvent = { type: 'usage', outputTokens: 5, provenance: 'reported' };
      const first = m.cold('a#', events, lost);
      const receipts: Receipt[] = [];
      fromCall(attempts('anew', first, m.cold('x---u(f|)', { ...events, u: usage })).call)
        .pipe(
          retryOnDisconnect(slow),
          tapReceipt((receipt) => receipts.push(receipt)),
        )
        .subscribe();
      m.flush();
      expect(receipts).toMatchObject([
        {
          outcome: 'complete',
          attempts: 2,
          restarts: 1,
          usage: { outputTokens: 5, provenance: 'partial' },
          usageByAttempt: [{ provenance: 'unknown' }, { outputTokens: 5, provenance: 'reported' }],
        },
      ]);
    }),
  );

  it('names one bill where the same work was gone on with', async () => {
    const usage = (outputTokens: number): StreamEvent => ({ type: 'usage', outputTokens, provenance: 'reported' });
    const { call } = attempts(
      'on',
      concat(
        of(text('A'), usage(1)),
        throwError(() => lost),
      ),
      of(text('B'), usage(2), finish),
    );
    const { receipt, text: whole } = await collect(fromCall(call).pipe(retryOnDisconnect({ delay: { initialMs: 0 } })));
    expect(whole).toBe('AB');
    expect(receipt).toMatchObject({ attempts: 2, restarts: 0, usage: { outputTokens: 2, provenance: 'reported' } });
    expect(receipt).not.toHaveProperty('usageByAttempt');
  });
});

describe('text after a restart', () => {
  it('is never appended to the tokens of the attempt before, wherever toTokens stands', async () => {
    for (const order of ['above', 'below']) {
      const { call } = attempts(
        'anew',
        concat(
          of(text('one ')),
          throwError(() => lost),
        ),
        of(text('one two'), finish),
      );
      const options = { delay: { initialMs: 0 } };
      const tokens: string[] = [];
      const stream =
        order === 'above'
          ? fromCall(call).pipe(toTokens(), retryOnDisconnect(options))
          : fromCall(call).pipe(retryOnDisconnect(options), toTokens());
      const error = await new Promise<unknown>((resolve) => {
        stream.subscribe({
          next: (token) => tokens.push(token),
          error: resolve,
          complete: () => {
            resolve('complete');
          },
        });
      });
      expect(tokens.join(''), order).toBe('one ');
      expect(error, order).toMatchObject({ code: 'ERR_PROVIDER', providerCode: 'restart' });
    }
  });
});

describe('compositions', () => {
  const again: RetryOnDisconnectOptions = { delay: { initialMs: 0 } };

  /** A call that breaks after `text`, once, and then goes on. */
  const breaking = (first: string, rest: string) =>
    attempts(
      'on',
      concat(
        of(text(first)),
        throwError(() => lost),
      ),
      of(text(rest), finish),
    );
  const whole = (answer: string) => attempts('on', of(text(answer), finish));

  async function read(stream: Observable<StreamEvent>): Promise<{ readonly text: string; readonly error?: unknown }> {
    let all = '';
    const error = await new Promise<unknown>((resolve) => {
      stream.pipe(retryOnDisconnect(again)).subscribe({
        next: (event) => {
          if (event.type === 'text') all += event.text;
        },
        error: resolve,
        complete: () => {
          resolve(undefined);
        },
      });
    });
    return error === undefined ? { text: all } : { text: all, error };
  }

  it('goes on with the call of a chain that broke, and does not ask those before again', async () => {
    const [a, b, c] = [whole('A'), breaking('b', 'B'), whole('C')];
    expect(await read(concat(fromCall(a.call), fromCall(b.call), fromCall(c.call)))).toEqual({ text: 'AbBC' });
    expect([a.asked(), b.asked(), c.asked()]).toEqual([1, 2, 1]);
  });

  it('goes on with every call that ran side by side, and not with those that were whole', async () => {
    const [a, b] = [whole('A'), breaking('b', 'B')];
    const beside = attempts('on', concat(of(text('c')), NEVER), of(text('C'), finish));
    const streams = merge(fromCall(a.call), fromCall(beside.call), fromCall(b.call));
    expect(await read(streams)).toEqual({ text: 'AcbCB' });
    expect([a.asked(), b.asked(), beside.asked()]).toEqual([1, 2, 2]);
  });

  it('tells subscriptions of one call apart by their order', async () => {
    const { call, asked: times } = attempts(
      'on',
      of(text('one '), finish),
      concat(
        of(text('tw')),
        throwError(() => lost),
      ),
      of(text('o'), finish),
    );
    expect(await read(fromCall(call).pipe(repeat(2)))).toEqual({ text: 'one two' });
    expect(times()).toBe(3);
  });

  it('goes through share and switchMap', async () => {
    const shared = breaking('a', 'A');
    expect(await read(fromCall(shared.call).pipe(share()))).toEqual({ text: 'aA' });
    const switched = breaking('b', 'B');
    expect(await read(of(0).pipe(switchMap(() => fromCall(switched.call))))).toEqual({ text: 'bB' });
  });

  it('goes on beneath another retry, with the outer one where the inner one gave up', async () => {
    const dead = throwError(() => lost);
    const { call, asked: times } = attempts('on', concat(of(text('a')), dead), dead, dead, of(text('A'), finish));
    const inner = fromCall(call).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 }, onGiveUp: 'leave' }));
    expect(await read(inner)).toEqual({ text: 'aA' });
    expect(times()).toBe(4);
  });

  it.each([
    ['a promise before it', (call) => from(Promise.resolve('token')).pipe(switchMap(() => fromCall(call)))],
    ['a timer before it', (call) => timer(0).pipe(mergeMap(() => fromCall(call)))],
    ['subscribeOn', (call) => fromCall(call).pipe(subscribeOn(asyncScheduler))],
    ['a copy made for each attempt', (call) => defer(() => fromCall({ ...call }))],
    [
      'a condition that is no more',
      (call) => {
        let first = true;
        return defer(() => {
          const stream = first ? fromCall(call) : EMPTY;
          first = false;
          return stream;
        });
      },
    ],
  ] as const satisfies readonly (readonly [
    string,
    (call: ReturnType<typeof breaking>['call']) => Observable<StreamEvent>,
  ])[])('passes the error with the remedy, and asks nothing, where a call does not come back: %s', async (_, make) => {
    const error = new InterruptedError('lost');
    const { call, asked: times } = attempts(
      'anew',
      concat(
        of(text('once ')),
        throwError(() => error),
      ),
    );
    expect(await read(make(call))).toEqual({ text: 'once ', error });
    expect(error.message).toMatch(/^lost \(not retried: its call did not come back/);
    expect(times()).toBe(1);
  });

  it('passes the error of what lets the call through no more', async () => {
    const error = new InterruptedError('lost');
    const { call } = attempts(
      'anew',
      concat(
        of(text('once ')),
        throwError(() => error),
      ),
    );
    const full = new LimitError('maxWaiting', 1, 'too many wait');
    let isFirst = true;
    const gated = defer(() => {
      const stream = isFirst ? fromCall(call) : throwError(() => full);
      isFirst = false;
      return stream;
    });
    expect(await read(gated)).toEqual({ text: 'once ', error: full });
    expect(error.message).toBe('lost');
  });

  it('needs no remedy where the call is given as a function', async () => {
    const { call } = breaking('a', 'A');
    expect(await read(fromCall(() => Promise.resolve(call)))).toEqual({ text: 'aA' });
    const again = breaking('b', 'B');
    expect(await read(fromCall(() => ({ ...again.call })))).toEqual({ text: 'bB' });
  });

  it('passes what the function that makes the call throws, in a later attempt too', async () => {
    const broken = new Error('no call today');
    const { call } = breaking('a', 'A');
    let made = 0;
    const make = (): typeof call => {
      made += 1;
      if (made > 1) throw broken;
      return call;
    };
    expect(await read(fromCall(make))).toEqual({ text: 'a', error: broken });
  });

  it('is whole for a sink below, though attempts failed above', async () => {
    const { call } = breaking('a', 'A');
    const { receipt } = await collect(fromCall(call).pipe(retryOnDisconnect(again)));
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2, restarts: 0 });
  });

  it('is half for a sink below where somebody swallows the last error', async () => {
    const { call } = attempts(
      'anew',
      concat(
        of(text('half')),
        throwError(() => lost),
      ),
    );
    const stream = fromCall(call).pipe(
      retryOnDisconnect({ count: 1, delay: { initialMs: 0 } }),
      catchError(() => EMPTY),
    );
    await expect(collect(stream)).rejects.toMatchObject({ receipt: { outcome: 'interrupted', attempts: 2 } });
  });
});

describe('a stream without a plan', () => {
  it.each([
    ['no call', () => throwError(() => lost)],
    [
      'a promise before the call',
      () =>
        from(Promise.resolve(0)).pipe(
          switchMap(() =>
            fromCall(
              attempts(
                'on',
                throwError(() => lost),
              ).call,
            ),
          ),
        ),
    ],
  ])('passes its error with the remedy: %s', async (_, make) => {
    const error = await new Promise<unknown>((resolve) => {
      make()
        .pipe(retryOnDisconnect({ delay: { initialMs: 0 } }))
        .subscribe({ error: resolve });
    });
    expect(error).toBe(lost);
    expect(lost.message).toMatch(/not retried/);
    lost.message = 'lost';
  });

  it('is refused where its call says that it has none', () => {
    const { resume: _, ...call } = fakeCall(of());
    const errors: unknown[] = [];
    fromCall(call)
      .pipe(retryOnDisconnect())
      .subscribe({ error: (error: unknown) => errors.push(error) });
    expect(errors).toEqual([expect.any(NoResumePlanError)]);
  });
});
