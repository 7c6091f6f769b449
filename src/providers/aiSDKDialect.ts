import * as z from 'zod/mini';
import { LimitError } from '../errors.js';
import { requireAtLeast } from '../internal/require.js';
import { TurnLog } from '../internal/turnLog.js';
import { type Dialect, dialect, type DialectStream } from '../protocol/dialect.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import type { FinishReason, StreamEvent, Usage } from '../types.js';
import { type AISDKTurn, aiSDKTurn } from './aiSDKTurn.js';

/** How a UI message stream is read. @public */
export interface AISDKDialectOptions {
  /** Whether asking again can help after a failure told in the stream: it says no more than words. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /**
   * What a server shows that is asked for the stream of a chat once more. `'replay'`: all of it, from the start, as the SDK's own
   * helpers do; what was delivered is left out. `'continue'`: what comes from now on. @defaultValue `'replay'`
   */
  readonly reattach?: 'replay' | 'continue' | undefined;
  /** Characters of tool input and of text before a step that are held; one more is a LimitError. @defaultValue 67,108,864 */
  readonly maxHeldChars?: number | undefined;
}

interface Frame extends Readonly<Record<string, unknown>> {
  readonly type: string;
  readonly delta?: string | null | undefined;
  readonly errorText?: string | null | undefined;
  readonly toolCallId?: string | null | undefined;
  readonly toolName?: string | null | undefined;
  readonly inputTextDelta?: string | null | undefined;
}

const Text = z.nullish(z.string());
const frame: StandardSchema<Frame> = z.looseObject({
  type: z.string(),
  delta: Text,
  errorText: Text,
  toolCallId: Text,
  toolName: Text,
  inputTextDelta: Text,
});

const REASONS: ReadonlyMap<unknown, FinishReason> = new Map<unknown, FinishReason>([
  ['stop', 'stop'],
  ['length', 'length'],
  ['content-filter', 'content-filter'],
  ['tool-calls', 'tool-calls'],
  ['other', 'other'],
]);

/** Parts that are alike, whatever the id of the text that they belong to. */
const DELTA = { text: 'delta', skip: new Set(['id']) } as const;
const INPUT_DELTA = { text: 'inputTextDelta' } as const;

interface ToolInput {
  name: string;
  text: string;
  readonly providerExecuted: boolean;
}

interface State {
  readonly inputs: Map<string, ToolInput>;
  /** What was told of the steps before this one, and of all of them. */
  before: readonly StreamEvent[];
  readonly told: TurnLog;
  hasTold: boolean;
  chars: number;
  usage: string;
}

type Stream = DialectStream<State>;

/**
 * The dialect of the Vercel AI SDK's UI message stream, protocol version 1, as a client reads it: what a chat's own server sends.
 *
 * ```text
 * data: {"type":"text-delta","id":"t1","delta":"Hel"}                          text
 * data: {"type":"reasoning-delta","id":"r1","delta":"Let me"}                  thinking
 * data: {"type":"tool-input-available","toolCallId":"c1","toolName":"look",…}  tool-call
 * data: {"type":"tool-output-available","toolCallId":"c1","output":{…}}        tool-result
 * data: {"type":"finish","finishReason":"stop"}                                proven
 * data: [DONE]                                                                 finish
 * ```
 * - *End*: `finish`, then `[DONE]`; a cut between the two is complete, with the warning `end-marker-missing`. `[DONE]` alone proves
 *   nothing: a server sends it whenever its stream closes.
 * - *Failures*: `error`, `abort` (the server stopped), and the finish reasons `error` and `interrupted` (its own upstream was cut, which is
 *   worth another try).
 * - *Tools* run at the server: their results come in the same stream, as `tool-result`.
 * - *A step that begins anew* (`reset-step`) is told by `restart`, and the steps before it once more.
 * - *Usage* is what stands in `messageMetadata.usage` or `totalUsage`, where the application puts it there.
 * - *The rest* (sources, data, metadata, where parts begin and end) arrives as `raw`; `toRequest()` makes the `UIMessage` of it.
 *
 * Holds tool input until it is whole, and the text of the steps.
 * @throws TypeError or RangeError for an option out of its range
 * @public
 */
