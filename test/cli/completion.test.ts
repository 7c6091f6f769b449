import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.js';
import { longName } from '../../src/cli/commandDefinition.js';
import { completionsFor } from '../../src/cli/completion.js';
import { SHELLS } from '../../src/cli/completionScript.js';
import { DIALECT_NAMES } from '../../src/cli/dialects.js';
import { PROVIDER_NAMES } from '../../src/cli/providerCall.js';
import { bundleCLI, cli } from './harness.js';

const valuesOf = (...words: readonly string[]): string[] => completionsFor(words).candidates.map(({ value }) => value);

describe('what millrace completes', () => {
  it.each([
    [[''], COMMANDS.map(({ name }) => name)],
    [['de'], ['demo']],
    [['re'], ['replay']],
    [['--v'], ['--version']],
    [['ask', '--max'], ['--max-tokens']],
    [
      ['ask', '--thinking', ''],
      ['hide', 'dim', 'show'],
    ],
    [['ask', '--thinking=s'], ['show']],
    [['ask', '-p', ''], PROVIDER_NAMES],
    [['ask', '--provider', 'POLAR'], ['polargrid']],
    [['ask', '--provider=polar'], ['polargrid']],
    [
      ['ask', '-p', 'polargrid', '--mode', ''],
      ['chat', 'completion'],
    ],
    [['ask', '--provider=infernet', '--mode', 'n'], ['native']],
    [
      ['ask', '-m', '--mode', '--mode', 'gene'],
      ['generate', 'generateContent'],
    ],
    [['doctor', 'an'], ['anthropic']],
    [['replay', '--dialect', ''], DIALECT_NAMES],
    [['replay', '--dialect', 'cha'], ['chat']],
    [['completion', ''], SHELLS],
    [['run', '--timeout-c'], ['--timeout-content-idle']],
    [['run', '--publish-on', 'st'], ['stop']],
    [['ask', '-p', 'polargrid', '--pro'], []], // it is there already
    [['ask', ''], []],
    [['ask', '--', '--mo'], []],
    [['nothing', '--mo'], []],
    [['mock', 'x', ''], []],
  ])('%j', (words, expected) => {
    expect(valuesOf(...words)).toEqual(expected);
  });

  it.each([
    [['run', ''], 'files'],
    [['run', '--out', ''], 'folders'],
    [['run', '-o', ''], 'folders'],
    [['run', '--config=x'], 'files'],
    [['run', 'jobs.jsonl', ''], 'none'],
    [['replay', '--json', ''], 'files'],
    [['replay', '--pace', '4', 'a'], 'files'],
    [['ask', '-o', 'x'], 'files'],
    [['ask', ''], 'none'],
    [['demo', '--out', ''], 'folders'],
  ] as const)('leaves to the shell what are files: %j', (words, rest) => {
    expect(completionsFor(words).rest).toBe(rest);
  });

  it('knows every command and every flag', () => {
    for (const { name, flags } of COMMANDS) {
      expect(valuesOf(name, '--')).toEqual([...flags.map((flag) => `--${longName(flag)}`), '--help']);
    }
  });

  it('has an answer for whatever is typed', () => {
    const words = fc.array(fc.oneof(fc.string(), fc.constantFrom('ask', '-p', '--mode', '--', '-', '--x=', '=', ':')));
    fc.assert(
      fc.property(words, (typed) => {
        for (const { value, about } of completionsFor(typed).candidates) expect(value + about).not.toMatch(/[\t\n]/);
      }),
    );
  });

  it('is told to a shell with a directive at its end', async () => {
    const { stdout, exitCode } = cli(['complete', '--', 'ask', '-p', 'polar']);
    expect(await exitCode).toBe(0);
    expect(stdout.text).toBe('polargrid\tPOLARGRID_API_KEY\n:4\n');
    const files = cli(['complete', '--', 'run', '']);
    expect(await files.exitCode).toBe(0);
    expect(files.stdout.text).toBe(':0\n');
  });
});

