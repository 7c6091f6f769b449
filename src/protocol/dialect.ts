import { Templates } from '#templates';
import { ProtocolError, ProviderError } from '../errors.js';
import type { ChoiceFinish, FinishReason, HeartbeatEvent, RawEvent, StreamEvent, WireEvent } from '../types.js';
import { type ErrorReport, isRecord, readErrorBody } from './errorBody.js';
import { Delivered, Replay } from './replay.js';
import type { StandardSchema } from './standardSchema.js';
import type { Shortcut } from './shortcut.js';
import type { TemplateOffer, TemplateShape, TemplateUse } from './template.js';
import { validate } from './validate.js';

/** Takes one decoded event; called in order, synchronously. @public */
export type Emit = (event: StreamEvent) => void;

/**
 * How far the evidence goes. `open`: a cut here is an interruption. `proven`: the provider has said that the answer is
 * whole, and only extras (usage, an end marker) are awaited. `done`: nothing more is expected, `finish` is out.
 *
 * After a reconnect also: `ended`: this connection has nothing more to tell and proves nothing, what is stored decides.
 * `reopen`: the replay is of another answer; the stream is to be opened once more, to have all of it.
 * @public
 */
export type Proof = 'open' | 'proven' | 'done' | 'ended' | 'reopen';

/** Decodes one stream. Pure and synchronous: no clock, no I/O. @public */
export interface Decoder {
  /**
   * Decodes one event of the wire, which is good until it returns. Emits `finish` last, and only when it returns `done`. Throws ProviderError for a failure
   * reported in the stream, ProtocolError or ValidationError for a malformed frame; after the latter two it can go on.
   */
  push(event: WireEvent, emit: Emit): Proof;
  /**
   * The transport is over. True when the answer is complete, after emitting what closes it (warnings, `finish`); false after
   * emitting what `release` does.
   * @param intact - the HTTP framing itself said that the body is whole
   */
  end(intact: boolean, emit: Emit): boolean;
  /** The stream failed in another way: emits text that was held back. A decoder that holds none needs no such method. */
  release?(emit: Emit): void;
  /** The answer to the request that created the work, where work is created first and streamed after. */
  submitted(answer: unknown, emit: Emit): void;
  /** What follows comes over a new connection to the same work. */
  reattached?(): void;
  /** The work as it is stored, read after a reconnect; throws as `push` does. */
  stored?(work: unknown, emit: Emit): Proof;
  /** What the stream itself said it is, and how far it has told; `undefined` where it said nothing. */
  readonly place?: StreamPlace | undefined;
  /** How many frames a template decoded, see {@link DialectStream.template}: for measurements. In a page none. */
  readonly templated?: number | undefined;
  /** What a parser whose events go to this decoder alone may ask. @internal */
  readonly shortcut?: Shortcut | undefined;
}

/** How a decoder works. @public */
export interface DecoderOptions {
  /** False: every frame is parsed, validated and decoded, whatever it is like. @defaultValue `true` in Node; a page has no templates */
  readonly templates?: boolean | undefined;
}

/** What a stream says it is: enough to open it again. @public */
export interface StreamPlace {
  /** The id of the work or the answer. */
  readonly id: string;
  /** The place in its stream that the last event had; a server can go on after it. */
  readonly cursor?: string | undefined;
}

/**
 * How an answer becomes the assistant's turn of the next request, in the provider's own form. It sees what `accumulate` keeps:
 * text, thinking and refusals (pieces that follow one another in one output are joined), whole tool calls, tool results, media,
 * and the raw frames that it needs; no alternative answers.
 * @public
 */
export interface TurnOptions<Turn> {
  /** Whether a raw frame holds a part of the turn, such as a signature. @defaultValue none does */
  readonly needs?: ((raw: RawEvent) => boolean) | undefined;
  readonly build: (events: readonly StreamEvent[]) => Turn;
}

/** How one wire format is decoded, and how its streams end. @public */
export interface Dialect<Turn = unknown> {
  readonly name: string;
  /** The framing to assume where a server's content type does not tell. */
  readonly framing: 'sse' | 'ndjson';
  /** Starts decoding one stream; no state is shared between decoders. */
  decoder(options?: DecoderOptions): Decoder;
  /** How an answer is given back; absent where the format knows no conversation. */
  readonly turn?: TurnOptions<Turn> | undefined;
}

/** A heartbeat in place of a piece of the answer that is left out: it was told before, or its place is not known. The work moves. @public */
export const MOVED: HeartbeatEvent = { type: 'heartbeat', comment: '' };

