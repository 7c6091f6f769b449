import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defer, EMPTY, from, lastValueFrom, merge, NEVER, Observable, of, Subject, take, throwError } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { AbortError, HTTPError, InterruptedError, StreamTimeoutError } from '../../src/errors.js';
import { fallbackTo, type FallbackToOptions } from '../../src/operators/fallbackTo.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { timeout } from '../../src/operators/timeout.js';
import { polargrid } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall, startProviderServer } from '../../src/testing/index.js';
import type { Receipt, RestartEvent, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function text(piece: string, index = 0): StreamEvent {
  return { type: 'text', text: piece, index, name: 'output' };
}

function restart(discard: RestartEvent['discard'], attempt = 2, because = 'another stream took over'): StreamEvent {
  return { type: 'restart', attempt, because, discard };
}

const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const events: Record<string, StreamEvent> = {
  a: text('Aa'),
  b: text('B'),
  x: text('X'),
  y: text('Y'),
  i: text('another output', 1),
  o: { type: 'text', text: 'another answer', index: 1, name: 'output', alternative: true },
  t: { type: 'thinking', text: 'Hmm', index: 0, name: 'thinking' },
  s: { type: 'status', status: 'queued', terminal: false },
  h: { type: 'heartbeat', comment: '' },
  f: finish,
  r: restart({ chars: 3 }),
  R: restart({ chars: 7 }, 2, 'lost'),
  0: restart({ chars: 0 }),
  2: restart({ chars: 2 }),
};
const status: StreamEvent = { type: 'status', status: 'queued', terminal: false };
const failed = new InterruptedError('the first was lost');
const failedToo = new InterruptedError('the other was lost');
const always: FallbackToOptions = { when: 'always' };

describe('fallbackTo', () => {
  it(
    'stays silent while the source does, and asks nobody else',
    marbles((m) => {
      const source = m.cold(' -');
      const other = m.cold('  a', events);
      m.expect(source.pipe(fallbackTo(() => other))).toBeObservable('-');
      m.expect(source).toHaveSubscriptions('^');
      m.expect(other).toHaveSubscriptions([]);
    }),
  );

  it(
    'passes a stream on that ends well, be it empty',
    marbles((m) => {
      const source = m.cold(' -a-b-(f|)', events);
      const empty = m.cold('  -|');
      const other = m.cold('  a', events);
      m.expect(source.pipe(fallbackTo(() => other))).toBeObservable('-a-b-(f|)', events);
      m.expect(empty.pipe(fallbackTo(() => other, always))).toBeObservable('-|');
      m.expect(source).toHaveSubscriptions('^----!');
      m.expect(other).toHaveSubscriptions([]);
    }),
  );

  it(
    'goes on with another stream where no content came, and says nothing of it',
    marbles((m) => {
      const source = m.cold(' -s-h-#         ', events, failed);
      const other = m.cold('       -a--b-(f|)', events);
      const sourceSubs = '    ^----!         ';
      const otherSubs = '     -----^-----!   ';
      const expected = '      -s-h--a--b-(f|)';
      m.expect(source.pipe(fallbackTo(() => other))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(sourceSubs);
      m.expect(other).toHaveSubscriptions(otherSubs);
    }),
  );

  it(
    'passes the error on where content came',
    marbles((m) => {
      const source = m.cold(' -a-#', events, failed);
      const other = m.cold('  b', events);
      m.expect(source.pipe(fallbackTo(() => other))).toBeObservable('-a-#', events, failed);
      m.expect(source).toHaveSubscriptions('^--!');
      m.expect(other).toHaveSubscriptions([]);
    }),
  );

  it(
    'tells just before the first content that what came is void, when told to go on always',
    marbles((m) => {
      const source = m.cold(' -a-b-#              ', events, failed);
      const other = m.cold('       -s-h-x---y-(f|)', events);
      const sourceSubs = '    ^----!              ';
      const otherSubs = '     -----^----------!   ';
      const expected = '      -a-b--s-h-(rx)y-(f|)';
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(sourceSubs);
      m.expect(other).toHaveSubscriptions(otherSubs);
    }),
  );

  it(
    'tells so before a finish without content',
    marbles((m) => {
      const source = m.cold(' -a-#      ', events, failed);
      const other = m.cold('     -s-(f|)', events);
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable('-a--s-(2f|)', events);
    }),
  );

  it(
    'tells nothing where nothing is void',
    marbles((m) => {
      const source = m.cold(' -s-#    ', events, failed);
      const other = m.cold('     -a(f|)', events);
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable('-s--a(f|)', events);
    }),
  );

  it(
    'counts the first output alone, and thinking apart',
    marbles((m) => {
      const source = m.cold(' oataib#', events, failed);
      const other = m.cold('        x', events);
      const expected = '      oataib(rx)';
      const values = { ...events, r: restart({ chars: 5, thinkingChars: 3 }) };
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable(expected, values);
    }),
  );

  it(
    'counts from the last restart of the first stream, and one attempt more',
    marbles((m) => {
      const source = m.cold(' -aRb#', { ...events, R: restart({ chars: 2 }, 3, 'lost') }, failed);
      const other = m.cold('      x', events);
      const values = { ...events, R: restart({ chars: 2 }, 3, 'lost'), r: restart({ chars: 1 }, 4) };
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable('-aRb(rx)', values);
    }),
  );

  it(
    'takes what was restarted and brought nothing since for no content',
    marbles((m) => {
      const source = m.cold(' -aR-#', events, failed);
      const other = m.cold('      x', events);
      m.expect(source.pipe(fallbackTo(() => other))).toBeObservable('-aR-x', events);
    }),
  );

  it(
    'adds what is void to a restart that the other stream begins with, and leaves later ones alone',
    marbles((m) => {
      const source = m.cold(' -ab#', events, failed);
      const other = m.cold('     -RxR', events);
      const values = { ...events, r: restart({ chars: 10 }, 2, 'lost') };
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable('-ab-rxR', values);
    }),
  );

  it(
    'passes the error on where there is no other stream',
    marbles((m) => {
      const source = m.cold(' -s-#', events, failed);
      const fallback = vi.fn(() => undefined);
      const onFallback = vi.fn();
      m.expect(source.pipe(fallbackTo(fallback, { onFallback }))).toBeObservable('-s-#', events, failed);
      m.expect(source).toHaveSubscriptions('^--!');
      m.flush();
      expect(fallback.mock.calls).toStrictEqual([[failed]]);
      expect(onFallback).not.toHaveBeenCalled();
    }),
  );

  it(
    'passes the other stream’s error on as it is, with what was received kept',
    marbles((m) => {
      const source = m.cold(' -a-#    ', events, failed);
      const other = m.cold('     -s-# ', events, failedToo);
      const seen: unknown[] = [];
      const fallback = vi.fn(() => other);
      m.expect(
        source.pipe(fallbackTo(fallback, { when: 'always', onFallback: (error) => seen.push(error) })),
      ).toBeObservable('                     -a--s-# ', events, failedToo);
      m.expect(other).toHaveSubscriptions('---^--!');
      m.flush();
      expect(seen).toStrictEqual([failed]);
      expect(fallback).toHaveBeenCalledOnce();
      expect([failed.cause, failedToo.cause]).toStrictEqual([undefined, undefined]);
    }),
  );

  it(
    'passes the first error on where the other stream brings no answer',
    marbles((m) => {
      const source = m.cold(' -a-#   ', events, failed);
      const other = m.cold('     -s-|', events);
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable('-a--s-#', events, failed);
      m.expect(source.pipe(fallbackTo(() => EMPTY, always))).toBeObservable(' -a-#', events, failed);
    }),
  );

  it(
    'asks nobody else where the stream was stopped by its signal',
    marbles((m) => {
      const stopped = new AbortError('stopped');
      const source = m.cold(' -s-#', events, stopped);
      const other = m.cold('  a', events);
      m.expect(source.pipe(fallbackTo(() => other, always))).toBeObservable('-s-#', events, stopped);
      m.expect(other).toHaveSubscriptions([]);
    }),
  );

  it(
    'errors with what its functions throw',
    marbles((m) => {
      const thrown = new RangeError('thrown');
      const fail = (): never => {
        throw thrown;
      };
      const source = m.cold(' -#', events, failed);
      const other = m.cold('  a', events);
      m.expect(source.pipe(fallbackTo(fail))).toBeObservable('-#', events, thrown);
      m.expect(source.pipe(fallbackTo(() => other, { onFallback: fail }))).toBeObservable('-#', events, thrown);
      m.expect(source).toHaveSubscriptions(['^!', '^!']);
      m.expect(other).toHaveSubscriptions([]);
    }),
  );

  it(
    'leaves whichever runs',
    marbles((m) => {
      const source = m.cold(' -s---#   ', events, failed);
      const other = m.cold('       -a-b-', events);
      m.expect(source.pipe(fallbackTo(() => other)), '^--!     ').toBeObservable('-s', events);
      m.expect(source.pipe(fallbackTo(() => other)), '^-------!').toBeObservable('-s----a', events);
      m.expect(source).toHaveSubscriptions(['^--!', '^----!']);
      m.expect(other).toHaveSubscriptions('-----^--!');
    }),
  );

  it(
    'counts for each subscriber afresh',
    marbles((m) => {
      const source = m.hot('  -a-b-#', events, failed);
      const other = m.cold('       x', events);
      const result = source.pipe(fallbackTo(() => other, always));
      m.expect(result).toBeObservable('-a-b-(rx)', events);
      m.expect(result, '--^').toBeObservable('---b-(rx)', { ...events, r: restart({ chars: 1 }) });
      m.expect(other).toHaveSubscriptions(['-----^', '-----^']);
    }),
  );

  it('stops a synchronous source, the other one too', () => {
    let produced = 0;
    function* endless(): Generator<StreamEvent> {
      for (;;) {
        produced += 1;
        yield text('A');
      }
    }
    const fallingBack = throwError(() => failed).pipe(fallbackTo(() => from(endless())));
    const seen: unknown[] = [];
    fallingBack.pipe(take(2)).subscribe({ next: (event) => seen.push(event), complete: () => seen.push('complete') });
    from(endless())
      .pipe(
        fallbackTo(() => NEVER),
        take(1),
      )
      .subscribe((event) => seen.push(event));
    expect(seen).toStrictEqual([text('A'), text('A'), 'complete', text('A')]);
    expect(produced).toBe(3);
  });

  it('keeps the order when a reader feeds the other stream from inside next', () => {
    const other: Subject<StreamEvent> = new Subject();
    const seen: unknown[] = [];
    from([text('one')])
      .pipe(
        (source) =>
          merge(
            source,
            throwError(() => failed),
          ),
        fallbackTo(() => other, always),
      )
      .subscribe({
        next: (event) => {
          seen.push(event);
          if (event.type !== 'restart') return;
          other.next(text('three'));
          other.next(finish);
          other.complete();
        },
        complete: () => seen.push('complete'),
      });
    other.next(text('two'));
    expect(seen).toStrictEqual([text('one'), restart({ chars: 3 }), text('two'), text('three'), finish, 'complete']);
  });

  it('asks nobody else when the reader leaves as it hears of the change', () => {
    const asked = vi.fn();
    const source: Subject<StreamEvent> = new Subject();
    const other = defer(() => {
      asked();
      return NEVER;
    });
    const onFallback = (): void => {
      subscription.unsubscribe();
    };
    const subscription = source.pipe(fallbackTo(() => other, { onFallback })).subscribe();
    source.error(failed);
    expect(subscription.closed).toBe(true);
    expect(asked).not.toHaveBeenCalled();
  });

  it('leaves what ran beside the stream that failed before it asks the other one', () => {
    const order: string[] = [];
    const tracked = (name: string): Observable<StreamEvent> =>
      new Observable(() => {
        order.push(`${name} asked`);
        return () => order.push(`${name} left`);
      });
    const source: Subject<StreamEvent> = new Subject();
    merge(source, tracked('beside'))
      .pipe(fallbackTo(() => tracked('other')))
      .subscribe();
    source.error(failed);
    expect(order).toStrictEqual(['beside asked', 'beside left', 'other asked']);
  });
});

const usage = (outputTokens: number): StreamEvent => ({ type: 'usage', outputTokens, provenance: 'reported' });

describe('a receipt below fallbackTo', () => {
  function receiptOf(source: Observable<StreamEvent>): readonly [Receipt[], unknown[]] {
    const receipts: Receipt[] = [];
    const errors: unknown[] = [];
    source
      .pipe(tapReceipt((receipt) => receipts.push(receipt)))
      .subscribe({ error: (error: unknown) => errors.push(error) });
    return [receipts, errors];
  }

  const half = fakeCall(
    merge(
      of(text('half'), usage(2)),
      throwError(() => failed),
    ),
    { provider: 'first' },
  );
  const whole = fakeCall([text('whole'), usage(5), finish], { provider: 'other' });

  it('judges by the stream that took over, and books the usage of both', () => {
    const [receipts, errors] = receiptOf(fromCall(half).pipe(fallbackTo(() => fromCall(whole), always)));
    expect(errors).toStrictEqual([]);
    expect(receipts).toMatchObject([
      {
        outcome: 'complete',
        provider: 'other',
        attempts: 2,
        restarts: 1,
        usage: { outputTokens: 7 },
        usageByAttempt: [{ outputTokens: 2 }, { outputTokens: 5 }],
      },
    ]);
  });

  it('knows the flow of a stream that was asked on no delivery’s stack', () => {
    const seen: Receipt[] = [];
    marbles((m) => {
      const [receipts] = receiptOf(
        fromCall(fakeCall(m.cold('-a', events))).pipe(
          timeout({ contentIdleMs: 5 }),
          fallbackTo((error) => (error instanceof StreamTimeoutError ? fromCall(whole) : undefined), always),
        ),
      );
      m.flush();
      seen.push(...receipts);
    })();
    expect(seen).toMatchObject([{ outcome: 'complete', provider: 'other', attempts: 2 }]);
  });

  it('does not take half of the other stream for the whole', () => {
    const [receipts] = receiptOf(
      fromCall(half).pipe(
        fallbackTo(() => fromCall(whole), always),
        take(3),
      ),
    );
    expect(receipts).toMatchObject([{ outcome: 'interrupted', attempts: 2 }]);
  });

  it('does not take the first stream’s half for the whole where the reader is completed before the other brings anything', () => {
    const other = fakeCall(merge(of(status), NEVER));
    const [receipts] = receiptOf(
      fromCall(half).pipe(
        fallbackTo(() => fromCall(other), always),
        take(3),
      ),
    );
    expect(receipts).toMatchObject([{ outcome: 'interrupted', attempts: 2 }]);
  });

  it('tells the other stream’s failure', () => {
    const lost = fakeCall(
      merge(
        of(text('x')),
        throwError(() => failedToo),
      ),
    );
    const [receipts, errors] = receiptOf(fromCall(half).pipe(fallbackTo(() => fromCall(lost), always)));
    expect(errors).toStrictEqual([failedToo]);
    expect(receipts).toMatchObject([{ outcome: 'interrupted', attempts: 2, error: { message: 'the other was lost' } }]);
  });
});

describe('what was received', () => {
  const first = (): Observable<StreamEvent> =>
    fromCall(
      fakeCall(
        merge(
          of(text('kept')),
          throwError(() => new InterruptedError('the first was lost')),
        ),
      ),
    );
  const other = (...pieces: readonly string[]): Observable<StreamEvent> =>
    fromCall(
      fakeCall(
        merge(
          of(...pieces.map((piece) => text(piece))),
          throwError(() => new InterruptedError('the other was lost')),
        ),
      ),
    );

  it('is in the other stream’s error where that one brought nothing', async () => {
    await expect(collect(first().pipe(fallbackTo(() => other(), always)))).rejects.toMatchObject({
      message: 'the other was lost',
      received: { text: 'kept', chars: 4, truncated: false },
    });
  });

  it('is only the other stream’s where that one took over', async () => {
    await expect(collect(first().pipe(fallbackTo(() => other('new'), always)))).rejects.toMatchObject({
      message: 'the other was lost',
      received: { text: 'new', chars: 3, truncated: false },
    });
  });

  it('is not written on errors of others', async () => {
    const foreign = new Error('foreign');
    const failing = throwError(() => foreign);
    await expect(lastValueFrom(first().pipe(fallbackTo(() => failing, always)))).rejects.toBe(foreign);
    expect(foreign).not.toHaveProperty('received');
    await expect(lastValueFrom(failing.pipe(fallbackTo(() => other())))).rejects.toMatchObject({
      received: { text: '', chars: 0, truncated: false },
    });
  });
});

describe('fallbackTo and retryOnDisconnect', () => {
  it(
    'work one after the other, on each stream',
    marbles((m) => {
      const first = m.cold(' -#', events, failed);
      const other = m.cold(' -x(f|)', events);
      const options = { count: 1, random: () => 1, delay: { initialMs: 3 } };
      const result = fromCall(fakeCall(first)).pipe(
        retryOnDisconnect(options),
        fallbackTo(() => fromCall(fakeCall(other)).pipe(retryOnDisconnect(options))),
      );
      m.expect(result).toBeObservable('------x(f|)', events);
      m.expect(first).toHaveSubscriptions(['^!', '----^!']);
      m.expect(other).toHaveSubscriptions('-----^-!');
    }),
  );

  it(
    'send nothing twice where the retry stands below',
    marbles((m) => {
      const first = m.cold(' -#', events, new InterruptedError('one'));
      const last = new InterruptedError('two');
      const other = m.cold(' -x#', events, last);
      const calls = [fakeCall(first), fakeCall(other)] as const;
      const errors: unknown[] = [];
      fromCall(calls[0])
        .pipe(
          fallbackTo(() => fromCall(calls[1])),
          retryOnDisconnect({ random: () => 1, delay: { initialMs: 3 } }),
        )
        .subscribe({ error: (error: unknown) => errors.push(error) });
      m.flush();
      expect(errors).toStrictEqual([last]);
      m.expect(first).toHaveSubscriptions('^!');
      m.expect(other).toHaveSubscriptions('-^-!');
    }),
  );
});

describe('fallbackTo over sockets', () => {
  it('publishes the other answer alone, in place of the half that was written', async () => {
    const server = await startProviderServer();
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'));
    onTestFinished(async () => {
      await Promise.all([server.close(), rm(folder, { recursive: true })]);
    });
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    const ask = (model: string) => fromCall(api.chat({ model, messages: [{ role: 'user', content: 'Hello' }] }));
    server.next({ pieces: ['half of ', 'it'], fault: { kind: 'reset', at: { frame: 3 } } });
    server.next({ text: 'The whole answer.' });
    const path = join(folder, 'answer.txt');
    const told: unknown[] = [];
    const receipt = await lastValueFrom(
      ask('small').pipe(
        fallbackTo(() => ask('large'), { when: 'always', onFallback: (error) => told.push(error) }),
        toFile(path),
      ),
    );
    expect(await readFile(path, 'utf8')).toBe('The whole answer.');
    expect(receipt).toMatchObject({ outcome: 'complete', model: 'large', attempts: 2, restarts: 1 });
    expect(told).toMatchObject([{ code: 'ERR_INTERRUPTED', received: { text: 'half of it' } }]);
    expect(server.requests.map(({ body }) => (body as { model: string }).model)).toStrictEqual(['small', 'large']);
  });

  it('asks elsewhere after a refusal, and closes the socket of whichever runs', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    const ask = (model: string) => fromCall(api.chat({ model, messages: [{ role: 'user', content: 'Hello' }] }));
    server.next({ status: 500 });
    const served = await collect(
      ask('small').pipe(fallbackTo((e) => (e instanceof HTTPError ? ask('large') : undefined))),
    );
    expect(served.finish).toMatchObject({ reason: 'stop' });
    server.next({ status: 500 });
    server.next({ fault: { kind: 'stall', at: { frame: 1 } } });
    await server.nextRequest();
    await server.nextRequest();
    const stalled = ask('small')
      .pipe(fallbackTo(() => ask('large')))
      .subscribe();
    await server.nextRequest();
    const request = await server.nextRequest();
    stalled.unsubscribe();
    expect(await request.ended).toBe('client');
  });
});

describe('the arguments of fallbackTo', () => {
  it('are refused when called', () => {
    expect(() => fallbackTo(NEVER as never)).toThrow(
      new TypeError('fallbackTo takes a function that gives another stream, got object'),
    );
    expect(() => fallbackTo(() => undefined, { when: 'never' as 'always' })).toThrow(
      new TypeError("when must be one of 'before-content', 'always', got never"),
    );
  });
});
