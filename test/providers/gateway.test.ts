import { afterEach, describe, expect, it, vi } from 'vitest';
import { gateway, type GatewayOptions, type GatewayRequest } from '../../src/providers/gateway.js';
import { gatewayDialect } from '../../src/providers/gatewayDialect.js';
import { gatewayGenerateDialect } from '../../src/providers/gatewayGenerateDialect.js';
import { stream } from '../fixtures/gateway.js';
import { decodeAll, type Decoded, frame, ofType } from '../support/decodeAll.js';
import { wireEvents } from '../support/decodeEvents.js';
import { expectedOutcomes, outcomesOfCuts } from '../support/eachCut.js';
import { pick } from '../support/mutatedFrames.js';
import { expectAlike, play, shareOf, type Stories } from '../support/templateStories.js';

const request: GatewayRequest = { service_name: 'google-gemini', model_name: 'gemini_flash', input: 'Tell a story.' };
const make = (options: GatewayOptions = {}): ReturnType<typeof gateway> => gateway({ apiKey: 'sk_key', ...options });
const final = { final: true, usage: { input_tokens: 24, output_tokens: 512, total_tokens: 536 }, warnings: [] };

function decodeFrames(...frames: unknown[]): Decoded {
  return decodeAll(gatewayDialect(), frames.map(frame).join(''));
}
const item = (content: unknown, more: object = {}): object => ({
  type: 'text',
  name: 'output',
  content,
  index: 0,
  ...more,
});

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('gateway.chat', () => {
  it('asks for a stream, a string as one input', () => {
    const call = make().chat({ ...request, parameters: { enable_thinking: true }, history: [], trace: 'x' });
    const { body, ...sent } = call.stream('');
    expect(sent).toStrictEqual({
      method: 'POST',
      url: 'http://localhost:8000/api/v1/generate/stream',
      headers: undefined,
      accept: ['text/event-stream'],
    });
    expect(JSON.parse(body ?? '')).toStrictEqual({
      service_name: 'google-gemini',
      model_name: 'gemini_flash',
      input: [{ type: 'text', name: 'input', content: 'Tell a story.' }],
      parameters: { enable_thinking: true },
      history: [],
      trace: 'x',
    });
    expect(call).toMatchObject({
      provider: 'gateway',
      model: 'gemini_flash',
      leaving: { stop: 'unknown', disconnect: 'unknown' },
      hint: 'use gateway.generate() for models that do not stream',
    });
    expect(call.authorize()).toStrictEqual({ 'x-api-key': 'sk_key' });
  });

  it('sends a list of inputs as it is', () => {
    const input = [{ type: 'image', name: 'picture', content: 'AAAA' }];
    expect(
      JSON.parse(
        make()
          .chat({ ...request, input })
          .stream('').body ?? '',
      ),
    ).toMatchObject({ input });
  });

  it.each([
    [{ ...request, service_name: '' }, /service_name: must not be empty/],
    [{ ...request, model_name: undefined }, /model_name: must be a string/],
    [{ ...request, input: [] }, /input: must not be empty/],
    [{ ...request, input: 5 }, /input: must be a string, or a list/],
    [{ ...request, history: 'x' }, /history: must be a list/],
    [null, /must be an object/],
  ])('refuses a wrong request when called: %j', (wrong, message) => {
    expect(() => make().chat(wrong as GatewayRequest)).toThrow(message);
    expect(() => make().generate(wrong as GatewayRequest)).toThrow(TypeError);
  });

  it('refuses a model that does not stream, and names what to use', () => {
    const image = { ...request, model_name: 'gemini_image_preview' };
    expect(() => make().chat(image)).toThrow(TypeError);
    expect(() => make().chat(image)).toThrow(/gateway\.generate\(\)/);
    expect(() => make().generate(image)).not.toThrow();
    expect(() => make({ isStreaming: () => true }).chat(image)).not.toThrow();
    expect(() => make({ isStreaming: () => false }).chat(request)).toThrow(TypeError);
  });

  it('takes its key from the environment, and names both ways where there is none', () => {
    vi.stubEnv('MILLRACE_GATEWAY_API_KEY', '');
    expect(() => gateway().chat(request)).toThrow(/apiKey.*MILLRACE_GATEWAY_API_KEY/);
    vi.stubEnv('MILLRACE_GATEWAY_API_KEY', 'sk_env');
    expect(gateway().chat(request).authorize()).toStrictEqual({ 'x-api-key': 'sk_env' });
  });
});

