import { io } from '#io';
import { Observable, type Subscriber } from 'rxjs';
import { type AbortError, NoResumePlanError } from '../errors.js';
import { Flow, leaveAs, outside, register } from './flow.js';
import { newsOf } from './newsOf.js';
import { nextTurn, TAKES_PER_TURN } from './nextTurn.js';
import { signOf } from './signOf.js';

/** Something that gives one item each time it is asked. */
export interface Origin<T> {
  /** Asks for the next item; called again only when it has answered. Rejects or throws when the origin fails. */
  readonly next: () => PromiseLike<IteratorResult<T, unknown>> | IteratorResult<T, unknown>;
  /** Stops it before its end, whether an item is awaited or not. What it returns or throws tells of a failure to do so. */
  readonly leave: () => unknown;
}

/** How a source of this kind is opened. */
export interface Kind<In extends object, T> {
  /** The public function, for messages. */
  readonly source: string;
  /** What it takes, for messages. */
  readonly takes: string;
  readonly accepts: (input: unknown) => boolean;
  /** @param claim - throws where this object, which can be read once, was read before */
  readonly open: (input: In, claim: (once: object) => void) => Origin<T>;
}

/** What a source reads, or what makes it for each subscription. */
export type Given<In> = In | (() => In | PromiseLike<In>);

/**
 * Makes an observable of something that is asked for one item after the other: the sources that come from outside RxJS. The next
 * item is asked for when the one before was delivered, and not while a full sink pauses the flow.
 * @throws TypeError for what is neither of its kind nor a function
 */
export function fromOrigin<In extends object, T>(kind: Kind<In, T>, given: Given<In>): Observable<T> {
  if (!kind.accepts(given) && typeof given !== 'function') throw refused(kind, given);
  return new Observable<T>((subscriber) => {
    new Pulling(kind, given, subscriber).start();
  });
}

/** What was read already and can be read once, with how that reading failed. */
const claimed = new WeakMap<object, { failure?: { readonly error: unknown } }>();

class Pulling<In extends object, T> {
  readonly #kind: Kind<In, T>;
  readonly #given: Given<In>;
  readonly #subscriber: Subscriber<T>;
  readonly #flow = new Flow();
  #origin: Origin<T> | undefined;
  /** What can be read once, where this one reads it. */
  #once: object | undefined;
  #isOver = false;
  #wake: (() => void) | undefined;

  constructor(kind: Kind<In, T>, given: Given<In>, subscriber: Subscriber<T>) {
    this.#kind = kind;
    this.#given = given;
    this.#subscriber = subscriber;
  }

