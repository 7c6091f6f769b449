import { createReadStream } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { lastValueFrom, map, type OperatorFunction, tap } from 'rxjs';
import {
  decode,
  type Dialect,
  fromAsyncIterable,
  isMillraceError,
  type Outcome,
  parseNDJSON,
  parseSSE,
  stopOn,
  type StreamEvent,
  toStdout,
  toTokens,
  type UsageEvent,
  type WireEvent,
} from '../index.js';
import { detectDialect, gatewayGenerateDialect } from '../providers/index.js';
import { type CaptureHead, CapturePlace, CaptureReader, isCompressed, refusalIn } from './captureReader.js';
import { type CLIContext, colorsFor } from './context.js';
import { dialectNamed, DIALECTS } from './dialects.js';
import { eventLine, usageWords } from './eventLine.js';
import { EXIT, type ExitCode, exitCodeOf, UsageError } from './exitCodes.js';
import { reportError } from './reportError.js';

/** What `millrace replay` takes. */
export interface ReplayOptions {
  readonly dialect?: string;
  readonly json?: true;
  readonly text?: true;
  readonly pace?: number;
}

/** Decodes a capture of an HTTP body, and prints what it says. */
export async function replay(file: string, options: ReplayOptions, context: CLIContext): Promise<ExitCode> {
  const { stdin, stdout, stderr, signal } = context;
  const reader = new CaptureReader(file === '-' ? addAbortSignal(signal, stdin) : createReadStream(file));
  const capture = await lookAt(reader, file, options, context);
  if (typeof capture === 'number') return capture;
  const { dialect, framing, headBytes } = capture;
  const place = new CapturePlace(headBytes, framing);
  const seen = new Seen();
  const end = (how: string): void => {
    seen.endLine(options, context);
    const facts = [
      how,
      `${counted(place.frames, 'frame')}, ${counted(seen.events, 'event')}, ${counted(seen.chars, 'character')} of text`,
      counted(place.offset, 'byte'),
      `tokens ${seen.usage === undefined ? 'unknown' : usageWords(seen.usage)}`,
      `${dialect.name} as ${framing === 'sse' ? 'server-sent events' : 'lines of JSON'}`,
    ];
    stderr.write(`${facts.join(' · ')}\n`);
  };
  try {
    const receipt = await lastValueFrom(
      fromAsyncIterable(() => reader.pieces(headBytes, framing, options.pace ?? 0, signal)).pipe(
        tap((piece) => {
          place.onPiece(piece);
        }),
        parserFor(dialect, framing),
        tap((event) => {
          place.onEvent(event);
        }),
        decode(dialect),
        stopOn(signal),
        tap((event) => {
          seen.note(event);
        }),
        shown(options, context),
        toStdout({ stream: stdout }),
      ),
    );
    if (receipt.by !== 'reader') end(seen.finish === undefined ? receipt.outcome : `complete (${seen.finish})`);
    return exitCodeOf(receipt);
  } catch (error) {
    if (!isMillraceError(error) || error.receipt === undefined) throw error;
    const { outcome } = error.receipt;
    end(outcome);
    reportError(context, `${inReplay(error.message)} (${whereItBroke(outcome, place)})`);
    return exitCodeOf(error.receipt);
  }
}

interface Capture extends CaptureHead {
  readonly dialect: Dialect;
  readonly framing: 'sse' | 'ndjson';
}

