import { ProtocolError } from '../errors.js';
import { type DialectStream, type Emit, MOVED } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import { validate } from '../protocol/validate.js';
import type { FinishReason, RawEvent, WarningEvent } from '../types.js';
import { isBlank } from './chatExtras.js';
import { cutOf, failureOf, readResponsesUsage, responseExtras } from './responsesEnd.js';
import {
  type DeltaFrame,
  deltaFrame,
  doneFrame,
  endOf,
  ENDS,
  type Fields,
  type ItemFields,
  type ItemPlace,
  itemFrame,
  lifecycleFrame,
  type ResponseFields,
  responseObject,
  typeOf,
} from './responsesFrame.js';
import { type CallRoom, isThinking, ItemDraft, missingFrom, type TextKind, wholeTexts } from './responsesItem.js';
import { OpenItems } from './responsesOpenItems.js';
import { TextPiece, ToldText } from './responsesText.js';
import { argumentsTextOf, type CallFacts, cutCall, parseArguments, tellProvidersCall } from './responsesToolCall.js';

/** Items and parts in one response. Above what any is known to have (some hundred searches of a deep research); chosen. */
const MAX_ITEMS = 65_536;

type Stream = DialectStream<unknown>;

/** The frames that carry pieces of text, by their type. */
const TEXT_DELTAS: ReadonlyMap<string, TextKind> = new Map([
  ['response.output_text.delta', 'text'],
  ['response.refusal.delta', 'refusal'],
  ['response.reasoning_summary_text.delta', 'summary'],
  ['response.reasoning_text.delta', 'reasoning'],
  ['response.reasoning_summary.delta', 'summary'], // before August 2025
  ['response.reasoning.delta', 'reasoning'], // Open Responses
]);

/** The frames that tell a part whole, by their type. */
const TEXT_DONES: ReadonlyMap<string, TextKind> = new Map([
  ['response.output_text.done', 'text'],
  ['response.refusal.done', 'refusal'],
  ['response.reasoning_summary_text.done', 'summary'],
  ['response.reasoning_text.done', 'reasoning'],
  ['response.reasoning_summary_part.done', 'summary'],
]);

const PART_KINDS: ReadonlyMap<string, TextKind> = new Map([
  ['output_text', 'text'],
  ['refusal', 'refusal'],
  ['reasoning_text', 'reasoning'],
]);

/** What a frame of a piece has beside its text; the obfuscation is padding. */
const DELTA_KEYS: ReadonlySet<string> = new Set([
  'type',
  'sequence_number',
  'item_id',
  'output_index',
  'content_index',
  'summary_index',
  'delta',
  'obfuscation',
  'response_id',
]);

/** Members of such a frame that no one reads. */
const SKIPPED: ReadonlySet<string> = new Set(['obfuscation', 'response_id']);

const BEGINNINGS: ReadonlySet<string> = new Set(['response.created', 'response.queued', 'response.in_progress']);

/** What the stream is about, where it was opened by an id. */
export interface Attached {
  readonly id: string;
  /** The number of the last event that the reader has. */
  readonly after: number | undefined;
}

/** One stream of the Responses API. */
export class ResponsesReader {
  #id: string | undefined;
  #status = '';
  #usage = '';
  #extras = '';
  /** The highest number of an event so far. */
  #last: number | undefined;
  /** Events up to this number were told over an earlier connection. */
  #skipTo: number | undefined;
  #hasBegun = false;
  /** The name of the event that is read, where it has one. */
  #event: string | undefined;
  /** The stream was opened after its beginning: what is not seen to begin was told before. */
  #isMidway: boolean;
  readonly #isAttached: boolean;
  readonly #room: CallRoom;
  #items: ItemDraft[] = [];
  #byId: Map<string, ItemDraft> = new Map();
  #byIndex: Map<number, ItemDraft> = new Map();
  #byCall: Map<string, ItemDraft> = new Map();
  #begun = 0;
  #badCalls: CallFacts[] = [];
  #hasCalls = false;
  /** All of the answer that was told. */
  #said: Texts = newTexts();
  readonly #kinds: Set<TextKind> = new Set();

  constructor(maxToolCallChars: number, attached: Attached | undefined) {
    this.#room = { max: maxToolCallChars, chars: 0 };
    this.#id = attached?.id;
    this.#isAttached = attached !== undefined;
    this.#isMidway = attached?.after !== undefined;
    this.#skipTo = attached?.after;
    this.#last = attached?.after;
  }

