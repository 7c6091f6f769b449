import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { applyConfig, type Askable, type CLIConfig, loadConfig, resolveProvider } from '../../src/cli/config.js';
import { usualOrigin } from '../../src/cli/endpoint.js';
import { UsageError } from '../../src/cli/exitCodes.js';
import { readKey } from '../../src/cli/readKey.js';
import { cli, providers, temporaryFolder } from './harness.js';

const KEY = 'sk-4711-abcdefghijklmnopqrstuvwxyz';

async function loaded(text: string, { name = 'millrace.config.yaml', env = {} } = {}): Promise<CLIConfig> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, name), text);
  return loadConfig({ env }, join(folder, name));
}

/** What is wrong with a file, without its folder. */
async function refused(text: string, name = 'millrace.config.yaml'): Promise<string> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, name), text);
  const error: unknown = await loadConfig({ env: {} }, undefined, folder).catch((thrown: unknown) => thrown);
  if (!(error instanceof UsageError)) throw new Error('it was taken', { cause: error });
  return error.message;
}

describe('where a config file is looked for', () => {
  it('says nothing where there is none', async () => {
    const config = await loadConfig({ env: {} }, undefined, await temporaryFolder());
    expect(config).toMatchObject({ file: undefined, isFound: false, defaults: {}, run: {} });
    expect(config.providers.size).toBe(0);
  });

  it.each([
    ['millrace.config.json', '{"defaults": {"model": "m"}}'],
    ['millrace.config.yaml', 'defaults: { model: m }'],
    ['millrace.config.yml', 'defaults:\n  model: m\n'],
  ])('finds %s in the working folder', async (name, text) => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, name), text);
    const config = await loadConfig({ env: {} }, undefined, folder);
    expect(config).toMatchObject({ file: join(folder, name), isFound: true, defaults: { model: 'm' } });
  });

  it('takes the file that a flag names before that of the variable, and that before one in the folder', async () => {
    const folder = await temporaryFolder();
    for (const name of ['flag.yml', 'variable.yml', 'millrace.config.yml']) {
      await writeFile(join(folder, name), `defaults: { model: ${name} }`);
    }
    const env = { MILLRACE_CONFIG: 'variable.yml' };
    const modelOf = async (file: string | undefined, variables: Readonly<Record<string, string>>) =>
      (await loadConfig({ env: variables }, file, folder)).defaults.model;
    expect(await modelOf('flag.yml', env)).toBe('flag.yml');
    expect(await modelOf(undefined, env)).toBe('variable.yml');
    expect(await modelOf(undefined, { MILLRACE_CONFIG: '' })).toBe('millrace.config.yml');
    expect((await loadConfig({ env }, undefined, folder)).isFound).toBe(false);
  });

  it('refuses one that is named and not there, one of another kind, and two at once', async () => {
    const folder = await temporaryFolder();
    await expect(loadConfig({ env: {} }, 'none.yaml', folder)).rejects.toThrow(
      /none\.yaml cannot be read: it is not there/,
    );
    await expect(loadConfig({ env: {} }, 'config.toml', folder)).rejects.toThrow(/ends in \.json, \.yaml or \.yml/);
    await writeFile(join(folder, 'millrace.config.json'), '{}');
    await writeFile(join(folder, 'millrace.config.yml'), '');
    await expect(loadConfig({ env: {} }, undefined, folder)).rejects.toThrow(
      'there are both millrace.config.json and millrace.config.yml',
    );
  });

  it('takes an empty file for one that says nothing', async () => {
    expect((await loaded('')).defaults).toEqual({});
    expect((await loaded('# nothing yet\n')).defaults).toEqual({});
    expect((await loaded('{}', { name: 'millrace.config.json' })).defaults).toEqual({});
  });
});

describe('what a config file says', () => {
  it('is read with times in milliseconds', async () => {
    const { run } = await loaded(`
run:
  concurrency: 50
  timeoutFirstContent: 2m
  timeoutAttempt: 90
  timeoutWireIdle: none
  publishOn: [stop, tool-calls]
  fsync: false
  maxCost: 2.5
`);
    expect(run).toEqual({
      concurrency: 50,
      timeoutFirstContent: 120_000,
      timeoutAttempt: 90_000,
      timeoutWireIdle: 0,
      publishOn: ['stop', 'tool-calls'],
      fsync: false,
      maxCost: 2.5,
    });
  });
});

