import { lastValueFrom, of } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LimitError, ProtocolError, ValidationError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { agUI, agUIDialect } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { runTools } from '../../src/sources/runTools.js';
import { startServer } from '../../src/testing/index.js';
import { type Decoded, decodeAll, frame, ofType } from '../support/decodeAll.js';
import { wireEvents } from '../support/decodeEvents.js';
import { pick, type Random } from '../support/mutatedFrames.js';
import { expectAlike, shareOf, type Stories } from '../support/templateStories.js';

type Event = Readonly<Record<string, unknown>>;

const started: Event = { type: 'RUN_STARTED', threadId: 't1', runId: 'r1' };
const finished: Event = { type: 'RUN_FINISHED', threadId: 't1', runId: 'r1' };
const begin: Event = { type: 'TEXT_MESSAGE_START', messageId: 'm1', role: 'assistant' };
const text = (delta: string, messageId = 'm1'): Event => ({ type: 'TEXT_MESSAGE_CONTENT', messageId, delta });
const call = (type: string, more: Event = {}): Event => ({ type, toolCallId: 'c1', ...more });
const looking = [
  call('TOOL_CALL_START', { toolCallName: 'look', parentMessageId: 'm1' }),
  call('TOOL_CALL_ARGS', { delta: '{"q":' }),
  call('TOOL_CALL_ARGS', { delta: ' "é"}' }),
  call('TOOL_CALL_END'),
];

function body(...events: readonly Event[]): string {
  return events.map(frame).join('');
}

function decoded(...events: readonly Event[]): Decoded {
  return decodeAll(agUIDialect(), body(...events), { intact: true });
}

