import type { Observable } from 'rxjs';
import { defer, firstValueFrom, from, lastValueFrom, map, of, Subscription, switchMap, toArray } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AbortError, HTTPError, InterruptedError, LimitError, ProtocolError, ProviderError } from '../../src/errors.js';
import { toTokens } from '../../src/operators/toTokens.js';
import type { Call } from '../../src/protocol/call.js';
import { gateway, inferencesh, infernet, polargrid } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall, type FromCallOptions } from '../../src/sources/fromCall.js';
import { fakeCall, type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { variants } from '../support/variants.js';

let server: ProviderServer;
beforeEach(async () => {
  server = await startProviderServer();
});
afterEach(async () => {
  // A server that closes before it has answered is a cancellation that failed.
  await Promise.all(server.requests.filter(({ path }) => path.endsWith('/cancel')).map(({ ended }) => ended));
  await server.close();
});

const apiKey = 'key-of-the-tests';
const messages = [{ role: 'user', content: 'Hello' }];
const chat = (): Call => polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages });
const run = (): Call => inferencesh({ apiKey, baseURL: server.baseURLs.inferencesh }).run({ app: 'a/b', input: {} });

interface Watched {
  readonly events: StreamEvent[];
  readonly ended: Promise<unknown>;
  readonly subscription: Subscription;
  /** Resolves at the first event that passes. */
  readonly saw: (isIt: (event: StreamEvent) => boolean) => Promise<StreamEvent>;
}

function watch(source: Observable<StreamEvent>): Watched {
  const events: StreamEvent[] = [];
  const waiting: (() => void)[] = [];
  let subscription = new Subscription();
  const ended: Promise<unknown> = new Promise((resolve) => {
    subscription = source.subscribe({
      next: (event) => {
        events.push(event);
        for (const look of waiting) look();
      },
      error: resolve,
      complete: () => {
        resolve('complete');
      },
    });
  });
  const saw = (isIt: (event: StreamEvent) => boolean): Promise<StreamEvent> =>
    new Promise((resolve) => {
      const look = (): void => {
        const event = events.find(isIt);
        if (event !== undefined) resolve(event);
      };
      waiting.push(look);
      look();
    });
  return { events, ended, subscription, saw };
}

const isText = ({ type }: StreamEvent): boolean => type === 'text';

