import { asyncScheduler, type SchedulerLike, type Subscription } from 'rxjs';
import { StreamTimeoutError, type TimeoutPhase } from '../errors.js';
import type { ProgressEvent, Received, RestartEvent, StatusEvent, TextEvent } from '../types.js';
import { beginWatch, endWatch, Flow, Scope } from './flow.js';
import { ReceivedText } from './receivedText.js';
import { selectOutput } from './selectOutput.js';
import { isWireEvent, nameOf, signOf } from './signOf.js';

/** Milliseconds for each clock; one without is off. */
export type Limits = Readonly<Record<TimeoutPhase, number | undefined>>;

/** Text that is kept for the error where no flow keeps it. */
const MAX_RECEIVED_CHARS = 1_048_576;

/**
 * The clocks of one subscription to `timeout`. Nothing is scheduled for an item: one timer stands for the earliest limit, looks at what
 * came meanwhile when it fires, and stands for what is left. It is never armed for longer than any limit, so what it did not hear
 * of cannot have made a limit due before it looks.
 *
 * All times are the scheduler's. Flows stamp theirs by `asyncScheduler`; with another one, whose `now` may count something
 * else, a stamp only tells that there was content, and the notification with which it came tells when.
 */
export class Clocks {
  readonly scope: Scope;
  readonly #limits: Limits;
  readonly #scheduler: SchedulerLike;
  readonly #isForeign: boolean;
  readonly #onTimeout: (error: StreamTimeoutError) => void;
  /** What is waited for: the open flows; a source without one under `undefined`. */
  readonly #attempts: Map<Flow | undefined, Attempt> = new Map();
  #lastFlow: Flow | undefined;
  /** The time of silence; it stands still while any flow is held. */
  readonly #silence: StopWatch;
  /** When bytes and content came last, by that time. */
  #wireAt = 0;
  #contentAt = 0;
  /** The same by the scheduler, for the error. */
  #lastBytesAt: number | undefined;
  #lastContentAt: number | undefined;
  #last: { readonly what: string; readonly at: number } | undefined;
  #timer: Subscription | undefined;
  #dueAt = 0;
  #state: 'starting' | 'running' | 'over' = 'starting';
  #isReceiving = false;
  #lastStatus: string | undefined;
  #lastProgress: number | undefined;
  readonly #text = new ReceivedText(MAX_RECEIVED_CHARS);
  #isFirstOutput = selectOutput();
  /** Items have no text that could be kept; an operator below may know it. */
  #isRaw = false;

  constructor(limits: Limits, scheduler: SchedulerLike, onTimeout: (error: StreamTimeoutError) => void) {
    this.#limits = limits;
    this.#scheduler = scheduler;
    this.#isForeign = scheduler !== asyncScheduler;
    this.#onTimeout = onTimeout;
    beginWatch();
    const now = scheduler.now();
    this.#silence = new StopWatch(now);
    this.#attempts.set(undefined, new Attempt(now));
    this.scope = new Scope(
      false,
      new Ear({
        onHeaders: () => {
          this.#onHeaders();
        },
        onBytes: () => {
          this.#onBytes();
        },
      }),
    );
    this.scope.onFlow = (flow): void => {
      this.#onFlow(flow);
    };
    this.scope.onEnd = (flow): void => {
      this.#onEnd(flow);
    };
    this.scope.onPressure = (flow, isPaused): void => {
      this.#onPressure(flow, isPaused);
    };
  }

  /** The source has been subscribed to. Not before, so that an item that comes in the very moment of a limit is in time. */
  start(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'running';
    this.#arm();
  }

  /** The stream is over: nothing is timed any more. */
  stop(): void {
    this.#state = 'over';
    this.#timer?.unsubscribe();
    this.#timer = undefined;
  }

