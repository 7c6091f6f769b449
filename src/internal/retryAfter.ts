import { MAX_DELAY_MS } from './require.js';

/**
 * Reads how long a server asks to wait: `retry-after-ms`, else `Retry-After` as seconds or as a date (RFC 9110, 10.2.3).
 * @param now - epoch milliseconds, for a date
 * @returns milliseconds from 0 to 2^31-1; `undefined` where the server does not say or says nonsense
 */
export function readRetryAfter(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const exact = Number.parseFloat(headers['retry-after-ms'] ?? '');
  if (Number.isFinite(exact)) return clamp(exact);
  const value = headers['retry-after']?.trim();
  if (value === undefined || value === '') return undefined;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return clamp(seconds * 1000);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : clamp(date - now);
}

function clamp(delayMs: number): number {
  return Math.min(Math.max(Math.ceil(delayMs), 0), MAX_DELAY_MS);
}
