import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Dialect } from '../../src/protocol/dialect.js';
import { responsesDialect } from '../../src/providers/responsesDialect.js';
import { responsesFormat } from '../../src/providers/responsesFormat.js';
import { checkTemplates } from '../../src/testing/index.js';
import { bothWays, framesOf, type Step, tell } from '../support/bothWays.js';
import { decodeAll } from '../support/decodeAll.js';
import { type Frames, mutatedStream, pick, type Random, randomOf } from '../support/mutatedFrames.js';
import { bodyOf } from '../support/recordings.js';
import { recordings } from '../support/shared.js';

const json = JSON.stringify;
const DELTAS = [
  'output_text.delta',
  'output_text.delta',
  'refusal.delta',
  'reasoning_summary_text.delta',
  'reasoning_text.delta',
  'reasoning_summary.delta',
  'function_call_arguments.delta',
  'custom_tool_call_input.delta',
  'audio.delta',
];
const ITEMS = ['message', 'reasoning', 'function_call', 'custom_tool_call', 'mcp_call', 'web_search_call'];

/** Frames of other kinds, which change what the next pieces belong to, or how they are read. */
function between(random: Random, text: string, count: number): object {
  const at = random(3);
  const item = {
    id: random(4) === 0 ? undefined : `it_${String(at)}`,
    type: pick(random, ITEMS),
    ...(random(2) === 0 && { call_id: `call_${String(at)}`, name: 'look', arguments: '{"q":1}', input: text }),
    content: random(2) === 0 ? [{ type: 'output_text', text }] : [],
  };
  const response = { id: `resp_${String(random(20) === 0 ? 2 : 1)}`, status: 'in_progress', usage: null, output: [] };
  return pick<object>(random, [
    { type: 'response.output_item.added', output_index: at, item },
    { type: 'response.output_item.added', output_index: at, item },
    { type: 'response.output_item.added', output_index: 0, item },
    { type: 'response.output_item.done', output_index: at, item },
    { type: 'response.output_text.done', output_index: at, item_id: item.id, content_index: 0, text },
    { type: 'response.function_call_arguments.done', output_index: at, item_id: item.id, arguments: text },
    { type: 'response.created', response },
    { type: 'response.in_progress', response: { ...response, usage: { input_tokens: count } } },
    { type: 'response.web_search_call.searching', output_index: at },
    random(9) === 0
      ? { type: 'response.completed', response: { ...response, output: [item] } }
      : { type: 'response.x' },
  ]);
}

type Piece = (random: Random, text: string, count: number) => object;

/** A server whose pieces are like this, and everything else in between. */
const server =
  (piece: Piece, often = 5): Frames =>
  (random, text, count) =>
    json({
      ...(random(often) === 0 ? between(random, text, count) : piece(random, text, count)),
      sequence_number: count,
    });

const place = (random: Random): object => {
  const at = random(9) === 0 ? random(3) : 0;
  return { item_id: `it_${String(at)}`, output_index: at, content_index: 0 };
};

const servers: Readonly<Record<string, Frames>> = {
  'OpenAI with padding': server((random, delta) => ({
    type: `response.${pick(random, DELTAS)}`,
    ...place(random),
    delta,
    logprobs: [],
    obfuscation: 'x'.repeat(random(9)),
  })),
  'one kind of text, with nothing between': server(
    (_, delta) => ({ type: 'response.output_text.delta', item_id: 'it_0', output_index: 0, content_index: 0, delta }),
    1_000,
  ),
  'arguments alone': server((random, delta) => ({
    type: `response.${random(5) === 0 ? 'custom_tool_call_input' : 'function_call_arguments'}.delta`,
    ...place(random),
    delta,
  })),
  'log probabilities now and then': server((random, delta) => ({
    type: 'response.output_text.delta',
    ...place(random),
    delta,
    logprobs: random(4) === 0 ? [{ token: delta }] : [],
  })),
  'another id of the item in each frame': server((random, delta, count) => ({
    type: random(3) === 0 ? 'response.function_call_arguments.delta' : 'response.output_text.delta',
    item_id: pick(random, [`enc_${String(count)}`, `enc_${String(count)}`, `it_${String(random(3))}`, '']),
    output_index: random(20) === 0 ? 1 : 0,
    delta,
  })),
  'ids without places': server((random, delta) => ({
    type: 'response.output_text.delta',
    item_id: pick(random, ['it_0', 'it_1', null]),
    summary_index: random(2),
    content_index: random(2),
    delta,
  })),
  'places without ids': server((random, delta) => ({
    type: `response.${pick(random, DELTAS)}`,
    output_index: random(2),
    delta,
  })),
  'more beside a piece now and then': server((random, delta) => ({
    type: `response.${pick(random, ['function_call_arguments.delta', 'output_text.delta'])}`,
    output_index: 0,
    delta,
    note: random(3) === 0 ? 'more' : '',
  })),
  'no places at all': server((random, delta) => ({ type: `response.${pick(random, DELTAS)}`, delta })),
  'numbers of every kind': (random, delta, count) =>
    json({
      type: 'response.output_text.delta',
      delta,
      sequence_number: pick<unknown>(random, [count, count, count - 5, 0, -1, 1.5, 2 ** 53, String(count), null]),
    }),
  'a response beside each piece': server((random, delta) => ({
    type: 'response.output_text.delta',
    delta,
    response: pick<unknown>(random, [{}, { id: '' }, { id: null }, '', { id: 'resp_9' }]),
    response_id: `resp_${String(random(3))}`,
  })),
  'types in the names of events alone': (random, delta, count) =>
    json(random(9) === 0 ? between(random, delta, count) : { delta, sequence_number: count, item_id: 'it_0' }),
};

