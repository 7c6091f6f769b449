import type { Cost, FinishEvent, OutputPlace, StreamEvent, ToolCallEvent, ToolResultEvent, Usage } from '../types.js';

/** Text or a refusal, as far as it has come. @public */
export interface MessageText extends OutputPlace {
  readonly type: 'text' | 'refusal';
  readonly content: string;
  /** True when the answer has finished, or its next output has begun; false again where this one goes on. */
  readonly done: boolean;
}

/** An image, a sound or another file. Each that comes is an output of its own. @public */
export interface MessageMedia extends OutputPlace {
  readonly type: 'media';
  /** In the provider's words: `image`, `audio`, or a media type. */
  readonly kind: string;
  /** Base64, a URL or an object, as it came. */
  readonly content: unknown;
  /** It is whole when it comes. */
  readonly done: true;
}

/** A part of what a message says. @public */
export type MessageOutput = MessageText | MessageMedia;

/** A tool call that is still arriving: to be shown, not to be run. It has no `arguments`. @public */
export interface ToolCallPreview {
  readonly id: string;
  /** The choice or message that the call belongs to. */
  readonly index: number;
  readonly name: string;
  /** The beginning of the arguments' JSON. */
  readonly argumentsText: string;
  readonly complete: false;
  /** As in {@link OutputPlace}. */
  readonly alternative?: true;
}

/** A message as far as it has come. It never changes: what comes next is in another one, which shares what stayed as it was. @public */
export interface Message<Turn = unknown> extends MessageContent {
  /**
   * The message as the assistant's turn of the next request, in the provider's own form: signatures, ids and arguments are
   * in it byte for byte. Of an answer that was cut, what came of it and is whole.
   * @throws TypeError where the message's dialect is not known or knows no conversation
   */
  readonly toRequest: () => Turn;
}

/** What a message says, as far as it has come. @public */
export interface MessageContent {
  /** In the order in which they began; one for each text, by `index` and `name`. Alternative answers are marked as such. */
  readonly outputs: readonly MessageOutput[];
  /** The reasoning, that of alternative answers left out. */
  readonly thinking: string;
  /** The calls that are whole. */
  readonly toolCalls: readonly ToolCallEvent[];
  /** The calls that are not whole; one that was cut stays here. */
  readonly toolCallPreviews: readonly ToolCallPreview[];
  /** What tools gave back, in the order in which it came; absent where none did. A later result of a call replaces a preliminary one. */
  readonly toolResults?: readonly ToolResultEvent[];
  /** How often the answer has begun anew, which empties all the rest. */
  readonly restarts: number;
  /** The provider's last word on it. */
  readonly usage?: Usage;
  /** As in `usage`. */
  readonly cost?: Cost;
  /** Present when the answer is proven to be whole. */
  readonly finish?: FinishEvent;
  /** The state of a task or a response, in the provider's words, and its id. */
  readonly status?: string;
  readonly id?: string;
  /** A task's last output; absent where there was none. */
  readonly output?: unknown;
}

type EventOf<T extends StreamEvent['type']> = Extract<StreamEvent, { type: T }>;

export function emptyMessage(restarts = 0): MessageContent {
  return { outputs: [], thinking: '', toolCalls: [], toolCallPreviews: [], restarts };
}

/**
 * The message with an event in it, and the same message where the event is none of its parts. Costs as much as the lists that
 * change have items, however long texts are: strings are concatenated, which copies nothing.
 */
