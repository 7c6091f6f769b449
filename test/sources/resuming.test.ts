import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  asyncScheduler,
  lastValueFrom,
  type Observable,
  type SchedulerAction,
  type SchedulerLike,
  Subject,
  tap,
  toArray,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { HTTPError, InterruptedError, NoResumePlanError, ProviderError } from '../../src/errors.js';
import { createGate } from '../../src/operators/createGate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { retryOnDisconnect, type RetryOnDisconnectOptions } from '../../src/operators/retryOnDisconnect.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { dialect } from '../../src/protocol/dialect.js';
import type { Call } from '../../src/protocol/call.js';
import { gateway, inferencesh, infernet, infron, polargrid } from '../../src/providers/index.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { type ProviderServer, startProviderServer, startServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import * as z from 'zod/mini';

const apiKey = 'key-of-the-tests';
const messages = [{ role: 'user', content: 'Where?' }];
const pieces = ['The mill ', 'wheel ', 'turns ', 'slowly.'];
const whole = pieces.join('');
const fast: RetryOnDisconnectOptions = { delay: { initialMs: 0 } };

let server: ProviderServer;
beforeEach(async () => {
  server = await startProviderServer();
});
afterEach(async () => {
  await server.close();
});

interface Heard {
  readonly events: readonly StreamEvent[];
  readonly text: string;
  readonly restarts: number;
  readonly error?: unknown;
  readonly receipt: Receipt | undefined;
}

/** What a reader of events has in the end. */
async function listen(stream: Observable<StreamEvent>): Promise<Heard> {
  const events: StreamEvent[] = [];
  let receipt: Receipt | undefined;
  const error = await new Promise<unknown>((resolve) => {
    stream
      .pipe(
        tapReceipt((told) => {
          receipt = told;
        }),
      )
      .subscribe({
        next: (event) => events.push(event),
        error: resolve,
        complete: () => {
          resolve(undefined);
        },
      });
  });
  let text = '';
  for (const event of events) {
    if (event.type === 'restart') text = '';
    else if (event.type === 'text') text += event.text;
  }
  const restarts = events.filter(({ type }) => type === 'restart').length;
  return { events, text, restarts, receipt, ...(error === undefined ? undefined : { error }) };
}

/** A clock on which pauses of seconds are over at once. */
function impatient(): { readonly scheduler: SchedulerLike; readonly pauses: () => readonly number[] } {
  const log: number[] = [];
  const isPause = (delay: number): boolean => delay >= 2_000 && delay < 5_000;
  const schedule: SchedulerLike['schedule'] = function <T>(
    work: (this: SchedulerAction<T>, state: T) => void,
    delay = 0,
    state?: T,
  ) {
    if (isPause(delay)) log.push(delay);
    return asyncScheduler.schedule(work as (state?: T) => void, isPause(delay) ? 0 : delay, state); // one of its overloads
  };
  const scheduler: SchedulerLike = { now: () => asyncScheduler.now(), schedule };
  return { scheduler, pauses: () => log };
}

function paths(): readonly string[] {
  return server.requests.map(({ method, path }) => `${method} ${path.replace(/_\d+|[\da-f]{8}-.*?(?=\/|$)/g, '_N')}`);
}

