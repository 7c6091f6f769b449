import type { Dialect } from '../../src/protocol/dialect.js';
import { ProviderError } from '../../src/errors.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import { checkTemplates } from '../../src/testing/checkTemplates.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';

export interface DecodeAllOptions {
  /** Where the bytes are cut into chunks, as offsets; none: one chunk. */
  readonly cuts?: readonly number[] | undefined;
  /** What the HTTP framing says about the end. */
  readonly intact?: boolean | undefined;
}

export interface Decoded {
  readonly events: readonly StreamEvent[];
  readonly outcome: 'complete' | 'failed' | 'interrupted';
  readonly error: unknown;
  /** Of the first choice, as `thinking`. */
  readonly text: string;
  readonly thinking: string;
  /** Of all calls, in the order in which the pieces came. */
  readonly toolArguments: string;
}

/**
 * Decodes a whole body as a stream would, with templates and without, and says how it ended. Errors that are no failure of the
 * provider's are thrown, a difference between the two ways among them.
 */
export function decodeAll(dialect: Dialect, body: string | Uint8Array, options: DecodeAllOptions = {}): Decoded {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const decoder = checkTemplates(dialect).decoder();
  const events: StreamEvent[] = [];
  const emit = (event: StreamEvent): void => {
    events.push(event);
  };
  let isDone = false;
  const push = (event: WireEvent): void => {
    isDone = decoder.push(event, emit) === 'done' || isDone;
  };
  let outcome: Decoded['outcome'] = 'interrupted';
  let error: unknown;
  try {
    if (dialect.framing === 'ndjson') {
      new TextDecoder()
        .decode(bytes)
        .split('\n')
        .forEach((data, index) => {
          if (data.trim() !== '') push({ type: 'line', data, number: index + 1 });
        });
    } else {
      const parser = createSSEParser();
      const cuts = [0, ...(options.cuts ?? []), bytes.length];
      cuts.slice(1).forEach((cut, index) => {
        parser.push(bytes.subarray(cuts[index], cut), push);
      });
    }
    if (isDone || decoder.end(options.intact ?? false, emit)) outcome = 'complete';
  } catch (failure) {
    if (!(failure instanceof ProviderError)) throw failure;
    outcome = 'failed';
    error = failure;
  }
  const join = (type: 'text' | 'thinking'): string =>
    events.map((event) => (event.type === type && event.alternative === undefined ? event.text : '')).join('');
  return {
    events,
    outcome,
    error,
    text: join('text'),
    thinking: join('thinking'),
    toolArguments: events.map((event) => (event.type === 'tool-call-delta' ? event.argumentsDelta : '')).join(''),
  };
}

/** One server-sent event around a frame; a string is sent as it is. */
export function frame(data: unknown): string {
  return `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

/** Every event of one type. */
export function ofType<T extends StreamEvent['type']>(
  { events }: Pick<Decoded, 'events'>,
  type: T,
): Extract<StreamEvent, { type: T }>[] {
  return events.filter((event): event is Extract<StreamEvent, { type: T }> => event.type === type);
}
