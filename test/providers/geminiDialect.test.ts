import fc from 'fast-check';
import { of, Subject } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { InterruptedError, LimitError, ProtocolError, ValidationError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { geminiDialect } from '../../src/providers/geminiDialect.js';
import type { FinishReason, StreamEvent, ToolCallEvent, WireEvent } from '../../src/types.js';
import { decodeAll, type Decoded, frame, ofType } from '../support/decodeAll.js';

type Part = Readonly<Record<string, unknown>>;

/** A frame with one candidate. */
const said = (parts: readonly unknown[], rest: object = {}): string =>
  frame({ candidates: [{ content: { role: 'model', parts }, ...rest }] });
const STOP = { finishReason: 'STOP' };
const read = (...frames: readonly string[]): Decoded => decodeAll(geminiDialect(), frames.join(''));
const calls = (decoded: Decoded): readonly ToolCallEvent[] => ofType(decoded, 'tool-call');
const turn = (decoded: Decoded): readonly Part[] => geminiDialect().turn?.build(decoded.events).parts ?? [];
const raws = (decoded: Decoded): unknown[] => ofType(decoded, 'raw').map(({ frame: told }) => told);
const failureOf = (...frames: readonly string[]): unknown => read(...frames).error;

describe('text and thinking', () => {
  it('gives the parts in their order, and never an empty one', () => {
    const decoded = read(
      said([{ text: 'Hm', thought: true }, { text: '' }, { text: 'He' }]),
      said([{ text: 'llo', thought: null, thoughtSignature: null }], STOP),
    );
    expect(decoded.events).toStrictEqual([
      { type: 'thinking', text: 'Hm', index: 0, name: 'thinking' },
      { type: 'text', text: 'He', index: 0, name: 'output' },
      { type: 'text', text: 'llo', index: 0, name: 'output' },
      { type: 'finish', reason: 'stop', rawReason: 'STOP' },
    ]);
    expect(turn(decoded)).toStrictEqual([{ text: 'Hm', thought: true }, { text: 'Hello' }]);
  });

  it.each([
    ['no content', {}],
    ['content that is null', { content: null }],
    ['content without parts', { content: { role: 'model' } }],
    ['parts that are null', { content: { parts: null } }],
    ['no parts', { content: { parts: [] } }],
    ['a part that is null', { content: { parts: [null] } }],
  ])('takes %s', (_, candidate) => {
    const decoded = read(said([{ text: 'a' }]), frame({ candidates: [{ ...candidate, ...STOP }] }));
    expect(decoded).toMatchObject({ text: 'a', outcome: 'complete' });
  });

  it('takes CRLF, CR and event names', () => {
    const body = said([{ text: 'a' }]) + said([{ text: 'b' }], STOP);
    for (const end of ['\r\n', '\r', '\n']) {
      expect(read(body.replaceAll('\n', end))).toMatchObject({ text: 'ab', outcome: 'complete' });
      expect(read(body.replaceAll('data: ', 'event: chunk\ndata: ').replaceAll('\n', end))).toMatchObject({
        text: 'ab',
      });
    }
  });

  it('marks the other candidates, and gives no turn of them', () => {
    const decoded = decodeAll(
      geminiDialect({ candidates: 2 }),
      frame({
        candidates: [
          { index: 0, content: { parts: [{ text: 'a' }] }, ...STOP },
          { index: 1, content: { parts: [{ text: 'b', thoughtSignature: 'c2ln' }] } },
        ],
      }) + frame({ candidates: [{ index: 1, content: { parts: [{ text: 'c' }] }, finishReason: 'MAX_TOKENS' }] }),
    );
    expect(ofType(decoded, 'text').map(({ text, index, alternative }) => [text, index, alternative])).toStrictEqual([
      ['a', 0, undefined],
      ['b', 1, true],
      ['c', 1, true],
    ]);
    expect(decoded.events.at(-1)).toStrictEqual({
      type: 'finish',
      reason: 'stop',
      rawReason: 'STOP',
      choices: [
        { index: 0, reason: 'stop', rawReason: 'STOP' },
        { index: 1, reason: 'length', rawReason: 'MAX_TOKENS' },
      ],
    });
    expect(decoded.events.some((event) => geminiDialect().turn?.needs?.(event as never) === true)).toBe(false);
  });

  it('is interrupted while one of the candidates that were asked for is missing', () => {
    const body = said([{ text: 'a' }], STOP);
    expect(decodeAll(geminiDialect({ candidates: 2 }), body).outcome).toBe('interrupted');
    expect(read(body, frame({ candidates: [{ index: 1, content: { parts: [{ text: 'b' }] } }] })).outcome).toBe(
      'interrupted',
    );
  });
});

describe('the end', () => {
  it.each<[string, FinishReason]>([
    ['STOP', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['SAFETY', 'content-filter'],
    ['RECITATION', 'content-filter'],
    ['BLOCKLIST', 'content-filter'],
    ['PROHIBITED_CONTENT', 'content-filter'],
    ['SPII', 'content-filter'],
    ['IMAGE_SAFETY', 'content-filter'],
    ['IMAGE_PROHIBITED_CONTENT', 'content-filter'],
    ['IMAGE_RECITATION', 'content-filter'],
    ['IMAGE_OTHER', 'other'],
    ['NO_IMAGE', 'other'],
    ['LANGUAGE', 'other'],
    ['OTHER', 'other'],
    ['A_WORD_OF_TOMORROW', 'other'],
  ])('is proven by %s, as %s', (finishReason, reason) => {
    const { events, outcome } = read(said([{ text: 'a' }]), frame({ candidates: [{ finishReason }] }));
    expect(outcome).toBe('complete');
    expect(events.at(-1)).toStrictEqual({ type: 'finish', reason, rawReason: finishReason });
    expect(events.some(({ type }) => type === 'warning')).toBe(false);
  });

  it.each([
    'MALFORMED_FUNCTION_CALL',
    'MALFORMED_RESPONSE',
    'UNEXPECTED_TOOL_CALL',
    'TOO_MANY_TOOL_CALLS',
    'MISSING_THOUGHT_SIGNATURE',
  ])('is proven by %s, with a warning that says what the server said', (finishReason) => {
    const decoded = read(said([{ text: 'a' }]), frame({ candidates: [{ finishReason, finishMessage: 'bad call' }] }));
    expect(decoded.outcome).toBe('complete');
    expect(ofType(decoded, 'warning')).toMatchObject([
      { code: 'provider-warning', message: expect.stringContaining('bad call') as string, detail: { finishReason } },
    ]);
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'other', rawReason: finishReason });
  });

  it.each(['FINISH_REASON_UNSPECIFIED', '', null])('is not proven by %j', (finishReason) => {
    expect(read(said([{ text: 'a' }], { finishReason })).outcome).toBe('interrupted');
  });

  it('is not awaited: usage, grounding and text behind the finish reason are read', () => {
    const decoded = read(
      said([{ text: 'a' }], STOP),
      said([{ text: 'b' }]),
      frame({ candidates: [{ groundingMetadata: { webSearchQueries: ['q'] } }] }),
      frame({ usageMetadata: { promptTokenCount: 1 } }),
    );
    expect(decoded).toMatchObject({ text: 'ab', outcome: 'complete' });
    expect(ofType(decoded, 'usage')).toHaveLength(1);
    expect(decoded.events.at(-1)).toMatchObject({ type: 'finish' });
    expect(ofType(decoded, 'warning')).toStrictEqual([]);
  });

  it('is not a STOP that came before any content, once content comes', () => {
    const empty = frame({ candidates: [{ content: { parts: [] }, ...STOP }] });
    expect(read(empty).outcome).toBe('complete');
    expect(read(empty, empty, said([{ text: 'a' }])).outcome).toBe('interrupted');
    expect(read(empty, empty, said([{ text: 'a' }]), said([{ text: 'b' }], STOP))).toMatchObject({
      text: 'ab',
      outcome: 'complete',
    });
    expect(read(frame({ candidates: [{ finishReason: 'MAX_TOKENS' }] }), said([{ text: 'a' }])).outcome).toBe(
      'complete',
    );
  });

  it('takes a refused prompt as an end, and tells why', () => {
    const frames = frame({ promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: { promptTokenCount: 7 } });
    expect(read(frames)).toMatchObject({
      outcome: 'complete',
      events: [
        { type: 'usage', inputTokens: 7 },
        { type: 'raw', frame: { promptFeedback: { blockReason: 'SAFETY' } } },
        { type: 'finish', reason: 'content-filter', rawReason: 'SAFETY' },
      ],
    });
    expect(read(frame({ promptFeedback: { blockReason: 'BLOCK_REASON_UNSPECIFIED' } })).outcome).toBe('interrupted');
    expect(read(frame({ promptFeedback: { safetyRatings: [] } })).outcome).toBe('interrupted');
    expect(read(frame({ promptFeedback: null }), said([{ text: 'a' }], STOP)).outcome).toBe('complete');
  });

  it('waits for the end of the body, and completes there', () => {
    const wire = new Subject<WireEvent>();
    const seen: StreamEvent[] = [];
    let ended: unknown;
    wire.pipe(decode(geminiDialect())).subscribe({
      next: (event) => seen.push(event),
      error: (error: unknown) => (ended = error),
      complete: () => (ended = 'complete'),
    });
    const data = JSON.stringify({ candidates: [{ content: { parts: [{ text: 'a' }] }, ...STOP }] });
    wire.next({ type: 'event', event: 'message', data, id: '' });
    expect(ended).toBeUndefined();
    wire.complete();
    expect(ended).toBe('complete');
    expect(seen.map(({ type }) => type)).toStrictEqual(['text', 'finish']);
  });

  it('is an interruption without a finish reason', () => {
    const wire = new Subject<WireEvent>();
    let ended: unknown;
    wire.pipe(decode(geminiDialect())).subscribe({ error: (error: unknown) => (ended = error) });
    wire.next({
      type: 'event',
      event: 'message',
      data: '{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}',
      id: '',
    });
    wire.complete();
    expect(ended).toBeInstanceOf(InterruptedError);
  });
});

