import { sseFrame } from './sseFrame.js';
import { costOf, textOf, type WireAnswer, type WireError, type WireStream, type WireUsage } from './wireAnswer.js';

/** The gateway: items by index and name, each closed by `done`; an object with `final` is the end. No marker. */
export function gatewayStream(answer: WireAnswer): WireStream {
  const items = [
    ...(answer.thinking.length === 0 ? [] : [{ name: 'thinking', pieces: answer.thinking }]),
    { name: 'output', pieces: answer.pieces },
  ];
  const frames = items.flatMap(({ name, pieces }, index) => {
    const frame = (content: string, done: boolean): string =>
      sseFrame({ type: 'text', name, content, done, index, is_final: false });
    return [...pieces.map((piece) => frame(piece, false)), frame('', true)];
  });
  const metadata = { model_name: answer.model, finish_reason: answer.finish };
  frames.push(
    sseFrame({
      type: 'metadata',
      name: 'metadata',
      content: metadata,
      done: true,
      index: items.length,
      is_final: false,
    }),
    sseFrame({ final: true, ...accounts(answer.usage), warnings: [] }),
  );
  return { frames, provenFrame: frames.length - 1 };
}

/** A failure in the stream. Its shape is not documented; this one is the most likely. */
export function gatewayError({ code, message }: WireError): readonly string[] {
  return [sseFrame({ error: { code, message } })];
}

/** The answer to `/generate`, which does not stream. Its shape is not documented. */
export function gatewayResult(answer: WireAnswer): object {
  return {
    output: [{ type: 'text', name: 'output', content: textOf(answer), index: 0 }],
    ...accounts(answer.usage),
    warnings: [],
  };
}

function accounts(usage: WireUsage | undefined): object {
  if (usage === undefined) return {};
  const { inputTokens, outputTokens } = usage;
  return {
    usage: { input_tokens: inputTokens, output_tokens: outputTokens, total_tokens: inputTokens + outputTokens },
    cost: costOf(usage),
  };
}
