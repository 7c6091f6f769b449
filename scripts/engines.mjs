// Runs the tests on the other engines: newer Node versions and undici 8; the types under TypeScript 7 and undici 8.
//
//   npm run engines                        everything, a line for each
//   npm run engines -- --platform          only what meets sockets and files, on each engine
//   npm run engines -- fromHTTP files      only these test files (vitest's filters), on each engine
//
// `engines/package.json` pins them. The running Node with the undici of `package.json` is what `npm test` covers. The tests run
// in a copy of the project whose `node_modules` are links: in that copy `undici` is the other one for everything that imports it,
// for the programs that tests bundle and start as well.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const engines = join(root, 'engines');
const undici7 = join(root, 'node_modules/undici');
const undici8 = join(engines, 'node_modules/undici');
const isPlatformOnly = process.argv.includes('--platform');
const filters = process.argv.slice(2).filter((argument) => argument !== '--platform');

/** Left out: what takes long and meets neither sockets, files nor the platform's own algorithms. `npm test` runs it. */
const LEFT_OUT = [
  '**/*.chromium.test.*', // a browser is the same on all of them
  '**/*.tmux.test.*', // and so is a terminal
  'test/cli/{completion,config,parsers,program,replay,suggestion}.test.ts', // texts
  'test/cli/doctor/**', // sockets and clocks that others meet as well
  'test/bullmq/**', // processes that are killed again and again
  'test/cli/run/**', // texts, and runs that are killed again and again
  'test/cli/worker/**', // the same
  'test/docs/**', // compiles
  'test/examples/**', // a browser, too
  'test/package/**', // bundles and reads package.json
  'test/protocol/deliveredText.test.ts',
  'test/providers/*Recordings.test.ts',
  'test/providers/detectDialect.test.ts',
  'test/react/**', // a browser, too
  'test/redis/**', // processes that are killed again and again
  'test/sinks/frontEnds.test.ts', // a browser, too
  'test/soak/**',
  'test/sqlite/**', // an engine of its own, and processes again
  'test/support/chromium.test.ts',
  'test/truth/allRecordings.test.ts',
  'test/truth/anyChunking.test.ts',
  'test/truth/everyCut.test.ts',
  'test/truth/officialClients.test.ts',
  'test/truth/recordings.test.ts',
];
/** What meets sockets and files, for engines between others that run everything: the newest does, and the running one in `npm test`. */
const PLATFORM = [
  'test/internal/node/',
  'test/sources/',
  'test/sinks/',
  'test/security/',
  'truth/faults',
  'OnSockets',
  'verbs',
];
/** Longer than any run should take: one that hangs is a failure with a name. */
const LIMIT_MS = 600_000;

const failures = [];
const version = async (folder) => JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')).version;
const count = (number) => number.toLocaleString('en');

/** Prints the line; what stands behind a failure comes before it. */
function report(line, detail) {
  if (detail !== undefined) {
    failures.push(line);
    console.log(detail.trimEnd());
  }
  console.log(line);
}

/** `npm ci` in the folder of the engines, unless it holds what the lock file says. */
async function install() {
  const lock = await readFile(join(engines, 'package-lock.json'), 'utf8');
  const mark = join(engines, 'node_modules/.installed-lock.json');
  if (existsSync(mark) && (await readFile(mark, 'utf8')) === lock) return;
  // The running Node may be older than undici 8 asks for; it does not run it.
  const { status, stderr } = spawnSync('npm', ['ci', '--ignore-scripts', '--loglevel=error'], {
    cwd: engines,
    encoding: 'utf8',
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  if (status !== 0) {
    const unreachable = /ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ERR_SOCKET_TIMEOUT|\bE5\d\d\b/.test(
      stderr,
    );
    console.error(stderr.trimEnd());
    console.error(
      unreachable
        ? 'engines: the registry cannot be reached, so the other engines could not be installed: nothing was tested on them'
        : 'engines: `npm ci` in engines/ failed: nothing was tested on the other engines',
    );
    process.exit(1);
  }
  await writeFile(mark, lock);
}

/** A Node of `engines/package.json`; for other platforms than its own, the one that `MILLRACE_NODE_22` or `_24` names. */
function nodeBinary(major) {
  const folder = join(engines, 'node_modules', `node-${major}-${process.platform}-${process.arch}`);
  const binary = process.env[`MILLRACE_NODE_${major}`] ?? join(folder, 'bin/node');
  if (!existsSync(binary)) {
    console.error(
      `engines: engines/package.json has no Node ${major} for ${process.platform}-${process.arch}: set MILLRACE_NODE_${major}`,
    );
    process.exit(1);
  }
  return binary;
}

/** A copy of the project whose modules are links to the project's, but for `undici`. */
async function copyWith(undici) {
  const copy = await realpath(await mkdtemp(join(tmpdir(), 'millrace-engines-')));
  const skipped = ['node_modules', 'dist', '.git'];
  for (const name of await readdir(root)) {
    if (skipped.includes(name) || name === 'engines') continue;
    const isSource = (path) => basename(path) !== 'node_modules'; // the benchmarks have their own
    await cp(join(root, name), join(copy, name), { recursive: true, filter: isSource });
  }
  await mkdir(join(copy, 'node_modules'));
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (name.startsWith('.') || name === 'undici') continue; // caches and the like
    await symlink(join(root, 'node_modules', name), join(copy, 'node_modules', name));
  }
  await symlink(undici, join(copy, 'node_modules/undici'));
  return copy;
}

/** Runs to the end; what it printed, and whether it went well. */
async function run(command, args, options) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT_MS, ...options });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => (output += text));
  }
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...end) => {
      resolve(end);
    });
  });
  if (signal !== null) output += `\nended by ${signal}; the limit is ${count(LIMIT_MS / 1000)} s`;
  return { passed: code === 0, output };
}

