import {
  asapScheduler,
  asyncScheduler,
  bufferCount,
  bufferTime,
  concat,
  concatMap,
  defer,
  delay,
  filter,
  from,
  groupBy,
  interval,
  map,
  merge,
  mergeMap,
  NEVER,
  type Observable,
  observeOn,
  of,
  queueScheduler,
  retry,
  scan,
  share,
  subscribeOn,
  switchMap,
  take,
  zip,
} from 'rxjs';
import { bufferSentences } from '../../src/operators/bufferSentences.js';
import { createGate } from '../../src/operators/createGate.js';
import { fallbackTo } from '../../src/operators/fallbackTo.js';
import { isolate } from '../../src/operators/isolate.js';
import { mapAsync } from '../../src/operators/mapAsync.js';
import { mergeStreams } from '../../src/sources/mergeStreams.js';
import { raceStreams } from '../../src/sources/raceStreams.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { smooth } from '../../src/operators/smooth.js';
import { splitThinking } from '../../src/operators/splitThinking.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapEvents } from '../../src/operators/tapEvents.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { timeout } from '../../src/operators/timeout.js';
import { toTokens } from '../../src/operators/toTokens.js';
import type { StreamEvent } from '../../src/types.js';

/** One way to lead a stream from its source to a sink. */
export interface PressureCase {
  /** As code. */
  readonly name: string;
  /** Whether the sink is promised to hold the source back, and by what besides its mark. */
  readonly bound: 'stack' | 'window' | 'none';
  /** How many streams may each bring one more chunk. */
  readonly streams?: number;
  /** What the operators of the pipeline hold themselves, in pieces. */
  readonly held?: number;
  /** How many attempts are cut. */
  readonly cuts?: number;
  readonly build: (ask: () => Observable<StreamEvent>) => Observable<StreamEvent | string>;
}

