import type { Emit } from '../protocol/dialect.js';
import type { OutputPlace, StreamEvent } from '../types.js';
import { hasOthers } from './chatExtras.js';
import { type CallRoom, GeminiCalls, isCallPiece } from './geminiCalls.js';
import { ChangedExtras } from './changedExtras.js';
import { finishWord, geminiFinishReason, isBrokenFinish } from './geminiFinish.js';
import type { ResponseCandidate, ResponsePart } from './geminiResponse.js';

const CANDIDATE_KEYS: ReadonlySet<string> = new Set(['content', 'index', 'finishReason']);
/** Of the text of its frame alone. */
const INCREMENTS: ReadonlySet<string> = new Set(['logprobsResult']);
const PART_KEYS: ReadonlySet<string> = new Set(['text', 'thought', 'functionCall', 'inlineData', 'fileData']);
const CALL_KEYS: ReadonlySet<string> = new Set(['id', 'name', 'args', 'partialArgs', 'willContinue']);

/** The text of a candidate that brought nothing else. */
interface PlainText {
  readonly isThought: boolean;
  /** What the candidate said of its end. */
  readonly word: string | undefined;
}

/** One of the answers of a stream. */
export class GeminiCandidate {
  readonly index: number;
  readonly #place: Pick<OutputPlace, 'index' | 'alternative'>;
  readonly #calls: GeminiCalls;
  readonly #extras: ChangedExtras = new ChangedExtras(CANDIDATE_KEYS, INCREMENTS);
  #word: string | undefined;
  #hasContent = false;

  constructor(index: number, room: CallRoom) {
    this.index = index;
    this.#place = index > 0 ? { index, alternative: true } : { index };
    this.#calls = new GeminiCalls(this.#place, room);
  }

  /** How it ended; undefined while it goes on. */
  get finish(): { readonly reason: ReturnType<typeof geminiFinishReason>; readonly rawReason: string } | undefined {
    const word = this.#word;
    return word === undefined ? undefined : { reason: geminiFinishReason(word, this.#calls.began), rawReason: word };
  }

  /** @returns what stands beside the content and differs from what was told, or undefined */
  read(candidate: ResponseCandidate, emit: Emit, raw: (frame: unknown) => void): object | undefined {
    const had = this.#hasContent;
    for (const part of candidate.content?.parts ?? []) if (part) this.#part(part, emit, raw);
    const word = finishWord(candidate.finishReason);
    if (word === undefined) {
      // Some gateways begin with an empty frame that says STOP: what comes after it shows that it was no end.
      if (!had && this.#hasContent && this.#word === 'STOP') this.#word = undefined;
    } else {
      if (word !== this.#word && isBrokenFinish(word)) emit(warning(word, candidate['finishMessage']));
      this.#word = word;
    }
    const extras = this.#extras.of(candidate);
    return extras && { index: this.index, ...extras };
  }

  /** The text of a candidate that was just read, where it brought no more than one. */
  plainOf({ content, finishReason }: ResponseCandidate): PlainText | undefined {
    const parts = content?.parts ?? [];
    const [part] = parts;
    if (parts.length !== 1 || !part?.text || hasOthers(part, PART_KEYS)) return undefined;
    if (part.functionCall ?? part.inlineData ?? part.fileData) return undefined;
    return { isThought: part.thought === true, word: finishWord(finishReason) };
  }

  /**
   * Does what `read` does with a candidate like one that was plain, where what stands beside its text was told.
   * @returns false where it would do something else
   */
  say({ isThought, word }: PlainText, text: string, emit: Emit): boolean {
    // Without a word of its end nothing changes, now that there is content.
    if (word !== undefined && word !== this.#word) return false;
    emit(this.#textEvent(isThought, text));
    return true;
  }

  /** @throws ProtocolError for a call that is not whole, and nothing says why */
  flush(emit: Emit): void {
    this.#calls.finish(this.finish?.reason ?? 'other', emit);
  }

  #part(part: ResponsePart, emit: Emit, raw: (frame: unknown) => void): void {
    const { text, thought, functionCall, inlineData, fileData } = part;
    const isThought = thought === true;
    const name = isThought ? 'thinking' : 'output';
    const tell = (): void => {
      raw({ candidates: [{ index: this.index, content: { parts: [withoutData(part)] } }] });
    };
    if (text) emit(this.#textEvent(isThought, text));
    for (const media of [inlineData, fileData]) {
      if (!media) continue;
      const kind = media['mimeType'];
      emit({ type: 'media', ...this.#place, name, kind: typeof kind === 'string' ? kind : 'file', content: media });
    }
    const isPiece = functionCall !== undefined && functionCall !== null && isCallPiece(functionCall);
    const hasMore = hasOthers(part, PART_KEYS) || (functionCall ? hasOthers(functionCall, CALL_KEYS) : false);
    if (isPiece) tell(); // the pieces of a call before the call
    if (functionCall) this.#calls.push(functionCall, emit);
    if (hasMore && !isPiece) tell();
    this.#hasContent ||= hasMore || Boolean(text) || Boolean(functionCall ?? inlineData ?? fileData);
  }

  /** Its keys are always in one order: engines read such objects faster, and a spread is slow. */
  #textEvent(isThought: boolean, text: string): StreamEvent {
    const type = isThought ? 'thinking' : 'text';
    const name = isThought ? 'thinking' : 'output';
    const { index } = this;
    return index > 0 ? { type, text, index, name, alternative: true } : { type, text, index, name };
  }
}

/** The media event has the data, and they are large. */
function withoutData(part: ResponsePart): ResponsePart {
  const { inlineData } = part;
  if (!inlineData || !('data' in inlineData)) return part;
  const { data: _told, ...rest } = inlineData;
  return { ...part, inlineData: rest };
}

function warning(word: string, message: unknown): Parameters<Emit>[0] {
  const said = typeof message === 'string' && message !== '' ? `: ${message.slice(0, 300)}` : '';
  return {
    type: 'warning',
    code: 'provider-warning',
    message: `The answer ended with ${word}, and a part of it is missing${said}`,
    detail: { finishReason: word },
  };
}
