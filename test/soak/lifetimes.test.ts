import { type EventEmitter, getEventListeners } from 'node:events';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { Writable } from 'node:stream';
import * as fc from 'fast-check';
import { from, lastValueFrom, map, mergeMap, type Observable, Subject, Subscription, tap, toArray } from 'rxjs';
import { Agent } from 'undici';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Call } from '../../src/protocol/call.js';
import type { Fault, ProviderBaseURLs } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';
import { type Child, startChild } from '../support/soakChild.js';
import { doors, type World } from '../support/soakDoors.js';
import { collectGarbage, slopeOf } from '../support/soakMemory.js';
import { type ProvidersReady, type ProvidersState, type Script, soakProviders } from '../support/soakProviders.js';
import { variants } from '../support/variants.js';

const asked = process.env['MILLRACE_SOAK_CYCLES'];
/** `npm run soak` asks for more. */
const CYCLES = Number(asked ?? 400);
const WINDOWS = asked === undefined ? 8 : 20;
const AT_ONCE = 16;
/** For code that gets compiled and for the test runner's source maps; a stream that stayed would leave more. */
const MAX_BYTES_PER_CYCLE = asked === undefined ? 16_384 : 512;
/** Who never hears an end leaves then, and should never have to. */
const TOO_LONG_MS = 10_000;

/** Doors that pause their streams here. */
const PAUSING: readonly string[] = ['toStdout', 'toFile', 'asyncIterableFrom'];

interface Cycle extends Omit<Script, 'id'> {
  readonly door: string;
  /** The call beside it, where a door takes two. */
  readonly other: number;
  /** Nobody listens there. */
  readonly isRefused: boolean;
  readonly dispatcher: 'own' | 'default';
  /** After how many events the reader leaves; 0: at once. Infinity: never. */
  readonly leaveAfter: number;
  /** After how many milliseconds the reader leaves. */
  readonly leaveAfterMs: number;
  readonly leaveBy: 'unsubscribe' | 'stop';
}

const cycle: fc.Arbitrary<Cycle> = fc.nat({ max: variants.length - 1 }).chain((variant) => {
  const { frames } = variants[variant]!.stream;
  const place = fc.oneof(
    fc.record({ byte: fc.integer({ min: 0, max: bytesOf(frames.join('')).length }) }),
    fc.constantFrom<'after-headers' | 'end'>('after-headers', 'end'),
  );
  const fault: fc.Arbitrary<Fault> = fc.oneof(
    fc.record({ kind: fc.constantFrom('reset', 'fin', 'stall'), at: fc.oneof(place, fc.constant('before-headers')) }),
    fc.record({ kind: fc.constantFrom('close', 'end', 'bad-chunk', 'garbage', 'in-band-error'), at: place }),
    fc.record({ kind: fc.constant('pause'), at: place, forMs: fc.nat({ max: 5 }) }),
    fc.record({ kind: fc.constant('slow-headers'), delayMs: fc.nat({ max: 5 }) }),
    fc.constant({ kind: 'wrong-type' }),
  );
  const seldom = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });
  const one = fc.record({
    variant: fc.constant(variant),
    other: fc.nat({ max: variants.length - 1 }),
    door: fc.constantFrom(...Object.keys(doors)),
    fault: fc.option(fault, { nil: undefined, freq: 3 }),
    status: seldom(fc.constantFrom(401, 404, 429, 500, 503)),
    coding: seldom(fc.constant('gzip')),
    chunkBytes: fc.option(fc.integer({ min: 1, max: 64 }), { nil: undefined, freq: 2 }),
    heals: fc.boolean(),
    isRefused: seldom(fc.constant(true)).map((is) => is === true),
    dispatcher: fc.constantFrom<'own' | 'default'>('own', 'default'),
    leaveAfter: fc.option(fc.integer({ min: 0, max: frames.length }), { nil: Infinity, freq: 2 }),
    leaveAfterMs: fc.option(fc.nat({ max: 30 }), { nil: TOO_LONG_MS, freq: 2 }),
    leaveBy: fc.constantFrom<'unsubscribe' | 'stop'>('unsubscribe', 'stop'),
  });
  return one.map((each) => ({
    ...each,
    // undici 7 ends the process where a connection ends under a paused response; the default dispatcher alone is kept from it.
    dispatcher: PAUSING.includes(each.door) ? 'default' : each.dispatcher,
    // Of a stalled stream nobody else would tell the end.
    leaveAfterMs: each.fault?.kind === 'stall' ? Math.min(each.leaveAfterMs, 30) : each.leaveAfterMs,
  }));
});

