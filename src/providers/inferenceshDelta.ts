import * as z from 'zod/mini';
import { ProtocolError } from '../errors.js';
import type { DialectStream, Emit } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import type { Usage } from '../types.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import type { TemplateShape } from '../protocol/template.js';
import type { ToolCallPart } from './chatChunk.js';
import { finishReasonOf } from './chatFinish.js';
import { readChatUsage } from './chatUsage.js';
import type { JSONObject } from './inferenceshFrame.js';

/** An increment of a model's answer, as inference.sh sends it in tasks and chats alike. */
export interface DeltaPart {
  readonly response?: string | null | undefined;
  readonly reasoning?: string | null | undefined;
  readonly tool_calls?: readonly ToolCallPart[] | null | undefined;
  readonly usage?: Readonly<Record<string, unknown>> | null | undefined;
}

const ToolCalls = z.array(
  z.looseObject({
    index: z.nullish(z.number()),
    id: z.nullish(z.string()),
    function: z.nullish(z.looseObject({ name: z.nullish(z.string()), arguments: z.nullish(z.unknown()) })),
  }),
);

/** What a `delta` event holds. */
export const DeltaFrame: StandardSchema<{
  readonly delta: DeltaPart;
  readonly resource_id?: string | null | undefined;
}> = z.looseObject({
  delta: z.looseObject({
    response: z.nullish(z.string()),
    reasoning: z.nullish(z.string()),
    tool_calls: z.nullish(ToolCalls),
    usage: z.nullish(z.looseObject({})),
  }),
  resource_id: z.nullish(z.string()),
});

/** The tool calls that a result lists whole; none where it is no list of them. */
export function readToolCalls(value: unknown): readonly ToolCallPart[] {
  return z.safeParse(ToolCalls, value).data ?? [];
}

/** True where a delta holds a key that has no event of its own. */
export function hasUnknownPart(delta: object): boolean {
  return Object.keys(delta).some((key) => !DELTA_KEYS.has(key));
}

/** An increment that is nothing but a text. */
export interface PlainDelta {
  readonly type: 'text' | 'thinking';
  readonly shape: TemplateShape;
}

/** What an increment has in common with others like it; `undefined` where it brings more than a text, or none. */
export function plainDelta(
  { delta }: { readonly delta: DeltaPart },
  payload: JSONObject,
  frame: JSONObject,
): PlainDelta | undefined {
  const { response, reasoning, tool_calls: calls, usage } = delta;
  if (Boolean(response) === Boolean(reasoning) || calls?.length || usage || hasUnknownPart(delta)) return undefined;
  const within = payload === frame['data'] ? 'data.' : '';
  const isNumbered = payload['seq'] !== undefined && payload['seq'] !== null;
  return {
    type: response ? 'text' : 'thinking',
    shape: {
      text: `${within}delta.${response ? 'response' : 'reasoning'}`,
      read: isNumbered ? [`${within}seq`] : [],
    },
  };
}

const DELTA_KEYS: ReadonlySet<string> = new Set(['response', 'reasoning', 'tool_calls', 'usage']);

/** What inference.sh says was used, and why the model stopped, which it tells in the same place. */
export interface SpentUsage {
  /** Absent where no count was told. */
  readonly usage: Usage | undefined;
  readonly stopReason: string | undefined;
  /** True where more was told, such as times, whose unit is not documented. */
  readonly hasMore: boolean;
}

export function readUsage(value: unknown): SpentUsage | undefined {
  if (!isRecord(value)) return undefined;
  const { stop_reason: stopReason, ...counts } = value;
  const read = readChatUsage({ usage: counts }, undefined);
  return {
    usage: read?.usage,
    stopReason: typeof stopReason === 'string' && stopReason !== '' ? stopReason : undefined,
    hasMore: read === undefined ? Object.keys(counts).length > 0 : read.extras !== '',
  };
}

/** Proves the end with the model's stop reason, or with `stop` where only the task or the chat told that it ended well. */
export function proveEnd(stream: Pick<DialectStream<unknown>, 'prove'>, stopReason: string | undefined): void {
  if (stopReason === undefined) stream.prove('stop');
  else stream.prove(finishReasonOf(stopReason), stopReason);
}

/**
 * Emits a tool call that came whole.
 * @throws ProtocolError where its arguments are no JSON
 */
export function emitToolCall(id: string, name: string, argumentsText: string, emit: Emit): void {
  let parsed: unknown;
  try {
    parsed = argumentsText === '' ? {} : JSON.parse(argumentsText);
  } catch {
    // The parser's message quotes the arguments, which may be private.
    throw new ProtocolError(`The arguments of tool call ${id} (${name}) are not valid JSON; the call must not be run`, {
      context: { id, name, chars: argumentsText.length },
    });
  }
  emit({ type: 'tool-call', index: 0, id, name, arguments: parsed, argumentsText });
}

/** A call's arguments as text; whole ones come as an object. */
export function argumentsText(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What the unfinished tool calls of one message may hold, in characters: far above what any model writes; chosen. */
export const MAX_TOOL_CALL_CHARS: number = 16 * 1024 * 1024;
