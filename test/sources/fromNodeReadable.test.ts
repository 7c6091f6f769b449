import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { type Observable, take } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { InterruptedError, NoResumePlanError } from '../../src/errors.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { nodeReadableFrom } from '../../src/sinks/nodeReadableFrom.js';
import { fromNodeReadable } from '../../src/sources/fromNodeReadable.js';
import { serve, standstill } from '../support/doorContract.js';
import { describeOrigin, type Fed, type OnStop } from '../support/originContract.js';

/** A stream that the test feeds, which gives an item when it is asked. */
function feed(onStop?: OnStop): Fed<Readable> {
  const ready: (() => void)[] = [];
  const state = { asked: 0, stopped: 0, awaited: false };
  const serveOne = (): void => {
    if (!state.awaited || ready.length === 0) return;
    state.awaited = false;
    ready.shift()?.();
  };
  const input = new Readable({
    objectMode: true,
    highWaterMark: 0,
    read: () => {
      state.asked += 1;
      state.awaited = true;
      process.nextTick(serveOne);
    },
    destroy: (error, callback) => {
      if (error !== null) {
        callback(error);
        return;
      }
      if (!input.readableEnded) state.stopped += 1;
      if (onStop === 'hang') return;
      callback(onStop?.error ?? null);
    },
  });
  const add = (step: () => void): void => {
    ready.push(step);
    process.nextTick(serveOne);
  };
  return {
    input,
    give: (item) => {
      add(() => input.push(item));
    },
    end: () => {
      add(() => input.push(null));
    },
    fail: (error) => {
      add(() => input.destroy(error));
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
  name: 'fromNodeReadable',
  open: (input) => fromNodeReadable<unknown>(input),
  feed,
  readAhead: 1,
  doorOf: (source) => nodeReadableFrom(source),
});

async function read<T>(source: Observable<T>): Promise<{ readonly items: T[]; readonly end: unknown }> {
  const items: T[] = [];
  try {
    for await (const item of asyncIterableFrom(source)) items.push(item);
  } catch (error) {
    return { items, end: error };
  }
  return { items, end: 'done' };
}

/** When all its events were told: `closed` is true before, and `once` of `node:events` would reject for an error. */
async function closed(readable: Readable): Promise<void> {
  while (!readable.closed) await turn();
  await turn();
}

function listeners(readable: Readable): number {
  return ['readable', 'end', 'error', 'close', 'data'].reduce((sum, event) => sum + readable.listenerCount(event), 0);
}

async function respond(url: string): Promise<IncomingMessage> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  return response;
}

