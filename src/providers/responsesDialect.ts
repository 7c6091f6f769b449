import type { Dialect } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import { responsesFormat } from './responsesFormat.js';
import type { ResponsesTurn } from './responsesTurn.js';

/** Where one server of the Responses API differs from the others. @public */
export interface ResponsesDialectOptions {
  /** Stands in messages and errors. @defaultValue `'responses'` */
  readonly name?: string | undefined;
  /** Whether asking again can help after a failure told in the stream. @defaultValue the table of {@link responsesDialect} */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /**
   * How many characters the unfinished tool calls of one answer may hold; one more is a LimitError. At least 0.
   * @defaultValue 67,108,864 (chosen: as many as the bytes of the longest line)
   */
  readonly maxToolCallChars?: number | undefined;
}

/**
 * The dialect of OpenAI's Responses API, also as Azure, xAI, LM Studio and Bedrock serve it.
 *
 * ```text
 * data: {"type":"response.created","response":{"id":"resp_1","status":"in_progress"}}     status
 * data: {"type":"response.output_text.delta","output_index":0,"delta":"Hel"}              text
 * data: {"type":"response.output_item.done","item":{"type":"message", …}}                 raw, part of the turn
 * data: {"type":"response.completed","response":{"usage":{ … }}}                          status, usage, finish
 * ```
 *
 * - *Text* is `output_text.delta`, *thinking* the pieces of reasoning and of its summary, *refusal* `refusal.delta`. What a server tells
 *   only whole (`….done`, an item, the response) is compared with the pieces, and what they lacked is emitted. Where the whole answer
 *   is another text than the pieces, or lacks a piece in its middle, `restart` and all of it.
 * - *Tool calls*: pieces are previews, held until their item has told the call's name; the `tool-call` comes with the whole item, which
 *   has the last word. Its id is the `call_id`. A finished MCP call is a `tool-call` and a `tool-result` with `providerExecuted`;
 *   searches, code and the states of all these are `raw`. Images and sound are `media`, previews of an image `raw`.
 * - *End*: `response.completed`, or `response.incomplete` with its reason; `[DONE]` proves nothing. Arguments that are no JSON are a
 *   ProtocolError at the end, or the warning `tool-call-incomplete` where the answer was cut.
 * - *Failures*: `response.failed`, a cancelled response, and the event `error`; the first of them is the error.
 * - *The rest* arrives as `raw`: log probabilities, annotations, every whole item, what a response has beside the documented members.
 * - *Resuming*: each frame tells the response's id and its own `sequence_number`. After a reconnect frames up to the last number are
 *   left out; on one connection numbers mean nothing. A stream that begins later than its response
 *   (`starting_after`) tells what follows: what began before is not compared.
 *
 * Asking again can help after these codes:
 *
 * | code or type | sent by |
 * | --- | --- |
 * | `server_error`, `rate_limit_exceeded`, `vector_store_timeout` | OpenAI (`response.error.code`) |
 * | `too_many_requests` | Azure |
 * | the statuses and words of chat streams | see {@link chatDialect} |
 *
 * A background response that failed is not asked again: opened once more it has failed still.
 *
 * Holds the arguments of unfinished tool calls, and a number for each text.
 *
 * @example Any server that speaks it
 * ```ts
 * fromHTTP(url, { method: 'POST', headers, body }).pipe(parseSSE(), decode(responsesDialect()), toTokens());
 * ```
 * @throws RangeError when called with a limit below its range
 * @public
 */
export function responsesDialect(options: ResponsesDialectOptions = {}): Dialect<ResponsesTurn> {
  return responsesFormat(options);
}
