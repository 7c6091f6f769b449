import { watch } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { chanceOf, finalFiles, JOB_KEYS, jobLines, planJobs, startJobServer } from '../../support/jobWorld.js';
import { bundleCLI, spawnCLI, temporaryFolder } from '../harness.js';

const JOBS = 200;
const KILLS = 50;

/**
 * Runs jobs against a server that resets, stalls, drips and refuses, and kills the process again and again: after so many files more, and
 * some of the time at any millisecond of its life, its first ones included.
 */
it(
  'loses nothing, asks nothing twice and names no half file, however often it is killed',
  { timeout: 600_000 },
  async () => {
    const seed = Number(process.env['MILLRACE_SEED'] ?? Math.floor(Math.random() * 1e9));
    const chance = chanceOf(seed);
    const jobs = planJobs(JOBS, chance);
    const expected = new Map(jobs.map(({ id, answer }) => [`${id}.txt`, answer]));
    const { server, asked, counts } = await startJobServer(jobs, chance);
    const folder = await temporaryFolder();
    const cli = await bundleCLI(folder);
    const file = join(folder, 'jobs.jsonl');
    await writeFile(file, jobLines(jobs, server));
    const out = join(folder, 'out');
    await mkdir(out);

    // The watcher: looks at once where the folder says that a name is new, and all over whenever it has the time.
    const wrong: string[] = [];
    let looks = 0;
    const look = (): void => {
      looks += 1;
      for (const [name, content] of finalFiles(out)) {
        if (content !== expected.get(name)) wrong.push(`${name} held ${String(content.length)} characters`);
      }
    };
    const watcher = watch(out, (_, name) => {
      if (name?.endsWith('.txt') === true) look();
    });
    onTestFinished(() => {
      watcher.close();
    });

    const args = ['run', file, '--out', out, '--concurrency', '10', '--retries', '30', '--plain'];
    const limits = ['--timeout-first-content', '2s', '--timeout-content-idle', '500ms'];
    const start = (): ReturnType<typeof spawnCLI> => spawnCLI(cli, [...args, ...limits], JOB_KEYS);
    /** What had its name at each kill, and how many requests had come by then. */
    const kept: { readonly whole: ReadonlySet<string>; readonly from: number }[] = [];
    let kills = 0;
    let early = 0;
    while (kills < KILLS) {
      const before = finalFiles(out).size;
      const run = start();
      const startedAt = performance.now();
      const isEarly = chance() < 0.2;
      const filesMore = Math.floor(chance() * 6);
      const msMore = chance() * 60;
      const earlyMs = chance() * 900;
      let reachedAt: number | undefined;
      // Killed at its moment, whatever it does then.
      for (;;) {
        if (run.child.exitCode !== null) break;
        const now = performance.now();
        if (isEarly) {
          if (now - startedAt >= earlyMs) break;
        } else {
          if (finalFiles(out).size - before >= filesMore && asked.length > 0) reachedAt ??= now;
          if (reachedAt !== undefined && now - reachedAt >= msMore) break;
        }
        await setImmediate();
      }
      expect(run.child.exitCode, run.stderr.text).toBeNull();
      run.child.kill('SIGKILL');
      await run.exitCode;
      kills += 1;
      if (isEarly) early += 1;
      look();
      const whole = new Set([...finalFiles(out).keys()].map((name) => name.replace(/\.txt$/, '')));
      kept.push({ whole, from: asked.length });
    }
    const last = start();
    expect(await last.exitCode, last.stderr.text).toBe(0);
    look();
    const twice = kept.flatMap(({ whole, from }) => asked.slice(from).filter(({ id }) => whole.has(id)));

    expect({ seed, wrong, twice }).toEqual({ seed, wrong: [], twice: [] });
    expect(finalFiles(out)).toEqual(expected);
    const report = JSON.parse(await readFile(join(out, 'report.json'), 'utf8')) as Report;
    expect(report.jobs).toHaveLength(JOBS);
    // Nothing but answers, the report and the journal is left.
    const left = (await readdir(out)).filter((name) => !expected.has(name)).sort();
    expect(left).toEqual(['.millrace', 'report.html', 'report.json']);
    expect(await readdir(join(out, '.millrace'))).toEqual(['journal']);
    const again = report.jobs.filter(({ runs }) => runs > 1).length;
    console.info(
      `${String(JOBS)} jobs, killed ${String(kills)} times (${String(early)} of them in the first second): every file as it must be, ` +
        `no answer that had its name asked for again, no name with half an answer in ${String(looks)} looks; ` +
        `${String(counts.asked)} requests, ${String(counts.refused)} refused, ${String(counts.reset)} cut, ${String(counts.stalled)} stalled, ` +
        `${String(counts.slow)} dripping; ${String(again)} jobs were begun more than once (seed ${String(seed)})`,
    );
  },
);

interface Report {
  readonly jobs: readonly { readonly runs: number }[];
}
