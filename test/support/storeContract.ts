import { getEventListeners } from 'node:events';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { StoreError } from '../../src/errors.js';
import type { StoredEntry, StoredPage, StreamLease, StreamStore } from '../../src/protocol/streamStore.js';

/** What the contract sets on a store that it asks for. */
export interface StoreSettings {
  /** At least so many of a stream's last entries are kept; of 2,000 more, the first are not. */
  readonly maxEntries?: number;
  /** A stream that is closed or abandoned is gone so long after. */
  readonly expireMs?: number;
  /** A process that says nothing any more counts as a reader for so long, where no lease of the stream is longer than half of it. */
  readonly presenceMs?: number;
}

/** A store with data of its own: no other call of `make` sees it. */
export interface StoreAtHand {
  readonly store: StreamStore;
  /** The same data through another connection, with the same settings, as another process has it. */
  another(): Promise<StreamStore>;
  /** Takes a stream out of the data from outside, as a fault or an operator does: as if it had never been. */
  remove(id: string): Promise<void>;
  /**
   * Begins to read a stream in a process of its own, or what the store takes for one; resolves when the store knows of it.
   * @returns what kills that process
   */
  readElsewhere(id: string): Promise<() => Promise<void>>;
  /** Called after the test, when every store is closed. */
  dispose?(): Promise<void>;
}

export type MakeStore = (settings?: StoreSettings) => Promise<StoreAtHand>;

/** A lease that nobody waits for. */
const LONG_MS = 60_000;
/** A lease that tests wait for the end of. */
const SHORT_MS = 150;

const POSITION = /^[0-9a-z-]{1,64}$/;

/** Patience for states that come with time; nothing is asserted of how long it takes. */
const PATIENCE = { timeout: 15_000, interval: 10 };

/** What `make` makes, closed after the test. */
function opening(make: MakeStore): MakeStore {
  return async (settings) => {
    const atHand = await make(settings);
    const stores = [atHand.store];
    onTestFinished(async () => {
      await Promise.all(stores.map((store) => store.close()));
      await atHand.dispose?.();
    });
    return {
      ...atHand,
      remove: (id) => atHand.remove(id),
      readElsewhere: (id) => atHand.readElsewhere(id),
      another: async () => {
        const store = await atHand.another();
        stores.push(store);
        return store;
      },
    };
  };
}

