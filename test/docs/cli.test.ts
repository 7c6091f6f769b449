import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { PassThrough } from 'node:stream';
import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import type { CommandDefinition, Example } from '../../src/cli/commandDefinition.js';
import { COMMANDS } from '../../src/cli/commands.js';
import { loadConfig } from '../../src/cli/config.js';
import { MAIN_EXAMPLES } from '../../src/cli/helpText.js';
import { createProgram } from '../../src/cli/program.js';
import { Capture, temporaryFolder } from '../cli/harness.js';
import { CONFIG_EXAMPLE, cliPage, COMMAND, DOCUMENT } from '../support/cliPage.js';

describe('docs/cli.md', () => {
  it('is what the definitions of the commands say', async () => {
    const written = await cliPage();
    if (process.env['MILLRACE_CLI'] === 'write') writeFileSync(DOCUMENT, written);
    const onDisk = existsSync(DOCUMENT) ? readFileSync(DOCUMENT, 'utf8') : '';
    expect(onDisk === written, `docs/cli.md is stale: ${COMMAND}`).toBe(true);
  });

  it('has every command and every flag', async () => {
    const page = await cliPage();
    for (const { name, flags } of COMMANDS) {
      const [, after = ''] = page.split(`\n## millrace ${name}\n`);
      const [chapter = ''] = after.split('\n## ');
      for (const flag of flags) expect(chapter).toContain(`- \`${flag.flags}\`: `);
    }
  });

  it('links only to what is there', async () => {
    const page = await cliPage();
    const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );
    for (const [, link = ''] of page.matchAll(/\]\(#([^)]+)\)/g)) expect(headings).toContain(link);
  });

  it('shows a config file that is right', async () => {
    const file = join(await temporaryFolder(), 'millrace.config.yaml');
    await writeFile(file, CONFIG_EXAMPLE);
    const config = await loadConfig({ env: {} }, file);
    expect([...config.providers.keys()]).toEqual(['polargrid', 'house']);
    expect(config.run.timeoutFirstContent).toBe(120_000);
  });
});

/** The words of a line of a shell from `millrace` to the next pipe, as far as the examples use shells. */
function wordsOf({ line }: Example): string[] {
  const [, command = ''] = /(?:^|\s|\()millrace (.*?)(?:\)| \|(?!.*millrace)| > |$)/.exec(line) ?? [];
  return [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}

const all: readonly (readonly [string, Example])[] = [
  ...COMMANDS.flatMap(({ name, examples }) => examples.map((example) => [name, example] as const)),
  ...MAIN_EXAMPLES.map((example) => ['', example] as const),
];

describe('the examples of the helps', () => {
  it.each(all.map(([name, example]) => ({ name, example, line: example.line })))(
    'are taken as they are written: $line',
    async ({ name, example }) => {
      const words = wordsOf(example);
      const asked: string[] = [];
      const commands = COMMANDS.map((command): CommandDefinition => ({
        ...command,
        action: () => {
          asked.push(command.name);
          return Promise.resolve(0);
        },
      }));
      const [stdout, stderr] = [new Capture(), new Capture()];
      const { signal } = new AbortController();
      const context = { stdin: new PassThrough(), stdout, stderr, env: {}, signal, insisted: () => signal };
      try {
        await createProgram(context, () => undefined, commands).parseAsync(words, { from: 'user' });
      } catch (error) {
        if (!(error instanceof CommanderError)) throw error;
      }
      expect(stderr.text).toBe('');
      expect(asked).toEqual([name === '' ? words[0] : name]);
    },
  );
});
