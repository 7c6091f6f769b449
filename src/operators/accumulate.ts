import type { OperatorFunction } from 'rxjs';
import { addToMessage, emptyMessage, type Message } from '../internal/message.js';
import { link, operate } from '../internal/operate.js';
import type { StreamEvent } from '../types.js';

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
 * it, nor for the thinking of alternative answers. Completes with the source; a source without such events gives no message.
 * Errors with the source's error: what came before it is in the last message. Unsubscribing stops the source. Holds the whole
 * message, which is its bound. Stands below `retryOnDisconnect`, since each subscription begins a message of its own.
 *
 * @example Render the answer while it comes
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(accumulate()).subscribe(({ outputs, thinking, finish }) => {
 *   log(thinking.length, outputs.map(({ content, done }) => (done ? content : [content, '…'])), finish?.reason);
 * });
 * ```
 * @returns an operator
 * @public
 */
export function accumulate(): OperatorFunction<StreamEvent, Message> {
  return operate((source, subscriber) => {
    let message = emptyMessage();
    source.subscribe(
      link<StreamEvent>(subscriber, {
        next: (event) => {
          const changed = addToMessage(message, event);
          if (changed === message) return;
          message = changed;
          subscriber.next(changed);
        },
      }),
    );
  });
}