describe('how a mistake in a config file is told', () => {
  it.each([
    [
      'providers:\n  mine:\n    use: vllm\n    bseUrl: x\n',
      ':4: providers.mine.bseUrl is unknown (Did you mean baseUrl?)',
    ],
    ['defaults:\n  modle: m\n', ':2: defaults.modle is unknown (Did you mean model?)'],
    ['provider: {}\n', ':1: provider is unknown (Did you mean providers?)'],
    ['run:\n  concurency: 3\n', ':2: run.concurency is unknown (Did you mean concurrency?)'],
    ['\nrun:\n  concurrency: 0\n', ':3: run.concurrency is wrong: Too small'],
    ['run:\n  timeoutAttempt: soon\n', ':2: run.timeoutAttempt is wrong: It must be a time such as 30s'],
    ['run:\n  maxCost: "5"\n', ':2: run.maxCost is wrong: expected number, received string'],
    ['run:\n  publishOn:\n    - stop\n    - end\n', ':4: run.publishOn.3 '],
    ['providers:\n  polargird: {}\n', ':2: providers.polargird is no provider (Did you mean polargrid?)'],
    ['providers:\n  polargrid:\n    use: openai\n', ':3: providers.polargrid.use says openai'],
    [
      'providers:\n  polargrid:\n    mode: native\n',
      ':3: providers.polargrid.mode is none of polargrid’s: chat, completion',
    ],
    ['providers:\n  polargrid:\n    service: x\n', ':3: providers.polargrid.service is of no use to polargrid'],
    [
      'providers:\n  inferencesh:\n    app: a/b\n    agent: a/b\n',
      ':4: providers.inferencesh.agent cannot stand beside app',
    ],
    ['providers:\n  mine: { use: vllm }\n  MINE: { use: vllm }\n', ':3: providers.MINE is there twice'],
    ['defaults:\n  provider: polargird\n', ':2: defaults.provider is no provider (Did you mean polargrid?)'],
    [
      'providers:\n  vllm:\n    baseUrl: gpu-box:8000\n',
      ':3: providers.vllm.baseUrl is wrong: It must be an absolute URL',
    ],
    [
      'providers:\n  vllm:\n    baseUrl: http://me:word@box\n',
      ':3: providers.vllm.baseUrl is wrong: It must not hold credentials',
    ],
    ['a: 1\na: 2\n', ':2: Map keys must be unique'],
    ['run: {\n', ':'],
    ['- 1\n', ':1: is wrong: expected object'],
  ])('with its line: %j', async (text, says) => {
    const message = await refused(text);
    expect(message).toMatch(/^millrace\.config\.yaml:\d+: /);
    expect(message).toContain(says.replace('.publishOn.3', '.publishOn.1'));
  });

  it('with all mistakes at once', async () => {
    expect((await refused('run:\n  a: 1\n  concurrency: x\nb: 2\n')).match(/millrace\.config\.yaml:\d/g)).toHaveLength(
      3,
    );
  });

  it('in JSON too, which must be JSON', async () => {
    expect(await refused('{\n\t"run": {\n\t\t"retrys": 1\n\t}\n}', 'millrace.config.json')).toBe(
      'millrace.config.json:3: run.retrys is unknown (Did you mean retries?)',
    );
    expect(await refused('{run: {}}', 'millrace.config.json')).toContain('is not JSON');
  });

  it('without what stands in the file, broken as it may be', async () => {
    for (const text of [
      `run: {"${KEY}`,
      `${KEY}\n:: ${KEY}`,
      `a: *${KEY}`,
      `run: *${KEY}`,
      `"${KEY}" "b"`,
      `run: ${KEY}`,
    ]) {
      expect(await refused(text)).not.toContain('4711');
    }
  });
});

