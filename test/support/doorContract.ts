import { setImmediate as turn } from 'node:timers/promises';
import {
  concat,
  connectable,
  EMPTY,
  filter,
  map,
  NEVER,
  Observable,
  of,
  range,
  Subject,
  takeUntil,
  tap,
  throwError,
} from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import { InterruptedError, LimitError } from '../../src/errors.js';
import type { WaitingLimits } from '../../src/internal/reading.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { pausable } from './pausable.js';

/** A door that was opened, read one item at a time. */
export interface OpenDoor<T> {
  /** The next item; the end; or the stream's error. */
  next(): Promise<IteratorResult<T, undefined>>;
  /** The reader goes. */
  leave(): unknown;
}

/** Opens a door of one kind. */
export type OpenADoor = <T>(source: Observable<T>, limits?: WaitingLimits) => OpenDoor<T>;

/** Reads to the end: what came, and how it ended. */
export async function readAll<T>(door: OpenDoor<T>): Promise<{ readonly items: T[]; readonly end: unknown }> {
  const items: T[] = [];
  try {
    for (;;) {
      const { done, value } = await door.next();
      if (done === true) return { items, end: 'done' };
      items.push(value);
    }
  } catch (error) {
    return { items, end: error };
  }
}

const servers: TestServer[] = [];

/** A server that is closed after the test. */
export async function serve(): Promise<TestServer> {
  const server = await startServer();
  servers.push(server);
  return server;
}

/** The data of a server's events. */
export function events(url: string): Observable<string> {
  return fromHTTP(url).pipe(
    parseSSE(),
    filter((event) => event.type === 'event'),
    map(({ data }) => data),
  );
}

/** Waits until a server's bytes stand still: whole requests to another server go by without one of them. */
export async function standstill(bytesSent: () => number): Promise<number> {
  const quick = await serve();
  for (;;) {
    const before = bytesSent();
    for (let request = 0; request < 20; request += 1) {
      const answer = new Promise<void>((resolve) => {
        fromHTTP(quick.url).subscribe({ complete: resolve });
      });
      await (await quick.accept()).end('data: a\n\n');
      await answer;
    }
    if (before === bytesSent()) return before;
  }
}

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const finish: StreamEvent = { type: 'finish', reason: 'stop' };

/**
 * What every door out of RxJS does.
 * @param readAhead - how many items the platform asks for by itself when it is read
 */
