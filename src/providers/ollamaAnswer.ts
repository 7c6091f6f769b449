import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';

type Loose = Readonly<Record<string, unknown>>;

/** A tool call: whole, its arguments an object. */
export interface OllamaAnswerCall extends Loose {
  readonly id?: string | null | undefined;
  readonly function?: OllamaAnswerFunction | null | undefined;
}

interface OllamaAnswerFunction extends Loose {
  readonly name?: string | null | undefined;
  readonly arguments?: unknown;
}

/** What the message of `/api/chat` grew by. */
export interface OllamaAnswerMessage extends Loose {
  readonly content?: string | null | undefined;
  readonly thinking?: string | null | undefined;
  readonly tool_calls?: readonly (OllamaAnswerCall | null | undefined)[] | null | undefined;
  readonly images?: readonly unknown[] | null | undefined;
}

/** One line of `/api/chat` or `/api/generate`. */
export interface OllamaAnswer extends Loose {
  readonly created_at?: string | null | undefined;
  readonly message?: OllamaAnswerMessage | null | undefined;
  readonly response?: string | null | undefined;
  readonly thinking?: string | null | undefined;
  readonly done?: boolean | null | undefined;
  readonly done_reason?: string | null | undefined;
}

const Text = z.nullish(z.string());

/** Loose: only what would be read wrongly is refused; unknown keys and nulls pass. */
export const ollamaAnswer: StandardSchema<OllamaAnswer> = z.looseObject({
  created_at: Text,
  message: z.nullish(
    z.looseObject({
      content: Text,
      thinking: Text,
      tool_calls: z.nullish(
        z.array(z.nullish(z.looseObject({ id: Text, function: z.nullish(z.looseObject({ name: Text })) }))),
      ),
      images: z.nullish(z.array(z.unknown())),
    }),
  ),
  response: Text,
  thinking: Text,
  done: z.nullish(z.boolean()),
  done_reason: Text,
});
