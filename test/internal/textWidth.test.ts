import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable, rowsOf, truncateStart, truncateText, widthOf, wrapText } from '../../src/internal/textWidth.js';

describe('the width of text on a terminal', () => {
  it.each([
    ['plain', 5],
    ['Žižkov', 6],
    ['e\u0301', 1],
    ['谢谢', 4],
    ['⛵', 2],
    ['✏️', 2],
    ['👩‍🚀', 2],
    ['🇩🇪', 2],
    ['1️⃣', 2],
    ['\u200b', 0],
    ['ｶﾞ', 2],
    ['का', 2],
    ['', 0],
  ])('counts columns: %s', (text, width) => {
    expect(widthOf(text)).toBe(width);
  });

  it('is the same for characters that are measured quickly and for those that are looked at closely', () => {
    const units = Array.from({ length: 0x1_0000 }, (_, unit) => String.fromCharCode(unit));
    const assigned = units.filter((character) => /^[\p{L}\p{N}\p{P}\p{S}\p{Zs}]$/u.test(character));
    // A mark behind it has no width, and brings the close look.
    const wrong = assigned.filter((character) => widthOf(character) !== widthOf(`${character}\u0301`));
    expect(assigned.length).toBeGreaterThan(50_000);
    expect(wrong).toEqual([]);
  });

  it('takes text apart as it is perceived, whatever stands beside what', () => {
    const parts = [
      'a',
      ' ',
      'é',
      'e\u0301',
      '磨',
      '한',
      '\u1100',
      '\u1161',
      '👩‍🚀',
      '👩',
      '\u200d',
      '©',
      '‼',
      '🇩',
      '🇪',
      '\ufe0f',
    ];
    const some = fc.array(
      fc.oneof(fc.constantFrom(...parts, '\u0600', 'ｶ', 'ﾞ', '\n'), fc.string({ unit: 'grapheme', maxLength: 2 })),
    );
    const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
    fc.assert(
      fc.property(some, (pieces) => {
        const text = pieces.join('');
        const widths = [...segmenter.segment(text)].map(({ segment }) => widthOf(segment));
        expect(widthOf(text)).toBe(widths.reduce((sum, width) => sum + width, 0));
      }),
    );
  });

  it('wraps between words, and inside one that is too long', () => {
    expect(wrapText('one two three', 8)).toEqual(['one two', 'three']);
    expect(wrapText('abcdefghij kl', 4)).toEqual(['abcd', 'efgh', 'ij', 'kl']);
    expect(wrapText('谢谢谢谢', 5)).toEqual(['谢谢', '谢谢']);
    expect(wrapText('a\n\nb', 5)).toEqual(['a', '', 'b']);
  });

  it('never makes a line wider than asked, and loses no letter', () => {
    const text =
      'First we let the cuckoo out ✏️, and it said, in its way, 谢谢: a-very-long-word-without-any-space-at-all.';
    for (let columns = 2; columns < 60; columns += 1) {
      const lines = wrapText(text, columns);
      expect(Math.max(...lines.map(widthOf))).toBeLessThanOrEqual(columns);
      expect(lines.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
    }
  });

  it('cuts what does not fit', () => {
    expect(truncateText('a chat that thinks', 8)).toBe('a chat…');
    expect(truncateText('short', 8)).toBe('short');
    expect(truncateText('short', 0)).toBe('');
    expect(truncateText('short', 1)).toBe('…');
    expect(truncateText('谢谢谢', 2)).toBe('…');
    expect(truncateText('谢谢谢', 5)).toBe('谢谢…');
  });

  it('cuts the beginning off what does not fit', () => {
    expect(truncateStart('a chat that thinks', 8)).toBe('… thinks');
    expect(truncateStart('short', 8)).toBe('short');
    expect(truncateStart('short', 0)).toBe('');
    expect(truncateStart('short', 1)).toBe('…');
    expect(truncateStart('谢谢谢', 4)).toBe('…谢');
  });

  it('cuts between characters only, to the last column that there is', () => {
    const character = fc.constantFrom('a', ' ', '磨', '👩‍🚀', 'e\u0301', '🇩🇪', 'ｶﾞ');
    fc.assert(
      fc.property(fc.array(character, { maxLength: 300 }), fc.nat(50), (characters, columns) => {
        const text = characters.join('');
        const end = truncateStart(text, columns);
        expect(widthOf(end)).toBeLessThanOrEqual(columns);
        expect(text.endsWith(end.replace(/^…/, ''))).toBe(true);
        if (end !== text && columns > 0) expect(widthOf(end)).toBeGreaterThanOrEqual(columns - 1);
        expect(widthOf(truncateText(text, columns))).toBeLessThanOrEqual(columns);
      }),
    );
  });

  it('knows how many rows a terminal breaks a line into', () => {
    expect([rowsOf('', 10), rowsOf('x'.repeat(10), 10), rowsOf('x'.repeat(11), 10)]).toEqual([1, 1, 2]);
    expect([rowsOf('谢谢谢', 6), rowsOf('谢谢谢', 5), rowsOf('谢谢谢', 3)]).toEqual([1, 2, 3]);
  });

  it('takes out what would move the cursor', () => {
    expect(printable('a\u001b[2J\rb\u009bc\n\td\u0007')).toBe('a[2Jbc\n\td');
  });
});
