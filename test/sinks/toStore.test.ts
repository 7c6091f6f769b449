import { setImmediate as turn } from 'node:timers/promises';
import {
  firstValueFrom,
  lastValueFrom,
  Observable,
  of,
  Subject,
  throwError,
  toArray,
  VirtualTimeScheduler,
} from 'rxjs';
import {
  fromCall,
  fromStore,
  InterruptedError,
  ProviderError,
  type Receipt,
  shutdown,
  StoreError,
  stopOn,
  type StreamEvent,
  toStore,
  type ToStoreOptions,
  type WriteReply,
} from 'millrace';
import { inferencesh, infernet } from 'millrace/providers';
import { fakeCall, reopen, startProviderServer } from 'millrace/testing';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { MemoryStore } from '../support/memoryStore.js';

let store: MemoryStore;
beforeEach(() => {
  store = new MemoryStore();
});

const text = (content: string): StreamEvent => ({ type: 'text', text: content, index: 0, name: 'output' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const answer = (...pieces: string[]): Observable<StreamEvent> => fromCall(fakeCall([...pieces.map(text), finish]));

const write = (source: Observable<StreamEvent | string>, options: ToStoreOptions = {}): Promise<Receipt> =>
  lastValueFrom(source.pipe(toStore(store, 'a', { gatherMs: 0, ...options })));
const read = (): Promise<StreamEvent[]> => lastValueFrom(fromStore(store, 'a').pipe(toArray()));
const textOf = (events: readonly StreamEvent[]): string =>
  events.reduce((all, event) => (event.type === 'restart' ? '' : event.type === 'text' ? all + event.text : all), '');

/** A writer that is driven by the test, and what its reader has. */
function driven(options: ToStoreOptions = {}): {
  readonly events: Subject<StreamEvent>;
  readonly receipt: Promise<Receipt>;
  readonly begun: Promise<void>;
} {
  const events = new Subject<StreamEvent>();
  const receipt = write(fromCall(fakeCall(events)), options);
  receipt.catch(() => undefined); // of a writer that is left for dead
  const begun = vi.waitUntil(() => events.observed).then(() => undefined);
  return { events, receipt, begun };
}

function reader(options: Parameters<typeof fromStore>[2] = {}): {
  readonly events: StreamEvent[];
  readonly over: Promise<unknown>;
  readonly leave: () => void;
} {
  const events: StreamEvent[] = [];
  let leave: () => void = () => undefined;
  const over = new Promise((resolve) => {
    const subscription = fromStore(store, 'a', options).subscribe({
      next: (event) => events.push(event),
      complete: () => {
        resolve('complete');
      },
      error: resolve,
    });
    leave = () => {
      subscription.unsubscribe();
    };
  });
  return { events, over, leave };
}

describe('a stored stream', () => {
  it('is read as it was written, to its end', async () => {
    const receipt = await write(answer('Hel', 'lo'));
    expect(receipt).toMatchObject({ outcome: 'complete', where: 'store:a', chars: 5, provider: 'fake' });
    expect(await read()).toEqual([text('Hel'), text('lo'), finish]);
  });

  it('is read while it grows, by any number of readers, from any position', async () => {
    const { events, receipt, begun } = driven();
    await begun;
    const first = reader();
    const positions: string[] = [];
    const noting = reader({ onPosition: (position) => positions.push(position) });
    events.next(text('one '));
    await vi.waitUntil(() => first.events.length === 1 && positions.length === 1);
    const late = reader();
    const after = reader({ after: positions[0] });
    events.next(text('two'));
    events.next(finish);
    await receipt;
    for (const each of [first, noting, late, after]) expect(await each.over).toBe('complete');
    expect(textOf(late.events)).toBe('one two');
    expect(textOf(first.events)).toBe('one two');
    expect(textOf(after.events)).toBe('two');
  });

  it('takes strings as text', async () => {
    await write(of('a', '', 'b'));
    expect(textOf(await read())).toBe('ab');
  });

  it('gathers what comes together into one entry', async () => {
    await write(answer('a', 'b', 'c'));
    expect(store.streams.get('a')?.entries).toHaveLength(2); // and the end
  });

  it('gathers for as long as it should, however long an append takes', async () => {
    const scheduler = new VirtualTimeScheduler();
    const lease = store.lease.bind(store);
    let finishAppend: (() => void) | undefined;
    vi.spyOn(store, 'lease').mockImplementation(async (...args) => {
      const taken = await lease(...args);
      if (typeof taken === 'string') return taken;
      const append = async (data: readonly string[]): Promise<WriteReply> => {
        await new Promise<void>((resolve) => {
          finishAppend = resolve;
        });
        return taken.append(data);
      };
      return {
        ...taken,
        last: taken.last,
        note: taken.note,
        append,
        renew: taken.renew.bind(taken),
        close: taken.close.bind(taken),
      };
    });
    const { events, receipt, begun } = driven({ gatherMs: 100, scheduler });
    await begun;
    events.next(text('a'));
    scheduler.maxFrames = 100;
    scheduler.flush();
    await vi.waitUntil(() => finishAppend !== undefined);
    // While that is on its way, words come; they wait for their own 100 ms, and not for the append alone.
    events.next(text('b'));
    finishAppend?.();
    finishAppend = undefined;
    await vi.waitUntil(() => store.streams.get('a')?.entries.length === 1);
    events.next(text('c'));
    expect(finishAppend).toBeUndefined();
    scheduler.maxFrames = 200;
    scheduler.flush();
    await vi.waitUntil(() => finishAppend !== undefined);
    // What has its time while an append is on its way goes with the next one at once; so does what is left at the end.
    events.next(text('d'));
    scheduler.maxFrames = 300;
    scheduler.flush();
    (finishAppend as (() => void) | undefined)?.();
    finishAppend = undefined;
    await vi.waitUntil(() => finishAppend !== undefined);
    events.next(finish);
    (finishAppend as (() => void) | undefined)?.();
    finishAppend = undefined;
    await vi.waitUntil(() => finishAppend !== undefined);
    (finishAppend as (() => void) | undefined)?.();
    await receipt;
    const entries = store.streams.get('a')?.entries.map(({ data }) => data.match(/"text":"(.)"/g)?.length ?? 0);
    expect(entries).toEqual([1, 2, 1, 0, 0]);
    vi.restoreAllMocks();
  });

  it.each([
    ['a provider’s failure', new ProviderError('no more', { retryable: false, providerCode: 'quota' }), ProviderError],
    ['a cut', new InterruptedError('the line is gone'), InterruptedError],
  ])('ends with %s as its source did', async (_, error, kind) => {
    const failing = new Observable<StreamEvent>((subscriber) => {
      subscriber.next(text('half'));
      subscriber.error(error);
    });
    await expect(write(failing)).rejects.toBe(error);
    const { events, over } = reader();
    expect(await over).toBeInstanceOf(kind);
    expect(textOf(events)).toBe('half');
  });

  it('is not complete where its source was completed before its proven end', async () => {
    await expect(write(fromCall(fakeCall([text('half')])))).rejects.toBeInstanceOf(InterruptedError);
    expect(await reader().over).toBeInstanceOf(InterruptedError);
  });

  it('says that it was stopped', async () => {
    const stop = new Subject<void>();
    const receipt = write(
      fromCall(
        fakeCall(
          new Observable<StreamEvent>((subscriber) => {
            subscriber.next(text('half'));
          }),
        ),
      ).pipe(stopOn(stop)),
    );
    await vi.waitUntil(() => store.streams.get('a')?.entries.length === 1);
    stop.next();
    expect(await receipt).toMatchObject({ outcome: 'stopped', by: 'notifier' });
    expect(await reader().over).toMatchObject({ name: 'ProviderError', providerCode: 'stopped' });
  });
});

describe('stop', () => {
  it('from anywhere ends the source at the next word, and tells the readers', async () => {
    const { events, receipt, begun } = driven();
    await begun;
    const { over } = reader();
    events.next(text('one'));
    await vi.waitUntil(() => store.streams.get('a')?.entries.length === 1);
    expect(await store.stop('a')).toBe('asked');
    events.next(text('two'));
    expect(await receipt).toMatchObject({ outcome: 'stopped', by: 'notifier' });
    expect(events.observed).toBe(false);
    expect(await over).toMatchObject({ providerCode: 'stopped' });
  });

  it('is heard with a renewal where the source is silent', async () => {
    const { receipt, begun } = driven({ leaseMs: 30 });
    await begun;
    await store.stop('a');
    expect(await receipt).toMatchObject({ outcome: 'stopped', by: 'notifier' });
  });
});

describe('a lease', () => {
  it('that is complete is not asked for again by who takes that for done', async () => {
    const first = await write(answer('Hel', 'lo'));
    const events = new Subject<StreamEvent>();
    const receipt = write(fromCall(fakeCall(events)), { ifClosed: 'skip' });
    expect(await receipt).toEqual({ ...first, skipped: true });
    expect(events.observed).toBe(false);
    expect(textOf(await read())).toBe('Hello');
  });

  it('that ended otherwise is no answer, and is refused', async () => {
    await write(throwError(() => new InterruptedError('cut'))).catch(() => undefined);
    const events = new Subject<StreamEvent>();
    const receipt = write(fromCall(fakeCall(events)), { ifClosed: 'skip' });
    await expect(receipt).rejects.toMatchObject({ code: 'ERR_STORE', reason: 'lost' });
    expect(events.observed).toBe(false);
  });

  it('keeps a second writer out, who asks nothing', async () => {
    const { events, receipt, begun } = driven();
    await begun;
    let asked = 0;
    const second = write(
      new Observable<StreamEvent>(() => {
        asked += 1;
      }),
    );
    await expect(second).rejects.toMatchObject({ code: 'ERR_STORE', reason: 'lease-lost' });
    expect(asked).toBe(0);
    events.next(finish);
    await receipt;
    await expect(write(answer('again'))).rejects.toMatchObject({ reason: 'lost' });
  });

  it('that is over and taken by another stops the writer, who writes nothing more', async () => {
    const first = driven();
    await first.begun;
    first.events.next(text('one '));
    await vi.waitUntil(() => store.streams.get('a')?.entries.length === 1);
    store.advance(20_000);
    const second = driven();
    await second.begun;
    first.events.next(text('from the dead'));
    await expect(first.receipt).rejects.toMatchObject({ reason: 'lease-lost' });
    expect(first.events.observed).toBe(false);
    second.events.next(text('one '));
    second.events.next(text('two'));
    second.events.next(finish);
    await second.receipt;
    expect(await read()).toEqual([text('one '), text('two'), finish]);
  });

  it('is released where the writer left before it had it', async () => {
    const subscription = answer('x').pipe(toStore(store, 'a')).subscribe();
    subscription.unsubscribe();
    await vi.waitUntil(() => store.streams.get('a')?.leasedUntil === 0);
    expect(await write(answer('y'))).toMatchObject({ outcome: 'complete' });
  });
});

describe('a takeover', () => {
  it('tells what is new of the same answer, however it is cut', async () => {
    const first = driven();
    await first.begun;
    const { events, over } = reader();
    first.events.next(text('The mill '));
    first.events.next(text('tur'));
    await vi.waitUntil(() => textOf(events) === 'The mill tur');
    store.advance(20_000); // its process is dead
    await write(answer('The', ' mill turns', '.'));
    expect(await over).toBe('complete');
    expect(textOf(events)).toBe('The mill turns.');
    expect(events.map(({ type }) => type)).not.toContain('restart');
  });

  it('tells a restart where it is another answer', async () => {
    const first = driven();
    await first.begun;
    const { events, over } = reader();
    first.events.next(text('The mill turns'));
    await vi.waitUntil(() => events.length === 1);
    store.advance(20_000);
    await write(answer('A mill stands', ' still.'));
    expect(await over).toBe('complete');
    expect(events.map(({ type }) => type)).toContain('restart');
    expect(textOf(events)).toBe('A mill stands still.');
  });

  it('goes on with the work that the writer before has created', async () => {
    const server = await startProviderServer({ pace: { perFrameMs: 5 } });
    onTestFinished(() => server.close());
    const api = infernet({ apiKey: 'k', baseURL: server.baseURLs.infernet });
    const line = (): Observable<Receipt> =>
      fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] }), { onUnsubscribe: 'leave' }).pipe(
        toStore(store, 'a', { attach: (workId) => fromCall(api.attach(workId)) }),
      );
    const first = line().subscribe({ error: () => undefined });
    const { events, over } = reader({ onOrphaned: () => void firstValueFrom(line()) });
    await vi.waitUntil(() => textOf(events).length > 40);
    store.failure = new StoreError('unavailable', 'this process is cut off'); // it writes nothing more
    first.unsubscribe();
    await server.requests.find(({ path }) => path.endsWith('/stream'))?.ended;
    store.failure = undefined;
    store.advance(20_000);
    expect(await over).toBe('complete');
    const created = server.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/jobs'));
    expect(created).toHaveLength(1);
    expect(events.map(({ type }) => type)).not.toContain('restart');
    const whole = await lastValueFrom(
      fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] })).pipe(toArray()),
    );
    expect(textOf(events)).toBe(textOf(whole));
  });

  it('is what shutdown leaves the stream to', async () => {
    onTestFinished(reopen);
    const first = driven();
    await first.begun;
    first.events.next(text('one '));
    await vi.waitUntil(() => store.streams.get('a')?.entries.length === 1);
    const ended = first.receipt.catch((error: unknown) => error);
    await shutdown({ graceMs: 0 });
    await ended;
    reopen();
    const { over, events } = reader();
    await write(answer('one ', 'two'));
    expect(await over).toBe('complete');
    expect(textOf(events)).toBe('one two');
  });
});

