import * as fc from 'fast-check';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import * as z from 'zod/mini';
import { ProtocolError } from '../../src/errors.js';
import { type Decoder, dialect, type Dialect, type DialectStream } from '../../src/protocol/dialect.js';
import type { TemplateShape, TemplateUse } from '../../src/protocol/template.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import type { StreamEvent } from '../../src/types.js';
import { bothWays, frameOf, framesOf, type Step, tell } from '../support/bothWays.js';
import { mutate, pick, randomOf, someText } from '../support/mutatedFrames.js';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What a frame holds but for what its shape leaves open, whatever it is: told with every frame, so that any difference shows. */
function restOf(value: unknown, shape: TemplateShape, path: string | undefined): unknown {
  if (path !== undefined && path !== '') {
    if (path === shape.text && typeof value === 'string' && value !== '') return 'text';
    if (typeof value === 'string' || typeof value === 'number') {
      if (shape.read?.includes(path) === true) return 'read';
      if (shape.skip?.has(path) === true) return typeof value;
    }
  }
  const under = (step: string): string | undefined => {
    if (path === undefined || step === '' || step.includes('.')) return undefined;
    return path === '' ? step : `${path}.${step}`;
  };
  if (Array.isArray(value)) return value.map((each, at) => restOf(each, shape, under(String(at))));
  if (typeof value !== 'object' || value === null) return [value];
  return { members: Object.entries(value).map(([key, each]) => [key, restOf(each, shape, under(key))]) };
}

function valueAt(frame: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (value, step) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, step)
          ? (value as Record<string, unknown>)[step]
          : undefined,
      frame,
    );
}

/** Emits all that a frame holds, and offers the shape that is chosen for frames like it. */
function witness(shapeOf: (frame: unknown) => TemplateShape): Dialect {
  return dialect<unknown>({
    name: 'witness',
    frame: z.unknown(),
    values: 'any',
    decode: (frame, stream) => {
      const shape = shapeOf(frame);
      const rest = JSON.stringify(restOf(frame, shape, ''));
      const say: TemplateUse = (text, values) => {
        stream.emit({ type: 'output', value: { event: stream.event, rest, text, values: [...values] }, final: false });
        return true;
      };
      const text = valueAt(frame, shape.text);
      say(
        typeof text === 'string' ? text : '',
        (shape.read ?? []).map((path) => valueAt(frame, path) as string | number),
      );
      stream.template(shape, say);
    },
  });
}

/** A dialect whose frames are `{"text": …}` with anything besides. */
interface Plain {
  readonly shape?: Partial<TemplateShape>;
  /** @defaultValue emits the text, and returns true */
  readonly use?: (stream: DialectStream<undefined>, ...args: Parameters<TemplateUse>) => boolean;
  readonly values?: boolean;
}

const sayText = (stream: DialectStream<unknown>, text: string): boolean => {
  if (text !== '') stream.emit({ type: 'text', text, index: 0, name: 'output' });
  return true;
};

function plain({ shape, use = sayText }: Plain = {}): Dialect {
  return dialect({
    name: 'plain',
    frame: z.looseObject({ text: z.optional(z.string()), throws: z.optional(z.boolean()) }),
    marker: '[DONE]',
    decode: (frame, stream) => {
      if (frame.text === undefined) return;
      sayText(stream, frame.text);
      stream.template({ text: 'text', ...shape }, (text, values) => use(stream, text, values));
      if (frame.throws === true) throw new ProtocolError('told to');
    },
  });
}

/** Gives frames to one decoder, and says of each whether a template decoded it. */
function areTemplated(decoder: Decoder, data: readonly string[], event?: string): readonly boolean[] {
  return framesOf(data, event).map((each) => {
    const before = decoder.templated ?? 0;
    tell(decoder, each);
    return (decoder.templated ?? 0) > before;
  });
}

function textsOf(events: readonly StreamEvent[]): readonly string[] {
  return events.flatMap((event) => (event.type === 'text' ? [event.text] : []));
}