let server: Child<ProvidersReady, ProvidersState>;
let world: World;
const warnings: string[] = [];
const note = (warning: unknown): void => {
  warnings.push(String(warning));
};

beforeAll(async () => {
  process.on('warning', note);
  process.on('unhandledRejection', note);
  server = await startChild(soakProviders);
  world = {
    signal: new AbortController().signal,
    output: new Writable({
      highWaterMark: 64,
      write: (_, __, done) => {
        setImmediate(done);
      },
    }),
    dispatcher: new Agent(),
    folder: await mkdtemp(join(tmpdir(), 'millrace-')),
  };
});
afterAll(async () => {
  await world.dispatcher.destroy();
  await server.close();
  await rm(world.folder, { recursive: true });
  process.off('warning', note);
  process.off('unhandledRejection', note);
});

type Ending = 'complete' | 'error' | 'left' | 'given up';

/** Calls that something still holds. */
let alive: WeakRef<Call>[] = [];
const heardAfterLeaving: string[] = [];

function ask(place: number, id: string, { isRefused, ...order }: Cycle): Call {
  const { variant: _, fault, status, coding, chunkBytes, heals } = order;
  const script: Script = { id, variant: place, fault, status, coding, chunkBytes, heals };
  const { baseURLs } = server.ready;
  const urls = isRefused ? refused(baseURLs) : baseURLs;
  const call = variants[place]!.ask(urls, { 'x-cycle': JSON.stringify(script) });
  alive.push(new WeakRef(call));
  return call;
}

function refused(urls: ProviderBaseURLs): ProviderBaseURLs {
  const moved = Object.entries<string>({ ...urls }).map(([key, url]) => [key, url.replace(/:\d+/, ':1')]);
  return Object.fromEntries(moved) as ProviderBaseURLs; // the same keys
}

/** Subscribes, leaves at the given moment, and says how it ended. */
function live(order: Cycle, id: string): Promise<Ending> {
  const { leaveAfter, leaveAfterMs, leaveBy } = order;
  return new Promise((resolve) => {
    const subscription = new Subscription();
    const stop = new Subject<void>();
    let heard = 0;
    let ending: Ending | undefined;
    const end = (how: Ending): void => {
      clearTimeout(timer);
      ending ??= how;
      resolve(ending);
    };
    const leave = (how: Ending): void => {
      if (leaveBy === 'stop' && order.door === 'stopOn an observable' && ending === undefined) stop.next();
      subscription.unsubscribe();
      end(how);
    };
    const timer = setTimeout(() => {
      leave(leaveAfterMs === TOO_LONG_MS ? 'given up' : 'left');
    }, leaveAfterMs);
    const counted = (source: Observable<StreamEvent>): Observable<StreamEvent> =>
      source.pipe(
        tap(() => {
          if ((heard += 1) === leaveAfter) leave('left');
        }),
      );
    const hear = (what: string, how?: Ending) => (): void => {
      if (ending === 'left') heardAfterLeaving.push(`${id} ${order.door}: ${what}`);
      if (how !== undefined) end(how);
    };
    const { signal, dispatcher } = world;
    const own = order.dispatcher === 'own' ? { dispatcher } : {};
    subscription.add(
      doors[order.door]!({
        world,
        id,
        call: ask(order.variant, id, order),
        other: ask(order.other, id, order),
        options: { signal, onCancelError: () => undefined, ...own },
        counted,
        stop,
        breakAfter: leaveAfter,
      }).subscribe({
        next: hear('an event'),
        error: hear('an error', 'error'),
        complete: hear('the end', 'complete'),
      }),
    );
    if (leaveAfter === 0) leave('left');
  });
}

/** What could grow, after so many streams. */
interface Measure {
  /** On each of the objects that outlive every stream. */
  readonly listeners: string;
  /** Open connections, as the server sees them. */
  readonly connections: number;
  readonly timers: number;
  /** Whatever keeps the process alive, but for sockets and timers. */
  readonly handles: number;
  /** File descriptors, but for sockets; where the system tells. */
  readonly files: number;
  readonly alive: number;
  readonly heapBytes: number;
}

function listenersOf(emitter: EventEmitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
}

function openFiles(): number {
  if (!existsSync('/proc/self/fd')) return 0;
  const links = readdirSync('/proc/self/fd').map((name) => `/proc/self/fd/${name}`);
  // That of the folder itself is closed by now.
  return links.filter((link) => existsSync(link) && readlinkSync(link).startsWith('/')).length;
}

