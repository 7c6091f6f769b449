import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProviderError, ValidationError } from '../../src/errors.js';
import { infernetJobsDialect } from '../../src/providers/infernetJobsDialect.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';
import { pick } from '../support/mutatedFrames.js';
import { Reconnecting } from '../support/reconnecting.js';
import { expectAlike, shareOf, type Stories } from '../support/templateStories.js';
import { sse } from '../fixtures/providerFixture.js';

const dialect = infernetJobsDialect();
const decode = (body: string, submitted?: unknown) => decodeEvents(dialect, wireEvents('sse', body), { submitted });

describe('the end', () => {
  it('is [DONE], whose finish reason is unknown since the stream tells none', () => {
    expect(decode(sse('data: {"text":"Ly"}', 'data: [DONE]'))).toEqual({
      events: [
        { type: 'text', text: 'Ly', index: 0, name: 'output' },
        { type: 'finish', reason: 'unknown' },
      ],
      outcome: 'complete',
      error: undefined,
    });
  });

  it('is interrupted without [DONE], however clean the transport', () => {
    expect(decode(sse('data: {"text":"Ly"}')).outcome).toBe('interrupted');
  });

  it('is not a text that reads [DONE]', () => {
    const { events, outcome } = decode(sse('data: {"text":"[DONE]"}'));
    expect(outcome).toBe('interrupted');
    expect(textOf(events)).toBe('[DONE]');
  });

  it('is found with white space around it and without the space after the colon', () => {
    expect(decode('data:{"text":"a"}\n\ndata:  [DONE] \n\n').outcome).toBe('complete');
  });
});

describe('a failure', () => {
  it.each([
    ['unauthorized', false],
    ['bad_request', false],
    ['model_not_found', false],
    ['no_capacity', true],
    ['rate_limited', true],
    ['internal_error', true],
    ['node_disconnected', true],
    ['timeout', true],
    ['something_new', false],
  ])('with code %s is retryable: %s', (code, retryable) => {
    const { events, outcome, error } = decode(sse('data: {"text":"Ly"}', `data: {"error":"${code}","message":"Oh"}`));
    expect(outcome).toBe('failed');
    expect(error).toMatchObject({ providerCode: code, providerMessage: 'Oh', retryable });
    expect(error).toBeInstanceOf(ProviderError);
    expect(textOf(events)).toBe('Ly');
  });

  it('is read before the text beside it', () => {
    const { events, outcome } = decode(sse('data: {"error":"node_disconnected","text":"x"}'));
    expect(outcome).toBe('failed');
    expect(events).toEqual([]);
  });

  it('is told by the key, also where it holds nothing', () => {
    expect(decode(sse('data: {"error":"","message":"Oh"}')).outcome).toBe('failed');
  });

  it('is not an error that is null', () => {
    expect(textOf(decode(sse('data: {"error":null,"text":"x"}')).events)).toBe('x');
  });

  it('is believed over a [DONE] after it', () => {
    expect(decode(sse('data: {"error":"timeout"}', 'data: [DONE]')).outcome).toBe('failed');
  });

  it('can be judged by the caller', () => {
    const mine = infernetJobsDialect({ retryable: ({ code }) => code === 'model_not_found' });
    const { error } = decodeEvents(mine, wireEvents('sse', sse('data: {"error":"model_not_found"}')));
    expect(error).toMatchObject({ retryable: true });
  });
});

it('tells an empty text as a heartbeat and an unknown frame as raw', () => {
  expect(decode(sse('data: {"text":""}', 'data: {"routing":"n2"}', ': hi')).events).toEqual([
    { type: 'heartbeat', comment: '' },
    { type: 'raw', frame: { routing: 'n2' } },
    { type: 'heartbeat', comment: 'hi' },
  ]);
});

describe('the answer to the request', () => {
  it('is a status', () => {
    expect(decode('', { id: 'job_7b1e', status: 'pending', model: 'm' }).events).toEqual([
      { type: 'status', status: 'pending', id: 'job_7b1e', terminal: false },
    ]);
  });

  it('fails where the job failed at once', () => {
    const { error } = decode('', { id: 'j', status: 'failed', error: 'no_capacity', error_message: 'No nodes' });
    expect(error).toMatchObject({ providerCode: 'no_capacity', providerMessage: 'No nodes', retryable: true });
  });

  it('is raw where it tells no status', () => {
    expect(decode('', { id: 'j' }).events).toEqual([{ type: 'raw', frame: { id: 'j' } }]);
  });
});