function lastOf(data: readonly string[], of: Dialect = plain()): boolean | undefined {
  return areTemplated(of.decoder(), data).at(-1);
}

describe('a template', () => {
  it('decodes the second frame that is like the first but for its text', () => {
    const decoder = plain().decoder();
    expect(areTemplated(decoder, ['{"text":"a"}', '{"text":"b"}', '{"text":"c"}'])).toStrictEqual([false, true, true]);
    expect(decoder.templated).toBe(2);
  });

  it('decodes nothing where it is told so', () => {
    const decoder = plain().decoder({ templates: false });
    expect(areTemplated(decoder, ['{"text":"a"}', '{"text":"b"}'])).toStrictEqual([false, false]);
    expect(decoder.templated).toBe(0);
  });

  it('is shared by no other stream', () => {
    const of = plain();
    expect(areTemplated(of.decoder(), ['{"text":"a"}', '{"text":"b"}'])).toStrictEqual([false, true]);
    expect(areTemplated(of.decoder(), ['{"text":"c"}'])).toStrictEqual([false]);
  });

  it.each<[string, string]>([
    ['quotes and backslashes', '"\\\\"'],
    ['an escaped quote, and what looks like the end of the frame', '"\\"}"'],
    ['escapes of all kinds', '"\\b\\f\\n\\r\\t\\/\\u00e9\\u00E9"'],
    ['a pair of surrogates', '"\\ud83c\\udf0a"'],
    ['half a pair', '"\\ud83c"'],
    ['line separators, which JavaScript once forbade', '"\u2028\u2029"'],
    ['the byte order mark', '"\ufeff"'],
    ['DEL, which JSON allows', '"\u007f"'],
    ['the frame itself, quoted', JSON.stringify('{"text":"a"}')],
    ['nothing but white space', '" "'],
  ])('reads a text with %s as JSON.parse does', (_, text) => {
    const decoder = plain().decoder();
    const frames = ['{"text":"a"}', `{"text":${text}}`];
    expect(areTemplated(decoder, frames)).toStrictEqual([false, true]);
    const told = tell(plain().decoder(), frameOf(`{"text":${text}}`));
    const decoded = framesOf(frames).map((each) => tell(decoder, each));
    expect(textsOf(decoded[1]?.events ?? [])).toStrictEqual([JSON.parse(text)]);
    expect(textsOf(told.events)).toStrictEqual([JSON.parse(text)]);
  });

  it.each<[string, string]>([
    ['an empty text', '{"text":""}'],
    ['no text', '{}'],
    ['a text that is none', '{"text":null}'],
    ['another key', '{"texts":"b"}'],
    ['a key more', '{"text":"b","more":1}'],
    ['a key more before it', '{"more":1,"text":"b"}'],
    ['the same key twice', '{"text":"b","text":"c"}'],
    ['an escaped key', '{"\\u0074ext":"b"}'],
    ['an escape that is none', '{"text":"\\x41"}'],
    ['an escape that is cut', '{"text":"\\u12"}'],
    ['a control character', '{"text":"\n"}'],
    ['an escaped control character', '{"text":"\\\n"}'],
    ['no end', '{"text":"b"'],
    ['no end of its text', '{"text":"b'],
    ['something behind it', '{"text":"b"}}'],
    ['white space where there was none', '{"text": "b"}'],
    ['a byte order mark', '\ufeff{"text":"b"}'],
  ])('leaves a frame with %s to the parser', (_, frame) => {
    expect(lastOf(['{"text":"a"}', frame])).toBe(false);
    bothWays(plain(), framesOf(['{"text":"a"}', frame, '{"text":"c"}']));
  });

  it('is of frames whose event has the same name', () => {
    const decoder = plain().decoder();
    expect(areTemplated(decoder, ['{"text":"a"}', '{"text":"b"}'], 'delta')).toStrictEqual([false, true]);
    expect(areTemplated(decoder, ['{"text":"c"}'])).toStrictEqual([false]);
    expect(areTemplated(decoder, ['{"text":"d"}'], 'delta')).toStrictEqual([true]);
    expect(areTemplated(decoder, ['{"text":"e"}'])).toStrictEqual([true]);
  });

  it('lets an event named error fail, whatever its data is like', () => {
    const frames = framesOf(['{"text":"a"}', '{"text":"b"}']);
    bothWays(plain(), [...frames, ...framesOf(['{"text":"c"}'], 'error')]);
    const decoder = plain().decoder();
    expect(areTemplated(decoder, ['{"text":"a"}', '{"text":"b"}'])).toStrictEqual([false, true]);
    expect(tell(decoder, frameOf('{"text":"c"}', 'error')).error).toBeDefined();
  });

  it('is of lines, too', () => {
    const decoder = plain().decoder();
    for (const [number, data] of ['{"text":"a"}', '{"text":"b"}\r', '{"text":"c"}\r'].entries()) {
      tell(decoder, { type: 'line', data, number });
    }
    expect(decoder.templated).toBe(1);
    expect(tell(decoder, { type: 'line', data: '{"text":"d', number: 4, unterminated: true }).error).toBeUndefined();
    expect(decoder.end(true, () => undefined)).toBe(false);
  });

  it('lets the spaces between tokens be of any length, where there are some', () => {
    const frames = ['{ "text":\t"a" }', '{  "text": "b"\t}', '{\t"text":  "c"  }', '{ "text" :"d"}'];
    const decoder = plain().decoder();
    expect(areTemplated(decoder, frames)).toStrictEqual([false, false, true, false]);
    bothWays(plain(), framesOf(frames));
  });

  it('reads frames of several lines', () => {
    const frames = ['a', 'b', 'c'].map((text) => JSON.stringify({ id: 1, list: [{ text }], text }, undefined, 2));
    bothWays(plain({ shape: { skip: new Set(['list.0.text']) } }), framesOf(frames));
    expect(lastOf(frames, plain({ shape: { skip: new Set(['list.0.text']) } }))).toBe(true);
  });

  it('decodes no data that is bare text', () => {
    const of = dialect<string>({
      data: 'text',
      frame: z.string(),
      decode: (text, stream) => {
        sayText(stream, text);
        stream.template({ text: 'text' }, (each) => sayText(stream, each));
      },
    });
    expect(areTemplated(of.decoder(), ['{"text":"a"}', '{"text":"b"}', '{"text":"c"}'])).toStrictEqual([
      false,
      false,
      false,
    ]);
  });
});

