import * as z from 'zod/mini';
import { connectionOf, withConnection } from '../internal/connection.js';
import type { Call, CallRequest } from '../protocol/call.js';
import type { Dialect } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { chatCalls } from './chatCalls.js';
import { chatDialect } from './chatDialect.js';
import { type ChatRequest, streamed } from './chatRequest.js';
import type { ChatTurn } from './chatTurn.js';
import { type Calls, provider } from './provider.js';
import { askAgain, type ProviderOptions } from './support.js';

/** Where PolarGrid is and how its streams are read. @public */
export interface PolargridOptions extends ProviderOptions {
  /**
   * The edge that answers, such as `yto-01`, `nyc-01` or `sfo-01`; the list changes often, and so do the models of an edge.
   * Not together with `baseURL`.
   * @defaultValue `'yto-01'` (chosen: the first edge of the documentation)
   */
  readonly region?: string | undefined;
  /** The API, its version included. @defaultValue `https://api.{region}.edge.polargrid.ai/v1` */
  readonly baseURL?: string | undefined;
  /** Reads `<think>…</think>` in the text as thinking, which is how PolarGrid sends it. @defaultValue `true` */
  readonly inlineThinking?: boolean | undefined;
  /** Whether asking again can help after a failure told in the stream. @defaultValue as in `chatDialect` */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** What PolarGrid takes in snake_case and, as its own SDK does, in camelCase; sent is snake_case. @public */
export interface PolargridSampling {
  /** @defaultValue the server's: **150**, at most 4,096. An answer that ends early with `length` has met it. */
  readonly max_tokens?: number | null | undefined;
  readonly maxTokens?: number | null | undefined;
  /** @defaultValue the server's, 0.7 */
  readonly temperature?: number | null | undefined;
  /** @defaultValue the server's, 0.9 */
  readonly top_p?: number | null | undefined;
  readonly topP?: number | null | undefined;
  readonly top_k?: number | null | undefined;
  readonly topK?: number | null | undefined;
  readonly frequency_penalty?: number | null | undefined;
  readonly frequencyPenalty?: number | null | undefined;
  readonly presence_penalty?: number | null | undefined;
  readonly presencePenalty?: number | null | undefined;
}

/** A chat completion; members beside these are sent as they are. @public */
export interface PolargridChatRequest extends ChatRequest, PolargridSampling {
  /** Lets a reasoning model think aloud. @defaultValue the server's, off */
  readonly enable_thinking?: boolean | undefined;
  readonly enableThinking?: boolean | undefined;
}

/** A text completion; members beside these are sent as they are. @public */
export interface PolargridCompletionRequest extends PolargridSampling {
  readonly model: string;
  readonly prompt: string | readonly string[];
  readonly [key: string]: unknown;
}

/** What `polargrid` makes. PolarGrid has no work ids: nothing can be attached to, resumed or cancelled. @public */
export interface Polargrid {
  /** A chat completion, streamed. */
  readonly chat: Calls<PolargridChatRequest, ChatTurn>;
  /** A text completion, streamed. */
  readonly completion: Calls<PolargridCompletionRequest>;
}

const SNAKE_CASE: ReadonlyMap<string, string> = new Map([
  ['maxTokens', 'max_tokens'],
  ['topP', 'top_p'],
  ['topK', 'top_k'],
  ['frequencyPenalty', 'frequency_penalty'],
  ['presencePenalty', 'presence_penalty'],
  ['streamOptions', 'stream_options'],
  ['responseFormat', 'response_format'],
  ['toolChoice', 'tool_choice'],
  ['enableThinking', 'enable_thinking'],
]);

const CompletionRequest: StandardSchema<PolargridCompletionRequest> = z.looseObject(
  {
    model: z.string('must be a string').check(z.minLength(1, 'must not be empty')),
    prompt: z.union([z.string(), z.array(z.string())], 'must be a string or a list of strings'),
    max_tokens: z.nullish(z.number('must be a number')),
    temperature: z.nullish(z.number('must be a number')),
  },
  'must be an object',
);

/**
 * PolarGrid's edges: chat and text completions. The key comes from `apiKey` or `POLARGRID_API_KEY`.
 *
 * Give `max_tokens`: without it the server stops after 150 tokens, with the finish reason `length`. A model that one edge has
 * may be a 404 on another. Usage is asked for unless `stream_options` says otherwise. Leaving closes the socket; whether that
 * ends the bill is not documented (`leaving`: `unknown`).
 *
 * @example
 * ```ts
 * const api = polargrid({ region: 'nyc-01' });
 * const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
 * fromCall(api.chat({ model: 'qwen-2.5-7b', messages, max_tokens: 1000 })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing
 * @public
 */
export function polargrid(options: PolargridOptions = {}): Polargrid {
  const { inlineThinking = true, retryable } = options;
  const api = provider({ name: 'polargrid', baseURL: edgeURL(options), env: 'POLARGRID_API_KEY' }, options);
  const shared = { name: 'polargrid', inlineThinking, retryable };
  const textDialectOf = (choices: number): Dialect => withoutTurn(chatDialect({ ...shared, choices }));
  const textDialect = textDialectOf(1);
  const askText = (request: PolargridCompletionRequest): CallRequest => api.post('/completions', streamed(request));
  return {
    chat: inSnakeCase(chatCalls(api, { ...shared, continues: { by: 'message' } })),
    completion: inSnakeCase(
      api.calls({
        name: 'completion',
        request: CompletionRequest,
        dialect: textDialect,
        call: (request) => {
          const { prompt, n } = request;
          const choices = typeof n === 'number' ? n : 1;
          const canContinue = typeof prompt === 'string' && choices === 1;
          return {
            dialect: choices === 1 ? textDialect : textDialectOf(choices),
            stream: askText(request),
            resume: askAgain(askText, (text) => (canContinue ? { ...request, prompt: prompt + text } : undefined)),
          };
        },
      }),
    ),
  };
}

/** A text completion is no conversation. */
function withoutTurn({ turn: _, ...dialect }: Dialect): Dialect {
  return dialect;
}

function edgeURL({ baseURL, region }: PolargridOptions): string {
  if (baseURL !== undefined && region !== undefined) {
    throw new TypeError('Give polargrid either region or baseURL, not both');
  }
  const edge = region ?? 'yto-01';
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/i.test(edge)) {
    throw new TypeError(`region must be the name of an edge, such as 'nyc-01', got ${JSON.stringify(region)}`);
  }
  return `https://api.${edge}.edge.polargrid.ai/v1`;
}

/** Lets a request be written in the SDK's names. */
function inSnakeCase<Request, Turn>(calls: Calls<Request, Turn>): Calls<Request, Turn> {
  const { dialect } = calls;
  const made = Object.assign((request: Request): Call => calls(toSnakeCase(request) as Request), { dialect }); // checked there
  const connection = connectionOf(calls);
  return connection === undefined ? made : withConnection(made, connection);
}

/** The SDK's names become the wire's. Values stay as they are: its SDK sends 0.7 for a temperature of 0, this does not. */
function toSnakeCase(request: unknown): unknown {
  if (typeof request !== 'object' || request === null) return request;
  const sent: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(request)) {
    if (value === undefined) continue;
    const name = SNAKE_CASE.get(key) ?? key;
    if (Object.hasOwn(sent, name)) throw new TypeError(`The request of polargrid has ${name} twice, in both spellings`);
    sent[name] = value;
  }
  return sent;
}
