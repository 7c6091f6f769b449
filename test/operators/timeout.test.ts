import {
  catchError,
  concat,
  defer,
  delay,
  finalize,
  firstValueFrom,
  from,
  ignoreElements,
  interval,
  lastValueFrom,
  map,
  merge,
  type MonoTypeOperatorFunction,
  NEVER,
  Observable,
  observeOn,
  asyncScheduler,
  of,
  retry,
  share,
  Subject,
  subscribeOn,
  switchMap,
  take,
  tap,
  throwError,
  timer,
  VirtualTimeScheduler,
} from 'rxjs';
import fc from 'fast-check';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it, vi } from 'vitest';
import { InterruptedError, isRetryable, StreamTimeoutError } from '../../src/errors.js';
import { Flow, register, Scope, subscribeWithin } from '../../src/internal/flow.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { timeout, type TimeoutOptions } from '../../src/operators/timeout.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { infernetJobsDialect, inferencesh, polargrid } from '../../src/providers/index.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import type { Call } from '../../src/protocol/call.js';
import { collect } from '../../src/sinks/collect.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall, startProviderServer, startServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const events: Record<string, StreamEvent> = {
  a: { type: 'text', text: 'A', index: 0, name: 'output' },
  b: { type: 'text', text: 'B', index: 0, name: 'output' },
  t: { type: 'thinking', text: 'hm', index: 0, name: 'thinking' },
  h: { type: 'heartbeat', comment: '' },
  q: { type: 'status', status: 'queued', terminal: false },
  r: { type: 'status', status: 'running', terminal: false },
  p: { type: 'progress', current: 1 },
  w: { type: 'raw', frame: {} },
  u: { type: 'usage', provenance: 'reported' },
  f: { type: 'finish', reason: 'stop' },
};

/** `timeout`, whose errors are shown by their phase. */
function limited<T>(options: TimeoutOptions): MonoTypeOperatorFunction<T> {
  return (source) =>
    source.pipe(
      timeout(options),
      catchError((error: unknown) => throwError(() => (error instanceof StreamTimeoutError ? error.phase : error))),
    );
}

const LIMITS = [
  ['headers', 'headersMs'],
  ['firstContent', 'firstContentMs'],
  ['contentIdle', 'contentIdleMs'],
  ['wireIdle', 'wireIdleMs'],
  ['attempt', 'attemptMs'],
] as const;

