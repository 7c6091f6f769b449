import type { TurnOptions } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import type { RawEvent, StreamEvent, ToolCallEvent } from '../types.js';
import { hasOthers, isBlank, othersOf } from './chatExtras.js';
import type { ChatContentPart, ChatMessage, ChatToolCall } from './chatRequest.js';
import { LEGACY_CALL_ID, TOOL_CALL_KEYS } from './chatToolCalls.js';

/** The assistant's turn, as a message of the next request. @public */
export interface ChatTurn extends ChatMessage {
  readonly role: 'assistant';
}

/**
 * How thinking is given back with the assistant's turn. `as`: in a field of the message, or as `'parts'` of its content (Mistral).
 * `when`: in every turn, or only in turns with tool calls, where the model goes on with the thought. `evenEmpty`: the field stands
 * there also where there was no thinking (DeepSeek). `'omit'`: not at all. Where the server sent `reasoning_details`, those are
 * given back, and nothing of this.
 * @public
 */
export type ChatTurnThinking =
  | 'omit'
  | {
      readonly as: 'reasoning_content' | 'reasoning' | 'parts';
      readonly when: 'always' | 'tool-calls';
      readonly evenEmpty?: boolean | undefined;
    };

/** Details whose text comes in pieces; others, such as encrypted ones, are whole. */
const IN_PIECES: ReadonlyMap<unknown, string> = new Map([
  ['reasoning.text', 'text'],
  ['reasoning.summary', 'summary'],
]);

type Fields = Readonly<Record<string, unknown>>;

/** How the chat family gives an answer back: the first choice as a message. */
export function chatTurn(thinking: ChatTurnThinking): TurnOptions<ChatTurn> {
  return { needs: isNeeded, build: (events) => build(events, thinking) };
}

/** The frames that hold what no event has: reasoning details, and what hangs on tool calls and on thinking parts. */
function isNeeded({ frame }: RawEvent): boolean {
  return deltasOf(frame).some(
    (delta) =>
      !isBlank(delta['reasoning_details']) ||
      toolCallsOf(delta).some((call) => hasOthers(call, TOOL_CALL_KEYS)) ||
      thinkingOthersOf(delta).length > 0,
  );
}

function build(events: readonly StreamEvent[], thinking: ChatTurnThinking): ChatTurn {
  const calls = events.filter((event) => event.type === 'tool-call');
  const frames = events.filter((event) => event.type === 'raw').flatMap(({ frame }) => deltasOf(frame));
  const text = joined(events, 'text');
  const refusal = joined(events, 'refusal');
  const thought = joined(events, 'thinking');
  const isCut = !events.some(({ type }) => type === 'finish');
  const joinedDetails = joinDetails(frames);
  const details = isCut ? joinedDetails.filter(isWhole) : joinedDetails;
  const isThinkingGiven =
    joinedDetails.length === 0 && thinking !== 'omit' && (thinking.when === 'always' || calls.length > 0);
  const hasThinkingField =
    isThinkingGiven && thinking.as !== 'parts' && (thought !== '' || thinking.evenEmpty === true);
  const legacy = calls.find(({ id }) => id === LEGACY_CALL_ID);
  const hung = frames.flatMap(toolCallsOf).filter((call) => hasOthers(call, TOOL_CALL_KEYS));
  const toolCalls = calls.filter((call) => call !== legacy).map((call, at) => toolCall(call, at, hung));
  const audio = audioOf(events);

  const isSilent = refusal !== '' || calls.length > 0 || audio !== undefined;
  let content: ChatTurn['content'] = text === '' && isSilent ? null : text;
  if (isThinkingGiven && thinking.as === 'parts' && thought !== '') content = contentParts(events);
  return {
    role: 'assistant',
    content,
    ...(refusal !== '' && { refusal }),
    ...(hasThinkingField && { [thinking.as]: thought }),
    ...(details.length > 0 && { reasoning_details: details }),
    ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
    ...(legacy && { function_call: { name: legacy.name, arguments: argumentsOf(legacy) } }),
    ...(audio !== undefined && { audio }),
  };
}

function joined(events: readonly StreamEvent[], type: 'text' | 'thinking' | 'refusal'): string {
  return events.map((event) => (event.type === type ? event.text : '')).join('');
}

function toolCall(call: ToolCallEvent, at: number, hung: readonly Fields[]): ChatToolCall {
  const { id, name, argumentsText: text } = call;
  // Arguments that are their own text were never JSON: the value of a JSON text is shorter than the text.
  const isCustom = typeof call.arguments === 'string' && call.arguments === text;
  const told = isCustom
    ? { type: 'custom', custom: { name, input: text } }
    : { type: 'function', function: { name, arguments: argumentsOf(call) } };
  return { ...othersOfCall(id, at, hung), id, ...told };
}

