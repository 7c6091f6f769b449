import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { type AnswerServer, startAnswers } from '../support/answerServer.js';
import { bundle } from '../support/bundle.js';
import type { GateOrders } from '../support/gateRoles.js';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redisServer.js';

const PROCESSES = 4;

/** A process that asks through a gate. */
interface Asker {
  readonly child: ChildProcess;
  readonly answers: string[];
  readonly errors: string[];
  /** Resolves with its exit code when all that it said was heard. */
  readonly over: Promise<number | null>;
}

describeWithRedis('a gate that four processes share', () => {
  let redis: RedisServer;
  let folder: string;
  let program: string;
  let runs = 0;

  beforeAll(async () => {
    redis = await startRedis();
    folder = await mkdtemp(join(tmpdir(), 'millrace-gate-'));
    program = join(folder, 'program.mjs');
    await bundle(
      `import { askThroughGate } from './test/support/gateRoles.ts';
       process.once('message', async (orders) => {
         await askThroughGate(orders);
         process.disconnect();
       });`,
      program,
    );
  });
  afterAll(async () => {
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const start = (orders: GateOrders): Asker => {
    const child = fork(program, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const answers: string[] = [];
    const errors: string[] = [];
    child.on('message', (message: { readonly text: string } | { readonly error: string }) => {
      if ('text' in message) answers.push(message.text);
      else errors.push(message.error);
    });
    child.send(orders);
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const over = Promise.all([once(child, 'close'), once(child, 'disconnect')]).then(
      ([[code]]) => code as number | null,
    );
    return { child, answers, errors, over };
  };
  const startAll = ({ url }: AnswerServer, rest: Pick<GateOrders, 'streams' | 'everyMs' | 'gate'>): readonly Asker[] =>
    Array.from({ length: PROCESSES }, (_, index) => start({ name: String(index), url, ...rest }));
  const gateOf = (options: object): GateOrders['gate'] => ({
    redis: { url: redis.url },
    prefix: `test ${String((runs += 1))}`,
    ...options,
  });
  const prefix = (): string => `test ${String(runs)}`;

  it('lets no more run than its limit, and all in the end, also when one is killed', { timeout: 60_000 }, async () => {
    const server = await startAnswers({ ms: () => 5 + Math.random() * 20 });
    const gate = gateOf({ perKey: 6, leaseMs: 900 });
    const askers = [...startAll(server, { streams: 150, everyMs: 0, gate })];
    await vi.waitUntil(() => server.counts.answered > 100, { timeout: 20_000 });
    askers[0]!.child.kill('SIGKILL');
    await askers[0]!.over;
    askers[0] = start({ name: 'again', url: server.url, streams: 150, everyMs: 0, gate });
    const codes = await Promise.all(askers.map(({ over }) => over));
    expect(codes).toStrictEqual([0, 0, 0, 0]);
    expect(server.most).toBe(6);
    expect(askers.flatMap(({ errors }) => errors)).toStrictEqual([]);
    expect(askers.map(({ answers }) => answers.length)).toStrictEqual([150, 150, 150, 150]);
    const client = redis.client();
    expect(await client.exists(...['running', 'queue', 'processes'].map((part) => `{${prefix()}:k}:${part}`))).toBe(0);
    console.log(`four processes, one killed: at most ${String(server.most)} at once of 6`, server.counts);
  });

  it('takes the places of one that is stopped, which counts again what it runs', { timeout: 60_000 }, async () => {
    const server = await startAnswers({ ms: () => 20 + Math.random() * 20 });
    const gate = gateOf({ perKey: 4, leaseMs: 600 });
    const askers = startAll(server, { streams: 100, everyMs: 2, gate });
    const client = redis.client();
    for (const index of [1, 2, 1]) {
      await vi.waitUntil(() => askers[index]!.answers.length > 5, { timeout: 20_000 });
      const { child } = askers[index]!;
      child.kill('SIGSTOP');
      await sleep(1_200);
      child.kill('SIGCONT');
      await sleep(50);
    }
    // Redis too.
    await redis.kill();
    await redis.start();
    const codes = await Promise.all(askers.map(({ over }) => over));
    expect(codes).toStrictEqual([0, 0, 0, 0]);
    expect(askers.flatMap(({ errors }) => errors)).toStrictEqual([]);
    expect(askers.map(({ answers }) => answers.length)).toStrictEqual([100, 100, 100, 100]);
    expect(await client.exists(...['running', 'queue', 'processes'].map((part) => `{${prefix()}:k}:${part}`))).toBe(0);
    // Those that were stopped still had theirs.
    expect(server.most).toBeLessThanOrEqual(4 + 3 * 4);
    console.log(`four processes, stopped three times: at most ${String(server.most)} at once of 4`);
  });

  it('asks nothing while a key is closed, whoever was refused', { timeout: 60_000 }, async () => {
    const server = await startAnswers({
      ms: () => 3,
      refuse: (number) => (number % 25 === 0 ? 200 : undefined),
    });
    const askers = startAll(server, { streams: 25, everyMs: 0, gate: gateOf({ perKey: 1 }) });
    expect(await Promise.all(askers.map(({ over }) => over))).toStrictEqual([0, 0, 0, 0]);
    expect(askers.map(({ answers }) => answers.length)).toStrictEqual([25, 25, 25, 25]);
    const pauses = server.seen.flatMap(({ at, status }, index) => {
      const next = server.seen[index + 1];
      return status === 429 && next !== undefined ? [next.at - at] : [];
    });
    expect(pauses.length).toBeGreaterThanOrEqual(3);
    // Redis counts whole milliseconds.
    expect(Math.min(...pauses)).toBeGreaterThan(198);
    expect(new Set(server.seen.map(({ by }) => by)).size).toBe(4);
    console.log(`refused for 200 ms, asked again after ${pauses.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  });

  it('finds out together how many their server takes', { timeout: 120_000 }, async () => {
    const results: Record<string, object> = {};
    for (const kind of ['own', 'shared'] as const) {
      const server = await startAnswers({ ms: () => 30, capacity: 5 });
      const gate =
        kind === 'shared'
          ? gateOf({ perKey: 40, adapt: true, pauseMs: 50, maxPauseMs: 500 })
          : { own: { perKey: 10, adapt: true, pauseMs: 50, maxPauseMs: 500 } };
      const startedAt = performance.now();
      const askers = startAll(server, { streams: 100, everyMs: 0, gate });
      expect(await Promise.all(askers.map(({ over }) => over))).toStrictEqual([0, 0, 0, 0]);
      expect(askers.map(({ answers }) => answers.length)).toStrictEqual([100, 100, 100, 100]);
      const seconds = (performance.now() - startedAt) / 1_000;
      results[kind] = { ...server.counts, seconds: Number(seconds.toFixed(1)) };
    }
    console.log('400 answers from a server that takes 5 at once', results);
    const { own, shared } = results as Record<'own' | 'shared', { refused: number }>;
    expect(shared.refused).toBeLessThan(own.refused);
  });
});
