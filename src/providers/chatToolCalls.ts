import { LimitError, ProtocolError } from '../errors.js';
import type { Emit } from '../protocol/dialect.js';
import type { FinishReason, OutputPlace, ToolCallDeltaEvent } from '../types.js';
import type { ToolCallPart } from './chatChunk.js';

/** Calls in one choice. Above what any API allows (OpenAI: 128); chosen. */
const MAX_CALLS = 1024;

/** What a piece of a call has that is read. */
export const TOOL_CALL_KEYS: ReadonlySet<string> = new Set(['index', 'id', 'type', 'function', 'custom']);

/** Stands for the id of the deprecated `function_call`, which has none. */
export const LEGACY_CALL_ID = 'function_call';

/** What the unfinished calls of one stream may hold, over all of its choices. */
export interface ToolCallRoom {
  readonly max: number;
  chars: number;
}

/** What of a piece tells the call that it belongs to. */
type CallKey = Pick<ToolCallPart, 'index' | 'id'>;

interface Draft {
  readonly id: string;
  readonly isCustom: boolean;
  index: number | undefined;
  name: string;
  text: string;
}

/**
 * Joins the pieces of one choice's tool calls. A piece belongs to the call of its `index`; without one to that of its `id`;
 * without either to the last one. Indexes and ids are looked up, never trusted as positions.
 */
export class ChatToolCalls {
  readonly #place: Pick<OutputPlace, 'index' | 'alternative'>;
  readonly #room: ToolCallRoom;
  readonly #drafts: Draft[] = [];
  readonly #byIndex: Map<number, Draft> = new Map();
  readonly #byId: Map<string, Draft> = new Map();
  #begun = 0;

  constructor(choice: number, room: ToolCallRoom) {
    this.#place = choice > 0 ? { index: choice, alternative: true } : { index: choice };
    this.#room = room;
  }

  push(part: ToolCallPart, emit: Emit): void {
    const { function: called, custom } = part;
    const known = this.#find(part);
    const draft = known ?? this.#begin(part);
    const name = nameOf(part);
    const argumentsDelta = textOf(called?.arguments ?? custom?.input);
    if (known !== undefined && argumentsDelta === '' && !isRenaming(draft, name)) return;
    emit(this.#grow(draft, name, argumentsDelta));
  }

  /**
   * Does what `push` does with a piece of a call that goes on.
   * @param name - as `nameOf` tells it
   * @param argumentsDelta - not empty
   * @returns the event to emit; undefined, with nothing done, where `push` would find another call by it, or none
   */
  more({ index, id }: CallKey, name: string, argumentsDelta: string): ToolCallDeltaEvent | undefined {
    const draft = this.#known(index, id);
    return draft && this.#grow(draft, name, argumentsDelta);
  }

  /**
   * Emits the calls, since no more pieces come.
   * @param reason - why the choice ended; undefined where nobody said
   * @throws ProtocolError for arguments that are no JSON, unless the reason explains it: then a warning is emitted
   */
  finish(reason: FinishReason | undefined, emit: Emit): void {
    const drafts = this.#drafts.splice(0);
    this.#byIndex.clear();
    this.#byId.clear();
    for (const { name, text } of drafts) this.#room.chars -= name.length + text.length;
    const isCut = reason === 'length' || reason === 'content-filter';
    let failure: ProtocolError | undefined;
    for (const { id, name, text, isCustom } of drafts) {
      const parsed = isCustom ? { value: text } : parse(text, isCut);
      if (parsed !== undefined) {
        emit({ type: 'tool-call', ...this.#place, id, name, arguments: parsed.value, argumentsText: text });
        continue;
      }
      const facts = { id, name, chars: text.length };
      // The arguments themselves are the model's and may be private: told are name and size.
      const what = `The arguments of tool call ${id} (${name}), ${String(text.length)} characters, are not valid JSON`;
      if (!isCut) {
        failure ??= new ProtocolError(`${what}; the call must not be run`, { context: facts });
        continue;
      }
      emit({
        type: 'warning',
        code: 'tool-call-incomplete',
        message: `${what}: the answer was cut (${reason})`,
        detail: facts,
      });
    }
    if (failure !== undefined) throw failure; // after the calls that are whole
  }

  #find({ index, id }: CallKey): Draft | undefined {
    const draft = this.#known(index, id);
    if (draft !== undefined || typeof index !== 'number' || !id) return draft;
    // A call that began without an index, and got one later.
    const named = this.#byId.get(id);
    if (named?.index !== undefined) return undefined;
    if (named !== undefined) {
      named.index = index;
      this.#byIndex.set(index, named);
    }
    return named;
  }

  /** The call that a piece goes on with; with an index its id is not asked. */
  #known(index: CallKey['index'], id: CallKey['id']): Draft | undefined {
    if (typeof index === 'number') return this.#byIndex.get(index);
    return id ? this.#byId.get(id) : this.#drafts.at(-1);
  }

  #grow(draft: Draft, name: string, argumentsDelta: string): ToolCallDeltaEvent {
    const isRenamed = isRenaming(draft, name);
    this.#take(argumentsDelta.length + (isRenamed ? name.length - draft.name.length : 0));
    if (isRenamed) draft.name = name; // may be repeated on every piece: it replaces
    draft.text += argumentsDelta;
    const { index, alternative } = this.#place;
    const { id } = draft;
    // Literals, and no spread: there is one for each piece.
    return alternative === true
      ? { type: 'tool-call-delta', index, alternative, id, name: draft.name, argumentsDelta }
      : { type: 'tool-call-delta', index, id, name: draft.name, argumentsDelta };
  }

  #begin({ index, id, custom }: ToolCallPart): Draft {
    if (this.#begun >= MAX_CALLS) {
      throw new ProtocolError(`An answer began more than ${String(MAX_CALLS)} tool calls`);
    }
    const draft: Draft = {
      id: id === '' ? this.#makeId() : (id ?? this.#makeId()),
      isCustom: custom !== undefined && custom !== null,
      index: index ?? undefined,
      name: '',
      text: '',
    };
    this.#begun += 1;
    this.#drafts.push(draft);
    if (!this.#byId.has(draft.id)) this.#byId.set(draft.id, draft);
    if (draft.index !== undefined) this.#byIndex.set(draft.index, draft);
    return draft;
  }

  #makeId(): string {
    let number = this.#begun;
    while (this.#byId.has(`call_${String(number)}`)) number += 1;
    return `call_${String(number)}`;
  }

  #take(chars: number): void {
    this.#room.chars += chars;
    if (this.#room.chars <= this.#room.max) return;
    throw new LimitError(
      'maxToolCallChars',
      this.#room.max,
      `The unfinished tool calls of an answer hold more than ${String(this.#room.max)} characters; raise maxToolCallChars if they should`,
    );
  }
}

/** The name of the tool, where a piece has it. */
export function nameOf({ function: called, custom }: ToolCallPart): string {
  return called?.name ?? custom?.name ?? '';
}

function isRenaming(draft: Draft, name: string): boolean {
  return name !== '' && name !== draft.name;
}

/** Arguments as text; some shims send them whole, as an object. */
function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Undefined for what is not whole. No arguments at all are `{}`, unless the answer was cut before they came. */
function parse(text: string, isCut: boolean): { readonly value: unknown } | undefined {
  if (text === '') return isCut ? undefined : { value: {} };
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined; // the parser's message quotes the arguments; the caller says what is wrong without them
  }
}
