import { LimitError } from '../errors.js';
import type { Dialect } from '../protocol/dialect.js';
import type {
  Billing,
  Cost,
  FinishEvent,
  LogEvent,
  Outcome,
  ProgressEvent,
  Receipt,
  StreamEvent,
  ToolCallEvent,
  ToolResultEvent,
  Usage,
  WarningEvent,
} from '../types.js';
import { charsOf } from './charsOf.js';
import type { Flow } from './flow.js';
import { GrowingList } from './growingList.js';
import { addToMessage, emptyMessage, type MessageOutput, type ToolCallPreview } from './message.js';
import { type OutputSelection, selectOutput } from './selectOutput.js';
import { signOf } from './signOf.js';
import { TaskRecord, type TaskSummary } from './taskSummary.js';
import { TurnLog } from './turnLog.js';

/**
 * Where a stream is. `idle`: nothing was asked. `connecting`: asked, and no answer yet; also while a connection that was lost is
 * replaced. `waiting`: the answer's headers are there, its content is not; a task's state, such as `queued`, is none. `streaming`: content
 * comes. Then one of the four outcomes.
 * @public
 */
export type StreamPhase = 'idle' | 'connecting' | 'waiting' | 'streaming' | Outcome;

/** The last sign of life that is no content. @public */
export interface StreamHeartbeat {
  /** What the server wrote in it, which may be nothing. */
  readonly comment: string;
  /** When it came, in epoch milliseconds. */
  readonly at: number;
  /** How many came so far. */
  readonly count: number;
}

/**
 * All that a screen shows of a stream, as far as it has come. It never changes: what comes next is in another one, which shares every
 * part that stayed as it was, so that `===` tells what to render anew.
 * @public
 */
export interface StreamState<Turn = unknown> {
  readonly phase: StreamPhase;
  /** The text of the first output, or of the one selected. */
  readonly text: string;
  /** The reasoning; that of alternative answers is left out. */
  readonly thinking: string;
  /** The words in which the model declined; those of alternative answers are left out. */
  readonly refusal: string;
  /** Every output in the order in which they began: texts, refusals and media, alternative answers too. */
  readonly outputs: readonly MessageOutput[];
  /** The tool calls that are whole. */
  readonly toolCalls: readonly ToolCallEvent[];
  /** The tool calls that are still arriving: to be shown, not to be run. One that was cut stays here. */
  readonly toolCallPreviews: readonly ToolCallPreview[];
  /** What tools gave back. A later result of a call replaces a preliminary one. */
  readonly toolResults: readonly ToolResultEvent[];
  /** A task's state, in the provider's words. */
  readonly status?: string;
  /** The id of the task or the answer, where the provider tells it with its state. */
  readonly id?: string;
  readonly progress?: Omit<ProgressEvent, 'type'>;
  /** A task's log, in order; the newest lines where there were more than `maxLogs`. */
  readonly logs: readonly LogEvent[];
  /** How many of the oldest lines are left out. */
  readonly droppedLogs: number;
  /** A task's result or, before there is one, the last snapshot of it. */
  readonly output?: unknown;
  /** The provider's last word; at the end that of all attempts, added up. Unknown, which is not zero, where it is absent. */
  readonly usage?: Usage;
  /** As in `usage`. */
  readonly cost?: Cost;
  /** Present when the provider has told why the answer ended. */
  readonly finish?: FinishEvent;
  /** The newest 100. */
  readonly warnings: readonly WarningEvent[];
  /** Absent until one has come. */
  readonly heartbeat?: StreamHeartbeat;
  /** How often the answer has begun anew, which emptied text, thinking, tool calls and outputs. */
  readonly restarts: number;
  /** Why it `failed`, or was `interrupted`. */
  readonly error?: unknown;
  /**
   * Whether the work goes on being billed; present when the stream is over. A stopped stream whose bill has not `ended` has only
   * stopped being read.
   */
  readonly billing?: Billing;
  /** All that is known of the end; present when the stream is over. */
  readonly receipt?: Receipt;
  /**
   * The answer as the assistant's turn of the next request, in the provider's own form: signatures, ids and arguments are in it byte
   * for byte. Of an answer that is not complete its text alone: APIs refuse calls that nobody answered, and thoughts without
   * their end. Absent where the dialect of the events is not known or knows no conversation. Not enumerable, since it is nothing that is
   * shown.
   */
  readonly toRequest?: () => Turn;
}

