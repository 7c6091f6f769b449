import process from 'node:process';
import { keysIn } from './keys.js';

/**
 * Looks through everything that the whole run prints, by tests, by the library or by Node, for the keys that tests use; one that is
 * found fails the run. Runs in the main process, through which all workers print.
 */
export default function setup(): () => void {
  const found: Map<string, string> = new Map();
  const restore = [process.stdout, process.stderr].map((output) => {
    const { write } = output;
    /** The end of what was printed: a key may come in two pieces. */
    let tail = '';
    const look = (chunk: unknown): void => {
      const text = tail + (typeof chunk === 'string' ? chunk : Buffer.from(chunk as Uint8Array).toString());
      for (const key of keysIn(text)) if (!found.has(key)) found.set(key, around(text, key));
      tail = text.slice(-64);
    };
    // All of its forms take what is printed first.
    output.write = ((...args: Parameters<typeof write>): boolean => {
      look(args[0]);
      return write.apply(output, args);
    }) as typeof write;
    return (): void => {
      output.write = write;
    };
  });
  return () => {
    for (const undo of restore) undo();
    if (found.size === 0) return;
    process.exitCode = 1; // an error that is thrown here would be printed and no more
    process.stderr.write(`The run printed keys of its tests:\n${[...found.values()].join('\n')}\n`);
  };
}

/** The line in which a key was printed, without it. */
function around(text: string, key: string): string {
  const line = text.split('\n').find((one) => one.includes(key)) ?? '';
  return `  ${line.replaceAll(key, '<KEY>').slice(0, 300)}`;
}
