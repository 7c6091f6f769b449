import type { ServerSentMessage } from '../types.js';
import { byteReader } from './byteReader.js';
import {
  ByteTemplate,
  type Contents,
  type HoleKind,
  NUMBER,
  type Segment,
  SPACE,
  STRING,
  TEXT,
} from './byteTemplate.js';
import { isRecord } from './errorBody.js';
import { endOfNumber, endOfSpace, endOfString, isDigit, isSpace, QUOTE, readString } from './jsonScan.js';

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

/** A place in a frame that may differ from one frame to the next. */
interface Hole {
  readonly kind: HoleKind;
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

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Larger buffers are not the network's, and not kept alive. */
const MAX_KEPT_BYTES = 1_048_576;
/** One for all streams, since chunk follows chunk out of one buffer of the network's. */
const NO_VIEW: DataView = new DataView(NO_BYTES.buffer);
let lastView: DataView = NO_VIEW;

function viewOf({ buffer }: Uint8Array): DataView {
  if (lastView.buffer === buffer) return lastView;
  const view = new DataView(buffer);
  if (buffer.byteLength <= MAX_KEPT_BYTES) lastView = view;
  return view;
}

/**
 * The templates of one stream. A frame that fits one differs from a frame that was parsed, validated and decoded in nothing but whole
 * JSON strings and numbers at places that its decoder named, and in blanks and tabs between tokens: so it needs none of the three.
 */
export class Templates implements Shortcut {
  #templates: Template[] = [];
  #futile = 0;
  #offers = 0;
  /** The template whose framing is not known yet. */
  #unframed: Template | undefined;
  #fitted: Template | undefined;
  #bytes = NO_BYTES;
  #view = NO_VIEW;
  isReady = false;
  readonly matched: MatchedEvent = new MatchedEvent();

  /** Uses the template that `data` fits. @returns false where there is none, or its use declines */
  use(data: string, event: string): boolean {
    for (const template of this.#templates) {
      if (template.event !== event || !template.fits(data)) continue;
      if (!template.use(template.text, template.values)) return false;
      this.#prefer(template);
      return true;
    }
    return false;
  }

  open(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  close(): void {
    this.#bytes = NO_BYTES;
    this.#view = NO_VIEW;
    this.matched.clear();
  }

  fits(from: number): number {
    const bytes = this.#bytes;
    const view = this.#view;
    for (const template of this.#templates) {
      const end = template.framed?.match(view, bytes, from, template) ?? -1;
      if (end === -1) continue;
      this.#fitted = template;
      this.matched.set(bytes, from + template.prefix, end - template.suffix, template.event);
      return end;
    }
    return -1;
  }

  /** Uses the template that the matched event fitted. @returns false where its use declines */
  useMatched(): boolean {
    const fitted = this.#fitted;
    if (fitted?.use(fitted.text, fitted.values) !== true) return false;
    this.#prefer(fitted);
    return true;
  }

  get isLearning(): boolean {
    return this.#unframed !== undefined;
  }

  learn(before: string, after: string): void {
    this.#unframed?.frame(before, after);
    this.#unframed = undefined;
    this.isReady = this.#templates.some(({ framed }) => framed !== undefined);
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
    const before = this.#templates.find((other) => other.skeleton === skeleton && other.event === event);
    const template = new Template(data, event, skeleton, holes, use, before);
    if (!isSound(template, data, shape)) return;
    this.#templates = [template, ...this.#templates.filter((other) => other !== before)].slice(0, MAX_TEMPLATES);
    this.#unframed = template;
  }

  clear(): void {
    this.#templates = [];
    this.isReady = false;
    this.#unframed = undefined;
    this.#fitted = undefined;
  }

  /** To the front: the next frame is most likely like this one. */
  #prefer(template: Template): void {
    this.#futile = 0;
    if (this.#templates[0] === template) return;
    this.#templates = [template, ...this.#templates.filter((other) => other !== template)];
  }
}

/** What a parser asks before it takes an event apart. */
export interface Shortcut {
  /** Gives it a chunk; until `close`, since a chunk that is held keeps a whole buffer of the network's. */
  open(bytes: Uint8Array): void;
  close(): void;
  /** Where the event ends, with its blank line, that begins at `from`; -1 where it is like none before. What fitted is `matched`. */
  fits(from: number): number;
  readonly matched: MatchedEvent;
  /** True where it knows anything. */
  readonly isReady: boolean;
  /** True where it wants to be told the framing of the event that was just emitted. */
  readonly isLearning: boolean;
  /** The framing: what stood before the data, and after it. */
  learn(before: string, after: string): void;
}

/** An event that fitted a template. One object for all of a stream's, good until the next one: its data is most often never looked at. */
export class MatchedEvent implements ServerSentMessage {
  readonly type = 'event';
  event = '';
  id = '';
  #bytes = NO_BYTES;
  #from = 0;
  #to = 0;

