import { lastValueFrom } from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import * as z from 'zod/mini';
import { HTTPError } from '../../src/errors.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { toTokens } from '../../src/operators/toTokens.js';
import type { CallRequest } from '../../src/protocol/call.js';
import { dialect } from '../../src/protocol/dialect.js';
import {
  type APIKey,
  type CallParts,
  type Calls,
  provider,
  type ProviderDefinition,
  type ProviderOptions,
} from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type Exchange, startServer, type TestServer } from '../../src/testing/index.js';

const ENV = 'MILLRACE_TEST_KEY';
const definition: ProviderDefinition = { name: 'acme', baseURL: 'https://api.acme.example/v1', env: ENV };

const format = dialect({
  name: 'acme',
  frame: z.looseObject({ piece: z.optional(z.string()), over: z.optional(z.boolean()) }),
  decode: (frame, stream) => {
    if (frame.piece) stream.emit({ type: 'text', text: frame.piece, index: 0, name: 'output' });
    if (frame.over) {
      stream.prove('stop');
      stream.done();
    }
  },
});
const good = 'data: {"piece":"Hel"}\n\ndata: {"piece":"lo"}\n\ndata: {"over":true}\n\n';

const Asked = z.looseObject({ model: z.string('must be a string'), prompt: z.string('must be a string') });
type Asked = z.infer<typeof Asked>;
const asked: Asked = { model: 'm', prompt: 'Hello' };

interface Made {
  readonly apiKey?: APIKey | undefined;
  readonly options?: ProviderOptions;
  readonly more?: Partial<ProviderDefinition>;
  readonly parts?: Omit<CallParts, 'stream'>;
}

/** The example of the docstring, against any base. */
function chatOf(baseURL: string, { apiKey = 'k', options, more, parts }: Made = {}): Calls<Asked> {
  const acme = provider({ ...definition, ...more }, { apiKey, baseURL, ...options });
  return acme.calls({
    name: 'chat',
    request: Asked,
    dialect: format,
    call: (request) => ({ stream: acme.post('/chat', { ...request, stream: true }), ...parts }),
  });
}

async function server(): Promise<TestServer> {
  const started = await startServer();
  onTestFinished(() => started.close());
  return started;
}

/** Answers requests in the order in which they come, each in its own way. */
async function answer(
  { accept }: TestServer,
  ...answers: readonly ((exchange: Exchange) => unknown)[]
): Promise<Exchange[]> {
  const exchanges: Exchange[] = [];
  for (const each of answers) {
    const exchange = await accept();
    exchanges.push(exchange);
    await each(exchange);
  }
  return exchanges;
}

