import {
  type Abbreviations,
  abbreviationsFor,
  isMonth,
  isStarter,
  type StopClass,
  writesOrdinalsWithStop,
} from './abbreviations.js';

/** How sentences end in the language at hand. */
export interface SentenceRules {
  readonly segmenter: Intl.Segmenter;
  readonly abbreviations: Abbreviations;
  /** `3.` is how the language writes `3rd`. */
  readonly hasOrdinals: boolean;
}

/** What stands before a place where a sentence may end. */
export interface Before {
  readonly text: string;
  /** True when `text` begins where the sentence does. */
  readonly isWhole: boolean;
}

/**
 * What becomes of a stop: a sentence ends at `at`; a line ends at `at`, and the next one decides; or nothing ends, and reading
 * goes on at `at`. Undefined while more text is needed.
 */
export type Verdict = { readonly kind: 'boundary' | 'newline' | 'none'; readonly at: number } | undefined;

/** As much of a sentence as a decision looks back at. */
export const BEFORE_CHARS = 200;
/** As much as a decision looks ahead; where that is not enough, nothing ends. */
export const AHEAD_CHARS = 160;

/** So many stops and brackets, spaces between, still belong to a stop. */
const LATE_ROUNDS = 8;

/** What never stands at the beginning of a grapheme cluster, as far as text has it. */
const EXTEND = '\\p{M}\\p{Emoji_Modifier}\\u200c-\\u200d\\u0e33\\u0eb3\\uff9e\\uff9f\\u{e0020}-\\u{e007f}';
const STOP = '\\p{Sentence_Terminal}\\u2025\\u2026\\u22ef\\u037e';
const SPACE = '\\p{Zs}\\t\\r\\v\\f';
const NEWLINE = '\\n\\u2028\\u2029';
const PICTURE = '\\p{Extended_Pictographic}\\p{Regional_Indicator}';
const MARKUP = '*_~';
/** Letters of scripts that put no space between words. */
const UNSPACED = '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Bopomofo}';

const TRIGGER = new RegExp(
  `[${STOP}${NEWLINE}\`[]|(?<=\\p{Script=Greek}{2});|(?<=[\\u0e01-\\u0e3a\\u0e40-\\u0e4e\\u0e81-\\u0ede])[ \\u00a0]`,
  'gu',
);
/** Ends a text that ends with a stop and what closes after it. */
const ENDS_WITH_STOP = new RegExp(
  `(?<run>(?<=\\p{Script=Greek}{2});|[${STOP}]+)(?<closers>[\\p{Pe}\\p{Pf}\\p{Pi}"'${MARKUP}${PICTURE}${EXTEND}]*)$`,
  'u',
);

const RUN = new RegExp(`(?:^;|[${STOP}]+)[${EXTEND}]*`, 'uy');
const CLOSERS = new RegExp(
  `(?:[\\p{Pe}\\p{Pf}\\p{Pi}"'\\u00b9\\u00b2\\u00b3\\u2070-\\u2089${MARKUP}${PICTURE}${EXTEND}])+`,
  'uy',
);
/** After a stop that needs no space, an opening quote begins the next sentence. */
const FULL_CLOSERS = new RegExp(`[\\p{Pe}\\p{Pf}${PICTURE}${EXTEND}]+`, 'uy');
const NOTE = new RegExp(`(?:\\[\\^?\\w{1,8}\\][${EXTEND}]*)+`, 'uy');
const SPACES = new RegExp(`(?:[${SPACE}][${EXTEND}]*)+`, 'uy');
const LATE_CLOSERS = new RegExp(`[)\\]}][${EXTEND}]*`, 'uy');
const LATE_STOPS = new RegExp(`[.!?…]+[${EXTEND}]*`, 'uy');
const OPENERS = new RegExp(`(?:[-–—―«‹][${SPACE}]*|[\\p{Ps}\\p{Pi}\\p{Pf}"'${MARKUP}¿¡•…])+`, 'uy');

