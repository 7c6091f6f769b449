import { Observable, type OperatorFunction, Subscriber, type Subscription } from 'rxjs';
import { leaveAs, type Scope, subscribeWithin, tearDownWithin } from './flow.js';
import { enterSink, type RunningSink } from './running.js';

/** What an operator does with its source's notifications; `error` and `complete` are passed on when left out. */
export interface Handlers<In> {
  readonly next: (value: In) => void;
  readonly error?: (error: unknown) => void;
  readonly complete?: () => void;
}

/** Builds an operator; `connect` runs once per subscription, so its locals are that subscription's state. */
export function operate<In, Out>(
  connect: (source: Observable<In>, subscriber: Subscriber<Out>) => void,
): OperatorFunction<In, Out> {
  return (source) =>
    new Observable<Out>((subscriber) => {
      connect(source, subscriber);
    });
}

/**
 * An upstream observer that stops with `subscriber` and turns handler throws into its error. A plain observer would lose
 * the throw and could not be stopped by a synchronous source.
 */
export function link<In>(subscriber: Subscriber<never>, handlers: Handlers<In>): Subscriber<In> {
  return new Link<In>(subscriber, undefined, () => handlers);
}

/** What a scope's upstream does besides. */
export interface DrawHandlers<In> extends Handlers<In> {
  /** Runs once, at any ending, after everything above has been torn down. */
  readonly left?: () => void;
}

/**
 * Subscribes `source` in the name of `scope`, so that the flows above are known to it. Stops with `subscriber`.
 * @param connect - makes the handlers; it is given the upstream, which a synchronous source may have to be stopped by
 */
export function draw<In>(
  source: Observable<In>,
  subscriber: Subscriber<never>,
  scope: Scope,
  connect: (upstream: Subscription) => DrawHandlers<In>,
): void {
  scope.isDrawing = true;
  const upstream: Link<In> = new Link(subscriber, scope, connect);
  if (scope.isSink && !scope.isLate) {
    const sink: RunningSink = {
      stop: (error) => {
        leaveAs('stop', 'shutdown', () => {
          upstream.error(error);
        });
      },
    };
    enterSink(scope, sink);
    upstream.add(() => {
      sink.stop = undefined;
    });
  }
  subscribeWithin(scope, () => {
    source.subscribe(upstream);
  });
}

/** Of a link that is not connected yet. */
const NOTHING: DrawHandlers<unknown> = {
  next: () => {
    // Nothing comes before it is.
  },
};

class Link<In> extends Subscriber<In> {
  readonly #subscriber: Subscriber<never>;
  readonly #scope: Scope | undefined;
  #handlers: DrawHandlers<In> = NOTHING;

  constructor(
    subscriber: Subscriber<never>,
    scope: Scope | undefined,
    connect: (upstream: Subscription) => DrawHandlers<In>,
  ) {
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- linked before a synchronous source starts
    super();
    this.#subscriber = subscriber;
    this.#scope = scope;
    this.#handlers = connect(this);
    subscriber.add(this);
  }

  /** In place of `_next`: each call more on the way of an item is paid for by every token. */
  override next(value: In): void {
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- as RxJS 7 does itself
    if (this.isStopped) {
      super.next(value); // RxJS may want to know
      return;
    }
    try {
      this.#handlers.next(value);
    } catch (error) {
      this.#subscriber.error(error);
    }
  }

  protected override _error(reason: unknown): void {
    try {
      const { error } = this.#handlers;
      if (error === undefined) this.#subscriber.error(reason);
      else error(reason);
    } catch (thrown) {
      this.#subscriber.error(thrown);
    } finally {
      this.unsubscribe();
    }
  }

  protected override _complete(): void {
    try {
      const { complete } = this.#handlers;
      if (complete === undefined) this.#subscriber.complete();
      else complete();
    } catch (error) {
      this.#subscriber.error(error);
    } finally {
      this.unsubscribe();
    }
  }

  override unsubscribe(): void {
    if (this.closed) return;
    if (this.#scope === undefined) {
      super.unsubscribe();
      this.#handlers = NOTHING; // somebody above may hold a link that is closed
      return;
    }
    try {
      tearDownWithin(this.#scope, () => {
        super.unsubscribe();
      });
    } finally {
      // A teardown above may throw, such as the callback of a `finalize`: it is over all the same.
      this.#scope.isDrawing = false;
      const { left } = this.#handlers;
      this.#handlers = NOTHING;
      left?.();
    }
  }
}
