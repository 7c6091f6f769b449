import { concat, firstValueFrom, NEVER, of, Subject, takeUntil, throwError } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import {
  AbortError,
  HTTPError,
  InterruptedError,
  isMillraceError,
  type MillraceError,
  ProviderError,
} from '../../src/errors.js';
import type { Call } from '../../src/protocol/call.js';
import { type Decoder, dialect } from '../../src/protocol/dialect.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { FinishEvent, MediaEvent, StreamEvent, ToolCallEvent } from '../../src/types.js';

const open: TestServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(): Promise<TestServer> {
  const server = await startServer();
  open.push(server);
  return server;
}

/** Frames are `{"piece": "text"}` and `{"over": reason}`. */
const words = dialect({
  name: 'words',
  frame: z.looseObject({ piece: z.optional(z.string()), over: z.optional(z.string()) }),
  start: () => undefined,
  decode: ({ piece, over }, stream) => {
    if (piece !== undefined) stream.emit(text(piece));
    if (over === undefined) return;
    stream.prove('stop', over);
    stream.done();
  },
});

function callTo(url: string): Call {
  return {
    provider: 'acme',
    model: 'm-1',
    dialect: words,
    authorize: () => ({ authorization: 'Bearer sk-12345678' }),
    stream: () => ({ method: 'POST', url, body: '{"prompt":"hi"}', accept: ['text/event-stream'] }),
    leaving: { stop: 'ended', disconnect: 'continues' },
  };
}

function text(piece: string, index = 0, name = 'output'): StreamEvent {
  return { type: 'text', text: piece, index, name };
}

const finish: FinishEvent = { type: 'finish', reason: 'stop' };

