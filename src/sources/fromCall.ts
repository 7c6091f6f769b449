import { io } from '#io';
import { asyncScheduler, Observable, type SchedulerLike, type Subscriber, Subscription } from 'rxjs';
import { type AbortError, type HTTPError, NoResumePlanError, ProtocolError } from '../errors.js';
import { tellAttempt } from '../internal/diagnostics.js';
import { type Answer, checkDecodeOptions, type DecodeOptions, StoredDocument } from '../internal/answer.js';
import { connectDecoder, openFlow } from '../internal/connectDecoder.js';
import {
  Flow,
  leaveAs,
  runApart,
  type Scope,
  sendWhenAllAreBack,
  subscribeWithin,
  type Verb,
} from '../internal/flow.js';
import { hasCode } from '../internal/hasCode.js';
import { withShortcut } from '../internal/connectParser.js';
import { encodeLastEventId } from '../internal/lastEventId.js';
import { onAbort } from '../internal/onAbort.js';
import { link } from '../internal/operate.js';
import { type Framing, type FramingLimits, framingOf, parseBody } from '../internal/parseBody.js';
import type { Going, Position } from '../internal/position.js';
import { requireDelay, requireOneOf } from '../internal/require.js';
import { enterCancellation, refusal } from '../internal/running.js';
import { scriptOf } from '../internal/script.js';
import { stoppedBy } from '../internal/stoppedBy.js';
import { mediaType } from '../internal/contentType.js';
import { retryOnDisconnect, type RetryOnDisconnectOptions } from '../operators/retryOnDisconnect.js';
import { timeout, type TimeoutOptions } from '../operators/timeout.js';
import type { Call, CallRequest, ResumePlan, StoredWork } from '../protocol/call.js';
import type { Billing, StoppedBy, StreamEvent, WireEvent } from '../types.js';
import { fromHTTP, type FromHTTPOptions } from './fromHTTP.js';
import { requestJSON } from './requestJSON.js';

