import { asyncScheduler, Observable, type OperatorFunction, type SchedulerLike, type Subscription } from 'rxjs';
import { attachReceipt } from '../internal/attachReceipt.js';
import { Ear } from '../internal/ear.js';
import { type Ending, Evidence } from '../internal/evidence.js';
import { draw, operate } from '../internal/operate.js';
import { requireAtLeast } from '../internal/require.js';
import type { OutputSelection } from '../internal/selectOutput.js';
import { StreamRecord, type StreamState } from '../internal/streamRecord.js';
import type { Dialect } from '../protocol/dialect.js';
import type { StreamEvent } from '../types.js';

/** What a state shows, and how much. @public */
export interface StreamStateOptions<Turn = unknown> extends OutputSelection {
  /**
   * Log lines that are kept, at least 1; beyond it the oldest are dropped and counted in `droppedLogs`.
   * @defaultValue 1,000 (chosen: a page makes an element of each)
   */
  readonly maxLogs?: number | undefined;
  /**
   * Characters that a state may hold: text, refusals, thinking, tool arguments and results, log lines and media that are text. One more is a
   * LimitError, which stops the source and is the last state's `error`. At least 1. A restart begins to count anew.
   * @defaultValue no limit: the answer is as long as was asked for
   */
  readonly maxChars?: number | undefined;
  /**
   * Builds the turn that `toRequest` gives, and tells its type.
   * @defaultValue the dialect of the call or of `decode` above; needed only for events that come from elsewhere
   */
  readonly dialect?: Dialect<Turn> | undefined;
  /** The clock of heartbeats. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Shows a stream as a screen does: after each event what has come so far, and where the stream is, to its end whatever that is.
 *
 * ```text
 * source    ---s--a--b--(f|)      s = status, a, b = text, f = finish
 * result    c--w--x--y--(zd)      c = connecting, w = waiting, x, y, z = streaming, d = complete; then it completes
 *
 * source    ---a--#
 * result    c--x--(d|)            d = failed or interrupted, with `error` and all the text that came
 * ```
 * It knows neither DOM nor framework: the hooks of `millrace/react` stand on it, and a binding to another framework is a few lines. A
 * {@link StreamState} never changes, and shares with the one before what stayed as it was. A string is a piece of text.
 *
 * The phase is `connecting` from the start, `waiting` when an answer's headers come (heard from the call or request above; without one, at
 * the first item), `streaming` at the first content, and in the end the stream's outcome: `complete`, `failed`, `interrupted` or `stopped`. While a lost
 * connection is replaced (`retryOnDisconnect` above) it is `connecting` again, and the text stays. A restart empties text, refusal,
 * thinking, tool calls and their results, outputs, progress and `finish`; state, logs, warnings, heartbeats and usage are facts that happened, and stay.
 *
 * Emits a state at once, one for each event that changes it, and one for the end. Completes after the end. It does not error: a failure is
 * the last state, with `error`; so is a stream that an operator cut in half (`interrupted`). Only a `tapReceipt` below that throws is
 * an error. To stop it on purpose put `stopOn` above: its last state is `stopped` and tells by `billing` whether the work is stopped
 * too. Unsubscribing stops the source, and shows nothing more. Holds the whole answer, unless `maxChars` is given, the newest `maxLogs` log
 * lines (at most twice as many while old ones wait to be let go) and 100 warnings. Costs the same for each event however long the text
 * and the log are; of other lists the one that changed is copied.
 *
 * @example Any framework, or none
 * ```ts
 * const stop = new Subject<void>();
 * const states = fromCall(call, { retry: { count: 3 } }).pipe(stopOn(stop), streamState());
 * states.subscribe(({ phase, text, error, billing }) => {
 *   log(phase === 'stopped' && billing !== 'ended' ? 'stopped reading' : phase, text, error);
 * });
 * ```
 * @param options - see {@link StreamStateOptions}
 * @returns an operator
 * @throws RangeError for a `maxLogs` or `maxChars` below 1
 * @public
 */
export function streamState<Turn = unknown>(
  options: StreamStateOptions<Turn> = {},
): OperatorFunction<StreamEvent | string, StreamState<Turn>> {
  const { maxLogs = 1_000, maxChars = Infinity, dialect, scheduler = asyncScheduler } = options;
  requireAtLeast(1, { maxLogs, maxChars });
  return operate((source, subscriber) => {
    const { index, name } = options;
    const record = new StreamRecord<Turn>({ maxLogs, maxChars, dialect, index, name }, scheduler.now());
    const show = (): void => {
      subscriber.next(record.state());
    };
    show();
    if (subscriber.closed) return;

    const evidence = new Evidence('sink');
    let ending: Ending = { kind: 'left' };
    let ear: Ear | undefined;
    /** Set while it is to be seen whether a connection that was lost ends the stream. */
    let looking: Subscription | undefined;
    const lookAgain = (): void => {
      if (ear?.hasHeaders !== false) return;
      record.onReconnect();
      show();
    };
    const heard = new Observable<StreamEvent | string>((items) => {
      const listening = new Ear({
        onHeaders: () => {
          if (record.onHeaders()) show();
        },
        onBreak: () => {
          // An end of the stream itself comes on this stack.
          looking?.unsubscribe();
          looking = scheduler.schedule(lookAgain, 0);
        },
      });
      ear = listening;
      items.add(() => {
        listening.close();
        looking?.unsubscribe();
      });
      listening.within(() => {
        source.subscribe(items);
      });
    });

    draw<StreamEvent | string>(heard, subscriber, evidence.scope, (upstream) => ({
      next: (item) => {
        ear?.onItem();
        looking?.unsubscribe();
        evidence.note(item);
        let isChanged: boolean;
        try {
          isChanged = record.take(item, evidence.currentFlow(), scheduler.now());
        } catch (error) {
          ending = { kind: 'error', error };
          upstream.unsubscribe();
          return;
        }
        if (isChanged) show();
      },
      error: (error) => {
        evidence.currentFlow();
        ending = { kind: 'error', error };
      },
      complete: () => {
        evidence.currentFlow();
        ending = { kind: 'complete' };
      },
      left: () => {
        const hasLeft = subscriber.closed;
        const verdict = evidence.judge(ending);
        const { outcome, error } = verdict;
        const receipt = evidence.receipt(verdict, { where: 'none', chars: record.chars, bytes: 0 });
        try {
          evidence.report(receipt);
        } catch (thrown) {
          if (hasLeft) throw thrown; // nobody but the process can hear of a callback's throw
          subscriber.error(thrown);
          return;
        }
        if (hasLeft) return;
        const isFailure = 'error' in verdict && outcome !== 'stopped';
        record.end(outcome, isFailure ? { error: attachReceipt(error, receipt) } : {}, receipt);
        show();
        subscriber.complete();
      },
    }));
  });
}
