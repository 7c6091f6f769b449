import { io } from '#io';
import { requirePath } from '../internal/fileName.js';
import type { JobJournal } from '../protocol/jobJournal.js';

/** How a journal is kept. @public */
export interface FileJournalOptions {
  /**
   * Has the disk confirm what is to be durable, so that a loss of power loses nothing of it. Without, only what a killed process leaves
   * is sure: the system writes it within half a minute or so. @defaultValue true
   */
  readonly fsync?: boolean | undefined;
}

/**
 * Keeps the journal of `runJobs` in a folder: a file to which lines are appended, each with its checksum, and a lock that names the
 * process that has it.
 *
 * A file rather than a database: a run has one writer and asks for nothing but the last record of a key, and so the package needs no
 * binary that must fit a platform; what was cut off by a kill or by the power is known by its checksum and taken away; lines that are
 * written together share one fsync. It grows by about 2 kB for each time a job is run, and is never shortened.
 *
 * `open` rejects with SinkError: where another process that lives has the folder, with its number (one that is dead is recognised, also
 * where another has its number by now); where it is of another machine, since nobody can ask whether that lives; where the
 * file is not such a journal. `read` and `write` reject with SinkError where the disk does. A line that is damaged before the end is left
 * out, and a process warning says so. Holds the place of each record, about 150 bytes for each key, and what waits for the disk.
 *
 * @example
 * ```ts
 * const journal = fileJournal('/var/lib/answers/.millrace');
 * ```
 * @param folder - made when it is opened
 * @param options - see {@link FileJournalOptions}
 * @returns the journal; nothing is opened yet
 * @throws TypeError outside Node, and for a folder that is no path
 * @public
 */
export function fileJournal(folder: string, options: FileJournalOptions = {}): JobJournal {
  const { files, openJournal, warn } = io;
  if (files === undefined || openJournal === undefined) {
    throw new TypeError('fileJournal needs a file system, which only Node has');
  }
  requirePath('folder', folder);
  const { fsync = true } = options;
  return { open: () => openJournal({ folder: files.resolve(folder), fsync, warn }) };
}
