import { LimitError, ProtocolError } from '../errors.js';
import type { Emit } from '../protocol/dialect.js';
import type { FinishReason, ToolCallDeltaEvent } from '../types.js';
import { callIdOf, type StartedBlock } from './anthropicFrame.js';

interface Draft {
  readonly id: string;
  readonly name: string;
  readonly isProviders: boolean;
  /** The arguments that came whole with the block's start; empty where they are streamed. */
  readonly given: string;
  text: string;
  /** Another block began after it had ended, so it is not where an answer was cut. */
  isFollowed: boolean;
}

const NO_ARGUMENTS = '';

/**
 * The tool calls of one message, by the index of their block. A call whose arguments are whole JSON is told at the end of its block.
 * One without any, or with others, waits: an answer that was cut says so only after its blocks.
 */
export class AnthropicToolCalls {
  readonly #maxChars: number;
  #chars = 0;
  /** Those that were not told, in the order in which they began. */
  readonly #drafts: Set<Draft> = new Set();
  /** Those of them whose block goes on. */
  readonly #open: Map<number, Draft> = new Map();
  /** Those whose block has ended, and after which none has begun. */
  #ended: Draft[] = [];

  constructor(maxChars: number) {
    this.#maxChars = maxChars;
  }

  /** The message begins anew. */
  clear(): void {
    this.#drafts.clear();
    this.#open.clear();
    this.#ended = [];
    this.#chars = 0;
  }

  begin(index: number, block: StartedBlock, emit: Emit): void {
    this.stop(index, emit); // a server that uses an index again has ended its block
    const draft: Draft = {
      id: callIdOf(block.id, index),
      name: block.name ?? '',
      isProviders: block.type !== 'tool_use',
      given: givenText(block['input']),
      text: '',
      isFollowed: false,
    };
    this.#take(draft.id.length + draft.name.length + draft.given.length);
    this.#drafts.add(draft);
    this.#open.set(index, draft);
    if (draft.given === NO_ARGUMENTS) emit(deltaOf(draft, ''));
  }

  /** Adds a piece of a call's arguments; false where no such call goes on. */
  add(index: number, argumentsDelta: string, emit: Emit): boolean {
    const draft = this.#open.get(index);
    if (draft === undefined) return false;
    this.#take(argumentsDelta.length);
    draft.text += argumentsDelta;
    emit(deltaOf(draft, argumentsDelta));
    return true;
  }

  /** A call's block has ended. */
  stop(index: number, emit: Emit): void {
    const draft = this.#open.get(index);
    if (draft === undefined) return;
    this.#open.delete(index);
    const text = textOf(draft);
    const parsed = text === NO_ARGUMENTS ? undefined : parse(text);
    if (parsed === undefined) this.#ended.push(draft);
    else this.#tell(draft, parsed.value, emit);
  }

  /** Another block begins: a call whose block has ended without arguments has none. */
  follow(emit: Emit): void {
    for (const draft of this.#ended.splice(0)) {
      draft.isFollowed = true;
      if (textOf(draft) === NO_ARGUMENTS) this.#tell(draft, {}, emit);
    }
  }

  /**
   * Tells the calls that waited, since it is known why the message ended.
   * @throws ProtocolError for arguments that are no JSON, unless the reason explains it: then a warning is emitted
   */
  settle(reason: FinishReason, emit: Emit): void {
    const isCut = CUTS.has(reason);
    this.#open.clear();
    this.#ended = [];
    let failure: ProtocolError | undefined;
    for (const draft of this.#drafts) {
      const text = textOf(draft);
      const explained = isCut && !draft.isFollowed;
      const parsed = text === NO_ARGUMENTS ? (explained ? undefined : { value: {} }) : parse(text);
      if (parsed !== undefined) {
        this.#tell(draft, parsed.value, emit);
        continue;
      }
      this.#drop(draft);
      const { id, name } = draft;
      const facts = { id, name, chars: text.length };
      // The arguments themselves are the model's and may be private: told are name and size.
      const what = `The arguments of tool call ${id} (${name}), ${String(text.length)} characters, are not valid JSON`;
      if (explained) {
        emit({
          type: 'warning',
          code: 'tool-call-incomplete',
          message: `${what}: the answer was cut (${reason})`,
          detail: facts,
        });
      } else failure ??= new ProtocolError(`${what}; the call must not be run`, { context: facts });
    }
    if (failure !== undefined) throw failure; // after the calls that are whole
  }

  #tell(draft: Draft, value: unknown, emit: Emit): void {
    this.#drop(draft);
    const { id, name, isProviders } = draft;
    emit({
      type: 'tool-call',
      index: 0,
      id,
      name,
      ...(isProviders && { providerExecuted: true }),
      arguments: value,
      argumentsText: textOf(draft),
    });
  }

  #drop(draft: Draft): void {
    this.#drafts.delete(draft);
    this.#chars -= draft.id.length + draft.name.length + draft.given.length + draft.text.length;
  }

  #take(chars: number): void {
    this.#chars += chars;
    if (this.#chars <= this.#maxChars) return;
    throw new LimitError(
      'maxToolCallChars',
      this.#maxChars,
      `The unfinished tool calls of an answer hold more than ${String(this.#maxChars)} characters; raise maxToolCallChars if they should`,
    );
  }
}

/** Reasons that leave the last block unfinished. */
const CUTS: ReadonlySet<FinishReason> = new Set(['length', 'content-filter', 'refusal']);

/** Literals, and no spread: there is one for each piece. */
function deltaOf({ id, name, isProviders }: Draft, argumentsDelta: string): ToolCallDeltaEvent {
  return isProviders
    ? { type: 'tool-call-delta', index: 0, id, name, providerExecuted: true, argumentsDelta }
    : { type: 'tool-call-delta', index: 0, id, name, argumentsDelta };
}

/** What is streamed stands over what the start held, as in Anthropic's own clients. */
function textOf({ given, text }: Draft): string {
  return text === '' ? given : text;
}

/** The arguments that a start holds: an object with members in it, or, from some proxies, JSON text. */
function givenText(input: unknown): string {
  if (typeof input === 'string') return input;
  if (typeof input !== 'object' || input === null || Object.keys(input).length === 0) return NO_ARGUMENTS;
  return JSON.stringify(input);
}

/** Undefined for what is not whole. */
function parse(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined; // the parser's message quotes the arguments; the caller says what is wrong without them
  }
}
