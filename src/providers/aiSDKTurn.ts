import type { TurnOptions } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import type { RawEvent, StreamEvent } from '../types.js';

/** A part of a message, as the AI SDK keeps it. @public */
export interface AISDKPart {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** A message of the assistant, as the AI SDK keeps it (its `UIMessage`). @public */
export interface AISDKTurn {
  readonly id: string;
  readonly role: 'assistant';
  readonly parts: readonly AISDKPart[];
  readonly metadata?: unknown;
}

type Draft = Record<string, unknown> & { type: string };
type Fields = Readonly<Record<string, unknown>>;

/** Frames of which a part is made, or that begin and end one. */
const NEEDED: ReadonlySet<unknown> = new Set([
  ...[
    'start',
    'start-step',
    'text-start',
    'text-end',
    'reasoning-start',
    'reasoning-end',
    'source-url',
    'source-document',
  ],
  ...['reasoning-file', 'custom', 'message-metadata', 'finish', 'tool-input-available'],
]);

/** How an answer becomes the assistant's `UIMessage`: its parts in their order, with what providers hung on them. */
export const aiSDKTurn: TurnOptions<AISDKTurn> = {
  needs: ({ frame }) => isRecord(frame) && (NEEDED.has(frame['type']) || isKept(frame)),
  build: (events) => {
    const message = new Building();
    for (const event of events) message.add(event);
    return message.turn();
  },
};

/** Data that the application wants in the message. */
function isKept({ type, transient }: Fields): boolean {
  return typeof type === 'string' && type.startsWith('data-') && transient !== true;
}

class Building {
  #id = '';
  #metadata: unknown;
  readonly #parts: Draft[] = [];
  readonly #tools: Map<string, Draft> = new Map();
  /** Texts and reasonings that a new one follows. */
  #isOpen = false;

  add(event: StreamEvent): void {
    switch (event.type) {
      case 'text':
        this.#append('text', event.text);
        break;
      case 'thinking':
        this.#append('reasoning', event.text);
        break;
      case 'tool-call': {
        const { id: toolCallId, name, arguments: input, providerExecuted } = event;
        const part = {
          type: `tool-${name}`,
          toolCallId,
          state: 'input-available',
          input,
          ...(providerExecuted && { providerExecuted }),
        };
        this.#tools.set(toolCallId, part);
        this.#put(part);
        break;
      }
      case 'tool-result': {
        const part = this.#tools.get(event.id);
        if (part === undefined) break;
        const told = event.isError
          ? { state: 'output-error', errorText: String(event.result) }
          : { state: 'output-available', output: event.result };
        Object.assign(part, told, event.preliminary && { preliminary: true });
        break;
      }
      case 'media':
        this.#put({ type: 'file', mediaType: event.kind, url: event.content });
        break;
      case 'raw':
        this.#frame(event);
        break;
      default: // no part of a message
    }
  }

  turn(): AISDKTurn {
    const parts = this.#parts.filter(({ type, text }) => (type !== 'text' && type !== 'reasoning') || text !== '');
    return {
      id: this.#id,
      role: 'assistant',
      parts,
      ...(this.#metadata !== undefined && { metadata: this.#metadata }),
    };
  }

  #frame({ frame }: RawEvent): void {
    const { type, providerMetadata, ...fields } = frame as Fields; // `needs` takes no other
    const hung = isRecord(providerMetadata) ? { providerMetadata } : {};
    switch (type) {
      case 'start':
      case 'finish':
      case 'message-metadata':
        if (typeof fields['messageId'] === 'string') this.#id = fields['messageId'];
        this.#merge(fields['messageMetadata']);
        break;
      case 'start-step':
        this.#put({ type: 'step-start' });
        break;
      case 'text-start':
      case 'reasoning-start':
        this.#put({ type: type === 'text-start' ? 'text' : 'reasoning', text: '', state: 'done', ...hung });
        this.#isOpen = true;
        break;
      case 'text-end':
      case 'reasoning-end': {
        const last = this.#parts.findLast((part) => part.type === (type === 'text-end' ? 'text' : 'reasoning'));
        if (last !== undefined) Object.assign(last, hung);
        this.#isOpen = false;
        break;
      }
      case 'tool-input-available': {
        const part = this.#tools.get(String(fields['toolCallId']));
        const { title, dynamic, toolName } = fields;
        if (part === undefined) break;
        if (dynamic === true) Object.assign(part, { type: 'dynamic-tool', toolName });
        Object.assign(
          part,
          isRecord(providerMetadata) && { callProviderMetadata: providerMetadata },
          title !== undefined && { title },
        );
        break;
      }
      default:
        this.#keep({ type: String(type), ...fields, ...hung });
    }
  }

  /** Data with an id replaces what had it. */
  #keep(part: Draft): void {
    const { id } = part;
    const at = id === undefined ? -1 : this.#parts.findIndex((known) => known.type === part.type && known['id'] === id);
    if (at === -1) this.#put(part);
    else this.#parts[at] = part;
  }

  #append(type: 'text' | 'reasoning', text: string): void {
    const last = this.#parts.at(-1);
    if (this.#isOpen && last?.type === type) last['text'] = String(last['text']) + text;
    else {
      this.#put({ type, text, state: 'done' });
      this.#isOpen = true;
    }
  }

  #put(part: Draft): void {
    this.#parts.push(part);
    this.#isOpen = false;
  }

  #merge(metadata: unknown): void {
    if (metadata === undefined) return;
    this.#metadata = isRecord(metadata) && isRecord(this.#metadata) ? { ...this.#metadata, ...metadata } : metadata;
  }
}
