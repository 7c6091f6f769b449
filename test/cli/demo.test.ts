import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { widthOf } from '../../src/internal/textWidth.js';
import { SAMPLE_TEXTS } from '../../src/testing/wire/sampleAnswers.js';
import { bundleCLI, cli, spawnCLI, temporaryFolder } from './harness.js';

const ESCAPE = '\u001b';
/** Cells of a row in the table of receipts, which is written in columns where there is no terminal. */
function row(output: string, title: string): string[] {
  const line = output.split('\n').find((text) => text.startsWith(`${title} `)) ?? '';
  return line
    .slice(title.length)
    .trim()
    .split(/\s{2,}/);
}

describe('millrace demo without a terminal', () => {
  it('streams from three providers, each to its own file, and ends well', async () => {
    const out = await temporaryFolder();
    const { stdout, stderr, exitCode } = cli(['demo', '--pace', '0', '--out', out]);
    expect(await exitCode).toBe(0);
    expect(stderr.text).toBe('');
    expect(row(stdout.text, 'provider')).toEqual(['polargrid', 'inferencesh', 'gateway']);
    expect(row(stdout.text, 'outcome')).toEqual(['interrupted', 'complete', 'complete']);
    expect(row(stdout.text, 'finish')).toEqual(['–', 'stop', 'stop']);
    expect(row(stdout.text, 'attempts')).toEqual(['1', '2', '1']);
    expect(stdout.text).toMatch(/inferencesh lost its connection in mid-answer/);
    expect(row(stdout.text, 'tokens')[0]).toBe('unknown');
    expect(row(stdout.text, 'tokens')[1]).toMatch(/^\d+ in, \d+ out$/);
    expect(row(stdout.text, 'cost')[2]).toMatch(/^0\.\d+ USD$/);
    expect(row(stdout.text, 'file')).toEqual(['polargrid.txt.partial', 'inferencesh.txt', 'gateway.txt']);

    expect((await readdir(out)).sort()).toEqual(['gateway.txt', 'inferencesh.txt', 'polargrid.txt.partial']);
    expect(await readFile(join(out, 'gateway.txt'), 'utf8')).toBe(SAMPLE_TEXTS.gateway);
    expect(await readFile(join(out, 'inferencesh.txt'), 'utf8')).toBe(SAMPLE_TEXTS.inferencesh);
    const cut = await readFile(join(out, 'polargrid.txt.partial'), 'utf8');
    expect(cut.length).toBeGreaterThan(100);
    expect(cut.length).toBeLessThan(SAMPLE_TEXTS.polargrid.length);
    expect(SAMPLE_TEXTS.polargrid.startsWith(cut)).toBe(true);
    expect(row(stdout.text, 'chars')[0]).toBe(String(cut.length));
  });

  it('prints lines for a person, without escape codes and without a flood', async () => {
    const { stdout, exitCode } = cli(['demo', '--pace', '0', '--out', await temporaryFolder()]);
    await exitCode;
    expect(stdout.text).not.toContain(ESCAPE);
    const lines = stdout.text.split('\n').filter((line) => / s {2}(polargrid|inferencesh|gateway) /.test(line));
    expect(lines.length).toBeGreaterThan(20);
    expect(lines.length).toBeLessThan(70);
    const texts = lines.map((line) => line.replace(/^ *[\d.]+ s {2}\w+ +/, ''));
    expect(texts.filter((text) => text.startsWith('thinks: ')).length).toBeGreaterThan(0);
    expect(texts.some((text) => /^status: received, queued.*running$/.test(text))).toBe(true);
    expect(texts.filter((text) => text.startsWith('log: '))).toHaveLength(3);
    expect(texts.filter((text) => text.startsWith('progress: '))).toHaveLength(4);
    expect(texts.reduce((sum, text) => sum + text.length, 0) / texts.length).toBeGreaterThan(30);
    expect(stdout.text).toMatch(/no key, no network/);
    expect(stdout.text).toMatch(/polargrid was cut on purpose/);
    expect(stdout.text).toMatch(/npx millrace ask --help/);
  });

  it('overwrites the files of an earlier run', async () => {
    const out = await temporaryFolder();
    await writeFile(join(out, 'gateway.txt'), 'old');
    expect(await cli(['demo', '--pace', '0', '--out', out]).exitCode).toBe(0);
    expect(await cli(['demo', '--pace', '0', '--out', out]).exitCode).toBe(0);
    expect(await readFile(join(out, 'gateway.txt'), 'utf8')).toBe(SAMPLE_TEXTS.gateway);
  });

  it('says on one line that a file cannot be written, with exit code 4', async () => {
    const file = join(await temporaryFolder(), 'a-file');
    await writeFile(file, '');
    const { stderr, exitCode } = cli(['demo', '--pace', '0', '--out', join(file, 'folder')]);
    expect(await exitCode).toBe(4);
    expect(stderr.text).toMatch(/^millrace: .*could not be written.*\n$/);
  });

  it('stops all three on Ctrl-C and keeps what came', async () => {
    const out = await temporaryFolder();
    const { stdout, stop, exitCode } = cli(['demo', '--pace', '20', '--out', out]);
    await stdout.transcript.waitFor(/log: prompt accepted/);
    stop();
    expect(await exitCode).toBe(130);
    expect(row(stdout.text, 'outcome')).toEqual(['stopped', 'stopped', 'stopped']);
    expect(row(stdout.text, 'billing')).toEqual(['unknown', 'ended', 'unknown']);
    expect((await readdir(out)).sort()).toEqual([
      'gateway.txt.partial',
      'inferencesh.txt.partial',
      'polargrid.txt.partial',
    ]);
  });
});