describe('a reader', () => {
  it('is told when the writer is gone and nobody takes over', async () => {
    const { begun, events: written } = driven();
    await begun;
    let heard = 0;
    const { over, events } = reader({ orphanMs: 20, onOrphaned: () => (heard += 1) });
    written.next(text('half'));
    await vi.waitUntil(() => events.length === 1);
    store.advance(20_000);
    expect(await over).toBeInstanceOf(InterruptedError);
    expect(heard).toBe(1);
    expect(textOf(events)).toBe('half');
  });

  it.each([
    ['there is no such stream', { missingMs: 60 }],
    ['the position is gone', { after: '9-9' }],
  ])('is told where %s', async (_, options) => {
    if ('after' in options) await write(answer('x'));
    expect(await reader(options).over).toBeInstanceOf(InterruptedError);
  });

  it('may be faster than the writer', async () => {
    const { over, events } = reader();
    await write(answer('late'));
    expect(await over).toBe('complete');
    expect(textOf(events)).toBe('late');
  });

  it('that leaves stops nobody', async () => {
    const { events, receipt, begun } = driven();
    await begun;
    const { leave, events: read } = reader();
    events.next(text('one'));
    await vi.waitUntil(() => read.length === 1);
    leave();
    await vi.waitUntil(() => store.streams.get('a')?.wake.size === 0);
    events.next(finish);
    expect(await receipt).toMatchObject({ outcome: 'complete' });
  });

  it('hears that the store fails', async () => {
    store.failure = new StoreError('unavailable', 'no connection');
    expect(await reader().over).toBe(store.failure);
    await expect(write(answer('x'))).rejects.toBe(store.failure);
  });
});