  /** A new connection: what it repeats is left out. */
  reattached(): void {
    this.#skipTo = this.#last;
  }

  read(frame: Fields, stream: Stream): void {
    const type = typeOf(frame, stream.event);
    this.#event = stream.event === 'message' ? undefined : stream.event;
    const { response } = frame;
    const id = isRecord(response) ? response['id'] : undefined;
    if (!this.#enter(frame['sequence_number'], id, BEGINNINGS.has(type), stream)) return;
    const kind = TEXT_DELTAS.get(type);
    if (kind !== undefined) this.#piece(kind, frame, stream);
    else if (TEXT_DONES.has(type) || type === 'response.content_part.done') this.#partDone(type, frame, stream);
    else this.#other(type, frame, stream);
  }

  /** The response as it is stored: what it adds to what was told, once it is over. */
  stored(work: unknown, stream: Stream): void {
    const response = validate(responseObject, work, 'a stored response');
    this.#event = undefined;
    if (response.id) this.#id = response.id;
    const end = endOf(response.status);
    if (end === undefined) {
      this.#tellStatus(response.status, false, stream);
      stream.emit(MOVED);
      return;
    }
    // What it begins with may have been told to the reader before, and nobody knows how much of it.
    this.#end(end, response, work as Fields, this.#isMidway, stream); // an object: it was just validated
  }

  /** Notes which event it is. @returns false where it was told over an earlier connection: then all of it is done */
  #enter(number: unknown, id: unknown, isBeginning: boolean, stream: Stream): boolean {
    if (typeof number === 'number') {
      if (!this.#hasBegun && number > 0 && !isBeginning) this.#isMidway = true;
      this.#hasBegun = true;
      if (this.#skipTo !== undefined && number <= this.#skipTo) {
        stream.emit(MOVED);
        return false;
      }
      this.#last = Math.max(this.#last ?? number, number);
    }
    if (typeof id === 'string' && id !== '') this.#id = id;
    // Before anything is emitted: whoever leaves on it may have to cancel.
    if (this.#id !== undefined) stream.identify(this.#id, this.#last);
    return true;
  }

  #other(type: string, frame: Fields, stream: Stream): void {
    const end = ENDS.get(type);
    if (end !== undefined) {
      const { response } = validate(lifecycleFrame, frame, WHAT);
      this.#end(endOf(response?.status) ?? end, response ?? {}, frame, false, stream);
      return;
    }
    switch (type) {
      case 'response.created':
      case 'response.queued':
      case 'response.in_progress': {
        const { response } = validate(lifecycleFrame, frame, WHAT);
        this.#tellStatus(response?.status ?? type.slice('response.'.length), false, stream);
        if (response?.usage) this.#tellUsage(response.usage, stream);
        if (response) this.#tellExtras(response, frame, stream);
        break;
      }
      case 'response.output_item.added': {
        const added = validate(itemFrame, frame, WHAT);
        const item = this.#find({ ...added, item_id: added.item.id ?? added.item_id }, added.item.type);
        // One that its pieces began, or that is told to begin once more, is the same.
        const isKnown = item?.isDone === false && item.adopt(added.item);
        const begun = isKnown ? item : this.#begin(added.item, added, true);
        if (isKnown) this.#register(item, added.item.id, added.output_index);
        else begun.adopt(added.item);
        if (begun.callId !== '') this.#byCall.set(begun.callId, begun);
        break;
      }
      case 'response.output_item.done': {
        const done = validate(itemFrame, frame, WHAT);
        const item =
          this.#find({ ...done, item_id: done.item.id ?? done.item_id }, done.item.type) ??
          this.#begin(done.item, done, !this.#isMidway);
        this.#itemDone(item, done.item, stream);
        stream.emit(rawOf(frame, this.#event));
        break;
      }
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        this.#argumentsPiece(type, frame, stream);
        break;
      case 'response.function_call_arguments.done':
      case 'response.custom_tool_call_input.done': {
        const done = validate(doneFrame, frame, WHAT);
        const item = this.#find(done);
        if (item?.isDone === false) item.setArguments(done.arguments ?? done.input ?? '');
        break;
      }
      case 'response.audio.delta':
      case 'response.output_audio.delta': {
        const { delta } = validate(deltaFrame, frame, WHAT);
        if (delta) stream.emit({ type: 'media', kind: 'audio', content: delta, ...OUTPUT });
        break;
      }
      default: // Unknown, or without an event of its own: it arrives as `raw`.
    }
  }

  #piece(kind: TextKind, frame: Fields, stream: Stream): void {
    const piece = validate(deltaFrame, frame, WHAT);
    if (!piece.delta) return;
    const item = this.#itemOf(piece, { type: holderOf(kind) });
    this.#tell(item, kind, indexOf(kind, piece), piece.delta, stream);
    if (!this.#tellMore(piece, frame, stream)) this.#offer(kind, item, piece, frame, stream);
  }

  #argumentsPiece(type: string, frame: Fields, stream: Stream): void {
    const piece = validate(deltaFrame, frame, WHAT);
    if (!piece.delta) return;
    const called = { type: type.includes('custom') ? 'custom_tool_call' : 'function_call' };
    const item = this.#find(piece) ?? this.#begin(called, piece, !this.#isMidway);
    item.addArguments(piece.delta, emitTo(stream));
    if (!this.#tellMore(piece, frame, stream)) this.#offer('arguments', item, piece, frame, stream);
  }

  /** Frames that bring nothing but another piece of the same thing are alike. */
  #offer(kind: TextKind | 'arguments', item: ItemDraft, piece: DeltaFrame, frame: Fields, stream: Stream): void {
    const { item_id, output_index } = piece;
    const place = { item_id, output_index };
    const isNumbered = typeof frame['sequence_number'] === 'number';
    // Where it is not the item's own it may be another one in each frame.
    const isNamed = Boolean(item_id) && item_id !== item.id;
    const read = [...(isNumbered ? ['sequence_number'] : []), ...(isNamed ? ['item_id'] : [])];
    const type = kind === 'arguments' ? undefined : holderOf(kind);
    const index = kind === 'arguments' ? 0 : indexOf(kind, piece);
    const emit = emitTo(stream);
    stream.template({ text: 'delta', read, skip: SKIPPED }, (text, values) => {
      const found = this.#find(isNamed ? { item_id: String(values.at(-1)), output_index } : place, type);
      // Pieces of a call are held, or begin it, where nobody has told whose they are.
      if (found === undefined || (kind === 'arguments' && found.callId === '')) return false;
      if (!this.#enter(isNumbered ? values[0] : undefined, undefined, false, stream)) return true;
      if (kind === 'arguments') found.addArguments(text, emit);
      else this.#tell(found, kind, index, text, stream);
      return true;
    });
  }

  #partDone(type: string, frame: Fields, stream: Stream): void {
    const done = validate(doneFrame, frame, WHAT);
    const { text, refusal, part } = done;
    const kind = TEXT_DONES.get(type) ?? PART_KINDS.get(part?.type ?? '');
    const whole = text ?? refusal ?? part?.text ?? part?.refusal;
    if (kind === undefined || !whole) return;
    const item = this.#itemOf(done, { type: holderOf(kind) });
    if (!item.isAnchored || item.isDone) return;
    const index = indexOf(kind, done);
    const missing = item.missingFromPart(kind, index, whole);
    if (missing === '') return;
    this.#tell(item, kind, index, missing, stream);
    stream.emit(rawOf(frame, this.#event));
  }

  /** An item is whole: what was not told of it is, and its call can be run. */
  #itemDone(item: ItemDraft, fields: ItemFields, stream: Stream): void {
    if (item.isDone) return;
    this.#settle(item, fields, stream);
    this.#complete(item, fields, stream);
  }

  #complete(item: ItemDraft, fields: ItemFields, stream: Stream): void {
    const emit = emitTo(stream);
    item.complete(fields, emit);
    if (item.callId !== '') this.#byCall.set(item.callId, item);
    switch (fields.type) {
      case 'function_call':
        this.#call(item, argumentsTextOf(fields.arguments), fields, emit);
        break;
      case 'custom_tool_call':
        this.#call(item, argumentsTextOf(fields.input), fields, emit);
        break;
      case 'mcp_call':
        tellProvidersCall(fields, emit);
        break;
      case 'image_generation_call':
        if (typeof fields['result'] === 'string' && fields['result'] !== '')
          emit({ type: 'media', kind: 'image', content: fields['result'], ...OUTPUT });
        break;
      default: // its text was told, or it has no event of its own
    }
    item.release();
  }

  #settle(item: ItemDraft, fields: ItemFields, stream: Stream): void {
    if (!item.isAnchored) return;
    let isOther = false;
    for (const [kind, missing] of missingFrom(item, fields)) {
      if (missing === undefined) isOther = true;
      else if (missing !== '') this.#tell(item, kind, -1, missing, stream);
    }
    item.isOther = isOther;
  }

  /** Arguments told in pieces are a preview: the item has the last word. */
  #call(item: ItemDraft, told: string, { type, status }: ItemFields, emit: Emit): void {
    const { callId: id, name, argumentsText: pieces } = item;
    const text = told === '' ? pieces : told;
    const facts = { id, name, chars: text.length };
    if (pieces !== '' && pieces !== text) {
      emit({
        type: 'warning',
        code: 'provider-warning',
        message: `The arguments of tool call ${id} (${name}) are not what their pieces were; the call has ${String(text.length)} characters, its pieces ${String(pieces.length)}`,
        detail: facts,
      });
    }
    const parsed = type === 'custom_tool_call' ? { value: text } : parseArguments(text);
    if (status === 'incomplete') emit(cutCall(facts, 'its item says that it is incomplete'));
    else if (parsed === undefined) this.#badCalls.push(facts);
    else {
      this.#hasCalls = true;
      emit({ type: 'tool-call', index: 0, id, name, arguments: parsed.value, argumentsText: text });
    }
  }

