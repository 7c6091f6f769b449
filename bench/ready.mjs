// What must be there before anything is measured: the peers of bench/package-lock.json, and a build of the sources as they are.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const bench = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));

/** `npm ci` in this folder, unless it holds what the lock file says. */
export function install() {
  const lock = readFileSync(`${bench}package-lock.json`, 'utf8');
  const mark = `${bench}node_modules/.installed-lock.json`;
  if (existsSync(mark) && readFileSync(mark, 'utf8') === lock) return;
  console.log('Installing what millrace is measured against, into bench/node_modules (once) ...');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', args, { cwd: bench, stdio: 'inherit', shell: process.platform === 'win32' });
  if (status !== 0) throw new Error('`npm ci` in bench/ failed: nothing was measured');
  writeFileSync(mark, lock);
}

/** Builds millrace where a source is newer than the build. */
export async function build() {
  const changedAt = async (file) => (await stat(file).catch(() => ({ mtimeMs: 0 }))).mtimeMs;
  const built = await changedAt(`${root}dist/index.js`);
  const sources = await readdir(`${root}src`, { recursive: true });
  const changes = await Promise.all(sources.map((file) => changedAt(`${root}src/${file}`)));
  if (built > Math.max(...changes)) return;
  console.log('Building millrace ...');
  const { status } = spawnSync(process.execPath, [`${root}scripts/build.mjs`], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the build failed: nothing was measured');
}
