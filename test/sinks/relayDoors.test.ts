import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import {
  concat,
  delay,
  from,
  NEVER,
  Observable,
  of,
  Subject,
  type Subscriber,
  takeUntil,
  tap,
  throwError,
  toArray,
} from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError, StreamTimeoutError } from '../../src/errors.js';
import type { ResponseFormat } from '../../src/protocol/eventFormat.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { timeout } from '../../src/operators/timeout.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { millrace, openai, polargrid } from '../../src/providers/index.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { shutdown } from '../../src/sources/shutdown.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { reopen } from '../../src/testing/reopen.js';
import { startProviderServer } from '../../src/testing/startProviderServer.js';
import { startServer } from '../../src/testing/startServer.js';
import type { StreamEvent } from '../../src/types.js';
import { pausable } from '../support/pausable.js';
import { relay, type RelayDoor, relayDoors } from '../support/relayDoors.js';
import { dechunk, messagesOf, rawGet, sendRaw } from '../support/webServer.js';

const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const thinking = (piece: string): StreamEvent => ({ type: 'thinking', text: piece, index: 0, name: 'thinking' });
const status = (word: string): StreamEvent => ({ type: 'status', status: word, terminal: false });
const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'it was cut', discard: { chars: 3 } };
const usage: StreamEvent = { type: 'usage', provenance: 'reported', inputTokens: 3, cost: { total: 1 } };
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const MESSAGES = [{ role: 'user' as const, content: 'Tell me of rivers.' }];
const FORMATS: readonly ResponseFormat[] = ['millrace', 'openai', 'ai-sdk', 'text'];

/** A stream that is told what to say. */
function spoken(): { source: Observable<StreamEvent>; said: Promise<Subscriber<StreamEvent>>; left: () => boolean } {
  let isLeft = false;
  let found: (subscriber: Subscriber<StreamEvent>) => void = () => undefined;
  const said = new Promise<Subscriber<StreamEvent>>((resolve) => {
    found = resolve;
  });
  const source = new Observable<StreamEvent>((subscriber) => {
    subscriber.add(() => {
      isLeft = true;
    });
    found(subscriber);
  });
  return { source, said, left: () => isLeft };
}

