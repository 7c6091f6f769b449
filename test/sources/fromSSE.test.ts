import { once } from 'node:events';
import { createServer as createTCPServer, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import {
  BehaviorSubject,
  firstValueFrom,
  map,
  Observable,
  queueScheduler,
  Subject,
  Subscription,
  throwError,
  VirtualTimeScheduler,
} from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError, isRetryable, LimitError, ProtocolError } from '../../src/errors.js';
import { type Ending, Evidence, type Verdict } from '../../src/internal/evidence.js';
import { Flow, register } from '../../src/internal/flow.js';
import { draw, operate } from '../../src/internal/operate.js';
import { fromSSE, type FromSSEOptions, type SSEReconnect } from '../../src/sources/fromSSE.js';
import type { Exchange } from '../../src/testing/exchange.js';
import { Inbox } from '../../src/testing/inbox.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { ServerSentEvent } from '../../src/types.js';

const open: TestServer[] = [];
let running = new Subscription();
afterEach(async () => {
  running.unsubscribe();
  running = new Subscription();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(): Promise<TestServer> {
  const server = await startServer();
  open.push(server);
  return server;
}

/** Virtual time that the test moves: waits pass when it says so, while sockets are real. */
class Clock extends VirtualTimeScheduler {
  to(ms: number): void {
    this.schedule(() => undefined, ms - this.frame);
    this.maxFrames = ms;
    this.flush();
  }

  by(ms: number): void {
    this.to(this.frame + ms);
  }

  /** How many actions are waiting. */
  get waiting(): number {
    return this.actions.filter(({ closed }) => !closed).length;
  }
}

interface Watched {
  readonly values: readonly ServerSentEvent[];
  readonly events: Inbox<ServerSentEvent>;
  readonly reconnects: Inbox<SSEReconnect>;
  /** `'complete'`, or the error. */
  readonly ended: Promise<unknown>;
  readonly subscription: Subscription;
  readonly clock: Clock;
}

function watch(url: string, options: FromSSEOptions = {}): Watched {
  const [clock, reconnects, events] = [new Clock(), new Inbox<SSEReconnect>(), new Inbox<ServerSentEvent>()];
  const source = fromSSE(url, {
    scheduler: clock,
    onReconnect: (reconnect) => {
      reconnects.add(reconnect);
    },
    ...options,
  });
  let subscription = new Subscription();
  const ended: Promise<unknown> = new Promise((resolve) => {
    subscription = source.subscribe({
      next: (event) => {
        events.add(event);
      },
      error: resolve,
      complete: () => {
        resolve('complete');
      },
    });
  });
  running.add(subscription);
  return { values: events.all, events, reconnects, ended, subscription, clock };
}

/** How many requests the server has seen, and everything sent before now has arrived. */
async function requests(server: TestServer): Promise<number> {
  const answer = fetch(`${server.url}/fence`, { headers: { connection: 'close' } });
  let exchange: Exchange;
  do exchange = await server.accept();
  while (exchange.request.path !== '/fence');
  await exchange.end();
  await (await answer).text();
  return server.exchanges.filter(({ request }) => request.path !== '/fence').length;
}

/** Answers one request with a whole body. */
async function answer(exchange: Exchange, body: string): Promise<void> {
  exchange.respond();
  await exchange.end(body);
}

async function refuse(exchange: Exchange, status: number, headers: Record<string, string> = {}): Promise<void> {
  exchange.respond({ status, headers });
  await exchange.end();
}

function message(data: string, id = ''): ServerSentEvent {
  return { type: 'event', event: 'message', data, id };
}

/** What a server reads in the header, as UTF-8. */
function idOf({ request }: Exchange): string | undefined {
  const header = request.headers['last-event-id'];
  return header === undefined ? undefined : Buffer.from(String(header), 'latin1').toString('utf8');
}

describe('a connection', () => {
  it('asks as a browser does', async () => {
    const server = await serve();
    watch(server.url);
    const { request } = await server.accept();
    expect(request.method).toBe('GET');
    expect(request.headers).toMatchObject({ accept: 'text/event-stream', 'cache-control': 'no-cache' });
    expect(request.headers).not.toHaveProperty('last-event-id');
  });

  it.each(['POST', 'REPORT', 'PUT'])('may be a %s with headers and a body', async (method) => {
    const server = await serve();
    const body = '{"hello": "world"}';
    const headers = {
      'content-type': 'application/json; charset=utf-8',
      'X-Own': 'yes',
      accept: 'text/event-stream, */*',
    };
    watch(server.url, { method, body, headers });
    const { request } = await server.accept();
    expect(request).toMatchObject({ method, text: body });
    expect(request.headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'x-own': 'yes',
      accept: 'text/event-stream, */*',
      'cache-control': 'no-cache',
    });
  });

  it('is made by each subscription, and by nothing before', async () => {
    const server = await serve();
    const headers: Record<string, string> = { a: 'b' };
    const source = fromSSE(server.url, { headers });
    headers['a'] = 'changed';
    expect(await requests(server)).toBe(0);
    running.add(source.subscribe());
    running.add(source.subscribe());
    for (let i = 0; i < 2; i += 1) expect((await server.accept()).request.headers['a']).toBe('b');
  });

  it('emits everything that the parser knows', async () => {
    const server = await serve();
    const { values, reconnects } = watch(server.url);
    await answer(
      await server.accept(),
      '\uFEFF: hi\nretry: 10\nerror: bad\nevent: x\rid: 1\rdata: a\r\rdata: b\r\n\r\n',
    );
    await reconnects.take();
    expect(values).toEqual([
      { type: 'comment', comment: 'hi' },
      { type: 'retry', retryMs: 10 },
      { type: 'unknown', field: 'error', value: 'bad' },
      { type: 'event', event: 'x', data: 'a', id: '1' },
      message('b', '1'),
    ]);
  });

  it('tells each answer’s head before its first event', async () => {
    const server = await serve();
    const heads: unknown[] = [];
    const { values, reconnects, clock, subscription } = watch(server.url, {
      onOpen: ({ status, headers }) => heads.push([status, headers['x-a'], values.length]),
    });
    for (const name of ['1', '2']) {
      const exchange = await server.accept();
      exchange.respond({ headers: { 'content-type': 'text/event-stream', 'x-a': name } });
      await exchange.end('data: a\n\n');
      clock.by((await reconnects.take()).delayMs);
    }
    expect(heads).toEqual([
      [200, '1', 0],
      [200, '2', 1],
    ]);
    subscription.unsubscribe();
  });

  it.each([
    ['url', TypeError, (): unknown => fromSSE('nonsense')],
    ['credentials', TypeError, (): unknown => fromSSE('http://user:secret@127.0.0.1/')],
    ['header x', TypeError, (): unknown => fromSSE('http://127.0.0.1/', { headers: { x: 'secret\r\nb: c' } })],
    ['method', TypeError, (): unknown => fromSSE('http://127.0.0.1/', { method: 'GET /' })],
    ['redirect', TypeError, (): unknown => fromSSE('http://127.0.0.1/', { redirect: 'maybe' as 'follow' })],
    ['resend', TypeError, (): unknown => fromSSE('http://127.0.0.1/', { resend: 'maybe' as 'never' })],
    ['lastEventId', TypeError, (): unknown => fromSSE('http://127.0.0.1/', { lastEventId: ' secret' })],
    ['lastEventId', TypeError, (): unknown => fromSSE('http://127.0.0.1/', { lastEventId: 7 as unknown as string })],
    ['initialRetryMs', RangeError, (): unknown => fromSSE('http://127.0.0.1/', { initialRetryMs: -1 })],
    ['initialRetryMs', RangeError, (): unknown => fromSSE('http://127.0.0.1/', { initialRetryMs: 2 ** 31 })],
    ['maxRetryMs', RangeError, (): unknown => fromSSE('http://127.0.0.1/', { maxRetryMs: Number.NaN })],
    ['maxRetries', RangeError, (): unknown => fromSSE('http://127.0.0.1/', { maxRetries: -1 })],
    ['readTimeoutMs', RangeError, (): unknown => fromSSE('http://127.0.0.1/', { readTimeoutMs: Infinity })],
    ['bodyTimeoutMs', RangeError, (): unknown => fromSSE('http://127.0.0.1/', { bodyTimeoutMs: -1 })],
    ['maxLineBytes', RangeError, (): unknown => fromSSE('http://127.0.0.1/', { maxLineBytes: 0 })],
  ])('is refused at the call for its %s', (name, type, make) => {
    expect(make).toThrow(type);
    expect(make).toThrow(name);
    expect(make).not.toThrow('secret');
  });
});

describe('the last event id', () => {
  it.each([
    ['a cut', 'reset'],
    ['a clean end', 'end'],
    ['a close without framing', 'close'],
  ])('is sent after %s, and stays with events that bring none', async (_, how) => {
    const server = await serve();
    const { events, values, reconnects, clock } = watch(server.url);
    const first = await server.accept();
    first.respond({ framing: how === 'close' ? 'close' : 'chunked' });
    await first.write('id: abc\ndata: 1\n\ndata: 2\n\n');
    await events.take();
    await events.take();
    if (how === 'reset') first.reset();
    else await first.end();
    const { error, lastEventId, attempt } = await reconnects.take();
    expect({ lastEventId, attempt }).toEqual({ lastEventId: 'abc', attempt: 1 });
    if (how === 'reset') expect(error).toBeInstanceOf(InterruptedError);
    else expect(error).toBeUndefined();
    clock.by(3_000);
    const second = await server.accept();
    expect(idOf(second)).toBe('abc');
    await answer(second, 'data: 3\n\n');
    await reconnects.take();
    expect(values).toEqual([message('1', 'abc'), message('2', 'abc'), message('3', 'abc')]);
    clock.by(3_000);
    expect(idOf(await server.accept())).toBe('abc');
  });

  it.each([
    ['that a block without data brought', 'id: 1\ndata: a\n\nid: 2\n\n', '2'],
    ['that an event without a type brought', 'id: 1\ndata\n\n', '1'],
    ['before one that was reset', 'id: 1\ndata: a\n\nid:\ndata: b\n\n', undefined],
    ['before one that was reset without data', 'id: 1\ndata: a\n\nid\n\n', undefined],
    ['and never one with NUL', 'id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n', '1'],
    ['and never one of an event that was cut', 'id: 1\ndata: a\n\nid: 2\ndata: b\n', '1'],
    ['and never one of a block that was cut', 'id: 1\ndata: a\n\nid: 2\n', '1'],
    ['and none of a first event that was cut', 'id: 2\ndata: b', undefined],
    ['as its UTF-8 bytes', 'id: …é😀\ndata: a\n\n', '…é😀'],
    ['with spaces inside', 'id: a b\ndata: a\n\n', 'a b'],
    ['that is longer than a line of arguments', `id: ${'…'.repeat(2_000)}\ndata: a\n\n`, '…'.repeat(2_000)],
    ['as text and not as a number', 'id: 007\ndata: a\n\n', '007'],
    ['whatever it is called', 'id: __proto__\ndata: a\n\n', '__proto__'],
  ])('is the one %s', async (_, body, id) => {
    const server = await serve();
    const { reconnects, clock } = watch(server.url);
    await answer(await server.accept(), body);
    expect((await reconnects.take()).lastEventId).toBe(id ?? '');
    clock.by(3_000);
    const second = await server.accept();
    expect(idOf(second)).toBe(id);
    await answer(second, 'data: x\n\n');
    expect((await reconnects.take()).lastEventId).toBe(id ?? '');
  });

  it.each(['id:  a', 'id: a ', 'id: \t', 'id: a\u0001', 'id: \u007f'])(
    'that no header can hold (%j) is refused loudly, when it would have to be sent',
    async (line) => {
      const server = await serve();
      const { ended, events, reconnects } = watch(server.url);
      const exchange = await server.accept();
      await exchange.write(`${line}\ndata: 1\n\n`);
      await events.take();
      await exchange.write('data: 2\n\n');
      await events.take();
      exchange.reset();
      const error = (await ended) as ProtocolError;
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error.message).toContain('no header can hold');
      expect(error.cause).toBeInstanceOf(InterruptedError);
      expect(reconnects.all).toEqual([]);
      expect(await requests(server)).toBe(1);
    },
  );

  it('that no header can hold does no harm when another one follows', async () => {
    const server = await serve();
    const { reconnects, clock } = watch(server.url);
    await answer(await server.accept(), 'id:  a\ndata: 1\n\nid: b\ndata: 2\n\n');
    await reconnects.take();
    clock.by(3_000);
    expect(idOf(await server.accept())).toBe('b');
  });

  it.each([
    ['option', { lastEventId: '…5' }],
    ['header', { headers: { 'Last-Event-ID': '5' } }],
  ])('may be given to begin after, as an %s', async (_, options: FromSSEOptions) => {
    const server = await serve();
    const { reconnects, clock, values } = watch(server.url, options);
    const id = options.lastEventId ?? '5';
    const first = await server.accept();
    expect(idOf(first)).toBe(id);
    await answer(first, 'data: a\n\n');
    await reconnects.take();
    clock.by(3_000);
    const second = await server.accept();
    expect(idOf(second)).toBe(id);
    await answer(second, 'id: 6\ndata: b\n\nid\n\n');
    await reconnects.take();
    clock.by(3_000);
    expect(idOf(await server.accept())).toBeUndefined();
    expect(values).toEqual([message('a', id), message('b', '6')]);
  });

  it('belongs to one subscription', async () => {
    const server = await serve();
    const source = fromSSE(server.url);
    running.add(source.subscribe());
    await answer(await server.accept(), 'id: 1\ndata: a\n\n');
    running.add(source.subscribe());
    expect(idOf(await server.accept())).toBeUndefined();
  });
});

