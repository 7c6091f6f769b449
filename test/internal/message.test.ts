import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addToMessage, emptyMessage, type MessageContent } from '../../src/internal/message.js';
import type { StreamEvent, ToolCallEvent } from '../../src/types.js';

const empty: MessageContent = { outputs: [], thinking: '', toolCalls: [], toolCallPreviews: [], restarts: 0 };

function text(piece: string, index = 0, name = 'output'): StreamEvent {
  return { type: 'text', text: piece, index, name };
}

function said(content: string, done = false, index = 0, name = 'output'): MessageContent['outputs'][number] {
  return { type: 'text', index, name, content, done };
}

function delta(id: string, argumentsDelta: string, name = 'look', index = 0): StreamEvent {
  return { type: 'tool-call-delta', index, id, name, argumentsDelta };
}

function call(id: string, index = 0): ToolCallEvent {
  return { type: 'tool-call', index, id, name: 'look', arguments: { q: 1 }, argumentsText: '{"q":1}' };
}

function preview(
  id: string,
  argumentsText: string,
  name = 'look',
  index = 0,
): MessageContent['toolCallPreviews'][number] {
  return { id, index, name, argumentsText, complete: false };
}

const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const heartbeat: StreamEvent = { type: 'heartbeat', comment: '' };
const thinking: StreamEvent = { type: 'thinking', text: 'T', index: 0, name: 'thinking' };
const image: StreamEvent = { type: 'media', kind: 'image', content: 'one', index: 0, name: 'output' };
const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 1 } };

/** The message after each event. */
function steps(...list: readonly StreamEvent[]): readonly MessageContent[] {
  let message = emptyMessage();
  return list.map((event) => (message = addToMessage(message, event)));
}

function last(...list: readonly StreamEvent[]): MessageContent {
  return steps(...list).at(-1) ?? emptyMessage();
}

describe('the outputs of a message', () => {
  it('are done when the next of the same answer begins, whatever its number', () => {
    const { outputs } = last(text('A'), text('c', 1), text('b', 0, 'code'));
    expect(outputs).toStrictEqual([said('A', true), said('c', true, 1), said('b', false, 0, 'code')]);
  });

  it('are not done while they go on', () => {
    const turns = steps(text('A'), text('b', 0, 'code'), text('A'));
    expect(turns.map(({ outputs }) => outputs.map(({ done }) => done))).toStrictEqual([
      [false],
      [true, false],
      [false, false],
    ]);
  });

  it('are all done when the answer has finished', () => {
    const { outputs } = last(text('A'), text('c', 1), text('b', 0, 'code'), text('A'), finish);
    expect(outputs.map(({ done }) => done)).toStrictEqual([true, true, true]);
  });

  it('hold every image, also two of one choice', () => {
    const two: StreamEvent = { type: 'media', kind: 'image', content: { url: 'two' }, index: 0, name: 'output' };
    expect(last(text('A'), image, two).outputs).toStrictEqual([
      said('A', true),
      { type: 'media', index: 0, name: 'output', kind: 'image', content: 'one', done: true },
      { type: 'media', index: 0, name: 'output', kind: 'image', content: { url: 'two' }, done: true },
    ]);
  });
});

describe('the tool calls of a message', () => {
  it('are previews until they are whole', () => {
    const seen = steps(delta('x', '', ''), delta('x', '{"q"'), delta('x', ''), delta('x', ':1}', ''), call('x'));
    expect(seen.map(({ toolCalls, toolCallPreviews }) => [toolCalls, toolCallPreviews])).toStrictEqual([
      [[], [preview('x', '', '')]],
      [[], [preview('x', '{"q"')]],
      [[], [preview('x', '{"q"')]],
      [[], [preview('x', '{"q":1}')]],
      [[call('x')], []],
    ]);
    expect(seen[2]).toBe(seen[1]);
  });

  it('are told apart by id and by choice', () => {
    const message = last(delta('x', '1'), delta('y', '2'), delta('x', '3', 'look', 1), delta('x', '4'), call('x', 1));
    expect(message.toolCallPreviews).toStrictEqual([preview('x', '14'), preview('y', '2')]);
    expect(message.toolCalls).toStrictEqual([call('x', 1)]);
  });

  it('never look like calls where they were cut', () => {
    const { toolCalls, toolCallPreviews } = last(delta('x', '{"q":1}'), finish);
    expect(toolCalls).toStrictEqual([]);
    expect(toolCallPreviews).toStrictEqual([preview('x', '{"q":1}')]);
  });

  it('are marked in alternative answers', () => {
    const other: StreamEvent = {
      type: 'tool-call-delta',
      index: 1,
      id: 'x',
      name: 'look',
      argumentsDelta: '{',
      alternative: true,
    };
    expect(last(other, other).toolCallPreviews).toStrictEqual([
      { ...preview('x', '{{', 'look', 1), alternative: true },
    ]);
  });
});

