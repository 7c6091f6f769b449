import type { OperatorFunction } from 'rxjs';
import { SinkError } from '../errors.js';
import type { JobRecord } from '../protocol/jobJournal.js';
import type { Receipt, StreamEvent } from '../types.js';
import { requirePath } from './fileName.js';
import { fileReason } from './fileReason.js';
import { FileSink, type ToFileOptions } from './fileSink.js';
import type { Files } from './io.js';
import type { Finished, JobOutlet, JobPlace, PlaceHooks } from './jobOutlet.js';
import { operate } from './operate.js';
import { finishPublishing, partialOf } from './partialFile.js';

/** How a run's files are written. */
export interface JobFileOptions<Job> extends Pick<ToFileOptions, 'footer' | 'fsync' | 'ifExists' | 'publishOn'> {
  readonly dir: string;
  readonly file: (job: Job) => string;
}

/** The files of a run's answers: one for each job, below a folder. */
export class JobFiles<Job> implements JobOutlet<Job> {
  readonly where: string;
  readonly #files: Files;
  readonly #options: JobFileOptions<Job>;
  readonly #tidied: Set<string> = new Set();
  readonly #durable: Set<string> = new Set();

  constructor(files: Files, options: JobFileOptions<Job>) {
    this.where = files.resolve(options.dir);
    this.#files = files;
    this.#options = options;
  }

  placeOf(job: Job, token: string | undefined): JobPlace {
    const path = this.#pathOf(job);
    // Of a folder that is shared nobody knows what is left over; whoever has a job next removes what there is of it.
    if (token === undefined) {
      this.#tidy(this.where);
      this.#tidy(this.#files.resolve('..', path));
    }
    return {
      finished: (known, receipt) => this.#finished(path, known, receipt),
      clear: (known) => {
        if (token !== undefined) this.#clear(path, known);
      },
      sink: (hooks) => this.#sink(path, token, hooks),
      isTaken: () => false,
    };
  }

  #pathOf(job: Job): string {
    const file = this.#options.file(job);
    requirePath('file', file);
    const path = this.#files.resolve(file, this.where);
    if (!this.#files.isBelow(this.where, path)) {
      throw new TypeError(`file must give a path inside ${this.where}, got ${JSON.stringify(file)}`);
    }
    return path;
  }

  #tidy(folder: string): void {
    if (this.#tidied.has(folder)) return;
    this.#tidied.add(folder);
    try {
      this.#files.removeDrafts(folder);
    } catch {
      // What is wrong with the folder is told by whoever writes into it.
    }
  }

  /** One that lacks but its file's name, since its run was killed at that moment, is given it. */
  async #finished(path: string, known: JobRecord, receipt: Receipt): Promise<Finished | undefined> {
    const { ifExists, fsync = true } = this.#options;
    const { state, token } = known;
    const finished: Finished = { receipt: { ...receipt, where: path, skipped: true }, isNew: state === 'written' };
    if (state === 'published') return this.#isThere(path) ? finished : undefined;
    if (state !== 'written') return undefined;
    try {
      const written = { bytes: receipt.bytes, mayReplace: ifExists === 'overwrite', token };
      if (!finishPublishing(this.#files, path, written)) return undefined;
      if (fsync) await this.#files.syncFolder(path);
    } catch (cause) {
      if (ifExists === 'skip' && this.#isThere(path)) return undefined; // somebody else's will do
      const partial = partialOf(path, token);
      const error = unnamed(path, partial, cause);
      const { name, code, message } = error;
      const failed = { outcome: 'failed', error: { name, code, message }, where: partial } as const;
      return { receipt: { ...unasked(receipt), ...failed }, isNew: false, error };
    }
    return finished;
  }

  #clear(path: string, { state, token }: JobRecord): void {
    if (token === undefined || state === 'written') return;
    try {
      this.#files.remove(partialOf(this.#files.enclose(this.where, path, false).path, token));
    } catch {
      // A path that leads out, or is not there yet, is told by whoever writes.
    }
  }

  #isThere(path: string): boolean {
    try {
      return this.#files.exists(path);
    } catch {
      return false; // something else has the name, or it cannot be looked at: whoever writes tells
    }
  }

  #sink(
    path: string,
    token: string | undefined,
    { earlier, beforePublish }: PlaceHooks,
  ): OperatorFunction<StreamEvent | string, Receipt> {
    const { publishOn, ifExists, footer, fsync } = this.#options;
    const options = {
      ...{ publishOn, ifExists, footer, fsync, within: this.where, parents: true, removesEmpty: true },
      owner: token === undefined ? undefined : { token, earlier },
      beforePublish: async (receipt: Receipt): Promise<void> => {
        await this.#makeDurable(path);
        await beforePublish(receipt);
      },
    };
    return operate((source, subscriber) => {
      new FileSink(this.#files, path, options, subscriber).start(source);
    });
  }

  /** The folders on the way to a file are made durable once: one that was made may be lost with the power, and all that is in it. */
  async #makeDurable(path: string): Promise<void> {
    const { fsync = true } = this.#options;
    const folder = this.#files.resolve('..', path);
    if (!fsync || this.#durable.has(folder)) return;
    await this.#files.syncFolder(folder); // the one that it is in
    if (folder !== this.where) await this.#makeDurable(folder);
    this.#durable.add(folder);
  }
}

/** A receipt of which nothing was in this run. */
function unasked({ timings: { startedAt }, ...receipt }: Receipt): Receipt {
  const none = { attempts: 0, restarts: 0, warnings: [], requestIds: [] } as const;
  return { ...receipt, ...none, usage: { provenance: 'unknown' }, timings: { startedAt, totalMs: 0 } };
}

function unnamed(path: string, partial: string, cause: unknown): SinkError {
  if (cause instanceof SinkError) return cause;
  const { code, message } = cause as Error & { code?: string }; // the file system's own
  const why = fileReason(code) ?? message;
  return new SinkError(`${path} could not be given its name: ${why}; the text is in ${partial}`, {
    context: { path, code },
    cause,
  });
}
