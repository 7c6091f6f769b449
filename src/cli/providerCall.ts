import type { Call } from '../index.js';
import { CHAT_PRESETS, type ChatPresetRow } from '../providers/chatPresets.js';
import {
  anthropic,
  type ChatPreset,
  type ChatRequest,
  gateway,
  gemini,
  inferencesh,
  infernet,
  infron,
  ollama,
  openai,
  openaiCompatible,
  polargrid,
} from '../providers/index.js';
import { UsageError } from './exitCodes.js';

/** What of a command line makes a call. */
export interface CallOptions {
  readonly provider: ProviderName;
  readonly model?: string;
  readonly mode?: string;
  readonly system?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly enableThinking?: true;
  readonly baseUrl?: string;
  readonly region?: string;
  readonly service?: string;
  readonly app?: string;
  readonly agent?: string;
  readonly input?: Readonly<Record<string, unknown>>;
}

/** What a provider is asked with. */
export interface Asked extends CallOptions {
  /** Absent where the provider may be asked without. */
  readonly apiKey: string | undefined;
  readonly prompt: string;
}

interface Provider {
  /** Where its key is looked for; absent where it needs none. */
  readonly keyEnv?: string | undefined;
  /** The modes in which it may be asked without a key. */
  readonly keyless?: readonly string[];
  /** The ways of asking it, the usual one first. */
  readonly modes: readonly string[];
  /** Options beside the common ones. */
  readonly takes: readonly (keyof CallOptions)[];
  readonly call: (asked: Asked, mode: string) => Call;
}

/** Servers of the chat family; the one named `ollama` is asked in its own way. */
type Preset = Exclude<ChatPreset, 'ollama'>;
const PRESETS = (Object.keys(CHAT_PRESETS) as ChatPreset[]) // its keys, as its type tells them
  .filter((name) => name !== 'ollama');

const NAMES = [
  'infernet',
  'infron',
  'inferencesh',
  'gateway',
  'polargrid',
  'openai',
  'anthropic',
  'gemini',
  'ollama',
  'openaiCompatible',
] as const;
export type ProviderName = (typeof NAMES)[number] | Preset;
export const PROVIDER_NAMES: readonly ProviderName[] = [...NAMES, ...PRESETS];

const CHAT = ['model', 'system', 'maxTokens', 'temperature'] as const;

/** What Anthropic is allowed where nothing is said, since its API has no default; chosen. */
const ANTHROPIC_MAX_TOKENS = 4096;

