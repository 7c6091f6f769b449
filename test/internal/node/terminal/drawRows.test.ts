import { stripVTControlCharacters } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Drawing, drawRest, drawRows } from '../../../../src/internal/node/terminal/drawRows.js';
import { makePaints } from '../../../../src/internal/node/terminal/paints.js';
import type { RowFacts } from '../../../../src/internal/node/terminal/streamRow.js';
import { widthOf } from '../../../../src/internal/textWidth.js';

const drawing = (columns: number, hasColors = false): Drawing => ({ columns, now: 0, paints: makePaints(hasColors) });
const row = (facts: Partial<RowFacts>): RowFacts => ({
  name: 'guide',
  hue: 0,
  word: 'streaming',
  tone: 'calm',
  fraction: undefined,
  count: '',
  rate: '',
  firstMs: undefined,
  elapsedMs: 0,
  tail: '',
  isAside: false,
  ...facts,
});
const words = fc
  .array(fc.constantFrom('a', 'wheel ', '磨坊', '👩‍🚀', 'e\u0301', '-', 'ｶﾞ', 'नमस्ते'), { maxLength: 60 })
  .map((parts) => parts.join(''));
const facts = fc.record<RowFacts>({
  name: words,
  hue: fc.nat(),
  word: words,
  tone: fc.constantFrom('calm', 'quiet', 'alarmed'),
  fraction: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  count: fc.constantFrom('', '1 char', '1,234,567 tokens'),
  rate: fc.constantFrom('', '12/s', '1,234/s'),
  firstMs: fc.option(fc.nat(), { nil: undefined }),
  elapsedMs: fc.nat(),
  tail: words,
  isAside: fc.boolean(),
});

describe('rows', () => {
  it('are never as wide as the terminal, with colours or without, and end with what can be seen', () => {
    fc.assert(
      fc.property(fc.array(facts, { maxLength: 6 }), fc.integer({ min: 1, max: 200 }), (rows, columns) => {
        const plain = drawRows(rows, drawing(columns));
        expect(plain).toHaveLength(rows.length);
        for (const line of plain) {
          expect(widthOf(line)).toBeLessThan(Math.max(1, columns));
          expect(line).toBe(line.trimEnd());
        }
        expect(drawRows(rows, drawing(columns, true)).map((line) => stripVTControlCharacters(line))).toEqual(plain);
      }),
    );
  });

  it('stand in columns', () => {
    const rows = [
      row({ count: '9 chars', rate: '7/s', firstMs: 310, tail: 'one' }),
      row({ name: '磨坊', count: '1,204 chars', rate: '96/s', firstMs: 1_400, tail: 'two' }),
      row({ name: 'paint', word: 'running', fraction: 0.5, tail: 'three' }),
      row({ name: 'x', word: 'waiting', elapsedMs: 2_100 }),
    ];
    expect(drawRows(rows, drawing(100))).toEqual([
      '⠋ guide  streaming      9 chars   7/s  first 0.31 s  one',
      '⠋ 磨坊   streaming  1,204 chars  96/s   first 1.4 s  two',
      '⠋ paint  running    ━━━━━━━━━━━━─────────────  50 %  three',
      '⠋ x      waiting          2.1 s',
    ]);
  });

  it.each([
    [0, '────────────── 0 %'],
    [0.999, '━━━━━━━━━━━━━─ 99 %'],
    [1, '━━━━━━━━━━━━━━ 100 %'],
  ])('have a bar that is full only at the end: %d', (fraction, bar) => {
    const [line] = drawRows([row({ fraction })], drawing(60));
    expect(line?.replace(/ +/g, ' ')).toContain(bar);
  });

  it('turn their spinner', () => {
    const spinners = [0, 99, 100, 950, 1_000].map((now) => drawRows([row({})], { ...drawing(40), now })[0]?.[0]);
    expect(spinners).toEqual(['⠋', '⠋', '⠙', '⠏', '⠋']);
  });
});

describe('the line on the rest', () => {
  it('counts states, the most frequent first', () => {
    expect(drawRest(['waiting', 'streaming', 'streaming'], drawing(80))).toBe('+ 3 more  2 streaming, 1 waiting');
    expect(drawRest(['waiting', 'streaming', 'streaming'], drawing(20))).toBe('+ 3 more  2 stream…');
  });
});