describe('Infernet jobs', () => {
  const api = () => infernet({ apiKey, baseURL: server.baseURLs.infernet });
  const call = () => api().chat({ model: 'm', messages });

  it('polls the job that lost its node, tells its state, and opens its stream again, without a second job', async () => {
    server.next({ pieces, pollsUntilDone: 1, fault: { kind: 'in-band-error', at: { frame: 2 } } });
    const { text, restarts, events } = await listen(fromCall(call()).pipe(retryOnDisconnect(fast)));
    expect({ text, restarts }).toEqual({ text: whole, restarts: 0 });
    expect(paths()).toEqual([
      'POST /infernet/api/v1/jobs',
      'GET /infernet/api/v1/jobs/job_N/stream',
      'GET /infernet/api/v1/jobs/job_N',
      'GET /infernet/api/v1/jobs/job_N/stream',
      'GET /infernet/api/v1/jobs/job_N',
    ]);
    expect(events.flatMap((event) => (event.type === 'status' ? event.status : []))).toContain('processing');
  });

  it('waits between two readings of a job that is not over', async () => {
    server.next({ pieces, pollsUntilDone: 3, fault: { kind: 'in-band-error', at: { frame: 2 } } });
    // The stream that is opened again ends, and the job is still at work.
    const stream = { method: 'GET', path: /\/stream$/ } as const;
    const onRetry = (): void => {
      server.next({ frames: ['data: {"text":"The mill "}\n\n', 'data: [DONE]\n\n'] }, stream);
    };
    const { scheduler, pauses } = impatient();
    const { text, restarts } = await listen(
      fromCall(call(), { scheduler }).pipe(retryOnDisconnect({ ...fast, onRetry })),
    );
    expect({ text, restarts }).toEqual({ text: whole, restarts: 0 });
    expect(pauses()).toEqual([2_000, 2_000]);
  });

  it('believes the stored result over the stream that was opened again', async () => {
    const other = 'Another node says otherwise.';
    server.next({ pieces, result: { text: other }, fault: { kind: 'in-band-error', at: { frame: 2 } } });
    const { text, restarts } = await listen(fromCall(call()).pipe(retryOnDisconnect(fast)));
    expect({ text, restarts }).toEqual({ text: other, restarts: 1 });
  });

  it('takes the missing end from the stored result where the job is over', async () => {
    server.next({ pieces, pollsUntilDone: 0, fault: { kind: 'reset', at: { frame: 1 } } });
    const { text, restarts, receipt } = await listen(fromCall(call()).pipe(retryOnDisconnect(fast)));
    expect({ text, restarts }).toEqual({ text: whole, restarts: 0 });
    expect(paths()).toHaveLength(3);
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2, usage: { provenance: 'reported' } });
  });

  it('does not submit another job where the job failed', async () => {
    const result = { error: { code: 'timeout', message: 'five minutes are over' } };
    server.next({ pieces, pollsUntilDone: 0, result, fault: { kind: 'reset', at: { frame: 1 } } });
    const { error, text } = await listen(fromCall(call()).pipe(retryOnDisconnect(fast)));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ providerCode: 'timeout', received: { text: pieces[0] } });
    expect(text).toBe(pieces[0]);
    expect(paths().filter((path) => path.startsWith('POST'))).toHaveLength(1);
  });

  it('submits again where the request was refused for the moment', async () => {
    server.next({ status: 503, error: { code: 'no_capacity' } });
    server.next({ pieces });
    expect(await listen(fromCall(call()).pipe(retryOnDisconnect(fast)))).toMatchObject({ text: whole, restarts: 0 });
  });

  it('goes on with work that somebody else created', async () => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 2 } } });
    const response = await fetch(`${server.baseURLs.infernet}/jobs`, {
      method: 'POST',
      headers: { authorization: 'Bearer any' },
      body: JSON.stringify({ model: 'm', messages }),
    });
    const { id } = (await response.json()) as { id: string };
    expect(await listen(fromCall(api().attach(id)).pipe(retryOnDisconnect(fast)))).toMatchObject({ text: whole });
    expect(paths().filter((path) => path.startsWith('POST'))).toHaveLength(1);
  });
});

describe('Infernet’s native chat', () => {
  it('matches the replay with what was delivered, cut again and again', async () => {
    const call = infernet({ apiKey, originURL: server.baseURLs.infernetOrigin }).native({ messages });
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 3 } } });
    const stream = { method: 'GET', path: /\/api\/chat\/stream\// } as const;
    for (const frame of [1, 4, 5]) server.next({ pieces, fault: { kind: 'fin', at: { frame } } }, stream);
    const { text, restarts, events } = await listen(fromCall(call).pipe(retryOnDisconnect({ ...fast, count: 5 })));
    expect({ text, restarts }).toEqual({ text: whole, restarts: 0 });
    expect(events.filter(({ type }) => type === 'text')).toHaveLength(pieces.length);
  });
});

