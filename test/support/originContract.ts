import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import {
  from,
  lastValueFrom,
  map,
  merge,
  type Observable,
  retry,
  Subject,
  Subscription,
  take,
  takeUntil,
  toArray,
} from 'rxjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { InterruptedError, NoResumePlanError, StreamTimeoutError } from '../../src/errors.js';
import { Scope, subscribeWithin } from '../../src/internal/flow.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { timeout } from '../../src/operators/timeout.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { collect } from '../../src/sinks/collect.js';
import type { Receipt, StreamEvent } from '../../src/types.js';

/** Something to read that the test feeds, and what became of it. */
export interface Fed<In> {
  readonly input: In;
  /** Gives an item to whoever waits for one, now or later. */
  give(item: unknown): void;
  end(): void;
  fail(error: Error): void;
  /** How many items were asked for. */
  readonly asked: number;
  /** How often it was stopped. */
  readonly stopped: number;
}

/** What stopping does, where it does not just succeed. */
export type OnStop = 'hang' | { readonly error: Error };

/** A kind of source. */
export interface OriginKind<In> {
  readonly name: string;
  readonly open: (input: In | (() => In | PromiseLike<In>)) => Observable<unknown>;
  readonly feed: (onStop?: OnStop) => Fed<In>;
  /** How many items the platform asks for ahead of a reader. */
  readonly readAhead: number;
  /** The other way. */
  readonly doorOf: (source: Observable<unknown>) => In;
}

interface Seen {
  readonly items: unknown[];
  end: unknown;
}

function watch(source: Observable<unknown>): Seen & { leave(): void } {
  const seen: Seen = { items: [], end: undefined };
  const subscription = source.subscribe({
    next: (item) => seen.items.push(item),
    error: (error: unknown) => (seen.end = error),
    complete: () => (seen.end = 'complete'),
  });
  return Object.assign(seen, {
    leave: () => {
      subscription.unsubscribe();
    },
  });
}

async function turns(count = 5): Promise<void> {
  for (let at = 0; at < count; at += 1) await turn();
}

