import type { Decoder, Dialect, Emit, Proof } from '../protocol/dialect.js';
import type { StreamEvent, WireEvent } from '../types.js';

/**
 * A dialect that decodes everything twice, with templates and without, and fails where the two differ: for trying a dialect of
 * your own that says `stream.template(…)`, and for finding out whether a template is to blame.
 *
 * It emits what decoding without templates emits. Errors are compared by name and message. Costs twice the work and more; not for
 * production.
 *
 * @example
 * ```ts
 * const call = api.chat({ model, messages });
 * fromCall({ ...call, dialect: checkTemplates(call.dialect) }).subscribe(log);
 * ```
 * @returns a dialect whose decoders throw an Error, named `TemplateDifference`, with both results in its message
 * @public
 */
export function checkTemplates<Turn>(dialect: Dialect<Turn>): Dialect<Turn> {
  return {
    ...dialect,
    decoder: () => new CheckedDecoder(dialect.decoder({ templates: false }), dialect.decoder({ templates: true })),
  };
}

/** What a decoder made of one thing that it was given. */
interface Result {
  readonly events: readonly StreamEvent[];
  readonly out?: unknown;
  readonly error?: unknown;
  readonly place: unknown;
}

class CheckedDecoder implements Decoder {
  readonly #full: Decoder;
  readonly #fast: Decoder;

  constructor(full: Decoder, fast: Decoder) {
    this.#full = full;
    this.#fast = fast;
  }

  get place(): Decoder['place'] {
    return this.#full.place;
  }

  get templated(): number | undefined {
    return this.#fast.templated;
  }

  get shortcut(): Decoder['shortcut'] {
    return this.#fast.shortcut;
  }

  push(event: WireEvent, emit: Emit): Proof {
    return this.#compare(emit, (decoder, to) => decoder.push(event, to));
  }

  end(intact: boolean, emit: Emit): boolean {
    return this.#compare(emit, (decoder, to) => decoder.end(intact, to));
  }

  release(emit: Emit): void {
    this.#compare(emit, (decoder, to) => decoder.release?.(to));
  }

  submitted(answer: unknown, emit: Emit): void {
    this.#compare(emit, (decoder, to) => {
      decoder.submitted(answer, to);
    });
  }

  reattached(): void {
    this.#full.reattached?.();
    this.#fast.reattached?.();
  }

  stored(work: unknown, emit: Emit): Proof {
    return this.#compare(emit, (decoder, to) => decoder.stored?.(work, to) ?? 'open');
  }

  #compare<Out>(emit: Emit, run: (decoder: Decoder, to: Emit) => Out): Out {
    const fast = resultOf(this.#fast, run);
    const full = resultOf(this.#full, run);
    requireSame(full, fast);
    for (const event of full.events) emit(event);
    if ('error' in full) throw full.error;
    return full.out as Out; // set where nothing was thrown
  }
}

function resultOf(decoder: Decoder, run: (decoder: Decoder, to: Emit) => unknown): Result {
  const events: StreamEvent[] = [];
  const to: Emit = (event) => {
    events.push(event);
  };
  try {
    return { events, out: run(decoder, to), place: decoder.place };
  } catch (error) {
    return { events, error, place: decoder.place };
  }
}

function requireSame(full: Result, fast: Result): void {
  const [one, other] = [textOf(full), textOf(fast)];
  if (one === other) return;
  const difference = new Error(`A template decodes otherwise than its dialect: ${other}, and without it ${one}`);
  difference.name = 'TemplateDifference';
  throw difference;
}

/** With keys in one order: events are equal whatever order theirs were set in. */
function textOf(result: Result): string {
  return JSON.stringify(result, (_, value: unknown) => {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject
      ? Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
      : value;
  });
}
