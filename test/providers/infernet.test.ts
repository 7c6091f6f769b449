import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { infernet } from '../../src/providers/infernet.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';
import { sse } from '../fixtures/providerFixture.js';

const messages = [{ role: 'user', content: 'Hi' }];
const request = { model: 'qwen2.5:14b', messages, max_tokens: 64, node_id: 'n1' };
const api = infernet({ apiKey: 'k1' });

beforeEach(() => {
  delete process.env['INFERNET_API_KEY'];
});
afterEach(() => {
  delete process.env['INFERNET_API_KEY'];
});

it('submits a job, then reads its stream', () => {
  const call = api.chat(request);
  expect(call.submit).toEqual({
    method: 'POST',
    url: 'https://infernetprotocol.com/api/v1/jobs',
    headers: undefined,
    body: JSON.stringify({ ...request, stream: false }),
    accept: ['application/json'],
  });
  expect(call.stream('job_7b1e')).toEqual({
    method: 'GET',
    url: 'https://infernetprotocol.com/api/v1/jobs/job_7b1e/stream',
    headers: undefined,
    accept: ['text/event-stream'],
  });
  expect(call).toMatchObject({ provider: 'infernet', model: 'qwen2.5:14b' });
  expect(call.workId).toBeUndefined();
  expect(call.authorize()).toEqual({ authorization: 'Bearer k1' });
  expect(call.readWorkId?.({ id: 'job_7b1e', status: 'pending' })).toBe('job_7b1e');
});

it('cannot cancel, and says that work and bill go on', () => {
  for (const call of [
    api.chat(request),
    api.direct(request),
    api.attach('j'),
    api.native({ messages }),
    api.openai(request),
  ]) {
    expect(call.cancel).toBeUndefined();
    expect(call.leaving).toEqual({ stop: 'continues', disconnect: 'continues' });
  }
});

it('asks for job and stream in one request, which has no id to join again', () => {
  const call = api.direct(request);
  expect(call.submit).toBeUndefined();
  expect(call.stream('')).toEqual({
    method: 'POST',
    url: 'https://infernetprotocol.com/api/v1/jobs',
    headers: undefined,
    body: JSON.stringify({ ...request, stream: true }),
    accept: ['text/event-stream'],
  });
});

it('reads the stream of a job that exists', () => {
  const call = api.attach('job_7b1e');
  expect(call).toMatchObject({ workId: 'job_7b1e' });
  expect(call.submit).toBeUndefined();
  expect(call.stream('job_7b1e').url).toBe('https://infernetprotocol.com/api/v1/jobs/job_7b1e/stream');
});

it('asks the native chat in its own words, then reads the stream it names', () => {
  const call = api.native({ messages, modelName: 'qwen2.5:7b', maxTokens: 64 });
  expect(call.submit).toMatchObject({
    url: 'https://infernetprotocol.com/api/chat',
    body: JSON.stringify({ messages, modelName: 'qwen2.5:7b', maxTokens: 64 }),
  });
  expect(call.model).toBe('qwen2.5:7b');
  expect(call.stream('0f-1a')).toMatchObject({
    method: 'GET',
    url: 'https://infernetprotocol.com/api/chat/stream/0f-1a',
  });
  expect(api.attachNative('0f-1a')).toMatchObject({ workId: '0f-1a' });
  expect(api.attachNative('0f-1a').submit).toBeUndefined();
});

it.each([
  ['the end of streamUrl', { jobId: 'a', streamUrl: '/api/chat/stream/b' }, 'b'],
  ['the job id without one', { jobId: 'a' }, 'a'],
  ['the job id where streamUrl is odd', { jobId: 'a', streamUrl: 'https://evil.test/' }, 'a'],
  ['no more than a segment of streamUrl', { jobId: 'a', streamUrl: 'https://evil.test/api/chat/stream/b/c?d' }, 'b'],
])('takes for the native chat’s id %s', (_, answer, id) => {
  expect(api.native({ messages }).readWorkId?.(answer)).toBe(id);
});

it('sends the native chat no key but one that is given', () => {
  process.env['INFERNET_API_KEY'] = 'from-env';
  expect(infernet().native({ messages }).authorize()).toEqual({});
  expect(api.native({ messages }).authorize()).toEqual({ authorization: 'Bearer k1' });
  expect(infernet().chat(request).authorize()).toEqual({ authorization: 'Bearer from-env' });
});

