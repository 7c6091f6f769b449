import { expect, it } from 'vitest';
import { ChangedExtras } from '../../src/providers/changedExtras.js';

it('tells what is new or differs, without what is known or blank', () => {
  const extras = new ChangedExtras(new Set(['known']));
  expect(extras.of({ known: 1, a: 1, b: [1], blank: null, none: [] })).toStrictEqual({ a: 1, b: [1] });
  expect(extras.of({ a: 1, b: [2] })).toStrictEqual({ b: [2] });
  expect(extras.of({ a: 1, b: [2] })).toBeUndefined();
  expect(extras.of({ a: 2 })).toStrictEqual({ a: 2 });
});

it('tells increments each time', () => {
  const extras = new ChangedExtras(new Set(), new Set(['each']));
  expect(extras.of({ each: 1 })).toStrictEqual({ each: 1 });
  expect(extras.of({ each: 1 })).toStrictEqual({ each: 1 });
});

it('takes any key as a key', () => {
  const told = new ChangedExtras(new Set()).of(JSON.parse('{"__proto__":{"a":1}}') as object);
  expect(JSON.stringify(told)).toBe('{"__proto__":{"a":1}}');
});

it('remembers 64 keys and values of 262,144 characters, and tells what is beyond each time', () => {
  const extras = new ChangedExtras(new Set());
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`key${String(at)}`, 1]));
  extras.of(many);
  expect(extras.of(many)).toStrictEqual({ key64: 1 });
  const big = new ChangedExtras(new Set());
  const longest = { a: 'x'.repeat(262_142) }; // and two quotes
  big.of(longest);
  expect(big.of(longest)).toBeUndefined();
  const longer = { a: `${longest.a}x` };
  big.of(longer);
  expect(big.of(longer)).toStrictEqual(longer);
});
