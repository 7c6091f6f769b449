import { Buffer } from 'node:buffer';
import { constants, type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { SinkError } from '../../errors.js';
import type { JobRecord, OpenJobJournal } from '../../protocol/jobJournal.js';
import { type LockOwner, takeLock } from '../fileLock.js';
import { fileReason } from '../fileReason.js';
import type { JournalSettings } from '../io.js';
import { nodeFiles } from './files.js';

/** The journal's first line: what it is, for people and for later versions. */
const HEADER = { journal: 'millrace', version: 1 };
/** Of a checksum, in hexadecimal digits. */
const SUM_CHARS = 8;
const LF = 0x0a;
const READ_BYTES = 1_048_576;

const { O_CREAT, O_RDWR } = constants;
/** Windows has no such flag. */
const { O_NOFOLLOW: NO_FOLLOW = 0 } = constants as { O_NOFOLLOW?: number };
/** Read and written at places of our own choosing, and made where it is not there. */
const READ_WRITE = O_RDWR | O_CREAT | NO_FOLLOW;

/** Where a record stands in the file. */
interface Place {
  readonly at: number;
  readonly bytes: number;
}

interface Waiting {
  readonly key: string | undefined;
  readonly line: Buffer;
  readonly durable: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Opens `<folder>/journal`, and keeps others out by `<folder>/lock`. */
export async function openJournalFile({ folder, fsync, warn }: JournalSettings): Promise<OpenJobJournal> {
  const lock = join(folder, 'lock');
  const made = await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw cannot(folder, 'made', error);
  });
  try {
    nodeFiles.removeDrafts(folder);
    takeLock(nodeFiles, lock, (owner) => isInUse(folder, lock, owner));
  } catch (error) {
    throw error instanceof SinkError ? error : cannot(lock, 'made', error);
  }
  const path = join(folder, 'journal');
  let file: FileHandle | undefined;
  try {
    // The names of what is new must not be lost with the power either.
    if (fsync && made !== undefined) await syncFolders(folder, made);
    file = await open(path, READ_WRITE);
    const journal = new JournalFile(path, lock, file, fsync);
    const damaged = await journal.load();
    if (damaged > 0) {
      const lines = damaged === 1 ? 'line was' : 'lines were';
      warn(`${path}: ${String(damaged)} damaged ${lines} left out; what they said of a job is taken as not said`);
    }
    return journal;
  } catch (error) {
    await file?.close();
    nodeFiles.remove(lock);
    throw error instanceof SinkError ? error : cannot(path, 'read', error);
  }
}

function isInUse(folder: string, lock: string, { processId, hostName }: LockOwner): SinkError {
  const who = processId === undefined ? 'another run' : `process ${String(processId)}`;
  const where = hostName === undefined ? '' : ` of the machine ${hostName}; where that is gone, remove the file`;
  const message = `${folder} is in use by ${who} (as ${lock} says)${where}; one folder takes one run at a time`;
  return new SinkError(message, { context: { path: folder, owner: processId } });
}

/** @param first - the uppermost of the folders that were made */
async function syncFolders(folder: string, first: string): Promise<void> {
  await nodeFiles.syncFolder(folder);
  if (folder !== first && dirname(folder) !== folder) await syncFolders(dirname(folder), first);
}

/**
 * Lines of a checksum (CRC-32) and a record as JSON, appended one after the other. The last line of a job is what counts. A line that was
 * cut, by a kill or by the power, is known by its checksum; at the end of the file it is taken away.
 */
class JournalFile implements OpenJobJournal {
  readonly #path: string;
  readonly #lock: string;
  readonly #file: FileHandle;
  readonly #fsync: boolean;
  /** The records stay on the disk: an endless run has many. */
  readonly #places: Map<string, Place> = new Map();
  #end = 0;
  #waiting: Waiting[] = [];
  #work: Promise<void> | undefined;

  constructor(path: string, lock: string, file: FileHandle, fsync: boolean) {
    this.#path = path;
    this.#lock = lock;
    this.#file = file;
    this.#fsync = fsync;
  }

