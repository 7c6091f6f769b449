import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  catchError,
  concatMap,
  EMPTY,
  from,
  lastValueFrom,
  map,
  merge,
  mergeMap,
  NEVER,
  Observable,
  of,
  Subject,
  take,
  takeUntil,
  toArray,
} from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { InterruptedError, ProviderError } from '../../src/errors.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const events: Record<string, StreamEvent> = {
  a: text('ab'),
  b: text('c'),
  t: { type: 'thinking', text: 'hm', index: 0, name: 'thinking' },
  u: { type: 'usage', inputTokens: 3, outputTokens: 2, provenance: 'reported' },
  w: { type: 'warning', code: 'provider-warning', message: 'slow today' },
  r: { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 2 } },
  f: { type: 'finish', reason: 'stop', rawReason: 'end_turn' },
};

/** Receipts as they are told. */
function inbox(): {
  readonly receipts: Receipt[];
  readonly add: (receipt: Receipt) => void;
  next: () => Promise<Receipt>;
} {
  const receipts: Receipt[] = [];
  const waiting: ((receipt: Receipt) => void)[] = [];
  let taken = 0;
  return {
    receipts,
    add: (receipt) => {
      receipts.push(receipt);
      waiting.shift()?.(receipt);
    },
    next: () => {
      const receipt = receipts[taken];
      taken += 1;
      return receipt === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(receipt);
    },
  };
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-tapReceipt-'));
  onTestFinished(() => {
    rmSync(path, { recursive: true });
  });
  return path;
}

/** Resolves when somebody listens; a sink opens its file first. */
async function subscribed(subject: Subject<StreamEvent>): Promise<void> {
  while (!subject.observed) await new Promise((resolve) => setImmediate(resolve));
}

