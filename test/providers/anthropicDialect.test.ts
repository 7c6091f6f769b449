import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LimitError, ProtocolError, ProviderError, ValidationError } from '../../src/errors.js';
import { anthropicDialect, type AnthropicDialectOptions } from '../../src/providers/anthropicDialect.js';
import type { StreamEvent } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';
import { decodeAll, type Decoded, frame, ofType } from '../support/decodeAll.js';

type Frame = Readonly<Record<string, unknown>>;

const start = (usage: object = { input_tokens: 9, output_tokens: 1 }, more: object = {}): Frame => ({
  type: 'message_start',
  message: { id: 'msg_1', type: 'message', role: 'assistant', content: [], model: 'm', usage, ...more },
});
const begin = (index: number, content_block: object): Frame => ({ type: 'content_block_start', index, content_block });
const delta = (index: number, piece: object): Frame => ({ type: 'content_block_delta', index, delta: piece });
const text = (index: number, piece: unknown): Frame => delta(index, { type: 'text_delta', text: piece });
const thinking = (index: number, piece: string): Frame => delta(index, { type: 'thinking_delta', thinking: piece });
const json = (index: number, piece: unknown): Frame => delta(index, { type: 'input_json_delta', partial_json: piece });
const stop = (index: number): Frame => ({ type: 'content_block_stop', index });
const end = (stop_reason: string | null, usage: object = { output_tokens: 4 }, more: object = {}): Frame => ({
  type: 'message_delta',
  delta: { stop_reason, stop_sequence: null, ...more },
  usage,
});
const over: Frame = { type: 'message_stop' };
const tool = (id: string, more: object = {}): object => ({ type: 'tool_use', id, name: 'look', input: {}, ...more });

const bodyOf = (frames: readonly unknown[]): string => frames.map(frame).join('');
const named = (frames: readonly Frame[]): string =>
  frames.map((one) => `event: ${String(one['type'])}\n${frame(one)}`).join('');
const read = (frames: readonly unknown[], options?: AnthropicDialectOptions): Decoded =>
  decodeAll(anthropicDialect(options), bodyOf(frames));
/** A whole message around what is under test. */
const message = (...frames: readonly Frame[]): readonly Frame[] => [start(), ...frames, end('end_turn'), over];

const said = message(begin(0, { type: 'text', text: '' }), text(0, 'Hel'), text(0, 'lo 🐎'), stop(0));