describe('inline thinking', () => {
  const inline = infernetJobsDialect({ inlineThinking: true });
  const read = (...pieces: readonly string[]) => {
    const frames = pieces.map((text) => `data: ${JSON.stringify({ text })}`);
    const { events } = decodeEvents(inline, wireEvents('sse', sse(...frames, 'data: [DONE]')));
    const joined = (type: 'text' | 'thinking') =>
      events.map((event) => (event.type === type ? event.text : '')).join('');
    return { text: joined('text'), thinking: joined('thinking'), events };
  };

  it('stays text by default', () => {
    expect(textOf(decode(sse('data: {"text":"<think>a</think>b"}')).events)).toBe('<think>a</think>b');
  });

  it('is told apart wherever the tags are cut', () => {
    const whole = ' \n<think>a < b</th ></think>\nAnswer </think> <thinking>x';
    for (let cut = 0; cut <= whole.length; cut += 1) {
      for (const end of [cut, cut + 1, cut + 3]) {
        expect(read(whole.slice(0, cut), whole.slice(cut, end), whole.slice(end))).toMatchObject({
          thinking: 'a < b</th >',
          text: ' \n\nAnswer </think> <thinking>x',
        });
      }
    }
  });

  it.each(['<thin', '  ', '<', '<thinking>'])('keeps %j, which only looked like a tag', (text) => {
    expect(read(text)).toMatchObject({ text, thinking: '' });
  });

  it('keeps an unfinished closing tag as thinking', () => {
    expect(read('<think>a</thi')).toMatchObject({ text: '', thinking: 'a</thi' });
  });

  it('tells a heartbeat while it holds a piece, and never an empty text', () => {
    const { events } = read('<think', '></think', '>');
    expect(events.map(({ type }) => type)).toEqual(['heartbeat', 'heartbeat', 'heartbeat', 'finish']);
  });

  it('loses no text at a cut, wherever that is', () => {
    const frames = ['a < b', '<', 'c <th', 'x', 'é🌍<'].map((text) => `data: ${JSON.stringify({ text })}`);
    const bytes = new TextEncoder().encode(sse(...frames));
    for (let size = 0; size <= bytes.length; size += 1) {
      const wire = wireEvents('sse', bytes.subarray(0, size));
      const { events, outcome } = decodeEvents(inline, wire);
      expect(textOf(events), String(size)).toBe(textOf(decodeEvents(dialect, wire).events));
      expect(outcome).toBe('interrupted');
    }
  });
});

