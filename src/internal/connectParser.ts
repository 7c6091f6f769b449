import { Observable, type OperatorFunction, type Subscriber } from 'rxjs';
import type { Shortcut } from '../protocol/shortcut.js';
import { enterChunk, leaveChunk } from './flow.js';
import { link } from './operate.js';

/** Cuts a body into events; what the parsers of `protocol` have in common. */
export interface BodyParser<Event> {
  push(chunk: Uint8Array, emit: (event: Event) => void): void;
  /** The body is over. */
  end(emit: (event: Event) => void): void;
  /** Nothing more comes, not from the chunk in hand either. */
  stop(): void;
}

/** Streams of parsed events, with how each is made for a decoder that knows events by sight. */
const parsed: WeakMap<Observable<unknown>, (shortcut: Shortcut) => Observable<never>> = new WeakMap();

/** An operator on a parser, made anew for each subscription when its first bytes, or its end, are there. */
export function connectParser<Event>(
  make: (shortcut?: Shortcut) => BodyParser<Event>,
): OperatorFunction<Uint8Array, Event> {
  return (source) => {
    const through = (shortcut?: Shortcut): Observable<Event> =>
      new Observable((subscriber) => {
        connect(source, subscriber, () => make(shortcut));
      });
    const events = through();
    parsed.set(events, through as (shortcut: Shortcut) => Observable<never>); // of the same events, see `withShortcut`
    return events;
  };
}

/**
 * The events of `source`, for a decoder that is its only reader: where a parser stands directly above, it need not take apart what the
 * decoder knows by sight.
 */
export function withShortcut<Event>(source: Observable<Event>, shortcut: Shortcut | undefined): Observable<Event> {
  return (shortcut && parsed.get(source)?.(shortcut)) ?? source;
}

function connect<Event>(
  source: Observable<Uint8Array>,
  subscriber: Subscriber<Event>,
  make: () => BodyParser<Event>,
): void {
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
        const isOuter = enterChunk();
        depth += 1;
        try {
          parser.push(chunk, emit);
        } finally {
          leaveChunk(isOuter);
        }
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
}
