import { LimitError } from '../errors.js';
import { addUsage } from '../internal/addUsage.js';
import type { Emit } from '../protocol/dialect.js';
import type { Usage } from '../types.js';
import { DeltaOrder } from './inferenceshDeltaOrder.js';
import { MAX_HELD_CHARS, StreamedText } from './streamedText.js';

/** One assistant message of the turn that is read. */
export interface TurnMessage {
  readonly order: number | undefined;
  readonly text: StreamedText;
  readonly thinking: StreamedText;
  readonly increments: DeltaOrder;
  /** The message is stored as ended: increments that come after are late ones, which it holds already. */
  isOver: boolean;
  usage: Usage | undefined;
  stopReason: string | undefined;
}

/** The assistant messages of one turn, told as one text. */
export class ChatTurn {
  /** In order of their appearance. */
  readonly #messages: Map<string, TurnMessage> = new Map();
  readonly #separator: string;
  /** This turn's first message, where the answer to the request named it. */
  #first: { readonly id: string; readonly order: number | undefined } | undefined;
  #isFresh = false;
  /** Characters of text emitted since the start or the last restart, separators included. */
  #chars = 0;
  #restarts = 0;
  #wasLost = false;
  /** The message that the last text was of, while no later one has a text. */
  #newest: TurnMessage | undefined;

  constructor(separator: string) {
    this.#separator = separator;
  }

  /** Why the model stopped in the newest message. */
  get stopReason(): string | undefined {
    return [...this.#messages.values()].at(-1)?.stopReason;
  }

  /** The answer to the request named this turn's message: what an earlier turn went on writing until now is not ours. */
  begin(id: string, order: number | undefined, emit: Emit): void {
    this.#first = { id, order };
    let isVoid = false;
    for (const [key, message] of this.#messages) {
      if (key === id || order === undefined || message.order === undefined || message.order >= order) continue;
      this.#messages.delete(key);
      this.#newest = undefined;
      isVoid ||= message.text.chars > 0;
    }
    if (isVoid) this.#tellAgain('the text was that of an earlier turn', emit);
  }

  /** The answer to the request named it. */
  get isAsked(): boolean {
    return this.#first !== undefined;
  }

  /** A connection was lost: what came meanwhile is not known. */
  lose(): void {
    this.#wasLost = true;
    for (const { increments } of this.#messages.values()) increments.lose();
  }

  /** True while nothing can have been missed: after a loss, once every message was told as it is stored. */
  get isWhole(): boolean {
    if (!this.#wasLost) return true;
    const messages = [...this.#messages.values()];
    return messages.length > 0 && messages.every(({ isOver, increments }) => isOver && !increments.isLost);
  }

  /** The chat was at rest and is busy now: messages that appear from here on are of a new turn. */
  refresh(): void {
    this.#isFresh = true;
  }

  /** True for the message that the request's answer named, or for any of the turn where it named none. */
  isNamed(id: string): boolean {
    return this.#first === undefined ? this.#messages.has(id) : this.#first.id === id;
  }

  has(id: string): boolean {
    return this.#messages.has(id);
  }

  /**
   * This turn's message of that id; `undefined` for one of an earlier turn.
   * @param isLive - it is being written, or waits for the client
   */
  message(id: string, order: number | undefined, isLive: boolean): TurnMessage | undefined {
    const known = this.#messages.get(id);
    if (known !== undefined) return known;
    if (!this.#belongs(id, order, isLive)) return undefined;
    const message: TurnMessage = {
      order,
      text: new StreamedText(),
      thinking: new StreamedText(),
      increments: new DeltaOrder(),
      isOver: false,
      usage: undefined,
      stopReason: undefined,
    };
    if (this.#wasLost) message.increments.lose();
    this.#messages.set(id, message);
    return message;
  }

  think(message: TurnMessage, text: string, emit: Emit): void {
    message.thinking.append(text);
    emit({ type: 'thinking', text, index: 0, name: 'thinking' });
  }

  say(message: TurnMessage, text: string, emit: Emit): void {
    const isNewest = message === this.#newest || this.#isNewest(message);
    this.#newest = isNewest ? message : undefined;
    const isFirstText = message.text.chars === 0;
    message.text.append(text);
    if (!isNewest) this.#tellAgain('an earlier message of the turn went on', emit);
    else this.#emitText(isFirstText && this.#chars > 0 ? this.#separator + text : text, emit);
  }

  /** No later message has a text. */
  #isNewest(message: TurnMessage): boolean {
    let isLater = false;
    for (const each of this.#messages.values()) {
      if (isLater && each.text.chars > 0) return false;
      isLater ||= each === message;
    }
    return true;
  }

  /** Takes a message's text as stored: emits what increments did not bring, or begins anew where it is another text. */
  settle(message: TurnMessage, whole: string, isOver: boolean, emit: Emit): void {
    const missing = message.text.missingFrom(whole);
    if (missing !== undefined) {
      if (missing !== '') this.say(message, missing, emit);
      return;
    }
    // What is stored while the message is written may be behind its increments; nothing stored unsays nothing.
    if (whole === '' || (!isOver && message.text.includes(whole))) return;
    message.text.replace(whole);
    this.#newest = undefined;
    this.#tellAgain('the stored message has a different text', emit);
  }

  /** Takes a message's usage, and tells the turn's. */
  spend(message: TurnMessage, usage: Usage, emit: Emit): void {
    message.usage = usage;
    const all = [...this.#messages.values()].flatMap(({ usage: each }) => (each === undefined ? [] : [each]));
    emit({ type: 'usage', ...all.reduce((a, b) => addUsage(a, b)) });
  }

  #belongs(id: string, order: number | undefined, isLive: boolean): boolean {
    if (this.#first?.id === id) return true;
    const [oldest] = this.#messages.values();
    const start = this.#first === undefined ? oldest?.order : this.#first.order;
    // Where both have a place in the chat, it decides for messages after a known start, and against those before.
    if (start !== undefined && order !== undefined) return order > start;
    return isLive || oldest !== undefined || this.#isFresh;
  }

  #tellAgain(because: string, emit: Emit): void {
    const messages = [...this.#messages.values()];
    const held = messages.map(({ text, thinking }) => ({ text: text.text, thinking: thinking.text }));
    if (held.some(({ text, thinking }) => text === undefined || thinking === undefined)) {
      throw new LimitError(
        'MAX_HELD_CHARS',
        MAX_HELD_CHARS,
        `The turn has to be told again (${because}), but a message has more than the ${String(MAX_HELD_CHARS)} characters held`,
      );
    }
    this.#restarts += 1;
    emit({ type: 'restart', attempt: this.#restarts, because, discard: { chars: this.#chars } });
    this.#chars = 0;
    for (const { text = '', thinking = '' } of held) {
      if (thinking !== '') emit({ type: 'thinking', text: thinking, index: 0, name: 'thinking' });
      if (text !== '') this.#emitText(this.#chars > 0 ? this.#separator + text : text, emit);
    }
  }

  #emitText(text: string, emit: Emit): void {
    this.#chars += text.length;
    emit({ type: 'text', text, index: 0, name: 'output' });
  }
}
