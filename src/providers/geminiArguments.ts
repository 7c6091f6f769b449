import { ProtocolError } from '../errors.js';
import type { PartialArgument } from './geminiResponse.js';

/** Arrays and objects in each other; chosen, far above what a model writes. */
const MAX_DEPTH = 256;

type Step = string | number;

interface Leaf {
  readonly kind: 'leaf';
  /** Undefined until a value came. */
  value: unknown;
  isOpen: boolean;
}

interface Branch<Key extends Step> {
  readonly kind: Key extends string ? 'object' : 'list';
  readonly items: Map<Key, Node>;
}

type Node = Leaf | Branch<string> | Branch<number>;

/**
 * The arguments of one call, from pieces that name their place by a JSONPath. A string grows with each of its pieces; other
 * values replace one another. Places are kept in maps until the end: a key such as `__proto__` is a key, and an index is no length.
 */
export class GeminiArguments {
  /** Holds the arguments under the empty key, so that `$` is a place as others are. */
  readonly #top: Branch<string> = { kind: 'object', items: new Map() };

  /** Pieces that came, less those that have their place: after an error the rest is never whole. */
  #missing = 0;

  /** Arguments that came whole. */
  seed(args: unknown): void {
    if (args === undefined || args === null) return;
    if (typeof args !== 'object' || Array.isArray(args)) {
      this.#top.items.set('', { kind: 'leaf', value: args, isOpen: false });
      return;
    }
    for (const [key, value] of Object.entries(args)) this.#leaf(['', key]).value = value;
  }

  /** @throws ProtocolError where the piece cannot have a place among those before */
  add(piece: PartialArgument): void {
    this.#missing += 1;
    const leaf = this.#leaf(['', ...stepsOf(piece.jsonPath)]);
    this.#missing -= 1;
    leaf.isOpen = piece.willContinue === true;
    const { stringValue, numberValue, boolValue } = piece;
    if (typeof stringValue === 'string') {
      leaf.value = typeof leaf.value === 'string' ? leaf.value + stringValue : stringValue;
    } else if (numberValue !== undefined && numberValue !== null) leaf.value = numberValue;
    else if (boolValue !== undefined && boolValue !== null) leaf.value = boolValue;
    else if ('nullValue' in piece) leaf.value = null; // in JSON it is null itself, or 'NULL_VALUE'
  }

  /** The whole arguments; undefined where a piece is missing. */
  finish(): { readonly value: unknown } | undefined {
    if (this.#missing > 0) return undefined;
    const root = this.#top.items.get('');
    return root === undefined ? { value: {} } : valueOf(root);
  }

  #leaf(steps: readonly Step[]): Leaf {
    if (steps.length > MAX_DEPTH)
      throw new ProtocolError(`The arguments of a tool call are nested more than ${String(MAX_DEPTH)} deep`);
    let branch: Branch<string> | Branch<number> = this.#top;
    for (const [at, step] of steps.entries()) {
      const next = steps[at + 1];
      const known = childOf(branch, step);
      if (next === undefined) {
        if (known?.kind === 'leaf') return known;
        if (known !== undefined) throw misplaced();
        const leaf: Leaf = { kind: 'leaf', value: undefined, isOpen: false };
        setChild(branch, step, leaf);
        return leaf;
      }
      if (known === undefined || (known.kind === 'leaf' && known.value === undefined)) {
        const grown: Branch<string> | Branch<number> =
          typeof next === 'number' ? { kind: 'list', items: new Map() } : { kind: 'object', items: new Map() };
        setChild(branch, step, grown);
        branch = grown;
      } else if (known.kind === 'leaf') throw misplaced();
      else branch = known;
    }
    throw misplaced();
  }
}

function childOf(branch: Branch<string> | Branch<number>, step: Step): Node | undefined {
  if (branch.kind === 'list') {
    if (typeof step !== 'number') throw misplaced();
    return branch.items.get(step);
  }
  if (typeof step !== 'string') throw misplaced();
  return branch.items.get(step);
}

function setChild(branch: Branch<string> | Branch<number>, step: Step, node: Node): void {
  if (branch.kind === 'list') branch.items.set(Number(step), node);
  else branch.items.set(String(step), node);
}

function valueOf(node: Node): { readonly value: unknown } | undefined {
  if (node.kind === 'leaf') return node.isOpen || node.value === undefined ? undefined : { value: node.value };
  if (node.kind === 'list') {
    const list: unknown[] = [];
    for (let at = 0; at < node.items.size; at++) {
      const item = node.items.get(at); // absent where an index was left out
      const read = item && valueOf(item);
      if (read === undefined) return undefined;
      list.push(read.value);
    }
    return { value: list };
  }
  const object: Record<string, unknown> = {};
  for (const [key, item] of node.items) {
    const read = valueOf(item);
    if (read === undefined) return undefined;
    // Defined, since assigning to `__proto__` would set the prototype.
    Object.defineProperty(object, key, { value: read.value, enumerable: true, configurable: true, writable: true });
  }
  return { value: object };
}

/** A name, an index, or a quoted name, as RFC 9535 writes them. */
const STEP = /\.([^.[\]]+)|\[(\d{1,15})\]|\[("(?:[^"\\]|\\.)*")\]|\['((?:[^'\\]|\\.)*)'\]/y;

function stepsOf(path: string): Step[] {
  const steps: Step[] = [];
  STEP.lastIndex = 0;
  const rest = path.startsWith('$') ? path.slice(1) : `.${path}`;
  while (STEP.lastIndex < rest.length) {
    const match = STEP.exec(rest);
    if (match === null) throw unreadable(path);
    const [, name, index, quoted, single] = match;
    if (index !== undefined) steps.push(Number(index));
    else
      steps.push(
        name ?? unquote(quoted ?? `"${(single ?? '').replaceAll("\\'", "'").replaceAll(/(?<!\\)"/g, '\\"')}"`, path),
      );
    if (steps.length > MAX_DEPTH) break; // refused by who takes it
  }
  return steps;
}

function unquote(text: string, path: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    throw unreadable(path); // the parser's message quotes it
  }
}

function unreadable(path: string): ProtocolError {
  return new ProtocolError(
    `A piece of a tool call's arguments has a jsonPath of ${String(path.length)} characters that cannot be read`,
  );
}

function misplaced(): ProtocolError {
  return new ProtocolError(
    "The pieces of a tool call's arguments contradict one another: a place is two kinds of value at once",
  );
}