describe('a call', () => {
  it.each(variants)('gives the whole answer and its finish last: $name', async ({ ask, stream, text }) => {
    server.next({ frames: stream.frames });
    const events = await lastValueFrom(fromCall(ask(server.baseURLs)).pipe(toArray()));
    expect(
      events
        .filter(isText)
        .map((event) => ('text' in event ? event.text : ''))
        .join(''),
    ).toBe(text);
    expect(events.map(({ type }) => type).indexOf('finish')).toBe(events.length - 1);
  });

  it('asks nothing before it is subscribed to, and once for each subscription', async () => {
    const source = fromCall(chat()).pipe(toTokens());
    expect(server.requests).toHaveLength(0);
    await Promise.all([lastValueFrom(source), lastValueFrom(source)]);
    expect(server.requests).toHaveLength(2);
  });

  it('asks for its key at each attempt', async () => {
    const keys = ['first-key-1234', 'second-key-123'];
    const api = polargrid({ apiKey: () => Promise.resolve(keys.shift() ?? ''), baseURL: server.baseURLs.polargrid });
    const source = fromCall(api.chat({ model: 'm', messages }));
    await lastValueFrom(source);
    await lastValueFrom(source);
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer first-key-1234',
      'Bearer second-key-123',
    ]);
  });

  it('may be made late, for each subscription anew', async () => {
    const make = vi.fn(() => Promise.resolve(chat()));
    const source = fromCall(make);
    expect(make).not.toHaveBeenCalled();
    await lastValueFrom(source);
    await lastValueFrom(source);
    expect(make).toHaveBeenCalledTimes(2);
    expect(server.requests).toHaveLength(2);
  });

  it('that cannot be made is an error, and a reader who leaves meanwhile hears nothing', async () => {
    const failing = fromCall(() => Promise.reject(new Error('no token')));
    await expect(lastValueFrom(failing)).rejects.toThrow('no token');
    const throwing = fromCall(() => {
      throw new TypeError('bad request');
    });
    await expect(lastValueFrom(throwing)).rejects.toThrow('bad request');
    let give = (_: Call): void => undefined;
    const { events, subscription } = watch(fromCall(() => new Promise<Call>((resolve) => (give = resolve))));
    subscription.unsubscribe();
    give(chat());
    await Promise.resolve();
    expect(events).toEqual([]);
    expect(server.requests).toHaveLength(0);
  });

  it('with an asynchronous token in front is judged like any other', async () => {
    server.next({ pieces: ['one ', 'two'], fault: { kind: 'reset', at: { frame: 2 } } });
    const source = defer(() => from(Promise.resolve('token'))).pipe(switchMap(() => fromCall(chat())));
    const error: unknown = await collect(source).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({
      received: { text: 'one ' },
      receipt: { outcome: 'interrupted', provider: 'polargrid' },
    });
  });

  it.each(['application/x-ndjson', 'text/event-stream'])('is parsed by the answer’s type, %s', async (type) => {
    const call = run();
    const answer = await collect({ ...call, stream: (id) => ({ ...call.stream(id), accept: [type] }) });
    expect(answer.text.length).toBeGreaterThan(100);
  });

  it('is parsed as its dialect says where the type does not tell', async () => {
    const body =
      '{"id":"t1","status":7}\n{"data":{"status":10,"output":{"response":"Hi"}},"fields":["status","output"]}\n';
    server.next({ recording: { body: Buffer.from(body), contentType: 'application/octet-stream' } });
    expect(await collect(run())).toMatchObject({ text: 'Hi', output: { response: 'Hi' } });
  });

  it('answered with JSON instead of a stream says what to use', async () => {
    const call = gateway({ apiKey, baseURL: server.baseURLs.gateway }).chat({
      service_name: 's',
      model_name: 'm',
      input: 'x',
    });
    server.next({ body: { output: [] }, headers: { 'content-type': 'application/json' } });
    const error: unknown = await collect(call).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(ProtocolError);
    expect((error as Error).message).toContain('gateway.generate()');
    expect((error as Error).message).toContain('application/json');
  });

  it.each(['text/json', 'text/plain', 'text/event-stream'])(
    'answered with JSON under the type %s says so, and only where it is whole and all',
    async (contentType) => {
      const api = gateway({ apiKey, baseURL: server.baseURLs.gateway });
      const answered = (body: string): Promise<unknown> => {
        server.next({ recording: { body: Buffer.from(body), contentType } });
        const call = api.chat({ service_name: 's', model_name: 'm', input: 'x' });
        return collect(call).catch((failure: unknown) => failure);
      };
      for (const body of ['{"output":[]}', ' \n[\n  {"a": 1}\n]\n']) {
        const error = await answered(body);
        expect(error).toBeInstanceOf(ProtocolError);
        expect(error).toMatchObject({ context: { contentType: 'application/json' } });
        expect((error as Error).message).toMatch(/JSON document.*gateway\.generate\(\)/);
      }
      for (const body of ['{"output":[', '', '{"a":1}\n\ndata: {"x":1}\n\n']) {
        expect(await answered(body)).toBeInstanceOf(InterruptedError);
      }
    },
  );

  it('that does not stream gives the same events', async () => {
    const api = gateway({ apiKey, baseURL: server.baseURLs.gateway });
    server.next({ text: 'A whole answer.' });
    const answer = await collect(api.generate({ service_name: 's', model_name: 'gemini_image', input: 'x' }));
    expect(answer).toMatchObject({ text: 'A whole answer.', usage: { provenance: 'reported' } });
  });

  it('obeys limits, with what was received before', async () => {
    server.next({ frames: [`data: {"text":"Hi"}\n\n`, `data: {"text":"${'x'.repeat(2000)}"}\n\n`] });
    const api = infernet({ apiKey, baseURL: server.baseURLs.infernet });
    const error: unknown = await collect(api.chat({ model: 'm', messages }), { maxLineBytes: 1000 }).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(LimitError);
    expect(error).toMatchObject({ received: { text: 'Hi' } });
  });

  it('skips malformed frames when told to, and counts them', async () => {
    server.next({ pieces: ['one ', 'two'], fault: { kind: 'garbage', at: { frame: 2 } } });
    const { text, receipt } = await collect(chat(), { onMalformed: 'skip' });
    expect(text).toBe('one two');
    expect(receipt.warnings).toMatchObject([{ code: 'frame-skipped', detail: { skipped: 1 } }]);
    server.next({ pieces: ['one ', 'two'], fault: { kind: 'garbage', at: { frame: 2 } } });
    await expect(collect(chat())).rejects.toBeInstanceOf(ProtocolError);
  });
});

