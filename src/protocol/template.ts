import { isRecord } from './errorBody.js';

/**
 * How the frames of one stream are alike, for {@link DialectStream.template}. Paths are the keys and places from the frame down,
 * joined by dots: `choices.0.delta.content`.
 * @public
 */
export interface TemplateShape {
  /** Where the text stands: a string. */
  readonly text: string;
  /** Members whose values are handed over besides, in this order: strings, or whole numbers from 0. @defaultValue none */
  readonly read?: readonly string[] | undefined;
  /** Members whose value nobody reads, as long as it is of the same type: ids, times, padding. @defaultValue none */
  readonly skip?: ReadonlySet<string> | undefined;
}

/**
 * What a frame that is alike does, in place of `decode`.
 * @param text - not empty
 * @param values - of the members in `read`, in its order; good until it returns
 * @returns false where it does not apply any more, before it has done anything: then the frame is parsed and decoded
 * @public
 */
export type TemplateUse = (text: string, values: readonly (string | number)[]) => boolean;

/** What a decoder says of the frames that are like the one in hand. */
export interface TemplateOffer {
  readonly shape: TemplateShape;
  readonly use: TemplateUse;
}

/** How a hole is filled: the text, a string or a number that is read or skipped, white space between tokens. */
const TEXT = 0;
const STRING = 1;
const NUMBER = 2;
const SPACE = 3;

/** A place in a frame that may differ from one frame to the next. */
interface Hole {
  readonly kind: typeof TEXT | typeof STRING | typeof NUMBER | typeof SPACE;
  readonly from: number;
  readonly to: number;
  /** The place among the values that are read; -1 where nobody reads it. */
  readonly value: number;
}

/** Templates that one stream holds: choices, thinking and text alternate. Chosen. */
const MAX_TEMPLATES = 8;
/** After so many templates in a row that fitted nothing, only every `RARELY`th frame is made one of. Chosen. */
const MAX_FUTILE = 8;
const RARELY = 64;
/** Longer frames are not worth the memory of one. Chosen. */
const MAX_CHARS = 65_536;
/** Numbers up to here are whole in a JavaScript number, whatever their digits. */
const MAX_DIGITS = 15;

/**
 * The templates of one stream. A frame that fits one differs from a frame that was parsed, validated and decoded in nothing but whole
 * JSON strings and numbers at places that its decoder named, and in white space between tokens: so it needs none of the three.
 */
export class Templates {
  #templates: Template[] = [];
  #futile = 0;
  #offers = 0;

  /** Uses the template that `data` fits. @returns false where there is none, or its use declines */
  use(data: string, event: string): boolean {
    const templates = this.#templates;
    for (let at = 0; at < templates.length; at++) {
      const template = templates[at];
      if (template?.event !== event || !template.fits(data)) continue;
      if (at > 0) this.#toFront(at);
      this.#futile = 0;
      return template.use(template.text, template.values);
    }
    return false;
  }

  /** Makes a template of a frame that was just decoded from `data`, where that can be done. */
  add(data: string, event: string, { shape, use }: TemplateOffer): void {
    this.#offers += 1;
    if (data.length > MAX_CHARS) return;
    if (this.#futile >= MAX_FUTILE && this.#offers % RARELY !== 0) return;
    this.#futile += 1;
    const holes = findHoles(data, shape);
    if (holes === undefined) return;
    const skeleton = skeletonOf(data, holes);
    const known = this.#templates.findIndex((other) => other.skeleton === skeleton && other.event === event);
    const before = this.#templates[known];
    const template = new Template(data, event, skeleton, holes, use, before);
    if (!isSound(template, data, shape)) return;
    if (known !== -1) this.#templates.splice(known, 1);
    this.#templates.unshift(template);
    if (this.#templates.length > MAX_TEMPLATES) this.#templates.pop();
  }

  clear(): void {
    this.#templates = [];
  }

  #toFront(at: number): void {
    this.#templates.unshift(...this.#templates.splice(at, 1));
  }
}

class Template {
  readonly event: string;
  readonly skeleton: string;
  readonly use: TemplateUse;
  /** What stands in every hole of the skeleton; empty where the value differed between frames, so that any fits. */
  readonly #fixed: readonly (string | undefined)[];
  readonly #literals: readonly string[];
  readonly #kinds: readonly number[];
  readonly #places: readonly number[];
  readonly #last: string;

