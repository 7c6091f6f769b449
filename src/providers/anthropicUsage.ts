import { isRecord } from '../protocol/errorBody.js';
import type { Usage } from '../types.js';
import { extrasOf } from './chatExtras.js';

type Fields = Readonly<Record<string, unknown>>;
type Counts = Partial<Record<'inputTokens' | 'outputTokens' | 'reasoningTokens' | 'cachedTokens', number>>;

const USAGE_KEYS: ReadonlySet<string> = new Set([
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'output_tokens_details',
]);
const DETAIL_KEYS: ReadonlySet<string> = new Set(['thinking_tokens']);

/** Puts together what the frames of one message say was used: each says all that it knows, and the last word on a count wins. */
export class AnthropicUsage {
  readonly #counts: Counts = {};
  #told = '';

  /** What is known now; undefined where the frame added nothing. */
  read(fields: Fields): Usage | undefined {
    const details = fields['output_tokens_details'];
    this.#set('inputTokens', fields['input_tokens']);
    this.#set('outputTokens', fields['output_tokens']);
    this.#set('cachedTokens', fields['cache_read_input_tokens']);
    if (isRecord(details)) this.#set('reasoningTokens', details['thinking_tokens']);
    const usage: Usage = { ...this.#counts, provenance: 'reported' };
    const told = JSON.stringify(usage);
    if (told === this.#told || Object.keys(this.#counts).length === 0) return undefined;
    this.#told = told;
    return usage;
  }

  /** True where the fields hold more than is read. */
  static hasMore(fields: Fields): boolean {
    const details = fields['output_tokens_details'];
    return extrasOf(fields, USAGE_KEYS) !== '' || (isRecord(details) && extrasOf(details, DETAIL_KEYS) !== '');
  }

  #set(count: keyof Counts, value: unknown): void {
    if (typeof value === 'number' && value >= 0) this.#counts[count] = value;
  }
}