async function failure(promise: Promise<unknown>): Promise<MillraceError> {
  try {
    await promise;
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error('expected a rejection');
}

describe('a whole answer', () => {
  it('has every part in its place', async () => {
    const call: ToolCallEvent = {
      type: 'tool-call',
      index: 0,
      id: '1',
      name: 'look',
      arguments: { at: 1 },
      argumentsText: '{"at":1}',
    };
    const image: MediaEvent = { type: 'media', kind: 'image', content: 'aGk=', index: 0, name: 'output' };
    const events: StreamEvent[] = [
      { type: 'status', status: 'running', terminal: false },
      { type: 'thinking', text: 'let me ', index: 0, name: 'thinking' },
      { type: 'thinking', text: 'think', index: 0, name: 'thinking' },
      text('Hello '),
      { type: 'heartbeat', comment: '' },
      text('world'),
      { type: 'refusal', text: 'but no', index: 0, name: 'output' },
      call,
      image,
      { type: 'log', message: 'built' },
      { type: 'output', value: { n: 1 }, final: false },
      { type: 'output', value: { n: 2 }, final: true },
      { type: 'usage', inputTokens: 1, provenance: 'reported' },
      { type: 'usage', inputTokens: 2, outputTokens: 3, provenance: 'reported' },
      finish,
    ];
    const collected = await collect(fakeCall(events, { provider: 'acme' }));
    expect(collected).toMatchObject({
      text: 'Hello world',
      thinking: 'let me think',
      refusal: 'but no',
      toolCalls: [call],
      media: [image],
      logs: [{ type: 'log', message: 'built' }],
      output: { n: 2 },
      usage: { inputTokens: 2, outputTokens: 3, provenance: 'reported' },
      finish,
      receipt: {
        provider: 'acme',
        where: 'none',
        chars: 11,
        bytes: 0,
        outcome: 'complete',
        finish: { reason: 'stop' },
      },
    });
  });

  it('has empty parts where nothing came', async () => {
    const { receipt, ...rest } = await collect(fakeCall([finish]));
    expect(receipt.outcome).toBe('complete');
    expect(rest).toStrictEqual({
      text: '',
      thinking: '',
      refusal: '',
      toolCalls: [],
      media: [],
      logs: [],
      usage: { provenance: 'unknown' },
      finish,
    });
  });

  it('is read from a stream of events, too, with a flow or without one', async () => {
    const events = [text('a'), finish];
    expect(await collect(of(...events))).toMatchObject({ text: 'a', finish, receipt: { attempts: 0 } });
    expect(await collect(fromCall(fakeCall(events)))).toMatchObject({ text: 'a', finish, receipt: { attempts: 1 } });
  });

  it('is the one output that is asked for, and the first one else', async () => {
    const events: StreamEvent[] = [
      { ...text('other', 2), alternative: true } as StreamEvent,
      text('a', 0),
      text('b', 1),
      text('code', 0, 'code'),
      { type: 'refusal', text: 'no', index: 0, name: 'output' },
      { type: 'refusal', text: 'never', index: 2, name: 'output', alternative: true },
      finish,
    ];
    expect(await collect(fakeCall(events))).toMatchObject({ text: 'a', refusal: 'no' });
    expect(await collect(fakeCall(events), { index: 1 })).toMatchObject({ text: 'b', refusal: '' });
    expect(await collect(fakeCall(events), { name: 'code' })).toMatchObject({ text: 'code' });
    expect(await collect(fakeCall(events), { index: 2 })).toMatchObject({ text: 'other', refusal: 'never' });
  });

  it('holds nothing from before a restart', async () => {
    const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 4 } };
    const events: StreamEvent[] = [
      text('half'),
      { type: 'thinking', text: 'old', index: 0, name: 'thinking' },
      { type: 'log', message: 'old' },
      { type: 'output', value: 'old', final: false },
      restart,
      text('whole', 1, 'final'),
      finish,
    ];
    const collected = await collect(fakeCall(events));
    expect(collected).toMatchObject({ text: 'whole', thinking: '', logs: [], receipt: { chars: 5, restarts: 1 } });
    expect(collected).not.toHaveProperty('output');
  });

  it('is asked for at once, and comes over a socket', async () => {
    const server = await serve();
    const answer = collect(callTo(server.url));
    const exchange = await server.accept();
    expect(exchange.request.headers).toMatchObject({ authorization: 'Bearer sk-12345678' });
    exchange.respond({ headers: { 'content-type': 'text/event-stream', 'x-request-id': 'r-1' } });
    await exchange.write('data: {"piece":"Hel"}\n\nda');
    await exchange.write('ta: {"piece":"lo"}\n\n');
    await exchange.end('data: {"over":"end_turn"}\n\n');
    expect(await answer).toMatchObject({
      text: 'Hello',
      finish: { type: 'finish', reason: 'stop', rawReason: 'end_turn' },
      receipt: { provider: 'acme', model: 'm-1', requestIds: ['r-1'], attempts: 1, billing: 'ended' },
    });
  });

  it('may be one of a call that is made late', async () => {
    expect(await collect(() => Promise.resolve(fakeCall([text('late'), finish])))).toMatchObject({ text: 'late' });
    const refused = new RangeError('no model');
    await expect(collect(() => Promise.reject(refused))).rejects.toBe(refused);
  });
});

