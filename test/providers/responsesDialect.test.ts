import fc from 'fast-check';
import { lastValueFrom, of } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { LimitError, ProtocolError, ProviderError, ValidationError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { responsesDialect, type ResponsesDialectOptions, type ResponsesTurn } from '../../src/providers/index.js';
import { decodeAll, type Decoded, frame, ofType } from '../support/decodeAll.js';
import { Reconnecting } from '../support/reconnecting.js';

type Fields = Record<string, unknown>;

/** A frame of the API; what belongs to an item names it by `item_id` and `output_index`. */
const on = (type: string, fields: Fields = {}): Fields => ({ type: `response.${type}`, ...fields });
const at = (index: number, fields: Fields = {}): Fields => ({
  item_id: `it_${String(index)}`,
  output_index: index,
  content_index: 0,
  ...fields,
});
const response = (fields: Fields = {}): Fields => ({ response: { id: 'resp_1', object: 'response', ...fields } });
const created = on('created', response({ status: 'in_progress', output: [], usage: null }));
const completed = (output: readonly Fields[] = [], fields: Fields = {}): Fields =>
  on('completed', response({ status: 'completed', output, ...fields }));
const incomplete = (reason: string | null, output: readonly Fields[] = []): Fields =>
  on('incomplete', response({ status: 'incomplete', output, incomplete_details: reason === null ? null : { reason } }));
const text = (delta: string, index = 0, more: Fields = {}): Fields =>
  on('output_text.delta', at(index, { delta, ...more }));
const said = (whole: string, fields: Fields = {}): Fields => ({
  id: 'it_0',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: whole, annotations: [] }],
  ...fields,
});
const done = (item: Fields, output_index = 0): Fields => on('output_item.done', { output_index, item });
const added = (item: Fields, output_index = 0): Fields => on('output_item.added', { output_index, item });
const called = (fields: Fields = {}): Fields => ({
  id: 'it_0',
  type: 'function_call',
  call_id: 'call_1',
  name: 'look',
  arguments: '{"q":1}',
  status: 'completed',
  ...fields,
});
const argue = (delta: string, index = 0): Fields => on('function_call_arguments.delta', at(index, { delta }));

function decoded(frames: readonly unknown[], options: ResponsesDialectOptions = {}): Decoded {
  return decodeAll(responsesDialect(options), frames.map(frame).join(''));
}

function failureOf({ error }: Decoded): ProviderError {
  if (!(error instanceof ProviderError)) throw new Error('no failure was reported');
  return error;
}

function turnOf(frames: readonly unknown[]): Promise<ResponsesTurn> {
  const bytes = new TextEncoder().encode(frames.map(frame).join(''));
  return lastValueFrom(of(bytes).pipe(parseSSE(), decode(responsesDialect()), accumulate())).then(
    (message) => message.toRequest() as ResponsesTurn,
  );
}

describe('text', () => {
  it('is one output, whatever item and part it stands in', () => {
    const { events } = decoded([
      text('a'),
      on('output_text.delta', at(0, { content_index: 1, delta: 'b' })),
      text('c', 7),
      on('refusal.delta', at(7, { delta: 'no' })),
    ]);
    expect(events).toStrictEqual([
      { type: 'text', text: 'a', index: 0, name: 'output' },
      { type: 'text', text: 'b', index: 0, name: 'output' },
      { type: 'text', text: 'c', index: 0, name: 'output' },
      { type: 'refusal', text: 'no', index: 0, name: 'output' },
    ]);
  });

  it.each(['reasoning_summary_text', 'reasoning_text', 'reasoning', 'reasoning_summary'])(
    'of %s is thinking',
    (kind) => {
      const { events } = decoded([on(`${kind}.delta`, at(0, { delta: 'hm' }))]);
      expect(events).toStrictEqual([{ type: 'thinking', text: 'hm', index: 0, name: 'thinking' }]);
    },
  );

  it('is never empty, and an empty delta is raw', () => {
    const empty = text('');
    const none = on('output_text.delta', at(0, { delta: null }));
    expect(decoded([empty, none]).events).toStrictEqual([
      { type: 'raw', frame: empty },
      { type: 'raw', frame: none },
    ]);
  });

  it('comes without its padding, and with what else its frame holds as raw', () => {
    const padded = text('a', 0, { obfuscation: 'x9', logprobs: [], sequence_number: 0 });
    const weighed = text('b', 0, { logprobs: [{ token: 'b', logprob: -0.1 }], sequence_number: 1 });
    expect(decoded([padded, weighed]).events.map(({ type }) => type)).toStrictEqual(['text', 'text', 'raw']);
  });

  it('goes by the JSON, else by the name of the event, and CRLF is no matter', () => {
    const dialect = responsesDialect();
    const named = `event: response.output_text.delta\r\ndata: {"delta":"b"}\r\n\r\n`;
    const late = `data: ${JSON.stringify(text('c'))}\r\nevent: response.output_text.delta\r\n\r\n`;
    expect(decodeAll(dialect, `event: x\r\n${frame(text('a'))}${named}${late}`).text).toBe('abc');
  });

  it.each([
    ['a delta that is a number', on('output_text.delta', at(0, { delta: 5 }))],
    ['an index that is a text', on('output_text.delta', { delta: 'a', output_index: 'first' })],
    ['an item that is a list', on('output_item.done', { item: [] })],
    ['an output that is no list', on('completed', response({ output: 'x' }))],
    ['a response that is a text', on('completed', { response: 'x' })],
  ])('is refused where it would be read wrongly: %s', (_, wrong) => {
    expect(() => decoded([wrong])).toThrow(ValidationError);
  });

  it('is refused where it is no JSON', () => {
    expect(() => decoded(['{"type":"response.'])).toThrow(ProtocolError);
  });
});