describe('timeout', () => {
  for (const [phase, option] of LIMITS) {
    it(
      `ends a silent source by ${option}, at the exact frame, and one without a flow too`,
      marbles((m) => {
        const source = m.cold(' ------');
        const subs = '          ^----!';
        const expected = '      -----#';
        m.expect(source.pipe(limited({ [option]: 5 }))).toBeObservable(expected, undefined, phase);
        m.expect(source).toHaveSubscriptions(subs);
        const events = m.cold<StreamEvent>('------');
        m.expect(fromCall(fakeCall(events)).pipe(limited({ [option]: 5 }))).toBeObservable(expected, undefined, phase);
        m.expect(events).toHaveSubscriptions(subs);
      }),
    );

    it(
      `lets pass what comes in the very moment of ${option}`,
      marbles((m) => {
        const source = m.cold(' -----(a|)', events);
        const subs = '          ^----!   ';
        const expected = '      -----(a|)';
        m.expect(source.pipe(limited({ [option]: 5 }))).toBeObservable(expected, events);
        m.expect(source).toHaveSubscriptions(subs);
        const call = m.cold('   -----(af|)', events);
        m.expect(fromCall(fakeCall(call)).pipe(limited({ [option]: 5 }))).toBeObservable('-----(af|)', events);
      }),
    );

    it(
      `leaves no timer of ${option} behind, however the stream ends`,
      marbles((m) => {
        const options = { [option]: 100 };
        const completed = m.cold(' -(a|)', events);
        m.expect(completed.pipe(limited(options))).toBeObservable('-(a|)', events);
        const failed = m.cold('    -a#', events);
        m.expect(failed.pipe(limited(options))).toBeObservable('-a#', events);
        const left = m.cold('      -a-', events);
        m.expect(left.pipe(limited(options)), '^--!').toBeObservable('-a-', events);
        m.expect(left).toHaveSubscriptions('^--!');
        const called = m.cold('    -a-', events);
        m.expect(fromCall(fakeCall(called)).pipe(limited(options)), '^--!').toBeObservable('-a-', events);
        m.flush();
        expect(m.scheduler.now()).toBeLessThan(100);
        expect(m.scheduler.actions).toStrictEqual([]);
      }),
    );

    it(`is at rest with a source that is over at once, by ${option}`, () => {
      const clock = new VirtualTimeScheduler();
      const seen: unknown[] = [];
      const options: TimeoutOptions = { [option]: 5, scheduler: clock };
      of(1, 2)
        .pipe(timeout(options))
        .subscribe((item) => seen.push(item));
      throwError(() => 'error')
        .pipe(timeout(options))
        .subscribe({ error: (error: unknown) => seen.push(error) });
      let produced = 0;
      function* endless(): Generator<number> {
        for (;;) yield (produced += 1);
      }
      from(endless())
        .pipe(timeout(options), take(1))
        .subscribe((item) => seen.push(item));
      fromCall(fakeCall([events['a']!, events['f']!]))
        .pipe(timeout(options))
        .subscribe((item) => seen.push(item));
      expect(seen).toStrictEqual([1, 2, 'error', 1, events['a'], events['f']]);
      expect(produced).toBe(1);
      expect(clock.actions).toStrictEqual([]);
    });
  }

  it(
    'is nothing without a limit',
    marbles((m) => {
      const source = m.cold(' -a-----|', events);
      const empty = m.cold('  ---|');
      m.expect(source.pipe(timeout({}))).toBeObservable('-a-----|', events);
      m.expect(empty.pipe(timeout({ contentIdleMs: undefined }))).toBeObservable('---|');
      expect(source.pipe(timeout())).toBe(source);
    }),
  );

  it(
    'passes an empty source and an error on',
    marbles((m) => {
      const empty = m.cold('  --|');
      const failed = m.cold(' -a#', events, 'no');
      const options = { headersMs: 9, firstContentMs: 9, contentIdleMs: 9, wireIdleMs: 9, attemptMs: 9 };
      m.expect(empty.pipe(timeout(options))).toBeObservable('--|');
      m.expect(failed.pipe(timeout(options))).toBeObservable('-a#', events, 'no');
      m.expect(failed).toHaveSubscriptions('^-!');
    }),
  );

  describe('headersMs', () => {
    it(
      'is content with one item, whatever it is',
      marbles((m) => {
        const source = m.cold(' ----h----------', events);
        const expected = '      ----h----------';
        m.expect(source.pipe(limited({ headersMs: 5 }))).toBeObservable(expected, events);
        m.expect(fromCall(fakeCall(source)).pipe(limited({ headersMs: 5 }))).toBeObservable(expected, events);
      }),
    );

    it(
      'has silence begin after it',
      marbles((m) => {
        const source = m.cold('        ------h----------', events);
        const expected = '             ------h--#       ';
        m.expect(source.pipe(limited({ headersMs: 8, wireIdleMs: 3 }))).toBeObservable(expected, events, 'wireIdle');
        m.expect(fromCall(fakeCall(source)).pipe(limited({ headersMs: 8, wireIdleMs: 3 }))).toBeObservable(
          expected,
          events,
          'wireIdle',
        );
      }),
    );
  });

  describe('firstContentMs', () => {
    it(
      'does not end with a state, progress, a heartbeat or a raw frame',
      marbles((m) => {
        const source = m.cold(' -q-rphwu-----', events);
        const expected = '      -q-rphwu--#  ';
        m.expect(source.pipe(limited({ firstContentMs: 10 }))).toBeObservable(expected, events, 'firstContent');
        m.expect(fromCall(fakeCall(source)).pipe(limited({ firstContentMs: 10 }))).toBeObservable(
          expected,
          events,
          'firstContent',
        );
      }),
    );

    it(
      'ends with the first piece of any kind',
      marbles((m) => {
        const source = m.cold(' -q--t------------', events);
        const expected = '      -q--t------------';
        m.expect(source.pipe(limited({ firstContentMs: 5 }))).toBeObservable(expected, events);
        m.expect(fromCall(fakeCall(source)).pipe(limited({ firstContentMs: 5 }))).toBeObservable(expected, events);
      }),
    );

    it(
      'has the silence of content begin after it, and at its very frame',
      marbles((m) => {
        const source = m.cold(' -q-----a--b------', events);
        const expected = '      -q-----a--b---#  ';
        const options = { firstContentMs: 10, contentIdleMs: 4 };
        m.expect(source.pipe(limited(options))).toBeObservable(expected, events, 'contentIdle');
        m.expect(fromCall(fakeCall(source)).pipe(limited(options))).toBeObservable(expected, events, 'contentIdle');
      }),
    );

    it(
      'is by a string or by bytes ended, too',
      marbles((m) => {
        const source = m.cold(' --x------', { x: new Uint8Array(1) });
        m.expect(source.pipe(limited({ firstContentMs: 4 }))).toBeObservable('--x------', { x: new Uint8Array(1) });
        const text = m.cold('   --x------');
        m.expect(text.pipe(limited({ firstContentMs: 4 }))).toBeObservable('--x------');
      }),
    );
  });

  describe('contentIdleMs', () => {
    it(
      'runs out while keep-alives come',
      marbles((m) => {
        const source = m.cold(' -a-h-h-h-h-h-h', events);
        const subs = '          ^-----!       ';
        const expected = '      -a-h-h#       ';
        m.expect(source.pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, events, 'contentIdle');
        m.expect(source).toHaveSubscriptions(subs);
        const events_ = m.cold('-a-h-h-h-h-h-h', events);
        m.expect(fromCall(fakeCall(events_)).pipe(limited({ contentIdleMs: 5 }))).toBeObservable(
          expected,
          events,
          'contentIdle',
        );
        m.expect(events_).toHaveSubscriptions(subs);
      }),
    );

    it(
      'is fed by a state that changes, not by one that is told again',
      marbles((m) => {
        const source = m.cold(' -q---r---r---r--', events);
        const expected = '      -q---r---r#     ';
        m.expect(source.pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, events, 'contentIdle');
        m.expect(fromCall(fakeCall(source)).pipe(limited({ contentIdleMs: 5 }))).toBeObservable(
          expected,
          events,
          'contentIdle',
        );
      }),
    );

    it(
      'is fed by progress that changes, not by one that is told again',
      marbles((m) => {
        const source = m.cold(' ---p---p--------', events);
        const expected = '      ---p---p#       ';
        m.expect(source.pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, events, 'contentIdle');
        m.expect(fromCall(fakeCall(source)).pipe(limited({ contentIdleMs: 5 }))).toBeObservable(
          expected,
          events,
          'contentIdle',
        );
      }),
    );

    it(
      'is not fed by the comments of a parser',
      marbles((m) => {
        const frames = {
          e: { type: 'event', event: 'message', data: '{}', id: '' },
          c: { type: 'comment', comment: 'keep-alive' },
        };
        const source = m.cold(' -e-c-c-c-c', frames);
        const expected = '      -e-c-c#   ';
        m.expect(source.pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, frames, 'contentIdle');
      }),
    );

    it(
      'counts what the call has brought, though an operator holds it back',
      marbles((m) => {
        const source = m.cold(' -a--b--a---------', events);
        const expected = '      -----------#     ';
        const held = fromCall(fakeCall(source)).pipe(ignoreElements());
        m.expect(held.pipe(limited({ contentIdleMs: 4 }))).toBeObservable(expected, undefined, 'contentIdle');
      }),
    );

    it(
      'counts when the call brought it, not when it arrives',
      marbles((m) => {
        const source = m.cold(' -a---------------', events);
        const expected = '      ---a--#          ';
        const late = fromCall(fakeCall(source)).pipe(delay(2));
        m.expect(late.pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, events, 'contentIdle');
      }),
    );

    it(
      'is not fed by the bytes of a bare request, of which only a parser knows whether they are keep-alives',
      marbles((m) => {
        const wire = m.cold('   -b-b-b-b-b-b');
        const items = m.cold('  --a---------');
        const expected = '      --a---#';
        const source = new Observable<string>((subscriber) => {
          const flow = new Flow();
          register(flow);
          flow.sent = true;
          subscriber.add(() => flow.leave());
          subscriber.add(
            wire.subscribe(() => {
              flow.onBytes();
              flow.onContent(0);
            }),
          );
          subscriber.add(items.subscribe(subscriber));
        });
        m.expect(source.pipe(limited({ contentIdleMs: 4, wireIdleMs: 3 }))).toBeObservable(
          expected,
          undefined,
          'contentIdle',
        );
      }),
    );

    it('keeps its moment over thousands of pieces with one timer', () => {
      const clock = new VirtualTimeScheduler();
      const source: Subject<string> = new Subject();
      let failedAt = -1;
      source.pipe(timeout({ contentIdleMs: 50, scheduler: clock })).subscribe({
        error: () => {
          failedAt = clock.now();
        },
      });
      for (let at = 1; at <= 1_000; at += 1)
        clock.schedule(() => {
          source.next('a');
        }, at);
      const schedule = vi.spyOn(clock, 'schedule');
      clock.flush();
      expect(failedAt).toBe(1_050);
      expect(schedule.mock.calls.length).toBeLessThanOrEqual(1_050 / 49);
    });
  });

  describe('wireIdleMs', () => {
    it(
      'is fed by keep-alives, states and raw frames',
      marbles((m) => {
        const source = m.cold(' --h--q--q--w--------', events);
        const expected = '      --h--q--q--w---#    ';
        m.expect(source.pipe(limited({ wireIdleMs: 4 }))).toBeObservable(expected, events, 'wireIdle');
        m.expect(fromCall(fakeCall(source)).pipe(limited({ wireIdleMs: 4 }))).toBeObservable(
          expected,
          events,
          'wireIdle',
        );
      }),
    );

    it(
      'is named where content is silent for as long',
      marbles((m) => {
        const source = m.cold(' -a------', events);
        m.expect(source.pipe(limited({ contentIdleMs: 4, wireIdleMs: 4 }))).toBeObservable(
          '                     -a---#  ',
          events,
          'wireIdle',
        );
      }),
    );

    it(
      'counts headers and bytes that bring no item',
      marbles((m) => {
        const wire = m.cold('   --h--b--b--b-------');
        const expected = '      ---------------#   ';
        const source = new Observable<never>((subscriber) => {
          const flow = new Flow();
          register(flow);
          subscriber.add(
            wire.subscribe((what) => {
              if (what === 'h') flow.onHeaders(undefined);
              else flow.onBytes();
            }),
          );
          subscriber.add(() => flow.leave());
        });
        m.expect(source.pipe(limited({ headersMs: 3, wireIdleMs: 4 }))).toBeObservable(expected, undefined, 'wireIdle');
        m.expect(source.pipe(limited({ headersMs: 3, wireIdleMs: 4, scheduler: m.scheduler }))).toBeObservable(
          expected,
          undefined,
          'wireIdle',
        );
      }),
    );
  });

  describe('attemptMs', () => {
    it(
      'cuts an answer that goes on',
      marbles((m) => {
        const source = m.cold(' -a-b-a-b-a-b-', events);
        const subs = '          ^-------!    ';
        const expected = '      -a-b-a-b#    ';
        m.expect(source.pipe(limited({ attemptMs: 8, contentIdleMs: 3 }))).toBeObservable(expected, events, 'attempt');
        m.expect(source).toHaveSubscriptions([subs, subs]);
        m.expect(fromCall(fakeCall(source)).pipe(limited({ attemptMs: 8, contentIdleMs: 3 }))).toBeObservable(
          expected,
          events,
          'attempt',
        );
      }),
    );
  });
});

