import type { WireAnswer, WireError, WireStream } from './wireAnswer.js';

/** Ollama's chat: one JSON line for each piece, and a last one with `done`. */
export function ollamaStream(answer: WireAnswer): WireStream {
  const { model, createdAt, thinking, pieces, toolCall, usage, finish } = answer;
  const envelope = { model, created_at: new Date(createdAt).toISOString() };
  const line = (message: object): string =>
    `${JSON.stringify({ ...envelope, message: { role: 'assistant', ...message }, done: false })}\n`;
  const frames = [
    ...thinking.map((text) => line({ content: '', thinking: text })),
    ...pieces.map((content) => line({ content })),
  ];
  if (toolCall !== undefined) {
    const args = JSON.parse(toolCall.argumentPieces.join('')) as unknown;
    frames.push(
      line({ content: '', tool_calls: [{ id: toolCall.id, function: { name: toolCall.name, arguments: args } }] }),
    );
  }
  const last = {
    ...envelope,
    message: { role: 'assistant', content: '' },
    done: true,
    done_reason: finish === 'length' ? 'length' : 'stop',
    total_duration: 1_840_000_000,
    ...(usage && { prompt_eval_count: usage.inputTokens, eval_count: usage.outputTokens }),
  };
  return { frames: [...frames, `${JSON.stringify(last)}\n`], provenFrame: frames.length };
}

/** A failure in the stream: alone on its line. */
export function ollamaError({ message }: WireError): readonly string[] {
  return [`${JSON.stringify({ error: message })}\n`];
}
