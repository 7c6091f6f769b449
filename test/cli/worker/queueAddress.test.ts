import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/cli/exitCodes.js';
import { queueAddress, queueNameProblem } from '../../../src/cli/worker/queueAddress.js';

describe('the address of a queue', () => {
  it.each([
    ['redis://localhost', 'redis://localhost', undefined],
    ['redis://127.0.0.1:6380/2', 'redis://127.0.0.1:6380/2', undefined],
    ['rediss://me:s%40crt@queue.internal:6379', 'rediss://queue.internal:6379', { user: 'me', password: 's@crt' }],
    ['redis://:s3crt@[::1]:6379', 'redis://[::1]:6379', { user: '', password: 's3crt' }],
    ['redis://:s3crt@host?family=6&password=s3crt', 'redis://host', { user: '', password: 's3crt' }],
  ])('%s is shown as %s', (text, shown, login) => {
    expect(queueAddress(text, 'q', {})).toMatchObject({ name: 'q', shown, login });
    expect(shown).not.toMatch(/s3crt|s%40crt/);
  });

  it('takes the password of the variable where the URL has none', () => {
    const env = { MILLRACE_QUEUE_PASSWORD: 'p@ss/w%rd' };
    const { url, login } = queueAddress('redis://me@host:1', 'q', env);
    expect(login).toEqual({ user: 'me', password: 'p@ss/w%rd' });
    expect(decodeURIComponent(new URL(url).password)).toBe('p@ss/w%rd');
    expect(queueAddress('redis://me:own@host:1', 'q', env).login?.password).toBe('own');
    expect(queueAddress('redis://host', 'q', { MILLRACE_QUEUE_PASSWORD: '' }).login).toBeUndefined();
  });

  it.each([
    '',
    'localhost:6379',
    'http://s3crt@host',
    'redis://',
    'redis:s3crt',
    'redis:///0',
    'redis://host/s3crt',
    'redis://a:s3crt%@b',
  ])('refuses %j, without a word of it', (text) => {
    expect(() => queueAddress(text, 'q', {})).toThrow(UsageError);
    expect(() => queueAddress(text, 'q', {})).toThrow(/^--queue /);
    expect(() => queueAddress(text, 'q', {})).not.toThrow(/s3crt/);
  });

  it.each(['', 'a:b', 'a{b}', 'a\nb', 'x'.repeat(129)])('refuses the name %j', (name) => {
    expect(queueNameProblem(name)).toMatch(/^It must be /);
  });

  it.each(['millrace', 'june 2026', 'mühle', 'x'.repeat(128)])('takes the name %j', (name) => {
    expect(queueNameProblem(name)).toBeUndefined();
  });
});