describe('an unfinished event', () => {
  it('is dropped with its connection, wherever it was cut', async () => {
    const server = await serve();
    const text = 'id: 2\r\nevent: x\r\ndata: …\r\ndata: z\r\n\r\n';
    const bytes = Buffer.from(text);
    const { values, reconnects, clock } = watch(server.url, { initialRetryMs: 0, maxRetryMs: 0 });
    // The last LF is no part of it: the event is whole with the CR before it.
    for (let cut = 0; cut < bytes.length - 1; cut += 1) {
      const exchange = await server.accept();
      exchange.respond({ framing: cut % 2 === 0 ? 'chunked' : 'close' });
      await exchange.end(bytes.subarray(0, cut));
      await reconnects.take();
      clock.by(0);
    }
    expect(values).toEqual([]);
    const last = await server.accept();
    expect(idOf(last)).toBeUndefined();
    await answer(last, 'data: whole\n\n');
    await reconnects.take();
    expect(values).toEqual([message('whole')]);
  });

  it('of a compressed stream is dropped too, and the cut is a cut', async () => {
    const server = await serve();
    const { values, reconnects } = watch(server.url);
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' } });
    const coded = gzipSync('data: 1\n\n');
    await exchange.end(coded.subarray(0, coded.length - 9));
    expect((await reconnects.take()).error).toBeInstanceOf(InterruptedError);
    expect(values.length).toBeLessThanOrEqual(1);
  });
});

