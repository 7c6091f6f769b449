import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as callbacks from 'node:fs';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { WritableFile } from '../../../src/internal/io.js';
import { nodeFiles } from '../../../src/internal/node/files.js';

vi.mock('node:fs/promises', async (original) => ({ ...(await original<typeof fs>()) }));
vi.mock('node:fs', async (original) => ({ ...(await original<typeof callbacks>()) }));

let folder: string;
beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), 'millrace-files-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await fs.rm(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const contents = (name: string): Promise<string> => fs.readFile(at(name), 'utf8');

function create(name: string): WritableFile {
  const file = nodeFiles.create(at(name));
  if (file === undefined) throw new Error(`${name} exists`);
  return file;
}

function refusal(code: string): Error {
  return Object.assign(new Error(`${code}: refused by the test`), { code });
}

describe('a file being written', () => {
  it('takes one piece after the other, and leaves no descriptor open', async () => {
    const file = create('a');
    await file.write(bytes('one '));
    await file.write(bytes('two'));
    await file.sync();
    await file.close();
    expect(await contents('a')).toBe('one two');
    await expect(file.write(bytes('x'))).rejects.toThrow();
  });

  it('goes on where it was cut', async () => {
    const file = create('a');
    await file.write(bytes('one two'));
    await file.truncate(4);
    await file.write(bytes('three'));
    await file.truncate(9);
    await file.close();
    expect(await contents('a')).toBe('one three');
  });

  it('writes all of a piece when the system takes one byte at a time', async () => {
    const write = callbacks.write as (...of: unknown[]) => void;
    const short = (file: number, buffer: Uint8Array, offset: number, length: number, ...rest: unknown[]): void => {
      write(file, buffer, offset, Math.min(1, length), ...rest);
    };
    vi.spyOn(callbacks, 'write').mockImplementation(short as typeof callbacks.write);
    const file = create('a');
    await file.write(bytes('žluťoučký kůň'));
    await file.write(bytes(' 🐎'));
    await file.close();
    expect(await contents('a')).toBe('žluťoučký kůň 🐎');
  });
});