describe('tool calls', () => {
  it('gives them whole, with ids of its own where there are none, which no two answers share', () => {
    const parts = [
      { functionCall: { name: 'look', args: { q: 'x' } } },
      { functionCall: { id: 'fc1', name: 'look', args: {} } },
      { functionCall: { name: 'now' } },
    ];
    const decoded = read(frame({ candidates: [{ content: { parts }, ...STOP }], responseId: 'r1' }));
    expect(calls(decoded)).toMatchObject([
      { index: 0, name: 'look', arguments: { q: 'x' }, argumentsText: '{"q":"x"}' },
      { id: 'fc1', name: 'look', arguments: {}, argumentsText: '{}' },
      { name: 'now', arguments: {}, argumentsText: '{}' },
    ]);
    expect(new Set(calls(decoded).map(({ id }) => id)).size).toBe(3);
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'tool-calls', rawReason: 'STOP' });
    expect(turn(decoded)).toStrictEqual([
      { functionCall: { name: 'look', args: { q: 'x' } } },
      { functionCall: { id: 'fc1', name: 'look', args: {} } },
      { functionCall: { name: 'now', args: {} } },
    ]);
    const other = read(frame({ candidates: [{ content: { parts }, ...STOP }], responseId: 'r2' }));
    expect(calls(other)[0]?.id).not.toBe(calls(decoded)[0]?.id);
  });

  it('keeps the reason of an answer that ended otherwise, and counts a call that comes after STOP', () => {
    const call = { functionCall: { name: 'look', args: {} } };
    expect(read(said([call], { finishReason: 'MAX_TOKENS' })).events.at(-1)).toMatchObject({ reason: 'length' });
    expect(read(said([{ text: 'a' }], STOP), said([call])).events.at(-1)).toMatchObject({ reason: 'tool-calls' });
  });

  const piece = (call: object, rest: object = {}): string => said([{ functionCall: call }], rest);
  const pieces = (...partialArgs: readonly object[]): string => piece({ partialArgs, willContinue: true });
  const streamed = (...partialArgs: readonly object[]): Decoded =>
    read(piece({ name: 'f', willContinue: true }), pieces(...partialArgs), piece({}, STOP));

  it('joins arguments that come in pieces', () => {
    const decoded = read(
      piece({ name: 'f', id: 'c1', willContinue: true }),
      pieces({ jsonPath: '$.a', stringValue: 'x', willContinue: true }, { jsonPath: '$.n', numberValue: 0 }),
      pieces({ jsonPath: '$.a', stringValue: 'y', willContinue: true }),
      pieces({ jsonPath: '$.a', stringValue: '' }, { jsonPath: '$.b', boolValue: false }),
      pieces({ jsonPath: '$.z', nullValue: 'NULL_VALUE' }, { jsonPath: '$.y', nullValue: null }),
      pieces(
        { jsonPath: '$.deep.list[1].k', stringValue: 'two' },
        { jsonPath: '$.deep.list[0].k', stringValue: 'one' },
        { jsonPath: "$['a b']['it\\'s \"so\"']", stringValue: 'q' },
        { jsonPath: '$["c.d"]["[0]"]', stringValue: 'r' },
        { jsonPath: '$.rows[0][1]', numberValue: 1 },
        { jsonPath: '$.rows[0][0]', numberValue: -2.5 },
      ),
      piece({}, STOP),
    );
    const expected = {
      a: 'xy',
      n: 0,
      b: false,
      z: null,
      y: null,
      deep: { list: [{ k: 'one' }, { k: 'two' }] },
      'a b': { 'it\'s "so"': 'q' },
      'c.d': { '[0]': 'r' },
      rows: [[-2.5, 1]],
    };
    expect(calls(decoded)).toStrictEqual([
      {
        type: 'tool-call',
        index: 0,
        id: 'c1',
        name: 'f',
        arguments: expected,
        argumentsText: JSON.stringify(expected),
      },
    ]);
    expect(ofType(decoded, 'tool-call-delta')).toStrictEqual([]);
    expect(raws(decoded)).toHaveLength(7);
    expect(turn(decoded)).toStrictEqual([{ functionCall: { id: 'c1', name: 'f', args: expected } }]);
  });

  it('gives a call without pieces no arguments, and takes a call that begins and ends at once', () => {
    expect(calls(read(piece({ name: 'f', willContinue: true }), piece({}, STOP)))).toMatchObject([{ arguments: {} }]);
    const partialArgs = [{ jsonPath: '$.a', stringValue: 'x' }];
    expect(calls(read(piece({ name: 'f', partialArgs }, STOP)))).toMatchObject([{ arguments: { a: 'x' } }]);
    expect(read(piece({}), said([{ text: 'a' }], STOP))).toMatchObject({ text: 'a', outcome: 'complete' });
  });

  it('tells interleaved calls apart by their ids', () => {
    const decoded = read(
      piece({ name: 'f', id: 'a', willContinue: true }),
      piece({ name: 'f', id: 'b', willContinue: true }),
      piece({ id: 'a', partialArgs: [{ jsonPath: '$.x', stringValue: '1' }], willContinue: true }),
      piece({ id: 'b', partialArgs: [{ jsonPath: '$.x', stringValue: '2' }] }),
      piece({ id: 'a' }, STOP),
    );
    expect(calls(decoded)).toMatchObject([
      { id: 'b', arguments: { x: '2' } },
      { id: 'a', arguments: { x: '1' } },
    ]);
  });

  it('takes any key as a key', () => {
    const [call] = calls(
      streamed(
        { jsonPath: '$.__proto__.polluted', boolValue: true },
        { jsonPath: '$.constructor.prototype.polluted', boolValue: true },
        { jsonPath: '$.toString', stringValue: 'x' },
      ),
    );
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.keys(call?.arguments as object)).toStrictEqual(['__proto__', 'constructor', 'toString']);
    expect(call?.argumentsText).toBe(
      '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":"x"}',
    );
  });

  it.each([
    ['a string that goes on', [{ jsonPath: '$.a', stringValue: 'x', willContinue: true }]],
    ['a value that never came', [{ jsonPath: '$.a', willContinue: true }]],
    ['a hole in a list', [{ jsonPath: '$.a[4000000000]', stringValue: 'x' }]],
    [
      'a place of two kinds',
      [
        { jsonPath: '$.a', stringValue: 'x' },
        { jsonPath: '$.a.b', stringValue: 'x' },
      ],
    ],
    [
      'a list that is an object',
      [
        { jsonPath: '$.a.b', stringValue: 'x' },
        { jsonPath: '$.a[0]', stringValue: 'x' },
      ],
    ],
    [
      'an object that is a value',
      [
        { jsonPath: '$.a.b', stringValue: 'x' },
        { jsonPath: '$.a', stringValue: 'x' },
      ],
    ],
    ['a path that selects many', [{ jsonPath: '$.a[*]', stringValue: 'x' }]],
    ['a path that descends', [{ jsonPath: '$..a', stringValue: 'x' }]],
    ['a path that is cut', [{ jsonPath: '$.a[', stringValue: 'x' }]],
    ['a path without an end', [{ jsonPath: `$${'.a'.repeat(300)}`, stringValue: 'x' }]],
  ])('refuses %s', (_, partialArgs) => {
    expect(() => streamed(...partialArgs)).toThrow(ProtocolError);
  });

  it('refuses a call that never ends, unless the finish reason says why', () => {
    const open = [piece({ name: 'f', willContinue: true }), pieces({ jsonPath: '$.a', stringValue: 'x' })];
    expect(() => read(...open, frame({ candidates: [STOP] }))).toThrow(ProtocolError);
    for (const finishReason of ['MAX_TOKENS', 'SAFETY', 'MALFORMED_FUNCTION_CALL']) {
      const decoded = read(...open, frame({ candidates: [{ finishReason }] }));
      expect(decoded.outcome).toBe('complete');
      expect(calls(decoded)).toStrictEqual([]);
      expect(ofType(decoded, 'warning').map(({ code }) => code)).toContain('tool-call-incomplete');
      expect(turn(decoded)).toStrictEqual([]);
    }
    expect(read(...open).outcome).toBe('interrupted');
  });

  it('warns of a call that ended without being whole, where the answer was cut', () => {
    const open = pieces({ jsonPath: '$.a', stringValue: 'x', willContinue: true });
    const decoded = read(piece({ name: 'f', willContinue: true }), open, piece({}, { finishReason: 'MAX_TOKENS' }));
    expect(calls(decoded)).toStrictEqual([]);
    expect(ofType(decoded, 'warning')).toMatchObject([{ code: 'tool-call-incomplete', detail: { name: 'f' } }]);
    expect(decoded.events.at(-1)).toMatchObject({ type: 'finish', reason: 'length' });
  });

  it('never gives a call of which a piece was skipped', () => {
    const events: StreamEvent[] = [];
    let ended: unknown;
    const frames = [
      piece({ name: 'f', willContinue: true }),
      pieces({ jsonPath: '$.a', stringValue: 'x' }),
      pieces({ jsonPath: '$.a[*]', stringValue: 'x' }),
      piece({}, STOP),
    ];
    of(new TextEncoder().encode(frames.join('')))
      .pipe(parseSSE(), decode(geminiDialect(), { onMalformed: 'skip' }))
      .subscribe({ next: (event) => events.push(event), error: (error: unknown) => (ended = error) });
    expect(events.map(({ type }) => type)).not.toContain('tool-call');
    expect(ended).toBeInstanceOf(ProtocolError);
  });

  it('refuses one character more than maxToolCallChars, over all open calls, and frees what is done', () => {
    const within = (maxToolCallChars: number, ...frames: string[]): Decoded =>
      decodeAll(geminiDialect({ maxToolCallChars }), frames.join(''));
    const call = (text: string): string[] => [
      piece({ name: 'f', willContinue: true }),
      pieces({ jsonPath: '$.a', stringValue: text }),
      piece({}),
    ];
    expect(within(6, ...call('xyz'), ...call('xyz'), said([], STOP)).outcome).toBe('complete');
    expect(() => within(5, ...call('xyz'))).toThrow(LimitError);
    expect(() => geminiDialect({ maxToolCallChars: -1 })).toThrow(RangeError);
    expect(() => geminiDialect({ candidates: 0 })).toThrow(RangeError);
  });

  it('joins a string however it was cut', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1 }), (texts) => {
        const last = texts.length - 1;
        const sent = texts.map((stringValue, at) =>
          pieces({ jsonPath: '$.a', stringValue, ...(at < last && { willContinue: true }) }),
        );
        const [call] = calls(read(piece({ name: 'f', willContinue: true }), ...sent, piece({}, STOP)));
        expect(call?.arguments).toStrictEqual({ a: JSON.parse(JSON.stringify(texts.join(''))) as string });
      }),
      { numRuns: 50 },
    );
  });
});

