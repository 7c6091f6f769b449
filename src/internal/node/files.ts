import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { hostname } from 'node:os';
import process from 'node:process';
import type { Files, WritableFile } from '../io.js';

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | null)?.code;
}

/** Runs a file operation; the given codes become `undefined`, everything else stays an error. */
async function unless<T>(codes: readonly string[], operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (codes.includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** A file that is written from its start, piece after piece. */
function writable(handle: fs.FileHandle): WritableFile {
  let position = 0;
  return {
    write: async (bytes) => {
      let written = 0;
      // A write may be short (POSIX write(2)): go on until all of it is out.
      while (written < bytes.length) {
        const result = await handle.write(bytes, written, bytes.length - written, position);
        written += result.bytesWritten;
        position += result.bytesWritten;
      }
    },
    truncate: async (length) => {
      await handle.truncate(length);
      position = length;
    },
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}

/** Files on Node. */
export const nodeFiles: Files = {
  resolve: (path) => resolve(path),
  exists: async (path) => {
    const found = await unless(['ENOENT'], fs.lstat(path));
    // A text must not take the place of a folder, a device or a pipe.
    if (found !== undefined && !found.isFile() && !found.isSymbolicLink()) throw new Error('it is no ordinary file');
    return found !== undefined;
  },
  makeParents: async (path) => {
    await fs.mkdir(dirname(path), { recursive: true });
  },
  create: async (path) => {
    const handle = await unless(['EEXIST'], fs.open(path, 'wx'));
    return handle === undefined ? undefined : writable(handle);
  },
  createWith: async (path, text) => {
    // Under a name of its own first: whoever finds `path` finds all of its text.
    const draft = join(dirname(path), `.millrace-${randomUUID()}`);
    try {
      await fs.writeFile(draft, text, { flag: 'wx' });
      return await nodeFiles.publish(draft, path);
    } finally {
      await nodeFiles.remove(draft);
    }
  },
  read: (path) => unless(['ENOENT'], fs.readFile(path, 'utf8')),
  remove: async (path) => {
    await unless(['ENOENT'], fs.unlink(path));
  },
  replace: (from, to) => fs.rename(from, to),
  publish: async (from, to) => {
    try {
      // A hard link takes a free name or fails; a rename would take a taken one as well.
      await fs.link(from, to);
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(codeOf(error) ?? '')) throw error;
      if ((await unless(['ENOENT'], fs.lstat(to))) !== undefined) return false;
      await fs.rename(from, to);
      return true;
    }
    await fs.unlink(from);
    return true;
  },
  syncFolder: async (path) => {
    // Windows opens no folders, and some network file systems sync none: there the name is as durable as they make it.
    const folder = await unless(['EPERM', 'EISDIR', 'EACCES'], fs.open(dirname(path), 'r'));
    if (folder === undefined) return;
    try {
      await unless(['EPERM', 'EINVAL', 'ENOTSUP'], folder.sync());
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
};
