// How readers hear of what is new: as the store tells them, by asking again and again, or each over a connection of its own.
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { load } from '../millrace.mjs';
import { POLL_MS } from './work.mjs';

const BLOCK_MS = 5_000;

export async function openStore({ kind, port, file }) {
  if (kind === 'sqlite') return (await load('sqlite/index.js')).sqliteStore(file);
  return (await load('redis/index.js')).redisStore({ url: `redis://127.0.0.1:${port}` });
}

/** A store whose readers hear of news in that way; all else, and all that stands behind it, is the same. */
export async function openFor(way, place) {
  const store = await openStore(place);
  if (way === 'poll') return { ...methodsOf(store), tail: (id, after, signal) => poll(store, id, after, signal) };
  if (way === 'connections')
    return { ...methodsOf(store), tail: (id, after, signal) => block(place, id, after, signal) };
  return store;
}

const methodsOf = (store) => ({
  lease: (...args) => store.lease(...args),
  read: (...args) => store.read(...args),
  stop: (...args) => store.stop(...args),
  close: () => store.close(),
});

const isOver = (state) => state !== 'open' && state !== 'orphaned';

/** Reads what is there, waits, and reads again. */
async function* poll(store, id, after, signal) {
  let position = after;
  await pause(Math.random() * POLL_MS, signal); // readers do not come all at once
  while (!signal.aborted) {
    const page = await store.read(id, position);
    position = page.entries.at(-1)?.position ?? position;
    if (page.entries.length > 0 || isOver(page.state)) yield page;
    if (isOver(page.state)) return;
    await pause(POLL_MS, signal);
  }
}

/** What a reader of Redis Streams does by itself: a connection that its own XREAD blocks. Keys and fields are those of docs/stores.md. */
async function* block({ port }, id, after, signal) {
  // Some are refused where a thousand come at once, and come again.
  const connection = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null });
  connection.on('error', () => undefined);
  const key = `{millrace:0}:e:${id}`;
  let position = after ?? '';
  try {
    while (!signal.aborted) {
      const from = position === '' ? '0-0' : position;
      const reply = await connection.xread('COUNT', 100, 'BLOCK', BLOCK_MS, 'STREAMS', key, from);
      if (reply === null) continue;
      const entries = reply[0][1].map(([at, fields]) => {
        const entry = { position: at, previous: position, data: fields[1] };
        position = at;
        return { entry, isLast: fields.includes('c') };
      });
      const isClosed = entries.at(-1).isLast;
      yield { entries: entries.map(({ entry }) => entry), state: isClosed ? 'closed' : 'open' };
      if (isClosed) return;
    }
  } finally {
    connection.disconnect();
  }
}

async function pause(ms, signal) {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    // left meanwhile, which the caller sees
  }
}
