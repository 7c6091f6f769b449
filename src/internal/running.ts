import { AbortError } from '../errors.js';
import type { Receipt } from '../types.js';

/**
 * What runs in this process, so that `shutdown` can wait for it and end it: calls and requests, what asks them again, sinks, and
 * cancellations, which outlive their streams.
 */

/** `open`: everything is taken. `closing`: what runs goes on, nothing new is taken. `closed`: nothing is taken. */
export type Phase = 'open' | 'closing' | 'closed';

/** Something that runs. */
export interface Running {
  /** Ends it on purpose; its reader hears the error. */
  readonly stop: (error: AbortError) => void;
  /** Asked when it has ended: true where it is a stream of its own, and no part of one that is counted besides. */
  readonly isCounted: () => boolean;
}

/** A sink, from its subscription to its receipt. */
export interface RunningSink {
  /** Undefined once nothing comes any more, and what came is being written. */
  stop: ((error: AbortError) => void) | undefined;
}

/** Hears what becomes of what runs. */
export interface Attendant {
  readonly onEnd: (running: Running) => void;
  readonly onReceipt: (receipt: Receipt) => void;
  readonly onCancelled: () => void;
  readonly onRefused: () => void;
}

interface State {
  phase: Phase;
  readonly streams: Map<object, Running>;
  readonly sinks: Map<object, RunningSink>;
  readonly cancellations: Set<object>;
  attendant: Attendant | undefined;
  /** What `shutdown` keeps between two calls. */
  shutdown: unknown;
}

// Under a global symbol, so that two copies of the package in one process agree. The number is the layout's version.
const KEY = Symbol.for('millrace.running.1');
const shared = globalThis as { [KEY]?: State };
export const running: State = (shared[KEY] ??= {
  phase: 'open',
  streams: new Map(),
  sinks: new Map(),
  cancellations: new Set(),
  attendant: undefined,
  shutdown: undefined,
});

/** @param key - what stands for it: its flow, or the scope of an operator that asks again */
export function enterStream(key: object, entry: Running): void {
  running.streams.set(key, entry);
}

export function leaveStream(key: object): void {
  const entry = running.streams.get(key);
  if (entry === undefined) return;
  running.streams.delete(key);
  running.attendant?.onEnd(entry);
}

/** @param key - its scope */
export function enterSink(key: object, sink: RunningSink): void {
  running.sinks.set(key, sink);
}

export function leaveSink(key: object, receipt: Receipt): void {
  if (running.sinks.delete(key)) running.attendant?.onReceipt(receipt);
}

/** A request that cancels work, or that tells what to cancel, goes out. @returns what says that it is over */
export function enterCancellation(): () => void {
  const { cancellations } = running;
  const cancellation = {};
  cancellations.add(cancellation);
  return () => {
    if (cancellations.delete(cancellation)) running.attendant?.onCancelled();
  };
}

/** The error of a stream that is not begun any more. */
export function refusal(): AbortError {
  running.attendant?.onRefused();
  const error = shutDownError('No new stream is begun, since the program is shutting down');
  error.received = { text: '', chars: 0, truncated: false };
  return error;
}

/** The error of a stream that ran when the time was up. */
export function stoppedByShutdown(): AbortError {
  return shutDownError('The stream was stopped, since the program is shutting down');
}

/** Whether an error is one of these. */
export function isOfShutdown(error: unknown): boolean {
  return error instanceof Error && (error as { context?: { by?: unknown } }).context?.by === 'shutdown';
}

function shutDownError(message: string): AbortError {
  return new AbortError(message, { context: { by: 'shutdown' } });
}
