import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.js';
import { cli } from './harness.js';

describe('millrace', () => {
  it('tells its version', async () => {
    const { stdout, exitCode } = cli(['--version']);
    expect(await exitCode).toBe(0);
    expect(stdout.text).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([[['--help']], ...COMMANDS.map(({ name }) => [[name, '--help']])])(
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

  it.each([
    ['rnu', 'run'],
    ['replya', 'replay'],
    ['docter', 'doctor'],
    ['complete', 'completion'],
  ])('knows what %s was meant as', async (typed, meant) => {
    const { stderr, exitCode } = cli([typed]);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toBe(`millrace: unknown command '${typed}' (Did you mean ${meant}?)\n`);
  });

  it('breaks its help where the terminal ends', async () => {
    for (const { name, sections = [] } of COMMANDS) {
      const { stdout, exitCode } = cli([name, '--help'], { terminal: { columns: 84, rows: 24 } });
      expect(await exitCode).toBe(0);
      const fixed = sections.flatMap(({ lines, isTable }) => (isTable === true ? lines : []));
      const [shown = ''] = stdout.text.split('\nExamples:');
      const long = shown.split('\n').filter((line) => line.length > 84 && !fixed.includes(line.trim()));
      expect(long).toEqual([]);
    }
  });
});

describe('millrace run', () => {
  it.each([
    { what: 'no folder', args: ['jobs.jsonl'], says: /where do the answers go\? Give --out DIR, or --dry-run/ },
    { what: 'no jobs', args: ['-o', 'x'], says: /which jobs\? Give a file, or -/ },
    { what: 'a time that is none', args: ['x', '--timeout-attempt', 'soon'], says: /must be a time such as 30s/ },
    { what: 'no money', args: ['x', '--max-cost', '0'], says: /must be a number above 0/ },
    { what: 'two ways of printing', args: ['x', '--json', '--plain'], says: /--json.*--plain/ },
    { what: 'an unknown reason', args: ['x', '--publish-on', 'end'], says: /must be some of stop, length/ },
  ])('refuses $what on one line, with exit code 2', async ({ args, says }) => {
    const { stdout, stderr, exitCode } = cli(['run', ...args]);
    expect(await exitCode).toBe(2);
    expect(stdout.text).toBe('');
    expect(stderr.text).toMatch(/^millrace: .*\n$/);
    expect(stderr.text).toMatch(says);
  });
});
