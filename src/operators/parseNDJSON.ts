import type { OperatorFunction } from 'rxjs';
import { connectParser } from '../internal/connectParser.js';
import { requireAtLeast } from '../internal/require.js';
import { createNDJSONParser } from '../protocol/ndjsonParser.js';
import { DEFAULT_MAX_LINE_BYTES } from '../protocol/sseParser.js';
import type { NDJSONLine } from '../types.js';

/** Limits of {@link parseNDJSON}. @public */
export interface ParseNDJSONOptions {
  /**
   * The longest line, in bytes without its LF; a CR before it counts. At least 1; `Infinity` means unbounded. An unfinished
   * line counts as it grows. One byte more is a `LimitError`.
   *
   * @defaultValue 67_108_864 (64 MiB), chosen: a line may carry an image, and those pass 8 MiB in real traffic
   */
  readonly maxLineBytes?: number | undefined;
}

/**
 * Splits the bytes of a newline-delimited JSON body into lines, so that a consumer sees whole JSON texts however the network
 * cut them. The JSON itself is parsed further down, by `decode`.
 *
 * ```text
 * source    -a----b----|           a = '{"n":1}\n{"n"', b = ':2}'
 * result    -x---------(y|)        x = line 1 '{"n":1}', y = line 2 '{"n":2}'
 * ```
 * Emits each line in the same turn as the chunk that completes it. Lines end with LF or CRLF; lines of white space are left
 * out, and counted in `number`. A byte order mark at the start is dropped; invalid UTF-8 becomes U+FFFD.
 * Completes with the source, after emitting a last line that has no line end: whether it is whole shows when it is parsed.
 * Errors with the source's error, dropping an unfinished line, or with `LimitError`, after emitting the lines before, which
 * closes the source.
 * Unsubscribing stops in the middle of a chunk: nothing more is emitted from it. Holds at most one unfinished line, as long
 * as the limit allows, and the chunk in hand.
 *
 * @example Print every line with its number
 * ```ts
 * fromHTTP(url).pipe(parseNDJSON()).subscribe((line) => {
 *   console.log(line.number, JSON.parse(line.data));
 * });
 * ```
 * @param options - see {@link ParseNDJSONOptions}; units are in the names
 * @returns an operator; each subscription has its own parser
 * @throws RangeError when called with a limit below 1
 * @see {@link https://github.com/ndjson/ndjson-spec | NDJSON}
 * @public
 */
export function parseNDJSON(options: ParseNDJSONOptions = {}): OperatorFunction<Uint8Array, NDJSONLine> {
  const { maxLineBytes = DEFAULT_MAX_LINE_BYTES } = options;
  requireAtLeast(1, { maxLineBytes });
  return connectParser((shortcut) => createNDJSONParser({ maxLineBytes }, undefined, shortcut));
}
