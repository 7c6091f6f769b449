import { describe, expect, it } from 'vitest';
import { LimitError, ProtocolError, ProviderError, ValidationError } from '../../src/errors.js';
import { chatDialect, type ChatDialectOptions } from '../../src/providers/chatDialect.js';
import * as fixtures from '../fixtures/chat.js';
import { decodeAll, type Decoded, frame, ofType } from '../support/decodeAll.js';
import { expectedOutcomes, outcomesOfCuts } from '../support/eachCut.js';

const DONE = frame('[DONE]');

function decodeFrames(frames: readonly unknown[], options: ChatDialectOptions = {}): Decoded {
  return decodeAll(chatDialect(options), frames.map(frame).join(''));
}
const choice = (delta: unknown, finish_reason: string | null = null, index = 0): object => ({
  choices: [{ index, delta, finish_reason }],
});
const stop = choice({}, 'stop');
const call = (...parts: unknown[]): object => choice({ tool_calls: parts });

function failureOf({ error }: Decoded): ProviderError {
  if (!(error instanceof ProviderError)) throw new Error('no failure was reported');
  return error;
}

describe.each(Object.values(fixtures))('$name', (stream) => {
  it('is interrupted when cut before its proof, and complete from there on', () => {
    expect(outcomesOfCuts(chatDialect(), stream)).toStrictEqual(expectedOutcomes(stream));
  });

  it('gives the same events at every cut of its bytes', () => {
    const bytes = new TextEncoder().encode(stream.pieces.join(''));
    const whole = decodeAll(chatDialect(), bytes).events;
    for (let at = 1; at < bytes.length; at++) {
      expect(decodeAll(chatDialect(), bytes, { cuts: [at] }).events).toStrictEqual(whole);
    }
  });
});

describe('text', () => {
  it('is never empty, and an empty delta is raw', () => {
    const { events } = decodeFrames([choice({ role: 'assistant', content: '' })]);
    expect(events).toStrictEqual([{ type: 'raw', frame: choice({ role: 'assistant', content: '' }) }]);
  });

  it('takes a marker inside of JSON for text', () => {
    const { text, outcome } = decodeFrames([choice({ content: '[DONE]' })]);
    expect([text, outcome]).toStrictEqual(['[DONE]', 'interrupted']);
  });

  it('tolerates a missing index, a missing finish reason, nulls and an empty list of choices', () => {
    const frames = [
      { choices: [] },
      { choices: null },
      { choices: [null] },
      { choices: [{ delta: { content: 'a' } }] },
      {
        choices: [{ index: null, delta: { content: null, tool_calls: null }, finish_reason: null }],
        usage: null,
        error: null,
      },
      { choices: [{ delta: null, finish_reason: '' }] },
    ];
    const { text, outcome } = decodeFrames(frames);
    expect([text, outcome]).toStrictEqual(['a', 'interrupted']);
  });

  it('reads the parts of Mistral: text, thinking in a nested list, and others as raw', () => {
    const reference = { type: 'reference', reference_ids: [1] };
    const content = [
      { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] },
      { type: 'text', text: 'So' },
      reference,
    ];
    const { text, thinking, events } = decodeFrames([
      choice({ content }),
      choice({ content: ' be it' }),
      stop,
      '[DONE]',
    ]);
    expect([text, thinking]).toStrictEqual(['So be it', 'hm']);
    expect(events.filter(({ type }) => type === 'raw')).toStrictEqual([{ type: 'raw', frame: choice({ content }) }]);
  });

  it('takes reasoning from one field where the same text stands in two', () => {
    const { thinking } = decodeFrames([
      choice({ reasoning_content: 'a', reasoning: 'a' }),
      choice({ reasoning: 'b' }),
      choice({ reasoning_content: '', reasoning: 'c' }),
      choice({ reasoning_content: 'd', reasoning: null }),
    ]);
    expect(thinking).toBe('abcd');
  });

  it('emits refusals', () => {
    const { events } = decodeFrames([choice({ refusal: "I can't" })]);
    expect(events).toStrictEqual([{ type: 'refusal', text: "I can't", index: 0, name: 'output' }]);
  });

  it('reads the delta where a cumulative message stands beside it', () => {
    const part = (content: string, sum: string): object => ({
      choices: [{ index: 0, delta: { content }, message: { role: 'assistant', content: sum } }],
    });
    const { text, events } = decodeFrames([part('1', '1'), part(' 2', '1 2')]);
    expect(text).toBe('1 2');
    expect(events).toHaveLength(2);
  });

  it('reads a whole message where no deltas came', () => {
    const whole = { choices: [{ index: 0, message: { role: 'assistant', content: 'Lyon.' }, finish_reason: 'stop' }] };
    expect(decodeFrames([whole])).toMatchObject({ text: 'Lyon.', outcome: 'complete' });
  });

  it('marks every choice but the first as an alternative', () => {
    const { events } = decodeFrames([choice({ content: 'b' }, null, 1), choice({ content: 'a' })]);
    expect(events).toStrictEqual([
      { type: 'text', text: 'b', index: 1, alternative: true, name: 'output' },
      { type: 'text', text: 'a', index: 0, name: 'output' },
    ]);
  });

  it('reports a malformed frame without quoting it', () => {
    const malformed = (): Decoded => decodeAll(chatDialect(), 'data: {"choices":[{"delta":{"content":"secret\n\n');
    expect(malformed).toThrow(ProtocolError);
    expect(malformed).not.toThrow(/secret/);
    expect(() => decodeFrames([choice({ content: 7 })])).toThrow(ValidationError);
  });
});

