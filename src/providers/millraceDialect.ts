import * as z from 'zod/mini';
import { InterruptedError } from '../errors.js';
import {
  type Decoder,
  type DecoderOptions,
  type Dialect,
  dialect,
  type DialectStream,
  type Emit,
  type Proof,
  readFailure,
} from '../protocol/dialect.js';
import { isRecord, readErrorBody } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { validate } from '../protocol/validate.js';
import type { StreamEvent, WireEvent } from '../types.js';

interface Frame extends Readonly<Record<string, unknown>> {
  readonly type?: string | undefined;
}

const text = z.string();
const number = z.number();
const place = { index: number, name: text };
const call = { index: number, id: text, name: text };

const frame: StandardSchema<Frame> = z.looseObject({ type: z.optional(text) });

/** The events as they are sent; words of a later version pass, and so do keys. */
const EVENTS: ReadonlyMap<string | undefined, StandardSchema> = new Map<StreamEvent['type'], StandardSchema>([
  ['text', z.looseObject({ ...place, text })],
  ['thinking', z.looseObject({ ...place, text })],
  ['refusal', z.looseObject({ ...place, text })],
  ['tool-call-delta', z.looseObject({ ...call, argumentsDelta: text })],
  ['tool-call', z.looseObject({ ...call, argumentsText: text })],
  ['tool-result', z.looseObject(call)],
  ['status', z.looseObject({ status: text, terminal: z.boolean() })],
  ['progress', z.looseObject({ current: number })],
  ['log', z.looseObject({ message: text })],
  ['output', z.looseObject({ final: z.boolean() })],
  ['media', z.looseObject({ ...place, kind: text })],
  ['usage', z.looseObject({ provenance: text })],
  ['warning', z.looseObject({ code: text, message: text })],
  ['heartbeat', z.looseObject({ comment: text })],
  ['finish', z.looseObject({ reason: text })],
  ['restart', z.looseObject({ attempt: number, because: text, discard: z.looseObject({ chars: number }) })],
  ['raw', z.looseObject({})],
]);

const end: StandardSchema<{ readonly outcome: string; readonly receipt?: unknown }> = z.looseObject({ outcome: text });
const failure: StandardSchema<{
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  readonly retryable?: boolean | undefined;
}> = z.looseObject({ code: z.optional(text), message: z.optional(text), retryable: z.optional(z.boolean()) });

/** The member of an event that grows by pieces. */
const PIECES: ReadonlyMap<string | undefined, string> = new Map([
  ['text', 'text'],
  ['thinking', 'text'],
  ['refusal', 'text'],
  ['tool-call-delta', 'argumentsDelta'],
]);

type Stream = DialectStream<undefined>;

/**
 * The dialect of millrace's own format, which `toNodeResponse` and `responseFrom` write: a page, or another service, reads the very
 * same events.
 *
 * ```text
 * data: {"type":"text","text":"Hel","index":0,"name":"output"}      the event itself
 * : OPENROUTER PROCESSING                                           heartbeat
 * data: {"type":"end","outcome":"complete"}                         complete
 * ```
 * - *End*: the `end` line of an answer that is complete there. Without it the stream was interrupted, also behind `finish`, which is
 *   told when the end has come.
 * - *Failures* are ProviderErrors with the server's `code`, message and `retryable`; where the server's own upstream was cut, an
 *   InterruptedError, as if there were no server between.
 * - *Stopped on purpose* at the server: a ProviderError with the code `stopped`, since half an answer is none; worth another
 *   try where the server was only shutting down.
 * - *Events of a later version* arrive as `raw`.
 *
 * @example
 * ```ts
 * fromHTTP('/api/answer', { method: 'POST', body }).pipe(parseSSE(), decode(millrace), toTokens()).subscribe(log);
 * ```
 * @public
 */
export const millrace: Dialect = {
  name: 'millrace',
  framing: 'sse',
  decoder: (options) => new MillraceDecoder(options),
};

