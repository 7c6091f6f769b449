/**
 * The vocabulary that several folders share: what the wire parsers emit, and the one set of events that every
 * provider is translated into.
 */

/** One dispatched event of a `text/event-stream` (HTML standard, 9.2.6). @public */
export interface ServerSentMessage {
  readonly type: 'event';
  /** The event's type; `message` when the server named none. Never empty. */
  readonly event: string;
  /** The `data` lines joined by LF. May be empty. */
  readonly data: string;
  /** The last event id at the moment of dispatch. It stays from event to event until the server sets another. */
  readonly id: string;
}

/** A comment line: servers send them to keep a connection alive. Without its colon and one following space. @public */
export interface ServerSentComment {
  readonly type: 'comment';
  readonly comment: string;
}

/** The server asks for this delay before a reconnect. @public */
export interface ServerSentRetry {
  readonly type: 'retry';
  readonly retryMs: number;
}

/** A field that the standard ignores. Kept, since one real server reports its failure in a field named `error`. @public */
export interface ServerSentUnknown {
  readonly type: 'unknown';
  readonly field: string;
  readonly value: string;
}

/** What `parseSSE` emits. Only `event` has `data`. @public */
export type ServerSentEvent = ServerSentMessage | ServerSentComment | ServerSentRetry | ServerSentUnknown;

/** One line of an NDJSON body, what `parseNDJSON` emits. Empty lines are left out. @public */
export interface NDJSONLine {
  readonly type: 'line';
  /** The line's JSON text, without its line end. */
  readonly data: string;
  /** The line's number in the body, from 1; empty lines count. */
  readonly number: number;
  /** Set on a last line without a line end: the body may have been cut inside it. */
  readonly unterminated?: true;
}

/** What a dialect decodes: an event of either framing. @public */
export type WireEvent = ServerSentEvent | NDJSONLine;

/** Where a piece of output belongs. @public */
export interface OutputPlace {
  /** Choice or output item, as the provider numbers them. */
  readonly index: number;
  /** The provider's name for this output; `output` or `thinking` where it has none. */
  readonly name: string;
  /**
   * Set on every choice but the first where a provider answers several times (`n` > 1): such text is another answer, not
   * more of the first one, so `toTokens` and `toFile` leave it out unless its index is asked for.
   */
  readonly alternative?: true;
}

/** Text of the answer, as the model emitted it. Never empty. @public */
export interface TextEvent extends OutputPlace {
  readonly type: 'text';
  readonly text: string;
}

/** The model's reasoning, where the provider shows it. Never empty. @public */
export interface ThinkingEvent extends OutputPlace {
  readonly type: 'thinking';
  readonly text: string;
}

/** Text in which the model declines. Never empty. @public */
export interface RefusalEvent extends OutputPlace {
  readonly type: 'refusal';
  readonly text: string;
}

/** A piece of a tool call's arguments: for preview, not to be run. @public */
export interface ToolCallDeltaEvent {
  readonly type: 'tool-call-delta';
  /** The choice or message that the call belongs to. */
  readonly index: number;
  /** Tells the calls of one answer apart; stays the same over a call's deltas. */
  readonly id: string;
  readonly name: string;
  readonly argumentsDelta: string;
  /** As in {@link OutputPlace}. */
  readonly alternative?: true;
  /** Set where the provider runs the tool itself, such as its own web search: there is nothing to run and nothing to answer. */
  readonly providerExecuted?: true;
}

/** A whole tool call: its arguments were complete and are valid JSON. @public */
export interface ToolCallEvent {
  readonly type: 'tool-call';
  readonly index: number;
  readonly id: string;
  readonly name: string;
  /** Parsed strictly; `{}` where the model sent none. */
  readonly arguments: unknown;
  /** The text that was parsed, byte for byte as the model sent it. */
  readonly argumentsText: string;
  /** As in {@link OutputPlace}. */
  readonly alternative?: true;
  /** As in {@link ToolCallDeltaEvent}. */
  readonly providerExecuted?: true;
}

