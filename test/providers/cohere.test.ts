import * as fc from 'fast-check';
import { lastValueFrom, of } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError, LimitError, ProtocolError, ValidationError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { cohere, cohereDialect } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { runTools } from '../../src/sources/runTools.js';
import { startServer } from '../../src/testing/index.js';
import { type Decoded, decodeAll, ofType } from '../support/decodeAll.js';
import { pick } from '../support/mutatedFrames.js';
import { bodyOf } from '../support/recordings.js';
import { recordings } from '../support/shared.js';
import { expectAlike, playBody, type Stories } from '../support/templateStories.js';

const messages = [{ role: 'user', content: 'Why?' }];

function body(...frames: readonly { readonly type: string }[]): string {
  return frames.map((frame) => `event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n\n`).join('');
}

function decoded(...frames: readonly { readonly type: string }[]): Decoded {
  return decodeAll(cohereDialect(), body(...frames));
}

const begin = { type: 'message-start', id: 'm1', delta: { message: { role: 'assistant', content: [] } } };
const said = (content: object) => ({ type: 'content-delta', index: 0, delta: { message: { content } } });
const call = (type: string, index: number, tool_calls: object) => ({ type, index, delta: { message: { tool_calls } } });
const plan = (tool_plan: string) => ({ type: 'tool-plan-delta', delta: { message: { tool_plan } } });
const end = (finish_reason: string | null, more: object = {}) => ({
  type: 'message-end',
  delta: { finish_reason, ...more },
});
const cited = {
  type: 'citation-start',
  index: 0,
  delta: { message: { citations: { start: 0, end: 2, text: 'Hi', sources: [{ type: 'document', id: 'd1' }] } } },
};
const looking = [
  call('tool-call-start', 0, { id: 'c1', type: 'function', function: { name: 'look', arguments: '' } }),
  call('tool-call-delta', 0, { function: { arguments: '{"q":' } }),
  call('tool-call-delta', 0, { function: { arguments: '"é"}' } }),
  { type: 'tool-call-end', index: 0 },
];