describe('create', () => {
  it('gives nothing where the name is taken, by a dangling link too', async () => {
    await fs.writeFile(at('a'), 'mine');
    await fs.symlink(at('nowhere'), at('link'));
    expect(nodeFiles.create(at('a'))).toBeUndefined();
    expect(nodeFiles.create(at('link'))).toBeUndefined();
    expect(await contents('a')).toBe('mine');
    expect(await fs.readdir(folder)).toEqual(['a', 'link']);
  });

  it('rejects where there is no folder', async () => {
    expect(() => nodeFiles.create(at('no/a'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    nodeFiles.makeParents(at('yes/deep/a'));
    expect(await fs.readdir(at('yes'))).toEqual(['deep']);
  });
});

describe('createWith', () => {
  it('makes a file once', async () => {
    expect(nodeFiles.createWith(at('a'), 'first')).toBe(true);
    expect(nodeFiles.createWith(at('a'), 'second')).toBe(false);
    expect(await contents('a')).toBe('first');
    expect(await fs.readdir(folder)).toEqual(['a']);
  });

  it('makes a file whose name is as long as a name may be', () => {
    expect(nodeFiles.createWith(at('n'.repeat(255)), 'text')).toBe(true);
  });

  it('leaves nothing behind when the disk is full', async () => {
    vi.spyOn(callbacks, 'linkSync').mockImplementation(() => {
      throw refusal('ENOSPC');
    });
    expect(() => nodeFiles.createWith(at('a'), 'text')).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    expect(await fs.readdir(folder)).toEqual([]);
  });
});

describe('exists', () => {
  it('is true for a file and for a link, dangling or not', async () => {
    await fs.writeFile(at('a'), '');
    await fs.symlink(at('a'), at('link'));
    await fs.symlink(at('nowhere'), at('dangling'));
    expect(nodeFiles.exists(at('a'))).toBe(true);
    expect(nodeFiles.exists(at('link'))).toBe(true);
    expect(nodeFiles.exists(at('dangling'))).toBe(true);
    expect(nodeFiles.exists(at('none'))).toBe(false);
  });

  it.each(['folder', 'pipe'])('rejects for a %s, which a text must not replace', async (kind) => {
    if (kind === 'folder') await fs.mkdir(at('a'));
    else spawnSync('mkfifo', [at('a')]);
    expect(() => nodeFiles.exists(at('a'))).toThrow('no ordinary file');
  });

  it('rejects where a file stands in place of a folder', async () => {
    await fs.writeFile(at('a'), '');
    expect(() => nodeFiles.exists(at('a/b'))).toThrow(expect.objectContaining({ code: 'ENOTDIR' }));
  });
});

describe('read and remove', () => {
  it('find nothing wrong with a file that is not there', () => {
    expect(nodeFiles.read(at('a'))).toBeUndefined();
    nodeFiles.remove(at('a'));
  });

  it('reject what they cannot do', () => {
    expect(() => nodeFiles.read(folder)).toThrow(expect.objectContaining({ code: 'EISDIR' }));
    expect(() => {
      nodeFiles.remove(folder);
    }).toThrow();
  });
});

describe('publish', () => {
  it('moves to a free name', async () => {
    await fs.writeFile(at('from'), 'text');
    expect(nodeFiles.publish(at('from'), at('to'))).toBe(true);
    expect(await fs.readdir(folder)).toEqual(['to']);
    expect(await contents('to')).toBe('text');
  });

  it('touches nothing where the name is taken', async () => {
    await fs.writeFile(at('from'), 'text');
    await fs.writeFile(at('to'), 'theirs');
    expect(nodeFiles.publish(at('from'), at('to'))).toBe(false);
    expect(await contents('from')).toBe('text');
    expect(await contents('to')).toBe('theirs');
  });

  it.each(['EPERM', 'ENOTSUP', 'ENOSYS'])('renames on a file system that says %s to hard links', async (code) => {
    vi.spyOn(callbacks, 'linkSync').mockImplementation(() => {
      throw refusal(code);
    });
    await fs.writeFile(at('from'), 'text');
    await fs.writeFile(at('taken'), 'theirs');
    expect(nodeFiles.publish(at('from'), at('taken'))).toBe(false);
    expect(nodeFiles.publish(at('from'), at('to'))).toBe(true);
    expect(await fs.readdir(folder)).toEqual(['taken', 'to']);
    expect(await contents('taken')).toBe('theirs');
  });

  it('rejects for every other reason', () => {
    expect(() => nodeFiles.publish(at('none'), at('to'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});

it('replaces what is there', async () => {
  await fs.writeFile(at('from'), 'new');
  await fs.writeFile(at('to'), 'old');
  nodeFiles.replace(at('from'), at('to'));
  expect(await contents('to')).toBe('new');
});

describe('syncFolder', () => {
  it('makes the names in a folder durable, and closes it', async () => {
    await nodeFiles.syncFolder(at('a'));
  });

  it('does without where folders cannot be opened or synced', async () => {
    const open = fs.open;
    vi.spyOn(fs, 'open').mockRejectedValueOnce(refusal('EPERM'));
    await nodeFiles.syncFolder(at('a'));
    let wasClosed = false;
    vi.spyOn(fs, 'open').mockImplementationOnce(async (...args: Parameters<typeof open>) => {
      const handle = await open(...args);
      const close = handle.close.bind(handle);
      handle.sync = () => Promise.reject(refusal('EINVAL'));
      handle.close = () => {
        wasClosed = true;
        return close();
      };
      return handle;
    });
    await nodeFiles.syncFolder(at('a'));
    expect(wasClosed).toBe(true);
  });

  it('rejects when the disk fails', async () => {
    const open = fs.open;
    vi.spyOn(fs, 'open').mockImplementationOnce(async (...args: Parameters<typeof open>) => {
      const handle = await open(...args);
      handle.sync = () => Promise.reject(refusal('EIO'));
      return handle;
    });
    await expect(nodeFiles.syncFolder(at('a'))).rejects.toMatchObject({ code: 'EIO' });
  });
});

describe('isRunning', () => {
  it('tells the living from the dead', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
    const { pid = 0 } = child;
    expect(nodeFiles.isRunning(pid)).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(nodeFiles.isRunning(pid)).toBe(false);
    expect(nodeFiles.isRunning(nodeFiles.processId)).toBe(true);
  });

  it('counts a process that belongs to somebody else', () => {
    vi.spyOn(process, 'kill').mockImplementation(() => {
      throw refusal('EPERM');
    });
    expect(nodeFiles.isRunning(1)).toBe(true);
  });
});
