import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anthropicDialect } from '../../src/providers/anthropicDialect.js';
import { checkTemplates } from '../../src/testing/index.js';
import { bothWays, framesOf, type Step } from '../support/bothWays.js';
import { decodeAll } from '../support/decodeAll.js';
import { type Frames, mutatedStream, pick, type Random, randomOf } from '../support/mutatedFrames.js';
import { bodyOf } from '../support/recordings.js';
import { recordings } from '../support/shared.js';

const json = JSON.stringify;
const TYPES = ['text', 'thinking', 'tool_use', 'tool_use', 'server_tool_use', 'redacted_thinking'];

/** Frames of other kinds: blocks begin and end, and so may the message. */
function between(random: Random, text: string, count: number): object {
  const index = random(9) === 0 ? undefined : random(3);
  const block = {
    type: pick(random, TYPES),
    id: `toolu_${String(index)}`,
    name: 'look',
    text,
    thinking: text,
    input: {},
  };
  return pick<object>(random, [
    { type: 'content_block_start', index, content_block: block },
    { type: 'content_block_start', index, content_block: block },
    { type: 'content_block_start', index, content_block: { ...block, input: { q: 1 } } },
    { type: 'content_block_stop', index },
    { type: 'content_block_delta', index, delta: { type: 'signature_delta', signature: text } },
    { type: 'content_block_delta', index, delta: { type: 'citations_delta', citation: { cited_text: text } } },
    { type: 'message_delta', delta: { stop_reason: pick(random, [null, null, 'max_tokens', 'end_turn']) } },
    { type: 'message_delta', delta: {}, usage: { output_tokens: count } },
    { type: 'ping' },
    random(3) === 0 ? { type: 'message_start', message: { usage: { input_tokens: count } } } : { type: 'ping' },
    random(9) === 0 ? { type: 'message_stop' } : { type: 'content_block_x', text },
  ]);
}

type Piece = (random: Random, text: string, count: number) => object;

/** A server whose deltas are like this, and everything else in between. */
const server =
  (piece: Piece, often = 5, pad: (random: Random, data: string) => string = (_, data) => data): Frames =>
  (random, text, count) =>
    pad(random, json(random(often) === 0 ? between(random, text, count) : piece(random, text, count)));

const spaces = (random: Random): string => ' '.repeat(random(9));
const padded = (random: Random, data: string): string => `${data.slice(0, -1)}${spaces(random)}}${spaces(random)}`;
const delta = (index: unknown, piece: object, more: object = {}): object => ({
  type: 'content_block_delta',
  index,
  delta: piece,
  ...more,
});

const servers: Readonly<Record<string, Frames>> = {
  'text and thinking with padding': server(
    (random, text) =>
      random(3) === 0
        ? delta(0, { type: 'thinking_delta', thinking: text })
        : delta(random(3), { type: 'text_delta', text }),
    6,
    padded,
  ),
  'text alone': server((_, text) => delta(0, { type: 'text_delta', text }), 1_000),
  'arguments of calls': server((random, text) =>
    delta(random(4) === 0 ? random(3) : 0, { type: 'input_json_delta', partial_json: text }),
  ),
  'arguments without an index': server((random, text) =>
    delta(random(3) === 0 ? null : undefined, { type: 'input_json_delta', partial_json: text }),
  ),
  'indices of every kind': server((random, text) =>
    delta(pick<unknown>(random, [0, 0, 1, -1, 1.5, 2 ** 53, null, '0']), {
      type: pick(random, ['input_json_delta', 'text_delta']),
      text,
      partial_json: text,
    }),
  ),
  'more beside the text now and then': server((random, text) =>
    delta(
      0,
      { type: 'text_delta', text, ...(random(4) === 0 && { citations: [text] }), thinking: null },
      random(4) === 0 ? { note: text } : { note: '' },
    ),
  ),
  'the text of one kind in a delta of another': server((random, text) =>
    delta(0, {
      type: pick(random, ['text_delta', 'thinking_delta', 'input_json_delta', 'text', 'signature_delta']),
      text,
      thinking: pick(random, [text, '', null]),
      partial_json: text,
      signature: text,
    }),
  ),
  'types in the names of events alone': (random, text, count) =>
    json(random(6) === 0 ? between(random, text, count) : { index: 0, delta: { type: 'text_delta', text } }),
};

