import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, type Readable, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { concat, from, NEVER, Observable, of, Subject, throwError } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { InterruptedError, SinkError } from '../../src/errors.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { nodeReadableFrom, type NodeReadableFromOptions } from '../../src/sinks/nodeReadableFrom.js';
import type { Receipt } from '../../src/types.js';
import { describeDoor, events, type OpenDoor, serve, standstill } from '../support/doorContract.js';
import { pausable } from '../support/pausable.js';

/** Reads with `read()` and the stream's events alone. */
function openDoor<T>(source: Observable<T>, options?: NodeReadableFromOptions): OpenDoor<T> {
  const readable = nodeReadableFrom(source, options);
  return {
    leave: () => readable.destroy(),
    next: () =>
      new Promise<IteratorResult<T, undefined>>((resolve, reject) => {
        const settle = (run: () => void): void => {
          for (const event of ['readable', 'end', 'close', 'error']) readable.removeAllListeners(event);
          run();
        };
        const read = (): void => {
          const value = readable.read() as T | null;
          if (value !== null)
            settle(() => {
              resolve({ done: false, value });
            });
        };
        const end = (): void => {
          settle(() => {
            resolve({ done: true, value: undefined });
          });
        };
        if (readable.closed || readable.readableEnded) {
          end();
          return;
        }
        readable.on('end', end);
        readable.on('close', end);
        readable.on('error', (error) => {
          settle(() => {
            reject(error);
          });
        });
        readable.on('readable', read);
        read();
      }),
  };
}

describeDoor('nodeReadableFrom', openDoor, 1);

/** What a reader of `data` events sees. */
async function flow(readable: Readable): Promise<{ readonly items: unknown[]; readonly end: unknown }> {
  const items: unknown[] = [];
  readable.on('data', (item) => items.push(item));
  const end = await finished(readable).then(
    () => 'end',
    (error: unknown) => error,
  );
  return { items, end };
}

/** What a loop sees. */
async function loop(readable: Readable): Promise<{ readonly items: unknown[]; readonly end: unknown }> {
  const items: unknown[] = [];
  try {
    for await (const item of readable) items.push(item);
  } catch (error) {
    return { items, end: error };
  }
  return { items, end: 'end' };
}

describe.each([
  ['data events', flow],
  ['a loop', loop],
])('a Readable read by %s', (_, read) => {
  it('gives every item as it is, then the end', async () => {
    const items = ['a', '', 0, undefined, false, { b: 1 }, new Uint8Array([1])];
    expect(await read(nodeReadableFrom(from(items)))).toStrictEqual({ items, end: 'end' });
    expect(await read(nodeReadableFrom(of()))).toStrictEqual({ items: [], end: 'end' });
  });

  it('gives the error after the items before it', async () => {
    const odd = new RangeError('odd');
    const source = concat(
      of('a', 'b', 'c'),
      throwError(() => odd),
    );
    const { items, end } = await read(nodeReadableFrom(source));
    expect(items).toStrictEqual(['a', 'b', 'c']);
    expect(end).toBe(odd);
    expect(end).toMatchObject({ receipt: { outcome: 'failed' } });
  });

  it('gives bytes of text and bytes without objectMode', async () => {
    const source = of('a', '', 'é', new Uint8Array(), new Uint8Array([33]), '😀');
    const { items, end } = await read(nodeReadableFrom(source, { objectMode: false }));
    expect(Buffer.concat(items as Buffer[]).toString()).toBe('aé!😀');
    expect(end).toBe('end');
  });

  it('puts together characters that the source cut in two', async () => {
    const source = of('a\ud83d', '\ude00b', '\ud83d', new Uint8Array([33]), '\ud83d');
    const { items } = await read(nodeReadableFrom(source, { objectMode: false }));
    expect(Buffer.concat(items as Buffer[]).toString()).toBe('a😀b\ufffd!\ufffd');
  });

  it.each([null, 7, { a: 1 }, undefined])('refuses %j without objectMode, after what came before', async (item) => {
    const { items, end } = await read(nodeReadableFrom(of('a', item, 'b'), { objectMode: false }));
    expect(items.map(String)).toStrictEqual(['a']);
    expect(end).toBeInstanceOf(SinkError);
    expect(end).toMatchObject({ receipt: { outcome: 'failed' } });
  });

  it('refuses null, by which such a stream ends', async () => {
    const { items, end } = await read(nodeReadableFrom(of('a', null, 'b')));
    expect(items).toStrictEqual(['a']);
    expect(end).toBeInstanceOf(SinkError);
  });

  it.each([undefined, 0, 'a word', null])('gives the thrown %j as the cause of an error', async (thrown) => {
    const { end } = await read(nodeReadableFrom(throwError(() => thrown)));
    expect(end).toBeInstanceOf(SinkError);
    expect((end as SinkError).cause).toBe(thrown);
  });

  it('gives what it was given, in any order of asking', async () => {
    const item = fc.oneof(fc.string(), fc.integer(), fc.constant(undefined), fc.object());
    await fc.assert(
      fc.asyncProperty(fc.array(item), fc.integer({ min: 1, max: 4 }), async (items, pauseAtItems) => {
        expect(await read(nodeReadableFrom(from(items), { pauseAtItems }))).toStrictEqual({ items, end: 'end' });
      }),
      { numRuns: 50 },
    );
  });
});