describe('keys in a config file', () => {
  it.each(['key', 'apiKey', 'api_key', 'API-KEY', 'token', 'authorization', 'secretKey', 'password'])(
    'are refused under the name %s, with the remedy and without the key',
    async (name) => {
      const message = await refused(`providers:\n  polargrid:\n    ${name}: ${KEY}\n`);
      expect(message).toContain(`millrace.config.yaml:3: providers.polargrid.${name} looks like a key`);
      expect(message).toContain('keyEnv');
      expect(message).not.toContain('4711');
    },
  );

  it('are refused in any other place, told by their form', async () => {
    expect(await refused(`providers:\n  polargrid:\n    model: ${KEY}\n`)).toContain(
      ':3: providers.polargrid.model looks like',
    );
    expect(await refused(`defaults:\n  system: Bearer ${KEY}\n`)).toContain(':2: defaults.system looks like');
    expect(await refused(`providers:\n  polargrid:\n    keyEnv: inf-4711\n`)).toMatch(
      /:3: .*name of an environment variable/,
    );
    expect(await refused(`providers:\n  polargrid:\n    keyEnv: inf-4711\n`)).not.toContain('4711');
  });

  it('are no matter in names that only sound like it', async () => {
    const { providers: all, run } = await loaded(
      'providers:\n  key: { use: vllm, keyEnv: K }\nrun: { maxTokens: 5 }\n',
    );
    expect([...all.keys()]).toEqual(['key']);
    expect(run.maxTokens).toBe(5);
  });

  it.skipIf(process.platform === 'win32')(
    'may stand there where the file says so and nobody else can read it',
    async () => {
      const folder = await temporaryFolder();
      const file = join(folder, 'own.yaml');
      await writeFile(file, `allowKeysInFile: true\nproviders:\n  polargrid: { key: ${KEY} }\n`);
      for (const mode of [0o644, 0o640, 0o604, 0o620]) {
        await chmod(file, mode);
        await expect(loadConfig({ env: {} }, file)).rejects.toThrow(/others on this machine can read it: chmod 600/);
      }
      await chmod(file, 0o600);
      const config = await loadConfig({ env: {} }, file);
      const applied = applyConfig({ provider: 'polargrid' }, config);
      expect(readKey(applied, {})).toBe(KEY);
      expect(readKey(applied, { POLARGRID_API_KEY: 'other' })).toBe(KEY);
      expect(readKey({ ...applied, keyEnv: 'MINE' }, { MINE: 'mine' })).toBe('mine');
      await writeFile(file, `allowKeysInFile: true\nproviders:\n  polargrid: { apiKey: ${KEY} }\n`);
      await expect(loadConfig({ env: {} }, file)).rejects.toThrow(/looks like a key/);
    },
  );
});

describe('applyConfig', () => {
  const apply = async (text: string, options: Askable, env: Readonly<Record<string, string>> = {}) =>
    applyConfig(options, await loaded(text, { env }));

  it('fills in what is left open, and nothing else', async () => {
    const text = `
providers:
  polargrid: { baseUrl: "https://edge.example/v1", keyEnv: WORK_KEY, model: from-entry, maxOutputTokens: 9 }
defaults: { provider: polargrid, model: from-defaults, temperature: 0.5 }
`;
    expect(await apply(text, { system: 'Be brief.' })).toEqual({
      provider: 'polargrid',
      baseUrl: 'https://edge.example/v1',
      keyEnv: 'WORK_KEY',
      model: 'from-entry',
      maxTokens: 9,
      temperature: 0.5,
      system: 'Be brief.',
    });
    expect(
      await apply(text, { model: 'mine', maxTokens: 1, temperature: 0, baseUrl: 'http://x/', keyEnv: 'K' }),
    ).toMatchObject({ model: 'mine', maxTokens: 1, temperature: 0, baseUrl: 'http://x/', keyEnv: 'K' });
  });

  it('knows names of the file’s own, whatever their case', async () => {
    const text = 'providers:\n  Mine: { use: openaiCompatible, baseUrl: "http://localhost:1/v1", model: m }\n';
    expect(await apply(text, { provider: 'mine' })).toEqual({
      provider: 'openaiCompatible',
      baseUrl: 'http://localhost:1/v1',
      model: 'm',
    });
  });

  it('leaves out what another provider was meant to be asked with', async () => {
    const text =
      'defaults: { provider: polargrid, model: m, region: nyc-01, mode: completion, temperature: 1, system: s }';
    expect(await apply(text, { provider: 'anthropic' })).toEqual({
      provider: 'anthropic',
      temperature: 1,
      system: 's',
    });
  });

  it.each([
    ['defaults: { enableThinking: true }', { provider: 'anthropic' }, { provider: 'anthropic' }],
    [
      'defaults: { system: s }',
      { provider: 'polargrid', mode: 'completion' },
      { provider: 'polargrid', mode: 'completion' },
    ],
    ['defaults: { enableThinking: false }', { provider: 'polargrid' }, { provider: 'polargrid' }],
    ['defaults: { mode: native }', { provider: 'polargrid' }, { provider: 'polargrid' }],
    [
      'providers: { inferencesh: { app: a/b } }',
      { provider: 'inferencesh', agent: 'c/d' },
      { provider: 'inferencesh', agent: 'c/d' },
    ],
    [
      'defaults: { maxOutputTokens: 5 }',
      { provider: 'inferencesh', agent: 'c/d' },
      { provider: 'inferencesh', agent: 'c/d' },
    ],
    ['defaults: { model: m }', { provider: 'inferencesh', app: 'c/d' }, { provider: 'inferencesh', app: 'c/d' }],
  ])('leaves out what is of no use: %s', async (text, options, expected) => {
    expect(await apply(text, options)).toEqual(expected);
  });

  it('puts no limits and no system prompt into a request of the caller’s own', async () => {
    const config = await loaded('defaults: { system: s, maxOutputTokens: 5, temperature: 1, model: m }');
    expect(applyConfig({ provider: 'polargrid' }, config, 'request')).toEqual({ provider: 'polargrid', model: 'm' });
  });

  it('says whom it knows where nobody is named, or nobody of that name', async () => {
    const config = await loaded('providers: { mine: { use: vllm } }');
    expect(() => applyConfig({}, config)).toThrow(/Give --provider NAME/);
    expect(() => resolveProvider('mien', config)).toThrow(
      /there is no provider 'mien' \(Did you mean mine\?\).*infernet.*mine/,
    );
    expect(() => resolveProvider(KEY, config)).not.toThrow(KEY);
  });
});