describe('a server that goes on after the id', () => {
  const events = Array.from({ length: 4 }, (_, i) => ({ id: String(i + 1), data: `…${String(i)}` }));
  const textAfter = (id: string | undefined): string =>
    events
      .slice(Number(id ?? 0))
      .map((event, i) => `${i % 2 === 0 ? ':\n' : ''}id: ${event.id}\r\ndata: ${event.data}\r\n\r\n`)
      .join('');
  const length = Buffer.byteLength(textAfter(undefined));

  it.each(['end', 'reset', 'halfClose'] as const)('is heard once, wherever a %s cuts it', async (how) => {
    const server = await serve();
    for (let cut = 0; cut <= length; cut += 1) {
      const { values, ended } = watch(server.url, { scheduler: queueScheduler, initialRetryMs: 0, random: () => 0 });
      for (const limit of [cut, 20]) {
        const exchange = await server.accept();
        exchange.respond();
        await exchange.write(Buffer.from(textAfter(idOf(exchange))).subarray(0, limit));
        await exchange[how]();
      }
      const last = await server.accept();
      await answer(last, textAfter(idOf(last)));
      await refuse(await server.accept(), 204);
      expect(await ended).toBe('complete');
      const heard = values.filter(({ type }) => type === 'event');
      expect(heard, `cut at ${String(cut)}`).toEqual(events.map(({ id, data }) => message(data, id)));
    }
  });
});

