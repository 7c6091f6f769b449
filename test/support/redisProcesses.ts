import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../../src/errors.js';
import type { StreamLease, StreamStore } from '../../src/protocol/streamStore.js';
import { redisStore } from '../../src/redis/index.js';

/** What a process is told when it begins. */
export interface Orders {
  readonly url: string;
  readonly ids: readonly string[];
  /** How many entries a stream has before its last. */
  readonly length: number;
  readonly ttlMs: number;
  /** Where a reader goes on, by id. */
  readonly after?: Readonly<Record<string, string>>;
}

/** What a reader reports: entries, that nobody writes, or that a stream is over. */
export interface Report {
  readonly id: string;
  readonly state: string;
  readonly texts: readonly string[];
  readonly position: string | undefined;
}

/** The text of an entry; the last one of a stream says `end`. */
export function textAt(id: string, index: number, length: number): string {
  return index === length ? 'end' : `${id}:${String(index)}`;
}

/** Writes all streams until they are over, each as its only writer or not at all. Runs in a process of its own. */
export async function runWriter({ url, ids, length, ttlMs }: Orders): Promise<void> {
  const store = redisStore({ url });
  await Promise.all(
    ids.map(async (id) => {
      for (;;) {
        try {
          const lease = await store.lease(id, { ttlMs });
          if (lease === 'closed') return;
          if (lease === 'taken') await sleep(50 + Math.random() * 100);
          else await write(lease, id, length);
        } catch (error) {
          // Another has it, or Redis is away: whatever was in doubt, the next lease says.
          if (!(error instanceof StoreError)) throw error;
          process.send?.({ failed: error.reason });
        }
      }
    }),
  );
  await store.close();
}

async function write(lease: StreamLease, id: string, length: number): Promise<void> {
  const last = lease.last?.data;
  let index = last === undefined ? 0 : Number(last.split(':')[1]) + 1;
  while (index < length) {
    const count = Math.min(length - index, 1 + Math.floor(Math.random() * 3));
    await lease.append(Array.from({ length: count }, (_, offset) => textAt(id, index + offset, length)));
    index += count;
    await sleep(Math.random() * 30);
  }
  await lease.close(textAt(id, length, length));
}

/** Reads all streams to their ends, and reports what it reads to its parent. Runs in a process of its own. */
export async function runReader({ url, ids, after = {} }: Orders): Promise<void> {
  const store = redisStore({ url });
  await Promise.all(ids.map((id) => readAll(store, id, after[id])));
  await store.close();
}

async function readAll(store: StreamStore, id: string, from: string | undefined): Promise<void> {
  let position = from;
  for (;;) {
    try {
      for await (const { entries, state } of store.tail(id, position, new AbortController().signal)) {
        position = entries.at(-1)?.position ?? position;
        const report: Report = { id, state, texts: entries.map(({ data }) => data), position };
        process.send?.(report);
        // A stream that is missing has no writer yet.
        if (state === 'closed' || state === 'trimmed') return;
      }
      await sleep(20);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      process.send?.({ failed: error.reason });
    }
  }
}
