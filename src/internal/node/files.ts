import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as promises from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { hostname } from 'node:os';
import process from 'node:process';
import { takeLock } from '../fileLock.js';
import type { Files, WritableFile } from '../io.js';
import { enclose, isBelow } from './enclosure.js';

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | null)?.code;
}

/** Runs a file operation; the given codes become `undefined`, everything else stays an error. */
function unless<T>(codes: readonly string[], operation: () => T): T | undefined {
  try {
    return operation();
  } catch (error) {
    if (codes.includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = fs.constants;
/** Windows has no such flag; there O_EXCL alone keeps a new file from following a link. */
const { O_NOFOLLOW: NO_FOLLOW = 0, O_NONBLOCK = 0 } = fs.constants as { O_NOFOLLOW?: number; O_NONBLOCK?: number };
const NEW_FILE = O_WRONLY | O_CREAT | O_EXCL | NO_FOLLOW;
/** Nor waits for somebody who writes into a pipe of that name. */
const READ_NO_LINK = O_RDONLY | NO_FOLLOW | O_NONBLOCK;

/** The beginning of the names under which small files are written before they get their own; the process id follows. */
const DRAFT = '.millrace-';
/** The ending of a lock on a dead owner's lock. */
const GRAVE = /(?:^lock|\.partial\.owner)\.\d+$/;
/** Of the fields of `/proc/PID/stat` behind the name: `starttime`, the 22nd of all. */
const STARTED_AT = 19;

/** A promise of a callback's result. */
function done<T = undefined>(start: (callback: (error: Error | null, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
      if (error === null) resolve(result as T);
      else reject(error);
    });
  });
}

/** A file that is written from its start, piece after piece. */
function writable(file: number): WritableFile {
  let position = 0;
  return {
    write: async (bytes) => {
      let written = 0;
      // A write may be short (POSIX write(2)): go on until all of it is out.
      while (written < bytes.length) {
        const count = await done<number>((callback) => {
          fs.write(file, bytes, written, bytes.length - written, position, callback);
        });
        written += count;
        position += count;
      }
    },
    truncate: async (length) => {
      await done((callback) => {
        fs.ftruncate(file, length, callback);
      });
      position = length;
    },
    sync: () =>
      done((callback) => {
        fs.fsync(file, callback);
      }),
    close: () =>
      done((callback) => {
        fs.close(file, callback);
      }),
    isAt: (path) => {
      const own = fs.fstatSync(file, { bigint: true });
      const named = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
      return named?.dev === own.dev && named.ino === own.ino;
    },
  };
}

/** Removes a lock whose owner was killed; one that is held stays. */
function removeDead(lock: string): void {
  try {
    takeLock(nodeFiles, lock, () => new Error('held'));
  } catch {
    return; // whoever holds it, or may look at it, removes it
  }
  nodeFiles.remove(lock);
}

/** Files on Node. */
export const nodeFiles: Files = {
  resolve: (path, folder = '') => resolve(folder, path),
  isBelow,
  enclose,
  exists: (path) => {
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    // A text must not take the place of a folder, a device or a pipe.
    if (found !== undefined && !found.isFile() && !found.isSymbolicLink()) throw new Error('it is no ordinary file');
    return found !== undefined;
  },
  sizeOf: (path) => {
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    return found?.isFile() === true ? found.size : undefined;
  },
  makeParents: (path) => {
    fs.mkdirSync(dirname(path), { recursive: true });
  },
  create: (path) => {
    const file = unless(['EEXIST'], () => fs.openSync(path, NEW_FILE));
    return file === undefined ? undefined : writable(file);
  },
  createWith: (path, text) => {
    // Under a name of its own first: whoever finds `path` finds all of its text.
    const draft = join(dirname(path), `${DRAFT}${String(process.pid)}-${randomUUID()}`);
    try {
      fs.writeFileSync(draft, text, { flag: 'wx' });
      return nodeFiles.publish(draft, path);
    } finally {
      nodeFiles.remove(draft);
    }
  },
  read: (path) =>
    unless(['ENOENT'], () => {
      try {
        return fs.readFileSync(path, { encoding: 'utf8', flag: READ_NO_LINK as unknown as string }); // numbers are flags too
      } catch (error) {
        throw codeOf(error) === 'ELOOP' ? new Error(`${path} is a link`) : error;
      }
    }),
  remove: (path) => {
    unless(['ENOENT'], () => {
      fs.unlinkSync(path);
    });
  },
  replace: (from, to) => {
    fs.renameSync(from, to);
  },
  publish: (from, to) => {
    try {
      // A hard link takes a free name or fails; a rename would take a taken one as well.
      fs.linkSync(from, to);
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(codeOf(error) ?? '')) throw error;
      if (fs.lstatSync(to, { throwIfNoEntry: false }) !== undefined) return false;
      fs.renameSync(from, to);
      return true;
    }
    fs.unlinkSync(from);
    return true;
  },
  syncFolder: async (path) => {
    // Windows opens no folders, and some network file systems sync none: there the name is as durable as they make it.
    const allow = (error: unknown, ...codes: readonly string[]): void => {
      if (!codes.includes(codeOf(error) ?? '')) throw error;
    };
    const folder = await promises.open(dirname(path), 'r').catch((error: unknown) => {
      allow(error, 'EPERM', 'EISDIR', 'EACCES');
    });
    if (folder === undefined) return;
    try {
      await folder.sync().catch((error: unknown) => {
        allow(error, 'EPERM', 'EINVAL', 'ENOTSUP');
      });
    } finally {
      await folder.close();
    }
  },
  hostName: hostname(),
  processId: process.pid,
  isRunning: (processId) => {
    try {
      process.kill(processId, 0);
      return true;
    } catch (error) {
      return codeOf(error) === 'EPERM'; // it runs, and is somebody else's
    }
  },
  startOf: (processId) => {
    // Linux alone has it in a file (proc(5)): the ticks since boot, and which boot. The name before it may hold anything.
    const stat = unless(['ENOENT', 'EACCES', 'ESRCH'], () =>
      fs.readFileSync(`/proc/${String(processId)}/stat`, 'utf8'),
    );
    const boot = unless(['ENOENT', 'EACCES'], () => fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'));
    const ticks = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[STARTED_AT];
    return ticks === undefined || boot === undefined ? undefined : `${ticks}@${boot.trim()}`;
  },
  removeDrafts: (folder) => {
    for (const name of unless(['ENOENT', 'ENOTDIR'], () => fs.readdirSync(folder)) ?? []) {
      const path = join(folder, name);
      if (name.startsWith(DRAFT)) {
        const processId = Number.parseInt(name.slice(DRAFT.length), 10);
        if (processId > 0 && !nodeFiles.isRunning(processId)) nodeFiles.remove(path);
      } else if (GRAVE.test(name)) removeDead(path);
    }
  },
};
