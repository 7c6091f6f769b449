import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';

/** A part of a message: text, an image, a sound. Members beside these are sent as they are. @public */
export interface ChatContentPart {
  readonly type: string;
  readonly text?: string | undefined;
  readonly image_url?: { readonly url: string; readonly detail?: string | undefined } | undefined;
  readonly [key: string]: unknown;
}

/** A tool call that the model made, as it is told back to it. Members beside these are sent as they are. @public */
export interface ChatToolCall {
  readonly id: string;
  /** `function` or `custom`. */
  readonly type: string;
  readonly function?: { readonly name: string; readonly arguments: string } | undefined;
  /** A custom tool takes text. */
  readonly custom?: { readonly name: string; readonly input: string } | undefined;
  readonly [key: string]: unknown;
}

/** One message of a conversation. @public */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, `tool` … */
  readonly role: string;
  readonly content?: string | readonly ChatContentPart[] | null | undefined;
  readonly name?: string | undefined;
  readonly tool_calls?: readonly ChatToolCall[] | undefined;
  /** On a `tool` message: the call that it answers. */
  readonly tool_call_id?: string | undefined;
  readonly refusal?: string | null | undefined;
  /** What a reasoning model wants back unchanged. */
  readonly reasoning_details?: unknown;
  readonly reasoning_content?: unknown;
  readonly reasoning?: unknown;
  /** The deprecated form of a tool call. */
  readonly function_call?: { readonly name: string; readonly arguments: string } | undefined;
  /** A sound that the API keeps. */
  readonly audio?: { readonly id: string } | null | undefined;
}

/** A chat completion, in the API's own names; members beside these are sent as they are. @public */
export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly max_tokens?: number | null | undefined;
  /** How many answers to give; all but the first are marked `alternative`. */
  readonly n?: number | null | undefined;
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly stop?: string | readonly string[] | null | undefined;
  readonly tools?: readonly unknown[] | undefined;
  readonly tool_choice?: unknown;
  readonly response_format?: unknown;
  /** Usage is asked for unless this says otherwise. */
  readonly stream_options?: Readonly<Record<string, unknown>> | null | undefined;
  readonly [key: string]: unknown;
}

const Text = z.string('must be a string');
const Name = Text.check(z.minLength(1, 'must not be empty'));
const Amount = z.nullish(z.number('must be a number'));

const Message = z.looseObject(
  {
    role: Name,
    content: z.nullish(
      z.union(
        [Text, z.array(z.looseObject({ type: Name }, 'must be an object with a type'))],
        'must be a string or a list of parts',
      ),
    ),
    name: z.optional(Text),
    tool_calls: z.optional(
      z.array(
        z.looseObject(
          {
            id: Name,
            type: Text,
            function: z.optional(z.looseObject({ name: Text, arguments: Text }, 'must have name and arguments')),
            custom: z.optional(z.looseObject({ name: Text, input: Text }, 'must have name and input')),
          },
          'must be a tool call',
        ),
        'must be a list',
      ),
    ),
    tool_call_id: z.optional(Text),
  },
  'must be a message',
);

/** What every server of the family refuses is refused here; the rest is left to the server. */
export const chatRequest: StandardSchema<ChatRequest> = z.looseObject(
  {
    model: Name,
    messages: z.array(Message, 'must be a list of messages').check(z.minLength(1, 'must not be empty')),
    max_tokens: Amount,
    n: z.nullish(z.int('must be a whole number').check(z.gte(1, 'must be at least 1'))),
    temperature: Amount,
    top_p: Amount,
    stop: z.nullish(z.union([Text, z.array(Text)], 'must be a string or a list of strings')),
    tools: z.optional(z.array(z.unknown(), 'must be a list')),
    stream_options: z.nullish(z.record(z.string(), z.unknown(), 'must be an object')),
  },
  'must be an object',
);

/**
 * A request for a stream: the caller's own members, `stream`, and a wish for usage unless the caller decided, or the server tells
 * it unasked and refuses the wish.
 */
export function streamed(
  request: Readonly<Record<string, unknown>>,
  usage: 'ask' | 'told' = 'ask',
): Readonly<Record<string, unknown>> {
  const { stream_options: asked, ...rest } = request;
  if (usage === 'told') return { ...rest, stream: true, ...(asked !== undefined && { stream_options: asked }) };
  const stream_options = asked === null ? null : { include_usage: true, ...(asked as object | undefined) };
  return { ...rest, stream: true, stream_options };
}
