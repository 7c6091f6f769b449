import { from, type MonoTypeOperatorFunction, type Observable, type ObservableInput, type Subscriber } from 'rxjs';
import { isMillraceError } from '../errors.js';
import { Branch } from '../internal/branch.js';
import { thisPlace } from '../internal/flow.js';
import { hasCode } from '../internal/hasCode.js';
import { draw, operate } from '../internal/operate.js';
import { requireOneOf } from '../internal/require.js';
import { selectOutput } from '../internal/selectOutput.js';
import { signOf } from '../internal/signOf.js';
import type { RestartEvent, StreamEvent } from '../types.js';

/** When another stream may take over. @public */
export interface FallbackToOptions {
  /**
   * `'before-content'`: only while no content was emitted, or all of it was taken back by a `restart`; the reader notices nothing.
   * `'always'`: after content too; then a `restart` says that it is void. @defaultValue `'before-content'`
   */
  readonly when?: 'before-content' | 'always' | undefined;
  /** Hears the first stream's error when another one is asked in its place; nobody else does, where that one ends well. */
  readonly onFallback?: ((error: unknown) => void) | undefined;
}

/**
 * Asks another stream when one fails: another model, provider or region, so that the reader gets an answer all the same.
 *
 * ```text
 * source     -s-#                    s = status: no content was emitted yet
 * fallback      -a--b--(f|)
 * result     -s--a--b--(f|)
 *
 * source     -a--b-#                 when: 'always'
 * fallback         --s-x--y-(f|)
 * result     -a--b---s-(rx)y-(f|)    r = restart: a and b are void
 * ```
 * Content is text, thinking, refusal, tool calls, media, output and log lines. The `restart` comes just before the other stream's
 * first content or finish, not sooner: what was received is kept if that one brings nothing. Sinks judge by the other stream from
 * there on, and book the usage of both. Put `retryOnDisconnect` above it, on each stream: below it, what fails after
 * the change is not asked again.
 *
 * Emits what the streams emit. Completes with the stream that runs. Errors with the source's error where the function gives
 * `undefined`, where content was emitted (see `when`), where the source was stopped by its signal, and where the other stream
 * completes without content or finish; else with the other stream's error. Unsubscribing stops whichever runs. Holds nothing.
 *
 * @example
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(
 *   retryOnDisconnect({ count: 1 }),
 *   fallbackTo((error) => (isRetryable(error) ? fromCall(call) : undefined), { when: 'always', onFallback: report }),
 *   toFile('guide.md'),
 * ).subscribe();
 * ```
 * @param fallback - gives the stream that takes over, or `undefined` where the error shall pass; asked once at most
 * @param options - see {@link FallbackToOptions}
 * @returns an operator
 * @throws TypeError for a `fallback` that is no function, or an unknown `when`
 * @public
 */
export function fallbackTo(
  fallback: (error: unknown) => ObservableInput<StreamEvent> | undefined,
  options: FallbackToOptions = {},
): MonoTypeOperatorFunction<StreamEvent> {
  const { when = 'before-content', onFallback } = options;
  if (typeof fallback !== 'function') {
    throw new TypeError(`fallbackTo takes a function that gives another stream, got ${typeof fallback}`);
  }
  requireOneOf('when', when, ['before-content', 'always']);
  return operate((source, subscriber) => {
    // The other stream begins later, as if here.
    const here = thisPlace();
    const first = new Branch();
    const delivered = new Delivered();
    draw<StreamEvent>(source, subscriber, first.scope, (upstream) => ({
      next: (event) => {
        delivered.note(event);
        subscriber.next(event);
      },
      error: (error) => {
        const mayFallBack = when === 'always' || !delivered.hasContent;
        const other = mayFallBack && !hasCode(error, 'ERR_ABORTED') ? fallback(error) : undefined;
        if (other === undefined) {
          subscriber.error(error);
          return;
        }
        first.scope.current();
        // Streams beside the one that failed are left for good, and first: what they occupy is free for the other stream.
        upstream.unsubscribe();
        onFallback?.(error);
        if (subscriber.closed) return;
        here(() => {
          takeOver(from(other), subscriber, { error, first, delivered });
        });
      },
    }));
  });
}

