import { onAbort } from '../internal/onAbort.js';
import type { Presence } from '../internal/presence.js';
import type { StoredPage } from '../protocol/streamStore.js';
import { closedError, type Commands } from './commands.js';
import { asError } from './failure.js';
import type { StreamKeys } from './keys.js';
import type { Lane, Reader } from './lane.js';
import type { Look } from './look.js';
import { pageOf } from './rows.js';

/** What a tail works with. */
export interface TailParts {
  readonly commands: Commands;
  readonly lane: Lane;
  readonly presence: Presence;
  readonly keys: StreamKeys;
  readonly look: (after: string) => Promise<Look>;
}

/** Follows a stream for one reader, from a position to its end. */
export function follow(
  open: () => TailParts,
  after: string | undefined,
  signal: AbortSignal,
): AsyncIterableIterator<StoredPage> {
  const leaving = new Leaving();
  const pages = pagesOf(open, after ?? '', signal, leaving);
  return {
    next: () => pages.next(),
    // A generator would hear of it only when what it waits for has come.
    return: async () => {
      leaving.leave();
      return pages.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function* pagesOf(
  open: () => TailParts,
  after: string,
  signal: AbortSignal,
  leaving: Leaving,
): AsyncGenerator<StoredPage, undefined> {
  const { commands, lane, presence, keys, look } = open();
  if (signal.aborted) return;
  const attendee = presence.enter(keys.name);
  let reader: Reader | undefined;
  const forget = onAbort(signal, () => {
    leaving.leave();
    // At once: who has aborted may never ask for the end.
    reader?.leave();
    attendee.leave();
  });
  try {
    await leaving.or(lane.open());
    const entered = lane.enter(keys);
    const { watch } = entered;
    reader = entered.reader;
    let position = after;
    let isOrphanTold = false;
    while (!leaving.isLeft) {
      if (commands.isClosed) throw closedError();
      reader.looks();
      const found = await leaving.or(look(position));
      if (found === undefined) return;
      const { page, state, isMore, dueMs, ttlMs, news, isWatched } = found;
      attendee.hears(isWatched);
      const last = page.entries.at(-1);
      if (last !== undefined) {
        position = last.position;
        isOrphanTold = false;
      }
      lane.noteNews(news);
      watch.expect(dueMs, ttlMs);
      const isTakenAgain = state === 'open' && isOrphanTold;
      if (state === 'open') isOrphanTold = false;
      const isOver = state !== 'open' && state !== 'orphaned';
      if (last !== undefined || isOver) yield state === 'orphaned' ? { ...page, state: 'open' } : page;
      else if (isTakenAgain) yield { entries: [], state: 'open' };
      if (isOver) return;
      if (isMore) continue;
      if (state === 'orphaned' && !isOrphanTold) {
        isOrphanTold = true;
        yield { entries: [], state: 'orphaned' };
      }
      while (!leaving.isLeft) {
        if (commands.isClosed) throw closedError();
        const news = await leaving.or(reader.wait(position));
        if (news === undefined) return;
        if (news === 'look') break;
        const end = news.at(-1);
        if (end === undefined) break;
        position = end.entry.position;
        isOrphanTold = false;
        // Nobody watches the readers of what is over.
        if (end.isLast) attendee.hears(false);
        yield pageOf(news, end.isLast ? 'closed' : 'open');
        if (end.isLast) return;
      }
    }
  } finally {
    forget();
    reader?.leave();
    attendee.leave();
    leaving.leave();
  }
}

/** That a reader leaves, told to what it waits for. */
class Leaving {
  #isLeft = false;
  #tell: (() => void) | undefined;

  get isLeft(): boolean {
    return this.#isLeft;
  }

  leave(): void {
    this.#isLeft = true;
    this.#tell?.();
  }

  /** What comes of some work; undefined where the reader left before. One at a time. */
  async or<T>(work: Promise<T>): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      this.#tell = () => {
        resolve(undefined);
      };
      work.then(resolve, (error: unknown) => {
        // A reader that left hears nothing.
        if (this.#isLeft) resolve(undefined);
        else reject(asError(error));
      });
      if (this.#isLeft) resolve(undefined);
    });
  }
}
