import { io } from '#io';
import type { Observable, Subscriber } from 'rxjs';
import { SinkError } from '../errors.js';
import type { FinishReason, Receipt, StreamEvent } from '../types.js';
import { type Ending, Evidence, type Verdict } from './evidence.js';
import { fileReason } from './fileReason.js';
import type { Flow } from './flow.js';
import type { Enclosure, Files } from './io.js';
import { draw } from './operate.js';
import { type OnPartial, openOwnPartial, openPartial, type PartialFile } from './partialFile.js';
import { type OutputSelection, selectOutput } from './selectOutput.js';
import { addFailure, tellEnding } from './tellEnding.js';
import { type Extent, TextFileWriter } from './textFileWriter.js';

/** Where and how `toFile` writes. @public */
export interface ToFileOptions extends OutputSelection {
  /**
   * What to do when the file is there already, checked before anything is asked for. `'skip'` emits a receipt that says so and
   * asks nothing. A folder, a device or a pipe is refused in any case.
   * @defaultValue `'error'`
   */
  readonly ifExists?: 'error' | 'skip' | 'overwrite' | undefined;
  /** What to do with a `.partial` file that nobody is writing any more. `'keep'` numbers it. @defaultValue `'replace'` */
  readonly onPartial?: OnPartial | undefined;
  /**
   * Finish reasons that make the file final; with any other, or none, a complete answer stays `.partial`.
   * @defaultValue every one
   */
  readonly publishOn?: readonly FinishReason[] | undefined;
  /**
   * Text after an answer that is published: `true` for a line on what it is, or a function of the receipt, in which `bytes` are
   * those before the footer. One that throws leaves the text in `.partial`.
   * @defaultValue none
   */
  readonly footer?: boolean | ((receipt: Receipt) => string) | undefined;
  /** Makes text and name durable before the receipt: fsync, rename, fsync of the folder. @defaultValue true */
  readonly fsync?: boolean | undefined;
  /**
   * A folder that nothing written leaves: not the file, its `.partial`, nor its lock. A relative `path` is then taken from it, and one
   * that leads out of it, by `..` or from a root, is a TypeError at once; a link on the way that leads out is a SinkError, before
   * anything is asked for, and once more before the file gets its name. Links that stay inside are followed. For names that come
   * from somewhere else. Against somebody who exchanges folders in there at that very moment only the system's permissions help:
   * Node has no `openat`.
   * @defaultValue none: the path is taken as it is
   */
  readonly within?: string | undefined;
  /** Makes missing folders. @defaultValue false */
  readonly parents?: boolean | undefined;
  /**
   * Characters that may be on their way to the disk, those being written included, before the stream is paused.
   * @defaultValue 65,536 (chosen: a write of the kernel's usual size)
   */
  readonly maxWaitingChars?: number | undefined;
}

/** What a run of jobs wants besides. */
export interface FileSinkOptions extends ToFileOptions {
  /** Runs when the text is out and before the file gets its name, with the receipt as it will be. Where it fails the file has none. */
  readonly beforePublish?: ((receipt: Receipt) => Promise<void>) | undefined;
  /** Leaves no `.partial` behind in which there is nothing, unless that is a whole answer. @defaultValue only where it was left before anything came */
  readonly removesEmpty?: boolean | undefined;
  /** Whose unfinished file it is, among those that nobody's lock tells apart, and whose was there before. @defaultValue a lock tells */
  readonly owner?: { readonly token: string; readonly earlier: string | undefined } | undefined;
}

/** One stream on its way into a file; see `toFile`. */
export class FileSink {
  readonly #files: Files;
  /** Once it is open: where it really is, when it is to stay in a folder. */
  #path: string;
  #enclosure: Enclosure | undefined;
  readonly #options: FileSinkOptions;
  readonly #subscriber: Subscriber<Receipt>;
  readonly #evidence = new Evidence('sink');

  #isSelected: ReturnType<typeof selectOutput>;
  #filledBy: Flow | undefined;
  #key: string | undefined;

  constructor(files: Files, path: string, options: FileSinkOptions, subscriber: Subscriber<Receipt>) {
    this.#files = files;
    this.#path = path;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#isSelected = selectOutput(options);
  }