describe('what a template skips', () => {
  const skipping = plain({ shape: { skip: new Set(['id', 'at', 'list.1.p']) } });

  it('may change from frame to frame, from the second change on', () => {
    const frames = ['a', 'b', 'c', 'd'].map((id) => JSON.stringify({ id, text: id }));
    expect(areTemplated(skipping.decoder(), frames)).toStrictEqual([false, false, true, true]);
  });

  it.each<[string, string, boolean]>([
    ['another string', '{"id":"\\u0041\\"","at":1,"text":"x","list":[0,{"p":"ab"}]}', true],
    ['an empty string', '{"id":"","at":1,"text":"x","list":[0,{"p":""}]}', true],
    ['another number', '{"id":"a","at":0,"text":"x","list":[0,{"p":""}]}', true],
    ['a number of 15 digits', '{"id":"a","at":123456789012345,"text":"x","list":[0,{"p":""}]}', true],
    ['a longer number', '{"id":"a","at":1234567890123456,"text":"x","list":[0,{"p":""}]}', false],
    ['a fraction', '{"id":"a","at":1.5,"text":"x","list":[0,{"p":""}]}', false],
    ['an exponent', '{"id":"a","at":1e3,"text":"x","list":[0,{"p":""}]}', false],
    ['a negative number', '{"id":"a","at":-1,"text":"x","list":[0,{"p":""}]}', false],
    ['minus zero', '{"id":"a","at":-0,"text":"x","list":[0,{"p":""}]}', false],
    ['a leading zero', '{"id":"a","at":01,"text":"x","list":[0,{"p":""}]}', false],
    ['two numbers', '{"id":"a","at":1 1,"text":"x","list":[0,{"p":""}]}', false],
    ['another type', '{"id":7,"at":1,"text":"x","list":[0,{"p":""}]}', false],
    ['null', '{"id":null,"at":1,"text":"x","list":[0,{"p":""}]}', false],
    ['an escape that is none', '{"id":"\\q","at":1,"text":"x","list":[0,{"p":""}]}', false],
    ['a change beside it', '{"id":"a","at":1,"text":"x","list":[1,{"p":""}]}', false],
    ['one item more before it', '{"id":"a","at":1,"text":"x","list":[0,0,{"p":""}]}', false],
  ])('may be %s or not', (_, frame, fits) => {
    const frames = ['a', 'bc'].map((id, at) => JSON.stringify({ id, at, text: id, list: [0, { p: id }] }));
    expect(lastOf([...frames, frame], skipping)).toBe(fits);
    bothWays(skipping, framesOf([...frames, frame]));
  });

  it('is known by its path: a key with a dot in it is another', () => {
    const frames = ['a', 'b', 'c'].map((id) => `{"list.1.p":"${id}","list":[0,0],"text":"x"}`);
    expect(areTemplated(skipping.decoder(), frames)).toStrictEqual([false, false, false]);
  });
});

