import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LimitError, ProviderError } from '../../src/errors.js';
import { MOVED } from '../../src/protocol/dialect.js';
import { inferenceshAgentDialect } from '../../src/providers/inferenceshAgentDialect.js';
import { MAX_HELD_CHARS } from '../../src/providers/streamedText.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';
import { pick, type Random } from '../support/mutatedFrames.js';
import { Reconnecting } from '../support/reconnecting.js';
import { expectAlike, play, shareOf, type Stories } from '../support/templateStories.js';
import { sse } from '../fixtures/providerFixture.js';

const dialect = inferenceshAgentDialect();
const lines = (frames: readonly object[]): string => frames.map((frame) => `${JSON.stringify(frame)}\n`).join('');
const decode = (...frames: readonly object[]) => decodeEvents(dialect, wireEvents('ndjson', lines(frames)));
const decodeAfter = (submitted: unknown, ...frames: readonly object[]) =>
  decodeEvents(dialect, wireEvents('ndjson', lines(frames)), { submitted });
const of = <Type extends StreamEvent['type']>(type: Type, events: readonly StreamEvent[]) =>
  events.filter((event): event is Extract<StreamEvent, { type: Type }> => event.type === type);

const chat = (status: string, more: object = {}): object => ({
  event: 'chats',
  data: { id: 'ch1', status, ...more },
  fields: ['status'],
});
const run = (state: string, more: object = {}): object => ({
  event: 'agent_runs',
  data: { id: 'r1', chat_id: 'ch1', state, ...more },
  fields: ['state'],
});
const delta = (response: string, id: string | undefined = 'm2', more: object = {}): object => ({
  event: 'delta',
  data: { delta: { response, ...more }, seq: 1, ...(id === '' ? {} : { resource_id: id }) },
});
const message = (status: string, text: string, more: object = {}): object => ({
  event: 'chat_messages',
  data: {
    id: 'm2',
    chat_id: 'ch1',
    order: 2,
    role: 'assistant',
    status,
    content: text === '' ? [] : [{ type: 'text', text }],
    ...more,
  },
  fields: ['status', 'content'],
});
const answer = (more: object = {}): object => ({
  data: {
    user_message: { id: 'm1', chat_id: 'ch1', order: 1, role: 'user', status: 'ready', content: [] },
    assistant_message: {
      id: 'm2',
      chat_id: 'ch1',
      order: 2,
      role: 'assistant',
      status: 'pending',
      content: [],
      ...more,
    },
  },
  messages: [],
});
const busy = chat('busy', { active_run: { id: 'r1', state: 'submitted' } });

describe('the end', () => {
  it.each([
    ['the run completing', run('completed')],
    ['the chat becoming idle', chat('idle', { active_run: null })],
    ['the chat completing', chat('completed')],
  ])('is %s after it was busy', (_, end) => {
    const { events, outcome } = decode(busy, delta('Hello'), end);
    expect(outcome).toBe('complete');
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
  });

  it('is not the rest in which an old chat is found', () => {
    const rest = chat('idle', { active_run: { id: 'r0', state: 'completed' } });
    expect(decode(rest, run('completed', { id: 'r0' })).outcome).toBe('interrupted');
    expect(decode(rest, busy, delta('Hello'), message('ready', 'Hello'), run('completed')).outcome).toBe('complete');
  });

  it('is not the failure in which an old chat is found', () => {
    const rest = chat('idle', { active_run: { id: 'r0', state: 'failed' } });
    expect(decode(rest, busy, delta('Hello'), run('completed')).outcome).toBe('complete');
  });

  it('may be a rest whose busy state nobody saw, once this turn’s message has ended', () => {
    expect(decodeAfter(answer(), chat('idle'), message('ready', 'Hello')).outcome).toBe('complete');
    expect(decodeAfter(answer(), message('ready', 'Hello'), chat('idle')).outcome).toBe('complete');
    expect(decodeAfter(answer(), chat('idle'), message('ready', 'Old', { id: 'm0', order: 0 })).outcome).toBe(
      'interrupted',
    );
  });

  it('may be told by the answer to the request', () => {
    const content = [{ type: 'text', text: 'Hello' }];
    const { events, outcome } = decodeAfter(answer({ status: 'ready', content }), chat('idle'));
    expect(outcome).toBe('complete');
    expect(textOf(events)).toBe('Hello');
  });

  it.each([
    ['a tool', run('input_required')],
    ['a sign-in', run('auth_required')],
    ['its client', chat('awaiting_input')],
    ['a state that is new to us', run('reflecting')],
  ])('is not a wait for %s', (_, state) => {
    expect(decode(busy, message('ready', 'Hello'), state).outcome).toBe('interrupted');
  });

  it('is not a message that is ready while the run works on', () => {
    expect(decode(busy, run('working'), message('ready', 'Let me look')).outcome).toBe('interrupted');
  });

  it('carries the reason of the newest message', () => {
    const { events } = decode(
      busy,
      delta('a', 'm2', { usage: { stop_reason: 'tool_calls' } }),
      delta('b', 'm4', { usage: { stop_reason: 'length' } }),
      run('completed'),
    );
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'length', rawReason: 'length' });
  });
});

