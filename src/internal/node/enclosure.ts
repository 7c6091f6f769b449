import * as fs from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { Enclosure } from '../io.js';

/** Whether a path is below a folder, by its text alone. */
export function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/**
 * Finds the real place of a file that must not leave a folder: every folder on the way is looked at, and made where it is missing,
 * one after the other, so that no link leads out.
 *
 * Node has no `openat`, so what was looked at may be exchanged before it is used, by somebody who may rename folders inside the
 * folder. `isInside` looks once more; what is left is the moment between that look and the next call of the system.
 */
export function enclose(folder: string, path: string, makesParents: boolean): Enclosure {
  if (makesParents) fs.mkdirSync(folder, { recursive: true });
  const root = fs.realpathSync(folder);
  const parts = relative(resolve(folder), path).split(sep);
  const name = parts.pop() ?? '';
  let parent = root;
  for (const part of parts) {
    const next = join(parent, part);
    if (makesParents) makeFolder(next);
    parent = fs.realpathSync(next);
    if (parent !== root && !isBelow(root, parent)) throw new Error(`the link ${next} leads out of ${root}`);
  }
  const place = join(parent, name);
  return {
    path: place,
    isInside: () => {
      try {
        return fs.realpathSync(parent) === parent;
      } catch {
        return false; // it is gone, or cannot be looked at: nothing is known to be inside
      }
    },
  };
}

function makeFolder(path: string): void {
  try {
    fs.mkdirSync(path);
  } catch (error) {
    // There it is, or something else of its name, which the next look tells.
    if ((error as { code?: string }).code !== 'EEXIST') throw error;
  }
}
