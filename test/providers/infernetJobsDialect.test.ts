import { describe, expect, it } from 'vitest';
import { ProviderError } from '../../src/errors.js';
import { infernetJobsDialect } from '../../src/providers/infernetJobsDialect.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';
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
