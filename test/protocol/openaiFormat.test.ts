import fc from 'fast-check';
import OpenAI, { APIError } from 'openai';
import { describe, expect, it } from 'vitest';
import { RestartNotTold } from '../../src/protocol/eventFormat.js';
import { chatDialect } from '../../src/providers/index.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeAll } from '../support/decodeAll.js';
import {
  anyEvent,
  encodeAll,
  type Ending,
  FAILURE,
  finish,
  framesOf,
  newEncoder,
  restart,
  serveBody,
  text,
  thinking,
} from '../support/encoded.js';

const usage: StreamEvent = {
  type: 'usage',
  inputTokens: 9,
  outputTokens: 4,
  cachedTokens: 2,
  reasoningTokens: 1,
  cost: { total: 0.5, currency: 'USD' },
  provenance: 'reported',
};
const delta = (argumentsDelta: string, id = 'c1', name = 'look'): StreamEvent => ({
  type: 'tool-call-delta',
  index: 0,
  id,
  name,
  argumentsDelta,
});
const call = (argumentsText: string, id = 'c1', name = 'look'): StreamEvent => ({
  type: 'tool-call',
  index: 0,
  id,
  name,
  arguments: argumentsText === '' ? {} : (JSON.parse(argumentsText) as unknown),
  argumentsText,
});

interface Chunk {
  readonly choices: readonly {
    readonly index: number;
    readonly delta: Readonly<Record<string, unknown>>;
    readonly finish_reason: string | null;
  }[];
  readonly usage?: unknown;
}

function chunksOf(events: readonly (StreamEvent | string)[], ending?: Ending): Chunk[] {
  return framesOf(encodeAll('openai', events, { ...(ending !== undefined && { ending }) })) as Chunk[];
}

/** The deltas that follow the role. */
function deltasOf(events: readonly (StreamEvent | string)[]): unknown[] {
  return chunksOf(events)
    .flatMap(({ choices }) => choices)
    .slice(1, -1)
    .map(({ delta: told }) => told);
}

const request = { model: 'm', messages: [{ role: 'user' as const, content: 'Why?' }] };

async function clientOf(
  events: readonly (StreamEvent | string)[],
  options: { ending?: Ending; cut?: boolean } = {},
): Promise<OpenAI> {
  const url = await serveBody(newEncoder('openai'), encodeAll('openai', events, options), options);
  return new OpenAI({ apiKey: 'any', baseURL: url, maxRetries: 0, logLevel: 'off' });
}

/** What `create({ stream: true })` gives, put together as its documentation does. */
async function read(client: OpenAI): Promise<{ text: string; chunks: OpenAI.ChatCompletionChunk[]; error: unknown }> {
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  let told = '';
  let error: unknown;
  try {
    for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
      chunks.push(chunk);
      told += chunk.choices[0]?.delta.content ?? '';
    }
  } catch (thrown) {
    error = thrown;
  }
  return { text: told, chunks, error };
}

