import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { ProtocolError, ProviderError, ValidationError } from '../../src/errors.js';
import {
  type Decoder,
  dialect,
  type Dialect,
  type DialectOptions,
  type DialectStream,
  MOVED,
  type Proof,
} from '../../src/protocol/dialect.js';
import type { StreamEvent, TextEvent, WireEvent } from '../../src/types.js';
import { Reconnecting } from '../support/reconnecting.js';

const schema = z.looseObject({
  text: z.optional(z.string()),
  finish: z.optional(z.string()),
  more: z.optional(z.boolean()),
  over: z.optional(z.boolean()),
  meta: z.optional(z.object({ score: z.number(), tags: z.optional(z.array(z.string())) })),
});
type Frame = z.infer<typeof schema>;
interface Count {
  frames: number;
}

function make(options: Partial<DialectOptions<Frame, Count>> = {}): Dialect {
  return dialect<Frame, Count>({
    name: 'sample',
    frame: schema,
    start: () => ({ frames: 0 }),
    decode: (frame, stream) => {
      stream.state.frames += 1;
      if (frame.text !== undefined) stream.emit(text(frame.text));
      if (frame.finish !== undefined) stream.prove('stop', frame.finish);
      if (frame.more === true) stream.reopen();
      if (frame.over === true) stream.done();
    },
    marker: '[DONE]',
    ...options,
  });
}

/** Thousands of brackets in each other: JSON.parse takes them, and little else does. */
function deep(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

function text(piece: string): TextEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

function data(content: unknown, event = 'message', id = ''): WireEvent {
  return { type: 'event', event, data: typeof content === 'string' ? content : JSON.stringify(content), id };
}

/** A decoder that remembers what it emitted. */
function start(of: Dialect): {
  readonly events: StreamEvent[];
  readonly push: (event: WireEvent) => Proof;
  readonly end: (intact?: boolean) => boolean;
  readonly submitted: (answer: unknown) => void;
} {
  const decoder: Decoder = of.decoder();
  const events: StreamEvent[] = [];
  const emit = (event: StreamEvent): void => {
    events.push(event);
  };
  return {
    events,
    push: (event) => decoder.push(event, emit),
    end: (intact = true) => decoder.end(intact, emit),
    submitted: (answer) => {
      decoder.submitted(answer, emit);
    },
  };
}

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('expected a throw');
}

describe('a dialect', () => {
  it('has a name and a framing, server-sent events where it does not say', () => {
    expect(make()).toMatchObject({ name: 'sample', framing: 'sse' });
    expect(make({ framing: 'ndjson' }).framing).toBe('ndjson');
  });

  it('gives each stream a state of its own', () => {
    const states: Count[] = [];
    const counting = make({
      decode: (_, { state }) => {
        state.frames += 1;
        states.push(state);
      },
    });
    const [one, two] = [start(counting), start(counting)];
    one.push(data({}));
    one.push(data({}));
    two.push(data({}));
    expect(states.map(({ frames }) => frames)).toStrictEqual([2, 2, 1]);
  });

  it('decodes a line as it decodes an event', () => {
    const { events, push } = start(make({ framing: 'ndjson' }));
    expect(push({ type: 'line', data: '{"text":"a"}', number: 1 })).toBe('open');
    expect(events).toStrictEqual([text('a')]);
  });

  it('tells the functions the name and the id of the event being decoded', () => {
    const seen: unknown[] = [];
    const { push } = start(make({ decode: (_, { event, id }) => seen.push([event, id]) }));
    push(data({}, 'delta', '7'));
    push(data({}));
    push({ type: 'line', data: '{}', number: 1 });
    expect(seen).toStrictEqual([
      ['delta', '7'],
      ['message', ''],
      ['message', ''],
    ]);
  });
});