describe('anthropicDialect', () => {
  it('gives text, usage and the finish, and every other frame as raw', () => {
    const { events, outcome } = read(said);
    expect(outcome).toBe('complete');
    expect(events).toStrictEqual<StreamEvent[]>([
      { type: 'raw', frame: said[0] },
      { type: 'usage', inputTokens: 9, outputTokens: 1, provenance: 'reported' },
      { type: 'raw', frame: said[1] },
      { type: 'text', text: 'Hel', index: 0, name: 'output' },
      { type: 'text', text: 'lo 🐎', index: 0, name: 'output' },
      { type: 'raw', frame: said[4] },
      { type: 'usage', inputTokens: 9, outputTokens: 4, provenance: 'reported' },
      { type: 'finish', reason: 'stop', rawReason: 'end_turn' },
    ]);
  });

  it('reads frames with names, with CRLF, with padding and white space around them alike', () => {
    const { events } = read(said);
    const nameless = (decoded: Decoded): unknown[] =>
      decoded.events.map((event) => (event.type === 'raw' ? { type: 'raw', frame: event.frame } : event));
    const dialect = anthropicDialect();
    expect(nameless(decodeAll(dialect, named(said)))).toStrictEqual(events);
    expect(nameless(decodeAll(dialect, named(said).replaceAll('\n', '\r\n')))).toStrictEqual(events);
    const padded = said.map((one) => `data:  ${JSON.stringify(one).replace(/}$/, '     }')}      \n\n`).join('');
    expect(decodeAll(dialect, padded).events).toStrictEqual(events);
  });

  it('keeps the name of an event on its raw frame, and goes by the type inside', () => {
    const { events } = decodeAll(
      anthropicDialect(),
      `event: whatever\n${frame(text(0, 'a'))}event: x\n${frame(stop(0))}`,
    );
    expect(events).toStrictEqual([
      { type: 'text', text: 'a', index: 0, name: 'output' },
      { type: 'raw', frame: stop(0), event: 'x' },
    ]);
  });

  it('goes by the name of the event where the frame has no type', () => {
    const wire = said.map(({ type, ...rest }) => `event: ${String(type)}\n${frame(rest)}`).join('');
    const decoded = decodeAll(anthropicDialect(), wire);
    expect(decoded).toMatchObject({ text: 'Hello 🐎', outcome: 'complete' });
    expect(anthropicDialect().turn?.build(decoded.events)).toMatchObject({ content: [{ text: 'Hello 🐎' }] });
    expect(decodeAll(anthropicDialect(), 'event: ping\ndata: {}\n\n').events).toStrictEqual([
      { type: 'heartbeat', comment: '' },
    ]);
  });

  it('takes text and thinking of every block for one output each', () => {
    const frames = message(
      begin(0, { type: 'thinking', thinking: '', signature: '' }),
      thinking(0, 'Hm'),
      delta(0, { type: 'signature_delta', signature: 'c2ln' }),
      stop(0),
      begin(1, { type: 'text', text: '' }),
      text(1, 'One. '),
      stop(1),
      begin(7, { type: 'text', text: '' }),
      text(7, 'Two.'),
      stop(7),
    );
    const decoded = read(frames);
    expect(decoded).toMatchObject({ text: 'One. Two.', thinking: 'Hm' });
    expect(ofType(decoded, 'text').every(({ index, name }) => index === 0 && name === 'output')).toBe(true);
    expect(ofType(decoded, 'thinking')).toStrictEqual([{ type: 'thinking', text: 'Hm', index: 0, name: 'thinking' }]);
    expect(decoded.events).toContainEqual({ type: 'raw', frame: frames[3] });
  });

  it('loses nothing of a block that comes whole with its start', () => {
    const decoded = read(
      message(
        begin(0, { type: 'thinking', thinking: 'Hm', signature: 'c2ln' }),
        stop(0),
        begin(1, { type: 'text', text: 'Whole' }),
        stop(1),
        begin(2, tool('t1', { input: { q: 'é', n: [1] } })),
        stop(2),
      ),
    );
    expect(decoded).toMatchObject({ text: 'Whole', thinking: 'Hm', toolArguments: '' });
    expect(ofType(decoded, 'tool-call-delta')).toStrictEqual([]);
    expect(ofType(decoded, 'tool-call')).toStrictEqual([
      {
        type: 'tool-call',
        index: 0,
        id: 't1',
        name: 'look',
        arguments: { q: 'é', n: [1] },
        argumentsText: '{"q":"é","n":[1]}',
      },
    ]);
  });

  it('loses nothing of a message that comes whole with its start', () => {
    const content = [{ type: 'text', text: 'All' }, tool('t1', { input: { a: 1 } }), tool('t2')];
    const decoded = read([start({}, { content }), end('tool_use'), over]);
    expect(decoded.text).toBe('All');
    expect(ofType(decoded, 'tool-call').map(({ id, arguments: args }) => [id, args])).toStrictEqual([
      ['t1', { a: 1 }],
      ['t2', {}],
    ]);
  });

  it.each(['redacted_thinking', 'web_search_tool_result', 'fallback', 'compaction', 'container_upload', 'of_tomorrow'])(
    'hands a block of type %s on as it came',
    (type) => {
      const block = { type, data: 'b3BhcXVl', content: [{ url: 'https://a.example' }] };
      const frames = message(begin(0, block), delta(0, { type: `${type}_delta`, content: 'c' }), stop(0));
      const { events, outcome } = read(frames);
      expect(outcome).toBe('complete');
      expect(events.filter((event) => event.type === 'raw').map((event) => event.frame)).toStrictEqual(
        frames.slice(0, 4),
      );
    },
  );

  it('makes a ping a heartbeat', () => {
    expect(read([{ type: 'ping' }]).events).toStrictEqual([{ type: 'heartbeat', comment: '' }]);
  });

  it('hands on types that it does not know, whatever they hold', () => {
    const odd = [
      { type: 'content_block_pause', delta: 'text', message: 1, content_block: [], index: 'x' },
      { type: null },
      { type: 7 },
      { text: 'no type' },
    ];
    expect(read(odd).events).toStrictEqual(odd.map((one) => ({ type: 'raw', frame: one })));
  });

  it('hands on what stands beside a piece of text', () => {
    const extra = { ...text(0, 'a'), context: { id: 1 } };
    const counted = delta(0, { type: 'thinking_delta', thinking: 'b', estimated_tokens: 50 });
    expect(read([extra, counted]).events).toStrictEqual([
      { type: 'text', text: 'a', index: 0, name: 'output' },
      { type: 'raw', frame: extra },
      { type: 'thinking', text: 'b', index: 0, name: 'thinking' },
      { type: 'raw', frame: counted },
    ]);
  });

  it('passes equal pieces and citations that follow one another, each of them', () => {
    const cited = delta(0, { type: 'citations_delta', citation: { cited_text: 'x' } });
    const { events } = read([text(0, 'ha'), text(0, 'ha'), cited, cited]);
    expect(events.map(({ type }) => type)).toStrictEqual(['text', 'text', 'raw', 'raw']);
  });

  it('bears nulls and emits no empty text', () => {
    const frames = [
      { type: 'message_start', message: null },
      { type: 'message_start', message: { content: null, usage: null } },
      { type: 'content_block_start', index: null, content_block: null },
      begin(0, { type: 'text', text: null }),
      text(0, ''),
      text(0, null),
      thinking(0, ''),
      { type: 'content_block_delta', index: 0, delta: null },
      { type: 'content_block_delta', index: 0 },
      delta(0, { type: null }),
      { type: 'content_block_stop', index: null },
      { type: 'message_delta', delta: null, usage: null },
      { type: 'message_delta', delta: { stop_reason: null }, usage: { output_tokens: null } },
    ];
    const { events, outcome } = read(frames);
    expect(outcome).toBe('interrupted');
    expect(events).toStrictEqual(frames.map((one) => ({ type: 'raw', frame: one })));
  });

  it('takes pieces without an index for the block that began last', () => {
    const decoded = read(
      message(
        { type: 'content_block_start', content_block: tool('t1') },
        { type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: '{"a":1}' } },
        { type: 'content_block_stop' },
        { type: 'content_block_start', content_block: tool('t2') },
        { type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: '{"b":2}' } },
        { type: 'content_block_stop' },
      ),
    );
    expect(ofType(decoded, 'tool-call').map(({ arguments: args }) => args)).toStrictEqual([{ a: 1 }, { b: 2 }]);
  });

  it('gives the text of a block whose start a proxy left out', () => {
    expect(read([start(), text(0, 'a'), over]).text).toBe('a');
  });

  it.each([
    ['end_turn', 'stop'],
    ['stop_sequence', 'stop'],
    ['max_tokens', 'length'],
    ['model_context_window_exceeded', 'length'],
    ['tool_use', 'tool-calls'],
    ['refusal', 'refusal'],
    ['pause_turn', 'other'],
    ['compaction', 'other'],
    ['of_tomorrow', 'other'],
    ['constructor', 'other'],
  ])('finishes %s as %s', (rawReason, reason) => {
    expect(read([start(), end(rawReason), over]).events.at(-1)).toStrictEqual({ type: 'finish', reason, rawReason });
  });

  it('finishes as unknown, with a warning, where no reason came', () => {
    for (const frames of [[over], [start(), over], [start(), end(null), over], [start(), end(''), over]]) {
      const decoded = read(frames);
      expect(decoded.outcome).toBe('complete');
      expect(ofType(decoded, 'warning')).toMatchObject([{ code: 'finish-reason-missing' }]);
      expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'unknown' });
    }
  });

  it('is not over with its reason, however the body ends', () => {
    expect(decodeAll(anthropicDialect(), bodyOf(said.slice(0, -1)), { intact: true }).outcome).toBe('interrupted');
    expect(
      decodeAll(anthropicDialect(), `${bodyOf(said.slice(0, -1))}data: [DONE]\n\n`.replace('[DONE]', '{}')).outcome,
    ).toBe('interrupted');
  });

  it('hears nothing after the end', () => {
    expect(
      read([...said, text(0, 'more'), start(), { type: 'error', error: { type: 'api_error' } }]).events,
    ).toStrictEqual(read(said).events);
  });

  it('hands on what stands beside the end', () => {
    const measured = { ...over, 'amazon-bedrock-invocationMetrics': { inputTokenCount: 3 } };
    expect(read([start(), end('end_turn'), measured]).events).toContainEqual({ type: 'raw', frame: measured });
  });

  it('tells why it refused in the raw frame', () => {
    const last = end('refusal', {}, { stop_details: { type: 'refusal', category: 'cyber', explanation: 'No.' } });
    const { events } = read([start(), last, over]);
    expect(events).toContainEqual({ type: 'raw', frame: last });
    expect(events.at(-1)).toMatchObject({ reason: 'refusal', rawReason: 'refusal' });
  });

  it('takes the last of several message_deltas, and usage as cumulative', () => {
    const decoded = read([
      start({ input_tokens: 10, cache_read_input_tokens: 5, output_tokens: 1 }),
      end(null, { output_tokens: 20 }),
      end('pause_turn', { output_tokens: 20 }),
      end('end_turn', { input_tokens: 12, output_tokens: 30, output_tokens_details: { thinking_tokens: 7 } }),
      over,
    ]);
    expect(ofType(decoded, 'usage')).toStrictEqual([
      { type: 'usage', inputTokens: 10, outputTokens: 1, cachedTokens: 5, provenance: 'reported' },
      { type: 'usage', inputTokens: 10, outputTokens: 20, cachedTokens: 5, provenance: 'reported' },
      { type: 'usage', inputTokens: 12, outputTokens: 30, cachedTokens: 5, reasoningTokens: 7, provenance: 'reported' },
    ]);
    expect(decoded.events.at(-1)).toMatchObject({ reason: 'stop' });
  });

  it('leaves out a count that nobody told, or that is no count', () => {
    const decoded = read([start({ input_tokens: null, output_tokens: '9', cache_read_input_tokens: -1 }), over]);
    expect(ofType(decoded, 'usage')).toStrictEqual([]);
  });

  it('hands on what usage holds besides', () => {
    const last = end('end_turn', { output_tokens: 4, server_tool_use: { web_search_requests: 2 } });
    expect(read([start(), last, over]).events).toContainEqual({ type: 'raw', frame: last });
  });
});

