import { describe, expect, it } from 'vitest';
import {
  type Asked,
  attachedCall,
  modelOf,
  modeOf,
  OptionError,
  PROVIDER_NAMES,
  providerCall,
  type ProviderName,
  PROVIDERS,
} from '../../src/cli/providerCall.js';
import { CHAT_PRESETS } from '../../src/providers/chatPresets.js';
import { cli } from './harness.js';

const asked = { apiKey: 'k', model: 'm', prompt: 'hi' };
const everything = { ...asked, system: 'Be brief.', maxTokens: 9, temperature: 0.5 };
const base = 'http://127.0.0.1:9/v1';

function sent(options: Asked): unknown {
  const call = providerCall(options);
  return JSON.parse((call.submit ?? call.stream('')).body ?? '');
}

const conversation = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'hi' },
];

describe('providerCall', () => {
  it.each<[Omit<Asked, keyof typeof everything>, object]>([
    [{ provider: 'openai' }, { max_completion_tokens: 9, temperature: 0.5, messages: conversation }],
    [
      { provider: 'openai', mode: 'responses' },
      { max_output_tokens: 9, temperature: 0.5, instructions: 'Be brief.', input: 'hi' },
    ],
    [
      { provider: 'anthropic' },
      { max_tokens: 9, temperature: 0.5, system: 'Be brief.', messages: [{ role: 'user', content: 'hi' }] },
    ],
    [
      { provider: 'gemini', enableThinking: true },
      {
        contents: [{ role: 'user', parts: [{ text: 'hi' }] }],
        systemInstruction: { parts: [{ text: 'Be brief.' }] },
        generationConfig: { maxOutputTokens: 9, temperature: 0.5, thinkingConfig: { includeThoughts: true } },
      },
    ],
    [
      { provider: 'ollama', enableThinking: true },
      { think: true, options: { num_predict: 9, temperature: 0.5 }, messages: conversation },
    ],
    [
      { provider: 'ollama', mode: 'generate' },
      { options: { num_predict: 9, temperature: 0.5 }, system: 'Be brief.', prompt: 'hi' },
    ],
    [{ provider: 'deepseek' }, { max_tokens: 9, temperature: 0.5, messages: conversation }],
    [
      { provider: 'azure', baseUrl: base },
      { max_completion_tokens: 9, temperature: 0.5, messages: conversation },
    ],
    [
      { provider: 'openaiCompatible', baseUrl: base },
      { max_tokens: 9, temperature: 0.5, messages: conversation },
    ],
  ])('puts system prompt and limits where the provider wants them: %j', (options, body) => {
    expect(sent({ ...everything, ...options })).toMatchObject(body);
  });

  it('gives Anthropic a limit, which it needs, and nobody else one that was not asked for', () => {
    expect(sent({ ...asked, provider: 'anthropic' })).toStrictEqual({
      model: 'm',
      max_tokens: 4096,
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
    });
    expect(sent({ ...asked, provider: 'gemini' })).toStrictEqual({
      contents: [{ role: 'user', parts: [{ text: 'hi' }] }],
    });
    expect(sent({ ...asked, provider: 'ollama' })).toStrictEqual({
      model: 'm',
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
    });
  });

  it('completes a text where a server of the chat family is asked to, without a system prompt', () => {
    const completing = { ...asked, provider: 'vllm', mode: 'completion' } as const;
    const { url } = providerCall(completing).stream('');
    expect(url).toBe('http://localhost:8000/v1/completions');
    expect(sent(completing)).toMatchObject({ model: 'm', prompt: 'hi' });
    expect(() => providerCall({ ...completing, system: 'x' })).toThrow(
      'vllm --mode completion has no use for --system',
    );
  });

  it('knows every server of the chat family that the library knows', () => {
    expect(PROVIDER_NAMES).toEqual(expect.arrayContaining(Object.keys(CHAT_PRESETS)));
    expect(Object.keys(PROVIDERS)).toEqual([...PROVIDER_NAMES]);
  });

  const named: readonly ProviderName[] = PROVIDER_NAMES.filter((name) => name !== 'inferencesh');
  it.each(named)('asks %s in each of its ways, by its own name', (name) => {
    const { modes, takes } = PROVIDERS[name];
    for (const mode of modes) {
      const service = takes.includes('service') ? { service: 's' } : undefined;
      const call = providerCall({ ...asked, ...service, provider: name, mode, baseUrl: base });
      expect(call.provider).toBe(name);
      expect(call.model).toBe('m');
      expect((call.submit ?? call.stream('')).url.startsWith('http://127.0.0.1:9/')).toBe(true);
    }
  });

  it.each(['openai', 'anthropic', 'gemini', 'ollama', 'groq'] as const)('needs a model for %s', (provider) => {
    expect(() => providerCall({ apiKey: 'k', prompt: 'hi', provider })).toThrow(`${provider} needs --model NAME`);
  });
});

