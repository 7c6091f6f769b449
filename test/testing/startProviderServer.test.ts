import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type Fault,
  type ProviderServer,
  type ScriptedAnswer,
  startProviderServer,
  type StartProviderServerOptions,
} from 'millrace/testing';
import { SAMPLE_TEXTS } from '../../src/testing/wire/sampleAnswers.js';

async function start(options: StartProviderServerOptions = {}): Promise<ProviderServer> {
  const server = await startProviderServer({ now: () => Date.UTC(2026, 10, 21, 9), ...options });
  onTestFinished(() => server.close());
  return server;
}

const KEY = { authorization: 'Bearer k', 'x-api-key': 'k' };

function post(url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(url, { method: 'POST', headers: KEY, body: JSON.stringify(body), ...init });
}

function get(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { headers: { ...KEY, ...headers } });
}

async function json(response: Promise<Response>): Promise<Record<string, unknown>> {
  return (await (await response).json()) as Record<string, unknown>;
}

/** The bytes that arrive, and what ended them: `end`, or the code of an error. */
async function read(response: Response): Promise<{ text: string; end: string }> {
  const decoder = new TextDecoder();
  let text = '';
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done) return { text: text + decoder.decode(), end: 'end' };
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    return { text, end: codeOf(error) };
  }
}

function codeOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error && cause.name === 'HTTPParserError') return cause.name; // has no code in the fetch of Node 24
  return typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : String(error);
}

const JOB = { model: 'qwen', messages: [{ role: 'user', content: 'hi' }], stream: true };
const CHAT = { ...JOB, stream_options: { include_usage: true } };
const GENERATE = { service_name: 's', model_name: 'm', input: [{ type: 'text', name: 'input', content: 'hi' }] };

/** Each place that streams in answer to one request, and how to read the text of its frames. */
const DIRECT = [
  { name: 'infernet', path: '/infernet/api/v1/jobs', body: JOB, piece: /"text":("(?:[^"\\]|\\.)*")/g },
  { name: 'infernet', path: '/infernet/v1/chat/completions', body: CHAT, piece: /"content":("(?:[^"\\]|\\.)*")/g },
  { name: 'infron', path: '/infron/v1/chat/completions', body: CHAT, piece: /"content":("(?:[^"\\]|\\.)*")/g },
  { name: 'gateway', path: '/gateway/api/v1/generate/stream', body: GENERATE, piece: /"content":("(?:[^"\\]|\\.)*")/g },
  { name: 'polargrid', path: '/polargrid/v1/chat/completions', body: CHAT, piece: /"content":("(?:[^"\\]|\\.)*")/g },
  {
    name: 'polargrid',
    path: '/polargrid/v1/completions',
    body: { model: 'm', prompt: 'hi', stream: true },
    piece: /"text":("(?:[^"\\]|\\.)*")/g,
  },
] as const;

