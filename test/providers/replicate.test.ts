import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { InterruptedError, ProtocolError } from '../../src/errors.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { replicate, replicateDialect } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer, type TestServer } from '../../src/testing/index.js';
import { type Decoded, decodeAll, ofType } from '../support/decodeAll.js';

function event(name: string, data: string): string {
  const lines = data.split('\n').map((line) => `data: ${line}\n`);
  return `event: ${name}\nid: 1:0\n${lines.join('')}\n`;
}

function decoded(...events: readonly string[]): Decoded {
  return decodeAll(replicateDialect(), events.join(''));
}

const done = event('done', '{}');

describe('replicateDialect', () => {
  it.each(['Hel', ' ', '\n\n', '{', '[DONE]', '"quoted"', '123', '{"error":"not one"}', 'null', '\t', 'a\n b', '🐎'])(
    'takes the data as text, to the last space: %j',
    (piece) => {
      const result = decoded(event('output', piece), done);
      expect([result.text, result.outcome]).toEqual([piece, 'complete']);
    },
  );

  it('hears of an empty piece without telling it', () => {
    const { events, outcome } = decoded(event('output', ''), done);
    expect(events).toStrictEqual([
      { type: 'heartbeat', comment: '' },
      { type: 'finish', reason: 'unknown' },
    ]);
    expect(outcome).toBe('complete');
  });

  it('tells logs, and hands on the rest', () => {
    const result = decoded(event('logs', 'loading'), event('brand-new', 'x'), done);
    expect(result.events.slice(0, 2)).toStrictEqual([
      { type: 'log', message: 'loading' },
      { type: 'raw', frame: 'x', event: 'brand-new' },
    ]);
  });

  it.each([
    ['plain words', 'out of memory', 'out of memory'],
    ['JSON', '{"detail":"out of memory"}', 'out of memory'],
    ['nothing', '', undefined],
  ])('fails with an error in %s', (_, data, providerMessage) => {
    const result = decoded(event('output', 'a'), event('error', data), done);
    expect([result.text, result.outcome]).toEqual(['a', 'failed']);
    expect(result.error).toMatchObject({ providerMessage, retryable: false });
  });

  it.each([
    ['{"reason":"canceled"}', 'canceled'],
    ['{"reason":"error"}', 'error'],
    ['gone', 'gone'],
  ])('fails where it is over for a reason: %s', (data, providerCode) => {
    expect(decoded(event('done', data)).error).toMatchObject({ providerCode });
  });

  it('is proven by its end alone', () => {
    expect(decodeAll(replicateDialect(), event('output', 'a'), { intact: true }).outcome).toBe('interrupted');
    expect(decoded(event('output', 'a'), event('done', ''), event('output', 'b'))).toMatchObject({
      text: 'a',
      outcome: 'complete',
    });
    expect(ofType(decoded(done), 'finish')).toHaveLength(1);
  });
});

