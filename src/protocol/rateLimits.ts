/** What a budget counts: requests, or tokens of both kinds or of one. */
export type RateUnit = 'requests' | 'tokens' | 'inputTokens' | 'outputTokens';

/** What is left of a rate limit, as an answer's headers tell it. */
export interface RateBudget {
  /** Tells the budgets of one server apart: its headers' name without the word that says what each holds. */
  readonly name: string;
  readonly unit: RateUnit;
  /** What is left, the request that was answered already taken off. A whole number. */
  readonly remaining: number;
  /** What there is when nothing was used; absent where the server does not say. */
  readonly limit: number | undefined;
  /** Milliseconds until there is more, counted from the answer. At least 1. */
  readonly resetMs: number;
}

type Headers = Readonly<Record<string, string>>;
type Word = 'limit' | 'remaining' | 'reset';
type Words = Readonly<Partial<Record<Word, string | undefined>>>;

/** Budgets of one answer; no server in sight tells more than six, and each is remembered. */
const MAX_BUDGETS = 16;

/**
 * Reads what an answer's headers say of its server's rate limits: how much is left, and until when.
 *
 * | headers | reset | sent by |
 * | --- | --- | --- |
 * | `x-ratelimit-{limit,remaining,reset}` | Unix seconds | Infernet, inference.sh, many APIs besides |
 * | the same | Unix milliseconds | OpenRouter |
 * | `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` | a duration, `6m0s`, `20ms` | OpenAI, Groq, xAI |
 * | the same with `-day`, `-minute`, `-per-day` | seconds; `4h17m`; Unix seconds | Cerebras; SambaNova; DigitalOcean |
 * | `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` | RFC 3339 | Anthropic |
 * | `ratelimit-{limit,remaining,reset}` | seconds | the IETF draft up to 06 |
 * | `ratelimit: limit=100, remaining=50, reset=30` | seconds | the IETF draft 07 |
 * | `ratelimit: "default";r=50;t=30` | seconds | the IETF draft from 08 on; its policies may count bytes or concurrent requests, which are left out |
 *
 * A number is a time from 10^9 on (seconds since 1970, or milliseconds from 10^11 on), and a delay in seconds below that. A time is
 * measured against the server's own clock where there is a `date`. A budget without a reset is left out: nobody could say when to go
 * on. So is nonsense: the `-1` of Azure, a limit of 0.
 * @param now - epoch milliseconds, for a time where there is no `date`
 * @see {@link https://platform.openai.com/docs/guides/rate-limits | OpenAI, rate limits in headers}
 * @see {@link https://docs.anthropic.com/en/api/rate-limits | Anthropic, response headers}
 * @see {@link https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ | RateLimit header fields for HTTP}
 * @see {@link https://inference-docs.cerebras.ai/support/rate-limits | Cerebras, rate limit headers}
 * @see {@link https://docs.digitalocean.com/products/inference/reference/quota-specific-response-headers/ | DigitalOcean, quota headers}
 */
export function readRateLimits(headers: Headers, now: number): readonly RateBudget[] {
  const serverNow = readDate(headers['date'] ?? '') ?? now;
  const fields: Map<string, { readonly scope: string } & Words> = new Map();
  const budgets: RateBudget[] = [];
  const add = (name: string, scope: string, { limit, remaining, reset }: Words): void => {
    const unit = unitOf(scope);
    const left = readNumber(remaining);
    const resetMs = readReset(reset, serverNow);
    const most = readNumber(/^\s*[\d.]+/.exec(limit ?? '')?.[0]);
    const isSaid = unit !== undefined && left !== undefined && resetMs !== undefined && resetMs > 0;
    const isNonsense = limit !== undefined && !(most !== undefined && most > 0);
    if (!isSaid || isNonsense || budgets.length >= MAX_BUDGETS) return;
    budgets.push({ name, unit, remaining: Math.floor(left), limit: most, resetMs });
  };
  for (const [header, value] of Object.entries(headers)) {
    const field = header.toLowerCase();
    if (field === 'ratelimit') readStructured(value, headers['ratelimit-policy'] ?? '', add);
    const [, prefix, rest] = /^((?:x-|anthropic-)?rate-?limit)-(.+)$/.exec(field) ?? [];
    if (prefix === undefined || rest === undefined) continue;
    const parts = rest.split('-');
    const word = parts.find(isWord);
    if (word === undefined) continue;
    parts.splice(parts.indexOf(word), 1);
    const scope = parts.join('-');
    const name = `${prefix}-${scope}`;
    fields.set(name, { scope, ...fields.get(name), [word]: value });
  }
  for (const [name, { scope, ...words }] of fields) add(name, scope, words);
  return budgets;
}

