import { setImmediate as turn } from 'node:timers/promises';
import {
  asapScheduler,
  concat,
  defer,
  filter,
  from,
  map,
  mergeMap,
  NEVER,
  Observable,
  observeOn,
  of,
  range,
  share,
  Subject,
  takeUntil,
  tap,
  throwError,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AbortError, InterruptedError, isMillraceError, LimitError } from '../../src/errors.js';
import { Flow, register } from '../../src/internal/flow.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { asyncIterableFrom, type AsyncIterableFromOptions } from '../../src/sinks/asyncIterableFrom.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { describeDoor } from '../support/doorContract.js';
import { pausable } from '../support/pausable.js';

const open: TestServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(): Promise<TestServer> {
  const server = await startServer();
  open.push(server);
  return server;
}

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const finish: StreamEvent = { type: 'finish', reason: 'stop' };

/** What a loop gets before it ends, and how it ends. */
async function read<T>(
  source: Observable<T>,
  options?: AsyncIterableFromOptions,
): Promise<{ readonly items: T[]; readonly end: unknown }> {
  const items: T[] = [];
  try {
    for await (const item of asyncIterableFrom(source, options)) items.push(item);
  } catch (error) {
    return { items, end: error };
  }
  return { items, end: 'done' };
}

/** The data of the events of a server. */
function events(url: string): Observable<string> {
  return fromHTTP(url).pipe(
    parseSSE(),
    filter((event) => event.type === 'event'),
    map(({ data }) => data),
  );
}

describeDoor('asyncIterableFrom', (source, limits) => {
  const iterator = asyncIterableFrom(source, limits)[Symbol.asyncIterator]();
  return {
    next: async () => {
      const step = await iterator.next();
      return step.done === true ? { done: true, value: undefined } : step;
    },
    leave: () => iterator.return?.(),
  };
});

describe('a loop', () => {
  it('gets every item in order and ends with the source', async () => {
    expect(await read(from(['a', 'b', 'c']))).toStrictEqual({ items: ['a', 'b', 'c'], end: 'done' });
    expect(await read(of())).toStrictEqual({ items: [], end: 'done' });
    expect(await read(of(undefined, null, 0))).toStrictEqual({ items: [undefined, null, 0], end: 'done' });
  });

  it('gets a whole answer', async () => {
    const call = fakeCall([text('a'), text('b'), finish]);
    expect(await read(fromCall(call).pipe(toTokens()))).toStrictEqual({ items: ['a', 'b'], end: 'done' });
  });

  it('gets what comes while it waits', async () => {
    const source = new Subject<string>();
    const loop = read(source);
    source.next('a');
    await turn();
    source.next('b');
    source.complete();
    expect(await loop).toStrictEqual({ items: ['a', 'b'], end: 'done' });
  });

  it('asks for nothing before it begins, and once each', async () => {
    let asked = 0;
    const source = new Observable<string>((subscriber) => {
      asked += 1;
      subscriber.next('a');
      subscriber.complete();
    });
    const iterable = asyncIterableFrom(source);
    const iterator = iterable[Symbol.asyncIterator]();
    expect(asked).toBe(0);
    await iterator.next();
    expect(asked).toBe(1);
    for await (const item of iterable) expect(item).toBe('a');
    expect(asked).toBe(2);
  });

  it('makes a request of its own, two over one iterable two', async () => {
    const server = await serve();
    const iterable = asyncIterableFrom(events(server.url));
    const collect = async (): Promise<string[]> => {
      const items: string[] = [];
      for await (const item of iterable) items.push(item);
      return items;
    };
    expect(server.exchanges).toHaveLength(0);
    const loops = [collect(), collect()];
    for (const exchange of [await server.accept(), await server.accept()]) await exchange.end('data: a\n\ndata: b\n\n');
    expect(await Promise.all(loops)).toStrictEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
    expect(server.exchanges).toHaveLength(2);
  });

  it('answers several calls of next in order', async () => {
    const source = new Subject<string>();
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    const results = Promise.all([iterator.next(), iterator.next(), iterator.next()]);
    source.next('a');
    source.next('b');
    source.complete();
    expect(await results).toStrictEqual([
      { done: false, value: 'a' },
      { done: false, value: 'b' },
      { done: true, value: undefined },
    ]);
  });
});

