import type { TurnOptions } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import type { RawEvent, StreamEvent } from '../types.js';

/** An assistant's message, as Cohere takes it back. @public */
export interface CohereTurn {
  readonly role: 'assistant';
  /** Text alone, or parts where there is thinking. */
  readonly content?: string | readonly CoherePart[];
  readonly tool_plan?: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly type: 'function';
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
  readonly citations?: readonly unknown[];
}

/** A part of an assistant's message. @public */
export type CoherePart =
  { readonly type: 'text'; readonly text: string } | { readonly type: 'thinking'; readonly thinking: string };

/** How an answer of Cohere's is given back: text, thinking, the plan and the calls, and the citations as they came. */
export const cohereTurn: TurnOptions<CohereTurn> = {
  needs: (raw) => planOf(raw) !== '' || citationOf(raw) !== undefined,
  build: (events) => {
    const parts = events.flatMap(partOf);
    const hasThinking = parts.some(({ type }) => type === 'thinking');
    const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
    const calls = events.flatMap((event) => (event.type === 'tool-call' ? event : []));
    const raws = events.flatMap((event) => (event.type === 'raw' ? event : []));
    const plan = raws.map(planOf).join('');
    const citations = raws.flatMap((raw) => citationOf(raw) ?? []);
    return {
      role: 'assistant',
      ...(parts.length > 0 && { content: hasThinking ? parts : text }),
      ...(plan !== '' && { tool_plan: plan }),
      ...(calls.length > 0 && {
        tool_calls: calls.map(({ id, name, argumentsText }) => ({
          id,
          type: 'function' as const,
          function: { name, arguments: argumentsText === '' ? '{}' : argumentsText },
        })),
      }),
      ...(citations.length > 0 && { citations }),
    };
  },
};

function partOf(event: StreamEvent): readonly CoherePart[] {
  if (event.type === 'text') return [{ type: 'text', text: event.text }];
  return event.type === 'thinking' ? [{ type: 'thinking', thinking: event.text }] : [];
}

function messageOf({ frame }: RawEvent, type: string): Readonly<Record<string, unknown>> {
  const delta = isRecord(frame) && frame['type'] === type ? frame['delta'] : undefined;
  const message = isRecord(delta) ? delta['message'] : undefined;
  return isRecord(message) ? message : {};
}

function planOf(raw: RawEvent): string {
  const plan = messageOf(raw, 'tool-plan-delta')['tool_plan'];
  return typeof plan === 'string' ? plan : '';
}

function citationOf(raw: RawEvent): unknown {
  const { citations } = messageOf(raw, 'citation-start') as { readonly citations?: unknown };
  return isRecord(citations) ? citations : undefined;
}
