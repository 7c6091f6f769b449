import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { fileJournal, type JobRecord, type OpenJobJournal, SinkError } from 'millrace';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { nodeFiles } from '../../src/internal/node/files.js';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), 'millrace-journal-'));
  path = join(folder, 'journal');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await fs.rm(folder, { recursive: true, force: true });
});

const open = (): Promise<OpenJobJournal> => fileJournal(folder, { fsync: false }).open();
const record = (key: string, state: JobRecord['state'] = 'begun', runs = 1): JobRecord => ({ key, state, runs });

const lineOf = (json: string): string => `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;

/** Opens, runs and closes. */
async function within<T>(use: (journal: OpenJobJournal) => Promise<T>): Promise<T> {
  const journal = await open();
  try {
    return await use(journal);
  } finally {
    await journal.close();
  }
}

const write = (...records: readonly JobRecord[]): Promise<void> =>
  within(async (journal) => {
    for (const each of records) await journal.write(each, { durable: false });
  });
const read = (key: string): Promise<JobRecord | undefined> => within((journal) => journal.read(key));

describe('records', () => {
  it('are those written last, in this process and the next', async () => {
    await within(async (journal) => {
      expect(await journal.read('a')).toBeUndefined();
      await journal.write(record('a'), { durable: false });
      expect(await journal.read('a')).toEqual(record('a'));
      await journal.write(record('a', 'ended', 2), { durable: true });
      expect(await journal.read('a')).toEqual(record('a', 'ended', 2));
    });
    expect(await read('a')).toEqual(record('a', 'ended', 2));
  });

  it('may be written by many jobs at once', async () => {
    const records = Array.from({ length: 1000 }, (_, index) => record(`job ${String(index)} — ü\n`));
    await within(async (journal) => {
      await Promise.all(records.map((each) => journal.write(each, { durable: true })));
    });
    await within(async (journal) => {
      for (const each of records) expect(await journal.read(each.key)).toEqual(each);
    });
  });

  it('outlive a process that is killed right after', async () => {
    const { bundle } = await import('../support/bundle.js');
    const program = join(folder, 'program.mjs');
    await bundle(
      `import { fileJournal } from './src/sources/fileJournal.ts';
      const journal = await fileJournal(${JSON.stringify(folder)}, { fsync: false }).open();
      await journal.write({ key: 'a', state: 'begun', runs: 1 }, { durable: false });
      process.kill(process.pid, 'SIGKILL');`,
      program,
    );
    expect(spawnSync(process.execPath, [program]).signal).toBe('SIGKILL');
    expect(await read('a')).toEqual(record('a')); // its lock is a dead one's
  });
});

describe('a journal that was cut', () => {
  it('at any byte keeps every record before the cut, and can be written on', async () => {
    await write(record('a'), record('b'), record('a', 'ended'), record('c'));
    const whole = await fs.readFile(path);
    const ends = [...whole].flatMap((byte, index) => (byte === 0x0a ? [index + 1] : []));
    const after: readonly (readonly JobRecord[])[] = [
      [],
      [record('a')],
      [record('a'), record('b')],
      [record('a', 'ended'), record('b')],
      [record('a', 'ended'), record('b'), record('c')],
    ];
    for (let cut = 0; cut <= whole.length; cut += 1) {
      await fs.writeFile(path, whole.subarray(0, cut));
      const lines = ends.filter((end) => end <= cut).length;
      await write(record('new'));
      await within(async (journal) => {
        for (const each of after[Math.max(0, lines - 1)] ?? []) expect(await journal.read(each.key)).toEqual(each);
        expect(await journal.read('new')).toEqual(record('new'));
        if (lines < 5) expect(await journal.read('c')).toBeUndefined();
      });
    }
  });

  it('with whatever garbage at its end keeps what is before it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (garbage) => {
        await fs.rm(path, { force: true });
        await write(record('a'));
        await fs.appendFile(path, garbage);
        await write(record('b'));
        expect(await read('a')).toEqual(record('a'));
        expect(await read('b')).toEqual(record('b'));
      }),
      { numRuns: 100 },
    );
  });

  it('says which lines before its end are damaged, and leaves them out', async () => {
    await write(record('a'), record('b'), record('c'));
    const whole = await fs.readFile(path, 'utf8');
    await fs.writeFile(path, whole.replace('"b"', '"B"'));
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    await within(async (journal) => {
      expect(await journal.read('b')).toBeUndefined();
      expect(await journal.read('B')).toBeUndefined();
      expect(await journal.read('c')).toEqual(record('c'));
    });
    expect(warn.mock.calls).toEqual([[expect.stringContaining('1 damaged line was left out'), 'MillraceWarning']]);
  });
});

describe('opening', () => {
  it('is refused while somebody has it, who is named', async () => {
    await within(async () => {
      await expect(open()).rejects.toThrow(`in use by process ${String(process.pid)} `);
    });
    await write(record('a'));
  });

  it('is refused where another machine has it, with what to do', async () => {
    await fs.writeFile(join(folder, 'lock'), '12 0.5 elsewhere');
    await expect(open()).rejects.toThrow(/process 12 \(as .*lock says\) of the machine elsewhere; where that is gone/);
  });

  it('recognises a dead owner', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    await fs.writeFile(join(folder, 'lock'), `${String(pid)} 0.5 ${nodeFiles.hostName}`);
    await write(record('a'));
  });

  it.each([
    ['a text of somebody’s', 'my diary\nday one\n'],
    ['one that begins with an empty line', '\nday one\n'],
    ['a later version', lineOf('{"journal":"millrace","version":2}')],
  ])('refuses %s and leaves it as it is', async (_, content) => {
    await fs.writeFile(path, content);
    await expect(open()).rejects.toThrow(SinkError);
    expect(await fs.readFile(path, 'utf8')).toBe(content);
    expect(await fs.readdir(folder)).toEqual(['journal']); // no lock stays
  });

  it('says what is wrong with a lock that is none', async () => {
    await fs.mkdir(join(folder, 'lock'));
    await expect(open()).rejects.toThrow(SinkError);
  });

  it.each(['', 'garbage', '0 0 x', '-1 0.5 x y'])('takes over a lock that names nobody: %j', async (content) => {
    const text = content.replace('x', nodeFiles.hostName);
    await fs.writeFile(join(folder, 'lock'), text);
    await write(record('a'));
    expect(await fs.readdir(folder)).toEqual(['journal']);
  });

  it('waits for nobody who gives it back at that very moment', async () => {
    const journal = await open();
    const { read: look } = nodeFiles;
    vi.spyOn(nodeFiles, 'read').mockImplementationOnce((at) => {
      nodeFiles.remove(at);
      return look(at);
    });
    const next = await open();
    await journal.close();
    await next.close();
  });

  it(
    'is for one of many processes that ask at the same moment, whoever had it before',
    { timeout: 60_000 },
    async () => {
      const { bundle } = await import('../support/bundle.js');
      const program = join(folder, 'program.mjs');
      await bundle(
        `import { fileJournal } from './src/sources/fileJournal.ts';
      process.stdin.setEncoding('utf8').on('data', async (place) => {
        const told = await fileJournal(place, { fsync: false }).open().then(() => 'has it', ({ message }) => message);
        console.log(told);
      });
      console.log('ready');`,
        program,
      );
      const { pid } = spawnSync(process.execPath, ['-e', '']);
      const processes = Array.from({ length: 4 }, () => {
        const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
        onTestFinished(() => {
          child.kill('SIGKILL');
        });
        const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
        const line = async (): Promise<string> => String((await lines.next()).value);
        return { child, line };
      });
      for (const { line } of processes) expect(await line()).toBe('ready');
      for (let round = 0; round < 40; round += 1) {
        const place = join(folder, String(round));
        await fs.mkdir(place);
        // Free at first, or a dead one's.
        if (round % 2 === 1) await fs.writeFile(join(place, 'lock'), `${String(pid)} 0.5 ${nodeFiles.hostName}`);
        for (const { child } of processes) child.stdin.write(place);
        const told = await Promise.all(processes.map(({ line }) => line()));
        const owner = processes[told.indexOf('has it')]?.child.pid;
        expect(
          told.filter((line) => line === 'has it'),
          told.join('\n'),
        ).toHaveLength(1);
        expect(told.filter((line) => line.includes('is in use by process '))).toHaveLength(3);
        expect(await fs.readFile(join(place, 'lock'), 'utf8')).toMatch(new RegExp(`^${String(owner)} `));
        expect((await fs.readdir(place)).sort()).toEqual(['journal', 'lock']);
      }
    },
  );

  it('follows no link', async () => {
    await fs.writeFile(join(folder, 'precious'), 'mine');
    await fs.symlink(join(folder, 'precious'), path);
    await expect(open()).rejects.toThrow(SinkError);
    expect(await fs.readFile(join(folder, 'precious'), 'utf8')).toBe('mine');
  });

  it('takes away the locks on locks of processes that are gone', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    await fs.writeFile(join(folder, 'lock.123'), `${String(pid)} 0.5 ${nodeFiles.hostName}`);
    await fs.writeFile(join(folder, 'lock.456'), `1 0.5 elsewhere`); // who may live
    await write();
    expect((await fs.readdir(folder)).sort()).toEqual(['journal', 'lock.456']);
  });

  it('takes away the drafts of processes that are gone, and no others', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    const mine = `.millrace-${String(process.pid)}-x`;
    for (const name of [`.millrace-${String(pid)}-x`, mine, 'other']) await fs.writeFile(join(folder, name), '');
    await write();
    expect((await fs.readdir(folder)).sort()).toEqual([mine, 'journal', 'other']);
  });
});

describe('the folder', () => {
  it('must be a path', () => {
    expect(() => fileJournal('')).toThrow(TypeError);
  });

  it('is made, with those above it', async () => {
    folder = join(folder, 'a/b');
    path = join(folder, 'journal');
    await write(record('a'));
    expect(await read('a')).toEqual(record('a'));
  });
});
