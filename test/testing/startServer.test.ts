import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import { startServer, type TestServer } from 'millrace/testing';

async function start(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

/** Everything that arrives on a bare connection, and how it ends. */
async function readRaw(
  port: number,
  text = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n',
): Promise<{ text: string; end: string }> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const end: Promise<string> = new Promise((resolve) => {
    socket.once('end', () => {
      resolve('fin');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
  });
  socket.write(text);
  const ended = await end;
  socket.destroy();
  return { text: Buffer.concat(chunks).toString(), end: ended };
}

const body = (response: string): string => response.slice(response.indexOf('\r\n\r\n') + 4);

async function failure(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error instanceof Error ? error.cause : error;
  }
  throw new Error('It did not fail');
}

it('hands over the request, whole and parsed', async () => {
  const server = await start();
  const response = fetch(`${server.url}/a/b?c=d`, { method: 'POST', headers: { 'X-Key': 'k' }, body: '{"e":1}' });
  const exchange = await server.accept();
  expect(exchange.request).toMatchObject({ method: 'POST', path: '/a/b', text: '{"e":1}', body: { e: 1 } });
  expect(exchange.request.headers['x-key']).toBe('k');
  expect(exchange.request.query.get('c')).toBe('d');
  exchange.respond({ status: 418, headers: { 'content-type': 'text/plain' } });
  await exchange.end('short and stout');
  expect((await response).status).toBe(418);
  expect(await (await response).text()).toBe('short and stout');
  expect(await exchange.ended).toBe('complete');
  expect(exchange.bytesSent).toBe(15);
});

it('gives a text that is not JSON as it is, and no body as undefined', async () => {
  const server = await start();
  const responses = [fetch(server.url, { method: 'POST', body: '{' }), fetch(server.url)];
  const exchanges = [await server.accept(), await server.accept()];
  expect(exchanges.map(({ request: { body: parsed } }) => parsed).sort()).toStrictEqual(['{', undefined]);
  await Promise.all(exchanges.map((exchange) => exchange.end()));
  await Promise.all(responses);
});

it('sends each write as one chunk, after headers of an event stream', async () => {
  const server = await start();
  const reading = readRaw(server.port);
  const exchange = await server.accept();
  expect(await exchange.write('data: é\n\n')).toBe(true);
  await exchange.write(new Uint8Array([0xff]));
  exchange.halfClose();
  const { text, end } = await reading;
  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\ncontent-type: text\/event-stream\r\n/);
  expect(body(text)).toBe('a\r\ndata: é\n\n\r\n1\r\n\ufffd\r\n');
  expect(end).toBe('fin');
  expect(await exchange.ended).toBe('server');
  await exchange.closed;
});

it('resets a connection', async () => {
  const server = await start();
  const response = fetch(server.url);
  const exchange = await server.accept();
  await exchange.write('x');
  const reader = (await response).body?.getReader();
  expect((await reader?.read())?.value).toStrictEqual(new Uint8Array([0x78]));
  exchange.reset();
  expect(await failure(reader?.read() ?? Promise.resolve())).toMatchObject({ code: 'ECONNRESET' });
  expect(await exchange.write('y')).toBe(false);
  expect(await exchange.ended).toBe('server');
});

it('resets before headers', async () => {
  const server = await start();
  const failed = failure(fetch(server.url));
  (await server.accept()).reset();
  expect(await failed).toMatchObject({ code: 'ECONNRESET' });
});

it('ends a body by closing, where HTTP cannot tell a cut from an end', async () => {
  const server = await start();
  const response = fetch(server.url);
  const exchange = await server.accept();
  exchange.respond({ framing: 'close' });
  await exchange.write('data: cut he');
  exchange.halfClose();
  expect((await response).headers.get('connection')).toBe('close');
  expect(await (await response).text()).toBe('data: cut he');
});

it('breaks what HTTP promised: too few bytes, a bad chunk size', async () => {
  const server = await start();
  const short = fetch(server.url).then((response) => response.text());
  const first = await server.accept();
  first.respond({ headers: { 'content-length': 10 } });
  await first.write('five!');
  first.halfClose();
  expect(await failure(short)).toMatchObject({ code: 'UND_ERR_SOCKET' });

  const bad = fetch(server.url).then((response) => response.text());
  const second = await server.accept();
  await second.write('x');
  await second.raw('zz\r\n');
  expect(await failure(bad)).toMatchObject({ name: 'HTTPParserError' });
});