describe('leaving a loop', () => {
  it('by break stops the request, which the server sees', async () => {
    const server = await serve();
    const loop = (async () => {
      for await (const item of asyncIterableFrom(events(server.url))) return item;
      return 'nothing';
    })();
    const exchange = await server.accept();
    await exchange.write('data: a\n\ndata: b\n\n');
    expect(await loop).toBe('a');
    expect(await exchange.ended).toBe('client');
    await exchange.closed;
  });

  it('by an error of its own stops the request and passes the error on', async () => {
    const source = new Subject<string>();
    const odd = new RangeError('odd');
    const loop = (async () => {
      for await (const item of asyncIterableFrom(source)) throw Object.assign(odd, { item });
    })();
    source.next('a');
    await expect(loop).rejects.toBe(odd);
    expect(odd).not.toHaveProperty('receipt');
    expect(source.observed).toBe(false);
  });

  it('drops what waits, and is done', async () => {
    const iterator = asyncIterableFrom(of('a', 'b', 'c'))[Symbol.asyncIterator]();
    expect(await iterator.next()).toStrictEqual({ done: false, value: 'a' });
    expect(await iterator.return?.()).toStrictEqual({ done: true, value: undefined });
    expect(await iterator.next()).toStrictEqual({ done: true, value: undefined });
  });

  it('ends a step that waits', async () => {
    const source = new Subject<string>();
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await iterator.return?.();
    expect(await waiting).toStrictEqual({ done: true, value: undefined });
    expect(source.observed).toBe(false);
  });

  it('before its first step asks for nothing, then or later', async () => {
    let asked = 0;
    const source = new Observable<string>((subscriber) => {
      asked += 1;
      subscriber.next('a');
    });
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    expect(await iterator.return?.()).toStrictEqual({ done: true, value: undefined });
    expect(await iterator.next()).toStrictEqual({ done: true, value: undefined });
    expect(asked).toBe(0);
  });
});

describe('an error', () => {
  it.each([new RangeError('odd'), 'a word', undefined])('%s is thrown once, after the items before it', async (odd) => {
    const source = concat(
      of('a', 'b'),
      throwError(() => odd),
    );
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    expect(await iterator.next()).toStrictEqual({ done: false, value: 'a' });
    expect(await iterator.next()).toStrictEqual({ done: false, value: 'b' });
    await expect(iterator.next()).rejects.toBe(odd);
    expect(await iterator.next()).toStrictEqual({ done: true, value: undefined });
    expect(await iterator.next()).toStrictEqual({ done: true, value: undefined });
  });

  it('of a connection that was cut has what was received, and the receipt', async () => {
    const call = fakeCall(
      concat(
        of(text('half')),
        throwError(() => new InterruptedError('cut')),
      ),
    );
    const { items, end } = await read(fromCall(call).pipe(toTokens()));
    expect(items).toStrictEqual(['half']);
    expect(end).toBeInstanceOf(InterruptedError);
    expect(end).toMatchObject({ received: { text: 'half' }, receipt: { outcome: 'interrupted', attempts: 1 } });
  });

  it('comes over a socket after the items before it', async () => {
    const server = await serve();
    const loop = read(events(server.url));
    const exchange = await server.accept();
    await exchange.write('data: a\n\ndata: b\n\ndata: c');
    exchange.halfClose();
    const { items, end } = await loop;
    expect(items).toStrictEqual(['a', 'b']);
    expect(end).toBeInstanceOf(InterruptedError);
  });

  it('is thrown where an operator completes the stream early', async () => {
    const [source, stop] = [new Subject<StreamEvent>(), new Subject<string>()];
    const loop = read(fromCall(fakeCall(source)).pipe(takeUntil(stop), toTokens()));
    source.next(text('half'));
    stop.next('now');
    const { items, end } = await loop;
    expect(items).toStrictEqual(['half']);
    expect(end).toBeInstanceOf(InterruptedError);
    expect(isMillraceError(end) && end.message).toContain('stopOn');
  });

  it('is none where the stream is stopped on purpose', async () => {
    const [source, stop] = [new Subject<StreamEvent>(), new Subject<string>()];
    const loop = read(fromCall(fakeCall(source)).pipe(stopOn(stop), toTokens()));
    source.next(text('half'));
    stop.next('now');
    expect(await loop).toStrictEqual({ items: ['half'], end: 'done' });
  });

  it('is an AbortError where the request has a signal, which the server sees', async () => {
    const server = await serve();
    const controller = new AbortController();
    const iterator = asyncIterableFrom(fromHTTP(server.url, { signal: controller.signal }))[Symbol.asyncIterator]();
    const first = iterator.next();
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    expect((await first).done).toBe(false);
    controller.abort();
    await expect(iterator.next()).rejects.toBeInstanceOf(AbortError);
    expect(await exchange.ended).toBe('client');
  });
});

