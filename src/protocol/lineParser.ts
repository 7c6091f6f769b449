import type { LimitError } from '../errors.js';
import type { ByteReader } from './byteReader.js';
import { HeldBytes } from './heldBytes.js';

const LF = 10;
const CR = 13;
/** Up to here it is one frame or two, and one call of the decoder is the best that can be done. */
const SMALL_BYTES = 512;

/**
 * What the parsers of line formats share: chunks in, whole lines of text out, the rest of the bytes held for later.
 *
 * Lines are decoded many at a time and searched as text: a line end is never part of another character in UTF-8, so this
 * equals decoding line by line. All progress is in fields and is written before anything is emitted, so
 * that an emission may throw, stop the parser or push more: what was not emitted yet is emitted later, in wire order.
 */
export abstract class LineParser<Event> {
  protected readonly reader: ByteReader;
  /** Whole lines, decoded. */
  protected text = '';
  /** Where the next line begins in `text`. */
  protected at = 0;
  /** The bytes of an unfinished line. */
  protected readonly held: HeldBytes = new HeldBytes();
  protected stopped = false;
  /** True until the first line has been read: only there can a byte order mark be. */
  #atStart = true;
  #ended = false;
  #lastLineCounts = false;
  #running = false;
  /** Set when a limit is passed; thrown once the lines before it have been emitted. */
  #excess: LimitError | undefined;
  #failure: LimitError | undefined;
  /** The chunk in hand: bytes from `#chunkAt` are not yet taken, whole lines end at `#linesEnd`. */
  #chunk: Uint8Array | undefined;
  #chunkAt = 0;
  #linesEnd = 0;
  /**
   * True when `#chunk` is decoded block by block, where ASCII is much faster than other text: most blocks begin with a long
   * run of it. So it is done from the first other character until a chunk without any.
   */
  #wide = false;
  #sawWide = false;
  /** Chunks that came while another was in hand. */
  #waiting: Uint8Array[] = [];

  constructor(reader: ByteReader) {
    this.reader = reader;
  }

  get unfinished(): boolean {
    if (this.#chunk !== undefined || this.#waiting.length > 0 || this.text !== '') return true;
    return this.held.length > this.#markLength(this.held.first, this.held.length);
  }

  push(chunk: Uint8Array, emit: (event: Event) => void): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) throw new Error('This parser was ended: create another one for another stream');
    if (this.stopped || chunk.length === 0) return;
    if (this.#running || this.#chunk !== undefined || this.text !== '') {
      this.#waiting.push(new Uint8Array(chunk));
      if (this.#running) return;
    } else {
      this.#open(chunk);
    }
    this.#resume(emit);
  }

  stop(): void {
    this.stopped = true;
    this.#forget();
  }

  /** Nothing more is pushed. With `emit`, the last line counts as a line although it has no line end. */
  protected finish(emit?: (event: Event) => void): void {
    this.#ended = true;
    this.#lastLineCounts = emit !== undefined;
    if (emit !== undefined && !this.#running && !this.stopped && this.#failure === undefined) this.#resume(emit);
  }

  #resume(emit: (event: Event) => void): void {
    this.#running = true;
    let whole = false;
    try {
      this.#run(emit);
      whole = true;
    } finally {
      this.#running = false;
      // The caller may use a chunk again once `push` has returned or thrown.
      if (!whole && this.#chunk !== undefined) this.#chunk = new Uint8Array(this.#chunk);
    }
  }

  /**
   * Emits what stands at `from` and is known by sight, and what follows it likewise; calls `taken` before each. Called where no line
   * is unfinished.
   */
  protected takeKnown(_chunk: Uint8Array, _from: number, _emit: (event: Event) => void): void {
    // Nothing is, unless a parser says so.
  }

  /** All before `to` was read of the chunk in hand. */
  protected taken(to: number): void {
    this.#chunkAt = to;
    this.#atStart = false;
  }

  /** The end of what is not known by sight: after it something may be known again. */
  protected afterUnknown(chunk: Uint8Array, from: number, end: number): number {
    return this.afterBlock(chunk, from, end);
  }

  /** True where `takeKnown` may know what comes: then no more is decoded than up to `afterUnknown` before it is asked again. */
  protected mayKnow(): boolean {
    return false;
  }

  /** Emits every line of `text` from `at` on, and advances `at` before each emission. Returns early when stopped. */
  protected abstract scan(emit: (event: Event) => void): void;
  /** Where the bytes after the last line end of `chunk` begin; 0 when it has none. */
  protected abstract afterLastLineEnd(chunk: Uint8Array): number;
  /** How many bytes of a new chunk belong to the last line end of the one before. */
  protected abstract skipAtChunk(chunk: Uint8Array): number;
  /**
   * Decodes whole lines into `text`, or as many as the limits allow: then returns the error. `ascii` is their text where it
   * is known already; it has one character for each byte.
   */
  protected abstract take(
    bytes: Uint8Array,
    from: number,
    to: number,
    ascii: string | undefined,
  ): LimitError | undefined;
  /** The error, when the unfinished line in `held` is over a limit. */
  protected abstract checkHeld(): LimitError | undefined;

  /** The length of a byte order mark at the start of the stream; 0 where there is none. */
  #markLength(bytes: Uint8Array, length: number): number {
    const marked = this.#atStart && length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    return marked ? 3 : 0;
  }

