import { setImmediate as turn } from 'node:timers/promises';
import { from, type Observable, take } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import { fromCall } from '../../src/sources/fromCall.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { fromAsyncIterable } from '../../src/sources/fromAsyncIterable.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import type { Receipt } from '../../src/types.js';
import { describeOrigin, type Fed, type OnStop } from '../support/originContract.js';

/** An iterator that the test feeds; it gives itself as its iterator, as a generator does. */
function feed(onStop?: OnStop): Fed<AsyncIterableIterator<unknown>> {
  type Step = IteratorResult<unknown, undefined>;
  const ready: (() => Promise<Step>)[] = [];
  const waiting: ((step: Promise<Step>) => void)[] = [];
  const state = { asked: 0, stopped: 0 };
  const add = (step: () => Promise<Step>): void => {
    const reader = waiting.shift();
    if (reader === undefined) ready.push(step);
    else reader(step());
  };
  const input: AsyncIterableIterator<unknown> = {
    [Symbol.asyncIterator]: () => input,
    next: () => {
      state.asked += 1;
      const step = ready.shift();
      if (step !== undefined) return step();
      return new Promise((resolve) => waiting.push(resolve));
    },
    return: () => {
      state.stopped += 1;
      if (onStop === 'hang') return new Promise(() => undefined);
      if (onStop !== undefined) return Promise.reject(onStop.error);
      for (const reader of waiting.splice(0)) reader(Promise.resolve({ done: true, value: undefined }));
      return Promise.resolve({ done: true, value: undefined });
    },
  };
  return {
    input,
    give: (value) => {
      add(() => Promise.resolve({ done: false, value }));
    },
    end: () => {
      add(() => Promise.resolve({ done: true, value: undefined }));
    },
    fail: (error) => {
      add(() => Promise.reject(error));
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
  name: 'fromAsyncIterable',
  open: (input) => fromAsyncIterable(input),
  feed,
  readAhead: 0,
  // One that can be read once, as the other doors are.
  doorOf: (source) => {
    const iterator = asyncIterableFrom(source)[Symbol.asyncIterator]();
    const once: AsyncIterableIterator<unknown> = {
      [Symbol.asyncIterator]: () => once,
      next: () => iterator.next(),
      return: () => iterator.return?.() ?? Promise.resolve({ done: true, value: undefined }),
    };
    return once;
  },
});

async function* count(upTo: number): AsyncGenerator<number> {
  for (let item = 1; item <= upTo; item += 1) {
    await turn();
    yield item;
  }
}

async function gather<T>(source: Observable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of asyncIterableFrom(source)) items.push(item);
  return items;
}

