import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LimitError } from '../../src/errors.js';
import { type ByteReader, byteReader, nativeReader, portableReader } from '../../src/protocol/byteReader.js';
import { createSSEParser, type SSEParserOptions } from '../../src/protocol/sseParser.js';
import type { ServerSentEvent } from '../../src/types.js';
import { vectors } from '../fixtures/sse/vectors.js';
import { bytesOf, chunksOf, cutAt } from '../support/chunks.js';

interface Result {
  readonly events: ServerSentEvent[];
  readonly lastEventId: string;
  readonly unfinished: boolean;
  /** The limit that was passed. */
  readonly over: string | undefined;
}

function parse(chunks: readonly Uint8Array[], options: SSEParserOptions = {}, reader: ByteReader = byteReader): Result {
  const parser = createSSEParser(options, reader);
  const events: ServerSentEvent[] = [];
  let over: string | undefined;
  try {
    for (const chunk of chunks) {
      parser.push(chunk, (event) => {
        events.push(event);
      });
      // A chunk belongs to its owner again once `push` has returned.
      chunk.fill(0x21);
    }
    parser.end();
  } catch (error) {
    if (!(error instanceof LimitError)) throw error;
    over = error.limit;
  }
  return { events, lastEventId: parser.lastEventId, unfinished: over === undefined && parser.unfinished, over };
}

const readers: readonly [string, ByteReader][] = [
  ['platform', byteReader],
  ['portable', portableReader],
];

describe.each(readers)('createSSEParser with the %s reader', (_name, reader) => {
  it.each(vectors)('reads $name, however it is cut', ({ input, events, lastEventId = '', unfinished = false }) => {
    const bytes = Uint8Array.from(input, (character) => character.charCodeAt(0));
    const expected = { events: [...events], lastEventId, unfinished, over: undefined };
    expect(parse([bytes.slice()], {}, reader)).toStrictEqual(expected);
    expect(parse(chunksOf(bytes, 1), {}, reader)).toStrictEqual(expected);
    for (let offset = 0; offset <= bytes.length; offset++) {
      expect(parse(cutAt(bytes, [offset]), {}, reader), `cut at ${String(offset)}`).toStrictEqual(expected);
      expect(parse(cutAt(bytes, [offset, Math.min(offset + 1, bytes.length)]), {}, reader)).toStrictEqual(expected);
    }
  });

  it('reads a list of events with any line ends and any cuts', () => {
    const text = fc.string({ unit: fc.constantFrom('a', ' ', ':', '{"k":1}', 'é', '水', '😀', '\0', '\uFEFF') });
    const item = fc.oneof(
      fc.record({
        lines: fc.array(text, { minLength: 1, maxLength: 4 }),
        event: fc.option(text),
        id: fc.option(text),
        comment: fc.option(text),
      }),
      text,
    );
    const ends = fc.infiniteStream(fc.constantFrom('\n', '\r', '\r\n'));
    fc.assert(
      fc.property(fc.array(item, { maxLength: 8 }), ends, fc.array(fc.nat(1000)), (items, lineEnds, cuts) => {
        let stream = '';
        const line = (content: string): void => {
          let end = lineEnds.next().value as string; // an infinite stream never returns
          // An empty line after a bare CR must not make a CRLF of the two.
          if (content === '' && stream.endsWith('\r') && end === '\n') end = '\r\n';
          if (content === '' && stream.endsWith('\r') && end === '\r\n') end = '\r';
          stream += content + end;
        };
        const expected: ServerSentEvent[] = [];
        let lastId = '';
        for (const one of items) {
          if (typeof one === 'string') {
            line(`: ${one}`);
            expected.push({ type: 'comment', comment: one });
            continue;
          }
          if (one.event !== null) line(`event: ${one.event}`);
          if (one.id !== null) line(`id: ${one.id}`);
          if (one.id?.includes('\0') === false) lastId = one.id;
          for (const data of one.lines) line(`data: ${data}`);
          if (one.comment !== null) {
            line(`: ${one.comment}`);
            expected.push({ type: 'comment', comment: one.comment });
          }
          line('');
          const event = one.event === null || one.event === '' ? 'message' : one.event;
          expected.push({ type: 'event', event, data: one.lines.join('\n'), id: lastId });
        }
        const bytes = bytesOf(stream);
        const offsets = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
        expect(parse(cutAt(bytes, offsets), {}, reader)).toStrictEqual({
          events: expected,
          lastEventId: lastId,
          unfinished: false,
          over: undefined,
        });
      }),
    );
  });
});

