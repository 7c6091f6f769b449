import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeliveredText, type TextComparison } from '../../src/protocol/deliveredText.js';

const BLOCK = 16_384;
const KEPT = 65_536;

/** Pieces of at most `size` characters, whose lengths are drawn again and again. */
function cut(text: string, sizes: readonly number[]): string[] {
  const pieces: string[] = [];
  let at = 0;
  for (let i = 0; at < text.length; i += 1) {
    const size = sizes[i % sizes.length] ?? text.length;
    pieces.push(text.slice(at, at + size));
    at += size;
  }
  return pieces;
}

function delivered(pieces: readonly string[]): DeliveredText {
  const text = new DeliveredText();
  for (const piece of pieces) text.add(piece);
  return text;
}

/** What the comparison lets pass; ends at the first piece by which the text is another one. */
function pass(comparison: TextComparison, pieces: readonly string[]): { readonly news: string; readonly at?: number } {
  let news = '';
  let at = 0;
  for (const piece of pieces) {
    const rest = comparison.push(piece);
    at += piece.length;
    if (rest === undefined) return { news, at };
    news += rest;
  }
  return { news };
}

/** Text without a period that could hide a shift, half of it outside of ASCII. */
function noise(chars: number, seed: number): string {
  let state = seed | 1;
  const units = Array.from({ length: chars }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    return (state >>> 8) & 1 ? 0x61 + ((state >>> 9) % 26) : 0x0400 + ((state >>> 9) % 256);
  });
  let text = '';
  for (let i = 0; i < chars; i += 1_000) text += String.fromCharCode(...units.slice(i, i + 1_000));
  return text;
}

const sizes = (max: number) => fc.array(fc.integer({ min: 1, max }), { minLength: 1, maxLength: 8 });
const longSizes = sizes(3 * BLOCK);
const long = fc.record({ chars: fc.integer({ min: 200_000, max: 260_000 }), seed: fc.integer() });
const few = { numRuns: 30 };