describe('what a template reads', () => {
  const reading = (paths: readonly string[]): Dialect => {
    const shape: TemplateShape = { text: 'text', read: paths };
    return witness(() => shape);
  };
  const valuesOf = (of: Dialect, data: readonly string[]): readonly unknown[] => {
    const decoder = of.decoder();
    return framesOf(data)
      .map((frame) => tell(decoder, frame))
      .flatMap(({ events }) =>
        events.map((event) => (event.type === 'output' ? (event.value as { values: unknown }).values : event)),
      );
  };

  it('is handed over in the order of the shape, not of the frame', () => {
    const of = reading(['b.0', 'a', 'c']);
    const frames = [
      '{"a":1,"text":"t","b":["x"],"c":"y"}',
      '{"a":20,"text":"t","b":["\\u0058"],"c":""}',
      '{"a":999999999999999,"text":"t","b":["1"],"c":"\\n"}',
    ];
    expect(valuesOf(of, frames)).toStrictEqual([
      ['x', 1, 'y'],
      ['X', 20, ''],
      ['1', 999_999_999_999_999, '\n'],
    ]);
    expect(areTemplated(of.decoder(), frames)).toStrictEqual([false, true, true]);
    bothWays(of, framesOf(frames));
  });

  it.each<[string, string]>([
    ['is missing', '{"text":"t"}'],
    ['is null', '{"a":null,"text":"t"}'],
    ['is a list', '{"a":[1],"text":"t"}'],
    ['is negative', '{"a":-1,"text":"t"}'],
    ['has a fraction', '{"a":1.0,"text":"t"}'],
    ['has an exponent', '{"a":1e2,"text":"t"}'],
    ['has more than 15 digits', '{"a":1000000000000000,"text":"t"}'],
    ['comes twice', '{"a":1,"a":2,"text":"t"}'],
    ['comes twice, once as something else', '{"a":1,"a":null,"text":"t"}'],
  ])('makes no template where it %s', (_, frame) => {
    const of = reading(['a']);
    expect(areTemplated(of.decoder(), [frame, frame, frame])).toStrictEqual([false, false, false]);
    bothWays(of, framesOf([frame, frame, '{"a":1,"text":"t"}', frame, '{"a":2,"text":"t"}']));
  });

  it('cannot be the text besides, and not be named twice', () => {
    for (const read of [['text'], ['a', 'a']]) {
      const frames = ['{"a":1,"text":"t"}', '{"a":2,"text":"u"}', '{"a":3,"text":"v"}'];
      expect(areTemplated(reading(read).decoder(), frames)).toStrictEqual([false, false, false]);
    }
  });
});

