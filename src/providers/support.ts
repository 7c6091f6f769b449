import { ValidationError } from '../errors.js';
import { pageBase } from '../internal/pageBase.js';
import type { Call, CallRequest, LeavingPolicy, ResumePlan } from '../protocol/call.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { validate } from '../protocol/validate.js';

/** A key, or what yields one; a function is asked anew for each attempt, so that short-lived keys stay fresh. @public */
export type APIKey = string | (() => string | Promise<string>);

/** What every provider takes. @public */
export interface ProviderOptions {
  /**
   * The key, or a function that is asked for each attempt. `null`: none is sent, since a proxy such as `proxyHandler` adds it.
   * @defaultValue the provider's environment variable; none is sent to a relative `baseURL`
   */
  readonly apiKey?: APIKey | null | undefined;
  /**
   * Where the API is; a path in it is kept. `http:` or `https:`, without credentials. In a page also relative to it, beginning with `/`,
   * `./` or `../`: `/api/proxy/openai` is a proxy of the page's own server, which needs no key.
   * @defaultValue the provider's own, named in its documentation
   */
  readonly baseURL?: string | undefined;
  /**
   * Says that a key in a page is meant to be there, such as a short-lived one, or the user's own: the warning about it is not given.
   * Named as in the clients of OpenAI and Anthropic. @defaultValue `false`
   */
  readonly dangerouslyAllowBrowser?: boolean | undefined;
  /** Sent with every request, over what the provider sets itself. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** What becomes of work and bill when a reader leaves. @defaultValue what the provider's documentation says, else `unknown` */
  readonly leaving?: Partial<LeavingPolicy> | undefined;
}

/** How a provider's key is found and sent. */
export interface KeyRules {
  readonly name: string;
  readonly env?: string | undefined;
  readonly keyHeader?: string | undefined;
  readonly key?: 'required' | 'optional' | undefined;
}

/**
 * Credentials from a key: a bearer token, or a header of the API's own. A synchronous key stays synchronous, so that its request
 * leaves in the same turn.
 * @throws TypeError where there is neither a key nor the environment variable, or the key cannot stand in a header
 */
export function authorizer(
  { name, env, keyHeader, key: need = 'required' }: KeyRules,
  apiKey: APIKey | null | undefined,
): Call['authorize'] {
  if (apiKey === null) return () => ({});
  const headersOf = (key: unknown): Readonly<Record<string, string>> => {
    const checked = checkKey(key, name);
    return keyHeader === undefined ? { authorization: `Bearer ${checked}` } : { [keyHeader]: checked };
  };
  if (typeof apiKey === 'function') {
    return () => {
      const key = apiKey();
      return isPromiseLike(key) ? key.then(headersOf) : headersOf(key);
    };
  }
  const key = apiKey ?? (env === undefined ? undefined : environment(env));
  if (key === undefined) {
    if (need === 'optional') return () => ({});
    const or = env === undefined ? '' : ` or set the environment variable ${env}`;
    throw new TypeError(`${name} needs a key: give ${name}({ apiKey })${or}`);
  }
  const headers = headersOf(key);
  return () => headers;
}

/** Also of what the types exclude: a function written in JavaScript may yield nothing. */
function isPromiseLike<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as Partial<Promise<T>> | null | undefined)?.then === 'function';
}

/** The key is never quoted, not even a wrong one. */
function checkKey(key: unknown, provider: string): string {
  if (typeof key !== 'string' || key === '') {
    throw new TypeError(`The apiKey of ${provider} must be a string that is not empty, or a function that yields one`);
  }
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new TypeError(
      `The apiKey of ${provider} holds a space, a line break or another character that no header can carry; was it read from a file?`,
    );
  }
  return key;
}

/** An environment variable; none in a browser, and an empty one is none. */
function environment(name: string): string | undefined {
  // Through globalThis: in a browser there is no `process`.
  const { process } = globalThis as {
    readonly process?: { readonly env?: Readonly<Record<string, string | undefined>> };
  };
  const value = process?.env?.[name];
  return value === '' ? undefined : value;
}

/** Whether a URL is meant to be relative to the page: one that only lacks its scheme is not. */
export function isRelative(url: string): boolean {
  return /^\.{0,2}\/(?![/\\])/.test(url);
}

/**
 * A URL as it is or, where it is relative, as the page has it.
 * @throws TypeError for a relative one where there is no page; it is not quoted
 */
export function absoluteURL(url: string): string {
  if (!isRelative(url)) return url;
  const page = pageBase();
  if (page !== undefined && URL.canParse(url, page)) return new URL(url, page).href;
  throw new TypeError('A relative baseURL needs a page; give an absolute URL, such as https://api.example.com/v1');
}

/**
 * The URL of an endpoint. The base's path and query are kept, its fragment is not.
 * @throws TypeError for a base that is no `http:` or `https:` URL, or that holds credentials; it is not quoted
 */
export function joinURL(base: string, path: string): string {
  const absolute = absoluteURL(base);
  if (!URL.canParse(absolute)) {
    throw new TypeError('baseURL must be an absolute URL, such as https://api.example.com/v1');
  }
  const { protocol, username, password, origin, pathname, search } = new URL(absolute);
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new TypeError(`baseURL must begin with http: or https:, got ${protocol}`);
  }
  if (username !== '' || password !== '') {
    throw new TypeError('baseURL must not hold credentials; give them as apiKey or in headers');
  }
  const query = path.includes('?') ? search.replace('?', '&') : search;
  return `${origin}${pathname.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}${query}`;
}

/** Asks again after a break, or for the rest of the answer where `rest` makes a request for it. */
export function askAgain<Request>(
  ask: (request: Request) => CallRequest,
  rest: (text: string) => Request | undefined,
): ResumePlan {
  return {
    by: 'ask',
    continueWith: (text) => {
      const request = rest(text);
      return request && ask(request);
    },
  };
}

/**
 * What a schema makes of a request; a wrong argument fails where it is given, not at subscribe.
 * @throws TypeError whose message has paths and rules, never the request's values
 */
export function checkRequest<T>(schema: StandardSchema<T>, request: unknown, what: string): T {
  try {
    return validate(schema, request, what);
  } catch (error) {
    if (error instanceof ValidationError) throw new TypeError(error.message, { cause: error });
    throw error;
  }
}
