import type { Usage, UsageEvent } from '../types.js';

/** The counts of `usageMetadata` that are read. */
export const GEMINI_COUNTS = [
  'promptTokenCount',
  'toolUsePromptTokenCount',
  'candidatesTokenCount',
  'thoughtsTokenCount',
  'cachedContentTokenCount',
  'totalTokenCount',
] as const;

type GeminiCount = (typeof GEMINI_COUNTS)[number];

/** Whether a count is told by such a value. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && value >= 0;
}

/**
 * Adds what `usageMetadata` tells to what was told, since a frame may leave counts out. Google counts thoughts beside the
 * candidates and the prompts of its own tools beside the prompt: output and input are their sums, as other providers tell them.
 */
export class GeminiUsage {
  readonly #counts: Partial<Record<GeminiCount, number>> = {};
  #told: { readonly [Key in keyof Usage]?: Usage[Key] | undefined } = {};

  set(key: GeminiCount, value: unknown): void {
    if (isCount(value)) this.#counts[key] = value;
  }

  /** What is known now; undefined where that was told, or no count ever was. */
  news(): UsageEvent | undefined {
    const counts = this.#counts;
    const inputTokens = sum(counts.promptTokenCount, counts.toolUsePromptTokenCount);
    const outputTokens = sum(counts.candidatesTokenCount, counts.thoughtsTokenCount);
    const totalTokens = counts.totalTokenCount;
    const reasoningTokens = counts.thoughtsTokenCount;
    const cachedTokens = counts.cachedContentTokenCount;
    const told = this.#told;
    if (
      inputTokens === told.inputTokens &&
      outputTokens === told.outputTokens &&
      totalTokens === told.totalTokens &&
      reasoningTokens === told.reasoningTokens &&
      cachedTokens === told.cachedTokens
    ) {
      return undefined;
    }
    this.#told = { inputTokens, outputTokens, totalTokens, reasoningTokens, cachedTokens };
    // Member by member: many servers tell it with each frame, and making it of a list costs more than reading the frame.
    const usage: Writable<UsageEvent> = { type: 'usage', provenance: 'reported' };
    if (inputTokens !== undefined) usage.inputTokens = inputTokens;
    if (outputTokens !== undefined) usage.outputTokens = outputTokens;
    if (totalTokens !== undefined) usage.totalTokens = totalTokens;
    if (reasoningTokens !== undefined) usage.reasoningTokens = reasoningTokens;
    if (cachedTokens !== undefined) usage.cachedTokens = cachedTokens;
    return usage;
  }
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

function sum(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined ? other : one + (other ?? 0);
}
