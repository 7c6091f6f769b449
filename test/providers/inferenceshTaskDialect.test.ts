import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError, ProviderError } from '../../src/errors.js';
import { MOVED } from '../../src/protocol/dialect.js';
import { inferenceshTaskDialect } from '../../src/providers/inferenceshTaskDialect.js';
import type { LogEvent, StreamEvent } from '../../src/types.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';
import { pick } from '../support/mutatedFrames.js';
import { Reconnecting } from '../support/reconnecting.js';
import { expectAlike, play, shareOf, type Stories } from '../support/templateStories.js';
import { sse } from '../fixtures/providerFixture.js';

const dialect = inferenceshTaskDialect();
const decode = (...frames: readonly object[]) =>
  decodeEvents(dialect, wireEvents('ndjson', frames.map((frame) => `${JSON.stringify(frame)}\n`).join('')));
const partial = (data: object): object => ({ data, fields: Object.keys(data) });
const delta = (of: object): object => ({ event: 'delta', data: { delta: { response: '', ...of }, seq: 1 } });
const done = (output: unknown = null): object => partial({ status: 10, output });
const of = <Type extends StreamEvent['type']>(type: Type, events: readonly StreamEvent[]) =>
  events.filter((event): event is Extract<StreamEvent, { type: Type }> => event.type === type);

describe('the state', () => {
  it.each(
    [
      'unknown',
      'received',
      'queued',
      'dispatched',
      'preparing',
      'serving',
      'setting_up',
      'running',
      'cancelling',
      'uploading',
      'completed',
      'failed',
      'cancelled',
    ].map((name, code) => [code, name] as const),
  )('%i is %s', (code, status) => {
    const { events } = decode({ id: 't1', status: code });
    expect(events[0]).toEqual({ type: 'status', status, code, id: 't1', terminal: code >= 10 });
  });

  it('may be a word', () => {
    expect(decode({ id: 't1', status: 'queued' }).events).toEqual([
      { type: 'status', status: 'queued', id: 't1', terminal: false },
    ]);
    expect(decode({ id: 't1', status: 'completed' }).outcome).toBe('complete');
    expect(decode({ id: 't1', status: 'canceled' }).error).toMatchObject({ providerCode: 'cancelled' });
  });

  it('is told when it changes, by number or word', () => {
    const { events } = decode({ id: 't1', status: 7 }, { id: 't1', status: 7 }, partial({ status: 'running' }));
    expect(of('status', events)).toHaveLength(1);
    expect(events.slice(1)).toEqual([
      { type: 'heartbeat', comment: '' },
      { type: 'heartbeat', comment: '' },
    ]);
  });

  it('that is new to us does not end anything', () => {
    const { events, outcome } = decode({ id: 't1', status: 13 });
    expect(events[0]).toMatchObject({ status: 'status-13', code: 13, terminal: false });
    expect(outcome).toBe('interrupted');
  });
});

describe('the end', () => {
  it('is status 10, at once', () => {
    const { events, outcome } = decode({ id: 't1', status: 7 }, done({ answer: 42 }));
    expect(outcome).toBe('complete');
    expect(events.slice(-2)).toEqual([
      { type: 'output', value: { answer: 42 }, final: true },
      { type: 'finish', reason: 'stop' },
    ]);
  });

  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['tool_calls', 'tool-calls'],
    ['odd', 'other'],
  ])('carries the model’s reason %s as %s', (stop_reason, reason) => {
    const { events } = decode(delta({ usage: { stop_reason } }), done());
    expect(events.at(-1)).toEqual({ type: 'finish', reason, rawReason: stop_reason });
  });

  it('before a terminal status is an interruption: an EOF proves nothing', () => {
    expect(decode({ id: 't1', status: 9 }).outcome).toBe('interrupted');
  });

  it('may be an event done alone, which tells no reason', () => {
    const wire = wireEvents('sse', sse('event: update\ndata: {"id":"t1","status":7}', 'event: done\ndata: {}'));
    const { events, outcome } = decodeEvents(dialect, wire);
    expect(outcome).toBe('complete');
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'unknown' });
    expect(decode({ event: 'done' }).outcome).toBe('complete');
  });

  it('is last, also where the answer to the request had told it', () => {
    const wire = wireEvents('ndjson', '{"id":"t1","status":10}');
    const { events } = decodeEvents(dialect, wire, { submitted: { id: 't1', status: 10 } });
    expect(events.map(({ type }) => type)).toEqual(['status', 'finish']);
  });

  it('may be the first frame, of a task that was over when we came', () => {
    const { events } = decode({ id: 't1', status: 10, output: { response: 'Hello' }, logs: ['a'] });
    expect(events.map(({ type }) => type)).toEqual(['status', 'log', 'text', 'output', 'finish']);
  });
});