/** The IETF draft's one field: a list of policies, or of three numbers by name. */
function readStructured(
  value: string,
  policies: string,
  add: (name: string, scope: string, words: Words) => void,
): void {
  const known = new Map(listOf(policies).map(({ item, parameters }) => [item, parameters]));
  const named: Partial<Record<Word, string | undefined>> = {};
  for (const { item, parameters } of listOf(value)) {
    const [, word, number] = /^(\w+)=([\d.]+)$/.exec(item) ?? [];
    if (word !== undefined && isWord(word)) named[word] = number;
    const { qu = 'requests', q } = known.get(item) ?? {};
    if (parameters['r'] === undefined || qu !== 'requests') continue;
    const scope = /token/i.test(item) ? item : '';
    add(`ratelimit ${item}`, scope, { limit: q, remaining: parameters['r'], reset: parameters['t'] });
  }
  add('ratelimit', '', named);
}

interface Item {
  readonly item: string;
  readonly parameters: Readonly<Partial<Record<string, string>>>;
}

/** A list of RFC 9651 as far as it is needed here: what stands in quotes holds no comma and no semicolon that would count. */
function listOf(value: string): readonly Item[] {
  return (value.match(/(?:"[^"]*"?|[^",])+/g) ?? []).map((member) => {
    const [item = '', ...parameters] = (member.match(/(?:"[^"]*"?|[^";])+/g) ?? []).map((part) => part.trim());
    return {
      item: bare(item),
      parameters: Object.fromEntries(
        parameters.map((parameter) => {
          const [key = '', text = ''] = parameter.split('=', 2);
          return [key.trim(), bare(text.trim())];
        }),
      ),
    };
  });
}

function bare(text: string): string {
  return text.replace(/^"|"$/g, '');
}

function isWord(text: string): text is Word {
  return text === 'limit' || text === 'remaining' || text === 'reset';
}

/** What a budget counts, by what stands in its name; one that says nothing counts requests. */
function unitOf(scope: string): RateUnit | undefined {
  if (scope === '' || /\breq/.test(scope)) return 'requests';
  if (!scope.includes('token')) return undefined;
  if (/input|prompt/.test(scope)) return 'inputTokens';
  return /output|generated|completion/.test(scope) ? 'outputTokens' : 'tokens';
}

function readNumber(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? '';
  return /^\d{1,15}(?:\.\d+)?$/.test(trimmed) ? Number(trimmed) : undefined;
}

/** Milliseconds from `serverNow`; `undefined` for nonsense. */
function readReset(text: string | undefined, serverNow: number): number | undefined {
  const number = readNumber(text);
  if (number !== undefined) {
    if (number < 1e9) return Math.ceil(number * 1_000);
    return Math.ceil((number < 1e11 ? number * 1_000 : number) - serverNow);
  }
  const trimmed = text?.trim() ?? '';
  const at = readDate(trimmed);
  return at === undefined ? readDuration(trimmed) : Math.ceil(at - serverNow);
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A duration as Go writes it: `1h2m3.5s`. */
function readDuration(text: string): number | undefined {
  if (!/^(?:\d{1,15}(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, number, unit = ''] of text.matchAll(/([\d.]+)([^\d.]+)/g)) ms += Number(number) * (UNIT_MS[unit] ?? 0);
  // Tenths of seconds are no binary numbers: without this `2.3s` would be a millisecond more.
  return Math.ceil(ms - 1e-6);
}

/** A date that names its zone, as RFC 3339 and HTTP have it; other texts would be taken for a date as well. */
function readDate(text: string): number | undefined {
  const isDate = /^\d{4}-\d\d-\d\d[t ].*(?:z|[+-]\d\d:?\d\d)$/i.test(text) || /^[a-z]{3,9},? .*\bGMT\b/i.test(text);
  // eslint-disable-next-line no-restricted-globals -- reads a text, and no clock
  const at = isDate ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
