import { createServer as createTCPServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import type { Observable } from 'rxjs';
import { firstValueFrom, lastValueFrom, map, reduce, Subscription, toArray } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import { HTTPError, InterruptedError, isRetryable, ProtocolError, StreamTimeoutError } from '../../src/errors.js';
import { fromHTTP, type FromHTTPOptions } from '../../src/sources/fromHTTP.js';
import type { Exchange } from '../../src/testing/exchange.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';

const open: TestServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(): Promise<TestServer> {
  const server = await startServer();
  open.push(server);
  return server;
}

/** The text of a whole body. */
function read(url: string, options?: FromHTTPOptions): Promise<string> {
  const bytes = fromHTTP(url, options).pipe(reduce((all, chunk) => Buffer.concat([all, chunk]), Buffer.alloc(0)));
  return lastValueFrom(bytes.pipe(map((all) => all.toString())));
}

/** What a stream gave before it ended, and how it ended. */
function watch<T>(source: Observable<T>): { values: T[]; ended: Promise<unknown>; subscription: Subscription } {
  const values: T[] = [];
  let subscription = new Subscription();
  const ended: Promise<unknown> = new Promise((resolve) => {
    subscription = source.subscribe({
      next: (value) => values.push(value),
      error: resolve,
      complete: () => {
        resolve('complete');
      },
    });
  });
  return { values, ended, subscription };
}

async function failure(source: Observable<unknown>): Promise<Error> {
  const end = await watch(source).ended;
  if (!(end instanceof Error)) throw new Error('expected an error, got a completion');
  return end;
}

describe('a request', () => {
  it('is made once a subscription, and never before', async () => {
    const server = await serve();
    const source = fromHTTP(`${server.url}/a?b=c`, {
      method: 'POST',
      headers: { 'X-Custom': 'yes' },
      body: '{"n":1}',
    });
    expect(server.exchanges).toHaveLength(0);
    const [one, two] = [watch(source), watch(source)];
    for (const exchange of [await server.accept(), await server.accept()]) {
      expect(exchange.request).toMatchObject({ method: 'POST', path: '/a', body: { n: 1 } });
      expect(exchange.request.query.get('b')).toBe('c');
      expect(exchange.request.headers).toMatchObject({
        'x-custom': 'yes',
        accept: 'text/event-stream, application/x-ndjson',
      });
      await exchange.end('x');
    }
    expect(await one.ended).toBe('complete');
    expect(await two.ended).toBe('complete');
    expect(server.exchanges).toHaveLength(2);
  });

  it.each([
    ['url is not an absolute URL', (): unknown => fromHTTP('nonsense')],
    ['url must be http or https', (): unknown => fromHTTP('file:///etc/passwd')],
    ['must not hold credentials', (): unknown => fromHTTP('http://user:secret@127.0.0.1/')],
    ['header authorization', (): unknown => fromHTTP('http://127.0.0.1/', { headers: { authorization: 'a\r\nb: c' } })],
    ['Not a header name', (): unknown => fromHTTP('http://127.0.0.1/', { headers: { 'a b': 'c' } })],
    ['body must be', (): unknown => fromHTTP('http://127.0.0.1/', { body: {} as string })],
    ['redirect must be one of', (): unknown => fromHTTP('http://127.0.0.1/', { redirect: 'maybe' as 'follow' })],
  ])('is refused at the call: %s', (message, make) => {
    expect(make).toThrow(TypeError);
    expect(make).toThrow(message);
    expect(make).not.toThrow('secret');
  });

  it('refuses limits below their range', () => {
    expect(() => fromHTTP('http://127.0.0.1/', { bodyTimeoutMs: -1 })).toThrow(RangeError);
    expect(() => fromHTTP('http://127.0.0.1/', { connectTimeoutMs: Number.NaN })).toThrow('connectTimeoutMs');
  });
});

describe('unsubscribing', () => {
  it('before the connection exists sends nothing', async () => {
    const accepted: string[] = [];
    const server = createTCPServer((socket) => {
      socket.on('data', (data) => accepted.push(data.toString()));
      socket.on('error', () => undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const { values, subscription } = watch(fromHTTP(`http://127.0.0.1:${String(port)}/`));
    subscription.unsubscribe();
    const [socket] = (await once(server, 'connection')) as [Socket];
    if (!socket.closed) await once(socket, 'close');
    expect(accepted).toEqual([]);
    expect(values).toEqual([]);
    server.close();
  });

  it('before the headers closes the connection', async () => {
    const server = await serve();
    const { subscription, values } = watch(fromHTTP(server.url));
    const exchange = await server.accept();
    subscription.unsubscribe();
    expect(await exchange.ended).toBe('client');
    await exchange.closed;
    expect(values).toEqual([]);
  });

  it('inside the body closes the connection', async () => {
    const server = await serve();
    const first = firstValueFrom(fromHTTP(server.url));
    const exchange = await server.accept();
    await exchange.write('data: hi\n\n');
    expect(Buffer.from(await first).toString()).toBe('data: hi\n\n');
    expect(await exchange.ended).toBe('client');
    await exchange.closed;
  });

  it('inside a compressed body closes the connection and emits nothing more', async () => {
    const server = await serve();
    const { values, subscription } = watch(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' } });
    await exchange.write(gzipSync('data: hi\n\n'));
    subscription.unsubscribe();
    expect(await exchange.ended).toBe('client');
    expect(values).toEqual([]);
  });

  it('from inside the first chunk gets nothing after it', async () => {
    const server = await serve();
    let count = 0;
    const gone: Promise<void> = new Promise((resolve) => {
      const subscription = fromHTTP(server.url).subscribe(() => {
        count += 1;
        subscription.unsubscribe();
        resolve();
      });
    });
    const exchange = await server.accept();
    await exchange.write('a');
    await gone;
    await exchange.closed;
    expect(count).toBe(1);
  });

  it('does the same through the caller’s own fetch', async () => {
    const server = await serve();
    const first = firstValueFrom(fromHTTP(server.url, { fetch: (url, init) => fetch(url, init) }));
    const exchange = await server.accept();
    await exchange.write('x');
    expect(Buffer.from(await first).toString()).toBe('x');
    expect(await exchange.ended).toBe('client');
  });
});

describe('a signal', () => {
  it('stops the request and errors with an AbortError', async () => {
    const server = await serve();
    const controller = new AbortController();
    const { ended, values } = watch(fromHTTP(server.url, { signal: controller.signal }));
    const exchange = await server.accept();
    await exchange.write('x');
    controller.abort(new Error('enough'));
    const error = (await ended) as Error;
    expect(error.name).toBe('AbortError');
    expect(error.cause).toEqual(new Error('enough'));
    expect(await exchange.ended).toBe('client');
    expect(values.length).toBeLessThanOrEqual(1);
  });

  it('that was aborted before lets nothing be sent', async () => {
    const server = await serve();
    expect((await failure(fromHTTP(server.url, { signal: AbortSignal.abort() }))).name).toBe('AbortError');
    expect(server.exchanges).toHaveLength(0);
  });
});

describe('an answer that is not a stream', () => {
  it.each([
    [404, { error: { message: 'no such model', code: 'model_not_found' } }, 'no such model', 'model_not_found'],
    [
      401,
      { error: 'unauthorized', error_message: 'Invalid or expired bearer token' },
      'Invalid or expired',
      'unauthorized',
    ],
    [422, { detail: [{ loc: ['body'], msg: 'field required', type: 'missing' }] }, 'field required', undefined],
    [403, { Message: null }, '', undefined],
    [
      400,
      { type: 'https://api.inference.sh/errors/invalid_request', title: 'Bad', detail: 'no app' },
      'no app',
      'invalid_request',
    ],
  ])('with status %i is an HTTPError with what the API says', async (status, body, message, code) => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond({ status, headers: { 'content-type': 'application/json', 'x-request-id': 'req-7' } });
    await exchange.end(JSON.stringify(body));
    const error = await failed;
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({ status, body, providerCode: code, requestId: 'req-7' });
    expect(error.message).toContain(message);
    expect(error.message).toContain(String(status));
  });

  it('gives the delay that the server asks for, capped', async () => {
    const server = await serve();
    for (const [headers, expected] of [
      [{ 'retry-after': '7' }, 7_000],
      [{ 'retry-after-ms': '250' }, 250],
      [{ 'retry-after': '-5' }, 0],
      [{ 'retry-after': '1000000000000' }, 2 ** 31 - 1],
      [{ 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, 0],
      [{ 'retry-after': 'soon' }, undefined],
    ] as const) {
      const failed = failure(fromHTTP(server.url));
      const exchange = await server.accept();
      exchange.respond({ status: 429, headers });
      await exchange.end();
      const error = (await failed) as HTTPError;
      expect(error.retryAfterMs).toBe(expected);
      expect(isRetryable(error)).toBe(true);
    }
  });

  it('never shows the key that a server quotes', async () => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url, { headers: { authorization: 'Bearer sk-very-secret-key' } }));
    const exchange = await server.accept();
    exchange.respond({ status: 401, headers: { 'content-type': 'application/json' } });
    await exchange.end(JSON.stringify({ detail: 'Invalid token: sk-very-secret-key' }));
    const error = (await failed) as HTTPError;
    expect(error.message).toContain('Invalid token: [redacted]');
    expect(JSON.stringify(error.body)).not.toContain('secret');
  });

  it('never shows the key that a server quotes in JSON of its own spelling', async () => {
    const server = await serve();
    const key = 'sk/very/secret';
    for (const status of [200, 401]) {
      const failed = failure(fromHTTP(server.url, { headers: { authorization: `Bearer ${key}` } }));
      const exchange = await server.accept();
      exchange.respond({ status, headers: { 'content-type': 'application/json' } });
      await exchange.end(String.raw`{"detail":"bad key sk\/very\u002fsecret"}`);
      expect((await failed).message).toContain('bad key [redacted]');
    }
  });

  it('keeps what there is of an error body that is cut', async () => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond({ status: 500, headers: { 'content-type': 'text/plain' } });
    await exchange.write('out of memo');
    exchange.reset();
    expect(await failed).toMatchObject({ name: 'HTTPError', status: 500 });
  });

  it.each(['text/html; charset=utf-8', 'application/json', 'application/problem+json'])(
    'of type %s is a ProtocolError that shows its start',
    async (type) => {
      const server = await serve();
      const failed = failure(fromHTTP(server.url));
      const exchange = await server.accept();
      exchange.respond({ headers: { 'content-type': type } });
      await exchange.end('{"answer": "whole"}');
      const error = await failed;
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error.message).toContain(type.split(';')[0]);
      expect(error.message).toContain('{"answer": "whole"}');
    },
  );

  it.each([undefined, 'text/plain', 'application/octet-stream', 'text/event-stream;charset=windows-1252'])(
    'of type %s is read as a stream',
    async (type) => {
      const server = await serve();
      const text = read(server.url);
      const exchange = await server.accept();
      exchange.respond({ headers: type === undefined ? {} : { 'content-type': type } });
      await exchange.end('data: x\n\n');
      expect(await text).toBe('data: x\n\n');
    },
  );

  it('may be JSON when JSON is asked for', async () => {
    const server = await serve();
    const text = read(server.url, { accept: ['application/json'] });
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'application/json; charset=utf-8' } });
    await exchange.end('{}');
    expect(await text).toBe('{}');
  });

  it('with status 204 is an empty body', async () => {
    const server = await serve();
    const text = read(server.url);
    const exchange = await server.accept();
    exchange.respond({ status: 204, headers: {} });
    await exchange.end();
    expect(await text).toBe('');
  });
});

