import { defer, isObservable, type Observable, type OperatorFunction, skip, Subject, Subscription } from 'rxjs';
import { idleStreamState, type StreamState } from '../internal/streamRecord.js';
import { stopOn } from '../operators/stopOn.js';
import { streamState, type StreamStateOptions } from '../operators/streamState.js';
import { tapReceipt } from '../operators/tapReceipt.js';
import type { Call } from '../protocol/call.js';
import { fromCall } from '../sources/fromCall.js';
import type { StreamEvent } from '../types.js';
import { nextFrame } from './nextFrame.js';

/** What a factory gives: a stream of events, of text, or a call. @public */
export type StreamSource = Observable<StreamEvent | string> | Call;

const CONNECTING: StreamState = { ...idleStreamState, phase: 'connecting' };

/** One stream, from its start to its end or to the next one's start. */
interface Run {
  readonly stop: Subject<void>;
  readonly subscription: Subscription;
}

/**
 * Runs one stream at a time for a component, and tells its state: at once where it begins and ends, else once a frame.
 *
 * A run begins in a microtask, and one whose component has gone ends in a microtask: React's StrictMode mounts a component, unmounts
 * it and mounts it again, all on one stack, and so does a module that is replaced while its author works. Neither asks twice.
 */
export class StreamRunner {
  readonly #onState: (state: StreamState) => void;
  readonly #states: OperatorFunction<StreamEvent | string, StreamState>;
  #state: StreamState = idleStreamState;
  #run: Run | undefined;
  #frame: Subscription | undefined;
  #isMounted = false;

  constructor(options: StreamStateOptions, onState: (state: StreamState) => void) {
    this.#states = streamState(options);
    this.#onState = onState;
  }

  /** Begins a stream; one that runs is stopped, and shows nothing any more. */
  start(make: () => StreamSource): void {
    this.#stopQuietly();
    const run: Run = { stop: new Subject(), subscription: new Subscription() };
    this.#run = run;
    this.#show(CONNECTING);
    queueMicrotask(() => {
      if (this.#run !== run) return;
      if (this.#isMounted) this.#subscribe(run, make);
      else this.reset();
    });
  }

  /** Ends the stream that runs, and keeps what came. */
  stop(): void {
    const run = this.#run;
    if (run === undefined) return;
    run.stop.next();
    // Its last state came on this stack, unless it has not begun: then nothing was asked for.
    if (this.#run === run) this.#end(stopped(this.#state, { billing: 'ended' }));
  }

  /** Ends the stream that runs, and shows none. */
  reset(): void {
    this.#stopQuietly();
    this.#show(idleStreamState);
  }

  /** The component is there. @returns its leaving */
  enter(onGone: () => void): () => void {
    this.#isMounted = true;
    const leave = (): void => {
      this.#leave();
    };
    // A page that is left may be kept, to be come back to: nobody reads it meanwhile.
    const hasPage = typeof addEventListener === 'function';
    if (hasPage) addEventListener('pagehide', leave);
    return () => {
      this.#isMounted = false;
      if (hasPage) removeEventListener('pagehide', leave);
      queueMicrotask(() => {
        if (this.#isMounted) return;
        this.#leave();
        onGone();
      });
    };
  }

  #subscribe(run: Run, make: () => StreamSource): void {
    run.subscription.add(
      defer(() => eventsOf(make()))
        .pipe(
          stopOn(run.stop),
          this.#states,
          skip(1), // that it is connecting is shown already
          tapReceipt((receipt) => {
            // This reader has left, and is shown no last state.
            if (run.subscription.closed && this.#run === run) {
              this.#end(stopped(this.#state, { billing: receipt.billing, receipt }));
            }
          }),
        )
        // eslint-disable-next-line rxjs-x/no-ignored-error -- a failure is a state
        .subscribe((state) => {
          this.#take(run, state);
        }),
    );
  }

  #take(run: Run, state: StreamState): void {
    if (this.#run !== run) return;
    if (state.billing === undefined) {
      this.#state = state;
      this.#frame ??= nextFrame(() => {
        this.#show(this.#state);
      });
    } else this.#end(state);
  }

  /** Its reader goes, as whoever unsubscribes does: a call may be told to work on all the same. */
  #leave(): void {
    this.#run?.subscription.unsubscribe();
  }

  #stopQuietly(): void {
    const run = this.#run;
    this.#run = undefined;
    run?.stop.next();
    run?.subscription.unsubscribe();
  }

  #end(state: StreamState): void {
    this.#run?.subscription.unsubscribe();
    this.#run = undefined;
    this.#show(state);
  }

  #show(state: StreamState): void {
    this.#frame?.unsubscribe();
    this.#frame = undefined;
    this.#state = state;
    this.#onState(state);
  }
}

/** The end of a stream whose last state is this one. */
function stopped(state: StreamState, end: Pick<StreamState, 'billing' | 'receipt'>): StreamState {
  const { toRequest } = state;
  const last: StreamState = { ...state, phase: 'stopped', ...end };
  return toRequest === undefined ? last : Object.defineProperty(last, 'toRequest', { value: toRequest });
}

function eventsOf(source: StreamSource): Observable<StreamEvent | string> {
  if (isObservable(source)) return source;
  if (typeof (source as Partial<Call> | undefined)?.stream === 'function') return fromCall(source);
  throw new TypeError(`The factory must give an observable or a call, got ${typeof source}`);
}
