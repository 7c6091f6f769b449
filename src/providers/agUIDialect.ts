import * as z from 'zod/mini';
import { LimitError, ProtocolError } from '../errors.js';
import { requireAtLeast } from '../internal/require.js';
import { type Dialect, dialect, type DialectStream } from '../protocol/dialect.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { type AGUIMessage, agUITurn } from './agUITurn.js';

/** How AG-UI events are read. @public */
export interface AGUIDialectOptions {
  /** Whether asking again can help after a run failed: it would be run again. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /** Characters of unfinished tool arguments that are held; one more is a LimitError. At least 0. @defaultValue 67,108,864 */
  readonly maxToolCallChars?: number | undefined;
}

interface Frame extends Readonly<Record<string, unknown>> {
  readonly type: string;
  readonly delta?: unknown;
  readonly messageId?: string | null | undefined;
  readonly role?: string | null | undefined;
  readonly toolCallId?: string | null | undefined;
  readonly toolCallName?: string | null | undefined;
  readonly message?: string | null | undefined;
}

const Text = z.nullish(z.string());
const frame: StandardSchema<Frame> = z.looseObject({
  type: z.string(),
  messageId: Text,
  role: Text,
  toolCallId: Text,
  toolCallName: Text,
  message: Text,
});

/** Events that are alike, whenever they were sent. */
const DELTA = { text: 'delta', skip: new Set(['timestamp']) } as const;

interface Call {
  readonly name: string;
  text: string;
}

interface State {
  readonly calls: Map<string, Call>;
  /** Names of calls that may be answered in this stream, and those that were not. */
  readonly names: Map<string, string>;
  readonly unanswered: Set<string>;
  /** Messages of others than the assistant. */
  readonly others: Set<string>;
  /** Of the message, and the call, that come in chunks. */
  chunkMessage: string | undefined;
  chunkCall: string | undefined;
  chars: number;
}

/**
 * The dialect of AG-UI, the Agent User Interaction Protocol (docs.ag-ui.com/concepts/events): what an agent's run tells a front end.
 *
 * ```text
 * TEXT_MESSAGE_CONTENT, _CHUNK                                      text
 * REASONING_MESSAGE_CONTENT, _CHUNK, THINKING_TEXT_MESSAGE_CONTENT  thinking
 * TOOL_CALL_START, _ARGS, _CHUNK                                    tool-call-delta
 * TOOL_CALL_END                                                     tool-call
 * TOOL_CALL_RESULT                                                  tool-result: the agent ran the tool itself
 * STATE_SNAPSHOT, the result of RUN_FINISHED                        output
 * RUN_FINISHED                                                      proven
 * RUN_ERROR                                                         ProviderError
 * ```
 * - *End*: `RUN_FINISHED`; another run may follow in the same stream, and then its end counts. The finish reason is `tool-calls` where a
 *   call was not answered in the stream, `other` where the run was interrupted for a human, else `stop`.
 * - *Tool calls* are parsed strictly at their end; arguments that are no JSON are a ProtocolError.
 * - *The rest* (steps, state deltas, activities, snapshots of messages, custom events) arrives as `raw`.
 *
 * Holds unfinished tool arguments.
 * @throws RangeError when called with a limit below 0
 * @public
 */
export function agUIDialect(options: AGUIDialectOptions = {}): Dialect<readonly AGUIMessage[]> {
  const { retryable, maxToolCallChars = 67_108_864 } = options;
  requireAtLeast(0, { maxToolCallChars });
  return dialect<Frame, State, readonly AGUIMessage[]>({
    name: 'agUI',
    frame,
    fillers: ['[DONE]'],
    retryable,
    error: () => undefined, // an event of its own, see `decode`
    start: () => ({
      calls: new Map(),
      names: new Map(),
      unanswered: new Set(),
      others: new Set(),
      chunkMessage: undefined,
      chunkCall: undefined,
      chars: 0,
    }),
    decode: (event, stream) => {
      new Reading(stream, maxToolCallChars).read(event);
    },
    turn: agUITurn,
  });
}

