import type { Cost, Usage } from '../types.js';

/** Adds the usage of two different calls. What one of them does not know is unknown in the sum. */
export function addUsage(a: Usage | undefined, b: Usage): Usage {
  if (a === undefined) return b;
  const sum: { -readonly [K in keyof Usage]: Usage[K] } = {
    provenance: a.provenance === b.provenance ? a.provenance : 'partial',
  };
  for (const key of ['inputTokens', 'outputTokens', 'totalTokens', 'reasoningTokens', 'cachedTokens'] as const) {
    const [x, y] = [a[key], b[key]];
    if (x !== undefined && y !== undefined) sum[key] = x + y;
  }
  const cost = addCost(a.cost, b.cost);
  if (cost !== undefined) sum.cost = cost;
  return sum;
}

function addCost(a: Cost | undefined, b: Cost | undefined): Cost | undefined {
  if (a === undefined || b === undefined || a.currency !== b.currency) return undefined;
  const sum: { -readonly [K in keyof Cost]: Cost[K] } = {};
  for (const key of ['total', 'input', 'output'] as const) {
    const [x, y] = [a[key], b[key]];
    if (x !== undefined && y !== undefined) sum[key] = x + y;
  }
  if (a.currency !== undefined) sum.currency = a.currency;
  return sum;
}
