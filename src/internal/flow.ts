import { asyncScheduler } from 'rxjs';
import type { AbortError } from '../errors.js';
import type { Dialect } from '../protocol/dialect.js';
import type { Billing, FinishEvent, Receipt, Received, StoppedBy, Usage, WarningEvent } from '../types.js';
import { tellEnd, tellPause, tellResume, type Told } from './diagnostics.js';
import { type Keeper, Position } from './position.js';
import { enterStream, leaveStream, running } from './running.js';

/**
 * The spine. RxJS 7 has no demand signal and no context, but three facts serve: a source's `next` runs the synchronous
 * chain down to the sink on one stack, `subscribe` runs the chain up to the source on one stack, and so does `unsubscribe`.
 * So a module that knows what is being delivered, subscribed and torn down *now* can tie sources to sinks without wiring.
 *
 * A {@link Flow} is one subscription to a request, a call or a decoder: its clocks, pressure, position, evidence. A
 * {@link Scope} is somebody who draws from flows and wants to know them: a sink, a decoder, a retry.
 */

/**
 * How a flow is left before its end. `stop`: on purpose, the work is cancelled where it can be. `disconnect`: by an operator
 * that will ask again or that lost patience; nothing is cancelled. `detach`: the reader goes, the work goes on. `drain`: the
 * end is proven and only the connection is worth keeping.
 */
export type Verb = 'stop' | 'disconnect' | 'detach' | 'drain';

/** How something is left, and by whom. */
export interface Leaving {
  readonly verb: Verb;
  readonly by: StoppedBy;
  /** Whose flows are meant, where not everybody's: others that are left on this stack are left by a plain stop. */
  readonly of?: Scope | undefined;
}

interface Tearing {
  readonly scope: Scope;
  readonly outer: Tearing | undefined;
}

interface Stack {
  delivering: Flow | undefined;
  /** The delivering flow, where what it delivers has passed an `isolate`. */
  isolated: Flow | undefined;
  subscribing: Scope | undefined;
  tearing: Tearing | undefined;
  leaving: Leaving;
  /** Flows registered now belong to nobody: a request of the library's own, such as a cancellation. */
  apart: boolean;
  /** Open flows that no sink is known to draw from. */
  readonly orphans: Set<Flow>;
  /** Doors whose readers wait for an item. */
  readonly awaiting: Set<Scope>;
  /** How many chunks of bodies are being delivered, one inside the other. */
  chunks: number;
  /** Flows that moved in this turn, inside of chunks: the clock is read once for all. */
  readonly moved: Flow[];
  /** How many watch for silence. Without one nobody asks when a flow moved last, and no clock is read for it. */
  watchers: number;
}

const PLAIN_STOP: Leaving = { verb: 'stop', by: 'unsubscribe' };

// Under a global symbol, so that two copies of the package in one process agree. The number is the layout's version.
const KEY = Symbol.for('millrace.flow.3');
const shared = globalThis as { [KEY]?: Stack };
const stack: Stack = (shared[KEY] ??= {
  delivering: undefined,
  isolated: undefined,
  subscribing: undefined,
  tearing: undefined,
  leaving: PLAIN_STOP,
  apart: false,
  orphans: new Set(),
  awaiting: new Set(),
  chunks: 0,
  moved: [],
  watchers: 0,
});

/** What a flow knows of itself from the start. */
export interface FlowFacts {
  readonly provider?: string | undefined;
  readonly model?: string | undefined;
  /** The call's identity: the call object, or the function that makes it. */
  readonly call?: object | undefined;
  /** How its answer is decoded, and given back. */
  readonly dialect?: Dialect | undefined;
  /** Stands for a stop on purpose, or for work of the program between two requests, not for something that was asked. */
  readonly isMarker?: boolean | undefined;
  /** What becomes of the bill when it is left so. */
  readonly billing?: ((verb: Verb) => Billing) | undefined;
  /** Its reader may go, and the work goes on: leaving is `detach`. */
  readonly outlivesReader?: boolean | undefined;
}

const NOBODY: ReadonlySet<never> = new Set();
/** Items that streams which are held may still have behind an asynchronous operator: a network chunk of small frames, and less. */
const MAX_ON_THEIR_WAY = 1_024;

