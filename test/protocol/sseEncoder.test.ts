import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type EncodableSSE, encodeSSE } from '../../src/protocol/sseEncoder.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import type { ServerSentEvent } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';

function decode(stream: string): ServerSentEvent[] {
  const parser = createSSEParser();
  const events: ServerSentEvent[] = [];
  parser.push(bytesOf(stream), (event) => {
    events.push(event);
  });
  expect(parser.unfinished).toBe(false);
  return events;
}

const text = fc.string({ unit: fc.constantFrom('a', ' ', ':', '\r', '\n', 'é', '水', '😀', '\0', '\uFEFF', 'data: ') });
const singleLine = text.map((value) => value.replace(/[\r\n\0]/g, ''));

it('writes what the parser reads back', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ event: singleLine, data: text, id: singleLine })), (events) => {
      expect(decode(events.map((event) => encodeSSE(event)).join(''))).toStrictEqual(
        events.map(({ event, data, id }) => ({
          type: 'event',
          event: event === '' ? 'message' : event,
          data: data.replace(/\r\n?/g, '\n'),
          id,
        })),
      );
    }),
  );
});

it('writes comments and reconnection times that the parser reads back', () => {
  fc.assert(
    fc.property(text, fc.nat({ max: 2_147_483_647 }), (value, retryMs) => {
      const comment = value.replace(/[\r\n]/g, '');
      expect(decode(encodeSSE({ comment }) + encodeSSE({ retryMs }))).toStrictEqual([
        { type: 'comment', comment },
        { type: 'retry', retryMs },
      ]);
    }),
  );
});

it.each<[EncodableSSE, string]>([
  [{ data: 'a' }, 'data: a\n\n'],
  [{ data: '' }, 'data: \n\n'],
  [{ data: 'a\r\nb\rc\nd\n\re' }, 'data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n\n'],
  [{ event: 'e', data: ' a', id: '7' }, 'event: e\nid: 7\ndata:  a\n\n'],
  [{ event: '', data: 'a', id: '' }, 'id: \ndata: a\n\n'],
  [{ event: undefined, data: 'a', id: undefined }, 'data: a\n\n'],
  [{ comment: '' }, ': \n\n'],
  [{ retryMs: 0 }, 'retry: 0\n\n'],
])('writes %j', (event, expected) => {
  expect(encodeSSE(event)).toBe(expected);
});

it.each(['\r', '\n', '\0', '\r\n'])('refuses %j where it would forge a field', (character) => {
  expect(() => encodeSSE({ event: `a${character}b`, data: '' })).toThrow(/^event must not hold/);
  expect(() => encodeSSE({ event: `a${character}b`, data: '' })).toThrow(TypeError);
  expect(() => encodeSSE({ data: '', id: `a${character}b` })).toThrow(/^id must not hold/);
});

it.each(['\r', '\n'])('refuses a comment with %j', (character) => {
  expect(() => encodeSSE({ comment: `a${character}data: b` })).toThrow(TypeError);
});

it.each([-1, 1.5, Number.NaN, Infinity, 2 ** 60])('refuses a retry of %s', (retryMs) => {
  expect(() => encodeSSE({ retryMs })).toThrow(RangeError);
});
