import { lastValueFrom, toArray } from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, isRetryable } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import type { Call, CallRequest, ToolPlan, ToolResult } from '../../src/protocol/call.js';
import { anthropic, type AnthropicOptions } from '../../src/providers/anthropic.js';
import type { AnthropicRequest } from '../../src/providers/anthropicRequest.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { runTools } from '../../src/sources/runTools.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import { frame } from '../support/decodeAll.js';

const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
const asked: AnthropicRequest = { model: 'claude-sonnet-4-5', max_tokens: 100, messages };

const bodyOf = ({ body = '' }: CallRequest): unknown => JSON.parse(body);
const make = (request: AnthropicRequest = asked, options: AnthropicOptions = {}): Call =>
  anthropic({ apiKey: 'key', ...options }).messages(request);
const sentBy = (call: Call): unknown => bodyOf(call.stream(''));

const answer = (text: string, reason = 'end_turn'): string =>
  [
    { type: 'message_start', message: { id: 'msg_1', usage: { input_tokens: 9 } } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: reason }, usage: { output_tokens: 4 } },
    { type: 'message_stop' },
  ]
    .map((one) => `event: ${one.type}\n${frame(one)}`)
    .join('');

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('anthropic.messages', () => {
  it('asks for a stream, and keeps what it does not know', () => {
    const call = make({ ...asked, system: 'Be brief.', metadata: { user_id: 'u' }, stream: false });
    const { body, ...request } = call.stream('');
    expect(request).toStrictEqual({
      method: 'POST',
      url: 'https://api.anthropic.com/v1/messages',
      headers: { 'anthropic-version': '2023-06-01' },
      accept: ['text/event-stream'],
    });
    expect(JSON.parse(body ?? '')).toStrictEqual({
      ...asked,
      system: 'Be brief.',
      metadata: { user_id: 'u' },
      stream: true,
    });
    expect(call).toMatchObject({
      provider: 'anthropic',
      model: 'claude-sonnet-4-5',
      leaving: { stop: 'unknown', disconnect: 'unknown' },
      resume: { by: 'ask' },
    });
    expect(call.cancel).toBeUndefined();
  });

  it('sends the key as x-api-key, or as a bearer token', () => {
    expect(make().authorize()).toStrictEqual({ 'x-api-key': 'key' });
    expect(make(asked, { auth: 'bearer' }).authorize()).toStrictEqual({ authorization: 'Bearer key' });
  });

  it('sends its version and the betas, and the headers of the caller over them', () => {
    const { headers } = make(asked, { version: '2026-10-21', beta: ['a-2025-01-01', 'b-2026-01-01'] }).stream('');
    expect(headers).toStrictEqual({
      'anthropic-version': '2026-10-21',
      'anthropic-beta': 'a-2025-01-01,b-2026-01-01',
    });
    const own = make(asked, { headers: { 'anthropic-version': 'x', 'x-proxy': 'y' } }).stream('');
    expect(own.headers).toStrictEqual({ 'anthropic-version': 'x', 'x-proxy': 'y' });
  });

  it('keeps the path of a proxy', () => {
    expect(make(asked, { baseURL: 'https://proxy.example/anthropic/' }).stream('').url).toBe(
      'https://proxy.example/anthropic/v1/messages',
    );
  });

  it('takes the key from ANTHROPIC_API_KEY, and names both where there is none', () => {
    vi.stubEnv('ANTHROPIC_API_KEY', 'from-env');
    expect(anthropic().messages(asked).authorize()).toStrictEqual({ 'x-api-key': 'from-env' });
    vi.stubEnv('ANTHROPIC_API_KEY', '');
    expect(() => anthropic().messages(asked)).toThrow(/apiKey.*ANTHROPIC_API_KEY/);
    expect(anthropic().messages.dialect.name).toBe('anthropic');
  });

  it.each([
    [{}, 'model'],
    [{ ...asked, model: '' }, 'model'],
    [{ model: 'm', messages }, 'max_tokens'],
    [{ ...asked, max_tokens: null }, 'max_tokens'],
    [{ ...asked, max_tokens: -1 }, 'max_tokens'],
    [{ ...asked, max_tokens: 1.5 }, 'max_tokens'],
    [{ ...asked, messages: [] }, 'messages'],
    [{ ...asked, messages: 'a secret prompt' }, 'messages'],
    [{ ...asked, messages: [{ role: 'user' }] }, 'content'],
    [{ ...asked, messages: [{ role: 'user', content: null }] }, 'content'],
    [{ ...asked, messages: [{ role: 'user', content: [{ text: 'a secret prompt' }] }] }, 'content'],
    [{ ...asked, temperature: 'hot' }, 'temperature'],
    [{ ...asked, tools: {} }, 'tools'],
  ])('refuses a wrong request when called, without quoting it: %j', (request, where) => {
    const wrong = request as unknown as AnthropicRequest;
    expect(() => make(wrong)).toThrow(TypeError);
    expect(() => make(wrong)).toThrow(where);
    expect(() => make(wrong)).not.toThrow(/secret/);
  });

  it('takes 0 tokens, which fill the cache', () => {
    expect(sentBy(make({ ...asked, max_tokens: 0 }))).toMatchObject({ max_tokens: 0 });
  });

  it.each([
    [{ temperature: 1 }, 'temperature'],
    [{ temperature: null }, 'temperature'],
    [{ top_p: 0.5 }, 'top_p'],
    [{ top_k: 4 }, 'top_k'],
    [{ messages: [{ role: 'assistant', content: [{ type: 'document', source: {} }] }] }, 'document'],
    [{ messages: [{ role: 'user', content: [{ type: 'text', text: 'a', citations: [{}] }] }] }, 'citations'],
  ])('refuses in version 2026-10-21 what only the one before takes: %j', (more, what) => {
    const request = { ...asked, ...more };
    expect(() => make(request, { version: '2026-10-21' })).toThrow(TypeError);
    expect(() => make(request, { version: '2026-10-21' })).toThrow(new RegExp(`${what}.*'2023-06-01'`));
    expect(() => make(request)).not.toThrow();
  });

  it('takes in version 2026-10-21 what is not meant', () => {
    const cited = { type: 'text', text: 'a', citations: [{ type: 'char_location' }] };
    const document = { type: 'document', source: {}, citations: { enabled: true } };
    const request = {
      ...asked,
      temperature: undefined,
      messages: [
        { role: 'user', content: [document, { type: 'text', text: 'a', citations: [] }] },
        { role: 'assistant', content: [cited] },
        { role: 'user', content: 'b' },
      ],
    };
    expect(() => make(request, { version: '2026-10-21' })).not.toThrow();
  });

  it('refuses options that cannot be right', () => {
    const wrong = (options: object) => (): unknown => anthropic(options);
    expect(wrong({ version: '2023-01-01' })).toThrow(/version.*'2023-06-01'/);
    expect(wrong({ auth: 'basic' })).toThrow(/auth/);
    expect(wrong({ baseURL: 'api.anthropic.com' })).toThrow(/baseURL/);
    expect(wrong({ maxToolCallChars: -1 })).toThrow(RangeError);
  });
});

