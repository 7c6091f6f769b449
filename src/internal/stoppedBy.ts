import { AbortError } from '../errors.js';

/** The error of a call that its signal stopped. */
export function stoppedBy(signal: AbortSignal): AbortError {
  return new AbortError('The call was stopped by its signal', { cause: signal.reason });
}
