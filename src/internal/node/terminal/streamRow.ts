import type { FinishReason, ProgressEvent, StreamEvent, Usage, UsageEvent } from '../../../types.js';
import { type OutputSelection, selectOutput } from '../../selectOutput.js';
import { signOf } from '../../signOf.js';
import { endsInHalf } from '../../graphemes.js';
import { counted, grouped } from './measures.js';
import { Rate } from './rate.js';
import { linesOf, oneLine } from './screenText.js';

/** How the connection of a stream is, as far as its flow tells. */
export type Connection = 'connecting' | 'waiting' | 'streaming' | 'retrying' | 'failed' | 'paused';

/** Something that is worth a line. */
export type News =
  | { readonly kind: 'content'; readonly afterMs: number }
  | { readonly kind: 'status'; readonly status: string }
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'log'; readonly lines: readonly string[] }
  | { readonly kind: 'warning'; readonly text: string }
  | { readonly kind: 'restart'; readonly because: string };

/** What a row shows. */
export interface RowFacts {
  readonly name: string;
  readonly hue: number;
  readonly word: string;
  readonly tone: 'calm' | 'quiet' | 'alarmed';
  /** Of a part that is done, 0 to 1. */
  readonly fraction: number | undefined;
  readonly count: string;
  readonly rate: string;
  readonly firstMs: number | undefined;
  readonly elapsedMs: number;
  readonly tail: string;
  /** It is no text of the answer. */
  readonly isAside: boolean;
}

/** Code units of the end of a text that are kept: more than a row has columns for. */
const TAIL = 512;
/** Of a stream's name. */
const MAX_NAME_CHARS = 80;
/** A word of a provider's is shown as far as this. */
const WORD = 60;

/** One stream, as far as it has come. */
export class StreamRow {
  readonly hue: number;
  readonly startedAt: number;
  readonly #name: () => string;
  readonly #selection: OutputSelection;
  readonly #connection: () => Connection | undefined;

  usage: Usage | undefined;
  finish: FinishReason | undefined;
  chars = 0;
  firstMs: number | undefined;
  hasItems = false;

  #answer: Answer;
  /** What came last, in a word; none before there was anything. */
  #word: string | undefined;
  #status: string | undefined;
  #thinkingChars = 0;
  /** Output tokens were told while they were made, and not only once. */
  #tellsTokens = false;
  #tail = '';
  /** What the tail is of, other than the answer: its kind, and which one of it. */
  #aside: string | undefined;
  #fraction: number | undefined;
  /** Progress that was news. */
  #toldProgress = 0;
  #rate: Rate | undefined;
  /** The unit that the rate is of. */
  #rated: string | undefined;

  /** @param name - asked when it is shown, as `connection` is: both may be known later only */
  constructor(
    name: () => string,
    hue: number,
    startedAt: number,
    selection: OutputSelection,
    connection: () => Connection | undefined,
  ) {
    this.#name = name;
    this.hue = hue;
    this.startedAt = startedAt;
    this.#selection = selection;
    this.#connection = connection;
    this.#answer = beginAnswer(selection, 0);
  }