describe('the wait', () => {
  /** Ends the current connection after `body`; gives the wait that follows, proves it to the millisecond, and connects. */
  async function next(server: TestServer, { clock, reconnects }: Watched, body: string): Promise<number> {
    await answer(await server.accept(), body);
    const { delayMs } = await reconnects.take();
    const seen = server.exchanges.length;
    if (delayMs > 0) clock.by(delayMs - 1);
    expect(server.exchanges).toHaveLength(seen);
    if (delayMs > 0) expect(clock.waiting).toBe(1);
    clock.by(Math.min(delayMs, 1));
    expect(clock.waiting).toBe(0);
    return delayMs;
  }

  it('is the reconnection time: 3 s, until the server says otherwise', async () => {
    const server = await serve();
    const stream = watch(server.url);
    expect(await next(server, stream, 'data: a\n\n')).toBe(3_000);
    expect(await next(server, stream, 'retry: 1500\ndata: a\n\n')).toBe(1_500);
    expect(await next(server, stream, 'data: a\n\n')).toBe(1_500);
    // It holds with its line, and needs neither an event nor a blank line.
    expect(await next(server, stream, 'data: a\n\nretry: 200\n')).toBe(200);
    for (const bad of ['1000x', '-1', '1.5', ' 1', '', '１']) {
      expect(await next(server, stream, `retry: ${bad}\ndata: a\n\n`)).toBe(200);
    }
    expect(await next(server, stream, 'retry:5\ndata: a\n\n')).toBe(5);
    expect(await next(server, stream, 'retry: 007\ndata: a\n\n')).toBe(7);
  });

  it('is capped, whatever the server asks for', async () => {
    const server = await serve();
    const stream = watch(server.url);
    expect(await next(server, stream, 'retry: 99999999999\ndata: a\n\n')).toBe(60_000);
    expect(await next(server, stream, `retry: ${'9'.repeat(400)}\ndata: a\n\n`)).toBe(60_000);
    const short = watch(server.url, { maxRetryMs: 1_000 });
    await server.accept(); // of the first one
    expect(await next(server, short, 'data: a\n\n')).toBe(1_000);
  });

  it('grows with each reconnect that brings no event, by chance up to a bound that doubles, and is capped', async () => {
    const server = await serve();
    const chances = [0.5, 0.75, 0.999, 0, 0.5];
    const stream = watch(server.url, { initialRetryMs: 2_000, maxRetryMs: 10_000, random: () => chances.shift() ?? 0 });
    expect(await next(server, stream, '')).toBe(2_000);
    expect(await next(server, stream, ': no event\n\n')).toBe(2_000); // half of 2,000 is less than the reconnection time
    expect(await next(server, stream, '')).toBe(3_000);
    expect(await next(server, stream, 'id: 1\n\n')).toBe(7_992);
    expect(await next(server, stream, '')).toBe(2_000);
    expect(await next(server, stream, '')).toBe(5_000); // of 10,000, and not of 32,000
    expect(stream.reconnects.all.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5, 6]);
    // An event sets it back.
    expect(await next(server, stream, 'data: a\n\n')).toBe(2_000);
    expect(stream.reconnects.all.at(-1)?.attempt).toBe(1);
  });

  it('is no storm after retry: 0', async () => {
    const server = await serve();
    const stream = watch(server.url, { random: () => 0.5 });
    expect(await next(server, stream, 'retry: 0\ndata: a\n\n')).toBe(0);
    const waits = [];
    for (let i = 0; i < 8; i += 1) waits.push(await next(server, stream, 'retry: 0\n'));
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it('stays within its bounds after any number of failures', async () => {
    const server = await serve();
    const { clock, reconnects } = watch(server.url, { random: () => 0.999_999, initialRetryMs: 1 });
    for (let i = 0; i < 70; i += 1) {
      (await server.accept()).reset();
      const { delayMs } = await reconnects.take();
      expect(delayMs).toBeLessThanOrEqual(60_000);
      clock.by(delayMs);
    }
  });

  it.each([
    [{ 'retry-after': '7' }, 7_000],
    [{ 'retry-after-ms': '3500' }, 3_500],
    [{ 'retry-after': '1' }, 3_000],
    [{ 'retry-after': '-5' }, 3_000],
    [{ 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, 3_000],
    [{ 'retry-after': '1000000000000' }, 60_000],
    [{}, 3_000],
  ])('is as long as Retry-After asks for: %j', async (headers, delayMs) => {
    const server = await serve();
    const { reconnects, clock } = watch(server.url, { scheduler: new FromEpoch() });
    expect(clock).toBeDefined();
    await refuse(await server.accept(), 503, headers);
    expect(await reconnects.take()).toMatchObject({ delayMs, error: { name: 'HTTPError', status: 503 } });
  });
});

/** A clock as far as it is asked for the time; nothing that is scheduled on it runs. */
class FromEpoch extends Clock {
  override now = (): number => Date.UTC(2026, 0, 1);
}

describe('the end', () => {
  it.each([{}, { 'content-type': 'text/event-stream' }, { 'content-type': 'text/html' }])(
    'is a 204, with %j',
    async (headers) => {
      const server = await serve();
      const { ended, values, reconnects, clock } = watch(server.url);
      await answer(await server.accept(), 'data: a\n\n');
      await reconnects.take();
      clock.by(3_000);
      await refuse(await server.accept(), 204, headers);
      expect(await ended).toBe('complete');
      expect(values).toEqual([message('a')]);
      clock.by(1_000_000);
      expect(await requests(server)).toBe(2);
    },
  );

  it('is a 204 to the first request', async () => {
    const server = await serve();
    const onOpen = vi.fn();
    const { ended, clock } = watch(server.url, { onOpen });
    await refuse(await server.accept(), 204);
    expect(await ended).toBe('complete');
    expect(onOpen).not.toHaveBeenCalled();
    clock.by(1_000_000);
    expect(await requests(server)).toBe(1);
  });

  it.each([201, 202, 205, 206, 210, 299, 304, 400, 401, 403, 404, 408, 409, 410, 425, 429, 451, 501, 505])(
    'is status %i, with an HTTPError',
    async (status) => {
      const server = await serve();
      const { ended, reconnects, clock } = watch(server.url);
      await refuse(await server.accept(), status, { 'content-type': 'text/event-stream', 'retry-after': '1' });
      expect(await ended).toBeInstanceOf(HTTPError);
      expect(await ended).toMatchObject({ status });
      expect(reconnects.all).toEqual([]);
      clock.by(1_000_000);
      expect(await requests(server)).toBe(1);
    },
  );

  it.each([500, 502, 503, 504, 529])('is not status %i, at first or later', async (status) => {
    const server = await serve();
    const { values, events, reconnects, clock } = watch(server.url);
    await refuse(await server.accept(), status);
    clock.by((await reconnects.take()).delayMs);
    await answer(await server.accept(), 'id: 1\ndata: a\n\n');
    clock.by((await reconnects.take()).delayMs);
    await refuse(await server.accept(), status);
    clock.by((await reconnects.take()).delayMs);
    const last = await server.accept();
    expect(idOf(last)).toBe('1');
    await last.write('data: b\n\n');
    while (values.length < 2) await events.take();
    expect(values).toEqual([message('a', '1'), message('b', '1')]);
  });

  it('may be a 4xx after a good connection too', async () => {
    const server = await serve();
    const { ended, reconnects, clock, values } = watch(server.url);
    await answer(await server.accept(), 'data: a\n\n');
    await reconnects.take();
    clock.by(3_000);
    const exchange = await server.accept();
    exchange.respond({ status: 401, headers: { 'content-type': 'application/json' } });
    await exchange.end('{"error":{"message":"expired"}}');
    expect(await ended).toMatchObject({ name: 'HTTPError', status: 401, providerMessage: 'expired' });
    expect(values).toEqual([message('a')]);
  });

  it.each([
    'text/plain',
    'text/html',
    'application/json',
    'application/x-ndjson',
    'text/event-streams',
    'x bogus',
    'text/event-stream, text/html',
    '',
  ])('is a body of type %j', async (type) => {
    const server = await serve();
    const onOpen = vi.fn();
    const { ended, values } = watch(server.url, { onOpen });
    const exchange = await server.accept();
    exchange.respond({ headers: type === '' ? {} : { 'content-type': type } });
    await exchange.write('data: a\n\n');
    await exchange.end();
    const error = (await ended) as ProtocolError;
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.context['contentType']).toBe(type.split(';')[0]);
    expect(values).toEqual([]);
    expect(onOpen).not.toHaveBeenCalled();
    expect(await requests(server)).toBe(1);
  });

  it.each([
    'text/event-stream;charset=utf-8',
    'text/event-stream;',
    'Text/Event-Stream ; Charset="UTF-8"',
    'text/event-stream;charset=windows-1252',
    'text/event-stream;x bogus',
  ])('is not a body of type %j, which is read as UTF-8', async (type) => {
    const server = await serve();
    const { events } = watch(server.url);
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': type } });
    await exchange.write('data: é\n\n');
    expect(await events.take()).toEqual(message('é'));
  });

  it('is broken HTTP', async () => {
    const server = await serve();
    const { ended, events } = watch(server.url);
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    await events.take();
    await exchange.raw('zz\r\n');
    expect(await ended).toBeInstanceOf(ProtocolError);
    expect(await requests(server)).toBe(1);
  });

  it('is an event over a limit, after those before it', async () => {
    const server = await serve();
    const { ended, values } = watch(server.url, { maxEventBytes: 100 });
    const exchange = await server.accept();
    await exchange.write(`data: a\n\ndata: ${'x'.repeat(200)}`);
    expect(await ended).toBeInstanceOf(LimitError);
    expect(values).toEqual([message('a')]);
    await exchange.closed;
    expect(await requests(server)).toBe(1);
  });

  it('is a connection that nobody takes only when told so', async () => {
    const server = createTCPServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    const { ended, reconnects, clock } = watch(`http://127.0.0.1:${String(port)}/`, { maxRetries: 2 });
    for (const attempt of [1, 2]) {
      const reconnect = await reconnects.take();
      expect(reconnect).toMatchObject({ attempt, error: { name: 'InterruptedError', during: 'connect' } });
      clock.by(reconnect.delayMs);
    }
    expect(await ended).toMatchObject({ name: 'InterruptedError', during: 'connect' });
  });

  describe('by maxRetries', () => {
    it('counts reconnects in a row without an event', async () => {
      const server = await serve();
      const { ended, reconnects, clock } = watch(server.url, { maxRetries: 2, random: () => 0 });
      for (const body of ['data: a\n\n', '', 'data: b\n\n', '']) {
        await answer(await server.accept(), body);
        await reconnects.take();
        clock.by(3_000);
      }
      (await server.accept()).reset();
      expect(await ended).toBeInstanceOf(InterruptedError);
      expect(await requests(server)).toBe(5);
    });

    it('completes where the last connection ended well', async () => {
      const server = await serve();
      const { ended, values } = watch(server.url, { maxRetries: 0 });
      await answer(await server.accept(), 'data: a\n\n');
      expect(await ended).toBe('complete');
      expect(values).toEqual([message('a')]);
      expect(await requests(server)).toBe(1);
    });
  });

  describe('by shouldReconnect', () => {
    it('may be put off for any error', async () => {
      const server = await serve();
      const { reconnects, clock, events } = watch(server.url, { shouldReconnect: isRetryable });
      await refuse(await server.accept(), 429, { 'retry-after': '20' });
      expect(await reconnects.take()).toMatchObject({ delayMs: 20_000, error: { status: 429 } });
      clock.by(20_000);
      await (await server.accept()).write('data: a\n\n');
      expect(await events.take()).toEqual(message('a'));
    });

    it('may come with any error', async () => {
      const server = await serve();
      const asked: unknown[] = [];
      const shouldReconnect = (error: unknown): boolean => {
        asked.push(error);
        return false;
      };
      const { ended, reconnects, clock } = watch(server.url, { shouldReconnect });
      await answer(await server.accept(), ''); // not asked after a clean end
      await reconnects.take();
      clock.by(3_000);
      (await server.accept()).reset();
      expect(await ended).toBeInstanceOf(InterruptedError);
      expect(asked).toEqual([await ended]);
    });
  });

  it.each(['shouldReconnect', 'onReconnect', 'onOpen'] as const)(
    'is a throw of %s, whatever else is said',
    async (name) => {
      const server = await serve();
      const thrown = new InterruptedError('mine, and it looks like a lost connection');
      const { ended, clock } = watch(server.url, {
        shouldReconnect: () => true,
        [name]: () => {
          throw thrown;
        },
      });
      const exchange = await server.accept();
      await exchange.write('data: a\n\n');
      if (name !== 'onOpen') exchange.reset();
      expect(await ended).toBe(thrown);
      await exchange.closed;
      clock.by(1_000_000);
      expect(await requests(server)).toBe(1);
    },
  );
});

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])('%i is followed anew by each connection', async (status) => {
    const server = await serve();
    const { values, reconnects, clock, events } = watch(server.url, { headers: { 'x-own': 'yes' } });
    for (const id of [undefined, '1']) {
      const first = await server.accept();
      expect(first.request.path).toBe('/');
      expect(idOf(first)).toBe(id);
      await refuse(first, status, { location: '/there' });
      const second = await server.accept();
      expect(second.request).toMatchObject({ path: '/there', method: 'GET' });
      expect(second.request.headers).toMatchObject({
        'x-own': 'yes',
        accept: 'text/event-stream',
        'cache-control': 'no-cache',
      });
      expect(idOf(second)).toBe(id);
      await second.write('id: 1\ndata: a\n\n');
      await events.take();
      second.reset();
      await reconnects.take();
      clock.by(3_000);
    }
    expect(values).toEqual([message('a', '1'), message('a', '1')]);
  });

  it.each([301, 302, 303, 307, 308])('%i to another origin takes nothing of the caller’s along', async (status) => {
    const [server, other] = [await serve(), await serve()];
    const headers = { authorization: 'Bearer secret', 'x-api-key': 'secret', cookie: 'secret' };
    const { reconnects, clock, events } = watch(server.url, { headers });
    await answer(await server.accept(), 'id: 1\ndata: a\n\n');
    await reconnects.take();
    await events.take();
    clock.by(3_000);
    const exchange = await server.accept();
    expect(idOf(exchange)).toBe('1');
    await refuse(exchange, status, { location: `${other.url}/there` });
    const there = await other.accept();
    expect(there.request.headers.accept).toBe('text/event-stream');
    for (const name of ['last-event-id', ...Object.keys(headers)]) {
      expect(there.request.headers).not.toHaveProperty(name);
    }
    await there.write('data: b\n\n');
    expect(await events.take()).toEqual(message('b', '1'));
  });

  it.each([307, 308])('%i sends a body on within the origin, and never to another', async (status) => {
    const [server, other] = [await serve(), await serve()];
    const { reconnects, clock, ended } = watch(server.url, { method: 'POST', body: 'the prompt' });
    await refuse(await server.accept(), status, { location: '/there' });
    const there = await server.accept();
    expect(there.request).toMatchObject({ path: '/there', method: 'POST', text: 'the prompt' });
    await answer(there, 'id: 1\ndata: a\n\n');
    await reconnects.take();
    clock.by(3_000);
    await refuse(await server.accept(), status, { location: `${other.url}/there` });
    expect(await ended).toMatchObject({ name: 'HTTPError', status });
    expect(other.exchanges).toEqual([]);
  });

  it.each([301, 302])('%i does not make a GET of a POST', async (status) => {
    const server = await serve();
    const { ended } = watch(server.url, { method: 'POST', body: 'the prompt' });
    await refuse(await server.accept(), status, { location: '/there' });
    expect(await ended).toMatchObject({ name: 'HTTPError', status });
    expect(await requests(server)).toBe(1);
  });

  it.each([
    ['without a location', 301, {}, 1],
    ['to an empty location', 307, { location: '' }, 6, 'LimitError'],
    ['in a loop', 302, { location: '/' }, 6, 'LimitError'],
    ['to a file', 302, { location: 'file:///etc/passwd' }, 1],
  ])('%s ends the stream', async (_, status, headers, count, name = 'HTTPError') => {
    const server = await serve();
    const { ended, clock } = watch(server.url);
    for (let i = 0; i < count; i += 1) await refuse(await server.accept(), status, headers);
    expect(await ended).toMatchObject({ name, context: { status } });
    clock.by(1_000_000);
    expect(await requests(server)).toBe(count);
  });

  it('may be refused', async () => {
    const server = await serve();
    const { ended } = watch(server.url, { redirect: 'error' });
    await refuse(await server.accept(), 302, { location: '/there' });
    expect(await ended).toMatchObject({ name: 'HTTPError', status: 302 });
  });
});