async function measure(): Promise<Measure> {
  // What was left may still be on its way out: a request that cancels, a file that is being closed.
  await vi.waitFor(
    async () => {
      const { running } = await server.ask();
      expect(running).toEqual([]);
      expect(process.getActiveResourcesInfo().filter((kind) => kind.startsWith('FS'))).toEqual([]);
    },
    { timeout: 10_000, interval: 20 },
  );
  for (const name of readdirSync(world.folder)) await rm(join(world.folder, name));
  const { connections } = await server.ask();
  await collectGarbage();
  const { signal, output, dispatcher } = world;
  const resources = process.getActiveResourcesInfo();
  const timers = resources.filter((kind) => kind === 'Timeout').length;
  const sockets = resources.filter((kind) => kind === 'TCPSocketWrap').length;
  alive = alive.filter((ref) => ref.deref() !== undefined);
  const listeners = {
    signal: getEventListeners(signal, 'abort').length,
    output: listenersOf(output),
    dispatcher: listenersOf(dispatcher),
    process: listenersOf(process),
    stdout: listenersOf(process.stdout),
  };
  return {
    listeners: JSON.stringify(listeners),
    connections,
    timers,
    handles: resources.length - timers - sockets,
    files: openFiles(),
    alive: alive.length,
    heapBytes: process.memoryUsage().heapUsed,
  };
}

it(`leaves nothing behind after ${CYCLES.toLocaleString('en')} streams with random faults, left at random moments`, async () => {
  const each = Math.ceil(CYCLES / WINDOWS);
  const endings: Map<Ending, number> = new Map();
  const before = await measure();
  const measures: Measure[] = [];
  for (let window = 0; window < WINDOWS; window += 1) {
    const ended = await lastValueFrom(
      from(fc.sample(cycle, { numRuns: each, seed: window })).pipe(
        mergeMap((order, index) => live(order, `${String(window)}-${String(index)}`), AT_ONCE),
        map((ending) => endings.set(ending, (endings.get(ending) ?? 0) + 1)),
        toArray(),
      ),
    );
    expect(ended).toHaveLength(each);
    measures.push(await measure());
  }

  const of = (get: (measure: Measure) => number): number[] => measures.map(get);
  const later = measures.slice(WINDOWS / 2);
  const bytesPerCycle = slopeOf(later.map(({ heapBytes }) => heapBytes)) / each;
  const firstAndLast = (get: (measure: Measure) => number): string =>
    `${String(get(measures[0]!))} to ${String(get(measures.at(-1)!))}`;
  console.log(
    `soak: ${(each * WINDOWS).toLocaleString('en')} streams through ${String(Object.keys(doors).length)} doors, ` +
      `${[...endings].map(([how, count]) => `${count.toLocaleString('en')} ${how}`).join(', ')}; ` +
      `from the first to the last of ${String(WINDOWS)} windows: connections ${firstAndLast(({ connections }) => connections)}, ` +
      `timers ${firstAndLast(({ timers }) => timers)}, handles ${firstAndLast(({ handles }) => handles)}, ` +
      `open files ${firstAndLast(({ files }) => files)}, calls still held ${firstAndLast((one) => one.alive)}, ` +
      `heap ${firstAndLast(({ heapBytes }) => Math.round(heapBytes / 1024))} KiB ` +
      `(${bytesPerCycle.toFixed(0)} bytes for each stream in the later half); listeners ${measures.at(-1)!.listeners}`,
  );

  expect(warnings).toEqual([]);
  expect(heardAfterLeaving).toEqual([]);
  expect(endings.get('given up') ?? 0).toBe(0);
  for (const { listeners } of measures) expect(listeners).toBe(before.listeners);
  // HTTP clients keep as many as they needed at once: two doors take two, and leaving may take one to cancel.
  for (const connections of of((one) => one.connections)) expect(connections).toBeLessThanOrEqual(4 * AT_ONCE);
  for (const get of [(one: Measure) => one.timers, (one: Measure) => one.handles, (one: Measure) => one.files]) {
    expect(Math.max(...later.map(get)), String(get)).toBeLessThanOrEqual(
      Math.max(...of(get).slice(0, WINDOWS / 2)) + 2,
    );
  }
  // A kept connection may remember its last request.
  for (const held of of((one) => one.alive)) expect(held).toBeLessThanOrEqual(AT_ONCE);
  expect(bytesPerCycle).toBeLessThan(MAX_BYTES_PER_CYCLE);
}, 900_000);
