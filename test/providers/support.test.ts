import { afterEach, describe, expect, it, vi } from 'vitest';
import * as z from 'zod/mini';
import type { CallRequest } from '../../src/protocol/call.js';
import {
  type APIKey,
  askAgain,
  authorizer,
  checkRequest,
  joinURL,
  type KeyRules,
} from '../../src/providers/support.js';

const ENV = 'MILLRACE_TEST_KEY';
const somebody = (apiKey: APIKey | undefined, rules: Partial<KeyRules> = {}): ReturnType<typeof authorizer> =>
  authorizer({ name: 'somebody', env: ENV, ...rules }, apiKey);

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

describe('keys', () => {
  it('are sent at once where they are strings', () => {
    expect(somebody('k')()).toStrictEqual({ authorization: 'Bearer k' });
    expect(somebody('k', { keyHeader: 'x-api-key' })()).toStrictEqual({ 'x-api-key': 'k' });
  });

  it('are asked for each attempt where they are functions', async () => {
    let asked = 0;
    const authorize = somebody(() => Promise.resolve(`k${String((asked += 1))}`));
    expect(asked).toBe(0);
    expect(await authorize()).toStrictEqual({ authorization: 'Bearer k1' });
    expect(await authorize()).toStrictEqual({ authorization: 'Bearer k2' });
    expect(somebody(() => 'now')()).toStrictEqual({ authorization: 'Bearer now' });
  });

  it('come from the environment', () => {
    vi.stubEnv(ENV, 'from-env');
    expect(somebody(undefined)()).toStrictEqual({ authorization: 'Bearer from-env' });
  });

  it('that are missing are named, option and variable', () => {
    expect(() => somebody(undefined)).toThrow(/somebody\(\{ apiKey \}\).*MILLRACE_TEST_KEY/);
    vi.stubEnv(ENV, '');
    expect(() => somebody(undefined)).toThrow(TypeError);
  });

  it('are not sent where there is none and none is needed', () => {
    expect(somebody(undefined, { key: 'optional' })()).toStrictEqual({});
    expect(somebody('k', { key: 'optional' })()).toStrictEqual({ authorization: 'Bearer k' });
    vi.stubEnv(ENV, 'from-env');
    expect(somebody(undefined, { key: 'optional' })()).toStrictEqual({ authorization: 'Bearer from-env' });
    expect(() => somebody(undefined, { env: undefined })).toThrow(
      /^somebody needs a key: give somebody\(\{ apiKey \}\)$/,
    );
  });

  it('are missing, not a crash, where there is no process', () => {
    vi.stubGlobal('process', undefined);
    expect(() => somebody(undefined)).toThrow(TypeError);
  });

  it.each(['', 'secret\n', 'secret\r\nx: y', 'sec ret', 'secrét'])(
    'that no header can carry are refused unquoted: %j',
    async (key) => {
      for (const refused of [() => somebody(key), () => somebody(() => key)()]) {
        expect(refused).toThrow(TypeError);
        expect(refused).not.toThrow(/sec/);
      }
      await expect(somebody(() => Promise.resolve(key))()).rejects.toThrow(TypeError);
    },
  );

  it.each([undefined, null, 5, {}])('that a function yields as %j are refused as missing', async (key) => {
    const wrong = key as string;
    expect(somebody(() => wrong)).toThrow(/apiKey of somebody must be a string/);
    await expect(somebody(() => Promise.resolve(wrong))()).rejects.toThrow(/apiKey of somebody/);
  });
});

describe('joinURL', () => {
  it.each([
    ['https://a.example/v1', '/chat', 'https://a.example/v1/chat'],
    ['https://a.example/v1/', 'chat', 'https://a.example/v1/chat'],
    ['http://localhost:8000', '/chat', 'http://localhost:8000/chat'],
    ['https://a.example/v1?api-version=2', '/chat', 'https://a.example/v1/chat?api-version=2'],
    ['https://a.example?v=2', '/chat?n=1', 'https://a.example/chat?n=1&v=2'],
    ['https://a.example/v1#part', 'chat', 'https://a.example/v1/chat'],
  ])('joins %s and %s', (base, path, url) => {
    expect(joinURL(base, path)).toBe(url);
  });

  it.each([
    '',
    '/v1',
    'ftp://a.example',
    'file:///etc',
    'javascript:alert(1)',
    'https://user:secret@a.example',
    'https://secret@a.example',
  ])('refuses %j without quoting it', (base) => {
    expect(() => joinURL(base, 'chat')).toThrow(TypeError);
    expect(() => joinURL(base, 'chat')).not.toThrow(/secret/);
  });
});

describe('checkRequest', () => {
  const schema = z.looseObject({ model: z.string('must be a string') });

  it('gives the request back, unknown members included', () => {
    expect(checkRequest(schema, { model: 'm', other: 1 }, 'the request')).toStrictEqual({ model: 'm', other: 1 });
  });

  it('throws a TypeError with the path, not the value', () => {
    expect(() => checkRequest(schema, { model: ['prompt'] }, 'the request')).toThrow(
      new TypeError('Unexpected shape of the request: model: must be a string'),
    );
  });
});

describe('askAgain', () => {
  it('asks for the rest of an answer where there is a request for it', () => {
    const ask = (body: string): CallRequest => ({ method: 'POST', url: 'https://a.example', body, accept: [] });
    const { by, continueWith } = askAgain(ask, (text) => (text === '' ? undefined : `${text}…`));
    expect(by).toBe('ask');
    expect(continueWith?.('so far')).toStrictEqual(ask('so far…'));
    expect(continueWith?.('')).toBeUndefined();
  });
});