export const PROVIDERS: Readonly<Record<ProviderName, Provider>> = {
  infernet: {
    keyEnv: 'INFERNET_API_KEY',
    modes: ['chat', 'direct', 'native', 'openai'],
    keyless: ['native'],
    takes: CHAT,
    call: (asked, mode) => {
      const { apiKey, baseUrl, model, maxTokens, temperature } = asked;
      const messages = messagesOf(asked);
      if (mode === 'native') {
        const native = infernet({ apiKey, originURL: baseUrl }).native;
        return native({ ...given({ modelName: model, maxTokens, temperature }), messages });
      }
      const request = { ...given({ max_tokens: maxTokens, temperature }), model: needed(asked, 'model'), messages };
      if (mode === 'openai') return infernet({ apiKey, originURL: baseUrl }).openai(request);
      const api = infernet({ apiKey, baseURL: baseUrl });
      return mode === 'direct' ? api.direct(request) : api.chat(request);
    },
  },
  infron: {
    keyEnv: 'INFRON_API_KEY',
    modes: ['chat'],
    takes: [...CHAT, 'enableThinking'],
    call: (asked) =>
      infron({ apiKey: asked.apiKey, baseURL: asked.baseUrl }).chat({
        ...chatOf(asked, 'max_tokens'),
        ...(asked.enableThinking === true && { reasoning: { effort: 'medium' } }),
      }),
  },
  inferencesh: {
    keyEnv: 'INFERENCE_API_KEY',
    modes: ['run', 'agent'],
    takes: ['app', 'agent', 'input', 'system', 'maxTokens', 'temperature'],
    call: (asked) => {
      const { apiKey, baseUrl, app, agent, prompt, system, maxTokens, temperature, input } = asked;
      const api = inferencesh({ apiKey, baseURL: baseUrl });
      if ((app === undefined) === (agent === undefined)) {
        throw new UsageError('inferencesh is asked with --app NAMESPACE/NAME or with --agent NAMESPACE/NAME');
      }
      if (app !== undefined) {
        const text = prompt === '' ? undefined : prompt;
        const fields = given({ text, system_prompt: system, max_tokens: maxTokens, temperature });
        return api.run({ app, input: { ...fields, ...input } });
      }
      for (const name of ['maxTokens', 'temperature', 'input'] as const) refuse(asked, name, 'inferencesh --agent');
      return api.agent({ ...given({ agent }), input: { text: prompt, ...given({ system_prompt: system }) } });
    },
  },
  gateway: {
    keyEnv: 'MILLRACE_GATEWAY_API_KEY',
    modes: ['chat', 'generate'],
    takes: ['model', 'service', 'maxTokens', 'temperature', 'enableThinking'],
    call: (asked, mode) => {
      const { apiKey, baseUrl, maxTokens, temperature, enableThinking, prompt } = asked;
      const parameters = given({ max_tokens: maxTokens, temperature, enable_thinking: enableThinking });
      const request = {
        service_name: needed(asked, 'service'),
        model_name: needed(asked, 'model'),
        input: prompt,
        ...(Object.keys(parameters).length > 0 && { parameters }),
      };
      const api = gateway({ apiKey, baseURL: baseUrl });
      return mode === 'generate' ? api.generate(request) : api.chat(request);
    },
  },
  polargrid: {
    keyEnv: 'POLARGRID_API_KEY',
    modes: ['chat', 'completion'],
    takes: [...CHAT, 'enableThinking', 'region'],
    call: (asked, mode) => {
      const { apiKey, baseUrl, region, maxTokens, temperature, enableThinking, prompt } = asked;
      const api = polargrid({ apiKey, baseURL: baseUrl, region });
      const request = { ...given({ max_tokens: maxTokens, temperature }), model: needed(asked, 'model') };
      if (mode === 'completion') {
        for (const name of ['system', 'enableThinking'] as const) refuse(asked, name, 'polargrid --mode completion');
        return api.completion({ ...request, prompt });
      }
      return api.chat({ ...request, ...given({ enable_thinking: enableThinking }), messages: messagesOf(asked) });
    },
  },
  openai: {
    keyEnv: 'OPENAI_API_KEY',
    modes: ['chat', 'responses'],
    takes: CHAT,
    call: (asked, mode) => {
      const { apiKey, baseUrl, system, maxTokens, temperature, prompt } = asked;
      const api = openai({ apiKey, baseURL: baseUrl });
      const model = needed(asked, 'model');
      if (mode === 'responses') {
        const limits = given({ instructions: system, max_output_tokens: maxTokens, temperature });
        return api.responses({ ...limits, model, input: prompt });
      }
      return api.chat(chatOf(asked, 'max_completion_tokens'));
    },
  },
  anthropic: {
    keyEnv: 'ANTHROPIC_API_KEY',
    modes: ['messages'],
    takes: CHAT,
    call: (asked) => {
      const { apiKey, baseUrl, system, maxTokens = ANTHROPIC_MAX_TOKENS, temperature, prompt } = asked;
      return anthropic({ apiKey, baseURL: baseUrl }).messages({
        ...given({ system, temperature }),
        model: needed(asked, 'model'),
        max_tokens: maxTokens,
        messages: [{ role: 'user', content: prompt }],
      });
    },
  },
  gemini: {
    keyEnv: 'GEMINI_API_KEY',
    modes: ['generateContent'],
    takes: [...CHAT, 'enableThinking'],
    call: (asked) => {
      const { apiKey, baseUrl, system, maxTokens, temperature, enableThinking, prompt } = asked;
      const thinkingConfig = enableThinking && { includeThoughts: true };
      const generationConfig = given({ maxOutputTokens: maxTokens, temperature, thinkingConfig });
      return gemini({ apiKey, baseURL: baseUrl }).generateContent({
        ...given({ systemInstruction: system }),
        ...(Object.keys(generationConfig).length > 0 && { generationConfig }),
        model: needed(asked, 'model'),
        contents: prompt,
      });
    },
  },
  ollama: {
    keyEnv: 'OLLAMA_API_KEY',
    modes: ['chat', 'generate'],
    keyless: ['chat', 'generate'],
    takes: [...CHAT, 'enableThinking'],
    call: (asked, mode) => {
      const { apiKey, baseUrl, system, maxTokens, temperature, enableThinking, prompt } = asked;
      const api = ollama({ apiKey, baseURL: baseUrl });
      const options = given({ num_predict: maxTokens, temperature });
      const request = {
        ...given({ think: enableThinking }),
        ...(Object.keys(options).length > 0 && { options }),
        model: needed(asked, 'model'),
      };
      return mode === 'generate'
        ? api.generate({ ...request, ...given({ system }), prompt })
        : api.chat({ ...request, messages: messagesOf(asked) });
    },
  },
  openaiCompatible: compatible('openaiCompatible', undefined, { key: 'optional' }),
  ...presets(),
};

