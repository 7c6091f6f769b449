import { describe, expect, it } from 'vitest';
import { cli } from './harness.js';

describe('millrace', () => {
  it('tells its version', async () => {
    const { stdout, exitCode } = cli(['--version']);
    expect(await exitCode).toBe(0);
    expect(stdout.text).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([[['--help']], [['demo', '--help']], [['ask', '--help']], [['mock', '--help']]])(
    'teaches with examples: %s',
    async (args) => {
      const { stdout, stderr, exitCode } = cli(args);
      expect(await exitCode).toBe(0);
      expect(stderr.text).toBe('');
      expect(stdout.text).toMatch(/Usage: millrace/);
      expect(stdout.text).toMatch(/Examples:\n {2}\$ /);
    },
  );

  it('documents its exit codes', async () => {
    const { stdout, exitCode } = cli(['ask', '--help']);
    await exitCode;
    for (const code of ['0', '1', '2', '3', '4', '130'])
      expect(stdout.text).toMatch(new RegExp(`^ {2}${code} +\\w`, 'm'));
  });

  it('shows its help, with exit code 2, where nothing is asked for', async () => {
    const { stdout, stderr, exitCode } = cli([]);
    expect(await exitCode).toBe(2);
    expect(stdout.text).toBe('');
    expect(stderr.text).toMatch(/Usage: millrace/);
  });

  it('refuses an unknown command on one line', async () => {
    const { stderr, exitCode } = cli(['aks']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/^millrace: unknown command 'aks' \(Did you mean ask\?\)\n$/);
  });
});
