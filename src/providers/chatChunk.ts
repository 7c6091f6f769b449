import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';

type Loose = Readonly<Record<string, unknown>>;

/** A piece of a tool call; whole calls in one piece occur. */
export interface ToolCallPart extends Loose {
  readonly index?: number | null | undefined;
  readonly id?: string | null | undefined;
  readonly function?: FunctionPart | null | undefined;
  readonly custom?: CustomPart | null | undefined;
}

interface FunctionPart extends Loose {
  readonly name?: string | null | undefined;
  readonly arguments?: unknown;
}

interface CustomPart extends Loose {
  readonly name?: string | null | undefined;
  readonly input?: string | null | undefined;
}

/** What a choice grew by; a whole `message` has the same keys. */
export interface ChatDelta extends Loose {
  /** Mistral sends a list of parts. */
  readonly content?: string | readonly unknown[] | null | undefined;
  readonly refusal?: string | null | undefined;
  readonly tool_calls?: readonly ToolCallPart[] | null | undefined;
  readonly toolCalls?: readonly ToolCallPart[] | null | undefined;
  readonly function_call?: FunctionPart | null | undefined;
  readonly images?: readonly unknown[] | null | undefined;
}

/** One choice in one chunk. */
export interface ChatChoicePart extends Loose {
  readonly index?: number | null | undefined;
  readonly delta?: ChatDelta | null | undefined;
  readonly message?: ChatDelta | null | undefined;
  /** Legacy text completions. */
  readonly text?: string | null | undefined;
  readonly finish_reason?: string | null | undefined;
  readonly finishReason?: string | null | undefined;
}

/** One frame of the chat family. */
export interface ChatChunk extends Loose {
  readonly choices?: readonly (ChatChoicePart | null | undefined)[] | null | undefined;
}

const FunctionSchema = z.looseObject({ name: z.nullish(z.string()), arguments: z.nullish(z.unknown()) });

const ToolCallSchema = z.looseObject({
  index: z.nullish(z.number()),
  id: z.nullish(z.string()),
  function: z.nullish(FunctionSchema),
  custom: z.nullish(z.looseObject({ name: z.nullish(z.string()), input: z.nullish(z.string()) })),
});

const DeltaSchema = z.looseObject({
  content: z.nullish(z.union([z.string(), z.array(z.unknown())])),
  refusal: z.nullish(z.string()),
  tool_calls: z.nullish(z.array(ToolCallSchema)),
  toolCalls: z.nullish(z.array(ToolCallSchema)),
  function_call: z.nullish(FunctionSchema),
  images: z.nullish(z.array(z.unknown())),
});

const ChoiceSchema = z.looseObject({
  index: z.nullish(z.number()),
  delta: z.nullish(DeltaSchema),
  message: z.nullish(DeltaSchema),
  text: z.nullish(z.string()),
  finish_reason: z.nullish(z.string()),
  finishReason: z.nullish(z.string()),
});

/** Loose: only what would be read wrongly is refused; unknown keys pass, and so do nulls and an empty `choices`. */
export const chatChunk: StandardSchema<ChatChunk> = z.looseObject({
  choices: z.nullish(z.array(z.nullish(ChoiceSchema))),
});