  /** What the frame that fitted last had. */
  text = '';
  readonly values: (string | number)[] = [];

  constructor(
    data: string,
    event: string,
    skeleton: string,
    holes: readonly Hole[],
    use: TemplateUse,
    before: Template | undefined,
  ) {
    this.event = event;
    this.skeleton = skeleton;
    this.use = use;
    const literals: string[] = [];
    const open: Hole[] = [];
    let at = 0;
    // What nobody reads is looked at only where it is known to change: a literal is cheaper.
    this.#fixed = holes.map((hole, index) => {
      const { kind, from, to, value } = hole;
      const content = data.slice(from, to);
      const isFixed = kind !== TEXT && value === -1 && (before === undefined || before.#fixed[index] === content);
      if (isFixed) return copyOf(content);
      literals.push(copyOf(data.slice(at, from)));
      open.push(hole);
      at = to;
      return undefined;
    });
    this.#literals = literals;
    this.#kinds = open.map(({ kind }) => kind);
    this.#places = open.map(({ value }) => value);
    this.#last = copyOf(data.slice(at));
  }

  /** Whether `data` is the template's frame but for its holes; `text` and `values` are what it has there. */
  fits(data: string): boolean {
    const literals = this.#literals;
    let at = 0;
    for (let hole = 0; hole < literals.length; hole++) {
      const literal = literals[hole] ?? '';
      const from = at + literal.length;
      // Five times faster than `startsWith`.
      if (data.slice(at, from) !== literal) return false;
      const place = this.#places[hole] ?? -1;
      switch (this.#kinds[hole]) {
        case TEXT: {
          at = endOfString(data, from);
          if (at <= from) return false;
          const text = readString(data, from, at);
          if (text === undefined) return false;
          this.text = text;
          break;
        }
        case STRING: {
          at = endOfString(data, from);
          if (at < from) return false;
          const value = readString(data, from, at);
          if (value === undefined) return false;
          if (place !== -1) this.values[place] = value;
          break;
        }
        case NUMBER: {
          at = endOfNumber(data, from);
          if (at <= from) return false;
          if (place !== -1) this.values[place] = Number(data.slice(from, at));
          break;
        }
        default:
          at = endOfSpace(data, from);
      }
    }
    return data.length - at === this.#last.length && data.slice(at) === this.#last;
  }

