import { describe, expect, it } from 'vitest';
import { type OutputSelection, selectOutput } from '../../src/internal/selectOutput.js';
import type { OutputPlace } from '../../src/types.js';

const places: Record<string, OutputPlace> = {
  a: { index: 0, name: 'output' },
  b: { index: 0, name: 'code' },
  c: { index: 1, name: 'output' },
  d: { index: 1, name: 'code' },
  o: { index: 2, name: 'output', alternative: true },
};

/** The places that pass, of those that come in this order. */
function passing(order: string, selection?: OutputSelection): string {
  const isSelected = selectOutput(selection);
  return [...order]
    .filter((key) => {
      const place = places[key];
      return place !== undefined && isSelected(place);
    })
    .join('');
}

describe('the selected output', () => {
  it.each<[string, string, OutputSelection | undefined, string]>([
    ['the first that comes', 'cabdca', undefined, 'cc'],
    ['the first that is no alternative', 'ocaoc', {}, 'cc'],
    ['the first of the index', 'cabda', { index: 0 }, 'aa'],
    ['the first of the name', 'cdbad', { name: 'code' }, 'dd'],
    ['the one of both', 'abcdb', { index: 0, name: 'code' }, 'bb'],
    ['an alternative, when its index is asked for', 'aoco', { index: 2 }, 'oo'],
    ['never an alternative by name alone', 'oo', { name: 'output' }, ''],
    ['none, where none fits', 'abcd', { index: 9 }, ''],
    ['none of another name', 'abcd', { name: 'voice' }, ''],
  ])('is %s', (_, order, selection, expected) => {
    expect(passing(order, selection)).toBe(expected);
  });

  it('is chosen afresh by each predicate', () => {
    expect(passing('ac')).toBe('a');
    expect(passing('ca')).toBe('c');
  });
});
