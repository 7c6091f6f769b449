import type { Emit } from '../protocol/dialect.js';
import type { OutputPlace } from '../types.js';
import { isBlank } from './chatExtras.js';
import { type CallRoom, GeminiCalls, isCallPiece } from './geminiCalls.js';
import { ChangedExtras } from './changedExtras.js';
import { finishWord, geminiFinishReason, isBrokenFinish } from './geminiFinish.js';
import type { ResponseCandidate, ResponsePart } from './geminiResponse.js';

const CANDIDATE_KEYS: ReadonlySet<string> = new Set(['content', 'index', 'finishReason']);
/** Of the text of its frame alone. */
const INCREMENTS: ReadonlySet<string> = new Set(['logprobsResult']);
const PART_KEYS: ReadonlySet<string> = new Set(['text', 'thought', 'functionCall', 'inlineData', 'fileData']);
const CALL_KEYS: ReadonlySet<string> = new Set(['id', 'name', 'args', 'partialArgs', 'willContinue']);

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
    if (text) emit({ type: isThought ? 'thinking' : 'text', text, ...this.#place, name });
    for (const media of [inlineData, fileData]) {
      if (!media) continue;
      const kind = media['mimeType'];
      emit({ type: 'media', ...this.#place, name, kind: typeof kind === 'string' ? kind : 'file', content: media });
    }
    const isPiece = functionCall !== undefined && functionCall !== null && isCallPiece(functionCall);
    const hasMore = hasOther(part, PART_KEYS) || (functionCall ? hasOther(functionCall, CALL_KEYS) : false);
    if (isPiece) tell(); // the pieces of a call before the call
    if (functionCall) this.#calls.push(functionCall, emit);
    if (hasMore && !isPiece) tell();
    this.#hasContent ||= hasMore || Boolean(text) || Boolean(functionCall ?? inlineData ?? fileData);
  }
}

function hasOther(record: object, known: ReadonlySet<string>): boolean {
  return Object.entries(record).some(([key, value]) => !known.has(key) && !isBlank(value));
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