/** Single stops that end nothing unless a space follows: they stand inside numbers, names and addresses. */
const SPACED_STOP = /^[.!?‼⁇⁈⁉․﹒﹖﹗．…‥⋯;\u037e]/u;
const NEWLINE_CHAR = new RegExp(`^[${NEWLINE}]`, 'u');
const CONTINUES = /^[,;:،؛、，：；﹐﹑)\]}&/+=%|^]/u;
const FULL_CONTINUES = /^[,;:،؛、，：；﹐﹑)\]}—―–-]/u;
const LOWER = /^\p{Ll}/u;
const CAMEL = /^\p{Ll}\p{Lu}/u;
const LETTER = /^\p{L}/u;
const DIGIT = /^\p{N}/u;
const WORD = /^\p{L}[\p{L}\p{M}’'-]*/u;
const HAS_WORD = new RegExp(`[\\p{L}\\p{N}${PICTURE}]`, 'u');
const ENDS_UNSPACED = new RegExp(`[${UNSPACED}\\p{Script=Hangul}]$`, 'u');
const BEGINS_UNSPACED = new RegExp(`^[${UNSPACED}\\p{Script=Hangul}]`, 'u');
const THAI_END = /[\u0e01-\u0e4e\u0e81-\u0ece]$/u;
const CHAIN = /(?:[\p{L}\p{M}’'-]+\.[\p{Zs}]?)*[\p{L}\p{M}’'-]+$/u;
const ONE_LETTER = /^-?\p{L}\p{M}*$/u;
const ACRONYM = /^(?:\p{L}{1,2}\.)+\p{L}{1,3}$/u;
/** A number and its unit. */
const MEASURE = /\p{Nd}\p{Zs}?[mglhstLVAWCFK]$/u;
const NUMBER = /\p{Nd}+$/u;
const ARTICLE =
  /(?:^|[^\p{L}])(?:am|im|vom|zum|beim|der|die|das|dem|den|des|ab|bis|seit|jede[rnms]?|diese[rnms]?|sein(?:e[rnms]?)?|ihr(?:e[rnms]?)?|mein(?:e[rnms]?)?)\s+\p{Nd}{1,2}$/iu;

/** @param locales - BCP 47 tags; the first decides what is peculiar to a language */
export function sentenceRules(locales: readonly string[], abbreviations: readonly string[]): SentenceRules {
  const languages = locales.map((tag) => new Intl.Locale(tag).language);
  return {
    segmenter: new Intl.Segmenter([...locales], { granularity: 'sentence' }),
    abbreviations: abbreviationsFor(languages, abbreviations),
    hasOrdinals: languages.some(writesOrdinalsWithStop),
  };
}

/**
 * The next place from `at` on where reading stops to think: a stop, a line's end, code, a link, a Greek question mark, a space
 * after Thai or Lao.
 */
export function findTrigger(text: string, at: number): RegExpExecArray | undefined {
  TRIGGER.lastIndex = at;
  return TRIGGER.exec(text) ?? undefined;
}

/** Reads along a text that may still grow. */
class Reader {
  at = 0;
  /** The end of what was understood, and need not be read again. */
  past: number | undefined;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  get rest(): string {
    return this.text.slice(this.at);
  }
  get isAtEnd(): boolean {
    return this.at === this.text.length;
  }
  /** What `pattern` (sticky) finds here; reading goes on after it. */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? '';
    this.at += found.length;
    return found;
  }
}

/**
 * Decides about a stop. The answer for a text is the answer for every longer one.
 * @param ahead - the text from the stop on, at most {@link AHEAD_CHARS}
 */
export function judgeStop(before: Before, ahead: string, rules: SentenceRules): Verdict {
  const reader = new Reader(withoutHalf(ahead));
  const run = reader.take(RUN);
  const verdict = SPACED_STOP.test(run)
    ? judgeSpaced(before, run, reader, rules)
    : judgeFull(before, run, reader, rules);
  if (verdict !== 'none' && (verdict !== undefined || ahead.length < AHEAD_CHARS)) return verdict;
  return { kind: 'none', at: Math.max(1, reader.past ?? run.length) };
}

/** A stop that needs no space after it: Chinese, Japanese, Hindi, Arabic … */
function judgeFull(before: Before, run: string, reader: Reader, rules: SentenceRules): Verdict | 'none' {
  let closers = reader.take(FULL_CLOSERS);
  for (const mark of ['"', '*', '_'] as const) {
    if (reader.text.charAt(reader.at) !== mark || !isOpen(before.text, mark)) continue;
    closers += reader.take(mark === '"' ? /"/uy : /[*_]+/uy) + reader.take(FULL_CLOSERS);
  }
  reader.take(NOTE);
  if (beginsNote(reader)) return undefined;
  const spaces = reader.take(SPACES);
  if (reader.isAtEnd) return undefined;
  const { rest } = reader;
  if (NEWLINE_CHAR.test(rest)) return { kind: 'newline', at: reader.at };
  if (FULL_CONTINUES.test(rest) || !hasWord(before)) return 'none';
  if (/[」』]/u.test(closers) && spaces === '') {
    const quoted = isQuotedOn(rest);
    if (quoted !== false) return quoted === true ? 'none' : undefined;
  }
  return decide(before, run, rest, reader.at, rules);
}

/** 「…。」と言った: the quotation is a part of the sentence. Undefined while that is open. */
function isQuotedOn(rest: string): boolean | undefined {
  if (/^[をっ]/u.test(rest)) return true;
  if (!rest.startsWith('と')) return false;
  // Not ところ, とても, とにかく, とりあえず, ときに, ともかく, とっても, とたん, とうとう, とんでも.
  return rest.length === 1 ? undefined : !/^と[こてにりきもったうん]/u.test(rest);
}

/** A stop that ends a sentence only where a space follows. */
function judgeSpaced(before: Before, run: string, reader: Reader, rules: SentenceRules): Verdict | 'none' {
  const isDot = /^[.․﹒．]$/u.test(run);
  let isEllipsis = /^(?:[.․﹒．]{2,}|[….‥⋯]+)$/u.test(run) && !isDot;
  let closers = reader.take(CLOSERS);
  closers += reader.take(NOTE);
  if (reader.isAtEnd || beginsNote(reader)) return undefined;
  let spaces = reader.take(SPACES);
  if (spaces === '' && !NEWLINE_CHAR.test(reader.rest))
    return judgeUnspaced(before, run, isDot, isEllipsis, reader, rules);
  for (let rounds = 0; ; rounds++) {
    reader.past = reader.at;
    if (rounds === LATE_ROUNDS) return 'none';
    if (reader.isAtEnd) return undefined;
    if (NEWLINE_CHAR.test(reader.rest)) return { kind: 'newline', at: reader.at };
    const late = readLate(reader, spaces);
    if (late === undefined) return undefined;
    if (late === '') break;
    if (late.startsWith('.')) isEllipsis ||= isDot;
    spaces = reader.take(SPACES);
    if (spaces === '' && !reader.isAtEnd) break;
  }
  const { at } = reader;
  // Not a stop but the beginning of a word: `.NET`.
  const isDotted = reader.take(/\.+/uy) === '.';
  const openers = reader.take(OPENERS);
  const next = reader.rest;
  if (next === '') return undefined;
  if (NEWLINE_CHAR.test(next) || CONTINUES.test(next) || (isEllipsis && !/\p{L}/u.test(before.text))) return 'none';
  if (!hasWord(before)) return 'none';
  if (LOWER.test(next) && !isDotted) {
    if (next.length === 1) return undefined;
    if (!CAMEL.test(next)) return 'none';
  }
  if (/^[라이하]/u.test(next) && closers !== '' && openers === '') {
    if (next.length < 2) return undefined;
    if (/^(?:라[고며는]|이라[고며는]|하[고며])/u.test(next)) return 'none';
    if (next === '이라') return undefined;
  }
  if (isDot && !isEllipsis && !isDotted) {
    const ends = endsAfterDot(before, next, rules);
    if (ends !== true) return ends === false ? 'none' : undefined;
  }
  return decide(before, run, next, at, rules);
}

/** No space follows: only between scripts that need none. */
function judgeUnspaced(
  before: Before,
  run: string,
  isDot: boolean,
  isEllipsis: boolean,
  reader: Reader,
  rules: SentenceRules,
): Verdict | 'none' {
  if (isEllipsis) return 'none';
  const comes = BEGINS_UNSPACED.test(reader.rest);
  const came = ENDS_UNSPACED.test(before.text);
  const ends = isDot ? comes && came : comes || (came && LETTER.test(reader.rest));
  return ends && hasWord(before) ? decide(before, run, reader.rest, reader.at, rules) : 'none';
}

/**
 * What still belongs to the stop after a space: `Quoi ? !`, `. . .`, `Vraiment ? »`. Empty where nothing does, undefined while
 * that is open.
 */
function readLate(reader: Reader, spaces: string): string | undefined {
  const closer = reader.take(LATE_CLOSERS);
  if (closer !== '') return closer;
  const start = reader.at;
  const { rest } = reader;
  if (/^[»›”’]/u.test(rest)) {
    if (rest.length === 1) return undefined;
    // »German« and ”Swedish” open with it, after an ordinary space.
    const closes = /[\u00a0\u202f]/u.test(spaces) || !/^.[\p{L}\p{N}¿¡]/u.test(rest);
    return closes ? reader.take(/[»›”’]+/uy) : '';
  }
  const stops = reader.take(LATE_STOPS);
  if (stops === '') return '';
  if (reader.isAtEnd) return undefined;
  if (!/^[\p{L}\p{N}]/u.test(reader.rest)) return stops;
  reader.at = start;
  return '';
}

/**
 * Decides about the end of a line that another line of text follows.
 * @param before - the line, without its line end
 * @param ahead - the next line's beginning, at most {@link AHEAD_CHARS}
 */
export function judgeNewline(before: Before, ahead: string, rules: SentenceRules): boolean | undefined {
  const reader = new Reader(withoutHalf(ahead));
  reader.take(SPACES);
  reader.take(OPENERS);
  const next = reader.rest;
  if (next === '') return ahead.length >= AHEAD_CHARS ? true : undefined;
  if (CONTINUES.test(next)) return false;
  const isLower = LOWER.test(next);
  if (isLower && next.length === 1) return undefined;
  const continues = isLower && !CAMEL.test(next);
  const line = before.text.trimEnd();
  const { run, closers } = ENDS_WITH_STOP.exec(line)?.groups ?? {};
  if (run === undefined) return !continues && !/[,،、，;；]$/u.test(line);
  if (!SPACED_STOP.test(run)) return true;
  const text = line.slice(0, line.length - run.length - (closers?.length ?? 0));
  if (run !== '.') return !continues || (closers === '' && !/^(?:\.+|…+)$/u.test(run));
  const ended = { text, isWhole: before.isWhole };
  if (continues) return stopClass(text, rules) === 'plain' && !NUMBER.test(text);
  const ends = endsAfterDot(ended, next, rules);
  return ends === undefined && ahead.length >= AHEAD_CHARS ? true : ends;
}

/** Whether one full stop ends a sentence before `next`, which begins with no lower-case letter. Undefined while that is open. */
function endsAfterDot(before: Before, next: string, rules: SentenceRules): boolean | undefined {
  const { text } = before;
  if (THAI_END.test(text)) return false; // Thai has no full stop, and abbreviations that have.
  if (NUMBER.test(text)) return endsAfterNumber(before, next, rules);
  const meaning = stopClass(text, rules);
  if (meaning === 'plain') return true;
  if (meaning === 'never') return false;
  if (DIGIT.test(next)) return false;
  // A letter alone is no sentence: `Q. What`.
  if (before.isWhole && /^\P{L}*\p{L}\p{M}*$/u.test(text)) return false;
  const word = wholeWord(next);
  if (meaning === 'beforeDigit') {
    if (!/^[IVXLC]{2}/u.test(next)) return /^[IVXLC]$/u.test(next) ? undefined : true;
    return word === undefined ? undefined : !/^[IVXLC]+$/u.test(word);
  }
  if (!LETTER.test(next)) return true;
  return word === undefined ? undefined : begins(word, next);
}

/** A word that often begins a sentence, and is no initial. */
function begins(word: string, next: string): boolean {
  return isStarter(word) && !(ONE_LETTER.test(word) && next.charAt(word.length) === '.');
}

/** After a number: the end of a sentence, an ordinal (`am 3. Mai`), or the number of an item (`1. First`). */
function endsAfterNumber({ text, isWhole }: Before, next: string, { hasOrdinals }: SentenceRules): boolean | undefined {
  const digits = NUMBER.exec(text)?.[0] ?? '';
  if (digits.length > 3) return true;
  const rest = text.slice(0, -digits.length);
  if ((isWhole && !HAS_WORD.test(rest)) || /[:;]\s*$/u.test(rest)) return false;
  if (digits.length > 2 || /[.,]$/u.test(rest) || !LETTER.test(next)) return true;
  const word = wholeWord(next);
  if (word === undefined) return undefined;
  if (isMonth(word)) return false;
  return hasOrdinals || ARTICLE.test(text) ? begins(word, next) : true;
}

/** What a full stop after `text` means. */
function stopClass(text: string, { abbreviations }: SentenceRules): StopClass {
  const chain = CHAIN.exec(text.slice(-40))?.[0];
  // The last part of an address is none.
  if (chain === undefined || /[/@_]$/u.test(text.slice(0, -chain.length))) return 'plain';
  // Without an elided article: `l’art.`
  const parts = chain
    .toLowerCase()
    .replace(/^\p{L}{1,2}[’'](?=\p{L}{2})/u, '')
    .split(/\.\p{Zs}?/u);
  for (let from = Math.max(0, parts.length - 4); from < parts.length; from++) {
    const meaning = abbreviations.get(parts.slice(from).join('.'));
    if (meaning !== undefined) return meaning;
  }
  const last = parts.at(-1) ?? '';
  if (ONE_LETTER.test(last) && !ENDS_UNSPACED.test(last)) {
    const isWord = last === 'я' || MEASURE.test(text) || (chain === 'I' && /\p{Ll}\s+I$/u.test(text));
    return isWord ? 'plain' : 'beforeStarter';
  }
  return ACRONYM.test(chain) ? 'beforeStarter' : 'plain';
}

/** The segmenter has the last word. */
function decide(before: Before, run: string, next: string, at: number, { segmenter }: SentenceRules): Verdict | 'none' {
  // It knows no ellipsis of one character, and the Greek question mark in Greek only.
  const stop = run.replace(/[…‥⋯]/gu, '.').replace(/[;\u037e]/gu, '?');
  const past = `${before.text.slice(-40)}${stop} `;
  // As a capital, since a small letter that comes so far begins a name: `iPhone`.
  const first = String.fromCodePoint(next.codePointAt(0) ?? 0).toUpperCase();
  const found = segmenter.segment(past + first).containing(past.length);
  return found?.index === past.length ? { kind: 'boundary', at } : 'none';
}

/** The word that `next` begins with, once something else follows it. */
function wholeWord(next: string): string | undefined {
  const word = WORD.exec(next)?.[0] ?? '';
  return word.length === next.length ? undefined : word;
}

/** The number of a footnote may come. */
function beginsNote({ rest }: Reader): boolean {
  return /^\[\^?\w{0,8}$/u.test(rest);
}

/** A sentence holds a word. */
function hasWord({ text, isWhole }: Before): boolean {
  return !isWhole || HAS_WORD.test(text);
}

/** True inside a pair of marks that look alike at both ends. */
function isOpen(text: string, mark: '"' | '*' | '_'): boolean {
  const runs = text.match(mark === '"' ? /"/gu : mark === '*' ? /\*+/gu : /_+/gu);
  return (runs?.length ?? 0) % 2 === 1;
}

/** Half of a character at the end has not arrived. */
function withoutHalf(text: string): string {
  return /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text;
}

const PARTICLES = /(?:ครับ|ค่ะ|คะ|จ้ะ|จ๊ะ|จ้า|เถอะ|นะ|สิ|ล่ะ|ไหม|มั้ย|หรือเปล่า|หรือยัง|แล้ว)$/u;
const CONNECTIVES = 'ๆ ฯ และ หรือ แต่ ที่ ซึ่ง ว่า เพราะ โดย เพื่อ ของ กับ แก่ จน ถึง รวมทั้ง ตลอดจน เช่น ได้แก่ อัน ก็ จึง คือ'.split(' ');
const SPACE_RUN = new RegExp(`(?:[ \\u00a0][${EXTEND}]*)+`, 'uy');
const THAI_LETTER = /^[\u0e01-\u0e32\u0e40-\u0e46\u0e81-\u0eb2\u0ebd-\u0ec6]/u;

/** A Thai clause of this many characters is worth a pause: about ten words. Chosen. */
const CLAUSE_CHARS = 40;

/**
 * Decides about a space after a Thai or Lao letter. These languages write no stops; a space stands between sentences, and
 * between clauses too. A sentence is taken to end after a final particle, or where a long clause has no connective after it.
 * @param chars - the length of the sentence so far
 */
export function judgeThaiSpace(before: string, chars: number, ahead: string): Verdict {
  const reader = new Reader(ahead);
  const spaces = reader.take(SPACE_RUN);
  const none: Verdict = { kind: 'none', at: spaces.length };
  const { rest } = reader;
  if (rest === '') return ahead.length >= AHEAD_CHARS ? none : undefined;
  if (!THAI_LETTER.test(rest)) return none;
  const boundary: Verdict = { kind: 'boundary', at: reader.at };
  if (PARTICLES.test(before)) return rest.startsWith('ๆ') ? none : boundary;
  const leadsOn = CONNECTIVES.some((word) => word !== 'ๆ' && before.endsWith(word));
  if (leadsOn || chars < CLAUSE_CHARS || CONNECTIVES.some((word) => rest.startsWith(word))) return none;
  return CONNECTIVES.some((word) => word.startsWith(rest)) ? undefined : boundary;
}
