import { of } from 'rxjs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError, ValidationError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import { ollamaDialect } from '../../src/providers/ollamaDialect.js';
import type { FinishReason, StreamEvent } from '../../src/types.js';
import { decodeAll, type Decoded, ofType } from '../support/decodeAll.js';
import { wireEvents } from '../support/decodeEvents.js';
import { pick } from '../support/mutatedFrames.js';
import { expectAlike, play, shareOf, type Stories } from '../support/templateStories.js';

const at = '2026-11-21T09:00:00.1Z';
const line = (rest: object): string => `${JSON.stringify({ model: 'm', created_at: at, ...rest })}\n`;
const chat = (message: object, rest: object = {}): string =>
  line({ message: { role: 'assistant', content: '', ...message }, done: false, ...rest });
const done = (rest: object = {}): string => chat({}, { done: true, done_reason: 'stop', ...rest });
const read = (...lines: readonly string[]): Decoded => decodeAll(ollamaDialect(), lines.join(''));
const turn = ({ events }: Decoded): unknown => ollamaDialect().turn?.build(events);

describe('ollamaDialect', () => {
  it('reads a chat: thinking, text, usage, what stands beside them, and the end', () => {
    const durations = { total_duration: 9, load_duration: 1, prompt_eval_duration: 2, eval_duration: 5 };
    const decoded = read(
      chat({ thinking: 'Hm' }),
      chat({ content: 'Hel' }),
      chat({ content: 'lo', thinking: '' }),
      done({ ...durations, prompt_eval_count: 9, eval_count: 4 }),
    );
    expect(decoded.events).toStrictEqual([
      { type: 'thinking', text: 'Hm', index: 0, name: 'thinking' },
      { type: 'text', text: 'Hel', index: 0, name: 'output' },
      { type: 'text', text: 'lo', index: 0, name: 'output' },
      { type: 'raw', frame: durations },
      { type: 'usage', inputTokens: 9, outputTokens: 4, provenance: 'reported' },
      { type: 'finish', reason: 'stop', rawReason: 'stop' },
    ]);
    expect(turn(decoded)).toStrictEqual({ role: 'assistant', content: 'Hello', thinking: 'Hm' });
  });

  it('reads a completion', () => {
    const decoded = read(
      line({ response: '', thinking: 'Hm', done: false }),
      line({ response: 'Hello', done: false }),
      line({ response: '', done: true, done_reason: 'length', context: [1, 2] }),
    );
    expect(decoded).toMatchObject({ text: 'Hello', thinking: 'Hm', outcome: 'complete' });
    expect(ofType(decoded, 'raw')).toStrictEqual([{ type: 'raw', frame: { context: [1, 2] } }]);
    expect(ofType(decoded, 'usage')).toStrictEqual([]);
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'length', rawReason: 'length' });
  });

  it.each<[unknown, FinishReason]>([
    ['stop', 'stop'],
    ['length', 'length'],
    ['load', 'other'],
    ['unload', 'other'],
    ['tomorrow', 'other'],
  ])('ends with %j as %s', (done_reason, reason) => {
    expect(read(done({ done_reason })).events).toStrictEqual([{ type: 'finish', reason, rawReason: done_reason }]);
  });

  it.each([undefined, null, ''])('ends without a reason: %j', (done_reason) => {
    expect(read(done({ done_reason })).events).toStrictEqual([{ type: 'finish', reason: 'unknown' }]);
  });

  it.each([undefined, null, false])('does not end with done %j', (value) => {
    expect(read(chat({ content: 'a' }, { done: value, done_reason: 'stop' })).outcome).toBe('interrupted');
  });

  it('leaves counts unknown that the server left out', () => {
    expect(ofType(read(done({ eval_count: 4 })), 'usage')).toStrictEqual([
      { type: 'usage', outputTokens: 4, provenance: 'reported' },
    ]);
    expect(ofType(read(done({ prompt_eval_count: 0 })), 'usage')).toMatchObject([{ inputTokens: 0 }]);
  });

  it('gives tool calls whole, with ids of its own where there are none, which no two answers share', () => {
    const calls = [
      { id: 'call_1', function: { index: 0, name: 'look', arguments: { q: 'x' } } },
      { function: { index: 1, name: 'now', arguments: {} } },
    ];
    const lines = [
      chat({ content: 'I look.', tool_calls: calls }),
      chat({ tool_calls: [null, { id: '', function: { name: 'now' } }] }),
      done(),
    ];
    const decoded = read(...lines);
    const told = ofType(decoded, 'tool-call');
    expect(told).toMatchObject([
      { index: 0, id: 'call_1', name: 'look', arguments: { q: 'x' }, argumentsText: '{"q":"x"}' },
      { name: 'now', arguments: {}, argumentsText: '{}' },
      { name: 'now', arguments: {}, argumentsText: '{}' },
    ]);
    expect(new Set(told.map(({ id }) => id)).size).toBe(3);
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'tool-calls', rawReason: 'stop' });
    expect(turn(decoded)).toStrictEqual({
      role: 'assistant',
      content: 'I look.',
      tool_calls: [
        { id: 'call_1', function: { name: 'look', arguments: { q: 'x' } } },
        { function: { name: 'now', arguments: {} } },
        { function: { name: 'now', arguments: {} } },
      ],
    });
    const later = read(...lines.map((text) => text.replaceAll(at, '2026-11-21T09:00:01.1Z')));
    expect(ofType(later, 'tool-call')[1]?.id).not.toBe(told[1]?.id);
    expect(read(lines[0] ?? '', done({ done_reason: 'length' })).events.at(-1)).toMatchObject({ reason: 'length' });
  });

  it('takes arguments as text, and refuses those that are not JSON', () => {
    const call = (text: string): string => chat({ tool_calls: [{ function: { name: 'f', arguments: text } }] });
    expect(ofType(read(call('{ "a":1 }')), 'tool-call')).toMatchObject([
      { arguments: { a: 1 }, argumentsText: '{ "a":1 }' },
    ]);
    expect(() => read(call('{"a":'))).toThrow(ProtocolError);
  });

  it('gives images as media', () => {
    const decoded = read(chat({ images: ['AAAA', null] }), done());
    expect(ofType(decoded, 'media')).toStrictEqual([
      { type: 'media', index: 0, name: 'output', kind: 'image', content: 'AAAA' },
    ]);
    expect(turn(decoded)).toStrictEqual({ role: 'assistant', content: '', images: ['AAAA'] });
  });

  it('tells the rest when it changes, and increments each time', () => {
    const rest = { remote_model: 'big', logprobs: [{ token: 'a' }] };
    const decoded = read(
      chat({ content: 'a' }, rest),
      chat({ content: 'a' }, rest),
      chat({ content: 'b', mood: 'x', tool_calls: [{ function: { name: 'f', arguments: {}, why: 'y' } }] }),
    );
    expect(ofType(decoded, 'raw').map(({ frame }) => frame)).toStrictEqual([
      rest,
      { logprobs: [{ token: 'a' }] },
      { message: { mood: 'x', tool_calls: [{ function: { name: 'f', arguments: {}, why: 'y' } }] } },
    ]);
  });

  it('hands on what it does not know, and gives a heartbeat for an empty piece', () => {
    expect(read('{"wonder":1}\n[1]\n', chat({})).events).toStrictEqual([
      { type: 'raw', frame: { wonder: 1 } },
      { type: 'raw', frame: [1] },
      { type: 'heartbeat', comment: '' },
    ]);
  });

  it('reads a failure, which is alone on its line or not', () => {
    const said = 'an error was encountered while running the model';
    const decoded = read(chat({ content: 'a' }), `{"error":"${said}"}\n`, done());
    expect(decoded).toMatchObject({
      text: 'a',
      outcome: 'failed',
      error: { providerMessage: said, retryable: false, frame: { error: said } },
    });
    expect(read(chat({ content: 'a' }, { done: true, error: 'x' }))).toMatchObject({ text: 'a', outcome: 'failed' });
    expect(read('{"message":5,"error":"x"}\n').outcome).toBe('failed');
    expect(decodeAll(ollamaDialect({ retryable: () => true, name: 'mine' }), '{"error":"x y"}\n').error).toMatchObject({
      retryable: true,
      message: expect.stringContaining('mine') as string,
    });
  });

  it('ignores what follows the end', () => {
    expect(read(done(), '{"error":"late"}\n', 'no json\n').outcome).toBe('complete');
  });

  it.each(['{"message":', 'no json', '""x'])('refuses a malformed line: %s', (text) => {
    expect(() => read(`${text}\n`)).toThrow(ProtocolError);
  });

  it.each([{ message: 'a' }, { message: { content: 5 } }, { response: 5 }, { done: 'yes' }])(
    'refuses what would be read wrongly: %j',
    (rest) => {
      expect(() => read(line(rest))).toThrow(ValidationError);
    },
  );

  const whole = [
    chat({ thinking: 'Größe' }),
    chat({ content: '水' }),
    chat({ tool_calls: [{ function: { name: 'f', arguments: { q: '💧' } } }] }),
    done({ eval_count: 3 }),
  ].join('');

  function run(chunks: readonly Uint8Array[]): { events: StreamEvent[]; ended: unknown } {
    const events: StreamEvent[] = [];
    let ended: unknown;
    of(...chunks)
      .pipe(parseNDJSON(), decode(ollamaDialect()))
      .subscribe({
        next: (event) => events.push(event),
        error: (error: unknown) => (ended = error),
        complete: () => (ended = 'complete'),
      });
    return { events, ended };
  }

  it('gives the same events however the bytes are cut, with either line end', () => {
    for (const text of [whole, whole.replaceAll('\n', '\r\n'), whole.trimEnd()]) {
      const bytes = new TextEncoder().encode(text);
      const expected = run([bytes]);
      expect(expected.ended).toBe('complete');
      expect(run(Array.from(bytes, (_, index) => bytes.subarray(index, index + 1)))).toStrictEqual(expected);
      fc.assert(
        fc.property(fc.nat(bytes.length), (cut) => {
          expect(run([bytes.subarray(0, cut), bytes.subarray(cut)])).toStrictEqual(expected);
        }),
        { numRuns: 50 },
      );
    }
  });

  it('is interrupted wherever the body ends before its last line is whole', () => {
    const bytes = new TextEncoder().encode(whole.trimEnd());
    for (let end = 0; end < bytes.length; end++) {
      expect(run([bytes.subarray(0, end)]).ended).toMatchObject({ name: 'InterruptedError' });
    }
  });
});