describe('the chunks', () => {
  it('tell the role first, then text, the finish reason and the end, all in one envelope', () => {
    const pieces = encodeAll('openai', [text('Hel'), 'lo', finish()]);
    const head = { id: 'answer-1', object: 'chat.completion.chunk', created: 1_763_000_000, model: 'm-1' };
    const chunk = (told: object, reason: string | null = null): object => ({
      ...head,
      choices: [{ index: 0, delta: told, finish_reason: reason }],
    });
    expect(framesOf(pieces)).toStrictEqual([
      chunk({ role: 'assistant', content: '', refusal: null }),
      chunk({ content: 'Hel' }),
      chunk({ content: 'lo' }),
      chunk({}, 'stop'),
    ]);
    expect(pieces.at(-1)?.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  it('put thinking into reasoning_content and a refusal into refusal', () => {
    expect(deltasOf([thinking('hm'), { type: 'refusal', text: 'No.', index: 0, name: 'output' }])).toStrictEqual([
      { reasoning_content: 'hm' },
      { refusal: 'No.' },
    ]);
  });

  it('tell a tool call by its index, its id and name once', () => {
    const told = deltasOf([
      delta('{"q"'),
      delta('1', 'c2', 'ask'),
      delta(':1}'),
      call('{"q":1}'),
      call('1', 'c2', 'ask'),
    ]);
    const first = (index: number, id: string, name: string, given: string): object => ({
      tool_calls: [{ index, id, type: 'function', function: { name, arguments: given } }],
    });
    expect(told).toStrictEqual([
      first(0, 'c1', 'look', '{"q"'),
      first(1, 'c2', 'ask', '1'),
      { tool_calls: [{ index: 0, function: { arguments: ':1}' } }] },
    ]);
  });

  it('tell a tool call that came whole, and an empty object for one without arguments', () => {
    expect(deltasOf([call('{"q":1}'), call('', 'c2'), delta('', 'c3'), call('', 'c3')])).toMatchObject([
      { tool_calls: [{ index: 0, id: 'c1', function: { name: 'look', arguments: '{"q":1}' } }] },
      { tool_calls: [{ index: 1, id: 'c2', function: { arguments: '{}' } }] },
      { tool_calls: [{ index: 2, id: 'c3', function: { arguments: '' } }] },
      { tool_calls: [{ index: 2, function: { arguments: '{}' } }] },
    ]);
  });

  it('begin a new call where an id comes again after its result', () => {
    const result: StreamEvent = { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: 1 };
    expect(deltasOf([call('1'), result, call('2')])).toMatchObject([
      { tool_calls: [{ index: 0, id: 'c1', function: { arguments: '1' } }] },
      { tool_calls: [{ index: 1, id: 'c1', function: { arguments: '2' } }] },
    ]);
  });

  it('leave out a call that the provider runs itself: a client would run it', () => {
    const searched: StreamEvent = { ...delta('{}'), type: 'tool-call-delta', providerExecuted: true } as StreamEvent;
    expect(deltasOf([searched])).toStrictEqual([]);
  });

  it('tell alternative answers as choices, each with its role and its end', () => {
    const second: StreamEvent = { type: 'text', text: 'b', index: 1, name: 'output', alternative: true };
    const reasons = { index: 1, reason: 'length', rawReason: 'length' } as const;
    const end: StreamEvent = { type: 'finish', reason: 'stop', choices: [reasons, { ...reasons, index: 2 }] };
    const told = chunksOf([text('a'), second, { ...second, text: 'c' }, end]).flatMap(({ choices }) => choices);
    expect(
      told.map(({ index, delta: { role, content }, finish_reason }) => [index, role ?? content ?? finish_reason]),
    ).toEqual([
      [0, 'assistant'],
      [0, 'a'],
      [1, 'assistant'],
      [1, 'b'],
      [1, 'c'],
      [2, 'assistant'],
      [0, 'stop'],
      [1, 'length'],
      [2, 'length'],
    ]);
  });

  it('tell the first output’s text as choice 0, whatever its number, and never mix two', () => {
    expect(deltasOf([text('a', 'answer', 3), text('x', 'summary', 4), text('b', 'answer', 3)])).toStrictEqual([
      { content: 'a' },
      { content: 'b' },
    ]);
  });

  it('map each reason to one that clients know', () => {
    const words = ['stop', 'length', 'content-filter', 'tool-calls', 'refusal', 'other', 'unknown'] as const;
    const told = words.map((reason) => chunksOf([{ type: 'finish', reason }]).at(-1)?.choices[0]?.finish_reason);
    expect(told).toEqual(['stop', 'length', 'content_filter', 'tool_calls', 'stop', 'stop', 'stop']);
    expect(chunksOf([call('1')]).at(-1)?.choices[0]?.finish_reason).toBe('tool_calls');
  });

  it('tell usage in a last chunk without choices, the cost only where it is asked for', () => {
    const counts = {
      prompt_tokens: 9,
      completion_tokens: 4,
      total_tokens: 13,
      prompt_tokens_details: { cached_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 1 },
    };
    const events = [text('a'), usage, finish()];
    expect(chunksOf(events).at(-1)).toMatchObject({ choices: [], usage: counts });
    expect(JSON.stringify(chunksOf(events))).not.toContain('cost');
    const asked = framesOf(encodeAll('openai', events, { events: { cost: true } })).at(-1);
    expect(asked).toMatchObject({ usage: { ...counts, cost: 0.5 } });
  });

  it('leave out counts that are not known', () => {
    const told = (event: Partial<StreamEvent>): unknown =>
      chunksOf([{ type: 'usage', provenance: 'partial', ...event } as StreamEvent]).at(-1)?.usage;
    expect(told({ inputTokens: 0 })).toStrictEqual({ prompt_tokens: 0 });
    expect(told({})).toBeUndefined();
  });

  it('tell images as OpenRouter does and audio as OpenAI does', () => {
    const place = { index: 0, name: 'output' };
    const audio = { id: 'a1', data: 'AAAA', transcript: 'hi' };
    expect(
      deltasOf([
        { type: 'media', kind: 'image/png', content: { mimeType: 'image/png', data: 'iVBORw0K' }, ...place },
        { type: 'media', kind: 'audio', content: audio, ...place },
        { type: 'media', kind: 'file', content: 'opaque', ...place },
      ]),
    ).toStrictEqual([
      { images: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0K' } }] },
      { audio },
    ]);
  });

  it('pass heartbeats on as comments, and send nothing for what has no place in a completion', () => {
    const encoder = newEncoder('openai', { events: { raw: true, log: true, cost: true } });
    expect(encoder.encode({ type: 'heartbeat', comment: 'working\r\nstill' })).toBe(': working still\n\n');
    expect(encoder.heartbeat('here')).toBe(': here\n\n');
    const silent: StreamEvent[] = [
      { type: 'status', status: 'running', terminal: false },
      { type: 'progress', current: 1 },
      { type: 'log', message: 'm' },
      { type: 'output', value: 1, final: true },
      { type: 'warning', code: 'c', message: 'm' },
      { type: 'raw', frame: {} },
    ];
    expect(silent.map((event) => encoder.encode(event))).toEqual(silent.map(() => ''));
    expect(encoder.encode('')).toBe('');
  });

  it('hide a restart before anything was sent, and cannot tell one after it', () => {
    expect(deltasOf([{ type: 'status', status: 'queued', terminal: false }, restart, 'a'])).toStrictEqual([
      { content: 'a' },
    ]);
    for (const sent of ['a', thinking('a'), call('1')]) {
      expect(() => encodeAll('openai', [sent, restart])).toThrow(RestartNotTold);
    }
  });

  it('forget what a restart voids of the end', () => {
    const told = chunksOf([usage, finish('tool-calls'), restart, text('a', 'other', 7)]);
    expect(told.at(-1)).toMatchObject({ choices: [{ finish_reason: 'stop' }] });
    expect(told.at(-1)?.usage).toBeUndefined();
  });

  it('are read back by the dialect of the family', () => {
    const events = [thinking('hm'), text('Hel'), text('lo'), delta('{"q"'), delta(':1}'), call('{"q":1}')];
    const told = decodeAll(chatDialect(), encodeAll('openai', [...events, usage, finish('tool-calls')]).join(''));
    expect(told.outcome).toBe('complete');
    expect(told).toMatchObject({ text: 'Hello', thinking: 'hm', toolArguments: '{"q":1}' });
    expect(told.events).toContainEqual(call('{"q":1}'));
    expect(told.events.at(-1)).toMatchObject({ type: 'finish', reason: 'tool-calls' });
  });

  it('say of a failure whether another try can help, in words that the dialect of the family understands', () => {
    for (const retryable of [true, false]) {
      const body = encodeAll('openai', ['a'], { ending: { ...FAILURE, retryable } }).join('');
      expect(decodeAll(chatDialect(), body).error).toMatchObject({ providerCode: 'ERR_PROVIDER', retryable });
    }
  });
});

describe('OpenAI’s own client', () => {
  const events = [thinking('hm'), text('Hel'), text('lo 🐎'), usage, finish()];

  it('reads text, the finish reason and usage', async () => {
    const { text: told, chunks, error } = await read(await clientOf(events));
    expect(error).toBeUndefined();
    expect(told).toBe('Hello 🐎');
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
    expect(chunks.at(-1)?.usage).toMatchObject({ prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 });
  });

  it('builds the final message with its tool calls', async () => {
    const client = await clientOf([
      text('Let me look.'),
      delta('{"q"'),
      delta(':"é"}'),
      call('{"q":"é"}'),
      call('{"n":2}', 'c2', 'count'),
      finish('tool-calls'),
    ]);
    const stream = client.chat.completions.stream(request);
    const message = await stream.finalMessage();
    expect(message).toMatchObject({
      role: 'assistant',
      content: 'Let me look.',
      tool_calls: [
        { id: 'c1', type: 'function', function: { name: 'look', arguments: '{"q":"é"}' } },
        { id: 'c2', type: 'function', function: { name: 'count', arguments: '{"n":2}' } },
      ],
    });
    expect((await stream.finalChatCompletion()).choices[0]?.finish_reason).toBe('tool_calls');
  });

  it('gives the usage of the whole answer', async () => {
    const stream = (await clientOf(events)).chat.completions.stream(request);
    expect(await stream.totalUsage()).toMatchObject({ prompt_tokens: 9, completion_tokens: 4 });
  });

  it('reads a refusal and several answers', async () => {
    const refusal: StreamEvent = { type: 'refusal', text: 'No.', index: 0, name: 'output' };
    const second: StreamEvent = { type: 'text', text: 'b', index: 1, name: 'output', alternative: true };
    const client = await clientOf([refusal, second, finish()]);
    const { choices } = await client.chat.completions.stream(request).finalChatCompletion();
    expect(choices.map(({ message }) => message.refusal ?? message.content)).toEqual(['No.', 'b']);
  });

  it('stumbles over nothing, whatever comes', async () => {
    // No provider counts another answer as the first.
    const isPossible = (event: StreamEvent): boolean => !('alternative' in event && event.index === 0);
    const possible = anyEvent.filter((event) => event.type !== 'restart' && isPossible(event));
    await fc.assert(
      fc.asyncProperty(fc.array(possible, { maxLength: 20 }), async (told) => {
        const body = encodeAll('openai', told, { events: { raw: true, log: true, cost: true } }).join('');
        const fetch = (): Promise<Response> =>
          Promise.resolve(new Response(body, { headers: { 'content-type': 'text/event-stream' } }));
        const client = new OpenAI({ apiKey: 'any', fetch, maxRetries: 0, logLevel: 'off' });
        const { choices } = await client.chat.completions.stream(request).finalChatCompletion();
        const first = told.find((event) => event.type === 'text' && event.alternative !== true);
        const expected = told.map((event) => {
          if (event.type !== 'text' || first?.type !== 'text' || event.alternative === true) return '';
          return event.index === first.index && event.name === first.name ? event.text : '';
        });
        expect(choices[0]?.message.content ?? '').toBe(expected.join(''));
        const ids = told.map((event) => {
          const isCall = event.type === 'tool-call-delta' || event.type === 'tool-call';
          return isCall && event.alternative !== true && event.providerExecuted !== true ? event.id : undefined;
        });
        const calls = choices[0]?.message.tool_calls?.map((made) => made.id) ?? [];
        expect(new Set(calls)).toStrictEqual(new Set(ids.filter((id) => id !== undefined)));
      }),
    );
  });

  it('throws an APIError for a failure in the stream, after the text before it', async () => {
    const { text: told, error } = await read(await clientOf([text('Hel')], { ending: FAILURE }));
    expect(told).toBe('Hel');
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ message: 'The model is gone', code: 'ERR_PROVIDER' });
    const stream = (await clientOf([text('Hel')], { ending: FAILURE })).chat.completions.stream(request);
    await expect(stream.finalMessage()).rejects.toThrow('The model is gone');
  });

  it('throws for an answer that was stopped on purpose', async () => {
    const { error } = await read(await clientOf([text('Hel')], { ending: 'stopped' }));
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ code: 'stopped' });
  });

  it('throws where the connection is cut', async () => {
    const { text: told, error } = await read(await clientOf([text('Hel')], { ending: 'cut', cut: true }));
    expect(told).toBe('Hel');
    expect(error).toBeInstanceOf(Error);
  });
});
