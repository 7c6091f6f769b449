import type { Dialect } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import { createSSEParser } from '../protocol/sseParser.js';
import { agUIDialect } from './agUIDialect.js';
import { aiSDKDialect } from './aiSDKDialect.js';
import { anthropicDialect } from './anthropicDialect.js';
import { chatDialect } from './chatDialect.js';
import { cohereDialect } from './cohereDialect.js';
import { gatewayDialect } from './gatewayDialect.js';
import { geminiDialect } from './geminiDialect.js';
import { inferenceshAgentDialect } from './inferenceshAgentDialect.js';
import { inferenceshTaskDialect } from './inferenceshTaskDialect.js';
import { infernetJobsDialect } from './infernetJobsDialect.js';
import { infernetNativeDialect } from './infernetNativeDialect.js';
import { ollamaDialect } from './ollamaDialect.js';
import { replicateDialect } from './replicateDialect.js';
import { responsesDialect } from './responsesDialect.js';

/** What a captured body is. @public */
export interface Detected {
  /** The dialect as its own function makes it without options. */
  readonly dialect: Dialect;
  /** How this capture is framed, which may not be how the API sends it: `'ndjson'` where the frames stand bare, one a line. */
  readonly framing: 'sse' | 'ndjson';
  /** The dialect's name. */
  readonly name: string;
}

/** How many bytes (of a string: UTF-16 code units) are looked at: ten times the largest first frame that was recorded, and more. */
const MAX_LOOK = 1_048_576;
/** How many frames are looked at. */
const MAX_FRAMES = 64;

/**
 * Tells the dialect of a body that was saved somewhere: for tools that are given a capture and no word about its origin. The
 * body may be cut anywhere, begin with comments, blank lines or an HTTP head, and hold server-sent events or bare JSON, one frame a
 * line. Nothing is guessed: `undefined` where no dialect is shown, where two are, or where the frames contradict each other.
 *
 * | dialect | what it looks at, in one frame |
 * | --- | --- |
 * | `chat` | a list `choices`, under an `object` that is a chat or text completion or missing |
 * | `responses` | a `type` that begins with `response.`; an `error` with `sequence_number` or `param` |
 * | `anthropic` | the types `message_start` to `message_stop`; an `error` with an inner type that ends in `_error` |
 * | `gemini` | `candidates` with `content` or `finishReason`, `promptFeedback`, or `usageMetadata`; an error with Google's `status` |
 * | `ollama` | `model`, a boolean `done`, and `message` or `response` |
 * | `cohere` | the types `message-start` to `message-end` of its version 2 |
 * | `replicate` | events named `output` whose ids are `seconds:count` |
 * | `aiSDK` | parts of text, reasoning and tools with their ids, `start` with `messageId`; perhaps steps, `data-…` and `finish` |
 * | `agUI` | the types `RUN_STARTED`, `TEXT_MESSAGE_CONTENT`, `TOOL_CALL_ARGS` and the others of its runs, messages and states |
 * | `gateway` | an item with `content` and `is_final`, or `final: true` with `usage`, `cost` or `warnings` |
 * | `infernet-native` | the events `job`, `meta` and `done` with their own keys; perhaps `token` with nothing but `text` |
 * | `infernet-jobs` | perhaps nothing but `text`, in an event without a name |
 * | `inferencesh-task` | a task with its app or under the event `update`; `data` with `fields` of a task |
 * | `inferencesh-agent` | the events `chats`, `chat_messages`, `agent_runs`; a `delta` with `resource_id` |
 *
 * *Perhaps* tells a dialect only where two frames or more were seen and none is unknown. Errors that any API may send, pings
 * and `[DONE]` tell nothing. Copies of the chat format (OpenRouter, Infron, PolarGrid …) are all `chat`.
 *
 * Looks at the first 64 frames within the first 1,048,576 bytes, and holds no state.
 *
 * @example What is in this file?
 * ```ts
 * const capture = await read('capture.txt');
 * const found = detectDialect(capture);
 * if (found?.framing === 'sse') {
 *   of(new TextEncoder().encode(capture)).pipe(parseSSE(), decode(found.dialect)).subscribe(log);
 * }
 * ```
 * @param capture - the body, or its beginning
 * @throws TypeError for anything but a string or bytes
 * @public
 */