  /** Learns what the file holds, and mends its end. @returns how many lines before that are damaged */
  async load(): Promise<number> {
    let damaged = 0;
    let damagedSince = 0;
    let hasBegun = false;
    for await (const { line, at, isWhole } of linesOf(this.#file)) {
      const value = isWhole ? verified(line) : undefined;
      if (value === undefined) {
        if (at === 0) hasBegun = !isWhole && isTornHeader(line);
        damagedSince += 1;
        continue;
      }
      if (at === 0) hasBegun = isHeader(value);
      else this.#places.set((value as JobRecord).key, { at, bytes: line.length }); // the checksum says that we wrote it
      // What is damaged and is followed by something good is not the end.
      this.#end = at + line.length + 1;
      damaged += damagedSince;
      damagedSince = 0;
    }
    const { size } = await this.#file.stat();
    if (size > 0 && !hasBegun) {
      const message = `${this.#path} is no journal that this version of millrace can read; give the run another folder`;
      throw new SinkError(message, { context: { path: this.#path } });
    }
    if (size > this.#end) await this.#file.truncate(this.#end);
    if (this.#end === 0) await this.#append(undefined, HEADER, true);
    if (size === 0 && this.#fsync) await nodeFiles.syncFolder(this.#path);
    return damaged;
  }

  async read(key: string): Promise<JobRecord | undefined> {
    const place = this.#places.get(key);
    if (place === undefined) return undefined;
    const line = Buffer.alloc(place.bytes);
    let count = 0;
    while (count < line.length) {
      const { bytesRead } = await this.#file.read(line, count, line.length - count, place.at + count);
      if (bytesRead === 0) break;
      count += bytesRead;
    }
    const value = verified(line);
    if (value === undefined) throw new SinkError(`${this.#path} was changed by somebody else while a run had it`);
    return value as JobRecord; // as above
  }

  write(record: JobRecord, { durable }: { readonly durable: boolean }): Promise<void> {
    return this.#append(record.key, record, durable);
  }

  async close(): Promise<void> {
    await this.#work;
    await this.#file.close();
    nodeFiles.remove(this.#lock);
  }

  #append(key: string | undefined, value: unknown, durable: boolean): Promise<void> {
    const line = lineOf(value);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, line, durable, resolve, reject });
      this.#work ??= this.#writeAll();
    });
  }

  /** Writes what waits, all of it in one go, and syncs once for all: many jobs that end together cost one fsync. */
  async #writeAll(): Promise<void> {
    await Promise.resolve(); // what is written in this turn goes together
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#writeBatch(batch);
        if (this.#fsync && batch.some(({ durable }) => durable)) await this.#file.datasync();
        for (const { resolve } of batch) resolve();
      } catch (cause) {
        const error = cannot(this.#path, 'written', cause);
        for (const { reject } of batch) reject(error);
      }
    }
    this.#work = undefined;
  }

  async #writeBatch(batch: readonly Waiting[]): Promise<void> {
    const bytes = Buffer.concat(batch.map(({ line }) => line));
    const { nlink } = await this.#file.stat();
    if (nlink === 0) throw new Error('it was removed while a run had it');
    try {
      for (let written = 0; written < bytes.length;) {
        const { bytesWritten } = await this.#file.write(bytes, written, bytes.length - written, this.#end + written);
        written += bytesWritten;
      }
    } catch (error) {
      // Half of a line must not stand before the next one.
      await this.#file.truncate(this.#end).catch(() => undefined); // the error to tell is the first one; a next run mends the end
      throw error;
    }
    for (const { key, line } of batch) {
      if (key !== undefined) this.#places.set(key, { at: this.#end, bytes: line.length - 1 });
      this.#end += line.length;
    }
  }
}

interface Line {
  readonly line: Buffer;
  readonly at: number;
  /** Ends with LF. */
  readonly isWhole: boolean;
}

async function* linesOf(file: FileHandle): AsyncGenerator<Line> {
  let at = 0;
  let rest: Buffer[] = [];
  const chunk = Buffer.alloc(READ_BYTES);
  for (let position = 0; ;) {
    const { bytesRead } = await file.read(chunk, 0, READ_BYTES, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    let from = 0;
    for (let lf = chunk.indexOf(LF); lf >= 0 && lf < bytesRead; lf = chunk.indexOf(LF, from)) {
      const line = Buffer.concat([...rest, chunk.subarray(from, lf)]);
      rest = [];
      yield { line, at, isWhole: true };
      at += line.length + 1;
      from = lf + 1;
    }
    if (from < bytesRead) rest.push(Buffer.from(chunk.subarray(from, bytesRead)));
  }
  if (rest.length > 0) yield { line: Buffer.concat(rest), at, isWhole: false };
}

function lineOf(value: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(value));
  return Buffer.concat([Buffer.from(`${sumOf(json)} `), json, Buffer.of(LF)]);
}

function sumOf(json: Uint8Array): string {
  return crc32(json).toString(16).padStart(SUM_CHARS, '0');
}

/** What a line says, where its checksum is right. */
function verified(line: Buffer): unknown {
  const json = line.subarray(SUM_CHARS + 1);
  if (json.length === 0 || line.toString('latin1', 0, SUM_CHARS + 1) !== `${sumOf(json)} `) return undefined;
  return JSON.parse(json.toString());
}

function isHeader(value: unknown): boolean {
  const { journal, version } = value as Partial<typeof HEADER>; // the checksum says that it is JSON of ours
  return journal === HEADER.journal && version === HEADER.version;
}

/** The power went, or the process, while the first line of all was written. */
function isTornHeader(line: Buffer): boolean {
  return lineOf(HEADER).subarray(0, line.length).equals(line) || line.every((byte) => byte === 0);
}

function cannot(path: string, what: 'made' | 'read' | 'written', cause: unknown): SinkError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new SinkError(`${path} could not be ${what}: ${fileReason(code) ?? message}`, {
    context: { path, code },
    cause,
  });
}
