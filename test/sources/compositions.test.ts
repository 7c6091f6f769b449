import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  catchError,
  combineLatest,
  concat,
  connect,
  defer,
  delay,
  EMPTY,
  finalize,
  lastValueFrom,
  map,
  merge,
  type Observable,
  retry,
  share,
  take,
  tap,
  throwError,
  toArray,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HTTPError, InterruptedError, type MillraceError, ProviderError } from '../../src/errors.js';
import { Scope, subscribeWithin } from '../../src/internal/flow.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { Keeper } from '../../src/internal/position.js';
import type { Call } from '../../src/protocol/call.js';
import { inferencesh, polargrid } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import {
  fakeCall,
  type ProviderServer,
  startProviderServer,
  startServer,
  type TestServer,
} from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';

let provider: ProviderServer;
let server: TestServer;
let folder: string;
beforeEach(async () => {
  provider = await startProviderServer();
  server = await startServer();
  folder = await mkdtemp(join(tmpdir(), 'millrace-'));
});
afterEach(async () => {
  await Promise.all([provider.close(), server.close(), rm(folder, { recursive: true })]);
});

const apiKey = 'key-of-the-tests';
const messages = [{ role: 'user', content: 'Hello' }];
const chat = (): Call => polargrid({ apiKey, baseURL: provider.baseURLs.polargrid }).chat({ model: 'm', messages });
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

async function failure(source: Observable<unknown>): Promise<MillraceError> {
  try {
    await lastValueFrom(source);
  } catch (error) {
    return error as MillraceError;
  }
  throw new Error('expected an error, got a completion');
}

const cut = { pieces: ['one ', 'two'], fault: { kind: 'reset', at: { frame: 2 } } } as const;

describe('half a stream is not whole', () => {
  it('where raw bytes of a request were cut and swallowed, and a whole one follows', async () => {
    const both = concat(
      fromHTTP(server.url).pipe(
        map(text),
        catchError(() => EMPTY),
      ),
      fromHTTP(server.url).pipe(map(text)),
    );
    const failed = failure(both.pipe(toFile(join(folder, 'a'))));
    const first = await server.accept();
    await first.write('half');
    await new Promise((resolve) => setImmediate(resolve));
    first.halfClose();
    await (await server.accept()).end('whole');
    expect(await failed).toBeInstanceOf(InterruptedError);
    expect(await readdir(folder)).toEqual(['a.partial']);
  });

  it.each<[string, (source: Observable<StreamEvent>) => Observable<StreamEvent>]>([
    ['its error is swallowed', (source) => source.pipe(catchError(() => EMPTY))],
    ['it is taken short', (source) => source.pipe(take(2))],
  ])('behind a promise of the call and a delay, where %s', async (_, shorten) => {
    provider.next(cut);
    const source = shorten(fromCall(() => Promise.resolve(chat()))).pipe(delay(5));
    const error = await failure(source.pipe(toFile(join(folder, 'a'))));
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error.receipt).toMatchObject({ attempts: 1, provider: 'polargrid' });
    expect(await readdir(folder)).toEqual(['a.partial']);
  });

  it('where HTTP ends with its connection, though the status line has no reason phrase', async () => {
    const raw = createServer((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 200 \r\ncontent-type: text/plain\r\n\r\nhalf'));
    });
    raw.listen(0, '127.0.0.1');
    await once(raw, 'listening');
    const { port } = raw.address() as { port: number };
    const source = fromHTTP(`http://127.0.0.1:${String(port)}/`).pipe(map(text));
    expect(await failure(source.pipe(toFile(join(folder, 'a'))))).toBeInstanceOf(InterruptedError);
    raw.close();
  });
});

describe('a whole stream is whole', () => {
  it.each<[string, (side: () => void, main: Observable<StreamEvent>) => Observable<StreamEvent>]>([
    ['subscribed', (side, main) => defer(() => (side(), main))],
    ['delivering', (side, main) => main.pipe(tap({ next: side }))],
  ])('whatever becomes of a call that was begun while it was %s', async (_, compose) => {
    provider.next({ pieces: ['main'] }, { provider: 'polargrid' });
    const stalled = inferencesh({ apiKey, baseURL: provider.baseURLs.inferencesh }).run({ app: 'a/b', input: {} });
    provider.next({ fault: { kind: 'stall', at: { frame: 1 } } }, { provider: 'inferencesh' });
    const begun: { unsubscribe: () => void }[] = [];
    const side = (): void => {
      if (begun.length === 0) begun.push(fromCall(stalled, { onUnsubscribe: 'leave' }).subscribe());
    };
    const receipt = await lastValueFrom(compose(side, fromCall(chat())).pipe(toFile(join(folder, 'a'))));
    expect(receipt.outcome).toBe('complete');
    begun[0]?.unsubscribe();
  });
});