describe('what has no event of its own', () => {
  it('keeps signatures byte for byte, at the parts that they came with', () => {
    const parts: readonly Part[] = [
      { text: 'Hm', thought: true, thoughtSignature: 'dGhpbms=' },
      { text: 'a' },
      { text: 'b' },
      { text: 'c', thoughtSignature: 'dGV4dA==' },
      { text: 'd' },
      { executableCode: { language: 'PYTHON', code: 'print(1)' }, thoughtSignature: 'Y29kZQ==' },
      { codeExecutionResult: { outcome: 'OUTCOME_OK', output: '1\n' } },
      { functionCall: { name: 'f', args: { b: 1, a: 2 } }, thoughtSignature: 'Y2FsbA==' },
      { functionCall: { name: 'f', args: {} } },
      { toolCall: { toolType: 'GOOGLE_SEARCH_WEB', id: 't1' }, thoughtSignature: 'c2VydmVy' },
      { text: '', thoughtSignature: 'bGFzdA==' },
      { text: '' },
    ];
    const expected = [...parts.slice(0, 1), { text: 'ab' }, ...parts.slice(3, 11)];
    for (const frames of [[said(parts, STOP)], parts.map((part) => said([part])).concat(said([], STOP))]) {
      expect(turn(read(...frames))).toStrictEqual(expected);
    }
    expect(read(said(parts, STOP)).text).toBe('abcd');
  });

  it('gives media as events, once, and with their signatures in the turn', () => {
    const inlineData = { mimeType: 'image/png', data: 'AAAA' };
    const fileData = { mimeType: 'video/mp4', fileUri: 'gs://b/f' };
    const parts = [
      { inlineData, thought: true },
      { inlineData, thoughtSignature: 'aW1n' },
      { fileData, videoMetadata: { fps: 1 } },
    ];
    const decoded = read(said(parts, STOP));
    expect(ofType(decoded, 'media')).toStrictEqual([
      { type: 'media', index: 0, name: 'thinking', kind: 'image/png', content: inlineData },
      { type: 'media', index: 0, name: 'output', kind: 'image/png', content: inlineData },
      { type: 'media', index: 0, name: 'output', kind: 'video/mp4', content: fileData },
    ]);
    expect(JSON.stringify(raws(decoded))).not.toContain('AAAA');
    expect(turn(decoded)).toStrictEqual(parts);
  });

  it('tells metadata when they change, and increments each time', () => {
    const ratings = { safetyRatings: [{ category: 'C', probability: 'LOW' }] };
    const logprobs = { logprobsResult: { chosenCandidates: [{ token: 'a' }] } };
    const decoded = read(
      said([{ text: 'a' }], { ...ratings, ...logprobs }),
      said([{ text: 'a' }], { ...ratings, ...logprobs }),
      said([{ text: 'b' }], { ...ratings, citationMetadata: { citationSources: [{ uri: 'u' }] }, ...STOP }),
    );
    expect(raws(decoded)).toStrictEqual([
      { candidates: [{ index: 0, ...ratings, ...logprobs }] },
      { candidates: [{ index: 0, ...logprobs }] },
      { candidates: [{ index: 0, citationMetadata: { citationSources: [{ uri: 'u' }] } }] },
    ]);
  });

  it('hands on what it does not know: frames, parts, members of a call', () => {
    const decoded = read(
      frame({ wonder: 1 }),
      said([{ tomorrow: { a: 1 } }]),
      said([{ functionCall: { name: 'f', args: {}, mood: 'x' } }], STOP),
      frame([1]),
      frame('"text"'),
    );
    expect(raws(decoded)).toMatchObject([
      { wonder: 1 },
      { candidates: [{ content: { parts: [{ tomorrow: { a: 1 } }] } }] },
      { candidates: [{ content: { parts: [{ functionCall: { mood: 'x' } }] } }] },
      [1],
      'text',
    ]);
    expect(turn(decoded)).toStrictEqual([{ tomorrow: { a: 1 } }, { functionCall: { name: 'f', args: {}, mood: 'x' } }]);
  });

  it('gives a heartbeat for a frame that only repeats', () => {
    const usage = frame({ usageMetadata: { promptTokenCount: 3, trafficType: 'ON_DEMAND' } });
    expect(read(usage, usage).events.map(({ type }) => type)).toStrictEqual(['usage', 'raw', 'heartbeat']);
    expect(read(': keep\n\n').events).toStrictEqual([{ type: 'heartbeat', comment: 'keep' }]);
  });
});

