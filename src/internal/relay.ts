import { io } from '#io';
import { asyncScheduler, type Observable, type SchedulerLike, type Subscriber, type Subscription } from 'rxjs';
import { AbortError, SinkError } from '../errors.js';
import { encoderFor } from '../protocol/encoderFor.js';
import {
  type EventEncoder,
  type EventSelection,
  type ResponseFormat,
  RestartNotTold,
} from '../protocol/eventFormat.js';
import type { Receipt, StreamEvent } from '../types.js';
import { type ErrorAnswer, errorAnswer, type ErrorResponse, withOverride } from './errorAnswer.js';
import { type Ending, Evidence, type Verdict } from './evidence.js';
import { leaveAs } from './flow.js';
import { draw } from './operate.js';
import { isEndId, isToldId, Rejoining } from './rejoining.js';
import { requireDelay, requireOneOf } from './require.js';
import { afterOf } from './storedAfter.js';
import { addFailure, tellEnding } from './tellEnding.js';

/** How a stream is told to somebody else's front end. @public */
export interface RelayOptions {
  /**
   * `'millrace'`: the events themselves, which `decode(millrace)` reads back. `'openai'`: chunks of a chat completion. `'ai-sdk'`: the UI
   * message stream of the Vercel AI SDK. `'text'`: the text of the first output alone.
   * @defaultValue `'millrace'`
   */
  readonly format?: ResponseFormat | undefined;
  /** What is sent beside the answer itself: raw frames, log lines and cost are not unless they are asked for. */
  readonly events?: EventSelection | undefined;
  /** The major version of the reader's AI SDK: 7 can take text back, which a restart needs. @defaultValue 6 */
  readonly aiSDKVersion?: 6 | 7 | undefined;
  /** What the reader is told of the model, where the format has a place for it. @defaultValue the call's */
  readonly model?: string | undefined;
  /** Names the answer, where the format has a place for it. @defaultValue made by `random` */
  readonly id?: string | undefined;
  /**
   * What the reader is told of a failure, in place of the default. Called once for each; an override that throws, or that cannot be
   * sent, is a warning, and the default is told.
   */
  readonly errorResponse?: ((error: unknown) => ErrorResponse | undefined) | undefined;
  /**
   * The head goes out with the first content, and after so long without it: until then a failure can become a status. From 0 (at
   * once) to 2^31-1; `Infinity`: not on time alone.
   * @defaultValue 15,000: later than a `firstContentMs` should be, and earlier than hosts give up on a silent server (25 s and more)
   */
  readonly headersAfterMs?: number | undefined;
  /**
   * A comment goes out when nothing was written for so long, between two events. From 1 to 2^31-1; `Infinity` for none. The format
   * `'text'` has no comments.
   * @defaultValue 15,000: what the HTML standard recommends
   */
  readonly heartbeatMs?: number | undefined;
  /**
   * What an `EventSource` has that comes back: in the format `'millrace'` it is not told again. The last id of an answer that has
   * ended is answered 204, and nothing is asked.
   * @defaultValue the request's own, where it is a GET
   */
  readonly lastEventId?: string | undefined;
  /** Chance, from 0 to below 1. @defaultValue `Math.random` */
  readonly random?: (() => number) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** What is known of the request that is answered. */
export interface RelayRequest {
  readonly method: string | undefined;
  readonly lastEventId: string | undefined;
}

/** Why nothing can be sent. */
export type Obstacle = 'left' | SinkError;

/** Hears of an outlet. */
export interface OutletListener {
  /** There is room again. */
  onRoom(): void;
  /** The last byte is out, or the cut was made. */
  onDone(): void;
  /** The reader has gone. */
  onLeft(): void;
  onFailure(error: SinkError): void;
}

/** One response, whatever it is to its platform. */
export interface Outlet {
  /** Asked before anything else. */
  open(listener: OutletListener): Obstacle | undefined;
  /** Sends the head, and a first piece that may be empty. @returns false where it is full */
  begin(status: number, headers: Readonly<Record<string, string>>, piece: Uint8Array): boolean;
  /** @returns false where it is full */
  write(piece: Uint8Array): boolean;
  /** Ends it well. */
  end(): void;
  /** Ends it so that the reader knows that something is missing, when what was written is out. */
  cut(): void;
  /** It is over: nothing is heard of it any more. */
  close(): void;
}

/** Characters that may wait for the head: states of a task that has no content yet. More of them are sent; chosen. */
const MAX_HELD_CHARS = 65_536;
/** Characters that are gathered from one turn of the source before they are written: Node's own mark for a full stream. */
const MAX_GATHERED_CHARS = 16_384;

/** What can be shown only with the head, and is no reason to send it: an upstream that says so may fail yet. */
const PREAMBLE: ReadonlySet<StreamEvent['type']> = new Set(['status', 'heartbeat', 'usage', 'warning', 'raw']);

/** For what comes right after this turn, as in `flow.ts`. */
const endOfTurn: Promise<void> = Promise.resolve();

interface Settled extends RelayOptions {
  readonly format: ResponseFormat;
  readonly headersAfterMs: number;
  readonly heartbeatMs: number;
  readonly scheduler: SchedulerLike;
}

/** Throws TypeError or RangeError for options that cannot be used. */
export function readRelayOptions(options: RelayOptions): Settled {
  const { format = 'millrace', aiSDKVersion = 6, headersAfterMs = 15_000, heartbeatMs = 15_000 } = options;
  const { errorResponse, lastEventId, scheduler = asyncScheduler } = options;
  requireOneOf('format', format, ['millrace', 'openai', 'ai-sdk', 'text']);
  requireOneOf('aiSDKVersion', String(aiSDKVersion), ['6', '7']);
  if (headersAfterMs !== Infinity) requireDelay(0, { headersAfterMs });
  if (heartbeatMs !== Infinity) requireDelay(1, { heartbeatMs });
  if (errorResponse !== undefined && typeof errorResponse !== 'function') {
    throw new TypeError(`errorResponse must be a function, got ${typeof errorResponse}`);
  }
  if (lastEventId !== undefined && typeof lastEventId !== 'string') {
    throw new TypeError(`lastEventId must be text, got ${typeof lastEventId}`);
  }
  return { ...options, format, headersAfterMs, heartbeatMs, scheduler };
}

/**
 * One stream on its way to somebody else's front end: what the doors to `node:http` and to the Fetch API share. It decides what is told
 * and when; an {@link Outlet} carries it.
 */
export class Relay implements OutletListener {
  readonly #options: Settled;
  readonly #request: RelayRequest;
  readonly #outlet: Outlet;
  readonly #subscriber: Subscriber<Receipt>;
  readonly #evidence = new Evidence('sink');
  readonly #bytesOf = new TextEncoder();