describe('what was not told in pieces', () => {
  const whole = 'The wheel turns.';
  const tellings: Record<string, readonly Fields[]> = {
    'its text': [on('output_text.done', at(0, { text: whole }))],
    'its part': [on('content_part.done', at(0, { part: { type: 'output_text', text: whole } }))],
    'its item': [done(said(whole))],
    'the whole response': [],
    'all of them': [
      on('output_text.done', at(0, { text: whole })),
      on('content_part.done', at(0, { part: { type: 'output_text', text: whole } })),
      done(said(whole)),
    ],
  };

  it.each(Object.entries(tellings))('is told by %s, once', (_, tellers) => {
    for (let known = 0; known <= whole.length; known += 1) {
      for (const pieces of [[], [added(said('', { content: [] }))]]) {
        const begun = known === 0 ? pieces : [...pieces, text(whole.slice(0, known))];
        const result = decoded([created, ...begun, ...tellers, completed([said(whole)])]);
        expect([result.text, result.outcome]).toStrictEqual([whole, 'complete']);
        expect(ofType(result, 'restart')).toStrictEqual([]);
      }
    }
  });

  it('is there where the response is not told whole', () => {
    expect(decoded([text('The'), done(said(whole)), on('completed')])).toMatchObject({
      text: whole,
      outcome: 'complete',
    });
    expect(decoded([text('The'), done(said(''))]).text).toBe('The');
  });

  it('is told once though ids change from frame to frame', () => {
    const rotating = [
      added(said('', { id: 'a', content: [] })),
      on('output_text.delta', { item_id: 'b', output_index: 0, content_index: 0, delta: 'The wheel' }),
      on('output_text.done', { item_id: 'c', output_index: 0, content_index: 0, text: whole }),
      done(said(whole, { id: 'd' })),
      completed([said(whole, { id: 'e' })]),
    ];
    expect(decoded(rotating)).toMatchObject({ text: whole, outcome: 'complete' });
  });

  it('is told once though the whole response leaves items out', () => {
    const frames = [
      done({ id: 'x', type: 'reasoning', summary: [] }, 0),
      text(whole, 1),
      done(said(whole, { id: 'it_1' }), 1),
      completed([said(whole, { id: 'other' })]),
    ];
    expect(decoded(frames).text).toBe(whole);
  });

  it('is told once though no frame has ids or places', () => {
    const { id: _, ...item } = said(whole);
    const frames = [
      on('output_text.delta', { delta: 'The' }),
      on('output_text.done', { text: whole }),
      on('output_item.done', { item }),
      completed([item]),
    ];
    expect(decoded(frames)).toMatchObject({ text: whole, outcome: 'complete' });
  });

  it('is told once though every part has the same number', () => {
    const parts = [
      text('One. '),
      on('output_text.done', at(0, { text: 'One. ' })),
      text('Two.'),
      on('output_text.done', at(0, { text: 'Two.' })),
      done(said('', { content: ['One. ', 'Two.'].map((part) => ({ type: 'output_text', text: part })) })),
      completed(),
    ];
    const result = decoded(parts);
    expect([result.text, ofType(result, 'restart'), ofType(result, 'warning')]).toStrictEqual(['One. Two.', [], []]);
  });

  it('is told though every item has the same place', () => {
    const frames = [text('One '), done(said('One ')), done(said('two.', { id: 'b' })), completed()];
    expect(decoded(frames).text).toBe('One two.');
  });

  it('is no news where the server trims what it repeats', () => {
    const result = decoded([text('Hello \n'), done(said('Hello')), completed([said('Hello')])]);
    expect([result.text, ofType(result, 'restart')]).toStrictEqual(['Hello \n', []]);
  });

  it('voids what was streamed where it is another text', () => {
    const { events } = decoded([
      on('reasoning_text.delta', at(1, { delta: 'hmm' })),
      text('The mill'),
      done(said(whole)),
      completed([said(whole)]),
    ]);
    const from = events.findIndex(({ type }) => type === 'restart');
    expect(events.slice(from, from + 2)).toStrictEqual([
      {
        type: 'restart',
        attempt: 1,
        because: 'the whole answer differs from the pieces that were streamed',
        discard: { chars: 8, thinkingChars: 3 },
      },
      { type: 'text', text: whole, index: 0, name: 'output' },
    ]);
    expect(events.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });

  it('is warned of where it is another text and the response is not told whole', () => {
    const result = decoded([text('The mill'), done(said(whole)), completed()]);
    expect(ofType(result, 'warning')).toMatchObject([{ code: 'provider-warning' }]);
    expect(result).toMatchObject({ text: 'The mill', outcome: 'complete' });
  });

  it('is told by any cutting into pieces, and any loss of pieces at the end', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', minLength: 1 })), fc.nat(), (pieces, lost) => {
        const all = pieces.join('');
        const kept = pieces.slice(0, Math.max(0, pieces.length - (lost % 4)));
        const result = decoded([...kept.map((piece) => text(piece)), done(said(all)), completed([said(all)])]);
        expect([result.text, ofType(result, 'restart').length]).toStrictEqual([all, 0]);
      }),
    );
  });

  it('is thinking, of the kind that was streamed', () => {
    const item = {
      id: 'it_0',
      type: 'reasoning',
      summary: [
        { type: 'summary_text', text: 'First.' },
        { type: 'summary_text', text: 'Then.' },
      ],
      content: [{ type: 'reasoning_text', text: 'I think.' }],
    };
    const summary = on('reasoning_summary_text.delta', { ...at(0), summary_index: 0, delta: 'Fir' });
    const reasoning = on('reasoning_text.delta', at(0, { delta: 'I ' }));
    expect(decoded([summary, done(item), completed([item])]).thinking).toBe('First.Then.');
    expect(decoded([reasoning, done(item), completed([item])]).thinking).toBe('I think.');
    expect(decoded([done(item), completed([item])]).thinking).toBe('First.Then.I think.');
    const alike = { ...item, summary: [{ type: 'summary_text', text: 'I think.' }] };
    expect(decoded([done(alike)]).thinking).toBe('I think.');
  });

  it('is nothing where pieces of several kinds came in turns', () => {
    const refusal = (delta: string): Fields => on('refusal.delta', at(0, { delta }));
    const item = {
      ...said('abcd'),
      content: [
        { type: 'output_text', text: 'abcd' },
        { type: 'refusal', refusal: 'no way' },
      ],
    };
    const all = decoded([
      text('ab'),
      refusal('no '),
      text('c'),
      refusal('way'),
      text('d'),
      done(item),
      completed([item]),
    ]);
    expect(all.text).toBe('abcd');
    expect(ofType(all, 'refusal').map(({ text: piece }) => piece)).toStrictEqual(['no ', 'way']);
    expect([...ofType(all, 'restart'), ...ofType(all, 'warning')]).toStrictEqual([]);
  });

  it('is a refusal', () => {
    const refusing = said('', { content: [{ type: 'refusal', refusal: 'I will not.' }] });
    const result = decoded([on('refusal.delta', at(0, { delta: 'I ' })), done(refusing), completed([refusing])]);
    expect(ofType(result, 'refusal').map((event) => event.text)).toStrictEqual(['I ', 'will not.']);
    expect(result.events.at(-1)).toMatchObject({ type: 'finish', reason: 'refusal', rawReason: 'completed' });
  });
});

