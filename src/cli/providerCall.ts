import type { Call } from '../index.js';
import { CHAT_PRESETS, type ChatPresetRow } from '../providers/chatPresets.js';
import {
  anthropic,
  type ChatPreset,
  gateway,
  type GatewayRequest,
  gemini,
  inferencesh,
  infernet,
  infron,
  ollama,
  type OllamaSettings,
  openai,
  openaiCompatible,
  type OpenAICompatible,
  polargrid,
} from '../providers/index.js';
import { UsageError } from './exitCodes.js';
import { quoted } from './quoted.js';

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

/** Who is asked, and with which key. */
export interface Access extends CallOptions {
  /** Absent where the provider may be asked without. */
  readonly apiKey: string | undefined;
}

/** A provider's own request, as it is documented there. */
export type OwnRequest = Readonly<Record<string, unknown>>;

interface Prompted extends Access {
  readonly prompt: string;
}

/** What a provider is asked with: a text that its usual request is made around, or its own request. */
export type Asked = Prompted | (Access & { readonly request: OwnRequest });

/** One way of asking a provider. */
interface Way {
  readonly ask: (asked: Prompted) => Call;
  /** A request that the provider refuses is a TypeError of the library. */
  readonly send: (access: Access, request: OwnRequest) => Call;
  /** Reads work that exists; `undefined` where a request makes none that could be. */
  readonly attach?: ((access: Access, workId: string, request: OwnRequest | undefined) => Call | undefined) | undefined;
  /** Options that may stand beside a request, with the member that each fills where the request lacks it. */
  readonly fills: Fills;
}

type Fills = Readonly<Partial<Record<'model' | 'service' | 'app' | 'agent', string>>>;

interface WayParts<Request> {
  readonly calls: (access: Access) => (request: Request) => Call;
  /** The usual request around a prompt. */
  readonly request: (asked: Prompted) => Request;
  readonly attach?: Way['attach'];
  /** @defaultValue `{ model: 'model' }` */
  readonly fills?: Fills;
}

function way<Request>({ calls, request, attach, fills = { model: 'model' } }: WayParts<Request>): Way {
  return {
    ask: (asked) => calls(asked)(request(asked)),
    send: (access, own) => calls(access)(own as Request), // it is checked there
    attach,
    fills,
  };
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
  readonly ways: Readonly<Record<string, Way>>;
}