  /** In one turn, since a source that is shared may be running when the next begins. */
  start(source: Observable<StreamEvent | string>): void {
    if (this.#subscriber.closed) return;
    let partial: PartialFile | undefined;
    try {
      partial = this.#open();
    } catch (error) {
      this.#tell(this.#failure(error), { where: 'none' });
      return;
    }
    if (partial === undefined) this.#tell({ outcome: 'complete' }, { where: this.#path, skipped: true });
    else this.#connect(source, partial);
  }

  /** Everything that can be known before the paid request is checked here. Without a file there is nothing to do. */
  #open(): PartialFile | undefined {
    const { ifExists = 'error', onPartial = 'replace', parents = false, within, owner } = this.#options;
    if (within !== undefined) {
      this.#enclosure = this.#files.enclose(within, this.#path, parents);
      this.#path = this.#enclosure.path;
    } else if (parents) this.#files.makeParents(this.#path);
    const exists = this.#files.exists(this.#path);
    if (!exists || ifExists === 'overwrite') {
      const partial =
        owner === undefined
          ? openPartial(this.#files, this.#path, onPartial)
          : openOwnPartial(this.#files, this.#path, owner.token, owner.earlier);
      const place = this.#placeOf(partial); // again, since a folder may have been exchanged meanwhile
      if (place === 'right') return partial;
      void partial.file.close().catch(() => undefined); // nothing was written: the place is what is wrong
      if (place === 'exchanged') partial.release();
      throw misplaced(partial, place);
    }
    if (ifExists === 'skip') return undefined;
    throw new SinkError(`${this.#path} exists already; ifExists: 'skip' or 'overwrite' says what to do`, {
      context: { path: this.#path },
    });
  }

  /** Whether what is written is still where it should be; asked where it must not leave its folder. */
  #placeOf({ file, path }: PartialFile): Place {
    if (this.#enclosure === undefined) return 'right';
    if (!this.#enclosure.isInside()) return 'outside';
    return file.isAt(path) ? 'right' : 'exchanged';
  }

  #connect(source: Observable<StreamEvent | string>, partial: PartialFile): void {
    const { maxWaitingChars = 65_536 } = this.#options;
    const { scope } = this.#evidence;
    let ending: Ending = { kind: 'left' };
    draw<StreamEvent | string>(source, this.#subscriber, scope, (upstream) => {
      const writer = new TextFileWriter(partial.file, maxWaitingChars, {
        onRoom: () => {
          scope.release();
        },
        onFailure: () => {
          upstream.unsubscribe();
        },
      });
      return {
        next: (item) => {
          try {
            this.#take(item, writer);
            if (writer.isFull) scope.pause();
          } catch (error) {
            // Not the subscriber's yet: it hears of it when the file is closed.
            ending = { kind: 'error', error };
            upstream.unsubscribe();
          }
        },
        error: (error) => {
          this.#evidence.currentFlow();
          ending = { kind: 'error', error };
        },
        complete: () => {
          this.#evidence.currentFlow();
          ending = { kind: 'complete' };
        },
        left: () => {
          scope.release();
          void this.#finish(partial, writer, this.#evidence.judge(ending));
        },
      };
    });
  }

  #take(item: StreamEvent | string, writer: TextFileWriter): void {
    this.#evidence.note(item);
    this.#requireOneStream(item, writer);
    if (typeof item === 'string') writer.add(item);
    else if (item.type === 'text') {
      if (this.#isSelected(item)) writer.add(item.text);
    } else if (item.type === 'restart') {
      writer.restart();
      this.#isSelected = selectOutput(this.#options);
    } else if (item.type === 'finish') this.#awaitAnother(writer);
  }

  /** One file takes one stream, or several one after the other: two that write at once would mix their text. */
  #requireOneStream(item: StreamEvent | string, writer: TextFileWriter): void {
    const flow = this.#evidence.currentFlow();
    if (flow !== undefined && flow !== this.#filledBy) {
      if (this.#filledBy?.state === 'open') throw this.#mixed('two streams at once');
      if (this.#filledBy?.proven === true) this.#awaitAnother(writer);
      this.#filledBy = flow;
    }
    const key = typeof item === 'string' ? undefined : (item as { key?: string }).key;
    if (key === undefined) return;
    this.#key ??= key;
    if (key !== this.#key) throw this.#mixed(`the streams ${JSON.stringify(this.#key)} and ${JSON.stringify(key)}`);
  }

  /** A whole answer is in: what comes after it is another, with outputs of its own. */
  #awaitAnother(writer: TextFileWriter): void {
    writer.keep();
    this.#isSelected = selectOutput(this.#options);
  }

  #mixed(what: string): TypeError {
    return new TypeError(`toFile(${JSON.stringify(this.#path)}) got ${what}; give each stream a file of its own`);
  }

  /** Writes what is left, closes, publishes what is complete, and tells. */
  async #finish(partial: PartialFile, writer: TextFileWriter, judged: Verdict): Promise<void> {
    const { ifExists = 'error', fsync = true, removesEmpty = false, beforePublish } = this.#options;
    const isPublic = this.#mayPublish(judged);
    let verdict = judged;
    let where = partial.path;
    let footerBytes = 0;
    let place: Place = 'right';
    try {
      try {
        await writer.end();
        if (isPublic) {
          const footer = this.#footer({ ...writer.written, where: this.#path });
          await partial.file.write(footer);
          footerBytes = footer.length;
          if (fsync) await partial.file.sync();
        }
      } finally {
        place = this.#placeOf(partial);
        await partial.file.close();
      }
      if (place !== 'right') throw misplaced(partial, place);
      const isLeft = judged.by === 'unsubscribe' || judged.by === 'shutdown';
      if (judged.outcome !== 'complete' && writer.written.bytes === 0 && (isLeft || removesEmpty)) {
        // Nothing came, and nobody will look for it.
        partial.remove();
        where = 'none';
      }
      if (isPublic) {
        const { chars, bytes } = writer.written;
        await beforePublish?.(this.#receipt(verdict, { where: this.#path, chars, bytes: bytes + footerBytes }));
        partial.publish(ifExists === 'overwrite');
        where = this.#path;
        if (fsync) await this.#files.syncFolder(where);
      }
    } catch (error) {
      verdict = addFailure(verdict, this.#failure(error));
    }
    try {
      // Outside there is nothing of ours to remove.
      if (place !== 'outside') partial.release();
    } catch (error) {
      // The file is as it should be; only the next writer will ask whose it is.
      io.warn(this.#failure(error).error.message);
    }
    const { chars, bytes } = writer.written;
    this.#tell(verdict, { where, chars, bytes: bytes + footerBytes });
  }

  #mayPublish(verdict: Verdict): boolean {
    if (verdict.outcome !== 'complete') return false;
    const { publishOn } = this.#options;
    if (publishOn === undefined) return true;
    const { finish } = this.#receipt(verdict, { where: this.#path });
    return finish !== undefined && publishOn.includes(finish.reason);
  }

  #footer(written: Written): Uint8Array {
    const { footer = false } = this.#options;
    if (footer === false) return new Uint8Array();
    const receipt = this.#receipt({ outcome: 'complete' }, written);
    return new TextEncoder().encode(footer === true ? describe(receipt) : footer(receipt));
  }

  #receipt(verdict: Verdict, { where, chars = 0, bytes = 0, skipped }: Written): Receipt {
    const receipt = this.#evidence.receipt(verdict, { where, chars, bytes, key: this.#key });
    return skipped === undefined ? receipt : { ...receipt, skipped };
  }

  #tell(verdict: Verdict, written: Written): void {
    tellEnding(this.#evidence, this.#subscriber, verdict, this.#receipt(verdict, written));
  }

  #failure(cause: unknown): Verdict & { readonly error: SinkError } {
    if (cause instanceof SinkError) return { outcome: 'failed', error: cause };
    const { message, code } =
      cause instanceof Error ? (cause as Error & { code?: string }) : { message: String(cause) };
    const context = { path: this.#path, code };
    return {
      outcome: 'failed',
      error: new SinkError(`${this.#path} could not be written: ${fileReason(code) ?? message}`, { context, cause }),
    };
  }
}

/** `exchanged`: another file has its name. `outside`: its folder is not the one that it was, and may be anywhere. */
type Place = 'right' | 'exchanged' | 'outside';

function misplaced({ path }: PartialFile, place: Place): Error {
  return new Error(
    place === 'outside'
      ? 'a folder on its way was exchanged, and it would leave the folder that it must stay in'
      : `${path} was exchanged for another file`,
  );
}

interface Written extends Partial<Extent> {
  readonly where: string;
  readonly skipped?: true;
}

function describe({ provider, model, finish, usage, timings }: Receipt): string {
  const facts = [
    [provider, model].filter((name) => name !== undefined).join(' '),
    finish?.reason,
    usage.outputTokens === undefined ? undefined : `${String(usage.outputTokens)} tokens`,
    usage.cost?.total === undefined ? undefined : `${String(usage.cost.total)} ${usage.cost.currency ?? ''}`.trim(),
    `${(timings.totalMs / 1000).toFixed(1)} s`,
  ];
  return `\n\n---\n${facts.filter((fact) => fact !== undefined && fact !== '').join(' · ')}\n`;
}
