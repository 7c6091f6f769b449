import type { ErrorReport } from '../protocol/errorBody.js';
import { isRetryableChatError } from './isRetryableChatError.js';

const RETRYABLE: ReadonlySet<string> = new Set([
  'overloaded_error',
  'rate_limit_error',
  'api_error',
  'timeout_error',
  'conflict_error',
]);

/**
 * Whether asking again can help after a failure told in a Messages stream. Its `type` decides.
 *
 * | type | as a status | asked again | source |
 * | --- | --- | --- | --- |
 * | `overloaded_error` | 529 | yes | Anthropic, errors: "temporarily overloaded" |
 * | `rate_limit_error` | 429 | yes | Anthropic, errors; its clients ask again after 429 |
 * | `api_error` | 500 | yes | Anthropic, errors: "unexpected error internal to our systems"; its clients ask again from 500 on |
 * | `timeout_error` | 504 | yes | Anthropic, errors; its clients ask again from 500 on |
 * | `conflict_error` | 409 | yes | its clients ask again after 409 |
 * | `invalid_request_error`, `authentication_error`, `billing_error`, `permission_error`, `not_found_error`, `request_too_large` | 400 to 413 | no | Anthropic, errors |
 *
 * What proxies send instead (a status as `code`, words of other APIs) is judged as in a chat stream.
 */
export function anthropicRetryable(report: ErrorReport): boolean {
  return (report.type !== undefined && RETRYABLE.has(report.type)) || isRetryableChatError(report);
}
