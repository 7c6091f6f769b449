import type { ItemDraft } from './responsesItem.js';

/** Items that were not found in the whole output yet. */
export class OpenItems {
  readonly #open: Set<ItemDraft>;
  readonly #byType: Map<string, ItemDraft[]> = new Map();

  constructor(items: readonly ItemDraft[]) {
    this.#open = new Set(items);
    for (const item of items.toReversed()) {
      const alike = this.#byType.get(item.type);
      if (alike === undefined) this.#byType.set(item.type, [item]);
      else alike.push(item);
    }
  }

  /** The first candidate that can be it. */
  take(type: string, candidates: readonly (ItemDraft | undefined)[]): ItemDraft | undefined {
    const found = candidates.find((item) => item !== undefined && this.#open.has(item) && item.type === type);
    if (found !== undefined) this.#open.delete(found);
    return found;
  }

  /** The first one of this kind that is left. */
  next(type: string): ItemDraft | undefined {
    const alike = this.#byType.get(type) ?? [];
    for (let item = alike.pop(); item !== undefined; item = alike.pop()) {
      if (this.#open.delete(item)) return item;
    }
    return undefined;
  }
}
