import fc from 'fast-check';
import {
  catchError,
  concat,
  EMPTY,
  from,
  lastValueFrom,
  map,
  NEVER,
  Observable,
  of,
  Subject,
  take,
  takeUntil,
  throwError,
  toArray,
} from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { InterruptedError, ProviderError } from '../../src/errors.js';
import { idleStreamState, type StreamState } from '../../src/internal/streamRecord.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { streamState, type StreamStateOptions } from '../../src/operators/streamState.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { decode } from '../../src/operators/decode.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { anthropic } from '../../src/providers/anthropic.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import { openaiCompatible } from '../../src/providers/openaiCompatible.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { runTools } from '../../src/sources/runTools.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startProviderServer } from '../../src/testing/startProviderServer.js';
import { startServer } from '../../src/testing/startServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function text(piece: string, index = 0, name = 'output'): StreamEvent {
  return { type: 'text', text: piece, index, name };
}

const call: Extract<StreamEvent, { type: 'tool-call' }> = {
  type: 'tool-call',
  index: 0,
  id: 'c1',
  name: 'weather',
  arguments: { city: 'Ulm' },
  argumentsText: '{"city":"Ulm"}',
};

const events: Record<string, StreamEvent> = {
  a: text('A'),
  b: text('B'),
  c: text('C', 1),
  o: { type: 'text', text: 'other answer', index: 1, name: 'output', alternative: true },
  t: { type: 'thinking', text: 'T', index: 0, name: 'thinking' },
  n: { type: 'refusal', text: 'no', index: 0, name: 'output' },
  s: { type: 'status', status: 'queued', terminal: false, id: 'task-1' },
  S: { type: 'status', status: 'running', terminal: false },
  p: { type: 'progress', current: 1, total: 4 },
  l: { type: 'log', message: 'one', id: '1' },
  L: { type: 'log', message: '!', id: '1', continues: true },
  O: { type: 'output', value: { image: 'x' }, final: true },
  d: { type: 'tool-call-delta', index: 0, id: 'c1', name: 'weather', argumentsDelta: '{"city"' },
  k: call,
  K: { type: 'tool-result', index: 0, id: 'c1', name: 'weather', result: 'rain' },
  i: { type: 'media', kind: 'image', content: 'base64', index: 0, name: 'image' },
  u: { type: 'usage', inputTokens: 3, outputTokens: 2, cost: { total: 0.5 }, provenance: 'reported' },
  w: { type: 'warning', code: 'provider-warning', message: 'slow today' },
  h: { type: 'heartbeat', comment: 'ping' },
  x: { type: 'raw', frame: { any: 1 } },
  r: { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 2 } },
  f: { type: 'finish', reason: 'stop', rawReason: 'end_turn' },
};

/** A state as a word: its phase, and the text that it shows. */
function word({ phase, text: shown }: StreamState): string {
  return `${phase}:${shown}`;
}

const words = {
  c: 'connecting:',
  w: 'waiting:',
  s: 'streaming:',
  a: 'streaming:A',
  b: 'streaming:AB',
  d: 'complete:AB',
  D: 'complete:A',
  e: 'complete:',
};

const inWords = (options?: StreamStateOptions) => (source: Observable<StreamEvent | string>) =>
  source.pipe(streamState(options), map(word));

/** The last state of a stream that is over at once. */
function lastOf(source: Observable<StreamEvent | string>, options?: StreamStateOptions): StreamState {
  const states = statesOf(source, options);
  return states.at(-1)!;
}

function statesOf(source: Observable<StreamEvent | string>, options?: StreamStateOptions): readonly StreamState[] {
  const states: StreamState[] = [];
  source.pipe(streamState(options)).subscribe((state) => states.push(state));
  return states;
}

function inShort({ phase, text: shownText, error, billing }: StreamState): Partial<StreamState> {
  return {
    phase,
    text: shownText,
    ...(error !== undefined && { error }),
    ...(billing !== undefined && { billing }),
  };
}

