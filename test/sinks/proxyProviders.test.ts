import { lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Call } from '../../src/protocol/call.js';
import {
  anthropic,
  gateway,
  gemini,
  inferencesh,
  infernet,
  infron,
  ollama,
  openai,
  openaiCompatible,
  polargrid,
  type ProviderOptions,
} from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { proxyHandler } from '../../src/sinks/proxyHandler.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type ProviderServer, startProviderServer, startServer } from '../../src/testing/index.js';
import { keysIn, secretKey } from '../support/keys.js';
import { type ProxyDoor, proxyDoors } from '../support/proxyDoors.js';
import { serveNode } from '../support/webServer.js';

async function provide(): Promise<ProviderServer> {
  const server = await startProviderServer({ now: () => 1_800_000_000_000 });
  onTestFinished(() => server.close());
  return server;
}

type Options = ProviderOptions & { readonly baseURL: string };
const messages = [{ role: 'user', content: 'Why do rivers meander?' }];

interface Way {
  readonly name: string;
  /** What of it the proxy is given. */
  readonly adapter: (options: Options) => object;
  readonly at: keyof ProviderServer['baseURLs'];
  readonly allow: readonly string[];
  readonly ask: (options: Options) => Call;
}

const ways: readonly Way[] = [
  {
    name: 'openai.chat',
    at: 'openai',
    adapter: openai,
    allow: ['POST /p/chat/completions'],
    ask: (options) => openai(options).chat({ model: 'm', messages }),
  },
  {
    name: 'openai.responses',
    at: 'openai',
    adapter: openai,
    allow: ['POST /p/responses'],
    ask: (options) => openai(options).responses({ model: 'm', input: 'Hello' }),
  },
  {
    name: 'openaiCompatible.chat',
    at: 'openai',
    adapter: (options) => openaiCompatible({ preset: 'groq', ...options }),
    allow: ['POST /p/chat/completions'],
    ask: (options) => openaiCompatible({ preset: 'groq', ...options }).chat({ model: 'm', messages }),
  },
  {
    name: 'anthropic.messages',
    at: 'anthropic',
    adapter: anthropic,
    allow: ['POST /p/v1/messages'],
    ask: (options) => anthropic(options).messages({ model: 'm', max_tokens: 100, messages }),
  },
  {
    name: 'gemini.generateContent',
    at: 'gemini',
    adapter: gemini,
    allow: ['POST /p/models/{model}:streamGenerateContent'],
    ask: (options) => gemini(options).generateContent({ model: 'm', contents: 'Hello' }),
  },
  {
    name: 'ollama.chat',
    at: 'ollama',
    adapter: ollama,
    allow: ['POST /p/api/chat'],
    ask: (options) => ollama(options).chat({ model: 'm', messages }),
  },
  {
    name: 'infron.chat',
    at: 'infron',
    adapter: infron,
    allow: ['POST /p/chat/completions'],
    ask: (options) => infron(options).chat({ model: 'm', messages }),
  },
  {
    name: 'polargrid.chat',
    at: 'polargrid',
    adapter: polargrid,
    allow: ['POST /p/chat/completions'],
    ask: (options) => polargrid(options).chat({ model: 'm', messages }),
  },
  {
    name: 'gateway.chat',
    at: 'gateway',
    adapter: gateway,
    allow: ['POST /p/generate/stream'],
    ask: (options) => gateway(options).chat({ service_name: 's', model_name: 'm', input: 'Hello' }),
  },
  {
    name: 'gateway.generate',
    at: 'gateway',
    adapter: gateway,
    allow: ['POST /p/generate'],
    ask: (options) => gateway(options).generate({ service_name: 's', model_name: 'm', input: 'Hello' }),
  },
  {
    name: 'infernet.chat',
    at: 'infernet',
    adapter: infernet,
    allow: ['POST /p/jobs', 'GET /p/jobs/{id}', 'GET /p/jobs/{id}/stream'],
    ask: (options) => infernet(options).chat({ model: 'm', messages }),
  },
  {
    name: 'infernet.native',
    at: 'infernetOrigin',
    adapter: ({ baseURL, ...options }) => infernet({ ...options, originURL: baseURL }).native,
    allow: ['POST /p/api/chat', 'GET /p/api/chat/stream/{id}'],
    ask: ({ baseURL, ...options }) => infernet({ ...options, originURL: baseURL }).native({ messages }),
  },
  {
    name: 'inferencesh.run',
    at: 'inferencesh',
    adapter: inferencesh,
    allow: ['POST /p/apps/run', 'GET /p/tasks/{id}', 'GET /p/tasks/{id}/stream', 'POST /p/tasks/{id}/cancel'],
    ask: (options) => inferencesh(options).run({ app: 'a/b@1', input: { text: 'Hello' } }),
  },
  {
    name: 'inferencesh.agent',
    at: 'inferencesh',
    adapter: inferencesh,
    allow: [
      'POST /p/agents/run',
      'GET /p/chats/{id}',
      'GET /p/chats/{id}/stream',
      'POST /p/chats/{id}/stop',
      'POST /p/tools/{id}',
    ],
    ask: (options) => inferencesh(options).agent({ agent: 'a/b@1', input: 'Hello' }),
  },
];

