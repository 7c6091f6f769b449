import { isMillraceError } from '../errors.js';

/** How long to wait between attempts. */
export interface Backoff {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly random: () => number;
}

/**
 * The pause before another attempt: exponential with full jitter, that is, anything from 0 to a bound that doubles with each failure,
 * so that clients that failed together do not come back together.
 * @param failures - in a row, from 1
 * @param askedMs - what the server asks for: waited at least, but never longer than `maxMs`
 */
export function backoffMs(failures: number, { initialMs, maxMs, random }: Backoff, askedMs = 0): number {
  const bound = Math.min(maxMs, initialMs * 2 ** Math.min(failures - 1, 52));
  return Math.ceil(Math.max(Math.min(askedMs, maxMs), bound * random()));
}

/** How long the server that refused asks to wait. */
export function retryAfterOf(error: unknown): number | undefined {
  if (!isMillraceError(error) || error.code !== 'ERR_HTTP') return undefined;
  return (error as { readonly retryAfterMs?: number | undefined }).retryAfterMs;
}
