import { LimitError } from '../errors.js';
import { requireAtLeast } from '../internal/require.js';
import type { ServerSentEvent } from '../types.js';
import { type ByteReader, byteReader } from './byteReader.js';
import { LineParser } from './lineParser.js';
import type { Shortcut } from './shortcut.js';

/** Limits of {@link createSSEParser}. */
export interface SSEParserOptions {
  /**
   * The longest line, in bytes without its line end. At least 1; `Infinity` means unbounded. A line counts as it grows, be
   * it data, a comment or a field nobody knows. One byte more is a `LimitError`.
   *
   * The default is chosen: one event that carries an image is one line above 8 MiB in real traffic, and clients with a
   * limit of that size had to lift it; without any limit a server can exhaust the process.
   *
   * @defaultValue 67_108_864 (64 MiB)
   */
  readonly maxLineBytes?: number | undefined;
  /**
   * The largest event, in bytes from its first field to the end of its last line, all fields, comments and line ends in
   * between included. At least 1; `Infinity` means unbounded. Comments between events are not part of any.
   *
   * @defaultValue 67_108_864 (64 MiB), for the reason given at `maxLineBytes`
   */
  readonly maxEventBytes?: number | undefined;
  /**
   * The id in force before the first byte, where this body goes on with another one: events carry it until a field changes it.
   *
   * @defaultValue `''`
   */
  readonly lastEventId?: string | undefined;
}

/** Turns the bytes of one `text/event-stream` into events. Make one for each stream. */
export interface SSEParser {
  /**
   * Emits, in wire order and before it returns, everything that `chunk` completes. An event is complete with the line end
   * of its blank line, be it LF, CR or CRLF; comments, retries and unknown fields with their own. An empty chunk is nothing.
   *
   * When `emit` throws, the error passes through and the rest of the chunk is emitted by the next `push`. A `push` from
   * inside `emit` is taken after the chunk in hand, and returns at once.
   *
   * @throws LimitError over a limit, after emitting what came before; and again for every later chunk
   */
  push(chunk: Uint8Array, emit: (event: ServerSentEvent) => void): void;
  /** The stream ended. What is unfinished stays unemitted, as the standard says. */
  end(): void;
  /** The reader left: nothing more is emitted, not even from the chunk in hand, and later chunks are ignored. */
  stop(): void;
  /** True while bytes of an unfinished line, or fields of an unfinished event, are pending; after `end`, were dropped. */
  readonly unfinished: boolean;
  /** What a reconnect sends as `Last-Event-ID`: the id in force at the last blank line, `''` when none. */
  readonly lastEventId: string;
}

/** 64 MiB, see {@link SSEParserOptions}. */
export const DEFAULT_MAX_LINE_BYTES = 67_108_864;
/** 64 MiB, see {@link SSEParserOptions}. */
export const DEFAULT_MAX_EVENT_BYTES = 67_108_864;

/**
 * A parser for `text/event-stream`, from bytes, to the letter of the HTML standard, 9.2.5 and 9.2.6, whose ignored parts
 * (comments, unknown fields) are emitted too. Cost is linear in the bytes, however they are cut.
 *
 * Three things that the standard leaves to the reader: `retry` is capped at 2^31-1, since a timer beyond it fires at once;
 * a `retry` that is no integer, the empty one included, and an `id` that holds NUL are ignored and not emitted; comments
 * lose one leading space, as values do.
 *
 * @param reader - how bytes are searched and decoded; only tests give one
 * @param shortcut - knows whole events by sight; what it knows is emitted as one object, good until the next
 * @throws RangeError for a limit below 1
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream | HTML, 9.2.5}
 */
export function createSSEParser(
  options: SSEParserOptions = {},
  reader: ByteReader = byteReader,
  shortcut?: Shortcut,
): SSEParser {
  const { maxLineBytes = DEFAULT_MAX_LINE_BYTES, maxEventBytes = DEFAULT_MAX_EVENT_BYTES, lastEventId = '' } = options;
  requireAtLeast(1, { maxLineBytes, maxEventBytes });
  return new EventStreamParser(maxLineBytes, maxEventBytes, lastEventId, reader, shortcut);
}

const LF = 10;
const CR = 13;
const SPACE = 32;
const COLON = 58;
/** The longest delay that a timer holds. */
const MAX_RETRY_MS = 2_147_483_647;
/** Data lines are joined in groups of so many, since a rope of single lines takes ten times their memory. */
const LINES_PER_JOIN = 4096;