/** A provider server, and a proxy before it, by whose URL a page's adapter asks without a key. */
async function stage(door: ProxyDoor, { at, adapter, allow }: Way) {
  const server = await provide();
  const key = secretKey();
  const proxy = proxyHandler({
    providers: { p: adapter({ apiKey: key, baseURL: server.baseURLs[at] }) },
    allow,
    mountPath: '/api/proxy',
  });
  const { url } = await serveNode(door.open(proxy));
  const seen: string[] = [];
  /** As a page's: by `fetch`, whose answers are looked at. */
  const pageFetch = async (asked: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(asked, init);
    seen.push(JSON.stringify([asked, init.headers, [...response.headers]]));
    if (!response.ok) seen.push(await response.clone().text());
    return response;
  };
  return { server, key, options: { baseURL: `${url}/api/proxy/p`, apiKey: null }, pageFetch, seen };
}

describe.each(proxyDoors)('through proxyHandler, its $name door,', (door) => {
  it.each(ways)('$name of a page is answered as it would be directly', async (way) => {
    const { server, key, options, pageFetch, seen } = await stage(door, way);
    const other = await provide();
    const direct = way.ask({ baseURL: other.baseURLs[way.at], apiKey: 'any' });
    const told = await lastValueFrom(fromCall(direct).pipe(toArray()));
    const through = await lastValueFrom(fromCall(way.ask(options), { fetch: pageFetch }).pipe(toArray()));
    expect(through).toEqual(told);
    expect(through.at(-1)).toMatchObject({ type: 'finish' });
    // Its lines are all that it asks for, with the key in the place where it belongs.
    const asked = ({ requests }: ProviderServer): unknown => requests.map(({ method, path }) => [method, path]);
    expect(asked(server)).toEqual(asked(other));
    for (const { headers } of server.requests) expect(keysIn(JSON.stringify(headers))).toEqual([key]);
    expect(keysIn(seen.join() + JSON.stringify(through))).toEqual([]);
    expect(seen.join()).not.toMatch(/authorization|api-key/i);
  });

  it('an answer of ten thousand pieces is whole', async () => {
    const way = ways[0]!;
    const { server, options, pageFetch } = await stage(door, way);
    const pieces = Array.from({ length: 10_000 }, (_, i) => `${String(i)} `);
    server.next({ pieces });
    expect((await collect(way.ask(options), { fetch: pageFetch })).text).toBe(pieces.join(''));
  });

  it('a page that stops a task cancels it, by the line that allows it', async () => {
    const way = ways.find(({ name }) => name === 'inferencesh.run')!;
    const { server, options, pageFetch } = await stage(door, way);
    server.next({ pieces: ['a', 'b'], fault: { kind: 'stall', at: { frame: 1 } } });
    const call = way.ask(options);
    const subscription = fromCall(call, { fetch: pageFetch }).subscribe();
    await server.nextRequest();
    const streaming = await server.nextRequest();
    expect(streaming.path).toMatch(/stream$/);
    subscription.unsubscribe();
    expect(await streaming.ended).toBe('client');
    expect((await server.nextRequest()).path).toMatch(/tasks\/[^/]+\/cancel$/);
  });

  it('a refusal of the provider is the page’s HTTPError', async () => {
    const way = ways[0]!;
    const { server, options, pageFetch } = await stage(door, way);
    server.next({ status: 429, error: { message: 'slow down' }, headers: { 'retry-after': '3' } });
    const error: unknown = await collect(way.ask(options), { fetch: pageFetch }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ERR_HTTP', status: 429, retryAfterMs: 3_000, providerMessage: 'slow down' });
  });

  it('a refusal of the proxy is the page’s HTTPError too', async () => {
    const way = { ...ways[0]!, allow: ['GET /p/models'] };
    const { server, options, pageFetch } = await stage(door, way);
    const error: unknown = await collect(way.ask(options), { fetch: pageFetch }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ERR_HTTP', status: 403, providerCode: 'not_allowed' });
    expect(server.requests).toEqual([]);
  });

  it('a cut is the page’s interruption, behind what came', async () => {
    const way = ways[0]!;
    const { server, options, pageFetch } = await stage(door, way);
    server.next({ pieces: ['one ', 'two ', 'three'], fault: { kind: 'reset', at: { frame: 3 } } });
    const error: unknown = await collect(way.ask(options), { fetch: pageFetch }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ERR_INTERRUPTED', received: { text: expect.stringContaining('one ') } });
  });
});

describe.each(proxyDoors)('proxyHandler, its $name door, for inference.sh’s own client', (door) => {
  // As `@inferencesh/sdk` asks with `proxyUrl`: the header with every request, the parameter with those that stream.
  it('takes the URL it means from its header and its parameter', async () => {
    const upstream = await startServer();
    onTestFinished(() => upstream.close());
    const key = secretKey();
    const proxy = proxyHandler({
      providers: { infsh: inferencesh({ apiKey: key, baseURL: upstream.url }) },
      allow: ['POST /infsh/apps/run', 'GET /infsh/tasks/{id}/stream'],
      mountPath: '/api/inference/proxy',
    });
    const { url } = await serveNode(door.open(proxy));
    const proxyUrl = `${url}/api/inference/proxy`;
    const target = (path: string): Record<string, string> => ({ 'x-inf-target-url': upstream.url + path });

    const run = fetch(proxyUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-version': '2', ...target('/apps/run') },
      body: '{"app":"a/b"}',
    });
    const running = await upstream.accept();
    expect(running.request).toMatchObject({ method: 'POST', path: '/apps/run', text: '{"app":"a/b"}' });
    expect(running.request.headers).toMatchObject({ authorization: `Bearer ${key}`, 'x-api-version': '2' });
    expect(running.request.headers).not.toHaveProperty('x-inf-target-url');
    running.respond({ headers: { 'content-type': 'application/json' } });
    await running.end('{"data":{"id":"t1"}}');
    expect(await (await run).json()).toEqual({ data: { id: 't1' } });

    const path = '/tasks/t1/stream';
    const parameter = `${proxyUrl}?__inf_target=${encodeURIComponent(upstream.url + path)}`;
    for (const headers of [target(path), {}]) {
      const stream = fetch(parameter, { headers: { accept: 'application/x-ndjson', ...headers } });
      const streaming = await upstream.accept();
      expect(streaming.request).toMatchObject({ method: 'GET', path });
      expect([...streaming.request.query]).toEqual([]);
      expect(streaming.request.headers.accept).toBe('application/x-ndjson');
      await streaming.end('{"status":10}\n');
      expect(await (await stream).text()).toBe('{"status":10}\n');
    }

    for (const told of [`${upstream.url}/files`, 'https://evil.test/apps/run', `${upstream.url}@evil.test/apps/run`]) {
      const refused = await fetch(proxyUrl, { method: 'POST', headers: { 'x-inf-target-url': told } });
      expect(refused.status).toBe(403);
    }
    expect(upstream.exchanges).toHaveLength(3);
  });
});
