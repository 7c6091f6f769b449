import type { Readable, Writable } from 'node:stream';
import picocolors from 'picocolors';

/** A place for text; `columns` and `rows` are a terminal's. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };

/** What a command sees of the world, so that a test can be one. */
export interface CLIContext {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by Ctrl-C, or another signal whose name is the reason: end what is under way, and say how it ended. */
  readonly signal: AbortSignal;
  /** Aborted by another Ctrl-C. A command that asks for this ends by itself then, too; without, the second one leaves at once. */
  readonly insisted: () => AbortSignal;
}

export type Colors = ReturnType<typeof picocolors.createColors>;

/** Colours for one output: a terminal that knows them, unless `NO_COLOR` is set (https://no-color.org). */
export function colorsFor(output: Output, env: CLIContext['env']): Colors {
  const isRefused = (env['NO_COLOR'] ?? '') !== '';
  return picocolors.createColors(output.isTTY === true && env['TERM'] !== 'dumb' && !isRefused);
}

/** Calls back, once, when the reader of a pipe has left; that is no failure. Returns what stops listening. */
export function onReaderLeft(output: Output, left: () => void): () => void {
  const onError = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') left();
  };
  output.on('error', onError);
  return () => {
    output.off('error', onError);
  };
}
