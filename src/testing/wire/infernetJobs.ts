import { DONE_FRAME, sseFrame } from './sseFrame.js';
import { chatUsage, textOf, type WireAnswer, type WireError, type WireStream } from './wireAnswer.js';
import { withInlineThinking } from './withInlineThinking.js';

/** Infernet's documented jobs: text and an end marker, nothing else. */
export function infernetJobStream(answer: WireAnswer): WireStream {
  const frames = withInlineThinking(answer).map((text) => sseFrame({ text }));
  return { frames: [...frames, DONE_FRAME], provenFrame: frames.length };
}

/** The node was lost, or the job failed; `[DONE]` never follows. */
export function infernetJobError({ code, message }: WireError): readonly string[] {
  return [sseFrame({ error: code, message })];
}

/** States of a job. */
export type InfernetJobState = 'pending' | 'processing' | 'completed' | 'failed';

/** A job as the API shows it: without result until it is over. The only place where usage is told. */
export function infernetJob(answer: WireAnswer, state: InfernetJobState, error?: WireError): object {
  const created = { created_at: new Date(answer.createdAt).toISOString() };
  const job = { id: answer.id, status: state, model: answer.model };
  if (state === 'failed') return { ...job, error: error?.code, error_message: error?.message, ...created };
  if (state !== 'completed') return { ...job, ...created };
  return {
    ...job,
    node_id: 'node_33aa',
    result: { content: textOf(answer), ...(answer.usage && { usage: chatUsage(answer.usage) }) },
    ...created,
    completed_at: new Date(answer.createdAt + LATENCY_MS).toISOString(),
    latency_ms: LATENCY_MS,
  };
}

const LATENCY_MS = 1840;
