import { lastValueFrom } from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import type { Call } from '../../src/protocol/call.js';
import {
  ollama,
  type OllamaChatRequest,
  type OllamaGenerateRequest,
  type OllamaOptions,
} from '../../src/providers/ollama.js';
import type { OllamaTurn } from '../../src/providers/ollamaDialect.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer, type TestServer } from '../../src/testing/index.js';

const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
const body = (call: Call): unknown => JSON.parse(call.stream('').body ?? '') as unknown;
const NDJSON = { headers: { 'content-type': 'application/x-ndjson' } };

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('ollama', () => {
  it('asks this machine, without a key, and always for a stream', () => {
    vi.stubEnv('OLLAMA_API_KEY', '');
    const call = ollama().chat({ model: 'm', messages, think: 'low', options: { seed: 0 }, stream: false });
    const { body: _sent, ...request } = call.stream('');
    expect(request).toStrictEqual({
      method: 'POST',
      url: 'http://127.0.0.1:11434/api/chat',
      headers: undefined,
      accept: ['application/x-ndjson', 'application/json'],
    });
    expect(body(call)).toStrictEqual({ model: 'm', messages, think: 'low', options: { seed: 0 }, stream: true });
    expect(call).toMatchObject({
      provider: 'ollama',
      model: 'm',
      leaving: { stop: 'ended', disconnect: 'ended' },
      resume: { by: 'ask' },
    });
    expect(call.resume?.continueWith).toBeUndefined();
    expect(call.authorize()).toStrictEqual({});
    const generate = ollama().generate({ model: 'm', prompt: 'Once', raw: true });
    expect(generate.stream('').url).toBe('http://127.0.0.1:11434/api/generate');
    expect(body(generate)).toStrictEqual({ model: 'm', prompt: 'Once', raw: true, stream: true });
    expect(generate.tools).toBeUndefined();
  });

  it('sends a key where there is one, and goes where it is told to', () => {
    vi.stubEnv('OLLAMA_API_KEY', 'o_env');
    vi.stubEnv('OLLAMA_HOST', '10.0.0.1:80');
    const of = (options: OllamaOptions): Call => ollama(options).chat({ model: 'm', messages });
    expect(of({}).authorize()).toStrictEqual({ authorization: 'Bearer o_env' });
    expect(of({ apiKey: 'o_key' }).authorize()).toStrictEqual({ authorization: 'Bearer o_key' });
    expect(of({}).stream('').url).toBe('http://127.0.0.1:11434/api/chat');
    expect(of({ baseURL: 'https://ollama.com' }).stream('').url).toBe('https://ollama.com/api/chat');
    expect(() => ollama({ baseURL: '127.0.0.1:11434' })).toThrow(TypeError);
  });

  it.each([
    [{ model: '' }, /model: must not be empty/],
    [{ messages: undefined }, /messages: must be a list of messages/],
    [{ messages: 'Hello' }, /messages: must be a list of messages/],
    [{ messages: [{ content: 'x' }] }, /messages\.0\.role/],
    [{ messages: [{ role: 'user', content: [] }] }, /messages\.0\.content: must be a string/],
    [{ tools: {} }, /tools: must be a list/],
    [{ think: 3 }, /think/],
    [{ options: 'x' }, /options: must be an object/],
  ])('refuses a wrong request when called: %j', (request, message) => {
    const wrong = { model: 'm', messages, ...request } as OllamaChatRequest;
    expect(() => ollama().chat(wrong)).toThrow(TypeError);
    expect(() => ollama().chat(wrong)).toThrow(message);
  });

  it('refuses a completion that cannot be right', () => {
    const wrong = { model: 'm', prompt: ['x'] } as unknown as OllamaGenerateRequest;
    expect(() => ollama().generate(wrong)).toThrow(/prompt: must be a string/);
  });

  it('streams over a socket, and gives back the turn and the results of its tools', async () => {
    const server = await serve();
    const tools = [{ type: 'function', function: { name: 'look' } }];
    const call = ollama({ baseURL: server.url, apiKey: 'o_key' }).chat({ model: 'm', messages, tools });
    const answer = lastValueFrom(fromCall(call).pipe(accumulate<OllamaTurn>()));
    const exchange = await server.accept();
    expect(exchange.request).toMatchObject({
      method: 'POST',
      path: '/api/chat',
      headers: { authorization: 'Bearer o_key' },
      body: { model: 'm', messages, tools, stream: true },
    });
    exchange.respond(NDJSON);
    const calls = [
      { function: { name: 'look', arguments: { q: 'x' } } },
      { id: 'call_2', function: { name: 'look', arguments: { q: 'y' } } },
    ];
    await exchange.write(`${JSON.stringify({ message: { content: '', thinking: 'Hm', tool_calls: calls } })}\n`);
    await exchange.end('{"message":{"content":""},"done":true,"done_reason":"stop"}\n');
    const message = await answer;
    const turn = message.toRequest();
    expect(turn).toStrictEqual({ role: 'assistant', content: '', thinking: 'Hm', tool_calls: calls });
    if (call.tools?.by !== 'ask') throw new Error('no tools plan');
    const [first, second] = message.toolCalls;
    const next = call.tools.next(turn, [
      { id: first?.id ?? '', name: 'look', text: 'found' },
      { id: second?.id ?? '', name: 'look', text: 'none', isError: true },
    ]);
    expect(body(next)).toStrictEqual({
      model: 'm',
      messages: [
        ...messages,
        turn,
        { role: 'tool', tool_name: 'look', content: 'found' },
        { role: 'tool', tool_name: 'look', tool_call_id: 'call_2', content: 'none' },
      ],
      tools,
      stream: true,
    });
  });

  it('takes the JSON with which a model is loaded', async () => {
    const server = await serve();
    const call = ollama({ baseURL: server.url }).chat({ model: 'm', messages: [] });
    const result = collect(fromCall(call));
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'application/json; charset=utf-8' } });
    await exchange.end('{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}');
    expect(await result).toMatchObject({
      receipt: { outcome: 'complete', finish: { reason: 'other', rawReason: 'load' } },
    });
  });

  it('tells an HTTP error with what the server said', async () => {
    const server = await serve();
    const call = ollama({ baseURL: server.url }).generate({ model: 'x', prompt: 'Once' });
    const ended = lastValueFrom(fromCall(call)).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond({ status: 404, headers: { 'content-type': 'application/json' } });
    await exchange.end(`{"error":"model 'x' not found"}`);
    const error = await ended;
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({ status: 404, message: expect.stringContaining('not found') as string });
  });

  it('tells a failure in the stream, and an interruption', async () => {
    const server = await serve();
    const call = ollama({ baseURL: server.url }).generate({ model: 'x', prompt: 'Once' });
    for (const [last, name] of [
      ['{"error":"the model crashed"}\n', 'ProviderError'],
      ['', 'InterruptedError'],
    ]) {
      const ended = lastValueFrom(fromCall(call)).catch((error: unknown) => error);
      const exchange = await server.accept();
      exchange.respond(NDJSON);
      await exchange.end(`{"response":"Upon","done":false}\n${last ?? ''}`);
      expect(await ended).toMatchObject({ name, received: { text: 'Upon' } });
    }
  });
});
