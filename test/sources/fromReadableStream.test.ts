import { setImmediate as turn } from 'node:timers/promises';
import { type Observable, take } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { NoResumePlanError } from '../../src/errors.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { readableStreamFrom } from '../../src/sinks/readableStreamFrom.js';
import { fromReadableStream } from '../../src/sources/fromReadableStream.js';
import { serve, standstill } from '../support/doorContract.js';
import { describeOrigin, type Fed, type OnStop } from '../support/originContract.js';

/** A stream that the test feeds, which gives an item when it is asked. */
function feed(onStop?: OnStop): Fed<ReadableStream<unknown>> {
  const ready: ((controller: ReadableStreamDefaultController<unknown>) => void)[] = [];
  const state = { asked: 0, stopped: 0 };
  let wake: (() => void) | undefined;
  const add = (step: (controller: ReadableStreamDefaultController<unknown>) => void): void => {
    ready.push(step);
    wake?.();
  };
  const input = new ReadableStream<unknown>(
    {
      pull: async (controller) => {
        state.asked += 1;
        while (ready.length === 0 && state.stopped === 0) await new Promise<void>((resolve) => (wake = resolve));
        if (state.stopped === 0) ready.shift()?.(controller);
      },
      cancel: () => {
        state.stopped += 1;
        wake?.();
        if (onStop === 'hang') return new Promise(() => undefined);
        if (onStop !== undefined) throw onStop.error;
        return undefined;
      },
    },
    { highWaterMark: 0 },
  );
  return {
    input,
    give: (item) => {
      add((controller) => {
        controller.enqueue(item);
      });
    },
    end: () => {
      add((controller) => {
        controller.close();
      });
    },
    fail: (error) => {
      add((controller) => {
        controller.error(error);
      });
    },
    get asked() {
      return state.asked;
    },
    get stopped() {
      return state.stopped;
    },
  };
}

describeOrigin({
  name: 'fromReadableStream',
  open: (input) => fromReadableStream(input),
  feed,
  readAhead: 0,
  doorOf: (source) => readableStreamFrom(source),
});

async function gather<T>(source: Observable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of asyncIterableFrom(source)) items.push(item);
  return items;
}

describe('fromReadableStream', () => {
  it('reads the body of a fetch, and is a source for the parsers', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const events = gather(fromReadableStream(async () => (await fetch(server.url)).body!).pipe(parseSSE()));
    const exchange = await server.accept();
    await exchange.end('data: a\n\ndata: b\n\n');
    expect(await events).toMatchObject([{ data: 'a' }, { data: 'b' }]);
  });

  it('closes the socket of a fetch when it is left', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const first = gather(fromReadableStream(async () => (await fetch(server.url)).body!).pipe(take(1)));
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    await expect(first).rejects.toThrow('before its proven end');
    expect(await exchange.ended).toBe('client');
  });

  it('holds back the server of a fetch while its sink is full', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const piece = new Uint8Array(65_536);
    const source = fromReadableStream(async () => (await fetch(server.url)).body!);
    const iterator = asyncIterableFrom(source, { pauseAtItems: 2 })[Symbol.asyncIterator]();
    const first = iterator.next();
    const exchange = await server.accept();
    const sent = (async () => {
      for (let at = 0; at < 384; at += 1) await exchange.write(piece);
      return exchange.end();
    })();
    let bytes = ((await first).value as Uint8Array).length;
    expect(await standstill(() => exchange.bytesSent)).toBeLessThan((384 * piece.length) / 2);
    for (let step = await iterator.next(); step.done !== true; step = await iterator.next()) bytes += step.value.length;
    expect(bytes).toBe(384 * piece.length);
    expect(await sent).toBe(true);
  });

  it.each([
    ['', {}],
    [' that fills buffers of its own', { autoAllocateChunkSize: 4 }],
  ])('reads a byte stream%s', async (_, extra) => {
    let at = 0;
    const bytes = new ReadableStream({
      type: 'bytes',
      ...extra,
      pull: (controller) => {
        at += 1;
        const request = controller.byobRequest as { view: Uint8Array; respond: (bytes: number) => void } | null;
        if (at === 4) {
          controller.close();
          request?.respond(0);
        } else if (request === null) controller.enqueue(new Uint8Array([at]));
        else {
          request.view[0] = at;
          request.respond(1);
        }
      },
    });
    const items = await gather(fromReadableStream(bytes));
    expect(items.map((chunk) => [...(chunk as Uint8Array)])).toStrictEqual([[1], [2], [3]]);
  });

  it('refuses a stream that is locked, and leaves it alone', async () => {
    const fed = feed();
    const reader = fed.input.getReader();
    await expect(gather(fromReadableStream(fed.input))).rejects.toBeInstanceOf(NoResumePlanError);
    fed.give('a');
    expect(await reader.read()).toStrictEqual({ done: false, value: 'a' });
    expect(fed.stopped).toBe(0);
  });

  it('goes on where another reader left off', async () => {
    const fed = feed();
    for (const item of ['a', 'b']) fed.give(item);
    fed.end();
    const reader = fed.input.getReader();
    await reader.read();
    reader.releaseLock();
    expect(await gather(fromReadableStream(fed.input))).toStrictEqual(['b']);
  });

  it('completes with a stream that is closed already, and errors with one that has failed', async () => {
    const odd = new RangeError('odd');
    const closed = new ReadableStream<string>({
      start: (controller) => {
        controller.close();
      },
    });
    const failed = new ReadableStream<string>({
      start: (controller) => {
        controller.error(odd);
      },
    });
    expect(await gather(fromReadableStream(closed))).toStrictEqual([]);
    await expect(gather(fromReadableStream(failed))).rejects.toBe(odd);
  });

  it('lets go of the stream at its end, and when it is left', async () => {
    const [ended, left] = [feed(), feed()];
    ended.end();
    await gather(fromReadableStream(ended.input));
    expect(ended.input.locked).toBe(false);
    fromReadableStream(left.input).subscribe().unsubscribe();
    expect(left.input.locked).toBe(false);
    expect(left.stopped).toBe(1);
  });

  it('does not warn of a stream that failed by itself before it was left', async () => {
    const warning = vi.spyOn(process, 'emitWarning');
    let fail = (_error: Error): void => undefined;
    const input = new ReadableStream<string>({
      start: (controller) => {
        fail = (error) => {
          controller.error(error);
        };
      },
    });
    const subscription = fromReadableStream(input).subscribe();
    fail(new RangeError('odd'));
    subscription.unsubscribe();
    await turn();
    expect(warning).not.toHaveBeenCalled();
    warning.mockRestore();
  });
});
