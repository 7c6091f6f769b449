import diagnostics from 'node:diagnostics_channel';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createGate } from '../../src/operators/createGate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import type { Call } from '../../src/protocol/call.js';
import { dialect } from '../../src/protocol/dialect.js';
import { openai } from '../../src/providers/openai.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall, type FromCallOptions } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import type { Exchange } from '../../src/testing/exchange.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { Receipt } from '../../src/types.js';
import { cli } from '../cli/harness.js';
import { keysIn, secretKey } from '../support/keys.js';
import { SECRET_PROMPT, secretAsks } from '../support/secrets.js';

/** Printed with everything that is printed by default, however deep. */
const print = (value: unknown): string =>
  inspect(value, { depth: Infinity, maxArrayLength: null, breakLength: Infinity });
/** What is not enumerable too: whoever prints so asks for it, and gets what was received and what was asked; no key even then. */
const printAll = (value: unknown): string => inspect(value, { depth: 12, showHidden: true, maxArrayLength: null });

/** Every way in which something is turned into a text by the way: printed, logged, sent as JSON. */
function texts(value: unknown): readonly string[] {
  const all = [print(value), print([{ value }]), json(value), json({ value })];
  if (typeof value === 'string') all.push(value);
  for (let error = value, i = 0; error instanceof Error && i < 10; error = error.cause, i += 1) {
    all.push(error.message, error.stack ?? '', String(error), error.name, json({ ...error }));
  }
  return all;
}

function json(value: unknown): string {
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return ''; // a circle has no JSON
  }
}

/** Fails where a value shows the key, a part of the prompt or a URL's query. */
function expectDiscreet(...values: readonly unknown[]): void {
  for (const value of values) {
    for (const shown of texts(value)) {
      expect(keysIn(shown)).toStrictEqual([]);
      expect(shown).not.toContain('prompt-secret');
      expect(shown).not.toMatch(/[?&](key|v)=/);
    }
    expect(keysIn(printAll(value))).toStrictEqual([]);
  }
}

interface Fault {
  readonly name: string;
  /** Says something of which an error is to be made. */
  readonly answer: (exchange: Exchange, key: string) => void | Promise<void>;
  readonly options?: FromCallOptions;
}

const said = (key: string): string => `No such key: ${key} (${encodeURIComponent(key)}); you asked: ${SECRET_PROMPT}.`;
const JSON_TYPE = { 'content-type': 'application/json' };

/** One body for every framing. */
async function stream(exchange: Exchange, frames: readonly string[]): Promise<void> {
  const { accept = '' } = exchange.request.headers;
  const isLines = accept.includes('ndjson') && !accept.includes('event-stream');
  exchange.respond({ headers: { 'content-type': isLines ? 'application/x-ndjson' : 'text/event-stream' } });
  await exchange.end(frames.map((frame) => (isLines ? `${frame}\n` : `data: ${frame}\n\n`)).join(''));
}

/** Failures inside a stream, as the dialects have them; each provider is told each, its own and the others'. */
const inBand: Readonly<Record<string, (key: string) => unknown>> = {
  'OpenAI chat': (key) => ({ error: { message: said(key), type: 'invalid_request_error', code: key, param: key } }),
  Anthropic: (key) => ({ type: 'error', error: { type: 'authentication_error', message: said(key) }, request_id: key }),
  Responses: (key) => ({
    type: 'response.failed',
    sequence_number: 1,
    response: { id: 'r', status: 'failed', output: [], error: { code: 'server_error', message: said(key) } },
  }),
  'Responses, bare': (key) => ({ type: 'error', code: key, message: said(key), sequence_number: 1 }),
  Gemini: (key) => ({ error: { code: 400, message: said(key), status: 'INVALID_ARGUMENT', details: [{ key }] } }),
  Ollama: (key) => ({ error: said(key) }),
  'a task': (key) => ({ id: 't', status: 10, status_text: 'failed', error: said(key), logs: [] }),
  'a job': (key) => ({ type: 'error', error: said(key), message: said(key) }),
  'AG-UI': (key) => ({ type: 'RUN_ERROR', message: said(key), code: key }),
  'AI SDK': (key) => ({ type: 'error', errorText: said(key) }),
  Gateway: (key) => ({ status: 'error', error: said(key), message: said(key), type: 'error' }),
  Cohere: (key) => ({ type: 'message-end', delta: { finish_reason: 'ERROR', error: said(key) } }),
  'wrong types': (key) => ({
    choices: said(key),
    type: { key },
    candidates: key,
    message: [key],
    delta: 5,
    status: key,
  }),
};