describe('anthropic.messages, going on after a cut', () => {
  const rest = (request: AnthropicRequest, text: string, options?: AnthropicOptions): unknown => {
    const next = make(request, options).resume?.continueWith?.(text);
    return next && bodyOf(next);
  };

  it('sends the text so far as the assistant’s turn', () => {
    expect(rest(asked, 'Since water')).toStrictEqual({
      ...asked,
      messages: [...messages, { role: 'assistant', content: 'Since water' }],
      stream: true,
    });
  });

  it('goes on with a turn that the caller began', () => {
    const begun = (content: AnthropicRequest['messages'][number]['content']): AnthropicRequest => ({
      ...asked,
      messages: [...messages, { role: 'assistant', content }],
    });
    const text = { type: 'text', text: 'They ' };
    const image = { type: 'image', source: {} };
    const lastOf = (request: AnthropicRequest): unknown =>
      (rest(request, 'bend') as AnthropicRequest).messages.slice(1).map(({ content }) => content);
    expect(lastOf(begun('They '))).toStrictEqual(['They bend']);
    expect(lastOf(begun([text]))).toStrictEqual([[{ type: 'text', text: 'They bend' }]]);
    expect(lastOf(begun([image]))).toStrictEqual([[image, { type: 'text', text: 'bend' }]]);
  });

  it.each([
    'claude-3-haiku-20240307',
    'claude-3-7-sonnet-latest',
    'anthropic/claude-3.5-sonnet',
    'claude-sonnet-4-20250514',
    'claude-opus-4-1-20250805',
    'claude-opus-4-0',
    'claude-sonnet-4-5@20250929',
    'us.anthropic.claude-haiku-4-5-20251001-v1:0',
    'anthropic/claude-4.5-sonnet',
    'claude-opus-4.5',
  ])('does so with %s', (model) => {
    expect(rest({ ...asked, model }, 'a')).toBeDefined();
  });

  it.each([
    'claude-opus-4-6',
    'claude-sonnet-4-6-20260217',
    'claude-opus-4-8',
    'claude-sonnet-4-10',
    'claude-sonnet-5',
    'claude-opus-5-5',
    'claude-fable-5',
    'anthropic/claude-sonnet-4.6',
    'claude-mythos-preview',
    'of-tomorrow',
  ])('does not with %s, unless the caller says so', (model) => {
    expect(rest({ ...asked, model }, 'a')).toBeUndefined();
    expect(rest({ ...asked, model }, 'a', { prefill: true })).toBeDefined();
    expect(rest(asked, 'a', { prefill: false })).toBeUndefined();
  });

  it.each([
    [{ thinking: { type: 'enabled', budget_tokens: 1024 } }],
    [{ thinking: { type: 'adaptive' } }],
    [{ output_config: { format: { type: 'json_schema' } } }],
    [{ output_format: { type: 'json_schema' } }],
    [{ tools: [{ name: 'look' }] }],
    [{ mcp_servers: [{ url: 'https://a.example' }] }],
  ])('does not where the request forbids it: %j', (more) => {
    expect(rest({ ...asked, ...more }, 'a', { prefill: true })).toBeUndefined();
  });

  it.each([[{ thinking: { type: 'disabled' } }], [{ tools: [] }], [{ output_config: { effort: 'low' } }]])(
    'does with %j',
    (more) => {
      expect(rest({ ...asked, ...more }, 'a')).toBeDefined();
    },
  );

  it('asks again where the text ends in white space, which the API refuses and a reader has', () => {
    expect(rest(asked, 'Since ')).toBeUndefined();
    expect(rest(asked, 'Since\n')).toBeUndefined();
    expect(rest(asked, '\nSince')).toBeDefined();
  });
});

