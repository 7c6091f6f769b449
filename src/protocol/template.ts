import {
  ByteTemplate,
  type Contents,
  DECIMAL,
  type HoleKind,
  ID,
  NUMBER,
  type Segment,
  SPACE,
  STRING,
  TEXT,
} from './byteTemplate.js';
import { isRecord } from './errorBody.js';
import {
  endOfDecimal,
  endOfSpace,
  endOfString,
  endOfWhole,
  isOfDecimal,
  isSpace,
  QUOTE,
  readDecimal,
  readString,
} from './jsonScan.js';
import { type BodyFraming, MatchedEvent, MatchedLine, type Shortcut } from './shortcut.js';

/**
 * How the frames of one stream are alike, for {@link DialectStream.template}. Paths are the keys and places from the frame down,
 * joined by dots: `choices.0.delta.content`.
 * @public
 */
export interface TemplateShape {
  /** Where the text stands: a string. */
  readonly text: string;
  /** Members whose values are handed over besides, in this order: strings, or whole numbers of up to 15 digits. @defaultValue none */
  readonly read?: readonly string[] | undefined;
  /**
   * Whether a number that is read or skipped may have a sign, a fraction, an exponent or more digits; else one that has is not alike.
   * Set it only where the schema asks for no whole number. @defaultValue `false`
   */
  readonly fractions?: boolean | undefined;
  /** Members whose value nobody reads: strings, or numbers as in `read`. Ids, times, padding. @defaultValue none */
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
/** Of the frames that one stream's templates were made of; a template takes about five times the memory of its frame. Chosen. */
const MAX_CHARS = 65_536;

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** One buffer of up to so many bytes, as the network's are, is kept for good. */
const MAX_KEPT_BYTES = 65_536;
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
  readonly event: MatchedEvent = new MatchedEvent();
  readonly line: MatchedLine = new MatchedLine();

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
    this.event.clear();
    this.line.clear();
  }

  fits(from: number, framing: BodyFraming): number {
    const bytes = this.#bytes;
    for (const template of this.#templates) {
      if (template.framing !== framing) continue;
      const end = template.framed?.match(this.#view, bytes, from, template) ?? -1;
      if (end === -1) continue;
      this.#fitted = template;
      if (framing === 'event') {
        this.event.set(bytes, from, end);
        this.event.event = template.event;
      } else this.line.set(bytes, from, end);
      return end;
    }
    return -1;
  }

  get id(): string | undefined {
    return this.#fitted?.id;
  }

  /** Uses the template that the matched event, or line, fitted. @returns false where its use declines */
  useMatched(): boolean {
    const fitted = this.#fitted;
    if (fitted?.use(fitted.text, fitted.values) !== true) return false;
    this.#prefer(fitted);
    return true;
  }

  get isLearning(): boolean {
    return this.#unframed !== undefined;
  }

  // May be told of a later event than the template was made of: `frame` takes no framing of another event's name.
  learn(framing: BodyFraming, before: string, after: string): void {
    this.#unframed?.frame(framing, before, after);
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
    this.#templates = withinBounds([template, ...this.#templates.filter((other) => other !== before)]);
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

/** The first of them: as many as may be held. */
function withinBounds(templates: readonly Template[]): Template[] {
  let chars = 0;
  return templates.slice(0, MAX_TEMPLATES).filter((template) => (chars += template.chars) <= MAX_CHARS);
}

/** An event without a name, or with an empty one, is a `message`. */
function nameOf(name = ''): string {
  return name === '' ? 'message' : name;
}

/** Framings that a template may take in: lines, and events with one line of data and, before it, their name and id. */
const BEFORE = /^((?:(?:event: ?|id: )[^\r\n]*\r?\n)*)data: ?$/;
const AFTER: Readonly<Record<BodyFraming, RegExp>> = { event: /^(?:\n\n|\r\n\r\n)$/, line: /^\r?\n$/ };

/** What stands before an id in the framing of an event, and after it. */
interface FramedId {
  readonly before: string;
  readonly after: string;
}

/** The framing before the data of an event; `undefined` where it says more than a template can. */
function readBefore(framing: string, event: string): string | FramedId | undefined {
  const [, fields] = BEFORE.exec(framing) ?? [];
  if (fields === undefined) return undefined;
  const names = [...fields.matchAll(/^event: ?([^\r\n]*)/gm)];
  const ids = [...fields.matchAll(/^id: ([^\r\n]*)/gm)];
  if (names.length > 1 || ids.length > 1 || nameOf(names[0]?.[1]) !== event) return undefined;
  const [id] = ids;
  if (id === undefined) return framing;
  const at = id.index + 'id: '.length;
  return { before: framing.slice(0, at), after: framing.slice(at + (id[1] ?? '').length) };
}

class Template implements Contents {
  readonly event: string;
  readonly skeleton: string;
  /** Of the frame that it was made of. */
  readonly chars: number;
  readonly use: TemplateUse;
  /** What stands in every hole of the skeleton; undefined where the value differed between frames, so that any fits. */
  readonly #fixed: readonly (string | undefined)[];
  readonly #segments: readonly Segment[];
  readonly #last: string;
  /** With the framing around it; once it is known. */
  framed: ByteTemplate | undefined;
  framing: BodyFraming | undefined;

  /** What the frame that fitted last had. */
  text = '';
  readonly values: (string | number)[] = [];
  /** In its framing; undefined where its framing has none. */
  id: string | undefined;

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
    this.chars = data.length;
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
  frame(framing: BodyFraming, before: string, after: string): void {
    const head = framing === 'line' ? before : readBefore(before, this.event);
    const [first, ...others] = this.#segments;
    // Data of several lines is framed otherwise.
    const isOneLine = !/[\r\n]/.test(this.skeleton);
    if (head === undefined || first === undefined || !isOneLine || !AFTER[framing].test(after)) return;
    const framed: readonly Segment[] =
      typeof head === 'string'
        ? [{ ...first, literal: head + first.literal }]
        : [
            { literal: head.before, kind: ID, place: -1 },
            { ...first, literal: head.after + first.literal },
          ];
    this.framing = framing;
    this.framed = ByteTemplate.of([...framed, ...others], this.#last + after);
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
        end = endOfWhole(data, from);
        if (end === from) return false;
        if (place !== -1) this.values[place] = Number(data.slice(from, end));
      } else if (kind === DECIMAL) {
        end = endOfDecimal(data, from);
        const value = readDecimal(data.slice(from, end));
        if (value === undefined) return false;
        if (place !== -1) this.values[place] = value;
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

/** The lengths of JSON's words, by their first letters. */
const WORDS: ReadonlyMap<string, number> = new Map([
  ['t', 4],
  ['f', 5],
  ['n', 4],
]);

/** The holes of a frame that is known to be JSON; `undefined` where a member that is needed is missing or is something else. */
function findHoles(
  data: string,
  { text, read = [], skip, fractions = false }: TemplateShape,
): readonly Hole[] | undefined {
  const holes: Hole[] = [];
  const levels: Level[] = [];
  let found = 0;
  let at = 0;
  const note = (kind: typeof STRING | typeof NUMBER | typeof DECIMAL, from: number, to: number): void => {
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
    } else if (isOfDecimal(code)) {
      const to = endOfDecimal(data, at);
      if (fractions) note(DECIMAL, at, to);
      else if (endOfWhole(data, at) === to) note(NUMBER, at, to);
      else if (read.includes(pathOf(level) ?? '')) return undefined; // it may come twice, once so and once so
      at = to;
    } else {
      const character = data.charAt(at);
      if (character === '{' || character === '[') {
        levels.push({ path: pathOf(level), isObject: character === '{', key: undefined, index: 0 });
      } else if (character === '}' || character === ']') levels.pop();
      else if (character === ',' && level !== undefined) {
        level.key = undefined;
        level.index += 1;
      }
      at += WORDS.get(character) ?? 1;
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

/**
 * Whether the holes that are handed over are where the shape says: the frame with other contents in them, parsed, has these contents
 * there. It is made so; this sees to it, for repeated keys, too.
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
    const value = kind === NUMBER || kind === DECIMAL ? probes : `${word} ${String(probes)}`;
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
