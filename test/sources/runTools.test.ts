import { lastValueFrom, Observable, of, Subject, take, takeUntil, toArray, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import * as z from 'zod/mini';
import { AbortError, InterruptedError, LimitError, ProtocolError, StreamTimeoutError } from '../../src/errors.js';
import type { Call, ToolResult } from '../../src/protocol/call.js';
import { collect } from '../../src/sinks/collect.js';
import { runTools } from '../../src/sources/runTools.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { timeout } from '../../src/operators/timeout.js';
import { fakeCall, startServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent, ToolCallEvent, UsageEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const asks = (id: string, args: unknown = {}, name = 'look'): ToolCallEvent => ({
  type: 'tool-call',
  index: 0,
  id,
  name,
  arguments: args,
  argumentsText: JSON.stringify(args),
});
const usage = (inputTokens: number, outputTokens: number): UsageEvent => ({
  type: 'usage',
  inputTokens,
  outputTokens,
  provenance: 'reported',
});
const over: StreamEvent = { type: 'finish', reason: 'stop' };
const wants: StreamEvent = { type: 'finish', reason: 'tool-calls' };

interface Conversation {
  readonly call: Call;
  /** What was given back, turn by turn. */
  readonly given: (readonly ToolResult[])[];
}

/** A provider whose turns are these; the last one answers for ever. */
function conversation(...turns: readonly (readonly StreamEvent[])[]): Conversation {
  const given: (readonly ToolResult[])[] = [];
  const turn = (at: number): Call => ({
    ...fakeCall(turns[Math.min(at, turns.length - 1)] ?? []),
    tools: {
      by: 'ask',
      next: (_, results) => {
        given.push(results);
        return turn(at + 1);
      },
    },
  });
  return { call: turn(0), given };
}

const look = { parameters: z.object({ q: z.string() }), run: ({ q }: { q: string }) => `found ${q}` };

describe('runTools', () => {
  it('runs what the model asks for, gives it back, and goes on with its next turn', async () => {
    const { call, given } = conversation(
      [text('Let me look.'), asks('c1', { q: 'a' }), usage(5, 2), wants],
      [text('It is '), text('there.'), usage(9, 3), over],
    );
    const events = await lastValueFrom(runTools(call, { look }).pipe(toArray()));
    expect(events).toStrictEqual([
      text('Let me look.'),
      asks('c1', { q: 'a' }),
      usage(5, 2),
      { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: 'found a' },
      text('\n\n'),
      text('It is '),
      text('there.'),
      usage(14, 5),
      over,
    ]);
    expect(given).toStrictEqual([[{ id: 'c1', name: 'look', text: 'found a' }]]);
  });

  it('is one whole answer to a sink: one text, one finish, every request and all usage in its receipt', async () => {
    const { call } = conversation(
      [text('A'), asks('c1', { q: 'a' }), usage(5, 2), wants],
      [text('B'), usage(9, 3), over],
    );
    const { text: said, toolCalls, finish, receipt } = await collect(runTools(call, { look }, { separator: ' ' }));
    expect(said).toBe('A B');
    expect(toolCalls).toHaveLength(1);
    expect(finish).toStrictEqual(over);
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2, usage: { inputTokens: 14, outputTokens: 5 } });
  });

  it('asks nothing more where the model asks for nothing', async () => {
    const { call, given } = conversation([text('A'), over]);
    expect(await lastValueFrom(runTools(call, { look }).pipe(toArray()))).toStrictEqual([text('A'), over]);
    expect(given).toEqual([]);
  });

  it('makes no request before it is subscribed to, and runs anew for each subscriber', async () => {
    const run = vi.fn(() => 'r');
    const { call, given } = conversation([asks('c1'), wants], [over]);
    const events = runTools(call, { look: { run } });
    expect(run).not.toHaveBeenCalled();
    await lastValueFrom(events);
    await lastValueFrom(events);
    expect(run).toHaveBeenCalledTimes(2);
    expect(given).toHaveLength(2);
  });

  it.each<[string, unknown, string]>([
    ['text as it is', 'as "is"', 'as "is"'],
    ['objects as JSON', { n: 1 }, '{"n":1}'],
    ['null as JSON', null, 'null'],
    ['nothing as an empty text', undefined, ''],
    ['promises when they are there', Promise.resolve([1]), '[1]'],
  ])('gives back %s', async (_, result, told) => {
    const { call, given } = conversation([asks('c1'), wants], [over]);
    await lastValueFrom(runTools(call, { look: { run: () => result } }));
    expect(given[0]?.[0]?.text).toBe(told);
  });

  it('gives functions what their schema makes of the arguments, and the call', async () => {
    const run = vi.fn();
    const { call } = conversation([asks('c1', { n: '7', extra: 1 }), wants], [over]);
    const parameters = z.pipe(
      z.object({ n: z.string() }),
      z.transform(({ n }) => ({ n: Number(n) })),
    );
    await lastValueFrom(runTools(call, { look: { parameters, run } }));
    expect(run).toHaveBeenCalledWith(
      { n: 7 },
      { id: 'c1', name: 'look', signal: expect.any(AbortSignal) as AbortSignal },
    );
  });

  it('takes schemas that take their time', async () => {
    const parameters = z.object({ q: z.string().check(z.refine((q) => Promise.resolve(q === 'a'))) });
    const { call, given } = conversation([asks('c1', { q: 'a' }), asks('c2', { q: 'b' }), wants], [over]);
    await lastValueFrom(runTools(call, { look: { parameters, run: () => 'yes' } }));
    expect(given[0]).toMatchObject([{ text: 'yes' }, { isError: true }]);
  });

  it('tells the model its mistakes, without the values', async () => {
    const { call, given } = conversation(
      [asks('c1', { q: 5, secret: 'key' }), asks('c2', {}, 'toString'), asks('c3', { q: 'a' }), wants],
      [over],
    );
    const events = await lastValueFrom(runTools(call, { look }).pipe(toArray()));
    expect(given[0]).toMatchObject([
      { id: 'c1', isError: true, text: expect.stringMatching(/^The arguments do not fit: q: /) as string },
      { id: 'c2', isError: true, text: 'There is no tool named "toString"' },
      { id: 'c3', text: 'found a' },
    ]);
    expect(JSON.stringify(given)).not.toContain('key');
    expect(events.filter(({ type }) => type === 'tool-result')).toHaveLength(3);
  });

  it('fails with a function that fails', async () => {
    const { call, given } = conversation([text('A'), asks('c1'), wants], [over]);
    const failure = new Error('no database');
    const run = (): never => {
      throw failure;
    };
    await expect(lastValueFrom(runTools(call, { look: { run } }))).rejects.toBe(failure);
    expect(given).toEqual([]);
  });

  it('fails with a result that has no JSON form', async () => {
    const { call } = conversation([asks('c1'), wants], [over]);
    await expect(lastValueFrom(runTools(call, { look: { run: () => Symbol('x') } }))).rejects.toThrow(
      /look gave a symbol/,
    );
  });

  it("tells a function's failure where it shall, to the model and to the reader", async () => {
    const { call, given } = conversation([asks('c1'), wants], [text('Sorry.'), over]);
    const run = () => Promise.reject(new Error('no database'));
    const events = await lastValueFrom(runTools(call, { look: { run } }, { onToolError: 'tell' }).pipe(toArray()));
    expect(given[0]).toStrictEqual([{ id: 'c1', name: 'look', text: 'no database', isError: true }]);
    expect(events).toContainEqual({
      type: 'warning',
      code: 'tool-failed',
      message: 'The tool look failed: no database',
      detail: { id: 'c1', name: 'look' },
    });
  });

  it('runs the calls of a turn side by side, and tells their results in the order of the calls', async () => {
    const { call, given } = conversation([asks('c1'), asks('c2'), asks('c3'), wants], [over]);
    const gates = new Map<string, () => void>();
    const run = (_: unknown, { id }: { id: string }): Promise<string> =>
      new Promise((resolve) => {
        gates.set(id, () => {
          resolve(id);
        });
        if (gates.size === 3) for (const open of [...gates.values()].reverse()) open();
      });
    const events = await lastValueFrom(runTools(call, { look: { run } }).pipe(toArray()));
    expect(events.flatMap((event) => (event.type === 'tool-result' ? event.id : []))).toEqual(['c1', 'c2', 'c3']);
    expect(given[0]?.map(({ id }) => id)).toEqual(['c1', 'c2', 'c3']);
  });

  it('runs no more at once than it may', async () => {
    const { call } = conversation([...['c1', 'c2', 'c3', 'c4', 'c5'].map((id) => asks(id)), wants], [over]);
    let [running, most] = [0, 0];
    const run = async (): Promise<void> => {
      most = Math.max(most, (running += 1));
      await Promise.resolve();
      await Promise.resolve();
      running -= 1;
    };
    await lastValueFrom(runTools(call, { look: { run } }, { concurrency: 2 }));
    expect(most).toBe(2);
  });

  it('leaves alone what the provider runs itself, and other answers', async () => {
    const run = vi.fn();
    const { call, given } = conversation(
      [{ ...asks('c1'), providerExecuted: true }, { ...asks('c2'), index: 1, alternative: true }, over],
      [over],
    );
    await lastValueFrom(runTools(call, { look: { run } }));
    expect(run).not.toHaveBeenCalled();
    expect(given).toEqual([]);
  });

  it('leaves alone what the server answered in the same turn', async () => {
    const run = vi.fn(() => 'r');
    const answered: StreamEvent = { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: 1 };
    const { call, given } = conversation([asks('c1'), answered, asks('c2'), wants], [over]);
    await lastValueFrom(runTools(call, { look: { run } }));
    expect(run).toHaveBeenCalledTimes(1);
    expect(given).toMatchObject([[{ id: 'c2' }]]);
  });

  it('ends with a call that the caller runs', async () => {
    const run = vi.fn();
    const { call, given } = conversation([asks('c1', {}, 'confirm'), asks('c2'), wants], [over]);
    const events = await lastValueFrom(runTools(call, { look: { run }, confirm: {} }).pipe(toArray()));
    expect(events.at(-1)).toStrictEqual(wants);
    expect([run.mock.calls.length, given.length]).toEqual([0, 0]);
  });

  it.each<[string, readonly StreamEvent[]]>([
    ['its length', [asks('c1'), { type: 'finish', reason: 'length' }]],
    ['a filter', [asks('c1'), { type: 'finish', reason: 'content-filter' }]],
    ['a refusal', [asks('c1'), { type: 'finish', reason: 'refusal' }]],
    [
      'one of its calls',
      [
        asks('c1'),
        { type: 'warning', code: 'tool-call-incomplete', message: 'cut' },
        { type: 'finish', reason: 'other' },
      ],
    ],
  ])('runs nothing of a turn that was cut by %s', async (_, turn) => {
    const run = vi.fn();
    const { call, given } = conversation(turn, [over]);
    const events = await lastValueFrom(runTools(call, { look: { run } }).pipe(toArray()));
    expect(events).toStrictEqual(turn);
    expect([run.mock.calls.length, given.length]).toEqual([0, 0]);
  });

  it('runs nothing of a turn that broke', async () => {
    const run = vi.fn();
    const { call } = conversation([text('A'), asks('c1')], [over]);
    await expect(lastValueFrom(runTools(call, { look: { run } }))).rejects.toBeInstanceOf(InterruptedError);
    expect(run).not.toHaveBeenCalled();
  });

  it('goes on with a turn that the provider only paused', async () => {
    const given: unknown[] = [];
    const paused: Call = {
      ...fakeCall([text('A'), { type: 'finish', reason: 'other', rawReason: 'pause_turn' }]),
      tools: {
        by: 'ask',
        isPaused: ({ rawReason }) => rawReason === 'pause_turn',
        next: (_, results) => {
          given.push(results);
          return conversation([text('B'), over]).call;
        },
      },
    };
    const { text: said } = await collect(runTools(paused, {}));
    expect(said).toBe('A\n\nB');
    expect(given).toEqual([[]]);
  });

  it('refuses a call that takes no results', () => {
    expect(() => runTools(fakeCall([over]), { look })).toThrow(/fake does not say how results of tools are given back/);
  });

  it.each([
    [{ maxRounds: -1 }, RangeError],
    [{ concurrency: 0 }, RangeError],
    [{ maxElapsedMs: 2 ** 31 }, RangeError],
    [{ onToolError: 'hide' as 'tell' }, TypeError],
    [{ onUnsubscribe: 'stay' as 'leave' }, TypeError],
  ])('refuses %j when it is called', (options, error) => {
    expect(() => runTools(conversation([over]).call, {}, options)).toThrow(error);
  });

  it('ends a model that asks for ever, with what was received', async () => {
    const { call, given } = conversation([text('A'), asks('c1', { q: 'a' }), wants]);
    const error = await collect(runTools(call, { look }, { maxRounds: 2 })).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LimitError);
    expect(error).toMatchObject({
      limit: 'maxRounds',
      max: 2,
      received: { text: 'A\n\nA\n\nA' },
      receipt: { attempts: 3 },
    });
    expect(given).toHaveLength(2);
  });

  it(
    'ends when its time is up, whatever runs',
    marbles((m) => {
      const call = conversation([asks('c1'), wants], [over]).call;
      const never = { run: () => new Promise(() => undefined) };
      const result = runTools(call, { look: never }, { maxElapsedMs: 5 });
      const error = new LimitError(
        'maxElapsedMs',
        5,
        'The turns and their tools took more than 5 ms; raise maxElapsedMs of runTools if they should',
      );
      m.expect(result).toBeObservable('c----#', { c: asks('c1') }, error);
    }),
  );

  it('aborts the functions when its reader leaves, and hears nothing more', async () => {
    const { call, given } = conversation([asks('c1'), wants], [over]);
    let signal: AbortSignal | undefined;
    const begun = new Subject<void>();
    const run = (_: unknown, context: { signal: AbortSignal }): Promise<never> => {
      signal = context.signal;
      begun.next();
      return new Promise((_resolve, reject) => {
        context.signal.addEventListener('abort', () => {
          reject(new Error('aborted'));
        });
      });
    };
    let receipt: Receipt | undefined;
    const heard: unknown[] = [];
    const subscription = runTools(call, { look: { run } })
      .pipe(tapReceipt((told) => (receipt = told)))
      .subscribe({ next: (event) => heard.push(event), error: (error: unknown) => heard.push(error) });
    if (signal === undefined) await lastValueFrom(begun.pipe(take(1)));
    const before = heard.length;
    subscription.unsubscribe();
    await new Promise(setImmediate);
    expect(signal?.aborted).toBe(true);
    expect(heard).toHaveLength(before);
    expect(given).toEqual([]);
    expect(receipt).toMatchObject({ outcome: 'stopped', by: 'unsubscribe', billing: 'ended' });
  });

  it('is stopped by its signal while functions run', async () => {
    const { call } = conversation([text('A'), asks('c1'), wants], [over]);
    const stop = new AbortController();
    const run = (): Promise<never> => {
      queueMicrotask(() => {
        stop.abort();
      });
      return new Promise(() => undefined);
    };
    const error = await collect(runTools(call, { look: { run } }, { signal: stop.signal })).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ received: { text: 'A' }, receipt: { outcome: 'stopped', by: 'signal' } });
  });

  it('is half an answer to a sink where it is completed between two turns', async () => {
    const { call } = conversation([text('A'), asks('c1'), wants], [over]);
    const leave = new Subject<void>();
    const run = (): Promise<never> => {
      queueMicrotask(() => {
        leave.next();
      });
      return new Promise(() => undefined);
    };
    const error = await collect(runTools(call, { look: { run } }).pipe(takeUntil(leave))).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(InterruptedError);
  });

  it('is no silence to a clock while functions run', async () => {
    const virtual = new VirtualTimeScheduler();
    const limits = {
      firstContentMs: 1,
      contentIdleMs: 1,
      headersMs: 1,
      wireIdleMs: 1,
      attemptMs: 1,
      scheduler: virtual,
    };
    const run = (): string => {
      virtual.schedule(() => undefined, 60_000);
      virtual.flush();
      return 'r';
    };
    const answer = (): Call => conversation([asks('c1'), wants], [text('B'), over]).call;
    const tools = { look: { run } };
    await expect(collect(runTools(answer(), tools).pipe(timeout(limits)))).resolves.toMatchObject({ text: 'B' });
    await expect(collect(runTools(answer(), tools, { timeout: limits }))).resolves.toMatchObject({ text: 'B' });
    expect(virtual.now()).toBeGreaterThanOrEqual(120_000);
  });

  it('still hears the clocks in each turn', async () => {
    const virtual = new VirtualTimeScheduler();
    const silent: Call = fakeCall(
      new Observable<StreamEvent>(() => {
        queueMicrotask(() => {
          virtual.flush();
        });
      }),
    );
    const first: Call = {
      ...fakeCall([asks('c1'), wants]),
      tools: { by: 'ask', next: () => ({ ...silent, tools: first.tools }) },
    };
    const stream = runTools(first, { look: { run: () => 'r' } }).pipe(
      timeout({ firstContentMs: 10, scheduler: virtual }),
    );
    await expect(collect(stream)).rejects.toBeInstanceOf(StreamTimeoutError);
  });

  it('takes back the whole answer where a later turn begins anew, and tells the turns before it once more', async () => {
    const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 0 } };
    const { call, given } = conversation(
      [text('A'), asks('c1', { q: 'a' }), wants],
      [text('wro'), asks('c9'), restart, text('B'), over],
    );
    const events = await lastValueFrom(runTools(call, { look }).pipe(toArray()));
    const from = events.findIndex(({ type }) => type === 'restart');
    expect(events[from]).toMatchObject({ discard: { chars: 'A\n\nwro'.length } });
    expect(events.slice(from + 1)).toStrictEqual([
      text('A'),
      asks('c1', { q: 'a' }),
      { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: 'found a' },
      text('\n\n'),
      text('B'),
      over,
    ]);
    expect(given).toHaveLength(1);
    const { text: said, toolCalls } = await collect(of(...events));
    expect([said, toolCalls.length]).toEqual(['A\n\nB', 1]);
  });

  it('runs no function twice where `retry` asks its turn again', async () => {
    const run = vi.fn(() => 'r');
    let asked = 0;
    const flaky: Call = {
      ...fakeCall({
        [Symbol.asyncIterator]: async function* () {
          await Promise.resolve();
          asked += 1;
          yield text('A');
          yield asks('c1');
          if (asked === 1) throw new InterruptedError('cut');
          yield wants;
        },
      }),
      tools: { by: 'ask', next: () => conversation([text('B'), over]).call },
    };
    const { text: said } = await collect(
      runTools(flaky, { look: { run } }, { retry: { count: 1, delay: { initialMs: 0 } }, separator: '|' }),
    );
    expect(said).toBe('A|B');
    expect([asked, run.mock.calls.length]).toEqual([2, 1]);
  });

  it('is not gone on with by a retry below it, which would run functions twice', async () => {
    const run = vi.fn(() => 'r');
    const broken: Call = { ...fakeCall([text('half')]), tools: { by: 'ask', next: () => broken } };
    const first: Call = { ...fakeCall([asks('c1'), wants]), tools: { by: 'ask', next: () => broken } };
    const stream = runTools(first, { look: { run } }).pipe(retryOnDisconnect({ count: 2, delay: { initialMs: 0 } }));
    await expect(collect(stream)).rejects.toBeInstanceOf(InterruptedError);
    expect(run).toHaveBeenCalledTimes(1);
  });

  it('tells each round, turn and results', async () => {
    const { call } = conversation([asks('c1', { q: 'a' }), wants], [asks('c2', { q: 'b' }), wants], [over]);
    const rounds: unknown[] = [];
    await lastValueFrom(runTools(call, { look }, { onRound: (round) => rounds.push(round) }));
    expect(rounds).toMatchObject([
      { round: 1, results: [{ id: 'c1', text: 'found a' }] },
      { round: 2, results: [{ id: 'c2', text: 'found b' }] },
    ]);
  });

  it('fails with what a provider makes of a turn', async () => {
    const { call } = conversation([asks('c1'), wants]);
    const broken: Call = {
      ...call,
      tools: {
        by: 'ask',
        next: () => {
          throw new ProtocolError('no');
        },
      },
    };
    await expect(collect(runTools(broken, { look: { run: () => '' } }))).rejects.toBeInstanceOf(ProtocolError);
  });

  it('takes the first events and leaves', async () => {
    const run = vi.fn();
    const { call } = conversation([text('A'), asks('c1'), wants], [over]);
    expect(await lastValueFrom(runTools(call, { look: { run } }).pipe(take(1), toArray()))).toStrictEqual([text('A')]);
    expect(run).not.toHaveBeenCalled();
  });

  describe('where results are posted while the stream goes on', () => {
    interface Agent {
      readonly call: Call;
      readonly events: Subject<StreamEvent>;
      readonly server: Awaited<ReturnType<typeof startServer>>;
    }

    async function agent(): Promise<Agent> {
      const server = await startServer();
      onTestFinished(() => server.close());
      const events = new Subject<StreamEvent>();
      const call: Call = {
        ...fakeCall(events),
        authorize: () => ({ authorization: 'Bearer k' }),
        tools: {
          by: 'post',
          post: ({ id, text: body }) => ({ method: 'POST', url: `${server.url}/tools/${id}`, body, accept: [] }),
        },
      };
      return { call, events, server };
    }

    it('posts each result once, and reads the same stream on', async () => {
      const { call, events, server } = await agent();
      const run = vi.fn(() => 'found');
      const ended = lastValueFrom(runTools(call, { look: { run } }).pipe(toArray()));
      events.next(asks('c1'));
      events.next(asks('c1'));
      const exchange = await server.accept();
      expect(exchange.request).toMatchObject({ method: 'POST', path: '/tools/c1', text: 'found' });
      expect(exchange.request.headers.authorization).toBe('Bearer k');
      exchange.respond({ status: 204, headers: {} });
      await exchange.end();
      events.next(text('B'));
      events.next(over);
      const heard = await ended;
      expect(heard.map(({ type }) => type)).toEqual(['tool-call', 'tool-call', 'tool-result', 'text', 'finish']);
      expect(run).toHaveBeenCalledTimes(1);
    });

    it('fails where a result is not taken', async () => {
      const { call, events, server } = await agent();
      const ended = collect(runTools(call, { look: { run: () => 'found' } }));
      const refused = expect(ended).rejects.toMatchObject({ name: 'HTTPError', status: 404, received: { text: 'A' } });
      events.next(text('A'));
      events.next(asks('c1'));
      const exchange = await server.accept();
      exchange.respond({ status: 404, headers: { 'content-type': 'application/json' } });
      await exchange.end('{"error":"gone"}');
      await refused;
    });

    it('stops posting when the reader leaves', async () => {
      const { call, events, server } = await agent();
      const subscription = runTools(call, { look: { run: () => 'found' } }).subscribe();
      events.next(asks('c1'));
      const exchange = await server.accept();
      subscription.unsubscribe();
      expect(await exchange.ended).toBe('client');
    });
  });
});