export function aiSDKDialect(options: AISDKDialectOptions = {}): Dialect<AISDKTurn> {
  const { retryable, reattach = 'replay', maxHeldChars = 67_108_864 } = options;
  requireAtLeast(0, { maxHeldChars });
  return dialect<Frame, State, AISDKTurn>({
    name: 'aiSDK',
    frame,
    marker: '[DONE]',
    markerAlone: 'nothing',
    retryable,
    error: () => undefined, // a part with its own words, see `decode`
    start: () => ({ inputs: new Map(), before: [], told: new TurnLog(), hasTold: false, chars: 0, usage: '' }),
    reattach: reattach === 'replay' ? 'replay' : 'state',
    decode: (part, stream) => {
      new Reading(stream, maxHeldChars).read(part);
    },
    turn: aiSDKTurn,
  });
}

/** Reads one part of a stream. */
class Reading {
  readonly #stream: Stream;
  readonly #max: number;

  constructor(stream: Stream, max: number) {
    this.#stream = stream;
    this.#max = max;
  }

  read(part: Frame): void {
    const { state } = this.#stream;
    switch (part.type) {
      case 'text-delta':
        this.#text('text', part);
        break;
      case 'reasoning-delta':
        this.#text('thinking', part);
        break;
      case 'tool-input-start':
      case 'tool-input-delta':
        this.#input(part);
        break;
      case 'tool-input-available':
        this.#call(part);
        break;
      case 'tool-input-error':
      case 'tool-output-error':
        this.#result(part, part.errorText ?? '', true);
        break;
      case 'tool-output-denied':
        this.#result(part, 'denied', true);
        break;
      case 'tool-output-available':
        this.#result(part, part['output'], false);
        break;
      case 'file':
        this.#tell({ type: 'media', kind: String(part['mediaType']), content: part['url'], index: 0, name: 'output' });
        break;
      case 'start-step':
        state.before = state.told.view()();
        state.hasTold = false;
        break;
      case 'reset-step':
        this.#resetStep();
        break;
      case 'message-metadata':
        this.#spend(part);
        break;
      case 'finish':
        this.#finish(part);
        break;
      case 'abort':
        this.#stream.fail({ code: 'abort', type: undefined, message: this.#words(part['reason']) }, part);
        break;
      case 'error':
        this.#stream.fail({ code: undefined, type: undefined, message: this.#words(part.errorText) }, part);
        break;
      default: // arrives as `raw`
    }
  }