class EventStreamParser extends LineParser<ServerSentEvent> implements SSEParser {
  readonly #maxLineBytes: number;
  readonly #maxEventBytes: number;
  readonly #shortcut: Shortcut | undefined;

  // The fields of the event that is being read, and the standard's two ids: as last set, and as of the last blank line.
  #type = '';
  #data: string | undefined;
  #moreData: string[] = [];
  #id: string;
  #lastEventId: string;

  /** True between the first field of an event and its blank line. */
  #open = false;
  /** The bytes of the open event before `text`. */
  #eventBytes = 0;
  /** Where the open event begins in `text`. */
  #eventFrom = 0;
  /** How many bytes `text` was decoded from. */
  #textBytes = 0;
  /** The bytes of the open event up to the end of `text`, where they had to be counted byte by byte; else -1. */
  #countedBytes = -1;
  #endsInCR = false;

  constructor(
    maxLineBytes: number,
    maxEventBytes: number,
    lastEventId: string,
    reader: ByteReader,
    shortcut: Shortcut | undefined,
  ) {
    super(reader);
    this.#shortcut = shortcut;
    this.#maxLineBytes = maxLineBytes;
    this.#maxEventBytes = maxEventBytes;
    this.#id = lastEventId;
    this.#lastEventId = lastEventId;
  }

  get lastEventId(): string {
    return this.#lastEventId;
  }

  override get unfinished(): boolean {
    return this.#open || super.unfinished;
  }

  end(): void {
    this.finish();
  }

  protected override mayKnow(): boolean {
    return this.#shortcut?.isReady === true;
  }

  /** A whole event, so that its framing can be learned. */
  protected override afterUnknown(chunk: Uint8Array, from: number, end: number): number {
    let at = from;
    do at = this.afterBlock(chunk, at, end);
    while (at < end && !isAfterBlankLine(chunk, at));
    return at;
  }