/** One subscription to a request, a call or a decoder. */
export class Flow {
  /** Complete once the call is known, which may be later than the subscription. */
  facts: FlowFacts;
  readonly position: Position;
  /** Who draws from it. */
  readonly scopes: Set<Scope> = new Set();
  /** What it draws from itself: a decoder's requests. */
  readonly inner: Set<Flow> = new Set();

  /** A request went out: from here on it may have begun work. */
  sent = false;
  /** It began after the program began to shut down, and is no part of what ran before. */
  readonly isLate: boolean = isRefused();
  /** Ends it on purpose, at the end of `shutdown`; set before it is registered by sources that can. */
  onStop: ((error: AbortError) => void) | undefined;
  /** Set on one that tells diagnostic channels of itself. */
  told: Told | undefined;
  /** Bytes of bodies received. */
  bytes = 0;

  // Clocks, in the scheduler's milliseconds.
  readonly startedAt: number = asyncScheduler.now();
  headersAt: number | undefined;
  /** The first piece of the answer; a state alone is none. */
  firstContentAt: number | undefined;
  #lastByteAt: number | undefined;
  #lastContentAt: number | undefined;
  /** Bytes, or a piece, came inside of the chunk that is being delivered. */
  #isHearing = false;
  #isMoving = false;
  #isListed = false;

  // Evidence.
  state: 'open' | 'complete' | 'error' | 'left' = 'open';
  /** The provider's own sign of a clean end was seen (a request without a decoder: its framing was intact). */
  proven = false;
  /** Ended on purpose by an operator of ours (a race's loser): sinks do not ask it. */
  excused = false;
  /** How it was left, when it was; how its work was given up, where that was decided after its end. */
  left: Leaving | undefined;
  /** What its call asked for: attempts that share it are paid for once. */
  asked: object = {};
  /** Set by a decoder: ends an answer that is whole already, whatever its connection may still have to say; false where it is not. */
  conclude: (() => boolean) | undefined;
  /** Tells what was received so far, for an error that comes from below. */
  received: (() => Received) | undefined;
  finish: FinishEvent | undefined;
  usage: Usage | undefined;
  readonly warnings: WarningEvent[] = [];
  readonly requestIds: string[] = [];
  restarts = 0;

  // Pressure.
  readonly holders: Set<object> = new Set();
  /** Set by the source that can stop reading. */
  onPressure: ((paused: boolean) => void) | undefined;
  pausedSince: number | undefined;
  pausedBefore = 0;
  /** Who may not pause it: an `isolate` stands between. */
  isolatedFrom: ReadonlySet<Scope> = NOBODY;

  constructor(facts: FlowFacts = {}) {
    this.facts = facts;
    this.position = takePosition(facts.call);
  }

  get paused(): boolean {
    return this.holders.size > 0;
  }

  /** Milliseconds for which pressure held it so far: clocks of silence stand still meanwhile. */
  pausedMs(): number {
    return this.pausedBefore + (this.pausedSince === undefined ? 0 : asyncScheduler.now() - this.pausedSince);
  }

  pause(by: object): void {
    // What an operator held back may reach a full sink after its end; the connection is another's by then.
    if (this.state !== 'open') return;
    const wasPaused = this.paused;
    this.holders.add(by);
    if (wasPaused) return;
    this.pausedSince = asyncScheduler.now();
    tellPause(this);
    for (const flow of this.inner) flow.pause(this);
    for (const scope of this.scopes) scope.onPressure?.(this, true);
    this.onPressure?.(true);
  }

  release(by: object): void {
    if (!this.holders.delete(by) || this.paused) return;
    const before = this.pausedBefore;
    this.pausedBefore = this.pausedMs();
    this.pausedSince = undefined;
    // Before it goes on: what the network holds ready comes on this stack, the end too.
    tellResume(this, this.pausedBefore - before);
    for (const flow of this.inner) flow.release(this);
    for (const scope of this.scopes) scope.onPressure?.(this, false);
    this.onPressure?.(false);
  }

  /** Whether somebody else waits for its items, or for those of what it draws from. */
  isAwaitedBesides(holder: Scope): boolean {
    const isAwaiting = (scope: Scope): boolean =>
      scope !== holder && (scope.isAwaiting || (scope.owner !== undefined && [...scope.owner.scopes].some(isAwaiting)));
    return [...this.scopes].some(isAwaiting) || [...this.inner].some((flow) => flow.isAwaitedBesides(holder));
  }