describe('cohereDialect', () => {
  it('reads text, thinking and usage', () => {
    const usage = {
      billed_units: { input_tokens: 5, output_tokens: 3 },
      tokens: { input_tokens: 50, output_tokens: 9, reasoning_tokens: 4 },
      cached_tokens: 7,
    };
    const result = decoded(
      begin,
      said({ thinking: 'Hm' }),
      said({ text: 'H' }),
      said({ text: 'i' }),
      end('COMPLETE', { usage }),
    );
    expect([result.thinking, result.text, result.outcome]).toEqual(['Hm', 'Hi', 'complete']);
    expect(ofType(result, 'usage')).toStrictEqual([
      { type: 'usage', inputTokens: 50, outputTokens: 9, reasoningTokens: 4, cachedTokens: 7, provenance: 'reported' },
    ]);
    expect(result.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'stop', rawReason: 'COMPLETE' });
  });

  it('takes what is billed where no more is told, and tells nothing where nothing is', () => {
    const billed = decoded(end('COMPLETE', { usage: { billed_units: { input_tokens: 5 } } }));
    expect(ofType(billed, 'usage')).toStrictEqual([{ type: 'usage', inputTokens: 5, provenance: 'reported' }]);
    expect(ofType(decoded(end('COMPLETE', { usage: {} })), 'usage')).toEqual([]);
    expect(ofType(decoded(end('COMPLETE')), 'usage')).toEqual([]);
  });

  it('gives a tool call when it is whole', () => {
    const result = decoded(begin, plan('I look.'), ...looking, end('TOOL_CALL'));
    expect(result.toolArguments).toBe('{"q":"é"}');
    expect(ofType(result, 'tool-call')).toMatchObject([
      { id: 'c1', name: 'look', arguments: { q: 'é' }, argumentsText: '{"q":"é"}' },
    ]);
    expect(result.events.at(-1)).toMatchObject({ reason: 'tool-calls' });
  });

  it('warns of a call that was cut by length, and fails with one that nothing explains', () => {
    const half = looking.slice(0, 2);
    const cut = decoded(...half, end('MAX_TOKENS'));
    expect(ofType(cut, 'tool-call')).toEqual([]);
    expect(ofType(cut, 'warning')).toMatchObject([{ code: 'tool-call-incomplete' }]);
    expect(() => decoded(...half, end('COMPLETE'))).toThrow(ProtocolError);
  });

  it('holds no more of the calls than it may', () => {
    const dialect = cohereDialect({ maxToolCallChars: 12 });
    expect(() => decodeAll(dialect, body(...looking, end('TOOL_CALL')))).toThrow(LimitError);
    expect(() => cohereDialect({ maxToolCallChars: -1 })).toThrow(RangeError);
  });

  it.each([
    ['COMPLETE', 'stop'],
    ['STOP_SEQUENCE', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['ERROR_LIMIT', 'length'],
    ['TOOL_CALL', 'tool-calls'],
    ['ERROR_TOXIC', 'content-filter'],
    ['SOMETHING_NEW', 'other'],
  ])('maps the finish reason %s to %s', (rawReason, reason) => {
    expect(decoded(said({ text: 'a' }), end(rawReason)).events.at(-1)).toStrictEqual({
      type: 'finish',
      reason,
      rawReason,
    });
  });

  it('is complete without a reason, and says that it is unknown', () => {
    expect(decoded(end(null)).events.at(-1)).toStrictEqual({ type: 'finish', reason: 'unknown' });
  });

  it.each([
    ['its own word', end('ERROR', { error: 'the model broke' }), 'ERROR', true],
    ['a timeout', end('TIMEOUT'), 'TIMEOUT', true],
    ['an error beside a benign reason', end('COMPLETE', { error: 'lost' }), 'COMPLETE', false],
  ])('fails with %s, after what was told', (_, last, providerCode, retryable) => {
    const result = decoded(said({ text: 'a' }), last);
    expect([result.text, result.outcome]).toEqual(['a', 'failed']);
    expect(result.error).toMatchObject({ providerCode, retryable });
  });

  it('hands on what has no event of its own', () => {
    const result = decoded(begin, cited, { type: 'citation-end' }, { type: 'brand-new' }, end('COMPLETE'));
    expect(ofType(result, 'raw').map(({ event }) => event)).toEqual([
      'message-start',
      'citation-start',
      'citation-end',
      'brand-new',
    ]);
  });

  it('reads frames whose events have no name, and lists and nulls', () => {
    const frames = [
      begin,
      said({ text: 'a', thinking: null }),
      { type: 'content-delta', delta: null },
      end('COMPLETE'),
    ];
    const bare = frames.map((frame) => `data: ${JSON.stringify(frame)}\r\n\r\n`).join('');
    expect(decodeAll(cohereDialect(), bare)).toMatchObject({ text: 'a', outcome: 'complete' });
    const listed = { type: 'content-start', delta: { message: { content: [] } } };
    expect(decoded(listed, end('COMPLETE')).outcome).toBe('complete');
  });

  it('refuses what would be read wrongly', () => {
    expect(() => decoded(said({ text: 5 }))).toThrow(ValidationError);
    expect(() => decodeAll(cohereDialect(), 'data: {"type":\n\n')).toThrow(ProtocolError);
  });

  it('is proven by its end alone', () => {
    const text = `${body(said({ text: 'a' }))}data: [DONE]\n\n`;
    expect(decodeAll(cohereDialect(), text, { intact: true }).outcome).toBe('interrupted');
    const over = `${body(said({ text: 'a' }), end('COMPLETE'), said({ text: 'b' }))}data: [DONE]\n\n`;
    expect(decodeAll(cohereDialect(), over)).toMatchObject({ text: 'a', outcome: 'complete' });
  });

  it('gives its turn back', async () => {
    const frames = [begin, plan('I '), plan('look.'), ...looking, cited, end('TOOL_CALL')];
    const read = (text: string) =>
      lastValueFrom(
        of(Buffer.from(text)).pipe(parseSSE(), decode(cohereDialect()), accumulate({ dialect: cohereDialect() })),
      );
    expect((await read(body(...frames))).toRequest()).toStrictEqual({
      role: 'assistant',
      tool_plan: 'I look.',
      tool_calls: [{ id: 'c1', type: 'function', function: { name: 'look', arguments: '{"q":"é"}' } }],
      citations: [cited.delta.message.citations],
    });
    const thought = await read(
      body(said({ thinking: 'Hm' }), said({ text: 'H' }), said({ text: 'i' }), end('COMPLETE')),
    );
    expect(thought.toRequest()).toStrictEqual({
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'Hm' },
        { type: 'text', text: 'Hi' },
      ],
    });
    expect((await read(body(said({ text: 'Hi' }), end('COMPLETE')))).toRequest()).toStrictEqual({
      role: 'assistant',
      content: 'Hi',
    });
  });
});

