// The same strings to a file: by `toFile`, and by `fs.createWriteStream`. They come as from a network, some at each turn.
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import { Subject } from 'rxjs';
import { bytesOf, tokensOf } from '../fixtures.mjs';
import { load } from '../millrace.mjs';

const TOKENS_A_TURN = 50;

const WRITERS = {
  async toFile(tokens, path) {
    const { toFile } = await load('index.js');
    return async () => {
      const source = new Subject();
      const done = new Promise((resolve, reject) => {
        source.pipe(toFile(path, { ifExists: 'overwrite' })).subscribe({ error: reject, complete: resolve });
      });
      for (let at = 0; at < tokens.length; at += 1) {
        source.next(tokens[at]);
        if (at % TOKENS_A_TURN === TOKENS_A_TURN - 1) await turn();
      }
      source.complete();
      await done;
    };
  },
  createWriteStream(tokens, path) {
    return async () => {
      const stream = createWriteStream(path);
      for (let at = 0; at < tokens.length; at += 1) {
        if (!stream.write(tokens[at])) await once(stream, 'drain');
        if (at % TOKENS_A_TURN === TOKENS_A_TURN - 1) await turn();
      }
      stream.end();
      await once(stream, 'close');
    };
  },
};

export async function prepare({ writer, tokens: count }) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'text');
  const tokens = tokensOf(count);
  const bytes = bytesOf(tokens);
  const write = await WRITERS[writer](tokens, path);
  return {
    expected: { bytes },
    amounts: { tokens: count, bytes },
    async run() {
      await write();
      return { counted: { bytes: statSync(path).size } };
    },
  };
}