describe('the error of timeout', () => {
  /** What a source fails with within so much virtual time. */
  function errorOf(source: Observable<unknown>, clock: VirtualTimeScheduler, ms: number): StreamTimeoutError {
    let seen: unknown;
    source.subscribe({
      error: (error: unknown) => {
        seen = error;
      },
    });
    advance(clock, ms);
    if (!(seen instanceof StreamTimeoutError)) throw new Error('it did not time out', { cause: seen });
    return seen;
  }

  it('says which clock, how long, of whom, what came last and what to do', () => {
    const clock = new VirtualTimeScheduler();
    const source: Subject<StreamEvent> = new Subject();
    const call = fakeCall(source, { provider: 'polargrid', model: 'm-1' });
    clock.schedule(() => {
      source.next(events['a']!);
    }, 100);
    clock.schedule(() => {
      source.next(events['h']!);
    }, 4_800);
    const error = errorOf(fromCall(call).pipe(timeout({ contentIdleMs: 5_000, scheduler: clock })), clock, 5_100);
    expect(error.message).toBe(
      'No content from polargrid for 5000 ms (contentIdle); the last thing that came was a heartbeat 300 ms ago; ' +
        'raise contentIdleMs of timeout if that is too short, or ask again with retryOnDisconnect',
    );
    expect(error.context).toStrictEqual({
      phase: 'contentIdle',
      afterMs: 5_000,
      provider: 'polargrid',
      model: 'm-1',
      last: 'heartbeat',
      lastMs: 300,
      lastByteMs: 300,
      lastContentMs: 5_000,
    });
    expect(error).toMatchObject({ name: 'StreamTimeoutError', code: 'ERR_STREAM_TIMEOUT', phase: 'contentIdle' });
    expect(error.received).toStrictEqual({ text: 'A', chars: 1, truncated: false });
    expect(isRetryable(error)).toBe(true);
  });

  it.each([
    ['headersMs', 'No headers within 7 ms (headers); nothing came;'],
    ['firstContentMs', 'No content within the first 7 ms (firstContent); nothing came;'],
    ['contentIdleMs', 'No content for 7 ms (contentIdle); nothing came;'],
    ['wireIdleMs', 'No bytes for 7 ms (wireIdle); nothing came;'],
    ['attemptMs', 'No whole answer within 7 ms (attempt); nothing came;'],
  ])('is plain where nothing came: %s', (option, message) => {
    const clock = new VirtualTimeScheduler();
    const error = errorOf(NEVER.pipe(timeout({ [option]: 7, scheduler: clock })), clock, 7);
    expect(error.message.startsWith(`${message} raise ${option} of timeout`)).toBe(true);
    expect(error.context).toStrictEqual({ phase: option.replace('Ms', ''), afterMs: 7, last: 'nothing' });
    expect(error.received).toStrictEqual({ text: '', chars: 0, truncated: false });
  });

  it('carries the text that passed where no call keeps it, the newest of it', () => {
    const clock = new VirtualTimeScheduler();
    const strings = merge(from(['one ', 'two']), NEVER).pipe(timeout({ wireIdleMs: 5, scheduler: clock }));
    expect(errorOf(strings, clock, 5).received).toStrictEqual({ text: 'one two', chars: 7, truncated: false });

    const other: StreamEvent = { type: 'text', text: 'another', index: 1, name: 'second' };
    const restarted: StreamEvent = { type: 'restart', attempt: 2, because: 'so', discard: { chars: 1 } };
    const all = [events['a']!, other, events['t']!, restarted, other, events['b']!];
    const items = merge(from(all), NEVER).pipe(timeout({ wireIdleMs: 5, scheduler: clock }));
    expect(errorOf(items, clock, 5).received).toStrictEqual({ text: 'another', chars: 7, truncated: false });

    const long = merge(from(Array.from({ length: 5 }, () => 'x'.repeat(1_048_576))), NEVER);
    const { received } = errorOf(long.pipe(timeout({ wireIdleMs: 5, scheduler: clock })), clock, 5);
    expect(received).toMatchObject({ chars: 5 * 1_048_576, truncated: true });
    expect(received?.text).toHaveLength(1_048_576);
  });

  it('carries the text of a call that has ended before', () => {
    const clock = new VirtualTimeScheduler();
    const source = concat(fromCall(fakeCall([events['a']!, events['f']!])), of(events['h']!), NEVER);
    const { received, context } = errorOf(source.pipe(timeout({ wireIdleMs: 5, scheduler: clock })), clock, 5);
    expect(received).toStrictEqual({ text: 'A', chars: 1, truncated: false });
    expect(context).not.toHaveProperty('provider');
  });

  it('leaves it to a decoder below to say what was received', () => {
    const clock = new VirtualTimeScheduler();
    const body = merge(of(new TextEncoder().encode('data: {"choices":[{"delta":{"content":"so far"}}]}\n\n')), NEVER);
    const limits: TimeoutOptions = { contentIdleMs: 5, scheduler: clock };
    const { dialect } = polargrid({ apiKey: 'k' }).chat;
    const early = body.pipe(timeout(limits), parseSSE(), decode(dialect));
    expect(errorOf(early, clock, 5).received).toMatchObject({ text: 'so far' });
    const middle = body.pipe(parseSSE(), timeout(limits), decode(dialect));
    expect(errorOf(middle, clock, 5).received).toMatchObject({ text: 'so far' });
    const late = body.pipe(parseSSE(), decode(dialect), timeout(limits), toTokens());
    expect(errorOf(late, clock, 5).received).toMatchObject({ text: 'so far' });
  });

  it('quotes nothing that came', () => {
    const clock = new VirtualTimeScheduler();
    const items = merge(of({ type: 'sk-secret', text: 'secret' }, { type: 5 }, null), NEVER);
    const error = errorOf(items.pipe(timeout({ wireIdleMs: 5, scheduler: clock })), clock, 5);
    expect(JSON.stringify([error.message, error.context])).not.toContain('secret');
    expect(error.message).toContain('the last thing that came was content 5 ms ago');
  });

  it('comes after the source was left, in the same turn, as a disconnect of the call', () => {
    const clock = new VirtualTimeScheduler();
    const source: Subject<StreamEvent> = new Subject();
    const seen: unknown[] = [];
    const scope = new Scope(false);
    scope.onEnd = (flow) => seen.push(flow.left?.verb);
    const call = fromCall(fakeCall(source)).pipe(
      finalize(() => seen.push('finalized')),
      timeout({ attemptMs: 5, scheduler: clock }),
    );
    subscribeWithin(scope, () => {
      call.subscribe({ error: () => seen.push('error', source.observed) });
    });
    advance(clock, 5);
    expect(seen).toStrictEqual(['disconnect', 'finalized', 'error', false]);
  });

  it('leaves other streams that end with it as they always are', () => {
    const clock = new VirtualTimeScheduler();
    const beside = new Flow();
    const source = fromCall(fakeCall(new Subject<StreamEvent>())).pipe(finalize(() => beside.leave()));
    source.pipe(timeout({ attemptMs: 5, scheduler: clock })).subscribe({ error: () => undefined });
    advance(clock, 5);
    expect(beside.left).toMatchObject({ verb: 'stop' });
  });

  it('is a disconnect of a call that is not known yet, too', () => {
    const clock = new VirtualTimeScheduler();
    const verbs: unknown[] = [];
    const source = new Observable<never>((subscriber) => {
      const flow = new Flow();
      register(flow);
      subscriber.add(() => verbs.push(flow.leave().verb));
    });
    source.pipe(subscribeOn(clock), timeout({ attemptMs: 5, scheduler: clock })).subscribe({ error: () => undefined });
    advance(clock, 5);
    expect(verbs).toStrictEqual(['disconnect']);
  });

  it.each(['completes', 'fails', 'is left'])('has no timer left when its subscriber waits where it %s', (how) => {
    const clock = new VirtualTimeScheduler();
    const source: Subject<string> = new Subject();
    const actions: number[] = [];
    const look = (): void => {
      actions.push(clock.actions.filter(({ closed }) => !closed).length);
    };
    const subscription = source
      .pipe(timeout({ attemptMs: 5, scheduler: clock }))
      .subscribe({ complete: look, error: look });
    if (how === 'completes') source.complete();
    else if (how === 'fails') source.error('no');
    else {
      subscription.unsubscribe();
      look();
    }
    expect(actions).toStrictEqual([0]);
  });
});

