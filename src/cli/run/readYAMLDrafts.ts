import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseAllDocuments,
  type Scalar,
  visit,
} from 'yaml';
import { DraftReader, type JobDrafts, type Place } from './jobDraft.js';
import type { JobProblems } from './jobProblems.js';
import { MAX_DEPTH } from './jsonReader.js';
import { lineFinder } from './lineFinder.js';

/** Values that one document may come to when its aliases are written out; nobody writes more by hand. */
const MAX_VALUES = 10_000_000;

/**
 * Reads YAML 1.2: documents that are a list of jobs, an object with `jobs` and `defaults`, or a job. Anchors, aliases and merge keys (`<<`)
 * are known; tags other than the core schema's are not.
 */
export function readYAMLDrafts(text: string, problems: JobProblems): JobDrafts {
  const drafts = new DraftReader(problems);
  const lineAt = lineFinder(text);
  for (const document of parse(text, problems)) {
    const faults = [...document.errors, ...document.warnings];
    for (const { pos, code } of faults)
      problems.add(lineAt(pos[0]), `is not YAML: ${FAULTS[code] ?? 'it is written wrongly here'}`);
    if (faults.length > 0) continue;
    const values = new YAMLValues(document, lineAt, problems);
    if (document.contents !== null && !values.isBroken) drafts.add(values.placeOf(document.contents), 'all');
  }
  return drafts.drafts;
}

function parse(text: string, problems: JobProblems): readonly Document.Parsed[] {
  try {
    const documents = parseAllDocuments(text, { prettyErrors: false, version: '1.2' });
    return Array.isArray(documents) ? documents : [];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the stack is used up
    problems.add(1, `is nested more than ${String(MAX_DEPTH)} deep`);
    return [];
  }
}

/** What the parser's codes mean; its messages may quote the text. */
const FAULTS: Readonly<Record<string, string | undefined>> = {
  BAD_INDENT: 'the indentation does not fit',
  BAD_DQ_ESCAPE: 'a backslash in double quotes means nothing here',
  BAD_SCALAR_START: 'a text that begins with this character needs quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a colon with a blank behind it makes a field here; put a text that holds one in quotes',
  DUPLICATE_KEY: 'a field stands there twice',
  MISSING_CHAR: 'a character is missing, such as a quote or a bracket',
  MULTILINE_IMPLICIT_KEY: 'a colon is missing, or the text needs quotes or a |',
  TAB_AS_INDENT: 'indentation is made of blanks, not of tabs',
  TAG_RESOLVE_FAILED: 'a tag (!) that is not known; put a text that begins with ! in quotes',
  UNEXPECTED_TOKEN: 'this does not belong here; does a text need quotes?',
};

/** The data of one document. The parser's own conversion tells no places, and takes time with the square of the aliases. */
class YAMLValues {
  readonly #lineAt: (offset: number) => number;
  readonly #problems: JobProblems;
  /** What each alias stands for. */
  readonly #targets: Map<Node, Node> = new Map();
  /** Of what stands behind an anchor: its value, or that it is being made. */
  readonly #known: Map<Node, Sized | 'making'> = new Map();
  isBroken = false;