/** The state of a stream that was not asked for: what a screen shows first. @public */
export const idleStreamState: StreamState = {
  phase: 'idle',
  text: '',
  thinking: '',
  refusal: '',
  outputs: [],
  toolCalls: [],
  toolCallPreviews: [],
  toolResults: [],
  logs: [],
  droppedLogs: 0,
  warnings: [],
  restarts: 0,
};

/** Warnings that a state shows; more are a symptom, not news. As a receipt has them. */
const MAX_WARNINGS = 100;

/** What a record is made for. */
export interface StreamRecordOptions<Turn> extends OutputSelection {
  readonly maxLogs: number;
  readonly maxChars: number;
  readonly dialect: Dialect<Turn> | undefined;
}

/** The members of a state that are absent until there is something to say. */
type Told = Partial<
  Pick<StreamState, 'status' | 'id' | 'progress' | 'output' | 'usage' | 'cost' | 'finish' | 'heartbeat'>
>;

/** How it ended. */
type End = Partial<Pick<StreamState, 'error' | 'billing' | 'receipt'>>;

/** What states are made of, while a stream goes on. It is told the time, and asked for a state when there is somebody to show it to. */
export class StreamRecord<Turn> {
  readonly #options: StreamRecordOptions<Turn>;
  #phase: StreamPhase = 'connecting';
  #message = emptyMessage();
  #text = '';
  #refusal = '';
  #isSelected: ReturnType<typeof selectOutput>;
  #chars = 0;
  /** What is told of a task. Text does not go there. */
  readonly #task: TaskRecord;
  #summary: TaskSummary;
  readonly #warnings: GrowingList<WarningEvent> = new GrowingList(MAX_WARNINGS);
  #heartbeat: StreamHeartbeat | undefined;
  #told: Told = {};
  #end: End = {};
  readonly #log = new TurnLog();
  #dialect: Dialect<Turn> | undefined;
  #answering: Flow | undefined;

  constructor(options: StreamRecordOptions<Turn>, now: number) {
    this.#options = options;
    this.#isSelected = selectOutput(options);
    this.#task = new TaskRecord(now, options.maxLogs);
    this.#summary = this.#task.summary(now);
  }

  get phase(): StreamPhase {
    return this.#phase;
  }

  /** How much text of the answer there is. */
  get chars(): number {
    return this.#text.length;
  }

