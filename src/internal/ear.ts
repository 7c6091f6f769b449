import { Flow, Scope, subscribeWithin } from './flow.js';

/** What an {@link Ear} tells. */
export interface Hearing {
  /** The headers of an answer came. */
  readonly onHeaders: () => void;
  /** Something that was drawn from is over before its proven end; the stream may be, or go on with another one. */
  readonly onBreak: () => void;
}

/**
 * Hears of what happens above at any depth, which no item tells: flows tell the flow that a scope feeds, and this one feeds nobody.
 * To be made where what it hears of is subscribed to.
 */
export class Ear {
  readonly #scope: Scope;

  constructor(hearing: Hearing) {
    this.#scope = new Scope(false, new Listener(hearing.onHeaders));
    this.#scope.onEnd = ({ state, facts }): void => {
      if (state !== 'complete' && facts.isMarker !== true) hearing.onBreak();
    };
  }

  /** Runs a subscription of which it hears. */
  within(subscribe: () => void): void {
    subscribeWithin(this.#scope, subscribe);
  }

  /** Notes who delivers: a flow that was subscribed to on another stack is known by that alone. */
  onItem(): void {
    this.#scope.current();
  }

  /** True where something that is drawn from now has been answered. */
  get hasHeaders(): boolean {
    return [...this.#scope.flows].some(({ headersAt }) => headersAt !== undefined);
  }

  /** Hears nothing more. Flows that go on for others forget it. */
  close(): void {
    const { flows, nearby } = this.#scope;
    this.#scope.onEnd = undefined;
    for (const flow of [...flows, ...nearby]) flow.scopes.delete(this.#scope);
  }
}

class Listener extends Flow {
  readonly #onHeaders: () => void;

  constructor(onHeaders: () => void) {
    super();
    this.#onHeaders = onHeaders;
  }

  override onHeaders(): void {
    this.#onHeaders();
  }

  override onBytes(): void {
    // Nobody asks when they came.
  }
}
