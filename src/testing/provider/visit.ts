import type { OutgoingHttpHeaders } from 'node:http';
import type { Exchange } from '../exchange.js';
import type { ProviderName, Surface } from '../providerName.js';
import type { Fault, ScriptedAnswer } from '../scriptedAnswer.js';
import type { WireAnswer, WireError } from '../wire/wireAnswer.js';
import { composeAnswer, type RequestBody } from './composeAnswer.js';
import type { Desk, Taken } from './desk.js';
import { errorReply } from './errorBodies.js';
import { pause, play } from './play.js';
import {
  cutAt,
  type Ending,
  gzipSegments,
  holdAt,
  insertFault,
  type PlacedFault,
  type Segment,
  segmentsOf,
  segmentsOfRecording,
} from './segments.js';

/** A place that requests can go to. */
export interface Route {
  readonly provider: ProviderName;
  readonly surface: Surface;
  readonly method: 'GET' | 'POST';
  /** With `{name}` for a part that varies. */
  readonly path: string;
  /** It begins an answer, and so takes the next one from the script. */
  readonly begins?: boolean;
  /** It answers without a key. */
  readonly isOpen?: boolean;
  /** Keys that the body must have. */
  readonly requires?: readonly string[];
  readonly serve: (visit: Visit) => Promise<void>;
}

/** One request being served. */
export interface Visit {
  readonly exchange: Exchange;
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
  readonly body: RequestBody;
  readonly desk: Desk;
  /** Absent where the request begins nothing and nothing was ordered for it. */
  readonly taken: Taken | undefined;
  /** Headers that every answer has. */
  readonly headers: OutgoingHttpHeaders;
}

/** A stream in a provider's format, and what its faults look like. */
export interface StreamReply {
  readonly contentType: string;
  readonly frames: readonly string[];
  readonly error: (words: WireError) => readonly string[];
  /** What the provider says where the script does not. */
  readonly usualError: WireError;
  readonly garbage?: string;
  /** A place where the answer waits for another request. */
  readonly wait?: { readonly before: number; readonly until: AbortSignal };
  readonly interrupt?: { readonly signal: AbortSignal; readonly frames: readonly string[] };
  /** The headers are out already. */
  readonly isUnderWay?: boolean;
  readonly onSent?: (count: number) => void;
}

/** What this request is answered with, in the words of any dialect. */
export function compose(visit: Visit, id: string, script: ScriptedAnswer): WireAnswer {
  const { route, body, desk } = visit;
  const asked = { provider: route.provider, body, id, toolCallId: desk.id('call_'), createdAt: desk.now() };
  return composeAnswer(asked, script);
}

/** Answers with JSON. A fault that was ordered for this very request happens to it. */
export async function replyJSON(visit: Visit, value: unknown, status = 200): Promise<void> {
  const { taken } = visit;
  const script = taken?.isExact === true ? taken.script : {};
  await send(visit, script, [{ bytes: Buffer.from(JSON.stringify(value)) }], status, 'application/json', 'full');
}

/** Answers with an HTTP error in the provider's shape. */
export async function replyError(visit: Visit, status: number, words?: Partial<WireError>): Promise<void> {
  const { headers, body } = errorReply(visit.route.surface, status, words);
  visit.exchange.respond({ status, headers: { ...visit.headers, ...headers } });
  await visit.exchange.end(JSON.stringify(body));
}

/** Answers with what the script says instead of an answer: a status, a body. */
export async function replyScripted(visit: Visit, script: ScriptedAnswer): Promise<void> {
  const { status = 200, body, error = {} } = script;
  const words = errorReply(visit.route.surface, status, {
    ...(error.code !== undefined && { code: error.code }),
    ...(error.message !== undefined && { message: error.message }),
  });
  const value = body ?? (status >= 400 ? words.body : undefined);
  const text = value === undefined || typeof value === 'string' ? (value ?? '') : JSON.stringify(value);
  const type = typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json';
  const headers = {
    ...(status >= 400 && words.headers),
    ...(body !== undefined && { 'content-type': type }),
    ...script.headers,
  };
  const plain: ScriptedAnswer = { ...script, headers };
  await send(visit, plain, segmentsOf([text]), status, type, 'full');
}

