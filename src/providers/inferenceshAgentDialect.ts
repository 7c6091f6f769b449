import * as z from 'zod/mini';
import { type Dialect, dialect, type DialectStream, type Emit, MOVED } from '../protocol/dialect.js';
import type { TemplateShape } from '../protocol/template.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';
import { validate } from '../protocol/validate.js';
import { ChatToolCalls } from './chatToolCalls.js';
import {
  argumentsText,
  DeltaFrame,
  emitToolCall,
  hasUnknownPart,
  MAX_TOOL_CALL_CHARS,
  plainDelta,
  type PlainDelta,
  proveEnd,
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
import { ChatTurn, type TurnMessage } from './inferenceshChatTurn.js';

/** How to read an inference.sh chat stream. @public */
export interface InferenceshAgentDialectOptions {
  /**
   * What stands between the texts of a turn's messages: an agent that calls tools answers in several.
   * @defaultValue a blank line
   */
  readonly separator?: string | undefined;
  /** Whether asking again can help after a turn failed: it would be run, and billed, again. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

const RUN_ENDS: ReadonlySet<string> = new Set(['completed', 'failed', 'canceled', 'cancelled', 'rejected']);
const CHAT_RESTS: ReadonlySet<string> = new Set(['idle', 'completed']);
const CHAT_BUSY: ReadonlySet<string> = new Set(['busy', 'awaiting_input']);
const MEDIA: ReadonlySet<string> = new Set(['image', 'file', 'audio', 'video']);
const MESSAGE_ENDS: ReadonlySet<string> = new Set(['ready', 'failed', 'cancelled']);

const Word = z.nullish(z.string());
const Run = z.looseObject({ id: Word, state: Word });
const Chat = z.looseObject({ id: Word, status: Word, active_run: z.nullish(Run) });
const Invocation = z.looseObject({
  id: Word,
  type: Word,
  status: Word,
  function: z.nullish(z.looseObject({ name: Word, arguments: z.nullish(z.unknown()) })),
});
const Message = z.looseObject({
  id: z.string(),
  order: z.nullish(z.number()),
  role: Word,
  status: Word,
  content: z.nullish(z.array(z.unknown())),
  tool_invocations: z.nullish(z.array(Invocation)),
});
const Part = z.looseObject({ type: z.string(), text: Word });
const LegacyText = z.looseObject({ text: Word });
const LegacyToolCall = z.looseObject({ id: Word, name: Word, arguments: z.nullish(z.unknown()) });

interface AgentState {
  readonly turn: ChatTurn;
  /** Previews by message: an invocation, which is what can be answered, comes with the message. */
  readonly drafts: Map<string, ChatToolCalls>;
  /** The last state told of each tool invocation and each other part of a message. */
  readonly told: Map<string, string>;
  chatStatus: string | undefined;
  run: Ending | undefined;
  isBusySeen: boolean;
  isTurnOver: boolean;
  isReattached: boolean;
  /** The message that failed, until the run says why. */
  failed: Ending | undefined;
}

/** A state of a run or a message, and who says it. */
interface Ending {
  readonly word: string;
  readonly payload: JSONObject;
}

type AgentStream = DialectStream<AgentState>;

/**
 * The stream of one turn of an inference.sh chat, in NDJSON and as server-sent events alike.
 *
 * - *End*: the run, or else the chat, has left its busy states. A stream opened on an old chat begins with its last rest, so a
 *   rest counts only once the chat was seen busy or this turn's message ended. A turn that waits for a tool's result, an
 *   approval or a sign-in has not ended. A failed message or run fails the stream, with the run's words where the message has
 *   none; a run that was cancelled or rejected fails it too, since nobody who reads it asked for that.
 * - *Text*: `delta` increments belong to the message they name; whole messages (`chat_messages`) add what increments did not
 *   bring, and where one tells another text, `restart` is followed by the turn's text so far. All assistant messages of the turn
 *   are one text (index 0), with `separator` between them: it is the turn that the caller asked for, and a reader of the first
 *   output alone would get the announcement of a tool call and miss the answer.
 * - *History*: messages of earlier turns that the stream tells arrive as `raw`. This turn's are known by the answer to the
 *   request (its message and later ones); on a chat that was merely joined, by being written while we read.
 * - *Reconnect*: increments go on where they surely follow. Where the turn ended while nobody was connected, or a part of it was
 *   missed, the chat as it is stored is read, and fails the stream where it does not hold the whole turn.
 * - *Tools*: an invocation for the client that awaits its input, or is in progress, which is how the API's own client knows that
 *   it is its turn, is a `tool-call`, once, under the id that takes the result. Other invocations, and what becomes of this one,
 *   arrive as `raw` with each change of their status.
 * - *Usage* comes per message and is told as the sum over the turn's messages.
 *
 * The older stream (`content`, `tool_call`, `tool_result`, `done`) is read too; its `done` is its proof, but not after a
 * reconnect, since its text does not say where it belongs.
 * @public
 */
export function inferenceshAgentDialect(options: InferenceshAgentDialectOptions = {}): Dialect {
  const { separator = '\n\n', retryable } = options;
  return dialect<JSONObject, AgentState>({
    name: 'inferencesh-agent',
    framing: 'ndjson',
    frame: AnyFrame,
    retryable,
    error: streamFailure,
    start: () => ({
      turn: new ChatTurn(separator),
      drafts: new Map(),
      told: new Map(),
      chatStatus: undefined,
      run: undefined,
      isBusySeen: false,
      isTurnOver: false,
      isReattached: false,
      failed: undefined,
    }),
    decode: (frame, stream) => {
      if (frame['type'] === 'heartbeat') {
        stream.emit({ type: 'heartbeat', comment: '' });
        conclude(frame, stream); // the answer to the request may have told the end
        return;
      }
      const { event, payload } = openFrame(frame, stream.event);
      const read = READERS.get(event);
      if (read === undefined) return; // arrives as `raw`
      let isQuiet = true;
      const emit: Emit = (each) => {
        isQuiet = false;
        stream.emit(each);
      };
      read(payload, frame, stream.state, emit, stream);
      if (isQuiet) stream.emit({ type: 'heartbeat', comment: '' });
      conclude(frame, stream, event === 'done' ? 'done' : undefined);
    },
    submitted: (answer, stream) => {
      const emit: Emit = (event) => {
        stream.emit(event);
      };
      const warning = envelopeWarning(answer);
      if (warning !== undefined) emit(warning);
      const body = unwrap(answer);
      const message = isRecord(body) ? body['assistant_message'] : undefined;
      if (!isRecord(message)) {
        emit({ type: 'raw', frame: answer });
        return;
      }
      const { id, order } = validate(Message, message, 'an inferencesh message');
      stream.state.turn.begin(id, order ?? undefined, emit);
      readMessage(message, message, stream.state, emit);
    },
    reattached: ({ state }) => {
      state.isReattached = true;
      // The rest in which the chat was found before the turn is none of this turn's.
      if (state.turn.isAsked && CHAT_RESTS.has(state.chatStatus ?? '')) state.chatStatus = undefined;
      state.turn.lose();
    },
    stored: (work, stream) => {
      const chat = unwrap(work);
      if (!isRecord(chat)) {
        stream.emit({ type: 'raw', frame: work });
        return;
      }
      const emit: Emit = (event) => {
        stream.emit(event);
      };
      const messages = turnMessages(storedMessages(chat), stream.state.turn);
      for (const message of messages) {
        readMessage(message, message, stream.state, (event) => {
          // It was asked for, perhaps again and again: what it adds is told, not the message itself.
          if (event.type !== 'raw' || event.frame !== message) emit(event);
        });
      }
      readChat(chat, chat, stream.state, emit);
      // One that is not over yet will be.
      const isAwaited = messages.some(({ id, status }) => stream.state.turn.has(String(id)) && !isOverWord(status));
      if (!isAwaited) conclude(chat, stream, 'stored');
    },
  });
}

/** The messages of a chat as it is stored, in their order where they tell it. */
function storedMessages({ chat_messages: named, messages = named }: JSONObject): readonly JSONObject[] {
  const all = Array.isArray(messages) ? messages.filter(isRecord) : [];
  const isOrdered = all.every(({ order }) => typeof order === 'number');
  return isOrdered ? all.sort(({ order: a }, { order: b }) => Number(a) - Number(b)) : all;
}

/** Those of the turn: from the first one known, or where none is known after the user's last. */
function turnMessages(all: readonly JSONObject[], turn: ChatTurn): readonly JSONObject[] {
  const known = all.findIndex(({ id }) => turn.has(String(id)));
  const from = known === -1 ? all.map(({ role }) => role).lastIndexOf('user') + 1 : known;
  return all.slice(from);
}

function isOverWord(status: unknown): boolean {
  return typeof status === 'string' && MESSAGE_ENDS.has(status);
}

type Reader = (payload: JSONObject, frame: JSONObject, state: AgentState, emit: Emit) => void;
/** A reader that may say of its frame what those like it do. */
type TextReader = (...of: [...Parameters<Reader>, stream: AgentStream]) => void;

const readChat: Reader = (payload, _frame, state, emit) => {
  const { id, status, active_run: run } = validate(Chat, payload, 'an inferencesh chat');
  if (status) {
    if (status !== state.chatStatus) {
      const isWakingUp = state.chatStatus !== undefined && CHAT_RESTS.has(state.chatStatus) && !CHAT_RESTS.has(status);
      if (isWakingUp) state.turn.refresh();
      state.chatStatus = status;
      emit({ type: 'status', status, ...(id ? { id } : undefined), terminal: status === 'completed' });
    }
    if (CHAT_RESTS.has(status)) state.run = undefined;
    else if (CHAT_BUSY.has(status)) state.isBusySeen = true;
  }
  if (run) readRun(run, run, state, emit);
};

const readRun: Reader = (payload, _frame, state, emit) => {
  const { id, state: word } = validate(Run, payload, 'an inferencesh run');
  if (!word) return;
  const isEnd = RUN_ENDS.has(word);
  const key = `run/${id ?? ''}`;
  if (state.told.get(key) !== word) {
    state.told.set(key, word);
    emit({ type: 'status', status: word, ...(id ? { id } : undefined), terminal: isEnd });
  }
  // The end of a run that nobody saw at work is that of an earlier turn.
  if (isEnd && !isCounted(state)) return;
  if (!isEnd) state.isBusySeen = true;
  state.run = { word, payload };
};

const readMessage: Reader = (payload, frame, state, emit) => {
  const message = validate(Message, payload, 'an inferencesh message');
  const { id, status, content, tool_invocations: invocations } = message;
  const isOver = isOverWord(status);
  const isWaiting = invocations?.some(isForClient) ?? false;
  const isAssistant = message.role ? message.role === 'assistant' : state.turn.has(id);
  const turnMessage = isAssistant
    ? state.turn.message(id, message.order ?? undefined, !isOver || isWaiting)
    : undefined;
  if (turnMessage === undefined) {
    emit({ type: 'raw', frame, event: 'chat_messages' });
    return;
  }
  if (content) readContent(content, { id, isOver, message: turnMessage, frame }, state, emit);
  for (const invocation of invocations ?? []) readInvocation(invocation, state, emit);
  if (isOver) turnMessage.isOver = true;
  if (isOver && state.turn.isNamed(id)) state.isTurnOver = true;
  if (status === 'failed' || status === 'cancelled') state.failed = { word: status, payload };
};

interface ContentOf {
  readonly id: string;
  readonly isOver: boolean;
  readonly message: TurnMessage;
  readonly frame: JSONObject;
}

function readContent(content: readonly unknown[], of: ContentOf, state: AgentState, emit: Emit): void {
  const { id, isOver, message, frame } = of;
  let text = '';
  let thinking = '';
  content.forEach((value, index) => {
    const { data: part } = z.safeParse(Part, value);
    if (part?.type === 'text') text += part.text ?? '';
    else if (part?.type === 'reasoning') thinking += part.text ?? '';
    else if (isNews(state, `part/${id}/${String(index)}`, JSON.stringify(value))) {
      const kind = part?.type ?? '';
      emit(
        MEDIA.has(kind)
          ? { type: 'media', kind, content: value, index: 0, name: 'output' }
          : { type: 'raw', frame: value },
      );
    }
  });
  const thought = message.thinking.missingFrom(thinking);
  if (thought) state.turn.think(message, thought, emit);
  // Other thinking than was streamed does not void the text: the frame is handed on, and the text stays.
  else if (thought === undefined && isOver && thinking !== '') emit({ type: 'raw', frame, event: 'chat_messages' });
  // What is stored may be behind what has come already, and then it does not tell what was missed.
  if (isOver || text.length >= message.text.chars) message.increments.catchUp();
  state.turn.settle(message, text, isOver, emit);
}

function readInvocation(invocation: z.infer<typeof Invocation>, state: AgentState, emit: Emit): void {
  const { id, status } = invocation;
  if (!isNews(state, `tool/${id ?? ''}`, status ?? '')) return;
  // Once: a tool that awaits its input again, after another state, is still the same call.
  if (id && isForClient(invocation) && isNews(state, `call/${id}`, '')) {
    emitToolCall(id, invocation.function?.name ?? '', argumentsText(invocation.function?.arguments), emit);
  } else {
    emit({ type: 'raw', frame: invocation, event: 'tool_invocations' });
  }
}

function isForClient({ type, status }: z.infer<typeof Invocation>): boolean {
  return type === 'client' && (status === 'awaiting_input' || status === 'in_progress');
}

const readDelta: TextReader = (payload, frame, state, emit, stream) => {
  const increment = validate(DeltaFrame, payload, 'an inferencesh delta');
  const { delta, resource_id: id } = increment;
  const message = id ? state.turn.message(id, undefined, true) : undefined;
  if (!id || message === undefined || message.isOver) {
    emit({ type: 'raw', frame, event: 'delta' }); // of no message, of an earlier turn's, or late
    return;
  }
  const plain = plainDelta(increment, payload, frame);
  if (plain !== undefined) offerDelta(id, plain, stream);
  if (isLeftOut(message, payload['seq'], emit)) return;
  if (delta.reasoning) state.turn.think(message, delta.reasoning, emit);
  if (delta.response) state.turn.say(message, delta.response, emit);
  for (const call of delta.tool_calls ?? []) draftsOf(id, state).push(call, emit);
  const spent = readUsage(delta.usage);
  if (spent !== undefined) {
    message.stopReason = spent.stopReason ?? message.stopReason;
    if (spent.usage !== undefined) state.turn.spend(message, spent.usage, emit);
  }
  if (hasUnknownPart(delta) || spent?.hasMore === true) emit({ type: 'raw', frame, event: 'delta' });
};

/** Increments of one message that are nothing but a text are alike. */
function offerDelta(id: string, { type, shape }: PlainDelta, stream: AgentStream): void {
  const { turn } = stream.state;
  offer(shape, stream, (text, values, emit) => {
    const message = turn.message(id, undefined, true);
    if (message === undefined || message.isOver) return false;
    if (isLeftOut(message, values[0], emit)) return true;
    if (type === 'text') turn.say(message, text, emit);
    else turn.think(message, text, emit);
    return true;
  });
}

/** True for an increment that came before, or whose place is not known: the stored message will tell. */
function isLeftOut(message: TurnMessage, seq: unknown, emit: Emit): boolean {
  if (message.increments.accepts(seq)) return false;
  emit(MOVED);
  return true;
}

function draftsOf(id: string, state: AgentState): ChatToolCalls {
  const known = state.drafts.get(id);
  if (known !== undefined) return known;
  const drafts = new ChatToolCalls(0, { max: MAX_TOOL_CALL_CHARS, chars: 0 });
  state.drafts.set(id, drafts);
  return drafts;
}

/** Text of the older stream names no message. */
const LEGACY_ID = '';

const readLegacyText: TextReader = (payload, frame, state, emit, stream) => {
  const { text } = validate(LegacyText, payload, 'an inferencesh text');
  sayLegacyText(text, state, emit);
  const path = payload === frame['data'] ? 'data.text' : 'text';
  offer({ text: path }, stream, (next, _, to) => {
    sayLegacyText(next, state, to);
    return true;
  });
};

function sayLegacyText(text: string | null | undefined, { turn }: AgentState, emit: Emit): void {
  const message = turn.message(LEGACY_ID, undefined, true);
  if (text && message !== undefined) turn.say(message, text, emit);
}

/** Says what the frames do that are like the one in hand, as long as the turn goes on. */
function offer(
  shape: TemplateShape,
  stream: AgentStream,
  use: (text: string, values: readonly (string | number)[], emit: Emit) => boolean,
): void {
  const emit: Emit = (event) => {
    stream.emit(event);
  };
  // A text changes nothing that tells whether it does; the answer to the request, or a new connection, may have.
  stream.template(shape, (text, values) => isGoingOn(stream.state) && use(text, values, emit));
}

const readLegacyToolCall: Reader = (payload, _frame, _state, emit) => {
  const { id, name, arguments: values } = validate(LegacyToolCall, payload, 'an inferencesh tool call');
  emitToolCall(id ?? '', name ?? '', argumentsText(values), emit);
};

const READERS: ReadonlyMap<string, TextReader> = new Map<string, TextReader>([
  ['chats', readChat],
  ['agent_runs', readRun],
  ['chat_messages', readMessage],
  ['delta', readDelta],
  ['content', readLegacyText],
  ['tool_call', readLegacyToolCall],
  ['done', () => undefined],
]);

/** True where the chat's rest is that of this turn, and not the one it was found in. */
function isCounted(state: AgentState): boolean {
  // The turn that was asked for may have come and gone while nobody was connected.
  return state.isBusySeen || state.isTurnOver || (state.isReattached && state.turn.isAsked);
}

/** The run, or else the chat, has left its busy states. */
function isAtRest({ run, chatStatus }: AgentState): boolean {
  return run === undefined ? CHAT_RESTS.has(chatStatus ?? '') : RUN_ENDS.has(run.word);
}

/** True where `conclude` would do nothing. */
function isGoingOn(state: AgentState): boolean {
  if (!isCounted(state)) return true;
  return !isAtRest(state) && (state.failed === undefined || !hasWords(state.failed.payload));
}

/**
 * Ends the stream where this turn has ended.
 * @param sign - `done`: the older stream's own sign of the end came. `stored`: it is the chat as it is stored
 */
function conclude(frame: JSONObject, stream: AgentStream, sign?: 'done' | 'stored'): void {
  const { state } = stream;
  const { run, failed } = state;
  if (sign === 'done') {
    if (failed !== undefined) fail(failed, frame, stream);
    if (!state.turn.isWhole) {
      if (state.turn.has(LEGACY_ID)) failWithoutAnswer(frame, stream);
      stream.askStored();
      return;
    }
    stream.prove('unknown');
    stream.done();
    return;
  }
  if (isGoingOn(state)) return;
  if (run !== undefined && isAtRest(state) && run.word !== 'completed') fail(run, frame, stream);
  if (failed !== undefined) fail(failed, frame, stream);
  if (!state.turn.isWhole) {
    // The turn ended while nobody was connected: its messages stand in the chat as it is stored.
    if (sign === 'stored') failWithoutAnswer(frame, stream);
    stream.askStored();
    return;
  }
  proveEnd(stream, state.turn.stopReason);
  stream.done();
}

function fail({ word, payload }: Ending, frame: JSONObject, stream: AgentStream): never {
  const report = resourceFailure(payload, word);
  // One code for what the run calls canceled and the message cancelled.
  stream.fail(word.startsWith('cancel') ? { ...report, code: 'cancelled' } : report, frame);
}

function failWithoutAnswer(frame: JSONObject, stream: AgentStream): never {
  stream.fail({ code: undefined, type: undefined, message: NO_ANSWER }, frame, false);
}

function hasWords({ error, error_message: message }: JSONObject): boolean {
  return Boolean(error ?? message);
}

/** True, once, for each new value of a key. Long values are known by their length and beginning. */
function isNews(state: AgentState, key: string, value: string): boolean {
  const brief = value.length > MAX_TOLD_CHARS ? `${String(value.length)}:${value.slice(0, MAX_TOLD_CHARS)}` : value;
  if (state.told.get(key) === brief) return false;
  state.told.set(key, brief);
  return true;
}

const MAX_TOLD_CHARS = 1024;

const NO_ANSWER = 'the connection was lost meanwhile, and nothing that is stored holds the whole answer of the turn';
