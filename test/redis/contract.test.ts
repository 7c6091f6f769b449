import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { redisStore, type RedisStoreOptions } from '../../src/redis/index.js';
import { keyNames } from '../../src/redis/keys.js';
import { bundle } from '../support/bundle.js';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redisServer.js';
import { runReader } from '../support/runReader.js';
import { describeStore, type MakeStore } from '../support/storeContract.js';

const READER = `
  import { Redis } from 'ioredis';
  import { redisStore } from './src/redis/index.ts';
  const [port, keyPrefix, options, id] = process.argv.slice(2);
  const store = redisStore(new Redis(Number(port), '127.0.0.1', { keyPrefix }), JSON.parse(options));
  for await (const _ of store.tail(id, undefined, new AbortController().signal)) {
    await store.stop('behind what it says of its readers');
    process.stdout.write('reads');
  }
`;

describeWithRedis('the contract', () => {
  let durable: RedisServer;
  let fast: RedisServer;
  let runs = 0;

  beforeAll(async () => {
    durable = await startRedis();
    fast = await startRedis({ settings: ['--appendonly', 'no'] });
  });
  afterAll(async () => {
    await durable.stop();
    await fast.stop();
  });

  /** Reads a stream of the server in a process of its own; says so when the store knows. */
  const readElsewhere = async (
    port: number,
    options: RedisStoreOptions,
    id: string,
    keyPrefix = '',
  ): ReturnType<typeof runReader> => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-reader-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const program = join(folder, 'reader.mjs');
    await bundle(READER, program);
    return runReader(program, [String(port), keyPrefix, JSON.stringify(options), id]);
  };

  const byURL: MakeStore = (settings) => {
    const prefix = `test ${String((runs += 1))}`;
    const options: RedisStoreOptions = { ...settings, prefix };
    const client = durable.client();
    return Promise.resolve({
      store: redisStore({ url: durable.url }, options),
      another: () => Promise.resolve(redisStore({ url: durable.url }, options)),
      readElsewhere: (id) => readElsewhere(durable.port, options, id),
      remove: async (id) => {
        const { entries, lease } = keyNames(prefix, 1, '').of(id);
        await client.del(entries, lease);
      },
    });
  };

  /** With the settings of a caller's own that reach into keys and replies. */
  const byClient: MakeStore = async (settings) => {
    const prefix = `test ${String((runs += 1))}`;
    const options: RedisStoreOptions = { ...settings, prefix };
    const client = new Redis(fast.port, '127.0.0.1', {
      keyPrefix: 'app:',
      replyMapping: 'resp3',
      stringNumbers: true,
      enableAutoPipelining: true,
      lazyConnect: true,
    });
    await client.connect();
    return {
      store: redisStore(client, options),
      another: () => Promise.resolve(redisStore(client, options)),
      readElsewhere: (id) => readElsewhere(fast.port, options, id, 'app:'),
      remove: async (id) => {
        const { entries, lease } = keyNames(prefix, 1, '').of(id);
        await client.del(entries, lease);
      },
      dispose: async () => {
        await client.quit();
      },
    };
  };

  describeStore('redisStore({ url })', byURL);
  describeStore('redisStore(client)', byClient);
});