describe('an answer that is not whole', () => {
  it('rejects with what was received when the connection is cut', async () => {
    const server = await serve();
    const answer = failure(collect(callTo(server.url)));
    const exchange = await server.accept();
    await exchange.write('data: {"piece":"half"}\n\n');
    exchange.halfClose();
    const error = await answer;
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({
      received: { text: 'half', chars: 4, truncated: false },
      receipt: {
        outcome: 'interrupted',
        chars: 4,
        attempts: 1,
        billing: 'continues',
        error: { code: 'ERR_INTERRUPTED' },
      },
    });
  });

  it('rejects with what was received when the body ends before its proof', async () => {
    const server = await serve();
    const answer = failure(collect(callTo(server.url)));
    const exchange = await server.accept();
    await exchange.end('data: {"piece":"half"}\n\n');
    const error = await answer;
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({ received: { text: 'half' }, receipt: { outcome: 'interrupted' } });
  });

  it('rejects with the server’s refusal', async () => {
    const server = await serve();
    const answer = failure(collect(callTo(server.url)));
    const exchange = await server.accept();
    exchange.respond({ status: 429, headers: { 'content-type': 'application/json', 'retry-after': '2' } });
    await exchange.end('{"error":{"code":"slow_down"}}');
    const error = await answer;
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({
      status: 429,
      retryAfterMs: 2_000,
      received: { text: '', chars: 0 },
      receipt: { outcome: 'failed', billing: 'ended', chars: 0 },
    });
  });

  it('rejects with the provider’s failure in the stream', async () => {
    const server = await serve();
    const answer = failure(collect(callTo(server.url)));
    const exchange = await server.accept();
    await exchange.end('data: {"piece":"half"}\n\ndata: {"error":{"code":"overloaded"}}\n\n');
    const error = await answer;
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({
      providerCode: 'overloaded',
      received: { text: 'half' },
      receipt: { outcome: 'failed' },
    });
  });

  it('rejects where an operator completes the stream early, and says how to stop on purpose', async () => {
    const [events, stop] = [new Subject<StreamEvent>(), new Subject<string>()];
    const answer = failure(collect(fromCall(fakeCall(events)).pipe(takeUntil(stop))));
    events.next(text('half'));
    stop.next('now');
    const error = await answer;
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error.message).toContain('stopOn');
    expect(error).toMatchObject({
      received: { text: 'half', chars: 4, truncated: false },
      receipt: { outcome: 'interrupted' },
    });
  });

  it('rejects with an error that is not ours as it is, and gives it the receipt', async () => {
    const odd = new RangeError('odd');
    const source = concat(
      of(text('half')),
      throwError(() => odd),
    );
    await expect(collect(source)).rejects.toBe(odd);
    expect(odd).toMatchObject({ receipt: { outcome: 'failed', chars: 4 } });
  });

  it.each(['a word', undefined, null, Object.freeze(new Error('frozen'))])(
    'rejects with %s, where that is thrown',
    async (odd) => {
      await expect(
        collect(
          concat(
            of(text('half')),
            throwError(() => odd),
          ),
        ),
      ).rejects.toBe(odd);
    },
  );
});

describe('an answer that is stopped', () => {
  it('by its signal leaves the server and rejects with an AbortError that holds what came', async () => {
    const server = await serve();
    const controller = new AbortController();
    const reason = new Error('the user left');
    const seen = new Subject<undefined>();
    const half = firstValueFrom(seen);
    const answer = failure(collect(telling(callTo(server.url), seen), { signal: controller.signal }));
    const exchange = await server.accept();
    await exchange.write('data: {"piece":"half"}\n\n');
    await half;
    controller.abort(reason);
    const error = await answer;
    expect(await exchange.ended).toBe('client');
    expect(error).toBeInstanceOf(AbortError);
    expect(error.cause).toBe(reason);
    expect(error).toMatchObject({
      received: { text: 'half', chars: 4, truncated: false },
      receipt: { outcome: 'stopped', by: 'signal', chars: 4, billing: 'ended' },
    });
    expect(error.receipt).not.toHaveProperty('error');
  });

  it('before it began asks nothing', async () => {
    const server = await serve();
    const error = await failure(collect(callTo(server.url), { signal: AbortSignal.abort() }));
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ receipt: { outcome: 'stopped', by: 'signal', chars: 0 } });
    expect(server.exchanges).toHaveLength(0);
  });

  it('heeds the signal on a stream of events, too', async () => {
    const controller = new AbortController();
    const reason = new Error('the user left');
    const answer = failure(collect(concat(of(text('half')), NEVER), { signal: controller.signal }));
    controller.abort(reason);
    const error = await answer;
    expect(error).toBeInstanceOf(AbortError);
    expect(error.cause).toBe(reason);
    expect(error).toMatchObject({ received: { text: 'half' }, receipt: { outcome: 'stopped', by: 'signal' } });
  });
});

/** The call, telling the test of each frame that was decoded. */
function telling(call: Call, seen: Subject<undefined>): Call {
  const decoder = (): Decoder => {
    const inner = call.dialect.decoder();
    return {
      push: (event, emit) => {
        const proof = inner.push(event, emit);
        seen.next(undefined);
        return proof;
      },
      end: (intact, emit) => inner.end(intact, emit),
      submitted: (answer, emit) => {
        inner.submitted(answer, emit);
      },
    };
  };
  return { ...call, dialect: { ...call.dialect, decoder } };
}
