import type { Usage } from '../../index.js';

/** What a run may use up. */
export interface BudgetLimits {
  /** In the currency of each provider: of several currencies each by itself. */
  readonly maxCost?: number | undefined;
  /** Of questions and answers together. */
  readonly maxTokens?: number | undefined;
}

/** Adds up what the answers of a run have used. What a provider does not tell cannot be counted. */
export class Budget {
  readonly #limits: BudgetLimits;
  readonly #cost: Map<string, number> = new Map();
  #tokens = 0;

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  /** @returns why no more may be asked, where that is so */
  spend({ cost, inputTokens, outputTokens, totalTokens }: Usage): string | undefined {
    const { maxCost, maxTokens } = this.#limits;
    this.#tokens += totalTokens ?? (inputTokens ?? 0) + (outputTokens ?? 0);
    if (maxTokens !== undefined && this.#tokens >= maxTokens) {
      return `${String(this.#tokens)} tokens are used, of --max-tokens ${String(maxTokens)}`;
    }
    if (cost?.total === undefined) return undefined;
    const currency = cost.currency ?? '';
    const spent = (this.#cost.get(currency) ?? 0) + cost.total;
    this.#cost.set(currency, spent);
    if (maxCost === undefined || spent < maxCost) return undefined;
    return `${String(Number(spent.toPrecision(6)))} ${currency} are spent, of --max-cost ${String(maxCost)}`.replace(
      '  ',
      ' ',
    );
  }
}
