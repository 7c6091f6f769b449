export { type RedisConnection, redisStore, type RedisStoreOptions } from './redisStore.js';
