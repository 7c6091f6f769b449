import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import process from 'node:process';
import { inspect } from 'node:util';
import { concat, lastValueFrom, NEVER, Observable, Subject } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { AbortError, InterruptedError, ProviderError } from '../../src/errors.js';
import type {
  AttemptDiagnostic,
  DiagnosticEvents,
  EndDiagnostic,
  ResumeDiagnostic,
} from '../../src/internal/diagnostics.js';
import { io as web } from '../../src/internal/io.web.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { timeout } from '../../src/operators/timeout.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { inferencesh, infernet, polargrid } from '../../src/providers/index.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall, type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

type Name = keyof DiagnosticEvents;
type Heard = { readonly [Key in Name]: readonly [Key, DiagnosticEvents[Key]] }[Name];

const NAMES: readonly Name[] = [
  'millrace:attempt',
  'millrace:pause',
  'millrace:resume',
  'millrace:restart',
  'millrace:end',
];

/** Listens until the test is over. */
function listen(): { readonly heard: readonly Heard[]; readonly names: () => readonly string[] } {
  const heard: Heard[] = [];
  for (const name of NAMES) {
    const hear = (message: unknown): void => {
      heard.push([name, message] as Heard); // what the library publishes there
    };
    subscribe(name, hear);
    onTestFinished(() => void unsubscribe(name, hear));
  }
  return { heard, names: () => heard.map(([name]) => name.replace('millrace:', '')) };
}

const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const usage: StreamEvent = { type: 'usage', inputTokens: 3, outputTokens: 2, provenance: 'reported' };

describe('an attempt', () => {
  it(
    'is told with its times and what it came to',
    marbles((m) => {
      const { heard } = listen();
      const source = m.cold('  ---a-b-(uf|)', { a: text('one '), b: text('two'), u: usage, f: finish });
      fromCall(fakeCall(source, { model: 'm' })).subscribe();
      m.flush();
      const attempt: unknown = expect.objectContaining({
        provider: 'fake',
        model: 'm',
        dialect: 'fake',
        attempt: 1,
        how: 'first',
        at: 0,
      });
      const end: Partial<EndDiagnostic> = {
        outcome: 'complete',
        finish: 'stop',
        timings: { firstContentMs: 3, totalMs: 7 },
        pausedMs: 0,
        chars: 7,
        usage: { inputTokens: 3, outputTokens: 2, provenance: 'reported' },
        billing: 'ended',
        restarts: 0,
        warnings: 0,
        at: 7,
      };
      expect(heard).toEqual([
        ['millrace:attempt', attempt],
        ['millrace:end', expect.objectContaining(end)],
      ]);
      expect(heard[1]?.[1].attemptId).toBe(heard[0]?.[1].attemptId);
    }),
  );

  it('after a lost connection says how and why it goes on, under the id of the same call', () => {
    const { heard } = listen();
    let asked = 0;
    const source = new Observable<StreamEvent>((subscriber) => {
      asked += 1;
      subscriber.next(text('a'));
      if (asked === 1) subscriber.error(new InterruptedError('cut'));
      else subscriber.next(finish);
    });
    const retry = retryOnDisconnect<StreamEvent>({ delay: { initialMs: 0 } });
    return lastValueFrom(fromCall(fakeCall(source)).pipe(retry)).then(() => {
      expect(heard).toMatchObject([
        ['millrace:attempt', { attempt: 1, how: 'first' }],
        ['millrace:end', { attempt: 1, outcome: 'interrupted', error: { code: 'ERR_INTERRUPTED' }, chars: 1 }],
        ['millrace:attempt', { attempt: 2, how: 'restart', because: 'the connection was lost' }],
        ['millrace:restart', { attempt: 2, because: 'the connection was lost', discardedChars: 1 }],
        ['millrace:end', { attempt: 2, outcome: 'complete', restarts: 1, chars: 1 }],
      ]);
      const calls = new Set(heard.map(([, { callId }]) => callId));
      const attempts = new Set(heard.map(([, { attemptId }]) => attemptId));
      expect([calls.size, attempts.size]).toEqual([1, 2]);
    });
  });

  it.each<readonly [string, Partial<EndDiagnostic>, (events: Observable<StreamEvent>) => void]>([
    [
      'left by its reader',
      { outcome: 'stopped', left: 'stop', by: 'unsubscribe', billing: 'ended' },
      (events) => {
        events.subscribe().unsubscribe();
      },
    ],
    [
      'that failed',
      { outcome: 'failed', error: { name: 'ProviderError', code: 'ERR_PROVIDER' }, billing: 'continues' },
      (events) => {
        failing.error(new ProviderError('the prompt was: hello', { retryable: true }));
        events.subscribe({ error: () => undefined });
      },
    ],
  ])('%s says so', (_, expected, run) => {
    const { heard } = listen();
    failing = new Subject();
    run(fromCall(fakeCall(failing)));
    expect(heard.at(-1)).toEqual(['millrace:end', expect.objectContaining(expected)]);
    expect(heard).toHaveLength(2);
  });
  let failing = new Subject<StreamEvent>();

  it('that is left to go on, stopped by a signal, or cut by a limit says by whom', async () => {
    const { heard } = listen();
    const events = (): Observable<StreamEvent> => fromCall(fakeCall(concat([text('a')], NEVER)));
    fromCall(fakeCall(NEVER), { onUnsubscribe: 'leave' }).subscribe().unsubscribe();
    const signal = new AbortController();
    fromCall(fakeCall(NEVER), { signal: signal.signal }).subscribe({ error: () => undefined });
    signal.abort();
    await expect(lastValueFrom(events().pipe(timeout({ contentIdleMs: 1 })))).rejects.toThrow();
    const ends = heard.filter(([name]) => name === 'millrace:end').map(([, end]) => end);
    expect(ends).toMatchObject([
      { outcome: 'stopped', left: 'detach', by: 'unsubscribe', billing: 'continues' },
      { outcome: 'stopped', left: 'stop', by: 'signal', billing: 'ended' },
      { outcome: 'interrupted', left: 'disconnect', billing: 'continues', usage: { provenance: 'unknown' } },
    ]);
  });
});

