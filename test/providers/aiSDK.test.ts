import { lastValueFrom, of } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { InterruptedError, LimitError, ProtocolError, ValidationError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { aiSDK, aiSDKDialect } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/index.js';
import type { WireEvent } from '../../src/types.js';
import { type Decoded, decodeAll, frame, ofType } from '../support/decodeAll.js';
import { wireEvents } from '../support/decodeEvents.js';
import { pick } from '../support/mutatedFrames.js';
import { expectAlike, play, shareOf, type Stories } from '../support/templateStories.js';

type Part = Readonly<Record<string, unknown>>;

const start: Part = { type: 'start', messageId: 'm1' };
const step: Part = { type: 'start-step' };
const text = (delta: string): Part => ({ type: 'text-delta', id: 't1', delta });
const thought = (delta: string): Part => ({ type: 'reasoning-delta', id: 'r1', delta });
const finish = (finishReason?: string, more: Part = {}): Part => ({
  type: 'finish',
  ...(finishReason && { finishReason }),
  ...more,
});
const tool = (type: string, more: Part = {}): Part => ({ type, toolCallId: 'c1', ...more });
const DONE = 'data: [DONE]\n\n';

function body(...parts: readonly Part[]): string {
  return parts.map(frame).join('');
}

function decoded(...parts: readonly Part[]): Decoded {
  return decodeAll(aiSDKDialect(), body(...parts) + DONE);
}

describe('aiSDKDialect', () => {
  it('reads text, reasoning and the end', () => {
    const result = decoded(start, step, thought('Hm'), text('H'), text('i'), finish('stop'));
    expect([result.thinking, result.text, result.outcome]).toEqual(['Hm', 'Hi', 'complete']);
    expect(result.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'stop', rawReason: 'stop' });
    expect(ofType(result, 'warning')).toEqual([]);
  });

  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['content-filter', 'content-filter'],
    ['tool-calls', 'tool-calls'],
    ['other', 'other'],
    ['brand-new', 'other'],
  ])('maps the finish reason %s to %s', (rawReason, reason) => {
    expect(decoded(finish(rawReason)).events.at(-1)).toMatchObject({ reason, rawReason });
  });

  it('is complete with a finish that says nothing, and with one that no [DONE] follows', () => {
    expect(decoded(finish()).events.at(-1)).toStrictEqual({ type: 'finish', reason: 'unknown' });
    const bare = decodeAll(aiSDKDialect(), body(text('a'), finish('stop')));
    expect([bare.outcome, ofType(bare, 'warning').map(({ code }) => code)]).toEqual([
      'complete',
      ['end-marker-missing'],
    ]);
  });

  it.each([
    ['[DONE] alone', body(text('a')) + DONE],
    ['a body that is over', body(text('a'))],
    ['an answer that another one follows', body(text('a'), finish('stop'), text('b')) + DONE],
  ])('is not whole by %s', (_, whole) => {
    expect(decodeAll(aiSDKDialect(), whole, { intact: true }).outcome).toBe('interrupted');
  });

  it('reads on where a server joins answers', () => {
    expect(decoded(text('a'), finish('tool-calls'), text('b'), finish('stop'))).toMatchObject({
      text: 'ab',
      outcome: 'complete',
    });
  });

  it.each<[string, Part, object]>([
    ['an error', { type: 'error', errorText: 'overloaded' }, { providerMessage: 'overloaded', retryable: false }],
    ['an abort', { type: 'abort', reason: 'gone' }, { providerCode: 'abort', providerMessage: 'gone' }],
    ['the finish reason error', finish('error'), { providerCode: 'error', retryable: false }],
    ['an interrupted upstream', finish('interrupted'), { providerCode: 'interrupted', retryable: true }],
  ])('fails with %s, whatever follows', (_, part, expected) => {
    const result = decoded(text('a'), part, finish('stop'));
    expect([result.text, result.outcome]).toEqual(['a', 'failed']);
    expect(result.error).toMatchObject(expected);
  });

  it('gives tools: pieces, the call, and what the server made of it', () => {
    const result = decoded(
      tool('tool-input-start', { toolName: 'look' }),
      tool('tool-input-delta', { inputTextDelta: '{"q": ' }),
      tool('tool-input-delta', { inputTextDelta: '"é"}' }),
      tool('tool-input-available', { toolName: 'look', input: { q: 'é' } }),
      tool('tool-output-available', { output: { n: 0 }, preliminary: true }),
      tool('tool-output-available', { output: { n: 1 } }),
      finish('stop'),
    );
    expect(result.toolArguments).toBe('{"q": "é"}');
    expect(ofType(result, 'tool-call')).toStrictEqual([
      { type: 'tool-call', index: 0, id: 'c1', name: 'look', arguments: { q: 'é' }, argumentsText: '{"q": "é"}' },
    ]);
    expect(ofType(result, 'tool-result')).toStrictEqual([
      { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: { n: 0 }, preliminary: true },
      { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: { n: 1 } },
    ]);
  });

  it("tells the server's own form of an input that it repaired, and calls that a provider ran", () => {
    const result = decoded(
      tool('tool-input-start', { toolName: 'look', providerExecuted: true }),
      tool('tool-input-delta', { inputTextDelta: '{"q"' }),
      tool('tool-input-available', { toolName: 'look', input: { q: 1 }, providerExecuted: true }),
      finish('stop'),
    );
    expect(ofType(result, 'tool-call')).toMatchObject([{ argumentsText: '{"q":1}', providerExecuted: true }]);
    expect(ofType(result, 'tool-call-delta').every(({ providerExecuted }) => providerExecuted === true)).toBe(true);
  });

  it.each<[string, Part, unknown]>([
    ['an output that failed', tool('tool-output-error', { errorText: 'boom' }), 'boom'],
    [
      'an input that did not fit',
      tool('tool-input-error', { toolName: 'look', input: 5, errorText: 'not one' }),
      'not one',
    ],
    ['a call that was denied', tool('tool-output-denied'), 'denied'],
  ])('tells %s', (_, part, result) => {
    expect(ofType(decoded(part, finish('stop')), 'tool-result')).toMatchObject([{ id: 'c1', isError: true, result }]);
  });

  it('begins anew with a step, and tells the steps before it once more', () => {
    const result = decoded(step, text('A'), step, text('wrong'), { type: 'reset-step' }, text('B'), finish('stop'));
    const from = result.events.findIndex(({ type }) => type === 'restart');
    const after = result.events.slice(from).map((event) => (event.type === 'text' ? event.text : event.type));
    expect(after).toEqual(['restart', 'A', 'B', 'finish']);
    expect(ofType(decoded(step, { type: 'reset-step' }, finish('stop')), 'restart')).toEqual([]);
  });

  it('tells files, and usage where an application puts it', () => {
    const usage = { inputTokens: 9, outputTokens: 4, cachedInputTokens: 2 };
    const result = decoded(
      { type: 'file', mediaType: 'image/png', url: 'data:image/png;base64,AA==' },
      { type: 'message-metadata', messageMetadata: { usage } },
      finish('stop', { messageMetadata: { usage, model: 'm' } }),
    );
    expect(ofType(result, 'media')).toMatchObject([{ kind: 'image/png', content: 'data:image/png;base64,AA==' }]);
    expect(ofType(result, 'usage')).toStrictEqual([
      { type: 'usage', inputTokens: 9, outputTokens: 4, cachedTokens: 2, provenance: 'reported' },
    ]);
  });

  it.each([
    'start',
    'finish-step',
    'text-start',
    'text-end',
    'reasoning-file',
    'custom',
    'source-url',
    'source-document',
    'data-weather',
    'tool-approval-request',
    'tool-approval-response',
    'steering-message',
    'from-the-future',
  ])('hands on a part of type %s', (type) => {
    expect(ofType(decoded({ type, id: 'x' }, finish('stop')), 'raw')).toStrictEqual([
      { type: 'raw', frame: { type, id: 'x' } },
    ]);
  });

  it('hears keep-alives, and refuses what would be read wrongly', () => {
    const alive = decodeAll(aiSDKDialect(), `: stream-open\n\n${body(finish('stop'))}${DONE}`);
    expect(ofType(alive, 'heartbeat')).toHaveLength(1);
    expect(() => decoded({ type: 'text-delta', id: 't', delta: 5 })).toThrow(ValidationError);
    expect(() => decodeAll(aiSDKDialect(), 'data: {"type"\n\n')).toThrow(ProtocolError);
  });

  it('holds no more than it may', () => {
    const dialect = aiSDKDialect({ maxHeldChars: 3 });
    expect(decodeAll(dialect, body(text('abc'), finish('stop')) + DONE).outcome).toBe('complete');
    expect(() => decodeAll(dialect, body(text('abcd')))).toThrow(LimitError);
    expect(() => aiSDKDialect({ maxHeldChars: -1 })).toThrow(RangeError);
  });

  it('gives the message back as the SDK keeps it', async () => {
    const signed = { anthropic: { signature: 'EqQB+/==' } };
    const parts: readonly Part[] = [
      start,
      step,
      { type: 'reasoning-start', id: 'r1' },
      thought('Hm'),
      { type: 'reasoning-end', id: 'r1', providerMetadata: signed },
      { type: 'text-start', id: 't1' },
      text('Let me '),
      text('look.'),
      { type: 'text-end', id: 't1' },
      tool('tool-input-available', { toolName: 'look', input: { q: 1 }, title: 'Look' }),
      tool('tool-output-available', { output: [2] }),
      { type: 'source-url', sourceId: 's1', url: 'https://a.example' },
      { type: 'data-mood', id: 'd1', data: 'good' },
      { type: 'data-mood', id: 'd1', data: 'better' },
      { type: 'data-noise', data: 1, transient: true },
      finish('stop', { messageMetadata: { model: 'm' } }),
    ];
    const events = of(Buffer.from(body(...parts) + DONE)).pipe(parseSSE(), decode(aiSDKDialect()));
    const message = await lastValueFrom(events.pipe(accumulate({ dialect: aiSDKDialect() })));
    expect(message.toRequest()).toStrictEqual({
      id: 'm1',
      role: 'assistant',
      parts: [
        { type: 'step-start' },
        { type: 'reasoning', text: 'Hm', state: 'done', providerMetadata: signed },
        { type: 'text', text: 'Let me look.', state: 'done' },
        { type: 'tool-look', toolCallId: 'c1', state: 'output-available', input: { q: 1 }, output: [2], title: 'Look' },
        { type: 'source-url', sourceId: 's1', url: 'https://a.example' },
        { type: 'data-mood', id: 'd1', data: 'better' },
      ],
      metadata: { model: 'm' },
    });
  });
});

