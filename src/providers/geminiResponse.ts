import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';

type Loose = Readonly<Record<string, unknown>>;

/** One argument of a streamed call, or a piece of it (Vertex AI). */
export interface PartialArgument extends Loose {
  readonly jsonPath: string;
  readonly stringValue?: string | null | undefined;
  readonly numberValue?: number | null | undefined;
  readonly boolValue?: boolean | null | undefined;
  readonly willContinue?: boolean | null | undefined;
}

/** A call, or on Vertex AI a piece of one. */
export interface FunctionCallPart extends Loose {
  readonly id?: string | null | undefined;
  readonly name?: string | null | undefined;
  readonly args?: unknown;
  readonly partialArgs?: readonly PartialArgument[] | null | undefined;
  readonly willContinue?: boolean | null | undefined;
}

/** One part of a candidate's content. */
export interface ResponsePart extends Loose {
  readonly text?: string | null | undefined;
  readonly thought?: boolean | null | undefined;
  readonly functionCall?: FunctionCallPart | null | undefined;
  readonly inlineData?: Loose | null | undefined;
  readonly fileData?: Loose | null | undefined;
}

/** What one candidate grew by. */
export interface ResponseCandidate extends Loose {
  readonly index?: number | null | undefined;
  readonly finishReason?: string | null | undefined;
  readonly content?:
    { readonly parts?: readonly (ResponsePart | null | undefined)[] | null | undefined } | null | undefined;
}

/** One frame: a whole `GenerateContentResponse`. */
export interface GeminiResponse extends Loose {
  readonly candidates?: readonly (ResponseCandidate | null | undefined)[] | null | undefined;
  readonly promptFeedback?: { readonly blockReason?: string | null | undefined } | null | undefined;
  readonly responseId?: string | null | undefined;
}

const Text = z.nullish(z.string());
const Flag = z.nullish(z.boolean());

const FunctionCall = z.looseObject({
  id: Text,
  name: Text,
  partialArgs: z.nullish(
    z.array(
      z.looseObject({
        jsonPath: z.string(),
        stringValue: Text,
        numberValue: z.nullish(z.number()),
        boolValue: Flag,
        willContinue: Flag,
      }),
    ),
  ),
  willContinue: Flag,
});

const Part = z.looseObject({
  text: Text,
  thought: Flag,
  functionCall: z.nullish(FunctionCall),
  inlineData: z.nullish(z.looseObject({})),
  fileData: z.nullish(z.looseObject({})),
});

/** Loose: only what would be read wrongly is refused; unknown keys and nulls pass, and missing or empty lists. */
export const geminiResponse: StandardSchema<GeminiResponse> = z.looseObject({
  candidates: z.nullish(
    z.array(
      z.nullish(
        z.looseObject({
          index: z.nullish(z.number()),
          finishReason: Text,
          content: z.nullish(z.looseObject({ parts: z.nullish(z.array(z.nullish(Part))) })),
        }),
      ),
    ),
  ),
  promptFeedback: z.nullish(z.looseObject({ blockReason: Text })),
  responseId: Text,
});
