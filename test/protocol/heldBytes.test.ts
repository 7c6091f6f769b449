import { expect, it, vi } from 'vitest';
import { HeldBytes } from '../../src/protocol/heldBytes.js';

it('keeps what it is given, in order', () => {
  const held = new HeldBytes();
  const all: number[] = [];
  for (let size = 1; size < 900; size++) {
    const chunk = Uint8Array.from({ length: size + 2 }, (_, index) => (size * 7 + index) % 251);
    held.append(chunk, 1, size + 1);
    all.push(...chunk.subarray(1, size + 1));
    if (size === 30) expect([...held.join().subarray(0, held.length)]).toStrictEqual(all);
  }
  expect(held.length).toBeGreaterThan(4 * 65_536);
  expect(Buffer.compare(held.join().subarray(0, held.length), Uint8Array.from(all))).toBe(0);
  expect([...held.first.subarray(0, 3)]).toStrictEqual(all.slice(0, 3));
});

it('does not keep a chunk', () => {
  const held = new HeldBytes();
  const chunk = new Uint8Array(100).fill(1);
  held.append(chunk, 0, 100);
  chunk.fill(2);
  expect(held.join()[50]).toBe(1);
});

it('moves what it holds no more than three times, however finely it is cut', () => {
  const held = new HeldBytes();
  const chunk = new Uint8Array(16);
  const set = vi.spyOn(Uint8Array.prototype, 'set');
  for (let count = 0; count < 100_000; count++) held.append(chunk, 0, 16);
  held.join();
  const moved = set.mock.calls.reduce((sum, [bytes]) => sum + bytes.length, 0);
  set.mockRestore();
  expect(held.length).toBe(1_600_000);
  expect(moved).toBeLessThan(3 * held.length);
});

it('gives the memory of a long line back', () => {
  const held = new HeldBytes();
  held.append(new Uint8Array(1_000_000), 0, 1_000_000);
  held.clear();
  expect(held.length).toBe(0);
  expect(held.join().length).toBeLessThanOrEqual(65_536);
});
