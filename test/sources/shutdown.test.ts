import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  concat,
  from,
  lastValueFrom,
  merge,
  mergeMap,
  NEVER,
  type Observable,
  Subject,
  tap,
  VirtualTimeScheduler,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { AbortError, InterruptedError } from '../../src/errors.js';
import { running } from '../../src/internal/running.js';
import { createGate } from '../../src/operators/createGate.js';
import { decode } from '../../src/operators/decode.js';
import { fallbackTo } from '../../src/operators/fallbackTo.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { ToolContext } from '../../src/internal/toolRun.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import type { Call } from '../../src/protocol/call.js';
import { inferencesh, openai, polargrid } from '../../src/providers/index.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { collect } from '../../src/sinks/collect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromAsyncIterable } from '../../src/sources/fromAsyncIterable.js';
import { fromCall, type FromCallOptions } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fromSSE } from '../../src/sources/fromSSE.js';
import { runTools } from '../../src/sources/runTools.js';
import { shutdown } from '../../src/sources/shutdown.js';
import { fakeCall, type ProviderServer, reopen, startProviderServer, startServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

afterEach(async () => {
  if (running.shutdown !== undefined) await shutdown({ graceMs: 0 });
  reopen();
  expect([running.streams.size, running.sinks.size, running.cancellations.size]).toEqual([0, 0, 0]);
});

const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const events: Record<string, StreamEvent> = { a: text('A'), b: text('B'), f: { type: 'finish', reason: 'stop' } };
const stopped = withContext('The stream was stopped, since the program is shutting down');
const refused = withContext('No new stream is begun, since the program is shutting down');

function withContext(message: string): AbortError {
  return new AbortError(message, { context: { by: 'shutdown' } });
}

describe('shutdown', () => {
  it(
    'lets what runs go on, and stops it at the deadline',
    marbles((m) => {
      const short = m.cold('  a-b-(f|)       ', events);
      const long = m.cold('   a-b-a-b-a-b-   ', events);
      m.scheduler.schedule(() => void shutdown({ graceMs: 4 }), 1);
      m.expect(fromCall(fakeCall(short))).toBeObservable('a-b-(f|)', events);
      m.expect(fromCall(fakeCall(long))).toBeObservable(' a-b-a#', events, stopped);
      m.expect(long).toHaveSubscriptions('                ^----!');
      m.expect(short).toHaveSubscriptions('               ^---!');
    }),
  );

  it(
    'takes nothing new from the call on',
    marbles((m) => {
      const source = m.cold(' a-b-(f|)', events);
      const begun = m.cold('  -x------').pipe(mergeMap(() => fromCall(fakeCall(source))));
      m.scheduler.schedule(() => void shutdown({ graceMs: 5 }), 1);
      m.expect(begun).toBeObservable('-#', events, refused);
      m.expect(source).toHaveSubscriptions([]);
    }),
  );

  it(
    'stops at once without a grace',
    marbles((m) => {
      const source = m.cold('                        a-b-(f|)', events);
      m.scheduler.schedule(() => void shutdown({ graceMs: 0 }), 3);
      m.expect(fromCall(fakeCall(source))).toBeObservable('a-b#', events, stopped);
    }),
  );

  it(
    'has its deadline brought forward, and not put off, by another call',
    marbles((m) => {
      const source = m.cold('                        a-b-a-b-a-b-', events);
      m.scheduler.schedule(() => void shutdown({ graceMs: 8 }), 1);
      m.scheduler.schedule(() => void shutdown({ graceMs: 2 }), 3);
      m.scheduler.schedule(() => void shutdown({ graceMs: 100 }), 4);
      m.expect(fromCall(fakeCall(source))).toBeObservable('a-b-a#', events, stopped);
    }),
  );

  it(
    'has its grace cut short by a signal',
    marbles((m) => {
      const source = m.cold('                        a-b-a-b-a-b-', events);
      const signal = new AbortController();
      m.scheduler.schedule(() => void shutdown({ graceMs: 100, signal: signal.signal }), 1);
      m.scheduler.schedule(() => {
        signal.abort();
      }, 3);
      m.expect(fromCall(fakeCall(source))).toBeObservable('a-b#', events, stopped);
    }),
  );

  it(
    'lets a stream that ran ask again, and ends it while it waits to do so',
    marbles((m) => {
      const source = m.cold('      a-#', events, new InterruptedError('cut'));
      const call = fakeCall(source);
      const delay = { initialMs: 4 };
      m.scheduler.schedule(() => void shutdown({ graceMs: 8 }), 1);
      const retried = fromCall(call).pipe(retryOnDisconnect({ delay, random: () => 0.75 }));
      const restart: StreamEvent = {
        type: 'restart',
        attempt: 2,
        because: 'the connection was lost',
        discard: { chars: 1 },
      };
      // Cut at 2 and asked again at 5; cut at 7 and waiting at 9.
      m.expect(retried).toBeObservable('a----(ra)#', { ...events, r: restart }, stopped);
      m.expect(source).toHaveSubscriptions(['^-!', '-----^-!']);
    }),
  );

  it('refuses limits that are no delay', () => {
    expect(() => void shutdown({ graceMs: -1 })).toThrow(RangeError);
    expect(() => void shutdown({ stopMs: Number.NaN })).toThrow(RangeError);
    expect(running.phase).toBe('open');
  });

  it('resolves at once where nothing runs, and takes nothing afterwards', async () => {
    const clock = new VirtualTimeScheduler();
    const report = await shutdown({ scheduler: clock });
    expect(report).toEqual({ receipts: [], finished: 0, stopped: 0, refused: 0, unfinished: 0, elapsedMs: 0 });
    clock.flush();
    expect(clock.frame).toBe(0); // no timer was left
    await expect(collect(fakeCall([text('A')]))).rejects.toMatchObject({
      message: refused.message,
      context: { by: 'shutdown' },
    });
  });

  it('gives the same promise each time', async () => {
    const first = shutdown();
    expect(shutdown({ graceMs: 1 })).toBe(first);
    await first;
    expect(shutdown()).toBe(first);
  });

  it('holds for another copy of the package', async () => {
    const open = fromCall(fakeCall(NEVER)).subscribe({ error: () => undefined });
    const report = shutdown({ graceMs: 5_000 });
    vi.resetModules();
    const copy = await import('../../src/index.js');
    const { fakeCall: fake } = await import('../../src/testing/index.js');
    expect(copy.shutdown).not.toBe(shutdown);
    await expect(lastValueFrom(copy.fromCall(fake([])))).rejects.toMatchObject({ context: { by: 'shutdown' } });
    expect(copy.shutdown({ graceMs: 0 })).toBe(report);
    expect(await report).toMatchObject({ stopped: 1, refused: 1 });
    expect(open.closed).toBe(true);
  });

  it('leaves a process open again for the next test', async () => {
    await shutdown();
    reopen();
    expect((await collect(fakeCall([text('A'), { type: 'finish', reason: 'stop' }]))).text).toBe('A');
    void shutdown();
    reopen(); // before it has resolved, with nothing that runs
    await Promise.resolve();
    expect(running.phase).toBe('open');
    const open = fromCall(fakeCall(NEVER)).subscribe();
    void shutdown();
    expect(reopen).toThrow('await shutdown() first');
    open.unsubscribe();
  });
});

describe('its report', () => {
  const never = (): Observable<StreamEvent> => fromCall(fakeCall(concat([text('A')], NEVER)));
  const soon = { graceMs: 1 } as const;

  it('counts streams without a sink: calls, with their retries as one', async () => {
    const errors: unknown[] = [];
    const error = (caught: unknown): void => void errors.push(caught);
    merge(never(), never()).subscribe({ error }); // the error of one ends both
    never().pipe(retryOnDisconnect()).subscribe({ error });
    const ending = new Subject<StreamEvent>();
    fromCall(fakeCall(ending)).subscribe();
    const report = shutdown(soon);
    ending.next({ type: 'finish', reason: 'stop' });
    expect(await report).toMatchObject({ receipts: [], finished: 1, stopped: 3, unfinished: 0 });
    expect(errors).toEqual([stopped, stopped]);
  });

  it('waits for a source that is asked for its items, and stops it when the time is up', async () => {
    const left = vi.fn(() => Promise.resolve({ done: true as const, value: undefined }));
    const endless = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined), return: left }),
    };
    const ended = lastValueFrom(fromAsyncIterable(endless));
    const report = shutdown({ graceMs: 0 });
    await expect(ended).rejects.toStrictEqual(stopped);
    expect(left).toHaveBeenCalledOnce();
    expect(await report).toMatchObject({ finished: 0, stopped: 1 });
  });

  it('has the receipt of every sink, and counts it once however many calls fill it', async () => {
    const ending = new Subject<StreamEvent>();
    const whole = collect(fakeCall(ending));
    const half = collect(merge(never(), never()));
    const failed = expect(half).rejects.toMatchObject({ code: 'ERR_ABORTED', received: { text: 'A' } });
    const report = shutdown(soon);
    ending.next(text('all'));
    ending.next({ type: 'finish', reason: 'stop' });
    await whole;
    expect(await report).toMatchObject({
      receipts: [
        { outcome: 'complete', chars: 3 },
        { outcome: 'stopped', by: 'shutdown', attempts: 2 },
      ],
      finished: 1,
      stopped: 1,
    });
    await failed;
  });

  it('has a sink that no call fills stopped as well', async () => {
    const result = collect(NEVER);
    const failed = expect(result).rejects.toBeInstanceOf(AbortError);
    expect(await shutdown(soon)).toMatchObject({ stopped: 1, receipts: [{ outcome: 'stopped', by: 'shutdown' }] });
    await failed;
  });

  it('is told by a loop too, which throws', async () => {
    const reading = (async (): Promise<void> => {
      for await (const event of asyncIterableFrom(never())) expect(event).toMatchObject({ text: 'A' });
    })();
    const failed = expect(reading).rejects.toMatchObject({ code: 'ERR_ABORTED', receipt: { by: 'shutdown' } });
    expect(await shutdown(soon)).toMatchObject({ stopped: 1 });
    await failed;
  });

  it('does not wait for ever for a sink that cannot write', async () => {
    const scope = {};
    running.sinks.set(scope, { stop: undefined });
    expect(await shutdown({ graceMs: 1, stopMs: 1 })).toMatchObject({ unfinished: 1, receipts: [] });
    running.sinks.delete(scope);
  });

  it('comes although a callback throws, and the other streams are stopped', async () => {
    const clock = new VirtualTimeScheduler();
    const seen: Receipt[] = [];
    never()
      .pipe(
        tapReceipt(() => {
          throw new Error('mine');
        }),
      )
      .subscribe({ error: () => undefined });
    never()
      .pipe(tapReceipt((receipt) => seen.push(receipt)))
      .subscribe({ error: () => undefined });
    expect(await shutdown({ graceMs: 0, scheduler: clock })).toMatchObject({ stopped: 2 });
    expect(seen).toMatchObject([{ outcome: 'stopped', by: 'shutdown', billing: 'ended' }]);
  });

  it('counts what was refused, which has no receipt there', async () => {
    const open = never().subscribe({ error: () => undefined });
    const report = shutdown();
    for (const source of [
      fromCall(fakeCall([])),
      fromHTTP('http://127.0.0.1:9/'),
      fromSSE('http://127.0.0.1:9/'),
      fromHTTP('http://127.0.0.1:9/').pipe(parseSSE(), decode(fakeCall([]).dialect)),
      fromCall(fakeCall([])).pipe(
        retryOnDisconnect(),
        fallbackTo(() => expect.unreachable()),
      ),
    ]) {
      await expect(lastValueFrom<unknown>(source)).rejects.toMatchObject({
        message: refused.message,
        code: 'ERR_ABORTED',
      });
    }
    await expect(collect(fakeCall([]))).rejects.toMatchObject({
      receipt: { outcome: 'stopped', by: 'shutdown', attempts: 0 },
    });
    open.unsubscribe();
    expect(await report).toMatchObject({ refused: 6, receipts: [], finished: 1, stopped: 0 });
  });
});