describe('a failed task', () => {
  it('fails after the logs and the text of the same frame', () => {
    const { events, error } = decode(
      delta({ response: 'Hel' }),
      partial({ status: 11, error: 'out of memory', logs: [{ id: 'l1', log_type: 1, content: 'OOM' }] }),
    );
    expect(events.map(({ type }) => type)).toEqual(['text', 'status', 'log']);
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ providerCode: 'failed', providerMessage: 'out of memory', retryable: false });
  });

  it.each([
    [{ message: 'no GPU', code: 'gpu' }, 'gpu', 'no GPU'],
    ['oom', 'oom', 'oom'],
    [null, 'failed', 'the provider gave no reason'],
  ])('says why: %j', (why, providerCode, providerMessage) => {
    expect(decode({ id: 't1', status: 11, error: why }).error).toMatchObject({ providerCode, providerMessage });
  });

  it('says why although the words came before the state', () => {
    const { events, error } = decode(partial({ error: 'out of memory' }), partial({ status: 11 }));
    expect(of('raw', events)).toHaveLength(1);
    expect(error).toMatchObject({ providerMessage: 'out of memory' });
  });

  it('can be worth another try, if the caller says so', () => {
    const mine = inferenceshTaskDialect({ retryable: ({ message }) => message?.includes('worker lost') ?? false });
    const wire = wireEvents('ndjson', '{"id":"t1","status":11,"error":"worker lost: w3"}');
    expect(decodeEvents(mine, wire).error).toMatchObject({ retryable: true });
  });

  it('does not fail by an error that is null or of a task that goes on', () => {
    expect(decode({ id: 't1', status: 7, error: null }).outcome).toBe('interrupted');
    expect(decode({ id: 't1', status: 7, error: 'node lost, moving' }, done()).outcome).toBe('complete');
  });
});

it('fails a task that somebody else cancelled, and would not run it again', () => {
  const { error } = decode(partial({ status: 8 }), partial({ status: 12 }));
  expect(error).toMatchObject({ providerCode: 'cancelled', retryable: false });
});

describe('a failure of the stream', () => {
  it.each([
    ['an NDJSON line', 'ndjson', '{"event":"error","data":{"message":"gone"}}\n', 'gone'],
    ['an NDJSON line with bare text', 'ndjson', '{"event":"error","data":"gone away"}\n', 'gone away'],
    ['an NDJSON line without data', 'ndjson', '{"event":"error","message":"gone"}\n', 'gone'],
    ['an event', 'sse', 'event: error\ndata: {"error":"gone away"}\n\n', 'gone away'],
    ['an event with bare text', 'sse', 'event: error\ndata: gone away\n\n', 'gone away'],
    [
      'the first version’s envelope',
      'ndjson',
      '{"success":false,"status":500,"error":{"code":"x","message":"gone"}}\n',
      'gone',
    ],
  ] as const)('is %s', (_, framing, body, message) => {
    const { error } = decodeEvents(dialect, wireEvents(framing, body));
    expect(error).toMatchObject({ name: 'ProviderError', providerMessage: message });
  });

  it('is a line that is no JSON', () => {
    expect(decodeEvents(dialect, wireEvents('ndjson', 'oops\n')).error).toMatchObject({ code: 'ERR_PROTOCOL' });
  });
});

describe('increments', () => {
  it('are text, thinking and usage, and never empty', () => {
    const { events } = decode(
      delta({ reasoning: 'Let me' }),
      delta({ response: 'Hel' }),
      delta({}),
      delta({ usage: { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13, reasoning_tokens: 0 } }),
    );
    expect(events).toEqual([
      { type: 'thinking', text: 'Let me', index: 0, name: 'thinking' },
      { type: 'text', text: 'Hel', index: 0, name: 'output' },
      { type: 'heartbeat', comment: '' },
      { type: 'usage', inputTokens: 9, outputTokens: 4, totalTokens: 13, reasoningTokens: 0, provenance: 'reported' },
    ]);
  });

  it('are read in an event named delta too, with and without an envelope', () => {
    const wire = wireEvents(
      'sse',
      sse(
        'event: delta\ndata: {"delta":{"response":"a"},"seq":1}',
        'event: delta\ndata: {"data":{"delta":{"response":"b"}}}',
      ),
    );
    expect(textOf(decodeEvents(dialect, wire).events)).toBe('ab');
  });

  it('join the pieces of tool calls by index, and tell whole calls at the end', () => {
    const call = (index: number, more: object): object => delta({ tool_calls: [{ index, ...more }] });
    const { events } = decode(
      call(0, { id: 'c1', type: 'function', function: { name: 'look', arguments: '{"q"' } }),
      call(1, { id: 'c2', function: { name: 'ask', arguments: '' } }),
      call(0, { function: { arguments: ':"x"}' } }),
      done(),
    );
    expect(of('tool-call-delta', events).map(({ id }) => id)).toEqual(['c1', 'c2', 'c1']);
    expect(of('tool-call', events)).toEqual([
      { type: 'tool-call', index: 0, id: 'c1', name: 'look', arguments: { q: 'x' }, argumentsText: '{"q":"x"}' },
      { type: 'tool-call', index: 0, id: 'c2', name: 'ask', arguments: {}, argumentsText: '' },
    ]);
  });

  it('hand on as raw what has no event', () => {
    const frame = delta({ images: ['…'] });
    expect(decode(frame).events).toEqual([{ type: 'raw', frame }]);
  });
});