/** Everything that `protocol/streamStore.ts` promises, tried on one store. */
export function describeStore(name: string, make: MakeStore): void {
  const open = opening(make);

  describe(`${name}: a lease`, () => {
    it('makes the stream, which has nothing then', async () => {
      const { store } = await open();
      expect(await store.read('a')).toStrictEqual({ entries: [], state: 'missing' });
      const lease = await take(store, 'a');
      expect(lease.last).toBeUndefined();
      expect(lease.note).toBeUndefined();
      expect(await store.read('a')).toStrictEqual({ entries: [], state: 'open' });
    });

    it('is refused while another has one, here and elsewhere', async () => {
      const { store, another } = await open();
      const other = await another();
      await take(store, 'a');
      expect(await store.lease('a', { ttlMs: LONG_MS })).toBe('taken');
      expect(await other.lease('a', { ttlMs: LONG_MS })).toBe('taken');
      await take(other, 'b');
      expect(await store.lease('b', { ttlMs: LONG_MS })).toBe('taken');
    });

    it('goes to one of many who want it at once', async () => {
      const { store, another } = await open();
      const other = await another();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? store : other).lease('a', { ttlMs: LONG_MS })),
      );
      expect(answers.filter((answer) => answer !== 'taken')).toHaveLength(1);
    });

    it('is free once its time is over', async () => {
      const { store, another } = await open();
      const other = await another();
      const first = await take(store, 'a', SHORT_MS);
      await first.append(['one']);
      const second = await takeWhenFree(other, 'a');
      expect(second.last).toMatchObject({ data: 'one', previous: '' });
      await second.append(['two']);
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['one', 'two']);
    });

    it('is free at once when it is released', async () => {
      const { store, another } = await open();
      const lease = await take(store, 'a');
      await lease.release();
      expect(await store.read('a')).toStrictEqual({ entries: [], state: 'orphaned' });
      await take(await another(), 'a');
      expect((await store.read('a')).state).toBe('open');
    });

    it('that was released writes nothing any more', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      await lease.append(['one']);
      await lease.release();
      await lease.release();
      await expectLost(lease);
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['one']);
    });

    it('is refused for good once the stream is closed', async () => {
      const { store, another } = await open();
      const lease = await take(store, 'a');
      await lease.close('the end');
      expect(await store.lease('a', { ttlMs: LONG_MS })).toBe('closed');
      expect(await (await another()).lease('a', { ttlMs: LONG_MS })).toBe('closed');
      await expectLost(lease);
      await lease.release();
      expect(await store.read('a')).toMatchObject({ entries: [{ data: 'the end', previous: '' }], state: 'closed' });
    });

    it.each([['append'], ['renew']] as const)('is renewed by %s', async (method) => {
      const { store, another } = await open();
      const other = await another();
      const ttlMs = 600;
      for (let attempt = 0; ; attempt += 1) {
        const id = `a${String(attempt)}`;
        const lease = await take(store, id, ttlMs);
        const reader = follow(other, id);
        const states = new Set<string>();
        const read = reader.each((page) => states.add(page.state));
        const began = performance.now();
        let renewed = began;
        let longest = 0;
        do {
          await (method === 'append' ? lease.append(['x']) : lease.renew());
          longest = Math.max(longest, performance.now() - renewed);
          renewed = performance.now();
          expect(await other.lease(id, { ttlMs })).toBe('taken');
          await sleep(ttlMs / 10);
        } while (performance.now() - began < 2 * ttlMs);
        reader.leave();
        await read;
        // A machine that was busy for longer than the lease lets it run out, rightly.
        if (longest > ttlMs / 2 && attempt < 5) continue;
        expect([...states].filter((state) => state !== 'open')).toStrictEqual([]);
        return;
      }
    });

    it('that ran out goes on where nobody took over', async () => {
      const { store, another } = await open();
      const lease = await take(store, 'a', SHORT_MS);
      await lease.append(['one']);
      const reader = follow(await another(), 'a');
      await reader.until(isOrphaned);
      await lease.append(['two']);
      await reader.untilTexts('one', 'two');
      await reader.until(isOrphaned);
      await lease.renew();
      await lease.close('three');
      expect((await reader.toEnd())?.state).toBe('closed');
      expect(reader.texts()).toStrictEqual(['one', 'two', 'three']);
    });

    it('that ran out is renewed where nobody took over, and is its own again', async () => {
      const { store, another } = await open();
      const other = await another();
      const lease = await take(store, 'a', 1000);
      await vi.waitUntil(async () => (await other.read('a')).state === 'orphaned', PATIENCE);
      await lease.renew();
      expect((await other.read('a')).state).toBe('open');
    });

    it('hands what was noted to the next writers, until another note', async () => {
      const { store, another } = await open();
      const first = await take(store, 'a');
      expect(await first.renew('job 1')).toStrictEqual({ position: '', isStopAsked: false });
      await first.release();
      const second = await take(await another(), 'a');
      expect(second.note).toBe('job 1');
      await second.append(['x']);
      await second.renew();
      await second.release();
      const third = await take(store, 'a');
      expect(third.note).toBe('job 1');
      await third.renew('');
      await third.renew('job 2\0\u{1F600}');
      await third.release();
      expect((await take(store, 'a')).note).toBe('job 2\0\u{1F600}');
    });

    it('hands on a note that is empty', async () => {
      const { store } = await open();
      const first = await take(store, 'a');
      await first.renew('');
      await first.release();
      expect((await take(store, 'a')).note).toBe('');
    });

    it('hands on the last entry as readers get it', async () => {
      const { store, another } = await open();
      const first = await take(store, 'a');
      await first.append(['one', 'two']);
      const { position } = await first.append(['three']);
      await first.release();
      const second = await take(await another(), 'a');
      expect(second.last).toStrictEqual((await readAll(store, 'a')).at(-1));
      expect(second.last?.position).toBe(position);
    });

    it.each([[0], [-1], [Number.NaN], [Number.POSITIVE_INFINITY], [2 ** 31]])('of %s ms is refused', async (ttlMs) => {
      const { store } = await open();
      await expect(store.lease('a', { ttlMs })).rejects.toBeInstanceOf(RangeError);
      expect((await store.read('a')).state).toBe('missing');
    });

    it('of a part of a millisecond over one is none of less', async () => {
      const { store } = await open();
      const lease = await take(store, 'a', 1.5);
      await lease.close('x');
      expect((await store.read('a')).state).toBe('closed');
    });
  });

  describe(`${name}: a writer that was asleep`, () => {
    const sleepers = async (): Promise<{ asleep: StreamLease; awake: StreamLease; store: StreamStore }> => {
      const { store, another } = await open();
      const asleep = await take(store, 'a', SHORT_MS);
      await asleep.append(['one']);
      return { asleep, awake: await takeWhenFree(await another(), 'a'), store };
    };

    it('can write nothing after another has written', async () => {
      const { asleep, awake, store } = await sleepers();
      await awake.append(['two']);
      await expectLost(asleep);
      await asleep.release();
      await awake.close('three');
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['one', 'two', 'three']);
    });

    it('can write nothing after another has only leased', async () => {
      const { asleep, awake, store } = await sleepers();
      await expectLost(asleep);
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['one']);
      await awake.append(['two']);
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['one', 'two']);
    });

    it('can write nothing after another has come and gone', async () => {
      const { asleep, awake, store } = await sleepers();
      await awake.release();
      await expectLost(asleep);
      expect(await store.read('a')).toMatchObject({ entries: [{ data: 'one' }], state: 'orphaned' });
    });

    it('can write nothing after another has closed', async () => {
      const { asleep, awake, store } = await sleepers();
      await awake.close('two');
      await expectLost(asleep);
      await asleep.release();
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['one', 'two']);
    });

    it('cannot take the lease from another by releasing its own, nor lengthen it', async () => {
      const { asleep, awake, store } = await sleepers();
      await asleep.release();
      expect(await store.lease('a', { ttlMs: LONG_MS })).toBe('taken');
      await expectLost(asleep);
      await awake.append(['two']);
    });

    it('cannot replace the note of the one awake', async () => {
      const { asleep, awake, store } = await sleepers();
      await awake.renew('mine');
      await expectStoreError(asleep.renew('not mine'), 'lease-lost');
      await awake.release();
      expect((await take(store, 'a')).note).toBe('mine');
    });

    it('can write nothing into a stream of the same name that was made anew', async () => {
      const { store, remove } = await open();
      const asleep = await take(store, 'a');
      await asleep.append(['one']);
      await remove('a');
      const awake = await take(store, 'a');
      expect(awake.last).toBeUndefined();
      await expectLost(asleep);
      await awake.append(['two']);
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['two']);
    });

    it('hears that the stream is lost where it is gone', async () => {
      const { store, remove } = await open();
      const lease = await take(store, 'a');
      await lease.append(['one']);
      await remove('a');
      await expectStoreError(lease.append(['two']), 'lost');
      await expectStoreError(lease.append([]), 'lost');
      await expectStoreError(lease.renew(), 'lost');
      await expectStoreError(lease.close('two'), 'lost');
      await lease.release();
      expect(await store.read('a')).toStrictEqual({ entries: [], state: 'missing' });
    });
  });

  describe(`${name}: writing`, () => {
    it('keeps the order, and tells of the last position', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      const replies = [await lease.append(['one']), await lease.append(['two', 'three', 'four']), await lease.renew()];
      const entries = await readAll(store, 'a');
      expect(textsOf(entries)).toStrictEqual(['one', 'two', 'three', 'four']);
      expect(replies.map(({ position }) => position)).toStrictEqual([
        entries[0]!.position,
        entries[3]!.position,
        entries[3]!.position,
      ]);
    });

    it('of nothing renews, and tells of the last position', async () => {
      const { store, another } = await open();
      const first = await take(store, 'a');
      expect(await first.append([])).toStrictEqual({ position: '', isStopAsked: false });
      const { position } = await first.append(['one']);
      expect(await first.append([])).toStrictEqual({ position, isStopAsked: false });
      await first.release();
      const second = await take(await another(), 'a');
      expect(await second.append([])).toStrictEqual({ position, isStopAsked: false });
      expect(await second.renew()).toStrictEqual({ position, isStopAsked: false });
    });

    it('gives positions that are fit for a Last-Event-ID, each its own, and chains them across writers', async () => {
      const { store, another } = await open();
      const other = await another();
      for (let writer = 0; writer < 4; writer += 1) {
        const lease = await take(writer % 2 === 0 ? store : other, 'a');
        await lease.append(['x', 'y']);
        await lease.append(['z']);
        await lease.release();
      }
      const lease = await take(store, 'a');
      await lease.close('end');
      const entries = await readAll(other, 'a');
      expect(entries).toHaveLength(13);
      expect(new Set(entries.map(({ position }) => position)).size).toBe(13);
      for (const { position } of entries) expect(position).toMatch(POSITION);
      expect(entries.map(({ previous }) => previous)).toStrictEqual([
        '',
        ...entries.map((e) => e.position).slice(0, -1),
      ]);
    });

    it('keeps the order of appends that do not wait for each other, and closes after them', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      const texts = Array.from({ length: 50 }, (_, index) => String(index));
      await Promise.all([...texts.map((text) => lease.append([text])), lease.close('end')]);
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual([...texts, 'end']);
    });

    it('shows readers all of an append or nothing of it', async () => {
      const { store, another } = await open();
      const other = await another();
      const lease = await take(store, 'a');
      let isWriting = true;
      const counts = new Set<number>();
      const reading = (async (): Promise<void> => {
        while (isWriting) counts.add((await other.read('a')).entries.length % 7);
      })();
      for (let round = 0; round < 15; round += 1) {
        await lease.append(Array.from({ length: 7 }, (_, index) => String(index)));
        await turn();
      }
      isWriting = false;
      await reading;
      expect([...counts]).toStrictEqual([0]);
    });

    it('writes all or nothing: a text that cannot be kept stops the others, and the lease goes on', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      await expect(lease.append(['one', '\ud800', 'two'])).rejects.toBeInstanceOf(TypeError);
      expect((await store.read('a')).entries).toStrictEqual([]);
      await lease.append(['three']);
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['three']);
    });

    it('refuses half a surrogate pair, which would come back as another character', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      for (const text of ['\ud83d', 'a\ude00b', '\ude00\ud83d']) {
        await expect(lease.append([text])).rejects.toBeInstanceOf(TypeError);
        await expect(lease.renew(text)).rejects.toBeInstanceOf(TypeError);
        await expect(lease.close(text)).rejects.toBeInstanceOf(TypeError);
      }
      await lease.close('\ud83d\ude00');
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['\u{1F600}']);
    });

    it('keeps every text as it is', async () => {
      const { store, another } = await open();
      const other = await another();
      let run = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.string({ unit: 'binary', maxLength: 50 }), { minLength: 1, maxLength: 20 }),
          async (texts) => {
            const id = `texts ${String((run += 1))}`;
            const lease = await take(store, id);
            await lease.append(texts);
            expect(textsOf(await readAll(other, id))).toStrictEqual(texts);
          },
        ),
        { numRuns: 30 },
      );
    });

    it('keeps the texts that stores trip over', async () => {
      const texts = [
        '',
        '\0',
        'a\0b\0',
        '\r\n\r\n',
        '\u2028\u2029\ufeff\ufffe\uffff',
        '\ufeffbom first',
        "'); DROP TABLE entries; --",
        '$1 ?1 :id @id %s {} [] * \\ \\0 \\u0000',
        'e\u0301 \u00e9',
        '\u{10FFFF}\u{1F468}\u200d\u{1F469}',
        '123',
        '1e5',
        'null',
        ' ',
        '{"type":"text","text":"x"}',
      ];
      const { store, another } = await open();
      const lease = await take(store, 'a');
      await lease.append(texts);
      await lease.release();
      expect((await take(await another(), 'a')).last?.data).toBe(texts.at(-1));
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(texts);
      expect(textsOf(await readAll(await another(), 'a'))).toStrictEqual(texts);
    });

    it('keeps a megabyte', async () => {
      const { store, another } = await open();
      const texts = ['x'.repeat(1_000_000), '\u{1F600}é\0'.repeat(100_000), 'y'.repeat(1_000_000)];
      const lease = await take(store, 'a');
      await lease.append(texts);
      await lease.close('z'.repeat(1_000_000));
      const read = await readAll(await another(), 'a');
      expect(textsOf(read).map((text) => text.length)).toStrictEqual([1_000_000, 400_000, 1_000_000, 1_000_000]);
      expect(textsOf(read).slice(0, 3)).toStrictEqual(texts);
    });
  });

  describe(`${name}: reading`, () => {
    it('goes on from any position, that of the last entry too', async () => {
      const { store, another } = await open();
      const other = await another();
      const lease = await take(store, 'a');
      await lease.append(Array.from({ length: 10 }, (_, index) => String(index)));
      const entries = await readAll(store, 'a');
      for (const reader of [store, other]) {
        for (const [index, { position, previous }] of entries.entries()) {
          expect(await reader.read('a', position)).toStrictEqual({ entries: entries.slice(index + 1), state: 'open' });
          expect(await reader.read('a', previous)).toStrictEqual({ entries: entries.slice(index), state: 'open' });
        }
      }
    });

    it('takes the empty position, which the first entry has before it, for the beginning', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      await lease.append(['one']);
      expect(await store.read('a', '')).toStrictEqual(await store.read('a'));
      expect((await follow(store, 'a', '').next())?.entries.map(({ data }) => data)).toStrictEqual(['one']);
    });

    it('tells how the stream stands: open, orphaned, closed, and missing', async () => {
      const { store, another } = await open();
      const other = await another();
      expect((await other.read('a')).state).toBe('missing');
      const first = await take(store, 'a', SHORT_MS);
      await first.append(['one']);
      await vi.waitUntil(async () => (await other.read('a')).state === 'orphaned', PATIENCE);
      expect(await other.read('a')).toMatchObject({ entries: [{ data: 'one' }], state: 'orphaned' });
      const second = await take(other, 'a');
      expect(await store.read('a')).toMatchObject({ entries: [{ data: 'one' }], state: 'open' });
      await second.close('two');
      const { entries, state } = await store.read('a');
      expect(entries.map(({ data }) => data)).toStrictEqual(['one', 'two']);
      expect(state).toBe('closed');
      expect(await store.read('a', entries[1]!.position)).toStrictEqual({ entries: [], state: 'closed' });
      expect((await store.read('b', entries[1]!.position)).state).toBe('missing');
    });

    it.each([
      ['open', 'open'],
      ['orphaned', 'orphaned'],
      ['closed', 'closed'],
    ] as const)('of a long stream that is %s comes in pages, the last of which says so', async (_name, last) => {
      const { store, another } = await open();
      const texts = Array.from({ length: 5000 }, (_, index) => `${String(index)} ${'x'.repeat(index % 50)}`);
      const lease = await take(store, 'a');
      for (let at = 0; at < texts.length; at += 500) await lease.append(texts.slice(at, at + 500));
      if (last === 'orphaned') await lease.release();
      if (last === 'closed') await lease.close('end');
      const pages = await pagesOf(await another(), 'a');
      expect(pages.flatMap(({ entries }) => textsOf(entries))).toStrictEqual(
        last === 'closed' ? [...texts, 'end'] : texts,
      );
      expect(pages.length).toBeGreaterThan(1);
      expect(pages.at(-1)?.state).toBe(last);
      if (last === 'closed')
        expect(new Set(pages.slice(0, -1).map(({ state }) => state))).toStrictEqual(new Set(['open']));
    });

    it('of large entries comes in pages, none of them without an entry', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      const texts = Array.from({ length: 12 }, (_, index) => String(index).padStart(1_000_000, ' '));
      for (const text of texts) await lease.append([text]);
      await lease.close('end');
      const pages = await pagesOf(store, 'a');
      expect(pages.length).toBeGreaterThan(1);
      for (const { entries } of pages) expect(entries.length).toBeGreaterThan(0);
      expect(pages.flatMap(({ entries }) => textsOf(entries).map((text) => text.trim()))).toStrictEqual([
        ...texts.map((text) => text.trim()),
        'end',
      ]);
    });

    it('after a position that never was says that it is not there', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      await lease.append(['one', 'two', 'three']);
      const elsewhere = await take(store, 'b');
      const foreign = await elsewhere.append(['one', 'two']);
      const { position } = await lease.renew();
      const wrong = [
        'nonsense',
        '-',
        '0',
        '0-0',
        '-1',
        'zzzzzzzzzzzz',
        '9007199254740993-0',
        '18446744073709551616-0',
        '99999999999999999999999999',
        ' ',
        '$',
        '+',
        '(1',
        "' OR 1=1 --",
        '\0',
        '\n',
        'é\u{1F600}',
        '\ud800',
        'x'.repeat(100_000),
        position.toUpperCase() === position ? `${position}Z` : position.toUpperCase(),
        ` ${position}`,
        `${position} `,
        `${position}-`,
        `${position}0`,
        `0${position}`,
        `+${position}`,
        position.slice(1),
        position.slice(0, -1),
        foreign.position,
      ];
      for (const after of wrong) {
        expect([after, await store.read('a', after)]).toStrictEqual([after, { entries: [], state: 'trimmed' }]);
        expect([after, await follow(store, 'a', after).toEnd()]).toStrictEqual([
          after,
          { entries: [], state: 'trimmed' },
        ]);
      }
      for (const after of [position, foreign.position, 'nonsense'])
        expect((await store.read('c', after)).state).toBe('missing');
    });

    it('after a position in a stream of the same name that is gone says that it is not there', async () => {
      const { store, remove } = await open();
      const first = await take(store, 'a');
      await first.append(['one', 'two', 'three']);
      const old = await readAll(store, 'a');
      await remove('a');
      const second = await take(store, 'a');
      await second.append(['four', 'five', 'six', 'seven']);
      for (const { position } of old)
        expect(await store.read('a', position)).toStrictEqual({ entries: [], state: 'trimmed' });
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['four', 'five', 'six', 'seven']);
    });
  });

  describe(`${name}: a stream that is trimmed`, () => {
    const KEPT = 50;

    /** Writes so many entries, ten at a time; their positions. */
    const fill = async (store: StreamStore, lease: StreamLease, count: number): Promise<string[]> => {
      const positions: string[] = [];
      for (let at = 0; at < count; at += 10) {
        await lease.append(Array.from({ length: 10 }, (_, index) => String(at + index)));
        const { entries } = await store.read('a', positions.at(-1));
        positions.push(...entries.map(({ position }) => position));
      }
      return positions;
    };

    it('says so to whom it lacks entries for, and goes on for others', async () => {
      const { store, another } = await open({ maxEntries: KEPT });
      const lease = await take(store, 'a');
      const positions = await fill(store, lease, 2000 + KEPT);
      expect(positions).toHaveLength(2000 + KEPT);
      for (const reader of [store, await another()]) {
        for (const after of [undefined, '', positions[0], positions[10]]) {
          expect(await reader.read('a', after)).toStrictEqual({ entries: [], state: 'trimmed' });
          expect(await follow(reader, 'a', after).toEnd()).toStrictEqual({ entries: [], state: 'trimmed' });
        }
        const { entries } = await reader.read('a', positions[1999]);
        expect(entries).toHaveLength(KEPT);
        expect(entries[0]).toMatchObject({ data: '2000', previous: positions[1999] });
        expect(entries.at(-1)).toMatchObject({ data: '2049', position: positions[2049] });
      }
      await lease.close('end');
      expect(await store.read('a', positions.at(-1))).toMatchObject({ entries: [{ data: 'end' }], state: 'closed' });
      expect((await store.read('a')).state).toBe('trimmed');
    });

    it('says so at the exact position: what is there is given, what is gone is told', async () => {
      const { store } = await open({ maxEntries: KEPT });
      const positions = await fill(store, await take(store, 'a'), 2000);
      const states = await Promise.all(
        positions.map(async (position, index) => {
          const { entries, state } = await store.read('a', position);
          if (state !== 'trimmed' && index < 1999)
            expect(entries[0]).toMatchObject({ data: String(index + 1), previous: position });
          return state;
        }),
      );
      const gone = states.lastIndexOf('trimmed') + 1;
      expect(states).toStrictEqual([
        ...Array<string>(gone).fill('trimmed'),
        ...Array<string>(2000 - gone).fill('open'),
      ]);
      expect(gone).toBeGreaterThan(0);
      expect(gone).toBeLessThanOrEqual(2000 - KEPT);
    });

    it('hands its last entry on, where one append was more than is kept', async () => {
      const { store, another } = await open({ maxEntries: KEPT });
      const lease = await take(store, 'a');
      const { position } = await lease.append(Array.from({ length: 3000 }, (_, index) => String(index)));
      await lease.release();
      const next = await take(await another(), 'a');
      expect(next.last).toMatchObject({ position, data: '2999' });
      await next.close('end');
      expect(await store.read('a', position)).toMatchObject({
        entries: [{ data: 'end', previous: position }],
        state: 'closed',
      });
    });

    it('ends the tail of a reader that was too slow', async () => {
      const { store, another } = await open({ maxEntries: KEPT });
      const lease = await take(store, 'a');
      await lease.append(['0']);
      const reader = follow(await another(), 'a');
      await reader.untilTexts('0');
      for (let at = 1; at < 2000; at += 10) {
        await lease.append(Array.from({ length: 10 }, (_, index) => String(at + index)));
      }
      expect(await reader.toEnd()).toStrictEqual({ entries: [], state: 'trimmed' });
      // It got a first part, in order, and nothing after the gap.
      expect(reader.texts()).toStrictEqual(reader.texts().map((_, index) => String(index)));
    });
  });

  describe(`${name}: a stream that expires`, () => {
    it.each([['closed'], ['abandoned'], ['released']] as const)(
      'is missing, %s as it was, and may begin anew',
      async (how) => {
        const { store, another } = await open({ expireMs: 500 });
        const other = await another();
        const lease = await take(store, 'a', SHORT_MS);
        const { position } = await lease.append(['one']);
        await lease.renew('note');
        if (how === 'closed') await lease.close('two');
        if (how === 'released') await lease.release();
        await vi.waitUntil(async () => (await other.read('a')).state === 'missing', PATIENCE);
        expect(await other.read('a', position)).toStrictEqual({ entries: [], state: 'missing' });
        expect(await store.stop('a')).toBe('missing');
        const next = await take(store, 'a');
        expect([next.last, next.note]).toStrictEqual([undefined, undefined]);
        await expectLost(lease);
        expect(await next.append(['three'])).toMatchObject({ isStopAsked: false });
        expect((await other.read('a', position)).state).toBe('trimmed');
        expect((await readAll(other, 'a')).map(({ data, previous }) => [data, previous])).toStrictEqual([
          ['three', ''],
        ]);
      },
    );

    it('ends the tails of those who waited for another writer', async () => {
      const { store, another } = await open({ expireMs: 300 });
      const lease = await take(store, 'a', SHORT_MS);
      await lease.append(['one']);
      const readers = [follow(store, 'a'), follow(await another(), 'a')];
      const ends = await Promise.all(readers.map((reader) => reader.toEnd()));
      for (const end of ends) expect(end).toStrictEqual({ entries: [], state: 'missing' });
      for (const reader of readers) expect(reader.texts()).toStrictEqual(['one']);
    });

    it('does not while it is written, however long it is', async () => {
      const { store, another } = await open({ expireMs: 100 });
      const lease = await take(store, 'a');
      await lease.append(['one']);
      const other = await another();
      // Another stream's whole life goes by.
      const brief = await take(store, 'b');
      await brief.close('x');
      await vi.waitUntil(async () => (await other.read('b')).state === 'missing', PATIENCE);
      expect(await other.read('a')).toMatchObject({ entries: [{ data: 'one' }], state: 'open' });
    });
  });

  describe.each([['the same connection'], ['another connection']])(`${name}: a tail by %s`, (where) => {
    const openBoth = async (
      settings?: StoreSettings,
    ): Promise<{ store: StreamStore; reading: StreamStore; remove: (id: string) => Promise<void> }> => {
      const { store, another, remove } = await open(settings);
      return { store, reading: where === 'the same connection' ? store : await another(), remove };
    };

    it('gives what is there and then what comes, and ends with the last entry', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      await lease.append(['one', 'two']);
      const reader = follow(reading, 'a');
      await reader.untilTexts('one', 'two');
      await lease.append(['three']);
      await reader.untilTexts('one', 'two', 'three');
      await lease.append(['four', 'five']);
      await lease.close('six');
      expect((await reader.toEnd())?.state).toBe('closed');
      expect(reader.texts()).toStrictEqual(['one', 'two', 'three', 'four', 'five', 'six']);
    });

    it('waits for the first entry of a stream that has none', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      const reader = follow(reading, 'a');
      const first = reader.untilTexts('one');
      await turn();
      await lease.append(['one']);
      await first;
    });

    it('goes on from any position', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      const texts = Array.from({ length: 20 }, (_, index) => String(index));
      await lease.append(texts);
      const entries = await readAll(store, 'a');
      const readers = entries.map(({ position }) => follow(reading, 'a', position));
      const ends = Promise.all(readers.map((reader) => reader.toEnd()));
      await lease.append(['more']);
      await lease.close('end');
      await ends;
      for (const [index, reader] of readers.entries()) {
        expect(reader.texts()).toStrictEqual([...texts.slice(index + 1), 'more', 'end']);
      }
    });

    it('of a stream that is over gives all of it, in pages, and ends', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      const texts = Array.from({ length: 3000 }, (_, index) => String(index));
      await lease.append(texts);
      await lease.close('end');
      const reader = follow(reading, 'a');
      const last = await reader.toEnd();
      expect(reader.texts()).toStrictEqual([...texts, 'end']);
      expect(last?.state).toBe('closed');
      const again = follow(reading, 'a', reader.seen.at(-1)?.position);
      expect(await again.toEnd()).toStrictEqual({ entries: [], state: 'closed' });
    });

    it('of a stream that is not there ends with missing', async () => {
      const { store, reading } = await openBoth();
      const reader = follow(reading, 'a');
      expect(await reader.toEnd()).toStrictEqual({ entries: [], state: 'missing' });
      await take(store, 'a');
      expect(reader.pages).toHaveLength(1);
    });

    it('says that nobody writes, once and after all that was written, and goes on with the next writer', async () => {
      const { store, reading } = await openBoth();
      const first = await take(store, 'a', SHORT_MS);
      await first.append(['one', 'two']);
      const reader = follow(reading, 'a');
      await reader.until(isOrphaned);
      expect(reader.texts()).toStrictEqual(['one', 'two']);
      const second = await take(store, 'a');
      await second.append(['three']);
      await reader.untilTexts('one', 'two', 'three');
      await second.release();
      await reader.until(isOrphaned);
      const third = await take(store, 'a');
      await third.close('four');
      expect((await reader.toEnd())?.state).toBe('closed');
      expect(reader.texts()).toStrictEqual(['one', 'two', 'three', 'four']);
      const empty = reader.pages.filter(({ entries }) => entries.length === 0);
      expect(empty.filter(({ state }) => state === 'orphaned')).toHaveLength(2);
      for (const { entries, state } of reader.pages) if (state === 'orphaned') expect(entries).toStrictEqual([]);
    });

    it('that begins at a stream that nobody writes gives what is there, says so, and goes on', async () => {
      const { store, reading } = await openBoth();
      const first = await take(store, 'a');
      const { position } = await first.append(['one']);
      await first.release();
      const readers = [follow(reading, 'a'), follow(reading, 'a', position)];
      for (const reader of readers) await reader.until(isOrphaned);
      expect(readers.map((reader) => reader.texts())).toStrictEqual([['one'], []]);
      const second = await take(store, 'a');
      await second.close('two');
      for (const reader of readers) await reader.toEnd();
      expect(readers.map((reader) => reader.texts())).toStrictEqual([['one', 'two'], ['two']]);
      for (const { pages } of readers) expect(pages.filter(({ state }) => state === 'orphaned')).toHaveLength(1);
    });

    it('says that somebody writes again before anything is written', async () => {
      const { store, reading } = await openBoth();
      const first = await take(store, 'a');
      await first.append(['one']);
      await first.release();
      const reader = follow(reading, 'a');
      await reader.until(isOrphaned);
      const next = reader.next();
      const second = await take(store, 'a');
      expect(await next).toStrictEqual({ entries: [], state: 'open' });
      await second.release();
      expect(await reader.next()).toStrictEqual({ entries: [], state: 'orphaned' });
    });

    it('hears of the end of a lease that never wrote', async () => {
      const { store, reading } = await openBoth();
      await take(store, 'a', SHORT_MS);
      const reader = follow(reading, 'a');
      await reader.until(isOrphaned);
      expect(reader.seen).toStrictEqual([]);
    });

    it('ends with missing when the stream is taken away', async () => {
      const { store, reading, remove } = await openBoth();
      const lease = await take(store, 'a', SHORT_MS);
      await lease.append(['one']);
      const reader = follow(reading, 'a');
      await reader.untilTexts('one');
      await remove('a');
      expect(await reader.toEnd()).toStrictEqual({ entries: [], state: 'missing' });
    });

    it('gives every reader everything once, whenever it comes, goes and comes again', async () => {
      const { store, reading } = await openBoth();
      let run = 0;
      const step = fc.record({
        count: fc.integer({ min: 0, max: 4 }),
        turns: fc.integer({ min: 0, max: 6 }),
        isNewWriter: fc.boolean(),
      });
      const visit = fc.record({ turns: fc.integer({ min: 0, max: 40 }), leaveAfter: fc.integer({ min: 1, max: 8 }) });
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { minLength: 1, maxLength: 12 }),
          fc.array(visit, { minLength: 1, maxLength: 6 }),
          async (steps, visits) => {
            const id = `run ${String((run += 1))}`;
            const texts: string[] = [];
            let lease = await take(store, id);
            const writing = (async (): Promise<void> => {
              for (const { count, turns, isNewWriter } of steps) {
                await turnsGoBy(turns);
                if (isNewWriter) {
                  await lease.release();
                  lease = await take(texts.length % 2 === 0 ? store : reading, id);
                }
                const data = Array.from({ length: count }, (_, index) => `${String(texts.length + index)}.`);
                texts.push(...data);
                await lease.append(data);
              }
              texts.push('end');
              await lease.close('end');
            })();
            const readers = visits.map(async ({ turns, leaveAfter }) => {
              await turnsGoBy(turns);
              const seen: StoredEntry[] = [];
              for (;;) {
                // Leaves after some entries, and comes again at the last that it had.
                const reader = follow(reading, id, seen.at(-1)?.position);
                const last = await reader.until((page) => page.state === 'closed' || reader.seen.length >= leaveAfter);
                seen.push(...reader.seen);
                reader.leave();
                if (last.state === 'closed') return textsOf(seen);
              }
            });
            await writing;
            for (const reader of readers) expect(await reader).toStrictEqual(texts);
          },
        ),
        { numRuns: 25 },
      );
    });

    it('serves many readers of one stream', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      const readers = Array.from({ length: 30 }, () => follow(reading, 'a'));
      const ends = Promise.all(readers.map((reader) => reader.toEnd()));
      const texts = Array.from({ length: 50 }, (_, index) => String(index));
      for (const text of texts) await lease.append([text]);
      await lease.close('end');
      await ends;
      for (const reader of readers) expect(reader.texts()).toStrictEqual([...texts, 'end']);
    });

    it('ends at once when the signal is aborted, with a page on its way or without', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      await lease.append(['one']);
      const reader = follow(reading, 'a');
      await reader.untilTexts('one');
      const pending = reader.next();
      await turnsGoBy(3);
      reader.leave();
      expect(await pending).toBeUndefined();
      expect(await reader.next()).toBeUndefined();
      const { signal } = reader;
      expect(getEventListeners(signal, 'abort')).toStrictEqual([]);
      await lease.append(['two']);
      expect(reader.texts()).toStrictEqual(['one']);
    });

    it('ends at once when the signal is aborted, though there is more', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      await lease.append(Array.from({ length: 3000 }, (_, index) => String(index)));
      const reader = follow(reading, 'a');
      await reader.next();
      reader.leave();
      expect(await reader.next()).toBeUndefined();
      expect(reader.seen.length).toBeLessThan(3000);
    });

    it('gives nothing where the signal is aborted already', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      await lease.append(['one']);
      const reader = follow(reading, 'a');
      reader.leave();
      expect(await reader.next()).toBeUndefined();
    });

    it('leaves no timer, listener or connection behind, however it ends', async () => {
      const { store, reading } = await openBoth();
      const lease = await take(store, 'a');
      const { position } = await lease.append(['one']);
      const over = await take(store, 'over');
      await over.close('x');
      const visit = async (how: number): Promise<void> => {
        const reader = follow(reading, how === 0 ? 'over' : 'a', how === 1 ? 'nonsense' : undefined);
        if (how === 0 || how === 1) await reader.toEnd();
        else await reader.untilTexts('one');
        if (how === 3) await reader.iterator.return?.();
        if (how === 4) {
          const pending = reader.next();
          await turnsGoBy(2);
          reader.leave();
          await pending;
        }
        if (how === 2) reader.leave();
        // Who has left need not ask for another page.
        else await reader.next();
        expect(getEventListeners(reader.signal, 'abort')).toStrictEqual([]);
      };
      for (const how of [0, 1, 2, 3, 4]) await visit(how);
      // What a store keeps for the next reader is there now.
      await turnsGoBy(5);
      const before = resources();
      await Promise.all(Array.from({ length: 100 }, (_, index) => visit(index % 5)));
      await expectResources(before);
      expect((await reading.read('a', position)).entries).toStrictEqual([]);
    });
  });

  describe(`${name}: stop`, () => {
    it('is heard with what the writer writes next, and from then on', async () => {
      const { store, another } = await open();
      const other = await another();
      const lease = await take(store, 'a');
      expect(await lease.append(['one'])).toMatchObject({ isStopAsked: false });
      expect(await other.stop('a')).toBe('asked');
      expect(await lease.append(['two'])).toMatchObject({ isStopAsked: true });
      expect(await lease.append([])).toMatchObject({ isStopAsked: true });
      expect(await lease.renew()).toMatchObject({ isStopAsked: true });
      expect(await store.stop('a')).toBe('asked');
      await lease.close('end');
      expect(await other.stop('a')).toBe('closed');
      expect(textsOf(await readAll(store, 'a'))).toStrictEqual(['one', 'two', 'end']);
    });

    it('of a stream that is not there is missing, and makes none', async () => {
      const { store } = await open();
      expect(await store.stop('a')).toBe('missing');
      expect((await store.read('a')).state).toBe('missing');
      const lease = await take(store, 'a');
      expect(await lease.renew()).toMatchObject({ isStopAsked: false });
    });

    it('is heard by the next writer, where nobody wrote', async () => {
      const { store, another } = await open();
      const first = await take(store, 'a', SHORT_MS);
      await first.append(['one']);
      await first.release();
      expect(await store.stop('a')).toBe('asked');
      expect((await store.read('a')).state).toBe('orphaned');
      const second = await take(await another(), 'a');
      expect(await second.renew()).toMatchObject({ isStopAsked: true });
    });

    it('is heard by the next writer too, where one heard it and died', async () => {
      const { store, another } = await open();
      const first = await take(store, 'a', SHORT_MS);
      await store.stop('a');
      expect(await first.append(['one'])).toMatchObject({ isStopAsked: true });
      const second = await takeWhenFree(await another(), 'a');
      expect(await second.append([])).toMatchObject({ isStopAsked: true });
    });

    it('is not heard by other streams', async () => {
      const { store } = await open();
      const one = await take(store, 'a');
      const two = await take(store, 'b');
      await store.stop('a');
      expect(await two.renew()).toMatchObject({ isStopAsked: false });
      expect(await one.renew()).toMatchObject({ isStopAsked: true });
    });

    it('neither writes nor gives the stream away', async () => {
      const { store } = await open();
      await take(store, 'a');
      await store.stop('a');
      expect(await store.lease('a', { ttlMs: LONG_MS })).toBe('taken');
      expect(await store.read('a')).toStrictEqual({ entries: [], state: 'open' });
    });
  });

  describe(`${name}: ids`, () => {
    it.each([
      ['empty', ''],
      ['257 characters long', 'x'.repeat(257)],
      ['with NUL', 'a\0b'],
      ['with a line end', 'a\nb'],
      ['with a tabulator', '\t'],
      ['with DEL', 'a\x7f'],
      ['with a control character of Latin 1', 'a\x85'],
      ['with half a surrogate pair', 'a\ud800'],
    ])('%s are refused by every method', async (_name, id) => {
      const { store } = await open();
      await expect(store.lease(id, { ttlMs: LONG_MS })).rejects.toBeInstanceOf(TypeError);
      await expect(store.read(id)).rejects.toBeInstanceOf(TypeError);
      await expect(store.stop(id)).rejects.toBeInstanceOf(TypeError);
      await expect(follow(store, id).next()).rejects.toBeInstanceOf(TypeError);
    });

    it('that are not strings are refused', async () => {
      const { store } = await open();
      for (const id of [undefined, null, 7, {}]) {
        // JavaScript callers pass what the types exclude.
        await expect(store.read(id as string)).rejects.toBeInstanceOf(TypeError);
      }
    });

    it('never meet, however odd and near each other they are', async () => {
      const { store, another } = await open();
      const odd = [
        'a',
        'A',
        'a ',
        ' a',
        ' ',
        'á',
        'a\u0301',
        'a:b',
        'a:b:c',
        'a/b',
        'a\\b',
        '../a',
        '{a}',
        '{a',
        'a}',
        '{}a',
        '{}',
        '}{',
        '{{a}}',
        '*',
        'a*',
        '?',
        '[a]',
        '%',
        '%61',
        '%00',
        "'",
        '"',
        "a'; DROP TABLE streams; --",
        '__proto__',
        'constructor',
        'null',
        '0',
        '00',
        '0.0',
        '1e3',
        '1000',
        '+',
        '-',
        '$',
        '\u00a0',
        '\u200b',
        '\ufeff',
        '\ufeffa',
        '\uffff',
        '\u2028',
        '\u{1F600}',
        '\u{1F601}',
        'ß',
        'SS',
        'ı',
        'i',
        'I',
        'x'.repeat(256),
        'x'.repeat(255),
        'é'.repeat(256),
        '\u{1F600}'.repeat(128),
      ];
      const random = fc.sample(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }), { numRuns: 60, seed: 7 });
      const ids = [...new Set([...odd, ...random.filter((id) => !/\p{Cc}|\p{Surrogate}/u.test(id))])];
      await Promise.all(
        ids.map(async (id) => {
          const lease = await take(store, id);
          await lease.renew(`note of ${id}`);
          await lease.append([id]);
          await lease.release();
        }),
      );
      const other = await another();
      for (const id of ids) {
        expect([id, textsOf(await readAll(other, id))]).toStrictEqual([id, [id]]);
        const lease = await take(other, id);
        expect([lease.note, lease.last?.data]).toStrictEqual([`note of ${id}`, id]);
      }
    });
  });

  describe(`${name}: many streams`, () => {
    it('are written and read at once, each its own', async () => {
      const { store, another } = await open();
      const other = await another();
      const ids = Array.from({ length: 100 }, (_, index) => `stream ${String(index)}`);
      const leases = await Promise.all(ids.map((id, index) => take(index % 2 === 0 ? store : other, id)));
      const readers = ids.flatMap((id) => [follow(store, id), follow(other, id)]);
      const ends = Promise.all(readers.map((reader) => reader.toEnd()));
      const rounds = 10;
      await Promise.all(
        leases.map(async (lease, index) => {
          for (let round = 0; round < rounds; round += 1) await lease.append([`${String(index)}/${String(round)}`]);
          await lease.close('end');
        }),
      );
      await ends;
      for (const [at, reader] of readers.entries()) {
        const index = String(Math.floor(at / 2));
        expect(reader.texts()).toStrictEqual([
          ...Array.from({ length: rounds }, (_, round) => `${index}/${String(round)}`),
          'end',
        ]);
      }
    });
  });

  describe(`${name}: a store that is closed`, () => {
    it('ends tails with an error, those that wait and those whose reader is slow', async () => {
      const { store, another } = await open();
      const lease = await take(await another(), 'a');
      await lease.append(['one']);
      const waiting = follow(store, 'a');
      const slow = follow(store, 'a');
      await slow.untilTexts('one');
      await waiting.untilTexts('one');
      const pending = waiting.next();
      const rejected = expectStoreError(pending, 'unavailable');
      await turnsGoBy(2);
      await store.close();
      await rejected;
      await expectStoreError(slow.next(), 'unavailable');
      expect(getEventListeners(waiting.signal, 'abort')).toStrictEqual([]);
      expect(getEventListeners(slow.signal, 'abort')).toStrictEqual([]);
    });

    it('refuses everything, and may be closed again', async () => {
      const { store } = await open();
      const lease = await take(store, 'a');
      await store.close();
      await store.close();
      await expectStoreError(store.lease('a', { ttlMs: LONG_MS }), 'unavailable');
      await expectStoreError(store.read('a'), 'unavailable');
      await expectStoreError(store.stop('a'), 'unavailable');
      await expectStoreError(follow(store, 'a').next(), 'unavailable');
      await expectStoreError(lease.append(['one']), 'unavailable');
      await expectStoreError(lease.renew(), 'unavailable');
      await expectStoreError(lease.close('x'), 'unavailable');
      await expectStoreError(lease.release(), 'unavailable');
    });

    it('may be closed before it was used', async () => {
      const { store } = await open();
      await store.close();
      await expectStoreError(store.read('a'), 'unavailable');
    });

    it('leaves the streams to others', async () => {
      const { store, another } = await open();
      const lease = await take(store, 'a', SHORT_MS);
      await lease.append(['one']);
      const other = await another();
      await store.close();
      const next = await takeWhenFree(other, 'a');
      await next.close('two');
      expect(textsOf(await readAll(other, 'a'))).toStrictEqual(['one', 'two']);
    });

    it('leaves no timer, listener or connection behind', async () => {
      const { another } = await open();
      const first = await another();
      await (await take(first, 'a')).append(['one']);
      await first.close();
      await turnsGoBy(5);
      const before = resources();
      const second = await another();
      const reader = follow(second, 'a');
      await reader.untilTexts('one');
      await second.close();
      await expectStoreError(reader.next(), 'unavailable');
      await expectResources(before);
    });
  });

  describeReaders(name, make);
}

