import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { onTestFinished } from 'vitest';

/**
 * Starts a program that reads, and waits for its first word.
 * @returns what kills it at once
 */
export async function runReader(program: string, args: readonly string[]): Promise<() => Promise<void>> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const over = once(child, 'close');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await over;
  };
  onTestFinished(kill);
  await Promise.race([once(child.stdout, 'data'), over.then(() => Promise.reject(new Error('The reader has ended')))]);
  return kill;
}
