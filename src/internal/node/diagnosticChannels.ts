import { channel } from 'node:diagnostics_channel';
import { asyncScheduler } from 'rxjs';
import type { Outcome, Usage } from '../../types.js';
import type {
  AttemptDiagnostic,
  DiagnosticSubject,
  EndDiagnostic,
  PauseDiagnostic,
  RestartDiagnostic,
  ResumeDiagnostic,
  Telling,
  Told,
} from '../diagnostics.js';
import type { Flow, Verb } from '../flow.js';
import { hasCode, isCut } from '../hasCode.js';
import type { Going } from '../position.js';

const attempts = channel('millrace:attempt');
const pauses = channel('millrace:pause');
const resumptions = channel('millrace:resume');
const restarts = channel('millrace:restart');
const ends = channel('millrace:end');

/** The channels of `node:diagnostics_channel`. Nothing is made where nobody listens. */
export const diagnosticChannels: Telling = {
  attempt: (flow, told, going, because) => {
    if (!attempts.hasSubscribers) return;
    attempts.publish({
      ...subject(flow, told),
      how: howOf(going, flow),
      ...(going !== 'first' && because !== undefined && { because }),
    } satisfies AttemptDiagnostic);
  },
  pause: (flow, told) => {
    if (pauses.hasSubscribers) pauses.publish(subject(flow, told) satisfies PauseDiagnostic);
  },
  resume: (flow, told, pausedMs) => {
    if (resumptions.hasSubscribers) {
      resumptions.publish({ ...subject(flow, told), pausedMs } satisfies ResumeDiagnostic);
    }
  },
  restart: (flow, told, { because, discard }) => {
    if (!restarts.hasSubscribers) return;
    restarts.publish({ ...subject(flow, told), because, discardedChars: discard.chars } satisfies RestartDiagnostic);
  },
  end: (flow, told, error) => {
    if (ends.hasSubscribers) ends.publish(endOf(flow, told, error));
  },
};

function endOf(flow: Flow, told: Told, error: unknown): EndDiagnostic {
  const { startedAt, headersAt, firstContentAt, finish, left, usage, facts, position, warnings, requestIds } = flow;
  const outcome = outcomeOf(flow, error);
  const verb = left?.verb ?? 'disconnect';
  const now = asyncScheduler.now();
  return {
    ...subject(flow, told),
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
  };
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