  /** Everything above was torn down. Flows that go on for others forget this reader, and so do those that come after them. */
  detach(): void {
    this.stop();
    endWatch();
    this.scope.current()?.scopes.delete(this.scope);
    for (const flow of [...this.scope.flows, ...this.scope.nearby]) flow.scopes.delete(this.scope);
    this.#attempts.clear();
    this.#text.clear();
  }

  onItem(item: unknown): void {
    if (this.#state === 'over') return;
    const now = this.#scheduler.now();
    this.#isReceiving = true;
    const current = this.scope.current();
    this.#isReceiving = false;
    if (current?.facts.isMarker === true) return; // of the program's own making, such as the result of a tool
    const flow = current !== undefined && this.#attempts.has(current) ? current : undefined;
    const attempt = this.#attempts.get(flow) ?? this.#beginWithout(now);
    if (attempt !== undefined) this.#noteHeaders(attempt, now);
    this.#last = { what: nameOf(item), at: now };
    if (flow?.lastByteAt === undefined) this.#feedWire(now);
    if (flow === undefined || this.#isForeign || !keepsContent(flow)) {
      const sign = signOf(item);
      if (sign === 'content' && attempt !== undefined) attempt.hasContent = true;
      // The types by which it is told are those of these events; one of a reader's own making may have other members.
      if (sign === 'content' || (sign === 'state' && this.#hasMoved(item as StatusEvent | ProgressEvent))) {
        this.#feedContent(now);
      }
    }
    if (this.#isForeign) this.#read();
    if (current?.received === undefined) this.#keep(item);
  }

  /** A state that is only told again is a sign of life, not of work. */
  #hasMoved(event: StatusEvent | ProgressEvent): boolean {
    if (event.type === 'status') {
      const hasMoved = event.status !== this.#lastStatus;
      this.#lastStatus = event.status;
      return hasMoved;
    }
    const hasMoved = event.current !== this.#lastProgress;
    this.#lastProgress = event.current;
    return hasMoved;
  }

  /** Keeps text for the error, where the flow does not. */
  #keep(item: unknown): void {
    if (typeof item === 'string') {
      this.#text.add(item);
      return;
    }
    if (isWireEvent(item) || ArrayBuffer.isView(item)) {
      this.#isRaw = true;
      return;
    }
    const event = item as Partial<TextEvent | RestartEvent> | null | undefined; // anything may pass: it is looked at by type
    if (event?.type === 'restart') {
      this.#text.clear();
      this.#isFirstOutput = selectOutput();
    } else if (event?.type === 'text' && typeof event.text === 'string') {
      const { index = 0, name = 'output' } = event;
      if (this.#isFirstOutput({ ...event, index, name })) this.#text.add(event.text);
    }
  }

  #onHeaders(): void {
    if (this.#state === 'over') return;
    const now = this.#scheduler.now();
    this.#read(); // first: content that was not seen yet came with what came before
    this.#last = { what: 'headers', at: now };
    this.#feedWire(now);
  }

  #onBytes(): void {
    if (this.#state === 'over') return;
    const now = this.#scheduler.now();
    if (this.#isForeign) this.#read();
    this.#last = { what: 'bytes', at: now };
    this.#lastBytesAt = now;
    this.#feedWire(now);
  }

  #onFlow(flow: Flow): void {
    if (this.#state === 'over' || flow.state !== 'open' || this.#attempts.has(flow)) return;
    if (flow.facts.isMarker === true) return;
    const now = this.#scheduler.now();
    this.#read();
    // One that is known by its delivery was asked for before: it is what was waited for.
    const known = this.#isReceiving ? this.#attempts.get(undefined) : undefined;
    const attempt = known ?? new Attempt(now);
    this.#attempts.delete(undefined);
    this.#attempts.set(flow, attempt);
    attempt.sees(flow.lastContentAt, flow.position.pieces);
    attempt.watch.hold(flow.paused, now);
    this.#lastFlow = flow;
    this.#hold(now);
    if (known === undefined) this.#begin(now);
  }

  #onEnd(flow: Flow): void {
    if (this.#state === 'over' || !this.#attempts.has(flow)) return;
    this.#read();
    this.#attempts.delete(flow);
    const now = this.#scheduler.now();
    this.#hold(now);
    this.#begin(now);
    // Whatever goes on in its place is begun in this turn, and on its stack.
    if (this.#attempts.size === 0 && this.#state === 'running') this.#schedule(0);
  }

  #onPressure(flow: Flow, isPaused: boolean): void {
    const attempt = this.#attempts.get(flow);
    if (this.#state === 'over' || attempt === undefined) return;
    const now = this.#scheduler.now();
    this.#read();
    attempt.watch.hold(isPaused, now);
    this.#hold(now);
    if (!isPaused) this.#arm();
  }

  /** An attempt has begun or ended: silence is counted from here. */
  #begin(now: number): void {
    this.#feedWire(now, false);
    this.#feedContent(now, false);
    this.#arm();
  }

  /** Something came while no flow is open, as where a source without one follows. */
  #beginWithout(now: number): Attempt | undefined {
    if (this.#attempts.size > 0) return undefined;
    const attempt = new Attempt(now);
    this.#attempts.set(undefined, attempt);
    this.#begin(now);
    return attempt;
  }

  #hold(now: number): void {
    this.#silence.hold(
      [...this.#attempts.values()].some(({ watch }) => watch.isHeld),
      now,
    );
  }

  #feedWire(at: number, isBytes = true): void {
    this.#wireAt = Math.max(this.#wireAt, this.#silence.read(at));
    if (isBytes) this.#lastBytesAt = Math.max(this.#lastBytesAt ?? at, at);
  }

  #feedContent(at: number, isContent = true): void {
    this.#contentAt = Math.max(this.#contentAt, this.#silence.read(at));
    if (isContent) this.#lastContentAt = Math.max(this.#lastContentAt ?? at, at);
  }