describe('tool calls', () => {
  it('are previewed in pieces and told whole with their item', () => {
    const begin = added(called({ arguments: '', status: 'in_progress' }));
    const end = on('function_call_arguments.done', at(0, { arguments: '{"q":1}' }));
    const item = done(called());
    const { events } = decoded([created, begin, argue('{"q"'), argue(':1}'), end, item, completed([called()])]);
    expect(events.slice(1)).toStrictEqual([
      { type: 'raw', frame: begin },
      { type: 'tool-call-delta', index: 0, id: 'call_1', name: 'look', argumentsDelta: '{"q"' },
      { type: 'tool-call-delta', index: 0, id: 'call_1', name: 'look', argumentsDelta: ':1}' },
      { type: 'raw', frame: end },
      { type: 'tool-call', index: 0, id: 'call_1', name: 'look', arguments: { q: 1 }, argumentsText: '{"q":1}' },
      { type: 'raw', frame: item },
      { type: 'status', status: 'completed', id: 'resp_1', terminal: true },
      { type: 'finish', reason: 'tool-calls', rawReason: 'completed' },
    ]);
  });

  it('are told whole alone where their arguments come whole, also as an object or as none', () => {
    const frames = [
      done(called({ arguments: { q: 1 } })),
      done(called({ id: 'b', call_id: 'call_2', arguments: undefined }), 1),
      completed(),
    ];
    const result = decoded(frames);
    expect(ofType(result, 'tool-call-delta')).toStrictEqual([]);
    expect(ofType(result, 'tool-call').map(({ id, arguments: value }) => [id, value])).toStrictEqual([
      ['call_1', { q: 1 }],
      ['call_2', {}],
    ]);
  });

  it('are told once, by whatever tells them whole', () => {
    const begin = added(called({ arguments: '' }));
    const end = on('function_call_arguments.done', at(0, { arguments: '{"q":1}' }));
    for (const tellers of [
      [begin, argue('{"q":1}'), completed()],
      [begin, end, completed()],
      [completed([called()])],
      [argue('{"q":1}'), completed([called()])],
      [begin, argue('{"q":1}'), done(called()), done(called()), completed([called()])],
    ]) {
      const result = decoded(tellers);
      expect(ofType(result, 'tool-call')).toMatchObject([{ id: 'call_1', name: 'look', arguments: { q: 1 } }]);
      expect(result.events.at(-1)).toMatchObject({ type: 'finish', reason: 'tool-calls' });
    }
  });

  it('run beside each other, and go by id or by place', () => {
    const two = called({ id: 'it_1', call_id: 'call_2', name: 'hear' });
    const result = decoded([
      added(called({ arguments: '' })),
      added({ ...two, arguments: '' }, 1),
      on('function_call_arguments.delta', { item_id: 'it_1', delta: '{"q"' }),
      on('function_call_arguments.delta', { output_index: 0, item_id: 'changed', delta: '{"q":' }),
      on('function_call_arguments.delta', { output_index: 1, delta: ':1}' }),
      on('function_call_arguments.delta', { item_id: 'it_0', delta: '1}' }),
      done(two, 1),
      done(called()),
      completed([called(), two]),
    ]);
    expect(ofType(result, 'tool-call-delta').map(({ id, argumentsDelta }) => [id, argumentsDelta])).toStrictEqual([
      ['call_2', '{"q"'],
      ['call_1', '{"q":'],
      ['call_2', ':1}'],
      ['call_1', '1}'],
    ]);
    expect(ofType(result, 'tool-call').map(({ id }) => id)).toStrictEqual(['call_2', 'call_1']);
    expect(ofType(result, 'warning')).toStrictEqual([]);
  });

  it('hold their pieces back until it is known who is called', () => {
    const result = decoded([
      argue('{"q"'),
      argue(':1}'),
      added(called({ arguments: '' })),
      done(called()),
      completed(),
    ]);
    expect(ofType(result, 'tool-call-delta')).toStrictEqual([
      { type: 'tool-call-delta', index: 0, id: 'call_1', name: 'look', argumentsDelta: '{"q":1}' },
    ]);
    expect(ofType(result, 'tool-call')).toHaveLength(1);
  });

  it('are warned of where nobody is called', () => {
    const result = decoded([argue('{"q":1}'), completed()]);
    expect(ofType(result, 'warning')).toMatchObject([{ code: 'tool-call-incomplete' }]);
    expect(ofType(result, 'tool-call')).toStrictEqual([]);
  });

  it('are what the item says, with a warning where the pieces were otherwise', () => {
    const result = decoded([added(called()), argue('{"q":2}'), done(called()), completed()]);
    expect(ofType(result, 'tool-call')).toMatchObject([{ arguments: { q: 1 } }]);
    expect(ofType(result, 'warning')).toMatchObject([{ code: 'provider-warning', detail: { id: 'call_1', chars: 7 } }]);
  });

  it('of custom tools take any text', () => {
    const item = {
      id: 'it_0',
      type: 'custom_tool_call',
      call_id: 'call_1',
      name: 'run',
      input: 'print(1',
      status: 'completed',
    };
    const result = decoded([
      added({ ...item, input: '' }),
      on('custom_tool_call_input.delta', at(0, { delta: 'print' })),
      on('custom_tool_call_input.delta', at(0, { delta: '(1' })),
      on('custom_tool_call_input.done', at(0, { input: 'print(1' })),
      done(item),
      completed([item]),
    ]);
    expect(result.toolArguments).toBe('print(1');
    expect(ofType(result, 'tool-call')).toStrictEqual([
      { type: 'tool-call', index: 0, id: 'call_1', name: 'run', arguments: 'print(1', argumentsText: 'print(1' },
    ]);
    expect(result.events.at(-1)).toMatchObject({ reason: 'tool-calls' });
  });

  it('are a ProtocolError where their arguments are no JSON, after what is whole', () => {
    const bad = called({ id: 'b', call_id: 'call_2', arguments: '{"q":' });
    const events: string[] = [];
    const decoder = responsesDialect().decoder();
    const push = (data: unknown): unknown =>
      decoder.push({ type: 'event', event: 'message', data: JSON.stringify(data), id: '' }, ({ type }) => {
        events.push(type);
      });
    push(done(bad));
    push(done(called(), 1));
    expect(() => push(completed())).toThrow(/call_2 \(look\), 5 characters, are not valid JSON/);
    expect(events).toStrictEqual(['raw', 'tool-call', 'raw', 'status']);
  });

  it.each([
    ['its arguments are no JSON', called({ arguments: '{"q":', status: undefined })],
    ['its item says so', called({ status: 'incomplete' })],
  ])('are warned of where the answer was cut and %s', (_, item) => {
    const result = decoded([done(item), incomplete('max_output_tokens', [item])]);
    expect(ofType(result, 'tool-call')).toStrictEqual([]);
    expect(ofType(result, 'warning')).toMatchObject([{ code: 'tool-call-incomplete', detail: { id: 'call_1' } }]);
    expect(result.events.at(-1)).toMatchObject({ reason: 'length' });
  });

  it('are warned of where the answer was cut before their item', () => {
    const result = decoded([added(called({ arguments: '' })), argue('{"q":1}'), incomplete('content_filter')]);
    expect(ofType(result, 'tool-call')).toStrictEqual([]);
    expect(ofType(result, 'warning')).toMatchObject([{ code: 'tool-call-incomplete', detail: { chars: 7 } }]);
  });

  it('hold as many characters as they may, and not one more', () => {
    const begin = [added(called({ arguments: '' })), argue('{"q":'), argue('1}')];
    const again = [
      added(called({ id: 'b', call_id: 'c' }), 1),
      argue('{"q":1}', 1),
      done(called({ id: 'b', call_id: 'c' }), 1),
    ];
    const frames = [...begin, done(called()), ...again, completed()];
    expect(decoded(frames, { maxToolCallChars: 7 }).outcome).toBe('complete');
    expect(() => decoded(begin, { maxToolCallChars: 6 })).toThrow(LimitError);
    const whole = on('function_call_arguments.done', at(0, { arguments: '{"q":1}' }));
    expect(() => decoded([added(called({ arguments: '' })), whole], { maxToolCallChars: 6 })).toThrow(LimitError);
    expect(() => responsesDialect({ maxToolCallChars: -1 })).toThrow(RangeError);
  });

  it('that the provider runs are marked, with their result', () => {
    const ran = {
      id: 'mcp_1',
      type: 'mcp_call',
      name: 'ask',
      server_label: 's',
      arguments: '{"a":1}',
      output: '7',
      error: null,
    };
    const failed = { ...ran, id: 'mcp_2', output: null, error: { code: 1 } };
    const broken = { ...ran, id: 'mcp_3', arguments: '{' };
    const pieces = on('mcp_call_arguments.delta', at(0, { delta: '{"a"' }));
    const result = decoded([pieces, done(ran), done(failed, 1), done(broken, 2), completed()]);
    expect(result.events.filter(({ type }) => type.startsWith('tool'))).toStrictEqual([
      {
        type: 'tool-call',
        index: 0,
        id: 'mcp_1',
        name: 'ask',
        arguments: { a: 1 },
        argumentsText: '{"a":1}',
        providerExecuted: true,
      },
      { type: 'tool-result', index: 0, id: 'mcp_1', name: 'ask', result: '7' },
      {
        type: 'tool-call',
        index: 0,
        id: 'mcp_2',
        name: 'ask',
        arguments: { a: 1 },
        argumentsText: '{"a":1}',
        providerExecuted: true,
      },
      { type: 'tool-result', index: 0, id: 'mcp_2', name: 'ask', result: { code: 1 }, isError: true },
    ]);
    expect(result.events.at(-1)).toMatchObject({ reason: 'stop' });
  });
});

