import type { TurnOptions } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import type { RawEvent, StreamEvent } from '../types.js';
import { isMadeCallId } from './madeCallId.js';

/** One part of a content, in the API's own names. @public */
export type GeminiPart = Readonly<Record<string, unknown>>;

/** The model's turn, as it stands in `contents`. @public */
export interface GeminiTurn {
  readonly role: 'model';
  readonly parts: readonly GeminiPart[];
}

/** Text that a signature may still claim the end of. */
interface OpenText {
  readonly isThought: boolean;
  readonly text: string;
}

/** How an answer becomes the model's turn: text joined where no signature stands between, the rest part by part as it came. */
export const geminiTurn: TurnOptions<GeminiTurn> = {
  needs: (raw) => partOf(raw) !== undefined,
  build: (events) => {
    const builder = new TurnBuilder();
    for (const event of events) builder.add(event);
    return { role: 'model', parts: builder.parts() };
  },
};

class TurnBuilder {
  readonly #parts: GeminiPart[] = [];
  #open: OpenText | undefined;
  /** Signatures of calls whose pieces came and whose end is awaited. */
  readonly #signatures: { readonly id: unknown; readonly thoughtSignature: unknown }[] = [];

  add(event: StreamEvent): void {
    switch (event.type) {
      case 'text':
      case 'thinking':
        this.#text(event.type === 'thinking', event.text);
        break;
      case 'tool-call': {
        const { id, name, arguments: args } = event;
        const at = this.#signatures.findIndex((signature) => signature.id === undefined || signature.id === id);
        const [signed] = at === -1 ? [] : this.#signatures.splice(at, 1);
        const functionCall = { ...(isMadeCallId(id) ? undefined : { id }), name, args };
        this.#push(
          signed === undefined ? { functionCall } : { functionCall, thoughtSignature: signed.thoughtSignature },
        );
        break;
      }
      case 'media':
        if (isRecord(event.content)) {
          this.#push({
            ...(event.name === 'thinking' && { thought: true }),
            ['fileUri' in event.content ? 'fileData' : 'inlineData']: event.content,
          });
        }
        break;
      case 'raw': {
        const part = partOf(event);
        if (part !== undefined) this.#raw(part);
        break;
      }
      default: // no part of what the model said
    }
  }

  parts(): readonly GeminiPart[] {
    this.#close();
    return this.#parts;
  }

  #text(isThought: boolean, text: string): void {
    const open = this.#open;
    if (open?.isThought === isThought) {
      this.#open = { isThought, text: open.text + text };
      return;
    }
    this.#close();
    this.#open = { isThought, text };
  }

  /** A part that is more than its event told; that event came just before it. */
  #raw(part: GeminiPart): void {
    const { text, functionCall, inlineData, fileData } = part;
    if (typeof text === 'string') {
      // Some servers send such parts and refuse to be sent them.
      if (text === '' && Object.keys(part).every((key) => key === 'text' || key === 'thought')) return;
      this.#unsay(text, part['thought'] === true);
      this.#push(part);
      return;
    }
    this.#close();
    const last = this.#parts.at(-1);
    if (isRecord(functionCall)) {
      const whole = last?.['functionCall'];
      if (isPiece(functionCall)) {
        const { thoughtSignature } = part;
        if (thoughtSignature !== undefined) this.#signatures.push({ id: functionCall['id'], thoughtSignature });
      } else if (isRecord(whole) && whole['name'] === (functionCall['name'] ?? ''))
        this.#parts[this.#parts.length - 1] = part;
      return;
    }
    if (last !== undefined && (isRecord(inlineData) || isRecord(fileData))) {
      // The data are in the part that the event made.
      this.#parts[this.#parts.length - 1] = { ...part, ...last };
      return;
    }
    this.#push(part);
  }

  /** Takes back the end of the open text, which is the text of a part that comes as it is. */
  #unsay(text: string, isThought: boolean): void {
    const open = this.#open;
    if (text === '' || open?.isThought !== isThought || !open.text.endsWith(text)) return;
    this.#open = { isThought, text: open.text.slice(0, open.text.length - text.length) };
  }

  #push(part: GeminiPart): void {
    this.#close();
    this.#parts.push(part);
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined || open.text === '') return;
    this.#parts.push(open.isThought ? { text: open.text, thought: true } : { text: open.text });
  }
}

/** The part of the first candidate that a raw frame holds. */
function partOf({ frame }: RawEvent): GeminiPart | undefined {
  const candidate =
    isRecord(frame) && Array.isArray(frame['candidates']) ? (frame['candidates'][0] as unknown) : undefined;
  if (!isRecord(candidate) || candidate['index'] !== 0 || !isRecord(candidate['content'])) return undefined;
  const { parts } = candidate['content'];
  const part = Array.isArray(parts) ? (parts[0] as unknown) : undefined;
  return isRecord(part) ? part : undefined;
}

/** As `isCallPiece`, of what is no longer typed. */
function isPiece(call: Readonly<Record<string, unknown>>): boolean {
  const { name, args, partialArgs, willContinue } = call;
  return willContinue === true || (Array.isArray(partialArgs) && partialArgs.length > 0) || (!name && !args);
}
