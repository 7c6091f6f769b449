import { LimitError, ProtocolError } from '../errors.js';
import type { Emit } from '../protocol/dialect.js';
import type { FinishReason, OutputPlace } from '../types.js';
import { GeminiArguments } from './geminiArguments.js';
import type { FunctionCallPart } from './geminiResponse.js';
import { callId, type CallIds } from './madeCallId.js';

/** Calls of one stream that are unfinished at once; chosen. */
const MAX_OPEN_CALLS = 1024;

/** What the calls of one stream share. */
export interface CallRoom extends CallIds {
  readonly max: number;
  /** What the unfinished calls hold. */
  chars: number;
}

interface Draft {
  readonly id: string;
  readonly name: string;
  readonly args: GeminiArguments;
  chars: number;
}

/** Whether this is a piece of a call whose arguments are streamed, and not a whole one. */
export function isCallPiece({ name, args, partialArgs, willContinue }: FunctionCallPart): boolean {
  if (willContinue === true || (partialArgs?.length ?? 0) > 0) return true;
  return !name && (args === undefined || args === null);
}

/** The tool calls of one candidate: most come whole, on Vertex AI they may come in pieces. */
export class GeminiCalls {
  readonly #place: Pick<OutputPlace, 'index' | 'alternative'>;
  readonly #room: CallRoom;
  /** Those that more pieces are awaited of. */
  #drafts: Draft[] = [];
  /** Those that ended without being whole: whether that is a failure is known at the end of the answer. */
  #broken: Draft[] = [];
  #began = false;

  constructor(place: Pick<OutputPlace, 'index' | 'alternative'>, room: CallRoom) {
    this.#place = place;
    this.#room = room;
  }

  /** Whether the candidate called a tool. */
  get began(): boolean {
    return this.#began;
  }

  push(call: FunctionCallPart, emit: Emit): void {
    const known = this.#find(call);
    if (known === undefined && !isCallPiece(call)) {
      this.#began = true;
      const { id, name, args } = call;
      this.#emit({ id: callId(id, this.#room), name: name ?? '' }, args ?? {}, emit);
      return;
    }
    if (known === undefined && !call.name && !call.id) return; // the end of a call that never began
    const draft = known ?? this.#begin(call);
    this.#grow(draft, call);
    if (call.willContinue !== true) this.#close(draft, emit);
  }

  /**
   * The answer is over: what is unfinished stays so.
   * @throws ProtocolError where the reason does not explain it; else a warning is emitted
   */
  finish(reason: FinishReason, emit: Emit): void {
    const drafts = [...this.#broken, ...this.#drafts];
    this.#broken = [];
    this.#drafts = [];
    let failure: ProtocolError | undefined;
    for (const draft of drafts) {
      this.#room.chars -= draft.chars;
      if (reason === 'stop' || reason === 'tool-calls') failure ??= unfinished(draft);
      else {
        const { id, name, chars } = draft;
        emit({
          type: 'warning',
          code: 'tool-call-incomplete',
          message: unfinished(draft).message,
          detail: { id, name, chars },
        });
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** A piece belongs to the call of its id; without one to the last that is open, unless it begins another. */
  #find({ id, name, args, partialArgs }: FunctionCallPart): Draft | undefined {
    if (id) {
      const named = this.#drafts.find((draft) => draft.id === id);
      if (named !== undefined || name) return named;
    }
    const last = this.#drafts.at(-1);
    if (!name || last === undefined) return last;
    const isBare = (args === undefined || args === null) && (partialArgs?.length ?? 0) === 0;
    return name === last.name && !isBare ? last : undefined;
  }

  #begin({ id, name }: FunctionCallPart): Draft {
    if (this.#drafts.length + this.#broken.length >= MAX_OPEN_CALLS) {
      throw new ProtocolError(`An answer has more than ${String(MAX_OPEN_CALLS)} unfinished tool calls`);
    }
    this.#began = true;
    const draft = { id: callId(id, this.#room), name: name ?? '', args: new GeminiArguments(), chars: 0 };
    this.#drafts.push(draft);
    return draft;
  }

  #grow(draft: Draft, { args, partialArgs }: FunctionCallPart): void {
    let chars = args === undefined || args === null ? 0 : JSON.stringify(args).length;
    for (const { jsonPath, stringValue } of partialArgs ?? []) chars += jsonPath.length + (stringValue?.length ?? 0);
    draft.chars += chars;
    this.#room.chars += chars;
    if (this.#room.chars > this.#room.max) {
      throw new LimitError(
        'maxToolCallChars',
        this.#room.max,
        `The unfinished tool calls of an answer hold more than ${String(this.#room.max)} characters; raise maxToolCallChars if they should`,
      );
    }
    draft.args.seed(args);
    for (const piece of partialArgs ?? []) draft.args.add(piece);
  }

  #close(draft: Draft, emit: Emit): void {
    this.#drafts.splice(this.#drafts.indexOf(draft), 1);
    const whole = draft.args.finish();
    if (whole === undefined) {
      this.#broken.push(draft);
      return;
    }
    this.#room.chars -= draft.chars;
    this.#emit(draft, whole.value, emit);
  }

  #emit({ id, name }: Pick<Draft, 'id' | 'name'>, args: unknown, emit: Emit): void {
    emit({ type: 'tool-call', ...this.#place, id, name, arguments: args, argumentsText: JSON.stringify(args) });
  }
}

/** Told are name and size: the arguments are the model's and may be private. */
function unfinished({ id, name, chars }: Draft): ProtocolError {
  return new ProtocolError(
    `The arguments of tool call ${id} (${name}) are not whole, ${String(chars)} characters came`,
    {
      context: { id, name, chars },
    },
  );
}
