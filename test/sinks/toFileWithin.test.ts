import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { lastValueFrom, type Observable, of, Subject } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SinkError } from '../../src/errors.js';
import { nodeFiles } from '../../src/internal/node/files.js';
import { toFile, type ToFileOptions } from '../../src/sinks/toFile.js';
import type { Receipt } from '../../src/types.js';
import { expectWarning } from '../support/warnings.js';

/** The folder that nothing leaves, and one beside it that must stay as it is. */
let within: string;
let outside: string;
let base: string;

beforeEach(() => {
  base = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'millrace-within-')));
  within = join(base, 'jobs');
  outside = join(base, 'outside');
  fs.mkdirSync(within);
  fs.mkdirSync(outside);
  fs.writeFileSync(join(outside, 'precious.md'), 'precious');
});
afterEach(() => {
  vi.restoreAllMocks();
  // Before it is removed: whatever a test did, nothing out there has changed.
  const found = fs.readdirSync(outside);
  const precious = fs.readFileSync(join(outside, 'precious.md'), 'utf8');
  fs.rmSync(base, { recursive: true, force: true });
  expect(found).toStrictEqual(['precious.md']);
  expect(precious).toBe('precious');
});

const write = (name: string, options: ToFileOptions = {}, source: Observable<string> = of('text')): Promise<Receipt> =>
  lastValueFrom(source.pipe(toFile(name, { within, ...options })));

/** The error of a write that must be refused, before anything is asked for unless told otherwise. */
async function refused(name: string, options: ToFileOptions = {}): Promise<Error & { receipt: Receipt }> {
  let asked = 0;
  const source: Observable<string> = new Subject<string>();
  const watched = new Proxy(source, {
    get: (target, key) => {
      if (key === 'subscribe') asked += 1;
      return Reflect.get(target, key) as unknown;
    },
  });
  const error: unknown = await write(name, options, watched).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SinkError);
  expect(asked).toBe(0);
  return error as Error & { receipt: Receipt };
}

describe('a file in the folder', () => {
  it.each(['a.md', './a.md', 'deep/../a.md'])('%j is written there', async (name) => {
    const receipt = await write(name);
    expect(receipt).toMatchObject({ outcome: 'complete', where: join(within, 'a.md') });
    expect(fs.readdirSync(within)).toStrictEqual(['a.md']);
    expect(fs.readFileSync(join(within, 'a.md'), 'utf8')).toBe('text');
  });

  it('may be named from the root', async () => {
    expect(await write(join(within, 'a.md'))).toMatchObject({ where: join(within, 'a.md') });
  });

  it('gets its folders, the first one too, when they are to be made', async () => {
    fs.rmdirSync(within);
    expect(await write('b/c/a.md', { parents: true })).toMatchObject({ where: join(within, 'b/c/a.md') });
    expect(fs.readFileSync(join(within, 'b/c/a.md'), 'utf8')).toBe('text');
  });

  it('may be reached by links that stay inside', async () => {
    fs.mkdirSync(join(within, 'real'));
    fs.symlinkSync('real', join(within, 'relative'));
    fs.symlinkSync(join(within, 'real'), join(within, 'absolute'));
    fs.symlinkSync('../jobs/real/../real', join(within, 'winding'));
    for (const link of ['relative', 'absolute', 'winding']) {
      expect(await write(`${link}/${link}.md`)).toMatchObject({ where: join(within, 'real', `${link}.md`) });
    }
    expect(fs.readdirSync(join(within, 'real')).sort()).toStrictEqual(['absolute.md', 'relative.md', 'winding.md']);
  });

  it('may be in a folder that is a link itself: the caller named it', async () => {
    fs.symlinkSync(within, join(base, 'link'));
    expect(await write('a.md', { within: join(base, 'link') })).toMatchObject({ where: join(within, 'a.md') });
  });

  it('is found by ifExists where it really is', async () => {
    await write('a.md');
    expect(await write('a.md', { ifExists: 'skip' })).toMatchObject({ skipped: true });
    expect((await refused('a.md')).message).toContain('exists already');
    expect(await write('a.md', { ifExists: 'overwrite' }, of('new'))).toMatchObject({ chars: 3 });
    expect(fs.readFileSync(join(within, 'a.md'), 'utf8')).toBe('new');
  });
});

describe('a path that leads out', () => {
  it.each(['../a.md', '..', '.', '', 'deep/../../a.md', '/a.md', '../jobs2/a.md', 'a\0.md', '../../etc/passwd'])(
    '%j is a TypeError when it is given',
    (name) => {
      expect(() => toFile(name, { within })).toThrow(TypeError);
    },
  );

  it('by its beginning alone is one too', () => {
    expect(() => toFile(`${within}2${sep}a.md`, { within })).toThrow(TypeError);
  });

  it.each(['', 'a\0', 5])('of a folder %j, which is none', (folder) => {
    expect(() => toFile('a.md', { within: folder as string })).toThrow(TypeError);
  });

  it('is free where no folder is given, but for a NUL', () => {
    expect(() => toFile('../a.md')).not.toThrow();
    expect(() => toFile('a\0.md')).toThrow(TypeError);
  });
});