describe('inference.sh', () => {
  const api = () => inferencesh({ apiKey, baseURL: server.baseURLs.inferencesh });
  const task = () => api().run({ app: 'a/b', input: {} });
  const stream = { method: 'GET', path: /\/tasks\/[^/]+\/stream$/ } as const;

  it('polls a task whose stream cannot be opened again to its end', async () => {
    server.next({ pieces, pollsUntilDone: 0, fault: { kind: 'reset', at: { frame: -4 } } });
    let opened = 0;
    const onResponse = (): void => {
      opened += 1;
      server.next({ status: 404 }, stream);
    };
    const { text, restarts } = await listen(fromCall(task(), { onResponse }).pipe(retryOnDisconnect(fast)));
    expect({ text, restarts }).toEqual({ text: whole, restarts: 0 });
    expect(opened).toBeGreaterThan(0);
    expect(paths().slice(-2)).toEqual(['GET /inferencesh/tasks/task_N/stream', 'GET /inferencesh/tasks/task_N']);
  });

  it('cancels the task when it gives up, once, and the receipt says that the bill has ended', async () => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 12 } } });
    for (let i = 0; i < 2; i += 1) server.next({ fault: { kind: 'reset', at: 'after-headers' } }, stream);
    const { error, receipt } = await listen(fromCall(task()).pipe(retryOnDisconnect({ ...fast, count: 1 })));
    expect(error).toBeInstanceOf(InterruptedError);
    expect(receipt).toMatchObject({ outcome: 'interrupted', billing: 'ended', attempts: 2 });
    await cancelled();
  });

  it('leaves the task running when it gives up, where that was asked for', async () => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 12 } } });
    for (let i = 0; i < 2; i += 1) server.next({ fault: { kind: 'reset', at: 'after-headers' } }, stream);
    const retry = retryOnDisconnect<StreamEvent>({ ...fast, count: 1, onGiveUp: 'leave' });
    const { receipt } = await listen(fromCall(task()).pipe(retry));
    expect(receipt).toMatchObject({ outcome: 'interrupted', billing: 'continues' });
    expect(paths().filter((path) => path.endsWith('/cancel'))).toEqual([]);
  });

  it('cancels the task when its reader leaves in a pause', async () => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 12 } } });
    const receipts: Receipt[] = [];
    await new Promise<void>((resolve) => {
      const onRetry = (): void => {
        queueMicrotask(() => {
          subscription.unsubscribe();
          resolve();
        });
      };
      const subscription = fromCall(task())
        .pipe(
          retryOnDisconnect({ delay: { initialMs: 60_000 }, random: () => 1, onRetry }),
          tapReceipt((receipt) => receipts.push(receipt)),
        )
        .subscribe();
    });
    await cancelled();
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe', billing: 'ended' }]);
  });

  it('cancels the task when its reader leaves while a retry waits at a gate', async () => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 12 } } });
    const gate = createGate({ concurrency: 1 });
    const blocking = new Subject<never>();
    const blocked = blocking.pipe(gate('other'));
    await new Promise<void>((resolve) => {
      const onRetry = (): void => {
        blocked.subscribe(); // takes the place that the failed attempt left
        setImmediate(() => {
          subscription.unsubscribe();
          resolve();
        });
      };
      const subscription = fromCall(task())
        .pipe(gate('task'), retryOnDisconnect({ ...fast, onRetry }))
        .subscribe();
    });
    await cancelled();
  });

  it('cancels nothing when it asks again', async () => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 12 } } });
    expect(await listen(fromCall(task()).pipe(retryOnDisconnect(fast)))).toMatchObject({ text: whole, restarts: 0 });
    expect(paths().filter((path) => path.endsWith('/cancel'))).toEqual([]);
  });

  it.each([
    ['was seen at work', ['busy', 'idle']],
    ['was never seen at work', ['idle']],
  ])('finds a turn that ended while nobody was connected, and %s, in the chat as it is stored', async (_, states) => {
    const chat = { method: 'GET', path: /\/chats\/[^/]+\/stream$/ } as const;
    server.next({ pieces, pollsUntilDone: 1, fault: { kind: 'reset', at: 'after-headers' } });
    const call = api().agent({ agent: 'a/b@1', input: 'Where?' });
    const frames = states.map(
      (status) => `${JSON.stringify({ event: 'chats', data: { id: 'c', status }, fields: ['status'] })}\n`,
    );
    const onRetry = (): void => {
      server.next({ frames, fault: { kind: 'stall', at: 'end' } }, chat);
    };
    const { scheduler, pauses } = impatient();
    const { text, restarts } = await listen(
      fromCall(call, { scheduler }).pipe(retryOnDisconnect({ ...fast, onRetry })),
    );
    expect({ text, restarts }).toEqual({ text: whole, restarts: 0 });
    expect(paths().slice(-2)).toEqual(Array(2).fill(expect.stringMatching(/^GET \/inferencesh\/chats\/[^/]+$/)));
    expect(pauses()).toEqual([2_000]);
  });

  async function cancelled(): Promise<void> {
    for (;;) {
      const { path } = await server.nextRequest();
      if (path.endsWith('/cancel')) break;
    }
    await server.requests.at(-1)?.ended; // a server that closes before is a cancellation that failed
    expect(paths().filter((path) => path.endsWith('/cancel'))).toHaveLength(1);
  }
});