describe('its tool calls', () => {
  it('stream their arguments and are told whole at the end of their block', () => {
    const frames = [
      start(),
      begin(0, tool('t1')),
      json(0, ''),
      json(0, '{"q": '),
      json(0, '"x"}'),
      stop(0),
      begin(1, tool('t2')),
      stop(1),
      begin(2, tool('t3')),
      json(2, '[]'),
      stop(2),
      end('tool_use'),
      over,
    ];
    const decoded = read(frames);
    const known = decoded.events.filter(({ type }) => type.startsWith('tool-call'));
    const place = { index: 0, name: 'look' };
    expect(known).toStrictEqual([
      { type: 'tool-call-delta', ...place, id: 't1', argumentsDelta: '' },
      { type: 'tool-call-delta', ...place, id: 't1', argumentsDelta: '{"q": ' },
      { type: 'tool-call-delta', ...place, id: 't1', argumentsDelta: '"x"}' },
      { type: 'tool-call', ...place, id: 't1', arguments: { q: 'x' }, argumentsText: '{"q": "x"}' },
      { type: 'tool-call-delta', ...place, id: 't2', argumentsDelta: '' },
      { type: 'tool-call', ...place, id: 't2', arguments: {}, argumentsText: '' },
      { type: 'tool-call-delta', ...place, id: 't3', argumentsDelta: '' },
      { type: 'tool-call-delta', ...place, id: 't3', argumentsDelta: '[]' },
      { type: 'tool-call', ...place, id: 't3', arguments: [], argumentsText: '[]' },
    ]);
    expect(decoded.events.at(-1)).toMatchObject({ reason: 'tool-calls' });
  });

  it('are told apart where the pieces of several blocks are mixed', () => {
    const decoded = read(
      message(
        begin(0, tool('t1')),
        begin(1, tool('t2')),
        json(1, '{"b":'),
        json(0, '{"a":'),
        json(1, '2}'),
        json(0, '1}'),
        stop(1),
        stop(0),
      ),
    );
    expect(ofType(decoded, 'tool-call').map(({ id, arguments: args }) => [id, args])).toStrictEqual([
      ['t2', { b: 2 }],
      ['t1', { a: 1 }],
    ]);
  });

  it.each(['server_tool_use', 'mcp_tool_use'])('are marked where the provider runs them: %s', (type) => {
    const block = { type, id: 's1', name: 'web_search', input: {}, server_name: 'wiki' };
    const decoded = read(message(begin(0, block), json(0, '{"query":"x"}'), stop(0)));
    const calls = decoded.events.filter(({ type: kind }) => kind.startsWith('tool-call'));
    expect(calls).toHaveLength(3);
    expect(calls.every((call) => 'providerExecuted' in call && call.providerExecuted)).toBe(true);
  });

  it.each([
    ['max_tokens', '{"q":"x', true],
    ['max_tokens', '{"q":"x', false],
    ['model_context_window_exceeded', '{', false],
    ['refusal', '{"q"', true],
    ['max_tokens', '', true],
  ])('that %s cut at %j give a warning and no call', (reason, piece, isStopped) => {
    const decoded = read([
      start(),
      begin(0, tool('t1')),
      json(0, piece),
      ...(isStopped ? [stop(0)] : []),
      end(reason),
      over,
    ]);
    expect(decoded.outcome).toBe('complete');
    expect(ofType(decoded, 'tool-call')).toStrictEqual([]);
    expect(ofType(decoded, 'warning')).toMatchObject([
      { code: 'tool-call-incomplete', detail: { id: 't1', name: 'look', chars: piece.length } },
    ]);
  });

  it('that were whole before the cut are told', () => {
    const decoded = read([start(), begin(0, tool('t1')), json(0, '{"a":1}'), stop(0), end('max_tokens'), over]);
    expect(ofType(decoded, 'tool-call')).toHaveLength(1);
    expect(ofType(decoded, 'warning')).toStrictEqual([]);
  });

  it.each(['tool_use', 'end_turn', 'pause_turn'])('that are no JSON fail the stream, quoting nothing: %s', (reason) => {
    const frames = [start(), begin(0, tool('t1')), json(0, '{"secret":'), stop(0), end(reason), over];
    expect(() => read(frames)).toThrow(ProtocolError);
    expect(() => read(frames)).not.toThrow(/secret/);
  });

  it('that are no JSON and were followed by another block were not cut', () => {
    const frames = [begin(0, tool('t1')), json(0, '{"a"'), stop(0), begin(1, tool('t2')), json(1, '{"b"'), stop(1)];
    const told: StreamEvent[] = [];
    const decoder = anthropicDialect().decoder();
    const push = (one: Frame): void => {
      decoder.push({ type: 'event', event: 'message', data: JSON.stringify(one), id: '' }, (event) => told.push(event));
    };
    for (const one of [start(), ...frames]) push(one);
    expect(() => {
      push(end('max_tokens'));
    }).toThrow(/t1/);
    expect(told.filter(({ type }) => type === 'warning')).toMatchObject([{ detail: { id: 't2' } }]);
    push(over); // whoever skips what is malformed goes on
    expect(told.at(-1)).toMatchObject({ type: 'finish', reason: 'length' });
  });

  it('that wait are told at the end where no reason came', () => {
    expect(ofType(read([start(), begin(0, tool('t1')), stop(0), over]), 'tool-call')).toMatchObject([
      { arguments: {} },
    ]);
    expect(() => read([start(), begin(0, tool('t1')), json(0, '{'), over])).toThrow(ProtocolError);
  });

  it('are not told where the stream was cut', () => {
    const decoded = read([start(), begin(0, tool('t1')), stop(0)]);
    expect(decoded.outcome).toBe('interrupted');
    expect(ofType(decoded, 'tool-call')).toStrictEqual([]);
  });

  it('take arguments that are streamed over those of the start, and JSON text for arguments', () => {
    const decoded = read(
      message(
        begin(0, tool('t1', { input: { old: 1 } })),
        json(0, '{"new":1}'),
        stop(0),
        begin(1, tool('t2', { input: '{"a":1}' })),
        stop(1),
        begin(2, tool('t3', { input: null })),
        stop(2),
      ),
    );
    expect(ofType(decoded, 'tool-call').map(({ arguments: args }) => args)).toStrictEqual([{ new: 1 }, { a: 1 }, {}]);
  });

  it('have ids of their own where the server sends none', () => {
    const anonymous = { type: 'tool_use', name: 'look', input: {} };
    const decoded = read(message(begin(0, anonymous), json(0, '{}'), stop(0), begin(1, anonymous), stop(1)));
    expect(new Set(ofType(decoded, 'tool-call').map(({ id }) => id)).size).toBe(2);
  });

  it('hand on pieces that belong to none', () => {
    const stray = json(4, '{}');
    expect(read([start(), stray]).events).toContainEqual({ type: 'raw', frame: stray });
  });

  it('are bounded, and the step past the bound is a LimitError', () => {
    const calls = (chars: number): Frame[] => [start(), begin(0, tool('t1')), json(0, `"${'x'.repeat(chars - 8)}"`)];
    expect(read(calls(100), { maxToolCallChars: 100 }).outcome).toBe('interrupted');
    expect(() => read(calls(101), { maxToolCallChars: 100 })).toThrow(LimitError);
    // What is told is no longer held.
    const many = Array.from({ length: 50 }, (_, index) => [
      begin(index, tool('t')),
      json(index, '{"a":1}'),
      stop(index),
    ]);
    expect(ofType(read(message(...many.flat()), { maxToolCallChars: 20 }), 'tool-call')).toHaveLength(50);
    expect(() => anthropicDialect({ maxToolCallChars: -1 })).toThrow(RangeError);
  });
});