describe('a failure', () => {
  it.each(variants)('in the stream is a ProviderError with the text before it: $name', async ({ ask }) => {
    server.next({
      pieces: ['one ', 'two ', 'three'],
      thinking: '',
      fault: { kind: 'in-band-error', at: { frame: -2 } },
      error: { code: 'overloaded', message: 'too much' },
    });
    const error: unknown = await collect(ask(server.baseURLs)).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(ProviderError);
    expect((error as Error).message).toContain('too much');
    const { received, receipt } = error as ProviderError;
    expect('one two three'.startsWith(received?.text ?? '-')).toBe(true);
    expect(receipt).toMatchObject({ outcome: 'failed' });
  });

  it.each(variants)('before the stream is an HTTPError with the API’s words, and no key: $name', async ({ ask }) => {
    server.next({ status: 429, headers: { 'retry-after': '7' }, error: { message: 'slow down' } });
    const error: unknown = await collect(ask(server.baseURLs)).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({ status: 429, retryAfterMs: 7000, providerMessage: 'slow down' });
    expect(error).toMatchObject({ requestId: expect.any(String) as unknown, receipt: { billing: 'ended' } });
    expect(JSON.stringify(error)).not.toContain(apiKey);
  });
});

describe('unsubscribing', () => {
  it.each(variants)('before the answer closes the connection and nothing is heard: $name', async ({ ask, name }) => {
    server.next({ fault: { kind: 'stall', at: 'before-headers' } }, undefined);
    const { events, subscription, ended } = watch(fromCall(ask(server.baseURLs), { onUnsubscribe: 'leave' }));
    void ended;
    const first = await server.nextRequest();
    // Where work is submitted first, it is the second request whose answer is the stream.
    const isSubmit =
      /\/jobs$|\/apps\/run|\/agents\/run|infernet\/api\/chat$/.test(first.path) && !name.includes('one request');
    const request = isSubmit ? await server.nextRequest() : first;
    const before = events.length;
    subscription.unsubscribe();
    expect(await request.ended).toBe('client');
    await request.closed;
    expect(events).toHaveLength(before);
  });

  it.each(variants)('in the middle closes the connection, and nothing is heard any more: $name', async ({ ask }) => {
    server.next({ pieces: ['one ', 'two ', 'three'], thinking: '', fault: { kind: 'stall', at: { frame: -2 } } });
    const { events, subscription } = watch(fromCall(ask(server.baseURLs), { onCancelError: () => undefined }));
    await vi.waitFor(() => {
      expect(server.requests.some(({ bytesSent }) => bytesSent > 0)).toBe(true);
    });
    await vi.waitFor(() => {
      expect(events.length).toBeGreaterThan(0);
    });
    const open = server.requests.at(-1);
    const before = events.length;
    subscription.unsubscribe();
    expect(await open?.ended).toBe('client');
    expect(events).toHaveLength(before);
  });

  it('between two events of one chunk stops at once', async () => {
    const texts: string[] = [];
    await new Promise<void>((resolve) => {
      const subscription = fromCall(chat())
        .pipe(toTokens())
        .subscribe((text) => {
          texts.push(text);
          subscription.unsubscribe();
          resolve();
        });
    });
    expect(texts).toHaveLength(1);
  });

  it('before a late key lets nothing be sent', async () => {
    let give = (_: string): void => undefined;
    const api = polargrid({
      apiKey: () => new Promise((resolve) => (give = resolve)),
      baseURL: server.baseURLs.polargrid,
    });
    const { subscription } = watch(fromCall(api.chat({ model: 'm', messages })));
    subscription.unsubscribe();
    give('late-key-12345');
    await Promise.resolve();
    await lastValueFrom(fromCall(chat()));
    expect(server.requests).toHaveLength(1);
  });
});

