import type { Decoder } from '../protocol/dialect.js';
import type { OutputPlace, StreamEvent } from '../types.js';
import type { ReceivedText } from './receivedText.js';

/**
 * How a call is asked. `first`: for the first time. `on`: its stream goes on, and the decoder with it. `anew`: from the start.
 * `continued`: the text so far is sent back, and the answer goes on after it. `refused`: not at all.
 */
export type Going = 'first' | 'on' | 'anew' | 'continued' | 'refused';

/** What to do when an answer that was delivered in part cannot be gone on with. @public */
export type OnUnresumable = 'restart' | 'continue' | 'error';

/**
 * How far a call has been delivered. It belongs to the call and outlives its subscriptions, so that asking the same call again
 * goes on from it.
 */
export class Position {
  /** Characters of the first output's text delivered since the answer began, and of thinking. */
  chars = 0;
  thinkingChars = 0;
  /** True once a piece of the answer was delivered. */
  content = false;
  /** How many subscriptions took it. */
  takenBy = 0;
  /** Its finish was delivered: there is nothing left to ask for. */
  isComplete = false;
  /** Who asks the call again after a break; without one a subscription begins anew and is alone. */
  keeper: Keeper | undefined;

  /** How the call would go on now; known once it was made. */
  going: (() => Going) | undefined;
  /** How often the call was asked or gone on with. */
  attempt = 0;
  /** What the answer is about; a new object where the call is asked anew, so that its usage is another bill. */
  asked: object = {};
  /** Pieces of the answer, and changes of its state, since it began, and the most that any attempt brought. */
  pieces = 0;
  furthest = 0;

  /** The work's id, where it has one. */
  workId: string | undefined;
  /** The request that creates the work, or adds to it, was answered. */
  isSubmitted = false;
  /** Hears the id of work that this call created. */
  onWork: ((workId: string) => void) | undefined;
  /** The id of work that this call created and that may be running. */
  created: string | undefined;
  /** The id of work that was cancelled. */
  cancelled: string | undefined;
  /** Stops the call, also while it is not being asked. */
  signal: AbortSignal | undefined;
  /** Cancels that work, where it can be. */
  cancel: (() => void) | undefined;
  /** The decoder, while the answer may be gone on with. */
  decoder: Decoder | undefined;
  received: ReceivedText | undefined;
  isFirstOutput: ((place: OutputPlace) => boolean) | undefined;
  /** The last state and progress told: to tell them again is a sign of life, not of work. */
  lastStatus: string | undefined;
  lastProgress: number | undefined;
  /** Events that were delivered before the answer's first piece, by type: asking anew would tell them twice. */
  preamble: Map<StreamEvent['type'], number> = new Map();
  /** The last event id on the wire. */
  lastEventId = '';
  /** How long the server asks to wait before a reconnect. */
  retryMs: number | undefined;

  /** True when this attempt brought more than any before it. */
  hasProgressed(): boolean {
    const hasProgressed = this.pieces > this.furthest;
    this.furthest = Math.max(this.furthest, this.pieces);
    return hasProgressed;
  }

  /** The answer begins anew. */
  reset(): void {
    this.chars = 0;
    this.thinkingChars = 0;
    this.content = false;
    this.pieces = 0;
    this.received?.clear();
    this.isFirstOutput = undefined;
  }
}

/**
 * Keeps the positions of the calls beneath for somebody who asks them again. While it does so, what the calls send is held back
 * until it is certain that each of them has come back: a call that did not would be asked twice.
 */
export class Keeper {
  readonly onUnresumable: OnUnresumable;
  /** True from the second attempt on. */
  isAskingAgain = false;
  /** Why the calls are asked again, in words. */
  because = '';
  /** By the call's identity; several where one call is subscribed to several times, in that order. */
  readonly #positions: Map<object, Position[]> = new Map();
  /** How many of them were taken in this attempt. */
  readonly #taken: Map<object, number> = new Map();
  #awaited: ReadonlyMap<Position, { readonly takenBy: number; readonly pieces: number }> = new Map();
  #held: (() => void)[] | undefined;
  /** Subscriptions that operators of ours have put off: a gate, a hedged race. */
  #putOff = 0;
  #onAll: (() => void) | undefined;

  constructor(onUnresumable: OnUnresumable) {
    this.onUnresumable = onUnresumable;
  }

  /** Every position, in no particular order. */
  get positions(): readonly Position[] {
    return [...this.#positions.values()].flat();
  }

  /** The position of a call's next subscription in this attempt; `undefined` where it is a new one. */
  take(call: object): Position | undefined {
    const count = this.#taken.get(call) ?? 0;
    this.#taken.set(call, count + 1);
    return this.#positions.get(call)?.[count];
  }

  keep(call: object, position: Position): void {
    const known = this.#positions.get(call);
    if (known === undefined) this.#positions.set(call, [position]);
    else if (!known.includes(position)) known.push(position);
  }

  /** A new attempt: from here on what is sent is held back, and every call that is not complete is awaited. */
  hold(): void {
    this.isAskingAgain = true;
    this.#taken.clear();
    this.#held = [];
    this.#awaited = new Map(
      this.positions
        .filter(({ isComplete }) => !isComplete)
        .map((position) => [position, { takenBy: position.takenBy, pieces: position.pieces }]),
    );
  }

  /** True when every call that was awaited has come back, and was not moved on by somebody else. */
  get areAllBack(): boolean {
    return [...this.#awaited].every(
      ([position, before]) => position.takenBy > before.takenBy && position.pieces === before.pieces,
    );
  }

  /** Runs once every subscription that was put off has happened, or at once where none was. */
  whenAllSubscribed(run: () => void): void {
    if (this.#putOff === 0) run();
    else this.#onAll = run;
  }

  /** Somebody subscribes later than now. @returns what says that it did, or that it never will */
  putOff(): () => void {
    this.#putOff += 1;
    let isDone = false;
    return () => {
      if (isDone) return;
      isDone = true;
      this.#putOff -= 1;
      if (this.#putOff > 0) return;
      const onAll = this.#onAll;
      this.#onAll = undefined;
      onAll?.();
    };
  }

  /** Runs `send` now, or when everybody is back. */
  send(send: () => void): void {
    if (this.#held === undefined) send();
    else this.#held.push(send);
  }

  /** Sends what was held back. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const send of held) send();
  }

  /** Nothing of what was held back is sent. */
  drop(): void {
    this.#held = undefined;
    this.#onAll = undefined;
  }
}
