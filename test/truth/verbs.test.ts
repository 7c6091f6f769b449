import type { Socket } from 'node:net';
import { Subject, type Observable, type Subscription, tap, VirtualTimeScheduler } from 'rxjs';
import { afterAll, afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { Agent, buildConnector } from 'undici';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { timeout } from '../../src/operators/timeout.js';
import type { Call } from '../../src/protocol/call.js';
import { inferencesh, infernet } from '../../src/providers/index.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall, type FromCallOptions } from '../../src/sources/fromCall.js';
import { type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import type { Billing, Receipt, StreamEvent } from '../../src/types.js';
import { variants } from '../support/variants.js';

/** Law 2 on the wire: what each way of ending a stream makes the server see, and what the receipt says of the bill. */

let server: ProviderServer;
beforeEach(async () => {
  server = await startProviderServer();
});
afterEach(async () => {
  await server.close();
});

const pieces = [...'abcdefghijkl'];
/** In the middle of its text an answer stands still. */
const HALF = { pieces, thinking: '', fault: { kind: 'stall', at: { frame: -8 } } } as const;
const isCancel = ({ path }: { readonly path: string }): boolean => /\/(cancel|stop)$/.test(path);

/** What came of a stream. */
interface Ended {
  readonly requests: readonly string[];
  readonly billing: Billing | undefined;
}

function requestsSeen(): readonly string[] {
  return server.requests.map(
    ({ method, path }) =>
      `${method} ${path.replace(/^\/\w+/, '').replace(/\/(?:[a-z]+_\d+|[\da-f]{8}-[^/]*)(?=\/|$)/g, '/{id}')}`,
  );
}

/** Sent after what it fences off: what is still to come to the server by then would be a request too many. */
async function fence(): Promise<readonly string[]> {
  const seen = requestsSeen();
  const api = infernet({ apiKey: 'any', originURL: server.baseURLs.infernetOrigin });
  await collect(api.openai({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] }));
  expect(requestsSeen().slice(seen.length)).toHaveLength(1);
  return seen;
}

/** The requests once the expected cancellation has come, or once none can come any more. */
async function settle(isCancelled: boolean): Promise<readonly string[]> {
  while (isCancelled && !server.requests.some(isCancel)) await server.nextRequest();
  const cancellation = server.requests.find(isCancel);
  await cancellation?.ended;
  return fence();
}

/** A stream that is read up to its first text. */
class Half {
  receipt: Receipt | undefined;
  readonly hasText: Promise<void>;
  readonly ended: Promise<void>;
  readonly events: StreamEvent[] = [];
  #subscription: Subscription | undefined;

  constructor(source: Observable<StreamEvent>) {
    let sayText = (): void => undefined;
    this.hasText = new Promise((resolve) => (sayText = resolve));
    this.ended = new Promise((resolve) => {
      this.#subscription = source
        .pipe(
          tap(({ type }) => {
            if (type === 'text') sayText();
          }),
          tapReceipt((receipt) => {
            this.receipt = receipt;
          }),
        )
        .subscribe({
          next: (event) => {
            this.events.push(event);
          },
          error: () => {
            resolve();
          },
          complete: resolve,
        });
    });
  }

  leave(): void {
    this.#subscription?.unsubscribe();
  }
}

/** Ends an answer that has come in half. */
type Way = (call: Call, options: FromCallOptions) => Promise<Receipt | undefined>;

const unsubscribe: Way = async (call, options) => {
  const half = new Half(fromCall(call, options));
  await half.hasText;
  const heard = half.events.length;
  half.leave();
  expect(half.events).toHaveLength(heard);
  return half.receipt;
};
const ways: Readonly<Record<'unsubscribe' | 'stopOn' | 'signal' | 'reader', Way>> = {
  unsubscribe,
  stopOn: async (call, options) => {
    const stop = new Subject<void>();
    const half = new Half(fromCall(call, options).pipe(stopOn(stop)));
    await half.hasText;
    stop.next();
    return half.receipt;
  },
  signal: async (call, options) => {
    const stop = new AbortController();
    const half = new Half(fromCall(call, { ...options, signal: stop.signal }));
    await half.hasText;
    stop.abort();
    return half.receipt;
  },
  reader: async (call, options) => {
    let receipt: Receipt | undefined;
    const stream = fromCall(call, options).pipe(tapReceipt((told) => (receipt = told)));
    for await (const { type } of asyncIterableFrom(stream)) if (type === 'text') break;
    return receipt;
  },
};

/** Lets a limit run out in the middle of the text, on a clock of its own, and asks again as often as `count` says. */
async function timedOut(call: Call, count: number, onGiveUp?: 'cancel' | 'leave'): Promise<Half> {
  const clock = new VirtualTimeScheduler();
  const half = new Half(
    fromCall(call).pipe(
      timeout({ attemptMs: 1_000, scheduler: clock }),
      retryOnDisconnect({ count, onGiveUp, delay: { initialMs: 0 } }),
    ),
  );
  await half.hasText;
  clock.flush();
  await half.ended;
  return half;
}

const table: { readonly name: string; readonly verb: string; readonly ended: Ended }[] = [];
const note = (name: string, verb: string, requests: readonly string[], billing: Billing | undefined): void => {
  table.push({ name, verb, ended: { requests, billing } });
};
afterAll(() => {
  // Ways that come to the same share a line.
  const lines = new Map<string, string[]>();
  for (const { name, verb, ended } of table) {
    const line = `${name}|${ended.requests.join(', ')} | ${String(ended.billing)}`;
    lines.set(line, [...(lines.get(line) ?? []), verb]);
  }
  const rows = [...lines].map(([line, verbs]) => {
    const [name = '', requests = '', billing = ''] = line.split('|');
    return `${name} | ${verbs.sort().join(', ')} |${requests ? ` ${requests}` : ''}|${billing}`;
  });
  console.log(['API | verb | requests the server saw | bill', ...rows.sort()].join('\n'));
});

describe.each(variants)('$name', ({ name, ask }) => {
  const call = (): Call => ask(server.baseURLs);
  const canCancel = (): boolean => call().cancel !== undefined;

  it.each(Object.entries(ways))('is stopped and, where it can be, cancelled by: %s', async (way, end) => {
    server.next(HALF);
    const receipt = await end(call(), {});
    const stream = server.requests.find((request) => !isCancel(request) && request.bytesSent > 0);
    const requests = await settle(canCancel());
    expect(requests.filter((request) => /\/(cancel|stop)$/.test(request))).toHaveLength(canCancel() ? 1 : 0);
    expect(await stream?.ended).toBeDefined();
    expect(receipt).toMatchObject({ outcome: 'stopped', billing: call().leaving.stop });
    note(name, `stop (${way})`, requests, receipt?.billing);
  });

  it.each([...Object.entries(ways)].filter(([way]) => way === 'unsubscribe' || way === 'reader'))(
    'is left running, where that was asked for, by: %s',
    async (way, end) => {
      server.next(HALF);
      const receipt = await end(call(), { onUnsubscribe: 'leave' });
      const requests = await settle(false);
      expect(requests.some((request) => /\/(cancel|stop)$/.test(request))).toBe(false);
      expect(receipt).toMatchObject({ outcome: 'stopped', billing: call().leaving.disconnect });
      note(name, `detach (${way})`, requests, receipt?.billing);
    },
  );

  it('is not cancelled by a timeout that asks again', async () => {
    server.next(HALF);
    const { receipt } = await timedOut(call(), 1);
    const requests = await settle(false);
    expect(requests.some((request) => /\/(cancel|stop)$/.test(request))).toBe(false);
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2, billing: 'ended' });
    note(name, 'timeout, asked again', requests, receipt?.billing);
  });

  it('is cancelled, where it can be, by a timeout that gives up, unless it is to be left', async () => {
    server.next(HALF);
    const given = (await timedOut(call(), 0)).receipt;
    const requests = await settle(canCancel());
    expect(requests.filter((request) => /\/(cancel|stop)$/.test(request))).toHaveLength(canCancel() ? 1 : 0);
    expect(given).toMatchObject({ outcome: 'interrupted', billing: call().leaving.stop });
    note(name, 'give up', requests, given?.billing);

    const before = server.requests.length;
    server.next(HALF);
    const left = (await timedOut(call(), 0, 'leave')).receipt;
    const requestsOfLeft = (await settle(false)).slice(before);
    expect(requestsOfLeft.some((request) => /\/(cancel|stop)$/.test(request))).toBe(false);
    expect(left).toMatchObject({ outcome: 'interrupted', billing: call().leaving.disconnect });
    note(name, 'give up (leave)', requestsOfLeft, left?.billing);
  });

  it('before it is connected sends nothing', async () => {
    const half = new Half(fromCall(call()));
    half.leave();
    expect(await settle(false)).toEqual([]);
    note(name, 'stop before connect', [], half.receipt?.billing);
  });

  it('has its socket destroyed in the turn in which it is stopped', async () => {
    const { dispatcher, sockets } = watchedAgent();
    server.next(HALF);
    const half = new Half(fromCall(call(), { dispatcher }));
    await half.hasText;
    const [socket] = sockets;
    expect([sockets.length, socket?.destroyed]).toEqual([1, false]);
    half.leave();
    expect(socket?.destroyed).toBe(true);
    await settle(canCancel());
  });

  it('leaves its connection to the next call when it is whole', async () => {
    const { dispatcher, sockets } = watchedAgent();
    server.next({ pieces });
    const { receipt } = await collect(call(), { dispatcher });
    const first = requestsSeen();
    server.next({ pieces });
    await collect(call(), { dispatcher });
    expect(sockets).toHaveLength(1);
    const requests = await settle(false);
    expect(requests).toEqual([...first, ...first]);
    expect(receipt).toMatchObject({ outcome: 'complete', billing: 'ended' });
    note(name, 'drain', first, receipt.billing);
  });

  // Gemini has no sign of the end but the end of the body.
  it.skipIf(name === 'Gemini')('is cut when its server stays open after the end', async () => {
    const clock = new VirtualTimeScheduler();
    server.next({ pieces, fault: { kind: 'stall', at: 'end' } });
    const { text } = await collect(call(), { scheduler: clock });
    expect(text).toBe(pieces.join(''));
    const stream = server.requests.at(-1);
    clock.flush();
    expect(await stream?.ended).toBe('client');
    expect(server.requests.some(isCancel)).toBe(false);
  });
});

