import {
  animationFrameScheduler,
  asyncScheduler,
  type Observable,
  type OperatorFunction,
  type SchedulerLike,
  type Subscriber,
  Subscription,
} from 'rxjs';
import { SinkError } from '../errors.js';
import { ElementText } from '../internal/elementText.js';
import { type Ending, Evidence, type Verdict } from '../internal/evidence.js';
import { leaveAs } from '../internal/flow.js';
import { beginUpdate } from '../internal/liveRegion.js';
import { draw, operate } from '../internal/operate.js';
import { requireDelay, requireInteger } from '../internal/require.js';
import { type OutputSelection, selectOutput } from '../internal/selectOutput.js';
import { addFailure, tellEnding } from '../internal/tellEnding.js';
import type { Receipt, StreamEvent } from '../types.js';

/** An element of a page: every `Element` is one. Named by what tells it from other things, for programs that have no types of a page. @public */
export interface PageElement {
  readonly nodeType: number;
  readonly localName: string;
  readonly isConnected: boolean;
  append(...texts: string[]): void;
}

/** How `toElement` writes. @public */
export interface ToElementOptions extends OutputSelection {
  /**
   * Whether what is in the element stays, and the text goes behind it. Otherwise it stays until the first text comes, which takes its
   * place: a placeholder needs no code.
   * @defaultValue `false`
   */
  readonly append?: boolean | undefined;
  /** What to do with the model's reasoning: leave it out, or write it into an element of its own, in the same way. @defaultValue `'hide'` */
  readonly thinking?: 'hide' | PageElement | undefined;
  /**
   * Longest time that text waits for a frame, at least 1 ms: a page that nobody sees has none.
   * @defaultValue 250 (chosen; browsers make it 1,000 in a tab in the background)
   */
  readonly maxWaitMs?: number | undefined;
  /** UTF-16 code units of text that wait for a frame, at least 1; more are written at once. @defaultValue 65,536 (chosen) */
  readonly maxWaitingChars?: number | undefined;
  /**
   * Whose next turn is the frame that text is written in. One that is given is the clock of `maxWaitMs` too.
   * @defaultValue `animationFrameScheduler`, and `asyncScheduler` for the clock and where there are no frames
   */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Shows one stream's text in an element of a page as it arrives. It is text, never HTML: what a model writes cannot become an
 * element, a link or a script.
 *
 * ```text
 * source    -a-b----c-d|
 * frames    ----x---x---x
 * element   ----y------z       y = 'ab', z = 'abcd'
 * result    -----------(r|)    r = receipt, when the last text is in the element
 * ```
 * Takes StreamEvents (the text of the first output, or of the one selected) or strings. Writes once a frame, into as few text nodes
 * as there can be, so that a fast answer leaves the page responsive and a long one costs no more for each token than a short one. The
 * element, the scrolling ancestors around it and the page stay scrolled to their end where they were there before the text, and
 * nowhere else.
 *
 * For screen readers the element becomes a polite live region, unless it is live already or stands in one that is, and has
 * `aria-busy="true"` until the end, so that the answer is told when it is there and not token by token. `aria-live` stays. What the
 * page's author wrote is not changed: `aria-live="off"` turns announcements off, an `aria-busy` is the author's own.
 *
 * A `restart` takes back what was shown of that answer, and nothing else. Several sinks may write into one element with `append: true`:
 * each keeps its place. An element that is taken out of the page is written to all the same (it may come back, or not be there yet); its
 * owner unsubscribes. Text nodes that somebody takes out of the element are gone, and the text goes on at its end.
 *
 * Emits one receipt and completes when the stream is complete or stopped by `stopOn`, or when the reader leaves the page (outcome `stopped`
 * by `reader`, the request is aborted): a browser may keep a page, with its connections, to come back to. Errors with the source's error,
 * InterruptedError where the source completed before its proven end, or SinkError where the page refused the text; each carries
 * `receipt`, and the text that came stays. Unsubscribing stops the source, writes what waits, and emits nothing. Holds at most
 * `maxWaitingChars`, for at most `maxWaitMs`; it is never full, so it pauses no socket. Line breaks show with `white-space: pre-wrap`.
 *
 * @example
 * ```ts
 * const answer = document.querySelector('#answer');
 * if (answer) fromCall(api.chat({ model, messages })).pipe(toElement(answer)).subscribe({ error: report });
 * ```
 * @param element - what the text goes into; no `script` or `style`, whose text is a program
 * @param options - see {@link ToElementOptions}
 * @returns an operator; nothing in the page is changed before it is subscribed to
 * @throws TypeError for what is no element, or is a `script` or `style`; RangeError for a limit below its range
 * @see {@link https://www.w3.org/TR/wai-aria-1.2/#liveregions | WAI-ARIA 1.2, live regions}
 * @public
 */
export function toElement(
  element: PageElement,
  options: ToElementOptions = {},
): OperatorFunction<StreamEvent | string, Receipt> {
  const { append = false, thinking = 'hide', maxWaitMs = 250, maxWaitingChars = 65_536 } = options;
  requireDelay(1, { maxWaitMs });
  requireInteger(1, { maxWaitingChars });
  if (typeof append !== 'boolean') throw new TypeError(`append must be true or false, got ${String(append)}`);
  const shown = requireElement('element', element);
  const thoughts = thinking === 'hide' ? undefined : requireElement('thinking', thinking);
  if (thoughts === shown) throw new TypeError('thinking must be another element than the one for the text');
  return operate((source, subscriber) => {
    new ElementSink(shown, thoughts, options, subscriber).start(source);
  });
}

const ELEMENT_NODE = 1;

function requireElement(name: string, value: PageElement): Element {
  // One of another window is an element too, and no instance of this window's class.
  const { nodeType, localName } = (value as Partial<PageElement> | null | undefined) ?? {};
  if (nodeType !== ELEMENT_NODE || localName === undefined) {
    const got = typeof value === 'string' ? JSON.stringify(value) : value === null ? 'null' : typeof value;
    throw new TypeError(`${name} must be an Element of a page, got ${got}`);
  }
  if (localName === 'script' || localName === 'style') {
    throw new TypeError(
      `${name} is a <${localName}>, and the page would run what a model writes; give another element`,
    );
  }
  return value as Element; // every node of that type is one
}

class ElementSink {
  readonly #element: Element;
  readonly #options: ToElementOptions;
  readonly #subscriber: Subscriber<Receipt>;
  readonly #evidence = new Evidence('sink');
  readonly #frames: SchedulerLike;
  readonly #clock: SchedulerLike;
  readonly #text: ElementText;
  readonly #thinking: ElementText | undefined;
  readonly #written: readonly ElementText[];

  #upstream: Subscription | undefined;
  /** Present while text waits for a frame, or for the clock. */
  #wait: Subscription | undefined;
  #ending: Ending = { kind: 'left' };
  /** Set when the page refused a change. */
  #refused: Verdict | undefined;
  #chars = 0;
  #answer: Answer;

  constructor(
    element: Element,
    thinking: Element | undefined,
    options: ToElementOptions,
    subscriber: Subscriber<Receipt>,
  ) {
    const { append = false, scheduler } = options;
    const frames = 'requestAnimationFrame' in globalThis ? animationFrameScheduler : asyncScheduler;
    this.#element = element;
    this.#options = options;
    this.#subscriber = subscriber;
    this.#frames = scheduler ?? frames;
    // One of frames is no clock.
    this.#clock = scheduler === undefined || scheduler === animationFrameScheduler ? asyncScheduler : scheduler;
    this.#text = new ElementText(element, append);
    this.#thinking = thinking && new ElementText(thinking, append);
    this.#written = this.#thinking === undefined ? [this.#text] : [this.#text, this.#thinking];
    this.#answer = beginAnswer(options, 0);
  }

  start(source: Observable<StreamEvent | string>): void {
    const endUpdate = beginUpdate(this.#element);
    const page = this.#element.ownerDocument.defaultView;
    page?.addEventListener('pagehide', this.#onPageLeft);
    draw<StreamEvent | string>(source, this.#subscriber, this.#evidence.scope, (upstream) => {
      this.#upstream = upstream;
      return {
        next: (item) => {
          this.#take(item);
        },
        error: (error) => {
          this.#evidence.currentFlow();
          this.#ending = { kind: 'error', error };
        },
        complete: () => {
          this.#evidence.currentFlow();
          this.#ending = { kind: 'complete' };
        },
        left: () => {
          page?.removeEventListener('pagehide', this.#onPageLeft);
          this.#write(true);
          endUpdate();
          this.#tell();
        },
      };
    });
  }

  /** A page that is left may be kept, to be come back to: nobody reads it meanwhile. */
  readonly #onPageLeft = (): void => {
    leaveAs('stop', 'reader', () => {
      this.#upstream?.unsubscribe();
    });
  };

  #take(item: StreamEvent | string): void {
    this.#evidence.note(item);
    if (typeof item === 'string') this.#addText(item);
    else if (item.type === 'text') {
      if (this.#answer.hasText(item)) this.#addText(item.text);
    } else if (item.type === 'thinking') {
      if (this.#thinking !== undefined && this.#answer.hasThinking(item)) this.#add(this.#thinking, item.text);
    } else if (item.type === 'restart') this.#restart();
    else if (item.type === 'finish') this.#keep();
  }

  #addText(text: string): void {
    this.#chars += text.length;
    this.#add(this.#text, text);
  }

  #add(place: ElementText, text: string): void {
    const { maxWaitMs = 250, maxWaitingChars = 65_536 } = this.#options;
    if (text === '') return;
    place.add(text);
    if (this.#text.waiting + (this.#thinking?.waiting ?? 0) >= maxWaitingChars) this.#write();
    else if (this.#wait === undefined) {
      const wait = new Subscription();
      this.#wait = wait;
      wait.add(this.#clock.schedule(this.#onTime, maxWaitMs));
      wait.add(this.#frames.schedule(this.#onTime)); // last: it may be at once
    }
  }

  readonly #onTime = (): void => {
    this.#write();
  };

  /** @param isLast - half of a surrogate pair too: its other half will not come */
  #write(isLast = false): void {
    this.#wait?.unsubscribe();
    this.#wait = undefined;
    this.#change((place) => {
      place.write(isLast);
    });
  }

  /** An answer of which nothing was shown begins anew unseen. */
  #restart(): void {
    this.#change((place) => {
      place.restart();
    });
    this.#chars = this.#answer.chars;
    this.#answer = beginAnswer(this.#options, this.#chars);
  }

  #keep(): void {
    for (const place of this.#written) place.keep();
    this.#answer = beginAnswer(this.#options, this.#chars);
  }

  #change(change: (place: ElementText) => void): void {
    try {
      for (const place of this.#written) change(place);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const error = new SinkError(`<${this.#element.localName}> took no text: ${reason}`, { cause });
      this.#refused ??= { outcome: 'failed', error };
      this.#upstream?.unsubscribe();
    }
  }

  #tell(): void {
    const judged = this.#evidence.judge(this.#ending);
    const verdict = this.#refused === undefined ? judged : addFailure(judged, this.#refused);
    const bytes = this.#written.reduce((sum, place) => sum + place.bytes, 0);
    const receipt = this.#evidence.receipt(verdict, { where: 'element', chars: this.#chars, bytes });
    tellEnding(this.#evidence, this.#subscriber, verdict, receipt);
  }
}

/** One answer on its way, and the text that was shown before it. */
interface Answer {
  readonly hasText: ReturnType<typeof selectOutput>;
  readonly hasThinking: ReturnType<typeof selectOutput>;
  readonly chars: number;
}

function beginAnswer(options: OutputSelection, chars: number): Answer {
  return { hasText: selectOutput(options), hasThinking: selectOutput({ index: options.index }), chars };
}