describe('a message', () => {
  it('is the same where an event is none of its parts', () => {
    const message = last(text('A'), { type: 'status', status: 'running', terminal: false });
    const others: StreamEvent[] = [
      heartbeat,
      { type: 'raw', frame: 1 },
      { type: 'progress', current: 1 },
      { type: 'log', message: 'line' },
      { type: 'warning', code: 'provider-warning', message: 'careful' },
      { type: 'status', status: 'running', terminal: false },
      { type: 'thinking', text: 'other', index: 1, name: 'thinking', alternative: true },
      text(''),
    ];
    for (const event of others) expect(addToMessage(message, event)).toBe(message);
  });

  it('has no cost where the last usage has none', () => {
    const message = last(
      { type: 'usage', cost: { total: 1 }, provenance: 'partial' },
      { type: 'usage', outputTokens: 1, provenance: 'reported' },
    );
    expect(message).toStrictEqual({ ...empty, usage: { outputTokens: 1, provenance: 'reported' } });
  });

  it('has an output that is undefined where that is the task’s', () => {
    expect(last({ type: 'output', value: undefined, final: true })).toStrictEqual({ ...empty, output: undefined });
  });

  it('leaves no trace of an answer that began anew', () => {
    const usage: StreamEvent = { type: 'usage', cost: { total: 1 }, provenance: 'partial' };
    const status: StreamEvent = { type: 'status', status: 'running', terminal: false };
    const output: StreamEvent = { type: 'output', value: 1, final: false };
    const before = [text('A'), image, call('x'), delta('y', '{'), thinking, usage, status, output, finish];
    expect(last(...before, restart)).toStrictEqual({ ...empty, restarts: 1 });
    expect(last(...before, restart, restart, text('B'))).toStrictEqual({
      ...empty,
      restarts: 2,
      outputs: [said('B')],
    });
  });
});

describe('the cost of an event', () => {
  function partsOf(message: MessageContent): readonly object[] {
    const { outputs, toolCalls, toolCallPreviews } = message;
    return [message, outputs, toolCalls, toolCallPreviews, ...outputs, ...toolCalls, ...toolCallPreviews];
  }

  /** What is made for a stream of so many events: objects, and items in the lists among them. */
  function made(count: number): { objects: number; items: number; most: number } {
    const begun = [
      text('a', 0, 'one'),
      text('b', 0, 'two'),
      text('c', 1),
      image,
      call('u'),
      call('v'),
      delta('x', '{'),
    ];
    const going = [text('x', 0, 'two'), text('y', 1), delta('x', '1'), thinking, heartbeat];
    const sum = { objects: 0, items: 0, most: 0 };
    let message = last(...begun);
    let known = new Set(partsOf(message));
    for (let i = 0; i < count; i += 1) {
      message = addToMessage(message, going[i % going.length] ?? heartbeat);
      const parts = partsOf(message);
      const fresh = parts.filter((part) => !known.has(part));
      sum.objects += fresh.length;
      sum.most = Math.max(sum.most, fresh.length);
      for (const part of fresh) if (Array.isArray(part)) sum.items += part.length;
      known = new Set(parts);
    }
    return sum;
  }

  it('is the same after 200,000 events as after half as many: a message, a list and an item of it', () => {
    // Of five events two are text among four outputs, one is a piece of the only open call, one is thinking, one is nothing.
    const turn = { objects: 3 + 3 + 3 + 1, items: 4 + 4 + 1 };
    expect(made(100_000)).toStrictEqual({ objects: 20_000 * turn.objects, items: 20_000 * turn.items, most: 3 });
    expect(made(200_000)).toStrictEqual({ objects: 40_000 * turn.objects, items: 40_000 * turn.items, most: 3 });
  });

  it('touches nothing that the event is not about', () => {
    const before = last(text('A'), text('c', 1), call('x'), delta('y', '{'), delta('z', '{'));
    const more = addToMessage(before, text('more', 1));
    expect(more.outputs[0]).toBe(before.outputs[0]);
    expect(more.toolCalls).toBe(before.toolCalls);
    expect(more.toolCallPreviews).toBe(before.toolCallPreviews);
    const called = addToMessage(before, call('y'));
    expect(called.outputs).toBe(before.outputs);
    expect(called.toolCalls[0]).toBe(before.toolCalls[0]);
    expect(called.toolCallPreviews[0]).toBe(before.toolCallPreviews[1]);
  });
});

describe('any events', () => {
  const place = { index: fc.nat({ max: 2 }), name: fc.constantFrom('output', 'code') };
  const piece = fc.string({ minLength: 1, maxLength: 3 });
  const anyEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
    fc.record({ type: fc.constantFrom('text', 'refusal', 'thinking'), text: piece, ...place }),
    fc.record({ type: fc.constant('media'), kind: fc.constant('image'), content: piece, ...place }),
    fc.tuple(fc.constantFrom('x', 'y'), fc.string({ maxLength: 2 })).map(([id, more]) => delta(id, more)),
    fc.constantFrom(call('x'), call('y'), restart, heartbeat),
  );
  const keyOf = (at: { type: string; index: number; name: string }): string =>
    `${at.type} ${String(at.index)} ${at.name}`;

  it('make messages that do not change afterwards, and that hold every character once', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), (list) => {
        const photographs: string[] = [];
        const seen: MessageContent[] = [];
        let message = emptyMessage();
        for (const event of list) {
          message = addToMessage(message, event);
          seen.push(message);
          photographs.push(JSON.stringify(message));
        }
        expect(seen.map((given) => JSON.stringify(given))).toStrictEqual(photographs);

        const valid = list.slice(list.lastIndexOf(restart) + 1);
        const texts = new Map<string, string>();
        for (const event of valid) {
          if (event.type !== 'text' && event.type !== 'refusal') continue;
          texts.set(keyOf(event), (texts.get(keyOf(event)) ?? '') + event.text);
        }
        const held = message.outputs.flatMap((output) =>
          output.type === 'media' ? [] : [[keyOf(output), output.content] as const],
        );
        expect(held).toStrictEqual([...texts]);
        const media = message.outputs.flatMap((output) => (output.type === 'media' ? [output.content] : []));
        expect(media).toStrictEqual(valid.flatMap((event) => (event.type === 'media' ? [event.content] : [])));
        expect(message.thinking).toBe(valid.map((event) => (event.type === 'thinking' ? event.text : '')).join(''));
      }),
    );
  });
});
