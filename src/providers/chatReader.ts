import { ProtocolError } from '../errors.js';
import { type DialectStream, type Emit, readFailure } from '../protocol/dialect.js';
import { type ErrorReport, isRecord, readErrorBody } from '../protocol/errorBody.js';
import { ChatChoice, type PlainText } from './chatChoice.js';
import type { ChatChunk } from './chatChunk.js';
import { extrasOf, isBlank } from './chatExtras.js';
import { finishFailure } from './chatFinish.js';
import type { ToolCallRoom } from './chatToolCalls.js';
import { readChatUsage } from './chatUsage.js';

/** Above what any API allows (OpenAI: 128); chosen. */
const MAX_CHOICES = 1024;

const CHUNK_KEYS: ReadonlySet<string> = new Set([
  'id',
  'object',
  'created',
  'model',
  'service_tier',
  'system_fingerprint',
  'provider',
  'obfuscation', // OpenAI's padding
  'p', // Mistral's padding
  'choices',
  'usage',
  'cost',
  'cost_details',
  'error',
]);

/** Members that no one reads. */
const SKIPPED: ReadonlySet<string> = new Set([
  'id',
  'object',
  'created',
  'model',
  'system_fingerprint',
  'provider',
  'obfuscation',
  'p',
]);

/** What differs between the servers of the family. */
export interface ChatReaderOptions {
  readonly inlineThinking: boolean;
  readonly maxToolCallChars: number;
  readonly currency: string | undefined;
  /** How many answers were asked for. */
  readonly choices: number;
}

/** One stream of the chat family. */
export class ChatReader {
  readonly #options: ChatReaderOptions;
  readonly #room: ToolCallRoom;
  readonly #choices: Map<number, ChatChoice> = new Map();
  #extras = '';
  #usage = '';

  constructor(options: ChatReaderOptions) {
    this.#options = options;
    this.#room = { max: options.maxToolCallChars, chars: 0 };
  }

  read(chunk: ChatChunk, stream: DialectStream<unknown>): void {
    let isQuiet = true;
    const emit: Emit = (event) => {
      isQuiet = false;
      stream.emit(event);
    };
    const failure = failureOf(chunk, stream.event);
    let hasExtras = false;
    let isFinishing = false;
    for (const [position, part] of (chunk.choices ?? []).entries()) {
      if (part === undefined || part === null) continue;
      const choice = this.#choice(part.index ?? position);
      const before = choice.finish;
      hasExtras = choice.read(part, failure === undefined, emit) || hasExtras;
      isFinishing ||= choice.finish !== undefined && choice.finish !== before;
    }
    const usage = this.#spend(chunk, emit);
    const extras = extrasOf(chunk, CHUNK_KEYS) + (usage ?? '');
    if (failure !== undefined) {
      // Last, so that what was held and what stands beside it in its frame is delivered.
      this.release(emit);
      stream.fail(failure, chunk);
    }
    if (extras !== '' && extras !== this.#extras) {
      this.#extras = extras;
      hasExtras = true;
    }
    if (hasExtras) {
      emit(
        stream.event === 'message' ? { type: 'raw', frame: chunk } : { type: 'raw', frame: chunk, event: stream.event },
      );
    }
    this.#prove(stream, isFinishing);
    const [part, another] = chunk.choices ?? [];
    const choice = part && another === undefined ? this.#choices.get(part.index ?? 0) : undefined;
    if (choice?.plain !== undefined && usage === undefined) this.#offer(choice, choice.plain, extras, stream);
    // Nothing new is not nothing: without an event the frame would arrive as `raw`, with what it only repeats.
    if (isQuiet && !isFinishing && (extras !== '' || this.#isHolding()))
      stream.emit({ type: 'heartbeat', comment: '' });
  }

  /** The stream is cut: emits text that was held back, and no tool calls, since those may be cut. */
  release(emit: Emit): void {
    for (const choice of this.#choices.values()) choice.release(emit);
  }

  /** Emits what was held back. */
  flush(stream: DialectStream<unknown>): void {
    for (const choice of this.#choices.values()) {
      choice.flush((event) => {
        stream.emit(event);
      });
    }
  }

  #choice(index: number): ChatChoice {
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    if (this.#choices.size >= MAX_CHOICES) {
      throw new ProtocolError(`An answer began more than ${String(MAX_CHOICES)} choices`);
    }
    const choice = new ChatChoice(index, this.#room, this.#options.inlineThinking);
    this.#choices.set(index, choice);
    return choice;
  }

  /** Frames that bring nothing but a text are alike. */
  #offer(choice: ChatChoice, plain: PlainText, extras: string, stream: DialectStream<unknown>): void {
    stream.template({ text: `choices.0.${plain.path}`, skip: SKIPPED }, (text) => {
      if ((extras !== '' && extras !== this.#extras) || !choice.say(plain, text, stream)) return false;
      stream.reopen(); // as in `#prove`: this choice has not ended
      return true;
    });
  }

  /** Emits usage that differs from the last; returns what stands in it besides. */
  #spend(chunk: ChatChunk, emit: Emit): string | undefined {
    const read = readChatUsage(chunk, this.#options.currency);
    if (read === undefined) return undefined;
    const told = JSON.stringify(read.usage);
    if (told !== this.#usage) {
      this.#usage = told;
      emit({ type: 'usage', ...read.usage });
    }
    return read.extras;
  }

  /** Every choice asked for and every one seen has ended: the answer is whole, until another begins. */
  #prove(stream: DialectStream<unknown>, isFinishing: boolean): void {
    const finishes = [...this.#choices.values()].map(({ finish }) => finish);
    if (finishes.length < this.#options.choices || !finishes.every((finish) => finish !== undefined)) {
      stream.reopen();
      return;
    }
    if (!isFinishing) return;
    const choices = finishes.sort((one, other) => one.index - other.index);
    const first = choices[0];
    if (first !== undefined) stream.prove(first.reason, first.rawReason, choices.length > 1 ? choices : undefined);
  }

  #isHolding(): boolean {
    return [...this.#choices.values()].some((choice) => choice.isHolding);
  }
}

/** What a frame says went wrong: by itself, at one of its choices, or where Groq tells why it stopped early. */
function failureOf(chunk: ChatChunk, event: string): ErrorReport | undefined {
  const failure = readFailure(chunk, event);
  if (failure !== undefined) return failure;
  const groq = chunk['x_groq'];
  if (isRecord(groq) && !isBlank(groq['error'])) return readErrorBody(groq);
  for (const part of chunk.choices ?? []) {
    const ended = part ? finishFailure(part) : undefined;
    if (ended !== undefined) return ended;
  }
  return undefined;
}