/** Reads one event of a run. */
class Reading {
  readonly #stream: DialectStream<State>;
  readonly #state: State;
  readonly #max: number;

  constructor(stream: DialectStream<State>, max: number) {
    this.#stream = stream;
    this.#state = stream.state;
    this.#max = max;
  }

  read(event: Frame): void {
    const { type } = event;
    // A call in chunks has no end of its own: whatever else comes ends it.
    if (type !== 'TOOL_CALL_CHUNK') this.#endChunks();
    switch (type) {
      case 'RUN_STARTED':
        this.#stream.reopen();
        this.#stream.emit({ type: 'status', status: 'running', ...idOf(event['runId']), terminal: false });
        break;
      case 'TEXT_MESSAGE_START':
        if (event.role && event.role !== 'assistant' && event.messageId) this.#state.others.add(event.messageId);
        break;
      case 'TEXT_MESSAGE_CHUNK':
        this.#chunk(event);
        break;
      case 'TEXT_MESSAGE_CONTENT':
        this.#text(event);
        break;
      case 'REASONING_MESSAGE_CONTENT':
      case 'REASONING_MESSAGE_CHUNK':
      case 'THINKING_TEXT_MESSAGE_CONTENT': {
        const text = deltaOf(event);
        if (text === '') break;
        this.#think(text);
        this.#stream.template(DELTA, (next) => {
          this.#endChunks();
          this.#think(next);
          return true;
        });
        break;
      }
      case 'TOOL_CALL_START':
      case 'TOOL_CALL_ARGS':
      case 'TOOL_CALL_CHUNK':
        this.#call(event);
        break;
      case 'TOOL_CALL_END':
        if (event.toolCallId) this.#endCall(event.toolCallId);
        break;
      case 'TOOL_CALL_RESULT':
        this.#result(event);
        break;
      case 'STATE_SNAPSHOT':
        this.#stream.emit({ type: 'output', value: event['snapshot'], final: false });
        break;
      case 'RUN_FINISHED':
        this.#finish(event);
        break;
      case 'RUN_ERROR': {
        const code = event['code'];
        const known = typeof code === 'string' || typeof code === 'number' ? code : undefined;
        this.#stream.fail({ code: known, type: undefined, message: event.message ?? undefined }, event);
        break;
      }
      default: // arrives as `raw`
    }
  }

  /** The first chunk of a message names it; those that follow may not. */
  #chunk(event: Frame): void {
    if (event.messageId && event.messageId !== this.#state.chunkMessage) {
      this.#state.chunkMessage = event.messageId;
      if (event.role && event.role !== 'assistant') this.#state.others.add(event.messageId);
      else this.#raw(event);
    }
    this.#text({ ...event, messageId: event.messageId ?? this.#state.chunkMessage });
  }

  #text(event: Frame): void {
    const { messageId } = event;
    const text = deltaOf(event);
    if (text === '' || this.#isOthers(messageId)) return;
    this.#say(text);
    const isChunk = event.type === 'TEXT_MESSAGE_CHUNK';
    this.#stream.template(DELTA, (next) => {
      // A chunk may name no message, and then its message is the last one named.
      if (this.#isOthers(messageId) || (isChunk && messageId !== this.#state.chunkMessage)) return false;
      this.#endChunks();
      this.#say(next);
      return true;
    });
  }

  #isOthers(messageId: string | null | undefined): boolean {
    return Boolean(messageId) && this.#state.others.has(messageId ?? '');
  }

  #say(text: string): void {
    this.#stream.emit({ type: 'text', text, index: 0, name: 'output' });
  }

  #think(text: string): void {
    this.#stream.emit({ type: 'thinking', text, index: 0, name: 'thinking' });
  }

  #call(event: Frame): void {
    const id = event.toolCallId ?? this.#state.chunkCall;
    if (!id) return;
    const isChunk = event.type === 'TOOL_CALL_CHUNK';
    if (isChunk && id !== this.#state.chunkCall) {
      this.#endChunks();
      this.#state.chunkCall = id;
    }
    const known = this.#state.calls.get(id);
    const call = known ?? { name: event.toolCallName ?? '', text: '' };
    if (known === undefined) {
      this.#state.calls.set(id, call);
      if (event['parentMessageId'] !== undefined) this.#raw(event);
    }
    const argumentsDelta = deltaOf(event);
    if (known !== undefined && argumentsDelta === '') return;
    this.#grow(id, call, argumentsDelta);
    this.#stream.template(DELTA, (text) => {
      const { calls, chunkCall } = this.#state;
      const call = calls.get(id);
      if (call === undefined || chunkCall !== (isChunk ? id : undefined)) return false;
      this.#grow(id, call, text);
      return true;
    });
  }

  #grow(id: string, call: Call, argumentsDelta: string): void {
    call.text += argumentsDelta;
    this.#state.chars += argumentsDelta.length;
    if (this.#state.chars > this.#max) {
      const message = `The unfinished tool calls of a run hold more than ${String(this.#max)} characters; raise maxToolCallChars if they should`;
      throw new LimitError('maxToolCallChars', this.#max, message);
    }
    this.#stream.emit({ type: 'tool-call-delta', index: 0, id, name: call.name, argumentsDelta });
  }

  #endChunks(): void {
    const { chunkCall } = this.#state;
    this.#state.chunkCall = undefined;
    if (chunkCall !== undefined) this.#endCall(chunkCall);
  }

  #endCall(id: string): void {
    const call = this.#state.calls.get(id);
    if (call === undefined) return;
    const { name, text } = call;
    this.#state.calls.delete(id);
    this.#state.chars -= text.length;
    this.#state.names.set(id, name);
    this.#state.unanswered.add(id);
    let value: unknown = {};
    try {
      if (text !== '') value = JSON.parse(text);
    } catch {
      // The parser's own message quotes the arguments.
      const what = `The arguments of tool call ${id} (${name}), ${String(text.length)} characters, are not valid JSON`;
      throw new ProtocolError(`${what}; the call must not be run`, { context: { id, name, chars: text.length } });
    }
    this.#stream.emit({ type: 'tool-call', index: 0, id, name, arguments: value, argumentsText: text });
  }

  #result(event: Frame): void {
    const id = event.toolCallId;
    if (!id) return;
    this.#state.unanswered.delete(id);
    if (event.messageId) this.#raw(event);
    const name = this.#state.names.get(id) ?? '';
    this.#stream.emit({ type: 'tool-result', index: 0, id, name, result: event['content'] });
  }

  #finish(event: Frame): void {
    for (const id of [...this.#state.calls.keys()]) this.#endCall(id); // an agent that sends no TOOL_CALL_END
    const { result, outcome } = event;
    if (result !== undefined && result !== null) this.#stream.emit({ type: 'output', value: result, final: true });
    const word = isRecord(outcome) ? outcome['type'] : outcome;
    if (word === 'interrupt') {
      this.#raw(event);
      this.#stream.prove('other', 'interrupt');
    } else
      this.#stream.prove(
        this.#state.unanswered.size > 0 ? 'tool-calls' : 'stop',
        typeof word === 'string' ? word : undefined,
      );
  }

  #raw(frame: Frame): void {
    const { event } = this.#stream;
    this.#stream.emit(event === 'message' ? { type: 'raw', frame } : { type: 'raw', frame, event });
  }
}

function deltaOf({ delta }: Frame): string {
  return typeof delta === 'string' ? delta : '';
}

function idOf(id: unknown): { readonly id?: string } {
  return typeof id === 'string' ? { id } : {};
}
