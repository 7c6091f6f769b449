// A file of the benchmark's own for streams in SQLite, gone with the run.
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

export async function makeSQLite() {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-sqlite-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  return {
    store: { kind: 'sqlite', file: join(folder, 'streams.db') },
    clear: async () => undefined, // each round has names of its own
    stop: async () => {
      process.off('exit', remove);
      remove();
    },
  };
}