describe('work that somebody else created', () => {
  const urls = (): ProviderServer['baseURLs'] => server.baseURLs;
  const tasks = (): ReturnType<typeof inferencesh> => inferencesh({ apiKey: 'any', baseURL: urls().inferencesh });
  const jobs = (): ReturnType<typeof infernet> => infernet({ apiKey: 'any', baseURL: urls().infernet });
  const messages = [{ role: 'user', content: 'Where?' }];
  it.each<readonly [string, () => Call, (id: string) => Call]>([
    ['inference.sh task', () => tasks().run({ app: 'a/b', input: {} }), (id) => tasks().attach(id)],
    ['inference.sh chat', () => tasks().agent({ agent: 'a/b@1', input: 'Hi' }), (id) => tasks().attachChat(id)],
    ['Infernet job', () => jobs().chat({ model: 'm', messages }), (id) => jobs().attach(id)],
  ])('is left running by whoever attaches to it: %s', async (name, create, attach) => {
    server.next(HALF);
    const owner = new Half(fromCall(create()));
    await owner.hasText;
    const before = server.requests.length;
    const id = /\/(?:tasks|chats|jobs)\/([^/]+)\/stream/.exec(server.requests.at(-1)?.path ?? '')?.[1] ?? '';
    const guest = new Half(fromCall(attach(id)));
    while (server.requests.length === before) await server.nextRequest();
    guest.leave();
    const requests = (await settle(false)).slice(before);
    expect(requests.some((request) => /\/(cancel|stop)$/.test(request))).toBe(false);
    expect(guest.receipt).toMatchObject({ outcome: 'stopped', billing: 'continues' });
    note(name, 'stop (attached)', requests, guest.receipt?.billing);
    owner.leave();
    await settle(create().cancel !== undefined);
  });
});

/** One connection at a time, and every socket that was made. */
function watchedAgent(): { readonly dispatcher: Agent; readonly sockets: readonly Socket[] } {
  const sockets: Socket[] = [];
  const connect = buildConnector({});
  const dispatcher = new Agent({
    connections: 1,
    connect: (options, callback) => {
      connect(options, (error, socket) => {
        if (error !== null) {
          callback(error, null);
          return;
        }
        sockets.push(socket);
        callback(null, socket);
      });
    },
  });
  onTestFinished(() => dispatcher.destroy());
  return { dispatcher, sockets };
}
