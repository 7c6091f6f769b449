import type { OperatorFunction } from 'rxjs';
import { checkDecodeOptions, type DecodeOptions } from '../internal/answer.js';
import { connectDecoder, openFlow } from '../internal/connectDecoder.js';
import { withShortcut } from '../internal/connectParser.js';
import { Flow } from '../internal/flow.js';
import { operate } from '../internal/operate.js';
import type { Dialect } from '../protocol/dialect.js';
import type { StreamEvent, WireEvent } from '../types.js';

/**
 * Translates a provider's frames into the one vocabulary, and completes only when the provider has proven that the answer
 * is whole.
 *
 * ```text
 * source    -a--b--c--d|       a, b = text; c = finish reason; d = [DONE]
 * result    -a--b-----(f|)     f = finish
 *
 * source    -a--b--|           the body ends without a sign of its end
 * result    -a--b--#           InterruptedError, with the text of a and b in `received`
 * ```
 * Emits a frame's events as the frame comes; what has no event of its own arrives as `raw`. `finish` is always last.
 * Completes at once on the proven end; the body is read on for a moment so that its connection can be used again.
 * Errors with InterruptedError when the source ends or is cut before the proof, ProviderError for a failure that the provider
 * reports, ProtocolError or ValidationError for a malformed frame, and with the source's errors; all carry `received`.
 * Unsubscribing stops the source. Holds the newest `maxReceivedChars` of text, for errors.
 *
 * @example
 * ```ts
 * fromHTTP(url, { method: 'POST', headers, body }).pipe(parseSSE(), decode(api.chat.dialect), toTokens()).subscribe(log);
 * ```
 * @param dialect - the wire format, such as `polargrid().chat.dialect`
 * @param options - see {@link DecodeOptions}
 * @returns an operator; each subscription decodes afresh
 * @throws TypeError or RangeError for an option out of its range
 * @public
 */
export function decode(dialect: Dialect, options: DecodeOptions = {}): OperatorFunction<WireEvent, StreamEvent> {
  checkDecodeOptions(options);
  return operate((source, subscriber) => {
    connectDecoder(subscriber, {
      dialect,
      flow: openFlow(new Flow({ dialect }), subscriber),
      options,
      source: (_, answer) => withShortcut(source, answer.shortcut),
    });
  });
}
