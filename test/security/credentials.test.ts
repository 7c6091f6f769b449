import { lastValueFrom, type Observable } from 'rxjs';
import { Agent } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isLoopback, keyNameOf } from '../../src/internal/keyedRequest.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP, type FromHTTPOptions } from '../../src/sources/fromHTTP.js';
import { fromSSE } from '../../src/sources/fromSSE.js';
import type { Exchange } from '../../src/testing/exchange.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import { secretKey } from '../support/keys.js';
import { SECRET_PROMPT, secretAsks } from '../support/secrets.js';
import { expectWarning } from '../support/warnings.js';

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

function ending(source: Observable<unknown>): Promise<unknown> {
  return lastValueFrom(source, { defaultValue: 'empty' }).catch((error: unknown) => error);
}

const STATUSES = [301, 302, 303, 307, 308];

/** Everything that a request brought: nothing in it may be the caller's. */
const broughtBy = ({ request }: Exchange): string =>
  JSON.stringify([request.headers, request.path, [...request.query], request.text]);

describe.each(secretAsks)('a call of $name that is redirected to another origin', ({ ask, header }) => {
  it.each(STATUSES)('with %i brings neither key, nor the caller’s headers, nor its body', async (status) => {
    const [origin, other] = [await serve(), await serve()];
    const key = secretKey();
    const own = secretKey();
    const ended = ending(
      fromCall(ask({ apiKey: key, baseURL: `${origin.url}/v1`, headers: { 'x-mine': own, cookie: `s=${own}` } })),
    );
    const first = await origin.accept();
    expect(first.request.headers[header]).toContain(key);
    expect(first.request.text).toContain(SECRET_PROMPT);
    first.respond({ status, headers: { location: `${other.url}/there` } });
    await first.end();
    if (status === 303) {
      // "See other" is a page to be read; it is read as anybody could.
      const second = await other.accept();
      expect(second.request).toMatchObject({ method: 'GET', text: '' });
      expect(Object.keys(second.request.headers).sort()).toStrictEqual([
        'accept',
        'accept-encoding',
        'connection',
        'host',
      ]);
      expect(broughtBy(second)).not.toMatch(/sk-secret|prompt-secret/);
      second.respond({ status: 404 });
      await second.end();
    }
    await ended;
    expect(other.exchanges).toHaveLength(status === 303 ? 1 : 0);
    for (const exchange of other.exchanges) expect(broughtBy(exchange)).not.toContain(key);
  });
});

const attachable = secretAsks.flatMap(({ name, attach }) => (attach === undefined ? [] : [{ name, attach }]));

