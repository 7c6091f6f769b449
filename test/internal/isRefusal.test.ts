import { describe, expect, it } from 'vitest';
import { HTTPError, InterruptedError, ProviderError, StreamsFailedError } from '../../src/errors.js';
import { isRefusal, saysLoad } from '../../src/internal/isRefusal.js';

const http = (status: number, retryAfterMs?: number, providerCode?: string): HTTPError =>
  new HTTPError(`HTTP ${String(status)}`, { status, retryAfterMs, providerCode });
const told = (providerCode?: string | number, providerMessage?: string): ProviderError =>
  new ProviderError('told', { retryable: true, providerCode, providerMessage });
const all = (...errors: unknown[]): StreamsFailedError =>
  new StreamsFailedError('all failed', new Map(errors.map((error, index) => [String(index), error])));

describe('a refusal for load', () => {
  it.each<[string, unknown]>([
    ['HTTP 429', http(429)],
    ['HTTP 429 with a time', http(429, 5)],
    ['HTTP 529', http(529)],
    ['HTTP 503 with a time', http(503, 0)],
    ['rate_limit_error (Anthropic)', told('rate_limit_error')],
    ['overloaded_error (Anthropic)', told('overloaded_error')],
    ['rate_limit_exceeded (OpenAI, PolarGrid)', told('rate_limit_exceeded')],
    ['provider_overloaded (OpenRouter)', told('provider_overloaded')],
    ['rate_limited (Infernet)', told('rate_limited')],
    ['RESOURCE_EXHAUSTED (Gemini)', told('RESOURCE_EXHAUSTED')],
    ['429 as a code', told(429)],
    ['529 as a text', told('529')],
    ['503 that says overloaded (PolarGrid)', told(503, 'The model is overloaded')],
    ['a message alone', told(undefined, 'Rate limit reached for requests')],
    ['several that were all refused', all(http(429), told(529))],
  ])('is %s', (_, error) => {
    expect(isRefusal(error)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['HTTP 503 without a time', http(503)],
    ['HTTP 500 with a time', http(500, 5)],
    ['HTTP 429 for a quota that is used up', http(429, undefined, 'insufficient_quota')],
    ['a quota that is used up, in a stream', told('insufficient_quota', 'Rate limit')],
    ['another failure that mentions one', told('server_error', 'No rate limit was involved')],
    ['503 for another reason', told(503, 'No node has room')],
    ['a lost connection', new InterruptedError('rate limit')],
    ['an error of somebody else', new Error('429 rate limit')],
    ['several of which one broke', all(http(429), new InterruptedError('lost'))],
    ['several of which none is known', all()],
    ['no error at all', undefined],
  ])('is not %s', (_, error) => {
    expect(isRefusal(error)).toBe(false);
  });

  it('is told in many words', () => {
    for (const words of ['rate-limited', 'Too many requests', 'RATE LIMIT approaching', 'throttled']) {
      expect(saysLoad(words)).toBe(true);
    }
    expect(saysLoad('The prompt was cut')).toBe(false);
  });
});