describe('an API that keeps nothing', () => {
  const calls: readonly (readonly [string, () => Call])[] = [
    ['PolarGrid', () => polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages })],
    ['Infron', () => infron({ apiKey, baseURL: server.baseURLs.infron }).chat({ model: 'm', messages })],
    [
      'Infernet’s chat completions',
      () => infernet({ apiKey, originURL: server.baseURLs.infernetOrigin }).openai({ model: 'm', messages }),
    ],
  ];

  it.each(calls)('is given the text so far where that was asked for: %s', async (_, make) => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 4 } } });
    server.next({ pieces: ['slowly', ' and well.'] });
    let said = '';
    let before = '';
    const onRetry = (): void => {
      before = said;
    };
    const { text, events } = await listen(
      fromCall(make()).pipe(
        tap((event) => {
          if (event.type === 'text') said += event.text;
        }),
        retryOnDisconnect({ ...fast, onUnresumable: 'continue', onRetry }),
      ),
    );
    expect(before).not.toBe('');
    expect(text).toBe(`${before}slowly and well.`);
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'answer-continued' }));
    expect(server.requests[1]?.body).toMatchObject({ messages: [...messages, { role: 'assistant', content: before }] });
  });

  it('begins anew where the text cannot be sent back', async () => {
    const call = gateway({ apiKey, baseURL: server.baseURLs.gateway }).chat({
      service_name: 's',
      model_name: 'm',
      input: 'Where?',
    });
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 2 } } });
    server.next({ pieces });
    const { text, restarts } = await listen(
      fromCall(call).pipe(retryOnDisconnect({ ...fast, onUnresumable: 'continue' })),
    );
    expect({ text, restarts }).toEqual({ text: whole, restarts: 1 });
  });

  it('is asked once where an answer must not begin anew', async () => {
    server.next({ pieces, fault: { kind: 'reset', at: { frame: 3 } } });
    const call = polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages });
    const { text, error } = await listen(fromCall(call).pipe(retryOnDisconnect({ ...fast, onUnresumable: 'error' })));
    expect(error).toBeInstanceOf(InterruptedError);
    expect(whole.startsWith(text)).toBe(true);
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    ['seconds', '2', 2_000],
    ['a date in the past', 'Sat, 01 Jan 2000 00:00:00 GMT', 0],
  ])('is asked again when it says so, in %s', async (_, value, delayMs) => {
    server.next({ status: 429, headers: { 'retry-after': value } });
    server.next({ pieces });
    const waits: number[] = [];
    const call = polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages });
    const stop = retryOnDisconnect<StreamEvent>({
      ...fast,
      maxElapsedMs: 1_000,
      onRetry: (retry) => waits.push(retry.delayMs),
    });
    const { error } = await listen(fromCall(call).pipe(stop));
    // A pause that would be longer than the time there is is not begun.
    if (delayMs > 1_000) expect(error).toMatchObject({ status: 429, retryAfterMs: delayMs });
    else expect({ error, waits }).toEqual({ error: undefined, waits: [delayMs] });
    if (delayMs > 1_000) expect(error).toBeInstanceOf(HTTPError);
  });
});

