import { isRecord } from '../protocol/errorBody.js';
import type { Cost, Usage } from '../types.js';
import { extrasOf } from './chatExtras.js';

type Fields = Readonly<Record<string, unknown>>;

const NOTHING: Fields = {};

/** A frame's usage, and what stands in it besides. */
export interface ReadUsage {
  readonly usage: Usage;
  /** See `extrasOf`. */
  readonly extras: string;
}

const USAGE_KEYS: ReadonlySet<string> = new Set([
  'prompt_tokens',
  'completion_tokens',
  'total_tokens',
  'promptTokens',
  'completionTokens',
  'totalTokens',
  'reasoning_tokens',
  'prompt_tokens_details',
  'completion_tokens_details',
  'prompt_cache_hit_tokens',
  'prompt_cache_miss_tokens', // what the hits leave of the prompt
  'cost',
  'cost_details',
]);

/**
 * Reads what a frame says was used, wherever its server puts it: `usage`, Groq's `x_groq.usage`, and the cost beside `usage`
 * (Infron) or in it (OpenRouter). A count that is absent, or no count, is unknown. Undefined where nothing is told.
 */
export function readChatUsage(frame: Fields, currency: string | undefined): ReadUsage | undefined {
  const fields = record(frame['usage']) ?? record(record(frame['x_groq'])?.['usage']);
  if (fields === undefined && frame['cost'] === undefined) return undefined;
  const used = fields ?? NOTHING;
  const prompt = record(used['prompt_tokens_details']) ?? NOTHING;
  const completion = record(used['completion_tokens_details']) ?? NOTHING;
  const counts = {
    inputTokens: number(used['prompt_tokens']) ?? number(used['promptTokens']),
    outputTokens: number(used['completion_tokens']) ?? number(used['completionTokens']),
    totalTokens: number(used['total_tokens']) ?? number(used['totalTokens']),
    reasoningTokens: number(completion['reasoning_tokens']) ?? number(used['reasoning_tokens']),
    cachedTokens: number(prompt['cached_tokens']) ?? number(used['prompt_cache_hit_tokens']),
  };
  const told = { ...known(counts), ...known({ cost: readCost(frame, used, currency) }) };
  if (Object.keys(told).length === 0) return undefined;
  return { usage: { ...told, provenance: 'reported' }, extras: extrasOf(used, USAGE_KEYS) };
}

/** Infron: numbers at the root. OpenRouter: numbers in `usage`. Perplexity: an object in `usage`. */
function readCost(frame: Fields, used: Fields, currency: string | undefined): Cost | undefined {
  const cost = frame['cost'] ?? used['cost'];
  const details = record(frame['cost_details']) ?? record(used['cost_details']) ?? NOTHING;
  const whole = record(cost) ?? NOTHING;
  // With a key of the caller's own at the upstream, the upstream's bill is not part of this one.
  const isOwnKey = used['is_byok'] === true || details['is_byok'] === true;
  const upstream = isOwnKey ? NOTHING : details;
  const told = known({
    total: number(cost) ?? number(whole['total_cost']),
    input:
      number(details['prompt_cost']) ??
      number(upstream['upstream_inference_prompt_cost']) ??
      number(whole['input_tokens_cost']),
    output:
      number(details['completion_cost']) ??
      number(upstream['upstream_inference_completions_cost']) ??
      number(whole['output_tokens_cost']),
  });
  if (Object.keys(told).length === 0) return undefined;
  return currency === undefined ? told : { ...told, currency };
}

function record(value: unknown): Fields | undefined {
  return isRecord(value) ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 ? value : undefined;
}

/** Leaves out what is undefined: the optional members of an event are absent, not undefined. */
function known<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const kept: { [K in keyof T]?: Exclude<T[K], undefined> } = {};
  for (const key of Object.keys(values) as (keyof T)[]) {
    const value = values[key];
    if (value !== undefined) kept[key] = value as Exclude<T[typeof key], undefined>; // just compared
  }
  return kept;
}