describe('streamState', () => {
  it(
    'shows that it is connecting while nothing comes',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      c';
      m.expect(source.pipe(inWords())).toBeObservable(expected, words);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'shows an empty stream as complete',
    marbles((m) => {
      const source = m.cold(' ---|');
      const subs = '          ^--!';
      const expected = '      c--(e|)';
      m.expect(source.pipe(inWords())).toBeObservable(expected, words);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'shows the text so far at each piece, and the end',
    marbles((m) => {
      const source = m.cold(' -a-b-(f|)', events);
      const subs = '          ^----!';
      const expected = '      ca-b-(bd|)';
      m.expect(source.pipe(inWords())).toBeObservable(expected, words);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'waits from the first item to the first content: a state of the work is none',
    marbles((m) => {
      const source = m.cold(' -x-h-s-S-p-a-|', events);
      const subs = '          ^------------!';
      const expected = '      cw-w-w-w-w-a-(D|)';
      m.expect(source.pipe(inWords())).toBeObservable(expected, words);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it.each(['t', 'n', 'd', 'k', 'i', 'l', 'O'])('streams from the first content, be it %s', (first) => {
    marbles((m) => {
      const source = m.cold(`-h-${first}-`, events);
      const expected = '      cw-s-';
      m.expect(source.pipe(inWords())).toBeObservable(expected, words);
    })();
  });

  it(
    'shows nothing new for what shows nothing: raw frames, and a state that is told again',
    marbles((m) => {
      const source = m.cold(' -a-x-x-s-s-a', { ...events, a: text('A') });
      const expected = '      ca-----a---b';
      m.expect(source.pipe(inWords())).toBeObservable(expected, { ...words, b: 'streaming:AA' });
    }),
  );

  it(
    'takes strings as text; an empty one is none',
    marbles((m) => {
      const source = m.cold('  -e-a-b-|', { e: '', a: 'A', b: 'B' });
      const subs = '           ^------!';
      const expected = '       cw-a-b-(d|)';
      m.expect(source.pipe(inWords())).toBeObservable(expected, words);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'shows a failure as its last state, with all the text that came, and does not error',
    marbles((m) => {
      const failure = new ProviderError('overloaded', { retryable: true });
      const source = m.hot('   -a-#', events, failure);
      const subs = '           ^--!';
      const expected = '       ca-(f|)';
      m.expect(source.pipe(streamState(), map(inShort))).toBeObservable(expected, {
        c: { phase: 'connecting', text: '' },
        a: { phase: 'streaming', text: 'A' },
        f: { phase: 'failed', text: 'A', error: failure, billing: 'unknown' },
      });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'tells a cut from a failure',
    marbles((m) => {
      const cut = new InterruptedError('lost');
      const source = m.hot('   -a-#', events, cut);
      const expected = '       ca-(f|)';
      m.expect(source.pipe(streamState(), map(inShort))).toBeObservable(expected, {
        c: { phase: 'connecting', text: '' },
        a: { phase: 'streaming', text: 'A' },
        f: { phase: 'interrupted', text: 'A', error: cut, billing: 'unknown' },
      });
    }),
  );

  it(
    'leaves the source when the subscriber leaves, and shows nothing more',
    marbles((m) => {
      const source = m.hot('   -a-b-|', events);
      const subs = '           ^-!';
      const expected = '       ca-';
      m.expect(source.pipe(inWords()), subs).toBeObservable(expected, words);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'keeps a state for each subscriber',
    marbles((m) => {
      const source = m.hot('   -a-b-|', events);
      const states = source.pipe(inWords());
      m.expect(states).toBeObservable('      ca-b-(d|)', words);
      m.expect(states, '--^').toBeObservable('--cB-(E|)', {
        ...words,
        B: 'streaming:B',
        E: 'complete:B',
      });
      m.expect(source).toHaveSubscriptions(['^----!', '--^--!']);
    }),
  );

  it('asks nothing for who leaves at the first state', () => {
    let subscribed = 0;
    const source = new Observable<StreamEvent>(() => {
      subscribed += 1;
    });
    const receipts: Receipt[] = [];
    const seen: unknown[] = [];
    source
      .pipe(
        streamState(),
        tapReceipt((receipt) => receipts.push(receipt)),
        take(1),
      )
      .subscribe({ next: (state) => seen.push(state), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual([{ ...idleStreamState, phase: 'connecting' }, 'complete']);
    expect(subscribed).toBe(0);
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe' }]);
  });

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<StreamEvent> {
      for (;;) {
        produced += 1;
        yield text('A');
      }
    }
    const seen: string[] = [];
    from(endless())
      .pipe(inWords(), take(2))
      .subscribe({ next: (state) => seen.push(state), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual(['connecting:', 'streaming:A', 'complete']);
    expect(produced).toBe(1);
  });

  it('is in order when a subscriber feeds the source from inside next', () => {
    const source: Subject<StreamEvent> = new Subject();
    const seen: string[] = [];
    source.pipe(inWords()).subscribe((state) => {
      seen.push(state);
      if (state === 'streaming:A') source.next(text('B'));
      if (state === 'streaming:AB') source.complete();
    });
    source.next(text('A'));
    expect(seen).toStrictEqual(['connecting:', 'streaming:A', 'streaming:AB', 'complete:AB']);
  });

  it('leaves what its reader throws to RxJS, and goes on', () => {
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const seen: string[] = [];
    of(text('A'))
      .pipe(inWords())
      .subscribe((state) => {
        seen.push(state);
        if (state === 'streaming:A') throw new Error('of the reader');
      });
    expect(seen).toStrictEqual(['connecting:', 'streaming:A', 'complete:A']);
    expect(() => vi.runAllTimers()).toThrow('of the reader');
  });
});

describe('what streamState shows', () => {
  it('is all that a stream tells', () => {
    const told = [...'sSphlLtacndkKiOwuhf'].map((key) => events[key]!);
    expect(lastOf(from(told), { scheduler: clockAt(7_000) })).toStrictEqual({
      phase: 'complete',
      text: 'A',
      thinking: 'T',
      refusal: 'no',
      outputs: [
        { type: 'text', index: 0, name: 'output', content: 'A', done: true },
        { type: 'text', index: 1, name: 'output', content: 'C', done: true },
        { type: 'refusal', index: 0, name: 'output', content: 'no', done: true },
        { type: 'media', index: 0, name: 'image', kind: 'image', content: 'base64', done: true },
      ],
      toolCalls: [call],
      toolCallPreviews: [],
      toolResults: [events['K']],
      status: 'running',
      id: 'task-1',
      progress: { current: 1, total: 4 },
      logs: [{ type: 'log', message: 'one!', id: '1' }],
      droppedLogs: 0,
      output: { image: 'x' },
      usage: { inputTokens: 3, outputTokens: 2, cost: { total: 0.5 }, provenance: 'reported' },
      cost: { total: 0.5 },
      finish: events['f'],
      warnings: [events['w']],
      heartbeat: { comment: 'ping', at: 7_000, count: 2 },
      restarts: 0,
      billing: 'ended',
      receipt: expect.objectContaining({ outcome: 'complete', where: 'none', chars: 1, bytes: 0 }),
    });
  });

  it('is little at first', () => {
    expect(statesOf(NEVER)).toStrictEqual([{ ...idleStreamState, phase: 'connecting' }]);
  });

  it('has a preview of a tool call until it is whole', () => {
    const states = statesOf(concat(of(events['d']!, events['k']!), NEVER));
    expect(states.map(({ toolCallPreviews, toolCalls }) => [toolCallPreviews.length, toolCalls.length])).toStrictEqual([
      [0, 0],
      [1, 0],
      [0, 1],
    ]);
    expect(states[1]?.toolCallPreviews).toStrictEqual([
      { id: 'c1', index: 0, name: 'weather', argumentsText: '{"city"', complete: false },
    ]);
  });

  //                    source of the events a c o A(=a again)
  it.each<[string, string, StreamStateOptions]>([
    ['of the first output', 'AA', {}],
    ['of the output with the index', 'C', { index: 1, name: 'output' }],
    ['of none where there is no such output', '', { name: 'code' }],
  ])('has the text %s', (_, expected, options) => {
    const [a, c] = [events['a']!, events['c']!];
    expect(lastOf(of(a, c, a), options).text).toBe(expected);
  });

  it('leaves the texts of alternative answers to the outputs', () => {
    const alternative: StreamEvent = { type: 'text', text: 'other', index: 1, name: 'output', alternative: true };
    const { text: shown, outputs } = lastOf(of(events['a']!, alternative));
    expect(shown).toBe('A');
    expect(outputs.map(({ content }) => content)).toStrictEqual(['A', 'other']);
  });

  it('keeps the result of a task when a snapshot comes late', () => {
    const late: StreamEvent = { type: 'output', value: 'half', final: false };
    expect(lastOf(of(late, events['O']!, late)).output).toStrictEqual({ image: 'x' });
  });

  it('is cleared by a restart, but for what happened and what it cost', () => {
    const told = [...'sphltandkKiOwufr'].map((key) => events[key]!);
    const states = statesOf(concat(from(told), NEVER), { scheduler: clockAt(7_000) });
    expect(states.at(-1)).toStrictEqual({
      ...idleStreamState,
      phase: 'waiting',
      status: 'queued',
      id: 'task-1',
      logs: [{ type: 'log', message: 'one', id: '1' }],
      usage: { inputTokens: 3, outputTokens: 2, cost: { total: 0.5 }, provenance: 'reported' },
      cost: { total: 0.5 },
      warnings: [events['w']],
      heartbeat: { comment: 'ping', at: 7_000, count: 1 },
      restarts: 1,
    });
  });

  it('takes the first output of the new answer after a restart', () => {
    const told = [events['a']!, events['r']!, events['c']!, events['a']!];
    expect(lastOf(from(told))).toMatchObject({ text: 'C', restarts: 1 });
  });

  it('never changes, and shares what stayed as it was', () => {
    const order = 'shltadkKiOwupxctlrafu';
    const before: string[] = [];
    const states: StreamState[] = [];
    from([...order].map((key) => events[key]!))
      .pipe(streamState({ scheduler: clockAt(1) }))
      .subscribe((state) => {
        states.push(state);
        before.push(JSON.stringify(state));
      });
    expect(states.map((state) => JSON.stringify(state))).toStrictEqual(before);
    const lists = ['outputs', 'toolCalls', 'toolCallPreviews', 'toolResults', 'logs', 'warnings'] as const;
    for (const [at, state] of states.entries()) {
      const next = states[at + 1];
      for (const list of lists) {
        if (
          next !== undefined &&
          JSON.stringify(next[list]) === JSON.stringify(state[list]) &&
          state[list].length > 0
        ) {
          expect(next[list]).toBe(state[list]);
        }
      }
    }
  });

  it('has the same text as tokens have, however it comes', () => {
    const piece = fc.record({
      type: fc.constant('text' as const),
      text: fc.string({ minLength: 1 }),
      index: fc.nat(2),
      name: fc.constantFrom('output', 'code'),
    });
    const other = fc.constantFrom(...[...'thdkwuxpr'].map((key) => events[key]!));
    fc.assert(
      fc.property(fc.array(fc.oneof({ weight: 3, arbitrary: piece }, other)), (told) => {
        const since = told.slice(told.findLastIndex(({ type }) => type === 'restart') + 1);
        let tokens = '';
        from(since)
          .pipe(toTokens())
          .subscribe((token) => (tokens += token));
        expect(lastOf(from(told)).text).toBe(tokens);
      }),
    );
  });

  it('can be sent to another thread', () => {
    const states = statesOf(fromCall(fakeCall(from([...'slaf'].map((key) => events[key]!)))));
    expect(structuredClone(states.at(-1))).toMatchObject({ phase: 'complete', text: 'A', logs: [{ message: 'one' }] });
  });
});

describe('what streamState holds', () => {
  function lines(count: number): StreamEvent[] {
    return Array.from({ length: count }, (_, at) => ({ type: 'log', message: String(at) }));
  }

  it('is the newest log lines up to the bound', () => {
    const whole = lastOf(from(lines(3)), { maxLogs: 3 });
    expect([whole.logs.map(({ message }) => message), whole.droppedLogs]).toStrictEqual([['0', '1', '2'], 0]);
    const cut = lastOf(from(lines(4)), { maxLogs: 3 });
    expect([cut.logs.map(({ message }) => message), cut.droppedLogs]).toStrictEqual([['1', '2', '3'], 1]);
    const { logs, droppedLogs } = lastOf(from(lines(1_001)));
    expect([logs.length, droppedLogs]).toStrictEqual([1_000, 1]);
  });

  it('is the newest hundred warnings', () => {
    const told = Array.from({ length: 101 }, (_, at): StreamEvent => ({
      type: 'warning',
      code: 'x',
      message: String(at),
    }));
    const { warnings } = lastOf(from(told));
    expect([warnings.length, warnings[0]?.message]).toStrictEqual([100, '1']);
  });

  it('is an answer up to `maxChars`', () => {
    const told = [text('12345'), events['r']!, text('1234'), text('5')];
    expect(lastOf(from(told), { maxChars: 5 })).toMatchObject({ phase: 'complete', text: '12345' });
  });

  it(
    'ends with a LimitError past `maxChars`, and leaves the source',
    marbles((m) => {
      const source = m.cold(' -a-b-c-|', { a: text('12'), b: text('345'), c: text('6') });
      const subs = '          ^----!';
      const expected = '      ca-b-(e|)';
      const error = expect.objectContaining({ code: 'ERR_LIMIT', limit: 'maxChars', max: 5 });
      m.expect(source.pipe(streamState({ maxChars: 5 }), map(inShort))).toBeObservable(expected, {
        c: { phase: 'connecting', text: '' },
        a: { phase: 'streaming', text: '12' },
        b: { phase: 'streaming', text: '12345' },
        e: { phase: 'failed', text: '12345', error, billing: 'unknown' },
      });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it.each<[string, StreamEvent[]]>([
    ['thinking', [events['t']!, events['t']!]],
    ['pieces of tool calls', [events['d']!]],
    ['whole tool calls', [events['k']!]],
    ['log lines', [events['l']!]],
    ['media', [events['i']!]],
  ])('counts %s as well', (_, told) => {
    expect(lastOf(from(told), { maxChars: 1 }).error).toMatchObject({ code: 'ERR_LIMIT', limit: 'maxChars' });
  });
});

describe('the end that streamState shows', () => {
  const half = [text('half')];

  it('tells a stream that was only not read to its end from one that has failed: take, takeUntil, catchError', () => {
    const call = fakeCall(concat(of(text('half')), NEVER));
    const cut = fakeCall(of(text('half')));
    const ends: readonly Observable<StreamEvent>[] = [
      fromCall(call).pipe(take(1)),
      fromCall(cut).pipe(catchError(() => EMPTY)),
      fromCall(cut),
    ];
    for (const source of ends) {
      const { phase, text: shown, error } = lastOf(source);
      expect([phase, shown]).toStrictEqual(['interrupted', 'half']);
      expect(error).toBeInstanceOf(InterruptedError);
    }
    const stop = new Subject<void>();
    const states: StreamState[] = [];
    fromCall(call)
      .pipe(takeUntil(stop), streamState())
      .subscribe((state) => states.push(state));
    stop.next();
    expect(states.at(-1)).toMatchObject({ phase: 'interrupted', text: 'half', billing: 'ended' });
  });

  it.each([
    ['stops the work', 'cancel', 'ended'],
    ['stops the work, though leaving would not', 'leave', 'ended'],
  ] as const)('tells by its bill that stopping on purpose %s', (_, onUnsubscribe, billing) => {
    const stop = new Subject<void>();
    const states: StreamState[] = [];
    fromCall(fakeCall(concat(from(half), NEVER)), { onUnsubscribe })
      .pipe(stopOn(stop), streamState())
      .subscribe((state) => states.push(state));
    stop.next();
    expect(states.at(-1)).toMatchObject({ phase: 'stopped', text: 'half', billing, receipt: { by: 'notifier' } });
    expect(states.at(-1)).not.toHaveProperty('error');
  });

  it('tells of work that goes on that only the reading has stopped', () => {
    const call = {
      ...fakeCall(concat(from(half), NEVER)),
      leaving: { stop: 'continues', disconnect: 'continues' },
    } as const;
    const stop = new Subject<void>();
    const states: StreamState[] = [];
    fromCall(call)
      .pipe(stopOn(stop), streamState())
      .subscribe((state) => states.push(state));
    stop.next();
    expect(states.at(-1)).toMatchObject({ phase: 'stopped', billing: 'continues' });
  });

  it('is no failure where a signal stopped the call', () => {
    const controller = new AbortController();
    const states: StreamState[] = [];
    fromCall(fakeCall(concat(from(half), NEVER)), { signal: controller.signal })
      .pipe(streamState())
      .subscribe((state) => states.push(state));
    controller.abort();
    expect(states.at(-1)).toMatchObject({ phase: 'stopped', text: 'half', receipt: { by: 'signal' } });
    expect(states.at(-1)).not.toHaveProperty('error');
  });

  it('has an error that is none, and its receipt on one that is', () => {
    expect(lastOf(throwError(() => 'a word'))).toMatchObject({ phase: 'failed', error: 'a word' });
    expect(lastOf(throwError(() => undefined))).toHaveProperty('error', undefined);
    const failure = new ProviderError('no', { retryable: false });
    const { receipt, billing } = lastOf(throwError(() => failure));
    expect(failure.receipt).toBe(receipt);
    expect(billing).toBe('ended');
  });

  it('adds up what all attempts have cost', () => {
    const usage = (total: number): StreamEvent => ({
      type: 'usage',
      outputTokens: 1,
      cost: { total },
      provenance: 'reported',
    });
    let attempts = 0;
    const answer = new Observable<StreamEvent>((subscriber) => {
      attempts += 1;
      subscriber.next(text(`try ${String(attempts)}`));
      subscriber.next(usage(attempts));
      if (attempts === 1) subscriber.error(new InterruptedError('lost'));
      else subscriber.next({ type: 'finish', reason: 'stop' });
    });
    const states: StreamState[] = [];
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
    fromCall(fakeCall(answer))
      .pipe(retryOnDisconnect(), streamState())
      .subscribe((state) => states.push(state));
    vi.runAllTimers();
    expect(states.at(-1)).toMatchObject({ phase: 'complete', text: 'try 2', restarts: 1, cost: { total: 3 } });
    expect(states.at(-1)?.usage?.outputTokens).toBe(2);
  });

  it('is told to a tapReceipt below, once, also when its reader leaves', () => {
    const receipts: Receipt[] = [];
    const add = (receipt: Receipt): void => void receipts.push(receipt);
    from(half).pipe(streamState(), tapReceipt(add)).subscribe();
    NEVER.pipe(streamState(), tapReceipt(add)).subscribe().unsubscribe();
    fromCall(fakeCall(concat(from(half), NEVER)))
      .pipe(streamState(), tapReceipt(add))
      .subscribe()
      .unsubscribe();
    expect(receipts).toMatchObject([
      { outcome: 'complete', chars: 4 },
      { outcome: 'stopped', by: 'unsubscribe' },
      { outcome: 'stopped', by: 'unsubscribe', billing: 'ended', chars: 4 },
    ]);
    expect(receipts).toHaveLength(3);
  });

  it('errors with what a tapReceipt below throws', () => {
    const thrown = new Error('of the callback');
    const seen: unknown[] = [];
    from(half)
      .pipe(
        streamState(),
        tapReceipt(() => {
          throw thrown;
        }),
        map(word),
      )
      .subscribe({ next: (state) => seen.push(state), error: (error: unknown) => seen.push(error) });
    expect(seen).toStrictEqual(['connecting:', 'streaming:half', thrown]);
  });
});

describe('streamState and its connection', () => {
  it('waits from the headers on, though nothing has come', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const states = collecting(fromHTTP(server.url).pipe(parseSSE(), decode(chatDialect())));
    const connection = await server.accept();
    expect(states.phases).toStrictEqual(['connecting']);
    connection.respond();
    await states.until('waiting');
    await connection.end(
      `data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`,
    );
    await states.until('complete');
    expect(states.phases).toStrictEqual(['connecting', 'waiting', 'streaming', 'complete']);
  });

  it('waits from the headers on of a call, and a request behind another operator', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const api = openaiCompatible({ name: 'own', baseURL: server.url, apiKey: 'any' });
    const call = api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] });
    const states = collecting(fromCall(call, { retry: { count: 1 } }).pipe(map((event) => event)));
    const connection = await server.accept();
    connection.respond();
    await states.until('waiting');
    states.leave();
    await connection.closed;
    expect(states.phases).toStrictEqual(['connecting', 'waiting']);
  });

  it(
    'is connecting again while a lost connection is replaced, with the text that came',
    marbles((m) => {
      const lost = new InterruptedError('lost');
      const attempts = [m.cold('-a-#', events, lost), m.cold('--a-----b-(f|)', events)];
      const source = fromCall(fakeCall(deferred(attempts))).pipe(
        retryOnDisconnect({ delay: { initialMs: 4, maxMs: 4 }, random: () => 1 }),
      );
      const expected = 'ca-C-----(wa)--b-(bd|)';
      m.expect(source.pipe(streamState(), map(word))).toBeObservable(expected, {
        ...words,
        C: 'connecting:A',
        w: 'waiting:', // the answer that was cut is void at the first piece of the new one
      });
    }),
  );

  it('does not say that it connects again where the stream ends with its connection', async () => {
    const server = await startServer();
    onTestFinished(() => server.close());
    const states = collecting(fromHTTP(server.url).pipe(parseSSE(), decode(chatDialect())));
    const connection = await server.accept();
    await connection.write(`data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n`);
    await states.until('streaming');
    connection.reset();
    await states.until('interrupted');
    expect(states.phases).toStrictEqual(['connecting', 'waiting', 'streaming', 'interrupted']);
  });

  it('forgets a shared stream that goes on without it', () => {
    const source: Subject<StreamEvent> = new Subject();
    const seen: string[] = [];
    const first = source.pipe(inWords()).subscribe((state) => seen.push(state));
    source.next(text('A'));
    first.unsubscribe();
    source.next(text('B'));
    expect(seen).toStrictEqual(['connecting:', 'streaming:A']);
    expect(source.observed).toBe(false);
  });
});

describe('the turn that streamState gives back', () => {
  it('is in the provider’s form, with its signature', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    server.next({ thinking: 'Hm.', text: 'Yes.', toolCall: { id: 'toolu_1', name: 'weather', arguments: {} } });
    const api = anthropic({ apiKey: 'any', baseURL: server.baseURLs.anthropic });
    const asked = api.messages({ model: 'claude', max_tokens: 9, messages: [{ role: 'user', content: 'Rain?' }] });
    const states = await lastValueFrom(fromCall(asked).pipe(streamState(), toArray()));
    expect(states.at(-1)?.toRequest?.()).toStrictEqual({
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'Hm.', signature: expect.any(String) },
        { type: 'text', text: 'Yes.' },
        { type: 'tool_use', id: 'toolu_1', name: 'weather', input: {} },
      ],
    });
    // As long as it is not whole, the text alone: a call would want a result.
    const before = states.findLast(({ phase, toolCalls }) => phase === 'streaming' && toolCalls.length > 0);
    expect(before?.toRequest?.()).toStrictEqual({ role: 'assistant', content: [{ type: 'text', text: 'Yes.' }] });
  });

  it('is not there where the form is not known, and by the dialect that is given', () => {
    expect(lastOf(of(text('A'))).toRequest).toBeUndefined();
    const { toRequest } = lastOf(of(text('A')), { dialect: chatDialect() });
    expect(toRequest?.()).toStrictEqual({ role: 'assistant', content: 'A' });
    expect(Object.keys(lastOf(of(text('A')), { dialect: chatDialect() }))).not.toContain('toRequest');
  });

  it('is the last of several', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    server.next({ text: 'I look.', toolCall: { name: 'weather', arguments: {} } });
    server.next({ text: 'It rains.' });
    const api = openaiCompatible({ name: 'own', baseURL: server.baseURLs.openai, apiKey: 'any' });
    const asked = api.chat({ model: 'm', messages: [{ role: 'user', content: 'Rain?' }] });
    const tools = { weather: { run: () => 'rain' } };
    const state = await lastValueFrom(runTools(asked, tools, { separator: '' }).pipe(streamState()));
    expect(state).toMatchObject({ phase: 'complete', text: 'I look.It rains.' });
    expect(state.toolResults).toMatchObject([{ result: 'rain' }]);
    expect(state.toRequest?.()).toStrictEqual({ role: 'assistant', content: 'It rains.' });
  });
});

describe('the options of streamState', () => {
  it.each(['maxLogs', 'maxChars'])('are refused when called: %s', (name) => {
    expect(() => streamState({ [name]: 0 })).toThrow(`${name} must be a number of at least 1, got 0`);
    expect(() => streamState({ [name]: NaN })).toThrow(RangeError);
  });
});

function clockAt(at: number): NonNullable<StreamStateOptions['scheduler']> {
  const schedule = (): never => {
    throw new Error('nothing is to be scheduled');
  };
  return { now: () => at, schedule };
}

/** Another source for each subscription. */
function deferred(sources: readonly Observable<StreamEvent>[]): Observable<StreamEvent> {
  let at = 0;
  return new Observable((subscriber) => {
    const source = sources[at];
    at += 1;
    return source?.subscribe(subscriber);
  });
}

/** Follows a stream through its phases. */
function collecting(source: Observable<StreamEvent>): {
  readonly phases: string[];
  readonly until: (phase: string) => Promise<void>;
  readonly leave: () => void;
} {
  const phases: string[] = [];
  let wake = (): void => undefined;
  const subscription = source.pipe(streamState()).subscribe(({ phase }) => {
    if (phases.at(-1) !== phase) phases.push(phase);
    wake();
  });
  onTestFinished(() => {
    subscription.unsubscribe();
  });
  const until = async (phase: string): Promise<void> => {
    while (phases.at(-1) !== phase) await new Promise<void>((resolve) => (wake = resolve));
  };
  return {
    phases,
    until,
    leave: () => {
      subscription.unsubscribe();
    },
  };
}
