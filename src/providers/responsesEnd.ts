import type { ErrorReport } from '../protocol/errorBody.js';
import { isRecord, readErrorBody } from '../protocol/errorBody.js';
import type { FinishReason, Usage } from '../types.js';
import { extrasOf } from './chatExtras.js';
import { isRetryableChatError } from './isRetryableChatError.js';
import type { Fields, ResponseFields } from './responsesFrame.js';

/** Why a response is incomplete, in the API's words; `max_tokens` is of its copies. */
const REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['max_output_tokens', 'length'],
  ['max_tokens', 'length'],
  ['content_filter', 'content-filter'],
]);

/** Words of this API beside those of the chat family. */
const RETRYABLE: ReadonlySet<string> = new Set(['vector_store_timeout', 'too_many_requests']);

/** What an incomplete response was cut by. */
export function cutOf({ incomplete_details: details }: ResponseFields): { reason: FinishReason; rawReason: string } {
  const word = details?.reason ?? '';
  return { reason: REASONS.get(word) ?? 'other', rawReason: word === '' ? 'incomplete' : word };
}

/** Whether asking again can help; the table is in the docstring of `responsesDialect`. */
export function isRetryableResponsesError(report: ErrorReport): boolean {
  return RETRYABLE.has(String(report.code)) || isRetryableChatError(report);
}

/** What a response that failed or was cancelled says of it. */
export function failureOf(end: string, response: ResponseFields, frame: Fields): ErrorReport {
  const error = response['error'] ?? frame['error'];
  const report = isRecord(error) || typeof error === 'string' ? readErrorBody({ error }) : undefined;
  return {
    code: report?.code ?? end,
    type: report?.type,
    message: report?.message ?? `the response was ${end === 'failed' ? 'not completed' : end}`,
  };
}

/** A failure in a frame of its own: `error`, or an error body as HTTP has it, put into the stream. */
export function readFailureFrame(frame: Fields, event: string): ErrorReport | undefined {
  const { type, error } = frame;
  if (type === 'error' || event === 'error') {
    const { code, type: kind, message } = readErrorBody(isBlankError(error) ? { ...frame, error: undefined } : frame);
    // `type: 'error'` names the frame, not the failure.
    return { code: code === 'error' ? undefined : code, type: kind === 'error' ? undefined : kind, message };
  }
  // What a part of the answer says of itself (`response.mcp_call.failed`) is no failure of the stream.
  if (typeof type === 'string' && type.startsWith('response.')) return undefined;
  return isBlankError(error) ? undefined : readErrorBody(frame);
}

function isBlankError(error: unknown): boolean {
  return error === undefined || error === null || error === false || error === '';
}

/** Counts of a response; undefined where none is told. */
export function readResponsesUsage(used: Fields): Usage | undefined {
  const input = isRecord(used['input_tokens_details']) ? used['input_tokens_details'] : {};
  const output = isRecord(used['output_tokens_details']) ? used['output_tokens_details'] : {};
  const counts = Object.entries({
    inputTokens: used['input_tokens'],
    outputTokens: used['output_tokens'],
    totalTokens: used['total_tokens'],
    reasoningTokens: output['reasoning_tokens'],
    cachedTokens: input['cached_tokens'],
  }).filter(([, count]) => typeof count === 'number' && count >= 0);
  if (counts.length === 0) return undefined;
  return { ...(Object.fromEntries(counts) as Partial<Record<string, number>>), provenance: 'reported' };
}

const USAGE_KEYS: ReadonlySet<string> = new Set([
  'input_tokens',
  'input_tokens_details',
  'output_tokens',
  'output_tokens_details',
  'total_tokens',
]);

/** What echoes the request, or is read elsewhere. */
const RESPONSE_KEYS: ReadonlySet<string> = new Set([
  'background',
  'completed_at',
  'conversation',
  'created_at',
  'error',
  'frequency_penalty',
  'id',
  'incomplete_details',
  'instructions',
  'max_output_tokens',
  'max_tool_calls',
  'metadata',
  'model',
  'object',
  'output',
  'output_text',
  'parallel_tool_calls',
  'presence_penalty',
  'previous_response_id',
  'prompt',
  'prompt_cache_key',
  'prompt_cache_options',
  'prompt_cache_retention',
  'reasoning',
  'safety_identifier',
  'service_tier',
  'status',
  'store',
  'temperature',
  'text',
  'tool_choice',
  'tools',
  'top_logprobs',
  'top_p',
  'truncation',
  'usage',
  'user',
]);

/** What a response object holds beside all that; see `extrasOf`. */
export function responseExtras(response: ResponseFields): string {
  return extrasOf(response, RESPONSE_KEYS) + extrasOf(response.usage ?? {}, USAGE_KEYS);
}
