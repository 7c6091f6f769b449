import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { brotliCompressSync, constants, createGzip, deflateSync, gzipSync } from 'node:zlib';
import { lastValueFrom, type Observable, of, reduce, Subject } from 'rxjs';
import { Agent } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isRetryable, LimitError, type MillraceError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { openai } from '../../src/providers/openai.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { StreamEvent } from '../../src/types.js';
import { chatDialect } from '../../src/providers/chatDialect.js';

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

const text = (content: string): StreamEvent => ({ type: 'text', text: content, index: 0, name: 'output' });
const frame = (content: string): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;

async function failure(source: Observable<unknown> | Promise<unknown>): Promise<LimitError> {
  const end: unknown = await (source instanceof Promise ? source : lastValueFrom(source)).catch(
    (error: unknown) => error,
  );
  expect(end).toBeInstanceOf(LimitError);
  expect(isRetryable(end)).toBe(false);
  return end as LimitError;
}

const count = reduce((bytes: number, chunk: Uint8Array) => bytes + chunk.length, 0);

describe('a line or an event that is too long', () => {
  const api = (url: string): ReturnType<typeof openai> => openai({ apiKey: 'key-of-the-tests', baseURL: url });
  const messages = [{ role: 'user', content: 'Where?' }] as const;
  const endless = 'x'.repeat(3_000);

  it.each<[string, string, string, (url: string) => Observable<unknown>]>([
    [
      'of server-sent events',
      'maxLineBytes',
      `data: ${endless}`,
      (url) => fromHTTP(url).pipe(parseSSE({ maxLineBytes: 2_000 })),
    ],
    [
      'of server-sent events, in several lines',
      'maxEventBytes',
      `data: ${'x'.repeat(900)}\n`.repeat(3),
      (url) => fromHTTP(url).pipe(parseSSE({ maxEventBytes: 2_000 })),
    ],
    ['of a comment', 'maxLineBytes', `: ${endless}`, (url) => fromHTTP(url).pipe(parseSSE({ maxLineBytes: 2_000 }))],
    ['of JSON lines', 'maxLineBytes', endless, (url) => fromHTTP(url).pipe(parseNDJSON({ maxLineBytes: 2_000 }))],
    [
      'under decode',
      'maxLineBytes',
      `data: ${endless}`,
      (url) => fromHTTP(url).pipe(parseSSE({ maxLineBytes: 2_000 }), decode(chatDialect())),
    ],
    [
      'of a call',
      'maxLineBytes',
      `data: ${endless}`,
      (url) => fromCall(api(url).chat({ model: 'm', messages }), { maxLineBytes: 2_000 }),
    ],
    [
      'of a call, in several lines',
      'maxEventBytes',
      `data: ${'x'.repeat(900)}\n`.repeat(3),
      (url) => fromCall(api(url).chat({ model: 'm', messages }), { maxEventBytes: 2_000 }),
    ],
  ])('%s is a LimitError of %s, and the connection is closed', async (name, limit, excess, read) => {
    const server = await serve();
    const failed = failure(read(server.url));
    const exchange = await server.accept();
    if (name !== 'of JSON lines') await exchange.write(frame('the text before'));
    await exchange.write(excess);
    const error = await failed;
    expect(error).toMatchObject({ code: 'ERR_LIMIT', limit, max: 2_000 });
    expect(error.message).toContain(limit);
    await exchange.closed;
    if (name.startsWith('of a call') || name === 'under decode') {
      expect(error.received).toStrictEqual({ text: 'the text before', chars: 15, truncated: false });
    }
  });
});

describe('headers that are too large', () => {
  /** Answers with headers of this many bytes and more. */
  async function serveHeaders(bytes: number): Promise<{ url: string; closed: Promise<unknown> }> {
    const sockets: Socket[] = [];
    let tell: (value: unknown) => void = () => undefined;
    const closed = new Promise((resolve) => (tell = resolve));
    const server: Server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined).once('close', tell);
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Long: ${'x'.repeat(bytes)}\r\n\r\n`);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return { url: `http://127.0.0.1:${String((server.address() as { port: number }).port)}`, closed };
  }

  it('are a LimitError that names the option, and the connection is closed', async () => {
    const { url, closed } = await serveHeaders(20_000);
    const error = await failure(fromHTTP(url));
    expect(error).toMatchObject({ limit: 'maxHeaderBytes', max: 16_384 });
    expect(error.message).toContain('maxHeaderBytes');
    await closed;
  });

  it('are those over the option', async () => {
    const { url } = await serveHeaders(2_000);
    expect(await failure(fromHTTP(url, { maxHeaderBytes: 1_000 }))).toMatchObject({ max: 1_000 });
    const large = await serveHeaders(40_000);
    const abort = new AbortController();
    await new Promise<void>((resolve) => {
      fromHTTP(large.url, {
        maxHeaderBytes: 65_536,
        signal: abort.signal,
        onResponse: ({ headers }) => {
          expect(headers['x-long']).toHaveLength(40_000);
          resolve();
        },
      }).subscribe({ error: () => undefined });
    });
    abort.abort();
  });

  it('are the dispatcher’s affair where the caller gives one', async () => {
    const agent = new Agent({ maxHeaderSize: 1_000 });
    onTestFinished(() => agent.close());
    const { url } = await serveHeaders(2_000);
    const error = await failure(fromHTTP(url, { dispatcher: agent }));
    expect(error).toMatchObject({ limit: 'maxHeaderBytes', max: Number.NaN });
    expect(error.message).toContain('maxHeaderSize');
  });

  it.each([0, -1, 1.5, Number.NaN, Infinity])('may not be limited to %d', (maxHeaderBytes) => {
    expect(() => fromHTTP('http://127.0.0.1/', { maxHeaderBytes })).toThrow(RangeError);
  });
});

