import type { DialectStream, Emit } from '../protocol/dialect.js';
import { validate } from '../protocol/validate.js';
import type { FinishReason } from '../types.js';
import {
  type AnthropicFrame,
  blockDelta,
  blockStart,
  blockStop,
  messageDelta,
  messageStart,
  rawOf,
  type StartedBlock,
  TOOL_USE,
  typeOf,
} from './anthropicFrame.js';
import { AnthropicToolCalls } from './anthropicToolCalls.js';
import { AnthropicUsage } from './anthropicUsage.js';
import { extrasOf } from './chatExtras.js';

const REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool-calls'],
  ['refusal', 'refusal'],
]);

// What is read of a frame; what stands beside it arrives as `raw`.
const STOP_FRAME: ReadonlySet<string> = new Set(['type', 'index']);
const DELTA_FRAME: ReadonlySet<string> = new Set(['type', 'index', 'delta']);
const MESSAGE_DELTA_FRAME: ReadonlySet<string> = new Set(['type', 'delta', 'usage']);
const MESSAGE_DELTA: ReadonlySet<string> = new Set(['stop_reason']);
const DELTA: ReadonlySet<string> = new Set(['type', 'text', 'thinking', 'partial_json']);
/** Where text stands does not matter: all blocks have one output. */
const TEXT_SKIPPED: ReadonlySet<string> = new Set(['index']);

type Stream = DialectStream<unknown>;

/** One stream of the Messages API. */
export class AnthropicReader {
  readonly #calls: AnthropicToolCalls;
  #usage = new AnthropicUsage();
  #stopReason: string | undefined;
  /** The last block that began. */
  #index = -1;
  /** A part of the message was delivered: another beginning voids it. */
  #hasDelivered = false;

  constructor(maxToolCallChars: number) {
    this.#calls = new AnthropicToolCalls(maxToolCallChars);
  }

  /** What does nothing here arrives as `raw`. */
  read(frame: AnthropicFrame, stream: Stream): void {
    const emit: Emit = (event) => {
      this.#hasDelivered ||= CONTENT.has(event.type);
      stream.emit(event);
    };
    switch (typeOf(frame, stream.event)) {
      case 'ping':
        emit({ type: 'heartbeat', comment: '' });
        break;
      case 'message_start':
        this.#begin(frame, stream, emit);
        break;
      case 'content_block_start':
        this.#beginBlock(frame, stream, emit);
        break;
      case 'content_block_delta':
        this.#delta(frame, stream, emit);
        break;
      case 'content_block_stop': {
        const { index } = validate(blockStop, frame, 'a content_block_stop frame');
        this.#calls.stop(index ?? this.#index, emit);
        if (extrasOf(frame, STOP_FRAME) !== '') emit(rawOf(frame, stream.event));
        break;
      }
      case 'message_delta':
        this.#end(frame, stream, emit);
        break;
      case 'message_stop':
        this.#stop(frame, stream, emit);
        break;
      default: // of a later version, or of nobody
    }
  }