describe('inline thinking', () => {
  const inline = (pieces: readonly string[]): Decoded =>
    decodeFrames([...pieces.map((content) => choice({ content })), stop, '[DONE]'], { inlineThinking: true });

  it('splits at tags, however they are cut', () => {
    const written = 'a<think>b <i>c</th </think>d<think>e</think>f < g <thin';
    for (let first = 0; first <= written.length; first++) {
      for (let second = first; second <= written.length; second++) {
        const { text, thinking } = inline([
          written.slice(0, first),
          written.slice(first, second),
          written.slice(second),
        ]);
        expect([text, thinking]).toStrictEqual(['adf < g <thin', 'b <i>c</th e']);
      }
    }
  });

  it('holds back no more than the beginning of a tag, and gives it at a cut', () => {
    const { events } = decodeFrames([choice({ content: 'x <thi' })], { inlineThinking: true });
    expect(events).toStrictEqual([
      { type: 'text', text: 'x ', index: 0, name: 'output' },
      { type: 'text', text: '<thi', index: 0, name: 'output' },
    ]);
  });

  it('shows life, not the frame, while all of a piece is held', () => {
    const { events } = decodeFrames([choice({ content: '<' })], { inlineThinking: true });
    expect(events).toStrictEqual([{ type: 'heartbeat', comment: '' }]);
  });

  it('releases what it holds before a failure', () => {
    const decoded = decodeFrames([choice({ content: 'a <' }), { error: { message: 'gone' } }], {
      inlineThinking: true,
    });
    expect(decoded).toMatchObject({ text: 'a <', outcome: 'failed' });
  });

  it('releases what it holds at the marker', () => {
    const { text } = decodeFrames([choice({ content: '<think' }), '[DONE]'], { inlineThinking: true });
    expect(text).toBe('<think');
  });

  it('leaves tags in the text unless told', () => {
    expect(decodeFrames([choice({ content: '<think>a' })])).toMatchObject({ text: '<think>a', thinking: '' });
  });
});

