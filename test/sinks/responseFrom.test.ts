import { setImmediate as turn } from 'node:timers/promises';
import { Hono } from 'hono';
import { concat, config, NEVER, Observable, of, Subject, throwError } from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HTTPError, InterruptedError } from '../../src/errors.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { openai } from '../../src/providers/index.js';
import { responseFrom, type ResponseFromOptions } from '../../src/sinks/responseFrom.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/startServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { bundlePage } from '../support/chromium.js';
import { pausable } from '../support/pausable.js';
import { serveFetch } from '../support/relayDoors.js';
import { messagesOf, rawGet, sendRaw, serveNode } from '../support/webServer.js';

const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const MESSAGES = [{ role: 'user' as const, content: 'Tell me of rivers.' }];

afterEach(() => {
  vi.restoreAllMocks();
});

describe('responseFrom', () => {
  it.each([
    [{ format: 'xml' }, TypeError],
    [{ headersAfterMs: -1 }, RangeError],
    [{ heartbeatMs: 0 }, RangeError],
  ])('refuses %o when it is called', (options, error) => {
    expect(() => responseFrom(NEVER, options as ResponseFromOptions)).toThrow(error);
  });

  it('subscribes at once, and once', async () => {
    let asked = 0;
    const response = await responseFrom(
      new Observable<string>((subscriber) => {
        asked += 1;
        subscriber.next('one');
        subscriber.complete();
      }),
      { format: 'text' },
    );
    expect(await response.text()).toBe('one');
    expect(asked).toBe(1);
  });

  it('resolves with the head, before the answer has ended', async () => {
    const source = new Subject<StreamEvent>();
    const answer = responseFrom(source, { format: 'text' });
    let isThere = false;
    void answer.then(() => {
      isThere = true;
    });
    source.next({ type: 'status', status: 'queued', terminal: false });
    await turn();
    expect(isThere).toBe(false);
    source.next(text('one'));
    const reader = (await answer).body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('one');
    const second = reader.read();
    source.next(text('two'));
    expect(new TextDecoder().decode((await second).value)).toBe('two');
    source.complete();
    expect(await reader.read()).toStrictEqual({ done: true, value: undefined });
  });

  it('never rejects: a failure is a response, and its receipt is heard', async () => {
    const receipts: Receipt[] = [];
    const odd = new HTTPError('secret', { status: 429 });
    const response = await responseFrom(
      throwError(() => odd),
      { onReceipt: (receipt) => receipts.push(receipt) },
    );
    expect([response.status, await response.json()]).toMatchObject([429, { error: { code: 'ERR_HTTP' } }]);
    expect(receipts).toMatchObject([{ outcome: 'failed', error: { message: 'secret' } }]);
    const nothing = await responseFrom(
      throwError(() => undefined),
      { onReceipt: (receipt) => receipts.push(receipt) },
    );
    expect(nothing.status).toBe(500);
  });

  it('tells the receipt of every failure, whatever was thrown', async () => {
    for (const thrown of [undefined, 'text', Object.freeze(new Error('frozen'))]) {
      const receipts: Receipt[] = [];
      await responseFrom(
        throwError(() => thrown),
        { onReceipt: (receipt) => receipts.push(receipt) },
      ).then((response) => response.text());
      expect(receipts).toMatchObject([{ outcome: 'failed' }]);
    }
  });

  it('lets the process hear what onReceipt throws', async () => {
    const odd = new Error('odd');
    const heard = new Promise<unknown>((resolve) => {
      config.onUnhandledError = resolve;
    });
    onTestFinished(() => {
      config.onUnhandledError = null;
    });
    const response = await responseFrom(of('one'), {
      format: 'text',
      onReceipt: () => {
        throw odd;
      },
    });
    expect(await response.text()).toBe('one');
    expect(await heard).toBe(odd);
  });

  it('gives a response whose headers can be added to', async () => {
    const response = await responseFrom(of(text('one')));
    response.headers.set('access-control-allow-origin', '*');
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
  });

  it('takes from its source what its reader pulls, and little more', async () => {
    const stream = pausable(Array.from({ length: 100 }, () => 'x'.repeat(10_000)));
    const receipts: Receipt[] = [];
    const response = await responseFrom(stream.source, {
      format: 'text',
      onReceipt: (receipt) => receipts.push(receipt),
    });
    for (let at = 0; at < 20; at += 1) await turn();
    expect(stream.given).toBe(2);
    expect(stream.flow.paused).toBe(true);
    const reader = response.body!.getReader();
    let bytes = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.length;
      expect(stream.given * 10_000 - bytes).toBeLessThanOrEqual(40_000);
      await turn();
    }
    expect(bytes).toBe(1_000_000);
    expect(receipts).toMatchObject([{ outcome: 'complete', chars: 1_000_000, bytes: 1_000_000 }]);
  });

  it('tells no receipt before the last byte was pulled', async () => {
    const receipts: Receipt[] = [];
    const response = await responseFrom(of(text('one'), finish), { onReceipt: (receipt) => receipts.push(receipt) });
    await turn();
    expect(receipts).toStrictEqual([]);
    await response.text();
    expect(receipts).toMatchObject([{ outcome: 'complete' }]);
  });

  it.each(['waits', 'is elsewhere'])(
    'stops its source in the turn in which a reader that %s cancels',
    async (reader) => {
      const source = new Subject<StreamEvent>();
      const receipts: Receipt[] = [];
      const answer = responseFrom(source, { onReceipt: (receipt) => receipts.push(receipt) });
      source.next(text('one'));
      const body = (await answer).body!.getReader();
      await body.read();
      const waiting = reader === 'waits' ? body.read() : undefined;
      const cancelled = body.cancel();
      expect(source.observed).toBe(false);
      await cancelled;
      expect((await waiting)?.done ?? true).toBe(true);
      expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    },
  );

  it('that is cancelled unread stops its source', async () => {
    const source = new Subject<StreamEvent>();
    const answer = responseFrom(source);
    source.next(text('one'));
    await (await answer).body!.cancel();
    expect(source.observed).toBe(false);
  });

  it('hears by the request’s signal that its reader has left: before the head, and behind it', async () => {
    for (const isLate of [false, true]) {
      const left = new AbortController();
      const source = new Subject<StreamEvent>();
      const receipts: Receipt[] = [];
      const request = new Request('http://127.0.0.1/', { signal: left.signal });
      const answer = responseFrom(source, { request, onReceipt: (receipt) => receipts.push(receipt) });
      if (isLate) {
        source.next(text('one'));
        const { body } = await answer;
        left.abort();
        await expect(new Response(body).text()).rejects.toThrow();
      } else {
        left.abort();
        const response = await answer;
        expect([response.status, response.body]).toStrictEqual([499, null]);
      }
      expect(source.observed).toBe(false);
      expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    }
  });

  it('asks nothing for a reader that has left already', async () => {
    let asked = 0;
    const request = new Request('http://127.0.0.1/', { signal: AbortSignal.abort() });
    const response = await responseFrom(new Observable(() => void (asked += 1)), { request });
    expect([response.status, asked]).toStrictEqual([499, 0]);
  });

  it('lets go of the request’s signal when it is over', async () => {
    const left = new AbortController();
    const remove = vi.spyOn(left.signal, 'removeEventListener');
    const request = { method: 'POST', headers: new Headers(), signal: left.signal };
    await (await responseFrom(of(text('one')), { request })).text();
    expect(remove).toHaveBeenCalledOnce();
    left.abort();
  });

  it('errors the body of text that was cut, behind all that came', async () => {
    const source = concat(
      of('one ', 'two'),
      throwError(() => new InterruptedError('cut')),
    );
    const reader = (await responseFrom(source, { format: 'text' })).body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('one two');
    await expect(reader.read()).rejects.toThrow(InterruptedError);
  });

  it('has no body behind 204, and none behind 405', async () => {
    const get = new Request('http://127.0.0.1/', { headers: { 'last-event-id': '3-end' } });
    const [ended, head] = await Promise.all([
      responseFrom(NEVER, { request: get }),
      responseFrom(NEVER, { request: new Request('http://127.0.0.1/', { method: 'HEAD' }) }),
    ]);
    expect([ended.status, ended.body, head.status, head.body]).toStrictEqual([204, null, 405, null]);
  });

  it('tells its receipt beside one that is taken above', async () => {
    const [above, own]: [Receipt[], Receipt[]] = [[], []];
    const source = of(text('one'), finish).pipe(tapReceipt((receipt) => above.push(receipt)));
    await (await responseFrom(source, { onReceipt: (receipt) => own.push(receipt) })).text();
    expect([above, own]).toMatchObject([[{ where: 'none' }], [{ where: 'response' }]]);
  });

  it('lets both branches of a copy read the same', async () => {
    const response = await responseFrom(of('one ', 'two'), { format: 'text' });
    expect(await Promise.all([response.clone().text(), response.text()])).toStrictEqual(['one two', 'one two']);
  });

  it('answers in Hono', async () => {
    const app = new Hono();
    app.post('/answer', (context) =>
      responseFrom(of(text('one'), finish), { format: 'ai-sdk', request: context.req.raw }),
    );
    app.get('/busy', () => responseFrom(throwError(() => new HTTPError('no', { status: 429, retryAfterMs: 1_000 }))));
    const response = await app.request('/answer', { method: 'POST' });
    expect(response.headers.get('x-vercel-ai-ui-message-stream')).toBe('v1');
    expect(await response.text()).toContain('"delta":"one"');
    const busy = await app.request('/busy');
    expect([busy.status, busy.headers.get('retry-after')]).toStrictEqual([429, '1']);
  });

  it('stops the upstream of a Hono route when the reader of a real socket leaves', async () => {
    await using upstream = await startServer();
    const api = openai({ apiKey: 'any', baseURL: upstream.url });
    const app = new Hono();
    const receipts: Receipt[] = [];
    app.get('/', (context) =>
      responseFrom(fromCall(api.chat({ model: 'm', messages: MESSAGES })), {
        request: context.req.raw,
        onReceipt: (receipt) => receipts.push(receipt),
      }),
    );
    const { port } = await serveNode((req, res) => void serveFetch((request) => app.fetch(request), req, res));
    const reader = sendRaw(port, rawGet());
    const exchange = await upstream.accept();
    await exchange.write('data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n');
    await reader.until('one');
    reader.socket.destroy();
    expect(await exchange.ended).toBe('client');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
  });

  it('numbers a GET’s events so that its reader can come back', async () => {
    const request = new Request('http://127.0.0.1/');
    const first = messagesOf(await (await responseFrom(of(text('one'), text('two'), finish), { request })).text());
    const headers = { 'last-event-id': first[0]!.id! };
    const again = new Request('http://127.0.0.1/', { headers });
    const rest = messagesOf(await (await responseFrom(of(text('onetwo'), finish), { request: again })).text());
    expect(rest.map(({ data }) => data)).toMatchObject([text('two'), finish, { type: 'end' }]);
  });

  it('needs nothing of Node in a bundle for workers', async () => {
    // What a bundler does not find for this platform fails it.
    expect(await bundlePage(`export { responseFrom, toNodeResponse } from 'millrace';`)).toContain('responseFrom');
  });
});
