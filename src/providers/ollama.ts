import * as z from 'zod/mini';
import type { ToolResult } from '../protocol/call.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { isMadeCallId } from './madeCallId.js';
import { ollamaDialect, type OllamaToolCall, type OllamaTurn } from './ollamaDialect.js';
import { type CallParts, type Calls, provider } from './provider.js';
import type { ProviderOptions } from './support.js';

/** Where Ollama is and how its streams are read. @public */
export interface OllamaOptions extends ProviderOptions {
  /** `https://ollama.com` for models in its cloud. @defaultValue `http://127.0.0.1:11434`; `OLLAMA_HOST`, which is no URL, is not read */
  readonly baseURL?: string | undefined;
  /** Whether asking again can help after a failure told in the stream. @defaultValue never, as in `ollamaDialect` */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** One message of a conversation. @public */
export interface OllamaMessage {
  /** `system`, `user`, `assistant` or `tool`. */
  readonly role: string;
  readonly content?: string | undefined;
  readonly thinking?: string | undefined;
  /** Base64. */
  readonly images?: readonly unknown[] | undefined;
  readonly tool_calls?: readonly OllamaToolCall[] | undefined;
  /** On a `tool` message: the function that it answers for. */
  readonly tool_name?: string | undefined;
  readonly [key: string]: unknown;
}

/** What both requests take, in the API's own names. @public */
export interface OllamaSettings {
  readonly model: string;
  /** Whether, or how long, a reasoning model thinks first. */
  readonly think?: boolean | string | undefined;
  /** `'json'`, or a JSON Schema. */
  readonly format?: string | Readonly<Record<string, unknown>> | undefined;
  /** `num_ctx`, `temperature`, `seed` … */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
  /** How long the model stays loaded, such as `'5m'`; 0 unloads it. */
  readonly keep_alive?: string | number | undefined;
  readonly [key: string]: unknown;
}

/** A chat; members beside these are sent as they are. @public */
export interface OllamaChatRequest extends OllamaSettings {
  /** Empty: the model is only loaded. */
  readonly messages: readonly OllamaMessage[];
  readonly tools?: readonly unknown[] | undefined;
}

/** A completion; members beside these are sent as they are. @public */
export interface OllamaGenerateRequest extends OllamaSettings {
  /** Absent or empty: the model is only loaded. */
  readonly prompt?: string | undefined;
  readonly suffix?: string | undefined;
  readonly system?: string | undefined;
  /** Base64. */
  readonly images?: readonly string[] | undefined;
}

/** What `ollama` makes. Ollama keeps no answers: nothing can be attached to, resumed or cancelled. @public */
export interface Ollama {
  /** `/api/chat`, streamed. */
  readonly chat: Calls<OllamaChatRequest, OllamaTurn>;
  /** `/api/generate`, streamed. */
  readonly generate: Calls<OllamaGenerateRequest, OllamaTurn>;
}

const Text = z.string('must be a string');

const settings = {
  model: Text.check(z.minLength(1, 'must not be empty')),
  think: z.optional(z.union([z.boolean(), z.string()], 'must be true, false or a level')),
  format: z.optional(z.union([z.string(), z.looseObject({})], 'must be a word or a JSON Schema')),
  options: z.optional(z.looseObject({}, 'must be an object')),
  keep_alive: z.optional(z.union([z.string(), z.number()], 'must be a duration')),
};

const chatRequest: StandardSchema<OllamaChatRequest> = z.looseObject(
  {
    ...settings,
    messages: z.array(
      z.looseObject(
        {
          role: Text.check(z.minLength(1, 'must not be empty')),
          content: z.optional(Text),
          thinking: z.optional(Text),
          images: z.optional(z.array(z.unknown(), 'must be a list')),
          tool_calls: z.optional(
            z.array(
              z.looseObject({ id: z.optional(Text), function: z.looseObject({ name: Text, arguments: z.unknown() }) }),
              'must be a list',
            ),
          ),
          tool_name: z.optional(Text),
        },
        'must be a message',
      ),
      'must be a list of messages',
    ),
    tools: z.optional(z.array(z.unknown(), 'must be a list')),
  },
  'must be an object',
);

const generateRequest: StandardSchema<OllamaGenerateRequest> = z.looseObject(
  {
    ...settings,
    prompt: z.optional(Text),
    suffix: z.optional(Text),
    system: z.optional(Text),
    images: z.optional(z.array(Text, 'must be a list of strings')),
  },
  'must be an object',
);

/** JSON is what it answers where it only loads or unloads a model. */
const ACCEPT: readonly string[] = ['application/x-ndjson', 'application/json'];

/**
 * Ollama's own API, on this machine, on another or at ollama.com. It needs no key; where there is one (`apiKey` or
 * `OLLAMA_API_KEY`, for ollama.com) it is sent as a bearer token.
 *
 * Leaving closes the socket, and the server stops working (`leaving`: `ended`). A lost connection is asked anew.
 *
 * @example
 * ```ts
 * const api = ollama();
 * const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
 * fromCall(api.chat({ model: 'qwen3', messages, think: false })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right
 * @public
 */
export function ollama(options: OllamaOptions = {}): Ollama {
  const { retryable } = options;
  const dialect = ollamaDialect({ retryable });
  const server = provider(
    {
      name: 'ollama',
      baseURL: 'http://127.0.0.1:11434',
      env: 'OLLAMA_API_KEY',
      key: 'optional',
      leaving: { stop: 'ended', disconnect: 'ended' },
    },
    options,
  );
  const chat: Ollama['chat'] = server.calls({
    name: 'chat',
    request: chatRequest,
    dialect,
    call: (request): CallParts => ({
      stream: server.post('/api/chat', { ...request, stream: true }, ACCEPT),
      tools: {
        by: 'ask',
        next: (turn, results) =>
          // `ollamaDialect` builds no other turns.
          chat({
            ...request,
            messages: [...request.messages, { ...(turn as OllamaTurn) }, ...results.map(toolMessage)],
          }),
      },
    }),
  });
  const generate: Ollama['generate'] = server.calls({
    name: 'generate',
    request: generateRequest,
    dialect,
    call: (request): CallParts => ({ stream: server.post('/api/generate', { ...request, stream: true }, ACCEPT) }),
  });
  return { chat, generate };
}

function toolMessage({ id, name, text }: ToolResult): OllamaMessage {
  return { role: 'tool', tool_name: name, ...(isMadeCallId(id) ? undefined : { tool_call_id: id }), content: text };
}
