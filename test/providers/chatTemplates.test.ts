import * as fc from 'fast-check';
import { from } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { decode } from '../../src/operators/decode.js';
import { LimitError } from '../../src/errors.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { Dialect } from '../../src/protocol/dialect.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import type { WireEvent } from '../../src/types.js';
import { bothWays, expectSame, framesOf, type Step, tell } from '../support/bothWays.js';
import { bytesOf, cutAt } from '../support/chunks.js';
import { checkTemplates } from '../../src/testing/index.js';
import { chatServers, type Frames, mutatedStream, pick, type Random, randomOf } from '../support/mutatedFrames.js';
import { recorded, recordings } from '../support/shared.js';

const dialects: readonly Dialect[] = [
  chatDialect(),
  chatDialect({ inlineThinking: true }),
  chatDialect({ choices: 2 }),
  chatDialect({ currency: 'USD', maxToolCallChars: 30 }),
];
const servers = Object.values(chatServers);
const seed = fc.integer({ min: 0, max: 2 ** 31 });

/** A mutated stream that is interrupted, goes on over a new connection, and ends. */
function stepsOf(random: Random, wire: readonly WireEvent[]): readonly Step[] {
  const at = random(wire.length);
  const between = pick<readonly Step[]>(random, [
    [],
    [],
    ['reattached'],
    ['release', 'reattached'],
    ['cut', 'reattached'],
  ]);
  return [...wire.slice(0, at), ...between, ...wire.slice(at), pick(random, ['end', 'cut', 'release'])];
}

describe('the chat dialect decodes mutated frames the same, with templates and without', () => {
  const runs = (of: readonly Frames[], numRuns: number): number => {
    let templated = 0;
    fc.assert(
      fc.property(seed, (each) => {
        const random = randomOf(each);
        templated += bothWays(pick(random, dialects), stepsOf(random, mutatedStream(of, each, 40))).templated;
      }),
      { numRuns },
    );
    return templated;
  };

  it('of all servers, two of them at once', () => {
    expect(runs(servers, 200)).toBeGreaterThan(0);
  });

  /** Servers none of whose frames brings nothing but text, or that are longer than a template. */
  const never = ['vLLM with both reasonings', 'longer than a template'];
  it.each(Object.keys(chatServers))('of %s', (name) => {
    const frames = chatServers[name];
    if (frames === undefined) throw new Error(`No server is named ${name}`);
    const templated = runs([frames], 15);
    if (!never.includes(name)) expect(templated).toBeGreaterThan(0);
  });
});

/** A stream's events as bytes, framed in any way that the standard allows. */
function bodyOf(wire: readonly WireEvent[], random: Random): string {
  const ends = pick(random, [['\n'], ['\n'], ['\n'], ['\r\n'], ['\r'], ['\n', '\r\n', '\r']]);
  const colon = pick(random, [[': '], [': '], [':'], [': ', ':', ':  ']]);
  const rare = pick(random, [1, 1, 12]);
  const line = (field: string, value: string): string => field + pick(random, colon) + value + pick(random, ends);
  const body = wire.map((event) => {
    if (event.type !== 'event') return `: ping${pick(random, ends)}`;
    const lines = event.data.split(/\r\n|\r|\n/).map((value) => line('data', value));
    if (event.event !== 'message') lines.splice(random(8) === 0 ? lines.length : 0, 0, line('event', event.event));
    if (random(12) < rare - 1) {
      const others = [
        line('id', String(random(99))),
        line('retry', '5'),
        ': hi\n',
        line('event', ''),
        line('strange', 'x'),
      ];
      lines.splice(random(lines.length + 1), 0, pick(random, others));
    }
    // Now and then no blank line, so that two events become one, or several.
    const blanks = random(40) === 0 ? random(3) * 2 : 1;
    return lines.join('') + Array.from({ length: blanks }, () => pick(random, ends)).join('');
  });
  return (random(9) === 0 ? '\ufeff' : '') + body.join('');
}

function read(dialect: Dialect, chunks: readonly Uint8Array[], maxEventBytes: number | undefined): readonly unknown[] {
  const seen: unknown[] = [];
  from(chunks)
    .pipe(parseSSE({ maxEventBytes }), decode(dialect, { onMalformed: 'skip' }))
    .subscribe({
      next: (event) => seen.push(event),
      error: (error: unknown) => seen.push(error),
      complete: () => seen.push('complete'),
    });
  return seen;
}

function withoutTemplates(dialect: Dialect): Dialect {
  return { ...dialect, decoder: () => dialect.decoder({ templates: false }) };
}