const well = (exchange: Exchange): Promise<boolean> => exchange.end(good);

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('provider', () => {
  it('makes calls that are asked and read as its example says', async () => {
    const { url, accept } = await server();
    const reading = collect(fromCall(chatOf(url)({ ...asked, seed: 7 })));
    const exchange = await accept();
    expect(exchange.request).toMatchObject({
      method: 'POST',
      path: '/chat',
      headers: { authorization: 'Bearer k', accept: 'text/event-stream', 'content-type': 'application/json' },
      body: { model: 'm', prompt: 'Hello', seed: 7, stream: true },
    });
    await exchange.end(good);
    expect(await reading).toMatchObject({ text: 'Hello', finish: { reason: 'stop' } });
  });

  it('sends nothing before it is subscribed to, and one request for each subscription', async () => {
    const started = await server();
    const call = chatOf(started.url)(asked);
    const tokens = fromCall(call).pipe(toTokens());
    await new Promise((resolve) => setImmediate(resolve));
    expect(started.exchanges).toHaveLength(0);
    const [first, second] = [lastValueFrom(tokens), lastValueFrom(tokens)];
    await answer(started, well, well);
    expect(await Promise.all([first, second])).toEqual(['lo', 'lo']);
    expect(started.exchanges).toHaveLength(2);
  });

  it('fails as its server does', async () => {
    const started = await server();
    const reading = collect(fromCall(chatOf(started.url)(asked)));
    await answer(started, (exchange) => {
      exchange.respond({ status: 402, headers: { 'content-type': 'application/json' } });
      return exchange.end('{"error":{"code":"broke","message":"no credit"}}');
    });
    await expect(reading).rejects.toMatchObject({ status: 402 });
    await expect(reading).rejects.toBeInstanceOf(HTTPError);
  });

  describe('the key', () => {
    it('is asked for each attempt where it is a function', async () => {
      const started = await server();
      let count = 0;
      const call = chatOf(started.url, { apiKey: () => Promise.resolve(`k${String((count += 1))}`) })(asked);
      expect(count).toBe(0);
      const reading = collect(fromCall(call).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0, maxMs: 0 } })));
      const exchanges = await answer(
        started,
        (exchange) => {
          exchange.reset();
        },
        well,
      );
      expect(await reading).toMatchObject({ text: 'Hello' });
      expect(exchanges.map(({ request }) => request.headers.authorization)).toEqual(['Bearer k1', 'Bearer k2']);
    });

    it('comes from the environment where the caller gives none, and the caller stands over it', async () => {
      vi.stubEnv(ENV, 'from-env');
      expect(await provider(definition).authorize()).toEqual({ authorization: 'Bearer from-env' });
      expect(await provider(definition, { apiKey: undefined }).authorize()).toEqual({
        authorization: 'Bearer from-env',
      });
      expect(await provider(definition, { apiKey: 'k' }).authorize()).toEqual({ authorization: 'Bearer k' });
    });

    it('is sent in a header of its own where the API has one', async () => {
      const acme = provider({ ...definition, keyHeader: 'x-acme-key' }, { apiKey: 'k' });
      expect(await acme.authorize()).toEqual({ 'x-acme-key': 'k' });
    });

    it('is missed when a call is made, not before', () => {
      vi.stubEnv(ENV, '');
      const acme = provider(definition);
      const chat = acme.calls({
        name: 'chat',
        request: Asked,
        dialect: format,
        call: () => ({ stream: acme.post('/chat') }),
      });
      expect(chat.dialect).toBe(format);
      expect(() => chat(asked)).toThrow(TypeError);
      expect(() => chat(asked)).toThrow(/acme needs a key: give acme\(\{ apiKey \}\).*MILLRACE_TEST_KEY/);
      expect(() => acme.authorize).toThrow(/acme needs a key/);
      vi.stubEnv(ENV, 'later');
      expect(chat(asked).authorize()).toEqual({ authorization: 'Bearer later' });
    });

    it('is not missed where it is optional, or where a call brings credentials of its own', async () => {
      vi.stubEnv(ENV, '');
      expect(await provider({ ...definition, key: 'optional' }).authorize()).toEqual({});
      expect(await provider({ ...definition, key: 'optional' }, { apiKey: 'k' }).authorize()).toEqual({
        authorization: 'Bearer k',
      });
      const acme = provider(definition);
      const own = { authorization: 'Basic abc' };
      const chat = acme.calls({
        name: 'chat',
        request: Asked,
        dialect: format,
        call: () => ({ stream: acme.post('/chat'), authorize: () => own }),
      });
      expect(await chat(asked).authorize()).toBe(own);
    });

    it.each(['', 'secret\n', 'sec ret'])('is refused at once where no header can carry it, unquoted: %j', (apiKey) => {
      expect(() => provider(definition, { apiKey })).toThrow(TypeError);
      expect(() => provider(definition, { apiKey })).not.toThrow(/sec/);
    });

    it('of an optional kind is checked all the same', () => {
      expect(() => provider({ ...definition, key: 'optional' }, { apiKey: 'sec ret' })).toThrow(TypeError);
    });
  });

  describe('headers', () => {
    it('of the caller stand over those of the API, and both are sent', async () => {
      const { url, accept } = await server();
      const more = { headers: { 'x-version': '1', 'x-kept': 'yes' } };
      const reading = collect(fromCall(chatOf(url, { more, options: { headers: { 'x-version': '2' } } })(asked)));
      const exchange = await accept();
      expect(exchange.request.headers).toMatchObject({ 'x-version': '2', 'x-kept': 'yes', authorization: 'Bearer k' });
      await exchange.end(good);
      await reading;
    });

    it('stay as the API has them where the caller says nothing', () => {
      const headers = { 'x-version': '1' };
      expect(provider({ ...definition, headers }, { headers: undefined }).get('/models').headers).toEqual(headers);
      expect(provider(definition).get('/models').headers).toBeUndefined();
    });
  });

  describe('the base URL', () => {
    it.each([
      [undefined, 'https://api.acme.example/v1/chat'],
      ['http://127.0.0.1:8080', 'http://127.0.0.1:8080/chat'],
      ['http://127.0.0.1:8080/deep/v2/', 'http://127.0.0.1:8080/deep/v2/chat'],
      ['https://x.example/v2?api-version=7', 'https://x.example/v2/chat?api-version=7'],
    ])('%j makes %s', (baseURL, url) => {
      const acme = provider(definition, { baseURL });
      expect(acme.post('/chat').url).toBe(url);
      expect(acme.get('chat').url).toBe(url);
    });

    it('keeps its query beside one of the path', () => {
      const acme = provider(definition, { baseURL: 'https://x.example/v2?api-version=7' });
      expect(acme.get('/chat?cursor=3').url).toBe('https://x.example/v2/chat?cursor=3&api-version=7');
    });

    it.each(['', '/v1', 'ftp://x.example', 'https://user:secret@x.example'])('%j is refused unquoted', (baseURL) => {
      expect(() => provider(definition, { baseURL })).toThrow(TypeError);
      expect(() => provider(definition, { baseURL })).not.toThrow(/secret/);
      expect(() => provider({ ...definition, baseURL })).toThrow(TypeError);
    });
  });

  describe('a request', () => {
    it('that does not fit is refused where it is made, in the name of its function', () => {
      const chat = chatOf(definition.baseURL);
      const wrong = { model: 'm', prompt: ['a secret'] } as unknown as Asked;
      expect(() => chat(wrong)).toThrow(TypeError);
      expect(() => chat(wrong)).toThrow('Unexpected shape of the request of acme.chat: prompt: must be a string');
      expect(() => chat(undefined as unknown as Asked)).toThrow(/the request of acme\.chat/);
    });

    it('is refused before a key is missed', () => {
      vi.stubEnv(ENV, '');
      const acme = provider(definition);
      const chat = acme.calls({
        name: 'chat',
        request: Asked,
        dialect: format,
        call: () => ({ stream: acme.post('/chat') }),
      });
      expect(() => chat({ model: 'm' } as Asked)).toThrow(/the request of acme\.chat/);
    });

    it('goes to its function as the schema makes it', () => {
      const seen: unknown[] = [];
      const acme = provider(definition, { apiKey: 'k' });
      const chat = acme.calls({
        name: 'chat',
        request: z.looseObject({ model: z._default(z.string(), 'standard') }),
        dialect: format,
        call: (request) => {
          seen.push(request);
          return { stream: acme.post('/chat', request) };
        },
      });
      const call = chat({ other: 1 } as unknown as { model: string });
      expect(seen).toEqual([{ model: 'standard', other: 1 }]);
      expect(call.model).toBe('standard');
    });

    it('without a model makes a call without one', () => {
      const acme = provider(definition, { apiKey: 'k' });
      const calls = [z.looseObject({}), z.unknown()].map((request) =>
        acme.calls({ name: 'any', request, dialect: format, call: () => ({ stream: acme.get('/any') }) }),
      );
      expect(calls.map((any) => any({ model: 7 }).model)).toEqual([undefined, undefined]);
      expect(calls[1]?.(undefined).model).toBeUndefined();
    });
  });

  describe('a call', () => {
    it('has the model of its request, is asked again after a break, and says nothing of the bill', () => {
      const call = chatOf(definition.baseURL)(asked);
      expect(call).toMatchObject({
        provider: 'acme',
        model: 'm',
        dialect: format,
        leaving: { stop: 'unknown', disconnect: 'unknown' },
        resume: { by: 'ask' },
      });
      expect(Object.keys(call)).not.toContain('cancel');
    });

    it('has what its definition gives in the place of that', () => {
      const parts: Omit<CallParts, 'stream'> = {
        model: 'other',
        leaving: { stop: 'ended', disconnect: 'continues' },
        resume: { by: 'last-event-id' },
        hint: 'ask differently',
      };
      expect(chatOf(definition.baseURL, { parts })(asked)).toMatchObject({ provider: 'acme', ...parts });
    });

    it('is not asked again where its definition says that it cannot be', () => {
      expect(chatOf(definition.baseURL, { parts: { resume: undefined } })(asked).resume).toBeUndefined();
    });

    it.each<[ProviderOptions['leaving'], object]>([
      [undefined, { stop: 'ended', disconnect: 'continues' }],
      [{}, { stop: 'ended', disconnect: 'continues' }],
      [{ stop: 'unknown' }, { stop: 'unknown', disconnect: 'continues' }],
      [
        { stop: 'continues', disconnect: 'ended' },
        { stop: 'continues', disconnect: 'ended' },
      ],
    ])('leaves as the caller says, else as the API does: %j', (leaving, expected) => {
      const more: Partial<ProviderDefinition> = { leaving: { stop: 'ended', disconnect: 'continues' } };
      expect(chatOf(definition.baseURL, { more, options: { leaving } })(asked).leaving).toEqual(expected);
    });

    it('makes its stream of the id of its work, where it is given as a function', () => {
      const acme = provider(definition, { apiKey: 'k' });
      const job = acme.calls({
        name: 'job',
        request: Asked,
        dialect: format,
        call: (request) => ({
          submit: acme.post('/jobs', request),
          stream: (id): CallRequest => acme.get(`/jobs/${id}/stream`),
        }),
      });
      expect(job(asked).stream('j7')).toMatchObject({
        method: 'GET',
        url: 'https://api.acme.example/v1/jobs/j7/stream',
      });
      expect(chatOf(definition.baseURL)(asked).stream('ignored').url).toBe('https://api.acme.example/v1/chat');
    });

    it('is another for each request', () => {
      const chat = chatOf(definition.baseURL);
      expect(chat(asked)).not.toBe(chat(asked));
    });
  });

  it('makes requests as data: a body where there is one, and what is asked for', () => {
    const acme = provider(definition);
    expect(acme.post('/x')).not.toHaveProperty('body');
    expect(acme.post('/x', null).body).toBe('null');
    expect(acme.post('/x', { a: 1 }, ['application/x-ndjson'])).toStrictEqual({
      method: 'POST',
      url: 'https://api.acme.example/v1/x',
      headers: undefined,
      body: '{"a":1}',
      accept: ['application/x-ndjson'],
    });
    expect(acme.get('/x')).toStrictEqual({
      method: 'GET',
      url: 'https://api.acme.example/v1/x',
      headers: undefined,
      accept: ['text/event-stream'],
    });
  });

  it('takes options that are undefined for options that are not there', () => {
    const options = { apiKey: undefined, baseURL: undefined, headers: undefined, leaving: undefined };
    vi.stubEnv(ENV, 'from-env');
    const all = [provider(definition, options), provider(definition)];
    const [one, other] = all.map((acme) =>
      acme.calls({
        name: 'chat',
        request: Asked,
        dialect: format,
        call: () => ({ stream: acme.post('/chat', asked) }),
      }),
    );
    const told = (chat: typeof one): unknown => {
      const call = chat?.(asked);
      return { ...call, stream: call?.stream(''), authorize: call?.authorize() };
    };
    expect(told(one)).toStrictEqual(told(other));
    const half = { leaving: { stop: undefined } } as unknown as ProviderOptions;
    expect(chatOf(definition.baseURL, { options: half })(asked).leaving).toMatchObject({ disconnect: 'unknown' });
  });
});
