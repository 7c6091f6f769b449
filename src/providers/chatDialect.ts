import { requireAtLeast } from '../internal/require.js';
import { type Dialect, dialect, readFailure } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import { type ChatChunk, chatChunk } from './chatChunk.js';
import { ChatReader } from './chatReader.js';
import { chatTurn, type ChatTurn, type ChatTurnThinking } from './chatTurn.js';
import { isRetryableChatError } from './isRetryableChatError.js';

/** Where one server of the chat family differs from the others. @public */
export interface ChatDialectOptions {
  /** Stands in messages and errors. @defaultValue `'chat'` */
  readonly name?: string | undefined;
  /**
   * Whether asking again can help after a failure told in the stream.
   * @defaultValue for the statuses 408 409 425 429 500 502 503 504 529 in `code`, and for the words that OpenAI, OpenRouter,
   * DeepSeek, Anthropic and Infernet use for overload, rate limits, timeouts and failures of their own
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /**
   * True for a server that writes thinking into the text, as `<think>…</think>`: what stands between the tags becomes thinking.
   * A cut answer gives what was held as the beginning of a tag as well, but where it is all that came.
   * @defaultValue `false`: a tag in the text is text
   */
  readonly inlineThinking?: boolean | undefined;
  /** What `cost` is counted in (ISO 4217), where the provider's documentation says. @defaultValue not told */
  readonly currency?: string | undefined;
  /**
   * How many characters the unfinished tool calls of one answer may hold; one more is a LimitError. At least 0.
   * @defaultValue 67,108,864 (chosen: as many as the bytes of the longest line)
   */
  readonly maxToolCallChars?: number | undefined;
  /**
   * How many answers were asked for (`n`): with fewer the stream is not whole. The adapters set it from the request. At least 1.
   * @defaultValue 1
   */
  readonly choices?: number | undefined;
  /**
   * How `toRequest()` and `runTools` give thinking back; see {@link ChatTurnThinking}.
   * @defaultValue as `reasoning_content`, in turns with tool calls (DeepSeek and Z.ai ask for it there, and older models of DeepSeek
   * refuse it elsewhere); `'omit'` with `inlineThinking`, where it was text
   */
  readonly turnThinking?: ChatTurnThinking | undefined;
}

/**
 * The dialect of OpenAI's Chat Completions and its many copies, legacy text completions (`choices[].text`) included.
 *
 * ```text
 * data: {"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}     text
 * data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}                   proven
 * data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}              usage
 * data: [DONE]                                                                        finish
 * ```
 *
 * - *Text* is `delta.content`, a string or Mistral's list of parts; *thinking* is `reasoning_content`, else `reasoning`, never
 *   both. A whole `message` is read where no deltas came. Choices with an index above 0 are marked `alternative`.
 * - *Tool calls* go by `index`, else by `id`, else to the last one. Their pieces are previews; the `tool-call` comes at the
 *   choice's finish, and only with arguments that are valid JSON. Others are a ProtocolError, or the warning
 *   `tool-call-incomplete` where the finish reason says that the answer was cut.
 * - *End*: proven once every choice asked for or seen has a finish reason; usage and `[DONE]` are awaited after it, and a cut there is
 *   complete with the warning `end-marker-missing`. `[DONE]` alone is complete with finish `unknown` and the warning
 *   `finish-reason-missing`; `[DONE]` after an error proves nothing.
 * - *Failures*: `error` in a frame, an event or a field named `error`; the finish reasons `error`, `network_error` and
 *   `insufficient_system_resource`; a benign reason with `native_finish_reason` `error` or `network_error` (OpenRouter). What
 *   else the frame brought is delivered first.
 * - *Usage* may come first, last, on every chunk, before or after the finish: each that differs from the last is emitted.
 * - *The rest* (logprobs, citations, filter results, reasoning details …) arrives as `raw`, with its whole frame. What stands beside
 *   the choices, and filter results, come again only when they changed: some servers repeat kilobytes of them on every frame.
 * - *Turn*: one message of the assistant, with its tool calls, their arguments as the model sent them, and with `reasoning_details`
 *   (OpenRouter), their pieces joined, signatures and encrypted data unchanged. Images are left out.
 *
 * Holds the unfinished tool calls, and with `inlineThinking` at most the beginning of a tag.
 *
 * @example Any server that speaks it
 * ```ts
 * fromHTTP(url, { method: 'POST', headers, body }).pipe(parseSSE(), decode(chatDialect()), toTokens());
 * ```
 * @throws RangeError when called with a limit below its range
 * @public
 */
export function chatDialect(options: ChatDialectOptions = {}): Dialect<ChatTurn> {
  const { name = 'chat', retryable = isRetryableChatError, inlineThinking = false, currency } = options;
  const { maxToolCallChars = 67_108_864, choices = 1 } = options;
  const { turnThinking = inlineThinking ? 'omit' : { as: 'reasoning_content', when: 'tool-calls' } } = options;
  requireAtLeast(0, { maxToolCallChars });
  requireAtLeast(1, { choices });
  return dialect<ChatChunk, ChatReader, ChatTurn>({
    name,
    frame: chatChunk,
    marker: '[DONE]',
    markerAlone: 'doubtful',
    retryable,
    turn: chatTurn(turnThinking),
    start: () => new ChatReader({ inlineThinking, currency, maxToolCallChars, choices }),
    // The reader reports failures, after what stands beside them; a frame that is malformed besides never reaches it.
    error: (frame, event) => {
      const report = readFailure(frame, event);
      return report === undefined || isChunk(frame) ? undefined : report;
    },
    decode: (chunk, stream) => {
      stream.state.read(chunk, stream);
    },
    flush: (stream) => {
      stream.state.flush(stream);
    },
    release: (stream) => {
      stream.state.release((event) => {
        stream.emit(event);
      });
    },
  });
}

function isChunk(frame: unknown): boolean {
  const result = chatChunk['~standard'].validate(frame);
  return !(result instanceof Promise) && result.issues === undefined;
}