describe.each(DIRECT)('$path', ({ name, path, body, piece }) => {
  it('answers with the sample of its provider', async () => {
    const server = await start();
    const response = await post(server.url + path, body);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(response.headers.get('x-request-id')).toBe('req_0001');
    const { text, end } = await read(response);
    const said = [...text.matchAll(piece)].map((match) => JSON.parse(match[1] ?? '') as string).join('');
    expect(said).toBe(SAMPLE_TEXTS[name]);
    expect(end).toBe('end');
    const [request] = server.requests;
    expect(request).toMatchObject({ provider: name, method: 'POST', path, body });
    expect(await request?.ended).toBe('complete');
    expect(request?.bytesSent).toBe(Buffer.byteLength(text));
  });

  it('says the same bytes to the same request', async () => {
    const texts = [];
    for (const server of [await start(), await start()]) {
      texts.push((await read(await post(server.url + path, body))).text);
    }
    expect(texts[0]).toBe(texts[1]);
  });

  it('sends exactly the frames that were ordered, and once', async () => {
    const server = await start();
    server.next({ frames: ['data: 1\n\n', ': two\r\n'] });
    expect((await read(await post(server.url + path, body))).text).toBe('data: 1\n\n: two\r\n');
    expect((await read(await post(server.url + path, body))).text.length).toBeGreaterThan(1000);
  });

  it('reports a failure in its own words', async () => {
    const server = await start();
    server.next({ pieces: ['a', 'b'], error: { message: 'mud' }, fault: { kind: 'in-band-error', at: 'end' } });
    const { text, end } = await read(await post(server.url + path, body));
    expect(text).toContain('mud');
    expect(text).toContain('"error"');
    expect(end).toBe('end');
  });

  it('refuses a request without a key, and the key named invalid', async () => {
    const server = await start();
    const url = server.url + path;
    expect(
      (await post(url, body, { headers: { authorization: 'Bearer invalid', 'x-api-key': 'invalid' } })).status,
    ).toBe(401);
    const isOpen = path === '/infernet/v1/chat/completions';
    expect((await post(url, body, { headers: {} })).status).toBe(isOpen ? 200 : 401);
    const open = await start({ auth: 'none' });
    expect((await post(open.url + path, body, { headers: {} })).status).toBe(200);
  });
});

it('gives each provider its own error bodies', async () => {
  const server = await start();
  const bodies = async (status: number): Promise<unknown[]> => {
    const paths = ['/infernet/api/v1/jobs', '/infernet/api/chat', '/infernet/v1/chat/completions'];
    const rest = ['/infron/v1/chat/completions', '/inferencesh/apps/run', '/gateway/api/v1/generate/stream'];
    const answers: unknown[] = [];
    for (const path of [...paths, ...rest, '/polargrid/v1/chat/completions']) {
      const all = { ...CHAT, ...GENERATE, app: 'a' };
      server.next({ status, headers: { 'retry-after': '7' }, error: { message: 'slow down' } });
      const response = await post(server.url + path, all);
      expect(response.status).toBe(status);
      expect(response.headers.get('retry-after')).toBe('7');
      answers.push(await response.json());
    }
    return answers;
  };
  expect(await bodies(429)).toStrictEqual([
    { error: 'rate_limited', error_message: 'slow down' },
    { error: 'slow down' },
    { error: { message: 'slow down', type: 'infernet_error', code: 429 } },
    { error: { code: 429, message: 'slow down', type: 'rate_limited' } },
    { type: 'https://api.inference.sh/errors/rate_limited', title: 'slow down', status: 429, detail: 'slow down' },
    { detail: 'slow down' },
    { error: { message: 'slow down', type: 'rate_limit_error', code: 'rate_limit_exceeded' } },
  ]);
  expect((await bodies(401)).at(-1)).toStrictEqual({ detail: 'Invalid token: slow down' });
});

it('answers 429 with Retry-After where no header is ordered, and problem+json where that is the custom', async () => {
  const server = await start();
  server.next({ status: 429 });
  const response = await post(`${server.baseURLs.inferencesh}/apps/run`, { app: 'a', input: {} });
  expect(response.headers.get('retry-after')).toBe('2');
  expect(response.headers.get('content-type')).toBe('application/problem+json');
});

it('answers with any status, headers and body', async () => {
  const server = await start();
  const url = `${server.baseURLs.infron}/chat/completions`;
  server.next({ status: 204 });
  server.next({ status: 307, headers: { location: 'http://elsewhere.test/' } });
  server.next({ body: '<p>no', headers: { 'content-type': 'text/html' } });
  server.next({ body: { error: 'odd' } });
  expect((await post(url, CHAT)).status).toBe(204);
  const moved = await post(url, CHAT, { redirect: 'manual' });
  expect(moved.headers.get('location')).toBe('http://elsewhere.test/');
  const page = await post(url, CHAT);
  expect([page.status, page.headers.get('content-type'), await page.text()]).toStrictEqual([200, 'text/html', '<p>no']);
  expect(await json(post(url, CHAT))).toStrictEqual({ error: 'odd' });
});

