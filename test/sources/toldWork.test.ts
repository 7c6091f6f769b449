import { lastValueFrom, tap } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as z from 'zod/mini';
import { InterruptedError } from '../../src/errors.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { dialect } from '../../src/protocol/dialect.js';
import type { Calls } from '../../src/providers/index.js';
import { provider } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer, type TestServer } from '../../src/testing/index.js';
import type { Receipt } from '../../src/types.js';

/** An API that tells the id of the work, and the number of each event, inside the stream. */
const told = dialect({
  name: 'told',
  frame: z.looseObject({ id: z.string(), n: z.number(), piece: z.optional(z.string()), over: z.optional(z.boolean()) }),
  decode: ({ id, n, piece, over }, stream) => {
    stream.identify(id, n);
    if (piece !== undefined) stream.emit({ type: 'text', text: piece, index: 0, name: 'output' });
    if (over === true) stream.done();
  },
});

async function api(): Promise<{ server: TestServer; ask: Calls<Record<string, unknown>> }> {
  const server = await startServer();
  onTestFinished(() => server.close());
  const acme = provider({ name: 'acme', baseURL: server.url, key: 'optional' });
  const ask = acme.calls({
    name: 'ask',
    request: z.looseObject({}),
    dialect: told,
    call: (request) => ({
      stream: acme.post('/work', request),
      cancel: (id) => acme.post(`/work/${id}/cancel`, undefined, ['*/*']),
      leaving: { stop: 'ended', disconnect: 'continues' },
      resume: { by: 'reattach', reopen: (id, cursor = '') => acme.get(`/work/${id}?after=${cursor}`) },
    }),
  });
  return { server, ask };
}

function frame(n: number, more: object): string {
  return `data: ${JSON.stringify({ id: 'w-1', n, ...more })}\n\n`;
}

describe('work whose id the stream itself tells', () => {
  it('is opened again after the last event, and its text is there once', async () => {
    const { server, ask } = await api();
    const answer = collect(fromCall(ask({})).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } })));
    const first = await server.accept();
    await first.write(frame(1, { piece: 'The ' }) + frame(2, { piece: 'mill ' }));
    first.halfClose();
    const second = await server.accept();
    expect(second.request).toMatchObject({ method: 'GET', path: '/work/w-1' });
    expect(second.request.query.get('after')).toBe('2');
    await second.end(frame(3, { piece: 'turns.' }) + frame(4, { over: true }));
    const { text, receipt } = await answer;
    expect(text).toBe('The mill turns.');
    expect(receipt).toMatchObject({ attempts: 2, restarts: 0 });
    expect(receipt.usageByAttempt).toBeUndefined();
  });

  it('is asked for again where the connection broke before the stream told it', async () => {
    const { server, ask } = await api();
    const answer = collect(fromCall(ask({})).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } })));
    const first = await server.accept();
    await first.write(': hello\n\n');
    first.halfClose();
    const second = await server.accept();
    expect(second.request).toMatchObject({ method: 'POST', path: '/work' });
    await second.end(frame(1, { piece: 'A', over: true }));
    expect((await answer).text).toBe('A');
  });

  it('is cancelled when it is stopped, once', async () => {
    const { server, ask } = await api();
    let receipt: Receipt | undefined;
    const stop = new AbortController();
    const stopped = lastValueFrom(
      fromCall(ask({})).pipe(
        tap(() => {
          stop.abort();
        }),
        stopOn(stop.signal),
        tapReceipt((seen) => (receipt = seen)),
      ),
      { defaultValue: undefined },
    );
    const first = await server.accept();
    await first.write(frame(1, { piece: 'A' }));
    await stopped;
    const cancel = await server.accept();
    expect(cancel.request).toMatchObject({ method: 'POST', path: '/work/w-1/cancel' });
    await cancel.end();
    expect(server.exchanges).toHaveLength(2);
    expect(receipt).toMatchObject({ outcome: 'stopped', billing: 'ended' });
  });

  it('runs on where it is stopped before the stream told its id, and the receipt says so', async () => {
    const { server, ask } = await api();
    let receipt: Receipt | undefined;
    const subscription = fromCall(ask({}))
      .pipe(tapReceipt((seen) => (receipt = seen)))
      .subscribe();
    const first = await server.accept();
    subscription.unsubscribe();
    expect(await first.ended).toBe('client');
    expect(receipt).toMatchObject({ outcome: 'stopped', billing: 'continues' });
    expect(server.exchanges).toHaveLength(1);
  });

  it('is cancelled when it is given up', async () => {
    const { server, ask } = await api();
    const answer = collect(fromCall(ask({})).pipe(retryOnDisconnect({ count: 0 })));
    const failed = expect(answer).rejects.toBeInstanceOf(InterruptedError);
    const first = await server.accept();
    await first.write(frame(1, { piece: 'A' }));
    first.halfClose();
    const cancel = await server.accept();
    expect(cancel.request.path).toBe('/work/w-1/cancel');
    await cancel.end();
    await failed;
  });

  it('is not cancelled when it is whole', async () => {
    const { server, ask } = await api();
    const answer = collect(ask({}));
    const first = await server.accept();
    await first.end(frame(1, { piece: 'A', over: true }));
    expect((await answer).text).toBe('A');
    expect(server.exchanges).toHaveLength(1);
  });
});
