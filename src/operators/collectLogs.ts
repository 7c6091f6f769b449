import { asyncScheduler, type OperatorFunction, type SchedulerLike } from 'rxjs';
import { link, operate } from '../internal/operate.js';
import { requireAtLeast, requireOneOf } from '../internal/require.js';
import { TaskRecord, type TaskSummary, type TaskUpdate } from '../internal/taskSummary.js';
import type { StreamEvent } from '../types.js';

/** When `collectLogs` emits, and how much it keeps. @public */
export interface CollectLogsOptions {
  /** `'final'`: once, at the end. `'running'`: at every change too. @defaultValue `'final'` */
  readonly mode?: 'final' | 'running' | undefined;
  /**
   * Lines that are kept, at least 1; beyond it the oldest are dropped and counted in `droppedLogs`.
   * @defaultValue 10,000 (chosen)
   */
  readonly maxLogs?: number | undefined;
  /** The clock of all times. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Gathers what a task told into one summary: its log in order, its states with their times, its output, how long it took.
 *
 * ```text
 * source    -s-l-l-p-o-(f|)    s = status, l = log, p = progress, o = output, f = finish
 * final     -----------(x|)    x = the summary
 * running   -a-b-c-d-e-(gx|)   a to g = the summary so far
 * ```
 * Takes the events of a call and, alike, the task objects that inference.sh's own SDKs hand out. Log lines are told apart from
 * those sent again: a line with an id is there once, and is replaced in its place where its content changed (or lengthened, where
 * only its new end was told); of a list of strings, what follows the longest common beginning with the list before is new; a bare
 * string is one new line, so genuine repeats are kept. A restart voids output, text and progress; log and states are facts that
 * happened, and stay. `startedAt` is the subscription, `endedAt` the terminal state or, without one, the end of the stream.
 *
 * Emits one summary when the source completes, an empty one included; in `running` mode also one at each event that changes it,
 * which does not change afterwards. A task object that says `failed` is no error of the stream: see `status` and `error` of the
 * summary. Completes with the source. Errors with the source's error, after a summary that describes it. Unsubscribing stops the
 * source. Holds `maxLogs` lines (at most twice as many while old ones wait to be let go), the ids of 65,536 lines (or of
 * `maxLogs`; at most twice as many), the newest 1,048,576 characters of text, 1,000 states, the last output, and the last list
 * of strings. An emission costs the same however long the log is: `logs` is copied when it is first read. Only a line that is
 * replaced costs a copy of the list, and text beyond its bound a copy of it.
 *
 * @example The log of a task, whole, with times
 * ```ts
 * const api = inferencesh({ apiKey });
 * fromCall(api.run({ app: 'infsh/flux', input: { prompt: 'A sunset' } })).pipe(collectLogs()).subscribe({
 *   next: ({ logs, statuses, durationMs, output }) => log(logs, statuses, durationMs, output),
 *   error: report,
 * });
 * ```
 * @example A processor of one's own: logs, status, partial output, and a callback for progress
 * ```ts
 * const task = inferencesh({ apiKey }).run({ app: 'infsh/flux', input: { prompt: 'A sunset' } });
 * const start = { status: 'new', logs: [] as readonly string[], output: undefined as unknown };
 * const states = fromCall(task).pipe(
 *   tapEvents({ progress: ({ current, total }) => log(current, total) }),
 *   scan((state, event) => {
 *     if (event.type === 'status') return { ...state, status: event.status };
 *     if (event.type === 'log') return { ...state, logs: [...state.logs, event.message] };
 *     return event.type === 'output' ? { ...state, output: event.value } : state;
 *   }, start),
 * );
 * states.subscribe((state) => log(state.status, state.logs.at(-1), state.output));
 * ```
 * @param options - see {@link CollectLogsOptions}
 * @returns an operator
 * @throws TypeError for a mode that is none; RangeError for `maxLogs` below 1
 * @public
 */
export function collectLogs(options: CollectLogsOptions = {}): OperatorFunction<StreamEvent | TaskUpdate, TaskSummary> {
  const { mode = 'final', maxLogs = 10_000, scheduler = asyncScheduler } = options;
  requireOneOf('mode', mode, ['final', 'running']);
  requireAtLeast(1, { maxLogs });
  return operate((source, subscriber) => {
    const record = new TaskRecord(scheduler.now(), maxLogs);
    const emit = (): void => {
      subscriber.next(record.summary(scheduler.now()));
    };
    source.subscribe(
      link<StreamEvent | TaskUpdate>(subscriber, {
        next: (item) => {
          if (record.note(item, scheduler.now()) && mode === 'running') emit();
        },
        error: (error) => {
          record.fail(error, scheduler.now());
          emit();
          subscriber.error(error);
        },
        complete: () => {
          record.end(scheduler.now());
          emit();
          subscriber.complete();
        },
      }),
    );
  });
}