describe('another message_start', () => {
  it('is a restart after content, of whatever kind', () => {
    const contents = [
      [text(0, 'a')],
      [thinking(0, 'a')],
      [begin(0, tool('t1'))],
      [begin(0, tool('t1', { input: { a: 1 } })), stop(0)],
    ];
    for (const content of contents) {
      const decoded = read([start(), ...content, ...said]);
      const at = decoded.events.findIndex(({ type }) => type === 'restart');
      expect(decoded.events[at]).toStrictEqual({
        type: 'restart',
        attempt: 1,
        because: 'the provider began anew',
        discard: { chars: 0 },
      });
      expect(decoded.events.slice(at + 1)).toStrictEqual(read(said).events);
    }
  });

  it('is none before content', () => {
    const frames = [start(), { type: 'ping' }, begin(0, { type: 'text', text: '' }), ...said];
    expect(ofType(read(frames), 'restart')).toStrictEqual([]);
  });

  it('forgets calls, usage and the stop reason of what came before', () => {
    const decoded = read([
      start({ input_tokens: 50, cache_read_input_tokens: 8 }),
      begin(0, tool('t1')),
      json(0, '{"half'),
      stop(0),
      { ...end('max_tokens'), delta: { stop_reason: null } },
      start(),
      over,
    ]);
    expect(ofType(decoded, 'tool-call')).toStrictEqual([]);
    expect(ofType(decoded, 'usage').at(-1)).toStrictEqual({
      type: 'usage',
      inputTokens: 9,
      outputTokens: 1,
      provenance: 'reported',
    });
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'unknown' });
  });

  it('may come more than once', () => {
    expect(ofType(read([start(), text(0, 'a'), start(), start(), text(0, 'b'), ...said]), 'restart')).toHaveLength(2);
  });
});

