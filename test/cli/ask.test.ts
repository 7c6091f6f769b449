import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StreamEvent } from 'millrace';
import type { ProviderServer } from 'millrace/testing';
import { SAMPLE_TEXTS } from '../../src/testing/wire/sampleAnswers.js';
import { bundleCLI, cli, providers, spawnCLI, temporaryFolder } from './harness.js';

const KEY = 'k-4711-secret';
const env = {
  INFERNET_API_KEY: KEY,
  INFRON_API_KEY: KEY,
  INFERENCE_API_KEY: KEY,
  MILLRACE_GATEWAY_API_KEY: KEY,
  POLARGRID_API_KEY: KEY,
  OPENAI_API_KEY: KEY,
  ANTHROPIC_API_KEY: KEY,
  GEMINI_API_KEY: KEY,
  OLLAMA_API_KEY: KEY,
  WRONG_KEY: 'invalid',
};

type Named = keyof typeof SAMPLE_TEXTS;

const WAYS: readonly {
  readonly way: string;
  readonly provider: Named;
  readonly base: keyof ProviderServer['baseURLs'];
  readonly flags: readonly string[];
}[] = [
  { way: 'infernet', provider: 'infernet', base: 'infernet', flags: ['-m', 'qwen'] },
  { way: 'infernet direct', provider: 'infernet', base: 'infernet', flags: ['-m', 'qwen', '--mode', 'direct'] },
  { way: 'infernet native', provider: 'infernet', base: 'infernetOrigin', flags: ['--mode', 'native'] },
  { way: 'infernet openai', provider: 'infernet', base: 'infernetOrigin', flags: ['-m', 'q', '--mode', 'openai'] },
  { way: 'infron', provider: 'infron', base: 'infron', flags: ['-m', 'deepseek/deepseek-chat', '--temperature', '0'] },
  {
    way: 'inferencesh app',
    provider: 'inferencesh',
    base: 'inferencesh',
    flags: ['--app', 'a/b', '--input', '{"n":1}'],
  },
  { way: 'inferencesh agent', provider: 'inferencesh', base: 'inferencesh', flags: ['--agent', 'a/b'] },
  { way: 'gateway', provider: 'gateway', base: 'gateway', flags: ['-m', 'm', '--service', 's', '--max-tokens', '9'] },
  {
    way: 'gateway generate',
    provider: 'gateway',
    base: 'gateway',
    flags: ['-m', 'm', '--service', 's', '--mode', 'generate'],
  },
  { way: 'polargrid', provider: 'polargrid', base: 'polargrid', flags: ['-m', 'm', '-s', 'Be brief.'] },
  { way: 'polargrid completion', provider: 'polargrid', base: 'polargrid', flags: ['-m', 'm', '--mode', 'completion'] },
  { way: 'openai', provider: 'openai', base: 'openai', flags: ['-m', 'm', '--max-tokens', '9'] },
  { way: 'openai responses', provider: 'openai', base: 'openai', flags: ['-m', 'm', '--mode', 'responses'] },
  { way: 'anthropic', provider: 'anthropic', base: 'anthropic', flags: ['-m', 'm', '-s', 'Be brief.'] },
  { way: 'gemini', provider: 'gemini', base: 'gemini', flags: ['-m', 'm'] },
  { way: 'ollama', provider: 'ollama', base: 'ollama', flags: ['-m', 'm', '--enable-thinking'] },
];

function polargrid(server: ProviderServer): string[] {
  return ['ask', '-p', 'polargrid', '-m', 'm', '--base-url', server.baseURLs.polargrid];
}

function events(text: string): StreamEvent[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as StreamEvent);
}

describe.each(WAYS)('millrace ask: $way', ({ provider, base, flags }) => {
  it('prints the answer and nothing else', async () => {
    const server = await providers();
    const args = ['ask', '-p', provider, ...flags, '--base-url', server.baseURLs[base], 'hello'];
    const { stdout, stderr, exitCode } = cli(args, { env });
    expect(await exitCode).toBe(0);
    expect(stderr.text).toBe('');
    expect(stdout.text).toBe(SAMPLE_TEXTS[provider]);
    expect(server.requests[0]?.text).toContain('hello');
  });

  it('prints its events as lines of JSON, the last of them the finish', async () => {
    const server = await providers();
    const args = ['ask', '-p', provider, ...flags, '--base-url', server.baseURLs[base], '--json', 'hello'];
    const { stdout, exitCode } = cli(args, { env });
    expect(await exitCode).toBe(0);
    const all = events(stdout.text);
    expect(all.map((event) => (event.type === 'text' ? event.text : '')).join('')).toBe(SAMPLE_TEXTS[provider]);
    expect(all.at(-1)?.type).toBe('finish');
  });
});