describe('the result', () => {
  it('brings the text where no increment came', () => {
    for (const output of ['Hello', { response: 'Hello' }]) {
      const { events } = decode(done(output));
      expect(textOf(events)).toBe('Hello');
      expect(of('output', events)).toEqual([{ type: 'output', value: output, final: true }]);
    }
  });

  it('brings the end of the text that increments did not', () => {
    const { events } = decode(delta({ response: 'Hel' }), done({ response: 'Hello' }));
    expect(of('text', events).map(({ text }) => text)).toEqual(['Hel', 'lo']);
  });

  it('repeats no text that increments brought', () => {
    expect(of('text', decode(delta({ response: 'Hello' }), done({ response: 'Hello' })).events)).toHaveLength(1);
  });

  it('restarts where it is another text, and tells its thinking again', () => {
    const { events } = decode(
      delta({ reasoning: 'Hm' }),
      delta({ response: 'Hey' }),
      done({ response: 'Hello', reasoning: 'Hm' }),
    );
    expect(events.slice(3, 6)).toEqual([
      { type: 'restart', attempt: 1, because: 'the output carried a different text', discard: { chars: 3 } },
      { type: 'thinking', text: 'Hm', index: 0, name: 'thinking' },
      { type: 'text', text: 'Hello', index: 0, name: 'output' },
    ]);
  });

  it('brings thinking, usage and tool calls that increments did not', () => {
    const { events } = decode(
      done({
        response: '',
        reasoning: 'Hm',
        tool_calls: [{ id: 'c1', function: { name: 'look', arguments: '{}' } }],
        usage: { prompt_tokens: 1, stop_reason: 'tool_calls' },
      }),
    );
    expect(events.map(({ type }) => type)).toEqual([
      'status',
      'thinking',
      'tool-call-delta',
      'usage',
      'output',
      'tool-call',
      'finish',
    ]);
    expect(events.at(-1)).toMatchObject({ reason: 'tool-calls' });
  });

  it('is told in between as a snapshot, without its text', () => {
    const { events } = decode(
      { id: 't1', status: 7 },
      partial({ output: { response: 'Hel' } }),
      partial({ output: null }),
    );
    expect(of('output', events)).toEqual([
      { type: 'output', value: { response: 'Hel' }, final: false },
      { type: 'output', value: null, final: false },
    ]);
    expect(textOf(events)).toBe('');
  });

  it('may be a partial one', () => {
    const { events } = decode(partial({ partial_output: [1] }), partial({ partial_output: [1] }));
    expect(of('output', events)).toEqual([{ type: 'output', value: [1], final: false }]);
  });
});

it('begins with the text so far where a task is joined in its middle', () => {
  const { events } = decode(
    { id: 't1', status: 7, output: { response: 'Hel' } },
    delta({ response: 'lo' }),
    done({ response: 'Hello' }),
  );
  expect(of('text', events).map(({ text }) => text)).toEqual(['Hel', 'lo']);
  expect(of('restart', events)).toEqual([]);
});