describe('tapReceipt', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(tapReceipt(add))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toHaveLength(0);
    }),
  );

  it(
    'tells of an empty stream without a flow that it is complete',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold(' --|');
      const subs = '          ^-!';
      const expected = '      --|';
      m.expect(source.pipe(tapReceipt(add))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toStrictEqual([
        {
          where: 'none',
          chars: 0,
          bytes: 0,
          outcome: 'complete',
          timings: { startedAt: 0, totalMs: 2 },
          usage: { provenance: 'unknown' },
          attempts: 0,
          restarts: 0,
          warnings: [],
          requestIds: [],
          billing: 'ended',
        },
      ]);
    }),
  );

  it(
    'passes everything on and tells the receipt of a whole answer',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold('  --t-a-b-w-u-f|', events);
      const call = fakeCall(source, { provider: 'acme', model: 'm-1' });
      const subs = '           ^-----------!   ';
      const expected = '       --t-a-b-w-u-(f|)';
      m.expect(fromCall(call).pipe(tapReceipt(add))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toStrictEqual([
        {
          provider: 'acme',
          model: 'm-1',
          where: 'none',
          chars: 3,
          bytes: 0,
          outcome: 'complete',
          finish: { reason: 'stop', rawReason: 'end_turn' },
          timings: { startedAt: 0, firstContentMs: 2, totalMs: 12 },
          usage: { inputTokens: 3, outputTokens: 2, provenance: 'reported' },
          attempts: 1,
          restarts: 0,
          warnings: [events['w']],
          requestIds: [],
          billing: 'ended',
        },
      ]);
    }),
  );

  it(
    'tells of a cut that it was interrupted, and passes the error on',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold('                 -a-u-#', events, new InterruptedError('cut'));
      const subs = '                          ^----!';
      const expected = '                      -a-u-#';
      const tapped = fromCall(fakeCall(source)).pipe(tapReceipt(add));
      m.expect(tapped).toBeObservable(expected, events, new InterruptedError('cut'));
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toMatchObject([
        {
          outcome: 'interrupted',
          error: { name: 'InterruptedError', code: 'ERR_INTERRUPTED', message: 'cut' },
          chars: 2,
          usage: { inputTokens: 3, outputTokens: 2, provenance: 'partial' },
          billing: 'continues',
        },
      ]);
    }),
  );

  it.each([
    [
      'ours',
      new ProviderError('refused', { retryable: false }),
      { name: 'ProviderError', code: 'ERR_PROVIDER', message: 'refused' },
    ],
    ['not ours', new RangeError('odd'), { name: 'RangeError', message: 'odd' }],
    ['no Error at all', 'a word', { name: 'Error', message: 'a word' }],
  ])('tells of an error that is %s, and passes it on', (_, error, told) => {
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold(' -a-#', events, error);
      const subs = '          ^--!';
      const expected = '      -a-#';
      m.expect(source.pipe(tapReceipt(add))).toBeObservable(expected, events, error);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toMatchObject([{ outcome: 'failed', chars: 2 }]);
      expect(receipts[0]?.error).toStrictEqual(told);
    })();
  });

  it(
    'tells of a subscriber that left',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold('  -a-b-f|', events);
      const subs = '           ^---!  ';
      const expected = '       -a-b-  ';
      m.expect(fromCall(fakeCall(source)).pipe(tapReceipt(add)), subs).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toMatchObject([
        { outcome: 'stopped', by: 'unsubscribe', chars: 3, attempts: 1, billing: 'ended' },
      ]);
    }),
  );

  it(
    'is not misled by an operator that completes half an answer',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold('  -a-b-f|', events);
      const stop = m.cold('    --x    ');
      const subs = '           ^-!    ';
      const expected = '       -a|    ';
      m.expect(fromCall(fakeCall(source)).pipe(takeUntil(stop), tapReceipt(add))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toMatchObject([{ outcome: 'interrupted', error: { code: 'ERR_INTERRUPTED' }, chars: 2 }]);
      expect(receipts[0]?.error?.message).toContain('stopOn');
    }),
  );

  it(
    'counts each subscriber’s stream apart',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold('   -a-f|    ', events);
      const first = '           -a-(f|)  ';
      const second = '          ---a-(f|)';
      const tapped = fromCall(fakeCall(source)).pipe(tapReceipt(add));
      m.expect(tapped).toBeObservable(first, events);
      m.expect(tapped, '        --^      ').toBeObservable(second, events);
      m.expect(source).toHaveSubscriptions(['^--!', '--^--!']);
      m.flush();
      expect(receipts).toMatchObject([
        { chars: 2, timings: { startedAt: 0, totalMs: 3 } },
        { chars: 2, timings: { startedAt: 2, totalMs: 3 } },
      ]);
    }),
  );

  it(
    'hears from the events where there is no flow',
    marbles((m) => {
      const { receipts, add } = inbox();
      const source = m.cold(' -a-r-b-w-u-f|', events);
      const subs = '          ^-----------!';
      const expected = '      -a-r-b-w-u-f|';
      m.expect(source.pipe(tapReceipt(add))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(receipts).toMatchObject([
        {
          outcome: 'complete',
          finish: { reason: 'stop' },
          usage: { inputTokens: 3, outputTokens: 2, provenance: 'reported' },
          restarts: 1,
          warnings: [events['w']],
          attempts: 0,
        },
      ]);
    }),
  );

  it('counts the characters of strings', () => {
    const { receipts, add } = inbox();
    of('ab', 'c😀').pipe(tapReceipt(add)).subscribe();
    expect(receipts).toMatchObject([{ outcome: 'complete', chars: 5 }]);
  });

  it('tells the receipt before the stream is over for its subscriber, and after its source is gone', () => {
    const seen: string[] = [];
    const source = new Observable<string>((subscriber) => {
      subscriber.add(() => seen.push('source gone'));
      subscriber.complete();
    });
    source.pipe(tapReceipt(() => seen.push('receipt'))).subscribe({ complete: () => seen.push('complete') });
    expect(seen).toStrictEqual(['source gone', 'receipt', 'complete']);
  });

  it('stops a synchronous source with its subscriber', () => {
    const { receipts, add } = inbox();
    let produced = 0;
    function* endless(): Generator<string> {
      for (;;) {
        produced += 1;
        yield 'a';
      }
    }
    const seen: string[] = [];
    from(endless())
      .pipe(tapReceipt(add), take(1))
      .subscribe((item) => seen.push(item));
    expect(seen).toStrictEqual(['a']);
    expect(produced).toBe(1);
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe', chars: 1 }]);
  });

  it('counts what a subscriber feeds into the source from inside next', () => {
    const { receipts, add } = inbox();
    const source = new Subject<string>();
    source.pipe(tapReceipt(add)).subscribe((item) => {
      if (item !== 'one') return;
      source.next('two');
      source.complete();
    });
    source.next('one');
    expect(receipts).toMatchObject([{ outcome: 'complete', chars: 6 }]);
  });
});

