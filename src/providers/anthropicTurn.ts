import { isRecord } from '../protocol/errorBody.js';
import type { FinishEvent, RawEvent, StreamEvent, ToolCallEvent } from '../types.js';
import { callIdOf, TOOL_USE, typeOf } from './anthropicFrame.js';

/** A block of a message's content: text, an image, thinking, a tool call, a tool's result … @public */
export interface AnthropicBlock {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** The assistant's turn, as the next request takes it. @public */
export interface AnthropicTurn {
  readonly role: 'assistant';
  readonly content: readonly AnthropicBlock[];
  /**
   * The container in which code was run, for the next request's `container`. Not enumerable, since it is no part of the message
   * that is sent.
   */
  readonly container?: string;
}

/** Whether a frame holds a part of the turn besides the text and the calls that have events of their own. */
export function isOfAnthropicTurn({ frame, event }: RawEvent): boolean {
  if (!isRecord(frame)) return false;
  switch (typeOf(frame, event)) {
    case 'message_start':
    case 'content_block_start':
      return true;
    case 'content_block_delta':
      return isRecord(frame['delta']) && !TEXT_DELTAS.has(frame['delta']['type']);
    case 'message_delta':
      return isRecord(frame['delta']) && isRecord(frame['delta']['container']);
    default:
      return false;
  }
}

/** Deltas whose text has events of its own, or belongs to a call that was never whole. */
const TEXT_DELTAS: ReadonlySet<unknown> = new Set(['text_delta', 'thinking_delta', 'input_json_delta']);

/** Puts the assistant's turn together: its blocks in their order, without those that are not whole or that the API refuses. */
export function anthropicTurn(events: readonly StreamEvent[]): AnthropicTurn {
  const draft = new TurnDraft();
  for (const event of events) draft.add(event);
  return draft.build();
}

/** What came of one block. */
interface BlockDraft {
  readonly index: number | undefined;
  readonly block: AnthropicBlock;
  /** As streamed; the start's own text has an event too. */
  text: string;
  readonly citations: unknown[];
  signature: unknown;
  call: ToolCallEvent | undefined;
  /** What deltas set on a block that has no events: a compaction's summary. */
  changes: Readonly<Record<string, unknown>>;
  /** A delta came that cannot be put in. */
  isPartial: boolean;
}

class TurnDraft {
  #blocks: BlockDraft[] = [];
  #finish: FinishEvent | undefined;
  #container: string | undefined;

  add(event: StreamEvent): void {
    switch (event.type) {
      case 'restart':
        this.#blocks = [];
        break;
      case 'text':
      case 'thinking':
        this.#open(event.type).text += event.text;
        break;
      case 'tool-call':
        this.#openCall(event).call = event;
        break;
      case 'finish':
        this.#finish = event;
        break;
      case 'raw':
        if (isRecord(event.frame)) this.#addFrame(event.frame, typeOf(event.frame, event.event));
        break;
      default: // no part of the turn
    }
  }

