import type { StreamEvent } from '../types.js';
import { DeliveredText, type TextComparison } from './deliveredText.js';

/** Characters that must have come again before what follows is taken for more of the same answer; chosen. */
const MIN_SURE_CHARS = 16;

/** What was delivered of an answer, for comparison with the same answer told again. */
export class Delivered {
  readonly texts: Map<string, DeliveredText> = new Map();
  /** How many events came of each other kind that a replay repeats. */
  readonly counts: Map<string, number> = new Map();

  #last: { readonly type: string; readonly index: number; readonly name: string } | undefined;
  #lastText: DeliveredText = new DeliveredText();

  get chars(): number {
    return [...this.texts.values()].reduce((sum, { chars }) => sum + chars, 0);
  }

  note(event: StreamEvent): void {
    const last = this.#last;
    // Most pieces follow one another in one output: then no key is made.
    if (
      (event.type === 'text' || event.type === 'thinking') &&
      event.type === last?.type &&
      event.index === last.index &&
      event.name === last.name
    ) {
      this.#lastText.add(event.text);
      return;
    }
    const text = textOf(event);
    if (text !== undefined) {
      const delivered = this.text(text.key);
      delivered.add(text.text);
      if (event.type === 'text' || event.type === 'thinking') {
        this.#last = { type: event.type, index: event.index, name: event.name };
        this.#lastText = delivered;
      }
    } else if (REPEATED.has(event.type)) this.counts.set(kindOf(event), (this.counts.get(kindOf(event)) ?? 0) + 1);
  }

  text(key: string): DeliveredText {
    const known = this.texts.get(key) ?? new DeliveredText();
    this.texts.set(key, known);
    return known;
  }

  clear(): void {
    this.#last = undefined;
    this.texts.clear();
    this.counts.clear();
  }
}

/**
 * An answer that is told again over a new connection: lets pass what is new of it.
 *
 * `sure`: it is a replay from the start, so other text is another answer. `doubtful`: it may be a replay, or go on where the
 * stream broke, or be another answer; text passes only after enough of it has come again, and none does after a difference.
 */
export class Replay {
  readonly isSure: boolean;
  /** How much was delivered before. */
  readonly #chars: number;
  readonly #comparisons: Map<string, TextComparison> = new Map();
  readonly #left: Map<string, number>;
  #isOther = false;

  constructor(delivered: Delivered, kind: 'sure' | 'doubtful') {
    this.isSure = kind === 'sure';
    this.#chars = delivered.chars;
    for (const [key, text] of delivered.texts) this.#comparisons.set(key, text.compare());
    this.#left = new Map(delivered.counts);
  }

  /** It is a replay of another answer. */
  get isOther(): boolean {
    return this.isSure && this.#isOther;
  }

  /** The event, or what is new of it; `undefined` where it was delivered. */
  take(event: StreamEvent): StreamEvent | undefined {
    const text = textOf(event);
    if (text === undefined) return this.#takeOther(event);
    if (this.#isOther) return undefined;
    const comparison = this.#comparisons.get(text.key);
    const rest = comparison === undefined ? text.text : comparison.push(text.text);
    const isFresh = rest !== undefined && (rest !== '' || comparison === undefined);
    this.#isOther = rest === undefined || (isFresh && !this.isSure && !this.#mayGoOn());
    if (this.#isOther || !isFresh) return undefined;
    return rest === text.text ? event : withText(event, rest);
  }

  /** The answer has ended: it is another one where less came than was delivered. */
  end(): void {
    for (const { isThrough, awaited } of this.#comparisons.values()) {
      this.#isOther ||= !isThrough && awaited?.trim() !== '';
    }
  }

  #takeOther(event: StreamEvent): StreamEvent | undefined {
    const kind = kindOf(event);
    const left = this.#left.get(kind) ?? 0;
    if (left === 0) return event;
    this.#left.set(kind, left - 1);
    return undefined;
  }

  /** Enough has come again that what follows can be no accident. */
  #mayGoOn(): boolean {
    if (this.#chars === 0) return true; // nothing was delivered that it could contradict
    return this.#chars >= MIN_SURE_CHARS && [...this.#comparisons.values()].every(({ isThrough }) => isThrough);
  }
}

function textOf(event: StreamEvent): { readonly key: string; readonly text: string } | undefined {
  switch (event.type) {
    case 'text':
    case 'thinking':
    case 'refusal':
      return { key: JSON.stringify([event.type, event.index, event.name]), text: event.text };
    case 'tool-call-delta':
      return { key: JSON.stringify([event.type, event.index, event.id]), text: event.argumentsDelta };
    default:
      return undefined;
  }
}

function withText(event: StreamEvent, text: string): StreamEvent {
  if ('text' in event) return { ...event, text };
  return event.type === 'tool-call-delta' ? { ...event, argumentsDelta: text } : event;
}

const REPEATED: ReadonlySet<StreamEvent['type']> = new Set([
  'status',
  'progress',
  'log',
  'tool-call',
  'media',
  'warning',
  'raw',
]);

/** States are told apart by their word: a replay may begin with a later one. */
function kindOf(event: StreamEvent): string {
  return event.type === 'status' ? `status ${event.status}` : event.type;
}