describe('the dialect of the gateway', () => {
  it('is interrupted when cut before its proof, and complete from there on', () => {
    expect(outcomesOfCuts(make().chat.dialect, stream)).toStrictEqual(expectedOutcomes(stream));
  });

  it('tells thinking from output on one index, and keeps metadata, usage, cost and warnings', () => {
    const decoded = decodeAll(gatewayDialect(), stream.pieces.join(''));
    expect(decoded).toMatchObject({ text: 'The robot smiled.', thinking: 'Consider… more', outcome: 'complete' });
    expect(ofType(decoded, 'usage')).toStrictEqual([
      {
        type: 'usage',
        inputTokens: 24,
        outputTokens: 512,
        totalTokens: 536,
        cost: { input: 0.0000018, output: 0.0001536, total: 0.0001554, currency: 'USD' },
        provenance: 'reported',
      },
    ]);
    expect(ofType(decoded, 'warning').map(({ code, message }) => [code, message])).toStrictEqual([
      ['provider-warning', 'close to the rate limit'],
      ['provider-warning', 'slow service'],
    ]);
    expect(ofType(decoded, 'raw').map(({ frame: sent }) => sent)).toMatchObject([
      { done: true, content: '' },
      { type: 'metadata', content: { region: 'eu' } },
    ]);
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'unknown' });
  });

  it('does not end on done, nor on content that says is_final', () => {
    expect(decodeFrames(item('a', { done: true }), item('b', { is_final: true })).outcome).toBe('interrupted');
  });

  it('ends on is_final beside usage, after the content of that frame', () => {
    const last = item('b', { is_final: true, usage: { output_tokens: 2 } });
    const decoded = decodeFrames(item('a'), last, item('c'));
    expect(decoded).toMatchObject({ text: 'ab', outcome: 'complete' });
    expect(ofType(decoded, 'usage')).toMatchObject([{ outputTokens: 2 }]);
  });

  it('is complete with a warning where only a marker came', () => {
    const decoded = decodeFrames(item('a'), '[DONE]');
    expect(decoded.outcome).toBe('complete');
    expect(ofType(decoded, 'warning').map(({ code }) => code)).toStrictEqual(['finish-reason-missing']);
  });

  it('ignores a marker after the end', () => {
    expect(ofType(decodeFrames(final, '[DONE]'), 'warning')).toStrictEqual([]);
  });

  it('reads a finish reason where metadata states one', () => {
    const metadata = { type: 'metadata', name: 'metadata', content: { finish_reason: 'length' } };
    expect(decodeFrames(metadata, final).events.at(-1)).toStrictEqual({
      type: 'finish',
      reason: 'length',
      rawReason: 'length',
    });
  });

  it('defaults type, name and index', () => {
    expect(decodeFrames({ content: 'a' }).events).toStrictEqual([
      { type: 'text', text: 'a', index: 0, name: 'output' },
    ]);
  });

  it('keeps the name of other text, and the index', () => {
    expect(decodeFrames(item('a', { name: 'summary', index: 3 })).events).toStrictEqual([
      { type: 'text', text: 'a', index: 3, name: 'summary' },
    ]);
  });

  it('emits images and sounds as media, and hands on what it cannot read', () => {
    const strange = [item({ parts: [], x: 1 }), item('x', { type: 'hologram' }), { state: 'queued' }];
    expect(decodeFrames(item('AAAA', { type: 'image', index: 1 }), ...strange).events).toStrictEqual([
      { type: 'media', kind: 'image', content: 'AAAA', index: 1, name: 'output' },
      ...strange.map((sent) => ({ type: 'raw', frame: sent })),
    ]);
  });

  it('hands on keys that it does not know, once until they change', () => {
    const { events } = decodeFrames(item('a', { trace: 1 }), item('b', { trace: 1 }), item('c', { trace: 2 }));
    expect(events.map(({ type }) => type)).toStrictEqual(['text', 'raw', 'text', 'text', 'raw']);
  });

  it.each([
    [{ error: 'all is lost' }, 'all is lost'],
    [{ error: { message: 'lost', code: 503 } }, 'lost'],
    [{ detail: 'Invalid key' }, 'Invalid key'],
    [{ detail: [{ loc: ['body', 'input'], msg: 'field required', type: 'missing' }] }, 'field required'],
    [{ type: 'error', message: 'broken' }, 'broken'],
    [{ type: 'error', name: 'output', content: 'broken' }, 'broken'],
  ])('fails on %j', (sent, message) => {
    expect(decodeFrames(item('part'), sent)).toMatchObject({
      outcome: 'failed',
      text: 'part',
      error: { providerMessage: message },
    });
  });

  it('takes detail beside content for content', () => {
    expect(decodeFrames(item('a', { detail: 'high' }), { ...final, error: null }).outcome).toBe('complete');
  });

  it('counts cost in the currency it is told', () => {
    const sent = frame({ ...final, cost: { total: 1 } });
    expect(ofType(decodeAll(gatewayDialect({ currency: 'EUR' }), sent), 'usage')[0]?.cost).toStrictEqual({
      total: 1,
      currency: 'EUR',
    });
  });
});

