import { isMillraceError } from '../errors.js';
import {
  type Decoder,
  type Dialect,
  type Emit,
  MOVED,
  type Proof,
  type StreamPlace,
  type TurnOptions,
} from '../protocol/dialect.js';
import type { NDJSONLine, OutputPlace, RestartEvent, StreamEvent, WarningEvent, WireEvent } from '../types.js';
import { tellRestart } from './diagnostics.js';
import type { Flow } from './flow.js';
import type { Going, Position } from './position.js';
import { hasCode } from './hasCode.js';
import { ReceivedText } from './receivedText.js';
import { requireAtLeast, requireOneOf } from './require.js';
import { selectOutput } from './selectOutput.js';

/** What to do with a frame that cannot be decoded. @public */
export interface DecodeOptions {
  /**
   * `'error'`: the stream fails. `'skip'`: the frame is left out, and a `warning` event `frame-skipped` counts it.
   * @defaultValue `'error'`
   */
  readonly onMalformed?: 'error' | 'skip' | undefined;
  /** Characters of received text that an error carries; the newest are kept. @defaultValue 1,048,576 (chosen) */
  readonly maxReceivedChars?: number | undefined;
}

/** Throws TypeError or RangeError for an option out of its range. */
export function checkDecodeOptions({ onMalformed = 'error', maxReceivedChars = 0 }: DecodeOptions): void {
  requireOneOf('onMalformed', onMalformed, ['error', 'skip']);
  requireAtLeast(0, { maxReceivedChars });
}

/** Warnings that a receipt lists; more are a symptom, not news. */
const MAX_WARNINGS = 100;

/** Work as it is stored, on its way to a decoder among the events of the wire. */
export class StoredDocument implements NDJSONLine {
  readonly type = 'line';
  readonly number = 0;
  readonly work: unknown;

  constructor(work: unknown) {
    this.work = work;
  }

  get data(): string {
    return JSON.stringify(this.work);
  }
}

/** One attempt at an answer: the dialect's decoder, and what its flow, its position and its errors are told of it. */
export class Answer {
  readonly #decoder: Decoder;
  readonly #flow: Flow;
  readonly #position: Position;
  readonly #received: ReceivedText;
  readonly #skips: boolean;
  readonly #emit: Emit;
  readonly #deliver: Emit;
  /** It is a connection to the same work. */
  readonly #isOn: boolean;
  /** Whether a raw frame is part of the assistant's turn. */
  readonly #needs: TurnOptions<unknown>['needs'];
  /** Set until the first piece of an answer that is asked for again. */
  #again: Again | undefined;
  #skipped = 0;

  constructor(dialect: Dialect, flow: Flow, going: Going, options: DecodeOptions, deliver: Emit) {
    const { position } = flow;
    const decoder = going === 'on' ? (position.decoder ?? dialect.decoder()) : dialect.decoder();
    if (going === 'on') decoder.reattached?.();
    position.decoder = position.keeper === undefined ? undefined : decoder;
    this.#decoder = decoder;
    this.#flow = flow;
    this.#position = position;
    this.#received = position.received ??= new ReceivedText(options.maxReceivedChars ?? 1_048_576);
    flow.received = () => this.#received.get();
    this.#skips = options.onMalformed === 'skip';
    this.#needs = dialect.turn?.needs;
    if (going === 'anew' || going === 'continued') this.#again = { going, left: new Map(position.preamble), held: [] };
    this.#isOn = going === 'on';
    this.#deliver = deliver;
    this.#emit = (event): void => {
      // Most events are text, and each call on its way is paid for by every token.
      if (event.type === 'text' && this.#again === undefined) this.#tell(event);
      else this.#take(event);
    };
  }

  /** What a parser may ask whose events come here alone. */
  get shortcut(): Decoder['shortcut'] {
    return this.#decoder.shortcut;
  }

  /** What the stream said it is, and how far it has told. */
  get place(): StreamPlace | undefined {
    return this.#decoder.place;
  }

  /** The next connection to the same work is read. */
  reattach(): void {
    this.#decoder.reattached?.();
  }

  #take(event: StreamEvent): void {
    // A connection to the same work shows its state once more.
    if (this.#isOn && event.type === 'status' && event.status === this.#position.lastStatus) return;
    if (this.#again !== undefined) this.#begin(this.#again, event);
    else this.#tell(event.type === 'restart' ? this.#restart(event.because) : event);
  }

  #tell(event: StreamEvent): void {
    this.#note(event);
    this.#deliver(event);
  }

  /**
   * The beginning of an answer that is asked for again: what came before the first piece was told before. The first piece, or
   * an end without one, voids what was delivered; not before it, since until then that is all there is.
   */
  #begin(again: Again, event: StreamEvent): void {
    // A part of the new turn, and not of the one that is void: it comes after the restart.
    if (this.#isNeeded(event) && again.held.length < MAX_HELD) {
      again.held.push(event);
      return;
    }
    const left = again.left.get(event.type) ?? 0;
    if (left > 0) {
      again.left.set(event.type, left - 1);
      return;
    }
    if (PREAMBLE.has(event.type)) {
      this.#tell(event);
      return;
    }
    this.#again = undefined;
    if (again.going === 'continued') this.#tell(CONTINUED);
    else if (event.type !== 'restart') {
      if (this.#position.content) this.#tell(this.#restart(this.#position.keeper?.because ?? 'it was asked for again'));
      else this.#position.reset();
    }
    for (const held of again.held) this.#tell(held);
    this.#emit(event);
  }