describe('a failure', () => {
  it.each([
    ['failed', 'failed'],
    ['rejected', 'rejected'],
    ['canceled', 'cancelled'],
  ])('is a run that was %s', (state, providerCode) => {
    const { error, events } = decode(busy, delta('Hel'), run(state));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ providerCode, retryable: false });
    expect(textOf(events)).toBe('Hel');
  });

  it('is a failed message, with its words, after its text', () => {
    const { error, events } = decodeAfter(answer(), message('failed', 'Hel', { error: 'model overloaded' }));
    expect(error).toMatchObject({ providerCode: 'failed', providerMessage: 'model overloaded' });
    expect(textOf(events)).toBe('Hel');
  });

  it('is a failed message without words, with those of the run', () => {
    const { error } = decodeAfter(
      answer(),
      message('failed', ''),
      run('failed', { error: { message: 'model overloaded' } }),
    );
    expect(error).toMatchObject({ providerMessage: 'model overloaded' });
  });

  it.each(['failed', 'cancelled'])('is a %s message, although the chat just rests after it', (status) => {
    expect(decodeAfter(answer(), busy, message(status, ''), chat('idle')).error).toMatchObject({
      providerCode: status,
    });
  });

  it('is an error in either framing', () => {
    expect(decode({ event: 'error', data: { message: 'gone' } }).error).toMatchObject({ providerMessage: 'gone' });
    const wire = wireEvents('sse', 'event: error\ndata: gone away\n\n');
    expect(decodeEvents(dialect, wire).error).toMatchObject({ providerMessage: 'gone away' });
  });
});

describe('text', () => {
  it('comes by increments and is repeated by whole messages, of which only the new end counts', () => {
    const { events } = decode(
      busy,
      delta('Hel'),
      message('pending', 'Hello'),
      message('pending', 'Hello'),
      delta(' you'),
      message('ready', 'Hello you.'),
    );
    expect(of('text', events).map(({ text }) => text)).toEqual(['Hel', 'lo', ' you', '.']);
  });

  it('is not shortened by a message that is stored behind its increments', () => {
    const { events } = decode(
      busy,
      delta('Hello'),
      message('pending', 'Hel'),
      delta(' you'),
      message('ready', 'Hello you'),
    );
    expect(textOf(events)).toBe('Hello you');
    expect(of('restart', events)).toEqual([]);
  });

  it('restarts where the stored message has another text', () => {
    const { events } = decode(busy, delta('Hey', 'm2', { reasoning: 'Hm' }), message('ready', 'Hello'));
    expect(events.slice(-3)).toEqual([
      { type: 'restart', attempt: 1, because: 'the stored message has a different text', discard: { chars: 3 } },
      { type: 'thinking', text: 'Hm', index: 0, name: 'thinking' },
      { type: 'text', text: 'Hello', index: 0, name: 'output' },
    ]);
  });

  it('counts restarts, and what each voids', () => {
    const { events } = decode(busy, delta('a'), message('pending', 'bcd'), message('ready', 'xy'));
    expect(of('restart', events).map(({ attempt, discard }) => [attempt, discard.chars])).toEqual([
      [1, 1],
      [2, 3],
    ]);
    expect(textOf(events)).toBe('xy');
  });

  it('of several messages is one text, with a blank line between', () => {
    const frames = [
      busy,
      delta('Let me look.', 'm2'),
      message('ready', 'Let me look.'),
      message('ready', 'x', { id: 'm3', order: 3, role: 'tool' }),
      delta('Ly', 'm4'),
      message('ready', 'Lyon.', { id: 'm4', order: 4 }),
    ];
    expect(textOf(decode(...frames).events)).toBe('Let me look.\n\nLyon.');
    const mine = inferenceshAgentDialect({ separator: ' ' });
    expect(textOf(decodeEvents(mine, wireEvents('ndjson', lines(frames))).events)).toBe('Let me look. Lyon.');
  });

  it('of an earlier message that goes on is put in its place', () => {
    const { events } = decode(busy, delta('a', 'm2'), delta('b', 'm4'), message('ready', 'aa'));
    expect(textOf(events)).toBe('aa\n\nb');
    expect(of('restart', events)).toMatchObject([{ discard: { chars: 4 } }]);
  });

  it('is not mixed with that of a message before: a turn of tools alone has none', () => {
    const { events } = decode(
      busy,
      delta('Hello', 'm2'),
      message('ready', 'Hello'),
      message('ready', '', { id: 'm4', order: 4 }),
    );
    expect(textOf(events)).toBe('Hello');
  });

  it('without a message to belong to arrives as raw', () => {
    const { events } = decode(busy, delta('lost', ''));
    expect(textOf(events)).toBe('');
    expect(events.at(-1)).toMatchObject({ type: 'raw', event: 'delta' });
  });

  it('that comes after its message was stored as ended is there already', () => {
    const { events } = decode(busy, delta('Hel'), message('ready', 'Hello'), delta('lo'));
    expect(textOf(events)).toBe('Hello');
  });

  it('cannot be told again past its bound', () => {
    const { error } = decode(
      busy,
      delta('a'.repeat(MAX_HELD_CHARS + 1)),
      delta('b', 'm4'),
      message('ready', 'c', { id: 'm4' }),
    );
    expect(error).toBeInstanceOf(LimitError);
  });
});

