import { isRecord } from '../protocol/errorBody.js';
import type { Cost, Usage, UsageEvent } from '../types.js';
import { extrasOf } from './chatExtras.js';

type Fields = Readonly<Record<string, unknown>>;

/** An object of a frame, and its path from the frame down; none is empty. */
interface Place {
  readonly fields: Fields;
  readonly path: string;
}

const NOWHERE: Place = { fields: {}, path: '' };

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

/** What numbers of a frame tell, as places in a list. */
const INPUT = 0;
const OUTPUT = 1;
const TOTAL = 2;
const REASONING = 3;
const CACHED = 4;
const COST = 5;
const INPUT_COST = 6;
const OUTPUT_COST = 7;
/** No number of a frame is below 0. */
const UNKNOWN = -1;
const NOTHING_KNOWN: readonly number[] = Array.from({ length: OUTPUT_COST + 1 }, () => UNKNOWN);

type PlaceName = 'used' | 'prompt' | 'completion' | 'bill' | 'cost' | 'details' | 'upstream';

/** Where the numbers stand. Of several that tell the same the first counts. */
const NUMBERS: readonly (readonly [tells: number, place: PlaceName, key: string])[] = [
  [INPUT, 'used', 'prompt_tokens'],
  [INPUT, 'used', 'promptTokens'],
  [OUTPUT, 'used', 'completion_tokens'],
  [OUTPUT, 'used', 'completionTokens'],
  [TOTAL, 'used', 'total_tokens'],
  [TOTAL, 'used', 'totalTokens'],
  [REASONING, 'completion', 'reasoning_tokens'],
  [REASONING, 'used', 'reasoning_tokens'],
  [CACHED, 'prompt', 'cached_tokens'],
  [CACHED, 'used', 'prompt_cache_hit_tokens'],
  [COST, 'bill', 'cost'],
  [COST, 'cost', 'total_cost'],
  [INPUT_COST, 'details', 'prompt_cost'],
  [INPUT_COST, 'upstream', 'upstream_inference_prompt_cost'],
  [INPUT_COST, 'cost', 'input_tokens_cost'],
  [OUTPUT_COST, 'details', 'completion_cost'],
  [OUTPUT_COST, 'upstream', 'upstream_inference_completions_cost'],
  [OUTPUT_COST, 'cost', 'output_tokens_cost'],
];

/** The numbers with which a frame says what was used. */
export interface UsageNumbers {
  /** What each of them tells. */
  readonly tells: readonly number[];
  readonly values: readonly number[];
  /** Their paths from the frame down. */
  readonly paths: readonly string[];
  /** What stands beside them in `usage`, see `extrasOf`. */
  readonly extras: string;
  readonly places: Readonly<Record<PlaceName, Place>>;
  /** True where one of them tells a cost: these have fractions. */
  readonly hasCost: boolean;
  /** True where they stand in something that is told as it is when it changes: Groq's `x_groq`. */
  readonly isInExtras: boolean;
}

/**
 * Finds what a frame says was used, wherever its server puts it: `usage`, Groq's `x_groq.usage`, and the cost beside `usage`
 * (Infron) or in it (OpenRouter, Perplexity). Undefined where there is no such thing.
 */
export function usageNumbersOf(frame: Fields): UsageNumbers | undefined {
  const places = placesOf(frame);
  if (places === undefined) return undefined;
  const tells: number[] = [];
  const values: number[] = [];
  const paths: string[] = [];
  for (const [told, name, key] of NUMBERS) {
    const { fields, path } = places[name];
    const value = fields[key];
    if (typeof value !== 'number') continue;
    tells.push(told);
    values.push(value);
    paths.push(below(path, key));
  }
  const { fields, path } = places.used;
  return {
    tells,
    values,
    paths,
    places,
    extras: extrasOf(fields, USAGE_KEYS),
    hasCost: tells.some((told) => told >= COST),
    isInExtras: path.startsWith('x_groq.'),
  };
}

/** The paths of what stands among the numbers and is read by no one. */
export function unreadUsageOf({ places, paths }: UsageNumbers): readonly string[] {
  const unread =
    'prompt_cache_miss_tokens' in places.used.fields ? [below(places.used.path, 'prompt_cache_miss_tokens')] : [];
  for (const { fields, path } of [places.prompt, places.completion, places.cost, places.details]) {
    for (const key of Object.keys(fields)) {
      const place = below(path, key);
      if (!paths.includes(place)) unread.push(place);
    }
  }
  return unread;
}

/**
 * Reads what a frame says was used. A count that is absent, or no count, is unknown. Undefined where nothing is told.
 */
