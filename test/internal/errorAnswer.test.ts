import { describe, expect, it } from 'vitest';
import {
  AbortError,
  HTTPError,
  InterruptedError,
  LimitError,
  ProtocolError,
  ProviderError,
  SinkError,
  StreamsFailedError,
  StreamTimeoutError,
  ValidationError,
} from '../../src/errors.js';
import { errorAnswer, withOverride } from '../../src/internal/errorAnswer.js';
import { refusal, stoppedByShutdown } from '../../src/internal/running.js';

const SECRET = 'sk-secret';
const http = (status: number, retryAfterMs?: number): HTTPError =>
  new HTTPError(`HTTP ${String(status)}: ${SECRET}`, { status, retryAfterMs, body: SECRET, providerMessage: SECRET });
const told = (providerCode: string | number | undefined, retryable: boolean): ProviderError =>
  new ProviderError(SECRET, { providerCode, retryable, providerMessage: SECRET, frame: SECRET });

const TABLE: readonly (readonly [name: string, error: unknown, status: number, code: string, retryable: boolean])[] = [
  ['429', http(429), 429, 'ERR_HTTP', true],
  ['400', http(400), 400, 'ERR_HTTP', false],
  ['413', http(413), 413, 'ERR_HTTP', false],
  ['422', http(422), 422, 'ERR_HTTP', false],
  ['401', http(401), 502, 'ERR_HTTP', false],
  ['402', http(402), 502, 'ERR_HTTP', false],
  ['403', http(403), 502, 'ERR_HTTP', false],
  ['404', http(404), 502, 'ERR_HTTP', false],
  ['408', http(408), 504, 'ERR_HTTP', true],
  ['409', http(409), 502, 'ERR_HTTP', true],
  ['a redirect', http(302), 502, 'ERR_HTTP', false],
  ['a hidden redirect', http(0), 502, 'ERR_HTTP', false],
  ['500', http(500), 502, 'ERR_HTTP', true],
  ['503', http(503), 502, 'ERR_HTTP', true],
  ['529', http(529), 502, 'ERR_HTTP', true],
  ['501', http(501), 502, 'ERR_HTTP', false],
  ['a failure that is worth another try', told('overloaded_error', true), 502, 'ERR_PROVIDER', true],
  ['a failure', told(undefined, false), 502, 'ERR_PROVIDER', false],
  ['too much, told in band', told('rate_limit_error', true), 429, 'ERR_PROVIDER', true],
  ['429, told in band', told(429, true), 429, 'ERR_PROVIDER', true],
  ['"429", told in band', told('429', true), 429, 'ERR_PROVIDER', true],
  ['a timeout', new StreamTimeoutError('firstContent', SECRET), 504, 'ERR_STREAM_TIMEOUT', true],
  ['RxJS’s timeout', Object.assign(new Error(SECRET), { name: 'TimeoutError' }), 504, 'ERR_STREAM_TIMEOUT', true],
  ['a lost connection', new InterruptedError(SECRET), 502, 'ERR_INTERRUPTED', true],
  ['garbage', new ProtocolError(SECRET), 502, 'ERR_PROTOCOL', false],
  ['too long a line', new LimitError('maxLineBytes', 1, SECRET), 502, 'ERR_LIMIT', false],
  ['a value that does not fit', new ValidationError(SECRET, []), 500, 'ERR_VALIDATION', false],
  ['a sink above', new SinkError(SECRET), 500, 'ERR_SINK', false],
  [
    'a restart that cannot be told',
    new SinkError(SECRET, { context: { because: 'restart' } }),
    502,
    'ERR_INTERRUPTED',
    true,
  ],
  ['a signal', new AbortError(SECRET), 503, 'ERR_ABORTED', false],
  ['shutdown', stoppedByShutdown(), 503, 'ERR_ABORTED', true],
  ['a stream that shutdown refused', refusal(), 503, 'ERR_ABORTED', true],
  [
    'several streams',
    new StreamsFailedError(
      SECRET,
      new Map([
        ['a', http(429)],
        ['b', http(401)],
      ]),
    ),
    429,
    'ERR_HTTP',
    false,
  ],
  [
    'several streams that failed alike',
    new StreamsFailedError(SECRET, new Map([['a', http(503)]])),
    502,
    'ERR_HTTP',
    true,
  ],
  ['an error of the program', new TypeError(SECRET), 500, 'ERR_INTERNAL', false],
  ['no error at all', undefined, 500, 'ERR_INTERNAL', false],
  ['a string', SECRET, 500, 'ERR_INTERNAL', false],
];

describe('errorAnswer', () => {
  it.each(TABLE)('tells %s', (_, error, status, code, retryable) => {
    const answer = errorAnswer(error);
    expect(answer).toMatchObject({ status, code, retryable, headers: {} });
    expect(answer.message).toMatch(/^[A-Z][a-z ;]+$/);
    expect(JSON.stringify(answer)).not.toContain(SECRET);
  });

  it.each([
    [http(429, 1_500), '2', '1500'],
    [http(503, 60_000), '60', '60000'],
    [http(429, 0), '0', '0'],
  ])('passes on how long to wait', (error, seconds, milliseconds) => {
    expect(errorAnswer(error).headers).toStrictEqual({ 'retry-after': seconds, 'retry-after-ms': milliseconds });
  });

  it('says how long to wait only where that helps', () => {
    expect(errorAnswer(http(401, 1_000)).headers).toStrictEqual({});
  });
});

describe('withOverride', () => {
  const answer = errorAnswer(http(429, 1_000));

  it('leaves what is not given', () => {
    expect(withOverride(answer, undefined)).toStrictEqual(answer);
    expect(withOverride(answer, {})).toStrictEqual(answer);
    expect(withOverride(answer, { code: 'busy' })).toStrictEqual({ ...answer, code: 'busy' });
  });

  it('takes all that is given, and keeps the other headers', () => {
    const headers = { 'X-Why': 'quota' };
    expect(withOverride(answer, { status: 503, code: 'busy', message: 'Later', headers })).toStrictEqual({
      status: 503,
      code: 'busy',
      message: 'Later',
      retryable: true,
      headers: { ...answer.headers, 'x-why': 'quota' },
    });
  });

  it.each([200, 399, 600, 429.5, Number.NaN])('refuses the status %s', (status) => {
    expect(() => withOverride(answer, { status })).toThrow(TypeError);
  });

  it.each([{ headers: { 'bad name': 'x' } }, { headers: { a: 'b\r\nc: d' } }])(
    'refuses what no header can hold',
    (override) => {
      expect(() => withOverride(answer, override)).toThrow(TypeError);
    },
  );

  it('refuses words that are none', () => {
    expect(() => withOverride(answer, { code: 429 as unknown as string })).toThrow(TypeError);
    expect(() => withOverride(answer, { message: null as unknown as string })).toThrow(TypeError);
  });
});
