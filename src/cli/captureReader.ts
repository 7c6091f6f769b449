import { setTimeout as sleep } from 'node:timers/promises';
import { readErrorBody } from '../protocol/errorBody.js';
import type { WireEvent } from '../types.js';

/** The beginning of a capture: enough of it to tell what it is. */
export interface CaptureHead {
  /** What was read of the body so far. */
  readonly body: Uint8Array;
  /** Bytes of the heads of HTTP answers in front of it, as `curl -i` saves them. */
  readonly headBytes: number;
  /** Of the last head; undefined without one. */
  readonly status: number | undefined;
}

/** How far a capture was read: bytes from its beginning, heads of HTTP included. */
export class CapturePlace {
  #offset: number;
  /** Where the frame begins that is being read. */
  #openAt: number | undefined;
  #lineAt: number;
  #isOver = false;
  /** Frames that were whole. */
  frames = 0;
  /** The last of them. */
  frame: { readonly from: number; readonly to: number } | undefined;
  readonly #framing: 'sse' | 'ndjson';

  constructor(from: number, framing: 'sse' | 'ndjson') {
    this.#offset = from;
    this.#lineAt = from;
    this.#framing = framing;
  }

  get offset(): number {
    return this.#offset;
  }

  /** Bytes at the end that belong to a frame which is not whole. */
  get unfinished(): number {
    return this.#openAt === undefined || this.#isOver ? 0 : this.#offset - this.#openAt;
  }

