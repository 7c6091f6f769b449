import { closesFence, LINE_START_CHARS, readLineStart } from './markdownLine.js';
import { safeCut, type SafeCut } from './safeCut.js';
import {
  AHEAD_CHARS,
  type Before,
  BEFORE_CHARS,
  findTrigger,
  judgeNewline,
  judgeStop,
  judgeThaiSpace,
  type SentenceRules,
  sentenceRules,
} from './sentenceRules.js';

/** How text is divided. */
export interface SentencesOptions {
  readonly locales: readonly string[];
  /** Abbreviations after which no sentence ends, besides the built-in ones. */
  readonly abbreviations: readonly string[];
  /** Fenced code: one piece, or a piece for each line. */
  readonly code: 'whole' | 'lines';
  /** More than this is not held: a piece ends before its sentence does. */
  readonly maxChars: number;
}

/**
 * Takes a text in pieces and gives it back in sentences: nothing added, nothing left out. Where a sentence ends depends on the
 * text alone, never on how it came.
 */
export interface Sentences {
  /** True while anything is held. */
  readonly isHolding: boolean;
  /** The sentences that are certain now. */
  push(text: string): string[];
  /** What is held, up to the last whole word; fenced code that is one piece stays. */
  flush(): string[];
  /** Nothing more comes: all that is held. */
  end(): string[];
}

/** Kept before the place where reading is, since decisions and cuts look back. More than `BEFORE_CHARS`. */
const CONTEXT_CHARS = 256;
/** Text is put aside in portions of about this size, so that reading along costs the same however it is cut. */
const PORTION_CHARS = 1024;
/** A grapheme cluster that is longer than `maxChars` and this is cut; the longest emoji have 35. */
const CLUSTER_CHARS = 64;
/** Beyond this an open bracket or backtick is just that. */
const LINK_CHARS = 120;
const TARGET_CHARS = 512;
const CODE_CHARS = 256;

