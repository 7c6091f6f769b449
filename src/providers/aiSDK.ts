import * as z from 'zod/mini';
import type { CallRequest, ResumePlan } from '../protocol/call.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { aiSDKDialect } from './aiSDKDialect.js';
import type { AISDKTurn } from './aiSDKTurn.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import { pathSegment } from './pathSegment.js';
import { type CallParts, type Calls, provider } from './provider.js';
import { absoluteURL, type ProviderOptions } from './support.js';

/** Where a chat's server is. @public */
export interface AISDKOptions extends Omit<ProviderOptions, 'baseURL'> {
  /** The URL that a chat is posted to, such as `https://example.com/api/chat` or, in a page, `/api/chat`. */
  readonly api: string;
  /**
   * What a lost connection leads to. `'ask'`: the chat is posted again. `'replay'`, `'continue'`: the server keeps its streams, and
   * `{api}/{chatId}/stream` shows all of it once more, or what comes from now on. @defaultValue `'ask'`
   */
  readonly resume?: 'ask' | 'replay' | 'continue' | undefined;
  /** Whether asking again can help after a failure told in the stream. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** A chat, as the SDK's own transport posts it; members beside these are sent as they are. @public */
export interface AISDKRequest {
  /** The chat's id. */
  readonly id: string;
  /** `UIMessage`s. */
  readonly messages: readonly {
    readonly role: string;
    readonly parts: readonly object[];
    readonly [key: string]: unknown;
  }[];
  /** @defaultValue `'submit-message'` */
  readonly trigger?: 'submit-message' | 'regenerate-message' | undefined;
  readonly messageId?: string | undefined;
  readonly [key: string]: unknown;
}

/** What `aiSDK` makes. @public */
export interface AISDK {
  /** Posts a chat and reads the answer. */
  readonly chat: Calls<AISDKRequest, AISDKTurn>;
  /** Reads the answer that is being written in a chat, where the server keeps its streams. Without one it is interrupted at once. */
  readonly attach: Calls<string, AISDKTurn>;
}

const request: StandardSchema<AISDKRequest> = z.looseObject(
  {
    id: z.string('must be a string').check(z.minLength(1, 'must not be empty')),
    messages: z.array(
      z.looseObject({ role: z.string(), parts: z.array(z.looseObject({})) }, 'must be a message with parts'),
      'must be a list of messages',
    ),
    trigger: z.optional(z.enum(['submit-message', 'regenerate-message'])),
    messageId: z.optional(z.string()),
  },
  'must be an object',
);
const chatId: StandardSchema<string> = z.string();

/**
 * A server that speaks the Vercel AI SDK's UI message stream: a chat of one's own application, read from anywhere.
 *
 * Leaving closes the socket; whether the server goes on is its own affair (`leaving`: `unknown`).
 *
 * @example
 * ```ts
 * const api = aiSDK({ api: 'https://example.com/api/chat' });
 * const question = { id: 'm1', role: 'user', parts: [{ type: 'text', text: 'Why do rivers meander?' }] };
 * fromCall(api.chat({ id: 'chat-1', messages: [question] })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right
 * @public
 */
export function aiSDK(options: AISDKOptions): AISDK {
  const { api: url, resume = 'ask', retryable } = options;
  const server = provider({ name: 'aiSDK', baseURL: url, key: 'optional' }, options);
  const dialect = aiSDKDialect({ retryable, reattach: resume === 'continue' ? 'continue' : 'replay' });
  const stream = (id: string): CallRequest => server.get(`/${pathSegment(id, 'the chat id')}/stream`);
  const reattach: ResumePlan = { by: 'reattach', reopen: stream };
  return {
    chat: server.calls({
      name: 'chat',
      request,
      dialect,
      call: (asked): CallParts => ({
        stream: { ...server.post('/', { trigger: 'submit-message', ...asked }), url: withoutSlash(url) },
        ...(resume !== 'ask' && { workId: asked.id, resume: reattach }),
      }),
    }),
    attach: server.calls({
      name: 'attach',
      request: chatId,
      dialect,
      call: (id): CallParts => {
        stream(id); // throws where the id is wrong
        return { workId: id, stream, resume: reattach };
      },
    }),
  };
}

/** A route without a slash at its end is another one with it. */
function withoutSlash(url: string): string {
  return absoluteURL(url).replace(/#.*$/, '');
}