describe('media', () => {
  it('is the final image of its item, and its previews are raw', () => {
    const item = { id: 'ig_1', type: 'image_generation_call', status: 'completed', result: 'aGk=', size: '1x1' };
    const result = decoded([
      on('image_generation_call.partial_image', { ...at(0), partial_image_b64: 'aA==', partial_image_index: 0 }),
      done(item),
      completed([item]),
    ]);
    expect(ofType(result, 'media')).toStrictEqual([
      { type: 'media', kind: 'image', content: 'aGk=', index: 0, name: 'output' },
    ]);
    expect(result.events[0]).toMatchObject({ type: 'raw' });
  });

  it('is sound, piece by piece', () => {
    const result = decoded([on('audio.delta', { delta: 'AAA=' }), on('audio.transcript.delta', { delta: 'Hi' })]);
    expect(result.events).toMatchObject([{ type: 'media', kind: 'audio', content: 'AAA=' }, { type: 'raw' }]);
  });
});

describe('raw', () => {
  it.each([
    'queued_somewhere',
    'web_search_call.searching',
    'file_search_call.completed',
    'code_interpreter_call_code.delta',
    'mcp_list_tools.failed',
    'image_generation_call.generating',
    'output_text.annotation.added',
    'shell_call_output_content.delta',
    'compaction.compacting',
    'audio.transcript.done',
  ])('is what has no event of its own: %s', (type) => {
    const odd = on(type, { item: 7, delta: { deep: true }, response: null, error: { code: 'x' }, output_index: 'a' });
    expect(decoded([odd]).events).toStrictEqual([{ type: 'raw', frame: odd }]);
  });

  it('is a frame without a type, and a value that is no object', () => {
    expect(decoded([{ type: null, delta: 'a' }, '[]', '"a"']).events).toHaveLength(3);
  });

  it('is what a response has beside the documented members, once', () => {
    const filtered = (type: string): Fields =>
      on(type, response({ status: 'in_progress', content_filters: [{ blocked: false }] }));
    expect(decoded([filtered('created'), filtered('queued')]).events.map(({ type }) => type)).toStrictEqual([
      'status',
      'raw',
      'raw', // of which there is nothing new
    ]);
    const last = decoded([completed([], { content_filters: [{ blocked: false }] })]);
    expect(last.events.map(({ type }) => type)).toStrictEqual(['status', 'raw', 'finish']);
  });

  it('has the name of its event', () => {
    const { events } = decodeAll(responsesDialect(), `event: response.odd\n${frame(on('odd'))}`);
    expect(events).toStrictEqual([{ type: 'raw', frame: on('odd'), event: 'response.odd' }]);
  });
});

