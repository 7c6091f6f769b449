import { concat, config, defer, EMPTY, NEVER, Observable, of, Subject, throwError, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError, ProviderError } from '../../src/errors.js';
import { createGate, type Gate, type GateState } from '../../src/operators/createGate.js';
import { gateway } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall, startProviderServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { answered, left } from '../support/answered.js';
import { marbles } from '../support/marbles.js';

const refused = (status = 429, retryAfterMs?: number): HTTPError =>
  new HTTPError(`HTTP ${String(status)}`, { status, retryAfterMs });

/** Starts streams in a gate that end when they are told. */
function driver(gate: Gate, key = 'k') {
  const running: Subject<string>[] = [];
  return {
    start: (count = 1): void => {
      for (let i = 0; i < count; i += 1) {
        defer(() => {
          const end = new Subject<string>();
          running.push(end);
          return end;
        })
          .pipe(gate(key))
          .subscribe({ error: () => undefined });
      }
    },
    complete: (): void => {
      running.shift()?.complete();
    },
    fail: (error: unknown): void => {
      running.shift()?.error(error);
    },
    get state(): GateState {
      return gate.state(key);
    },
  };
}

describe('a gate that adapts', () => {
  it(
    'lets half as many run after a refusal, and cuts none',
    marbles((m) => {
      const gate = createGate({ perKey: 4, adapt: true });
      const source = m.cold('  -----a|');
      const refusal = m.cold(' -#', undefined, refused(429, 2));
      for (let i = 0; i < 3; i += 1) m.expect(source.pipe(gate('k'))).toBeObservable('-----a|');
      m.expect(refusal.pipe(gate('k'))).toBeObservable('-#', undefined, refused(429, 2));
      const next = m.cold('    -b|');
      m.expect(next.pipe(gate('k'))).toBeObservable('-------b|'); // open from 3, room from 6
      m.expect(next.pipe(gate('k'))).toBeObservable('-------b|');
      m.expect(next.pipe(gate('k'))).toBeObservable('---------b|');
      m.expect(next).toHaveSubscriptions(['           ------^-!', '------^-!', '--------^-!']);
    }),
  );

  it('starts at its ceiling, and tells its limit only where it adapts', () => {
    expect(createGate({ perKey: 4, concurrency: 9, adapt: true }).state('k').limit).toBe(4);
    expect(createGate({ perKey: 4, concurrency: 3, adapt: {} }).state('k').limit).toBe(3);
    expect(createGate({ perKey: 4, adapt: { initial: 2 } }).state('k').limit).toBe(2);
    expect(createGate({ adapt: true }).state('k').limit).toBe(Infinity);
    expect(createGate({ perKey: 4 }).state('k')).not.toHaveProperty('limit');
    expect(createGate({ perKey: 4, adapt: false }).state('k')).not.toHaveProperty('limit');
  });

  it('begins with as many as it is told to', () => {
    const drive = driver(createGate({ perKey: 9, adapt: { initial: 2 } }));
    drive.start(5);
    expect(drive.state).toMatchObject({ running: 2, waiting: 3, limit: 2 });
  });

  it('counts requests that were on their way together as one refusal', () => {
    const scheduler = new VirtualTimeScheduler();
    const drive = driver(createGate({ perKey: 8, adapt: true, pauseMs: 10, scheduler }));
    drive.start(8);
    for (let i = 0; i < 8; i += 1) drive.fail(refused());
    expect(drive.state).toStrictEqual({ running: 0, waiting: 0, closedForMs: 10, limit: 4 });
  });

  it('halves with each round that is refused, to one at least or to what it is told', () => {
    for (const [min, expected] of [
      [1, [4, 2, 1, 1]],
      [3, [4, 3, 3, 3]],
    ] as const) {
      const scheduler = new VirtualTimeScheduler();
      const drive = driver(createGate({ perKey: 8, adapt: { min }, pauseMs: 1, scheduler }));
      const limits: (number | undefined)[] = [];
      for (let round = 0; round < 4; round += 1) {
        drive.start(drive.state.limit);
        while (drive.state.running > 0) drive.fail(refused(429, 0));
        limits.push(drive.state.limit);
      }
      expect(limits).toStrictEqual(expected);
    }
  });

  it('takes half of what ran where fewer ran than may', () => {
    const drive = driver(createGate({ adapt: true }));
    drive.start(6);
    drive.fail(refused(429, 0));
    expect(drive.state.limit).toBe(3);
  });

  it.each<[string, unknown]>([
    ['529', refused(529)],
    ['503 with a time', refused(503, 5)],
    ['overloaded_error in a stream', new ProviderError('', { retryable: true, providerCode: 'overloaded_error' })],
    ['rate_limit_error in a stream', new ProviderError('', { retryable: true, providerCode: 'rate_limit_error' })],
  ])('halves with %s, and closes the key', (_, error) => {
    const drive = driver(createGate({ perKey: 4, adapt: true, scheduler: new VirtualTimeScheduler() }));
    drive.start(4);
    drive.fail(error);
    expect(drive.state.limit).toBe(2);
    expect(drive.state.closedForMs).toBeGreaterThan(0);
  });

  it.each<[string, unknown]>([
    ['503 without a time', refused(503)],
    ['500', refused(500, 5)],
    ['a lost connection', new InterruptedError('lost')],
    ['a quota that is used up', new HTTPError('', { status: 429, providerCode: 'insufficient_quota' })],
  ])('stays as it is with %s', (_, error) => {
    const drive = driver(createGate({ perKey: 4, adapt: true, scheduler: new VirtualTimeScheduler() }));
    drive.start(4);
    drive.fail(error);
    expect(drive.state).toStrictEqual({ running: 3, waiting: 0, closedForMs: 0, limit: 4 });
  });

  it('lets one more run when as many as its limit have completed while it was full', () => {
    const drive = driver(createGate({ perKey: 5, adapt: { initial: 2 } }));
    drive.start(50);
    const limits: (number | undefined)[] = [];
    for (let i = 0; i < 16; i += 1) {
      drive.complete();
      limits.push(drive.state.limit);
      expect(drive.state.running).toBe(drive.state.limit);
    }
    expect(limits).toStrictEqual([2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5]);
  });

  it('does not grow by streams that fail or are left, or while there is room', () => {
    const gate = createGate({ perKey: 9, adapt: { initial: 2 } });
    const drive = driver(gate);
    drive.start(1);
    drive.complete();
    drive.start(1);
    drive.complete();
    drive.start(8);
    drive.fail(new InterruptedError('lost'));
    drive.fail(new InterruptedError('lost'));
    expect(drive.state).toMatchObject({ running: 2, limit: 2 });
    NEVER.pipe(gate('other')).subscribe().unsubscribe();
    NEVER.pipe(gate('other')).subscribe().unsubscribe();
    expect(gate.state('other').limit).toBe(2);
  });

  it('does not grow by streams that were let through before the last refusal', () => {
    const drive = driver(createGate({ perKey: 4, adapt: true, scheduler: new VirtualTimeScheduler() }));
    drive.start(4);
    drive.fail(refused(429, 0)); // 2
    drive.complete();
    drive.complete();
    drive.complete();
    expect(drive.state.limit).toBe(2);
    drive.start(3);
    drive.complete();
    drive.complete();
    expect(drive.state.limit).toBe(3);
  });

  it('remembers a lowered limit for as long as a key may be closed, and then forgets it', () => {
    const scheduler = new VirtualTimeScheduler();
    const drive = driver(createGate({ perKey: 8, adapt: true, maxPauseMs: 100, scheduler }));
    drive.start(8);
    for (let i = 0; i < 8; i += 1) drive.fail(refused(429, 0));
    scheduler.frame = 50;
    drive.start(1);
    drive.complete(); // used again at 50
    scheduler.frame = 149;
    expect(drive.state.limit).toBe(4);
    drive.start(1);
    drive.complete();
    scheduler.frame = 249;
    drive.start(1);
    expect(drive.state.limit).toBe(8);
  });

  it('finds out how many a server takes, and refusals become few', () => {
    const scheduler = new VirtualTimeScheduler(undefined, Infinity);
    const gate = createGate({ concurrency: 100, adapt: true, pauseMs: 10, scheduler });
    let serving = 0;
    let asked = 0;
    let served = 0;
    const stream = new Observable<string>((subscriber) => {
      asked += 1;
      if (serving >= 5) {
        subscriber.add(
          scheduler.schedule(() => {
            subscriber.error(refused());
          }, 1),
        );
        return;
      }
      serving += 1;
      subscriber.add(() => (serving -= 1));
      subscriber.add(
        scheduler.schedule(() => {
          subscriber.next('answer');
          subscriber.complete();
        }, 20),
      );
    });
    const start = (): void => {
      stream.pipe(gate('k')).subscribe({
        complete: () => (served += 1),
        error: start, // behind the others
      });
    };
    for (let i = 0; i < 1_000; i += 1) start();
    scheduler.flush();
    expect(served).toBe(1_000);
    // 95 of the first 100, and later the one too many of each try; five at a time would be 4,000 ms.
    expect(asked).toBeLessThan(1_250);
    expect(scheduler.frame).toBeLessThan(8_000);
  });
});