describe('anthropic.messages, answering tools', () => {
  const plan = (request: AnthropicRequest = asked): Extract<ToolPlan, { by: 'ask' }> => {
    const { tools } = make(request);
    if (tools?.by !== 'ask') throw new Error('no plan');
    return tools;
  };
  const call = (id: string, more: object = {}): { readonly type: string } => ({
    type: 'tool_use',
    ...{ id, name: 'look', input: {} },
    ...more,
  });
  const result = (id: string, text = 'r', more: object = {}): ToolResult => ({ id, name: 'look', text, ...more });
  const added = (content: readonly object[], results: readonly ToolResult[]): unknown =>
    (sentBy(plan().next({ role: 'assistant', content }, results)) as AnthropicRequest).messages.slice(1);

  it('sends the turn and one message with the results, in the order of the calls', () => {
    const content = [{ type: 'text', text: 'Let me see. ' }, call('t1'), call('t2')];
    expect(added(content, [result('t2', 'two'), result('t1', 'one', { isError: true })])).toStrictEqual([
      { role: 'assistant', content },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 't1', content: 'one', is_error: true },
          { type: 'tool_result', tool_use_id: 't2', content: 'two' },
        ],
      },
    ]);
  });

  it('sends no empty content, and an error never without one', () => {
    expect(added([call('t1'), call('t2')], [result('t1', ''), result('t2', '', { isError: true })])).toMatchObject([
      {},
      {
        content: [
          { type: 'tool_result', tool_use_id: 't1' },
          { content: 'failed', is_error: true },
        ],
      },
    ]);
  });

  it('names the toolset of the call', () => {
    expect(added([call('t1', { toolset_name: 'browser' })], [result('t1')])).toMatchObject([
      {},
      { content: [{ toolset_name: 'browser' }] },
    ]);
  });

  it('knows a turn that is only paused, and sends it back as the API takes it', () => {
    const { isPaused } = plan();
    expect(isPaused?.({ type: 'finish', reason: 'other', rawReason: 'pause_turn' })).toBe(true);
    expect(isPaused?.({ type: 'finish', reason: 'tool-calls', rawReason: 'tool_use' })).toBe(false);
    const search = { type: 'server_tool_use', id: 's1', name: 'web_search', input: {} };
    expect(added([search], [])).toStrictEqual([{ role: 'assistant', content: [search] }]);
    expect(added([search, { type: 'text', text: 'So \n' }, { type: 'text', text: ' ' }], [])).toStrictEqual([
      { role: 'assistant', content: [search, { type: 'text', text: 'So' }] },
    ]);
    expect(added([], [])).toStrictEqual([]);
  });

  it('goes on in the container of the turn', () => {
    const turn = { role: 'assistant', content: [call('t1')], container: 'container_1' };
    const withSkills = plan({ ...asked, container: { skills: ['pptx'] } });
    expect(sentBy(plan().next(turn, [result('t1')]))).toMatchObject({ container: 'container_1' });
    expect(sentBy(withSkills.next(turn, [result('t1')]))).toMatchObject({
      container: { skills: ['pptx'], id: 'container_1' },
    });
  });

  it('goes on turn after turn', () => {
    const next = plan().next({ role: 'assistant', content: [call('t1')] }, [result('t1')]);
    if (next.tools?.by !== 'ask') throw new Error('no plan');
    const last = next.tools.next({ role: 'assistant', content: [call('t2')] }, [result('t2')]);
    expect((sentBy(last) as AnthropicRequest).messages.map(({ role }) => role)).toStrictEqual([
      ...['user', 'assistant', 'user', 'assistant', 'user'],
    ]);
    expect((sentBy(make()) as AnthropicRequest).messages).toHaveLength(1);
  });
});