describe('tool calls', () => {
  it('joins arguments, sets names that are repeated, and announces a call with empty arguments', () => {
    const { events } = decodeFrames([
      call({ index: 0, id: 'a', type: 'function', function: { name: 'look', arguments: '' } }),
      call({ index: 0, function: { name: 'look', arguments: '{"q":' } }),
      call({ index: 0, id: null, function: { name: '', arguments: '1}' } }),
      choice({}, 'tool_calls'),
    ]);
    const delta = { type: 'tool-call-delta', index: 0, id: 'a', name: 'look' };
    expect(events.slice(0, 4)).toStrictEqual([
      { ...delta, argumentsDelta: '' },
      { ...delta, argumentsDelta: '{"q":' },
      { ...delta, argumentsDelta: '1}' },
      { type: 'tool-call', index: 0, id: 'a', name: 'look', arguments: { q: 1 }, argumentsText: '{"q":1}' },
    ]);
  });

  it('keys by index, else by id, else takes the last call', () => {
    const decoded = decodeFrames([
      call({ index: 1, id: 'b', function: { name: 'two', arguments: '[2' } }),
      call({ id: 'c', function: { name: 'three', arguments: '[3' } }),
      call({ index: 1, function: { arguments: ']' } }),
      call({ function: { arguments: ',' } }),
      call({ id: 'c', function: { arguments: '3]' } }),
      choice({}, 'tool_calls'),
    ]);
    expect(ofType(decoded, 'tool-call').map(({ id, argumentsText }) => [id, argumentsText])).toStrictEqual([
      ['b', '[2]'],
      ['c', '[3,3]'],
    ]);
  });

  it('takes no arguments for an empty object', () => {
    const decoded = decodeFrames([call({ index: 0, id: 'a', function: { name: 'f' } }), choice({}, 'tool_calls')]);
    expect(ofType(decoded, 'tool-call')[0]).toMatchObject({ arguments: {}, argumentsText: '' });
  });

  it('makes up an id that stays, and that no other call has', () => {
    const decoded = decodeFrames([
      call({ index: 0, id: 'call_1', function: { name: 'f', arguments: '{' } }),
      call({ index: 1, function: { name: 'g', arguments: '{' } }),
      call({ index: 1, function: { arguments: '}' } }, { index: 0, function: { arguments: '}' } }),
      choice({}, 'stop'),
    ]);
    expect(ofType(decoded, 'tool-call').map(({ id, name }) => [id, name])).toStrictEqual([
      ['call_1', 'f'],
      ['call_2', 'g'],
    ]);
  });

  it('survives hostile indexes and ids', () => {
    const decoded = decodeFrames([
      call({ index: 1e9, id: '__proto__', function: { name: 'constructor', arguments: '{}' } }),
      call({ index: -1, id: 'toString', function: { name: '__proto__', arguments: '{}' } }),
      call({ index: 0.5, function: { name: 'f', arguments: '{"__proto__":1}' } }),
      choice({ content: 'x' }, null, 1e9),
      choice({}, 'tool_calls'),
      choice({}, 'stop', 1e9),
    ]);
    expect(decoded.outcome).toBe('complete');
    expect(ofType(decoded, 'tool-call')).toHaveLength(3);
    expect({}).not.toHaveProperty('1');
  });

  it('refuses more choices and calls than an answer can have', () => {
    const choices = Array.from({ length: 1100 }, (_, index) => ({ index, delta: { content: 'x' } }));
    expect(() => decodeFrames([{ choices }])).toThrow(ProtocolError);
    const parts = Array.from({ length: 1100 }, (_, index) => ({ index, function: { name: 'f' } }));
    expect(() => decodeFrames([call(...parts)])).toThrow(ProtocolError);
  });

  it('bounds what unfinished calls hold', () => {
    const piece = call({ index: 0, id: 'a', function: { name: 'f', arguments: '12345' } });
    expect(() => decodeFrames([piece, piece], { maxToolCallChars: 11 })).not.toThrow();
    expect(() => decodeFrames([piece, piece], { maxToolCallChars: 10 })).toThrow(LimitError);
    expect(() => chatDialect({ maxToolCallChars: -1 })).toThrow(RangeError);
  });

  it.each(['tool_calls', 'stop'])('never lets a truncated call look like a call (%s)', (reason) => {
    const frames = [
      call({ index: 0, id: 'a', function: { name: 'pay', arguments: '{"sum":"secret' } }),
      call({ index: 1, id: 'b', function: { name: 'look', arguments: '{}' } }),
      choice({}, reason),
    ];
    expect(() => decodeFrames(frames)).toThrow(ProtocolError);
    expect(() => decodeFrames(frames)).not.toThrow(/secret/);
  });

  it.each(['length', 'content_filter'])('warns where the answer was cut in a call (%s)', (reason) => {
    const decoded = decodeFrames([
      call({ index: 0, id: 'a', function: { name: 'look', arguments: '{}' } }),
      call({ index: 1, id: 'b', function: { name: 'pay', arguments: '{"sum":"secret' } }),
      call({ index: 2, id: 'c', function: { name: 'wait', arguments: '' } }),
      choice({}, reason),
      '[DONE]',
    ]);
    expect(ofType(decoded, 'tool-call').map(({ id }) => id)).toStrictEqual(['a']);
    expect(ofType(decoded, 'warning').map(({ code }) => code)).toStrictEqual([
      'tool-call-incomplete',
      'tool-call-incomplete',
    ]);
    expect(JSON.stringify(ofType(decoded, 'warning'))).not.toContain('secret');
  });

  it('does not let a truncated call hide the failure that truncated it', () => {
    const cut = call({ index: 0, id: 'a', function: { name: 'f', arguments: '{"a' } });
    expect(decodeFrames([cut, choice({}, 'error')]).outcome).toBe('failed');
    expect(decodeFrames([cut, { ...choice({}, 'tool_calls'), error: 'gone' }]).outcome).toBe('failed');
  });

  it('reads whole arguments that come as an object, custom tools, and the deprecated form', () => {
    const decoded = decodeFrames([
      call({ index: 0, id: 'a', function: { name: 'f', arguments: { q: 1 } } }),
      call({ index: 1, id: 'b', type: 'custom', custom: { name: 'g', input: 'free ' } }),
      call({ index: 1, custom: { input: 'text' } }),
      choice({ function_call: { name: 'h', arguments: '{' } }),
      choice({ function_call: { arguments: '}' } }),
      choice({}, 'function_call'),
    ]);
    expect(ofType(decoded, 'tool-call').map(({ name, arguments: value }) => [name, value])).toStrictEqual([
      ['f', { q: 1 }],
      ['g', 'free text'],
      ['h', {}],
    ]);
  });

  it('keeps what a provider hangs on a call', () => {
    const signed = call({
      index: 0,
      id: 'a',
      function: { name: 'f', arguments: '{}' },
      extra_content: { signature: 'x' },
    });
    expect(ofType(decodeFrames([signed]), 'raw')).toStrictEqual([{ type: 'raw', frame: signed }]);
  });
});