describe('a request that may have done something', () => {
  const post: FromSSEOptions = { method: 'post', body: '{"n":1}' };

  it('is not sent again after a cut without an id', async () => {
    const server = await serve();
    const { ended, events, clock } = watch(server.url, post);
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    await events.take();
    exchange.reset();
    expect(await ended).toBeInstanceOf(InterruptedError);
    clock.by(1_000_000);
    expect(await requests(server)).toBe(1);
  });

  it('completes at a clean end without an id', async () => {
    const server = await serve();
    const { ended, values } = watch(server.url, post);
    await answer(await server.accept(), 'data: a\n\nid: 7\n');
    expect(await ended).toBe('complete');
    expect(values).toEqual([message('a')]);
    expect(await requests(server)).toBe(1);
  });

  it.each([503, 500])('is not sent again after %i', async (status) => {
    const server = await serve();
    const { ended } = watch(server.url, post);
    await refuse(await server.accept(), status, { 'retry-after': '1' });
    expect(await ended).toMatchObject({ name: 'HTTPError', status });
    expect(await requests(server)).toBe(1);
  });

  it.each(['reset', 'end'] as const)(
    'is sent again with its body after an id, when its answer came to a %s',
    async (how) => {
      const server = await serve();
      const { reconnects, clock, events, ended } = watch(server.url, post);
      const first = await server.accept();
      await first.write('id: 1\ndata:\n\n'); // a priming event
      expect(await events.take()).toEqual(message('', '1'));
      await first[how]();
      await reconnects.take();
      clock.by(3_000);
      const second = await server.accept();
      expect(second.request).toMatchObject({ method: 'POST', text: '{"n":1}' });
      expect(idOf(second)).toBe('1');
      // The id is taken back: there is nothing to go on after.
      await second.write('id\n\ndata: a\n\n');
      await events.take();
      second.reset();
      expect(await ended).toBeInstanceOf(InterruptedError);
      expect(await requests(server)).toBe(2);
    },
  );

  it('is sent again whatever happens, when asked for', async () => {
    const server = await serve();
    const { reconnects, clock } = watch(server.url, { ...post, resend: 'always' });
    for (let i = 0; i < 3; i += 1) {
      const exchange = await server.accept();
      expect(exchange.request).toMatchObject({ method: 'POST', text: '{"n":1}' });
      if (i === 1) await refuse(exchange, 503);
      else exchange.reset();
      clock.by((await reconnects.take()).delayMs);
    }
    expect((await server.accept()).request.text).toBe('{"n":1}');
  });

  it('is never sent again, when asked not to', async () => {
    const server = await serve();
    const { ended } = watch(server.url, { ...post, resend: 'never' });
    await answer(await server.accept(), 'id: 1\ndata: a\n\n');
    expect(await ended).toBe('complete');
    expect(await requests(server)).toBe(1);
  });

  it.each(['REPORT', 'OPTIONS', 'QUERY'])('is not a %s, which is sent again freely', async (method) => {
    const server = await serve();
    const { reconnects, clock } = watch(server.url, { method, body: 'b', resend: 'never' });
    (await server.accept()).reset();
    await reconnects.take();
    clock.by(3_000);
    expect((await server.accept()).request).toMatchObject({ method, text: 'b' });
  });
});

