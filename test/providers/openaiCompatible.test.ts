import { lastValueFrom, toArray } from 'rxjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Call } from '../../src/protocol/call.js';
import type { ChatPreset } from '../../src/providers/chatPresets.js';
import { CHAT_PRESETS } from '../../src/providers/chatPresets.js';
import type { ChatRequest } from '../../src/providers/chatRequest.js';
import {
  type OpenAICompatible,
  openaiCompatible,
  type OpenAICompatibleOptions,
} from '../../src/providers/openaiCompatible.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeAll, frame } from '../support/decodeAll.js';

const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
const AZURE = 'https://rivers.openai.azure.com/openai/v1';
const PRESETS = Object.keys(CHAT_PRESETS) as ChatPreset[]; // of a literal

const make = (preset: ChatPreset, options: OpenAICompatibleOptions = {}): OpenAICompatible =>
  openaiCompatible({ preset, apiKey: 'k', ...(preset === 'azure' && { baseURL: AZURE }), ...options });
const ask = (preset: ChatPreset, more: object = {}, options: OpenAICompatibleOptions = {}): Call =>
  make(preset, options).chat({ model: 'm', messages, ...more });
const bodyOf = (request: { readonly body?: string | undefined } | undefined): Record<string, unknown> =>
  JSON.parse(request?.body ?? '{}') as Record<string, unknown>;

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('a preset', () => {
  it.each([
    ['azure', `${AZURE}/chat/completions`],
    ['deepseek', 'https://api.deepseek.com/chat/completions'],
    ['groq', 'https://api.groq.com/openai/v1/chat/completions'],
    ['huggingface', 'https://router.huggingface.co/v1/chat/completions'],
    ['llamaCpp', 'http://localhost:8080/v1/chat/completions'],
    ['lmStudio', 'http://localhost:1234/v1/chat/completions'],
    ['mistral', 'https://api.mistral.ai/v1/chat/completions'],
    ['ollama', 'http://localhost:11434/v1/chat/completions'],
    ['openrouter', 'https://openrouter.ai/api/v1/chat/completions'],
    ['perplexity', 'https://api.perplexity.ai/chat/completions'],
    ['sglang', 'http://localhost:30000/v1/chat/completions'],
    ['vllm', 'http://localhost:8000/v1/chat/completions'],
    ['xai', 'https://api.x.ai/v1/chat/completions'],
    ['zai', 'https://api.z.ai/api/paas/v4/chat/completions'],
  ] as const)('knows where %s is, and names its calls', (preset, url) => {
    const call = ask(preset);
    expect(call.stream('').url).toBe(url);
    expect(call).toMatchObject({ provider: preset, model: 'm', tools: { by: 'ask' } });
    expect(call.dialect.name).toBe(preset);
  });

  it('is of the table', () => {
    expect(PRESETS).toHaveLength(14);
    expect(() => openaiCompatible({ preset: 'nobody' as ChatPreset })).toThrow(TypeError);
    expect(() => openaiCompatible({ preset: 'nobody' as ChatPreset })).toThrow(/azure, deepseek.*"nobody"/);
    expect(() => openaiCompatible({ preset: 'toString' as ChatPreset })).toThrow(TypeError);
  });

  it('gives way to what the caller says', () => {
    const call = ask('groq', {}, { name: 'mine', baseURL: 'http://10.0.0.7/v1', headers: { 'HTTP-Referer': 'me' } });
    expect(call).toMatchObject({ provider: 'mine', dialect: { name: 'mine' } });
    expect(call.stream('')).toMatchObject({
      url: 'http://10.0.0.7/v1/chat/completions',
      headers: { 'http-referer': 'me' },
    });
  });

  it.each([
    ['azure', 'AZURE_OPENAI_API_KEY'],
    ['deepseek', 'DEEPSEEK_API_KEY'],
    ['groq', 'GROQ_API_KEY'],
    ['huggingface', 'HF_TOKEN'],
    ['mistral', 'MISTRAL_API_KEY'],
    ['openrouter', 'OPENROUTER_API_KEY'],
    ['perplexity', 'PERPLEXITY_API_KEY'],
    ['xai', 'XAI_API_KEY'],
    ['zai', 'ZAI_API_KEY'],
  ] as const)('of a remote server (%s) needs a key', (preset, env) => {
    vi.stubEnv(env, '');
    expect(() => ask(preset, {}, { apiKey: undefined })).toThrow(env);
    vi.stubEnv(env, 'env-key');
    const header = preset === 'azure' ? { 'api-key': 'env-key' } : { authorization: 'Bearer env-key' };
    expect(ask(preset, {}, { apiKey: undefined }).authorize()).toStrictEqual(header);
  });

  it.each(['llamaCpp', 'lmStudio', 'ollama', 'sglang', 'vllm'] as const)(
    'of a local server (%s) needs none',
    (preset) => {
      vi.stubEnv('VLLM_API_KEY', '');
      expect(ask(preset, {}, { apiKey: undefined }).authorize()).toStrictEqual({});
      expect(ask(preset).authorize()).toStrictEqual({ authorization: 'Bearer k' });
    },
  );
});