/** What a dialect's functions do to the stream they decode. @public */
export interface DialectStream<State> {
  /** This stream's own, from `start()`. */
  readonly state: State;
  /** The name of the server-sent event being decoded; `message` where it has none, and on NDJSON. */
  readonly event: string;
  /** The last event id on the wire; it stays until the server sets another. Empty where there is none, and on NDJSON. */
  readonly id: string;
  emit(event: StreamEvent): void;
  /** The answer is whole: proven from here on. May be said again; the last word wins. */
  prove(reason: FinishReason, rawReason?: string, choices?: readonly ChoiceFinish[]): void;
  /** Takes `prove` back: the answer goes on after all (another choice has begun). */
  reopen(): void;
  /** Nothing more is expected: emits `finish`; the subscriber completes at once. Proves with `unknown` if nothing was proven. */
  done(): void;
  /**
   * Ends the stream as failed; never returns.
   * @param retryable - whether asking again can help, where the dialect's own rule is not meant
   */
  fail(report: ErrorReport, frame: unknown, retryable?: boolean): never;
  /**
   * Notes what the stream said it is, for opening it again.
   * @param cursor - the place of this frame, where a server can go on after it
   */
  identify(id: string, cursor?: string | number): void;
  /** After a reconnect: this connection has nothing more to tell; the work as it is stored is read instead. */
  askStored(): void;
  /**
   * Emits what the whole answer adds to what was delivered of it: nothing, its missing end, or, where it is another one,
   * `restart` and all of it. What was held back is in it, so `flush` is not called. For dialects with `reattach: 'unknown'`.
   */
  settle(whole: { readonly text: string; readonly thinking?: string }, because: string): void;
  /**
   * Says, inside of `decode`, what a frame does that is like this one but for its text: to do that is a tenth of the work of parsing it.
   * A page parses every frame.
   * Frames with another event name, another key, or another value anywhere but in the members of `shape`, are not alike.
   *
   * `use` must do exactly what `decode` would, for every text that is not empty; what it takes for granted of the state it has to look at,
   * and to return false where that has changed. Neither the schema of a frame nor `error` is asked about such a text. Of several in one
   * frame the last counts. `checkTemplates` of `millrace/testing` tries it.
   */
  template(shape: TemplateShape, use: TemplateUse): void;
}

/** A wire format, as `dialect` takes it. @public */
export interface DialectOptions<Frame, State, Turn = unknown> {
  /** Stands in messages and errors. @defaultValue `'custom'` */
  readonly name?: string | undefined;
  /** @defaultValue `'sse'` */
  readonly framing?: 'sse' | 'ndjson' | undefined;
  /** The JSON of one frame; loose, so that keys unknown today pass. Any Standard Schema; ours are `zod/mini`. */
  readonly frame: StandardSchema<Frame>;
  /**
   * Which JSON values are decoded. `'objects'`: anything else arrives as `raw`. `'any'`: lists and bare values are decoded too.
   * @defaultValue `'objects'`
   */
  readonly values?: 'objects' | 'any' | undefined;
  /**
   * What the data of an event is. `'json'`: a frame in JSON. `'text'`: the text itself, which goes to `frame` and `decode` as it came,
   * white space and all; an event named `error` is a failure. @defaultValue `'json'`
   */
  readonly data?: 'json' | 'text' | undefined;
  /** Makes the state of one stream. @defaultValue a stream has none */
  readonly start?: (() => State) | undefined;
  /** Translates one frame. A frame for which it emits nothing and proves nothing arrives as `raw`. */
  readonly decode: (frame: Frame, stream: DialectStream<State>) => void;
  /** Reads a failure from a frame before anything else is read; @defaultValue a non-null `error` key, or an event named `error` */
  readonly error?: ((frame: Readonly<Record<string, unknown>>, event: string) => ErrorReport | undefined) | undefined;
  /** Whether asking again can help. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /**
   * Reads a line whose field the SSE standard does not know; false leaves it to the rule for all.
   * @defaultValue a field named `error` is a failure, another arrives as `raw`
   */
  readonly unknown?: ((field: string, value: string, stream: DialectStream<State>) => boolean) | undefined;
  /** The data of the event that ends a stream, compared exactly after trimming, such as `[DONE]`. */
  readonly marker?: string | undefined;
  /**
   * Data that means nothing in this format, compared as `marker` is, such as the `[DONE]` that gateways put behind every stream (no JSON object): it
   * arrives as a heartbeat. @defaultValue none
   */
  readonly fillers?: readonly string[] | undefined;
  /**
   * What the marker proves when nothing was proven before it. `'whole'`: it is the format's own proof. `'doubtful'`: complete
   * with finish `unknown` and the warning `finish-reason-missing`. `'nothing'`: a server sends it whenever its stream closes.
   * @defaultValue `'whole'`
   */
  readonly markerAlone?: 'whole' | 'doubtful' | 'nothing' | undefined;
  /** `'eof'`: the format has no sign of its end, so intact HTTP framing is the proof. @defaultValue `'proof'` */
  readonly end?: 'proof' | 'eof' | undefined;
  /** Called before the `finish` event: emit what was held back (tool calls, a partial tag). */
  readonly flush?: ((stream: DialectStream<State>) => void) | undefined;
  /** The stream ended without proof, or failed: emit text that was held back, and nothing that must be whole. */
  readonly release?: ((stream: DialectStream<State>) => void) | undefined;
  /** Reads the answer to the request that created the work. @defaultValue it arrives as `raw` */
  readonly submitted?: ((answer: unknown, stream: DialectStream<State>) => void) | undefined;
  /**
   * What a new connection to the same work shows. `'state'`: its state now, which `decode` merges with the state that it has, and
   * what follows. `'replay'`: its stream from the start; the state begins anew, and what was delivered is matched and left out.
   * `'unknown'`: perhaps the one, perhaps the other, perhaps another answer: text passes only where it surely follows what
   * was delivered, its end proves nothing, and `stored` decides. @defaultValue `'state'`
   */
  readonly reattach?: 'state' | 'replay' | 'unknown' | undefined;
  /** Called before the first frame of a new connection. */
  readonly reattached?: ((stream: DialectStream<State>) => void) | undefined;
  /** Reads the work as it is stored. @defaultValue it arrives as `raw` */
  readonly stored?: ((work: unknown, stream: DialectStream<State>) => void) | undefined;
  /** How an answer is given back as the assistant's turn. @defaultValue the format knows no conversation */
  readonly turn?: TurnOptions<Turn> | undefined;
}