describe('what millrace ask sends', () => {
  it('puts system prompt, limits and thinking where the provider wants them', async () => {
    const server = await providers();
    const flags = ['-s', 'Be brief.', '--max-tokens', '9', '--temperature', '0.5', '--enable-thinking', 'hello'];
    expect(await cli([...polargrid(server), ...flags], { env }).exitCode).toBe(0);
    expect(server.requests[0]?.body).toMatchObject({
      model: 'm',
      max_tokens: 9,
      temperature: 0.5,
      enable_thinking: true,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hello' },
      ],
    });
  });

  it.each([['-'], []])('reads the prompt from standard input (argument: %s)', async (...prompt) => {
    const server = await providers();
    const { exitCode } = cli([...polargrid(server), ...prompt], { env, stdin: 'two\nlines\n' });
    expect(await exitCode).toBe(0);
    expect(server.requests[0]?.body).toMatchObject({ messages: [{ role: 'user', content: 'two\nlines' }] });
  });

  it('takes the key from the variable that --key-env names', async () => {
    const server = await providers();
    const { exitCode } = cli([...polargrid(server), '--key-env', 'MY_KEY', 'hi'], { env: { MY_KEY: 'mine' } });
    expect(await exitCode).toBe(0);
    expect(server.requests[0]?.headers.authorization).toBe('Bearer mine');
  });
});

describe('what millrace ask shows', () => {
  it('shows thinking as lines of its own when told to', async () => {
    const server = await providers();
    server.next({ thinking: 'Hm.', text: 'Yes.' });
    const { stdout, exitCode } = cli([...polargrid(server), '--thinking', 'show', 'hi'], { env });
    expect(await exitCode).toBe(0);
    expect(stdout.text).toBe('> Hm.\nYes.');
  });

  it('ends the line and tells the receipt on a terminal, where the model cannot move the cursor', async () => {
    const server = await providers();
    server.next({ pieces: ['a\u001b[2J', 'b'] });
    const terminal = { columns: 80, rows: 24 };
    const { stdout, stderr, exitCode } = cli([...polargrid(server), 'hi'], {
      env: { ...env, NO_COLOR: '1' },
      terminal,
    });
    expect(await exitCode).toBe(0);
    expect(stdout.text).toBe('a[2Jb\n');
    expect(stderr.text).toMatch(/^polargrid m · complete \(stop\) · 5 chars · .*billing ended\n$/);
  });

  it('prints the receipt on request, as JSON beside JSON', async () => {
    const server = await providers();
    const plain = cli([...polargrid(server), '--receipt', 'hi'], { env });
    expect(await plain.exitCode).toBe(0);
    expect(plain.stderr.text).toMatch(/^polargrid m · complete/);
    const json = cli([...polargrid(server), '--receipt', '--json', 'hi'], { env });
    expect(await json.exitCode).toBe(0);
    expect(JSON.parse(json.stderr.text)).toMatchObject({ outcome: 'complete', provider: 'polargrid' });
  });

  it('shows a task’s result as JSON where it has no text', async () => {
    const server = await providers();
    server.next({ pieces: [], output: { url: 'https://example.com/a.png' } });
    const args = ['ask', '-p', 'inferencesh', '--app', 'a/b', '--base-url', server.baseURLs.inferencesh, 'hi'];
    const { stdout, exitCode } = cli(args, { env });
    expect(await exitCode).toBe(0);
    expect(JSON.parse(stdout.text)).toMatchObject({ url: 'https://example.com/a.png' });
  });
});

describe('millrace ask --out', () => {
  it('writes the answer and a footer', async () => {
    const server = await providers();
    const file = join(await temporaryFolder(), 'answer.md');
    const { stdout, exitCode } = cli([...polargrid(server), '--out', file, '--footer', 'hi'], { env });
    expect(await exitCode).toBe(0);
    expect(stdout.text).toBe('');
    const text = await readFile(file, 'utf8');
    expect(text.startsWith(SAMPLE_TEXTS.polargrid)).toBe(true);
    expect(text).toMatch(/---\npolargrid m · stop/);
  });

  it('leaves a file alone that is there (4), skips it (0) or overwrites it (0)', async () => {
    const server = await providers();
    const file = join(await temporaryFolder(), 'answer.md');
    await writeFile(file, 'mine');
    const refused = cli([...polargrid(server), '--out', file, 'hi'], { env });
    expect(await refused.exitCode).toBe(4);
    expect(refused.stderr.text).toMatch(/^millrace: .*exists already; --if-exists .*\n$/);
    expect(await cli([...polargrid(server), '--out', file, '--if-exists', 'skip', 'hi'], { env }).exitCode).toBe(0);
    expect(await readFile(file, 'utf8')).toBe('mine');
    expect(server.requests).toHaveLength(0);
    expect(await cli([...polargrid(server), '--out', file, '--if-exists', 'overwrite', 'hi'], { env }).exitCode).toBe(
      0,
    );
    expect(await readFile(file, 'utf8')).toBe(SAMPLE_TEXTS.polargrid);
  });

  it('keeps a cut answer as .partial', async () => {
    const server = await providers();
    server.next({ text: 'one two three', fault: { kind: 'end', at: { frame: 2 } } });
    const folder = await temporaryFolder();
    const { stderr, exitCode } = cli([...polargrid(server), '--out', join(folder, 'a.md'), 'hi'], { env });
    expect(await exitCode).toBe(3);
    expect(await readdir(folder)).toEqual(['a.md.partial']);
    expect(stderr.text).toMatch(/^millrace: .*\n/);
  });
});

