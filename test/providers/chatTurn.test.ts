import { from, lastValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { chatDialect, type ChatDialectOptions } from '../../src/providers/chatDialect.js';
import { chatRequest } from '../../src/providers/chatRequest.js';
import type { ChatTurn } from '../../src/providers/chatTurn.js';
import { checkRequest } from '../../src/providers/support.js';
import type { StreamEvent } from '../../src/types.js';
import { frame } from '../support/decodeAll.js';
import { recorded, recordings } from '../support/shared.js';

const choice = (delta: unknown, finish_reason: string | null = null, index = 0): object => ({
  choices: [{ index, delta, finish_reason }],
});

/** The turn of a body as a user gets it. */
async function turnOfBytes(bytes: Uint8Array, options: ChatDialectOptions = {}): Promise<ChatTurn> {
  const message = await lastValueFrom(
    from([bytes]).pipe(parseSSE(), decode(chatDialect(options)), accumulate<ChatTurn>()),
  );
  return message.toRequest();
}

const turnOf = (frames: readonly unknown[], options?: ChatDialectOptions): Promise<ChatTurn> =>
  turnOfBytes(new TextEncoder().encode([...frames, '[DONE]'].map(frame).join('')), options);

const stop = choice({}, 'stop');
const called = choice({}, 'tool_calls');
const call = (...parts: unknown[]): object => choice({ tool_calls: parts });
const look = { index: 0, id: 'c1', type: 'function', function: { name: 'look', arguments: '{ "q" : 1}' } };
const lookBack = { id: 'c1', type: 'function', function: { name: 'look', arguments: '{ "q" : 1}' } };
const details = (...reasoning_details: unknown[]): object => choice({ reasoning_details });
const text = (written: string, more: object = {}): object => ({ type: 'reasoning.text', text: written, ...more });

describe('the turn of a chat answer', () => {
  it('is its text', async () => {
    expect(await turnOf([choice({ content: 'Hel' }), choice({ content: 'lo' }), stop])).toStrictEqual({
      role: 'assistant',
      content: 'Hello',
    });
  });

  it('has its tool calls, their arguments byte for byte', async () => {
    const other = { index: 1, id: 'c2', function: { name: 'run', arguments: '' } };
    expect(await turnOf([call(look, other), called])).toStrictEqual({
      role: 'assistant',
      content: null,
      tool_calls: [lookBack, { id: 'c2', type: 'function', function: { name: 'run', arguments: '{}' } }],
    });
  });

  it('keeps the text beside tool calls', async () => {
    expect(await turnOf([choice({ content: 'Let me see.' }), call(look), called])).toMatchObject({
      content: 'Let me see.',
      tool_calls: [lookBack],
    });
  });

  it.each(['', 'ls -la', '{"a":1}', '"quoted"', '7'])('gives a custom tool back as one: %j', async (input) => {
    const part = { index: 0, id: 'c1', type: 'custom', custom: { name: 'shell', input } };
    expect(await turnOf([call(part), called])).toMatchObject({
      tool_calls: [{ id: 'c1', type: 'custom', custom: { name: 'shell', input } }],
    });
  });

  it.each(['{}', '"text"', '7', 'null', ' [1]'])('never takes a function for a custom tool: %s', async (args) => {
    const part = { index: 0, id: 'c1', function: { name: 'f', arguments: args } };
    const turn = await turnOf([call(part), called]);
    expect(turn.tool_calls).toStrictEqual([{ id: 'c1', type: 'function', function: { name: 'f', arguments: args } }]);
  });

  it('gives the deprecated form back as it came', async () => {
    const parts = [{ name: 'look', arguments: '' }, { arguments: '{"q":1}' }];
    const turn = await turnOf([...parts.map((part) => choice({ function_call: part })), choice({}, 'function_call')]);
    expect(turn).toStrictEqual({
      role: 'assistant',
      content: null,
      function_call: { name: 'look', arguments: '{"q":1}' },
    });
  });

  it('gives back what a provider hung on a call, by its id and else by its place', async () => {
    const signed = (google: string): object => ({ extra_content: { google } });
    const turn = await turnOf([
      call({ ...look, ...signed('one') }),
      call({ index: 1, id: 'c2', function: { name: 'run', arguments: '{' } }),
      call({ index: 1, function: { arguments: '}' }, ...signed('two') }),
      called,
    ]);
    expect(turn.tool_calls).toMatchObject([
      { id: 'c1', ...signed('one') },
      { id: 'c2', ...signed('two') },
    ]);
  });

  it('has a refusal', async () => {
    expect(await turnOf([choice({ refusal: "I can't" }), stop])).toStrictEqual({
      role: 'assistant',
      content: null,
      refusal: "I can't",
    });
  });

  it('names a sound by its id', async () => {
    const frames = [choice({ audio: { id: 'a1', transcript: 'Hi' } }), choice({ audio: { data: 'UklG' } }), stop];
    expect(await turnOf(frames)).toStrictEqual({ role: 'assistant', content: null, audio: { id: 'a1' } });
  });

  it('is of the first answer where there were several', async () => {
    const frames = [
      choice({ content: 'no', tool_calls: [look], reasoning_details: [text('b')] }, null, 1),
      choice({ content: 'yes' }),
      choice({}, 'stop', 1),
      stop,
    ];
    expect(await turnOf(frames, { choices: 2 })).toStrictEqual({ role: 'assistant', content: 'yes' });
  });

  it('is empty where nothing was said', async () => {
    expect(await turnOf([stop])).toStrictEqual({ role: 'assistant', content: '' });
  });

  it('leaves out a call that was cut', async () => {
    const cut = { index: 1, id: 'c2', function: { name: 'look', arguments: '{"q' } };
    const turn = await turnOf([call(look, cut), choice({}, 'length')]);
    expect(turn.tool_calls).toStrictEqual([lookBack]);
  });

  it('is pure: it does not change what it reads, and gives the same again', () => {
    const { turn } = chatDialect();
    const frames = [details(text('a', { index: 0 })), details(text('b', { index: 0, signature: 's' }))];
    const events = frames.map((sent) => ({ type: 'raw', frame: sent }) as const);
    const before = JSON.stringify(events);
    expect(turn?.build(events)).toStrictEqual(turn?.build(events));
    expect(JSON.stringify(events)).toBe(before);
  });
});

describe('reasoning details', () => {
  it('are joined by type and index, with what closes them', async () => {
    const turn = await turnOf([
      details(text('Ri', { format: 'f', index: 0 })),
      details(text('vers', { format: 'f', index: 0 })),
      details({ type: 'reasoning.text', signature: 'S+/=', format: 'f', index: 0 }),
      details(
        { type: 'reasoning.summary', summary: 'On ', index: 1 },
        { type: 'reasoning.summary', summary: 'water', index: 1 },
      ),
      details({ type: 'reasoning.encrypted', data: 'AAAA', id: 'r', index: 2 }),
      stop,
    ]);
    expect(turn.reasoning_details).toStrictEqual([
      { type: 'reasoning.text', text: 'Rivers', format: 'f', index: 0, signature: 'S+/=' },
      { type: 'reasoning.summary', summary: 'On water', index: 1 },
      { type: 'reasoning.encrypted', data: 'AAAA', id: 'r', index: 2 },
    ]);
  });

  it('lose nothing where the same piece comes twice and more', async () => {
    const turn = await turnOf([...Array.from({ length: 5 }, () => details(text('ha', { index: 0 }))), stop]);
    expect(turn.reasoning_details).toStrictEqual([text('hahahahaha', { index: 0 })]);
  });

  it('keep encrypted data apart, also where it is equal', async () => {
    const secret = { type: 'reasoning.encrypted', data: 'AAAA' };
    expect((await turnOf([details(secret), details(secret), stop])).reasoning_details).toStrictEqual([secret, secret]);
  });

  it('begin anew after a signature, and for another id', async () => {
    const turn = await turnOf([
      details(text('a', { id: '1', signature: null })),
      details(text('b', { signature: 's' })),
      details(text('c')),
      details(text('d', { id: '2' })),
      details(text('e', { id: '3' })),
      stop,
    ]);
    expect(turn.reasoning_details).toStrictEqual([
      text('ab', { id: '1', signature: 's' }),
      text('cd', { id: '2' }),
      text('e', { id: '3' }),
    ]);
  });

  it('keep what they do not know, and stand in place of other thinking', async () => {
    const odd = ['x', null, { type: 'reasoning.later', index: 0, parts: [1] }];
    const frames = [choice({ reasoning: 'hm', reasoning_details: odd }), call(look), called];
    expect(await turnOf(frames)).toStrictEqual({
      role: 'assistant',
      content: null,
      reasoning_details: odd,
      tool_calls: [lookBack],
    });
  });

  it('are left out of an answer that was cut before the signature that they need', async () => {
    const { turn } = chatDialect();
    const raw = (detail: object): StreamEvent => ({ type: 'raw', frame: details(detail) });
    const signed = text('a', { format: 'anthropic-claude-v1', index: 0, signature: 's' });
    const cut = text('b', { format: 'anthropic-claude-v1', index: 1 });
    const free = text('c', { format: null, index: 2 });
    const cutEvents = [signed, cut, free].map(raw);
    expect(turn?.build(cutEvents)).toMatchObject({ reasoning_details: [signed, free] });
    const finish = { type: 'finish', reason: 'stop' } as const;
    expect(turn?.build([...cutEvents, finish])).toMatchObject({ reasoning_details: [signed, cut, free] });
    const unsigned = await turnOf([details(cut), stop]);
    expect(unsigned.reasoning_details).toStrictEqual([cut]);
  });

  it('are read from a whole message', async () => {
    const message = { role: 'assistant', content: 'Lyon', reasoning_details: [text('hm')] };
    const turn = await turnOf([{ choices: [{ index: 0, message, finish_reason: 'stop' }] }]);
    expect(turn).toStrictEqual({ role: 'assistant', content: 'Lyon', reasoning_details: [text('hm')] });
  });
});

describe('thinking', () => {
  const thought = choice({ reasoning_content: 'hm ' });
  const quiet = [thought, thought, choice({ content: 'So' }), stop];
  const calling = [thought, call(look), called];

  it('is given back with tool calls, and not without', async () => {
    expect(await turnOf(calling)).toMatchObject({ reasoning_content: 'hm ' });
    expect(await turnOf(quiet)).toStrictEqual({ role: 'assistant', content: 'So' });
  });

  it('is given back where told', async () => {
    const always = await turnOf(quiet, { turnThinking: { as: 'reasoning', when: 'always' } });
    expect(always).toStrictEqual({ role: 'assistant', content: 'So', reasoning: 'hm hm ' });
    expect(await turnOf(calling, { turnThinking: 'omit' })).not.toHaveProperty('reasoning_content');
    expect(await turnOf(calling, { inlineThinking: true })).not.toHaveProperty('reasoning_content');
  });

  it('stands there even empty where told, with tool calls only', async () => {
    const turnThinking = { as: 'reasoning_content', when: 'tool-calls', evenEmpty: true } as const;
    expect(await turnOf([call(look), called], { turnThinking })).toMatchObject({ reasoning_content: '' });
    expect(await turnOf([call(look), called])).not.toHaveProperty('reasoning_content');
    expect(await turnOf([stop], { turnThinking })).not.toHaveProperty('reasoning_content');
  });

  it('is a part of the content where told, in its place and with what was on it', async () => {
    const thinking = (written: string, more: object = {}): object => ({
      type: 'thinking',
      thinking: [{ type: 'text', text: written }],
      ...more,
    });
    const frames = [
      choice({ content: [thinking('Ri')] }),
      choice({ content: [thinking('vers', { signature: 's1' })] }),
      choice({ content: [{ type: 'text', text: 'They ' }] }),
      choice({ content: 'meander' }),
      choice({ content: [thinking('more')] }),
      stop,
    ];
    const turn = await turnOf(frames, { turnThinking: { as: 'parts', when: 'always' } });
    expect(turn).toStrictEqual({
      role: 'assistant',
      content: [{ signature: 's1', ...thinking('Rivers') }, { type: 'text', text: 'They meander' }, thinking('more')],
    });
    const plain = await turnOf([choice({ content: 'So' }), stop], { turnThinking: { as: 'parts', when: 'always' } });
    expect(plain.content).toBe('So');
  });
});

describe('the turns of the recordings', () => {
  const whole = recordings('chat').filter(({ outcome }) => outcome === 'complete');

  it('are there, or skipped where the folder is not', () => {
    expect(whole.length === 0 || whole.length >= 18).toBe(true);
  });

  it.each(whole)('$file: is a message that the next request may hold', async (recording) => {
    const turn = await turnOfBytes(recorded(recording));
    expect(turn.role).toBe('assistant');
    const next = [{ role: 'user', content: 'q' }, turn, { role: 'user', content: 'And then?' }];
    expect(() => checkRequest(chatRequest, { model: 'm', messages: next }, 'it')).not.toThrow();
    expect(JSON.parse(JSON.stringify(turn))).toStrictEqual(turn);
  });

  const named = (name: string): typeof whole => whole.filter(({ file }) => file.endsWith(name));

  it.each(named('tool-call-comments.sse'))('$file: has its reasoning details, joined and signed', async (recording) => {
    const sent = recorded(recording).toString();
    const deltas = [...sent.matchAll(/^data: (\{.*)$/gm)].map(
      ([, json = '']) =>
        (JSON.parse(json) as { choices: { delta: { reasoning_details?: Record<string, string>[] } }[] }).choices[0]
          ?.delta.reasoning_details ?? [],
    );
    const pieces = deltas.flat();
    const turn = await turnOfBytes(recorded(recording));
    expect(turn.reasoning_details).toStrictEqual([
      {
        type: 'reasoning.text',
        text: pieces.map((piece) => piece['text'] ?? '').join(''),
        format: 'anthropic-claude-v1',
        index: 0,
        signature: pieces.find((piece) => piece['signature'])?.['signature'],
      },
    ]);
    expect(turn.tool_calls).toStrictEqual([
      {
        id: 'toolu_bdrk_01L9pX1Wp4FAEq9TT2Z6UAe7',
        type: 'function',
        function: { name: 'reasoning_weather', arguments: '{"city": "Berlin"}' },
      },
    ]);
  });

  it.each(named('reasoning-comments.sse'))('$file: has its encrypted reasoning byte for byte', async (recording) => {
    const data = /"data":"([^"]+)"/.exec(recorded(recording).toString())?.[1];
    const { reasoning_details } = await turnOfBytes(recorded(recording));
    expect(reasoning_details).toStrictEqual([expect.objectContaining({ type: 'reasoning.encrypted', data })]);
  });

  it.each(named('magistral-thinking.sse'))('$file: has its thinking as a part', async (recording) => {
    const turn = await turnOfBytes(recorded(recording), { turnThinking: { as: 'parts', when: 'always' } });
    expect(turn.content).toMatchObject([{ type: 'thinking' }, { type: 'text' }]);
  });
});