describe('cohere', () => {
  it('asks over HTTP, and gives results of tools back', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const { chat } = cohere({ apiKey: 'k', baseURL: server.url });
    const answer = collect(runTools(chat({ model: 'm', messages }), { look: { run: () => 'seen' } }));
    const first = await server.accept();
    expect(first.request).toMatchObject({
      method: 'POST',
      path: '/v2/chat',
      body: { model: 'm', messages, stream: true },
    });
    expect(first.request.headers).toMatchObject({ authorization: 'Bearer k', accept: 'text/event-stream' });
    await first.end(body(begin, ...looking, end('TOOL_CALL')));
    const second = await server.accept();
    expect((second.request.body as { messages: unknown[] }).messages.slice(1)).toStrictEqual([
      {
        role: 'assistant',
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'look', arguments: '{"q":"é"}' } }],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'seen' },
    ]);
    await second.end(body(said({ text: 'There.' }), end('COMPLETE')));
    expect((await answer).text).toBe('There.');
  });

  it("fails with the API's words, and is interrupted where it is cut", async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const { chat } = cohere({ apiKey: 'k', baseURL: server.url });
    const refused = collect(chat({ model: 'm', messages })).catch((error: unknown) => error);
    const first = await server.accept();
    first.respond({ status: 401, headers: { 'content-type': 'application/json' } });
    await first.end('{"id":"1","message":"invalid api token"}');
    expect(await refused).toBeInstanceOf(HTTPError);
    expect(await refused).toMatchObject({ status: 401, providerMessage: 'invalid api token' });
    const cut = collect(chat({ model: 'm', messages })).catch((error: unknown) => error);
    await (await server.accept()).end(body(said({ text: 'a' })));
    expect(await cut).toBeInstanceOf(InterruptedError);
  });

  it('needs a key, and a request that can be right', () => {
    vi.stubEnv('CO_API_KEY', '');
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    expect(() => cohere().chat({ model: 'm', messages })).toThrow(/CO_API_KEY/);
    expect(() => cohere({ apiKey: 'k' }).chat({ model: 'm', messages: [] })).toThrow(/cohere\.chat: messages/);
  });
});

describe('a template', () => {
  const delta = (content: object, more: object = {}): object => ({
    type: 'content-delta',
    index: 0,
    delta: { message: { content } },
    ...more,
  });
  const event = 'content-delta';
  const stories: Stories = {
    writers: [
      (_, text) => ({ event, data: delta({ text }) }),
      (random, thinking) => ({ event, data: delta({ thinking }, { index: random(4) }) }),
      (random, text) => ({ data: delta({ text, thinking: pick(random, ['', null, text]) }) }),
      (_, text) => ({ event, data: { index: 1, delta: { message: { content: { text } } } } }),
      (random, text) => ({ event, data: delta({ text }, { logprobs: { text, token_ids: [random(3)] }, error: null }) }),
      (random, text) => ({
        data: { ...delta({ text }), type: pick(random, ['content-start', 'citation-start', text]) },
      }),
      (_, text) => ({ data: { type: 'tool-plan-delta', delta: { message: { tool_plan: text, content: { text } } } } }),
      (_, text) => ({ data: { type: 'tool-call-delta', index: 0, delta: { message: { tool_calls: { id: text } } } } }),
    ],
    ends: [{ data: end('COMPLETE') }, { data: end('TOOL_CALL') }],
    asides: [{ type: 'comment', comment: 'ping' }, 'release', 'reattached'],
  };

  it('tells what the full path tells, whatever comes', () => {
    expectAlike(cohereDialect(), stories, 15);
  });

  it.each(recordings('cohere'))('decodes most of $file, however it is cut', async (recording) => {
    const { templated, text } = await playBody(cohereDialect(), bodyOf(recording));
    expect(text).toHaveLength(recording.text_utf16);
    expect(templated / recording.frames).toBeGreaterThan(0.8);
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        expect(await playBody(cohereDialect(), bodyOf(recording), seed)).toMatchObject({ templated, text });
      }),
      { numRuns: 5 },
    );
  });
});
