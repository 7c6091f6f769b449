import type { OperatorFunction } from 'rxjs';
import { createJSONDocumentParser } from '../protocol/jsonDocumentParser.js';
import { createNDJSONParser } from '../protocol/ndjsonParser.js';
import { createSSEParser, DEFAULT_MAX_LINE_BYTES } from '../protocol/sseParser.js';
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
  return connectParser<WireEvent>(() => create(pick(), limits));
}

function create(framing: Framing, limits: FramingLimits): BodyParser<WireEvent> {
  switch (framing) {
    case 'sse':
      return createSSEParser(limits);
    case 'ndjson':
      return createNDJSONParser(limits);
    case 'json':
      return createJSONDocumentParser(limits.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES);
  }
}