it('asks the OpenAI dialect, whose [DONE] after an error proves nothing', () => {
  const call = api.openai(request);
  expect(call.stream('')).toMatchObject({
    method: 'POST',
    url: 'https://infernetprotocol.com/v1/chat/completions',
    body: JSON.stringify({ ...request, stream: true }),
  });
  const piece = 'data: {"choices":[{"index":0,"delta":{"content":"Ly"}}]}';
  const end = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}';
  const whole = decodeEvents(call.dialect, wireEvents('sse', sse(piece, end, 'data: [DONE]')));
  expect([whole.outcome, textOf(whole.events)]).toEqual(['complete', 'Ly']);
  const error = 'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","error":{"message":"stream timeout"}}';
  const failed = decodeEvents(call.dialect, wireEvents('sse', sse(piece, error, 'data: [DONE]')));
  expect(failed.error).toMatchObject({ name: 'ProviderError', providerMessage: 'stream timeout' });
});

it('goes where it is told', () => {
  const mine = infernet({ apiKey: 'k', baseURL: 'http://127.0.0.1:9/x/api/v1/', headers: { 'x-team': 't' } });
  expect(mine.chat(request).submit).toMatchObject({
    url: 'http://127.0.0.1:9/x/api/v1/jobs',
    headers: { 'x-team': 't' },
  });
  expect(mine.openai(request).stream('').url).toBe('http://127.0.0.1:9/v1/chat/completions');
  const other = infernet({ apiKey: 'k', originURL: 'https://chat.test/base' });
  expect(other.native({ messages }).submit?.url).toBe('https://chat.test/base/api/chat');
  expect(other.native({ messages }).stream('a').url).toBe('https://chat.test/base/api/chat/stream/a');
});

it('takes the caller’s word for what leaving means', () => {
  expect(infernet({ apiKey: 'k', leaving: { stop: 'unknown' } }).chat(request).leaving).toEqual({
    stop: 'unknown',
    disconnect: 'continues',
  });
});

it('has a dialect on every function', () => {
  expect(
    [api.chat, api.direct, api.attach, api.native, api.attachNative, api.openai].map((fn) => fn.dialect.name),
  ).toEqual([
    'infernet-jobs',
    'infernet-jobs',
    'infernet-jobs',
    'infernet-native',
    'infernet-native',
    'infernet-openai',
  ]);
  expect(api.chat(request).dialect).toBe(api.chat.dialect);
});

describe('ids', () => {
  it.each([
    ['a/b?c', 'a%2Fb%3Fc'],
    ['../jobs', '..%2Fjobs'],
    ['a#b', 'a%23b'],
    ['ä', '%C3%A4'],
  ])('such as %s stay in their segment', (id, segment) => {
    expect(api.attach(id).stream(id).url).toBe(`https://infernetprotocol.com/api/v1/jobs/${segment}/stream`);
    expect(api.attachNative(id).stream(id).url).toBe(`https://infernetprotocol.com/api/chat/stream/${segment}`);
  });

  it.each(['', '.', '..', '\ud800'])('such as %j are refused', (id) => {
    expect(() => api.attach(id)).toThrow(TypeError);
    expect(() => api.chat(request).readWorkId?.({ id })).toThrow(ProtocolError);
  });

  it.each([undefined, null, 'x', {}, { id: 7 }])('are missed in the answer %j', (answer) => {
    expect(() => api.chat(request).readWorkId?.(answer)).toThrow(ProtocolError);
    expect(() => api.native({ messages }).readWorkId?.(answer)).toThrow(ProtocolError);
  });
});

describe('throws TypeError', () => {
  it.each([
    {},
    { model: '', messages },
    { model: 'm', messages: [] },
    { model: 'm', messages: [{ role: 'user', content: [] }] },
  ])('for the request %j', (wrong) => {
    for (const ask of [api.chat, api.direct, api.openai] as ((request: never) => unknown)[]) {
      expect(() => ask(wrong as never)).toThrow(TypeError);
    }
  });

  it('for a native request without messages', () => {
    expect(() => api.native({ messages: [] })).toThrow(TypeError);
  });

  it('for a base that is none', () => {
    expect(() => infernet({ apiKey: 'k', baseURL: 'infernet' })).toThrow(TypeError);
    expect(() => infernet({ apiKey: 'k', originURL: 'ftp://x' })).toThrow(TypeError);
  });

  it('for a missing key, once it is needed', () => {
    expect(() => infernet().chat(request)).toThrow(/INFERNET_API_KEY/);
    expect(() => infernet({ apiKey: ' ' })).toThrow(TypeError);
  });
});
