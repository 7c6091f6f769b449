import type { OperatorFunction } from 'rxjs';
import { ProtocolError } from '../errors.js';
import { createJSONDocumentParser } from '../protocol/jsonDocumentParser.js';
import { createNDJSONParser } from '../protocol/ndjsonParser.js';
import { createSSEParser, DEFAULT_MAX_LINE_BYTES, type SSEParser } from '../protocol/sseParser.js';
import type { Shortcut } from '../protocol/shortcut.js';
import type { WireEvent } from '../types.js';
import { type BodyParser, connectParser } from './connectParser.js';

/** How a body is cut into frames: server-sent events, JSON lines, or one JSON document. */
export type Framing = 'sse' | 'ndjson' | 'json';

/** Limits on what a parser holds. @public */
export interface FramingLimits {
  /** See `parseSSE` and `parseNDJSON`. @defaultValue 67,108,864 */
  readonly maxLineBytes?: number | undefined;
  /** See `parseSSE`. @defaultValue 67,108,864 */
  readonly maxEventBytes?: number | undefined;
}

/** Picks the framing by an answer's media type; `otherwise` where the type does not tell. */
export function framingOf(type: string, otherwise: Framing): Framing {
  if (type === 'text/event-stream') return 'sse';
  if (/^application\/(x-)?(ndjson|jsonl|jsonlines|json-lines)$/.test(type)) return 'ndjson';
  if (type === 'application/json') return 'json';
  return otherwise;
}

/** Parses a body whose framing is known late: `pick` is called at the first byte, or at the end of a body without any. */
export function parseBody(pick: () => Framing, limits: FramingLimits): OperatorFunction<Uint8Array, WireEvent> {
  return connectParser<WireEvent>((shortcut) => create(pick(), limits, shortcut));
}

function create(framing: Framing, limits: FramingLimits, shortcut: Shortcut | undefined): BodyParser<WireEvent> {
  switch (framing) {
    case 'sse':
      return unlessJSON(createSSEParser(limits, undefined, shortcut));
    case 'ndjson':
      return createNDJSONParser(limits, undefined, shortcut);
    case 'json':
      return createJSONDocumentParser(limits.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES);
  }
}

/** Characters of a body without events that are kept to see whether they are JSON; chosen. */
const MAX_JSON_CHARS = 1_048_576;

/** Says so where a body that was read as server-sent events, and had none, was a JSON document under another type. */
function unlessJSON(parser: SSEParser): BodyParser<WireEvent> {
  const decoder = new TextDecoder();
  /** The body so far, without leading white space; undefined once it cannot be a document. */
  let body: string | undefined = '';
  return {
    push: (chunk, emit) => {
      if (body !== undefined) {
        const piece = decoder.decode(chunk, { stream: true });
        body = body === '' ? piece.trimStart() : body + piece;
        if (body.length > MAX_JSON_CHARS || !/^([[{]|$)/.test(body)) body = undefined;
      }
      parser.push(chunk, emit);
    },
    end: () => {
      parser.end();
      if (body === undefined || !isJSON(body)) return;
      // Not quoted: it may hold what was asked, or a key.
      throw new ProtocolError(
        `A JSON document of ${String(body.length)} characters came where server-sent events were expected`,
        { context: { contentType: 'application/json' } },
      );
    },
    stop: () => {
      parser.stop();
    },
  };
}

function isJSON(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false; // cut, or something else: the missing proof is reported
  }
}