describe('millrace completion', () => {
  it.each(SHELLS)('prints a script for %s that asks millrace', async (shell) => {
    const { stdout, stderr, exitCode } = cli(['completion', shell]);
    expect(await exitCode).toBe(0);
    expect(stderr.text).toBe('');
    expect(stdout.text).toMatch(/millrace complete '?--'?/);
    expect(stdout.text.endsWith('\n')).toBe(true);
  });

  it('refuses another shell', async () => {
    const { stderr, exitCode } = cli(['completion', 'tcsh']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/^millrace: .*Allowed choices are bash, zsh, fish, powershell\.\n$/);
  });

  it.each(['bash', 'zsh', 'fish', 'pwsh'])('prints what %s can read, where it is installed', async (shell) => {
    const { stdout, exitCode } = cli(['completion', shell === 'pwsh' ? 'powershell' : shell]);
    await exitCode;
    if (spawnSync(shell, ['--version']).error !== undefined) return;
    const args = shell === 'pwsh' ? ['-NoProfile', '-Command', '-'] : ['-n'];
    expect(spawnSync(shell, args, { input: stdout.text, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });
});

const run = promisify(execFile);
const hasBash = spawnSync('bash', ['--version']).status === 0;

describe.skipIf(!hasBash)('completion in a real bash', () => {
  let folder: string;
  let script: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-bash-'));
    const program = await bundleCLI(folder);
    script = join(folder, 'completion.bash');
    const millrace = `millrace() { '${process.execPath}' '${program}' "$@"; }`;
    const { stdout } = await run(process.execPath, [program, 'completion', 'bash']);
    await writeFile(script, `${millrace}\n${stdout}`);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** As bash calls it: the words as it has split them, the last one under the cursor. */
  async function complete(...words: readonly string[]): Promise<string[]> {
    const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
    const { stdout } = await run(
      'bash',
      [
        '--norc',
        '-c',
        `set -u; source "$0"; COMP_WORDS=(millrace ${quoted}); COMP_CWORD=${String(words.length)}; _millrace_complete; printf '%s\\n' "\${COMPREPLY[@]+"\${COMPREPLY[@]}"}"`,
        script,
      ],
      { cwd: folder },
    );
    return stdout.split('\n').filter((line) => line !== '');
  }

  it.each([
    [['de'], ['demo']],
    [['ask', '-p', 'polar'], ['polargrid']],
    [['ask', '--provider', '=', 'polar'], ['polargrid']],
    [
      ['ask', '--thinking', '='],
      ['hide', 'dim', 'show'],
    ],
    [['ask', '-m', 'qwen2', ':', '14b', '--max'], ['--max-tokens']],
    [['ask', "don't $(touch hacked) `touch hacked`", '--foot'], ['--footer']],
    [
      ['replay', '--dialect', 'infernet'],
      ['infernet-jobs', 'infernet-native'],
    ],
  ])('%j', async (words, expected) => {
    expect(await complete(...words)).toEqual(expected);
    expect(spawnSync('ls', [folder], { encoding: 'utf8' }).stdout).not.toContain('hacked');
  });

  it.skipIf(spawnSync('script', ['--version']).status !== 0)('completes files and folders at the prompt', async () => {
    await mkdir(join(folder, 'answers'));
    await writeFile(join(folder, 'answers.txt'), '');
    await writeFile(join(folder, 'my jobs.jsonl'), '');
    // What completion may do is only known at a prompt, for which bash wants a terminal. Ctrl-A and # make a line a comment.
    const typed = [
      'source ./completion.bash',
      'millrace run my\t\u0001#',
      'millrace demo --out ans\t\u0001#',
      'exit 0',
      '',
    ];
    const bash = spawn('script', ['-qec', 'bash --norc --noprofile -i', '/dev/null'], {
      cwd: folder,
      env: { ...process.env, PS1: '> ', TERM: 'dumb', INPUTRC: '/dev/null' },
    });
    bash.stdin.end(typed.join('\n'));
    const [shown] = await Promise.all([text(bash.stdout), once(bash, 'close')]);
    expect(shown).toContain('run my\\ jobs.jsonl');
    expect(shown).toContain('--out answers/');
  });
});