describe('leaving one stream', () => {
  it('from the end of another that was stopped on purpose is a plain leaving', async () => {
    provider.next({ fault: { kind: 'stall', at: { frame: 2 } } });
    const receipts: Receipt[] = [];
    const other = fromCall(chat())
      .pipe(tapReceipt((receipt) => receipts.push(receipt)))
      .subscribe();
    const stop = new AbortController();
    const ended = lastValueFrom(
      fromCall(fakeCall([])).pipe(
        catchError(() => EMPTY),
        stopOn(AbortSignal.abort()),
        finalize(() => {
          other.unsubscribe();
        }),
      ),
      { defaultValue: 'none' },
    );
    stop.abort();
    await ended;
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe' }]);
  });

  it('on the way of another that is drained is a plain leaving', async () => {
    const api = inferencesh({ apiKey, baseURL: provider.baseURLs.inferencesh });
    provider.next({ pieces: ['one'], fault: { kind: 'stall', at: { frame: -1 } } }, { provider: 'inferencesh' });
    const seen = vi.fn();
    const other = fromCall(api.run({ app: 'a/b', input: {} })).subscribe(seen);
    await vi.waitFor(() => {
      expect(seen.mock.calls.length).toBeGreaterThan(1);
    });
    const { url, headers, body } = chat().stream('');
    const whole = fromHTTP(url, {
      method: 'POST',
      body,
      headers: { ...headers, authorization: `Bearer ${apiKey}` },
    }).pipe(
      finalize(() => {
        other.unsubscribe();
      }),
      parseSSE(),
      decode(chat().dialect),
    );
    await lastValueFrom(whole);
    await vi.waitFor(() => {
      expect(provider.requests.some(({ path }) => path.endsWith('/cancel'))).toBe(true);
    });
  });
});

describe('a call that is made late', () => {
  it.each([
    ['at once', chat],
    ['by a promise', (): Promise<Call> => Promise.resolve(chat())],
  ])('%s takes its position back, since the function is its identity', (_, make) => {
    const keeper = new Scope(false);
    keeper.keeper = new Keeper('restart');
    const source = fromCall(make);
    subscribeWithin(keeper, () => {
      source.subscribe().unsubscribe();
      keeper.keeper?.hold();
      source.subscribe().unsubscribe();
    });
    expect(keeper.keeper.positions).toMatchObject([{ takenBy: 2 }]);
  });

  it('by something that only has a `then` is awaited', async () => {
    const made = Promise.resolve(chat());
    const thenable: PromiseLike<Call> = { then: (...args) => made.then(...args) };
    expect((await collect(fromCall(() => thenable as Promise<Call>))).text).not.toBe('');
  });
});

