import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readRateLimits } from '../../src/protocol/rateLimits.js';

const now = Date.UTC(2026, 0, 2, 3, 4, 5);

/** What is told, in short: `name unit remaining/limit for ms`. */
function told(headers: Record<string, string>): readonly string[] {
  return readRateLimits(headers, now).map(
    ({ name, unit, remaining, limit, resetMs }) =>
      `${name} ${unit} ${String(remaining)}/${String(limit)} for ${String(resetMs)}`,
  );
}

/** One budget with this reset. */
function resetOf(reset: string, more: Record<string, string> = {}): number | undefined {
  return readRateLimits({ 'x-ratelimit-remaining': '1', 'x-ratelimit-reset': reset, ...more }, now)[0]?.resetMs;
}

describe('the budgets in an answer’s headers', () => {
  it.each<[string, Record<string, string>, readonly string[]]>([
    ['nothing', { 'content-type': 'text/event-stream', 'x-request-id': '1' }, []],
    [
      'Infernet, in Unix seconds',
      { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '59', 'x-ratelimit-reset': String(now / 1000 + 30) },
      ['x-ratelimit- requests 59/60 for 30000'],
    ],
    [
      'inference.sh, without a limit',
      { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now / 1000 + 30) },
      ['x-ratelimit- requests 0/undefined for 30000'],
    ],
    [
      'OpenRouter, in Unix milliseconds',
      { 'x-ratelimit-limit': '50', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now + 1_500) },
      ['x-ratelimit- requests 0/50 for 1500'],
    ],
    [
      'OpenAI',
      {
        'x-ratelimit-limit-requests': '5000',
        'x-ratelimit-limit-tokens': '160000',
        'x-ratelimit-remaining-requests': '4999',
        'x-ratelimit-remaining-tokens': '159976',
        'x-ratelimit-reset-requests': '12ms',
        'x-ratelimit-reset-tokens': '6m0s',
      },
      ['x-ratelimit-requests requests 4999/5000 for 12', 'x-ratelimit-tokens tokens 159976/160000 for 360000'],
    ],
    [
      'Cerebras, by the day and the minute',
      {
        'x-ratelimit-remaining-requests-day': '14399',
        'x-ratelimit-reset-requests-day': '33011.382867',
        'x-ratelimit-remaining-tokens-minute': '63999',
        'x-ratelimit-reset-tokens-minute': '11.382',
      },
      [
        'x-ratelimit-requests-day requests 14399/undefined for 33011383',
        'x-ratelimit-tokens-minute tokens 63999/undefined for 11382',
      ],
    ],
    [
      'Anthropic',
      {
        'anthropic-ratelimit-requests-limit': '1000',
        'anthropic-ratelimit-requests-remaining': '999',
        'anthropic-ratelimit-requests-reset': '2026-01-02T03:04:06Z',
        'anthropic-ratelimit-input-tokens-remaining': '80000',
        'anthropic-ratelimit-input-tokens-reset': '2026-01-02T04:04:05+00:00',
        'anthropic-ratelimit-output-tokens-remaining': '0',
        'anthropic-ratelimit-output-tokens-reset': '2026-01-02T03:04:05.250Z',
        'anthropic-ratelimit-tokens-remaining': '1000',
        'anthropic-ratelimit-tokens-reset': '2026-01-02T03:05:05Z',
        'anthropic-ratelimit-unified-status': 'allowed',
        'anthropic-ratelimit-unified-reset': '1767323100',
      },
      [
        'anthropic-ratelimit-requests requests 999/1000 for 1000',
        'anthropic-ratelimit-input-tokens inputTokens 80000/undefined for 3600000',
        'anthropic-ratelimit-output-tokens outputTokens 0/undefined for 250',
        'anthropic-ratelimit-tokens tokens 1000/undefined for 60000',
      ],
    ],
    [
      'the IETF draft 06, its limit with its windows',
      { 'ratelimit-limit': '100, 100;w=60, 1000;w=3600', 'ratelimit-remaining': '50', 'ratelimit-reset': '30' },
      ['ratelimit- requests 50/100 for 30000'],
    ],
    ['the IETF draft 07', { ratelimit: 'limit=100, remaining=50, reset=30' }, ['ratelimit requests 50/100 for 30000']],
    [
      'the IETF draft 10, with its policies',
      {
        'ratelimit-policy': '"burst";q=100;w=60,"bytes";q=9000;w=60;qu="content-bytes", "daily";q=1000;w=86400',
        ratelimit: '"burst";r=50;t=30, "bytes";r=0;t=5, "daily"; r=999 ; t=3600;pk=:cHsdsRa894==:',
      },
      ['ratelimit burst requests 50/100 for 30000', 'ratelimit daily requests 999/1000 for 3600000'],
    ],
    [
      'the IETF draft 10, a policy of tokens and one whose name holds a comma',
      { ratelimit: '"tokens-per-minute";r=9;t=1, "a, b; c";r=1;t=2' },
      ['ratelimit tokens-per-minute tokens 9/undefined for 1000', 'ratelimit a, b; c requests 1/undefined for 2000'],
    ],
    [
      'names in capitals, spelled otherwise',
      { 'X-Rate-Limit-Remaining': ' 7 ', 'X-Rate-Limit-Reset': '3' },
      ['x-rate-limit- requests 7/undefined for 3000'],
    ],
    [
      'part of one left',
      { 'x-ratelimit-remaining': '1.9', 'x-ratelimit-reset': '3' },
      ['x-ratelimit- requests 1/undefined for 3000'],
    ],
  ])('are read from those of %s', (_, headers, expected) => {
    expect(told(headers)).toStrictEqual(expected);
  });

  it.each<[string, Record<string, string>]>([
    ['a budget without a reset', { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '0' }],
    ['a reset without a budget', { 'x-ratelimit-limit': '60', 'x-ratelimit-reset': '30' }],
    ['a reset that is over', { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '0' }],
    ['a time that is over', { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now / 1000 - 5) }],
    [
      'Azure’s numbers',
      {
        'x-ratelimit-limit-tokens': '-1',
        'x-ratelimit-remaining-tokens': '-1',
        'x-ratelimit-reset-tokens': '30',
      },
    ],
    ['a limit of none', { 'x-ratelimit-limit': '0', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '30' }],
    ['a limit in words', { 'x-ratelimit-limit': 'unlimited', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '30' }],
    ['a budget in words', { 'x-ratelimit-remaining': 'none', 'x-ratelimit-reset': '30' }],
    ['a list for a budget', { 'x-ratelimit-remaining': '3, 4', 'x-ratelimit-reset': '30' }],
    ['a budget of something else', { 'x-ratelimit-remaining-images': '0', 'x-ratelimit-reset-images': '30' }],
    ['another family’s header', { 'x-shopify-ratelimit-remaining': '0', 'x-shopify-ratelimit-reset': '30' }],
    ['a policy alone', { 'ratelimit-policy': '"a";q=1;w=1' }],
    ['an empty list', { ratelimit: '' }],
    ['a list that is broken', { ratelimit: '"a;r=1;t=2' }],
    ['no numbers in a list', { ratelimit: '"a";r=many;t=2, "b";r=0;t=soon, "c";r=0' }],
  ])('do not hold %s', (_, headers) => {
    expect(told(headers)).toStrictEqual([]);
  });

  it('are at most 16', () => {
    const headers = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [
        [`x-ratelimit-remaining-requests-${String(i)}`, '1'],
        [`x-ratelimit-reset-requests-${String(i)}`, '1'],
      ]).flat(),
    ) as Record<string, string>;
    expect(readRateLimits(headers, now)).toHaveLength(16);
  });
});

