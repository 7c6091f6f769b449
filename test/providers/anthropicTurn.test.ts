import fc from 'fast-check';
import { from, lastValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { anthropicDialect } from '../../src/providers/anthropicDialect.js';
import { type AnthropicTurn, anthropicTurn } from '../../src/providers/anthropicTurn.js';
import type { StreamEvent } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';
import { decodeAll, frame } from '../support/decodeAll.js';

type Frame = Readonly<Record<string, unknown>>;

const start = (message: object = {}): Frame => ({ type: 'message_start', message });
const begin = (index: number, content_block: object): Frame => ({ type: 'content_block_start', index, content_block });
const delta = (index: number, piece: object): Frame => ({ type: 'content_block_delta', index, delta: piece });
const text = (index: number, piece: string): Frame => delta(index, { type: 'text_delta', text: piece });
const stop = (index: number): Frame => ({ type: 'content_block_stop', index });
const end = (stop_reason: string, more: object = {}): Frame => ({
  type: 'message_delta',
  delta: { stop_reason, ...more },
});
const over: Frame = { type: 'message_stop' };
const whole = (...frames: readonly Frame[]): readonly Frame[] => [start(), ...frames, end('end_turn'), over];
const textBlock = (index: number, ...pieces: string[]): Frame[] => [
  begin(index, { type: 'text', text: '' }),
  ...pieces.map((piece) => text(index, piece)),
  stop(index),
];
const toolBlock = (index: number, id: string, json: string, more: object = {}): Frame[] => [
  begin(index, { type: 'tool_use', id, name: 'look', input: {}, ...more }),
  delta(index, { type: 'input_json_delta', partial_json: json }),
  stop(index),
];

/** By way of `accumulate`, as a reader has it; cut streams give what came. */
async function turnOf(frames: readonly Frame[]): Promise<AnthropicTurn> {
  const dialect = anthropicDialect();
  let turn: AnthropicTurn = { role: 'assistant', content: [] };
  await lastValueFrom(
    from([bytesOf(frames.map(frame).join(''))]).pipe(parseSSE(), decode(dialect), accumulate({ dialect })),
    { defaultValue: undefined },
  ).then(
    (message) => {
      turn = message?.toRequest() ?? turn;
    },
    () => {
      turn = anthropicTurn(decodeAll(dialect, frames.map(frame).join('')).events);
    },
  );
  return turn;
}

const contentOf = async (...frames: readonly Frame[]): Promise<unknown> => (await turnOf(whole(...frames))).content;

describe('the turn of an Anthropic message', () => {
  it('has its blocks in their order', async () => {
    const turn = await turnOf(
      whole(
        begin(0, { type: 'thinking', thinking: '', signature: '' }),
        delta(0, { type: 'thinking_delta', thinking: 'Let me ' }),
        delta(0, { type: 'thinking_delta', thinking: 'think' }),
        delta(0, { type: 'signature_delta', signature: 'EqQB+/==' }),
        stop(0),
        begin(1, { type: 'redacted_thinking', data: 'b3BhcXVl' }),
        stop(1),
        ...textBlock(2, 'One', ' two'),
        ...textBlock(3, 'three'),
        ...toolBlock(4, 't1', '{"q":"é"}', { caller: { type: 'direct' } }),
        ...toolBlock(5, 't2', ''),
      ),
    );
    expect(turn).toStrictEqual({
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'Let me think', signature: 'EqQB+/==' },
        { type: 'redacted_thinking', data: 'b3BhcXVl' },
        { type: 'text', text: 'One two' },
        { type: 'text', text: 'three' },
        { type: 'tool_use', id: 't1', name: 'look', input: { q: 'é' }, caller: { type: 'direct' } },
        { type: 'tool_use', id: 't2', name: 'look', input: {} },
      ],
    });
  });

  it('has thinking that the server keeps to itself, by its signature', async () => {
    const signed = [
      begin(0, { type: 'thinking', thinking: '' }),
      delta(0, { type: 'signature_delta', signature: 's' }),
    ];
    expect(await contentOf(...signed, stop(0))).toStrictEqual([{ type: 'thinking', thinking: '', signature: 's' }]);
  });

  it('takes the signature of the start, and of several the last', async () => {
    const block = begin(0, { type: 'thinking', thinking: 'a', signature: 'first' });
    const again = delta(0, { type: 'signature_delta', signature: 'last' });
    expect(await contentOf(block)).toMatchObject([{ thinking: 'a', signature: 'first' }]);
    expect(await contentOf(block, again)).toMatchObject([{ thinking: 'a', signature: 'last' }]);
  });

  it('leaves thinking without its signature out', async () => {
    const block = begin(0, { type: 'thinking', thinking: 'a', signature: '' });
    expect(await contentOf(block, stop(0), ...textBlock(1, 'b'))).toStrictEqual([{ type: 'text', text: 'b' }]);
  });

  it('has citations at the text that they belong to', async () => {
    const citation = { type: 'web_search_result_location', url: 'https://a.example', encrypted_index: 'RW8=' };
    const cited = (index: number): Frame => delta(index, { type: 'citations_delta', citation });
    expect(
      await contentOf(
        ...textBlock(0, 'Plain '),
        begin(1, { type: 'text', text: '', citations: [] }),
        cited(1),
        text(1, 'cited'),
        cited(1),
        stop(1),
        begin(2, { type: 'text', text: '', citations: [citation] }),
        text(2, '.'),
      ),
    ).toStrictEqual([
      { type: 'text', text: 'Plain ' },
      { type: 'text', text: 'cited', citations: [citation, citation] },
      { type: 'text', text: '.', citations: [citation] },
    ]);
  });

  it('has what the provider ran, results as they came', async () => {
    const call = { type: 'server_tool_use', id: 's1', name: 'web_search', input: {} };
    const result = { type: 'web_search_tool_result', tool_use_id: 's1', content: [{ encrypted_content: 'RXVv' }] };
    const mcp = { type: 'mcp_tool_use', id: 'm1', name: 'ask', server_name: 'wiki', input: { q: 1 } };
    const told = {
      type: 'mcp_tool_result',
      tool_use_id: 'm1',
      is_error: false,
      content: [{ type: 'text', text: 'a' }],
    };
    expect(
      await contentOf(
        begin(0, call),
        delta(0, { type: 'input_json_delta', partial_json: '{"query":"x"}' }),
        stop(0),
        begin(1, result),
        stop(1),
        begin(2, mcp),
        stop(2),
        begin(3, told),
        stop(3),
      ),
    ).toStrictEqual([{ ...call, input: { query: 'x' } }, result, mcp, told]);
  });

  it('has compactions with what their deltas say, and unknown blocks unless a delta of them is not known', async () => {
    const compaction = begin(0, { type: 'compaction', content: null, encrypted_content: null });
    const summary = delta(0, { type: 'compaction_delta', content: 'So far.', encrypted_content: 'ZW5j' });
    const fallback = { type: 'fallback', from: { model: 'a' }, to: { model: 'b' } };
    expect(
      await contentOf(
        compaction,
        summary,
        stop(0),
        begin(1, fallback),
        stop(1),
        begin(2, { type: 'of_tomorrow', body: '' }),
        delta(2, { type: 'of_tomorrow_delta', body: 'x' }),
        stop(2),
      ),
    ).toStrictEqual([{ type: 'compaction', content: 'So far.', encrypted_content: 'ZW5j' }, fallback]);
  });

  it('leaves out texts that the API refuses', async () => {
    expect(await contentOf(...textBlock(0), ...textBlock(1, 'a'), ...textBlock(2, '\n\n'))).toStrictEqual([
      { type: 'text', text: 'a' },
      { type: 'text', text: '\n\n' }, // white space is taken beside other text
    ]);
    expect(await contentOf(...textBlock(0, ' \n'), ...toolBlock(1, 't1', '{}'))).toMatchObject([{ type: 'tool_use' }]);
    expect(await contentOf(...textBlock(0, ' '))).toStrictEqual([]);
  });

  it('joins what came without the frames between', async () => {
    const json = delta(1, { type: 'input_json_delta', partial_json: '{}' });
    expect(await contentOf(text(0, 'a'), text(0, 'b'), json)).toStrictEqual([{ type: 'text', text: 'ab' }]);
  });

  it('has the whole parts of an answer that was cut', async () => {
    const frames = [
      start(),
      begin(0, { type: 'thinking', thinking: 'a', signature: 's' }),
      stop(0),
      ...textBlock(1, 'b'),
      ...toolBlock(2, 't1', '{"a":1}'),
      ...toolBlock(3, 't2', '{"half'),
    ];
    const expected = [
      { type: 'thinking' },
      { type: 'text', text: 'b' },
      { type: 'tool_use', id: 't1', input: { a: 1 } },
    ];
    expect((await turnOf(frames)).content).toMatchObject(expected);
    expect((await turnOf([...frames, end('max_tokens'), over])).content).toMatchObject(expected);
  });

  it('has a call of the provider without its result only where the provider goes on with it', async () => {
    const call = begin(0, { type: 'server_tool_use', id: 's1', name: 'web_search', input: { q: 1 } });
    const frames = [start(), call, stop(0)];
    expect((await turnOf(frames)).content).toStrictEqual([]);
    expect((await turnOf([...frames, end('max_tokens'), over])).content).toStrictEqual([]);
    expect((await turnOf([...frames, end('pause_turn'), over])).content).toMatchObject([{ id: 's1' }]);
    expect((await turnOf([...frames, end('tool_use'), over])).content).toMatchObject([{ id: 's1' }]);
  });

  it('has nothing of what came before another message_start', async () => {
    const first = [start({ id: 'a' }), begin(0, { type: 'redacted_thinking', data: 'old' }), stop(0)];
    const second = whole(...textBlock(0, 'new'));
    expect((await turnOf([...first, ...second])).content).toStrictEqual([{ type: 'text', text: 'new' }]);
    expect((await turnOf([...first, ...textBlock(1, 'old'), ...second])).content).toStrictEqual([
      { type: 'text', text: 'new' },
    ]);
  });

  it('tells the container beside the message', async () => {
    const container = { id: 'container_1', expires_at: '2026-11-21T10:00:00Z' };
    const turn = await turnOf([start(), ...textBlock(0, 'a'), end('end_turn', { container }), over]);
    expect(turn.container).toBe('container_1');
    expect(JSON.parse(JSON.stringify(turn))).toStrictEqual({
      role: 'assistant',
      content: [{ type: 'text', text: 'a' }],
    });
    expect((await turnOf(whole(...textBlock(0, 'a')))).container).toBeUndefined();
  });

  it('is built of the same events again and again, and changes none of them', async () => {
    const { events } = decodeAll(
      anthropicDialect(),
      whole(...textBlock(0, 'a'), ...toolBlock(1, 't', '{}'))
        .map(frame)
        .join(''),
    );
    const before = structuredClone(events);
    const once = anthropicTurn(events);
    expect(anthropicTurn(events)).toStrictEqual(once);
    expect(events).toStrictEqual(before);
    expect(await turnOf(whole(...textBlock(0, 'a'), ...toolBlock(1, 't', '{}')))).toStrictEqual(once);
  });

  it('holds nothing that is not whole, in whatever order frames come', () => {
    const index = fc.option(fc.nat(3), { nil: undefined });
    const piece = fc.constantFrom('', ' ', 'a', '{', '{}', '"x"', 'é🐎');
    const started = fc.record({
      type: fc.constantFrom('text', 'thinking', 'tool_use', 'server_tool_use', 'compaction', 'web_search_tool_result'),
      text: piece,
      thinking: piece,
      id: fc.constantFrom('t1', 't2', ''),
      input: fc.constantFrom({}, { a: 1 }, null),
      tool_use_id: fc.constantFrom('t1', 't2'),
    });
    const change = fc.oneof(
      piece.map((said) => ({ type: 'text_delta', text: said })),
      piece.map((said) => ({ type: 'thinking_delta', thinking: said })),
      piece.map((said) => ({ type: 'input_json_delta', partial_json: said })),
      piece.map((said) => ({ type: 'signature_delta', signature: said })),
      fc.constant({ type: 'citations_delta', citation: {} }),
    );
    const anything = fc.oneof(
      { weight: 1, arbitrary: fc.constant(start()) },
      { weight: 5, arbitrary: fc.record({ type: fc.constant('content_block_start'), index, content_block: started }) },
      { weight: 9, arbitrary: fc.record({ type: fc.constant('content_block_delta'), index, delta: change }) },
      { weight: 4, arbitrary: fc.record({ type: fc.constant('content_block_stop'), index }) },
      { weight: 1, arbitrary: fc.constantFrom(end('max_tokens'), end('tool_use')) },
    );
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 30 }), fc.boolean(), (frames, isWhole) => {
        const events: StreamEvent[] = [];
        const decoder = anthropicDialect().decoder();
        for (const one of isWhole ? [...frames, over] : frames) {
          const before = events.length;
          try {
            decoder.push({ type: 'event', event: 'message', data: JSON.stringify(one), id: '' }, (event) => {
              events.push(event);
            });
            expect(events.length).toBeGreaterThan(before);
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
          }
        }
        const heard = events.slice(events.findLastIndex(({ type }) => type === 'restart') + 1);
        const said = (type: string): string =>
          heard.map((event) => (event.type === type && 'text' in event ? event.text : '')).join('');
        const { content } = anthropicTurn(events);
        const texts = content.filter(({ type }) => type === 'text').map(({ text: of }) => String(of));
        expect(texts).not.toContain('');
        expect(texts.join('')).toBe(said('text').trim() === '' ? '' : said('text'));
        for (const { type, signature, input, id } of content) {
          if (type === 'thinking') expect(signature).toMatch(/./);
          if (type === 'tool_use') expect([id, input]).not.toContain(undefined);
        }
        const calls = heard.filter(({ type }) => type === 'tool-call');
        const mine = calls.filter((event) => !('providerExecuted' in event));
        expect(content.filter(({ type }) => type === 'tool_use')).toHaveLength(mine.length);
      }),
      { numRuns: 500 },
    );
  });

  it('is built of events that come from elsewhere', () => {
    const events: StreamEvent[] = [
      { type: 'raw', frame: 'text' },
      { type: 'text', text: 'a', index: 0, name: 'output' },
      { type: 'tool-call', index: 0, id: 'x', name: 'n', arguments: { a: 1 }, argumentsText: '{"a":1}' },
    ];
    expect(anthropicTurn(events).content).toStrictEqual([
      { type: 'text', text: 'a' },
      { type: 'tool_use', id: 'x', name: 'n', input: { a: 1 } },
    ]);
    expect(anthropicTurn([])).toStrictEqual({ role: 'assistant', content: [] });
  });
});
