import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { infernetNativeDialect } from '../../src/providers/infernetNativeDialect.js';
import { MAX_HELD_CHARS } from '../../src/providers/streamedText.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';
import { pick } from '../support/mutatedFrames.js';
import { Reconnecting } from '../support/reconnecting.js';
import { expectAlike, shareOf, type Stories } from '../support/templateStories.js';
import { sse } from '../fixtures/providerFixture.js';

const dialect = infernetNativeDialect();
const decode = (...events: readonly string[]) => decodeEvents(dialect, wireEvents('sse', sse(...events)));
const token = (text: string, id?: number): string =>
  `${id === undefined ? '' : `id: ${String(id)}\n`}event: token\ndata: ${JSON.stringify({ text })}`;
const done = (of: object): string => `event: done\ndata: ${JSON.stringify(of)}`;

describe('done', () => {
  it('repeats the whole answer, which is not appended', () => {
    const { events } = decode(token('Ly'), token('on.'), done({ text: 'Lyon.', reason: 'stop' }));
    expect(textOf(events)).toBe('Lyon.');
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop', rawReason: 'stop' });
    expect(events).toHaveLength(3);
  });

  it('brings the end that tokens did not', () => {
    const { events } = decode(token('Ly'), done({ text: 'Lyon.', reason: 'stop' }));
    expect(events[1]).toEqual({ type: 'text', text: 'on.', index: 0, name: 'output' });
    expect(events).toHaveLength(3);
  });

  it('brings the whole answer where no token came', () => {
    expect(textOf(decode(done({ text: 'Lyon.' })).events)).toBe('Lyon.');
  });

  it('restarts where its text is another one', () => {
    const { events } = decode(token('Par'), token('is'), done({ text: 'Lyon.', reason: 'stop' }));
    expect(events.slice(2, 4)).toEqual([
      { type: 'restart', attempt: 1, because: 'done carried a different text', discard: { chars: 5 } },
      { type: 'text', text: 'Lyon.', index: 0, name: 'output' },
    ]);
  });

  it('restarts where its text is shorter, unless only white space at its end is missing', () => {
    expect(decode(token('Lyon!'), done({ text: 'Ly' })).events.map(({ type }) => type)).toContain('restart');
    expect(textOf(decode(token('Lyon.\n'), done({ text: 'Lyon.' })).events)).toBe('Lyon.\n');
  });

  it('does not unsay anything by an empty or absent text', () => {
    for (const end of [{ text: '', reason: 'stop' }, { reason: 'stop' }]) {
      expect(textOf(decode(token('Lyon'), done(end)).events)).toBe('Lyon');
    }
  });

  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['cancel', 'other'],
    ['new_word', 'other'],
  ])('with reason %s finishes as %s', (rawReason, reason) => {
    expect(decode(done({ text: 'a', reason: rawReason })).events.at(-1)).toEqual({ type: 'finish', reason, rawReason });
  });

  it('finishes as unknown without a reason', () => {
    expect(decode(done({ text: 'a' })).events.at(-1)).toEqual({ type: 'finish', reason: 'unknown' });
  });

  it('compares a very long text by its first 1 Mi characters and its length', () => {
    const long = 'a'.repeat(MAX_HELD_CHARS + 5);
    const { events } = decode(token(long), done({ text: `${long}b` }));
    expect(events.map(({ type }) => type)).toEqual(['text', 'text', 'finish']);
    expect(textOf(events).length).toBe(long.length + 1);
  });
});

describe('the silent close after ten minutes', () => {
  it('is an interruption', () => {
    expect(decode(token('Ly'), ': ping').outcome).toBe('interrupted');
  });
});

describe('events by id', () => {
  it('are dropped when replayed', () => {
    const { events } = decode(token('Ly', 1), token('on', 2), token('Ly', 1), token('on', 2), token('.', 3));
    expect(textOf(events)).toBe('Lyon.');
    expect(events.filter(({ type }) => type === 'heartbeat')).toHaveLength(2);
  });

  it('are new without an id of their own, although a parser keeps the last one', () => {
    const { events } = decode(token('ha', 1), token('ha'), token('ha'), token('!', 2));
    expect(textOf(events)).toBe('hahaha!');
  });
});