describe('a job whose stream is opened again', () => {
  const begin = 'Lyon lies where two rivers meet';
  const rest = ', the Rhône and the Saône.';
  const whole = begin + rest;
  const say = (...pieces: readonly string[]): string =>
    sse(...pieces.map((text) => `data: ${JSON.stringify({ text })}`));
  const END = sse('data: [DONE]');
  const job = (status: string, more: object = {}): object => ({ id: 'job_1', status, model: 'm', ...more });
  const completed = (content: unknown, more: object = {}): object =>
    job('completed', { node_id: 'n1', result: { content, ...more }, latency_ms: 1840 });
  const usage = { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 };
  const lost = (...pieces: readonly string[]): Reconnecting =>
    new Reconnecting(dialect)
      .submitted(job('pending'))
      .read(say(...pieces))
      .reconnect();
  const pieces = (stream: Reconnecting): readonly string[] => stream.of('text').map(({ text }) => text);

  describe('shows', () => {
    it.each([
      ['all of it again', ['Lyon', ' lies where two rivers meet, ', 'the Rhône and the Saône.'], whole],
      ['it again and breaks before anything new', ['Lyon', ' lies'], begin],
      ['the text from where it broke', [', the Rhône', ' and the Saône.'], begin],
      ['another text', ['Lyons', ' lies', ' in France.'], begin],
      ['another text that begins alike', [`${begin.slice(0, 20)}!`, ' Or not.'], begin],
      ['nothing', [], begin],
    ])('%s: only what surely follows passes', (_, shown, text) => {
      const stream = lost(begin).read(say(...shown));
      expect([stream.proof, stream.text, stream.restarts]).toEqual(['open', text, 0]);
      expect(stream.end()).toBe(false);
      // Its end proves nothing: the stored job decides, and nothing is lost or told twice.
      stream
        .reconnect()
        .stored(job('processing'))
        .read(say(...shown))
        .read(END);
      expect([stream.proof, stream.of('finish')]).toEqual(['ended', []]);
      stream.stored(completed(whole));
      expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', whole, 0]);
      expect(pieces(stream).join('')).toBe(whole);
    });

    it('a failure, which may be retried as in any stream', () => {
      const run = (): unknown => lost(begin).read(sse('data: {"error":"node_disconnected","message":"Gone"}'));
      expect(run).toThrow(expect.objectContaining({ providerCode: 'node_disconnected', retryable: true }));
    });

    it('that the work moves, while it tells what was told', () => {
      const stream = lost(begin).read(say('Lyon', ''));
      expect(stream.events.slice(-2)).toEqual(Array(2).fill({ type: 'heartbeat', comment: '' }));
    });

    it('text piece by piece, where nothing had come before the loss', () => {
      const stream = lost().read(say('L', 'y', 'on'));
      expect(pieces(stream)).toEqual(['L', 'y', 'on']);
      stream.read(END).stored(completed('Lyon'));
      expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', 'Lyon', 0]);
    });

    it('too little to be sure of', () => {
      const stream = lost('Lyon').read(say('Lyon', ' lies')).read(END);
      expect([stream.proof, stream.text]).toEqual(['ended', 'Lyon']);
      expect(stream.stored(completed('Lyon lies')).text).toBe('Lyon lies');
    });
  });

  describe('and is stored', () => {
    it.each([
      ['the same text', whole, whole, whole, 0],
      ['the text without the white space around its end', `${begin} \n`, begin, `${begin} \n`, 0],
      ['a longer text', begin, whole, whole, 0],
      ['the text where none had come', '', whole, whole, 0],
      ['another text', begin, 'Paris lies at one.', 'Paris lies at one.', 1],
      ['a shorter text', whole, begin, begin, 1],
      ['no text', begin, '', '', 1],
    ])('with %s', (_, delivered, content, text, restarts) => {
      const stream = lost(...(delivered === '' ? [] : [delivered])).stored(completed(content, { usage }));
      expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', text, restarts]);
      expect(stream.events.at(-1)).toEqual({ type: 'finish', reason: 'unknown' });
      expect(stream.of('usage')).toMatchObject([{ inputTokens: 11, outputTokens: 3, provenance: 'reported' }]);
      expect(stream.of('status').at(-1)).toEqual({
        type: 'status',
        status: 'completed',
        id: 'job_1',
        terminal: true,
      });
    });

    it.each([
      ['no result', job('completed')],
      ['a result that is null', job('completed', { result: null })],
      ['a content that is null', completed(null, { usage })],
    ])('as completed with %s: that is no proof of what was delivered', (_, work) => {
      for (const delivered of [[], [begin]]) {
        const stream = lost(...delivered);
        expect(() => stream.stored(work)).toThrow(expect.objectContaining({ retryable: false, frame: work }));
        expect([stream.text, stream.of('finish')]).toEqual([delivered.join(''), []]);
      }
    });

    it('as failed, and is not asked for again by its own code', () => {
      const work = job('failed', { error: 'timeout', error_message: 'Five minutes' });
      expect(() => lost(begin).stored(work)).toThrow(
        expect.objectContaining({ providerCode: 'timeout', providerMessage: 'Five minutes', retryable: false }),
      );
    });

    it('as not over: nothing is proven, and each state is told once', () => {
      const stream = lost(begin);
      for (const status of ['processing', 'processing']) expect(stream.stored(job(status)).proof).toBe('open');
      stream.reconnect();
      for (const status of ['processing', 'uploading']) expect(stream.stored(job(status)).proof).toBe('open');
      stream.reconnect().stored(completed(whole));
      expect(stream.of('status').map(({ status }) => status)).toEqual([
        'pending',
        'processing',
        'uploading',
        'completed',
      ]);
      expect(stream.text).toBe(whole);
    });

    it('as what is no job', () => {
      expect(() => lost(begin).stored({ error: 'not a job' })).toThrow(ValidationError);
    });

    it('without usage: none is told', () => {
      expect(lost(begin).stored(completed(whole)).of('usage')).toEqual([]);
    });
  });

  it('has each character once, or is told, wherever it is cut and whatever it shows', () => {
    const shown = fc.record({
      text: fc.constantFrom(whole, rest, 'Another text, of another node.', '', `${begin}, or so they say.`),
      from: fc.nat(40),
      to: fc.nat(60),
      size: fc.integer({ min: 1, max: 12 }),
      isOver: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(shown, { maxLength: 5 }), fc.constantFrom(whole, 'Stored otherwise.'), (all, content) => {
        const stream = new Reconnecting(dialect);
        for (const { text, from, to, size, isOver } of all) {
          const part = text.slice(from % 2 === 0 ? 0 : from, to);
          stream.read(say(...(part.match(new RegExp(`.{1,${String(size)}}`, 'gs')) ?? [])));
          if (isOver && stream.proof === 'open') stream.reconnect().read(END);
          stream.reconnect().stored(job('processing'));
        }
        stream.stored(completed(content));
        expect([stream.proof, stream.text]).toEqual(['done', content]);
        // What was told before a restart is void, and the rest adds up by itself.
        const last = stream.events.map(({ type }) => type).lastIndexOf('restart');
        expect(textOf(stream.events.slice(last + 1))).toBe(content);
      }),
    );
  });

  describe('with inline thinking', () => {
    const reader = infernetJobsDialect({ inlineThinking: true });
    const thinking = (stream: Reconnecting): string =>
      stream
        .of('thinking')
        .map(({ text }) => text)
        .join('');

    it('is matched and settled in both parts', () => {
      const stream = new Reconnecting(reader)
        .read(say('<think>Two rivers, I ', 'think'))
        .reconnect()
        .read(say('<think>Two rivers, I think', ' so</th', 'ink>Ly'))
        .reconnect();
      expect([thinking(stream), stream.text]).toEqual(['Two rivers, I think so', 'Ly']);
      stream.stored(completed('<think>Two rivers, I think so</think>Lyon'));
      expect([thinking(stream), stream.text, stream.restarts]).toEqual(['Two rivers, I think so', 'Lyon', 0]);
    });

    it('is not told as text where a stream goes on inside of it', () => {
      const stream = new Reconnecting(reader).read(say('<think>Two rivers, I think')).reconnect().read(say(' so'));
      expect(stream.text).toBe('');
    });

    it('begins anew where the stored thinking is another', () => {
      const stream = new Reconnecting(reader).read(say('<think>Hm</think>Lyon')).reconnect();
      stream.stored(completed('<think>Well</think>Lyon'));
      const last = stream.events.map(({ type }) => type).lastIndexOf('restart');
      expect(stream.events.slice(last + 1).map((event) => ('text' in event ? event.text : event.type))).toEqual([
        'Well',
        'Lyon',
        'finish',
      ]);
    });

    it('adds nothing held back of a stream to what is stored', () => {
      const text = `${begin} <`;
      const stream = new Reconnecting(reader).read(say(begin)).reconnect().read(say(text)).read(END);
      stream.stored(completed(text));
      expect([stream.proof, stream.text, stream.restarts]).toEqual(['done', text, 0]);
    });
  });
});

