import type { TurnOptions } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import type { StreamEvent, ToolCallEvent } from '../types.js';
import { ENDS, type Fields, typeOf } from './responsesFrame.js';

/** One item of a conversation, in the API's own form: a message, a call, the output of one, reasoning … @public */
export interface ResponsesItem {
  readonly type?: string | undefined;
  readonly [key: string]: unknown;
}

/** An answer as items of the next request's `input`. @public */
export type ResponsesTurn = readonly ResponsesItem[];

/**
 * An answer given back: its items as the API told them whole, in their order. Left out are items that are not whole, calls
 * whose arguments are no JSON, and reasoning without the item that followed it: the API refuses the one without the other.
 * What of the text is in no whole item, since the answer was cut or the server tells no items, is a message of its own.
 */
export const responsesTurn: TurnOptions<ResponsesTurn> = {
  needs: ({ frame, event }) =>
    isRecord(frame) && (typeOf(frame, event) === 'response.output_item.done' || outputOf(frame, event) !== undefined),
  build: (events) => {
    let items = new Map<unknown, Fields>();
    let text = '';
    const calls = new Map<string, ToolCallEvent>();
    for (const event of events) {
      if (event.type === 'text') text += event.text;
      else if (event.type === 'tool-call') calls.set(event.id, event);
      else if (event.type === 'raw' && isRecord(event.frame)) {
        const output = outputOf(event.frame, event.event);
        const told = output ?? [event.frame['item']];
        items = merged(items, told, output !== undefined);
        if (output !== undefined || isMessage(event.frame['item'])) text = '';
      }
    }
    const known = new Set([...items.values()].map(callIdOf));
    const untold = [...calls.values()].filter(
      ({ id, providerExecuted }) => !known.has(id) && providerExecuted !== true,
    );
    return [
      ...wholeItems(items.values(), calls).map(toInput),
      ...(text === '' ? [] : [{ type: 'message', role: 'assistant', content: text }]),
      ...untold.map(callItem),
    ];
  },
};

/** The whole output, where a frame, or the response as it is stored, has it. */
function outputOf(frame: Fields, event: string | undefined): readonly unknown[] | undefined {
  const response = ENDS.has(typeOf(frame, event)) ? frame['response'] : frame;
  if (!isRecord(response) || (response === frame && frame['object'] !== 'response')) return undefined;
  const { output } = response;
  return Array.isArray(output) && output.length > 0 ? output : undefined;
}

/**
 * Items by their id, those without one by themselves. Told once more, an item stays in its place; the whole output tells the order, and
 * leaves items as they were told.
 */
function merged(known: Map<unknown, Fields>, told: readonly unknown[], isWhole: boolean): Map<unknown, Fields> {
  const items = isWhole ? new Map<unknown, Fields>() : known;
  for (const item of told.filter(isRecord)) {
    const key = typeof item['id'] === 'string' ? item['id'] : item;
    items.set(key, (isWhole ? known.get(key) : undefined) ?? item);
  }
  return items;
}

function isMessage(item: unknown): boolean {
  return isRecord(item) && item['type'] === 'message';
}

function isCall({ type }: Fields): boolean {
  return type === 'function_call' || type === 'custom_tool_call';
}

function callIdOf(item: Fields): unknown {
  return item['call_id'] ?? item['id'];
}

/** A message that was cut is a message; anything else that was cut is nothing. */
function isWhole(item: Fields, calls: ReadonlyMap<unknown, StreamEvent>): boolean {
  if (isCall(item) && !calls.has(callIdOf(item))) return false;
  return item['type'] === 'message' || (item['status'] !== 'incomplete' && item['status'] !== 'in_progress');
}

function wholeItems(items: Iterable<Fields>, calls: ReadonlyMap<unknown, StreamEvent>): readonly Fields[] {
  const kept: Fields[] = [];
  let reasoning: Fields[] = [];
  for (const item of items) {
    if (!isWhole(item, calls)) reasoning = [];
    else if (item['type'] === 'reasoning') reasoning.push(item);
    else {
      kept.push(...reasoning, item);
      reasoning = [];
    }
  }
  return kept;
}

/** The members that input items of these types have; others are refused, or `status` where nobody reads it. */
function toInput(item: Fields): ResponsesItem {
  switch (item['type']) {
    case 'reasoning':
      return pick(item, (key, value) => key !== 'status' && value !== null);
    case 'custom_tool_call':
      return pick(item, (key) => key !== 'status');
    case 'image_generation_call':
      return pick(item, (key) => IMAGE_KEYS.has(key));
    default:
      return item;
  }
}

const IMAGE_KEYS: ReadonlySet<string> = new Set(['type', 'id', 'status', 'result']);

function pick(item: Fields, isKept: (key: string, value: unknown) => boolean): ResponsesItem {
  return Object.fromEntries(Object.entries(item).filter(([key, value]) => isKept(key, value)));
}

/** A call of which no item was told. The arguments of a custom tool are its text. */
function callItem({ id, name, arguments: value, argumentsText }: ToolCallEvent): ResponsesItem {
  return value === argumentsText
    ? { type: 'custom_tool_call', call_id: id, name, input: argumentsText }
    : { type: 'function_call', call_id: id, name, arguments: argumentsText === '' ? '{}' : argumentsText };
}
