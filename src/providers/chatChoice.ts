import type { Emit } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import { InlineThinking } from '../protocol/inlineThinking.js';
import type { ChoiceFinish, OutputPlace, StreamEvent } from '../types.js';
import type { ChatChoicePart, ChatDelta, ToolCallPart } from './chatChunk.js';
import { extrasOf, isBlank } from './chatExtras.js';
import { finishReasonOf, finishWordOf } from './chatFinish.js';
import { ChatToolCalls, LEGACY_CALL_ID, nameOf, TOOL_CALL_KEYS, type ToolCallRoom } from './chatToolCalls.js';

/** Members of a choice and its delta that tell what is so, and repeat it; all others tell what came. */
const STATES: readonly string[] = [
  'content_filter_results', // Azure
  'content_filter_offsets',
  'content_filter_result',
  'native_finish_reason', // OpenRouter
  'stop_reason', // vLLM
  'channel', // Groq
];
const CHOICE_KEYS: ReadonlySet<string> = new Set([
  'index',
  'delta',
  'message',
  'text',
  'finish_reason',
  'finishReason',
  ...STATES,
]);
const DELTA_KEYS: ReadonlySet<string> = new Set([
  'role',
  'content',
  'refusal',
  'reasoning',
  'reasoning_content',
  'tool_calls',
  'toolCalls',
  'function_call',
  'images',
  'audio',
  ...STATES,
]);
const TEXT_KEYS: ReadonlySet<string> = new Set(['type', 'text']);
const THINKING_KEYS: ReadonlySet<string> = new Set(['type', 'thinking']);

/** One of an answer's choices, over all chunks. */
export class ChatChoice {
  /** Set while the provider's last word is that this choice has ended. */
  finish: ChoiceFinish | undefined;
  readonly #output: OutputPlace;
  readonly #thinking: OutputPlace;
  readonly #calls: ChatToolCalls;
  readonly #inline: InlineThinking | undefined;
  #hasContent = false;
  #state = '';
  #plain: PlainPart | undefined;

  constructor(index: number, room: ToolCallRoom, inlineThinking: boolean) {
    const place = index > 0 ? ({ index, alternative: true } as const) : { index };
    this.#output = { ...place, name: 'output' };
    this.#thinking = { ...place, name: 'thinking' };
    this.#calls = new ChatToolCalls(index, room);
    this.#inline = inlineThinking ? new InlineThinking() : undefined;
  }

  /** True while the last characters may be the beginning of a `<think>` tag. */
  get isHolding(): boolean {
    return this.#inline?.isHolding ?? false;
  }

