import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeLastEventId } from '../../src/internal/lastEventId.js';
import { readHeaders } from '../../src/internal/readRequest.js';

describe('encodeLastEventId', () => {
  it.each([
    ['', ''],
    ['42', '42'],
    ['a b\tc', 'a b\tc'],
    ['e5p3n<3k0k0s', 'e5p3n<3k0k0s'],
    ['…', '\u00e2\u0080\u00a6'],
    ['é', '\u00c3\u00a9'],
    ['😀', '\u00f0\u009f\u0098\u0080'],
    ['\u00a0', '\u00c2\u00a0'],
    ['à', '\u00c3\u00a0'],
  ])('gives %j as the UTF-8 bytes %j', (id, header) => {
    expect(encodeLastEventId(id)).toBe(header);
  });

  it.each([' ', '\t', ' a', 'a ', '\ta', 'a\t', 'a\0b', 'a\rb', 'a\nb', 'a\u0001', '\u007f', '\ud800', 'a\udc00b'])(
    'refuses %j',
    (id) => {
      expect(encodeLastEventId(id)).toBeUndefined();
    },
  );

  it('takes an id of any length', () => {
    const id = '…'.repeat(200_000);
    expect(encodeLastEventId(id)).toHaveLength(600_000);
  });

  it('gives what a header takes and a server can read back, or nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (id) => {
        const header = encodeLastEventId(id);
        if (header === undefined) return;
        expect(readHeaders({ 'last-event-id': header })).toEqual({ 'last-event-id': header });
        expect(Buffer.from(header, 'latin1').toString('utf8')).toBe(id);
      }),
    );
  });
});
