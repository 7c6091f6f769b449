import { asyncScheduler } from 'rxjs';
import { Presence, PRESENCE_LEASES, PRESENCE_MS, type ReaderMark } from '../internal/presence.js';
import { requireDelay, requireInteger } from '../internal/require.js';
import type { LeaseOptions, StoredPage, StreamLease, StreamStore } from '../protocol/streamStore.js';
import { closeClient, isCluster } from './client.js';
import { Commands } from './commands.js';
import { type KeyNames, keyNames, type StreamKeys } from './keys.js';
import { Lane } from './lane.js';
import { lookAt } from './look.js';
import { type RedisConnection, requireConnection } from './redisConnection.js';
import { RedisLease } from './redisLease.js';
import { requireId } from './requireText.js';
import { type RawRow, toRow } from './rows.js';
import { ATTEND, LEASE, STOP } from './scripts.js';
import { follow } from './tail.js';

/** What {@link redisStore} may be told. All stores of the same streams need the same `prefix` and `lanes`. @public */
export interface RedisStoreOptions {
  /** What all keys begin with, inside of their hash tag. @defaultValue `'millrace'` */
  readonly prefix?: string | undefined;
  /**
   * How many hash tags streams are spread over, 1 to 1,024. One blocking connection serves one of them, since an XREAD in a cluster reads keys
   * of one slot. More than one does something only in a cluster.
   * @defaultValue 16 for a cluster, else 1
   */
  readonly lanes?: number | undefined;
  /** How many of a stream's last entries are kept, at least 1; `Infinity` for all. @defaultValue 1,000,000 (chosen) */
  readonly maxEntries?: number | undefined;
  /**
   * Milliseconds after which a stream is gone that is closed, or that nobody writes, at least 1; `Infinity` for never. One that is written
   * is kept.
   * @defaultValue 86,400,000: a day (chosen)
   */
  readonly expireMs?: number | undefined;
  /**
   * Milliseconds for which a method waits for a Redis that cannot be reached, before it rejects with StoreError `unavailable`. A writer waits
   * until its lease is over, however long that is.
   * @defaultValue 30,000: longer than most failovers take (chosen)
   */
  readonly maxWaitMs?: number | undefined;
  /**
   * Milliseconds for which this process counts as a reader of streams whose writers want to know, after it has last said so; at least 1. It
   * says so three times in that time. So a process that was killed has left so long after, at most; or two leases of the writer, where that is longer.
   * @defaultValue 30,000 (chosen: a process that is busy for a while is still there)
   */
  readonly presenceMs?: number | undefined;
}

/**
 * Keeps streams in Redis 6.2 or later, or in Valkey: any instance writes, reads and stops any of them, and they outlive each. Every write is
 * one script in one round trip, which compares the fencing token and the last entry, adds, renews the lease, trims and expires.
 *
 * However many readers there are, they share one connection of the store's own, which blocks in an XREAD of all their streams; in a cluster,
 * one for each of `lanes` that is read. All else goes over the client that was given. An entry is kept as often as Redis keeps
 * it: with `appendonly yes` and `appendfsync always`, nothing that was acknowledged is lost by a crash; with less, a writer whose entries were
 * lost hears `lost`, and a reader of them `trimmed`.
 *
 * Waits: a command that was lost with its connection is given again, and does nothing twice. Errors: StoreError `unavailable` after `maxWaitMs`,
 * without any password. Holds: nothing for readers that are slow; those read pages of at most 1,000 entries, or 256 KiB, by themselves.
 *
 * @example
 * ```ts
 * import { redisStore } from 'millrace/redis';
 *
 * const store = redisStore({ url: 'redis://127.0.0.1:6379' });
 * const lease = await store.lease('answer 7', { ttlMs: 10_000 });
 * ```
 * @param redis - see {@link RedisConnection}. A client that was given is not closed; one that was made for a URL is
 * @param options - see {@link RedisStoreOptions}
 * @throws TypeError for what is neither a client of ioredis nor a URL of Redis, or for a prefix with braces
 * @throws RangeError for an option below its range
 * @public
 */