describe('a shape', () => {
  it.each<[string, string, string]>([
    ['that is missing', 'missing', '{"text":"a"}'],
    ['of a number', 'n', '{"text":"a","n":1}'],
    ['of an object', 'o', '{"text":"a","o":{"text":"b"}}'],
    ['with a prototype in it', '__proto__.text', '{"text":"a"}'],
    ['of a member of every object', 'constructor', '{"text":"a"}'],
    ['of a member of every list', 'l.length', '{"text":"a","l":["b"]}'],
    ['of a member that a later one replaces', 'o.text', '{"text":"a","o":{"text":"b"},"o":{}}'],
    ['of a member that an earlier one had', 'o.text', '{"text":"a","o":{"text":"b"},"o":null}'],
    ['with an index that is none', 'l.00', '{"text":"a","l":["b"]}'],
  ])('that names a text %s makes no template', (_, text, frame) => {
    const of = plain({ shape: { text } });
    expect(areTemplated(of.decoder(), [frame, frame, frame])).toStrictEqual([false, false, false]);
  });

  it('may name members under any key', () => {
    const frame = (text: string): string => `{"text":"a","__proto__":{"\\u0061":[{"7":"${text}"}]}}`;
    const of = witness(() => ({ text: '__proto__.a.0.7' }));
    expect(areTemplated(of.decoder(), ['b', 'c'].map(frame))).toStrictEqual([false, true]);
    bothWays(of, framesOf(['b', 'c', '\\u0000', ''].map(frame)));
  });
});

describe('the templates of a stream', () => {
  const kind = (at: number, text = 'x'): string => `{"kind":${String(at)},"text":"${text}"}`;
  const kinds = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => kind(at));

  it('are eight', () => {
    const decoder = plain().decoder();
    areTemplated(decoder, kinds(8));
    expect(areTemplated(decoder, kinds(8))).not.toContain(false);
  });

  it('are the eight that were used last', () => {
    const decoder = plain().decoder();
    areTemplated(decoder, kinds(8));
    expect(areTemplated(decoder, [kind(0), kind(8), kind(0)])).toStrictEqual([true, false, true]);
    expect(areTemplated(decoder, [kind(1)])).toStrictEqual([false]);
  });

  it('are forgotten when the stream goes on over another connection', () => {
    const decoder = plain().decoder();
    expect(areTemplated(decoder, [kind(0), kind(0)])).toStrictEqual([false, true]);
    decoder.reattached?.();
    expect(areTemplated(decoder, [kind(0), kind(0)])).toStrictEqual([false, true]);
  });

  it('are made of frames of up to 65,536 characters, and decode longer ones', () => {
    const frame = (padding: number, text = 'x'): string => `{"p":"${'p'.repeat(padding)}","text":"${text}"}`;
    const most = 65_536 - frame(0).length;
    expect(areTemplated(plain().decoder(), [frame(most), frame(most)])).toStrictEqual([false, true]);
    expect(areTemplated(plain().decoder(), [frame(most + 1), frame(most + 1)])).toStrictEqual([false, false]);
    expect(lastOf([frame(1), frame(1, 'long'.repeat(100_000))])).toBe(true);
  });

  it('outlive their first text: each frame has its own', () => {
    const decoder = plain().decoder();
    const told = framesOf(['a', 'b', '\\u0063'].map((text) => kind(0, text))).map((each) => tell(decoder, each));
    expect(told.flatMap(({ events }) => textsOf(events))).toStrictEqual(['a', 'b', 'c']);
  });
});

