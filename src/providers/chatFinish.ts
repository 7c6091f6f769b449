import type { ErrorReport } from '../protocol/errorBody.js';
import type { FinishReason } from '../types.js';
import type { ChatChoicePart } from './chatChunk.js';

/** The words for an end: OpenAI's, then what its copies and their routers send for the same. */
const REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['stop', 'stop'],
  ['length', 'length'],
  ['content_filter', 'content-filter'],
  ['tool_calls', 'tool-calls'],
  ['function_call', 'tool-calls'],
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['eos', 'stop'],
  ['eos_token', 'stop'],
  ['end', 'stop'],
  ['complete', 'stop'],
  ['completed', 'stop'],
  ['max_tokens', 'length'],
  ['model_length', 'length'],
  ['content-filter', 'content-filter'],
  ['sensitive', 'content-filter'],
  ['safety', 'content-filter'],
  ['tool_use', 'tool-calls'],
  ['tool-calls', 'tool-calls'],
  ['refusal', 'refusal'],
]);

/** Reasons that are failures: OpenRouter's, DeepSeek's, Z.ai's. */
const FAILURES: ReadonlySet<string> = new Set(['error', 'insufficient_system_resource', 'network_error']);
/** What OpenRouter hides behind a benign reason. */
const NATIVE_FAILURES: ReadonlySet<unknown> = new Set(['error', 'network_error']);

/** The `type` of a report that was read from `native_finish_reason`. */
export const NATIVE_REASON = 'native_finish_reason';

/** What a finish reason means; a word nobody knows is `other`. */
export function finishReasonOf(word: string): FinishReason {
  return REASONS.get(word.toLowerCase()) ?? 'other';
}

/** The provider's word for a choice's end; undefined while it goes on. */
export function finishWordOf({ finish_reason, finishReason }: ChatChoicePart): string | undefined {
  const word = finish_reason ?? finishReason;
  return word === '' || word === null ? undefined : word;
}

/** The failure that a choice ended with, where its reason is one. */
export function finishFailure(part: ChatChoicePart): ErrorReport | undefined {
  const word = finishWordOf(part);
  if (word === undefined) return undefined;
  const native = part['native_finish_reason'];
  if (typeof native === 'string' && NATIVE_FAILURES.has(native)) {
    return { code: native, type: NATIVE_REASON, message: `the upstream failed, under the finish reason ${word}` };
  }
  if (!FAILURES.has(word)) return undefined;
  return { code: word, type: 'finish_reason', message: `the answer ended with the finish reason ${word}` };
}