describe('agUIDialect', () => {
  it('reads text, and is whole with the run', () => {
    const result = decoded(
      started,
      begin,
      text('H'),
      text('i'),
      { type: 'TEXT_MESSAGE_END', messageId: 'm1' },
      finished,
    );
    expect([result.text, result.outcome]).toEqual(['Hi', 'complete']);
    expect(result.events[0]).toStrictEqual({ type: 'status', status: 'running', id: 'r1', terminal: false });
    expect(result.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'stop' });
  });

  it.each([
    ['nothing', body(started)],
    ['text', body(started, begin, text('Hi'))],
    ['[DONE]', `${body(started, text('Hi'))}data: [DONE]\n\n`],
    ['a run that another one follows', body(started, text('a'), finished, started, text('b'))],
  ])('is not whole by %s', (_, sent) => {
    expect(decodeAll(agUIDialect(), sent, { intact: true }).outcome).toBe('interrupted');
  });

  it('reads runs that follow one another, and what gateways put behind them', () => {
    expect(decoded(started, text('a'), finished, started, text('b'), finished)).toMatchObject({
      text: 'ab',
      outcome: 'complete',
    });
    const done = decodeAll(agUIDialect(), `${body(text('a'), finished)}data: [DONE]\n\n`, { intact: true });
    expect(done.outcome).toBe('complete');
  });

  it('reads chunks', () => {
    const chunk = (delta: string, more: Event = {}): Event => ({ type: 'TEXT_MESSAGE_CHUNK', delta, ...more });
    const result = decoded(
      chunk('H', { messageId: 'm1', role: 'assistant' }),
      chunk('i'),
      { type: 'TOOL_CALL_CHUNK', toolCallId: 'c1', toolCallName: 'look', delta: '{"q"' },
      { type: 'TOOL_CALL_CHUNK', delta: ':1}' },
      { type: 'TOOL_CALL_CHUNK', toolCallId: 'c2', toolCallName: 'see' },
      finished,
    );
    expect(result.text).toBe('Hi');
    expect(ofType(result, 'tool-call')).toMatchObject([
      { id: 'c1', name: 'look', arguments: { q: 1 } },
      { id: 'c2', name: 'see', arguments: {} },
    ]);
  });

  it.each(['REASONING_MESSAGE_CONTENT', 'REASONING_MESSAGE_CHUNK', 'THINKING_TEXT_MESSAGE_CONTENT'])(
    'reads reasoning by the name %s',
    (type) => {
      expect(decoded({ type, delta: 'Hm' }, { type, delta: '' }, finished)).toMatchObject({
        thinking: 'Hm',
        outcome: 'complete',
      });
    },
  );

  it('leaves out what others say', () => {
    const user = { type: 'TEXT_MESSAGE_START', messageId: 'u1', role: 'user' };
    expect(decoded(user, text('Why?', 'u1'), begin, text('So.'), finished).text).toBe('So.');
  });

  it('gives tool calls at their end, and what the agent made of them', () => {
    const result = decoded(
      ...looking,
      call('TOOL_CALL_RESULT', { messageId: 'x', content: 'seen', role: 'tool' }),
      finished,
    );
    expect(result.toolArguments).toBe('{"q": "é"}');
    expect(ofType(result, 'tool-call')).toMatchObject([
      { id: 'c1', name: 'look', arguments: { q: 'é' }, argumentsText: '{"q": "é"}' },
    ]);
    expect(ofType(result, 'tool-result')).toStrictEqual([
      { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: 'seen' },
    ]);
    expect(result.events.at(-1)).toMatchObject({ reason: 'stop' });
    expect(decoded(...looking, finished).events.at(-1)).toMatchObject({ reason: 'tool-calls' });
  });

  it('refuses arguments that are no JSON, and more of them than it may hold', () => {
    expect(() => decoded(...looking.slice(0, 2), call('TOOL_CALL_END'))).toThrow(ProtocolError);
    expect(() => decoded(...looking.slice(0, 2), finished)).toThrow(ProtocolError);
    expect(() => decodeAll(agUIDialect({ maxToolCallChars: 9 }), body(...looking))).toThrow(LimitError);
    expect(decodeAll(agUIDialect({ maxToolCallChars: 10 }), body(...looking, finished), { intact: true }).outcome).toBe(
      'complete',
    );
    expect(() => agUIDialect({ maxToolCallChars: -1 })).toThrow(RangeError);
  });

  it('fails with the words of the run', () => {
    const result = decoded(text('a'), { type: 'RUN_ERROR', message: 'no model', code: 'E1' }, finished);
    expect([result.text, result.outcome]).toEqual(['a', 'failed']);
    expect(result.error).toMatchObject({ providerCode: 'E1', providerMessage: 'no model', retryable: false });
  });

  it('tells states, results and interrupts', () => {
    const result = decoded({ type: 'STATE_SNAPSHOT', snapshot: { n: 1 } }, { ...finished, result: 'all' });
    expect(ofType(result, 'output')).toStrictEqual([
      { type: 'output', value: { n: 1 }, final: false },
      { type: 'output', value: 'all', final: true },
    ]);
    for (const outcome of ['interrupt', { type: 'interrupt', interrupts: [{ id: 'i1' }] }]) {
      const waiting = decoded({ ...finished, outcome });
      expect(waiting.events.at(-1)).toMatchObject({ reason: 'other', rawReason: 'interrupt' });
      expect(ofType(waiting, 'raw')).toHaveLength(1);
    }
    expect(decoded({ ...finished, outcome: { type: 'success' } }).events.at(-1)).toMatchObject({ reason: 'stop' });
  });

  it.each([
    'STEP_STARTED',
    'STATE_DELTA',
    'MESSAGES_SNAPSHOT',
    'ACTIVITY_SNAPSHOT',
    'ACTIVITY_DELTA',
    'RAW',
    'CUSTOM',
    'THINKING_START',
    'REASONING_START',
    'FROM_THE_FUTURE',
  ])('hands on %s', (type) => {
    expect(ofType(decoded({ type, value: 1 }, finished), 'raw')).toStrictEqual([
      { type: 'raw', frame: { type, value: 1 } },
    ]);
  });

  it('refuses what would be read wrongly', () => {
    expect(() => decoded({ type: 5 })).toThrow(ValidationError);
    expect(() => decodeAll(agUIDialect(), 'data: {"type"\n\n')).toThrow(ProtocolError);
  });

  it('gives back the messages that the run added, under their own ids', async () => {
    const events: readonly Event[] = [
      started,
      { type: 'REASONING_MESSAGE_START', messageId: 'r1', role: 'reasoning' },
      { type: 'REASONING_MESSAGE_CONTENT', messageId: 'r1', delta: 'Hm' },
      { type: 'REASONING_ENCRYPTED_VALUE', subtype: 'message', entityId: 'r1', encryptedValue: 'gAAA+/==' },
      begin,
      text('Let me '),
      text('look.'),
      ...looking,
      { type: 'REASONING_ENCRYPTED_VALUE', subtype: 'tool-call', entityId: 'c1', encryptedValue: 'gBBB+/==' },
      call('TOOL_CALL_RESULT', { messageId: 'm2', content: 'seen' }),
      { ...begin, messageId: 'm3' },
      text('There.', 'm3'),
      finished,
    ];
    const message = await lastValueFrom(
      of(Buffer.from(body(...events))).pipe(parseSSE(), decode(agUIDialect()), accumulate({ dialect: agUIDialect() })),
    );
    expect(message.toRequest()).toStrictEqual([
      { id: 'r1', role: 'reasoning', content: 'Hm', encryptedValue: 'gAAA+/==' },
      {
        id: 'm1',
        role: 'assistant',
        content: 'Let me look.',
        toolCalls: [
          {
            id: 'c1',
            type: 'function',
            function: { name: 'look', arguments: '{"q": "é"}' },
            encryptedValue: 'gBBB+/==',
          },
        ],
      },
      { id: 'm2', role: 'tool', toolCallId: 'c1', content: 'seen' },
      { id: 'm3', role: 'assistant', content: 'There.' },
    ]);
  });
});

