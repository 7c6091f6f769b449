import { Redis } from 'ioredis';
import { afterAll, beforeAll } from 'vitest';
import { redisStore, type RedisStoreOptions } from '../../src/redis/index.js';
import { keyNames } from '../../src/redis/keys.js';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redisServer.js';
import { describeStore, type MakeStore } from '../support/storeContract.js';

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

  const byURL: MakeStore = (settings) => {
    const prefix = `test ${String((runs += 1))}`;
    const options: RedisStoreOptions = { ...settings, prefix };
    const client = durable.client();
    return Promise.resolve({
      store: redisStore({ url: durable.url }, options),
      another: () => Promise.resolve(redisStore({ url: durable.url }, options)),
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
