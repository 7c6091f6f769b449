// Measures millrace beside its peers.
//
//   npm run bench                          everything, some minutes on a quiet machine
//   npm run bench -- --quick               everything, short, in under a minute
//   npm run bench -- --only http,text      only these rows
//   npm run bench -- --write               writes bench/results.json, docs/benchmarks.md and docs/benchmarks.svg
//   npm run bench -- --draw                measures nothing, makes page and picture anew from bench/results.json
//   npm run bench -- --json run.json       writes the results of this run into that file
//   npm run bench -- --dist ../other/dist  measures that build, and builds nothing
//   npm run bench -- --base ../old/dist    measures that build as well, round by round beside the other
//   npm run bench -- --profile profiles    writes a .cpuprofile of each of millrace's own pipelines into that folder
//   npm run bench -- --rounds 15           more rounds, or fewer
//
// README.md beside this file says what is measured how, and which shape the results have.
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Calibration, describeMachine } from './machine.mjs';
import { measure } from './measure.mjs';
import { startServer } from './program.mjs';
import { build, install } from './ready.mjs';
import { ROWS } from './rows/index.mjs';
import { SETTINGS } from './settings.mjs';
import { formatTable } from './table.mjs';

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  write: { type: 'boolean', default: false },
  draw: { type: 'boolean', default: false },
  json: { type: 'string' },
  only: { type: 'string' },
  rounds: { type: 'string' },
  dist: { type: 'string' },
  base: { type: 'string' },
  profile: { type: 'string' },
};

/** The arguments, or an error that says what they may be. */
function readArguments() {
  const { values } = parseArgs({ options: OPTIONS });
  const only = values.only?.split(',') ?? Object.keys(ROWS);
  for (const name of only) {
    if (!Object.hasOwn(ROWS, name)) throw new Error(`--only takes ${Object.keys(ROWS).join(', ')}; got ${name}`);
  }
  if (values.write && (values.only !== undefined || values.quick)) {
    throw new Error('--write is for a whole run: leave --only and --quick out');
  }
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))
    throw new Error('--rounds takes a whole number');
  const settings = { ...SETTINGS[values.quick ? 'quick' : 'full'], ...(rounds && { rounds, pacedRounds: rounds }) };
  const path = (name) => (values[name] === undefined ? undefined : resolve(values[name]));
  const paths = { dist: path('dist'), base: path('base'), profile: path('profile'), json: path('json') };
  return { ...paths, only, settings, write: values.write, draw: values.draw };
}

function printHeader({ cpu, cores, node, commit, versions }) {
  console.log(
    `${cpu}, ${cores} cores, Node ${node}, ${new Date().toISOString().slice(0, 10)}, commit ${commit ?? 'unknown'}`,
  );
  console.log(
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
  );
}

const progress = process.stderr.isTTY ? (text) => process.stderr.write(`\r\u001b[K${text}`) : undefined;

/** Measures the rows one after the other, and prints each table as it is there. */
async function measureRows({ only, settings, base, profile }, calibration) {
  const server = await startServer();
  const tables = [];
  const options = { settings, base, profile, calibrate: () => calibration.measure(), onProgress: progress };
  try {
    for (const name of only) {
      for (const group of ROWS[name](settings, server)) {
        const measured = await measure(group, options);
        progress?.('');
        for (const table of measured) console.log(`\n${formatTable(table)}`);
        tables.push(...measured);
      }
    }
  } finally {
    server.stop();
  }
  return tables;
}

async function run() {
  const chosen = readArguments();
  install();
  if (chosen.draw) {
    const { draw } = await import('./documents.mjs');
    await draw();
    return;
  }
  if (chosen.dist === undefined) await build();
  else process.env['MILLRACE_DIST'] = chosen.dist;
  // Of a build that is somewhere else nobody knows the commit.
  const machine = { ...describeMachine(), ...(chosen.dist && { commit: undefined }) };
  printHeader(machine);
  const calibration = new Calibration();
  const tables = await measureRows(chosen, calibration);
  const noise = calibration.report();
  for (const warning of noise.warnings) console.log(`\nNoisy machine: ${warning}.`);
  const results = { format: 1, date: new Date().toISOString(), machine, settings: chosen.settings, noise, tables };
  if (chosen.json !== undefined) await writeFile(chosen.json, `${JSON.stringify(results, undefined, 1)}\n`);
  if (chosen.write) {
    const { writeDocuments } = await import('./documents.mjs');
    await writeDocuments(results);
  }
}

try {
  await run();
} catch (error) {
  console.error(`\nbench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