describe('agUI', () => {
  const messages = [{ id: 'u1', role: 'user', content: 'Why?' }];

  it('posts a run, runs the tools that the agent leaves, and begins the next run with their results', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const agent = agUI({ url: `${server.url}/agent?v=1`, apiKey: 'k' });
    const answer = collect(
      runTools(agent.run({ threadId: 't1', runId: 'r1', messages }), { look: { run: () => 'seen' } }),
    );
    const first = await server.accept();
    expect(first.request).toMatchObject({
      method: 'POST',
      path: '/agent',
      body: { threadId: 't1', runId: 'r1', messages, tools: [], context: [], state: {}, forwardedProps: {} },
    });
    expect(first.request.headers).toMatchObject({ authorization: 'Bearer k', accept: 'text/event-stream' });
    await first.end(body(started, begin, text('Let me look.'), ...looking, finished));
    const second = await server.accept();
    const asked = second.request.body as { readonly runId: string; readonly messages: readonly object[] };
    expect(asked.runId).not.toBe('r1');
    expect(asked.messages.slice(1)).toMatchObject([
      { id: 'm1', role: 'assistant', content: 'Let me look.', toolCalls: [{ id: 'c1' }] },
      { role: 'tool', toolCallId: 'c1', content: 'seen' },
    ]);
    await second.end(body(started, { ...begin, messageId: 'm3' }, text('There.', 'm3'), finished));
    expect((await answer).text).toBe('Let me look.\n\nThere.');
  });

  it('refuses what cannot be right', () => {
    expect(() => agUI({ url: 'agent' })).toThrow(TypeError);
    const agent = agUI({ url: 'https://a.example/agent' });
    expect(() => agent.run({ threadId: '', runId: 'r1', messages })).toThrow(/agUI\.run: threadId/);
  });
});

describe('a template', () => {
  const id = (random: Random): string => pick(random, ['m1', 'm1', 'm2', '']);
  const stories: Stories = {
    writers: [
      (_, delta, count) => ({ data: { type: 'TEXT_MESSAGE_CONTENT', messageId: 'm1', delta, timestamp: count } }),
      (random, delta) => ({ data: { type: 'TEXT_MESSAGE_CONTENT', messageId: id(random), delta } }),
      (random, delta) => ({
        data: {
          type: 'TEXT_MESSAGE_CHUNK',
          ...(random(3) === 0 && { messageId: id(random), role: pick(random, ['assistant', 'user', null]) }),
          delta,
        },
      }),
      (random, delta) => ({
        data: { type: 'TEXT_MESSAGE_START', messageId: id(random), role: pick(random, ['user', 'tool']), delta },
      }),
      (random, delta) => ({
        data: {
          type: pick(random, ['REASONING_MESSAGE_CONTENT', 'THINKING_TEXT_MESSAGE_CONTENT']),
          messageId: 'r',
          delta,
        },
      }),
      (random, delta) => ({
        data: {
          type: pick(random, ['TOOL_CALL_ARGS', 'TOOL_CALL_ARGS', 'TOOL_CALL_START']),
          toolCallId: id(random),
          delta,
        },
      }),
      (_, delta) => ({ data: { type: 'TOOL_CALL_ARGS', toolCallId: 'c1', delta } }),
      (_, delta) => ({ data: { type: 'TOOL_CALL_CHUNK', toolCallId: 'c1', delta } }),
      (random, delta) => ({
        data: {
          type: 'TOOL_CALL_CHUNK',
          ...(random(2) === 0 && { toolCallId: id(random), parentMessageId: 'm1' }),
          delta,
        },
      }),
      (random) => ({
        data: { type: pick(random, ['TOOL_CALL_END', 'RUN_STARTED', 'STEP_STARTED']), toolCallId: 'c1' },
      }),
      (_, delta) => ({ data: { type: 'CUSTOM', name: delta, delta } }),
    ],
    ends: [{ data: finished }],
    asides: [{ type: 'comment', comment: 'ping' }, 'release', 'reattached'],
  };

  it('decodes all pieces of a message, and of the arguments of a call, but the first', () => {
    const texts = ['Hel', 'lo', '!'].map((delta) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm1', delta }));
    const chunks = ['a', 'b', 'c'].map((delta) => ({ type: 'TEXT_MESSAGE_CHUNK', delta }));
    const start = { type: 'TOOL_CALL_START', toolCallId: 'c1', toolCallName: 'f' };
    const args = ['{', '}', ' '].map((delta) => ({ type: 'TOOL_CALL_ARGS', toolCallId: 'c1', delta }));
    const parts = ['{', '}', ' '].map((delta) => ({ type: 'TOOL_CALL_CHUNK', toolCallId: 'c2', delta }));
    const events = wireEvents('sse', body(...texts, ...chunks, start, ...args, ...parts));
    expect(shareOf(agUIDialect(), events)).toBe('8 of 13');
  });

  it.each([{}, { maxToolCallChars: 99 }])('tells what the full path tells, whatever comes: %j', (options) => {
    expectAlike(agUIDialect(options), stories, 15);
  });
});