describe('history', () => {
  it('is what is stored as ended before anything of this turn is seen', () => {
    const old = message('ready', 'Old answer', { id: 'm0', order: 0 });
    const { events } = decode(chat('idle'), old, busy, delta('New'), run('completed'));
    expect(textOf(events)).toBe('New');
    expect(of('raw', events)).toHaveLength(1);
  });

  it('is what stands before this turn’s message, whenever it is told', () => {
    const old = message('ready', 'Old answer', { id: 'm0', order: 0 });
    expect(textOf(decodeAfter(answer(), busy, old, delta('New'), old).events)).toBe('New');
  });

  it('is not an answer so short that nobody saw it being written', () => {
    expect(textOf(decode(chat('idle'), busy, message('ready', 'Yes'), chat('idle')).events)).toBe('Yes');
  });

  it('is what an earlier turn went on writing until ours began', () => {
    const decoder = dialect.decoder();
    const events: StreamEvent[] = [];
    const emit = (event: StreamEvent): void => {
      events.push(event);
    };
    for (const event of wireEvents('ndjson', lines([message('pending', 'Old', { id: 'm0', order: 0 })]))) {
      decoder.push(event, emit);
    }
    decoder.submitted(answer(), emit);
    for (const event of wireEvents('ndjson', lines([delta('New')]))) decoder.push(event, emit);
    expect(textOf(events)).toBe('New');
    expect(of('restart', events)).toMatchObject([{ discard: { chars: 3 } }]);
  });
});

