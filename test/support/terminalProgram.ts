/** A program that shows streams on its terminal, as a test tells it to over a socket. */
import { createServer, type Server } from 'node:net';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { Subject, Subscription } from 'rxjs';
import { toTerminal } from '../../src/sinks/toTerminal.js';
import type { StreamEvent } from '../../src/types.js';

/** What the program can be told. */
export type TerminalCommand =
  | { readonly do: 'open'; readonly key: string; readonly maxFramesPerSecond?: number }
  | { readonly do: 'next'; readonly key: string; readonly event: StreamEvent }
  | { readonly do: 'complete' | 'unsubscribe'; readonly key: string }
  | { readonly do: 'fail'; readonly key: string; readonly message: string }
  /** Prints a line by itself. */
  | { readonly do: 'print'; readonly text: string }
  /** Listens to SIGINT once: all streams are left then, and the program ends by itself. */
  | { readonly do: 'listen' }
  | { readonly do: 'throw'; readonly message: string }
  | { readonly do: 'exit'; readonly code: number };

interface Open {
  readonly source: Subject<StreamEvent>;
  readonly subscription: Subscription;
}

/** Listens on the socket that the environment names in `CONTROL`. */
export function runTerminalProgram(): void {
  const streams = new Map<string, Open>();
  const server = createServer((socket) => {
    socket.unref();
    createInterface({ input: socket }).on('line', (line) => {
      obey(JSON.parse(line) as TerminalCommand, streams, server); // the test's own
    });
  });
  server.listen(process.env['CONTROL'], () => {
    process.stdout.write(`ready ${String(process.pid)}\n`);
  });
}

function obey(command: TerminalCommand, streams: Map<string, Open>, server: Server): void {
  switch (command.do) {
    case 'open': {
      const { key, maxFramesPerSecond } = command;
      const source = new Subject<StreamEvent>();
      const shown = source.pipe(toTerminal({ key, maxFramesPerSecond }));
      const subscription = shown.subscribe({ error: () => undefined });
      streams.set(key, { source, subscription });
      break;
    }
    case 'next':
      streams.get(command.key)?.source.next(command.event);
      break;
    case 'complete':
      streams.get(command.key)?.source.complete();
      break;
    case 'unsubscribe':
      streams.get(command.key)?.subscription.unsubscribe();
      break;
    case 'fail':
      streams.get(command.key)?.source.error(new Error(command.message));
      break;
    case 'print':
      process.stdout.write(`${command.text}\n`);
      break;
    case 'listen':
      process.once('SIGINT', () => {
        for (const { subscription } of streams.values()) subscription.unsubscribe();
        server.close();
      });
      // Above the rows, where nothing is drawn over it.
      [...streams.values()][0]?.source.next({ type: 'log', message: 'listening' });
      break;
    case 'throw':
      setImmediate(() => {
        throw new Error(command.message);
      });
      break;
    case 'exit':
      process.exit(command.code);
  }
}