/** Tells what a capture is, or why it is none. */
async function lookAt(
  reader: CaptureReader,
  file: string,
  { dialect: asked }: ReplayOptions,
  context: CLIContext,
): Promise<Capture | ExitCode> {
  const named = asked === undefined ? undefined : dialectNamed(asked);
  let head: CaptureHead;
  try {
    head = await reader.look(named === undefined ? 'all' : 'line');
  } catch (error) {
    if (context.signal.aborted) return EXIT.stopped;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    const what = file === '-' ? 'standard input' : file;
    throw new UsageError(`${what} cannot be read: ${code === 'ENOENT' ? 'it is not there' : code}`);
  }
  const { body, status } = head;
  if (isCompressed(body)) {
    throw new UsageError('the capture is compressed: gunzip it first, or let curl do that with --compressed');
  }
  if (status !== undefined && (status < 200 || status > 299)) {
    const said = refusalIn(body);
    reportError(context, `the capture is HTTP ${String(status)} and no stream${said === '' ? '' : `: ${said}`}`);
    return EXIT.failed;
  }
  if (named !== undefined) return { ...head, dialect: named, framing: framingOf(body) ?? named.framing };
  const found = detectDialect(body);
  if (found !== undefined) return { ...head, dialect: found.dialect, framing: found.framing };
  if (body.length === 0) {
    reportError(context, 'the capture is empty');
    return EXIT.interrupted;
  }
  throw new UsageError(
    `nothing in the capture shows its dialect: name it with --dialect, one of ${[...DIALECTS.keys()].join(', ')}`,
  );
}

/** How a body is framed whose dialect is known, as its first line shows. */
function framingOf(body: Uint8Array): Capture['framing'] | undefined {
  const first = /[^\s\uFEFF].*/.exec(new TextDecoder().decode(body.subarray(0, 4096)))?.[0] ?? '';
  if (/^(?::|(?:data|event|id|retry|error)(?::|$))/.test(first)) return 'sse';
  return /^[[{]/.test(first) ? 'ndjson' : undefined;
}

function parserFor(dialect: Dialect, framing: Capture['framing']): OperatorFunction<Uint8Array, WireEvent> {
  if (framing === 'sse') return parseSSE();
  // A single answer is one document, be it on many lines: there is no line end inside of a JSON text's strings.
  const isDocument = dialect.name === gatewayGenerateDialect().name;
  return (pieces) => (isDocument ? pieces.pipe(map(onOneLine)) : pieces).pipe(parseNDJSON());
}

function onOneLine(piece: Uint8Array): Uint8Array {
  return piece.map((byte) => (byte === 0x0a || byte === 0x0d ? 0x20 : byte));
}

function shown({ json, text }: ReplayOptions, { stdout, env }: CLIContext): OperatorFunction<StreamEvent, string> {
  if (text === true) return toTokens({ onRestart: 'ignore' });
  if (json === true) return map((event) => `${JSON.stringify(event)}\n`);
  const colors = colorsFor(stdout, env);
  return map((event) => `${eventLine(event, stdout.isTTY === true ? (stdout.columns ?? 80) : undefined, colors)}\n`);
}

/** The library names what a program can do; here it was done. */
function inReplay(message: string): string {
  return message.replace(/; decode\(dialect.*$/, '').replace(/; what was received is in `received`.*$/, '');
}

function whereItBroke(outcome: Outcome, { frames, frame, offset, unfinished }: CapturePlace): string {
  if (outcome === 'failed' && frame !== undefined) {
    return `frame ${String(frames)}, bytes ${String(frame.from)} to ${String(frame.to)}`;
  }
  const rest = unfinished === 0 ? '' : `, the last ${counted(unfinished, 'byte')} a frame that is not whole`;
  return `after frame ${String(frames)}, at byte ${String(offset)}${rest}`;
}

function counted(count: number, what: string): string {
  return `${String(count)} ${what}${count === 1 ? '' : 's'}`;
}

/** What was told so far. */
class Seen {
  events = 0;
  chars = 0;
  usage: UsageEvent | undefined;
  finish: string | undefined;
  #endsLine = true;

  note(event: StreamEvent): void {
    this.events += 1;
    if (event.type === 'usage') this.usage = event;
    if (event.type === 'finish') this.finish = event.rawReason ?? event.reason;
    if (event.type !== 'text') return;
    this.chars += event.text.length;
    this.#endsLine = event.text.endsWith('\n');
  }

  /** On a terminal what follows begins on a line of its own. */
  endLine({ text }: ReplayOptions, { stdout }: CLIContext): void {
    if (text === true && !this.#endsLine && stdout.isTTY === true) stdout.write('\n');
  }
}