describe('logs', () => {
  const logsOf = (...frames: readonly object[]): LogEvent[] => of('log', decode(...frames).events);
  const line = (id: string, content: string, log_type = 4): object => ({ id, content, log_type, task_id: 't1' });

  it('are objects, told once by id, with the names of their kinds', () => {
    const all = [0, 1, 2, 3, 4, 9].map((kind) => line(`l${String(kind)}`, `line ${String(kind)}`, kind));
    const logs = logsOf(partial({ logs: all.slice(0, 2) }), partial({ logs: all }));
    expect(logs.map(({ id, kind }) => [id, kind])).toEqual([
      ['l0', 'build'],
      ['l1', 'run'],
      ['l2', 'serve'],
      ['l3', 'setup'],
      ['l4', 'task'],
      ['l9', '9'],
    ]);
  });

  it('tell what a line grew by, and a line that changed otherwise once more', () => {
    const logs = logsOf(
      partial({ logs: [line('l1', 'load')] }),
      partial({ logs: [line('l1', 'loading')] }),
      partial({ logs: [line('l1', 'ready')] }),
    );
    expect(logs.map(({ message }) => message)).toEqual(['load', 'ing', 'ready']);
  });

  it('are strings, of which only what follows the common beginning is new', () => {
    const logs = logsOf(
      partial({ logs: ['a', 'b'] }),
      partial({ logs: ['a', 'b', 'b'] }),
      partial({ logs: ['a', 'c'] }),
      partial({ logs: ['a', 'c'] }),
    );
    expect(logs.map(({ message }) => message)).toEqual(['a', 'b', 'b', 'c']);
  });

  it('are a bare string, one new line each time, repeats included', () => {
    const logs = logsOf(
      { id: 't1', status: 7, logs: 'Processing...' },
      { id: 't1', status: 7, logs: 'Processing...' },
      partial({ logs: 'Processing...' }),
      { data: { status: 9, logs: 'Processing...' }, fields: ['status'] },
      partial({ logs: '' }),
    );
    expect(logs).toHaveLength(3);
  });

  it('are new from the start once they were cleared, but for lines known by id', () => {
    const all = ['a', line('l1', 'b')];
    const logs = logsOf(partial({ logs: all }), { data: {}, fields: ['logs'] }, partial({ logs: all }));
    expect(logs.map(({ message }) => message)).toEqual(['a', 'b', 'a']);
  });

  it('lose nothing that is no line', () => {
    expect(logsOf(partial({ logs: [5, { text: 'x' }] })).map(({ message }) => message)).toEqual(['5', '{"text":"x"}']);
  });
});

it('tells progress when it changes', () => {
  const { events } = decode(
    partial({ progress: { current: 1, total: 4 } }),
    partial({ progress: { current: 1, total: 4 } }),
    partial({ progress: { current: 2, total: 4, message: 'half' } }),
    partial({ progress: 'soon' }),
  );
  expect(events.map(({ type }) => type)).toEqual(['progress', 'heartbeat', 'progress', 'raw']);
  expect(events[2]).toEqual({ type: 'progress', current: 2, total: 4, message: 'half' });
});

it('hands on as raw what else changed, and only then', () => {
  const first = { id: 't1', status: 2, app_id: 'a', input: { n: 1 }, output: null, logs: [] };
  const { events } = decode(first, { ...first, status: 7 }, { ...first, status: 7, worker: 'w' });
  expect(of('raw', events)).toEqual([
    { type: 'raw', frame: first },
    { type: 'raw', frame: { ...first, status: 7, worker: 'w' } },
  ]);
  expect(decode({ event: 'news', data: { a: 1 } }).events).toMatchObject([{ type: 'raw' }]);
});

it('clears a field that is listed and not there', () => {
  const { events } = decode(partial({ worker: 'w' }), { data: {}, fields: ['worker'] }, partial({ worker: 'w' }));
  expect(of('raw', events)).toHaveLength(3);
});

it('takes keys from outside for what they are', () => {
  const body = '{"id":"t1","status":7,"__proto__":{"status":10},"constructor":1,"toString":null}\n';
  const { outcome, events } = decodeEvents(dialect, wireEvents('ndjson', body));
  expect(outcome).toBe('interrupted');
  expect(of('status', events)).toMatchObject([{ status: 'running' }]);
  expect(({} as { status?: number }).status).toBeUndefined();
});

it('takes a heartbeat for no task', () => {
  expect(decode({ type: 'heartbeat' }).events).toEqual([{ type: 'heartbeat', comment: '' }]);
});

describe('the answer to the request', () => {
  const submitted = (answer: unknown) => decodeEvents(dialect, [], { submitted: answer }).events;
  const status = { type: 'status', status: 'received', code: 1, id: 't1', terminal: false };

  it.each([
    ['in the current envelope', { data: { id: 't1', status: 1 }, messages: [] }],
    ['in the first version’s', { success: true, status: 200, data: { id: 't1', status: 1 } }],
    ['bare', { id: 't1', status: 1, input: {} }],
  ])('%s is a status', (_, answer) => {
    expect(submitted(answer)).toEqual([status]);
  });

  it('tells its messages as a warning', () => {
    const messages = [{ message: 'low balance' }];
    expect(submitted({ data: { id: 't1', status: 1 }, messages })).toEqual([
      { type: 'warning', code: 'provider-warning', message: 'low balance', detail: messages },
      status,
    ]);
  });

  it('is not told again by the stream', () => {
    const wire = wireEvents('ndjson', '{"id":"t1","status":1}\n');
    expect(decodeEvents(dialect, wire, { submitted: { id: 't1', status: 1 } }).events).toEqual([
      status,
      { type: 'heartbeat', comment: '' },
    ]);
  });
});