export function redisStore(redis: RedisConnection, options: RedisStoreOptions = {}): StreamStore {
  const { prefix = 'millrace', maxEntries = 1_000_000, expireMs = 86_400_000, maxWaitMs = 30_000 } = options;
  const { presenceMs = PRESENCE_MS } = options;
  const open = requireConnection(redis);
  const { lanes = 'isCluster' in redis && redis.isCluster ? 16 : 1 } = options;
  if (typeof prefix !== 'string' || /[{}]/.test(prefix)) {
    throw new TypeError(`prefix must be a string without braces, got ${String(prefix)}`);
  }
  requireInteger(1, { lanes });
  if (lanes > MOST_LANES) throw new RangeError(`lanes must be at most ${String(MOST_LANES)}, got ${String(lanes)}`);
  requireInteger(1, maxEntries === Number.POSITIVE_INFINITY ? {} : { maxEntries });
  requireInteger(1, expireMs === Number.POSITIVE_INFINITY ? {} : { expireMs });
  requireDelay(1, { maxWaitMs, presenceMs });
  const names = keyNames(prefix, lanes, crypto.randomUUID());
  const commands = new Commands(open, maxWaitMs);
  const tailing = new Map<number, Lane>();
  const laneOf = ({ lane }: StreamKeys): Lane => {
    const known = tailing.get(lane);
    if (known !== undefined) return known;
    const made = new Lane(commands, names.lane(lane), maxWaitMs);
    tailing.set(lane, made);
    return made;
  };
  const present = new Map<number, Presence>();
  const presenceOf = ({ lane }: StreamKeys): Presence => {
    const known = present.get(lane);
    if (known !== undefined) return known;
    const made: Presence = new Presence(presenceMs, (marks) => {
      const { keys, args } = attendance(names, presenceMs, marks);
      return commands.run(ATTEND, keys, args, asyncScheduler.now() + made.everyMs);
    });
    present.set(lane, made);
    return made;
  };
  const newsOf = ({ lane }: StreamKeys): string => names.lane(lane).news;
  const text = (limit: number): string => (limit === Number.POSITIVE_INFINITY ? '0' : String(limit));
  let closing: Promise<void> | undefined;

  return {
    lease: async (
      id: string,
      { ttlMs: given, watchesReaders = false }: LeaseOptions,
    ): Promise<StreamLease | 'taken' | 'closed'> => {
      requireId(id);
      requireDelay(1, { ttlMs: given });
      const ttlMs = Math.ceil(given);
      const keys = names.of(id);
      const news = newsOf(keys);
      const owner = crypto.randomUUID();
      const askedAtMs = asyncScheduler.now();
      // The script's reply, as scripts.ts says.
      const [answer, token, note, position, fields] = (await commands.run(
        LEASE,
        [keys.entries, keys.lease, news, keys.readers],
        [owner, String(ttlMs), text(expireMs), keys.name, watchesReaders ? '1' : '0'],
      )) as readonly ['ok' | 'taken' | 'closed', string, string | null, RawRow[0] | null, RawRow[1] | null];
      if (answer !== 'ok') return answer;
      return new RedisLease(commands, {
        keys,
        news,
        token,
        owner,
        ttlMs,
        expireMs: text(expireMs),
        maxEntries: text(maxEntries),
        last: position === null || fields === null ? undefined : toRow([position, fields]).entry,
        note: note ?? undefined,
        watchesReaders,
        askedAtMs,
      });
    },
    read: async (id: string, after = ''): Promise<StoredPage> => {
      requireId(id);
      const keys = names.of(id);
      return (await lookAt(commands, keys, newsOf(keys), after)).page;
    },
    tail: (id: string, after: string | undefined, signal: AbortSignal): AsyncIterable<StoredPage> =>
      follow(
        () => {
          requireId(id);
          const keys = names.of(id);
          return {
            commands,
            lane: laneOf(keys),
            presence: presenceOf(keys),
            keys,
            look: (position) => lookAt(commands, keys, newsOf(keys), position),
          };
        },
        after,
        signal,
      ),
    stop: async (id: string): Promise<'asked' | 'closed' | 'missing'> => {
      requireId(id);
      const keys = names.of(id);
      const [answer] = await commands.run(STOP, [keys.entries, keys.lease, newsOf(keys)], []);
      return answer as 'asked' | 'closed' | 'missing'; // as the script says it
    },
    close: () =>
      (closing ??= (async () => {
        for (const marks of [...present.values()].flatMap((presence) => presence.close())) {
          const { keys, args } = attendance(names, presenceMs, marks);
          commands.tell(ATTEND, keys, args);
        }
        const client = commands.close();
        await Promise.all([...tailing.values()].map((lane) => lane.close()));
        if (!('url' in redis)) return;
        // One that could not be opened has said so to whoever asked.
        const own = await client?.catch(() => undefined);
        if (own !== undefined && !isCluster(own)) await closeClient(own);
      })()),
  };
}

const MOST_LANES = 1_024;

/** What Redis is told of readers of one lane's streams. */
function attendance(
  names: KeyNames,
  presenceMs: number,
  marks: readonly ReaderMark[],
): { readonly keys: readonly string[]; readonly args: readonly string[] } {
  return {
    keys: marks.flatMap(({ stream }) => {
      const { lease, readers } = names.of(stream);
      return [lease, readers];
    }),
    args: [
      String(Math.ceil(presenceMs)),
      String(PRESENCE_LEASES),
      ...marks.flatMap(({ reader, isReading }) => [reader, isReading ? '1' : '0']),
    ],
  };
}
