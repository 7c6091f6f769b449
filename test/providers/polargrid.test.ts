import { concat, of, throwError } from 'rxjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AbortError, InterruptedError, LimitError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import { type Polargrid, polargrid, type PolargridChatRequest } from '../../src/providers/polargrid.js';
import type { StreamEvent } from '../../src/types.js';
import { chat } from '../fixtures/polargrid.js';
import { decodeAll, frame, ofType } from '../support/decodeAll.js';
import { expectedOutcomes, outcomesOfCuts } from '../support/eachCut.js';

const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
const make = (): Polargrid => polargrid({ apiKey: 'pg_key', headers: { 'x-team': 'water' } });
const body = (text: string | undefined): unknown => JSON.parse(text ?? '') as unknown;

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('polargrid.chat', () => {
  it('asks for a stream with usage, in snake_case, and keeps zeros and unknown members', () => {
    const call = make().chat({
      model: 'm',
      messages,
      maxTokens: 0,
      temperature: 0,
      topP: 0.5,
      enableThinking: true,
      seed: 7,
    });
    const { body: sent, ...request } = call.stream('');
    expect(request).toStrictEqual({
      method: 'POST',
      url: 'https://api.yto-01.edge.polargrid.ai/v1/chat/completions',
      headers: { 'x-team': 'water' },
      accept: ['text/event-stream'],
    });
    expect(body(sent)).toStrictEqual({
      model: 'm',
      messages,
      max_tokens: 0,
      temperature: 0,
      top_p: 0.5,
      enable_thinking: true,
      seed: 7,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(call).toMatchObject({
      provider: 'polargrid',
      model: 'm',
      leaving: { stop: 'unknown', disconnect: 'unknown' },
    });
    expect(call.submit ?? call.cancel ?? call.workId).toBeUndefined();
    expect(call.authorize()).toStrictEqual({ authorization: 'Bearer pg_key' });
  });

  it('lets the caller decide about usage, and never about streaming', () => {
    const sent = (request: Partial<PolargridChatRequest>): unknown =>
      body(
        make()
          .chat({ model: 'm', messages, ...request })
          .stream('').body,
      );
    expect(sent({ stream_options: { include_usage: false } })).toMatchObject({
      stream_options: { include_usage: false },
    });
    expect(sent({ stream_options: null })).toMatchObject({ stream_options: null });
    expect(sent({ stream: false })).toMatchObject({ stream: true });
  });

  it.each([
    [{ model: '', messages }, /model: must not be empty/],
    [{ messages }, /model: must be a string/],
    [{ model: 'm' }, /messages: must be a list of messages/],
    [{ model: 'm', messages: [] }, /messages: must not be empty/],
    [
      { model: 'm', messages: [{ role: 'user', content: 5 }] },
      /messages\.0\.content: must be a string or a list of parts/,
    ],
    [{ model: 'm', messages, max_tokens: '10' }, /max_tokens: must be a number/],
    [{ model: 'm', messages, max_tokens: 1, maxTokens: 2 }, /max_tokens twice/],
    ['a prompt', /must be an object/],
    [undefined, /must be an object/],
  ])('refuses a wrong request when called: %j', (request, message) => {
    expect(() => make().chat(request as PolargridChatRequest)).toThrow(TypeError);
    expect(() => make().chat(request as PolargridChatRequest)).toThrow(message);
  });

  it('takes its key from the environment, and names both ways where there is none', () => {
    vi.stubEnv('POLARGRID_API_KEY', '');
    expect(() => polargrid().chat({ model: 'm', messages })).toThrow(/apiKey.*POLARGRID_API_KEY/);
    vi.stubEnv('POLARGRID_API_KEY', 'pg_env');
    expect(polargrid().chat({ model: 'm', messages }).authorize()).toStrictEqual({ authorization: 'Bearer pg_env' });
  });

  it('goes to a region or to a base', () => {
    const urlOf = (options: object): string =>
      polargrid({ apiKey: 'k', ...options })
        .chat({ model: 'm', messages })
        .stream('').url;
    expect(urlOf({ region: 'nyc-01' })).toBe('https://api.nyc-01.edge.polargrid.ai/v1/chat/completions');
    expect(urlOf({ baseURL: 'http://127.0.0.1:9/polargrid/v1/' })).toBe(
      'http://127.0.0.1:9/polargrid/v1/chat/completions',
    );
    expect(() => polargrid({ region: 'evil.example/' })).toThrow(TypeError);
    expect(() => polargrid({ region: 'nyc-01', baseURL: 'https://a.example' })).toThrow(TypeError);
    expect(() => polargrid({ baseURL: 'nyc-01' })).toThrow(TypeError);
  });

  it('takes another policy for leaving', () => {
    const api = polargrid({ apiKey: 'k', leaving: { stop: 'ended' } });
    expect(api.chat({ model: 'm', messages }).leaving).toStrictEqual({ stop: 'ended', disconnect: 'unknown' });
  });
});

describe('polargrid.completion', () => {
  it('asks for a stream of text', () => {
    const { url, body: sent } = make().completion({ model: 'm', prompt: 'Once', maxTokens: 20 }).stream('');
    expect(url).toBe('https://api.yto-01.edge.polargrid.ai/v1/completions');
    expect(body(sent)).toMatchObject({ model: 'm', prompt: 'Once', max_tokens: 20, stream: true });
  });

  it('refuses a wrong request when called', () => {
    expect(() => make().completion({ model: 'm', prompt: 5 as unknown as string })).toThrow(/prompt: must be a string/);
  });

  it('reads the text of its frames', () => {
    const frames = [
      { id: 'cmpl-a', object: 'text_completion', choices: [{ index: 0, text: ' upon', finish_reason: null }] },
      { id: 'cmpl-a', object: 'text_completion', choices: [{ index: 0, text: '', finish_reason: 'stop' }] },
      '[DONE]',
    ];
    expect(decodeAll(make().completion.dialect, frames.map(frame).join(''))).toMatchObject({
      text: ' upon',
      outcome: 'complete',
    });
  });
});

describe('the dialect of polargrid', () => {
  const { dialect } = make().chat;

  it('is the one of its calls', () => {
    const api = make();
    expect(api.chat({ model: 'm', messages }).dialect).toBe(api.chat.dialect);
  });

  it('is interrupted when cut before its proof, and complete from there on', () => {
    expect(outcomesOfCuts(dialect, chat)).toStrictEqual(expectedOutcomes(chat));
  });

  it('reads sparse chunks, thinking between cut tags, usage, and the closing line that is no chunk', () => {
    const decoded = decodeAll(dialect, chat.pieces.join(''));
    expect(decoded).toMatchObject({ text: 'Once upon <3', thinking: 'Okay, done', outcome: 'complete' });
    expect(ofType(decoded, 'usage')).toMatchObject([{ inputTokens: 12, outputTokens: 5, totalTokens: 17 }]);
    expect(ofType(decoded, 'raw').map(({ frame: sent }) => sent)).toContainEqual({ pg_metadata: { latency_ms: 412 } });
  });

  it('reads the objects of its own SDK', () => {
    const frames = [
      { choices: [{ delta: { content: 'a' }, finishReason: null }] },
      { choices: [{ delta: {}, finishReason: 'length' }], usage: { promptTokens: 3 } },
      '[DONE]',
    ];
    const decoded = decodeAll(dialect, frames.map(frame).join(''));
    expect(decoded.events.at(-1)).toMatchObject({ reason: 'length' });
    expect(ofType(decoded, 'usage')).toMatchObject([{ inputTokens: 3 }]);
  });

  it('fails with what the server said, and knows what can be tried again', () => {
    const { outcome, error } = decodeAll(dialect, frame({ error: { message: 'overloaded', code: 503 } }));
    expect([outcome, error]).toMatchObject([
      'failed',
      { retryable: true, providerCode: 503, providerMessage: 'overloaded' },
    ]);
  });

  it('leaves tags in the text where told', () => {
    const plain = polargrid({ apiKey: 'k', inlineThinking: false }).chat.dialect;
    expect(decodeAll(plain, frame({ choices: [{ delta: { content: '<think>a' } }] })).text).toBe('<think>a');
  });
});

describe('text held back as the beginning of a tag', () => {
  const inline = make().chat.dialect;
  const ofTexts = (texts: readonly string[]): string =>
    texts.map((content) => frame({ choices: [{ index: 0, delta: { content } }] })).join('');

  it('is not lost at a cut, wherever that is', () => {
    const bytes = new TextEncoder().encode(ofTexts(['a < b', '<', 'c <th', 'x', 'é🌍<']));
    for (let size = 0; size <= bytes.length; size += 1) {
      const cut = bytes.subarray(0, size);
      const { text, thinking, outcome } = decodeAll(inline, cut);
      expect({ text, thinking, outcome }, String(size)).toStrictEqual({
        text: decodeAll(chatDialect(), cut).text,
        thinking: '',
        outcome: 'interrupted',
      });
    }
  });

  it.each([
    ['the whole of what came is most likely the tag of thinking', ['<thi'], '', ''],
    ['inside of thinking is thinking', ['<think>a</th'], '', 'a</th'],
    ['after thinking is text', ['<think>', '</think>', '<'], '<', ''],
  ])('%s', (_, texts, text, thinking) => {
    expect(decodeAll(inline, ofTexts(texts))).toMatchObject({ text, thinking, outcome: 'interrupted' });
  });

  it('is given, and in the error, whatever ends the stream; tool calls that may be cut are not', () => {
    const call = { index: 0, id: 'c', function: { name: 'f', arguments: '{}' } };
    const frames = ofTexts(['if a <']) + frame({ choices: [{ index: 0, delta: { tool_calls: [call] } }] });
    const limit = new LimitError('maxLineBytes', 1, 'too long');
    for (const error of [new InterruptedError('cut'), limit, new AbortError('stopped')]) {
      const events: StreamEvent[] = [];
      let end: unknown;
      concat(
        of(new TextEncoder().encode(frames)),
        throwError(() => error),
      )
        .pipe(parseSSE(), decode(inline))
        .subscribe({
          next: (event) => events.push(event),
          error: (failure: unknown) => (end = failure),
        });
      expect(end).toBe(error);
      expect(end).toMatchObject({ received: { text: 'if a <' } });
      expect(events.at(-1)).toMatchObject({ type: 'text', text: '<' });
      expect(ofType({ events }, 'tool-call')).toStrictEqual([]);
    }
  });
});