  #isNeeded(event: StreamEvent): boolean {
    return event.type === 'raw' && this.#needs?.(event) === true;
  }

  /** Told with what only the position knows. */
  #restart(because: string): RestartEvent {
    const { attempt, chars, thinkingChars } = this.#position;
    const discard = thinkingChars === 0 ? { chars } : { chars, thinkingChars };
    return { type: 'restart', attempt: Math.max(1, attempt), because, discard };
  }

  /** Decodes one event; throws what ends the stream. */
  push(event: WireEvent): Proof {
    let proof: Proof;
    try {
      proof =
        event.type === 'line' && event instanceof StoredDocument
          ? (this.#decoder.stored?.(event.work, this.#emit) ?? 'open')
          : this.#decoder.push(event, this.#emit);
    } catch (error) {
      if (!this.#skips || !(hasCode(error, 'ERR_PROTOCOL') || hasCode(error, 'ERR_VALIDATION'))) throw error;
      this.#skipped += 1;
      this.#emit({
        type: 'warning',
        code: 'frame-skipped',
        message: error.message,
        detail: { skipped: this.#skipped },
      });
      return 'open';
    }
    // A dialect may take its proof back: another choice has begun.
    this.#flow.proven = proof === 'proven' || proof === 'done';
    return proof;
  }

  /** The transport is over: true when the answer is whole. */
  end(intact: boolean): boolean {
    this.#flow.proven = this.#decoder.end(intact, this.#emit);
    return this.#flow.proven;
  }

  /** The stream failed: what the decoder held back is delivered, since it was received. */
  release(): void {
    this.#decoder.release?.(this.#emit);
  }

  submitted(answer: unknown): void {
    this.#decoder.submitted(answer, this.#emit);
  }

  /** Gives an error what was received before it. */
  attach(error: unknown): unknown {
    if (isMillraceError(error)) error.received ??= this.#received.get();
    return error;
  }

  /** A state that is only told again is a sign of life, not of work. */
  #onState(isNew: boolean): void {
    if (!isNew) return;
    this.#flow.onMovement();
    this.#position.pieces += 1;
  }

  #isOfFirstOutput(place: OutputPlace): boolean {
    return (this.#position.isFirstOutput ??= selectOutput())(place);
  }

  /** What comes before the answer's first piece. */
  #notePreamble(event: StreamEvent): void {
    const { preamble } = this.#position;
    if (REPEATED.has(event.type) && !this.#isNeeded(event))
      preamble.set(event.type, (preamble.get(event.type) ?? 0) + 1);
  }

  #note(event: StreamEvent): void {
    const flow = this.#flow;
    if (!this.#position.content) this.#notePreamble(event);
    switch (event.type) {
      case 'text':
        if (this.#isOfFirstOutput(event)) {
          this.#received.add(event.text);
          flow.onContent(event.text.length);
        } else flow.onContent(0);
        break;
      case 'thinking':
        this.#position.thinkingChars += event.text.length;
        flow.onContent(0);
        break;
      case 'refusal':
      case 'tool-call-delta':
      case 'tool-call':
      case 'tool-result':
      case 'media':
      case 'output':
      case 'log':
        flow.onContent(0);
        break;
      case 'status':
        this.#onState(event.status !== this.#position.lastStatus);
        this.#position.lastStatus = event.status;
        break;
      case 'progress':
        this.#onState(event.current !== this.#position.lastProgress);
        this.#position.lastProgress = event.current;
        break;
      case 'usage': {
        const { type: _, ...usage } = event;
        flow.usage = usage;
        break;
      }
      case 'warning':
        if (flow.warnings.length < MAX_WARNINGS) flow.warnings.push(event);
        break;
      case 'finish':
        // Before it is delivered: whoever leaves at this event leaves a whole answer.
        flow.finish = event;
        flow.proven = true;
        break;
      case 'restart':
        this.#position.reset();
        flow.restarts += 1;
        tellRestart(flow, event);
        break;
      case 'heartbeat':
        if (event === MOVED) flow.onMovement();
        break;
      case 'raw':
        break;
    }
  }
}

interface Again {
  readonly going: 'anew' | 'continued';
  /** How many events of each type were told before the first piece. */
  readonly left: Map<StreamEvent['type'], number>;
  /** Frames of its turn, until it is told that the one before is void. */
  readonly held: StreamEvent[];
}

/** Frames that are held so; one more counts as the first piece. Chosen. */
const MAX_HELD = 1024;

/** Events that come before the first piece of an answer, and those of them that another attempt repeats. */
const PREAMBLE: ReadonlySet<StreamEvent['type']> = new Set([
  'status',
  'progress',
  'warning',
  'raw',
  'heartbeat',
  'usage',
]);
const REPEATED: ReadonlySet<StreamEvent['type']> = new Set(['status', 'progress', 'warning', 'raw']);

const CONTINUED: WarningEvent = {
  type: 'warning',
  code: 'answer-continued',
  message: 'The connection was lost, and the model was given the text so far to go on from; the seam may show',
};