describe('the end', () => {
  it.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['content_filter', 'content-filter'],
    ['tool_calls', 'tool-calls'],
    ['function_call', 'tool-calls'],
    ['end_turn', 'stop'],
    ['STOP', 'stop'],
    ['model_length', 'length'],
    ['a new word', 'other'],
  ])('reads the finish reason %s as %s', (rawReason, reason) => {
    expect(decodeFrames([choice({}, rawReason), '[DONE]']).events).toStrictEqual([
      { type: 'finish', reason, rawReason },
    ]);
  });

  it('accepts finishReason', () => {
    const { events } = decodeFrames([{ choices: [{ delta: {}, finishReason: 'length' }] }, '[DONE]']);
    expect(events.at(-1)).toStrictEqual({ type: 'finish', reason: 'length', rawReason: 'length' });
  });

  it('is complete with a warning where the marker is missing', () => {
    const decoded = decodeFrames([choice({ content: 'a' }), stop]);
    expect(decoded.outcome).toBe('complete');
    expect(ofType(decoded, 'warning').map(({ code }) => code)).toStrictEqual(['end-marker-missing']);
  });

  it('is complete with finish unknown and a warning where only the marker came', () => {
    const decoded = decodeFrames([choice({ content: 'a' }), '[DONE]']);
    expect(ofType(decoded, 'warning').map(({ code }) => code)).toStrictEqual(['finish-reason-missing']);
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'unknown' });
  });

  it('is interrupted where neither came, whatever the HTTP framing says', () => {
    expect(decodeAll(chatDialect(), frame(choice({ content: 'a' })), { intact: true }).outcome).toBe('interrupted');
  });

  it('is taken back when another choice begins', () => {
    const frames = [stop, choice({ content: 'b' }, null, 1)];
    expect(decodeFrames(frames).outcome).toBe('interrupted');
    expect(decodeFrames([...frames, choice({}, 'length', 1), '[DONE]']).events.at(-1)).toStrictEqual({
      type: 'finish',
      reason: 'stop',
      rawReason: 'stop',
      choices: [
        { index: 0, reason: 'stop', rawReason: 'stop' },
        { index: 1, reason: 'length', rawReason: 'length' },
      ],
    });
  });

  it('is taken back when the choice itself goes on', () => {
    expect(decodeFrames([stop, choice({ content: 'more' })]).outcome).toBe('interrupted');
    expect(decodeFrames([stop, choice({ content: '' })]).outcome).toBe('complete');
  });

  it('ignores every byte after the marker', () => {
    const { text } = decodeFrames([
      choice({ content: 'a' }),
      stop,
      '[DONE]',
      choice({ content: 'b' }),
      { error: 'late' },
    ]);
    expect(text).toBe('a');
  });
});

