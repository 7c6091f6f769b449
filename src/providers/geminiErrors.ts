import type { ErrorReport } from '../protocol/errorBody.js';

/** What Google's own client asks again after. */
const STATUSES: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
const WORDS: ReadonlySet<string> = new Set(['RESOURCE_EXHAUSTED', 'INTERNAL', 'UNAVAILABLE', 'DEADLINE_EXCEEDED']);

/**
 * Whether asking again can help after a failure told in a Gemini stream: by its `code`, which is an HTTP status; where there is
 * none, by its `status`.
 *
 * | code | status | |
 * | --- | --- | --- |
 * | 429 | `RESOURCE_EXHAUSTED` | rate limit (Gemini API troubleshooting) |
 * | 500 | `INTERNAL` | (Gemini API troubleshooting) |
 * | 503 | `UNAVAILABLE` | overload (Gemini API troubleshooting) |
 * | 504 | `DEADLINE_EXCEEDED` | (Gemini API troubleshooting) |
 * | 408, 502 | | what `@google/genai` asks again after, besides these |
 *
 * All others are final: 400, 401, 403, 404, and 499 `CANCELLED`, which says that somebody wanted the end.
 */
export function isRetryableGeminiError({ code }: ErrorReport): boolean {
  const status =
    typeof code === 'number' ? code : code !== undefined && /^\d{3}$/.test(code) ? Number(code) : undefined;
  return status === undefined ? WORDS.has(String(code)) : STATUSES.has(status);
}