/** One stream. The server's events are told as they are: an answer that ended without `finish` gets none here. */
class MillraceDecoder implements Decoder {
  readonly #decoder: Decoder;
  /** The last event, where it is the finish: behind it the end is awaited. */
  #finish: StreamEvent | undefined;
  #isOver = false;

  constructor(options?: DecoderOptions) {
    this.#decoder = dialect<Frame>({
      name: 'millrace',
      frame,
      // An event may have a member `error`; what something on the way put in has no type of ours.
      error: (told, event) => {
        if (event === 'error') return readErrorBody(told);
        return typeof told['type'] === 'string' ? undefined : readFailure(told, event);
      },
      decode: (told, stream) => {
        this.#read(told, stream);
      },
    }).decoder(options);
  }

  get templated(): number | undefined {
    return this.#decoder.templated;
  }

  get shortcut(): Decoder['shortcut'] {
    return this.#decoder.shortcut;
  }

  push(event: WireEvent, emit: Emit): Proof {
    if (this.#isOver) return 'done';
    if (event.type === 'comment') this.#tellFinish(emit);
    const proof = this.#decoder.push(event, emit);
    return (this.#isOver as boolean) ? 'done' : proof; // the event may have set it
  }

  end(intact: boolean, emit: Emit): boolean {
    return this.#isOver || this.#decoder.end(intact, emit);
  }

  submitted(answer: unknown, emit: Emit): void {
    this.#decoder.submitted(answer, emit);
  }

  reattached(): void {
    this.#finish = undefined;
    this.#isOver = false;
    this.#decoder.reattached?.();
  }

  #read(told: Frame, stream: Stream): void {
    if (told.type === 'end') this.#end(told, stream);
    else if (told.type === 'error') fail(told, stream);
    else this.#event(told, stream);
  }

  #event(told: Frame, stream: Stream): void {
    const schema = EVENTS.get(told.type);
    if (schema !== undefined) validate(schema, told, `a millrace ${String(told.type)} event`);
    this.#tellFinish((event) => {
      stream.emit(event);
    });
    if (schema === undefined) {
      stream.emit(
        stream.event === 'message' ? { type: 'raw', frame: told } : { type: 'raw', frame: told, event: stream.event },
      );
      return;
    }
    const event = told as unknown as StreamEvent; // its schema has seen it
    if (event.type === 'finish') {
      this.#finish = event;
      // It was read, which keeps it from arriving as `raw`, and proves nothing yet.
      stream.prove('unknown');
      stream.reopen();
      return;
    }
    stream.emit(event);
    const piece = PIECES.get(event.type);
    if (piece === undefined) return;
    stream.template({ text: piece }, (more) => {
      if (this.#finish !== undefined) return false;
      stream.emit({ ...event, [piece]: more });
      return true;
    });
  }

  #tellFinish(emit: Emit): void {
    const finish = this.#finish;
    this.#finish = undefined;
    if (finish !== undefined) emit(finish);
  }

  #end(told: Frame, stream: Stream): void {
    const { outcome, receipt } = validate(end, told, 'a millrace end');
    if (outcome !== 'complete') {
      const by = isRecord(receipt) && typeof receipt['by'] === 'string' ? receipt['by'] : undefined;
      const message = by === undefined ? `the answer was ${outcome}` : `the answer was ${outcome} there by ${by}`;
      stream.fail({ code: outcome, type: undefined, message }, told, by === 'shutdown');
    }
    this.#tellFinish((event) => {
      stream.emit(event);
    });
    stream.prove('unknown');
    this.#isOver = true;
  }
}

function fail(told: Frame, stream: Stream): never {
  const { code, message, retryable } = validate(failure, told, 'a millrace error');
  if (code === 'ERR_INTERRUPTED' && retryable !== false) {
    const said = message === undefined ? '' : `: ${message.slice(0, 300)}`;
    throw new InterruptedError(`The upstream of the millrace server was cut${said}`, {
      context: { dialect: 'millrace' },
    });
  }
  stream.fail({ code, type: undefined, message }, told, retryable ?? false);
}
