import type { Decoder, Dialect, Emit, Proof } from '../../src/protocol/dialect.js';
import { checkTemplates } from '../../src/testing/checkTemplates.js';
import type { StreamEvent } from '../../src/types.js';
import { textOf, wireEvents } from './decodeEvents.js';

/** An answer read over several connections, as a call that goes on drives its decoder, without any transport. */
export class Reconnecting {
  readonly events: StreamEvent[] = [];
  /** What the last frame that was read proved. */
  proof: Proof = 'open';
  readonly #framing: 'sse' | 'ndjson';
  readonly #decoder: Decoder;
  readonly #emit: Emit = (event) => {
    this.events.push(event);
  };

  /** @param decoder - with templates and without, unless another one is given */
  constructor(
    dialect: Dialect,
    framing: 'sse' | 'ndjson' = dialect.framing,
    decoder: Decoder = checkTemplates(dialect).decoder(),
  ) {
    this.#decoder = decoder;
    this.#framing = framing;
  }

  /** The text that a reader has by now. */
  get text(): string {
    return textOf(this.events);
  }

  get restarts(): number {
    return this.of('restart').length;
  }

  of<Type extends StreamEvent['type']>(type: Type): Extract<StreamEvent, { type: Type }>[] {
    return this.events.filter((event): event is Extract<StreamEvent, { type: Type }> => event.type === type);
  }

  submitted(answer: unknown): this {
    this.#decoder.submitted(answer, this.#emit);
    return this;
  }

  /** Reads a connection until it ends or has told what it can. */
  read(body: string): this {
    for (const event of wireEvents(this.#framing, body)) {
      this.proof = this.#decoder.push(event, this.#emit);
      if (this.proof !== 'open' && this.proof !== 'proven') break;
    }
    return this;
  }

  /** The connection is lost, and another one is opened. */
  reconnect(): this {
    this.#decoder.release?.(this.#emit);
    return this.reopen();
  }

  /** Another connection is opened at the decoder's own wish. */
  reopen(): this {
    this.#decoder.reattached?.();
    return this;
  }

  stored(work: unknown): this {
    this.proof = this.#decoder.stored?.(work, this.#emit) ?? 'open';
    return this;
  }

  /** The connection ended; true when the answer is whole. */
  end(intact = true): boolean {
    return this.#decoder.end(intact, this.#emit);
  }
}
