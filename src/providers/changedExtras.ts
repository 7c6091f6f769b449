import { isBlank } from './chatExtras.js';

/** Keys that are remembered, and the longest value of each; what is beyond is told each time. Chosen. */
const MAX_KEYS = 64;
const MAX_CHARS = 262_144;

/** What differs from what was told under the same key. Servers repeat much of what stands beside the text on each frame. */
export class ChangedExtras {
  readonly #known: ReadonlySet<string>;
  readonly #each: ReadonlySet<string>;
  readonly #told: Map<string, string> = new Map();

  /**
   * @param known - keys that are read elsewhere
   * @param each - keys whose values are increments: they are told each time, equal or not
   */
  constructor(known: ReadonlySet<string>, each: ReadonlySet<string> = new Set()) {
    this.#known = known;
    this.#each = each;
  }

  /** The members to tell; undefined where there are none. */
  of(record: object): Readonly<Record<string, unknown>> | undefined {
    let changed: [string, unknown][] | undefined;
    for (const [key, value] of Object.entries(record)) {
      if (this.#known.has(key) || isBlank(value) || this.#isTold(key, value)) continue;
      (changed ??= []).push([key, value]);
    }
    return changed && Object.fromEntries(changed);
  }

  #isTold(key: string, value: unknown): boolean {
    if (this.#each.has(key)) return false;
    const text = JSON.stringify(value);
    const last = this.#told.get(key);
    if (last === text) return true;
    if (text.length > MAX_CHARS) this.#told.delete(key);
    else if (last !== undefined || this.#told.size < MAX_KEYS) this.#told.set(key, text);
    return false;
  }
}
