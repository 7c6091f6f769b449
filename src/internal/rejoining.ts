import type { StreamEvent } from '../types.js';

/**
 * A reader that lost its connection and comes back with the id of the last event it had, as `EventSource` does by itself. The stream
 * begins anew for it, and what it has must not come twice. The server keeps nothing between the two connections: the id says how far
 * the answer was told, and what it was.
 *
 * A replay may be cut into other pieces than the first telling, and may skip states that are past. So an id holds a place in the
 * answer and not a number of events: how many units of it were told (characters of text, and each thing that is whole), with a hash of
 * them, then how many states were told behind that place, with a hash of those.
 *
 * ```text
 * 12-1f-1a-0-1x3k9qz          the twelfth event; units, characters of text, of thinking, hash (base 36)
 * 14-1f-1a-0-1x3k9qz-2-9gk2p1 and two states behind them
 * 15-end                      the last one: there is nothing more to ask for
 * ```
 */

/** The id of the end of an answer. A reader that has it is answered 204, by which `EventSource` stops asking. */
const END = /^\d{1,15}-end$/;

const POINT =
  /^(\d{1,15})-([\da-z]{1,10})-([\da-z]{1,10})-([\da-z]{1,10})-([\da-z]{1,7})(?:-([\da-z]{1,5})-([\da-z]{1,7}))?$/;

/** Characters of a replay that are held while they are compared; chosen, as the bound of `received` text. */
const MAX_HELD_CHARS = 1_048_576;
/** What is held of an event that has no text. */
const EVENT_CHARS = 64;

/** What a reader had. */
interface Point {
  readonly number: number;
  readonly units: number;
  readonly chars: number;
  readonly thinkingChars: number;
  readonly hash: number;
  readonly states: number;
  readonly statesHash: number;
}

export function isEndId(id: string): boolean {
  return END.test(id);
}

/** Whether this may be an id under which an event was told. */
export function isToldId(id: string): boolean {
  return END.test(id) || POINT.test(id);
}

function readPoint(id: string): Point | undefined {
  const match = POINT.exec(id);
  if (match === null) return undefined;
  const [number = '', ...rest] = match.slice(1);
  const [units = 0, chars = 0, thinkingChars = 0, hash = 0, states = 0, statesHash = SEED] = rest.map((digits) =>
    // What did not match is undefined.
    typeof digits === 'string' ? Number.parseInt(digits, 36) : undefined,
  );
  return { number: Number(number), units, chars, thinkingChars, hash, states, statesHash };
}

/** FNV-1a over UTF-16 code units. */
const SEED = 0x811c9dc5;

function addToHash(hash: number, text: string): number {
  let sum = hash;
  for (let at = 0; at < text.length; at += 1) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  return sum >>> 0;
}

/** What is told of an answer again and again while it stays the same. It is no part of the answer, and a replay may skip it. */
const STATES: ReadonlySet<StreamEvent['type']> = new Set(['status', 'progress', 'usage', 'warning', 'raw', 'finish']);

/** How far an answer was told: the same however it was cut into pieces. */
class Place {
  units = 0;
  chars = 0;
  thinkingChars = 0;
  hash = SEED;
  states = 0;
  statesHash = SEED;
  #key = '';

  /** Notes an event, or as much of it as makes `max` units. @returns what is left of it */
  note(event: StreamEvent, max = Infinity): StreamEvent | undefined {
    if (STATES.has(event.type)) {
      this.states += 1;
      this.statesHash = addToHash(this.statesHash, JSON.stringify(event));
      return undefined;
    }
    if (event.type === 'restart') {
      Object.assign(this, new Place());
      this.#key = '';
      return undefined;
    }
    if (event.type === 'heartbeat') return undefined;
    this.states = 0;
    this.statesHash = SEED;
    const piece = pieceOf(event);
    if (piece === undefined) {
      this.#key = '';
      this.units += 1;
      this.hash = addToHash(this.hash, JSON.stringify(event));
      return undefined;
    }
    if (piece.key !== this.#key) {
      this.#key = piece.key;
      this.units += 1;
      this.hash = addToHash(this.hash, piece.key);
    }
    const text = piece.text.slice(0, max - this.units);
    this.units += text.length;
    this.hash = addToHash(this.hash, text);
    if (event.type === 'text') this.chars += text.length;
    if (event.type === 'thinking') this.thinkingChars += text.length;
    return text.length === piece.text.length ? undefined : withText(event, piece.text.slice(text.length));
  }

  id(number: number): string {
    const parts = [this.units, this.chars, this.thinkingChars, this.hash];
    if (this.states > 0) parts.push(this.states, this.statesHash);
    return `${String(number)}-${parts.map((part) => part.toString(36)).join('-')}`;
  }
}

