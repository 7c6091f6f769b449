import type { TransportFailure } from '../io.js';
import { parserFailure } from './parserFailure.js';

/** What Node's `fetch` says in its cause, in the words of its undici; elsewhere there are no words for it. */
export function fetchFailure(error: unknown): TransportFailure {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  const isBrokenCoding = cause instanceof Error && 'code' in cause && cause.code === 'Z_DATA_ERROR';
  return parserFailure(cause) ?? (isBrokenCoding ? 'protocol' : 'lost');
}