  get data(): string {
    return byteReader.decode(this.#bytes, this.#from, this.#to);
  }

  set(bytes: Uint8Array, from: number, to: number, event: string): void {
    this.#bytes = bytes;
    this.#from = from;
    this.#to = to;
    this.event = event;
  }

  /** Lets go of the chunk. */
  clear(): void {
    this.#bytes = NO_BYTES;
  }

  /** The event in an object of its own. */
  copy(): ServerSentMessage {
    const { type, event, data, id } = this;
    return { type, event, data, id };
  }
}

/** An event without a name, or with an empty one, is a `message`. */
function nameOf(name = ''): string {
  return name === '' ? 'message' : name;
}

/** Framings that a template may take in: an event with one line of data and, before it, its name. */
const BEFORE = /^(?:event: ?([^\r\n]*)\r?\n)?data: ?$/;
const AFTER = /^(?:\n\n|\r\n\r\n)$/;

class Template implements Contents {
  readonly event: string;
  readonly skeleton: string;
  readonly use: TemplateUse;
  /** What stands in every hole of the skeleton; undefined where the value differed between frames, so that any fits. */
  readonly #fixed: readonly (string | undefined)[];
  readonly #segments: readonly Segment[];
  readonly #last: string;
  /** With the framing around it; once it is known. */
  framed: ByteTemplate | undefined;
  /** Bytes of framing before and after the data. */
  prefix = 0;
  suffix = 0;

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
    const segments: Segment[] = [];
    let at = 0;
    // What nobody reads is looked at only where it is known to change: a literal is cheaper.
    this.#fixed = holes.map(({ kind, from, to, value }, index) => {
      const content = data.slice(from, to);
      const isFixed = kind !== TEXT && value === -1 && (before === undefined || before.#fixed[index] === content);
      if (isFixed) return copyOf(content);
      segments.push({ literal: copyOf(data.slice(at, from)), kind, place: value });
      at = to;
      return undefined;
    });
    this.#segments = segments;
    this.#last = copyOf(data.slice(at));
  }

  /** Takes the framing in, where it is one that says nothing else. */
  frame(before: string, after: string): void {
    const plain = BEFORE.exec(before);
    const isOfEvent = plain !== null && nameOf(plain[1]) === this.event;
    const [first, ...others] = this.#segments;
    // Data of several lines is framed otherwise.
    const isOneLine = !this.skeleton.includes('\n') && !this.skeleton.includes('\r');
    if (!isOfEvent || !AFTER.test(after) || first === undefined || !isOneLine) return;
    this.prefix = before.length;
    this.suffix = after.length;
    this.framed = ByteTemplate.of([{ ...first, literal: before + first.literal }, ...others], this.#last + after);
  }

  /** Whether `data` is the template's frame but for its holes; `text` and `values` are what it has there. */
  fits(data: string): boolean {
    let end = 0;
    for (const { literal, kind, place } of this.#segments) {
      const from = end + literal.length;
      // Five times faster than `startsWith`.
      if (data.slice(end, from) !== literal) return false;
      if (kind === TEXT || kind === STRING) {
        end = endOfString(data, from);
        if (end < from || (kind === TEXT && end === from)) return false;
        const value = readString(data.slice(from, end));
        if (value === undefined) return false;
        if (kind === TEXT) this.text = ownText(value);
        else if (place !== -1) this.values[place] = ownText(value);
      } else if (kind === NUMBER) {
        end = endOfNumber(data, from);
        if (end === from) return false;
        if (place !== -1) this.values[place] = Number(data.slice(from, end));
      } else end = endOfSpace(data, from);
    }
    return data.length - end === this.#last.length && data.slice(end) === this.#last;
  }

  /** The template's frame with other contents in its holes. */
  fill(contents: (kind: HoleKind, place: number) => string): string {
    return this.#segments.map(({ literal, kind, place }) => literal + contents(kind, place)).join('') + this.#last;
  }
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

/** Strings below that are never slices of another (V8). */
const MIN_SLICE = 13;

/** What is handed over, and may be kept. */
function ownText(text: string): string {
  return text.length < MIN_SLICE ? text : copyOf(text);
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
      if (level?.isObject === true && level.key === undefined) level.key = readString(data.slice(at + 1, to));
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

/** The path of the value that comes next; `undefined` where a key is empty or has a dot, since no path could name it. */
function pathOf(level: Level | undefined): string | undefined {
  if (level === undefined) return '';
  const step = level.isObject ? level.key : String(level.index);
  if (level.path === undefined || step === undefined || step === '' || step.includes('.')) return undefined;
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
  let word = 'probe';
  while (data.includes(word)) word += '~';
  let probes = 0;
  const values: (string | number)[] = [];
  const filled = template.fill((kind, place) => {
    if (kind === SPACE) return ' ';
    if (kind === TEXT) return word;
    probes += 1;
    const value = kind === NUMBER ? probes : `${word} ${String(probes)}`;
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
