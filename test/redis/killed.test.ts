import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as after } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { bundle } from '../support/bundle.js';
import { chanceOf } from '../support/jobWorld.js';
import { describeWithRedis, startRedis } from '../support/redisServer.js';
import { type Play, type PlayedStream, type ReaderReport, textOf } from '../support/storeRoles.js';

const MOMENTS = 100;
const LEASE_MS = 400;

describeWithRedis('stored streams', () => {
  /**
   * Three writers and three readers. At each moment one of them is killed and started again, or put to sleep and woken up later, past its lease as
   * often as not; now and then Redis itself is killed and started again.
   */
  it('come to every reader whole, whoever is killed', { timeout: 180_000 }, async () => {
    const seed = Number(process.env['MILLRACE_SEED'] ?? Math.floor(Math.random() * 1e9));
    const chance = chanceOf(seed);
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const folder = await mkdtemp(join(tmpdir(), 'millrace-roles-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const program = join(folder, 'role.mjs');
    await bundle(
      `import { redisStore } from './src/redis/index.ts';
       import { play } from './test/support/storeRoles.ts';
       await play(redisStore({ url: ${JSON.stringify(redis.url)} }), JSON.parse(process.argv[2]));
       process.exit();`,
      program,
    );
    const startedAt = Date.now();
    const streams: PlayedStream[] = Array.from({ length: 8 }, (_, index) => ({
      id: `stream ${String(index)}`,
      startedAt,
      pieces: 600,
      everyMs: 30,
    }));

    const reports: ReaderReport[] = [];
    let kills = 0;
    let sleeps = 0;
    let restarts = 0;
    const players = (['writer', 'writer', 'writer', 'reader', 'reader', 'reader'] as const).map((role) => {
      const play: Play = { role, streams, leaseMs: LEASE_MS };
      /** Of a reader that is killed what it has not come to the end of is read again; what it has, too. */
      let own: ReaderReport[] = [];
      let child: ChildProcess;
      let over: Promise<unknown> = Promise.resolve();
      const start = (): void => {
        own = [];
        child = spawn(process.execPath, [program, JSON.stringify(play)], { stdio: ['ignore', 'pipe', 'inherit'] });
        over = once(child, 'close');
        if (child.stdout !== null) {
          createInterface({ input: child.stdout }).on('line', (line) => own.push(JSON.parse(line) as ReaderReport));
        }
      };
      start();
      onTestFinished(() => {
        child.kill('SIGKILL');
      });
      return {
        role,
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
          await over;
          if (role === 'reader') reports.push(...own);
          return child.exitCode;
        },
      };
    });

    for (let moment = 0; moment < MOMENTS; moment += 1) {
      await after(chance() * 120);
      const player = players[Math.floor(chance() * players.length)];
      const what = chance();
      if (what < 0.05) {
        await redis.kill();
        await redis.start();
        restarts += 1;
      } else if (what < 0.5) {
        await player?.kill();
        kills += 1;
      } else {
        await player?.sleep(chance() * 2 * LEASE_MS);
        sleeps += 1;
      }
    }
    const codes = await Promise.all(players.map(({ finish }) => finish()));
    expect({ seed, codes }).toEqual({ seed, codes: [0, 0, 0, 0, 0, 0] });
    const expected = new Map(streams.map((stream) => [stream.id, textOf(stream)]));
    const wrong = reports
      .filter(({ id, text }) => text !== expected.get(id))
      .map(({ id, text }) => `${id}: ${String(text.length)}`);
    expect({ seed, wrong }).toEqual({ seed, wrong: [] });
    expect(reports).toHaveLength(3 * streams.length);
    const interrupted = reports.reduce((sum, report) => sum + report.interrupted, 0);
    const anew = reports.reduce((sum, report) => sum + report.restarts, 0);
    console.info(
      `${String(streams.length)} streams, 3 writers, 3 readers, ${String(MOMENTS)} moments: ${String(kills)} kills, ${String(sleeps)} sleeps, ` +
        `Redis restarted ${String(restarts)} times: ${String(reports.length)} readings whole, ${String(wrong.length)} wrong, none hung; ` +
        `${String(interrupted)} times a reader was told InterruptedError and began again, ${String(anew)} times restart (seed ${String(seed)})`,
    );
  });
});
