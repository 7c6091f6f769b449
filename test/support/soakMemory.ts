import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void; // what the flag adds

/** Collects garbage, also what only the finalizers of a first round let go of. */
export async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Samples the resident memory until it is stopped, and says how much it grew at most. */
export async function watchResidentMemory(everyMs = 100): Promise<() => number> {
  await collectGarbage();
  const before = process.memoryUsage.rss();
  let most = before;
  const sample = (): void => {
    most = Math.max(most, process.memoryUsage.rss());
  };
  const timer = setInterval(sample, everyMs);
  return () => {
    clearInterval(timer);
    sample();
    return most - before;
  };
}

/** How much a number grows from one place of a row to the next: the slope of the line through them. */
export function slopeOf(values: readonly number[]): number {
  const mean = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
  const x = (values.length - 1) / 2;
  const y = mean(values);
  const rise = mean(values.map((value, index) => (index - x) * (value - y)));
  return rise / mean(values.map((_, index) => (index - x) ** 2));
}
