import { ProtocolError } from '../errors.js';
import { type DialectStream, type Emit, MOVED, readFailure } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import { type BareJSON, BareJSONReader } from './geminiBareJSON.js';
import type { CallRoom } from './geminiCalls.js';
import { GeminiCandidate } from './geminiCandidate.js';
import { ChangedExtras } from './changedExtras.js';
import { blockWord } from './geminiFinish.js';
import type { GeminiResponse } from './geminiResponse.js';
import { GEMINI_COUNTS, GeminiUsage, isCount } from './geminiUsage.js';

/** Above what the API allows (8); chosen. */
const MAX_CANDIDATES = 1024;

const RESPONSE_KEYS: ReadonlySet<string> = new Set([
  'candidates',
  'usageMetadata',
  'modelVersion',
  'responseId',
  'createTime',
  'error',
]);

/** Members that no one reads. */
const SKIPPED: ReadonlySet<string> = new Set(['modelVersion', 'createTime']);

/** One Gemini stream. */
export class GeminiReader {
  readonly #asked: number;
  readonly #room: CallRoom;
  readonly #candidates: Map<number, GeminiCandidate> = new Map();
  readonly #counts: GeminiUsage = new GeminiUsage();
  readonly #extras: ChangedExtras = new ChangedExtras(RESPONSE_KEYS);
  readonly #usageExtras: ChangedExtras = new ChangedExtras(new Set(GEMINI_COUNTS));
  readonly #bare: BareJSONReader = new BareJSONReader();
  #block: string | undefined;
  /** What was proven last. */
  #proof = '';
  /** Counts the frames that changed what is told of frames like earlier ones: they held news beside text and counts, or were not read to their end. */
  #changes = 0;

  constructor(asked: number, maxToolCallChars: number) {
    this.#asked = asked;
    this.#room = { max: maxToolCallChars, chars: 0, made: 0, answerId: '' };
  }

  read(response: GeminiResponse, stream: DialectStream<unknown>): void {
    const changes = this.#changes;
    this.#changes += 1; // also where it throws
    this.#endBare(stream);
    const { responseId } = response;
    const isRenamed = this.#room.answerId !== '' && responseId !== this.#room.answerId;
    this.#nameAnswer(responseId);
    let isQuiet = true;
    const emit: Emit = (event) => {
      isQuiet = false;
      stream.emit(event);
    };
    const raw = (frame: unknown): void => {
      emit(stream.event === 'message' ? { type: 'raw', frame } : { type: 'raw', frame, event: stream.event });
    };
    const told: object[] = [];
    for (const [position, part] of (response.candidates ?? []).entries()) {
      if (part === undefined || part === null) continue;
      const extras = this.#candidate(part.index ?? position).read(part, emit, raw);
      if (extras !== undefined) told.push(extras);
    }
    const rest = {
      ...(told.length > 0 && { candidates: told }),
      ...this.#extras.of(response),
      ...this.#spend(response['usageMetadata'], emit),
    };
    const hasRest = Object.keys(rest).length > 0;
    if (hasRest) raw(rest);
    this.#block = blockWord(response.promptFeedback?.blockReason) ?? this.#block;
    const failure = readFailure(response, stream.event);
    // Last, so that what stands beside it in its frame is delivered.
    if (failure !== undefined) stream.fail(failure, response);
    const before = this.#proof;
    this.#prove(stream);
    // Nothing new is not nothing: without an event the frame would arrive as `raw`, with what it only repeats.
    if (isQuiet && before === this.#proof && isRecord(response['usageMetadata'])) stream.emit(MOVED);
    if (hasRest) return;
    this.#changes = changes;
    this.#offer(response, isRenamed, stream);
  }

  /** A line without `data:`; true where it was read. */
  line(field: string, value: string, stream: DialectStream<unknown>): boolean {
    const bare = this.#bare.line(field, value);
    if (bare === undefined) return false;
    this.#changes += 1;
    if (bare !== 'more') tellBare(bare, stream);
    return true;
  }

  /** The answer is proven and over. */
  flush(stream: DialectStream<unknown>): void {
    this.#endBare(stream);
    for (const candidate of this.#candidates.values()) {
      candidate.flush((event) => {
        stream.emit(event);
      });
    }
  }

  /** The stream is cut, perhaps inside of the error that says why. */
  release(stream: DialectStream<unknown>): void {
    this.#endBare(stream);
  }

  /** Frames that bring nothing but text and counts are alike. */
  #offer(response: GeminiResponse, isRenamed: boolean, stream: DialectStream<unknown>): void {
    const { candidates, responseId } = response;
    const usage = response['usageMetadata'];
    const [part] = candidates ?? [];
    if (candidates?.length !== 1 || !part) return;
    const candidate = this.#candidate(part.index ?? 0);
    const plain = candidate.plainOf(part);
    if (plain === undefined) return;
    const keys = isRecord(usage) ? GEMINI_COUNTS.filter((key) => isCount(usage[key])) : [];
    const counts = keys.map((key) => `usageMetadata.${key}`);
    // Most servers send one id with all frames.
    const hasId = isRenamed && typeof responseId === 'string';
    const read = hasId ? [...counts, 'responseId'] : counts;
    const changes = this.#changes;
    const emit: Emit = (event) => {
      stream.emit(event);
    };
    stream.template({ text: 'candidates.0.content.parts.0.text', read, skip: SKIPPED }, (text, values) => {
      if (changes !== this.#changes || !candidate.say(plain, text, emit)) return false;
      this.#nameAnswer(hasId ? String(values[keys.length]) : responseId);
      let at = 0;
      for (const key of keys) this.#counts.set(key, values[at++]);
      this.#tellUsage(emit);
      return true;
    });
  }

  /** Ids of calls are made with it. */
  #nameAnswer(id: string | null | undefined): void {
    if (id && id !== this.#room.answerId && /^[\w-]{1,128}$/.test(id)) this.#room.answerId = id;
  }

  #endBare(stream: DialectStream<unknown>): void {
    const bare = this.#bare.end();
    if (bare !== undefined) tellBare(bare, stream);
  }