/** What every source that is asked for item after item does. */
export function describeOrigin<In>({ name, open, feed, readAhead, doorOf }: OriginKind<In>): void {
  describe(`${name}, as a source,`, () => {
    afterEach(() => {
      vi.restoreAllMocks();
      vi.useRealTimers();
    });

    it('emits every item in order, and completes', async () => {
      const fed = feed();
      const seen = watch(open(fed.input));
      for (const item of ['a', 0, false, { b: 1 }]) fed.give(item);
      fed.end();
      await turns();
      expect(seen).toMatchObject({ items: ['a', 0, false, { b: 1 }], end: 'complete' });
      expect(fed.stopped).toBe(0);
    });

    it('emits an item as soon as it is there', async () => {
      const fed = feed();
      const seen = watch(open(fed.input));
      for (const [at, item] of ['a', 'b', 'c'].entries()) {
        await turns();
        expect(seen.items).toHaveLength(at);
        fed.give(item);
      }
      await turns();
      expect(seen).toMatchObject({ items: ['a', 'b', 'c'], end: undefined });
      seen.leave();
    });

    it('completes where there is nothing', async () => {
      const fed = feed();
      const seen = watch(open(fed.input));
      fed.end();
      await turns();
      expect(seen).toMatchObject({ items: [], end: 'complete' });
    });

    it('touches nothing before it is subscribed to', async () => {
      const fed = feed();
      const make = vi.fn(() => fed.input);
      const sources = [open(fed.input), open(make)];
      await turns();
      expect(sources).toHaveLength(2);
      expect(fed.asked).toBe(0);
      expect(make).not.toHaveBeenCalled();
    });

    it('errors with the very error, after the items before it', async () => {
      const fed = feed();
      const seen = watch(open(fed.input));
      const odd = new RangeError('odd');
      fed.give('a');
      await turns();
      fed.fail(odd);
      await turns();
      expect(seen.items).toStrictEqual(['a']);
      expect(seen.end).toBe(odd);
      expect(fed.stopped).toBe(0);
    });

    it('asks for one item at a time, and for none while its sink is full', async () => {
      const fed = feed();
      const iterator = asyncIterableFrom(open(fed.input), { pauseAtItems: 2 })[Symbol.asyncIterator]();
      const first = iterator.next();
      for (let item = 1; item <= 10; item += 1) fed.give(item);
      expect((await first).value).toBe(1);
      await turns();
      expect(fed.asked).toBeGreaterThanOrEqual(3);
      expect(fed.asked).toBeLessThanOrEqual(3 + readAhead);
      const items: unknown[] = [];
      for (let step = 0; step < 4; step += 1) items.push((await iterator.next()).value);
      await turns();
      expect(items).toStrictEqual([2, 3, 4, 5]);
      expect(fed.asked).toBeLessThanOrEqual(7 + readAhead);
      await iterator.return?.();
      expect(fed.stopped).toBe(1);
    });

    it('is stopped in the same turn when it is left: at once', () => {
      const fed = feed();
      watch(open(fed.input)).leave();
      expect(fed.stopped).toBe(1);
    });

    it('is stopped in the same turn when it is left: while it waits, and emits nothing afterwards', async () => {
      const fed = feed();
      const seen = watch(open(fed.input));
      fed.give('a');
      await turns();
      seen.leave();
      seen.leave();
      expect(fed.stopped).toBe(1);
      await turns();
      expect(seen).toMatchObject({ items: ['a'], end: undefined });
    });

    it('is stopped in the same turn when it is left: with an item on its way', async () => {
      const fed = feed();
      const seen = watch(open(fed.input));
      await turns();
      fed.give('a');
      seen.leave();
      expect(fed.stopped).toBe(1);
      await turns();
      expect(seen).toMatchObject({ items: [], end: undefined });
    });

    it('is stopped in the same turn when it is left: from inside the delivery of an item', async () => {
      const fed = feed();
      const seen = watch(open(fed.input).pipe(take(1)));
      fed.give('a');
      fed.give('b');
      await turns();
      expect(seen).toMatchObject({ items: ['a'], end: 'complete' });
      expect(fed.stopped).toBe(1);
    });

    it('is stopped in the same turn when it is left: while it is paused', async () => {
      const fed = feed();
      const iterator = asyncIterableFrom(open(fed.input), { pauseAtItems: 1 })[Symbol.asyncIterator]();
      const first = iterator.next();
      for (const item of ['a', 'b', 'c', 'd']) fed.give(item);
      await first;
      await turns();
      void iterator.return?.();
      expect(fed.stopped).toBe(1);
    });

    it('asks on where a subscriber answers an item by feeding its source', async () => {
      const fed = feed();
      const items: unknown[] = [];
      const subscription = open(fed.input).subscribe((item) => {
        items.push(item);
        if (items.length < 5) fed.give(items.length);
      });
      fed.give(0);
      await turns();
      expect(items).toStrictEqual([0, 1, 2, 3, 4]);
      subscription.unsubscribe();
    });

    it('is stopped by a notifier that an item sets off', async () => {
      const fed = feed();
      const stop = new Subject<void>();
      const seen = watch(open(fed.input).pipe(takeUntil(stop)));
      const other = watch(
        stop.pipe(
          map(() => fed.stopped),
          take(1),
        ),
      );
      fed.give('a');
      await turns();
      stop.next();
      expect(fed.stopped).toBe(1);
      expect(seen).toMatchObject({ items: ['a'], end: 'complete' });
      expect(other.end).toBe('complete');
    });

    it('refuses a second subscription to what can be read once, and says what to give', async () => {
      const fed = feed();
      const source = open(fed.input);
      const [first, second] = [watch(source), watch(source)];
      fed.give('a');
      fed.end();
      await turns();
      const third = watch(open(fed.input));
      await turns();
      expect(first).toMatchObject({ items: ['a'], end: 'complete' });
      for (const { items, end } of [second, third]) {
        expect(items).toStrictEqual([]);
        expect(end).toBeInstanceOf(NoResumePlanError);
        expect(end).toHaveProperty('message', expect.stringContaining('give it a function'));
      }
      expect(fed.stopped).toBe(0);
    });

    it('refuses to be asked again after a failure, with that failure as the cause', async () => {
      const fed = feed();
      const odd = new RangeError('odd');
      const seen = watch(open(fed.input).pipe(retry(3)));
      fed.give('a');
      await turns();
      fed.fail(odd);
      await turns();
      expect(seen.items).toStrictEqual(['a']);
      expect(seen.end).toBeInstanceOf(NoResumePlanError);
      expect((seen.end as Error).cause).toBe(odd);
    });

    it('makes another one for each subscription with a function', async () => {
      const feeds = [feed(), feed()];
      let made = 0;
      const source = open(() => feeds[made++]!.input);
      const seen = watch(source.pipe(retry(1)));
      expect(made).toBe(1);
      feeds[0]!.give('a');
      await turns();
      feeds[0]!.fail(new RangeError('odd'));
      await turns();
      expect(made).toBe(2);
      feeds[1]!.give('b');
      feeds[1]!.end();
      await turns();
      expect(seen).toMatchObject({ items: ['a', 'b'], end: 'complete' });
    });

    it('waits for one that is promised', async () => {
      const fed = feed();
      const seen = watch(open(() => Promise.resolve(fed.input)));
      fed.give('a');
      fed.end();
      await turns();
      expect(seen).toMatchObject({ items: ['a'], end: 'complete' });
    });

    it('stops one that is made after it was left, and asks it for nothing', async () => {
      const fed = feed();
      let keep = (_input: In): void => undefined;
      const promised = new Promise<In>((resolve) => (keep = resolve));
      const seen = watch(open(() => promised));
      seen.leave();
      keep(fed.input);
      await turns();
      expect(fed.asked).toBeLessThanOrEqual(readAhead);
      expect(fed.stopped).toBe(1);
      expect(seen).toMatchObject({ items: [], end: undefined });
    });

    it('errors with what its function throws or rejects with', async () => {
      const odd = new RangeError('odd');
      const thrown = watch(
        open(() => {
          throw odd;
        }),
      );
      const rejected = watch(open(() => Promise.reject(odd)));
      await turns();
      expect(thrown.end).toBe(odd);
      expect(rejected.end).toBe(odd);
    });

    it('hears nothing of a promise that is rejected after it was left', async () => {
      const warning = vi.spyOn(process, 'emitWarning');
      const seen = watch(open(() => Promise.reject(new RangeError('odd'))));
      seen.leave();
      await turns();
      expect(seen.end).toBeUndefined();
      expect(warning).not.toHaveBeenCalled();
    });

    it.each([undefined, null, 7, 'text', {}, []])(
      'refuses %j when called, and from a function when subscribed',
      (input) => {
        // What a caller without types may pass.
        const wrong = input as In;
        expect(() => open(wrong)).toThrow(TypeError);
        expect(() => open(wrong)).toThrow(`${name} takes`);
        const seen = watch(open(() => wrong));
        expect(seen.end).toBeInstanceOf(TypeError);
      },
    );

    it('warns of one that could not be stopped', async () => {
      const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
      const fed = feed({ error: new RangeError('no way') });
      watch(open(fed.input)).leave();
      await turns();
      expect(warning.mock.calls).toStrictEqual([[expect.stringContaining('no way'), 'MillraceWarning']]);
    });

    it('does not warn of one that says it was aborted', async () => {
      const warning = vi.spyOn(process, 'emitWarning');
      const fed = feed({ error: Object.assign(new Error('aborted'), { name: 'AbortError' }) });
      watch(open(fed.input)).leave();
      await turns();
      expect(fed.stopped).toBe(1);
      expect(warning).not.toHaveBeenCalled();
    });

    it('waits for nobody who is slow to stop', async () => {
      const fed = feed('hang');
      const iterator = asyncIterableFrom(open(fed.input))[Symbol.asyncIterator]();
      const first = iterator.next();
      fed.give('a');
      await first;
      expect(await iterator.return?.()).toStrictEqual({ done: true, value: undefined });
      expect(fed.stopped).toBe(1);
    });

    it('is whole for a sink at its end, and cut short by an operator before it', async () => {
      const [whole, cut] = [feed(), feed()];
      const receipts: Receipt[] = [];
      const seen = watch(open(whole.input).pipe(tapReceipt((receipt) => receipts.push(receipt))));
      whole.give('abc');
      whole.end();
      await turns();
      expect(seen.end).toBe('complete');
      expect(receipts).toMatchObject([{ outcome: 'complete', chars: 3, attempts: 1 }]);
      const iterator = asyncIterableFrom(open(cut.input).pipe(take(1)))[Symbol.asyncIterator]();
      const first = iterator.next();
      cut.give('abc');
      cut.give('def');
      expect((await first).value).toBe('abc');
      await expect(iterator.next()).rejects.toBeInstanceOf(InterruptedError);
    });

    it('hands usage and finish of stream events to receipts', async () => {
      const fed = feed();
      const events: StreamEvent[] = [
        { type: 'text', text: 'hi', index: 0, name: 'output' },
        { type: 'usage', provenance: 'reported', inputTokens: 3, outputTokens: 1 },
        { type: 'finish', reason: 'length' },
      ];
      // The test's own items.
      const collected = collect(open(fed.input) as Observable<StreamEvent>);
      for (const event of events) fed.give(event);
      fed.end();
      const { text, receipt } = await collected;
      expect(text).toBe('hi');
      expect(receipt).toMatchObject({
        outcome: 'complete',
        finish: { reason: 'length' },
        usage: { provenance: 'reported', inputTokens: 3, outputTokens: 1 },
      });
    });

    it('is not misled by events of other libraries that have the same names', async () => {
      const fed = feed();
      const receipts: Receipt[] = [];
      watch(open(fed.input).pipe(tapReceipt((receipt) => receipts.push(receipt))));
      for (const type of ['finish', 'usage', 'warning', 'restart']) fed.give({ type, other: 1 });
      fed.end();
      await turns();
      expect(receipts).toMatchObject([{ outcome: 'complete', warnings: [], usage: { provenance: 'unknown' } }]);
      expect(receipts[0]).not.toHaveProperty('finish');
    });

    it('is watched by the clocks of timeout, and stopped when one runs out', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
      const fed = feed();
      const seen = watch(open(fed.input).pipe(timeout({ contentIdleMs: 100 })));
      for (let item = 0; item < 5; item += 1) {
        vi.advanceTimersByTime(99);
        await turns();
        fed.give(item);
        await turns();
      }
      expect(seen.items).toHaveLength(5);
      expect(fed.stopped).toBe(0);
      vi.advanceTimersByTime(101);
      await turns();
      expect(seen.end).toBeInstanceOf(StreamTimeoutError);
      expect(fed.stopped).toBe(1);
    });

    it('keeps an item that was on its way when its sink filled up, until there is room', async () => {
      const fed = feed();
      const scope = new Scope(true);
      const items: unknown[] = [];
      const subscription = new Subscription();
      subscribeWithin(scope, () => {
        subscription.add(open(fed.input).subscribe((item) => items.push(item)));
      });
      await turns();
      scope.pause();
      fed.give('a');
      fed.give('b');
      await turns();
      expect(items).toStrictEqual([]);
      expect(fed.asked).toBeLessThanOrEqual(1 + readAhead);
      scope.release();
      await turns();
      expect(items).toStrictEqual(['a', 'b']);
      subscription.unsubscribe();
    });

    it('feeds the clock of the wire with bytes that make no event yet', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
      const fed = feed();
      // The test's own items.
      const bytes = open(fed.input) as Observable<Uint8Array>;
      const seen = watch(bytes.pipe(parseSSE(), timeout({ wireIdleMs: 100 })));
      for (const piece of ['da', 'ta', ': ', 'a', 'b', '\n', '\n']) {
        vi.advanceTimersByTime(99);
        await turns();
        fed.give(new TextEncoder().encode(piece));
        await turns();
      }
      expect(seen).toMatchObject({ items: [{ data: 'ab' }], end: undefined });
      vi.advanceTimersByTime(101);
      await turns();
      expect(seen.end).toMatchObject({ phase: 'wireIdle' });
    });

    it('moves the clock of content with a state that changes, and not with one that is told again', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
      const fed = feed();
      const seen = watch(open(fed.input).pipe(timeout({ contentIdleMs: 100 })));
      const told = [{ type: 'text', text: 'a', index: 0, name: 'output' }];
      for (const item of [
        ...told,
        ...['queued', 'running', 'done', 'done'].map((status) => ({ type: 'status', status })),
      ]) {
        fed.give(item);
        await turns();
        expect(seen.end).toBeUndefined();
        vi.advanceTimersByTime(60);
        await turns();
      }
      expect(seen.items).toHaveLength(5);
      expect(seen.end).toMatchObject({ phase: 'contentIdle' });
    });

    it('tells when its first content came, and none where there was none', async () => {
      const receipts: Receipt[] = [];
      for (const item of [{ type: 'heartbeat', comment: '' }, 'text']) {
        const fed = feed();
        watch(open(fed.input).pipe(tapReceipt((receipt) => receipts.push(receipt))));
        fed.give(item);
        fed.end();
        await turns();
      }
      expect(receipts.map(({ timings }) => typeof timings.firstContentMs)).toStrictEqual(['undefined', 'number']);
    });

    it('is paused alone where two of them are merged into one sink and one fills it', async () => {
      const [loud, quiet] = [feed(), feed()];
      const merged = merge(open(loud.input), open(quiet.input));
      const iterator = asyncIterableFrom(merged, { pauseAtItems: 2 })[Symbol.asyncIterator]();
      const first = iterator.next();
      for (let item = 0; item < 10; item += 1) loud.give(item);
      await first;
      await turns();
      const { asked } = loud;
      expect(asked).toBeLessThanOrEqual(3 + readAhead);
      expect(quiet.asked).toBeGreaterThanOrEqual(1);
      const items: unknown[] = [0];
      quiet.give('quiet');
      quiet.end();
      loud.end();
      for (;;) {
        const { done, value } = await iterator.next();
        if (done === true) break;
        items.push(value);
      }
      expect(items.filter((item) => item !== 'quiet')).toStrictEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(items).toContain('quiet');
    });

    it('gives back through its door what went in, with the same end', async () => {
      const item = fc.oneof(fc.string({ minLength: 1 }), fc.integer(), fc.object(), fc.constant(undefined));
      await fc.assert(
        fc.asyncProperty(fc.array(item), fc.option(fc.constant(new RangeError('odd'))), async (items, error) => {
          const source = new Subject<unknown>();
          const all = watch(open(doorOf(from(items))));
          const failing = watch(open(doorOf(source)));
          for (let waits = 0; !source.observed && waits < 10; waits += 1) await turn();
          for (const value of items) source.next(value);
          if (error === null) source.complete();
          else source.error(error);
          while (failing.end === undefined || all.end === undefined) await turn();
          expect(all).toMatchObject({ end: 'complete' });
          expect(all.items).toStrictEqual(items);
          expect(failing.items).toStrictEqual(items);
          expect(failing.end).toBe(error ?? 'complete');
        }),
        { numRuns: 40 },
      );
    });

    it('carries pressure through its door to what is behind', async () => {
      const fed = feed();
      const iterator = asyncIterableFrom(open(doorOf(open(fed.input))), { pauseAtItems: 1 })[Symbol.asyncIterator]();
      const first = iterator.next();
      for (let at = 0; at < 200; at += 1) fed.give(at);
      expect((await first).value).toBe(0);
      await turns(20);
      // One was read, one waits, one is on its way, sixteen wait in the door between, and what the platform reads ahead.
      expect(fed.asked).toBeLessThanOrEqual(1 + 1 + 1 + 16 + 2 * readAhead + 1);
      await iterator.return?.();
      await turns();
      expect(fed.stopped).toBe(1);
    });

    it('tells the receipt of its own stream alone, whatever is behind a door', async () => {
      const receipts: Receipt[] = [];
      const source = open(doorOf(from(['a', 'b']))).pipe(tapReceipt((receipt) => receipts.push(receipt)));
      expect(await lastValueFrom(source.pipe(toArray()))).toStrictEqual(['a', 'b']);
      expect(receipts).toMatchObject([{ outcome: 'complete', chars: 2, attempts: 1 }]);
    });
  });
}
