import { SinkError } from '../errors.js';
import { takeLock } from './fileLock.js';
import type { Files, WritableFile } from './io.js';

/** What to do with the unfinished file of an owner that is gone. */
export type OnPartial = 'replace' | 'keep' | 'error';

/** `<target>.partial`, opened for one owner. */
export class PartialFile {
  readonly path: string;
  readonly file: WritableFile;
  readonly #files: Files;
  readonly #target: string;

  constructor(files: Files, target: string, file: WritableFile, token?: string) {
    this.path = partialOf(target, token);
    this.file = file;
    this.#files = files;
    this.#target = target;
  }

  /** Gives the closed file its name. A taken name is left alone unless it may be replaced. */
  publish(mayReplace: boolean): void {
    if (mayReplace) this.#files.replace(this.path, this.#target);
    else if (!this.#files.publish(this.path, this.#target)) throw isTaken(this.#target, this.path);
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
  takeLock(files, lockOf(path), ({ processId }) => isOwned(path, processId));
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

/**
 * Opens `<target>.<token>.partial` for the one who has the token, whom nobody else stands beside.
 * @param earlier - the token of whoever had the target before: what is left of it is removed
 */
export function openOwnPartial(files: Files, target: string, token: string, earlier: string | undefined): PartialFile {
  if (earlier !== undefined) files.remove(partialOf(target, earlier));
  const path = partialOf(target, token);
  const file = files.create(path);
  if (file === undefined) throw isOwned(path);
  return new PartialFile(files, target, file, token);
}

/**
 * Gives a written file the name that its writer, which was killed, did not come to give it; or finds that it has.
 * @param written - its bytes, whether it may replace a file, and the token of whoever wrote it
 * @returns false where there is no such file
 * @throws SinkError where the name is somebody else's meanwhile
 */
export function finishPublishing(
  files: Files,
  target: string,
  written: { readonly bytes: number; readonly mayReplace: boolean; readonly token: string | undefined },
): boolean {
  const { bytes, mayReplace, token } = written;
  const path = partialOf(target, token);
  if (files.sizeOf(path) !== bytes) {
    if (files.sizeOf(target) !== bytes) return false;
  } else if (mayReplace) {
    files.replace(path, target);
    files.remove(path); // a move between two names of one file does nothing
  } else if (!files.publish(path, target)) {
    // It had both names for a moment, or somebody else took its own.
    if (files.sizeOf(target) !== bytes || files.read(path) !== files.read(target)) throw isTaken(target, path);
    files.remove(path);
  }
  files.remove(lockOf(path));
  return true;
}

function isTaken(target: string, path: string): SinkError {
  return new SinkError(`${target} was made by somebody else meanwhile; the text is in ${path}`, {
    context: { path: target },
  });
}

/** Where a file is until it is whole. */
export function partialOf(target: string, token?: string): string {
  return token === undefined ? `${target}.partial` : `${target}.${token}.partial`;
}

function lockOf(path: string): string {
  return `${path}.owner`;
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