  /** The length of the unfinished line, without a byte order mark or what may become one. */
  protected heldLength(): number {
    const { first, length } = this.held;
    if (this.#atStart && length < 3 && first[0] === 0xef && (length === 1 || first[1] === 0xbb)) return 0;
    return length - this.#markLength(first, length);
  }

  #open(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#chunkAt = this.skipAtChunk(chunk);
    this.#linesEnd = this.afterLastLineEnd(chunk);
    this.#wide = this.#sawWide;
    this.#sawWide = false;
  }

  #run(emit: (event: Event) => void): void {
    for (;;) {
      if (this.text !== '') {
        this.scan(emit);
        if (this.stopped) return;
        this.text = '';
        this.at = 0;
      }
      if (this.#excess !== undefined) {
        this.#failure = this.#excess;
        this.#forget();
        throw this.#failure;
      }
      if (this.#chunk === undefined) {
        const next = this.#waiting.shift();
        if (next !== undefined) {
          this.#open(next);
        } else if (this.#lastLineCounts && this.held.length > 0) {
          this.#excess = this.#takeHeld();
          continue;
        } else {
          return;
        }
      }
      if (this.#chunk !== undefined && this.held.length === 0 && this.mayKnow()) {
        this.takeKnown(this.#chunk, this.#chunkAt, emit);
        if (this.stopped) return;
      }
      this.#excess = this.#takeNext();
    }
  }

  /** Takes the next whole lines of the chunk in hand, or its unfinished last line. */
  #takeNext(): LimitError | undefined {
    const chunk = this.#chunk;
    if (chunk === undefined) return undefined;
    const from = this.#chunkAt;
    const end = this.#linesEnd;
    if (from >= end) {
      this.#chunk = undefined;
      if (from === chunk.length) return undefined;
      this.held.append(chunk, from, chunk.length);
      return this.checkHeld();
    }
    if (this.held.length === 0) {
      const { decodeASCII } = this.reader;
      if (this.mayKnow()) {
        this.#chunkAt = this.afterUnknown(chunk, from, end);
        return this.#takeLines(chunk, from, this.#chunkAt, undefined);
      }
      this.#chunkAt = end;
      if (decodeASCII === undefined || end - from <= SMALL_BYTES) return this.#takeLines(chunk, from, end, undefined);
      const ascii = this.#wide ? undefined : decodeASCII(chunk, from, end);
      if (ascii === undefined) {
        this.#wide = true;
        this.#chunkAt = this.afterBlock(chunk, from, end);
      }
      return this.#takeLines(chunk, from, this.#chunkAt, ascii);
    }
    // Only the held line and what completes it go through the copy; the rest is decoded where it lies.
    const first = this.reader.indexOf(chunk, LF, from) + 1;
    const to = first === 0 ? end : first;
    this.held.append(chunk, from, to);
    this.#chunkAt = to;
    return this.#takeHeld();
  }

  #takeHeld(): LimitError | undefined {
    const excess = this.#takeLines(this.held.join(), 0, this.held.length, undefined);
    this.held.clear();
    return excess;
  }

  #takeLines(bytes: Uint8Array, from: number, to: number, ascii: string | undefined): LimitError | undefined {
    let start = from;
    if (this.#atStart) {
      start += this.#markLength(bytes, to); // the first line begins at 0
      this.#atStart = false;
    }
    const excess = this.take(bytes, start, to, ascii);
    if (this.text.length !== to - start) this.#sawWide = true;
    return excess;
  }

  /** The end of the line at `from`, and of an empty one behind it. */
  protected afterBlock(chunk: Uint8Array, from: number, end: number): number {
    const after = this.reader.indexOf(chunk, LF, from) + 1;
    if (after === 0) return end;
    if (chunk[after] === LF) return after + 1;
    return chunk[after] === CR && chunk[after + 1] === LF ? after + 2 : after;
  }

  #forget(): void {
    this.text = '';
    this.at = 0;
    this.#chunk = undefined;
    this.#waiting = [];
    this.held.clear();
  }
}
