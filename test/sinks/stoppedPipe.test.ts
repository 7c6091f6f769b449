import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../support/bundle.js';

const MiB = 1024 * 1024;
const TOTAL = 64 * MiB;
const chunk = Buffer.alloc(64 * 1024, 'abcdefgh');

const PROGRAM = `
import { map } from 'rxjs';
import { fromHTTP } from './src/sources/fromHTTP.js';
import { toStdout } from './src/sinks/toStdout.js';

const decoder = new TextDecoder();
fromHTTP(process.argv[2]!)
  .pipe(map((bytes) => decoder.decode(bytes)), toStdout())
  .subscribe(({ outcome, by, chars }) => {
    console.error(JSON.stringify({ outcome, by, chars }));
    // Keep-alive would hold the process for some seconds.
    process.exit();
  });
`;

let folder: string;
let server: Server;
let url: string;
let sent = 0;
let closed: Promise<unknown>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-'));
  await bundle(PROGRAM, join(folder, 'program.mjs'));
  server = createServer((_, response) => {
    closed = once(response, 'close');
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const go = (): void => {
      while (sent < TOTAL) {
        sent += chunk.length;
        if (!response.write(chunk)) {
          response.once('drain', go);
          return;
        }
      }
      response.end();
    };
    go();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  sent = 0;
});

/** Starts the program, and waits until the server stands still because nobody reads the program's output. */
async function startStopped(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(folder, 'program.mjs'), url], { stdio: ['ignore', 'pipe', 'pipe'] });
  await once(server, 'request');
  let before = -1;
  while (before !== sent) {
    before = sent;
    for (let turn = 0; turn < 5_000; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  return child;
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const part of stream) text += String(part);
  return text;
}

describe('a standard output that nobody reads', () => {
  it('holds the server back, and all arrives once it is read', async () => {
    const child = await startStopped();
    expect(sent).toBeLessThan(16 * MiB);
    const told = textOf(child.stderr!);
    let received = 0;
    for await (const part of child.stdout!) received += (part as Buffer).length;
    expect(received).toBe(TOTAL);
    expect(JSON.parse(await told)).toEqual({ outcome: 'complete', chars: TOTAL });
  });

  it('that is closed then ends the request', async () => {
    const child = await startStopped();
    child.stdout!.destroy();
    await closed;
    expect(sent).toBeLessThan(TOTAL);
    expect(JSON.parse(await textOf(child.stderr!))).toMatchObject({ outcome: 'stopped', by: 'reader' });
  });
});