/**
 * Describes a wire format once; what is common to all is done here: comments become heartbeats, the end marker is compared
 * exactly, failures are read first and in every framing, frames are validated at the edge, what is unknown arrives as `raw`.
 *
 * @example An API whose frames are `{"piece": "text"}` and whose last frame is `{"over": true}`
 * ```ts
 * const api = dialect({
 *   name: 'example',
 *   frame: z.looseObject({ piece: z.optional(z.string()), over: z.optional(z.boolean()) }),
 *   decode: (frame, stream) => {
 *     if (frame.piece) stream.emit({ type: 'text', text: frame.piece, index: 0, name: 'output' });
 *     if (frame.over) { stream.prove('stop'); stream.done(); }
 *   },
 * });
 * ```
 * @public
 */
export function dialect<Frame, State = undefined, Turn = unknown>(
  options: DialectOptions<Frame, State, Turn>,
): Dialect<Turn> {
  const { name = 'custom', framing = 'sse', turn, marker, fillers = [] } = options;
  // A marker that is JSON itself may look like a frame.
  const mayLookAlike = [marker ?? [], fillers].flat().some((text) => typeof parsed(text) !== 'string');
  return {
    name,
    framing,
    decoder: ({ templates = true } = {}) => new DialectDecoder(name, options, templates && !mayLookAlike),
    ...(turn && { turn }),
  };
}

interface Finish {
  readonly reason: FinishReason;
  readonly rawReason: string | undefined;
  readonly choices: readonly ChoiceFinish[] | undefined;
}

class DialectDecoder<Frame, State> implements Decoder, DialectStream<State> {
  state: State;
  event = 'message';
  id = '';
  #workId: string | undefined;
  #cursor: string | number | undefined;
  /** How many frames a template decoded. */
  templated = 0;
  readonly #name: string;
  readonly #options: DialectOptions<Frame, State>;
  readonly #templates: Templates | undefined;
  /** What the frame that is being decoded says of frames like it. */
  #offer: TemplateOffer | undefined;
  #emit: Emit = ignore;
  /** What was delivered, where a new connection may tell it again. */
  readonly #delivered: Delivered | undefined;
  #replay: Replay | undefined;
  /** The next connection is read from its start, and voids what was delivered. */
  #isAnotherAnswer = false;
  #hasEnded = false;
  /** What is being read is the work as it is stored. */
  #isStored = false;
  /** The whole answer was told by `settle`: what the stream made the dialect hold back is in it. */
  #isSettled = false;
  /** What is emitted is no part of the stream, and no replay of the stream repeats it. */
  #isAside = false;
  /** Counts what a frame brought about: a frame that does nothing is handed on as `raw`. */
  #effects = 0;
  #finish: Finish | undefined;
  #done = false;
  /** The last line was cut: the body is not whole, whatever its framing says. */
  #isCut = false;

