import * as fc from 'fast-check';
import { from, lastValueFrom, of, scan, Subject, take, tap, throwError, toArray, VirtualTimeScheduler } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProviderError } from '../../src/errors.js';
import type { TaskSummary, TaskUpdate } from '../../src/internal/taskSummary.js';
import { collectLogs, type CollectLogsOptions } from '../../src/operators/collectLogs.js';
import { tapEvents } from '../../src/operators/tapEvents.js';
import { inferencesh, inferenceshTaskDialect } from '../../src/providers/index.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeAll } from '../support/decodeAll.js';
import { marbles } from '../support/marbles.js';

type Item = StreamEvent | TaskUpdate;

const events: Record<string, StreamEvent> = {
  q: { type: 'status', status: 'queued', code: 2, id: 't1', terminal: false },
  w: { type: 'status', status: 'running', code: 7, id: 't1', terminal: false },
  c: { type: 'status', status: 'completed', code: 10, id: 't1', terminal: true },
  l: { type: 'log', id: 'l1', kind: 'task', message: 'load' },
  k: { type: 'log', id: 'l2', message: 'ready' },
  p: { type: 'progress', current: 1, total: 4 },
  o: { type: 'output', value: { url: 'x' }, final: true },
  t: { type: 'text', text: 'Hi', index: 0, name: 'output' },
  u: { type: 'usage', outputTokens: 2, provenance: 'reported' },
  h: { type: 'heartbeat', comment: '' },
  x: { type: 'raw', frame: {} },
  r: { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 2 } },
  f: { type: 'finish', reason: 'stop', rawReason: 'completed' },
};
const [load, ready] = [
  { type: 'log', id: 'l1', kind: 'task', message: 'load' },
  { type: 'log', id: 'l2', message: 'ready' },
] as const;

/** A summary of nothing, at one moment. */
const nothing: TaskSummary = { terminal: false, statuses: [], logs: [], droppedLogs: 0, startedAt: 0, durationMs: 0 };

/** The summaries of items that all come at once. */
function summariesOf(items: readonly Item[], options: CollectLogsOptions = {}): TaskSummary[] {
  const seen: TaskSummary[] = [];
  from(items)
    .pipe(collectLogs({ scheduler: new VirtualTimeScheduler(), ...options }))
    .subscribe((summary) => seen.push(summary));
  return seen;
}

function summaryOf(...items: readonly Item[]): TaskSummary {
  const [summary, ...more] = summariesOf(items);
  expect(more).toEqual([]);
  return summary ?? nothing;
}

const linesOf = (...items: readonly Item[]): string[] => summaryOf(...items).logs.map(({ message }) => message);

