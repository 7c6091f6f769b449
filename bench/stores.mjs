// Measures stores of streams: what they cost, and how late a reader is, beside polling and beside a connection for each reader.
//
//   node bench/stores.mjs                       everything, ten minutes on a quiet machine
//   node bench/stores.mjs --quick               everything, short and small, in about a minute
//   node bench/stores.mjs --only thousand,sqlite
//   node bench/stores.mjs --write               writes bench/stores.json and the tables of docs/scale.md
//   node bench/stores.mjs --draw                measures nothing, makes those tables anew from bench/stores.json
//   node bench/stores.mjs --json run.json       writes the results of this run into that file
//   node bench/stores.mjs --dist ../other/dist  measures that build, and builds nothing
//   node bench/stores.mjs --profile profiles    writes a .cpuprofile of each process into that folder
//   node bench/stores.mjs --rounds 5            more rounds, or fewer
//
// It starts a redis-server of its own (REDIS_SERVER_PATH, or the first on the path) and needs nothing that runs. README.md beside this
// file says what is measured how.
import { writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.mjs';
import { build } from './ready.mjs';
import { drawPage, writeResults } from './stores/page.mjs';
import { Worker } from './stores/process.mjs';
import { findRedis, startRedis } from './stores/redisServer.mjs';
import { round } from './stores/round.mjs';
import { KEPT, scenarios, SETTINGS } from './stores/scenarios.mjs';
import { makeSQLite } from './stores/sqliteFile.mjs';
import { formatTerminal, tablesOf } from './stores/tables.mjs';

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  write: { type: 'boolean', default: false },
  draw: { type: 'boolean', default: false },
  json: { type: 'string' },
  only: { type: 'string' },
  rounds: { type: 'string' },
  dist: { type: 'string' },
  profile: { type: 'string' },
};

const MEMORY = 'memory';

/** The arguments, or an error that says what they may be. */
function readArguments() {
  const { values } = parseArgs({ options: OPTIONS });
  const settings = { ...SETTINGS[values.quick ? 'quick' : 'full'] };
  if (values.rounds !== undefined) {
    settings.rounds = Number(values.rounds);
    if (!(Number.isInteger(settings.rounds) && settings.rounds > 0)) throw new Error('--rounds takes a whole number');
  }
  const all = scenarios(settings);
  const names = [...all.map(({ name }) => name), MEMORY];
  const only = values.only?.split(',') ?? names;
  for (const name of only) {
    if (!names.includes(name)) throw new Error(`--only takes ${names.join(', ')}; got ${name}`);
  }
  if (values.write && (values.only !== undefined || values.quick)) {
    throw new Error('--write is for a whole run: leave --only and --quick out');
  }
  const path = (name) => (values[name] === undefined ? undefined : resolve(values[name]));
  return {
    settings,
    chosen: all.filter(({ name }) => only.includes(name)),
    hasMemory: only.includes(MEMORY),
    write: values.write,
    draw: values.draw,
    json: path('json'),
    dist: path('dist'),
    profile: path('profile'),
  };
}

const progress = process.stderr.isTTY ? (text) => process.stderr.write(`\r\u001b[K${text}`) : () => undefined;

/** One case after the other, and again; the first time is not counted: code is compiled, and files grow. */
async function measure(scenario, backend, { rounds, seconds }, profile) {
  const teams = scenario.cases.map(() => ({
    writer: new Worker('writer', profile),
    readers: Array.from({ length: scenario.readers }, () => new Worker('reader', profile)),
  }));
  const results = scenario.cases.map(() => []);
  try {
    for (let count = 0; count <= rounds; count += 1) {
      for (const [at, one] of scenario.cases.entries()) {
        progress(`${scenario.title}: ${one.name}, ${count === 0 ? 'warm-up' : `round ${count} of ${rounds}`}`);
        const result = await round(teams[at], backend, { ...one, seconds: count === 0 ? seconds / 2 : seconds });
        if (count > 0) results[at].push(result);
      }
    }
  } finally {
    progress('');
    await Promise.all(teams.flatMap(({ writer, readers }) => [writer, ...readers]).map((worker) => worker.stop()));
  }
  return tablesOf(scenario, results);
}

