import * as z from 'zod/mini';
import { type Dialect, dialect, type DialectStream, type Emit, MOVED } from '../protocol/dialect.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';
import { LogReader } from '../protocol/taskLogs.js';
import { readTaskStatus } from '../protocol/taskStatus.js';
import { validate } from '../protocol/validate.js';
import type { ToolCallPart } from './chatChunk.js';
import { finishReasonOf } from './chatFinish.js';
import { ChatToolCalls } from './chatToolCalls.js';
import {
  DeltaFrame,
  hasUnknownPart,
  MAX_TOOL_CALL_CHARS,
  plainDelta,
  type PlainDelta,
  proveEnd,
  readToolCalls,
  readUsage,
} from './inferenceshDelta.js';
import {
  AnyFrame,
  envelopeWarning,
  type JSONObject,
  openFrame,
  resourceFailure,
  streamFailure,
  unwrap,
} from './inferenceshFrame.js';
import { DeltaOrder } from './inferenceshDeltaOrder.js';
import { settleText, StreamedText } from './streamedText.js';

/** How to read an inference.sh task stream. @public */
export interface InferenceshTaskDialectOptions {
  /** Whether asking again can help after a task failed: it would be run, and billed, again. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** Events that carry a task, whole or in part; the ones without a name are `message`. */
const TASK_EVENTS: ReadonlySet<string> = new Set(['message', 'update', 'done', 'task', 'tasks']);

const Task = z.looseObject({
  id: z.nullish(z.string()),
  status: z.nullish(z.union([z.number(), z.string()])),
});
const Progress = z.looseObject({ current: z.number(), total: z.nullish(z.number()), message: z.nullish(z.string()) });

interface TaskState {
  /** The kept task: each of its values as JSON text, to tell what changed. A Map, since keys come from outside. */
  readonly kept: Map<string, string>;
  readonly logs: LogReader;
  readonly streamed: StreamedText;
  readonly thought: StreamedText;
  toolCalls: ChatToolCalls;
  readonly order: DeltaOrder;
  id: string | undefined;
  status: string | undefined;
  output: unknown;
  isUsageSeen: boolean;
  isToolCallSeen: boolean;
  /** Text came whose place is not known. */
  isTextMissed: boolean;
  stopReason: string | undefined;
}

type TaskStream = DialectStream<TaskState>;

/**
 * The stream of an inference.sh task, in NDJSON and as server-sent events alike: whole tasks, `{data, fields}` parts, which
 * are merged over the task kept so far, increments of a model's answer (`delta`), heartbeats.
 *
 * - *End*: status 10 is the proof (finish `stop`, or the model's own reason where usage told it); 11 and 12 fail. An event
 *   named `done` before them is taken as proof too (finish `unknown`), as the documentation shows it.
 * - *Cancelled*: a task that ends so while somebody reads it was cancelled by somebody else. Its output is no answer, so it
 *   fails with code `cancelled`, not retryable: running it again is what whoever cancelled it did not want.
 * - *Text*: increments as they come. The task's result, where it is text or `{response: text}`, is the whole answer once
 *   more: its missing end is emitted as text, or `restart` and the whole where it is another text. A task joined in its
 *   middle begins with the `response` that its first frame shows.
 * - *Reconnect*: the first frame shows the state once more, and increments go on where they surely follow. Where they do not, the
 *   result brings what was missed; a completed task whose result does not hold the text then fails, since it may be cut.
 * - *Logs*: see `LogReader`; a bare string is one new line each time, unless the frame's `fields` leave logs out.
 * - Status, progress and output are told when they change; other changed keys as `raw`, with the whole frame. A frame that
 *   changes nothing is a heartbeat.
 * @public
 */
export function inferenceshTaskDialect(options: InferenceshTaskDialectOptions = {}): Dialect {
  return dialect<JSONObject, TaskState>({
    name: 'inferencesh-task',
    framing: 'ndjson',
    frame: AnyFrame,
    retryable: options.retryable,
    error: streamFailure,
    start: () => ({
      kept: new Map(),
      logs: new LogReader(),
      streamed: new StreamedText(),
      thought: new StreamedText(),
      toolCalls: newToolCalls(),
      order: new DeltaOrder(),
      id: undefined,
      status: undefined,
      output: undefined,
      isUsageSeen: false,
      isToolCallSeen: false,
      isTextMissed: false,
      stopReason: undefined,
    }),
    decode: (frame, stream) => {
      if (frame['type'] === 'heartbeat') {
        stream.emit({ type: 'heartbeat', comment: '' });
        return;
      }
      const { event, payload, fields } = openFrame(frame, stream.event);
      if (event === 'delta') readDelta(payload, frame, stream);
      else if (TASK_EVENTS.has(event)) {
        readTask(payload, fields, frame, stream);
        // `done` follows the terminal status; where that was not sent it is the only sign of the end.
        if (event === 'done') {
          end(frame, stream, (each) => {
            stream.emit(each);
          });
        }
      }
    },
    submitted: (answer, stream) => {
      const warning = envelopeWarning(answer);
      if (warning !== undefined) stream.emit(warning);
      const task = unwrap(answer);
      // Only its state: all else comes again with the stream's first frame.
      if (isRecord(task)) readStatus(task, stream);
    },
    reattached: ({ state }) => {
      state.order.lose();
    },
    stored: (work, stream) => {
      const task = unwrap(work);
      if (isRecord(task)) readTask(task, undefined, task, stream);
      else stream.emit({ type: 'raw', frame: work });
    },
  });
}

function newToolCalls(): ChatToolCalls {
  return new ChatToolCalls(0, { max: MAX_TOOL_CALL_CHARS, chars: 0 });
}

function readDelta(payload: JSONObject, frame: JSONObject, stream: TaskStream): void {
  const increment = validate(DeltaFrame, payload, 'an inferencesh delta');
  const { delta } = increment;
  const { state } = stream;
  offer(plainDelta(increment, payload, frame), stream);
  if (isLeftOut(payload['seq'], Boolean(delta.response), stream)) return;
  let isQuiet = true;
  const emit: Emit = (event) => {
    isQuiet = false;
    stream.emit(event);
  };
  if (delta.reasoning) think(delta.reasoning, state, emit);
  if (delta.response) say(delta.response, state, emit);
  callTools(delta.tool_calls ?? [], state, emit);
  const isAllSpent = spend(delta.usage, state, emit);
  if (hasUnknownPart(delta) || !isAllSpent) emit({ type: 'raw', frame });
  if (isQuiet) stream.emit({ type: 'heartbeat', comment: '' });
}

/** Increments that are nothing but a text are alike. */
function offer(plain: PlainDelta | undefined, stream: TaskStream): void {
  if (plain === undefined) return;
  const isText = plain.type === 'text';
  const emit: Emit = (event) => {
    stream.emit(event);
  };
  stream.template(plain.shape, (text, values) => {
    if (isLeftOut(values[0], isText, stream)) return true;
    if (isText) say(text, stream.state, emit);
    else think(text, stream.state, emit);
    return true;
  });
}

/** True for an increment that came before, or whose place in the text is not known: the task's output will tell. */
function isLeftOut(seq: unknown, isText: boolean, stream: TaskStream): boolean {
  const { state } = stream;
  if (state.order.accepts(seq)) return false;
  if (isText) state.isTextMissed = true;
  stream.emit(MOVED);
  return true;
}

function readTask(
  payload: JSONObject,
  fields: readonly string[] | undefined,
  frame: JSONObject,
  stream: TaskStream,
): void {
  validate(Task, payload, 'an inferencesh task');
  const { state } = stream;
  const isWhole = fields === undefined;
  const isFirst = state.kept.size === 0 && isWhole;
  let isQuiet = true;
  const emit: Emit = (event) => {
    isQuiet = false;
    stream.emit(event);
  };
  const changed = merge(payload, fields, state);
  if (readStatus(payload, stream)) isQuiet = false;
  const isCompleted = state.status === 'completed';

  let hasOther = false;
  for (const key of changed) {
    const value = payload[key];
    if (key === 'progress') hasOther = !readProgress(value, emit) || hasOther;
    else if (key === 'partial_output') emit({ type: 'output', value: value ?? null, final: false });
    else if (key === 'output') state.output = value;
    else if (key === 'error') hasOther = state.status !== 'failed' || hasOther;
    else if (!READ_ELSEWHERE.has(key)) hasOther = true;
  }
  if (hasOther) emit({ type: 'raw', frame });
  for (const line of state.logs.read(payload['logs'], fields?.includes('logs') ?? true)) emit(line);
  if (!isCompleted && (isFirst ? state.streamed.chars === 0 : isWhole && state.order.isLost)) catchUp(state, emit);
  if (changed.has('output') && !isCompleted) emit({ type: 'output', value: state.output ?? null, final: false });

  if (isCompleted) {
    complete(frame, stream, emit);
    return;
  }
  if (state.status === 'failed') stream.fail(failure(state, 'failed'), frame);
  if (state.status === 'cancelled') stream.fail({ ...failure(state, 'cancelled'), code: 'cancelled' }, frame);
  if (isQuiet) stream.emit({ type: 'heartbeat', comment: '' });
}

const READ_ELSEWHERE: ReadonlySet<string> = new Set(['id', 'status', 'logs']);

/** Merges what came over the kept task; the keys whose values changed. Null is the same as nothing. */
function merge(payload: JSONObject, fields: readonly string[] | undefined, state: TaskState): ReadonlySet<string> {
  const changed: Set<string> = new Set();
  const set = (key: string, value: unknown): void => {
    if (value === undefined || value === null) {
      if (state.kept.delete(key)) changed.add(key);
      if (key === 'logs') state.logs.clear();
      return;
    }
    // Logs tell what is new by themselves, and may be long.
    const text = key === 'logs' ? '' : JSON.stringify(value);
    if (state.kept.get(key) === text) return;
    state.kept.set(key, text);
    changed.add(key);
  };
  // A field that is listed and not there was cleared.
  for (const field of fields ?? []) if (!Object.hasOwn(payload, field)) set(field, undefined);
  for (const [key, value] of Object.entries(payload)) set(key, value);
  return changed;
}

/** Emits a status that changed; true where it did. */
function readStatus(task: JSONObject, stream: TaskStream): boolean {
  const { state } = stream;
  if (typeof task['id'] === 'string') state.id = task['id'];
  const read = readTaskStatus(task['status']);
  if (read === undefined || read.status === state.status) return false;
  const { status, code, terminal } = read;
  state.status = status;
  stream.emit({
    type: 'status',
    status,
    ...(code === undefined ? undefined : { code }),
    ...(state.id === undefined ? undefined : { id: state.id }),
    terminal,
  });
  return true;
}

/** False where it is no progress that could be told as one. */
function readProgress(value: unknown, emit: Emit): boolean {
  const { data } = z.safeParse(Progress, value);
  if (data === undefined) return value === undefined || value === null;
  const { current, total, message } = data;
  emit({
    type: 'progress',
    current,
    ...(typeof total === 'number' ? { total } : undefined),
    ...(typeof message === 'string' ? { message } : undefined),
  });
  return true;
}

/**
 * A task joined in its middle, or after a reconnect, shows the text so far in its first frame: what it has more is told, and
 * increments go on from there.
 */
function catchUp(state: TaskState, emit: Emit): void {
  if (!isRecord(state.output)) return;
  const response = wordsOf(state.output['response']);
  const reasoning = wordsOf(state.output['reasoning']);
  const isThinking = response === '' && state.streamed.chars === 0;
  const [told, shown] = isThinking ? [state.thought, reasoning] : [state.streamed, response];
  // It may show none, or be behind what has come already, and then it does not tell what was missed.
  if (shown === '' || (shown.length < told.chars && told.includes(shown))) return;
  thinkOn(reasoning, state, emit);
  settleText(state.streamed, response, 'the task shows a different text', emit);
  state.order.catchUp();
}

function complete(frame: JSONObject, stream: TaskStream, emit: Emit): void {
  const { state } = stream;
  const { output, order } = state;
  const { hasGap } = order;
  const answer: JSONObject = isRecord(output) ? output : { response: output };
  const { reasoning, response, tool_calls, usage } = answer;
  const thinking = wordsOf(reasoning);
  const text = wordsOf(response);
  if (state.thought.chars === 0 || hasGap) thinkOn(thinking, state, emit);
  settleText(state.streamed, text, 'the output carried a different text', emit, () => {
    if (thinking !== '') think(thinking, state, emit);
  });
  if (text !== '') order.catchUp();
  const calls = readToolCalls(tool_calls);
  if (!state.isToolCallSeen) callTools(calls, state, emit);
  else if (hasGap && calls.length > 0) {
    // Increments of them were lost, and others told: the whole ones stand here.
    state.toolCalls = newToolCalls();
    callTools(calls, state, () => undefined);
  }
  if (!state.isUsageSeen || hasGap) spend(usage, state, emit);
  if (output !== undefined && output !== null) emit({ type: 'output', value: output, final: true });
  end(frame, stream, emit);
}

/** A text in the output; empty where there is none. */
function wordsOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Ends the stream well: where the task was not seen completed, only the model can have told why it stopped. */
function end(frame: JSONObject, stream: TaskStream, emit: Emit): void {
  const { toolCalls, stopReason, status, order, streamed, isTextMissed } = stream.state;
  if (order.isLost && (streamed.chars > 0 || isTextMissed)) {
    stream.fail({ code: undefined, type: undefined, message: NO_TEXT }, frame, false);
  }
  toolCalls.finish(stopReason === undefined ? undefined : finishReasonOf(stopReason), emit);
  if (stopReason === undefined && status !== 'completed') stream.prove('unknown');
  else proveEnd(stream, stopReason);
  stream.done();
}

const NO_TEXT = 'text was lost with the connection, and the output of the completed task does not hold it';

function callTools(calls: readonly ToolCallPart[], state: TaskState, emit: Emit): void {
  if (calls.length > 0) state.isToolCallSeen = true;
  for (const call of calls) state.toolCalls.push(call, emit);
}

/** What the kept task says about its end: the error may have come before the status. */
function failure(state: TaskState, status: string): ErrorReport {
  const error: unknown = JSON.parse(state.kept.get('error') ?? 'null');
  return resourceFailure({ error }, status);
}

function say(text: string, state: TaskState, emit: Emit): void {
  state.streamed.append(text);
  emit({ type: 'text', text, index: 0, name: 'output' });
}

function think(text: string, state: TaskState, emit: Emit): void {
  state.thought.append(text);
  emit({ type: 'thinking', text, index: 0, name: 'thinking' });
}

/** What a whole thinking adds to the part that was told; other thinking than was told does not void the text. */
function thinkOn(whole: string, state: TaskState, emit: Emit): void {
  const missing = state.thought.missingFrom(whole);
  if (missing) think(missing, state, emit);
}

/** False where the usage told more than there is an event for. */
function spend(value: unknown, state: TaskState, emit: Emit): boolean {
  const spent = readUsage(value);
  if (spent === undefined) return true;
  state.isUsageSeen = true;
  state.stopReason = spent.stopReason ?? state.stopReason;
  if (spent.usage !== undefined) emit({ type: 'usage', ...spent.usage });
  return !spent.hasMore;
}