describe('failures', () => {
  it('prove nothing by the marker after them', () => {
    const decoded = decodeFrames([
      choice({ content: 'a' }),
      { id: 'x', error: { message: 'stream timeout' } },
      '[DONE]',
    ]);
    expect(decoded).toMatchObject({ outcome: 'failed', text: 'a' });
  });

  it('come after the text and the usage of their frame', () => {
    const decoded = decodeFrames([
      { error: { code: 502, message: 'gone' }, ...choice({ content: 'last' }, 'error'), usage: { total_tokens: 5 } },
    ]);
    expect(decoded.text).toBe('last');
    expect(ofType(decoded, 'usage')).toHaveLength(1);
    expect(failureOf(decoded)).toMatchObject({ providerCode: 502, providerMessage: 'gone', retryable: true });
  });

  it('come first where the frame is malformed besides', () => {
    expect(decodeFrames([{ error: 'gone', choices: [{ delta: { content: 5 } }] }]).outcome).toBe('failed');
  });

  it('are read as text, from an event named error, and from a field named error', () => {
    const read = (body: string): unknown => failureOf(decodeAll(chatDialect(), body)).providerMessage;
    expect(read('data: {"error":"all is lost"}\n\n')).toBe('all is lost');
    expect(read('event: error\ndata: {"message":"lost","code":500}\n\n')).toBe('lost');
    expect(read('error: {"error":{"message":"failed to decode"}}\n\n')).toBe('failed to decode');
  });

  it('are reported after a finish reason too', () => {
    expect(decodeFrames([choice({}, 'length'), { error: { code: 400, message: 'limit' } }, '[DONE]']).outcome).toBe(
      'failed',
    );
  });

  it('may be finish reasons', () => {
    expect(failureOf(decodeFrames([choice({}, 'error')])).retryable).toBe(false);
    expect(failureOf(decodeFrames([choice({ content: 'a' }, 'insufficient_system_resource')])).retryable).toBe(true);
  });

  it.each(['error', 'network_error'])('may hide behind a benign reason: native %s', (native_finish_reason) => {
    const hidden = { choices: [{ index: 0, delta: { content: '' }, finish_reason: 'stop', native_finish_reason }] };
    expect(failureOf(decodeFrames([hidden, '[DONE]'])).retryable).toBe(true);
  });

  it('may stand where Groq tells why it stopped', () => {
    expect(decodeFrames([{ choices: [], x_groq: { id: 'r', error: 'over capacity' } }]).outcome).toBe('failed');
  });

  it.each([
    [{ code: 503, message: 'overloaded' }, true],
    [{ code: '429', message: 'slow down' }, true],
    [{ code: 529 }, true],
    [{ code: 400, type: 'server_error' }, false],
    [{ code: 501 }, false],
    [{ type: 'server_error', code: null, message: 'x' }, true],
    [{ type: 'requests', code: 'rate_limit_exceeded' }, true],
    [{ type: 'overloaded_error' }, true],
    [{ code: 'tool_use_failed', type: 'invalid_request_error' }, false],
    [{ code: 429, type: 'insufficient_quota' }, false],
    ['a sentence that nobody classified', false],
  ])('says of %o whether asking again can help: %s', (error, retryable) => {
    expect(failureOf(decodeFrames([{ error }])).retryable).toBe(retryable);
  });

  it('lets an option decide that', () => {
    expect(failureOf(decodeFrames([{ error: { code: 7 } }], { retryable: ({ code }) => code === 7 })).retryable).toBe(
      true,
    );
  });
});

