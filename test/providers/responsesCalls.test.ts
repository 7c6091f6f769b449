import { lastValueFrom, take } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError, ProviderError } from '../../src/errors.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import type { ToolResult } from '../../src/protocol/call.js';
import { provider, type ResponsesRequest, type ResponsesTurn } from '../../src/providers/index.js';
import { responsesCalls, type ResponsesCalls, type ResponsesCallsOptions } from '../../src/providers/responsesCalls.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { runTools } from '../../src/sources/runTools.js';
import { startServer, type TestServer } from '../../src/testing/index.js';
import { frame } from '../support/decodeAll.js';

type Fields = Record<string, unknown>;

function make(baseURL = 'https://api.example/v1', options: ResponsesCallsOptions = {}): ResponsesCalls {
  return responsesCalls(provider({ name: 'acme', baseURL, env: 'ACME_KEY' }, { apiKey: 'k' }), options);
}

async function served(): Promise<{ server: TestServer; api: ResponsesCalls }> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return { server, api: make(`${server.url}/v1`) };
}

const asked = { model: 'm', input: 'Why?' };
const body = ({ body: text }: { readonly body?: string | undefined }): unknown => JSON.parse(text ?? '') as unknown;

const numbered = (frames: readonly Fields[], from = 0): string =>
  frames.map((fields, number) => frame({ ...fields, sequence_number: number + from })).join('');
const created = { type: 'response.created', response: { id: 'resp_1', status: 'in_progress', background: true } };
const text = (delta: string): Fields => ({
  type: 'response.output_text.delta',
  item_id: 'msg_1',
  output_index: 0,
  delta,
});
const message = (whole: string): Fields => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: whole, annotations: [] }],
});
const completed = (output: readonly Fields[] = []): Fields => ({
  type: 'response.completed',
  response: { id: 'resp_1', object: 'response', status: 'completed', output },
});

