import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Warnings } from './warnings.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const warning = (name: string, message: string): Error => Object.assign(new Error(message), { name, stack: undefined });

describe('Warnings', () => {
  it('tells a warning that no test expects, and an expected one that did not come', () => {
    const warnings = new Warnings();
    warnings.expect(/^MillraceWarning: .*cancelled/);
    warnings.note(warning('MaxListenersExceededWarning', 'a leak'));
    expect(warnings.take()).toEqual([
      'unexpected MaxListenersExceededWarning: a leak',
      'expected and not seen: /^MillraceWarning: .*cancelled/',
    ]);
    expect(warnings.take()).toEqual([]);
  });

  it('has nothing to tell of our own warnings that nobody expects', () => {
    const warnings = new Warnings();
    warnings.note(warning('MillraceWarning', 'could not be cancelled'));
    expect(warnings.take()).toEqual([]);
  });

  it('has nothing to tell of what was expected and came', () => {
    const warnings = new Warnings();
    warnings.expect(/^MillraceWarning: .*cancelled/);
    warnings.note(warning('MillraceWarning', 'could not be cancelled'));
    expect(warnings.take()).toEqual([]);
  });
});

/** Runs test files of their own under the project's set-up; gives what vitest says, without colours. */
async function run(
  files: Readonly<Record<string, string>>,
): Promise<{ readonly code: unknown; readonly said: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-warnings-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const test = { globals: true, include: ['*.test.mjs'], setupFiles: [join(root, 'test/support/setup.ts')] };
  await writeFile(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify({ test })};\n`);
  for (const [name, code] of Object.entries(files)) await writeFile(join(folder, name), code);
  const cli = join(root, 'node_modules/vitest/vitest.mjs');
  const child = spawn(process.execPath, [cli, 'run', '--root', folder], {
    env: { ...process.env, NO_COLOR: '1', VITEST: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, error, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise((resolve) => child.once('exit', resolve)),
  ]);
  return { code, said: out + error };
}

it('fails a file in which the process warns, although its tests pass', async () => {
  const leak = `import { EventEmitter } from 'node:events';
    it('leaks', () => { const emitter = new EventEmitter(); for (let i = 0; i < 11; i += 1) emitter.on('x', () => undefined); });`;
  const rejection = `it('forgets', async () => { void Promise.reject(new Error('unheard')); await 1; });`;
  const clean = `it('is well', () => { expect(1).toBe(1); });`;
  const { code, said } = await run({
    'leak.test.mjs': leak,
    'rejection.test.mjs': rejection,
    'clean.test.mjs': clean,
  });
  expect(said).toContain('unexpected MaxListenersExceededWarning');
  expect(said).toContain('Unhandled Rejection');
  expect(said).toMatch(/Test Files +1 failed \| 2 passed/);
  expect(said).toMatch(/Tests +3 passed/);
  expect(code).toBe(1);
});
