import type { WireAnswer, WireError, WireStream } from './wireAnswer.js';

/** Gemini with `alt=sse`: each frame is a whole response with the next part; CRLF line ends, and no marker. */
export function geminiStream(answer: WireAnswer): WireStream {
  const { thinking, pieces, toolCall, finish } = answer;
  const parts: object[] = [
    ...thinking.map((text) => ({ text, thought: true })),
    ...pieces.map((text) => ({ text })),
    ...(toolCall === undefined
      ? []
      : [
          {
            functionCall: {
              id: toolCall.id,
              name: toolCall.name,
              args: JSON.parse(toolCall.argumentPieces.join('')) as unknown,
            },
            thoughtSignature: 'CpQB+mill/stone==',
          },
        ]),
  ];
  const frames = parts.map((part) => frameOf(answer, part));
  return { frames: [...frames, frameOf(answer, { text: '' }, FINISH_REASONS[finish])], provenFrame: frames.length };
}

/** A failure in the stream. */
export function geminiError({ code, message }: WireError): readonly string[] {
  return [`data: ${JSON.stringify({ error: { code, message, status: 'UNAVAILABLE' } })}\r\n\r\n`];
}

const FINISH_REASONS: Readonly<Record<WireAnswer['finish'], string>> = {
  stop: 'STOP',
  length: 'MAX_TOKENS',
  tool_calls: 'STOP',
  content_filter: 'SAFETY',
};

function frameOf({ id, model, usage }: WireAnswer, part: object, finishReason?: string): string {
  const counts = usage && {
    usageMetadata: {
      promptTokenCount: usage.inputTokens,
      candidatesTokenCount: usage.outputTokens - usage.reasoningTokens,
      ...(usage.reasoningTokens > 0 && { thoughtsTokenCount: usage.reasoningTokens }),
      totalTokenCount: usage.inputTokens + usage.outputTokens,
    },
  };
  const candidate = { content: { role: 'model', parts: [part] }, ...(finishReason && { finishReason }), index: 0 };
  return `data: ${JSON.stringify({ candidates: [candidate], ...counts, modelVersion: model, responseId: id })}\r\n\r\n`;
}