  get name(): string {
    return oneLine(this.#name().slice(0, MAX_NAME_CHARS));
  }

  /** Takes what came; tells what of it is worth a line. */
  take(item: StreamEvent | string, now: number): readonly News[] {
    this.hasItems = true;
    if (this.firstMs !== undefined || signOf(item) !== 'content') return this.#hear(item);
    const afterMs = now - this.startedAt;
    this.firstMs = afterMs;
    return [{ kind: 'content', afterMs }, ...this.#hear(item)];
  }

  /** Its state in a word. */
  get word(): string {
    return this.#state(this.#connection()).word;
  }

  /** What it shows now. To be called for each frame: the rate is measured from one to the next. */
  read(now: number): RowFacts {
    const connection = this.#connection();
    const [unit, count] = this.#count();
    return {
      name: this.name,
      hue: this.hue,
      ...this.#state(connection),
      fraction: this.#fraction,
      count: count === 0 ? '' : counted(count, unit),
      rate: this.#measure(unit, count, now),
      firstMs: this.firstMs,
      elapsedMs: now - this.startedAt,
      tail: readable(this.#tail),
      isAside: this.#aside !== undefined,
    };
  }

  #state(connection: Connection | undefined): Pick<RowFacts, 'word' | 'tone'> {
    switch (connection) {
      case 'connecting':
        return this.hasItems ? { word: 'reconnecting', tone: 'alarmed' } : { word: 'connecting', tone: 'quiet' };
      case 'retrying':
      case 'failed':
      case 'paused':
        return { word: connection, tone: 'alarmed' };
      case 'waiting':
        return { word: connection, tone: 'quiet' };
      default:
        return this.#word === undefined ? { word: 'waiting', tone: 'quiet' } : { word: this.#word, tone: 'calm' };
    }
  }

  /** A piece of text is no model token: tokens are what the provider reports, and otherwise characters are counted. */
  #count(): readonly [unit: string, count: number] {
    const tokens = this.#tellsTokens ? this.usage?.outputTokens : undefined;
    if (tokens !== undefined) return ['token', tokens];
    return ['char', this.chars === 0 ? this.#thinkingChars : this.chars];
  }

  #measure(unit: string, count: number, now: number): string {
    if (count === 0) return '';
    const rated = this.chars === 0 ? `${unit} of thinking` : unit;
    if (this.#rate === undefined || this.#rated !== rated) {
      this.#rate = new Rate(count, now);
      this.#rated = rated;
    }
    const perSecond = this.#rate.read(count, now);
    return perSecond === undefined ? '' : `${grouped(perSecond)}/s`;
  }

  #hear(item: StreamEvent | string): readonly News[] {
    if (typeof item === 'string') {
      this.#addText(item);
      return [];
    }
    switch (item.type) {
      case 'text':
        if (this.#answer.hasText(item)) this.#addText(item.text);
        return [];
      case 'refusal':
        if (this.#answer.hasRefusal(item)) this.#addAside('refusing', '', item.text);
        return [];
      case 'thinking':
        if (!this.#answer.hasThinking(item)) return [];
        this.#thinkingChars += item.text.length;
        this.#addAside('thinking', '', item.text);
        return [];
      case 'tool-call-delta':
        this.#addAside('tool call', `${item.name} `, item.argumentsDelta, item.id);
        return [];
      case 'tool-call':
        this.#setAside(`${item.name} ${item.argumentsText.slice(-TAIL)}`, 'tool call');
        return [];
      case 'tool-result':
        this.#setAside(item.name, item.isError === true ? 'tool failed' : 'tool result');
        return [];
      case 'media':
        this.#setAside(item.kind, 'media');
        return [];
      case 'output':
        if (typeof item.value === 'string' && this.chars === 0) this.#setAside(item.value.slice(-TAIL));
        return [];
      case 'status':
        return this.#setStatus(item.status);
      case 'progress':
        return this.#setProgress(item);
      case 'log': {
        const lines = linesOf(item.message);
        if (this.chars === 0) this.#setAside((lines.at(-1) ?? '').slice(0, TAIL));
        return [{ kind: 'log', lines }];
      }
      case 'warning':
        return [{ kind: 'warning', text: oneLine(`${item.code}: ${item.message}`) }];
      case 'heartbeat':
        if (this.firstMs === undefined && item.comment !== '') this.#setAside(item.comment.slice(0, TAIL));
        return [];
      case 'usage':
        this.#setUsage(item);
        return [];
      case 'restart':
        return this.#restart(item.because);
      case 'finish':
        this.finish = item.reason;
        this.#answer = beginAnswer(this.#selection, this.chars);
        return [];
      case 'raw':
        return [];
    }
  }

  #addText(text: string): void {
    this.chars += text.length;
    this.#word = 'streaming';
    this.#tail = endOf(this.#aside === undefined ? this.#tail : '', text);
    this.#aside = undefined;
  }

  /** @param which - of several of a kind, each of which begins with `start` */
  #addAside(word: string, start: string, text: string, which = ''): void {
    const aside = `${word} ${which}`;
    this.#tail = endOf(this.#aside === aside ? this.#tail : start, text);
    this.#aside = aside;
    this.#word = word;
  }

  #setAside(text: string, word: string | undefined = this.#word): void {
    this.#tail = text;
    this.#aside = '';
    this.#word = word;
  }