describe.each(attachable)('$name of work that exists', ({ attach }) => {
  it.each(STATUSES)('brings no key to another origin with %i', async (status) => {
    const [origin, other] = [await serve(), await serve()];
    const key = secretKey();
    const ended = ending(fromCall(attach({ apiKey: key, baseURL: `${origin.url}/v1` }, 'work1')));
    const first = await origin.accept();
    expect(broughtBy(first)).toContain(key);
    first.respond({ status, headers: { location: `${other.url}/there` } });
    await first.end();
    const second = await other.accept();
    expect(Object.keys(second.request.headers).sort()).toStrictEqual([
      'accept',
      'accept-encoding',
      'connection',
      'host',
    ]);
    expect(broughtBy(second)).not.toContain('sk-secret');
    second.respond({ status: 404 });
    await second.end();
    await ended;
  });

  it.each([
    'a/../../admin',
    '..%2f..',
    'a?key=1',
    'a#b',
    'a\r\nx-injected: 1',
    'a b',
    '\0',
    'ž/',
    '%2e%2e',
    '//evil.test',
  ])('is asked for by an id that stays one segment of the path: %j', async (id) => {
    const origin = await serve();
    const subscription = fromCall(attach({ apiKey: secretKey(), baseURL: `${origin.url}/base` }, id)).subscribe({
      error: () => undefined,
    });
    const { request } = await origin.accept();
    subscription.unsubscribe();
    expect(request.path).toMatch(/^\/(base|api)\//);
    expect(request.path.split('/').map(decodeURIComponent)).toContain(id);
    expect(request.query.has('key')).toBe(false);
    expect(request.headers).not.toHaveProperty('x-injected');
  });

  it.each(['', '.', '..', '\ud800'])('refuses the id %j', (id) => {
    expect(() => attach({ apiKey: secretKey(), baseURL: 'http://127.0.0.1:9/base' }, id)).toThrow(TypeError);
  });
});

describe('headers of a request that is redirected', () => {
  const names = [
    'authorization',
    'proxy-authorization',
    'x-api-key',
    'api-key',
    'x-goog-api-key',
    'xi-api-key',
    'cookie',
    'ocp-apim-subscription-key',
    'x-amz-security-token',
    'x-anything-at-all',
    'last-event-id',
    'user-agent',
    'referer',
  ];

  async function redirected(
    location: (other: TestServer, origin: TestServer) => string,
    hops = 1,
  ): Promise<{ readonly arrived: Exchange; readonly key: string }> {
    const [origin, other] = [await serve(), await serve()];
    const key = secretKey();
    const headers = Object.fromEntries(names.map((name) => [name, key]));
    const ended = ending(fromHTTP(`${origin.url}/a?key=${key}`, { headers }));
    for (let hop = 0; hop < hops; hop += 1) {
      const exchange = await origin.accept();
      expect(exchange.request.headers['x-api-key']).toBe(key);
      const last = hop === hops - 1;
      exchange.respond({ status: 302, headers: { location: last ? location(other, origin) : '/again' } });
      await exchange.end();
    }
    const arrived = await other.accept();
    await arrived.end('data: x\n\n');
    await ended;
    return { arrived, key };
  }

  it.each<[string, (other: TestServer) => string]>([
    ['another port', ({ url }) => `${url}/x`],
    ['another name of the same machine', ({ port }) => `http://localhost:${String(port)}/x`],
    ['a host without a scheme', ({ port }) => `//127.0.0.1:${String(port)}/x`],
    ['a URL with credentials of its own', ({ port }) => `http://user:word@127.0.0.1:${String(port)}/x`],
  ])('stay behind on the way to %s', async (_, location) => {
    const { arrived, key } = await redirected(location);
    expect(broughtBy(arrived)).not.toContain(key);
    for (const name of names) expect(arrived.request.headers).not.toHaveProperty(name);
  });

  it('stay behind after redirects within the origin, too', async () => {
    const { arrived, key } = await redirected(({ url }) => url, 3);
    expect(broughtBy(arrived)).not.toContain(key);
  });

  it('do not come back with a redirect that leads back', async () => {
    const [origin, other] = [await serve(), await serve()];
    const key = secretKey();
    const ended = ending(fromHTTP(origin.url, { headers: { 'x-api-key': key } }));
    for (const [server, location] of [
      [origin, other.url],
      [other, `${origin.url}/back`],
    ] as const) {
      const exchange = await server.accept();
      exchange.respond({ status: 307, headers: { location } });
      await exchange.end();
    }
    const back = await origin.accept();
    expect(broughtBy(back)).not.toContain(key);
    await back.end('data: x\n\n');
    await ended;
  });

  it('stay behind when the caller reads server-sent events, its event id with them', async () => {
    const [origin, other] = [await serve(), await serve()];
    const key = secretKey();
    const subscription = fromSSE(origin.url, {
      headers: { authorization: `Bearer ${key}` },
      lastEventId: key,
    }).subscribe();
    const first = await origin.accept();
    expect(first.request.headers['last-event-id']).toBe(key);
    first.respond({ status: 307, headers: { location: other.url } });
    await first.end();
    const second = await other.accept();
    expect(broughtBy(second)).not.toContain(key);
    subscription.unsubscribe();
  });
});

describe('what is sent', () => {
  const url = 'http://127.0.0.1:9/';

  it.each(['a\r\nx: y', 'a\nb', 'a\rb', 'a\0b', 'a\u2028b', 'key\n', '€'])('is no header value %j', (value) => {
    const key = `${secretKey()}${value}`;
    for (const name of ['authorization', 'x-api-key', 'last-event-id']) {
      expect(() => fromHTTP(url, { headers: { [name]: key } })).toThrow(TypeError);
      expect(() => fromHTTP(url, { headers: { [name]: key } })).not.toThrow(/sk-secret/);
    }
    expect(() => fromSSE(url, { headers: { authorization: key } })).toThrow(TypeError);
    if (value !== '€' && value !== 'a\u2028b') expect(() => fromSSE(url, { lastEventId: key })).toThrow(TypeError);
  });

  it.each(['x\r\ny', 'x:y', 'x y', '', 'ž', 'x\0'])('is no header of the name %j', (name) => {
    expect(() => fromHTTP(url, { headers: { [name]: 'a' } })).toThrow(TypeError);
  });

  it.each(['http://user:word@127.0.0.1/', 'http://key@127.0.0.1/', 'ftp://127.0.0.1/', 'file:///etc/passwd', '/a', ''])(
    'goes to no URL %j, which is not quoted',
    (wrong) => {
      for (const make of [fromHTTP, fromSSE]) {
        expect(() => make(wrong)).toThrow(TypeError);
        expect(() => make(wrong)).not.toThrow(/word|key@/);
      }
    },
  );

  it.each(['GET\r\nx: y', 'GE T', '', 'CONNECT'])('goes by no method %j', (method) => {
    expect(() => fromHTTP(url, { method })).toThrow(TypeError);
  });

  it.each(secretAsks)('by $name holds no key that could be two headers', ({ ask }) => {
    for (const bad of ['a\r\nx: y', 'a\nb', 'a b', 'a\0']) {
      expect(() => ask({ apiKey: bad, baseURL: url })).toThrow(TypeError);
    }
    expect(() => ask({ apiKey: 'key-of-the-tests', baseURL: 'https://user:word@a.test' })).toThrow(TypeError);
    expect(() => ask({ apiKey: 'key-of-the-tests', baseURL: 'https://user:word@a.test' })).not.toThrow(/word/);
  });

  it.each(secretAsks)(
    'by $name with a bad header of the caller’s is a TypeError, and nothing is sent',
    async ({ ask }) => {
      const server = await serve();
      const headers = { 'x-mine': `${secretKey()}\r\nx-injected: 1` };
      const end = await ending(fromCall(ask({ apiKey: secretKey(), baseURL: server.url, headers })));
      expect(end).toBeInstanceOf(TypeError);
      expect(String(end)).not.toContain('sk-secret');
      expect(server.exchanges).toHaveLength(0);
    },
  );
});

describe('a key that goes over plain http', () => {
  /** A dispatcher that takes every host for this server, so that nothing leaves the machine; and the warnings meanwhile. */
  async function watched(): Promise<{
    readonly send: (url: string, options?: FromHTTPOptions) => Promise<unknown>;
    readonly warnings: readonly Error[];
  }> {
    const server = await serve();
    const agent = new Agent({
      connect: {
        lookup: (_, options, done) => {
          if (options.all === true) done(null, [{ address: '127.0.0.1', family: 4 }]);
          else done(null, '127.0.0.1', 4);
        },
      },
    });
    const warnings: Error[] = [];
    const listen = (warning: Error): void => {
      if (warning.name === 'MillraceWarning') warnings.push(warning);
    };
    process.on('warning', listen);
    onTestFinished(async () => {
      process.off('warning', listen);
      await agent.close();
    });
    return {
      warnings,
      send: async (address, options) => {
        const url = new URL(address);
        if (url.port === '') url.port = String(server.port);
        const ended = ending(fromHTTP(url, { dispatcher: agent, ...options }));
        const exchange = await server.accept();
        await exchange.end('data: x\n\n');
        await ended;
        // Node emits a warning in the next turn.
        await new Promise((resolve) => setImmediate(resolve));
        return exchange;
      },
    };
  }

  it('is a warning, once for each origin, which shows no key and no query', async () => {
    expectWarning(/^MillraceWarning: A key may be going to http:\/\/(one|two)\.millrace\.test:/);
    const { send, warnings } = await watched();
    const headers = { authorization: `Bearer ${secretKey()}` };
    for (let i = 0; i < 3; i += 1) await send(`http://one.millrace.test/v1?key=${secretKey()}`, { headers });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toContain('http://one.millrace.test:');
    expect(warnings[0]?.message).toContain('the header authorization');
    expect(warnings[0]?.message).not.toMatch(/sk-secret|\?/);
    await send('http://two.millrace.test/', { headers });
    expect(warnings).toHaveLength(2);
  });

  it('is none on this machine, without a key, or over https', async () => {
    const { send, warnings } = await watched();
    const headers = { 'x-api-key': secretKey() };
    await send('http://127.0.0.1/', { headers });
    await send('http://localhost/', { headers });
    await send('http://deep.localhost/', { headers });
    await send('http://three.millrace.test/', { headers: { 'x-team': 'water', 'idempotency-key': '1' } });
    expect(warnings).toStrictEqual([]);
  });

  it.each(['127.0.0.1', '127.8.9.10', 'localhost', 'a.localhost', '[::1]', '[::ffff:7f00:1]'])(
    '%s is this machine',
    (host) => {
      expect(isLoopback(new URL(`http://${host}/`).hostname)).toBe(true);
    },
  );

  it.each([
    '10.0.0.1',
    '192.168.0.1',
    '128.0.0.1',
    'localhost.test',
    'mylocalhost',
    '[::2]',
    '[::ffff:8000:1]',
    '0.0.0.0',
  ])('%s is another machine', (host) => {
    expect(isLoopback(new URL(`http://${host}/`).hostname)).toBe(false);
  });

  it.each([
    'authorization',
    'proxy-authorization',
    'x-api-key',
    'api-key',
    'x-goog-api-key',
    'xi-api-key',
    'cookie',
    'x-auth-token',
    'x-acme-secret',
    'apikey',
    'x-session',
  ])('may be in the header %s', (name) => {
    expect(keyNameOf(new URL('http://a.test/'), { [name]: 'x' })).toBe(`the header ${name}`);
  });

  it.each(['key', 'api_key', 'access_token', 'token', 'sig-token'])('may be in the query parameter %s', (name) => {
    expect(keyNameOf(new URL(`http://a.test/?${name}=x`), {})).toBe(`the query parameter ${name}`);
  });

  it.each([
    'accept',
    'content-type',
    'x-team',
    'idempotency-key',
    'x-idempotency-key',
    'x-author',
    'monkey',
    'keyboard',
    'tokens',
  ])('is not what %s says', (name) => {
    expect(keyNameOf(new URL(`http://a.test/?${name}=x`), { [name]: 'x' })).toBeUndefined();
  });
});
