import type { TurnOptions } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import type { RawEvent, StreamEvent } from '../types.js';

/** A message of an AG-UI conversation; members beside these are the agent's own. @public */
export interface AGUIMessage {
  readonly id: string;
  /** `user`, `assistant`, `tool`, `reasoning`, `system`, `developer` … */
  readonly role: string;
  readonly content?: unknown;
  readonly toolCalls?: readonly AGUIToolCall[] | undefined;
  readonly toolCallId?: string | undefined;
  readonly [key: string]: unknown;
}

/** A tool call in a message. @public */
export interface AGUIToolCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: string };
  readonly encryptedValue?: string;
}

type Draft = Record<string, unknown> & { readonly id: string; readonly role: string };
type Fields = Readonly<Record<string, unknown>>;

const NEEDED: ReadonlySet<unknown> = new Set([
  'TEXT_MESSAGE_START',
  'TEXT_MESSAGE_CHUNK',
  'REASONING_MESSAGE_START',
  'REASONING_ENCRYPTED_VALUE',
  'TOOL_CALL_START',
  'TOOL_CALL_CHUNK',
  'TOOL_CALL_RESULT',
]);

/** How a run is given back: the messages that it added to the conversation, under their own ids. */
export const agUITurn: TurnOptions<readonly AGUIMessage[]> = {
  needs: ({ frame }) => isRecord(frame) && NEEDED.has(frame['type']),
  build: (events) => {
    const messages = new Building();
    for (const event of events) messages.add(event);
    return messages.turn();
  },
};

class Building {
  readonly #messages: Draft[] = [];
  /** Values that only the agent can read, by the message or the call that they belong to. */
  readonly #encrypted: Map<string, string> = new Map();
  /** The messages that calls and results name. */
  readonly #places: Map<string, string> = new Map();
  #made = 0;

  add(event: StreamEvent): void {
    switch (event.type) {
      case 'text':
        this.#append('assistant', event.text);
        break;
      case 'thinking':
        this.#append('reasoning', event.text);
        break;
      case 'tool-call': {
        const { id, name, argumentsText } = event;
        const message = this.#assistant(this.#places.get(id));
        const call = {
          id,
          type: 'function',
          function: { name, arguments: argumentsText === '' ? '{}' : argumentsText },
        };
        message['toolCalls'] = [...((message['toolCalls'] as object[] | undefined) ?? []), call]; // written here alone
        break;
      }
      case 'tool-result': {
        const { id: toolCallId, result } = event;
        const content = typeof result === 'string' ? result : JSON.stringify(result);
        this.#messages.push({
          id: this.#places.get(`result ${toolCallId}`) ?? this.#makeId(),
          role: 'tool',
          toolCallId,
          content,
        });
        break;
      }
      case 'raw':
        this.#frame(event);
        break;
      default: // no part of a message
    }
  }

  turn(): readonly AGUIMessage[] {
    const withValue = <T extends { readonly id: string }>(part: T): T => {
      const encryptedValue = this.#encrypted.get(part.id);
      return encryptedValue === undefined ? part : { ...part, encryptedValue };
    };
    return this.#messages
      .filter(
        ({ content, toolCalls, role, id }) =>
          content !== '' || toolCalls !== undefined || role === 'tool' || this.#encrypted.has(id),
      )
      .map((message) => {
        const calls = message['toolCalls'] as readonly AGUIToolCall[] | undefined; // written in `add`
        return withValue({ ...message, ...(calls && { toolCalls: calls.map(withValue) }) });
      });
  }

  #frame({ frame }: RawEvent): void {
    const { type, messageId, toolCallId, parentMessageId, role, entityId, encryptedValue } = frame as Fields; // `needs` takes no other
    switch (type) {
      case 'TEXT_MESSAGE_START':
      case 'TEXT_MESSAGE_CHUNK':
        this.#begin(messageId, 'assistant', role);
        break;
      case 'REASONING_MESSAGE_START':
        this.#begin(messageId, 'reasoning', role);
        break;
      case 'REASONING_ENCRYPTED_VALUE':
        this.#encrypted.set(String(entityId), String(encryptedValue));
        break;
      case 'TOOL_CALL_RESULT':
        // Its result comes after this frame.
        if (typeof messageId === 'string') this.#places.set(`result ${String(toolCallId)}`, messageId);
        break;
      default:
        if (typeof parentMessageId === 'string') this.#places.set(String(toolCallId), parentMessageId);
    }
  }

  #begin(id: unknown, role: string, said: unknown): void {
    if (typeof id !== 'string' || this.#messages.some((message) => message.id === id)) return;
    if (typeof said === 'string' && said !== 'assistant' && said !== 'reasoning') return; // nobody answers in another's name
    this.#messages.push({ id, role, content: '' });
  }

  #append(role: string, text: string): void {
    let message = this.#messages.at(-1);
    if (message?.role !== role) this.#messages.push((message = { id: this.#makeId(), role, content: '' }));
    message['content'] = `${String(message['content'])}${text}`;
  }

  #assistant(id: string | undefined): Draft {
    const known = id === undefined ? this.#messages.at(-1) : this.#messages.find((message) => message.id === id);
    if (known?.role === 'assistant') return known;
    const message: Draft = { id: id ?? this.#makeId(), role: 'assistant' };
    this.#messages.push(message);
    return message;
  }

  /** For agents that send none. */
  #makeId(): string {
    this.#made += 1;
    return `millrace-message-${String(this.#made)}`;
  }
}
