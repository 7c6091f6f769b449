import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LimitError } from '../../src/errors.js';
import { type ByteReader, byteReader, portableReader } from '../../src/protocol/byteReader.js';
import { createNDJSONParser, type NDJSONParserOptions } from '../../src/protocol/ndjsonParser.js';
import type { NDJSONLine } from '../../src/types.js';
import { bytesOf, chunksOf, cutAt } from '../support/chunks.js';

/** `[number, data]` of every line, and `over` when the limit was passed. */
type Result = (readonly [number, string] | 'over')[];

function parse(
  chunks: readonly Uint8Array[],
  options: NDJSONParserOptions = {},
  reader: ByteReader = byteReader,
): Result {
  const parser = createNDJSONParser(options, reader);
  const result: Result = [];
  const collect = ({ type, number, data }: NDJSONLine): void => {
    expect(type).toBe('line');
    result.push([number, data]);
  };
  try {
    for (const chunk of chunks) parser.push(chunk, collect);
    parser.end(collect);
    expect(parser.unfinished).toBe(false);
  } catch (error) {
    if (!(error instanceof LimitError)) throw error;
    result.push('over');
  }
  return result;
}

describe.each([
  ['platform', byteReader],
  ['portable', portableReader],
] as const)('createNDJSONParser with the %s reader', (_name, reader) => {
  it.each<[string, string, Result]>([
    ['nothing', '', []],
    ['a mark and nothing else', '\xef\xbb\xbf', []],
    ['a mark, then a line', '\xef\xbb\xbf{"a":1}\n', [[1, '{"a":1}']]],
    [
      'a mark on a later line',
      '1\n\xef\xbb\xbf2\n',
      [
        [1, '1'],
        [2, '\uFEFF2'],
      ],
    ],
    [
      'LF',
      '{"a":1}\n{"a":2}\n',
      [
        [1, '{"a":1}'],
        [2, '{"a":2}'],
      ],
    ],
    [
      'CRLF',
      '{"a":1}\r\n{"a":2}\r\n',
      [
        [1, '{"a":1}'],
        [2, '{"a":2}'],
      ],
    ],
    ['a lone CR, which is white space', '{"a":\r1}\r\r\n', [[1, '{"a":\r1}\r']]],
    [
      'a last line without a line end',
      '1\n2',
      [
        [1, '1'],
        [2, '2'],
      ],
    ],
    [
      'a last line with half a line end',
      '1\r\n2\r',
      [
        [1, '1'],
        [2, '2'],
      ],
    ],
    [
      'a last line that is cut',
      '1\n{"a',
      [
        [1, '1'],
        [2, '{"a'],
      ],
    ],
    [
      'empty and white lines, which count',
      '\n1\n\r\n \t\r\n\n2\n  \n',
      [
        [2, '1'],
        [6, '2'],
      ],
    ],
    ['a white last line', '1\n \t', [[1, '1']]],
    ['spaces around JSON', '  {"a":1}  \n', [[1, '  {"a":1}  ']]],
    [
      'characters beyond ASCII',
      '"\xe6\xb0\xb4"\n"a"\n"\xf0\x9f\x98\x80"',
      [
        [1, '"水"'],
        [2, '"a"'],
        [3, '"😀"'],
      ],
    ],
    [
      'bytes that are no UTF-8',
      '"\xff\xe6\xb0"\n"\xc3\n"',
      [
        [1, '"\uFFFD\uFFFD"'],
        [2, '"\uFFFD'],
        [3, '"'],
      ],
    ],
    [
      'NUL and names that an object has anyway',
      '\0\n{"__proto__":1}\n',
      [
        [1, '\0'],
        [2, '{"__proto__":1}'],
      ],
    ],
  ])('reads %s, however it is cut', (_title, input, expected) => {
    const bytes = Uint8Array.from(input, (character) => character.charCodeAt(0));
    expect(parse([bytes], {}, reader)).toStrictEqual(expected);
    expect(parse(chunksOf(bytes, 1), {}, reader)).toStrictEqual(expected);
    for (let offset = 0; offset <= bytes.length; offset++) {
      expect(parse(cutAt(bytes, [offset]), {}, reader)).toStrictEqual(expected);
    }
  });
});