/** How a call is made and left. @public */
export interface FromCallOptions
  extends
    DecodeOptions,
    FramingLimits,
    Pick<
      FromHTTPOptions,
      | 'dispatcher'
      | 'fetch'
      | 'connectTimeoutMs'
      | 'headersTimeoutMs'
      | 'bodyTimeoutMs'
      | 'maxErrorBodyBytes'
      | 'maxHeaderBytes'
      | 'maxDecompressionRatio'
      | 'redirect'
      | 'maxRedirects'
      | 'onResponse'
    > {
  /** Limits for each attempt, as the operator {@link timeout} has them. @defaultValue none */
  readonly timeout?: TimeoutOptions | undefined;
  /** Asks again after a lost connection, as the operator {@link retryOnDisconnect} does. @defaultValue the call is asked once */
  readonly retry?: RetryOnDisconnectOptions | undefined;
  /** Stops the call, cancels its work, and errors with an AbortError that carries what was received. */
  readonly signal?: AbortSignal | undefined;
  /**
   * What unsubscribing means. `'cancel'`: stop; work that this call created is cancelled where the API can. `'leave'`: the
   * reader goes, the work goes on.
   * @defaultValue `'cancel'`
   */
  readonly onUnsubscribe?: 'cancel' | 'leave' | undefined;
  /**
   * How long the request that cancels may take; it is the one thing that outlives unsubscribing. An answer to the request
   * that created the work is awaited as long before it, since only that tells what to cancel.
   * @defaultValue 5,000 (chosen)
   */
  readonly cancelTimeoutMs?: number | undefined;
  /** Hears when cancelling failed, so that work may be running on. @defaultValue a process warning */
  readonly onCancelError?: ((error: unknown) => void) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Makes a provider's call and emits its answer as stream events, whatever the provider's way: one request, or work that is
 * submitted first and streamed after. The parser is picked by the answer's content type.
 *
 * ```text
 * subscribe   ^ request
 * wire        ----a--b--c--d         d = the provider's sign of the end
 * result      ----a--b--c--(f|)      f = finish
 * ```
 * Emits what `decode` emits. Completes when the answer is proven whole. Errors with HTTPError, ProviderError,
 * InterruptedError, StreamTimeoutError, ProtocolError, ValidationError, LimitError or AbortError; all carry `received`.
 * Unsubscribing stops: the socket is closed in the same turn and the provider's cancel endpoint is called, if it has one
 * and this call created the work. Holds `maxReceivedChars` of text and one unfinished frame.
 *
 * @example
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(toTokens()).subscribe((token) => process.stdout.write(token));
 * ```
 * @param call - from a provider, such as `polargrid().chat(request)`; or a function that makes one for each subscription,
 *   where it is known late
 * @param options - see {@link FromCallOptions}
 * @returns a cold observable: each subscription is one attempt, or several with `retry`
 * @throws TypeError or RangeError for an option out of its range
 * @public
 */
export function fromCall(
  call: Call | (() => Call | Promise<Call>),
  options: FromCallOptions = {},
): Observable<StreamEvent> {
  const { onUnsubscribe = 'cancel', cancelTimeoutMs = 5_000 } = options;
  checkDecodeOptions(options);
  requireOneOf('onUnsubscribe', onUnsubscribe, ['cancel', 'leave']);
  requireDelay(0, { cancelTimeoutMs });
  const { timeout: limits, retry, scheduler } = options;
  const attempt = attemptOf(call, options);
  const limited = limits === undefined ? attempt : attempt.pipe(timeout({ scheduler, ...limits }));
  return retry === undefined ? limited : limited.pipe(retryOnDisconnect({ scheduler, ...retry }));
}

function attemptOf(call: Call | (() => Call | Promise<Call>), options: FromCallOptions): Observable<StreamEvent> {
  return new Observable<StreamEvent>((subscriber) => {
    // Made now, whoever makes the call and when: so readers below know of it, and a retry takes its position back.
    const flow = new Flow({ call, outlivesReader: options.onUnsubscribe === 'leave' });
    if (flow.isLate) {
      subscriber.error(refusal());
      return;
    }
    if (flow.position.isComplete) {
      // It was delivered whole before another stream beside it broke.
      subscriber.complete();
      return;
    }
    flow.onStop = (error): void => {
      leaveAs('stop', 'shutdown', () => {
        flow.leave();
        error.received ??= { text: '', chars: 0, truncated: false };
        subscriber.error(error);
      });
    };
    openFlow(flow, subscriber);
    sendWhenAllAreBack(() => {
      if (subscriber.closed) return;
      try {
        begin(call, flow, options, subscriber);
      } catch (error) {
        // Where it was held back, nobody else would tell.
        subscriber.error(error);
      }
    });
  });
}

function begin(
  call: Call | (() => Call | Promise<Call>),
  flow: Flow,
  options: FromCallOptions,
  subscriber: Subscriber<StreamEvent>,
): void {
  const made = typeof call === 'function' ? call() : call;
  if (!isThenable(made)) {
    connect(made, flow, options, subscriber);
    return;
  }
  const { signal } = options;
  const stopListening =
    signal &&
    onAbort(signal, () => {
      leaveAs('stop', 'signal', () => flow.leave());
      const error = stoppedBy(signal);
      error.received = { text: '', chars: 0, truncated: false };
      subscriber.error(error);
    });
  subscriber.add(stopListening);
  made.then(
    (late) => {
      stopListening?.();
      if (!subscriber.closed) connect(late, flow, options, subscriber);
    },
    (error: unknown) => {
      flow.end('error');
      flow.deliver(() => {
        subscriber.error(error);
      });
    },
  );
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>>).then === 'function';
}

function connect(call: Call, flow: Flow, options: FromCallOptions, subscriber: Subscriber<StreamEvent>): void {
  const { provider, model, dialect } = call;
  const { position } = flow;
  let asking: Asking | undefined;
  flow.facts = { ...flow.facts, provider, model, dialect, billing: (verb) => billingAfter(call, verb, asking) };
  if (position.keeper !== undefined && call.resume === undefined) {
    flow.end('error');
    subscriber.error(withoutPlan(provider));
    return;
  }
  position.going = () => howToGoOn(call, position);
  position.signal = options.signal;
  const going = position.going();
  position.attempt += 1;
  if (going === 'anew' || going === 'continued') position.asked = {};
  flow.asked = position.asked;
  tellAttempt(flow, { attempt: position.attempt }, going, position.keeper?.because);
  connectDecoder(subscriber, {
    dialect,
    flow,
    going,
    options,
    source: (scope, answer) =>
      new Observable<WireEvent>((frames) => {
        asking = new Asking(call, going, options, flow, scope, answer, frames);
        asking.start();
      }),
    goOn: (proof) => {
      asking?.goOn(proof);
    },
    explain: (error) => addHint(error, call),
  });
}

function withoutPlan(provider: string): NoResumePlanError {
  return new NoResumePlanError(
    `The call of ${provider} does not say how it goes on after a break; give it \`resume: { by: 'ask' }\` where asking again is right`,
    { context: { provider } },
  );
}

