import { lastValueFrom, map, reduce, takeWhile, toArray } from 'rxjs';
import type { Dispatcher } from 'undici';
import { type Call, fromCall, fromHTTP, isMillraceError, type StreamEvent, timeout } from '../../index.js';
import type { Check } from './check.js';
import { judgeArrivals } from './judgeArrivals.js';
import { type RecordedAnswer, StreamRecorder } from './streamRecorder.js';

/** Small, and of many pieces. */
export const QUESTION = 'Count from one to forty in words, one number a line, and write nothing else.';
export const MAX_ANSWER_TOKENS = 400;

/** A stream that never ends is looked at for so long, and until so many pieces have come. */
const MAX_STREAM_MS = 15_000;
const MAX_CHUNKS = 400;
/** The longest silence that is waited for. */
const MAX_WAIT_MS = 60_000;

export interface StreamProbe {
  readonly of: string;
  readonly dispatcher: Dispatcher;
  readonly signal: AbortSignal;
}

/** Asks a provider, and looks at how its answer comes. */
export async function callChecks(call: Call, { of, dispatcher, signal }: StreamProbe): Promise<readonly Check[]> {
  const recorder = new StreamRecorder(dispatcher);
  try {
    const events = await lastValueFrom(
      fromCall(call, { dispatcher: recorder, signal }).pipe(
        timeout({ firstContentMs: MAX_WAIT_MS, contentIdleMs: MAX_WAIT_MS }),
        toArray(),
      ),
    );
    return [answered(of, events), ...arrivalChecks(of, recorder.stream)];
  } catch (error) {
    return [broken(of, error, signal), ...arrivalChecks(of, recorder.stream)];
  }
}

/** Reads a URL as it is, without a key, and looks at how it comes. */
export async function urlChecks(url: URL, { of, dispatcher, signal }: StreamProbe): Promise<readonly Check[]> {
  const recorder = new StreamRecorder(dispatcher);
  const accept = ['text/event-stream', 'application/x-ndjson', '*/*'];
  try {
    await lastValueFrom(
      fromHTTP(url, { dispatcher: recorder, signal, accept }).pipe(
        timeout({ headersMs: MAX_WAIT_MS, wireIdleMs: MAX_WAIT_MS }),
        map(() => recorder.stream?.chunks ?? []),
        takeWhile((chunks) => chunks.length < MAX_CHUNKS && (chunks.at(-1)?.atMs ?? 0) < MAX_STREAM_MS),
        reduce((count) => count + 1, 0),
      ),
    );
    return arrivalChecks(of, recorder.stream);
  } catch (error) {
    return [broken(of, error, signal), ...arrivalChecks(of, recorder.stream)];
  }
}

function answered(of: string, events: readonly StreamEvent[]): Check {
  const chars = events.reduce((sum, event) => sum + (event.type === 'text' ? event.text.length : 0), 0);
  return {
    of,
    name: 'answer',
    verdict: 'ok',
    says: `a whole answer came: ${String(events.length)} events, ${String(chars)} characters`,
    facts: { events: events.length, chars },
  };
}

/** Errors of the library hold neither keys nor prompts. */
function broken(of: string, error: unknown, signal: AbortSignal): Check {
  if (signal.aborted || !isMillraceError(error)) throw error;
  const isRefused = error.code === 'ERR_HTTP' && 'status' in error && (error.status === 401 || error.status === 403);
  return {
    of,
    name: 'answer',
    verdict: 'broken',
    says: error.message,
    ...(isRefused && { advice: 'The key is wrong, or is not for this model' }),
    facts: { code: error.code },
  };
}

function arrivalChecks(of: string, stream: RecordedAnswer | undefined): readonly Check[] {
  // What an error says comes in one piece, and tells nothing of streams.
  if (stream === undefined || stream.status > 299) return [];
  return [headerCheck(of, stream), { of, name: 'stream', ...judgeArrivals(stream.chunks) }];
}

const TOLD = [
  'content-type',
  'content-encoding',
  'content-length',
  'transfer-encoding',
  'x-accel-buffering',
  'cache-control',
  'via',
  'server',
];

function headerCheck(of: string, { status, headers }: RecordedAnswer): Check {
  const told = TOLD.flatMap((name) =>
    headers[name] === undefined ? [] : [[name, headers[name].slice(0, 200)] as const],
  );
  const says = [`HTTP ${String(status)}`, ...told.map(([name, value]) => `${name}: ${value}`)].join(', ');
  const check = { of, name: 'headers', says, facts: { status, ...Object.fromEntries(told) } };
  if (headers['content-length'] !== undefined) {
    const advice = 'Who knows the length had the whole answer before: this is no stream, or something has collected it';
    return { ...check, verdict: 'warning', advice };
  }
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity') {
    return {
      ...check,
      verdict: 'warning',
      advice: 'Compression collects what it compresses, unless it is flushed with each event',
    };
  }
  return { ...check, verdict: 'ok' };
}