it('tells what is missing, and what does not exist', async () => {
  const server = await start();
  expect(await json(post(`${server.baseURLs.infernet}/jobs`, { model: 'm' }))).toStrictEqual({
    error: 'bad_request',
    error_message: 'The body has no messages',
  });
  expect((await get(`${server.url}/nowhere`)).status).toBe(404);
  for (const path of ['/constructor', '/infron', '/%', '/inferencesh/chats/%/nothing']) {
    expect((await get(server.url + path)).status).toBe(404);
  }
  expect(await json(get(`${server.baseURLs.infernet}/jobs/job_9`))).toStrictEqual({
    error: 'not_found',
    error_message: 'job not found',
  });
});

it('thinks and counts only where the request asks', async () => {
  const server = await start();
  const said = async (path: string, body: object): Promise<string> =>
    (await read(await post(server.url + path, body))).text;
  expect(await said('/infron/v1/chat/completions', JOB)).not.toMatch(/"reasoning":|"usage"/);
  const infron = await said('/infron/v1/chat/completions', {
    ...JOB,
    reasoning: { effort: 'low' },
    usage: { include: true },
  });
  expect(infron).toMatch(/"reasoning":/);
  expect(infron).toMatch(/"usage":.*"cost":/);
  expect(await said('/gateway/api/v1/generate/stream', GENERATE)).not.toContain('"thinking"');
  const thoughtful = { ...GENERATE, parameters: { enable_thinking: true } };
  expect(await said('/gateway/api/v1/generate/stream', thoughtful)).toContain('"name":"thinking"');
  expect(await said('/polargrid/v1/chat/completions', JOB)).not.toMatch(/<thi|"usage"/);
  expect(await said('/polargrid/v1/chat/completions', { ...JOB, enable_thinking: true })).toContain('<thi');
});

it('answers whole where no stream is asked for', async () => {
  const server = await start();
  for (const path of [
    '/infron/v1/chat/completions',
    '/polargrid/v1/chat/completions',
    '/infernet/v1/chat/completions',
  ]) {
    server.next({ text: 'Lyon.' });
    expect(await json(post(server.url + path, { ...CHAT, stream: false }))).toMatchObject({
      choices: [{ message: { content: 'Lyon.' }, finish_reason: 'stop' }],
      usage: {},
    });
  }
  server.next({ text: 'Lyon.' });
  expect(await json(post(`${server.baseURLs.gateway}/generate`, GENERATE))).toMatchObject({
    output: [{ content: 'Lyon.' }],
  });
});