describe('without a preset', () => {
  it('a base must be given', () => {
    expect(() => openaiCompatible({})).toThrow(/needs a baseURL/);
    expect(() => openaiCompatible({ preset: 'azure', apiKey: 'k' })).toThrow(/NAME\.openai\.azure\.com/);
    expect(() => openaiCompatible({ baseURL: 'localhost' })).toThrow(TypeError);
    expect(() => openaiCompatible({ baseURL: 'http://u:p@a.example' })).toThrow(/credentials/);
  });

  it('the query of a base is kept', () => {
    const { url } = ask('azure', {}, { baseURL: `${AZURE}?api-version=preview` }).stream('');
    expect(url).toBe(`${AZURE}/chat/completions?api-version=preview`);
  });

  it('a limit must be one', () => {
    expect(() => openaiCompatible({ baseURL: AZURE, maxToolCallChars: -1 })).toThrow(RangeError);
  });

  it('a key is sent where there is one, and answers are gone on with as a message', () => {
    vi.stubEnv('OPENAI_API_KEY', 'not for others');
    const call = openaiCompatible({ baseURL: 'http://a.example/v1' }).chat({ model: 'm', messages });
    expect(call.authorize()).toStrictEqual({});
    expect(call).toMatchObject({ provider: 'openaiCompatible', leaving: { stop: 'unknown', disconnect: 'unknown' } });
    expect(bodyOf(call.resume?.continueWith?.('They'))['messages']).toStrictEqual([
      ...messages,
      { role: 'assistant', content: 'They' },
    ]);
  });
});

describe('usage', () => {
  it.each(PRESETS)('is asked for, unless it is told unasked: %s', (preset) => {
    const told = preset === 'mistral' || preset === 'perplexity' || preset === 'openrouter';
    const sent = bodyOf(ask(preset).stream(''));
    expect(sent['stream']).toBe(true);
    expect(sent['stream_options']).toStrictEqual(told ? undefined : { include_usage: true });
  });

  it('is asked for as the caller says', () => {
    const asked = { include_usage: true };
    expect(bodyOf(ask('mistral', { stream_options: asked }).stream(''))['stream_options']).toStrictEqual(asked);
    expect(bodyOf(ask('mistral', {}, { usage: 'ask' }).stream(''))['stream_options']).toStrictEqual(asked);
    expect(bodyOf(ask('groq', {}, { usage: 'told' }).stream(''))).not.toHaveProperty('stream_options');
    expect(() => ask('groq', {}, { usage: 'never' as 'told' })).toThrow(TypeError);
    const { body } = make('mistral').completion({ model: 'm', prompt: 'Once' }).stream('');
    expect(bodyOf({ body })).not.toHaveProperty('stream_options');
  });
});

describe('going on with an answer', () => {
  const rest = (preset: ChatPreset, options: OpenAICompatibleOptions = {}): ReturnType<Call['stream']> | undefined =>
    ask(preset, {}, options).resume?.continueWith?.('They');

  it.each(['azure', 'huggingface', 'lmStudio', 'mistral', 'perplexity', 'xai', 'zai'] as const)(
    'is not done where it is not documented: %s',
    (preset) => {
      expect(ask(preset).resume).toStrictEqual({ by: 'ask' });
    },
  );

  it.each(['groq', 'llamaCpp', 'ollama', 'openrouter'] as const)('takes no more than the text: %s', (preset) => {
    expect(bodyOf(rest(preset))).toStrictEqual({
      ...bodyOf(ask(preset).stream('')),
      messages: [...messages, { role: 'assistant', content: 'They' }],
    });
  });

  it('says so in the message, below another path, at DeepSeek', () => {
    const request = rest('deepseek');
    expect(request?.url).toBe('https://api.deepseek.com/beta/chat/completions');
    expect(bodyOf(request)['messages']).toStrictEqual([
      ...messages,
      { role: 'assistant', content: 'They', prefix: true },
    ]);
  });

  it.each([
    ['http://a.example', 'http://a.example/beta/chat/completions'],
    ['http://a.example/beta/', 'http://a.example/beta/chat/completions'],
    ['http://a.example/v1', undefined],
  ])('knows whether that path is below the base: %s', (baseURL, url) => {
    expect(rest('deepseek', { baseURL })?.url).toBe(url);
  });

  it.each([
    ['vllm', { continue_final_message: true, add_generation_prompt: false }],
    ['sglang', { continue_final_message: true }],
  ] as const)('says so in the request: %s', (preset, members) => {
    expect(bodyOf(rest(preset))).toStrictEqual({
      ...bodyOf(ask(preset).stream('')),
      ...members,
      messages: [...messages, { role: 'assistant', content: 'They' }],
    });
  });

  it('is done as the caller says', () => {
    expect(bodyOf(rest('zai', { continues: { by: 'prefix' } }))['messages']).toMatchObject([{}, { prefix: true }]);
    expect(rest('groq', { continues: 'never' })).toBeUndefined();
  });

  it('is not done with several answers', () => {
    expect(ask('groq', { n: 2 }).resume?.continueWith?.('They')).toBeUndefined();
  });
});