  protected override takeKnown(chunk: Uint8Array, from: number, emit: (event: ServerSentEvent) => void): void {
    const shortcut = this.#shortcut;
    if (shortcut === undefined || this.#open) return;
    const { event } = shortcut;
    try {
      shortcut.open(chunk);
      for (let at = from; at < chunk.length;) {
        const end = shortcut.fits(at, 'event');
        // What may be over a limit is measured line by line.
        if (end === -1 || end - at > this.#maxLineBytes || end - at > this.#maxEventBytes) return;
        at = end;
        this.taken(end);
        this.#id = shortcut.id ?? this.#id;
        this.#lastEventId = this.#id;
        event.id = this.#id;
        emit(event);
        if (this.stopped) return;
      }
    } finally {
      shortcut.close();
    }
  }

  protected override skipAtChunk(chunk: Uint8Array): number {
    const skip = this.#endsInCR && chunk[0] === LF;
    this.#endsInCR = chunk[chunk.length - 1] === CR;
    if (!skip) return 0;
    if (this.#open) this.#eventBytes++; // so that an event weighs the same however it is cut
    return 1;
  }

  protected override afterLastLineEnd(chunk: Uint8Array): number {
    const last = chunk[chunk.length - 1];
    if (last === LF || last === CR) return chunk.length;
    const afterLF = this.reader.lastIndexOf(chunk, LF) + 1;
    if (this.reader.indexOf(chunk, CR, afterLF) === -1) return afterLF;
    return this.reader.lastIndexOf(chunk, CR) + 1;
  }

  protected override take(bytes: Uint8Array, from: number, to: number, ascii?: string): LimitError | undefined {
    const size = to - from;
    this.#textBytes = size;
    this.#countedBytes = -1;
    if (size > this.#maxLineBytes || this.#eventBytes + size > this.#maxEventBytes) {
      return this.#takeWithinLimits(bytes, from, to);
    }
    this.text = ascii ?? this.reader.decode(bytes, from, to);
    // The weight of U+FFFD on the wire cannot be told from the text.
    if (this.text.length !== size && this.text.includes('\uFFFD')) this.#count(bytes, from, to);
    return undefined;
  }

  protected override checkHeld(): LimitError | undefined {
    const size = this.heldLength();
    if (size === 0) return undefined;
    const first = this.held.first[this.held.length - size];
    return this.#check(size, this.#open || first !== COLON, this.#eventBytes);
  }

  protected override scan(emit: (event: ServerSentEvent) => void): void {
    const text = this.text;
    const length = text.length;
    const shortcut = this.#shortcut;
    let at = this.at;
    // The next LF and CR; both are searched once over the whole text, whatever the mixture.
    let lf = -1;
    let cr = -1;
    while (at < length) {
      const first = text.charCodeAt(at);
      if (first === LF || first === CR) {
        at += first === CR && text.charCodeAt(at + 1) === LF ? 2 : 1;
        this.at = at;
        const data = this.#data;
        if (data === undefined) this.#close();
        else this.#dispatch(this.#moreData.length === 0 ? data : this.#joinData(data), emit);
        if (this.stopped) return;
        continue;
      }
      if (lf < at) lf = indexOrLength(text, '\n', at);
      if (cr < at) cr = indexOrLength(text, '\r', at);
      const start = at;
      const end = cr < lf ? cr : lf;
      at = end + 1;
      if (end === cr && text.charCodeAt(at) === LF) at++;
      if (first === 100 /* d */ && isData(text, start)) {
        const from = start + (text.charCodeAt(start + 5) === SPACE ? 6 : 5);
        const value = text.slice(from, end);
        const next = this.#data === undefined ? afterBlankLine(text, at, end === lf) : -1;
        if (this.#data !== undefined) {
          this.#addData(value);
        } else if (next !== -1) {
          // The common event, one data line and a blank one, in one go.
          const begin = this.#open ? this.#eventFrom : start;
          const isAllHere = this.#eventBytes === 0;
          at = next;
          this.at = next;
          this.#dispatch(value, emit);
          if (this.stopped) return;
          if (shortcut?.isLearning === true && isAllHere)
            shortcut.learn('event', text.slice(begin, from), text.slice(end, next));
        } else {
          this.#data = value;
          this.#begin(start);
        }
      } else if (first === 101 /* e */ && isEvent(text, start)) {
        this.#type = text.slice(start + (text.charCodeAt(start + 6) === SPACE ? 7 : 6), end);
        this.#begin(start);
      } else {
        if (first !== COLON) this.#begin(start);
        const event = this.#readLine(text, start, end);
        if (event !== undefined) {
          this.at = at;
          emit(event);
          if (this.stopped) return;
        }
      }
    }
    this.at = at;
    if (this.#open) {
      this.#eventBytes = this.#countedBytes === -1 ? this.#eventBytes + this.#bytesOfEvent() : this.#countedBytes;
      this.#eventFrom = 0;
    }
  }

  #begin(at: number): void {
    if (this.#open) return;
    this.#open = true;
    this.#eventFrom = at;
  }

  /** What a blank line does besides dispatching. */
  #close(): void {
    this.#open = false;
    this.#eventBytes = 0;
    this.#type = '';
    this.#lastEventId = this.#id;
  }

  #dispatch(data: string, emit: (event: ServerSentEvent) => void): void {
    const event = this.#type === '' ? 'message' : this.#type;
    this.#data = undefined;
    this.#close();
    emit({ type: 'event', event, data, id: this.#id });
  }

  #addData(value: string): void {
    this.#moreData.push(value);
    if (this.#moreData.length === LINES_PER_JOIN) this.#data = this.#joinData(this.#data ?? '');
  }

  #joinData(data: string): string {
    const joined = `${data}\n${this.#moreData.join('\n')}`;
    this.#moreData = [];
    return joined;
  }

  /** Any line but `data:` and `event:` ones. */
  #readLine(text: string, start: number, end: number): ServerSentEvent | undefined {
    const line = text.slice(start, end);
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + (line.charCodeAt(colon + 1) === SPACE ? 2 : 1));
    switch (field) {
      case '':
        return { type: 'comment', comment: value };
      case 'data':
        if (this.#data === undefined) this.#data = value;
        else this.#addData(value);
        return undefined;
      case 'event':
        this.#type = value;
        return undefined;
      case 'id':
        if (!value.includes('\0')) this.#id = value;
        return undefined;
      case 'retry':
        if (!/^[0-9]+$/.test(value)) return undefined;
        return { type: 'retry', retryMs: Math.min(Number(value), MAX_RETRY_MS) };
      default:
        return { type: 'unknown', field, value };
    }
  }

  /** The bytes of `text` from the open event on. */
  #bytesOfEvent(): number {
    const { text } = this;
    // As many characters as bytes means one byte each: every longer sequence makes fewer characters than it has bytes.
    if (text.length === this.#textBytes) return text.length - this.#eventFrom;
    let bytes = 0;
    for (let at = this.#eventFrom; at < text.length; at++) {
      const code = text.charCodeAt(at);
      // A surrogate is half of a character of four bytes.
      bytes += code < 0x80 ? 1 : code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 2 : 3;
    }
    return bytes;
  }

  #takeWithinLimits(bytes: Uint8Array, from: number, to: number): LimitError | undefined {
    const { cut, excess } = this.#count(bytes, from, to);
    this.text = this.reader.decode(bytes, from, cut);
    return excess;
  }

