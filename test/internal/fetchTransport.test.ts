import { inspect } from 'node:util';
import { lastValueFrom } from 'rxjs';
import { Agent, fetch as undiciFetch } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import { InterruptedError, isRetryable, ProtocolError, StreamTimeoutError } from '../../src/errors.js';
import type { FetchLike } from '../../src/internal/io.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';

describe('a body that is in memory', () => {
  it('leaves timers their turns while it is read', async () => {
    const chunk = new Uint8Array(1);
    let given = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          given += 1;
          controller.enqueue(chunk);
        },
      },
      { highWaterMark: 0 },
    );
    const answer = new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    await new Promise<void>((resolve) => {
      // Endless: only a timer can end it.
      const reading = fromHTTP('http://127.0.0.1/', { fetch: () => Promise.resolve(answer) }).subscribe();
      setTimeout(() => {
        reading.unsubscribe();
        resolve();
      }, 1);
    });
    expect(given).toBeGreaterThan(0);
  });
});

describe('a failure of Node’s fetch', () => {
  async function serve(): Promise<TestServer> {
    const server = await startServer();
    onTestFinished(() => server.close());
    return server;
  }

  function failureOf(url: string, ask: FetchLike = fetch): Promise<unknown> {
    const asked = lastValueFrom(fromHTTP(url, { fetch: ask }));
    return asked.then(
      () => 'completed',
      (error: unknown) => error,
    );
  }

  it('is a broken answer where HTTP is broken, and shows nothing of it', async () => {
    const server = await serve();
    const failed = failureOf(server.url);
    const exchange = await server.accept();
    await exchange.write('data: one\n\n');
    await exchange.raw('the words of the model\r\n');
    const error = await failed;
    expect(error).toBeInstanceOf(ProtocolError);
    expect(isRetryable(error)).toBe(false);
    expect(inspect(error, { depth: Infinity })).not.toContain('words');
  });

  it('is a broken answer where the coding is broken', async () => {
    const server = await serve();
    const failed = failureOf(server.url);
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-encoding': 'gzip' } });
    await exchange.end('this is no gzip at all');
    expect(await failed).toBeInstanceOf(ProtocolError);
  });

  it('is a cut where the connection closes inside a chunk', async () => {
    const server = await serve();
    const failed = failureOf(server.url);
    const exchange = await server.accept();
    await exchange.write('data: one\n\n');
    exchange.halfClose();
    expect(await failed).toBeInstanceOf(InterruptedError);
  });

  it.each(['headers', 'body'] as const)('names its limit of silence for the %s, and what lifts it', async (part) => {
    const server = await serve();
    const agent = new Agent({ headersTimeout: 50, bodyTimeout: 50 });
    onTestFinished(() => agent.destroy());
    // Node's `fetch` is undici's, and so are its errors; it takes the Agents of its own version only.
    const ask = (to: string, init: object): Promise<unknown> => undiciFetch(to, { ...init, dispatcher: agent });
    const failed = failureOf(server.url, ask as FetchLike); // undici has types of its own for the same things
    const exchange = await server.accept();
    if (part === 'body') await exchange.write('data: one\n\n');
    const error = await failed;
    expect(error).toBeInstanceOf(StreamTimeoutError);
    expect(error).toMatchObject({ phase: part === 'body' ? 'wireIdle' : 'headers' });
    expect((error as Error).message).toContain(`${part}Timeout of its undici Agent`);
    expect((error as Error).message).toContain(`${part}TimeoutMs`);
  });
});
