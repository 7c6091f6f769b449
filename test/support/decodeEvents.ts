import type { Dialect } from '../../src/protocol/dialect.js';
import { createNDJSONParser } from '../../src/protocol/ndjsonParser.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import { checkTemplates } from '../../src/testing/checkTemplates.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';

/** What became of a stream that was decoded without any transport. */
export interface DecodedEvents {
  readonly events: StreamEvent[];
  readonly outcome: 'complete' | 'failed' | 'interrupted';
  readonly error: unknown;
}

/** Feeds wire events to a dialect's decoder, as a source would: none after the proven end or an error. */
export function decodeEvents(
  dialect: Dialect,
  wire: readonly WireEvent[],
  options: { readonly intact?: boolean; readonly submitted?: unknown } = {},
): DecodedEvents {
  const events: StreamEvent[] = [];
  const emit = (event: StreamEvent): void => {
    events.push(event);
  };
  const decoder = checkTemplates(dialect).decoder();
  try {
    if (options.submitted !== undefined) decoder.submitted(options.submitted, emit);
    for (const event of wire) {
      if (decoder.push(event, emit) === 'done') return { events, outcome: 'complete', error: undefined };
    }
    const isWhole = decoder.end(options.intact ?? true, emit);
    return { events, outcome: isWhole ? 'complete' : 'interrupted', error: undefined };
  } catch (error) {
    return { events, outcome: 'failed', error };
  }
}

/** The wire events of a body. */
export function wireEvents(framing: 'sse' | 'ndjson', body: string | Uint8Array): WireEvent[] {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const events: WireEvent[] = [];
  const emit = (event: WireEvent): void => {
    events.push(event);
  };
  if (framing === 'sse') {
    const parser = createSSEParser();
    parser.push(bytes, emit);
    parser.end();
  } else {
    const parser = createNDJSONParser();
    parser.push(bytes, emit);
    parser.end(emit);
  }
  return events;
}

/** The text that a reader has in the end: what a restart voids is gone. */
export function textOf(events: readonly StreamEvent[]): string {
  let text = '';
  for (const event of events) {
    if (event.type === 'restart') text = '';
    else if (event.type === 'text') text += event.text;
  }
  return text;
}