describe('fromAsyncIterable', () => {
  it('reads a generator, once', async () => {
    const source = fromAsyncIterable(count(3));
    expect(await gather(source)).toStrictEqual([1, 2, 3]);
    await expect(gather(source)).rejects.toMatchObject({ code: 'ERR_NO_RESUME_PLAN' });
  });

  it('reads a generator’s function as often as it is subscribed to', async () => {
    const source = fromAsyncIterable(() => count(2));
    expect(await Promise.all([gather(source), gather(source)])).toStrictEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it('reads an iterable that can be read again as often as it is subscribed to', async () => {
    const source = fromAsyncIterable(asyncIterableFrom(from(['a', 'b'])));
    expect(await gather(source)).toStrictEqual(['a', 'b']);
    expect(await gather(source)).toStrictEqual(['a', 'b']);
  });

  it('runs the finally of a generator that is left, and none of its rest', async () => {
    const steps: string[] = [];
    async function* generate(): AsyncGenerator<string> {
      try {
        yield 'a';
        steps.push('went on');
        yield 'b';
      } finally {
        await turn();
        steps.push('finally');
      }
    }
    const items: string[] = [];
    fromAsyncIterable(generate())
      .pipe(take(1))
      .subscribe((item) => items.push(item));
    while (steps.length === 0) await turn();
    expect(items).toStrictEqual(['a']);
    expect(steps).toStrictEqual(['finally']);
  });

  it('warns of a generator whose finally throws after it was left', async () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const close = (): Promise<void> => Promise.reject(new RangeError('odd'));
    async function* generate(): AsyncGenerator<string> {
      try {
        yield 'a';
        yield 'b';
      } finally {
        await close();
      }
    }
    fromAsyncIterable(generate()).pipe(take(1)).subscribe();
    while (warning.mock.calls.length === 0) await turn();
    expect(warning.mock.calls[0]?.[0]).toContain('odd');
    warning.mockRestore();
  });

  it('takes an iterator without return', async () => {
    const input = { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: false, value: 1 }) }) };
    const items: number[] = [];
    fromAsyncIterable<number>(input)
      .pipe(take(2))
      .subscribe((item) => items.push(item));
    await turn();
    expect(items).toStrictEqual([1, 1]);
  });

  it.each([
    [
      'whose next throws',
      {
        next: () => {
          throw new RangeError('odd');
        },
      },
      'odd',
    ],
    ['whose next gives nothing', { next: () => undefined }, 'next() gave undefined'],
    ['without next', {}, 'next'],
    [
      'whose result throws when it is looked at',
      {
        next: () => ({
          get done(): boolean {
            throw new RangeError('odd');
          },
        }),
      },
      'odd',
    ],
  ])('errors with an iterator %s', async (_, iterator, message) => {
    // What a caller without types may pass.
    const input = { [Symbol.asyncIterator]: () => iterator } as unknown as AsyncIterable<unknown>;
    await expect(gather(fromAsyncIterable(input))).rejects.toThrow(message);
  });

  it('errors with what [Symbol.asyncIterator]() throws', async () => {
    const input: AsyncIterable<unknown> = {
      [Symbol.asyncIterator]: () => {
        throw new RangeError('odd');
      },
    };
    await expect(gather(fromAsyncIterable(input))).rejects.toThrow('odd');
  });

  it('takes an iterator that answers without a promise', async () => {
    const steps = [
      { done: false, value: 'a' },
      { done: true, value: undefined },
    ];
    const input = { [Symbol.asyncIterator]: () => ({ next: () => steps.shift() }) } as unknown as AsyncIterable<string>;
    expect(await gather(fromAsyncIterable(input))).toStrictEqual(['a']);
  });

  it('is stopped by an iterator that leaves from inside next', async () => {
    let stopped = 0;
    const iterator: AsyncIterator<number> = {
      next: () => {
        subscription.unsubscribe();
        return Promise.resolve({ done: false, value: 1 });
      },
      return: () => {
        stopped += 1;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
    const items: number[] = [];
    const source = fromAsyncIterable(async () => {
      await turn();
      return { [Symbol.asyncIterator]: () => iterator };
    });
    const subscription = source.subscribe((item) => items.push(item));
    await turn();
    await turn();
    expect(items).toStrictEqual([]);
    expect(stopped).toBe(1);
  });

  it('keeps what an iterable asks for out of the stream’s own receipt', async () => {
    const receipts: Receipt[] = [];
    async function* generate(): AsyncGenerator<string> {
      for await (const event of asyncIterableFrom(
        fromCall(
          fakeCall([
            { type: 'text', text: 'a', index: 0, name: 'output' },
            { type: 'finish', reason: 'stop' },
          ]),
        ),
      )) {
        yield event.type;
      }
    }
    const source = fromAsyncIterable(generate()).pipe(tapReceipt((receipt) => receipts.push(receipt)));
    expect(await gather(source)).toStrictEqual(['text', 'finish']);
    expect(receipts).toMatchObject([{ outcome: 'complete', attempts: 1, chars: 10 }]);
    expect(receipts[0]).not.toHaveProperty('provider');
  });

  it('asks for 16 items beyond those that a slow loop has taken, where `from` asks for all', async () => {
    const total = 2_000;
    const pulledBy = async (open: (input: AsyncIterable<number>) => Observable<number>): Promise<number> => {
      let pulled = 0;
      async function* instant(): AsyncGenerator<number> {
        for (let item = 1; item <= total; item += 1) {
          pulled += 1;
          yield await Promise.resolve(item);
        }
      }
      for await (const item of asyncIterableFrom(open(instant()))) {
        for (let turns = 0; turns < 20; turns += 1) await turn(); // slow work
        if (item === 13) break;
      }
      return pulled;
    };
    expect(await pulledBy((input) => fromAsyncIterable(input))).toBe(13 + 16);
    expect(await pulledBy((input) => from(input))).toBe(total);
  });
});
