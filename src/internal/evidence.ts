import { asyncScheduler } from 'rxjs';
import { InterruptedError, isMillraceError, isRetryable } from '../errors.js';
import type { Billing, FinishEvent, Outcome, Receipt, StoppedBy, StreamEvent, Usage, WarningEvent } from '../types.js';
import { type Flow, leavingNow, Scope } from './flow.js';
import { addUsage } from './addUsage.js';
import { hasCode, isCut } from './hasCode.js';
import { isOfShutdown, leaveSink } from './running.js';

/** How a sink's source ended, as the sink was told. */
export type Ending =
  { readonly kind: 'complete' } | { readonly kind: 'error'; readonly error: unknown } | { readonly kind: 'left' };

/** What that means once the flows were asked. */
export interface Verdict {
  readonly outcome: Outcome;
  readonly by?: StoppedBy;
  readonly error?: unknown;
}

/** What only the sink knows. */
export interface Written {
  readonly where: string;
  readonly chars: number;
  readonly bytes: number;
  readonly key?: string | undefined;
}

const MAX_LISTED = 100;

/**
 * What a sink is told by its items and by the flows that it draws from. An ordinary completion is not proof of a whole
 * stream (`takeUntil`, `take` and `catchError(() => EMPTY)` make one of half a stream), so the flows are asked.
 */
export class Evidence {
  readonly scope: Scope;
  readonly #startedAt = asyncScheduler.now();
  #attempts = 0;
  #hasProven = false;
  /** Flows that ended unproven; asked at the end, since whoever asks again excuses the attempts before. */
  readonly #unproven: Set<Flow> = new Set();
  #sweepAt = MAX_LISTED;
  #last: Flow | undefined;
  /** What flows that have ended say; those still open are asked at the end. */
  #ended: Tally = empty;
  /** The usage of each thing that was asked for, in the order of asking; `undefined` where its provider told none. */
  readonly #usages: Map<object, Usage | undefined> = new Map();
  /** What the items say, for sources without a flow. */
  #heard: Tally = empty;

  /** @param role - a sink answers for what it draws from, and tells its receipt to those below; an observer does neither */
  constructor(role: 'sink' | 'observer') {
    this.scope = new Scope(role === 'sink');
    this.scope.onFlow = (flow): void => {
      if (flow.facts.isMarker === true) return;
      this.#last = flow;
      this.#attempts += 1;
    };
    this.scope.onEnd = (flow): void => {
      this.#count(flow);
    };
  }

  #count(flow: Flow): void {
    this.#ended = add(this.#ended, flow);
    this.#noteUsage(flow);
    if (flow.proven) this.#hasProven = true;
    else this.#unproven.add(flow);
    if (this.#unproven.size > this.#sweepAt) this.#sweep();
  }

  /** A stream that reconnects for ever must not be remembered for ever. */
  #sweep(): void {
    for (const flow of this.#unproven) if (flow.excused) this.#unproven.delete(flow);
    this.#sweepAt = Math.max(MAX_LISTED, 2 * this.#unproven.size);
  }

