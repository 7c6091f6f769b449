import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { defer, finalize, from, ignoreElements, map, Observable, type Subject } from 'rxjs';
import type { Agent } from 'undici';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { timeout } from '../../src/operators/timeout.js';
import { toTokens } from '../../src/operators/toTokens.js';
import type { Call } from '../../src/protocol/call.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { collect } from '../../src/sinks/collect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { toStdout } from '../../src/sinks/toStdout.js';
import { fromCall, type FromCallOptions } from '../../src/sources/fromCall.js';
import { mergeStreams } from '../../src/sources/mergeStreams.js';
import { raceStreams } from '../../src/sources/raceStreams.js';
import type { StreamEvent } from '../../src/types.js';

/** What lives as long as the program, and is given to every stream. */
export interface World {
  readonly signal: AbortSignal;
  readonly output: Writable;
  readonly dispatcher: Agent;
  readonly folder: string;
}

/** One stream about to be read. */
export interface Visit {
  readonly world: World;
  readonly id: string;
  readonly call: Call;
  /** A call beside it, where a door takes two. */
  readonly other: Call;
  readonly options: FromCallOptions;
  /** Passes on, and counts for the reader who leaves after so many events. */
  readonly counted: (source: Observable<StreamEvent>) => Observable<StreamEvent>;
  /** Emits when the reader stops the stream in place of leaving. */
  readonly stop: Subject<void>;
  /** After so many items a loop is left. */
  readonly breakAfter: number;
}

const QUICK = { count: 2, delay: { initialMs: 1, maxMs: 2 } };

/** The ways out of the library, and into it. */
export const doors: Readonly<Record<string, (visit: Visit) => Observable<unknown>>> = {
  subscribe: (visit) => read(visit),
  toFile: (visit) => read(visit).pipe(toFile(join(visit.world.folder, visit.id), { fsync: false })),
  toStdout: (visit) => read(visit).pipe(toStdout({ stream: visit.world.output })),
  asyncIterableFrom: (visit) => loop(read(visit).pipe(map(({ type }) => type)), visit.breakAfter),
  collect: (visit) => whole(read(visit)),
  retryOnDisconnect: (visit) => read(visit).pipe(retryOnDisconnect(QUICK)),
  'retry and timeout in one': (visit) =>
    read(visit, { ...visit.options, retry: QUICK, timeout: { firstContentMs: 40, contentIdleMs: 20 } }),
  timeout: (visit) =>
    read(visit).pipe(timeout({ headersMs: 40, contentIdleMs: 20 }), toTokens({ onRestart: 'ignore' })),
  'stopOn a signal': (visit) => read(visit).pipe(stopOn(visit.world.signal)),
  'stopOn an observable': (visit) => read(visit).pipe(stopOn(visit.stop)),
  mergeStreams: (visit) => mergeStreams(both(visit), { onFailure: 'continue' }),
  raceStreams: (visit) => raceStreams(both(visit), { hedgeAfterMs: 2 }),
};

function read({ call, options, counted }: Visit, own = options): Observable<StreamEvent> {
  return counted(fromCall(call, own));
}

function both(visit: Visit): Record<string, Observable<StreamEvent>> {
  return { a: read(visit), b: read({ ...visit, call: visit.other }) };
}

/** A promise has no other way to be left. */
function whole(source: Observable<StreamEvent>): Observable<unknown> {
  return defer(() => {
    const controller = new AbortController();
    return from(collect(source, { signal: controller.signal })).pipe(
      finalize(() => {
        controller.abort();
      }),
    );
  });
}

/** A `for await` that is left after so many items; leaving it from outside ends it as `return` does. */
function loop(source: Observable<unknown>, breakAfter: number): Observable<never> {
  return defer(() => {
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    const run = async (): Promise<void> => {
      let heard = 0;
      for await (const _ of { [Symbol.asyncIterator]: () => iterator }) if ((heard += 1) === breakAfter) break;
    };
    return from(run()).pipe(
      finalize(() => void iterator.return?.()),
      ignoreElements(),
    );
  });
}
