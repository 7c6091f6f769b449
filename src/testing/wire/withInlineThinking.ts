import type { WireAnswer } from './wireAnswer.js';

/**
 * The pieces of an answer whose dialect has no place for thinking: it is put before the text, between `<think>` tags.
 * Both tags are cut across pieces, as models do.
 */
export function withInlineThinking({ thinking, pieces }: WireAnswer): readonly string[] {
  if (thinking.length === 0) return pieces;
  return ['<thi', 'nk>', ...thinking, '</th', 'ink>', ...pieces];
}
