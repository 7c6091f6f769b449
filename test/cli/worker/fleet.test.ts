import { existsSync, watch } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { type ProviderServer, type ScriptedAnswer, startProviderServer } from 'millrace/testing';
import { lastValueFrom, toArray } from 'rxjs';
import { queueJobs } from '../../../src/bullmq/index.js';
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
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redisServer.js';
import { bundleCLI, cli, type CLIRun, type CLISettings, spawnCLI, temporaryFolder } from '../harness.js';

interface Report {
  readonly totals: { readonly outcomes: Readonly<Record<string, number>>; readonly askedAgain: number };
  readonly stopped: string | null;
  readonly jobs: readonly {
    readonly id: string;
    readonly outcome: string;
    readonly skipped?: true;
    readonly error?: { readonly message: string };
  }[];
}
const reportIn = async (out: string): Promise<Report> =>
  JSON.parse(await readFile(join(out, 'report.json'), 'utf8')) as Report;

interface World {
  readonly jobs: readonly PlannedJob[];
  readonly asked: readonly Asked[];
  readonly file: string;
  readonly out: string;
  /** What the folder must hold. */
  readonly expected: ReadonlyMap<string, string>;
}

/** Jobs in a file, a server for them, and a folder for the answers. */
async function prepare(count: number): Promise<World> {
  const jobs = planJobs(count, chanceOf(7));
  const { server, asked } = await startJobServer(jobs, chanceOf(8), false);
  const folder = await temporaryFolder();
  const file = join(folder, 'jobs.jsonl');
  await writeFile(file, jobLines(jobs, server));
  const expected = new Map(jobs.map(({ id, answer }) => [`${id}.txt`, answer]));
  return { jobs, asked, file, out: join(folder, 'out'), expected };
}

/** Jobs whose answers come when the test lets them. */
async function prepareHeld(
  count: number,
): Promise<World & { readonly server: ProviderServer; readonly release: () => void }> {
  let isHeld = true;
  const asked: Asked[] = [];
  const server = await startProviderServer({
    script: ({ text, at }): ScriptedAnswer => {
      asked.push({ id: text, at });
      return isHeld ? { text: 'Half an answer.', fault: { kind: 'stall', at: { frame: 2 } } } : { text: 'An answer.' };
    },
  });
  onTestFinished(() => server.close());
  const folder = await temporaryFolder();
  const file = join(folder, 'jobs.jsonl');
  const ids = Array.from({ length: count }, (_, index) => `n${String(index)}`);
  const whom = { provider: 'polargrid', model: 'm', baseUrl: server.baseURLs.polargrid };
  await writeFile(file, ids.map((id) => JSON.stringify({ id, prompt: `about ${id}`, ...whom })).join('\n'));
  const expected = new Map(ids.map((id) => [`${id}.txt`, 'An answer.']));
  const release = (): void => {
    isHeld = false;
  };
  return { jobs: [], asked, file, out: join(folder, 'out'), expected, server, release };
}