describe('anthropic.messages, on a socket', () => {
  it('asks and reads the stream', async () => {
    const server = await serve();
    const call = make(asked, { baseURL: server.url, beta: ['b-1'] });
    const reading = lastValueFrom(fromCall(call).pipe(accumulate({ dialect: anthropic().messages.dialect })));
    const exchange = await server.accept();
    expect(exchange.request).toMatchObject({ method: 'POST', path: '/v1/messages', body: { ...asked, stream: true } });
    expect(exchange.request.headers).toMatchObject({
      'x-api-key': 'key',
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'b-1',
      'content-type': 'application/json',
    });
    expect(exchange.request.headers.authorization).toBeUndefined();
    await exchange.end(answer('Since water'));
    const message = await reading;
    expect(message).toMatchObject({
      outputs: [{ content: 'Since water', done: true }],
      usage: { inputTokens: 9, outputTokens: 4, provenance: 'reported' },
      finish: { reason: 'stop', rawReason: 'end_turn' },
    });
    expect(message.toRequest()).toStrictEqual({ role: 'assistant', content: [{ type: 'text', text: 'Since water' }] });
  });

  it('closes the socket when its reader leaves', async () => {
    const server = await serve();
    const reading = fromCall(make(asked, { baseURL: server.url })).subscribe();
    const exchange = await server.accept();
    await exchange.write(answer('a').slice(0, 40));
    reading.unsubscribe();
    expect(await exchange.ended).toBe('client');
  });

  it.each([
    [529, 'overloaded_error', true],
    [400, 'invalid_request_error', false],
  ])('tells what an answer with status %i says', async (status, type, retryable) => {
    const server = await serve();
    const failing = collect(fromCall(make(asked, { baseURL: server.url }))).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond({ status, headers: { 'content-type': 'application/json', 'request-id': 'req_1' } });
    await exchange.end(JSON.stringify({ type: 'error', error: { type, message: 'Because.' }, request_id: 'req_1' }));
    const error = await failing;
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({ status, providerCode: type, providerMessage: 'Because.', requestId: 'req_1' });
    expect(isRetryable(error)).toBe(retryable);
  });

  it('runs tools, and gives their results back with the signed turn', async () => {
    const server = await serve();
    const call = make({ ...asked, tools: [{ name: 'look' }] }, { baseURL: server.url });
    const reading = collect(runTools(call, { look: { run: () => 'a bend' } }));
    const first = await server.accept();
    await first.end(
      [
        { type: 'message_start', message: { usage: { input_tokens: 9 } } },
        { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
        { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'Hm' } },
        { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'c2ln+/==' } },
        { type: 'content_block_stop', index: 0 },
        {
          type: 'content_block_start',
          index: 1,
          content_block: { type: 'tool_use', id: 't1', name: 'look', input: {} },
        },
        { type: 'content_block_stop', index: 1 },
        {
          type: 'message_delta',
          delta: { stop_reason: 'tool_use', container: { id: 'c1' } },
          usage: { output_tokens: 4 },
        },
        { type: 'message_stop' },
      ]
        .map(frame)
        .join(''),
    );
    const second = await server.accept();
    expect(second.request.body).toMatchObject({
      container: 'c1',
      messages: [
        ...messages,
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Hm', signature: 'c2ln+/==' },
            { type: 'tool_use', id: 't1', name: 'look', input: {} },
          ],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: 'a bend' }] },
      ],
    });
    await second.end(answer('So', 'pause_turn'));
    const third = await server.accept();
    expect((third.request.body as AnthropicRequest).messages.at(-1)).toStrictEqual({
      role: 'assistant',
      content: [{ type: 'text', text: 'So' }],
    });
    await third.end(answer(' it is.'));
    expect(await reading).toMatchObject({ finish: { reason: 'stop' } });
  });

  it('goes on where it was cut', async () => {
    const server = await serve();
    const call = make(asked, { baseURL: server.url });
    const reading = lastValueFrom(
      fromCall(call).pipe(
        retryOnDisconnect({ count: 1, onUnresumable: 'continue', delay: { initialMs: 0 } }),
        accumulate({ dialect: anthropic().messages.dialect }),
        toArray(),
      ),
    );
    const first = await server.accept();
    await first.write(answer('Since water').split('event: content_block_stop')[0] ?? '');
    first.halfClose();
    const second = await server.accept();
    expect(second.request.body).toMatchObject({
      messages: [...messages, { role: 'assistant', content: 'Since water' }],
    });
    await second.end(answer(' is lazy.'));
    const message = (await reading).at(-1);
    expect(message).toMatchObject({ outputs: [{ content: 'Since water is lazy.' }], restarts: 0 });
    const turn = message?.toRequest();
    expect(turn?.content.map(({ text }) => text).join('')).toBe('Since water is lazy.');
  });
});

it('lets a header of the caller stand over its own, however it is written', () => {
  const headers = { 'Anthropic-Version': '2023-01-01', 'X-API-Key': 'other' };
  const { messages } = anthropic({ apiKey: 'k', headers });
  const call = messages({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'Why?' }] });
  expect(call.stream('').headers).toStrictEqual({ 'anthropic-version': '2023-01-01', 'x-api-key': 'other' });
});
