// What an answer takes in Redis' memory. Each is written once, at a model's pace, so that its entries are what they are in use; then Redis
// is filled with copies of it, entry by entry, and its memory compared with what it was.
import { firstValueFrom, Observable } from 'rxjs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tokensOf } from '../fixtures.mjs';
import { load } from '../millrace.mjs';
import { openStore } from './ways.mjs';
import { idOf } from './work.mjs';

const LEASE_MS = 600_000;
const APPEND_AT_ONCE = 50;
const STREAMS_AT_ONCE = 50;

/** @returns for each case what one answer takes */
export async function measureMemory(server, cases, { answerTokens, answerRate, copies }) {
  await server.clear();
  const store = await openStore(server.store);
  try {
    const text = tokensOf(answerTokens);
    const written = await Promise.all(cases.map((one, at) => write(store, one, at, text, answerRate)));
    const results = [];
    for (const data of written) results.push(await fill(server, store, data, copies));
    const textBytes = Buffer.byteLength(text.join(''));
    return results.map((result) => ({ ...result, textBytes, tokenBytes: result.closedBytes / answerTokens }));
  } finally {
    await store.close();
  }
}

/** Writes an answer, and gives its entries. */
async function write(store, { gatherMs }, at, text, rate) {
  const { toStore } = await load('index.js');
  const source = new Observable((subscriber) => {
    const emit = async () => {
      const start = performance.now();
      for (const [count, token] of text.entries()) {
        await sleep(Math.max(0, start + (count * 1000) / rate - performance.now()));
        subscriber.next(token);
      }
      subscriber.complete();
    };
    void emit();
  });
  const id = idOf(0, at);
  await firstValueFrom(source.pipe(toStore(store, id, { gatherMs })));
  const data = [];
  for (let after; ;) {
    const { entries, state } = await store.read(id, after);
    for (const entry of entries) data.push(entry.data);
    after = entries.at(-1)?.position ?? after;
    if (state === 'closed') return data;
  }
}

async function fill(server, store, data, copies) {
  await server.clear();
  const before = await server.memory();
  const open = [];
  for (let at = 0; at < copies; at += STREAMS_AT_ONCE) {
    const ids = Array.from({ length: Math.min(STREAMS_AT_ONCE, copies - at) }, (_, next) => idOf(1, at + next));
    open.push(...(await Promise.all(ids.map((id) => copy(store, id, data)))));
  }
  const whileOpen = await server.memory();
  for (const lease of open) await lease.close(data.at(-1));
  const closed = await server.memory();
  return {
    entries: data.length,
    openBytes: (whileOpen - before) / copies,
    closedBytes: (closed - before) / copies,
  };
}

/** All but the last entry, which closes it. */
async function copy(store, id, data) {
  const lease = await store.lease(id, { ttlMs: LEASE_MS });
  for (let at = 0; at < data.length - 1; at += APPEND_AT_ONCE) {
    await lease.append(data.slice(at, Math.min(at + APPEND_AT_ONCE, data.length - 1)));
  }
  return lease;
}
