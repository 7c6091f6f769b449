import { firstValueFrom, from, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { ProtocolError, ProviderError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { dialect, type Dialect, type DialectOptions, type DialectStream } from '../../src/protocol/dialect.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import { checkTemplates } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { frameOf, tell } from '../support/bothWays.js';
import { decodeAll, frame } from '../support/decodeAll.js';

const schema = z.looseObject({ text: z.string(), fails: z.optional(z.boolean()) });
type Frame = z.infer<typeof schema>;
interface Seen {
  frames: number;
}
type Stream = DialectStream<Seen>;

function say(stream: Stream, text: string): true {
  stream.state.frames += 1;
  stream.emit({ type: 'text', text, index: 0, name: 'output' });
  return true;
}

/** A dialect with a template that does what is given, in place of what it should. */
function sample(
  use: (stream: Stream, text: string) => boolean = say,
  options: Partial<DialectOptions<Frame, Seen>> = {},
): Dialect {
  return dialect<Frame, Seen>({
    name: 'sample',
    frame: schema,
    start: () => ({ frames: 0 }),
    marker: '[DONE]',
    decode: ({ text, fails }, stream) => {
      say(stream, text);
      stream.template({ text: 'text' }, (each) => use(stream, each));
      if (fails === true) throw new ProtocolError('told to');
    },
    ...options,
  });
}

const [first, second, third] = [frameOf('{"text":"a"}'), frameOf('{"text":"b"}'), frameOf('{"text":"c"}')];
const done = frameOf('[DONE]');

/** The difference that it finds in the second frame. */
function differenceOf(of: Dialect): Error {
  const decoder = checkTemplates(of).decoder();
  expect(tell(decoder, first).error).toBeUndefined();
  const { events, error } = tell(decoder, second);
  expect(events).toStrictEqual([]);
  if (!(error instanceof Error)) throw new Error('It found no difference');
  return error;
}

describe('checkTemplates', () => {
  it('emits what decoding without templates emits', () => {
    const decoder = checkTemplates(sample()).decoder();
    const full = sample().decoder({ templates: false });
    for (const step of [first, second, third, done]) expect(tell(decoder, step)).toStrictEqual(tell(full, step));
  });

  it('says how many frames a template decoded', () => {
    const decoder = checkTemplates(sample()).decoder();
    for (const step of [first, second, third]) tell(decoder, step);
    expect(decoder.templated).toBe(2);
  });

  it('leaves all else of a dialect as it is', () => {
    const { name, framing, turn } = checkTemplates(chatDialect({ name: 'mine' }));
    expect({ name, framing }).toStrictEqual({ name: 'mine', framing: 'sse' });
    expect(turn?.build([{ type: 'text', text: 'hi', index: 0, name: 'output' }])).toStrictEqual(
      chatDialect().turn?.build([{ type: 'text', text: 'hi', index: 0, name: 'output' }]),
    );
  });

  it('throws an Error, named TemplateDifference, with both results in its message', () => {
    const error = differenceOf(sample((stream, text) => say(stream, `not ${text}`)));
    expect(error.name).toBe('TemplateDifference');
    expect(error.message).toContain('"text":"b"');
    expect(error.message).toContain('"text":"not b"');
  });

  it.each<[string, (stream: Stream, text: string) => boolean]>([
    ['emits nothing', () => true],
    ['emits an event more', (stream, text) => say(stream, text) && say(stream, text)],
    [
      'emits an event with a member more',
      (stream, text) => {
        stream.emit({ type: 'text', text, index: 0, name: 'output', alternative: true });
        return true;
      },
    ],
    [
      'proves',
      (stream, text) => {
        stream.prove('stop');
        return say(stream, text);
      },
    ],
    [
      'says where the stream is',
      (stream, text) => {
        stream.identify('w');
        return say(stream, text);
      },
    ],
    [
      'throws',
      () => {
        throw new ProtocolError('of the template');
      },
    ],
    [
      'declines after it has emitted',
      (stream, text) => {
        say(stream, text);
        return false;
      },
    ],
  ])('finds a template that %s', (_, use) => {
    expect(differenceOf(sample(use)).name).toBe('TemplateDifference');
  });

  it('finds what a template left undone when it shows', () => {
    const told = sample(
      (stream, text) => {
        stream.emit({ type: 'text', text, index: 0, name: 'output' });
        return true;
      },
      {
        flush: (stream) => {
          stream.emit({ type: 'warning', code: 'frames', message: String(stream.state.frames) });
        },
      },
    );
    const decoder = checkTemplates(told).decoder();
    expect(tell(decoder, first).error).toBeUndefined();
    expect(tell(decoder, second).error).toBeUndefined();
    expect(tell(decoder, done).error).toMatchObject({ name: 'TemplateDifference' });
  });

  it('finds it at the end, and where the stream is released, too', () => {
    const told = sample(
      (stream, text) => {
        stream.emit({ type: 'text', text, index: 0, name: 'output' });
        return true;
      },
      {
        release: (stream) => {
          for (let count = 0; count < stream.state.frames; count += 1) {
            stream.emit({ type: 'text', text: '.', index: 0, name: 'output' });
          }
        },
      },
    );
    for (const step of ['end', 'cut', 'release'] as const) {
      const decoder = checkTemplates(told).decoder();
      for (const each of [first, second]) tell(decoder, each);
      expect(tell(decoder, step).error).toMatchObject({ name: 'TemplateDifference' });
    }
  });

  it('throws what both ways throw', () => {
    const decoder = checkTemplates(chatDialect()).decoder();
    expect(tell(decoder, frameOf('{')).error).toBeInstanceOf(ProtocolError);
    const { error } = tell(decoder, frameOf('{"error":{"message":"no","code":429}}'));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ retryable: true, providerCode: 429 });
  });

  it('emits what came before an error', () => {
    const decoder = checkTemplates(sample()).decoder();
    const { events, error } = tell(decoder, frameOf('{"text":"a","fails":true}'));
    expect(events).toStrictEqual([{ type: 'text', text: 'a', index: 0, name: 'output' }]);
    expect(error).toMatchObject({ message: 'told to' });
  });

  it('hands on all that befalls a stream', () => {
    const of = sample(say, {
      submitted: (_, stream) => {
        stream.identify('w', 1);
      },
      stored: (_, stream) => {
        say(stream, 'stored');
        stream.done();
      },
      reattach: 'state',
      reattached: (stream) => {
        stream.identify('w', 2);
      },
    });
    const told = [checkTemplates(of).decoder(), of.decoder({ templates: false })].map((decoder) => {
      const events: StreamEvent[] = [];
      const emit = (event: StreamEvent): void => {
        events.push(event);
      };
      const outs: unknown[] = [];
      decoder.submitted({}, emit);
      outs.push(decoder.place);
      outs.push(tell(decoder, first), tell(decoder, second), tell(decoder, 'cut'));
      decoder.reattached?.();
      outs.push(decoder.place, tell(decoder, third));
      outs.push(decoder.stored?.({}, emit));
      return { events, outs };
    });
    expect(told[0]).toStrictEqual(told[1]);
  });

  it('checks a pipeline: a difference is its error', async () => {
    const body = frame({ text: 'a' }) + frame({ text: 'b' }) + frame('[DONE]');
    const read = (of: Dialect): Promise<StreamEvent[]> =>
      firstValueFrom(from([new TextEncoder().encode(body)]).pipe(parseSSE(), decode(checkTemplates(of)), toArray()));
    expect(await read(sample())).toStrictEqual(decodeAll(sample(), body).events);
    await expect(read(sample((stream, text) => say(stream, `not ${text}`)))).rejects.toMatchObject({
      name: 'TemplateDifference',
    });
  });
});