describe('status and usage', () => {
  it('are told when they change', () => {
    const used = {
      input_tokens: 9,
      input_tokens_details: { cached_tokens: 3 },
      output_tokens: 4,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 13,
    };
    const { events } = decoded([
      on('created', response({ status: 'queued' })),
      on('queued', response({ status: 'queued' })),
      on('in_progress', response()),
      completed([], { usage: used }),
    ]);
    expect(events.filter(({ type }) => type !== 'raw')).toStrictEqual([
      { type: 'status', status: 'queued', id: 'resp_1', terminal: false },
      { type: 'status', status: 'in_progress', id: 'resp_1', terminal: false },
      { type: 'status', status: 'completed', id: 'resp_1', terminal: true },
      {
        type: 'usage',
        inputTokens: 9,
        outputTokens: 4,
        totalTokens: 13,
        reasoningTokens: 0,
        cachedTokens: 3,
        provenance: 'reported',
      },
      { type: 'finish', reason: 'stop', rawReason: 'completed' },
    ]);
  });

  it('leave out what nobody told', () => {
    const result = decoded([completed([], { id: null, usage: { input_tokens: 0, output_tokens: null } })]);
    expect(ofType(result, 'usage')).toStrictEqual([{ type: 'usage', inputTokens: 0, provenance: 'reported' }]);
    expect(ofType(result, 'status')).toStrictEqual([{ type: 'status', status: 'completed', terminal: true }]);
    expect(ofType(decoded([completed([], { usage: {} })]), 'usage')).toStrictEqual([]);
  });
});

describe('the end', () => {
  it.each([
    ['max_output_tokens', 'length', 'max_output_tokens'],
    ['max_tokens', 'length', 'max_tokens'],
    ['content_filter', 'content-filter', 'content_filter'],
    ['max_messages', 'other', 'max_messages'],
    ['steered', 'other', 'steered'],
    [null, 'other', 'incomplete'],
  ])('of an incomplete response is its reason: %s', (reason, expected, rawReason) => {
    const { events, outcome } = decoded([text('a'), incomplete(reason)]);
    expect([events.at(-1), outcome]).toStrictEqual([{ type: 'finish', reason: expected, rawReason }, 'complete']);
  });

  it('is what the status says, where frame and status differ', () => {
    const cut = on(
      'completed',
      response({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }),
    );
    expect(decoded([cut]).events.at(-1)).toMatchObject({ reason: 'length' });
    expect(decoded([on('completed', response({ status: 'in_progress' }))]).outcome).toBe('complete');
    expect(decoded([on('completed', response({ status: 'failed' }))]).outcome).toBe('failed');
    expect(decoded([on('completed', { response: null })]).outcome).toBe('complete');
  });

  it('takes what follows it for nothing', () => {
    const { text: told, outcome, events } = decoded([text('a'), completed(), '[DONE]', text('b'), '{']);
    expect([told, outcome, events.at(-1)?.type]).toStrictEqual(['a', 'complete', 'finish']);
  });

  it('is not [DONE], nor a body that is over', () => {
    expect(decoded([text('a'), '[DONE]']).outcome).toBe('interrupted');
    expect(decodeAll(responsesDialect(), frame(text('a')), { intact: true }).outcome).toBe('interrupted');
    const all = [created, done(said('a'))].map(frame).join('');
    expect(decodeAll(responsesDialect(), all, { intact: true }).outcome).toBe('interrupted');
  });

  it('is a refusal where there was nothing else', () => {
    const no = on('refusal.delta', at(0, { delta: 'no' }));
    expect(decoded([no, completed()]).events.at(-1)).toMatchObject({ reason: 'refusal' });
    expect(decoded([text('Well, '), no, completed()]).events.at(-1)).toMatchObject({ reason: 'stop' });
  });
});

