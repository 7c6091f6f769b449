import { ProtocolError } from '../errors.js';
import { type DialectStream, type Emit, readFailure } from '../protocol/dialect.js';
import { type ErrorReport, isRecord, readErrorBody } from '../protocol/errorBody.js';
import { ChatChoice, type PlainPart } from './chatChoice.js';
import type { ChatChunk } from './chatChunk.js';
import { extrasOf, isBlank } from './chatExtras.js';
import { finishFailure } from './chatFinish.js';
import type { ToolCallRoom } from './chatToolCalls.js';
import { ChatUsage, unreadUsageOf, type UsageNumbers, usageNumbersOf } from './chatUsage.js';

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
/** The same, and what is not read beside a delta: Perplexity's `message` repeats all that came. */
const SKIPPED_WITH_DELTA: ReadonlySet<string> = new Set([...SKIPPED, 'choices.0.message.content']);
/** The same, and what is not read beside the index of a call. */
const SKIPPED_WITH_INDEX: ReadonlySet<string> = new Set([
  ...SKIPPED_WITH_DELTA,
  'choices.0.delta.tool_calls.0.id',
  'choices.0.delta.toolCalls.0.id',
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
  readonly #usage: ChatUsage;
  #extras = '';

  constructor(options: ChatReaderOptions) {
    this.#options = options;
    this.#room = { max: options.maxToolCallChars, chars: 0 };
    this.#usage = new ChatUsage(options.currency);
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
    const numbers = usageNumbersOf(chunk);
    const usage = numbers && this.#usage.news(numbers.tells, numbers.values);
    if (usage !== undefined) emit(usage);
    const extras = extrasOf(chunk, CHUNK_KEYS) + (numbers?.extras ?? '');
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
    if (choice?.plain !== undefined) this.#offer(choice, choice.plain, extras, numbers, stream);
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

  /** Frames that bring one text, or one piece of a tool call, and nothing else but what was used so far, are alike. */
  #offer(
    choice: ChatChoice,
    plain: PlainPart,
    extras: string,
    numbers: UsageNumbers | undefined,
    stream: DialectStream<unknown>,
  ): void {
    if (numbers?.isInExtras === true) return;
    const { path, call } = plain;
    const hasIndex = typeof call?.index === 'number';
    const read = [...(numbers?.paths ?? []), ...(hasIndex ? [`choices.0.${call.path}.index`] : [])];
    const last = read.length - 1;
    const skip = skippedWith(plain, numbers);
    const tells = numbers?.tells; // not the numbers, which keep their frame
    const fractions = numbers?.hasCost;
    stream.template({ text: `choices.0.${path}`, read, fractions, skip }, (text, values) => {
      if (extras !== '' && extras !== this.#extras) return false;
      const index = hasIndex ? Number(values[last]) : call?.index;
      const event = choice.next(plain, text, index);
      if (event === undefined) return false;
      const usage = tells && this.#usage.news(tells, values);
      stream.emit(event);
      if (usage !== undefined) stream.emit(usage);
      stream.reopen(); // as in `#prove`: this choice has not ended
      return true;
    });
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

function skippedWith({ path, call }: PlainPart, numbers: UsageNumbers | undefined): ReadonlySet<string> {
  const inDelta = path === 'text' ? SKIPPED : SKIPPED_WITH_DELTA;
  const skipped = typeof call?.index === 'number' ? SKIPPED_WITH_INDEX : inDelta;
  const unread = numbers === undefined ? [] : unreadUsageOf(numbers);
  return unread.length === 0 ? skipped : new Set([...skipped, ...unread]);
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
