export { sqliteStore, type SQLiteStoreOptions } from './sqliteStore.js';