describe('a config file that lies in a folder', () => {
  const text = (url: string, more = ''): string => `providers:\n  polargrid: { baseUrl: "${url}"${more} }\n`;
  const applied = async (file: string, { isNamed = false, env = {} } = {}) => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'millrace.config.yaml'), file);
    const config = await loadConfig({ env }, isNamed ? 'millrace.config.yaml' : undefined, folder);
    return applyConfig({ provider: 'polargrid' }, config);
  };
  const env = { POLARGRID_API_KEY: KEY, GITHUB_TOKEN: KEY };

  it.each([text('https://evil.example/v1'), text('https://evil.example/v1', ', keyEnv: GITHUB_TOKEN')])(
    'sends no key to a stranger: %s',
    async (file) => {
      await expect(applied(file, { env })).rejects.toThrow(
        /would send a key to evil\.example for polargrid: .*--config millrace\.config\.yaml.*MILLRACE_CONFIG/,
      );
      expect((await applied(file, { env, isNamed: true })).baseUrl).toBe('https://evil.example/v1');
      expect((await applied(file)).baseUrl).toBe('https://evil.example/v1'); // there is no key to send
    },
  );

  it.each([
    'http://localhost:8080/v1',
    'http://127.0.0.1:1/v1',
    'http://[::1]:1/v1',
    `${String(usualOrigin('polargrid'))}/v2`,
  ])('may name this machine, and the provider’s own host: %s', async (url) => {
    expect((await applied(text(url), { env })).baseUrl).toBe(url);
  });

  it('is not fooled by a name that begins like this machine’s', async () => {
    await expect(applied(text('http://127.evil.example/'), { env })).rejects.toThrow(/would send a key/);
    await expect(applied(text('http://localhost.evil.example/'), { env })).rejects.toThrow(/would send a key/);
  });
});

describe('millrace ask --config', () => {
  it('asks by a name of the file’s own', async () => {
    const server = await providers();
    const file = join(await temporaryFolder(), 'c.yaml');
    await writeFile(
      file,
      `providers:\n  mine: { use: polargrid, baseUrl: "${server.baseURLs.polargrid}", keyEnv: WORK_KEY, model: m, maxOutputTokens: 9 }\ndefaults: { provider: mine }\n`,
    );
    const { stderr, exitCode } = cli(['ask', '--config', file, 'hi'], { env: { WORK_KEY: 'mine' } });
    expect({ code: await exitCode, says: stderr.text }).toEqual({ code: 0, says: '' });
    expect(server.requests[0]?.headers.authorization).toBe('Bearer mine');
    expect(server.requests[0]?.body).toMatchObject({ model: 'm', max_tokens: 9 });
  });

  it('says on one line what is wrong with it, with exit code 2', async () => {
    const file = join(await temporaryFolder(), 'c.yaml');
    await writeFile(file, 'defaults: { modle: m }\n');
    const { stderr, exitCode } = cli(['ask', '--config', file, 'hi']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/^millrace: .*c\.yaml:1: defaults\.modle is unknown.*\n$/);
  });
});