  #begin(frame: AnthropicFrame, stream: Stream, emit: Emit): void {
    const { message } = validate(messageStart, frame, 'a message_start frame');
    const isRestart = this.#hasDelivered;
    this.#calls.clear();
    this.#usage = new AnthropicUsage();
    this.#stopReason = undefined;
    this.#index = -1;
    this.#hasDelivered = false;
    // Who delivers it knows the attempt and how much is void.
    if (isRestart) emit({ type: 'restart', attempt: 1, because: 'the provider began anew', discard: { chars: 0 } });
    emit(rawOf(frame, stream.event));
    this.#spend(message?.usage, emit);
    // A message that begins with content, as a stream would tell it.
    for (const [index, block] of (message?.content ?? []).entries()) {
      this.#beginBlock({ type: 'content_block_start', index, content_block: block }, stream, emit);
      this.#calls.stop(index, emit);
    }
  }

  #beginBlock(frame: AnthropicFrame, stream: Stream, emit: Emit): void {
    const { index, content_block: block } = validate(blockStart, frame, 'a content_block_start frame');
    this.#calls.follow(emit);
    this.#index = index ?? this.#index + 1;
    emit(rawOf(frame, stream.event)); // a turn is put together by these
    if (block === undefined || block === null) return;
    if (TOOL_USE.has(block.type)) this.#calls.begin(this.#index, block, emit);
    else tellText(block, emit);
  }

  #delta(frame: AnthropicFrame, stream: Stream, emit: Emit): void {
    const { index, delta } = validate(blockDelta, frame, 'a content_block_delta frame');
    if (delta === undefined || delta === null) return;
    let isTold = false;
    switch (delta.type) {
      case 'text_delta':
      case 'thinking_delta':
        isTold = tellText(delta, emit);
        break;
      case 'input_json_delta':
        isTold = Boolean(delta.partial_json) && this.#calls.add(index ?? this.#index, delta.partial_json ?? '', emit);
        break;
      default: // signatures, citations, compactions and what is not known yet: `raw`, byte for byte
    }
    if (!isTold) return;
    if (extrasOf(frame, DELTA_FRAME) !== '' || extrasOf(delta, DELTA) !== '') emit(rawOf(frame, stream.event));
    else this.#offer(delta.type, index, stream, emit);
  }

  /** Frames that bring nothing but text, or a piece of a call's arguments, are alike. */
  #offer(type: string | null | undefined, index: number | null | undefined, stream: Stream, emit: Emit): void {
    if (type === 'input_json_delta') {
      const hasIndex = typeof index === 'number';
      stream.template({ text: 'delta.partial_json', read: hasIndex ? ['index'] : [] }, (json, values) =>
        this.#calls.add(hasIndex ? Number(values[0]) : this.#index, json, emit),
      );
      return;
    }
    const kind = type === 'text_delta' ? 'text' : 'thinking';
    stream.template({ text: `delta.${kind}`, skip: TEXT_SKIPPED }, (text) => {
      emitText(kind, text, emit);
      return true;
    });
  }

  /** May come more than once; the message is not over before `message_stop`. */
  #end(frame: AnthropicFrame, stream: Stream, emit: Emit): void {
    const { delta, usage } = validate(messageDelta, frame, 'a message_delta frame');
    const reason = delta?.stop_reason;
    if (reason) this.#stopReason = reason;
    const isSpent = this.#spend(usage, emit);
    const hasMore =
      extrasOf(frame, MESSAGE_DELTA_FRAME) !== '' ||
      extrasOf(delta ?? {}, MESSAGE_DELTA) !== '' ||
      AnthropicUsage.hasMore(usage ?? {});
    // With nothing told of it, a frame without more is still to be accounted for.
    if (hasMore || !isSpent) emit(rawOf(frame, stream.event));
    if (reason) this.#calls.settle(this.#reason, emit);
  }

  #stop(frame: AnthropicFrame, stream: Stream, emit: Emit): void {
    // Amazon Bedrock adds its measurements here.
    if (extrasOf(frame, STOP_FRAME) !== '') emit(rawOf(frame, stream.event));
    stream.prove(this.#reason, this.#stopReason);
    this.#calls.settle(this.#reason, emit);
    if (this.#stopReason === undefined) {
      emit({
        type: 'warning',
        code: 'finish-reason-missing',
        message: 'The message ended without a stop_reason; why the model stopped is unknown',
      });
    }
    stream.done();
  }

  get #reason(): FinishReason {
    return this.#stopReason === undefined ? 'unknown' : (REASONS.get(this.#stopReason) ?? 'other');
  }

  #spend(fields: Readonly<Record<string, unknown>> | null | undefined, emit: Emit): boolean {
    const usage = fields ? this.#usage.read(fields) : undefined;
    if (usage === undefined) return false;
    emit({ type: 'usage', ...usage });
    return true;
  }
}

/** What a reader was given of the answer itself. */
const CONTENT: ReadonlySet<string> = new Set(['text', 'thinking', 'tool-call-delta', 'tool-call']);

/** Emits the text of a block's start or of a delta; false where there is none. */
function tellText(part: Pick<StartedBlock, 'text' | 'thinking'> & { readonly type?: unknown }, emit: Emit): boolean {
  const { type, text, thinking } = part;
  if ((type === 'text' || type === 'text_delta') && text) {
    emitText('text', text, emit);
    return true;
  }
  if ((type === 'thinking' || type === 'thinking_delta') && thinking) {
    emitText('thinking', thinking, emit);
    return true;
  }
  return false;
}

function emitText(type: 'text' | 'thinking', text: string, emit: Emit): void {
  emit({ type, text, index: 0, name: type === 'text' ? 'output' : 'thinking' });
}