describe('cancelling', () => {
  const run = (): Call =>
    inferencesh({ apiKey, baseURL: provider.baseURLs.inferencesh }).run({ app: 'a/b', input: {} });
  const cancels = (): number => provider.requests.filter(({ path }) => path.endsWith('/cancel')).length;

  it('that waited for its id tells nothing once it is done', async () => {
    provider.next({ fault: { kind: 'slow-headers', delayMs: 5 } }, { path: '/inferencesh/apps/run' });
    const onCancelError = vi.fn();
    const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const subscription = fromCall(run(), { onCancelError }).subscribe();
    await provider.nextRequest();
    subscription.unsubscribe();
    await vi.waitFor(() => {
      expect(cancels()).toBe(1);
    });
    await provider.requests.at(-1)?.ended;
    await vi.waitFor(() => {
      const left = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
      expect(left).toBeLessThanOrEqual(timers + 1); // undici's own
    });
    expect(onCancelError).not.toHaveBeenCalled();
  });

  it('has nothing to do where the work was refused', async () => {
    provider.next({ status: 401, fault: { kind: 'slow-headers', delayMs: 5 } }, { path: '/inferencesh/apps/run' });
    const onCancelError = vi.fn();
    const subscription = fromCall(run(), { onCancelError }).subscribe({ error: () => undefined });
    const request = await provider.nextRequest();
    subscription.unsubscribe();
    await request.ended;
    await collect(chat());
    expect(onCancelError).not.toHaveBeenCalled();
    expect(cancels()).toBe(0);
  });

  it('succeeds with whatever a success says', async () => {
    provider.next({ fault: { kind: 'stall', at: { frame: 3 } } });
    const call = run();
    const onCancelError = vi.fn();
    const seen = vi.fn();
    const cancel = (): { method: 'POST'; url: string; accept: string[] } => ({
      method: 'POST',
      url: `${server.url}/x`,
      accept: [],
    });
    const subscription = fromCall({ ...call, cancel }, { onCancelError }).subscribe(seen);
    await vi.waitFor(() => {
      expect(seen.mock.calls.length).toBeGreaterThan(0);
      expect(provider.requests.some(({ path }) => path.endsWith('/stream'))).toBe(true);
    });
    subscription.unsubscribe();
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'text/plain' } });
    await exchange.end('ok');
    await exchange.ended;
    await collect(chat());
    expect(onCancelError).not.toHaveBeenCalled();
  });

  it.each([
    ['a signal', (call: Call, signal: AbortSignal) => fromCall(call, { signal, onUnsubscribe: 'leave' })],
    ['stopOn', (call: Call, signal: AbortSignal) => fromCall(call, { onUnsubscribe: 'leave' }).pipe(stopOn(signal))],
  ])('is what %s asks for, also where leaving does not', async (_, make) => {
    provider.next({ pieces: ['one', 'two'], fault: { kind: 'stall', at: { frame: -1 } } });
    const controller = new AbortController();
    const seen = vi.fn();
    make(run(), controller.signal).subscribe({ next: seen, error: () => undefined });
    await vi.waitFor(() => {
      expect(seen.mock.calls.length).toBeGreaterThan(2);
    });
    controller.abort();
    await vi.waitFor(() => {
      expect(cancels()).toBe(1);
    });
  });

  it('never lets a request go out that was not sent before', async () => {
    const seen: string[] = [];
    const request = (path: string): { method: 'POST'; url: string; accept: string[] } => ({
      method: 'POST',
      url: `${server.url}${path}`,
      accept: ['text/event-stream'],
    });
    const call: Call = {
      ...chat(),
      authorize: () => Promise.resolve({}),
      workId: 'w1',
      submit: request('/submit'),
      stream: () => request('/stream'),
      cancel: () => request('/cancel'),
    };
    const subscription = fromCall(call, {
      onResponse: () =>
        setImmediate(() => {
          subscription.unsubscribe();
        }),
    }).subscribe();
    const exchange = await server.accept();
    exchange.respond();
    await exchange.closed;
    await new Promise((resolve) => setImmediate(resolve));
    for (const { request: made } of server.exchanges) seen.push(made.path);
    // The request may have gone out before the reader left; then it is cancelled. It may not go out after.
    expect([['/stream'], ['/stream', '/submit'], ['/stream', '/submit', '/cancel']]).toContainEqual(seen);
  });
});

it('keeps the reason of a loss inside a coding', async () => {
  const failed = failure(fromHTTP(server.url, { bodyTimeoutMs: 1 }));
  const exchange = await server.accept();
  exchange.respond({ headers: { 'content-encoding': 'gzip', 'content-type': 'text/event-stream' } });
  await exchange.write(gzipSync('data: hello\n\n').subarray(0, 12));
  expect(await failed).toMatchObject({ name: 'StreamTimeoutError', phase: 'wireIdle' });
});

describe('a key', () => {
  it('that a provider quotes inside the stream is not shown', async () => {
    provider.next({
      fault: { kind: 'in-band-error', at: { frame: 1 } },
      error: { message: `Incorrect API key: ${apiKey}` },
    });
    const error = await failure(fromCall(chat()).pipe(toFile(join(folder, 'a'))));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error.message).toContain('Incorrect API key: [redacted]');
    expect(JSON.stringify([error, error.receipt, error.received])).not.toContain(apiKey);
  });

  it('in the query of a URL that a server quotes is not shown', async () => {
    const failed = failure(fromHTTP(`${server.url}/?key=${apiKey}&key=other`));
    const exchange = await server.accept();
    exchange.respond({ status: 401, headers: { 'content-type': 'application/json' } });
    await exchange.end(JSON.stringify({ error: `bad key ${apiKey}` }));
    const error = (await failed) as HTTPError;
    expect(error.message + JSON.stringify(error.body)).not.toContain(apiKey);
  });
});

describe('a fetch of the caller’s own', () => {
  it('that does not heed its signal is stopped by cancelling the body', async () => {
    const cancelled = vi.fn();
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.enqueue(new TextEncoder().encode('x'));
      },
      cancel: cancelled,
    });
    const source = fromHTTP('http://127.0.0.1/', { fetch: () => Promise.resolve(new Response(body)) });
    await lastValueFrom(source.pipe(take(1)));
    expect(cancelled).toHaveBeenCalledTimes(1);
  });

  it('that is redirected with a body is refused, and not as a loss', async () => {
    const failed = failure(
      fromHTTP(server.url, { method: 'POST', body: 'prompt', fetch: (url, init) => fetch(url, init) }),
    );
    const exchange = await server.accept();
    exchange.respond({ status: 307, headers: { location: '/there' } });
    await exchange.end();
    expect(await failed).toBeInstanceOf(HTTPError);
    expect(server.exchanges).toHaveLength(1);
  });
});