describe('tools', () => {
  const invocation = {
    id: 'ti1',
    type: 'client',
    status: 'awaiting_input',
    function: { name: 'look', arguments: { q: 'x' } },
  };

  it('for the client are calls, once, under the id that takes the result', () => {
    const waiting = message('pending', '', { tool_invocations: [invocation] });
    const { events } = decode(busy, waiting, waiting, run('input_required'));
    expect(of('tool-call', events)).toEqual([
      { type: 'tool-call', index: 0, id: 'ti1', name: 'look', arguments: { q: 'x' }, argumentsText: '{"q":"x"}' },
    ]);
  });

  it.each([
    [['in_progress', 'awaiting_input', 'in_progress', 'completed']],
    [['pending', 'awaiting_input', 'in_progress', 'completed']],
    [['awaiting_approval', 'in_progress', 'completed']],
  ])('for the client are calls once, whatever states they go through: %j', (states) => {
    const told = states.map((status) => message('pending', '', { tool_invocations: [{ ...invocation, status }] }));
    const { events } = decode(busy, ...told);
    expect(of('tool-call', events)).toMatchObject([{ id: 'ti1', name: 'look' }]);
    // Each other state is told by the invocation, unchanged.
    expect(of('raw', events).map(({ event }) => event)).toEqual(states.slice(1).map(() => 'tool_invocations'));
  });

  it('are calls once across connections, and what is stored tells one that was missed', () => {
    const waiting = (id: string): object => message('pending', '', { tool_invocations: [{ ...invocation, id }] });
    const stream = new Reconnecting(dialect).submitted(answer()).read(lines([busy, waiting('ti1')]));
    stream.reconnect().read(lines([busy, waiting('ti1'), waiting('ti2')]));
    const { data } = waiting('ti3') as { data: object };
    stream.reconnect().read(lines([chat('idle')]));
    stream.stored({ data: { id: 'ch1', status: 'awaiting_input', chat_messages: [data] } });
    expect(stream.of('tool-call').map(({ id }) => id)).toEqual(['ti1', 'ti2', 'ti3']);
  });

  it('may have their arguments as text', () => {
    const call = { ...invocation, function: { name: 'look', arguments: '{"q": 1}' } };
    const { events } = decode(busy, message('pending', '', { tool_invocations: [call] }));
    expect(of('tool-call', events)).toMatchObject([{ arguments: { q: 1 }, argumentsText: '{"q": 1}' }]);
    const broken = { ...invocation, function: { name: 'look', arguments: '{"q' } };
    expect(decode(busy, message('pending', '', { tool_invocations: [broken] })).error).toMatchObject({
      code: 'ERR_PROTOCOL',
    });
  });

  it.each([
    ['of the server', { ...invocation, type: 'app', status: 'in_progress' }],
    ['that wait for approval', { ...invocation, status: 'awaiting_approval' }],
  ])('%s are raw, once for each state', (_, tool) => {
    const told = message('pending', '', { tool_invocations: [tool] });
    const over = message('pending', '', { tool_invocations: [{ ...tool, status: 'completed' }] });
    const { events } = decode(busy, told, told, over);
    expect(of('tool-call', events)).toEqual([]);
    expect(of('raw', events).map(({ event }) => event)).toEqual(['tool_invocations', 'tool_invocations']);
  });

  it('are previewed by increments', () => {
    const tool_calls = [{ index: 0, id: 'c1', type: 'function', function: { name: 'look', arguments: '{"q"' } }];
    const { events } = decode(busy, delta('', 'm2', { tool_calls }));
    expect(of('tool-call-delta', events)).toEqual([
      { type: 'tool-call-delta', index: 0, id: 'c1', name: 'look', argumentsDelta: '{"q"' },
    ]);
  });
});

it('tells the states of run and chat when they change', () => {
  const { events } = decode(chat('idle'), busy, busy, run('working'), run('working'));
  expect(events).toEqual([
    { type: 'status', status: 'idle', id: 'ch1', terminal: false },
    { type: 'status', status: 'busy', id: 'ch1', terminal: false },
    { type: 'status', status: 'submitted', id: 'r1', terminal: false },
    { type: 'heartbeat', comment: '' },
    { type: 'status', status: 'working', id: 'r1', terminal: false },
    { type: 'heartbeat', comment: '' },
  ]);
});

it('sums the usage of the turn’s messages', () => {
  const usage = (count: number): object => ({ usage: { prompt_tokens: count, completion_tokens: 1 } });
  const { events } = decode(busy, delta('', 'm2', usage(5)), delta('', 'm2', usage(9)), delta('', 'm4', usage(20)));
  expect(of('usage', events).map(({ inputTokens, outputTokens }) => [inputTokens, outputTokens])).toEqual([
    [5, 1],
    [9, 1],
    [29, 2],
  ]);
});

it('tells thinking once, images as media, other parts as raw', () => {
  const content = [
    { type: 'reasoning', text: 'Let me' },
    { type: 'image', uri: 'https://x/y.png' },
    { type: 'tool', id: 't' },
    { type: 'text', text: 'Hello' },
  ];
  const { events } = decode(
    busy,
    delta('', 'm2', { reasoning: 'Let' }),
    message('pending', '', { content }),
    message('ready', '', { content }),
  );
  expect(of('thinking', events).map(({ text }) => text)).toEqual(['Let', ' me']);
  expect(of('media', events)).toEqual([
    { type: 'media', kind: 'image', content: content[1], index: 0, name: 'output' },
  ]);
  expect(of('raw', events)).toEqual([{ type: 'raw', frame: content[2] }]);
  expect(textOf(events)).toBe('Hello');
});

it('does not void the text for thinking that is stored otherwise', () => {
  const content = [
    { type: 'reasoning', text: 'Summary' },
    { type: 'text', text: 'Hello' },
  ];
  const { events } = decode(busy, delta('Hello', 'm2', { reasoning: 'Let me' }), message('ready', '', { content }));
  expect(of('restart', events)).toEqual([]);
  expect(of('raw', events)).toHaveLength(1);
});

