/** A block of memory; what is held begins in a small one, which grows to this. */
const BLOCK_BYTES = 65_536;
const FIRST_BYTES = 256;

/**
 * The bytes of a line whose end has not arrived, in memory of their own: no chunk of the network is kept alive by a few of them. Long
 * lines are held in blocks and put together once, so that a byte is copied at most three times however finely the line is cut.
 */
export class HeldBytes {
  length = 0;
  /** Full ones. */
  #blocks: Uint8Array[] = [];
  #last: Uint8Array = new Uint8Array(0);
  #lastLength = 0;

  /** The first of them; at least three, where there are so many. */
  get first(): Uint8Array {
    return this.#blocks[0] ?? this.#last;
  }

  append(chunk: Uint8Array, from: number, to: number): void {
    this.length += to - from;
    let at = from;
    while (at < to) {
      const room = Math.min(to - at, this.#makeRoom(to - at));
      copy(chunk, at, at + room, this.#last, this.#lastLength);
      this.#lastLength += room;
      at += room;
    }
  }

  /** All of them, in a place that is good until more are held; valid up to `length`. */
  join(): Uint8Array {
    if (this.#blocks.length === 0) return this.#last;
    const all = new Uint8Array(this.length);
    for (const [index, block] of this.#blocks.entries()) all.set(block, index * BLOCK_BYTES);
    all.set(this.#last.subarray(0, this.#lastLength), this.#blocks.length * BLOCK_BYTES);
    return all;
  }

  clear(): void {
    this.length = 0;
    this.#lastLength = 0;
    this.#blocks = [];
  }

  /** Makes room for as many bytes or for the rest of a block. @returns for how many there is room */
  #makeRoom(bytes: number): number {
    if (this.#lastLength === BLOCK_BYTES) {
      this.#blocks.push(this.#last);
      this.#last = new Uint8Array(BLOCK_BYTES);
      this.#lastLength = 0;
    }
    const needed = Math.min(this.#lastLength + bytes, BLOCK_BYTES);
    if (needed > this.#last.length) {
      const grown = new Uint8Array(Math.min(Math.max(needed, this.#last.length * 2, FIRST_BYTES), BLOCK_BYTES));
      grown.set(this.#last.subarray(0, this.#lastLength));
      this.#last = grown;
    }
    return this.#last.length - this.#lastLength;
  }
}

function copy(from: Uint8Array, start: number, end: number, to: Uint8Array, place: number): void {
  if (end - start > 8) {
    to.set(start === 0 && end === from.length ? from : from.subarray(start, end), place);
    return;
  }
  // A call of `set` costs more than a few bytes do.
  for (let at = start; at < end; at++) to[place + at - start] = from[at] ?? 0;
}