it('lets a test write the whole response by hand', async () => {
  const server = await start();
  const reading = readRaw(server.port);
  const exchange = await server.accept();
  await exchange.raw('HTTP/1.1 200 Fine\r\n\r\nhand');
  await exchange.end('made');
  expect(await reading).toStrictEqual({ text: 'HTTP/1.1 200 Fine\r\n\r\nhandmade', end: 'fin' });
  expect(await exchange.ended).toBe('complete');
});

it('sends a compressed body as it is given', async () => {
  const server = await start();
  const response = fetch(server.url);
  const exchange = await server.accept();
  exchange.respond({ headers: { 'content-encoding': 'gzip' } });
  await exchange.end(gzipSync('small'));
  expect(await (await response).text()).toBe('small');
});

it('tells at once that the client left', async () => {
  const server = await start();
  const controller = new AbortController();
  const response = await Promise.all([
    fetch(server.url, { signal: controller.signal }),
    server.accept().then(async (exchange) => {
      await exchange.write('x');
      return exchange;
    }),
  ]);
  controller.abort();
  const [, exchange] = response;
  expect(await exchange.ended).toBe('client');
  expect(exchange.gone.aborted).toBe(true);
  await exchange.closed;
  expect(await exchange.end()).toBe(false);
});

it('serves one request after the other on one connection and leaves no listener on it', async () => {
  const server = await start();
  const socket = connect(server.port, '127.0.0.1');
  onTestFinished(() => {
    socket.destroy();
  });
  const warnings: Error[] = [];
  const warn = (warning: Error): void => {
    warnings.push(warning);
  };
  process.on('warning', warn);
  onTestFinished(() => {
    process.off('warning', warn);
  });
  for (let index = 0; index < 20; index += 1) {
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const exchange = await server.accept();
    const arrived = once(socket, 'data');
    expect(await exchange.end('x')).toBe(true);
    await arrived;
  }
  expect(server.connections()).toBe(1);
  expect(server.exchanges).toHaveLength(20);
  expect(warnings).toStrictEqual([]);
});

it('waits for a client that does not read', async () => {
  const server = await start();
  const socket = connect(server.port, '127.0.0.1');
  socket.pause();
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  const exchange = await server.accept();
  let isFlushed = false;
  const flushed = exchange.write(Buffer.alloc(32 * 1024 * 1024)).then((arrived) => {
    isFlushed = arrived;
    return arrived;
  });
  const other = fetch(server.url);
  await (await server.accept()).end('meanwhile');
  expect(await (await other).text()).toBe('meanwhile');
  expect(isFlushed).toBe(false);
  socket.destroy();
  expect(await flushed).toBe(false);
});

it('destroys everything when it is closed', async () => {
  const server = await startServer();
  const reading = readRaw(server.port);
  const idle = connect(server.port, '127.0.0.1');
  await Promise.all([once(idle, 'connect'), server.accept()]);
  const idleClosed = once(idle, 'close');
  idle.resume();
  const waiting = server.accept();
  const [, refused] = await Promise.all([server.close(), failure(waiting).catch(() => 'refused'), server.close()]);
  expect(refused).toBeUndefined(); // a plain Error without cause
  expect((await reading).text).toBe('');
  await idleClosed;
  expect(server.connections()).toBe(0);
  await expect(server.accept()).rejects.toThrow('closed');
  await expect(fetch(server.url)).rejects.toThrow('fetch failed');
});

it('refuses a port below zero when called', async () => {
  await expect(startServer({ port: -1 })).rejects.toThrow(RangeError);
});

it('listens on the loopback address only', async () => {
  const server = await start();
  expect(server.url).toBe(`http://127.0.0.1:${String(server.port)}`);
  const message = request(server.url);
  const response = once(message, 'response');
  message.end();
  const exchange = await server.accept();
  await exchange.end();
  const [incoming] = (await response) as [{ socket: { remoteAddress: string }; resume: () => void }];
  expect(incoming.socket.remoteAddress).toBe('127.0.0.1');
  incoming.resume();
});