it('hands on as raw what it does not know', () => {
  expect(decode({ event: 'integrations', data: { id: 'x' } }).events).toMatchObject([{ type: 'raw' }]);
  expect(decodeAfter({ odd: true }).events).toEqual([{ type: 'raw', frame: { odd: true } }]);
});

it('reads server-sent events as it reads lines', () => {
  const frames = [busy, delta('Hel'), message('ready', 'Hello'), run('completed')];
  const events = frames.map((frame) => {
    const { event, ...data } = frame as { event: string };
    return `event: ${event}\ndata: ${JSON.stringify(data)}`;
  });
  expect(decodeEvents(dialect, wireEvents('sse', sse(...events)))).toEqual(decode(...frames));
});

describe('after a reconnect', () => {
  const say = (seq: number | undefined, response: string, id = 'm2'): object => ({
    event: 'delta',
    data: { delta: { response }, ...(seq === undefined ? {} : { seq }), resource_id: id },
  });
  const asked = (...frames: readonly object[]): Reconnecting =>
    new Reconnecting(dialect).submitted(answer()).read(lines(frames));
  const read = (stream: Reconnecting, ...frames: readonly object[]): Reconnecting => stream.read(lines(frames));
  const pieces = (stream: Reconnecting): readonly string[] => stream.of('text').map(({ text }) => text);
  const summary = (stream: Reconnecting): unknown => [stream.proof, stream.text, stream.restarts];
  const dataOf = (frame: object): object => (frame as { data: object }).data;
  const ready = (text: string, more: object = {}): object => dataOf(message('ready', text, more));
  const user = (id: string, order: number): object => ({ id, order, role: 'user', status: 'ready', content: [] });
  const storedChat = (status: string, messages: readonly object[], more: object = {}): object => ({
    data: { id: 'ch1', status, chat_messages: [user('m1', 1), ...messages], ...more },
    messages: [],
  });
  const idle = chat('idle', { active_run: null });

  describe('in the middle of a message', () => {
    const begun = (): Reconnecting => asked(busy, message('pending', ''), say(1, 'Hel')).reconnect();

    it('goes on where increments follow, and is whole once the message is told as stored', () => {
      const stream = read(begun(), busy, say(1, 'Hel'), say(2, 'lo'), message('ready', 'Hello'), run('completed'));
      expect([pieces(stream), summary(stream)]).toEqual([
        ['Hel', 'lo'],
        ['done', 'Hello', 0],
      ]);
    });

    it('tells what the stored message has more, and goes on from there', () => {
      const stream = read(
        begun(),
        busy,
        message('pending', 'Hello'),
        say(3, ' you'),
        message('ready', 'Hello you'),
        idle,
      );
      expect([pieces(stream), summary(stream)]).toEqual([
        ['Hel', 'lo', ' you'],
        ['done', 'Hello you', 0],
      ]);
    });

    it.each([
      ['follow something missed', [say(3, ' you')]],
      ['have no number', [say(undefined, ' you')]],
      ['follow a stored message that is behind', [message('pending', 'He'), say(3, ' you')]],
    ])('holds back increments that %s, until the message is told as stored', (_, frames) => {
      const stream = read(begun(), busy, ...frames);
      expect([stream.text, stream.events.at(-1)]).toEqual(['Hel', MOVED]);
      expect(summary(read(stream, message('ready', 'Hello you'), idle))).toEqual(['done', 'Hello you', 0]);
      expect(pieces(stream)).toEqual(['Hel', 'lo you']);
    });

    it('takes the rest from the stored chat where the turn has ended meanwhile', () => {
      for (const end of [idle, run('completed'), chat('completed')]) {
        const stream = read(begun(), end);
        expect([stream.proof, stream.of('finish')]).toEqual(['ended', []]);
        stream.stored(storedChat('idle', [ready('Hello you')]));
        expect([pieces(stream), summary(stream)]).toEqual([
          ['Hel', 'lo you'],
          ['done', 'Hello you', 0],
        ]);
      }
    });

    it('begins anew where the stored message is another', () => {
      const stream = read(begun(), idle).stored(storedChat('idle', [ready('Goodbye')]));
      expect(summary(stream)).toEqual(['done', 'Goodbye', 1]);
    });

    it('fails with the message that failed meanwhile, and with the run', () => {
      const error = { error: 'out of credit' };
      const failed = dataOf(message('failed', 'Hel', error));
      expect(() => read(begun(), idle).stored(storedChat('idle', [failed]))).toThrow(
        expect.objectContaining({ providerMessage: 'out of credit', retryable: false }),
      );
      expect(() => read(begun(), run('failed', error))).toThrow(
        expect.objectContaining({ providerMessage: 'out of credit' }),
      );
      expect(() => read(begun(), run('canceled'))).toThrow(expect.objectContaining({ providerCode: 'cancelled' }));
    });
  });

  describe('between two messages', () => {
    const looked = (): Reconnecting =>
      asked(busy, run('working'), say(1, 'Let me look.'), message('ready', 'Let me look.')).reconnect();
    const later = { id: 'm4', order: 4 };
    const whole = 'Let me look.\n\nIt is Lyon.';

    it('goes on with the next one', () => {
      const stream = read(looked(), busy, message('pending', '', later), say(1, 'It is', 'm4'), say(2, ' Lyon.', 'm4'));
      expect(stream.text).toBe(whole);
      // The first message may not have been the last before the loss: the stored chat tells.
      read(stream, message('ready', 'It is Lyon.', later), idle);
      expect(stream.proof).toBe('ended');
      stream.stored(storedChat('idle', [ready('Let me look.'), ready('It is Lyon.', later)]));
      expect(summary(stream)).toEqual(['done', whole, 0]);
    });

    it('finds messages that nobody saw in the stored chat, in their order', () => {
      const between = { id: 'm3', order: 3 };
      const all = [ready('Let me look.'), ready('It is', between), ready('Lyon.', later)];
      for (const messages of [all, all.toReversed()]) {
        const stream = read(looked(), idle).stored(storedChat('idle', messages));
        expect(summary(stream)).toEqual(['done', 'Let me look.\n\nIt is\n\nLyon.', 0]);
      }
    });

    it('takes an increment that begins a message, and holds back one in its middle', () => {
      expect(read(looked(), say(1, 'It is', 'm4')).text).toBe('Let me look.\n\nIt is');
      expect(read(looked(), say(7, 'is', 'm4')).text).toBe('Let me look.');
    });
  });

  describe('the stored chat', () => {
    const ended = (): Reconnecting => read(asked(busy).reconnect(), idle);

    it.each([
      ['no message of the turn', storedChat('idle', [])],
      ['no messages at all', { data: { id: 'ch1', status: 'idle' } }],
      ['only messages of earlier turns', storedChat('idle', [ready('Old', { id: 'm0', order: 0 })])],
    ])('that holds %s fails, and is not asked for again', (_, work) => {
      const stream = asked(busy).reconnect();
      // The answer to the request had named a message, of which nothing came.
      read(stream, idle);
      expect(stream.proof).toBe('ended');
      expect(() => stream.stored(work)).toThrow(expect.objectContaining({ retryable: false }));
      expect([stream.text, stream.of('finish')]).toEqual(['', []]);
    });

    it('is read until the turn is over, and tells what is new each time', () => {
      const stream = ended();
      for (const text of ['', 'Hel', 'Hel', 'Hello']) {
        stream.stored(
          storedChat('busy', [dataOf(message('pending', text))], { active_run: { id: 'r1', state: 'working' } }),
        );
        expect(stream.proof).toBe('open');
      }
      // At rest, and the message is not over yet.
      expect(stream.stored(storedChat('idle', [dataOf(message('pending', 'Hello'))])).proof).toBe('open');
      stream.stored(storedChat('idle', [ready('Hello you')]));
      expect([pieces(stream), summary(stream)]).toEqual([
        ['Hel', 'lo', ' you'],
        ['done', 'Hello you', 0],
      ]);
      // What it holds besides was not sent by the stream, and is not told however often it is read.
      expect(stream.of('raw').filter(({ event }) => event === 'chat_messages')).toEqual([]);
    });

    it('may be bare, and its messages named otherwise', () => {
      const stream = ended().stored({ id: 'ch1', status: 'idle', messages: [ready('Hello')] });
      expect(summary(stream)).toEqual(['done', 'Hello', 0]);
    });

    it('tells calls, parts and thinking once', () => {
      const invocation = {
        id: 'ti1',
        type: 'client',
        status: 'awaiting_input',
        function: { name: 'look', arguments: {} },
      };
      const content = [
        { type: 'reasoning', text: 'Hm' },
        { type: 'image', url: 'u' },
        { type: 'text', text: 'Look' },
      ];
      const waiting = ready('', { status: 'pending', content, tool_invocations: [invocation] });
      const stream = ended();
      for (let i = 0; i < 3; i += 1) stream.stored(storedChat('awaiting_input', [waiting]));
      expect(stream.proof).toBe('open');
      expect(
        ['tool-call', 'media', 'thinking', 'text'].map((type) => of(type as 'text', stream.events).length),
      ).toEqual([1, 1, 1, 1]);
    });

    it('is raw where it is none', () => {
      expect(ended().stored(['?']).events.at(-1)).toEqual({ type: 'raw', frame: ['?'] });
    });
  });

  it('does not believe the end of the older stream, whose text may have been lost', () => {
    const content = (text: string): string => `event: content\ndata: ${JSON.stringify({ text })}`;
    const end = 'event: done\ndata: {}';
    const legacy = (): Reconnecting => new Reconnecting(dialect, 'sse').read(sse(content('Hel'))).reconnect();
    expect(() => legacy().read(sse(content(' you'), end))).toThrow(expect.objectContaining({ retryable: false }));
    const asking = asked(busy, say(1, 'Hel'))
      .reconnect()
      .read(lines([{ event: 'done', data: {} }]));
    expect(asking.proof).toBe('ended');
    expect(summary(asking.stored(storedChat('idle', [ready('Hello')])))).toEqual(['done', 'Hello', 0]);
  });

  it('does not take the rest before the turn for its end', () => {
    const stream = new Reconnecting(dialect)
      .read(lines([idle]))
      .submitted(answer())
      .reconnect();
    read(stream, { type: 'heartbeat' }, message('pending', ''), say(1, 'Hel'));
    expect([stream.proof, stream.text]).toEqual(['open', 'Hel']);
    expect(summary(read(stream, busy, message('ready', 'Hello'), run('completed')))).toEqual(['done', 'Hello', 0]);
  });

  it('asks what is stored where the chat is found at rest, and goes on where it is busy again', () => {
    const stream = read(asked().reconnect(), idle);
    expect(stream.proof).toBe('ended');
    // It was the rest before the turn: the message is not over.
    expect(stream.stored(storedChat('idle', [dataOf(message('pending', ''))])).proof).toBe('open');
    const working = { active_run: { id: 'r1', state: 'working' } };
    expect(stream.stored(storedChat('busy', [dataOf(message('pending', 'Hel'))], working)).proof).toBe('open');
    expect(summary(stream.stored(storedChat('idle', [ready('Hello')])))).toEqual(['done', 'Hello', 0]);
  });

  describe('on a chat that was merely joined', () => {
    const joined = (...frames: readonly object[]): Reconnecting => new Reconnecting(dialect).read(lines(frames));
    const old = ready('Old', { id: 'm0', order: 0 });

    it('tells the turn that ended meanwhile, and no earlier one', () => {
      const seen = read(joined(busy, say(1, 'Hel')).reconnect(), idle);
      expect(seen.proof).toBe('ended');
      expect(summary(seen.stored(storedChat('idle', [old, ready('Hello')])))).toEqual(['done', 'Hello', 0]);
    });

    it.each([
      ['with their places', (each: object) => each],
      ['without', (each: object) => ({ ...each, order: undefined })],
    ])('tells it where nothing of it was seen, %s', (_, place) => {
      const stream = read(joined(idle, busy).reconnect(), idle);
      expect(stream.proof).toBe('ended');
      const all = [user('u0', -1), old, user('m1', 1), ready('Hello')].map(place);
      stream.stored({ data: { id: 'ch1', status: 'idle', chat_messages: all } });
      expect(summary(stream)).toEqual(['done', 'Hello', 0]);
    });

    it('waits for a turn that has not begun', () => {
      const stream = read(joined(idle).reconnect(), idle, { type: 'heartbeat' });
      expect(stream.proof).toBe('open');
      expect(summary(read(stream, busy, say(1, 'Hello'), message('ready', 'Hello'), idle))).toEqual([
        'done',
        'Hello',
        0,
      ]);
    });
  });

  it('tells each character once, however increments and stored messages interleave', () => {
    const text = 'Lyon lies at two rivers.';
    const connection = fc.record({
      from: fc.nat(text.length),
      to: fc.nat(text.length),
      shown: fc.option(fc.nat(text.length)),
      isNumbered: fc.boolean(),
      isReplayed: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(connection, { minLength: 1, maxLength: 6 }), (connections) => {
        const stream = asked(busy, message('pending', ''));
        let at = 0;
        connections.forEach(({ from, to, shown, isNumbered, isReplayed }, i) => {
          if (i > 0) read(stream.reconnect(), busy);
          at = i === 0 ? 0 : Math.max(at, from);
          // Either nothing is shown, or how far it has come, or a state that is behind what a reader has.
          const length = shown === null ? 0 : shown < stream.text.length ? shown : at;
          if (length > 0) read(stream, message('pending', text.slice(0, length)));
          // A server may send again what was sent, where numbers tell it.
          const end = Math.max(at, to);
          for (let k = isReplayed && isNumbered && length === 0 ? 0 : at; k < end; k += 1) {
            read(stream, say(isNumbered ? k + 1 : undefined, text.charAt(k)));
          }
          at = end;
          expect(text.startsWith(stream.text)).toBe(true);
        });
        read(stream.reconnect(), idle).stored(storedChat('idle', [ready(text)]));
        expect(summary(stream)).toEqual(['done', text, 0]);
        expect(pieces(stream).join('')).toBe(text);
      }),
    );
  });
});

