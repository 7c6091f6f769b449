#!/usr/bin/env node
import process from 'node:process';
import type { CLIContext } from './context.js';
import { EXIT } from './exitCodes.js';
import { runCLI } from './program.js';
import { reportError } from './reportError.js';

const stop = new AbortController();
let insist: AbortController | undefined;

/** The first Ctrl-C ends what is under way and lets it say how it ended; the next one leaves, unless a command has another stage. */
function onSignal(name: NodeJS.Signals): void {
  if (stop.signal.aborted && insist?.signal.aborted === false) insist.abort();
  else if (stop.signal.aborted) {
    if (process.stdout.isTTY) process.stdout.write('\u001b[?25h\u001b[0m\n'); // the cursor may be hidden
    process.exit(EXIT.stopped);
  } else stop.abort(name);
}

/** A reader that has left is no failure, nor a terminal that was closed; whoever writes learns of it as well. */
const LEFT: ReadonlySet<string | undefined> = new Set(['EPIPE', 'ERR_STREAM_DESTROYED', 'EIO']);

function onOutputError(error: NodeJS.ErrnoException): void {
  if (!LEFT.has(error.code)) throw error;
}

/** The library's warnings are for the person at the command line, who has no use for Node's words around them. */
function onWarning(warning: Error): void {
  if (warning.name === 'MillraceWarning') reportError(context, warning);
  else process.stderr.write(`${warning.stack ?? warning.message}\n`);
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

// A terminal that is closed ends what it began as Ctrl-C does: a run of jobs finishes those that are under way.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
process.removeAllListeners('warning');
process.on('warning', onWarning);
for (const output of [process.stdout, process.stderr]) output.on('error', onOutputError);
process.exitCode = await runCLI(process.argv.slice(2), context);
