import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError } from '../../src/errors.js';
import { running } from '../../src/internal/running.js';
import { openai } from '../../src/providers/index.js';
import { proxyHandler, type ProxyHandlerOptions, type ProxyRequest } from '../../src/sinks/proxyHandler.js';
import { type Exchange, startServer, type TestServer } from '../../src/testing/index.js';
import { bundlePage } from '../support/chromium.js';
import { standstill } from '../support/doorContract.js';
import { keysIn, secretKey } from '../support/keys.js';
import { type ProxyDoor, proxyDoors } from '../support/proxyDoors.js';
import { serveNode } from '../support/webServer.js';

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

interface Stage {
  readonly upstream: TestServer;
  /** Where the handler stands. */
  readonly url: string;
  readonly port: number;
  readonly key: string;
  /** What `onError` heard. */
  readonly errors: readonly unknown[];
  /** Asks for a chat completion, as a page does. */
  readonly chat: (init?: RequestInit) => Promise<Response>;
}

/** A provider, a handler before it that lets a few things through, and a server that serves it. */
async function stage(door: ProxyDoor, options: Partial<ProxyHandlerOptions> = {}): Promise<Stage> {
  const upstream = await serve();
  const key = secretKey();
  const errors: unknown[] = [];
  const acme = openai({ apiKey: key, baseURL: `${upstream.url}/v1?version=2`, organization: 'org-of-the-server' });
  const proxy = proxyHandler({
    providers: { acme },
    allow: ['POST /acme/chat/completions', 'GET /acme/models', 'GET /acme/responses/{id}'],
    onError: (error) => errors.push(error),
    ...options,
  });
  const { url, port } = await serveNode(door.open(proxy));
  const chat: Stage['chat'] = (init) =>
    fetch(`${url}/acme/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"model":"m"}',
      ...init,
    });
  return { upstream, url, port, key, errors, chat };
}

/** Everything of an answer that a page can see. */
async function shown(response: Response): Promise<string> {
  return JSON.stringify([response.status, [...response.headers], await response.text()]);
}

async function codeOf(response: Response): Promise<unknown> {
  const { error } = (await response.json()) as { error: { code: string; message: string; type: string } };
  expect(error).toMatchObject({ type: 'proxy_error', message: expect.any(String) });
  expect(response.headers.get('content-type')).toBe('application/json');
  return error.code;
}

/** Writes to a connection as no client would; what comes back until the server closes it, or the answer is there. */
async function exchangeRaw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.setEncoding('utf8');
  socket.write(Buffer.from(bytes, 'latin1'));
  const answer = await text(socket);
  return answer;
}

/** Beyond what the buffers of two sockets and the chunks that wait hold. */
const FAR_TOO_MUCH = 32 * 1024 * 1024;

describe.each(proxyDoors)('proxyHandler, its $name door,', (door) => {
  it('passes on what is on the list, with the server’s key and headers and without the page’s', async () => {
    const { url, upstream, key } = await stage(door);
    const answer = fetch(`${url}/acme/chat/completions?mode=fast&version=9&api_key=pages&include%5B%5D=a`, {
      method: 'POST',
      headers: {
        accept: 'text/event-stream',
        authorization: 'Bearer of-the-page',
        'content-type': 'application/json',
        cookie: 'session=of-the-page',
        forwarded: 'for=10.0.0.1',
        'idempotency-key': 'once',
        'last-event-id': '7',
        'openai-organization': 'org-of-the-page',
        origin: 'http://page.test',
        'proxy-authorization': 'Basic of-the-page',
        referer: 'http://page.test/chat',
        'x-api-key': 'of-the-page',
        'x-forwarded-for': '10.0.0.1',
        'x-other': 'of-the-page',
      },
      body: '{"model":"m","n":1.0}',
    });
    const exchange = await upstream.accept();
    const { method, path, query, headers, text: body } = exchange.request;
    expect([method, path, body]).toEqual(['POST', '/v1/chat/completions', '{"model":"m","n":1.0}']);
    expect([...query]).toEqual([
      ['version', '2'],
      ['mode', 'fast'],
      ['include[]', 'a'],
    ]);
    const { host, connection: _, 'accept-encoding': __, ...rest } = headers;
    expect(host).toBe(upstream.url.replace('http://', ''));
    expect(rest).toEqual({
      accept: 'text/event-stream',
      authorization: `Bearer ${key}`,
      'content-length': '21',
      'content-type': 'application/json',
      'idempotency-key': 'once',
      'last-event-id': '7',
      'openai-organization': 'org-of-the-server',
    });
    exchange.respond({ status: 201, headers: { 'content-type': 'text/event-stream', 'x-request-id': 'r1' } });
    await exchange.end('data: hi\n\n');
    const response = await answer;
    expect([response.status, response.headers.get('x-request-id')]).toEqual([201, 'r1']);
    expect(await response.text()).toBe('data: hi\n\n');
  });

  it('passes a GET on without a body, and an answer without one', async () => {
    const { url, upstream } = await stage(door);
    const answer = fetch(`${url}/acme/responses/r_1?stream=true`);
    const exchange = await upstream.accept();
    expect(exchange.request).toMatchObject({ method: 'GET', path: '/v1/responses/r_1', text: '' });
    expect(exchange.request.headers).not.toHaveProperty('content-length');
    exchange.respond({ status: 204, headers: {} });
    await exchange.end();
    const response = await answer;
    expect([response.status, await response.text()]).toEqual([204, '']);
  });

  it('passes bytes as they are', async () => {
    const { chat, upstream } = await stage(door);
    const sent = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 7) % 256);
    const answer = chat({ headers: { 'content-type': 'audio/wav' }, body: sent });
    const exchange = await upstream.accept();
    // The server of the tests reads bodies as text.
    expect(exchange.request.text).toBe(Buffer.from(sent).toString('utf8'));
    exchange.respond({ headers: { 'content-type': 'audio/mpeg' } });
    await exchange.end(sent);
    expect(new Uint8Array(await (await answer).arrayBuffer())).toEqual(sent);
  });

  it('answers at the provider’s headers, and gives each piece as it comes', async () => {
    const { chat, upstream } = await stage(door);
    const answer = chat();
    const exchange = await upstream.accept();
    exchange.respond();
    const response = await answer;
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const reader = response.body!.getReader();
    for (const piece of ['data: a\n\n', 'data: b\n\n']) {
      await exchange.write(piece);
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(piece);
    }
    await exchange.end();
    expect(await reader.read()).toMatchObject({ done: true });
  });

  it('gives nothing of the provider’s head that speaks for the page’s own origin', async () => {
    const { chat, upstream } = await stage(door);
    const answer = chat();
    const exchange = await upstream.accept();
    exchange.respond({
      headers: {
        'access-control-allow-origin': '*',
        'access-control-allow-credentials': 'true',
        'cache-control': 'public, max-age=600',
        'clear-site-data': '"*"',
        'content-security-policy': "script-src 'unsafe-inline'",
        'content-type': 'text/html',
        link: '</x.js>; rel=preload',
        location: '/elsewhere',
        'openai-organization': 'org-of-the-server',
        refresh: '0; url=/elsewhere',
        server: 'upstream/1',
        'service-worker-allowed': '/',
        'set-cookie': ['a=1; Path=/', 'b=2'],
        'strict-transport-security': 'max-age=1',
        'www-authenticate': 'Basic',
      },
    });
    await exchange.end('<script>alert(1)</script>');
    const { headers } = await answer;
    const {
      connection: _,
      date: __,
      'keep-alive': ___,
      'transfer-encoding': ____,
      ...rest
    } = Object.fromEntries(headers);
    expect(rest).toEqual({
      'cache-control': 'no-store, no-transform',
      'content-security-policy': "default-src 'none'; sandbox",
      'content-type': 'text/html',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
  });

  it('undoes the provider’s compression, and does not claim it', async () => {
    const { chat, upstream } = await stage(door);
    const answer = chat({ headers: { 'content-type': 'application/json', 'accept-encoding': 'br;q=0.1' } });
    const exchange = await upstream.accept();
    const coded = gzipSync('{"text":"hello"}');
    exchange.respond({
      headers: {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
        'content-length': String(coded.length),
      },
    });
    await exchange.end(coded);
    const response = await answer;
    expect(response.headers.get('content-encoding')).toBeNull();
    expect(await response.json()).toEqual({ text: 'hello' });
  });

  describe('refuses, and asks nobody,', () => {
    it.each([
      ['a path that is not on the list', 'POST /acme/embeddings'],
      ['a method that is not', 'GET /acme/chat/completions'],
      ['a method in other letters', 'post /acme/chat/completions'],
      ['a provider that is not there', 'POST /other/chat/completions'],
      ['a provider by a name of every object', 'POST /constructor/chat/completions'],
      ['a provider alone', 'POST /acme'],
      ['nothing', 'POST /'],
      ['more than is on the list', 'POST /acme/chat/completions/x'],
      ['a slash at the end', 'POST /acme/chat/completions/'],
      ['a climb', 'GET /acme/responses/../files'],
      ['a climb in escapes', 'GET /acme/responses/%2e%2e%2ffiles'],
      ['a climb in escapes of capitals', 'GET /acme/responses/%2E%2E'],
      ['a climb in half', 'GET /acme/responses/.%2e'],
      ['a climb in escapes of escapes', 'GET /acme/responses/%252e%252e%252ffiles'],
      ['a climb as some servers read it', 'GET /acme/responses/..;/files'],
      ['a climb with a parameter', 'GET /acme/responses/..;a=b'],
      ['a climb by backslashes', 'GET /acme/responses/..\\files'],
      ['a climb by escaped backslashes', 'GET /acme/responses/..%5cfiles'],
      ['a climb in bytes that are no UTF-8', 'GET /acme/responses/%c0%ae%c0%ae'],
      ['a climb in wide letters', 'GET /acme/responses/%ef%bc%8e%ef%bc%8e'],
      ['a name that begins with a dot', 'GET /acme/responses/.env'],
      ['an escaped slash', 'GET /acme/responses/a%2fb'],
      ['an escaped question mark', 'GET /acme/responses/a%3fb'],
      ['an escaped hash', 'GET /acme/responses/a%23b'],
      ['a zero byte', 'GET /acme/responses/a%00'],
      ['a line end', 'GET /acme/responses/a%0d%0ax-injected:%201'],
      ['a space', 'GET /acme/responses/a%20b'],
      ['an escape that is none', 'GET /acme/responses/%zz'],
      ['half an escape', 'GET /acme/responses/a%2'],
      ['an empty segment', 'GET /acme//responses/a'],
      ['a varying part that is empty', 'GET /acme/responses/'],
      ['a verb behind a colon', 'GET /acme/responses/a:delete'],
      ['a verb behind an escaped colon', 'GET /acme/responses/a%3Adelete'],
      ['a parameter of the path', 'GET /acme/responses/a;b=c'],
      ['another host before the path', 'POST //evil.test/acme/chat/completions'],
      ['another host behind a backslash', 'POST /\\evil.test/acme/chat/completions'],
      ['another host, in absolute form', 'POST http://evil.test/acme/chat/completions'],
      ['userinfo', 'GET /acme/@evil.test/models'],
      ['userinfo in absolute form', 'POST http://acme@evil.test/acme/chat/completions'],
      ['a port', 'GET /acme/:8080/models'],
      ['a URL as a segment', 'GET /acme/responses/https:%2f%2fevil.test'],
      ['a star', 'OPTIONS *'],
      ['a preflight', 'OPTIONS /acme/chat/completions'],
      ['bytes beyond ASCII', 'GET /acme/responses/\xe9'],
    ])('%s: %s', async (_, line) => {
      const { port, upstream, errors } = await stage(door);
      const answer = await exchangeRaw(port, `${line} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n`);
      // A line that is no HTTP is refused before anybody sees it.
      expect(answer).toMatch(/^HTTP\/1\.1 (403|400) /);
      if (answer.startsWith('HTTP/1.1 403')) expect(answer).toContain('"code":"not_allowed"');
      expect(answer).not.toMatch(/access-control/i);
      expect([upstream.exchanges.length, errors]).toEqual([0, []]);
    });

    it.each(['a.test', 'evil.test', '127.0.0.1:1'])(
      'no host by its name: %s says nothing about the target',
      async (host) => {
        const { port, upstream } = await stage(door);
        const answer = exchangeRaw(port, `GET /acme/models HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
        const exchange = await upstream.accept();
        expect(exchange.request.headers.host).toBe(upstream.url.replace('http://', ''));
        await exchange.end();
        expect(await answer).toContain('HTTP/1.1 200');
      },
    );

    it('two requests in one', async () => {
      const { port, upstream } = await stage(door);
      const smuggled = 'GET /acme/models HTTP/1.1\r\nhost: a.test\r\n\r\n';
      const answer = await exchangeRaw(
        port,
        `POST /acme/chat/completions HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      );
      expect(answer).toMatch(/^HTTP\/1\.1 400/);
      expect(upstream.exchanges).toHaveLength(0);
    });

    it('pages of other sites, unless told otherwise', async () => {
      const crossing = { headers: { 'sec-fetch-site': 'cross-site' } };
      const refusing = await stage(door);
      const refused = await refusing.chat(crossing);
      expect([refused.status, await codeOf(refused)]).toEqual([403, 'cross_site']);
      expect(refusing.upstream.exchanges).toHaveLength(0);
      for (const site of ['same-origin', 'same-site', 'none']) {
        const answer = refusing.chat({ headers: { 'sec-fetch-site': site } });
        await (await refusing.upstream.accept()).end();
        expect((await answer).status).toBe(200);
      }
      const open = await stage(door, { crossSite: 'allow' });
      const answer = open.chat(crossing);
      await (await open.upstream.accept()).end();
      expect((await answer).headers.get('access-control-allow-origin')).toBeNull();
    });

    it('a body that is too large, announced or not', async () => {
      const { chat, url, upstream } = await stage(door, { maxBodyBytes: 10 });
      const announced = await chat({ body: 'x'.repeat(11) });
      expect([announced.status, await codeOf(announced)]).toEqual([413, 'body_too_large']);
      const client = request(`${url}/acme/chat/completions`, { method: 'POST' });
      const answered = once(client, 'response') as Promise<[IncomingMessage]>;
      client.write('x'.repeat(10));
      client.write('x');
      const [response] = await answered;
      expect([response.statusCode, await text(response)]).toEqual([413, expect.stringContaining('body_too_large')]);
      client.destroy();
      const fits = chat({ body: 'x'.repeat(10) });
      await (await upstream.accept()).end();
      expect((await fits).status).toBe(200);
      expect(upstream.exchanges).toHaveLength(1);
    });

    it('a body in a coding', async () => {
      const { chat, upstream } = await stage(door);
      const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
      const response = await chat({ headers, body: gzipSync('{}') });
      expect([response.status, await codeOf(response)]).toEqual([415, 'coded_body']);
      expect(upstream.exchanges).toHaveLength(0);
    });
  });

  describe('asks `authorize`', () => {
    it('with what is asked for, and who asks', async () => {
      const heard: ProxyRequest[] = [];
      const { chat, upstream } = await stage(door, {
        authorize: (request) => {
          heard.push(request);
          return true;
        },
      });
      const answer = chat({ headers: { cookie: 'session=1', 'content-type': 'application/json' } });
      await (await upstream.accept()).end();
      await answer;
      expect(heard).toMatchObject([{ provider: 'acme', method: 'POST', path: '/chat/completions' }]);
      expect(heard[0]?.headers.get('cookie')).toBe('session=1');
      expect(heard[0]?.raw).toHaveProperty('method', 'POST');
    });

    it.each([false, Promise.resolve(false), undefined, 'yes', { ok: true }])(
      'and goes on for nothing but true: %s',
      async (said) => {
        const { chat, upstream } = await stage(door, { authorize: () => said as boolean });
        const response = await chat();
        expect([response.status, await codeOf(response)]).toEqual([401, 'unauthorized']);
        expect(upstream.exchanges).toHaveLength(0);
      },
    );

    it('and answers as it says', async () => {
      const { chat, upstream } = await stage(door, {
        authorize: () =>
          new Response('come later', {
            status: 429,
            headers: [
              ['retry-after', '3'],
              ['set-cookie', 'a=1'],
              ['set-cookie', 'b=2'],
            ],
          }),
      });
      const response = await chat();
      expect([response.status, response.headers.get('retry-after'), await response.text()]).toEqual([
        429,
        '3',
        'come later',
      ]);
      expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
      expect(upstream.exchanges).toHaveLength(0);
    });

    it('not for what is not on the list', async () => {
      const authorize = vi.fn(() => true);
      const { url } = await stage(door, { authorize });
      expect((await fetch(`${url}/acme/files`)).status).toBe(403);
      expect(authorize).not.toHaveBeenCalled();
    });

    it('which may look at the body, and what it saw is what is sent', async () => {
      const { chat, upstream } = await stage(door, {
        authorize: async ({ json }) =>
          ((await json()) as { model: string }).model === 'small' && (await json()) !== null,
        maxBodyBytes: 100,
      });
      expect((await chat({ body: '{"model":"large"}' })).status).toBe(401);
      const odd = await chat({ body: '{"model"' });
      expect([odd.status, await codeOf(odd)]).toEqual([400, 'invalid_json']);
      expect((await chat({ body: `{"model":"${'x'.repeat(100)}"}` })).status).toBe(413);
      expect(upstream.exchanges).toHaveLength(0);
      const answer = chat({ body: '{ "model": "large", "model": "small" }' });
      const exchange = await upstream.accept();
      expect(exchange.request.text).toBe('{"model":"small"}');
      expect(exchange.request.headers['content-length']).toBe('17');
      await exchange.end();
      await answer;
    });

    it('which may change the body', async () => {
      const { chat, upstream } = await stage(door, {
        authorize: async ({ json }) => {
          const body = (await json()) as { max_tokens: number };
          body.max_tokens = Math.min(body.max_tokens, 100);
          return true;
        },
      });
      const answer = chat({ body: '{"max_tokens":100000}' });
      const exchange = await upstream.accept();
      expect(exchange.request.text).toBe('{"max_tokens":100}');
      await exchange.end();
      await answer;
    });

    it('which need not wait for the body that it has asked for', async () => {
      const { chat, errors } = await stage(door, {
        authorize: ({ json }) => {
          void json();
          return false;
        },
      });
      expect((await chat({ body: 'no JSON' })).status).toBe(401);
      expect(errors).toEqual([]);
    });

    it('whose throw is told to `onError` and not to the page', async () => {
      const failure = new Error('the session store has said too much');
      const { chat, upstream, errors } = await stage(door, {
        authorize: () => {
          throw failure;
        },
      });
      const response = await chat();
      const said = await shown(response.clone());
      expect([response.status, await codeOf(response)]).toEqual([500, 'internal']);
      expect(said).not.toContain('too much');
      expect(errors).toEqual([failure]);
      expect(upstream.exchanges).toHaveLength(0);
    });
  });

  describe('tells a page of the provider’s failures', () => {
    it.each([400, 403, 404, 422, 429, 500, 503, 529])('with its status and its JSON: %i', async (status) => {
      const { chat, upstream, errors } = await stage(door);
      const answer = chat();
      const exchange = await upstream.accept();
      const said = { error: { code: 'odd', message: 'no', param: null } };
      exchange.respond({
        status,
        headers: { 'content-type': 'application/json', 'retry-after': '2', 'x-request-id': 'r1', 'set-cookie': 'a=1' },
      });
      await exchange.end(JSON.stringify(said));
      const response = await answer;
      expect([response.status, await response.json()]).toEqual([status, said]);
      expect(response.headers.get('retry-after')).toBe('2');
      expect(response.headers.get('retry-after-ms')).toBe('2000');
      expect(response.headers.get('x-request-id')).toBe('r1');
      expect(response.headers.get('set-cookie')).toBeNull();
      expect(errors).toMatchObject([{ code: 'ERR_HTTP', status }]);
    });

    it.each([401, 402, 407])('but not of its %i, which is about the server’s key', async (status) => {
      const { chat, upstream, key, errors } = await stage(door);
      const answer = chat();
      const exchange = await upstream.accept();
      exchange.respond({ status, headers: { 'content-type': 'application/json', 'www-authenticate': 'Bearer' } });
      await exchange.end(JSON.stringify({ error: { message: `Incorrect API key: ${key.slice(0, 12)}*** ${key}` } }));
      const response = await answer;
      const all = await shown(response.clone());
      expect([response.status, await codeOf(response)]).toEqual([502, 'upstream_refused_key']);
      expect(response.headers.get('x-should-retry')).toBe('false');
      expect(all).not.toContain(key.slice(0, 12));
      expect(errors).toMatchObject([{ status }]);
    });

    it('in words of our own where they are no JSON, and never with a page', async () => {
      const { chat, upstream } = await stage(door);
      for (const [body, message] of [
        ['upstream connect error', 'acme answered 503: upstream connect error'],
        ['<html><script>alert(1)</script>', 'acme answered 503'],
        ['', 'acme answered 503'],
        ['x'.repeat(1_000), `acme answered 503: ${'x'.repeat(300)}`],
      ] as const) {
        const answer = chat();
        const exchange = await upstream.accept();
        exchange.respond({ status: 503, headers: { 'content-type': 'text/html' } });
        await exchange.end(body);
        const response = await answer;
        expect(response.headers.get('content-type')).toBe('application/json');
        expect(await response.json()).toEqual({ error: { code: 'upstream_error', message, type: 'proxy_error' } });
      }
    });

    it.each([301, 302, 303, 307, 308])('where it answers with a redirect, which nobody follows: %i', async (status) => {
      const { chat, url, upstream } = await stage(door);
      const elsewhere = await serve();
      for (const location of [`${elsewhere.url}/v1/models`, '/v1/files', 'file:///etc/passwd']) {
        for (const page of [chat, (): Promise<Response> => fetch(`${url}/acme/models`)]) {
          const answer = page();
          const exchange = await upstream.accept();
          exchange.respond({ status, headers: { location } });
          await exchange.end();
          const response = await answer;
          const all = await shown(response.clone());
          expect([response.status, await codeOf(response)]).toEqual([502, 'upstream_redirect']);
          expect(all).not.toContain(location);
        }
      }
      expect([upstream.exchanges.length, elsewhere.exchanges.length]).toEqual([6, 0]);
    });

    it('where it cannot be reached, without its address', async () => {
      const { chat, upstream, errors } = await stage(door);
      const { port } = upstream;
      await upstream.close();
      const response = await chat();
      const all = await shown(response.clone());
      expect([response.status, await codeOf(response)]).toEqual([502, 'upstream_unreachable']);
      expect(all).not.toContain(String(port));
      expect(errors).toEqual([expect.any(InterruptedError)]);
    });

    it('where it leaves without an answer', async () => {
      const { chat, upstream } = await stage(door);
      const answer = chat();
      (await upstream.accept()).reset();
      const response = await answer;
      expect([response.status, await codeOf(response)]).toEqual([502, 'upstream_unreachable']);
    });

    it('where it does not speak HTTP', async () => {
      const { chat, upstream } = await stage(door);
      const answer = chat();
      await (await upstream.accept()).raw('HTTP/1.1 200 OK\r\nno header\r\n\r\n');
      const response = await answer;
      expect([response.status, await codeOf(response)]).toEqual([502, 'upstream_protocol']);
    });

    it('where its headers do not come in time', async () => {
      const scheduler = new VirtualTimeScheduler();
      const { chat, upstream } = await stage(door, { headersTimeoutMs: 5_000, scheduler });
      const answer = chat();
      const exchange = await upstream.accept();
      scheduler.flush();
      const response = await answer;
      expect([response.status, await codeOf(response)]).toEqual([504, 'upstream_timeout']);
      expect(await exchange.ended).toBe('client');
    });

    it('where its body falls silent, by a cut', async () => {
      const scheduler = new VirtualTimeScheduler();
      const { chat, upstream, errors } = await stage(door, { bodyTimeoutMs: 5_000, headersTimeoutMs: 0, scheduler });
      const answer = chat();
      const exchange = await upstream.accept();
      await exchange.write('data: a\n\n');
      const reader = (await answer).body!.getReader();
      await reader.read();
      scheduler.flush();
      await expect(reader.read()).rejects.toThrow();
      expect(await exchange.ended).toBe('client');
      expect(errors).toMatchObject([{ code: 'ERR_STREAM_TIMEOUT' }]);
    });

    it.each<[string, (exchange: Exchange) => unknown]>([
      [
        'is reset',
        (exchange) => {
          exchange.reset();
        },
      ],
      [
        'is closed',
        (exchange) => {
          exchange.halfClose();
        },
      ],
      ['has a broken framing', (exchange) => exchange.raw('zz\r\n')],
    ])('by a cut where its body %s, behind all that came', async (_, cut) => {
      const { chat, upstream, errors } = await stage(door);
      const answer = chat();
      const exchange = await upstream.accept();
      await exchange.write('data: a\n\n');
      const reader = (await answer).body!.getReader();
      expect(new TextDecoder().decode((await reader.read()).value)).toBe('data: a\n\n');
      cut(exchange);
      await expect(reader.read()).rejects.toThrow();
      expect(errors).toHaveLength(1);
    });

    it('by a cut where nothing tells its end, but for JSON, which tells it itself', async () => {
      const { chat, upstream } = await stage(door);
      for (const [type, isWhole] of [
        ['application/json', true],
        ['application/problem+json; charset=utf-8', true],
        ['application/x-ndjson', false],
        ['text/event-stream', false],
      ] as const) {
        const answer = chat();
        const exchange = await upstream.accept();
        exchange.respond({ headers: { 'content-type': type }, framing: 'close' });
        await exchange.end('{}');
        const body = (await answer).text();
        if (isWhole) expect(await body).toBe('{}');
        else await expect(body).rejects.toThrow();
      }
    });
  });

  describe('shows no page the server’s key', () => {
    it('where a provider repeats it in its answer, however that is cut', async () => {
      const { chat, upstream, key } = await stage(door);
      const body = Buffer.from(`data: {"you":"Bearer ${key}","again":"${key}${key}"}\n\ndata: ${key.slice(0, -1)}\n\n`);
      const stars = '*'.repeat(key.length);
      const expected = `data: {"you":"${'*'.repeat(7)}${stars}","again":"${stars}${stars}"}\n\ndata: ${key.slice(0, -1)}\n\n`;
      for (const size of [1, 2, 7, 30, body.length]) {
        const answer = chat();
        const exchange = await upstream.accept();
        exchange.respond();
        for (let at = 0; at < body.length; at += size) await exchange.write(body.subarray(at, at + size));
        await exchange.end();
        expect(await (await answer).text()).toBe(expected);
      }
    });

    it('in a header or in a refusal either', async () => {
      const { chat, upstream, key, errors } = await stage(door);
      for (const status of [200, 400]) {
        const answer = chat();
        const exchange = await upstream.accept();
        exchange.respond({
          status,
          headers: { 'content-type': 'application/json', 'x-request-id': `r-${key}`, 'cf-ray': key },
        });
        await exchange.end(JSON.stringify({ error: { message: `${key} is refused`, [key]: [key] } }));
        expect(keysIn(await shown(await answer))).toEqual([]);
      }
      expect(keysIn(JSON.stringify(errors.map((error) => [String(error), error])))).toEqual([]);
    });

    it('not at the end of a refusal that is cut for its length', async () => {
      const { chat, upstream, key } = await stage(door);
      for (const before of [65_536 - 10, 65_536 - key.length + 1]) {
        const answer = chat();
        const exchange = await upstream.accept();
        exchange.respond({ status: 400, headers: { 'content-type': 'text/plain' } });
        void exchange.end(`${'x'.repeat(before)}${key}${'x'.repeat(100)}`);
        expect(await shown(await answer)).not.toContain(key.slice(0, 8));
      }
    });

    it('and `onError` neither the key nor what the page has asked', async () => {
      const { chat, upstream, errors, key } = await stage(door);
      const prompt = 'a prompt that nobody else may read';
      const answer = chat({ body: JSON.stringify({ messages: [{ role: 'user', content: prompt }] }) });
      const exchange = await upstream.accept();
      exchange.respond({ status: 400, headers: { 'content-type': 'application/json' } });
      await exchange.end(JSON.stringify({ error: { message: `${key} asked: ${prompt}` } }));
      await answer;
      expect(errors).toEqual([expect.any(HTTPError)]);
      expect((errors[0] as Error).message).toContain('[redacted] asked: [prompt]');
    });
  });

  describe('stops the provider’s request at once when the page leaves', () => {
    it('before there is an answer', async () => {
      const { chat, upstream, errors } = await stage(door);
      const page = new AbortController();
      const answer = chat({ signal: page.signal }).catch(() => 'left');
      const exchange = await upstream.accept();
      page.abort();
      expect(await answer).toBe('left');
      expect(await exchange.ended).toBe('client');
      expect(errors).toEqual([]);
    });

    it('in the middle of it', async () => {
      const { chat, upstream, errors } = await stage(door);
      const page = new AbortController();
      const answer = chat({ signal: page.signal });
      const exchange = await upstream.accept();
      await exchange.write('data: a\n\n');
      await (await answer).body!.getReader().read();
      page.abort();
      expect(await exchange.ended).toBe('client');
      expect(errors).toEqual([]);
    });

    it('while it does not read', async () => {
      const { url, upstream } = await stage(door);
      const client = request(`${url}/acme/models`).end();
      client.on('error', () => undefined); // it is torn down on purpose
      const answered = once(client, 'response') as Promise<[IncomingMessage]>;
      const exchange = await flooded(upstream);
      const [response] = await answered;
      await standstill(() => exchange.bytesSent);
      response.destroy();
      expect(await exchange.ended).toBe('client');
    });

    it('and sends none where it has left before its own was whole, or was let through', async () => {
      const waiting: ((allowed: boolean) => void)[] = [];
      const left: Promise<unknown>[] = [];
      let onAsked: () => void = () => undefined;
      const { url, upstream, errors } = await stage(door, {
        authorize: ({ raw }) => {
          left.push(
            new Promise((resolve) => {
              if ('signal' in raw) raw.signal.addEventListener('abort', resolve);
              else raw.socket.once('close', resolve);
            }),
          );
          onAsked();
          return new Promise<boolean>((resolve) => waiting.push(resolve));
        },
      });
      const isAsked = (): Promise<void> =>
        new Promise((resolve) => {
          onAsked = resolve;
        });
      for (const begun of ['{', undefined]) {
        const asked = isAsked();
        const client = request(`${url}/acme/${begun === undefined ? 'models' : 'chat/completions'}`, {
          method: begun === undefined ? 'GET' : 'POST',
        });
        client.on('error', () => undefined); // it is torn down on purpose
        if (begun === undefined) client.end();
        else client.write(begun);
        await asked;
        client.destroy();
        await left.at(-1);
      }
      // Behind both another one, which stays.
      const asked = isAsked();
      const answer = fetch(`${url}/acme/responses/r1`);
      await asked;
      for (const decide of waiting) decide(true);
      const exchange = await upstream.accept();
      expect(exchange.request.path).toBe('/v1/responses/r1');
      await exchange.end();
      expect((await answer).status).toBe(200);
      expect([upstream.exchanges.length, errors]).toEqual([1, []]);
    });
  });

  it('pauses the provider’s socket where the page is slow, and goes on when it reads', async () => {
    const { url, upstream, errors } = await stage(door);
    const client = request(`${url}/acme/models`).end();
    const answered = once(client, 'response') as Promise<[IncomingMessage]>;
    const exchange = await flooded(upstream);
    const [response] = await answered;
    const stood = await standstill(() => exchange.bytesSent);
    expect(stood).toBeLessThan(FAR_TOO_MUCH / 2);
    let bytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
    expect(bytes).toBe(FAR_TOO_MUCH);
    expect(errors).toEqual([]);
  });

  it('serves many at once, each with its own answer', async () => {
    const { url, upstream } = await stage(door);
    const answers = Array.from({ length: 20 }, (_, i) => fetch(`${url}/acme/responses/r${String(i)}`));
    for (const _ of answers) {
      const exchange = await upstream.accept();
      void exchange.end(exchange.request.path);
    }
    const texts = await Promise.all(answers.map(async (answer) => (await answer).text()));
    expect(texts).toEqual(answers.map((_, i) => `/v1/responses/r${String(i)}`));
  });

  it('asks a key that is a function for each request, and refuses one that is none', async () => {
    const upstream = await serve();
    const keys = [secretKey(), secretKey(), 'not a\nkey'];
    const errors: unknown[] = [];
    const proxy = proxyHandler({
      providers: { acme: openai({ baseURL: upstream.url, apiKey: () => Promise.resolve(keys.shift() ?? '') }) },
      allow: ['GET /acme/models'],
      onError: (error) => errors.push(error),
    });
    const { url } = await serveNode(door.open(proxy));
    for (const key of [...keys].slice(0, 2)) {
      const answer = fetch(`${url}/acme/models`);
      const exchange = await upstream.accept();
      expect(exchange.request.headers.authorization).toBe(`Bearer ${key}`);
      await exchange.end();
      await answer;
    }
    const response = await fetch(`${url}/acme/models`);
    expect([response.status, await codeOf(response)]).toEqual([500, 'internal']);
    expect(String(errors)).not.toContain('not a');
  });
});

describe.each(proxyDoors)('proxyHandler on a platform that has only fetch, its $name door,', (door) => {
  const platform = { fetch: (url: string, init: RequestInit) => fetch(url, init) };

  it('streams, stops and follows no redirect all the same', async () => {
    const { chat, upstream, key } = await stage(door, platform);
    const page = new AbortController();
    const answer = chat({ signal: page.signal });
    const exchange = await upstream.accept();
    expect(exchange.request.headers.authorization).toBe(`Bearer ${key}`);
    await exchange.write(`data: ${key}\n\n`);
    const reader = (await answer).body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(`data: ${'*'.repeat(key.length)}\n\n`);
    page.abort();
    expect(await exchange.ended).toBe('client');
    const moved = chat();
    const second = await upstream.accept();
    second.respond({ status: 307, headers: { location: '/v1/models' } });
    await second.end();
    const response = await moved;
    expect([response.status, await codeOf(response)]).toEqual([502, 'upstream_redirect']);
    expect(upstream.exchanges).toHaveLength(2);
  });

  it('undoes no coding twice', async () => {
    const { chat, upstream } = await stage(door, platform);
    const answer = chat();
    const exchange = await upstream.accept();
    exchange.respond({ headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } });
    await exchange.end(gzipSync('{}'));
    const response = await answer;
    expect([response.headers.get('content-encoding'), await response.text()]).toEqual([null, '{}']);
  });
});

describe('proxyHandler', () => {
  it('is left out of a page that does not use it', async () => {
    const page = `import { fromCall } from 'millrace'; import { openai } from 'millrace/providers';`;
    const asking = `${page} fromCall(openai().chat({ model: 'm', messages: [] })).subscribe();`;
    expect(await bundlePage(asking)).not.toContain('upstream_redirect');
    const serving = await bundlePage(`${asking} import { proxyHandler } from 'millrace'; window.proxy = proxyHandler;`);
    expect(serving).toContain('upstream_redirect');
  });

  const providers = { acme: openai({ apiKey: 'key-of-the-tests', baseURL: 'http://127.0.0.1:9' }) };
  const allow = ['GET /acme/models'];

  it.each<[string, Partial<ProxyHandlerOptions>, typeof TypeError | typeof RangeError]>([
    ['an empty list', { allow: [] }, TypeError],
    ['a limit below 0', { maxBodyBytes: -1 }, RangeError],
    ['a limit that is no number', { maxBodyBytes: Number.NaN }, RangeError],
    ['a time that no timer holds', { headersTimeoutMs: 2 ** 31 }, RangeError],
    ['a time below 0', { bodyTimeoutMs: -1 }, RangeError],
    ['a time to connect of 0', { connectTimeoutMs: 0 }, RangeError],
    ['a dispatcher that is none', { dispatcher: {} }, TypeError],
    ['another word for crossSite', { crossSite: 'maybe' as 'allow' }, TypeError],
    ...[
      ...[
        'Cookie',
        'authorization',
        'x-api-key',
        'host',
        'connection',
        'te',
        'transfer-encoding',
        'content-length',
        'origin',
      ],
      ...[
        'proxy-authorization',
        'x-forwarded-for',
        'forwarded',
        'via',
        'x-inf-target-url',
        'sec-fetch-site',
        'a b',
        '',
        'a:b',
      ],
    ].map((name): [string, Partial<ProxyHandlerOptions>, typeof TypeError] => [
      `to forward ${JSON.stringify(name)}`,
      { forwardHeaders: [name] },
      TypeError,
    ]),
  ])('refuses %s when it is called', (_, options, error) => {
    expect(() => proxyHandler({ providers, allow, ...options })).toThrow(error);
  });

  it('asks nobody when it is made', async () => {
    const upstream = await serve();
    const apiKey = vi.fn(() => 'key-of-the-tests');
    proxyHandler({ providers: { acme: openai({ apiKey, baseURL: upstream.url }) }, allow });
    expect([apiKey.mock.calls.length, upstream.connections()]).toEqual([0, 0]);
  });

  it('passes on the headers that it is told to, under those of the server', async () => {
    const upstream = await serve();
    const { fetch: answer } = proxyHandler({
      providers: {
        acme: openai({ apiKey: 'key-of-the-tests', baseURL: upstream.url, headers: { 'x-two': 'server' } }),
      },
      allow,
      forwardHeaders: ['X-One', 'x-two'],
    });
    const headers = { 'x-one': 'page', 'x-two': 'page', 'x-three': 'page' };
    const response = answer(new Request('http://a.test/acme/models', { headers }));
    const exchange = await upstream.accept();
    expect(exchange.request.headers).toMatchObject({ 'x-one': 'page', 'x-two': 'server' });
    expect(exchange.request.headers).not.toHaveProperty('x-three');
    await exchange.end();
    expect((await response).status).toBe(200);
  });

  it('warns of what only its keeper can mend, where nobody listens, and quotes no one', async () => {
    const upstream = await serve();
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    onTestFinished(() => {
      warned.mockRestore();
    });
    const ask = async (options: Partial<ProxyHandlerOptions>, status: number): Promise<number> => {
      const own = { acme: openai({ apiKey: 'key-of-the-tests', baseURL: upstream.url }) };
      const response = proxyHandler({ providers: own, allow, ...options }).fetch(
        new Request('http://a.test/acme/models'),
      );
      if (status !== 0) {
        const exchange = await upstream.accept();
        exchange.respond({ status, headers: { 'content-type': 'application/json' } });
        await exchange.end('{}');
      }
      return (await response).status;
    };
    const throwing = (): never => {
      throw new RangeError('the key is key-of-the-tests');
    };
    expect(await ask({}, 500)).toBe(500);
    expect(warned).not.toHaveBeenCalled();
    expect(await ask({}, 401)).toBe(502);
    expect(await ask({ authorize: throwing }, 0)).toBe(500);
    expect(await ask({ onError: throwing }, 500)).toBe(500);
    expect(warned.mock.calls.map(([message]) => message)).toEqual([
      'proxyHandler: acme refused the key of this server',
      'proxyHandler failed with RangeError; give it onError to see why',
      'proxyHandler failed with RangeError; give it onError to see why',
    ]);
  });

  it('tells `onError` which request it was', async () => {
    const heard: (ProxyRequest | undefined)[] = [];
    const { fetch: answer } = proxyHandler({ providers, allow, onError: (_, request) => heard.push(request) });
    expect((await answer(new Request('http://a.test/acme/models'))).status).toBe(502);
    expect(heard).toMatchObject([{ provider: 'acme', method: 'GET', path: '/models' }]);
  });

  it('begins nothing while the program shuts down', async () => {
    const { fetch: answer } = proxyHandler({ providers, allow, onError: () => undefined });
    running.phase = 'closed';
    onTestFinished(() => {
      running.phase = 'open';
    });
    const response = await answer(new Request('http://a.test/acme/models'));
    expect([response.status, await codeOf(response)]).toEqual([503, 'shutting_down']);
  });

  it('does not crash a server where somebody else has answered already', async () => {
    const errors: unknown[] = [];
    const upstream = await serve();
    const proxy = proxyHandler({
      providers: { acme: openai({ apiKey: 'key-of-the-tests', baseURL: upstream.url }) },
      allow,
      onError: (error) => errors.push(error),
    });
    let over: Promise<void> = Promise.resolve();
    const { url } = await serveNode((request, response) => {
      over = proxy.node(request, response);
      response.writeHead(200).write('mine');
    });
    const answer = fetch(`${url}/acme/models`);
    const exchange = await upstream.accept();
    exchange.respond();
    await over;
    expect(await exchange.ended).toBe('client');
    expect(errors).toMatchObject([{ code: 'ERR_HTTP_HEADERS_SENT' }]);
    await expect(answer.then((response) => response.text())).rejects.toThrow();
  });

  it('answers a page that has left before it was asked with nothing', async () => {
    const upstream = await serve();
    const { fetch: answer } = proxyHandler({
      providers: { acme: openai({ apiKey: 'key-of-the-tests', baseURL: upstream.url }) },
      allow,
    });
    const response = await answer(new Request('http://a.test/acme/models', { signal: AbortSignal.abort() }));
    expect(response.ok).toBe(false);
    expect(upstream.connections()).toBe(0);
  });

  it('errors the body of a request that is aborted, and does not close it', async () => {
    const upstream = await serve();
    const page = new AbortController();
    const { fetch: answer } = proxyHandler({
      providers: { acme: openai({ apiKey: 'key-of-the-tests', baseURL: upstream.url }) },
      allow,
    });
    const answered = answer(new Request('http://a.test/acme/models', { signal: page.signal }));
    const exchange = await upstream.accept();
    await exchange.write('data: a\n\n');
    const reader = (await answered).body!.getReader();
    await reader.read();
    const rest = reader.read();
    page.abort();
    await expect(rest).rejects.toThrow('The page has left');
    expect(await exchange.ended).toBe('client');
  });
});

/** Answers the next request with more than any buffer holds, as fast as it is taken. */
async function flooded(upstream: TestServer): Promise<Exchange> {
  const exchange = await upstream.accept();
  exchange.respond();
  void pour(exchange);
  return exchange;
}

async function pour(exchange: Exchange): Promise<void> {
  const chunk = new Uint8Array(64 * 1024).fill(0x61);
  for (let sent = 0; sent < FAR_TOO_MUCH; sent += chunk.length) if (!(await exchange.write(chunk))) return;
  await exchange.end();
}
