import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cli, temporaryFolder } from '../harness.js';

const NOWHERE = 'redis://me:s3crtWord@127.0.0.1:1';

describe('millrace worker', () => {
  it.each([
    { what: 'no queue', args: ['-o', 'x'], says: /which queue\? Give --queue redis:/ },
    { what: 'no folder', args: ['--queue', NOWHERE], says: /where do the answers go\? Give --out DIR/ },
    {
      what: 'what is no Redis',
      args: ['--queue', 'http://s3crtWord@x', '-o', 'x'],
      says: /--queue takes the URL of a Redis/,
    },
    { what: 'a bad name', args: ['--queue-name', 'a:b'], says: /It must be a text of 1 to 128 characters/ },
    { what: 'a short lease', args: ['--lease', '10ms'], says: /It must be at least 1s/ },
    { what: 'no lease', args: ['--lease', 'none'], says: /It must be at least 1s/ },
    { what: 'no jobs at once', args: ['--concurrency', '0'], says: /whole number from 1 on/ },
    { what: 'two ways of printing', args: ['--json', '--plain'], says: /--json.*--plain/ },
    {
      what: 'no Redis',
      args: ['--queue', NOWHERE, '-o', 'x'],
      says: /there is no Redis at redis:\/\/127\.0\.0\.1:1: nothing/,
    },
    {
      what: 'a config file that is not there',
      args: ['--queue', NOWHERE, '-o', 'x', '--config', 'no.json'],
      says: /no\.json/,
    },
  ])('refuses $what on one line, with exit code 2', async ({ args, says }) => {
    const { stdout, stderr, exitCode } = cli(['worker', ...args], { env: { MILLRACE_DEBUG: '0' } });
    expect(await exitCode).toBe(2);
    expect(stdout.text).toBe('');
    expect(stderr.text).toMatch(/^millrace: .*\n$/);
    expect(stderr.text).toMatch(says);
    expect(stderr.text).not.toContain('s3crtWord');
  });

  it('says where a folder cannot be made', async () => {
    const file = join(await temporaryFolder(), 'file');
    await writeFile(file, '');
    const { makeFolder } = await import('../../../src/cli/worker/makeFolder.js');
    await expect(makeFolder(file)).rejects.toThrow(`${file} cannot be made: a file has its name`);
    await expect(makeFolder(join(file, 'x'))).rejects.toThrow(/cannot be made: a part of its path is a file/);
  });
});