describe('a text told again', () => {
  it('has new what follows what was delivered, however both were cut', () => {
    const text = fc.string({ unit: 'binary', maxLength: 60 });
    fc.assert(
      fc.property(text, text, sizes(9), sizes(9), (old, more, first, second) => {
        const comparison = delivered(cut(old, first)).compare();
        expect(pass(comparison, cut(old + more, second))).toEqual({ news: more });
        expect(comparison).toMatchObject({ isThrough: true, awaited: '' });
      }),
    );
  });

  it('has new what follows also where most of it is known by hashes alone', () => {
    fc.assert(
      fc.property(long, fc.string(), longSizes, longSizes, ({ chars, seed }, more, first, second) => {
        const old = noise(chars, seed);
        expect(pass(delivered(cut(old, first)).compare(), cut(old + more, second))).toEqual({ news: more });
        expect(delivered(cut(old, first)).missingFrom(old + more)).toBe(more);
      }),
      few,
    );
  });

  it.each([KEPT + BLOCK - 1, KEPT + BLOCK, KEPT + BLOCK + 1, KEPT + 2 * BLOCK])(
    'is compared to its last character where it has %i of them',
    (chars) => {
      const old = noise(chars, chars);
      for (const size of [BLOCK - 1, BLOCK, BLOCK + 1, chars]) {
        expect(pass(delivered([old]).compare(), cut(`${old}!`, [size]))).toEqual({ news: '!' });
        expect(pass(delivered([old]).compare(), cut(`${old.slice(0, -1)}!?`, [size])).news).toBe('');
      }
    },
  );

  it('is another text after one changed character, noticed by the end of its block, and lets nothing pass', () => {
    fc.assert(
      fc.property(long, fc.nat(), fc.boolean(), longSizes, ({ chars, seed }, place, isLate, cuts) => {
        const old = noise(chars, seed);
        // In a part of which hashes are kept, and in the end, which is kept itself.
        const at = isLate ? chars - 1 - (place % KEPT) : place % (chars - KEPT - BLOCK);
        const other = `${old.slice(0, at)}\u0000${old.slice(at + 1)} and more`;
        const pieces = cut(other, cuts);
        const { news, at: noticed } = pass(delivered([old]).compare(), pieces);
        expect(news).toBe('');
        const isHashed = at < chars - KEPT - BLOCK;
        const latest = isHashed ? Math.ceil((at + 1) / BLOCK) * BLOCK : at + 1;
        // The piece in which that place lies is the one.
        let end = 0;
        const expected = pieces.map((piece) => (end += piece.length)).find((each) => each >= latest);
        expect(noticed).toBeLessThanOrEqual(expected ?? Infinity);
      }),
      few,
    );
  });

  it('stays another text once it is', () => {
    const comparison = delivered(['Lyon']).compare();
    expect(['L', 'i', 'yon', ' more'].map((piece) => comparison.push(piece))).toEqual([
      '',
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('is compared with what was delivered when the comparison began', () => {
    const text = delivered(['Ly']);
    const comparison = text.compare();
    text.add('on');
    expect(comparison.push('Lyon')).toBe('on');
    expect(text.chars).toBe(4);
  });

  it('is all new where nothing was delivered', () => {
    const comparison = new DeliveredText().compare();
    expect(comparison).toMatchObject({ isThrough: true, awaited: '' });
    expect(comparison.push('Lyon')).toBe('Lyon');
  });
});

describe('what is still awaited', () => {
  it('is the end of what was delivered, and unknown where only hashes of it are kept', () => {
    const old = noise(200_000, 1);
    const comparison = delivered([old]).compare();
    expect(comparison.awaited).toBeUndefined();
    comparison.push(old.slice(0, 190_000));
    expect(comparison).toMatchObject({ isThrough: false, awaited: old.slice(190_000) });
  });
});

describe('a whole text', () => {
  it.each([
    ['Lyon', 'Lyon.', '.'],
    ['Lyon', 'Lyon', ''],
    ['Lyon \n\n', 'Lyon', ''],
    ['Lyon \n\n', 'Lyon ', ''],
    ['', 'Lyon', 'Lyon'],
    ['', '', ''],
    [' \n', '', ''],
    ['Lyon.', 'Lyon', undefined],
    ['Lyon', 'Paris', undefined],
    ['Lyon', '', undefined],
    ['Lyon ', 'Lyon.', undefined],
  ])('after %j that is %j has more by %j', (old, whole, missing) => {
    expect(delivered([old]).missingFrom(whole)).toBe(missing);
  });

  it('that ends where only hashes are kept is another one', () => {
    const old = noise(200_000, 2);
    expect(delivered([old]).missingFrom(old.slice(0, BLOCK))).toBeUndefined();
  });
});

describe('its cost', () => {
  /** Counts what strings are asked for meanwhile. */
  function count(run: () => void): { readonly units: number; readonly slices: number } {
    const { charCodeAt, slice } = String.prototype;
    let units = 0;
    let slices = 0;
    String.prototype.charCodeAt = function (at) {
      units += 1;
      return charCodeAt.call(this, at);
    };
    String.prototype.slice = function (from, to) {
      slices += 1;
      return slice.call(this, from, to);
    };
    try {
      run();
    } finally {
      Object.assign(String.prototype, { charCodeAt, slice });
    }
    return { units, slices };
  }

  it.each([1, 7, BLOCK, 400_000])('is one look at each character and some cuts a piece, in pieces of %i', (size) => {
    const old = noise(400_000, 3);
    const pieces = cut(old, [size]);
    const blocks = Math.ceil(old.length / BLOCK);
    let text = new DeliveredText();
    const adding = count(() => {
      text = delivered(pieces);
    });
    expect(adding.units).toBeLessThanOrEqual(old.length);
    expect(adding.slices).toBeLessThanOrEqual(2 * blocks);
    const comparison = text.compare();
    let news = '';
    const comparing = count(() => {
      for (const piece of pieces) news += comparison.push(piece) ?? '?';
    });
    expect(news).toBe('');
    expect(comparison.isThrough).toBe(true);
    expect(comparing.units).toBeLessThanOrEqual(old.length);
    expect(comparing.slices).toBeLessThanOrEqual(2 * (pieces.length + blocks + 1));
  });
});