describe('Infernet', () => {
  const create = async (server: ProviderServer): Promise<string> =>
    String((await json(post(`${server.baseURLs.infernet}/jobs`, { ...JOB, stream: false })))['id']);

  it('creates a job, streams it, and stores its result', async () => {
    const server = await start();
    server.next({ text: 'Lyon.', usage: { inputTokens: 11, outputTokens: 3 } });
    const id = await create(server);
    const job = `${server.baseURLs.infernet}/jobs/${id}`;
    expect(id).toBe('job_0001');
    expect(await json(get(job))).toMatchObject({ id, status: 'processing', model: 'qwen' });
    expect((await read(await get(`${job}/stream`))).text).toBe(
      'data: {"text":"Lyon"}\n\ndata: {"text":"."}\n\ndata: [DONE]\n\n',
    );
    expect(await json(get(job))).toMatchObject({
      status: 'completed',
      result: { content: 'Lyon.', usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 } },
    });
  });

  it('runs a lost job again elsewhere: the stored text is another one', async () => {
    const server = await start();
    server.next({
      pieces: ['Par', 'is'],
      fault: { kind: 'in-band-error', at: { frame: 1 } },
      result: { text: 'Lyon.' },
      pollsUntilDone: 0,
    });
    const job = `${server.baseURLs.infernet}/jobs/${await create(server)}`;
    expect((await read(await get(`${job}/stream`))).text).toBe(
      'data: {"text":"Par"}\n\ndata: {"error":"node_disconnected","message":"Node went offline mid-stream"}\n\n',
    );
    expect(await json(get(job))).toMatchObject({ status: 'completed', result: { content: 'Lyon.' } });
  });

  it('fails a job where its result is an error', async () => {
    const server = await start();
    server.next({ result: { error: { code: 'timeout', message: 'too long' } }, pollsUntilDone: 2 });
    const job = `${server.baseURLs.infernet}/jobs/${await create(server)}`;
    const seen = [await json(get(job)), await json(get(job)), await json(get(job))];
    expect(seen.map(({ status }) => status)).toStrictEqual(['processing', 'processing', 'failed']);
    expect(seen[2]).toMatchObject({ error: 'timeout', error_message: 'too long' });
  });

  it('gives the fault of a job to its first stream alone', async () => {
    const server = await start();
    server.next({ pieces: ['a', 'b'], fault: { kind: 'end', at: { frame: 1 } } });
    const url = `${server.baseURLs.infernet}/jobs/${await create(server)}/stream`;
    expect((await read(await get(url))).text).toBe('data: {"text":"a"}\n\n');
    expect((await read(await get(url))).text).toBe('data: {"text":"a"}\n\ndata: {"text":"b"}\n\ndata: [DONE]\n\n');
  });

  it('gives an answer that was ordered for one path to that path', async () => {
    const server = await start();
    server.next({ status: 503 }, { path: /\/stream$/ });
    server.next({ fault: { kind: 'reset', at: 'before-headers' } }, { method: 'POST', path: '/infernet/api/v1/jobs' });
    await expect(create(server)).rejects.toThrow('fetch failed');
    const url = `${server.baseURLs.infernet}/jobs/job_0001/stream`;
    expect(await json(get(url))).toStrictEqual({ error: 'no_capacity', error_message: 'No capacity at the moment' });
    expect((await get(url)).status).toBe(200);
  });

  it('replays a native chat, its failure too', async () => {
    const server = await start();
    server.next({ pieces: ['a', 'b'], fault: { kind: 'in-band-error', at: { frame: 3 } } });
    const { jobId, streamUrl } = await json(
      post(`${server.baseURLs.infernetOrigin}/api/chat`, { messages: [] }, { headers: {} }),
    );
    expect(streamUrl).toBe(`/api/chat/stream/${String(jobId)}`);
    const url = server.baseURLs.infernetOrigin + String(streamUrl);
    const first = (await read(await get(url))).text;
    expect(first).toMatch(/^event: job\n.*\n\nid: 901\nevent: meta\n.*\n\nid: 902\nevent: token\n.*\n\nevent: error\n/);
    expect((await read(await get(url))).text).toBe(first);
    expect(await json(get(`${server.baseURLs.infernetOrigin}/api/chat/${String(jobId)}/status`))).toMatchObject({
      status: 'failed',
      latest_error_message: 'engine error',
    });
    expect((await read(await get(`${server.baseURLs.infernetOrigin}/api/chat/stream/none`))).text).toBe(
      'event: error\ndata: {"message":"job not found"}\n\n',
    );
  });
});

