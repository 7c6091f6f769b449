import { afterEach, describe, expect, it, vi } from 'vitest';
import { infron, type InfronChatRequest } from '../../src/providers/infron.js';
import { stopsBilling } from '../../src/providers/stopsBilling.js';
import { chat } from '../fixtures/infron.js';
import { decodeAll, frame, ofType } from '../support/decodeAll.js';
import { expectedOutcomes, outcomesOfCuts } from '../support/eachCut.js';

const messages = [{ role: 'user', content: 'Why do rivers meander?' }];

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('infron.chat', () => {
  it('asks for a stream with usage, and keeps what it does not know', () => {
    const call = infron({ apiKey: 'k' }).chat({
      model: 'x/y',
      messages,
      reasoning: { effort: 'low' },
      debug_request: true,
    });
    const { body, ...request } = call.stream('');
    expect(request).toStrictEqual({
      method: 'POST',
      url: 'https://llm.onerouter.pro/v1/chat/completions',
      headers: undefined,
      accept: ['text/event-stream'],
    });
    expect(JSON.parse(body ?? '')).toStrictEqual({
      model: 'x/y',
      messages,
      reasoning: { effort: 'low' },
      debug_request: true,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(call).toMatchObject({ provider: 'infron', model: 'x/y' });
    expect(call.authorize()).toStrictEqual({ authorization: 'Bearer k' });
  });

  it('refuses a wrong request when called, without quoting it', () => {
    const wrong = { model: 'm', messages: 'a secret prompt' } as unknown as InfronChatRequest;
    expect(() => infron({ apiKey: 'k' }).chat(wrong)).toThrow(TypeError);
    expect(() => infron({ apiKey: 'k' }).chat(wrong)).not.toThrow(/secret/);
  });

  it('names option and variable where there is no key', () => {
    vi.stubEnv('INFRON_API_KEY', '');
    expect(() => infron().chat({ model: 'm', messages })).toThrow(/apiKey.*INFRON_API_KEY/);
  });

  it('asks for its key at each attempt', async () => {
    let asked = 0;
    const { authorize } = infron({ apiKey: () => Promise.resolve(`k${String((asked += 1))}`) }).chat({
      model: 'm',
      messages,
    });
    await authorize();
    expect(await authorize()).toStrictEqual({ authorization: 'Bearer k2' });
  });

  it.each([
    [{ model: 'openai/gpt-4o' }, {}, 'ended'],
    [{ model: 'google/gemini' }, {}, 'continues'],
    [{ model: 'meta-llama/llama' }, {}, 'unknown'],
    [{ model: 'gpt-4o' }, {}, 'unknown'],
    [{ model: 'openai/gpt-4o', provider: { order: ['AWS Bedrock', 'OpenAI'] } }, {}, 'continues'],
    [{ model: 'google/gemini', provider: { order: ['Groq'] } }, { upstream: 'DeepSeek' }, 'ended'],
    [
      { model: 'openai/gpt-4o', provider: { order: [] } },
      { leaving: { stop: 'unknown', disconnect: 'unknown' } as const },
      'unknown',
    ],
  ])('knows what leaving does to the bill: %j with %j', (request, options, billing) => {
    const { leaving } = infron({ apiKey: 'k', ...options }).chat({ messages, ...request });
    expect(leaving).toStrictEqual({ stop: billing, disconnect: billing });
  });
});

describe('stopsBilling', () => {
  it.each(['OpenAI', 'azure', 'Anthropic', 'DeepInfra', 'xAI', 'x-ai', 'SF Compute', 'DeepSeek', 'together-ai'])(
    '%s stops',
    (name) => {
      expect(stopsBilling(name)).toBe(true);
    },
  );

  it.each([
    'AWS Bedrock',
    'amazon-bedrock',
    'Groq',
    'Google AI Studio',
    'mistralai',
    'Mistral',
    'ZeroOneAI',
    'InferenceNet',
  ])('%s goes on', (name) => {
    expect(stopsBilling(name)).toBe(false);
  });

  it.each(['', 'somebody', '__proto__', 'constructor'])('nothing is known of %j', (name) => {
    expect(stopsBilling(name)).toBeUndefined();
  });
});

describe('the dialect of infron', () => {
  const { dialect } = infron({ apiKey: 'k' }).chat;

  it('is interrupted when cut before its proof, and complete from there on', () => {
    expect(outcomesOfCuts(dialect, chat)).toStrictEqual(expectedOutcomes(chat));
  });

  it('reads comments as heartbeats, reasoning, and the cost beside usage', () => {
    const decoded = decodeAll(dialect, chat.pieces.join(''));
    expect(decoded).toMatchObject({ text: 'Hello', thinking: 'First…', outcome: 'complete' });
    expect(ofType(decoded, 'heartbeat')).toStrictEqual([
      { type: 'heartbeat', comment: 'Infron AI PROCESSING' },
      { type: 'heartbeat', comment: 'Infron AI PROCESSING' },
    ]);
    expect(ofType(decoded, 'usage')).toStrictEqual([
      {
        type: 'usage',
        inputTokens: 9,
        outputTokens: 4,
        totalTokens: 13,
        reasoningTokens: 2,
        cachedTokens: 0,
        cost: { total: 0.000021, input: 0.000009, output: 0.000012 },
        provenance: 'reported',
      },
    ]);
  });

  it.each([
    [{ code: 502, message: 'upstream failed' }, true],
    [{ code: '503', message: 'no room' }, true],
    [{ code: 402, message: 'no credit', type: 'payment' }, false],
    [{ code: null, message: 'unclear' }, false],
  ])('fails in the stream with %j, marker or not', (error, retryable) => {
    for (const tail of ['', frame('[DONE]')]) {
      const decoded = decodeAll(
        dialect,
        frame({ choices: [{ delta: { content: 'part' } }] }) + frame({ error }) + tail,
      );
      expect(decoded).toMatchObject({ outcome: 'failed', text: 'part', error: { retryable } });
    }
  });

  it('takes tags for text', () => {
    expect(decodeAll(dialect, frame({ choices: [{ delta: { content: '<think>a' } }] })).text).toBe('<think>a');
  });
});

it('awaits as many answers as were asked for, even where the first is over before the second begins', () => {
  const { dialect } = infron({ apiKey: 'key-of-the-tests' }).chat({
    model: 'm',
    n: 2,
    messages: [{ role: 'user', content: 'Hello' }],
  });
  const answer = (index: number): string[] => [
    `data: {"choices":[{"index":${String(index)},"delta":{"content":"a${String(index)}"}}]}\n\n`,
    `data: {"choices":[{"index":${String(index)},"delta":{},"finish_reason":"stop"}]}\n\n`,
  ];
  expect(decodeAll(dialect, answer(0).join('')).outcome).toBe('interrupted');
  expect(decodeAll(dialect, [...answer(0), ...answer(1)].join(''))).toMatchObject({ outcome: 'complete', text: 'a0' });
  expect(() => infron({ apiKey: 'key-of-the-tests' }).chat({ model: 'm', n: 0, messages: [] })).toThrow(TypeError);
});
