// One round of a pipeline in its process.
import process from 'node:process';
import { performance } from 'node:perf_hooks';
import { isDeepStrictEqual } from 'node:util';

/** Runs once and looks at the count of what came out. A wrong count is no measurement. */
async function runOnce({ run, expected }) {
  const result = await run();
  if (!isDeepStrictEqual(result.counted, expected)) {
    throw new Error(`counted ${JSON.stringify(result.counted)}, must be ${JSON.stringify(expected)}`);
  }
  return result;
}

/** Runs at least once, and again until it took so much; tells what it took. */
export async function round(pipeline, { cpuMillis, wallMillis }) {
  const startedAt = performance.now();
  const before = process.cpuUsage();
  // Some pipelines know themselves when the work began.
  const own = { cpu: 0, wall: 0 };
  for (let runs = 1; ; runs += 1) {
    const { took, values } = await runOnce(pipeline);
    own.cpu += took?.cpu ?? 0;
    own.wall += took?.wall ?? 0;
    const { user, system } = process.cpuUsage(before);
    const all = { cpu: user + system, wall: (performance.now() - startedAt) * 1000 };
    if (all.cpu < cpuMillis * 1000 && all.wall < wallMillis * 1000) continue;
    const { cpu: cpuMicros, wall: wallMicros } = took === undefined ? all : own;
    return { cpuMicros, wallMicros, runs, amounts: pipeline.amounts, values };
  }
}
