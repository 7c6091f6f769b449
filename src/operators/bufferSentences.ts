import { asyncScheduler, type OperatorFunction, type SchedulerLike, type Subscription } from 'rxjs';
import { link, operate } from '../internal/operate.js';
import { requireAtLeast, requireDelay, requireOneOf } from '../internal/require.js';
import { createSentences, type Sentences } from '../protocol/sentences.js';
import type { RefusalEvent, StreamEvent, TextEvent, ThinkingEvent } from '../types.js';

/** How `bufferSentences` divides text, and how long it waits. @public */
export interface BufferSentencesOptions {
  /**
   * The language at hand: a BCP 47 tag, or several. Most of what ends a sentence is known by its script, and abbreviations of
   * many languages are known always; the tag adds what would be wrong elsewhere: German ordinals before any noun, words that
   * are abbreviations in one language only. Never the machine's own language: the same text gives the same sentences everywhere.
   * @defaultValue `'en'`, whose rules for the ends of sentences are the Unicode rules for all languages
   */
  readonly locale?: string | readonly string[] | undefined;
  /**
   * Abbreviations after which no sentence ends, besides the built-in ones; with or without their last stop, in any case.
   * @defaultValue none
   */
  readonly abbreviations?: readonly string[] | undefined;
  /**
   * Fenced code. `'whole'`: one piece, from fence to fence, which `maxWaitMs` does not cut. `'lines'`: a piece for each line.
   * @defaultValue `'whole'`
   */
  readonly code?: 'whole' | 'lines' | undefined;
  /**
   * The longest text held for one output, in UTF-16 code units; at least 1. One more, and a piece ends before its sentence does:
   * after a clause, else after a word, else between two grapheme clusters. A single cluster may be 64 longer.
   * @defaultValue 16,384: chosen; longer than any sentence, and than the usual block of code
   */
  readonly maxChars?: number | undefined;
  /**
   * The longest time that text waits for the end of its sentence, from the first character that is held, or from the last
   * piece that was emitted. Then what is held is emitted up to its last whole word, so that speech goes on where a model pauses.
   * A word that may still go on is held until it does, or until the end.
   * @defaultValue no limit: then pieces depend on the text alone
   */
  readonly maxWaitMs?: number | undefined;
  /** The clock of `maxWaitMs`. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

type Piece = TextEvent | ThinkingEvent | RefusalEvent;

/** Text of one output, waiting. */
interface Held<T> {
  readonly sentences: Sentences;
  /** Makes a piece in the shape of what came last. */
  wrap: (text: string) => T;
  readonly place: Piece | undefined;
  timer: Subscription | undefined;
}

/** Beyond this many outputs at once the oldest is given up waiting for. */
const MAX_OUTPUTS = 64;

/**
 * Gives text in whole sentences, each as soon as it is certain: for a voice, a translator, or a reader who dislikes half ones.
 *
 * ```text
 * source     -a-b-c--d-|        a = 'It is 3', b = '.5 m. D', c = 'r. No s', d = 'ank. Go'
 * result     ---x----y-(z|)     x = 'It is 3.5 m. ', y = 'Dr. No sank. ', z = 'Go'
 * ```
 * Strings in, strings out; StreamEvents in, StreamEvents out. Every character is kept: joined, the pieces are the text. Space
 * after a sentence belongs to it. A sentence is certain when `Intl.Segmenter` still sees its end after the next word has begun
 * and that end is none of an abbreviation, a number, an address, a quotation that goes on. A heading, a row of a table and fenced
 * code are pieces of their own, an item of a list and a paragraph begin a new one. Without the two limits, pieces depend on
 * the text alone, never on how it was cut.
 *
 * Emits sentences of text, thinking and refusals, each output's apart; usage, status, progress, logs, warnings, heartbeats and raw
 * frames at once; other events after what is held of their output. Text of another output, or of another kind, ends the one
 * before; alternative answers, and outputs that take turns, are kept apart. `restart` empties what is held and passes.
 * Completes after emitting what is held. Errors with the source's error, after emitting what is held. Unsubscribing drops
 * what is held and cancels the timer. Holds at most `maxChars` for each of 64 outputs, and some 1,300 characters more that
 * decisions look back at; where more outputs have begun, what is held of the oldest is emitted.
 *
 * @example Speak while the model writes
 * ```ts
 * fromCall(api.chat({ model, messages }))
 *   .pipe(toTokens(), bufferSentences({ maxWaitMs: 800 }))
 *   .subscribe((sentence) => log(sentence.trim()));
 * ```
 * @param options - see {@link BufferSentencesOptions}
 * @returns an operator; the rules are prepared now, nothing is scheduled before the first character
 * @throws RangeError for a limit out of range, and for a `locale` that is none; TypeError for an unknown `code`, or for
 * `abbreviations` that are no texts
 * @see {@link https://unicode.org/reports/tr29/#Sentence_Boundaries | UAX 29, sentence boundaries}
 * @public
 */
export function bufferSentences<T extends string | StreamEvent>(
  options: BufferSentencesOptions = {},
): OperatorFunction<T, T> {
  const { locale = 'en', abbreviations = [], code = 'whole', maxChars = 16_384, maxWaitMs, scheduler } = options;
  const clock = scheduler ?? asyncScheduler;
  requireOneOf('code', code, ['whole', 'lines']);
  requireAtLeast(1, { maxChars });
  if (maxWaitMs !== undefined) requireDelay(0, { maxWaitMs });
  requireWords(abbreviations);
  const locales = typeof locale === 'string' ? [locale] : [...locale];
  const start = createSentences({ locales, abbreviations, code, maxChars });

  return operate((source, subscriber) => {
    const outputs = new Map<string, Held<T>>();
    /** Outputs that were taken for ended when another one began. */
    const left = new Set<string>();
    /** One of those went on: they take turns. */
    let takesTurns = false;
    let waiting: T[] = [];
    let isEmitting = false;
    let finish: (() => void) | undefined;

    /** Emits in order, also where the subscriber feeds the source from inside `next`. */
    const emit = (): void => {
      if (isEmitting) return;
      isEmitting = true;
      try {
        while (waiting.length > 0 && !subscriber.closed) {
          const batch = waiting;
          waiting = [];
          for (const value of batch) subscriber.next(value);
        }
      } finally {
        isEmitting = false;
      }
      finish?.();
    };
    const drop = (): void => {
      for (const { timer } of outputs.values()) timer?.unsubscribe();
      outputs.clear();
    };
    const take = (held: Held<T>, pieces: readonly string[]): void => {
      for (const piece of pieces) waiting.push(held.wrap(piece));
    };
    const endOutput = (key: string, held: Held<T>): void => {
      held.timer?.unsubscribe();
      outputs.delete(key);
      take(held, held.sentences.end());
    };
    const endAll = (): void => {
      for (const [key, held] of outputs) endOutput(key, held);
    };
    /** Starts the clock of what waits; a piece that was emitted starts it anew. */
    const wait = (held: Held<T>, isAnew: boolean): void => {
      if (maxWaitMs === undefined || (held.timer !== undefined && !isAnew)) return;
      held.timer?.unsubscribe();
      held.timer = held.sentences.isHolding
        ? clock.schedule(() => {
            held.timer = undefined;
            take(held, held.sentences.flush());
            emit();
          }, maxWaitMs)
        : undefined;
    };
    const hold = (key: string, place: Piece | undefined, text: string, wrap: (text: string) => T): void => {
      let held = outputs.get(key);
      if (held === undefined) {
        held = { sentences: start(), wrap, place, timer: undefined };
        outputs.set(key, held);
        const [oldest] = outputs;
        if (outputs.size > MAX_OUTPUTS && oldest !== undefined) endOutput(...oldest);
      }
      held.wrap = wrap;
      const pieces = held.sentences.push(text);
      take(held, pieces);
      wait(held, pieces.length > 0);
    };
    /** Ends the outputs before one that begins or goes on at `index`. */
    const endOthers = (index: number, isAlternative: boolean, own: string | undefined): void => {
      for (const [key, held] of outputs) {
        if (key === own || held.place === undefined) continue;
        const isSame = held.place.index === index;
        if (!isSame && (takesTurns || isAlternative || held.place.alternative === true)) continue;
        if (!isSame) left.add(key);
        endOutput(key, held);
      }
    };
    const hear = (event: StreamEvent, value: T): void => {
      switch (event.type) {
        case 'text':
        case 'thinking':
        case 'refusal': {
          const key = JSON.stringify([event.type, event.index, event.name]);
          takesTurns ||= left.has(key);
          endOthers(event.index, event.alternative === true, key);
          // The event that came, with another text: it is of the same type.
          hold(key, event, event.text, (text) => ({ ...event, text }) as StreamEvent as T);
          return;
        }
        case 'tool-call-delta':
        case 'tool-call':
        case 'media':
          endOthers(event.index, event.alternative === true, undefined);
          break;
        case 'output':
          if (event.final) endAll();
          break;
        case 'finish':
          endAll();
          break;
        case 'restart':
          drop();
          left.clear();
          takesTurns = false;
          break;
        default:
          break;
      }
      waiting.push(value);
    };
    subscriber.add(() => {
      drop();
      waiting = [];
    });
    source.subscribe(
      link<T>(subscriber, {
        next: (value) => {
          if (typeof value === 'string') hold('', undefined, value, (text) => text as T);
          else hear(value, value);
          emit();
        },
        error: (error) => {
          endAll();
          finish = () => {
            subscriber.error(error);
          };
          emit();
        },
        complete: () => {
          endAll();
          finish = () => {
            subscriber.complete();
          };
          emit();
        },
      }),
    );
  });
}

function requireWords(abbreviations: readonly string[]): void {
  if (!Array.isArray(abbreviations)) throw new TypeError(`abbreviations must be a list, got ${typeof abbreviations}`);
  for (const word of abbreviations as readonly unknown[]) {
    if (typeof word !== 'string' || word.trim() === '') {
      throw new TypeError(`abbreviations must be texts that are not blank, got ${typeof word}`);
    }
  }
}
