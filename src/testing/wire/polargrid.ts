import { chatStream } from './chatStream.js';
import { DONE_FRAME, sseFrame } from './sseFrame.js';
import { chatUsage, type WireAnswer, type WireError, type WireStream } from './wireAnswer.js';
import { withInlineThinking } from './withInlineThinking.js';

/** PolarGrid chat: sparse chunks without `index`, `created` and `model`; thinking stands in the text, between tags. */
export function polargridChatStream(answer: WireAnswer): WireStream {
  return chatStream(answer, {
    role: { role: 'assistant' },
    thinking: 'inline',
    hasTools: true,
    chunk: ({ id }, delta, finish) => ({
      id,
      object: 'chat.completion.chunk',
      choices: [finish === null ? { delta } : { delta, finish_reason: finish }],
    }),
    closing: ({ id, usage }) => [
      ...(usage === undefined ? [] : [{ id, object: 'chat.completion.chunk', choices: [], usage: chatUsage(usage) }]),
      { pg_metadata: { latency_ms: 412 } },
    ],
  });
}

/** PolarGrid text completions: `choices[0].text`. */
export function polargridTextStream(answer: WireAnswer): WireStream {
  const { id, createdAt, model, finish } = answer;
  const frame = (text: string, finish_reason: string | null): string =>
    sseFrame({
      id,
      object: 'text_completion',
      created: Math.floor(createdAt / 1000),
      model,
      choices: [{ index: 0, text, finish_reason }],
    });
  const texts = withInlineThinking(answer).map((piece) => frame(piece, null));
  return { frames: [...texts, frame('', finish), DONE_FRAME], provenFrame: texts.length };
}

/** A failure in the stream. Nothing is known to follow it. */
export function polargridError({ code, message }: WireError): readonly string[] {
  return [sseFrame({ error: { message, code } })];
}