describeWithRedis('a fleet', () => {
  let redis: RedisServer;
  let client: ReturnType<RedisServer['client']>;
  beforeAll(async () => {
    redis = await startRedis();
    client = redis.client();
  });
  afterAll(() => redis.stop());
  beforeEach(async () => {
    await client.flushall();
  });

  const worker = (out: string, args: readonly string[] = [], settings: CLISettings = {}): CLIRun =>
    cli(['worker', '--queue', redis.url, '-o', out, ...args], { env: JOB_KEYS, ...settings });
  /** No keys: these are the workers'. */
  const follow = (file: string, out: string, args: readonly string[] = [], settings: CLISettings = {}): CLIRun =>
    cli(['run', file, '-o', out, '--queue', redis.url, ...args], settings);
  const finish = async (...runs: readonly CLIRun[]): Promise<void> => {
    for (const run of runs) run.stop();
    for (const { exitCode, stderr } of runs) expect(await exitCode, stderr.text).toBe(0);
  };
  /** Everything that the Redis has, as text. */
  const dump = async (): Promise<string> => {
    const texts: unknown[] = [];
    for (const key of await client.keys('*')) {
      const kind = await client.type(key);
      texts.push(key);
      if (kind === 'hash') texts.push(await client.hgetall(key));
      else if (kind === 'string') texts.push(await client.get(key));
      else if (kind === 'list') texts.push(await client.lrange(key, 0, -1));
      else if (kind === 'set') texts.push(await client.smembers(key));
      else if (kind === 'zset') texts.push(await client.zrange(key, '0', '-1'));
      else if (kind === 'stream') texts.push(await client.xrange(key, '-', '+'));
      else throw new Error(`a ${kind} is not looked at`);
    }
    return JSON.stringify(texts);
  };
  const untilQueued = async (part: string): Promise<string> => {
    for (;;) {
      const all = await dump();
      if (all.includes(part)) return all;
      await sleep(20);
    }
  };

  it('does the jobs of a file, each once, and whoever put them there has the report', async () => {
    const { asked, file, out, expected } = await prepare(40);
    const workers = [worker(out), worker(out, ['--json'])];
    const run = follow(file, out);
    expect(await run.exitCode, run.stderr.text).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    expect((await readdir(out)).filter((name) => !expected.has(name))).toEqual(['report.html', 'report.json']);
    expect(asked).toHaveLength(40);
    expect(run.stdout.text).toContain(`40 jobs into ${out}, for the workers of queue millrace at ${redis.url}\n`);
    expect(run.stdout.text).toContain('40 of 40 jobs complete');
    const report = await reportIn(out);
    expect(report.jobs.map(({ id, outcome }) => [id, outcome])).toEqual(
      [...expected.keys()].map((name) => [name.replace('.txt', ''), 'complete']),
    );
    await finish(...workers);
    const [one, two] = workers;
    expect(one?.stdout.text).toContain(`jobs of queue millrace at ${redis.url} into ${out}\n`);
    expect(one?.stdout.text).toMatch(/\n\d+ jobs in .*: \d+ complete\n$/);
    const lines = two?.stdout.text.trimEnd().split('\n') ?? [];
    const events = lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    expect(events[0]).toMatchObject({
      type: 'run',
      jobs: null,
      queue: { role: 'worker', name: 'millrace', url: redis.url },
    });
    expect(events.at(-1)).toMatchObject({ type: 'summary', jobs: null, failed: 0, running: 0 });
    // Between them they did them all.
    const byTwo = events.filter(({ type }) => type === 'end').length;
    const byOne = [...(one?.stdout.text.matchAll(/^[\d:]+ {2}complete/gm) ?? [])].length;
    expect(byOne + byTwo).toBe(40);
  });

  it('asks nothing when it is all there, and asks for a file that is gone', async () => {
    const { jobs, asked, file, out, expected } = await prepare(6);
    const one = worker(out);
    await follow(file, out).exitCode;
    const again = follow(file, out, ['--json']);
    expect(await again.exitCode).toBe(0);
    expect(asked).toHaveLength(6);
    expect((await reportIn(out)).jobs.every(({ skipped }) => skipped === true)).toBe(true);
    expect(again.stdout.text).toMatch(/"queue":\{"name":"millrace","url":"[^"]*","role":"follower"\}/);
    await writeFile(join(out, 'job-003.txt'), '');
    expect(await follow(file, out).exitCode).toBe(0);
    expect(asked).toHaveLength(6); // a file that is there is somebody's
    await rm(join(out, 'job-003.txt'));
    expect(await follow(file, out).exitCode).toBe(0);
    expect(asked.slice(6).map(({ id }) => id)).toEqual(['job-003']);
    expect(finalFiles(out)).toEqual(expected);
    expect(jobs).toHaveLength(6);
    await finish(one);
  });

  it('serves two who follow the same file at the same time, and asks nothing twice', async () => {
    const { asked, file, out, expected } = await prepare(30);
    const [first, second] = [follow(file, out), follow(file, join(out, '..', 'elsewhere'))];
    const one = worker(out, ['--concurrency', '3']);
    expect(await first.exitCode, first.stderr.text).toBe(0);
    expect(await second.exitCode, second.stderr.text).toBe(0);
    expect(asked).toHaveLength(30);
    expect(finalFiles(out)).toEqual(expected);
    expect((await reportIn(join(out, '..', 'elsewhere'))).totals.outcomes).toMatchObject({ complete: 30 });
    expect(second.stdout.text).toMatch(/ is complete and not in .*elsewhere/);
    expect(first.stdout.text).not.toMatch(/ is complete and not in /);
    await finish(one);
  });

  it('does the jobs of two folders out of one queue', async () => {
    const { jobs, file, out, expected } = await prepare(8);
    const one = worker(out);
    const [june, july] = ['june', 'july/letters'].map((name) =>
      follow(file, join(out, name), ['--queue-folder', `./${name}/`]),
    );
    expect(await june?.exitCode, june?.stderr.text).toBe(0);
    expect(await july?.exitCode, july?.stderr.text).toBe(0);
    for (const name of ['june', 'july/letters']) {
      expect(finalFiles(join(out, name))).toEqual(expected);
      expect((await reportIn(join(out, name))).totals.outcomes).toMatchObject({ complete: jobs.length });
    }
    expect(finalFiles(out).size).toBe(0);
    await finish(one);
  });

  it('puts no key into the queue, from wherever it comes', async () => {
    const { file, out } = await prepare(4);
    const folder = join(out, '..');
    const config = join(folder, 'millrace.config.json');
    const secret = 'sk_config_0123456789abcdef';
    await writeFile(
      config,
      JSON.stringify({
        allowKeysInFile: true,
        providers: { polargrid: { key: secret }, house: { use: 'infernet', key: secret } },
      }),
      { mode: 0o600 },
    );
    const env = { ...JOB_KEYS, INFERNET_API_KEY: 'sk_variable_0123456789abcdef', MILLRACE_QUEUE_PASSWORD: '' };
    const run = follow(file, out, ['--config', config], { env });
    const all = await untilQueued('Tell me about job-003.');
    expect(all).not.toContain(secret);
    expect(all).not.toContain('sk_variable');
    expect(all).not.toContain('apiKey');
    run.stop();
    expect(await run.exitCode).toBe(130);
  });

  it('takes back what nobody has begun at Ctrl-C, and the same command goes on', async () => {
    const { asked, file, out, expected } = await prepare(5);
    const first = follow(file, out);
    await untilQueued('Tell me about job-004.');
    first.stop();
    expect(await first.exitCode).toBe(130);
    expect(first.stdout.text).toContain(
      'Ctrl-C: jobs that nobody has begun are taken out of the queue, the others are followed to their end; Ctrl-C leaves at once',
    );
    expect((await reportIn(out)).totals.outcomes).toMatchObject({ pending: 5 });
    expect(await dump()).not.toContain('Tell me about');
    const one = worker(out, ['--exit-when-idle', '1s']);
    expect(await one.exitCode).toBe(0);
    expect(one.stdout.text).toContain('nothing to do for 1.0 s: no more jobs are taken');
    expect(asked).toEqual([]);
    const two = worker(out);
    expect(await follow(file, out).exitCode).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    await finish(two);
  });

  it('follows those begun to their end at Ctrl-C', async () => {
    const { asked, file, out, server, release } = await prepareHeld(6);
    const one = worker(out, ['--concurrency', '2']);
    const run = follow(file, out, ['--json', '--timeout-content-idle', '1s']);
    await run.stdout.transcript.waitFor(/"type":"start"(?:.*\n)*.*"type":"start"/);
    release();
    run.stop();
    expect(await run.exitCode).toBe(130);
    const { complete = 0, pending = 0, ...others } = (await reportIn(out)).totals.outcomes;
    expect(complete).toBeGreaterThanOrEqual(2);
    expect(complete + pending).toBe(6);
    expect(others).toEqual({ failed: 0, interrupted: 0, stopped: 0, withheld: 0 });
    expect(run.stdout.text).toContain('"stage":"draining"');
    expect(server.requests.length).toBe(asked.length);
    await finish(one);
  });

  it('is left at once at the second Ctrl-C, and the workers finish what they have', async () => {
    const { file, out, expected, release, asked } = await prepareHeld(3);
    const one = worker(out);
    const args = ['--json', '--timeout-content-idle', '1500ms'];
    const run = follow(file, out, args);
    await run.stdout.transcript.waitFor(/(?:"type":"start"(?:.*\n)*.*){3}/);
    run.stop();
    await run.stdout.transcript.waitFor(/"stage":"draining"/);
    run.insist();
    expect(await run.exitCode).toBe(130);
    expect(run.stdout.text).toMatch(/"stage":"leaving","why":"Ctrl-C"/);
    expect((await reportIn(out)).totals.outcomes).toMatchObject({ complete: 0, pending: 3 });
    release();
    const again = follow(file, out, args);
    expect(await again.exitCode, again.stderr.text).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    // The first attempts, which stalled, and one more of each: nobody began them anew.
    expect(asked).toHaveLength(6);
    expect((await reportIn(out)).totals.askedAgain).toBe(0);
    await finish(one);
  });

  it('gives jobs back at the second Ctrl-C of their worker, for others to do', async () => {
    const { file, out, expected, release } = await prepareHeld(3);
    const one = worker(out, ['--json']);
    const run = follow(file, out);
    await one.stdout.transcript.waitFor(/(?:"type":"start"(?:.*\n)*.*){3}/);
    one.stop();
    await one.stdout.transcript.waitFor(/"stage":"draining"/);
    release();
    one.insist();
    expect(await one.exitCode, one.stderr.text).toBe(130);
    expect(one.stdout.text).toContain('"stage":"stopping"');
    const two = worker(out);
    expect(await run.exitCode, run.stdout.text).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    expect((await readdir(out)).filter((name) => name.includes('.partial'))).toEqual([]);
    await finish(two);
  });

  it('says which key is missing on which worker, and does the other jobs', async () => {
    const { file, out, expected } = await prepare(8);
    const { INFERNET_API_KEY: _, ...env } = JOB_KEYS;
    const poor = worker(out, [], { env });
    const first = follow(file, out);
    expect(await first.exitCode).toBe(1);
    await finish(poor);
    const report = await reportIn(out);
    const failed = report.jobs.filter(({ outcome }) => outcome === 'failed');
    expect(failed.map(({ id }) => id)).toEqual(['job-002', 'job-006']);
    expect(failed[0]?.error?.message).toBe(
      `on worker ${hostname()} (process ${String(process.pid)}): infernet needs a key: set INFERNET_API_KEY, ` +
        'or name another environment variable with --key-env',
    );
    expect(await readFile(join(out, 'failed.jsonl'), 'utf8')).toContain('"id":"job-002"');
    const rich = worker(out);
    expect(await follow(file, out).exitCode).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    await finish(rich);
  });

  it('finds keys in the config file of the worker', async () => {
    const { file, out, asked } = await prepare(1);
    const config = join(out, '..', 'millrace.config.json');
    await writeFile(config, JSON.stringify({ providers: { polargrid: { keyEnv: 'HERE' } }, run: { concurrency: 1 } }));
    const one = worker(out, ['--config', config], { env: { HERE: 'any' } });
    expect(await follow(file, out).exitCode).toBe(0);
    expect(asked).toHaveLength(1);
    await finish(one);
  });

  it('ends cleanly when a budget is used up, and the same command goes on', async () => {
    const { file, out, expected } = await prepare(8);
    const one = worker(out, ['--concurrency', '1']);
    const first = follow(file, out, ['--max-tokens', '1']);
    expect(await first.exitCode, first.stdout.text).toBe(130);
    const report = await reportIn(out);
    expect(report.stopped).toContain('--max-tokens');
    expect(report.totals.outcomes['pending']).toBeGreaterThan(0);
    expect(await follow(file, out).exitCode).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    await finish(one);
  });

  it('takes settings along with each job', async () => {
    const { file, out, asked } = await prepare(3);
    await mkdir(out);
    await writeFile(join(out, 'job-001.txt'), 'mine');
    const one = worker(out);
    const refused = follow(file, out);
    expect(await refused.exitCode).toBe(1);
    expect(refused.stdout.text).toContain('2 of 3 jobs complete, 1 failed');
    expect(await readFile(join(out, 'job-001.txt'), 'utf8')).toBe('mine');
    expect(await follow(file, out, ['--if-exists', 'overwrite', '--footer']).exitCode).toBe(0);
    expect(await readFile(join(out, 'job-001.txt'), 'utf8')).toMatch(/^job-001 says[^]*\n.*polargrid.*\n$/);
    expect(asked.map(({ id }) => id).sort()).toEqual(['job-000', 'job-001', 'job-002']);
    await finish(one);
  });

  it('fails what is no job of ours, and works on', async () => {
    const { file, out, expected } = await prepare(2);
    const one = worker(out);
    const entries = [
      'garbage',
      null,
      { version: 2, job: {} },
      { version: 1, job: { id: 'x', prompt: 'a private prompt' } },
      { version: 1, job: { ...(await entryOf(file)), out: '../../outside.txt' }, settings: SETTINGS },
      { version: 1, job: { ...(await entryOf(file)), out: 'fine.txt' }, settings: { ...SETTINGS, retries: -1 } },
    ];
    const receipts = await lastValueFrom(
      queueJobs(entries, {
        redis: { url: redis.url },
        queue: 'millrace',
        key: (entry) => `entry ${String(entries.indexOf(entry))}`,
      }).pipe(toArray()),
    );
    expect(receipts.map(({ outcome }) => outcome)).toEqual(entries.map(() => 'failed'));
    const why = new Map(receipts.map(({ key, error }) => [key, error?.message]));
    expect(why.get('entry 2')).toContain('it is a job of version 2, and this worker knows 1');
    expect(why.get('entry 4')).toContain('file must give a path inside');
    expect(why.get('entry 5')).toContain('settings.retries: must not be negative');
    expect(await follow(file, out).exitCode).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    expect(existsSync(join(out, '../../outside.txt'))).toBe(false);
    expect(one.stdout.text).not.toContain('private');
    await finish(one);
    expect(one.stdout.text).toMatch(/8 jobs in .*: 6 failed, 2 complete\n$/);
    expect(one.stdout.text).toContain('it is a job of version 2, and this worker knows 1');
  });

  it(
    'loses nothing when workers are killed, and asks nothing twice that had its name',
    { timeout: 120_000 },
    async () => {
      const jobs = planJobs(60, chanceOf(21));
      const { server, asked } = await startJobServer(jobs, chanceOf(22));
      const folder = await temporaryFolder();
      const program = await bundleCLI(folder);
      const file = join(folder, 'jobs.jsonl');
      await writeFile(file, jobLines(jobs, server));
      const out = join(folder, 'out');
      await mkdir(out);
      const start = (): ReturnType<typeof spawnCLI> =>
        spawnCLI(
          program,
          ['worker', '--queue', redis.url, '-o', out, '--concurrency', '3', '--lease', '1s', '--plain'],
          JOB_KEYS,
        );
      const workers = [start(), start()];
      const limits = ['--timeout-first-content', '2s', '--timeout-content-idle', '500ms', '--retries', '30'];
      const run = spawnCLI(program, ['run', file, '-o', out, '--queue', redis.url, '--plain', ...limits]);
      const kept: { readonly whole: ReadonlySet<string>; readonly from: number }[] = [];
      const watcher = watch(out);
      onTestFinished(() => {
        watcher.close();
      });
      for (const count of [8, 30]) {
        while (finalFiles(out).size < count && run.child.exitCode === null) await sleep(5);
        const victim = workers.shift();
        victim?.child.kill('SIGKILL');
        await victim?.exitCode;
        kept.push({
          whole: new Set([...finalFiles(out).keys()].map((name) => name.replace('.txt', ''))),
          from: asked.length,
        });
        workers.push(start());
      }
      expect(await run.exitCode, `${run.stdout.text}\n${run.stderr.text}`).toBe(0);
      expect(finalFiles(out)).toEqual(new Map(jobs.map(({ id, answer }) => [`${id}.txt`, answer])));
      const twice = kept.flatMap(({ whole, from }) => asked.slice(from).filter(({ id }) => whole.has(id)));
      expect(twice).toEqual([]);
      for (const { child } of workers) child.kill('SIGTERM');
      for (const { exitCode, stderr } of workers) expect(await exitCode, stderr.text).toBe(0);
      expect((await readdir(out)).filter((name) => name.includes('.partial'))).toEqual([]);
    },
  );
});

const SETTINGS = { retries: 1, timeout: {}, footer: false, ifExists: 'error', fsync: false };

/** A job as it lies in the queue. */
async function entryOf(file: string): Promise<object> {
  const [line = ''] = (await readFile(file, 'utf8')).split('\n');
  const { id, provider, model, prompt, baseUrl } = JSON.parse(line) as Readonly<Record<string, string>>;
  const options = { provider, model, baseUrl, mode: 'chat' };
  return { id, line: 1, options, asks: { prompt }, format: 'text', out: `${String(id)}.txt` };
}

describeWithRedis('a Redis with a password', () => {
  it('is let into with the password of the URL or of the variable, which is shown nowhere', async () => {
    const password = 'qu@y:Zx9w/%';
    const redis = await startRedis({ settings: ['--requirepass', password] });
    onTestFinished(() => redis.stop());
    const { file, out, expected } = await prepare(3);
    const url = `redis://default:${encodeURIComponent(password)}@127.0.0.1:${String(redis.port)}`;
    const env = { ...JOB_KEYS, MILLRACE_DEBUG: '1' };
    const one = cli(['worker', '--queue', url, '-o', out], { env });
    const two = cli(['worker', '--queue', redis.url, '-o', out, '--json'], {
      env: { ...env, MILLRACE_QUEUE_PASSWORD: password },
    });
    const run = cli(['run', file, '-o', out, '--queue', url, '--json'], { env });
    expect(await run.exitCode, run.stderr.text).toBe(0);
    expect(finalFiles(out)).toEqual(expected);
    const wrong = cli(['run', file, '-o', out, '--queue', url.replace('Zx9w', 'Zx8w')], { env });
    expect(await wrong.exitCode).toBe(2);
    expect(wrong.stderr.text).toContain(`the Redis at ${redis.url} refuses its user or password`);
    const none = cli(['worker', '--queue', redis.url, '-o', out], { env: JOB_KEYS });
    expect(await none.exitCode).toBe(2);
    expect(none.stderr.text).toMatch(/^millrace: the Redis at redis:\/\/127[^@]* wants a password.*\n$/);
    for (const each of [one, two]) each.stop();
    for (const each of [one, two]) expect(await each.exitCode, each.stderr.text).toBe(0);
    const report = await readFile(join(out, 'report.json'), 'utf8');
    for (const each of [one, two, run, wrong, none]) {
      const all = each.stdout.text + each.stderr.text + report;
      expect(all).not.toMatch(/qu@y|qu%40y|Zx[89]w/);
    }
  });
});