describe('a cut', () => {
  it.each([
    [
      'a reset',
      (exchange: Exchange): void => {
        exchange.reset();
      },
    ],
    [
      'a close inside chunked framing',
      (exchange: Exchange): void => {
        exchange.halfClose();
      },
    ],
  ])('by %s gives every byte, then InterruptedError', async (_, cut) => {
    const server = await serve();
    let arrive = (): void => undefined;
    const arrived: Promise<void> = new Promise((resolve) => (arrive = resolve));
    const values: string[] = [];
    const ended: Promise<unknown> = new Promise((resolve) => {
      fromHTTP(server.url).subscribe({
        next: (chunk) => {
          values.push(Buffer.from(chunk).toString());
          arrive();
        },
        error: resolve,
        complete: () => {
          resolve('complete');
        },
      });
    });
    const exchange = await server.accept();
    await exchange.write('data: par');
    await arrived;
    cut(exchange);
    const error = await ended;
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({ during: 'body' });
    expect(isRetryable(error)).toBe(true);
    expect(values.join('')).toBe('data: par');
  });

  it('before the headers is InterruptedError during headers', async () => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.reset();
    expect(await failed).toMatchObject({ name: 'InterruptedError', during: 'headers' });
  });

  it('of a connection that nobody takes is InterruptedError during connect', async () => {
    const server = await serve();
    await server.close();
    const error = await failure(fromHTTP(`${server.url}/v1?key=secret-in-query`));
    expect(error).toMatchObject({ name: 'InterruptedError', during: 'connect' });
    expect(error.message).toContain('ECONNREFUSED');
    expect(error.message).not.toContain('secret');
    expect(isRetryable(error)).toBe(true);
  });

  it('of HTTP itself is a ProtocolError', async () => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond();
    await exchange.raw('zz\r\nnonsense\r\n');
    expect(await failed).toBeInstanceOf(ProtocolError);
  });

  it('of silence is a StreamTimeoutError that names the option', async () => {
    const server = await serve();
    const slowHeaders = failure(fromHTTP(server.url, { headersTimeoutMs: 1 }));
    await server.accept();
    const headers = await slowHeaders;
    expect(headers).toBeInstanceOf(StreamTimeoutError);
    expect(headers).toMatchObject({ phase: 'headers' });
    const slowBody = failure(fromHTTP(server.url, { bodyTimeoutMs: 1 }));
    const exchange = await server.accept();
    await exchange.write('x');
    const body = await slowBody;
    expect(body).toMatchObject({ name: 'StreamTimeoutError', phase: 'wireIdle' });
    expect(body.message).toContain('bodyTimeoutMs');
  });
});

