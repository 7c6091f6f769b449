import { ProtocolError } from '../errors.js';
import { type DialectStream, type Emit, MOVED, readFailure } from '../protocol/dialect.js';
import type { FinishReason, Usage } from '../types.js';
import { hasOthers, isBlank } from './chatExtras.js';
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

/** Members that no one reads, once the answer has its id. */
const SKIPPED: ReadonlySet<string> = new Set(['created_at']);

/** One stream of Ollama's own API. */
export class OllamaReader {
  readonly #extras: ChangedExtras = new ChangedExtras(ANSWER_KEYS, INCREMENTS);
  readonly #messageExtras: ChangedExtras = new ChangedExtras(MESSAGE_KEYS);
  /** An answer has no id: its first moment tells it from others. */
  readonly #ids: CallIds = { made: 0, answerId: '' };
  #called = false;
  /** How often something new stood beside the text. */
  #changes = 0;

  read(answer: OllamaAnswer, stream: DialectStream<unknown>): void {
    const { message, created_at: at, done } = answer;
    if (this.#ids.answerId === '') this.#ids.answerId = (at ?? '').replaceAll(/[^\w.-]/g, '').slice(0, 64);
    let events = 0;
    const emit: Emit = (event) => {
      events += 1;
      stream.emit(event);
    };
    const texts = textsOf(answer);
    for (const { isThinking, text } of texts) say(isThinking, text, emit);
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
    if (Object.keys(extras).length > 0) {
      this.#changes += 1;
      emit({ type: 'raw', frame: extras });
    }
    const failure = readFailure(answer, stream.event);
    // Last, so that what stands beside it on its line is delivered.
    if (failure !== undefined) stream.fail(failure, answer);
    if (done === true) {
      const usage = usageOf(answer);
      if (usage !== undefined) emit({ type: 'usage', ...usage });
      const word = answer.done_reason;
      stream.prove(this.#reason(word), word === null || word === '' ? undefined : word);
      stream.done();
      return;
    }
    const [told] = texts;
    if (told !== undefined && events === 1) this.#offer(told, answer, stream);
    if (events === 0 && (message !== undefined || answer.response !== undefined)) stream.emit(MOVED);
  }

  /** Lines that bring nothing but one text are alike. */
  #offer({ isThinking, path }: Told, answer: OllamaAnswer, stream: DialectStream<unknown>): void {
    // The answer has no id yet, and a line that is alike may have the moment that becomes it.
    if (this.#ids.answerId === '' && typeof answer.created_at === 'string') return;
    const hasExtras = hasOthers(answer, ANSWER_KEYS) || hasOthers(answer.message ?? {}, MESSAGE_KEYS);
    const changes = this.#changes;
    const emit: Emit = (event) => {
      stream.emit(event);
    };
    stream.template({ text: path, skip: SKIPPED }, (text) => {
      if (hasExtras && changes !== this.#changes) return false; // what they repeat may be news again
      say(isThinking, text, emit);
      return true;
    });
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

/** A text of a line, and where it stands. */
interface Told {
  readonly isThinking: boolean;
  readonly text: string;
  readonly path: string;
}

/** The texts of a line in the order in which they are told; almost always one. */
function textsOf({ thinking, response, message }: OllamaAnswer): readonly Told[] {
  const texts: Told[] = [];
  const add = (isThinking: boolean, text: string | null | undefined, path: string): void => {
    if (text) texts.push({ isThinking, text, path });
  };
  add(true, thinking, 'thinking');
  add(true, message?.thinking, 'message.thinking');
  add(false, response, 'response');
  add(false, message?.content, 'message.content');
  return texts;
}

function say(isThinking: boolean, text: string, emit: Emit): void {
  if (isThinking) emit({ type: 'thinking', text, index: 0, name: 'thinking' });
  else emit({ type: 'text', text, index: 0, name: 'output' });
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
