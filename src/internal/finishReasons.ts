import type { FinishReason } from '../types.js';

/** Every reason, for options that name some. */
export const FINISH_REASONS: readonly FinishReason[] = [
  'stop',
  'length',
  'content-filter',
  'tool-calls',
  'refusal',
  'other',
  'unknown',
];
