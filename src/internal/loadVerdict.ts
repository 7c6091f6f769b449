import type { HTTPError, ProviderError } from '../errors.js';
import { hasCode } from './hasCode.js';
import { isRefusal, saysLoad } from './isRefusal.js';
import { readRetryAfter } from './retryAfter.js';
import { isRecord } from '../protocol/errorBody.js';
import { type RateBudget, readRateLimits } from '../protocol/rateLimits.js';
import type { WarningEvent } from '../types.js';

/** What a refusal, or a warning about the load, asks for. */
export interface LoadVerdict {
  /** How long the server asks to wait, where it does. */
  readonly askedMs: number | undefined;
  /** What it says of its budgets. */
  readonly budgets: readonly RateBudget[];
}

/** Reads an error; undefined where it is no refusal for load. */
export function readRefusal(error: unknown, now: number): LoadVerdict | undefined {
  if (!isRefusal(error)) return undefined;
  const headers = headersIn(error);
  // Known by its code.
  const askedMs = hasCode(error, 'ERR_HTTP') ? (error as HTTPError).retryAfterMs : undefined;
  return { askedMs: askedMs ?? readRetryAfter(headers, now), budgets: readRateLimits(headers, now) };
}

/** Reads a warning; undefined where it is not a provider's about its load. */
export function readLoadWarning({ code, message, detail }: WarningEvent, now: number): LoadVerdict | undefined {
  if (code !== 'provider-warning') return undefined;
  const said = isRecord(detail) ? detail : {};
  if (![message, said['code'], said['type']].some((words) => typeof words === 'string' && saysLoad(words))) {
    return undefined;
  }
  const headers = { 'retry-after': textOf(said['retry_after']), 'retry-after-ms': textOf(said['retry_after_ms']) };
  return { askedMs: readRetryAfter(headers, now), budgets: [] };
}

/** OpenRouter tells its headers in the body: `{"error":{"metadata":{"headers":{"X-RateLimit-Reset":"1741305600000"}}}}`. */
function headersIn(error: unknown): Readonly<Record<string, string>> {
  // Whichever of the two it is; what lacks both has no headers.
  const { body, frame = body } = error as Partial<Pick<HTTPError, 'body'> & Pick<ProviderError, 'frame'>>;
  const headers = ['error', 'metadata', 'headers'].reduce<unknown>(
    (value, name) => (isRecord(value) ? value[name] : undefined),
    frame,
  );
  if (!isRecord(headers)) return {};
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), textOf(value)]));
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