describe('inference.sh', () => {
  const ACCEPT = { accept: 'application/x-ndjson' };
  const lines = (text: string): Record<string, unknown>[] =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const run = async (server: ProviderServer): Promise<string> => {
    const { data } = await json(post(`${server.baseURLs.inferencesh}/apps/run`, { app: 'a', input: {} }));
    return `${server.baseURLs.inferencesh}/tasks/${(data as { id: string }).id}`;
  };

  it('streams a task in the framing that is asked for', async () => {
    const server = await start();
    const ndjson = await get(`${await run(server)}/stream`, ACCEPT);
    expect(ndjson.headers.get('content-type')).toBe('application/x-ndjson');
    expect(lines((await read(ndjson)).text).at(-1)).toMatchObject({
      data: { status: 10, output: { response: SAMPLE_TEXTS.inferencesh } },
    });
    const sse = await get(`${await run(server)}/stream`, { accept: 'text/event-stream' });
    expect(sse.headers.get('content-type')).toBe('text/event-stream');
    expect((await read(sse)).text).toMatch(
      /event: update\ndata: \{"data":\{"status":10,.*\n\nevent: done\ndata: \{\}\n\n$/,
    );
  });

  it('goes on where a lost connection left a task', async () => {
    const server = await start();
    server.next({ pieces: ['a', 'b', 'c'], logs: [], usage: 'none', fault: { kind: 'fin', at: { frame: 11 } } });
    const task = await run(server);
    const lost = await read(await get(`${task}/stream`, ACCEPT));
    expect(lost.end).toBe('UND_ERR_SOCKET');
    expect(lost.text).toMatch(/"response":"b"\},"seq":2\}\}\n$/);
    const [state, ...rest] = lines((await read(await get(`${task}/stream`, ACCEPT))).text);
    expect(state).toMatchObject({ status: 7, output: { response: 'ab' } });
    expect(rest[0]).toMatchObject({ data: { progress: { current: 2 } } });
    expect(rest.at(-1)).toMatchObject({ data: { status: 10, output: { response: 'abc' } } });
    const again = lines((await read(await get(`${task}/stream`, ACCEPT))).text);
    expect(again).toMatchObject([{ status: 10, output: { response: 'abc' } }]);
  });

  it('finishes a task by polling, with another output where one is ordered', async () => {
    const server = await start();
    server.next({ output: { image: 'x' } });
    const task = await run(server);
    expect(await json(get(`${task}/status`))).toMatchObject({ data: { status: 1 } });
    expect(await json(get(task))).toMatchObject({ data: { status: 10, output: { image: 'x' } }, messages: [] });
  });

  it('cancels a task: its stream says so and ends', async () => {
    const server = await start();
    server.next({ pieces: ['a'], fault: { kind: 'pause', at: { frame: 3 }, forMs: 600_000 } });
    const task = await run(server);
    const stream = await get(`${task}/stream`, ACCEPT);
    const reading = read(stream);
    expect(await json(post(`${task}/cancel`, {}))).toMatchObject({ data: { status: 12 } });
    const { text, end } = await reading;
    expect(end).toBe('end');
    expect(lines(text).slice(-2)).toMatchObject([{ data: { status: 8 } }, { data: { status: 12 } }]);
    expect(await json(get(task))).toMatchObject({ data: { status: 12 } });
  });

  it('fails a task in its stream and in its state', async () => {
    const server = await start();
    server.next({ fault: { kind: 'in-band-error', at: { frame: 2 } } });
    const task = await run(server);
    expect(lines((await read(await get(`${task}/stream`, ACCEPT))).text).at(-1)).toMatchObject({
      data: { status: 11, error: 'out of memory' },
    });
    expect(await json(get(task))).toMatchObject({ data: { status: 11, error: 'out of memory' } });
  });

  it('shows a chat as idle until somebody speaks, and runs the tool of the client', async () => {
    const server = await start();
    const base = server.baseURLs.inferencesh;
    const response = await get(`${base}/chats/ch1/stream`, ACCEPT);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    const until = async (mark: string): Promise<void> => {
      while (!text.includes(mark)) {
        const next = await reader?.read();
        if (next?.done !== false) throw new Error(`No ${mark} in ${text}`);
        text += next.value;
      }
    };
    await until('"idle"');
    server.next({ pieces: ['four'], toolCall: { name: 'add', arguments: { a: 2 } } });
    expect(
      await json(post(`${base}/agents/run`, { chat_id: 'ch1', agent: 'a/b@1', input: { text: '2+2' } })),
    ).toMatchObject({
      data: { user_message: { content: [{ text: '2+2' }] }, assistant_message: { id: 'msg_0001', chat_id: 'ch1' } },
    });
    await until('"awaiting_input","active_run"');
    expect(text).toContain('"function":{"name":"add","arguments":{"a":2}}');
    expect(text).not.toContain('four');
    expect((await post(`${base}/tools/tool_0001`, { result: '4' })).status).toBe(200);
    await until('"state":"completed"');
    expect(text).toContain('{"response":"four"}');
    expect(await json(get(`${base}/chats/ch1`))).toMatchObject({
      data: { status: 'idle', chat_messages: [{ content: [{ text: 'four' }] }] },
    });
  });

  it('stops a turn on request', async () => {
    const server = await start();
    const base = server.baseURLs.inferencesh;
    server.next({ fault: { kind: 'pause', at: { frame: 5 }, forMs: 600_000 } });
    const { data } = await json(post(`${base}/agents/run`, { agent: 'a', input: { text: 'hi' } }));
    const chat = `${base}/chats/${(data as { assistant_message: { chat_id: string } }).assistant_message.chat_id}`;
    const reading = get(`${chat}/stream`, ACCEPT).then(read);
    await server.nextRequest();
    await server.nextRequest();
    await post(`${chat}/stop`, {});
    expect(lines((await reading).text).slice(-2)).toMatchObject([
      { data: { state: 'canceled' } },
      { data: { status: 'idle' } },
    ]);
  });
});