  start(): void {
    const flow = this.#flow;
    flow.onPressure = (paused): void => {
      if (!paused) this.#wake?.();
    };
    if (!flow.isLate) {
      flow.onStop = (error): void => {
        this.#stop(error);
      };
    }
    // Before anything starts: it may be over before `start` returns.
    this.#subscriber.add(() => {
      this.#leave();
    });
    register(flow);
    // A retry beneath may have refused it.
    if (this.#subscriber.closed) return;
    outside()(() => {
      void this.#run();
    });
  }

  /** A throw out of the subscriber's teardown is a rejection that nobody handles: the process hears of it. */
  async #run(): Promise<void> {
    const { source } = this.#kind;
    let origin: Origin<T>;
    try {
      const input = this.#input();
      origin = this.#open(isThenable(input) ? await input : input);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#isOver) {
      // Left while it was being made.
      stop(source, origin);
      return;
    }
    this.#origin = origin;
    this.#flow.sent = true;
    for (let taken = 1; ; taken += 1) {
      // What always has an item ready leaves no turn to timers, to which an operator below may have put something off.
      if (taken % TAKES_PER_TURN === 0) await nextTurn();
      if (this.#flow.paused) await this.#room();
      if (this.#isOver) return;
      let step: IteratorResult<T, unknown>;
      try {
        step = await this.#next(origin);
      } catch (error) {
        this.#fail(error);
        return;
      }
      if (step.done === true) {
        this.#complete();
        return;
      }
      const { value } = step;
      // What was being read when the sink filled up waits with it.
      if (this.#flow.paused) await this.#room();
      if (this.#isOver) return;
      this.#note(value);
      this.#flow.deliver(() => {
        this.#subscriber.next(value);
      });
    }
  }

  async #next(origin: Origin<T>): Promise<IteratorResult<T, unknown>> {
    const step = await origin.next();
    if (typeof step !== 'object' || step === null) {
      throw new TypeError(`${this.#kind.source} reads an iterator whose next() gave ${String(step)}`);
    }
    // Looked at once, and here: an iterator of somebody's own may have getters, and a `done` that is merely truthy.
    return step.done ? { done: true, value: undefined } : { done: false, value: step.value };
  }

  #input(): In | PromiseLike<In> {
    const given = this.#given;
    // It was looked at; what is both, as a callable stream would be, is read as it is.
    return this.#kind.accepts(given) ? (given as In) : (given as () => In | PromiseLike<In>)();
  }

  #open(input: In): Origin<T> {
    const kind = this.#kind;
    if (!kind.accepts(input)) throw refused(kind, input);
    return kind.open(input, (once) => {
      const before = claimed.get(once);
      if (before !== undefined) throw readBefore(kind, before);
      this.#once = once;
      claimed.set(once, {});
    });
  }

  /** Resolves when there is room again; where the subscriber leaves before, never, and what waits is let go of. */
  async #room(): Promise<void> {
    while (this.#flow.paused) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #note(item: T): void {
    const flow = this.#flow;
    if (ArrayBuffer.isView(item)) flow.onBytes(item.byteLength);
    if (signOf(item) === 'content') flow.onContent(0);
    const news = newsOf(item);
    switch (news?.type) {
      case 'finish':
        flow.finish = news;
        break;
      case 'restart':
        flow.restarts += 1;
        break;
      case 'usage': {
        const { type: _, ...usage } = news;
        flow.usage = usage;
        break;
      }
      case 'warning':
        if (flow.warnings.length < MAX_WARNINGS) flow.warnings.push(news);
        break;
      case undefined:
        break;
    }
  }

  #complete(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Its own end is all the proof there can be; what its items prove is for those who decode them.
    this.#flow.proven = true;
    this.#flow.end('complete');
    this.#flow.deliver(() => {
      this.#subscriber.complete();
    });
  }

  /** Told to nobody where the subscriber has left: it is the end of what it did not want. */
  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#once !== undefined) claimed.set(this.#once, { failure: { error } });
    this.#flow.end('error');
    this.#flow.deliver(() => {
      this.#subscriber.error(error);
    });
  }

  /** The program shuts down, and its time is up. */
  #stop(error: AbortError): void {
    if (this.#isOver) return;
    leaveAs('stop', 'shutdown', () => {
      this.#leave();
    });
    this.#subscriber.error(error);
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#flow.leave();
    if (this.#origin !== undefined) stop(this.#kind.source, this.#origin);
  }
}

/** Warnings that a receipt lists; more are a symptom, not news. */
const MAX_WARNINGS = 100;

/** Stops what its reader has left. A failure to stop may be a leak, and nobody else hears of it; to have stopped is none. */
function stop(source: string, origin: Origin<unknown>): void {
  const warn = (error: unknown): void => {
    if (error instanceof Error && error.name === 'AbortError') return;
    io.warn(`${source} was left by its reader, and what it reads could not be stopped: ${String(error)}`);
  };
  outside()(() => {
    try {
      const stopped = origin.leave();
      if (isThenable(stopped)) stopped.then(undefined, warn);
    } catch (error) {
      warn(error);
    }
  });
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function refused({ source, takes }: { readonly source: string; readonly takes: string }, given: unknown): TypeError {
  return new TypeError(
    `${source} takes ${takes}, or a function that makes one, got ${given === null ? 'null' : typeof given}`,
  );
}

function readBefore({ source }: { readonly source: string }, before: { failure?: { readonly error: unknown } }): Error {
  return new NoResumePlanError(
    `What ${source} was given can be read once, and was read before; give it a function that makes one for each subscription`,
    { cause: before.failure?.error },
  );
}