describe('usage', () => {
  const usage = { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 };
  const event = { type: 'usage', inputTokens: 9, outputTokens: 4, totalTokens: 13, provenance: 'reported' };

  it.each([
    ['before the finish', [{ choices: [], usage }, stop, '[DONE]']],
    ['on the finish', [{ ...stop, usage }, '[DONE]']],
    ['after the finish', [stop, { choices: [], usage }, '[DONE]']],
    ['on the first chunk', [{ ...choice({ role: 'assistant' }), usage }, stop, '[DONE]']],
    ['from Groq', [{ ...stop, x_groq: { usage } }, '[DONE]']],
  ])('is read %s', (_, frames) => {
    expect(ofType(decodeFrames(frames), 'usage')).toStrictEqual([event]);
  });

  it('is emitted again only when it differs', () => {
    const running = (completion_tokens: number): object => ({
      ...choice({ content: 'a' }),
      usage: { completion_tokens },
    });
    const decoded = decodeFrames([running(1), running(1), running(2), { ...stop, usage: { completion_tokens: 2 } }]);
    expect(ofType(decoded, 'usage').map(({ outputTokens }) => outputTokens)).toStrictEqual([1, 2]);
  });

  it('leaves unknown counts out, and reports a zero', () => {
    const decoded = decodeFrames([
      { choices: [], usage: { prompt_tokens: null, completion_tokens: 0, total_tokens: '13' } },
    ]);
    expect(ofType(decoded, 'usage')).toStrictEqual([{ type: 'usage', outputTokens: 0, provenance: 'reported' }]);
    expect(decodeFrames([{ choices: [], usage: {} }]).events).toMatchObject([{ type: 'raw' }]);
  });

  it('has reasoning and cached tokens, and those of DeepSeek', () => {
    const decoded = decodeFrames([
      { usage: { completion_tokens_details: { reasoning_tokens: 3 }, prompt_tokens_details: { cached_tokens: 2 } } },
      { usage: { prompt_cache_hit_tokens: 7, prompt_cache_miss_tokens: 1 } },
    ]);
    expect(ofType(decoded, 'usage')).toStrictEqual([
      { type: 'usage', reasoningTokens: 3, cachedTokens: 2, provenance: 'reported' },
      { type: 'usage', cachedTokens: 7, provenance: 'reported' },
    ]);
  });

  it('hands on what stands in it besides, also where no count is known, and again when it changed', () => {
    const tiers = ['a', 'a', 'b'].map((tier) => ({ ...choice({ content: 't' }), usage: { tier } }));
    const types = decodeFrames([...tiers, stop, '[DONE]']).events.map(({ type }) => type);
    expect(types).toStrictEqual(['text', 'raw', 'text', 'text', 'raw', 'finish']);
  });

  it('has the cost from the root or from usage, in a currency only where one is documented', () => {
    const atRoot = { usage, cost: 0.3, cost_details: { prompt_cost: 0.1, completion_cost: 0.2 } };
    const inUsage = { usage: { ...usage, cost: 0.5, cost_details: { upstream_inference_prompt_cost: 0.25 } } };
    const ownKey = { usage: { cost: 0.01, is_byok: true, cost_details: { upstream_inference_prompt_cost: 9 } } };
    const costOf = (sent: object, options?: ChatDialectOptions): unknown =>
      ofType(decodeFrames([sent], options), 'usage')[0]?.cost;
    expect(costOf(atRoot)).toStrictEqual({ total: 0.3, input: 0.1, output: 0.2 });
    expect(costOf(inUsage)).toStrictEqual({ total: 0.5, input: 0.25 });
    expect(costOf(ownKey)).toStrictEqual({ total: 0.01 });
    expect(costOf(atRoot, { currency: 'USD' })).toMatchObject({ currency: 'USD' });
  });

  it('does not end a stream by its empty list of choices', () => {
    expect(decodeFrames([{ choices: [], usage }]).outcome).toBe('interrupted');
  });
});