describe('faults', () => {
  const PIECES = ['one ', 'twö ', 'three'];
  const play = async (
    fault: Fault,
    more: ScriptedAnswer = {},
  ): Promise<{ text: string; end: string; server: ProviderServer }> => {
    const server = await start();
    server.next({ pieces: PIECES, fault, ...more });
    return { ...(await read(await post(`${server.baseURLs.infernet}/jobs`, JOB))), server };
  };
  const WHOLE = [...PIECES.map((text) => `data: {"text":"${text}"}\n\n`), 'data: [DONE]\n\n'].join('');

  it.each([
    ['reset', 'ECONNRESET'],
    ['fin', 'UND_ERR_SOCKET'],
    ['close', 'end'],
    ['end', 'end'],
    ['bad-chunk', 'HTTPParserError'],
  ] as const)('%s at every byte arrives as %s, after exactly the bytes before it', async (kind, end) => {
    const bytes = Buffer.from(WHOLE);
    for (const byte of [0, 1, 20, 39, 40, 41, bytes.length - 1, bytes.length, 10_000]) {
      const result = await play({ kind, at: { byte } });
      expect(result.end).toBe(end);
      const expected = bytes.subarray(0, byte);
      const decoder = new TextDecoder();
      // What is left of a character that was cut becomes visible only where the body has an end.
      const text = decoder.decode(expected, { stream: true }) + (end === 'end' ? decoder.decode() : '');
      expect(result.text).toBe(text);
    }
  });

  it('happens before a frame, counted from either side', async () => {
    const frames = WHOLE.split(/(?<=\n\n)/);
    for (const [frame, count] of [
      [0, 0],
      [2, 2],
      [-1, 3],
      [-9, 0],
      [9, 4],
    ] as const) {
      expect((await play({ kind: 'end', at: { frame } })).text).toBe(frames.slice(0, count).join(''));
    }
    expect((await play({ kind: 'end', at: 'after-headers' })).text).toBe('');
    expect((await play({ kind: 'end', at: 'end' })).text).toBe(WHOLE);
  });

  it('happens before the headers', async () => {
    for (const [kind, code] of [
      ['reset', 'ECONNRESET'],
      ['fin', 'UND_ERR_SOCKET'],
    ] as const) {
      await expect(play({ kind, at: 'before-headers' }).catch(codeOf)).resolves.toBe(code);
    }
  });

  it('puts a malformed frame into a stream that goes on', async () => {
    const { text, end } = await play({ kind: 'garbage', at: { frame: 1 } });
    expect(text.replace('data: {"this is": not JSON\n\n', '')).toBe(WHOLE);
    expect(text.indexOf('not JSON')).toBe(41);
    expect(end).toBe('end');
  });

  it('stalls until the client has had enough, and sees it leave', async () => {
    const server = await start();
    server.next({ pieces: PIECES, fault: { kind: 'stall', at: { frame: 1 } } });
    const controller = new AbortController();
    const response = await post(`${server.baseURLs.infernet}/jobs`, JOB, { signal: controller.signal });
    const first = await response.body?.getReader().read();
    expect(new TextDecoder().decode(first?.value)).toBe('data: {"text":"one "}\n\n');
    controller.abort();
    const request = await server.nextRequest();
    expect(await request.ended).toBe('client');
    await request.closed;
    expect(request.bytesSent).toBe(23);
  });

  it('pauses and goes on', async () => {
    expect(await play({ kind: 'pause', at: { byte: 12 }, forMs: 1 })).toMatchObject({ text: WHOLE, end: 'end' });
  });

  it('lets the headers wait', async () => {
    expect(await play({ kind: 'slow-headers', delayMs: 1 })).toMatchObject({ text: WHOLE, end: 'end' });
  });

  it('answers with a page in place of a stream', async () => {
    const server = await start();
    server.next({ fault: { kind: 'wrong-type' } });
    const response = await post(`${server.baseURLs.infernet}/jobs`, JOB);
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(await response.text()).toContain('<!doctype html>');
  });

  it('compresses, each frame readable at once, and may cut what is compressed', async () => {
    expect(await play({ kind: 'end', at: 'end' }, { coding: 'gzip' })).toMatchObject({ text: WHOLE, end: 'end' });
    const server = await start();
    server.next({ pieces: PIECES, coding: 'gzip', fault: { kind: 'stall', at: { frame: 1 } } });
    const response = await post(`${server.baseURLs.infernet}/jobs`, JOB);
    expect(response.headers.get('content-encoding')).toBe('gzip');
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('data: {"text":"one "}\n\n');
    await reader?.cancel();
    const cut = await play({ kind: 'end', at: { frame: 2 } }, { coding: 'gzip' });
    expect(cut).toMatchObject({
      text: WHOLE.split(/(?<=\n\n)/)
        .slice(0, 2)
        .join(''),
      end: 'end',
    });
  });

  it('cuts frames into small writes without changing the bytes', async () => {
    const { text, server } = await play({ kind: 'end', at: 'end' }, { chunkBytes: 1 });
    expect(text).toBe(WHOLE);
    server.next({ pieces: ['é'], chunkBytes: 1, headers: { connection: 'close' } });
    const socket = connect(server.port, '127.0.0.1');
    const body = JSON.stringify(JOB);
    socket.write(
      `POST /infernet/api/v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: ${String(body.length)}\r\n\r\n${body}`,
    );
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'end');
    expect(Buffer.concat(chunks).toString('latin1')).toContain('1\r\n\xc3\r\n1\r\n\xa9\r\n');
  });
});

