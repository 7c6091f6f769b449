import type { RateBudget, RateUnit } from '../protocol/rateLimits.js';
import type { Usage } from '../types.js';

/** Budgets that one key remembers; a server that makes names up costs no more. */
const MAX_BUDGETS = 16;
/** A mean follows the last streams: what is older than about this many counts little. */
const MEAN_OVER = 16;

interface Budget {
  readonly unit: RateUnit;
  /** In its own unit, when nothing is used. */
  readonly limit: number | undefined;
  /** Streams that may begin. */
  left: number;
  /** When the server has more, and when it is asked whether it has: no later than that. */
  readonly resetAt: number;
  until: number;
  /** The longest time that was told until a reset: a request that is older is no part of what is counted now. */
  readonly windowMs: number;
  /** The stream whose answer told it, by its number; of a guess, the last that was sent before. */
  readonly asOf: number;
  /** Its time is over, and no answer has told the next one yet. */
  readonly isGuess: boolean;
}

/**
 * What is left of the rate limits of one key, in streams. Whoever begins one takes it off, and at none left the key is closed until
 * the server has more. It is told by answers' heads, which come late and in any order; so what it holds is never more than what the
 * server can have left, as far as that is known.
 */
export class GateBudgets {
  readonly #maxPauseMs: number;
  readonly #budgets: Map<string, Budget> = new Map();
  /** Tokens of a stream, by what is counted. */
  readonly #means: Map<RateUnit, { value: number; over: number }> = new Map();
  #keptUntil = 0;
  #sent = 0;
  /** The streams that have no answer yet, the oldest first, and when they were sent. */
  readonly #unanswered: Map<number, number> = new Map();

  /** @param maxPauseMs - the longest time for which it closes a key, whatever the server says */
  constructor(maxPauseMs: number) {
    this.#maxPauseMs = maxPauseMs;
  }

  /** Until when they are worth keeping, though nobody runs or waits. */
  get keptUntil(): number {
    return this.#keptUntil;
  }

  /** A stream begins: it is taken off what is left. */
  spend(now: number): void {
    if (this.#budgets.size === 0) return;
    for (const budget of this.#budgets.values()) budget.left -= 1;
    this.#close(now);
  }

  /** Its request is sent. @returns its number, in the order of sending */
  send(now: number): number {
    this.#sent += 1;
    this.#unanswered.set(this.#sent, now);
    return this.#sent;
  }

  /** It has its answer, or will have none. */
  settle(stream: number): void {
    if (!this.#unanswered.delete(stream) || this.#unanswered.size > 0) return;
    // Nobody is left who could tell whether the guess was right.
    for (const [name, { isGuess }] of this.#budgets) if (isGuess) this.#budgets.delete(name);
  }

  /** What the head of its answer tells, or another word of the server's. */
  note(told: readonly RateBudget[], stream: number, now: number): void {
    this.#unanswered.delete(stream);
    for (const [key, { isGuess, asOf }] of this.#budgets) {
      // The server tells no more of one whose time is over: it has no such limit any more.
      if (isGuess && stream > asOf && !told.some(({ name }) => name === key)) this.#budgets.delete(key);
    }
    for (const { name, unit, limit, remaining, resetMs } of told) {
      const known = this.#budgets.get(name);
      // Sent before the one that told what is known, it may have been counted before it as well.
      const isOlder = known !== undefined && stream < known.asOf && now < known.resetAt;
      const windowMs = Math.max(resetMs, known?.windowMs ?? 0);
      const left = Math.max(0, this.#streamsOf(remaining, unit) - this.#sentAfter(stream, now - windowMs));
      const resetAt = now + resetMs;
      this.#budgets.delete(name);
      this.#budgets.set(
        name,
        isOlder
          ? { ...known, left: Math.min(known.left, left) }
          : { unit, limit, left, resetAt, until: resetAt, windowMs, asOf: stream, isGuess: false },
      );
      this.#keptUntil = Math.max(this.#keptUntil, now + Math.min(resetMs, this.#maxPauseMs));
    }
    for (const name of this.#budgets.keys()) {
      if (this.#budgets.size <= MAX_BUDGETS) break;
      this.#budgets.delete(name);
    }
    this.#close(now);
  }

  /** What a stream has used, so that tokens that are left can be counted in streams. */
  learn({ inputTokens, outputTokens, totalTokens = (inputTokens ?? 0) + (outputTokens ?? 0) }: Usage): void {
    this.#average('inputTokens', inputTokens);
    this.#average('outputTokens', outputTokens);
    this.#average('tokens', totalTokens);
  }

  /** When a stream may begin; 0 for now. */
  opensAt(now: number): number {
    let opensAt = 0;
    for (const [name, budget] of this.#budgets) {
      const { left, until } = budget.until > now ? budget : (this.#renewed(name, budget, now) ?? ENDLESS);
      if (left < 1 && until > now) opensAt = Math.max(opensAt, until);
    }
    return opensAt;
  }

  /** Those whose time is over by the gate's timer, which may come a little early by the scheduler's clock. */
  pass(at: number, now: number): void {
    for (const budget of this.#budgets.values()) if (budget.until <= at) budget.until = Math.min(budget.until, now);
  }

  /**
   * Its time is over: the server has its whole limit again, less what is on its way. All that wait would come at once otherwise, and
   * most would be refused. Where only our patience is over, one stream may see. The next heads tell more; a guess that none of them
   * confirms for as long as a key may be closed is given up.
   */
  #renewed(name: string, known: Budget, now: number): Budget | undefined {
    const { unit, limit = Infinity, resetAt, windowMs } = known;
    const streams = resetAt > now ? 1 : this.#streamsOf(limit, unit) - this.#sentAfter(0, now - windowMs);
    if (known.isGuess || streams === Infinity) {
      this.#budgets.delete(name);
      return undefined;
    }
    const until = now + this.#maxPauseMs;
    const budget = { ...known, left: Math.max(1, streams), until, asOf: this.#sent, isGuess: true };
    this.#budgets.set(name, budget);
    return budget;
  }

  /** What is used up closes the key for no longer than the gate is patient. */
  #close(now: number): void {
    for (const budget of this.#budgets.values()) {
      if (budget.left < 1 && budget.until > now) budget.until = Math.min(budget.until, now + this.#maxPauseMs);
    }
  }

  /** How many were sent after a stream, and after a time, and have no answer yet. */
  #sentAfter(stream: number, time: number): number {
    let before = 0;
    for (const [each, sentAt] of this.#unanswered) {
      if (each > stream && sentAt > time) break;
      before += 1;
    }
    return this.#unanswered.size - before;
  }

  /** How many streams an amount is good for. */
  #streamsOf(amount: number, unit: RateUnit): number {
    if (unit === 'requests') return amount;
    if (amount === 0) return 0;
    const mean = this.#means.get(unit)?.value ?? 0;
    return mean === 0 ? Infinity : Math.floor(amount / mean);
  }

  #average(unit: RateUnit, tokens: number | undefined): void {
    if (tokens === undefined || !(tokens > 0)) return;
    const { value, over } = this.#means.get(unit) ?? { value: 0, over: 0 };
    const count = Math.min(over + 1, MEAN_OVER);
    this.#means.set(unit, { value: value + (tokens - value) / count, over: count });
  }
}

const ENDLESS = { left: Infinity, until: 0 };