describe('on sockets', () => {
  const apiKey = 'sk-the-key-of-the-tests';
  const prompt = 'a prompt that nobody else may read';
  let server: ProviderServer;
  beforeEach(async () => {
    server = await startProviderServer();
    onTestFinished(() => server.close());
  });

  it('one attempt stands for all of a call’s requests, its cancellation included', async () => {
    const { heard, names } = listen();
    const api = inferencesh({ apiKey, baseURL: server.baseURLs.inferencesh });
    await collect(api.run({ app: 'a/b', input: { prompt } }));
    server.next({ fault: { kind: 'stall', at: { frame: 3 } } });
    await new Promise<void>((resolve) => {
      const subscription = fromCall(api.run({ app: 'a/b', input: { prompt } })).subscribe(({ type }) => {
        if (type !== 'status') return;
        subscription.unsubscribe();
        resolve();
      });
    });
    await vi.waitFor(() => {
      expect(server.requests.at(-1)?.path).toMatch(/cancel$/);
    });
    await server.requests.at(-1)?.ended;
    expect(names()).toEqual(['attempt', 'end', 'attempt', 'end']);
    const [, end] = heard[1] as readonly ['millrace:end', EndDiagnostic];
    expect(end.bytes).toBeGreaterThan(end.chars);
    expect(end.timings.headersMs).toBeLessThanOrEqual(end.timings.firstContentMs ?? -1);
    expect(end.requestIds.length).toBeGreaterThan(0);
  });

  it('a request by itself has its URL, without the query; a decoder has its dialect', async () => {
    const { heard } = listen();
    server.next({ text: 'Hi' });
    server.next({ text: 'Hi' });
    const { dialect, ...call } = polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({
      model: 'm',
      messages: [{ role: 'user', content: prompt }],
    });
    const { url, method, body } = call.stream('');
    const headers = { authorization: `Bearer ${apiKey}` };
    const request = (): Observable<Uint8Array> => fromHTTP(`${url}?key=${apiKey}`, { method, body, headers });
    await lastValueFrom(request());
    await lastValueFrom(request().pipe(parseSSE(), decode(dialect), toTokens()));
    expect(heard).toMatchObject([
      ['millrace:attempt', { url }],
      ['millrace:end', { url, outcome: 'complete', billing: 'ended' }],
      ['millrace:attempt', { dialect: dialect.name }],
      ['millrace:end', { dialect: dialect.name, outcome: 'complete', finish: 'stop', chars: 2 }],
    ]);
    expect(heard[2]?.[1].url).toBeUndefined();
  });

  it('pauses and goes on as its sink has room', async () => {
    const { heard, names } = listen();
    server.next({ pieces: Array.from({ length: 200 }, () => 'x '.repeat(2_000)), thinking: '' });
    const api = infernet({ apiKey, originURL: server.baseURLs.infernetOrigin });
    const call = api.openai({ model: 'm', messages: [{ role: 'user', content: prompt }] });
    for await (const token of asyncIterableFrom(fromCall(call).pipe(toTokens()), { pauseAtItems: 1 })) {
      expect(token.length).toBeGreaterThan(0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const told = names();
    expect(told[0]).toBe('attempt');
    expect(told.at(-1)).toBe('end');
    const between = told.slice(1, -1);
    expect(between.length).toBeGreaterThan(0);
    // They come in turns; the end may come while it is paused.
    expect(between).toEqual(between.map((_, i) => (i % 2 === 0 ? 'pause' : 'resume')));
    const pauses = heard
      .filter((event): event is readonly ['millrace:resume', ResumeDiagnostic] => event[0] === 'millrace:resume')
      .map(([, { pausedMs }]) => pausedMs);
    const [, end] = heard.at(-1) as readonly ['millrace:end', EndDiagnostic];
    expect(end.pausedMs).toBeGreaterThanOrEqual(pauses.reduce((sum, ms) => sum + ms, 0));
  });

  it('says nothing that is secret', async () => {
    const { heard } = listen();
    const api = polargrid({ apiKey, baseURL: server.baseURLs.polargrid });
    const call = api.chat({ model: 'm', messages: [{ role: 'user', content: prompt }] });
    server.next({ text: 'a secret answer' });
    await collect(call);
    server.next({ status: 401, error: { message: `wrong key ${apiKey} for ${prompt}` } });
    await collect(call).catch(() => undefined);
    server.next({
      text: 'a secret answer',
      fault: { kind: 'in-band-error', at: { frame: 2 } },
      error: { message: prompt },
    });
    await collect(call).catch(() => undefined);
    await lastValueFrom(fromHTTP(`${server.url}/nowhere?key=${apiKey}`)).catch(() => undefined);
    expect(heard.length).toBe(8);
    const printed = inspect(heard, { depth: Infinity, showHidden: true }) + JSON.stringify(heard);
    for (const secret of [apiKey, prompt, 'secret answer', '?key']) expect(printed).not.toContain(secret);
  });
});

describe('a subscriber', () => {
  it('that throws breaks no stream; the process hears of it', async () => {
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const uncaught: unknown[] = [];
    process.on('uncaughtException', (error) => uncaught.push(error));
    const fail = (): void => {
      throw new Error('mine');
    };
    for (const name of NAMES) subscribe(name, fail);
    const { text: answer } = await collect(fakeCall([text('whole'), finish]));
    for (const name of NAMES) unsubscribe(name, fail);
    await new Promise((resolve) => setImmediate(resolve));
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
    expect(answer).toBe('whole');
    expect(uncaught).toEqual([new Error('mine'), new Error('mine')]);
  });

  it('that comes late hears the rest', () => {
    const source = new Subject<StreamEvent>();
    fromCall(fakeCall(source)).subscribe();
    const { heard } = listen();
    source.next(text('a'));
    source.next(finish);
    expect(heard).toMatchObject([['millrace:end', { outcome: 'complete', attempt: 1, chars: 1 }]]);
  });

  it('of one channel makes nothing of the others', () => {
    const attempts: AttemptDiagnostic[] = [];
    const hear = (message: unknown): void => void attempts.push(message as AttemptDiagnostic);
    subscribe('millrace:attempt', hear);
    onTestFinished(() => void unsubscribe('millrace:attempt', hear));
    fromCall(fakeCall([text('a'), finish])).subscribe();
    expect(attempts).toHaveLength(1);
  });
});

it('a stream that is refused by its signal before it begins is no attempt of its provider', () => {
  const { heard } = listen();
  const errors: unknown[] = [];
  fromHTTP('http://127.0.0.1:9/', { signal: AbortSignal.abort() }).subscribe({ error: (e: unknown) => errors.push(e) });
  expect(errors).toEqual([expect.any(AbortError)]);
  expect(heard.at(-1)).toMatchObject(['millrace:end', { outcome: 'stopped', by: 'signal' }]);
});

it('nothing is made where nobody listens, not even an id', () => {
  // The library's own count, which both copies of a package share.
  const ids = (globalThis as Record<symbol, unknown>)[Symbol.for('millrace.diagnostics.1')];
  const before = { ...(ids as { readonly lastId: number }) };
  fromCall(fakeCall([text('a'), finish])).subscribe();
  fromCall(fakeCall(NEVER)).subscribe().unsubscribe();
  expect(ids).toEqual(before);
  listen();
  fromCall(fakeCall([text('a'), finish])).subscribe();
  expect(ids).toEqual({ lastId: before.lastId + 2 });
});

it('a page has no channels', () => {
  expect(web.telling).toBeUndefined();
});