describe('aiSDK', () => {
  const messages = [{ id: 'u1', role: 'user', parts: [{ type: 'text', text: 'Why?' }] }];

  it('posts a chat as the transport of the SDK does', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const api = aiSDK({ api: `${server.url}/api/chat`, headers: { cookie: 'a=b' } });
    const answer = collect(api.chat({ id: 'chat 1', messages, model: 'm' }));
    const exchange = await server.accept();
    const { request } = exchange;
    await exchange.end(body(text('Hi'), finish('stop')) + DONE);
    expect(request).toMatchObject({
      method: 'POST',
      path: '/api/chat',
      body: { id: 'chat 1', messages, model: 'm', trigger: 'submit-message' },
    });
    expect(request.headers).toMatchObject({ cookie: 'a=b', accept: 'text/event-stream' });
    expect((await answer).text).toBe('Hi');
  });

  it.each(['replay', 'continue'] as const)(
    'has every piece once where the server shows a lost stream again: %s',
    async (resume) => {
      const server = await startServer();
      onTestFinished(() => server.close());
      const api = aiSDK({ api: `${server.url}/api/chat`, resume });
      const call = fromCall(api.chat({ id: 'chat/1', messages }));
      const answer = collect(call.pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } })));
      const first = await server.accept();
      await first.write(body(start, text('Water '), text('is ')));
      first.halfClose();
      const second = await server.accept();
      expect(second.request).toMatchObject({ method: 'GET', path: '/api/chat/chat%2F1/stream' });
      const before = resume === 'replay' ? body(start, text('Water '), text('is ')) : '';
      await second.end(before + body(text('lazy.'), finish('stop')) + DONE);
      expect(await answer).toMatchObject({ text: 'Water is lazy.', receipt: { restarts: 0 } });
    },
  );

  it('asks again where the server keeps nothing', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const api = aiSDK({ api: `${server.url}/api/chat` });
    const answer = collect(
      fromCall(api.chat({ id: 'c', messages })).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } })),
    );
    const first = await server.accept();
    await first.write(body(text('half')));
    first.halfClose();
    const second = await server.accept();
    expect(second.request.method).toBe('POST');
    await second.end(body(text('whole'), finish('stop')) + DONE);
    expect(await answer).toMatchObject({ text: 'whole', receipt: { restarts: 1 } });
  });

  it('attaches to an answer that is being written, and says so where there is none', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const api = aiSDK({ api: `${server.url}/api/chat` });
    const none = collect(api.attach('c1')).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond({ status: 204, headers: {} });
    await exchange.end();
    expect(await none).toBeInstanceOf(InterruptedError);
    const answer = collect(api.attach('c1'));
    await (await server.accept()).end(body(start, text('Hi'), finish('stop')) + DONE);
    expect((await answer).text).toBe('Hi');
  });

  it('refuses what cannot be right', () => {
    expect(() => aiSDK({ api: '/api/chat' })).toThrow(TypeError);
    const api = aiSDK({ api: 'https://a.example/api/chat' });
    expect(() => api.chat({ id: '', messages })).toThrow(/aiSDK\.chat: id/);
    expect(() => api.attach('..')).toThrow(TypeError);
  });
});

