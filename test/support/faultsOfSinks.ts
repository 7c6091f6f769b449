import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { vi } from 'vitest';
import type { WritableFile } from '../../src/internal/io.js';
import { nodeFiles } from '../../src/internal/node/files.js';
import { toFile, type ToFileOptions } from '../../src/sinks/toFile.js';
import { toStdout } from '../../src/sinks/toStdout.js';
import {
  type Case,
  chunk,
  contentTypeOf,
  type Expected,
  type FaultRow,
  head,
  LAST_CHUNK,
  layoutOf,
} from './faultPlay.js';
import type { Wire } from './faultServer.js';
import { type Variant, variants } from './variants.js';

/** A row that may change the world while it is played. */
export interface SinkRow extends FaultRow {
  readonly setUp?: (() => void) | undefined;
}

const failed = (of?: string): Expected => ({ end: 'ERR_SINK', of, isRetryable: false });
const whole: Expected = { end: 'complete', connection: 'kept' };

function refusal(code: string): Error {
  return Object.assign(new Error(`${code}: refused by the test`), { code });
}

/** Gives each new file other manners. */
function onFiles(manners: (file: WritableFile) => Partial<WritableFile>): () => void {
  return () => {
    const { create } = nodeFiles;
    vi.spyOn(nodeFiles, 'create').mockImplementation((path) => {
      const file = create(path);
      return file && { ...file, ...manners(file) };
    });
  };
}

/** No file can be made. */
function refusing(code: string): () => void {
  return () => {
    vi.spyOn(nodeFiles, 'create').mockImplementation(() => {
      throw refusal(code);
    });
  };
}

/** A disk with room for so many bytes. */
function full(room: number): () => void {
  return onFiles((file) => {
    let left = room;
    return {
      write: async (bytes) => {
        await file.write(bytes.subarray(0, left));
        if (bytes.length > left) throw refusal('ENOSPC');
        left -= bytes.length;
      },
    };
  });
}

interface FileFault {
  readonly fault: string;
  readonly expected: Expected;
  readonly setUp?: () => void;
  /** Done to the file's own folder before anything is asked for. */
  readonly before?: (folder: string) => void;
  /** Done when half of the text is in the file. */
  readonly midway?: (folder: string) => void;
  /** The name under the folder. @defaultValue `text.md` */
  readonly name?: string;
  readonly options?: ToFileOptions;
  /** What stands in the folder afterwards. */
  readonly leaves: readonly string[] | undefined;
  /** Nothing may be asked for. */
  readonly asks?: false;
}

const FILE = 'text.md';
const PARTIAL = `${FILE}.partial`;

const files: readonly FileFault[] = [
  { fault: 'the disk is full from the start', setUp: full(0), expected: failed('ENOSPC'), leaves: [PARTIAL] },
  { fault: 'the disk is full after 8 bytes', setUp: full(8), expected: failed('ENOSPC'), leaves: [PARTIAL] },
  {
    fault: 'the quota is used up when the file is synced',
    setUp: onFiles(() => ({ sync: () => Promise.reject(refusal('EDQUOT')) })),
    expected: failed('EDQUOT'),
    leaves: [PARTIAL],
  },
  {
    fault: 'the disk breaks when the file is closed',
    setUp: onFiles((file) => ({
      close: async () => {
        await file.close();
        throw refusal('EIO');
      },
    })),
    expected: failed('EIO'),
    leaves: [PARTIAL],
  },
  {
    fault: 'each write takes one byte',
    setUp: onFiles((file) => ({
      write: async (bytes) => {
        for (const byte of bytes) await file.write(Uint8Array.of(byte));
      },
    })),
    expected: whole,
    leaves: [FILE],
  },
  { fault: 'nobody may write here', setUp: refusing('EACCES'), expected: failed('EACCES'), leaves: [], asks: false },
  {
    fault: 'the file system is read-only',
    setUp: refusing('EROFS'),
    expected: failed('EROFS'),
    leaves: [],
    asks: false,
  },
  { fault: 'too many files are open', setUp: refusing('EMFILE'), expected: failed('EMFILE'), leaves: [], asks: false },
  {
    fault: 'the file cannot get its name',
    setUp: () => {
      const { publish } = nodeFiles;
      vi.spyOn(nodeFiles, 'publish').mockImplementation((from, to) => {
        if (to.endsWith(FILE)) throw refusal('EACCES');
        return publish(from, to); // a lock gets its name in the same way
      });
    },
    expected: failed('EACCES'),
    leaves: [PARTIAL],
  },
  {
    fault: 'the path is a folder',
    before: (folder) => {
      mkdirSync(join(folder, FILE));
    },
    expected: failed(),
    leaves: [FILE],
    asks: false,
  },
  { fault: 'the path is a device (`/dev/full`)', name: '/dev/full', expected: failed(), leaves: [], asks: false },
  { fault: 'there is no such folder', name: 'no/such/text.md', expected: failed('ENOENT'), leaves: [], asks: false },
  {
    fault: 'there is no such folder, with `parents`',
    name: 'no/such/text.md',
    options: { parents: true },
    expected: whole,
    leaves: ['no'],
  },
  {
    fault: 'a file stands where a folder should',
    before: (folder) => {
      writeFileSync(join(folder, 'no'), '');
    },
    name: 'no/text.md',
    options: { parents: true },
    expected: failed('EEXIST'),
    leaves: ['no'],
    asks: false,
  },
  { fault: 'the name is too long', name: 'n'.repeat(300), expected: failed('ENAMETOOLONG'), leaves: [], asks: false },
  {
    fault: 'the file is there',
    before: (folder) => {
      writeFileSync(join(folder, FILE), 'theirs');
    },
    expected: failed(),
    leaves: [FILE],
    asks: false,
  },
  {
    fault: 'the file appears meanwhile',
    midway: (folder) => {
      writeFileSync(join(folder, FILE), 'theirs');
    },
    expected: failed(),
    leaves: [FILE, PARTIAL],
  },
  {
    fault: 'a folder appears in its place meanwhile',
    midway: (folder) => {
      mkdirSync(join(folder, FILE));
    },
    expected: failed(),
    leaves: [FILE, PARTIAL],
  },
  {
    fault: 'the partial file vanishes meanwhile',
    midway: (folder) => {
      unlinkSync(join(folder, PARTIAL));
    },
    expected: failed('ENOENT'),
    leaves: [],
  },
  {
    fault: 'the folder vanishes meanwhile',
    midway: (folder) => {
      rmSync(folder, { recursive: true });
    },
    expected: failed('ENOENT'),
    leaves: undefined,
  },
];