const again = { delay: { initialMs: 1, maxMs: 1 } };
const soon = (): Observable<number> => of(0).pipe(delay(1));
const word = (event: StreamEvent): string => (event.type === 'text' ? event.text : '');
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Each operator alone, and the combinations in which a sink could lose sight of what fills it. */
export const pressureCases: readonly PressureCase[] = [
  { name: 'ask()', bound: 'stack', build: (ask) => ask() },
  { name: 'map', bound: 'stack', build: (ask) => ask().pipe(map(word)) },
  { name: 'filter', bound: 'stack', build: (ask) => ask().pipe(filter(({ type }) => type === 'text')) },
  { name: 'scan', bound: 'stack', build: (ask) => ask().pipe(scan((_, event) => word(event), '')) },
  { name: 'merge of two', bound: 'stack', streams: 2, build: (ask) => merge(ask(), ask()) },
  { name: 'mergeMap to three', bound: 'stack', streams: 3, build: (ask) => of(1, 2, 3).pipe(mergeMap(ask)) },
  { name: 'switchMap', bound: 'stack', build: (ask) => of(1).pipe(switchMap(ask)) },
  { name: 'concat', bound: 'stack', build: (ask) => concat(ask(), ask()) },
  { name: 'share', bound: 'stack', build: (ask) => ask().pipe(share()) },
  {
    name: 'groupBy, mergeMap',
    bound: 'stack',
    build: (ask) =>
      ask().pipe(
        groupBy(({ type }) => type),
        mergeMap((group) => group),
      ),
  },
  {
    name: 'bufferCount(10)',
    bound: 'stack',
    held: 9,
    build: (ask) =>
      ask().pipe(
        bufferCount(10),
        mergeMap((events) => from(events)),
      ),
  },
  { name: 'late mergeMap', bound: 'stack', build: (ask) => soon().pipe(mergeMap(ask)) },
  { name: 'late switchMap', bound: 'stack', build: (ask) => soon().pipe(switchMap(ask)) },
  { name: 'subscribeOn', bound: 'stack', build: (ask) => ask().pipe(subscribeOn(asyncScheduler)) },
  { name: 'retry', bound: 'stack', cuts: 2, build: (ask) => defer(ask).pipe(retry({ delay: 2 })) },
  { name: 'retryOnDisconnect', bound: 'stack', cuts: 1, build: (ask) => ask().pipe(retryOnDisconnect(again)) },
  { name: 'timeout', bound: 'stack', build: (ask) => ask().pipe(timeout({ contentIdleMs: 60_000 })) },
  { name: 'stopOn', bound: 'stack', build: (ask) => ask().pipe(stopOn(NEVER)) },
  { name: 'toTokens', bound: 'stack', build: (ask) => ask().pipe(toTokens()) },
  { name: 'bufferSentences', bound: 'stack', held: 2, build: (ask) => ask().pipe(bufferSentences()) },
  { name: 'splitThinking', bound: 'stack', build: (ask) => ask().pipe(splitThinking()) },
  { name: 'tapEvents', bound: 'stack', build: (ask) => ask().pipe(tapEvents({})) },
  { name: 'tapReceipt', bound: 'stack', build: (ask) => ask().pipe(tapReceipt(() => undefined)) },
  { name: 'fallbackTo', bound: 'stack', build: (ask) => ask().pipe(fallbackTo(() => ask())) },
  {
    name: 'mapAsync',
    bound: 'stack',
    held: 17,
    build: (ask) => ask().pipe(mapAsync((event) => turn().then(() => event))),
  },
  {
    name: 'mapAsync, eight at once',
    bound: 'stack',
    held: 24,
    build: (ask) => ask().pipe(mapAsync((event) => turn().then(() => event), { concurrency: 8 })),
  },
  { name: 'a gate', bound: 'stack', build: (ask) => ask().pipe(createGate({ concurrency: 1 })('key')) },
  { name: 'mergeStreams of two', bound: 'stack', streams: 2, build: (ask) => mergeStreams({ a: ask(), b: ask() }) },
  { name: 'raceStreams of two', bound: 'stack', streams: 2, build: (ask) => raceStreams({ a: ask(), b: ask() }) },
  { name: 'observeOn(queueScheduler)', bound: 'stack', build: (ask) => ask().pipe(observeOn(queueScheduler)) },
  { name: 'observeOn(asapScheduler)', bound: 'window', build: (ask) => ask().pipe(observeOn(asapScheduler)) },
  { name: 'observeOn(asyncScheduler)', bound: 'window', build: (ask) => ask().pipe(observeOn(asyncScheduler)) },
  {
    name: 'observeOn twice',
    bound: 'window',
    build: (ask) => ask().pipe(observeOn(asyncScheduler), observeOn(asyncScheduler)),
  },
  { name: 'delay', bound: 'window', build: (ask) => ask().pipe(delay(5)) },
  { name: 'share, observeOn', bound: 'window', build: (ask) => ask().pipe(share(), observeOn(asyncScheduler)) },
  {
    name: 'subscribeOn, observeOn',
    bound: 'window',
    build: (ask) => ask().pipe(subscribeOn(asyncScheduler), observeOn(asyncScheduler)),
  },
  {
    name: 'merge of one behind observeOn and one not',
    bound: 'window',
    streams: 2,
    build: (ask) => merge(ask().pipe(observeOn(asyncScheduler)), ask()),
  },
  {
    name: 'merge of one known and a late one, delay',
    bound: 'window',
    build: (ask) => merge(concat(ask().pipe(take(1)), NEVER), soon().pipe(mergeMap(ask), delay(5))),
  },
  {
    name: 'late mergeMap, observeOn',
    bound: 'window',
    build: (ask) => soon().pipe(mergeMap(ask), observeOn(asyncScheduler)),
  },
  {
    name: 'late mergeMap, observeOn inside',
    bound: 'window',
    build: (ask) => soon().pipe(mergeMap(() => ask().pipe(observeOn(asyncScheduler)))),
  },
  { name: 'late mergeMap, delay', bound: 'window', build: (ask) => soon().pipe(mergeMap(ask), delay(5)) },
  {
    name: 'late mergeMap, delay inside',
    bound: 'window',
    build: (ask) => soon().pipe(mergeMap(() => ask().pipe(delay(5)))),
  },
  {
    name: 'late mergeMap twice, delay',
    bound: 'window',
    build: (ask) =>
      soon().pipe(
        mergeMap(() => ask().pipe(take(3))),
        mergeMap(ask),
        delay(5),
      ),
  },
  {
    name: 'late switchMap, observeOn',
    bound: 'window',
    build: (ask) => soon().pipe(switchMap(ask), observeOn(asyncScheduler)),
  },
  {
    name: 'late switchMap, observeOn inside',
    bound: 'window',
    build: (ask) => soon().pipe(switchMap(() => ask().pipe(observeOn(asyncScheduler)))),
  },
  { name: 'late switchMap, delay', bound: 'window', build: (ask) => soon().pipe(switchMap(ask), delay(5)) },
  {
    name: 'switchMap of a promise, observeOn',
    bound: 'window',
    build: (ask) => from(Promise.resolve()).pipe(switchMap(ask), observeOn(asyncScheduler)),
  },
  {
    name: 'late share, observeOn',
    bound: 'window',
    build: (ask) =>
      soon().pipe(
        mergeMap(() => ask().pipe(share())),
        observeOn(asyncScheduler),
      ),
  },
  {
    name: 'retry, observeOn',
    bound: 'window',
    cuts: 2,
    build: (ask) => defer(ask).pipe(retry({ delay: 2 }), observeOn(asyncScheduler)),
  },
  {
    name: 'retry, observeOn inside',
    bound: 'window',
    cuts: 2,
    build: (ask) => defer(ask).pipe(observeOn(asyncScheduler), retry({ delay: 2 })),
  },
  { name: 'retry, delay', bound: 'window', cuts: 2, build: (ask) => defer(ask).pipe(retry({ delay: 2 }), delay(5)) },
  {
    name: 'late mergeMap to retry, observeOn inside',
    bound: 'window',
    cuts: 2,
    build: (ask) => soon().pipe(mergeMap(() => defer(ask).pipe(observeOn(asyncScheduler), retry({ delay: 2 })))),
  },
  {
    name: 'retryOnDisconnect, observeOn',
    bound: 'window',
    cuts: 1,
    build: (ask) => ask().pipe(retryOnDisconnect(again), observeOn(asyncScheduler)),
  },
  {
    name: 'late mergeMap to retryOnDisconnect, delay',
    bound: 'window',
    cuts: 1,
    build: (ask) =>
      soon().pipe(
        mergeMap(() => ask().pipe(retryOnDisconnect(again))),
        delay(5),
      ),
  },
  {
    name: 'mergeStreams, observeOn',
    bound: 'window',
    streams: 2,
    build: (ask) => mergeStreams({ a: ask(), b: ask() }).pipe(observeOn(asyncScheduler)),
  },
  {
    name: 'smooth',
    bound: 'window',
    build: (ask) => ask().pipe(smooth({ msPerToken: 1, tickMs: 1, maxChars: 8_192 })),
  },
  {
    name: 'concatMap over promises',
    bound: 'none',
    build: (ask) => ask().pipe(concatMap((event) => turn().then(() => event))),
  },
  {
    name: 'zip with an interval',
    bound: 'none',
    build: (ask) => zip(ask(), interval(1)).pipe(map(([event]) => event)),
  },
  {
    name: 'bufferTime(5)',
    bound: 'none',
    build: (ask) =>
      ask().pipe(
        bufferTime(5),
        mergeMap((events) => from(events)),
      ),
  },
  { name: 'isolate', bound: 'none', build: (ask) => ask().pipe(isolate()) },
  { name: 'isolate, observeOn', bound: 'none', build: (ask) => ask().pipe(isolate(), observeOn(asyncScheduler)) },
];
