export type { RedisConnection } from './redisConnection.js';
export { redisStore, type RedisStoreOptions } from './redisStore.js';