describe('gateway.generate', () => {
  it('asks for JSON, and knows that leaving does not stop it', () => {
    const call = make({ leaving: { stop: 'ended' } }).generate(request);
    expect(call.stream('')).toMatchObject({
      method: 'POST',
      url: 'http://localhost:8000/api/v1/generate',
      accept: ['application/json'],
    });
    expect(call.leaving).toStrictEqual({ stop: 'continues', disconnect: 'continues' });
    expect(call.dialect).not.toBe(make().chat.dialect);
  });

  const answer = (body: unknown): Decoded => decodeAll(gatewayGenerateDialect(), JSON.stringify(body));
  const accounts = { usage: { input_tokens: 1, output_tokens: 2 }, cost: { total: 0.1 }, warnings: ['slow'] };
  const text = { type: 'text', text: 'Hi', index: 0, name: 'output' };

  it.each([
    ['a list as output', { output: [{ type: 'text', name: 'output', content: 'Hi' }], ...accounts }],
    ['one item as output', { output: { type: 'text', name: 'output', content: 'Hi' }, ...accounts }],
    ['one item', { type: 'text', name: 'output', content: 'Hi', ...accounts }],
    ['output as text', { output: 'Hi', ...accounts }],
    ['content', { content: 'Hi', ...accounts }],
    ['text', { text: 'Hi', ...accounts }],
  ])('reads %s, with usage, cost and warnings', (_, body) => {
    expect(answer(body)).toMatchObject({
      outcome: 'complete',
      events: [
        text,
        {
          type: 'usage',
          inputTokens: 1,
          outputTokens: 2,
          cost: { total: 0.1, currency: 'USD' },
          provenance: 'reported',
        },
        { type: 'warning', code: 'provider-warning', message: 'slow' },
        { type: 'finish', reason: 'unknown' },
      ],
    });
  });

  it('reads bare lists and texts, numbers items by place, and tells thinking and images', () => {
    const { events } = answer([
      { name: 'thinking', content: 'hm' },
      { content: 'Hi' },
      { type: 'image', content: 'AAAA', index: 7 },
    ]);
    expect(events).toStrictEqual([
      { type: 'thinking', text: 'hm', index: 0, name: 'thinking' },
      { type: 'text', text: 'Hi', index: 1, name: 'output' },
      { type: 'media', kind: 'image', content: 'AAAA', index: 7, name: 'output' },
      { type: 'finish', reason: 'unknown' },
    ]);
    expect(answer('Hi').text).toBe('Hi');
  });

  it.each([{ result: { pages: 3 } }, { output: [1, 2] }, { output: { pages: 3 } }, 7, null, [1]])(
    'hands on a shape it does not know: %j',
    (body) => {
      expect(answer(body).events).toStrictEqual([
        { type: 'output', value: body, final: true },
        { type: 'finish', reason: 'unknown' },
      ]);
    },
  );

  it.each([
    { error: 'lost' },
    { detail: 'lost' },
    { type: 'error', message: 'lost' },
    { output: [{ type: 'error', content: 'lost' }] },
  ])('fails on %j', (body) => {
    expect(answer(body)).toMatchObject({ outcome: 'failed', error: { providerMessage: 'lost' } });
  });
});

describe('a template', () => {
  const piece = (content: string, more: object = {}): object =>
    item(content, { done: false, is_final: false, ...more });
  const stories: Stories = {
    writers: [
      (_, text) => ({ data: piece(text) }),
      (random, text) => ({
        data: piece(text, { name: pick(random, ['thinking', 'output', 'summary']), index: random(3) }),
      }),
      (random, text) => ({
        data: { content: text, ...(random(2) === 0 && { type: pick(random, ['text', 'image', 1]) }) },
      }),
      (random, text) => ({ data: piece(text, { service: pick(random, ['a', 'a', 'a', 'b', null]) }) }),
      (random, text) => ({ data: piece(text, { finish_reason: pick(random, ['stop', '', 'length', null]) }) }),
      (random, text) => ({ data: piece(text, { is_final: true, usage: random(9) === 0 ? {} : null }) }),
      (random, text) => ({ data: piece(text, { detail: text, error: pick(random, ['', null, false]) }) }),
      (_, text) => ({ data: { type: 'metadata', name: 'metadata', content: { finish_reason: text } } }),
      (random, text) => ({ data: piece(text), event: pick(random, ['message', 'item']), id: String(random(2)) }),
      (_, text, count) => ({ data: piece(text, { seq: count }) }),
    ],
    ends: [{ data: final }],
    asides: [{ type: 'comment', comment: 'ping' }, 'release', 'reattached'],
  };

  it('decodes all pieces of an item but the first', () => {
    const pieces = ['The', ' robot', ' was'].map((text) => piece(text));
    const thoughts = ['Hm', '.'].map((text) => piece(text, { name: 'thinking' }));
    const body = [...thoughts, ...pieces, piece('', { done: true })].map(frame).join('');
    expect(shareOf(gatewayDialect(), wireEvents('sse', body))).toBe('3 of 6');
  });

  it('leaves a piece to the full path that says why the model stopped', () => {
    const stop = piece('a', { finish_reason: 'stop' });
    const metadata = { type: 'metadata', content: { finish_reason: 'length' } };
    const frames = [stop, stop, metadata, stop, final].map(frame).join('');
    const { events } = play(gatewayDialect(), wireEvents('sse', frames));
    expect(events.at(-1)).toMatchObject({ type: 'finish', rawReason: 'stop' });
  });

  it('tells what the full path tells, whatever comes', () => {
    expectAlike(gatewayDialect(), stories, 15);
  });
});
