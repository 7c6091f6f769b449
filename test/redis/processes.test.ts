import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { bundle } from '../support/bundle.js';
import { type Orders, type Report, textAt } from '../support/redisProcesses.js';
import { describeWithRedis, startRedis } from '../support/redisServer.js';

const WRITERS = 3;
const READERS = 3;
const MOMENTS = 100;

describeWithRedis('three writers and three readers', () => {
  it(
    'are killed and stopped at any moment, Redis too, and every reader has every text once',
    { timeout: 90_000 },
    async () => {
      const server = await startRedis();
      onTestFinished(() => server.stop());
      const folder = await mkdtemp(join(tmpdir(), 'millrace-processes-'));
      onTestFinished(() => rm(folder, { recursive: true, force: true }));
      const program = join(folder, 'program.mjs');
      await bundle(
        `import { runReader, runWriter } from './test/support/redisProcesses.ts';
      process.once('message', async ({ role, orders }) => {
        await (role === 'writer' ? runWriter : runReader)(orders);
        process.disconnect();
      });`,
        program,
      );
      const ids = Array.from({ length: 6 }, (_, index) => `stream ${String(index)}`);
      const orders: Orders = { url: server.url, ids, length: 1_000, ttlMs: 500 };
      const counts = { writersKilled: 0, readersKilled: 0, stopped: 0, redisKilled: 0, orphanedTold: 0, failures: 0 };
      let isOver = false;

      /** A process that is started again whenever it is killed. */
      const keep = (begin: () => { role: string; orders: Orders }, hear: (report: Report) => void) => {
        let child: ChildProcess;
        let isDone = false;
        let finish = (): void => undefined;
        const done = new Promise<void>((resolve) => {
          finish = resolve;
        });
        const start = (): void => {
          const started = fork(program, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
          child = started;
          started.send(begin());
          started.on('message', (message: Report | { failed: string }) => {
            if ('failed' in message) counts.failures += 1;
            else hear(message);
          });
          // When all that it had sent was heard.
          void Promise.all([once(started, 'close'), once(started, 'disconnect')]).then(([[code]]) => {
            if (code === 0) {
              isDone = true;
              finish();
            } else if (!isOver) start();
          });
        };
        start();
        return {
          done,
          isDone: () => isDone,
          child: () => child,
        };
      };

      const writers = Array.from({ length: WRITERS }, () =>
        keep(
          () => ({ role: 'writer', orders }),
          () => undefined,
        ),
      );
      const readers = Array.from({ length: READERS }, () => {
        const texts = new Map<string, string[]>(ids.map((id) => [id, []]));
        const after: Record<string, string> = {};
        const states = new Map<string, string>();
        const kept = keep(
          () => ({ role: 'reader', orders: { ...orders, after: { ...after } } }),
          ({ id, state, texts: more, position }) => {
            texts.get(id)?.push(...more);
            states.set(id, state);
            if (position !== undefined) after[id] = position;
            if (state === 'orphaned') counts.orphanedTold += 1;
          },
        );
        return { ...kept, texts, states };
      });
      onTestFinished(() => {
        isOver = true;
        for (const { child } of [...writers, ...readers]) child().kill('SIGKILL');
      });

      const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)]!;
      const conts: Promise<void>[] = [];
      for (let moment = 0; moment < MOMENTS; moment += 1) {
        await sleep(20 + Math.random() * 140);
        const isWriter = Math.random() < 0.5;
        const victim = pick(isWriter ? writers : readers);
        if (moment % 20 === 10) {
          counts.redisKilled += 1;
          await server.kill();
          await server.start();
        } else if (!victim.isDone() && Math.random() < 0.5) {
          const child = victim.child();
          counts[isWriter ? 'writersKilled' : 'readersKilled'] += 1;
          const over = once(child, 'close');
          if (child.kill('SIGKILL')) await over;
        } else if (!victim.isDone()) {
          const child = victim.child();
          counts.stopped += 1;
          child.kill('SIGSTOP');
          conts.push(
            sleep(Math.random() * 1500).then(() => {
              child.kill('SIGCONT');
            }),
          );
        }
      }
      await Promise.all(conts);
      await Promise.all([...writers, ...readers].map(({ done }) => done));
      const expected = ids.map((id) =>
        Array.from({ length: orders.length + 1 }, (_, index) => textAt(id, index, orders.length)),
      );
      for (const { texts, states } of readers) {
        expect(ids.map((id) => texts.get(id))).toStrictEqual(expected);
        expect([...states.values()]).toStrictEqual(ids.map(() => 'closed'));
      }
      console.log(
        `moments ${String(MOMENTS)}: ${JSON.stringify(counts)}; ${String(READERS * ids.length * (orders.length + 1))} texts read`,
      );
    },
  );
});