describe('a timeout that joins a stream which others read', () => {
  it(
    'counts silence from when it joined, though nobody watched before',
    marbles((m) => {
      const chunks = { a: new TextEncoder().encode('data: {"text":"A"}\n\n') };
      const wire = m.hot('-a----------', chunks);
      const shared = wire.pipe(parseSSE(), decode(infernetJobsDialect()), share());
      m.expect(shared).toBeObservable('-a------------', events);
      m.expect(shared.pipe(limited({ contentIdleMs: 3 })), '----^').toBeObservable('-------#', events, 'contentIdle');
      m.expect(shared.pipe(limited({ wireIdleMs: 5 })), '----^').toBeObservable('---------#', events, 'wireIdle');
    }),
  );
});

describe('several calls above one timeout', () => {
  it(
    'have their first content in time, each of them',
    marbles((m) => {
      const one = m.cold<StreamEvent>('-a-a-a-a-a', events);
      const two = m.cold<StreamEvent>('----------');
      const subs = '                   ^-----!   ';
      const expected = '               -a-a-a#   ';
      const both = merge(fromCall(fakeCall(one)), fromCall(fakeCall(two)));
      m.expect(both.pipe(limited({ firstContentMs: 6 }))).toBeObservable(expected, events, 'firstContent');
      m.expect(one).toHaveSubscriptions(subs);
      m.expect(two).toHaveSubscriptions(subs);
    }),
  );

  it(
    'break the silence for each other',
    marbles((m) => {
      const one = m.cold<StreamEvent>('-a-----a-------', events);
      const two = m.cold<StreamEvent>('----b----------', events);
      const expected = '               -a--b--a---#   ';
      const both = merge(fromCall(fakeCall(one)), fromCall(fakeCall(two)));
      m.expect(both.pipe(limited({ contentIdleMs: 4 }))).toBeObservable(expected, events, 'contentIdle');
    }),
  );

  for (const [phase, option] of LIMITS) {
    it(
      `have ${option} begin anew for the next one`,
      marbles((m) => {
        const one = m.cold<StreamEvent>('---a(f|)', events);
        const two = m.cold<StreamEvent>('----------');
        const both = concat(fromCall(fakeCall(one)), fromCall(fakeCall(two)));
        const expected = '               ---af----#';
        m.expect(both.pipe(limited({ [option]: 5 }))).toBeObservable(expected, events, phase);
        m.expect(two).toHaveSubscriptions('----^----!');
      }),
    );

    it(
      `have ${option} begin anew when RxJS asks again`,
      marbles((m) => {
        let asked = 0;
        const first = m.cold<StreamEvent>('---#', undefined, new InterruptedError('cut'));
        const second = m.cold<StreamEvent>('--------');
        const call = defer(() => fromCall(fakeCall((asked += 1) === 1 ? first : second)));
        const expected = '                 --------#';
        m.expect(call.pipe(retry(1), limited({ [option]: 5 }))).toBeObservable(expected, undefined, phase);
        m.expect(second).toHaveSubscriptions('---^----!');
      }),
    );

    it(
      `have a clock of their own in each attempt where ${option} stands above the retry`,
      marbles((m) => {
        const silent = m.cold<StreamEvent>('----------');
        const subs = ['                     ^----!', '-----^----!', '----------^----!'];
        const expected = '                  ---------------#';
        const call = fromCall(fakeCall(silent));
        m.expect(call.pipe(limited({ [option]: 5 }), retry(2))).toBeObservable(expected, undefined, phase);
        m.expect(silent).toHaveSubscriptions(subs);
      }),
    );

    it(
      `have no ${option} run in the pause before the next one`,
      marbles((m) => {
        const source = m.cold<StreamEvent>('-#', undefined, new InterruptedError('cut'));
        const call = fromCall(fakeCall(source));
        const expected = '                  ------------#';
        m.expect(call.pipe(retry({ count: 1, delay: 10 }), limited({ [option]: 5 }))).toBeObservable(
          expected,
          undefined,
          new InterruptedError('cut'),
        );
      }),
    );
  }

  it(
    'give way to a source without one, whose items count',
    marbles((m) => {
      const call = m.cold<StreamEvent>('-a(f|)          ', events);
      const rest = m.cold<StreamEvent>('  ------a---a---------', events);
      const expected = '                -af-----a---a----#';
      const all = concat(fromCall(fakeCall(call)), rest);
      m.expect(all.pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, events, 'contentIdle');
    }),
  );
});

