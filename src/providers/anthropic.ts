import { requireOneOf } from '../internal/require.js';
import type { CallRequest } from '../protocol/call.js';
import { anthropicContinue, takesPrefill } from './anthropicContinue.js';
import { anthropicDialect, type AnthropicDialectOptions } from './anthropicDialect.js';
import { anthropicNext } from './anthropicNext.js';
import {
  anthropicRequest,
  type AnthropicRequest,
  type AnthropicVersion,
  checkAnthropicVersion,
} from './anthropicRequest.js';
import type { AnthropicTurn } from './anthropicTurn.js';
import { type Calls, provider } from './provider.js';
import type { ProviderOptions } from './support.js';

/** Where the Messages API is, in which version, and how its streams are read. @public */
export interface AnthropicOptions extends ProviderOptions, Omit<AnthropicDialectOptions, 'name'> {
  /** @defaultValue `https://api.anthropic.com` */
  readonly baseURL?: string | undefined;
  /** The header that takes the key: `x-api-key: <key>`, or `authorization: Bearer <key>`. @defaultValue `'x-api-key'` */
  readonly auth?: 'x-api-key' | 'bearer' | undefined;
  /**
   * Sent as `anthropic-version`.
   * @defaultValue `'2023-06-01'`: every server of this API knows it, its streams are those of 2026-10-21, and it takes what that version refuses
   */
  readonly version?: AnthropicVersion | undefined;
  /** Features in beta, sent as `anthropic-beta`. @defaultValue none */
  readonly beta?: readonly string[] | undefined;
  /**
   * Whether the model goes on from the assistant's turn, for answers that were cut.
   * @defaultValue by the model's name: Claude up to 4.5 does, later ones and names that are not known do not
   */
  readonly prefill?: boolean | undefined;
}

/** What `anthropic` makes. @public */
export interface Anthropic {
  /** A message, streamed. */
  readonly messages: Calls<AnthropicRequest, AnthropicTurn>;
}

/**
 * Anthropic's Messages API, and servers that speak it. The key comes from `apiKey` or `ANTHROPIC_API_KEY`.
 *
 * Anthropic keeps no streams: after a break the request is sent again. Where a model takes it, and nothing in the request forbids it
 * (thinking, tools, structured outputs), `onUnresumable: 'continue'` goes on with the text so far; a text that ends in white
 * space is asked for again, since the API refuses it. Leaving closes the socket; what that does to the bill is not documented, so receipts say `unknown`
 * unless `leaving` says otherwise. Calls take the results of tools, and a turn that the provider paused (`pause_turn`) is sent back.
 *
 * @example
 * ```ts
 * const api = anthropic({ apiKey });
 * const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
 * fromCall(api.messages({ model: 'claude-sonnet-4-6', max_tokens: 1024, messages })).pipe(toTokens()).subscribe(log);
 * ```
 * @example Go on with the conversation, thinking and its signatures included
 * ```ts
 * const api = anthropic({ apiKey, version: '2026-10-21' });
 * const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
 * const asked = api.messages({ model: 'claude-sonnet-4-6', max_tokens: 4096, messages, thinking: { type: 'adaptive' } });
 * fromCall(asked).pipe(accumulate({ dialect: api.messages.dialect }), last()).subscribe((message) => {
 *   log([...messages, message.toRequest(), { role: 'user', content: 'And then?' }]);
 * });
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing; RangeError for a
 * limit below its range
 * @public
 */
export function anthropic(options: AnthropicOptions = {}): Anthropic {
  const { auth = 'x-api-key', version = '2023-06-01', beta = [], prefill, retryable, maxToolCallChars } = options;
  requireOneOf('auth', auth, ['x-api-key', 'bearer']);
  requireOneOf('version', version, ['2023-06-01', '2026-10-21']);
  const api = provider(
    {
      name: 'anthropic',
      baseURL: 'https://api.anthropic.com',
      env: 'ANTHROPIC_API_KEY',
      keyHeader: auth === 'bearer' ? undefined : auth,
      headers: {
        'anthropic-version': version,
        ...(beta.length === 0 ? undefined : { 'anthropic-beta': beta.join(',') }),
      },
    },
    options,
  );
  const ask = (body: AnthropicRequest): CallRequest => api.post('/v1/messages', { ...body, stream: true });
  const messages: Calls<AnthropicRequest, AnthropicTurn> = api.calls({
    name: 'messages',
    request: anthropicRequest,
    dialect: anthropicDialect({ retryable, maxToolCallChars }),
    call: (request) => {
      checkAnthropicVersion(request, version);
      return {
        stream: ask(request),
        resume: {
          by: 'ask',
          continueWith: (text) => {
            const rest = (prefill ?? takesPrefill(request.model)) ? anthropicContinue(request, text) : undefined;
            return rest && ask(rest);
          },
        },
        tools: {
          by: 'ask',
          // The dialect's own turn: who carries the plan out hands it back as it was built.
          next: (turn, results) => messages(anthropicNext(request, turn as AnthropicTurn, results)),
          isPaused: ({ rawReason }) => rawReason === 'pause_turn',
        },
      };
    },
  });
  return { messages };
}
