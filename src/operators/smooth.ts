import { asyncScheduler, type MonoTypeOperatorFunction, type SchedulerLike, type Subscription } from 'rxjs';
import { type Flow, Scope } from '../internal/flow.js';
import { draw, operate } from '../internal/operate.js';
import { Pacer, type Portion } from '../internal/pacer.js';
import { requireAtLeast, requireDelay } from '../internal/require.js';
import type { RefusalEvent, RestartEvent, StreamEvent, TextEvent, ThinkingEvent } from '../types.js';

/** The pace of `smooth`: exactly one of `charsPerSecond` and `msPerToken`. @public */
export interface SmoothOptions {
  /** Characters a second, as a reader counts them (grapheme clusters). At least 1. Pieces are cut and joined for it. */
  readonly charsPerSecond?: number | undefined;
  /** Milliseconds from one piece to the next, at least 1. Pieces stay as they came. */
  readonly msPerToken?: number | undefined;
  /**
   * The longest that anything is held, at least 1 ms: text that comes faster than the pace goes out faster.
   * @defaultValue 1,000 (chosen)
   */
  readonly maxLagMs?: number | undefined;
  /**
   * UTF-16 code units that are held, at least 1; an event that waits for its turn counts as one. What is more goes out at once,
   * the oldest first.
   * @defaultValue 65,536 (chosen)
   */
  readonly maxChars?: number | undefined;
  /** The shortest time between two emissions of text, at least 1. @defaultValue 16, a frame at 60 Hz */
  readonly tickMs?: number | undefined;
  /** The clock and the timer. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Lets text out at an even pace for a screen, however unevenly it comes, and without falling behind.
 *
 * ```text
 * source            -x-------y|         x = 'abcd', y = 'ef'
 * msPerToken        ----x-------(y|)    msPerToken: 3, tickMs: 3
 * charsPerSecond    ---a-b-c---d-e-(f|) charsPerSecond: 500, tickMs: 2; d might have gone on in y
 * ```
 * Takes strings or stream events and gives back the same kind. Of events it paces `text`, `thinking` and `refusal`; the others
 * keep their place behind the text that came before them, but for `heartbeat` and `usage`, which pass at once. With
 * `charsPerSecond` a piece never ends inside a character (a surrogate pair, an emoji, a letter with its marks), even where the
 * source cut it there: the last character waits for what may belong to it, at most 100 ms, and half of a surrogate pair until its
 * other half comes. A character of more than 256 code units is cut.
 *
 * A restart passes at once: the text that is held is void and is dropped, and `discard` is made less by it; other events that
 * were held pass before it.
 *
 * Emits at most every `tickMs`, the first text one tick after it came; what is joined gives the text of the source. When a piece
 * comes that could not leave within `maxLagMs`, the pace rises to what empties the line in that time, until it is empty.
 * Completes when what is held has gone out, at most `maxLagMs` after the source. Errors with the source's error, after emitting at
 * once what is held. Unsubscribing stops the source, drops what is held and cancels the timer. Holds at most `maxChars`. A full
 * sink below pauses the stream that it is filled by, as if nothing were in between.
 *
 * @example
 * ```ts
 * fromCall(call).pipe(toTokens(), smooth({ charsPerSecond: 200 })).subscribe((text) => process.stdout.write(text));
 * ```
 * @param options - see {@link SmoothOptions}
 * @returns an operator; nothing is scheduled before the first text
 * @throws TypeError unless exactly one of `charsPerSecond` and `msPerToken` is given; RangeError for a value below its range
 * @public
 */
export function smooth<T extends string | StreamEvent>(options: SmoothOptions): MonoTypeOperatorFunction<T> {
  const { maxLagMs = 1_000, maxChars = 65_536, tickMs = 16, scheduler = asyncScheduler } = options;
  const pace = readPace(options);
  requireDelay(1, { maxLagMs, tickMs });
  requireAtLeast(1, { maxChars });
  return operate((source, subscriber) => {
    const scope = new Scope(false);
    const pacer: Pacer<Item> = new Pacer({ ...pace, maxLagMs, maxChars, tickMs, isOneText }, scheduler.now());
    let timer: Subscription | undefined;
    let timerAt = 0;
    /** What is on its way out. A subscriber may feed the source from inside `next`: that goes behind. */
    let leaving: Portion<Item>[] = [];
    let isEmitting = false;
    let end: { readonly flow: Flow | undefined; readonly notify: () => void } | undefined;

    const emit = (): void => {
      if (isEmitting) return;
      isEmitting = true;
      for (let next = 0; next < leaving.length && !subscriber.closed; next += 1) {
        const portion = leaving[next];
        if (portion === undefined) break;
        deliver(portion.item.flow, () => {
          // What came in is a T, and so is a piece of it: a string, or an event of its kind.
          subscriber.next(valueOf(portion) as T);
        });
      }
      leaving = [];
      isEmitting = false;
      if (end !== undefined && pacer.isEmpty) deliver(end.flow, end.notify);
    };
    const arm = (): void => {
      const now = scheduler.now();
      const at = subscriber.closed ? undefined : pacer.dueAt(now);
      if (at !== undefined && timer !== undefined && timerAt <= at) return;
      timer?.unsubscribe();
      timerAt = at ?? 0;
      timer = at === undefined ? undefined : scheduler.schedule(turn, at - now);
    };
    const turn = (): void => {
      timer = undefined;
      leave(pacer.take(scheduler.now()));
    };
    const leave = (portions: readonly Portion<Item>[]): void => {
      for (const portion of portions) leaving.push(portion);
      emit();
      arm();
    };

    // Before subscribing: the source may finish at once.
    subscriber.add(() => {
      timer?.unsubscribe();
      pacer.takeAll();
    });
    draw<T>(source, subscriber, scope, () => ({
      next: (value) => {
        const item = { flow: scope.current(), value };
        const text = textOf(value);
        if (text !== undefined) {
          if (text !== '') leave(pacer.push(item, text, scheduler.now()));
        } else if (isEvent(value) && value.type === 'restart') {
          const held = pacer.takeAll();
          const others = held.filter((portion) => portion.text === undefined);
          leave([...others, { item: { flow: item.flow, value: lessen(value, held) }, text: undefined }]);
        } else if (pacer.isEmpty || passesAtOnce(value)) leave([{ item, text: undefined }]);
        else leave(pacer.push(item, undefined, scheduler.now()));
      },
      error: (error) => {
        end = {
          flow: scope.current(),
          notify: () => {
            subscriber.error(error);
          },
        };
        leave(pacer.takeAll());
      },
      complete: () => {
        end = {
          flow: scope.current(),
          notify: () => {
            subscriber.complete();
          },
        };
        pacer.end();
        leave([]);
      },
    }));
  });
}

/** A value with the flow that brought it. */
interface Item {
  readonly flow: Flow | undefined;
  readonly value: string | StreamEvent;
}

function readPace({ charsPerSecond, msPerToken }: SmoothOptions): {
  readonly unit: 'character' | 'piece';
  readonly rate: number;
} {
  if ((charsPerSecond === undefined) === (msPerToken === undefined)) {
    const got = charsPerSecond === undefined ? 'neither' : 'both';
    throw new TypeError(`smooth takes exactly one of charsPerSecond and msPerToken, got ${got}`);
  }
  if (charsPerSecond !== undefined) {
    requireAtLeast(1, { charsPerSecond });
    return { unit: 'character', rate: Math.min(charsPerSecond, MAX_PER_SECOND) / 1000 };
  }
  const ms = msPerToken ?? 0;
  requireDelay(1, { msPerToken: ms });
  return { unit: 'piece', rate: 1 / ms };
}

/** Faster than any text comes; infinite times no time is not a number. */
const MAX_PER_SECOND = 1e12;

function isEvent(value: string | StreamEvent): value is StreamEvent {
  return typeof value !== 'string';
}

function isTextEvent(value: StreamEvent): value is TextEvent | ThinkingEvent | RefusalEvent {
  return value.type === 'text' || value.type === 'thinking' || value.type === 'refusal';
}

function textOf(value: string | StreamEvent): string | undefined {
  if (!isEvent(value)) return value;
  return isTextEvent(value) ? value.text : undefined;
}

function passesAtOnce(value: string | StreamEvent): boolean {
  return isEvent(value) && (value.type === 'heartbeat' || value.type === 'usage');
}

function isOneText(a: Item, b: Item): boolean {
  if (a.flow !== b.flow) return false;
  const [one, other] = [a.value, b.value];
  if (!isEvent(one) || !isEvent(other)) return !isEvent(one) && !isEvent(other);
  return (
    isTextEvent(one) &&
    isTextEvent(other) &&
    one.type === other.type &&
    one.index === other.index &&
    one.name === other.name &&
    one.alternative === other.alternative
  );
}

/** What is emitted for a portion: the value itself where all of it goes out. */
function valueOf({ item: { value }, text }: Portion<Item>): string | StreamEvent {
  if (text === undefined || textOf(value) === text) return value;
  return isEvent(value) && isTextEvent(value) ? { ...value, text } : text;
}

/** A restart for those who have not seen the text that was held. */
function lessen(restart: RestartEvent, held: readonly Portion<Item>[]): RestartEvent {
  let { chars } = restart.discard;
  for (const { item, text = '' } of held) {
    if (isEvent(item.value) && item.value.type === 'text' && item.value.alternative !== true) chars -= text.length;
  }
  return chars === restart.discard.chars ? restart : { ...restart, discard: { chars: Math.max(0, chars) } };
}

function deliver(flow: Flow | undefined, run: () => void): void {
  if (flow === undefined) run();
  else flow.deliver(run);
}