describe('a silent connection', () => {
  it('is dropped at the exact frame, and made again', async () => {
    const server = await serve();
    const { reconnects, clock, events, values } = watch(server.url, { readTimeoutMs: 500 });
    const first = await server.accept();
    clock.to(400);
    await first.write('id: 1\ndata: a\n\n');
    await events.take();
    clock.to(899);
    expect(reconnects.all).toEqual([]);
    clock.to(900);
    expect(await first.ended).toBe('client');
    const error = { name: 'StreamTimeoutError', phase: 'wireIdle' };
    expect(reconnects.all).toMatchObject([{ attempt: 1, delayMs: 3_000, lastEventId: '1', error }]);
    await first.closed;
    clock.by(3_000);
    const second = await server.accept();
    expect(idOf(second)).toBe('1');
    expect(values).toHaveLength(1);
    expect(server.connections()).toBe(1);
  });

  it('is one that sends no headers', async () => {
    const server = await serve();
    const { reconnects, clock } = watch(server.url, { readTimeoutMs: 500 });
    const exchange = await server.accept();
    clock.to(500);
    expect(reconnects.all).toMatchObject([{ error: { phase: 'wireIdle' } }]);
    await exchange.closed;
  });

  it('is not one that sends anything: a comment, a piece of a line', async () => {
    const server = await serve();
    // The clock is asked for the time when something is heard.
    const asked = new Subject<void>();
    const clock = new Clock();
    clock.now = (): number => {
      asked.next();
      return clock.frame;
    };
    const { reconnects } = watch(server.url, { readTimeoutMs: 500, scheduler: clock });
    const exchange = await server.accept();
    for (const piece of ['', ':', ' ', 'a', '\n', 'd', 'a']) {
      clock.by(499);
      const heard = firstValueFrom(asked);
      if (piece === '') exchange.respond();
      else await exchange.write(piece);
      await heard;
    }
    clock.by(499);
    expect(reconnects.all).toEqual([]);
    clock.by(1);
    expect(reconnects.all).toHaveLength(1);
  });

  it('ends the stream where it must not be made again', async () => {
    const server = await serve();
    const { ended, clock } = watch(server.url, { readTimeoutMs: 500, method: 'POST' });
    const exchange = await server.accept();
    clock.to(500);
    expect(await ended).toMatchObject({ name: 'StreamTimeoutError', phase: 'wireIdle' });
    expect(((await ended) as Error).message).toContain('readTimeoutMs');
    await exchange.closed;
    expect(clock.waiting).toBe(0);
  });

  it('is dropped on the next look although the system’s time was set back', async () => {
    const server = await serve();
    const clock = new Clock();
    const base = { ms: 1_000_000 };
    clock.now = (): number => base.ms + clock.frame;
    const { reconnects } = watch(server.url, { readTimeoutMs: 500, scheduler: clock });
    await server.accept();
    base.ms = 0;
    clock.to(500);
    expect(reconnects.all).toHaveLength(0);
    base.ms = 2_000_000;
    clock.to(1_000);
    expect(reconnects.all).toHaveLength(1);
  });

  it('is left alone unless asked', async () => {
    const server = await serve();
    const { clock, events } = watch(server.url);
    const exchange = await server.accept();
    clock.by(2 ** 31);
    await exchange.write('data: a\n\n');
    expect(await events.take()).toEqual(message('a'));
    expect(clock.waiting).toBe(0);
  });
});

