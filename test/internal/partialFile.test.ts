import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SinkError } from '../../src/errors.js';
import { nodeFiles } from '../../src/internal/node/files.js';
import { type OnPartial, openPartial, type PartialFile } from '../../src/internal/partialFile.js';
import { bundle } from '../support/bundle.js';

let folder: string;
let target: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), 'millrace-partial-'));
  target = join(folder, 'a');
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await fs.rm(folder, { recursive: true, force: true });
});

// eslint-disable-next-line @typescript-eslint/require-await -- so that what it throws is a rejection
const open = async (onPartial: OnPartial = 'replace'): Promise<PartialFile> =>
  openPartial(nodeFiles, target, onPartial);
const names = async (): Promise<string[]> => (await fs.readdir(folder)).sort();
const contents = (name: string): Promise<string> => fs.readFile(join(folder, name), 'utf8');
const write = (name: string, text: string): Promise<void> => fs.writeFile(join(folder, name), text);

async function close(partial: PartialFile): Promise<void> {
  await partial.file.close();
  partial.release();
}

function alive(): ChildProcess {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
  children.push(child);
  return child;
}

async function deadProcessId(): Promise<number> {
  const child = alive();
  child.kill('SIGKILL');
  await once(child, 'exit');
  return child.pid ?? 0;
}

describe('opening', () => {
  it('makes the file and names its owner until it is released', async () => {
    const partial = await open();
    expect(partial.path).toBe(`${target}.partial`);
    expect(await names()).toEqual(['a.partial', 'a.partial.owner']);
    expect(await contents('a.partial.owner')).toMatch(
      new RegExp(`^${String(process.pid)} ${String(performance.timeOrigin)} ${hostname()}( \\S+)?$`),
    );
    await close(partial);
    expect(await names()).toEqual(['a.partial']);
  });

  it('may be done again after a release', async () => {
    await close(await open());
    await close(await open());
    expect(await names()).toEqual(['a.partial']);
  });

  it('leaves no lock where the file cannot be made', async () => {
    vi.spyOn(nodeFiles, 'create').mockImplementation(() => {
      throw new Error('no space');
    });
    await expect(open()).rejects.toThrow('no space');
    expect(await names()).toEqual([]);
  });

  it('refuses a folder of that name', async () => {
    await fs.mkdir(`${target}.partial`);
    await expect(open()).rejects.toThrow('no ordinary file');
    expect(await names()).toEqual(['a.partial']);
  });

  it('does not follow a link', async () => {
    await write('victim', 'precious');
    await fs.symlink(join(folder, 'victim'), `${target}.partial`);
    const partial = await open();
    await partial.file.write(new TextEncoder().encode('text'));
    await close(partial);
    expect(await contents('victim')).toBe('precious');
    expect(await contents('a.partial')).toBe('text');
  });

  it('refuses a file that appears between the look and the opening', async () => {
    vi.spyOn(nodeFiles, 'exists').mockReturnValue(false);
    await write('a.partial', 'theirs');
    await expect(open()).rejects.toThrow(SinkError);
    expect(await contents('a.partial')).toBe('theirs');
    expect(await names()).toEqual(['a.partial']);
  });
});

describe('an unfinished file that is left', () => {
  it('is replaced', async () => {
    await write('a.partial', 'old');
    await close(await open('replace'));
    expect(await contents('a.partial')).toBe('');
  });

  it('is an error that names the option', async () => {
    await write('a.partial', 'old');
    await expect(open('error')).rejects.toThrow(SinkError);
    await expect(open('error')).rejects.toThrow('onPartial');
    expect(await names()).toEqual(['a.partial']);
    expect(await contents('a.partial')).toBe('old');
  });

  it('is kept under the first number that is free', async () => {
    await write('a.partial', 'one');
    await close(await open('keep'));
    await write('a.partial', 'two');
    await close(await open('keep'));
    await fs.rm(`${target}.partial.1`);
    await write('a.partial', 'three');
    await close(await open('keep'));
    expect(await names()).toEqual(['a.partial', 'a.partial.1', 'a.partial.2']);
    expect(await contents('a.partial.1')).toBe('three');
    expect(await contents('a.partial.2')).toBe('two');
  });
});

describe('a live owner', () => {
  it('in this process is left alone', async () => {
    const first = await open();
    const error = await open().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SinkError);
    expect(error).toMatchObject({ context: { path: `${target}.partial`, owner: process.pid } });
    expect((error as Error).message).toContain('a.partial.owner');
    expect(await names()).toEqual(['a.partial', 'a.partial.owner']);
    await close(first);
  });

  it('in another copy of this module is left alone', async () => {
    vi.resetModules();
    const other = await import('../../src/internal/partialFile.js');
    expect(other.openPartial).not.toBe(openPartial);
    const first = await open();
    expect(() => other.openPartial(nodeFiles, target, 'replace')).toThrow('is being written by');
    await close(first);
  });

  it('in another process is left alone', async () => {
    const child = alive();
    await write('a.partial', 'theirs');
    await write('a.partial.owner', String(child.pid));
    await expect(open()).rejects.toThrow(`process ${String(child.pid)}`);
    expect(await contents('a.partial')).toBe('theirs');
    expect(await contents('a.partial.owner')).toBe(String(child.pid));
  });

  it('who goes between two looks is not waited for', async () => {
    await write('a.partial.owner', '1');
    vi.spyOn(nodeFiles, 'read').mockReturnValue(undefined);
    await expect(open()).rejects.toThrow('another writer');
  });
});