describe('failures', () => {
  const because = { code: 'server_error', message: 'It broke.' };

  it.each<[string, Fields, unknown, string | undefined, boolean]>([
    [
      'a failed response',
      on('failed', response({ status: 'failed', error: because })),
      'server_error',
      'It broke.',
      true,
    ],
    ['one that says nothing', on('failed', response()), 'failed', 'the response was not completed', false],
    ['one that says it beside', on('failed', { error: because }), 'server_error', 'It broke.', true],
    [
      'a cancelled one',
      on('cancelled', response({ status: 'cancelled' })),
      'cancelled',
      'the response was cancelled',
      false,
    ],
    ['the event error', { type: 'error', ...because, param: null }, 'server_error', 'It broke.', true],
    [
      'with the error inside',
      { type: 'error', error: { type: 'tokens', ...because } },
      'server_error',
      'It broke.',
      true,
    ],
    ['without a code', { type: 'error', code: null, message: 'It broke.' }, undefined, 'It broke.', false],
    [
      'an error body',
      { error: { code: 'rate_limit_exceeded', message: 'Slow.' } },
      'rate_limit_exceeded',
      'Slow.',
      true,
    ],
    [
      'no quota',
      { type: 'error', error: { code: 'insufficient_quota', message: 'Pay.' } },
      'insufficient_quota',
      'Pay.',
      false,
    ],
    [
      'a slow store',
      on('failed', response({ error: { code: 'vector_store_timeout', message: 'x' } })),
      'vector_store_timeout',
      'x',
      true,
    ],
    [
      'a background response',
      on('failed', response({ background: true, error: because })),
      'server_error',
      'It broke.',
      false,
    ],
  ])('are told as they came: %s', (_, failing, code, message, retryable) => {
    const result = decoded([created, text('a'), failing, completed(), '[DONE]']);
    expect(result).toMatchObject({ text: 'a', outcome: 'failed' });
    const { providerCode, providerMessage, retryable: canRetry } = failureOf(result);
    expect([providerCode, providerMessage, canRetry]).toStrictEqual([code, message, retryable]);
  });

  it('are told by an event named error, whatever it holds', () => {
    const result = decodeAll(responsesDialect(), 'event: error\ndata: too busy\n\n');
    expect(failureOf(result).providerMessage).toBe('too busy');
  });

  it('come after what stands beside them', () => {
    const failing = on('failed', response({ error: because, output: [said('abc')], usage: { input_tokens: 2 } }));
    const result = decoded([text('a'), failing]);
    expect(result.text).toBe('abc');
    expect(ofType(result, 'usage')).toMatchObject([{ inputTokens: 2 }]);
    expect(ofType(result, 'status')).toMatchObject([{ status: 'failed', terminal: true }]);
    expect(result.events.at(-1)?.type).not.toBe('finish');
  });

  it('take the rule of the caller', () => {
    const result = decoded([{ type: 'error', ...because }], { retryable: () => false, name: 'acme' });
    expect(failureOf(result)).toMatchObject({ retryable: false, message: 'acme reported server_error: It broke.' });
  });
});

