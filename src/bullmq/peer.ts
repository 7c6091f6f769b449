import { StoreError } from '../errors.js';

type Peer = Pick<typeof import('bullmq'), 'Queue' | 'QueueEvents' | 'WaitingError' | 'Worker'>;

/** @throws StoreError where it is not installed */
export async function loadBullMQ(): Promise<Peer> {
  try {
    // eslint-disable-next-line no-restricted-syntax -- an optional peer
    return await import('bullmq');
  } catch (cause) {
    const message = 'millrace/bullmq needs bullmq 6 and ioredis, which could not be loaded: npm install bullmq ioredis';
    throw new StoreError('unavailable', message, { cause });
  }
}