describe('responses', () => {
  it('asks for a stream, and sends unknown members as they are', () => {
    const call = make().responses({ ...asked, temperature: 0, stream: false, novel: [1] });
    const { body: sent, ...request } = call.stream('');
    expect(request).toStrictEqual({
      method: 'POST',
      url: 'https://api.example/v1/responses',
      headers: undefined,
      accept: ['text/event-stream'],
    });
    expect(JSON.parse(sent ?? '')).toStrictEqual({ ...asked, temperature: 0, stream: true, novel: [1] });
    expect(call).toMatchObject({ provider: 'acme', model: 'm', resume: { by: 'ask' } });
    const { responses } = make();
    expect(responses(asked).dialect).toBe(responses.dialect);
    expect(call.cancel).toBeUndefined();
  });

  it('keeps the query of its base', () => {
    const { stream } = make('https://x.azure.example/openai/v1?api-version=preview').responses(asked);
    expect(stream('').url).toBe('https://x.azure.example/openai/v1/responses?api-version=preview');
  });

  it.each([
    [{ input: 'q' }, /model: must be a string, unless there is a prompt/],
    [{ model: '', input: 'q' }, /model: must not be empty/],
    [{ model: 'm' }, /input: must be a string or a list of items, unless/],
    [{ model: 'm', input: 5 }, /input: must be a string or a list of items/],
    [{ model: 'm', input: ['q'] }, /input/],
    [{ ...asked, tools: {} }, /tools: must be a list/],
    [{ ...asked, background: 'yes' }, /background: must be true or false/],
    [{ ...asked, max_output_tokens: '9' }, /max_output_tokens: must be a number/],
    ['a prompt', /must be an object/],
    [undefined, /must be an object/],
  ])('refuses a wrong request when called: %j', (request, why) => {
    expect(() => make().responses(request as ResponsesRequest)).toThrow(TypeError);
    expect(() => make().responses(request as ResponsesRequest)).toThrow(why);
  });

  it('takes what names its model or its input elsewhere', () => {
    const ask = make().responses;
    for (const request of [
      { prompt: { id: 'pmpt_1' } },
      { model: 'm', previous_response_id: 'resp_0' },
      { model: 'm', conversation: 'conv_1', input: [] },
      { ...asked, background: null, store: null, include: null, conversation: null },
    ]) {
      expect(() => ask(request)).not.toThrow();
    }
    expect(ask({ prompt: { id: 'pmpt_1' } }).model).toBeUndefined();
  });

  it('names the environment variable of a missing key', () => {
    vi.stubEnv('ACME_KEY', '');
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const { responses } = responsesCalls(provider({ name: 'acme', baseURL: 'https://a.example', env: 'ACME_KEY' }));
    expect(() => responses(asked)).toThrow(/ACME_KEY/);
  });

  it('sends key and body, and reads the stream', async () => {
    const { server, api } = await served();
    const answer = collect(fromCall(api.responses(asked)));
    const { request, end } = await server
      .accept()
      .then((exchange) => ({ request: exchange.request, end: exchange.end.bind(exchange) }));
    expect(request).toMatchObject({
      method: 'POST',
      path: '/v1/responses',
      headers: { authorization: 'Bearer k', accept: 'text/event-stream', 'content-type': 'application/json' },
      body: { ...asked, stream: true },
    });
    await end(numbered([created, text('Be'), text('cause.'), completed()]));
    expect(await answer).toMatchObject({
      text: 'Because.',
      receipt: { outcome: 'complete', finish: { reason: 'stop' } },
    });
  });

  it('tells what the server refused', async () => {
    const { server, api } = await served();
    const answer = collect(fromCall(api.responses(asked))).catch((error: unknown) => error);
    const exchange = await server.accept();
    exchange.respond({ status: 404, headers: { 'content-type': 'application/json' } });
    await exchange.end(JSON.stringify({ error: { code: 'model_not_found', message: 'No such model.' } }));
    const error = await answer;
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({ status: 404, providerCode: 'model_not_found' });
  });

  it('is asked again after a lost connection, and only closes its socket', async () => {
    const { server, api } = await served();
    const answer = collect(
      fromCall(api.responses(asked)).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } })),
    );
    const first = await server.accept();
    await first.write(numbered([created, text('Be')]));
    first.halfClose();
    const second = await server.accept();
    expect(second.request).toMatchObject({ method: 'POST', body: { ...asked } });
    await second.end(numbered([created, text('So.'), completed()]));
    expect(await answer).toMatchObject({ text: 'So.', receipt: { restarts: 1 } });
    expect(server.exchanges).toHaveLength(2);
  });
});

