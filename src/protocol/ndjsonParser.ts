import { LimitError } from '../errors.js';
import { requireAtLeast } from '../internal/require.js';
import type { NDJSONLine } from '../types.js';
import { type ByteReader, byteReader } from './byteReader.js';
import { LineParser } from './lineParser.js';
import type { Shortcut } from './shortcut.js';
import { DEFAULT_MAX_LINE_BYTES } from './sseParser.js';

/** Limits of {@link createNDJSONParser}. */
export interface NDJSONParserOptions {
  /**
   * The longest line, in bytes without its LF; a CR before it counts. At least 1; `Infinity` means unbounded. An unfinished
   * line counts as it grows. One byte more is a `LimitError`.
   *
   * @defaultValue 67_108_864 (64 MiB), chosen as for `SSEParserOptions.maxLineBytes`: a line may carry an image
   */
  readonly maxLineBytes?: number | undefined;
}

/** Turns the bytes of one NDJSON body into lines. Make one for each body. */
export interface NDJSONParser {
  /**
   * Emits, in order and before it returns, every line that `chunk` completes.
   *
   * When `emit` throws, the error passes through and the rest of the chunk is emitted by the next `push` or `end`. A `push`
   * from inside `emit` is taken after the chunk in hand, and returns at once.
   *
   * @throws LimitError over the limit, after emitting the lines before; and again for every later chunk
   */
  push(chunk: Uint8Array, emit: (line: NDJSONLine) => void): void;
  /**
   * The body ended: emits the last line where it has no line end, since a whole JSON text at the end of a body may lack one.
   * Whether it is whole shows when it is parsed. From inside `emit` it takes effect once the chunk in hand is done.
   */
  end(emit: (line: NDJSONLine) => void): void;
  /** The reader left: nothing more is emitted, not even from the chunk in hand, and later chunks are ignored. */
  stop(): void;
  /** True while bytes of an unfinished line are pending. */
  readonly unfinished: boolean;
}

/**
 * A parser for newline-delimited JSON, from bytes; it does not look into the JSON. Cost is linear in the bytes, however
 * they are cut.
 *
 * Lines end with LF or CRLF; a lone CR is white space, as in JSON. Lines of nothing but white space are left out and
 * counted. A byte order mark at the start is dropped, elsewhere kept. Invalid UTF-8 becomes U+FFFD.
 *
 * @param reader - how bytes are searched and decoded; only tests give one
 * @param shortcut - knows whole lines by sight; what it knows is emitted as one object, good until the next
 * @throws RangeError for a limit below 1
 * @see {@link https://github.com/ndjson/ndjson-spec | NDJSON}
 */
export function createNDJSONParser(
  options: NDJSONParserOptions = {},
  reader: ByteReader = byteReader,
  shortcut?: Shortcut,
): NDJSONParser {
  const { maxLineBytes = DEFAULT_MAX_LINE_BYTES } = options;
  requireAtLeast(1, { maxLineBytes });
  return new JSONLinesParser(maxLineBytes, reader, shortcut);
}

const LF = 10;
const CR = 13;
const SPACE = 32;

class JSONLinesParser extends LineParser<NDJSONLine> implements NDJSONParser {
  readonly #maxLineBytes: number;
  readonly #shortcut: Shortcut | undefined;
  #number = 0;

  constructor(maxLineBytes: number, reader: ByteReader, shortcut: Shortcut | undefined) {
    super(reader);
    this.#maxLineBytes = maxLineBytes;
    this.#shortcut = shortcut;
  }

  end(emit: (line: NDJSONLine) => void): void {
    this.finish(emit);
  }

  protected override mayKnow(): boolean {
    return this.#shortcut?.isReady === true;
  }

  protected override takeKnown(chunk: Uint8Array, from: number, emit: (line: NDJSONLine) => void): void {
    const shortcut = this.#shortcut;
    if (shortcut === undefined) return;
    const { line } = shortcut;
    try {
      shortcut.open(chunk);
      for (let at = from; at < chunk.length;) {
        const end = shortcut.fits(at, 'line');
        if (end === -1 || end - at > this.#maxLineBytes) return;
        at = end;
        this.taken(end);
        this.#number++;
        line.number = this.#number;
        emit(line);
        if (this.stopped) return;
      }
    } finally {
      shortcut.close();
    }
  }

  protected override skipAtChunk(): number {
    return 0;
  }

  protected override afterLastLineEnd(chunk: Uint8Array): number {
    return chunk[chunk.length - 1] === LF ? chunk.length : this.reader.lastIndexOf(chunk, LF) + 1;
  }

  protected override take(bytes: Uint8Array, from: number, to: number, ascii?: string): LimitError | undefined {
    if (to - from <= this.#maxLineBytes) {
      this.text = ascii ?? this.reader.decode(bytes, from, to);
      return undefined;
    }
    let at = from;
    while (at < to) {
      const index = this.reader.indexOf(bytes, LF, at);
      const end = index === -1 || index > to ? to : index;
      const excess = this.#check(end - at);
      if (excess !== undefined) {
        this.text = this.reader.decode(bytes, from, at);
        return excess;
      }
      at = end + 1;
    }
    this.text = this.reader.decode(bytes, from, to);
    return undefined;
  }

  protected override checkHeld(): LimitError | undefined {
    return this.#check(this.heldLength());
  }

  protected override scan(emit: (line: NDJSONLine) => void): void {
    const text = this.text;
    const length = text.length;
    let at = this.at;
    while (at < length) {
      const start = at;
      const lf = text.indexOf('\n', start);
      let end = lf === -1 ? length : lf;
      at = end + 1;
      this.at = at;
      this.#number++;
      if (end > start && text.charCodeAt(end - 1) === CR) end--;
      if (isBlank(text, start, end)) continue;
      const data = text.slice(start, end);
      emit(
        lf === -1
          ? { type: 'line', data, number: this.#number, unterminated: true }
          : { type: 'line', data, number: this.#number },
      );
      if (this.stopped) return;
      if (lf !== -1 && this.#shortcut?.isLearning === true) this.#shortcut.learn('line', '', text.slice(end, at));
    }
  }

  #check(size: number): LimitError | undefined {
    if (size <= this.#maxLineBytes) return undefined;
    return new LimitError(
      'maxLineBytes',
      this.#maxLineBytes,
      `A line of NDJSON is longer than ${String(this.#maxLineBytes)} bytes; raise maxLineBytes if it should be`,
    );
  }
}

/** Whether a line holds nothing but JSON's white space. */
function isBlank(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const code = text.charCodeAt(at);
    if (code !== SPACE && code !== CR && code !== 9 /* tab */) return false;
  }
  return true;
}
