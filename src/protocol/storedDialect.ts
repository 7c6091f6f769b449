import type { Receipt, StreamEvent } from '../types.js';
import type { Dialect } from './dialect.js';
import { isRecord } from './errorBody.js';
import { type MillraceChecks, MillraceDecoder } from './millraceDecoder.js';

/** The events as this version writes them. */
const TYPES: ReadonlySet<string | undefined> = new Set<StreamEvent['type']>([
  'text',
  'thinking',
  'refusal',
  'tool-call-delta',
  'tool-call',
  'tool-result',
  'status',
  'progress',
  'log',
  'output',
  'media',
  'usage',
  'warning',
  'heartbeat',
  'finish',
  'restart',
  'raw',
]);

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** We wrote it ourselves: only what a later version may have changed is looked at. */
const CHECKS: MillraceChecks = {
  name: 'stored',
  frame: {
    '~standard': {
      version: 1,
      vendor: 'millrace',
      validate: (value) => (isRecord(value) ? { value } : { issues: [{ message: 'It must be an object' }] }),
    },
  },
  event: ({ type }) => TYPES.has(type),
  end: ({ outcome, receipt }) => ({ outcome: textOf(outcome) ?? 'unknown', receipt }),
  failure: ({ code, message, retryable }) => ({
    code: textOf(code),
    message: textOf(message),
    retryable: retryable === true,
  }),
};

/** How `toStore` writes a stream: a line for each event, and one for its end. */
export const storedDialect: Dialect = {
  name: 'stored',
  framing: 'ndjson',
  decoder: (options) => new MillraceDecoder(CHECKS, options),
};

/** What goes into an entry: how far the answer was told, and the lines of its events. JSON has no line ends of its own. */
export function entryOf(place: string, lines: readonly string[]): string {
  return [place, ...lines].join('\n');
}

/** How far the answer was told when an entry was written. */
export function placeIn(data: string): string {
  const end = data.indexOf('\n');
  return end < 0 ? data : data.slice(0, end);
}

/** The lines in an entry. */
export function linesIn(data: string): readonly string[] {
  return data.split('\n').slice(1);
}

/** The receipt of a stream whose last entry this is; undefined where it has not ended, or not with a complete answer. */
export function receiptIn(data: string): Receipt | undefined {
  const [line = ''] = linesIn(data).slice(-1);
  const end: unknown = line === '' ? undefined : JSON.parse(line);
  if (!isRecord(end) || end['type'] !== 'end' || end['outcome'] !== 'complete') return undefined;
  return end['receipt'] as Receipt; // as toStore wrote it
}