describe('cancelling', () => {
  const half = { pieces: ['one ', 'two'], fault: { kind: 'stall', at: { frame: -1 } } } as const;
  const cancels = (): string[] =>
    server.requests.filter(({ path }) => path.endsWith('/cancel')).map(({ path }) => path);

  async function leave(call: Call, options?: FromCallOptions): Promise<void> {
    server.next(half);
    const { saw, subscription } = watch(fromCall(call, options));
    await saw(isText);
    subscription.unsubscribe();
    await vi.waitFor(() => {
      expect(server.requests.find(({ path }) => path.endsWith('/stream'))).toBeDefined();
    });
    await server.requests.find(({ path }) => path.endsWith('/stream'))?.ended;
  }

  it('is part of a stop, for work that the call created', async () => {
    await leave(run());
    await vi.waitFor(() => {
      expect(cancels()).toHaveLength(1);
    });
    expect(server.requests.at(-1)).toMatchObject({ method: 'POST' });
    expect(server.requests.at(-1)?.headers.authorization).toBe(`Bearer ${apiKey}`);
  });

  it('is not part of leaving', async () => {
    await leave(run(), { onUnsubscribe: 'leave' });
    await collect(run());
    expect(cancels()).toEqual([]);
  });

  it('is never done to work that somebody else created', async () => {
    const api = inferencesh({ apiKey, baseURL: server.baseURLs.inferencesh });
    server.next(half);
    const owner = watch(fromCall(run()));
    await owner.saw(isText);
    const taskId = /tasks\/([^/]+)\/stream/.exec(server.requests.at(-1)?.path ?? '')?.[1] ?? '';
    const guest = watch(fromCall(api.attach(taskId)));
    await guest.saw(({ type }) => type === 'status');
    guest.subscription.unsubscribe();
    await collect(run());
    expect(cancels()).toEqual([]);
    owner.subscription.unsubscribe();
    await vi.waitFor(() => {
      expect(cancels()).toHaveLength(1);
    });
  });

  it('is not done after a normal end or a failure', async () => {
    await collect(run());
    server.next({ fault: { kind: 'reset', at: { frame: 3 } } });
    await collect(run()).catch(() => undefined);
    server.next({ fault: { kind: 'in-band-error', at: { frame: 3 } } });
    await collect(run()).catch(() => undefined);
    expect(cancels()).toEqual([]);
  });

  it('waits for the answer that tells what to cancel', async () => {
    server.next({ fault: { kind: 'slow-headers', delayMs: 20 } }, { path: '/inferencesh/apps/run' });
    const { subscription, events } = watch(fromCall(run()));
    await server.nextRequest();
    subscription.unsubscribe();
    await vi.waitFor(() => {
      expect(cancels()).toHaveLength(1);
    });
    expect(server.requests.some(({ path }) => path.endsWith('/stream'))).toBe(false);
    expect(events).toEqual([]);
  });

  it('never submits what was stopped before it was sent', async () => {
    const { subscription } = watch(fromCall(run()));
    subscription.unsubscribe();
    await collect(chat());
    expect(server.requests).toHaveLength(1);
  });

  it('that fails is told', async () => {
    const failed = new Promise((resolve) => {
      server.next({ status: 500 }, { path: '/inferencesh/tasks/task_0001/cancel' });
      server.next(half);
      const { saw, subscription } = watch(fromCall(run(), { onCancelError: resolve }));
      void saw(isText).then(() => {
        const [, id] = /tasks\/([^/]+)\/stream/.exec(server.requests.at(-1)?.path ?? '') ?? [];
        server.next({ status: 500 }, { path: `/inferencesh/tasks/${id ?? ''}/cancel` });
        subscription.unsubscribe();
      });
    });
    expect(await failed).toMatchObject({ name: 'HTTPError', status: 500 });
  });

  it('that hangs is given up after its time', async () => {
    const failed = new Promise((resolve) => {
      server.next(half);
      const { saw, subscription } = watch(fromCall(run(), { cancelTimeoutMs: 1, onCancelError: resolve }));
      void saw(isText).then(() => {
        const [, id] = /tasks\/([^/]+)\/stream/.exec(server.requests.at(-1)?.path ?? '') ?? [];
        server.next(
          { fault: { kind: 'stall', at: 'before-headers' } },
          { path: `/inferencesh/tasks/${id ?? ''}/cancel` },
        );
        subscription.unsubscribe();
      });
    });
    expect(String(await failed)).toContain('1 ms');
  });
});