const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const warning = (message: string, detail: unknown = message, code = 'provider-warning'): StreamEvent => ({
  type: 'warning',
  code,
  message,
  detail,
});

describe('a provider’s warning about its load', () => {
  it.each<[string, StreamEvent, number]>([
    ['in words', warning('Rate limit almost reached'), 1_000],
    ['by a code', warning('Careful', { code: 'rate_limited' }), 1_000],
    ['by a type', warning('Careful', { type: 'RATE_LIMIT_WARNING' }), 1_000],
    ['with a time in seconds', warning('Rate limit', { message: 'Rate limit', retry_after: 7 }), 7_000],
    ['with a time as text', warning('Rate limit', { message: 'Rate limit', retry_after_ms: '250' }), 250],
    ['with a time beyond the cap', warning('Rate limit', { message: 'Rate limit', retry_after: 7_000 }), 60_000],
  ])('closes the key and halves its limit, as a refusal would: %s', (_, event, closedForMs) => {
    const scheduler = new VirtualTimeScheduler();
    const gate = createGate({ perKey: 4, adapt: true, scheduler });
    const drive = driver(gate);
    drive.start(3);
    const seen: string[] = [];
    fromCall(fakeCall([event, finish]))
      .pipe(gate('k'))
      .subscribe({ next: ({ type }) => seen.push(type), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual(['warning', 'finish', 'complete']);
    expect(drive.state).toStrictEqual({ running: 3, waiting: 0, closedForMs, limit: 2 });
  });

  it.each<[string, StreamEvent]>([
    ['about something else', warning('The prompt was cut')],
    ['of this library’s own', warning('Rate limit', undefined, 'end-marker-missing')],
    ['without a word', warning('', { code: 7 })],
  ])('is not one %s', (_, event) => {
    const gate = createGate({ perKey: 4, adapt: true, scheduler: new VirtualTimeScheduler() });
    const drive = driver(gate);
    drive.start(3);
    fromCall(fakeCall([event, finish]))
      .pipe(gate('k'))
      .subscribe();
    expect(drive.state).toStrictEqual({ running: 3, waiting: 0, closedForMs: 0, limit: 4 });
  });

  it('counts once, however many of an answer speak of it, and adds nothing to a row of refusals', () => {
    const scheduler = new VirtualTimeScheduler();
    const gate = createGate({ perKey: 8, adapt: true, scheduler });
    const drive = driver(gate);
    drive.start(7);
    const warnings = fakeCall([warning('Rate limit'), warning('Overloaded'), finish]);
    fromCall(warnings).pipe(gate('k')).subscribe();
    expect(drive.state).toStrictEqual({ running: 7, waiting: 0, closedForMs: 1_000, limit: 4 });
    scheduler.frame = 1_000;
    for (let i = 0; i < 7; i += 1) drive.complete();
    drive.start(1);
    drive.fail(refused());
    expect(drive.state.closedForMs).toBe(1_000); // not twice as long
  });

  it('is heard of the gateway, over a socket', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    const frames = [
      { type: 'text', name: 'output', content: 'Hello', done: true, index: 0, is_final: false },
      { final: true, usage: { input_tokens: 2, output_tokens: 3 }, warnings: ['Rate limit: 90% of 60 requests used'] },
    ];
    server.next({
      headers: { 'content-type': 'text/event-stream' },
      body: frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join(''),
    });
    const gate = createGate({ perKey: 4, adapt: true });
    const api = gateway({ apiKey: 'any', baseURL: server.baseURLs.gateway });
    const answer = await collect(
      fromCall(api.chat({ service_name: 's', model_name: 'm', input: 'Hi' })).pipe(gate('gateway')),
    );
    expect(answer.text).toBe('Hello');
    expect(gate.state('gateway').limit).toBe(1);
    expect(gate.state('gateway').closedForMs).toBeGreaterThan(0);
  });
});

describe('the observer of a gate', () => {
  it(
    'hears when a key is closed, closed for longer, and opens for those that wait, and of each change of its limit',
    marbles((m) => {
      const heard: [number, string, GateState][] = [];
      const gate: Gate = createGate({
        perKey: 2,
        adapt: true,
        onChange: (key, state) => heard.push([m.scheduler.frame, key, state]),
      });
      const refuse = (at: string, retryAfterMs: number): void => {
        m.cold(at, undefined, refused(429, retryAfterMs))
          .pipe(gate('k'))
          .subscribe({ error: () => undefined });
      };
      refuse('-#', 4);
      refuse('--#', 9); // of the same round: longer, but not halved again
      m.cold('-|').pipe(gate('k')).subscribe(); // begins at 11
      m.flush();
      expect(heard).toStrictEqual([
        [1, 'k', { running: 2, waiting: 1, closedForMs: 4, limit: 1 }],
        [2, 'k', { running: 1, waiting: 1, closedForMs: 9, limit: 1 }],
        [11, 'k', { running: 0, waiting: 1, closedForMs: 0, limit: 1 }],
        [12, 'k', { running: 1, waiting: 0, closedForMs: 0, limit: 2 }],
      ]);
    }),
  );

  it(
    'hears when a budget closes a key, and when a later one opens it',
    marbles((m) => {
      const heard: [number, GateState][] = [];
      const gate: Gate = createGate({ onChange: (_, state) => heard.push([m.scheduler.frame, state]) });
      answered(NEVER, left(1, 50), 1).pipe(gate('k')).subscribe();
      answered(NEVER, left(2, 50), 3).pipe(gate('k')).subscribe();
      m.scheduler.schedule(() => {
        for (let i = 0; i < 3; i += 1) NEVER.pipe(gate('k')).subscribe();
      }, 5);
      m.scheduler.schedule(() => {
        expect(heard).toStrictEqual([
          [1, { running: 2, waiting: 0, closedForMs: 50 }],
          [3, { running: 2, waiting: 0, closedForMs: 0 }],
          [5, { running: 4, waiting: 0, closedForMs: 48 }], // the second of them used it up
        ]);
      }, 6);
    }),
  );

  it('is not called where nothing of that changes', () => {
    const onChange = vi.fn();
    const gate = createGate({ perKey: 2, adapt: true, onChange, scheduler: new VirtualTimeScheduler() });
    const drive = driver(gate);
    drive.start(3);
    drive.fail(new InterruptedError('lost'));
    drive.complete();
    drive.complete();
    concat(EMPTY, of(1)).pipe(gate('k')).subscribe();
    answered(of(1), left(5, 50), 0).pipe(gate('k')).subscribe();
    expect(onChange).not.toHaveBeenCalled();
  });

  it('may throw, which is reported and breaks nothing', () => {
    const reported: unknown[] = [];
    vi.useFakeTimers();
    config.onUnhandledError = (error: unknown) => reported.push(error);
    onTestFinished(() => {
      config.onUnhandledError = null;
      vi.useRealTimers();
    });
    const gate = createGate({
      perKey: 2,
      adapt: true,
      scheduler: new VirtualTimeScheduler(),
      onChange: () => {
        throw new Error('broken');
      },
    });
    const drive = driver(gate);
    drive.start(2);
    drive.fail(refused(429, 0));
    drive.start(1);
    expect(drive.state).toStrictEqual({ running: 1, waiting: 1, closedForMs: 0, limit: 1 });
    drive.complete();
    expect(drive.state).toMatchObject({ running: 1, waiting: 0 });
    vi.runAllTimers();
    expect(reported).toStrictEqual([new Error('broken')]);
  });

  it('may start streams and leave others', () => {
    const scheduler = new VirtualTimeScheduler();
    const seen: string[] = [];
    let isFirst = true;
    const gate: Gate = createGate({
      perKey: 2,
      adapt: true,
      scheduler,
      onChange: () => {
        if (!isFirst) return;
        isFirst = false;
        leaving.unsubscribe();
        of('started')
          .pipe(gate('k'))
          .subscribe((item) => seen.push(item));
      },
    });
    const leaving = NEVER.pipe(gate('k')).subscribe();
    throwError(() => refused(429, 5))
      .pipe(gate('k'))
      .subscribe({ error: () => seen.push('refused') });
    expect(seen).toStrictEqual(['refused']);
    scheduler.flush();
    expect(seen).toStrictEqual(['refused', 'started']);
    expect(gate.state('k')).toMatchObject({ running: 0, waiting: 0 });
  });
});

describe('the options of a gate that adapts', () => {
  it('are refused when called', () => {
    const wrong = [
      { adapt: { initial: 0 } },
      { adapt: { min: 0 } },
      { adapt: { min: 1.5 } },
      { adapt: { initial: 2, min: 3 } },
      { adapt: { initial: Number.NaN } },
      { perKey: 4, adapt: { initial: 5 } },
      { concurrency: 4, adapt: { min: 5 } },
    ];
    for (const options of wrong) expect(() => createGate(options)).toThrow(RangeError);
    expect(() => createGate({ budgets: 'obeyed' as 'obey' })).toThrow(
      new TypeError("budgets must be one of 'obey', 'ignore', got obeyed"),
    );
  });
});