async function withBackend(make, work) {
  const backend = await make();
  try {
    return await work(backend);
  } finally {
    await backend.stop();
  }
}

async function measureAll({ chosen, hasMemory, settings, profile }, redis) {
  const tables = [];
  const tell = (measured) => {
    console.log(`\n${formatTerminal(measured)}`);
    tables.push(...measured);
  };
  for (const scenario of chosen) {
    if (scenario.backend === 'redis' && redis === undefined) continue;
    const make = scenario.backend === 'redis' ? () => startRedis(redis) : makeSQLite;
    tell(await withBackend(make, (backend) => measure(scenario, backend, settings, profile)));
  }
  if (hasMemory && redis !== undefined) {
    const { answerTokens, answerRate } = settings;
    progress('memory');
    const { measureMemory } = await import('./stores/memory.mjs'); // loads the build, which is known by now
    const results = await withBackend(
      () => startRedis(redis),
      (server) => measureMemory(server, KEPT, settings),
    );
    progress('');
    const title = `Redis: an answer of ${answerTokens} tokens at ${answerRate} a second, by how long they are gathered`;
    tell(
      tablesOf(
        { name: MEMORY, title, cases: KEPT },
        results.map((result) => [result]),
      ),
    );
  }
  return tables;
}

/** What a stream must keep of its pace. At 30 tokens a second Node's timers alone, late by a millisecond or two, take 5 % of it. */
const KEPT_PACE = 0.93;

/** Where the store itself fell behind, so that its costs are not those of the load that is named. */
function behindIn(tables, chosen) {
  return chosen.flatMap(({ name, title, cases }) => {
    const pace = tables.find(({ row, metric }) => row === name && metric === 'pace');
    return cases
      .map((one, at) => ({ ...one, pace: pace?.lines[at].median ?? one.rate }))
      .filter(({ way, rate, pace: kept }) => way === 'tail' && kept < rate * KEPT_PACE)
      .map((one) => `${title}: ${one.name}: ${one.pace.toFixed(1)} tokens/s`);
  });
}

async function run() {
  const given = readArguments();
  if (given.draw) {
    await drawPage();
    return;
  }
  if (given.dist === undefined) await build();
  else process.env['MILLRACE_DIST'] = given.dist;
  const redis = findRedis();
  if (redis === undefined && given.write) throw new Error('--write needs a redis-server: see REDIS_SERVER_PATH');
  if (redis === undefined)
    console.log('No redis-server on the path, and REDIS_SERVER_PATH names none: Redis is left out.');
  const { versions, ...machine } = { ...describeMachine(), ...(given.dist && { commit: undefined }) };
  const ofRedis =
    redis &&
    (await withBackend(
      () => startRedis(redis),
      (server) => server.version(),
    ));
  const described = { ...machine, versions: { rxjs: versions.rxjs, ...(ofRedis && { Redis: ofRedis }) } };
  const loadBefore = loadavg()[0] / availableParallelism();
  console.log(
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, Redis ${ofRedis ?? 'none'}, ` +
      `commit ${machine.commit ?? 'unknown'}, load ${loadBefore.toFixed(2)} a core before the run`,
  );
  const tables = await measureAll(given, redis);
  const results = {
    format: 1,
    date: new Date().toISOString(),
    machine: described,
    settings: given.settings,
    noise: { loadPerCore: loadBefore },
    tables,
  };
  if (given.json !== undefined) await writeFile(given.json, `${JSON.stringify(results, undefined, 1)}\n`);
  const behind = behindIn(tables, given.chosen);
  for (const one of behind) console.log(`\nThe machine did not carry it: ${one}.`);
  if (given.write) {
    if (behind.length > 0)
      throw new Error('nothing was written: where streams fall behind, a token seems to cost less than it does');
    await writeResults(results);
    await drawPage();
  }
}

// What was started is ended by what listens for the exit.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

try {
  await run();
} catch (error) {
  progress('');
  console.error(`\nbench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