describe('a link that leads out', () => {
  it.each([
    ['absolute', (): string => outside],
    ['relative', (): string => '../outside'],
    ['to a folder of a similar name', (): string => `${within}2`],
    ['to the folder above', (): string => '..'],
    ['of a link', (): string => 'second'],
  ])('in place of a folder, %s, is refused', async (_, target) => {
    fs.mkdirSync(`${within}2`);
    fs.symlinkSync(outside, join(within, 'second'));
    fs.symlinkSync(target(), join(within, 'link'));
    for (const parents of [false, true]) {
      const error = await refused('link/a.md', { parents });
      expect(error.message).toContain('leads out of');
      expect(error.receipt).toMatchObject({ outcome: 'failed', where: 'none' });
    }
    await refused('link/made/here/a.md', { parents: true });
    expect(fs.readdirSync(`${within}2`)).toStrictEqual([]);
    expect(fs.readdirSync(base).sort()).toStrictEqual(['jobs', 'jobs2', 'outside']);
  });

  it('and to nowhere makes no folder out there', async () => {
    fs.symlinkSync(join(outside, 'new'), join(within, 'link'));
    await refused('link/a.md', { parents: true });
  });

  it('in place of the file is not followed', async () => {
    const link = join(within, 'a.md');
    fs.symlinkSync(join(outside, 'precious.md'), link);
    expect((await refused('a.md')).message).toContain('exists already');
    expect(await write('a.md', { ifExists: 'skip' })).toMatchObject({ skipped: true });
    expect(fs.lstatSync(link).isSymbolicLink()).toBe(true);
    await write('a.md', { ifExists: 'overwrite' });
    expect(fs.lstatSync(link).isFile()).toBe(true); // the link was replaced, and not what it led to
    expect(fs.readFileSync(link, 'utf8')).toBe('text');
  });

  it('in place of the file, to nowhere, makes none out there', async () => {
    fs.symlinkSync(join(outside, 'new.md'), join(within, 'a.md'));
    await refused('a.md');
    await write('a.md', { ifExists: 'overwrite' });
    expect(fs.readFileSync(join(within, 'a.md'), 'utf8')).toBe('text');
  });

  it.each(['replace', 'keep'] as const)(
    'in place of the partial file is not written through: %s',
    async (onPartial) => {
      for (const target of ['precious.md', 'new.md']) {
        fs.symlinkSync(join(outside, target), join(within, `${target}.partial`));
        await write(target, { onPartial });
        expect(fs.readFileSync(join(within, target), 'utf8')).toBe('text');
        expect(fs.lstatSync(join(within, target)).isFile()).toBe(true);
      }
    },
  );

  it('in place of the lock is neither read nor removed', async () => {
    for (const target of ['precious.md', 'new.md']) {
      fs.symlinkSync(join(outside, target), join(within, 'a.md.partial.owner'));
      await refused('a.md');
      fs.unlinkSync(join(within, 'a.md.partial.owner'));
    }
    await write('a.md');
  });
});

describe('a folder that is exchanged for a link', () => {
  const exchange = (): void => {
    fs.renameSync(join(within, 'deep'), join(within, 'moved'));
    fs.symlinkSync(outside, join(within, 'deep'));
  };

  it('while the stream runs lets nothing be published, and nothing out there be touched', async () => {
    fs.mkdirSync(join(within, 'deep'));
    const source = new Subject<string>();
    const writing = write('deep/precious.md', { ifExists: 'overwrite' }, source).catch((error: unknown) => error);
    source.next('text');
    exchange();
    source.complete();
    const error = await writing;
    expect(error).toBeInstanceOf(SinkError);
    expect((error as Error).message).toContain('exchanged');
    // The text is where its folder went.
    expect(fs.readFileSync(join(within, 'moved/precious.md.partial'), 'utf8')).toBe('text');
  });

  it('between the look and the opening is seen before anything is written', async () => {
    fs.mkdirSync(join(within, 'deep'));
    const { create } = nodeFiles;
    vi.spyOn(nodeFiles, 'create').mockImplementation((path) => {
      const file = create(path);
      exchange();
      return file;
    });
    expect((await refused('deep/a.md')).message).toContain('exchanged');
  });

  it('is seen when the reader leaves, too', async () => {
    expectWarning(/could not be written: a folder on its way was exchanged/);
    fs.mkdirSync(join(within, 'deep'));
    const source = new Subject<string>();
    const warned = new Promise((resolve) => {
      process.once('warning', resolve);
    });
    const subscription = source.pipe(toFile('deep/precious.md', { within })).subscribe();
    source.next('text');
    exchange();
    subscription.unsubscribe();
    expect(String(await warned)).toContain('exchanged');
  });
});

it('a partial file that is exchanged for a link is not published', async () => {
  const source = new Subject<string>();
  const writing = write('a.md', {}, source).catch((error: unknown) => error);
  source.next('text');
  fs.unlinkSync(join(within, 'a.md.partial'));
  fs.symlinkSync(join(outside, 'precious.md'), join(within, 'a.md.partial'));
  source.complete();
  expect(await writing).toBeInstanceOf(SinkError);
  expect(fs.existsSync(join(within, 'a.md'))).toBe(false);
  expect(fs.existsSync(join(within, 'a.md.partial.owner'))).toBe(false); // another may try
});
