import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { concat, from, map, NEVER, Observable, of, Subject, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { readableStreamFrom } from '../../src/sinks/readableStreamFrom.js';
import type { Receipt } from '../../src/types.js';
import { describeDoor, events, serve, standstill } from '../support/doorContract.js';

describeDoor('readableStreamFrom', (source, limits) => {
  const reader = readableStreamFrom(source, limits).getReader();
  return {
    // The types of a reader and of an iterator differ in what an end has for a value.
    next: async () => {
      const step = await reader.read();
      return step.done ? { done: true, value: undefined } : step;
    },
    leave: () => reader.cancel(),
  };
});

async function gather<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe('readableStreamFrom', () => {
  it('carries what is falsy, and errors of any kind', async () => {
    const reader = readableStreamFrom(
      concat(
        of(undefined, null, 0, ''),
        throwError(() => undefined),
      ),
    ).getReader();
    for (const value of [undefined, null, 0, '']) expect(await reader.read()).toStrictEqual({ done: false, value });
    expect(
      await reader.read().then(
        () => 'read',
        (error: unknown) => [error],
      ),
    ).toStrictEqual([undefined]);
  });

  it('is the body of a response', async () => {
    const text = readableStreamFrom(of('a', 'é', '😀'));
    expect(await new Response(text.pipeThrough(new TextEncoderStream())).text()).toBe('aé😀');
    const bytes = readableStreamFrom(of(new Uint8Array([104, 105])));
    expect(await new Response(bytes).text()).toBe('hi');
  });

  it('stays errored', async () => {
    const reader = readableStreamFrom(throwError(() => new RangeError('odd'))).getReader();
    await expect(reader.read()).rejects.toThrow('odd');
    await expect(reader.read()).rejects.toThrow('odd');
    await expect(reader.closed).rejects.toThrow('odd');
  });

  it('answers several reads in order', async () => {
    const source = new Subject<string>();
    const reader = readableStreamFrom(source).getReader();
    const steps = Promise.all([reader.read(), reader.read(), reader.read()]);
    await turn(); // a ReadableStream begins in a later turn, as the standard has it
    source.next('a');
    source.next('b');
    source.complete();
    expect(await steps).toStrictEqual([
      { done: false, value: 'a' },
      { done: false, value: 'b' },
      { done: true, value: undefined },
    ]);
  });

  it('gives both branches of a tee everything, over one subscription', async () => {
    let asked = 0;
    const source = new Observable<number>((subscriber) => {
      asked += 1;
      return of(1, 2, 3).subscribe(subscriber);
    });
    const branches = readableStreamFrom(source).tee();
    const all = await Promise.all(branches.map((branch) => gather(branch)));
    expect(all).toStrictEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    expect(asked).toBe(1);
  });

  it('stops the request when pipeTo is aborted', async () => {
    const server = await serve();
    const controller = new AbortController();
    const receipts: Receipt[] = [];
    const source = events(server.url).pipe(tapReceipt((receipt) => receipts.push(receipt)));
    const written: string[] = [];
    const piped = readableStreamFrom(source).pipeTo(new WritableStream({ write: (item) => void written.push(item) }), {
      signal: controller.signal,
    });
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    while (written.length === 0) await turn();
    controller.abort(new RangeError('enough'));
    await expect(piped).rejects.toThrow('enough');
    expect(await exchange.ended).toBe('client');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    await server.close();
  });

  it('stops the request when what it is piped to fails', async () => {
    const server = await serve();
    const full = new WritableStream({
      write: () => {
        throw new RangeError('no space');
      },
    });
    const piped = readableStreamFrom(events(server.url)).pipeTo(full);
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    await expect(piped).rejects.toThrow('no space');
    expect(await exchange.ended).toBe('client');
    await server.close();
  });

  it('holds back the server of a slow WritableStream', async () => {
    const server = await serve();
    const event = `data: ${'x'.repeat(65_529)}\n\n`;
    let release = (): void => undefined;
    const opened = new Promise<void>((resolve) => (release = resolve));
    let written = 0;
    const slow = new WritableStream<string>({
      write: async () => {
        await opened;
        written += 1;
      },
    });
    const piped = readableStreamFrom(events(server.url), { pauseAtItems: 2 }).pipeTo(slow);
    const exchange = await server.accept();
    const sent = (async () => {
      for (let at = 0; at < 256; at += 1) await exchange.write(event);
      return exchange.end();
    })();
    expect(await standstill(() => exchange.bytesSent)).toBeLessThan((256 * event.length) / 2);
    expect(written).toBe(0);
    release();
    await piped;
    expect(written).toBe(256);
    expect(await sent).toBe(true);
    await server.close();
  });

  it('rejects a cancel whose callbacks above throw', async () => {
    const source = new Subject<string>();
    const told = source.pipe(
      tapReceipt(() => {
        throw new RangeError('odd');
      }),
    );
    const stream = readableStreamFrom(told);
    const reader = stream.getReader();
    const first = reader.read();
    await turn();
    source.next('a');
    await first;
    await expect(reader.cancel()).rejects.toThrow('odd');
    expect(source.observed).toBe(false);
  });

  it('gives what it was given, however it is read', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.anything()), fc.integer({ min: 1, max: 5 }), async (items, pauseAtItems) => {
        const stream = readableStreamFrom(from(items).pipe(map((item) => ({ item }))), { pauseAtItems });
        const got = await gather(stream);
        expect(got.map(({ item }) => item)).toStrictEqual(items);
      }),
      { numRuns: 50 },
    );
  });

  it('is left by a loop that breaks', async () => {
    const stream = readableStreamFrom(concat(of('a'), NEVER));
    for await (const item of stream) {
      expect(item).toBe('a');
      break;
    }
    expect(stream.locked).toBe(false);
  });
});
