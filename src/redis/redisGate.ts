import type { MonoTypeOperatorFunction } from 'rxjs';
import { operate } from '../internal/operate.js';
import { requireDelay } from '../internal/require.js';
import { createGate, type Gate, type GateAdaptOptions, type GateState } from '../operators/createGate.js';
import { FleetGate, type GateConnection } from './gateFleet.js';
import type { GateRules } from './gateKey.js';
import { type RedisConnection, requireConnection } from './redisConnection.js';
import { redisStore } from './redisStore.js';
import { requireText } from './requireText.js';

/** How much a gate lets through. All processes that share one need the same `prefix`, limits and `leaseMs`. @public */
export interface RedisGateOptions {
  /** What all keys begin with, inside of their hash tag, and channels. @defaultValue `'millrace-gate'` */
  readonly prefix?: string | undefined;
  /** Streams of one key that run at the same time, over all processes; at least 1. @defaultValue `Infinity` */
  readonly perKey?: number | undefined;
  /**
   * Whether a key finds out how many streams its server takes at the same time, for all processes together; as {@link createGate} does, with
   * `perKey` for the most. @defaultValue `false`: `perKey` alone
   */
  readonly adapt?: boolean | GateAdaptOptions | undefined;
  /**
   * How long a key is closed by a refusal that does not say; doubled with each such refusal in a row, up to `maxPauseMs`, as
   * {@link createGate} does. @defaultValue 1,000 (chosen)
   */
  readonly pauseMs?: number | undefined;
  /** The longest time for which a key is closed, whatever the server asks for. @defaultValue 60,000 (rate limits are counted by the minute) */
  readonly maxPauseMs?: number | undefined;
  /**
   * What rate limit headers say of the budget that is left, as {@link createGate} takes it. Each process reads its own answers; at none left the
   * key is closed for all. @defaultValue `'obey'`
   */
  readonly budgets?: 'obey' | 'ignore' | undefined;
  /**
   * Streams of this process that wait, over all keys; one more fails with LimitError. Those whose first answer from Redis is on its way are
   * not counted, up to 10,000 of them. @defaultValue 100,000 (chosen)
   */
  readonly maxWaiting?: number | undefined;
  /**
   * Milliseconds after which a process that says nothing has lost its places, at least 100. It says something three times in that.
   * @defaultValue 15,000 (chosen)
   */
  readonly leaseMs?: number | undefined;
  /**
   * Milliseconds for which streams wait for a Redis that cannot be reached, at least 1; then they fail with StoreError `unavailable`.
   * @defaultValue 30,000: longer than most failovers take (chosen)
   */
  readonly maxWaitMs?: number | undefined;
  /**
   * Observes a key, as this process learns of it: when it is closed, for longer or for less long than before, when it opens and streams of this
   * process wait for that, and when its limit changes. It may start and leave streams. What it throws is reported as RxJS reports errors
   * that nobody handles.
   */
  readonly onChange?: ((key: string, state: GateState) => void) | undefined;
}

/** A gate that many processes share; see {@link redisGate}. @public */
export interface RedisGate extends Gate {
  /** How a key stands in all processes, as this one knows it last. One that it does not use is open and empty. */
  state(key?: string): GateState;
  /**
   * Gives back all places, and closes what the gate has opened. Streams that wait fail with StoreError; what runs goes on, and is not counted
   * any more. Resolves within a second where Redis is not there.
   */
  close(): Promise<void>;
}