export function detectDialect(capture: string | Uint8Array): Detected | undefined {
  const text = withoutHead(textOf(capture));
  // A line of JSON never begins so, and bare JSON may stand between server-sent events.
  const framing = /(?:^|[\r\n])data(?:[:\r\n]|$)/.test(text) ? 'sse' : 'ndjson';
  const frames = framing === 'sse' ? eventsOf(text) : linesOf(text);

  let candidates: readonly Sign[] = SIGNS;
  let isShown = false;
  let isSure = false;
  let hasUnknown = false;
  for (const frame of frames) {
    const shown = SIGNS.map((sign) => ({ sign, shows: sign.shows(frame) })).filter(({ shows }) => shows !== undefined);
    if (shown.length === 0) {
      hasUnknown ||= !isNeutral(frame);
      continue;
    }
    isShown = true;
    isSure ||= shown.some(({ shows }) => shows === 'surely');
    candidates = candidates.filter((candidate) => shown.some(({ sign }) => sign === candidate));
  }
  const [only, ...others] = candidates;
  if (!isShown || only === undefined || others.length > 0) return undefined;
  if (!isSure && (hasUnknown || frames.filter(({ isWhole }) => isWhole).length < 2)) return undefined;
  const dialect = only.make();
  return { dialect, framing, name: dialect.name };
}

function textOf(capture: string | Uint8Array): string {
  if (typeof capture === 'string') return capture.slice(0, MAX_LOOK).replace(/^\uFEFF/, '');
  if (capture instanceof Uint8Array) return new TextDecoder().decode(capture.subarray(0, MAX_LOOK));
  throw new TypeError(`detectDialect takes a string or a Uint8Array, got ${typeof capture}`);
}

/** Without the heads of HTTP answers, as `curl -i` saves them: of redirects as well. */
function withoutHead(text: string): string {
  return text.replace(/^(?:\s*HTTP\/\d[^]*?(?:\r\n\r\n|\n\n))+/, '');
}

/** A frame, as far as it can be told without its dialect. */
interface CapturedFrame {
  /** The name of its event; `message` where it has none, and where the capture may have cut it off. */
  readonly event: string;
  readonly id: string;
  readonly data: string;
  /** What the data says in JSON; undefined where that is no object. */
  readonly fields: Fields | undefined;
  /** The frame's own word for what it is, else the event's name. */
  readonly kind: string;
  /** False where a part may be missing: at the ends of the capture, and where no line has an event's name. */
  readonly isWhole: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

function frameOf(event: string, id: string, data: string, isWhole: boolean): CapturedFrame {
  const fields = parse(data);
  const { type, event: ownEvent } = fields ?? {};
  const [kind = event] = [type, ownEvent].filter((word) => typeof word === 'string');
  return { event, id, data, fields, kind, isWhole };
}

function parse(data: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(data);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined; // text, or cut: it shows less
  }
}

function eventsOf(text: string): readonly CapturedFrame[] {
  const frames: CapturedFrame[] = [];
  let isCut = false;
  const parser = createSSEParser();
  const push = (part: string): void => {
    parser.push(new TextEncoder().encode(part), (event) => {
      // The capture may begin within a line, and the name of the first event may be lost with it.
      if (event.type === 'unknown') isCut ||= frames.length === 0;
      if (event.type !== 'event') return;
      frames.push(frameOf(isCut ? 'message' : event.event, isCut ? '' : event.id, event.data, !isCut));
      isCut = false;
      if (frames.length === MAX_FRAMES) parser.stop();
    });
  };
  push(text);
  // The block that the capture ends in: the name of its event may be cut, or still to come.
  isCut = true;
  push('\n\n');
  return frames;
}

