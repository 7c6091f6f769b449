import { requireAtLeast } from '../internal/require.js';
import { type Dialect, dialect, readFailure } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import { isRetryableGeminiError } from './geminiErrors.js';
import { GeminiReader } from './geminiReader.js';
import { type GeminiResponse, geminiResponse } from './geminiResponse.js';
import { type GeminiTurn, geminiTurn } from './geminiTurn.js';

/** How a Gemini stream is read. @public */
export interface GeminiDialectOptions {
  /** Stands in messages and errors. @defaultValue `'gemini'` */
  readonly name?: string | undefined;
  /**
   * Whether asking again can help after a failure told in the stream.
   * @defaultValue for the codes 408 429 500 502 503 504, and without a code for the same in Google's words, such as `UNAVAILABLE`
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /**
   * How many characters the unfinished tool calls of one answer may hold; one more is a LimitError. At least 0.
   * @defaultValue 67,108,864 (chosen: as many as the bytes of the longest line)
   */
  readonly maxToolCallChars?: number | undefined;
  /**
   * How many candidates were asked for (`candidateCount`): with fewer the stream is not whole. `gemini` sets it from the request.
   * At least 1.
   * @defaultValue 1
   */
  readonly candidates?: number | undefined;
}

/**
 * The dialect of Google's Gemini, on the Gemini API and on Vertex AI: `streamGenerateContent` with `alt=sse`.
 *
 * ```text
 * data: {"candidates":[{"content":{"parts":[{"text":"Hm","thought":true}]}}]}                  thinking
 * data: {"candidates":[{"content":{"parts":[{"text":"Hel"}]}}],"usageMetadata":{…}}             text, usage
 * data: {"candidates":[{"content":{"parts":[{"text":"lo"}]},"finishReason":"STOP"}]}            text, proven
 * (end of the body)                                                                             finish
 * ```
 *
 * - *Text and thinking* are the parts' `text`, with or without `thought`. Candidates with an index above 0 are `alternative`.
 *   Images and files are `media`, whose content is the part's `inlineData` or `fileData`.
 * - *Tool calls* come whole. Where the server sends no `id` one is made that is told to no server. Arguments that Vertex AI
 *   streams (`partialArgs`) are joined by their JSONPath into one `tool-call` at the call's end; the pieces arrive as `raw`. A
 *   call that never ends is a ProtocolError, or the warning `tool-call-incomplete` where the finish reason says why.
 * - *End*: proven once every candidate asked for or seen has a `finishReason`, or the prompt was refused (`blockReason`: finish
 *   `content-filter`). There is no end marker: what follows is still read, and the end of the body completes. Old servers say
 *   STOP on every frame: a cut of theirs cannot be told from an end. A STOP before any content is no end once content comes.
 * - *Reasons* nobody can help with (`MALFORMED_FUNCTION_CALL`, `UNEXPECTED_TOOL_CALL` …) end the answer as the server says, with
 *   finish `other` and the warning `provider-warning`: what was told stands, is billed, and whether to ask again is the reader's.
 * - *Failures*: `error` in a frame, and JSON without `data:` in the stream, on one line or on many, whole or cut.
 * - *Usage*: `outputTokens` is `candidatesTokenCount` with `thoughtsTokenCount`, which Google counts apart; `inputTokens` is
 *   `promptTokenCount` with `toolUsePromptTokenCount`.
 * - *The rest* arrives as `raw`, in the shape of a frame that holds nothing else: a part as it came where it has a
 *   `thoughtSignature`, code or anything more than its event says, and metadata (grounding, safety …) when they change.
 *
 * Holds the unfinished tool calls, and at most 1,048,576 characters of JSON without `data:`.
 *
 * @example A server of one's own between
 * ```ts
 * fromHTTP(url, { method: 'POST', headers, body }).pipe(parseSSE(), decode(geminiDialect()), toTokens()).subscribe(log);
 * ```
 * @throws RangeError when called with a limit below its range
 * @public
 */
export function geminiDialect(options: GeminiDialectOptions = {}): Dialect<GeminiTurn> {
  const { name = 'gemini', retryable = isRetryableGeminiError } = options;
  const { maxToolCallChars = 67_108_864, candidates = 1 } = options;
  requireAtLeast(0, { maxToolCallChars });
  requireAtLeast(1, { candidates });
  return dialect<GeminiResponse, GeminiReader, GeminiTurn>({
    name,
    frame: geminiResponse,
    fillers: ['[DONE]'],
    retryable,
    start: () => new GeminiReader(candidates, maxToolCallChars),
    // The reader reports failures, after what stands beside them; a frame that is malformed besides never reaches it.
    error: (frame, event) => {
      const report = readFailure(frame, event);
      return report === undefined || isResponse(frame) ? undefined : report;
    },
    decode: (response, stream) => {
      stream.state.read(response, stream);
    },
    unknown: (field, value, stream) => stream.state.line(field, value, stream),
    flush: (stream) => {
      stream.state.flush(stream);
    },
    release: (stream) => {
      stream.state.release(stream);
    },
    turn: geminiTurn,
  });
}

function isResponse(frame: unknown): boolean {
  const result = geminiResponse['~standard'].validate(frame);
  return !(result instanceof Promise) && result.issues === undefined;
}
