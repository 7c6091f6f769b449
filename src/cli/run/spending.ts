import type { Usage } from '../../index.js';

/** What several answers have taken, as far as their providers said. */
export interface Spent {
  /** A sum for each currency, in the order of their first coming. */
  readonly cost: readonly { readonly currency: string | null; readonly total: number }[];
  /** Answers whose cost nobody told. */
  readonly costUnknown: number;
  /** `null` where nobody told any. */
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly totalTokens: number | null;
  /** Answers whose tokens nobody told. */
  readonly tokensUnknown: number;
  /** Answers of which the provider told a part: they were cut. What is summed up is at least what they took. */
  readonly partial: number;
}

/** Adds up what answers take. What a provider does not say is counted as unknown, and never as zero. */
export class Spending {
  readonly #cost: Map<string | null, number> = new Map();
  #costUnknown = 0;
  #inputTokens: number | null = null;
  #outputTokens: number | null = null;
  #totalTokens: number | null = null;
  #tokensUnknown = 0;
  #partial = 0;

  add({ cost, inputTokens, outputTokens, totalTokens, provenance }: Usage): void {
    if (cost?.total === undefined) this.#costUnknown += 1;
    else {
      const currency = cost.currency ?? null;
      this.#cost.set(currency, (this.#cost.get(currency) ?? 0) + cost.total);
    }
    const total =
      totalTokens ?? (inputTokens === undefined || outputTokens === undefined ? undefined : inputTokens + outputTokens);
    this.#inputTokens = plus(this.#inputTokens, inputTokens);
    this.#outputTokens = plus(this.#outputTokens, outputTokens);
    this.#totalTokens = plus(this.#totalTokens, total);
    if (inputTokens === undefined && outputTokens === undefined && totalTokens === undefined) this.#tokensUnknown += 1;
    if (provenance === 'partial') this.#partial += 1;
  }

  read(): Spent {
    return {
      // Sums of decimal fractions, without the noise of binary ones.
      cost: [...this.#cost].map(([currency, total]) => ({ currency, total: Number(total.toPrecision(12)) })),
      costUnknown: this.#costUnknown,
      inputTokens: this.#inputTokens,
      outputTokens: this.#outputTokens,
      totalTokens: this.#totalTokens,
      tokensUnknown: this.#tokensUnknown,
      partial: this.#partial,
    };
  }
}

function plus(sum: number | null, count: number | undefined): number | null {
  return count === undefined ? sum : (sum ?? 0) + count;
}
