import { readErrorBody, isRecord } from '../protocol/errorBody.js';
import { RecentMap } from '../protocol/recentMap.js';
import { LogReader, MAX_KNOWN_LOGS } from '../protocol/taskLogs.js';
import { readTaskStatus, type TaskStatus } from '../protocol/taskStatus.js';
import { isMillraceError } from '../errors.js';
import type { FinishEvent, LogEvent, ProgressEvent, StreamEvent, Usage } from '../types.js';
import { GrowingList } from './growingList.js';
import { ReceivedText } from './receivedText.js';
import { selectOutput } from './selectOutput.js';

/** How much text a summary keeps; the newest. As `received` of an error. */
const MAX_TEXT_CHARS = 1_048_576;
/** How many changes of state a summary keeps; the newest. Chosen: a task has about ten. */
const MAX_STATUSES = 1_000;

/**
 * A task as inference.sh's SDKs hand it to their callbacks and loops: whole, or the part that changed. Members that are not
 * named here may be there too. A `{data, fields}` envelope is opened.
 * @public
 */
export interface TaskUpdate {
  readonly type?: undefined;
  readonly id?: string | null | undefined;
  /** The number on the wire, or a word such as `running`. */
  readonly status?: number | string | null | undefined;
  /** Lines with ids (`{id, content, log_type, created_at}`), a list of strings that is sent again as it grows, or one new line. */
  readonly logs?: string | readonly unknown[] | null | undefined;
  /** `{current, total, message}`. */
  readonly progress?: unknown;
  readonly partial_output?: unknown;
  readonly output?: unknown;
  readonly error?: unknown;
  /** The changed part, in an envelope. */
  readonly data?: unknown;
  /** The names of what changed, in an envelope. */
  readonly fields?: readonly string[] | null | undefined;
}

/** A state that a task entered. @public */
export interface TaskStatusChange {
  readonly status: string;
  /** The number on the wire, where the provider sends numbers. */
  readonly code?: number;
  /** When it was heard of, in epoch milliseconds. */
  readonly at: number;
}

/** Why a task ended badly. @public */
export interface TaskFailure {
  /** The class of the stream's error; absent where the task itself told the failure. */
  readonly name?: string;
  readonly code?: string | number;
  readonly message: string;
}

/** What is known of a task: at its end, or so far. Times are in milliseconds, those of the clock since the epoch. @public */
export interface TaskSummary {
  readonly id?: string;
  /** The last state; absent where none was told. */
  readonly status?: string;
  /** True when the provider said that nothing follows that state. */
  readonly terminal: boolean;
  /** Every change of state in order; the newest 1,000. */
  readonly statuses: readonly TaskStatusChange[];
  /** The log's lines in order; the newest where there were more than `maxLogs`. */
  readonly logs: readonly LogEvent[];
  /** How many of the oldest lines are left out. */
  readonly droppedLogs: number;
  /** How far the task came. */
  readonly progress?: Omit<ProgressEvent, 'type'>;
  /** The result or, before there is one, the last snapshot of it. */
  readonly output?: unknown;
  /** Text of the first output, where the task streamed text; the newest 1,048,576 characters. */
  readonly text?: string;
  /** Present where `text` is only the end of what was received. */
  readonly textTruncated?: true;
  readonly usage?: Usage;
  /** Present where the task told a proven end. */
  readonly finish?: Omit<FinishEvent, 'type'>;
  readonly error?: TaskFailure;
  /** When the stream was subscribed to. */
  readonly startedAt: number;
  /** When the terminal state came or, without one, when the stream ended. Absent while the task goes on. */
  readonly endedAt?: number;
  /** From `startedAt` to `endedAt`, or until now. */
  readonly durationMs: number;
}