const faults: readonly Fault[] = [
  ...[400, 401, 429, 500].map((status) => ({
    name: `status ${String(status)}, the key quoted in body and headers`,
    answer: async (exchange: Exchange, key: string) => {
      exchange.respond({ status, headers: { ...JSON_TYPE, 'x-request-id': key, 'www-authenticate': `Bearer ${key}` } });
      await exchange.end(
        JSON.stringify({
          error: { message: said(key), code: key, type: said(key) },
          message: said(key),
          detail: said(key),
        }),
      );
    },
  })),
  {
    name: 'status 403, in plain text',
    answer: async (exchange, key) => {
      exchange.respond({ status: 403, headers: { 'content-type': 'text/plain', 'request-id': key } });
      await exchange.end(said(key));
    },
  },
  {
    name: 'a page',
    answer: async (exchange, key) => {
      exchange.respond({ headers: { 'content-type': `text/html; a=${key}` } });
      await exchange.end(`<p>${key}`);
    },
  },
  {
    name: 'a content type that quotes',
    answer: async (exchange, key) => {
      exchange.respond({ headers: { 'content-type': `application/${key}+json`, 'content-encoding': 'identity' } });
      await exchange.end('{}');
    },
  },
  {
    name: 'a content coding that quotes',
    answer: async (exchange, key) => {
      exchange.respond({ headers: { 'content-encoding': key } });
      await exchange.end('x');
    },
  },
  ...[301, 307, 308].map((status) => ({
    name: `status ${String(status)} to a place that quotes`,
    answer: async (exchange: Exchange, key: string) => {
      exchange.respond({ status, headers: { location: `http://127.0.0.1:9/${key}?v=${key}` } });
      await exchange.end();
    },
  })),
  {
    name: 'status 302 to a scheme that quotes',
    answer: async (exchange, key) => {
      exchange.respond({ status: 303, headers: { location: `${key}:x` } });
      await exchange.end();
    },
  },
  ...Object.entries(inBand).map(([name, frame]) => ({
    name: `a failure in the stream, as of ${name}`,
    answer: (exchange: Exchange, key: string) => stream(exchange, [JSON.stringify(frame(key))]),
  })),
  {
    name: 'JSON that is broken',
    answer: (exchange, key) => stream(exchange, [`{"text":"${key} ${SECRET_PROMPT}`, key]),
  },
  {
    name: 'a line that is too long',
    answer: (exchange, key) => stream(exchange, [said(key)]),
    options: { maxLineBytes: 8 },
  },
  {
    name: 'HTTP that is broken',
    answer: async (exchange, key) => {
      exchange.respond();
      await exchange.raw(`zz${said(key)}\r\n`);
    },
  },
  {
    name: 'a status line that is none',
    answer: async (exchange, key) => {
      await exchange.raw(`HTTP/1.1 ${said(key)}\r\n\r\n`);
    },
  },
  {
    name: 'a body that is cut',
    answer: async (exchange, key) => {
      await exchange.write(`data: ${said(key)}`);
      exchange.reset();
    },
  },
  {
    name: 'nothing before the connection is lost',
    answer: (exchange) => {
      exchange.reset();
    },
  },
  { name: 'nothing in time', answer: () => undefined, options: { timeout: { attemptMs: 1 } } },
  {
    name: 'nothing but a retry',
    answer: (exchange) => {
      exchange.reset();
    },
    options: { retry: { count: 1, delay: { initialMs: 0 } } },
  },
];

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

/** What is known of a call before it is asked. */
function parts(call: Call): readonly unknown[] {
  const { origin } = new URL(call.submit?.url ?? 'http://127.0.0.1:1');
  const id = call.provider === 'replicate' ? JSON.stringify(['work1', `${origin}/work1?key=1`]) : 'work1';
  const seen: unknown[] = [call, call.dialect, call.stream(id), call.submit, call.cancel?.(id), call.resume];
  seen.push(call.resume?.reopen?.(id, undefined), call.resume?.stored?.request(id));
  return seen;
}

/** What a subscription to a call tells besides its events: its error and its receipts. */
async function run(call: Call, options: FromCallOptions = {}): Promise<readonly unknown[]> {
  const seen: unknown[] = [];
  await new Promise<void>((resolve) => {
    fromCall(call, options)
      .pipe(tapReceipt((receipt) => seen.push(receipt)))
      .subscribe({
        error: (error: unknown) => {
          seen.push(error, (error as { receipt?: unknown }).receipt);
          resolve();
        },
        complete: resolve,
      });
  });
  return seen;
}

