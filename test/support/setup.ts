import process from 'node:process';
import { afterAll } from 'vitest';
import { warnings } from './warnings.js';

// A warning of Node's (a leak of listeners, for one) fails the file in which it came, unless a test expects it. A
// rejection that nobody handles fails the run by vitest itself.

const note = (warning: Error): void => {
  warnings.note(warning);
};
process.on('warning', note);

afterAll(async () => {
  // A warning is told in a later turn than the one that made it.
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  const wrong = warnings.take();
  if (wrong.length > 0) throw new Error(`Warnings of the process:\n${wrong.join('\n')}`);
});
