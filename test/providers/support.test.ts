import { afterEach, describe, expect, it, vi } from 'vitest';
import * as z from 'zod/mini';
import { chatDialect } from '../../src/providers/chatDialect.js';
import { bearer, checkRequest, joinURL, keyHeader, withDialect } from '../../src/providers/support.js';

const ENV = 'MILLRACE_TEST_KEY';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

describe('keys', () => {
  it('are sent at once where they are strings', () => {
    expect(bearer('k', ENV, 'somebody')()).toStrictEqual({ authorization: 'Bearer k' });
    expect(keyHeader('x-api-key', 'k', ENV, 'somebody')()).toStrictEqual({ 'x-api-key': 'k' });
  });

  it('are asked for each attempt where they are functions', async () => {
    let asked = 0;
    const authorize = bearer(() => Promise.resolve(`k${String((asked += 1))}`), ENV, 'somebody');
    expect(asked).toBe(0);
    expect(await authorize()).toStrictEqual({ authorization: 'Bearer k1' });
    expect(await authorize()).toStrictEqual({ authorization: 'Bearer k2' });
    expect(bearer(() => 'now', ENV, 'somebody')()).toStrictEqual({ authorization: 'Bearer now' });
  });

  it('come from the environment', () => {
    vi.stubEnv(ENV, 'from-env');
    expect(bearer(undefined, ENV, 'somebody')()).toStrictEqual({ authorization: 'Bearer from-env' });
  });

  it('that are missing are named, option and variable', () => {
    expect(() => bearer(undefined, ENV, 'somebody')).toThrow(/somebody\(\{ apiKey \}\).*MILLRACE_TEST_KEY/);
    vi.stubEnv(ENV, '');
    expect(() => bearer(undefined, ENV, 'somebody')).toThrow(TypeError);
  });

  it('are missing, not a crash, where there is no process', () => {
    vi.stubGlobal('process', undefined);
    expect(() => bearer(undefined, ENV, 'somebody')).toThrow(TypeError);
  });

  it.each(['', 'secret\n', 'secret\r\nx: y', 'sec ret', 'secrét'])(
    'that no header can carry are refused unquoted: %j',
    async (key) => {
      for (const refused of [() => bearer(key, ENV, 'somebody'), () => bearer(() => key, ENV, 'somebody')()]) {
        expect(refused).toThrow(TypeError);
        expect(refused).not.toThrow(/sec/);
      }
      await expect(bearer(() => Promise.resolve(key), ENV, 'somebody')()).rejects.toThrow(TypeError);
    },
  );

  it.each([undefined, null, 5, {}])('that a function yields as %j are refused as missing', async (key) => {
    const wrong = key as string;
    expect(bearer(() => wrong, ENV, 'somebody')).toThrow(/apiKey of somebody must be a string/);
    await expect(bearer(() => Promise.resolve(wrong), ENV, 'somebody')()).rejects.toThrow(/apiKey of somebody/);
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

it('attaches a dialect to a function', () => {
  const dialect = chatDialect();
  const call = withDialect((n: number) => n + 1, dialect);
  expect(call(1)).toBe(2);
  expect(call.dialect).toBe(dialect);
});
