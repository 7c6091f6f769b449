import { expect, it } from 'vitest';
import { httpError } from '../../src/internal/httpError.js';
import { SentSecrets } from '../../src/internal/sentSecrets.js';

const secret = 'sk/very+secret/key';
const sent = new SentSecrets({ authorization: `Bearer ${secret}` });
const errorOf = (body: string): ReturnType<typeof httpError> =>
  httpError({ status: 401, headers: {}, url: 'https://a.example/v1' }, body, sent, 0);

it.each([
  ['as it is', secret],
  ['with its slashes escaped', secret.replaceAll('/', '\\/')],
  ['with its slashes as codes', secret.replaceAll('/', '\\u002F')],
  ['all in codes', Array.from(secret, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')],
])('never shows a key that JSON quotes %s', (_, quoted) => {
  const error = errorOf(`{"error":{"message":"bad key ${quoted}","${quoted}":[{"deep":"${quoted}"}]}}`);
  expect(error.body).toStrictEqual({
    error: { message: 'bad key [redacted]', '[redacted]': [{ deep: '[redacted]' }] },
  });
  expect(error.providerMessage).toBe('bad key [redacted]');
  expect(error.message).toContain('bad key [redacted]');
  expect(errorOf(`"${quoted}"`).body).toBe('[redacted]');
  expect(errorOf(`{"error":"${quoted}`).body).toBe('{"error":"[redacted]');
});

it('keeps what is no secret as it came', () => {
  const body = { error: { code: 7, message: 'no "key"/\\', list: [null, true, 'x'] } };
  expect(errorOf(JSON.stringify(body)).body).toStrictEqual(body);
  expect(errorOf('').body).toBeUndefined();
});

it('takes a key of digits out of numbers too', () => {
  const error = httpError(
    { status: 401, headers: {}, url: 'https://a.example/' },
    '{"key":123456789,"n":1}',
    new SentSecrets({ 'x-api-key': '123456789' }),
    0,
  );
  expect(error.body).toStrictEqual({ key: '[redacted]', n: 1 });
});

it('leaves out what is nested deeper than any error body', () => {
  const error = errorOf(`{"message":"oh","x":${'['.repeat(30_000)}"${secret}"${']'.repeat(30_000)}}`);
  expect(error.providerMessage).toBe('oh');
  expect(JSON.stringify(error.body)).toMatch(/^.{0,200}left out.{0,100}$/);
});