/** What a lease that watches its readers is told of them. */
export function describeReaders(name: string, make: MakeStore): void {
  const open = opening(make);

  describe.each([['the same connection'], ['another connection']])(`${name}: readers by %s`, (where) => {
    const openBoth = async (): Promise<{ store: StreamStore; reading: StreamStore; atHand: StoreAtHand }> => {
      const atHand = await open();
      const { store } = atHand;
      return { store, reading: where === 'the same connection' ? store : await atHand.another(), atHand };
    };
    /** A reader that has looked at the stream. */
    const come = async (store: StreamStore, id = 'a'): Promise<Follower> => {
      const reader = follow(store, id);
      await reader.until(() => true);
      return reader;
    };

    it('are told of from when the last of them has left', async () => {
      const { store, reading } = await openBoth();
      const lease = await watch(store, 'a');
      await lease.append(['one']);
      const readers = [await come(reading), await come(reading), await come(store)];
      await expectRead(lease);
      readers[0]?.leave();
      readers[1]?.leave();
      await expectRead(lease);
      const left = performance.now();
      readers[2]?.leave();
      const unreadMs = await unread(lease);
      expect(unreadMs).toBeGreaterThanOrEqual(0);
      // The clocks tick in milliseconds.
      expect(unreadMs).toBeLessThanOrEqual(performance.now() - left + 2);
      await vi.waitUntil(async () => ((await lease.append(['two'])).unreadMs ?? 0) >= unreadMs + 50, PATIENCE);
      expect((await lease.renew()).unreadMs).toBeGreaterThanOrEqual(unreadMs + 50);
    });

    it('that come back are there again, and leave anew', async () => {
      const { store, reading } = await openBoth();
      const lease = await watch(store, 'a');
      await lease.append(['one']);
      for (let visit = 0; visit < 3; visit += 1) {
        const reader = await come(reading);
        await vi.waitUntil(async () => (await lease.renew()).unreadMs === undefined, PATIENCE);
        await expectRead(lease);
        const left = performance.now();
        reader.leave();
        const unreadMs = await unread(lease);
        expect(unreadMs).toBeLessThanOrEqual(performance.now() - left + 2);
        await sleep(20);
      }
    });

    it.each([
      [
        'while they wait',
        async (reader: Follower) => {
          const pending = reader.next();
          await turnsGoBy(2);
          reader.leave();
          await pending;
        },
      ],
      [
        'without a word',
        (reader: Follower) => {
          reader.leave();
          return Promise.resolve();
        },
      ],
      [
        'by returning',
        async (reader: Follower) => {
          await reader.iterator.return?.();
        },
      ],
    ])('may leave %s', async (_how, leave) => {
      const { store, reading } = await openBoth();
      const lease = await watch(store, 'a');
      await lease.append(['one']);
      await leave(await come(reading));
      await unread(lease);
    });

    it('that leave before they have looked leave nothing behind', async () => {
      const { store, reading } = await openBoth();
      const lease = await watch(store, 'a');
      const reader = follow(reading, 'a');
      const pending = reader.next();
      reader.leave();
      await pending;
      await turnsGoBy(5);
      const { unreadMs = 0 } = await lease.renew();
      expect(unreadMs).toBeGreaterThanOrEqual(0);
      const another = follow(reading, 'a');
      void another.next();
      await turnsGoBy(5);
      await expectRead(lease);
      another.leave();
      await unread(lease);
    });

    it('are known to the next writer, those that came and those that left while nobody wrote too', async () => {
      const { store, reading } = await openBoth();
      const first = await watch(store, 'a');
      await first.append(['one']);
      const early = await come(reading);
      await first.release();
      const second = await watch(store, 'a');
      await expectRead(second);
      await second.release();
      const late = await come(reading);
      early.leave();
      const third = await watch(store, 'a');
      await expectRead(third);
      await third.release();
      late.leave();
      const fourth = await watch(store, 'a');
      const unreadMs = await unread(fourth);
      await fourth.release();
      const fifth = await watch(store, 'a');
      expect((await fifth.renew()).unreadMs).toBeGreaterThanOrEqual(unreadMs);
    });

    it('are found by a writer that watches where the one before did not', async () => {
      const { store, reading } = await openBoth();
      const first = await take(store, 'a');
      await first.append(['one']);
      const reader = await come(reading);
      expect(await first.renew()).not.toHaveProperty('unreadMs');
      const before = reader.next();
      await first.release();
      await before;
      const second = await watch(store, 'a');
      await expectRead(second);
      const next = reader.until(({ entries }) => entries.length > 0);
      await second.append(['two']);
      await next;
      reader.leave();
      await unread(second);
    });

    it('are not told of to a writer that does not watch, and what was known is forgotten', async () => {
      const { store, reading } = await openBoth();
      const first = await watch(store, 'a');
      await first.append(['one']);
      (await come(reading)).leave();
      await unread(first);
      await first.release();
      const second = await take(store, 'a');
      (await come(reading)).leave();
      await turnsGoBy(5);
      expect(await second.append(['two'])).not.toHaveProperty('unreadMs');
      expect(await second.renew()).not.toHaveProperty('unreadMs');
      await second.release();
      const third = await watch(store, 'a');
      await expectRead(third);
    });

    it('of one stream are none of another', async () => {
      const { store, reading } = await openBoth();
      const [one, two] = [await watch(store, 'a'), await watch(store, 'b')];
      for (const lease of [one, two]) await lease.append(['one']);
      const reader = await come(reading, 'b');
      (await come(reading, 'a')).leave();
      await unread(one);
      await expectRead(two);
      reader.leave();
      await unread(two);
    });

    it('of a stream that was removed are none of the one made anew', async () => {
      const { store, reading, atHand } = await openBoth();
      const lease = await watch(store, 'a');
      await lease.append(['one']);
      (await come(reading)).leave();
      await unread(lease);
      await atHand.remove('a');
      await expectRead(await watch(store, 'a'));
    });

    it('may be of hundreds of streams', async () => {
      const { store, reading } = await openBoth();
      const ids = Array.from({ length: 600 }, (_, index) => `stream ${String(index)}`);
      const leases = await Promise.all(ids.map((id) => watch(store, id)));
      await Promise.all(leases.map((lease) => lease.append(['one'])));
      const readers = await Promise.all(ids.map((id) => come(reading, id)));
      for (const reader of readers) reader.leave();
      await Promise.all(leases.map((lease) => unread(lease)));
    });

    it('leave no timer behind', async () => {
      const { store, reading } = await openBoth();
      await (await watch(store, 'a')).append(['one']);
      const visit = async (): Promise<void> => {
        const reader = await come(reading);
        reader.leave();
      };
      await visit();
      await turnsGoBy(5);
      const before = resources();
      await Promise.all(Array.from({ length: 20 }, visit));
      await expectResources(before);
    });
  });

  describe(`${name}: readers`, () => {
    it('are not told of where nobody has read, and who asks without following has not', async () => {
      const { store, another } = await open();
      const lease = await watch(store, 'a');
      expect(await lease.renew()).toStrictEqual({ position: '', isStopAsked: false });
      const { position } = await lease.append(['one']);
      await store.read('a');
      await (await another()).read('a');
      expect(await lease.renew()).toStrictEqual({ position, isStopAsked: false });
      await lease.release();
      await expectRead(await watch(store, 'a'));
    });

    it('do not keep a stream from being closed', async () => {
      const { store, another } = await open();
      const lease = await watch(store, 'a');
      const readers = [follow(store, 'a'), follow(await another(), 'a')];
      const ends = Promise.all(readers.map((reader) => reader.toEnd()));
      await lease.append(['one']);
      await lease.close('two');
      await ends;
      for (const reader of readers) expect(reader.texts()).toStrictEqual(['one', 'two']);
      expect(await store.lease('a', { ttlMs: LONG_MS, watchesReaders: true })).toBe('closed');
    });

    it('have left when their store is closed', async () => {
      const { store, another } = await open();
      const other = await another();
      const lease = await watch(store, 'a');
      await lease.append(['one']);
      const reader = follow(other, 'a');
      await reader.untilTexts('one');
      await expectRead(lease);
      await other.close();
      await unread(lease);
    });

    it('are readers for as long as their process lives, and have left a while after it was killed', async () => {
      const presenceMs = 1_500;
      const { store, readElsewhere } = await open({ presenceMs });
      const lease = await watch(store, 'a', SHORT_MS);
      await lease.append(['one']);
      const kill = await readElsewhere('a');
      const began = performance.now();
      do {
        expect(await lease.renew()).not.toHaveProperty('unreadMs');
        await sleep(SHORT_MS / 3);
      } while (performance.now() - began < 1.5 * presenceMs);
      await kill();
      const killed = performance.now();
      const unreadMs = await unread(lease);
      expect(unreadMs).toBeLessThanOrEqual(performance.now() - killed + 2);
    });
  });
}

