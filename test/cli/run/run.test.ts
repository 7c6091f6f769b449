import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startProviderServer, type ScriptedAnswer } from 'millrace/testing';
import {
  type Asked,
  chanceOf,
  finalFiles,
  JOB_KEYS,
  jobLines,
  type PlannedJob,
  planJobs,
  startJobServer,
} from '../../support/jobWorld.js';
import { bundleCLI, cli, type CLIRun, type CLISettings, providers, spawnCLI, temporaryFolder } from '../harness.js';

/** Jobs in a file, a server for them, and a folder for the answers. */
async function prepare(count: number): Promise<World> {
  const jobs = planJobs(count, chanceOf(7));
  const { server, asked } = await startJobServer(jobs, chanceOf(8), false);
  const folder = await temporaryFolder();
  const file = join(folder, 'jobs.jsonl');
  await writeFile(file, jobLines(jobs, server));
  return { jobs, asked, folder, file, out: join(folder, 'out') };
}

interface World {
  readonly jobs: readonly PlannedJob[];
  readonly asked: readonly Asked[];
  readonly folder: string;
  readonly file: string;
  readonly out: string;
}

function run(args: readonly string[], settings: CLISettings = {}): CLIRun {
  return cli(['run', ...args], { ...settings, env: { ...JOB_KEYS, ...settings.env } });
}

const expectedFiles = (jobs: readonly PlannedJob[]): Map<string, string> =>
  new Map(jobs.map(({ id, answer }) => [`${id}.txt`, answer]));

interface Report {
  readonly totals: { readonly outcomes: Readonly<Record<string, number>>; readonly askedAgain: number };
  readonly stopped: string | null;
  readonly jobs: readonly {
    readonly id: string;
    readonly outcome: string;
    readonly skipped?: true;
    readonly chars: number;
  }[];
}
const reportIn = async (out: string): Promise<Report> =>
  JSON.parse(await readFile(join(out, 'report.json'), 'utf8')) as Report;