  /** A piece is about to be parsed: a line, or a part of one. */
  onPiece(piece: Uint8Array): void {
    if (this.#isOver) [this.#openAt, this.#isOver] = [undefined, false];
    const isStart = this.#lineAt === this.#offset;
    const isBlank = isStart && (piece[0] === LF || piece[0] === CR);
    const isComment = isStart && this.#framing === 'sse' && piece[0] === COLON;
    if (!isBlank && !isComment) this.#openAt ??= this.#offset;
    this.#offset += piece.length;
    if (!endsLine(piece)) return;
    this.#lineAt = this.#offset;
    // What this line completes is told while it is parsed, after this.
    if (this.#framing === 'ndjson' || isBlank) this.#isOver = true;
  }

  /** An event came of the piece that is being parsed. */
  onEvent(event: WireEvent): void {
    if (event.type === 'comment' || event.type === 'retry') return;
    if (event.type === 'line' && event.unterminated === true) return;
    this.frames += 1;
    this.frame = { from: this.#openAt ?? this.#offset, to: this.#offset };
  }
}

const LF = 10;
const CR = 13;
const COLON = 0x3a;

function endsLine(piece: Uint8Array): boolean {
  const last = piece.at(-1);
  return last === LF || last === CR;
}

/** As much as detectDialect looks at. */
const MAX_LOOK = 1_048_576;
/** A first line that is longer tells no more. */
const MAX_LINE_LOOK = 65_536;
/** Heads of HTTP answers are smaller. */
const MAX_HEAD_CHARS = 262_144;

/** A capture that is read once, in order. */
export class CaptureReader {
  readonly #chunks: AsyncGenerator<Uint8Array, undefined>;
  #held: Uint8Array[] = [];
  #isDone = false;

  constructor(input: AsyncIterable<Uint8Array | string>) {
    this.#chunks = bytesOf(input);
  }

  /**
   * Reads the beginning.
   * @param isEnough - whether a line is enough, where the dialect is known; else as much as is needed to tell it
   */
  async look(isEnough: 'line' | 'all'): Promise<CaptureHead> {
    const most = isEnough === 'line' ? MAX_LINE_LOOK : MAX_LOOK;
    let size = 0;
    for (;;) {
      const head = size === 0 ? undefined : headOf(joined(this.#held));
      if (head !== undefined && isEnough === 'line' && /\S.*[\r\n]/.test(latin1(head.body.subarray(0, MAX_LOOK))))
        return head;
      if (this.#isDone || size >= most) return head ?? headOf(joined(this.#held), true);
      const wanted = isEnough === 'line' ? size + 1 : most;
      while (size < wanted && !this.#isDone) {
        const { done, value } = await this.#chunks.next();
        if (done === true) this.#isDone = true;
        else {
          this.#held.push(value);
          size += value.length;
        }
      }
    }
  }

  /**
   * All of the body, in pieces that end with their line at the latest.
   * @param skip - bytes that stand in front of the body
   * @param paceMs - the pause behind each frame
   */
  async *pieces(
    skip: number,
    framing: 'sse' | 'ndjson',
    paceMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    let isLineStart = true;
    for await (const piece of cutAtLines(this.#rest(skip))) {
      const isBlank = isLineStart && (piece[0] === LF || piece[0] === CR);
      yield piece;
      const isEnd = framing === 'ndjson' ? endsLine(piece) && !isBlank : isBlank;
      isLineStart = endsLine(piece);
      if (!isEnd || paceMs === 0) continue;
      // Stopped while it waits: the stream is ended by the same signal.
      if (await sleep(paceMs, false, { signal }).catch(() => true)) return;
    }
  }

  async *#rest(skip: number): AsyncGenerator<Uint8Array> {
    try {
      const held = joined(this.#held).subarray(skip);
      this.#held = [];
      if (held.length > 0) yield held;
      while (!this.#isDone) {
        const { done, value } = await this.#chunks.next();
        if (done === true) return;
        yield value;
      }
    } finally {
      await this.#chunks.return(undefined);
    }
  }
}

async function* bytesOf(input: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array, undefined> {
  for await (const chunk of input) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (bytes.length > 0) yield bytes;
  }
  return undefined;
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [first = new Uint8Array()] = chunks;
  return chunks.length < 2 ? first : Buffer.concat(chunks);
}

async function* cutAtLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  /** A CR whose LF may still come. */
  let held: Uint8Array | undefined;
  for await (const next of chunks) {
    const chunk = held === undefined ? next : Buffer.concat([held, next]);
    const end = chunk.at(-1) === CR ? chunk.length - 1 : chunk.length;
    held = end === chunk.length ? undefined : chunk.subarray(end);
    let from = 0;
    for (let at = 0; at < end; at += 1) {
      const byte = chunk[at];
      if (byte !== LF && (byte !== CR || chunk[at + 1] === LF)) continue;
      yield chunk.subarray(from, at + 1);
      from = at + 1;
    }
    if (from < end) yield chunk.subarray(from, end);
  }
  if (held !== undefined) yield held;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/**
 * Tells heads from the body.
 * @returns undefined where a head has begun and not ended
 */
function headOf(bytes: Uint8Array): CaptureHead | undefined;
function headOf(bytes: Uint8Array, isAll: true): CaptureHead;
function headOf(bytes: Uint8Array, isAll = false): CaptureHead | undefined {
  const text = latin1(bytes.subarray(0, MAX_HEAD_CHARS));
  let at = 0;
  let status: number | undefined;
  for (;;) {
    const head = /^\s*HTTP\/\d(?:\.\d)?[ \t]+(\d{3})[^]*?(?:\r\n\r\n|\n\n)/.exec(text.slice(at));
    if (head === null) break;
    at += head[0].length;
    status = Number(head[1]);
  }
  const rest = text.slice(at);
  if (!isAll && (/^\s*HTTP\/\d/.test(rest) || (rest.length < 5 && 'HTTP/'.startsWith(rest.trimStart()))))
    return undefined;
  return { body: bytes.subarray(at), headBytes: at, status };
}

/** What an error's body says, where it is JSON. */
export function refusalIn(body: Uint8Array): string {
  try {
    const { code, message } = readErrorBody(JSON.parse(Buffer.from(body).toString('utf8')));
    return [code, message].filter((part) => part !== undefined).join(': ');
  } catch {
    return ''; // no JSON
  }
}

/** True for what no text begins with: gzip, zstd. */
export function isCompressed(body: Uint8Array): boolean {
  const [first, second, third, fourth] = body;
  return (
    (first === 0x1f && second === 0x8b) || (first === 0x28 && second === 0xb5 && third === 0x2f && fourth === 0xfd)
  );
}
