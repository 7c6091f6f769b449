import type {
  FinishReason,
  LogEvent,
  MediaEvent,
  OutputEvent,
  OutputPlace,
  ProgressEvent,
  RawEvent,
  StatusEvent,
  StreamEvent,
  ToolCallDeltaEvent,
  ToolCallEvent,
  ToolResultEvent,
  UsageEvent,
  WarningEvent,
} from '../types.js';
import {
  type EncoderOptions,
  type EventEncoder,
  RestartNotTold,
  type ToldEnding,
  type ToldFailure,
} from './eventFormat.js';
import { mediaFileOf } from './mediaFile.js';
import { jsonOf, SSE_HEADERS, sseComment, sseData } from './sseResponse.js';

/** The SDK's words; it has none for an end that is not known, and its own providers call a refusal `content-filter`. */
const FINISH_WORDS: Readonly<Record<FinishReason, string | undefined>> = {
  stop: 'stop',
  length: 'length',
  'content-filter': 'content-filter',
  'tool-calls': 'tool-calls',
  refusal: 'content-filter',
  other: 'other',
  unknown: undefined,
};

const HEADERS: Readonly<Record<string, string>> = { ...SSE_HEADERS, 'x-vercel-ai-ui-message-stream': 'v1' };
const DONE = sseData('[DONE]');
const STEP_START = sseData('{"type":"start-step"}');
const STEP_END = sseData('{"type":"finish-step"}');

/**
 * The UI message stream of the Vercel AI SDK, protocol version 1, in parts that its major version 6 knows.
 *
 * - *Text and thinking* are parts of their own for each output; a part ends where another kind of content begins, so that the
 *   message keeps their order. A refusal is text, marked in its `providerMetadata`. Alternative answers are left out: a message has one.
 * - *Tools* are static parts (`tool-look`): a page names the tools that it shows, and its own tools run only so. Results without a call
 *   are `dynamic`. What follows results is a new step, as the SDK has it.
 * - *Status, output and media without an address* are `data-*` parts that stay, the newest in place of the one before; progress,
 *   warnings, log lines and raw frames are transient: `onData` hears them.
 * - *Usage* is in the message's metadata, `{ usage }`.
 * - *Restart*: `reset-step` for version 7; version 6 has nothing for it.
 * - *A stop on purpose* is `abort`, and `error` behind it.
 */
export function aiSDKFormat(options: EncoderOptions): EventEncoder {
  return new AISDKEncoder(options);
}

type TextKind = 'text' | 'thinking' | 'refusal';

/** The member that its parts have besides: `dynamic` is a call that was told by its result alone. */
type CallKind = 'plain' | 'providerExecuted' | 'dynamic';

/** A part of text that is open. */
interface OpenPart extends OutputPlace {
  readonly kind: TextKind;
  readonly id: string;
  /** What stands before and in its deltas. */
  readonly head: string;
}

class AISDKEncoder implements EventEncoder {
  readonly headers = HEADERS;
  readonly failsByCutting = false;
  readonly #options: EncoderOptions;
  #parts: OpenPart[] = [];
  /** The part of the last piece of text: most pieces follow one another. */
  #last: OpenPart | undefined;
  #partsBegun = 0;
  /** Calls whose input is not whole yet, by id. */
  readonly #inputs: Map<string, string> = new Map();
  /** Calls that were told, by id. */
  readonly #calls: Map<string, CallKind> = new Map();
  #hasResults = false;
  #usage: UsageEvent | undefined;
  #reason: FinishReason = 'unknown';
  /** Content was sent, in this step and before it. */
  #hasSent = false;
  #hasSentBefore = false;

  constructor(options: EncoderOptions) {
    this.#options = options;
  }

  open(): string {
    const { messageId } = this.#options;
    return sseData(JSON.stringify({ type: 'start', ...(messageId !== undefined && { messageId }) })) + STEP_START;
  }

  encode(event: StreamEvent | string): string {
    if (typeof event === 'string') return this.#text('text', event, OUTPUT);
    switch (event.type) {
      case 'text':
      case 'thinking':
      case 'refusal':
        return this.#text(event.type, event.text, event);
      case 'tool-call-delta':
        return this.#input(event);
      case 'tool-call':
        return this.#call(event);
      case 'tool-result':
        return this.#result(event);
      case 'media':
        return this.#media(event);
      case 'heartbeat':
        return sseComment(event.comment);
      case 'usage':
        this.#usage = event;
        return '';
      case 'finish':
        this.#reason = event.reason;
        return '';
      case 'restart':
        return this.#restart();
      default:
        return this.#data(event);
    }
  }

