import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';
import type { AnthropicBlock } from './anthropicTurn.js';

/** One message of a conversation. @public */
export interface AnthropicMessage {
  /** `user` or `assistant`. */
  readonly role: string;
  readonly content: string | readonly AnthropicBlock[];
}

/** A request for a message, in the API's own names; members beside these are sent as they are. @public */
export interface AnthropicRequest {
  readonly model: string;
  /** How many tokens the answer may have; the API has no default. */
  readonly max_tokens: number;
  readonly messages: readonly AnthropicMessage[];
  readonly system?: string | readonly AnthropicBlock[] | null | undefined;
  readonly thinking?: Readonly<Record<string, unknown>> | null | undefined;
  readonly tools?: readonly unknown[] | null | undefined;
  readonly stop_sequences?: readonly string[] | null | undefined;
  /** Version 2023-06-01 only, as `top_p` and `top_k`. */
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly top_k?: number | null | undefined;
  /** The container in which code is run, from the turn before. */
  readonly container?: unknown;
  readonly [key: string]: unknown;
}

const Text = z.string('must be a string');
const Name = Text.check(z.minLength(1, 'must not be empty'));
const Amount = z.nullish(z.number('must be a number'));
const Content = z.union(
  [Text, z.array(z.looseObject({ type: Name }, 'must be an object with a type'))],
  'must be a string or a list of blocks, each with a type',
);

/** What every version of the API refuses is refused here; the rest is left to the server. */
export const anthropicRequest: StandardSchema<AnthropicRequest> = z.looseObject(
  {
    model: Name,
    // 0 fills the prompt cache and answers nothing.
    max_tokens: z.int('must be a whole number: the API has no default').check(z.gte(0, 'must be at least 0')),
    messages: z
      .array(z.looseObject({ role: Name, content: Content }, 'must be a message'), 'must be a list of messages')
      .check(z.minLength(1, 'must not be empty')),
    system: z.nullish(Content),
    thinking: z.nullish(z.record(z.string(), z.unknown(), 'must be an object')),
    tools: z.nullish(z.array(z.unknown(), 'must be a list')),
    stop_sequences: z.nullish(z.array(Text, 'must be a list of strings')),
    temperature: Amount,
    top_p: Amount,
    top_k: Amount,
  },
  'must be an object',
);

/** A version of the API, sent as `anthropic-version`. @public */
export type AnthropicVersion = '2023-06-01' | '2026-10-21';

/**
 * Refuses what a version of the API answers with status 400.
 * @throws TypeError that names what it is and the version that takes it; values are not quoted
 */
export function checkAnthropicVersion(request: AnthropicRequest, version: AnthropicVersion): void {
  if (version === '2023-06-01') return;
  const refuse = (what: string): never => {
    throw new TypeError(
      `The request of anthropic.messages has ${what}, which version ${version} of the API refuses; leave it out, or give anthropic({ version: '2023-06-01' }), which takes it`,
    );
  };
  for (const name of ['temperature', 'top_p', 'top_k'])
    if (name in request && request[name] !== undefined) refuse(name);
  for (const [index, { role, content }] of request.messages.entries()) {
    if (typeof content === 'string') continue;
    for (const { type, citations } of content) {
      const where = `messages[${String(index)}]`;
      if (role === 'assistant' && type === 'document') refuse(`a document block in the assistant's ${where}`);
      const isCited = Array.isArray(citations) && citations.length > 0;
      if (role === 'user' && type === 'text' && isCited) refuse(`citations on a text block of the user's ${where}`);
    }
  }
}