describe('millrace run', () => {
  it('writes every answer into its file, and a report', async () => {
    const { jobs, file, out } = await prepare(12);
    const { stdout, stderr, exitCode } = run([file, '--out', out]);
    expect(await exitCode).toBe(0);
    expect(stderr.text).toBe('');
    expect(finalFiles(out)).toEqual(expectedFiles(jobs));
    expect((await readdir(out)).filter((name) => !name.endsWith('.txt')).sort()).toEqual([
      '.millrace',
      'report.html',
      'report.json',
    ]);
    expect(stdout.text).toContain('12 of 12 jobs complete');
    const report = await reportIn(out);
    expect(report.totals.outcomes).toMatchObject({ complete: 12, failed: 0 });
    expect(report.jobs.map(({ id, chars }) => [id, chars])).toEqual(jobs.map(({ id, answer }) => [id, answer.length]));
    expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('job-011');
  });

  it('asks nothing when it is run again, and says so', async () => {
    const { jobs, asked, file, out } = await prepare(6);
    await run([file, '-o', out]).exitCode;
    const before = asked.length;
    const again = run([file, '-o', out]);
    expect(await again.exitCode).toBe(0);
    expect(asked).toHaveLength(before);
    expect((await reportIn(out)).jobs.every(({ skipped }) => skipped === true)).toBe(true);
    expect(finalFiles(out)).toEqual(expectedFiles(jobs));
  });

  it('asks again for a file that is gone, and for a job that was added', async () => {
    const { jobs, asked, file, out, folder } = await prepare(6);
    const first = (await readFile(file, 'utf8')).split('\n').slice(0, 5).join('\n');
    const fewer = join(folder, 'fewer.jsonl');
    await writeFile(fewer, first);
    await run([fewer, '-o', out]).exitCode;
    await rm(join(out, 'job-001.txt'));
    const before = asked.length;
    expect(await run([file, '-o', out]).exitCode).toBe(0);
    const again = asked.slice(before).map(({ id }) => id);
    expect(again.sort()).toEqual(['job-001', 'job-005']);
    expect(finalFiles(out)).toEqual(expectedFiles(jobs));
  });

  it('reads jobs from standard input, with defaults from flags', async () => {
    const { baseURLs } = await providers();
    const out = join(await temporaryFolder(), 'out');
    const { exitCode, stdout } = run(
      ['-', '-o', out, '-p', 'polargrid', '-m', 'm', '--base-url', baseURLs.polargrid, '--output', 'notes/{id}.md'],
      { stdin: '{"id":"a","prompt":"Hello"}\n\n{"id":"b","prompt":"Hello again"}\n' },
    );
    expect(await exitCode, stdout.text).toBe(0);
    expect(await readdir(join(out, 'notes'))).toEqual(['a.md', 'b.md']);
  });

  it('writes documents and events where it is told so, and takes the whole of a request', async () => {
    const server = await startProviderServer({ script: () => ({ text: 'An answer.' }) });
    onTestFinished(() => server.close());
    const out = join(await temporaryFolder(), 'out');
    const request = { model: 'm', messages: [{ role: 'user', content: 'Hello' }] };
    const jobs = [
      { id: 'document', provider: 'polargrid', baseUrl: server.baseURLs.polargrid, request, format: 'json' },
      { id: 'events', provider: 'polargrid', baseUrl: server.baseURLs.polargrid, request, format: 'events' },
    ];
    const { exitCode, stdout } = run(['-', '-o', out], { stdin: jobs.map((job) => JSON.stringify(job)).join('\n') });
    expect(await exitCode, stdout.text).toBe(0);
    expect(JSON.parse(await readFile(join(out, 'document.json'), 'utf8'))).toMatchObject({
      text: 'An answer.',
      finish: { reason: 'stop' },
    });
    const events = (await readFile(join(out, 'events.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(events.map((line) => (JSON.parse(line) as { type: string }).type)).toContain('finish');
  });

  it('fails where a job fails, and leaves it ready to be run again', async () => {
    let isBroken = true;
    const server = await startProviderServer({
      script: ({ text }): ScriptedAnswer | undefined =>
        isBroken && text.includes('bad') ? { status: 400, error: { message: 'no such thing' } } : { text: 'Fine.' },
    });
    onTestFinished(() => server.close());
    const out = join(await temporaryFolder(), 'out');
    const jobs = ['good', 'bad', 'better'].map((id) => JSON.stringify({ id, prompt: `a ${id} one` })).join('\n');
    const args = ['-o', out, '-p', 'polargrid', '-m', 'm', '--base-url', server.baseURLs.polargrid];
    const first = run(['-', ...args], { stdin: jobs });
    expect(await first.exitCode).toBe(1);
    expect(first.stdout.text).toContain('2 of 3 jobs complete, 1 failed');
    expect(await readdir(out)).toEqual([
      '.millrace',
      'better.txt',
      'failed.jsonl',
      'good.txt',
      'report.html',
      'report.json',
    ]);
    isBroken = false;
    const before = server.requests.length;
    const again = run([join(out, 'failed.jsonl'), ...args]);
    expect(await again.exitCode, again.stderr.text).toBe(0);
    expect(server.requests.length - before).toBe(1);
    expect(await readFile(join(out, 'bad.txt'), 'utf8')).toBe('Fine.');
    expect(await readdir(out)).not.toContain('failed.jsonl');
  });

  it('prints what happens as JSON for programs', async () => {
    const { file, out } = await prepare(3);
    const { stdout, exitCode } = run([file, '-o', out, '--json']);
    expect(await exitCode).toBe(0);
    const lines = stdout.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly type: string });
    expect(lines[0]).toMatchObject({ type: 'run', jobs: 3, finished: 0 });
    expect(lines.filter(({ type }) => type === 'end')).toHaveLength(3);
    expect(lines.at(-1)).toMatchObject({ type: 'summary', done: 3, complete: 3 });
    expect(stdout.text).not.toContain('Tell me about');
  });
});

describe('bad input', () => {
  it.each([
    [
      'a job that is wrong',
      '{"id":"a","provider":"polargird","model":"m","prompt":"x"}',
      'stdin:1: provider: unknown provider',
    ],
    ['no jobs', '', 'stdin: holds no jobs'],
    [
      'two jobs for one file',
      '{"id":"a","provider":"polargrid","model":"m","prompt":"x"}\n{"id":"A","provider":"polargrid","model":"m","prompt":"y"}',
      'stdin:2: output: is the same file as that of line 1',
    ],
    ['a request that the API refuses', '{"id":"a","provider":"polargrid","request":{"model":5}}', 'stdin:1: request.'],
  ])('%s is told with its line, and nothing is asked', async (_, stdin, message) => {
    const out = join(await temporaryFolder(), 'out');
    const { stderr, exitCode } = run(['-', '-o', out], { stdin });
    expect(await exitCode).toBe(2);
    expect(stderr.text).toContain(message);
    expect(existsSync(out)).toBe(false);
  });

  it('keys that are missing are named, all of them, before anything is asked', async () => {
    const { file, out } = await prepare(4);
    const { stderr, exitCode } = run([file, '-o', out], { env: { POLARGRID_API_KEY: '', INFERNET_API_KEY: '' } });
    expect(await exitCode).toBe(2);
    expect(stderr.text).toContain('POLARGRID_API_KEY');
    expect(stderr.text).toContain('INFERNET_API_KEY');
    expect(existsSync(out)).toBe(false);
  });

  it('files in the way are told before anything is asked', async () => {
    const { asked, file, out } = await prepare(4);
    await mkdir(out);
    await writeFile(join(out, 'job-002.txt'), 'mine');
    const refused = run([file, '-o', out]);
    expect(await refused.exitCode).toBe(2);
    expect(refused.stderr.text).toContain('job-002.txt (line 3) is there already');
    expect(asked).toEqual([]);
    expect(await run([file, '-o', out, '--if-exists', 'skip']).exitCode).toBe(0);
    expect(await readFile(join(out, 'job-002.txt'), 'utf8')).toBe('mine');
    expect(await run([file, '-o', out, '--if-exists', 'overwrite']).exitCode).toBe(0);
  });

  it('--dry-run checks everything and makes nothing', async () => {
    const { asked, file, out } = await prepare(30);
    const { stdout, exitCode } = run([file, '-o', out, '--dry-run']);
    expect(await exitCode).toBe(0);
    expect(stdout.text).toContain('30 jobs: all can be run, and nothing was asked');
    expect(stdout.text).toContain('job-000.txt');
    expect(asked).toEqual([]);
    expect(existsSync(out)).toBe(false);
  });

  it('--dry-run finds a file that is in the way, and counts what is finished', async () => {
    const { asked, file, out } = await prepare(4);
    await mkdir(out);
    await writeFile(join(out, 'job-002.txt'), 'mine');
    const refused = run([file, '-o', out, '--dry-run']);
    expect(await refused.exitCode).toBe(2);
    expect(refused.stderr.text).toContain('job-002.txt (line 3) is there already');
    expect(await readdir(out)).toEqual(['job-002.txt']);
    await rm(out, { recursive: true });
    await run([file, '-o', out]).exitCode;
    const before = asked.length;
    const dry = run([file, '-o', out, '--dry-run']);
    expect(await dry.exitCode).toBe(0);
    expect(dry.stdout.text).toContain('4 of them an earlier run has finished');
    expect(asked).toHaveLength(before);
    expect(await readdir(join(out, '.millrace'))).toEqual(['journal']);
  });

  it('a footer in a file for programs is refused', async () => {
    const { file, out } = await prepare(1);
    const { stderr, exitCode } = run([file, '-o', out, '--footer', '--format', 'json']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toContain('--footer');
  });
});

describe('budgets', () => {
  it.each([
    ['--max-tokens', '1'],
    ['--max-cost', '0.000001'],
  ])('%s stops the run cleanly, and the same line goes on', async (flag, value) => {
    const server = await startProviderServer({
      script: () => ({ text: 'Some words.', usage: { inputTokens: 10, outputTokens: 10 } }),
    });
    onTestFinished(() => server.close());
    const out = join(await temporaryFolder(), 'out');
    const jobs = Array.from({ length: 6 }, (_, index) =>
      JSON.stringify({
        id: `n${String(index)}`,
        provider: 'gateway',
        service: 's',
        model: 'm',
        prompt: 'x',
        baseUrl: server.baseURLs.gateway,
      }),
    ).join('\n');
    const env = { MILLRACE_GATEWAY_API_KEY: 'any' };
    const args = ['-', '-o', out, '--concurrency', '1'];
    const first = run([...args, flag, value], { stdin: jobs, env });
    expect(await first.exitCode, first.stdout.text).toBe(130);
    expect((await reportIn(out)).stopped).toContain(flag);
    expect((await reportIn(out)).totals.outcomes).toMatchObject({ complete: 1, pending: 5 });
    expect(await run(args, { stdin: jobs, env }).exitCode).toBe(0);
    expect(finalFiles(out).size).toBe(6);
  });
});

describe('a budget', () => {
  it('that a provider does not count is told of', async () => {
    const { file, out } = await prepare(8);
    const { stdout, exitCode } = run([file, '-o', out, '--max-cost', '1', '--plain'], {
      terminal: { columns: 100, rows: 30 },
    });
    expect(await exitCode).toBe(0);
    expect(stdout.text).toContain('polargrid does not tell what an answer costs: --max-cost cannot count it');
    expect(stdout.text.match(/polargrid does not tell/g)).toHaveLength(1);
    expect(stdout.text).not.toContain('\u001b[?25l'); // --plain holds on a terminal too
  });
});

describe('Ctrl-C', () => {
  async function slow(): Promise<{ args: string[]; out: string; cli: string }> {
    const server = await startProviderServer({
      pace: { perFrameMs: 5 },
      script: () => ({ text: 'One two three four five. '.repeat(8) }),
    });
    onTestFinished(() => server.close());
    const folder = await temporaryFolder();
    const file = join(folder, 'jobs.jsonl');
    const whom = { provider: 'polargrid', model: 'm', baseUrl: server.baseURLs.polargrid };
    const jobs = Array.from({ length: 40 }, (_, index) =>
      JSON.stringify({ id: `n${String(index)}`, prompt: 'x', ...whom }),
    );
    await writeFile(file, jobs.join('\n'));
    const out = join(folder, 'out');
    return { args: ['run', file, '-o', out, '--concurrency', '4', '--json'], out, cli: await bundleCLI(folder) };
  }

  it('takes no more jobs and finishes those that run; the same line goes on', { timeout: 60_000 }, async () => {
    const { args, out, cli: program } = await slow();
    const first = spawnCLI(program, args, JOB_KEYS);
    await first.stdout.waitFor(/"type":"end"/);
    first.child.kill('SIGINT');
    expect(await first.exitCode).toBe(130);
    const report = await reportIn(out);
    expect(report.totals.outcomes).toMatchObject({ failed: 0, interrupted: 0, stopped: 0 });
    expect(report.totals.outcomes['pending']).toBeGreaterThan(20);
    expect((await readdir(out)).filter((name) => name.includes('.partial'))).toEqual([]);
    expect(await readdir(join(out, '.millrace'))).toEqual(['journal']);
    const again = spawnCLI(program, args, JOB_KEYS);
    expect(await again.exitCode).toBe(0);
    expect(finalFiles(out).size).toBe(40);
    expect((await reportIn(out)).totals.askedAgain).toBe(0);
  });

  it('twice stops those that run, and the same line goes on', { timeout: 60_000 }, async () => {
    const { args, out, cli: program } = await slow();
    const first = spawnCLI(program, args, JOB_KEYS);
    await first.stdout.waitFor(/"type":"start"(?:.*\n)*.*"type":"start"/);
    first.child.kill('SIGINT');
    await first.stdout.waitFor(/"stage":"draining"/);
    first.child.kill('SIGINT');
    expect(await first.exitCode).toBe(130);
    const report = await reportIn(out);
    expect(report.totals.outcomes['stopped']).toBeGreaterThan(0);
    expect(await readdir(join(out, '.millrace'))).toEqual(['journal']);
    expect(finalFiles(out).size).toBe(report.totals.outcomes['complete']);
    expect(await spawnCLI(program, args, JOB_KEYS).exitCode).toBe(0);
    expect(finalFiles(out).size).toBe(40);
  });

  it('three times leaves at once, and the same line goes on', { timeout: 60_000 }, async () => {
    const { args, out, cli: program } = await slow();
    const first = spawnCLI(program, args, JOB_KEYS);
    await first.stdout.waitFor(/"type":"start"/);
    first.child.kill('SIGINT');
    await first.stdout.waitFor(/"stage":"draining"/);
    first.child.kill('SIGINT');
    first.child.kill('SIGINT');
    expect(await first.exitCode).toBe(130);
    expect(await spawnCLI(program, args, JOB_KEYS).exitCode).toBe(0);
    expect(finalFiles(out).size).toBe(40);
  });

  it('while it runs keeps another run out, which says whose the folder is', { timeout: 60_000 }, async () => {
    const { args, cli: program } = await slow();
    const first = spawnCLI(program, args, JOB_KEYS);
    await first.stdout.waitFor(/"type":"start"/);
    const second = spawnCLI(program, args, JOB_KEYS);
    expect(await second.exitCode).toBe(2);
    expect(second.stderr.text).toContain(`process ${String(first.child.pid)}`);
    first.child.kill('SIGKILL');
    await first.exitCode;
    expect(await spawnCLI(program, args, JOB_KEYS).exitCode).toBe(0);
  });
});

describe('Ctrl-C while nothing runs', () => {
  it('ends a run that waits for its jobs on standard input', { timeout: 60_000 }, async () => {
    const folder = await temporaryFolder();
    const program = await bundleCLI(folder);
    const out = join(folder, 'out');
    const child = spawn(process.execPath, [program, 'run', '-', '-o', out], { stdio: ['pipe', 'pipe', 'pipe'] });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    child.stdin.write('{"id":"a",'); // read when the program listens to signals
    await new Promise((resolve) => child.stdin.write('\n'.repeat(1_000_000), resolve));
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([130, null]);
    expect(existsSync(out)).toBe(false);
  });

  it('waits for no gate that is closed', { timeout: 60_000 }, async () => {
    const server = await startProviderServer({ script: () => ({ status: 429, headers: { 'retry-after': '60' } }) });
    onTestFinished(() => server.close());
    const folder = await temporaryFolder();
    const out = join(folder, 'out');
    const whom = { provider: 'polargrid', model: 'm', baseUrl: server.baseURLs.polargrid };
    const jobs = Array.from({ length: 9 }, (_, index) =>
      JSON.stringify({ id: `n${String(index)}`, prompt: 'x', ...whom }),
    );
    const started = run(['-', '-o', out, '--concurrency', '4', '--json'], { stdin: jobs.join('\n') });
    await started.stdout.transcript.waitFor(/"type":"retry"/);
    started.stop();
    expect(await started.exitCode).toBe(130);
    expect((await reportIn(out)).totals.outcomes).toMatchObject({ stopped: 4, pending: 5 });
    expect((await readdir(out)).filter((name) => name.includes('.partial'))).toEqual([]);
  });
});

describe('a journal that is elsewhere', () => {
  it('by a link to another disk, is no hindrance', async (test) => {
    const { jobs, file, out } = await prepare(2);
    const disk = await mkdtemp('/dev/shm/millrace-').catch(() => undefined);
    if (disk === undefined) {
      test.skip('there is no other disk here');
      return;
    }
    onTestFinished(() => rm(disk, { recursive: true }));
    await mkdir(out);
    await symlink(disk, join(out, '.millrace'));
    const { exitCode, stderr } = run([file, '-o', out]);
    expect(await exitCode, stderr.text).toBe(0);
    expect(finalFiles(out)).toEqual(expectedFiles(jobs));
    expect((await reportIn(out)).jobs).toHaveLength(2);
  });
});

describe('a report', () => {
  it('that cannot be written is told on one line, and leaves no draft', async () => {
    const { jobs, file, out } = await prepare(2);
    await mkdir(join(out, 'report.json'), { recursive: true });
    const { exitCode, stderr } = run([file, '-o', out]);
    expect(await exitCode).toBe(1);
    expect(stderr.text).toMatch(/^millrace: .*report\.json could not be written: .*\n$/);
    expect(finalFiles(out)).toEqual(expectedFiles(jobs));
    expect((await readdir(out)).filter((name) => name.startsWith('.'))).toEqual(['.millrace']);
  });
});

describe('a disk that is full', () => {
  it(
    'stops the run with one line, keeps what is good, and the same line goes on with space',
    { timeout: 60_000 },
    async (test) => {
      const { jobs, file, asked, folder } = await prepare(150);
      const disk = join(folder, 'disk');
      await mkdir(disk);
      const mount = (options: string): number | null =>
        spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', disk]).status;
      if (process.platform !== 'linux' || mount('size=120k') !== 0) {
        test.skip('a small disk cannot be mounted here');
        return;
      }
      onTestFinished(() => {
        spawnSync('umount', [disk]);
      });
      const program = await bundleCLI(folder);
      const args = ['run', file, '-o', disk, '--concurrency', '8'];
      const first = spawnCLI(program, args, JOB_KEYS);
      expect(await first.exitCode).toBe(1);
      expect(first.stderr.text.trimEnd().split('\n')).toEqual([
        expect.stringMatching(
          /^millrace: The run in .* was stopped: .*the disk is full \(ENOSPC\)\. What is complete is kept/,
        ),
      ]);
      const expected = expectedFiles(jobs);
      const kept = finalFiles(disk);
      expect(kept.size).toBeGreaterThan(5);
      for (const [name, content] of kept) expect(content).toBe(expected.get(name));
      const before = asked.length;
      expect(spawnSync('mount', ['-o', 'remount,size=20m', disk]).status).toBe(0);
      const again = spawnCLI(program, args, JOB_KEYS);
      expect(await again.exitCode, again.stderr.text).toBe(0);
      expect(finalFiles(disk)).toEqual(expected);
      const twice = asked.slice(before).filter(({ id }) => kept.has(`${id}.txt`));
      expect(twice).toEqual([]);
    },
  );
});
