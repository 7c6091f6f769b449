// Where a run took place, and whether anything else was going on there.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import process from 'node:process';
import { median, spread } from './statistics.mjs';

const PEERS = ['@ai-sdk/openai-compatible', '@anthropic-ai/sdk', 'ai', 'eventsource-parser', 'openai', 'undici'];

/** Machine, engine and versions. */
export function describeMachine() {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()}`,
    node: process.version,
    commit: commit(),
    versions: Object.fromEntries([
      ['rxjs', versionIn('../node_modules/rxjs')],
      ['millrace’s undici', versionIn('../node_modules/undici')],
      ...PEERS.map((name) => [name, versionIn(`node_modules/${name}`)]),
    ]),
  };
}

function versionIn(folder) {
  const file = new URL(`${folder}/package.json`, import.meta.url);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).version : 'missing';
}

/** The commit that was measured, with a `+` where the sources differ from it. */
function commit() {
  const git = (...args) => spawnSync('git', args, { cwd: new URL('..', import.meta.url), encoding: 'utf8' });
  const head = git('rev-parse', '--short', 'HEAD');
  if (head.status !== 0) return undefined;
  return head.stdout.trim() + (git('status', '--porcelain', '--', 'src').stdout === '' ? '' : '+');
}

/** More than this, and something else used the processors. */
const MAX_SPREAD = 0.03;
const MAX_WAITING = 1.05;
const MAX_LOAD = 0.5;
const LOOPS = 4_000_000;

/** Runs the same loop between the rounds: it takes equally long on a quiet machine. */
export class Calibration {
  #load = loadavg()[0] / availableParallelism();
  #cpu = [];
  #waiting = [];

  measure() {
    const startedAt = performance.now();
    const before = process.cpuUsage();
    let sum = 0;
    for (let at = 0; at < LOOPS; at += 1) sum = (Math.imul(sum, 31) + at) | 0;
    const { user, system } = process.cpuUsage(before);
    const wall = (performance.now() - startedAt) * 1000;
    if (sum === 0) throw new Error('the loop was left out'); // its result is used, so that it is not
    this.#cpu.push(user + system);
    this.#waiting.push(wall / (user + system));
  }

  /** What was found; `warnings` are for people. */
  report() {
    const warnings = [];
    if (this.#load > MAX_LOAD) {
      warnings.push(`the load was ${this.#load.toFixed(2)} a core before the run`);
    }
    const found =
      this.#cpu.length < 3 ? { spread: 0, waiting: 1 } : { spread: spread(this.#cpu), waiting: median(this.#waiting) };
    if (found.spread > MAX_SPREAD) warnings.push(`the same loop differed by ± ${(found.spread * 100).toFixed(1)} %`);
    if (found.waiting > MAX_WAITING) {
      warnings.push(`the loop waited for a processor ${((found.waiting - 1) * 100).toFixed(0)} % of its time`);
    }
    return { loadPerCore: this.#load, ...found, samples: this.#cpu.length, warnings };
  }
}
