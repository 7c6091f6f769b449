import type { ErrorReport } from '../protocol/errorBody.js';
import { NATIVE_REASON } from './chatFinish.js';

/** The statuses after which asking again can help; servers of this family put them in `code`, as number or text. */
const STATUSES: ReadonlySet<number> = new Set([408, 409, 425, 429, 500, 502, 503, 504, 529]);

const WORDS: ReadonlySet<string> = new Set([
  'server_error',
  'internal_error',
  'internal_server_error',
  'overloaded',
  'overloaded_error',
  'provider_overloaded',
  'provider_unavailable',
  'service_unavailable',
  'rate_limit_error',
  'rate_limit_exceeded',
  'rate_limited',
  'timeout',
  'timeout_error',
  'insufficient_system_resource',
  'network_error',
]);

/** Sent with status 429, and still true in a minute. */
const FINAL: ReadonlySet<string | undefined> = new Set(['insufficient_quota']);

/**
 * Whether asking again can help after a failure told in a chat stream. A status decides where there is one; else the words.
 *
 * | code or type | sent by |
 * | --- | --- |
 * | 408, 409, 425, 429, 500, 502, 503, 504, 529 | Infron, OpenRouter, PolarGrid, vLLM (`code`) |
 * | `server_error` | OpenAI (`type`) |
 * | `rate_limit_exceeded`, `rate_limit_error` | OpenAI, PolarGrid, OpenRouter |
 * | `provider_overloaded`, `provider_unavailable`, `timeout` | OpenRouter |
 * | `overloaded_error`, `timeout_error` | Anthropic, through routers |
 * | `rate_limited`, `internal_error` | Infernet |
 * | `insufficient_system_resource` | DeepSeek (finish reason) |
 * | `network_error` | OpenRouter (native finish reason), Z.ai (finish reason) |
 * | `overloaded`, `service_unavailable`, `internal_server_error` | chosen: the same in other words |
 *
 * `insufficient_quota` (OpenAI, with status 429) is not: it is no matter of time.
 */
export function isRetryableChatError({ code, type }: ErrorReport): boolean {
  if (FINAL.has(type) || FINAL.has(String(code))) return false;
  if (type === NATIVE_REASON) return true;
  const status =
    typeof code === 'number' ? code : code !== undefined && /^\d{3}$/.test(code) ? Number(code) : undefined;
  if (status !== undefined) return STATUSES.has(status);
  return WORDS.has(String(code)) || (type !== undefined && WORDS.has(type));
}