describe('a failure', () => {
  it('is told by the event error', () => {
    const { events, error } = decode(token('Ly'), 'id: 3\nevent: error\ndata: {"message":"engine error"}');
    expect(error).toMatchObject({ providerMessage: 'engine error', retryable: false });
    expect(textOf(events)).toBe('Ly');
  });

  it('is told although HTTP says 200: job not found', () => {
    const { error } = decode('event: error\ndata: {"message":"job not found","jobId":"x"}');
    expect(error).toMatchObject({ name: 'ProviderError', providerMessage: 'job not found' });
  });

  it.each(['event: error\ndata: engine died', 'event: error\ndata:'])('is told whatever its data: %j', (event) => {
    expect(decode(event).outcome).toBe('failed');
  });

  it('is a job row that failed, with the row’s error and not the kind of its job', () => {
    const row = 'event: job\ndata: {"id":"x","type":"chat","status":"failed","error":"engine error"}';
    const { events, error } = decode(row);
    expect(events).toEqual([{ type: 'status', status: 'failed', id: 'x', terminal: true }]);
    expect(error).toMatchObject({ providerMessage: 'engine error', providerCode: undefined });
  });

  it('is no error column that is null', () => {
    expect(decode('event: job\ndata: {"id":"x","status":"assigned","error":null}').outcome).toBe('interrupted');
  });
});

it('tells job rows as a status when it changes, meta and unknown events as raw', () => {
  const { events } = decode(
    'event: job\ndata: {"id":"x","status":"assigned"}',
    'event: meta\ndata: {"model":"m"}',
    'event: routing\ndata: {"node":"n2"}',
    'event: token\ndata: {"text":""}',
    'event: job\ndata: {"id":"x","status":"running"}',
  );
  expect(events).toEqual([
    { type: 'status', status: 'assigned', id: 'x', terminal: false },
    { type: 'raw', frame: { model: 'm' }, event: 'meta' },
    { type: 'raw', frame: { node: 'n2' }, event: 'routing' },
    { type: 'heartbeat', comment: '' },
    { type: 'status', status: 'running', id: 'x', terminal: false },
  ]);
});

it('tells the answer to the request as a status and, for its provider, as raw', () => {
  const submitted = { jobId: 'x', status: 'assigned', source: 'nim', provider: null, streamUrl: '/api/chat/stream/x' };
  const wire = wireEvents('sse', sse('event: job\ndata: {"id":"x","status":"assigned"}', done({ text: 'a' })));
  expect(decodeEvents(dialect, wire, { submitted }).events.slice(0, 2)).toEqual([
    { type: 'status', status: 'assigned', id: 'x', terminal: false },
    { type: 'raw', frame: submitted },
  ]);
});

