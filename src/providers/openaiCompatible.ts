import { requireOneOf } from '../internal/require.js';
import type { LeavingPolicy } from '../protocol/call.js';
import { isRecord } from '../protocol/errorBody.js';
import { chatCalls, type ChatContinuation, completionCalls, type CompletionRequest } from './chatCalls.js';
import type { ChatDialectOptions } from './chatDialect.js';
import { CHAT_PRESETS, type ChatPreset, type ChatPresetRow } from './chatPresets.js';
import type { ChatRequest } from './chatRequest.js';
import type { ChatTurn } from './chatTurn.js';
import { type Calls, provider } from './provider.js';
import { responsesCalls, type ResponsesCalls } from './responsesCalls.js';
import { stopsBilling } from './stopsBilling.js';
import type { ProviderOptions } from './support.js';

/** Which server is asked, and where it differs from the others. What is given here stands over what the preset says. @public */
export interface OpenAICompatibleOptions
  extends
    ProviderOptions,
    Pick<ChatDialectOptions, 'currency' | 'inlineThinking' | 'maxToolCallChars' | 'retryable' | 'turnThinking'> {
  /** A server that is known by name. @defaultValue none: `baseURL` must be given, and a key is sent where there is one */
  readonly preset?: ChatPreset | undefined;
  /** Stands in receipts, messages and errors. @defaultValue the preset's name, else `'openaiCompatible'` */
  readonly name?: string | undefined;
  /** The API, its version included; must be given for `azure`: `https://NAME.openai.azure.com/openai/v1`. @defaultValue the preset's */
  readonly baseURL?: string | undefined;
  /** Whether usage must be asked for (`stream_options`), or is told unasked. @defaultValue the preset's, else `'ask'` */
  readonly usage?: 'ask' | 'told' | undefined;
  /**
   * How the server goes on with an answer that was cut; `'never'` where it does not.
   * @defaultValue the preset's; without one, `{ by: 'message' }`
   */
  readonly continues?: ChatContinuation | 'never' | undefined;
}

/** What `openaiCompatible` makes; `responses` and `attachResponse` are for servers that have that API. @public */
export interface OpenAICompatible extends ResponsesCalls {
  /** A chat completion, streamed. */
  readonly chat: Calls<ChatRequest, ChatTurn>;
  /** A text completion, streamed, where the server has them. */
  readonly completion: Calls<CompletionRequest>;
}

/**
 * Any server that speaks OpenAI's chat completions; those that differ are known by name. The key comes from `apiKey` or the
 * preset's variable.
 *
 * | preset | base URL | key | |
 * | --- | --- | --- | --- |
 * | `azure` | must be given | `AZURE_OPENAI_API_KEY`, in `api-key` | |
 * | `deepseek` | `https://api.deepseek.com` | `DEEPSEEK_API_KEY` | goes on below `/beta` |
 * | `groq` | `https://api.groq.com/openai/v1` | `GROQ_API_KEY` | `<think>` in the text |
 * | `huggingface` | `https://router.huggingface.co/v1` | `HF_TOKEN` | |
 * | `llamaCpp` | `http://localhost:8080/v1` | optional | |
 * | `lmStudio` | `http://localhost:1234/v1` | optional | `<think>` in the text |
 * | `mistral` | `https://api.mistral.ai/v1` | `MISTRAL_API_KEY` | refuses `stream_options` |
 * | `ollama` | `http://localhost:11434/v1` | optional | |
 * | `openrouter` | `https://openrouter.ai/api/v1` | `OPENROUTER_API_KEY` | cost in US dollars |
 * | `perplexity` | `https://api.perplexity.ai` | `PERPLEXITY_API_KEY` | `<think>` in the text |
 * | `sglang` | `http://localhost:30000/v1` | optional | |
 * | `vllm` | `http://localhost:8000/v1` | optional, `VLLM_API_KEY` | |
 * | `xai` | `https://api.x.ai/v1` | `XAI_API_KEY` | |
 * | `zai` | `https://api.z.ai/api/paas/v4` | `ZAI_API_KEY` | |
 *
 * Leaving closes the socket. What that means is `ended` on servers of one's own; on OpenRouter it is known where the request
 * names its upstreams (`provider.only`, or `provider.order` without fallbacks); else it is `unknown`.
 *
 * @example
 * ```ts
 * const api = openaiCompatible({ preset: 'deepseek' });
 * fromCall(api.chat({ model: 'deepseek-chat', messages })).pipe(toTokens()).subscribe(log);
 * ```
 * @example A server that has no name here
 * ```ts
 * const mine = openaiCompatible({ name: 'mine', baseURL: 'http://10.0.0.7:9000/v1', inlineThinking: true });
 * fromCall(mine.chat({ model, messages })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for a preset that is not in the table, where a base URL is missing, for an option or, from its functions, a
 * request that cannot be right, and where a key is missing; RangeError for a limit below its range
 * @public
 */