describe('making templates', () => {
  let parsed = 0;
  beforeEach(() => {
    parsed = 0;
    const parse = JSON.parse.bind(JSON);
    const spy = vi.spyOn(JSON, 'parse').mockImplementation((...args) => {
      parsed += 1;
      return parse(...args) as unknown;
    });
    return () => {
      spy.mockRestore();
    };
  });
  const unlike = (from: number, to: number): readonly string[] =>
    Array.from({ length: to - from }, (_, at) => `{"k${String(from + at)}":0,"text":"x"}`);

  it('is given up where none ever fits, but for one frame of 64', () => {
    areTemplated(plain().decoder(), unlike(0, 2000));
    expect(parsed).toBeLessThanOrEqual(2000 + 8 + Math.ceil(2000 / 64));
  });

  it('is given up where the shape names a text that is not there', () => {
    areTemplated(plain({ shape: { text: 'missing' } }).decoder(), unlike(0, 2000));
    expect(parsed).toBeLessThanOrEqual(2000 + 8 + Math.ceil(2000 / 64));
  });

  it('is taken up again for frames that begin to be alike', () => {
    const decoder = plain().decoder();
    areTemplated(decoder, unlike(0, 2000));
    const alike = Array.from({ length: 200 }, () => '{"text":"x"}');
    const rest = areTemplated(decoder, alike);
    expect(rest.indexOf(true)).toBeGreaterThan(0);
    expect(rest.indexOf(true)).toBeLessThanOrEqual(64);
    expect(rest.slice(rest.indexOf(true))).not.toContain(false);
    expect(areTemplated(decoder, unlike(3000, 3001).concat(unlike(3000, 3001)))).toStrictEqual([false, true]);
  });

  it('costs no parsing of frames that fit, but for texts with escapes', () => {
    const decoder = plain().decoder();
    areTemplated(decoder, ['{"text":"a"}']);
    parsed = 0;
    areTemplated(
      decoder,
      Array.from({ length: 1000 }, () => '{"text":"b"}'),
    );
    expect(parsed).toBe(0);
  });

  it('reads no frame a second time that is too long for it', () => {
    const decoder = plain().decoder();
    parsed = 0;
    areTemplated(
      decoder,
      Array.from({ length: 20 }, () => `{"p":"${'p'.repeat(65_536)}","text":"x"}`),
    );
    expect(parsed).toBe(20);
  });
});

