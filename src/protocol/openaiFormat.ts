import type {
  FinishEvent,
  FinishReason,
  MediaEvent,
  OutputPlace,
  StreamEvent,
  ToolCallDeltaEvent,
  ToolCallEvent,
  Usage,
} from '../types.js';
import { isRecord } from './errorBody.js';
import {
  type EncoderOptions,
  type EventEncoder,
  RestartNotTold,
  type ToldEnding,
  type ToldFailure,
} from './eventFormat.js';
import { firstOutput } from './firstOutput.js';
import { mediaFileOf } from './mediaFile.js';
import { jsonOf, SSE_HEADERS, sseComment, sseData } from './sseResponse.js';

/** OpenAI's words. It has none for a refusal's end, nor for one that is not known, and its clients fail without a word. */
const FINISH_WORDS: Readonly<Record<FinishReason, string>> = {
  stop: 'stop',
  length: 'length',
  'content-filter': 'content_filter',
  'tool-calls': 'tool_calls',
  refusal: 'stop',
  other: 'stop',
  unknown: 'stop',
};

const DONE = sseData('[DONE]');
/** As many as dialects read; chosen there. */
const MAX_CHOICES = 1024;

/**
 * Chat completion chunks, as OpenAI sends them and its copies' clients read them.
 *
 * - *Thinking* goes into `reasoning_content`, DeepSeek's name for it, which most clients read; never into `reasoning` too, since
 *   those that read both would show it twice.
 * - *Tool calls* are told by index, their id and name once; a call that came whole is one piece. Calls that the provider runs
 *   itself are left out: a client would run them.
 * - *Usage* has a last chunk of its own, with no choices, as after `stream_options: { include_usage: true }`, where it is known.
 * - *A failure*, and a stop on purpose, is `{"error": …}`, at which OpenAI's clients throw. No `[DONE]` follows.
 */
export function openaiFormat(options: EncoderOptions): EventEncoder {
  return new OpenAIEncoder(options);
}

/** One tool call of a choice. */
interface ToldCall {
  readonly index: number;
  /** Characters of its arguments that were sent. */
  chars: number;
}

/** One of several answers. */
interface Choice {
  readonly index: number;
  /** By id; those that were answered here are told apart from later ones with the same id. */
  readonly calls: Map<string, ToldCall>;
  callsBegun: number;
  isText: (place: OutputPlace) => boolean;
  isThinking: (place: OutputPlace) => boolean;
}

class OpenAIEncoder implements EventEncoder {
  readonly headers = SSE_HEADERS;
  readonly failsByCutting = false;
  /** A chunk's beginning: what is the same in all of them. */
  readonly #head: string;
  readonly #withCost: boolean;
  readonly #choices: Map<number, Choice> = new Map();
  readonly #first: Choice;
  #usage: Usage | undefined;
  #finish: FinishEvent | undefined;
  /** Something of the answer was sent, which cannot be taken back. */
  #hasSent = false;

  constructor({ id, createdAt, model = 'unknown', events }: EncoderOptions) {
    const head = JSON.stringify({ id, object: 'chat.completion.chunk', created: createdAt, model });
    this.#head = `data: ${head.slice(0, -1)},`;
    this.#withCost = events.cost ?? false;
    this.#first = this.#begin(0);
  }

  open(): string {
    return this.#role(this.#first);
  }

  encode(event: StreamEvent | string): string {
    if (typeof event === 'string') return this.#say(this.#first, 'content', event);
    switch (event.type) {
      case 'text':
      case 'thinking':
      case 'refusal':
        return this.#text(event.type, event.text, event);
      case 'tool-call-delta':
      case 'tool-call':
        return this.#call(event);
      case 'tool-result':
        this.#first.calls.delete(event.id);
        return '';
      case 'media':
        return this.#media(event);
      case 'usage':
        this.#usage = event;
        return '';
      case 'finish':
        this.#finish = event;
        return '';
      case 'heartbeat':
        return sseComment(event.comment);
      case 'restart':
        return this.#restart();
      default: // no place in a completion
        return '';
    }
  }

  close({ outcome, receipt }: ToldEnding): string {
    if (outcome === 'stopped') {
      const retryable = receipt?.by === 'shutdown';
      return this.fail({ code: 'stopped', message: 'The answer was stopped before its end', retryable });
    }
    return this.#ends() + this.#spent() + DONE;
  }

  fail({ code, message, retryable }: ToldFailure): string {
    const type = retryable ? 'server_error' : 'api_error';
    return sseData(JSON.stringify({ error: { message, type, param: null, code } }));
  }

  heartbeat(comment: string): string {
    return sseComment(comment);
  }