describe('leaving', () => {
  it('before the connection exists sends nothing', async () => {
    const accepted: string[] = [];
    const server = createTCPServer((socket) => {
      socket.on('data', (data) => accepted.push(data.toString()));
      socket.on('error', () => undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.close();
    });
    const { port } = server.address() as { port: number };
    const { subscription } = watch(`http://127.0.0.1:${String(port)}/`);
    subscription.unsubscribe();
    const [socket] = (await once(server, 'connection')) as [Socket];
    if (!socket.closed) await once(socket, 'close');
    expect(accepted).toEqual([]);
  });

  it('closes the connection before the headers, inside an event, and twice', async () => {
    const server = await serve();
    const early = watch(server.url, { readTimeoutMs: 500 });
    const first = await server.accept();
    early.subscription.unsubscribe();
    await first.closed;
    const late = watch(server.url, { readTimeoutMs: 500 });
    const second = await server.accept();
    await second.write('data: a\n\ndata: b');
    await late.events.take();
    late.subscription.unsubscribe();
    late.subscription.unsubscribe();
    expect(await second.ended).toBe('client');
    expect([early.clock.waiting, late.clock.waiting]).toEqual([0, 0]);
    for (const { clock } of [early, late]) clock.by(1_000_000);
    expect(await requests(server)).toBe(2);
  });

  it('in a wait cancels its timer, and nothing is connected after', async () => {
    const server = await serve();
    const { subscription, reconnects, clock } = watch(server.url);
    (await server.accept()).reset();
    await reconnects.take();
    expect(clock.waiting).toBe(1);
    subscription.unsubscribe();
    expect(clock.waiting).toBe(0);
    clock.by(1_000_000);
    expect(await requests(server)).toBe(1);
  });

  it.each(['onReconnect', 'onOpen', 'shouldReconnect'] as const)('from inside %s connects nothing', async (name) => {
    const server = await serve();
    const left = new Inbox<boolean>();
    const { subscription, clock, values } = watch(server.url, {
      [name]: () => {
        subscription.unsubscribe();
        left.add(true);
        return true;
      },
    });
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    if (name !== 'onOpen') exchange.reset();
    await left.take();
    await exchange.closed;
    if (name === 'onOpen') expect(values).toEqual([]);
    expect(clock.waiting).toBe(0);
    clock.by(1_000_000);
    expect(await requests(server)).toBe(1);
  });

  it('from inside an event gets nothing after it', async () => {
    const server = await serve();
    const got: ServerSentEvent[] = [];
    const done = new Promise<void>((resolve) => {
      const subscription = fromSSE(server.url).subscribe((event) => {
        got.push(event);
        subscription.unsubscribe();
        resolve();
      });
    });
    const exchange = await server.accept();
    await exchange.write('data: a\n\ndata: b\n\n');
    await done;
    await exchange.closed;
    expect(got).toEqual([message('a')]);
    expect(await requests(server)).toBe(1);
  });

  it('takes the listener of a signal back', async () => {
    const server = await serve();
    const { signal } = new AbortController();
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')];
    const { subscription } = watch(server.url, { signal });
    await server.accept();
    expect(added).toHaveBeenCalledTimes(1);
    subscription.unsubscribe();
    expect(removed).toHaveBeenCalledTimes(1);
  });
});

describe('a signal', () => {
  it('that was aborted before lets nothing be sent', async () => {
    const server = await serve();
    const { ended } = watch(server.url, { signal: AbortSignal.abort('enough') });
    expect(await ended).toMatchObject({ name: 'AbortError', cause: 'enough' });
    expect(await requests(server)).toBe(0);
  });

  it('stops a connection', async () => {
    const server = await serve();
    const controller = new AbortController();
    const { ended, events, clock } = watch(server.url, { signal: controller.signal, readTimeoutMs: 500 });
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    await events.take();
    controller.abort(new Error('enough'));
    expect(await ended).toMatchObject({ name: 'AbortError', cause: new Error('enough') });
    expect(await exchange.ended).toBe('client');
    expect(clock.waiting).toBe(0);
    expect(await requests(server)).toBe(1);
  });

  it('stops a wait', async () => {
    const server = await serve();
    const controller = new AbortController();
    const { ended, reconnects, clock } = watch(server.url, { signal: controller.signal, shouldReconnect: () => true });
    (await server.accept()).reset();
    await reconnects.take();
    controller.abort();
    expect(await ended).toMatchObject({ name: 'AbortError' });
    expect(clock.waiting).toBe(0);
    clock.by(1_000_000);
    expect(await requests(server)).toBe(1);
  });
});

describe('reconnectOn', () => {
  it('drops the connection and makes another one at once', async () => {
    const server = await serve();
    const again = new Subject<void>();
    const { events, clock, reconnects } = watch(server.url, { reconnectOn: again, method: 'POST', body: 'b' });
    const first = await server.accept();
    await first.write('id: 1\ndata: a\n\n');
    await events.take();
    again.next();
    expect(await first.ended).toBe('client');
    const second = await server.accept();
    expect(second.request.text).toBe('b');
    expect(idOf(second)).toBe('1');
    await second.write('data: b\n\n');
    expect(await events.take()).toEqual(message('b', '1'));
    expect([clock.waiting, reconnects.all.length]).toEqual([0, 0]);
    expect(await requests(server)).toBe(2);
  });

  it('cuts a wait short, and makes one connection only', async () => {
    const server = await serve();
    const again = new Subject<void>();
    const { clock, reconnects } = watch(server.url, { reconnectOn: again });
    (await server.accept()).reset();
    await reconnects.take();
    again.next();
    expect(clock.waiting).toBe(0);
    await server.accept();
    clock.by(1_000_000);
    expect(await requests(server)).toBe(2);
  });

  it('may emit from inside shouldReconnect, onReconnect, onOpen and an event', async () => {
    const server = await serve();
    const again = new Subject<void>();
    const paths: string[] = [];
    const once = (name: string) => (): void => {
      if (paths.includes(name)) return;
      paths.push(name);
      again.next();
    };
    const clock = new Clock();
    const got = new Inbox<ServerSentEvent>();
    const source = fromSSE(server.url, {
      reconnectOn: again,
      scheduler: clock,
      shouldReconnect: () => {
        once('shouldReconnect')();
        return true;
      },
      onReconnect: once('onReconnect'),
      onOpen: once('onOpen'),
    });
    running.add(
      source.subscribe((event) => {
        got.add(event);
        once('event')();
      }),
    );
    (await server.accept()).reset();
    (await server.accept()).reset();
    const second = await server.accept();
    second.respond();
    const third = await server.accept();
    await second.closed;
    await third.write('id: 1\ndata: a\n\nid: 2\ndata: b\n\n');
    const fourth = await server.accept();
    await third.closed;
    expect(idOf(fourth)).toBe('1'); // what was not delivered is asked for again
    await fourth.write('id: 2\ndata: b\n\n');
    await got.take();
    expect(await got.take()).toEqual(message('b', '2'));
    expect(paths).toEqual(['shouldReconnect', 'onReconnect', 'onOpen', 'event']);
    expect(clock.waiting).toBe(0);
    clock.by(1_000_000);
    expect(await requests(server)).toBe(5);
  });

  it.each([true, false])('from inside shouldReconnect wins over its answer, %s', async (verdict) => {
    const server = await serve();
    const again = new Subject<void>();
    const { clock, events } = watch(server.url, {
      reconnectOn: again,
      shouldReconnect: () => {
        again.next();
        return verdict;
      },
    });
    (await server.accept()).reset();
    await (await server.accept()).write('data: a\n\n');
    expect(await events.take()).toEqual(message('a'));
    expect(clock.waiting).toBe(0);
    expect(await requests(server)).toBe(2);
  });

  it('from inside onReconnect makes one connection, though the clock would not wait either', async () => {
    const server = await serve();
    const again = new Subject<void>();
    const { events } = watch(server.url, {
      reconnectOn: again,
      scheduler: queueScheduler,
      initialRetryMs: 0,
      onReconnect: () => {
        again.next();
      },
    });
    (await server.accept()).reset();
    await (await server.accept()).write('data: a\n\n');
    expect(await events.take()).toEqual(message('a'));
    expect(await requests(server)).toBe(2);
  });

  it('does nothing by emitting at once, by completing, or after the end; its error is the stream’s', async () => {
    const server = await serve();
    const again = new BehaviorSubject(0);
    const { ended } = watch(server.url, { reconnectOn: again });
    await refuse(await server.accept(), 204);
    expect(await ended).toBe('complete');
    expect(again.observed).toBe(false);
    again.next(1);
    expect(await requests(server)).toBe(1);

    const late = watch(server.url, { reconnectOn: throwError(() => new Error('soon')), readTimeoutMs: 500 });
    expect(await late.ended).toEqual(new Error('soon'));
    expect(late.clock.waiting).toBe(0);
    expect(await requests(server)).toBe(1);

    const broken = new Subject<void>();
    const other = watch(server.url, { reconnectOn: broken });
    const exchange = await server.accept();
    broken.error(new Error('mine'));
    expect(await other.ended).toEqual(new Error('mine'));
    await exchange.closed;
  });
});

describe('what sinks know', () => {
  interface Sink {
    readonly evidence: Evidence;
    readonly texts: Inbox<string>;
    readonly ended: Promise<Verdict>;
    readonly subscription: Subscription;
  }

  /** A sink that notes what it gets, and judges at the end. */
  function sink(source: Observable<ServerSentEvent>): Sink {
    const texts = new Inbox<string>();
    const evidence = new Evidence('sink');
    let subscription = new Subscription();
    const ended: Promise<Verdict> = new Promise((resolve) => {
      let ending: Ending = { kind: 'left' };
      subscription = source
        .pipe(
          map((event) => (event.type === 'event' ? event.data : '')),
          operate<string, never>((upstream, subscriber) => {
            draw<string>(upstream, subscriber, evidence.scope, () => ({
              next: (text) => {
                evidence.note(text);
                texts.add(text);
              },
              error: (error) => {
                ending = { kind: 'error', error };
              },
              complete: () => {
                evidence.currentFlow();
                ending = { kind: 'complete' };
              },
              left: () => {
                evidence.scope.release();
                resolve(evidence.judge(ending));
              },
            }));
          }),
        )
        .subscribe();
      running.add(subscription);
    });
    return { evidence, texts, ended, subscription };
  }

  it('is that a stream is complete although connections before its end were cut', async () => {
    const server = await serve();
    const { ended, evidence, texts } = sink(fromSSE(server.url, { initialRetryMs: 0, random: () => 0 }));
    const first = await server.accept();
    await first.write('data: a\n\n');
    await texts.take();
    first.reset();
    await refuse(await server.accept(), 503);
    const third = await server.accept();
    third.respond({ framing: 'close' });
    await third.end('data: b\n\n');
    await refuse(await server.accept(), 204);
    expect(await ended).toEqual({ outcome: 'complete' });
    expect(texts.all).toEqual(['a', 'b']);
    expect(evidence.scope.flows.size).toBe(0);
  });

  it('is that a stream without a reconnect is what its one connection was', async () => {
    const server = await serve();
    for (const [framing, outcome] of [
      ['chunked', 'complete'],
      ['close', 'interrupted'],
    ] as const) {
      const { ended } = sink(fromSSE(server.url, { maxRetries: 0 }));
      const exchange = await server.accept();
      exchange.respond({ framing });
      await exchange.end('data: a\n\n');
      expect(await ended).toMatchObject({ outcome });
    }
  });

  it('is that a 204 is whole, whatever its framing', async () => {
    const server = await serve();
    const { ended } = sink(fromSSE(server.url, { fetch: (url, init) => fetch(url, init) }));
    await refuse(await server.accept(), 204, { connection: 'close' });
    expect(await ended).toEqual({ outcome: 'complete' });
  });

  it('is nothing of what reconnectOn asks', async () => {
    const server = await serve();
    const own = new Flow();
    const reconnectOn = new Observable<never>(() => {
      register(own);
    });
    const { evidence, ended } = sink(fromSSE(server.url, { reconnectOn }));
    const exchange = await server.accept();
    expect(evidence.scope.flows.size).toBe(1);
    expect(evidence.scope.flows).not.toContain(own);
    await refuse(exchange, 204);
    expect(await ended).toEqual({ outcome: 'complete' });
  });

  it('is that a stream was stopped by its signal, in a wait too', async () => {
    const server = await serve();
    for (const isWaiting of [false, true]) {
      const controller = new AbortController();
      const reconnects = new Inbox<SSEReconnect>();
      const { ended, evidence } = sink(
        fromSSE(server.url, {
          signal: controller.signal,
          scheduler: new Clock(),
          onReconnect: (reconnect) => {
            reconnects.add(reconnect);
          },
        }),
      );
      const exchange = await server.accept();
      if (isWaiting) {
        exchange.reset();
        await reconnects.take();
      }
      const flows = [...evidence.scope.flows];
      controller.abort();
      expect(await ended).toMatchObject({ outcome: 'stopped', by: 'signal' });
      // Those who pay for what was asked are told who left, too.
      expect(flows.map(({ left }) => left)).toMatchObject(isWaiting ? [] : [{ verb: 'stop', by: 'signal' }]);
    }
  });

  it('pauses the connection that fills them, also one that was made later, and its clock with it', async () => {
    const server = await serve();
    const [clock, reconnects] = [new Clock(), new Inbox<SSEReconnect>()];
    const source = fromSSE(server.url, {
      scheduler: clock,
      readTimeoutMs: 500,
      initialRetryMs: 0,
      onReconnect: (reconnect) => {
        reconnects.add(reconnect);
      },
    });
    const { evidence, texts } = sink(source);
    const first = await server.accept();
    await first.write('data: a\n\n');
    await texts.take();
    first.reset();
    await reconnects.take();
    clock.by(0);
    const second = await server.accept();
    // Before its first delivery it is known by its registration alone.
    expect([...evidence.scope.flows].map(({ state }) => state)).toEqual(['open']);
    evidence.scope.pause();
    expect([...evidence.scope.flows].map(({ paused }) => paused)).toEqual([true]);
    clock.by(10_000);
    expect(reconnects.all).toHaveLength(1);
    await second.write('data: b\n\n');
    evidence.scope.release();
    expect(await texts.take()).toBe('b');
    clock.by(499);
    expect(reconnects.all).toHaveLength(1);
    clock.by(1);
    expect(reconnects.all).toHaveLength(2);
  });

  it('holds the server back while they are full', async () => {
    const server = await serve();
    let held: Flow | undefined;
    const { evidence, texts } = sink(
      fromSSE(server.url).pipe(
        map((event) => {
          evidence.scope.pause();
          held = [...evidence.scope.held][0];
          return event;
        }),
      ),
    );
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    await texts.take();
    expect(held?.paused).toBe(true);
    const much = `data: ${'x'.repeat(8 * 1_048_576)}\n\n`;
    const writing = Promise.all(Array.from({ length: 8 }, () => exchange.write(much)));
    expect(await requests(server)).toBe(1);
    expect(texts.all).toHaveLength(1);
    expect(exchange.bytesSent).toBeLessThan(32 * 1_048_576);
    exchange.reset();
    await writing;
  });
});

describe('through the caller’s own fetch', () => {
  const own: FromSSEOptions = { fetch: (url, init) => fetch(url, init) };

  it('reconnects with the id', async () => {
    const server = await serve();
    const { reconnects, clock, values } = watch(server.url, own);
    const first = await server.accept();
    expect(first.request.headers).toMatchObject({ accept: 'text/event-stream', 'cache-control': 'no-cache' });
    await answer(first, 'id: …\ndata: a\n\n');
    await reconnects.take();
    clock.by(3_000);
    const second = await server.accept();
    expect(idOf(second)).toBe('…');
    await answer(second, 'data: b\n\n');
    await reconnects.take();
    expect(values).toEqual([message('a', '…'), message('b', '…')]);
    clock.by(3_000);
    await refuse(await server.accept(), 204);
  });

  it('lets no id go along with a redirect that it cannot see', async () => {
    const [server, other] = [await serve(), await serve()];
    const { reconnects, clock, ended } = watch(server.url, own);
    await refuse(await server.accept(), 302, { location: '/there' });
    await answer(await server.accept(), 'id: 1\ndata: a\n\n');
    await reconnects.take();
    clock.by(3_000);
    const exchange = await server.accept();
    expect(idOf(exchange)).toBe('1');
    await refuse(exchange, 302, { location: other.url });
    expect(await ended).toBeInstanceOf(HTTPError);
    expect(other.exchanges).toEqual([]);
  });

  it.each([{ headers: { 'x-api-key': 'secret' } }, { method: 'POST', body: 'the prompt' }])(
    'follows no redirect with %j',
    async (options) => {
      const server = await serve();
      const { ended } = watch(server.url, { ...own, ...options });
      await refuse(await server.accept(), 307, { location: '/there' });
      expect(await ended).toBeInstanceOf(HTTPError);
      expect(await requests(server)).toBe(1);
    },
  );
});

describe('many connections in a row', () => {
  it('leave nothing behind in the subscriber', async () => {
    const server = await serve();
    const stream = watch(server.url, { initialRetryMs: 0, readTimeoutMs: 1_000 });
    const teardowns = (): number => (Reflect.get(stream.subscription, '_finalizers') as unknown[] | null)?.length ?? 0;
    const counts = [];
    for (let i = 0; i < 20; i += 1) {
      await answer(await server.accept(), 'data: a\n\n');
      await stream.reconnects.take();
      counts.push([teardowns(), stream.clock.waiting]);
      stream.clock.by(0);
    }
    expect(new Set(counts.map(String)).size).toBe(1);
  });

  it('are one at a time', async () => {
    const server = await serve();
    const { reconnects, clock } = watch(server.url);
    for (let i = 0; i < 5; i += 1) {
      const exchange = await server.accept();
      expect(server.connections()).toBe(1);
      await exchange.write('data: a\n\n');
      exchange.reset();
      await exchange.closed;
      await reconnects.take();
      expect(clock.waiting).toBe(1);
      clock.by(3_000);
    }
  });
});