it('serves a recording byte for byte, with faults at its frames', async () => {
  const server = await start();
  const body = Buffer.concat([Buffer.from(': hi\r\n\r\ndata: é\r\n\r\ndata: 2\n\nlast'), Buffer.from([0xff, 0x00])]);
  const recording = { body, contentType: 'text/event-stream;charset=UTF-8' };
  server.next({ recording });
  const response = await post(`${server.baseURLs.infron}/chat/completions`, CHAT);
  expect(response.headers.get('content-type')).toBe('text/event-stream;charset=UTF-8');
  expect(Buffer.from(await response.arrayBuffer())).toStrictEqual(body);
  server.next({ recording, fault: { kind: 'end', at: { frame: 2 } } });
  expect(await (await post(`${server.baseURLs.infron}/chat/completions`, CHAT)).text()).toBe(
    ': hi\r\n\r\ndata: é\r\n\r\n',
  );
});

it('asks the script for what was not ordered, and tells when it throws', async () => {
  const server = await start({
    script: ({ body }) => {
      const { model } = body as { model: string };
      if (model === 'bad') throw new Error('no such model in my script');
      return model === 'own' ? { text: 'mine' } : undefined;
    },
  });
  const ask = (model: string): Promise<Response> => post(`${server.baseURLs.infernet}/jobs`, { ...JOB, model });
  expect(await (await ask('own')).text()).toContain('mine');
  expect(await (await ask('other')).text()).not.toContain('mine');
  const failed = await ask('bad');
  expect([failed.status, await failed.text()]).toStrictEqual([
    500,
    'millrace/testing could not answer: Error: no such model in my script\n',
  ]);
});

