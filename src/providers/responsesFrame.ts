import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';

/** A JSON object of this API, as it came. */
export type Fields = Readonly<Record<string, unknown>>;

/** Which item, and which part of it, a frame is about. */
export interface ItemPlace {
  readonly item_id?: string | null | undefined;
  readonly output_index?: number | null | undefined;
  readonly content_index?: number | null | undefined;
  readonly summary_index?: number | null | undefined;
}

/** A piece of something. */
export interface DeltaFrame extends ItemPlace {
  readonly delta?: string | null | undefined;
  readonly [key: string]: unknown;
}

/** The whole of what came in pieces; which member has it depends on the frame. */
export interface DoneFrame extends ItemPlace {
  readonly text?: string | null | undefined;
  readonly refusal?: string | null | undefined;
  readonly arguments?: string | null | undefined;
  readonly input?: string | null | undefined;
  readonly part?: PartFields | null | undefined;
}

/** A part of a message or of reasoning. */
export interface PartFields {
  readonly type?: string | null | undefined;
  readonly text?: string | null | undefined;
  readonly refusal?: string | null | undefined;
}

/** An output item. */
export interface ItemFields {
  readonly type?: string | null | undefined;
  readonly id?: string | null | undefined;
  readonly call_id?: string | null | undefined;
  readonly name?: string | null | undefined;
  readonly status?: string | null | undefined;
  readonly arguments?: unknown;
  readonly input?: unknown;
  readonly content?: string | readonly PartFields[] | null | undefined;
  readonly summary?: readonly PartFields[] | null | undefined;
  readonly [key: string]: unknown;
}

/** An item begins or is whole. */
export interface ItemFrame extends ItemPlace {
  readonly item: ItemFields;
}

/** The response itself. */
export interface ResponseFields {
  readonly id?: string | null | undefined;
  readonly status?: string | null | undefined;
  readonly output?: readonly ItemFields[] | null | undefined;
  readonly usage?: Fields | null | undefined;
  readonly incomplete_details?: { readonly reason?: string | null | undefined } | null | undefined;
  readonly [key: string]: unknown;
}

/** The response begins, changes its state, or ends. */
export interface LifecycleFrame {
  readonly response?: ResponseFields | null | undefined;
}

const Text = z.nullish(z.string('must be a string'));
const Index = z.nullish(z.int('must be a whole number'));
const Place = { item_id: Text, output_index: Index, content_index: Index, summary_index: Index };

const Part = z.looseObject({ type: Text, text: Text, refusal: Text }, 'must be an object');

const Item = z.looseObject(
  {
    type: Text,
    id: Text,
    call_id: Text,
    name: Text,
    status: Text,
    content: z.nullish(z.union([z.string(), z.array(Part)], 'must be a string or a list of parts')),
    summary: z.nullish(z.array(Part, 'must be a list of parts')),
  },
  'must be an object',
);

const ResponseObject = z.looseObject(
  {
    id: Text,
    status: Text,
    output: z.nullish(z.array(Item, 'must be a list of items')),
    usage: z.nullish(z.record(z.string(), z.unknown(), 'must be an object')),
    incomplete_details: z.nullish(z.looseObject({ reason: Text }, 'must be an object')),
  },
  'must be an object',
);

export const deltaFrame: StandardSchema<DeltaFrame> = z.looseObject({ ...Place, delta: Text });

export const doneFrame: StandardSchema<DoneFrame> = z.looseObject({
  ...Place,
  text: Text,
  refusal: Text,
  arguments: Text,
  input: Text,
  part: z.nullish(Part),
});

export const itemFrame: StandardSchema<ItemFrame> = z.looseObject({ ...Place, item: Item });

export const lifecycleFrame: StandardSchema<LifecycleFrame> = z.looseObject({ response: z.nullish(ResponseObject) });

export const responseObject: StandardSchema<ResponseFields> = ResponseObject;

/** What kind of frame it is: the JSON's own word, else the name of the event that carried it. */
export function typeOf(frame: Fields, event: string | undefined): string {
  const { type } = frame;
  return typeof type === 'string' && type !== '' ? type : (event ?? '');
}

/** The frames that end a response, and the state that each means. */
export const ENDS: ReadonlyMap<string, string> = new Map([
  ['response.completed', 'completed'],
  ['response.incomplete', 'incomplete'],
  ['response.failed', 'failed'],
  ['response.cancelled', 'cancelled'],
  ['response.canceled', 'cancelled'],
]);

/** The state in which a response is over; undefined while it goes on. */
export function endOf(status: string | null | undefined): string | undefined {
  return status === null || status === undefined ? undefined : ENDS.get(`response.${status}`);
}
