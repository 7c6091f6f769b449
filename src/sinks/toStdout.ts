import { io } from '#io';
import type { Observable, OperatorFunction, Subscriber, Subscription } from 'rxjs';
import { SinkError } from '../errors.js';
import { type Ending, Evidence, type Verdict } from '../internal/evidence.js';
import { leaveAs } from '../internal/flow.js';
import { ignoreFurtherErrors } from '../internal/ignoreFurtherErrors.js';
import type { TextOutput } from '../internal/io.js';
import { draw, operate } from '../internal/operate.js';
import { type OutputSelection, selectOutput } from '../internal/selectOutput.js';
import { listenToOutput } from '../internal/outputListeners.js';
import { addFailure, tellEnding } from '../internal/tellEnding.js';
import { wholeText } from '../internal/wholeText.js';
import type { Receipt, StreamEvent } from '../types.js';

/** What `toStdout` shows. @public */
export interface ToStdoutOptions extends OutputSelection {
  /**
   * What to do with the model's reasoning: leave it out, show it dim on a terminal (elsewhere it is left out), or show it as
   * lines of its own that begin with `prefix`.
   * @defaultValue `'hide'`
   */
  readonly thinking?: 'hide' | 'dim' | { readonly prefix: string } | undefined;
  /** Where to write. @defaultValue `process.stdout` */
  readonly stream?: TextOutput | undefined;
}

/**
 * Prints one stream's text as it arrives.
 *
 * ```text
 * source    -a--b--c|
 * screen    -a--b--c
 * result    ---------(r|)      r = receipt, when the last byte is out
 * ```
 * Takes StreamEvents (the text of the first output, or of the one selected) or strings. Emits one receipt and completes: when
 * the stream is complete, stopped by `stopOn`, or when the reader of a pipe has left (EPIPE, or the stream was closed; outcome
 * `stopped` by `reader`, the request is aborted). Errors with the source's error, InterruptedError where the source completed before its proven end, or
 * SinkError; each carries `receipt`. A `restart` after something was shown is a marked seam on a terminal; on a pipe, where text
 * cannot be unsaid, a SinkError.
 * The receipt counts what the output was given. Unsubscribing stops the source and emits nothing. Holds nothing beyond the stream's own buffer: a full one pauses the socket.
 *
 * @example
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(toStdout({ thinking: 'dim' })).subscribe();
 * ```
 * @param options - see {@link ToStdoutOptions}
 * @returns an operator; nothing is written before it is subscribed to
 * @throws TypeError outside Node unless a `stream` is given, and for a `thinking` that is none
 * @public
 */
export function toStdout(options: ToStdoutOptions = {}): OperatorFunction<StreamEvent | string, Receipt> {
  const output = options.stream ?? io.stdout?.();
  if (output === undefined) {
    throw new TypeError(
      'toStdout needs a standard output, which only Node has; give a `stream`, or use toTokens() in a page',
    );
  }
  const { thinking = 'hide' } = options;
  if (
    thinking !== 'hide' &&
    thinking !== 'dim' &&
    typeof (thinking as Partial<typeof thinking> | null)?.prefix !== 'string'
  ) {
    throw new TypeError(`thinking must be 'hide', 'dim' or { prefix: string }, got ${JSON.stringify(thinking)}`);
  }
  return operate((source, subscriber) => {
    new StdoutSink(output, options, subscriber).start(source);
  });
}

const DIM = '\u001b[2m';
const UNDIM = '\u001b[22m';

class StdoutSink {
  readonly #output: TextOutput;
  readonly #options: ToStdoutOptions;
  readonly #subscriber: Subscriber<Receipt>;
  readonly #thinking: 'hide' | 'dim' | { readonly prefix: string };
  readonly #evidence = new Evidence('sink');
  readonly #encoder = new TextEncoder();

  #upstream: Subscription | undefined;
  #stopListening: (() => void) | undefined;
  #ending: Ending = { kind: 'left' };
  /** Set when the output takes nothing more, to what that means. */
  #lost: Verdict | undefined;
  #isFull = false;
  #isOver = false;
  #isTold = false;
  #unwritten = 0;
  /** First half of a surrogate pair whose other half has not come. */
  #half = '';
  #chars = 0;
  #bytes = 0;
  #isThinking = false;
  #atLineStart = true;
  #answer: Answer;

  constructor(output: TextOutput, options: ToStdoutOptions, subscriber: Subscriber<Receipt>) {
    const { thinking = 'hide' } = options;
    this.#output = output;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#thinking = thinking === 'dim' && output.isTTY !== true ? 'hide' : thinking;
    this.#answer = beginAnswer(options, 0, 0);
  }

