import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { endsInHalf, graphemeEnds, isPlain } from '../../src/internal/graphemes.js';

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

describe('graphemeEnds', () => {
  it('is where the characters of a text end, in texts longer than a window too', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('👨‍👩‍👧', '🇩🇪', '\r\n', 'e\u0301', 'x'.repeat(255)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const text = pieces.join('');
        const expected = [...segmenter.segment(text)].map(({ index, segment }) => index + segment.length);
        expect(graphemeEnds(text)).toEqual(expected);
      }),
    );
  });

  it('cuts a character that has no end, but no surrogate pair', () => {
    expect(graphemeEnds(`e${'\u0301'.repeat(600)}`)).toEqual([256, 512, 601]);
    // Marks outside the basic plane: two code units each, so that a window would end inside one.
    expect(graphemeEnds(`e${'\u{1e944}'.repeat(200)}`)).toEqual([255, 401]);
  });

  it('is empty for an empty text', () => {
    expect(graphemeEnds('')).toEqual([]);
  });
});

describe('isPlain', () => {
  it('is true only where each code unit is a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        if (isPlain(text)) expect(graphemeEnds(text)).toHaveLength(text.length);
      }),
    );
    expect([isPlain('plain text\n'), isPlain('a\r'), isPlain('é'), isPlain('')]).toEqual([true, false, false, true]);
  });
});

describe('endsInHalf', () => {
  it('is true for the first half of a surrogate pair at the end', () => {
    expect([endsInHalf('a\ud83d'), endsInHalf('😀'), endsInHalf('a'), endsInHalf('')]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});