describe('stopUnreadAfterMs', () => {
  const LEASE_MS = 90;
  /** A writer, and a time that goes on millisecond by millisecond, for it and the store. */
  const watched = async (
    options: ToStoreOptions,
  ): Promise<
    ReturnType<typeof driven> & { go: (ms: number) => Promise<void>; outcome: () => unknown; timers: () => number }
  > => {
    const scheduler = new VirtualTimeScheduler();
    const events = new Subject<StreamEvent>();
    const receipt = write(fromCall(fakeCall(events)), { leaseMs: LEASE_MS, scheduler, ...options });
    let outcome: unknown;
    receipt.then(
      ({ outcome: how, by }) => (outcome = by === undefined ? how : `${how} by ${by}`),
      (error: unknown) => (outcome = error),
    );
    const go = async (ms: number): Promise<void> => {
      for (const end = store.now + ms; store.now < end;) {
        store.now += 1;
        scheduler.frame = scheduler.maxFrames = store.now;
        scheduler.flush();
        await turn();
      }
    };
    scheduler.maxFrames = 0;
    await turn();
    return {
      events,
      receipt,
      begun: Promise.resolve(),
      go,
      outcome: () => outcome,
      timers: () => scheduler.actions.length,
    };
  };
  const come = async (): Promise<ReturnType<typeof reader>> => {
    const here = reader();
    await turn();
    return here;
  };
  const unreadFor = async ({ leave }: { readonly leave: () => void }): Promise<void> => {
    leave();
    await turn();
  };

  it.each([1, 29, 30, 31, 45, 60, 200])('of %i stops the stream so long after the last reader has left', async (ms) => {
    const { events, go, outcome } = await watched({ stopUnreadAfterMs: ms });
    const first = await come();
    const second = await come();
    await go(10);
    await unreadFor(first);
    await go(300);
    expect(outcome()).toBeUndefined();
    await unreadFor(second);
    // It hears of it with the next renewal, if not before; then it looks when the time is over.
    const heardAfter = 30 - (store.now % 30);
    await go(Math.max(ms, heardAfter) - 1);
    expect([outcome(), events.observed]).toEqual([undefined, true]);
    await go(1);
    expect([outcome(), events.observed]).toEqual(['stopped by reader', false]);
    expect(await (await come()).over).toMatchObject({ providerCode: 'stopped' });
  });

  it('of 0 stops it as soon as the writer hears that the last reader has left', async () => {
    const { go, outcome } = await watched({ stopUnreadAfterMs: 0 });
    await unreadFor(await come());
    await go(29);
    expect(outcome()).toBeUndefined();
    await go(1);
    expect(outcome()).toBe('stopped by reader');
  });

  it('is heard with each write', async () => {
    const { events, go, outcome } = await watched({ stopUnreadAfterMs: 5, leaseMs: 90_000 });
    await unreadFor(await come());
    await go(3);
    events.next(text('one'));
    await go(1);
    expect(outcome()).toBeUndefined();
    await go(1);
    expect(outcome()).toBe('stopped by reader');
    expect(store.streams.get('a')?.entries).toHaveLength(2);
  });

  it('is no matter for a stream that is read again in that time', async () => {
    const { events, receipt, go, outcome } = await watched({ stopUnreadAfterMs: 50 });
    let here = await come();
    for (let reload = 0; reload < 5; reload += 1) {
      await go(20);
      await unreadFor(here);
      await go(49);
      here = await come();
    }
    await go(300);
    expect(outcome()).toBeUndefined();
    events.next(text('one'));
    events.next(finish);
    await go(1);
    expect(await receipt).toMatchObject({ outcome: 'complete' });
    expect(textOf(here.events)).toBe('one');
  });

  it('counts from when the reader left who left last', async () => {
    const { go, outcome } = await watched({ stopUnreadAfterMs: 50 });
    await unreadFor(await come());
    await go(49);
    await unreadFor(await come());
    await go(49);
    expect(outcome()).toBeUndefined();
    await go(1);
    expect(outcome()).toBe('stopped by reader');
  });

  it('is no matter for a stream that nobody has read', async () => {
    const { events, go, outcome } = await watched({ stopUnreadAfterMs: 10 });
    events.next(text('one'));
    await store.read('a');
    await go(1_000);
    expect(outcome()).toBeUndefined();
  });

  it('takes a reader whose process died for one until its presence is over', async () => {
    const { go, outcome } = await watched({ stopUnreadAfterMs: 50 });
    await come();
    await go(10);
    store.killReaders('a');
    await go(30_049);
    expect(outcome()).toBeUndefined();
    await go(1);
    expect(outcome()).toBe('stopped by reader');
  });

  it('goes from one writer to the next', async () => {
    const first = await watched({ stopUnreadAfterMs: 200 });
    await unreadFor(await come());
    first.events.next(text('one '));
    await first.go(100);
    store.failure = new StoreError('unavailable', 'this process is cut off');
    await first.go(30);
    store.failure = undefined;
    expect(first.outcome()).toBeInstanceOf(StoreError);
    store.advance(LEASE_MS - 40);
    const second = await watched({ stopUnreadAfterMs: 200 });
    store.advance(0);
    expect(second.outcome()).toBeUndefined();
    await second.go(30);
    expect(second.outcome()).toBe('stopped by reader');
  });

  it('is never, where it is not asked for, and the store is not asked to watch', async () => {
    const { go, outcome } = await watched({});
    await unreadFor(await come());
    await go(1_000);
    expect([outcome(), store.streams.get('a')?.readers]).toEqual([undefined, undefined]);
    const asked = await watched({ stopUnreadAfterMs: Infinity });
    await asked.go(1);
    expect(store.streams.get('a')?.readers).toBeUndefined();
  });

  it('does not stop what has ended', async () => {
    const { events, receipt, go } = await watched({ stopUnreadAfterMs: 5, gatherMs: 20 });
    await unreadFor(await come());
    events.next(text('one'));
    events.next(finish);
    await go(100);
    expect(await receipt).toMatchObject({ outcome: 'complete' });
    expect(await (await come()).over).toBe('complete');
  });

  it('leaves no timer behind', async () => {
    const { go, outcome, timers } = await watched({ stopUnreadAfterMs: 40 });
    await unreadFor(await come());
    await go(35);
    expect(timers()).toBe(1);
    await go(5);
    expect(outcome()).toBe('stopped by reader');
    expect(timers()).toBe(0);
  });

  it('begins nothing anew when the store answers after the end', async () => {
    const { events, receipt, go, timers } = await watched({ stopUnreadAfterMs: 40 });
    await unreadFor(await come());
    let answer: () => void = () => undefined;
    store.slow = new Promise((resolve) => (answer = resolve));
    await go(30);
    store.slow = Promise.resolve();
    events.error(new InterruptedError('the line is gone'));
    await go(1);
    await expect(receipt).rejects.toBeInstanceOf(InterruptedError);
    answer();
    await turn();
    expect(timers()).toBe(0);
  });

  it('cancels the work, though a reader’s leaving would not', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    server.next({ pieces: ['one ', 'two'], fault: { kind: 'stall', at: { frame: -1 } } });
    const api = inferencesh({ apiKey: 'k', baseURL: server.baseURLs.inferencesh });
    const receipt = write(
      fromCall(api.run({ app: 'openrouter/any', input: { text: 'Hi' } }), { onUnsubscribe: 'leave' }),
      {
        leaseMs: 60,
        stopUnreadAfterMs: 0,
      },
    );
    const here = reader();
    await vi.waitUntil(() => textOf(here.events) !== '');
    here.leave();
    expect(await receipt).toMatchObject({ outcome: 'stopped', by: 'reader' });
    await vi.waitUntil(() => server.requests.some(({ path }) => path.endsWith('/cancel')));
  });
});