const dataOf = (body: string): unknown[] => messagesOf(body).map(({ data }) => data);

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(relayDoors)('$name', (door: RelayDoor) => {
  it.each(FORMATS)('tells an answer in the format %s', async (format) => {
    const { url, nextReceipt } = await relay(door, () => of(thinking('hm'), text('Grüß '), text('Gott 🌊'), finish), {
      format,
    });
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(format === 'text' ? /^text\/plain/ : /^text\/event-stream/);
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    expect(response.headers.get('cache-control')).toContain('no-transform');
    const body = await response.text();
    if (format === 'text') expect(body).toBe('Grüß Gott 🌊');
    else expect(body).toContain('🌊');
    const bytes = Buffer.byteLength(body);
    expect(await nextReceipt()).toMatchObject({
      where: 'response',
      outcome: 'complete',
      chars: 12,
      bytes,
      finish: { reason: 'stop' },
    });
  });

  it.each(FORMATS)('tells a stream of strings in the format %s', async (format) => {
    const { url, nextReceipt } = await relay(door, () => of('one ', 'two'), { format });
    const body = await (await fetch(url)).text();
    expect(body).toContain('one ');
    if (format === 'text') expect(body).toBe('one two');
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', chars: 7 });
  });

  it('sends states before the first content with the head, in order', async () => {
    const { source, said } = spoken();
    const { port } = await relay(door, () => source);
    const reader = sendRaw(port, rawGet());
    const stream = await said;
    stream.next(status('queued'));
    await turn();
    stream.next({ type: 'heartbeat', comment: 'PROCESSING' });
    stream.next(usage);
    await turn();
    await turn();
    expect(reader.text()).toBe('');
    stream.next(text('one'));
    await reader.until('"one"');
    const body = dechunk(reader.text());
    expect(dataOf(body)).toMatchObject([{ type: 'status' }, { type: 'usage' }, { type: 'text' }]);
    expect(body.indexOf(': PROCESSING')).toBeGreaterThan(body.indexOf('queued'));
    expect(body.indexOf(': PROCESSING')).toBeLessThan(body.indexOf('usage'));
    expect(body).not.toContain('cost');
  });

  it.each([
    ['429', new HTTPError('secret', { status: 429, retryAfterMs: 1_500, body: 'secret' }), 429, 'ERR_HTTP'],
    ['a cut', new InterruptedError('secret'), 502, 'ERR_INTERRUPTED'],
    ['a timeout', new StreamTimeoutError('firstContent', 'secret'), 504, 'ERR_STREAM_TIMEOUT'],
    ['a bug', new TypeError('secret'), 500, 'ERR_INTERNAL'],
  ])('answers %s before the first content with a status, in every format', async (_, error, code, word) => {
    for (const format of FORMATS) {
      const source = concat(
        of(status('queued'), usage),
        throwError(() => error),
      );
      const { url, nextReceipt } = await relay(door, () => source, { format });
      const response = await fetch(url);
      expect(response.status).toBe(code);
      expect(response.headers.get('content-type')).toMatch(/^application\/json/);
      expect(response.headers.get('cache-control')).toBe('no-store');
      const body = await response.text();
      expect(JSON.parse(body)).toStrictEqual({ error: { code: word, message: expect.stringMatching(/^The /) } });
      expect(body).not.toContain('secret');
      expect(response.headers.get('retry-after')).toBe(code === 429 ? '2' : null);
      const bytes = Buffer.byteLength(body);
      expect(await nextReceipt()).toMatchObject({ error: { name: error.name, message: 'secret' }, chars: 0, bytes });
    }
  });

  it('says to clients of OpenAI whether asking again can help', async () => {
    for (const [code, hint] of [
      [401, 'false'],
      [503, 'true'],
    ] as const) {
      const source = throwError(() => new HTTPError('odd', { status: code }));
      const { url } = await relay(door, () => source, { format: 'openai' });
      const response = await fetch(url);
      expect([response.status, response.headers.get('x-should-retry')]).toStrictEqual([502, hint]);
    }
  });

  it('answers as errorResponse says', async () => {
    const seen: unknown[] = [];
    const odd = new HTTPError('odd', { status: 429, retryAfterMs: 1_000 });
    const { url } = await relay(door, () => throwError(() => odd), {
      errorResponse: (error) => {
        seen.push(error);
        return { status: 503, code: 'busy', message: 'Come back later', headers: { 'x-why': 'quota' } };
      },
    });
    const response = await fetch(url);
    expect(response.status).toBe(503);
    expect(response.headers.get('x-why')).toBe('quota');
    expect(response.headers.get('retry-after')).toBe('1');
    expect(await response.json()).toStrictEqual({ error: { code: 'busy', message: 'Come back later' } });
    expect(seen).toStrictEqual([odd]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['gives what is no status', () => ({ status: 200 })],
    ['gives what no header can hold', () => ({ headers: { a: 'b\r\nc: d' } })],
  ] as const)('tells the default, and warns, where errorResponse %s', async (_, errorResponse) => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const { url, nextReceipt } = await relay(door, () => throwError(() => new InterruptedError('cut')), {
      errorResponse,
    });
    expect((await fetch(url)).status).toBe(502);
    expect(await nextReceipt()).toMatchObject({ outcome: 'interrupted' });
    expect(warn).toHaveBeenCalledOnce();
    expect(warn.mock.calls[0]![0]).toMatch(/^errorResponse/);
  });

  it.each(['millrace', 'openai', 'ai-sdk'] as const)(
    'tells a failure after the head in the format %s, then ends',
    async (format) => {
      const source = concat(
        of(text('one '), text('two')),
        throwError(() => new HTTPError('secret', { status: 503 })),
      );
      const { url, nextReceipt } = await relay(door, () => source, { format });
      const response = await fetch(url);
      expect(response.status).toBe(200);
      const body = await response.text();
      expect(body).toContain('"two"');
      expect(body).toContain('The service failed');
      expect(body).not.toContain('secret');
      if (format === 'openai') expect(body).not.toContain('[DONE]');
      expect(await nextReceipt()).toMatchObject({ outcome: 'failed', error: { code: 'ERR_HTTP' }, chars: 7 });
    },
  );

  it('cuts text after the head, behind all that came', async () => {
    const piece = 'x'.repeat(50_000);
    const source = concat(
      of(text('one '), text(piece), text('end')),
      throwError(() => new InterruptedError('cut')),
    );
    const { port, nextReceipt } = await relay(door, () => source, { format: 'text' });
    const reader = sendRaw(port, rawGet());
    await reader.ended;
    expect(dechunk(reader.text())).toBe(`one ${piece}end`);
    expect(reader.text()).not.toMatch(/\r\n0\r\n\r\n$/);
    await expect(fetch(`http://127.0.0.1:${String(port)}`).then((response) => response.text())).rejects.toThrow();
    expect(await nextReceipt()).toMatchObject({ outcome: 'interrupted', chars: 50_007 });
  });

  it('asks errorResponse for its words after the head too', async () => {
    const source = concat(
      of(text('one')),
      throwError(() => new InterruptedError('cut')),
    );
    const { url } = await relay(door, () => source, { errorResponse: () => ({ code: 'gone', message: 'Gone.' }) });
    const body = await (await fetch(url)).text();
    expect(dataOf(body).at(-1)).toStrictEqual({ type: 'error', code: 'gone', message: 'Gone.', retryable: true });
  });

  it('tells a real upstream’s 429 and 401 as what they are to the reader', async () => {
    await using server = await startProviderServer();
    const api = openai({ apiKey: 'any', baseURL: server.baseURLs.openai });
    const { url, nextReceipt } = await relay(door, () => fromCall(api.chat({ model: 'm', messages: MESSAGES })), {
      format: 'openai',
    });
    for (const [status, told] of [
      [429, 429],
      [401, 502],
      [500, 502],
      [400, 400],
    ] as const) {
      server.next({ status, headers: { 'retry-after': '7' } });
      const response = await fetch(url);
      expect(response.status).toBe(told);
      expect(response.headers.get('retry-after')).toBe(status === 429 || status === 500 ? '7' : null);
      expect(await nextReceipt()).toMatchObject({ outcome: 'failed', billing: 'ended', error: { code: 'ERR_HTTP' } });
    }
  });

  it.each([
    ['reset', 'interrupted', 'ERR_INTERRUPTED'],
    ['fin', 'interrupted', 'ERR_INTERRUPTED'],
    ['end', 'interrupted', 'ERR_INTERRUPTED'],
    ['garbage', 'failed', 'ERR_PROTOCOL'],
    ['in-band-error', 'failed', 'ERR_PROVIDER'],
  ] as const)('tells an upstream’s %s in the middle, and what came before it', async (kind, outcome, code) => {
    await using server = await startProviderServer();
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    server.next({ pieces: ['one ', 'two ', 'three'], fault: { kind, at: { frame: 3 } } });
    const { url, nextReceipt } = await relay(door, () => fromCall(api.chat({ model: 'm', messages: MESSAGES })));
    const body = await (await fetch(url)).text();
    const data = dataOf(body);
    expect(data.at(-1)).toMatchObject({ type: 'error', code });
    expect(body).toContain('one ');
    expect(await nextReceipt()).toMatchObject({ outcome });
  });

  it('answers an upstream that fails before its first content with a status, however it fails', async () => {
    await using server = await startProviderServer();
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    const { url } = await relay(door, () => fromCall(api.chat({ model: 'm', messages: MESSAGES })));
    for (const at of ['before-headers', 'after-headers'] as const) {
      server.next({ fault: { kind: 'reset', at } });
      expect((await fetch(url)).status).toBe(502);
    }
    server.next({ fault: { kind: 'wrong-type' } });
    expect((await fetch(url)).status).toBe(502);
  });

  it('tells a timeout before the first content as 504', async () => {
    await using server = await startProviderServer();
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    server.next({ fault: { kind: 'stall', at: 'after-headers' } });
    const { url } = await relay(door, () =>
      fromCall(api.chat({ model: 'm', messages: MESSAGES })).pipe(timeout({ firstContentMs: 20 })),
    );
    expect((await fetch(url)).status).toBe(504);
    expect(await (await server.nextRequest()).ended).toBe('client');
  });

  it('carries thousands of tokens byte for byte, read back as the very same events', async () => {
    const pieces = Array.from({ length: 2_000 }, (_, at) => `${String(at)} é🌊"\\\n${at % 7 === 0 ? '\u2028' : ''}`);
    await using server = await startProviderServer({ script: () => ({ pieces, chunkBytes: 700 }) });
    const api = openai({ apiKey: 'any', baseURL: server.baseURLs.openai });
    const events: StreamEvent[] = [];
    const { url, nextReceipt } = await relay(
      door,
      () => fromCall(api.chat({ model: 'm', messages: MESSAGES })).pipe(tap((event) => events.push(event))),
      { events: { raw: true, cost: true } },
    );
    const back = await new Promise<StreamEvent[]>((resolve, reject) => {
      fromHTTP(url).pipe(parseSSE(), decode(millrace), toArray()).subscribe({ next: resolve, error: reject });
    });
    expect(back).toStrictEqual(events);
    expect(back.map((event) => (event.type === 'text' ? event.text : '')).join('')).toBe(pieces.join(''));
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', chars: pieces.join('').length });
  });

  it.each(FORMATS)('stops the upstream when its reader leaves, in the format %s', async (format) => {
    await using upstream = await startServer();
    const api = openai({ apiKey: 'any', baseURL: upstream.url });
    const { port, nextReceipt } = await relay(door, () => fromCall(api.chat({ model: 'm', messages: MESSAGES })), {
      format,
    });
    const reader = sendRaw(port, rawGet());
    const exchange = await upstream.accept();
    await exchange.write('data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n');
    await reader.until('one');
    reader.socket.destroy();
    expect(await exchange.ended).toBe('client');
    await exchange.closed;
    expect(await nextReceipt()).toMatchObject({ outcome: 'stopped', by: 'reader', chars: 3, billing: 'ended' });
  });

  it.each(['before the upstream’s head', 'after the upstream’s head', 'behind a reset'])(
    'stops the upstream when its reader leaves before the first content: %s',
    async (stage) => {
      await using upstream = await startServer();
      const api = openai({ apiKey: 'any', baseURL: upstream.url });
      const { port, nextReceipt } = await relay(door, () => fromCall(api.chat({ model: 'm', messages: MESSAGES })));
      const reader = sendRaw(port, rawGet());
      const exchange = await upstream.accept();
      if (stage === 'after the upstream’s head') await exchange.write(': hello\n\n');
      if (stage === 'behind a reset') reader.socket.resetAndDestroy();
      else reader.socket.destroy();
      expect(await exchange.ended).toBe('client');
      await exchange.closed;
      expect(await nextReceipt()).toMatchObject({ outcome: 'stopped', by: 'reader', chars: 0, bytes: 0 });
    },
  );

  it('pauses the upstream’s socket while its reader does not read, and loses nothing', async () => {
    await using upstream = await startServer();
    const frame = `data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(65_000)}"}}]}\n\n`;
    const total = 600; // 39 MB, several times what the sockets of both sides hold
    const api = openai({ apiKey: 'any', baseURL: upstream.url });
    let delivered = 0;
    const { port, nextReceipt } = await relay(
      door,
      () => fromCall(api.chat({ model: 'm', messages: MESSAGES })).pipe(tap(() => (delivered += 1))),
      { format: 'text' },
    );
    const reader = connect(port, '127.0.0.1');
    onTestFinished(() => {
      reader.destroy();
    });
    reader.write(rawGet('/', ['connection: close']));
    const exchange = await upstream.accept();
    let isWritten = false;
    const written = (async () => {
      for (let at = 0; at < total; at += 1) await exchange.write(frame);
      await exchange.end('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
      isWritten = true;
    })();
    // It is not read at all, until nothing has moved for many turns.
    for (let before = -1, still = 0; still < 500 || delivered === 0; before = delivered) {
      await turn();
      still = delivered === before ? still + 1 : 0;
    }
    expect(delivered).toBeLessThan(total / 2);
    expect(isWritten).toBe(false);
    let bytes = 0;
    reader.on('data', (chunk: Uint8Array) => (bytes += chunk.length));
    await once(reader, 'close');
    await written;
    expect(bytes).toBeGreaterThan(total * 65_000);
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', bytes: total * 65_000 });
  });

  it('that is full and is left lets its source go', async () => {
    const stream = pausable(Array.from({ length: 2_000 }, () => 'x'.repeat(65_536)));
    const { port, nextReceipt } = await relay(door, () => stream.source, { format: 'text' });
    const reader = sendRaw(port, rawGet());
    await reader.until('xxx');
    reader.socket.pause();
    while (!stream.flow.paused) await turn();
    expect(stream.given).toBeLessThan(1_000);
    reader.socket.destroy();
    expect(await nextReceipt()).toMatchObject({ outcome: 'stopped', by: 'reader' });
    expect(stream.flow.state).toBe('left');
  });

  it('writes what one chunk of the upstream brings in one piece', async () => {
    await using upstream = await startServer();
    const api = openai({ apiKey: 'any', baseURL: upstream.url });
    const { port } = await relay(door, () => fromCall(api.chat({ model: 'm', messages: MESSAGES })));
    const reader = sendRaw(port, rawGet());
    const exchange = await upstream.accept();
    const frame = (piece: string): string => `data: {"choices":[{"index":0,"delta":{"content":"${piece}"}}]}\n\n`;
    await exchange.write(Array.from({ length: 50 }, (_, at) => frame(`a${String(at)}`)).join(''));
    await reader.until('"a49"');
    // Each piece of the body has a size of its own in front of it.
    const chunks = reader.text().match(/\r\n[\da-f]+\r\n/g);
    expect(chunks).toHaveLength(1);
    await exchange.write(Array.from({ length: 50 }, (_, at) => frame(`b${String(at)}`)).join(''));
    await reader.until('"b49"');
    expect(reader.text().match(/\r\n[\da-f]+\r\n/g)).toHaveLength(2);
  });

  it('passes each token on before the next one comes', async () => {
    const { source, said } = spoken();
    const { port } = await relay(door, () => source, { format: 'text' });
    const reader = sendRaw(port, rawGet());
    const stream = await said;
    for (let at = 0; at < 20; at += 1) {
      stream.next(text(`<${String(at)}>`));
      await reader.until(`<${String(at)}>`);
    }
    stream.complete();
    await reader.until('\r\n0\r\n\r\n');
    expect(dechunk(reader.text())).toMatch(/^<0><1>.*<19>$/);
  });

  it('sends neither raw frames nor log lines nor cost unless they are asked for', async () => {
    const raw: StreamEvent = { type: 'raw', frame: 'secret' };
    const log: StreamEvent = { type: 'log', message: 'secret' };
    const source = of(raw, log, text('one'), usage, finish);
    const { url } = await relay(door, () => source);
    const body = await (await fetch(url)).text();
    expect(body).not.toContain('secret');
    expect(body).not.toContain('"cost"');
    const asked = await relay(door, () => source, { events: { raw: true, log: true, cost: true } });
    const whole = await (await fetch(asked.url)).text();
    expect(dataOf(whole).slice(0, -1)).toStrictEqual([raw, log, text('one'), usage, finish]);
  });

  it.each([
    ['openai', {}],
    ['text', {}],
    ['ai-sdk', { aiSDKVersion: 6 }],
  ] as const)('ends with a failure at a restart that the format %s cannot tell', async (format, options) => {
    const { source, said, left } = spoken();
    const { port, nextReceipt } = await relay(door, () => source, { format, ...options });
    const reader = sendRaw(port, rawGet());
    const stream = await said;
    stream.next(text('one'));
    await reader.until('one');
    stream.next(restart);
    expect(left()).toBe(true);
    expect(await nextReceipt()).toMatchObject({ outcome: 'failed', error: { code: 'ERR_SINK' }, restarts: 1 });
    if (format === 'text') await reader.ended;
    else await reader.until('The answer was interrupted');
    if (format === 'text') expect(reader.text()).not.toContain('\r\n0\r\n');
    else await reader.until('\r\n0\r\n\r\n');
  });

  it.each([
    ['millrace', {}, '"type":"restart"'],
    ['ai-sdk', { aiSDKVersion: 7 }, 'reset-step'],
  ] as const)('tells a restart in the format %s', async (format, options, sign) => {
    const source = of(text('one'), restart, text('other'), finish).pipe(delay(0));
    const { url, nextReceipt } = await relay(door, () => source, { format, ...options });
    const body = await (await fetch(url)).text();
    expect(body).toContain(sign);
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', chars: 5, restarts: 1 });
  });

  it.each(FORMATS)('keeps a restart before anything was sent to itself, in the format %s', async (format) => {
    const source = of(status('queued'), restart, status('running'), text('one'), finish);
    const { url, nextReceipt } = await relay(door, () => source, { format });
    const body = await (await fetch(url)).text();
    expect(body).toContain('one');
    expect(body).not.toMatch(/"restart"|queued/);
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', chars: 3 });
  });

  it('tells an answer that an operator completed early as a failure', async () => {
    const [source, stop] = [new Subject<StreamEvent>(), new Subject<void>()];
    const { port, nextReceipt } = await relay(door, () => fromCall(fakeCall(source)).pipe(takeUntil(stop)));
    const reader = sendRaw(port, rawGet());
    while (!source.observed) await turn();
    source.next(text('half'));
    await reader.until('half');
    stop.next();
    await reader.until('ERR_INTERRUPTED');
    await reader.until('\r\n0\r\n\r\n');
    expect(await nextReceipt()).toMatchObject({ outcome: 'interrupted' });
  });

  it.each(FORMATS)('tells an answer that was stopped on purpose, in the format %s', async (format) => {
    const [source, stop] = [new Subject<StreamEvent>(), new Subject<string>()];
    const { port, nextReceipt } = await relay(door, () => fromCall(fakeCall(source)).pipe(stopOn(stop)), { format });
    const reader = sendRaw(port, rawGet());
    while (!source.observed) await turn();
    source.next(text('half'));
    await reader.until('half');
    stop.next('now');
    expect(await nextReceipt()).toMatchObject({ outcome: 'stopped', by: 'notifier' });
    if (format === 'text') {
      await reader.ended;
      expect(reader.text()).not.toContain('\r\n0\r\n\r\n');
    } else await reader.until('\r\n0\r\n\r\n');
    if (format === 'openai') expect(reader.text()).not.toContain('[DONE]');
  });

  it('answers 503 to a stop before the first content', async () => {
    const [source, stop] = [new Subject<StreamEvent>(), new Subject<string>()];
    const { url, nextReceipt } = await relay(door, () => fromCall(fakeCall(source)).pipe(stopOn(stop)));
    const response = fetch(url);
    while (!source.observed) await turn();
    stop.next('now');
    expect((await response).status).toBe(503);
    expect(await nextReceipt()).toMatchObject({ outcome: 'stopped', by: 'notifier' });
  });

  it('takes part in a shutdown: what is late is a 503, what runs is told that it was stopped', async () => {
    onTestFinished(() => {
      reopen();
    });
    const source = new Subject<StreamEvent>();
    const { url, port, nextReceipt } = await relay(door, () => fromCall(fakeCall(source)));
    const reader = sendRaw(port, rawGet());
    while (!source.observed) await turn();
    source.next(text('half'));
    await reader.until('half');
    const report = shutdown({ graceMs: 60_000 });
    expect((await fetch(url)).status).toBe(503);
    void shutdown({ graceMs: 0 });
    await reader.until('\r\n0\r\n\r\n');
    expect(dataOf(dechunk(reader.text())).at(-1)).toMatchObject({ type: 'end', outcome: 'stopped' });
    const { receipts } = await report;
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'shutdown' }]);
    expect([await nextReceipt(), await nextReceipt()].map(({ by }) => by)).toStrictEqual(['shutdown', 'shutdown']);
  });

  it('answers 405 to HEAD, and asks nothing', async () => {
    let asked = 0;
    const { url, nextReceipt } = await relay(door, () => new Observable(() => void (asked += 1)));
    const response = await fetch(url, { method: 'HEAD' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, POST');
    expect(await nextReceipt()).toMatchObject({ outcome: 'stopped', by: 'reader', attempts: 0 });
    expect(asked).toBe(0);
  });

  it('sends the head of an answer that is empty', async () => {
    const { url, nextReceipt } = await relay(door, () => of(finish));
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(dataOf(await response.text())).toMatchObject([finish, { type: 'end', outcome: 'complete' }]);
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', chars: 0 });
  });

  it('numbers its events where nothing can come back, and tells a receipt at the end', async () => {
    const { url } = await relay(door, () => of(text('one'), finish));
    const body = await (await fetch(url, { method: 'POST' })).text();
    expect(messagesOf(body).map(({ id }) => id)).toStrictEqual(['1', '2', '3']);
    const bytes = Buffer.byteLength(body.slice(0, body.indexOf('id: 3')));
    expect(dataOf(body).at(-1)).toMatchObject({ receipt: { where: 'response', chars: 3, bytes } });
  });

  it('tells a reader that comes back only what it has not, however the replay is cut', async () => {
    let asked = 0;
    const replays = [
      [status('queued'), text('one '), text('two '), usage, text('three'), finish],
      [status('running'), text('one two th'), text('ree'), finish],
    ];
    const { url, nextReceipt } = await relay(door, () => from(replays[Math.min(asked++, 1)]!));
    const first = messagesOf(await (await fetch(url)).text());
    expect(first.map(({ id }) => Number.parseInt(id ?? '', 10))).toStrictEqual([1, 2, 3, 4, 5, 6, 7]);
    const back = async (id: string): Promise<unknown[]> =>
      dataOf(await (await fetch(url, { headers: { 'last-event-id': id } })).text()).slice(0, -1);
    expect(await back(first[1]!.id!)).toStrictEqual([text('two th'), text('ree'), finish]);
    expect(await back(first[3]!.id!)).toStrictEqual([text('th'), text('ree'), finish]);
    expect(await back(first[5]!.id!)).toStrictEqual([]);
    await nextReceipt();
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', chars: 9 });
  });

  it('answers 204 to the last id of an answer that has ended, and asks nothing', async () => {
    let asked = 0;
    const { url, nextReceipt } = await relay(door, () => {
      asked += 1;
      return of(text('one'), finish).pipe(tap(() => (asked += 1)));
    });
    const last = messagesOf(await (await fetch(url)).text()).at(-1)!;
    expect(last.id).toBe('3-end');
    expect(asked).toBe(3);
    const response = await fetch(url, { headers: { 'last-event-id': last.id! } });
    expect([response.status, await response.text()]).toStrictEqual([204, '']);
    expect(asked).toBe(4); // the stream was made, and not subscribed to
    await nextReceipt();
    expect(await nextReceipt()).toMatchObject({ outcome: 'complete', skipped: true, attempts: 0, chars: 0, bytes: 0 });
  });

  it('lets a reader come back to an answer that was cut, and not to one that failed for good', async () => {
    for (const [error, isFinal] of [
      [new InterruptedError('cut'), false],
      [new HTTPError('no', { status: 401 }), true],
    ] as const) {
      const { url } = await relay(door, () =>
        concat(
          of(text('one')),
          throwError(() => error),
        ),
      );
      const [one, failure] = messagesOf(await (await fetch(url)).text());
      expect(failure).toMatchObject({
        id: isFinal ? '2-end' : undefined,
        data: { type: 'error', retryable: !isFinal },
      });
      const again = await fetch(url, { headers: { 'last-event-id': failure!.id ?? one!.id! } });
      // The second time the upstream fails before it has anything new: that is a status, at which EventSource gives up.
      expect(again.status).toBe(isFinal ? 204 : 502);
    }
  });

  it('tells a reader that comes back to another answer to begin anew', async () => {
    let asked = 0;
    const { url } = await relay(door, () => of(text(asked++ === 0 ? 'one' : 'another'), finish));
    const [one] = messagesOf(await (await fetch(url)).text());
    const body = await (await fetch(url, { headers: { 'last-event-id': one!.id! } })).text();
    expect(dataOf(body).slice(0, -1)).toStrictEqual([
      expect.objectContaining({ type: 'restart', discard: { chars: 3 } }),
      text('another'),
      finish,
    ]);
  });

  it('heeds the id that the program gives, whatever the method', async () => {
    const { url } = await relay(door, () => of(text('one two'), finish), { lastEventId: '1-4-3-0-1ii83bc' });
    const body = await (await fetch(url, { method: 'POST' })).text();
    expect(messagesOf(body)[0]).toMatchObject({ id: expect.stringMatching(/^2-/) });
    const ended = await relay(door, () => NEVER, { lastEventId: '7-end' });
    expect((await fetch(ended.url)).status).toBe(204);
  });

  it('heeds no id in other formats', async () => {
    const { url } = await relay(door, () => of(text('one'), finish), { format: 'openai' });
    const response = await fetch(url, { headers: { 'last-event-id': '3-end' } });
    expect([response.status, (await response.text()).includes('one')]).toStrictEqual([200, true]);
  });

  it('reads tokens of a pipe, and tells what it lost where text began anew', async () => {
    const { url, nextReceipt } = await relay(door, () => of(text('one'), restart).pipe(toTokens()), {
      format: 'openai',
    });
    await (await fetch(url)).text();
    expect(await nextReceipt()).toMatchObject({ outcome: 'failed' });
  });
});