  /** The headers came; true where that is news. */
  onHeaders(): boolean {
    if (this.#phase !== 'connecting') return false;
    this.#phase = 'waiting';
    return true;
  }

  /** There is no connection any more, and there will be another. */
  onReconnect(): void {
    this.#phase = 'connecting';
  }

  /**
   * Takes what came; true where it changed the state.
   * @param flow - who delivers it
   */
  take(item: StreamEvent | string, flow: Flow | undefined, now: number): boolean {
    const event: StreamEvent = typeof item === 'string' ? { type: 'text', text: item, index: 0, name: 'output' } : item;
    const before = this.#phase;
    const isChanged = this.#add(event, now);
    this.#logTurn(event, flow);
    if (event.type === 'restart') this.#phase = 'waiting';
    else if (isContent(event)) this.#phase = 'streaming';
    else if (before === 'connecting') this.#phase = 'waiting';
    return isChanged || this.#phase !== before;
  }

  /** The stream is over. */
  end(outcome: Outcome, error: { readonly error?: unknown }, receipt: Receipt): void {
    const { billing, usage } = receipt;
    this.#phase = outcome;
    this.#end = { ...error, billing, receipt };
    // A receipt adds up what each attempt has told; one that knows nothing adds nothing.
    if (usage.provenance !== 'unknown') this.#told = { ...this.#told, ...usageOf(usage) };
  }

  /** What is known now. */
  state(): StreamState<Turn> {
    const summary = this.#summary;
    const { outputs, thinking, toolCalls, toolCallPreviews, toolResults = NONE, restarts } = this.#message;
    const state: StreamState<Turn> = {
      phase: this.#phase,
      text: this.#text,
      thinking,
      refusal: this.#refusal,
      outputs,
      toolCalls,
      toolCallPreviews,
      toolResults,
      get logs() {
        return summary.logs; // copied when it is first read
      },
      droppedLogs: summary.droppedLogs,
      warnings: this.#warnings.view()(),
      restarts,
      ...this.#told,
      ...this.#end,
    };
    const turn = this.#dialect?.turn;
    if (turn === undefined) return state;
    const events = this.#log.view();
    const isWhole = this.#phase === 'complete';
    return Object.defineProperty(state, 'toRequest', {
      value: () => turn.build(isWhole ? events() : events().filter(({ type }) => type === 'text')),
    });
  }

  /** True where the event changed what is shown. Throws at the limit, before anything is changed. */
  #add(event: StreamEvent, now: number): boolean {
    const message = addToMessage(this.#message, event);
    if (message !== this.#message || event.type === 'log') {
      const added =
        charsOf(event) + previewChars(message.toolCallPreviews) - previewChars(this.#message.toolCallPreviews);
      const chars = event.type === 'restart' ? 0 : this.#chars + added;
      if (chars > this.#options.maxChars) throw this.#tooLong();
      this.#chars = chars;
    }
    const isChanged = message !== this.#message;
    this.#message = message;
    switch (event.type) {
      case 'text':
        if (this.#isSelected(event)) this.#text += event.text;
        return isChanged;
      case 'refusal':
        if (event.alternative !== true) this.#refusal += event.text;
        return isChanged;
      case 'restart':
        this.#text = '';
        this.#refusal = '';
        this.#isSelected = selectOutput(this.#options); // the new answer may name its outputs otherwise
        return this.#note(event, now);
      case 'status':
      case 'progress':
      case 'log':
      case 'output':
      case 'usage':
      case 'finish':
        return this.#note(event, now);
      case 'heartbeat':
        this.#heartbeat = { comment: event.comment, at: now, count: (this.#heartbeat?.count ?? 0) + 1 };
        this.#told = { ...this.#told, heartbeat: this.#heartbeat };
        return true;
      case 'warning':
        this.#warnings.add(event);
        return true;
      default:
        return isChanged;
    }
  }

  /** A task's record knows what a log line, a state or a snapshot changes, and what a restart leaves: what happened, and what it cost. */
  #note(event: StreamEvent, now: number): boolean {
    if (!this.#task.note(event, now)) return false;
    this.#summary = this.#task.summary(now);
    const { status, id, progress, usage } = this.#summary;
    const { finish } = this.#message;
    this.#told = {
      ...(status !== undefined && { status }),
      ...(id !== undefined && { id }),
      ...(progress !== undefined && { progress }),
      ...('output' in this.#summary && { output: this.#summary.output }),
      ...(usage !== undefined && usageOf(usage)),
      ...(finish !== undefined && { finish }),
      ...(this.#heartbeat !== undefined && { heartbeat: this.#heartbeat }),
    };
    return true;
  }

  #logTurn(event: StreamEvent, flow: Flow | undefined): void {
    // Another answer after one that is whole: another turn of the conversation.
    if (flow !== this.#answering && this.#answering?.proven === true) this.#log.clear();
    this.#answering = flow;
    const dialect = flow?.facts.dialect as Dialect<Turn> | undefined; // the caller's word for its type
    this.#dialect = this.#options.dialect ?? dialect ?? this.#dialect; // results of tools come from no dialect
    if (this.#dialect !== undefined) this.#log.add(event, this.#dialect.turn?.needs);
  }

  #tooLong(): LimitError {
    const { maxChars } = this.#options;
    const error = new LimitError('maxChars', maxChars, `The answer is longer than maxChars (${String(maxChars)})`);
    error.received = { text: this.#text, chars: this.#text.length, truncated: false };
    return error;
  }
}

const NONE: readonly ToolResultEvent[] = [];

/** An empty string may come from a stream of strings. */
function isContent(event: StreamEvent): boolean {
  return signOf(event) === 'content' && !('text' in event && event.text === '');
}

function usageOf(usage: Usage): Told {
  return usage.cost === undefined ? { usage } : { usage, cost: usage.cost };
}

/** Of tool calls that are still arriving: when one is whole, its text counts instead. */
function previewChars(previews: readonly ToolCallPreview[]): number {
  return previews.reduce((chars, { argumentsText }) => chars + argumentsText.length, 0);
}
