import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';
import type { RawEvent } from '../types.js';

const Text = z.nullish(z.string());
const Index = z.nullish(z.number());
const Fields = z.nullish(z.record(z.string(), z.unknown()));

const Block = z.looseObject({ type: z.string(), id: Text, name: Text, text: Text, thinking: Text });

type Loose = Readonly<Record<string, unknown>>;

/** What every frame is; what it holds is judged once its type is known, so that unknown types pass whatever they hold. */
export interface AnthropicFrame extends Loose {
  readonly type?: unknown;
}

/** A block as it begins. */
export interface StartedBlock extends Loose {
  readonly type: string;
  readonly id?: string | null | undefined;
  readonly name?: string | null | undefined;
  readonly text?: string | null | undefined;
  readonly thinking?: string | null | undefined;
}

interface MessageStart extends Loose {
  readonly message?:
    | (Loose & {
        readonly content?: readonly StartedBlock[] | null | undefined;
        readonly usage?: Loose | null | undefined;
      })
    | null
    | undefined;
}

interface BlockStart extends Loose {
  readonly index?: number | null | undefined;
  readonly content_block?: StartedBlock | null | undefined;
}

interface BlockDelta extends Loose {
  readonly index?: number | null | undefined;
  readonly delta?:
    | (Loose & {
        readonly type?: string | null | undefined;
        readonly text?: string | null | undefined;
        readonly thinking?: string | null | undefined;
        readonly partial_json?: string | null | undefined;
      })
    | null
    | undefined;
}

interface MessageDelta extends Loose {
  readonly delta?: (Loose & { readonly stop_reason?: string | null | undefined }) | null | undefined;
  readonly usage?: Loose | null | undefined;
}

export const anthropicFrame: StandardSchema<AnthropicFrame> = z.looseObject({ type: z.optional(z.unknown()) });

export const messageStart: StandardSchema<MessageStart> = z.looseObject({
  message: z.nullish(z.looseObject({ content: z.nullish(z.array(Block)), usage: Fields })),
});

export const blockStart: StandardSchema<BlockStart> = z.looseObject({ index: Index, content_block: z.nullish(Block) });

export const blockDelta: StandardSchema<BlockDelta> = z.looseObject({
  index: Index,
  delta: z.nullish(z.looseObject({ type: Text, text: Text, thinking: Text, partial_json: Text })),
});

export const blockStop: StandardSchema<Pick<BlockStart, 'index'> & Loose> = z.looseObject({ index: Index });

export const messageDelta: StandardSchema<MessageDelta> = z.looseObject({
  delta: z.nullish(z.looseObject({ stop_reason: Text })),
  usage: Fields,
});

/** Tool calls: the caller's own, and those that Anthropic or an MCP server runs. */
export const TOOL_USE: ReadonlySet<string> = new Set(['tool_use', 'server_tool_use', 'mcp_tool_use']);

/** The id of a call; a server that sends none gets one by the block's place. */
export function callIdOf(id: unknown, index: number): string {
  return typeof id === 'string' && id !== '' ? id : `toolu_${String(index)}`;
}

/** What a frame is: by its own word, since proxies drop the events' names, else by its event's name. */
export function typeOf(frame: { readonly type?: unknown }, event: string | undefined): unknown {
  return frame.type ?? event;
}

/** A frame as an event, under the name that its event had. */
export function rawOf(frame: unknown, event: string): RawEvent {
  return event === 'message' ? { type: 'raw', frame } : { type: 'raw', frame, event };
}