describe('after a reconnect', () => {
  const lines = (...frames: readonly object[]): string => frames.map((frame) => `${JSON.stringify(frame)}\n`).join('');
  const task = (status: number, more: object = {}): object => ({ id: 't1', status, app_id: 'a', logs: [], ...more });
  const numbered = (seq: number | undefined, more: object): object => ({
    event: 'delta',
    data: { delta: { response: '', ...more }, ...(seq === undefined ? {} : { seq }) },
  });
  /** Increments of text, numbered from `first`; none has a number where it is undefined. */
  const say = (first: number | undefined, ...pieces: readonly string[]): readonly object[] =>
    pieces.map((response, i) => numbered(first === undefined ? undefined : first + i, { response }));
  const begun = (...frames: readonly object[]): Reconnecting =>
    new Reconnecting(dialect).read(lines(task(7, { output: null }), ...frames));
  const read = (stream: Reconnecting, ...frames: readonly object[]): Reconnecting => stream.read(lines(...frames));
  const shows = (output: unknown): object => task(7, { output });
  const pieces = (stream: Reconnecting): readonly string[] => stream.of('text').map(({ text }) => text);
  const thinking = (stream: Reconnecting): string =>
    stream
      .of('thinking')
      .map(({ text }) => text)
      .join('');
  const summary = (stream: Reconnecting): unknown => [stream.proof, stream.text, stream.restarts];
  const [first, second, third] = ['Lyon', ' lies', ' at two rivers.'];
  const whole = first + second + third;

  describe('the state', () => {
    it('shows the text so far: what it has more is told, and increments go on', () => {
      const stream = read(begun(...say(1, first)).reconnect(), shows({ response: first + second }), ...say(3, third));
      expect([stream.proof, pieces(stream)]).toEqual(['open', [first, second, third]]);
      expect(summary(read(stream, done({ response: whole })))).toEqual(['done', whole, 0]);
    });

    it('shows just what was told', () => {
      const stream = read(begun(...say(1, first)).reconnect(), shows({ response: first }), ...say(2, second, third));
      expect(pieces(stream)).toEqual([first, second, third]);
    });

    it('shows it for increments without numbers', () => {
      const stream = begun(...say(undefined, first)).reconnect();
      read(stream, shows({ response: first + second }), ...say(undefined, third));
      expect(pieces(stream)).toEqual([first, second, third]);
    });

    it.each([
      ['is behind', { response: 'Ly' }],
      ['shows none', null],
      ['shows an empty one', { response: '' }],
      ['shows no text', { images: [] }],
    ])('%s: only increments that surely follow go on', (_, output) => {
      const follows = read(begun(...say(1, first)).reconnect(), shows(output), ...say(2, second, third));
      expect(pieces(follows)).toEqual([first, second, third]);

      for (const seq of [3, undefined]) {
        const stream = read(begun(...say(1, first)).reconnect(), shows(output), ...say(seq, third));
        expect([pieces(stream), stream.events.at(-1)]).toEqual([[first], MOVED]);
        expect(summary(read(stream, done({ response: whole })))).toEqual(['done', whole, 0]);
        expect(pieces(stream)).toEqual([first, second + third]);
      }
    });

    it('shows another text, which begins anew', () => {
      const stream = read(
        begun(...say(1, first)).reconnect(),
        shows({ response: 'Paris lies' }),
        ...say(3, ' at one.'),
      );
      expect(stream.of('restart')).toEqual([
        { type: 'restart', attempt: 1, because: 'the task shows a different text', discard: { chars: first.length } },
      ]);
      expect(summary(read(stream, done({ response: 'Paris lies at one.' })))).toEqual([
        'done',
        'Paris lies at one.',
        1,
      ]);
    });

    it('is over at once', () => {
      const stream = read(begun(...say(1, first)).reconnect(), task(10, { output: { response: whole } }));
      expect(summary(stream)).toEqual(['done', whole, 0]);
      expect(pieces(stream)).toEqual([first, second + third]);
    });

    it.each([
      [11, 'failed'],
      [12, 'cancelled'],
    ])('is over at once and has failed: %i', (status, word) => {
      const stream = begun(...say(1, first)).reconnect();
      expect(() => read(stream, task(status))).toThrow(
        expect.objectContaining({ retryable: false, message: expect.stringContaining(word) as string }),
      );
    });

    it('tells neither state, progress nor logs again', () => {
      const log = (id: string): object => ({ id, log_type: 4, content: `line ${id}` });
      const progress = { current: 1, total: 2 };
      const frame = (ids: readonly string[]): object => task(7, { progress, output: null, logs: ids.map(log) });
      const stream = read(new Reconnecting(dialect), frame(['a', 'b'])).reconnect();
      const before = stream.events.length;
      read(stream, frame(['a', 'b']));
      expect(stream.events.slice(before)).toEqual([MOVED]);
      read(stream.reconnect(), frame(['a', 'b', 'c']));
      expect(stream.of('log').map(({ message }) => message)).toEqual(['line a', 'line b', 'line c']);
      expect([stream.of('status'), stream.of('progress')].map(({ length }) => length)).toEqual([1, 1]);
    });

    it('tells lines of a list of strings once', () => {
      const stream = read(new Reconnecting(dialect), task(7, { logs: ['a', 'b'] })).reconnect();
      read(stream, task(7, { logs: ['a', 'b', 'c'] }));
      expect(stream.of('log').map(({ message }) => message)).toEqual(['a', 'b', 'c']);
    });
  });

  describe('where nothing had come before', () => {
    it('increments go on from the first one', () => {
      const stream = read(begun().reconnect(), shows(null), ...say(1, first, second));
      expect(pieces(stream)).toEqual([first, second]);
    });

    it('those that follow something missed wait for the result', () => {
      const stream = read(begun().reconnect(), shows(null), ...say(2, second, third));
      expect(pieces(stream)).toEqual([]);
      expect(pieces(read(stream, done({ response: whole })))).toEqual([whole]);
    });

    it('not even a frame, the text so far is told and increments go on', () => {
      const stream = new Reconnecting(dialect).reconnect();
      read(stream, shows({ reasoning: 'Hm', response: first }), ...say(5, second));
      expect([thinking(stream), pieces(stream)]).toEqual(['Hm', [first, second]]);
    });
  });

  describe('thinking', () => {
    const think = (seq: number, reasoning: string): object => numbered(seq, { reasoning });

    it('goes on where the state shows it, and text after it', () => {
      const stream = begun(think(1, 'Let ')).reconnect();
      read(stream, shows({ reasoning: 'Let me', response: '' }), think(3, ' see'), ...say(4, first));
      expect([thinking(stream), pieces(stream)]).toEqual(['Let me see', [first]]);
    });

    it('is not gone on with where the state is behind', () => {
      const stream = begun(think(1, 'Let me')).reconnect();
      read(stream, shows({ reasoning: 'Let' }), think(3, ' now'), ...say(4, first));
      expect([thinking(stream), pieces(stream)]).toEqual(['Let me', []]);
      read(stream, done({ reasoning: 'Let me see now', response: first }));
      expect([thinking(stream), pieces(stream)]).toEqual(['Let me see now', [first]]);
    });

    it('that was missed is brought by the result', () => {
      const stream = begun(think(1, 'Let')).reconnect();
      read(stream, task(10, { output: { reasoning: 'Let me', response: first } }));
      expect([thinking(stream), pieces(stream)]).toEqual(['Let me', [first]]);
    });
  });

  describe('tool calls', () => {
    const call = (seq: number, text: string): object =>
      numbered(seq, { tool_calls: [{ index: 0, id: 'c1', function: { name: 'look', arguments: text } }] });
    const calls = [{ index: 0, id: 'c1', function: { name: 'look', arguments: '{"q":"x"}' } }];
    const told = (stream: Reconnecting): unknown => [
      stream.of('tool-call-delta').map(({ argumentsDelta }) => argumentsDelta),
      stream.of('tool-call').map(({ argumentsText }) => argumentsText),
    ];

    it('whose increments were lost are told whole at the end, and no increment again', () => {
      const before = begun(call(1, '{"q"')).reconnect();
      read(before, task(10, { output: { response: '', tool_calls: calls } }));
      expect(told(before)).toEqual([['{"q"'], ['{"q":"x"}']]);

      const between = begun(call(1, '{"q"')).reconnect();
      read(between, shows(null), call(3, '}'), done({ tool_calls: calls }));
      expect([between.proof, told(between)]).toEqual(['done', [['{"q"'], ['{"q":"x"}']]]);
    });

    it('of which none was told are told as in any result', () => {
      const stream = read(begun().reconnect(), task(10, { output: { tool_calls: calls } }));
      expect(told(stream)).toEqual([['{"q":"x"}'], ['{"q":"x"}']]);
    });

    it('go on where they follow', () => {
      const stream = begun(call(1, '{"q"')).reconnect();
      read(stream, shows(null), call(1, '{"q"'), call(2, ':"x"}'), done({ tool_calls: calls }));
      expect(told(stream)).toEqual([['{"q"', ':"x"}'], ['{"q":"x"}']]);
    });

    it('that cannot be told whole fail, and are not run', () => {
      const stream = begun(call(1, '{"q"')).reconnect();
      expect(() => read(stream, task(10, { output: { response: '' } }))).toThrow(ProtocolError);
    });
  });

  it('takes the newest usage from the result', () => {
    const usage = (count: number): object => ({ completion_tokens: count });
    const stream = begun(numbered(1, { usage: usage(1) })).reconnect();
    read(stream, task(10, { output: { response: first, usage: usage(4) } }));
    expect(stream.of('usage').at(-1)).toMatchObject({ outputTokens: 4 });
  });

  describe('a result without the text', () => {
    it.each([
      ['none', null],
      ['an empty one', { response: '' }],
      ['another kind of', { images: ['u'] }],
    ])('is no proof that all of it was told: %s output', (_, output) => {
      for (const missed of [[], say(3, third)]) {
        const stream = read(begun(...say(1, first)).reconnect(), shows(null), ...missed);
        expect(() => read(stream, done(output))).toThrow(
          expect.objectContaining({ message: expect.stringContaining('text was lost') as string, retryable: false }),
        );
        expect([stream.text, stream.of('finish')]).toEqual([first, []]);
      }
      const dropped = read(begun().reconnect(), shows(null), ...say(3, third));
      expect(() => read(dropped, done(output))).toThrow(ProviderError);
    });

    it('is none by the event done either', () => {
      const stream = begun(...say(1, first)).reconnect();
      expect(() => read(stream, { event: 'done', data: {} })).toThrow(ProviderError);
    });

    it('is right where no text was told, or none was missed', () => {
      expect(read(begun().reconnect(), task(10, { output: { images: ['u'] } })).proof).toBe('done');
      const follows = read(begun(...say(1, first)).reconnect(), shows(null), ...say(2, second), done());
      expect(summary(follows)).toEqual(['done', first + second, 0]);
      const shown = read(begun(...say(1, first)).reconnect(), shows({ response: first }), done(null));
      expect(summary(shown)).toEqual(['done', first, 0]);
    });
  });

  describe('the task as it is stored', () => {
    it('tells its state, its text so far and its result, whichever way it is wrapped', () => {
      const stream = begun(...say(1, first)).reconnect();
      stream.stored({ data: task(7, { output: { response: first + second } }), messages: [] });
      expect([stream.proof, pieces(stream)]).toEqual(['open', [first, second]]);
      stream.stored(task(9, { output: { response: first + second } }));
      expect([stream.proof, stream.of('status').map(({ status }) => status)]).toEqual([
        'open',
        ['running', 'uploading'],
      ]);
      stream.stored({ data: task(10, { output: { response: whole } }) });
      expect(summary(stream)).toEqual(['done', whole, 0]);
      expect(pieces(stream)).toEqual([first, second, third]);
    });

    it('that does not change is a sign of life, and its logs are told once', () => {
      const work = task(7, { logs: [{ id: 'a', content: 'loading' }], output: null });
      const stream = begun().reconnect().stored(work).stored(work);
      expect(stream.of('log')).toHaveLength(1);
      expect(stream.events.at(-1)).toEqual(MOVED);
    });

    it('fails as the stream does', () => {
      const stream = begun(...say(1, first)).reconnect();
      expect(() => stream.stored({ data: task(11, { error: 'out of memory' }) })).toThrow(
        expect.objectContaining({ providerMessage: 'out of memory', retryable: false }),
      );
    });

    it('is raw where it is no task', () => {
      expect(begun().reconnect().stored([1]).events.at(-1)).toEqual({ type: 'raw', frame: [1] });
    });
  });

  it('tells each character once, and never begins anew, however states and increments interleave', () => {
    const text = 'Lyon lies at two rivers: the Rhône and the Saône.';
    const connection = fc.record({
      /** Where it begins and ends in the answer, and how far the state that it shows has come. */
      from: fc.nat(text.length),
      to: fc.nat(text.length),
      shown: fc.option(fc.nat(text.length)),
      isReplayed: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(connection, { minLength: 1, maxLength: 6 }), fc.boolean(), (connections, isNumbered) => {
        const stream = new Reconnecting(dialect);
        let at = 0; // how far the model has come
        connections.forEach(({ from, to, shown, isReplayed }, i) => {
          if (i > 0) stream.reconnect();
          at = i === 0 ? 0 : Math.max(at, from);
          // It shows none, or how far it has come, or a state that is behind what a reader has.
          const length = shown === null ? 0 : shown < stream.text.length ? shown : at;
          read(stream, shows(length === 0 ? null : { response: text.slice(0, length) }));
          // A server may send again what was sent, where numbers tell it.
          const start = isReplayed && isNumbered && length === 0 ? 0 : at;
          const end = Math.max(at, to);
          for (let k = start; k < end; k += 1) {
            read(stream, ...say(isNumbered ? k + 1 : undefined, text.charAt(k)));
          }
          at = end;
          expect(text.startsWith(stream.text)).toBe(true);
        });
        read(stream, done({ response: text }));
        expect(summary(stream)).toEqual(['done', text, 0]);
        expect(pieces(stream).join('')).toBe(text);
      }),
    );
  });
});

