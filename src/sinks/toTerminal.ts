import { io } from '#io';
import {
  asyncScheduler,
  type Observable,
  type OperatorFunction,
  type SchedulerLike,
  type Subscriber,
  type Subscription,
} from 'rxjs';
import { SinkError } from '../errors.js';
import { type Ending, Evidence, type Verdict } from '../internal/evidence.js';
import { leaveAs } from '../internal/flow.js';
import type { TerminalOutput } from '../internal/io.js';
import { ignoreFurtherErrors } from '../internal/ignoreFurtherErrors.js';
import { draw, operate } from '../internal/operate.js';
import { listenToOutput } from '../internal/outputListeners.js';
import { requireAtLeast, requireInteger, requireOneOf } from '../internal/require.js';
import type { OutputSelection } from '../internal/selectOutput.js';
import { addFailure, tellEnding } from '../internal/tellEnding.js';
import type { OpenTerminal, TerminalView, ViewSettings } from '../internal/terminalView.js';
import type { Receipt, StreamEvent } from '../types.js';

/** How `toTerminal` shows streams. Of sinks that share a terminal the first decides about frames, rows and logs. @public */
export interface ToTerminalOptions extends OutputSelection {
  /**
   * The stream's name, on its row and in its receipt. Where items have a `key` of their own it stands before theirs.
   * @defaultValue the provider's name
   */
  readonly key?: string | undefined;
  /** Where to show it. @defaultValue `process.stdout` */
  readonly stream?: TerminalOutput | undefined;
  /**
   * Rows that are redrawn in place, or a line for each thing that happens.
   * @defaultValue `'live'` on a terminal, unless `CI` is set or `TERM` is `dumb`; `'lines'` elsewhere
   */
  readonly mode?: 'live' | 'lines' | undefined;
  /** How often the rows are drawn at most, 1 to 60. @defaultValue 10 (chosen: a spinner turns, and it costs 1 % of a processor) */
  readonly maxFramesPerSecond?: number | undefined;
  /**
   * Rows at most, at least 1; never more than the screen has. The streams that have none are summed up in the last.
   * @defaultValue half of the screen's: all have room when it becomes half as wide, and logs are seen above them
   */
  readonly maxRows?: number | undefined;
  /**
   * Lines of logs and warnings that are printed above the rows, at least 1; so many may come at once. What is more is counted and left
   * out, and the screen says so. Lines for a pipe are all printed.
   * @defaultValue 100 (chosen: more than a person reads)
   */
  readonly maxLogLinesPerSecond?: number | undefined;
  /** The clock of all times. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Shows a person at a terminal how streams fare: a row for each, redrawn in place, with its state, a progress bar where the task
 * has one, how much has come and how fast, when the first piece came, and the last words of it.
 *
 * ```text
 * source    -a--b--c|
 * screen    -1--2--3f         1, 2, 3 = the row as it grows; f = the line that stays: outcome, time, usage, cost
 * result    --------(r|)      r = receipt
 * ```
 * Takes StreamEvents (of the text, that of the first output, or of the one selected) or strings; items of `mergeStreams` have a row for
 * each key. All sinks on one output share one screen. Logs and warnings are printed above the rows, and so is a last line of each stream
 * that has ended. Characters are counted, and tokens only where the provider tells them while it answers. No control character of what
 * comes from outside reaches the terminal.
 *
 * Where the output is no terminal, `CI` is set, or `TERM` is `dumb`, it prints lines instead: when a stream starts, has its first
 * content, changes its state, is a tenth further, writes to its log, and ends; none has an escape code. `NO_COLOR` takes colours away,
 * `FORCE_COLOR` gives them to lines too.
 *
 * Emits one receipt and completes: when the stream is complete, stopped by `stopOn`, or when its output was closed (outcome `stopped` by
 * `reader`, the request is aborted). Errors with the source's error, InterruptedError where the source completed before its proven
 * end, or SinkError; each carries `receipt`. Its `chars` are the text that came, its `bytes` are 0: the screen belongs to all.
 * Unsubscribing stops the source, and the screen says so. A slow terminal is given fewer frames and pauses nobody; lines pause the
 * streams that write them. Holds a few numbers and 512 characters for each stream that runs, the lines of one frame, and 10,000
 * lines that wait for a terminal.
 *
 * The cursor is hidden while there are rows, and is there again after them, and when the process ends or sleeps. Meanwhile it listens
 * to the process: to `exit`, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP and SIGCONT. A signal that nobody else listens to does what
 * it always does; one that somebody listens to is left to them. What else writes to the terminal meanwhile is in the rows' way.
 *
 * @example Several streams, one subscription
 * ```ts
 * const streams = mergeStreams({ guide: fromCall(api.chat({ model, messages })), other: fromCall(call) });
 * streams.pipe(toTerminal()).subscribe({ error: report });
 * ```
 * @example A file, and a row that shows how it grows
 * ```ts
 * const answer = fromCall(call).pipe(share());
 * merge(answer.pipe(toFile('guide.md')), answer.pipe(toTerminal({ key: 'guide' }))).subscribe({ error: report });
 * ```
 * @param options - see {@link ToTerminalOptions}
 * @returns an operator; nothing is written before it is subscribed to
 * @throws TypeError outside Node, and for a key or a mode that is none; RangeError for a number out of its range
 * @public
 */
export function toTerminal(options: ToTerminalOptions = {}): OperatorFunction<StreamEvent | string, Receipt> {
  const { terminal } = io;
  const output = options.stream ?? io.stdout?.();
  if (terminal === undefined || output === undefined) {
    throw new TypeError('toTerminal needs a terminal, which only Node has; in a page use toElement() or streamState()');
  }
  const { key, mode, index, name, maxFramesPerSecond = 10, maxRows, maxLogLinesPerSecond = 100 } = options;
  const { scheduler = asyncScheduler } = options;
  if (key !== undefined && typeof key !== 'string') throw new TypeError(`key must be a string, got ${String(key)}`);
  if (mode !== undefined) requireOneOf('mode', mode, ['live', 'lines']);
  requireAtLeast(1, { maxFramesPerSecond, maxLogLinesPerSecond });
  if (maxFramesPerSecond > 60) {
    throw new RangeError(`maxFramesPerSecond must be at most 60, got ${String(maxFramesPerSecond)}`);
  }
  if (maxRows !== undefined) requireInteger(1, { maxRows });
  const settings = { output, key, mode, index, name, maxFramesPerSecond, maxRows, maxLogLinesPerSecond, scheduler };
  return operate((source, subscriber) => {
    new TerminalSink(terminal, settings, subscriber).start(source);
  });
}

class TerminalSink {
  readonly #settings: ViewSettings;
  readonly #subscriber: Subscriber<Receipt>;
  readonly #evidence = new Evidence('sink');
  readonly #view: TerminalView;