  close({ outcome, receipt }: ToldEnding): string {
    if (outcome === 'stopped') {
      const reason = receipt?.by === undefined ? 'stopped' : `stopped by ${receipt.by}`;
      // The SDK's own client reads past `abort`, and half an answer would look whole.
      return (
        sseData(JSON.stringify({ type: 'abort', reason })) +
        this.fail({ message: 'The answer was stopped before its end' })
      );
    }
    const usage = this.#usageOf();
    const finishReason = FINISH_WORDS[this.#reason];
    const finish = {
      type: 'finish',
      ...(finishReason !== undefined && { finishReason }),
      ...(usage !== undefined && { messageMetadata: { usage } }),
    };
    return this.#endInputs() + this.#endParts() + STEP_END + sseData(JSON.stringify(finish)) + DONE;
  }

  fail({ message }: Pick<ToldFailure, 'message'>): string {
    // Parts stay open: they are as far as they came.
    return sseData(JSON.stringify({ type: 'error', errorText: message })) + DONE;
  }

  heartbeat(comment: string): string {
    return sseComment(comment);
  }

  #text(kind: TextKind, text: string, place: OutputPlace): string {
    if (text === '' || place.alternative === true) return '';
    const last = this.#last;
    if (last !== undefined && isOf(last, kind, place)) return `${last.head}${JSON.stringify(text)}}\n\n`;
    const before = this.#beginContent();
    const known = this.#parts.find((part) => isOf(part, kind, place));
    if (known !== undefined) {
      this.#last = known;
      return `${before}${known.head}${JSON.stringify(text)}}\n\n`;
    }
    const ended = this.#endParts((part) => part.kind !== kind);
    const [part, start] = this.#beginPart(kind, place);
    return `${before}${ended}${start}${part.head}${JSON.stringify(text)}}\n\n`;
  }

