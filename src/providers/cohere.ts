import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { cohereDialect, type CohereDialectOptions } from './cohereDialect.js';
import type { CohereTurn } from './cohereTurn.js';
import { type Calls, provider } from './provider.js';
import type { ProviderOptions } from './support.js';

/** Who asks Cohere. @public */
export interface CohereOptions extends ProviderOptions, CohereDialectOptions {
  /** Without the version. @defaultValue `https://api.cohere.com` */
  readonly baseURL?: string | undefined;
}

/** One message of a conversation; members beside these are sent as they are. @public */
export interface CohereMessage {
  /** `system`, `user`, `assistant` or `tool`. */
  readonly role: string;
  readonly content?: string | readonly object[] | null | undefined;
  readonly tool_calls?: readonly object[] | undefined;
  readonly tool_plan?: string | undefined;
  readonly tool_call_id?: string | undefined;
  readonly citations?: readonly unknown[] | undefined;
}

/** A chat, in the API's own names; members beside these are sent as they are. @public */
export interface CohereRequest {
  readonly model: string;
  readonly messages: readonly CohereMessage[];
  readonly tools?: readonly unknown[] | undefined;
  readonly documents?: readonly unknown[] | undefined;
  readonly max_tokens?: number | undefined;
  readonly [key: string]: unknown;
}

/** What `cohere` makes. @public */
export interface Cohere {
  /** A chat, version 2 of the API, streamed. */
  readonly chat: Calls<CohereRequest, CohereTurn>;
}

const Name = z.string('must be a string').check(z.minLength(1, 'must not be empty'));
const request: StandardSchema<CohereRequest> = z.looseObject(
  {
    model: Name,
    messages: z
      .array(z.looseObject({ role: Name }, 'must be a message'), 'must be a list of messages')
      .check(z.minLength(1, 'must not be empty')),
    tools: z.optional(z.array(z.unknown(), 'must be a list')),
    documents: z.optional(z.array(z.unknown(), 'must be a list')),
    max_tokens: z.optional(z.number('must be a number')),
  },
  'must be an object',
);

/**
 * Cohere's chat, version 2. The key comes from `apiKey` or `CO_API_KEY`, which Cohere's own clients read.
 *
 * Leaving closes the socket; whether that ends the bill is not documented (`leaving`: `unknown`). An answer cannot be gone on with: a lost
 * one is asked for again.
 *
 * @example
 * ```ts
 * const api = cohere({ apiKey });
 * fromCall(api.chat({ model: 'command-a-03-2025', messages })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing; RangeError
 * for a limit below 0
 * @public
 */
export function cohere(options: CohereOptions = {}): Cohere {
  const api = provider({ name: 'cohere', baseURL: 'https://api.cohere.com', env: 'CO_API_KEY' }, options);
  const chat: Calls<CohereRequest, CohereTurn> = api.calls({
    name: 'chat',
    request,
    dialect: cohereDialect(options),
    call: (asked) => ({
      stream: api.post('/v2/chat', { ...asked, stream: true }),
      tools: {
        by: 'ask',
        next: (turn, results) => {
          const said = turn as CohereTurn; // built by the dialect above
          const answers = results.map(({ id, text }) => ({ role: 'tool', tool_call_id: id, content: text }));
          return chat({ ...asked, messages: [...asked.messages, said, ...answers] });
        },
      },
    }),
  });
  return { chat };
}