describe.each(secretAsks)('$name', ({ ask }) => {
  it.each(faults)('shows neither key nor prompt after $name', async ({ answer, options }) => {
    const server = await serve();
    const key = secretKey();
    // Every request of the call gets the same answer, until the server is closed.
    const answering = (async (): Promise<never> => {
      for (;;) await answer(await server.accept(), key);
    })();
    answering.catch(() => undefined); // closed, as it should be
    const call = ask({ apiKey: key, baseURL: `${server.url}/v1?v=${key}`, headers: { 'x-mine': key } });
    expectDiscreet(...(await run(call, options)));
    // A time limit may have run out before anything was sent.
    if (options?.timeout === undefined) expect(server.exchanges.length).toBeGreaterThan(0);
  });

  it('shows neither before it is asked, where nobody listens, is stopped, or asked wrongly', async () => {
    const key = secretKey();
    const call = ask({ apiKey: key, baseURL: `http://127.0.0.1:1/v1?v=${key}`, headers: { 'x-mine': key } });
    const events = fromCall(call);
    const subscription = events.subscribe({ error: () => undefined });
    expectDiscreet(...parts(call), events, subscription);
    subscription.unsubscribe();
    expectDiscreet(...(await run(call)), subscription);
    const controller = new AbortController();
    controller.abort();
    expectDiscreet(...(await run(call, { signal: controller.signal })));
    expectDiscreet(
      ...(await run(call, {
        // As clients of `fetch` fail: with everything that they were given.
        fetch: (url, init) => Promise.reject(Object.assign(new Error(`cannot reach ${url}`), { url, init })),
      })),
    );
    expectDiscreet(
      ...(await run({
        ...call,
        authorize: () => Promise.reject(new Error('the keys are away')),
      })),
    );
  });
});

describe('wrong arguments', () => {
  const key = secretKey();

  it.each<[string, () => unknown]>([
    ['a URL', () => fromHTTP(`http://[${key}]/?key=${key}`)],
    ['a URL with credentials', () => fromHTTP(`http://user:${key}@a.test/`)],
    ['a header', () => fromHTTP('http://a.test', { headers: { authorization: `${key}\n` } })],
    ['a key', () => openai({ apiKey: `${key}\n` }).chat({ model: 'm', messages: [] })],
    ['a base', () => openai({ apiKey: key, baseURL: `https://u:${key}@a.test` })],
    ['a request', () => openai({ apiKey: key }).chat({ model: 'm', messages: SECRET_PROMPT as never })],
    ['a message', () => openai({ apiKey: key }).chat({ model: 'm', messages: [SECRET_PROMPT as never] })],
    ['an input', () => openai({ apiKey: key }).responses({ model: 5 as never, input: SECRET_PROMPT })],
  ])('%s is not quoted', (_, make) => {
    let thrown: unknown;
    try {
      make();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(TypeError);
    expectDiscreet(thrown);
  });
});

describe('what is public', () => {
  it('shows no key where it holds one: providers, calls, dialects, gates, operators, observables, subscriptions', async () => {
    const key = secretKey();
    const options = { apiKey: key, baseURL: `http://127.0.0.1:1/v1?v=${key}`, headers: { 'x-mine': key } };
    const api = openai(options);
    const gate = createGate({ concurrency: 1 });
    const call = api.chat({ model: 'm', messages: [{ role: 'user', content: SECRET_PROMPT }] });
    const headers = { authorization: `Bearer ${key}` };
    const bytes = fromHTTP(`http://127.0.0.1:1/?key=${key}`, { method: 'POST', headers, body: SECRET_PROMPT });
    const events = bytes.pipe(parseSSE(), decode(chatDialect()), gate('a'), retryOnDisconnect());
    expectDiscreet(
      api,
      api.chat,
      api.chat.dialect,
      gate,
      call,
      bytes,
      events,
      parseSSE(),
      chatDialect(),
      api.responses,
    );
    const subscription = events.subscribe({ error: () => undefined });
    expectDiscreet(subscription, gate);
    subscription.unsubscribe();
    expectDiscreet(subscription);
    await Promise.resolve();
  });

  it('holds its secrets all the same: only the printed form is without', () => {
    const key = secretKey();
    const call = openai({ apiKey: key, headers: { 'x-mine': key } }).chat({
      model: 'm',
      messages: [{ role: 'user', content: SECRET_PROMPT }],
    });
    const request = call.stream('');
    expect(request.body).toContain(SECRET_PROMPT);
    expect(request.headers).toStrictEqual({ 'x-mine': key });
    expect({ ...request }).toStrictEqual(request);
    expect(print(request)).toMatch(/POST.*https:\/\/api\.openai\.com\/v1\/chat\/completions.*x-mine.*bodyChars/s);
    expect(print(call)).toMatch(/openai.*'m'/s);
  });
});

describe('a pipe made by hand', () => {
  it.each(['echo in the stream', 'refusal'])('shows neither key nor prompt after an %s', async (kind) => {
    const server = await serve();
    const key = secretKey();
    const body = JSON.stringify({ messages: [{ role: 'user', content: SECRET_PROMPT }] });
    const failed = firstValueFrom(
      fromHTTP(`${server.url}/?key=${key}x`, { method: 'POST', headers: { 'x-api-key': key }, body }).pipe(
        parseSSE(),
        decode(chatDialect()),
      ),
    ).catch((error: unknown) => error);
    const exchange = await server.accept();
    if (kind === 'refusal') exchange.respond({ status: 400, headers: JSON_TYPE });
    const failure = JSON.stringify({ error: { message: said(key), code: key } });
    await exchange.end(kind === 'refusal' ? failure : `data: ${failure}\n\n`);
    const error = await failed;
    expect(error).toMatchObject({ providerMessage: expect.stringContaining('[prompt]') as string });
    expectDiscreet(error);
  });
});

describe('a warning in the words of a server', () => {
  it('shows no key, in the stream and in the receipt', async () => {
    const server = await serve();
    const key = secretKey();
    const gossip = dialect<unknown>({
      name: 'gossip',
      frame: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
      decode: (frame, decoding) => {
        decoding.emit({ type: 'warning', code: 'provider-warning', message: said(key), detail: { frame, key } });
        decoding.prove('stop');
        decoding.done();
      },
    });
    const receipts: Receipt[] = [];
    const events = lastValueFrom(
      fromHTTP(server.url, { headers: { 'x-api-key': key } }).pipe(
        parseSSE(),
        decode(gossip),
        tapReceipt((receipt) => receipts.push(receipt)),
        toArray(),
      ),
    );
    await (await server.accept()).end(`data: ${JSON.stringify({ key })}\n\n`);
    const warning = (await events).find(({ type }) => type === 'warning');
    expect(warning).toMatchObject({ message: expect.stringContaining('No such key: [redacted]') as string });
    expect(receipts[0]?.warnings).toStrictEqual([warning]);
    expect(keysIn(print(receipts) + JSON.stringify(await events))).toStrictEqual([]);
  });
});

describe('a file that cannot be written', () => {
  it('is an error that shows neither', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-discreet-'));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    const key = secretKey();
    const call = openai({ apiKey: key, baseURL: `http://127.0.0.1:1/v1?v=${key}` }).chat({
      model: 'm',
      messages: [{ role: 'user', content: SECRET_PROMPT }],
    });
    for (const path of [join(folder, 'none/a.md'), folder, join(folder, 'a.md')]) {
      const error = await firstValueFrom(fromCall(call).pipe(toFile(path))).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(Error);
      expectDiscreet(error, (error as { receipt?: unknown }).receipt);
    }
  });
});