  build(): AnthropicTurn {
    const blocks = this.#blocks.flatMap((draft) => wholeBlock(draft) ?? []);
    const answered = new Set(blocks.map((block) => block['tool_use_id']));
    const isBroken = this.#finish === undefined || BROKEN.has(this.#finish.reason);
    // Text of white space alone is refused where no other text stands beside it.
    const isMute = !blocks.some((block) => isText(block) && !isWhite(block));
    const content = blocks.filter((block) => {
      if (isText(block)) return !(isMute && isWhite(block));
      // A call that the provider runs itself is answered in the same turn, or in the next where the provider paused.
      const isLost = isBroken && block.type !== 'tool_use' && TOOL_USE.has(block.type);
      return !isLost || answered.has(block['id']);
    });
    const turn: AnthropicTurn = { role: 'assistant', content };
    return this.#container === undefined
      ? turn
      : Object.defineProperty(turn, 'container', { value: this.#container, enumerable: false });
  }

  #addFrame(frame: Readonly<Record<string, unknown>>, type: unknown): void {
    const { index, content_block: block, delta, message } = frame;
    switch (type) {
      case 'message_start':
        // Another beginning before any content is no restart; what began before it is void all the same.
        if (!this.#blocks.some(({ text, call }) => text !== '' || call !== undefined)) this.#blocks = [];
        if (isRecord(message)) this.#noteContainer(message['container']);
        break;
      case 'message_delta':
        if (isRecord(delta)) this.#noteContainer(delta['container']);
        break;
      case 'content_block_start':
        if (isBlock(block)) this.#begin(block, typeof index === 'number' ? index : undefined);
        break;
      case 'content_block_delta': {
        const draft =
          (typeof index === 'number' ? this.#blocks.findLast((known) => known.index === index) : undefined) ??
          this.#blocks.at(-1);
        if (draft !== undefined && isRecord(delta)) addDelta(draft, delta);
        break;
      }
      default: // no part of the turn
    }
  }

  #noteContainer(container: unknown): void {
    if (isRecord(container) && typeof container['id'] === 'string') this.#container = container['id'];
  }

  #begin(block: AnthropicBlock, index: number | undefined): BlockDraft {
    const { citations, signature } = block;
    const draft: BlockDraft = {
      index,
      block,
      text: '',
      citations: Array.isArray(citations) ? [...(citations as readonly unknown[])] : [],
      signature,
      call: undefined,
      changes: {},
      isPartial: false,
    };
    this.#blocks.push(draft);
    return draft;
  }

  /** The block that text goes on in; a proxy may leave out that it began. */
  #open(type: 'text' | 'thinking'): BlockDraft {
    const last = this.#blocks.at(-1);
    return last?.block.type === type ? last : this.#begin({ type }, undefined);
  }

  #openCall(call: ToolCallEvent): BlockDraft {
    const isProviders = call.providerExecuted === true;
    const known = this.#blocks.findLast(
      ({ block, index, call: told }) =>
        TOOL_USE.has(block.type) &&
        (block.type !== 'tool_use') === isProviders &&
        told === undefined &&
        callIdOf(block['id'], index ?? -1) === call.id,
    );
    const type = isProviders ? 'server_tool_use' : 'tool_use';
    return known ?? this.#begin({ type, id: call.id, name: call.name }, undefined);
  }
}

/** Ends that leave the last block unfinished. */
const BROKEN: ReadonlySet<string> = new Set(['length', 'content-filter', 'refusal', 'unknown']);

function addDelta(draft: BlockDraft, delta: Readonly<Record<string, unknown>>): void {
  const { type, ...parts } = delta;
  switch (type) {
    case 'signature_delta':
      draft.signature = parts['signature']; // whole each time; the last one counts
      break;
    case 'citations_delta':
      draft.citations.push(parts['citation']);
      break;
    case 'compaction_delta':
      draft.changes = { ...draft.changes, ...parts };
      break;
    default:
      draft.isPartial = true;
  }
}

/** A block as the API takes it back; undefined where it is not whole. */
function wholeBlock(draft: BlockDraft): AnthropicBlock | undefined {
  const { block, text, citations, signature, call, changes } = draft;
  if (block.type === 'text') {
    const { citations: _, ...rest } = block;
    if (text === '') return undefined; // refused
    return citations.length === 0 ? { ...rest, text } : { ...rest, text, citations };
  }
  if (block.type === 'thinking') {
    const isSigned = typeof signature === 'string' && signature !== '';
    return isSigned ? { ...block, thinking: text, signature } : undefined;
  }
  if (TOOL_USE.has(block.type)) {
    return call === undefined ? undefined : { ...block, id: call.id, input: call.arguments };
  }
  return draft.isPartial ? undefined : { ...block, ...changes };
}

function isBlock(value: unknown): value is AnthropicBlock {
  return isRecord(value) && typeof value['type'] === 'string';
}

function isText({ type }: AnthropicBlock): boolean {
  return type === 'text';
}

function isWhite({ text }: AnthropicBlock): boolean {
  return typeof text === 'string' && text.trim() === '';
}
