import { Observable } from 'rxjs';
import { Flow, register } from '../../src/internal/flow.js';

/** A source that heeds pressure, and what became of it. */
export interface Pausable<T> {
  readonly source: Observable<T>;
  /** How many items were given so far. */
  readonly given: number;
  /** What it was told, in order: `true` to pause, `false` to go on. */
  readonly told: readonly boolean[];
  readonly flow: Flow;
}

/** Gives items on one stack, as fast as they are taken, and stops while it is paused: what a socket does, without one. */
export function pausable<T>(items: readonly T[]): Pausable<T> {
  const told: boolean[] = [];
  const state = { given: 0, flow: new Flow() };
  const source = new Observable<T>((subscriber) => {
    const flow = new Flow();
    Object.assign(state, { flow, given: 0 });
    register(flow);
    let isGiving = false;
    const give = (): void => {
      if (isGiving) return;
      isGiving = true;
      flow.deliver(() => {
        while (!flow.paused && !subscriber.closed) {
          const item = items[state.given];
          if (item === undefined) {
            flow.proven = true;
            flow.end('complete');
            subscriber.complete();
            break;
          }
          state.given += 1;
          subscriber.next(item);
        }
      });
      isGiving = false;
    };
    flow.onPressure = (paused) => {
      told.push(paused);
      if (!paused) give();
    };
    subscriber.add(() => flow.leave());
    give();
  });
  return {
    source,
    told,
    get given() {
      return state.given;
    },
    get flow() {
      return state.flow;
    },
  };
}
