import { expect, it } from 'vitest';
import { HeldBytes } from '../../src/protocol/heldBytes.js';

it('keeps what it is given, in order', () => {
  const held = new HeldBytes();
  const all: number[] = [];
  for (let size = 1; size < 40; size++) {
    const chunk = Uint8Array.from({ length: size + 2 }, (_, index) => (size * 7 + index) % 256);
    held.append(chunk, 1, size + 1);
    all.push(...chunk.subarray(1, size + 1));
  }
  expect([...held.bytes.subarray(0, held.length)]).toStrictEqual(all);
});

it('does not keep a chunk', () => {
  const held = new HeldBytes();
  const chunk = new Uint8Array(100).fill(1);
  held.append(chunk, 0, 100);
  chunk.fill(2);
  expect(held.bytes[50]).toBe(1);
});

it('moves what it holds a number of times that grows with the logarithm of its length', () => {
  const held = new HeldBytes();
  const chunk = new Uint8Array(16);
  let moved = 0;
  for (let count = 0; count < 100_000; count++) {
    const { bytes, length } = held;
    held.append(chunk, 0, 16);
    if (held.bytes !== bytes) moved += length;
  }
  expect(held.length).toBe(1_600_000);
  expect(moved).toBeLessThan(2 * held.length);
});

it('gives the memory of a long line back', () => {
  const held = new HeldBytes();
  held.append(new Uint8Array(1_000_000), 0, 1_000_000);
  held.clear();
  expect(held.length).toBe(0);
  expect(held.bytes.length).toBeLessThanOrEqual(65_536);
});
