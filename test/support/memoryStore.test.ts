import { MemoryStore } from './memoryStore.js';
import { describeReaders } from './storeContract.js';

describeReaders('MemoryStore', ({ presenceMs } = {}) => {
  const store = new MemoryStore(() => performance.now(), presenceMs);
  return Promise.resolve({
    store,
    another: () => Promise.resolve(store),
    remove: (id) => {
      store.streams.delete(id);
      return Promise.resolve();
    },
    readElsewhere: async (id) => {
      await store.tail(id, undefined, new AbortController().signal)[Symbol.asyncIterator]().next();
      return () => {
        store.killReaders(id);
        return Promise.resolve();
      };
    },
  });
});