/** The frames of bare JSON; none where the lines are something else. */
function linesOf(text: string): readonly CapturedFrame[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const frames: CapturedFrame[] = [];
  for (const [index, line] of lines.slice(0, MAX_FRAMES).entries()) {
    const data = line.trim();
    const frame = frameOf('message', '', data, false);
    if (frame.fields !== undefined || data === DONE) frames.push(frame);
    // Only the first and the last line may be cut, and the first not in front of a brace: that is a document on many lines.
    else if (index === 0 ? /^[[{]/.test(data) && lines.length > 1 : index < lines.length - 1) return [];
  }
  return frames;
}

const DONE = '[DONE]';
/** Kinds of frames that many APIs send. */
const COMMON: ReadonlySet<string> = new Set(['ping', 'heartbeat', 'keepalive', 'error', 'done']);

/** True for a frame that any API may send. */
function isNeutral({ data, fields, kind, isWhole }: CapturedFrame): boolean {
  const trimmed = data.trim();
  if (!isWhole || trimmed === '' || trimmed === DONE || COMMON.has(kind)) return true;
  return fields !== undefined && (Object.keys(fields).length === 0 || has(fields, 'error'));
}

/** Whether a frame shows a dialect. */
type Shows = (frame: CapturedFrame) => 'surely' | 'perhaps' | undefined;

interface Sign {
  readonly make: () => Dialect;
  readonly shows: Shows;
}

/** A sign in the fields of a frame, whatever its event is named. */
function inFields(isShown: (fields: Fields, kind: string) => boolean): Shows {
  return ({ fields, kind }) => (fields !== undefined && isShown(fields, kind) ? 'surely' : undefined);
}

const ANTHROPIC: ReadonlySet<string> = new Set([
  'message_start',
  'content_block_start',
  'content_block_delta',
  'content_block_stop',
  'message_delta',
  'message_stop',
]);
const COHERE: ReadonlySet<string> = new Set([
  'message-start',
  'content-start',
  'content-delta',
  'content-end',
  'tool-plan-delta',
  'tool-call-start',
  'tool-call-delta',
  'tool-call-end',
  'citation-start',
  'citation-end',
  'message-end',
]);
const AG_UI = new RegExp(
  [
    'RUN_(?:STARTED|FINISHED|ERROR)',
    'STEP_(?:STARTED|FINISHED)',
    '(?:TEXT|REASONING|THINKING_TEXT)_MESSAGE_(?:START|CONTENT|END|CHUNK)',
    '(?:REASONING|THINKING)_(?:START|END)',
    'TOOL_CALL_(?:START|ARGS|END|CHUNK|RESULT)',
    '(?:STATE|MESSAGES|ACTIVITY)_SNAPSHOT',
    '(?:STATE|ACTIVITY)_DELTA',
  ]
    .map((type) => `^${type}$`)
    .join('|'),
);
const COMPLETIONS: ReadonlySet<unknown> = new Set([
  undefined,
  null,
  '',
  'chat.completion.chunk',
  'chat.completion',
  'text_completion',
]);
const CHAT_EVENTS: ReadonlySet<string> = new Set(['chats', 'chat_messages', 'agent_runs']);
const TASK_EVENTS: ReadonlySet<string> = new Set(['message', 'update', 'task', 'tasks']);
/** What only a task has, not a chat, a run or a message. */
const TASK_KEYS: readonly string[] = ['app_id', 'short_id', 'logs', 'output', 'partial_output', 'progress'];
const MAX_TASK_STATUS = 12;

const SIGNS: readonly Sign[] = [
  {
    make: chatDialect,
    shows: inFields(({ choices, object }) => Array.isArray(choices) && COMPLETIONS.has(object)),
  },
  {
    make: responsesDialect,
    // Frames of the Realtime API have names like these, and an id of the event.
    shows: inFields((fields, kind) => {
      if (kind === 'error') return has(fields, 'sequence_number') || has(fields, 'param');
      return /^response\.[a-z]/.test(kind) && !has(fields, 'event_id');
    }),
  },
  {
    make: anthropicDialect,
    shows: inFields((fields, kind) => ANTHROPIC.has(kind) || isAnthropicError(fields)),
  },
  { make: geminiDialect, shows: inFields(isGemini) },
  {
    make: ollamaDialect,
    shows: inFields(
      ({ model, done, message, response }) =>
        typeof model === 'string' && typeof done === 'boolean' && (isRecord(message) || typeof response === 'string'),
    ),
  },
  { make: cohereDialect, shows: inFields((_, kind) => COHERE.has(kind)) },
  {
    make: replicateDialect,
    shows: ({ event, id }) => (event === 'output' && /^\d+:\d+$/.test(id) ? 'surely' : undefined),
  },
  {
    make: gatewayDialect,
    shows: inFields((fields) => {
      if (fields['final'] === true) return ['usage', 'cost', 'warnings'].some((key) => has(fields, key));
      return typeof fields['is_final'] === 'boolean' && has(fields, 'content');
    }),
  },
  { make: aiSDKDialect, shows: showsAISDK },
  { make: agUIDialect, shows: inFields(({ type }) => typeof type === 'string' && AG_UI.test(type)) },
  { make: infernetJobsDialect, shows: (frame) => (frame.event === 'message' && isText(frame) ? 'perhaps' : undefined) },
  { make: infernetNativeDialect, shows: showsInfernetNative },
  { make: inferenceshTaskDialect, shows: inFields(isTask) },
  {
    make: inferenceshAgentDialect,
    shows: inFields((fields, kind) => CHAT_EVENTS.has(kind) || isDelta(fields, kind) || isPart(fields, kind)),
  },
];

function has(fields: Fields, key: string): boolean {
  return fields[key] !== undefined && fields[key] !== null;
}

function isAnthropicError({ type, error, ...rest }: Fields): boolean {
  if (type !== 'error' || !isRecord(error) || 'sequence_number' in rest) return false;
  return String(error['type']).endsWith('_error') && !('code' in error) && !('param' in error);
}

function isGemini({ candidates, promptFeedback, usageMetadata, error }: Fields): boolean {
  if (Array.isArray(candidates) && candidates.length > 0) {
    return candidates.some((each) => isRecord(each) && (has(each, 'content') || has(each, 'finishReason')));
  }
  if (isRecord(error)) return typeof error['code'] === 'number' && /^[A-Z]+(?:_[A-Z]+)*$/.test(String(error['status']));
  return isRecord(promptFeedback) || isRecord(usageMetadata);
}

function showsAISDK({ fields, kind }: CapturedFrame): ReturnType<Shows> {
  if (fields === undefined || typeof fields['type'] !== 'string') return undefined;
  const { id, delta, toolCallId, messageId, messageMetadata, errorText, finishReason, data } = fields;
  const isPiece = /^(?:text|reasoning)-(?:start|end|delta)$/.test(kind) && typeof id === 'string';
  if (isPiece && (typeof delta === 'string' || !kind.endsWith('delta'))) return 'surely';
  if (/^tool-(?:input|output|approval)-/.test(kind) && typeof toolCallId === 'string') return 'surely';
  if (kind === 'error') return typeof errorText === 'string' ? 'surely' : undefined;
  if (kind === 'start' && typeof messageId === 'string') return 'surely';
  if (kind === 'message-metadata') return isRecord(messageMetadata) ? 'surely' : undefined;
  if (kind === 'finish') return typeof finishReason === 'string' || isRecord(messageMetadata) ? 'perhaps' : undefined;
  const isOther =
    ['start', 'start-step', 'finish-step'].includes(kind) || (kind.startsWith('data-') && data !== undefined);
  return isOther ? 'perhaps' : undefined;
}

/** True for a frame of nothing but text. */
function isText({ fields, isWhole }: CapturedFrame): boolean {
  return isWhole && fields !== undefined && typeof fields['text'] === 'string' && Object.keys(fields).length === 1;
}

function showsInfernetNative(frame: CapturedFrame): ReturnType<Shows> {
  const { event, fields = {} } = frame;
  const isSure =
    (event === 'job' && has(fields, 'status') && (has(fields, 'input_spec') || has(fields, 'jobId'))) ||
    (event === 'meta' && (has(fields, 'provider_node_id') || has(fields, 'provider_name'))) ||
    (event === 'done' && has(fields, 'text') && has(fields, 'finished_at'));
  if (isSure) return 'surely';
  return event === 'token' && isText(frame) ? 'perhaps' : undefined;
}

/** An increment of a model's answer, of a task or a chat. */
function isDelta({ data, delta }: Fields, kind: string): boolean {
  return kind === 'delta' && (isRecord(delta) || (isRecord(data) && isRecord(data['delta'])));
}

/** A changed part of something, of which only its event or its keys say what it is. */
function isPart({ data, fields }: Fields, kind: string): boolean {
  if (!TASK_EVENTS.has(kind) || !isRecord(data) || !Array.isArray(fields)) return false;
  return typeof data['status'] !== 'number' && !TASK_KEYS.some((key) => key in data);
}

function isTask(fields: Fields, kind: string): boolean {
  const { data, id, status } = fields;
  if (isDelta(fields, kind)) return !has(isRecord(data) ? data : fields, 'resource_id');
  if (!TASK_EVENTS.has(kind)) return false;
  if (isRecord(data) && Array.isArray(fields['fields'])) return true;
  const isState = Number.isInteger(status) && Number(status) >= 0 && Number(status) <= MAX_TASK_STATUS;
  return isState && typeof id === 'string' && (kind !== 'message' || has(fields, 'app_id') || has(fields, 'short_id'));
}