function provider(parts: Omit<Provider, 'modes'>): Provider {
  return { ...parts, modes: Object.keys(parts.ways) };
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
  infernet: provider({
    keyEnv: 'INFERNET_API_KEY',
    keyless: ['native'],
    takes: CHAT,
    ways: {
      chat: way({
        calls: ({ apiKey, baseUrl }) => infernet({ apiKey, baseURL: baseUrl }).chat,
        request: (asked) => chatOf(asked, 'max_tokens'),
        attach: ({ apiKey, baseUrl }, id) => infernet({ apiKey, baseURL: baseUrl }).attach(id),
      }),
      direct: way({
        calls: ({ apiKey, baseUrl }) => infernet({ apiKey, baseURL: baseUrl }).direct,
        request: (asked) => chatOf(asked, 'max_tokens'),
      }),
      native: way({
        calls: ({ apiKey, baseUrl }) => infernet({ apiKey, originURL: baseUrl }).native,
        request: (asked) => {
          const { model, maxTokens, temperature } = asked;
          return { ...given({ modelName: model, maxTokens, temperature }), messages: messagesOf(asked) };
        },
        attach: ({ apiKey, baseUrl }, id) => infernet({ apiKey, originURL: baseUrl }).attachNative(id),
        fills: { model: 'modelName' },
      }),
      openai: way({
        calls: ({ apiKey, baseUrl }) => infernet({ apiKey, originURL: baseUrl }).openai,
        request: (asked) => chatOf(asked, 'max_tokens'),
      }),
    },
  }),
  infron: provider({
    keyEnv: 'INFRON_API_KEY',
    takes: [...CHAT, 'enableThinking'],
    ways: {
      chat: way({
        calls: ({ apiKey, baseUrl }) => infron({ apiKey, baseURL: baseUrl }).chat,
        request: (asked) => ({
          ...chatOf(asked, 'max_tokens'),
          ...(asked.enableThinking === true && { reasoning: { effort: 'medium' } }),
        }),
      }),
    },
  }),
  inferencesh: provider({
    keyEnv: 'INFERENCE_API_KEY',
    takes: ['app', 'agent', 'input', 'system', 'maxTokens', 'temperature'],
    ways: {
      run: way({
        calls: ({ apiKey, baseUrl }) => inferencesh({ apiKey, baseURL: baseUrl }).run,
        request: ({ app = '', prompt, system, maxTokens, temperature, input }) => {
          const text = prompt === '' ? undefined : prompt;
          const fields = given({ text, system_prompt: system, max_tokens: maxTokens, temperature });
          return { app, input: { ...fields, ...input } };
        },
        attach: ({ apiKey, baseUrl }, id) => inferencesh({ apiKey, baseURL: baseUrl }).attach(id),
        fills: { app: 'app' },
      }),
      agent: way({
        calls: ({ apiKey, baseUrl }) => inferencesh({ apiKey, baseURL: baseUrl }).agent,
        request: (asked) => {
          for (const name of ['maxTokens', 'temperature', 'input'] as const) refuse(asked, name, 'inferencesh --agent');
          const { agent, prompt, system } = asked;
          return { ...given({ agent }), input: { text: prompt, ...given({ system_prompt: system }) } };
        },
        attach: ({ apiKey, baseUrl }, id) => inferencesh({ apiKey, baseURL: baseUrl }).attachChat(id),
        fills: { agent: 'agent' },
      }),
    },
  }),
  gateway: provider({
    keyEnv: 'MILLRACE_GATEWAY_API_KEY',
    takes: ['model', 'service', 'maxTokens', 'temperature', 'enableThinking'],
    ways: {
      chat: way({
        calls: ({ apiKey, baseUrl }) => gateway({ apiKey, baseURL: baseUrl }).chat,
        request: gatewayRequest,
        fills: { model: 'model_name', service: 'service_name' },
      }),
      generate: way({
        calls: ({ apiKey, baseUrl }) => gateway({ apiKey, baseURL: baseUrl }).generate,
        request: gatewayRequest,
        fills: { model: 'model_name', service: 'service_name' },
      }),
    },
  }),
  polargrid: provider({
    keyEnv: 'POLARGRID_API_KEY',
    takes: [...CHAT, 'enableThinking', 'region'],
    ways: {
      chat: way({
        calls: ({ apiKey, baseUrl, region }) => polargrid({ apiKey, baseURL: baseUrl, region }).chat,
        request: (asked) => ({
          ...chatOf(asked, 'max_tokens'),
          ...given({ enable_thinking: asked.enableThinking }),
        }),
      }),
      completion: way({
        calls: ({ apiKey, baseUrl, region }) => polargrid({ apiKey, baseURL: baseUrl, region }).completion,
        request: (asked) => {
          for (const name of ['system', 'enableThinking'] as const) {
            refuse(asked, name, 'polargrid --mode completion');
          }
          return completionOf(asked);
        },
      }),
    },
  }),
  openai: provider({
    keyEnv: 'OPENAI_API_KEY',
    takes: CHAT,
    ways: {
      chat: way({
        calls: ({ apiKey, baseUrl }) => openai({ apiKey, baseURL: baseUrl }).chat,
        request: (asked) => chatOf(asked, 'max_completion_tokens'),
      }),
      responses: way({
        calls: ({ apiKey, baseUrl }) => openai({ apiKey, baseURL: baseUrl }).responses,
        request: (asked) => {
          const { system, maxTokens, temperature, prompt } = asked;
          const limits = given({ instructions: system, max_output_tokens: maxTokens, temperature });
          return { ...limits, model: needed(asked, 'model'), input: prompt };
        },
        // Any other response ends with its reader.
        attach: ({ apiKey, baseUrl }, id, request) =>
          request?.['background'] === true ? openai({ apiKey, baseURL: baseUrl }).attachResponse(id) : undefined,
      }),
    },
  }),
  anthropic: provider({
    keyEnv: 'ANTHROPIC_API_KEY',
    takes: CHAT,
    ways: {
      messages: way({
        calls: ({ apiKey, baseUrl }) => anthropic({ apiKey, baseURL: baseUrl }).messages,
        request: (asked) => {
          const { system, maxTokens = ANTHROPIC_MAX_TOKENS, temperature, prompt } = asked;
          return {
            ...given({ system, temperature }),
            model: needed(asked, 'model'),
            max_tokens: maxTokens,
            messages: [{ role: 'user' as const, content: prompt }],
          };
        },
      }),
    },
  }),
  gemini: provider({
    keyEnv: 'GEMINI_API_KEY',
    takes: [...CHAT, 'enableThinking'],
    ways: {
      generateContent: way({
        calls: ({ apiKey, baseUrl }) => gemini({ apiKey, baseURL: baseUrl }).generateContent,
        request: (asked) => {
          const { system, maxTokens, temperature, enableThinking, prompt } = asked;
          const thinkingConfig = enableThinking && { includeThoughts: true };
          const generationConfig = given({ maxOutputTokens: maxTokens, temperature, thinkingConfig });
          return {
            ...given({ systemInstruction: system }),
            ...(Object.keys(generationConfig).length > 0 && { generationConfig }),
            model: needed(asked, 'model'),
            contents: prompt,
          };
        },
      }),
    },
  }),
  ollama: provider({
    keyEnv: 'OLLAMA_API_KEY',
    keyless: ['chat', 'generate'],
    takes: [...CHAT, 'enableThinking'],
    ways: {
      chat: way({
        calls: ({ apiKey, baseUrl }) => ollama({ apiKey, baseURL: baseUrl }).chat,
        request: (asked) => ({ ...ollamaOptions(asked), messages: messagesOf(asked) }),
      }),
      generate: way({
        calls: ({ apiKey, baseUrl }) => ollama({ apiKey, baseURL: baseUrl }).generate,
        request: (asked) => ({ ...ollamaOptions(asked), ...given({ system: asked.system }), prompt: asked.prompt }),
      }),
    },
  }),
  openaiCompatible: compatible('openaiCompatible', undefined, { key: 'optional' }),
  ...presets(),
};