describe('millrace demo on a terminal', () => {
  const terminal = { columns: 90, rows: 30 };

  it('redraws panes that fit the window, and gives the cursor back', async () => {
    const { stdout, exitCode } = cli(['demo', '--pace', '4', '--out', await temporaryFolder()], { terminal });
    expect(await exitCode).toBe(0);
    const hidden = stdout.text.lastIndexOf(`${ESCAPE}[?25l`);
    const shown = stdout.text.lastIndexOf(`${ESCAPE}[?25h`);
    expect(hidden).toBeGreaterThan(0);
    expect(shown).toBeGreaterThan(hidden);
    expect(stdout.text).toContain(`${ESCAPE}[32m`); // green: complete
    // eslint-disable-next-line no-control-regex -- escape codes are what is taken out
    const lines = stdout.text.replace(/\u001b\[[?\d;]*[A-Za-z]|\r/g, '').split('\n');
    expect(Math.max(...lines.map(widthOf))).toBeLessThan(terminal.columns);
    expect(stdout.text).toMatch(/✂ interrupted/);
  });

  it('respects NO_COLOR', async () => {
    const { stdout, exitCode } = cli(['demo', '--pace', '1', '--out', await temporaryFolder()], {
      terminal,
      env: { NO_COLOR: '1' },
    });
    await exitCode;
    // eslint-disable-next-line no-control-regex -- a colour is an escape code that ends with m
    expect(stdout.text).not.toMatch(/\u001b\[[\d;]*m/);
  });

  it('gives the cursor back when it is stopped', async () => {
    const { stdout, stop, exitCode } = cli(['demo', '--pace', '20', '--out', await temporaryFolder()], { terminal });
    await stdout.transcript.waitFor(/prompt accepted/);
    stop();
    expect(await exitCode).toBe(130);
    expect(stdout.text.lastIndexOf(`${ESCAPE}[?25h`)).toBeGreaterThan(stdout.text.lastIndexOf(`${ESCAPE}[?25l`));
    expect(stdout.text).toMatch(/■ stopped/);
  });

  it('prints lines where the window is too small for panes', async () => {
    const { stdout, exitCode } = cli(['demo', '--pace', '0', '--out', await temporaryFolder()], {
      terminal: { columns: 40, rows: 10 },
      env: { NO_COLOR: '1' },
    });
    expect(await exitCode).toBe(0);
    expect(stdout.text).not.toContain(ESCAPE);
  });
});

describe('millrace demo as a process', () => {
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-cli-bundle-'));
    file = await bundleCLI(folder);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('ends by itself, also where a proxy is set', async () => {
    const out = await temporaryFolder();
    const { stdout, stderr, exitCode } = spawnCLI(file, ['demo', '--pace', '0', '--out', out], {
      HTTP_PROXY: 'http://127.0.0.1:9',
      NO_PROXY: '',
    });
    expect(await exitCode).toBe(0);
    expect(stderr.text).toBe('');
    expect(row(stdout.text, 'outcome')).toEqual(['interrupted', 'complete', 'complete']);
  });

  it('stops on SIGINT with the table, the .partial files and exit code 130', async () => {
    const out = await temporaryFolder();
    const { child, stdout, stderr, exitCode } = spawnCLI(file, ['demo', '--pace', '30', '--out', out]);
    await stdout.waitFor(/log: prompt accepted/);
    child.kill('SIGINT');
    expect(await exitCode).toBe(130);
    expect(stderr.text).toBe(''); // the task's cancellation went through
    expect(row(stdout.text, 'outcome')).toEqual(['stopped', 'stopped', 'stopped']);
    expect((await readdir(out)).sort()).toEqual([
      'gateway.txt.partial',
      'inferencesh.txt.partial',
      'polargrid.txt.partial',
    ]);
    const text = await readFile(join(out, 'inferencesh.txt.partial'), 'utf8');
    expect(SAMPLE_TEXTS.inferencesh.startsWith(text)).toBe(true);
  });

  it('stops when the reader of its output leaves', async () => {
    const { child, stdout, stderr, exitCode } = spawnCLI(file, [
      'demo',
      '--pace',
      '20',
      '--out',
      await temporaryFolder(),
    ]);
    await stdout.waitFor(/log: prompt accepted/);
    child.stdout?.destroy();
    expect(await exitCode).toBe(0);
    expect(stderr.text).toBe('');
  });
});
