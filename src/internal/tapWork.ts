import type { MonoTypeOperatorFunction } from 'rxjs';
import { Scope } from './flow.js';
import { draw, operate } from './operate.js';
import type { Position } from './position.js';

/** Tells the id of the work that a call creates, once, as soon as it is known: from the answer that created it, or from its stream. */
export function tapWork<T>(tell: (workId: string) => void): MonoTypeOperatorFunction<T> {
  return operate((source, subscriber) => {
    const scope = new Scope(false);
    let position: Position | undefined;
    let isTold = false;
    const note = (workId: string | undefined): void => {
      if (isTold || workId === undefined) return;
      isTold = true;
      tell(workId);
    };
    scope.onFlow = (flow): void => {
      if (flow.facts.call === undefined) return;
      position = flow.position;
      position.onWork = note; // before its first event
    };
    draw<T>(source, subscriber, scope, () => ({
      next: (event) => {
        if (!isTold) note(position?.decoder?.place?.id);
        subscriber.next(event);
      },
    }));
  });
}
