import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TextPiece, ToldText } from '../../src/providers/responsesText.js';

function told(...pieces: readonly string[]): ToldText {
  const text = new ToldText();
  for (const piece of pieces) text.append(new TextPiece(piece));
  return text;
}

const words = fc.array(fc.string({ unit: fc.constantFrom('a', ' ', '\n', '水', '😀', '\ud83d') }));

describe('a text told in pieces', () => {
  it('knows what of the whole is new, however it was cut', () => {
    fc.assert(
      fc.property(words, fc.string(), (pieces, rest) => {
        const whole = pieces.join('') + rest;
        expect(told(...pieces).missingFrom(whole)).toBe(whole === '' ? '' : rest);
      }),
    );
  });

  it('is the same as a whole that was trimmed at its end, and as none', () => {
    fc.assert(
      fc.property(words, (pieces) => {
        const text = told(...pieces);
        const whole = pieces.join('');
        for (let end = whole.trimEnd().length; end <= whole.length; end += 1) {
          expect(text.missingFrom(whole.slice(0, end))).toBe('');
        }
        expect(text.missingFrom('')).toBe('');
      }),
    );
  });

  it('is another text than one that differs or lacks more than white space', () => {
    expect(told('The ', 'mill').missingFrom('The wheel turns')).toBeUndefined();
    expect(told('The ', 'mill').missingFrom('The mil')).toBeUndefined();
    expect(told('The mill ').missingFrom('The rill')).toBeUndefined();
    expect(told('The mill  ').missingFrom('The mill\n')).toBe('');
    expect(told('ab').missingFrom('ba')).toBeUndefined();
  });

  it('counts its characters', () => {
    expect(told('a', '😀').chars).toBe(3);
  });
});
