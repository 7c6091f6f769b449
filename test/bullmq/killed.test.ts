import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as after } from 'node:timers/promises';
import { lastValueFrom, tap, toArray } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { queueJobs } from 'millrace/bullmq';
import { bundle } from '../support/bundle.js';
import type { FleetOrders } from '../support/fleetWorker.js';
import { chanceOf, finalFiles, planJobs, startJobServer } from '../support/jobWorld.js';
import { describeWithRedis, startRedis } from '../support/redisServer.js';

const JOBS = 2_000;
const WORKERS = 4;
const LEASE_MS = 1_000;

describeWithRedis('a fleet', () => {
  /**
   * Four workers against a server that resets, stalls, drips and refuses. Again and again one of them is killed and started anew, or put to sleep and
   * woken up, past its lease as often as not; twice Redis itself is killed and started again.
   */
  it('does every job once, whoever is killed', { timeout: 600_000 }, async () => {
    const seed = Number(process.env['MILLRACE_SEED'] ?? Math.floor(Math.random() * 1e9));
    const chance = chanceOf(seed);
    const jobs = planJobs(JOBS, chance, 4);
    const expected = new Map(jobs.map(({ id, answer }) => [`${id}.txt`, answer]));
    const { server, asked, counts } = await startJobServer(jobs, chance, true, 0.005);
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const folder = await mkdtemp(join(tmpdir(), 'millrace-fleet-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const dir = join(folder, 'out');
    await mkdir(dir);
    const program = join(folder, 'worker.mjs');
    await bundle(
      `import { workInFleet } from './test/support/fleetWorker.ts';
       await workInFleet(JSON.parse(process.argv[2]));
       process.exit();`,
      program,
    );
    const orders: FleetOrders = { url: redis.url, queue: 'answers', dir, leaseMs: LEASE_MS, baseURLs: server.baseURLs };
    const workers = Array.from({ length: WORKERS }, () => {
      let child: ChildProcess;
      let over: Promise<unknown> = Promise.resolve();
      const start = (): void => {
        child = spawn(process.execPath, [program, JSON.stringify(orders)], { stdio: 'inherit' });
        over = once(child, 'close');
      };
      start();
      onTestFinished(() => {
        child.kill('SIGKILL');
      });
      return {
        kill: async () => {
          child.kill('SIGKILL');
          await over;
          start();
        },
        sleep: async (ms: number) => {
          child.kill('SIGSTOP');
          await after(ms);
          child.kill('SIGCONT');
        },
        finish: async () => {
          child.kill('SIGTERM');
          await over;
          // One that was started just now knows nothing of signals yet.
          return child.signalCode === 'SIGTERM' ? 0 : child.exitCode;
        },
      };
    });

    /** What had its name at each look, and how many requests had come by then. */
    const kept: { readonly whole: ReadonlySet<string>; readonly from: number }[] = [];
    const wrong: string[] = [];
    const look = (): void => {
      const files = finalFiles(dir);
      for (const [name, content] of files) if (content !== expected.get(name)) wrong.push(name);
      kept.push({ whole: new Set([...files.keys()].map((name) => name.replace(/\.txt$/, ''))), from: asked.length });
    };
    let ended = 0;
    let isOver = false;
    const following = lastValueFrom(
      queueJobs(jobs, {
        redis: { url: redis.url },
        queue: 'answers',
        key: ({ id }) => id,
        data: ({ id, provider, prompt }) => ({ id, provider, prompt }),
      }).pipe(
        tap(() => {
          ended += 1;
        }),
        toArray(),
      ),
    ).finally(() => {
      isOver = true;
    });

    let kills = 0;
    let sleeps = 0;
    let restarts = 0;
    while (!isOver) {
      await after(chance() * 1_500);
      const worker = workers[Math.floor(chance() * WORKERS)];
      if (restarts < 2 && ended > (restarts + 1) * (JOBS / 3)) {
        await redis.kill();
        await redis.start();
        restarts += 1;
      } else if (chance() < 0.6) {
        await worker?.kill();
        kills += 1;
      } else {
        await worker?.sleep(chance() * 2 * LEASE_MS);
        sleeps += 1;
      }
      look();
    }
    const receipts = await following;
    const codes = await Promise.all(workers.map(({ finish }) => finish()));
    const twice = kept.flatMap(({ whole, from }) => asked.slice(from).filter(({ id }) => whole.has(id)));
    const bad = receipts
      .filter(({ outcome }) => outcome !== 'complete')
      .map(({ key, error, where }) => ({ key, error, where }));

    expect({ seed, wrong, twice, bad, codes }).toEqual({ seed, wrong: [], twice: [], bad: [], codes: [0, 0, 0, 0] });
    expect(finalFiles(dir)).toEqual(expected);
    expect(receipts.map(({ key }) => key).sort()).toEqual(jobs.map(({ id }) => id).sort());
    const left = (await readdir(dir)).filter((name) => !expected.has(name));
    const again = receipts.filter(({ runs }) => runs > 1).length;
    console.info(
      `${String(JOBS)} jobs, ${String(WORKERS)} workers, ${String(kills)} kills, ${String(sleeps)} sleeps, Redis restarted ${String(restarts)} times: ` +
        `every file as it must be, no answer that had its name asked for again in ${String(kept.length)} looks; ${String(counts.asked)} requests, ` +
        `${String(counts.refused)} refused, ${String(counts.reset)} cut, ${String(counts.stalled)} stalled, ${String(counts.slow)} dripping; ` +
        `${String(again)} jobs were begun more than once, ${String(left.length)} unfinished files of killed workers are left (seed ${String(seed)})`,
    );
  });
});