describe('a callback of tapReceipt that throws', () => {
  const thrown = new RangeError('no room for receipts');
  const fail = (): never => {
    throw thrown;
  };

  it(
    'is an error in place of the completion',
    marbles((m) => {
      const source = m.cold(' -a-|', events);
      const subs = '          ^--!';
      const expected = '      -a-#';
      m.expect(source.pipe(tapReceipt(fail))).toBeObservable(expected, events, thrown);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'is an error in place of the source’s',
    marbles((m) => {
      const source = m.cold(' -a-#', events);
      const subs = '          ^--!';
      const expected = '      -a-#';
      m.expect(source.pipe(tapReceipt(fail))).toBeObservable(expected, events, thrown);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it('throws out of unsubscribe', () => {
    const subscription = NEVER.pipe(tapReceipt(fail)).subscribe();
    expect(() => {
      subscription.unsubscribe();
    }).toThrow('no room for receipts');
  });

  it('is an error below a sink', async () => {
    const path = join(folder(), 'answer.txt');
    await expect(lastValueFrom(of('text').pipe(toFile(path), tapReceipt(fail)))).rejects.toBe(thrown);
    expect(readFileSync(path, 'utf8')).toBe('text');
  });
});

describe('tapReceipt around a sink', () => {
  it('gives its own receipt above, and the sink’s below', async () => {
    const path = join(folder(), 'answer.txt');
    const [above, below] = [inbox(), inbox()];
    const call = fakeCall([events['a'], events['f']].filter((event) => event !== undefined));
    const receipt = await lastValueFrom(
      fromCall(call).pipe(tapReceipt(above.add), toFile(path), tapReceipt(below.add)),
    );
    expect(above.receipts).toMatchObject([{ outcome: 'complete', where: 'none', chars: 2, bytes: 0 }]);
    expect(below.receipts).toStrictEqual([receipt]);
    expect(receipt).toMatchObject({ outcome: 'complete', where: path, chars: 2, bytes: 2 });
  });

  it('gives the receipt that the sink’s error carries', async () => {
    const path = join(folder(), 'answer.txt');
    const { receipts, add } = inbox();
    const cut = new InterruptedError('cut');
    const source = new Observable<string>((subscriber) => {
      subscriber.next('half');
      subscriber.error(cut);
    });
    await expect(lastValueFrom(source.pipe(toFile(path), tapReceipt(add)))).rejects.toBe(cut);
    expect(receipts).toStrictEqual([cut.receipt]);
    expect(receipts).toMatchObject([{ outcome: 'interrupted', where: `${path}.partial`, chars: 4, bytes: 4 }]);
  });

  it('gives the sink’s receipt after an unsubscribe, once its file is closed', async () => {
    const path = join(folder(), 'answer.txt');
    const { receipts, add, next } = inbox();
    const source = new Subject<StreamEvent>();
    let written = '';
    const subscription = fromCall(fakeCall(source))
      .pipe(
        toFile(path),
        tapReceipt((receipt) => {
          written = readFileSync(`${path}.partial`, 'utf8');
          add(receipt);
        }),
      )
      .subscribe();
    await subscribed(source);
    source.next(text('half'));
    subscription.unsubscribe();
    expect(source.observed).toBe(false);
    expect(receipts).toHaveLength(0);
    expect(await next()).toMatchObject({
      outcome: 'stopped',
      by: 'unsubscribe',
      where: `${path}.partial`,
      chars: 4,
      bytes: 4,
    });
    expect(written).toBe('half');
    expect(existsSync(`${path}.partial.owner`)).toBe(false);
    expect(receipts).toHaveLength(1);
  });

  it('gives it to each of several below, also past another operator', async () => {
    const path = join(folder(), 'answer.txt');
    const [first, second] = [inbox(), inbox()];
    const source = new Subject<StreamEvent>();
    const subscription = fromCall(fakeCall(source))
      .pipe(toFile(path), tapReceipt(first.add), stopOn(NEVER), map(String), tapReceipt(second.add))
      .subscribe();
    await subscribed(source);
    source.next(text('half'));
    subscription.unsubscribe();
    const receipt = await first.next();
    expect(receipt).toMatchObject({ outcome: 'stopped', by: 'unsubscribe', chars: 4 });
    expect(await second.next()).toBe(receipt);
    expect(first.receipts).toHaveLength(1);
    expect(second.receipts).toHaveLength(1);
  });

  it('gives the sink’s receipt when the stream is stopped on purpose', async () => {
    const path = join(folder(), 'answer.txt');
    const { receipts, add } = inbox();
    const [source, notifier] = [new Subject<StreamEvent>(), new Subject<string>()];
    const done = lastValueFrom(fromCall(fakeCall(source)).pipe(stopOn(notifier), toFile(path), tapReceipt(add)));
    await subscribed(source);
    source.next(text('half'));
    notifier.next('enough');
    expect(receipts).toStrictEqual([await done]);
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'notifier', where: `${path}.partial` }]);
  });
});

describe('tapReceipt below several sinks', () => {
  it('gives each one’s receipt', async () => {
    const dir = folder();
    const { receipts, add } = inbox();
    const sinks = ['a', 'bb', 'ccc'].map((word) => of(word).pipe(toFile(join(dir, `${word}.txt`))));
    const emitted = await lastValueFrom(merge(...sinks).pipe(tapReceipt(add), toArray()));
    expect(receipts).toStrictEqual(emitted);
    expect(receipts.map(({ chars }) => chars).sort()).toStrictEqual([1, 2, 3]);
  });

  it('gives each one’s receipt after an unsubscribe', async () => {
    const dir = folder();
    const { add, next } = inbox();
    const sources = [new Subject<StreamEvent>(), new Subject<StreamEvent>()];
    const sinks = sources.map((source, at) => fromCall(fakeCall(source)).pipe(toFile(join(dir, `${String(at)}.txt`))));
    const subscription = merge(...sinks)
      .pipe(tapReceipt(add))
      .subscribe();
    await Promise.all(sources.map(subscribed));
    sources.forEach((source, at) => {
      source.next(text('x'.repeat(at + 1)));
    });
    subscription.unsubscribe();
    const receipts = [await next(), await next()];
    expect(receipts).toMatchObject([
      { outcome: 'stopped', by: 'unsubscribe' },
      { outcome: 'stopped', by: 'unsubscribe' },
    ]);
    expect(receipts.map(({ chars }) => chars).sort()).toStrictEqual([1, 2]);
  });

  it('gives the receipt of the one that failed, and of the one that was stopped by that', async () => {
    const dir = folder();
    const { add, next } = inbox();
    const [good, bad] = [new Subject<StreamEvent>(), new Subject<StreamEvent>()];
    const sinks = merge(
      fromCall(fakeCall(good)).pipe(toFile(join(dir, 'good.txt'))),
      fromCall(fakeCall(bad)).pipe(toFile(join(dir, 'bad.txt'))),
    );
    const failed = lastValueFrom(sinks.pipe(tapReceipt(add))).catch((error: unknown) => error);
    await Promise.all([good, bad].map(subscribed));
    good.next(text('on'));
    bad.error(new InterruptedError('cut'));
    expect(await next()).toMatchObject({ outcome: 'interrupted', where: join(dir, 'bad.txt.partial') });
    expect(await failed).toBeInstanceOf(InterruptedError);
    expect(await next()).toMatchObject({ outcome: 'stopped', by: 'unsubscribe', chars: 2 });
  });
});

describe('tapReceipt below sinks that are subscribed late', () => {
  /** A step that takes a turn of the event loop, such as a look-up of the file's name. */
  const later = <T>(value: T): Promise<T> => new Promise((resolve) => setImmediate(resolve, value));

  it('gives the receipt of each that completes', async () => {
    const dir = folder();
    const { receipts, add } = inbox();
    const sinks = from(['a', 'bb']).pipe(
      concatMap((word) => later(word)),
      mergeMap((word) => of(word).pipe(toFile(join(dir, `${word}.txt`)))),
    );
    const emitted = await lastValueFrom(sinks.pipe(tapReceipt(add), toArray()));
    expect(emitted).toHaveLength(2);
    expect(receipts).toStrictEqual(emitted);
  });

  it('gives the receipt of one that fails, once', async () => {
    const dir = folder();
    const { receipts, add } = inbox();
    const sinks = from(['a']).pipe(
      mergeMap((word) => later(word)),
      mergeMap((word) =>
        new Observable<string>((subscriber) => {
          subscriber.next(word);
          subscriber.error(new InterruptedError('cut'));
        }).pipe(toFile(join(dir, `${word}.txt`))),
      ),
    );
    await expect(lastValueFrom(sinks.pipe(tapReceipt(add)))).rejects.toThrow('cut');
    expect(receipts).toMatchObject([{ outcome: 'interrupted', where: join(dir, 'a.txt.partial'), chars: 1 }]);
  });

  it('gives the receipt of one that is left in the middle, once its file is closed', async () => {
    const dir = folder();
    const { receipts, add, next } = inbox();
    const source = new Subject<StreamEvent>();
    const sinks = from(['a']).pipe(
      mergeMap((word) => later(word)),
      mergeMap((word) => fromCall(fakeCall(source)).pipe(toFile(join(dir, `${word}.txt`)))),
    );
    const subscription = sinks.pipe(tapReceipt(add)).subscribe();
    await subscribed(source);
    source.next(text('half'));
    subscription.unsubscribe();
    expect(receipts).toHaveLength(0);
    expect(await next()).toMatchObject({ outcome: 'stopped', where: join(dir, 'a.txt.partial'), chars: 4, bytes: 4 });
    expect(receipts).toHaveLength(1);
  });

  it('is not disturbed by an unrelated stream that a subscriber starts meanwhile', async () => {
    const dir = folder();
    const { receipts, add } = inbox();
    const other = inbox();
    const call = fakeCall([text('ab'), { type: 'finish', reason: 'stop' }]);
    let started = 0;
    fromCall(call)
      .pipe(
        toTokens(),
        map((token) => {
          started += 1;
          of('elsewhere')
            .pipe(toFile(join(dir, 'other.txt')), tapReceipt(other.add))
            .subscribe();
          return token;
        }),
        tapReceipt(add),
      )
      .subscribe();
    expect(started).toBe(1);
    expect(await other.next()).toMatchObject({ chars: 9 });
    expect(receipts).toMatchObject([{ outcome: 'complete', where: 'none', chars: 2 }]);
  });
});

describe('what a receipt says of caught errors', () => {
  it('is that the stream was interrupted, where catchError hides it', () => {
    const { receipts, add } = inbox();
    const source = new Subject<StreamEvent>();
    fromCall(fakeCall(source))
      .pipe(
        catchError(() => EMPTY),
        tapReceipt(add),
      )
      .subscribe();
    source.next(text('half'));
    source.error(new InterruptedError('cut'));
    expect(receipts).toMatchObject([{ outcome: 'interrupted', chars: 4 }]);
  });
});