describe('timeout among other operators', () => {
  it(
    'has clocks of its own for each subscriber',
    marbles((m) => {
      const source = m.cold<StreamEvent>('-a---------', events);
      const limitedCall = fromCall(fakeCall(source)).pipe(limited({ contentIdleMs: 4 }));
      m.expect(limitedCall).toBeObservable('           -a---#    ', events, 'contentIdle');
      m.expect(limitedCall, '          --^').toBeObservable('---a---#  ', events, 'contentIdle');
      m.expect(source).toHaveSubscriptions(['^----!', '--^----!']);
    }),
  );

  it(
    'stands above and below share',
    marbles((m) => {
      const source = m.cold<StreamEvent>('-a---a---------', events);
      const above = fromCall(fakeCall(source)).pipe(limited({ contentIdleMs: 5 }), share());
      m.expect(above).toBeObservable('     -a---a----#', events, 'contentIdle');
      m.expect(above, '                    --^').toBeObservable('-----a----#', events, 'contentIdle');
      m.expect(source).toHaveSubscriptions('       ^---------!');
      const second = m.cold<StreamEvent>('-a---a---------', events);
      const shared = fromCall(fakeCall(second)).pipe(share());
      m.expect(shared.pipe(limited({ contentIdleMs: 7 }))).toBeObservable('-a---a------#', events, 'contentIdle');
      m.expect(shared.pipe(limited({ contentIdleMs: 4 })), '--^').toBeObservable('-----a---#', events, 'contentIdle');
    }),
  );

  it(
    'does not lose a call behind observeOn and subscribeOn',
    marbles((m) => {
      const source = m.cold<StreamEvent>('-q--a---------', events);
      const options = { firstContentMs: 5, contentIdleMs: 3 };
      const expected = '               -q--a--#';
      m.expect(fromCall(fakeCall(source)).pipe(observeOn(asyncScheduler), limited(options))).toBeObservable(
        expected,
        events,
        'contentIdle',
      );
      m.expect(
        fromCall(fakeCall(source)).pipe(subscribeOn(asyncScheduler, 2), limited({ contentIdleMs: 4 })),
      ).toBeObservable('                              ---q--a---#', events, 'contentIdle');
    }),
  );

  it(
    'times a call that it comes to know late from where it was waited for',
    marbles((m) => {
      const late = (diagram: string): Observable<StreamEvent> =>
        fromCall(fakeCall(m.cold<StreamEvent>(diagram, events))).pipe(subscribeOn(asyncScheduler, 2));
      m.expect(late('-a-b-a-b-a').pipe(limited({ attemptMs: 8 }))).toBeObservable(
        '          ---a-b-a#  ',
        events,
        'attempt',
      );
      m.expect(late('-h--------').pipe(limited({ contentIdleMs: 6 }))).toBeObservable(
        '          ---h--#    ',
        events,
        'contentIdle',
      );
      const held = driven(m.cold('pa-----r---')).pipe(subscribeOn(asyncScheduler, 2));
      m.expect(held.pipe(limited({ contentIdleMs: 4 }))).toBeObservable(
        '          ---a---------#',
        undefined,
        'contentIdle',
      );
    }),
  );

  it(
    'counts when bytes came, not when an operator lets go what they brought',
    marbles((m) => {
      const commands = m.cold('ha-------');
      const expected = '       ---a-#   ';
      m.expect(driven(commands).pipe(delay(2), limited({ wireIdleMs: 4 }))).toBeObservable(
        expected,
        undefined,
        'wireIdle',
      );
    }),
  );

  it(
    'counts items that operators have changed',
    marbles((m) => {
      const source = m.cold<StreamEvent>('-h-h-a-h-h-h-h-h-', events);
      const expected = '               -h-h-a-h#        ';
      const texts = fromCall(fakeCall(source)).pipe(map((event) => JSON.stringify(event)));
      m.expect(
        texts.pipe(
          map((text) => (text.includes('text') ? 'a' : 'h')),
          limited({ firstContentMs: 6, contentIdleMs: 3 }),
        ),
      ).toBeObservable(expected, undefined, 'contentIdle');
    }),
  );

  it(
    'times an interval as RxJS does',
    marbles((m) => {
      m.expect(interval(5).pipe(take(3), limited({ contentIdleMs: 5, wireIdleMs: 5 }))).toBeObservable(
        '-----a----b----(c|)',
        { a: 0, b: 1, c: 2 },
      );
      m.expect(interval(5).pipe(limited({ contentIdleMs: 4 }))).toBeObservable('----#', undefined, 'contentIdle');
    }),
  );

  it('takes an item that its subscriber feeds from inside next', () => {
    const clock = new VirtualTimeScheduler();
    const source: Subject<number> = new Subject();
    const seen: unknown[] = [];
    source.pipe(timeout({ contentIdleMs: 5, scheduler: clock })).subscribe({
      next: (item) => {
        seen.push(item);
        if (item < 3) source.next(item + 1);
        if (item === 1) source.complete();
      },
      complete: () => seen.push('complete'),
      error: (error: unknown) => seen.push(error),
    });
    source.next(1);
    advance(clock, 100);
    expect(seen).toStrictEqual([1, 2, 3, 'complete']);
  });

  it('times out from inside next, where its subscriber moves the clock', () => {
    const clock = new VirtualTimeScheduler();
    const source: Subject<number> = new Subject();
    const seen: unknown[] = [];
    source.pipe(limited({ contentIdleMs: 5, scheduler: clock })).subscribe({
      next: (item) => {
        seen.push(item);
        advance(clock, 5);
        source.next(2);
      },
      error: (error: unknown) => seen.push(error),
    });
    source.next(1);
    expect(seen).toStrictEqual([1, 'contentIdle']);
    expect(source.observed).toBe(false);
  });

  it('passes on what a handler above throws', () => {
    const clock = new VirtualTimeScheduler();
    const seen: unknown[] = [];
    of(1)
      .pipe(
        map(() => {
          throw new Error('mine');
        }),
        timeout({ attemptMs: 5, scheduler: clock }),
      )
      .subscribe({ error: (error: unknown) => seen.push(error) });
    expect(seen).toMatchObject([{ message: 'mine' }]);
    expect(clock.actions).toStrictEqual([]);
  });

  it('gives what waits in the socket one more look when the process itself was late', () => {
    const clock = new VirtualTimeScheduler();
    let late = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + late;
    const source: Subject<string> = new Subject();
    const seen: unknown[] = [];
    source.pipe(limited({ wireIdleMs: 5, scheduler: clock })).subscribe({
      next: (item) => seen.push(item),
      error: (error: unknown) => seen.push(error),
    });
    late = 100; // the timer of frame 5 fires 100 ms after its time
    clock.schedule(() => {
      source.next('read late');
    }, 5);
    advance(clock, 5);
    expect(seen).toStrictEqual(['read late']);
    advance(clock, 5);
    expect(seen).toStrictEqual(['read late', 'wireIdle']);
  });

  it('is forgotten by a call that goes on for others', () => {
    const clock = new VirtualTimeScheduler();
    const [flow, begunMeanwhile] = [new Flow(), new Flow()];
    const source: Subject<string> = new Subject();
    const call = new Observable<string>((subscriber) => {
      register(flow);
      subscriber.add(source.subscribe(subscriber));
    });
    const subscription = call.pipe(timeout({ attemptMs: 5, scheduler: clock })).subscribe(() => {
      register(begunMeanwhile);
    });
    flow.deliver(() => {
      source.next('a');
    });
    expect([flow.scopes.size, begunMeanwhile.scopes.size]).toStrictEqual([1, 1]);
    subscription.unsubscribe();
    expect([flow.scopes.size, begunMeanwhile.scopes.size]).toStrictEqual([0, 0]);
  });

  it('is not remembered by what is asked after it', () => {
    const clock = new VirtualTimeScheduler();
    const failing = timer(1, clock).pipe(switchMap(() => throwError(() => new InterruptedError('cut'))));
    const readers: number[] = [];
    const sink = new Scope(false);
    sink.onFlow = (flow) => readers.push(flow.scopes.size);
    const source = fromCall(fakeCall(failing)).pipe(timeout({ attemptMs: 1_000, scheduler: clock }), retry(50));
    subscribeWithin(sink, () => {
      source.subscribe({ error: () => undefined });
    });
    advance(clock, 100);
    expect(readers).toHaveLength(51);
    expect(Math.max(...readers)).toBe(2);
  });
});