export function openaiCompatible(options: OpenAICompatibleOptions): OpenAICompatible {
  const { preset, name = preset ?? 'openaiCompatible', maxToolCallChars, retryable, continues, usage } = options;
  const row = rowOf(preset);
  const baseURL = options.baseURL ?? row.baseURL;
  if (baseURL === undefined) {
    const such = preset === 'azure' ? 'https://NAME.openai.azure.com/openai/v1' : 'http://localhost:8000/v1';
    throw new TypeError(`${name} needs a baseURL, such as ${such}`);
  }
  if (usage !== undefined) requireOneOf('usage', usage, ['ask', 'told']);
  const { env, keyHeader, key, leaving } = row;
  const policy = leaving === 'by-upstream' ? undefined : leaving;
  const api = provider({ name, baseURL, env, keyHeader, key, leaving: policy }, options);
  const {
    inlineThinking = row.inlineThinking ?? false,
    currency = row.currency,
    turnThinking = row.turnThinking,
  } = options;
  const shared = {
    name,
    retryable,
    inlineThinking,
    currency,
    turnThinking,
    maxToolCallChars,
    usage: usage ?? row.usage,
    continues: continues === 'never' ? undefined : (continues ?? continuationAt(baseURL, row)),
  };
  const ofUpstream = (request: ChatRequest): LeavingPolicy => ({ ...upstreamPolicy(request), ...options.leaving });
  return {
    chat: chatCalls(api, leaving === 'by-upstream' ? { ...shared, leaving: ofUpstream } : shared),
    completion: completionCalls(api, shared),
    ...responsesCalls(api, { name, retryable, maxToolCallChars, leaving: options.leaving }),
  };
}

function rowOf(preset: ChatPreset | undefined): ChatPresetRow {
  if (preset === undefined) return { key: 'optional', continues: { by: 'message' } };
  if (Object.hasOwn(CHAT_PRESETS, preset)) return CHAT_PRESETS[preset];
  throw new TypeError(`preset must be one of ${Object.keys(CHAT_PRESETS).join(', ')}; got ${JSON.stringify(preset)}`);
}

/** Where the caller's base is a version, or the place for going on itself, that place is not below it. */
function continuationAt(baseURL: string, { continues }: ChatPresetRow): ChatContinuation | undefined {
  if (continues?.by !== 'prefix' || continues.below === undefined) return continues;
  const path = new URL(baseURL, 'http://a.page').pathname.replace(/\/+$/, '');
  if (path.endsWith(continues.below)) return { by: 'prefix' };
  return /\/v\d+$/.test(path) ? undefined : continues;
}

/** A router may send a request anywhere: something is known only where the request says where to, and all of those do the same. */
function upstreamPolicy({ provider: routing }: ChatRequest): LeavingPolicy {
  const unknown: LeavingPolicy = { stop: 'unknown', disconnect: 'unknown' };
  if (!isRecord(routing)) return unknown;
  const named = routing['only'] ?? (routing['allow_fallbacks'] === false ? routing['order'] : undefined);
  if (!Array.isArray(named) || named.length === 0) return unknown;
  // `deepinfra/turbo` is one of the endpoints of `deepinfra`.
  const stops = new Set(named.map((slug) => stopsBilling(String(slug).split('/')[0] ?? '')));
  if (stops.size > 1 || stops.has(undefined)) return unknown;
  return stops.has(true) ? { stop: 'ended', disconnect: 'ended' } : { stop: 'continues', disconnect: 'continues' };
}
