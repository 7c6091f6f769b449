import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { firstValueFrom, lastValueFrom, type Observable, Subject, toArray, VirtualTimeScheduler } from 'rxjs';
import {
  fromCall,
  fromHTTP,
  fromStore,
  type FromStoreOptions,
  InterruptedError,
  parseSSE,
  type StoredPage,
  type StreamEvent,
  type StreamLease,
  type StreamStore,
  toNodeResponse,
  toStore,
} from 'millrace';
import { fakeCall } from 'millrace/testing';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { MemoryStore } from '../support/memoryStore.js';

let store: MemoryStore;
beforeEach(() => {
  store = new MemoryStore();
});

const text = (content: string): StreamEvent => ({ type: 'text', text: content, index: 0, name: 'output' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };

/** One instance of a service, which tells the stream `a`; its address. */
async function serve(
  read: (after: string | undefined, header: string | undefined) => Observable<StreamEvent>,
): Promise<string> {
  const server = createServer((req, res) => {
    const after = new URL(req.url ?? '/', 'http://localhost').searchParams.get('after') ?? undefined;
    const header = req.headers['last-event-id'];
    read(after, typeof header === 'string' ? header : undefined)
      .pipe(toNodeResponse(res))
      .subscribe({ error: () => undefined }); // its reader hears of it
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
}

interface Visit {
  /** What came, in order. */
  readonly told: { readonly data: string; readonly id: string }[];
  readonly over: Promise<unknown>;
  readonly leave: () => void;
}

function visit(url: string, headers: Record<string, string> = {}): Visit {
  const told: Visit['told'] = [];
  let leave: () => void = () => undefined;
  const over = new Promise((resolve) => {
    const subscription = fromHTTP(url, { headers })
      .pipe(parseSSE())
      .subscribe({
        next: (event) => {
          if (event.type === 'event') told.push(event);
        },
        complete: () => {
          resolve('complete');
        },
        error: resolve,
      });
    leave = () => {
      subscription.unsubscribe();
    };
  });
  return { told, over, leave };
}

const typesOf = ({ told }: Visit): unknown[] => told.map(({ data }) => (JSON.parse(data) as { type: unknown }).type);
const textOf = (visits: readonly Visit[]): string =>
  visits
    .flatMap(({ told }) => told.map(({ data }) => JSON.parse(data) as { type: string; text?: string }))
    .reduce((all, { type, text: piece = '' }) => (type === 'restart' ? '' : all + piece), '');
const lastIdOf = ({ told }: Visit): string => told.at(-1)?.id ?? '';

/** The line of a route, and how a reader that comes back says what it has. */
const routes: readonly (readonly [
  name: string,
  read: (after: string | undefined, header: string | undefined) => Observable<StreamEvent>,
  again: (url: string, id: string) => Visit,
])[] = [
  [
    'an EventSource, by a route that does nothing for it',
    () => fromStore(store, 'a'),
    (url, id) => visit(url, { 'last-event-id': id }),
  ],
  [
    'an EventSource, by a route that hands its id on',
    (_, header) => fromStore(store, 'a', { after: header }),
    (url, id) => visit(url, { 'last-event-id': id }),
  ],
  [
    'a fetch, by a route that hands its query on',
    (after) => fromStore(store, 'a', { after }),
    (url, id) => visit(`${url}?after=${encodeURIComponent(id)}`),
  ],
  [
    'a fetch that sends the header, by a route that knows both',
    (after, header) => fromStore(store, 'a', { after: header ?? after }),
    (url, id) => visit(url, { 'last-event-id': id }),
  ],
];

describe.each(routes)('%s', (_name, read, again) => {
  it('goes on at another instance, at each place, with what it does not have', async () => {
    const events = new Subject<StreamEvent>();
    const written = lastValueFrom(fromCall(fakeCall(events)).pipe(toStore(store, 'a', { gatherMs: 0 })));
    await vi.waitUntil(() => events.observed);
    const instances = [await serve(read), await serve(read)];
    const pieces = ['The ', 'mill ', 'turns ', 'and ', 'turns.'];
    const visits: Visit[] = [visit(instances[0]!)];
    for (const [index, piece] of pieces.entries()) {
      events.next(text(piece));
      await vi.waitUntil(() => textOf(visits) === pieces.slice(0, index + 1).join(''));
      const last = visits.at(-1)!;
      last.leave();
      visits.push(again(instances[(index + 1) % 2]!, lastIdOf(last)));
    }
    events.next(finish);
    await written;
    expect(await visits.at(-1)!.over).toBe('complete');
    expect(textOf(visits)).toBe('The mill turns and turns.');
    expect(visits.flatMap(typesOf)).toEqual([...pieces.map(() => 'text'), 'finish', 'end']);
  });

  it('is told of another answer', async () => {
    const events = new Subject<StreamEvent>();
    const first = lastValueFrom(fromCall(fakeCall(events)).pipe(toStore(store, 'a', { gatherMs: 0 })));
    first.catch(() => undefined); // of a writer that is left for dead
    await vi.waitUntil(() => events.observed);
    const url = await serve(read);
    const before = visit(url);
    events.next(text('half an ans'));
    await vi.waitUntil(() => textOf([before]) === 'half an ans');
    before.leave();
    store.advance(20_000);
    await firstValueFrom(fromCall(fakeCall([text('Something else.'), finish])).pipe(toStore(store, 'a')));
    const after = again(url, lastIdOf(before));
    expect(await after.over).toBe('complete');
    expect(typesOf(after)).toContain('restart');
    expect(textOf([before, after])).toBe('Something else.');
  });
});

describe('a position of the store', () => {
  it.each([
    ['the query', (url: string, at: string): Visit => visit(`${url}?after=${at}`)],
    ['the header', (url: string, at: string): Visit => visit(url, { 'last-event-id': at })],
  ])('may be what %s says', async (_where, open) => {
    const lease = await take();
    const { position } = await lease.append([entry('one ')]);
    await lease.append([entry('two ')]);
    const url = await serve((after, header) => fromStore(store, 'a', { after: header ?? after }));
    const here = open(url, position);
    await vi.waitUntil(() => textOf([here]) === 'two ');
    await lease.append(
      [JSON.stringify({ type: 'restart', attempt: 2, because: 'x', discard: { chars: 4 } })].map(line),
    );
    await vi.waitUntil(() => typesOf(here).includes('restart'));
    await lease.append([entry('new')]);
    await vi.waitUntil(() => textOf([here]) === 'new');
  });

  it('that is the last of a stream that has ended brings its end alone', async () => {
    const lease = await take();
    await lease.append([entry('one')]);
    const { position } = await lease.append([line(JSON.stringify(finish))]);
    await lease.close(line(JSON.stringify({ type: 'end', outcome: 'complete', receipt: {} })));
    const url = await serve((_, header) => fromStore(store, 'a', { after: header }));
    const here = visit(url, { 'last-event-id': position });
    expect(await here.over).toBe('complete');
    expect(typesOf(here)).toEqual(['end']);
  });

  it('tells its reader of a restart that comes first', async () => {
    const lease = await take();
    const { position } = await lease.append([entry('half')]);
    await lease.append([line(JSON.stringify({ type: 'restart', attempt: 2, because: 'x', discard: { chars: 4 } }))]);
    await lease.append([entry('whole')]);
    const here = visit(`${await serve((after) => fromStore(store, 'a', { after }))}?after=${position}`);
    await vi.waitUntil(() => typesOf(here).length === 2);
    expect(typesOf(here)).toEqual(['restart', 'text']);
  });
});

describe('a writer that is gone', () => {
  /** Tells of a stream’s end only once, and of a takeover never, as a store may. */
  class Taciturn extends MemoryStore {
    override async *tail(id: string, after: string | undefined, signal: AbortSignal): AsyncIterable<StoredPage> {
      let isTold = false;
      for await (const page of super.tail(id, after, signal)) {
        if (page.entries.length === 0 && (page.state === 'open' || isTold)) continue;
        isTold = page.state === 'orphaned';
        yield page;
      }
    }
  }

  /** A reader, and a time that goes on for it and the store. */
  const reading = async (
    from: StreamStore,
    options: FromStoreOptions,
  ): Promise<{ go: (ms: number) => Promise<void>; outcome: () => unknown; timers: () => number }> => {
    const scheduler = new VirtualTimeScheduler();
    let outcome: unknown;
    scheduler.maxFrames = 0;
    const subscription = fromStore(from, 'a', { ...options, scheduler }).subscribe({
      error: (error: unknown) => (outcome = error),
      complete: () => (outcome = 'complete'),
    });
    onTestFinished(() => {
      subscription.unsubscribe();
    });
    await turn();
    return {
      outcome: () => outcome,
      timers: () => scheduler.actions.length,
      go: async (ms) => {
        for (let at = 0; at < ms; at += 1) {
          store.advance(1);
          scheduler.frame = scheduler.maxFrames = scheduler.frame + 1;
          scheduler.flush();
          await turn();
        }
      },
    };
  };

  it.each([
    ['every store', () => new MemoryStore()],
    ['a store that does not tell of a takeover', () => new Taciturn()],
  ])('and whose successor is gone before its first word is told of by %s', async (_name, make) => {
    store = make();
    const first = await take(20);
    await first.append([entry('one')]);
    let heard = 0;
    const { go, outcome } = await reading(store, { orphanMs: 50, onOrphaned: () => (heard += 1) });
    await go(20);
    expect([heard, outcome()]).toEqual([1, undefined]);
    await go(40);
    await take(120);
    await go(119);
    expect(outcome()).toBeUndefined();
    await go(101);
    expect(outcome()).toBeInstanceOf(InterruptedError);
    expect(heard).toBe(2);
  });

  it('and had a successor that writes is no matter', async () => {
    store = new Taciturn();
    const first = await take(20);
    await first.append([entry('one')]);
    const { go, outcome, timers } = await reading(store, { orphanMs: 0 });
    await go(21);
    // Nobody has taken it over at once.
    expect(outcome()).toBeInstanceOf(InterruptedError);
    const again = await reading(store, { orphanMs: 30 });
    const second = await take(10_000);
    await again.go(100);
    await second.append([entry('two')]);
    await again.go(1);
    expect([again.outcome(), again.timers(), timers()]).toEqual([undefined, 0, 0]);
    await second.close(line(JSON.stringify({ type: 'end', outcome: 'complete', receipt: {} })));
    await again.go(1);
    expect(again.outcome()).toBeDefined();
  });
});

it('takes the empty position for the beginning', async () => {
  await firstValueFrom(fromCall(fakeCall([text('x'), finish])).pipe(toStore(store, 'a')));
  expect(await lastValueFrom(fromStore(store, 'a', { after: '' }).pipe(toArray()))).toEqual([text('x'), finish]);
});

async function take(ttlMs = 60_000): Promise<StreamLease> {
  const lease = await store.lease('a', { ttlMs });
  if (typeof lease === 'string') throw new Error(lease);
  return lease;
}

/** An entry with one line. */
function line(json: string): string {
  return `\n${json}`;
}

function entry(content: string): string {
  return line(JSON.stringify(text(content)));
}
