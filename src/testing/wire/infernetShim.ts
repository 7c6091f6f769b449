import { chatStream } from './chatStream.js';
import { DONE_FRAME, sseFrame } from './sseFrame.js';
import type { WireAnswer, WireError, WireStream } from './wireAnswer.js';

/** Infernet's chat endpoint: no tools, no usage, thinking between tags. */
export function infernetShimStream(answer: WireAnswer): WireStream {
  return chatStream(answer, {
    role: { role: 'assistant', content: '' },
    thinking: 'inline',
    hasTools: false,
    chunk: ({ id, createdAt, model }, delta, finish_reason) => ({
      id,
      object: 'chat.completion.chunk',
      created: Math.floor(createdAt / 1000),
      model,
      choices: [{ index: 0, delta, finish_reason }],
    }),
  });
}

/** A failure without `choices`; `[DONE]` follows always. */
export function infernetShimError({ message }: WireError, id: string): readonly string[] {
  return [sseFrame({ id, object: 'chat.completion.chunk', error: { message } }), DONE_FRAME];
}