const NEWLINE = /[\n\u2028\u2029]/gu;
const TICKS = /`+|[\n\u2028\u2029]/gu;
const LINK_TEXT = /[[\]\n\u2028\u2029]/gu;
const LINK_TARGET = /[()\n\u2028\u2029]/gu;
/** A stop, and what closes after it, before the bracket that ends a link's text. */
const ENDED_LINK = /([.!?…。！？]+)["'”’»*_)]*$/u;
/** Said at once: a stop or a bracket after which a word is whole. */
const ENDS_WHOLE = /[\s.!?…。！？।؟۔"'”’»)\]}」』）]$/u;
const HIGH_SURROGATE = /[\ud800-\udbff]$/;

/** What is being read. All but `text` and `stop` reach to the end of a line at most, and `fence` to its closing line. */
type State =
  | { readonly kind: 'line' }
  | { readonly kind: 'text' }
  /** `stops` stand before the place, at the end of a link's text; none where they follow. */
  | { readonly kind: 'stop'; readonly stops: string; readonly before: Before | undefined }
  | { readonly kind: 'code'; readonly ticks: number; left: number }
  | { readonly kind: 'link'; depth: number; left: number }
  | {
      readonly kind: 'target';
      depth: number;
      left: number;
      readonly stops: string;
      readonly before: Before | undefined;
    }
  | { readonly kind: 'unit' }
  | { readonly kind: 'fence'; readonly fence: string; isLong: boolean };

/** What the line before the one that begins was. */
type LineBefore = { readonly kind: 'none' | 'unit' } | { readonly kind: 'text'; readonly before: Before };

const LINE: State = { kind: 'line' };
const TEXT: State = { kind: 'text' };
const STOP: State = { kind: 'stop', stops: '', before: undefined };
const UNIT: State = { kind: 'unit' };
const NO_LINE: LineBefore = { kind: 'none' };
const UNIT_LINE: LineBefore = { kind: 'unit' };

/** Makes what {@link Sentences} takes: the tables of the languages are made once, each text is divided by one instance. */
export function createSentences(options: SentencesOptions): () => Sentences {
  const rules = sentenceRules(options.locales, options.abbreviations);
  const cut = safeCut(options.locales);
  return () => new Splitter(options, rules, cut);
}

class Splitter implements Sentences {
  readonly #options: SentencesOptions;
  readonly #rules: SentenceRules;
  readonly #cut: SafeCut;

  /** Held text that needs no more looking at; what follows it begins at `#from`. */
  #head = '';
  /** The text around the place where reading is. */
  #text = '';
  /** Where the held part of `#text` begins. */
  #from = 0;
  /** Where reading is. */
  #at = 0;
  /** Where the sentence begins, whether or not its beginning is still held. */
  #sentence = 0;
  /** Where the line begins that is being looked at. */
  #line = 0;
  #state: State = LINE;
  #lineBefore: LineBefore = NO_LINE;
  /** The line before the one that begins was quoted; the one that begins is. */
  #wasQuoted = false;
  #isQuoted = false;
  #pieces: string[] = [];

  constructor(options: SentencesOptions, rules: SentenceRules, cut: SafeCut) {
    this.#options = options;
    this.#rules = rules;
    this.#cut = cut;
  }

  get isHolding(): boolean {
    return this.#heldChars > 0;
  }

  push(text: string): string[] {
    const { maxChars } = this.#options;
    for (let from = 0; from < text.length;) {
      const room = Math.max(1, Math.floor(maxChars + 1 - this.#heldChars));
      this.#text += from === 0 && room >= text.length ? text : text.slice(from, from + room);
      from += room;
      this.#read();
      while (this.#heldChars > maxChars && this.#cutShort());
      this.#putAside();
    }
    return this.#takePieces();
  }

  flush(): string[] {
    if (this.#state.kind === 'fence' && this.#options.code === 'whole') return [];
    const window = this.#text;
    const isWhole = ENDS_WHOLE.test(window);
    const place = isWhole ? window.length : this.#cut.atWord(window, window.length - 1);
    if (this.#heldTo(place).trim() !== '') this.#emitTo(place);
    return this.#takePieces();
  }

  end(): string[] {
    // A line's end decides whatever is open; it is taken back afterwards.
    this.#text += '\n';
    this.#read();
    const rest = this.#heldTo(this.#text.length);
    if (rest !== '') this.#pieces.push(rest);
    const last = this.#pieces.pop()?.slice(0, -1) ?? '';
    if (last !== '') this.#pieces.push(last);
    this.#head = '';
    this.#from = this.#text.length;
    return this.#takePieces();
  }

  get #heldChars(): number {
    return this.#head.length + this.#text.length - this.#from;
  }

  #takePieces(): string[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces;
  }

  #read(): void {
    while (this.#step());
  }

  /** Reads on; false when more text is needed. */
  #step(): boolean {
    const state = this.#state;
    switch (state.kind) {
      case 'line':
        return this.#readLine();
      case 'text':
        return this.#readText();
      case 'stop':
        return this.#readStop(state.stops, state.before);
      case 'code':
        return this.#readCode(state);
      case 'link':
        return this.#readLink(state);
      case 'target':
        return this.#readTarget(state);
      case 'unit':
        return this.#readUnit();
      case 'fence':
        return this.#readFence(state);
    }
  }

  #readLine(): boolean {
    const start = this.#text.slice(this.#at, this.#at + LINE_START_CHARS);
    if (this.#lineBefore.kind === 'unit') {
      // After a heading, a row or code the line need not be understood, but a blank one belongs to what is before it.
      const first = start.search(/[^ \t\r]/u);
      if (first === -1 && start.length < LINE_START_CHARS) return false;
      if (first === -1 || start.charAt(first) !== '\n') {
        this.#endAt(this.#line);
        this.#lineBefore = NO_LINE;
      }
    }
    const line = readLineStart(start);
    if (line === undefined) return false;
    const next = this.#at + line.length;
    switch (line.kind) {
      case 'blank':
        if (this.#lineBefore.kind !== 'none') this.#endAt(next);
        this.#beginLine(next, NO_LINE);
        return true;
      case 'quote':
        if (!this.#wasQuoted || next - this.#line > LINE_START_CHARS) this.#endBlock();
        this.#isQuoted = true;
        this.#at = next;
        if (this.#lineBefore.kind === 'none') this.#line = next;
        return true;
      case 'item':
        this.#endBlock();
        this.#at = next;
        this.#line = next;
        return true;
      case 'rule':
        this.#endBlock();
        this.#beginLine(next, UNIT_LINE);
        return true;
      case 'fence':
        this.#endBlock();
        this.#state = { kind: 'fence', fence: line.fence ?? '', isLong: false };
        this.#at = next;
        if (this.#options.code === 'lines') this.#emitTo(next);
        return true;
      case 'unit':
        this.#endBlock();
        this.#state = UNIT;
        this.#at = next;
        return true;
      case 'text':
        return this.#joinLine();
    }
  }

  /** A line of text begins: the sentence before it goes on or not. */
  #joinLine(): boolean {
    if (this.#lineBefore.kind === 'text') {
      const ahead = this.#text.slice(this.#at, this.#at + AHEAD_CHARS);
      const ends = judgeNewline(this.#lineBefore.before, ahead, this.#rules);
      if (ends === undefined) return false;
      if (ends) this.#endAt(this.#line);
    }
    this.#lineBefore = NO_LINE;
    this.#state = TEXT;
    return true;
  }

  /** Another block begins with this line. */
  #endBlock(): void {
    if (this.#lineBefore.kind !== 'none') this.#endAt(this.#line);
    this.#lineBefore = NO_LINE;
  }

  #beginLine(at: number, before: LineBefore): void {
    this.#at = at;
    this.#line = at;
    this.#lineBefore = before;
    this.#wasQuoted = this.#isQuoted && before.kind !== 'none';
    this.#isQuoted = false;
    this.#state = LINE;
  }

  /** The line of text ends before `newline`; the next one is behind it. */
  #endLine(newline: number): void {
    this.#beginLine(newline + 1, { kind: 'text', before: this.#before(newline) });
  }

  #readText(): boolean {
    const found = findTrigger(this.#text, this.#at);
    if (found === undefined) {
      this.#at = Math.max(this.#at, this.#text.length - (HIGH_SURROGATE.test(this.#text) ? 1 : 0));
      return false;
    }
    const { index, 0: sign } = found;
    this.#at = index;
    switch (sign) {
      case '\n':
      case '\u2028':
      case '\u2029':
        this.#endLine(index);
        return true;
      case ' ':
      case '\u00a0':
        return this.#readThaiSpace();
      case '[':
        this.#state = { kind: 'link', depth: 0, left: LINK_CHARS };
        return true;
      case '`': {
        const { length } = /^`+/u.exec(this.#text.slice(index, index + CODE_CHARS))?.[0] ?? sign;
        if (length < CODE_CHARS && index + length === this.#text.length) return false;
        this.#at = index + length;
        if (length < CODE_CHARS) this.#state = { kind: 'code', ticks: length, left: CODE_CHARS };
        return true;
      }
      default:
        this.#state = STOP;
        return true;
    }
  }

  #readStop(stops: string, known: Before | undefined): boolean {
    const at = this.#at - stops.length;
    const ahead = stops + this.#text.slice(this.#at, this.#at + AHEAD_CHARS - stops.length);
    const verdict = judgeStop(known ?? this.#before(this.#at), ahead, this.#rules);
    if (verdict === undefined) return false;
    this.#state = TEXT;
    const place = at + verdict.at;
    if (verdict.kind === 'newline') {
      this.#endLine(place);
      return true;
    }
    this.#at = Math.max(this.#at, place);
    if (verdict.kind === 'boundary') this.#endAt(place);
    return true;
  }

  #readThaiSpace(): boolean {
    const ahead = this.#text.slice(this.#at, this.#at + AHEAD_CHARS);
    const verdict = judgeThaiSpace(this.#before(this.#at).text, this.#at - this.#sentence, ahead);
    if (verdict === undefined) return false;
    this.#at += verdict.at;
    if (verdict.kind === 'boundary') this.#endAt(this.#at);
    return true;
  }

  #readCode(state: Extract<State, { kind: 'code' }>): boolean {
    const found = this.#search(TICKS);
    const start = found?.index ?? this.#text.length;
    if (start - this.#at >= state.left) return this.#giveUp(state.left);
    if (found === undefined) {
      state.left -= start - this.#at;
      this.#at = start;
      return false;
    }
    const { 0: ticks } = found;
    if (!ticks.startsWith('`')) return this.#giveUp(start - this.#at);
    const end = start + ticks.length;
    if (end - this.#at >= state.left) return this.#giveUp(state.left);
    // More of them may come.
    if (end === this.#text.length) return false;
    state.left -= end - this.#at;
    this.#at = end;
    if (ticks.length === state.ticks) this.#state = TEXT;
    return true;
  }

  #readLink(state: Extract<State, { kind: 'link' }>): boolean {
    const found = this.#search(LINK_TEXT);
    const start = found?.index ?? this.#text.length;
    if (start - this.#at >= state.left) return this.#giveUp(state.left);
    state.left -= start - this.#at;
    this.#at = start;
    if (found === undefined) return false;
    const { 0: sign } = found;
    if (sign !== '[' && sign !== ']') return this.#giveUp(0);
    if (sign === ']' && state.depth === 1) {
      const next = this.#text.charAt(start + 1);
      if (next === '') return false;
      const text = this.#before(start);
      const stops = ENDED_LINK.exec(text.text);
      const before = stops === null ? undefined : { text: text.text.slice(0, stops.index), isWhole: text.isWhole };
      this.#at = start + 1;
      if (next === '(') {
        this.#state = { kind: 'target', depth: 0, left: TARGET_CHARS, stops: stops?.[1] ?? '', before };
      } else {
        this.#state = before === undefined ? TEXT : { kind: 'stop', stops: stops?.[1] ?? '', before };
      }
      return true;
    }
    state.depth += sign === '[' ? 1 : -1;
    state.left -= 1;
    this.#at += 1;
    return true;
  }

  #readTarget(state: Extract<State, { kind: 'target' }>): boolean {
    const found = this.#search(LINK_TARGET);
    const start = found?.index ?? this.#text.length;
    if (start - this.#at >= state.left) return this.#giveUp(state.left);
    state.left -= start - this.#at;
    this.#at = start;
    if (found === undefined) return false;
    const { 0: sign } = found;
    if (sign !== '(' && sign !== ')') return this.#giveUp(0);
    state.depth += sign === '(' ? 1 : -1;
    state.left -= 1;
    this.#at += 1;
    if (state.depth > 0) return true;
    const { stops, before } = state;
    this.#state = before === undefined ? TEXT : { kind: 'stop', stops, before };
    return true;
  }

  /** What looked like code or a link is none, or goes on too long: reads on as text. */
  #giveUp(chars: number): true {
    this.#at += chars;
    this.#state = TEXT;
    return true;
  }

  #readUnit(): boolean {
    const index = this.#search(NEWLINE)?.index;
    if (index === undefined) {
      this.#at = this.#text.length;
      return false;
    }
    this.#beginLine(index + 1, UNIT_LINE);
    return true;
  }

  #readFence(state: Extract<State, { kind: 'fence' }>): boolean {
    const end = this.#text.indexOf('\n', this.#at);
    if (end === -1) {
      if (this.#text.length - this.#at <= LINE_START_CHARS) return false;
      // Too long to be the closing line: only its end matters.
      state.isLong = true;
      this.#at = this.#text.length;
      return false;
    }
    const line = this.#text.slice(this.#at, end);
    const isLong = state.isLong || line.length > LINE_START_CHARS;
    state.isLong = false;
    this.#at = end + 1;
    if (!isLong && closesFence(line, state.fence)) this.#beginLine(end + 1, UNIT_LINE);
    else if (this.#options.code === 'lines') this.#emitTo(end + 1);
    return true;
  }

  #search(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#text) ?? undefined;
  }

  /** The sentence up to `at`, or its end. */
  #before(at: number): Before {
    const start = Math.max(this.#sentence, at - BEFORE_CHARS, 0);
    return { text: this.#text.slice(start, at), isWhole: start === this.#sentence };
  }

  /** A sentence ends. Where a bound has cut it short there may be nothing left of it but space, which the next one takes. */
  #endAt(at: number): void {
    this.#sentence = at;
    if (this.#heldTo(at).trim() !== '') this.#emitTo(at);
  }

  /** Ends a piece although its sentence goes on. False when the last character may still be one with what follows. */
  #cutShort(): boolean {
    const { maxChars } = this.#options;
    // Half of a character does not tell whether it goes with what is before it.
    if (HIGH_SURROGATE.test(this.#text) && this.#heldChars <= maxChars + CLUSTER_CHARS) return false;
    const first = this.#head === '' ? this.#from : 0;
    const start = Math.max(first, this.#text.length - CONTEXT_CHARS);
    const max = Math.floor(this.#text.length - (this.#heldChars - maxChars));
    const prefer = this.#state.kind === 'fence' ? 'line' : 'clause';
    let place = start + this.#cut.anywhere(this.#text.slice(start), max - start, prefer);
    if (place <= first && this.#heldChars > maxChars + CLUSTER_CHARS) {
      place = this.#text.length - 1;
      if (HIGH_SURROGATE.test(this.#text.charAt(place - 1))) place -= 1;
    }
    if (place <= first) return false;
    this.#emitTo(place);
    return true;
  }

  #heldTo(at: number): string {
    if (at >= this.#from) return this.#head + this.#text.slice(this.#from, at);
    return this.#head.slice(0, Math.max(0, this.#head.length - (this.#from - at)));
  }

  #emitTo(at: number): void {
    this.#pieces.push(this.#heldTo(at));
    this.#head = '';
    this.#from = at;
  }

  /** Lets go of text that no decision needs. */
  #putAside(): void {
    const needed = Math.min(this.#at, this.#state.kind === 'line' ? this.#line : this.#at);
    if (needed < PORTION_CHARS) return;
    const cut = needed - CONTEXT_CHARS;
    if (this.#from < needed) {
      this.#head += this.#text.slice(this.#from, needed);
      this.#from = needed;
    }
    this.#text = this.#text.slice(cut);
    this.#from -= cut;
    this.#at -= cut;
    this.#line -= cut;
    this.#sentence -= cut;
  }
}
