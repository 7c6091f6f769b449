import { type Flow, leaveAs, Scope, type Verb } from './flow.js';

/**
 * One stream among several, or one attempt after another, for an operator that picks between them: it knows the flows of its
 * streams, and can end them on purpose without a sink taking that for a loss.
 */
export class Branch {
  readonly scope: Scope = new Scope(false);
  readonly #flows: Set<Flow> = new Set();

  constructor() {
    this.scope.onFlow = (flow): void => {
      this.#flows.add(flow);
    };
  }

  /** The flows that this branch drew from, those that have ended included. */
  get flows(): ReadonlySet<Flow> {
    return this.#flows;
  }

  /**
   * Sinks do not ask the flows so far any more: what they brought is void, or somebody else goes on with it. Its own flows only:
   * the one that is delivering now may be another branch's.
   */
  excuse(): void {
    for (const flow of this.#flows) flow.excused = !flow.proven;
  }

  /** Leaves this branch's flows, and theirs alone, by a verb. */
  leave(verb: Verb, run: () => void): void {
    leaveAs(verb, 'unsubscribe', run, this.scope);
  }
}