describe('fromNodeReadable', () => {
  it('reads a file, which the parsers take', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'recorded.sse');
    await writeFile(path, 'data: a\n\n'.repeat(20_000));
    const source = fromNodeReadable(() => createReadStream(path)).pipe(parseSSE());
    for (let time = 0; time < 2; time += 1) {
      const { items, end } = await read(source);
      expect(items).toHaveLength(20_000);
      expect(end).toBe('done');
    }
  });

  it('errors with what the file system says', async () => {
    const { end } = await read(fromNodeReadable(() => createReadStream('/nonexistent/recorded.sse')));
    expect(end).toMatchObject({ code: 'ENOENT' });
  });

  it('gives text where the stream has an encoding', async () => {
    const readable = Readable.from([Buffer.from([0xc3]), Buffer.from([0xa9])], { objectMode: false });
    readable.setEncoding('utf8');
    expect((await read(fromNodeReadable<string>(readable))).items.join('')).toBe('é');
  });

  it('reads a response of node:http, and closes its socket when it is left', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const first = read(fromNodeReadable(() => respond(server.url)).pipe(parseSSE(), take(1)));
    const exchange = await server.accept();
    await exchange.write('data: a\n\n');
    expect((await first).items).toMatchObject([{ data: 'a' }]);
    expect(await exchange.ended).toBe('client');
  });

  it('gives what came before a response was cut, then the error', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const all = read(fromNodeReadable(() => respond(server.url)).pipe(parseSSE()));
    const exchange = await server.accept();
    await exchange.write('data: a\n\ndata: b\n\n');
    exchange.halfClose();
    const { items, end } = await all;
    expect(items).toMatchObject([{ data: 'a' }, { data: 'b' }]);
    expect(end).toMatchObject({ code: 'ECONNRESET' });
  });

  it('holds back the server of a response while its sink is full', async () => {
    const server = await serve();
    onTestFinished(() => server.close());
    const piece = new Uint8Array(65_536);
    const source = fromNodeReadable(() => respond(server.url));
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

  it('gives what a stream holds that fails or closes, then says so', async () => {
    const odd = new RangeError('odd');
    for (const error of [odd, undefined]) {
      const readable = new Readable({ objectMode: true, read: () => undefined });
      for (const item of ['a', 'b', 'c']) readable.push(item);
      const all = read(fromNodeReadable<string>(readable));
      readable.destroy(error);
      const { items, end } = await all;
      expect(items).toStrictEqual(['a', 'b', 'c']);
      if (error === undefined) expect(end).toBeInstanceOf(InterruptedError);
      else expect(end).toBe(odd);
    }
  });

  it('gives what a stream held that failed before it was subscribed to', async () => {
    const odd = new RangeError('odd');
    for (const isEarly of [true, false]) {
      const readable = new Readable({ objectMode: true, read: () => undefined });
      if (isEarly) readable.on('error', () => undefined);
      readable.push('a');
      readable.destroy(odd);
      // Or in the same turn, before the stream has told its error.
      if (isEarly) await closed(readable);
      const { items, end } = await read(fromNodeReadable<string>(readable));
      expect(items).toStrictEqual(['a']);
      expect(end).toBe(odd);
      await turn();
    }
  });

  it('errors with a stream that was destroyed before its end', async () => {
    const readable = new Readable({ read: () => undefined });
    readable.destroy();
    await once(readable, 'close');
    expect((await read(fromNodeReadable(readable))).end).toBeInstanceOf(InterruptedError);
  });

  it('refuses a stream that somebody else read to its end', async () => {
    const readable = Readable.from(['a']);
    readable.resume();
    await once(readable, 'end');
    expect((await read(fromNodeReadable(readable))).end).toBeInstanceOf(NoResumePlanError);
  });

  it('completes with a stream that has ended and that nobody has read', async () => {
    const readable = new Readable({ read: () => undefined });
    readable.push(null);
    expect(await read(fromNodeReadable(readable))).toStrictEqual({ items: [], end: 'done' });
  });

  it('leaves no listener behind, however it ends', async () => {
    const readables = [Readable.from(['a']), new PassThrough(), new PassThrough(), new PassThrough()];
    const before = readables.map(listeners);
    const [ended, failed, left, cut] = readables as [Readable, Readable, Readable, Readable];
    const ends = [ended, failed, cut].map((readable) => read(fromNodeReadable(readable)));
    const subscription = fromNodeReadable(left).subscribe();
    await turn();
    failed.destroy(new RangeError('odd'));
    cut.destroy();
    subscription.unsubscribe();
    await Promise.all(ends);
    await Promise.all(readables.map(closed));
    await turn();
    expect(readables.map(listeners)).toStrictEqual(before);
    expect(readables.map(({ destroyed }) => destroyed)).toStrictEqual([true, true, true, true]);
  });

  it('does not warn of a stream that failed by itself as it was left', async () => {
    const warning = vi.spyOn(process, 'emitWarning');
    const readable = new PassThrough();
    const subscription = fromNodeReadable(readable).subscribe();
    readable.destroy(new RangeError('odd'));
    subscription.unsubscribe();
    await closed(readable);
    expect(warning).not.toHaveBeenCalled();
    warning.mockRestore();
  });

  it('takes whatever reads like a Readable', async () => {
    const heard = new Map<string, () => void>();
    const items = ['a', 'b'];
    const like = {
      read: () => {
        const item = items.shift() ?? null;
        if (item === null) setImmediate(() => heard.get('end')?.());
        return item;
      },
      on: (event: string, listener: (error: Error) => void) => heard.set(event, listener as () => void),
      off: (event: string) => heard.delete(event),
      destroy: () => undefined,
    };
    expect(await read(fromNodeReadable<string>(like))).toStrictEqual({ items: ['a', 'b'], end: 'done' });
    expect(heard.size).toBe(0);
  });
});
