import type { Attendee } from '../internal/presence.js';
import type { StoredPage } from '../protocol/streamStore.js';
import type { StoreFile } from './storeFile.js';
import { turnOfOthers } from './waiting.js';
import type { Ear } from './wakes.js';

/**
 * What is there after a position, and then what comes.
 * @param ear - of that stream; it is there before the first look, so that nothing comes between looking and listening
 * @returns why it ended
 */
export async function* tailStream(
  file: StoreFile,
  id: string,
  after: string,
  ear: Ear,
  attendee: Attendee,
): AsyncGenerator<StoredPage, 'over' | 'left'> {
  let position = after;
  let isToldOrphaned = false;
  for (;;) {
    ear.listen();
    const view = await file.run(
      'read',
      (tables) => tables.read(id, position),
      () => !ear.hasLeft,
    );
    if (view === undefined) return 'left';
    const { entries, state, hasMore, untilMs, isWatched } = view;
    attendee.hears(isWatched);
    if (state === 'closed' || state === 'missing' || state === 'trimmed') {
      yield { entries, state };
      return 'over';
    }
    if (entries.length > 0) {
      position = entries.at(-1)?.position ?? position;
      isToldOrphaned = false;
      yield { entries, state: 'open' };
      // Others have a turn between the pages of a long stream.
      if (hasMore) await turnOfOthers();
      // Time went by at the reader's.
      if (hasMore || ear.isAwake) continue;
    }
    if (isToldOrphaned !== (state === 'orphaned')) {
      isToldOrphaned = state === 'orphaned';
      yield { entries: [], state };
    }
    await ear.wait(untilMs);
  }
}
