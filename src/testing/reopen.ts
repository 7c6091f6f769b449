import { running } from '../internal/running.js';

/**
 * Undoes `shutdown`, so that the next test can begin streams again.
 *
 * @example
 * ```ts
 * await shutdown({ graceMs: 0 });
 * reopen();
 * ```
 * @throws Error while `shutdown` has not resolved and something still runs
 * @public
 */
export function reopen(): void {
  const left = running.streams.size + running.sinks.size + running.cancellations.size;
  if (running.shutdown !== undefined && left > 0) {
    throw new Error(`reopen: ${String(left)} streams, sinks or cancellations are not over; await shutdown() first`);
  }
  running.phase = 'open';
  running.attendant = undefined;
  running.shutdown = undefined;
}
