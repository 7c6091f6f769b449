import type { MillraceError } from '../errors.js';
import type { WarningEvent } from '../types.js';
import type { Flow } from './flow.js';
import { redactSecrets, redactValue } from './redactSecrets.js';

/** Causes in causes, and lists in lists, that are looked at. */
const MAX_DEPTH = 8;
/** Requests for one answer whose secrets are remembered, the newest; work that is asked about for hours has many. */
const MAX_REQUESTS = 16;
/** Shorter texts of a request are words that anybody may say. */
const MIN_PROMPT_CHARS = 12;
/** Texts of a request that are looked for in an error: a long conversation repeats itself in no message. */
const MAX_PROMPTS = 1_000;

interface Sent {
  /** The caller's header values, and those of the URL's query. */
  readonly keys: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
  /** The texts in the body, once they were asked for. */
  prompts?: readonly string[];
}

/** What a request sent, and what errors about it must not show: some servers, and some errors of theirs, quote it. */
export class SentSecrets {
  /** By request, where there were several for one answer. */
  #sent: readonly Sent[];

  constructor(headers: Readonly<Record<string, string>>, url?: URL, body?: string | Uint8Array) {
    // By number, since a name may come twice.
    const query = [...(url?.searchParams.values() ?? [])].map((value, i) => [`?${String(i)}`, value] as const);
    this.#sent = [{ keys: { ...headers, ...Object.fromEntries(query) }, body }];
  }

  /** These, and those of another request for the same answer. */
  and(more: SentSecrets): SentSecrets {
    const all = new SentSecrets({});
    all.#sent = [...this.#sent, ...more.#sent].slice(-MAX_REQUESTS);
    return all;
  }

  /** Takes keys out of a text. */
  withoutKeys(text: string): string {
    return this.#sent.reduce((clean, { keys }) => redactSecrets(clean, keys), text);
  }

  /** A copy of a value without keys in it. @param levels - what hangs deeper is left out */
  valueWithoutKeys(value: unknown, levels: number = MAX_DEPTH): unknown {
    return redactValue(value, (text) => this.withoutKeys(text), levels);
  }

  /** Takes keys, texts of the request's body and the queries of URLs out of what an error says. */
  #clean(text: string): string {
    return this.#sent
      .flatMap((sent) => (sent.prompts ??= promptsOf(sent.body)))
      .reduce((clean, prompt) => clean.replaceAll(prompt, () => '[prompt]'), this.withoutKeys(text))
      .replace(QUERY, '$1');
  }

  /**
   * An error that shows none of it, nor do its causes: the same one where it did not either, or where it is ours to change. What
   * must be asked for (`body`, `frame`) keeps the request's texts, and loses the keys.
   */
  cleanError(error: MillraceError): MillraceError {
    if (!this.#isShownBy(error)) return error;
    const clean = (text: string): string => this.#clean(text);
    for (const name of Object.getOwnPropertyNames(error)) {
      const value: unknown = Reflect.get(error, name);
      if (name === 'cause') replace(error, name, this.#cleanCause(value));
      else if (name === 'frame') replace(error, name, this.valueWithoutKeys(value));
      else if (name === 'context' || (typeof value === 'string' && name !== 'body')) {
        replace(error, name, redactValue(value, clean, MAX_DEPTH));
      }
    }
    return error;
  }

  /** A warning without keys: the same one where it has none. */
  cleanWarning(warning: WarningEvent): WarningEvent {
    if (!this.#isShownBy(warning)) return warning;
    const { message, detail } = warning;
    const clean = { ...warning, message: this.withoutKeys(message) };
    return detail === undefined ? clean : { ...clean, detail: this.valueWithoutKeys(detail) };
  }

  /** Somebody else's error is not changed: what shows a secret is replaced by what is left without it. */
  #cleanCause(cause: unknown): unknown {
    if (!this.#isShownBy(cause)) return cause;
    if (!(cause instanceof Error)) return typeof cause === 'string' ? this.#clean(cause) : '[left out]';
    const { name, message, stack, code } = cause as Error & { readonly code?: unknown };
    const clean = new Error(this.#clean(message));
    replace(clean, 'name', this.#clean(name));
    replace(clean, 'stack', this.#clean(stack ?? ''));
    return typeof code === 'string' ? Object.assign(clean, { code: this.#clean(code) }) : clean;
  }

  /** Whether a text is in a value, or anywhere in what hangs on it, printed by default or not. */
  #isShownBy(value: unknown, seen: Set<unknown> = new Set(), depth = 0): boolean {
    if (typeof value === 'string') return this.#clean(value) !== value;
    if (typeof value !== 'object' || value === null || depth > MAX_DEPTH || seen.has(value)) return false;
    seen.add(value);
    return Object.getOwnPropertyNames(value).some((name) => {
      // What an error carries because it was asked for is the reader's.
      if (name === 'received' || name === 'receipt') return false;
      return this.#isShownBy((value as Record<string, unknown>)[name], seen, depth + 1);
    });
  }
}

const known: WeakMap<Flow, SentSecrets> = new WeakMap();

/** Notes what the request of a flow sends. */
export function rememberSecrets(flow: Flow, secrets: SentSecrets): void {
  known.set(flow, secrets);
}

/** What the request of a flow sent. */
export function secretsOf(flow: Flow): SentSecrets | undefined {
  return known.get(flow);
}

/** The texts that a request asks about, as far as its members have the names that APIs give them. The longest come first. */
function promptsOf(body: string | Uint8Array | undefined): readonly string[] {
  let request: unknown;
  try {
    request = typeof body === 'string' && JSON.parse(body);
  } catch {
    return []; // no request of an API that is known here
  }
  const texts: Set<string> = new Set();
  const gather = (value: unknown, isPrompt: boolean, depth: number): void => {
    if (depth > MAX_DEPTH || texts.size >= MAX_PROMPTS) return;
    if (typeof value === 'string') {
      if (isPrompt && value.length >= MIN_PROMPT_CHARS) texts.add(value);
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, item] of Object.entries(value)) {
        const isName = /^(model|role|type|id|name|.*_id)$/.test(name);
        gather(item, !isName && (isPrompt || PROMPTS.test(name)), depth + 1);
      }
    }
  };
  gather(request, false, 0);
  return [...texts].sort((a, b) => b.length - a.length);
}

/** The query of a URL in a text, with what stands before it. */
const QUERY = /(\bhttps?:\/\/[^\s?#'"<>]+)\?[^\s'"<>]*/g;
const PROMPTS =
  /^(messages?|prompt|input|inputs|system|systemInstruction|system_instruction|system_prompt|instructions|contents?|text|suffix|history|documents)$/;

/** Sets a property that is read-only to the types, and as visible as it was. */
function replace(error: object, name: string, value: unknown): void {
  const { enumerable = false } = Object.getOwnPropertyDescriptor(error, name) ?? {};
  Object.defineProperty(error, name, { value, enumerable, writable: true, configurable: true });
}