/** How a call goes on from a position, by its plan and by what whoever asks again has decided. */
function howToGoOn({ resume, submit, workId }: Call, position: Position): Going {
  if (position.attempt === 0) return 'first';
  const { by, continueWith } = resume ?? { by: 'ask' };
  if (by === 'reattach') {
    const isKnown = (workId ?? position.workId ?? position.decoder?.place?.id) !== undefined;
    // Work that exists, and to which a request adds: whether it was added is known by the answer alone.
    if (isKnown && (submit === undefined || position.isSubmitted)) return 'on';
  }
  if (by === 'last-event-id' && headerOf(position) !== undefined) return 'on';
  if (!position.content) return 'anew';
  switch (position.keeper?.onUnresumable) {
    case 'error':
      return 'refused';
    case 'continue':
      return continuation(position, continueWith) === undefined ? 'anew' : 'continued';
    default:
      return 'anew';
  }
}

/** The id after which a server goes on; none where there was none, or where no header can hold it. */
function headerOf({ lastEventId }: Position): string | undefined {
  return lastEventId === '' ? undefined : encodeLastEventId(lastEventId);
}

/** The request for the rest of an answer; none where its text is not all that was delivered, or not all held. */
function continuation({ received }: Position, continueWith: ResumePlan['continueWith']): CallRequest | undefined {
  const { text = '', truncated = false } = received?.get() ?? {};
  return text === '' || truncated ? undefined : continueWith?.(text);
}

function billingAfter({ leaving }: Call, verb: Verb, asking: Asking | undefined): Billing {
  if (verb === 'drain') return 'ended';
  return verb === 'stop' && asking?.isOutOfReach !== true ? leaving.stop : leaving.disconnect;
}

function addHint(error: unknown, { hint }: Call): unknown {
  if (hint === undefined || !(error instanceof ProtocolError) || error.context['contentType'] !== 'application/json') {
    return error;
  }
  return new ProtocolError(`${error.message}; ${hint}`, { context: error.context, cause: error });
}

/** How long a stream that is opened before its request may take to open. */
const HEADERS_WAIT_MS = 1_000;

type Credentials = Readonly<Record<string, string>>;

/** Statuses with which a server says that a stream cannot be opened again, and not that nobody may. */
const CANNOT_REOPEN: ReadonlySet<number> = new Set([404, 405, 406, 410, 415, 501]);

/** One attempt: credentials, the request that creates the work where there is one, the stream, and the cancellation. */
class Asking {
  readonly #call: Call;
  readonly #going: Going;
  readonly #options: FromCallOptions;
  readonly #flow: Flow;
  readonly #scope: Scope;
  readonly #answer: Answer;
  readonly #frames: Subscriber<WireEvent>;
  readonly #requests = new Subscription();
  /** The connection that streams. */
  #body: Subscription | undefined;
  #submitting: Subscription | undefined;
  #credentials: Credentials = {};
  /** Requests that were there before the one that creates the work. */
  #before: ReadonlySet<Flow> = new Set();