/** Bytes that look enough like a stream to reach every branch. */
const anyStream = fc
  .array(
    fc.oneof(
      fc
        .constantFrom(
          'data',
          'data:',
          'data: ',
          'event: ',
          'id:',
          'retry: 9',
          'retry',
          ':',
          ' ',
          '\n',
          '\r',
          '\r\n',
          '\n\n',
          'x',
        )
        .map(bytesOf),
      fc
        .constantFrom([0xef, 0xbb, 0xbf], [0xe6, 0xb0, 0xb4], [0xf0, 0x9f, 0x98], [0xc3], [0], [0xff])
        .map((list) => Uint8Array.from(list)),
      fc.uint8Array({ maxLength: 4 }),
    ),
    { maxLength: 40 },
  )
  .map((parts) => Uint8Array.from(parts.flatMap((part) => [...part])));

describe('createSSEParser', () => {
  it('goes on from an id, until a field changes it and a blank line has it hold', () => {
    const go = (text: string): Result => parse([bytesOf(text)], { lastEventId: '7' });
    const event = { type: 'event', event: 'message', data: 'a' } as const;
    expect(go('')).toMatchObject({ events: [], lastEventId: '7' });
    expect(go('data: a\n\n')).toMatchObject({ events: [{ ...event, id: '7' }], lastEventId: '7' });
    expect(go('id: 8\ndata: a\n\n')).toMatchObject({ events: [{ ...event, id: '8' }], lastEventId: '8' });
    expect(go('id: 8\n\n')).toMatchObject({ events: [], lastEventId: '8' });
    expect(go('id\n\ndata: a\n\n')).toMatchObject({ events: [{ ...event, id: '' }], lastEventId: '' });
    expect(go('id: 8\ndata: a\n')).toMatchObject({ events: [], lastEventId: '7' });
  });

  it('gives the same for random bytes however they are cut, limits included', () => {
    fc.assert(
      fc.property(
        anyStream,
        fc.array(fc.nat(200)),
        fc.record({ maxLineBytes: fc.integer({ min: 1, max: 40 }), maxEventBytes: fc.integer({ min: 1, max: 60 }) }),
        fc.boolean(),
        (bytes, cuts, limits, limited) => {
          const options = limited ? limits : {};
          const offsets = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
          const whole = parse([bytes.slice()], options);
          expect(parse(cutAt(bytes, offsets), options)).toStrictEqual(whole);
          expect(parse(chunksOf(bytes, 1), options)).toStrictEqual(whole);
          expect(parse(cutAt(bytes, offsets), options, portableReader)).toStrictEqual(whole);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('gives the same for large chunks, of ASCII and not', () => {
    const filler = bytesOf(`data: ${'a'.repeat(200)}\n\n`);
    const large = fc
      .array(fc.oneof(anyStream, fc.constant(filler)), { minLength: 8, maxLength: 24 })
      .map((parts) => Uint8Array.from(parts.flatMap((part) => [...part])));
    const limit = fc.option(fc.integer({ min: 100, max: 600 }));
    fc.assert(
      fc.property(fc.array(large, { minLength: 1, maxLength: 3 }), limit, (chunks, maxEventBytes) => {
        const options = { maxEventBytes: maxEventBytes ?? undefined };
        const bytes = Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
        const drop = parse(chunksOf(bytes, 1), options);
        expect(parse([bytes.slice()], options)).toStrictEqual(drop);
        expect(parse(chunks, options)).toStrictEqual(drop);
        if (maxEventBytes !== null) return;
        expect(drop.events.filter((event) => event.type === 'event')).toStrictEqual(readByTheBook(bytes));
      }),
    );
  });

  it('equals a literal reading of the standard on random bytes', () => {
    fc.assert(
      fc.property(anyStream, (bytes) => {
        const events = parse([bytes.slice()]).events.filter((event) => event.type === 'event');
        expect(events).toStrictEqual(readByTheBook(bytes));
      }),
      { numRuns: 1000 },
    );
  });

  it('emits an event with the CR of its blank line', () => {
    const parser = createSSEParser();
    const events: ServerSentEvent[] = [];
    const collect = (event: ServerSentEvent): void => {
      events.push(event);
    };
    parser.push(bytesOf('data: a\r\n\r'), collect);
    expect(events).toHaveLength(1);
    parser.push(bytesOf('\n'), collect);
    parser.push(bytesOf('data: b\r\r'), collect);
    expect(events).toHaveLength(2);
  });

  it('gives events one shape', () => {
    const { events } = parse([bytesOf('data: a\n\nid: 1\nevent: e\ndata: b\ndata: c\n\n')]);
    expect(events.map((event) => Object.keys(event).join())).toStrictEqual(Array(2).fill('type,event,data,id'));
  });

  it('emits nothing after stop, not even from the chunk in hand', () => {
    const parser = createSSEParser();
    const seen: string[] = [];
    const collect = (event: ServerSentEvent): void => {
      seen.push(event.type);
      if (event.type === 'comment') parser.stop();
    };
    parser.push(bytesOf('data: a\n\n: b\ndata: c\n\n: d\n'), collect);
    parser.push(bytesOf('data: e\n\n'), collect);
    expect(seen).toStrictEqual(['event', 'comment']);
  });

  it('goes on after an emission that threw', () => {
    for (const stream of [
      'data: a\n\nerror: b\n\ndata: c\n\nda',
      'data: a\n\nerror: 水\n\ndata: c\n\nda',
      ': a\r: b\r: c\rda',
    ]) {
      const parser = createSSEParser();
      const whole = parse([bytesOf(`${stream}ta: d\n\n`)]);
      const seen: ServerSentEvent[] = [];
      const fail = (event: ServerSentEvent): void => {
        seen.push(event);
        throw new Error('the reader failed');
      };
      const chunk = bytesOf(stream);
      expect(() => {
        parser.push(chunk, fail);
      }).toThrow('the reader failed');
      chunk.fill(0);
      expect(parser.unfinished).toBe(true);
      parser.push(bytesOf('ta: d\n\n'), (event) => {
        seen.push(event);
      });
      expect(seen).toStrictEqual(whole.events);
    }
  });

  it('takes a chunk that is pushed from inside an emission after the one in hand', () => {
    const parser = createSSEParser();
    const seen: string[] = [];
    const collect = (event: ServerSentEvent): void => {
      if (event.type !== 'event') return;
      seen.push(event.data);
      if (event.data === 'a') parser.push(bytesOf('c\n\n'), collect);
    };
    parser.push(bytesOf('data: a\n\ndata: b\n\ndata: '), collect);
    expect(seen).toStrictEqual(['a', 'b', 'c']);
  });

  it('refuses chunks after end', () => {
    const parser = createSSEParser();
    parser.push(bytesOf('data: a'), fail);
    parser.end();
    expect(parser.unfinished).toBe(true);
    expect(() => {
      parser.push(bytesOf('\n\n'), fail);
    }).toThrow('ended');
  });

  it.each([0, -1, Number.NaN])('refuses a limit of %s', (limit) => {
    expect(() => createSSEParser({ maxLineBytes: limit })).toThrow(RangeError);
    expect(() => createSSEParser({ maxEventBytes: limit })).toThrow(RangeError);
  });

  describe('limits', () => {
    const over = (text: string, options: SSEParserOptions): string | undefined => {
      const bytes = bytesOf(text);
      const whole = parse([bytes.slice()], options);
      expect(parse(chunksOf(bytes, 1), options)).toStrictEqual(whole);
      expect(parse(chunksOf(bytes, 3), options)).toStrictEqual(whole);
      return whole.over;
    };

    it.each(['data: 3456', ': 23456789', 'retry: 890', 'unknown456', '水水水x', '\uFEFFdata: 3456'])(
      'counts the line %j as it grows',
      (line) => {
        expect(over(`${line}\r\n\r\n${line.replace('\uFEFF', '')}\n\n`, { maxLineBytes: 10 })).toBeUndefined();
        expect(over(line, { maxLineBytes: 10 })).toBeUndefined();
        expect(over(`${line}x`, { maxLineBytes: 10 })).toBe('maxLineBytes');
        expect(over(`${line}x\n\n`, { maxLineBytes: 10 })).toBe('maxLineBytes');
      },
    );

    it('counts all lines of an event together', () => {
      const options = { maxEventBytes: 30 };
      expect(over('data: 345\ndata: 345\ndata: 3456\n\ndata: 345\ndata: 345\ndata: 3456\n\n', options)).toBeUndefined();
      expect(over('data: 345\ndata: 345\ndata: 34567\n\n', options)).toBe('maxEventBytes');
      expect(over('data: 345\r\ndata: 345\r\ndata: 34\r\n\r\n', options)).toBeUndefined();
      expect(over('data: 345\r\ndata: 345\r\ndata: 345', options)).toBe('maxEventBytes');
      expect(over('id: 45678\n: 2345678\nfoo: 6789\nx', options)).toBe('maxEventBytes');
      expect(over('data: 水水\nevent: 水\ndata: 水水\n\n', options)).toBe('maxEventBytes');
    });

    it('does not count comments between events', () => {
      expect(over(': still here\n'.repeat(100), { maxEventBytes: 20 })).toBeUndefined();
    });

    it('stops an endless line, comment and field', () => {
      for (const start of ['data: ', ': ', 'x', 'id: ', '']) {
        const parser = createSSEParser({ maxLineBytes: 100_000 });
        const chunk = new Uint8Array(1000).fill(0x61);
        parser.push(bytesOf(start), fail);
        expect(() => {
          for (let count = 0; count < 101; count++) parser.push(chunk, fail);
        }).toThrow(LimitError);
      }
    });

    it('stops endless short lines', () => {
      for (const line of ['data\n', 'data:\r', 'x\r\n', 'event: 水\n']) {
        const parser = createSSEParser({ maxEventBytes: 100_000 });
        const chunk = bytesOf(line.repeat(100));
        expect(() => {
          for (let count = 0; count < 1000; count++) parser.push(chunk, ignore);
        }).toThrow(LimitError);
      }
    });

    it('emits what came before, then refuses everything', () => {
      const parser = createSSEParser({ maxLineBytes: 8 });
      const seen: ServerSentEvent[] = [];
      const collect = (event: ServerSentEvent): void => {
        seen.push(event);
      };
      const chunk = bytesOf('data: a\n\ndata: much too long\n\ndata: b\n\n');
      expect(() => {
        parser.push(chunk, collect);
      }).toThrow(expect.objectContaining({ code: 'ERR_LIMIT', limit: 'maxLineBytes', max: 8 }));
      expect(seen).toHaveLength(1);
      expect(() => {
        parser.push(bytesOf('data: c\n\n'), collect);
      }).toThrow(LimitError);
      expect(seen).toHaveLength(1);
    });
  });

  describe('cost', () => {
    /** Counts the bytes that a reader searches and decodes. */
    const counting = (reader: ByteReader): { reader: ByteReader; work: () => number } => {
      let work = 0;
      const decodeASCII = reader.decodeASCII;
      return {
        work: () => work,
        reader: {
          decode: (bytes, from, to) => {
            work += to - from;
            return reader.decode(bytes, from, to);
          },
          ...(decodeASCII && {
            decodeASCII: (bytes: Uint8Array, from: number, to: number) => {
              work += to - from;
              return decodeASCII(bytes, from, to);
            },
          }),
          indexOf: (bytes, byte, from) => {
            const index = reader.indexOf(bytes, byte, from);
            work += (index === -1 ? bytes.length : index) - from;
            return index;
          },
          lastIndexOf: (bytes, byte) => {
            const index = reader.lastIndexOf(bytes, byte);
            work += bytes.length - index;
            return index;
          },
        },
      };
    };
    const mebibyte = 1_048_576;
    const shapes: readonly [string, string, number][] = [
      ['one long line', `data: ${'a'.repeat(8 * mebibyte)}\n\n`, 1],
      ['one long line beyond ASCII', `data: ${'水'.repeat(2 * mebibyte)}\n\n`, 1],
      ['a long comment', `:${'a'.repeat(4 * mebibyte)}\ndata: a\n\n`, 1],
      ['many tiny events', 'data: a\n\n'.repeat(200_000), 200_000],
      ['many tiny events under CR', 'data: a\r\r'.repeat(200_000), 200_000],
      ['many tiny events beyond ASCII', 'data: é\r\n\r\n'.repeat(200_000), 200_000],
      ['many data lines', `${'data: a\n'.repeat(400_000)}\n`, 1],
      ['many data lines under CR', `${'data: a\r'.repeat(400_000)}\r`, 1],
    ];
    it.each(shapes)('stays in proportion to the bytes of %s', (_name, text, events) => {
      const bytes = bytesOf(text);
      for (const size of [1024, 65_536, bytes.length]) {
        for (const [, base] of readers) {
          const { reader, work } = counting(base);
          const parser = createSSEParser({}, reader);
          let count = 0;
          for (const chunk of chunksOf(bytes, size)) {
            parser.push(chunk, (event) => {
              if (event.type === 'event') count++;
            });
          }
          expect(count).toBe(events);
          // Searched from both ends for both line ends, tried as ASCII, decoded.
          expect(work()).toBeLessThan(6 * bytes.length);
        }
      }
    });

    it('stays in proportion one byte at a time, and when limits force it to count', () => {
      const bytes = bytesOf('data: a\ndata: 水\n\n: b\r\n'.repeat(10_000));
      for (const [options, size] of [
        [{}, 1],
        [{ maxLineBytes: 20, maxEventBytes: 40 }, bytes.length],
      ] as const) {
        const { reader, work } = counting(byteReader);
        const parser = createSSEParser(options, reader);
        let count = 0;
        for (const chunk of chunksOf(bytes, size)) {
          parser.push(chunk, () => {
            count++;
          });
        }
        expect(count).toBe(20_000);
        expect(work()).toBeLessThan(12 * bytes.length);
      }
    });
  });

  it('reads a million events from one chunk', () => {
    const parser = createSSEParser();
    let count = 0;
    parser.push(bytesOf('data:a\n\n'.repeat(1_000_000)), () => {
      count++;
    });
    expect(count).toBe(1_000_000);
  });
});

describe('nativeReader', () => {
  it('exists in Node', () => {
    expect(nativeReader).toBeDefined();
  });

  it('agrees with the portable one on any bytes', () => {
    if (nativeReader === undefined) return;
    const native = nativeReader;
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      anyStream,
      fc.array(fc.integer({ min: 0x80, max: 0xff }), { maxLength: 12 }).map((list) => Uint8Array.from(list)),
    );
    fc.assert(
      fc.property(bytes, fc.nat(40), fc.nat(40), (all, a, b) => {
        const [from = 0, to = 0] = [a % (all.length + 1), b % (all.length + 1)].sort((x, y) => x - y);
        const text = portableReader.decode(all, from, to);
        expect(native.decode(all, from, to)).toBe(text);
        const ascii = all.subarray(from, to).every((byte) => byte < 0x80);
        expect(native.decodeASCII?.(all, from, to)).toBe(ascii ? text : undefined);
        for (const byte of [0x0a, 0x0d]) {
          expect(native.indexOf(all, byte, from)).toBe(portableReader.indexOf(all, byte, from));
          expect(native.lastIndexOf(all, byte)).toBe(portableReader.lastIndexOf(all, byte));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

function ignore(): void {
  // The test looks at something else.
}

function fail(): never {
  throw new Error('nothing should be emitted');
}

/** HTML 9.2.5 and 9.2.6 as they are written, with no thought for speed. */
function readByTheBook(bytes: Uint8Array): ServerSentEvent[] {
  const lines = new TextDecoder().decode(bytes).split(/\r\n|\n|\r/);
  lines.pop();
  const events: ServerSentEvent[] = [];
  let data = '';
  let type = '';
  let id = '';
  for (const line of lines) {
    if (line === '') {
      if (data !== '')
        events.push({ type: 'event', event: type === '' ? 'message' : type, data: data.slice(0, -1), id });
      data = '';
      type = '';
      continue;
    }
    const match = /^([^:]*)(?:: ?([^]*))?$/.exec(line);
    const value = match?.[2] ?? '';
    if (match?.[1] === 'data') data += `${value}\n`;
    if (match?.[1] === 'event') type = value;
    if (match?.[1] === 'id' && !value.includes('\0')) id = value;
  }
  return events;
}
