import { io } from '#io';
import { asyncScheduler } from 'rxjs';
import type { Billing, FinishReason, Outcome, RestartEvent, StoppedBy, Usage } from '../types.js';
import type { Flow, Verb } from './flow.js';
import { hasCode, isCut } from './hasCode.js';
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

const attempts = io.channel?.('millrace:attempt');
const pauses = io.channel?.('millrace:pause');
const resumptions = io.channel?.('millrace:resume');
const restarts = io.channel?.('millrace:restart');
const ends = io.channel?.('millrace:end');

/** An attempt begins. From here on its flow tells of its pauses and its end. */
export function tellAttempt(flow: Flow, told: Told, going: Going = 'first', because?: string): void {
  flow.told = told;
  if (attempts?.hasSubscribers !== true) return;
  attempts.publish({
    ...subject(flow, told),
    how: howOf(going, flow),
    ...(going !== 'first' && because !== undefined && { because }),
  } satisfies AttemptDiagnostic);
}

export function tellPause(flow: Flow): void {
  if (flow.told === undefined || pauses?.hasSubscribers !== true) return;
  pauses.publish(subject(flow, flow.told) satisfies PauseDiagnostic);
}

export function tellResume(flow: Flow, pausedMs: number): void {
  if (flow.told === undefined || resumptions?.hasSubscribers !== true) return;
  resumptions.publish({ ...subject(flow, flow.told), pausedMs } satisfies ResumeDiagnostic);
}

export function tellRestart(flow: Flow, { because, discard }: RestartEvent): void {
  if (flow.told === undefined || restarts?.hasSubscribers !== true) return;
  restarts.publish({
    ...subject(flow, flow.told),
    because,
    discardedChars: discard.chars,
  } satisfies RestartDiagnostic);
}

/** The flow is over. @param error - where it failed */
export function tellEnd(flow: Flow, error: unknown): void {
  if (flow.told === undefined || ends?.hasSubscribers !== true) return;
  const { startedAt, headersAt, firstContentAt, finish, left, usage, facts, position, warnings, requestIds } = flow;
  const outcome = outcomeOf(flow, error);
  const verb = left?.verb ?? 'disconnect';
  const now = asyncScheduler.now();
  ends.publish({
    ...subject(flow, flow.told),
    outcome,
    ...(finish !== undefined && { finish: finish.reason }),
    ...(flow.state === 'error' && outcome !== 'stopped' && { error: nameOf(error) }),
    ...leavingOf(flow),
    timings: {
      ...(headersAt !== undefined && { headersMs: headersAt - startedAt }),
      ...(firstContentAt !== undefined && { firstContentMs: firstContentAt - startedAt }),
      totalMs: now - startedAt,
    },
    pausedMs: flow.pausedMs(),
    chars: position.chars,
    bytes: flow.bytes,
    usage: usageOf(usage, outcome),
    billing: outcome === 'complete' || hasCode(error, 'ERR_HTTP') ? 'ended' : (facts.billing?.(verb) ?? 'unknown'),
    restarts: flow.restarts,
    warnings: warnings.length,
    requestIds: [...requestIds],
  } satisfies EndDiagnostic);
}

// Under a global symbol, so that the ids of two copies of the package in one process are not the same.
const KEY = Symbol.for('millrace.diagnostics.1');
const shared = globalThis as { [KEY]?: { lastId: number } };
const ids = (shared[KEY] ??= { lastId: 0 });
/** By flow and by position; nobody has one before somebody listens. */
const idOf = new WeakMap<object, number>();

function identify(thing: object): number {
  let id = idOf.get(thing);
  if (id === undefined) {
    id = ids.lastId += 1;
    idOf.set(thing, id);
  }
  return id;
}

function subject(flow: Flow, { attempt, url }: Told): DiagnosticSubject {
  const { provider, model, dialect } = flow.facts;
  return {
    attemptId: identify(flow),
    callId: identify(flow.position),
    ...(provider !== undefined && { provider }),
    ...(model !== undefined && { model }),
    ...(dialect !== undefined && { dialect: dialect.name }),
    ...(url !== undefined && { url }),
    attempt,
    at: asyncScheduler.now(),
  };
}

function howOf(going: Going, { position }: Flow): AttemptDiagnostic['how'] {
  switch (going) {
    case 'first':
      return 'first';
    case 'on':
      return 'resume';
    case 'continued':
      return 'continue';
    default:
      return position.content ? 'restart' : 'ask';
  }
}

function outcomeOf({ state, proven, left }: Flow, error: unknown): Outcome {
  if (state === 'complete') return proven ? 'complete' : 'interrupted';
  if (state === 'left') return left?.verb === 'disconnect' ? 'interrupted' : 'stopped';
  if (hasCode(error, 'ERR_ABORTED')) return 'stopped';
  return isCut(error) ? 'interrupted' : 'failed';
}

function leavingOf({ state, left }: Flow): Pick<EndDiagnostic, 'left' | 'by'> {
  if (state !== 'left' || left === undefined) return {};
  const verb: Verb = left.verb;
  return verb === 'drain' ? { by: left.by } : { left: verb, by: left.by };
}

function nameOf(error: unknown): { readonly name: string; readonly code?: string } {
  if (!(error instanceof Error)) return { name: 'Error' };
  const { name, code } = error as Error & { code?: unknown };
  return typeof code === 'string' ? { name, code } : { name };
}

/** What a provider reported before a cut is its last word, not the whole. */
function usageOf(usage: Usage | undefined, outcome: Outcome): Usage {
  if (usage === undefined) return { provenance: 'unknown' };
  return outcome === 'complete' || usage.provenance !== 'reported' ? { ...usage } : { ...usage, provenance: 'partial' };
}
