import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { inferencesh } from '../../src/providers/inferencesh.js';

const api = inferencesh({ apiKey: 'inf_k1' });
const streamAccept = ['application/x-ndjson', 'text/event-stream'];
const runRequest = { app: 'ns/app@1', input: { text: 'Hi' }, session: 'new' };

beforeEach(() => {
  delete process.env['INFERENCE_API_KEY'];
});
afterEach(() => {
  delete process.env['INFERENCE_API_KEY'];
});

it('runs an app, then reads the task’s stream, and can cancel it', () => {
  const call = api.run(runRequest);
  expect(call.submit).toEqual({
    method: 'POST',
    url: 'https://api.inference.sh/apps/run',
    headers: undefined,
    body: JSON.stringify(runRequest),
    accept: ['application/json'],
  });
  expect(call.stream('t1')).toEqual({
    method: 'GET',
    url: 'https://api.inference.sh/tasks/t1/stream',
    headers: undefined,
    accept: streamAccept,
  });
  expect(call.cancel?.('t1')).toEqual({
    method: 'POST',
    url: 'https://api.inference.sh/tasks/t1/cancel',
    headers: undefined,
    accept: ['application/json'],
  });
  expect(call).toMatchObject({
    provider: 'inferencesh',
    model: 'ns/app@1',
    leaving: { stop: 'ended', disconnect: 'continues' },
  });
  expect(call.authorize()).toEqual({ authorization: 'Bearer inf_k1' });
});

it('reads a task that exists, and does not cancel it', () => {
  const call = api.attach('t1');
  expect(call).toMatchObject({ workId: 't1', leaving: { stop: 'continues', disconnect: 'continues' } });
  expect(call.submit).toBeUndefined();
  expect(call.cancel).toBeUndefined();
  expect(call.stream('t1').url).toBe('https://api.inference.sh/tasks/t1/stream');
});

describe('an agent', () => {
  const input = { role: 'user', context: [], system_prompt: '', context_size: 0, text: 'Hi' };

  it('begins a chat, then reads it, and can be stopped', () => {
    const call = api.agent({ agent: 'ns/name@1', input: 'Hi' });
    expect(call.submit).toMatchObject({ method: 'POST', url: 'https://api.inference.sh/agents/run' });
    expect(JSON.parse(call.submit?.body ?? '')).toEqual({ agent: 'ns/name@1', input });
    expect(call.workId).toBeUndefined();
    expect(call.stream('ch1')).toMatchObject({
      url: 'https://api.inference.sh/chats/ch1/stream',
      accept: streamAccept,
    });
    expect(call.cancel?.('ch1')).toMatchObject({ method: 'POST', url: 'https://api.inference.sh/chats/ch1/stop' });
    expect(call).toMatchObject({ model: 'ns/name@1', leaving: { stop: 'ended', disconnect: 'continues' } });
  });

  it('goes on with a chat, whose stream is opened before the request', () => {
    const call = api.agent({ agent: 'ns/name@1', input: 'Hi', chat_id: 'ch1' });
    expect(call.workId).toBe('ch1');
    expect(JSON.parse(call.submit?.body ?? '')).toMatchObject({ chat_id: 'ch1' });
  });

  it('may be described in the request, and its input be whole', () => {
    const agent_config = { core_app: { ref: 'a' } };
    const call = api.agent({
      agent_config,
      agent_name: 'mine',
      input: { text: 'Hi', system_prompt: 'Be brief' },
      note: 1,
    });
    expect(call.model).toBe('mine');
    expect(JSON.parse(call.submit?.body ?? '')).toEqual({
      agent_config,
      agent_name: 'mine',
      input: { ...input, system_prompt: 'Be brief' },
      note: 1,
    });
  });

  it.each([
    ['the assistant’s message', { data: { assistant_message: { chat_id: 'ch1' } }, messages: [] }],
    ['the user’s message', { user_message: { chat_id: 'ch1' }, assistant_message: null }],
    ['the answer itself', { success: true, status: 200, data: { chat_id: 'ch1' } }],
  ])('tells its chat in %s', (_, answer) => {
    expect(api.agent({ agent: 'a', input: 'Hi' }).readWorkId?.(answer)).toBe('ch1');
  });

  it('can be joined, and is not stopped then', () => {
    const call = api.attachChat('ch1');
    expect(call).toMatchObject({ workId: 'ch1', leaving: { stop: 'continues', disconnect: 'continues' } });
    expect([call.submit, call.cancel]).toEqual([undefined, undefined]);
  });
});