describe('leaving', () => {
  const leaving = (
    preset: ChatPreset,
    more: Partial<ChatRequest> = {},
    options: OpenAICompatibleOptions = {},
  ): unknown => ask(preset, more, options).leaving;
  const ended = { stop: 'ended', disconnect: 'ended' };
  const unknown = { stop: 'unknown', disconnect: 'unknown' };

  it('ends the work of servers that are known to notice', () => {
    for (const preset of PRESETS) {
      const isKnown = ['llamaCpp', 'ollama', 'sglang', 'vllm'].includes(preset);
      expect([preset, leaving(preset)]).toStrictEqual([preset, isKnown ? ended : unknown]);
    }
  });

  it.each([
    [{ only: ['deepinfra/turbo', 'Azure'] }, ended],
    [{ only: ['groq'] }, { stop: 'continues', disconnect: 'continues' }],
    [{ only: ['deepinfra', 'groq'] }, unknown],
    [{ only: ['deepinfra', 'nobody'] }, unknown],
    [{ only: [] }, unknown],
    [{ order: ['deepinfra'] }, unknown],
    [{ order: ['deepinfra'], allow_fallbacks: false }, ended],
    [{ order: 'deepinfra', allow_fallbacks: false }, unknown],
    ['deepinfra', unknown],
  ])('OpenRouter: %j', (provider, policy) => {
    expect(leaving('openrouter', { provider })).toStrictEqual(policy);
  });

  it('means what the caller says', () => {
    const said = { leaving: { stop: 'ended' } } as const;
    expect(leaving('openrouter', {}, said)).toStrictEqual({ stop: 'ended', disconnect: 'unknown' });
    expect(leaving('xai', {}, said)).toStrictEqual({ stop: 'ended', disconnect: 'unknown' });
  });
});

describe('what is read', () => {
  const thinking = [
    frame({ choices: [{ index: 0, delta: { content: '<think>hm</think>So' } }] }),
    frame({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
  ].join('');

  it.each(PRESETS)('has its thinking in the text, or beside it: %s', (preset) => {
    const inline = ['groq', 'lmStudio', 'perplexity'].includes(preset);
    const text = (options: OpenAICompatibleOptions = {}): string =>
      decodeAll(make(preset, options).chat.dialect, thinking).text;
    expect(text()).toBe(inline ? 'So' : '<think>hm</think>So');
    expect(text({ inlineThinking: !inline })).toBe(inline ? '<think>hm</think>So' : 'So');
  });

  it('has a currency where it is documented', () => {
    const usage = frame({ choices: [], usage: { prompt_tokens: 1, cost: 0.5 } });
    const costOf = (preset: ChatPreset, options: OpenAICompatibleOptions = {}): unknown =>
      decodeAll(make(preset, options).chat.dialect, usage).events.find(({ type }) => type === 'usage');
    expect(costOf('openrouter')).toMatchObject({ cost: { total: 0.5, currency: 'USD' } });
    expect(costOf('vllm')).toMatchObject({ cost: { total: 0.5 } });
    expect(costOf('vllm', { currency: 'EUR' })).toMatchObject({ cost: { currency: 'EUR' } });
  });

  it('is given back as the server wants it', () => {
    const call = { type: 'tool-call', index: 0, id: 'c', name: 'f', arguments: {}, argumentsText: '{}' } as const;
    const events: readonly StreamEvent[] = [{ type: 'thinking', index: 0, name: 'thinking', text: 'hm' }, call];
    const turn = (preset: ChatPreset): object => make(preset).chat.dialect.turn?.build(events) ?? {};
    expect(turn('deepseek')).toMatchObject({ reasoning_content: 'hm' });
    expect(turn('zai')).toMatchObject({ reasoning_content: 'hm' });
    expect(turn('openrouter')).toMatchObject({ reasoning: 'hm' });
    expect(turn('ollama')).toMatchObject({ reasoning: 'hm' });
    expect(turn('mistral')).toMatchObject({
      content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }],
    });
    for (const preset of ['azure', 'groq', 'lmStudio', 'perplexity', 'xai'] as const) {
      expect(Object.keys(turn(preset))).toStrictEqual(['role', 'content', 'tool_calls']);
    }
    expect(make('deepseek').chat.dialect.turn?.build([call])).toMatchObject({ reasoning_content: '' });
  });

  it('waits for as many answers as were asked for', () => {
    const { dialect } = ask('vllm', { n: 2 });
    expect(decodeAll(dialect, thinking).outcome).toBe('interrupted');
    expect(decodeAll(ask('vllm').dialect, thinking).outcome).toBe('complete');
  });
});

