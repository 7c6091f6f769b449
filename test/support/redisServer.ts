import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, onTestFinished } from 'vitest';

const DEBIAN = '/usr/bin/redis-server';

/** The server that `REDIS_SERVER_PATH` names, or Debian's; undefined where there is none, or where the name is empty. */
export const redisPath: string | undefined = findRedis(process.env['REDIS_SERVER_PATH']);

function findRedis(named: string | undefined): string | undefined {
  // One that was named and is not there fails when it is started.
  if (named !== undefined) return named === '' ? undefined : named;
  return existsSync(DEBIAN) ? DEBIAN : undefined;
}

/** A `describe` whose tests are skipped, and say why, where there is no Redis. */
export function describeWithRedis(name: string, tests: () => void): void {
  const why = redisPath === undefined ? ` (skipped: no ${DEBIAN}, and REDIS_SERVER_PATH names no other)` : '';
  describe.skipIf(redisPath === undefined)(`${name}, with Redis${why}`, tests);
}

/** A Redis of a test's own, on a free port of 127.0.0.1. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** Of the process that runs now. */
  readonly pid: number;
  /** Ends it at once, and waits until it is over. */
  kill(): Promise<void>;
  /** Starts it again, where it was killed, with what it had kept; resolves when it answers. */
  start(): Promise<void>;
  /** A client of the test's own, which is closed with the server. */
  client(): Redis;
  /** Ends it, and removes what it kept. */
  stop(): Promise<void>;
}

/** How a Redis is started. */
export interface RedisServerOptions {
  /** More of its settings, as on its command line; what comes later counts. */
  readonly settings?: readonly string[] | undefined;
}

/** Starts a Redis that keeps every write before it answers. Whoever starts it stops it. */
export async function startRedis({ settings = [] }: RedisServerOptions = {}): Promise<RedisServer> {
  if (redisPath === undefined) throw new Error(`There is no ${DEBIAN}, and REDIS_SERVER_PATH names no other`);
  const path = redisPath;
  const directory = await mkdtemp(join(tmpdir(), 'millrace-redis-'));
  const port = await freePort();
  const clients: Redis[] = [];
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const base = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', ''];
    const kept = ['--appendonly', 'yes', '--appendfsync', 'always'];
    const running = spawn(path, [...base, ...kept, ...settings], { stdio: ['ignore', 'pipe', 'inherit'] });
    child = running;
    let said = '';
    running.stdout.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-10_000);
    });
    // A cluster's server says so, too, before it has its slots.
    while (!/Ready to accept connections/i.test(said)) {
      if (running.exitCode !== null) throw new Error(`redis-server ended:\n${said}`);
      await sleep(5);
    }
  };
  const kill = async (): Promise<void> => {
    const running = child;
    child = undefined;
    // Null while it runs.
    if (running?.exitCode !== null || running.signalCode !== null) return;
    const over = once(running, 'exit');
    running.kill('SIGKILL');
    await over;
  };
  await start();
  return {
    port,
    url: `redis://127.0.0.1:${String(port)}`,
    get pid() {
      if (child?.pid === undefined) throw new Error('Redis does not run');
      return child.pid;
    },
    kill,
    start,
    client: () => {
      const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null, retryStrategy: () => 20 });
      // Redis is killed on purpose.
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    },
    stop: async () => {
      for (const client of clients) client.disconnect();
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server has an AddressInfo
  server.close();
  await once(server, 'close');
  // A cluster's server also takes the port that is 10,000 higher.
  return port > 55_000 ? freePort() : port;
}

/** Stands between a client and Redis, and loses what is on its way. */
export interface RedisProxy {
  readonly url: string;
  readonly port: number;
  /** Hands the next command that holds a text on to Redis, and cuts that connection instead of its answer. Resolves then. */
  loseReplyTo(part: string): Promise<void>;
  /** Cuts all connections. */
  cut(): void;
  /** Accepts connections and hands nothing on, in either direction, until it is told otherwise. */
  stall(isStalled: boolean): void;
}

/** Starts a proxy in front of a server; it is gone when the test is. */
export async function startProxy(target: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>();
  let lost: { readonly part: string; readonly done: () => void } | undefined;
  let isStalled = false;
  const proxy = createServer((client) => {
    const server = connect(target, '127.0.0.1');
    let isLosing: (() => void) | undefined;
    sockets.add(client).add(server);
    const cut = (): void => {
      client.destroy();
      server.destroy();
      sockets.delete(client);
      sockets.delete(server);
    };
    for (const socket of [client, server]) socket.on('error', cut).on('close', cut);
    client.on('data', (data) => {
      if (isStalled) return;
      if (lost !== undefined && data.includes(lost.part)) {
        isLosing = lost.done;
        lost = undefined;
      }
      server.write(data);
    });
    server.on('data', (data) => {
      if (isStalled) return;
      if (isLosing === undefined) {
        client.write(data);
        return;
      }
      cut();
      isLosing();
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(async () => {
    const over = once(proxy, 'close');
    proxy.close();
    for (const socket of sockets) socket.destroy();
    await over;
  });
  const { port } = proxy.address() as AddressInfo; // a TCP server has an AddressInfo
  return {
    port,
    url: `redis://127.0.0.1:${String(port)}`,
    loseReplyTo: (part) =>
      new Promise((done) => {
        lost = { part, done };
      }),
    cut: () => {
      for (const socket of [...sockets]) socket.destroy();
    },
    stall: (to) => {
      isStalled = to;
    },
  };
}

/** Three servers that share the slots of a cluster. */
export interface RedisCluster {
  readonly servers: readonly RedisServer[];
  /** Ends them, and removes what they kept. */
  stop(): Promise<void>;
}

/** Starts a cluster of three masters. Whoever starts it stops it. */
export async function startCluster(): Promise<RedisCluster> {
  const settings = [
    '--cluster-enabled',
    'yes',
    '--cluster-config-file',
    'nodes.conf',
    '--cluster-node-timeout',
    '2000',
  ];
  const servers = await Promise.all([0, 1, 2].map(() => startRedis({ settings })));
  const clients = servers.map((server) => server.client());
  const [first, ...others] = clients;
  const slots = 16_384;
  const share = Math.ceil(slots / servers.length);
  await Promise.all(
    clients.map((client, index) => {
      const from = index * share;
      return client.cluster('ADDSLOTSRANGE', from, Math.min(slots, from + share) - 1);
    }),
  );
  // Epochs that differ, as redis-cli sets them: else servers of the same one quarrel.
  await Promise.all(clients.map((client, index) => client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))));
  for (const client of others) {
    for (const server of servers) await client.cluster('MEET', '127.0.0.1', server.port);
  }
  const isWhole = async (client: Redis | undefined): Promise<boolean> =>
    /cluster_state:ok[^]*cluster_known_nodes:3/.test(String(await client?.cluster('INFO')));
  for (const client of [first, ...others]) while (!(await isWhole(client))) await sleep(20);
  return {
    servers,
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