describe('what has no event of its own', () => {
  it('arrives as raw beside the text, once until it changes', () => {
    const cited = (content: string, citations: readonly string[]): object => ({ ...choice({ content }), citations });
    const decoded = decodeFrames([
      cited('a', ['x']),
      cited('b', ['x']),
      choice({ content: 'c' }),
      cited('d', ['x']),
      cited('e', ['y']),
    ]);
    expect(decoded.text).toBe('abcde');
    expect(ofType(decoded, 'raw')).toStrictEqual([
      { type: 'raw', frame: cited('a', ['x']) },
      { type: 'raw', frame: cited('e', ['y']) },
    ]);
  });

  it('is a heartbeat where a frame only repeats it', () => {
    const filters = { choices: [], prompt_filter_results: [{ prompt_index: 0 }] };
    expect(decodeFrames([filters, filters]).events).toStrictEqual([
      { type: 'raw', frame: filters },
      { type: 'heartbeat', comment: '' },
    ]);
  });

  it.each([
    ['logprobs', { choices: [{ index: 0, delta: { content: 'a' }, logprobs: { content: [{ token: 'a' }] } }] }],
    [
      'filter results',
      { choices: [{ index: 0, delta: { content: 'a' }, content_filter_results: { hate: { filtered: false } } }] },
    ],
    ['reasoning details', choice({ content: 'a', reasoning_details: [{ type: 'reasoning.encrypted', data: 'x' }] })],
    ['annotations', choice({ content: 'a', annotations: [{ type: 'url_citation' }] })],
    ['moderation', { ...choice({ content: 'a' }), moderation: { flagged: false } }],
    ['a stop reason of vLLM', { choices: [{ index: 0, delta: { content: 'a' }, stop_reason: 128009 }] }],
  ])('is kept: %s', (_, sent) => {
    expect(decodeFrames([sent]).events).toMatchObject([{ type: 'text' }, { type: 'raw', frame: sent }]);
  });

  it('says nothing where it is empty, null or padding', () => {
    const { events } = decodeFrames([
      {
        id: 'c',
        object: 'chat.completion.chunk',
        created: 1,
        model: 'm',
        provider: 'P',
        service_tier: 'default',
        system_fingerprint: 'f',
        obfuscation: 'Zq1x',
        p: 'ab',
        moderation: null,
        choices: [
          {
            index: 0,
            delta: { content: 'a', annotations: [], tool_calls: null },
            logprobs: null,
            content_filter_results: {},
          },
        ],
      },
    ]);
    expect(events).toStrictEqual([{ type: 'text', text: 'a', index: 0, name: 'output' }]);
  });

  it('is media where its shape is plain', () => {
    const url = 'data:image/png;base64,AAAA';
    const audio = { id: 'a', data: 'BBBB' };
    const { events } = decodeFrames([
      choice({ images: [{ type: 'image_url', image_url: { url } }] }),
      choice({ audio }),
    ]);
    expect(events).toStrictEqual([
      { type: 'media', kind: 'image', content: url, index: 0, name: 'output' },
      { type: 'media', kind: 'audio', content: audio, index: 0, name: 'output' },
    ]);
  });

  it('is a frame that is no chunk', () => {
    const frames = [{ pg_metadata: { latency_ms: 4 } }, { something: 1 }, { choices: 'none' }];
    expect(decodeFrames(frames.slice(0, 2)).events).toStrictEqual(
      frames.slice(0, 2).map((sent) => ({ type: 'raw', frame: sent })),
    );
    expect(() => decodeFrames(frames)).toThrow(ValidationError);
  });
});

