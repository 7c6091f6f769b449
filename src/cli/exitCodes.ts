import type { Receipt } from '../index.js';
import type { Explained } from './commandDefinition.js';

/** What the exit code says; `--help` lists the same. */
export const EXIT = {
  complete: 0,
  failed: 1,
  usage: 2,
  interrupted: 3,
  notWritten: 4,
  stopped: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The command line cannot be obeyed. Its message is shown as it is: no key may stand in it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The exit code for how a stream ended. A reader that closed its pipe had what it wanted. */
export function exitCodeOf({ outcome, error, by }: Receipt): ExitCode {
  switch (outcome) {
    case 'complete':
      return EXIT.complete;
    case 'interrupted':
      return EXIT.interrupted;
    case 'stopped':
      return by === 'reader' ? EXIT.complete : EXIT.stopped;
    case 'failed':
      return error?.code === 'ERR_SINK' ? EXIT.notWritten : EXIT.failed;
  }
}

/** What the codes mean where one answer is asked for. */
export const EXIT_CODES: readonly Explained[] = [
  ['0', 'complete (or the reader of a pipe had enough)'],
  ['1', 'failed: the provider or its HTTP answer says so'],
  ['2', 'bad usage: unknown provider, missing key, invalid option'],
  ['3', 'interrupted: cut, timed out, or the host cannot be reached'],
  ['4', 'a file could not be written'],
  ['130', 'stopped with Ctrl-C'],
];
