import { DONE_FRAME, sseFrame } from './sseFrame.js';
import type { WireAnswer, WireStream } from './wireAnswer.js';
import { withInlineThinking } from './withInlineThinking.js';

/** Where one server of the chat family differs from the others. */
export interface ChatShape {
  /** Comments and other frames before the first chunk. */
  readonly opening?: readonly string[];
  /** The first delta. */
  readonly role: Readonly<Record<string, unknown>>;
  /** `inline`: between tags in the text; `none`: not shown; else the name of the delta's field. */
  readonly thinking: string;
  readonly hasTools: boolean;
  /** One chunk around a delta. */
  readonly chunk: (answer: WireAnswer, delta: unknown, finish: string | null) => unknown;
  /** What follows the finish chunk, before `[DONE]`. */
  readonly closing?: (answer: WireAnswer) => readonly unknown[];
}

/** The frames of a chat completion: role, thinking, text, tool call, finish reason, extras and `[DONE]`. */
export function chatStream(answer: WireAnswer, shape: ChatShape): WireStream {
  const frame = (delta: unknown): string => sseFrame(shape.chunk(answer, delta, null));
  const isInline = shape.thinking === 'inline';
  const frames = [
    ...(shape.opening ?? []),
    frame(shape.role),
    ...(isInline || shape.thinking === 'none' ? [] : answer.thinking.map((text) => frame({ [shape.thinking]: text }))),
    ...(isInline ? withInlineThinking(answer) : answer.pieces).map((content) => frame({ content })),
    ...(shape.hasTools ? toolDeltas(answer).map(frame) : []),
  ];
  const provenFrame = frames.length;
  return {
    frames: [
      ...frames,
      sseFrame(shape.chunk(answer, {}, answer.finish)),
      ...(shape.closing?.(answer) ?? []).map((data) => sseFrame(data)),
      DONE_FRAME,
    ],
    provenFrame,
  };
}

/** Deltas of the answer's tool call: name and id first, then arguments by index. None where there is no call. */
export function toolDeltas({ toolCall }: WireAnswer): readonly object[] {
  if (toolCall === undefined) return [];
  const { id, name, argumentPieces } = toolCall;
  return [
    { tool_calls: [{ index: 0, id, type: 'function', function: { name, arguments: '' } }] },
    ...argumentPieces.map((piece) => ({ tool_calls: [{ index: 0, function: { arguments: piece } }] })),
  ];
}