  /**
   * Emits what the part brings.
   * @param isWell - false in a frame that reports a failure: what came is delivered, and nothing is concluded from it
   * @returns true where it holds something without an event of its own. What is so is told once; what came is told each time, also
   * where the same came twice.
   */
  read(part: ChatChoicePart, isWell: boolean, emit: Emit): boolean {
    // A choice that goes on has not ended, whatever was said before: its end must be said again.
    const deliver: Emit = (event) => {
      this.#hasContent = true;
      this.finish = undefined;
      emit(event);
    };
    // A whole `message` is read where nothing came in pieces; beside a delta it repeats what came so far (Perplexity).
    const delta = part.delta ?? (this.#hasContent ? undefined : part.message);
    let news = extrasOf(part, CHOICE_KEYS);
    let state = statesOf(part) + (delta ? statesOf(delta) : '');
    if (part.text) this.#text(part.text, deliver);
    if (delta !== undefined && delta !== null) news += this.#delta(delta, deliver);
    else if (!isBlank(part.message)) state += JSON.stringify(part.message);
    const word = finishWordOf(part);
    if (word !== undefined && isWell) this.#end(word, emit);
    this.#plain = word === undefined && news === '' ? plainPartOf(part, state) : undefined;
    if (state === '' || state === this.#state) return news !== '';
    this.#state = state;
    return true;
  }

  /** The last part, where it brought one text or one piece of a tool call, and nothing else. */
  get plain(): PlainPart | undefined {
    return this.#plain;
  }

  /**
   * Does what `read` does for a part like one that was plain.
   * @param text - not empty
   * @param callIndex - of a piece of a tool call
   * @returns the event to emit; undefined, with nothing done, where `read` would do something else
   */
  next({ type, state, call }: PlainPart, text: string, callIndex: ToolCallPart['index']): StreamEvent | undefined {
    if (state !== '' && state !== this.#state) return undefined;
    let event: StreamEvent | undefined;
    if (call !== undefined) event = this.#calls.more({ index: callIndex, id: call.id }, call.name, text);
    else if (type === 'thinking') event = textEvent('thinking', text, this.#thinking);
    else if (this.#inline === undefined) event = textEvent('text', text, this.#output);
    else event = this.#untagged(text, this.#inline);
    if (event === undefined) return undefined;
    this.#hasContent = true;
    this.finish = undefined;
    return event;
  }

  /** The stream is cut: emits what was held as the beginning of a tag, see {@link InlineThinking.release}. */
  release(emit: Emit): void {
    this.#inline?.release(this.#sayTo(emit));
  }

  /** The stream is over: emits what was held back. */
  flush(emit: Emit): void {
    this.#inline?.flush(this.#sayTo(emit));
    this.#calls.finish(this.finish?.reason, emit);
  }

  /** Returns what has no event of its own, as text. */
  #delta(delta: ChatDelta, emit: Emit): string {
    let extras = extrasOf(delta, DELTA_KEYS);
    // vLLM for a while sent the same text in both fields: it is read from one.
    const { reasoning, reasoning_content } = delta;
    const thinking = isBlank(reasoning_content) ? reasoning : reasoning_content;
    if (typeof thinking === 'string') this.#think(thinking, emit);
    else if (!isBlank(thinking)) extras += JSON.stringify(thinking);

    const { content } = delta;
    if (typeof content === 'string') this.#text(content, emit);
    else for (const item of content ?? []) extras += this.#contentPart(item, emit);

    if (delta.refusal) emit({ type: 'refusal', text: delta.refusal, ...this.#output });
    for (const call of delta.tool_calls ?? delta.toolCalls ?? []) extras += this.#toolCall(call, emit);
    // The deprecated form: one call, with neither index nor id.
    if (delta.function_call) this.#calls.push({ id: LEGACY_CALL_ID, function: delta.function_call }, emit);
    for (const image of delta.images ?? []) extras += this.#image(image, emit);
    return extras + this.#audio(delta['audio'], emit);
  }

  #contentPart(part: unknown, emit: Emit): string {
    if (isRecord(part)) {
      if (part['type'] === 'text' && typeof part['text'] === 'string') {
        this.#text(part['text'], emit);
        return extrasOf(part, TEXT_KEYS);
      }
      if (part['type'] === 'thinking') {
        const { thinking } = part;
        const texts = Array.isArray(thinking) ? thinking.map(textOf) : [textOf(thinking)];
        if (texts.every((text) => text !== undefined)) {
          this.#think(texts.join(''), emit);
          return extrasOf(part, THINKING_KEYS);
        }
      }
    }
    return isBlank(part) ? '' : JSON.stringify(part);
  }

  #text(text: string, emit: Emit): void {
    if (text === '') return;
    if (this.#inline === undefined) emit(textEvent('text', text, this.#output));
    else this.#inline.push(text, this.#sayTo(emit));
  }

  #think(text: string, emit: Emit): void {
    if (text !== '') emit(textEvent('thinking', text, this.#thinking));
  }

  #toolCall(call: ToolCallPart, emit: Emit): string {
    this.#calls.push(call, emit);
    return extrasOf(call, TOOL_CALL_KEYS);
  }

  #image(image: unknown, emit: Emit): string {
    const url = isRecord(image) && isRecord(image['image_url']) ? image['image_url']['url'] : undefined;
    if (typeof url !== 'string') return JSON.stringify(image);
    emit({ type: 'media', kind: 'image', content: url, ...this.#output });
    return '';
  }

  #audio(audio: unknown, emit: Emit): string {
    if (isBlank(audio)) return '';
    if (!isRecord(audio) || (isBlank(audio['data']) && isBlank(audio['transcript']))) return JSON.stringify(audio);
    emit({ type: 'media', kind: 'audio', content: audio, ...this.#output });
    return '';
  }

  #end(word: string, emit: Emit): void {
    this.#inline?.flush(this.#sayTo(emit));
    const reason = finishReasonOf(word);
    this.#calls.finish(reason, emit);
    this.finish = { index: this.#output.index, reason, rawReason: word };
  }

  /** The event of a text in which no tag begins or ends; undefined where one may. */
  #untagged(text: string, inline: InlineThinking): StreamEvent | undefined {
    if (inline.isHolding || text.includes('<')) return undefined;
    let event: StreamEvent | undefined;
    inline.push(
      text,
      this.#sayTo((told) => {
        event = told;
      }),
    );
    return event;
  }

  #sayTo(emit: Emit): (type: 'text' | 'thinking', text: string) => void {
    return (type, text) => {
      if (type === 'text') emit(textEvent(type, text, this.#output));
      else this.#think(text, emit);
    };
  }
}

/** A part that brought one text, or one piece of a tool call's arguments, and nothing else. */
export interface PlainPart {
  readonly type: 'text' | 'thinking' | 'tool-call-delta';
  /** The place of the text in the part. */
  readonly path: string;
  /** What else the part says is so. */
  readonly state: string;
  readonly call: PlainCall | undefined;
}

interface PlainCall {
  /** The place of the call in the part. */
  readonly path: string;
  readonly index: ToolCallPart['index'];
  readonly id: ToolCallPart['id'];
  readonly name: string;
}

/** The keys of a delta whose values bring something of their own. */
const NEWS: readonly string[] = [
  'refusal',
  'tool_calls',
  'toolCalls',
  'function_call',
  'images',
  'audio',
  'content',
  'reasoning_content',
  'reasoning',
];

function plainPartOf(part: ChatChoicePart, state: string): PlainPart | undefined {
  const { delta, message, text } = part;
  if (text) {
    return isBlank(delta) && isBlank(message) ? { type: 'text', path: 'text', state, call: undefined } : undefined;
  }
  if (delta === undefined || delta === null) return undefined;
  const news = NEWS.filter((key) => !isBlank(delta[key]));
  const [key] = news;
  if (key === undefined || news.length > 1) return undefined;
  if (key === 'tool_calls' || key === 'toolCalls') return plainCallOf(delta, key, state);
  if (key === 'content') return plainContentOf(delta.content, state);
  if (typeof delta[key] !== 'string' || !key.startsWith('reasoning')) return undefined;
  return { type: 'thinking', path: `delta.${key}`, state, call: undefined };
}

function plainContentOf(content: ChatDelta['content'], state: string): PlainPart | undefined {
  if (typeof content === 'string') return { type: 'text', path: 'delta.content', state, call: undefined };
  const [part] = content ?? [];
  if (content?.length !== 1 || !isRecord(part)) return undefined;
  if (part['type'] === 'text') {
    return part['text'] ? { type: 'text', path: 'delta.content.0.text', state, call: undefined } : undefined;
  }
  const thinking: readonly unknown[] = Array.isArray(part['thinking']) ? part['thinking'] : [];
  const [item] = thinking;
  if (part['type'] !== 'thinking' || thinking.length !== 1 || !isRecord(item) || !textOf(item)) return undefined;
  return { type: 'thinking', path: 'delta.content.0.thinking.0.text', state, call: undefined };
}

function plainCallOf(delta: ChatDelta, key: 'tool_calls' | 'toolCalls', state: string): PlainPart | undefined {
  const calls = delta.tool_calls ?? delta.toolCalls;
  const [call] = calls ?? [];
  if (calls !== delta[key] || calls?.length !== 1 || call === undefined) return undefined;
  const { index, id, function: called, custom } = call;
  const given = called?.arguments ?? custom?.input;
  if (typeof given !== 'string' || given === '') return undefined;
  const path = `delta.${key}.0`;
  const place = called?.arguments === given ? 'function.arguments' : 'custom.input';
  return {
    type: 'tool-call-delta',
    path: `${path}.${place}`,
    state,
    call: { path, index, id, name: nameOf(call) },
  };
}

/** An event with its keys always in one order: engines read such objects faster, and a spread is slow. */
function textEvent(type: 'text' | 'thinking', text: string, { index, name, alternative }: OutputPlace): StreamEvent {
  return alternative === true ? { type, text, index, name, alternative } : { type, text, index, name };
}

function statesOf(part: ChatChoicePart | ChatDelta): string {
  let states = '';
  for (const key of STATES) if (!isBlank(part[key])) states += JSON.stringify([key, part[key]]);
  return states;
}

/** The text of a thinking part: a string, or an object with `text`. */
function textOf(part: unknown): string | undefined {
  if (typeof part === 'string') return part;
  return isRecord(part) && typeof part['text'] === 'string' ? part['text'] : undefined;
}