/** What a tool gave back: from `runTools`, or where a server that runs tools tells it. @public */
export interface ToolResultEvent {
  readonly type: 'tool-result';
  /** The choice or message that the call belongs to. */
  readonly index: number;
  /** The id of the tool call that it answers. */
  readonly id: string;
  /** Empty where the stream does not tell it. */
  readonly name: string;
  readonly result: unknown;
  /** Set where the tool failed; `result` says how. */
  readonly isError?: true;
  /** Set where another result of the same call will follow and replace it. */
  readonly preliminary?: true;
}

/** A task changed its state. @public */
export interface StatusEvent {
  readonly type: 'status';
  /** The provider's own word for the state, such as `queued` or `running`. */
  readonly status: string;
  /** The number on the wire, where the provider sends numbers. */
  readonly code?: number;
  /** The job, task or chat id, where the provider tells it. */
  readonly id?: string;
  /** True when the provider says that nothing follows this state. */
  readonly terminal: boolean;
}

/** How far a task is. @public */
export interface ProgressEvent {
  readonly type: 'progress';
  readonly current: number;
  readonly total?: number;
  readonly message?: string;
}

/** One line of a task's log. @public */
export interface LogEvent {
  readonly type: 'log';
  readonly message: string;
  readonly id?: string;
  /** The part of the task that wrote it, in the provider's words (`build`, `run`, `task` ...). */
  readonly kind?: string;
  /** When it was written, as the provider wrote it. */
  readonly at?: string;
  /** Set where the message is only the new end of the line with this id; without it a known id brings the whole line once more. */
  readonly continues?: true;
}

/** A task's result: snapshots while it grows (`final: false`), then the whole (`final: true`). @public */
export interface OutputEvent {
  readonly type: 'output';
  readonly value: unknown;
  readonly final: boolean;
}

/** An image, a sound or another file in the answer. @public */
export interface MediaEvent extends OutputPlace {
  readonly type: 'media';
  /** In the provider's words: `image`, `audio`, or a media type. */
  readonly kind: string;
  /** Base64, a URL or an object, as it came. */
  readonly content: unknown;
}

/** What was spent, in the provider's currency. @public */
export interface Cost {
  readonly total?: number;
  readonly input?: number;
  readonly output?: number;
  /** ISO 4217; absent where the provider does not say. */
  readonly currency?: string;
}

/** Token counts and cost. A count that is absent is unknown, which is not zero. @public */
export interface Usage {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly totalTokens?: number;
  readonly reasoningTokens?: number;
  readonly cachedTokens?: number;
  readonly cost?: Cost;
  /** `reported`: the provider's own, for the whole answer. `partial`: its last word before a cut. `unknown`: it said nothing. */
  readonly provenance: 'reported' | 'partial' | 'unknown';
}

/** Cumulative usage: the last one wins, they are never summed. @public */
export interface UsageEvent extends Usage {
  readonly type: 'usage';
}

/** Something went otherwise than it should and the stream goes on. @public */
export interface WarningEvent {
  readonly type: 'warning';
  /** Stable, for programs: `end-marker-missing`, `finish-reason-missing`, `tool-call-incomplete`, `frame-skipped`, `provider-warning`, `answer-continued`. */
  readonly code: string;
  readonly message: string;
  readonly detail?: unknown;
}

/** The connection is alive and nothing else happened. @public */
export interface HeartbeatEvent {
  readonly type: 'heartbeat';
  readonly comment: string;
}

/** Why the model stopped. @public */
export type FinishReason = 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'refusal' | 'other' | 'unknown';

/** How one of several answers ended. @public */
export interface ChoiceFinish {
  readonly index: number;
  readonly reason: FinishReason;
  readonly rawReason: string;
}