describe('how millrace ask fails', () => {
  it('says that a key is wrong, with exit code 1', async () => {
    const server = await providers();
    const { stdout, stderr, exitCode } = cli([...polargrid(server), '--key-env', 'WRONG_KEY', 'hi'], { env });
    expect(await exitCode).toBe(1);
    expect(stdout.text).toBe('');
    expect(stderr.text).toMatch(/^millrace: HTTP 401 .*\n$/);
  });

  it('never shows the key, even where the server says it', async () => {
    const server = await providers();
    server.next({ status: 403, error: { message: `${KEY} may not\nask this` } });
    const { stderr, exitCode } = cli([...polargrid(server), 'hi'], { env: { ...env, MILLRACE_DEBUG: '1' } });
    expect(await exitCode).toBe(1);
    expect(stderr.text).toMatch(/^millrace: HTTP 403/);
    expect(stderr.text).toMatch(/\n {4}at /); // the stack, on request
    expect(stderr.text).not.toContain(KEY);
  });

  it('does not tear its words where the key is as short as one of them', async () => {
    const server = await providers();
    server.next({ status: 403, error: { message: 'I like kites' } });
    const short = { MY_KEY: 'k' };
    const { stderr, exitCode } = cli([...polargrid(server), '--key-env', 'MY_KEY', 'hi'], { env: short });
    expect(await exitCode).toBe(1);
    expect(stderr.text).toMatch(/: I like kites/);
  });

  it('says that a host cannot be reached, with exit code 3', async () => {
    const server = await providers();
    const args = polargrid(server);
    await server.close();
    const { stderr, exitCode } = cli([...args, 'hi'], { env });
    expect(await exitCode).toBe(3);
    expect(stderr.text).toMatch(/^millrace: Could not connect to http:\/\/127\.0\.0\.1:\d+.*\n$/);
  });

  it.each([{ kind: 'reset' as const }, { kind: 'end' as const }, { kind: 'fin' as const }])(
    'gives exit code 3 for an answer that is cut ($kind), after what came',
    async ({ kind }) => {
      const server = await providers();
      server.next({ pieces: ['one ', 'two ', 'three'], fault: { kind, at: { frame: 2 } } });
      const { stdout, stderr, exitCode } = cli([...polargrid(server), 'hi'], { env });
      expect(await exitCode).toBe(3);
      expect(stdout.text).toBe('one ');
      expect(stderr.text.split('\n')[0]).toMatch(/^millrace: /);
    },
  );

  it('gives exit code 1 for a failure that the provider reports', async () => {
    const server = await providers();
    server.next({ fault: { kind: 'in-band-error', at: { frame: 3 } }, error: { message: 'out of memory' } });
    const { stderr, exitCode } = cli([...polargrid(server), 'hi'], { env });
    expect(await exitCode).toBe(1);
    expect(stderr.text).toMatch(/^millrace: .*out of memory/);
  });

  it.each([
    {
      what: 'an unknown provider',
      args: ['-p', 'polar', '-m', 'm', 'hi'],
      says: /infernet, infron, inferencesh, gateway, polargrid/,
    },
    { what: 'no provider', args: ['hi'], says: /--provider/ },
    { what: 'a provider without its model', args: ['-p', 'polargrid', 'hi'], says: /polargrid needs --model NAME/ },
    {
      what: 'an option of another provider',
      args: ['-p', 'infron', '-m', 'm', '--app', 'a/b', 'hi'],
      says: /infron has no use for --app/,
    },
    {
      what: 'an unknown mode',
      args: ['-p', 'infron', '-m', 'm', '--mode', 'jobs', 'hi'],
      says: /has no mode "jobs"; it has chat/,
    },
    { what: 'inferencesh without app and agent', args: ['-p', 'inferencesh', 'hi'], says: /--app .* --agent/ },
    {
      what: 'a limit of zero',
      args: ['-p', 'infron', '-m', 'm', '--max-tokens', '0', 'hi'],
      says: /whole number from 1/,
    },
    {
      what: 'a base that is no URL',
      args: ['-p', 'infron', '-m', 'm', '--base-url', 'x', 'hi'],
      says: /--base-url must be/,
    },
    {
      what: 'a server of one’s own without its base',
      args: ['-p', 'openaiCompatible', '-m', 'm', 'hi'],
      says: /openaiCompatible needs --base-url URL/,
    },
    { what: 'no prompt', args: ['-p', 'infron', '-m', 'm'], says: /there is no prompt/ },
    { what: 'an empty prompt', args: ['-p', 'infron', '-m', 'm', ' '], says: /prompt is empty/ },
    { what: '--json with --out', args: ['-p', 'infron', '-m', 'm', '--json', '-o', 'x', 'hi'], says: /--json.*--out/ },
    { what: '--footer without --out', args: ['-p', 'infron', '-m', 'm', '--footer', 'hi'], says: /go with --out/ },
    {
      what: 'an unknown option',
      args: ['-p', 'infron', '--modle', 'm', 'hi'],
      says: /unknown option '--modle' \(Did you mean/,
    },
  ])('says on one line what is wrong with $what, with exit code 2', async ({ args, says }) => {
    const { stdout, stderr, exitCode } = cli(['ask', ...args], { env });
    expect(await exitCode).toBe(2);
    expect(stdout.text).toBe('');
    expect(stderr.text).toMatch(/^millrace: .*\n$/);
    expect(stderr.text).toMatch(says);
  });

  it.each(['ollama', 'vllm', 'openaiCompatible'])('asks %s without a key', async (name) => {
    const server = await providers({ auth: 'none' });
    const path = name === 'ollama' ? server.baseURLs.ollama : server.baseURLs.openai;
    const { exitCode } = cli(['ask', '-p', name, '-m', 'm', '--base-url', path, 'hi']);
    expect(await exitCode).toBe(0);
    expect(server.requests[0]?.headers.authorization).toBeUndefined();
  });

  it('says which variable a missing key belongs in, with exit code 2', async () => {
    const { stderr, exitCode } = cli(['ask', '-p', 'gateway', '-m', 'm', '--service', 's', 'hi']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/^millrace: gateway needs a key: set MILLRACE_GATEWAY_API_KEY.*\n$/);
  });

  it.each([
    ['--api-key=k-4711-secret'],
    ['--key=k-4711-secret'],
    ['--key-env', 'k_4711_secret'],
    ['--key-env', 'inf-4711-secret'],
  ])('does not repeat a key that was given as an option (%s)', async (...flags) => {
    const { stderr, exitCode } = cli(['ask', '-p', 'infron', '-m', 'm', ...flags, 'hi'], { env });
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/key/);
    expect(stderr.text).not.toContain('4711');
  });

  it('stops on Ctrl-C with exit code 130, and closes the request', async () => {
    const server = await providers({ pace: { perFrameMs: 20 } });
    const { stdout, stop, exitCode } = cli([...polargrid(server), 'hi'], { env });
    await stdout.transcript.waitFor(/North/);
    stop();
    expect(await exitCode).toBe(130);
    expect(await server.requests[0]?.ended).toBe('client');
  });
});

