import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_DELAY_MS } from '../../src/internal/require.js';
import { readRetryAfter } from '../../src/internal/retryAfter.js';

const now = Date.UTC(2026, 0, 2, 3, 4, 5);

describe('the delay that a server asks for', () => {
  it.each<[string, Record<string, string>, number | undefined]>([
    ['nothing', {}, undefined],
    ['seconds', { 'retry-after': '120' }, 120_000],
    ['seconds with white space', { 'retry-after': ' 2 ' }, 2_000],
    ['parts of a second', { 'retry-after': '0.25' }, 250],
    ['no wait', { 'retry-after': '0' }, 0],
    ['a time before now', { 'retry-after': '-5' }, 0],
    ['milliseconds', { 'retry-after-ms': '1500' }, 1_500],
    ['parts of a millisecond, rounded up', { 'retry-after-ms': '0.2' }, 1],
    ['both, of which milliseconds count', { 'retry-after-ms': '10', 'retry-after': '120' }, 10],
    ['milliseconds that are nonsense, beside seconds', { 'retry-after-ms': 'soon', 'retry-after': '1' }, 1_000],
    ['a date', { 'retry-after': 'Fri, 02 Jan 2026 03:05:05 GMT' }, 60_000],
    ['a date that has passed', { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
    ['a date in the far future', { 'retry-after': 'Fri, 31 Dec 9999 23:59:59 GMT' }, MAX_DELAY_MS],
    ['more than a timer can hold', { 'retry-after': '2147484' }, MAX_DELAY_MS],
    ['endless seconds', { 'retry-after': 'Infinity' }, undefined],
    ['endless milliseconds', { 'retry-after-ms': 'Infinity' }, undefined],
    ['a word', { 'retry-after': 'later' }, undefined],
    ['an empty text', { 'retry-after': '', 'retry-after-ms': '' }, undefined],
    ['white space', { 'retry-after': '   ' }, undefined],
  ])('is read from %s', (_, headers, expected) => {
    expect(readRetryAfter(headers, now)).toBe(expected);
  });

  it('is a whole number that a timer can hold, or unknown, whatever the server sends', () => {
    const value = fc.oneof(
      fc.string(),
      fc.double().map(String),
      fc.integer().map(String),
      fc.bigInt().map(String),
      fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
      fc.constantFrom('NaN', '1e999', '-1e999', '0x7fffffffffffffff', '1_000', '٣'),
    );
    const headers = fc.record({ 'retry-after': value, 'retry-after-ms': value }, { requiredKeys: [] });
    fc.assert(
      fc.property(headers, fc.date({ noInvalidDate: true }), (sent, date) => {
        const delay = readRetryAfter(sent, date.getTime());
        if (delay === undefined) return;
        expect(Number.isInteger(delay)).toBe(true);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(2 ** 31 - 1);
      }),
    );
  });
});