/** The proven end of the answer. Always the last event. @public */
export interface FinishEvent {
  readonly type: 'finish';
  readonly reason: FinishReason;
  /** The provider's own word; absent where it sent none. */
  readonly rawReason?: string;
  /** Present where several answers were asked for (`n` > 1). */
  readonly choices?: readonly ChoiceFinish[];
}

/** The answer begins anew: what was delivered since its start is void. @public */
export interface RestartEvent {
  readonly type: 'restart';
  readonly attempt: number;
  readonly because: string;
  /** How many characters of text are void, and of thinking where there was any. */
  readonly discard: { readonly chars: number; readonly thinkingChars?: number };
}

/** A frame, or the part of one, that has no event of its own. Nothing that a provider sends is dropped. @public */
export interface RawEvent {
  readonly type: 'raw';
  readonly frame: unknown;
  /** The name of the server-sent event that carried it, when it had one. */
  readonly event?: string;
}

/** The one vocabulary that every provider is translated into. @public */
export type StreamEvent =
  | TextEvent
  | ThinkingEvent
  | RefusalEvent
  | ToolCallDeltaEvent
  | ToolCallEvent
  | ToolResultEvent
  | StatusEvent
  | ProgressEvent
  | LogEvent
  | OutputEvent
  | MediaEvent
  | UsageEvent
  | WarningEvent
  | HeartbeatEvent
  | FinishEvent
  | RestartEvent
  | RawEvent;

/** What was received before an error: text of the first output, the newest kept. @public */
export interface Received {
  readonly text: string;
  /** How many characters (UTF-16 code units) were received in all. */
  readonly chars: number;
  /** True when `text` is only the end of what was received. */
  readonly truncated: boolean;
}

/** How a stream ended. There is no fifth. @public */
export type Outcome = 'complete' | 'failed' | 'interrupted' | 'stopped';

/** Who stopped a stream: our reader left, a signal or a notifier fired, the far side of a sink closed, or `shutdown` ran out of time. @public */
export type StoppedBy = 'unsubscribe' | 'signal' | 'notifier' | 'reader' | 'shutdown';

/** Whether work goes on being billed after the end. @public */
export type Billing = 'ended' | 'continues' | 'unknown';

/** When things happened, in milliseconds since the sink was subscribed to; `startedAt` is in epoch milliseconds. @public */
export interface ReceiptTimings {
  readonly startedAt: number;
  readonly headersMs?: number;
  readonly firstContentMs?: number;
  readonly totalMs: number;
}

/** What a sink knows at the end. @public */
export interface Receipt {
  /** The stream's name among several; absent where it has none. */
  readonly key?: string;
  readonly provider?: string;
  readonly model?: string;
  /** Where it went: a path, `stdout`, `response`, `element`, `terminal`, or `none` where nothing was written. */
  readonly where: string;
  /** Text written, in UTF-16 code units. */
  readonly chars: number;
  /** Bytes written, everything included. */
  readonly bytes: number;
  readonly outcome: Outcome;
  /** Present where an answer ended by itself. */
  readonly finish?: { readonly reason: FinishReason; readonly rawReason?: string };
  /** Present where the outcome is `failed` or `interrupted`. */
  readonly error?: { readonly name: string; readonly code?: string; readonly message: string };
  /** Present where the outcome is `stopped`. */
  readonly by?: StoppedBy;
  readonly timings: ReceiptTimings;
  /** Of everything that was asked for, added up; `partial` where a part of it is unknown. */
  readonly usage: Usage;
  /** Present where more than one thing was asked for: attempts that went on with the same work count as one. */
  readonly usageByAttempt?: readonly Usage[];
  /** How often the answer was asked for or gone on with, the first time included. */
  readonly attempts: number;
  readonly restarts: number;
  readonly warnings: readonly WarningEvent[];
  /** The servers' names for the requests, for a support ticket. */
  readonly requestIds: readonly string[];
  readonly billing: Billing;
  /** True where nothing was asked: `toFile({ ifExists: 'skip' })` found the file, or a reader came back who has the whole answer. */
  readonly skipped?: true;
}