describe('providerCall with the provider’s own request', () => {
  const messages = [{ role: 'user', content: 'hi' }];
  const own: Readonly<Record<string, object>> = {
    completion: { model: 'm', prompt: 'hi' },
    generate: { model: 'm', prompt: 'hi' },
    responses: { model: 'm', input: 'hi' },
    native: { modelName: 'm', messages },
    messages: { model: 'm', messages, max_tokens: 9 },
    generateContent: { model: 'm', contents: 'hi' },
    run: { app: 'm', input: { text: 'hi' } },
    agent: { agent: 'm', input: { text: 'hi' } },
    'gateway chat': { service_name: 's', model_name: 'm', input: 'hi' },
    'gateway generate': { service_name: 's', model_name: 'm', input: 'hi' },
  };

  it.each(PROVIDER_NAMES.flatMap((name) => PROVIDERS[name].modes.map((mode) => [name, mode] as const)))(
    'sends %s in its mode %s what the request says',
    (provider, mode) => {
      const request = { ...(own[`${provider} ${mode}`] ?? own[mode] ?? { model: 'm', messages }), more: { x: 1 } };
      const call = providerCall({ provider, mode, apiKey: 'k', baseUrl: base, request });
      expect(call.provider).toBe(provider);
      expect(call.model).toBe('m');
      const body = JSON.parse((call.submit ?? call.stream('')).body ?? '') as object;
      if (provider !== 'gemini') expect(body).toMatchObject({ more: { x: 1 } });
      expect((call.submit ?? call.stream('')).url.startsWith('http://127.0.0.1:9/')).toBe(true);
      expect(modelOf({ provider, mode, request })).toBe('m');
    },
  );

  it('fills in a model that stands beside it, and lets the request’s own stand', () => {
    expect(sent({ provider: 'openai', apiKey: 'k', model: 'beside', request: { messages } })).toMatchObject({
      model: 'beside',
    });
    expect(
      sent({ provider: 'openai', apiKey: 'k', model: 'beside', request: { messages, model: 'own' } }),
    ).toMatchObject({
      model: 'own',
    });
    const gateway = { provider: 'gateway', apiKey: 'k', model: 'm', service: 's', request: { input: 'hi' } } as const;
    expect(sent(gateway)).toMatchObject({ model_name: 'm', service_name: 's' });
  });

  it('refuses what has no place beside it, and what the provider has no use for', () => {
    const asked = { provider: 'openai', apiKey: 'k', request: { model: 'm', messages } } as const;
    expect(() => providerCall({ ...asked, system: 's' })).toThrow(
      '--system: it has no place beside a request of openai; write it into the request',
    );
    expect(() => providerCall({ ...asked, region: 'r' })).toThrow('openai has no use for --region');
    expect(() => providerCall({ ...asked, mode: 'x' })).toThrow(OptionError);
  });

  it('passes on what the library refuses', () => {
    expect(() => providerCall({ provider: 'openai', apiKey: 'k', request: { model: 5 } })).toThrow(TypeError);
  });

  it('tells an app from an agent by the request', () => {
    expect(modeOf({ provider: 'inferencesh', request: { agent_config: {} } })).toBe('agent');
    expect(modeOf({ provider: 'inferencesh', request: { app: 'a' } })).toBe('run');
    expect(modeOf({ provider: 'inferencesh', agent: 'a' })).toBe('agent');
    expect(() => modeOf({ provider: 'inferencesh', app: 'a', request: { agent: 'b' } })).toThrow(OptionError);
    expect(() => modeOf({ provider: 'inferencesh', mode: 'agent', app: 'a' })).toThrow(OptionError);
  });
});

