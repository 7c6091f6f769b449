import fc from 'fast-check';
import { expect, it } from 'vitest';
import { requireStoredText, requireStreamId } from '../../src/internal/streamId.js';

it('takes ids of 1 to 256 characters', () => {
  for (const id of ['a', ' ', 'x'.repeat(256), '\u{1F600}', '\u00a0\u200b', 'a:b/{c}']) {
    expect(() => {
      requireStreamId(id);
    }).not.toThrow();
  }
});

it.each([
  ['is empty', '', 'it is empty'],
  ['is too long', 'x'.repeat(257), 'it has 257'],
  ['holds NUL', 'a\0', 'it holds a control character'],
  ['holds a control character of Latin 1', 'a\x9f', 'it holds a control character'],
  ['holds half a surrogate pair', '\udc00', 'it holds half a surrogate pair'],
  ['is a number', 7, 'got number'],
  ['is not there', undefined, 'got undefined'],
])('refuses an id that %s', (_name, id, because) => {
  expect(() => {
    // JavaScript callers pass what the types exclude.
    requireStreamId(id as string);
  }).toThrow(new TypeError(`The id of a stream must be a string of 1 to 256 characters: ${because}`));
});

it('takes texts that come back from UTF-8 as they are, and no others', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units)),
      ),
      (text) => {
        const isKept = Buffer.from(text).toString() === text;
        const take = (): void => {
          requireStoredText('data', text);
        };
        if (isKept) expect(take).not.toThrow();
        else expect(take).toThrow(TypeError);
      },
    ),
  );
});

it('names a text that is none', () => {
  expect(() => {
    requireStoredText('data[1]', null as unknown as string);
  }).toThrow('data[1] must be a string, got object');
});