describe('a template', () => {
  const stories: Stories = {
    writers: [
      (random, delta) => ({ data: { type: 'text-delta', id: String(random(3)), delta } }),
      (_, delta) => ({ data: { type: 'reasoning-delta', id: 'r1', delta } }),
      (_, delta) => ({ data: { type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta: delta } }),
      (random, delta) => ({
        data: { type: 'tool-input-start', toolCallId: 'c1', toolName: delta, providerExecuted: random(2) === 0 },
      }),
      (random, delta) => ({ data: { type: 'text-delta', id: delta, delta, providerMetadata: { a: random(2) } } }),
      (random, delta) => ({
        data: { type: pick(random, ['text-start', 'source-url', 'data-x', 'file', delta]), delta },
      }),
      (random) => ({ data: { type: pick(random, ['start-step', 'reset-step', 'finish-step', 'finish']) } }),
      (_, delta) => ({ data: { type: 'tool-input-available', toolCallId: 'c1', toolName: 'f', input: { q: delta } } }),
      (_, delta) => ({ data: { type: 'tool-output-available', toolCallId: 'c1', output: delta } }),
    ],
    ends: [{ data: finish('stop') }, { data: { type: 'reset-step' } }, { data: '[DONE]' }],
    asides: [{ type: 'comment', comment: 'ping' }, 'release', 'reattached'],
  };
  const told = (...parts: readonly Part[]): readonly WireEvent[] => wireEvents('sse', body(...parts));

  it('decodes all pieces of a text, whatever its id, but the first ones', () => {
    const pieces = ['t1', 't1', 't2', 't3', 't4'].map((id) => ({ type: 'text-delta', id, delta: id }));
    expect(play(aiSDKDialect(), told(...pieces)).templated).toBeGreaterThanOrEqual(3);
  });

  it('decodes pieces of tool input', () => {
    const start = { type: 'tool-input-start', toolCallId: 'c1', toolName: 'f' };
    const pieces = ['{', '}', ''].map((text) => ({ type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta: text }));
    expect(shareOf(aiSDKDialect(), told(start, ...pieces))).toBe('1 of 4');
  });

  it.each([{}, { reattach: 'continue' as const }, { maxHeldChars: 99 }])(
    'tells what the full path tells, whatever comes: %j',
    (options) => {
      expectAlike(aiSDKDialect(options), stories, 15);
    },
  );
});
