import { createRequire } from 'node:module';
import { UsageError } from '../exitCodes.js';

/**
 * Looks whether the packages are there that a queue needs and the others do not.
 * @throws UsageError that says what is to be installed
 */
export function requirePeers(
  command: string,
  resolve: (name: string) => string = createRequire(import.meta.url).resolve,
): void {
  const missing = ['bullmq', 'ioredis'].filter((name) => {
    try {
      resolve(name);
      return false;
    } catch {
      return true; // whatever else is wrong with one is told when it is loaded
    }
  });
  if (missing.length === 0) return;
  const are = missing.length === 1 ? 'which is' : 'which are';
  throw new UsageError(`${command} needs ${missing.join(' and ')}, ${are} not installed: npm install bullmq ioredis`);
}