it('turns comments into heartbeats', () => {
  expect(decodeAll(chatDialect(), `: OPENROUTER PROCESSING\n\n${DONE}`).events[0]).toStrictEqual({
    type: 'heartbeat',
    comment: 'OPENROUTER PROCESSING',
  });
});

describe('what has no event of its own', () => {
  const rawsOf = (frames: readonly unknown[]): readonly unknown[] =>
    ofType(decodeFrames(frames), 'raw').map(({ frame: sent }) => sent);
  const more = (delta: object, rest: object = {}): object => ({
    choices: [{ index: 0, delta: { content: 'ha', ...delta }, finish_reason: null, ...rest }],
  });

  it.each([
    ['reasoning details', more({ reasoning_details: [{ type: 'reasoning.text', text: 'ha' }] })],
    ['log probabilities', more({}, { logprobs: { content: [{ token: 'ha', logprob: -0.5 }] } })],
    ['token ids', more({}, { token_ids: [7] })],
    ['members of a delta that nobody knows', more({ annotations: [{ type: 'x' }] })],
    ['parts of a content', more({ content: [{ type: 'reference', reference_ids: [1] }] })],
    ['what stands on a part', more({ content: [{ type: 'text', text: 'ha', citations: [1] }] })],
    ['what stands on thinking', more({ content: [{ type: 'thinking', thinking: 'hm', signature: 's' }] })],
    ['what hangs on a call', call({ index: 0, id: 'c', function: { name: 'f' }, extra_content: { a: 1 } })],
  ])('arrives each time, also where the same comes twice: %s', (_, sent) => {
    expect(rawsOf([sent, sent, sent])).toStrictEqual([sent, sent, sent]);
  });

  it.each([
    ['filter results', more({}, { content_filter_results: { hate: { filtered: false } } })],
    ['the reason of the upstream', more({}, { native_finish_reason: 'tool_use' })],
    ['the channel of a piece', more({ channel: 'analysis' })],
    ['search results beside the choices', { ...more({}), search_results: [{ url: 'https://a.example' }] }],
  ])('arrives once where it tells what is so: %s', (_, sent) => {
    expect(rawsOf([sent, more({}), sent, sent])).toStrictEqual([sent]);
  });

  it('arrives once a frame, whatever of it is new', () => {
    const frames = [1, 2].map((logprob) => ({
      ...more(
        { annotations: [logprob] },
        { logprobs: { content: [{ logprob }] }, content_filter_results: { logprob } },
      ),
      search_results: [logprob],
    }));
    expect(rawsOf(frames)).toStrictEqual(frames);
  });
});