  constructor(document: Document, lineAt: (offset: number) => number, problems: JobProblems) {
    this.#lineAt = lineAt;
    this.#problems = problems;
    const anchors = new Map<string, Node>();
    visit(document, {
      Node: (_, node) => {
        if (isAlias(node)) {
          const target = anchors.get(node.source);
          if (target === undefined) {
            this.#refuse(
              node,
              'an alias (*) of an anchor that does not stand before it; put a text that begins with * in quotes',
            );
          } else this.#targets.set(node, target);
        } else if (node.anchor !== undefined) anchors.set(node.anchor, node);
      },
    });
  }

  placeOf(alias: unknown): Place {
    const node = this.#resolve(alias);
    const line = this.#lineOf(alias);
    return {
      line,
      kind: isMap(node) ? 'object' : isSeq(node) ? 'list' : isScalar(node) && node.value !== null ? 'other' : 'nothing',
      items: () => (isSeq(node) ? node.items.map((item) => this.placeOf(item)) : []),
      members: () =>
        isMap(node)
          ? node.items.map(({ key, value }) => ({
              name: nameOf(this.#resolve(key)) ?? '',
              line: this.#lineOf(key),
              place: this.placeOf(value),
            }))
          : [],
      value: () => this.#convert(alias, 0).value,
    };
  }

  #resolve(node: unknown): unknown {
    return isAlias(node) ? this.#targets.get(node) : node;
  }

  #lineOf(node: unknown): number {
    return this.#lineAt(isNode(node) ? (node.range?.[0] ?? 0) : 0);
  }

  #refuse(node: unknown, problem: string): Sized {
    this.isBroken = true;
    this.#problems.add(this.#lineOf(node), problem);
    return NOTHING;
  }

  #convert(alias: unknown, depth: number): Sized {
    const node = this.#resolve(alias);
    if (depth > MAX_DEPTH) return this.#refuse(alias, `is nested more than ${String(MAX_DEPTH)} deep`);
    if (!isNode(node)) return NOTHING; // a field without a value
    if (isAlias(node) || node.anchor === undefined) return this.#make(node, depth);
    const known = this.#known.get(node);
    if (known === 'making') return this.#refuse(alias, 'an alias (*) of what it is a part of');
    if (known !== undefined) return known;
    this.#known.set(node, 'making');
    const made = this.#make(node, depth);
    this.#known.set(node, made);
    return made;
  }

  #make(node: Node, depth: number): Sized {
    if (isScalar(node)) return this.#scalar(node);
    const parts: Sized[] = [];
    const keep = (part: Sized): unknown => {
      parts.push(part);
      return part.value;
    };
    let value: unknown;
    if (isSeq(node)) value = node.items.map((item) => keep(this.#convert(item, depth + 1)));
    else if (isMap(node)) value = this.#object(node.items, depth, keep);
    const size = parts.reduce((sum, part) => sum + part.size, 1);
    return size > MAX_VALUES
      ? this.#refuse(node, `is larger than ${String(MAX_VALUES)} values with its aliases written out`)
      : { value, size };
  }

  #scalar(node: Scalar): Sized {
    const { value } = node;
    if (typeof value === 'number' && !Number.isFinite(value))
      return this.#refuse(node, 'a number that JSON does not have');
    if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return { value, size: 1 };
    return this.#refuse(node, 'a value that JSON does not have; put it in quotes');
  }

  /** Own fields stand over merged ones; of those, earlier over later. */
  #object(pairs: readonly Pair[], depth: number, keep: (part: Sized) => unknown): Record<string, unknown> {
    const merged: [string, unknown][] = [];
    const own: [string, unknown][] = [];
    for (const { key: alias, value } of pairs) {
      const key = this.#resolve(alias);
      const name = nameOf(key);
      if (name === undefined) this.#refuse(alias, 'the name of a field must be a text');
      else if (name === '<<' && isScalar(key) && key.type === 'PLAIN') {
        const source = this.#resolve(value);
        for (const each of isSeq(source) ? source.items : [value]) {
          if (isMap(this.#resolve(each))) merged.unshift(...Object.entries(keep(this.#convert(each, depth + 1)) ?? {}));
          else this.#refuse(alias, '<<: takes an object, an alias of one, or a list of them');
        }
      } else own.push([name, keep(this.#convert(value, depth + 1))]);
    }
    return Object.fromEntries([...merged, ...own]);
  }
}

/** A field's name, which may look like a number. */
function nameOf(key: unknown): string | undefined {
  const name = isScalar(key) ? key.value : undefined;
  return typeof name === 'string' || typeof name === 'number' || typeof name === 'boolean' ? String(name) : undefined;
}

/** A value, and of how many it is made with its aliases written out. */
interface Sized {
  readonly value: unknown;
  readonly size: number;
}

const NOTHING: Sized = { value: null, size: 1 };
