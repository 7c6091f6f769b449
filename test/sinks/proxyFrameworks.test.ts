import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  type ClientHttp2Stream,
  connect as connectHTTP2,
  constants,
  createServer as createHTTP2Server,
} from 'node:http2';
import { text } from 'node:stream/consumers';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { mount as mounted } from 'hono/mount';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openai } from '../../src/providers/index.js';
import { proxyHandler, type ProxyHandler } from '../../src/sinks/proxyHandler.js';
import { startServer, type TestServer } from '../../src/testing/index.js';
import { serveThrough } from '../support/proxyDoors.js';
import { listenWith, serveNode } from '../support/webServer.js';

async function proxied(mountPath?: string): Promise<{ readonly upstream: TestServer; readonly proxy: ProxyHandler }> {
  const upstream = await startServer();
  onTestFinished(() => upstream.close());
  const proxy = proxyHandler({
    providers: { openai: openai({ apiKey: 'key-of-the-tests', baseURL: upstream.url }) },
    allow: ['POST /openai/chat/completions', 'GET /openai/models'],
    mountPath,
    onError: () => undefined, // the answer tells as much as these tests look at
  });
  return { upstream, proxy };
}

const BODY = '{ "model": "m", "text": "é" }';

/** Asks as a page would; what the provider got, and what the page. */
async function through(url: string, upstream: TestServer): Promise<unknown> {
  const answer = fetch(`${url}/api/proxy/openai/chat/completions?x=1`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: BODY,
  });
  const exchange = await upstream.accept();
  const { path, body } = exchange.request;
  await exchange.end('data: hi\n\n');
  const refused = await fetch(`${url}/api/proxy/openai/files`);
  return [path, body, await (await answer).text(), refused.status];
}
const WELL = ['/chat/completions', JSON.parse(BODY), 'data: hi\n\n', 403];

describe('proxyHandler stands in', () => {
  it('node:http', async () => {
    const { upstream, proxy } = await proxied('/api/proxy');
    const { url } = await serveNode((request, response) => void proxy.node(request, response));
    expect(await through(url, upstream)).toEqual(WELL);
  });

  it('node:http2', async () => {
    const { upstream, proxy } = await proxied('/api/proxy');
    const server = createHTTP2Server((request, response) => {
      // What it uses of the classes of node:http these have too, by design of Node.
      void proxy.node(request as unknown as IncomingMessage, response as unknown as ServerResponse);
    });
    const { url } = await listenWith(server);
    const client = connectHTTP2(url);
    onTestFinished(() => {
      client.destroy();
    });
    const ask = (): ClientHttp2Stream =>
      client.request({ ':method': 'GET', ':path': '/api/proxy/openai/models' }).setEncoding('utf8');
    const whole = ask();
    await (await upstream.accept()).end('data: hi\n\n');
    expect(await text(whole)).toBe('data: hi\n\n');
    const left = ask();
    const exchange = await upstream.accept();
    await exchange.write('data: a\n\n');
    expect(String(await once(left, 'data'))).toBe('data: a\n\n');
    left.close(constants.NGHTTP2_CANCEL);
    expect(await exchange.ended).toBe('client');
    const cut = ask();
    const second = await upstream.accept();
    await second.write('data: a\n\n');
    await once(cut, 'data');
    second.reset();
    await expect(once(cut, 'close')).rejects.toThrow('NGHTTP2_INTERNAL_ERROR');
  });

  describe.each([
    ['that leaves bodies alone', undefined],
    ['that parses JSON', express.json()],
    ['that keeps bodies as bytes', express.raw({ type: '*/*' })],
    ['that keeps bodies as text', express.text({ type: '*/*' })],
  ])('Express %s,', (_, parser) => {
    it.each([
      ['mounted', undefined, (app: express.Express, { node }: ProxyHandler) => app.use('/api/proxy', node)],
      [
        'mounted, and told where',
        '/api/proxy',
        (app: express.Express, { node }: ProxyHandler) => app.use('/api/proxy', node),
      ],
      ['as a route', '/api/proxy', (app: express.Express, { node }: ProxyHandler) => app.all('/api/proxy/*rest', node)],
    ])('%s', async (__, mountPath, mount) => {
      const { upstream, proxy } = await proxied(mountPath);
      const app = express();
      if (parser !== undefined) app.use(parser);
      mount(app, proxy);
      const { url } = await listenWith(createServer(app));
      expect(await through(url, upstream)).toEqual(WELL);
    });
  });

  it('Express, where a body that was read as something else is no body at all', async () => {
    const { upstream, proxy } = await proxied('/api/proxy');
    const app = express().use(express.urlencoded(), proxy.node);
    const { url } = await listenWith(createServer(app));
    const response = await fetch(`${url}/api/proxy/openai/chat/completions`, {
      method: 'POST',
      body: new URLSearchParams({ a: 'b' }),
    });
    expect(response.status).toBe(500);
    expect(upstream.exchanges).toEqual([]);
  });

  it('Fastify, by its raw objects', async () => {
    const { upstream, proxy } = await proxied('/api/proxy');
    const app = fastify({ forceCloseConnections: true });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_, __, done) => {
      done(null);
    });
    app.all('/api/proxy/*', async (request, reply) => {
      reply.hijack();
      await proxy.node(request.raw, reply.raw);
    });
    const url = await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    expect(await through(url, upstream)).toEqual(WELL);
  });

  it('Fastify, where a body that it has read is missed and not sent as none', async () => {
    const { upstream, proxy } = await proxied('/api/proxy');
    const app = fastify({ forceCloseConnections: true });
    app.all('/api/proxy/*', async (request, reply) => {
      reply.hijack();
      await proxy.node(request.raw, reply.raw);
    });
    const url = await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    const response = await fetch(`${url}/api/proxy/openai/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: BODY,
    });
    expect(response.status).toBe(500);
    expect(upstream.exchanges).toEqual([]);
  });

  it.each([
    ['mounted', undefined, (app: Hono, proxy: ProxyHandler) => app.all('/api/proxy/*', mounted(proxy.fetch))],
    [
      'as a route',
      '/api/proxy',
      (app: Hono, proxy: ProxyHandler) => app.all('/api/proxy/*', ({ req }) => proxy.fetch(req.raw)),
    ],
  ])('Hono, %s', async (_, mountPath, mount) => {
    const { upstream, proxy } = await proxied(mountPath);
    const app = new Hono();
    mount(app, proxy);
    const handle = async (request: Request): Promise<Response> => app.fetch(request);
    const { url } = await serveNode((request, response) => void serveThrough(handle, request, response));
    expect(await through(url, upstream)).toEqual(WELL);
  });
});
