import { describe, expect, it } from 'vitest';
import { LineGatherer } from '../../src/cli/lineGatherer.js';
import { printable, truncateText, widthOf, wrapText } from '../../src/cli/textWidth.js';

describe('the width of text on a terminal', () => {
  it.each([
    ['plain', 5],
    ['Žižkov', 6],
    ['e\u0301', 1],
    ['谢谢', 4],
    ['⛵', 2],
    ['✏️', 2],
    ['👩‍🚀', 2],
    ['', 0],
  ])('counts columns: %s', (text, width) => {
    expect(widthOf(text)).toBe(width);
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
  });

  it('takes out what would move the cursor', () => {
    expect(printable('a\u001b[2J\rb\u009bc\n\td\u0007')).toBe('a[2Jbc\n\td');
  });
});

describe('LineGatherer', () => {
  const gather = (pieces: readonly string[]): string[] => {
    const gatherer = new LineGatherer();
    return [...pieces.flatMap((piece) => gatherer.push(piece)), ...gatherer.flush()];
  };

  it('gives a sentence as soon as it is known to be over', () => {
    const gatherer = new LineGatherer();
    expect(gatherer.push('The robot was given a brush.')).toEqual([]);
    expect(gatherer.push(' It')).toEqual(['The robot was given a brush.']);
    expect(gatherer.flush()).toEqual(['It']);
    expect(gatherer.flush()).toEqual([]);
  });

  it('gives the same lines however the text is cut', () => {
    const text =
      'Mr. X came. He said: "I seem to have been somewhere," and left without any further word, which nobody minded at all.\n\nThen it rained. 4.20 m of it!';
    const whole = gather([text]);
    expect(whole.join(' ').replace(/\s+/g, ' ')).toBe(text.replace(/\s+/g, ' '));
    expect(gather(text.split(/(?=.)/su))).toEqual(whole);
    expect(Math.max(...whole.map((line) => line.length))).toBeLessThanOrEqual(88);
  });

  it('breaks what has no spaces', () => {
    expect(gather(['x'.repeat(200)]).map((line) => line.length)).toEqual([88, 88, 24]);
  });
});