/** A piece of a text that grows, and which text that is. */
function pieceOf(event: StreamEvent): { readonly key: string; readonly text: string } | undefined {
  switch (event.type) {
    case 'text':
    case 'thinking':
    case 'refusal':
      return { key: `${event.type} ${String(event.index)} ${event.name}`, text: event.text };
    case 'tool-call-delta':
      return { key: `${event.type} ${String(event.index)} ${event.id}`, text: event.argumentsDelta };
    default:
      return undefined;
  }
}

function withText(event: StreamEvent, text: string): StreamEvent {
  if ('text' in event) return { ...event, text };
  return event.type === 'tool-call-delta' ? { ...event, argumentsDelta: text } : event;
}

/** One telling of an answer to a reader that may have a part of it. */
export class Rejoining {
  /** The reader was told a part of it before, on another connection. */
  readonly hasReader: boolean;
  readonly #place = new Place();
  #number = 0;
  /** What the reader had, until what comes has come as far. */
  #had: Point | undefined;
  /** The reader had something, and nobody knows what. */
  #isLost = false;
  /** The states it had behind that, until they have come again or something else has. */
  #hadStates: Point | undefined;
  #held: StreamEvent[] = [];
  #heldChars = 0;

  /**
   * @param lastEventId - what the reader had; empty where it comes for the first time, or nothing of that is told again
   * @param hasReader - it has something
   */
  constructor(lastEventId: string, hasReader: boolean = lastEventId !== '') {
    this.hasReader = hasReader;
    if (lastEventId === '') return;
    this.#had = readPoint(lastEventId);
    if (this.#had === undefined) this.#isLost = true;
    else {
      this.#number = this.#had.number;
      if (this.#had.units === 0) this.#arrive(this.#had);
    }
  }

  /** An event of the stream, in what the reader does not have. */
  take(event: StreamEvent): readonly StreamEvent[] {
    if (this.#isLost) {
      this.#isLost = false;
      return [beginAnew(0, 0), event];
    }
    if (this.#had !== undefined) return this.#compare(event, this.#had);
    return this.#hadStates === undefined ? [event] : this.#compareStates(event, this.#hadStates);
  }

  /** The answer has ended: what of it was held back and is new to the reader. */
  end(): readonly StreamEvent[] {
    const held = this.#release();
    if (this.#isLost) return [beginAnew(0, 0)];
    return this.#had === undefined ? held : this.#giveUp(this.#had, held);
  }

  /** The id of an event that is told now; undefined where it leaves its reader where it was. */
  idOf(event: StreamEvent): string | undefined {
    if (event.type === 'heartbeat') return undefined; // it may pass while a replay is compared
    // What was compared is noted already, up to where the reader had it.
    this.#place.note(event);
    this.#number += 1;
    return this.#place.id(this.#number);
  }

  endId(): string {
    return `${String(this.#number + 1)}-end`;
  }

  #compare(event: StreamEvent, had: Point): readonly StreamEvent[] {
    if (event.type === 'heartbeat') return [event];
    if (event.type === 'restart') {
      // What was void before the reader had it again.
      this.#release();
      this.#place.note(event);
      return [];
    }
    this.#held.push(event);
    this.#heldChars += EVENT_CHARS + (pieceOf(event)?.text.length ?? 0);
    const rest = this.#place.note(event, had.units);
    if (this.#place.units < had.units) {
      return this.#heldChars > MAX_HELD_CHARS ? this.#giveUp(had, this.#release()) : [];
    }
    if (this.#place.hash !== had.hash) return this.#giveUp(had, this.#release());
    this.#release();
    this.#arrive(had);
    return rest === undefined ? [] : this.take(rest);
  }

  /** What came is what the reader had. */
  #arrive(had: Point): void {
    this.#had = undefined;
    if (had.states > 0) this.#hadStates = had;
  }

  #compareStates(event: StreamEvent, had: Point): readonly StreamEvent[] {
    if (event.type === 'heartbeat') return [event];
    if (!STATES.has(event.type)) return [...this.#release(), event];
    this.#held.push(event);
    if (this.#held.length < had.states) return [];
    const states = this.#release();
    const hash = states.reduce((sum, state) => addToHash(sum, JSON.stringify(state)), SEED);
    if (hash !== had.statesHash) return states;
    for (const state of states) this.#place.note(state);
    return [];
  }

  /** It is another answer than the reader had a part of, or cannot be shown to be the same. */
  #giveUp(had: Point, events: readonly StreamEvent[]): readonly StreamEvent[] {
    this.#had = undefined;
    return [beginAnew(had.chars, had.thinkingChars), ...events];
  }

  #release(): readonly StreamEvent[] {
    const held = this.#held;
    this.#held = [];
    this.#heldChars = 0;
    this.#hadStates = undefined;
    return held;
  }
}

function beginAnew(chars: number, thinkingChars: number): StreamEvent {
  return {
    type: 'restart',
    attempt: 2,
    because: 'the answer that was told again is not the one that was begun',
    discard: thinkingChars === 0 ? { chars } : { chars, thinkingChars },
  };
}
