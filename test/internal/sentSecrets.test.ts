import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { HTTPError, InterruptedError, ProtocolError, ProviderError } from '../../src/errors.js';
import { SentSecrets } from '../../src/internal/sentSecrets.js';
import { keysIn, secretKey } from '../support/keys.js';

const key = secretKey();
const prompt = 'Where does the river go at night?';
const body = JSON.stringify({ model: 'a-model-of-some-name', messages: [{ role: 'user', content: prompt }] });
const sent = (headers: Record<string, string> = { 'x-api-key': key }): SentSecrets =>
  new SentSecrets(headers, new URL(`https://a.test/v1?key=${key}q`), body);
const print = (value: unknown): string => inspect(value, { depth: Infinity, showHidden: true });

describe('an error that shows nothing', () => {
  it('is left as it is, its cause too', () => {
    const cause = new Error('reset');
    const error = new InterruptedError('The stream was cut', { cause, context: { url: 'https://a.test/v1' } });
    const { stack } = error;
    expect(sent().cleanError(error)).toBe(error);
    expect(error).toMatchObject({ message: 'The stream was cut', cause, stack });
  });

  it('may name the model', () => {
    const error = new ProtocolError('a-model-of-some-name is not known');
    expect(sent().cleanError(error).message).toContain('a-model-of-some-name');
  });
});

describe('an error that quotes', () => {
  it('loses keys, prompts and queries, in all that it says', () => {
    const error = new HTTPError(`${key} asked "${prompt}" at https://a.test/v1?key=${key}q#x`, {
      status: 400,
      providerCode: key,
      providerMessage: prompt,
      requestId: `req-${key}`,
      context: { url: `https://a.test/${key}`, status: 400 },
    });
    const clean = sent().cleanError(error);
    expect(clean).toBe(error);
    expect(clean.message).toBe('[redacted] asked "[prompt]" at https://a.test/v1');
    expect(clean).toMatchObject({
      providerCode: '[redacted]',
      providerMessage: '[prompt]',
      requestId: 'req-[redacted]',
      context: { url: 'https://a.test/[redacted]', status: 400 },
    });
    expect(keysIn(print(clean))).toStrictEqual([]);
    expect(print(clean)).not.toContain('river');
    expect(Object.keys(clean)).not.toContain('message'); // as visible as it was
  });

  it('of a provider keeps its kind and its frame, without the key', () => {
    const error = new ProviderError(`bad ${key}`, {
      retryable: true,
      providerCode: 7,
      frame: { text: prompt, list: [key, 5] },
    });
    const clean = sent().cleanError(error);
    expect(clean).toBeInstanceOf(ProviderError);
    expect(clean).toMatchObject({ retryable: true, providerCode: 7, message: 'bad [redacted]' });
    expect((clean as ProviderError).frame).toStrictEqual({ text: prompt, list: ['[redacted]', 5] });
    expect(keysIn(print(clean))).toStrictEqual([]);
  });

  it('by its causes only gets others: somebody else’s error is not changed', () => {
    const inner = Object.assign(new Error(`dns of ${key}`), { code: 'ENOTFOUND', options: { headers: { a: key } } });
    const cause = new AggregateError([inner], 'all failed', { cause: inner });
    const error = sent().cleanError(new InterruptedError('lost', { cause }));
    expect(keysIn(print(error))).toStrictEqual([]);
    expect(error.cause).toMatchObject({ name: 'AggregateError', message: 'all failed' });
    expect(inner.message).toContain(key);
    expect((sent().cleanError(new InterruptedError('lost', { cause: inner })).cause as { code: string }).code).toBe(
      'ENOTFOUND',
    );
  });

  it.each([`no error but ${key}`, { key }, [key]])('by a cause that is none: %#', (cause) => {
    expect(keysIn(print(sent().cleanError(new InterruptedError('lost', { cause }))))).toStrictEqual([]);
  });

  it('by a cause that leads back to itself', () => {
    const cause: Error & { self?: unknown } = new Error(key);
    cause.self = cause;
    expect(keysIn(print(sent().cleanError(new InterruptedError('lost', { cause }))))).toStrictEqual([]);
  });

  it('says nothing of any of several requests', () => {
    const other = secretKey();
    const both = sent().and(sent({ cookie: `a=${other}; b=c` }));
    expect(both.cleanError(new ProtocolError(`${key} ${other}`)).message).toBe('[redacted] [redacted]');
  });
});

it('knows a key as a header, a cookie, a JSON text and a URL have it', () => {
  const odd = 'k/4711+"secret" = 5';
  const secrets = sent({ authorization: `Bearer ${key}`, cookie: `sid=${key}7`, 'x-odd': odd });
  for (const text of [key, `${key}7`, JSON.stringify(odd), encodeURIComponent(odd), `Bearer ${key}`]) {
    expect(secrets.withoutKeys(text)).toMatch(/^"?\[redacted\]"?$/);
  }
});

it.each(['{"messages":', 'no JSON', '[]', '5', ''])('takes a body that is %j', (text) => {
  const error = new SentSecrets({}, undefined, text).cleanError(new ProtocolError('fine'));
  expect(error.message).toBe('fine');
});