describe('the end marker', () => {
  it.each(['[DONE]', ' [DONE]', '[DONE] ', '\t[DONE]\n'])('is %j', (marker) => {
    const { events, push } = start(make());
    expect(push(data(marker))).toBe('done');
    expect(events).toStrictEqual([{ type: 'finish', reason: 'unknown' }]);
  });

  it.each(['{"text":"[DONE]"}', '{"text":" [DONE] "}', '{ "text": "data: [DONE]" }'])('is not %s', (frame) => {
    const { events, push } = start(make());
    expect(push(data(frame))).toBe('open');
    expect(events).toStrictEqual([text((JSON.parse(frame) as { text: string }).text)]);
  });

  it.each(['[done]', '[DONE', '[DONE][DONE]', 'DONE'])('is not %j, which is malformed', (other) => {
    expect(() => start(make()).push(data(other))).toThrow(ProtocolError);
  });

  it('is a ProtocolError where a frame is nested more deeply than the stack goes', () => {
    const walk = (value: unknown): number => (Array.isArray(value) ? 1 + Math.max(0, ...value.map(walk)) : 0);
    const { push } = start(make({ decode: ({ tree }: Frame & { tree?: unknown }) => void walk(tree) }));
    push(data(`{"tree":${deep(100)}}`));
    expect(() => push(data(`{"tree":${deep(50_000)}}`))).toThrow(ProtocolError);
    const ranged = start(
      make({
        decode: () => {
          throw new RangeError('out of range');
        },
      }),
    );
    expect(() => ranged.push(data({}))).toThrow('out of range');
  });

  it('is not a JSON string that holds it, which arrives as raw', () => {
    const { events, push } = start(make());
    expect(push(data('"[DONE]"'))).toBe('open');
    expect(events).toStrictEqual([{ type: 'raw', frame: '[DONE]' }]);
  });

  it('may look like a frame', () => {
    const { events, push } = start(make({ marker: '{"end":true}' }));
    expect(push(data('{"text":"a"}'))).toBe('open');
    expect(push(data('{"end":true}'))).toBe('done');
    expect(events.map(({ type }) => type)).toStrictEqual(['text', 'finish']);
  });

  it('keeps the finish reason that came before it', () => {
    const { events, push } = start(make());
    expect(push(data({ finish: 'end_turn' }))).toBe('proven');
    expect(push(data('[DONE]'))).toBe('done');
    expect(events).toStrictEqual([{ type: 'finish', reason: 'stop', rawReason: 'end_turn' }]);
  });

  it('is doubtful alone, where the dialect says so', () => {
    const { events, push } = start(make({ markerAlone: 'doubtful' }));
    expect(push(data('[DONE]'))).toBe('done');
    expect(events).toMatchObject([
      { type: 'warning', code: 'finish-reason-missing' },
      { type: 'finish', reason: 'unknown' },
    ]);
  });

  it('is not doubtful after a finish reason', () => {
    const { events, push } = start(make({ markerAlone: 'doubtful' }));
    push(data({ finish: 'end_turn' }));
    push(data('[DONE]'));
    expect(events.map(({ type }) => type)).toStrictEqual(['finish']);
  });

  it('is a malformed frame in a dialect that has none', () => {
    expect(() => start(make({ marker: undefined })).push(data('[DONE]'))).toThrow(ProtocolError);
  });
});

