// A Redis of the benchmark's own: on a free port, keeping every write on the disk before it answers, gone with the run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

/** The server that `REDIS_SERVER_PATH` names, or the first one on the path; undefined where there is none. */
export function findRedis() {
  const named = process.env['REDIS_SERVER_PATH'];
  if (named !== undefined) return named === '' ? undefined : named;
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, 'redis-server')).find((file) => existsSync(file));
}

export async function startRedis(path) {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-redis-'));
  const port = await freePort();
  const address = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  // Never rewritten: its growth is what writes cost the disk.
  const kept = ['--appendonly', 'yes', '--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0'];
  const child = spawn(path, [...address, ...kept], { stdio: ['ignore', 'ignore', 'inherit'] });
  const kill = () => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', kill);
  const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null, retryStrategy: () => 20 });
  client.on('error', () => undefined); // it is tried until it is there
  try {
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`${path} ended with ${code}`);
    });
    await Promise.race([client.ping(), ended]);
  } catch (error) {
    client.disconnect();
    throw error;
  }
  return new RedisServer(client, port, async () => {
    client.disconnect();
    process.off('exit', kill);
    const ended = child.exitCode === null ? once(child, 'exit') : undefined;
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
}

class RedisServer {
  stop;
  #client;
  #port;

  constructor(client, port, stop) {
    this.#client = client;
    this.#port = port;
    this.stop = stop;
  }

  get store() {
    return { kind: 'redis', port: this.#port };
  }

  async version() {
    return String(await this.#client.info('server')).match(/redis_version:(\S+)/)?.[1] ?? 'unknown';
  }

  /** Forgets everything, and is given back the memory. */
  async clear() {
    await this.#client.flushall();
    await sleep(50);
  }

  /** Connections of others. */
  async connections() {
    return (await this.#info('clients')).connected_clients - 1;
  }

  /** Bytes in use, of which what an idle server takes is a part. */
  async memory() {
    return (await this.#info('memory')).used_memory;
  }

  /** What it has done since it was started. */
  async usage() {
    const cpu = await this.#info('cpu');
    const stats = await this.#info('stats');
    const persistence = await this.#info('persistence');
    return {
      cpuMicros: (cpu.used_cpu_user + cpu.used_cpu_sys) * 1e6,
      commands: await this.#commands(),
      receivedBytes: stats.total_net_input_bytes,
      sentBytes: stats.total_net_output_bytes,
      fileBytes: persistence.aof_current_size,
    };
  }

  /** Commands that clients gave: those that a script calls are not among these. */
  async #commands() {
    const text = String(await this.#client.info('commandstats'));
    const calls = text.matchAll(/^cmdstat_(?:evalsha|eval|xread):calls=(\d+)/gm);
    return [...calls].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  async #info(section) {
    const text = String(await this.#client.info(section));
    return Object.fromEntries(
      [...text.matchAll(/^(\w+):([\d.]+)\r?$/gm)].map(([, name, value]) => [name, Number(value)]),
    );
  }
}

async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
