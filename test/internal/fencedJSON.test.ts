import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { FencedJSON } from '../../src/internal/fencedJSON.js';

/** Every way to cut a text in two, and the one into single characters. */
function cuts(text: string): readonly (readonly string[])[] {
  return [[...text], ...Array.from({ length: text.length }, (_, at) => [text.slice(0, at), text.slice(at)])];
}

function read(pieces: readonly string[]): FencedJSON {
  const json = new FencedJSON(128);
  for (const piece of pieces) json.push(piece);
  return json;
}

describe('FencedJSON', () => {
  it.each([
    ['{"a":[1]}', { a: [1] }],
    ['\ufeff \r\n\t{"a":[1]} \r\n\t', { a: [1] }],
    ['```json\n{"a":1}\n```', { a: 1 }],
    ['\n ```JSON\r\n{"a":1}\r\n```\r\n\n', { a: 1 }],
    ['```\n[1]\n```', [1]],
    ['``` json\n[1]```', [1]],
    ['```json{"a":"b"}```', { a: 'b' }],
    ['```json\n{"a":"```js\\n`b```\\"`"}\n```', { a: '```js\n`b```"`' }],
    ['```\n{"`":"`"}```', { '`': '`' }],
    ['{"a":"```"}', { a: '```' }],
    ['```12```', 12],
    ['```json\n-1.5e3\n```', -1500],
    ['```"`"```', '`'],
    ['```json\n{"a":1}\n', { a: 1 }],
    ['```json\n{"a":1}\n``', { a: 1 }],
    ['7', 7],
    ['null', null],
  ])('reads %j however it is cut', (text, value) => {
    for (const pieces of cuts(text)) {
      const json = read(pieces);
      expect(json.end(false)).toBe(true);
      expect(json.parse()).toStrictEqual(value);
    }
  });

  it.each([
    ...['Here it is: {}', '{} Done.', '`{}`', '``{}``', '````json\n{}\n````', '```yaml\n{}\n```', '```jsonc\n{}\n```'],
    ...[
      '```json\n{}\n``` Done.',
      '```json\n{}\n````',
      '```json\n{}\n```\n```',
      '```{}{}```',
      '{}\n```',
      '~~~\n{}\n~~~',
    ],
    ...[
      '```json\n{"a":\n```',
      '```json\n```',
      '```json\n[1\n```',
      '```json\n-```',
      '```json\n{}\n`x',
      '```json\n{} x```',
    ],
  ])('refuses %j however it is cut, and does not quote it', (text) => {
    for (const pieces of cuts(text)) {
      let thrown: unknown;
      try {
        read(pieces);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(ProtocolError);
      expect((thrown as Error).message).not.toMatch(/["`{}]|Done|Here|yaml/);
      expect((thrown as Error).cause).toBeUndefined();
    }
  });

  it.each(['', ' \n', '`', '```', '```js', '```json\n', '{"a":1', '```json\n{"a":"b```', '```json\n"', '-', '1.'])(
    'holds %j for cut',
    (text) => {
      for (const pieces of cuts(text)) expect(read(pieces).end(false)).toBe(false);
    },
  );

  it('holds a number for cut where its text was ended by force, unless its end is seen', () => {
    expect(read(['12']).end(true)).toBe(false);
    expect(read(['12 ']).end(true)).toBe(true);
    expect(read(['[12]']).end(true)).toBe(true);
  });
});