/** Answers with a stream, as the script has it: its own frames, its pace, its fault. */
export async function replyStream(visit: Visit, script: ScriptedAnswer, reply: StreamReply): Promise<void> {
  const { recording, frames, fault, error } = script;
  const { usualError, wait } = reply;
  const segments =
    recording === undefined
      ? segmentsOf(frames ?? reply.frames)
      : segmentsOfRecording(recording.body, recording.contentType);
  const waiting =
    wait === undefined || frames !== undefined || recording !== undefined
      ? segments
      : holdAt(segments, { frame: wait.before }, (gone) => aborted(AbortSignal.any([gone, wait.until])));
  const words = { code: error?.code ?? usualError.code, message: error?.message ?? usualError.message };
  const spoken = isPlaced(fault)
    ? insertFault(waiting, fault, {
        garbage: reply.garbage ?? 'data: {"this is": not JSON\n\n',
        error: reply.error(words),
      })
    : waiting;
  await send(visit, script, spoken, 200, recording?.contentType ?? reply.contentType, visit.desk.pace, reply);
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        { once: true },
      );
  });
}

async function send(
  visit: Visit,
  script: ScriptedAnswer,
  whole: readonly Segment[],
  status: number,
  contentType: string,
  usualPace: Desk['pace'],
  reply: Partial<StreamReply> = {},
): Promise<void> {
  const { fault, coding = 'identity', chunkBytes } = script;
  const { exchange } = visit;
  if (fault?.kind === 'wrong-type') {
    exchange.respond({ headers: { ...visit.headers, 'content-type': 'text/html; charset=utf-8' } });
    await exchange.end(HTML_PAGE);
    return;
  }
  const placed = isPlaced(fault) ? fault : undefined;
  const coded = coding === 'gzip' ? await gzipSegments(whole) : whole;
  const segments = placed === undefined ? coded : damage(coded, placed);
  const headers = {
    'content-type': contentType,
    'cache-control': 'no-cache',
    ...(coding === 'gzip' && { 'content-encoding': 'gzip' }),
    ...visit.headers,
    ...script.headers,
  };
  const isEarly = placed?.at === 'before-headers';
  const { interrupt } = reply;
  await play(exchange, {
    head: isEarly ? 'never' : reply.isUnderWay === true ? 'sent' : { status, headers },
    headersAfterMs: fault?.kind === 'slow-headers' ? fault.delayMs : 0,
    segments: isEarly ? [] : segments,
    ending: (placed && ENDINGS[placed.kind]) ?? 'end',
    pace: script.pace ?? usualPace,
    chunkBytes,
    interrupt: interrupt && { signal: interrupt.signal, segments: segmentsOf(interrupt.frames) },
    onSent: reply.onSent,
  });
}

function isPlaced(fault: Fault | undefined): fault is PlacedFault {
  return fault !== undefined && 'at' in fault;
}

function damage(segments: readonly Segment[], fault: PlacedFault): readonly Segment[] {
  if (fault.kind === 'pause') return holdAt(segments, fault.at, (gone) => pause(fault.forMs, gone));
  return ENDINGS[fault.kind] === undefined ? segments : cutAt(segments, fault.at);
}

const ENDINGS: Readonly<Partial<Record<PlacedFault['kind'], Ending>>> = {
  reset: 'reset',
  fin: 'fin',
  close: 'close',
  end: 'end',
  stall: 'stall',
  'bad-chunk': 'bad-chunk',
};

const HTML_PAGE = '<!doctype html>\n<title>Please sign in</title>\n<p>This network asks you to sign in first.</p>\n';