export function readChatUsage(frame: Fields, currency: string | undefined): ReadUsage | undefined {
  const numbers = usageNumbersOf(frame);
  const event = numbers && new ChatUsage(currency).news(numbers.tells, numbers.values);
  if (event === undefined) return undefined;
  const { type: _, ...usage } = event;
  return { usage, extras: numbers?.extras ?? '' };
}

/** What one stream has said was used. */
export class ChatUsage {
  readonly #currency: string | undefined;
  #told: number[] = [...NOTHING_KNOWN];
  #now: number[] = [...NOTHING_KNOWN];

  constructor(currency: string | undefined) {
    this.#currency = currency;
  }

  /** What was used now; undefined where it was told last, or nothing is known. */
  news(tells: readonly number[], values: readonly (number | string)[]): UsageEvent | undefined {
    const now = this.#now;
    const told = this.#told;
    now.fill(UNKNOWN);
    let isKnown = false;
    for (let at = 0; at < tells.length; at++) {
      const place = tells[at] ?? 0;
      const value = values[at];
      if (typeof value !== 'number' || !(value >= 0) || now[place] !== UNKNOWN) continue;
      now[place] = value;
      isKnown = true;
    }
    if (!isKnown || isSame(now, told)) return undefined;
    this.#told = now;
    this.#now = told;
    return usageEvent(now, this.#currency);
  }
}

function isSame(one: readonly number[], other: readonly number[]): boolean {
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Member by member: some servers tell it with every frame, and what is unknown is absent. */
function usageEvent(now: readonly number[], currency: string | undefined): UsageEvent {
  const [
    inputTokens = UNKNOWN,
    outputTokens = UNKNOWN,
    totalTokens = UNKNOWN,
    reasoningTokens = UNKNOWN,
    cachedTokens = UNKNOWN,
  ] = now;
  const event: Writable<UsageEvent> = { type: 'usage', provenance: 'reported' };
  if (inputTokens !== UNKNOWN) event.inputTokens = inputTokens;
  if (outputTokens !== UNKNOWN) event.outputTokens = outputTokens;
  if (totalTokens !== UNKNOWN) event.totalTokens = totalTokens;
  if (reasoningTokens !== UNKNOWN) event.reasoningTokens = reasoningTokens;
  if (cachedTokens !== UNKNOWN) event.cachedTokens = cachedTokens;
  const cost = costOf(now, currency);
  if (cost !== undefined) event.cost = cost;
  return event;
}

function costOf(now: readonly number[], currency: string | undefined): Cost | undefined {
  const { [COST]: total = UNKNOWN, [INPUT_COST]: input = UNKNOWN, [OUTPUT_COST]: output = UNKNOWN } = now;
  if (total === UNKNOWN && input === UNKNOWN && output === UNKNOWN) return undefined;
  const cost: Writable<Cost> = {};
  if (total !== UNKNOWN) cost.total = total;
  if (input !== UNKNOWN) cost.input = input;
  if (output !== UNKNOWN) cost.output = output;
  if (currency !== undefined) cost.currency = currency;
  return cost;
}

/** Infron: costs are numbers at the root. OpenRouter: numbers in `usage`. Perplexity: an object in `usage`. */
function placesOf(frame: Fields): Readonly<Record<PlaceName, Place>> | undefined {
  const root: Place = { fields: frame, path: '' };
  const used = inside(root, 'usage') ?? inside(inside(root, 'x_groq'), 'usage');
  if (used === undefined && frame['cost'] === undefined) return undefined;
  const bill = frame['cost'] === undefined || frame['cost'] === null ? used : root;
  const details = inside(root, 'cost_details') ?? inside(used, 'cost_details');
  // With a key of the caller's own at the upstream, the upstream's bill is not part of this one.
  const isOwnKey = used?.fields['is_byok'] === true || details?.fields['is_byok'] === true;
  return {
    used: used ?? NOWHERE,
    prompt: inside(used, 'prompt_tokens_details') ?? NOWHERE,
    completion: inside(used, 'completion_tokens_details') ?? NOWHERE,
    bill: bill ?? NOWHERE,
    cost: inside(bill, 'cost') ?? NOWHERE,
    details: details ?? NOWHERE,
    upstream: (isOwnKey ? undefined : details) ?? NOWHERE,
  };
}

function inside(place: Place | undefined, key: string): Place | undefined {
  const fields = place?.fields[key];
  return place !== undefined && isRecord(fields) ? { fields, path: below(place.path, key) } : undefined;
}

function below(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
