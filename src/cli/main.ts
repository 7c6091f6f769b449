#!/usr/bin/env node
import process from 'node:process';
import type { CLIContext } from './context.js';
import { EXIT } from './exitCodes.js';
import { runCLI } from './program.js';

const stop = new AbortController();
let insist: AbortController | undefined;

/** The first Ctrl-C ends what is under way and lets it say how it ended; the next one leaves, unless a command has another stage. */
function onSignal(): void {
  if (stop.signal.aborted && insist?.signal.aborted === false) insist.abort();
  else if (stop.signal.aborted) {
    if (process.stdout.isTTY) process.stdout.write('\u001b[?25h\u001b[0m\n'); // the cursor may be hidden
    process.exit(EXIT.stopped);
  } else stop.abort();
}

/** A reader that has left is no failure; whoever writes learns of it as well. */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error;
}

const context: CLIContext = {
  get stdin() {
    return process.stdin; // opened when it is read, not before
  },
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: stop.signal,
  insisted: () => (insist ??= new AbortController()).signal,
};

process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
for (const output of [process.stdout, process.stderr]) output.on('error', onOutputError);
process.exitCode = await runCLI(process.argv.slice(2), context);