describe('a template', () => {
  const stories: Stories = {
    writers: [
      (_, text) => ({ data: { text } }),
      (_, text) => ({ data: { text } }),
      (random, text) => ({ data: { text, seq: random(3), node: text } }),
      (random, text) => ({ data: { text, error: pick(random, [null, '', false, {}]) } }),
      (random, text) => ({ data: pick(random, [{ text: null }, { text, message: 'm', error: '' }, { note: text }]) }),
      (random, text) => ({ data: { text }, event: pick(random, ['message', 'token', 'error']), id: String(random(3)) }),
    ],
    ends: [{ data: '[DONE]' }],
    asides: [
      { type: 'comment', comment: 'ping' },
      { submitted: { id: 'j1', status: 'pending' } },
      'release',
      'reattached',
      { stored: { id: 'j1', status: 'processing' } },
    ],
  };

  it('decodes all of a stream but its first frame', () => {
    const body = sse('data: {"text":"Ly"}', 'data: {"text":"on"}', 'data: {"text":"."}', 'data: {"text":"!"}');
    expect(shareOf(dialect, wireEvents('sse', body))).toBe('3 of 4');
    const thinking = sse('data: {"text":"<th"}', 'data: {"text":"ink>Hm</think>"}', 'data: {"text":"Lyon"}');
    expect(shareOf(infernetJobsDialect({ inlineThinking: true }), wireEvents('sse', thinking))).toBe('2 of 3');
  });

  it.each([false, true])('tells what the full path tells, whatever comes; inlineThinking: %s', (inlineThinking) => {
    expectAlike(infernetJobsDialect({ inlineThinking }), stories, 20);
  });
});
