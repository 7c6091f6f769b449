import {
  asyncScheduler,
  concat,
  delay,
  from,
  mergeMap,
  NEVER,
  type Observable,
  observeOn,
  of,
  Subject,
  take,
} from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import { Scope } from '../../src/internal/flow.js';
import { draw, operate } from '../../src/internal/operate.js';
import { decode } from '../../src/operators/decode.js';
import { isolate } from '../../src/operators/isolate.js';
import { chatDialect } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import type { ServerSentEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';
import { pausable } from '../support/pausable.js';

describe('isolate', () => {
  it.each([
    ['stays silent while the source does', ' -', ' ^', ' -'],
    ['completes with a source that holds nothing', ' --|', ' ^-!', ' --|'],
    ['passes every value on', ' -a--b-(c|)', ' ^-----!', ' -a--b-(c|)'],
    ['passes the error on', ' -a-#', ' ^--!', ' -a-#'],
  ])('%s', (_, source, subs, expected) => {
    marbles((m) => {
      const cold = m.cold(source);
      m.expect(cold.pipe(isolate())).toBeObservable(expected);
      m.expect(cold).toHaveSubscriptions(subs);
    })();
  });

  it(
    'stops the source when it is left',
    marbles((m) => {
      const source = m.cold(' -a---b-');
      const unsub = '         ---!    ';
      const expected = '      -a------';
      m.expect(source.pipe(isolate()), unsub).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions('^--!');
    }),
  );

  it('stops a synchronous source', () => {
    const seen: number[] = [];
    from([1, 2, 3])
      .pipe(isolate(), take(1))
      .subscribe((value) => seen.push(value));
    expect(seen).toEqual([1]);
  });

  it('gives each subscriber a subscription of its own', () => {
    const subject = new Subject<number>();
    const isolated = subject.pipe(isolate());
    const seen: number[] = [];
    const first = isolated.subscribe((value) => seen.push(value));
    isolated.subscribe((value) => seen.push(value * 10));
    subject.next(1);
    first.unsubscribe();
    subject.next(2);
    expect(seen).toEqual([1, 10, 20]);
  });

  it('passes on what a subscriber feeds back from inside', () => {
    const subject = new Subject<number>();
    const seen: number[] = [];
    subject.pipe(isolate()).subscribe((value) => {
      seen.push(value);
      if (value < 3) subject.next(value + 1);
    });
    subject.next(1);
    expect(seen).toEqual([1, 2, 3]);
  });

  it('does not keep what a sink below has to know of the stream', async () => {
    const events: readonly ServerSentEvent[] = [
      {
        type: 'event',
        event: 'message',
        data: '{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}',
        id: '',
      },
      { type: 'event', event: 'message', data: '[DONE]', id: '' },
    ];
    await expect(collect(from(events).pipe(decode(chatDialect()), isolate()))).resolves.toMatchObject({ text: 'Hi' });
    const half = collect(from(events).pipe(decode(chatDialect()), isolate(), take(1)));
    await expect(half).rejects.toMatchObject({ code: 'ERR_INTERRUPTED', received: { text: 'Hi' } });
  });
});

const letters = [...'abcdefgh'];

/** A sink that is full from the first item on. */
function full<T>(): (source: Observable<T>) => Observable<never> {
  return operate<T, never>((source, subscriber) => {
    const scope = new Scope(true);
    draw<T>(source, subscriber, scope, () => ({
      next: () => {
        scope.pause();
      },
    }));
  });
}

describe('a stream that is isolated', () => {
  it('is not paused by the full sink below it, and the same without isolate is', () => {
    const [isolated, plain] = [pausable(letters), pausable(letters)];
    isolated.source.pipe(isolate(), full()).subscribe();
    plain.source.pipe(full()).subscribe();
    expect([isolated.given, plain.given]).toEqual([8, 1]);
  });

  it.each<[string, (source: Observable<string>) => Observable<string>]>([
    ['observeOn', (source) => source.pipe(isolate(), observeOn(asyncScheduler))],
    [
      'observeOn and a late subscription',
      (source) =>
        of(0).pipe(
          delay(0),
          mergeMap(() => source.pipe(isolate())),
          observeOn(asyncScheduler),
        ),
    ],
    [
      'a late subscription',
      (source) =>
        of(0).pipe(
          delay(0),
          mergeMap(() => source.pipe(isolate())),
        ),
    ],
    [
      'a stream that is begun by another',
      (source) =>
        concat(of(0), NEVER).pipe(
          mergeMap(() => source),
          isolate(),
        ),
    ],
  ])('is not paused behind %s', async (_, through) => {
    const stream = pausable(letters);
    const subscription = through(stream.source).pipe(full()).subscribe();
    await vi.waitUntil(() => stream.given === 8);
    expect(stream.told).toEqual([]);
    subscription.unsubscribe();
  });
});