describe('a tool’s result', () => {
  it.each([
    ['sunny', 'sunny'],
    [{ sky: 'clear' }, '{"sky":"clear"}'],
    [null, 'null'],
  ])('%j is sent as a string', (result, text) => {
    const { request, authorize, provider } = api.submitToolResult('ti/1', result);
    expect(request).toEqual({
      method: 'POST',
      url: 'https://api.inference.sh/tools/ti%2F1',
      headers: undefined,
      body: JSON.stringify({ result: text }),
      accept: ['application/json'],
    });
    expect(authorize()).toEqual({ authorization: 'Bearer inf_k1' });
    expect(provider).toBe('inferencesh');
  });

  it('must be one', () => {
    expect(() => api.submitToolResult('ti1', undefined)).toThrow(TypeError);
    expect(() => api.submitToolResult('', 'x')).toThrow(TypeError);
  });
});

describe('the task’s id', () => {
  it.each([
    ['in the current envelope', { data: { id: 't1', status: 1 }, messages: [] }],
    ['in the first version’s', { success: true, status: 200, data: { id: 't1' } }],
    ['bare', { id: 't1' }],
  ])('is read %s', (_, answer) => {
    expect(api.run(runRequest).readWorkId?.(answer)).toBe('t1');
  });

  it.each([undefined, {}, { data: {} }, { id: 1 }, { id: '..' }])('is missed in %j', (answer) => {
    expect(() => api.run(runRequest).readWorkId?.(answer)).toThrow(ProtocolError);
    expect(() => api.agent({ agent: 'a', input: 'Hi' }).readWorkId?.(answer)).toThrow(ProtocolError);
  });

  it('stays in its segment', () => {
    const id = 'a/b?c';
    expect(api.attach(id).stream(id).url).toBe('https://api.inference.sh/tasks/a%2Fb%3Fc/stream');
    expect(api.run(runRequest).cancel?.(id).url).toBe('https://api.inference.sh/tasks/a%2Fb%3Fc/cancel');
    expect(api.attachChat(id).stream(id).url).toBe('https://api.inference.sh/chats/a%2Fb%3Fc/stream');
    const call = api.agent({ agent: 'a', input: 'Hi' });
    expect(call.cancel?.(id).url).toBe('https://api.inference.sh/chats/a%2Fb%3Fc/stop');
    for (const wrong of ['', '.', '..']) expect(() => api.attach(wrong)).toThrow(TypeError);
  });
});

it('goes where it is told, with the caller’s headers', () => {
  const mine = inferencesh({ apiKey: 'k', baseURL: 'http://127.0.0.1:9/api/', headers: { 'x-api-version': '2' } });
  const call = mine.run(runRequest);
  for (const request of [call.submit, call.stream('t'), call.cancel?.('t')]) {
    expect(request?.url.startsWith('http://127.0.0.1:9/api/')).toBe(true);
    expect(request?.headers).toEqual({ 'x-api-version': '2' });
  }
});

it('takes its key from the environment', () => {
  process.env['INFERENCE_API_KEY'] = 'inf_env';
  expect(inferencesh().attach('t').authorize()).toEqual({ authorization: 'Bearer inf_env' });
});

it('has a dialect on every function', () => {
  expect([api.run, api.attach, api.agent, api.attachChat].map(({ dialect }) => dialect.name)).toEqual([
    'inferencesh-task',
    'inferencesh-task',
    'inferencesh-agent',
    'inferencesh-agent',
  ]);
});

describe('throws TypeError', () => {
  it('for a missing key or a base that is none', () => {
    expect(() => inferencesh()).toThrow(/INFERENCE_API_KEY/);
    expect(() => inferencesh({ apiKey: 'k', baseURL: 'x' })).toThrow(TypeError);
  });

  it.each([{}, { app: '', input: {} }, { app: 7, input: {} }])('for the run %j', (request) => {
    expect(() => api.run(request as never)).toThrow(TypeError);
  });

  it.each([
    {},
    { input: 'Hi' },
    { agent: '', input: 'Hi' },
    { agent: 'a' },
    { agent: 'a', input: { images: [] } },
    { agent: 'a', input: 'Hi', chat_id: '..' },
  ])('for the turn %j', (request) => {
    expect(() => api.agent(request as never)).toThrow(TypeError);
  });
});