describe('a content coding', () => {
  const text = 'data: "žluťoučký kůň" 🐎\n\n'.repeat(50);
  const codings = {
    gzip: gzipSync(text),
    br: brotliCompressSync(text),
    deflate: deflateSync(text),
    'raw deflate': deflateRawSync(text),
  };

  it.each(Object.entries(codings))('%s is undone, however the bytes are cut', async (name, bytes) => {
    const server = await serve();
    const whole = read(server.url);
    const exchange = await server.accept();
    expect(exchange.request.headers['accept-encoding']).toMatch(/^gzip, deflate, br/);
    exchange.respond({
      headers: { 'content-type': 'text/event-stream', 'content-encoding': name.replace('raw ', '') },
    });
    for (let i = 0; i < bytes.length; i += 7) await exchange.write(bytes.subarray(i, i + 7));
    await exchange.end();
    expect(await whole).toBe(text);
  });

  it.each(Object.entries(codings))(
    '%s that is cut short is InterruptedError, under a clean end of HTTP',
    async (name, bytes) => {
      const server = await serve();
      const failed = failure(fromHTTP(server.url));
      const exchange = await server.accept();
      exchange.respond({
        headers: { 'content-type': 'text/event-stream', 'content-encoding': name.replace('raw ', '') },
      });
      await exchange.end(bytes.subarray(0, bytes.length - 5));
      expect(await failed).toBeInstanceOf(InterruptedError);
    },
  );

  it('that is broken is a ProtocolError', async () => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-encoding': 'gzip' } });
    await exchange.end('this is no gzip at all');
    expect(await failed).toBeInstanceOf(ProtocolError);
  });

  it.each(['snappy', 'gzip, gzip, gzip, gzip'])('of %s is refused', async (coding) => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-encoding': coding } });
    await exchange.write('x');
    expect(await failed).toBeInstanceOf(ProtocolError);
    await exchange.closed;
  });

  it('delivers each flushed part at once', async () => {
    const { createGzip, constants } = await import('node:zlib');
    const server = await serve();
    const first = firstValueFrom(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-encoding': 'gzip' } });
    const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH });
    gzip.write('data: now\n\n');
    const [bytes] = (await once(gzip, 'data')) as [Buffer];
    await exchange.write(bytes);
    expect(Buffer.from(await first).toString()).toBe('data: now\n\n');
    gzip.destroy();
  });
});

