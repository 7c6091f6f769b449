import { lastValueFrom, toArray } from 'rxjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HTTPError } from '../../src/errors.js';
import { type OpenAI, openai } from '../../src/providers/openai.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/index.js';
import { decodeAll, frame } from '../support/decodeAll.js';

const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
const make = (): OpenAI => openai({ apiKey: 'sk', headers: { 'x-team': 'water' } });
const bodyOf = (request: { readonly body?: string | undefined } | undefined): unknown =>
  JSON.parse(request?.body ?? 'null');

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('openai.chat', () => {
  it('asks for a stream with usage, and keeps what it does not know', () => {
    const call = make().chat({ model: 'gpt', messages, reasoning_effort: 'low', temperature: 0 });
    const { body, ...request } = call.stream('');
    expect(request).toStrictEqual({
      method: 'POST',
      url: 'https://api.openai.com/v1/chat/completions',
      headers: { 'x-team': 'water' },
      accept: ['text/event-stream'],
    });
    expect(bodyOf({ body })).toStrictEqual({
      model: 'gpt',
      messages,
      reasoning_effort: 'low',
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(call).toMatchObject({
      provider: 'openai',
      model: 'gpt',
      leaving: { stop: 'ended', disconnect: 'ended' },
      tools: { by: 'ask' },
    });
    expect(call.authorize()).toStrictEqual({ authorization: 'Bearer sk' });
  });

  it('lets the caller decide about usage, and never about streaming', () => {
    const sent = (more: object): unknown =>
      bodyOf(
        make()
          .chat({ model: 'm', messages, ...more })
          .stream(''),
      );
    expect(sent({ stream_options: { include_usage: false, include_obfuscation: false } })).toMatchObject({
      stream_options: { include_usage: false, include_obfuscation: false },
    });
    expect(sent({ stream_options: null })).toMatchObject({ stream_options: null });
    expect(sent({ stream: false })).toMatchObject({ stream: true });
  });

  it('names organization and project, below the headers of the caller', () => {
    const named = openai({ apiKey: 'k', organization: 'org', project: 'proj' });
    const headersOf = (api: OpenAI): unknown => api.chat({ model: 'm', messages }).stream('').headers;
    expect(headersOf(named)).toStrictEqual({ 'openai-organization': 'org', 'openai-project': 'proj' });
    const over = openai({ apiKey: 'k', project: 'proj', headers: { 'OpenAI-Project': 'mine' } });
    expect(headersOf(over)).toStrictEqual({ 'openai-project': 'mine' });
  });

  it('takes its key from the environment, and names both ways where there is none', () => {
    vi.stubEnv('OPENAI_API_KEY', '');
    expect(() => openai().chat({ model: 'm', messages })).toThrow(/apiKey.*OPENAI_API_KEY/);
    expect(openai().chat.dialect.name).toBe('openai');
    vi.stubEnv('OPENAI_API_KEY', 'sk-env');
    expect(openai().chat({ model: 'm', messages }).authorize()).toStrictEqual({ authorization: 'Bearer sk-env' });
  });

  it('cannot be gone on with: a message of the assistant is followed by another', () => {
    expect(make().chat({ model: 'm', messages }).resume).toStrictEqual({ by: 'ask' });
  });

  it('waits for as many answers as were asked for', () => {
    const { dialect } = make().chat({ model: 'm', messages, n: 2 });
    const one = frame({ choices: [{ index: 0, delta: { content: 'a' }, finish_reason: 'stop' }] });
    const other = frame({ choices: [{ index: 1, delta: { content: 'b' }, finish_reason: 'stop' }] });
    expect(decodeAll(dialect, one).outcome).toBe('interrupted');
    expect(decodeAll(dialect, one + other)).toMatchObject({ outcome: 'complete', text: 'a' });
    expect(decodeAll(make().chat({ model: 'm', messages, n: null }).dialect, one).outcome).toBe('complete');
  });

  it.each([
    [{ model: '', messages }, /model: must not be empty/],
    [{ model: 'm', messages: [] }, /messages: must not be empty/],
    [{ model: 'm', messages, n: 0 }, /n: must be at least 1/],
    [{ model: 'm', messages, n: 1.5 }, /n: must be a whole number/],
    ['a prompt', /the request of openai\.chat.*must be an object/],
  ])('refuses a wrong request when called: %j', (request, message) => {
    expect(() => make().chat(request as never)).toThrow(TypeError);
    expect(() => make().chat(request as never)).toThrow(message);
  });

  it('takes a custom tool call back in the conversation', () => {
    const said = {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'shell', input: 'ls' } }],
    };
    expect(
      bodyOf(
        make()
          .chat({ model: 'm', messages: [...messages, said] })
          .stream(''),
      ),
    ).toMatchObject({
      messages: [...messages, said],
    });
  });
});

