import Tokenizer, { TokenizerError } from '@streamparser/json/tokenizer.js';
import TokenType from '@streamparser/json/utils/types/tokenType.js';
import { LimitError, ProtocolError } from '../errors.js';

/** An array or object whose end is still to come. It only grows, so a count of its values says what it was at any moment. */
interface Open {
  /** Of an object. The last one has no value while that is still to come. */
  readonly keys: string[] | undefined;
  /** Those that are whole. */
  readonly values: unknown[];
  /** The one around it, and the place in it; that one does not grow meanwhile. */
  readonly around: Open | undefined;
  readonly at: number;
}

/** Of a member of an object, or of a new array or object, beside 1 of an item. */
const MEMBER_COST = 4;

/** What may come next. The two `first` ones are those after an opening bracket, where a closing one may come too. */
type Expected = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'comma' | 'nothing';

/**
 * Reads one JSON value piece by piece and shows what has come of it so far. Strings show while they grow; keys, numbers, `true`,
 * `false` and `null` show when they are certain. Each character is read once, however the text is cut.
 */
export class PartialJSON {
  readonly #maxDepth: number;
  readonly #lexer: Lexer;
  /** The end of a piece that is half a character or half an escape: at most 5 characters. */
  #held = '';
  #chars = 0;
  #depth = 0;
  #cost = 0;
  #expected: Expected = 'value';
  #open: Open | undefined;
  /** The token in which the text ends, where it ends inside one that can be told. */
  #cutToken: TokenType | undefined;
  /** Whether that token may not stand where it does. */
  #isMisplaced = false;
  /** What has come of the string that the text ends in, where it is a value. */
  #growing: string | undefined;
  #root: unknown;
  #isChanged = false;

  /** @param maxDepth - arrays and objects in each other; one more is a LimitError */
  constructor(maxDepth: number) {
    this.#maxDepth = maxDepth;
    this.#lexer = new Lexer((token, value, isPartial) => {
      if (isPartial) this.#begin(token, value);
      else this.#take(token, value);
    });
    // The lexer takes a byte order mark until the first string or number: this is the one that it may have.
    this.#lexer.write('\ufeff');
  }

  /** Whether the text so far ends inside a string. */
  get isInString(): boolean {
    return this.#cutToken === TokenType.STRING;
  }

  /** Whether the value has ended. A number has not, while more digits could follow. */
  get isWhole(): boolean {
    return this.#expected === 'nothing';
  }

  /** What making a value of a view costs now, in items copied. A member of an object counts as four, as it takes about that long. */
  get cost(): number {
    return this.#cost;
  }

  /** Reads on. Throws ProtocolError where the text is no JSON. */
  push(piece: string): void {
    const text = this.#held + piece;
    const end = endOfWhole(text);
    this.#held = text.slice(end);
    this.#write(text.slice(0, end));
    if (this.#held !== '' && !this.isInString) throw this.#malformed(this.#held);
  }

  /** Says that nothing follows, which is the end of a number; returns whether the value is whole. */
  end(): boolean {
    if (this.#open === undefined && this.#cutToken === TokenType.NUMBER) this.#write(' ');
    return this.isWhole;
  }

  /** What has come, where that changed since the last call: a function that makes a value which never changes afterwards. */
  view(): (() => unknown) | undefined {
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    const [innermost, growing] = [this.#open, this.#growing];
    if (innermost === undefined) {
      const root = growing ?? this.#root;
      return () => root;
    }
    const count = innermost.values.length;
    return () => {
      // Only what is open is copied. What is whole is the same object in every view.
      let value = copy(innermost, count, growing);
      for (let inner = innermost; inner.around !== undefined; inner = inner.around) {
        value = copy(inner.around, inner.at, value);
      }
      return value;
    };
  }

  #write(text: string): void {
    this.#cutToken = undefined;
    try {
      // Half a surrogate pair that stays alone would not outlive the lexer's UTF-8.
      this.#lexer.write(text.replace(/\p{Surrogate}/gu, escape));
    } catch (error) {
      // Left behind, since the lexer's message quotes the text.
      throw error instanceof TokenizerError ? this.#malformed(text) : error;
    }
    if (this.#isMisplaced) throw this.#malformed(text);
    this.#chars += text.length;
  }

  #malformed(text: string): ProtocolError {
    const [from, to] = [String(this.#chars), String(this.#chars + text.length)];
    return new ProtocolError(`What came is not JSON: unexpected text between its characters ${from} and ${to}`);
  }

  #begin(token: TokenType, value: unknown): void {
    const isValue = this.#expected === 'value' || this.#expected === 'first value';
    const isKey = this.#expected === 'key' || this.#expected === 'first key';
    // The lexer would swallow a throw at a number, so it is told to the one who writes.
    if (!isValue && !(isKey && token === TokenType.STRING)) this.#isMisplaced = true;
    this.#cutToken = token;
    if (isValue && typeof value === 'string') this.#grow(value);
  }

  #grow(text: string): void {
    if (text.length === this.#growing?.length) return;
    this.#growing = text;
    this.#isChanged = true;
  }

  #take(token: TokenType, value: unknown): void {
    const expected = this.#expected;
    switch (expected) {
      case 'first value':
      case 'value':
        if (token === TokenType.LEFT_BRACE) this.#enter([]);
        else if (token === TokenType.LEFT_BRACKET) this.#enter(undefined);
        else if (token === TokenType.RIGHT_BRACKET && expected === 'first value') this.#leave();
        else if (typeof value === 'string' && token === TokenType.STRING) {
          this.#grow(value);
          this.#growing = undefined;
          this.#add(value);
        } else if (isScalar(token)) {
          this.#isChanged = true;
          this.#add(value);
        } else throw unexpected();
        break;
      case 'first key':
      case 'key':
        if (typeof value === 'string' && token === TokenType.STRING) {
          this.#open?.keys?.push(value);
          this.#expected = 'colon';
        } else if (token === TokenType.RIGHT_BRACE && expected === 'first key') this.#leave();
        else throw unexpected();
        break;
      case 'colon':
        if (token !== TokenType.COLON) throw unexpected();
        this.#expected = 'value';
        break;
      case 'comma': {
        const isObject = this.#open?.keys !== undefined;
        if (token === TokenType.COMMA) this.#expected = isObject ? 'key' : 'value';
        else if (token === (isObject ? TokenType.RIGHT_BRACE : TokenType.RIGHT_BRACKET)) this.#leave();
        else throw unexpected();
        break;
      }
      case 'nothing':
        throw unexpected();
    }
  }

  #enter(keys: string[] | undefined): void {
    if (this.#depth >= this.#maxDepth) {
      const max = String(this.#maxDepth);
      throw new LimitError('maxDepth', this.#maxDepth, `The JSON is nested deeper than maxDepth (${max})`);
    }
    this.#depth += 1;
    this.#cost += MEMBER_COST;
    this.#open = { keys, values: [], around: this.#open, at: this.#open?.values.length ?? 0 };
    this.#expected = keys === undefined ? 'first value' : 'first key';
    this.#isChanged = true;
  }

  #leave(): void {
    const whole = this.#open;
    if (whole === undefined) throw unexpected();
    this.#depth -= 1;
    this.#cost -= MEMBER_COST + whole.values.length * costOf(whole);
    this.#open = whole.around;
    this.#add(whole.keys === undefined ? whole.values : copy(whole, whole.values.length));
  }

  #add(value: unknown): void {
    if (this.#open === undefined) {
      this.#root = value;
      this.#expected = 'nothing';
    } else {
      this.#open.values.push(value);
      this.#cost += costOf(this.#open);
      this.#expected = 'comma';
    }
  }
}