describe('the reset of a budget', () => {
  it.each<[string, number]>([
    ['1s', 1_000],
    ['6m0s', 360_000],
    ['20ms', 20],
    ['1h2m', 3_720_000],
    ['1h0m0s', 3_600_000],
    ['2m59.56s', 179_560],
    ['7.66s', 7_660],
    ['2.3s', 2_300],
    ['4h17m', 15_420_000],
    ['1d', 86_400_000],
    ['500us', 1],
    ['1', 1_000],
    ['0.25', 250],
    ['999999999', 999_999_999_000],
    ['2026-01-02T03:04:06.5Z', 1_500],
    ['2026-01-02T04:04:06+01:00', 1_000],
    ['2026-01-02 03:04:06Z', 1_000],
    ['Fri, 02 Jan 2026 03:05:05 GMT', 60_000],
    ['Fri Jan 02 2026 04:05:05 GMT+0100 (Central European Standard Time)', 60_000],
  ])('is read from %j', (reset, expected) => {
    expect(resetOf(reset)).toBe(expected);
  });

  it.each([
    '',
    ' ',
    'soon',
    '-5',
    '-1s',
    '1x',
    's',
    '1s2',
    '5 minutes',
    'NaN',
    'Infinity',
    '1e3',
    '0x10',
    '2026-01-02',
  ])('is not read from %j', (reset) => {
    expect(resetOf(reset)).toBeUndefined();
  });

  it('is measured against the server’s own clock where it tells it', () => {
    const date = 'Fri, 02 Jan 2026 05:00:00 GMT'; // two hours ahead of ours
    const reset = Date.UTC(2026, 0, 2, 5, 0, 20) / 1000;
    expect(resetOf(String(reset), { date })).toBe(20_000);
    expect(resetOf('2026-01-02T05:00:20Z', { date })).toBe(20_000);
    expect(resetOf('20', { date })).toBe(20_000);
    expect(resetOf(String(now / 1000 + 20), { date: 'today' })).toBe(20_000);
  });

  it('is a whole number from 1 on, and what is left from 0 on, whatever a server sends', () => {
    const value = fc.oneof(
      fc.string(),
      fc.double().map(String),
      fc.integer().map(String),
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.constantFrom('1s', '6m0s', '"a";r=1;t=2', 'limit=1, remaining=0, reset=5', '"'.repeat(50), ','.repeat(50)),
    );
    const names = ['remaining', 'reset', 'limit'].flatMap((word) => [
      `x-ratelimit-${word}`,
      `x-ratelimit-${word}-tokens`,
      `anthropic-ratelimit-output-tokens-${word}`,
      `ratelimit-${word}`,
    ]);
    const headers = fc.dictionary(fc.constantFrom(...names, 'ratelimit', 'ratelimit-policy', 'date'), value);
    fc.assert(
      fc.property(headers, (sent) => {
        for (const { remaining, resetMs, limit } of readRateLimits(sent, now)) {
          expect(Number.isInteger(resetMs) && resetMs > 0).toBe(true);
          expect(Number.isInteger(remaining) && remaining >= 0).toBe(true);
          expect(limit === undefined || limit > 0).toBe(true);
        }
      }),
    );
  });

  it('is looked for in fields of any length without running away', () => {
    const size = 100_000;
    const long = [
      '9'.repeat(size),
      '1s'.repeat(size),
      `${'1m'.repeat(size)}x`,
      `Fri, ${' '.repeat(size)}`,
      `2026-01-02T${'+00:0'.repeat(size)}`,
      '"'.repeat(size),
      '";'.repeat(size),
      `"a";${'r=1;'.repeat(size)}`,
    ];
    for (const value of long) told({ 'x-ratelimit-remaining': '1', 'x-ratelimit-reset': value, ratelimit: value });
    expect(resetOf('1s'.repeat(size))).toBe(size * 1_000);
  });
});