describe('collectLogs', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(collectLogs())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'gives one empty summary of an empty task',
    marbles((m) => {
      const source = m.cold(' ---|');
      const subs = '          ^--!';
      const expected = '      ---(a|)';
      m.expect(source.pipe(collectLogs())).toBeObservable(expected, { a: { ...nothing, endedAt: 3, durationMs: 3 } });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'gives one summary at the end: log, states with their times, progress, output',
    marbles((m) => {
      const source = m.cold(' -q-w-lhk-pxtou-c-(f|)', events);
      const subs = '          ^----------------!   ';
      const expected = '      -----------------(a|)';
      const a: TaskSummary = {
        id: 't1',
        status: 'completed',
        terminal: true,
        statuses: [
          { status: 'queued', code: 2, at: 1 },
          { status: 'running', code: 7, at: 3 },
          { status: 'completed', code: 10, at: 15 },
        ],
        logs: [load, ready],
        droppedLogs: 0,
        progress: { current: 1, total: 4 },
        output: { url: 'x' },
        text: 'Hi',
        usage: { outputTokens: 2, provenance: 'reported' },
        finish: { reason: 'stop', rawReason: 'completed' },
        startedAt: 0,
        endedAt: 15,
        durationMs: 15,
      };
      m.expect(source.pipe(collectLogs())).toBeObservable(expected, { a });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'hands over what it holds, and then the error',
    marbles((m) => {
      const error = new ProviderError('out of memory', { retryable: false });
      const source = m.hot('  -w-l-#', events, error);
      const subs = '          ^----!';
      const expected = '      -----(a#)';
      const a: TaskSummary = {
        ...nothing,
        id: 't1',
        status: 'running',
        statuses: [{ status: 'running', code: 7, at: 1 }],
        logs: [load],
        error: { name: 'ProviderError', code: 'ERR_PROVIDER', message: 'out of memory' },
        endedAt: 5,
        durationMs: 5,
      };
      m.expect(source.pipe(collectLogs())).toBeObservable(expected, { a }, error);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it('hands on the error as it was thrown', () => {
    const seen: unknown[] = [];
    throwError(() => 'just words')
      .pipe(collectLogs())
      .subscribe({ next: ({ error }) => seen.push(error), error: (error: unknown) => seen.push(error) });
    expect(seen).toEqual([{ name: 'Error', message: 'just words' }, 'just words']);
  });

  it(
    'leaves the source when the subscriber leaves, and emits nothing',
    marbles((m) => {
      const source = m.hot('  -w-l-|', events);
      const subs = '          ^--!  ';
      const expected = '      ----  ';
      m.expect(source.pipe(collectLogs()), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'collects for each subscriber afresh',
    marbles((m) => {
      const source = m.hot('  -l-k|', events);
      const collected = source.pipe(collectLogs());
      const whole: TaskSummary = { ...nothing, logs: [load, ready], endedAt: 4, durationMs: 4 };
      const part: TaskSummary = { ...nothing, logs: [ready], startedAt: 2, endedAt: 4, durationMs: 2 };
      m.expect(collected).toBeObservable('      ----(a|)', { a: whole });
      m.expect(collected, '--^').toBeObservable('----(a|)', { a: part });
      m.expect(source).toHaveSubscriptions(['^---!', '--^-!']);
    }),
  );

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<Item> {
      for (;;) {
        produced += 1;
        yield { status: produced };
      }
    }
    const seen: (string | undefined)[] = [];
    from(endless())
      .pipe(collectLogs({ mode: 'running' }), take(2))
      .subscribe(({ status }) => seen.push(status));
    expect(seen).toEqual(['received', 'queued']);
    expect(produced).toBe(2);
  });

  it('counts what a subscriber feeds from inside next', () => {
    const source = new Subject<Item>();
    const seen: string[][] = [];
    source.pipe(collectLogs({ mode: 'running' })).subscribe(({ logs }) => {
      seen.push(logs.map(({ message }) => message));
      if (logs.length === 1) source.next({ logs: 'two' });
    });
    source.next({ logs: 'one' });
    expect(seen).toEqual([['one'], ['one', 'two']]);
  });
});

describe('the running mode of collectLogs', () => {
  it(
    'emits at each change, and the whole at the end',
    marbles((m) => {
      const source = m.cold(' -w-h-l-l-t-|', events);
      const subs = '          ^----------!';
      const expected = '      -a---b---c-(d|)';
      const a: TaskSummary = {
        ...nothing,
        id: 't1',
        status: 'running',
        statuses: [{ status: 'running', code: 7, at: 1 }],
        durationMs: 1,
      };
      const b: TaskSummary = { ...a, logs: [load], durationMs: 5 };
      const c: TaskSummary = { ...b, text: 'Hi', durationMs: 9 };
      const d: TaskSummary = { ...c, endedAt: 11, durationMs: 11 };
      m.expect(source.pipe(collectLogs({ mode: 'running' }))).toBeObservable(expected, { a, b, c, d });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it('emits states that do not change afterwards, whenever they are read', () => {
    const log = (id: string, content: string): object => ({ id, content });
    const summaries = summariesOf(
      [
        { logs: [log('1', 'a')] },
        { logs: [log('1', 'a'), log('2', 'b')] },
        { logs: [log('1', 'a!'), log('2', 'b')] },
        { logs: [log('3', 'c')] },
      ],
      { mode: 'running', maxLogs: 2 },
    );
    expect(summaries.map(({ logs, droppedLogs }) => [logs.map(({ message }) => message).join(), droppedLogs])).toEqual([
      ['a', 0],
      ['a,b', 0],
      ['a!,b', 0],
      ['b,c', 1],
      ['b,c', 1],
    ]);
  });

  it('emits nothing for what is sent again', () => {
    const task: TaskUpdate = { id: 't1', status: 7, logs: ['a'], progress: { current: 1 }, output: null, error: null };
    expect(summariesOf([task, { ...task }, { ...task, status: 'running' }], { mode: 'running' })).toHaveLength(2);
  });
});

describe('the log that collectLogs gives', () => {
  const line = (id: string, content: string): object => ({ id, content, log_type: 1, created_at: 'then' });

  it('has each line with an id once, in the order of its coming', () => {
    const summary = summaryOf(
      { logs: [line('a', 'one')] },
      { logs: [line('a', 'one'), line('b', 'two')] },
      { logs: [line('c', 'two')] },
    );
    expect(summary.logs).toEqual([
      { type: 'log', id: 'a', kind: 'run', at: 'then', message: 'one' },
      { type: 'log', id: 'b', kind: 'run', at: 'then', message: 'two' },
      { type: 'log', id: 'c', kind: 'run', at: 'then', message: 'two' },
    ]);
  });

  it('has a line whose content changed in its old place', () => {
    const update = (content: string): TaskUpdate => ({ logs: [line('a', content), line('b', 'two')] });
    expect(linesOf(update('load'), update('loading'), update('10 %'), update('20 %'))).toEqual(['20 %', 'two']);
  });

  it('has the same lines when they come by the dialect, which tells only the new end of a line that grew', () => {
    const update = (...contents: string[]): TaskUpdate => ({
      status: 7,
      logs: contents.map((content, index) => line(String(index), content)),
    });
    const updates = [update('load', 'x'), update('loading', 'x'), update('ready', 'x', 'y'), { status: 10 }];
    const frames = updates.map((task) => JSON.stringify({ id: 't1', ...task }));
    const { events: told } = decodeAll(inferenceshTaskDialect(), `${frames.join('\n')}\n`);
    expect(linesOf(...told)).toEqual(['ready', 'x', 'y']);
    expect(linesOf(...told)).toEqual(linesOf(...updates));
    // After a lost connection another decoder tells all of it once more.
    expect(linesOf(...told.slice(0, 4), ...told)).toEqual(['ready', 'x', 'y']);
  });

  it('has of a resent list only what follows the longest common beginning', () => {
    const lists = [['a', 'b'], ['a', 'b'], ['a', 'b', 'b'], ['a', 'b', 'c', 'd'], ['z']];
    expect(linesOf(...lists.map((logs) => ({ logs })))).toEqual(['a', 'b', 'b', 'c', 'd', 'z']);
  });

  it('has every bare string, so that genuine repeats are kept', () => {
    expect(linesOf({ logs: 'same' }, { logs: 'same' }, { logs: '' }, { logs: 'other' })).toEqual([
      'same',
      'same',
      'other',
    ]);
  });

  it('has a bare string of an envelope once where the envelope does not name it', () => {
    const envelope = (fields: string[]): TaskUpdate => ({ data: { status: 7, logs: 'same' }, fields });
    expect(linesOf(envelope(['logs']), envelope(['status']), envelope(['logs']))).toEqual(['same', 'same']);
  });

  it.each<[string, TaskUpdate]>([
    ['null', { logs: null }],
    ['a list in an envelope that is named and not there', { data: { status: 7 }, fields: ['logs'] }],
  ])('begins again after %s', (_, cleared) => {
    expect(linesOf({ logs: ['a'] }, cleared, { logs: ['a', 'b'] })).toEqual(['a', 'a', 'b']);
  });

  it('keeps the newest lines and counts the others, also when those are sent again', () => {
    const logs = ['1', '2', '3', '4', '5'].map((id) => line(id, `line ${id}`));
    const [summary] = summariesOf([{ logs }, { logs: [line('1', 'line 1 grew'), ...logs.slice(1)] }], { maxLogs: 2 });
    expect(summary?.logs.map(({ message }) => message)).toEqual(['line 4', 'line 5']);
    expect(summary?.droppedLogs).toBe(3);
    const [whole] = summariesOf([{ logs }], { maxLogs: 5 });
    expect(whole?.droppedLogs).toBe(0);
  });

  it('is the same however a growing list is cut into updates', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', '')), fc.array(fc.nat(20)), (lines, cuts) => {
        const sizes = [...cuts.map((cut) => Math.min(cut, lines.length)).sort((x, y) => x - y), lines.length];
        expect(linesOf(...sizes.map((size) => ({ logs: lines.slice(0, size) })))).toEqual(lines);
        const objects = lines.map((content, index) => ({ id: String(index), content }));
        expect(linesOf(...sizes.map((size) => ({ logs: objects.slice(0, size) })))).toEqual(lines);
      }),
    );
  });
});

describe('the state that collectLogs gives', () => {
  it('comes in words or numbers, and each change once', () => {
    const words = [1, 2, 2, 'running', 7, 10].map((status) => ({ id: 't1', status }));
    expect(summaryOf(...words).statuses.map(({ status, code }) => [status, code])).toEqual([
      ['received', 1],
      ['queued', 2],
      ['running', undefined],
      ['completed', 10],
    ]);
  });

  it('may be unknown to us', () => {
    expect(summaryOf({ status: 99 })).toMatchObject({ status: 'status-99', terminal: false });
    expect(summaryOf({ status: null }, {})).toStrictEqual({ ...nothing, endedAt: 0 });
  });

  it('keeps the newest 1,000 changes', () => {
    const { statuses } = summaryOf(
      ...Array.from({ length: 1_001 }, (_, index) => ({ status: `state ${String(index)}` })),
    );
    expect(statuses).toHaveLength(1_000);
    expect(statuses.at(-1)?.status).toBe('state 1000');
  });

  it('tells the failure of a task that says so, without an error of the stream', () => {
    const failed = summaryOf({ status: 11, error: 'out of memory' });
    expect(failed).toMatchObject({ status: 'failed', terminal: true, error: { message: 'out of memory' } });
    expect(summaryOf({ error: { code: 'oom', message: 'no memory' } }).error).toEqual({
      code: 'oom',
      message: 'no memory',
    });
    expect(summaryOf({ error: 'oom' }).error).toEqual({ code: 'oom', message: 'oom' });
    expect(summaryOf({ error: {} }).error).toEqual({ message: 'the provider gave no reason' });
  });

  it('has the last progress and the last output; a snapshot does not replace the result', () => {
    const { progress, output } = summaryOf(
      { status: 'running', progress: { current: 1, total: 3, message: 'step' }, partial_output: 'par' },
      { progress: { current: 'many' }, partial_output: 'part' },
      { status: 'completed', output: 'whole', progress: { current: 3, total: null } },
      { partial_output: 'late' },
    );
    expect({ progress, output }).toEqual({ progress: { current: 3 }, output: 'whole' });
  });

  it('has the text of the first output only', () => {
    const other: StreamEvent = { type: 'text', text: 'other', index: 1, name: 'output' };
    expect(summaryOf(events['t'] ?? {}, other, events['t'] ?? {}).text).toBe('HiHi');
  });

  it('has the newest text, and says that it is not all', () => {
    const half: StreamEvent = { type: 'text', text: 'x'.repeat(600_000), index: 0, name: 'output' };
    expect(summaryOf(half).textTruncated).toBeUndefined();
    const { text, textTruncated } = summaryOf(half, half);
    expect([text?.length, textTruncated]).toEqual([1_048_576, true]);
  });

  it('loses the answer at a restart, and keeps log, states and usage', () => {
    const before = ['q', 'w', 'l', 'p', 'o', 't', 'u', 'c', 'f'].flatMap((name) => events[name] ?? []);
    const restarted = summaryOf(...before, ...['r', 'q', 'k'].flatMap((name) => events[name] ?? []));
    expect(restarted).toStrictEqual({
      ...nothing,
      id: 't1',
      status: 'queued',
      statuses: ['queued', 'running', 'completed', 'queued'].map((status, index) => ({
        status,
        code: [2, 7, 10, 2][index],
        at: 0,
      })),
      logs: [load, ready],
      usage: { outputTokens: 2, provenance: 'reported' },
      endedAt: 0,
    });
  });

  it(
    'ends with the terminal state, though the stream goes on',
    marbles((m) => {
      const source = m.cold(' -c--|', events);
      const seen: unknown[] = [];
      source.pipe(collectLogs()).subscribe(({ endedAt, durationMs }) => seen.push([endedAt, durationMs]));
      m.flush();
      expect(seen).toEqual([[1, 1]]);
    }),
  );
});

describe('with a task of inference.sh', () => {
  let server: ProviderServer;
  beforeEach(async () => {
    server = await startProviderServer();
  });
  afterEach(async () => {
    await server.close();
  });
  const task = (): ReturnType<ReturnType<typeof inferencesh>['run']> =>
    inferencesh({ apiKey: 'key-of-the-tests', baseURL: server.baseURLs.inferencesh }).run({ app: 'a/b', input: {} });
  const pieces = ['one ', 'two ', 'three ', 'four'];

  it('gathers its log, states and output', async () => {
    server.next({ pieces, logs: ['loading', 'loading', 'done'], output: { url: 'https://x.test/1' } });
    const summary = await lastValueFrom(fromCall(task()).pipe(collectLogs()));
    expect(summary.logs.map(({ message, kind }) => [message, kind])).toEqual([
      ['loading', 'setup'],
      ['loading', 'task'],
      ['done', 'task'],
    ]);
    expect(summary.statuses.map(({ status }) => status)).toEqual([
      'received',
      'queued',
      'dispatched',
      'preparing',
      'setting_up',
      'serving',
      'running',
      'uploading',
      'completed',
    ]);
    expect(summary).toMatchObject({
      status: 'completed',
      terminal: true,
      output: { url: 'https://x.test/1' },
      text: 'one two three four',
      progress: { current: 4, total: 4 },
    });
    expect(summary.durationMs).toBe((summary.endedAt ?? NaN) - summary.startedAt);
  });

  it('hands over what came before a failure', async () => {
    server.next({ pieces, logs: ['loading'], fault: { kind: 'in-band-error', at: { frame: -1 } } });
    const seen: TaskSummary[] = [];
    const collected = fromCall(task()).pipe(
      collectLogs(),
      tap((item) => seen.push(item)),
    );
    await expect(lastValueFrom(collected)).rejects.toBeInstanceOf(ProviderError);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({
      logs: [{ message: 'loading' }],
      text: 'one two three four',
      error: { name: 'ProviderError', code: 'ERR_PROVIDER' },
    });
  });

  it('can be processed by hand in ten lines: logs, status, partial output, a callback for progress', async () => {
    server.next({ pieces, logs: ['loading', 'done'], output: { url: 'https://x.test/1' } });
    const progressed: unknown[] = [];
    const start = { status: 'new', logs: [] as readonly string[], output: undefined as unknown };
    const states = await lastValueFrom(
      fromCall(task()).pipe(
        tapEvents({ progress: ({ current, total }) => progressed.push([current, total]) }),
        scan((state, event) => {
          if (event.type === 'status') return { ...state, status: event.status };
          if (event.type === 'log') return { ...state, logs: [...state.logs, event.message] };
          return event.type === 'output' ? { ...state, output: event.value } : state;
        }, start),
        toArray(),
      ),
    );
    expect(states.at(-1)).toEqual({
      status: 'completed',
      logs: ['loading', 'done'],
      output: { url: 'https://x.test/1' },
    });
    expect(states.some(({ status, logs }) => status === 'running' && logs.length === 1)).toBe(true);
    expect(progressed).toEqual([
      [1, 4],
      [2, 4],
      [3, 4],
      [4, 4],
    ]);
  });
});

describe('the options of collectLogs', () => {
  it('are refused when called', () => {
    expect(() => collectLogs({ mode: 'live' as 'final' })).toThrow("mode must be one of 'final', 'running', got live");
    expect(() => collectLogs({ maxLogs: 0 })).toThrow('maxLogs must be a number of at least 1, got 0');
    expect(() => collectLogs({ maxLogs: NaN })).toThrow(RangeError);
  });

  it('may be without a bound', () => {
    const [summary] = summariesOf([{ logs: Array.from({ length: 20_000 }, String) }], { maxLogs: Infinity });
    expect(summary?.logs).toHaveLength(20_000);
    expect(summariesOf([{ logs: Array.from({ length: 20_000 }, String) }])[0]?.logs).toHaveLength(10_000);
  });

  it('may be typed for one kind of input', () => {
    of({ status: 7 } satisfies TaskUpdate)
      .pipe(collectLogs())
      .subscribe(({ status }) => {
        expect(status).toBe('running');
      });
    expect.assertions(1);
  });
});
