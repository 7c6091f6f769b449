import { InterruptedError } from '../errors.js';
import type { StreamEvent, WireEvent } from '../types.js';
import {
  type Decoder,
  type DecoderOptions,
  dialect,
  type DialectStream,
  type Emit,
  type Proof,
  readFailure,
} from './dialect.js';
import { isRecord, readErrorBody } from './errorBody.js';
import type { StandardSchema } from './standardSchema.js';

/** A line of the millrace format. */
export interface MillraceFrame extends Readonly<Record<string, unknown>> {
  readonly type?: string | undefined;
}

/** How an answer ended there. */
export interface MillraceEnd {
  readonly outcome: string;
  readonly receipt?: unknown;
}

/** How it failed there. */
export interface MillraceFailure {
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  readonly retryable?: boolean | undefined;
}

/** What is made sure of the lines, by whoever knows where they come from. */
export interface MillraceChecks {
  /** The dialect's name. */
  readonly name: string;
  readonly frame: StandardSchema<MillraceFrame>;
  /** @returns false for an event of a later version; throws for one that is not as it should be */
  readonly event: (told: MillraceFrame) => boolean;
  readonly end: (told: MillraceFrame) => MillraceEnd;
  readonly failure: (told: MillraceFrame) => MillraceFailure;
}

/** The member of an event that grows by pieces. */
const PIECES: ReadonlyMap<string | undefined, string> = new Map([
  ['text', 'text'],
  ['thinking', 'text'],
  ['refusal', 'text'],
  ['tool-call-delta', 'argumentsDelta'],
]);

type Stream = DialectStream<undefined>;

/** Reads one stream. Its events are told as they are: an answer that ended without `finish` gets none here. */
export class MillraceDecoder implements Decoder {
  readonly #checks: MillraceChecks;
  readonly #decoder: Decoder;
  /** The last event, where it is the finish: behind it the end is awaited. */
  #finish: StreamEvent | undefined;
  #isOver = false;

  constructor(checks: MillraceChecks, options?: DecoderOptions) {
    const { name, frame } = checks;
    this.#checks = checks;
    this.#decoder = dialect<MillraceFrame>({
      name,
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

  #read(told: MillraceFrame, stream: Stream): void {
    if (told.type === 'end') this.#end(told, stream);
    else if (told.type === 'error') fail(told, stream, this.#checks);
    else this.#event(told, stream);
  }

  #event(told: MillraceFrame, stream: Stream): void {
    const isKnown = this.#checks.event(told);
    this.#tellFinish((event) => {
      stream.emit(event);
    });
    if (!isKnown) {
      stream.emit(
        stream.event === 'message' ? { type: 'raw', frame: told } : { type: 'raw', frame: told, event: stream.event },
      );
      return;
    }
    const event = told as unknown as StreamEvent; // it was checked
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

  #end(told: MillraceFrame, stream: Stream): void {
    const { outcome, receipt } = this.#checks.end(told);
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

function fail(told: MillraceFrame, stream: Stream, { name, failure }: MillraceChecks): never {
  const { code, message, retryable } = failure(told);
  if (code === 'ERR_INTERRUPTED' && retryable !== false) {
    const said = message === undefined ? '' : `: ${message.slice(0, 300)}`;
    throw new InterruptedError(`The upstream of the ${name} server was cut${said}`, {
      context: { dialect: name },
    });
  }
  stream.fail({ code, type: undefined, message }, told, retryable ?? false);
}
