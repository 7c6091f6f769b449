import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JSONFault, JSONReader, MAX_DEPTH } from '../../../src/cli/run/jsonReader.js';

function faultOf(text: string): JSONFault | undefined {
  const reader = new JSONReader(text);
  try {
    reader.value();
    reader.end();
    return undefined;
  } catch (error) {
    if (error instanceof JSONFault) return error;
    throw error;
  }
}

function isJSON(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('JSONReader', () => {
  it('takes for JSON what JSON.parse takes, and nothing else', () => {
    const mutated = fc
      .tuple(
        fc.json({ maxDepth: 4 }),
        fc.nat(),
        fc.constantFrom('', ',', '"', '{', ']', '\\', '0', '.', '\n', 'null', '\u0001', '\ud800'),
      )
      .map(([text, at, piece]) => {
        const place = at % (text.length + 1);
        return text.slice(0, place) + piece + text.slice(place + (at % 2));
      });
    fc.assert(
      fc.property(mutated, (text) => {
        expect(faultOf(text) === undefined).toBe(isJSON(text));
      }),
      { numRuns: 3_000 },
    );
  });

  it.each([
    ['{"a":1,}', 7],
    ['{a:1}', 1],
    ["['x']", 1],
    ['[1 2]', 3],
    ['["a\nb"]', 1],
    ['["\\x"]', 1],
    ['{"a":01}', 5],
    ['[1] [2]', 4],
    ['{"a" 1}', 5],
    ['[[1]', 0],
    ['', 0],
  ])('tells where %j is wrong', (text, at) => {
    expect(faultOf(text)?.at).toBe(at);
  });

  it('refuses what is nested deeper than its bound, and takes what reaches it', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(faultOf(nested(MAX_DEPTH + 1))).toBeUndefined();
    expect(faultOf(nested(MAX_DEPTH + 2))?.message).toBe('is nested more than 100 deep');
    expect(faultOf('['.repeat(1_000_000))?.message).toBe('is nested more than 100 deep');
  });

  it('never quotes the text', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8 }), (secret) => {
        expect(faultOf(`{"prompt": "${secret.replace(/[\\"]/g, '')}", oops}`)?.message).not.toContain(secret);
      }),
    );
  });
});