describe('a marker that a server sends whenever it closes', () => {
  const closing = make({ markerAlone: 'nothing' });

  it('proves nothing by itself', () => {
    const { events, push, end } = start(closing);
    push(data({ text: 'a' }));
    expect(push(data('[DONE]'))).toBe('open');
    expect(events.at(-1)).toEqual({ type: 'heartbeat', comment: '' });
    expect(end()).toBe(false);
  });

  it('ends what was proven', () => {
    const { events, push } = start(closing);
    push(data({ finish: 'stop' }));
    expect(push(data('[DONE]'))).toBe('done');
    expect(events.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  });
});

describe('data that means nothing in a format', () => {
  const gateway = make({ marker: undefined, fillers: ['[DONE]'] });

  it.each(['[DONE]', ' [DONE] '])('is a sign of life, and proves nothing: %j', (filler) => {
    const { events, push, end } = start(gateway);
    push(data({ text: 'a' }));
    expect(push(data(filler))).toBe('open');
    expect(events).toEqual([text('a'), { type: 'heartbeat', comment: '' }]);
    expect(end()).toBe(false);
  });

  it('does not spoil an answer that is proven', () => {
    const { push, end } = start(gateway);
    push(data({ finish: 'stop' }));
    expect(push(data('[DONE]'))).toBe('proven');
    expect(end()).toBe(true);
  });

  it('is compared as a whole, and is a failure in an event named error', () => {
    const { push } = start(gateway);
    expect(() => push(data('[DONE] and more'))).toThrow(ProtocolError);
    expect(() => start(gateway).push(data('[DONE]', 'error'))).toThrow(ProviderError);
  });
});

describe('a line that the SSE standard does not know', () => {
  const seen: string[] = [];
  const listening = make({
    unknown: (field, value, stream) => {
      seen.push(`${field}=${value}`);
      if (field !== 'note') return false;
      stream.emit(text(value));
      return true;
    },
  });

  it('is read by the dialect where it wants to', () => {
    const { events, push } = start(listening);
    push({ type: 'unknown', field: 'note', value: 'hello' });
    expect(events).toEqual([text('hello')]);
  });

  it('is else read as everywhere', () => {
    const { events, push } = start(listening);
    push({ type: 'unknown', field: 'other', value: '{"a":1}' });
    expect(events).toEqual([{ type: 'raw', frame: { other: { a: 1 } } }]);
    expect(() => push({ type: 'unknown', field: 'error', value: 'gone' })).toThrow(ProviderError);
    expect(seen).toContain('error=gone');
  });
});

describe('a format whose data is text', () => {
  const plain = dialect({
    name: 'plain',
    data: 'text',
    frame: z.string(),
    marker: '[DONE]',
    decode: (piece, stream) => {
      if (stream.event === 'over') stream.done();
      else if (stream.event !== 'note') stream.emit(text(piece));
    },
  });

  it.each([' ', '[DONE]', '{"error":"no"}', '\n', ''])(
    'takes it as it came, markers and errors included: %j',
    (piece) => {
      const { events, push } = start(plain);
      push(data(piece === '' ? '' : piece));
      expect(events).toEqual([text(piece)]);
    },
  );

  it('hands on what it does not use, and fails with an event named error', () => {
    const { events, push } = start(plain);
    push(data('aside', 'note'));
    expect(events).toEqual([{ type: 'raw', frame: 'aside', event: 'note' }]);
    expect(() => push(data('{"message":"broken"}', 'error'))).toThrow(/broken/);
    expect(() => push(data('just words', 'error'))).toThrow(/just words/);
  });

  it('is proven as any other', () => {
    const { push, end } = start(plain);
    push(data('a'));
    expect(end()).toBe(false);
    expect(push(data('', 'over'))).toBe('done');
  });
});

describe('what is said again', () => {
  it('is handed on: a frame that proves what was proven before', () => {
    const { events, push } = start(make());
    push(data({ finish: 'stop' }));
    push(data({ finish: 'stop' }));
    expect(events).toEqual([{ type: 'raw', frame: { finish: 'stop' } }]);
  });
});

describe('what a format leaves out', () => {
  it('is a name, a state and a marker', () => {
    const plain = dialect({
      frame: z.looseObject({ end: z.optional(z.boolean()) }),
      decode: ({ end }, stream) => {
        if (end === true) stream.done();
      },
    });
    expect([plain.name, plain.framing, Object.hasOwn(plain, 'turn')]).toEqual(['custom', 'sse', false]);
    const { events, push } = start(plain);
    expect(push(data({ end: true }))).toBe('done');
    expect(events).toEqual([{ type: 'finish', reason: 'unknown' }]);
  });
});

describe('what a stream says it is', () => {
  it('is known to whoever opens it again, with its last place', () => {
    const told = make({
      decode: ({ text: id = '' }, stream) => {
        if (id === '') stream.identify('r1');
        else stream.identify('r1', id.length);
      },
    }).decoder();
    const push = (piece: string): void => {
      told.push(data({ text: piece }), () => undefined);
    };
    expect(told.place).toBeUndefined();
    push('');
    expect(told.place).toStrictEqual({ id: 'r1', cursor: undefined });
    push('abc');
    expect(told.place).toStrictEqual({ id: 'r1', cursor: '3' });
    told.reattached?.();
    expect(told.place).toStrictEqual({ id: 'r1', cursor: '3' });
  });
});

describe('after the end', () => {
  it.each<[string, WireEvent]>([
    ['a frame', data({ text: 'late' })],
    ['a failure', data({ error: 'late' })],
    ['a comment', { type: 'comment', comment: 'late' }],
    ['an unknown field', { type: 'unknown', field: 'error', value: 'late' }],
    ['a malformed frame', data('late')],
    ['another marker', data('[DONE]')],
  ])('%s brings about nothing', (_, event) => {
    const { events, push, end, submitted } = start(make());
    push(data('[DONE]'));
    expect(push(event)).toBe('done');
    submitted({ text: 'late' });
    expect(end(false)).toBe(true);
    expect(events.map(({ type }) => type)).toStrictEqual(['finish']);
  });

  it('finish is told once, however often the dialect says done', () => {
    const { events, push } = start(
      make({
        decode: (_, stream) => {
          stream.done();
          stream.done();
        },
      }),
    );
    expect(push(data({}))).toBe('done');
    expect(events).toStrictEqual([{ type: 'finish', reason: 'unknown' }]);
  });
});

describe('signs of life', () => {
  it.each<[string, WireEvent, string]>([
    ['a comment', { type: 'comment', comment: 'ping' }, 'ping'],
    ['an event without data', data(''), ''],
    ['an event of white space', data(' \n '), ''],
  ])('%s is a heartbeat', (_, event, comment) => {
    const { events, push } = start(make());
    expect(push(event)).toBe('open');
    expect(events).toStrictEqual([{ type: 'heartbeat', comment }]);
  });

  it('a retry is for the transport and not told', () => {
    const { events, push } = start(make());
    expect(push({ type: 'retry', retryMs: 3 })).toBe('open');
    expect(events).toStrictEqual([]);
  });

  it('do not take the proof back', () => {
    const { push } = start(make());
    push(data({ finish: 'stop' }));
    expect(push({ type: 'comment', comment: '' })).toBe('proven');
    expect(push(data(''))).toBe('proven');
  });
});

describe('what has no event of its own', () => {
  it.each([7, 'word', null, true, [1, { text: 'a' }]])('a frame %j is raw', (frame) => {
    const { events, push } = start(make());
    push(data(JSON.stringify(frame)));
    expect(events).toStrictEqual([{ type: 'raw', frame }]);
  });

  it('a frame that nothing was read from is raw, with the name of its event', () => {
    const { events, push } = start(make());
    push(data({ odd: 1 }));
    push(data({ odd: 2 }, 'ping'));
    expect(events).toStrictEqual([
      { type: 'raw', frame: { odd: 1 } },
      { type: 'raw', frame: { odd: 2 }, event: 'ping' },
    ]);
  });

  it('a frame that only proves something is not raw', () => {
    const { events, push } = start(make());
    push(data({ finish: 'stop' }));
    expect(events).toStrictEqual([]);
  });

  it('lists and bare values are decoded where the dialect asks for them', () => {
    const numbers = dialect({
      name: 'numbers',
      frame: z.union([z.number(), z.array(z.number())]),
      values: 'any',
      start: () => undefined,
      decode: (frame, stream) => {
        stream.emit(text(String(frame)));
      },
    });
    const { events, push } = start(numbers);
    push(data('1'));
    push(data('[2,3]'));
    expect(events).toStrictEqual([text('1'), text('2,3')]);
    expect(() => push(data('"no"'))).toThrow(ValidationError);
  });

  it.each<[string, string, unknown]>([
    ['JSON', '{"n":1}', { n: 1 }],
    ['text', 'n=1', 'n=1'],
  ])('a field that the standard ignores is raw, with its %s', (_, value, frame) => {
    const { events, push } = start(make());
    push({ type: 'unknown', field: 'trace', value });
    expect(events).toStrictEqual([{ type: 'raw', frame: { trace: frame } }]);
  });

  it('keys named __proto__ are data', () => {
    const { events, push } = start(make());
    push(data('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"text":"a"}'));
    push(data('{"__proto__":{"finish":"stop"}}'));
    push({ type: 'unknown', field: '__proto__', value: '{"polluted":true}' });
    expect(events[0]).toStrictEqual(text('a'));
    expect(events[1]?.type).toBe('raw');
    expect(JSON.stringify(events[1])).toBe('{"type":"raw","frame":{"__proto__":{"finish":"stop"}}}');
    expect(JSON.stringify(events[2])).toBe('{"type":"raw","frame":{"__proto__":{"polluted":true}}}');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('a failure', () => {
  it.each<[string, WireEvent, object]>([
    [
      'in an error key that is an object',
      data({ error: { code: 'busy', message: 'later' }, text: 'not read' }),
      { providerCode: 'busy', providerMessage: 'later', message: 'sample reported busy: later' },
    ],
    [
      'in an error key that is a code',
      data({ error: 'rate_limited', message: 'later' }),
      { providerCode: 'rate_limited', providerMessage: 'later' },
    ],
    [
      'in an error key that is a sentence',
      data({ error: 'come back later' }),
      { providerCode: undefined, message: 'sample reported a failure: come back later' },
    ],
    [
      'in an event named error',
      data({ code: 42, message: 'no' }, 'error'),
      { providerCode: 42, message: 'sample reported 42: no' },
    ],
    ['in an event named error that is bare text', data('out of memory', 'error'), { providerMessage: 'out of memory' }],
    ['in an event named error that is a JSON text', data('"no"', 'error'), { providerMessage: 'no' }],
    ['in an event named error that is empty', data('', 'error'), { message: 'sample reported a failure: no message' }],
    ['in an event named error that holds the marker', data('[DONE]', 'error'), { providerMessage: '[DONE]' }],
    [
      'in a field named error',
      { type: 'unknown', field: 'error', value: '{"code":500,"message":"no slot"}' },
      { providerCode: 500, providerMessage: 'no slot' },
    ],
    [
      'in a field named error that wraps it',
      { type: 'unknown', field: 'error', value: '{"error":{"code":500,"message":"no slot"}}' },
      { providerCode: 500, providerMessage: 'no slot' },
    ],
    [
      'in a field named error that is bare text',
      { type: 'unknown', field: 'error', value: 'no slot' },
      { providerMessage: 'no slot' },
    ],
  ])('%s is a ProviderError', (_, event, expected) => {
    const { events, push } = start(make());
    const error = thrown(() => push(event));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ ...expected, retryable: false });
    expect(events).toStrictEqual([]);
  });

  it('is none where the error key is null', () => {
    const { events, push } = start(make());
    expect(push(data({ error: null, text: 'fine' }))).toBe('open');
    expect(events).toStrictEqual([text('fine')]);
  });

  it('is one in a line, too, and after the proof', () => {
    const { push } = start(make({ framing: 'ndjson' }));
    push({ type: 'line', data: '{"finish":"stop"}', number: 1 });
    expect(() => push({ type: 'line', data: '{"error":"late"}', number: 2 })).toThrow(ProviderError);
  });

  it('is read by the dialect’s own function where it has one', () => {
    const odd = make({
      error: ({ failed }) =>
        typeof failed === 'string' ? { code: failed, type: undefined, message: undefined } : undefined,
      retryable: ({ code }) => code === 'busy',
    });
    const { events, push } = start(odd);
    push(data({ error: 'a word like any other', text: 'a' }));
    expect(events).toStrictEqual([text('a')]);
    expect(thrown(() => push(data({ failed: 'busy' })))).toMatchObject({ retryable: true, providerCode: 'busy' });
    expect(thrown(() => push(data({ failed: 'gone' })))).toMatchObject({ retryable: false });
  });

  it('keeps its frame, and quotes no more than 300 characters of it', () => {
    const message = 'x'.repeat(10_000);
    const error = thrown(() => start(make()).push(data({ error: { message } }))) as ProviderError;
    expect(error.message).toHaveLength('sample reported a failure: '.length + 300);
    expect(error.providerMessage).toBe(message);
    expect(error.frame).toStrictEqual({ error: { message } });
  });
});

describe('a malformed frame', () => {
  it.each(['{"text":"my secret', '{"text":', 'my secret', '[1,', '<html>my secret</html>'])(
    'is a ProtocolError that does not quote %j',
    (frame) => {
      const { events, push } = start(make());
      const error = thrown(() => push(data(frame))) as ProtocolError;
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error.message).toContain(`sample sent ${String(frame.length)} characters that are not JSON`);
      expect(error.message).not.toContain(frame);
      expect(error.message).not.toContain('secret');
      expect(error.cause).toBeUndefined();
      expect(events).toStrictEqual([]);
    },
  );

  it('of the wrong shape is a ValidationError with paths and without values', () => {
    const frame = { text: 'a', meta: { score: 'my secret', tags: ['ok', 12_345] } };
    const error = thrown(() => start(make()).push(data(frame))) as ValidationError;
    expect(error).toBeInstanceOf(ValidationError);
    expect(error.issues.map(({ path }) => path)).toStrictEqual(['meta.score', 'meta.tags.1']);
    expect(error.message).toMatch(/^Unexpected shape of a sample frame: meta\.score: .*; meta\.tags\.1: /);
    expect(error.message).not.toMatch(/secret|12345/);
  });

  it('does not keep the decoder from going on', () => {
    const { events, push } = start(make());
    expect(() => push(data('no'))).toThrow(ProtocolError);
    expect(() => push(data({ text: 7 }))).toThrow(ValidationError);
    push(data({ text: 'on' }));
    expect(push(data('[DONE]'))).toBe('done');
    expect(events.map(({ type }) => type)).toStrictEqual(['text', 'finish']);
  });

  it('that a cut made of a last line is for the end to judge', () => {
    const { events, push, end } = start(make({ framing: 'ndjson' }));
    expect(push({ type: 'line', data: '{"text":"ha', number: 1, unterminated: true })).toBe('open');
    expect(events).toStrictEqual([]);
    expect(end()).toBe(false);
  });

  it('that a cut made is no whole stream, also where the framing is all the proof there is', () => {
    const { events, push, end } = start(make({ framing: 'ndjson', end: 'eof', marker: undefined }));
    push({ type: 'line', data: '{"text":"a"}', number: 1 });
    push({ type: 'line', data: '{"text":"ha', number: 2, unterminated: true });
    expect(end(true)).toBe(false);
    expect(events).toStrictEqual([text('a')]);
  });
});

describe('the end of the transport', () => {
  it.each([true, false])('is no proof by itself (intact: %s)', (intact) => {
    const { events, push, end } = start(make());
    push(data({ text: 'a' }));
    expect(end(intact)).toBe(false);
    expect(events).toStrictEqual([text('a')]);
  });

  it.each([true, false])('after the proof is complete, with a warning for the marker (intact: %s)', (intact) => {
    const { events, push, end } = start(make());
    push(data({ finish: 'length' }));
    expect(end(intact)).toBe(true);
    expect(events).toMatchObject([
      { type: 'warning', code: 'end-marker-missing' },
      { type: 'finish', reason: 'stop', rawReason: 'length' },
    ]);
  });

  it('after the proof is complete without a warning where there is no marker', () => {
    const { events, push, end } = start(make({ marker: undefined }));
    push(data({ finish: 'length' }));
    expect(end(false)).toBe(true);
    expect(events.map(({ type }) => type)).toStrictEqual(['finish']);
  });

  it('is the proof of a format that has no other, where the framing was intact', () => {
    const whole = start(make({ end: 'eof', marker: undefined }));
    whole.push(data({ text: 'a' }));
    expect(whole.end(true)).toBe(true);
    expect(whole.events).toStrictEqual([text('a'), { type: 'finish', reason: 'unknown' }]);
    const cut = start(make({ end: 'eof', marker: undefined }));
    cut.push(data({ text: 'a' }));
    expect(cut.end(false)).toBe(false);
    expect(cut.events).toStrictEqual([text('a')]);
  });

  it('is no proof once the proof was taken back', () => {
    const { push, end } = start(make());
    expect(push(data({ finish: 'stop' }))).toBe('proven');
    expect(push(data({ more: true, text: 'another choice' }))).toBe('open');
    expect(end()).toBe(false);
  });

  it('takes the last word of several proofs', () => {
    const { events, push } = start(make());
    push(data({ finish: 'first' }));
    push(data({ finish: 'second' }));
    push(data({ over: true }));
    expect(events).toStrictEqual([{ type: 'finish', reason: 'stop', rawReason: 'second' }]);
  });
});

describe('what a dialect holds back', () => {
  const holding = (): Dialect =>
    make({
      decode: ({ finish, over }, stream) => {
        stream.state.frames += 1;
        if (finish !== undefined)
          stream.prove('tool-calls', finish, [{ index: 0, reason: 'tool-calls', rawReason: finish }]);
        if (over === true) stream.done();
      },
      flush: (stream) => {
        stream.emit(text(`${String(stream.state.frames)} held`));
      },
    });
  const finish = {
    type: 'finish',
    reason: 'tool-calls',
    rawReason: 'tools',
    choices: [{ index: 0, reason: 'tool-calls', rawReason: 'tools' }],
  };

  it('comes before finish at a marker', () => {
    const { events, push } = start(holding());
    push(data({ finish: 'tools' }));
    push(data('[DONE]'));
    expect(events).toStrictEqual([text('1 held'), finish]);
  });

  it('comes before finish at the end of the transport', () => {
    const { events, push, end } = start(holding());
    push(data({ finish: 'tools' }));
    end();
    expect(events.slice(1)).toStrictEqual([text('1 held'), finish]);
  });

  it('comes before finish when the dialect says done', () => {
    const { events, push } = start(holding());
    push(data({ finish: 'tools', over: true }));
    expect(events).toStrictEqual([text('1 held'), finish]);
  });

  it('stays where it is when the stream is cut', () => {
    const { events, push, end } = start(holding());
    push(data({}));
    expect(end()).toBe(false);
    expect(events).toStrictEqual([{ type: 'raw', frame: {} }]);
  });

  it('is an error when it cannot be flushed, and finish is not told', () => {
    const { events, push } = start(
      make({
        flush: () => {
          throw new ProtocolError('half a tool call');
        },
      }),
    );
    expect(() => push(data('[DONE]'))).toThrow('half a tool call');
    expect(events).toStrictEqual([]);
  });
});

describe('the answer to the request that created the work', () => {
  it('is raw where the dialect does not read it', () => {
    const { events, submitted } = start(make());
    submitted({ id: 'job-1' });
    expect(events).toStrictEqual([{ type: 'raw', frame: { id: 'job-1' } }]);
  });

  it('is read by the dialect where it can', () => {
    const { events, push, submitted } = start(
      make({
        submitted: (answer, stream) => {
          stream.emit({ type: 'status', status: String(answer), terminal: false });
        },
      }),
    );
    submitted('queued');
    push(data({ text: 'a' }));
    expect(events).toStrictEqual([{ type: 'status', status: 'queued', terminal: false }, text('a')]);
  });
});

/** A decoder over several connections, whose work may be stored. */
function resume(options: Partial<DialectOptions<Frame, Count>>): Reconnecting {
  return new Reconnecting(
    make({
      stored: (work, stream) => {
        const { whole, thought } = work as { whole?: string; thought?: string };
        if (whole === undefined) return;
        stream.settle({ text: whole, ...(thought === undefined ? {} : { thinking: thought }) }, 'stored otherwise');
        stream.prove('stop');
        stream.done();
      },
      ...options,
    }),
  );
}

const finish: StreamEvent = { type: 'finish', reason: 'unknown' };
const moved: StreamEvent = { type: 'heartbeat', comment: '' };
const restart = (because: string): StreamEvent => ({ type: 'restart', attempt: 1, because, discard: { chars: 0 } });
const again = restart('the stream was told again with another text');
const otherwise = restart('stored otherwise');
const wire = (...frames: readonly (object | string)[]): string =>
  frames.map((each) => `data: ${typeof each === 'string' ? each : JSON.stringify(each)}\n\n`).join('');
const say = (...pieces: readonly string[]): string => wire(...pieces.map((piece) => ({ text: piece })));
const END = wire('[DONE]');

describe('a new connection that shows the state', () => {
  it('goes on with the state that there is, and nothing is matched', () => {
    const stream = resume({
      decode: (_, each) => {
        each.state.frames += 1;
        each.emit(text(String(each.state.frames)));
      },
    });
    expect(stream.read(wire({}, {})).reconnect().read(wire({})).text).toBe('123');
    expect(resume({}).read(say('Ly')).reconnect().read(say('Ly')).text).toBe('LyLy');
  });

  it.each(['state', 'replay', 'unknown', undefined] as const)(
    'is announced to the dialect before its first frame: %s',
    (reattach) => {
      const seen: string[] = [];
      const of = make({
        reattach,
        decode: () => seen.push('frame'),
        reattached: () => seen.push('reattached'),
      });
      const stream = new Reconnecting(of, 'sse', of.decoder());
      stream.read(wire({})).reconnect().read(wire({})).reconnect();
      expect(seen).toEqual(['frame', 'reattached', 'frame', 'reattached']);
    },
  );

  it('takes back what the one before proved', () => {
    const stream = resume({ marker: undefined }).read(wire({ finish: 'stop' }));
    expect(stream.proof).toBe('proven');
    expect(stream.reconnect().read(say('more')).proof).toBe('open');
    expect(stream.end()).toBe(false);
  });

  it('is whole by its marker', () => {
    const stream = resume({}).read(say('Ly')).reconnect().read(say('on')).read(END);
    expect([stream.proof, stream.events]).toEqual(['done', [text('Ly'), text('on'), finish]]);
  });

  it('may say that what is stored decides; nothing that follows in it is read', () => {
    const stream = resume({
      decode: (frame, each) => {
        if (frame.text !== undefined) each.emit(text(frame.text));
        if (frame.over === true) each.askStored();
      },
    });
    expect(
      stream
        .read(say('Ly'))
        .reconnect()
        .read(wire({ over: true })).proof,
    ).toBe('ended');
    expect(stream.read(say('not read')).proof).toBe('ended');
    expect(stream.stored({}).proof).toBe('open'); // it is read again
    expect(stream.reopen().read(say('on')).events).toEqual([text('Ly'), text('on')]);
  });

  it('hands on the stored work as raw where the dialect does not read it', () => {
    const stream = resume({ stored: undefined }).reconnect().stored({ id: 1 });
    expect([stream.proof, stream.events]).toEqual(['open', [{ type: 'raw', frame: { id: 1 } }]]);
  });
});

describe('a new connection that tells the stream again', () => {
  const replay = (options: Partial<DialectOptions<Frame, Count>> = {}): Reconnecting =>
    resume({ reattach: 'replay', ...options });

  it('tells what is new, and that the work moves meanwhile', () => {
    const stream = replay()
      .read(say('Ly', 'on'))
      .reconnect()
      .read(say('Lyo', 'n,', ' France'))
      .read(END);
    expect(stream.events).toEqual([text('Ly'), text('on'), moved, text(','), text(' France'), finish]);
    expect(stream.events[2]).toBe(MOVED);
    expect(stream.proof).toBe('done');
  });

  it('has every text once after any number of losses', () => {
    const whole = 'The mill turns as long as the river flows.';
    const cuts = fc.array(fc.nat(whole.length), { maxLength: 6 });
    fc.assert(
      fc.property(cuts, fc.integer({ min: 1, max: 5 }), (losses, size) => {
        const stream = replay();
        const pieces = (text: string): string => say(...(text.match(new RegExp(`.{1,${String(size)}}`, 'g')) ?? []));
        for (const at of losses) stream.read(pieces(whole.slice(0, at))).reconnect();
        stream.read(pieces(whole)).read(END);
        expect(stream.text).toBe(whole);
        expect(stream.restarts).toBe(0);
        expect(stream.of('text').reduce((sum, { text }) => sum + text.length, 0)).toBe(whole.length);
      }),
    );
  });

  it('begins its state anew', () => {
    const stream = replay({
      decode: (_, each) => {
        each.state.frames += 1;
        each.emit(text(String(each.state.frames)));
      },
    });
    expect(
      stream
        .read(wire({}, {}))
        .reconnect()
        .read(wire({}, {}, {})).text,
    ).toBe('123');
  });

  it('is opened once more where it tells another text, which voids the one before with its first piece', () => {
    const stream = replay().read(say('Paris')).reconnect().read(say('Lyon'));
    expect(stream.proof).toBe('reopen');
    expect(stream.events).toEqual([text('Paris')]);
    stream.reopen().read(wire({ other: 1 }));
    expect(stream.restarts).toBe(0);
    stream.read(say('Ly', 'on')).read(END);
    expect(stream.proof).toBe('done');
    expect(stream.events.slice(2)).toEqual([again, text('Ly'), text('on'), finish]);
  });

  it('is matched with the new text from then on', () => {
    const stream = replay().read(say('Paris')).reconnect().read(say('Lyon')).reopen().read(say('Ly'));
    stream.reconnect().read(say('Lyon')).read(END);
    expect([stream.text, stream.restarts, stream.proof]).toEqual(['Lyon', 1, 'done']);
  });

  it('voids nothing twice where the reopened one is lost before its first piece', () => {
    const stream = replay().read(say('Paris')).reconnect().read(say('Lyon')).reopen();
    stream.reconnect().read(say('Lyon'));
    expect(stream.proof).toBe('reopen');
    stream.reopen().read(say('Lyon')).read(END);
    expect([stream.text, stream.restarts, stream.proof]).toEqual(['Lyon', 1, 'done']);
  });

  it('is of another answer where it finishes before everything came again', () => {
    const stream = replay().read(say('Lyon')).reconnect().read(say('Ly')).read(END);
    expect([stream.proof, stream.events]).toEqual(['reopen', [text('Lyon'), moved]]);
    stream.reopen().read(say('Ly')).read(END);
    expect(stream.events.slice(2)).toEqual([again, text('Ly'), finish]);
  });

  it('voids what was delivered also where the other answer is empty', () => {
    const stream = replay().read(say('Lyon')).reconnect().read(END);
    expect(stream.proof).toBe('reopen');
    expect(stream.reopen().read(END).events).toEqual([text('Lyon'), again, finish]);
  });

  it.each([
    ['intact framing', { end: 'eof', marker: undefined }, ''],
    ['a finish without the marker', {}, wire({ finish: 'stop' })],
  ] as const)('is not whole by %s where it is of another answer', (_, options, proof) => {
    const stream = replay(options).read(say('Lyon')).reconnect().read(say('Ly')).read(proof);
    expect(stream.end()).toBe(false);
    expect(stream.of('finish')).toEqual([]);
    stream.reconnect().read(say('Ly')).read(proof);
    expect(stream.end()).toBe(true);
    expect([stream.text, stream.restarts]).toEqual(['Ly', 1]);
  });

  it('does not have the answer to the request in it', () => {
    const stream = replay({
      submitted: (_, each) => {
        each.emit({ type: 'raw', frame: 'answer' });
      },
    });
    stream
      .submitted({})
      .reconnect()
      .read(wire({ meta2: 1 }));
    expect(stream.of('raw')).toHaveLength(2);
  });

  it('may restart by itself: what comes after that is the answer', () => {
    const voiding = (frame: Frame, each: DialectStream<Count>): void => {
      if (frame.more === true) each.emit(restart('it says so'));
      if (frame.text !== undefined) each.emit(text(frame.text));
    };
    const body = say('Pa') + wire({ more: true }) + say('Ly', 'on');
    const stream = replay({ decode: voiding }).read(say('Pa')).reconnect().read(body);
    expect(stream.events).toEqual([text('Pa'), moved, restart('it says so'), text('Ly'), text('on')]);
    expect(stream.text).toBe('Lyon');
  });

  it('is not compared by a dialect that is lost before it delivered anything', () => {
    const stream = replay().reconnect().read(say('Lyon')).read(END);
    expect(stream.events).toEqual([text('Lyon'), finish]);
  });
});

describe('a new connection of which nobody knows what it shows', () => {
  const whole = 'The mill turns.';
  const begin = `${whole} It `;
  const doubtful = (options: Partial<DialectOptions<Frame, Count>> = {}): Reconnecting =>
    resume({ reattach: 'unknown', ...options })
      .read(say(begin))
      .reconnect();

  it('tells what surely follows, and proves nothing by its marker', () => {
    const stream = doubtful().read(say(begin, 'is old.')).read(END);
    expect(stream.proof).toBe('ended');
    expect(stream.of('finish')).toEqual([]);
    stream.stored({ whole: `${begin}is old. Really.` });
    expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', `${begin}is old. Really.`, 0]);
  });

  it.each([
    ['a finish and the marker', wire({ finish: 'stop' }) + END],
    ['the dialect’s own end', wire({ finish: 'stop', over: true })],
    ['the dialect’s own end alone', wire({ over: true })],
  ])('proves nothing by %s', (_, proof) => {
    const stream = doubtful().read(say('is old.')).read(proof);
    expect(stream.proof).toBe('ended');
    expect(stream.of('finish')).toEqual([]);
  });

  it.each([
    ['a finish', {}, wire({ finish: 'stop' })],
    ['intact framing', { end: 'eof' }, ''],
  ] as const)('is not whole by %s at the end of the transport', (_, options, proof) => {
    const stream = doubtful(options).read(say('is old.')).read(proof);
    expect(stream.proof).toBe('open');
    expect(stream.end()).toBe(false);
    expect(stream.of('finish')).toEqual([]);
  });

  it('warns of no missing reason: what is stored decides', () => {
    const stream = doubtful({ markerAlone: 'doubtful' }).read(END);
    expect([stream.proof, stream.of('warning')]).toEqual(['ended', []]);
  });

  it.each([
    ['the same', begin, begin, 0],
    ['the same, trimmed', begin.trim(), begin, 0],
    ['longer', `${begin}is old.`, `${begin}is old.`, 0],
    ['another', 'Another mill.', 'Another mill.', 1],
    ['shorter', whole, whole, 1],
    ['empty', '', '', 1],
  ])('is settled by a stored text that is %s', (_, stored, text, restarts) => {
    for (const shown of ['', say(begin), say('is old.'), say('Another')]) {
      const stream = doubtful().read(shown).stored({ whole: stored });
      expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', text, restarts]);
    }
  });

  it('tells thinking and text again where either is another', () => {
    const stream = doubtful().stored({ whole: begin, thought: 'Hm' });
    expect(stream.events.slice(1)).toEqual([
      { type: 'thinking', text: 'Hm', index: 0, name: 'thinking' },
      { ...finish, reason: 'stop' },
    ]);
    const other = resume({
      reattach: 'unknown',
      decode: (frame, each) => {
        if (frame.text !== undefined) each.emit({ type: 'thinking', text: frame.text, index: 0, name: 'thinking' });
      },
    });
    other.read(say('Hm')).reconnect().stored({ whole, thought: 'Well' });
    expect(other.events.slice(1)).toEqual([
      otherwise,
      { type: 'thinking', text: 'Well', index: 0, name: 'thinking' },
      text(whole),
      { ...finish, reason: 'stop' },
    ]);
  });

  it('streams on where it is lost again after what was stored was not over', () => {
    const stream = doubtful().stored({}).read(say(begin, 'is ')).reconnect().stored({}).read(say(begin, 'is old.'));
    expect([stream.proof, stream.text, stream.restarts]).toEqual(['open', `${begin}is old.`, 0]);
  });

  it('streams where nothing was delivered', () => {
    const stream = resume({ reattach: 'unknown' })
      .reconnect()
      .read(say('L', 'y', 'on'));
    expect(stream.of('text')).toHaveLength(3);
  });

  it('adds nothing that the dialect held back to what is stored', () => {
    let held = 0;
    const stream = doubtful({
      flush: (each) => {
        held += 1;
        each.emit(text('<'));
      },
    });
    stream.read(END).stored({ whole: `${begin}<` });
    expect([stream.proof, stream.text, held]).toEqual(['done', `${begin}<`, 0]);
  });

  it('tells each new state of the stored work', () => {
    const stream = resume({
      reattach: 'unknown',
      stored: (work, each) => {
        each.emit({ type: 'status', status: String(work), terminal: false });
      },
    });
    for (const work of ['waiting', 'working', 'working', 'over']) stream.reconnect().stored(work);
    expect(stream.of('status').map(({ status }) => status)).toEqual(['waiting', 'working', 'over']);
  });
});
