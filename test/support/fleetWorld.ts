import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastValueFrom, toArray } from 'rxjs';
import { onTestFinished } from 'vitest';
import { type QueueJobsOptions, queueJobs, workJobs, type WorkJobsOptions } from '../../src/bullmq/index.js';
import { polargrid } from '../../src/providers/index.js';
import type { JobReceipt } from '../../src/sources/jobReceipt.js';
import { type ProviderServer, type ScriptedAnswer, startProviderServer } from '../../src/testing/index.js';
import { type RedisServer, startRedis } from './redisServer.js';

/** A job of the tests: its answer is `answer`, unless the test says otherwise. */
export interface Question {
  readonly id: string;
}

/** A worker of the test's own process. */
export interface TestWorker {
  /** Takes no more, and resolves with what it has told when it has ended. */
  finish(): Promise<readonly JobReceipt<Question>[]>;
  /** Stops what is under way. */
  stop(): Promise<readonly JobReceipt<Question>[]>;
  readonly ended: Promise<readonly JobReceipt<Question>[]>;
  /** What was told as it came. */
  readonly troubles: readonly string[];
}

/** A Redis, a provider, a shared folder, and workers and followers on them. */
export interface FleetWorld {
  readonly redis: RedisServer;
  readonly server: ProviderServer;
  readonly dir: string;
  /** The jobs that the provider was asked for, in the order of asking. */
  readonly asked: readonly string[];
  /** What a job is run by. */
  readonly run: ReturnType<typeof runOf>;
  work(options?: Partial<WorkJobsOptions<Question>>): TestWorker;
  queue(
    jobs: readonly Question[],
    options?: Partial<QueueJobsOptions<Question>>,
  ): Promise<readonly JobReceipt<Question>[]>;
}

function runOf(server: ProviderServer, dir: string): WorkJobsOptions<Question>['run'] {
  const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
  return () => ({
    call: ({ id }) => api.chat({ model: 'millwheel-1', messages: [{ role: 'user', content: id }] }),
    file: ({ id }) => `${id}.txt`,
    dir,
  });
}

/** @param answer - what is answered for a job */
export async function startFleetWorld(
  answer: (id: string) => ScriptedAnswer = (id) => ({ text: answerTo(id) }),
): Promise<FleetWorld> {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const dir = await mkdtemp(join(tmpdir(), 'millrace-fleet-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const asked: string[] = [];
  const server = await startProviderServer({
    script: ({ body }) => {
      const id = (body as { messages: readonly { content: string }[] }).messages.at(-1)?.content ?? '';
      asked.push(id);
      return answer(id);
    },
  });
  onTestFinished(() => server.close());
  const run = runOf(server, dir);
  const common = { redis: { url: redis.url }, queue: 'answers' };
  return {
    redis,
    server,
    dir,
    asked,
    run,
    work: (options) => {
      const signal = new AbortController();
      const stop = new AbortController();
      const troubles: string[] = [];
      const ended = lastValueFrom(
        workJobs<Question>({
          ...common,
          run,
          signal: signal.signal,
          stop: stop.signal,
          onTrouble: ({ message }) => troubles.push(message),
          ...options,
        }).pipe(toArray()),
      );
      ended.catch(() => undefined); // whoever waits for it hears of it
      onTestFinished(async () => {
        stop.abort();
        await ended.catch(() => undefined);
      });
      return {
        ended,
        troubles,
        finish: () => {
          signal.abort();
          return ended;
        },
        stop: () => {
          stop.abort();
          return ended;
        },
      };
    },
    queue: (jobs, options) =>
      lastValueFrom(queueJobs(jobs, { ...common, key: ({ id }) => id, ...options }).pipe(toArray())),
  };
}

export function answerTo(id: string): string {
  return `The answer to ${id} — 水車。\n`;
}

export function questions(count: number): Question[] {
  return Array.from({ length: count }, (_, index) => ({ id: `q${String(index)}` }));
}
