import type { FinishReason } from '../types.js';

/** Google's `FinishReason`s; all others end the answer as `other`. */
const REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['STOP', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['SAFETY', 'content-filter'],
  ['RECITATION', 'content-filter'],
  ['BLOCKLIST', 'content-filter'],
  ['PROHIBITED_CONTENT', 'content-filter'],
  ['SPII', 'content-filter'],
  ['MODEL_ARMOR', 'content-filter'],
  ['IMAGE_SAFETY', 'content-filter'],
  ['IMAGE_PROHIBITED_CONTENT', 'content-filter'],
  ['IMAGE_RECITATION', 'content-filter'],
]);

/** The model wrote what the server could not read or allow: the answer is over, and something of it is missing. */
const BROKEN: ReadonlySet<string> = new Set([
  'MALFORMED_FUNCTION_CALL',
  'MALFORMED_RESPONSE',
  'UNEXPECTED_TOOL_CALL',
  'TOO_MANY_TOOL_CALLS',
  'MISSING_THOUGHT_SIGNATURE',
]);

/** What a finish reason means; a word nobody knows is `other`. */
export function geminiFinishReason(word: string, called: boolean): FinishReason {
  const reason = REASONS.get(word) ?? 'other';
  return reason === 'stop' && called ? 'tool-calls' : reason;
}

/** The word for an end; undefined for one that says that there is none yet. */
export function finishWord(word: string | null | undefined): string | undefined {
  return !word || word === 'FINISH_REASON_UNSPECIFIED' ? undefined : word;
}

/** Whether the answer ended because the model wrote something that could not be read or allowed. */
export function isBrokenFinish(word: string): boolean {
  return BROKEN.has(word);
}

/** The word for a refused prompt; undefined where it was not. */
export function blockWord(word: string | null | undefined): string | undefined {
  return !word || word === 'BLOCK_REASON_UNSPECIFIED' ? undefined : word;
}