const dialects: readonly (() => Dialect)[] = [
  () => responsesDialect(),
  () => responsesDialect({ maxToolCallChars: 40 }),
  () => responsesFormat({}, { id: 'resp_1', after: undefined }),
  () => responsesFormat({}, { id: 'resp_1', after: 12 }),
];

/** A stream with what befalls connections in between. */
function stepsOf(chosen: readonly Frames[], seed: number): readonly Step[] {
  const random = randomOf(seed + 1);
  const names =
    random(4) === 0 ? ['response.output_text.delta', 'response.function_call_arguments.delta'] : ['message'];
  const wire = mutatedStream(chosen, seed, 60).map((event) =>
    event.type === 'event' && event.event === 'message' ? { ...event, event: pick(random, names) } : event,
  );
  return [
    ...wire.flatMap((event): readonly Step[] => (random(40) === 0 ? ['reattached', event] : [event])),
    pick(random, ['end', 'cut', 'release']),
  ];
}

describe('templates of responses frames', () => {
  it.each(Object.entries(servers))('do what the full path does, of a server of %s', (_, chosen) => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        bothWays(pick(randomOf(seed), dialects)(), stepsOf([chosen], seed));
      }),
      { numRuns: 60 },
    );
  });

  it('do so where servers are mixed', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        bothWays(pick(randomOf(seed), dialects)(), stepsOf(Object.values(servers), seed));
      }),
      { numRuns: 100 },
    );
  });

  const numbered = (frame: object): readonly string[] =>
    Array.from({ length: 20 }, (_, count) =>
      json({ ...frame, delta: `piece ${String(count)}`, sequence_number: count, obfuscation: 'x'.repeat(count % 7) }),
    );
  const place0 = { item_id: 'it_0', output_index: 0, content_index: 0 };
  const call = { id: 'it_0', type: 'function_call', call_id: 'call_1', name: 'look' };

  it.each([
    ['text', [], { type: 'response.output_text.delta', ...place0, logprobs: [] }],
    ['refusals', [], { type: 'response.refusal.delta', ...place0 }],
    ['reasoning', [], { type: 'response.reasoning_text.delta', ...place0 }],
    [
      'summaries',
      [],
      { type: 'response.reasoning_summary_text.delta', item_id: 'it_0', output_index: 0, summary_index: 0 },
    ],
    ['arguments', [call], { type: 'response.function_call_arguments.delta', item_id: 'it_0', output_index: 0 }],
    [
      'input of custom tools',
      [{ ...call, type: 'custom_tool_call' }],
      { type: 'response.custom_tool_call_input.delta' },
    ],
  ])('are taken by plain streams of %s', (_, items, frame) => {
    const begun = items.map((item) => json({ type: 'response.output_item.added', output_index: 0, item }));
    const { templated } = bothWays(responsesDialect(), framesOf([...begun, ...numbered(frame)]));
    // The second frame shows that the padding changes.
    expect(templated).toBeGreaterThanOrEqual(18);
  });

  it('are taken where the id of the item is another one in each frame', () => {
    const added = json({ type: 'response.output_item.added', output_index: 0, item: { id: 'it_0', type: 'message' } });
    const frames = Array.from({ length: 20 }, (_, count) =>
      json({ type: 'response.output_text.delta', item_id: `enc_${String(count)}`, output_index: 0, delta: 'more ' }),
    );
    expect(bothWays(responsesDialect(), framesOf([added, ...frames])).templated).toBe(19);
  });

  it('note the number of each event, and leave out what another connection tells again', () => {
    const frames = framesOf([
      json({ type: 'response.created', response: { id: 'resp_1' }, sequence_number: 0 }),
      ...Array.from({ length: 9 }, (_, count) =>
        json({ type: 'response.output_text.delta', output_index: 0, delta: 'a', sequence_number: count + 1 }),
      ),
    ]);
    const decoder = responsesDialect().decoder();
    for (const frame of frames.slice(0, 6)) tell(decoder, frame);
    expect(decoder.place).toStrictEqual({ id: 'resp_1', cursor: '5' });
    expect(decoder.templated).toBe(4);
    tell(decoder, 'reattached');
    const told = frames.slice(2).flatMap((frame) => tell(decoder, frame).events.map(({ type }) => type));
    expect(told).toStrictEqual([...Array<string>(4).fill('heartbeat'), ...Array<string>(4).fill('text')]);
    expect(decoder.place).toStrictEqual({ id: 'resp_1', cursor: '9' });
    expect(decoder.templated).toBe(7);
  });

  describe.each(recordings('responses'))('of $file', (recording) => {
    const body = bodyOf(recording);

    it('change nothing, however its bytes are cut', () => {
      const full = decodeAll(responsesDialect(), body);
      expect(decodeAll(checkTemplates(responsesDialect()), body)).toStrictEqual(full);
      fc.assert(
        fc.property(fc.uniqueArray(fc.nat(body.length), { maxLength: 40 }), (offsets) => {
          const cuts = offsets.toSorted((one, other) => one - other);
          expect(decodeAll(checkTemplates(responsesDialect()), body, { cuts }).events).toStrictEqual(full.events);
        }),
        { numRuns: 5 },
      );
    });
  });
});
