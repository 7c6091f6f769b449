import { SinkError } from '../errors.js';
import type { Files, WritableFile } from './io.js';

/** What to do with the unfinished file of an owner that is gone. */
export type OnPartial = 'replace' | 'keep' | 'error';

/** `<target>.partial`, opened for one owner. */
export class PartialFile {
  readonly path: string;
  readonly file: WritableFile;
  readonly #files: Files;
  readonly #target: string;

  constructor(files: Files, target: string, file: WritableFile) {
    this.path = partialOf(target);
    this.file = file;
    this.#files = files;
    this.#target = target;
  }

  /** Gives the closed file its name. A taken name is left alone unless it may be replaced. */
  publish(mayReplace: boolean): void {
    if (mayReplace) this.#files.replace(this.path, this.#target);
    else if (!this.#files.publish(this.path, this.#target)) {
      throw new SinkError(`${this.#target} was made by somebody else meanwhile; the text is in ${this.path}`, {
        context: { path: this.#target },
      });
    }
  }

  /** Removes the closed file. */
  remove(): void {
    this.#files.remove(this.path);
  }

  /** Lets others write; called after the file is closed and moved, or left where it is. */
  release(): void {
    this.#files.remove(lockOf(this.path));
  }
}

/**
 * Opens `<target>.partial` for one owner, who stands in `<target>.partial.owner` meanwhile: the file of a live owner is
 * refused, and that of a dead one is told apart.
 */
export function openPartial(files: Files, target: string, onPartial: OnPartial): PartialFile {
  const path = partialOf(target);
  takeLock(files, path, lockOf(path));
  try {
    if (files.exists(path)) makeRoom(files, path, onPartial);
    const file = files.create(path);
    if (file === undefined) throw isOwned(path);
    return new PartialFile(files, target, file);
  } catch (error) {
    files.remove(lockOf(path));
    throw error;
  }
}

function partialOf(target: string): string {
  return `${target}.partial`;
}

function lockOf(path: string): string {
  return `${path}.owner`;
}

/** Takes a lock that is free, or whose owner is dead. */
function takeLock(files: Files, path: string, lock: string): void {
  // All threads of a process agree on its time origin, and a later process of the same number has another.
  const me = `${String(files.processId)} ${String(performance.timeOrigin)} ${files.hostName}`;
  if (files.createWith(lock, me)) return;
  const owner = files.read(lock);
  if (owner === undefined) throw isOwned(path);
  const processId = Number.parseInt(owner, 10);
  const hostName = /^\d+ [\d.]+ (\S+)$/.exec(owner)?.[1];
  // Whether a process of another machine (or container) lives cannot be asked: it is taken at its word.
  const isForeign = hostName !== undefined && hostName !== files.hostName;
  const isOurs = processId === files.processId;
  const isAlive = isForeign || (isOurs ? owner === me : processId > 0 && files.isRunning(processId));
  if (isAlive) throw isOwned(path, processId);

  // Several may find a dead owner's lock. Who removes it holds a lock on it, or the lock of a faster one would be removed.
  const grave = `${lock}.${owner.replace(/\D/g, '').slice(0, 32)}`;
  takeLock(files, path, grave);
  try {
    if (files.read(lock) !== owner) throw isOwned(path);
    files.remove(lock);
    if (!files.createWith(lock, me)) throw isOwned(path);
  } finally {
    files.remove(grave);
  }
}

function makeRoom(files: Files, path: string, onPartial: OnPartial): void {
  switch (onPartial) {
    case 'replace':
      files.remove(path);
      return;
    case 'error':
      throw new SinkError(
        `${path} is left from an earlier run; onPartial: 'replace' or 'keep' says what to do with it`,
        {
          context: { path },
        },
      );
    case 'keep':
      for (let n = 1; ; n += 1) {
        if (files.publish(path, `${path}.${String(n)}`)) return;
      }
  }
}

function isOwned(path: string, owner?: number): SinkError {
  const who = owner === undefined ? 'another writer' : `process ${String(owner)}`;
  return new SinkError(`${path} is being written by ${who} (as ${lockOf(path)} says); one file takes one stream`, {
    context: { path, owner },
  });
}