describe('its failures', () => {
  it.each([
    ['overloaded_error', true],
    ['rate_limit_error', true],
    ['api_error', true],
    ['timeout_error', true],
    ['conflict_error', true],
    ['invalid_request_error', false],
    ['authentication_error', false],
    ['billing_error', false],
    ['permission_error', false],
    ['not_found_error', false],
    ['request_too_large', false],
    ['of_tomorrow', false],
  ])('of type %s are worth another try: %s', (type, retryable) => {
    const failure = { type: 'error', error: { type, message: 'Because.' }, request_id: 'req_1' };
    for (const wire of [frame(failure), `event: error\n${frame(failure)}`]) {
      const decoded = decodeAll(anthropicDialect(), bodyOf([start(), text(0, 'part')]) + wire + frame(over));
      expect(decoded).toMatchObject({ outcome: 'failed', text: 'part' });
      expect(decoded.error).toBeInstanceOf(ProviderError);
      expect(decoded.error).toMatchObject({
        retryable,
        providerCode: type,
        providerMessage: 'Because.',
        frame: { request_id: 'req_1' },
      });
    }
  });

  it.each([
    [{ type: 'error' }, undefined, false],
    [{ type: 'error', error: null, message: 'gone' }, 'gone', false],
    [{ type: 'error', error: { type: 'error', code: 529, message: 'busy' } }, 'busy', true],
    [{ error: { message: 'limit', code: 429 } }, 'limit', true],
    [{ error: 'upstream is down' }, 'upstream is down', false],
  ])('come in other shapes from proxies: %j', (failure, providerMessage, retryable) => {
    expect(read([start(), failure])).toMatchObject({ outcome: 'failed', error: { retryable, providerMessage } });
  });

  it('are judged by the caller where the caller says so', () => {
    const failure = { type: 'error', error: { type: 'overloaded_error', message: '' } };
    expect(read([failure], { retryable: () => false })).toMatchObject({ error: { retryable: false } });
  });

  it('bear the name of the dialect', () => {
    const failure = { type: 'error', error: { type: 'api_error', message: 'x' } };
    expect(read([failure], { name: 'proxy' }).error).toMatchObject({ message: 'proxy reported api_error: x' });
  });

  it.each([
    ['{"type":"content_block_delta",', ProtocolError],
    [JSON.stringify(text(0, 7)), ValidationError],
    [JSON.stringify(json(0, {})), ValidationError],
    [JSON.stringify({ type: 'content_block_delta', index: '0', delta: {} }), ValidationError],
    [JSON.stringify({ type: 'content_block_start', index: 0, content_block: { text: 'no type' } }), ValidationError],
    [JSON.stringify({ type: 'message_delta', delta: { stop_reason: 1 } }), ValidationError],
    [JSON.stringify({ type: 'message_start', message: { content: [7] } }), ValidationError],
  ])('of a malformed frame are loud: %s', (data, kind) => {
    expect(() => decodeAll(anthropicDialect(), `data: ${data}\n\n`)).toThrow(kind);
  });
});

