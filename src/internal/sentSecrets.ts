import { type MillraceError, ProviderError } from '../errors.js';
import type { WarningEvent } from '../types.js';
import type { Flow } from './flow.js';
import { redactSecrets } from './redactSecrets.js';

/** Causes in causes, and lists in lists, that are looked at. */
const MAX_DEPTH = 8;
/** Requests for one answer whose secrets are remembered, the newest; work that is asked about for hours has many. */
const MAX_REQUESTS = 16;
/** Shorter texts of a request are words that anybody may say. */
const MIN_PROMPT_CHARS = 12;
/** Texts of a request that are looked for in an error: a long conversation repeats itself in no message. */
const MAX_PROMPTS = 1_000;

/** What a request sent, and what errors about it must not show: some servers, and some errors of theirs, quote it. */
export class SentSecrets {
  readonly #headers: Readonly<Record<string, string>>;
  readonly #body: string | Uint8Array | undefined;
  #prompts: readonly string[] | undefined;
  /** With more requests, those before. */
  readonly #others: readonly SentSecrets[];

  constructor(
    headers: Readonly<Record<string, string>>,
    url?: URL,
    body?: string | Uint8Array,
    others: readonly SentSecrets[] = [],
  ) {
    // By number, since a name may come twice.
    const query = [...(url?.searchParams.values() ?? [])].map((value, i) => [`?${String(i)}`, value] as const);
    this.#headers = { ...headers, ...Object.fromEntries(query) };
    this.#body = body;
    this.#others = others;
  }

  /** These, and those of another request for the same answer. */
  and(more: SentSecrets): SentSecrets {
    return new SentSecrets({}, undefined, undefined, [...this.#all, more].slice(-MAX_REQUESTS));
  }

  get #all(): readonly SentSecrets[] {
    return this.#others.length === 0 ? [this] : this.#others;
  }

  /** Takes keys out of a text. */
  withoutKeys(text: string): string {
    return this.#all.reduce((clean, { keys }) => redactSecrets(clean, keys), text);
  }

  /** The caller's header values, and those of the URL's query. */
  get keys(): Readonly<Record<string, string>> {
    return this.#headers;
  }

  /** Takes keys out of a value, and of everything in it. */
  valueWithoutKeys(value: unknown, depth = 0): unknown {
    if (typeof value === 'string') return this.withoutKeys(value);
    if (typeof value !== 'object' || value === null) return value;
    if (depth === MAX_DEPTH) return '[left out]';
    if (Array.isArray(value)) return value.map((item: unknown) => this.valueWithoutKeys(item, depth + 1));
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [this.withoutKeys(key), this.valueWithoutKeys(item, depth + 1)]),
    );
  }

  /** Takes keys, texts of the request's body and the queries of URLs out of what an error says. */
  #clean(text: string): string {
    return this.#all
      .flatMap((secrets) => secrets.#promptTexts())
      .reduce((clean, prompt) => clean.replaceAll(prompt, () => '[prompt]'), this.withoutKeys(text))
      .replace(QUERY, '$1');
  }

  #promptTexts(): readonly string[] {
    return (this.#prompts ??= typeof this.#body === 'string' ? promptsOf(this.#body) : []);
  }

  /**
   * An error that shows none of it, nor do its causes: the same one where it did not either, or where it is ours to change. What
   * must be asked for (`body`, `frame`) keeps the request's texts, and loses the keys.
   */
  cleanError(error: MillraceError): MillraceError {
    if (!this.#isShownBy(error)) return error;
    const clean = (text: string): string => this.#clean(text);
    if (error instanceof ProviderError) {
      const { message, retryable, providerCode, providerMessage, frame, context, cause } = error;
      return new ProviderError(clean(message), {
        retryable,
        providerCode: typeof providerCode === 'string' ? clean(providerCode) : providerCode,
        providerMessage: providerMessage === undefined ? undefined : clean(providerMessage),
        frame: this.valueWithoutKeys(frame),
        context: mapStrings(context, clean),
        cause: cause === undefined ? undefined : this.#cleanCause(cause),
      });
    }
    for (const name of Object.getOwnPropertyNames(error)) {
      const value: unknown = Reflect.get(error, name);
      if (typeof value === 'string' && name !== 'body') replace(error, name, clean(value));
    }
    replace(error, 'context', mapStrings(error.context, clean));
    if (error.cause !== undefined) replace(error, 'cause', this.#cleanCause(error.cause));
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
function promptsOf(body: string): readonly string[] {
  let request: unknown;
  try {
    request = JSON.parse(body);
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

function mapStrings<T extends Readonly<Record<string, unknown>>>(facts: T, change: (text: string) => string): T {
  const changed = Object.entries(facts).map(([name, value]) => [
    name,
    typeof value === 'string' ? change(value) : value,
  ]);
  return Object.fromEntries(changed) as T; // the same names with values of the same types
}

/** Sets a property that is read-only to the types, and as visible as it was. */
function replace(error: object, name: string, value: unknown): void {
  const { enumerable = false } = Object.getOwnPropertyDescriptor(error, name) ?? {};
  Object.defineProperty(error, name, { value, enumerable, writable: true, configurable: true });
}