describe('a body of the chat family', () => {
  it('tells the same with templates and without, however it is framed and cut', () => {
    fc.assert(
      fc.property(seed, (each) => {
        const random = randomOf(each);
        const bytes = bytesOf(bodyOf(mutatedStream(servers.slice(0, -1), each, 60), random));
        // Other bytes: mostly no UTF-8 at all.
        for (let times = pick(random, [0, 0, 0, 9]); times > 0; times -= 1) bytes[random(bytes.length)] = random(256);
        const cuts = Array.from({ length: pick(random, [0, 3, 60]) }, () => random(bytes.length + 1));
        const chunks = cutAt(
          bytes,
          cuts.sort((one, other) => one - other),
        );
        const limit = random(4) === 0 ? 150 + random(300) : undefined;
        const dialect = pick(random, dialects);
        const [fast, full] = [dialect, withoutTemplates(dialect)].map((of) => read(of, chunks, limit));
        expectSame(fast, full, () => JSON.stringify(chunks.map((chunk) => Buffer.from(chunk).toString())));
      }),
      { numRuns: 150 },
    );
  });

  it('tells where it is as the wire says, whatever decodes its frames', () => {
    const frame = (id: string, text: string): string =>
      `${id}data: ${JSON.stringify({ choices: [{ delta: { content: text } }] })}\n\n`;
    const body = [
      frame('', 'a'),
      frame('', 'b'),
      frame('id: 7\n', 'c'),
      frame('', 'd'),
      frame('id\n', 'e'),
      frame('', 'f'),
    ];
    for (const cut of [[], [...bytesOf(body.join('')).keys()]]) {
      const ids: string[] = [];
      const inner = chatDialect();
      const dialect: Dialect = {
        ...inner,
        decoder: () => {
          const decoder = inner.decoder();
          return {
            push: (event, emit) => {
              if (event.type === 'event') ids.push(event.id);
              return decoder.push(event, emit);
            },
            end: (intact, emit) => decoder.end(intact, emit),
            submitted: (answer, emit) => {
              decoder.submitted(answer, emit);
            },
            shortcut: decoder.shortcut,
          };
        },
      };
      read(dialect, cutAt(bytesOf(body.join('')), cut), undefined);
      expect(ids).toStrictEqual(['', '', '7', '7', '', '']);
    }
  });
});

const content = (text: string, more = ''): string =>
  `{"choices":[{"delta":{"content":${JSON.stringify(text)}}}]${more}}`;

const call = (piece: string, more = ''): string => `{"choices":[{"delta":{"tool_calls":[{${piece}}]}}]${more}}`;

