import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { ProtocolError, ProviderError, ValidationError } from '../../src/errors.js';
import { type Decoder, dialect, type Dialect, type DialectOptions, type Proof } from '../../src/protocol/dialect.js';
import type { StreamEvent, TextEvent, WireEvent } from '../../src/types.js';

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