  #text(type: 'text' | 'thinking', { delta }: Frame): void {
    if (!delta) return;
    this.#say(type, delta);
    this.#stream.template(DELTA, (text) => {
      this.#say(type, text);
      return true;
    });
  }

  #say(type: 'text' | 'thinking', text: string): void {
    this.#tell({ type, text, index: 0, name: type === 'text' ? 'output' : 'thinking' });
  }

  #words(words: unknown): string | undefined {
    return typeof words === 'string' && words !== '' ? words : undefined;
  }

  /** Tells an event, and remembers it for a step that begins anew. */
  #tell(event: StreamEvent): void {
    const { state } = this.#stream;
    this.#stream.reopen(); // a server may merge several answers into one stream
    state.hasTold = true;
    state.told.add(event, undefined);
    if (event.type === 'text' || event.type === 'thinking') this.#hold(event.text.length);
    this.#stream.emit(event);
  }

  #hold(chars: number): void {
    const { state } = this.#stream;
    state.chars += chars;
    if (state.chars <= this.#max) return;
    const message = `A UI message holds more than ${String(this.#max)} characters; raise maxHeldChars if it should`;
    throw new LimitError('maxHeldChars', this.#max, message);
  }

  #input({ toolCallId, toolName, inputTextDelta, providerExecuted }: Frame): void {
    if (!toolCallId) return;
    const { inputs } = this.#stream.state;
    const known = inputs.get(toolCallId);
    const input = known ?? { name: toolName ?? '', text: '', providerExecuted: providerExecuted === true };
    inputs.set(toolCallId, input);
    if (known !== undefined && !inputTextDelta) return;
    this.#grow(toolCallId, input, inputTextDelta ?? '');
    if (!inputTextDelta) return;
    this.#stream.template(INPUT_DELTA, (text) => {
      const input = this.#stream.state.inputs.get(toolCallId);
      if (input === undefined) return false;
      this.#grow(toolCallId, input, text);
      return true;
    });
  }

  #grow(id: string, input: ToolInput, argumentsDelta: string): void {
    const { name, providerExecuted } = input;
    input.text += argumentsDelta;
    this.#hold(argumentsDelta.length);
    this.#stream.reopen();
    this.#stream.emit(
      providerExecuted
        ? { type: 'tool-call-delta', index: 0, id, name, argumentsDelta, providerExecuted }
        : { type: 'tool-call-delta', index: 0, id, name, argumentsDelta },
    );
  }

  #call(part: Frame): void {
    const { toolCallId, toolName, input, providerExecuted } = part;
    if (!toolCallId) return;
    const { inputs } = this.#stream.state;
    const known = inputs.get(toolCallId);
    if (known !== undefined) this.#hold(-known.text.length);
    const argumentsText = isJSONOf(known?.text, input) ? (known?.text ?? '') : (JSON.stringify(input) ?? '');
    inputs.set(toolCallId, { name: toolName ?? '', text: '', providerExecuted: providerExecuted === true });
    this.#tell({
      type: 'tool-call',
      index: 0,
      id: toolCallId,
      name: toolName ?? known?.name ?? '',
      arguments: input ?? {},
      argumentsText,
      ...(providerExecuted === true && { providerExecuted: true }),
    });
    const { title, dynamic, providerMetadata } = part;
    if (title !== undefined || dynamic === true || providerMetadata !== undefined) this.#raw(part);
  }

  #result(part: Frame, result: unknown, isError: boolean): void {
    const { toolCallId: id, preliminary } = part;
    if (!id) return;
    this.#tell({
      type: 'tool-result',
      index: 0,
      id,
      name: part.toolName ?? this.#stream.state.inputs.get(id)?.name ?? '',
      result,
      ...(isError && { isError: true }),
      ...(preliminary === true && { preliminary: true }),
    });
  }

  #resetStep(): void {
    const { state } = this.#stream;
    if (!state.hasTold) return;
    this.#stream.emit({ type: 'restart', attempt: 1, because: 'the server began a step anew', discard: { chars: 0 } });
    state.told.clear();
    state.chars = 0;
    state.hasTold = false;
    for (const event of state.before) this.#tell(event);
    state.hasTold = false;
  }

  #finish(part: Frame): void {
    const { finishReason } = part;
    this.#spend(part);
    if (finishReason === 'error') {
      this.#stream.fail(
        { code: 'error', type: 'finishReason', message: 'the answer ended with the finish reason error' },
        part,
      );
    }
    if (finishReason === 'interrupted') {
      const message = 'the upstream of the server ended without a sign of its end';
      this.#stream.fail({ code: 'interrupted', type: 'finishReason', message }, part, true);
    }
    if (typeof finishReason !== 'string') this.#stream.prove('unknown');
    else this.#stream.prove(REASONS.get(finishReason) ?? 'other', finishReason);
    if (part['messageMetadata'] !== undefined) this.#raw(part);
  }

  /** Usage, where an application puts it into its metadata under the SDK's own names. */
  #spend(part: Frame): void {
    const { messageMetadata: metadata } = part;
    const usage = isRecord(metadata) ? (metadata['totalUsage'] ?? metadata['usage']) : undefined;
    const told = isRecord(usage) ? usageOf(usage) : undefined;
    if (told !== undefined && JSON.stringify(told) !== this.#stream.state.usage) {
      this.#stream.state.usage = JSON.stringify(told);
      this.#stream.emit({ type: 'usage', ...told });
    }
    if (part.type === 'message-metadata') this.#raw(part);
  }

  #raw(part: Frame): void {
    this.#stream.emit({
      type: 'raw',
      frame: part,
      ...(this.#stream.event !== 'message' && { event: this.#stream.event }),
    });
  }
}

function usageOf(usage: Readonly<Record<string, unknown>>): Usage | undefined {
  const counts = {
    inputTokens: usage['inputTokens'],
    outputTokens: usage['outputTokens'],
    totalTokens: usage['totalTokens'],
    reasoningTokens: usage['reasoningTokens'],
    cachedTokens: usage['cachedInputTokens'],
  };
  const told = Object.entries(counts).filter(([, count]) => typeof count === 'number' && count >= 0);
  return told.length === 0 ? undefined : { ...Object.fromEntries(told), provenance: 'reported' };
}

/** True where the text that was streamed is the JSON of the input that was told in the end. */
function isJSONOf(text: string | undefined, input: unknown): boolean {
  if (text === undefined || text === '') return false;
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(input);
  } catch {
    return false; // a server may repair what a model wrote: then its own form is told
  }
}