export function addToMessage(message: MessageContent, event: StreamEvent): MessageContent {
  switch (event.type) {
    case 'text':
    case 'refusal':
      return event.text === '' ? message : { ...message, outputs: withText(message.outputs, event) };
    case 'thinking':
      if (event.alternative === true || event.text === '') return message;
      return { ...message, thinking: message.thinking + event.text };
    case 'media':
      return { ...message, outputs: withMedia(message.outputs, event) };
    case 'tool-call-delta': {
      const toolCallPreviews = withDelta(message.toolCallPreviews, event);
      return toolCallPreviews === message.toolCallPreviews ? message : { ...message, toolCallPreviews };
    }
    case 'tool-call': {
      const { toolCallPreviews, toolCalls } = message;
      const at = toolCallPreviews.findIndex(({ id, index }) => id === event.id && index === event.index);
      return {
        ...message,
        toolCalls: [...toolCalls, event],
        toolCallPreviews: at === -1 ? toolCallPreviews : toolCallPreviews.filter((_, place) => place !== at),
      };
    }
    case 'usage': {
      const { type: _, ...usage } = event;
      const { cost: __, ...rest } = message;
      return usage.cost === undefined ? { ...rest, usage } : { ...rest, usage, cost: usage.cost };
    }
    case 'status':
      if (event.status === message.status && (event.id ?? message.id) === message.id) return message;
      return { ...message, status: event.status, ...(event.id === undefined ? undefined : { id: event.id }) };
    case 'tool-result':
      return { ...message, toolResults: withResult(message.toolResults ?? [], event) };
    case 'output':
      return { ...message, output: event.value };
    case 'finish':
      return { ...message, outputs: allDone(message.outputs), finish: event };
    case 'restart':
      return emptyMessage(message.restarts + 1);
    case 'progress':
    case 'log':
    case 'warning':
    case 'heartbeat':
    case 'raw':
      return message;
    default:
      return message; // of a later version
  }
}

function withResult(results: readonly ToolResultEvent[], event: ToolResultEvent): readonly ToolResultEvent[] {
  const at = results.findLastIndex(({ id, preliminary }) => id === event.id && preliminary === true);
  return at === -1 ? [...results, event] : results.with(at, event);
}

function withText(outputs: readonly MessageOutput[], event: EventOf<'text' | 'refusal'>): readonly MessageOutput[] {
  const { type, index, name, text } = event;
  const at = outputs.findLastIndex((output) => output.type === type && output.index === index && output.name === name);
  const known = outputs[at];
  if (known === undefined || known.type === 'media') {
    return begin(outputs, { type, ...placeOf(event), content: text, done: false });
  }
  const changed = [...outputs];
  changed[at] = { ...known, content: known.content + text, done: false };
  return changed;
}

function withMedia(outputs: readonly MessageOutput[], event: EventOf<'media'>): readonly MessageOutput[] {
  const { type, kind, content } = event;
  return begin(outputs, { type, ...placeOf(event), kind, content, done: true });
}

/** Adds an output; the others of its answer have ended. */
function begin(outputs: readonly MessageOutput[], added: MessageOutput): readonly MessageOutput[] {
  return [...outputs.map((output) => (isOfOneAnswer(output, added) ? done(output) : output)), added];
}

/** The items of an answer may be numbered, and alternative answers are told apart by their number alone. */
function isOfOneAnswer(one: OutputPlace, other: OutputPlace): boolean {
  return one.alternative === other.alternative && (one.alternative !== true || one.index === other.index);
}

function allDone(outputs: readonly MessageOutput[]): readonly MessageOutput[] {
  return outputs.some((output) => !output.done) ? outputs.map(done) : outputs;
}

function done(output: MessageOutput): MessageOutput {
  return output.done ? output : { ...output, done: true };
}

function placeOf({ index, name, alternative }: OutputPlace): OutputPlace {
  return alternative === undefined ? { index, name } : { index, name, alternative };
}

function withDelta(
  previews: readonly ToolCallPreview[],
  { id, index, name, argumentsDelta, alternative }: EventOf<'tool-call-delta'>,
): readonly ToolCallPreview[] {
  const at = previews.findLastIndex((preview) => preview.id === id && preview.index === index);
  const known = previews[at];
  if (known === undefined) {
    const preview: ToolCallPreview = { id, index, name, argumentsText: argumentsDelta, complete: false };
    return [...previews, alternative === undefined ? preview : { ...preview, alternative }];
  }
  if (argumentsDelta === '' && (name === '' || name === known.name)) return previews;
  const changed = [...previews];
  changed[at] = {
    ...known,
    name: name === '' ? known.name : name,
    argumentsText: known.argumentsText + argumentsDelta,
  };
  return changed;
}
