import { statSync, watch } from 'node:fs';
import { resolve } from 'node:path';

export { resolve as absolutePath };

/** What tells a file from another one at the same path; undefined where there is none. */
export function fileIdentity(path: string): string | undefined {
  // As large numbers: the number of a file does not always fit one of JavaScript's.
  const file = statSync(path, { bigint: true, throwIfNoEntry: false });
  return file === undefined ? undefined : `${String(file.dev)}:${String(file.ino)}`;
}

/**
 * Calls back when somebody writes to a file, until the result is called. Never where the system watches no more files, or not this one:
 * it serves to be faster, not to be sure.
 */
export function onWritten(path: string, listener: () => void): () => void {
  try {
    const watcher = watch(path, listener);
    watcher.on('error', () => {
      watcher.close();
    });
    return () => {
      watcher.close();
    };
  } catch {
    return () => undefined;
  }
}
