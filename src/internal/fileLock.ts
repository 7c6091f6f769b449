import type { Files } from './io.js';

/** Who has a lock that cannot be taken. */
export interface LockOwner {
  /** Undefined where it is not known. */
  readonly processId: number | undefined;
  /** Set where it is a process of another machine (or container): whether it lives cannot be asked. */
  readonly hostName: string | undefined;
}

/** So often a lock may be given back, and taken by another, between two looks at it. */
const MAX_TRIES = 100;

/**
 * Takes a lock that is free, or whose owner is dead: a file that names its owner.
 *
 * A process id is another's after a while, and in a container it is the same each time. So the owner is named by the id, by the time
 * origin of its clock, which all its threads agree on, by the machine, and where the system tells it by when the process was started.
 * @param path - of the lock
 * @param refuse - makes the error for a lock that somebody has
 */
export function takeLock(files: Files, path: string, refuse: (owner: LockOwner) => Error): void {
  const { processId: myId, hostName: myHost } = files;
  const me = [myId, performance.timeOrigin, myHost, files.startOf(myId)].filter((part) => part !== undefined).join(' ');
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    if (files.createWith(path, me)) return;
    const owner = files.read(path);
    if (owner === undefined) continue; // it was given back just now
    const processId = Number.parseInt(owner, 10);
    const [, hostName, startedAt] = /^\d+ [\d.]+ (\S+)(?: (\S+))?$/.exec(owner) ?? [];
    const isForeign = hostName !== undefined && hostName !== myHost;
    const isSame = startedAt === undefined || startedAt === (files.startOf(processId) ?? startedAt);
    const isOther = processId > 0 && files.isRunning(processId) && isSame;
    const isAlive = isForeign || (processId === myId ? owner === me : isOther);
    if (isAlive) throw refuse({ processId, hostName: isForeign ? hostName : undefined });

    // Several may find a dead owner's lock. Who removes it holds a lock on it, or the lock of a faster one would be removed.
    const grave = `${path}.${owner.replace(/\D/g, '').slice(0, 32)}`;
    takeLock(files, grave, refuse);
    try {
      if (files.read(path) === owner) files.remove(path);
    } finally {
      files.remove(grave);
    }
  }
  throw refuse({ processId: undefined, hostName: undefined });
}