describe('a use', () => {
  it('that declines leaves its frame to be decoded, and may take the next', () => {
    let declines = false;
    const decoder = plain({ use: (stream, text) => !declines && sayText(stream, text) }).decoder();
    const seen: string[] = [];
    for (const text of ['a', 'b', 'c', 'd']) {
      declines = text === 'c';
      seen.push(...textsOf(tell(decoder, frameOf(JSON.stringify({ text }))).events));
    }
    expect(seen).toStrictEqual(['a', 'b', 'c', 'd']);
    expect(decoder.templated).toBe(2);
  });

  it('is given no empty text', () => {
    const texts: string[] = [];
    const decoder = plain({
      use: (stream, text) => {
        texts.push(text);
        return sayText(stream, text);
      },
    }).decoder();
    areTemplated(decoder, ['{"text":"a"}', '{"text":""}', '{"text":"\\u0000"}', '{"text":""}']);
    expect(texts).toStrictEqual(['\u0000']);
  });

  it('that throws fails as decoding does: the error is what it threw, and the decoder can go on', () => {
    const failure = new ProtocolError('the use failed');
    let isFailing = true;
    const decoder = plain({
      use: (stream, text) => {
        if (isFailing) throw failure;
        return sayText(stream, text);
      },
    }).decoder();
    const [first, second, third] = [frameOf('{"text":"a"}'), frameOf('{"text":"b"}'), frameOf('{"text":"c"}')];
    expect(tell(decoder, first).error).toBeUndefined();
    expect(tell(decoder, second).error).toBe(failure);
    isFailing = false;
    expect(textsOf(tell(decoder, third).events)).toStrictEqual(['c']);
  });

  it('is none where the frame that offered it failed in the end', () => {
    const frames = ['{"text":"a","throws":true}', '{"text":"b","throws":true}', '{"text":"c","throws":true}'];
    expect(areTemplated(plain().decoder(), frames)).toStrictEqual([false, false, false]);
    bothWays(plain(), framesOf([...frames, '{"text":"d","throws":false}', '{"text":"e","throws":false}', ...frames]));
  });

  it('is the last one where a frame offers two', () => {
    const of = dialect({
      frame: z.looseObject({ text: z.string() }),
      decode: ({ text }, stream) => {
        sayText(stream, text);
        stream.template({ text: 'text' }, () => false);
        stream.template({ text: 'text' }, (each) => sayText(stream, each));
      },
    });
    expect(areTemplated(of.decoder(), ['{"text":"a"}', '{"text":"b"}'])).toStrictEqual([false, true]);
  });

  it('that is offered elsewhere than in `decode` is of no frame', () => {
    const of = dialect({
      frame: z.looseObject({ text: z.string() }),
      decode: ({ text }, stream) => {
        sayText(stream, text);
      },
      submitted: (_, stream) => {
        stream.template({ text: 'text' }, () => true);
      },
    });
    const decoder = of.decoder();
    decoder.submitted({}, () => undefined);
    expect(areTemplated(decoder, ['{"text":"a"}', '{"text":"b"}'])).toStrictEqual([false, false]);
  });

  it('may prove, take back, say where the stream is, and end it', () => {
    const act = (stream: DialectStream<undefined>, text: string): boolean => {
      sayText(stream, text);
      if (text === 'prove') stream.prove('stop', 'stop');
      if (text === 'reopen') stream.reopen();
      if (text === 'done') stream.done();
      stream.identify('w', text);
      return true;
    };
    const of = dialect({
      frame: z.looseObject({ text: z.string() }),
      decode: ({ text }, stream) => {
        act(stream, text);
        stream.template({ text: 'text' }, (each) => act(stream, each));
      },
    });
    const texts = ['a', 'prove', 'b', 'reopen', 'c', 'prove', 'prove', 'done', 'after'];
    const frames = framesOf(texts.map((text) => JSON.stringify({ text })));
    expect(bothWays(of, frames)).toStrictEqual({ frames: 8, templated: 7 });
    const decoder = of.decoder();
    const told = frames.map((frame) => tell(decoder, frame));
    expect(told.map(({ out }) => out)).toStrictEqual([
      'open',
      'proven',
      'proven',
      'open',
      'open',
      'proven',
      'proven',
      'done',
      'done',
    ]);
    expect(told.at(-1)?.place).toStrictEqual({ id: 'w', cursor: 'done' });
  });

  it('sees the id and the name of the event that it is used for', () => {
    const seen: string[] = [];
    const decoder = plain({
      use: (stream) => {
        seen.push(`${stream.event} ${stream.id}`);
        return true;
      },
    }).decoder();
    for (const id of ['1', '2', '3'])
      decoder.push({ type: 'event', event: 'delta', data: '{"text":"a"}', id }, () => undefined);
    expect(seen).toStrictEqual(['delta 2', 'delta 3']);
  });
});

/** A frame, and paths of its leaves that a shape can name. */
function leavesOf(value: Json, path = ''): readonly string[] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, each]) => {
    if (key === '' || key.includes('.')) return [];
    return leavesOf(each, path === '' ? key : `${path}.${key}`);
  });
}