export function describeDoor(name: string, open: OpenADoor, readAhead = 0): void {
  const isAbout = (given: number, expected: number): void => {
    expect(given).toBeGreaterThanOrEqual(expected);
    expect(given).toBeLessThanOrEqual(expected + readAhead);
  };

  describe(`${name}, as a door,`, () => {
    afterEach(async () => {
      await Promise.all(servers.splice(0).map((server) => server.close()));
    });

    it('gives every item in order, and the end', async () => {
      expect(await readAll(open(of('a', 'b', 'c')))).toStrictEqual({ items: ['a', 'b', 'c'], end: 'done' });
      expect(await readAll(open(EMPTY))).toStrictEqual({ items: [], end: 'done' });
      const call = fakeCall([text('a'), text('b'), finish]);
      expect(await readAll(open(fromCall(call).pipe(toTokens())))).toStrictEqual({ items: ['a', 'b'], end: 'done' });
    });

    it('gives what comes while it is waited for', async () => {
      const source = new Subject<string>();
      const all = readAll(open(source));
      for (const item of ['a', 'b', 'c']) {
        while (!source.observed) await turn();
        source.next(item);
        await turn();
      }
      source.complete();
      expect(await all).toStrictEqual({ items: ['a', 'b', 'c'], end: 'done' });
    });

    it('asks for nothing before it is read, and then once', async () => {
      let asked = 0;
      const source = new Observable<string>((subscriber) => {
        asked += 1;
        subscriber.next('a');
        subscriber.next('b');
        subscriber.complete();
      });
      const door = open(source);
      await turn();
      expect(asked).toBe(0);
      await readAll(door);
      expect(asked).toBe(1);
    });

    it('that is left before it is read asks for nothing', async () => {
      let asked = 0;
      const door = open(new Observable<string>(() => void (asked += 1)));
      await door.leave();
      expect(await door.next()).toStrictEqual({ done: true, value: undefined });
      await turn();
      expect(asked).toBe(0);
    });

    it.each([new RangeError('odd'), new InterruptedError('cut')])(
      'gives %s after the items before it, with a receipt',
      async (odd) => {
        const source = concat(
          of('a', 'b'),
          throwError(() => odd),
        );
        const { items, end } = await readAll(open(source));
        expect(items).toStrictEqual(['a', 'b']);
        expect(end).toBe(odd);
        const outcome = odd instanceof InterruptedError ? 'interrupted' : 'failed';
        expect(end).toMatchObject({ receipt: { outcome, where: 'none' } });
      },
    );

    it('gives an error that comes while items wait only after them', async () => {
      const source = new Subject<string>();
      const door = open(source);
      const first = door.next();
      while (!source.observed) await turn();
      for (const item of ['a', 'b', 'c']) source.next(item);
      source.error(new RangeError('odd'));
      await turn();
      expect(await first).toStrictEqual({ done: false, value: 'a' });
      expect(await readAll(door)).toMatchObject({ items: ['b', 'c'], end: new RangeError('odd') });
    });

    it('gives an InterruptedError where an operator completes the stream early', async () => {
      const [source, stop] = [new Subject<StreamEvent>(), new Subject<string>()];
      const all = readAll(open(fromCall(fakeCall(source)).pipe(takeUntil(stop), toTokens())));
      while (!source.observed) await turn();
      source.next(text('half'));
      stop.next('now');
      const { items, end } = await all;
      expect(items).toStrictEqual(['half']);
      expect(end).toBeInstanceOf(InterruptedError);
    });

    it('ends where the stream is stopped on purpose', async () => {
      const [source, stop] = [new Subject<StreamEvent>(), new Subject<string>()];
      const all = readAll(open(fromCall(fakeCall(source)).pipe(stopOn(stop), toTokens())));
      while (!source.observed) await turn();
      source.next(text('half'));
      stop.next('now');
      expect(await all).toStrictEqual({ items: ['half'], end: 'done' });
    });

    it('gives what was received before a connection was cut, then the error', async () => {
      const server = await serve();
      const all = readAll(open(events(server.url)));
      const exchange = await server.accept();
      await exchange.write('data: a\n\ndata: b\n\ndata: c');
      exchange.halfClose();
      const { items, end } = await all;
      expect(items).toStrictEqual(['a', 'b']);
      expect(end).toBeInstanceOf(InterruptedError);
      expect(end).toMatchObject({ receipt: { outcome: 'interrupted', attempts: 1 } });
    });

    it('that is left stops the request, which the server sees', async () => {
      const server = await serve();
      const door = open(events(server.url));
      const first = door.next();
      const exchange = await server.accept();
      await exchange.write('data: a\n\ndata: b\n\n');
      expect((await first).value).toBe('a');
      await door.leave();
      expect(await exchange.ended).toBe('client');
      await exchange.closed;
    });

    it('that is left while it waits stops the request, and ends what waits', async () => {
      const server = await serve();
      const door = open(events(server.url));
      const first = door.next();
      const exchange = await server.accept();
      await door.leave();
      expect(await first).toStrictEqual({ done: true, value: undefined });
      expect(await exchange.ended).toBe('client');
    });

    it('that is left leaves its source in the same turn', async () => {
      const source = new Subject<string>();
      const door = open(source);
      const first = door.next();
      while (!source.observed) await turn();
      const left = door.leave();
      expect(source.observed).toBe(false);
      await left;
      await first;
    });

    it('tells a receipt above that its reader left', async () => {
      const receipts: Receipt[] = [];
      const source = new Subject<StreamEvent>();
      const door = open(
        fromCall(fakeCall(source)).pipe(
          toTokens(),
          tapReceipt((receipt) => receipts.push(receipt)),
        ),
      );
      const first = door.next();
      while (!source.observed) await turn();
      source.next(text('half'));
      await first;
      await door.leave();
      expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader', attempts: 1 }]);
    });

    it.each(['complete', 'failed'] as const)('tells a receipt above that the stream was %s', async (outcome) => {
      const receipts: Receipt[] = [];
      const end = outcome === 'failed' ? throwError(() => new RangeError('odd')) : EMPTY;
      await readAll(open(concat(of('a'), end).pipe(tapReceipt((receipt) => receipts.push(receipt)))));
      expect(receipts).toMatchObject([{ outcome }]);
    });

    it.each([1, 2, 16, 100])('pauses its source at %d items that wait', async (pauseAtItems) => {
      const items = Array.from({ length: 300 }, (_, at) => at);
      const { source, ...stream } = pausableOf(items);
      const door = open(source, { pauseAtItems });
      let most = 0;
      for (const item of items) {
        expect(await door.next()).toStrictEqual({ done: false, value: item });
        most = Math.max(most, stream.given() - item - 1);
      }
      expect(await door.next()).toStrictEqual({ done: true, value: undefined });
      expect(most).toBe(pauseAtItems);
    });

    it('pauses at 16 where it is not told otherwise, and releases its source when it is left', async () => {
      const stream = pausable(Array.from({ length: 300 }, (_, at) => at));
      const door = open(stream.source);
      await door.next();
      await turn();
      isAbout(stream.given, 17);
      expect(stream.flow.paused).toBe(true);
      await door.leave();
      isAbout(stream.given, 17);
      expect(stream.flow.paused).toBe(false);
    });

    it('over a source that cannot be paused holds up to its bound, then fails with what came before', async () => {
      let produced = 0;
      const source = range(0, Number.MAX_SAFE_INTEGER).pipe(tap(() => (produced += 1)));
      const { items, end } = await readAll(open(source, { maxWaitingItems: 10 }));
      expect(items).toStrictEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(end).toBeInstanceOf(LimitError);
      expect(end).toMatchObject({ limit: 'maxWaitingItems', max: 10, receipt: { outcome: 'failed' } });
      expect(end).toHaveProperty('message', expect.stringContaining(name));
      expect(produced).toBe(11);
    });

    it('that is no longer read fails at its bound too, and says so at the next read', async () => {
      const source = new Subject<number>();
      const door = open(source, { maxWaitingItems: 3 });
      const first = door.next();
      while (!source.observed) await turn();
      source.next(0);
      await first;
      for (let item = 1; item <= 3; item += 1) source.next(item);
      expect(source.observed).toBe(true);
      source.next(4);
      expect(source.observed).toBe(false);
      await turn();
      const { items, end } = await readAll(door);
      expect(items).toStrictEqual([1, 2, 3, 4]);
      expect(end).toBeInstanceOf(LimitError);
    });

    it('that is not read blocks the server’s writes, and loses nothing', async () => {
      const flooding = await serve();
      const event = `data: ${'x'.repeat(65_529)}\n\n`;
      const total = 384; // 24 MiB, several times what the sockets of both sides hold
      let produced = 0;
      const source = events(flooding.url).pipe(tap(() => (produced += 1)));
      const door = open(source, { pauseAtItems: 4 });
      const first = door.next();
      const exchange = await flooding.accept();
      const written = (async () => {
        for (let at = 0; at < total; at += 1) await exchange.write(event);
        return exchange.end();
      })();
      expect((await first).value).toHaveLength(65_529);
      expect(await standstill(() => exchange.bytesSent)).toBeLessThan((total * event.length) / 2);
      expect(produced).toBeLessThanOrEqual(1 + 4 + 2); // one was read, four wait, and what one chunk of 64 KiB brings
      const { items, end } = await readAll(door);
      expect(items).toHaveLength(total - 1);
      expect(end).toBe('done');
      expect(await written).toBe(true);
    });

    it('pauses the one stream that fills it, and no other', async () => {
      const [full, free] = [pausable([1, 2, 3, 4, 5, 6]), pausable([1, 2, 3, 4, 5, 6])];
      const doors = [open(full.source, { pauseAtItems: 2 }), open(free.source, { pauseAtItems: 2 })];
      await doors[0]!.next();
      expect(await readAll(doors[1]!)).toMatchObject({ items: [1, 2, 3, 4, 5, 6], end: 'done' });
      isAbout(full.given, 3);
      expect(full.flow.paused).toBe(true);
      await doors[0]!.leave();
    });

    it('that is full and is left lets a stream that it shares go on', async () => {
      const stream = pausable([1, 2, 3, 4, 5, 6]);
      const shared = connectable(stream.source);
      const [slow, quick] = [open(shared, { pauseAtItems: 1 }), open(shared, { pauseAtItems: 100 })];
      const [first, seen] = [slow.next(), readAll(quick)];
      await turn();
      const connection = shared.connect();
      expect((await first).value).toBe(1);
      await turn();
      expect(stream.flow.paused).toBe(true);
      await slow.leave();
      expect((await seen).items).toStrictEqual([1, 2, 3, 4, 5, 6]);
      connection.unsubscribe();
    });

    it('tells the usage of events whose source has no flow', async () => {
      const usage: StreamEvent = { type: 'usage', provenance: 'reported', inputTokens: 3 };
      const { end } = await readAll(
        open(
          concat(
            of(usage),
            throwError(() => new RangeError('odd')),
          ),
        ),
      );
      expect(end).toMatchObject({ receipt: { usage: { provenance: 'partial', inputTokens: 3 } } });
    });

    it('goes on after it stood still', async () => {
      const stream = pausable([1, 2, 3, 4, 5]);
      const door = open(stream.source, { pauseAtItems: 1 });
      expect((await door.next()).value).toBe(1);
      await turn();
      isAbout(stream.given, 2);
      expect(await readAll(door)).toStrictEqual({ items: [2, 3, 4, 5], end: 'done' });
    });

    it.each([0, -1, Number.NaN])('refuses a limit of %d when called', (limit) => {
      expect(() => open(NEVER, { pauseAtItems: limit })).toThrow('pauseAtItems must be a number of at least 1');
      expect(() => open(NEVER, { maxWaitingItems: limit })).toThrow(RangeError);
    });

    it('gives an error that the receipt’s callback above throws', async () => {
      const odd = new RangeError('odd');
      const source = of('a').pipe(
        tapReceipt(() => {
          throw odd;
        }),
      );
      expect(await readAll(open(source))).toStrictEqual({ items: ['a'], end: odd });
    });
  });
}

/** As {@link pausable}, for items that may be 0. */
function pausableOf(items: readonly number[]): { readonly source: Observable<number>; readonly given: () => number } {
  const stream = pausable(items);
  return { source: stream.source, given: () => stream.given };
}
