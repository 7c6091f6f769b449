import { chatStream } from './chatStream.js';
import { sseFrame } from './sseFrame.js';
import { chatUsage, costOf, type WireAnswer, type WireError, type WireStream, type WireUsage } from './wireAnswer.js';

const PROCESSING_FRAME = ': Infron AI PROCESSING\n\n';

/** Infron: comments while it waits for its upstream, then chat chunks; the cost is a sibling of `usage`. */
export function infronStream(answer: WireAnswer): WireStream {
  return chatStream(answer, {
    opening: [PROCESSING_FRAME, PROCESSING_FRAME],
    role: { role: 'assistant', content: '' },
    thinking: 'reasoning',
    hasTools: true,
    chunk: (from, delta, finish_reason) => ({ ...envelope(from), choices: [{ index: 0, delta, finish_reason }] }),
    closing: ({ usage }) => (usage === undefined ? [] : [{ ...envelope(answer), choices: [], ...infronUsage(usage) }]),
  });
}

/** A failure after generation began: the HTTP status was 200 already. Nothing is known to follow it. */
export function infronError({ code, message }: WireError): readonly string[] {
  return [sseFrame({ error: { code, message, type: 'upstream_error' } })];
}

/** `usage` with `cost` and `cost_details` beside it. */
export function infronUsage(usage: WireUsage): object {
  const { input, output, total } = costOf(usage);
  return {
    usage: {
      ...chatUsage(usage),
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    },
    cost: total,
    cost_details: { prompt_cost: input, completion_cost: output, discount_rate: 1 },
  };
}

function envelope({ id, createdAt, model }: WireAnswer): object {
  return { id, object: 'chat.completion.chunk', created: Math.floor(createdAt / 1000), model };
}
