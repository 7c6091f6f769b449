import { describe, expect, it } from 'vitest';
import { MAX_HELD_CHARS, StreamedText } from '../../src/providers/streamedText.js';

function streamed(...pieces: readonly string[]): StreamedText {
  const text = new StreamedText();
  for (const piece of pieces) text.append(piece);
  return text;
}

describe('missingFrom', () => {
  it.each([
    ['Hel', 'Hello', 'lo'],
    ['', 'Hello', 'Hello'],
    ['Hello', 'Hello', ''],
    ['Hello \n', 'Hello', ''],
    ['Hello', 'Hel', undefined],
    ['Hello', 'Help!!', undefined],
    ['Hello', '', undefined],
  ])('tells what of %j and %j is new: %j', (before, whole, missing) => {
    expect(streamed(...before).missingFrom(whole)).toBe(missing);
  });

  it('compares the first 1 Mi characters and the length', () => {
    const long = 'a'.repeat(MAX_HELD_CHARS);
    expect(streamed(long, 'bc').missingFrom(`${long}bcd`)).toBe('d');
    expect(streamed(long, 'bc').missingFrom(`${long}b`)).toBeUndefined();
    expect(streamed(long, 'bc').missingFrom(`b${long}cd`)).toBeUndefined();
  });
});

it('includes what it began with', () => {
  expect(streamed('Hello').includes('Hel')).toBe(true);
  expect(streamed('Hello').includes('Help')).toBe(false);
  expect(streamed('Hello').includes('Hello!')).toBe(false);
});

it('holds 1 Mi characters, and says so past them', () => {
  const long = 'a'.repeat(MAX_HELD_CHARS);
  expect(streamed(long).text).toBe(long);
  const longer = streamed(long, 'b');
  expect(longer.text).toBeUndefined();
  expect(longer.chars).toBe(MAX_HELD_CHARS + 1);
  longer.replace('c');
  expect([longer.text, longer.chars]).toEqual(['c', 1]);
});