  constructor(name: string, options: DialectOptions<Frame, State>, templates: boolean) {
    this.#name = name;
    this.#options = options;
    this.#templates = templates ? new Templates() : undefined;
    this.state = this.#begin();
    if (options.reattach === 'replay' || options.reattach === 'unknown') this.#delivered = new Delivered();
  }

  push(event: WireEvent, emit: Emit): Proof {
    if (this.#done || this.#hasEnded) return this.#proof();
    this.#emit = emit;
    switch (event.type) {
      case 'event':
        this.event = event.event;
        this.id = event.id;
        if (event === this.#templates?.event && this.#templates.useMatched()) this.templated += 1;
        else this.#data(event.data);
        break;
      case 'line':
        this.event = 'message';
        if (event === this.#templates?.line && this.#templates.useMatched()) this.templated += 1;
        else this.#data(event.data, event.unterminated);
        break;
      case 'comment':
        emit({ type: 'heartbeat', comment: event.comment });
        break;
      case 'unknown':
        this.#unknownField(event.field, event.value);
        break;
      case 'retry':
        break; // an instruction to the transport, not part of the answer
    }
    return this.#proof();
  }

  end(intact: boolean, emit: Emit): boolean {
    if (this.#done) return this.#proof() === 'done';
    this.#emit = emit;
    const isProven = this.#finish !== undefined;
    const isEnd = isProven || (this.#options.end === 'eof' && intact && !this.#isCut);
    if (!isEnd || this.#isInDoubt) {
      this.release(emit);
      return false;
    }
    if (isProven && this.#options.marker !== undefined) {
      this.emit({
        type: 'warning',
        code: 'end-marker-missing',
        message: `The stream ended after its finish reason but without ${this.#options.marker}; usage may be missing`,
      });
    }
    this.done();
    return this.#proof() === 'done';
  }

  release(emit: Emit): void {
    if (this.#done) return;
    this.#emit = emit;
    this.#options.release?.(this);
  }

  submitted(answer: unknown, emit: Emit): void {
    if (this.#done) return; // on a stream opened before the request, the end can overtake its answer
    this.#emit = emit;
    this.#isAside = true;
    try {
      if (this.#options.submitted === undefined) emit({ type: 'raw', frame: answer });
      else this.#options.submitted(answer, this);
    } finally {
      this.#isAside = false;
    }
  }

  reattached(): void {
    const { reattach = 'state', reattached } = this.#options;
    this.#isAnotherAnswer = this.#replay?.isOther ?? false;
    this.#hasEnded = false;
    this.#isSettled = false;
    this.#done = false;
    this.#finish = undefined;
    this.#isCut = false;
    this.#templates?.clear(); // they speak of the state, which may be another
    if (this.#delivered !== undefined) {
      this.state = this.#begin();
      this.#replay = this.#isAnotherAnswer
        ? undefined
        : new Replay(this.#delivered, reattach === 'replay' ? 'sure' : 'doubtful');
    }
    reattached?.(this);
  }

  stored(work: unknown, emit: Emit): Proof {
    this.#emit = emit;
    this.#isStored = true;
    try {
      if (this.#options.stored === undefined) emit({ type: 'raw', frame: work });
      else this.#options.stored(work, this);
      const proof = this.#proof();
      return proof === 'ended' ? 'open' : proof; // it is read again, until it says more
    } finally {
      this.#isStored = false;
    }
  }

  identify(id: string, cursor?: string | number): void {
    this.#workId = id;
    this.#cursor = cursor;
  }

  get shortcut(): Shortcut | undefined {
    return this.#templates;
  }

  get place(): StreamPlace | undefined {
    const cursor = this.#cursor;
    return this.#workId === undefined
      ? undefined
      : { id: this.#workId, cursor: cursor === undefined ? undefined : String(cursor) };
  }

  #begin(): State {
    return this.#options.start?.() as State; // without `start` the state's type is `undefined`
  }

  askStored(): void {
    this.#effects += 1;
    this.#hasEnded = true;
  }

  settle(whole: { readonly text: string; readonly thinking?: string }, because: string): void {
    this.#replay = undefined;
    this.#isSettled = true;
    const say = (type: 'text' | 'thinking', name: string, text: string | undefined): void => {
      if (text) this.emit({ type, text, index: 0, name });
    };
    const missing = (type: 'text' | 'thinking', name: string, text: string): string | undefined =>
      this.#delivered?.text(JSON.stringify([type, 0, name])).missingFrom(text);
    const { text, thinking = '' } = whole;
    const moreThinking = thinking === '' ? '' : missing('thinking', 'thinking', thinking);
    const moreText = missing('text', 'output', text);
    const isOther = moreText === undefined || moreThinking === undefined;
    if (isOther) this.#emit(this.#voidDelivered(because));
    say('thinking', 'thinking', isOther ? thinking : moreThinking);
    say('text', 'output', isOther ? text : moreText);
  }

  #voidDelivered(because: string): StreamEvent {
    this.#delivered?.clear();
    // Who delivers it knows the attempt and how much is void.
    return { type: 'restart', attempt: 1, because, discard: { chars: 0 } };
  }

  emit(event: StreamEvent): void {
    this.#effects += 1;
    if (this.#delivered === undefined || this.#isAside) {
      this.#emit(event);
      return;
    }
    if (event.type === 'finish') this.#replay?.end();
    const news = this.#replay === undefined ? event : this.#replay.take(event);
    if (this.#replay?.isOther === true) return;
    if (news === undefined) {
      this.#emit(MOVED);
      return;
    }
    if (this.#isAnotherAnswer && (isText(news) || news.type === 'finish')) {
      this.#isAnotherAnswer = false;
      this.#emit(this.#voidDelivered('the stream was told again with another text'));
    }
    if (news.type === 'restart') {
      this.#delivered.clear();
      this.#replay = undefined;
    } else this.#delivered.note(news);
    this.#emit(news);
  }

  prove(reason: FinishReason, rawReason?: string, choices?: readonly ChoiceFinish[]): void {
    // What is only said again has no effect: the frame that says so is handed on.
    if (reason !== this.#finish?.reason || rawReason !== this.#finish.rawReason) this.#effects += 1;
    this.#finish = { reason, rawReason, choices };
  }

  reopen(): void {
    this.#finish = undefined;
  }

  done(): void {
    if (this.#done) return;
    if (this.#isInDoubt) {
      this.askStored();
      return;
    }
    if (!this.#isSettled) this.#options.flush?.(this);
    this.#done = true;
    const { reason, rawReason, choices } = this.#finish ?? { reason: 'unknown' as const };
    this.emit({
      type: 'finish',
      reason,
      ...(rawReason === undefined ? undefined : { rawReason }),
      ...(choices === undefined ? undefined : { choices }),
    });
  }

  fail(report: ErrorReport, frame: unknown, retryable = this.#options.retryable?.(report) ?? false): never {
    const { code, message } = report;
    const said = message?.slice(0, MAX_QUOTED_CHARS) ?? 'no message';
    throw new ProviderError(
      code === undefined
        ? `${this.#name} reported a failure: ${said}`
        : `${this.#name} reported ${String(code)}: ${said}`,
      {
        retryable,
        providerCode: code,
        providerMessage: message,
        frame,
        context: { dialect: this.#name, code },
      },
    );
  }

  #proof(): Proof {
    if (this.#replay?.isOther === true) return 'reopen';
    if (this.#done) return 'done';
    if (this.#hasEnded) return 'ended';
    return this.#finish === undefined || this.#isInDoubt ? 'open' : 'proven';
  }

  /** The stream may be told again or not: nothing in it proves that all of the answer was delivered. */
  get #isInDoubt(): boolean {
    return this.#replay?.isSure === false && !this.#isStored;
  }

  template(shape: TemplateShape, use: TemplateUse): void {
    if (this.#templates !== undefined) this.#offer = { shape, use };
  }

  #data(data: string, isUnterminated = false): void {
    if (this.#templates?.use(data, this.event) === true) {
      this.templated += 1;
      return;
    }
    const { marker } = this.#options;
    if (this.#options.data === 'text') {
      this.#text(data);
      return;
    }
    const name = this.#name;
    // Trimming is for the marker and for empty frames alone; JSON allows white space around it. An event named `error` is
    // neither, whatever it holds.
    const first = data.charCodeAt(0);
    if ((first !== OPEN_BRACE || marker?.charCodeAt(0) === OPEN_BRACE) && this.event !== 'error') {
      const trimmed = data.trim();
      if (trimmed === '' || this.#options.fillers?.includes(trimmed) === true) {
        this.#emit({ type: 'heartbeat', comment: '' });
        return;
      }
      if (trimmed === marker) {
        this.#marker();
        return;
      }
    }
    let frame: unknown;
    try {
      frame = JSON.parse(data);
    } catch {
      if (isUnterminated) {
        this.#isCut = true; // no malformed frame: that the stream is not whole shows at its end
        return;
      }
      // An event named `error` is a failure whatever it holds: some servers send bare text there, or nothing.
      if (this.event === 'error') this.fail(readErrorBody(data.trim()), data);
      // The parser's own message quotes the data, which is model output: told are name and size only.
      throw new ProtocolError(
        `Malformed frame: ${name} sent ${String(data.length)} characters that are not JSON; decode(dialect, { onMalformed: 'skip' }) leaves such frames out`,
        { context: { dialect: name, chars: data.length } },
      );
    }
    this.#offer = undefined;
    this.#frame(frame);
    if (this.#offer !== undefined) this.#templates?.add(data, this.event, this.#offer);
  }

  #text(data: string): void {
    if (this.event === 'error') this.fail(readErrorBody(parsed(data)), data);
    const before = this.#effects;
    this.#options.decode(validate(this.#options.frame, data, `the data of a ${this.#name} event`), this);
    if (this.#effects === before) this.raw(data);
  }

  #frame(frame: unknown): void {
    try {
      this.#decode(frame);
    } catch (error) {
      // The stack is at its end: of thousands of brackets in each other, which the parser takes and nothing else does.
      if (!(error instanceof RangeError) || !/call stack/i.test(error.message)) throw error;
      throw new ProtocolError(`A ${this.#name} frame is nested too deeply`, { cause: error });
    }
  }

  #decode(frame: unknown): void {
    const before = this.#effects;
    if (isRecord(frame)) {
      const report = (this.#options.error ?? readFailure)(frame, this.event);
      if (report !== undefined) this.fail(report, frame);
    } else if (this.event === 'error') {
      this.fail(readErrorBody(frame), frame);
    }
    if (isRecord(frame) || this.#options.values === 'any') {
      this.#options.decode(validate(this.#options.frame, frame, `a ${this.#name} frame`), this);
    }
    if (this.#effects === before) this.raw(frame);
  }

  raw(frame: unknown): void {
    this.emit(this.event === 'message' ? { type: 'raw', frame } : { type: 'raw', frame, event: this.event });
  }

  #marker(): void {
    if (this.#finish === undefined && this.#options.markerAlone === 'nothing') {
      this.#emit({ type: 'heartbeat', comment: '' });
      return;
    }
    if (this.#finish === undefined && this.#options.markerAlone === 'doubtful' && !this.#isInDoubt) {
      this.emit({
        type: 'warning',
        code: 'finish-reason-missing',
        message: 'The stream sent its end marker but no finish reason; why the model stopped is unknown',
      });
    }
    this.done();
  }

  #unknownField(field: string, value: string): void {
    if (this.#options.unknown?.(field, value, this) === true) return;
    // The standard tells a parser to drop such fields; a llama.cpp server reports its failure in one named `error`.
    const frame = parsed(value);
    if (field === 'error') {
      const report = readErrorBody(isRecord(frame) && 'error' in frame ? frame : { error: frame });
      this.fail(report, frame);
    }
    this.#emit({ type: 'raw', frame: { [field]: frame } });
  }
}

/** What JSON says; what is none says itself. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text; // it is what the server said, and it is handed on
  }
}

function isText({ type }: StreamEvent): boolean {
  return type === 'text' || type === 'thinking' || type === 'refusal' || type === 'tool-call-delta';
}

const OPEN_BRACE = 0x7b;
/** Characters of a provider's own words that a message quotes; `providerMessage` has them all. */
const MAX_QUOTED_CHARS = 300;

function ignore(): void {
  // Replaced before anything is decoded.
}

/** The failure that a frame reports: its `error` key, unless null, false or empty, or all of it where the event is named `error`. @public */
export function readFailure(frame: Readonly<Record<string, unknown>>, event: string): ErrorReport | undefined {
  const error = frame['error'];
  // Servers that write every key send an empty one where nothing is wrong; with a message beside it something is.
  const isEmpty = error === undefined || error === null || error === false || (error === '' && !('message' in frame));
  if (isEmpty) return event === 'error' ? readErrorBody(frame) : undefined;
  return readErrorBody(frame);
}
