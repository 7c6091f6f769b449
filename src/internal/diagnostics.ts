import { io } from '#io';
import type { Billing, FinishReason, Outcome, RestartEvent, StoppedBy, Usage } from '../types.js';
import type { Flow } from './flow.js';
import type { Going } from './position.js';

/** What every diagnostic event says of the attempt that it is about: never a key, a prompt, text of an answer or a URL's query. @public */
export interface DiagnosticSubject {
  /** Tells attempts apart within the process: the same in all events of one. */
  readonly attemptId: number;
  /** The same for all attempts that `retryOnDisconnect` makes at one call. */
  readonly callId: number;
  /** Absent for a request or a decoder without a call; `url` or `dialect` says more there. */
  readonly provider?: string;
  readonly model?: string;
  readonly dialect?: string;
  /** Of a request by itself; without credentials, query and fragment. */
  readonly url?: string;
  /** Its number within the call, from 1. */
  readonly attempt: number;
  /** When it happened, in epoch milliseconds. */
  readonly at: number;
}

/** `millrace:attempt`: something is asked for, or gone on with. @public */
export interface AttemptDiagnostic extends DiagnosticSubject {
  /** `'first'`, or how it goes on, as `onRetry` of `retryOnDisconnect` tells it. */
  readonly how: 'first' | 'resume' | 'ask' | 'restart' | 'continue';
  /** Why the attempt before it ended, such as `the connection was lost`. */
  readonly because?: string;
}

/** `millrace:pause`: a full sink holds it; its socket is not read. @public */
export type PauseDiagnostic = DiagnosticSubject;

/** `millrace:resume`: the sink has room again. @public */
export interface ResumeDiagnostic extends DiagnosticSubject {
  /** How long this pause was. */
  readonly pausedMs: number;
}

/** `millrace:restart`: the answer begins anew, and what was delivered is void. @public */
export interface RestartDiagnostic extends DiagnosticSubject {
  readonly because: string;
  /** Characters of text that are void. */
  readonly discardedChars: number;
}

/** `millrace:end`: an attempt is over. How a stream ended, with all its attempts, is in its receipt. @public */
export interface EndDiagnostic extends DiagnosticSubject {
  readonly outcome: Outcome;
  /** Why the model stopped, where an answer ended by itself. */
  readonly finish?: FinishReason;
  /** Without its message, which may quote a server. */
  readonly error?: { readonly name: string; readonly code?: string };
  /** Where it was left before its end: `stop` cancels its work where that can be, `disconnect` and `detach` leave it running. */
  readonly left?: 'stop' | 'disconnect' | 'detach';
  /** Who left it. */
  readonly by?: StoppedBy;
  /** Since the attempt began. */
  readonly timings: { readonly headersMs?: number; readonly firstContentMs?: number; readonly totalMs: number };
  /** How long full sinks held it. */
  readonly pausedMs: number;
  /** Characters of the first output's text delivered since the answer began. */
  readonly chars: number;
  /** Bytes of bodies received, after decompression. */
  readonly bytes: number;
  readonly usage: Usage;
  /** As it was at this moment; a retry that gives up may cancel later. */
  readonly billing: Billing;
  readonly restarts: number;
  readonly warnings: number;
  /** The servers' names for the requests. */
  readonly requestIds: readonly string[];
}

/** The channels of `node:diagnostics_channel`, and what is published on each. @public */
export interface DiagnosticEvents {
  readonly 'millrace:attempt': AttemptDiagnostic;
  readonly 'millrace:pause': PauseDiagnostic;
  readonly 'millrace:resume': ResumeDiagnostic;
  readonly 'millrace:restart': RestartDiagnostic;
  readonly 'millrace:end': EndDiagnostic;
}

/** A flow that tells of itself: others are parts of one that does. */
export interface Told {
  readonly attempt: number;
  readonly url?: string | undefined;
}

/** Where flows tell of themselves, on a platform where somebody can listen. */
export interface Telling {
  readonly attempt: (flow: Flow, told: Told, going: Going, because: string | undefined) => void;
  readonly pause: (flow: Flow, told: Told) => void;
  readonly resume: (flow: Flow, told: Told, pausedMs: number) => void;
  readonly restart: (flow: Flow, told: Told, event: RestartEvent) => void;
  readonly end: (flow: Flow, told: Told, error: unknown) => void;
}

/** An attempt begins. From here on its flow tells of its pauses and its end. */
export function tellAttempt(flow: Flow, told: Told, going: Going = 'first', because?: string): void {
  flow.told = told;
  io.telling?.attempt(flow, told, going, because);
}

export function tellPause(flow: Flow): void {
  if (flow.told !== undefined) io.telling?.pause(flow, flow.told);
}

export function tellResume(flow: Flow, pausedMs: number): void {
  if (flow.told !== undefined) io.telling?.resume(flow, flow.told, pausedMs);
}

export function tellRestart(flow: Flow, event: RestartEvent): void {
  if (flow.told !== undefined) io.telling?.restart(flow, flow.told, event);
}

/** The flow is over. @param error - where it failed */
export function tellEnd(flow: Flow, error: unknown): void {
  if (flow.told !== undefined) io.telling?.end(flow, flow.told, error);
}