describe('a background response', () => {
  const request = { ...asked, background: true };
  const again = { count: 2, delay: { initialMs: 0 } };

  it('is opened again after its last event, with what was to be included', async () => {
    const { server, api } = await served();
    const include = ['reasoning.encrypted_content', 'file_search_call.results'];
    const answer = collect(fromCall(api.responses({ ...request, include })).pipe(retryOnDisconnect(again)));
    const first = await server.accept();
    await first.write(numbered([created, text('Be')]));
    first.reset();
    const second = await server.accept();
    expect(second.request).toMatchObject({
      method: 'GET',
      path: '/v1/responses/resp_1',
      headers: { authorization: 'Bearer k' },
    });
    expect([...second.request.query]).toStrictEqual([
      ['stream', 'true'],
      ['starting_after', '1'],
      ['include[]', include[0]],
      ['include[]', include[1]],
    ]);
    await second.write(numbered([text('cause')], 2));
    second.reset();
    const third = await server.accept();
    expect(third.request.query.get('starting_after')).toBe('2');
    await third.end(numbered([text('.'), completed([message('Because.')])], 3));
    expect(await answer).toMatchObject({
      text: 'Because.',
      receipt: { attempts: 3, restarts: 0, outcome: 'complete' },
    });
  });

  it('is read as it is stored where its stream cannot be opened again', async () => {
    const { server, api } = await served();
    const answer = collect(fromCall(api.responses(request)).pipe(retryOnDisconnect(again)));
    const first = await server.accept();
    await first.write(numbered([created, text('Be')]));
    first.reset();
    const second = await server.accept();
    second.respond({ status: 404 });
    await second.end('{}');
    const third = await server.accept();
    expect(third.request).toMatchObject({ method: 'GET', path: '/v1/responses/resp_1' });
    expect([...third.request.query]).toStrictEqual([]);
    third.respond({ headers: { 'content-type': 'application/json' } });
    await third.end(
      JSON.stringify({ id: 'resp_1', object: 'response', status: 'completed', output: [message('Because.')] }),
    );
    expect(await answer).toMatchObject({ text: 'Because.', receipt: { restarts: 0, finish: { reason: 'stop' } } });
  });

  it('is cancelled by whoever leaves, also on its first event', async () => {
    const { server, api } = await served();
    const call = api.responses(request);
    expect(call.leaving).toStrictEqual({ stop: 'ended', disconnect: 'continues' });
    const left = lastValueFrom(fromCall(call).pipe(take(1)));
    const exchange = await server.accept();
    await exchange.write(numbered([created]));
    expect(await left).toMatchObject({ type: 'status', id: 'resp_1' });
    const cancel = await server.accept();
    expect(cancel.request).toMatchObject({ method: 'POST', path: '/v1/responses/resp_1/cancel', text: '' });
    await cancel.end('{}');
  });

  it('takes another policy for leaving, and gives none to other responses', () => {
    const api = make(undefined, { leaving: { stop: 'unknown' } });
    expect(api.responses(request).leaving).toStrictEqual({ stop: 'unknown', disconnect: 'continues' });
    expect(api.responses(asked).leaving).toStrictEqual({ stop: 'unknown', disconnect: 'unknown' });
  });

  it('is not opened again once it has failed', async () => {
    const { server, api } = await served();
    const answer = collect(fromCall(api.responses(request)).pipe(retryOnDisconnect(again))).catch(
      (error: unknown) => error,
    );
    const exchange = await server.accept();
    const error = { code: 'server_error', message: 'It broke.' };
    await exchange.end(
      numbered([created, { type: 'response.failed', response: { ...created.response, status: 'failed', error } }]),
    );
    expect(await answer).toBeInstanceOf(ProviderError);
    expect(server.exchanges).toHaveLength(1);
  });
});

describe('attachResponse', () => {
  it('opens the stream, from its beginning or after an event', () => {
    const { attachResponse } = make();
    const call = attachResponse('resp/1', { after: 0 });
    expect(call.stream('')).toMatchObject({
      method: 'GET',
      url: 'https://api.example/v1/responses/resp%2F1?stream=true&starting_after=0',
    });
    expect(attachResponse('resp_1').stream('').url).toBe('https://api.example/v1/responses/resp_1?stream=true');
    expect(call).toMatchObject({ workId: 'resp/1', leaving: { stop: 'continues', disconnect: 'continues' } });
    expect(call.cancel ?? call.submit ?? call.tools).toBeUndefined();
  });

  it.each([
    ['', undefined, TypeError],
    ['..', undefined, TypeError],
    [7, undefined, TypeError],
    ['resp_1', -1, RangeError],
    ['resp_1', 1.5, RangeError],
    ['resp_1', Number.NaN, RangeError],
  ])('refuses %j after %j', (id, after, kind) => {
    expect(() => make().attachResponse(id as string, { after })).toThrow(kind);
  });

  it('goes on after its last event, or after the one it was given, and cancels nothing', async () => {
    const { server, api } = await served();
    const answer = collect(
      fromCall(api.attachResponse('resp_1', { after: 4 })).pipe(
        retryOnDisconnect({ count: 2, delay: { initialMs: 0 } }),
      ),
    );
    (await server.accept()).reset();
    const second = await server.accept();
    expect(second.request.query.get('starting_after')).toBe('4');
    await second.write(numbered([text(' is')], 5));
    second.reset();
    const third = await server.accept();
    expect(third.request.query.get('starting_after')).toBe('5');
    await third.end(numbered([text(' why.'), completed([message('That is why.')])], 6));
    expect(await answer).toMatchObject({ text: ' is why.', receipt: { outcome: 'complete', restarts: 0 } });
    expect(server.exchanges).toHaveLength(3);
  });

  it('is interrupted where it is cut', async () => {
    const { server, api } = await served();
    const answer = collect(fromCall(api.attachResponse('resp_1'))).catch((error: unknown) => error);
    await (await server.accept()).end(numbered([created, text('a')]));
    expect(await answer).toBeInstanceOf(InterruptedError);
  });
});