  /**
   * Attempts at one answer tell its usage once: the last word counts. What brought nothing is not asked for its usage, unless it
   * was left for another that ran beside it: it may have worked all the while.
   */
  #noteUsage({ asked, usage, firstContentAt, headersAt, excused }: Flow): void {
    const hasCost = usage !== undefined || firstContentAt !== undefined || (excused && headersAt !== undefined);
    if (hasCost) this.#usages.set(asked, usage ?? this.#usages.get(asked));
  }

  /** Flows that ended unproven and are not excused. */
  get #missed(): readonly Flow[] {
    return [...this.#unproven].filter(({ excused }) => !excused);
  }

  /** Who left such a flow; one who did so on purpose is named first. */
  get #by(): StoppedBy | undefined {
    const by = this.#missed.flatMap(({ left }) => left?.by ?? []);
    return by.find((who) => who === 'notifier' || who === 'signal') ?? by.at(-1);
  }

  /** Notes an item on its way into the sink. */
  note(item: StreamEvent | string): void {
    const flow = this.scope.current();
    if (typeof item === 'string') return;
    if (flow === undefined) this.#heard = hear(this.#heard, item);
  }

  /** The flow that is delivering into the sink, if any. */
  currentFlow(): Flow | undefined {
    return this.scope.current();
  }

  /** What an ending means; asked after everything above was torn down. */
  judge(ending: Ending): Verdict {
    switch (ending.kind) {
      case 'left':
        return { outcome: 'stopped', by: this.#by ?? leavingNow().by };
      case 'error':
        return judgeError(ending.error);
      case 'complete': {
        const by = this.#by;
        if (by !== undefined && by !== 'unsubscribe') return { outcome: 'stopped', by };
        const missed = this.#missed;
        // A flow that is open still is shared with others, or was only subscribed beside this stream.
        const isOpen = [...this.scope.flows].some((flow) => !flow.proven && !flow.excused && this.scope.hasHeard(flow));
        // A failed attempt that delivered nothing does no harm when another was proven.
        const isHalf =
          isOpen || missed.some(({ position }) => position.content) || (missed.length > 0 && !this.#hasProven);
        return isHalf ? { outcome: 'interrupted', error: completedEarly(this.#last) } : { outcome: 'complete' };
      }
    }
  }

  receipt(verdict: Verdict, { where, chars, bytes, key }: Written): Receipt {
    const { outcome, by, error } = verdict;
    const flows = [...this.scope.flows].filter((flow) => flow.state === 'open');
    for (const flow of flows) this.#noteUsage(flow);
    const { finish, headersAt, firstContentAt, restarts, warnings, requestIds } =
      this.#attempts === 0 ? this.#heard : flows.reduce<Tally>(add, this.#ended);
    const usages = this.#attempts === 0 ? [this.#heard.usage] : [...this.#usages.values()];
    const since = (at: number | undefined): number | undefined => (at === undefined ? undefined : at - this.#startedAt);
    const { provider, model } = this.#last?.facts ?? {};
    return {
      ...present({ key, provider, model }),
      where,
      chars,
      bytes,
      outcome,
      ...present({
        finish: finish && { reason: finish.reason, ...present({ rawReason: finish.rawReason }) },
        error: 'error' in verdict && outcome !== 'stopped' ? describe(error) : undefined,
        by,
      }),
      timings: {
        startedAt: this.#startedAt,
        ...present({ headersMs: since(headersAt), firstContentMs: since(firstContentAt) }),
        totalMs: asyncScheduler.now() - this.#startedAt,
      },
      usage: provenUsage(total(usages), outcome),
      ...(usages.length > 1 && { usageByAttempt: usages.map((usage) => usage ?? UNKNOWN) }),
      attempts: this.#attempts,
      restarts,
      warnings,
      requestIds,
      billing: this.#billing(verdict),
    };
  }

  /** Tells the receipt to every `tapReceipt` below, which an unsubscribe would keep from it. */
  report(receipt: Receipt): void {
    leaveSink(this.scope, receipt);
    for (const reader of this.scope.readers) reader.onReceipt?.(receipt);
  }

  #billing({ outcome, error }: Verdict): Billing {
    const { facts, left, state } = this.#last ?? {};
    if (outcome === 'complete' || hasCode(error, 'ERR_HTTP')) return 'ended';
    // What was asked for is whole, and only the program's own work was stopped.
    const isOver = state === 'complete' && [...this.#missed, ...this.scope.flows].every((flow) => flow.facts.isMarker);
    if (isOver) return 'ended';
    // A provider that reports a failure has ended the work, unless it says that asking again can help: it may requeue.
    if (hasCode(error, 'ERR_PROVIDER') && !isRetryable(error)) return 'ended';
    return facts?.billing?.(left?.verb ?? 'disconnect') ?? 'unknown';
  }
}

function judgeError(error: unknown): Verdict {
  if (hasCode(error, 'ERR_ABORTED')) {
    return { outcome: 'stopped', by: isOfShutdown(error) ? 'shutdown' : 'signal', error };
  }
  return { outcome: isCut(error) ? 'interrupted' : 'failed', error };
}

function completedEarly(flow: Flow | undefined): InterruptedError {
  const name = flow?.facts.provider;
  return new InterruptedError(
    `The stream${name === undefined ? '' : ` from ${name}`} was completed before its proven end, by an operator such as ` +
      'take, takeUntil or catchError, or by a connection that closed; use stopOn(notifier) to stop on purpose',
  );
}

function describe(error: unknown): { name: string; code?: string; message: string } {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message } = error;
  return isMillraceError(error) ? { name, code: error.code, message } : { name, message };
}

/** What flows say, added up; a flow has the same fields. */
interface Tally {
  readonly finish: FinishEvent | undefined;
  readonly usage: Usage | undefined;
  readonly headersAt: number | undefined;
  readonly firstContentAt: number | undefined;
  readonly restarts: number;
  readonly warnings: readonly WarningEvent[];
  readonly requestIds: readonly string[];
}

const empty: Tally = {
  finish: undefined,
  usage: undefined,
  headersAt: undefined,
  firstContentAt: undefined,
  restarts: 0,
  warnings: [],
  requestIds: [],
};

function add(tally: Tally, more: Partial<Tally>): Tally {
  return {
    finish: more.finish ?? tally.finish,
    usage: more.usage ?? tally.usage,
    headersAt: tally.headersAt ?? more.headersAt,
    firstContentAt: tally.firstContentAt ?? more.firstContentAt,
    restarts: tally.restarts + (more.restarts ?? 0),
    warnings: [...tally.warnings, ...(more.warnings ?? [])].slice(0, MAX_LISTED),
    requestIds: [...tally.requestIds, ...(more.requestIds ?? [])].slice(0, MAX_LISTED),
  };
}

/** What an event says to a sink whose source has no flow. */
function hear(tally: Tally, event: StreamEvent): Tally {
  switch (event.type) {
    case 'finish':
      return add(tally, { finish: event });
    case 'warning':
      return add(tally, { warnings: [event] });
    case 'restart':
      return add(tally, { restarts: 1 });
    case 'usage': {
      const { type: _, ...usage } = event;
      return add(tally, { usage }); // cumulative: the last one wins
    }
    default:
      return tally;
  }
}

const UNKNOWN: Usage = { provenance: 'unknown' };

/** What is known of all of them together; where one is unknown it is a part. */
function total(usages: readonly (Usage | undefined)[]): Usage | undefined {
  const known = usages.filter((usage) => usage !== undefined);
  const sum = known.reduce<Usage | undefined>(addUsage, undefined);
  return sum === undefined || known.length === usages.length ? sum : { ...sum, provenance: 'partial' };
}

/** What a provider reported before a cut is its last word, not the whole. */
function provenUsage(usage: Usage | undefined, outcome: Outcome): Usage {
  if (usage === undefined) return UNKNOWN;
  return outcome === 'complete' || usage.provenance !== 'reported' ? usage : { ...usage, provenance: 'partial' };
}

/** Leaves out what is undefined, so that a receipt has only keys that say something. */
function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