function stepsOf(chosen: readonly Frames[], seed: number): readonly Step[] {
  const random = randomOf(seed + 1);
  const names = random(4) === 0 ? ['content_block_delta', 'content_block_start'] : ['message'];
  const wire = mutatedStream(chosen, seed, 60).map((event) =>
    event.type === 'event' && event.event === 'message' ? { ...event, event: pick(random, names) } : event,
  );
  const begun = framesOf([
    json({ type: 'content_block_start', index: 0, content_block: { type: 'tool_use', id: 'a' } }),
  ]);
  return [
    ...(random(2) === 0 ? begun : []),
    ...wire.flatMap((event): readonly Step[] => (random(50) === 0 ? ['reattached', event] : [event])),
    pick(random, ['end', 'cut', 'release']),
  ];
}

describe('templates of Anthropic frames', () => {
  it.each(Object.entries(servers))('do what the full path does, of a server of %s', (_, chosen) => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        bothWays(anthropicDialect(seed % 4 === 0 ? { maxToolCallChars: 40 } : {}), stepsOf([chosen], seed));
      }),
      { numRuns: 60 },
    );
  });

  it('do so where servers are mixed', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        bothWays(anthropicDialect(), stepsOf(Object.values(servers), seed));
      }),
      { numRuns: 100 },
    );
  });

  const begun = (index: number, type: string): string =>
    json({ type: 'content_block_start', index, content_block: { type, id: `toolu_${String(index)}`, name: 'look' } });
  const pieces = (index: number, piece: (text: string) => object): readonly string[] =>
    Array.from({ length: 20 }, (_, count) => `${json(delta(index, piece(`piece ${String(count)}`)))}  `);

  it.each([
    ['text', 'text', (text: string) => ({ type: 'text_delta', text })],
    ['thinking', 'thinking', (thinking: string) => ({ type: 'thinking_delta', thinking })],
    ['arguments', 'tool_use', (partial_json: string) => ({ type: 'input_json_delta', partial_json })],
    [
      "arguments of the provider's own calls",
      'server_tool_use',
      (partial_json: string) => ({ type: 'input_json_delta', partial_json }),
    ],
  ])('are taken by plain streams of %s, with padding', (_, type, piece) => {
    const frames = framesOf([begun(0, type), ...pieces(0, piece)], 'content_block_delta');
    expect(bothWays(anthropicDialect(), frames).templated).toBe(19);
  });

  it('are taken by the blocks that follow, whatever their index is', () => {
    const blocks = Array.from({ length: 10 }, (_, index) => [
      begun(index, 'tool_use'),
      ...pieces(index, (partial_json) => ({ type: 'input_json_delta', partial_json })),
    ]);
    expect(bothWays(anthropicDialect(), framesOf(blocks.flat())).templated).toBe(199);
  });

  it('are not taken by signatures', () => {
    const frames = framesOf(pieces(0, (signature) => ({ type: 'signature_delta', signature })));
    expect(bothWays(anthropicDialect(), frames).templated).toBe(0);
  });

  it('say that content was delivered: another beginning is a restart', () => {
    const start = json({ type: 'message_start', message: {} });
    const [one = '', other = '', ...rest] = pieces(0, (text) => ({ type: 'text_delta', text }));
    const decoded = decodeAll(
      checkTemplates(anthropicDialect()),
      [one, start, other, start, ...rest, start].map((data) => `data: ${data}\n\n`).join(''),
    );
    expect(decoded.events.filter(({ type }) => type === 'restart')).toHaveLength(3);
  });

  describe.each(recordings('anthropic'))('of $file', (recording) => {
    const body = bodyOf(recording);

    it('change nothing, however its bytes are cut', () => {
      const full = decodeAll(anthropicDialect(), body);
      expect(decodeAll(checkTemplates(anthropicDialect()), body)).toStrictEqual(full);
      fc.assert(
        fc.property(fc.uniqueArray(fc.nat(body.length), { maxLength: 40 }), (offsets) => {
          const cuts = offsets.toSorted((one, other) => one - other);
          expect(decodeAll(checkTemplates(anthropicDialect()), body, { cuts }).events).toStrictEqual(full.events);
        }),
        { numRuns: 5 },
      );
    });
  });
});
