export {
  AbortError,
  type ErrorContext,
  HTTPError,
  type HTTPErrorDetails,
  type InterruptedDuring,
  InterruptedError,
  isMillraceError,
  isRetryable,
  LimitError,
  MillraceError,
  type MillraceErrorOptions,
  NoResumePlanError,
  ProtocolError,
  ProviderError,
  type ProviderErrorDetails,
  SinkError,
  StoreError,
  type StoreErrorReason,
  StreamsFailedError,
  StreamTimeoutError,
  type TimeoutPhase,
  ValidationError,
  type ValidationIssue,
} from './errors.js';
export type { DecodeOptions } from './internal/answer.js';
export type {
  AttemptDiagnostic,
  DiagnosticEvents,
  DiagnosticSubject,
  EndDiagnostic,
  PauseDiagnostic,
  RestartDiagnostic,
  ResumeDiagnostic,
} from './internal/diagnostics.js';
export type { ErrorResponse } from './internal/errorAnswer.js';
export type { FetchLike, TerminalOutput, TextOutput } from './internal/io.js';
export type { FramingLimits } from './internal/parseBody.js';
export type {
  Message,
  MessageContent,
  MessageMedia,
  MessageOutput,
  MessageText,
  ToolCallPreview,
} from './internal/message.js';
export type { OnPartial } from './internal/partialFile.js';
export type { OnUnresumable } from './internal/position.js';
export type { WaitingLimits } from './internal/reading.js';
export type { RelayOptions } from './internal/relay.js';
export type { OutputSelection } from './internal/selectOutput.js';
export { idleStreamState, type StreamHeartbeat, type StreamPhase, type StreamState } from './internal/streamRecord.js';
export type { TaskFailure, TaskStatusChange, TaskSummary, TaskUpdate } from './internal/taskSummary.js';
export type { Tool, ToolContext, ToolLimits, ToolRound, Tools } from './internal/toolRun.js';
export { accumulate, type AccumulateOptions } from './operators/accumulate.js';
export { collectLogs, type CollectLogsOptions } from './operators/collectLogs.js';
export { bufferSentences, type BufferSentencesOptions } from './operators/bufferSentences.js';
export {
  createGate,
  type CreateGateOptions,
  type Gate,
  type GateAdaptOptions,
  type GateState,
} from './operators/createGate.js';
export { decode } from './operators/decode.js';
export { fallbackTo, type FallbackToOptions } from './operators/fallbackTo.js';
export { isolate } from './operators/isolate.js';
export { mapAsync, type MapAsyncContext, type MapAsyncOptions } from './operators/mapAsync.js';
export { parseNDJSON, type ParseNDJSONOptions } from './operators/parseNDJSON.js';
export { type DeepPartial, type ParsedObject, parseObject, type ParseObjectOptions } from './operators/parseObject.js';
export { parseSSE, type ParseSSEOptions } from './operators/parseSSE.js';
export { progress, type ProgressOptions, type TaskProgress } from './operators/progress.js';
export { type RetryAttempt, retryOnDisconnect, type RetryOnDisconnectOptions } from './operators/retryOnDisconnect.js';
export { smooth, type SmoothOptions } from './operators/smooth.js';
export { splitThinking, type SplitThinkingOptions } from './operators/splitThinking.js';
export { stopOn } from './operators/stopOn.js';
export { streamState, type StreamStateOptions } from './operators/streamState.js';
export { type EventCallbacks, tapEvents } from './operators/tapEvents.js';
export { tapReceipt } from './operators/tapReceipt.js';
export { timeout, type TimeoutOptions } from './operators/timeout.js';
export { toTokens, type ToTokensOptions } from './operators/toTokens.js';
export type {
  Call,
  CallRequest,
  LeavingPolicy,
  ResumePlan,
  StoredWork,
  ToolPlan,
  ToolResult,
} from './protocol/call.js';
export {
  type Decoder,
  type DecoderOptions,
  dialect,
  type Dialect,
  type DialectOptions,
  type DialectStream,
  type Emit,
  type Proof,
  type StreamPlace,
  type TurnOptions,
} from './protocol/dialect.js';
export type { ErrorReport } from './protocol/errorBody.js';
export type { EventSelection, ResponseFormat } from './protocol/eventFormat.js';
export type { ThinkingTag } from './protocol/inlineThinking.js';
export type { JobJournal, JobRecord, JobState, OpenJobJournal } from './protocol/jobJournal.js';
export { type EncodableSSE, encodeSSE } from './protocol/sseEncoder.js';
export type { StandardIssue, StandardResult, StandardSchema } from './protocol/standardSchema.js';
export type {
  LeaseOptions,
  StoredEntry,
  StoredPage,
  StoredState,
  StreamLease,
  StreamStore,
  WriteReply,
} from './protocol/streamStore.js';
export type { TemplateShape, TemplateUse } from './protocol/template.js';
export { asyncIterableFrom, type AsyncIterableFromOptions } from './sinks/asyncIterableFrom.js';
export { collect, type Collected, type CollectOptions } from './sinks/collect.js';
export { nodeReadableFrom, type NodeReadableFromOptions } from './sinks/nodeReadableFrom.js';
export { type ProxyHandler, proxyHandler, type ProxyHandlerOptions, type ProxyRequest } from './sinks/proxyHandler.js';
export { readableStreamFrom, type ReadableStreamFromOptions } from './sinks/readableStreamFrom.js';
export { responseFrom, type ResponseFromOptions } from './sinks/responseFrom.js';
export { type PageElement, toElement, type ToElementOptions } from './sinks/toElement.js';
export { toFile, type ToFileOptions } from './sinks/toFile.js';
export { type NodeResponse, toNodeResponse, type ToNodeResponseOptions } from './sinks/toNodeResponse.js';
export { toStdout, type ToStdoutOptions } from './sinks/toStdout.js';
export { toStore, type ToStoreOptions } from './sinks/toStore.js';
export { toTerminal, type ToTerminalOptions } from './sinks/toTerminal.js';
export { fileJournal, type FileJournalOptions } from './sources/fileJournal.js';
export { fromAsyncIterable } from './sources/fromAsyncIterable.js';
export { fromCall, type FromCallOptions } from './sources/fromCall.js';
export { fromHTTP, type FromHTTPOptions, type HTTPResponse } from './sources/fromHTTP.js';
export { fromNodeReadable, type NodeReadable } from './sources/fromNodeReadable.js';
export { fromReadableStream } from './sources/fromReadableStream.js';
export { fromSSE, type FromSSEOptions, type SSEReconnect } from './sources/fromSSE.js';
export { fromStore, type FromStoreOptions } from './sources/fromStore.js';
export type { JobReceipt } from './sources/jobReceipt.js';
export { type Keyed, mergeStreams, type MergeStreamsOptions, type StreamsByKey } from './sources/mergeStreams.js';
export { raceStreams, type RaceStreamsOptions } from './sources/raceStreams.js';
export { type Jobs, runJobs, type RunJobsOptions } from './sources/runJobs.js';
export { runTools, type RunToolsOptions } from './sources/runTools.js';
export { shutdown, type ShutdownOptions, type ShutdownReport } from './sources/shutdown.js';
export type {
  Billing,
  ChoiceFinish,
  Cost,
  FinishEvent,
  FinishReason,
  HeartbeatEvent,
  LogEvent,
  MediaEvent,
  NDJSONLine,
  Outcome,
  OutputEvent,
  OutputPlace,
  ProgressEvent,
  RawEvent,
  Receipt,
  ReceiptTimings,
  Received,
  RefusalEvent,
  RestartEvent,
  ServerSentComment,
  ServerSentEvent,
  ServerSentMessage,
  ServerSentRetry,
  ServerSentUnknown,
  StatusEvent,
  StoppedBy,
  StreamEvent,
  TextEvent,
  ThinkingEvent,
  ToolCallDeltaEvent,
  ToolCallEvent,
  ToolResultEvent,
  Usage,
  UsageEvent,
  WarningEvent,
  WireEvent,
} from './types.js';