function presets(): Readonly<Record<Preset, Provider>> {
  const entries = PRESETS.map((name) => [name, compatible(name, name, CHAT_PRESETS[name])]);
  return Object.fromEntries(entries) as Record<Preset, Provider>; // one entry for each
}

/** A server that speaks OpenAI's chat completions. */
function compatible(name: ProviderName, preset: Preset | undefined, row: ChatPresetRow): Provider {
  const api = (access: Access): OpenAICompatible => {
    const baseURL = row.baseURL === undefined ? needed(access, 'baseUrl') : access.baseUrl;
    return openaiCompatible({ preset, apiKey: access.apiKey, baseURL });
  };
  const ways = {
    chat: way({
      calls: (access) => api(access).chat,
      // Behind Azure stand OpenAI's models.
      request: (asked) => chatOf(asked, preset === 'azure' ? 'max_completion_tokens' : 'max_tokens'),
    }),
    completion: way({
      calls: (access) => api(access).completion,
      request: (asked) => {
        refuse(asked, 'system', `${name} --mode completion`);
        return completionOf(asked);
      },
    }),
  };
  return provider({
    keyEnv: row.env,
    ...(row.key === 'optional' && { keyless: Object.keys(ways) }),
    takes: CHAT,
    ways,
  });
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
 * The call that a command line or a job asks for.
 * @throws OptionError for an option that the provider does not take, or that it needs; TypeError from the library for a value
 */
export function providerCall(asked: Asked): Call {
  const { provider: name } = asked;
  const mode = modeOf(asked);
  const { takes } = PROVIDERS[name];
  for (const option of PARTICULAR) if (!takes.includes(option)) refuse(asked, option, name);
  return 'request' in asked ? wayOf(asked, mode).send(asked, ownRequest(asked)) : wayOf(asked, mode).ask(asked);
}

/**
 * The call on work that exists, such as a job of an earlier run that was killed; `undefined` where the provider has none that can be
 * attached to. Leaving it, and stopping it too, leaves the work running.
 * @param asked - as the work was asked for; without `request` where it was a prompt
 */
export function attachedCall(asked: Access & { readonly request?: OwnRequest }, workId: string): Call | undefined {
  const { request } = asked;
  return wayOf(asked, modeOf(asked)).attach?.(asked, workId, request);
}

/**
 * The way in which a provider is asked: the one that is named, or the one that goes without saying.
 * @throws OptionError where the provider has no such way, or the options say two things
 */
export function modeOf(asked: CallOptions & { readonly request?: OwnRequest }): string {
  const { provider: name, mode } = asked;
  const { modes } = PROVIDERS[name];
  if (mode !== undefined && !modes.includes(mode)) {
    const problem = `${name} has no mode ${quoted(mode)}; it has ${modes.join(', ')}`;
    throw new OptionError('mode', problem, problem);
  }
  if (name === 'inferencesh') return inferenceshMode(asked);
  return mode ?? modes[0] ?? 'chat';
}

/** The member of its request tells an app from an agent. */
function inferenceshMode({ mode, app, agent, request }: Parameters<typeof modeOf>[0]): string {
  const isApp = app !== undefined || request?.['app'] !== undefined;
  const isAgent = agent !== undefined || request?.['agent'] !== undefined || request?.['agent_config'] !== undefined;
  const told = isApp ? 'run' : 'agent';
  if (isApp === isAgent || (mode !== undefined && mode !== told)) {
    throw new OptionError(
      isAgent ? 'agent' : 'app',
      'inferencesh is asked with --app NAMESPACE/NAME or with --agent NAMESPACE/NAME',
      'inferencesh is asked with app (mode run) or with agent (mode agent)',
    );
  }
  return told;
}

/**
 * A request with what stands beside it: the model and the like, where it does not say them itself.
 * @throws OptionError for an option that has no place beside a request
 */
export function ownRequest(asked: CallOptions & { readonly request: OwnRequest }): OwnRequest {
  const { fills } = wayOf(asked, modeOf(asked));
  for (const option of PARTICULAR) {
    if (option === 'region' || Object.hasOwn(fills, option) || asked[option] === undefined) continue;
    const problem = `it has no place beside a request of ${asked.provider}; write it into the request`;
    throw new OptionError(option, `${flag(option)}: ${problem}`, problem);
  }
  const { model, service, app, agent } = asked;
  const values: Readonly<Record<string, string>> = given({ model, service, app, agent });
  const filled = Object.entries(fills).flatMap(([option, member]) => {
    const value = values[option];
    return value === undefined ? [] : [[member, value] as const];
  });
  return { ...Object.fromEntries(filled), ...asked.request };
}

/** Whom a call asks: a model, an app or an agent. */
export function modelOf(asked: CallOptions & { readonly request?: OwnRequest }): string | undefined {
  const { request } = asked;
  if (request === undefined) return asked.model ?? asked.app ?? asked.agent;
  const { model = 'model', app = 'app', agent = 'agent' } = wayOf(asked, modeOf(asked)).fills;
  const whole = ownRequest({ ...asked, request });
  const told = [whole[model], whole[app], whole[agent]];
  return told.find((name): name is string => typeof name === 'string');
}

function wayOf({ provider: name }: CallOptions, mode: string): Way {
  const found = PROVIDERS[name].ways[mode];
  if (found === undefined) throw new Error(`${name} has no mode ${mode}`); // `modeOf` has looked
  return found;
}

/** An option is missing, or is one too many. The message is for a command line; a file has fields. */
export class OptionError extends UsageError {
  readonly option: keyof CallOptions;
  /** The same without the option's name, which stands before it. */
  readonly problem: string;

  constructor(option: keyof CallOptions, message: string, problem: string) {
    super(message);
    this.option = option;
    this.problem = problem;
  }
}

/** @param who - the provider, with what else of the command line makes it refuse */
function refuse(asked: CallOptions, option: keyof CallOptions, who: string): void {
  if (asked[option] === undefined) return;
  const inFile = who.replace('--mode ', 'in mode ').replace(' --', ' with ');
  throw new OptionError(option, `${who} has no use for ${flag(option)}`, `${inFile} has no use for it`);
}

function needed(asked: CallOptions, option: 'model' | 'service' | 'baseUrl'): string {
  const value = asked[option];
  const what = option === 'baseUrl' ? 'URL' : 'NAME';
  if (value === undefined) {
    throw new OptionError(option, `${asked.provider} needs ${flag(option)} ${what}`, `${asked.provider} needs it`);
  }
  return value;
}

function flag(option: string): string {
  return `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** What every server of the chat family is asked with. An alias, since only those fit where members beside these may stand. */
type TextRequest = Readonly<{
  model: string;
  max_tokens?: number;
  max_completion_tokens?: number;
  temperature?: number;
}>;
type TextMessage = Readonly<{ role: string; content: string }>;

/** A chat completion; OpenAI's reasoning models refuse `max_tokens`. */
function chatOf(
  asked: Prompted,
  limit: 'max_tokens' | 'max_completion_tokens',
): TextRequest & { messages: TextMessage[] } {
  const { maxTokens, temperature } = asked;
  return {
    ...given({ [limit]: maxTokens, temperature }),
    model: needed(asked, 'model'),
    messages: messagesOf(asked),
  };
}

/** A text completion. */
function completionOf(asked: Prompted): TextRequest & { prompt: string } {
  const { maxTokens, temperature, prompt } = asked;
  return { ...given({ max_tokens: maxTokens, temperature }), model: needed(asked, 'model'), prompt };
}

function gatewayRequest(asked: Prompted): GatewayRequest {
  const { maxTokens, temperature, enableThinking, prompt } = asked;
  const parameters = given({ max_tokens: maxTokens, temperature, enable_thinking: enableThinking });
  return {
    service_name: needed(asked, 'service'),
    model_name: needed(asked, 'model'),
    input: prompt,
    ...(Object.keys(parameters).length > 0 && { parameters }),
  };
}

/** What both of its requests have in common. */
function ollamaOptions(asked: Prompted): OllamaSettings & { readonly model: string } {
  const { maxTokens, temperature, enableThinking } = asked;
  const options = given({ num_predict: maxTokens, temperature });
  return {
    ...given({ think: enableThinking }),
    ...(Object.keys(options).length > 0 && { options }),
    model: needed(asked, 'model'),
  };
}

function messagesOf({ system, prompt }: Prompted): TextMessage[] {
  const first = system === undefined ? [] : [{ role: 'system', content: system }];
  return [...first, { role: 'user', content: prompt }];
}

/** Only the members that were given. */
function given<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  // The filter has just taken out what is undefined.
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