async function test({ node, folder, undici, other, only }) {
  const results = join(copy, '.vitest-engines.json');
  const excluded = LEFT_OUT.flatMap((pattern) => ['--exclude', pattern]);
  const started = Date.now();
  const { passed, output } = await run(
    node,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      ...excluded,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${results}`,
      ...only,
    ],
    // The undici that is not the copy's own, for the tests that bring one undici's dispatcher to the other's library.
    { cwd: folder, env: { ...process.env, MILLRACE_OTHER_UNDICI: other } },
  );
  const seconds = Math.round((Date.now() - started) / 1000);
  const nodeVersion = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim().slice(1);
  const name = `node ${nodeVersion}, undici ${await version(undici)}`;
  const told = existsSync(results) ? JSON.parse(await readFile(results, 'utf8')) : undefined;
  await rm(results, { force: true });
  if (told === undefined) {
    report(`${name}: no result`, output);
    return;
  }
  // A file that cannot be loaded has no tests to count; it counts as one.
  const broken = told.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((assertion) => assertion.status === 'failed'),
  ).length;
  const line = `${name}: ${count(told.numPassedTests)} passed, ${count(told.numFailedTests + broken)} failed (${seconds} s)`;
  report(line, passed && told.numPassedTests > 0 ? undefined : output);
}

/** Our own sources under TypeScript 7 and with the types of undici 8; the built package in a user's programs, under 6 and 7. */
async function checkTypes(copy) {
  const [own, next] = [join(root, 'node_modules/typescript'), join(engines, 'node_modules/typescript')];
  const check = async (typescript, what, project) => {
    const tsc = join(typescript, 'bin/tsc');
    const { passed, output } = await run(process.execPath, [tsc, '--noEmit', '-p', project], { cwd: project });
    const line = `typescript ${await version(typescript)}, ${what}: ${passed ? 'passed' : 'failed'}`;
    report(line, passed ? undefined : output);
  };
  await check(next, 'sources and tests', root);
  await check(next, `sources and tests with undici ${await version(undici8)}`, copy);
  if (!existsSync(join(root, 'dist/index.d.ts'))) {
    report('the built package: missing, `npm run build` makes it', '');
    return;
  }
  const consumer = await makeConsumer(copy);
  for (const typescript of [own, next]) await check(typescript, 'the built package in use', consumer);
}

/** The type tests and the examples, as programs of a user who installed what was built and checks its declarations too. */
async function makeConsumer(copy) {
  const consumer = join(copy, 'consumer');
  await mkdir(join(consumer, 'node_modules'), { recursive: true });
  await symlink(root, join(consumer, 'node_modules/millrace'));
  for (const folder of ['test/types', 'examples']) await cp(join(root, folder), consumer, { recursive: true });
  await writeFile(join(consumer, 'package.json'), JSON.stringify({ type: 'module' }));
  const compilerOptions = { paths: {}, rootDir: '/', skipLibCheck: false };
  const config = { extends: '../tsconfig.json', compilerOptions, include: ['*.ts'] };
  await writeFile(join(consumer, 'tsconfig.json'), JSON.stringify(config));
  return consumer;
}

await install();
const copy = await copyWith(undici8);
try {
  if (filters.length === 0) await checkTypes(copy);
  const platform = filters.length > 0 ? filters : PLATFORM;
  const newest = isPlatformOnly ? platform : filters;
  await test({ node: nodeBinary(24), folder: copy, undici: undici8, other: undici7, only: newest });
  await test({ node: nodeBinary(22), folder: copy, undici: undici8, other: undici7, only: platform });
  await test({ node: nodeBinary(24), folder: root, undici: undici7, other: undici8, only: platform });
} finally {
  await rm(copy, { recursive: true, force: true });
}
if (failures.length > 0) {
  console.log(`\nengines: failed:\n${failures.map((line) => `  ${line}`).join('\n')}`);
  process.exitCode = 1;
}
