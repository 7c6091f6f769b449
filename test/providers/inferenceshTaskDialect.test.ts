import { describe, expect, it } from 'vitest';
import { ProviderError } from '../../src/errors.js';
import { inferenceshTaskDialect } from '../../src/providers/inferenceshTaskDialect.js';
import type { LogEvent, StreamEvent } from '../../src/types.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';
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
