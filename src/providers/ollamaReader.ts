import { ProtocolError } from '../errors.js';
import { type DialectStream, type Emit, MOVED, readFailure } from '../protocol/dialect.js';
import type { FinishReason, Usage } from '../types.js';
import { isBlank } from './chatExtras.js';
import { callId, type CallIds } from './madeCallId.js';
import { ChangedExtras } from './changedExtras.js';
import type { OllamaAnswer, OllamaAnswerCall } from './ollamaAnswer.js';

const ANSWER_KEYS: ReadonlySet<string> = new Set([
  'model',
  'created_at',
  'message',
  'response',
  'thinking',
  'done',
  'done_reason',
  'prompt_eval_count',
  'eval_count',
  'error',
]);
const MESSAGE_KEYS: ReadonlySet<string> = new Set(['role', 'content', 'thinking', 'tool_calls', 'images']);
const CALL_KEYS: ReadonlySet<string> = new Set(['id', 'type', 'function']);
const FUNCTION_KEYS: ReadonlySet<string> = new Set(['index', 'name', 'arguments']);
/** Of the text of its line alone. */
const INCREMENTS: ReadonlySet<string> = new Set(['logprobs']);

const REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['stop', 'stop'],
  ['length', 'length'],
]);

const OUTPUT = { index: 0, name: 'output' } as const;

/** One stream of Ollama's own API. */
export class OllamaReader {
  readonly #extras: ChangedExtras = new ChangedExtras(ANSWER_KEYS, INCREMENTS);
  readonly #messageExtras: ChangedExtras = new ChangedExtras(MESSAGE_KEYS);
  /** An answer has no id: its first moment tells it from others. */
  readonly #ids: CallIds = { made: 0, answerId: '' };
  #called = false;

  read(answer: OllamaAnswer, stream: DialectStream<unknown>): void {
    const { message, created_at: at, done } = answer;
    if (this.#ids.answerId === '') this.#ids.answerId = (at ?? '').replaceAll(/[^\w.-]/g, '').slice(0, 64);
    let isQuiet = true;
    const emit: Emit = (event) => {
      isQuiet = false;
      stream.emit(event);
    };
    for (const text of [answer.thinking, message?.thinking]) {
      if (text) emit({ type: 'thinking', text, index: 0, name: 'thinking' });
    }
    for (const text of [answer.response, message?.content]) if (text) emit({ type: 'text', text, ...OUTPUT });
    for (const image of message?.images ?? []) {
      if (!isBlank(image)) emit({ type: 'media', ...OUTPUT, kind: 'image', content: image });
    }
    const calls = (message?.tool_calls ?? []).filter((call) => call !== undefined && call !== null);
    for (const call of calls) this.#call(call, emit);
    const beside = { ...(message && this.#messageExtras.of(message)), ...callExtras(calls) };
    const extras = {
      ...(Object.keys(beside).length > 0 && { message: beside }),
      ...this.#extras.of(answer),
    };
    if (Object.keys(extras).length > 0) emit({ type: 'raw', frame: extras });
    const failure = readFailure(answer, stream.event);
    // Last, so that what stands beside it on its line is delivered.
    if (failure !== undefined) stream.fail(failure, answer);
    if (done === true) {
      const usage = usageOf(answer);
      if (usage !== undefined) emit({ type: 'usage', ...usage });
      const word = answer.done_reason;
      stream.prove(this.#reason(word), word === null || word === '' ? undefined : word);
      stream.done();
    } else if (isQuiet && (message !== undefined || answer.response !== undefined)) stream.emit(MOVED);
  }

  #reason(word: string | null | undefined): FinishReason {
    if (!word) return this.#called ? 'tool-calls' : 'unknown';
    const reason = REASONS.get(word) ?? 'other';
    return reason === 'stop' && this.#called ? 'tool-calls' : reason;
  }

  #call({ id, function: called }: OllamaAnswerCall, emit: Emit): void {
    this.#called = true;
    const name = called?.name ?? '';
    const given = called?.arguments ?? {};
    emit({ type: 'tool-call', index: 0, id: callId(id, this.#ids), name, ...argumentsOf(given, name) });
  }
}

/** An object; servers that speak Ollama's language with another's habits send text. */
function argumentsOf(given: unknown, name: string): { readonly arguments: unknown; readonly argumentsText: string } {
  if (typeof given !== 'string') return { arguments: given, argumentsText: JSON.stringify(given) };
  try {
    return { arguments: given === '' ? {} : (JSON.parse(given) as unknown), argumentsText: given };
  } catch {
    // The parser's message quotes the arguments, which are the model's: told are name and size.
    throw new ProtocolError(
      `The arguments of a tool call (${name}), ${String(given.length)} characters, are not valid JSON; the call must not be run`,
      { context: { name, chars: given.length } },
    );
  }
}

/** What stands in calls beside what their events tell. */
function callExtras(calls: readonly OllamaAnswerCall[]): object | undefined {
  const has = (record: object, known: ReadonlySet<string>): boolean =>
    Object.entries(record).some(([key, value]) => !known.has(key) && !isBlank(value));
  const more = calls.filter((call) => has(call, CALL_KEYS) || has(call.function ?? {}, FUNCTION_KEYS));
  return more.length === 0 ? undefined : { tool_calls: more };
}

/** Ollama leaves out counts of 0, such as of a prompt that was cached: what it leaves out is unknown. */
function usageOf({ prompt_eval_count: input, eval_count: output }: OllamaAnswer): Usage | undefined {
  const isCount = (value: unknown): value is number => typeof value === 'number' && value >= 0;
  if (!isCount(input) && !isCount(output)) return undefined;
  return {
    ...(isCount(input) && { inputTokens: input }),
    ...(isCount(output) && { outputTokens: output }),
    provenance: 'reported',
  };
}