  #beginPart(kind: TextKind, { index, name }: OutputPlace): readonly [OpenPart, string] {
    this.#partsBegun += 1;
    const type = kind === 'thinking' ? 'reasoning' : 'text';
    const id = `${type}-${String(this.#partsBegun)}`;
    const part: OpenPart = { kind, index, name, id, head: `data: {"type":"${type}-delta","id":"${id}","delta":` };
    this.#parts.push(part);
    this.#last = part;
    const isUsual = index === 0 && name === (kind === 'thinking' ? 'thinking' : 'output') && kind !== 'refusal';
    const about = { index, name, ...(kind === 'refusal' && { refusal: true }) };
    const start = { type: `${type}-start`, id, ...(!isUsual && { providerMetadata: { millrace: about } }) };
    return [part, sseData(JSON.stringify(start))];
  }

  #endParts(isEnded: (part: OpenPart) => boolean = () => true): string {
    let ends = '';
    this.#parts = this.#parts.filter((part) => {
      if (!isEnded(part)) return true;
      ends += sseData(`{"type":"${part.kind === 'thinking' ? 'reasoning' : 'text'}-end","id":"${part.id}"}`);
      return false;
    });
    if (ends !== '') this.#last = undefined;
    return ends;
  }

  /** What follows the results of tools is a new step; calls that are being told stay in theirs. */
  #beginContent(): string {
    const isNewStep = this.#hasResults && this.#inputs.size === 0;
    if (isNewStep) {
      this.#hasResults = false;
      this.#hasSentBefore ||= this.#hasSent;
    }
    this.#hasSent = true;
    return isNewStep ? this.#endParts() + STEP_END + STEP_START : '';
  }

  #input(event: ToolCallDeltaEvent): string {
    const { id, name, argumentsDelta, alternative } = event;
    if (alternative === true) return '';
    const delta =
      argumentsDelta === ''
        ? ''
        : `data: {"type":"tool-input-delta","toolCallId":${JSON.stringify(id)},"inputTextDelta":${JSON.stringify(argumentsDelta)}}\n\n`;
    if (this.#inputs.has(id)) return delta;
    const before = this.#beginContent() + this.#endParts();
    this.#inputs.set(id, name);
    return before + sseData(JSON.stringify({ type: 'tool-input-start', ...this.#callPart(event) })) + delta;
  }

  #call(event: ToolCallEvent): string {
    if (event.alternative === true) return '';
    const told = sseData(
      jsonOf({ type: 'tool-input-available', ...this.#callPart(event), input: event.arguments ?? null }, event.type),
    );
    const before = this.#inputs.has(event.id) ? '' : this.#beginContent() + this.#endParts();
    this.#inputs.delete(event.id);
    return before + told;
  }

  #callPart({ id, name, providerExecuted }: ToolCallDeltaEvent | ToolCallEvent): object {
    // A call is one part, so it stays what it was first.
    const kind = this.#calls.get(id) ?? (providerExecuted === true ? 'providerExecuted' : 'plain');
    this.#calls.set(id, kind);
    return { toolCallId: id, toolName: name, ...(kind !== 'plain' && { [kind]: true }) };
  }

  #result({ id, name, result, isError, preliminary }: ToolResultEvent): string {
    const toolCallId = id;
    const told = isError
      ? { type: 'tool-output-error', toolCallId, errorText: errorTextOf(result) }
      : { type: 'tool-output-available', toolCallId, output: result ?? null, ...(preliminary && { preliminary }) };
    const kind = this.#calls.get(id);
    const isTheirs = kind === 'providerExecuted';
    const part = sseData(jsonOf({ ...told, ...(isTheirs && { providerExecuted: true }) }, 'tool-result'));
    let call = '';
    if (kind === undefined) {
      call = this.#beginContent() + this.#endParts();
      this.#calls.set(id, 'dynamic');
      const unknown = { toolCallId, toolName: name === '' ? 'tool' : name, input: {}, dynamic: true };
      call += sseData(JSON.stringify({ type: 'tool-input-available', ...unknown }));
    }
    if (!isTheirs && preliminary !== true) this.#hasResults = true;
    return call + part;
  }

  #media(event: MediaEvent): string {
    const { kind, content, index, name, alternative } = event;
    if (alternative === true) return '';
    const file = mediaFileOf(event);
    const part =
      file === undefined
        ? { type: 'data-media', data: { kind, content, index, name } }
        : { type: 'file', url: file.url, mediaType: file.mediaType };
    const told = sseData(jsonOf(part, event.type));
    return this.#beginContent() + this.#endParts() + told;
  }

  #data(event: StatusEvent | ProgressEvent | LogEvent | OutputEvent | WarningEvent | RawEvent): string {
    const { type, ...data } = event;
    const { events } = this.#options;
    if ((type === 'raw' && events.raw !== true) || (type === 'log' && events.log !== true)) return '';
    const stays = type === 'status' || type === 'output';
    return sseData(jsonOf({ type: `data-${type}`, ...(stays ? { id: type } : { transient: true }), data }, type));
  }

  #restart(): string {
    this.#usage = undefined;
    this.#reason = 'unknown';
    if (!this.#hasSent && !this.#hasSentBefore) return '';
    // Parts of earlier steps stay whatever is said.
    if (this.#options.aiSDKVersion < 7 || this.#hasSentBefore) throw new RestartNotTold();
    this.#parts = [];
    this.#last = undefined;
    this.#inputs.clear();
    this.#calls.clear();
    this.#hasResults = false;
    this.#hasSent = false;
    return sseData('{"type":"reset-step"}');
  }

  /** Calls whose input never became whole: without a word they would look as if more came. */
  #endInputs(): string {
    let ends = '';
    for (const [toolCallId, toolName] of this.#inputs) {
      const errorText = 'The input of the call did not come to its end; it must not be run';
      ends += sseData(JSON.stringify({ type: 'tool-input-error', toolCallId, toolName, input: null, errorText }));
    }
    return ends;
  }

  #usageOf(): object | undefined {
    if (this.#usage === undefined) return undefined;
    const { inputTokens, outputTokens, totalTokens, reasoningTokens, cachedTokens, cost } = this.#usage;
    const counts = { inputTokens, outputTokens, totalTokens, reasoningTokens, cachedInputTokens: cachedTokens };
    const told = Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== undefined));
    const usage = this.#options.events.cost === true && cost !== undefined ? { ...told, cost } : told;
    return Object.keys(usage).length === 0 ? undefined : usage;
  }
}

const OUTPUT: OutputPlace = { index: 0, name: 'output' };

function isOf(part: OpenPart, kind: TextKind, { index, name }: OutputPlace): boolean {
  return part.kind === kind && part.index === index && part.name === name;
}

function errorTextOf(result: unknown): string {
  if (typeof result === 'string') return result;
  return result === undefined ? 'The tool failed' : jsonOf({ result }, 'tool-result').slice('{"result":'.length, -1);
}