  start(source: Observable<StreamEvent | string>): void {
    this.#stopListening = listenToOutput(this.#output, {
      onDrain: this.#onDrain,
      onClose: this.#onReaderLeft,
      onError: this.#onError,
    });
    draw<StreamEvent | string>(source, this.#subscriber, this.#evidence.scope, (upstream) => {
      this.#upstream = upstream;
      return {
        next: (item) => {
          try {
            this.#take(item);
          } catch (error) {
            // Not the subscriber's yet: it hears of it when the last byte is out.
            this.#ending = { kind: 'error', error };
            upstream.unsubscribe();
          }
        },
        error: (error) => {
          this.#evidence.currentFlow();
          this.#ending = { kind: 'error', error };
        },
        complete: () => {
          this.#evidence.currentFlow();
          this.#ending = { kind: 'complete' };
        },
        left: () => {
          this.#evidence.scope.release();
          this.#isOver = true;
          this.#write(this.#endOfThinking());
          this.#settle();
        },
      };
    });
  }

  readonly #onDrain = (): void => {
    this.#isFull = false;
    this.#evidence.scope.release();
  };

  readonly #onError = (error: Error & { code?: string }): void => {
    ignoreFurtherErrors(this.#output);
    const { code, message } = error;
    if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED') {
      this.#onReaderLeft();
      return;
    }
    const failure = new SinkError(`Standard output could not be written: ${message}`, {
      context: { code },
      cause: error,
    });
    this.#lose({ outcome: 'failed', error: failure });
  };

  /** Nobody reads what comes, which is an ending and not a failure. */
  readonly #onReaderLeft = (): void => {
    this.#lose({ outcome: 'stopped', by: 'reader' });
  };

  #lose(verdict: Verdict): void {
    if (this.#lost !== undefined) return;
    this.#lost = verdict;
    leaveAs('stop', verdict.by ?? 'unsubscribe', () => {
      this.#upstream?.unsubscribe();
    });
    this.#settle();
  }

  #take(item: StreamEvent | string): void {
    this.#evidence.note(item);
    if (typeof item === 'string') this.#showText(item);
    else if (item.type === 'text') {
      if (this.#answer.hasText(item)) this.#showText(item.text);
    } else if (item.type === 'thinking') {
      if (this.#answer.hasThinking(item)) this.#showThinking(item.text);
    } else if (item.type === 'restart') this.#restart(item.because);
    else if (item.type === 'finish') this.#answer = beginAnswer(this.#options, this.#chars, this.#bytes);
  }

  #showText(text: string): void {
    this.#chars += text.length;
    this.#write(this.#endOfThinking() + text);
  }

  #showThinking(text: string): void {
    if (this.#thinking === 'hide') return;
    const seam = this.#isThinking || this.#atLineStart ? '' : '\n';
    if (this.#thinking === 'dim') this.#write(seam + (this.#isThinking ? text : DIM + text));
    else {
      const { prefix } = this.#thinking;
      const first = this.#isThinking && !this.#atLineStart ? '' : prefix;
      this.#write(seam + first + text.replace(/\n(?!$)/g, `\n${prefix}`));
    }
    this.#isThinking = true;
  }

  /** What has to be written between thinking and anything else; nothing where there was none. */
  #endOfThinking(): string {
    if (!this.#isThinking) return '';
    this.#isThinking = false;
    return (this.#thinking === 'dim' ? UNDIM : '') + (this.#atLineStart ? '' : '\n');
  }

  /** An answer of which nothing was shown may begin anew unseen. */
  #restart(because: string): void {
    const { chars, bytes } = this.#answer;
    this.#half = '';
    if (this.#bytes > bytes) {
      if (this.#output.isTTY !== true) {
        throw new SinkError(`The answer began anew (${because}), and what a pipe was given cannot be unsaid`);
      }
      const end = this.#endOfThinking();
      this.#write(
        `${end}${this.#atLineStart || end.endsWith('\n') ? '' : '\n'}--- the answer begins anew: ${because} ---\n`,
      );
    }
    this.#chars = chars;
    this.#answer = beginAnswer(this.#options, chars, this.#bytes);
  }

  #write(text: string): void {
    const joined = this.#half + text;
    const whole = this.#isOver ? joined : wholeText(joined);
    this.#half = joined.slice(whole.length);
    if (whole === '' || this.#lost !== undefined) return;
    this.#atLineStart = whole.endsWith('\n');
    this.#bytes += this.#encoder.encode(whole).length;
    this.#unwritten += 1;
    const hasRoom = this.#output.write(whole, (error) => {
      this.#unwritten -= 1;
      // The error event of the same failure comes later, when nobody may be listening any more.
      if (error) this.#onError(error);
      this.#settle();
    });
    if (!hasRoom) this.#isFull = true;
    if (this.#isFull && !this.#isOver) this.#evidence.scope.pause();
  }

  /** Tells the end once the source is gone and the last byte is out, or never will be. */
  #settle(): void {
    if (!this.#isOver || this.#isTold || (this.#unwritten > 0 && this.#lost === undefined)) return;
    this.#isTold = true;
    this.#stopListening?.();
    const judged = this.#evidence.judge(this.#ending);
    const verdict = this.#lost === undefined ? judged : addFailure(judged, this.#lost);
    const written = { where: 'stdout', chars: this.#chars, bytes: this.#bytes };
    tellEnding(this.#evidence, this.#subscriber, verdict, this.#evidence.receipt(verdict, written));
  }
}

/** One answer on its way, and what was shown before it. */
interface Answer {
  readonly hasText: ReturnType<typeof selectOutput>;
  readonly hasThinking: ReturnType<typeof selectOutput>;
  readonly chars: number;
  readonly bytes: number;
}

function beginAnswer(options: OutputSelection, chars: number, bytes: number): Answer {
  return { hasText: selectOutput(options), hasThinking: selectOutput({ index: options.index }), chars, bytes };
}