/**
 * Makes a gate that many processes share: over a whole fleet no more streams of one key run at the same time than its limit, and a 429 that
 * one process gets closes the key for all.
 *
 * ```text
 * perKey 1
 * a, in one process, subscribed at 0     a-a-(a|)
 * b, in another, subscribed at 1         -       b-b-(b|)      begins when a has ended
 *
 * a, refused at 2                        --#                   429, `Retry-After` of 5
 * b, in another, subscribed at 3         ---     b-b-(b|)      begins when the key opens, at 7
 * ```
 * It stands where {@link createGate}'s does: next to the call, above `retryOnDisconnect`, or as `runJobs({ gate })`. What closes a key, what
 * `adapt` does and how a stream that is asked again keeps its place is described there; here all of it is one for all processes, by the clock of
 * Redis. Budgets are read by each process for itself; where it finds that nothing is left, the key is closed for all.
 *
 * Each key is a queue in Redis. A stream takes its number there, and begins when its turn comes: first come, first served, over all
 * processes. It costs a round trip to enter and one to leave; what happens while one is under way goes together in the next. Who has to wait
 * hears of its turn over one connection more for each process, however many keys; should a message be lost, the next heartbeat tells.
 *
 * A process that says nothing for `leaseMs` (it was killed, or stopped) has lost its places to others, a third of that later at the latest.
 * When one that was only stopped wakes up it notices, and counts again what it still runs; for so long there may be more than the
 * limit. So may there be for a moment where Redis has forgotten: each process tells it anew what it runs. While Redis is away
 * what runs goes on, and what waits, waits.
 *
 * Emits what the source emits. Completes with the source. Errors with the source's error, a refusal too; with LimitError where
 * `maxWaiting` wait already; with StoreError where Redis cannot be reached for `maxWaitMs`, and after `close`. Unsubscribing stops the source,
 * or leaves the queue: then nothing was sent. Any ending gives its place to the next, when its connection is gone. Holds those that wait, one
 * timer for each key in use and one for each closed key that is waited for. Keys in Redis expire by themselves.
 *
 * @example
 * ```ts
 * import { redisGate } from 'millrace/redis';
 *
 * const gate = redisGate({ url: 'redis://127.0.0.1:6379' }, { perKey: 50, adapt: true });
 *
 * fromCall(call).pipe(gate('openai'), retryOnDisconnect({ refusals: Infinity }), toTokens()).subscribe(log);
 * ```
 * @param redis - see {@link RedisConnection}. A client that was given is not closed; one that was made for a URL is
 * @param options - see {@link RedisGateOptions}
 * @returns the gate; nothing is opened before the first stream is subscribed
 * @throws TypeError for what is neither a client of ioredis nor a URL of Redis, for a prefix with braces, or an unknown word
 * @throws RangeError for an option out of its range
 * @see {@link https://www.rfc-editor.org/rfc/rfc6585#section-4 | RFC 6585, 429 Too Many Requests}
 * @public
 */
export function redisGate(redis: RedisConnection, options: RedisGateOptions = {}): RedisGate {
  const { prefix = 'millrace-gate', perKey = Infinity, pauseMs = 1_000, maxPauseMs = 60_000 } = options;
  const { budgets = 'obey', maxWaiting = 100_000, leaseMs = 15_000, maxWaitMs = 30_000, onChange } = options;
  const connection: GateConnection = { open: requireConnection(redis), isOwn: 'url' in redis };
  // They refuse what is refused here, and do nothing else before they are used.
  redisStore(redis, { prefix, maxWaitMs });
  createGate({ perKey, adapt: options.adapt, pauseMs, maxPauseMs, budgets, maxWaiting });
  requireDelay(100, { leaseMs });
  const adapt = readAdapt(options.adapt, perKey);
  const rules = { prefix, perKey, adapt, pauseMs, maxPauseMs, leaseMs, maxWaiting, budgets, onChange };
  const gate = new FleetGate(connection, rules, maxWaitMs);
  const operator = <T>(key = ''): MonoTypeOperatorFunction<T> => {
    requireText("A gate's key", key);
    return operate((source, subscriber) => {
      gate.enter(key, source, subscriber);
    });
  };
  return Object.assign(operator, {
    state: (key = ''): GateState => gate.state(key),
    close: () => gate.close(),
  });
}

function readAdapt(adapt: boolean | GateAdaptOptions = false, perKey: number): GateRules['adapt'] {
  if (adapt === false) return undefined;
  const { min = 1, initial = perKey } = adapt === true ? {} : adapt;
  return { initial, min };
}