/** What a summary is made of, while the task goes on. Pure: it is told the time. */
export class TaskRecord {
  readonly #startedAt: number;
  readonly #statuses: GrowingList<TaskStatusChange> = new GrowingList(MAX_STATUSES);
  readonly #logs: GrowingList<LogEvent>;
  /** The number of each line in `#logs`, by its id. */
  readonly #known: RecentMap<string, number>;
  readonly #reader: LogReader = new LogReader();
  #text: ReceivedText = new ReceivedText(MAX_TEXT_CHARS);
  #isSelected = selectOutput();
  #id: string | undefined;
  #last: TaskStatus | undefined;
  #progress: Omit<ProgressEvent, 'type'> | undefined;
  #output: { readonly value: unknown; readonly final: boolean } | undefined;
  #usage: Usage | undefined;
  #finish: Omit<FinishEvent, 'type'> | undefined;
  #error: TaskFailure | undefined;
  #terminalAt: number | undefined;
  #endedAt: number | undefined;

  constructor(now: number, maxLogs: number) {
    this.#startedAt = now;
    this.#logs = new GrowingList(maxLogs);
    this.#known = new RecentMap(Math.max(maxLogs, MAX_KNOWN_LOGS));
  }

  /** Takes what came; true where it changed the summary. */
  note(item: StreamEvent | TaskUpdate, now: number): boolean {
    switch (item.type) {
      case 'status': {
        const { status, code, terminal, id } = item;
        return this.#enter({ status, terminal, ...(code !== undefined && { code }) }, id, now);
      }
      case 'log':
        return this.#write(item);
      case 'progress':
        return this.#move(item);
      case 'output':
        return this.#put(item.value, item.final);
      case 'text':
        if (!this.#isSelected(item)) return false;
        this.#text.add(item.text);
        return true;
      case 'usage': {
        const { type: _, ...usage } = item;
        this.#usage = usage;
        return true;
      }
      case 'finish': {
        const { type: _, ...finish } = item;
        this.#finish = finish;
        return true;
      }
      case 'restart':
        this.#beginAnew();
        return true;
      case 'thinking':
      case 'refusal':
      case 'tool-call-delta':
      case 'tool-call':
      case 'tool-result':
      case 'media':
      case 'warning':
      case 'heartbeat':
      case 'raw':
        return false;
      default:
        return this.#read(item, now);
    }
  }

  /** The stream ended. */
  end(now: number): void {
    this.#endedAt = now;
  }

  /** The stream failed. */
  fail(error: unknown, now: number): void {
    this.#error = describe(error);
    this.end(now);
  }

  /** What is known now. It does not change any more; its lists are made when they are first read. */
  summary(now: number): TaskSummary {
    const [statuses, logs] = [this.#statuses.view(), this.#logs.view()];
    const { text, truncated } = this.#text.get();
    const endedAt = this.#terminalAt ?? this.#endedAt;
    return {
      ...(this.#id !== undefined && { id: this.#id }),
      ...(this.#last !== undefined && { status: this.#last.status }),
      terminal: this.#last?.terminal ?? false,
      get statuses() {
        return statuses();
      },
      get logs() {
        return logs();
      },
      droppedLogs: this.#logs.dropped,
      ...(this.#progress !== undefined && { progress: this.#progress }),
      ...(this.#output !== undefined && { output: this.#output.value }),
      ...(text !== '' && { text }),
      ...(truncated && { textTruncated: true }),
      ...(this.#usage !== undefined && { usage: this.#usage }),
      ...(this.#finish !== undefined && { finish: this.#finish }),
      ...(this.#error !== undefined && { error: this.#error }),
      startedAt: this.#startedAt,
      ...(endedAt !== undefined && { endedAt }),
      durationMs: Math.max(0, (endedAt ?? now) - this.#startedAt),
    };
  }

  #enter(read: TaskStatus, id: string | undefined, now: number): boolean {
    const isOther = id !== undefined && this.#id !== undefined && id !== this.#id;
    const isSame = read.status === this.#last?.status && !isOther;
    this.#id = id ?? this.#id;
    if (isSame) return false;
    const { status, code, terminal } = read;
    this.#last = read;
    this.#terminalAt = terminal ? now : undefined;
    this.#statuses.add({ status, ...(code !== undefined && { code }), at: now });
    return true;
  }

  #write({ continues, ...line }: LogEvent): boolean {
    const { id } = line;
    const number = id === undefined ? undefined : this.#known.get(id);
    if (number === undefined) {
      const added = this.#logs.add(line);
      if (id !== undefined) this.#known.set(id, added);
      return true;
    }
    const held = this.#logs.get(number);
    // One that was dropped stays so, whatever it grew by.
    if (held === undefined) return false;
    const message = continues === true ? held.message + line.message : line.message;
    if (message === held.message) return false;
    this.#logs.replace(number, { ...held, ...line, message });
    return true;
  }

  #move({ current, total, message }: Omit<ProgressEvent, 'type'>): boolean {
    const held = this.#progress;
    if (held?.current === current && held.total === total && held.message === message) return false;
    this.#progress = { current, ...(total !== undefined && { total }), ...(message !== undefined && { message }) };
    return true;
  }

  /** A snapshot that comes after the result does not replace it. */
  #put(value: unknown, final: boolean): boolean {
    const held = this.#output;
    if (held !== undefined && ((held.final && !final) || (held.value === value && held.final === final))) return false;
    this.#output = { value, final };
    return true;
  }

  /** What the attempt before had brought of the answer is void. That it ran, what it logged and what it cost stays true. */
  #beginAnew(): void {
    this.#text = new ReceivedText(MAX_TEXT_CHARS);
    this.#isSelected = selectOutput();
    this.#output = undefined;
    this.#progress = undefined;
    this.#finish = undefined;
    this.#error = undefined;
    this.#terminalAt = undefined;
  }

  #read(update: TaskUpdate, now: number): boolean {
    const task =
      isRecord(update.data) && Array.isArray(update.fields) && update.id === undefined ? update.data : update;
    const fields = task === update ? undefined : update.fields;
    const { id, status, logs, progress, partial_output: partial, output, error } = task as TaskUpdate;

    let isChanged = false;
    const note = (changed: boolean): void => {
      isChanged ||= changed;
    };
    const name = typeof id === 'string' ? id : undefined;
    const entered = readTaskStatus(status);
    if (entered !== undefined) note(this.#enter(entered, name, now));
    else this.#id = name ?? this.#id;
    const isNamed = fields?.includes('logs') ?? true;
    if (logs === null || (logs === undefined && fields !== undefined && isNamed)) this.#reader.clear();
    for (const line of this.#reader.read(logs, isNamed)) note(this.#write(line));
    const moved = readProgress(progress);
    if (moved !== undefined) note(this.#move(moved));
    if (isPresent(partial)) note(this.#put(partial, false));
    if (isPresent(output)) note(this.#put(output, entered?.status === 'completed'));
    if (isPresent(error)) {
      const failure = readFailure(error);
      note(failure.message !== this.#error?.message || failure.code !== this.#error.code);
      this.#error = failure;
    }
    return isChanged;
  }
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function readProgress(value: unknown): Omit<ProgressEvent, 'type'> | undefined {
  if (!isRecord(value)) return undefined;
  const { current, total, message } = value;
  if (typeof current !== 'number') return undefined;
  return {
    current,
    ...(typeof total === 'number' && { total }),
    ...(typeof message === 'string' && { message }),
  };
}

/** What a task's `error` says: a sentence, a code, or an object. */
function readFailure(error: unknown): TaskFailure {
  const { code, message } = readErrorBody({ error });
  return {
    ...(code !== undefined && { code }),
    message: message ?? (code === undefined ? 'the provider gave no reason' : String(code)),
  };
}

function describe(error: unknown): TaskFailure {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message } = error;
  return isMillraceError(error) ? { name, code: error.code, message } : { name, message };
}
