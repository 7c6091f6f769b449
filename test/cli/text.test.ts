import { describe, expect, it } from 'vitest';
import { LineGatherer } from '../../src/cli/lineGatherer.js';

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
