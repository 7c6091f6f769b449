import { isDeepStrictEqual } from 'node:util';
import { firstValueFrom, type Observable, type VirtualTimeScheduler } from 'rxjs';
import {
  HTTPError,
  InterruptedError,
  isMillraceError,
  isRetryable,
  LimitError,
  SinkError,
  StreamTimeoutError,
} from '../../src/errors.js';
import type { Call } from '../../src/protocol/call.js';
import { collect, type Collected } from '../../src/sinks/collect.js';
import { fromCall, type FromCallOptions } from '../../src/sources/fromCall.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import type { ProviderBaseURLs } from '../../src/testing/index.js';
import type { Receipt, StreamEvent, WireEvent } from '../../src/types.js';
import { bytesOf } from './chunks.js';
import type { Connection, FaultServer, Play, Wire } from './faultServer.js';
import type { Variant } from './variants.js';

/** A place in an answer. */
export type Point = (typeof points)[number];

/** The places at which something happens to an answer, from its beginning to behind its end. */
export const points = [
  'before the headers',
  'after the headers',
  'after the first byte',
  'inside an event',
  'inside a character',
  'between events',
  'inside the proof',
  'behind the proof',
  'after the end',
] as const;

/** How a stream must end. */
export interface Expected {
  /** `complete`, or the error's code. */
  readonly end: string;
  /** Where, which clock, which limit, which status: the member of the error that its class is about. */
  readonly of?: string | number | undefined;
  readonly isRetryable?: boolean | undefined;
  /** Bytes of the good answer that arrived before: the text of the frames in them must be there. None: nothing is known. */
  readonly bytes?: number | undefined;
  /** What became of the connection; none: there was none, or it is not ours to say. */
  readonly connection?: Connection | undefined;
  /** Words that the message must have. */
  readonly says?: readonly string[] | undefined;
  /** Members of the error, or of what was collected. */
  readonly has?: object | undefined;
  /** The whole text, where it is another one than the variant's. */
  readonly text?: string | undefined;
}

/** One request and what happens to its answer. */
export interface Case {
  readonly variant: Variant;
  readonly point?: Point | undefined;
  /** Answers the request for the stream; a case without one gets no further than the connection. */
  readonly play?: Play | undefined;
  /** Answers the request that creates the work, where there is one. */
  readonly submit?: Play | undefined;
  readonly options?: FromCallOptions | undefined;
  /** Where the request goes. @defaultValue the fault server */
  readonly url?: string | undefined;
  readonly call?: Call | undefined;
  /** Time is virtual; the case moves it. */
  readonly scheduler?: VirtualTimeScheduler | undefined;
  /** Where the text goes. @defaultValue memory */
  readonly sink?: ((events: Observable<StreamEvent>, key: string) => Observable<Receipt>) | undefined;
  /** Looks at what is left once all is over; throws where something is wrong. */
  readonly after?: ((key: string) => void) | undefined;
  /** The reader leaves when the answer has come so far: by itself, or by its signal. */
  readonly leaves?: 'unsubscribe' | 'signal' | undefined;
  readonly expected: Expected;
}

/** Servers, beside the one that every case asks. */
export interface World {
  readonly server: FaultServer;
  /** The same at another port. */
  readonly other: FaultServer;
  /** With TLS, by what is the matter with the certificate. */
  readonly secure: Readonly<Record<'good' | 'expired' | 'other', FaultServer>>;
  /** Where nobody listens. */
  readonly refused: string;
  /** A server that never says a word. */
  readonly mute: string;
}

/** A fault, and every case in which it is played. */
export interface FaultRow {
  readonly fault: string;
  readonly cases: (world: World) => readonly Case[];
}

/** What was seen. */
export interface Seen {
  readonly end: string;
  readonly of: string | number | undefined;
  readonly isRetryable: boolean | undefined;
  readonly connection: Connection | undefined;
}

/** Every provider's base URL at one origin. */
export function baseURLsAt(url: string): ProviderBaseURLs {
  return {
    infernet: url,
    infernetOrigin: url,
    infron: url,
    inferencesh: url,
    gateway: url,
    polargrid: url,
    openai: url,
    anthropic: url,
    gemini: url,
    ollama: url,
  };
}