describe('replicate', () => {
  async function start(): Promise<{ server: TestServer; stream: string; api: ReturnType<typeof replicate> }> {
    const server = await startServer();
    onTestFinished(() => server.close());
    return { server, stream: `${server.url}/stream/p1`, api: replicate({ apiKey: 'k', baseURL: `${server.url}/v1` }) };
  }

  async function answer(server: TestServer, value: unknown): Promise<Awaited<ReturnType<TestServer['accept']>>> {
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'application/json' } });
    await exchange.end(JSON.stringify(value));
    return exchange;
  }

  const model = 'meta/llama';
  const input = { prompt: 'Why?' };

  it('creates a prediction, and reads the stream that it names', async () => {
    const { server, stream, api } = await start();
    const result = collect(api.run({ model, input }));
    const created = await answer(server, { id: 'p1', status: 'starting', urls: { stream } });
    expect(created.request).toMatchObject({
      method: 'POST',
      path: '/v1/models/meta/llama/predictions',
      body: { input, stream: true },
    });
    const read = await server.accept();
    expect(read.request).toMatchObject({ method: 'GET', path: '/stream/p1' });
    expect(read.request.headers).toMatchObject({ authorization: 'Bearer k', accept: 'text/event-stream' });
    await read.end(event('output', 'Water ') + event('output', 'is lazy.') + done);
    expect(await result).toMatchObject({ text: 'Water is lazy.', receipt: { provider: 'replicate', model } });
  });

  it('asks for a version by its own path', async () => {
    const { server, stream, api } = await start();
    const result = collect(api.run({ version: 'abc', input }));
    const created = await answer(server, { id: 'p1', status: 'starting', urls: { stream } });
    expect(created.request).toMatchObject({ path: '/v1/predictions', body: { version: 'abc', input, stream: true } });
    await (await server.accept()).end(done);
    await result;
  });

  it('cancels what it created when it is stopped', async () => {
    const { server, stream, api } = await start();
    const subscription = fromCall(api.run({ model, input })).subscribe();
    await answer(server, { id: 'p1', status: 'starting', urls: { stream } });
    const read = await server.accept();
    await read.write(event('output', 'a'));
    subscription.unsubscribe();
    const cancel = await answer(server, {});
    expect(cancel.request).toMatchObject({ method: 'POST', path: '/v1/predictions/p1/cancel' });
  });

  it('has every piece once after a lost connection, by what is stored', async () => {
    const { server, stream, api } = await start();
    const call = fromCall(api.run({ model, input })).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } }));
    const result = collect(call);
    await answer(server, { id: 'p1', status: 'starting', urls: { stream } });
    const read = await server.accept();
    await read.write(event('output', 'Water ') + event('output', 'is '));
    read.halfClose();
    const stored = await answer(server, { id: 'p1', status: 'succeeded', output: ['Water ', 'is ', 'lazy.'] });
    expect(stored.request.path).toBe('/v1/predictions/p1');
    expect(await result).toMatchObject({ text: 'Water is lazy.', receipt: { restarts: 0, attempts: 2 } });
  });

  it('fails where the prediction failed meanwhile', async () => {
    const { server, stream, api } = await start();
    const call = fromCall(api.run({ model, input })).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } }));
    const failed = expect(collect(call)).rejects.toMatchObject({
      providerCode: 'failed',
      providerMessage: 'out of memory',
    });
    await answer(server, { id: 'p1', status: 'starting', urls: { stream } });
    const read = await server.accept();
    await read.write(event('output', 'a'));
    read.halfClose();
    await answer(server, { id: 'p1', status: 'failed', error: 'out of memory' });
    await failed;
  });

  it.each([
    ['another host', 'https://evil.example/stream'],
    ['a host that only looks like it', 'https://replicate.com.evil.example/stream'],
    ['credentials in it', 'https://user:pass@stream.replicate.com/x'],
    ['no URL', 'stream'],
  ])('sends its key nowhere else: %s', async (_, stream) => {
    const { server, api } = await start();
    const failed = expect(collect(api.run({ model, input }))).rejects.toBeInstanceOf(ProtocolError);
    await answer(server, { id: 'p1', status: 'starting', urls: { stream } });
    await failed;
    expect(server.exchanges).toHaveLength(1);
  });

  it('takes the stream host of its own API, over https alone', () => {
    const api = replicate({ apiKey: 'k' });
    const work = (stream: string) => ({ id: 'p1', urls: { stream } });
    expect(api.attach(work('https://stream.replicate.com/v1/p1')).workId).toContain('stream.replicate.com');
    expect(() => api.attach(work('http://stream.replicate.com/v1/p1'))).toThrow(ProtocolError);
  });

  it('says so where the model does not stream', async () => {
    const { server, api } = await start();
    const failed = expect(collect(api.run({ model, input }))).rejects.toThrow(/has no stream/);
    await answer(server, { id: 'p1', status: 'starting', urls: {} });
    await failed;
  });

  it('attaches to a prediction without cancelling it', async () => {
    const { server, stream, api } = await start();
    const cut = collect(api.attach({ id: 'p1', urls: { stream } })).catch((error: unknown) => error);
    await (await server.accept()).end(event('output', 'a'));
    expect(await cut).toBeInstanceOf(InterruptedError);
    expect(server.exchanges).toHaveLength(1);
  });

  it('needs a key, and a request that can be right', () => {
    vi.stubEnv('REPLICATE_API_TOKEN', '');
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    expect(() => replicate().run({ model, input })).toThrow(/REPLICATE_API_TOKEN/);
    const api = replicate({ apiKey: 'k' });
    expect(() => api.run({ input })).toThrow(/model or version/);
    expect(() => api.run({ model, version: 'v', input })).toThrow(/model or version/);
    expect(() => api.run({ model: 'llama', input })).toThrow(/owner\/name/);
    expect(() => api.run({ model: '../x', input })).toThrow(TypeError);
  });
});