describe('a slow reader', () => {
  /** A source that can pause: it produces whenever nobody holds it. */
  function pausable(total: number): { readonly source: Observable<number>; readonly produced: () => number } {
    let produced = 0;
    const source = new Observable<number>((subscriber) => {
      const flow = new Flow();
      const run = (): void => {
        while (produced < total && !flow.paused && !subscriber.closed) {
          produced += 1;
          flow.deliver(() => {
            subscriber.next(produced);
          });
        }
        if (produced < total || flow.state !== 'open') return;
        flow.proven = true;
        flow.end('complete');
        subscriber.complete();
      };
      flow.onPressure = (isPaused): void => {
        if (!isPaused) run();
      };
      subscriber.add(() => flow.leave());
      register(flow);
      run();
    });
    return { source, produced: () => produced };
  }

  it.each([1, 2, 16, 100])('pauses the source at %d items that wait', async (pauseAtItems) => {
    const { source, produced } = pausable(300);
    let consumed = 0;
    let most = 0;
    for await (const item of asyncIterableFrom(source, { pauseAtItems })) {
      consumed += 1;
      expect(item).toBe(consumed);
      most = Math.max(most, produced() - consumed);
    }
    expect(consumed).toBe(300);
    expect(most).toBe(pauseAtItems);
  });

  it('pauses at 16 items where it is not told otherwise', async () => {
    const { source, produced } = pausable(300);
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    await iterator.next();
    expect(produced()).toBe(17);
    await iterator.return?.();
    expect(produced()).toBe(17);
  });

  it('blocks the server’s writes, and loses nothing', async () => {
    const [flooding, quick] = [await serve(), await serve()];
    const event = `data: ${'x'.repeat(65_529)}\n\n`;
    const total = 512; // 32 MiB, several times what the sockets of both sides hold
    let produced = 0;
    const source = events(flooding.url).pipe(
      tap(() => {
        produced += 1;
      }),
    );
    const iterator = asyncIterableFrom(source, { pauseAtItems: 4 })[Symbol.asyncIterator]();
    const first = iterator.next();
    const exchange = await flooding.accept();
    const written = (async () => {
      for (let at = 0; at < total; at += 1) await exchange.write(event);
      return exchange.end();
    })();
    expect((await first).value).toHaveLength(65_529);

    // Whole requests to another server go by without a byte of the flood: it is blocked, not slow.
    for (let before = -1; before !== exchange.bytesSent;) {
      before = exchange.bytesSent;
      for (let request = 0; request < 20; request += 1) {
        const answer = read(events(quick.url));
        await (await quick.accept()).end('data: a\n\n');
        await answer;
      }
    }
    expect(exchange.bytesSent).toBeLessThan((total * event.length) / 2);
    expect(produced).toBeLessThanOrEqual(1 + 4 + 2); // one was read, four wait, and what one chunk of 64 KiB brings

    let items = 1;
    while ((await iterator.next()).done !== true) items += 1;
    expect(items).toBe(total);
    expect(await written).toBe(true);
  });

  it('of a source that cannot be paused gets what waits, then a LimitError', async () => {
    let produced = 0;
    const source = range(0, Number.MAX_SAFE_INTEGER).pipe(
      tap(() => {
        produced += 1;
      }),
    );
    const { items, end } = await read(source, { maxWaitingItems: 10 });
    expect(items).toStrictEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(end).toBeInstanceOf(LimitError);
    expect(end).toMatchObject({ limit: 'maxWaitingItems', max: 10, receipt: { outcome: 'failed' } });
    expect(produced).toBe(11);
  });

  it('may have as many items wait as the limit says', async () => {
    const { items, end } = await read(range(0, 10), { maxWaitingItems: 10 });
    expect(items).toHaveLength(10);
    expect(end).toBe('done');
  });

  it('reads on at the default limit without a cost that grows with what waits', async () => {
    const { items, end } = await read(range(0, 65_536));
    expect(items).toHaveLength(65_536);
    expect(items.at(-1)).toBe(65_535);
    expect(end).toBe('done');
  });
});

describe('a receipt below', () => {
  /** Begins a loop inside a subscription, as `defer(async () => { for await ... })` does. */
  function beginWithin(
    source: Observable<string>,
    onReceipt: (receipt: Receipt) => void,
  ): { readonly iterator: AsyncIterator<string>; readonly first: Promise<IteratorResult<string>> } {
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    const begun: Promise<IteratorResult<string>>[] = [];
    defer(() => {
      begun.push(iterator.next());
      return NEVER;
    })
      .pipe(tapReceipt(onReceipt))
      .subscribe();
    return { iterator, first: begun[0]! };
  }

  it('says that the reader left, also where the source has no flow', async () => {
    const receipts: Receipt[] = [];
    const { iterator, first } = beginWithin(new Subject<string>(), (receipt) => receipts.push(receipt));
    await iterator.return?.();
    await first;
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
  });

  it('whose callback throws is the loop’s error, or that of leaving it', async () => {
    const odd = new RangeError('odd');
    const fail = (): void => {
      throw odd;
    };
    const source = new Subject<string>();
    const [ended, left] = [beginWithin(source, fail), beginWithin(source, fail)];
    await expect(left.iterator.return?.()).rejects.toThrow('odd');
    expect(await left.first).toStrictEqual({ done: true, value: undefined });
    source.complete();
    await expect(ended.first).rejects.toBe(odd);
  });
});