  /** Counts line by line, up to the line that is over a limit. */
  #count(bytes: Uint8Array, from: number, to: number): { cut: number; excess: LimitError | undefined } {
    let open = this.#open;
    let eventBytes = this.#eventBytes;
    let lf = -1;
    let cr = -1;
    let at = from;
    while (at < to) {
      if (lf < at) lf = this.#indexOrEnd(bytes, LF, at, to);
      if (cr < at) cr = this.#indexOrEnd(bytes, CR, at, to);
      const end = Math.min(lf, cr);
      const next = end === cr && end + 1 === lf && lf < to ? end + 2 : end + 1;
      if (end === at) {
        open = false;
        eventBytes = 0;
      } else {
        open ||= bytes[at] !== COLON;
        const excess = this.#check(end - at, open, eventBytes);
        if (excess !== undefined) return { cut: at, excess };
        if (open) eventBytes += next - at;
      }
      at = next;
    }
    this.#countedBytes = eventBytes;
    return { cut: to, excess: undefined };
  }

  #indexOrEnd(bytes: Uint8Array, byte: number, from: number, to: number): number {
    const index = this.reader.indexOf(bytes, byte, from);
    return index === -1 || index > to ? to : index;
  }

  /** The error, when a line of `size` bytes is over a limit: of two the one that it passed first while it grew. */
  #check(size: number, inEvent: boolean, eventBytes: number): LimitError | undefined {
    const room = inEvent ? this.#maxEventBytes - eventBytes : Infinity;
    if (size <= this.#maxLineBytes && size <= room) return undefined;
    return this.#maxLineBytes <= room
      ? new LimitError(
          'maxLineBytes',
          this.#maxLineBytes,
          `A line of the event stream is longer than ${String(this.#maxLineBytes)} bytes; raise maxLineBytes if it should be`,
        )
      : new LimitError(
          'maxEventBytes',
          this.#maxEventBytes,
          `An event is larger than ${String(this.#maxEventBytes)} bytes; raise maxEventBytes if it should be`,
        );
  }
}

/** Whether two line ends with LF stand before `at`. */
function isAfterBlankLine(chunk: Uint8Array, at: number): boolean {
  return chunk[at - 2] === LF || (chunk[at - 2] === CR && chunk[at - 3] === LF);
}

/** The end of the blank line at `at`, where it ends in the same way as the line before; -1 where there is none. */
function afterBlankLine(text: string, at: number, endedInLF: boolean): number {
  const code = text.charCodeAt(at);
  if (endedInLF) return code === LF ? at + 1 : -1;
  return code === CR && text.charCodeAt(at + 1) === LF ? at + 2 : -1;
}

function indexOrLength(text: string, character: string, from: number): number {
  const index = text.indexOf(character, from);
  return index === -1 ? text.length : index;
}

/** Whether `data:` stands at `at`, given its first letter. */
function isData(text: string, at: number): boolean {
  return (
    text.charCodeAt(at + 1) === 97 &&
    text.charCodeAt(at + 2) === 116 &&
    text.charCodeAt(at + 3) === 97 &&
    text.charCodeAt(at + 4) === COLON
  );
}

/** Whether `event:` stands at `at`, given its first letter. */
function isEvent(text: string, at: number): boolean {
  return (
    text.charCodeAt(at + 1) === 118 &&
    text.charCodeAt(at + 2) === 101 &&
    text.charCodeAt(at + 3) === 110 &&
    text.charCodeAt(at + 4) === 116 &&
    text.charCodeAt(at + 5) === COLON
  );
}