describe('a stream that is opened again', () => {
  const row = (status: string): string => `event: job\ndata: ${JSON.stringify({ id: 'j1', type: 'chat', status })}`;
  const meta = 'id: 1\nevent: meta\ndata: {"engine":"ollama"}';
  const pieces = ['Lyon', ' lies', ' at two', ' rivers.'];
  const whole = pieces.join('');
  const end = `id: 99\n${done({ text: whole, reason: 'stop' })}`;
  const live = (count: number): readonly string[] => [
    row('running'),
    meta,
    ...pieces.slice(0, count).map((each) => token(each)),
  ];
  const stored = (count = pieces.length): readonly string[] => [
    row('running'),
    meta,
    ...pieces.slice(0, count).map((each, i) => token(each, i + 2)),
  ];
  const read = (...events: readonly string[]): Reconnecting => new Reconnecting(dialect).read(sse(...events));

  it.each([0, 1, 2, 3, 4])('is matched although the %i live tokens had no id and the replayed ones have', (count) => {
    const stream = read(...live(count))
      .reconnect()
      .read(sse(...stored(), end));
    expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', whole, 0]);
    expect(stream.of('text').map(({ text }) => text)).toEqual(pieces);
    expect(stream.of('raw')).toEqual([{ type: 'raw', frame: { engine: 'ollama' }, event: 'meta' }]);
    expect(stream.of('status')).toHaveLength(1);
  });

  it('is matched however the replay is cut, and after any number of losses', () => {
    const losses = fc.array(fc.record({ chars: fc.nat(whole.length), size: fc.integer({ min: 1, max: 9 }) }));
    fc.assert(
      fc.property(losses, fc.integer({ min: 1, max: 9 }), (all, last) => {
        const tokens = (text: string, size: number): readonly string[] =>
          (text.match(new RegExp(`.{1,${String(size)}}`, 'g')) ?? []).map((each, i) => token(each, i + 2));
        const stream = read(row('assigned'));
        for (const { chars, size } of all) {
          stream.read(sse(meta, ...tokens(whole.slice(0, chars), size))).reconnect();
          stream.read(sse(row('running')));
        }
        stream.read(sse(meta, ...tokens(whole, last), end));
        expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', whole, 0]);
        expect(stream.of('text').reduce((sum, { text }) => sum + text.length, 0)).toBe(whole.length);
        expect(stream.of('raw')).toHaveLength(1);
        expect(stream.of('status')).toHaveLength(all.length === 0 ? 1 : 2);
      }),
    );
  });

  it('tells a state that changed while nobody was connected', () => {
    const stream = read(row('assigned'))
      .reconnect()
      .read(sse(row('running')))
      .reconnect()
      .read(sse(row('completed')));
    expect(stream.of('status').map(({ status }) => status)).toEqual(['assigned', 'running', 'completed']);
  });

  it('takes the missing end from done, whose text is the whole', () => {
    const stream = read(...live(2))
      .reconnect()
      .read(sse(...stored(1), end));
    expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', whole, 0]);
    const alone = read(...live(2))
      .reconnect()
      .read(sse(row('completed'), end));
    expect([alone.proof, alone.text, alone.restarts]).toEqual(['done', whole, 0]);
  });

  it('is whole where done has no text and all of it came again', () => {
    const last = `id: 99\n${done({ reason: 'stop' })}`;
    const stream = read(...live(2))
      .reconnect()
      .read(sse(...stored(), last));
    expect([stream.proof, stream.text]).toEqual(['done', whole]);
  });

  it('does not end as whole before everything came again', () => {
    const stream = read(...live(3))
      .reconnect()
      .read(sse(...stored(1), done({ reason: 'stop' })));
    expect([stream.proof, stream.text, stream.of('finish')]).toEqual(['reopen', pieces.slice(0, 3).join(''), []]);
  });

  it('of another text is opened once more, and then told from its start', () => {
    const other = [
      row('running'),
      meta,
      token('Par', 2),
      token('is.', 3),
      `id: 4\n${done({ text: 'Paris.', reason: 'stop' })}`,
    ];
    const stream = read(...live(2))
      .reconnect()
      .read(sse(...other));
    expect([stream.proof, stream.text, stream.restarts]).toEqual(['reopen', 'Lyon lies', 0]);
    stream.reopen().read(sse(...other));
    expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', 'Paris.', 1]);
    const last = stream.events.findIndex(({ type }) => type === 'restart');
    expect(stream.events.slice(last + 1).filter(({ type }) => type !== 'heartbeat')).toEqual([
      { type: 'text', text: 'Par', index: 0, name: 'output' },
      { type: 'text', text: 'is.', index: 0, name: 'output' },
      { type: 'finish', reason: 'stop', rawReason: 'stop' },
    ]);
  });

  it('whose done has another text than its tokens begins anew, once', () => {
    const stream = read(...live(2))
      .reconnect()
      .read(sse(...stored(3), `id: 9\n${done({ text: 'Paris.', reason: 'stop' })}`));
    expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', 'Paris.', 1]);
  });

  it('tells the failure that is stored, after what came before it', () => {
    const stream = read(...live(1)).reconnect();
    expect(() => stream.read(sse(...stored(2), 'id: 9\nevent: error\ndata: {"message":"engine error"}'))).toThrow(
      expect.objectContaining({ providerMessage: 'engine error', retryable: false }),
    );
    expect(stream.text).toBe('Lyon lies');
  });

  it('is of a job whose answer told more than the stream, which is not part of it', () => {
    const stream = new Reconnecting(dialect).submitted({ jobId: 'j1', status: 'assigned', source: 'p2p' });
    stream.read(sse(meta)).reconnect().read(sse(meta, 'event: routing\ndata: {"to":"n2"}'));
    expect(stream.of('raw').map(({ event }) => event)).toEqual([undefined, 'meta', 'routing']);
  });
});

describe('a template', () => {
  const event = 'token';
  const stories: Stories = {
    writers: [
      (_, text, count) => ({ event, id: String(count), data: { text } }),
      (_, text) => ({ event, data: { text } }),
      (random, text) => ({ event, id: String(random(9)), data: { text } }),
      (random, text, count) => ({ event, id: String(count), data: { text, at: random(2), error: null } }),
      (random, text) => ({ event: pick(random, ['message', 'routing', 'job', 'meta']), data: { text, status: text } }),
      (random) => ({ event: 'job', data: { id: 'j1', status: pick(random, ['assigned', 'running', 'failed']) } }),
      (random, text, count) => ({
        event,
        id: String(count),
        data: pick(random, [{ text: null }, {}, { text: 1 }, text]),
      }),
    ],
    ends: [
      { event: 'done', id: '99', data: { text: 'Hello', reason: 'stop' } },
      { event: 'done', id: '99', data: {} },
    ],
    asides: [
      { type: 'comment', comment: 'ping' },
      { submitted: { jobId: 'j1', status: 'assigned' } },
      'release',
      'reattached',
    ],
  };

  it('decodes all of a stream but its first token, and knows replayed ones', () => {
    const tokens = sse(token('Ly', 1), token('on', 2), token('on', 2), token('Ly', 1), token('.', 3));
    expect(shareOf(dialect, wireEvents('sse', tokens))).toBe('4 of 5');
  });

  it('tells what the full path tells, whatever comes', () => {
    expectAlike(dialect, stories, 20);
  });
});
