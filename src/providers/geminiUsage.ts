import type { Usage } from '../types.js';

const COUNTS = [
  'promptTokenCount',
  'toolUsePromptTokenCount',
  'candidatesTokenCount',
  'thoughtsTokenCount',
  'cachedContentTokenCount',
  'totalTokenCount',
] as const;

/** The keys of `usageMetadata` that are read. */
export const GEMINI_USAGE_KEYS: ReadonlySet<string> = new Set(COUNTS);

/**
 * Adds what `usageMetadata` tells to what was told, since a frame may leave counts out. Google counts thoughts beside the
 * candidates and the prompts of its own tools beside the prompt: output and input are their sums, as other providers tell them.
 */
export class GeminiUsage {
  readonly #counts: Partial<Record<(typeof COUNTS)[number], number>> = {};

  /** Undefined where no count was ever told. */
  add(fields: Readonly<Record<string, unknown>>): Usage | undefined {
    const counts = this.#counts;
    for (const key of COUNTS) {
      const count = fields[key];
      if (typeof count === 'number' && count >= 0) counts[key] = count;
    }
    const told = {
      inputTokens: sum(counts.promptTokenCount, counts.toolUsePromptTokenCount),
      outputTokens: sum(counts.candidatesTokenCount, counts.thoughtsTokenCount),
      totalTokens: counts.totalTokenCount,
      reasoningTokens: counts.thoughtsTokenCount,
      cachedTokens: counts.cachedContentTokenCount,
    };
    const known = Object.entries(told).filter(([, count]) => count !== undefined);
    return known.length === 0 ? undefined : { ...Object.fromEntries(known), provenance: 'reported' };
  }
}

function sum(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined ? other : one + (other ?? 0);
}
