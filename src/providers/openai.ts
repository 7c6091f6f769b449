import type { ErrorReport } from '../protocol/errorBody.js';
import { chatCalls, completionCalls, type CompletionRequest } from './chatCalls.js';
import type { ChatRequest } from './chatRequest.js';
import type { ChatTurn } from './chatTurn.js';
import { type Calls, provider } from './provider.js';
import { responsesCalls, type ResponsesCalls } from './responsesCalls.js';
import type { ProviderOptions } from './support.js';

/** Who asks OpenAI. @public */
export interface OpenAIOptions extends ProviderOptions {
  /** The API, its version included. @defaultValue `https://api.openai.com/v1` */
  readonly baseURL?: string | undefined;
  /** Sent as `OpenAI-Organization`. @defaultValue the key's own */
  readonly organization?: string | undefined;
  /** Sent as `OpenAI-Project`. @defaultValue the key's own */
  readonly project?: string | undefined;
  /** Whether asking again can help after a failure told in the stream. @defaultValue as in `chatDialect` */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /** As in `chatDialect`. @defaultValue 67,108,864 */
  readonly maxToolCallChars?: number | undefined;
}

/** What `openai` makes; see {@link ResponsesCalls} for `responses` and `attachResponse`. @public */
export interface OpenAI extends ResponsesCalls {
  /** A chat completion, streamed. */
  readonly chat: Calls<ChatRequest, ChatTurn>;
  /** A text completion of the deprecated kind, streamed. */
  readonly completion: Calls<CompletionRequest>;
}

/**
 * OpenAI's API. The key comes from `apiKey` or `OPENAI_API_KEY`. Usage is asked for unless `stream_options` says otherwise. Closing the
 * socket ends the generation, but not that of a background response, which is cancelled when it is stopped. A chat completion
 * cannot be gone on with: after a message of the assistant OpenAI begins a new one.
 *
 * @example
 * ```ts
 * const api = openai({ project: 'proj_rivers' });
 * fromCall(api.chat({ model: 'gpt-5-mini', messages })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing; RangeError
 * for a limit below its range
 * @public
 */
export function openai(options: OpenAIOptions = {}): OpenAI {
  const { organization, project, retryable, maxToolCallChars } = options;
  const api = provider(
    {
      name: 'openai',
      baseURL: 'https://api.openai.com/v1',
      env: 'OPENAI_API_KEY',
      headers: {
        ...(organization !== undefined && { 'OpenAI-Organization': organization }),
        ...(project !== undefined && { 'OpenAI-Project': project }),
      },
      leaving: { stop: 'ended', disconnect: 'ended' },
    },
    options,
  );
  const shared = { name: 'openai', retryable, maxToolCallChars } as const;
  // Its answers hold no thinking, and a field that it does not know is refused.
  return {
    chat: chatCalls(api, { ...shared, turnThinking: 'omit' }),
    completion: completionCalls(api, shared),
    ...responsesCalls(api, { ...shared, leaving: options.leaving }),
  };
}