describe('the limits of timeout', () => {
  it.each([0, -1, Number.NaN, Infinity, 2 ** 31, '5' as never, null as never])('are no %s', (limit) => {
    for (const [, option] of LIMITS) expect(() => timeout({ [option]: limit })).toThrow(RangeError);
    expect(() => timeout({ wireIdleMs: limit })).toThrow('wireIdleMs must be');
  });

  it('may be as short and as long as a timer can be', () => {
    for (const [, option] of LIMITS) {
      expect(() => timeout({ [option]: 1 })).not.toThrow();
      expect(() => timeout({ [option]: 2 ** 31 - 1 })).not.toThrow();
    }
  });

  it('are not those of RxJS’s timeout', () => {
    expect(() => timeout(5_000 as never)).toThrow(TypeError);
    for (const option of ['each', 'first', 'with']) {
      expect(() => timeout({ [option]: 5_000 })).toThrow(`got ${option}; RxJS has another timeout, for items`);
    }
  });
});

describe('a request that times out', () => {
  const virtual = (): { clock: VirtualTimeScheduler; seen: unknown[]; chunks: Subject<void> } => ({
    clock: new VirtualTimeScheduler(),
    seen: [],
    chunks: new Subject(),
  });

  it('has its connection closed where no headers come', async () => {
    await using server = await startServer();
    const limited = fromHTTP(server.url).pipe(parseSSE(), timeout({ headersMs: 20 }));
    // Awaited from the start: a busy machine takes longer to accept it.
    const timedOut = expect(lastValueFrom(limited)).rejects.toMatchObject({
      phase: 'headers',
      context: { afterMs: 20, last: 'nothing' },
    });
    const exchange = await server.accept();
    await timedOut;
    await exchange.closed;
  });

  it('has headers and bytes count, though nothing of them has arrived below', async () => {
    await using server = await startServer();
    const { clock, seen, chunks } = virtual();
    const opened: Subject<void> = new Subject();
    const source = fromHTTP(server.url, {
      onResponse: () => {
        opened.next();
      },
    }).pipe(
      tap(() => {
        chunks.next();
      }),
      parseSSE(),
      timeout({ headersMs: 100, wireIdleMs: 100, scheduler: clock }),
    );
    source.subscribe({ error: (error: unknown) => seen.push(error) });
    const exchange = await server.accept();
    advance(clock, 99);
    const head = firstValueFrom(opened);
    exchange.respond({ headers: { 'content-type': 'text/event-stream' } });
    await head;
    advance(clock, 99);
    const chunk = firstValueFrom(chunks);
    await exchange.write('data: half of');
    await chunk;
    advance(clock, 99);
    expect(seen).toEqual([]);
    advance(clock, 1);
    expect(seen).toMatchObject([{ phase: 'wireIdle', context: { last: 'bytes', lastMs: 100 } }]);
    await exchange.closed;
  });

  it('has keep-alives feed the wire and not the content', async () => {
    await using server = await startServer();
    const { clock, seen, chunks } = virtual();
    const api = polargrid({ apiKey: 'k', baseURL: server.url });
    fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] }), {
      fetch: async (url, init) => {
        const response = await fetch(url, init);
        const body = response.body?.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>({
            transform: (bytes, controller) => {
              controller.enqueue(bytes);
              setImmediate(() => {
                chunks.next();
              });
            },
          }),
        );
        return new Response(body ?? null, response);
      },
    })
      .pipe(timeout({ contentIdleMs: 250, wireIdleMs: 101, scheduler: clock }), toTokens())
      .subscribe({ next: (token) => seen.push(token), error: (error: unknown) => seen.push(error) });
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'text/event-stream' } });
    const say = async (bytes: string): Promise<void> => {
      const chunk = firstValueFrom(chunks);
      await exchange.write(bytes);
      await chunk;
    };
    await say('data: {"choices":[{"index":0,"delta":{"content":"so far"}}]}\n\n');
    await vi.waitFor(() => {
      expect(seen).toEqual(['so far']);
    });
    for (let i = 0; i < 2; i += 1) {
      advance(clock, 100);
      await say(': keep-alive\n\n');
    }
    advance(clock, 49);
    expect(seen).toEqual(['so far']);
    advance(clock, 1);
    expect(seen.at(-1)).toMatchObject({
      phase: 'contentIdle',
      received: { text: 'so far' },
      context: { provider: 'polargrid', lastContentMs: 250, lastByteMs: 50 },
    });
    await exchange.closed;
  });

  it('leaves the work of its call running', async () => {
    await using server = await startProviderServer();
    server.next({ pieces: ['one ', 'two'], fault: { kind: 'stall', at: { frame: -1 } } });
    const api = inferencesh({ apiKey: 'k', baseURL: server.baseURLs.inferencesh });
    const run = (): Call => api.run({ app: 'a/b', input: {} });
    const receipts: Receipt[] = [];
    const error: unknown = await lastValueFrom(
      fromCall(run()).pipe(
        timeout({ firstContentMs: 60_000, contentIdleMs: 60 }),
        tapReceipt((receipt) => receipts.push(receipt)),
      ),
    ).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ phase: 'contentIdle', context: { provider: 'inferencesh' } });
    expect(receipts).toMatchObject([{ outcome: 'interrupted', billing: 'continues' }]);
    const stream = server.requests.find(({ path }) => path.endsWith('/stream'));
    expect(await stream?.ended).toBe('client');
    await collect(run()); // whatever was sent before has arrived by then
    expect(server.requests.filter(({ path }) => path.endsWith('/cancel'))).toEqual([]);
  });
});