describe('the body of a refusal', () => {
  it('is read up to its limit; its error is the refusal’s, and the connection is closed', async () => {
    const server = await serve();
    const failed = lastValueFrom(fromHTTP(server.url, { maxErrorBodyBytes: 100 })).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond({ status: 500, headers: { 'content-type': 'text/plain' } });
    await exchange.write('x'.repeat(1_000));
    const error = (await failed) as MillraceError & { readonly body: string };
    expect(error).toMatchObject({ name: 'HTTPError', status: 500 });
    expect(error.body).toHaveLength(100);
    await exchange.closed;
  });

  it('may be a bomb, of which no more is read', async () => {
    const server = await serve();
    const failed = lastValueFrom(fromHTTP(server.url)).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond({ status: 500, headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip' } });
    await exchange.write(gzipSync(Buffer.alloc(20_000_000, 'x')));
    expect(await failed).toMatchObject({ name: 'HTTPError', body: 'x'.repeat(65_536) });
    await exchange.closed;
  });
});

describe('redirects', () => {
  it.each([
    [undefined, 5],
    [0, 0],
    [2, 2],
  ])('with maxRedirects: %j, one more than %d is a LimitError', async (maxRedirects, max) => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url, { maxRedirects }));
    for (let i = 0; i <= max; i += 1) {
      const exchange = await server.accept();
      exchange.respond({ status: 302, headers: { location: `/${String(i)}` } });
      await exchange.end();
    }
    expect(await failed).toMatchObject({ limit: 'maxRedirects', max, context: { status: 302 } });
    expect(server.exchanges).toHaveLength(max + 1);
  });
});

describe('a compressed body', () => {
  const MIB = 1024 * 1024;

  function decoded(bytes: Uint8Array, coding: string, options: object = {}): Promise<unknown> {
    return serve().then(async (server) => {
      const read = lastValueFrom(fromHTTP(server.url, options).pipe(count)).catch((error: unknown) => error);
      const exchange = await server.accept();
      exchange.respond({ headers: { 'content-type': 'text/event-stream', 'content-encoding': coding } });
      void exchange.end(bytes);
      return read;
    });
  }
  const zeros = Buffer.alloc(20_000_000, '\n');

  it.each([
    ['gzip', gzipSync(zeros)],
    ['deflate', deflateSync(zeros)],
    ['br', brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } })],
    ['gzip, gzip', gzipSync(gzipSync(zeros))],
  ])('that swells beyond measure is a LimitError: %s', async (coding, bytes) => {
    const error = (await decoded(bytes, coding)) as LimitError;
    expect(error).toBeInstanceOf(LimitError);
    expect(error).toMatchObject({ limit: 'maxDecompressionRatio', max: 500 });
    expect(error.message).toContain('maxDecompressionRatio');
    // It was stopped long before its end.
    expect(error.context['bytesOut']).toBeLessThan(12_000_000);
  });

  it('may swell where the option says so', async () => {
    expect(await decoded(gzipSync(zeros), 'gzip', { maxDecompressionRatio: Infinity })).toBe(20_000_000);
    expect(await decoded(gzipSync(zeros), 'gzip', { maxDecompressionRatio: 1_100 })).toBe(20_000_000);
  });

  it('of a small size may be as dense as it likes', async () => {
    expect(await decoded(gzipSync(zeros.subarray(0, 4 * MIB)), 'gzip', { maxDecompressionRatio: 1 })).toBe(4 * MIB);
    expect(
      await decoded(gzipSync(zeros.subarray(0, 4 * MIB + 1)), 'gzip', { maxDecompressionRatio: 1 }),
    ).toBeInstanceOf(LimitError);
  });

  it('of frames that differ by a word alone passes by default, compressed as a whole or event by event', async () => {
    const words = Array.from({ length: 30_000 }, (_, i) => frame(`word${String((i * 7_919) % 1_000)} `));
    const size = words.join('').length;
    expect(size).toBeGreaterThan(1.5 * MIB);
    const all = words.concat(words, words);
    expect(await decoded(gzipSync(all.join('')), 'gzip')).toBe(3 * size);
    const gzip = createGzip();
    const pieces: Buffer[] = [];
    gzip.on('data', (piece: Buffer) => pieces.push(piece));
    for (const word of words) {
      gzip.write(word);
      await new Promise<void>((resolve) => {
        gzip.flush(constants.Z_SYNC_FLUSH, resolve);
      });
    }
    gzip.end();
    await once(gzip, 'end');
    expect(await decoded(Buffer.concat(pieces), 'gzip')).toBe(size);
  });

  it('that swells under a call keeps the text that came before', async () => {
    const server = await serve();
    const api = openai({ apiKey: 'key-of-the-tests', baseURL: server.url });
    const failed = failure(fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Where?' }] })));
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' } });
    void exchange.write(gzipSync(Buffer.concat([Buffer.from(frame('before')), zeros])));
    expect(await failed).toMatchObject({
      limit: 'maxDecompressionRatio',
      received: { text: 'before', chars: 6, truncated: false },
    });
    await exchange.closed;
  });

  it.each([0, 0.5, -1, Number.NaN])('may not be limited to %d', (maxDecompressionRatio) => {
    expect(() => fromHTTP('http://127.0.0.1/', { maxDecompressionRatio })).toThrow(RangeError);
  });
});