  #candidate(index: number): GeminiCandidate {
    const known = this.#candidates.get(index);
    if (known !== undefined) return known;
    if (this.#candidates.size >= MAX_CANDIDATES) {
      throw new ProtocolError(`An answer began more than ${String(MAX_CANDIDATES)} candidates`);
    }
    const candidate = new GeminiCandidate(index, this.#room);
    this.#candidates.set(index, candidate);
    return candidate;
  }

  /** Emits usage that differs from the last; returns what stands in it besides. */
  #spend(metadata: unknown, emit: Emit): object | undefined {
    if (!isRecord(metadata)) return undefined;
    for (const key of GEMINI_COUNTS) this.#counts.set(key, metadata[key]);
    this.#tellUsage(emit);
    const extras = this.#usageExtras.of(metadata);
    return extras && { usageMetadata: extras };
  }

  #tellUsage(emit: Emit): void {
    const usage = this.#counts.news();
    if (usage !== undefined) emit(usage);
  }

  /** Every candidate asked for and every one seen has ended, or the prompt was refused. */
  #prove(stream: DialectStream<unknown>): void {
    const ended = [...this.#candidates.values()]
      .sort((one, other) => one.index - other.index)
      .flatMap(({ index, finish }) => (finish === undefined ? [] : [{ index, ...finish }]));
    const isWhole = ended.length >= this.#asked && ended.length === this.#candidates.size;
    const block = this.#block;
    const [first] = ended;
    const proof = isWhole ? JSON.stringify(ended) : (block ?? '');
    if (proof === this.#proof) return;
    this.#proof = proof;
    if (isWhole && first !== undefined) {
      stream.prove(first.reason, first.rawReason, ended.length > 1 ? ended : undefined);
    } else if (block !== undefined) stream.prove('content-filter', block);
    else stream.reopen();
  }
}

function tellBare({ report, frame }: BareJSON, stream: DialectStream<unknown>): void {
  if (report !== undefined) stream.fail(report, frame);
  stream.emit({ type: 'raw', frame });
}