  /** The template's frame with other contents in its holes. */
  fill(contents: (kind: number, place: number) => string): string {
    return (
      this.#literals
        .map((literal, hole) => literal + contents(this.#kinds[hole] ?? TEXT, this.#places[hole] ?? -1))
        .join('') + this.#last
    );
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The place of the quote that ends the string whose content begins at `from`; -1 where there is none, or a character that JSON forbids. */
function endOfString(data: string, from: number): number {
  for (let at = from; at < data.length; at++) {
    const code = data.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
    else if (code < 0x20) return -1;
  }
  return -1;
}

/** The value of a string's content; `undefined` where it holds an escape that is none. */
function readString(data: string, from: number, to: number): string | undefined {
  const content = data.slice(from, to);
  if (!content.includes('\\')) return content;
  try {
    return JSON.parse(`"${content}"`) as string;
  } catch {
    return undefined; // it is parsed with its frame, and fails there
  }
}

/** The end of the whole number at `from`; `from` where there is none that is taken. */
function endOfNumber(data: string, from: number): number {
  let at = from;
  while (isDigit(data.charCodeAt(at))) at++;
  const isTaken = at - from <= MAX_DIGITS && (at - from === 1 || data.charCodeAt(from) !== ZERO);
  return isTaken ? at : from;
}

const ZERO = 0x30;

function isDigit(code: number): boolean {
  return code >= ZERO && code <= 0x39;
}

function endOfSpace(data: string, from: number): number {
  let at = from;
  while (isSpace(data.charCodeAt(at))) at++;
  return at;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function skeletonOf(data: string, holes: readonly Hole[]): string {
  let skeleton = '';
  let at = 0;
  for (const { kind, from, to } of holes) {
    skeleton += `${data.slice(at, from)}\u0000${String(kind)}`;
    at = to;
  }
  return copyOf(skeleton + data.slice(at));
}

/** The same string in memory of its own: a slice keeps all that it was cut from. */
function copyOf(text: string): string {
  return ` ${text}`.slice(1);
}

/** An open object or array, while a frame is looked through. */
interface Level {
  readonly path: string | undefined;
  readonly isObject: boolean;
  key: string | undefined;
  index: number;
}

/** The holes of a frame that is known to be JSON; `undefined` where a member that is needed is missing or is something else. */
function findHoles(data: string, { text, read = [], skip }: TemplateShape): readonly Hole[] | undefined {
  const holes: Hole[] = [];
  const levels: Level[] = [];
  let found = 0;
  let at = 0;
  const note = (kind: typeof STRING | typeof NUMBER, from: number, to: number): void => {
    const path = pathOf(levels.at(-1));
    if (path === undefined) return;
    const value = read.indexOf(path);
    if (path === text && kind === STRING) holes.push({ kind: TEXT, from, to, value: -1 });
    else if (value !== -1 || skip?.has(path) === true) holes.push({ kind, from, to, value });
    if (path === text || value !== -1) found += 1;
  };
  while (at < data.length) {
    const code = data.charCodeAt(at);
    const level = levels.at(-1);
    if (isSpace(code)) {
      const to = endOfSpace(data, at);
      holes.push({ kind: SPACE, from: at, to, value: -1 });
      at = to;
    } else if (code === QUOTE) {
      const to = endOfString(data, at + 1);
      if (to === -1) return undefined;
      if (level?.isObject === true && level.key === undefined) level.key = readString(data, at + 1, to);
      else note(STRING, at + 1, to);
      at = to + 1;
    } else if (isDigit(code)) {
      const to = endOfNumber(data, at);
      // A fraction or a long number is a literal.
      if (to > at && /[,}\]\s]|^$/.test(data.charAt(to))) note(NUMBER, at, to);
      at = endOfToken(data, at);
    } else {
      const character = data.charAt(at);
      if (character === '{' || character === '[') {
        levels.push({ path: pathOf(level), isObject: character === '{', key: undefined, index: 0 });
      } else if (character === '}' || character === ']') levels.pop();
      else if (character === ',' && level !== undefined) {
        level.key = undefined;
        level.index += 1;
      }
      at = /[-a-z]/.test(character) ? endOfToken(data, at) : at + 1;
    }
  }
  return found === read.length + 1 ? holes : undefined;
}

/** The path of the value that comes next; `undefined` where a key has a dot, since no path could name it. */
function pathOf(level: Level | undefined): string | undefined {
  if (level === undefined) return '';
  const step = level.isObject ? level.key : String(level.index);
  if (level.path === undefined || step === undefined || step.includes('.')) return undefined;
  return level.path === '' ? step : `${level.path}.${step}`;
}

/** The end of a number or a word. */
function endOfToken(data: string, from: number): number {
  let at = from + 1;
  while (at < data.length && /[-+.\w]/.test(data.charAt(at))) at++;
  return at;
}

/**
 * Whether the holes are where the shape says: the frame with other contents in them, parsed, has these contents there, and nothing
 * else is changed. It is made so; this sees to it, for repeated keys, too.
 */
function isSound(template: Template, data: string, { text, read = [] }: TemplateShape): boolean {
  let probes = 0;
  const probe = (): string => `${String(Math.random())}${String((probes += 1))}`;
  const values: (string | number)[] = [];
  const word = probe();
  const filled = template.fill((kind, place) => {
    if (kind === SPACE) return ' ';
    if (kind === TEXT) return word;
    const value = kind === NUMBER ? 1_000 + place : probe();
    if (place !== -1) values[place] = value;
    return String(value);
  });
  const frame: unknown = JSON.parse(filled);
  return (
    template.fits(data) &&
    template.fits(filled) &&
    valueAt(frame, text) === word &&
    template.text === word &&
    read.every((path, place) => valueAt(frame, path) === values[place] && template.values[place] === values[place])
  );
}

function valueAt(frame: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, step) => {
    if (Array.isArray(value)) return (value as unknown[])[Number(step)];
    return isRecord(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  }, frame);
}