describe('a redirect', () => {
  async function redirected(
    status: number,
    options: FromHTTPOptions,
  ): Promise<{ target: TestServer; end: Promise<unknown> }> {
    const [origin, target] = [await serve(), await serve()];
    const { ended } = watch(fromHTTP(origin.url, options));
    const exchange = await origin.accept();
    exchange.respond({ status, headers: { location: `${target.url}/there` } });
    await exchange.end();
    return { target, end: ended };
  }

  it.each([301, 302, 303, 307, 308])('%i of a GET goes on without any of the caller’s headers', async (status) => {
    const headers = { authorization: 'Bearer secret', 'x-api-key': 'secret', cookie: 'secret', 'last-event-id': '7' };
    const { target, end } = await redirected(status, { headers });
    const exchange = await target.accept();
    expect(exchange.request.path).toBe('/there');
    expect(Object.keys(exchange.request.headers)).not.toEqual(expect.arrayContaining(Object.keys(headers)));
    for (const name of Object.keys(headers)) expect(exchange.request.headers).not.toHaveProperty(name);
    await exchange.end('x');
    expect(await end).toBe('complete');
  });

  it('to another origin asks for the types of the options, not of the caller’s header', async () => {
    for (const [options, asked] of [
      [{}, 'text/event-stream, application/x-ndjson'],
      [{ accept: ['text/event-stream'] }, 'text/event-stream'],
    ] as const) {
      const { target, end } = await redirected(302, { ...options, headers: { accept: 'application/x-my-own' } });
      const exchange = await target.accept();
      expect(exchange.request.headers.accept).toBe(asked);
      await exchange.end('x');
      expect(await end).toBe('complete');
    }
  });

  it.each([307, 308])('%i never sends a body to another origin', async (status) => {
    const { target, end } = await redirected(status, { method: 'POST', body: 'the prompt' });
    expect(await end).toMatchObject({ name: 'HTTPError', status });
    expect(target.exchanges).toHaveLength(0);
  });

  it.each([301, 302])('%i never turns a POST into a GET', async (status) => {
    const { target, end } = await redirected(status, { method: 'POST', body: 'the prompt' });
    expect(await end).toMatchObject({ name: 'HTTPError', status });
    expect(((await end) as Error).message).toContain('GET');
    expect(target.exchanges).toHaveLength(0);
  });

  it('keeps headers and body within the origin', async () => {
    const server = await serve();
    const { ended } = watch(fromHTTP(server.url, { method: 'POST', body: 'hello', headers: { 'x-api-key': 'mine' } }));
    const first = await server.accept();
    first.respond({ status: 307, headers: { location: '/again' } });
    await first.end();
    const second = await server.accept();
    expect(second.request).toMatchObject({ method: 'POST', path: '/again', text: 'hello' });
    expect(second.request.headers['x-api-key']).toBe('mine');
    await second.end();
    expect(await ended).toBe('complete');
  });

  it.each([
    ['without a location', {}],
    ['to a file', { location: 'file:///etc/passwd' }],
    ['to nonsense', { location: 'http://[' }],
  ])('%s is an HTTPError', async (_, headers) => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url));
    const exchange = await server.accept();
    exchange.respond({ status: 302, headers });
    await exchange.end();
    expect(await failed).toMatchObject({ name: 'HTTPError', status: 302 });
  });

  it('loop ends', async () => {
    const server = await serve();
    const failed = failure(fromHTTP(server.url, { maxRedirects: 2 }));
    for (let i = 0; i < 3; i += 1) {
      const exchange = await server.accept();
      exchange.respond({ status: 302, headers: { location: '/' } });
      await exchange.end();
    }
    const error = await failed;
    expect(error).toMatchObject({ name: 'LimitError', limit: 'maxRedirects', max: 2, context: { status: 302 } });
    expect(error.message).toContain('2 redirects');
  });
});