describe('over a socket', () => {
  const text = (content: string): string => frame({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
  const done = frame('[DONE]');

  it.each(PRESETS)('%s: sends what it says, and reads what comes', async (preset) => {
    await using server = await startServer();
    const call = ask(preset, {}, { baseURL: `${server.url}/v1`, headers: { 'x-title': 'Rivers' } });
    const answer = collect(call);
    const exchange = await server.accept();
    const { request } = exchange;
    expect(request).toMatchObject({ method: 'POST', path: '/v1/chat/completions', body: { model: 'm', stream: true } });
    expect(request.headers['x-title']).toBe('Rivers');
    expect([request.headers['api-key'], request.headers.authorization]).toStrictEqual(
      preset === 'azure' ? ['k', undefined] : [undefined, 'Bearer k'],
    );
    const end = frame({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    await exchange.end(`: hello\n\n${text('So')}${end}${done}`);
    expect(await answer).toMatchObject({ text: 'So', finish: { reason: 'stop' } });
  });

  it.each([
    [
      'openrouter',
      frame({
        error: { code: 502, message: 'Provider disconnected', metadata: { error_type: 'provider_unavailable' } },
        choices: [{ index: 0, delta: { content: '' }, finish_reason: 'error' }],
      }),
      { providerMessage: 'Provider disconnected', retryable: true },
    ],
    [
      'openrouter',
      frame({ choices: [{ index: 0, delta: { content: '' }, finish_reason: 'stop', native_finish_reason: 'error' }] }),
      { providerCode: 'error', retryable: true },
    ],
    [
      'groq',
      `event: error\n${frame({ error: { message: 'Failed to call a function', type: 'invalid_request_error', code: 'tool_use_failed' } })}`,
      { providerCode: 'tool_use_failed', retryable: false },
    ],
    ['groq', frame({ x_groq: { error: 'over capacity' }, choices: [] }), { providerMessage: 'over capacity' }],
    [
      'llamaCpp',
      `error: {"code":500,"message":"the context is full","type":"server_error"}\n\n`,
      { providerMessage: 'the context is full', retryable: true },
    ],
    ['vllm', frame({ error: { message: 'boom', type: 'x', param: null, code: 500 } }), { retryable: true }],
    [
      'deepseek',
      frame({ choices: [{ index: 0, delta: {}, finish_reason: 'insufficient_system_resource' }] }),
      { retryable: true },
    ],
    ['zai', frame({ choices: [{ index: 0, delta: {}, finish_reason: 'network_error' }] }), { retryable: true }],
    [
      'mistral',
      frame({ object: 'error', error: { message: 'Service tier capacity exceeded', type: 'rate_limited' } }),
      { retryable: true },
    ],
  ] as const)(
    '%s: fails as the server tells it, after the text, whatever follows: %j',
    async (preset, sent, expected) => {
      await using server = await startServer();
      const events: StreamEvent[] = [];
      const failure = new Promise((resolve) => {
        fromCall(ask(preset, {}, { baseURL: server.url })).subscribe({
          next: (event) => events.push(event),
          error: resolve,
          complete: () => {
            resolve('complete');
          },
        });
      });
      await (await server.accept()).end(text('So ') + sent + done);
      expect(await failure).toMatchObject({ code: 'ERR_PROVIDER', received: { text: 'So ' }, ...expected });
      expect(events.map(({ type }) => type)).not.toContain('finish');
    },
  );

  it('reads a response, where the server has that API', async () => {
    await using server = await startServer();
    const { responses } = make('xai', { baseURL: `${server.url}/v1` });
    const events = lastValueFrom(fromCall(responses({ model: 'm', input: 'Hi' })).pipe(toArray()));
    const exchange = await server.accept();
    expect(exchange.request).toMatchObject({ path: '/v1/responses', body: { model: 'm', stream: true } });
    const response = { id: 'resp_1', status: 'completed', output: [] };
    await exchange.end(
      frame({ type: 'response.output_text.delta', output_index: 0, content_index: 0, item_id: 'm', delta: 'Hello' }) +
        frame({ type: 'response.completed', response }),
    );
    expect((await events).map(({ type }) => type)).toContain('text');
  });
});
