import { Refusal } from './proxyAnswer.js';

/** A request's body as it comes in. */
export class BoundedBody {
  readonly #max: number;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  readonly #announced: number;

  /** @param announced - the request's `content-length` */
  constructor(maxBytes: number, announced: string | null | undefined) {
    this.#max = maxBytes;
    this.#announced = Number(announced ?? 0);
  }

  /** Why nothing more is read; set where it is too much. */
  get refusal(): Refusal | undefined {
    if (Math.max(this.#announced, this.#bytes) <= this.#max) return undefined;
    const max = String(this.#max);
    return new Refusal(413, 'body_too_large', `The body of the request is larger than ${max} bytes`);
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    this.#chunks.push(chunk);
  }

  whole(): Uint8Array {
    const whole = new Uint8Array(this.#bytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }
}