  /** Takes over what the flows have noted since. */
  #read(): void {
    const now = this.#scheduler.now();
    for (const [flow, attempt] of this.#attempts) {
      if (flow === undefined) continue;
      const { headersAt, lastByteAt, firstContentAt, lastContentAt, position } = flow;
      const provenAt = headersAt ?? lastByteAt ?? lastContentAt;
      if (provenAt !== undefined) this.#noteHeaders(attempt, this.#isForeign ? now : provenAt);
      if (lastContentAt === undefined || isRequest(flow)) continue;
      if (firstContentAt !== undefined) attempt.hasContent = true;
      if (this.#isForeign) {
        if (!attempt.sees(lastContentAt, position.pieces)) continue;
        this.#noteContent(lastByteAt === undefined ? now : (this.#lastBytesAt ?? now));
      } else this.#noteContent(lastContentAt);
    }
  }

  #noteHeaders(attempt: Attempt, at: number): void {
    if (attempt.hasHeaders) return;
    attempt.hasHeaders = true;
    // A wait with a limit of its own is over: the silence after it begins.
    if (this.#limits.headers === undefined) return;
    this.#feedWire(at, false);
    this.#feedContent(at, false);
  }

  #noteContent(at: number): void {
    this.#feedContent(at);
    this.#feedWire(at);
    const { what, at: lastAt } = this.#last ?? { what: 'nothing', at: -Infinity };
    if (at > lastAt || (at === lastAt && (what === 'bytes' || what === 'headers'))) {
      this.#last = { what: 'content', at };
    }
  }

  /** How long each clock may still run, the most telling first. */
  #left(): readonly Left[] {
    const { headers, firstContent, contentIdle, wireIdle, attempt: whole } = this.#limits;
    const now = this.#scheduler.now();
    const left: Left[] = [];
    let [awaitsHeaders, awaitsContent] = [false, false];
    for (const [flow, { watch, hasHeaders, hasContent }] of this.#attempts) {
      awaitsHeaders ||= !hasHeaders;
      awaitsContent ||= !hasContent;
      if (watch.isHeld) continue;
      const elapsed = watch.read(now);
      if (!hasHeaders) add(left, 'headers', headers, elapsed, flow);
      if (!hasContent) add(left, 'firstContent', firstContent, elapsed, flow);
      add(left, 'attempt', whole, elapsed, flow);
    }
    if (this.#attempts.size > 0 && !this.#silence.isHeld) {
      const flow = [...this.#attempts.keys()].at(-1);
      const time = this.#silence.read(now);
      // What is waited for under a limit of its own is not silence; it is looked at again after as long as it may last.
      const isEarly = headers !== undefined && awaitsHeaders;
      const isBeforeContent = firstContent === undefined ? isEarly : awaitsContent;
      add(left, 'wireIdle', wireIdle, isEarly ? 0 : time - this.#wireAt, flow);
      add(left, 'contentIdle', contentIdle, isBeforeContent ? 0 : time - this.#contentAt, flow);
    }
    return left.sort((a, b) => ORDER.indexOf(a.phase) - ORDER.indexOf(b.phase));
  }

  /** Has the timer fire when the first limit may be due. */
  #arm(): void {
    if (this.#state !== 'running') return;
    const left = Math.max(0, Math.min(...this.#left().map(({ ms }) => ms)));
    if (left === Infinity || (this.#timer !== undefined && this.#dueAt <= this.#scheduler.now() + left)) return;
    this.#schedule(left);
  }

  #schedule(delayMs: number, isSecondLook = false): void {
    this.#timer?.unsubscribe();
    this.#dueAt = this.#scheduler.now() + delayMs;
    this.#timer = this.#scheduler.schedule(() => {
      this.#timer = undefined;
      this.#fire(isSecondLook);
    }, delayMs);
  }

  #fire(isSecondLook: boolean): void {
    const lateMs = this.#scheduler.now() - this.#dueAt;
    // Begun while another flow was delivering its end: it may fill this stream, and nothing else does.
    if (this.#attempts.size === 0) for (const flow of [...this.scope.nearby]) this.scope.adopt(flow);
    this.#read();
    const due = this.#left().find(({ ms }) => ms <= 0);
    if (due === undefined) this.#arm();
    // This process was busy, and what came meanwhile has not been read yet.
    else if (lateMs > 0 && !isSecondLook) this.#schedule(0, true);
    // After the proof there is nothing left to wait for but formalities: a silence there takes nothing away.
    else if (due.flow?.conclude?.() !== true) {
      this.stop();
      this.#onTimeout(this.#error(due));
    }
  }

  #error({ phase, flow }: Left): StreamTimeoutError {
    const now = this.#scheduler.now();
    const afterMs = this.#limits[phase] ?? 0;
    const { provider, model } = flow?.facts ?? {};
    const { what = 'nothing', at = now } = this.#last ?? {};
    const since = (name: string, time: number | undefined): Record<string, number> =>
      time === undefined ? {} : { [name]: now - time };
    const cameLast =
      this.#last === undefined
        ? 'nothing came'
        : `the last thing that came was ${WORDS.get(what) ?? `a ${what} event`} ${String(now - at)} ms ago`;
    const from = provider === undefined ? '' : ` from ${provider}`;
    const error = new StreamTimeoutError(
      phase,
      `${SAID[phase](from, String(afterMs))} (${phase}); ${cameLast}; ` +
        `raise ${phase}Ms of timeout if that is too short, or ask again with retryOnDisconnect`,
      {
        context: {
          phase,
          afterMs,
          ...(provider !== undefined && { provider }),
          ...(model !== undefined && { model }),
          last: what,
          ...since('lastMs', this.#last?.at),
          ...since('lastByteMs', this.#lastBytesAt),
          ...since('lastContentMs', this.#lastContentAt),
        },
      },
    );
    const received = (flow ?? this.#lastFlow)?.received?.() ?? this.#received();
    if (received !== undefined) error.received = received;
    return error;
  }

  #received(): Received | undefined {
    return this.#isRaw ? undefined : this.#text.get();
  }
}

/** Of clocks that run out together the first is named: a dead connection explains the silence of its content. */
const ORDER: readonly TimeoutPhase[] = ['headers', 'wireIdle', 'firstContent', 'contentIdle', 'attempt'];

const SAID: Readonly<Record<TimeoutPhase, (from: string, ms: string) => string>> = {
  headers: (from, ms) => `No headers${from} within ${ms} ms`,
  firstContent: (from, ms) => `No content${from} within the first ${ms} ms`,
  contentIdle: (from, ms) => `No content${from} for ${ms} ms`,
  wireIdle: (from, ms) => `No bytes${from} for ${ms} ms`,
  attempt: (from, ms) => `No whole answer${from} within ${ms} ms`,
};

/** What came last, where its name is not that of an event. */
const WORDS: ReadonlyMap<string, string> = new Map([
  ['headers', 'the headers'],
  ['bytes', 'bytes'],
  ['content', 'content'],
  ['heartbeat', 'a heartbeat'],
  ['comment', 'a comment'],
]);

interface Left {
  readonly phase: TimeoutPhase;
  readonly ms: number;
  readonly flow: Flow | undefined;
}

function add(
  left: Left[],
  phase: TimeoutPhase,
  limit: number | undefined,
  elapsed: number,
  flow: Flow | undefined,
): void {
  if (limit !== undefined) left.push({ phase, ms: limit - elapsed, flow });
}

/** True for a flow that notes its content itself: then an item, which may have been held back, tells nothing more. */
function keepsContent(flow: Flow): boolean {
  return !isRequest(flow) && (knowsAnswer(flow) || flow.lastContentAt !== undefined);
}

/** True for a request without a decoder. To it every byte is content, a keep-alive too; what becomes of them tells more. */
function isRequest(flow: Flow): boolean {
  return flow.sent && !knowsAnswer(flow);
}

function knowsAnswer({ facts, received }: Flow): boolean {
  return facts.call !== undefined || received !== undefined;
}

/** One attempt: a flow, or a source without one. */
class Attempt {
  readonly watch: StopWatch;
  hasHeaders = false;
  hasContent = false;
  /** The last stamp of content that was seen, and how many pieces: two may come in one millisecond. */
  #stamp: number | undefined;
  #pieces = 0;

  constructor(now: number) {
    this.watch = new StopWatch(now);
  }

  /** True where that is news. */
  sees(stamp: number | undefined, pieces: number): boolean {
    const isNews = stamp !== this.#stamp || pieces !== this.#pieces;
    this.#stamp = stamp;
    this.#pieces = pieces;
    return isNews;
  }
}

/** Time that stands still while it is held. */
class StopWatch {
  readonly #startedAt: number;
  #heldSince: number | undefined;
  #heldMs = 0;

  constructor(now: number) {
    this.#startedAt = now;
  }

  get isHeld(): boolean {
    return this.#heldSince !== undefined;
  }

  hold(isHeld: boolean, now: number): void {
    if (isHeld === this.isHeld) return;
    if (this.#heldSince !== undefined) this.#heldMs += now - this.#heldSince;
    this.#heldSince = isHeld ? now : undefined;
  }

  /** The time on it at a moment that is not before the last hold ended. */
  read(at: number): number {
    return Math.min(at, this.#heldSince ?? at) - this.#heldMs - this.#startedAt;
  }
}

/** Hears of headers and bytes at any depth: flows tell the flow that a scope feeds, and this one feeds nobody. */
class Ear extends Flow {
  readonly #hear: { readonly onHeaders: () => void; readonly onBytes: () => void };

  constructor(hear: { readonly onHeaders: () => void; readonly onBytes: () => void }) {
    super();
    this.#hear = hear;
  }

  override onHeaders(): void {
    this.#hear.onHeaders();
  }

  override onBytes(): void {
    this.#hear.onBytes();
  }
}
