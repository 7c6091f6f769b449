import type { WireEvent } from '../../src/types.js';

/** Whole numbers from 0, the same for the same seed. */
export type Random = (below: number) => number;

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function pick<T>(random: Random, from: readonly T[]): T {
  if (from.length === 0) throw new RangeError('There is nothing to pick from');
  return from[random(from.length)] as T; // one of those that there are
}

/** Texts that are awkward in JSON, in tags, in paths; and ordinary ones. */
const TEXTS: readonly string[] = [
  'Hel',
  'lo wor',
  'ld',
  ' a longer piece of text than the others',
  ' ',
  '\n\n',
  '"',
  '\\',
  '\\"',
  '\\u0041',
  '"}]}',
  '{"choices":[{"delta":{"content":"x"}}]}',
  '🌊',
  '\ud83c',
  '\udf0a',
  'žluťoučký',
  '\u2028\u2029',
  '\ufeff',
  '\u0000\u001f\u007f',
  '<',
  '<think>',
  '</think>',
  'a <b> c',
  '[DONE]',
  'null',
  '0',
  '',
];

/** One piece of text; sometimes what the last one was, so that a value stands in a frame more than once. */
export function someText(random: Random): string {
  const text = pick(random, TEXTS);
  return random(4) === 0 ? text + pick(random, TEXTS) : text;
}

/** The string in JSON, with more of it escaped than is needed. */
function escaped(text: string, random: Random): string {
  const style = random(4);
  if (style < 2) return JSON.stringify(text);
  const unit = (code: number): string => {
    const hex = code.toString(16).padStart(4, '0');
    return `\\u${style === 2 ? hex : hex.toUpperCase()}`;
  };
  return `"${Array.from({ length: text.length }, (_, at) => unit(text.charCodeAt(at))).join('')}"`;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]|\s+|./gsu;

function tokensOf(data: string): string[] {
  return data.match(TOKEN) ?? [];
}

const NUMBERS: readonly string[] = [
  '0',
  '-0',
  '7',
  '-5',
  '1.0',
  '1.',
  '.5',
  '1e3',
  '1E+2',
  '1e400',
  '007',
  '00',
  '123456789012345',
  '1234567890123456',
  '9007199254740993',
  '5 5',
];
const STRINGS: readonly string[] = [
  '""',
  '"x"',
  '"\\u0041\\n\\/"',
  '"\\ud83d\\ude00"',
  '"\\ud83d"',
  '"\\u12"',
  '"\\x41"',
  '"\\"',
  '"\\\\"',
  '"\\\n"',
  '"a\nb"',
  '"a\tb"',
  '"\u0000"',
  '"\u2028"',
  "'x'",
  '"stop"',
  '"error"',
];
const OTHERS: readonly string[] = ['null', 'true', '{}', '[]', '{"id":"a"}', '["x"]', '', 'nul', 'NaN'];
const CHARACTERS: readonly string[] = [
  ...'"\\{}[],:0 9-.eu/<\t\n\r',
  '\u0000',
  '\u2028',
  '\u00a0',
  '\ufeff',
  '\ud83d',
  '\udf0a',
  '\u{1f30a}',
];
const KEYS: readonly string[] = [
  '__proto__',
  'constructor',
  'a.b',
  'choices.0.delta.content',
  '0',
  '',
  'id',
  'content',
  'text',
  'created',
  'index',
  'delta',
  'role',
  'usage',
  'error',
  'logprobs',
  'content_filter_results',
  'finish_reason',
  'cost',
  'completion_tokens',
  'tool_calls',
  'arguments',
  'x_groq',
];

/** What a mutation puts somewhere: `varying` is another in each frame. */
function someValue(random: Random, varying: number): string {
  switch (random(7)) {
    case 0:
      return pick(random, NUMBERS);
    case 1:
      return pick(random, STRINGS);
    case 2:
      return pick(random, OTHERS);
    case 3:
      return String(varying);
    case 4:
      return `{"id":"v${String(varying)}","content":"c"}`;
    case 5:
      return `{"":{"id":"v${String(varying)}"},"a.b":${String(varying)},"__proto__":{"content":"p"}}`;
    default:
      return `"v${String(varying)}"`;
  }
}