  #setStatus(text: string): readonly News[] {
    const status = oneLine(text.slice(0, WORD));
    this.#word = status;
    if (status === this.#status) return [];
    this.#status = status;
    return [{ kind: 'status', status }];
  }

  #setProgress({ current, total = 0, message }: ProgressEvent): readonly News[] {
    const [done, whole] = [measure(current), measure(total)];
    if (whole > 0) this.#fraction = Math.max(this.#fraction ?? 0, Math.min(1, done / whole));
    if (this.#status === undefined && this.chars === 0) this.#word = 'working';
    const said = message === undefined ? '' : oneLine(message.slice(0, TAIL));
    if (said !== '' && this.chars === 0) this.#setAside(said);
    // Each tenth of the whole or, where that is not known, each doubling.
    const step = this.#fraction === undefined ? done : Math.floor(this.#fraction * 10 + 1e-9);
    const next = this.#fraction === undefined ? Math.max(1, 2 * this.#toldProgress) : this.#toldProgress + 1;
    if (step < next) return [];
    this.#toldProgress = step;
    const extent =
      whole > 0 ? `${grouped(100 * (this.#fraction ?? 0))} % (${exact(done)} of ${exact(whole)})` : exact(done);
    return [{ kind: 'progress', text: `${extent} ${said}`.trimEnd() }];
  }

  #setUsage({ type: _, ...usage }: UsageEvent): void {
    const before = this.usage?.outputTokens;
    // One that comes once only says nothing of how far the answer is; some providers tell a first guess.
    if (before !== undefined && (usage.outputTokens ?? 0) > before && this.finish === undefined)
      this.#tellsTokens = true;
    this.usage = usage;
  }

  #restart(because: string): readonly News[] {
    this.chars = this.#answer.charsBefore;
    this.#answer = beginAnswer(this.#selection, this.chars);
    this.#thinkingChars = 0;
    this.#tail = '';
    this.#aside = undefined;
    this.#word = undefined;
    this.#status = undefined;
    this.#fraction = undefined;
    this.#toldProgress = 0;
    this.#tellsTokens = false;
    this.#rate = undefined;
    return this.firstMs === undefined ? [] : [{ kind: 'restart', because: oneLine(because) }];
  }
}

/** One answer on its way, and the text before it. */
interface Answer {
  readonly hasText: ReturnType<typeof selectOutput>;
  readonly hasThinking: ReturnType<typeof selectOutput>;
  readonly hasRefusal: ReturnType<typeof selectOutput>;
  readonly charsBefore: number;
}

function beginAnswer(selection: OutputSelection, charsBefore: number): Answer {
  const { index } = selection;
  return {
    hasText: selectOutput(selection),
    hasThinking: selectOutput({ index }),
    hasRefusal: selectOutput({ index }),
    charsBefore,
  };
}

/** The end of a text that has grown. */
function endOf(text: string, more: string): string {
  return (text + more.slice(-TAIL)).slice(-TAIL);
}

/** A piece of text that may begin and end inside of a character. */
function readable(text: string): string {
  const whole = endsInHalf(text) ? text.slice(0, -1) : text;
  return oneLine(whole.replace(/^[\udc00-\udfff]/, ''))
    .replace(/^[\p{M}\u200d\s]+/u, '')
    .trimEnd();
}

function measure(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}

/** A number of steps, or of units that need not be whole. */
function exact(value: number): string {
  return Number.isInteger(value) ? grouped(value) : String(Number(value.toPrecision(3)));
}