  #role({ index }: Choice): string {
    return this.#delta(index, '{"role":"assistant","content":"","refusal":null}');
  }

  #delta(index: number, delta: string, finish = 'null'): string {
    return `${this.#head}"choices":[{"index":${String(index)},"delta":${delta},"finish_reason":${finish}}]}\n\n`;
  }

  /** The choice of an event, and what is to be sent before its first piece. */
  #choiceOf({ index, alternative }: Pick<OutputPlace, 'index' | 'alternative'>): readonly [Choice, string] {
    // The index of the first answer's outputs counts items of it, not choices.
    if (alternative !== true) return [this.#first, ''];
    const known = this.#choices.get(index);
    if (known !== undefined) return [known, ''];
    const choice = this.#begin(index);
    return [choice, this.#role(choice)];
  }

  #begin(index: number): Choice {
    const choice = {
      index,
      calls: new Map<string, ToldCall>(),
      callsBegun: 0,
      isText: firstOutput(),
      isThinking: firstOutput(),
    };
    this.#choices.set(index, choice);
    return choice;
  }

  #text(type: 'text' | 'thinking' | 'refusal', text: string, place: OutputPlace): string {
    const [choice, role] = this.#choiceOf(place);
    if (type === 'refusal') return role + this.#say(choice, 'refusal', text);
    if (type === 'text') return choice.isText(place) ? role + this.#say(choice, 'content', text) : role;
    return choice.isThinking(place) ? role + this.#say(choice, 'reasoning_content', text) : role;
  }

  #say({ index }: Choice, key: 'content' | 'reasoning_content' | 'refusal', text: string): string {
    if (text === '') return '';
    this.#hasSent = true;
    return this.#delta(index, `{"${key}":${JSON.stringify(text)}}`);
  }

  #call(event: ToolCallDeltaEvent | ToolCallEvent): string {
    if (event.providerExecuted === true) return '';
    const [choice, role] = this.#choiceOf(event);
    const known = choice.calls.get(event.id);
    const call: ToldCall = known ?? { index: choice.callsBegun, chars: 0 };
    if (known === undefined) {
      choice.calls.set(event.id, call);
      choice.callsBegun += 1;
    }
    const piece = event.type === 'tool-call' ? restOf(event, call) : event.argumentsDelta;
    if (known !== undefined && piece === '') return role;
    call.chars += piece.length;
    this.#hasSent = true;
    const { id, name } = event;
    const index = String(call.index);
    const given = JSON.stringify(piece);
    const told =
      known === undefined
        ? `"id":${JSON.stringify(id)},"type":"function","function":{"name":${JSON.stringify(name)},"arguments":${given}}`
        : `"function":{"arguments":${given}}`;
    return role + this.#delta(choice.index, `{"tool_calls":[{"index":${index},${told}}]}`);
  }

  /** Images as OpenRouter sends them, and audio as OpenAI does. */
  #media(event: MediaEvent): string {
    const [choice, role] = this.#choiceOf(event);
    const { kind, content } = event;
    let delta: object | undefined;
    if (kind === 'audio' && isRecord(content) && ('data' in content || 'transcript' in content)) {
      delta = { audio: content };
    } else {
      const file = mediaFileOf(event);
      if (file?.mediaType.startsWith('image/') === true) {
        delta = { images: [{ type: 'image_url', image_url: { url: file.url } }] };
      }
    }
    if (delta === undefined) return role;
    this.#hasSent = true;
    return role + this.#delta(choice.index, jsonOf(delta, event.type));
  }

  #restart(): string {
    if (this.#hasSent) throw new RestartNotTold();
    // The new answer may name its outputs otherwise.
    for (const choice of this.#choices.values()) {
      choice.isText = firstOutput();
      choice.isThinking = firstOutput();
    }
    this.#usage = undefined;
    this.#finish = undefined;
    return '';
  }

  #ends(): string {
    const { reason, choices = [] } = this.#finish ?? {};
    let ends = '';
    // Answers that are empty: OpenAI's client takes the choices for a list without gaps.
    const last = Math.max(...choices.map(({ index }) => index), ...this.#choices.keys());
    for (let index = 1; index <= Math.min(last, MAX_CHOICES); index++) {
      if (!this.#choices.has(index)) ends += this.#role(this.#begin(index));
    }
    for (const { index, callsBegun } of this.#choices.values()) {
      const own = choices.find((choice) => choice.index === index)?.reason ?? reason;
      const word = own === undefined && callsBegun > 0 ? 'tool_calls' : FINISH_WORDS[own ?? 'stop'];
      ends += this.#delta(index, '{}', JSON.stringify(word));
    }
    return ends;
  }

  #spent(): string {
    const usage = this.#usage === undefined ? undefined : chatUsageOf(this.#usage, this.#withCost);
    return usage === undefined ? '' : `${this.#head}"choices":[],"usage":${JSON.stringify(usage)}}\n\n`;
  }
}

/** What a whole call adds to the pieces of its arguments that were sent. A call without arguments has an empty object. */
function restOf({ argumentsText }: ToolCallEvent, { chars }: ToldCall): string {
  return chars === 0 && argumentsText === '' ? '{}' : argumentsText.slice(chars);
}

/** Usage in OpenAI's words; what is not known is left out, since it is not zero. */
function chatUsageOf(usage: Usage, withCost: boolean): object | undefined {
  const { inputTokens, outputTokens, totalTokens, cachedTokens, reasoningTokens, cost } = usage;
  const total =
    totalTokens ?? (inputTokens === undefined || outputTokens === undefined ? undefined : inputTokens + outputTokens);
  const told = {
    ...(inputTokens !== undefined && { prompt_tokens: inputTokens }),
    ...(outputTokens !== undefined && { completion_tokens: outputTokens }),
    ...(total !== undefined && { total_tokens: total }),
    ...(cachedTokens !== undefined && { prompt_tokens_details: { cached_tokens: cachedTokens } }),
    ...(reasoningTokens !== undefined && { completion_tokens_details: { reasoning_tokens: reasoningTokens } }),
    ...(withCost && cost?.total !== undefined && { cost: cost.total }),
  };
  return Object.keys(told).length === 0 ? undefined : told;
}