function presets(): Readonly<Record<Preset, Provider>> {
  const entries = PRESETS.map((name) => [name, compatible(name, name, CHAT_PRESETS[name])]);
  return Object.fromEntries(entries) as Record<Preset, Provider>; // one entry for each
}

/** A server that speaks OpenAI's chat completions. */
function compatible(name: ProviderName, preset: Preset | undefined, row: ChatPresetRow): Provider {
  const modes = ['chat', 'completion'];
  return {
    keyEnv: row.env,
    modes,
    ...(row.key === 'optional' && { keyless: modes }),
    takes: CHAT,
    call: (asked, mode) => {
      const { apiKey, maxTokens, temperature, prompt } = asked;
      const baseURL = row.baseURL === undefined ? needed(asked, 'baseUrl') : asked.baseUrl;
      const api = openaiCompatible({ preset, apiKey, baseURL });
      if (mode === 'completion') {
        refuse(asked, 'system', `${name} --mode completion`);
        return api.completion({
          ...given({ max_tokens: maxTokens, temperature }),
          model: needed(asked, 'model'),
          prompt,
        });
      }
      // Behind Azure stand OpenAI's models.
      return api.chat(chatOf(asked, preset === 'azure' ? 'max_completion_tokens' : 'max_tokens'));
    },
  };
}

/** Options that not every provider takes. */
const PARTICULAR = [
  'model',
  'system',
  'maxTokens',
  'temperature',
  'enableThinking',
  'region',
  'service',
  'app',
  'agent',
  'input',
] as const;

/**
 * The call that a command line asks for.
 * @throws UsageError for an option that the provider does not take, or that it needs; TypeError from the library for a value
 */
export function providerCall(asked: Asked): Call {
  const { provider: name, mode } = asked;
  const { modes, takes, call } = PROVIDERS[name];
  if (mode !== undefined && !modes.includes(mode)) {
    throw new UsageError(`${name} has no mode ${JSON.stringify(mode)}; it has ${modes.join(', ')}`);
  }
  for (const option of PARTICULAR) if (!takes.includes(option)) refuse(asked, option, name);
  return call(asked, mode ?? modes[0] ?? 'chat');
}

function refuse(asked: CallOptions, option: keyof CallOptions, who: string): void {
  if (asked[option] !== undefined) throw new UsageError(`${who} has no use for ${flag(option)}`);
}

function needed(asked: CallOptions, option: 'model' | 'service' | 'baseUrl'): string {
  const value = asked[option];
  const what = option === 'baseUrl' ? 'URL' : 'NAME';
  if (value === undefined) throw new UsageError(`${asked.provider} needs ${flag(option)} ${what}`);
  return value;
}

function flag(option: string): string {
  return `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** A chat completion; OpenAI's reasoning models refuse `max_tokens`. */
function chatOf(asked: Asked, limit: 'max_tokens' | 'max_completion_tokens'): ChatRequest {
  const { maxTokens, temperature } = asked;
  return {
    ...given({ [limit]: maxTokens, temperature }),
    model: needed(asked, 'model'),
    messages: messagesOf(asked),
  };
}

function messagesOf({ system, prompt }: Asked): { readonly role: string; readonly content: string }[] {
  const first = system === undefined ? [] : [{ role: 'system', content: system }];
  return [...first, { role: 'user', content: prompt }];
}

/** Only the members that were given. */
function given<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  // The filter has just taken out what is undefined.
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