describe('a signal', () => {
  it('stops, cancels, and errors with what was received', async () => {
    server.next({ pieces: ['one ', 'two'], fault: { kind: 'stall', at: { frame: -1 } } });
    const controller = new AbortController();
    const { ended, saw } = watch(fromCall(run(), { signal: controller.signal }));
    await saw(isText);
    controller.abort();
    const error = await ended;
    expect(error).toBeInstanceOf(AbortError);
    expect((error as AbortError).received?.text).toMatch(/^one /);
    await vi.waitFor(() => {
      expect(server.requests.some(({ path }) => path.endsWith('/cancel'))).toBe(true);
    });
  });

  it('is heard while the call is still being made', async () => {
    const controller = new AbortController();
    const { ended } = watch(fromCall(() => new Promise<Call>(() => undefined), { signal: controller.signal }));
    controller.abort(new Error('enough'));
    expect(await ended).toMatchObject({ name: 'AbortError', cause: new Error('enough'), received: { text: '' } });
  });

  it('that was aborted before lets nothing be asked', async () => {
    await expect(collect(chat(), { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(AbortError);
    expect(server.requests).toHaveLength(0);
  });
});

it('uses connections again, since the end of a proven answer is read', async () => {
  for (let i = 0; i < 10; i += 1) await collect(chat());
  // The subscriber hears of the end at once, so the next call may begin while the last bytes are being read.
  expect(server.connections()).toBeLessThanOrEqual(2);
});

it('closes a server that stays open after the proven end', async () => {
  server.next({ pieces: ['Hi'], fault: { kind: 'stall', at: 'end' } });
  const answer = await collect(chat());
  expect(answer.text).toBe('Hi');
  expect(await server.requests[0]?.ended).toBe('client');
});

it('chat and fake calls are one to a pipe', async () => {
  const events: StreamEvent[] = [
    { type: 'text', text: 'Hi', index: 0, name: 'output' },
    { type: 'finish', reason: 'stop' },
  ];
  expect(await lastValueFrom(fromCall(fakeCall(events)).pipe(toArray()))).toEqual(events);
  expect(
    await firstValueFrom(
      fromCall(fakeCall(of(...events))).pipe(
        toTokens(),
        map((text) => text),
      ),
    ),
  ).toBe('Hi');
});

it.each([{ onUnsubscribe: 'maybe' }, { onMalformed: 'maybe' }])('refuses %o at the call', (options) => {
  expect(() => fromCall(chat(), options as unknown as FromCallOptions)).toThrow(TypeError);
});