describe('millrace ask as a process', () => {
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-cli-bundle-'));
    file = await bundleCLI(folder);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('ends quietly, and the request with it, when the reader of a pipe leaves', async () => {
    const server = await providers({ pace: { perFrameMs: 10 } });
    const { child, stdout, stderr, exitCode } = spawnCLI(file, [...polargrid(server), 'hi'], env);
    await stdout.waitFor(/North/);
    child.stdout?.destroy();
    expect(await exitCode).toBe(0);
    expect(stderr.text).toBe('');
    expect(await server.requests[0]?.ended).toBe('client');
  });

  it('cancels a task on the first SIGINT, and leaves at once on the second', async () => {
    const server = await providers({ pace: { perFrameMs: 10 } });
    server.next({ fault: { kind: 'stall', at: 'before-headers' } }, { path: /\/cancel$/ });
    const args = ['ask', '-p', 'inferencesh', '--app', 'a/b', '--base-url', server.baseURLs.inferencesh, 'hi'];
    const { child, stdout, exitCode } = spawnCLI(file, args, env);
    await stdout.waitFor(/Report/);
    child.kill('SIGINT');
    let request = await server.nextRequest();
    while (!request.path.endsWith('/cancel')) request = await server.nextRequest();
    child.kill('SIGINT');
    expect(await exitCode).toBe(130);
    expect(await request.ended).toBe('client');
  });

  it('tells its version', async () => {
    const { stdout, exitCode } = spawnCLI(file, ['--version']);
    expect(await exitCode).toBe(0);
    expect(stdout.text).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
