import { isMillraceError } from '../errors.js';
import type { Decoder, Dialect, Emit, Proof } from '../protocol/dialect.js';
import type { StreamEvent, WireEvent } from '../types.js';
import type { Flow } from './flow.js';
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

/** One answer being decoded: the dialect's decoder, and what its flow and its errors are told of it. */
export class Answer {
  readonly #decoder: Decoder;
  readonly #flow: Flow;
  readonly #received: ReceivedText;
  #isFirstOutput = selectOutput();
  readonly #skips: boolean;
  readonly #emit: Emit;
  #skipped = 0;
  #lastStatus: string | undefined;
  #lastProgress: number | undefined;

  constructor(dialect: Dialect, flow: Flow, options: DecodeOptions, deliver: Emit) {
    this.#decoder = dialect.decoder();
    this.#flow = flow;
    this.#received = new ReceivedText(options.maxReceivedChars ?? 1_048_576);
    this.#skips = options.onMalformed === 'skip';
    this.#emit = (event): void => {
      this.#note(event);
      deliver(event);
    };
  }

  /** Decodes one event; throws what ends the stream. */
  push(event: WireEvent): Proof {
    let proof: Proof;
    try {
      proof = this.#decoder.push(event, this.#emit);
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
    this.#flow.proven = proof !== 'open';
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

  #note(event: StreamEvent): void {
    const flow = this.#flow;
    switch (event.type) {
      case 'text':
        if (this.#isFirstOutput(event)) {
          this.#received.add(event.text);
          flow.onContent(event.text.length);
        } else flow.onContent(0);
        break;
      case 'thinking':
      case 'refusal':
      case 'tool-call-delta':
      case 'tool-call':
      case 'media':
      case 'output':
      case 'log':
        flow.onContent(0);
        break;
      case 'status':
        // A state that is only told again is a sign of life, not of work.
        if (event.status !== this.#lastStatus) flow.onMovement();
        this.#lastStatus = event.status;
        break;
      case 'progress':
        if (event.current !== this.#lastProgress) flow.onMovement();
        this.#lastProgress = event.current;
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
        this.#received.clear();
        this.#isFirstOutput = selectOutput();
        flow.restarts += 1;
        flow.position.chars = 0;
        break;
      case 'heartbeat':
      case 'raw':
        break;
    }
  }
}
