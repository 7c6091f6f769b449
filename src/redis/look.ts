import type { StoredPage, StoredState } from '../protocol/streamStore.js';
import type { Commands } from './commands.js';
import type { StreamKeys } from './keys.js';
import { chained, isPosition, pageOf, type RawRow, toRow } from './rows.js';
import { READ } from './scripts.js';

/** A page has at most so many entries, */
const MOST_ENTRIES = 1_000;
/** and stops before it has more bytes of data than this; one entry it has anyway. */
const MOST_BYTES = 256 * 1_024;

/** A stream that nobody writes is looked at so often: its writer may come back without a word, or it may be deleted. */
const ORPHANED_MS = 5_000;

/** What a look at a stream has found. */
export interface Look {
  readonly page: StoredPage;
  readonly state: StoredState;
  /** There are entries behind the page. */
  readonly isMore: boolean;
  /** After how long the stream has to be looked at again if nothing comes: its lease is over then, or it expires. */
  readonly dueMs: number;
  readonly ttlMs: number;
  /** The last of the lane's news. */
  readonly news: string;
  /** The writer wants to know of readers. */
  readonly isWatched: boolean;
}

/** Reads what is there after a position, and how the stream stands then, in one step. */
export async function lookAt(commands: Commands, keys: StreamKeys, news: string, after: string): Promise<Look> {
  const isWanted = after === '' || isPosition(after);
  // The script's reply, as scripts.ts says.
  const [answer, rest, ttl, expires, told, raw, watched] = (await commands.run(
    READ,
    [keys.entries, keys.lease, news],
    [isWanted ? after : '?', String(MOST_ENTRIES), String(MOST_BYTES)],
  )) as readonly [StoredState | 'more', unknown, unknown, unknown, string, readonly RawRow[], unknown];
  const all = raw.map(toRow);
  const rows = chained(all, after);
  // Some entries before a gap are a page of their own; the next look is at the gap.
  const isCut = rows.length < all.length;
  const isGone = isCut && rows.length === 0;
  const isMore = !isGone && (isCut || answer === 'more');
  const state = isGone ? 'trimmed' : isCut || answer === 'more' ? 'open' : answer;
  const expiresMs = Number(expires) < 0 ? Number.POSITIVE_INFINITY : Number(expires);
  return {
    page: pageOf(rows, state),
    state,
    isMore,
    dueMs: Math.min(state === 'open' ? Number(rest) : ORPHANED_MS, expiresMs),
    ttlMs: Number(ttl),
    news: told,
    isWatched: Number(watched) === 1,
  };
}