describe('usage', () => {
  it('counts thoughts as output and the prompts of tools as input, and keeps what a later frame leaves out', () => {
    const decoded = read(
      frame({ usageMetadata: { promptTokenCount: 10, thoughtsTokenCount: 5, cachedContentTokenCount: 4 } }),
      frame({ usageMetadata: { candidatesTokenCount: 7, toolUsePromptTokenCount: 3, totalTokenCount: 25 } }),
    );
    expect(ofType(decoded, 'usage')).toStrictEqual([
      { type: 'usage', inputTokens: 10, outputTokens: 5, reasoningTokens: 5, cachedTokens: 4, provenance: 'reported' },
      {
        type: 'usage',
        inputTokens: 13,
        outputTokens: 12,
        totalTokens: 25,
        reasoningTokens: 5,
        cachedTokens: 4,
        provenance: 'reported',
      },
    ]);
  });

  it('knows nothing that nobody told', () => {
    expect(ofType(read(frame({ usageMetadata: { trafficType: 'x', promptTokenCount: null } })), 'usage')).toStrictEqual(
      [],
    );
    expect(ofType(read(frame({ usageMetadata: null }), frame({ usageMetadata: 7 })), 'usage')).toStrictEqual([]);
  });
});

describe('failures', () => {
  const error = { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' };

  it('reads an error in a frame, after what stands beside it', () => {
    expect(failureOf(frame({ error }))).toMatchObject({
      providerCode: 503,
      providerMessage: error.message,
      retryable: true,
      frame: { error },
    });
    const decoded = read(frame({ candidates: [{ content: { parts: [{ text: 'a' }] }, ...STOP }], error }));
    expect(decoded).toMatchObject({ text: 'a', outcome: 'failed' });
    expect(read(frame({ candidates: 'wrong', error })).outcome).toBe('failed');
    expect(read(said([{ text: 'a' }], STOP), frame({ error })).outcome).toBe('failed');
    expect(failureOf(`event: error\n${frame({ code: 500, message: 'm' })}`)).toMatchObject({ providerCode: 500 });
  });

  it.each([
    [429, true],
    [500, true],
    [503, true],
    [504, true],
    [408, true],
    [502, true],
    ['503', true],
    [400, false],
    [403, false],
    [404, false],
    [499, false],
  ])('says whether asking again can help: %j %j', (code, retryable) => {
    expect(failureOf(frame({ error: { code, message: 'm' } }))).toMatchObject({ retryable });
  });

  it('goes by the word where there is no code, and by the rule of the caller', () => {
    expect(failureOf(frame({ error: { status: 'RESOURCE_EXHAUSTED' } }))).toMatchObject({ retryable: true });
    expect(failureOf(frame({ error: { status: 'PERMISSION_DENIED' } }))).toMatchObject({ retryable: false });
    expect(decodeAll(geminiDialect({ retryable: () => false, name: 'mine' }), frame({ error })).error).toMatchObject({
      retryable: false,
      message: expect.stringContaining('mine') as string,
    });
  });

  const pretty = JSON.stringify(
    { error: { ...error, details: [{ '@type': 'a: b', detail: '} "error": {' }] } },
    null,
    2,
  );

  it.each([
    ['on one line', JSON.stringify({ error })],
    ['on many lines', pretty],
    ['with tabs', JSON.stringify({ error }, null, '\t')],
    ['in a list', JSON.stringify([{ error }], null, 2)],
    ['with empty lines', pretty.replaceAll('\n', '\n\n')],
  ])('reads an error without data: %s', (_, text) => {
    for (const before of ['', said([{ text: 'a' }]), said([{ text: 'a' }], STOP)]) {
      for (const end of ['\n', '\r\n', '\n\n']) {
        const decoded = read(before, text.replaceAll('\n', end), end);
        expect(decoded.outcome).toBe('failed');
        expect(decoded.error).toMatchObject({ providerCode: 503, providerMessage: error.message, retryable: true });
      }
    }
  });

  it.each([
    ['before its end', pretty.slice(0, pretty.indexOf('"details"'))],
    ['without a line end', pretty],
    ['inside of its message', `${pretty.slice(0, pretty.indexOf('overloaded'))}\n`],
    ['by another frame', `${pretty.slice(0, pretty.indexOf('"details"'))}\n\n${said([{ text: 'b' }], STOP)}`],
  ])('reads an error without data that is cut %s', (_, text) => {
    for (const before of [said([{ text: 'a' }]), said([{ text: 'a' }], STOP)]) {
      expect(read(before, text)).toMatchObject({ text: 'a', outcome: 'failed', error: { providerCode: 503 } });
    }
  });

  it('ends a stream as failed whose error is cut, through decode too', () => {
    const wire = new Subject<WireEvent>();
    let ended: unknown;
    wire.pipe(decode(geminiDialect())).subscribe({ error: (reason: unknown) => (ended = reason) });
    for (const [field, value] of [
      ['{', ''],
      ['  "error"', '{'],
      ['    "code"', '429,'],
    ] as const) {
      wire.next({ type: 'unknown', field, value });
    }
    wire.complete();
    expect(ended).toMatchObject({ name: 'ProviderError', providerCode: 429, retryable: true });
  });

  it('takes other JSON and other fields without data as raw, whole or cut', () => {
    const decoded = read(
      '{\n"note": "error: none"\n}\n\nfoo: bar\n',
      said([{ text: 'a' }]),
      '{\n"x": 1,\n',
      said([], STOP),
    );
    expect(decoded).toMatchObject({ text: 'a', outcome: 'complete' });
    expect(raws(decoded)).toStrictEqual([{ note: 'error: none' }, { foo: 'bar' }, expect.stringContaining('"x"')]);
    expect(read(said([{ text: 'a' }], STOP), '{\n')).toMatchObject({ outcome: 'complete' });
    expect(read('error: {"message":"m"}\n').outcome).toBe('failed');
  });

  it('is not misled by the same text in what the model says', () => {
    expect(read(said([{ text: pretty }], STOP))).toMatchObject({ text: pretty, outcome: 'complete' });
    expect(read(said([{ text: '{"error":{"code":503}}' }], STOP)).outcome).toBe('complete');
  });

  it('bounds what it holds of JSON without data', () => {
    const line = `${' '.repeat(999_999)}1,\n`;
    const decoded = read('[\n', line, line, line, said([], STOP));
    expect(decoded.outcome).toBe('complete');
    expect(Math.max(...raws(decoded).map((told) => JSON.stringify(told).length))).toBeLessThan(2_100_000);
  });

  it.each([
    [frame('{"candidates":'), ProtocolError],
    [frame({ candidates: {} }), ValidationError],
    [said([{ text: 5 }]), ValidationError],
    [frame({ candidates: [{ finishReason: 1 }] }), ValidationError],
    [said([{ functionCall: { name: 'f', partialArgs: [{ stringValue: 'x' }] } }]), ValidationError],
  ])('refuses a malformed frame: %s', (body, kind) => {
    expect(() => read(body)).toThrow(kind);
  });
});
