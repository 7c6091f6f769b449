import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EMPTY, from, lastValueFrom, NEVER, type Observable, of, Subject, take, throwError } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { AbortError } from '../../src/errors.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { collect } from '../../src/sinks/collect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const half: StreamEvent = { type: 'text', text: 'half', index: 0, name: 'output' };
const finish: StreamEvent = { type: 'finish', reason: 'stop' };

describe('stopOn', () => {
  it(
    'stays silent while source and notifier do',
    marbles((m) => {
      const source = m.cold('  -');
      const subs = '           ^';
      const expected = '       -';
      m.expect(source.pipe(stopOn(NEVER))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with an empty source and leaves the notifier',
    marbles((m) => {
      const source = m.cold('  --|');
      const notifier = m.cold('---');
      const subs = '           ^-!';
      const expected = '       --|';
      m.expect(source.pipe(stopOn(notifier))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.expect(notifier).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes everything on until the notifier emits, then leaves both and completes',
    marbles((m) => {
      const source = m.cold('  -a-b-c-d|');
      const notifier = m.cold('----x-x-|');
      const subs = '           ^---!    ';
      const expected = '       -a-b|    ';
      m.expect(source.pipe(stopOn(notifier))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.expect(notifier).toHaveSubscriptions(subs);
    }),
  );

  it(
    'goes on when the notifier completes without emitting',
    marbles((m) => {
      const source = m.cold('  -a-b-c-|');
      const notifier = m.cold('--|     ');
      const subs = '           ^------!';
      const expected = '       -a-b-c-|';
      m.expect(source.pipe(stopOn(notifier))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.expect(notifier).toHaveSubscriptions('^-!');
    }),
  );

  it(
    'errors with the notifier’s error and leaves the source',
    marbles((m) => {
      const source = m.cold('  -a-b-c-|');
      const notifier = m.cold('--#     ');
      const subs = '           ^-!     ';
      const expected = '       -a#     ';
      m.expect(source.pipe(stopOn(notifier))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.expect(notifier).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes the source’s error on and leaves the notifier',
    marbles((m) => {
      const source = m.cold('  -a-#');
      const notifier = m.cold('----');
      const subs = '           ^--!';
      const expected = '       -a-#';
      m.expect(source.pipe(stopOn(notifier))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.expect(notifier).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves both when the subscriber leaves',
    marbles((m) => {
      const source = m.cold('  -a-b-c-|');
      const notifier = m.cold('------x-');
      const subs = '           ^---!   ';
      const expected = '       -a-b-   ';
      m.expect(source.pipe(stopOn(notifier)), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.expect(notifier).toHaveSubscriptions(subs);
    }),
  );

  it(
    'listens for each subscriber apart',
    marbles((m) => {
      const source = m.cold('   -a-b-c-|');
      const notifier = m.cold(' ----x   ');
      const first = '           -a-b|   ';
      const second = '          ---a-b| ';
      const stopped = source.pipe(stopOn(notifier));
      m.expect(stopped).toBeObservable(first);
      m.expect(stopped, '       --^     ').toBeObservable(second);
      m.expect(source).toHaveSubscriptions(['^---!', '--^---!']);
      m.expect(notifier).toHaveSubscriptions(['^---!', '--^---!']);
    }),
  );

  it(
    'never subscribes the source when the notifier emits at once',
    marbles((m) => {
      const source = m.cold(' -a|');
      const expected = '      |  ';
      m.expect(source.pipe(stopOn(of('now')))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions([]);
    }),
  );

  it(
    'never subscribes the source when the notifier fails at once',
    marbles((m) => {
      const source = m.cold(' -a|');
      const expected = '      #  ';
      m.expect(source.pipe(stopOn(throwError(() => 'error')))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions([]);
    }),
  );

  it(
    'passes a whole source on when the notifier is empty',
    marbles((m) => {
      const source = m.cold(' -a|');
      const subs = '          ^-!';
      const expected = '      -a|';
      m.expect(source.pipe(stopOn(EMPTY))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'never subscribes the source when the signal was aborted before',
    marbles((m) => {
      const source = m.cold(' -a|');
      const expected = '      |  ';
      m.expect(source.pipe(stopOn(AbortSignal.abort()))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions([]);
    }),
  );

  it('stops at the abort of a signal, in the same turn', () => {
    const controller = new AbortController();
    const source: Subject<string> = new Subject();
    const seen: string[] = [];
    source.pipe(stopOn(controller.signal)).subscribe({
      next: (item) => seen.push(item),
      complete: () => seen.push('complete'),
    });
    source.next('a');
    controller.abort();
    expect(source.observed).toBe(false);
    expect(seen).toStrictEqual(['a', 'complete']);
  });

  it('forgets the signal with the stream', () => {
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    Object.assign(signal, {
      addEventListener: (...args: Parameters<typeof add>) => {
        listeners += 1;
        add(...args);
      },
      removeEventListener: (...args: Parameters<typeof remove>) => {
        listeners -= 1;
        remove(...args);
      },
    });
    of('a').pipe(stopOn(signal)).subscribe();
    expect(listeners).toBe(0);
    const subscription = NEVER.pipe(stopOn(signal)).subscribe();
    expect(listeners).toBe(1);
    subscription.unsubscribe();
    expect(listeners).toBe(0);
  });

  it('stops when a promise resolves, and errors when it rejects', async () => {
    await expect(lastValueFrom(NEVER.pipe(stopOn(Promise.resolve())), { defaultValue: 'stopped' })).resolves.toBe(
      'stopped',
    );
    const refused = new Error('no');
    await expect(lastValueFrom(NEVER.pipe(stopOn(Promise.reject(refused))))).rejects.toBe(refused);
  });

  it('stops when the subscriber says so from inside next', () => {
    const stop: Subject<void> = new Subject();
    const seen: string[] = [];
    let produced = 0;
    function* endless(): Generator<string> {
      for (;;) {
        produced += 1;
        yield 'a';
      }
    }
    from(endless())
      .pipe(stopOn(stop))
      .subscribe({
        next: (item) => {
          seen.push(item);
          stop.next();
        },
        complete: () => seen.push('complete'),
      });
    expect(seen).toStrictEqual(['a', 'complete']);
    expect(produced).toBe(1);
    expect(stop.observed).toBe(false);
  });

  it('stops a synchronous source with its subscriber', () => {
    let produced = 0;
    function* endless(): Generator<string> {
      for (;;) {
        produced += 1;
        yield 'a';
      }
    }
    const seen: string[] = [];
    from(endless())
      .pipe(stopOn(NEVER), take(1))
      .subscribe((item) => seen.push(item));
    expect(seen).toStrictEqual(['a']);
    expect(produced).toBe(1);
  });

  it('refuses what is no notifier, when called', () => {
    expect(() => stopOn(undefined as never)).toThrow(TypeError);
    expect(() => stopOn(5_000 as never)).toThrow('stopOn takes an observable, a promise or an AbortSignal, got number');
  });
});

describe('a stopped stream', () => {
  /** A call that is open after half its answer. */
  function open(): { readonly events: Subject<StreamEvent>; readonly source: Observable<StreamEvent> } {
    const events: Subject<StreamEvent> = new Subject();
    return { events, source: fromCall(fakeCall(events, { provider: 'acme', model: 'm-1' })) };
  }

  function folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'millrace-stopOn-'));
    onTestFinished(() => {
      rmSync(path, { recursive: true });
    });
    return path;
  }

  it.each(['notifier', 'signal'] as const)('is not published by toFile, whose receipt says by %s', async (by) => {
    const path = join(folder(), 'answer.txt');
    const { events, source } = open();
    const controller = new AbortController();
    const notifier: Subject<string> = new Subject();
    const receipt: Promise<Receipt> = new Promise((resolve, reject) => {
      source
        .pipe(stopOn(by === 'signal' ? controller.signal : notifier), toFile(path))
        .subscribe({ next: resolve, error: reject });
    });
    await subscribed(events);
    events.next(half);
    if (by === 'signal') controller.abort();
    else notifier.next('enough');
    expect(await receipt).toMatchObject({
      outcome: 'stopped',
      by,
      provider: 'acme',
      model: 'm-1',
      chars: 4,
      where: `${path}.partial`,
      usage: { provenance: 'unknown' },
      billing: 'ended',
    });
    expect(await receipt).not.toHaveProperty('error');
    expect(events.observed).toBe(false);
    expect(existsSync(path)).toBe(false);
    expect(readFileSync(`${path}.partial`, 'utf8')).toBe('half');
  });

  it('is not published where the signal was aborted before, and asks nothing', async () => {
    const path = join(folder(), 'answer.txt');
    const { events, source } = open();
    const receipt = await lastValueFrom(source.pipe(stopOn(AbortSignal.abort()), toFile(path)));
    expect(receipt).toMatchObject({ outcome: 'stopped', by: 'signal', attempts: 0, chars: 0 });
    expect(events.observed).toBe(false);
    expect(existsSync(path)).toBe(false);
  });

  it('is published when the answer was whole before the notifier spoke', async () => {
    const path = join(folder(), 'answer.txt');
    const notifier: Subject<string> = new Subject();
    const source = fromCall(fakeCall([half, finish]));
    expect(await lastValueFrom(source.pipe(stopOn(notifier), toFile(path)))).toMatchObject({ outcome: 'complete' });
    expect(readFileSync(path, 'utf8')).toBe('half');
    expect(notifier.observed).toBe(false);
  });

  it('is stopped for a sink of strings, too', async () => {
    const path = join(folder(), 'answer.txt');
    const { events, source } = open();
    const notifier: Subject<string> = new Subject();
    const receipt = lastValueFrom(source.pipe(toTokens(), stopOn(notifier), toFile(path)));
    await subscribed(events);
    events.next(half);
    notifier.next('enough');
    expect(await receipt).toMatchObject({ outcome: 'stopped', by: 'notifier', chars: 4 });
  });

  it('is stopped where it has no flow of its own', async () => {
    const path = join(folder(), 'answer.txt');
    const [source, notifier] = [new Subject<StreamEvent>(), new Subject<string>()];
    const receipt = lastValueFrom(source.pipe(stopOn(notifier), toFile(path)));
    await subscribed(source);
    source.next(half);
    notifier.next('enough');
    expect(await receipt).toMatchObject({ outcome: 'stopped', by: 'notifier', chars: 4, attempts: 0 });
    expect(existsSync(path)).toBe(false);
  });

  it.each(['notifier', 'signal'] as const)(
    'rejects collect with an AbortError, by %s, that holds what came',
    async (by) => {
      const { events, source } = open();
      const controller = new AbortController();
      const notifier: Subject<string> = new Subject();
      const answer = collect(source.pipe(stopOn(by === 'signal' ? controller.signal : notifier)));
      events.next(half);
      if (by === 'signal') controller.abort();
      else notifier.next('enough');
      const error: unknown = await answer.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(AbortError);
      expect(error).toMatchObject({
        receipt: { outcome: 'stopped', by, chars: 4 },
        received: { text: 'half', chars: 4, truncated: false },
      });
    },
  );

  it.each(['notifier', 'signal'] as const)('is told to tapReceipt, by %s', (by) => {
    const { events, source } = open();
    const controller = new AbortController();
    const notifier: Subject<string> = new Subject();
    const receipts: Receipt[] = [];
    source
      .pipe(
        stopOn(by === 'signal' ? controller.signal : notifier),
        tapReceipt((receipt) => receipts.push(receipt)),
      )
      .subscribe();
    events.next(half);
    if (by === 'signal') controller.abort();
    else notifier.next('enough');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by, chars: 4, attempts: 1, billing: 'ended' }]);
  });

  it('is stopped by its reader where the reader leaves first', () => {
    const { events, source } = open();
    const receipts: Receipt[] = [];
    const subscription = source
      .pipe(
        stopOn(NEVER),
        tapReceipt((receipt) => receipts.push(receipt)),
      )
      .subscribe();
    events.next(half);
    subscription.unsubscribe();
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe' }]);
  });
});

/** Resolves when somebody listens to a subject; a sink opens its file first. */
async function subscribed(subject: Subject<StreamEvent>): Promise<void> {
  while (!subject.observed) await new Promise((resolve) => setImmediate(resolve));
}
