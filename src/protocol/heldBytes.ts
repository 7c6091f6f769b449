/** Kept for the next line; what grew beyond it for one long line is given back. */
const RETAINED_BYTES = 65_536;

/**
 * The bytes of a line whose end has not arrived. Grows by doubling, so that a byte is copied at most three times however
 * finely the line is cut, and so that no chunk of the network is kept alive by a few bytes of it.
 */
export class HeldBytes {
  /** Valid up to `length`. */
  bytes: Uint8Array = new Uint8Array(0);
  length = 0;

  append(chunk: Uint8Array, from: number, to: number): void {
    const length = this.length + (to - from);
    if (length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.bytes.length * 2, 256));
      grown.set(this.length === this.bytes.length ? this.bytes : this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    if (to - from <= 8) {
      // A call of `set` costs more than a few bytes do.
      for (let at = from, place = this.length; at < to; at++, place++) this.bytes[place] = chunk[at] ?? 0;
    } else {
      this.bytes.set(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to), this.length);
    }
    this.length = length;
  }

  clear(): void {
    this.length = 0;
    if (this.bytes.length > RETAINED_BYTES) this.bytes = new Uint8Array(0);
  }
}
