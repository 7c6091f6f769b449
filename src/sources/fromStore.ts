import { asyncScheduler, Observable, type SchedulerLike, type Subscriber, type Subscription } from 'rxjs';
import { InterruptedError } from '../errors.js';
import { link } from '../internal/operate.js';
import { isToldId } from '../internal/rejoining.js';
import { requireDelay } from '../internal/require.js';
import { scripted } from '../internal/script.js';
import { linesIn, storedDialect } from '../protocol/storedDialect.js';
import { noteAfter } from '../internal/storedAfter.js';
import { requireStreamId } from '../internal/streamId.js';
import type { StoredPage, StreamStore } from '../protocol/streamStore.js';
import type { NDJSONLine, StreamEvent } from '../types.js';
import { fromAsyncIterable } from './fromAsyncIterable.js';
import { fromCall } from './fromCall.js';

/** How a stored stream is read. @public */
export interface FromStoreOptions {
  /**
   * The position after which to begin, from `onPosition`. It may also be the id of an event that `toNodeResponse` or `responseFrom` has told, such
   * as a request's `Last-Event-ID`: then the stream is read from its beginning, and they leave out what their reader has. `''` is no position.
   * @defaultValue the stream's beginning
   */
  readonly after?: string | undefined;
  /**
   * How long a stream whose writer is gone is waited for, until somebody else has taken it over. @defaultValue 5,000 (chosen: a takeover by the
   * instance that sees it first takes less than a second)
   */
  readonly orphanMs?: number | undefined;
  /**
   * How long a stream that is not there is waited for: its reader may be faster than its writer. @defaultValue 2,000 (chosen: what a page needs to ask
   * for what it has just begun is a few milliseconds)
   */
  readonly missingMs?: number | undefined;
  /** Hears when the writer is gone: the moment to take over, with the line by which the stream was begun. */
  readonly onOrphaned?: (() => void) | undefined;
  /** Hears how far the reader has come, after the events of each entry. */
  readonly onPosition?: ((position: string) => void) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Reads a stream that `toStore` writes, or has written, on whatever machine: what is there already, and then what comes, as it comes.
 *
 * ```text
 * store     a--b--c--|        written by somebody else; | = its end, complete
 * result    -----(ab)c--|     subscribed to in the middle
 *
 * store     a--b              its writer dies, and nobody takes over
 * result    a--b--------#     InterruptedError, `orphanMs` after its lease was over
 * ```
 * Any number of readers may read one stream, from any position. A reader's leaving does not stop the stream: it belongs to who writes it.
 * `toNodeResponse` behind it resumes a browser's `EventSource` on any instance by itself, and a `fetch` that names the last id it had: what the
 * reader has is left out.
 *
 * Emits the events as they were written, each once, in order; a `restart` where the stream was begun anew by another writer. Completes when the
 * stream was complete. Errors as the stream did: with InterruptedError where it was cut, with ProviderError and the code of the failure elsewhere, `stopped`
 * for one that was stopped on purpose. Errors with InterruptedError where there is no such stream (any more) for `missingMs`, where what comes next is gone, and where the writer
 * is gone and nobody has taken over; with StoreError where the store fails. Unsubscribing stops reading. Holds one page of the store;
 * a slow sink below holds up the reading.
 *
 * @example
 * ```ts
 * fromStore(store, 'answer-17').pipe(toNodeResponse(res)).subscribe({ error: report });
 * ```
 * @example A route for `fetch`, which says in its query what it has
 * ```ts
 * const after = new URL(url).searchParams.get('after') ?? undefined;
 * fromStore(store, 'answer-17', { after }).pipe(toNodeResponse(res)).subscribe({ error: report });
 * ```
 * @param store - where the stream is
 * @param id - its name there
 * @param options - see {@link FromStoreOptions}
 * @returns a cold observable
 * @throws TypeError for an id that is none; RangeError for a time out of its range
 * @public
 */
export function fromStore(store: StreamStore, id: string, options: FromStoreOptions = {}): Observable<StreamEvent> {
  requireStreamId(id);
  requireDelay(0, { orphanMs: options.orphanMs ?? 0, missingMs: options.missingMs ?? 0 });
  const lines = new Observable<NDJSONLine>((subscriber) => {
    new Reading(store, id, options, subscriber).start();
  });
  const call = scripted(
    {
      provider: 'store',
      dialect: storedDialect,
      authorize: () => ({}),
      stream: () => ({ method: 'GET', url: 'store:', accept: [] }),
      leaving: { stop: 'continues', disconnect: 'continues' },
      resume: { by: 'ask' },
    },
    lines,
  );
  if (options.after !== undefined && options.after !== '') noteAfter(call, options.after);
  return fromCall(call, { scheduler: options.scheduler });
}

/** How soon a stream that is not there is looked for again. */
const LOOK_AGAIN_MS = 50;

class Reading {
  readonly #store: StreamStore;
  readonly #id: string;
  readonly #options: FromStoreOptions;
  readonly #subscriber: Subscriber<NDJSONLine>;
  /** Empty before the first entry. */
  #position: string;
  #number = 0;
  /** Runs while the writer is gone. */
  #orphaned: Subscription | undefined;

