import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../scripts/size.mjs', import.meta.url));

/** What a page downloads: told by the script that `npm run check` runs, which has the budgets too. Nothing is measured here. */
export function size() {
  if (existsSync(script)) {
    console.log('\nBundled for a browser');
    spawnSync(process.execPath, [script], { stdio: 'inherit' });
  }
  return [];
}
