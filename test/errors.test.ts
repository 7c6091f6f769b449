import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import * as errors from '../src/errors.js';
import {
  AbortError,
  HTTPError,
  InterruptedError,
  isMillraceError,
  isRetryable,
  LimitError,
  MillraceError,
  NoResumePlanError,
  ProtocolError,
  ProviderError,
  SinkError,
  StoreError,
  StreamsFailedError,
  StreamTimeoutError,
  ValidationError,
} from '../src/errors.js';
import type { Receipt } from '../src/types.js';

const SECRET = 'what the user asked in private';

const all: readonly [string, string, MillraceError][] = [
  ['HTTPError', 'ERR_HTTP', new HTTPError('m', { status: 500, body: { prompt: SECRET } })],
  ['ProviderError', 'ERR_PROVIDER', new ProviderError('m', { retryable: false, frame: { text: SECRET } })],
  ['InterruptedError', 'ERR_INTERRUPTED', new InterruptedError('m')],
  ['StreamTimeoutError', 'ERR_STREAM_TIMEOUT', new StreamTimeoutError('wireIdle', 'm')],
  ['ProtocolError', 'ERR_PROTOCOL', new ProtocolError('m')],
  ['LimitError', 'ERR_LIMIT', new LimitError('maxLineBytes', 7, 'm')],
  ['ValidationError', 'ERR_VALIDATION', new ValidationError('m', [{ path: 'a', message: 'no' }])],
  ['SinkError', 'ERR_SINK', new SinkError('m')],
  ['NoResumePlanError', 'ERR_NO_RESUME_PLAN', new NoResumePlanError('m')],
  ['StoreError', 'ERR_STORE', new StoreError('lost', 'm')],
  ['StreamsFailedError', 'ERR_STREAMS_FAILED', new StreamsFailedError('m', new Map([['a', 1]]))],
  ['AbortError', 'ERR_ABORTED', new AbortError('m')],
];

describe('an error of this library', () => {
  it.each(all)('%s has the code %s', (name, code, error) => {
    expect(error).toBeInstanceOf(MillraceError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name, code, message: 'm', context: {} });
    expect(error.stack).toContain('errors.test');
    expect(String(error)).toBe(`${name}: m`);
  });

  it('is of one of the classes in this table, each with a code of its own', () => {
    const classes = Object.entries(errors)
      .filter(([name]) => name.endsWith('Error') && !/^(is|Millrace)/.test(name))
      .map(([name]) => name);
    expect(all.map(([name]) => name).sort()).toStrictEqual(classes.sort());
    expect(new Set(all.map(([, code]) => code)).size).toBe(all.length);
  });

  it('carries facts and, where there is one, a cause', () => {
    const cause = new Error('ECONNRESET');
    const error = new InterruptedError('cut', {
      context: { url: 'https://api.example/', bytes: 3 },
      cause,
      during: 'headers',
    });
    expect(error).toMatchObject({ context: { url: 'https://api.example/', bytes: 3 }, during: 'headers' });
    expect(error.cause).toBe(cause);
    expect(new InterruptedError('cut')).not.toHaveProperty('cause');
    expect(new InterruptedError('cut').during).toBe('body');
  });

  it('carries what its own class knows', () => {
    const http = new HTTPError('m', {
      status: 429,
      body: { error: 'slow' },
      providerCode: 'slow',
      providerMessage: 'slow down',
      retryAfterMs: 10,
      requestId: 'r-1',
    });
    expect(http).toMatchObject({
      status: 429,
      providerCode: 'slow',
      providerMessage: 'slow down',
      retryAfterMs: 10,
      requestId: 'r-1',
    });
    expect(http.body).toStrictEqual({ error: 'slow' });
    expect(new LimitError('maxLineBytes', 7, 'm')).toMatchObject({ limit: 'maxLineBytes', max: 7 });
    expect(new StreamTimeoutError('attempt', 'm').phase).toBe('attempt');
    expect(new ValidationError('m', [{ path: 'a.0', message: 'no' }]).issues).toStrictEqual([
      { path: 'a.0', message: 'no' },
    ]);
  });
});