  #encoder: EventEncoder | undefined;
  #rejoining: Rejoining | undefined;
  #isJoined = false;
  #upstream: Subscription | undefined;
  #headTimer: Subscription | undefined;
  #heartbeat: Subscription | undefined;
  #ending: Ending = { kind: 'left' };
  /** What the source's ending means, once it has ended. */
  #verdict: Verdict | undefined;
  /** Set when nothing can be sent any more, to what that means. */
  #lost: Verdict | undefined;
  #isTold = false;
  /** The reader has all of it already. */
  #isSkipped = false;

  /** The head of a success is on its way: from here on a failure is told in band. */
  #hasHead = false;
  /** The head has been given to the outlet. */
  #hasBegun = false;
  /** What waits for the head. */
  #held = '';
  /** What waits for the end of the turn. */
  #gathered = '';
  #isGathering = false;
  #isFull = false;
  #writtenAt = 0;
  /** Text of the answer that was told; where this answer began. */
  #chars = 0;
  #charsBefore = 0;
  #bytes = 0;

  constructor(options: Settled, request: RelayRequest, outlet: Outlet, subscriber: Subscriber<Receipt>) {
    this.#options = options;
    this.#request = request;
    this.#outlet = outlet;
    this.#subscriber = subscriber;
  }

  start(source: Observable<StreamEvent | string>): void {
    const obstacle = this.#outlet.open(this);
    if (obstacle !== undefined) {
      this.#lost = obstacle === 'left' ? LEFT : { outcome: 'failed', error: obstacle };
      this.#tell(this.#lost);
      return;
    }
    if (this.#request.method === 'HEAD') {
      // It wants none of the answer, and asking for one costs money.
      this.#answer(LEFT, 405, { allow: 'GET, POST' });
      return;
    }
    const lastEventId = this.#lastEventId();
    if (lastEventId !== undefined && isEndId(lastEventId)) {
      this.#isSkipped = true;
      this.#answer({ outcome: 'complete' }, 204, {});
      return;
    }
    if (lastEventId !== undefined) this.#rejoining = new Rejoining(lastEventId);
    draw<StreamEvent | string>(source, this.#subscriber, this.#evidence.scope, (upstream) => {
      this.#upstream = upstream;
      return {
        next: (item) => {
          this.#guard(() => {
            this.#take(item);
          });
        },
        error: (error) => {
          this.#evidence.currentFlow();
          this.#ending = { kind: 'error', error };
        },
        complete: () => {
          this.#evidence.currentFlow();
          this.#ending = { kind: 'complete' };
          this.#guard(() => {
            this.#join();
            for (const event of this.#rejoining?.end() ?? []) this.#send(event);
          });
        },
        left: () => {
          this.#conclude();
        },
      };
    });
    this.#waitForHead();
  }

  /** The id that the reader came with, `''` for none; undefined where events carry no ids that could be come back with. */
  #lastEventId(): string | undefined {
    if (this.#options.format !== 'millrace') return undefined;
    const { method, lastEventId } = this.#request;
    // EventSource asks by GET, and nothing else comes back by itself.
    return this.#options.lastEventId ?? (method === 'GET' ? (lastEventId ?? '') : undefined);
  }

  /** A stored stream may be read on from where its reader is, which the request need not say. */
  #join(): void {
    if (this.#isJoined) return;
    this.#isJoined = true;
    if (this.#options.format !== 'millrace') return;
    const after = afterOf(this.#evidence.currentFlow()?.facts.call);
    const lastEventId = this.#lastEventId() ?? '';
    // An EventSource comes back to the same URL with what it had last, which is more than that says.
    if (after === undefined || (lastEventId !== '' && lastEventId !== after)) return;
    this.#rejoining = isToldId(after) ? new Rejoining(after) : new Rejoining('', true);
  }

  readonly onRoom = (): void => {
    this.#isFull = false;
    this.#evidence.scope.release();
  };

  readonly onDone = (): void => {
    if (this.#verdict !== undefined) this.#tell(this.#verdict);
  };

  readonly onLeft = (): void => {
    this.#lose(LEFT);
  };

  readonly onFailure = (error: SinkError): void => {
    this.#lose({ outcome: 'failed', error });
  };

  #lose(verdict: Verdict): void {
    if (this.#lost !== undefined || this.#isTold) return;
    this.#lost = verdict;
    if (this.#verdict !== undefined) {
      this.#tell(this.#verdict.outcome === 'stopped' ? this.#verdict : addFailure(this.#verdict, verdict));
      return;
    }
    leaveAs('stop', verdict.by ?? 'unsubscribe', () => {
      this.#upstream?.unsubscribe();
    });
  }

  /** What goes wrong in telling ends the stream, and the reader hears of it first. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#ending = { kind: 'error', error: error instanceof RestartNotTold ? untold(error) : error };
      this.#upstream?.unsubscribe();
    }
  }

  #take(item: StreamEvent | string): void {
    this.#evidence.note(item);
    this.#join();
    if (this.#rejoining === undefined) {
      this.#send(item);
      return;
    }
    if (item === '') return;
    const event: StreamEvent = typeof item === 'string' ? { type: 'text', text: item, index: 0, name: 'output' } : item;
    const { raw = false, log = false } = this.#options.events ?? {};
    if ((event.type === 'raw' && !raw) || (event.type === 'log' && !log)) return;
    for (const told of this.#rejoining.take(event)) this.#send(told);
  }

  #send(item: StreamEvent | string): void {
    const type = typeof item === 'string' ? 'text' : item.type;
    if (type === 'restart' && this.#isUnseen) {
      // The reader has seen nothing, and need not know.
      this.#encoder = undefined;
      if (this.#rejoining !== undefined) this.#rejoining = new Rejoining('');
      this.#held = '';
      this.#chars = this.#charsBefore;
      return;
    }
    const encoder = this.#useEncoder();
    const encoded = this.#named(item, encoder.encode(item));
    this.#count(item, encoded !== '');
    if (this.#hasHead) {
      this.#gather(encoded);
      return;
    }
    this.#held += encoded;
    const isContent = encoded !== '' && !PREAMBLE.has(type);
    if (isContent || this.#held.length > MAX_HELD_CHARS) this.#sendHead();
  }

  /** Nothing was told of this answer, here or on a connection before. */
  get #isUnseen(): boolean {
    return !this.#hasHead && this.#rejoining?.hasReader !== true;
  }

  /** Made with the first event: the call's model is known by then. */
  #useEncoder(): EventEncoder {
    const { events = {}, aiSDKVersion = 6, format, scheduler, random = Math.random } = this.#options;
    this.#encoder ??= encoderFor(format, {
      events,
      aiSDKVersion,
      model: this.#options.model ?? this.#evidence.currentFlow()?.facts.model,
      messageId: this.#options.id,
      id: this.#options.id ?? `millrace-${madeName(random)}`,
      createdAt: Math.floor(scheduler.now() / 1000),
    });
    return this.#encoder;
  }

  /** An event under the id by which its reader can come back. */
  #named(item: StreamEvent | string, encoded: string): string {
    if (this.#rejoining === undefined || typeof item === 'string' || !encoded.startsWith('id: ')) return encoded;
    return withId(encoded, this.#rejoining.idOf(item));
  }

  #count(item: StreamEvent | string, isTold: boolean): void {
    if (typeof item === 'string') this.#chars += item.length;
    else if (item.type === 'text' && isTold) this.#chars += item.text.length;
    else if (item.type === 'restart') this.#chars = this.#charsBefore;
    else if (item.type === 'finish') this.#charsBefore = this.#chars;
  }

  #waitForHead(): void {
    const { headersAfterMs, scheduler } = this.#options;
    if (this.#hasHead || this.#verdict !== undefined || headersAfterMs === Infinity) return;
    const send = (): void => {
      this.#sendHead();
      this.#flush();
    };
    if (headersAfterMs === 0) send();
    else this.#headTimer = scheduler.schedule(send, headersAfterMs);
  }

  /** From here on the answer is a success, as far as its status tells. */
  #sendHead(): void {
    if (this.#hasHead) return;
    this.#hasHead = true;
    this.#headTimer?.unsubscribe();
    this.#gather(this.#useEncoder().open() + this.#held);
    this.#held = '';
    this.#startHeartbeat();
  }

  /** What one chunk of the upstream brings is written together, when all of it has come. */
  #gather(encoded: string): void {
    this.#gathered += encoded;
    if (this.#gathered.length >= MAX_GATHERED_CHARS) {
      this.#flush();
      return;
    }
    if (this.#isGathering || (encoded === '' && this.#hasBegun)) return;
    this.#isGathering = true;
    void endOfTurn.then(() => {
      this.#isGathering = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#lost !== undefined || (this.#hasBegun && this.#gathered === '')) return;
    const piece = this.#bytesOf.encode(this.#gathered);
    this.#gathered = '';
    this.#writtenAt = this.#options.scheduler.now();
    this.#bytes += piece.length;
    this.#isFull = true; // it may have room again before it has said that it is full
    const hasBegun = this.#hasBegun;
    this.#hasBegun = true;
    let hasRoom = true;
    try {
      hasRoom = hasBegun ? this.#outlet.write(piece) : this.#outlet.begin(200, this.#useEncoder().headers, piece);
    } catch (cause) {
      this.#outlet.cut();
      this.onFailure(new SinkError('The response could not be written', { cause }));
    }
    if (hasRoom) this.#isFull = false;
    else if (this.#isFull && this.#verdict === undefined) this.#evidence.scope.pause();
  }

  /** One timer, however much is written: when it is due it looks when that was. */
  #startHeartbeat(): void {
    const { heartbeatMs, scheduler } = this.#options;
    if (heartbeatMs === Infinity || this.#useEncoder().heartbeat('') === '') return;
    this.#writtenAt = scheduler.now();
    const wait = (delayMs: number): void => {
      this.#heartbeat = scheduler.schedule(() => {
        const left = this.#writtenAt + heartbeatMs - scheduler.now();
        if (left > 0) {
          wait(left);
          return;
        }
        // A reader that does not read what it has is in no need of more.
        if (!this.#isFull) {
          this.#gathered += this.#useEncoder().heartbeat('keep-alive');
          this.#flush();
        }
        if (this.#verdict === undefined && this.#lost === undefined) wait(heartbeatMs);
      }, delayMs);
    };
    wait(heartbeatMs);
  }

  /** The source is gone, and everything above was torn down. */
  #conclude(): void {
    this.#headTimer?.unsubscribe();
    this.#heartbeat?.unsubscribe();
    this.#evidence.scope.release();
    const verdict = this.#evidence.judge(this.#ending);
    this.#verdict = verdict;
    if (this.#lost !== undefined) {
      this.#tell(addFailure(verdict, this.#lost));
      return;
    }
    try {
      this.#sendEnd(verdict);
    } catch (error) {
      // Of the outlet, or of an event that has no form: nothing can be said any more.
      const failure =
        error instanceof SinkError ? error : new SinkError('The response could not be ended', { cause: error });
      this.#outlet.cut();
      this.#lose({ outcome: 'failed', error: failure });
    }
  }

  #sendEnd(verdict: Verdict): void {
    const { outcome } = verdict;
    if (outcome === 'complete') this.#sendHead();
    const error = 'error' in verdict ? verdict.error : new AbortError('The stream was stopped before its end');
    if (!this.#hasHead) {
      const { status, headers, code, message } = this.#errorAnswer(error);
      this.#answerError(status, headers, { code, message });
      return;
    }
    const encoder = this.#useEncoder();
    if (outcome === 'complete') {
      this.#finish(encoder.close({ outcome, receipt: this.#receipt(verdict) }), true);
    } else if (encoder.failsByCutting) {
      this.#flush();
      this.#outlet.cut();
    } else if (outcome === 'stopped') {
      this.#finish(encoder.close({ outcome, receipt: this.#receipt(verdict) }), true);
    } else {
      const told = this.#errorAnswer(error);
      // One that may be whole when it is asked for again can be come back to.
      this.#finish(encoder.fail(told), !told.retryable);
    }
  }

  /** @param isFinal - a reader that comes back with this has nothing more to ask for */
  #finish(last: string, isFinal: boolean): void {
    const id = isFinal ? this.#rejoining?.endId() : undefined;
    this.#gathered += this.#rejoining === undefined ? last : withId(last, id);
    this.#flush();
    this.#outlet.end();
  }

  #answerError(status: number, headers: Readonly<Record<string, string>>, error: object): void {
    const body = this.#bytesOf.encode(JSON.stringify({ error }));
    this.#bytes += body.length;
    this.#hasBegun = true;
    this.#outlet.begin(
      status,
      {
        'content-type': 'application/json; charset=utf-8',
        'content-length': String(body.length),
        'cache-control': 'no-store',
        ...headers,
      },
      body,
    );
    this.#outlet.end();
  }

  /** Answers without asking. */
  #answer(verdict: Verdict, status: number, headers: Readonly<Record<string, string>>): void {
    this.#verdict = verdict;
    this.#outlet.begin(status, headers, NO_BYTES);
    this.#outlet.end();
  }

  #errorAnswer(error: unknown): ErrorAnswer {
    const told = errorAnswer(error);
    // The official OpenAI clients ask again after any 5xx, unless they are told not to.
    const hint = this.#options.format === 'openai' ? { 'x-should-retry': String(told.retryable) } : {};
    const answer = { ...told, headers: { ...told.headers, ...hint } };
    try {
      return withOverride(answer, this.#options.errorResponse?.(error));
    } catch (failure) {
      io.warn(`errorResponse failed, and the reader was told the default: ${String(failure)}`);
      return answer;
    }
  }

  #receipt(verdict: Verdict): Receipt {
    // What is gathered stands before an end that holds a receipt.
    const bytes = this.#bytes + this.#bytesOf.encode(this.#gathered).length;
    const written = { where: 'response', chars: this.#chars, bytes };
    const receipt = this.#evidence.receipt(verdict, written);
    return this.#isSkipped ? { ...receipt, skipped: true } : receipt;
  }

  #tell(verdict: Verdict): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#gathered = ''; // never written
    this.#outlet.close();
    tellEnding(this.#evidence, this.#subscriber, verdict, this.#receipt(verdict));
  }
}

const LEFT: Verdict = { outcome: 'stopped', by: 'reader' };
const NO_BYTES = new Uint8Array(0);

function untold(cause: RestartNotTold): SinkError {
  return new SinkError('The answer began anew, and the text that the response was given cannot be unsaid', {
    context: { because: 'restart' },
    cause,
  });
}

/** A block under another id than its own, or under none. */
function withId(block: string, id: string | undefined): string {
  const rest = block.startsWith('id: ') ? block.slice(block.indexOf('\n') + 1) : block;
  return id === undefined ? rest : `id: ${id}\n${rest}`;
}

function madeName(random: () => number): string {
  return [0, 1]
    .map(() =>
      Math.floor(random() * 2 ** 52)
        .toString(36)
        .padStart(11, '0'),
    )
    .join('');
}
