import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SeenIds } from '../../src/providers/seenIds.js';

it('tells what comes again as a set would', () => {
  const number = fc.oneof(fc.nat(40), fc.nat(10_000)).map(String);
  const other = fc.oneof(
    fc.constantFrom('', 'a', '-1', '1.0', '01', '00', ' 1', '1e3', '9007199254740993', '123456789012345'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(number, number, other), { maxLength: 200 }), (ids) => {
      const seen = new SeenIds();
      const set = new Set<string>();
      for (const id of ids) {
        expect(seen.add(id)).toBe(!set.has(id));
        set.add(id);
      }
    }),
  );
});

it('tells a replay of 100,000 numbers that count up', () => {
  const seen = new SeenIds();
  const replayed = [1, 2].map(() => {
    let news = 0;
    for (let id = 1; id <= 100_000; id += 1) if (seen.add(String(id))) news += 1;
    return news;
  });
  expect(replayed).toStrictEqual([100_000, 0]);
});

it('remembers the newest of numbers with gaps, and of words', () => {
  for (const idOf of [(at: number) => String(2 * at), (at: number) => `id-${String(at)}`]) {
    const seen = new SeenIds();
    for (let at = 0; at < 50_000; at += 1) seen.add(idOf(at));
    for (let at = 49_999; at > 42_000; at -= 1) expect(seen.add(idOf(at))).toBe(false);
    expect(seen.add(idOf(0))).toBe(true);
  }
});
