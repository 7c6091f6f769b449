// `npm start`: builds where needed, then runs the demo.
import { spawn, spawnSync } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const changedAt = async (file) => (await stat(file).catch(() => ({ mtimeMs: 0 }))).mtimeMs;

const built = await changedAt(path('dist/cli/main.js'));
const sources = await readdir(path('src'), { recursive: true });
const changes = await Promise.all(sources.map((file) => changedAt(path(`src/${file}`))));
if (built <= Math.max(...changes)) {
  console.log('Building millrace (once) ...');
  const { status } = spawnSync(process.execPath, [path('scripts/build.mjs')], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const demo = spawn(process.execPath, [path('dist/cli/main.js'), 'demo', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
// Ctrl-C reaches the demo as well, which stops its streams and ends; only then may this process go.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => demo.kill('SIGTERM'));
demo.on('exit', (code, signal) => {
  process.exitCode = signal === null ? (code ?? 1) : 1;
});