/** Where the points of a variant's answer are, in bytes. */
export interface Layout {
  readonly body: Uint8Array;
  /** The end of each frame. */
  readonly borders: readonly number[];
  /** How much of it proves it whole. */
  readonly proven: number;
  readonly at: ReadonlyMap<Point, number>;
}

const layouts: Map<Variant, Layout> = new Map();

export function layoutOf(variant: Variant): Layout {
  const known = layouts.get(variant);
  if (known !== undefined) return known;
  const { frames, provenFrame } = variant.stream;
  const body = bytesOf(frames.join(''));
  let end = 0;
  const borders = frames.map((frame) => (end += bytesOf(frame).length));
  const start = (frame: number): number => borders[frame - 1] ?? 0;
  const inside = (frame: number): number => Math.floor((start(frame) + (borders[frame] ?? 0)) / 2);
  const texty = frames.findIndex((frame) => frame.includes('on – '));
  const proven = borders[provenFrame] ?? 0;
  const at: Map<Point, number> = new Map([
    ['after the headers', 0],
    ['after the first byte', 1],
    ['inside an event', inside(texty)],
    ['inside a character', Buffer.from(body).indexOf('🐎') + 2],
    ['between events', borders[texty] ?? 0],
    ['inside the proof', inside(provenFrame)],
    ['after the end', body.length],
  ]);
  if (provenFrame < frames.length - 1) at.set('behind the proof', inside(provenFrame + 1));
  const layout = { body, borders, proven, at };
  layouts.set(variant, layout);
  return layout;
}

/** What the whole frames among the first bytes of an answer say. */
export interface Within {
  readonly text: string;
  /** Behind it nothing is read any more. Some go on after their proof: for usage, for an error, or because they have no marker. */
  readonly isOver: boolean;
}

export function within(variant: Variant, bytes: number): Within {
  const last = layoutOf(variant).borders.findLastIndex((border) => border <= bytes);
  const frames = variant.stream.frames.slice(0, last + 1);
  const decoder = variant.ask(baseURLsAt('http://127.0.0.1:1')).dialect.decoder();
  let text = '';
  let isOver = false;
  const push = (event: WireEvent): void => {
    const answer = decoder.push(event, (told) => {
      if (told.type === 'text') text += told.text;
    });
    isOver ||= answer === 'done';
  };
  if (variant.framing === 'sse') createSSEParser().push(bytesOf(frames.join('')), push);
  else
    frames.forEach((data, index) => {
      push({ type: 'line', data: data.trim(), number: index + 1 });
    });
  return { text, isOver };
}

export function contentTypeOf({ framing }: Variant): string {
  return framing === 'sse' ? 'text/event-stream' : 'application/x-ndjson';
}

/** A status line and headers. */
export function head(lines: readonly string[], status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
}

/** One chunk of chunked coding; nothing for no bytes, since an empty chunk is the last one. */
export function chunk(bytes: string | Uint8Array): Uint8Array {
  const content = Buffer.from(bytes);
  if (content.length === 0) return content;
  return Buffer.concat([Buffer.from(`${content.length.toString(16)}\r\n`), content, Buffer.from('\r\n')]);
}

export const LAST_CHUNK = '0\r\n\r\n';

/** A whole answer with a length. */
export function whole(status: string, lines: readonly string[], body: string | Uint8Array): Uint8Array {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(head([...lines, `content-length: ${String(bytes.length)}`], status)), bytes]);
}

/** What creates the work of those variants that ask for it first; each reads what it knows. */
const CREATED = whole(
  '200 OK',
  ['content-type: application/json'],
  JSON.stringify({
    id: 'a1',
    jobId: '00000000-0000-4000-8000-000000000001',
    status: 'pending',
    streamUrl: '/api/chat/stream/00000000-0000-4000-8000-000000000001',
    user_message: { id: 'msg_1', chat_id: 'ch1' },
    assistant_message: { id: 'msg_2', chat_id: 'ch1' },
  }),
);