/** Sends the whole answer, and stops in its middle until `midway` is done. */
async function sendWhole(wire: Wire, variant: Variant, midway?: () => Promise<void>): Promise<void> {
  const { body, at } = layoutOf(variant);
  const half = at.get('between events') ?? 0;
  await wire.send(head([`content-type: ${contentTypeOf(variant)}`, 'transfer-encoding: chunked']));
  await wire.send(chunk(body.subarray(0, half)));
  await midway?.();
  await wire.send(chunk(body.subarray(half)));
  await wire.send(LAST_CHUNK);
}

/** Resolves when something is in the file. */
async function written(path: string): Promise<void> {
  while ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) await nextTurn();
}

/** Files that cannot be written, each in a folder of its own under `root`. */
export function faultsOfFiles(root: string): readonly SinkRow[] {
  return files.map(({ fault, expected, setUp, before, midway, name = FILE, options, leaves, asks }) => ({
    fault,
    setUp,
    cases: () =>
      variants.map((variant): Case => {
        let isAsked = false;
        const folderOf = (key: string): string => join(root, key);
        return {
          variant,
          expected,
          sink: (events, key) => {
            const folder = folderOf(key);
            mkdirSync(folder);
            before?.(folder);
            return events.pipe(toFile(name.startsWith('/') ? name : join(folder, name), options));
          },
          play: async (wire) => {
            isAsked = true;
            const folder = folderOf(wire.request.headers['x-fault'] ?? '');
            await sendWhole(
              wire,
              variant,
              midway &&
                (async () => {
                  await written(join(folder, PARTIAL));
                  midway(folder);
                }),
            );
          },
          after: (key) => {
            if (asks === false && isAsked) throw new Error('the provider was asked');
            const folder = folderOf(key);
            const found = existsSync(folder) ? readdirSync(folder).sort() : undefined;
            if (String(found) !== String(leaves)) throw new Error(`left are ${String(found)}`);
            if (found?.includes(PARTIAL) === true && !variant.text.startsWith(textOf(join(folder, PARTIAL)))) {
              throw new Error('the partial file holds what nobody sent');
            }
            if (expected.end === 'complete' && name === FILE && textOf(join(folder, FILE)) !== variant.text) {
              throw new Error('the file is not whole');
            }
          },
        };
      }),
  }));
}

/** The text of a file; a character that was cut at its end is left out. */
function textOf(path: string): string {
  return readFileSync(path, 'utf8').replace(/\uFFFD$/, '');
}

type Manner = (variant: Variant) => Writable;

/** A writable that refuses after some writes. */
function refusingAfter(count: number, code: string): Manner {
  return () => {
    let left = count;
    return new Writable({
      write: (_, __, done) => {
        left -= 1;
        done(left < 0 ? refusal(code) : null);
      },
    });
  };
}

const outputs: readonly { readonly fault: string; readonly stream: Manner; readonly expected: Expected }[] = [
  {
    fault: 'the reader of the pipe has gone (EPIPE) before the first text',
    stream: refusingAfter(0, 'EPIPE'),
    expected: { end: 'stopped', has: { by: 'reader' } },
  },
  {
    fault: 'the reader of the pipe has gone (EPIPE) in the middle',
    stream: refusingAfter(1, 'EPIPE'),
    expected: { end: 'stopped', has: { by: 'reader' } },
  },
  {
    fault: 'the output was destroyed by somebody else',
    stream: () => {
      const stream = refusingAfter(9, 'EPIPE')(variants[0]!);
      stream.destroy();
      return stream;
    },
    expected: { end: 'stopped', has: { by: 'reader' } },
  },
  {
    fault: 'the device is full (`/dev/full`)',
    stream: () => createWriteStream('/dev/full'),
    expected: failed('ENOSPC'),
  },
  { fault: 'the device breaks (EIO)', stream: refusingAfter(1, 'EIO'), expected: failed('EIO') },
];

/** Outputs that do not take what they are given. */
export const faultsOfOutputs: readonly SinkRow[] = outputs.map(({ fault, stream, expected }) => ({
  fault,
  cases: () =>
    variants.map((variant): Case => ({
      variant,
      expected,
      sink: (events) => events.pipe(toStdout({ stream: stream(variant) })),
      play: (wire) => sendWhole(wire, variant),
    })),
}));