describe('a template', () => {
  const increment = (of: object, seq: unknown): object => ({ event: 'delta', data: { delta: of, seq } });
  const stories: Omit<Stories, 'framing'> = {
    writers: [
      (_, response, count) => ({ data: increment({ response }, count) }),
      (_, reasoning, count) => ({ data: increment({ response: '', reasoning }, count) }),
      (_, response) => ({ data: { event: 'delta', data: { delta: { response } } } }),
      (random, response) => ({
        data: increment({ response }, pick(random, [0, 1, 2, 7, -1, 1.5, null, 'x', 2 ** 53])),
      }),
      (_, response, count) => ({ event: 'delta', data: { delta: { response }, seq: count } }),
      (_, response, count) => ({ data: { event: 'delta', delta: { response }, seq: count, data: null } }),
      (random, response, count) => ({
        data: increment({ response, reasoning: pick(random, ['', null, response]), tool_calls: [] }, count),
      }),
      (random, response, count) => ({
        data: increment({ response, usage: pick(random, [null, {}, { stop_reason: response }]) }, count),
      }),
      (random, response, count) => ({
        data: increment(
          { response, [pick(random, ['audio', 'tool_calls'])]: pick(random, [null, [], [{ index: 0 }]]) },
          count,
        ),
      }),
      (random, text) => ({ data: { data: { status: random(9), output: { response: text } }, fields: ['status'] } }),
      (_, text) => ({ data: { id: 't1', status: 7, output: { response: text } } }),
      () => ({ data: { type: 'heartbeat' } }),
    ],
    ends: [
      { data: done({ response: 'Hello', reasoning: 'Hm' }) },
      { data: done({ usage: { stop_reason: 'length' } }) },
      { data: { event: 'done' } },
    ],
    asides: [
      'release',
      'reattached',
      { submitted: { data: { id: 't1', status: 1 } } },
      { stored: { data: { id: 't1', status: 7, output: { response: 'Hel' } } } },
    ],
  };

  it('decodes all increments but the first ones, in both framings', () => {
    const frames = ['Ly', 'on', '.', '!'].map((response, index) => increment({ response }, index + 1));
    const thoughts = ['H', 'm', '.'].map((reasoning, index) => increment({ response: '', reasoning }, index + 5));
    const body = [...frames, ...thoughts].map((each) => `${JSON.stringify(each)}\n`).join('');
    expect(shareOf(dialect, wireEvents('ndjson', body))).toBe('5 of 7');
    const events = [1, 2, 3].map((seq) => `event: delta\ndata: ${JSON.stringify({ delta: { response: 'a' }, seq })}`);
    expect(shareOf(dialect, wireEvents('sse', sse(...events)))).toBe('2 of 3');
  });

  it('leaves behind what the increment would have: the thinking that a later state goes on from', () => {
    const thoughts = ['H', 'm', '.'].map((reasoning, index) => increment({ response: '', reasoning }, index + 1));
    const state = { id: 't1', status: 7, output: { reasoning: 'Hm. So' } };
    const [thinking, shown] = [thoughts, [state]].map((frames) =>
      wireEvents('ndjson', frames.map((each) => `${JSON.stringify(each)}\n`).join('')),
    );
    const { events, templated } = play(dialect, [...(thinking ?? []), 'reattached', ...(shown ?? [])]);
    expect(templated).toBe(2);
    expect(of('thinking', events).map(({ text }) => text)).toEqual(['H', 'm', '.', ' So']);
  });

  it.each(['ndjson', 'sse'] as const)('tells what the full path tells, whatever comes, in %s', (framing) => {
    expectAlike(dialect, { ...stories, framing }, 10);
  });
});