/** What a flow does, told by letters: h headers, y bytes, c content and s a state that bring no item, p a full sink, r room again. */
function driven(commands: Observable<string>): Observable<string> {
  return new Observable<string>((subscriber) => {
    const flow = new Flow();
    const sink = {};
    const act: Record<string, () => void> = {
      h: () => {
        flow.onHeaders(undefined);
      },
      y: () => {
        flow.onBytes();
      },
      c: () => {
        flow.onBytes();
        flow.onContent(1);
      },
      s: () => {
        flow.onBytes();
        flow.onMovement();
      },
      p: () => {
        flow.pause(sink);
      },
      r: () => {
        flow.release(sink);
      },
    };
    subscriber.add(() => flow.leave());
    register(flow);
    subscriber.add(
      commands.subscribe({
        next: (command) => {
          if (command in act) act[command]?.();
          else {
            flow.onBytes();
            flow.onContent(1);
            flow.deliver(() => {
              subscriber.next(command);
            });
          }
        },
        error: (error: unknown) => {
          flow.end('error');
          flow.deliver(() => {
            subscriber.error(error);
          });
        },
        complete: () => {
          flow.proven = true;
          flow.end('complete');
          flow.deliver(() => {
            subscriber.complete();
          });
        },
      }),
    );
  });
}

