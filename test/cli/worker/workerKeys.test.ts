import { describe, expect, it } from 'vitest';
import type { CLIConfig } from '../../../src/cli/config.js';
import { requirePeers } from '../../../src/cli/worker/requirePeers.js';
import { requireVariableNames, workerKeys } from '../../../src/cli/worker/workerKeys.js';
import { job } from '../run/fixtures.js';

function config(providers: CLIConfig['providers'] = new Map()): CLIConfig {
  return { file: undefined, isFound: false, providers, defaults: {}, run: {}, hasVariable: () => false };
}
const house = job('a', {
  account: 'house',
  options: { provider: 'openaiCompatible', mode: 'chat', baseUrl: 'http://h/v1' },
});

describe('the keys of a worker', () => {
  it('are those of its own environment', () => {
    const keyOf = workerKeys(config(), { POLARGRID_API_KEY: 'one', MINE: 'two' }, 'w');
    expect(keyOf(job('a'))).toBe('one');
    expect(keyOf(job('a', { keyEnv: 'MINE' }))).toBe('two');
    expect(keyOf(job('a', { account: undefined }))).toBe('one');
    expect(keyOf(job('a', { account: 'ollama', options: { provider: 'ollama', mode: 'chat' } }))).toBeUndefined();
  });

  it('are those of its own config file, under the name that the job brings', () => {
    const providers = new Map([
      ['polargrid', { keyEnv: 'MINE' }],
      ['house', { use: 'openaiCompatible' as const, key: 'three' }],
    ]);
    const keyOf = workerKeys(config(providers), { MINE: 'two', POLARGRID_API_KEY: 'one' }, 'w');
    expect(keyOf(job('a'))).toBe('two');
    expect(keyOf(house)).toBe('three');
  });

  it.each([
    ['a variable', job('a'), 'on worker w: polargrid needs a key: set POLARGRID_API_KEY'],
    ['a variable that the job names', job('a', { keyEnv: 'MINE' }), 'on worker w: MINE, named for the key, is not set'],
    ['a name of a config file', house, "on worker w: there is no provider 'house'"],
  ])('are missed by name where there is no such thing: %s', (_, each, message) => {
    expect(() => workerKeys(config(), {}, 'w')(each)).toThrow(message);
  });

  it('go to no other provider than that of the name', () => {
    const keyOf = workerKeys(config(new Map([['house', { use: 'openai' as const, key: 'three' }]])), {}, 'w');
    expect(() => keyOf(house)).toThrow(/^on worker w: .*house/);
  });
});

describe('names of variables that go into a queue', () => {
  it.each(['MINE', 'MY_KEY_2', '_X'.slice(1)])('are %s', (keyEnv) => {
    expect(() => {
      requireVariableNames([job('a', { keyEnv }), job('b')], () => false);
    }).not.toThrow();
  });

  it('may be written in any way where the variable is set', () => {
    expect(() => {
      requireVariableNames([job('a', { keyEnv: 'my_key' })], (name) => name === 'my_key');
    }).not.toThrow();
  });

  it('are no keys, which are not shown', () => {
    const keys = [job('a', { keyEnv: 'sk_live_0123456789', line: 12 })];
    const check = (): void => {
      requireVariableNames(keys, () => false);
    };
    expect(check).toThrow(/line 12 .* may be a key, and a key does not go into a queue/);
    expect(check).not.toThrow(/sk_live/);
  });
});

describe('the packages that a queue needs', () => {
  const failing =
    (...names: readonly string[]) =>
    (name: string): string => {
      if (names.includes(name)) throw new Error(`Cannot find module '${name}'`);
      return name;
    };
  it.each([
    [['bullmq', 'ioredis'], '--queue needs bullmq and ioredis, which are not installed: npm install bullmq ioredis'],
    [['bullmq'], '--queue needs bullmq, which is not installed: npm install bullmq ioredis'],
  ])('are named where %j is missing', (names, message) => {
    expect(() => {
      requirePeers('--queue', failing(...names));
    }).toThrow(message);
  });

  it('are here', () => {
    expect(() => {
      requirePeers('--queue');
    }).not.toThrow();
  });
});
