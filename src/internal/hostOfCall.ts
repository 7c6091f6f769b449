import type { Call } from '../protocol/call.js';

/** Whom a call asks, in a word: its provider, and the host of its first request. */
export function hostOfCall({ provider, submit, stream, workId = '' }: Call): string {
  return `${provider} ${new URL((submit ?? stream(workId)).url).host}`;
}