describe('a server that honours Last-Event-ID', () => {
  const numbered = dialect({
    name: 'numbered',
    frame: z.looseObject({ text: z.optional(z.string()), over: z.optional(z.boolean()) }),
    start: () => undefined,
    decode: ({ text, over }, stream) => {
      if (text) stream.emit({ type: 'text', text, index: 0, name: 'output' });
      if (over) {
        stream.prove('stop');
        stream.done();
      }
    },
  });

  it('is told the last event, as bytes, and goes on after it', async () => {
    const http = await startServer();
    onTestFinished(() => http.close());
    const call: Call = {
      provider: 'numbered',
      dialect: numbered,
      authorize: () => ({}),
      stream: () => ({ method: 'POST', url: http.url, body: '{}', accept: ['text/event-stream'] }),
      leaving: { stop: 'ended', disconnect: 'continues' },
      resume: { by: 'last-event-id' },
    };
    const heard = listen(fromCall(call).pipe(retryOnDisconnect(fast)));
    const first = await http.accept();
    first.respond({ headers: { 'content-type': 'text/event-stream' } });
    await first.write('id: é1\ndata: {"text":"one "}\n\nid: lost\ndata: {"text":"tw');
    first.reset();
    const second = await http.accept();
    expect(second.request.headers['last-event-id']).toBe(Buffer.from('é1').toString('latin1'));
    second.respond({ headers: { 'content-type': 'text/event-stream' } });
    await second.write('data: {"text":"two"}\n\ndata: {"over":true}\n\n');
    await second.end();
    expect(await heard).toMatchObject({ text: 'one two', restarts: 0 });
  });
});

describe('a stream without a call', () => {
  it('is refused before a request leaves', async () => {
    const { chat } = polargrid({ apiKey, baseURL: server.baseURLs.polargrid });
    const raw = fromHTTP(`${server.baseURLs.polargrid}/chat/completions`, { method: 'POST', body: '{}' });
    for (const stream of [raw, raw.pipe(parseSSE(), decode(chat.dialect))]) {
      const refused = lastValueFrom((stream as Observable<unknown>).pipe(retryOnDisconnect(fast), toArray()));
      await expect(refused).rejects.toBeInstanceOf(NoResumePlanError);
    }
    expect(server.requests).toHaveLength(0);
    expect(server.connections()).toBe(0);
  });
});

describe('toFile below a retry', () => {
  it('has the text of the answer that was whole, and nothing of the one before', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    server.next({
      pieces: ['an answer that is longer ', 'than the one after it ', 'and lost'],
      fault: { kind: 'fin', at: { frame: 3 } },
    });
    server.next({ pieces });
    const call = polargrid({ apiKey, baseURL: server.baseURLs.polargrid }).chat({ model: 'm', messages });
    const path = join(folder, 'answer.txt');
    const receipt = await lastValueFrom(fromCall(call).pipe(retryOnDisconnect(fast), toFile(path)));
    expect(await readFile(path, 'utf8')).toBe(whole);
    expect(receipt).toMatchObject({ outcome: 'complete', chars: whole.length, attempts: 2, restarts: 1 });
  });
});