/** The frame with another value at some of its leaves: those that are likely to be holes, and now and then another. */
function refilled(value: Json, isHole: (path: string) => boolean, random: (below: number) => number, path = ''): Json {
  const under = (key: string | number): string => (path === '' ? String(key) : `${path}.${String(key)}`);
  if (typeof value === 'object' && value !== null) {
    if (Array.isArray(value)) return value.map((each: Json, at) => refilled(each, isHole, random, under(at)));
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [key, refilled(each, isHole, random, under(key))]),
    );
  }
  if (random(isHole(path) ? 3 : 40) > 0) return value;
  if (typeof value === 'string') return someText(random);
  return typeof value === 'number' ? pick(random, [random(99), 0, -1, 1.5, 1e21, 1e15, random(2 ** 31)]) : value;
}

const key = fc.constantFrom('a', 'b', 'text', 'id', 'n', '0', '1', '', 'a.b', '__proto__', 'constructor', '"\\', 'é');
const { frame: anyFrame } = fc.letrec<{ value: Json; frame: Readonly<Record<string, Json>> }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Json>('x', 'a longer string than twelve', '', '\u0000"\\'),
    fc.constantFrom<Json>(0, 7, 123_456_789, -3, 1.5, true, null),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3 }),
  ),
  frame: fc.dictionary(key, tie('value'), { minKeys: 1, maxKeys: 4 }),
}));

describe('with templates and without', () => {
  it('any frames tell the same, whatever shape their dialect offers', () => {
    let frames = 0;
    let templated = 0;
    fc.assert(
      fc.property(anyFrame, fc.integer(), (others, seed) => {
        const base = { ...others, text: 'x' };
        const random = randomOf(seed);
        const leaves = leavesOf(base);
        const some = (): string => (leaves.length === 0 ? 'a' : pick(random, leaves));
        const strings = leaves.filter((path) => typeof valueAt(base, path) === 'string');
        const shapeFor = (): TemplateShape => ({
          text: strings.length === 0 || random(9) === 0 ? some() : pick(random, strings),
          read: Array.from({ length: random(3) }, some),
          skip: new Set(Array.from({ length: random(4) }, some)),
        });
        // Two kinds of frames, known by what no hole can change.
        const [even, odd] = [shapeFor(), shapeFor()];
        const isHole = (path: string): boolean =>
          [even, odd].some(
            ({ text, read, skip }) => text === path || read?.includes(path) === true || skip?.has(path) === true,
          );
        const of = witness((frame) => {
          const keys = typeof frame === 'object' && frame !== null ? Object.keys(frame).length : 0;
          return keys % 2 === 0 ? even : odd;
        });
        const space = pick(random, [undefined, undefined, undefined, 1, '\t']);
        const changed = random(2) === 0 ? random(2 ** 31) : undefined;
        const steps = Array.from({ length: 24 }, (_, count): Step => {
          if (random(60) === 0) return 'reattached';
          let data = JSON.stringify(random(3) === 0 ? base : refilled(base, isHole, random), undefined, space);
          if (changed !== undefined && count > 6) data = mutate(data, changed, count);
          if (random(8) === 0) data = mutate(data, random(2 ** 31), count);
          return { type: 'event', event: random(12) === 0 ? 'other' : 'message', data, id: '' };
        });
        const told = bothWays(of, steps);
        frames += told.frames;
        templated += told.templated;
      }),
      { numRuns: 500 },
    );
    // Else it would have compared one path with itself.
    expect(templated / frames).toBeGreaterThan(0.1);
  });
});

it('is of one stream: two streams at once do not mix', () => {
  const seen = ['one', 'other'].map((name) => ({ name, text: '', decoder: chatDialect().decoder() }));
  for (let count = 0; count < 10; count += 1) {
    for (const stream of seen) {
      const content = `${stream.name} ${String(count)}, `;
      const told = tell(stream.decoder, frameOf(JSON.stringify({ id: count, choices: [{ delta: { content } }] })));
      stream.text += textsOf(told.events).join('');
    }
  }
  for (const { name, text, decoder } of seen) {
    expect(text).toBe(Array.from({ length: 10 }, (_, count) => `${name} ${String(count)}, `).join(''));
    expect(decoder.templated).toBe(8);
  }
});