  constructor(
    call: Call,
    going: Going,
    options: FromCallOptions,
    flow: Flow,
    scope: Scope,
    answer: Answer,
    frames: Subscriber<WireEvent>,
  ) {
    this.#call = call;
    this.#going = going;
    this.#options = options;
    this.#flow = flow;
    this.#scope = scope;
    this.#answer = answer;
    this.#frames = frames;
  }

  start(): void {
    const { signal } = this.#options;
    if (this.#frames.closed) return;
    const teardown = new Subscription(() => {
      this.#leave();
    });
    this.#frames.add(teardown);
    const stop = (by: StoppedBy, error: AbortError): void => {
      leaveAs('stop', by, () => {
        this.#flow.leave();
        this.#frames.error(error);
      });
    };
    this.#flow.onStop = (error): void => {
      stop('shutdown', error);
    };
    if (signal !== undefined) {
      const abort = (): void => {
        stop('signal', stoppedBy(signal));
      };
      if (signal.aborted) {
        abort();
        return;
      }
      teardown.add(onAbort(signal, abort));
    }

    const script = scriptOf(this.#call);
    if (script !== undefined) {
      this.#requests.add(script.subscribe(this.#frames));
      return;
    }
    const credentials = this.#call.authorize();
    if (!isThenable(credentials)) this.#begin(credentials);
    else {
      credentials.then(
        (late) => {
          if (this.#frames.closed) return;
          this.#attempt(() => {
            this.#begin(late);
          });
        },
        (error: unknown) => {
          this.#frames.error(error);
        },
      );
    }
  }

