import { expect, it } from 'vitest';
import { counted, duration, grouped } from '../../../../src/internal/node/terminal/measures.js';

it.each([
  [-5, '0.00 s'],
  [0, '0.00 s'],
  [310, '0.31 s'],
  [994, '0.99 s'],
  [996, '1.0 s'],
  [8_149, '8.1 s'],
  [9_940, '9.9 s'],
  [9_960, '10 s'],
  [59_400, '59 s'],
  [59_600, '1 min 00 s'],
  [184_000, '3 min 04 s'],
  [3_599_900, '1 h 00 min'],
  [7_500_000, '2 h 05 min'],
])('%d ms are %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});

it.each([
  [0, '0'],
  [999, '999'],
  [1_204, '1,204'],
  [1_234_567.4, '1,234,567'],
])('%d is grouped: %s', (value, text) => {
  expect(grouped(value)).toBe(text);
});

it('knows one from many', () => {
  expect([counted(0, 'char'), counted(1, 'char'), counted(1_204, 'token')]).toEqual([
    '0 chars',
    '1 char',
    '1,204 tokens',
  ]);
});
