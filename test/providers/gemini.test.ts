import { lastValueFrom, toArray } from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, ProtocolError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import type { Call } from '../../src/protocol/call.js';
import { gemini, type GeminiOptions, type GeminiRequest } from '../../src/providers/gemini.js';
import type { GeminiTurn } from '../../src/providers/geminiTurn.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer, type TestServer } from '../../src/testing/index.js';
import { frame } from '../support/decodeAll.js';

const contents = 'Why do rivers meander?';
const make = (options: GeminiOptions = {}): ReturnType<typeof gemini> => gemini({ apiKey: 'g_key', ...options });
const ask = (request: Partial<GeminiRequest> = {}, options: GeminiOptions = {}): Call =>
  make(options).generateContent({ model: 'gemini-x', contents, ...request });
const body = (call: Call): unknown => JSON.parse(call.stream('').body ?? '') as unknown;

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('gemini.generateContent', () => {
  it('asks for a stream of events, with the text as one user turn', () => {
    const call = ask({ systemInstruction: 'Be brief.', generationConfig: { temperature: 0 }, labels: { a: 'b' } });
    const { body: _sent, ...request } = call.stream('');
    expect(request).toStrictEqual({
      method: 'POST',
      url: 'https://generativelanguage.googleapis.com/v1beta/models/gemini-x:streamGenerateContent?alt=sse',
      headers: undefined,
      accept: ['text/event-stream'],
    });
    expect(body(call)).toStrictEqual({
      contents: [{ role: 'user', parts: [{ text: contents }] }],
      systemInstruction: { parts: [{ text: 'Be brief.' }] },
      generationConfig: { temperature: 0 },
      labels: { a: 'b' },
    });
    expect(call).toMatchObject({
      provider: 'gemini',
      model: 'gemini-x',
      leaving: { stop: 'unknown', disconnect: 'unknown' },
      resume: { by: 'ask' },
    });
    expect(call.resume?.continueWith ?? call.submit ?? call.cancel).toBeUndefined();
    expect(call.authorize()).toStrictEqual({ 'x-goog-api-key': 'g_key' });
  });

  it('sends contents and system instructions as they are given', () => {
    const given = [{ role: 'user', parts: [{ inlineData: { mimeType: 'image/png', data: 'AAAA' } }] }];
    const systemInstruction = { role: 'system', parts: [{ text: 'x' }] };
    expect(body(ask({ contents: given, systemInstruction }))).toStrictEqual({ contents: given, systemInstruction });
  });

  it.each([
    ['gemini-x', '/v1beta/models/gemini-x:'],
    ['models/gemini-x', '/v1beta/models/gemini-x:'],
    ['tunedModels/my-model', '/v1beta/tunedModels/my-model:'],
    ['a/../b?c', '/v1beta/models/a%2F..%2Fb%3Fc:'],
    ['endpoints/1 2', '/v1beta/endpoints/1%202:'],
    ['publishers/google/models/x', '/v1beta/publishers/google/models/x:'],
  ])('takes the model %s', (model, path) => {
    expect(ask({ model }).stream('').url).toBe(
      `https://generativelanguage.googleapis.com${path}streamGenerateContent?alt=sse`,
    );
  });

  it.each(['', '..', 'models/', 'models/..', 'projects/../x', 'models//x', 5, undefined])(
    'refuses the model %j',
    (model) => {
      expect(() => ask({ model: model as string })).toThrow(TypeError);
    },
  );

  it.each([
    [{ contents: '' }, /contents: must not be empty/],
    [{ contents: [] }, /contents: must not be empty/],
    [{ contents: [{ role: 'user', text: 'x' }] }, /contents: must be a text or a list/],
    [{ contents: undefined }, /contents/],
    [{ tools: {} }, /tools: must be a list/],
    [{ generationConfig: 5 }, /generationConfig: must be an object/],
    [{ systemInstruction: 5 }, /systemInstruction: must be a text or a content/],
  ])('refuses a wrong request when called: %j', (request, message) => {
    expect(() => ask(request as Partial<GeminiRequest>)).toThrow(TypeError);
    expect(() => ask(request as Partial<GeminiRequest>)).toThrow(message);
  });

  it('goes to a base, with the version where it has no path', () => {
    const urlOf = (baseURL: string): string => ask({}, { baseURL }).stream('').url;
    const rest = 'models/gemini-x:streamGenerateContent?alt=sse';
    expect(urlOf('http://127.0.0.1:9')).toBe(`http://127.0.0.1:9/v1beta/${rest}`);
    expect(urlOf('http://127.0.0.1:9/')).toBe(`http://127.0.0.1:9/v1beta/${rest}`);
    expect(urlOf('http://127.0.0.1:9/v1/')).toBe(`http://127.0.0.1:9/v1/${rest}`);
    expect(urlOf('http://127.0.0.1:9/proxy?team=1')).toBe(`http://127.0.0.1:9/proxy/${rest}&team=1`);
    expect(() => make({ baseURL: 'gemini' })).toThrow(TypeError);
    expect(() => make({ baseURL: 'http://u:p@127.0.0.1' })).toThrow(/credentials/);
  });

  it('takes its key from the environment, and names both ways where there is none', () => {
    vi.stubEnv('GEMINI_API_KEY', '');
    const { generateContent } = gemini();
    expect(() => generateContent({ model: 'm', contents })).toThrow(/apiKey.*GEMINI_API_KEY/);
    vi.stubEnv('GEMINI_API_KEY', 'g_env');
    expect(gemini().generateContent({ model: 'm', contents }).authorize()).toStrictEqual({ 'x-goog-api-key': 'g_env' });
  });

  it('sends an access token as a bearer, and not both', () => {
    const call = gemini({ accessToken: () => 'ya29' }).generateContent({ model: 'm', contents });
    expect(call.authorize()).toStrictEqual({ authorization: 'Bearer ya29' });
    expect(() => gemini({ apiKey: 'a', accessToken: 'b' })).toThrow(TypeError);
  });

  it('awaits as many candidates as are asked for', async () => {
    const server = await serve();
    const call = ask({ generationConfig: { candidateCount: 2 } }, { baseURL: server.url });
    const ended = lastValueFrom(fromCall(call)).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond();
    await exchange.end(frame({ candidates: [{ content: { parts: [{ text: 'a' }] }, finishReason: 'STOP' }] }));
    expect(await ended).toMatchObject({ name: 'InterruptedError', received: { text: 'a' } });
  });

  it('streams over a socket, and gives back the turn and the results of its tools', async () => {
    const server = await serve();
    const tools = [{ functionDeclarations: [{ name: 'look' }] }];
    const call = ask({ tools }, { baseURL: server.url, headers: { 'x-team': 'water' } });
    const answer = lastValueFrom(fromCall(call).pipe(accumulate<GeminiTurn>()));
    const exchange = await server.accept();
    expect(exchange.request).toMatchObject({
      method: 'POST',
      path: '/v1beta/models/gemini-x:streamGenerateContent',
      headers: { 'x-goog-api-key': 'g_key', 'x-team': 'water', accept: 'text/event-stream' },
      body: { tools },
    });
    expect(exchange.request.query.get('alt')).toBe('sse');
    exchange.respond();
    const parts = [
      { functionCall: { name: 'look', args: { q: 'x' } }, thoughtSignature: 'c2ln' },
      { functionCall: { id: 'fc2', name: 'look', args: { q: 'y' } } },
    ];
    await exchange.write(frame({ candidates: [{ content: { role: 'model', parts } }] }).replaceAll('\n', '\r\n'));
    await exchange.end(frame({ candidates: [{ finishReason: 'STOP' }] }).replaceAll('\n', '\r\n'));
    const message = await answer;
    expect(message.finish).toMatchObject({ reason: 'tool-calls' });
    const turn = message.toRequest();
    expect(turn).toStrictEqual({ role: 'model', parts });
    if (call.tools?.by !== 'ask') throw new Error('no tools plan');
    const [first, second] = message.toolCalls;
    const next = call.tools.next(turn, [
      { id: first?.id ?? '', name: 'look', text: 'found' },
      { id: second?.id ?? '', name: 'look', text: 'no such file', isError: true },
    ]);
    expect(next.model).toBe('gemini-x');
    expect(body(next)).toStrictEqual({
      contents: [
        { role: 'user', parts: [{ text: contents }] },
        { role: 'model', parts },
        {
          role: 'user',
          parts: [
            { functionResponse: { name: 'look', response: { output: 'found' } } },
            { functionResponse: { id: 'fc2', name: 'look', response: { error: 'no such file' } } },
          ],
        },
      ],
      tools,
    });
    expect(next.tools?.by).toBe('ask');
  });

  it('tells an HTTP error with what the server said', async () => {
    const server = await serve();
    const ended = lastValueFrom(fromCall(ask({}, { baseURL: server.url }))).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond({ status: 400, headers: { 'content-type': 'application/json' } });
    await exchange.end('{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}');
    const error = await ended;
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({ status: 400, message: expect.stringContaining('API key not valid.') as string });
  });

  it('says what is wrong where the answer is a JSON array', async () => {
    const server = await serve();
    const ended = lastValueFrom(fromCall(ask({}, { baseURL: server.url })).pipe(toArray())).catch(
      (error: unknown) => error,
    );
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'application/json' } });
    await exchange.end('[{"candidates":[]}]');
    const error = await ended;
    expect(error).toBeInstanceOf(ProtocolError);
    expect((error as Error).message).toContain('alt=sse');
  });
});
