import type { Cluster, Redis } from 'ioredis';
import { StoreError } from '../errors.js';

/** A client of ioredis, of one server or of a cluster. */
export type Client = Redis | Cluster;

type Peer = Pick<typeof import('ioredis'), 'Redis'>;

/** Reconnects soon at first, and then each second. */
const retryDelayMs = (times: number): number => Math.min(20 * 2 ** Math.min(times, 10), 1_000);

/** Opens a client of the store's own. Errors go to its `error` event. */
export async function openClient(url: string, load: () => Promise<Peer> = loadPeer): Promise<Redis> {
  let peer: Peer;
  try {
    peer = await load();
  } catch (cause) {
    const message =
      'millrace/redis needs ioredis 5.4 or later for a URL, which could not be loaded: npm install ioredis';
    throw new StoreError('unavailable', message, { cause });
  }
  return new peer.Redis(url, {
    connectionName: 'millrace',
    lazyConnect: true,
    // How long a command may wait is the store's own matter.
    maxRetriesPerRequest: null,
    retryStrategy: retryDelayMs,
    // What was the master is not: the name may lead to another server now.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
  });
}

// eslint-disable-next-line no-restricted-syntax -- an optional peer, which whoever brings a client of their own need not have
const loadPeer = (): Promise<Peer> => import('ioredis');

/** A connection that one command may block. It is opened once: when it is lost, another is made. */
export function blockingClient(client: Redis): Redis {
  return client.duplicate({
    connectionName: 'millrace-tail',
    lazyConnect: true,
    enableOfflineQueue: true,
    retryStrategy: null,
    reconnectOnError: null,
    // A command that blocks is silent for as long as it should.
    commandTimeout: undefined,
    socketTimeout: undefined,
    readOnly: false,
    monitor: false,
    enableAutoPipelining: false,
    // Keys are given with it, and come back with it.
    keyPrefix: '',
    // XREAD answers otherwise in RESP 3.
    protocol: 2,
    replyMapping: 'legacy',
  });
}

/** Closes a connection of the store's own; resolves when it is closed. */
export async function closeClient(client: Redis): Promise<void> {
  // One that is closed has nothing more to tell, and closing it again would leave a timer of two seconds behind.
  if (client.status === 'end') return;
  const ended = new Promise<void>((resolve) => {
    client.once('end', resolve);
  });
  if (client.status === 'close') return ended;
  const isIdle = client.status === 'reconnecting';
  client.disconnect();
  return isIdle ? undefined : ended;
}

export function isCluster(client: Client): client is Cluster {
  return client.isCluster;
}

/** What the client puts before every key. */
export function prefixOf(client: Client): string {
  return client.options.keyPrefix ?? '';
}

/** The server of a cluster that has a key's slot. */
export async function masterOf(cluster: Cluster, key: string): Promise<Redis> {
  // The command goes where the key is; where that has changed, the cluster's slots are read anew.
  await cluster.exists(key);
  const slot = Number(await cluster.cluster('KEYSLOT', prefixOf(cluster) + key));
  const [name] = cluster.slots[slot] ?? [];
  const master = cluster
    .nodes('master')
    .find(({ options: { host, port } }) => `${String(host)}:${String(port)}` === name);
  if (master === undefined) throw new Error(`No server is known for slot ${String(slot)}`);
  return master;
}