/** What the first stream left behind. */
interface Legacy {
  readonly error: unknown;
  readonly first: Branch;
  readonly delivered: Delivered;
}

function takeOver(
  source: Observable<StreamEvent>,
  subscriber: Subscriber<StreamEvent>,
  { error, first, delivered }: Legacy,
): void {
  const { scope } = new Branch();
  let hasTakenOver = false;
  /** A reader may feed the stream from inside `next`: what comes while it hears of the restart comes after it. */
  let waiting: (() => void)[] | undefined;
  const inOrder = (tell: () => void): void => {
    if (waiting === undefined) tell();
    else waiting.push(tell);
  };
  const begin = (event: StreamEvent): void => {
    hasTakenOver = true;
    first.excuse();
    const restart = delivered.restartBefore(event);
    if (restart === undefined) {
      subscriber.next(event);
      return;
    }
    const after = [
      (): void => {
        if (event.type !== 'restart') subscriber.next(event);
      },
    ];
    waiting = after;
    // A stream's own restart was counted by its flow.
    const flow = scope.current();
    if (event.type !== 'restart' && flow !== undefined) flow.restarts += 1;
    subscriber.next(restart);
    for (let tell = after.shift(); tell !== undefined; tell = after.shift()) tell();
    waiting = undefined;
  };
  draw<StreamEvent>(source, subscriber, scope, () => ({
    next: (event) => {
      const isAnswer = signOf(event) === 'content' || event.type === 'finish' || event.type === 'restart';
      if (isAnswer && !hasTakenOver) begin(event);
      else {
        inOrder(() => {
          subscriber.next(event);
        });
      }
    },
    error: (otherError) => {
      // Nothing of the other stream was delivered: what the reader has is the first one's.
      if (!hasTakenOver) keepReceived(error, otherError);
      inOrder(() => {
        subscriber.error(otherError);
      });
    },
    complete: () => {
      inOrder(() => {
        // Half an answer, or none, does not become a whole one by a stream that brings nothing.
        if (hasTakenOver) subscriber.complete();
        else subscriber.error(error);
      });
    },
  }));
}

function keepReceived(first: unknown, other: unknown): void {
  if (!isMillraceError(first) || !isMillraceError(other) || first.received === undefined) return;
  other.received = first.received;
}

/** What a stream has delivered since its answer began. */
class Delivered {
  hasContent = false;
  #chars = 0;
  #thinkingChars = 0;
  #isFirstOutput = selectOutput();
  #attempt = 1;

  note(event: StreamEvent): void {
    if (event.type === 'restart') {
      this.hasContent = false;
      this.#chars = 0;
      this.#thinkingChars = 0;
      this.#isFirstOutput = selectOutput();
      this.#attempt = Math.max(this.#attempt, event.attempt);
    } else if (signOf(event) === 'content') {
      this.hasContent = true;
      if (event.type === 'text' && this.#isFirstOutput(event)) this.#chars += event.text.length;
      else if (event.type === 'thinking') this.#thinkingChars += event.text.length;
    }
  }

  /** Where something is void: what tells so before the other stream's first event, or in place of its own restart. */
  restartBefore(event: StreamEvent): RestartEvent | undefined {
    if (!this.hasContent) return undefined;
    const own = event.type === 'restart' ? event : undefined;
    const chars = this.#chars + (own?.discard.chars ?? 0);
    const thinkingChars = this.#thinkingChars + (own?.discard.thinkingChars ?? 0);
    const discard = thinkingChars === 0 ? { chars } : { chars, thinkingChars };
    const attempt = Math.max(this.#attempt + 1, own?.attempt ?? 0);
    return { type: 'restart', attempt, because: own?.because ?? 'another stream took over', discard };
  }
}
