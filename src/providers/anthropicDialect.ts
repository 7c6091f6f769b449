import { requireAtLeast } from '../internal/require.js';
import { type Dialect, dialect, readFailure } from '../protocol/dialect.js';
import { type ErrorReport, readErrorBody } from '../protocol/errorBody.js';
import { type AnthropicFrame, anthropicFrame } from './anthropicFrame.js';
import { AnthropicReader } from './anthropicReader.js';
import { anthropicRetryable } from './anthropicRetryable.js';
import { type AnthropicTurn, anthropicTurn, isOfAnthropicTurn } from './anthropicTurn.js';

/** Where one server of the Messages API differs from the others. @public */
export interface AnthropicDialectOptions {
  /** Stands in messages and errors. @defaultValue `'anthropic'` */
  readonly name?: string | undefined;
  /**
   * Whether asking again can help after a failure told in the stream.
   * @defaultValue for `overloaded_error`, `rate_limit_error`, `api_error`, `timeout_error` and `conflict_error`, and for what
   * `chatDialect` takes for such, since proxies send it
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /**
   * How many characters the unfinished tool calls of one answer may hold; one more is a LimitError. At least 0.
   * @defaultValue 67,108,864 (chosen: as many as the bytes of the longest line)
   */
  readonly maxToolCallChars?: number | undefined;
}

/**
 * The dialect of Anthropic's Messages API, as api.anthropic.com, Vertex AI and proxies serve it, in both of its versions.
 *
 * ```text
 * {"type":"message_start","message":{"usage":{"input_tokens":9}}}                                usage
 * {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}
 * {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}          text
 * {"type":"content_block_stop","index":0}
 * {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}        usage
 * {"type":"message_stop"}                                                                        finish
 * ```
 *
 * - *Frames* go by their own `type`, since proxies drop the events' names; one without a type goes by its event's. Types that are not known arrive as `raw`.
 * - *Text and thinking* have index 0 in whatever block they stand. Borders of blocks, signatures, citations, redacted thinking,
 *   compactions and the results of tools that the provider ran arrive as `raw`, as they came.
 * - *Tool calls* come at the end of their block, parsed strictly. Where their arguments are no JSON, or none came, they wait for the
 *   stop reason: an answer that was cut (`max_tokens`, a full context window, a refusal) gives the warning `tool-call-incomplete`, any other a
 *   ProtocolError. What the provider runs itself (`server_tool_use`, `mcp_tool_use`) is marked `providerExecuted`.
 * - *End*: `message_stop` alone proves it. Without a stop reason before it the finish is `unknown`, with the warning
 *   `finish-reason-missing`.
 * - *Failures* are frames of the type `error`; which of them are worth another try is told by their type. The frame, with its
 *   `request_id`, is the error's `frame`.
 * - *Another `message_start`* after content was delivered is a `restart`: the provider began anew.
 * - *Usage* is cumulative. `inputTokens` is Anthropic's `input_tokens`: what was read from a cache (`cachedTokens`) or written to one is
 *   counted beside it. What else usage holds arrives as `raw`.
 * - *The turn* holds the blocks in their order, signatures byte for byte. Left out are thinking without its signature, calls that are not
 *   whole, texts that the API refuses, and, of an answer that was cut, what the provider ran without a result.
 *
 * | stop reason | finish |
 * | --- | --- |
 * | `end_turn`, `stop_sequence` | `stop` |
 * | `max_tokens`, `model_context_window_exceeded` | `length` |
 * | `tool_use` | `tool-calls` |
 * | `refusal` | `refusal`; `stop_details`, with category and explanation, arrive as `raw` |
 * | `pause_turn`, `compaction`, others | `other` |
 *
 * Holds the unfinished tool calls.
 *
 * @example Claude on Vertex AI
 * ```ts
 * fromHTTP(url, { method: 'POST', headers, body }).pipe(parseSSE(), decode(anthropicDialect()), toTokens());
 * ```
 * @throws RangeError when called with a limit below its range
 * @public
 */
export function anthropicDialect(options: AnthropicDialectOptions = {}): Dialect<AnthropicTurn> {
  const { name = 'anthropic', retryable = anthropicRetryable, maxToolCallChars = 67_108_864 } = options;
  requireAtLeast(0, { maxToolCallChars });
  return dialect<AnthropicFrame, AnthropicReader, AnthropicTurn>({
    name,
    frame: anthropicFrame,
    fillers: ['[DONE]'],
    retryable,
    start: () => new AnthropicReader(maxToolCallChars),
    error: (frame, event) =>
      readFailure(frame, event) ?? (frame['type'] === 'error' ? readErrorBody(frame) : undefined),
    decode: (frame, stream) => {
      stream.state.read(frame, stream);
    },
    turn: { needs: isOfAnthropicTurn, build: anthropicTurn },
  });
}