describe('what the library tells besides: warnings and diagnostics', () => {
  it('shows neither', async () => {
    const told: unknown[] = [];
    const listen = (message: unknown): void => {
      told.push(message);
    };
    const names = ['attempt', 'pause', 'resume', 'restart', 'end'].map((name) => `millrace:${name}`);
    for (const name of names) diagnostics.subscribe(name, listen);
    process.on('warning', listen);
    onTestFinished(() => {
      for (const name of names) diagnostics.unsubscribe(name, listen);
      process.off('warning', listen);
    });
    for (const { ask } of secretAsks) {
      const key = secretKey();
      const call = ask({ apiKey: key, baseURL: `http://127.0.0.1:1/v1?v=${key}`, headers: { 'x-mine': key } });
      await run(call, { retry: { count: 1, delay: { initialMs: 0 } } });
    }
    await new Promise((resolve) => setImmediate(resolve));
    expectDiscreet(...told);
  });
});

describe('millrace ask', () => {
  const args = (...more: string[]): string[] => ['ask', '-p', 'openai', '-m', 'm', ...more];

  it.each([
    ['plain', []],
    ['as JSON, with its receipt', ['--json', '--receipt']],
    ['with its receipt', ['--receipt']],
  ])('%s prints no key, whatever the server says', async (_, flags) => {
    for (const debug of ['0', '1']) {
      for (const fault of faults.filter(({ options }) => options === undefined)) {
        const server = await serve();
        const key = secretKey();
        const env = { OPENAI_API_KEY: key, MILLRACE_DEBUG: debug };
        const { stdout, stderr, exitCode } = cli(
          args(...flags, '--base-url', `${server.url}/v1?v=${key}`, SECRET_PROMPT),
          { env },
        );
        await fault.answer(await server.accept(), key);
        expect(await exitCode).not.toBe(0);
        // What the stream says is printed as it is said: `raw` events are the server's own words, asked for by --json.
        const printed = stdout.text.replace(/^\{"type":"raw".*\n/gm, '') + stderr.text;
        expect(stdout.text + stderr.text).not.toBe('');
        expect(keysIn(printed)).toStrictEqual([]);
        expect(printed).not.toContain('prompt-secret');
        await server.close();
      }
    }
  });
});