/** A reader of a tail, which checks that each entry comes after the one before it. */
class Follower {
  readonly pages: StoredPage[] = [];
  readonly seen: StoredEntry[] = [];
  readonly iterator: AsyncIterator<StoredPage>;
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #after: string;

  constructor(store: StreamStore, id: string, after: string | undefined) {
    this.signal = this.#controller.signal;
    this.#after = after ?? '';
    this.iterator = store.tail(id, after, this.signal)[Symbol.asyncIterator]();
  }

  texts(): string[] {
    return textsOf(this.seen);
  }

  leave(): void {
    this.#controller.abort();
  }

  /** The next page; undefined at the end. */
  async next(): Promise<StoredPage | undefined> {
    const { done, value } = await this.iterator.next();
    if (done === true) return undefined;
    this.pages.push(value);
    for (const entry of value.entries) {
      expect(entry.previous).toBe(this.seen.at(-1)?.position ?? this.#after);
      this.seen.push(entry);
    }
    return value;
  }

  /** Reads until a page is as it should be. */
  async until(isWanted: (page: StoredPage) => boolean): Promise<StoredPage> {
    for (;;) {
      const page = await this.next();
      if (page === undefined) throw new Error(`the tail ended after ${JSON.stringify(this.pages.at(-1))}`);
      if (isWanted(page)) return page;
    }
  }

  /** Reads until so much came, and nothing else. */
  async untilTexts(...texts: readonly string[]): Promise<void> {
    while (this.seen.length < texts.length) await this.until(({ entries }) => entries.length > 0);
    expect(this.texts()).toStrictEqual(texts);
  }

  /** Reads to the end; the last page. */
  async toEnd(): Promise<StoredPage | undefined> {
    await this.each(() => undefined);
    return this.pages.at(-1);
  }

  async each(look: (page: StoredPage) => unknown): Promise<void> {
    for (let page = await this.next(); page !== undefined; page = await this.next()) look(page);
  }
}

function follow(store: StreamStore, id: string, after?: string): Follower {
  return new Follower(store, id, after);
}

function isOrphaned({ entries, state }: StoredPage): boolean {
  return entries.length === 0 && state === 'orphaned';
}

function textsOf(entries: readonly StoredEntry[]): string[] {
  return entries.map(({ data }) => data);
}

/** Every page of what is there. */
async function pagesOf(store: StreamStore, id: string): Promise<StoredPage[]> {
  const pages: StoredPage[] = [];
  let after: string | undefined;
  for (;;) {
    const page = await store.read(id, after);
    const last = page.entries.at(-1);
    if (last !== undefined || pages.length === 0) pages.push(page);
    if (last === undefined || page.state === 'closed') return pages;
    after = last.position;
  }
}

async function readAll(store: StreamStore, id: string): Promise<StoredEntry[]> {
  return (await pagesOf(store, id)).flatMap(({ entries }) => entries);
}

/** A lease that must be had. */
async function take(store: StreamStore, id: string, ttlMs: number = LONG_MS): Promise<StreamLease> {
  const lease = await store.lease(id, { ttlMs });
  if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
  return lease;
}

/** A lease that must be had, and is told of readers. */
async function watch(store: StreamStore, id: string, ttlMs: number = LONG_MS): Promise<StreamLease> {
  const lease = await store.lease(id, { ttlMs, watchesReaders: true });
  if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
  return lease;
}

/** Expects for a few turns that somebody reads, or nobody has. */
async function expectRead(lease: StreamLease): Promise<void> {
  for (let round = 0; round < 5; round += 1) {
    expect(await lease.renew()).not.toHaveProperty('unreadMs');
    await turnsGoBy(2);
  }
}

/** Since when nobody reads, as soon as that is so. */
async function unread(lease: StreamLease): Promise<number> {
  for (;;) {
    const { unreadMs } = await lease.renew();
    if (unreadMs !== undefined) return unreadMs;
    await sleep(PATIENCE.interval);
  }
}

/** A lease as soon as it can be had. */
async function takeWhenFree(store: StreamStore, id: string): Promise<StreamLease> {
  for (;;) {
    const lease = await store.lease(id, { ttlMs: LONG_MS });
    if (lease === 'closed') throw new Error('the stream is closed');
    if (lease !== 'taken') return lease;
    await sleep(PATIENCE.interval);
  }
}

async function expectStoreError(work: Promise<unknown>, reason: StoreError['reason']): Promise<void> {
  const error: unknown = await work.then(
    (value) => new Error(`it did not fail, but gave ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
  if (!(error instanceof StoreError)) throw error;
  expect(error.reason).toBe(reason);
}

/** Expects that a lease can write nothing any more. */
async function expectLost(lease: StreamLease): Promise<void> {
  await expectStoreError(lease.append(['late']), 'lease-lost');
  await expectStoreError(lease.append([]), 'lease-lost');
  await expectStoreError(lease.renew(), 'lease-lost');
  await expectStoreError(lease.renew('late'), 'lease-lost');
  await expectStoreError(lease.close('late'), 'lease-lost');
}

async function turnsGoBy(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await turn();
}

/** What the process has open: timers, sockets, watchers. */
function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind !== 'Immediate') counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Waits until the process has no more open than before. */
async function expectResources(before: Record<string, number>): Promise<void> {
  const added = (): string[] =>
    Object.entries(resources()).flatMap(([kind, count]) => (count > (before[kind] ?? 0) ? kind : []));
  for (let patience = 200; patience > 0 && added().length > 0; patience -= 1) await sleep(PATIENCE.interval);
  expect(added()).toStrictEqual([]);
}
