import { EventEmitter, once } from 'node:events';
import { createServer, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import * as http2 from 'node:http2';
import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { createGzip } from 'node:zlib';
import express from 'express';
import fastify from 'fastify';
import {
  concat,
  finalize,
  map,
  NEVER,
  Observable,
  of,
  Subject,
  take,
  throwError,
  timer,
  VirtualTimeScheduler,
} from 'rxjs';
import { afterEach, describe, expect, expectTypeOf, it, onTestFinished, vi } from 'vitest';
import { Agent, buildConnector } from 'undici';
import { HTTPError, InterruptedError } from '../../src/errors.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { openai } from '../../src/providers/index.js';
import { type NodeResponse, toNodeResponse, type ToNodeResponseOptions } from '../../src/sinks/toNodeResponse.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/startServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';
import { pausable } from '../support/pausable.js';
import { dechunk, listenWith, messagesOf, rawGet, sendRaw, serveNode } from '../support/webServer.js';

const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const status = (word: string): StreamEvent => ({ type: 'status', status: word, terminal: false });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const MESSAGES = [{ role: 'user' as const, content: 'Tell me of rivers.' }];

afterEach(() => {
  vi.restoreAllMocks();
});

/** A response that says what it is told to say, and keeps what it is given. */
class FakeResponse extends EventEmitter implements NodeResponse {
  statusCode = 200;
  headersSent = false;
  writableEnded = false;
  destroyed = false;
  readonly headers: Record<string, string> = {};
  readonly pieces: string[] = [];
  flushed = 0;
  flushedHeaders = 0;
  hasRoom = true;
  /** False: the last byte is never out. */
  isQuick = true;
  readonly req: { readonly method: string };

  constructor(method = 'POST') {
    super();
    this.req = { method };
  }

  setHeader(name: string, value: string): void {
    this.headers[name] = value;
  }

  flushHeaders(): void {
    this.headersSent = true;
    this.flushedHeaders += 1;
  }

  flush(): void {
    this.flushed += 1;
  }

  write(piece: Uint8Array): boolean {
    this.headersSent = true;
    this.pieces.push(new TextDecoder().decode(piece));
    return this.hasRoom;
  }

  end(): void {
    this.headersSent = true;
    this.writableEnded = true;
    if (this.isQuick) this.emit('finish');
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }

  get body(): string {
    return this.pieces.join('');
  }
}

/** What became of a stream that was sent to a response. */
interface Sent {
  readonly res: FakeResponse;
  readonly receipts: Receipt[];
  readonly errors: unknown[];
  leave(): void;
}

function send(
  source: Observable<StreamEvent | string>,
  options: ToNodeResponseOptions = {},
  res = new FakeResponse(),
): Sent {
  const [receipts, errors]: [Receipt[], unknown[]] = [[], []];
  const subscription = source.pipe(toNodeResponse(res, options)).subscribe({
    next: (receipt) => receipts.push(receipt),
    error: (error: unknown) => errors.push(error),
  });
  return {
    res,
    receipts,
    errors,
    leave: () => {
      subscription.unsubscribe();
    },
  };
}

/** A clock that stands still until it is moved, one turn of the event loop after each thing that is due. */
class Clock extends VirtualTimeScheduler {
  async to(frame: number): Promise<void> {
    while ((this.actions[0]?.delay ?? Infinity) <= frame) {
      this.maxFrames = this.actions[0]!.delay;
      this.flush();
      await turn();
    }
    this.frame = frame;
  }
}

describe('toNodeResponse', () => {
  it.each([
    ['nothing', undefined],
    ['a text', 'res'],
    ['a Response', new Response()],
  ])('refuses %s', (_, res) => {
    expect(() => toNodeResponse(res as unknown as NodeResponse)).toThrow(TypeError);
  });

  it.each([
    [{ format: 'xml' }, TypeError],
    [{ aiSDKVersion: 5 }, TypeError],
    [{ headersAfterMs: -1 }, RangeError],
    [{ headersAfterMs: Number.NaN }, RangeError],
    [{ headersAfterMs: 2 ** 31 }, RangeError],
    [{ heartbeatMs: 0 }, RangeError],
    [{ heartbeatMs: 2 ** 31 }, RangeError],
    [{ errorResponse: 'no' }, TypeError],
    [{ lastEventId: 7 }, TypeError],
  ])('refuses %o', (options, error) => {
    expect(() => toNodeResponse(new FakeResponse(), options as ToNodeResponseOptions)).toThrow(error);
  });

  it('takes every response of Node’s', () => {
    expectTypeOf<ServerResponse>().toExtend<NodeResponse>();
    expectTypeOf<http2.Http2ServerResponse>().toExtend<NodeResponse>();
    expectTypeOf<express.Response>().toExtend<NodeResponse>();
  });

  describe('in virtual time', () => {
    it(
      'subscribes once, emits its receipt at the end, and leaves its source when it is left',
      marbles((m) => {
        const values = { a: text('a'), s: status('queued'), f: finish };
        const cases: readonly (readonly [source: string, subs: string, unsubs: string, result: string])[] = [
          ['-         ', '^         ', '', '-'],
          ['|         ', '(^!)      ', '', '(r|)'],
          ['-a-a-f-|  ', '^------!  ', '', '-------(r|)'],
          ['-s-s-|    ', '^----!    ', '', '-----(r|)'],
          ['-a-a-a    ', '^---!     ', '----!', '-----'],
        ];
        for (const [marble, subs, unsubs, result] of cases) {
          const source = m.cold(marble, values);
          const options: ToNodeResponseOptions = { headersAfterMs: Infinity, heartbeatMs: Infinity };
          const sent = source.pipe(
            toNodeResponse(new FakeResponse(), options),
            map(() => 'r'),
          );
          if (unsubs === '') m.expect(sent).toBeObservable(result);
          else m.expect(sent, unsubs).toBeObservable(result);
          m.expect(source).toHaveSubscriptions(subs);
        }
      }),
    );

    it(
      'errors with its source, with a receipt',
      marbles((m) => {
        const odd = new RangeError('odd');
        const source = m.cold('-a-#', { a: text('a') }, odd);
        const res = new FakeResponse();
        m.expect(
          source.pipe(
            toNodeResponse(res, { heartbeatMs: Infinity }),
            map(() => 'r'),
          ),
        ).toBeObservable('---#', {}, odd);
        m.expect(source).toHaveSubscriptions('^--!');
        m.flush();
        expect(odd).toMatchObject({ receipt: { outcome: 'failed', where: 'response' } });
      }),
    );

    it(
      'leaves no timer behind, whatever its ending',
      marbles((m) => {
        // A timer that stays would keep virtual time running to its frame.
        const source = m.cold('-a-|', { a: text('a') });
        m.expect(
          source.pipe(
            toNodeResponse(new FakeResponse()),
            map(() => m.scheduler.now()),
          ),
        ).toBeObservable('---(r|)', { r: 3 });
        const left = m.cold('-a-a', { a: text('a') });
        m.expect(
          left.pipe(
            toNodeResponse(new FakeResponse()),
            map(() => 'r'),
          ),
          '--!',
        ).toBeObservable('---');
        m.flush();
        expect(m.scheduler.now()).toBeLessThan(1_000);
      }),
    );

    it('sends the head after headersAfterMs, to the millisecond, with the states so far', async () => {
      const clock = new Clock();
      const source = timer(3, clock).pipe(map(() => status('queued')));
      const { res } = send(concat(source, NEVER), { headersAfterMs: 10, scheduler: clock });
      await clock.to(9);
      expect(res.headersSent).toBe(false);
      await clock.to(10);
      expect(res.headers['content-type']).toMatch(/^text\/event-stream/);
      expect(messagesOf(res.body)).toMatchObject([{ data: { type: 'status' } }]);
    });

    it('sends a head alone where there is nothing to say yet', async () => {
      const clock = new Clock();
      const { res } = send(NEVER, { headersAfterMs: 10, scheduler: clock });
      await clock.to(10);
      expect([res.headersSent, res.flushedHeaders, res.pieces]).toStrictEqual([true, 1, []]);
      expect(res.statusCode).toBe(200);
    });

    it('sends the head at once where headersAfterMs is 0, and after 15 seconds where nothing is said', async () => {
      expect(send(NEVER, { headersAfterMs: 0 }).res.headersSent).toBe(true);
      const clock = new Clock();
      const { res } = send(NEVER, { scheduler: clock });
      await clock.to(14_999);
      expect(res.headersSent).toBe(false);
      await clock.to(15_000);
      expect(res.headersSent).toBe(true);
    });

    it('waits for content as long as it takes where headersAfterMs is Infinity', async () => {
      const clock = new Clock();
      const { res } = send(NEVER, { headersAfterMs: Infinity, scheduler: clock });
      await clock.to(2 ** 40);
      expect(res.headersSent).toBe(false);
    });

    it('tells a failure behind headersAfterMs in band', async () => {
      const clock = new Clock();
      const source = new Subject<StreamEvent>();
      const { res, errors } = send(source, { headersAfterMs: 10, scheduler: clock });
      await clock.to(10);
      const odd = new HTTPError('secret', { status: 429 });
      source.error(odd);
      expect(res.statusCode).toBe(200);
      expect(messagesOf(res.body)).toMatchObject([{ data: { type: 'error', code: 'ERR_HTTP', retryable: true } }]);
      expect(errors).toStrictEqual([odd]);
    });

    it('sends a heartbeat after each silence, to the millisecond, and none while something is said', async () => {
      const clock = new Clock();
      const source = new Subject<StreamEvent>();
      const { res } = send(source, { headersAfterMs: 0, heartbeatMs: 10, scheduler: clock });
      await clock.to(9);
      expect(res.pieces).toStrictEqual([]);
      await clock.to(10);
      expect(res.pieces).toStrictEqual([': keep-alive\n\n']);
      await clock.to(15);
      source.next(text('one'));
      await turn();
      await clock.to(24);
      expect(res.pieces).toHaveLength(2);
      await clock.to(25);
      expect(res.pieces.at(-1)).toBe(': keep-alive\n\n');
      await clock.to(35);
      expect(res.pieces).toHaveLength(4);
      source.complete();
      const { length } = res.pieces;
      await clock.to(1_000);
      expect(res.pieces).toHaveLength(length);
    });

    it('sends no heartbeat before the head, none in text, none where it is told so, none to a reader that does not read', async () => {
      const clock = new Clock();
      const early = send(NEVER, { headersAfterMs: Infinity, heartbeatMs: 1, scheduler: clock });
      const plain = send(NEVER, { headersAfterMs: 0, heartbeatMs: 1, format: 'text', scheduler: clock });
      const quiet = send(NEVER, { headersAfterMs: 0, heartbeatMs: Infinity, scheduler: clock });
      const full = new FakeResponse();
      full.hasRoom = false;
      send(concat(of(text('one')), NEVER), { heartbeatMs: 1, scheduler: clock }, full);
      await turn();
      await clock.to(100);
      for (const { res } of [early, plain, quiet]) expect(res.pieces).toStrictEqual([]);
      expect(full.pieces).toHaveLength(1);
      full.emit('drain');
      await clock.to(102);
      expect(full.pieces.slice(1)).toContain(': keep-alive\n\n');
    });
  });

  it('passes on a heartbeat of the upstream between two events', async () => {
    const { res } = send(
      concat(of<StreamEvent[]>(text('one'), { type: 'heartbeat', comment: 'a\nb' }, text('two')), NEVER),
    );
    await turn();
    expect(res.body).toMatch(/"one".*\n\n(: |id: 2\ndata: ).*\n\nid: \d+\ndata: .*"two"/);
  });

  it('writes each turn of its source once, and calls flush behind it', async () => {
    const source = new Subject<StreamEvent>();
    const { res } = send(source);
    for (let at = 0; at < 3; at += 1) {
      for (let piece = 0; piece < 100; piece += 1) source.next(text('x'));
      await turn();
    }
    expect(res.pieces).toHaveLength(3);
    expect(res.flushed).toBe(3);
    expect(messagesOf(res.body)).toHaveLength(300);
  });

  it('writes a synchronous source piece by piece, and not all at its end', async () => {
    const { res } = send(
      new Observable((subscriber) => {
        for (let at = 0; at < 1_000; at += 1) subscriber.next(text('x'.repeat(100)));
        expect(res.pieces.length).toBeGreaterThan(5);
        subscriber.complete();
      }),
      { headersAfterMs: 0 },
      new FakeResponse(),
    );
    await turn();
    expect(Math.max(...res.pieces.map(({ length }) => length))).toBeLessThan(17_000);
  });

  it('holds so many states and no more', async () => {
    const source = new Subject<StreamEvent>();
    const { res } = send(source, { headersAfterMs: Infinity });
    let states = 0;
    while (!res.headersSent) {
      source.next(status(`queued ${'x'.repeat(1_000)}`));
      states += 1;
      await turn();
    }
    expect(states).toBeGreaterThan(50);
    expect(states).toBeLessThan(70);
    expect(messagesOf(res.body)).toHaveLength(states);
  });

  it('takes what it is given by a source that completes inside of its subscription', () => {
    const { res, receipts } = send(of(text('one')).pipe(take(1)));
    expect(messagesOf(res.body)).toHaveLength(2);
    expect(receipts).toMatchObject([{ outcome: 'complete' }]);
  });

  it('makes two answers of two subscriptions', () => {
    let asked = 0;
    const source = new Observable<string>((subscriber) => {
      subscriber.next(String((asked += 1)));
      subscriber.complete();
    });
    const [one, two] = [send(source, { format: 'text' }), send(source, { format: 'text' })];
    expect([one.res.body, two.res.body]).toStrictEqual(['1', '2']);
  });

  it('hears its own end while it is being told it', () => {
    const source = new Subject<string>();
    const [first, second] = [new FakeResponse(), new FakeResponse()];
    let inner: Sent | undefined;
    source.pipe(toNodeResponse(first, { format: 'text' })).subscribe(() => {
      inner = send(of('again'), { format: 'text' }, second);
    });
    source.next('one');
    source.complete();
    expect([first.body, second.body]).toStrictEqual(['one', 'again']);
    expect(inner?.receipts).toHaveLength(1);
  });

  it('pauses its source while the response is full, and lets it go on when there is room', async () => {
    const stream = pausable(Array.from({ length: 40 }, () => 'x'.repeat(10_000)));
    const res = new FakeResponse();
    res.hasRoom = false;
    const { receipts } = send(stream.source, { format: 'text' }, res);
    await turn();
    expect(stream.given).toBe(2);
    expect(stream.flow.paused).toBe(true);
    res.emit('drain');
    await turn();
    expect(stream.given).toBe(4);
    res.hasRoom = true;
    res.emit('drain');
    await turn();
    expect(stream.given).toBe(40);
    expect(res.body).toHaveLength(400_000);
    expect(receipts).toMatchObject([{ outcome: 'complete', chars: 400_000 }]);
  });

  it('is not stopped for good by a response that has room again before it has said that it is full', async () => {
    const stream = pausable(Array.from({ length: 40 }, () => 'x'.repeat(10_000)));
    const res = new FakeResponse();
    const write = res.write.bind(res);
    res.write = (piece) => {
      write(piece);
      res.emit('drain');
      return false;
    };
    const { receipts } = send(stream.source, { format: 'text' }, res);
    await turn();
    expect(receipts).toMatchObject([{ outcome: 'complete' }]);
  });

  it('tells no receipt before the last byte is out, and the reader’s leaving until then', () => {
    const [slow, gone] = [new FakeResponse(), new FakeResponse()];
    slow.isQuick = gone.isQuick = false;
    const [waits, leaves] = [send(of(text('one'), finish), {}, slow), send(of(text('one'), finish), {}, gone)];
    expect([waits.receipts, leaves.receipts]).toStrictEqual([[], []]);
    slow.emit('finish');
    gone.emit('close');
    expect(waits.receipts).toMatchObject([{ outcome: 'complete' }]);
    expect(leaves.receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    slow.emit('close');
    gone.emit('finish');
    expect([waits.receipts.length, leaves.receipts.length]).toStrictEqual([1, 1]);
  });

  it('takes back its listeners, but for the one that keeps a late error from ending the process', () => {
    const { res } = send(of(text('one')));
    expect(['drain', 'finish', 'close', 'error'].map((name) => res.listenerCount(name))).toStrictEqual([0, 0, 0, 1]);
    res.emit('error', new Error('late'));
  });

  it.each(['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED'])('takes the error %s for the reader’s leaving', (code) => {
    const source = new Subject<StreamEvent>();
    const { res, receipts } = send(source);
    source.next(text('one'));
    res.emit('error', Object.assign(new Error('write'), { code }));
    expect(source.observed).toBe(false);
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
  });

  it('fails with any other error of the response', () => {
    const source = new Subject<StreamEvent>();
    const { res, errors } = send(source);
    const odd = new Error('odd');
    res.emit('error', odd);
    expect(source.observed).toBe(false);
    expect(errors).toMatchObject([{ code: 'ERR_SINK', cause: odd, receipt: { outcome: 'failed' } }]);
  });

  it('fails where the response throws', async () => {
    const source = new Subject<StreamEvent>();
    const res = new FakeResponse();
    const odd = new Error('odd');
    res.setHeader = () => {
      throw odd;
    };
    const { errors } = send(source, {}, res);
    source.next(text('one'));
    await turn();
    expect(errors).toMatchObject([{ code: 'ERR_SINK', cause: odd }]);
    expect(res.destroyed).toBe(true);
  });

  it.each([
    ['ended', { headersSent: true, writableEnded: true }],
    ['begun', { headersSent: true }],
  ])('refuses a response that was %s, and asks nothing', (_, state) => {
    let asked = 0;
    const res = Object.assign(new FakeResponse(), state);
    const { errors } = send(new Observable(() => void (asked += 1)), {}, res);
    expect(asked).toBe(0);
    expect(errors).toMatchObject([{ code: 'ERR_SINK', receipt: { outcome: 'failed', attempts: 0 } }]);
    expect(res.pieces).toStrictEqual([]);
  });

  it('asks nothing for a reader that has left', () => {
    let asked = 0;
    const res = Object.assign(new FakeResponse(), { destroyed: true });
    const { receipts } = send(new Observable(() => void (asked += 1)), {}, res);
    expect(asked).toBe(0);
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader', attempts: 0 }]);
  });

  it('stops where somebody else answers meanwhile', async () => {
    const source = new Subject<StreamEvent>();
    const { res, errors } = send(source);
    res.flushHeaders();
    source.next(text('one'));
    await turn();
    expect(source.observed).toBe(false);
    expect(errors).toMatchObject([{ code: 'ERR_SINK', message: expect.stringContaining('Somebody else') }]);
    expect(res.pieces).toStrictEqual([]);
  });

  it.each(['finish', 'write'])('stops where somebody else ends the response, heard at the %s', async (moment) => {
    const source = new Subject<StreamEvent>();
    const res = new FakeResponse();
    res.isQuick = moment === 'finish';
    const { errors } = send(source, { headersAfterMs: 0 }, res);
    res.end();
    source.next(text('one'));
    await turn();
    expect(source.observed).toBe(false);
    expect(errors).toMatchObject([{ code: 'ERR_SINK' }]);
    expect(res.pieces).toStrictEqual([]);
  });

  it('leaves a status and headers that were set beforehand', () => {
    const res = new FakeResponse();
    res.statusCode = 201;
    res.setHeader('access-control-allow-origin', '*');
    send(of(text('one')), {}, res);
    expect(res.statusCode).toBe(201);
    expect(res.headers).toMatchObject({ 'access-control-allow-origin': '*', 'content-type': expect.any(String) });
    const failed = new FakeResponse();
    failed.statusCode = 201;
    send(
      throwError(() => new InterruptedError('cut')),
      {},
      failed,
    );
    expect(failed.statusCode).toBe(502);
  });

  it('tells the reader when it is unsubscribed: by a 503, by the format’s end, or by a cut', async () => {
    const early = send(NEVER);
    early.leave();
    expect([early.res.statusCode, early.res.writableEnded]).toStrictEqual([503, true]);
    const told = send(concat(of(text('one')), NEVER));
    await turn();
    told.leave();
    expect(messagesOf(told.res.body).at(-1)).toMatchObject({ data: { type: 'end', outcome: 'stopped' } });
    expect(told.res.writableEnded).toBe(true);
    const cut = send(concat(of(text('one')), NEVER), { format: 'text' });
    await turn();
    cut.leave();
    expect([cut.res.writableEnded, cut.res.destroyed]).toStrictEqual([false, true]);
    for (const { receipts, errors } of [early, told, cut]) expect([receipts, errors]).toStrictEqual([[], []]);
  });

  it('tells a receipt below of its own, also when it is unsubscribed', () => {
    const receipts: Receipt[] = [];
    const subscription = NEVER.pipe(
      toNodeResponse(new FakeResponse()),
      tapReceipt((receipt) => receipts.push(receipt)),
    ).subscribe();
    subscription.unsubscribe();
    expect(receipts).toMatchObject([{ where: 'response', outcome: 'stopped', by: 'unsubscribe' }]);
  });

  it('fails with a value that has no JSON, and tells the reader', () => {
    const { res, errors } = send(of<StreamEvent[]>(text('one'), { type: 'output', value: 1n, final: true }));
    expect(errors).toMatchObject([{ code: 'ERR_SINK' }]);
    expect(messagesOf(res.body).at(-1)).toMatchObject({ data: { type: 'error', code: 'ERR_SINK' } });
  });

  it('hears a teardown above that throws, and ends the response', () => {
    const source = concat(of(text('one')), NEVER).pipe(
      finalize(() => {
        throw new Error('odd');
      }),
    );
    const { res, leave } = send(source);
    expect(leave).toThrow();
    expect(res.writableEnded).toBe(true);
  });

  it('names the answer by chance, or as it is told', () => {
    const made = send(of(text('one')), { format: 'openai', random: () => 0.5 });
    const given = send(of(text('one')), { format: 'openai', id: 'mine', model: 'my-model' });
    expect(messagesOf(made.res.body)[0]).toMatchObject({
      data: { id: 'millrace-0m672jxbim80m672jxbim8', model: 'unknown' },
    });
    expect(messagesOf(given.res.body)[0]).toMatchObject({ data: { id: 'mine', model: 'my-model' } });
  });
});

/** A provider whose connections are the test's own to look at. */
function watched(): { readonly dispatcher: Agent; readonly sockets: Socket[] } {
  const sockets: Socket[] = [];
  const connector = buildConnector({});
  const dispatcher = new Agent({
    connect: (options, callback) => {
      connector(options, (...result) => {
        if (result[1] !== null) sockets.push(result[1]);
        callback(...result);
      });
    },
  });
  onTestFinished(() => dispatcher.destroy());
  return { dispatcher, sockets };
}

const FRAME = 'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n';

describe('toNodeResponse, on real sockets,', () => {
  it.each(['before the first content', 'in the middle'])(
    'closes the upstream’s socket within the very event by which the reader leaves, %s',
    async (stage) => {
      await using upstream = await startServer();
      const { dispatcher, sockets } = watched();
      const api = openai({ apiKey: 'any', baseURL: upstream.url });
      let tell: (destroyed: boolean[]) => void = () => undefined;
      const closed = new Promise<boolean[]>((resolve) => {
        tell = resolve;
      });
      const { port } = await serveNode((_, res) => {
        fromCall(api.chat({ model: 'm', messages: MESSAGES }), { dispatcher })
          .pipe(toNodeResponse(res))
          .subscribe();
        // Behind the sink's own listener.
        res.once('close', () => {
          tell(sockets.map(({ destroyed }) => destroyed));
        });
      });
      const reader = sendRaw(port, rawGet());
      const exchange = await upstream.accept();
      if (stage === 'in the middle') {
        await exchange.write(FRAME);
        await reader.until('one');
      }
      reader.socket.destroy();
      expect(await closed).toStrictEqual([true]);
      expect(await exchange.ended).toBe('client');
    },
  );

  it.each([1, 2, 50])('stops every request at the upstream of %d readers that left', async (count) => {
    await using upstream = await startServer();
    const api = openai({ apiKey: 'any', baseURL: upstream.url });
    const receipts: Receipt[] = [];
    const { port } = await serveNode((_, res) => {
      fromCall(api.chat({ model: 'm', messages: MESSAGES }))
        .pipe(toNodeResponse(res))
        .subscribe((receipt) => receipts.push(receipt));
    });
    await Promise.all(
      Array.from({ length: count }, async () => {
        const reader = sendRaw(port, rawGet());
        const exchange = await upstream.accept();
        await exchange.write(FRAME);
        reader.socket.destroy();
        await exchange.closed;
      }),
    );
    while (receipts.length < count) await turn();
    expect(receipts.every(({ outcome, by }) => outcome === 'stopped' && by === 'reader')).toBe(true);
  });

  it('asks nothing for a reader that left before its stream was made', async () => {
    let asked = 0;
    const receipts: Receipt[] = [];
    const left = new Promise<void>((resolve) => {
      void serveNode((_, res) => {
        res.once('close', () => {
          new Observable<string>(() => void (asked += 1))
            .pipe(toNodeResponse(res))
            .subscribe((receipt) => receipts.push(receipt));
          resolve();
        });
      }).then(({ port }) => {
        const reader = sendRaw(port, rawGet());
        setImmediate(() => reader.socket.end());
      });
    });
    await left;
    expect(asked).toBe(0);
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader', attempts: 0 }]);
  });

  it('takes a connection that its reader has closed on its side for the reader’s leaving', async () => {
    const source = new Subject<StreamEvent>();
    const receipts: Receipt[] = [];
    const { port } = await serveNode((_, res) => {
      source.pipe(toNodeResponse(res)).subscribe((receipt) => receipts.push(receipt));
    });
    const reader = sendRaw(port, rawGet());
    while (!source.observed) await turn();
    source.next(text('one'));
    await reader.until('one');
    reader.socket.end();
    while (receipts.length === 0) await turn();
    expect(source.observed).toBe(false);
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
  });

  it('keeps the connection of a reader that stays for the next request', async () => {
    const { port } = await serveNode((_, res) => {
      of(text('one'), finish).pipe(toNodeResponse(res)).subscribe();
    });
    const reader = sendRaw(port, rawGet());
    await reader.until('\r\n0\r\n\r\n');
    reader.socket.write(rawGet('/', ['connection: close']));
    await reader.ended;
    expect(reader.text().match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
  });

  it('answers requests that came together on one connection, one after the other', async () => {
    const { port } = await serveNode((req, res) => {
      of(text(req.url ?? ''), finish)
        .pipe(toNodeResponse(res, { format: 'text' }))
        .subscribe();
    });
    const reader = sendRaw(port, rawGet('/one') + rawGet('/two', ['connection: close']));
    await reader.ended;
    expect(reader.text().indexOf('/one')).toBeGreaterThan(0);
    expect(reader.text().indexOf('/two')).toBeGreaterThan(reader.text().indexOf('/one'));
  });

  it('answers a reader of HTTP/1.0 without chunks', async () => {
    const { port } = await serveNode((_, res) => {
      of(text('one'), finish).pipe(toNodeResponse(res)).subscribe();
    });
    const reader = sendRaw(port, rawGet('/', [], '1.0'));
    expect(await reader.ended).toBe('end');
    expect(reader.text()).not.toMatch(/transfer-encoding/i);
    expect(messagesOf(reader.text()).at(-1)).toMatchObject({ data: { type: 'end', outcome: 'complete' } });
  });

  it('resets the connection of a reader of HTTP/1.0 to cut text, which no end could tell from a whole', async () => {
    const source = new Subject<string>();
    const { port } = await serveNode((_, res) => {
      source.pipe(toNodeResponse(res, { format: 'text' })).subscribe({ error: () => undefined });
    });
    const reader = sendRaw(port, rawGet('/', [], '1.0'));
    while (!source.observed) await turn();
    source.next('one');
    await reader.until('one');
    source.error(new InterruptedError('cut'));
    expect(await reader.ended).toBe('reset');
  });

  it('tells a stop on purpose by a server that unsubscribes, and goes on with its next request', async () => {
    const sent: { unsubscribe(): void }[] = [];
    const { port } = await serveNode((_, res) => {
      sent.push(
        concat(of(text('one')), NEVER)
          .pipe(toNodeResponse(res, { format: 'openai' }))
          .subscribe(),
      );
    });
    const reader = sendRaw(port, rawGet());
    await reader.until('one');
    sent[0]!.unsubscribe();
    await reader.until('\r\n0\r\n\r\n');
    expect(dechunk(reader.text())).toContain('"error"');
  });

  it('is compressed by a middleware that does so, each write at once', async () => {
    const source = new Subject<string>();
    const { port } = await serveNode((_, res) => {
      compress(res);
      source.pipe(toNodeResponse(res, { format: 'text' })).subscribe();
    });
    const response = fetch(`http://127.0.0.1:${String(port)}/`);
    while (!source.observed) await turn();
    source.next('one');
    const reader = (await response).body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('one');
    source.next('two');
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('two');
    source.complete();
    expect((await reader.read()).done).toBe(true);
  });

  it('answers over HTTP/2, and hears its reader leave', async () => {
    const receipts: Receipt[] = [];
    const errors: unknown[] = [];
    const sources: Record<string, Observable<string>> = {
      '/whole': of('one ', 'two'),
      '/left': concat(of('one'), NEVER),
      '/cut': concat(
        of('one'),
        throwError(() => new InterruptedError('cut')),
      ),
    };
    const { url } = await listenWith(
      http2.createServer((req, res) => {
        sources[req.url]!.pipe(toNodeResponse(res, { format: 'text' })).subscribe({
          next: (receipt) => receipts.push(receipt),
          error: (error: unknown) => errors.push(error),
        });
      }),
    );
    const session = http2.connect(url);
    onTestFinished(() => {
      session.destroy();
    });
    const whole = session.request({ ':path': '/whole' });
    const [head] = (await once(whole, 'response')) as [OutgoingHttpHeaders];
    expect(head[':status']).toBe(200);
    let body = '';
    for await (const piece of whole.setEncoding('utf8')) body += String(piece);
    expect(body).toBe('one two');
    const left = session.request({ ':path': '/left' });
    await once(left, 'data');
    left.close(http2.constants.NGHTTP2_CANCEL);
    while (receipts.length < 2) await turn();
    const cut = session.request({ ':path': '/cut' });
    let came = '';
    cut.on('data', (piece: Uint8Array) => (came += new TextDecoder().decode(piece)));
    await expect(once(cut, 'end')).rejects.toThrow(/INTERNAL_ERROR/);
    expect(came).toBe('one');
    expect(receipts).toMatchObject([
      { outcome: 'complete', bytes: 7 },
      { outcome: 'stopped', by: 'reader' },
    ]);
    expect(errors).toMatchObject([{ receipt: { outcome: 'interrupted' } }]);
  });

  it('answers in Express', async () => {
    const app = express();
    const errors: unknown[] = [];
    app.use((_, res, next) => {
      res.set('x-powered-by', 'a mill').status(201);
      next();
    });
    app.get('/answer', (_, res) => {
      of(text('one'), finish)
        .pipe(toNodeResponse(res, { format: 'openai' }))
        .subscribe();
    });
    app.get('/busy', (_, res) => {
      throwError(() => new HTTPError('no', { status: 429 }))
        .pipe(toNodeResponse(res))
        .subscribe({ error: (error: unknown) => errors.push(error) });
    });
    const { url } = await listenWith(createServer(app));
    const response = await fetch(`${url}/answer`);
    expect([response.status, response.headers.get('x-powered-by')]).toStrictEqual([201, 'a mill']);
    expect(await response.text()).toMatch(/"one"[^]*data: \[DONE\]/);
    expect((await fetch(`${url}/busy`)).status).toBe(429);
    // Express answers HEAD by the route of GET.
    expect((await fetch(`${url}/answer`, { method: 'HEAD' })).status).toBe(405);
    expect(errors).toHaveLength(1);
  });

  it('answers in Fastify', async () => {
    const app = fastify();
    onTestFinished(() => app.close());
    app.get('/answer', (_, reply) => {
      reply.hijack();
      of(text('one'), finish).pipe(toNodeResponse(reply.raw)).subscribe();
    });
    await app.ready();
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const body = await (await fetch(`${url}/answer`)).text();
    expect(messagesOf(body)).toHaveLength(3);
  });
});

/** What a compressing middleware does to a response: it takes the place of `write` and `end`, and offers `flush`. */
function compress(res: ServerResponse & { flush?: () => void }): void {
  const gzip = createGzip();
  const [write, end] = [res.write.bind(res), res.end.bind(res)];
  gzip.on('data', (piece: Uint8Array) => write(piece));
  gzip.on('end', () => end());
  gzip.on('drain', () => res.emit('drain'));
  res.setHeader('content-encoding', 'gzip');
  res.write = (piece: unknown) => gzip.write(piece);
  res.end = () => {
    gzip.end();
    return res;
  };
  res.flush = () => {
    gzip.flush();
  };
}
