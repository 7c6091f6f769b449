import { chatStream } from './chatStream.js';
import { sseFrame } from './sseFrame.js';
import { chatUsage, type WireAnswer, type WireError, type WireStream } from './wireAnswer.js';

/** OpenAI's chat completions: `usage: null` until the last chunk, and padding that says nothing. Thinking is not shown. */
export function openaiChatStream(answer: WireAnswer): WireStream {
  return chatStream(answer, {
    role: { role: 'assistant', content: '', refusal: null },
    thinking: 'none',
    hasTools: true,
    chunk: (from, delta, finish_reason) => ({
      ...envelope(from),
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
      usage: null,
      obfuscation: PADDING.slice(0, 1 + (JSON.stringify(delta).length % PADDING.length)),
    }),
    closing: ({ usage }) =>
      usage === undefined ? [] : [{ ...envelope(answer), choices: [], usage: fullUsage(answer) }],
  });
}

/** A failure in the stream; the server closes after it. */
export function openaiError({ code, message }: WireError): readonly string[] {
  return [sseFrame({ error: { message, type: 'server_error', param: null, code } })];
}

const PADDING = 'aZ9mQ2xK7bR4';

function envelope({ id, createdAt, model }: WireAnswer): object {
  return {
    id,
    object: 'chat.completion.chunk',
    created: Math.floor(createdAt / 1000),
    model,
    service_tier: 'default',
    system_fingerprint: 'fp_mill',
  };
}

function fullUsage({ usage }: WireAnswer): object | undefined {
  return (
    usage && {
      ...chatUsage(usage),
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    }
  );
}