describe('the results of tools', () => {
  const call = {
    id: 'fc_1',
    type: 'function_call',
    call_id: 'call_1',
    name: 'look',
    arguments: '{}',
    status: 'completed',
  };
  const custom = { id: 'ct_1', type: 'custom_tool_call', call_id: 'call_2', name: 'run', input: 'x' };
  const sealed = { id: 'rs_1', type: 'reasoning', summary: [], encrypted_content: 'gAAA=' };
  const bare = { id: 'rs_2', type: 'reasoning', summary: [] };
  const results: readonly ToolResult[] = [
    { id: 'call_1', name: 'look', text: '7' },
    { id: 'call_2', name: 'run', text: 'no such file', isError: true },
  ];
  const outputs = [
    { type: 'function_call_output', call_id: 'call_1', output: '7' },
    { type: 'custom_tool_call_output', call_id: 'call_2', output: 'no such file' },
  ];
  const turn: ResponsesTurn = [sealed, call, bare, custom];
  const next = (request: ResponsesRequest): unknown => {
    const { tools } = make().responses(request);
    if (tools?.by !== 'ask') throw new Error('results are not given back');
    return body(tools.next(turn, results).stream(''));
  };

  it('are given back behind the conversation and the answer', () => {
    const user = { type: 'message', role: 'user', content: 'Why?' };
    expect(next({ ...asked, tools: [], previous_response_id: 'resp_0' })).toStrictEqual({
      ...asked,
      tools: [],
      previous_response_id: 'resp_0',
      input: [user, ...turn, ...outputs],
      stream: true,
    });
    expect(next({ model: 'm', input: [user] })).toMatchObject({ input: [user, ...turn, ...outputs] });
    expect(next({ prompt: { id: 'p' } })).toMatchObject({ input: [...turn, ...outputs] });
  });

  it('are given back alone to a conversation, which has the rest', () => {
    expect(next({ ...asked, conversation: { id: 'conv_1' } })).toMatchObject({ input: outputs });
  });

  it('are given back without reasoning that was neither stored nor sealed', () => {
    expect(next({ ...asked, store: false })).toMatchObject({
      input: [{ role: 'user' }, sealed, call, custom, ...outputs],
    });
  });

  it('make the model go on, over a real connection', async () => {
    const { server, api } = await served();
    const tools = { look: { run: () => Promise.resolve(7) } };
    const answer = collect(runTools(api.responses({ ...asked, tools: [{ type: 'function', name: 'look' }] }), tools));
    await (
      await server.accept()
    ).end(numbered([created, { type: 'response.output_item.done', output_index: 0, item: call }, completed([call])]));
    const second = await server.accept();
    expect(second.request.body).toMatchObject({
      input: [
        { role: 'user', content: 'Why?' },
        call,
        { type: 'function_call_output', call_id: 'call_1', output: '7' },
      ],
      stream: true,
    });
    await second.end(numbered([created, text('Seven.'), completed()]));
    expect(await answer).toMatchObject({ text: 'Seven.', receipt: { outcome: 'complete' } });
  });
});