describe('attachedCall', () => {
  const access = { apiKey: 'k', baseUrl: 'http://127.0.0.1:9' };

  it.each<[Parameters<typeof attachedCall>[0], string]>([
    [{ ...access, provider: 'infernet' }, '/jobs/w%2F1/stream'],
    [{ ...access, provider: 'infernet', mode: 'native' }, '/api/chat/stream/w%2F1'],
    [{ ...access, provider: 'inferencesh', app: 'a/b' }, '/tasks/w%2F1/stream'],
    [{ ...access, provider: 'inferencesh', request: { app: 'a/b', input: {} } }, '/tasks/w%2F1/stream'],
    [{ ...access, provider: 'inferencesh', agent: 'a/b' }, '/chats/w%2F1/stream'],
    [
      { ...access, provider: 'openai', mode: 'responses', request: { model: 'm', background: true } },
      '/responses/w%2F1?stream=true',
    ],
  ])('reads the work of %j', (asked, path) => {
    const call = attachedCall(asked, 'w/1');
    expect(call?.workId).toBe('w/1');
    expect(call?.stream('w/1').url).toBe(`http://127.0.0.1:9${path}`);
    expect(call?.cancel).toBeUndefined();
    expect(call?.authorize()).toEqual({ authorization: 'Bearer k' });
  });

  it('is nothing where a provider keeps no work, or this request made none', () => {
    expect(attachedCall({ ...access, provider: 'infernet', mode: 'direct' }, 'w')).toBeUndefined();
    expect(attachedCall({ ...access, provider: 'openai', mode: 'responses' }, 'w')).toBeUndefined();
    expect(
      attachedCall({ ...access, provider: 'openai', mode: 'responses', request: { model: 'm' } }, 'w'),
    ).toBeUndefined();
    for (const provider of PROVIDER_NAMES.filter((name) => !['infernet', 'inferencesh', 'openai'].includes(name))) {
      for (const mode of PROVIDERS[provider].modes)
        expect(attachedCall({ ...access, provider, mode }, 'w')).toBeUndefined();
    }
  });

  it('refuses an id that cannot stand in a URL', () => {
    expect(() => attachedCall({ ...access, provider: 'infernet' }, '..')).toThrow(TypeError);
  });
});

describe('millrace ask --help', () => {
  it('lists every provider with its key and its modes', async () => {
    const { stdout, exitCode } = cli(['ask', '--help']);
    expect(await exitCode).toBe(0);
    const rows = stdout.text.split('\n').map((line) => line.trim().split(/ {2,}/).join(' | ').replace(/ +/g, ' '));
    for (const name of PROVIDER_NAMES) {
      const { keyEnv = '-', modes } = PROVIDERS[name];
      const row = rows.find((line) => line.startsWith(`${name} `) && line.includes(keyEnv));
      expect(row, name).toBeDefined();
      if (name !== 'inferencesh') expect(row).toContain(modes.join(', '));
    }
    expect(rows).toContain('ollama | OLLAMA_API_KEY, optional | chat, generate');
    expect(rows).toContain('llamaCpp | - | chat, completion');
  });

  it('finds a provider by its name in any case', async () => {
    const { stderr, exitCode } = cli(['ask', '-p', 'OpenAI', '-m', 'm', 'hi']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/openai needs a key: set OPENAI_API_KEY/);
  });
});
