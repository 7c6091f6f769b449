import type { HTTPError, ProviderError, StreamsFailedError } from '../errors.js';
import { hasCode } from './hasCode.js';

/** Words for load that providers use as codes, and in sentences. */
const LOAD = /rate[_ -]?limit|too[_ -]many[_ -]requests|overload|resource[_ -]exhausted|throttl/i;

/** Sent with status 429, and no matter of time. */
const QUOTA = /insufficient_quota|insufficient_credits|billing/i;

/**
 * Whether an error is a refusal for load: it speaks of the rate and the number of requests, and not of the one request. The only place
 * that decides.
 *
 * - HTTP 429 and 529; 503 where it says for how long.
 * - What a provider says inside a stream: `rate_limit_error`, `overloaded_error` (Anthropic), `rate_limit_exceeded` (OpenAI, PolarGrid,
 *   OpenRouter), `provider_overloaded` (OpenRouter), `rate_limited` (Infernet, inference.sh), `RESOURCE_EXHAUSTED` (Gemini), and 429 and
 *   529 as codes. A 503, or a failure without a code, where its words say so.
 * - Several streams that were all refused.
 *
 * `insufficient_quota` is none, whatever its status: no waiting helps.
 */
export function isRefusal(error: unknown): boolean {
  if (hasCode(error, 'ERR_HTTP')) {
    const { status, retryAfterMs, providerCode } = error as HTTPError;
    if (QUOTA.test(String(providerCode))) return false;
    return status === 429 || status === 529 || (status === 503 && retryAfterMs !== undefined);
  }
  if (hasCode(error, 'ERR_PROVIDER')) {
    const { providerCode, providerMessage = '' } = error as ProviderError;
    const code = String(providerCode ?? '');
    if (QUOTA.test(code)) return false;
    if (code === '429' || code === '529' || LOAD.test(code)) return true;
    return (code === '' || code === '503') && saysLoad(providerMessage);
  }
  if (hasCode(error, 'ERR_STREAMS_FAILED')) {
    const errors = [...(error as StreamsFailedError).errors.values()];
    return errors.length > 0 && errors.every(isRefusal);
  }
  return false;
}

/** Whether a provider's words, in an error or a warning, are about its load. */
export function saysLoad(words: string): boolean {
  return LOAD.test(words);
}
