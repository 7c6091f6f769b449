import * as z from 'zod/mini';
import type { CallRequest, LeavingPolicy } from '../protocol/call.js';
import type { Dialect } from '../protocol/dialect.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { chatDialect, type ChatDialectOptions } from './chatDialect.js';
import { chatRequest, type ChatRequest, streamed } from './chatRequest.js';
import { chatToolPlan } from './chatTools.js';
import type { ChatTurn } from './chatTurn.js';
import { continueChat } from './continueChat.js';
import type { Calls, Provider } from './provider.js';

/**
 * How a server is made to go on with an answer, whose text so far is sent back as the last message. `'message'`: it needs no more.
 * `'prefix'`: the message says so (`prefix: true`), for DeepSeek at a path below its base. `'members'`: the request says so.
 * @public
 */
export type ChatContinuation =
  | { readonly by: 'message' }
  | { readonly by: 'prefix'; readonly below?: string | undefined }
  | { readonly by: 'members'; readonly members: Readonly<Record<string, unknown>> };

/** What the calls of one API of the family have in common. */
export interface ChatCallsOptions extends ChatDialectOptions {
  /** `'told'`: the server tells usage unasked. @defaultValue `'ask'` */
  readonly usage?: 'ask' | 'told' | undefined;
  readonly continues?: ChatContinuation | undefined;
  /** What leaving means for one request; the provider's where it says nothing. */
  readonly leaving?: ((request: ChatRequest) => LeavingPolicy | undefined) | undefined;
}

/** A text completion, in the API's own names; members beside these are sent as they are. @public */
export interface CompletionRequest {
  readonly model: string;
  /** Text, tokens, or a list of either, which are as many answers: all but the first are marked `alternative`. */
  readonly prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  readonly max_tokens?: number | null | undefined;
  readonly n?: number | null | undefined;
  readonly [key: string]: unknown;
}

const completionRequest: StandardSchema<CompletionRequest> = z.looseObject(
  {
    model: z.string('must be a string').check(z.minLength(1, 'must not be empty')),
    prompt: z.union(
      [z.string(), z.array(z.string()), z.array(z.number()), z.array(z.array(z.number()))],
      'must be text, tokens, or a list of either',
    ),
    max_tokens: z.nullish(z.number('must be a number')),
    n: z.nullish(z.int('must be a whole number').check(z.gte(1, 'must be at least 1'))),
    stream_options: z.nullish(z.record(z.string(), z.unknown(), 'must be an object')),
  },
  'must be an object',
);

/** Chat completions of an API of the family. */
export function chatCalls(api: Provider, options: ChatCallsOptions = {}): Calls<ChatRequest, ChatTurn> {
  const { usage, continues, leaving } = options;
  const dialectOf = (choices: number): Dialect<ChatTurn> => chatDialect({ ...options, choices });
  const dialect = dialectOf(1);
  const post = (request: ChatRequest, below = ''): CallRequest =>
    api.post(`${below}/chat/completions`, streamed(request, usage));
  const calls: Calls<ChatRequest, ChatTurn> = api.calls({
    name: 'chat',
    request: chatRequest,
    dialect,
    call: (request) => {
      const n = request.n ?? 1;
      const policy = leaving?.(request);
      return {
        stream: post(request),
        // With fewer answers than were asked for a stream is not whole.
        ...(n > 1 && { dialect: dialectOf(n) }),
        ...(policy && { leaving: policy }),
        resume: {
          by: 'ask',
          ...(continues && { continueWith: (text) => goOn(request, text, continues, post) }),
        },
        tools: chatToolPlan(calls, request),
      };
    },
  });
  return calls;
}

/** The deprecated text completions: no conversation, and so no turn. */
export function completionCalls(api: Provider, options: ChatCallsOptions = {}): Calls<CompletionRequest> {
  const dialectOf = (choices: number): Dialect => {
    const { turn: _, ...dialect } = chatDialect({ ...options, choices });
    return dialect;
  };
  const dialect = dialectOf(1);
  const post = (request: CompletionRequest): CallRequest => api.post('/completions', streamed(request, options.usage));
  return api.calls<CompletionRequest, unknown>({
    name: 'completion',
    request: completionRequest,
    dialect,
    call: (request) => {
      const { prompt, n } = request;
      const answers = promptsOf(prompt) * (n ?? 1);
      // With `echo` the answer begins with the prompt, and what came would come again.
      const canContinue = typeof prompt === 'string' && answers === 1 && request['echo'] !== true;
      return {
        stream: post(request),
        ...(answers > 1 && { dialect: dialectOf(answers) }),
        resume: {
          by: 'ask',
          continueWith: (text) => (canContinue ? post({ ...request, prompt: prompt + text }) : undefined),
        },
      };
    },
  });
}

function promptsOf(prompt: CompletionRequest['prompt']): number {
  return typeof prompt === 'string' || typeof prompt[0] === 'number' ? 1 : Math.max(1, prompt.length);
}

function goOn(
  request: ChatRequest,
  text: string,
  continues: ChatContinuation,
  post: (request: ChatRequest, below?: string) => CallRequest,
): CallRequest | undefined {
  const rest = continueChat(request, text);
  if (rest === undefined) return undefined;
  switch (continues.by) {
    case 'message':
      return post(rest);
    case 'members':
      return post({ ...rest, ...continues.members });
    case 'prefix': {
      const messages = rest.messages.map((message, at) =>
        at === rest.messages.length - 1 ? { ...message, prefix: true } : message,
      );
      return post({ ...rest, messages }, continues.below);
    }
  }
}