describe('nodeReadableFrom', () => {
  it('asks for nothing before it is read', async () => {
    const stream = pausable([1, 2, 3]);
    const readable = nodeReadableFrom(stream.source, { pauseAtItems: 1 });
    readable.on('error', () => undefined);
    await turn();
    expect(stream.given).toBe(0);
    readable.once('readable', () => undefined);
    await turn();
    expect(stream.given).toBeGreaterThan(0);
    readable.destroy();
  });

  it('keeps no item in its own buffer that nobody asked for', async () => {
    const stream = pausable([1, 2, 3, 4, 5, 6]);
    const readable = nodeReadableFrom(stream.source, { pauseAtItems: 2 });
    readable.once('data', () => readable.pause());
    await once(readable, 'pause');
    await turn();
    expect(stream.given).toBe(1 + readable.readableLength + 2);
    expect(readable.readableLength).toBeLessThanOrEqual(1);
    expect(await loop(readable)).toStrictEqual({ items: [2, 3, 4, 5, 6], end: 'end' });
  });

  it('gives the number of bytes that is asked for', async () => {
    const readable = nodeReadableFrom(of('abc', 'def'), { objectMode: false });
    await once(readable, 'readable');
    const pieces: string[] = [];
    while (!readable.readableEnded) {
      const piece = readable.read(2) as Buffer | null;
      if (piece !== null) pieces.push(piece.toString());
      else await Promise.race([once(readable, 'readable'), once(readable, 'end')]);
    }
    expect(pieces.join('')).toBe('abcdef');
  });

  it('heeds an encoding without objectMode', async () => {
    const readable = nodeReadableFrom(of('é', new Uint8Array([0xc3]), new Uint8Array([0xa9])), { objectMode: false });
    readable.setEncoding('utf8');
    const { items } = await loop(readable);
    expect(items.join('')).toBe('éé');
  });

  it.each([true, false])('goes to a file through pipeline, objectMode %j', async (objectMode) => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'answer.txt');
    await pipeline(nodeReadableFrom(of('a', 'é', '😀'), { objectMode }), createWriteStream(path));
    expect(await readFile(path, 'utf8')).toBe('aé😀');
  });

  it('goes to an HTTP response, whose client may leave', async () => {
    const upstream = await serve();
    const receipts: Receipt[] = [];
    const relay = createServer((_request, response) => {
      const source = events(upstream.url).pipe(tapReceipt((receipt) => receipts.push(receipt)));
      void pipeline(nodeReadableFrom(source), response).catch(() => undefined); // the client left
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    onTestFinished(async () => {
      relay.close();
      await upstream.close();
    });
    const controller = new AbortController();
    const response = fetch(`http://127.0.0.1:${String((relay.address() as AddressInfo).port)}`, {
      signal: controller.signal,
    });
    const exchange = await upstream.accept();
    await exchange.write('data: a\n\n');
    const reader = (await response).body!.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('a');
    controller.abort();
    expect(await exchange.ended).toBe('client');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
  });

  it('stops the request when a pipeline is aborted', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const controller = new AbortController();
    const piped = pipeline(nodeReadableFrom(events(server.url)), new PassThrough({ objectMode: true }), {
      signal: controller.signal,
    });
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    controller.abort();
    await expect(piped).rejects.toMatchObject({ name: 'AbortError' });
    expect(await exchange.ended).toBe('client');
  });

  it('stops the request when what it is piped to fails', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const full = new Writable({
      write: (_chunk, _encoding, callback) => {
        callback(new RangeError('no space'));
      },
    });
    const piped = pipeline(nodeReadableFrom(events(server.url)), full);
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    await expect(piped).rejects.toThrow('no space');
    expect(await exchange.ended).toBe('client');
  });

  it('tells what it is destroyed with, and leaves its source in the same turn', async () => {
    const source = new Subject<string>();
    const readable = nodeReadableFrom(source);
    readable.resume();
    await turn();
    const odd = new RangeError('odd');
    readable.destroy(odd);
    expect(source.observed).toBe(false);
    await expect(finished(readable)).rejects.toBe(odd);
    expect(odd).not.toHaveProperty('receipt');
  });

  it('is destroyed by a data listener that throws, with what it threw', async () => {
    const source = new Subject<string>();
    const readable = nodeReadableFrom(source);
    readable.on('data', () => {
      throw new RangeError('odd');
    });
    await turn();
    const told = once(readable, 'error');
    source.next('a');
    expect(await told).toMatchObject([{ message: 'odd' }]);
    expect(source.observed).toBe(false);
  });

  it('may be destroyed from inside a data listener', async () => {
    const source = new Subject<string>();
    const readable = nodeReadableFrom(source);
    const seen: unknown[] = [];
    readable.on('data', (item) => {
      seen.push(item);
      readable.destroy();
    });
    await turn();
    source.next('a');
    source.next('b');
    await once(readable, 'close');
    expect(seen).toStrictEqual(['a']);
    expect(source.observed).toBe(false);
  });

  it('fails with what a callback above throws when it is destroyed', async () => {
    const source = new Subject<string>();
    const told = source.pipe(
      tapReceipt(() => {
        throw new RangeError('odd');
      }),
    );
    const readable = nodeReadableFrom(told);
    readable.resume();
    await turn();
    const error = once(readable, 'error');
    readable.destroy();
    expect(String((await error)[0])).toContain('odd');
  });

  it('holds back the server of a slow Writable', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const event = `data: ${'x'.repeat(65_529)}\n\n`;
    let release = (): void => undefined;
    const opened = new Promise<void>((resolve) => (release = resolve));
    let written = 0;
    const slow = new Writable({
      write: (chunk: Buffer, _encoding, callback) => {
        void opened.then(() => {
          written += chunk.length;
          callback();
        });
      },
    });
    const piped = pipeline(nodeReadableFrom(events(server.url), { pauseAtItems: 2 }), slow);
    const exchange = await server.accept();
    const sent = (async () => {
      for (let at = 0; at < 256; at += 1) await exchange.write(event);
      return exchange.end();
    })();
    expect(await standstill(() => exchange.bytesSent)).toBeLessThan((256 * event.length) / 2);
    expect(written).toBe(0);
    release();
    await piped;
    expect(written).toBe(256 * 65_529);
    expect(await sent).toBe(true);
  });

  it('gives an InterruptedError to a pipeline whose stream was cut', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const piped = pipeline(nodeReadableFrom(events(server.url)), new PassThrough({ objectMode: true }));
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    exchange.halfClose();
    await expect(piped).rejects.toBeInstanceOf(InterruptedError);
  });

  it('is left by a loop that breaks', async () => {
    let left = 0;
    const source = new Observable<string>((subscriber) => {
      const inner = concat(of('a'), NEVER).subscribe(subscriber);
      return () => {
        left += 1;
        inner.unsubscribe();
      };
    });
    const readable = nodeReadableFrom(source);
    for await (const item of readable) {
      expect(item).toBe('a');
      break;
    }
    expect(readable.destroyed).toBe(true);
    expect(left).toBe(1);
  });

  it('refuses an objectMode that is no boolean', () => {
    expect(() => nodeReadableFrom(of('a'), { objectMode: 'yes' as unknown as boolean })).toThrow(TypeError);
  });
});