describe('a template', () => {
  const moment = (count: number): string => `2026-11-21T09:00:00.${String(count % 7)}Z`;
  const stories: Stories = {
    framing: 'ndjson',
    writers: [
      (_, content, count) => ({
        data: { model: 'm', created_at: moment(count), message: { role: 'assistant', content }, done: false },
      }),
      (_, thinking, count) => ({
        data: {
          model: 'm',
          created_at: moment(count),
          message: { role: 'assistant', content: '', thinking },
          done: false,
        },
      }),
      (_, response, count) => ({ data: { model: 'm', created_at: moment(count), response, done: false } }),
      (random, text) => ({ data: { response: text, thinking: pick(random, ['', null, text]) } }),
      (random, content) => ({ data: { created_at: pick(random, ['', ':', '1', null, 5]), message: { content } } }),
      (random, content, count) => ({
        data: {
          created_at: moment(count),
          remote_model: pick(random, ['a', 'a', 'a', 'b', '', null]),
          message: { content, tool_name: pick(random, ['x', 'x', 'x', '', 'y']) },
        },
      }),
      (random, content) => ({
        data: {
          message: { content, images: pick(random, [[], null, ['i'], [null]]) },
          logprobs: pick(random, [[], [1]]),
        },
      }),
      (_, content) => ({ data: { message: { content, tool_calls: [{ function: { name: 'f', arguments: {} } }] } } }),
      (random, content) => ({ data: { message: { content }, done: false, eval_count: random(9), error: '' } }),
    ],
    ends: [{ data: { done: true, done_reason: 'stop', message: { tool_calls: [{ function: { name: 'f' } }] } } }],
    asides: ['release', 'reattached'],
  };

  it('decodes a stream but for its first lines, whose times tell that times change', () => {
    const later = (text: string, index: number): string =>
      `${JSON.stringify({ model: 'm', created_at: moment(index), message: { role: 'assistant', content: text } })}\n`;
    const body = ['The', ' mill', ' goes', ' on', '.'].map(later).join('');
    expect(play(ollamaDialect(), wireEvents('ndjson', body)).templated).toBeGreaterThanOrEqual(3);
  });

  it('decodes frames whose extras were told, until they change', () => {
    const body = [
      chat({ content: 'a' }, { remote_model: 'x' }),
      chat({ content: 'b' }, { remote_model: 'x' }),
      chat({ content: 'c' }, { remote_model: 'x' }),
      chat({ content: 'd' }, { remote_model: 'y' }),
      chat({ content: 'e' }, { remote_model: 'x' }),
      chat({ content: 'f' }),
    ].join('');
    expect(shareOf(ollamaDialect(), wireEvents('ndjson', body))).toBe('1 of 6');
  });

  it('tells what the full path tells, whatever comes', () => {
    expectAlike(ollamaDialect(), stories, 15);
  });
});
