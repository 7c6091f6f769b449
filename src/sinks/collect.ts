import { firstValueFrom, isObservable, type Observable } from 'rxjs';
import { AbortError, isMillraceError, LimitError } from '../errors.js';
import { attachReceipt } from '../internal/attachReceipt.js';
import { charsOf } from '../internal/charsOf.js';
import { type Ending, Evidence, type Verdict } from '../internal/evidence.js';
import { draw, operate } from '../internal/operate.js';
import { requireAtLeast } from '../internal/require.js';
import { type OutputSelection, selectOutput } from '../internal/selectOutput.js';
import { stopOn } from '../operators/stopOn.js';
import type { Call } from '../protocol/call.js';
import { fromCall, type FromCallOptions } from '../sources/fromCall.js';
import type {
  FinishEvent,
  LogEvent,
  MediaEvent,
  Receipt,
  Received,
  StreamEvent,
  ToolCallEvent,
  Usage,
} from '../types.js';

/** A whole answer. @public */
export interface Collected {
  /** The text of the first output, or of the one selected. */
  readonly text: string;
  readonly thinking: string;
  readonly refusal: string;
  readonly toolCalls: readonly ToolCallEvent[];
  readonly media: readonly MediaEvent[];
  readonly logs: readonly LogEvent[];
  /** A task's last output; absent where there was none. */
  readonly output?: unknown;
  readonly usage: Usage;
  readonly finish: FinishEvent;
  readonly receipt: Receipt;
}

/** What `collect` takes, and how much. @public */
export interface CollectOptions extends FromCallOptions, OutputSelection {
  /**
   * Characters that may be collected: text, refusals, thinking, tool arguments, logs, media that is text. One more is a LimitError, which stops
   * the call and carries what was received. At least 1. A restart begins to count anew.
   * @defaultValue no limit: the answer is as long as was asked for
   */
  readonly maxChars?: number | undefined;
}

/**
 * Waits for a whole answer.
 *
 * ```text
 * call      -a--b--(f|)
 * result    -------x           x = { text: a + b, usage, finish, ... }
 * ```
 * Resolves when the answer is proven whole. Rejects with the stream's error, whose `received` and `receipt` hold what came; a
 * stopped one (by `signal`) rejects with an AbortError, one over `maxChars` with a LimitError. Holds the whole answer.
 *
 * @example
 * ```ts
 * const { text, usage } = await collect(api.chat({ model, messages }));
 * ```
 * @param call - a call, a function that makes one, or a stream of events
 * @param options - for `fromCall` (of which a stream of events heeds `signal` alone), which output to take, and
 *   how much; see {@link CollectOptions}
 * @returns a promise; the request is made now
 * @throws RangeError for a `maxChars` below 1, TypeError and RangeError as `fromCall`
 * @public
 */
export function collect(
  call: Call | (() => Call | Promise<Call>) | Observable<StreamEvent>,
  options: CollectOptions = {},
): Promise<Collected> {
  const { signal, maxChars = Infinity } = options;
  requireAtLeast(1, { maxChars });
  const events = !isObservable(call)
    ? fromCall(call, options)
    : signal === undefined
      ? call
      : call.pipe(stopOn<StreamEvent>(signal));
  return firstValueFrom(
    events.pipe(
      operate((source, subscriber) => {
        const evidence = new Evidence('sink');
        let message = new Collecting(options);
        let ending: Ending = { kind: 'left' };
        draw<StreamEvent>(source, subscriber, evidence.scope, (upstream) => ({
          next: (event) => {
            evidence.note(event);
            if (event.type === 'restart') message = new Collecting(options);
            else if (message.chars + charsOf(event) <= maxChars) message.take(event);
            else {
              ending = { kind: 'error', error: tooLong(maxChars) };
              upstream.unsubscribe();
            }
          },
          error: (error) => {
            ending = { kind: 'error', error };
          },
          complete: () => {
            evidence.currentFlow();
            ending = { kind: 'complete' };
          },
          left: () => {
            const verdict = evidence.judge(ending);
            const receipt = evidence.receipt(verdict, { where: 'none', chars: message.text.length, bytes: 0 });
            evidence.report(receipt);
            const failure = failureOf(verdict, options);
            if (failure !== undefined) {
              const { error } = failure;
              // A decoder's error knows; one that came from below the decoder does not.
              if (isMillraceError(error)) error.received ??= message.received();
              subscriber.error(attachReceipt(error, receipt));
            } else {
              subscriber.next(message.collected(receipt));
              subscriber.complete();
            }
          },
        }));
      }),
    ),
  );
}

function tooLong(maxChars: number): LimitError {
  return new LimitError('maxChars', maxChars, `The answer is longer than maxChars (${String(maxChars)})`);
}

/** Why there is no whole answer. In an object, since even `undefined` can be thrown. */
function failureOf(verdict: Verdict, { signal }: FromCallOptions): { readonly error: unknown } | undefined {
  if ('error' in verdict) return { error: verdict.error };
  if (verdict.outcome !== 'stopped') return undefined;
  const cause: unknown = verdict.by === 'signal' ? signal?.reason : undefined;
  return { error: new AbortError('The stream was stopped before its end', { cause }) };
}

class Collecting {
  text = '';
  /** Of everything that was taken. */
  chars = 0;
  #thinking = '';
  #refusal = '';
  readonly #toolCalls: ToolCallEvent[] = [];
  readonly #media: MediaEvent[] = [];
  readonly #logs: LogEvent[] = [];
  #output: { readonly output?: unknown } = {};
  #finish: FinishEvent = { type: 'finish', reason: 'unknown' };
  readonly #index: number | undefined;
  readonly #isSelected: ReturnType<typeof selectOutput>;
  readonly #isSelectedThinking: ReturnType<typeof selectOutput>;
  readonly #isSelectedRefusal: ReturnType<typeof selectOutput>;

  constructor({ index, name }: OutputSelection) {
    this.#index = index;
    this.#isSelected = selectOutput({ index, name });
    this.#isSelectedThinking = selectOutput({ index });
    this.#isSelectedRefusal = selectOutput({ index });
  }

  take(event: StreamEvent): void {
    this.chars += charsOf(event);
    switch (event.type) {
      case 'text':
        if (this.#isSelected(event)) this.text += event.text;
        break;
      case 'thinking':
        if (this.#isSelectedThinking(event)) this.#thinking += event.text;
        break;
      case 'refusal':
        if (this.#isSelectedRefusal(event)) this.#refusal += event.text;
        break;
      case 'tool-call':
        // An answer may have many calls: all of them are wanted, but of one choice only.
        if (this.#index === undefined ? event.alternative !== true : event.index === this.#index) {
          this.#toolCalls.push(event);
        }
        break;
      case 'media':
        this.#media.push(event);
        break;
      case 'log':
        this.#logs.push(event);
        break;
      case 'output':
        this.#output = { output: event.value };
        break;
      case 'finish':
        this.#finish = event;
        break;
      default: // the rest is in the receipt, or tells of the way and not of the answer
    }
  }

  received(): Received {
    return { text: this.text, chars: this.text.length, truncated: false };
  }

  collected(receipt: Receipt): Collected {
    return {
      text: this.text,
      thinking: this.#thinking,
      refusal: this.#refusal,
      toolCalls: this.#toolCalls,
      media: this.#media,
      logs: this.#logs,
      ...this.#output,
      usage: receipt.usage,
      finish: this.#finish,
      receipt,
    };
  }
}