  #begin(credentials: Credentials): void {
    this.#credentials = credentials;
    const { submit, workId, stream, resume } = this.#call;
    const { position } = this.#flow;
    if (this.#going === 'on') {
      if (resume?.stored?.use === 'around') this.#readStored(resume.stored, 'once');
      else this.#reopen();
      return;
    }
    const continued = this.#going === 'continued' ? continuation(position, resume?.continueWith) : undefined;
    if (submit === undefined && workId === undefined) this.#cancelWhenGivenUp();
    if (continued !== undefined) this.#stream(continued);
    else if (submit === undefined) this.#stream(stream(workId ?? ''));
    else if (workId === undefined) this.#submit(submit);
    else this.#streamThenSubmit(stream(workId), submit);
  }

  /** The request that begins the work went out, and the stream has not told the id by which it could be cancelled. */
  get isOutOfReach(): boolean {
    const { cancel, submit, workId } = this.#call;
    return cancel !== undefined && submit === undefined && workId === undefined && this.#toldId === undefined;
  }

  /** The id of work that this call began by asking for its stream, as the stream told it. */
  get #toldId(): string | undefined {
    const { submit, workId } = this.#call;
    return submit === undefined && workId === undefined ? this.#answer.place?.id : undefined;
  }

  get #workId(): string {
    return this.#call.workId ?? this.#flow.position.workId ?? this.#toldId ?? '';
  }

  #reopen(): void {
    const { stream, resume } = this.#call;
    const request = resume?.reopen?.(this.#workId, this.#answer.place?.cursor) ?? stream(this.#workId);
    const id = resume?.by === 'last-event-id' ? headerOf(this.#flow.position) : undefined;
    this.#stream(id === undefined ? request : { ...request, headers: { ...request.headers, 'last-event-id': id } });
  }

  /** This connection has told what it can. */
  goOn(proof: 'ended' | 'reopen'): void {
    const body = this.#body;
    leaveAs(proof === 'ended' ? 'drain' : 'disconnect', 'unsubscribe', () => body?.unsubscribe());
    const stored = this.#call.resume?.stored;
    if (proof === 'reopen') {
      this.#answer.reattach();
      this.#reopen();
    } else if (stored !== undefined) this.#readStored(stored, 'until it is over');
    else this.#frames.complete();
  }

  /** Reads the work as it is stored: once, and then its stream, or again and again until it is over. */
  #readStored(stored: StoredWork, times: 'once' | 'until it is over'): void {
    const { scheduler = asyncScheduler } = this.#options;
    const request = stored.request(this.#workId);
    this.#within(() => {
      let work: unknown;
      this.#requests.add(
        requestJSON(request.url, this.#http(request)).subscribe({
          next: (answer) => {
            work = answer;
          },
          error: (error: unknown) => {
            this.#frames.error(error);
          },
          complete: () => {
            this.#frames.next(new StoredDocument(work));
            if (this.#frames.closed) return;
            if (times === 'once') {
              this.#attempt(() => {
                this.#reopen();
              });
              return;
            }
            this.#requests.add(
              scheduler.schedule(() => {
                this.#attempt(() => {
                  this.#readStored(stored, times);
                });
              }, stored.everyMs),
            );
          },
        }),
      );
    });
  }

  /** The stream that was to be opened again failed: where the server has no such thing, what is stored tells. */
  #onStreamError(error: unknown): void {
    const stored = this.#call.resume?.stored;
    const isGone = hasCode(error, 'ERR_HTTP') && CANNOT_REOPEN.has((error as HTTPError).status);
    if (this.#going === 'on' && stored?.use === 'instead' && isGone) this.#readStored(stored, 'until it is over');
    else this.#frames.error(error);
  }

  /** The stream is opened first, so that nothing of the new work is missed. */
  #streamThenSubmit(stream: CallRequest, submit: CallRequest): void {
    const { scheduler = asyncScheduler } = this.#options;
    const waiting = new Subscription();
    const open = (): void => {
      if (waiting.closed) return;
      waiting.unsubscribe();
      this.#submit(submit);
    };
    this.#requests.add(waiting);
    // Some servers hold back the headers until there is a first event, which only the request will bring.
    waiting.add(scheduler.schedule(open, HEADERS_WAIT_MS));
    this.#stream(stream, open);
  }

  /** Runs what a provider's functions may throw in; outside `subscribe` nobody else would tell. */
  #attempt(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (this.#frames.closed) this.#onCancelError(error);
      else this.#frames.error(error);
    }
  }

  #submit(request: CallRequest): void {
    const { workId, readWorkId, stream } = this.#call;
    let answered: unknown;
    const submitting = new Subscription();
    this.#submitting = submitting;
    this.#before = new Set(this.#flow.inner);
    this.#within(() => {
      submitting.add(
        requestJSON(request.url, this.#http(request)).subscribe({
          next: (answer) => {
            answered = answer;
          },
          error: (error: unknown) => {
            this.#submitting = undefined;
            submitting.unsubscribe();
            if (!this.#frames.closed) this.#frames.error(error);
            else if (!hasCode(error, 'ERR_HTTP')) this.#onCancelError(error); // refused: there is nothing to cancel
          },
          complete: () => {
            this.#submitting = undefined;
            submitting.unsubscribe();
            this.#attempt(() => {
              const { position } = this.#flow;
              const created = workId ?? readWorkId?.(answered);
              position.created = created;
              if (this.#frames.closed) {
                this.#cancel();
                return;
              }
              position.workId = created;
              position.isSubmitted = true;
              if (created !== undefined) position.onWork?.(created);
              this.#cancelWhenGivenUp();
              this.#flow.deliver(() => {
                this.#answer.submitted(answered);
              });
              if (workId === undefined) this.#stream(stream(created ?? ''));
            });
          },
        }),
      );
    });
  }

  #stream(request: CallRequest, onOpen?: () => void): void {
    let framing: Framing = this.#call.dialect.framing;
    const body = fromHTTP(request.url, {
      ...this.#http(request),
      accept: request.accept,
      onResponse: (response) => {
        framing = framingOf(mediaType(response.headers['content-type']), framing);
        this.#options.onResponse?.(response);
        onOpen?.();
      },
    });
    const frames = withShortcut(body.pipe(parseBody(() => framing, this.#options)), this.#answer.shortcut);
    this.#within(() => {
      if (this.#going !== 'on') {
        this.#requests.add(frames.subscribe(this.#frames));
        return;
      }
      // May be left on its own: another connection, or what is stored, goes on with the answer.
      const reading = link<WireEvent>(this.#frames, {
        next: (frame) => {
          this.#frames.next(frame);
        },
        error: (error) => {
          this.#onStreamError(error);
        },
      });
      this.#body = reading;
      this.#requests.add(reading);
      frames.subscribe(reading);
    });
  }

  /** Subscribes in the answer's name, also where a promise came before. */
  #within(run: () => void): void {
    subscribeWithin(this.#scope, run);
  }

  #http(request: CallRequest): FromHTTPOptions {
    const { signal: _, onResponse: __, ...options } = this.#options;
    const content = request.body === undefined ? undefined : { 'content-type': 'application/json' };
    return {
      ...options,
      method: request.method,
      body: request.body,
      headers: { ...content, ...this.#credentials, ...request.headers },
    };
  }

  #leave(): void {
    const { cancelTimeoutMs = 5_000, scheduler = asyncScheduler } = this.#options;
    const isStopped = this.#flow.left?.verb === 'stop';
    const submitting = this.#submitting;
    const mayHaveBegun = [...this.#flow.inner].some((request) => request.sent && !this.#before.has(request));
    this.#requests.unsubscribe();
    if (submitting !== undefined) {
      // Only the answer tells what to cancel: it is awaited, for a while. What was not sent yet is never sent.
      if (isStopped && this.#call.cancel !== undefined && mayHaveBegun) {
        submitting.add(enterCancellation());
        submitting.add(
          scheduler.schedule(() => {
            submitting.unsubscribe();
            this.#onCancelError(new Error('the request that created the work was not answered in time'));
          }, cancelTimeoutMs),
        );
      } else submitting.unsubscribe();
    } else if (isStopped) this.#cancel();
  }

  /** Work that this call began is cancelled where whoever asks it again gives up, unless it is to be left. */
  #cancelWhenGivenUp(): void {
    if (this.#options.onUnsubscribe === 'leave') return;
    this.#flow.position.cancel = () => {
      this.#cancel();
    };
  }

  #cancel(): void {
    const { cancel } = this.#call;
    const { position } = this.#flow;
    const workId = position.created ?? this.#toldId;
    position.created = undefined;
    if (cancel === undefined || workId === undefined || workId === position.cancelled) return;
    position.cancelled = workId; // once
    const { cancelTimeoutMs = 5_000, scheduler = asyncScheduler } = this.#options;
    const request = cancel(workId);
    runApart(() => {
      const cancelling = new Subscription(enterCancellation());
      cancelling.add(
        scheduler.schedule(() => {
          cancelling.unsubscribe();
          this.#onCancelError(new Error(`no answer within ${String(cancelTimeoutMs)} ms`));
        }, cancelTimeoutMs),
      );
      cancelling.add(
        // Whatever a success says, it is one.
        fromHTTP(request.url, { ...this.#http(request), accept: ['*/*'] }).subscribe({
          error: (error: unknown) => {
            cancelling.unsubscribe();
            this.#onCancelError(error);
          },
          complete: () => {
            cancelling.unsubscribe();
          },
        }),
      );
    });
  }

  #onCancelError(error: unknown): void {
    const { onCancelError } = this.#options;
    if (onCancelError !== undefined) {
      onCancelError(error);
      return;
    }
    const why = error instanceof Error ? error.message : String(error);
    io.warn(`Work at ${this.#call.provider} could not be cancelled and may run on: ${why}`);
  }
}