describe('what an error shows', () => {
  it.each(all)('of %s holds no text that was received, no body and no frame', (_name, _code, error) => {
    error.received = { text: SECRET, chars: SECRET.length, truncated: false };
    expect(error.received.text).toBe(SECRET);
    for (const shown of [inspect(error, { depth: null }), JSON.stringify(error), String(error), error.stack]) {
      expect(shown).not.toContain(SECRET);
    }
    expect(Object.keys(error)).not.toContain('received');
    expect(JSON.stringify({ ...error })).not.toContain(SECRET);
  });

  it('holds no secret of an error that it was caused by, and none that is wrapped again', () => {
    const inner = new HTTPError('m', { status: 400, body: SECRET });
    const outer = new ProtocolError('outer', { cause: inner });
    outer.received = { text: SECRET, chars: 1, truncated: false };
    expect(inspect(outer, { depth: null })).toContain('[cause]');
    expect(inspect(outer, { depth: null })).not.toContain(SECRET);
  });

  it('leaves body and frame to programs', () => {
    expect(new HTTPError('m', { status: 500, body: SECRET }).body).toBe(SECRET);
    expect(new ProviderError('m', { retryable: true, frame: SECRET }).frame).toBe(SECRET);
  });

  it('has the receipt, once a sink has given one', () => {
    const error = new InterruptedError('cut');
    expect(error.receipt).toBeUndefined();
    error.receipt = { where: 'answer.txt', chars: 4 } as Receipt;
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ receipt: { where: 'answer.txt', chars: 4 } });
  });
});

describe('isMillraceError', () => {
  it.each(all)('knows a %s', (_name, _code, error) => {
    expect(isMillraceError(error)).toBe(true);
  });

  it('knows the errors of another copy of the library', async () => {
    vi.resetModules();
    const copy = await import('../src/errors.js');
    const foreign = new copy.HTTPError('m', { status: 503, body: SECRET });
    expect(foreign).not.toBeInstanceOf(MillraceError);
    expect(isMillraceError(foreign)).toBe(true);
    expect(isRetryable(foreign)).toBe(true);
    expect(copy.isMillraceError(new ProtocolError('m'))).toBe(true);
    expect(copy.isRetryable(new InterruptedError('m'))).toBe(true);
  });

  it.each<[string, unknown]>([
    ['an ordinary error', new Error('m')],
    ['an error of Node', Object.assign(new Error('m'), { code: 'ERR_INVALID_ARG_TYPE' })],
    ['an error of the system', Object.assign(new Error('m'), { code: 'ECONNRESET', context: {} })],
    ['an error with a number for a code', Object.assign(new Error('m'), { code: 42, context: {} })],
    ['an abort of the platform', new DOMException('m', 'AbortError')],
    ['an object that looks like one', { code: 'ERR_HTTP', context: {} }],
    ['a word', 'ERR_HTTP'],
    ['null', null],
    ['nothing', undefined],
  ])('does not take %s for one', (_, error) => {
    expect(isMillraceError(error)).toBe(false);
  });
});

describe('isRetryable', () => {
  const http = (status: number): HTTPError => new HTTPError('m', { status });
  const lost = (code: string): InterruptedError => new InterruptedError('m', { context: { code } });

  it.each<[string, unknown]>([
    ['an interruption', new InterruptedError('m')],
    ['a refused connection', new InterruptedError('m', { during: 'connect', context: { code: 'ECONNREFUSED' } })],
    ['a name that was not found', lost('ENOTFOUND')],
    ['a reset', lost('ECONNRESET')],
    ...(['headers', 'firstContent', 'contentIdle', 'wireIdle', 'attempt'] as const).map((phase): [string, unknown] => [
      `a timeout of ${phase}`,
      new StreamTimeoutError(phase, 'm'),
    ]),
    ['a timeout of the platform', new DOMException('m', 'TimeoutError')],
    ['a timeout of RxJS', Object.assign(new Error('m'), { name: 'TimeoutError' })],
    ...[408, 409, 425, 429, 500, 502, 503, 504, 529].map((status): [string, unknown] => [
      `HTTP ${String(status)}`,
      http(status),
    ]),
    ['a provider that says so', new ProviderError('m', { retryable: true })],
  ])('is true for %s', (_, error) => {
    expect(isRetryable(error)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['a certificate that has expired', lost('CERT_HAS_EXPIRED')],
    ['a certificate signed by itself', lost('DEPTH_ZERO_SELF_SIGNED_CERT')],
    ['a certificate of another name', lost('ERR_TLS_CERT_ALTNAME_INVALID')],
    ['an issuer that is not known', lost('UNABLE_TO_VERIFY_LEAF_SIGNATURE')],
    ...[301, 304, 400, 401, 402, 403, 404, 405, 410, 413, 422, 451, 501, 505, 507].map((status): [string, unknown] => [
      `HTTP ${String(status)}`,
      http(status),
    ]),
    ['a provider that does not', new ProviderError('m', { retryable: false })],
    ['a malformed frame', new ProtocolError('m')],
    ['a limit', new LimitError('maxLineBytes', 1, 'm')],
    ['an unexpected shape', new ValidationError('m', [])],
    ['a sink', new SinkError('m')],
    ['a stop by signal', new AbortError('m')],
    ['an abort of the platform', new DOMException('m', 'AbortError')],
    ['a bug', new TypeError('m')],
    ['a word', 'TimeoutError'],
    ['nothing', undefined],
    ['null', null],
  ])('is false for %s', (_, error) => {
    expect(isRetryable(error)).toBe(false);
  });
});
