import type { OperatorFunction } from 'rxjs';
import { link, operate } from './operate.js';

/** Cuts a body into events; what the parsers of `protocol` have in common. */
export interface BodyParser<Event> {
  push(chunk: Uint8Array, emit: (event: Event) => void): void;
  /** The body is over. */
  end(emit: (event: Event) => void): void;
  /** Nothing more comes, not from the chunk in hand either. */
  stop(): void;
}

/** An operator on a parser, made anew for each subscription when its first bytes, or its end, are there. */
export function connectParser<Event>(make: () => BodyParser<Event>): OperatorFunction<Uint8Array, Event> {
  return operate((source, subscriber) => {
    let parser: BodyParser<Event> | undefined;
    const emit = (event: Event): void => {
      subscriber.next(event);
    };
    // A subscriber may feed or complete a Subject above from inside `next`: the chunk in hand is finished first.
    let depth = 0;
    let isOver = false;
    subscriber.add(() => {
      parser?.stop();
    });
    source.subscribe(
      link<Uint8Array>(subscriber, {
        next: (chunk) => {
          parser ??= make();
          depth += 1;
          parser.push(chunk, emit);
          depth -= 1;
          if (isOver && depth === 0) subscriber.complete();
        },
        complete: () => {
          isOver = true;
          parser ??= make();
          parser.end(emit);
          if (depth === 0) subscriber.complete();
        },
      }),
    );
  });
}