describe('openai.completion', () => {
  it('asks for a stream of text, and goes on with it', () => {
    const call = make().completion({ model: 'm', prompt: 'Once', max_tokens: 20 });
    const { url, body } = call.stream('');
    expect(url).toBe('https://api.openai.com/v1/completions');
    expect(bodyOf({ body })).toMatchObject({ prompt: 'Once', max_tokens: 20, stream: true });
    expect(bodyOf(call.resume?.continueWith?.(' upon'))).toMatchObject({ prompt: 'Once upon' });
    expect(call.tools ?? call.dialect.turn).toBeUndefined();
  });

  it.each([
    ['several answers', { prompt: 'a', n: 2 }],
    ['several prompts', { prompt: ['a', 'b'] }],
    ['tokens', { prompt: [1, 2] }],
    ['an echo', { prompt: 'a', echo: true }],
  ])('does not go on with %s', (_, request) => {
    expect(
      make()
        .completion({ model: 'm', ...request })
        .resume?.continueWith?.('x'),
    ).toBeUndefined();
  });

  it.each([
    [{ prompt: ['a', 'b'], n: 2 }, 4],
    [{ prompt: [1, 2] }, 1],
    [{ prompt: [[1], [2]] }, 2],
    [{ prompt: [] }, 1],
  ])('waits for the answers to each prompt: %j', (request, answers) => {
    const { dialect } = make().completion({ model: 'm', ...request });
    const frames = Array.from({ length: answers }, (_, index) =>
      frame({ choices: [{ index, text: 'x', finish_reason: 'stop' }] }),
    );
    expect(decodeAll(dialect, frames.slice(1).join('')).outcome).toBe('interrupted');
    expect(decodeAll(dialect, frames.join('')).outcome).toBe('complete');
  });

  it('refuses a wrong request when called', () => {
    expect(() => make().completion({ model: 'm', prompt: 5 as never })).toThrow(/prompt: must be text/);
  });
});

describe('over a socket', () => {
  it('sends what it says and reads what comes', async () => {
    await using server = await startServer();
    const api = openai({ apiKey: () => Promise.resolve('sk-late'), baseURL: `${server.url}/v1`, organization: 'org' });
    const events = lastValueFrom(fromCall(api.chat({ model: 'm', messages })).pipe(toArray()));
    const exchange = await server.accept();
    expect(exchange.request).toMatchObject({
      method: 'POST',
      path: '/v1/chat/completions',
      headers: {
        authorization: 'Bearer sk-late',
        'openai-organization': 'org',
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: { model: 'm', messages, stream: true, stream_options: { include_usage: true } },
    });
    const frames = [
      { choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }], usage: null },
      { choices: [{ index: 0, delta: { content: 'Water' }, finish_reason: null }], usage: null },
      { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: null },
      { choices: [], usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 } },
      '[DONE]',
    ];
    await exchange.end(frames.map(frame).join(''));
    expect((await events).map(({ type }) => type)).toStrictEqual(['raw', 'text', 'usage', 'finish']);
  });

  it('closes the socket when its reader leaves', async () => {
    await using server = await startServer();
    const api = openai({ apiKey: 'k', baseURL: server.url });
    const reading = fromCall(api.chat({ model: 'm', messages })).subscribe();
    const exchange = await server.accept();
    await exchange.write(frame({ choices: [{ index: 0, delta: { content: 'a' } }] }));
    reading.unsubscribe();
    expect(await exchange.ended).toBe('client');
  });

  it('errors with what the API says, before the stream and in it', async () => {
    await using server = await startServer();
    const api = openai({ apiKey: 'k', baseURL: server.url });
    const failing = (): Promise<unknown> =>
      lastValueFrom(fromCall(api.chat({ model: 'm', messages })).pipe(toArray())).catch((error: unknown) => error);

    const refused = failing();
    const first = await server.accept();
    first.respond({ status: 404, headers: { 'content-type': 'application/json', 'x-request-id': 'req_1' } });
    await first.end(JSON.stringify({ error: { message: 'no such model', code: 'model_not_found', type: 'x' } }));
    expect(await refused).toBeInstanceOf(HTTPError);
    expect(await refused).toMatchObject({ status: 404 });

    const failed = failing();
    const error = { message: 'The server had an error', type: 'server_error', param: null, code: null };
    await (await server.accept()).end(frame({ error }) + frame('[DONE]'));
    expect(await failed).toMatchObject({ code: 'ERR_PROVIDER', retryable: true, providerMessage: error.message });
  });
});