describe('the options of asyncIterableFrom', () => {
  it.each([0, -1, Number.NaN])('are refused when called: %d', (limit) => {
    expect(() => asyncIterableFrom(of(), { pauseAtItems: limit })).toThrow(
      'pauseAtItems must be a number of at least 1',
    );
    expect(() => asyncIterableFrom(of(), { maxWaitingItems: limit })).toThrow(RangeError);
  });
});

describe('readers of one shared stream', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const numbers = Array.from({ length: 100 }, (_, index) => index);

  /** Two loops on one stream, each with its first item; nobody has asked for more, and both are full. */
  async function begin(options?: AsyncIterableFromOptions) {
    const stream = pausable(numbers);
    const shared = of(0).pipe(
      observeOn(asapScheduler),
      mergeMap(() => stream.source),
      share(),
    );
    const unread = asyncIterableFrom(shared, options)[Symbol.asyncIterator]();
    const read = asyncIterableFrom(shared)[Symbol.asyncIterator]();
    expect(await Promise.all([unread.next(), read.next()])).toMatchObject([{ value: 0 }, { value: 0 }]);
    expect(stream.given).toBe(17);
    return { stream, unread, read };
  }

  /** Reads the rest, a second passing whenever it has to wait. */

  async function rest(iterator: AsyncIterator<number>): Promise<number[]> {
    const items: number[] = [];
    for (;;) {
      const next = iterator.next();
      await vi.advanceTimersByTimeAsync(1_000);
      const step = await next;
      if (step.done === true) return items;
      items.push(step.value);
    }
  }

  it('may be read one after the other', async () => {
    const { unread, read } = await begin();
    expect(await rest(read)).toStrictEqual(numbers.slice(1));
    expect(await rest(unread)).toStrictEqual(numbers.slice(1));
    expect(vi.getTimerCount()).toBe(0);
  });

  it('run at the pace of the slowest, as long as it reads', async () => {
    const { stream, unread, read } = await begin();
    for (let item = 1; item <= 16; item += 1) await read.next();
    const starving = read.next();
    for (let second = 1; second <= 5; second += 1) {
      await vi.advanceTimersByTimeAsync(999);
      expect(stream.given).toBe(16 + second);
      await unread.next();
    }
    await expect(starving).resolves.toMatchObject({ value: 17 });
    await read.return?.();
    await unread.return?.();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('are held back again by one that is read again', async () => {
    const { stream, unread, read } = await begin();
    for (let item = 1; item <= 40; item += 1) {
      const next = read.next();
      await vi.advanceTimersByTimeAsync(1_000);
      await next;
    }
    // What waits for the one that was not read is no more than the other was given, and its own mark.
    expect(stream.given).toBe(57);
    await unread.next();
    for (let item = 41; item <= 57; item += 1) await read.next();
    const starving = read.next();
    await vi.advanceTimersByTimeAsync(999);
    expect(stream.given).toBe(58);
    await read.return?.();
    await starving;
    await unread.return?.();
  });

  it('are bounded, and lose nothing that came before', async () => {
    const { unread, read } = await begin({ maxWaitingItems: 50 });
    expect(await rest(read)).toStrictEqual(numbers.slice(1));
    const kept: number[] = [];
    const failed = (async () => {
      for (let step = await unread.next(); step.done !== true; step = await unread.next()) kept.push(step.value);
    })();
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_LIMIT',
      limit: 'maxWaitingItems',
      message: expect.stringContaining('another reader of the stream waits for more') as string,
    });
    expect(kept.slice(0, 50)).toStrictEqual(numbers.slice(1, 51));
  });

  it('may join when another is full already', async () => {
    const stream = pausable(numbers);
    const shared = stream.source.pipe(share());
    const first = asyncIterableFrom(shared)[Symbol.asyncIterator]();
    await first.next();
    const late = asyncIterableFrom(shared)[Symbol.asyncIterator]();
    expect(await rest(late)).toStrictEqual(numbers.slice(17));
    expect(await rest(first)).toStrictEqual(numbers.slice(1));
    expect(vi.getTimerCount()).toBe(0);
  });

  it('wait for one that is not read as long as nobody wants more', async () => {
    const { stream, unread, read } = await begin();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(stream.given).toBe(17);
    await read.return?.();
    await unread.return?.();
    expect(vi.getTimerCount()).toBe(0);
  });
});