  /**
   * The response is over.
   * @param isAnew - the reader is told all of it once more
   */
  #end(end: string, response: ResponseFields, frame: Fields, isAnew: boolean, stream: Stream): void {
    const output = response.output ?? [];
    const isCompleted = end === 'completed';
    const isFailed = !isCompleted && end !== 'incomplete';
    const isNews =
      isAnew && !isFailed
        ? this.#tellAnew(output, 'its beginning was not read, and only the whole answer is stored', stream)
        : this.#settleOutput(output, !isFailed, stream);
    const cut = cutOf(response);
    if (!isFailed) this.#finishCalls(isCompleted ? undefined : cut.rawReason, stream);
    this.#tellStatus(end, true, stream);
    if (response.usage) this.#tellUsage(response.usage, stream);
    if (isNews) stream.emit(rawOf(frame, this.#event));
    else this.#tellExtras(response, frame, stream);
    // A response that goes on without its reader is found again as it is: failed.
    const retryable = this.#isAttached || response['background'] === true ? false : undefined;
    if (isFailed) stream.fail(failureOf(end, response, frame), frame, retryable);
    if (isCompleted) stream.prove(this.#reason(output), end);
    else stream.prove(cut.reason, cut.rawReason);
    this.#judgeCalls(isCompleted ? undefined : cut.rawReason, stream);
    stream.done();
  }

  /** What the whole output has that was not told. @returns whether an item of it was not told whole before */
  #settleOutput(output: readonly ItemFields[], mayRestart: boolean, stream: Stream): boolean {
    const open = new OpenItems(this.#items);
    const known = output.map((fields, position) => this.#match(fields, position, open));
    if (output.length === 0) {
      if (this.#items.some(({ isOther }) => isOther)) stream.emit(otherText());
      return false;
    }
    const isWhole = this.#isMidway || this.#settleTexts(output, known, stream);
    if (!isWhole && mayRestart)
      return this.#tellAnew(output, 'the whole answer differs from the pieces that were streamed', stream);
    let isNews = false;
    for (const [position, fields] of output.entries()) {
      const item = known[position];
      if (item?.isDone === true) continue;
      isNews = true;
      if (item !== undefined && this.#isMidway) this.#settle(item, fields, stream);
      if (item === undefined && this.#isMidway) continue; // told before the reader joined
      this.#complete(item ?? this.#begin(fields, { item_id: fields.id }, true), fields, stream);
    }
    return isNews;
  }

  /** The item that stands here in the whole output. A call is known by its own id, and ids of items may change from frame to frame. */
  #match(fields: ItemFields, position: number, open: OpenItems): ItemDraft | undefined {
    const { type, id, call_id: callId } = fields;
    const candidates = [this.#byId.get(id ?? ''), this.#byIndex.get(position)];
    if (!callId) return open.take(type ?? '', candidates) ?? open.next(type ?? '');
    const called = this.#byCall.get(callId);
    if (called !== undefined) return called;
    return open.take(
      type ?? '',
      candidates.filter((item) => item?.callId === ''),
    );
  }

  /** Tells what the texts of the answer lack at their end. @returns false where they are other texts */
  #settleTexts(output: readonly ItemFields[], known: readonly (ItemDraft | undefined)[], stream: Stream): boolean {
    const whole = { thinking: '', text: '', refusal: '' };
    const hadThinking = this.#said.thinking.chars > 0;
    for (const fields of output) {
      for (const [kind, text] of wholeTexts(fields)) {
        if (!isThinking(kind)) whole[kind] += text;
        else if (!hadThinking || this.#kinds.has(kind)) whole.thinking += text;
      }
    }
    const thinking = this.#said.thinking.missingFrom(whole.thinking);
    const text = this.#said.text.missingFrom(whole.text);
    const refusal = this.#said.refusal.missingFrom(whole.refusal);
    if (thinking === undefined || text === undefined || refusal === undefined) {
      // Nothing is missing where each item is whole: they ran beside each other, or the output leaves some out.
      return output.every((fields, position) =>
        missingFrom(known[position], fields).every(([, missing]) => missing === ''),
      );
    }
    if (thinking !== '') this.#say('reasoning', new TextPiece(thinking), stream);
    if (text !== '') this.#say('text', new TextPiece(text), stream);
    if (refusal !== '') this.#say('refusal', new TextPiece(refusal), stream);
    return true;
  }

  #tellAnew(output: readonly ItemFields[], because: string, stream: Stream): boolean {
    const { text, thinking } = this.#said;
    const discard = { chars: text.chars, ...(thinking.chars > 0 && { thinkingChars: thinking.chars }) };
    stream.emit({ type: 'restart', attempt: 1, because, discard });
    this.#items = [];
    this.#byId = new Map();
    this.#byIndex = new Map();
    this.#byCall = new Map();
    this.#badCalls = [];
    this.#room.chars = 0;
    this.#hasCalls = false;
    this.#said = newTexts();
    this.#isMidway = false;
    for (const fields of output) {
      this.#itemDone(this.#begin(fields, { item_id: fields.id }, true), fields, stream);
    }
    return true;
  }

  /** Calls whose items were never told whole. */
  #finishCalls(cut: string | undefined, stream: Stream): void {
    for (const item of this.#items) {
      if (item.isDone || (item.callId === '' && item.argumentsText === '')) continue;
      const { type, callId, name, argumentsText } = item;
      item.isDone = true;
      if (cut === undefined && callId !== '') this.#call(item, '', { type }, emitTo(stream));
      else {
        const because = cut === undefined ? 'who is called was not told' : `the answer was cut (${cut})`;
        stream.emit(cutCall({ id: callId, name, chars: argumentsText.length }, because));
      }
      item.release();
    }
  }

  /** Calls whose arguments are no JSON: no wonder where the answer was cut, and otherwise a fault. */
  #judgeCalls(cut: string | undefined, stream: Stream): void {
    const bad = this.#badCalls;
    this.#badCalls = [];
    const [first] = bad;
    if (first === undefined) return;
    if (cut === undefined) {
      throw new ProtocolError(
        `The arguments of tool call ${first.id} (${first.name}), ${String(first.chars)} characters, are not valid JSON; the call must not be run`,
        { context: { ...first } },
      );
    }
    for (const facts of bad) stream.emit(cutCall(facts, `the answer was cut (${cut})`));
  }

  #reason(output: readonly ItemFields[]): FinishReason {
    const isCalling =
      this.#hasCalls || output.some(({ type }) => type === 'function_call' || type === 'custom_tool_call');
    if (isCalling) return 'tool-calls';
    return this.#said.refusal.chars > 0 && this.#said.text.chars === 0 ? 'refusal' : 'stop';
  }

  #tellStatus(status: string | null | undefined, terminal: boolean, stream: Stream): void {
    if (!status || status === this.#status) return;
    this.#status = status;
    stream.emit({ type: 'status', status, ...(this.#id === undefined ? undefined : { id: this.#id }), terminal });
  }

  #tellUsage(used: Fields, stream: Stream): void {
    const usage = readResponsesUsage(used);
    const told = usage === undefined ? '' : JSON.stringify(usage);
    if (usage === undefined || told === this.#usage) return;
    this.#usage = told;
    stream.emit({ type: 'usage', ...usage });
  }

  #tellExtras(response: ResponseFields, frame: Fields, stream: Stream): void {
    const extras = responseExtras(response);
    if (extras === '' || extras === this.#extras) return;
    this.#extras = extras;
    stream.emit(rawOf(frame, this.#event));
  }

  /** What a piece has beside its text, such as log probabilities. @returns false where it has nothing */
  #tellMore(piece: DeltaFrame, frame: Fields, stream: Stream): boolean {
    for (const key of Object.keys(piece)) {
      if (DELTA_KEYS.has(key) || isBlank(piece[key])) continue;
      stream.emit(rawOf(frame, this.#event));
      return true;
    }
    return false;
  }

  #say(kind: TextKind, piece: TextPiece, stream: Stream): void {
    const type = isThinking(kind) ? 'thinking' : kind;
    this.#kinds.add(kind);
    this.#said[type].append(piece);
    stream.emit({ type, text: piece.text, index: 0, name: type === 'thinking' ? 'thinking' : 'output' });
  }

  /** Emits a text that an item has. */
  #tell(item: ItemDraft, kind: TextKind, index: number, text: string, stream: Stream): void {
    const before = item.parts;
    const piece = new TextPiece(text);
    item.add(kind, index, piece);
    if (item.parts > before) this.#count();
    this.#say(kind, piece, stream);
  }

  /** The item of a piece; one that was not seen to begin begins with it. */
  #itemOf(place: ItemPlace, fields: ItemFields): ItemDraft {
    return this.#find(place, fields.type) ?? this.#begin(fields, place, !this.#isMidway);
  }

  /** By its id, else by its place, else the last one. */
  #find({ item_id: id, output_index: index }: ItemPlace, type?: string | null): ItemDraft | undefined {
    const named = id ? this.#byId.get(id) : undefined;
    if (named !== undefined) return named;
    if (typeof index === 'number') {
      const there = this.#byIndex.get(index);
      // Some servers give every item the same place.
      if (there?.isDone === true && id && there.id !== undefined && there.id !== id) return undefined;
      return type && there?.type !== type ? undefined : there;
    }
    const last = id ? undefined : this.#items.at(-1);
    return type && last?.type !== type ? undefined : last;
  }

  #begin(fields: ItemFields, { item_id, output_index }: ItemPlace, isAnchored: boolean): ItemDraft {
    this.#count();
    const id = [fields.id, item_id].find((value) => value) ?? undefined;
    const item = new ItemDraft(fields, id, this.#begun, isAnchored, this.#room);
    this.#items.push(item);
    this.#register(item, id, output_index);
    return item;
  }

  #register(item: ItemDraft, id: string | null | undefined, index: number | null | undefined): void {
    if (id) this.#byId.set(id, item);
    if (typeof index === 'number') this.#byIndex.set(index, item);
  }

  #count(): void {
    this.#begun += 1;
    if (this.#begun > MAX_ITEMS) {
      throw new ProtocolError(`A response began more than ${String(MAX_ITEMS)} items and parts`);
    }
  }
}

const WHAT = 'a responses frame';
const OUTPUT = { index: 0, name: 'output' } as const;

function indexOf(kind: TextKind, { content_index: content, summary_index: summary }: ItemPlace): number {
  return (kind === 'summary' ? summary : content) ?? 0;
}

/** The type of the items that hold such a text. */
function holderOf(kind: TextKind): string {
  return isThinking(kind) ? 'reasoning' : 'message';
}

type Texts = Readonly<Record<'text' | 'thinking' | 'refusal', ToldText>>;

function newTexts(): Texts {
  return { text: new ToldText(), thinking: new ToldText(), refusal: new ToldText() };
}

function otherText(): WarningEvent {
  const message = 'A part of the answer was told whole with another text than its pieces had';
  return { type: 'warning', code: 'provider-warning', message };
}

function emitTo(stream: Stream): Emit {
  return (event) => {
    stream.emit(event);
  };
}

function rawOf(frame: Fields, event: string | undefined): RawEvent {
  return event === undefined ? { type: 'raw', frame } : { type: 'raw', frame, event };
}