  #upstream: Subscription | undefined;
  #stopListening: (() => void) | undefined;
  #ending: Ending = { kind: 'left' };
  /** Set when the output takes nothing more, to what that means. */
  #lost: Verdict | undefined;

  constructor(open: OpenTerminal, settings: ViewSettings, subscriber: Subscriber<Receipt>) {
    this.#settings = settings;
    this.#subscriber = subscriber;
    this.#view = open({ scope: this.#evidence.scope, onError: this.#onError }, settings);
  }

  start(source: Observable<StreamEvent | string>): void {
    this.#stopListening = listenToOutput(this.#settings.output, {
      onDrain: () => {
        this.#view.onDrain();
      },
      onClose: this.#onReaderLeft,
      onError: this.#onError,
    });
    draw<StreamEvent | string>(source, this.#subscriber, this.#evidence.scope, (upstream) => {
      this.#upstream = upstream;
      return {
        next: (item) => {
          try {
            this.#evidence.note(item);
            this.#view.take(item);
          } catch (error) {
            // Not the subscriber's yet: it hears of it when the screen shows it.
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
          const verdict = this.#evidence.judge(this.#ending);
          this.#view.end(this.#receipt(verdict), verdict.error, () => {
            this.#settle(verdict);
          });
        },
      };
    });
    this.#view.begin();
  }

  readonly #onError = (error: Error & { code?: string }): void => {
    const { code, message } = error;
    ignoreFurtherErrors(this.#settings.output);
    // A terminal that was closed is EIO.
    if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED' || code === 'EIO') {
      this.#onReaderLeft();
      return;
    }
    const failure = new SinkError(`The terminal could not be written: ${message}`, { context: { code }, cause: error });
    this.#lose({ outcome: 'failed', error: failure });
  };

  /** Nobody sees what comes, which is an ending and not a failure. */
  readonly #onReaderLeft = (): void => {
    this.#lose({ outcome: 'stopped', by: 'reader' });
  };

  #lose(verdict: Verdict): void {
    if (this.#lost !== undefined) return;
    this.#lost = verdict;
    this.#view.abandon();
    leaveAs('stop', verdict.by ?? 'unsubscribe', () => {
      this.#upstream?.unsubscribe();
    });
  }

  #receipt(verdict: Verdict): Receipt {
    const { key } = this.#settings;
    return this.#evidence.receipt(verdict, { where: 'terminal', key, chars: this.#view.chars, bytes: 0 });
  }

  /** Tells the end: the screen shows it, or never will. */
  #settle(judged: Verdict): void {
    this.#stopListening?.();
    const verdict = this.#lost === undefined ? judged : addFailure(judged, this.#lost);
    tellEnding(this.#evidence, this.#subscriber, verdict, this.#receipt(verdict));
  }
}