describe('a dead owner', () => {
  it('is buried', async () => {
    await write('a.partial.owner', String(await deadProcessId()));
    const partial = await open();
    expect(await names()).toEqual(['a.partial', 'a.partial.owner']);
    await close(partial);
    expect(await names()).toEqual(['a.partial']);
  });

  it.each([
    ['of the same number in an earlier life', `${String(process.pid)} 1700000000000.5`],
    ['whose name was lost with the power', ''],
    ['that is nonsense', 'hello / ../.. \n world'],
    ['that is no process', '-1'],
    ['that is more than a name', '9'.repeat(5000)],
  ])('%s is buried', async (_, owner) => {
    await write('a.partial.owner', owner);
    await close(await open());
    expect(await names()).toEqual(['a.partial']);
  });

  it('keeps its file where that is asked for', async () => {
    await write('a.partial', 'paid for');
    await write('a.partial.owner', String(await deadProcessId()));
    await close(await open('keep'));
    expect(await contents('a.partial.1')).toBe('paid for');
    expect(await names()).toEqual(['a.partial', 'a.partial.1']);
  });

  it('is inherited by one of many', async () => {
    await write('a.partial.owner', String(await deadProcessId()));
    const all = await Promise.allSettled(Array.from({ length: 10 }, () => open()));
    const won = all.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const lost = all.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
    expect(won).toHaveLength(1);
    expect(lost.every((reason) => reason instanceof SinkError)).toBe(true);
    for (const partial of won) await close(partial);
    expect(await names()).toEqual(['a.partial']);
  });

  it('whose lock a faster one has taken already leaves that one its lock', async () => {
    const dead = String(await deadProcessId());
    await write('a.partial.owner', dead);
    const isRunning = nodeFiles.isRunning.bind(nodeFiles);
    const other = alive();
    let looks = 0;
    vi.spyOn(nodeFiles, 'isRunning').mockImplementation(isRunning);
    const read = nodeFiles.read.bind(nodeFiles);
    vi.spyOn(nodeFiles, 'read').mockImplementation((path) => {
      looks += 1;
      const text = read(path);
      if (looks === 1) writeFileSync(join(folder, 'a.partial.owner'), String(other.pid));
      return text;
    });
    await expect(open()).rejects.toThrow(SinkError);
    expect(await names()).toEqual(['a.partial.owner']);
    expect(await contents('a.partial.owner')).toBe(String(other.pid));
  });

  it('is inherited by one of several processes', async () => {
    const files = 20;
    const dead = await deadProcessId();
    for (let n = 0; n < files; n += 1) await write(`${String(n)}.partial.owner`, String(dead));
    const program = join(folder, 'heir.mjs');
    await bundle(
      `
      import { nodeFiles } from './src/internal/node/files.ts';
      import { openPartial } from './src/internal/partialFile.ts';
      process.stdin.once('data', async () => {
        const won: number[] = [];
        for (let n = 0; n < ${String(files)}; n += 1) {
          try {
            openPartial(nodeFiles, process.argv[2] + '/' + n, 'error');
            won.push(n);
          } catch (error) {
            if (error.name !== 'SinkError') throw error;
          }
        }
        console.log(JSON.stringify(won));
      });
      console.log('ready');
      `,
      program,
    );
    const heirs = Array.from({ length: 3 }, () => spawn(process.execPath, [program, folder]));
    children.push(...heirs);
    await Promise.all(heirs.map(({ stdout }) => once(stdout, 'data')));
    const said = heirs.map(async ({ stdin, stdout }) => {
      stdin.write('go\n');
      const [line] = (await once(stdout, 'data')) as [Buffer];
      return JSON.parse(line.toString()) as number[];
    });
    const won = (await Promise.all(said)).flat();
    expect(won.sort((a, b) => a - b)).toEqual(Array.from({ length: files }, (_, n) => n));
  });
});

describe('publishing', () => {
  it('takes a free name', async () => {
    const partial = await open();
    await partial.file.close();
    partial.publish(false);
    partial.release();
    expect(await names()).toEqual(['a']);
  });

  it('leaves a taken name alone, or replaces it', async () => {
    const partial = await open();
    await partial.file.write(new TextEncoder().encode('new'));
    await partial.file.close();
    await write('a', 'theirs');
    expect(() => {
      partial.publish(false);
    }).toThrow(SinkError);
    expect(await contents('a')).toBe('theirs');
    partial.publish(true);
    expect(await contents('a')).toBe('new');
    partial.release();
    expect(await names()).toEqual(['a']);
  });
});
