import { Chat } from '@ai-sdk/react';
import {
  DefaultChatTransport,
  isToolUIPart,
  lastAssistantMessageIsCompleteWithToolCalls,
  readUIMessageStream,
  type UIMessage,
  type UIMessageChunk,
  uiMessageChunkSchema,
} from 'ai';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { type EncoderOptions, RestartNotTold } from '../../src/protocol/eventFormat.js';
import { aiSDKDialect } from '../../src/providers/index.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeAll } from '../support/decodeAll.js';
import {
  anyEvent,
  encodeAll,
  type Ending,
  FAILURE,
  finish,
  framesOf,
  newEncoder,
  restart,
  serveBody,
  text,
  thinking,
} from '../support/encoded.js';

type Options = Partial<EncoderOptions> & { readonly ending?: Ending; readonly cut?: boolean };

const delta = (argumentsDelta: string, id = 'c1', name = 'look'): StreamEvent => ({
  type: 'tool-call-delta',
  index: 0,
  id,
  name,
  argumentsDelta,
});
const call = (value: unknown, id = 'c1', name = 'look'): StreamEvent => ({
  type: 'tool-call',
  index: 0,
  id,
  name,
  arguments: value,
  argumentsText: JSON.stringify(value),
});
const result = (value: unknown, id = 'c1', more: object = {}): StreamEvent => ({
  type: 'tool-result',
  index: 0,
  id,
  name: 'look',
  result: value,
  ...more,
});
const usage: StreamEvent = {
  type: 'usage',
  inputTokens: 9,
  outputTokens: 4,
  cachedTokens: 2,
  cost: { total: 1 },
  provenance: 'reported',
};
const OPEN = [{ type: 'start' }, { type: 'start-step' }];

/** Every part of a body, checked by the SDK's own schema. */
async function partsOf(events: readonly (StreamEvent | string)[], options: Options = {}): Promise<UIMessageChunk[]> {
  const { validate } = uiMessageChunkSchema();
  return Promise.all(
    framesOf(encodeAll('ai-sdk', events, options)).map(async (frame) => {
      const checked = await validate?.(frame);
      if (checked?.success !== true) throw new Error(`no part of a UI message stream: ${JSON.stringify(frame)}`);
      return frame as UIMessageChunk; // its schema has seen it
    }),
  );
}

/** The same, between what opens a body and what closes it. */
async function contentOf(events: readonly (StreamEvent | string)[], options: Options = {}): Promise<UIMessageChunk[]> {
  const parts = await partsOf(events, options);
  expect(parts.slice(0, 2)).toStrictEqual(OPEN);
  expect(parts.slice(-2).map(({ type }) => type)).toStrictEqual(['finish-step', 'finish']);
  return parts.slice(2, -2);
}

function transportTo(api: string): DefaultChatTransport<UIMessage> {
  return new DefaultChatTransport({ api });
}

interface ReadMessage {
  readonly message: UIMessage | undefined;
  readonly errors: readonly unknown[];
}

/** What `readUIMessageStream` makes of a body that came over a socket. */
async function read(events: readonly (StreamEvent | string)[], options: Options = {}): Promise<ReadMessage> {
  const url = await serveBody(newEncoder('ai-sdk', options), encodeAll('ai-sdk', events, options), options);
  const stream = await transportTo(url).sendMessages({
    trigger: 'submit-message',
    chatId: 'chat',
    messageId: undefined,
    messages: [{ id: 'q', role: 'user', parts: [{ type: 'text', text: 'Why?' }] }],
    abortSignal: undefined,
  });
  const errors: unknown[] = [];
  let message: UIMessage | undefined;
  for await (const snapshot of readUIMessageStream({ stream, onError: (error) => errors.push(error) })) {
    message = snapshot;
  }
  return { message, errors };
}