describe('accumulated text', () => {
  const long = [text('12345'), text('67890'), text('x')];

  it('has no limit unless one is given', async () => {
    const { outputs } = await lastValueFrom(of(text('x'.repeat(5_000_000))).pipe(accumulate()));
    expect(outputs[0]?.content).toHaveLength(5_000_000);
    expect((await collect(of(text('x'.repeat(5_000_000))))).text).toHaveLength(5_000_000);
  });

  it('over its limit is a LimitError: the messages before were given, the source is left, the text is kept', async () => {
    const source = new Subject<StreamEvent>();
    const given: unknown[] = [];
    const failed = new Promise<unknown>((error) => {
      source.pipe(accumulate({ maxChars: 10 })).subscribe({ next: (message) => given.push(message), error });
    });
    for (const event of long) source.next(event);
    expect(await failed).toMatchObject({
      limit: 'maxChars',
      max: 10,
      received: { text: '1234567890', chars: 10, truncated: false },
    });
    expect(given).toHaveLength(2);
    expect(source.observed).toBe(false);
  });

  it('counts thinking, refusals and tool calls, each once', async () => {
    const call = { index: 0, id: 'c', name: 'look' } as const;
    const events: StreamEvent[] = [
      { type: 'thinking', text: '123', index: 0, name: 'output' },
      { type: 'tool-call-delta', ...call, argumentsDelta: '{"a"' },
      { type: 'tool-call-delta', ...call, argumentsDelta: ':1}' },
      { type: 'tool-call', ...call, arguments: { a: 1 }, argumentsText: '{"a":1}' },
      { type: 'refusal', text: '45', index: 0, name: 'output' },
    ];
    for (const take of [
      (maxChars: number): Promise<unknown> => lastValueFrom(of(...events).pipe(accumulate({ maxChars }))),
      (maxChars: number): Promise<unknown> => collect(of(...events), { maxChars }),
    ]) {
      await take(12);
      expect(await failure(take(11))).toMatchObject({ limit: 'maxChars', max: 11 });
    }
  });

  it('is counted anew after a restart', async () => {
    const restart: StreamEvent = { type: 'restart', attempt: 1, because: 'the test', discard: { chars: 5 } };
    const events = of(text('12345'), restart, text('67890'));
    await lastValueFrom(events.pipe(accumulate({ maxChars: 5 })));
    expect((await collect(events, { maxChars: 5 })).text).toBe('67890');
  });

  it('over its limit rejects collect, with what came and a receipt, and leaves the call', async () => {
    const source = new Subject<StreamEvent>();
    const failed = failure(collect(fakeCall(source), { maxChars: 10 }));
    for (const event of long) source.next(event);
    const error = await failed;
    expect(error).toMatchObject({ limit: 'maxChars', max: 10, received: { text: '1234567890' } });
    expect(error.receipt).toMatchObject({ outcome: 'failed', chars: 10 });
    expect(source.observed).toBe(false);
  });

  it.each([0, -1, Number.NaN])('may not be limited to %d', (maxChars) => {
    expect(() => accumulate({ maxChars })).toThrow(RangeError);
    expect(() => collect(of(), { maxChars })).toThrow(RangeError);
  });
});
