import { LimitError } from '../errors.js';
import type { Emit } from '../protocol/dialect.js';
import type { ItemFields, PartFields } from './responsesFrame.js';
import { type TextPiece, ToldText } from './responsesText.js';

/** The kinds of text that an item can hold, as the wire has them. */
export type TextKind = 'text' | 'refusal' | 'reasoning' | 'summary';

/** What the unfinished tool calls of one stream may hold. */
export interface CallRoom {
  readonly max: number;
  chars: number;
}

interface PartOfPiece {
  readonly kind: TextKind;
  readonly index: number;
  /** All text of its kind. */
  readonly told: ToldText;
  readonly part: ToldText;
}

/** An output item while it comes. */
export class ItemDraft {
  readonly type: string;
  readonly id: string | undefined;
  /** False where the stream was opened after the item's beginning: what came before is not known, and was told to the reader. */
  readonly isAnchored: boolean;
  isDone = false;
  /** A part of it was told again as another text, and the whole item was not told yet. */
  isOther = false;
  /** Of a call that we run. */
  callId = '';
  name = '';
  /** The text of a call's arguments so far. */
  argumentsText = '';
  #isAdded = false;
  /** Arguments that were not shown, since nobody has told whose they are. */
  #held = '';
  readonly #ordinal: number;
  readonly #room: CallRoom;
  readonly #told: Map<TextKind, ToldText> = new Map();
  readonly #parts: Map<string, ToldText> = new Map();
  /** The part of the last piece: most often it is the next one's, too. */
  #last: PartOfPiece | undefined;

  /** @param ordinal - tells it apart where nothing else does */
  constructor({ type }: ItemFields, id: string | undefined, ordinal: number, isAnchored: boolean, room: CallRoom) {
    this.type = type ?? '';
    this.id = id;
    this.#ordinal = ordinal;
    this.isAnchored = isAnchored;
    this.#room = room;
  }

  /** How many of its parts have text. */
  get parts(): number {
    return this.#parts.size;
  }

  /** It is told to begin. @returns false where another one was told to begin in its place before */
  adopt(fields: ItemFields): boolean {
    const isFirst = !this.#isAdded || (fields.id === this.id && this.id !== undefined);
    if (isFirst) this.#describe(fields);
    this.#isAdded = true;
    return isFirst;
  }

  /** A piece of a part. */
  add(kind: TextKind, index: number, piece: TextPiece): void {
    let last = this.#last;
    if (last?.kind !== kind || last.index !== index) {
      last = { kind, index, told: this.#toldOf(kind), part: this.#partOf(kind, index) };
      this.#last = last;
    }
    last.told.append(piece);
    last.part.append(piece);
  }

  /** True where any text of these kinds was told. */
  hasTold(...kinds: readonly TextKind[]): boolean {
    return kinds.some((kind) => (this.#told.get(kind)?.chars ?? 0) > 0);
  }

  /** What a part that is told whole adds to what was told of it. */
  missingFromPart(kind: TextKind, index: number, whole: string): string {
    const missing = this.#partOf(kind, index).missingFrom(whole);
    // Some servers give every part the same number: the whole item decides.
    if (missing === undefined) this.isOther = true;
    return missing ?? '';
  }

  /** What the item, told whole, adds to what was told of it; undefined where it is another text. */
  missingFromWhole(kind: TextKind, whole: string): string | undefined {
    return this.#toldOf(kind).missingFrom(whole);
  }

  /** A piece of a call's arguments; they are shown once it is known whose they are. */
  addArguments(text: string, emit: Emit): void {
    this.#take(text.length);
    this.argumentsText += text;
    this.#held += text;
    this.#show(emit);
  }

  /** The arguments as told whole, apart from their item. */
  setArguments(text: string): void {
    if (text === '' || text === this.argumentsText) return;
    this.#take(text.length - this.argumentsText.length);
    this.argumentsText = text;
    this.#held = ''; // the call itself shows them
  }

  /** The item as told whole: who is called is known now. */
  complete(fields: ItemFields, emit: Emit): void {
    this.isDone = true;
    this.#describe(fields);
    this.#show(emit);
  }

  /** Lets go of the arguments. */
  release(): void {
    this.#room.chars -= this.argumentsText.length;
    this.argumentsText = '';
    this.#held = '';
  }

  #describe({ call_id: callId, id, name, type }: ItemFields): void {
    if (type !== 'function_call' && type !== 'custom_tool_call') return;
    this.callId = [callId, this.callId, id, this.id].find((value) => value) ?? `call_${String(this.#ordinal)}`;
    if (name) this.name = name;
  }

  #show(emit: Emit): void {
    const argumentsDelta = this.#held;
    if (this.callId === '' || argumentsDelta === '') return;
    this.#held = '';
    emit({ type: 'tool-call-delta', index: 0, id: this.callId, name: this.name, argumentsDelta });
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

  #toldOf(kind: TextKind): ToldText {
    return remember(this.#told, kind);
  }

  #partOf(kind: TextKind, index: number): ToldText {
    return remember(this.#parts, `${kind}:${String(index)}`);
  }
}

function remember<Key>(texts: Map<Key, ToldText>, key: Key): ToldText {
  const known = texts.get(key);
  if (known !== undefined) return known;
  const text = new ToldText();
  texts.set(key, text);
  return text;
}

/** The texts that a whole item holds, by kind, in the order in which they are told. */
export function wholeTexts(item: ItemFields): readonly (readonly [TextKind, string])[] {
  const { type, content, summary } = item;
  const parts: readonly PartFields[] =
    typeof content === 'string' ? [{ type: 'output_text', text: content }] : (content ?? []);
  const join = (types: readonly string[], list: readonly PartFields[] = parts): string =>
    list
      .filter((part) => types.includes(part.type ?? ''))
      .map(({ text, refusal }) => text ?? refusal ?? '')
      .join('');
  if (type === 'message') {
    return [
      ['text', join(['output_text', 'text'])],
      ['refusal', join(['refusal'])],
    ];
  }
  if (type !== 'reasoning') return [];
  const summarised = join(['summary_text'], summary ?? []);
  const reasoned = join(['reasoning_text', 'text']);
  return summarised === reasoned
    ? [['reasoning', reasoned]]
    : [
        ['summary', summarised],
        ['reasoning', reasoned],
      ];
}

/** What an item, told whole, adds to what was told of it, by kind; undefined where it is another text. */
export function missingFrom(
  item: ItemDraft | undefined,
  fields: ItemFields,
): readonly (readonly [kind: TextKind, missing: string | undefined])[] {
  const hadThinking = item?.hasTold('summary', 'reasoning') === true;
  return (
    wholeTexts(fields)
      // Reasoning and its summary: where the one was streamed, the other was not asked for.
      .filter(([kind]) => !hadThinking || !isThinking(kind) || item.hasTold(kind))
      .map(([kind, whole]) => [kind, item === undefined ? whole : item.missingFromWhole(kind, whole)])
  );
}

/** True for reasoning and for its summary. */
export function isThinking(kind: TextKind): kind is 'summary' | 'reasoning' {
  return kind === 'summary' || kind === 'reasoning';
}