it('costs in proportion to its calls, whole or not', () => {
  const count = 20_000;
  const bad = Array.from({ length: count }, (_, index) => [
    begin(index, tool(`t${String(index)}`)),
    json(index, '{'),
    stop(index),
  ]);
  // Quadratic, this is 200 million steps and a timeout.
  expect(() => read([start(), ...bad.flat(), end('end_turn'), over])).toThrow(/t0 /);
});

it('keeps no state between two streams', () => {
  const dialect = anthropicDialect();
  decodeAll(dialect, bodyOf([start(), text(0, 'half'), begin(1, tool('t1'))]));
  expect(decodeAll(dialect, bodyOf(said)).events).toStrictEqual(read(said).events);
});

it('gives the same events however the bytes are cut', () => {
  const bytes = bytesOf(
    named(
      message(
        begin(0, { type: 'text', text: '' }),
        text(0, 'Ly🐎on\n\n'),
        stop(0),
        begin(1, tool('t')),
        json(1, '{"é":"🐎"}'),
        stop(1),
      ),
    ),
  );
  const whole = JSON.stringify(decodeAll(anthropicDialect(), bytes).events);
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: bytes.length })), (cuts) => {
      const sorted = [...cuts].sort((one, other) => one - other);
      expect(JSON.stringify(decodeAll(anthropicDialect(), bytes, { cuts: sorted }).events)).toBe(whole);
    }),
  );
  for (let size = 0; size < bytes.length; size++) {
    expect(decodeAll(anthropicDialect(), bytes.subarray(0, size), { intact: true }).outcome).toBe('interrupted');
  }
});
