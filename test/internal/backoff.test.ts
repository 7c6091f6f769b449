import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HTTPError, InterruptedError } from '../../src/errors.js';
import { backoffMs, retryAfterOf } from '../../src/internal/backoff.js';

const most = 1 - Number.EPSILON / 2;

describe('the pause before another attempt', () => {
  it('is at most a bound that doubles with each failure in a row, up to maxMs', () => {
    const pauses = [1, 2, 3, 4, 5, 60, 5_000].map((failures) =>
      backoffMs(failures, { initialMs: 500, maxMs: 3_000, random: () => most }),
    );
    expect(pauses).toEqual([500, 1_000, 2_000, 3_000, 3_000, 3_000, 3_000]);
  });

  it('may be none: clients that failed together come back at any time up to the bound', () => {
    const pauses = [0, 0.25, 0.5, 0.75].map((random) =>
      backoffMs(2, { initialMs: 500, maxMs: 60_000, random: () => random }),
    );
    expect(pauses).toEqual([0, 250, 500, 750]);
  });

  it('is as long as the server asks at least, and never longer than maxMs', () => {
    const backoff = (random: number) => ({ initialMs: 500, maxMs: 3_000, random: () => random });
    expect(backoffMs(1, backoff(0), 700)).toBe(700);
    expect(backoffMs(3, backoff(0.5), 700)).toBe(1_000);
    expect(backoffMs(1, backoff(0), 3_001)).toBe(3_000);
    expect(backoffMs(1, backoff(most), Infinity)).toBe(3_000);
  });

  it.each([
    [{ initialMs: 0, maxMs: 60_000 }, 0],
    [{ initialMs: 500, maxMs: 0 }, 0],
    [{ initialMs: 60_000, maxMs: 500 }, 500],
    [{ initialMs: 0.5, maxMs: 60_000 }, 1],
  ])('with %o is at most %i ms after one failure', (limits, ms) => {
    expect(backoffMs(1, { ...limits, random: () => most })).toBe(ms);
  });

  it('is a whole number of milliseconds within its bounds, whatever the chance', () => {
    const ms = fc.integer({ min: 0, max: 2 ** 31 - 1 });
    const failures = fc.integer({ min: 1, max: 10_000 });
    const chance = fc.double({ min: 0, max: most, noNaN: true });
    fc.assert(
      fc.property(failures, ms, ms, ms, chance, (count, initialMs, maxMs, askedMs, random) => {
        const pause = backoffMs(count, { initialMs, maxMs, random: () => random }, askedMs);
        expect(Number.isInteger(pause)).toBe(true);
        expect(pause).toBeGreaterThanOrEqual(Math.min(askedMs, maxMs));
        expect(pause).toBeLessThanOrEqual(maxMs);
      }),
    );
  });
});

describe('what a server asks for', () => {
  it('is told by the error of a refusal alone', () => {
    const refused = (retryAfterMs?: number): HTTPError =>
      new HTTPError('refused', { status: 429, body: undefined, retryAfterMs, context: {} });
    expect(retryAfterOf(refused(1_500))).toBe(1_500);
    expect(retryAfterOf(refused(0))).toBe(0);
    expect(retryAfterOf(refused())).toBeUndefined();
    const others = [new InterruptedError('cut', { context: {} }), new Error('no'), { retryAfterMs: 5 }, undefined];
    expect(others.map((error) => retryAfterOf(error))).toEqual(others.map(() => undefined));
  });
});
