import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';
import type { ResponsesItem } from './responsesTurn.js';

/** A request of the Responses API, in the API's own names; members beside these are sent as they are. @public */
export interface ResponsesRequest {
  /** May be absent where `prompt` names it. */
  readonly model?: string | undefined;
  /** Text is a message of the user's. May be absent where a prompt or an earlier response says what is asked. */
  readonly input?: string | readonly ResponsesItem[] | undefined;
  readonly instructions?: string | null | undefined;
  readonly tools?: readonly unknown[] | undefined;
  readonly tool_choice?: unknown;
  /** The response that this one goes on from. */
  readonly previous_response_id?: string | null | undefined;
  /** The conversation to which this one adds, by id. */
  readonly conversation?: string | Readonly<Record<string, unknown>> | null | undefined;
  /** The response goes on without its reader, and its stream can be opened again. */
  readonly background?: boolean | null | undefined;
  readonly store?: boolean | null | undefined;
  /** What to tell besides, such as `reasoning.encrypted_content`. */
  readonly include?: readonly string[] | null | undefined;
  readonly max_output_tokens?: number | null | undefined;
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly reasoning?: Readonly<Record<string, unknown>> | null | undefined;
  readonly text?: Readonly<Record<string, unknown>> | null | undefined;
  /** A stored prompt, by id. */
  readonly prompt?: Readonly<Record<string, unknown>> | null | undefined;
  readonly [key: string]: unknown;
}

const Text = z.nullish(z.string('must be a string'));
const Flag = z.nullish(z.boolean('must be true or false'));
const Amount = z.nullish(z.number('must be a number'));
const Fields = z.nullish(z.record(z.string(), z.unknown(), 'must be an object'));
const Item = z.looseObject({ type: z.optional(z.string('must be a string')) }, 'must be an item');

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** What every server refuses is refused here; the rest is left to the server. */
export const responsesRequest: StandardSchema<ResponsesRequest> = z
  .looseObject(
    {
      model: z.optional(z.string('must be a string').check(z.minLength(1, 'must not be empty'))),
      input: z.optional(
        z.union([z.string(), z.array(Item, 'must be a list of items')], 'must be a string or a list of items'),
      ),
      instructions: Text,
      tools: z.optional(z.array(z.unknown(), 'must be a list')),
      previous_response_id: Text,
      conversation: z.nullish(z.union([z.string(), z.record(z.string(), z.unknown())], 'must be an id or an object')),
      background: Flag,
      store: Flag,
      include: z.nullish(z.array(z.string('must be a string'), 'must be a list')),
      max_output_tokens: Amount,
      temperature: Amount,
      top_p: Amount,
      reasoning: Fields,
      text: Fields,
      prompt: Fields,
    },
    'must be an object',
  )
  .check(
    z.refine(({ model, prompt }) => isPresent(model) || isPresent(prompt), {
      path: ['model'],
      message: 'must be a string, unless there is a prompt',
    }),
    z.refine(
      ({ input, prompt, previous_response_id: previous, conversation }) =>
        isPresent(input) || isPresent(prompt) || isPresent(previous) || isPresent(conversation),
      {
        path: ['input'],
        message: 'must be a string or a list of items, unless there is a prompt or an earlier response',
      },
    ),
  );
