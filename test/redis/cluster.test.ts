import { Cluster, type Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import type { StreamLease, StreamStore } from '../../src/protocol/streamStore.js';
import { redisStore } from '../../src/redis/index.js';
import { keyNames } from '../../src/redis/keys.js';
import { describeWithRedis, type RedisCluster, startCluster } from '../support/redisServer.js';

const LONG_MS = 60_000;

describeWithRedis('redisStore on a cluster', () => {
  let cluster: RedisCluster;
  let admins: Redis[];
  let runs = 0;

  beforeAll(async () => {
    cluster = await startCluster();
    admins = cluster.servers.map((server) => server.client());
  });
  afterAll(() => cluster.stop());

  const open = (lanes = 16, prefix = `test ${String((runs += 1))}`): { store: StreamStore; prefix: string } => {
    const nodes = cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port }));
    const client = new Cluster(nodes, { redisOptions: { connectionName: 'own' }, keyPrefix: 'app:' });
    const store = redisStore(client, { prefix, lanes });
    onTestFinished(async () => {
      await store.close();
      client.disconnect();
    });
    return { store, prefix };
  };

  const connections = async (): Promise<number> => {
    const lists = await Promise.all(admins.map(async (admin) => String(await admin.client('LIST'))));
    return lists.join('\n').split(' name=millrace-tail ').length - 1;
  };

  const write = async (leases: readonly StreamLease[], from: number, to: number): Promise<void> => {
    for (let index = from; index < to; index += 1) {
      await Promise.all(leases.map((lease) => lease.append([String(index)])));
    }
  };

  it('keeps a stream in one slot, and blocks one connection for each lane', async () => {
    const { store } = open(4);
    const ids = Array.from({ length: 40 }, (_, index) => `s${String(index)}`);
    const leases = await Promise.all(ids.map((id) => take(store, id)));
    const readers = ids.flatMap((id) => [read(store, id), read(store, id)]);
    await write(leases, 0, 20);
    await vi.waitUntil(() => readers.every(({ texts }) => texts.length === 20), { timeout: 15_000 });
    expect(await connections()).toBe(4);
    await Promise.all(leases.map((lease) => lease.close('end')));
    for (const { ended, texts } of readers) {
      await ended;
      expect(texts).toStrictEqual([...Array.from({ length: 20 }, (_, index) => String(index)), 'end']);
    }
    await store.close();
    expect(await connections()).toBe(0);
  });

  it('knows the readers of its streams, which two stores have', async () => {
    const { store, prefix } = open(4);
    const { store: reading } = open(4, prefix);
    const ids = Array.from({ length: 20 }, (_, index) => `s${String(index)}`);
    const leases = await Promise.all(
      ids.map(async (id) => {
        const lease = await store.lease(id, { ttlMs: LONG_MS, watchesReaders: true });
        if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
        return lease;
      }),
    );
    await write(leases, 0, 1);
    const leaving = new AbortController();
    const readers = ids.map((id) => read(reading, id, leaving.signal));
    await vi.waitUntil(() => readers.every(({ texts }) => texts.length === 1), { timeout: 15_000 });
    for (const lease of leases) expect(await lease.renew()).not.toHaveProperty('unreadMs');
    leaving.abort();
    await vi.waitUntil(
      async () =>
        (await Promise.all(leases.map((lease) => lease.renew()))).every(({ unreadMs }) => unreadMs !== undefined),
      { timeout: 15_000 },
    );
  });

  it('goes on when a server is killed and comes back', async () => {
    const { store } = open();
    const ids = Array.from({ length: 32 }, (_, index) => `s${String(index)}`);
    const leases = await Promise.all(ids.map((id) => take(store, id)));
    const readers = ids.map((id) => read(store, id));
    await write(leases, 0, 5);
    const writing = write(leases, 5, 15);
    await cluster.servers[1]?.kill();
    await cluster.servers[1]?.start();
    await writing;
    await Promise.all(leases.map((lease) => lease.close('end')));
    for (const { ended, texts } of readers) {
      await ended;
      expect(texts).toStrictEqual([...Array.from({ length: 15 }, (_, index) => String(index)), 'end']);
    }
  });

  it('goes on when a slot moves to another server', async () => {
    const { store, prefix } = open(1);
    const ids = Array.from({ length: 8 }, (_, index) => `s${String(index)}`);
    const leases = await Promise.all(ids.map((id) => take(store, id)));
    const readers = ids.map((id) => read(store, id));
    await write(leases, 0, 5);
    const writing = write(leases, 5, 200);
    await move(`app:${keyNames(prefix, 1, '').lane(0).news}`);
    await writing;
    await Promise.all(leases.map((lease) => lease.close('end')));
    for (const { ended, texts } of readers) {
      await ended;
      expect(texts).toStrictEqual([...Array.from({ length: 200 }, (_, index) => String(index)), 'end']);
    }
  });

  /** Moves the slot of a key to the next server, as `redis-cli --cluster reshard` does. */
  async function move(key: string): Promise<void> {
    const slot = await admins[0]!.cluster('KEYSLOT', key);
    const from = Math.min(2, Math.floor(Number(slot) / Math.ceil(16_384 / 3)));
    const to = (from + 1) % 3;
    const [source, target] = [admins[from]!, admins[to]!];
    const [sourceId, targetId] = await Promise.all([source, target].map((admin) => admin.cluster('MYID')));
    await target.call('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', String(sourceId));
    await source.call('CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', String(targetId));
    for (;;) {
      const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', String(slot), '3')) as string[];
      if (keys.length === 0) break;
      await source.migrate('127.0.0.1', cluster.servers[to]!.port, '', 0, 5_000, 'KEYS', ...keys);
    }
    for (const admin of [target, source, ...admins]) {
      await admin.call('CLUSTER', 'SETSLOT', String(slot), 'NODE', String(targetId));
    }
  }
});

async function take(store: StreamStore, id: string): Promise<StreamLease> {
  const lease = await store.lease(id, { ttlMs: LONG_MS });
  if (typeof lease === 'string') throw new Error(`the stream is ${lease}`);
  return lease;
}

function read(
  store: StreamStore,
  id: string,
  signal: AbortSignal = new AbortController().signal,
): { readonly texts: string[]; readonly ended: Promise<void> } {
  const texts: string[] = [];
  const ended = (async (): Promise<void> => {
    for await (const { entries } of store.tail(id, undefined, signal)) {
      texts.push(...entries.map(({ data }) => data));
    }
  })();
  // Whoever waits for the end hears of it.
  ended.catch(() => undefined);
  return { texts, ended };
}