describe('on the wire', () => {
  let server: ProviderServer;
  beforeEach(async () => {
    server = await startProviderServer();
    onTestFinished(() => server.close());
  });
  const apiKey = 'key-of-the-tests';
  const messages = [{ role: 'user', content: 'Hello' }];
  const chat = (): Call => polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages });
  const task = (): Call => inferencesh({ apiKey, baseURL: server.baseURLs.inferencesh }).run({ app: 'a/b', input: {} });
  const HALF = {
    pieces: ['one ', 'two ', 'three'],
    thinking: '',
    fault: { kind: 'stall', at: { frame: -1 } },
  } as const;
  const cancels = (): number => server.requests.filter(({ path }) => path.endsWith('/cancel')).length;
  /** A grace that is over when the test says so. */
  const cut = (): { readonly signal: AbortSignal; readonly now: () => void } => {
    const controller = new AbortController();
    return {
      signal: controller.signal,
      now: () => {
        controller.abort();
      },
    };
  };
  /** Once the answer's text has begun. */
  const begin = async <T>(
    call: Call,
    read: (events: Observable<StreamEvent>) => Observable<T>,
    options?: FromCallOptions,
  ): Promise<Begun> => {
    let sayText = (): void => undefined;
    const hasText = new Promise<void>((resolve) => (sayText = resolve));
    const events = fromCall(call, options).pipe(
      tap(({ type }) => {
        if (type === 'text') sayText();
      }),
    );
    const failed = expect(lastValueFrom(read(events))).rejects.toMatchObject({ code: 'ERR_ABORTED' });
    await hasText;
    return { failed };
  };
  interface Begun {
    readonly failed: Promise<void>;
  }

  it('cancels work, waits for the answer to that, and keeps what came as a partial file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-shutdown-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    server.next(HALF);
    const { failed } = await begin(task(), (events) => events.pipe(toFile(join(folder, 'a.md'))));
    const grace = cut();
    const report = shutdown({ signal: grace.signal });
    grace.now();
    expect(await report).toMatchObject({
      stopped: 1,
      unfinished: 0,
      receipts: [{ outcome: 'stopped', by: 'shutdown', billing: 'ended', where: join(folder, 'a.md.partial') }],
    });
    expect(cancels()).toBe(1);
    await failed;
    expect(await readdir(folder)).toEqual(['a.md.partial']);
  });

  it('cancels work that was not known yet when the time was up, and waits for that', async () => {
    server.next({ fault: { kind: 'slow-headers', delayMs: 20 } }, { path: '/inferencesh/apps/run' });
    const result = collect(task());
    const failed = expect(result).rejects.toBeInstanceOf(AbortError);
    await server.nextRequest();
    expect(await shutdown({ graceMs: 0 })).toMatchObject({ stopped: 1, unfinished: 0 });
    expect(cancels()).toBe(1);
    await failed;
  });

  it('counts a cancellation without an answer, and waits no longer than it may', async () => {
    server.next(HALF);
    const clock = new VirtualTimeScheduler();
    let gaveUp: unknown;
    const onCancelError = (error: unknown): void => {
      gaveUp = error;
    };
    const { failed } = await begin(task(), (events) => events.pipe(toTokens()), { onCancelError });
    const path = `${/\/inferencesh\/tasks\/[^/]+/.exec(server.requests.at(-1)?.path ?? '')?.[0] ?? ''}/cancel`;
    server.next({ fault: { kind: 'stall', at: 'before-headers' } }, { path });
    const report = shutdown({ graceMs: 0, stopMs: 10, scheduler: clock });
    await failed;
    clock.flush();
    expect(await report).toMatchObject({ stopped: 1, unfinished: 1, elapsedMs: 10 });
    await server.close(); // its own limit, `cancelTimeoutMs`, is far away
    await vi.waitFor(() => {
      expect(gaveUp).toBeInstanceOf(InterruptedError);
    });
  });

  it('waits for what was being cancelled before', async () => {
    server.next(HALF);
    const left = fromCall(task());
    await new Promise<void>((resolve) => {
      const subscription = left.subscribe(({ type }) => {
        if (type !== 'text') return;
        subscription.unsubscribe();
        resolve();
      });
    });
    expect(await shutdown()).toMatchObject({ finished: 0, stopped: 0, unfinished: 0 });
    expect(cancels()).toBe(1);
  });

  it('lets an answer come to its end, and a retry of it', async () => {
    server.next({ pieces: ['one ', 'two'], fault: { kind: 'reset', at: { frame: 2 } } });
    const result = collect(fromCall(chat()).pipe(retryOnDisconnect({ delay: { initialMs: 0 } })));
    await server.nextRequest();
    const report = shutdown();
    const { receipt } = await result;
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2 });
    expect(await report).toMatchObject({ finished: 1, stopped: 0, receipts: [receipt] });
  });

  it('lets a run of tools come to its end', async () => {
    const api = openai({ apiKey, baseURL: server.baseURLs.openai });
    server.next({ toolCall: { name: 'look', arguments: {} } });
    server.next({ text: 'Found.' });
    let report: Promise<unknown> = Promise.resolve();
    const run = (): string => {
      report = shutdown();
      return 'it';
    };
    const { text: answer } = await collect(runTools(api.chat({ model: 'm', messages }), { look: { run } }));
    expect(answer).toContain('Found.');
    expect(await report).toMatchObject({ finished: 1, refused: 0 });
  });

  it('waits for a tool that runs between two turns, and ends the run when the time is up', async () => {
    const api = openai({ apiKey, baseURL: server.baseURLs.openai });
    const grace = cut();
    let report: Promise<unknown> = Promise.resolve();
    const aborted = new Promise<void>((resolve) => {
      server.next({ toolCall: { name: 'look', arguments: {} } });
      const run = (_: unknown, { signal }: ToolContext): Promise<never> => {
        report = shutdown({ signal: grace.signal });
        setImmediate(grace.now);
        signal.addEventListener('abort', () => {
          resolve();
        });
        return new Promise(() => undefined);
      };
      const errors: unknown[] = [];
      runTools(api.chat({ model: 'm', messages }), { look: { run } }).subscribe({
        error: (error: unknown) => errors.push(error),
      });
    });
    await aborted;
    // The turn before was whole, and is a part of the run.
    expect(await report).toMatchObject({ stopped: 1, finished: 0, unfinished: 0 });
  });

  it('lets an event stream reconnect, and ends it while it waits', async () => {
    await using own = await startServer();
    const reconnecting = new Subject<void>();
    const onReconnect = (): void => {
      reconnecting.next();
    };
    const shouldReconnect = (): boolean => true; // whatever comes
    const source = fromSSE(own.url, { initialRetryMs: 0, onReconnect, shouldReconnect });
    const ended = new Promise((resolve) => source.subscribe({ error: resolve }));
    const first = await own.accept();
    const grace = cut();
    const report = shutdown({ signal: grace.signal });
    await first.end('retry: 60000\nid: 1\ndata: a\n\n');
    const waiting = new Promise<void>((resolve) => {
      reconnecting.subscribe(() => {
        resolve();
      });
    });
    await waiting;
    grace.now();
    expect(await ended).toEqual(stopped);
    expect(await report).toMatchObject({ stopped: 1, finished: 0 });
    expect(own.exchanges).toHaveLength(1);
  });

  it('lets what waits at a gate begin', async () => {
    const gate = createGate({ concurrency: 1 });
    const results = [1, 2, 3].map(() => collect(fromCall(chat()).pipe(gate())));
    await server.nextRequest();
    const report = shutdown();
    await Promise.all(results);
    expect(await report).toMatchObject({ finished: 3, stopped: 0, refused: 0 });
  });

  it('begins no further job of a feed, and what that does to the others is the feed’s', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-shutdown-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const names = ['a', 'b', 'c', 'd'];
    const jobs = from(names).pipe(
      mergeMap((name) => fromCall(chat()).pipe(toFile(join(folder, name))), 2),
      tap({
        error: (error: unknown) => {
          expect(error).toMatchObject({ code: 'ERR_ABORTED' });
        },
      }),
    );
    const ended = new Promise((resolve) => jobs.subscribe({ error: resolve }));
    await server.nextRequest();
    const report = shutdown();
    expect(await ended).toBeInstanceOf(AbortError);
    expect((await report).refused).toBeGreaterThan(0);
    expect(server.requests).toHaveLength(2);
    // What was refused leaves no file behind.
    await vi.waitFor(async () => {
      expect((await readdir(folder)).filter((file) => !/^[ab]/.test(file))).toEqual([]);
    });
  });

  it('closes a bare request, and one under a decoder', async () => {
    await using own = await startServer();
    const bare = new Promise((resolve) => fromHTTP(own.url).subscribe({ error: resolve }));
    const first = await own.accept();
    await first.write('data: a\n\n');
    const decoded = collect(fromHTTP(own.url).pipe(parseSSE(), decode(chat().dialect)));
    const failed = expect(decoded).rejects.toMatchObject({ code: 'ERR_ABORTED', received: { text: '' } });
    const second = await own.accept();
    await second.write(': hello\n\n');
    expect(await shutdown({ graceMs: 0 })).toMatchObject({ stopped: 2, finished: 0 });
    expect(await bare).toEqual(stopped);
    await failed;
    expect([await first.ended, await second.ended]).toEqual(['client', 'client']);
  });
});
