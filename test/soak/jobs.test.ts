import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { runJobs } from 'millrace';
import { polargrid } from 'millrace/providers';
import { expect, it, onTestFinished } from 'vitest';
import { collectGarbage } from '../support/soakMemory.js';
import { soakJobs } from '../support/soakJobs.js';
import { startChild } from '../support/soakChild.js';

const JOBS = 1_000;
/**
 * How much the heap may grow between the halves of the run, 400 jobs apart: what is under way differs by so much. Events of answers that
 * are kept would be 20 MB.
 */
const MOST_GROWTH_BYTES = 4_000_000;

interface Job {
  readonly number: number;
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

it('works off 1,000 jobs at 100 at once in memory that does not grow', { timeout: 120_000 }, async () => {
  const server = await startChild(soakJobs);
  onTestFinished(() => server.close());
  const dir = await mkdtemp(join(tmpdir(), 'millrace-jobs-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const api = polargrid({ apiKey: 'any', baseURL: server.ready.baseURL });

  let pulled = 0;
  let ended = 0;
  let mostAhead = 0;
  function* jobs(): Generator<Job> {
    for (let number = 0; number < JOBS; number += 1) {
      pulled += 1;
      mostAhead = Math.max(mostAhead, pulled - ended);
      yield { number };
    }
  }
  const heaps: number[] = [];
  const numbers = new Set<number>();
  const outcomes = new Map<string, number>();
  await new Promise<void>((resolve, reject) => {
    runJobs(jobs(), {
      key: ({ number }) => String(number),
      call: ({ number }) => api.chat({ model: 'm', messages: [{ role: 'user', content: `Job ${String(number)}` }] }),
      file: ({ number }) => `${String(number)}.txt`,
      dir,
      concurrency: 100,
      fsync: false,
    }).subscribe({
      next: ({ outcome, job, chars }) => {
        ended += 1;
        numbers.add(job.number);
        const told = `${outcome} ${String(chars)}`;
        outcomes.set(told, (outcomes.get(told) ?? 0) + 1);
        if (ended % 100 === 0) {
          void collectGarbage().then(() => {
            heaps.push(process.memoryUsage().heapUsed);
          });
        }
      },
      complete: resolve,
      error: reject,
    });
  });
  await collectGarbage();
  const { chars } = server.ready;
  expect(Object.fromEntries(outcomes)).toEqual({ [`complete ${String(chars)}`]: JOBS });
  expect(numbers.size).toBe(JOBS);
  expect((await readdir(dir)).filter((name) => name.endsWith('.txt'))).toHaveLength(JOBS);
  expect(mostAhead).toBeLessThanOrEqual(100);
  // While as many are under way: neither the first hundred nor the last.
  const grown = medianOf(heaps.slice(5, 9)) - medianOf(heaps.slice(1, 5));
  expect(grown).toBeLessThan(MOST_GROWTH_BYTES);
  console.info(
    `${String(JOBS)} jobs of ${String(chars)} characters, 100 at once: all complete; between the halves of the run the ` +
      `heap changed by ${String(Math.round(grown / 1024))} KiB, and no job was pulled before there was room for it`,
  );
});