function costOf({ keys }: Open): number {
  return keys === undefined ? 1 : MEMBER_COST;
}

/** The first `count` values of what is open and, where there is one, one more that is not whole yet. */
function copy({ keys, values }: Open, count: number, unfinished?: unknown): unknown {
  const shown = values.slice(0, count);
  if (unfinished !== undefined) shown.push(unfinished);
  if (keys === undefined) return shown;
  const object: Record<string, unknown> = {};
  for (const [index, value] of shown.entries()) {
    const key = keys[index] ?? '';
    // As an assignment it would set the prototype; here it is only a key. The rest is assigned, which is faster.
    if (key === '__proto__') define(object, key, value);
    else object[key] = value;
  }
  return object;
}

function define(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

/** The length of a text without half of a character or of an escape at its end. */
function endOfWhole(text: string): number {
  const tail = text.slice(-5);
  const half = /[\ud800-\udbff]$|\\(u[\da-f]{0,3})?$/i.exec(tail);
  if (half === null) return text.length;
  const start = text.length - tail.length + half.index;
  if (text[start] !== '\\') return start;
  let backslashes = 1;
  while (text[start - backslashes] === '\\') backslashes += 1;
  // The second backslash of two is an escape's end. A cut never leaves one of two behind.
  return backslashes % 2 === 1 ? start : text.length;
}

function escape(surrogate: string): string {
  return `\\u${surrogate.charCodeAt(0).toString(16)}`;
}

function isScalar(token: TokenType): boolean {
  return [TokenType.NUMBER, TokenType.TRUE, TokenType.FALSE, TokenType.NULL].includes(token);
}

function unexpected(): TokenizerError {
  return new TokenizerError('A token that is whole, in a place where it may not stand');
}

class Lexer extends Tokenizer {
  readonly #emit: (token: TokenType, value: unknown, isPartial: boolean) => void;
  #number = '';

  constructor(emit: (token: TokenType, value: unknown, isPartial: boolean) => void) {
    super({ emitPartialTokens: true });
    this.#emit = emit;
  }

  override onToken({ token, value, partial = false }: Parameters<Tokenizer['onToken']>[0]): void {
    this.#emit(token, token === TokenType.NUMBER && !partial ? Number(this.#number) : value, partial);
  }

  /** Called at every piece of a long number, which would cost its length each time. */
  protected override parseNumber(digits: string): number {
    this.#number = digits;
    return 0;
  }
}