/** What `useChat` holds, without a page. */
async function chatAfter(
  events: readonly (StreamEvent | string)[],
  options: Options = {},
): Promise<{ readonly chat: Chat<UIMessage>; readonly called: string[]; readonly data: unknown[] }> {
  const url = await serveBody(newEncoder('ai-sdk', options), encodeAll('ai-sdk', events, options), options);
  const called: string[] = [];
  const data: unknown[] = [];
  const chat = new Chat({
    transport: transportTo(url),
    onToolCall: ({ toolCall }) => {
      if (toolCall.dynamic !== true) called.push(toolCall.toolName);
    },
    onData: (part) => data.push(part),
  });
  await chat.sendMessage({ text: 'Why?' });
  return { chat, called, data };
}

function lastMessage({ chat }: { readonly chat: Chat<UIMessage> }): UIMessage | undefined {
  const last = chat.messages.at(-1);
  return last?.role === 'assistant' ? last : undefined;
}

describe('the parts', () => {
  it('tell text and thinking, each begun before its first piece and ended where the other begins', async () => {
    expect(await contentOf([thinking('Let'), thinking(' me'), text('Hel'), 'lo', thinking('hm')])).toStrictEqual([
      { type: 'reasoning-start', id: 'reasoning-1' },
      { type: 'reasoning-delta', id: 'reasoning-1', delta: 'Let' },
      { type: 'reasoning-delta', id: 'reasoning-1', delta: ' me' },
      { type: 'reasoning-end', id: 'reasoning-1' },
      { type: 'text-start', id: 'text-2' },
      { type: 'text-delta', id: 'text-2', delta: 'Hel' },
      { type: 'text-delta', id: 'text-2', delta: 'lo' },
      { type: 'text-end', id: 'text-2' },
      { type: 'reasoning-start', id: 'reasoning-3' },
      { type: 'reasoning-delta', id: 'reasoning-3', delta: 'hm' },
      { type: 'reasoning-end', id: 'reasoning-3' },
    ]);
  });

  it('keep outputs apart that come by turns, and say which they are', async () => {
    const parts = await contentOf([
      text('a', 'answer'),
      text('x', 'summary', 1),
      text('b', 'answer'),
      text('y', 'summary', 1),
    ]);
    expect(parts.slice(0, 2)).toMatchObject([
      { type: 'text-start', id: 'text-1', providerMetadata: { millrace: { index: 0, name: 'answer' } } },
      { type: 'text-delta', id: 'text-1', delta: 'a' },
    ]);
    expect(parts.slice(2).map((part) => ('delta' in part ? [part.type, part.delta] : part.type))).toStrictEqual([
      'text-start',
      ['text-delta', 'x'],
      ['text-delta', 'b'],
      ['text-delta', 'y'],
      'text-end',
      'text-end',
    ]);
  });

  it('leave alternative answers out: a message has one', async () => {
    const place = { index: 1, name: 'output', alternative: true } as const;
    const second: StreamEvent[] = [
      { type: 'text', text: 'b', ...place },
      { type: 'media', kind: 'image', content: 'https://example.com/a.png', ...place },
      { ...delta('{}'), alternative: true } as StreamEvent,
      { ...call({}), alternative: true } as StreamEvent,
    ];
    expect(await contentOf(second)).toStrictEqual([]);
  });

  it('tell a refusal as text that is marked', async () => {
    expect(await contentOf([{ type: 'refusal', text: 'No.', index: 0, name: 'output' }])).toMatchObject([
      { type: 'text-start', providerMetadata: { millrace: { refusal: true } } },
      { type: 'text-delta', delta: 'No.' },
      { type: 'text-end' },
    ]);
  });

  it('tell a tool call as it grows, and whole', async () => {
    expect(await contentOf([text('a'), delta('{"q"'), delta(''), delta(':1}'), call({ q: 1 })])).toStrictEqual([
      { type: 'text-start', id: 'text-1' },
      { type: 'text-delta', id: 'text-1', delta: 'a' },
      { type: 'text-end', id: 'text-1' },
      { type: 'tool-input-start', toolCallId: 'c1', toolName: 'look' },
      { type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta: '{"q"' },
      { type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta: ':1}' },
      { type: 'tool-input-available', toolCallId: 'c1', toolName: 'look', input: { q: 1 } },
    ]);
  });

  it('tell results, and begin a new step for what follows them', async () => {
    const failed = result('no such place', 'c2', { isError: true });
    expect(await contentOf([call({}), call({}, 'c2'), result(1), failed, text('a')])).toMatchObject([
      { type: 'tool-input-available', toolCallId: 'c1' },
      { type: 'tool-input-available', toolCallId: 'c2' },
      { type: 'tool-output-available', toolCallId: 'c1', output: 1 },
      { type: 'tool-output-error', toolCallId: 'c2', errorText: 'no such place' },
      { type: 'finish-step' },
      { type: 'start-step' },
      { type: 'text-start' },
      { type: 'text-delta', delta: 'a' },
      { type: 'text-end' },
    ]);
  });

  it('keep calls that are being told in their step', async () => {
    const parts = await contentOf([
      delta('{', 'c2', 'ask'),
      call({}),
      result(1),
      delta('}', 'c2'),
      call({}, 'c2', 'ask'),
      'a',
    ]);
    expect(parts.map(({ type }) => type)).toStrictEqual([
      'tool-input-start',
      'tool-input-delta',
      'tool-input-available',
      'tool-output-available',
      'tool-input-delta',
      'tool-input-available',
      'finish-step',
      'start-step',
      'text-start',
      'text-delta',
      'text-end',
    ]);
  });

  it('mark what the provider runs itself, and stay in the step', async () => {
    const own = { providerExecuted: true };
    const parts = await contentOf([
      { ...delta('{}'), ...own } as StreamEvent,
      { ...call({}), ...own } as StreamEvent,
      result(0, 'c1', { preliminary: true }),
      result(1),
      text('a'),
    ]);
    expect(parts.slice(0, 5)).toMatchObject([
      { type: 'tool-input-start', ...own },
      { type: 'tool-input-delta' },
      { type: 'tool-input-available', ...own },
      { type: 'tool-output-available', output: 0, preliminary: true, ...own },
      { type: 'tool-output-available', output: 1, ...own },
    ]);
    expect(parts[5]).toMatchObject({ type: 'text-start' });
  });

  it('tell the call of a result that has none', async () => {
    expect(await contentOf([result(1)])).toStrictEqual([
      { type: 'tool-input-available', toolCallId: 'c1', toolName: 'look', input: {}, dynamic: true },
      { type: 'tool-output-available', toolCallId: 'c1', output: 1 },
    ]);
  });

  it('say of a call that never became whole that it must not be run', async () => {
    expect((await contentOf([delta('{"q')])).at(-1)).toMatchObject({
      type: 'tool-input-error',
      toolCallId: 'c1',
      toolName: 'look',
    });
  });

  it('tell media as files where they have an address', async () => {
    const place = { index: 0, name: 'output' };
    expect(
      await contentOf([
        { type: 'media', kind: 'image', content: 'https://example.com/a.png', ...place },
        { type: 'media', kind: 'audio', content: 'AAAA', ...place },
      ]),
    ).toStrictEqual([
      { type: 'file', url: 'https://example.com/a.png', mediaType: 'image/*' },
      { type: 'data-media', data: { kind: 'audio', content: 'AAAA', ...place } },
    ]);
  });

  it('tell a task by data that replaces what it told before, and by data that does not stay', async () => {
    const events: StreamEvent[] = [
      { type: 'status', status: 'running', id: 't1', terminal: false },
      { type: 'progress', current: 1, total: 4 },
      { type: 'output', value: { a: 1 }, final: false },
      { type: 'warning', code: 'c', message: 'm' },
      { type: 'log', message: 'line' },
      { type: 'raw', frame: { a: 1 } },
    ];
    const [status, progress, output, warning] = [
      { type: 'data-status', id: 'status', data: { status: 'running', id: 't1', terminal: false } },
      { type: 'data-progress', transient: true, data: { current: 1, total: 4 } },
      { type: 'data-output', id: 'output', data: { value: { a: 1 }, final: false } },
      { type: 'data-warning', transient: true, data: { code: 'c', message: 'm' } },
    ];
    expect(await contentOf(events)).toStrictEqual([status, progress, output, warning]);
    expect(await contentOf(events, { events: { raw: true, log: true } })).toStrictEqual([
      status,
      progress,
      output,
      warning,
      { type: 'data-log', transient: true, data: { message: 'line' } },
      { type: 'data-raw', transient: true, data: { frame: { a: 1 } } },
    ]);
  });

  it('put usage into the metadata of the message, the cost only where it is asked for', async () => {
    const counts = { inputTokens: 9, outputTokens: 4, cachedInputTokens: 2 };
    expect((await partsOf([usage, finish()])).at(-1)).toStrictEqual({
      type: 'finish',
      finishReason: 'stop',
      messageMetadata: { usage: counts },
    });
    const asked = (await partsOf([usage, finish()], { events: { cost: true } })).at(-1);
    expect(asked).toMatchObject({ messageMetadata: { usage: { ...counts, cost: { total: 1 } } } });
    expect((await partsOf([{ type: 'usage', provenance: 'unknown' }])).at(-1)).toStrictEqual({ type: 'finish' });
  });

  it('map each reason to one that the SDK knows', async () => {
    const words = ['stop', 'length', 'content-filter', 'tool-calls', 'refusal', 'other', 'unknown'] as const;
    const told = await Promise.all(words.map(async (reason) => (await partsOf([{ type: 'finish', reason }])).at(-1)));
    expect(told.map((part) => (part as { finishReason?: string }).finishReason)).toStrictEqual([
      'stop',
      'length',
      'content-filter',
      'tool-calls',
      'content-filter',
      'other',
      undefined,
    ]);
  });

  it('are all of version 6, begin before they grow, and end once, whatever comes', async () => {
    const events = fc.array(
      anyEvent.filter(({ type }) => type !== 'restart'),
      { maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(events, async (told) => {
        const open = new Set<string>();
        for (const part of await partsOf(told, { events: { raw: true, log: true, cost: true } })) {
          if (part.type === 'text-start' || part.type === 'reasoning-start') {
            expect(open.has(part.id)).toBe(false);
            open.add(part.id);
          }
          if (part.type === 'text-delta' || part.type === 'reasoning-delta') expect(open.has(part.id)).toBe(true);
          if (part.type === 'text-end' || part.type === 'reasoning-end') expect(open.delete(part.id)).toBe(true);
          if (part.type === 'finish-step') expect(open.size).toBe(0);
        }
        expect(open.size).toBe(0);
      }),
    );
  });

  it('never make the SDK’s client stumble, whatever comes', async () => {
    const events = fc.array(
      anyEvent.filter(({ type }) => type !== 'restart'),
      { maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(events, async (told) => {
        const parts = await partsOf(told, { events: { raw: true, log: true } });
        const errors: unknown[] = [];
        let message: UIMessage | undefined;
        const stream = new ReadableStream<UIMessageChunk>({
          start: (controller) => {
            for (const part of parts) controller.enqueue(part);
            controller.close();
          },
        });
        for await (const snapshot of readUIMessageStream({ stream, onError: (error) => errors.push(error) })) {
          message = snapshot;
        }
        expect(errors).toStrictEqual([]);
        const textOf = (name: 'text' | 'reasoning'): string =>
          (message?.parts ?? []).map((part) => (part.type === name ? part.text : '')).join('');
        const expected = (...types: readonly string[]): number =>
          told.reduce((sum, event) => {
            const isTold = types.includes(event.type) && 'text' in event && event.alternative !== true;
            return isTold ? sum + event.text.length : sum;
          }, 0);
        expect(textOf('text')).toHaveLength(expected('text', 'refusal'));
        expect(textOf('reasoning')).toHaveLength(expected('thinking'));
        expect(
          message?.parts.filter((part) => 'state' in part && String(part.state).includes('streaming')) ?? [],
        ).toEqual([]);
      }),
    );
  });

  it('are read back by the dialect of the format', () => {
    const events = [thinking('hm'), text('Hel'), text('lo'), delta('{"q"'), delta(':1}'), call({ q: 1 }), usage];
    const told = decodeAll(aiSDKDialect(), encodeAll('ai-sdk', [...events, finish('tool-calls')]).join(''));
    expect(told).toMatchObject({ outcome: 'complete', text: 'Hello', thinking: 'hm', toolArguments: '{"q":1}' });
    expect(told.events).toContainEqual(call({ q: 1 }));
    expect(told.events.at(-1)).toMatchObject({ type: 'finish', reason: 'tool-calls' });
    expect(decodeAll(aiSDKDialect(), encodeAll('ai-sdk', ['a'], { ending: 'stopped' }).join('')).error).toMatchObject({
      providerCode: 'abort',
    });
  });
});

describe('a restart', () => {
  it('is hidden before anything was sent', async () => {
    const status: StreamEvent = { type: 'status', status: 'queued', terminal: false };
    const parts = await contentOf([status, restart, 'a']);
    expect(parts.map(({ type }) => type)).toStrictEqual(['data-status', 'text-start', 'text-delta', 'text-end']);
  });

  it('cannot be told to version 6 after it', () => {
    for (const sent of ['a', thinking('a'), delta(''), call({})]) {
      expect(() => encodeAll('ai-sdk', [sent, restart])).toThrow(RestartNotTold);
    }
  });

  it('resets the step for version 7, and parts begin anew', () => {
    const events = ['a', delta('{'), restart, 'b', delta('{}'), call({}), restart, restart, 'c'];
    const parts = framesOf(encodeAll('ai-sdk', events, { aiSDKVersion: 7 }));
    expect(parts.slice(2, -2)).toMatchObject([
      { type: 'text-start', id: 'text-1' },
      { type: 'text-delta', delta: 'a' },
      { type: 'text-end' },
      { type: 'tool-input-start' },
      { type: 'tool-input-delta' },
      { type: 'reset-step' },
      { type: 'text-start', id: 'text-2' },
      { type: 'text-delta', delta: 'b' },
      { type: 'text-end' },
      { type: 'tool-input-start' },
      { type: 'tool-input-delta' },
      { type: 'tool-input-available' },
      { type: 'reset-step' },
      { type: 'text-start', id: 'text-3' },
      { type: 'text-delta', delta: 'c' },
      { type: 'text-end' },
    ]);
  });

  it('cannot be told to version 7 where steps before this one were sent', () => {
    const events = [call({}), result(1), 'a', restart];
    expect(() => encodeAll('ai-sdk', events, { aiSDKVersion: 7 })).toThrow(RestartNotTold);
  });
});

describe('the SDK’s own client', () => {
  const answer = [
    thinking('Let me '),
    thinking('think.'),
    text('I look. '),
    delta('{"q":'),
    delta('"é"}'),
    call({ q: 'é' }),
    result({ n: 1 }),
    text('It is '),
    text('one 🐎.'),
    usage,
    finish(),
  ];

  it('reads text, thinking, a tool call, its result and usage', async () => {
    const { message, errors } = await read(answer);
    expect(errors).toStrictEqual([]);
    expect(message?.metadata).toStrictEqual({ usage: { inputTokens: 9, outputTokens: 4, cachedInputTokens: 2 } });
    expect(message?.parts).toMatchObject([
      { type: 'step-start' },
      { type: 'reasoning', text: 'Let me think.', state: 'done' },
      { type: 'text', text: 'I look. ', state: 'done' },
      { type: 'tool-look', toolCallId: 'c1', state: 'output-available', input: { q: 'é' }, output: { n: 1 } },
      { type: 'step-start' },
      { type: 'text', text: 'It is one 🐎.', state: 'done' },
    ]);
  });

  it('keeps data that stays, the newest in place of the one before', async () => {
    const status = (word: string): StreamEvent => ({ type: 'status', status: word, terminal: false });
    const { message } = await read([
      status('queued'),
      { type: 'progress', current: 1 },
      status('running'),
      'a',
      finish(),
    ]);
    expect(message?.parts).toMatchObject([
      { type: 'step-start' },
      { type: 'data-status', data: { status: 'running' } },
      { type: 'text', text: 'a' },
    ]);
  });

  it('reports a failure, with the text before it left as unfinished', async () => {
    const { message, errors } = await read([text('Hel')], { ending: FAILURE });
    expect(errors).toMatchObject([{ message: 'The model is gone' }]);
    expect(message?.parts.at(-1)).toMatchObject({ text: 'Hel', state: 'streaming' });
  });

  it('reports a cut', async () => {
    const { message, errors } = await read([text('Hel')], { ending: 'cut', cut: true });
    expect(errors).toHaveLength(1);
    expect(message?.parts.at(-1)).toMatchObject({ text: 'Hel', state: 'streaming' });
  });
});

describe('useChat', () => {
  it('ends ready, having offered the page its own tools to run', async () => {
    const held = await chatAfter([text('a'), delta('{}'), call({}), finish('tool-calls')]);
    expect(held.chat).toMatchObject({ status: 'ready', error: undefined });
    expect(held.called).toStrictEqual(['look']);
    expect(lastMessage(held)?.parts.filter(isToolUIPart)).toMatchObject([
      { type: 'tool-look', state: 'input-available' },
    ]);
  });

  it('goes on with the message whose tool the page ran, and makes no second one of it', async () => {
    const bodies = [
      encodeAll('ai-sdk', [call({}), finish('tool-calls')]),
      encodeAll('ai-sdk', ['It is one.', finish()]),
    ];
    const { headers } = newEncoder('ai-sdk');
    const chat = new Chat({
      transport: new DefaultChatTransport({
        api: 'https://example.com/chat',
        fetch: () => Promise.resolve(new Response(bodies.shift()?.join(''), { headers: { ...headers } })),
      }),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    });
    await chat.sendMessage({ text: 'Why?' });
    await chat.addToolOutput({ tool: 'look', toolCallId: 'c1', output: 1 });
    await vi.waitFor(() => {
      expect(bodies).toHaveLength(0);
      expect(chat.status).toBe('ready');
    });
    expect(chat.messages.map(({ role }) => role)).toStrictEqual(['user', 'assistant']);
    expect(chat.messages.at(-1)?.parts.map(({ type }) => type)).toStrictEqual([
      'step-start',
      'tool-look',
      'step-start',
      'text',
    ]);
  });

  it('takes the id that the program gives the message', async () => {
    const held = await chatAfter(['a', finish()], { messageId: 'answer-7' });
    expect(lastMessage(held)?.id).toBe('answer-7');
  });

  it('offers the page none that the provider runs, or that it cannot know', async () => {
    const own: StreamEvent = { ...call({}), providerExecuted: true } as StreamEvent;
    expect((await chatAfter([own, result(1), result(1, 'c9'), finish()])).called).toStrictEqual([]);
  });

  it('hears of progress, which does not stay in the message', async () => {
    const held = await chatAfter([{ type: 'progress', current: 1 }, 'a', finish()]);
    expect(held.data).toMatchObject([{ type: 'data-progress', data: { current: 1 } }]);
    expect(lastMessage(held)?.parts.map(({ type }) => type)).toStrictEqual(['step-start', 'text']);
  });

  it.each([
    ['a failure', { ending: FAILURE }, 'The model is gone'],
    ['an answer that was stopped at the server', { ending: 'stopped' }, 'The answer was stopped before its end'],
  ] as const)('ends with the error of %s, and keeps the text', async (_, options, message) => {
    const held = await chatAfter([text('Hel')], options);
    expect(held.chat.status).toBe('error');
    expect(held.chat.error?.message).toBe(message);
    expect(lastMessage(held)?.parts.at(-1)).toMatchObject({ text: 'Hel', state: 'streaming' });
  });

  it('ends with an error where the connection is cut', async () => {
    const held = await chatAfter([text('Hel')], { ending: 'cut', cut: true });
    expect(held.chat.status).toBe('error');
    expect(lastMessage(held)?.parts.at(-1)).toMatchObject({ text: 'Hel' });
  });
});