describe('a flow that is held by pressure', () => {
  for (const [phase, option] of LIMITS) {
    it(
      `has ${option} stand still, and run for what was left`,
      marbles((m) => {
        const commands = m.cold('--p---------r-------');
        const subs = '           ^--------------!    ';
        const expected = '       ---------------#    ';
        m.expect(driven(commands).pipe(limited({ [option]: 5 }))).toBeObservable(expected, undefined, phase);
        m.expect(commands).toHaveSubscriptions([subs, subs]);
        const foreign = { [option]: 5, scheduler: m.scheduler };
        m.expect(driven(commands).pipe(limited(foreign))).toBeObservable(expected, undefined, phase);
      }),
    );
  }

  it(
    'has silence run on where it ends while it is held',
    marbles((m) => {
      const held = m.cold('    a-p-|    ');
      const silent = m.cold('  h--------');
      const expected = '       a-------#';
      m.expect(merge(driven(held), driven(silent)).pipe(limited({ contentIdleMs: 4 }))).toBeObservable(
        expected,
        undefined,
        'contentIdle',
      );
    }),
  );

  it(
    'has several holds add up',
    marbles((m) => {
      const commands = m.cold('a-p--r-p---r-p-r----');
      const expected = '       a------------------#';
      // 2 + 2 + 2, with holds of 3, 4 and 2 between them; the rest is 4 of 10
      m.expect(driven(commands).pipe(limited({ contentIdleMs: 10 }))).toBeObservable(
        expected,
        undefined,
        'contentIdle',
      );
    }),
  );

  it(
    'has what comes meanwhile count',
    marbles((m) => {
      const commands = m.cold('a-p---a---r---------');
      const expected = '       a-----a--------#    ';
      m.expect(driven(commands).pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, undefined, 'contentIdle');
      m.expect(driven(commands).pipe(limited({ wireIdleMs: 5 }))).toBeObservable(expected, undefined, 'wireIdle');
    }),
  );

  it(
    'does not time out in the moment in which it is held, nor while it is let go',
    marbles((m) => {
      const commands = m.hot(' ^----p----r----');
      const expected = '       ----------#    ';
      m.expect(driven(commands).pipe(limited({ contentIdleMs: 5 }))).toBeObservable(expected, undefined, 'contentIdle');
    }),
  );

  it('is held by a reader that is slow, and timed again when it reads', async () => {
    const clock = new VirtualTimeScheduler();
    const source: Subject<StreamEvent> = new Subject();
    const reader = asyncIterableFrom(
      fromCall(fakeCall(source)).pipe(timeout({ contentIdleMs: 50, scheduler: clock })),
      { pauseAtItems: 2 },
    )[Symbol.asyncIterator]();
    const first = reader.next();
    source.next(events['a']!);
    await first;
    advance(clock, 20);
    source.next(events['a']!);
    source.next(events['b']!);
    advance(clock, 10_000);
    expect(source.observed).toBe(true);
    await reader.next();
    advance(clock, 49);
    expect(source.observed).toBe(true);
    advance(clock, 1);
    expect(source.observed).toBe(false);
    expect(await reader.next()).toMatchObject({ value: events['b'] });
    await expect(reader.next()).rejects.toMatchObject({ phase: 'contentIdle', received: { text: 'AAB' } });
  });

  it('fires, whatever happens, where frame-by-frame counting says', () => {
    const limit = fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined });
    const limits = fc.record({
      headersMs: limit,
      firstContentMs: limit,
      contentIdleMs: limit,
      wireIdleMs: limit,
      attemptMs: limit,
    });
    const commands = fc.array(fc.constantFrom('-', '-', '-', '-', 'h', 'y', 'c', 's', 'a', 'p', 'r'), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(limits, commands, fc.boolean(), (options, raw, isForeign) => {
        const script = headersFirst(raw);
        const expected = counted(options, script);
        const scheduler = new TestScheduler(() => undefined);
        const seen = scheduler.run(({ cold, flush }) => {
          let end: unknown;
          driven(cold(script.join('')))
            .pipe(timeout({ ...options, ...(isForeign && { scheduler }) }))
            .subscribe({
              error: (error: unknown) => {
                end = { phase: error instanceof StreamTimeoutError ? error.phase : error, at: scheduler.now() };
              },
            })
            .add(() => (end ??= undefined));
          flush();
          return end;
        });
        expect(seen).toStrictEqual(expected);
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Headers come before anything else. */
function headersFirst(script: readonly string[]): readonly string[] {
  const first = script.findIndex((command) => 'hycsa'.includes(command));
  return first < 0 ? script : script.with(first, 'h');
}

/** The moment at which the first limit is reached: a frame is counted where nothing holds the flow. */
function counted(options: TimeoutOptions, script: readonly string[]): { phase: string; at: number } | undefined {
  const { headersMs = Infinity, firstContentMs = Infinity, contentIdleMs = Infinity } = options;
  const { wireIdleMs = Infinity, attemptMs = Infinity } = options;
  let [time, wire, content] = [0, 0, 0];
  let [isHeld, hasHeaders, hasContent] = [false, false, false];
  for (let at = 0; at < script.length + 100; at += 1) {
    if (at > 0 && !isHeld) time += 1;
    const command = script[at] ?? '-';
    if (command === 'p') isHeld = true;
    else if (command === 'r') isHeld = false;
    else if (command !== '-') {
      if (!hasHeaders && headersMs < Infinity) content = time;
      hasHeaders = true;
      wire = time;
      if ('acs'.includes(command)) content = time;
      if ('ac'.includes(command)) hasContent = true;
    }
    if (isHeld) continue;
    const isAfterHeaders = hasHeaders || headersMs === Infinity;
    const isAfterContent = firstContentMs === Infinity ? isAfterHeaders : hasContent;
    if (!hasHeaders && time >= headersMs) return { phase: 'headers', at };
    if (isAfterHeaders && time - wire >= wireIdleMs) return { phase: 'wireIdle', at };
    if (!hasContent && time >= firstContentMs) return { phase: 'firstContent', at };
    if (isAfterContent && time - content >= contentIdleMs) return { phase: 'contentIdle', at };
    if (time >= attemptMs) return { phase: 'attempt', at };
  }
  return undefined;
}

/** Lets virtual time pass. */
function advance(clock: VirtualTimeScheduler, ms: number): void {
  clock.schedule(() => undefined, ms);
  clock.maxFrames = clock.frame + ms;
  clock.flush();
}
