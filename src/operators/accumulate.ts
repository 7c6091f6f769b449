import type { OperatorFunction } from 'rxjs';
import { LimitError } from '../errors.js';
import { charsOf } from '../internal/charsOf.js';
import { type Flow, Scope } from '../internal/flow.js';
import { addToMessage, emptyMessage, type Message, type MessageContent } from '../internal/message.js';
import { draw, operate } from '../internal/operate.js';
import { requireAtLeast } from '../internal/require.js';
import { TurnLog } from '../internal/turnLog.js';
import type { Dialect } from '../protocol/dialect.js';
import type { StreamEvent } from '../types.js';

/** How messages are given back. @public */
export interface AccumulateOptions<Turn> {
  /**
   * Builds the turn that `toRequest()` gives, and tells its type.
   * @defaultValue the dialect of the call or of `decode` above; needed only for events that come from elsewhere, such as a store
   */
  readonly dialect?: Dialect<Turn> | undefined;
  /**
   * Characters that one message may hold: text, refusals, thinking, tool arguments, results and media that are text. One more is a LimitError,
   * which stops the source and carries what was received. At least 1. A restart begins to count anew.
   * @defaultValue no limit: the answer is as long as was asked for
   */
  readonly maxChars?: number | undefined;
}

/**
 * Shows the whole message so far after each event: what a page renders.
 *
 * ```text
 * source    -a-h-b-(f|)     a, b = text 'He', 'llo'; h = heartbeat; f = finish
 * result    -x---y-(z|)     x, y = 'He', 'Hello'; z = 'Hello', done and with its finish reason
 * ```
 * A {@link Message} never changes. The next one shares every part that stayed as it was, so `===` tells what to render anew, and
 * costs no more where the message is long: text is concatenated, and of the lists the one that changed is copied. An output is
 * `done` when the answer has finished, or when its next output has begun. A tool call is in `toolCalls` when
 * it is whole; until then its pieces are in `toolCallPreviews`, under another type, which cannot be run by mistake. A restart
 * empties the message and is counted in `restarts`.
 *
 * Emits a message for each event that changes it: not for progress, logs, warnings, heartbeats and raw frames, which are no part of
 * it, nor for the thinking of alternative answers. `toRequest()` gives the message back as the assistant's turn, in the provider's own
 * form, with what the next request must hold beside the text: signatures, reasoning details, tool calls. Completes with the source; a source without such events gives no message.
 * Errors with the source's error: what came before it is in the last message. Unsubscribing stops the source. Holds the whole
 * message, which is its bound unless `maxChars` is given; over that it errors with LimitError.
 * Stands below `retryOnDisconnect`, since each subscription begins a message of its own.
 *
 * @example Render the answer while it comes
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(accumulate()).subscribe(({ outputs, thinking, finish }) => {
 *   log(thinking.length, outputs.map(({ content, done }) => (done ? content : [content, '…'])), finish?.reason);
 * });
 * ```
 * @example Go on with the conversation
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(accumulate(), last()).subscribe((message) => {
 *   log([...messages, message.toRequest(), { role: 'user', content: 'And then?' }]);
 * });
 * ```
 * @param options - see {@link AccumulateOptions}
 * @returns an operator
 * @throws RangeError for a `maxChars` below 1
 * @public
 */
export function accumulate<Turn = unknown>(
  options: AccumulateOptions<Turn> = {},
): OperatorFunction<StreamEvent, Message<Turn>> {
  const { maxChars = Infinity } = options;
  requireAtLeast(1, { maxChars });
  return operate((source, subscriber) => {
    const scope = new Scope(false);
    let chars = 0;
    const log = new TurnLog();
    let content = emptyMessage();
    let answering: Flow | undefined;
    draw<StreamEvent>(source, subscriber, scope, () => ({
      next: (event) => {
        const flow = scope.current();
        // Another answer after one that is whole: another turn of the conversation.
        if (flow !== answering && answering?.proven === true) log.clear();
        answering = flow;
        const dialect = options.dialect ?? (flow?.facts.dialect as Dialect<Turn> | undefined); // the caller's word for its type
        if (dialect !== undefined) log.add(event, dialect.turn?.needs);
        const changed = addToMessage(content, event);
        if (changed === content) return;
        chars = event.type === 'restart' ? 0 : chars + charsOf(event) + previewChars(changed) - previewChars(content);
        if (chars > maxChars) throw tooLong(maxChars, content);
        content = changed;
        subscriber.next(withTurn(changed, dialect, log));
      },
    }));
  });
}

/** Of tool calls that are still arriving: when one is whole, its text counts instead. */
function previewChars({ toolCallPreviews }: MessageContent): number {
  return toolCallPreviews.reduce((chars, { argumentsText }) => chars + argumentsText.length, 0);
}

function tooLong(maxChars: number, { outputs }: MessageContent): LimitError {
  const error = new LimitError('maxChars', maxChars, `The message is longer than maxChars (${String(maxChars)})`);
  const text = outputs.find(({ type }) => type === 'text')?.content;
  const received = typeof text === 'string' ? text : '';
  error.received = { text: received, chars: received.length, truncated: false };
  return error;
}

/** Not enumerable: what a message says is what is listed, compared and stored. */
function withTurn<Turn>(content: MessageContent, dialect: Dialect<Turn> | undefined, log: TurnLog): Message<Turn> {
  const events = log.view();
  const toRequest = (): Turn => {
    if (dialect === undefined) {
      throw new TypeError('toRequest() needs the dialect of the events; give accumulate({ dialect })');
    }
    if (dialect.turn === undefined) {
      throw new TypeError(`toRequest(): ${dialect.name} knows no conversation, so there is no turn to give back`);
    }
    return dialect.turn.build(events());
  };
  return Object.defineProperty(content, 'toRequest', { value: toRequest }) as Message<Turn>; // just added
}
