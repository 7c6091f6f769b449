import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { catchError, EMPTY, lastValueFrom, merge, type Observable, share, toArray } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SinkError } from '../../src/errors.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { polargrid } from '../../src/providers/index.js';
import { toFile } from '../../src/sinks/toFile.js';
import { toStdout } from '../../src/sinks/toStdout.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';

const pieces = Array.from({ length: 50 }, (_, index) => `piece ${String(index)} `);
const whole = pieces.join('');

let server: ProviderServer;
let folder: string;
beforeEach(async () => {
  server = await startProviderServer();
  folder = await mkdtemp(join(tmpdir(), 'millrace-'));
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

/** One request, for as many sinks as subscribe in the same turn. */
function ask(text: readonly string[] = pieces): Observable<StreamEvent> {
  server.next({ pieces: text });
  const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
  return fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Go.' }] })).pipe(share());
}

function terminal(write: (text: string, done: () => void) => void): Writable {
  return new Writable({
    highWaterMark: 1,
    write: (chunk: Buffer, _encoding, done) => {
      write(chunk.toString(), () => {
        done();
      });
    },
  });
}

describe('one request with several sinks', () => {
  it('is asked once, and each sink has all of it', async () => {
    let shown = '';
    const output = terminal((text, done) => {
      shown += text;
      done();
    });
    const answer = ask();
    const receipts = await lastValueFrom(
      merge(answer.pipe(toFile(join(folder, 'a.txt'))), answer.pipe(toTokens(), toStdout({ stream: output }))).pipe(
        toArray(),
      ),
    );
    expect(server.requests).toHaveLength(1);
    expect(shown.trimEnd()).toBe(whole.trimEnd());
    expect(await readFile(join(folder, 'a.txt'), 'utf8')).toBe(whole);
    expect(receipts.map(({ outcome }) => outcome)).toEqual(['complete', 'complete']);
  });

  it('runs at the pace of the slowest: its socket is paused for all of them', async () => {
    const big = Array.from({ length: 400 }, () => 'x'.repeat(64 * 1024));
    const answer = ask(big);
    let done: (() => void) | undefined;
    let finished: Promise<readonly Receipt[]> = Promise.resolve([]);
    let isStuck = true;
    const stuck = new Promise<void>((resolve) => {
      const output = terminal((_, written) => {
        if (!isStuck) {
          written();
          return;
        }
        done = written;
        resolve();
      });
      finished = lastValueFrom(
        merge(answer.pipe(toFile(join(folder, 'a.txt'))), answer.pipe(toStdout({ stream: output }))).pipe(toArray()),
      );
    });
    await stuck;
    const request = await server.nextRequest();
    // The server is held back: what it has sent stands still between two looks.
    const before = await standstill(() => request.bytesSent);
    expect(before).toBeLessThan(400 * 64 * 1024);
    isStuck = false;
    done?.();
    const receipts = await finished;
    expect(receipts.map(({ outcome, chars }) => [outcome, chars])).toEqual([
      ['complete', 400 * 64 * 1024],
      ['complete', 400 * 64 * 1024],
    ]);
  });
  it('goes on for the others where one sink fails and its branch handles that', async () => {
    const answer = ask();
    const failures: unknown[] = [];
    const failing = answer.pipe(
      toFile(join(folder, 'no such folder', 'a.txt')),
      catchError((error: unknown) => {
        failures.push(error);
        return EMPTY;
      }),
    );
    const receipts = await lastValueFrom(merge(failing, answer.pipe(toFile(join(folder, 'b.txt')))).pipe(toArray()));
    expect(failures).toEqual([expect.any(SinkError)]);
    expect(receipts).toMatchObject([{ outcome: 'complete', chars: whole.length }]);
    expect(await readFile(join(folder, 'b.txt'), 'utf8')).toBe(whole);
    expect(server.requests).toHaveLength(1);
  });

  it('ends for all where one sink fails and nobody handles that; the others keep what they have as partial', async () => {
    const answer = ask();
    const failing = answer.pipe(toFile(join(folder, 'no such folder', 'a.txt')));
    const ended = lastValueFrom(merge(answer.pipe(toFile(join(folder, 'b.txt'))), failing));
    await expect(ended).rejects.toBeInstanceOf(SinkError);
    await expect(readFile(join(folder, 'b.txt'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

/** The value, once two looks some turns apart agree. */
async function standstill(look: () => number): Promise<number> {
  let last = -1;
  for (let now = look(); now !== last; now = look()) {
    last = now;
    for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  return last;
}