function places(tokens: readonly string[], is: (token: string) => boolean): readonly number[] {
  return tokens.flatMap((token, at) => (is(token) ? [at] : []));
}

const isValue = (token: string): boolean => /^["\d\-tfn]/.test(token);
const isString = (token: string): boolean => token.startsWith('"');

type Mutation = (data: string, random: Random, varying: number) => string;

function onTokens(is: (token: string) => boolean, put: (token: string, random: Random, varying: number) => string) {
  return (data: string, random: Random, varying: number): string => {
    const tokens = tokensOf(data);
    const candidates = places(tokens, is);
    if (candidates.length === 0) return data;
    const at = pick(random, candidates);
    tokens[at] = put(tokens[at] ?? '', random, varying);
    return tokens.join('');
  };
}

/** Ways to change a frame's text, in the same place for the same numbers. */
const MUTATIONS: readonly Mutation[] = [
  // one character
  (data, random) => {
    const at = random(data.length + 1);
    return data.slice(0, at) + pick(random, CHARACTERS) + data.slice(at + 1);
  },
  (data, random) => {
    const at = random(data.length + 1);
    return data.slice(0, at) + pick(random, CHARACTERS) + data.slice(at);
  },
  // a piece taken away, or the end
  (data, random) => {
    const at = random(data.length + 1);
    return data.slice(0, at) + data.slice(at + 1 + random(3));
  },
  (data, random) => data.slice(0, random(data.length + 1)),
  // two tokens swapped
  (data, random) => {
    const tokens = tokensOf(data);
    if (tokens.length === 0) return data;
    const [one, other] = [random(tokens.length), random(tokens.length)];
    [tokens[one], tokens[other]] = [tokens[other] ?? '', tokens[one] ?? ''];
    return tokens.join('');
  },
  // white space between all tokens, one, or around
  (data, random) => {
    const space = pick(random, [' ', '\t', '\n', '\r\n ', '  ', '']);
    return tokensOf(data)
      .map((token) => (/^\s/.test(token) ? '' : token + space))
      .join('');
  },
  onTokens(
    () => true,
    (token, random) => token + pick(random, [' ', '\t\t', '\n', '\r', '\u00a0', '\u2028', '\v']),
  ),
  (data, random) => pick(random, [' ', '\n', '\ufeff', '']) + data + pick(random, [' ', '\t', '\r', '\u00a0']),
  // values
  onTokens(isValue, (_, random, varying) => someValue(random, varying)),
  onTokens(
    (token) => /^[\d-]/.test(token),
    (_, random) => pick(random, NUMBERS),
  ),
  onTokens(isString, (_, random) => pick(random, STRINGS)),
  onTokens(isString, (token, random) => {
    try {
      return escaped(JSON.parse(token) as string, random); // a key or a value
    } catch {
      return token; // one that an earlier mutation broke
    }
  }),
  // a member more, before or behind the others of any object: a known key again, or a strange one
  onTokens(
    (token) => token === '{',
    (_, random, varying) => `{${JSON.stringify(pick(random, KEYS))}:${someValue(random, varying)},`,
  ),
  onTokens(
    (token) => token === '}',
    (_, random, varying) => `,${JSON.stringify(pick(random, KEYS))}:${someValue(random, varying)}}`,
  ),
  // an item more
  onTokens(
    (token) => token === '[',
    (_, random, varying) => `[${someValue(random, varying)},`,
  ),
  // one member told twice, with another value
  (data, random, varying) => {
    const members = [...data.matchAll(/("(?:[^"\\]|\\.)*")\s*:\s*("(?:[^"\\]|\\.)*"|\d+|null)/g)];
    if (members.length === 0) return data;
    const { 0: member, 1: key = '""', index } = pick(random, members);
    const again = `${key}:${someValue(random, varying)}`;
    const both = random(2) === 0 ? `${member},${again}` : `${again},${member}`;
    return data.slice(0, index) + both + data.slice(index + member.length);
  },
  // the keys in another order
  (data) => {
    try {
      const turned = (value: unknown): unknown => {
        if (Array.isArray(value)) return value.map(turned);
        if (typeof value !== 'object' || value === null) return value;
        return Object.fromEntries(
          Object.entries(value)
            .reverse()
            .map(([key, each]) => [key, turned(each)]),
        );
      };
      return JSON.stringify(turned(JSON.parse(data)));
    } catch {
      return data; // no JSON after an earlier mutation
    }
  },
  // no frame at all
  (_, random) =>
    pick(random, ['[DONE]', ' [DONE]', '', ' ', '[]', '"x"', '0', 'null', '{}', '{"error":{"message":"m"}}']),
];

export function mutate(data: string, seed: number, varying: number): string {
  const random = randomOf(seed);
  return pick(random, MUTATIONS)(data, random, varying);
}

/** The frames of one server: every call makes the next one. */
export type Frames = (random: Random, text: string, count: number) => string;

const json = JSON.stringify;
const chunk = (choice: object, more: object = {}): object => ({
  id: 'chatcmpl-A1',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: 'm-1',
  ...more,
  choices: [choice],
});
const content = (text: string): object => ({ index: 0, delta: { content: text }, finish_reason: null });

const counts = (count: number): object => ({ prompt_tokens: 9, completion_tokens: count, total_tokens: 9 + count });
const call = (each: object, more: object = {}): object => ({ index: 0, delta: { tool_calls: [each] }, ...more });

/** A piece of one of several calls, told apart by index or id, or by neither; most are like the one before. */
function piece(random: Random, text: string, count: number): object {
  const style = random(8) === 0 ? random : randomOf(Math.floor(count / 12) % 7);
  const index = pick<unknown>(style, [0, 0, 1, 2, -1, 0.5, null, undefined]);
  const id = pick<unknown>(style, ['a', 'b', `r${String(random(99))}`, '', null, undefined, undefined, undefined]);
  const name = pick<unknown>(style, ['f', 'longer', '', null, undefined, undefined, undefined]);
  const each = style(6) === 0 ? { custom: { name, input: text } } : { function: { name, arguments: text } };
  const whole = { index, id, ...(style(5) === 0 && { type: 'function' }), ...each };
  const usual = (): object => call(whole);
  return pick<() => object>(random(8) === 0 ? random : style, [
    usual,
    usual,
    usual,
    usual,
    () => ({ index: 0, delta: { toolCalls: [whole], tool_calls: pick<unknown>(style, [null, []]) } }),
    () => ({ index: 1, delta: { tool_calls: [whole] } }),
    () => ({ index: 0, delta: { tool_calls: [whole, whole] } }),
    () => call(whole, { finish_reason: pick(random, ['tool_calls', 'length', null]) }),
    () => ({ index: 0, delta: { function_call: { name: 'f', arguments: text } } }),
    () => call({ ...whole, note: text }),
  ])();
}

/** Frames of the chat family, as its servers write them. */
export const chatServers: Readonly<Record<string, Frames>> = {
  'OpenAI with padding': (random, text) =>
    json({ ...chunk(content(text), { system_fingerprint: null }), obfuscation: 'x'.repeat(random(9)) }),
  'Azure with filter results': (random, text) => {
    const rare = random(12) === 0 ? 'low' : 'safe';
    return json(
      chunk({
        ...content(text),
        content_filter_results: { hate: { filtered: false, severity: rare } },
        content_filter_offsets: random(9) === 0 ? { check_offset: random(99) } : {},
      }),
    );
  },
  'vLLM with reasoning': (random, text, count) =>
    json(
      chunk(
        {
          index: 0,
          delta: random(2) === 0 ? { reasoning_content: text } : { reasoning: text, content: null },
          stop_reason: null,
        },
        { created: 1_700_000_000 + count },
      ),
    ),
  'vLLM with both reasonings': (_, text) =>
    json(chunk({ index: 0, delta: { reasoning: text, reasoning_content: text } })),
  'Mistral with padding': (random, text, count) =>
    json({ ...chunk(content(text)), p: 'abcdefghij'.slice(0, count % 10) }),
  'Mistral with parts': (random, text) =>
    json(chunk({ index: 0, delta: { content: random(2) === 0 ? text : [{ type: 'text', text }] } })),
  'legacy text': (random, text) =>
    json({ id: `c${String(random(3))}`, object: 'text_completion', choices: [{ index: 0, text, logprobs: null }] }),
  'three choices': (random, text) => json(chunk({ ...content(text), index: random(3) })),
  'choices without an index': (random, text) =>
    json({ choices: random(3) === 0 ? [{ delta: {} }, { delta: { content: text } }] : [{ delta: { content: text } }] }),
  'usage on every frame': (_, text, count) =>
    json({ ...chunk(content(text)), usage: { prompt_tokens: 9, completion_tokens: count } }),
  'usage on some frames': (random, text, count) =>
    json({ ...chunk(content(text)), usage: random(3) === 0 ? { completion_tokens: count } : null }),
  'usage of every kind': (random, text, count) =>
    json({
      ...chunk(content(text)),
      usage: pick<unknown>(random, [
        counts(count),
        counts(count),
        { ...counts(count), completion_tokens: pick<unknown>(random, [-1, 1.5, String(count), null, 2 ** 60]) },
        { ...counts(count), reasoning_tokens: count, prompt_cache_hit_tokens: 1, prompt_cache_miss_tokens: count },
        { promptTokens: 9, completionTokens: count, totalTokens: 9 + count },
        { ...counts(count), is_byok: false, service_tier: pick(random, ['a', 'b']) },
        { note: random(2) },
        {},
        [],
        5,
        null,
      ]),
    }),
  'counts that stay the same for a while': (_, text, count) =>
    json({ ...chunk(content(text)), usage: counts(Math.floor(count / 5)) }),
  'usage with details that nobody reads': (random, text, count) =>
    json({
      ...chunk(content(text)),
      usage: {
        ...counts(count),
        prompt_tokens_details: { cached_tokens: Math.floor(count / 9), audio_tokens: random(3), text: text },
        completion_tokens_details:
          random(9) === 0 ? null : { reasoning_tokens: count, 'a.b': count >> 3, more: { x: count >> 3 } },
      },
    }),
  'Infron, with the cost beside the usage': (random, text, count) =>
    json({
      ...chunk(content(text)),
      usage: random(4) === 0 ? null : counts(count),
      cost: pick<unknown>(random, [count / 1000, count / 1000, count * 1e-9, 0, null, -1]),
      ...(random(5) > 0 && {
        cost_details: { prompt_cost: 1e-5, completion_cost: count / 2000, upstream_inference_cost: count / 9 },
      }),
    }),
  'OpenRouter, with the cost in the usage': (random, text, count) =>
    json({
      ...chunk(content(text)),
      usage: {
        ...counts(count),
        cost: count / 1000,
        is_byok: random(6) === 0,
        cost_details: { upstream_inference_prompt_cost: 0.25, upstream_inference_completions_cost: count / 4000 },
      },
    }),
  'Perplexity, with all that came in each frame': (random, text, count) =>
    json({
      ...chunk(
        {
          index: 0,
          message: { role: 'assistant', content: 'so far '.repeat(count) },
          delta: random(9) === 0 ? {} : { role: 'assistant', content: text },
        },
        { search_results: [{ title: String(Math.floor(count / 30)) }] },
      ),
      usage: {
        ...counts(count),
        search_context_size: 'low',
        cost: { input_tokens_cost: 0, output_tokens_cost: count / 1000, request_cost: 0.005, total_cost: count / 500 },
      },
    }),
  'Groq, with usage of its own': (random, text, count) =>
    json({
      ...chunk(content(text)),
      ...(random(3) > 0 && { x_groq: { id: 'r', usage: { completion_tokens: Math.floor(count / 9) } } }),
      ...(random(3) === 0 && { cost: count }),
    }),
  'tool calls in pieces': (random, text, count) =>
    json({ ...chunk(piece(random, text, count)), ...(random(9) === 0 && { usage: counts(count) }) }),
  'tool calls with usage on every frame': (random, text, count) =>
    json({ ...chunk(random(4) === 0 ? content(text) : piece(random, text, count)), usage: counts(count) }),
  'one tool call': (random, text, count) =>
    json(
      chunk(
        call(
          count % 15 === 0
            ? { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }
            : { index: 0, function: { arguments: random(20) === 0 ? '' : text } },
          random(30) === 0 ? { finish_reason: pick(random, ['length', 'tool_calls']) } : {},
        ),
      ),
    ),
  'Mistral with thinking in parts': (random, text) =>
    json(
      chunk({
        index: 0,
        delta: {
          content: pick<unknown>(random, [
            [{ type: 'thinking', thinking: [{ type: 'text', text }] }],
            [{ type: 'thinking', thinking: [{ type: 'text', text }] }],
            [{ type: 'text', text }],
            [{ type: 'thinking', thinking: random(2) === 0 ? text : [text, { text }] }],
            [{ type: 'text', text, note: text }],
            [{ type: 'text', text: { text } }, text],
          ]),
        },
      }),
    ),
  'tool calls in between': (random, text) =>
    json(
      chunk(
        random(3) > 0
          ? content(text)
          : { index: 0, delta: { tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '{' } }] } },
      ),
    ),
  'refusals in between': (random, text) =>
    json(chunk(random(3) > 0 ? content(text) : { index: 0, delta: { content: null, refusal: text } })),
  'the role and the finish in between': (random, text) =>
    json(
      chunk(
        pick(random, [
          content(text),
          content(text),
          content(text),
          { index: 0, delta: { role: 'assistant', content: text } },
          { index: 0, delta: {}, finish_reason: 'stop' },
          { index: 0, delta: { content: text }, finish_reason: 'length' },
        ]),
      ),
    ),
  'what the text is, elsewhere too': (random, text) =>
    json({
      ...chunk(content(text)),
      model: text,
      id: text,
      ...(random(3) === 0 && { note: text }),
      system_fingerprint: `{"content":${json(text)}}`,
    }),
  'a whole message beside the delta': (random, text) =>
    json(chunk({ ...content(text), message: random(2) === 0 ? { role: 'assistant', content: text } : null })),
  'strange keys': (random, text) =>
    `{"__proto__":{"id":"p"},"a.b":{"id":${String(random(3))}},"choices":[{"delta":{"content":${json(text)},"__proto__":null}}]}`,
  'citations that change now and then': (random, text, count) =>
    json({ ...chunk(content(text)), citations: ['a', String(Math.floor(count / 4) % 2)] }),
  'written by hand': (random, text) => json(chunk(content(text)), undefined, pick(random, ['\t', 2, 1])),
  'spaces of any length': (random, text) =>
    tokensOf(json(chunk(content(text))))
      .map((token) => token + (token === ':' || token === ',' ? ' \t '.slice(0, 1 + random(3)) : ''))
      .join(''),
  'any escapes': (random, text) => `{"choices":[{"delta":{"content":${escaped(text, random)}}}]}`,
  'longer than a template': (random, text) =>
    json(chunk(content(text), { system_fingerprint: 'f'.repeat(65_500 + random(3)) })),
};

/** What happens to frames from one place of a stream to another: the same change, with a value that may differ each time. */
interface Change {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
}

/** A stream of events as it may come from one server or two at once, most of it sane and some of it broken. */
export function mutatedStream(servers: readonly Frames[], seed: number, length: number): readonly WireEvent[] {
  const random = randomOf(seed);
  const chosen = Array.from({ length: 1 + (random(3) === 0 ? 1 : 0) }, () => pick(random, servers));
  const changes: readonly Change[] = Array.from({ length: random(3) }, () => {
    const from = random(length);
    return { seed: random(2 ** 31), from, to: from + 2 + random(8) };
  });
  const others = ['message', 'message', 'delta', 'error'];
  const names = random(6) === 0 ? others : others.slice(0, 1);
  return Array.from({ length }, (_, count): WireEvent => {
    if (random(20) === 0) return { type: 'comment', comment: 'ping' };
    let data = pick(random, chosen)(random, someText(random), count);
    for (const { seed: change, from, to } of changes)
      if (count >= from && count < to) data = mutate(data, change, count);
    for (let times = random(10) - 7; times > 0; times -= 1) data = mutate(data, random(2 ** 31), count);
    return { type: 'event', event: pick(random, names), data, id: '' };
  });
}
