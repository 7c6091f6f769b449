// One clock for several processes: the system's monotonic one, in microseconds, read without garbage.
import { performance } from 'node:perf_hooks';
import process from 'node:process';

const offset = Number(process.hrtime.bigint() / 1000n) - performance.now() * 1000;

/** Microseconds since some moment that all processes of this machine share. */
export function micros() {
  return offset + performance.now() * 1000;
}