describe('createNDJSONParser', () => {
  it('gives the same for random bytes however they are cut, the limit included', () => {
    const body = fc
      .array(
        fc.oneof(
          fc.constantFrom('{"a":1}', '\n', '\r\n', '\r', ' ', '水', '\uFEFF').map(bytesOf),
          fc.uint8Array({ maxLength: 4 }),
        ),
        { maxLength: 30 },
      )
      .map((parts) => Uint8Array.from(parts.flatMap((part) => [...part])));
    fc.assert(
      fc.property(body, fc.array(fc.nat(200)), fc.option(fc.integer({ min: 1, max: 20 })), (bytes, cuts, limit) => {
        const options = { maxLineBytes: limit ?? undefined };
        const whole = parse([bytes], options);
        const offsets = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
        expect(parse(cutAt(bytes, offsets), options)).toStrictEqual(whole);
        expect(parse(chunksOf(bytes, 1), options)).toStrictEqual(whole);
        expect(parse(cutAt(bytes, offsets), options, portableReader)).toStrictEqual(whole);
        if (limit !== null) return;
        const lines = new TextDecoder().decode(bytes).split('\n');
        expect(whole).toStrictEqual(
          lines.flatMap((line, index) => (/^[ \t\r]*$/.test(line) ? [] : [[index + 1, line.replace(/\r$/, '')]])),
        );
      }),
      { numRuns: 1000 },
    );
  });

  it('counts a line as it grows', () => {
    expect(parse([bytesOf('1234567\r\n12345678\n1')], { maxLineBytes: 8 })).toHaveLength(3);
    expect(parse([bytesOf('1\n123456789')], { maxLineBytes: 8 })).toStrictEqual([[1, '1'], 'over']);
    expect(parse([bytesOf('1\n123456789\n2\n')], { maxLineBytes: 8 })).toStrictEqual([[1, '1'], 'over']);
  });

  it('refuses everything after the limit', () => {
    const parser = createNDJSONParser({ maxLineBytes: 2 });
    const collect = (): never => {
      throw new Error('nothing should be emitted');
    };
    const limit: unknown = expect.objectContaining({ code: 'ERR_LIMIT', limit: 'maxLineBytes', max: 2 });
    expect(() => {
      parser.push(bytesOf('123'), collect);
    }).toThrow(limit);
    expect(() => {
      parser.push(bytesOf('\n'), collect);
    }).toThrow(limit);
    parser.end(collect);
  });

  it('emits nothing after stop, not even at the end', () => {
    const parser = createNDJSONParser();
    const seen: string[] = [];
    const collect = (line: NDJSONLine): void => {
      seen.push(line.data);
      parser.stop();
    };
    parser.push(bytesOf('1\n2\n3'), collect);
    parser.push(bytesOf('4'), collect);
    parser.end(collect);
    expect(seen).toStrictEqual(['1']);
  });

  it('goes on after an emission that threw', () => {
    const parser = createNDJSONParser();
    const seen: string[] = [];
    const chunk = bytesOf('1\n2\n3');
    expect(() => {
      parser.push(chunk, (line) => {
        seen.push(line.data);
        throw new Error('the reader failed');
      });
    }).toThrow('the reader failed');
    chunk.fill(0);
    parser.end((line) => {
      seen.push(line.data);
    });
    expect(seen).toStrictEqual(['1', '2', '3']);
  });

  it('takes what is pushed from inside an emission after the chunk in hand', () => {
    const parser = createNDJSONParser();
    const seen: string[] = [];
    const collect = (line: NDJSONLine): void => {
      seen.push(line.data);
      if (line.data !== '1') return;
      parser.push(bytesOf('4'), collect);
      parser.end(collect);
    };
    parser.push(bytesOf('1\n2\n3'), collect);
    expect(seen).toStrictEqual(['1', '2', '34']);
    expect(() => {
      parser.push(bytesOf('5\n'), collect);
    }).toThrow('ended');
  });

  it('reads a long line in small chunks, and many lines in one', () => {
    const long = `"${'a'.repeat(8_388_608)}"`;
    expect(parse(chunksOf(bytesOf(long), 1024))).toStrictEqual([[1, long]]);
    expect(parse([bytesOf('1\n'.repeat(200_000))])).toHaveLength(200_000);
  });

  it.each([0, -1, Number.NaN])('refuses a limit of %s', (maxLineBytes) => {
    expect(() => createNDJSONParser({ maxLineBytes })).toThrow(RangeError);
  });
});