it('asks nothing for a subscriber that has gone before', async () => {
  const asked = vi.fn(() => new Promise<Response>(() => undefined));
  const sources = [fromHTTP('http://127.0.0.1/', { fetch: asked }), fromCall(chat(), { fetch: asked })];
  for (const source of sources) {
    combineLatest([throwError(() => new Error('first')), source]).subscribe({ error: () => undefined });
  }
  await Promise.resolve();
  expect(asked).not.toHaveBeenCalled();
});

it('forgets attempts that failed, however many', async () => {
  const failing = fromHTTP('http://127.0.0.1:1/').pipe(map(text), retry({ count: 20 }));
  const error = await failure(failing.pipe(toFile(join(folder, 'a'))));
  expect(error.receipt).toMatchObject({ outcome: 'interrupted' });
});

it.each([
  ['dispatcher must be', (): unknown => fromHTTP('http://127.0.0.1/', { dispatcher: {} })],
  [
    'either dispatcher or fetch',
    (): unknown => fromHTTP('http://127.0.0.1/', { dispatcher: { dispatch: () => true }, fetch }),
  ],
])('refuses at the call: %s', (message, make) => {
  expect(make).toThrow(TypeError);
  expect(make).toThrow(message);
});

it.each([
  (): unknown => fromHTTP('http://127.0.0.1/', { headersTimeoutMs: Infinity }),
  (): unknown => fromCall(fakeCall([]), { cancelTimeoutMs: 2 ** 31 }),
])('refuses a delay that no timer can hold', (make) => {
  expect(make).toThrow(RangeError);
});

it('two copies of the package agree on what an error means', async () => {
  vi.resetModules();
  const copy = await import('../../src/sources/fromCall.js');
  provider.next(cut);
  const error = await failure(copy.fromCall(chat()).pipe(toFile(join(folder, 'a'))));
  expect(error.receipt).toMatchObject({ outcome: 'interrupted' });
  const stopped = await failure(copy.fromCall(chat(), { signal: AbortSignal.abort() }).pipe(toFile(join(folder, 'b'))));
  expect(stopped.receipt).toMatchObject({ outcome: 'stopped', by: 'signal' });
});

it('many sinks on one output warn of nothing', async () => {
  const { PassThrough } = await import('node:stream');
  const { toStdout } = await import('../../src/sinks/toStdout.js');
  const warnings: unknown[] = [];
  const note = (warning: unknown): void => void warnings.push(warning);
  process.on('warning', note);
  const output = new PassThrough();
  const stop = new AbortController();
  const sinks = Array.from({ length: 30 }, () => {
    provider.next({ fault: { kind: 'stall', at: { frame: 1 } } });
    return lastValueFrom(fromCall(chat()).pipe(stopOn(stop.signal), toStdout({ stream: output })));
  });
  await new Promise((resolve) => setImmediate(resolve));
  stop.abort();
  expect(await Promise.all(sinks)).toHaveLength(30);
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  expect(warnings).toEqual([]);
});

describe('one request with several sinks', () => {
  it.each<[string, (source: Observable<StreamEvent>, a: string, b: string) => Observable<Receipt>[]]>([
    [
      'share',
      (source, a, b) => {
        const shared = source.pipe(share());
        return [shared.pipe(toFile(a)), shared.pipe(toFile(b))];
      },
    ],
    [
      'connect',
      (source, a, b) => [source.pipe(connect((shared) => merge(shared.pipe(toFile(a)), shared.pipe(toFile(b)))))],
    ],
  ])('through %s loses nothing', async (_, split) => {
    const [a, b] = [join(folder, 'a'), join(folder, 'b')];
    provider.next({ pieces: ['one ', 'two ', 'three'] });
    const receipts = await lastValueFrom(merge(...split(fromCall(chat()), a, b)).pipe(toArray()));
    expect(receipts).toMatchObject([{ outcome: 'complete' }, { outcome: 'complete' }]);
    expect([await readFile(a, 'utf8'), await readFile(b, 'utf8')]).toEqual(['one two three', 'one two three']);
    expect(provider.requests).toHaveLength(1);
  });

  it('through connect, of a source that is over at once, loses nothing either', async () => {
    const events: StreamEvent[] = [
      { type: 'text', text: 'Hi', index: 0, name: 'output' },
      { type: 'finish', reason: 'stop' },
    ];
    const path = join(folder, 'a');
    await lastValueFrom(fromCall(fakeCall(events)).pipe(connect((shared) => shared.pipe(toFile(path)))));
    expect(await readFile(path, 'utf8')).toBe('Hi');
  });
});
