import type { OutgoingHttpHeaders } from 'node:http';
import { requireAtLeast, requireOneOf } from '../internal/require.js';
import type { ChatFinishReason } from './wire/wireAnswer.js';

/** How fast the frames of an answer go out. @public */
export type Pace = 'full' | FramePace;

/** One frame at a time. @public */
export interface FramePace {
  /** Milliseconds before each frame but the first. */
  readonly perFrameMs: number;
  /** Milliseconds between headers and first frame. @defaultValue `perFrameMs` */
  readonly firstFrameMs?: number | undefined;
}

/**
 * Where in an answer a fault happens. `frame`: before that frame, counted from 0, comments included; negative counts from
 * the end, so that -1 is before the last one. `byte`: after so many bytes of the body, inside a character if need be.
 * A place past the end is the end.
 * @public
 */
export type FaultPlace = 'after-headers' | 'end' | { readonly frame: number } | { readonly byte: number };

/**
 * What goes wrong.
 *
 * - `reset`: the connection is reset (TCP RST). `fin`: it is closed without the body's end.
 * - `close`: as `fin`, but under `Connection: close` without a length, so that HTTP calls the cut body whole.
 * - `end`: the HTTP body is ended properly although frames are missing, as a careless proxy does.
 * - `stall`: nothing more comes and the connection stays open. `pause`: the same for `forMs`, then it goes on.
 * - `bad-chunk`: an invalid chunk size.
 * - `garbage`: a malformed frame; the stream goes on after it.
 * - `in-band-error`: the provider's own report of a failure, and what it sends after one; then the body ends properly.
 * - `slow-headers`: the headers wait for `delayMs`. `wrong-type`: status 200 with an HTML page in place of a stream.
 * @public
 */
export type Fault =
  | { readonly kind: 'reset' | 'fin' | 'stall'; readonly at: FaultPlace | 'before-headers' }
  | { readonly kind: 'close' | 'end' | 'bad-chunk' | 'garbage' | 'in-band-error'; readonly at: FaultPlace }
  | { readonly kind: 'pause'; readonly at: FaultPlace; readonly forMs: number }
  | { readonly kind: 'slow-headers'; readonly delayMs: number }
  | { readonly kind: 'wrong-type' };

/** A tool call of the model. @public */
export interface ScriptedToolCall {
  readonly name: string;
  readonly arguments: unknown;
  /** @defaultValue made by the server */
  readonly id?: string | undefined;
}

/** Token counts to report. @public */
export interface ScriptedUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** @defaultValue 0 */
  readonly reasoningTokens?: number | undefined;
}

/** Words of a failure, in place of the provider's usual ones. @public */
export interface ScriptedError {
  readonly code?: string | number | undefined;
  readonly message?: string | undefined;
}

/**
 * One answer of the provider server. Everything is optional: `{}` is the provider's default answer, several paragraphs of
 * text. At most one of `text`, `pieces`, `frames` and `recording` says what is answered. What a dialect has no frames for
 * (a tool call in Infernet, logs in a chat) is left out.
 * @public
 */
export interface ScriptedAnswer {
  /** The whole text; it is cut into pieces like model tokens. */
  readonly text?: string | undefined;
  /** The text, one frame for each piece. */
  readonly pieces?: readonly string[] | undefined;
  /** The exact text of each frame, its line ends included. */
  readonly frames?: readonly string[] | undefined;
  /** An exact body and its content type: serves what was recorded elsewhere. Blank lines (NDJSON: lines) end its frames. */
  readonly recording?: { readonly body: Uint8Array; readonly contentType: string } | undefined;
  /** The model's reasoning, sent whether or not the request asks for it. @defaultValue some, where the request asks */
  readonly thinking?: string | readonly string[] | undefined;
  readonly toolCall?: ScriptedToolCall | undefined;
  /** Why the model stopped. @defaultValue `'stop'`, with a tool call `'tool_calls'` */
  readonly finish?: ChatFinishReason | undefined;
  /** Sent where the dialect has it, whether or not the request asks. @defaultValue counted, where the request asks */
  readonly usage?: ScriptedUsage | 'none' | undefined;
  /** The result of a task, in place of its text. */
  readonly output?: unknown;
  /** The lines of a task's log. @defaultValue three lines */
  readonly logs?: readonly string[] | undefined;
  /** An HTTP status other than 200 is the whole answer; from 400 on it has the provider's own error body. @defaultValue 200 */
  readonly status?: number | undefined;
  /** Added to the answer's headers; `content-type` replaces the provider's, `retry-after` is in seconds or a date. */
  readonly headers?: OutgoingHttpHeaders | undefined;
  /** The whole body in place of a stream or an error: text, or a value sent as JSON. */
  readonly body?: unknown;
  /** The words of an error body and of an `in-band-error`. */
  readonly error?: ScriptedError | undefined;
  /** What polling finds in the end, where it differs from the stream: Infernet runs a lost job again, elsewhere. */
  readonly result?: { readonly text: string } | { readonly error: ScriptedError } | undefined;
  /** How many polls of unfinished work are answered with an unfinished state. @defaultValue 1 */
  readonly pollsUntilDone?: number | undefined;
  /** @defaultValue the server's pace */
  readonly pace?: Pace | undefined;
  /** Cuts each frame into writes of at most so many bytes. @defaultValue a frame is one write */
  readonly chunkBytes?: number | undefined;
  /** Compresses the body, flushed at each frame. Bytes of a fault's place are then compressed bytes. @defaultValue `'identity'` */
  readonly coding?: 'identity' | 'gzip' | undefined;
  readonly fault?: Fault | undefined;
}

const CONTENTS = ['text', 'pieces', 'frames', 'recording'] as const;
const FAULTS: readonly Fault['kind'][] = [
  'reset',
  'fin',
  'stall',
  'close',
  'end',
  'bad-chunk',
  'garbage',
  'in-band-error',
  'pause',
  'slow-headers',
  'wrong-type',
];
const BEFORE_HEADERS: readonly string[] = ['reset', 'fin', 'stall'];

/** Throws TypeError or RangeError for an answer that cannot be played. */
export function requireAnswer(answer: ScriptedAnswer): void {
  const given = CONTENTS.filter((name) => answer[name] !== undefined);
  if (given.length > 1) throw new TypeError(`An answer has one of ${CONTENTS.join(', ')}; got ${given.join(' and ')}`);
  const { chunkBytes, pollsUntilDone, status, fault } = answer;
  if (chunkBytes !== undefined) requireAtLeast(1, { chunkBytes });
  if (pollsUntilDone !== undefined) requireAtLeast(0, { pollsUntilDone });
  if (status !== undefined) requireAtLeast(200, { status });
  if (answer.pace !== undefined) requirePace(answer.pace);
  if (fault === undefined) return;
  requireOneOf('fault.kind', fault.kind, FAULTS);
  if (fault.kind === 'slow-headers') requireAtLeast(0, { delayMs: fault.delayMs });
  if (fault.kind === 'pause') requireAtLeast(0, { forMs: fault.forMs });
  if ('at' in fault && fault.at === 'before-headers' && !BEFORE_HEADERS.includes(fault.kind)) {
    throw new TypeError(`fault.at 'before-headers' goes with ${BEFORE_HEADERS.join(', ')}; got '${fault.kind}'`);
  }
}

/** Throws RangeError for a pace that is no delay. */
export function requirePace(pace: Pace): void {
  if (pace === 'full') return;
  const { perFrameMs, firstFrameMs = perFrameMs } = pace;
  requireAtLeast(0, { perFrameMs, firstFrameMs });
}