/** How long a case may take that ought to end by itself. */
const PATIENCE_MS = 15_000;

/** Asks servers and judges what comes of it. */
export class Player {
  readonly #cases: Map<string, Case> = new Map();
  readonly #wires: Map<string, Wire[]> = new Map();
  readonly #submitted: Map<string, Wire[]> = new Map();
  #played = 0;
  server: FaultServer | undefined;

  get played(): number {
    return this.#played;
  }

  /** What every server answers: the case is named by a header, or behind a redirect by the query. */
  readonly answer: Play = async (wire) => {
    const { headers, target } = wire.request;
    const key = headers['x-fault'] ?? target.searchParams.get('fault') ?? '';
    const each = this.#cases.get(key);
    const isStream = /event-stream|ndjson/.test(headers['accept'] ?? '');
    (isStream ? this.#wires : this.#submitted).get(key)?.push(wire);
    if (!isStream) await (each?.submit ?? ((to: Wire) => to.send(CREATED)))(wire);
    else await each?.play?.(wire);
  };

  /** The requests for the stream that a case made, the newest last. */
  wiresOf(key: string): readonly Wire[] {
    return this.#wires.get(key) ?? [];
  }

  callOf(each: Case, key: string): Call {
    return each.call ?? each.variant.ask(baseURLsAt(each.url ?? this.server?.url ?? ''), { 'x-fault': key });
  }

  /** Takes a case in, so that the server knows it. */
  open(each: Case): string {
    this.#played += 1;
    const key = `f${String(this.#played)}`;
    this.#cases.set(key, each);
    this.#wires.set(key, []);
    this.#submitted.set(key, []);
    return key;
  }

  /** Plays a case; throws where it does not end as it must. */
  async play(each: Case): Promise<Seen> {
    const key = this.open(each);
    const { scheduler, sink, variant } = each;
    const leaving = new AbortController();
    const options: FromCallOptions = {
      ...each.options,
      ...(scheduler && { scheduler }),
      ...(each.leaves === 'signal' && { signal: leaving.signal }),
    };
    const call = fromCall(this.callOf(each, key), options);
    const asked =
      each.leaves === 'unsubscribe'
        ? left(call, leaving.signal)
        : (sink === undefined ? collect(call) : firstValueFrom(sink(call, key))).catch((error: unknown) => error);
    this.#leavings.set(key, leaving);
    const end = await inTime(asked, `${variant.name}: the end`);
    const seen = await this.#judge(each, key, end);
    each.after?.(key);
    // Whatever waited for time waits no more.
    if (scheduler !== undefined && scheduler.actions.length > 0) throw new Error('a timer is left');
    this.#cases.delete(key);
    return seen;
  }

  /** The reader of a request leaves now; true when its connection is closed in the same turn. */
  leave(wire: Wire): boolean {
    this.#leavings.get(wire.request.headers['x-fault'] ?? '')?.abort();
    return wire.isLeft();
  }
  readonly #leavings: Map<string, AbortController> = new Map();

  async #judge({ variant, expected, submit }: Case, key: string, end: unknown): Promise<Seen> {
    const wire = (submit === undefined ? this.#wires : this.#submitted).get(key)?.at(-1);
    const seen: Seen = {
      ...(end === 'left'
        ? { end, of: undefined, isRetryable: undefined }
        : isCollected(end)
          ? { end: end.receipt.outcome, of: undefined, isRetryable: undefined }
          : isReceipt(end)
            ? { end: end.outcome, of: undefined, isRetryable: undefined }
            : { ...kindOf(end), isRetryable: isRetryable(end) }),
      connection:
        expected.connection === undefined || wire === undefined
          ? undefined
          : await inTime(wire.connection(expected.connection), `${variant.name}: the end of the connection`),
    };
    const wanted: Seen = {
      end: expected.end,
      of: expected.of,
      isRetryable: expected.isRetryable,
      connection: expected.connection,
    };
    if (!isDeepStrictEqual(seen, wanted)) {
      throw new Error(`${show(seen)} instead of ${show(wanted)}`, { cause: end });
    }
    if (end === 'left') return seen;
    const problem = isCollected(end)
      ? problemOfWhole(variant, expected, end)
      : isReceipt(end)
        ? problemOfMembers(expected.has, end)
        : problemOfError(variant, expected, end);
    if (problem !== undefined) throw new Error(problem, { cause: end });
    return seen;
  }
}

async function inTime<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late: Promise<never> = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what} did not come within ${String(PATIENCE_MS)} ms`));
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Leaves when the signal says so; rejects where something comes after that. */
function left(events: Observable<StreamEvent>, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const late = (): void => {
      if (signal.aborted) reject(new Error('something came after the reader had left'));
    };
    const subscription = events.subscribe({
      next: late,
      error: (error: unknown) => {
        late();
        resolve(error);
      },
      complete: () => {
        late();
        resolve('complete before anybody left');
      },
    });
    signal.addEventListener('abort', () => {
      subscription.unsubscribe();
      resolve('left');
    });
  });
}

function isReceipt(end: unknown): end is Receipt {
  return typeof end === 'object' && end !== null && !(end instanceof Error) && 'outcome' in end;
}

function isCollected(end: unknown): end is Collected {
  return typeof end === 'object' && end !== null && !(end instanceof Error) && 'receipt' in end;
}

function kindOf(error: unknown): Pick<Seen, 'end' | 'of'> {
  if (!isMillraceError(error)) return { end: String(error), of: undefined };
  return {
    end: error.code,
    of:
      error instanceof InterruptedError
        ? error.during
        : error instanceof StreamTimeoutError
          ? error.phase
          : error instanceof LimitError
            ? error.limit
            : error instanceof HTTPError
              ? error.status
              : error instanceof SinkError
                ? (error.context['code'] as string | undefined) // a system error's code is a string
                : undefined,
  };
}

function problemOfWhole(
  variant: Variant,
  expected: Expected,
  { text, receipt, ...rest }: Collected,
): string | undefined {
  if (text !== (expected.text ?? variant.text)) return `the text is ${JSON.stringify(text)}`;
  if (receipt.outcome !== 'complete') return `the receipt says ${receipt.outcome}`;
  return problemOfMembers(expected.has, rest);
}

function problemOfError(variant: Variant, expected: Expected, error: unknown): string | undefined {
  if (!isMillraceError(error)) return 'the error is not one of ours';
  const { received, receipt, message } = error;
  if (error instanceof SinkError) return receipt?.outcome === 'failed' ? undefined : 'the receipt does not say failed';
  if (received === undefined) return 'the error does not say what was received';
  const { text, chars, truncated } = received;
  if (chars !== text.length || truncated) return 'the received text is counted wrongly';
  const all = expected.text ?? variant.text;
  if (!all.startsWith(text)) return `${JSON.stringify(text)} was never sent`;
  const least = within(variant, expected.bytes ?? 0).text;
  if (!text.startsWith(least)) return `of ${JSON.stringify(least)} only ${JSON.stringify(text)} is there`;
  const outcome =
    { ERR_INTERRUPTED: 'interrupted', ERR_STREAM_TIMEOUT: 'interrupted', ERR_ABORTED: 'stopped' }[error.code] ??
    'failed';
  if (receipt?.outcome !== outcome) return `the receipt says ${String(receipt?.outcome)}`;
  if (receipt.chars !== text.length) return `the receipt counts ${String(receipt.chars)} characters`;
  const missing = expected.says?.find((words) => !message.includes(words));
  if (missing !== undefined) return `the message does not say ${missing}: ${message}`;
  if (/key-of-the-tests|fault=/.test(`${message} ${String(error.stack)}`)) return `a secret is in it: ${message}`;
  return problemOfMembers(expected.has, error);
}

function problemOfMembers(wanted: object = {}, found: object): string | undefined {
  for (const [name, value] of Object.entries(wanted)) {
    const is: unknown = Reflect.get(found, name);
    if (!isDeepStrictEqual(is, value)) return `${name} is ${show(is)} instead of ${show(value)}`;
  }
  return undefined;
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? 'undefined';
}
