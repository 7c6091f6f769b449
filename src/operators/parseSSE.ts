import type { OperatorFunction } from 'rxjs';
import { connectParser } from '../internal/connectParser.js';
import { requireAtLeast } from '../internal/require.js';
import { createSSEParser, DEFAULT_MAX_EVENT_BYTES, DEFAULT_MAX_LINE_BYTES } from '../protocol/sseParser.js';
import type { ServerSentEvent } from '../types.js';

/** Limits of {@link parseSSE}. @public */
export interface ParseSSEOptions {
  /**
   * The longest line, in bytes without its line end. At least 1; `Infinity` means unbounded. A line counts as it grows, be
   * it data, a comment or a field nobody knows. One byte more is a `LimitError`.
   *
   * The default is chosen: one event that carries an image is one line above 8 MiB in real traffic, and clients with a
   * limit of that size had to lift it; without any limit a server can exhaust the process.
   *
   * @defaultValue 67_108_864 (64 MiB)
   */
  readonly maxLineBytes?: number | undefined;
  /**
   * The largest event, in bytes from its first field to the end of its last line, all fields, comments and line ends in
   * between included. At least 1; `Infinity` means unbounded. Comments between events are not part of any.
   *
   * @defaultValue 67_108_864 (64 MiB), for the reason given at `maxLineBytes`
   */
  readonly maxEventBytes?: number | undefined;
}

/**
 * Reads the bytes of a `text/event-stream` as the HTML standard says, so that a consumer sees whole events however the
 * network cut them.
 *
 * ```text
 * source    -a----b----c----|      a = 'data: 1\n\nda', b = 'ta: 2', c = '\n\n: hi\n'
 * result    -x---------(yz)-|      x = event '1', y = event '2', z = comment 'hi'
 * ```
 * Emits, in wire order and in the same turn as the chunk that completes them: events, comments, retries and the fields that
 * the standard ignores. An event is complete with its blank line; one that is cut by the end of the stream is dropped.
 * Completes with the source; that the stream is complete in the provider's sense is for `decode` to tell.
 * Errors with the source's error, or with `LimitError`, after emitting what came before, which closes the source.
 * Unsubscribing stops in the middle of a chunk: nothing more is emitted from it. Holds at most one unfinished line and one
 * unfinished event, as large as the limits allow, and the chunk in hand.
 *
 * @example Print the data of every event
 * ```ts
 * fromHTTP(url).pipe(parseSSE()).subscribe((event) => {
 *   if (event.type === 'event') console.log(event.data);
 * });
 * ```
 * @param options - see {@link ParseSSEOptions}; units are in the names
 * @returns an operator; each subscription has its own parser
 * @throws RangeError when called with a limit below 1
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream | HTML, 9.2.5 and 9.2.6}
 * @public
 */
export function parseSSE(options: ParseSSEOptions = {}): OperatorFunction<Uint8Array, ServerSentEvent> {
  const { maxLineBytes = DEFAULT_MAX_LINE_BYTES, maxEventBytes = DEFAULT_MAX_EVENT_BYTES } = options;
  requireAtLeast(1, { maxLineBytes, maxEventBytes });
  return connectParser((shortcut) => createSSEParser({ maxLineBytes, maxEventBytes }, undefined, shortcut));
}
