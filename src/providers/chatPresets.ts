import type { LeavingPolicy } from '../protocol/call.js';
import type { ChatContinuation } from './chatCalls.js';
import type { ChatTurnThinking } from './chatTurn.js';

/** A server of the chat family that is known by name. @public */
export type ChatPreset =
  | 'azure'
  | 'deepseek'
  | 'groq'
  | 'huggingface'
  | 'llamaCpp'
  | 'lmStudio'
  | 'mistral'
  | 'ollama'
  | 'openrouter'
  | 'perplexity'
  | 'sglang'
  | 'vllm'
  | 'xai'
  | 'zai';

/** Where one server of the chat family differs from the others. */
export interface ChatPresetRow {
  /** Absent where every customer has one of their own. */
  readonly baseURL?: string;
  readonly env?: string;
  readonly keyHeader?: string;
  /** Servers on one's own machine need no key. @defaultValue `'required'` */
  readonly key?: 'optional';
  /** @defaultValue `false` */
  readonly inlineThinking?: true;
  /** `'told'`: the server tells usage unasked; `stream_options` is not sent. @defaultValue `'ask'` */
  readonly usage?: 'told';
  /** What a cost is counted in. */
  readonly currency?: string;
  /** How an answer is gone on with; absent where nobody documents that it can be. */
  readonly continues?: ChatContinuation;
  /** @defaultValue as in `chatDialect` */
  readonly turnThinking?: ChatTurnThinking;
  /** `'by-upstream'`: as OpenRouter's list of upstreams says. @defaultValue `unknown` */
  readonly leaving?: LeavingPolicy | 'by-upstream';
}

/** The server aborts a request whose socket was closed, as its source shows; on one's own machine nobody is billed. */
const ENDED: LeavingPolicy = { stop: 'ended', disconnect: 'ended' };

/**
 * The servers that are known by name, and where each fact is from.
 *
 * - *azure*: Microsoft Learn, Azure OpenAI v1 API: `https://NAME.openai.azure.com/openai/v1`, `api-key`. A token of Entra ID
 *   goes as a bearer token: without preset.
 * - *deepseek*: api-docs.deepseek.com. Chat prefix completion: `prefix` on the last message, below `/beta`. Thinking mode: a turn
 *   with tool calls must have its `reasoning_content`, be it empty (deepseek-harness#739), else 400; other turns need not.
 * - *groq*: console.groq.com, "Reasoning" (`reasoning_format` is `raw`: `<think>` in the text; with `parsed`, `reasoning`) and
 *   "Prefilling" (a last message of the assistant is gone on with). Its SDK: `reasoning` is taken back from one model family only.
 * - *mistral*: docs.mistral.ai. `stream_options` is refused with 422 (openai-agents-python#442, litellm#8978) and usage told
 *   unasked; `reasoning_content` is refused too (crush#1590), thinking is a part of the content. A `prefix` is repeated in the answer
 *   (vercel/ai#3256), so that an answer cannot be gone on with: its beginning would come twice.
 * - *openrouter*: openrouter.ai/docs. Usage accounting: always told, cost in credits of one US dollar. Reasoning: `reasoning` or
 *   `reasoning_details` are given back. Prefill: a last message of the assistant is gone on with. Streaming: which upstreams stop.
 * - *xai*: docs.x.ai.
 * - *perplexity*: docs.perplexity.ai. Usage on every frame, unasked, as recorded; reasoning models write `<think>` into the text. Its
 *   responses are below `/v1`.
 * - *vllm*: docs.vllm.ai, OpenAI-compatible server: `continue_final_message`, not together with `add_generation_prompt`.
 * - *sglang*: its `serving_chat.py`: `continue_final_message`.
 * - *lmStudio*: lmstudio-bug-tracker#1569: `<think>` in the text, unless a setting says otherwise.
 * - *llamaCpp*: its server's README: `--prefill-assistant` is on by default.
 * - *huggingface*: huggingface.co/docs/inference-providers.
 * - *ollama*: docs.ollama.com, OpenAI compatibility; `reasoning`, as recorded; ollama#6778 for going on.
 * - *zai*: docs.z.ai, Thinking mode: thinking is given back with the results of tools.
 */
export const CHAT_PRESETS: Readonly<Record<ChatPreset, ChatPresetRow>> = {
  azure: { env: 'AZURE_OPENAI_API_KEY', keyHeader: 'api-key', turnThinking: 'omit' },
  deepseek: {
    baseURL: 'https://api.deepseek.com',
    env: 'DEEPSEEK_API_KEY',
    continues: { by: 'prefix', below: '/beta' },
    turnThinking: { as: 'reasoning_content', when: 'tool-calls', evenEmpty: true },
  },
  groq: {
    baseURL: 'https://api.groq.com/openai/v1',
    env: 'GROQ_API_KEY',
    inlineThinking: true,
    continues: { by: 'message' },
    turnThinking: 'omit',
  },
  huggingface: { baseURL: 'https://router.huggingface.co/v1', env: 'HF_TOKEN' },
  llamaCpp: { baseURL: 'http://localhost:8080/v1', key: 'optional', continues: { by: 'message' }, leaving: ENDED },
  lmStudio: { baseURL: 'http://localhost:1234/v1', key: 'optional', inlineThinking: true },
  mistral: {
    baseURL: 'https://api.mistral.ai/v1',
    env: 'MISTRAL_API_KEY',
    usage: 'told',
    turnThinking: { as: 'parts', when: 'always' },
  },
  ollama: {
    baseURL: 'http://localhost:11434/v1',
    key: 'optional',
    continues: { by: 'message' },
    turnThinking: { as: 'reasoning', when: 'tool-calls' },
    leaving: ENDED,
  },
  openrouter: {
    baseURL: 'https://openrouter.ai/api/v1',
    env: 'OPENROUTER_API_KEY',
    usage: 'told',
    currency: 'USD',
    continues: { by: 'message' },
    turnThinking: { as: 'reasoning', when: 'tool-calls' },
    leaving: 'by-upstream',
  },
  perplexity: {
    baseURL: 'https://api.perplexity.ai',
    env: 'PERPLEXITY_API_KEY',
    inlineThinking: true,
    usage: 'told',
  },
  sglang: {
    baseURL: 'http://localhost:30000/v1',
    key: 'optional',
    continues: { by: 'members', members: { continue_final_message: true } },
    leaving: ENDED,
  },
  vllm: {
    baseURL: 'http://localhost:8000/v1',
    env: 'VLLM_API_KEY',
    key: 'optional',
    continues: { by: 'members', members: { continue_final_message: true, add_generation_prompt: false } },
    leaving: ENDED,
  },
  xai: { baseURL: 'https://api.x.ai/v1', env: 'XAI_API_KEY', turnThinking: 'omit' },
  zai: {
    baseURL: 'https://api.z.ai/api/paas/v4',
    env: 'ZAI_API_KEY',
    turnThinking: { as: 'reasoning_content', when: 'tool-calls' },
  },
};