describe('a stream over several connections', () => {
  const numbered = (frames: readonly Fields[]): Fields[] =>
    frames.map((fields, number) => ({ ...fields, sequence_number: number }));
  const whole = numbered([
    created,
    added(said('', { content: [] })),
    text('One '),
    text('two '),
    text('two '),
    text('three.'),
    on('output_text.done', at(0, { text: 'One two two three.' })),
    done(said('One two two three.')),
    completed([said('One two two three.')]),
  ]);
  const body = (frames: readonly Fields[]): string => frames.map(frame).join('');

  it('has each text once, wherever the connection is lost and however much is told again', () => {
    for (let cut = 0; cut < whole.length; cut += 1) {
      for (let from = 0; from <= cut; from += 1) {
        const reading = new Reconnecting(responsesDialect()).read(body(whole.slice(0, cut))).reconnect();
        reading.read(body(whole.slice(from)));
        expect([reading.text, reading.proof, reading.restarts]).toStrictEqual(['One two two three.', 'done', 0]);
      }
    }
  });

  it('names its response and its place from the first frame on', () => {
    const decoder = responsesDialect().decoder();
    const places: unknown[] = [];
    for (const fields of whole.slice(0, 3)) {
      decoder.push({ type: 'event', event: 'message', data: JSON.stringify(fields), id: '' }, () => {
        places.push(decoder.place);
      });
    }
    expect(places).toStrictEqual([
      { id: 'resp_1', cursor: '0' },
      { id: 'resp_1', cursor: '1' },
      { id: 'resp_1', cursor: '2' },
    ]);
  });

  it('takes numbers for nothing on one connection', () => {
    const same = [text('a'), text('b'), text('c')].map((fields) => ({ ...fields, sequence_number: 0 }));
    expect(decodeAll(responsesDialect(), body(same)).text).toBe('abc');
  });

  it('tells what follows where it begins late, and compares what began there', () => {
    const late = numbered([
      ...whole,
      text('More', 1),
      on('output_item.done', { output_index: 1, item: said('More.', { id: 'it_1' }) }),
    ]);
    const joined = [
      ...late.slice(4, 8),
      ...late.slice(9),
      { ...completed([said('One two two three.'), said('More.', { id: 'it_1' })]), sequence_number: 12 },
    ];
    const result = decodeAll(responsesDialect(), body(joined));
    expect([result.text, ofType(result, 'restart'), result.outcome]).toStrictEqual(['two three.More', [], 'complete']);
    const anew = [
      text('x', 0, { sequence_number: 5 }),
      { ...added(said('', { id: 'it_1', content: [] }), 1), sequence_number: 6 },
      done(said('More.', { id: 'it_1' }), 1),
    ];
    expect(decodeAll(responsesDialect(), body(anew)).text).toBe('xMore.');
  });

  describe('and the response as it is stored', () => {
    const stored = (fields: Fields): Fields => ({ id: 'resp_1', object: 'response', background: true, ...fields });

    it('waits while it goes on, and then adds what is missing', () => {
      for (let cut = 0; cut < 8; cut += 1) {
        const reading = new Reconnecting(responsesDialect()).read(body(whole.slice(0, cut))).reconnect();
        reading.stored(stored({ status: 'queued', output: [] })).stored(stored({ status: 'in_progress' }));
        expect(reading.proof).toBe('open');
        reading.stored(
          stored({ status: 'completed', output: [said('One two two three.')], usage: { input_tokens: 1 } }),
        );
        expect([reading.text, reading.proof, reading.restarts]).toStrictEqual(['One two two three.', 'done', 0]);
        expect(reading.of('usage')).toHaveLength(1);
      }
    });

    it('fails with it, and is cut with it', () => {
      const failing = (): unknown =>
        new Reconnecting(responsesDialect()).stored(stored({ status: 'failed', error: { code: 'x', message: 'y' } }));
      expect(failing).toThrow(ProviderError);
      const cut = new Reconnecting(responsesDialect()).stored(
        stored({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output: [said('On')] }),
      );
      expect(cut.of('finish')).toMatchObject([{ reason: 'length' }]);
    });

    it('is told anew to a reader who joined late', () => {
      const reading = new Reconnecting(responsesDialect()).read(body(whole.slice(4, 6))).reconnect();
      reading.stored(stored({ status: 'completed', output: [said('One two two three.')] }));
      expect([reading.text, reading.restarts]).toStrictEqual(['One two two three.', 1]);
    });

    it('is refused where it is no response', () => {
      expect(() => new Reconnecting(responsesDialect()).stored('<html>')).toThrow(ValidationError);
    });
  });
});

