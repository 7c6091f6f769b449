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
  async publish(mayReplace: boolean): Promise<void> {
    if (mayReplace) await this.#files.replace(this.path, this.#target);
    else if (!(await this.#files.publish(this.path, this.#target))) {
      throw new SinkError(`${this.#target} was made by somebody else meanwhile; the text is in ${this.path}`, {
        context: { path: this.#target },
      });
    }
  }

  /** Lets others write; called after the file is closed and moved, or left where it is. */
  async release(): Promise<void> {
    await this.#files.remove(lockOf(this.path));
  }

  /** Leaves nothing behind. */
  async discard(): Promise<void> {
    await this.file.close();
    await this.#files.remove(this.path);
    await this.release();
  }
}

/**
 * Opens `<target>.partial` for one owner, who stands in `<target>.partial.owner` meanwhile: the file of a live owner is
 * refused, and that of a dead one is told apart.
 */
export async function openPartial(files: Files, target: string, onPartial: OnPartial): Promise<PartialFile> {
  const path = partialOf(target);
  await takeLock(files, path, lockOf(path));
  try {
    if (await files.exists(path)) await makeRoom(files, path, onPartial);
    const file = await files.create(path);
    if (file === undefined) throw isOwned(path);
    return new PartialFile(files, target, file);
  } catch (error) {
    await files.remove(lockOf(path));
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
async function takeLock(files: Files, path: string, lock: string): Promise<void> {
  // All threads of a process agree on its time origin, and a later process of the same number has another.
  const me = `${String(files.processId)} ${String(performance.timeOrigin)} ${files.hostName}`;
  if (await files.createWith(lock, me)) return;
  const owner = await files.read(lock);
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
  await takeLock(files, path, grave);
  try {
    if ((await files.read(lock)) !== owner) throw isOwned(path);
    await files.remove(lock);
    if (!(await files.createWith(lock, me))) throw isOwned(path);
  } finally {
    await files.remove(grave);
  }
}

async function makeRoom(files: Files, path: string, onPartial: OnPartial): Promise<void> {
  switch (onPartial) {
    case 'replace':
      await files.remove(path);
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
        if (await files.publish(path, `${path}.${String(n)}`)) return;
      }
  }
}

function isOwned(path: string, owner?: number): SinkError {
  const who = owner === undefined ? 'another writer' : `process ${String(owner)}`;
  return new SinkError(`${path} is being written by ${who} (as ${lockOf(path)} says); one file takes one stream`, {
    context: { path, owner },
  });
}