describe('the wrong arguments', () => {
  it.each(['', 'a\nb', 'x'.repeat(257)])('such as the id %j are refused at once', (id) => {
    expect(() => toStore(store, id)).toThrow(TypeError);
    expect(() => fromStore(store, id)).toThrow(TypeError);
  });
  it('such as times out of range are refused at once', () => {
    expect(() => toStore(store, 'a', { leaseMs: 0 })).toThrow(RangeError);
    for (const stopUnreadAfterMs of [-1, Number.NaN, 2 ** 31]) {
      expect(() => toStore(store, 'a', { stopUnreadAfterMs })).toThrow(RangeError);
    }
    expect(() => fromStore(store, 'a', { orphanMs: -1 })).toThrow(RangeError);
    expect(() => fromStore(store, 'a', { missingMs: -1 })).toThrow(RangeError);
  });
});

describe('a slow store', () => {
  it('pauses the source', async () => {
    let free: () => void = () => undefined;
    store.slow = new Promise((resolve) => {
      free = resolve;
    });
    const server = await startProviderServer({ script: () => ({ text: 'water '.repeat(40_000) }) });
    onTestFinished(() => server.close());
    const api = infernet({ apiKey: 'k', baseURL: server.baseURLs.infernet });
    const receipt = write(fromCall(api.direct({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] })), {
      maxWaitingChars: 10_000,
    });
    await server.nextRequest();
    await vi.waitUntil(() => (server.requests[0]?.bytesSent ?? 0) > 100_000);
    free();
    expect(await receipt).toMatchObject({ outcome: 'complete', chars: 240_000 });
    const { entries = [] } = store.streams.get('a') ?? {};
    expect(Math.max(...entries.map(({ data }) => data.length))).toBeLessThan(400_000);
  });
});