describe('a template of the chat dialect', () => {
  const share = (data: readonly string[], dialect: Dialect = chatDialect()): number =>
    bothWays(dialect, framesOf(data)).templated;
  const times = (count: number, data: (at: number) => string): readonly string[] =>
    Array.from({ length: count }, (_, at) => data(at));

  it.each<[string, (at: number) => string, number]>([
    ['text', (at) => content(`t${String(at)}`), 9],
    ['ids and times that change', (at) => content('t', `,"id":"${String(at)}","created":${String(at)},"model":"m"`), 8],
    ['padding', (at) => content('t', `,"obfuscation":"${'x'.repeat(at)}"`), 8],
    ['thinking', (at) => `{"choices":[{"delta":{"reasoning_content":"t${String(at)}"}}]}`, 9],
    ['thinking under its other name', (at) => `{"choices":[{"delta":{"reasoning":"t${String(at)}"}}]}`, 9],
    ['legacy text', (at) => `{"choices":[{"text":"t${String(at)}","index":0}]}`, 9],
    [
      'filter results that stay the same',
      (at) => `{"choices":[{"delta":{"content":"t${String(at)}"},"content_filter_results":{"hate":1}}]}`,
      9,
    ],
    ['citations that stay the same', (at) => content(String(at), ',"citations":["a"]'), 9],
    ['several choices, in turns', (at) => `{"choices":[{"index":${String(at % 2)},"delta":{"content":"t"}}]}`, 8],
    ['usage on every frame', (at) => content('t', `,"usage":{"completion_tokens":${String(at)}}`), 9],
    ['usage that stays the same', () => content('t', ',"usage":{"completion_tokens":5}'), 9],
    ['usage that nobody reads', (at) => content('t', `,"usage":{"prompt_cache_miss_tokens":${String(at)}}`), 8],
    ['usage with more in it', (at) => content('t', `,"usage":{"completion_tokens":${String(at)},"tier":"a"}`), 9],
    ['usage with more in it that changes', (at) => content('t', `,"usage":{"tier":${String(at)}}`), 0],
    [
      'details of usage that nobody reads',
      (at) => content('t', `,"usage":{"prompt_tokens_details":{"cached_tokens":1,"audio_tokens":${String(at)}}}`),
      8,
    ],
    [
      'a cost beside the usage',
      (at) =>
        content('t', `,"usage":{"completion_tokens":1},"cost":${String(at / 8)},"cost_details":{"prompt_cost":0}`),
      9,
    ],
    [
      'a cost in the usage',
      (at) => content('t', `,"usage":{"cost":0.5,"cost_details":{"completion_cost":${String(at * 1e-9)}}}`),
      9,
    ],
    [
      'a whole message beside the delta, and a cost in parts',
      (at) =>
        `{"choices":[{"message":{"content":"${'t'.repeat(at)}"},"delta":{"content":"t"}}],"usage":{"cost":{"total_cost":${String(at)}}}}`,
      8,
    ],
    ['usage of Groq', (at) => content('t', `,"x_groq":{"usage":{"completion_tokens":${String(at)}}}`), 0],
    ['pieces of a tool call', (at) => call(`"index":0,"function":{"arguments":"${String(at)}"}`), 9],
    ['pieces of a tool call without an index', (at) => call(`"function":{"arguments":"${String(at)}"}`), 9],
    ['pieces of a tool call that repeat its id', () => call('"id":"a","function":{"name":"f","arguments":"1"}'), 9],
    ['pieces of two tool calls, in turns', (at) => call(`"index":${String(at % 2)},"function":{"arguments":"1"}`), 8],
    ['an id made anew for each piece', (at) => call(`"index":0,"id":"${String(at)}","function":{"arguments":"1"}`), 8],
    ['tool calls told apart by their ids', (at) => call(`"id":"${String(at)}","function":{"arguments":"1"}`), 0],
    ['the input of a custom tool', () => call('"index":0,"custom":{"input":"1"}'), 9],
    [
      'pieces of a tool call and usage',
      (at) => call('"index":0,"function":{"arguments":"1"}', `,"usage":{"completion_tokens":${String(at)}}`),
      9,
    ],
    [
      'pieces of two tool calls in one frame',
      () => call('"function":{"arguments":"1"}},{"function":{"arguments":"2"}'),
      0,
    ],
    ['a text of Mistral', () => '{"choices":[{"delta":{"content":[{"type":"text","text":"t"}]}}]}', 9],
    [
      'thinking of Mistral',
      () => '{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]}]}}]}',
      9,
    ],
    ['two texts in one frame', () => '{"choices":[{"delta":{"content":"t"}},{"index":1,"delta":{"content":"u"}}]}', 0],
    ['text and thinking at once', () => '{"choices":[{"delta":{"content":"t","reasoning":"u"}}]}', 0],
    ['log probabilities', (at) => `{"choices":[{"delta":{"content":"t"},"logprobs":{"content":[${String(at)}]}}]}`, 0],
    ['the finish', () => '{"choices":[{"delta":{"content":"t"},"finish_reason":"stop"}]}', 0],
  ])('is of frames with %s, or not', (_, data, templated) => {
    expect(share(times(10, data))).toBe(templated);
  });

  it('leaves to the parser what may be a tag', () => {
    const texts = ['a', 'b', 'a < b', '<thi', 'nk>', 'c', 'd', '</think>', 'e', 'f', '<', 'g'];
    const frames = texts.map((text) => content(text));
    expect(share(frames, chatDialect({ inlineThinking: true }))).toBe(5);
    expect(share(frames)).toBe(11);
  });

  it('tells citations again that changed and changed back', () => {
    const frames = times(12, (at) => content('t', `,"citations":["${String(at % 6 < 4 ? 1 : 2)}"]`));
    expect(share(frames)).toBeGreaterThan(0);
  });

  it('tells filter results again that changed and changed back', () => {
    const frames = times(12, (at) =>
      content('t').replace('"delta"', `"content_filter_results":{"hate":${String(at % 6 < 4 ? 1 : 2)}},"delta"`),
    );
    expect(share(frames)).toBeGreaterThan(0);
  });

  it('takes an end back when its choice goes on, and proves it when it is told again', () => {
    const stop = '{"choices":[{"delta":{},"finish_reason":"stop"}]}';
    const frames = framesOf([content('a'), content('b'), stop, content('c'), stop, content('d'), '[DONE]']);
    expect(bothWays(chatDialect(), frames)).toStrictEqual({ frames: 7, templated: 3 });
    expect(bothWays(chatDialect({ choices: 2 }), [...frames, 'end'])).toStrictEqual({ frames: 7, templated: 3 });
  });

  it('notes that text came: a whole message after it is told as extra', () => {
    const whole = '{"choices":[{"message":{"content":"ab"}}]}';
    bothWays(chatDialect(), framesOf([content('a'), content('b'), whole, content('c'), whole]));
  });

  it('reads frames between tool calls', () => {
    const piece = (text: string): string => call(`"index":0,"id":"i","function":{"name":"f","arguments":${text}}`);
    const end = '{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}';
    const frames = [content('a'), piece('"["'), content('b'), piece('"1"'), content('c'), piece('"]"'), end, '[DONE]'];
    expect(share(frames)).toBe(4);
  });

  it('leaves to the parser the piece with which a call begins', () => {
    const piece = (index: number, text: string): string =>
      call(`"index":${String(index)},"id":"i${String(index)}","function":{"name":"f","arguments":"${text}"}`);
    const frames = [piece(0, '['), piece(0, '1'), piece(1, '['), piece(0, ']'), piece(1, ']'), piece(2, '1')];
    expect(share(frames)).toBe(3);
  });

  it('begins a call anew after the choice has ended, whatever its index', () => {
    const piece = call('"index":0,"id":"i","function":{"name":"f","arguments":"1"}');
    const end = '{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}';
    expect(share([piece, piece, end, piece, piece, end, '[DONE]'])).toBe(2);
  });

  it('finds a call by its index once it has one', () => {
    const [named, indexed, bare] = ['"id":"a",', '"index":3,"id":"a",', '"index":3,'].map((key) =>
      call(`${key}"function":{"arguments":"1"}`),
    );
    const last = call('"function":{"arguments":"1"}');
    const other = call('"index":4,"id":"a","function":{"arguments":"2"}');
    const all = [named, named, indexed, indexed, bare, bare, other, bare, last, last, named];
    expect(share(all.map(String))).toBeGreaterThan(3);
  });

  it.each([12, 13])('holds no more of a tool call than it may, of %i characters', (max) => {
    const frames = framesOf(times(13, () => call('"index":0,"function":{"arguments":"1"}')));
    const decoder = chatDialect({ maxToolCallChars: max }).decoder();
    const results = frames.map((frame) => tell(decoder, frame));
    expect(results.map(({ error }) => error instanceof LimitError).indexOf(true)).toBe(max === 12 ? 12 : -1);
    bothWays(chatDialect({ maxToolCallChars: max }), frames);
  });

  it('tells usage after the text beside it, and again when it changed back', () => {
    const frame = (count: number): string => content('t', `,"usage":{"completion_tokens":${String(count)}}`);
    const decoder = chatDialect().decoder();
    const told = framesOf([1, 1, 2, 2, 1].map(frame)).map((each) => tell(decoder, each).events.map(({ type }) => type));
    expect(told).toStrictEqual([['text', 'usage'], ['text'], ['text', 'usage'], ['text'], ['text', 'usage']]);
    expect(decoder.templated).toBe(4);
  });

  it('leaves no usage out that comes without text in between', () => {
    const frame = (count: number): string => content('t', `,"usage":{"completion_tokens":${String(count)}}`);
    const alone = (count: number): string => `{"choices":[],"usage":{"completion_tokens":${String(count)}}}`;
    expect(share([frame(1), frame(2), alone(2), alone(3), frame(3), frame(2), content('u'), frame(2)])).toBe(4);
  });

  it('hands on what stands in usage besides, when it changes', () => {
    const frame = (at: number, tier: string): string =>
      content('t', `,"usage":{"completion_tokens":${String(at)},"tier":"${tier}"}`);
    const tiers = ['a', 'a', 'b', 'b', 'b', 'a', 'a', 'b'];
    const decoder = chatDialect().decoder();
    const raws = framesOf(tiers.map((tier, at) => frame(at, tier))).map((each) =>
      tell(decoder, each).events.some(({ type }) => type === 'raw'),
    );
    expect(raws).toStrictEqual([true, false, true, false, false, true, false, true]);
    expect(share(tiers.map((tier, at) => frame(at, tier)))).toBeGreaterThan(2);
  });

  it.each(recordings('chat', 'completion'))('reads $file as without templates', (recording) => {
    const bytes = recorded(recording);
    for (const dialect of dialects) {
      const fast = read(dialect, [bytes], undefined);
      expectSame(fast, read(withoutTemplates(dialect), [bytes], undefined), () => recording.file);
      expect(read(checkTemplates(dialect), [bytes], undefined)).toHaveLength(fast.length);
    }
  });

  it.each([
    ['perplexity/sonar-citations-big-crlf.sse', 180],
    ['mistral/magistral-thinking.sse', 145],
    ['openai/chat-parallel-tools.sse', 12],
    ['groq/thinking-long.sse', 980],
  ])('reads most frames of %s', (file, least) => {
    const recording = recordings('chat').find((each) => each.file === file);
    if (recording === undefined) return; // the folder is not beside the project
    const wire: WireEvent[] = [];
    createSSEParser().push(recorded(recording), (event) => wire.push(event));
    expect(bothWays(chatDialect(), wire).templated).toBeGreaterThanOrEqual(least);
  });
});
