export type { RedisConnection } from './redisConnection.js';
export { redisGate, type RedisGate, type RedisGateOptions } from './redisGate.js';
export { redisStore, type RedisStoreOptions } from './redisStore.js';