describe('the turn', () => {
  const reasoning = { id: 'rs_1', type: 'reasoning', summary: [], encrypted_content: 'gAAA+/=', status: 'completed' };
  const message = said('Hi', { id: 'msg_1', phase: 'final_answer' });
  const call = called({ id: 'fc_1' });

  it('is the items as they came, with what the API refuses left out', async () => {
    const custom = {
      id: 'ct_1',
      type: 'custom_tool_call',
      call_id: 'c2',
      name: 'run',
      input: 'x',
      status: 'completed',
    };
    const image = {
      id: 'ig_1',
      type: 'image_generation_call',
      status: 'completed',
      result: 'aGk=',
      size: '1x1',
      quality: 'low',
    };
    const search = {
      id: 'ws_1',
      type: 'web_search_call',
      status: 'completed',
      action: { type: 'search', query: null },
    };
    const items: Fields[] = [{ ...reasoning, content: null }, message, call, custom, image, search];
    const turn = await turnOf([...items.map((item, index) => done(item, index)), completed(items)]);
    expect(turn).toStrictEqual([
      { id: 'rs_1', type: 'reasoning', summary: [], encrypted_content: 'gAAA+/=' },
      message,
      call,
      { id: 'ct_1', type: 'custom_tool_call', call_id: 'c2', name: 'run', input: 'x' },
      { id: 'ig_1', type: 'image_generation_call', status: 'completed', result: 'aGk=' },
      search,
    ]);
  });

  it('is the same where only the whole response tells the items, or tells some of them', async () => {
    const { status: _, ...thought } = reasoning;
    const expected = [thought, message, call];
    expect(await turnOf([text('Hi'), completed([reasoning, message, call])])).toStrictEqual(expected);
    expect(await turnOf([done(message, 1), completed([reasoning, message, call])])).toStrictEqual(expected);
    expect(await turnOf([done({ ...message, id: 'msg_1' }, 1), done(message, 1), completed([message])])).toStrictEqual([
      message,
    ]);
  });

  it('leaves out what is not whole, and the reasoning that led to it', async () => {
    const cut = called({ id: 'fc_2', call_id: 'c2', arguments: '{"q', status: 'incomplete' });
    const items = [message, reasoning, cut];
    const frames = items.map((item, index) => done(item, index));
    expect(await turnOf([...frames, incomplete('max_output_tokens', items)])).toStrictEqual([message]);
    const unfinished = said('Hi th', { id: 'msg_2', status: 'incomplete' });
    expect(await turnOf([done(unfinished), incomplete('max_output_tokens', [unfinished])])).toStrictEqual([unfinished]);
  });

  it('has text of which no item was told as a message of its own', async () => {
    const plain = { type: 'message', role: 'assistant', content: 'Hi' };
    expect(await turnOf([text('H'), text('i'), completed()])).toStrictEqual([plain]);
    expect(await turnOf([done(reasoning), text('H', 1), text('i', 1), completed()])).toStrictEqual([plain]);
  });

  it('has calls of which no item was told', async () => {
    const frames = [added(called({ arguments: '' })), argue('{"q":1}'), completed()];
    expect(await turnOf(frames)).toStrictEqual([
      { type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{"q":1}' },
    ]);
    const custom = { id: 'it_0', type: 'custom_tool_call', call_id: 'c', name: 'run', input: '' };
    const run = [added(custom), on('custom_tool_call_input.delta', at(0, { delta: 'x' })), completed()];
    expect(await turnOf(run)).toStrictEqual([{ type: 'custom_tool_call', call_id: 'c', name: 'run', input: 'x' }]);
  });

  it('is the whole answer where that voided what was streamed', async () => {
    expect(await turnOf([text('Bye', 0), done(said('Hi')), completed([said('Hi')])])).toStrictEqual([said('Hi')]);
  });
});

/** A whole stream of an answer: every frame that the API would send, and what a reader must have in the end. */
interface Story {
  readonly frames: readonly { readonly fields: Fields; readonly isLast: boolean }[];
  readonly truth: { readonly text: string; readonly thinking: string; readonly calls: readonly string[] };
}

function storyOf(items: readonly (readonly [kind: string, pieces: readonly string[]])[], rotate: boolean): Story {
  let changes = 0;
  const name = (index: number): string => (rotate ? `r${String((changes += 1))}` : `it_${String(index)}`);
  const frames: Fields[] = [created];
  const output: Fields[] = [];
  for (const [index, [kind, pieces]] of items.entries()) {
    const whole = pieces.join('');
    const place = (more: Fields): Fields => ({ item_id: name(index), output_index: index, ...more });
    const argumentsText = JSON.stringify({ pieces });
    const item = (id: string): Fields =>
      ({
        message: said(whole, { id }),
        reasoning: { id, type: 'reasoning', summary: [{ type: 'summary_text', text: whole }] },
        call: called({ id, call_id: `call_${String(index)}`, arguments: argumentsText }),
      })[kind] ?? {};
    frames.push(added({ ...item(name(index)), content: [], summary: [], arguments: '' }, index));
    if (kind === 'call') {
      for (const piece of argumentsText.match(/.{1,3}/gsu) ?? [])
        frames.push(on('function_call_arguments.delta', place({ delta: piece })));
      frames.push(on('function_call_arguments.done', place({ arguments: argumentsText })));
    } else {
      const type = kind === 'message' ? 'output_text' : 'reasoning_summary_text';
      for (const delta of pieces)
        frames.push(on(`${type}.delta`, place({ content_index: 0, summary_index: 0, delta })));
      frames.push(on(`${type}.done`, place({ content_index: 0, summary_index: 0, text: whole })));
    }
    frames.push(done(item(name(index)), index));
    output.push(item(name(index)));
  }
  const join = (kind: string): string => items.flatMap((item) => (item[0] === kind ? item[1] : [])).join('');
  return {
    frames: [...frames.map((fields) => ({ fields, isLast: false })), { fields: completed(output), isLast: true }],
    truth: {
      text: join('message'),
      thinking: join('reasoning'),
      calls: items.flatMap(([kind], index) => (kind === 'call' ? [`call_${String(index)}`] : [])),
    },
  };
}

const stories = fc
  .tuple(
    fc.array(
      fc.tuple(
        fc.constantFrom('message', 'reasoning', 'call'),
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '水'), minLength: 1 }), { minLength: 1, maxLength: 4 }),
      ),
      { maxLength: 5 },
    ),
    fc.boolean(),
  )
  .map(([items, rotate]) => storyOf(items, rotate));

/** What counts in the end: nothing from before the last restart. */
function kept(events: Decoded['events']): Story['truth'] {
  const from = events.findLastIndex(({ type }) => type === 'restart') + 1;
  const rest = { events: events.slice(from) };
  return {
    text: ofType(rest, 'text')
      .map((event) => event.text)
      .join(''),
    thinking: ofType(rest, 'thinking')
      .map((event) => event.text)
      .join(''),
    calls: ofType(rest, 'tool-call')
      .map(({ id }) => id)
      .sort(),
  };
}

describe('any answer', () => {
  it('is there once where only its pieces, or only its wholes, or both are told', () => {
    fc.assert(
      fc.property(stories, fc.boolean(), fc.boolean(), ({ frames, truth }, pieces, wholes) => {
        const told = frames.filter(({ fields, isLast }) => {
          const type = String(fields['type']);
          return isLast || (type.endsWith('.delta') ? pieces : type.endsWith('.done') ? wholes : true);
        });
        const result = decoded(told.map(({ fields }) => fields));
        expect([kept(result.events), result.outcome, ofType(result, 'restart').length]).toStrictEqual([
          truth,
          'complete',
          0,
        ]);
      }),
    );
  });

  it('is there once in the end, whatever frames before the last one are lost', () => {
    fc.assert(
      fc.property(stories, fc.infiniteStream(fc.boolean()), ({ frames, truth }, keep) => {
        const told = frames.filter(({ isLast }) => keep.next().value === true || isLast);
        const result = decoded(told.map(({ fields }) => fields));
        expect([kept(result.events), result.outcome]).toStrictEqual([truth, 'complete']);
      }),
      { numRuns: 500 },
    );
  });
});

it('refuses a response of more items than any has, and takes as many as that', () => {
  const decoder = responsesDialect().decoder();
  const begin = (number: number): unknown =>
    decoder.push(
      { type: 'event', event: 'message', id: '', data: JSON.stringify(added({ type: 'x' }, number)) },
      () => undefined,
    );
  for (let number = 0; number < 65_536; number += 1) begin(number);
  expect(() => begin(65_536)).toThrow(ProtocolError);
});
