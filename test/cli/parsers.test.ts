import { describe, expect, it } from 'vitest';
import { amount, duration, finishReasons, jsonObject, port, temperature, wholeNumber } from '../../src/cli/parsers.js';

describe('duration', () => {
  it.each([
    ['30', 30_000],
    ['1.5', 1500],
    ['500ms', 500],
    ['30s', 30_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['none', 0],
    ['1ms', 1],
    ['2147483647ms', 2_147_483_647],
  ])('reads %s as %i ms', (value, ms) => {
    expect(duration(value)).toBe(ms);
  });

  it.each(['', '0', '0ms', '-1', '1d', 's', '1 s', '1e3', 'Infinity', 'NaN', '2147483648ms', '0.1ms', '٣s'])(
    'refuses %j',
    (value) => {
      expect(() => duration(value)).toThrow(/must be a time such as 30s/);
    },
  );
});

describe('the other readers', () => {
  it.each([
    [wholeNumber(1), '1', 1],
    [wholeNumber(0), '123456789012345', 123_456_789_012_345],
    [port, '65535', 65_535],
    [temperature, '0.7', 0.7],
    [amount, '2.50', 2.5],
    [finishReasons, 'tool-calls, stop', ['stop', 'tool-calls']],
    [jsonObject, '{"a":1}', { a: 1 }],
  ])('read what is right (%#)', (read, value, expected) => {
    expect(read(value)).toEqual(expected);
  });

  it.each([
    [wholeNumber(1), '0'],
    [wholeNumber(0), '-1'],
    [wholeNumber(0), '1.0'],
    [wholeNumber(0), '1234567890123456'],
    [port, '65536'],
    [temperature, '-1'],
    [amount, '0'],
    [amount, '0.0'],
    [finishReasons, ''],
    [finishReasons, 'stop,stop'],
    [finishReasons, 'stop,end'],
    [jsonObject, '[1]'],
    [jsonObject, 'null'],
    [jsonObject, '{'],
  ])('refuse what is not (%#)', (read, value) => {
    expect(() => read(value)).toThrow(/^It must be /);
  });
});