  constructor(store: StreamStore, id: string, options: FromStoreOptions, subscriber: Subscriber<NDJSONLine>) {
    this.#store = store;
    this.#id = id;
    this.#options = options;
    this.#subscriber = subscriber;
    const { after = '' } = options;
    this.#position = isToldId(after) ? '' : after;
  }

  start(): void {
    this.#subscriber.add(() => this.#orphaned?.unsubscribe());
    fromAsyncIterable(() => this.#pages()).subscribe(
      link<StoredPage>(this.#subscriber, {
        next: (page) => {
          this.#take(page);
        },
      }),
    );
  }

  /** Left in the turn in which its reader leaves, also while it waits for a page. */
  #pages(): AsyncIterable<StoredPage> {
    const { missingMs = 2_000, scheduler = asyncScheduler } = this.#options;
    const after = this.#after();
    const leaving = new AbortController();
    const until = scheduler.now() + missingMs;
    const open = (): AsyncIterator<StoredPage> =>
      this.#store.tail(this.#id, after, leaving.signal)[Symbol.asyncIterator]();
    let pages = open();
    const next = async (): Promise<IteratorResult<StoredPage>> => {
      const result = await pages.next();
      const isMissing = result.done !== true && result.value.state === 'missing' && this.#number === 0;
      if (!isMissing || leaving.signal.aborted || scheduler.now() >= until) return result;
      await new Promise<void>((resolve) => {
        this.#subscriber.add(
          scheduler.schedule(() => {
            resolve();
          }, LOOK_AGAIN_MS),
        );
      });
      pages = open();
      return next();
    };
    return {
      [Symbol.asyncIterator]: () => ({
        next,
        return: async () => {
          leaving.abort();
          await pages.return?.();
          return { done: true, value: undefined };
        },
      }),
    };
  }

  #after(): string | undefined {
    return this.#position === '' ? undefined : this.#position;
  }

  #take({ entries, state }: StoredPage): void {
    const { onPosition } = this.#options;
    if (entries.length > 0 || state !== 'orphaned') {
      this.#orphaned?.unsubscribe();
      this.#orphaned = undefined;
    }
    for (const { position, previous, data } of entries) {
      if (previous !== this.#position) {
        this.#end(`A part of the stored stream ${JSON.stringify(this.#id)} is gone; read it from its beginning`);
        return;
      }
      this.#position = position;
      for (const line of linesIn(data)) {
        this.#number += 1;
        this.#subscriber.next({ type: 'line', data: line, number: this.#number });
        if (this.#subscriber.closed) return;
      }
      onPosition?.(position);
    }
    const name = JSON.stringify(this.#id);
    if (state === 'missing') this.#end(`There is no stored stream ${name}, or it has expired`);
    else if (state === 'trimmed')
      this.#end(`What comes next of the stored stream ${name} is gone; read it from its beginning`);
    else if (state === 'orphaned') this.#waitForAnother();
  }

  #waitForAnother(): void {
    const { orphanMs = 5_000, onOrphaned, scheduler = asyncScheduler } = this.#options;
    this.#orphaned?.unsubscribe();
    this.#orphaned = scheduler.schedule(() => {
      void this.#giveUpUnlessTaken(false);
    }, orphanMs);
    onOrphaned?.();
  }

  /**
   * Somebody may have taken over, and a slow reader below has kept this one from hearing of it.
   * @param isTaken - somebody had, when it was looked at before
   */
  async #giveUpUnlessTaken(isTaken: boolean): Promise<void> {
    const { orphanMs = 5_000, scheduler = asyncScheduler } = this.#options;
    const waited = this.#orphaned;
    try {
      const { entries, state } = await this.#store.read(this.#id, this.#after());
      if (this.#orphaned !== waited || this.#subscriber.closed || entries.length > 0) return;
      if (state === 'open') {
        // Whoever writes it may be gone before the first word; not every store tells that again.
        this.#orphaned = scheduler.schedule(
          () => {
            void this.#giveUpUnlessTaken(true);
          },
          Math.max(orphanMs, LOOK_AGAIN_MS),
        );
        return;
      }
      if (state !== 'orphaned') return;
      if (isTaken) {
        this.#waitForAnother();
        return;
      }
      this.#end(`The writer of the stored stream ${JSON.stringify(this.#id)} is gone, and nobody has taken it over`);
    } catch (error) {
      this.#subscriber.error(error);
    }
  }

  #end(message: string): void {
    this.#subscriber.error(new InterruptedError(message, { context: { stream: this.#id } }));
  }
}
