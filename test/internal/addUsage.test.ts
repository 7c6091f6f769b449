import { describe, expect, it } from 'vitest';
import { addUsage } from '../../src/internal/addUsage.js';
import type { Usage } from '../../src/types.js';

const reported = 'reported' as const;

describe('the usage of several calls', () => {
  it('is that of the one, where there is only one', () => {
    const only: Usage = { inputTokens: 1, provenance: 'partial' };
    expect(addUsage(undefined, only)).toBe(only);
  });

  it('is the sum of every count', () => {
    const one: Usage = {
      inputTokens: 1,
      outputTokens: 2,
      totalTokens: 3,
      reasoningTokens: 4,
      cachedTokens: 5,
      cost: { total: 6, input: 2, output: 4, currency: 'USD' },
      provenance: reported,
    };
    expect(addUsage(one, one)).toStrictEqual({
      inputTokens: 2,
      outputTokens: 4,
      totalTokens: 6,
      reasoningTokens: 8,
      cachedTokens: 10,
      cost: { total: 12, input: 4, output: 8, currency: 'USD' },
      provenance: reported,
    });
  });

  it('counts zero, which is not unknown', () => {
    const sum = addUsage({ cachedTokens: 0, provenance: reported }, { cachedTokens: 0, provenance: reported });
    expect(sum).toStrictEqual({ cachedTokens: 0, provenance: reported });
  });

  it('does not know what one of them does not know', () => {
    const sum = addUsage(
      { inputTokens: 1, outputTokens: 2, cost: { total: 1, input: 1 }, provenance: reported },
      { inputTokens: 1, cost: { total: 2 }, provenance: reported },
    );
    expect(sum).toStrictEqual({ inputTokens: 2, cost: { total: 3 }, provenance: reported });
  });

  it.each<[Usage['cost'], Usage['cost']]>([
    [{ total: 1 }, undefined],
    [undefined, { total: 1 }],
    [
      { total: 1, currency: 'USD' },
      { total: 1, currency: 'EUR' },
    ],
    [{ total: 1, currency: 'USD' }, { total: 1 }],
  ])('does not add the costs %j and %j', (a, b) => {
    const sum = addUsage(
      { ...(a && { cost: a }), provenance: reported },
      { ...(b && { cost: b }), provenance: reported },
    );
    expect(sum).toStrictEqual({ provenance: reported });
  });

  it.each<[Usage['provenance'], Usage['provenance'], Usage['provenance']]>([
    ['reported', 'reported', 'reported'],
    ['reported', 'partial', 'partial'],
    ['reported', 'unknown', 'partial'],
    ['unknown', 'unknown', 'unknown'],
  ])('is, of %s and %s, %s', (a, b, both) => {
    expect(addUsage({ provenance: a }, { provenance: b })).toStrictEqual({ provenance: both });
    expect(addUsage({ provenance: b }, { provenance: a })).toStrictEqual({ provenance: both });
  });
});