describe('a template', () => {
  const id = (random: Random): string => pick(random, ['m2', 'm2', 'm2', 'm3', 'm1']);
  const increment = (of: object, seq: unknown, resource_id: unknown = 'm2'): object => ({
    event: 'delta',
    data: { delta: of, seq, resource_id },
  });
  const stories: Omit<Stories, 'framing'> = {
    writers: [
      (_, response, count) => ({ data: increment({ response }, count) }),
      (random, response, count) => ({ data: increment({ response }, count, id(random)) }),
      (_, reasoning, count) => ({ data: increment({ response: '', reasoning }, count) }),
      (random, response) => ({
        data: increment(
          { response },
          pick(random, [0, 1, 2, 7, -1, 1.5, null, 'x']),
          pick(random, ['m2', '', null, 5]),
        ),
      }),
      (_, response, count) => ({ event: 'delta', data: { delta: { response }, seq: count, resource_id: 'm2' } }),
      (random, response, count) => ({
        data: increment({ response, usage: pick(random, [null, {}, { total_tokens: count }]), tool_calls: [] }, count),
      }),
      (_, text) => ({ data: { event: 'content', data: { text } } }),
      (_, text) => ({ data: { event: 'content', text } }),
      (_, text) => ({ event: 'content', data: { text } }),
      (random, text) => ({
        data: message(pick(random, ['pending', 'pending', 'ready', 'failed']), text, { id: id(random) }),
      }),
      (random) => ({ data: pick(random, [busy, chat('busy'), chat('idle'), run('working'), run('completed')]) }),
      () => ({ data: { type: 'heartbeat' } }),
    ],
    ends: [{ data: { event: 'done' } }, { data: message('ready', 'Hello') }, { data: chat('idle') }],
    asides: [
      'release',
      'reattached',
      { submitted: answer() },
      { submitted: answer({ status: 'ready', content: [{ type: 'text', text: 'Hel' }] }) },
      { submitted: answer({ status: 'failed', error: 'Oh' }) },
      { stored: { data: { id: 'ch1', status: 'busy', chat_messages: [message('pending', 'Hel')] } } },
    ],
  };

  it('decodes all increments of a message but the first ones, in both framings', () => {
    const frames = ['Ly', 'on', '.', '!'].map((response, index) => increment({ response }, index + 1));
    const thoughts = ['H', 'm', '.'].map((reasoning, index) => increment({ response: '', reasoning }, index + 5));
    expect(shareOf(dialect, wireEvents('ndjson', lines([...frames, ...thoughts])))).toBe('5 of 7');
    const older = ['a', 'b', 'c'].map((text) => `event: content\ndata: ${JSON.stringify({ text })}`);
    expect(shareOf(dialect, wireEvents('sse', sse(...older)))).toBe('2 of 3');
  });

  it('does not hide the end that the answer to the request told, between two increments', () => {
    const told = { submitted: answer({ status: 'ready', content: [{ type: 'text', text: 'ab' }] }) };
    const [one, two] = [wireEvents('ndjson', lines([chat('idle'), delta('a'), delta('b')])), delta('c')];
    const { events, templated } = play(dialect, [...one, told, ...wireEvents('ndjson', lines([two, two]))]);
    expect(templated).toBe(1);
    expect(events.at(-1)).toMatchObject({ type: 'finish' });
  });

  it.each(['ndjson', 'sse'] as const)('tells what the full path tells, whatever comes, in %s', (framing) => {
    expectAlike(dialect, { ...stories, framing }, 10);
  });
});