  /** Notes the headers of an answer, here and in the flows that draw from it. */
  onHeaders(requestId: string | undefined, headers: Readonly<Record<string, string>> = {}): void {
    this.headersAt ??= asyncScheduler.now();
    if (requestId !== undefined) this.requestIds.push(requestId);
    for (const { owner, onHead } of this.scopes) {
      owner?.onHeaders(requestId, headers);
      onHead?.(headers);
    }
  }

  onBytes(count = 0): void {
    this.bytes += count;
    if (stack.chunks === 0) this.#lastByteAt = asyncScheduler.now();
    else {
      this.#isHearing = true;
      this.#enlist();
    }
    for (const { owner } of this.scopes) owner?.onBytes(count);
  }

  /** When the last byte came; now, where the clock was not read for it. */
  get lastByteAt(): number | undefined {
    if (this.#isHearing) this.#noteMove(asyncScheduler.now());
    return this.#lastByteAt;
  }

  /** Notes a piece of the answer, `chars` of it text of the first output. */
  onContent(chars: number): void {
    this.onMovement();
    this.firstContentAt ??= this.lastContentAt;
    this.position.content = true;
    this.position.chars += chars;
    this.position.pieces += 1;
  }

  /** Notes that the work moves, though nothing of the answer came: a changed state, progress. */
  onMovement(): void {
    if (stack.chunks === 0) this.#lastContentAt = asyncScheduler.now();
    else {
      this.#isMoving = true;
      this.#enlist();
    }
  }

  /** When the last piece came, or the last change of state or progress; now, where the clock was not read for it. */
  get lastContentAt(): number | undefined {
    if (this.#isMoving) this.#noteMove(asyncScheduler.now());
    return this.#lastContentAt;
  }

  #enlist(): void {
    if (this.#isListed || stack.watchers === 0) return;
    this.#isListed = true;
    if (stack.moved.length === 0) void endOfTurn.then(noteMoved);
    stack.moved.push(this);
  }

  /** It moved, inside of a chunk, and the clock was read after it. */
  #noteMove(at: number): void {
    if (this.#isHearing) this.#lastByteAt = at;
    if (this.#isMoving) this.#lastContentAt = at;
    this.#isHearing = false;
    this.#isMoving = false;
  }

  /** Notes when it moved, and leaves the list of those that did. */
  settle(at: number): void {
    this.#isListed = false;
    this.#noteMove(at);
  }

  /**
   * Begins to deliver a chunk of its body. However many pieces it holds, however many flows they pass, and however many chunks come out
   * of one read of the network, the clock is read once, after the last of them.
   * @returns what goes to {@link endChunk}
   */
  beginChunk(bytes: number): Flow | undefined {
    stack.chunks += 1;
    this.onBytes(bytes);
    this.onContent(0); // bytes are all the content that a request without a decoder has
    return this.beginDelivery();
  }

  /** Ends what `beginChunk` began. */
  endChunk(previous: Flow | undefined): void {
    endDelivery(previous);
    stack.chunks -= 1;
  }

  /** Runs a delivery: whoever is reached on this stack is being filled by this flow. */
  deliver(run: () => void): void {
    const previous = this.beginDelivery();
    try {
      run();
    } finally {
      endDelivery(previous);
    }
  }

  /** `deliver` without a closure, for the hot path; what it returns goes to {@link endDelivery}. */
  beginDelivery(): Flow | undefined {
    const previous = stack.delivering;
    stack.delivering = this;
    return previous;
  }

  /** The flow ended by itself. @param error - where it failed */
  end(state: 'complete' | 'error', error?: unknown): void {
    if (this.state !== 'open') return;
    this.state = state;
    if (state === 'complete') this.position.isComplete = true;
    this.#close(error);
  }

  /** The flow's subscriber left; how is what the stack says. Does nothing to a flow that has ended. */
  leave(): Leaving {
    const { of } = stack.leaving;
    const asked = of === undefined || this.scopes.has(of) ? stack.leaving : PLAIN_STOP;
    const isReader = asked.verb === 'stop' && (asked.by === 'unsubscribe' || asked.by === 'reader');
    const leaving: Leaving = isReader && this.facts.outlivesReader === true ? { ...asked, verb: 'detach' } : asked;
    // Left at its finish event: the answer was whole, and there is nothing to cancel.
    if (this.proven && this.finish !== undefined) this.end('complete');
    if (this.state !== 'open') return this.left ?? leaving;
    this.state = 'left';
    this.left = leaving;
    for (let frame = stack.tearing; frame !== undefined; frame = frame.outer) frame.scope.adopt(this);
    this.#close();
    return leaving;
  }

  #close(error?: unknown): void {
    this.pausedBefore = this.pausedMs();
    this.pausedSince = undefined;
    this.holders.clear();
    stack.orphans.delete(this);
    for (const scope of this.scopes) scope.forget(this);
    leaveStream(this);
    tellEnd(this, error);
  }
}

/** Somebody who draws from flows: a sink, a decoder, a retry. */
export class Scope {
  /** The flow that this scope feeds, when it is a decoder's: flows drawn here are that flow's inner ones. */
  readonly owner: Flow | undefined;
  /** A sink's: its receipt is awaited by the readers below. */
  readonly isSink: boolean;
  /** It answers for its flows, or keeps the pressure of those below from them: they are no orphans. */
  readonly isKeeping: boolean;
  /** An `isolate`: those below do not pause the flows that it draws from. */
  readonly isIsolating: boolean;
  /** It was made after the program began to shut down; a decoder's stands for its flow. */
  readonly isLate: boolean;
  /** It is counted as a stream itself, as sinks are: the flows that it draws from are parts of it. */
  isStream: boolean;
  /** Those below that were being subscribed when this one was made; a late sink meets them when they leave. */
  readers: readonly Scope[];
  /** Everybody who hears of a flow that is subscribed here: itself, and the readers below unless it answers for them. */
  readonly reach: readonly Scope[];
  /** The open flows drawn from. */
  readonly flows: Set<Flow> = new Set();
  /** Open flows that may fill it, known from the stack of a delivery only; for pressure, not for evidence. */
  readonly nearby: Set<Flow> = new Set();
  readonly held: Set<Flow> = new Set();
  /** Keeps the positions of the calls beneath, when this scope asks them again. */
  keeper: Keeper | undefined;
  /** False once what it drew from was torn down. */
  isDrawing = true;
  #isAwaiting = false;
  /** True once a sink above has said that its receipt will come. */
  expectsReceipts = false;
  /** Hears receipts of sinks above. */
  onReceipt: ((receipt: Receipt) => void) | undefined;
  /** Hears of each flow drawn from, when it is first known. */
  onFlow: ((flow: Flow) => void) | undefined;
  /** Hears of each flow drawn from, when it has ended. */
  onEnd: ((flow: Flow) => void) | undefined;
  /** Hears the headers of each answer that comes through a flow drawn from. */
  onHead: ((headers: Readonly<Record<string, string>>) => void) | undefined;
  /** Hears when pressure stops a flow drawn from, and when it lets go. */
  onPressure: ((flow: Flow, isPaused: boolean) => void) | undefined;

  /** How often it was still being filled while all that it knows was held. */
  #overfilled = 0;
  #last: Flow | undefined;
  #lastHeard: Flow | undefined;
  readonly #heard: WeakSet<Flow> = new WeakSet();

  /** @param role - true when it answers for its flows itself, as sinks and decoders do; `'isolates'` for an `isolate` */
  constructor(role: boolean | 'isolates', owner?: Flow) {
    const answers = role === true;
    this.owner = owner;
    this.isSink = answers && owner === undefined;
    this.isIsolating = role === 'isolates';
    this.isKeeping = role !== false;
    this.isLate = owner?.isLate ?? running.phase !== 'open';
    this.isStream = this.isSink;
    this.readers = stack.subscribing?.reach ?? [];
    this.reach = answers ? [this] : [this, ...(stack.subscribing?.reach ?? filledNow())];
    this.#announce();
  }

  /** Takes a flow as one that it draws from. */
  adopt(flow: Flow): void {
    // One that has ended and was folded away is not taken again when its last notification passes.
    const isOpen = flow.state === 'open';
    if (this.flows.has(flow) || (!isOpen && flow.scopes.has(this))) return;
    this.#last = flow;
    flow.scopes.add(this);
    this.nearby.delete(flow);
    if (this.isKeeping) stack.orphans.delete(flow);
    if (this.isIsolating) flow.isolatedFrom = new Set([...flow.isolatedFrom, ...this.reach]);
    this.onFlow?.(flow);
    if (!isOpen) {
      this.onEnd?.(flow);
      return;
    }
    this.flows.add(flow);
    if (this.owner === undefined || flow.isolatedFrom.has(this)) return;
    this.owner.inner.add(flow);
    if (this.owner.paused) flow.pause(this.owner);
  }

  /** The flow that is delivering now, taken as drawn from; else the one known last. */
  current(): Flow | undefined {
    const { delivering } = stack;
    if (delivering === undefined) return this.#last;
    if (delivering === this.#lastHeard) return delivering; // adopted before
    this.adopt(delivering);
    this.#lastHeard = delivering;
    this.#heard.add(delivering);
    return delivering;
  }

  /** True for a flow that was seen to deliver here, and did not merely get known while this was being subscribed. */
  hasHeard(flow: Flow): boolean {
    return this.#heard.has(flow);
  }

  /**
   * It is full: pauses the flow that is filling it or, where the stack does not tell, every flow that it draws from. Orphans may
   * be anybody's: they are paused where it knows no flow, or where more comes than those it knows can have had on their way.
   */
  pause(): void {
    const { delivering, isolated } = stack;
    if (delivering !== undefined) {
      this.adopt(delivering);
      if (delivering !== isolated) this.#hold(delivering);
      return;
    }
    const heldBefore = this.held.size;
    const known = [...this.flows, ...this.nearby].filter(({ state }) => state === 'open');
    for (const flow of known) this.#hold(flow);
    this.#overfilled = this.held.size > heldBefore ? 0 : this.#overfilled + 1;
    const isExplained = this.held.size === 0 || this.#overfilled < MAX_ON_THEIR_WAY;
    if (known.length > 0 && isExplained) return;
    for (const flow of stack.orphans) this.#hold(flow);
  }

  /** It has room again, or it leaves. */
  release(): void {
    const held = [...this.held];
    this.held.clear();
    this.#overfilled = 0;
    for (const flow of held) flow.release(this);
  }

  /** True for a door whose reader has asked for an item that is not there yet. */
  get isAwaiting(): boolean {
    return this.#isAwaiting;
  }

  set isAwaiting(isAwaiting: boolean) {
    this.#isAwaiting = isAwaiting;
    if (isAwaiting) stack.awaiting.add(this);
    else stack.awaiting.delete(this);
  }

  /** True where another door waits for what this one holds back; or may do so, since it knows no flow and has joined a shared one late. */
  get isAwaited(): boolean {
    const knowsNothing = ({ flows, nearby }: Scope): boolean => flows.size === 0 && nearby.size === 0;
    return (
      [...this.held].some((flow) => flow.isAwaitedBesides(this)) ||
      [...stack.awaiting].some((door) => door !== this && knowsNothing(door))
    );
  }

  /** A flow that may fill it has ended. */
  forget(flow: Flow): void {
    this.nearby.delete(flow);
    this.held.delete(flow);
    this.owner?.inner.delete(flow);
    if (this.flows.delete(flow)) this.onEnd?.(flow);
  }

  /** It is being torn down on the stack of `outer`. A sink that was subscribed late meets its readers here. */
  meet(outer: Tearing | undefined): void {
    if (!this.isSink || this.readers.length > 0) return;
    const readers: Scope[] = [];
    for (let frame = outer; frame !== undefined; frame = frame.outer) readers.push(frame.scope);
    this.readers = readers;
    this.#announce();
  }

  #announce(): void {
    if (!this.isSink) return;
    for (const reader of this.readers) reader.expectsReceipts = true;
  }

  #hold(flow: Flow): void {
    if (flow.isolatedFrom.has(this)) return;
    this.held.add(flow);
    flow.pause(this);
  }
}

/** For what comes right after this turn; `queueMicrotask` costs more in Node, which makes a resource of each. */
const endOfTurn: Promise<void> = Promise.resolve();

function noteMoved(): void {
  if (stack.moved.length === 0) return;
  const at = asyncScheduler.now();
  for (let flow = stack.moved.pop(); flow !== undefined; flow = stack.moved.pop()) flow.settle(at);
}

/** Somebody watches for silence, until {@link endWatch}. */
export function beginWatch(): void {
  stack.watchers += 1;
}

/** Ends what `beginWatch` began. */
export function endWatch(): void {
  stack.watchers -= 1;
}

/**
 * Runs what takes a chunk apart, wherever it comes from: the clock is read once, at its end, for all the pieces in it.
 * @returns what goes to {@link leaveChunk}
 */
export function enterChunk(): boolean {
  stack.chunks += 1;
  return stack.chunks === 1;
}

/** Ends what `enterChunk` began. @param isOuter - what it returned */
export function leaveChunk(isOuter: boolean): void {
  stack.chunks -= 1;
  if (isOuter) noteMoved();
}

/** Ends what `beginDelivery` began. */
export function endDelivery(previous: Flow | undefined): void {
  stack.delivering = previous;
}

/** Makes a flow known to whoever is subscribing it now, or at least to whom the delivering flow fills. */
export function register(flow: Flow): void {
  const { subscribing, delivering, apart } = stack;
  if (apart || flow.state !== 'open') return;
  if (flow.onStop !== undefined) {
    enterStream(flow, {
      stop: (error) => {
        // A call's requests are its own affair: one of them may tell what to cancel.
        const isOfCall = [...flow.scopes].some(({ owner }) => owner?.onStop !== undefined);
        if (!isOfCall) flow.onStop?.(error);
      },
      isCounted: () => !isPart(flow.scopes),
    });
  }
  if (subscribing !== undefined) {
    // An `isolate` first: what it keeps from those below must be known when they take the flow.
    const { reach } = subscribing;
    for (const scope of reach) if (scope.isIsolating) scope.adopt(flow);
    for (const scope of reach) scope.adopt(flow);
    // With a retry alone, for one: its own subscriber came too late to be on the stack.
    if (!reach.some(({ isKeeping }) => isKeeping)) stack.orphans.add(flow);
    return;
  }
  if (delivering === undefined) {
    stack.orphans.add(flow);
    return;
  }
  const filled = filledNow();
  flow.isolatedFrom = delivering.isolatedFrom;
  for (const scope of filled) {
    scope.nearby.add(flow);
    flow.scopes.add(scope);
  }
  if (!filled.some(({ isKeeping }) => isKeeping)) stack.orphans.add(flow);
}

/** True for what is drawn from by something that is counted as a stream, or that belongs to one. */
export function isPart(scopes: Iterable<Scope>): boolean {
  return [...scopes].some(({ isStream, owner }) => isStream || owner !== undefined);
}

/** True for a request of the library's own, such as a cancellation: it is part of no stream. */
export function isApart(): boolean {
  return stack.apart;
}

/**
 * True where what is subscribed now must not begin: the program is shutting down, and nobody below was there before. What was there
 * may still ask for what it needs to come to its end.
 */
export function isRefused(): boolean {
  if (running.phase === 'open' || stack.apart) return false;
  const below = stack.subscribing?.reach ?? filledNow();
  return running.phase === 'closed' || below.every(({ isLate }) => isLate);
}

/** Whom the flow that delivers now fills; those that have left it meanwhile are filled no more. */
function filledNow(): readonly Scope[] {
  return [...(stack.delivering?.scopes ?? [])].filter(({ isDrawing }) => isDrawing);
}

/** Passes on what an `isolate` was given: whoever is reached and full does not pause the flow that is delivering. */
export function deliverIsolated(isolating: Scope, run: () => void): void {
  const { isolated } = stack;
  stack.isolated = isolating.current();
  try {
    run();
  } finally {
    stack.isolated = isolated;
  }
}

/** Runs a subscription in the name of a scope: flows that are subscribed on this stack register with it. */
export function subscribeWithin(scope: Scope | undefined, run: () => void): void {
  const { subscribing, delivering } = stack;
  stack.subscribing = scope;
  // A stream that is begun in the middle of another one's delivery is not filled by that delivery.
  if (scope !== undefined) stack.delivering = undefined;
  try {
    run();
  } finally {
    stack.subscribing = subscribing;
    stack.delivering = delivering;
  }
}

/** Runs a teardown in the name of a scope: flows that are left on this stack were its. */
export function tearDownWithin(scope: Scope, run: () => void): void {
  const outer = stack.tearing;
  scope.meet(outer);
  stack.tearing = { scope, outer: scope.reach.length === 1 ? undefined : outer };
  try {
    run();
  } finally {
    stack.tearing = outer;
  }
}

/**
 * Runs an unsubscription as something else than a plain stop.
 * @param of - means the flows of this scope only: a `finalize` on the way may leave other streams
 */
export function leaveAs(verb: Verb, by: StoppedBy, run: () => void, of?: Scope): void {
  const { leaving } = stack;
  stack.leaving = { verb, by, of };
  try {
    run();
  } finally {
    stack.leaving = leaving;
  }
}

/** Runs something whose flows belong to nobody on the stack. */
export function runApart(run: () => void): void {
  const { subscribing, delivering, tearing, apart } = stack;
  Object.assign(stack, { subscribing: undefined, delivering: undefined, tearing: undefined, apart: true });
  try {
    run();
  } finally {
    Object.assign(stack, { subscribing, delivering, tearing, apart });
  }
}

/** How a stream that is left now is left. */
export function leavingNow(): Leaving {
  return stack.leaving;
}

/** A place on the stack in which something will be subscribed later. */
export interface Place {
  /** Runs a subscription as if it happened in this place, so that those below know its flows. */
  readonly take: (subscribe: () => void) => void;
  /** Nothing will be subscribed here any more. */
  readonly giveUp: () => void;
}

/**
 * Keeps the place in which something is being subscribed now, for a source that may subscribe more there later.
 * @returns runs a subscription as if it happened in this place, so that those below know its flows
 */
export function thisPlace(): (subscribe: () => void) => void {
  const { subscribing, delivering, isolated } = stack;
  return (subscribe) => {
    const now = { ...stack };
    Object.assign(stack, { subscribing, delivering, isolated, tearing: undefined, leaving: PLAIN_STOP });
    try {
      subscribe();
    } finally {
      const { subscribing, delivering, isolated, tearing, leaving } = now;
      Object.assign(stack, { subscribing, delivering, isolated, tearing, leaving });
    }
  };
}

/** An empty place: what somebody else's code subscribes to there, or leaves, is no part of the stream that runs it. */
export function outside(): (run: () => void) => void {
  let place: (run: () => void) => void = (run) => {
    run();
  };
  runApart(() => {
    place = thisPlace();
  });
  return place;
}

/** As {@link thisPlace}, for what is put off: whoever below asks again waits until it has happened. */
export function keepPlace(): Place {
  const subscribeHere = thisPlace();
  const done = keepersBelow().map((keeper) => keeper.putOff());
  const giveUp = (): void => {
    for (const tell of done) tell();
  };
  return {
    take: (subscribe) => {
      subscribeHere(subscribe);
      giveUp();
    },
    giveUp,
  };
}

/** Takes back the position of a call from whoever beneath keeps positions; a new one where nobody does. */
function takePosition(call: object | undefined): Position {
  const keepers = call === undefined ? [] : keepersBelow();
  if (call === undefined || keepers.length === 0) return new Position();
  let position: Position | undefined;
  for (const keeper of keepers) {
    position = keeper.take(call);
    // One that is subscribed anew by another below has not heard of the call yet.
    if (position !== undefined) break;
  }
  position ??= new Position();
  for (const keeper of keepers) keeper.keep(call, position);
  // The nearest decides how the call goes on.
  position.keeper = keepers[0];
  position.takenBy += 1;
  return position;
}

/** Runs what sends a request: now or, where somebody asks again and waits for every call to come back, after that. */
export function sendWhenAllAreBack(send: () => void): void {
  const sendLast = keepersBelow().reduce<() => void>(
    (next, keeper) => () => {
      keeper.send(next);
    },
    send,
  );
  sendLast();
}

/** True where what is being subscribed now is another attempt of somebody below. */
export function isAskedAgain(): boolean {
  return keepersBelow().some(({ isAskingAgain }) => isAskingAgain);
}

/** Whoever below asks calls again, the nearest first. */
export function keepersBelow(): readonly Keeper[] {
  return (stack.subscribing?.reach ?? []).flatMap(({ keeper }) => keeper ?? []);
}