it.each([
  [{ text: 'a', pieces: ['a'] }, TypeError, 'text and pieces'],
  [{ fault: { kind: 'explode', at: 'end' } as unknown as Fault }, TypeError, 'fault.kind'],
  [{ fault: { kind: 'close', at: 'before-headers' } as unknown as Fault }, TypeError, 'before-headers'],
  [{ fault: { kind: 'pause', at: 'end', forMs: -1 } }, RangeError, 'forMs'],
  [{ chunkBytes: 0 }, RangeError, 'chunkBytes'],
  [{ pace: { perFrameMs: NaN } }, RangeError, 'perFrameMs'],
  [{ status: 99 }, RangeError, 'status'],
] as const)('refuses the answer %j when it is ordered', async (answer, kind, named) => {
  const server = await start();
  const order = (): void => {
    server.next(answer);
  };
  expect(order).toThrow(kind);
  expect(order).toThrow(named);
});

it('paces: nothing of the next frame is there before its time, and closing stops the clock', async () => {
  const server = await startProviderServer({ pace: { perFrameMs: 600_000, firstFrameMs: 0 } });
  const response = await post(`${server.baseURLs.infernet}/jobs`, JOB);
  const reader = response.body?.getReader();
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('data: {"text":"The"}\n\n');
  expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeGreaterThan(0);
  const request = await server.nextRequest();
  const left = reader?.read().then(String, codeOf);
  await server.close();
  expect(await left).toBe('UND_ERR_SOCKET');
  expect(await request.ended).toBe('client');
  expect(server.connections()).toBe(0);
});

it('goes on at its pace to the end', async () => {
  const server = await start({ pace: { perFrameMs: 1 } });
  server.next({ pieces: ['a', 'b', 'c'] });
  expect((await read(await post(`${server.baseURLs.infernet}/jobs`, JOB))).text).toContain('[DONE]');
});

it('holds its answer back while the client does not read, and stops when it leaves', async () => {
  const server = await start();
  server.next({ pieces: Array.from({ length: 200 }, () => 'x'.repeat(200_000)) });
  const controller = new AbortController();
  await post(`${server.baseURLs.infernet}/jobs`, JOB, { signal: controller.signal });
  const request = await server.nextRequest();
  controller.abort();
  expect(await request.ended).toBe('client');
  expect(request.bytesSent).toBeLessThan(200 * 200_000);
});

it('lets pages of other origins read where that is wanted', async () => {
  const server = await start({ cors: 'any' });
  const preflight = await fetch(`${server.baseURLs.infron}/chat/completions`, {
    method: 'OPTIONS',
    headers: { 'access-control-request-headers': 'authorization' },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization');
  expect(
    (await post(`${server.baseURLs.infron}/chat/completions`, CHAT)).headers.get('access-control-allow-origin'),
  ).toBe('*');
  const closed = await start();
  expect(
    (await post(`${closed.baseURLs.infron}/chat/completions`, CHAT)).headers.get('access-control-allow-origin'),
  ).toBeNull();
});

it('is disposed of like any resource', async () => {
  let url: string;
  {
    await using server = await startProviderServer();
    ({ url } = server);
    expect((await get(`${url}/polargrid/health`)).status).toBe(200);
  }
  await expect(fetch(url)).rejects.toThrow('fetch failed');
});