it('uses the caller’s dispatcher', async () => {
  const { Agent } = await import('undici');
  const server = await serve();
  const agent = new Agent();
  const text = read(server.url, { dispatcher: agent });
  await (await server.accept()).end('x');
  expect(await text).toBe('x');
  await agent.destroy();
});

it('tells the answer’s head before its first chunk', async () => {
  const server = await serve();
  const heard: unknown[] = [];
  const chunks = lastValueFrom(
    fromHTTP(server.url, { onResponse: ({ status, headers }) => heard.push([status, headers['x-a']]) }).pipe(
      map((chunk) => heard.push(Buffer.from(chunk).toString())),
      toArray(),
    ),
  );
  const exchange = await server.accept();
  exchange.respond({ headers: { 'x-a': 'b' } });
  await exchange.end('x');
  await chunks;
  expect(heard).toEqual([[200, 'b'], 'x']);
});

it('goes through the proxy that the environment names, but not where it says no', async () => {
  const proxied: string[] = [];
  const { createServer } = await import('node:http');
  const proxy = createServer();
  // undici tunnels plain HTTP too: the proxy sees a CONNECT for the target.
  proxy.on('connect', (request, socket) => {
    proxied.push(request.url ?? '');
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as { port: number };
  process.env['http_proxy'] = `http://127.0.0.1:${String(port)}`;
  try {
    await failure(fromHTTP('http://inference.example/v1'));
    expect(proxied).toEqual(['inference.example:80']);
    process.env['no_proxy'] = '127.0.0.1';
    const server = await serve();
    const text = read(server.url);
    await (await server.accept()).end('direct');
    expect(await text).toBe('direct');
  } finally {
    delete process.env['http_proxy'];
    delete process.env['no_proxy'];
    proxy.close();
  }
});

it.each(['', 'FOO BAR', 'GET\r\nx: y', 'é', 'CONNECT', 'connect', 5, null])(
  'refuses the method %j when called',
  (method) => {
    expect(() => fromHTTP('http://127.0.0.1:1', { method: method as string })).toThrow(TypeError);
    expect(() => fromHTTP('http://127.0.0.1:1', { method: method as string })).toThrow(/method/);
  },
);