/** As the model sent them; servers parse them, so that none are an empty object. */
function argumentsOf({ argumentsText }: ToolCallEvent): string {
  return argumentsText === '' ? '{}' : argumentsText;
}

/** What a provider hung on a call, such as Gemini's thought signatures; by its id, else by its place. */
function othersOfCall(id: string, at: number, hung: readonly Fields[]): Fields {
  const others = hung.filter((call) => {
    const named = call['id'];
    return typeof named === 'string' && named !== '' ? named === id : (call['index'] ?? 0) === at;
  });
  return Object.assign({}, ...others.map((call) => othersOf(call, TOOL_CALL_KEYS))) as Fields; // of records
}

/** Joins what came in pieces: of one type and index, until a signature closes it. The rest is kept as it came. */
function joinDetails(deltas: readonly Fields[]): readonly unknown[] {
  const details: unknown[] = [];
  const open = new Map<string, Record<string, unknown>>();
  for (const detail of deltas.flatMap(({ reasoning_details: list }) =>
    Array.isArray(list) ? (list as unknown[]) : [],
  )) {
    const key = isRecord(detail) ? IN_PIECES.get(detail['type']) : undefined;
    if (!isRecord(detail) || key === undefined) {
      details.push(detail);
      continue;
    }
    const place = JSON.stringify([detail['type'], detail['index'] ?? null]);
    const known = open.get(place);
    if (known === undefined || !isMore(known, detail, key)) {
      const begun = { ...detail };
      open.set(place, begun);
      details.push(begun);
      continue;
    }
    const { [key]: piece, ...rest } = detail;
    for (const [name, value] of Object.entries(rest)) if (!isBlank(value)) known[name] = value;
    if (typeof piece === 'string') known[key] = textOf(known[key]) + piece;
  }
  return details;
}

/** Anthropic takes no thought back without the signature that ends it. */
function isWhole(detail: unknown): boolean {
  if (!isRecord(detail) || detail['type'] !== 'reasoning.text' || !isBlank(detail['signature'])) return true;
  const { format } = detail;
  return typeof format !== 'string' || !format.startsWith('anthropic');
}

function isMore(known: Fields, detail: Fields, key: string): boolean {
  const isOther = !isBlank(known['id']) && !isBlank(detail['id']) && known['id'] !== detail['id'];
  return !isOther && (isBlank(known['signature']) || isBlank(detail[key]));
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Text and thinking in the order in which they came. */
function contentParts(events: readonly StreamEvent[]): readonly ChatContentPart[] {
  const parts: { type: string; text: string; others: Fields }[] = [];
  for (const event of events) {
    const last = parts.at(-1);
    if (event.type === 'text' || event.type === 'thinking') {
      if (last?.type === event.type) last.text += event.text;
      else parts.push({ type: event.type, text: event.text, others: {} });
    } else if (event.type === 'raw') {
      const thought = parts.findLast(({ type }) => type === 'thinking');
      for (const others of deltasOf(event.frame).flatMap(thinkingOthersOf))
        Object.assign(thought?.others ?? {}, others);
    }
  }
  return parts.map(({ type, text, others }) =>
    type === 'text' ? { type, text } : { ...others, type, thinking: [{ type: 'text', text }] },
  );
}

const THINKING_KEYS: ReadonlySet<string> = new Set(['type', 'thinking']);

/** What stands on thinking parts beside their text, such as signatures. */
function thinkingOthersOf({ content }: Fields): readonly Fields[] {
  const parts: readonly unknown[] = Array.isArray(content) ? content : [];
  return parts
    .filter((part) => isRecord(part) && part['type'] === 'thinking' && hasOthers(part, THINKING_KEYS))
    .map((part) => othersOf(part as Fields, THINKING_KEYS)); // records, as just filtered
}

/** OpenAI keeps the sound, and is told its id. */
function audioOf(events: readonly StreamEvent[]): { readonly id: string } | undefined {
  for (const event of events) {
    if (event.type !== 'media' || event.kind !== 'audio' || !isRecord(event.content)) continue;
    const { id } = event.content;
    if (typeof id === 'string' && id !== '') return { id };
  }
  return undefined;
}

/** What a frame says of the first choice. */
function deltasOf(frame: unknown): readonly Fields[] {
  const choices: readonly unknown[] = isRecord(frame) && Array.isArray(frame['choices']) ? frame['choices'] : [];
  return choices.flatMap((choice, position) => {
    if (!isRecord(choice) || (choice['index'] ?? position) !== 0) return [];
    const delta = choice['delta'] ?? choice['message'];
    return isRecord(delta) ? [delta] : [];
  });
}

function toolCallsOf(delta: Fields): readonly Fields[] {
  const calls = delta['tool_calls'] ?? delta['toolCalls'];
  return Array.isArray(calls) ? calls.filter(isRecord) : [];
}
